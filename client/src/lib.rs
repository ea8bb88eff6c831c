//! Client of artifactd.
//!
//! ```no_run
//! # async fn tour() -> Result<(), artifactd_client::Error> {
//! use artifactd_client::Client;
//!
//! let client = Client::connect("http://127.0.0.1:50051").await?;
//! let saved = client.save(&b"a,b\n1,2\n"[..], "tables/small.csv").await?;
//! let same = client.read("tables/small.csv").await?;
//! assert_eq!(&same[..], b"a,b\n1,2\n");
//! client.delete(saved.artifact.uid).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | you want | call |
//! |---|---|
//! | to save bytes, a file, a pipe | [`Client::save`], [`Client::save_file`], [`Client::save_reader`] |
//! | to save a large file over a line that breaks | [`Client::upload_file`], [`Client::resume_upload`] |
//! | to save a folder as one artifact, or each file of it | [`Client::save_folder`], [`Client::save_dir`] |
//! | to change a few files of a folder | [`Client::change_folder`] |
//! | to find artifacts and their versions | [`Client::get`], [`Client::find`], [`Client::search`], [`Client::list`], [`Client::versions`], [`filter`] |
//! | to give a version a name that moves | [`Client::set_alias`], [`Client::aliases`] |
//! | to read into memory, or as a stream | [`Client::read`], [`Client::open_content`], [`Client::open_steady`] |
//! | to read a table in batches, of which only what is asked for travels; to write one | [`Client::open`], [`Client::load`]; [`Client::put_batches`] |
//! | a file or folder on the disk | [`Client::download`]; a kept, checked copy: [`Client::cache`] |
//! | to change, replace, delete, restore | [`Client::update`], [`Client::replace_file`], [`Client::delete`], [`Client::restore`] |
//! | to annotate artifacts, and say what made them and what they are collected in | [`Client::annotate`], [`Client::with_run`], [`Client::lineage`], [`Client::create_collection`] |
//! | to keep files where they lie, or move artifacts to another storage; to commit the work of a run at once, and do it once | [`Client::register_file`], [`Client::register_storage`], [`Client::move_artifact`]; [`Client::commit_work`], [`Client::reserve_output`] |
//! | to show how far a transfer is | [`Client::watched`] |
//! | TLS, keys, deadlines, tries | [`Client::builder`] |
//!
//! **Calls** that fail on the way are made again by themselves, after waits that grow and
//! differ, for as long as their deadline and a budget that all calls share allow. Only those
//! are that have no effect or the effect of one: mutations carry a request id, under which
//! the server answers them once. What the server refuses is never tried again, unless it
//! says when to. All of that fails as an [`Error`], whose [`Reason`] tells programs why.
//!
//! **Content** is checked as it comes: each chunk against its crc32c, a whole content
//! against its sha256. What was acknowledged in an upload, and what came of a download, is
//! not sent again after a cut, and not after this program was killed either. Dropping the
//! future of a call cancels it, and leaves nothing but what the next one goes on with.
//!
//! **Servers are not believed** where that could hurt: names that they tell lead nowhere but
//! below the target, what they announce is held against what they send, and no answer
//! without an end is waited for.

mod aliases;
mod arrays;
mod artifact;
mod batch;
mod builder;
mod cache;
mod client;
mod convert;
mod download;
mod error;
mod events;
mod fetch;
pub mod filter;
mod folder;
mod folder_diff;
mod folder_save;
mod line;
mod members;
mod memory;
mod message;
mod methods;
mod options;
mod queries;
mod reader;
mod record;
mod reference;
mod resumable;
mod retry;
mod steady;
mod upload;
mod walk;

pub use aliases::{Alias, AliasChange, AliasIs};
pub use arrays::{Batches, Column, IntoBatches, Loaded, Table};
pub use artifact::{Artifact, Saved, ServerInfo};
pub use artifactd_domain as domain;
pub use artifactd_proto::v1 as messages;
pub use builder::Builder;
pub use cache::{CacheOptions, Cached};
pub use client::Client;
pub use convert::draw_request_id;
pub use download::Content;
pub use error::{Error, Reason};
pub use events::{Event, Events};
pub use fetch::{CollectionDownload, DownloadOptions, Downloaded, DownloadedMember, IfExists};
pub use folder::SavedFolder;
pub use folder_diff::FolderDiff;
pub use folder_save::{FolderEdit, FolderProgress, SavedAsFolder};
pub use members::{MemberPiece, Members};
pub use message::ToMessage;
pub use options::{
    DeleteOptions, DeleteStorage, GetOptions, ListOptions, MemberRange, MembersOptions, ReadMembersOptions,
    ReadOptions, ReplaceOptions, RestoreOptions, Revises, SaveOptions, Update,
};
pub use queries::{Count, Hit, SearchOptions};
pub use record::{Annotations, CollectionPiece, IntoValue, Reserved};
pub use reference::IntoReference;
pub use resumable::{Upload, UploadOptions, UploadProgress, UploadState};
pub use steady::SteadyContent;
pub use walk::Skipped;

/// Result of a call.
pub type Result<T> = std::result::Result<T, Error>;
