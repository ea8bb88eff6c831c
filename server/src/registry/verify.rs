//! Checks that the records and the bytes agree.
//!
//! Quick compares rows with what the storages list; deep reads every byte again.
//! Nothing is repaired or removed: a report tells what was found. Bytes without
//! a row are garbage and no fault, since a crash may leave some at any time.

use std::{collections::HashMap, sync::Arc};

use artifactd_domain::{BLOCK_BYTES, ContentHasher, Sha256};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::Serialize;

use super::{Registry, RegistryConfig, Result, StoragePlace, folders::CheckedPages};
use crate::{
    db::{
        artifacts, blobs,
        entities::{blobs::Model as Blob, objects::Model as Object},
        events, families, uploads,
    },
    storage::{BlobContent, BlockSums, Member, drift},
};

const ROWS_AT_ONCE: u64 = 1_000;

/// Findings that are listed by name; more are only counted.
const FINDINGS_LISTED_MAX: usize = 10_000;

/// What a check found.
#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Whether every byte was read.
    pub deep: bool,
    /// Families, versions, blobs, objects and bytes that were looked at.
    pub checked: Checked,
    /// Faults and garbage.
    pub findings: Vec<Finding>,
    /// Number of faults: findings that mean lost or wrong data.
    pub faults: u64,
    /// Number of findings that are only garbage.
    pub garbage: u64,
    /// Blobs that are kept although no artifact uses them: sha256 and size.
    pub kept: Vec<(String, i64)>,
}

/// How much was looked at.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// Families.
    pub families: u64,
    /// Artifacts.
    pub artifacts: u64,
    /// Blobs.
    pub blobs: u64,
    /// Objects that storages list.
    pub objects: u64,
    /// Bytes of blobs.
    pub bytes: u64,
    /// Events.
    pub events: i64,
}

/// One finding. Codes are those of the design: `F1` row without bytes, `F2` bytes
/// without a row, `F3` size, `F4` digest, `F5` unfinished object, `F7` latest
/// version, `F12` event without a position, `F13` file in place that is not as it was
/// registered.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: &'static str,
    /// Whether data is lost or wrong.
    pub fault: bool,
    /// The object, family or blob.
    pub subject: String,
    /// In words.
    pub what: String,
}

/// An object that a storage lists, and whether some blob lies in it.
struct Listed {
    size_bytes: u64,
    used: bool,
}

impl VerifyReport {
    /// 0 when all is well, 2 when data is lost or wrong.
    pub fn exit_code(&self) -> u8 {
        if self.faults == 0 { 0 } else { 2 }
    }

    fn add(&mut self, code: &'static str, fault: bool, subject: impl ToString, what: impl Into<String>) {
        if fault {
            self.faults += 1;
        } else {
            self.garbage += 1;
        }
        if self.findings.len() < FINDINGS_LISTED_MAX {
            self.findings.push(Finding {
                code,
                fault,
                subject: subject.to_string(),
                what: what.into(),
            });
        }
    }
}

/// Opens what a server would, and checks it.
pub async fn verify(config: RegistryConfig, deep: bool) -> Result<VerifyReport> {
    Registry::open(config).await?.verify(deep).await
}

impl Registry {
    /// Checks all families, blobs and storages.
    pub async fn verify(self: &Arc<Self>, deep: bool) -> Result<VerifyReport> {
        let mut report = VerifyReport {
            deep,
            ..VerifyReport::default()
        };
        for storage in self.places.storages() {
            self.verify_families(storage, &mut report).await?;
            self.verify_bytes(storage, deep, &mut report).await?;
        }
        let (count, last, unplaced) = events::summary(self.db.reader()).await?;
        report.checked.events = count;
        if last != count - unplaced {
            report.add(
                "F12",
                true,
                "events",
                format!("{count} events, {unplaced} unplaced, last position {last}"),
            );
        }
        Ok(report)
    }

    async fn verify_families(&self, storage: &StoragePlace, report: &mut VerifyReport) -> Result<()> {
        let (mut after, mut checked_pages) = (0, CheckedPages::new());
        loop {
            let page = families::walk(self.db.reader(), storage.id, after, ROWS_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for family in page {
                report.checked.families += 1;
                let versions = artifacts::versions(self.db.reader(), family.id).await?;
                report.checked.artifacts += versions.len() as u64;
                let highest = versions.iter().find(|row| !row.in_trash());
                let latest: Vec<_> = versions.iter().filter(|row| row.is_latest).map(|row| row.id).collect();
                if latest != highest.map(|row| row.id).into_iter().collect::<Vec<_>>() {
                    report.add(
                        "F7",
                        true,
                        &family.stem,
                        "the latest version is not the highest outside trash",
                    );
                }
                if versions
                    .first()
                    .is_some_and(|row| row.version_number >= family.next_number)
                {
                    report.add("F8", true, &family.stem, "a version number could be issued twice");
                }
                for row in &versions {
                    if row.manifest_id.is_some() {
                        if let Some(what) = self.wrong_folder(row, &mut checked_pages).await? {
                            report.add("F4", true, &row.uid, what);
                        }
                    } else if row.object_name.is_none() {
                        report.add("F1", true, &row.uid, "the record names no bytes");
                    }
                }
            }
        }
    }

    async fn verify_bytes(&self, storage: &StoragePlace, deep: bool, report: &mut VerifyReport) -> Result<()> {
        // The rows are read after the list: an object that is finished in between
        // has no row yet, and a row has its object always.
        let listed = storage.store.writer.list_objects().try_concat().await?;
        report.checked.objects += listed.len() as u64;
        let mut stored: HashMap<String, Listed> = listed
            .into_iter()
            .map(|object| {
                let size_bytes = object.size_bytes;
                (
                    object.name.to_string(),
                    Listed {
                        size_bytes,
                        used: false,
                    },
                )
            })
            .collect();
        let mut after = 0;
        loop {
            let page = blobs::walk(self.db.reader(), storage.id, after, ROWS_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            for blob in page {
                self.verify_blob(storage, &blob, deep, &mut stored, report).await?;
            }
        }
        for (name, _) in stored.into_iter().filter(|(_, listed)| !listed.used) {
            match blobs::object_by_name(self.db.reader(), &name).await? {
                Some(object) if object.garbage_since_us.is_none() => {
                    report.add("F2", false, name, "no blob lies in this object");
                }
                Some(_) => report.add("F2", false, name, "garbage that waits for collection"),
                None => report.add("F2", false, name, "bytes without a row"),
            }
        }
        let unfinished = storage.store.writer.list_unfinished().await?;
        let names: Vec<String> = unfinished.iter().map(|unfinished| unfinished.name.clone()).collect();
        let uploads = uploads::named(self.db.reader(), &names).await?;
        for unfinished in unfinished.into_iter().filter(|found| !uploads.contains(&found.name)) {
            report.add("F5", false, unfinished.name, "an object that was never finished");
        }
        Ok(())
    }

    async fn verify_blob(
        &self,
        storage: &StoragePlace,
        blob: &Blob,
        deep: bool,
        stored: &mut HashMap<String, Listed>,
        report: &mut VerifyReport,
    ) -> Result<()> {
        report.checked.blobs += 1;
        report.checked.bytes += blob.size_bytes.unsigned_abs();
        let digest = hex(&blob.sha256);
        if blob.kept && !blobs::is_referenced(self.db.reader(), blob.id).await? {
            report.kept.push((digest.clone(), blob.size_bytes));
        }
        let Some(object) = blobs::object(self.db.reader(), blob.object_id).await? else {
            report.add("F1", true, digest, "the blob names no object");
            return Ok(());
        };
        let size = match stored.get_mut(&object.name) {
            Some(listed) => {
                listed.used = true;
                listed.size_bytes
            }
            None => match storage.store.reader_meta(&object.name).await? {
                None => {
                    report.add("F1", true, &object.name, format!("object of blob {digest} is missing"));
                    return Ok(());
                }
                Some(found) if !storage.is_managed => {
                    let etag = object.store_etag.as_ref().filter(|_| storage.store.has_etags());
                    if let Some(what) = drift(&found, object.size_bytes.unsigned_abs(), etag) {
                        report.add("F13", true, &object.name, what);
                        return Ok(());
                    }
                    found.size
                }
                Some(found) => found.size,
            },
        };
        let (end, recorded) = (
            (blob.offset_bytes + blob.size_bytes).unsigned_abs(),
            object.size_bytes.unsigned_abs(),
        );
        if size != recorded || end > size {
            report.add(
                "F3",
                true,
                &object.name,
                format!("{size} bytes are stored, {recorded} recorded"),
            );
            return Ok(());
        }
        if deep && let Some(what) = self.wrong_bytes(storage, blob, &object).await? {
            report.add("F4", true, &object.name, what);
        }
        Ok(())
    }

    /// What is wrong with the bytes of a blob, if anything is.
    async fn wrong_bytes(&self, storage: &StoragePlace, blob: &Blob, object: &Object) -> Result<Option<String>> {
        let Ok(name) = object.name.parse() else {
            return Ok(Some("the object has an impossible name".to_owned()));
        };
        let sums = match blob.crc32c {
            Some(sum) => BlockSums::Inline([sum as u32].into()),
            None => self.stored_sums(blob.id),
        };
        let size_bytes = blob.size_bytes.unsigned_abs();
        let content = BlobContent {
            object: name,
            offset: blob.offset_bytes.unsigned_abs(),
            size_bytes,
            sums,
        };
        let member = Member {
            path: Path::from("content"),
            content: content.clone(),
        };
        let view = self.view(&storage.store, vec![member]);
        let mut chunks = view.stream(&content, 0..size_bytes, 4 * BLOCK_BYTES as u64);
        let mut hasher = ContentHasher::new();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => hasher = hash_aside(hasher, chunk.data).await,
                Err(error @ crate::storage::StorageError::Unavailable(_)) => return Err(error.into()),
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        let actual: Sha256 = hasher.finish().sha256;
        let wrong = actual.as_bytes().as_slice() != blob.sha256;
        Ok(wrong.then(|| format!("sha256 is {actual}, recorded is {}", hex(&blob.sha256))))
    }
}

async fn hash_aside(mut hasher: ContentHasher, data: bytes::Bytes) -> ContentHasher {
    let hashed = tokio::task::spawn_blocking(move || {
        hasher.update(&data);
        hasher
    });
    hashed.await.expect("hashing does not panic")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
