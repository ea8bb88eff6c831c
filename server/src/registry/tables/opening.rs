//! Where the bytes of a table are read: one file, or the files of a folder.

use std::sync::Arc;

use artifactd_domain::{Suffix, manifest::MemberPath};
use tokio_util::sync::CancellationToken;

use super::super::{Caller, Registry, RegistryError, Result, folders::FolderReader, open::Reader};
use crate::{
    arrays::{self, ArrayError, Table, TableSummary},
    db::artifacts::ArtifactRow,
    storage::ReadCounter,
};

/// See the module.
#[derive(Debug)]
pub(super) enum TableReader {
    /// A file, with the suffix that says its format.
    File(Reader, String),
    /// A folder of parquet files.
    Folder(FolderReader),
}

impl TableReader {
    /// Opens the table, with what is known of it, until `cancel`.
    pub(super) async fn open(
        &self,
        known: Option<Arc<TableSummary>>,
        cancel: &CancellationToken,
    ) -> Result<Arc<dyn Table>> {
        let opened = match self {
            Self::File(reader, suffix) => {
                let (place, suffix) = (reader.place(cancel), suffix.clone());
                tokio::task::spawn_blocking(move || arrays::open(place, &suffix, known.as_deref()))
            }
            Self::Folder(reader) => {
                let files = reader.files(cancel)?;
                tokio::task::spawn_blocking(move || arrays::open_folder(files, known.as_deref()))
            }
        };
        match opened.await {
            Ok(Ok(table)) => Ok(table),
            Ok(Err(error)) => Err(self.failed(error).await),
            Err(_) => {
                let what = "a table could not be opened".to_owned();
                Err(RegistryError::Array(ArrayError::Internal(what)))
            }
        }
    }

    /// The one file in which the table is.
    pub(super) fn file(&self) -> Option<&Reader> {
        match self {
            Self::File(reader, _) => Some(reader),
            Self::Folder(_) => None,
        }
    }

    /// What reading has cost so far.
    pub(super) fn counter(&self) -> &ReadCounter {
        match self {
            Self::File(reader, _) => reader.counter(),
            Self::Folder(reader) => reader.counter(),
        }
    }

    /// Who reads.
    pub(super) fn caller(&self) -> &Caller {
        match self {
            Self::File(reader, _) => reader.caller(),
            Self::Folder(reader) => reader.caller(),
        }
    }

    /// What a reader is told.
    pub(super) async fn failed(&self, error: ArrayError) -> RegistryError {
        match self {
            Self::File(reader, _) => reader.array_failed(error).await,
            Self::Folder(reader) => reader.failed(error).await,
        }
    }
}

impl Registry {
    /// Where the bytes of a table are, and what is known of it.
    pub(super) async fn reader_of_table(
        self: &Arc<Self>,
        caller: &Caller,
        row: &ArtifactRow,
        element: &[String],
    ) -> Result<(TableReader, Option<Arc<TableSummary>>)> {
        let missing = || RegistryError::ElementNotFound {
            reference: row.uid.clone(),
            element: element.join("/"),
        };
        match (row.manifest_id.is_some(), element) {
            (false, []) => {
                let known = self.known_table(row).await?;
                let reader = self.reader(caller, row)?;
                if !row.key_is_virtual {
                    reader.require_undrifted().await?;
                }
                Ok((TableReader::File(reader, row.suffix.clone()), known))
            }
            (false, _) => Err(missing()),
            (true, []) => {
                let known = self.known_table(row).await?;
                let reader = self.reader_of_folder(caller, row).await?;
                Ok((TableReader::Folder(reader), known))
            }
            (true, [.., name]) => {
                let path: MemberPath = element.join("/").parse().map_err(|_| missing())?;
                let member = self.member(row, &path).await?;
                let reader = self.reader_of_member(caller, row, &member).await?;
                Ok((TableReader::File(reader, Suffix::of_name(name).to_string()), None))
            }
        }
    }
}
