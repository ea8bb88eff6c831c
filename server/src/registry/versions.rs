//! Families: who issues the next version, and which version is the latest.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use artifactd_domain::{Key, Label, Stem, Uid, VersionNumber, VersionSuffix, version_label};

use super::{RegistryError, Result};
use crate::db::{
    Batch, DbError, Insert, Txn, aliases,
    artifacts::{self, ArtifactRow},
    entities::families::Model as Family,
    families,
};

/// The identity of a version that is about to be made.
#[derive(Debug)]
pub(super) struct NextVersion {
    pub(super) uid: Uid,
    pub(super) number: VersionNumber,
    pub(super) label: Label,
}

/// What a family issues after a version: a number, and a suffix while there is one.
fn after(number: VersionNumber, suffix: VersionSuffix) -> (i32, Option<String>) {
    let number = i32::try_from(number.next().get()).expect("version numbers fit");
    (number, suffix.successor().map(|suffix| suffix.to_string()))
}

/// The first version of a new family, and its row.
pub(super) fn begin_family(
    stem: Stem,
    (space_id, storage_id): (i64, i64),
    live_key: Option<String>,
    wish: Option<Label>,
    now_us: i64,
) -> Result<(NextVersion, Insert)> {
    let (number, suffix) = (VersionNumber::FIRST, VersionSuffix::FIRST);
    let label = version_label(number, &Default::default(), wish).map_err(label_refused)?;
    let next = after(number, suffix);
    let row = families::insert(stem, space_id, storage_id, next, live_key, now_us);
    let uid = Uid::new(stem, suffix);
    Ok((NextVersion { uid, number, label }, row))
}

/// Issues the next version of a locked family, which takes over as the latest.
pub(super) async fn issue_version(
    txn: &Txn,
    batch: &mut Batch,
    family: &Family,
    live_key: Option<String>,
    wish: Option<Label>,
) -> Result<NextVersion> {
    let impossible = |column| DbError::Row {
        table: "families",
        column,
    };
    let stem: Stem = family.stem.parse().map_err(|_| impossible("stem"))?;
    let suffix = family
        .next_suffix
        .as_deref()
        .ok_or_else(|| RegistryError::VersionsExhausted(family.stem.clone()))?;
    let suffix: VersionSuffix = suffix.parse().map_err(|_| impossible("next_suffix"))?;
    let number = VersionNumber::from_integer(family.next_number.into()).ok_or(impossible("next_number"))?;
    let taken = match &wish {
        // The number itself is never taken: labels of digits are always their own number.
        None => Default::default(),
        Some(wish) => {
            if let Ok(name) = wish.as_str().parse()
                && aliases::find(txn, family.id, &name).await?.is_some()
            {
                return Err(RegistryError::LabelIsAlias(wish.clone()));
            }
            let versions = artifacts::versions(txn, family.id).await?;
            versions
                .iter()
                .filter_map(|version| version.version_label.parse().ok())
                .collect()
        }
    };
    let label = version_label(number, &taken, wish).map_err(label_refused)?;
    batch.push(&artifacts::clear_latest(family.id));
    batch.push(&families::advance(family.id, after(number, suffix), live_key));
    Ok(NextVersion {
        uid: Uid::new(stem, suffix),
        number,
        label,
    })
}

fn label_refused(error: artifactd_domain::LabelRefused) -> RegistryError {
    match error {
        artifactd_domain::LabelRefused::Taken { wish } => RegistryError::VersionTaken(wish),
        other => RegistryError::field("header.version", other),
    }
}

/// Fails when another live family than `family_id` has this key. Locks the one that has it.
pub(super) async fn require_key(txn: &Txn, storage_id: i64, key: &Key, family_id: Option<i64>) -> Result<()> {
    match families::lock_by_key(txn, storage_id, key.as_str()).await? {
        Some(holder) if Some(holder.id) != family_id => Err(RegistryError::KeyTaken {
            key: key.to_string(),
            holder: holder.stem,
        }),
        _ => Ok(()),
    }
}

/// Fails when a key would lie in a live folder, or, as that of a folder, above live keys.
pub(super) async fn require_no_overlap(txn: &Txn, storage_id: i64, key: &str, is_folder: bool) -> Result<()> {
    if !is_folder && !key.contains('/') {
        return Ok(());
    }
    families::lock_overlaps(txn, storage_id, key, is_folder).await?;
    let above = families::folder_above(txn, storage_id, key).await?;
    let other = match above {
        None if is_folder => families::key_below(txn, storage_id, key).await?,
        above => above,
    };
    match other {
        Some(other) => Err(RegistryError::KeyOverlaps {
            key: key.to_owned(),
            other,
        }),
        None => Ok(()),
    }
}

/// Which keys of files lie in live folders; such changes wait, as with [`require_no_overlap`].
pub(super) async fn below_folders<'k>(txn: &Txn, storage_id: i64, keys: &[&'k str]) -> Result<HashSet<&'k str>> {
    let above = |key: &'k str| key.match_indices('/').map(move |(end, _)| &key[..end]);
    let firsts: BTreeMap<&str, &str> = keys.iter().filter_map(|key| Some((above(key).next()?, *key))).collect();
    for key in firsts.into_values() {
        families::lock_overlaps(txn, storage_id, key, false).await?;
    }
    let folders: BTreeSet<&str> = keys.iter().copied().flat_map(above).collect();
    let folders: Vec<&str> = folders.into_iter().collect();
    let folders = families::folder_keys(txn, storage_id, &folders).await?;
    let below = keys
        .iter()
        .copied()
        .filter(|key| above(key).any(|above| folders.contains(above)));
    Ok(below.collect())
}

/// What to do when the key of the new latest version is another family's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfKeyTaken {
    /// Fail.
    Refuse,
    /// Go on without: the family is found by stem and uid only.
    GoWithout,
}

/// Makes the highest version outside trash the latest, and its key the family's.
///
/// `versions` are those of the family as they will be, highest number first; only
/// their `is_latest` is settled here, and written by whoever writes them.
pub(super) async fn settle_latest(
    txn: &Txn,
    batch: &mut Batch,
    family: &Family,
    versions: &mut [ArtifactRow],
    if_taken: IfKeyTaken,
) -> Result<()> {
    let head = versions.iter().position(|version| !version.in_trash());
    for (place, version) in versions.iter_mut().enumerate() {
        version.is_latest = Some(place) == head;
    }
    let mut live_key = head.and_then(|head| versions[head].key.clone());
    if live_key == family.live_key {
        return Ok(());
    }
    if let Some(key) = &live_key {
        let holder = families::lock_by_key(txn, family.storage_id, key).await?;
        match holder.filter(|holder| holder.id != family.id) {
            Some(holder) if if_taken == IfKeyTaken::Refuse => {
                let (key, holder) = (key.clone(), holder.stem);
                return Err(RegistryError::KeyTaken { key, holder });
            }
            Some(_) => live_key = None,
            None => {}
        }
    }
    if let (Some(key), Some(head)) = (&live_key, head) {
        let is_folder = versions[head].manifest_id.is_some();
        match require_no_overlap(txn, family.storage_id, key, is_folder).await {
            Err(RegistryError::KeyOverlaps { .. }) if if_taken == IfKeyTaken::GoWithout => live_key = None,
            checked => checked?,
        }
    }
    if live_key != family.live_key {
        batch.push(&families::set_live_key(family.id, live_key));
    }
    Ok(())
}
