//! What differs between two folders, as a stream.

use std::sync::Arc;

use artifactd_domain::{
    ArtifactRef,
    manifest::{Diff, DiffStep, Difference, Page},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::super::{Artifact, Caller, Registry, RegistryError, Result};
use crate::db::{manifests, manifests::PlacedPage};

/// A comparison of two folders.
pub struct FolderDiff {
    /// The old one.
    pub old: Artifact,
    /// The new one.
    pub new: Artifact,
    /// What differs, and the end. The first error ends it.
    pub steps: BoxStream<'static, Result<DiffFound>>,
}

/// What a comparison has found.
#[derive(Debug)]
pub enum DiffFound {
    /// The folders differ in this.
    Difference(Difference),
    /// They differ in nothing more.
    End {
        /// Whether some that moved may have been told as added and removed.
        moves_may_be_missing: bool,
    },
}

/// One of the two folders.
struct Side {
    artifact: Artifact,
    pages: Vec<PlacedPage>,
}

struct Walk {
    registry: Arc<Registry>,
    diff: Diff,
    old: Side,
    new: Side,
}

impl Registry {
    /// Compares two folders.
    pub async fn diff_folders(
        self: &Arc<Self>,
        caller: &Caller,
        (old, new): (&ArtifactRef, &ArtifactRef),
        include_hidden: bool,
    ) -> Result<FolderDiff> {
        let old = self.side(caller, old, include_hidden).await?;
        let new = self.side(caller, new, include_hidden).await?;
        let references = |side: &Side| -> Vec<_> { side.pages.iter().map(|page| page.reference.clone()).collect() };
        let artifacts = (old.artifact.clone(), new.artifact.clone());
        let walk = Walk {
            registry: Arc::clone(self),
            diff: Diff::new(references(&old), references(&new)),
            old,
            new,
        };
        let steps = stream::unfold(Some(walk), |walk| async move {
            let mut walk = walk?;
            match walk.next().await {
                Ok(end @ DiffFound::End { .. }) => Some((Ok(end), None)),
                Ok(found) => Some((Ok(found), Some(walk))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(FolderDiff {
            old: artifacts.0,
            new: artifacts.1,
            steps: steps.boxed(),
        })
    }

    async fn side(&self, caller: &Caller, reference: &ArtifactRef, include_hidden: bool) -> Result<Side> {
        let reader = self.db.reader();
        let row = self.find(reader, caller, reference, include_hidden).await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        let pages = manifests::pages_of(reader, row.folder()?).await?;
        let artifact = self.to_artifact(row)?;
        Ok(Side { artifact, pages })
    }
}

impl Walk {
    async fn next(&mut self) -> Result<DiffFound> {
        loop {
            let page = match self.diff.next() {
                DiffStep::Found(difference) => return Ok(DiffFound::Difference(difference)),
                DiffStep::Done { moves_may_be_missing } => return Ok(DiffFound::End { moves_may_be_missing }),
                DiffStep::LoadOld(number) => self.load(&self.old, number).await?,
                DiffStep::LoadNew(number) => self.load(&self.new, number).await?,
            };
            self.diff.give_page(page)?;
        }
    }

    async fn load(&self, side: &Side, number: usize) -> Result<Page> {
        let gone = || RegistryError::ContentChanged(side.artifact.uid);
        let placed = side.pages.get(number).ok_or_else(gone)?;
        let page = self.registry.page(self.registry.db.reader(), placed).await?;
        Ok((*page.ok_or_else(gone)?).clone())
    }
}
