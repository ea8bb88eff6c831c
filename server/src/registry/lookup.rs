//! From a reference to an artifact.

use artifactd_domain::{ArtifactRef, VersionName, Visibility};
use sea_orm::ConnectionTrait;

use super::{Artifact, Caller, Registry, RegistryError, Result};
use crate::db::artifacts::{self, ArtifactRow};

impl Registry {
    /// Finds one artifact. Hidden ones only by uid, or when asked for.
    pub async fn get(&self, caller: &Caller, reference: &ArtifactRef, include_hidden: bool) -> Result<Artifact> {
        self.to_artifact(self.find(self.db.reader(), caller, reference, include_hidden).await?)
    }

    /// The row that a reference names, on the given connection.
    pub(super) async fn find(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        reference: &ArtifactRef,
        include_hidden: bool,
    ) -> Result<ArtifactRow> {
        let row = match reference {
            ArtifactRef::Uid(uid) => artifacts::by_uid(conn, uid).await?,
            ArtifactRef::Stem(stem) => artifacts::latest_of_stem(conn, stem.as_str()).await?,
            ArtifactRef::Key { storage, key, version } => {
                let storage_id = self.places.storage(caller, storage.as_ref())?.id;
                match version {
                    VersionName::Latest => artifacts::latest_of_key(conn, storage_id, key.as_str()).await?,
                    VersionName::Label(label) => {
                        artifacts::version_of_key(conn, storage_id, key.as_str(), label).await?
                    }
                }
            }
        };
        let by_uid = matches!(reference, ArtifactRef::Uid(_));
        row.filter(|row| caller.may_read(row.space_id))
            .filter(|row| by_uid || include_hidden || row.visibility != Visibility::Hidden.code())
            .ok_or_else(|| RegistryError::NotFound(reference.to_string()))
    }
}
