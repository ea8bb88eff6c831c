//! Records that say already what a save would say.

use artifactd_domain::{Description, FileName, Key, Label, MediaType, SaveOutcome};

use super::{Answer, Commit, Run, SAME_CONTENT_NAMED_MAX};
use crate::{
    db::{
        Batch, Txn,
        artifacts::{self, ArtifactRow},
        entities::blobs::Model as Blob,
        runs::OpenRun,
    },
    registry::{Result, lineage::note_update},
};

impl Commit {
    /// The record that already says what this save would say.
    pub(super) async fn same_content(
        &self,
        txn: &Txn,
        has_family: bool,
        head: Option<&ArtifactRow>,
        size_bytes: i64,
    ) -> Result<Option<ArtifactRow>> {
        let sha256 = self.sha256();
        let content = (self.hash_type(), &sha256, size_bytes);
        // A folder of empty files says something all the same.
        if size_bytes == 0 && self.folder().is_none() {
            return Ok(None);
        }
        if has_family {
            return Ok(head.filter(|head| head.has_content(content)).cloned());
        }
        if self.new.key.is_some() {
            return Ok(None);
        }
        Ok(artifacts::newest_with_content(txn, self.caller.space_id, content).await?)
    }

    pub(super) async fn return_existing(
        &self,
        txn: &Txn,
        mut row: ArtifactRow,
        blob: Option<Blob>,
        run: Option<&OpenRun>,
    ) -> Result<Run> {
        let not_applied = self.not_applied(&row);
        note_update(txn, run, &mut row).await?;
        let mut batch = Batch::new(txn);
        // New bytes for a damaged blob are welcome even when the record stays.
        let object_used = match blob {
            Some(blob) if blob.damaged_since_us.is_some() => {
                self.place_content(&mut batch, Some(&blob), row.size_bytes)
            }
            _ => false,
        };
        if let Some(folder) = self.folder() {
            folder.mend(txn).await?;
        }
        let answer = Answer {
            same_content_uids: self.same_content_uids(txn, &row).await?,
            outcome: SaveOutcome::Existing.as_str().to_owned(),
            not_applied,
            row,
        };
        self.remember(&mut batch, &answer);
        batch.run(txn).await?;
        let answer = Box::new(answer);
        Ok(Run::Done { answer, object_used })
    }

    /// What the caller passed that the existing record does not say.
    fn not_applied(&self, row: &ArtifactRow) -> Vec<String> {
        let new = &*self.new;
        let differs = |passed: Option<&str>, has: Option<&str>| passed.is_some() && passed != has;
        let differing = [
            ("key", differs(new.key.as_ref().map(Key::as_str), row.key.as_deref())),
            (
                "description",
                differs(
                    new.description.as_ref().map(Description::as_str),
                    row.description.as_deref(),
                ),
            ),
            ("kind", new.kind.is_some_and(|kind| kind.code() != row.kind)),
            (
                "version",
                differs(new.version.as_ref().map(Label::as_str), Some(&row.version_label)),
            ),
            (
                "file_name",
                differs(new.file_name.as_ref().map(FileName::as_str), row.file_name.as_deref()),
            ),
            (
                "media_type",
                differs(new.media_type.as_ref().map(MediaType::as_str), Some(&row.media_type)),
            ),
            (
                "visibility",
                new.visibility
                    .is_some_and(|visibility| visibility.code() != row.visibility),
            ),
            ("annotations", !new.annotations.said.is_empty()),
            ("schema", new.schema.is_some()),
        ];
        differing
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(field, _)| field.to_owned())
            .collect()
    }

    /// Other artifacts with the content of this one, where there may be some.
    pub(super) async fn same_content_uids(&self, txn: &Txn, row: &ArtifactRow) -> Result<Vec<String>> {
        if row.size_bytes == 0 && self.folder().is_none() {
            return Ok(Vec::new());
        }
        let (sha256, most) = (row.digest()?, SAME_CONTENT_NAMED_MAX + 1);
        let content = (self.hash_type(), &sha256, row.size_bytes);
        let mut uids = artifacts::uids_with_content(txn, self.caller.space_id, content, most).await?;
        uids.retain(|uid| *uid != row.uid);
        uids.truncate(SAME_CONTENT_NAMED_MAX as usize);
        Ok(uids)
    }
}
