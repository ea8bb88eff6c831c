//! The artifactd server.
//!
//! The map, from the outside in; each layer knows only those below it.
//!
//! - `main.rs` parses the command; [`config`] reads file, environment and flags;
//!   [`serve`] builds every part once and stops them in order; [`data_dir`],
//!   [`master_key`] and [`telemetry`] are what a process needs besides.
//! - `api` translates gRPC: it parses a call, asks the registry and translates the
//!   answer. It knows no rule and no query. `api/status.rs` is the one table from
//!   errors to codes and reasons, `api/layer` what surrounds every call.
//! - `flight` does the same for Arrow Flight: tables in batches.
//! - [`registry`] holds the use cases, one file each, and is the only layer that
//!   orders effects: content first, record second, answer last. Its functions take
//!   the caller first. It knows no gRPC.
//! - [`db`] holds the queries, one file a table, the migrations, and the writer
//!   that lets waiting changes share a transaction. It knows no storage.
//! - `arrays` finds tables in content and reads and writes them, batch by batch. It
//!   reads through the view of [`storage`], and knows no artifact.
//! - [`storage`] writes objects to a folder or a bucket and reads them through a
//!   view that checks every byte. It knows no versions and no database.
//! - The crate `artifactd-domain` below all of them holds the rules that need
//!   neither I/O nor time: identifiers, versions, keys, suffixes, digests.
//! - The crate `artifactd-heap` bounds what the process keeps of freed memory.
//! - `fault` lets a test build stop itself at a named point.
//!
//! Bytes are never overwritten, a row never names bytes that are not durable, and
//! what one caller may not see does not exist for it.

mod api;
pub mod arrays;
mod blocking;
pub mod config;
pub mod data_dir;
pub mod db;
mod fault;
mod flight;
pub mod master_key;
pub mod registry;
pub mod serve;
pub mod storage;
pub mod telemetry;
