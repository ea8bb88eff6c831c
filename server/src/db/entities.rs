//! The tables, as sea-orm entities: one file a table, columns as in the migrations.

pub(crate) mod alias_changes;
pub(crate) mod aliases;
pub(crate) mod artifacts;
pub(crate) mod blob_checksums;
pub(crate) mod blobs;
pub(crate) mod events;
pub(crate) mod families;
pub(crate) mod manifest_page_blobs;
pub(crate) mod objects;
pub(crate) mod principals;
pub(crate) mod requests;
pub(crate) mod spaces;
pub(crate) mod storages;
pub(crate) mod tables;
