//! The artifactd server.
mod api;
mod fault;
pub mod master_key;
pub mod registry;
pub mod storage;

pub mod db;
