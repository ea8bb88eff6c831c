//! The content of a save: which blob has it, and where its bytes come to lie.

use artifactd_domain::{HashType, Sha256};

use super::{Commit, NewContent};
use crate::{
    db::{Batch, DbError, Txn, artifacts::ObjectName, blobs, entities::blobs::Model as Blob},
    registry::{
        RegistryError, Result,
        content::Stored,
        folders::FolderContent,
        placing::{integer, place_blob, place_object},
    },
};

impl Commit {
    pub(super) fn sha256(&self) -> Sha256 {
        match &*self.content {
            NewContent::Stored(Stored { digest, .. }) | NewContent::Packed { digest, .. } => digest.sha256,
            NewContent::Folder(folder) => folder.digest.sha256,
            NewContent::Claimed { sha256, .. } => *sha256,
        }
    }

    pub(super) fn folder(&self) -> Option<&FolderContent> {
        match &*self.content {
            NewContent::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    pub(super) fn hash_type(&self) -> HashType {
        self.folder().map_or(HashType::Sha256, |_| HashType::Sha256Manifest)
    }

    /// What tells the content that came with this request from another.
    pub(super) fn asked(&self) -> Sha256 {
        self.folder().map_or_else(|| self.sha256(), |folder| folder.asked)
    }

    pub(super) async fn blob(&self, txn: &Txn) -> Result<Option<Blob>> {
        match &*self.content {
            NewContent::Stored(Stored { digest, .. }) | NewContent::Packed { digest, .. } => {
                let size_bytes = integer(digest.size_bytes)?;
                Ok(blobs::find(txn, self.storage_id, &digest.sha256, size_bytes).await?)
            }
            NewContent::Folder(_) => Ok(None),
            NewContent::Claimed { sha256, size_bytes } => {
                let blob = match size_bytes {
                    Some(size) => blobs::find(txn, self.storage_id, sha256, integer(*size)?).await?,
                    None => blobs::find_by_digest(txn, self.storage_id, sha256).await?,
                };
                let sound = blob.filter(|blob| blob.damaged_since_us.is_none() && self.caller.may_read(self.space_id));
                sound.map(Some).ok_or(RegistryError::ContentNotHeld(*sha256))
            }
        }
    }

    pub(super) fn size_bytes(&self, blob: Option<&Blob>) -> Result<i64> {
        match (&*self.content, blob) {
            (NewContent::Stored(Stored { digest, .. }) | NewContent::Packed { digest, .. }, _) => {
                integer(digest.size_bytes)
            }
            (NewContent::Folder(folder), _) => integer(folder.digest.size_bytes),
            (NewContent::Claimed { .. }, Some(blob)) => Ok(blob.size_bytes),
            (NewContent::Claimed { sha256, .. }, None) => Err(RegistryError::ContentNotHeld(*sha256)),
        }
    }

    /// The object in which the content lies: the new one, unless a sound blob was there.
    pub(super) async fn object(&self, txn: &Txn, blob: Option<&Blob>) -> Result<Option<ObjectName>> {
        match (&*self.content, blob) {
            (NewContent::Folder(_), _) => Ok(None),
            (_, Some(blob)) if blob.damaged_since_us.is_none() => {
                let object = blobs::object(txn, blob.object_id).await?;
                let object = object.ok_or_else(|| DbError::Row {
                    table: "blobs",
                    column: "object_id",
                })?;
                let (name, is_pack) = (object.name, object.is_pack);
                Ok(Some(ObjectName { name, is_pack }))
            }
            (NewContent::Stored(stored), _) => Ok(Some(ObjectName {
                name: stored.object.name.to_string(),
                is_pack: false,
            })),
            (NewContent::Packed { pack, .. }, _) => Ok(Some(ObjectName {
                name: pack.to_string(),
                is_pack: true,
            })),
            (NewContent::Claimed { sha256, .. }, _) => Err(RegistryError::ContentNotHeld(*sha256)),
        }
    }

    /// Makes sure that a blob with this content exists; whether it is the stored object.
    pub(super) fn place_content(&self, batch: &mut Batch, blob: Option<&Blob>, size_bytes: i64) -> bool {
        let damaged = blob.filter(|blob| blob.damaged_since_us.is_some());
        match (&*self.content, blob) {
            (NewContent::Claimed { .. }, None) | (NewContent::Folder(_), _) => return false,
            (_, Some(blob)) if damaged.is_none() => {
                if blob.kept {
                    batch.push(&blobs::adopt(blob.id));
                }
                return false;
            }
            (NewContent::Claimed { .. }, Some(_)) => return false,
            (NewContent::Stored(stored), _) => place_object(batch, self.storage_id, stored, damaged, size_bytes),
            (
                NewContent::Packed {
                    digest,
                    pack,
                    offset_bytes,
                },
                _,
            ) => {
                let place = (pack.as_str(), *offset_bytes);
                place_blob(batch, self.storage_id, digest, place, damaged, size_bytes);
            }
        }
        true
    }
}
