//! Where stored bytes come to lie in the database.

use artifactd_domain::ContentDigest;
use sea_orm::sea_query::Expr;

use super::{RegistryError, Result, content::Stored, now_us};
use crate::{
    db::{
        Batch,
        blobs::{self, NewObject, PlaceInObject},
        entities::blobs::Model as Blob,
    },
    storage::SUMS_PER_PAGE,
};

/// Adds a stored object and its blob, or mends a damaged blob with it.
pub(super) fn place_object(
    batch: &mut Batch,
    storage_id: i64,
    stored: &Stored,
    damaged: Option<&Blob>,
    size_bytes: i64,
) {
    let object = NewObject {
        storage_id,
        name: stored.object.name.to_string(),
        is_pack: false,
        size_bytes,
        store_etag: stored.object.store_etag.clone(),
    };
    batch.insert(blobs::insert_object(&object, now_us()));
    let place = (stored.object.name.as_str(), 0);
    place_blob(batch, storage_id, &stored.digest, place, damaged, size_bytes);
}

/// Adds a blob in an object that has its row, or mends a damaged one with it.
pub(super) fn place_blob(
    batch: &mut Batch,
    storage_id: i64,
    digest: &ContentDigest,
    place: PlaceInObject<'_>,
    damaged: Option<&Blob>,
    size_bytes: i64,
) {
    let now = now_us();
    if let Some(blob) = damaged {
        batch.push(&blobs::heal(blob.id, place));
        batch.push(&blobs::discard_object_if_unused(blob.object_id, now));
        return;
    }
    let sums = &digest.block_crc32c;
    let (inline, pages) = match sums.as_slice() {
        [] => (Some(0), &[][..]),
        [only] => (Some(*only), &[][..]),
        many => (None, many),
    };
    batch.insert(blobs::insert(
        storage_id,
        &digest.sha256,
        size_bytes,
        place,
        inline,
        now,
    ));
    for (page, sums) in pages.chunks(SUMS_PER_PAGE as usize).enumerate() {
        let blob_id: Expr = blobs::blob_id_of(storage_id, &digest.sha256, size_bytes);
        batch.push(&blobs::insert_checksums(blob_id, page as i64, sums));
    }
}

/// A size as the database holds it.
pub(super) fn integer(size_bytes: u64) -> Result<i64> {
    i64::try_from(size_bytes).map_err(|_| RegistryError::ContentTooLarge(i64::MAX as u64))
}
