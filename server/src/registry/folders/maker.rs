//! From decided entries to pages: of a whole listing, or of a change of a base.

use artifactd_domain::manifest::{
    CaseCollision, Change, ChangeRefused, ChangeStep, Edit, ManifestDigest, ManifestRefused, Page, Paging,
};

use super::super::{Registry, RegistryError, Result};
use crate::db::manifests::PlacedPage;

/// A page of the new folder.
pub(super) enum Made {
    /// One of the base.
    Kept(PlacedPage),
    /// Another one.
    New(Page),
}

/// Makes the pages of a folder, in order.
pub(super) enum Maker {
    /// From all its members.
    Listing(Box<Paging>),
    /// From a base and edits of it.
    Change(Box<(Change, Vec<PlacedPage>)>),
}

impl From<ManifestRefused> for RegistryError {
    fn from(refused: ManifestRefused) -> Self {
        Self::FolderRefused(refused.to_string())
    }
}

impl From<CaseCollision> for RegistryError {
    fn from(refused: CaseCollision) -> Self {
        Self::FolderRefused(refused.to_string())
    }
}

impl From<ChangeRefused> for RegistryError {
    fn from(refused: ChangeRefused) -> Self {
        Self::FolderRefused(refused.to_string())
    }
}

impl Maker {
    /// For a folder that is listed.
    pub(super) fn of_listing() -> Self {
        Self::Listing(Box::default())
    }

    /// For a change of a base that consists of these pages.
    pub(super) fn of_base(digest: &ManifestDigest, pages: Vec<PlacedPage>) -> Result<Self> {
        let references: Vec<_> = pages.iter().map(|page| page.reference.clone()).collect();
        Ok(Self::Change(Box::new((Change::new(digest, references)?, pages))))
    }

    /// Takes the next entry; pages that are complete are added to `made`.
    pub(super) async fn push(&mut self, registry: &Registry, edit: Edit, made: &mut Vec<Made>) -> Result<()> {
        match self {
            Self::Listing(paging) => match edit {
                Edit::Put(member) => made.extend(paging.push(member)?.map(Made::New)),
                Edit::Remove(path) => {
                    let rule = format!("there is no base from which `{path}` could be removed");
                    return Err(RegistryError::FolderRefused(rule));
                }
            },
            Self::Change(change) => {
                drive(registry, change, made).await?;
                change.0.give_edit(Some(edit))?;
            }
        }
        Ok(())
    }

    /// Takes the end.
    pub(super) async fn finish(self, registry: &Registry, made: &mut Vec<Made>) -> Result<ManifestDigest> {
        match self {
            Self::Listing(paging) => {
                let (last, digest) = paging.finish()?;
                made.extend(last.map(Made::New));
                Ok(digest)
            }
            Self::Change(mut change) => {
                drive(registry, &mut change, made).await?;
                change.0.give_edit(None)?;
                let digest = drive(registry, &mut change, made).await?;
                digest.ok_or_else(|| RegistryError::from(ChangeRefused::OtherPages))
            }
        }
    }
}

/// Runs a change until it wants an edit; answers what came out once it has ended.
async fn drive(
    registry: &Registry,
    (change, pages): &mut (Change, Vec<PlacedPage>),
    made: &mut Vec<Made>,
) -> Result<Option<ManifestDigest>> {
    loop {
        match change.next()? {
            ChangeStep::Edit => return Ok(None),
            ChangeStep::Load(number) => {
                let placed = pages.get(number).ok_or(ChangeRefused::OtherPages)?;
                let page = registry.page(registry.db.reader(), placed).await?;
                let page = page.ok_or_else(|| RegistryError::FolderRefused("the base is gone".to_owned()))?;
                change.give_page((*page).clone())?;
            }
            ChangeStep::Keep(number) => {
                let placed = pages.get(number).ok_or(ChangeRefused::OtherPages)?;
                made.push(Made::Kept(placed.clone()));
            }
            ChangeStep::New(page) => made.push(Made::New(page)),
            ChangeStep::Done(digest) => return Ok(Some(digest)),
        }
    }
}
