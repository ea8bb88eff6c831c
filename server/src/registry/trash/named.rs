//! Which versions of a family a reference names, and which of them are destroyed.

use artifactd_domain::{ArtifactRef, Label, VersionName};
use sea_orm::ConnectionTrait;

use super::super::{RegistryError, Result};
use crate::db::{aliases, artifacts::ArtifactRow, entities::families::Model as Family};

/// The name by which a reference picks one version of its family.
fn version_name(reference: &ArtifactRef) -> Option<&Label> {
    match reference {
        ArtifactRef::StemVersion { version, .. }
        | ArtifactRef::Key {
            version: VersionName::Label(version),
            ..
        } => Some(version),
        _ => None,
    }
}

/// Id of the version to which the alias in a reference points, where it has one.
pub(super) async fn aliased(
    conn: &impl ConnectionTrait,
    family: &Family,
    reference: &ArtifactRef,
) -> Result<Option<i64>> {
    let Some(Ok(name)) = version_name(reference).map(|name| name.as_str().parse()) else {
        return Ok(None);
    };
    let alias = aliases::find(conn, family.id, &name).await?;
    Ok(alias.map(|alias| alias.artifact_id))
}

/// The versions that a reference names.
pub(super) fn named(reference: &ArtifactRef, versions: &[ArtifactRow], alias: Option<i64>) -> Result<Vec<ArtifactRow>> {
    let named: Vec<_> = match (reference, version_name(reference)) {
        (ArtifactRef::Uid(uid), _) => versions.iter().filter(|row| row.uid == uid.as_str()).cloned().collect(),
        (_, Some(name)) => version(name, versions, alias).into_iter().cloned().collect(),
        (_, None) => versions.to_vec(),
    };
    if named.is_empty() {
        Err(RegistryError::NotFound(reference.to_string()))
    } else {
        Ok(named)
    }
}

/// The version outside trash that a name means: its label, its number, or an alias.
fn version<'r>(name: &Label, versions: &'r [ArtifactRow], alias: Option<i64>) -> Option<&'r ArtifactRow> {
    let live = || versions.iter().filter(|row| !row.in_trash());
    let number = name.as_str().parse::<i32>().ok();
    let labelled = live().find(|row| row.version_label == name.as_str());
    let numbered = || live().find(|row| Some(row.version_number) == number);
    let aliased = || live().find(|row| Some(row.id) == alias);
    labelled.or_else(numbered).or_else(aliased)
}

/// The versions among those that a reference names which are destroyed.
pub(super) fn doomed(reference: &ArtifactRef, named: Vec<ArtifactRow>, force: bool) -> Result<Vec<ArtifactRow>> {
    // By key only what the key shows goes: an older trashed version is out of reach.
    let by_key = matches!(reference, ArtifactRef::Key { .. } | ArtifactRef::StemVersion { .. });
    let doomed: Vec<_> = named.into_iter().filter(|row| !by_key || !row.in_trash()).collect();
    match doomed.iter().find(|row| !row.in_trash() && !force) {
        Some(live) => Err(RegistryError::NotInTrash(live.uid()?)),
        None => Ok(doomed),
    }
}
