//! Features and params: names with a dtype.

use std::collections::HashMap;

use artifactd_domain::{Description, Dtype, Key, Name, Note, RegistryName, Role, Synonyms};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Caller, Registry, RegistryError, Result, Thing, draw_stem, events, idempotency::RequestKey, now_us};
use crate::db::{
    Batch, DbError, Txn, feature_sets,
    features::{self, FeaturePage, FeatureRow},
    labels::{self, RegistryRow},
    schemas,
    scope::Scope,
};

/// A feature or param.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Identifier.
    pub uid: String,
    /// What it is for.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// What its values are.
    pub dtype: Dtype,
    /// Unit of its values.
    pub unit: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Other names.
    pub synonyms: Vec<String>,
    /// Name of its space.
    pub space: String,
    /// Who added it.
    pub created_by: String,
    /// When it was added, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// When it last changed, in microseconds since 1970 UTC.
    pub updated_at_us: i64,
    /// Its entity tag.
    pub etag: String,
}

/// How a feature or param is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureRef {
    /// By uid.
    Uid(String),
    /// By what it is for, and its name.
    Name(Role, Name),
}

/// What to add.
#[derive(Debug, Clone)]
pub struct NewFeature {
    /// What it is for.
    pub role: Role,
    /// Its name.
    pub name: Name,
    /// What its values are.
    pub dtype: Dtype,
    /// Unit of its values.
    pub unit: Option<Note>,
    /// Free text.
    pub description: Option<Description>,
    /// Other names.
    pub synonyms: Synonyms,
    /// Whether one that is there with this dtype will do.
    pub allow_existing: bool,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What to change.
#[derive(Debug, Clone)]
pub struct FeatureUpdate {
    /// The feature or param.
    pub feature: FeatureRef,
    /// New values of some fields.
    pub fields: Vec<FeatureField>,
    /// Etag that it must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// The new value of one field.
#[derive(Debug, Clone)]
pub enum FeatureField {
    /// Another name.
    Name(Name),
    /// Another dtype.
    Dtype(Dtype),
    /// Another unit, or none.
    Unit(Option<Note>),
    /// Another text, or none.
    Description(Option<Description>),
    /// All other names.
    Synonyms(Synonyms),
}

/// Which features to list.
#[derive(Debug, Clone, Default)]
pub struct FeaturesQuery {
    /// What they are for.
    pub role: Option<Role>,
    /// What their names begin with.
    pub prefix: String,
    /// A name or synonym of theirs.
    pub called: Option<String>,
    /// Their dtype.
    pub dtype: Option<Dtype>,
    /// Place after which the page starts.
    pub after: Option<(i16, String, i64)>,
    /// Most records.
    pub rows: u64,
}

/// A feature as it is stored, with its synonyms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) row: FeatureRow,
    pub(super) synonyms: Vec<String>,
}

impl FeatureRow {
    pub(super) fn role(&self) -> Result<Role> {
        Ok(Role::from_code(self.role).ok_or(DbError::Row {
            table: "features",
            column: "role",
        })?)
    }

    pub(super) fn dtype(&self) -> Result<Dtype> {
        Ok(self.dtype.parse().map_err(|_| DbError::Row {
            table: "features",
            column: "dtype",
        })?)
    }

    fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }
}

/// Strong entity tag of what is not an artifact.
pub(super) fn entry_etag(revision: i64, uid: &str) -> String {
    format!("\"{revision:x}-{}\"", &uid[..uid.len().min(8)])
}

/// Fails when something has another etag than the caller saw.
pub(super) fn require_entry_etag(what: Thing, name: &str, actual: String, wanted: Option<&str>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != actual => Err(RegistryError::Changed {
            what,
            name: name.to_owned(),
            actual,
        }),
        _ => Ok(()),
    }
}

/// Of rows with one name the one of the caller's own space.
pub(super) fn own_first<R>(rows: Vec<R>, scope: Scope, space_id: impl Fn(&R) -> i64) -> Option<R> {
    rows.into_iter().min_by_key(|row| space_id(row) != scope.own)
}

impl Registry {
    /// Adds a feature or param.
    pub async fn create_feature(&self, caller: &Caller, new: NewFeature) -> Result<Feature> {
        let (scope, request) = (caller.scope(), new.request.clone());
        let maker = caller.clone();
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, new) = (maker.clone(), new.clone());
            Box::pin(async move { create(txn, &caller, scope, &new).await })
        });
        self.to_feature(stored.await?)
    }

    /// Finds one.
    pub async fn feature(&self, caller: &Caller, reference: &FeatureRef) -> Result<Feature> {
        let conn = self.db.reader();
        let row = find(conn, caller.scope(), reference).await?;
        let mut stored = with_synonyms(conn, vec![row]).await?;
        self.to_feature(stored.remove(0))
    }

    /// Lists them, and the place of the last one when there are more.
    pub async fn features(
        &self,
        caller: &Caller,
        query: FeaturesQuery,
    ) -> Result<(Vec<Feature>, Option<(i16, String, i64)>)> {
        let FeaturesQuery {
            role,
            prefix,
            called,
            dtype,
            after,
            rows: most,
        } = query;
        let page = FeaturePage {
            role: role.map(Role::code),
            prefix: range_of(&prefix),
            called,
            dtype: dtype.map(|dtype| dtype.to_string()),
            after,
            rows: most + 1,
        };
        let conn = self.db.reader();
        let mut rows = features::page(conn, caller.scope(), page).await?;
        let more = rows.len() as u64 > most;
        rows.truncate(most as usize);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| (row.role, row.name.clone(), row.id));
        let stored = with_synonyms(conn, rows).await?;
        let features = stored.into_iter().map(|stored| self.to_feature(stored));
        Ok((features.collect::<Result<_>>()?, next))
    }

    /// Changes fields of one.
    pub async fn update_feature(&self, caller: &Caller, update: FeatureUpdate) -> Result<Feature> {
        let (scope, request) = (caller.scope(), update.request.clone());
        let changer = caller.clone();
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, update) = (changer.clone(), update.clone());
            Box::pin(async move { change(txn, &caller, scope, &update).await })
        });
        self.to_feature(stored.await?)
    }

    /// Deletes one that nothing uses.
    pub async fn delete_feature(
        &self,
        caller: &Caller,
        reference: FeatureRef,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<()> {
        let (scope, deleter) = (caller.scope(), caller.clone());
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, reference, etag) = (deleter.clone(), reference.clone(), etag.clone());
            Box::pin(async move {
                let row = locked(txn, scope, &reference).await?;
                let what = row.role()?.into();
                require_entry_etag(what, &row.name, row.etag(), etag.as_deref())?;
                if features::has_values(txn, row.id).await? {
                    let (name, by) = (row.name, "values of artifacts");
                    return Err(RegistryError::InUse { what, name, by });
                }
                if feature_sets::release(txn, row.id).await? {
                    let (name, by) = (row.name, "feature sets of artifacts");
                    return Err(RegistryError::InUse { what, name, by });
                }
                if schemas::name_feature(txn, row.id).await? {
                    let (name, by) = (row.name, "schemas");
                    return Err(RegistryError::InUse { what, name, by });
                }
                features::delete(txn, row.id).await?;
                let detail = json!({ "name": row.name });
                log(txn, &caller, "feature_deleted", &row.uid, detail).await
            })
        })
        .await
    }

    pub(super) fn to_feature(&self, stored: Stored) -> Result<Feature> {
        let Stored { row, synonyms } = stored;
        Ok(Feature {
            role: row.role()?,
            dtype: row.dtype()?,
            etag: row.etag(),
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            uid: row.uid,
            name: row.name,
            unit: row.unit,
            description: row.description,
            synonyms,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

/// The half-open range of texts that begin with a prefix.
pub(super) fn range_of(prefix: &str) -> Option<(String, Option<String>)> {
    (!prefix.is_empty()).then(|| (prefix.to_owned(), Key::prefix_end(prefix)))
}

/// Writes one event that is not about an artifact.
async fn log(txn: &Txn, caller: &Caller, kind: &'static str, uid: &str, detail: serde_json::Value) -> Result<()> {
    let mut batch = Batch::new(txn);
    events::record_of(&mut batch, caller, kind, format!("feature/{uid}"), detail);
    Ok(batch.run(txn).await?)
}

pub(super) async fn with_synonyms(conn: &impl ConnectionTrait, rows: Vec<FeatureRow>) -> Result<Vec<Stored>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut synonyms: HashMap<i64, Vec<String>> = HashMap::new();
    for (id, synonym) in features::synonyms(conn, &ids).await? {
        synonyms.entry(id).or_default().push(synonym);
    }
    let stored = rows.into_iter().map(|row| Stored {
        synonyms: synonyms.remove(&row.id).unwrap_or_default(),
        row,
    });
    Ok(stored.collect())
}

async fn find(conn: &impl ConnectionTrait, scope: Scope, reference: &FeatureRef) -> Result<FeatureRow> {
    let (found, what, name) = match reference {
        FeatureRef::Uid(uid) => {
            let found = features::by_uid(conn, uid).await?;
            (
                found.filter(|row| scope.sees(row.space_id)),
                Thing::Feature,
                uid.clone(),
            )
        }
        FeatureRef::Name(role, name) => {
            let found = features::by_names(conn, scope, role.code(), &[name.as_str()]).await?;
            (
                own_first(found, scope, |row| row.space_id),
                (*role).into(),
                name.to_string(),
            )
        }
    };
    found.ok_or(RegistryError::Missing { what, name })
}

/// The same, locked; only those of the caller's own space can be changed.
async fn locked(txn: &Txn, scope: Scope, reference: &FeatureRef) -> Result<FeatureRow> {
    let found = find(txn, scope, reference).await?;
    let row = features::lock(txn, found.id).await?;
    row.filter(|row| row.space_id == scope.own)
        .ok_or(RegistryError::Missing {
            what: found.role()?.into(),
            name: found.name,
        })
}

/// The registries of a dtype.
pub(super) async fn registries_of(
    conn: &impl ConnectionTrait,
    scope: Scope,
    dtype: &Dtype,
) -> Result<Vec<RegistryRow>> {
    let names: Vec<&str> = dtype.registries().iter().map(RegistryName::as_str).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = labels::registries_by_names(conn, scope, &names).await?;
    let mut registries = Vec::with_capacity(names.len());
    for name in names {
        let (named, others) = found.into_iter().partition(|row: &RegistryRow| row.name == name);
        found = others;
        registries.push(
            own_first(named, scope, |row| row.space_id).ok_or(RegistryError::Missing {
                what: Thing::LabelRegistry,
                name: name.to_owned(),
            })?,
        );
    }
    Ok(registries)
}

async fn create(txn: &Txn, caller: &Caller, scope: Scope, new: &NewFeature) -> Result<Stored> {
    let (role, name) = (new.role, new.name.as_str());
    let found = features::by_names(txn, scope, role.code(), &[name]).await?;
    if let Some(row) = found.into_iter().find(|row| row.space_id == scope.own) {
        if !new.allow_existing || row.dtype()? != new.dtype {
            let (what, name) = (role.into(), row.name);
            return Err(RegistryError::NameTaken { what, name });
        }
        return Ok(with_synonyms(txn, vec![row]).await?.remove(0));
    }
    insert(txn, caller, scope, new).await
}

/// Adds a feature whose name is free.
pub(super) async fn insert(txn: &Txn, caller: &Caller, scope: Scope, new: &NewFeature) -> Result<Stored> {
    let registries = registries_of(txn, scope, &new.dtype).await?;
    let now = now_us();
    let mut row = FeatureRow {
        id: 0,
        uid: draw_stem().to_string(),
        space_id: scope.own,
        role: new.role.code(),
        name: new.name.to_string(),
        dtype: new.dtype.to_string(),
        unit: new.unit.as_ref().map(Note::to_string),
        description: new.description.as_ref().map(|text| text.as_str().to_owned()),
        revision: 1,
        created_by: caller.principal.id,
        created_at_us: now,
        updated_at_us: now,
    };
    row.id = features::insert(txn, &row).await?;
    let synonyms: Vec<&str> = new.synonyms.iter().map(Name::as_str).collect();
    if !synonyms.is_empty() {
        features::set_synonyms(txn, row.id, &synonyms).await?;
    }
    if !registries.is_empty() {
        let ids: Vec<i64> = registries.iter().map(|registry| registry.id).collect();
        features::set_registries(txn, row.id, &ids).await?;
    }
    let detail = json!({ "name": row.name, "role": new.role.as_str(), "dtype": row.dtype });
    log(txn, caller, "feature_created", &row.uid, detail).await?;
    let synonyms = synonyms.into_iter().map(str::to_owned).collect();
    Ok(Stored { row, synonyms })
}

async fn change(txn: &Txn, caller: &Caller, scope: Scope, update: &FeatureUpdate) -> Result<Stored> {
    let row = locked(txn, scope, &update.feature).await?;
    let what = row.role()?.into();
    require_entry_etag(what, &row.name, row.etag(), update.etag.as_deref())?;
    let mut stored = with_synonyms(txn, vec![row]).await?.remove(0);
    let before = stored.clone();
    for field in &update.fields {
        match field {
            FeatureField::Name(name) => {
                let named = features::by_names(txn, scope, stored.row.role, &[name.as_str()]).await?;
                if named
                    .iter()
                    .any(|row| row.space_id == scope.own && row.id != stored.row.id)
                {
                    let name = name.to_string();
                    return Err(RegistryError::NameTaken { what, name });
                }
                stored.row.name = name.to_string();
            }
            FeatureField::Dtype(dtype) => {
                if !before.row.dtype()?.widens_to(dtype) && features::has_values(txn, stored.row.id).await? {
                    let (name, by) = (before.row.name, "values of its old dtype");
                    return Err(RegistryError::InUse { what, name, by });
                }
                let registries = registries_of(txn, scope, dtype).await?;
                let ids: Vec<i64> = registries.iter().map(|registry| registry.id).collect();
                features::set_registries(txn, stored.row.id, &ids).await?;
                stored.row.dtype = dtype.to_string();
            }
            FeatureField::Unit(unit) => stored.row.unit = unit.as_ref().map(Note::to_string),
            FeatureField::Description(text) => {
                stored.row.description = text.as_ref().map(|text| text.as_str().to_owned());
            }
            FeatureField::Synonyms(synonyms) => {
                let names: Vec<&str> = synonyms.iter().map(Name::as_str).collect();
                features::set_synonyms(txn, stored.row.id, &names).await?;
                stored.synonyms = names.into_iter().map(str::to_owned).collect();
            }
        }
    }
    stored.row.revision += 1;
    stored.row.updated_at_us = now_us().max(stored.row.updated_at_us);
    features::update(txn, &stored.row).await?;
    let detail = json!({ "name": stored.row.name, "old_name": before.row.name, "dtype": stored.row.dtype });
    log(txn, caller, "feature_updated", &stored.row.uid, detail).await?;
    Ok(stored)
}
