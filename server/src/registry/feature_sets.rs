//! Feature sets: which features the content of an artifact has.
//!
//! They are found in the transaction that makes the record, from what a look into the
//! content has found. A column that is called like no feature is in no set; a table none of
//! whose columns is registered costs a save one look-up and no row.

use std::collections::{BTreeSet, HashMap};

use artifactd_domain::{COLUMNS_SLOT, Role, Visibility, feature_set_hash};

use super::{
    Caller, Feature, Registry, RegistryError, Result, Thing, draw_stem, features,
    looking::{self, Facts},
    now_us,
};
use crate::db::{
    self, Txn,
    artifacts::ArtifactRow,
    feature_sets::{self, FeatureSetRow},
    tables,
};

/// Features and columns that the description of an artifact names.
const NAMED_MAX: usize = 100;

/// A set of features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSet {
    /// Identifier.
    pub uid: String,
    /// Digest over the uids of its features.
    pub hash: String,
    /// How many features it has.
    pub n_features: i64,
    /// Its features by name, or the first of them.
    pub features: Vec<Feature>,
    /// Artifacts outside trash that have it, where they were counted.
    pub n_artifacts: i64,
    /// Name of its space.
    pub space: String,
    /// When it was first found, in microseconds since 1970 UTC.
    pub created_at_us: i64,
}

/// What an artifact has in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOfArtifact {
    /// The slot.
    pub slot: String,
    /// Its features; nothing when none was registered.
    pub feature_set: Option<FeatureSet>,
    /// How many columns are called like none of them.
    pub n_unregistered: i64,
    /// The first of these.
    pub unregistered: Vec<String>,
}

/// Links an artifact to the features that were found in its content.
pub(super) async fn derive(txn: &Txn, caller: &Caller, found: &Facts, artifact_id: i64) -> Result<()> {
    for (slot, set_id) in sets_of(txn, caller, found).await? {
        feature_sets::link(txn, artifact_id, slot, set_id).await?;
    }
    Ok(())
}

/// The sets of the features that were found in some content, by slot.
pub(super) async fn sets_of(txn: &Txn, caller: &Caller, found: &Facts) -> Result<Vec<(&'static str, i64)>> {
    let mut sets = Vec::new();
    for (slot, names) in found.slots() {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let names: Vec<&str> = names.into_iter().collect();
        let scope = caller.scope();
        let rows = db::features::by_names_shared(txn, scope, Role::Feature.code(), &names).await?;
        let mut by_name = HashMap::with_capacity(rows.len());
        for row in rows {
            // A name of the caller's own space hides the same one of the default space.
            if row.space_id == scope.own || !by_name.contains_key(&row.name) {
                by_name.insert(row.name.clone(), row);
            }
        }
        if by_name.is_empty() {
            continue;
        }
        let mut ids: Vec<i64> = by_name.values().map(|row| row.id).collect();
        ids.sort_unstable();
        let set = FeatureSetRow {
            id: 0,
            uid: draw_stem().to_string(),
            space_id: caller.space_id,
            hash: feature_set_hash(by_name.values().map(|row| row.uid.as_str()))
                .as_bytes()
                .to_vec(),
            n_features: ids.len() as i64,
            created_by: caller.principal.id,
            created_at_us: now_us(),
        };
        sets.push((slot, feature_sets::find_or_insert(txn, &set, &ids).await?));
    }
    Ok(sets)
}

/// The same for content that replaces what the artifact had.
pub(super) async fn derive_anew(txn: &Txn, caller: &Caller, found: &Facts, artifact_id: i64) -> Result<()> {
    feature_sets::unlink(txn, artifact_id).await?;
    derive(txn, caller, found, artifact_id).await
}

impl Registry {
    /// Finds a set with all of its members.
    pub async fn feature_set(&self, caller: &Caller, uid: &str) -> Result<FeatureSet> {
        let conn = self.db.reader();
        let row = feature_sets::by_uid(conn, uid).await?;
        let row = row.filter(|row| caller.scope().sees(row.space_id));
        let row = row.ok_or_else(|| RegistryError::Missing {
            what: Thing::FeatureSet,
            name: uid.to_owned(),
        })?;
        let n_artifacts = feature_sets::count_artifacts(conn, row.id, Visibility::Trash.code()).await?;
        let set = self.to_feature_set(row).await?;
        Ok(FeatureSet { n_artifacts, ..set })
    }

    /// What an artifact has in each slot.
    pub(super) async fn slots_of(&self, row: &ArtifactRow) -> Result<Vec<SlotOfArtifact>> {
        if row.accessor.is_none() {
            return Ok(Vec::new());
        }
        let conn = self.db.reader();
        let Some(table) = tables::of_artifact(conn, row.id).await? else {
            return Ok(Vec::new());
        };
        let Some(table) = looking::from_row(&table, row.n_observations) else {
            return Ok(Vec::new());
        };
        let linked = feature_sets::of_artifact(conn, row.id).await?;
        let linked = linked.into_iter().find(|linked| linked.slot == COLUMNS_SLOT);
        let mut feature_set = None;
        if let Some(linked) = linked {
            let found = feature_sets::by_ids(conn, &[linked.feature_set_id]).await?.pop();
            feature_set = match found {
                Some(found) => Some(self.to_feature_set(found).await?),
                None => None,
            };
        }
        let members = feature_set.iter().flat_map(|set: &FeatureSet| &set.features);
        let mut seen: BTreeSet<&str> = members.map(|feature| feature.name.as_str()).collect();
        let names = table.columns.iter().map(|column| column.name.as_str());
        let unregistered: Vec<String> = names.filter(|name| seen.insert(name)).map(str::to_owned).collect();
        let n_unregistered = unregistered.len() as i64;
        let unregistered = unregistered.into_iter().take(NAMED_MAX).collect();
        if let Some(set) = &mut feature_set {
            set.features.truncate(NAMED_MAX);
        }
        Ok(vec![SlotOfArtifact {
            slot: COLUMNS_SLOT.to_owned(),
            feature_set,
            n_unregistered,
            unregistered,
        }])
    }

    async fn to_feature_set(&self, row: FeatureSetRow) -> Result<FeatureSet> {
        let conn = self.db.reader();
        let ids = feature_sets::members(conn, row.id).await?;
        let members = db::features::by_ids(conn, &ids).await?;
        let members = features::with_synonyms(conn, members).await?;
        let members = members.into_iter().map(|stored| self.to_feature(stored));
        let mut members = members.collect::<Result<Vec<_>>>()?;
        members.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(FeatureSet {
            hash: row.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            uid: row.uid,
            n_features: row.n_features,
            features: members,
            n_artifacts: 0,
            space: self.places.space(row.space_id)?.name.clone(),
            created_at_us: row.created_at_us,
        })
    }
}
