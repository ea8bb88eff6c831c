//! The artifactd server.
mod fault;
pub mod registry;
pub mod storage;

pub mod db;
