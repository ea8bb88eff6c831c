//! One member of a folder, found by its path.

use artifactd_domain::manifest::{Member, MemberPath};

use super::{
    super::{Caller, Registry, RegistryError, Result},
    save::FolderSource,
};
use crate::db::{artifacts::ArtifactRow, manifests};

impl Registry {
    /// What a folder has at a path.
    pub(in crate::registry) async fn member(&self, row: &ArtifactRow, path: &MemberPath) -> Result<Member> {
        let reader = self.db.reader();
        let missing = || -> Result<RegistryError> {
            let (uid, path) = (row.uid()?, path.to_string());
            Ok(RegistryError::MemberNotFound { uid, path })
        };
        let Some(placed) = manifests::page_for(reader, row.folder()?, path.as_str()).await? else {
            return Err(missing()?);
        };
        let page = self.page(reader, &placed).await?;
        let page = page.ok_or(RegistryError::ContentChanged(row.uid()?))?;
        match page.find(path.as_str()) {
            Some(member) => Ok(member.clone()),
            None => Err(missing()?),
        }
    }

    /// A file that an artifact has, and the storage that holds it.
    pub(super) async fn member_named(&self, caller: &Caller, from: &FolderSource) -> Result<(Member, i64)> {
        let row = self.find(self.db.reader(), caller, &from.reference, true).await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        let member = match &from.path {
            Some(path) => self.member(&row, path).await?,
            None => {
                row.require_file()?;
                Member {
                    // Its place in the new folder is another one.
                    path: "file".parse().expect("it is a path"),
                    size_bytes: row.size_bytes.unsigned_abs(),
                    sha256: row.digest()?,
                }
            }
        };
        Ok((member, row.storage_id))
    }
}
