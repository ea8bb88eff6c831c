//! The artifactd server.
mod fault;
pub mod storage;
