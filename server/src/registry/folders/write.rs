//! Pages on their way into the database, with the blobs that they name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use artifactd_domain::{
    ContentDigest, Sha256,
    manifest::{ManifestDigest, MemberPath, Page},
};

use super::{
    super::{
        Result, now_us,
        placing::{integer, place_blob},
    },
    Identity,
};
use crate::{
    db::{
        Batch, DbError, Txn,
        blobs::{self, NewObject},
        entities::blobs::Model as Blob,
        folder_saves,
        manifests::{self, NewBlob},
    },
    fault,
    storage::{FinishedObject, SUMS_PER_PAGE},
};

/// Where a durable content lies that no row names yet.
#[derive(Debug, Clone)]
pub(super) struct StoredAt {
    pub(super) object: Arc<FinishedObject>,
    pub(super) is_pack: bool,
    pub(super) offset: u64,
    pub(super) digest: ContentDigest,
}

/// Pages of one storage, and the contents that came for them.
#[derive(Debug, Default)]
pub(super) struct NewPages {
    pub(super) storage_id: i64,
    pub(super) pages: Vec<Page>,
    pub(super) contents: HashMap<Identity, StoredAt>,
}

/// Where a page of a new manifest is.
#[derive(Debug, Clone)]
pub(super) enum PlaceOf {
    /// It has its row.
    Row(i64),
    /// It is written along.
    New(Sha256),
}

/// The content of a folder that is ready to be committed.
#[derive(Debug)]
pub(in crate::registry) struct FolderContent {
    pub(in crate::registry) digest: ManifestDigest,
    /// What tells this request from another under its id.
    pub(in crate::registry) asked: Sha256,
    /// All pages, by their first paths.
    pub(super) places: Vec<(MemberPath, PlaceOf)>,
    /// The pages that have no row yet.
    pub(super) rest: NewPages,
    /// The save that holds the others.
    pub(super) save_id: Option<i64>,
}

/// What is known of the blobs of some pages.
type BlobIds = HashMap<Identity, i64>;

impl FolderContent {
    /// Writes the manifest and what of its pages is not there yet; answers its id.
    pub(in crate::registry) async fn write(&self, txn: &Txn) -> Result<i64> {
        let written = self.rest.write(txn).await?;
        fault::point("folder.pages_in_transaction");
        let manifest_id = manifests::insert(txn, self.rest.storage_id, &self.digest, now_us()).await?;
        let places = self.places.iter().map(|(path, place)| match place {
            PlaceOf::Row(id) => Ok((path, *id)),
            PlaceOf::New(sha256) => Ok((path, *written.get(sha256).ok_or_else(went)?)),
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        manifests::insert_places(txn, manifest_id, &places).await?;
        self.let_go(txn).await?;
        Ok(manifest_id)
    }

    /// Mends what came for blobs that were damaged, where the folder itself is there already.
    pub(in crate::registry) async fn mend(&self, txn: &Txn) -> Result<()> {
        if !self.rest.contents.is_empty() {
            self.rest.write(txn).await?;
        }
        self.let_go(txn).await
    }

    async fn let_go(&self, txn: &Txn) -> Result<()> {
        match self.save_id {
            Some(id) if !folder_saves::end(txn, id).await? => Err(went()),
            _ => Ok(()),
        }
    }
}

/// What was there when it was listed is gone; a new try asks for it.
fn went() -> super::super::RegistryError {
    DbError::conflict("contents of the folder went in between").into()
}

impl NewPages {
    /// Writes the pages that are not there, and the blobs that came for them; answers the
    /// ids of all pages by their digests.
    pub(super) async fn write(&self, txn: &Txn) -> Result<HashMap<Sha256, i64>> {
        let digests: Vec<Sha256> = self.pages.iter().map(Page::sha256).collect();
        let found = manifests::pages_with_digests(txn, self.storage_id, &digests).await?;
        let mut ids: HashMap<Sha256, i64> = found.into_iter().collect();
        let (there, missing): (Vec<&Page>, Vec<&Page>) =
            self.pages.iter().partition(|page| ids.contains_key(&page.sha256()));
        let blobs = self.write_blobs(txn, &there, &missing).await?;
        let inserted = manifests::insert_pages(txn, self.storage_id, &missing, now_us()).await?;
        ids.extend(inserted);
        let mut pairs = Vec::new();
        for page in missing {
            let page_id = ids.get(&page.sha256()).ok_or_else(went)?;
            let named: BTreeSet<i64> = identities(page)
                .filter_map(|identity| blobs.get(&identity).copied())
                .collect();
            pairs.extend(named.into_iter().map(|blob_id| (*page_id, blob_id)));
        }
        manifests::insert_page_blobs(txn, &pairs).await?;
        Ok(ids)
    }

    /// Makes sure that every content of the missing pages has a sound blob.
    async fn write_blobs(&self, txn: &Txn, there: &[&Page], missing: &[&Page]) -> Result<BlobIds> {
        let needed: BTreeSet<Identity> = missing.iter().copied().flat_map(identities).collect();
        // Pages that are there may name damaged blobs, whose contents came again.
        let came = there.iter().copied().flat_map(identities);
        let wanted: BTreeSet<Identity> = came
            .filter(|identity| self.contents.contains_key(identity))
            .chain(needed.iter().copied())
            .collect();
        let digests: Vec<Sha256> = wanted.iter().map(|(sha256, _)| *sha256).collect();
        let mut known: HashMap<Identity, Blob> = HashMap::new();
        for blob in blobs::with_digests(txn, self.storage_id, &digests).await? {
            if let Ok(sha256) = <[u8; 32]>::try_from(blob.sha256.as_slice()) {
                known.insert((Sha256::from_bytes(sha256), blob.size_bytes.unsigned_abs()), blob);
            }
        }
        let (mut ids, mut new) = (BlobIds::new(), Vec::new());
        let mut batch = Batch::new(txn);
        for identity in wanted {
            match (known.get(&identity), self.contents.get(&identity)) {
                (Some(blob), _) if blob.damaged_since_us.is_none() => {
                    if blob.kept && needed.contains(&identity) {
                        batch.push(&blobs::adopt(blob.id));
                    }
                    ids.insert(identity, blob.id);
                }
                (Some(blob), Some(stored)) => {
                    blobs::ensure_object(txn, &self.object(stored)?, now_us()).await?;
                    let place = (stored.object.name.as_str(), integer(stored.offset)?);
                    place_blob(
                        &mut batch,
                        self.storage_id,
                        &stored.digest,
                        place,
                        Some(blob),
                        blob.size_bytes,
                    );
                    ids.insert(identity, blob.id);
                }
                (None, Some(stored)) => new.push((identity, stored)),
                (_, None) => return Err(went()),
            }
        }
        batch.run(txn).await?;
        self.insert_blobs(txn, &new, &mut ids).await?;
        Ok(ids)
    }

    async fn insert_blobs(&self, txn: &Txn, new: &[(Identity, &StoredAt)], ids: &mut BlobIds) -> Result<()> {
        let mut objects: BTreeMap<&str, i64> = BTreeMap::new();
        let mut rows = Vec::with_capacity(new.len());
        for ((sha256, size_bytes), stored) in new {
            let name = stored.object.name.as_str();
            let object_id = match objects.get(name) {
                Some(id) => *id,
                None => {
                    let id = blobs::ensure_object(txn, &self.object(stored)?, now_us()).await?;
                    objects.insert(name, id);
                    id
                }
            };
            let crc32c = match stored.digest.block_crc32c.as_slice() {
                [] => Some(0),
                [only] => Some(*only),
                _ => None,
            };
            rows.push(NewBlob {
                sha256: *sha256,
                size_bytes: integer(*size_bytes)?,
                object_id,
                offset_bytes: integer(stored.offset)?,
                crc32c,
            });
        }
        let inserted = manifests::insert_blobs(txn, self.storage_id, &rows, now_us()).await?;
        ids.extend(
            inserted
                .into_iter()
                .map(|(sha256, size, id)| ((sha256, size.unsigned_abs()), id)),
        );
        let mut batch = Batch::new(txn);
        for (identity, stored) in new {
            let sums = &stored.digest.block_crc32c;
            if let (Some(blob_id), true) = (ids.get(identity), sums.len() > 1) {
                for (page, sums) in sums.chunks(SUMS_PER_PAGE as usize).enumerate() {
                    batch.push(&blobs::insert_checksums((*blob_id).into(), page as i64, sums));
                }
            }
        }
        Ok(batch.run(txn).await?)
    }

    fn object(&self, stored: &StoredAt) -> Result<NewObject> {
        Ok(NewObject {
            storage_id: self.storage_id,
            name: stored.object.name.to_string(),
            is_pack: stored.is_pack,
            size_bytes: integer(stored.object.size_bytes)?,
            store_etag: stored.object.store_etag.clone(),
        })
    }
}

fn identities(page: &Page) -> impl Iterator<Item = Identity> {
    page.members().iter().map(|member| (member.sha256, member.size_bytes))
}
