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
//! Mutations carry a request id, so that they can be repeated after a lost
//! answer, and are repeated by themselves. Everything that is read is checked:
//! each chunk against its crc32c, a whole content against its sha256.
//!
//! A folder is one artifact ([`Client::save_folder`]), of which only what the server
//! does not have travels, or many ([`Client::save_dir`]).
//!
//! What artifacts are annotated with, what made them and what they are collected in is
//! the record: [`Client::annotate`], [`Client::with_run`], [`Client::lineage`],
//! [`Client::create_collection`], and more of their kind.
//!
//! A large file goes up in parts that need not be sent again
//! ([`Client::upload_file`], [`Client::resume_upload`]).

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
mod folder;
mod folder_diff;
mod folder_save;
mod line;
mod members;
mod memory;
mod message;
mod methods;
mod options;
mod reader;
mod record;
mod reference;
mod resumable;
mod retry;
mod steady;
mod upload;
mod walk;

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
pub use fetch::{DownloadOptions, Downloaded, IfExists};
pub use folder::SavedFolder;
pub use folder_diff::FolderDiff;
pub use folder_save::{FolderEdit, FolderProgress, SavedAsFolder};
pub use members::{MemberPiece, Members};
pub use message::ToMessage;
pub use options::{
    DeleteOptions, DeleteStorage, GetOptions, ListOptions, MemberRange, MembersOptions, ReadMembersOptions,
    ReadOptions, ReplaceOptions, RestoreOptions, Revises, SaveOptions, Update,
};
pub use record::{Annotations, CollectionPiece, IntoValue};
pub use reference::IntoReference;
pub use resumable::{Upload, UploadOptions, UploadProgress, UploadState};
pub use steady::SteadyContent;
pub use walk::Skipped;

/// Result of a call.
pub type Result<T> = std::result::Result<T, Error>;
