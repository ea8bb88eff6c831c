//! From references to artifacts.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use artifactd_domain::{ArtifactRef, VersionName, Visibility};

use super::{Artifact, Caller, Registry, RegistryError, Result};
use crate::db::{
    Connection,
    artifacts::{self, ArtifactRow},
    entities::families::Model as Family,
    families,
};

impl Registry {
    /// Finds one artifact. Hidden ones only by uid, or when asked for.
    pub async fn get(&self, caller: &Caller, reference: &ArtifactRef, include_hidden: bool) -> Result<Artifact> {
        self.to_artifact(self.find(self.db.reader(), caller, reference, include_hidden).await?)
    }

    /// Finds artifacts, in the order of the references. Fails when one is missing.
    pub async fn get_all(
        &self,
        caller: &Caller,
        references: &[ArtifactRef],
        include_hidden: bool,
    ) -> Result<Vec<Artifact>> {
        let names: Vec<Name<'_>> = references
            .iter()
            .map(|reference| self.name(caller, reference))
            .collect::<Result<_>>()?;
        let found = self.find_plain(&names).await?;
        let mut rows = Vec::with_capacity(references.len());
        for (reference, name) in references.iter().zip(&names) {
            let row = match name {
                Name::Other => Some(self.find(self.db.reader(), caller, reference, true).await?),
                plain => found.get(plain).cloned(),
            };
            rows.push(shown(row, caller, reference, include_hidden)?);
        }
        self.to_artifacts(rows)
    }

    fn name<'r>(&self, caller: &Caller, reference: &'r ArtifactRef) -> Result<Name<'r>> {
        Ok(match reference {
            ArtifactRef::Uid(uid) => Name::Uid(uid.as_str().into()),
            ArtifactRef::Stem(stem) => Name::Stem(stem.to_string()),
            ArtifactRef::Key {
                storage,
                key,
                version: VersionName::Latest,
            } => Name::Key(self.places.storage(caller, storage.as_ref())?.id, key.as_str().into()),
            ArtifactRef::Key { .. } | ArtifactRef::StemVersion { .. } => Name::Other,
        })
    }

    /// What is named by uid, stem or key alone: one query for each way of naming.
    async fn find_plain<'r>(&self, names: &[Name<'r>]) -> Result<HashMap<Name<'r>, ArtifactRow>> {
        let (mut uids, mut stems) = (BTreeSet::new(), BTreeSet::new());
        let mut keys: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
        for name in names {
            match name {
                Name::Uid(uid) => drop(uids.insert(&**uid)),
                Name::Stem(stem) => drop(stems.insert(stem.as_str())),
                Name::Key(storage_id, key) => drop(keys.entry(*storage_id).or_default().insert(&**key)),
                Name::Other => {}
            }
        }
        let conn = self.db.reader();
        let mut found = HashMap::new();
        let uids: Vec<&str> = uids.into_iter().collect();
        for row in artifacts::by_uids(conn, &uids).await? {
            found.insert(Name::Uid(row.uid.clone().into()), row);
        }
        for row in artifacts::latest_of_stems(conn, stems).await? {
            found.insert(Name::Stem(row.uid()?.stem().to_string()), row);
        }
        for (storage_id, keys) in keys {
            for (key, row) in artifacts::latest_of_keys(conn, storage_id, keys).await? {
                found.insert(Name::Key(storage_id, key.into()), row);
            }
        }
        Ok(found)
    }

    /// The family of what a reference names. A stem finds it also when all of it is in trash.
    pub(super) async fn family(
        &self,
        conn: &impl Connection,
        caller: &Caller,
        reference: &ArtifactRef,
    ) -> Result<Family> {
        let stem = match reference {
            ArtifactRef::Stem(stem) | ArtifactRef::StemVersion { stem, .. } => *stem,
            other => self.find(conn, caller, other, true).await?.uid()?.stem(),
        };
        let family = families::by_stem(conn, stem).await?;
        let family = family.filter(|family| caller.may_read(family.space_id));
        family.ok_or_else(|| RegistryError::NotFound(reference.to_string()))
    }

    /// The row that a reference names, on the given connection.
    pub(super) async fn find(
        &self,
        conn: &impl Connection,
        caller: &Caller,
        reference: &ArtifactRef,
        include_hidden: bool,
    ) -> Result<ArtifactRow> {
        let row = match reference {
            ArtifactRef::Uid(uid) => artifacts::by_uid(conn, uid).await?,
            ArtifactRef::Stem(stem) => artifacts::latest_of_stem(conn, stem.as_str()).await?,
            ArtifactRef::StemVersion { stem, version } => artifacts::version_of_stem(conn, *stem, version).await?,
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
        shown(row, caller, reference, include_hidden)
    }
}

/// How an artifact is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name<'r> {
    Uid(Cow<'r, str>),
    Stem(String),
    /// The storage and the key of the latest version.
    Key(i64, Cow<'r, str>),
    /// In a way that only one can be looked up at a time.
    Other,
}

/// A row that was found, if the caller may see it under this reference.
fn shown(
    row: Option<ArtifactRow>,
    caller: &Caller,
    reference: &ArtifactRef,
    include_hidden: bool,
) -> Result<ArtifactRow> {
    let by_uid = matches!(reference, ArtifactRef::Uid(_));
    row.filter(|row| caller.may_read(row.space_id))
        .filter(|row| by_uid || include_hidden || row.visibility != Visibility::Hidden.code())
        .ok_or_else(|| RegistryError::NotFound(reference.to_string()))
}
