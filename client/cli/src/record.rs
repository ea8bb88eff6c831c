//! Commands for the record: what artifacts are annotated with, what made them, what they
//! are collected in, where they lie.
//!
//! `names` parses how runs, versions and values are written on the command line, `said`
//! prints values, labels and times.

pub(crate) mod annotate;
pub(crate) mod collection;
pub(crate) mod describe;
pub(crate) mod exec;
pub(crate) mod feature;
pub(crate) mod label;
pub(crate) mod lineage;
mod names;
mod reserve;
pub(crate) mod run;
mod said;
pub(crate) mod schemas;
pub(crate) mod storage;
pub(crate) mod transform;
mod versioned;
pub(crate) mod watch;
