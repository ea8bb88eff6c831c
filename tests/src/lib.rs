//! The harness of the end-to-end tests: it starts the real server, and what the
//! server needs, and gives tests short ways to call it.
//!
//! - `azure`: a real Azure Blob Storage.
//! - `server`: one server process with a folder and a database of its own.
//! - `backend`: which database and which storage a server uses.
//! - `postgres`, `s3`: the real services behind some backends, one of each for a
//!   test binary; they end with it, however it ends.
//! - `guarded`: a child process that cannot outlive the tests.
//! - `calls`: every RPC as a function over generated clients, with the deadline
//!   that keeps a hanging server from hanging the tests.
//! - `failure`: a refused call. Every refusal of every test goes through it, so
//!   that an error without a published reason fails the test that met it.
//! - `collections`, `events`: streams of contents and of events, checked.
//! - `records`, `runs`, `schemas`, `storages`: features, labels, runs and the like.
//! - `web`: a host of files over HTTP.
//! - `flight`: calls of Arrow Flight, and tables.
//! - `folders`: saves of folders, step by step or whole.
//! - `command`: the command line as a program of its own, also on a terminal.
//! - `example`: the dataset that the record's own examples are about.
//! - `entries`: answered artifacts, as filters see them.
//! - `filled`: very many records at once.
//! - `content`: content that looks random and can be made again.
//! - `crash`: operations that meet a named crash point, and the checks after.
//! - `pauses`: points at which a server waits for a test.
//! - `long_upload`: an upload whose client, server and line are cut.
//! - `storm`: mixed load under random kills.
//! - `failing_calls`: a server whose system calls fail.
//! - `published`: what the log says of refusals, against what the protos say.
//! - `impostor`: a server that keeps to no promise.
//! - `tls`: a proxy that takes TLS.
//! - `proxy`: a bad line between the server and a service.
//! - `wire`: HTTP/2 by hand, for what no client library would send.
//!
//! Nothing here is skipped when a part is missing: it fails and says which.

#![expect(clippy::large_futures, reason = "tests hold whole messages")]

pub mod azure;
pub mod backend;
pub mod calls;
pub mod collections;
pub mod command;
pub mod content;
pub mod crash;
pub mod database;
pub mod entries;
pub mod events;
pub mod example;
pub mod failing_calls;
pub mod failure;
pub mod filled;
pub mod flight;
pub mod folders;
pub mod guarded;
pub mod impostor;
pub mod long_upload;
pub mod members;
pub mod pauses;
pub mod postgres;
pub mod proxy;
pub mod published;
pub mod python;
pub mod records;
pub mod refusing;
pub mod runs;
pub mod s3;
pub mod schemas;
pub mod server;
pub mod storages;
pub mod storm;
pub mod tls;
pub mod uploads;
pub mod web;
pub mod wire;

pub use artifactd_proto::v1 as pb;

pub use self::{
    backend::{Backend, Database, Storage},
    calls::Calls,
    failure::{Failure, Outcome, refusal, refusal_of},
    server::TestServer,
};

/// Reads a setting that `tests/run` makes.
///
/// # Panics
/// When it is missing: a test that silently runs without a part shows nothing.
pub fn required_env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: start the tests with tests/run"))
}
