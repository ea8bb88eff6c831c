//! Uploads that begin.

use artifactd_domain::BLOCK_BYTES;

use super::{
    super::{
        Caller, NewArtifact, Registry, RegistryError, Result, StoragePlace, content::Declared, draw_uid,
        idempotency::Repeatable, now_us, placing::integer, random, turns,
    },
    PARTS_MAX, Upload,
};
use crate::{
    db::uploads::{self, UploadRow},
    fault,
    storage::ObjectName,
};

/// Bytes of a part unless the caller wishes others.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// The same where parts come in any order: several are on their way at once, each of which
/// may have to come again, and four of them are no more than one of the others.
const PARALLEL_PART_BYTES: u64 = 2 * 1024 * 1024;

/// Uploads to one key that are under way at once.
const OF_KEY_MAX: i64 = turns::OF_KEY_MAX as i64;

/// Largest part that a caller may wish.
const PART_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A new upload.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// What the record shall say.
    pub artifact: NewArtifact,
    /// The same as its door encoded it, for whoever completes it.
    pub header: Vec<u8>,
    /// Whether parts come in any order.
    pub is_parallel: bool,
    /// Bytes of a part; decided here when 0.
    pub part_bytes: u64,
}

fn default_part_bytes(is_parallel: bool) -> u64 {
    if is_parallel { PARALLEL_PART_BYTES } else { PART_BYTES }
}

fn check_under_way(uploads: i64, key: &str) -> Result<()> {
    if uploads >= OF_KEY_MAX {
        return Err(RegistryError::KeyBusy(key.to_owned()));
    }
    Ok(())
}

/// The size of parts: whole blocks, as many as a store takes, and not too many parts.
fn part_bytes(wish: u64, declared: Declared, storage: &StoragePlace) -> Result<u64> {
    if wish > PART_BYTES_MAX {
        let rule = format!("must be at most {PART_BYTES_MAX}");
        return Err(RegistryError::other("part_bytes", rule));
    }
    let for_size = declared.size_bytes.unwrap_or_default().div_ceil(PARTS_MAX);
    let bytes = wish.max(for_size).max(storage.store.parts.part_bytes_min());
    Ok(bytes.next_multiple_of(BLOCK_BYTES as u64))
}

impl Registry {
    /// Begins an upload. The same request again answers the same upload.
    pub async fn create_upload(&self, caller: &Caller, new: NewUpload) -> Result<Upload> {
        let NewUpload {
            artifact,
            header,
            is_parallel,
            part_bytes: wish,
        } = new;
        let suffix = artifact.suffix(caller)?;
        self.check_declared_size(artifact.declared)?;
        if is_parallel && artifact.declared.size_bytes.is_none() {
            let rule = "is needed for parts in any order";
            return Err(RegistryError::other("header.size", rule));
        }
        let repeatable = Repeatable::new(artifact.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(row) = self.upload_of(caller, repeatable).await?
        {
            return self.to_upload(row).await;
        }
        let key = artifact.key.as_ref().map(ToString::to_string);
        if let Some(key) = &key {
            let under_way = uploads::under_way(self.db.reader(), (caller.space_id, key), now_us(), OF_KEY_MAX);
            check_under_way(under_way.await?, key)?;
        }
        let storage = self.storage_of(caller, &artifact).await?.clone();
        let wish = if wish == 0 {
            default_part_bytes(is_parallel)
        } else {
            wish
        };
        let part_bytes = part_bytes(wish, artifact.declared, &storage)?;
        let object = storage.store.parts.create(ObjectName::new(random(), &suffix)).await?;
        fault::point("uploads.object_created");
        let now = now_us();
        let row = uploads::NewUpload {
            uid: draw_uid(),
            space_id: caller.space_id,
            storage_id: storage.id,
            principal_id: caller.principal.id,
            key,
            object_name: object.name.to_string(),
            store_upload_id: object.store_upload_id.clone(),
            header,
            request: repeatable.as_ref().map(Repeatable::stored),
            is_parallel,
            part_bytes: integer(part_bytes)?,
            declared_size_bytes: artifact.declared.size_bytes.map(integer).transpose()?,
            declared_sha256: artifact.declared.sha256.map(|sha256| sha256.as_bytes().to_vec()),
            hash_state: self.hashes_ahead.of_new(&storage.store, is_parallel),
            expires_at_us: self.expires_at(now),
            now_us: now,
        };
        let inserted = self.db.write::<_, RegistryError, _>(move |txn| {
            let row = row.clone();
            Box::pin(async move {
                if let Some(key) = &row.key {
                    uploads::lock_key(txn, row.space_id, key).await?;
                    let under_way = uploads::under_way(txn, (row.space_id, key), row.now_us, OF_KEY_MAX);
                    check_under_way(under_way.await?, key)?;
                }
                let row = uploads::insert(txn, &row).await?;
                fault::point("uploads.created_in_transaction");
                Ok(row)
            })
        });
        match (inserted.await, &repeatable) {
            (Ok(row), _) => self.to_upload(row).await,
            (Err(error), repeatable) => {
                if error.as_outage().is_none() {
                    storage.store.parts.abort(&object).await?;
                }
                // The same request may have been faster.
                match repeatable {
                    Some(repeatable) => match self.upload_of(caller, repeatable).await? {
                        Some(row) => self.to_upload(row).await,
                        None => Err(error),
                    },
                    None => Err(error),
                }
            }
        }
    }

    async fn upload_of(&self, caller: &Caller, repeatable: &Repeatable) -> Result<Option<UploadRow>> {
        let (request_id, hash) = repeatable.stored();
        let found = uploads::by_request(self.db.reader(), caller.principal.id, &request_id).await?;
        match found {
            Some(row) if row.request_hash.as_ref() != Some(&hash) => Err(repeatable.reused()),
            found => Ok(found),
        }
    }
}
