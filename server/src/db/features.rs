//! Queries over features and params.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    numbered::{self, Sql, inserted},
    scope::Scope,
};

const COLUMNS: &str = "SELECT id, uid, space_id, role, name, dtype, unit, description, revision, created_by, \
     created_at_us, updated_at_us FROM features WHERE ";

/// A feature or param.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct FeatureRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) role: i16,
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) unit: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// Something that a feature has several of.
#[derive(Debug, Clone, FromQueryResult)]
struct OfFeature {
    feature_id: i64,
    synonym: String,
}

/// Which features to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct FeaturePage {
    pub(crate) role: Option<i16>,
    pub(crate) prefix: Option<(String, Option<String>)>,
    pub(crate) called: Option<String>,
    pub(crate) dtype: Option<String>,
    /// Role, name and id of the last one before.
    pub(crate) after: Option<(i16, String, i64)>,
    pub(crate) rows: u64,
}

/// The feature with this uid, wherever it is.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<FeatureRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("uid = ").bind(uid);
    sql.one(conn).await
}

/// The features with these names, in one space or the other.
pub(crate) async fn by_names(
    conn: &impl ConnectionTrait,
    scope: Scope,
    role: i16,
    names: &[&str],
) -> Result<Vec<FeatureRow>> {
    let mut found = Vec::new();
    for names in names.chunks(numbered::ROWS_AT_ONCE) {
        let mut sql = Sql::new(COLUMNS);
        sql.push("role = ").bind(role).push(" AND name IN ");
        sql.bind_list(names.iter().copied()).push(" AND space_id IN ");
        scope.bind(&mut sql);
        found.extend(sql.all::<FeatureRow>(conn).await?);
    }
    Ok(found)
}

/// The same, kept as they are until the transaction ends.
pub(crate) async fn by_names_shared(txn: &Txn, scope: Scope, role: i16, names: &[&str]) -> Result<Vec<FeatureRow>> {
    let mut found = Vec::new();
    for names in names.chunks(numbered::ROWS_AT_ONCE) {
        let mut sql = Sql::new(COLUMNS);
        sql.push("role = ").bind(role).push(" AND name IN ");
        sql.bind_list(names.iter().copied()).push(" AND space_id IN ");
        // Whoever changes one of them waits, and so two callers lock them in one order.
        scope.bind(&mut sql).push(" ORDER BY id").push(txn.for_share());
        found.extend(sql.all::<FeatureRow>(txn).await?);
    }
    Ok(found)
}

/// The features with these ids.
pub(crate) async fn by_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<FeatureRow>> {
    let mut found = Vec::new();
    for ids in ids.chunks(numbered::ROWS_AT_ONCE) {
        let mut sql = Sql::new(COLUMNS);
        sql.push("id IN ").bind_list(ids.iter().copied());
        found.extend(sql.all::<FeatureRow>(conn).await?);
    }
    Ok(found)
}

/// The feature with this id, locked against changes and deletion.
pub(crate) async fn lock(txn: &Txn, id: i64) -> Result<Option<FeatureRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("id = ").bind(id).push(txn.for_update());
    sql.one(txn).await
}

/// One page, by role and name.
pub(crate) async fn page(conn: &impl ConnectionTrait, scope: Scope, page: FeaturePage) -> Result<Vec<FeatureRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("space_id IN ");
    scope.bind(&mut sql);
    if let Some(role) = page.role {
        sql.push(" AND role = ").bind(role);
    }
    if let Some((begin, end)) = page.prefix {
        sql.push(" AND name >= ").bind(begin);
        if let Some(end) = end {
            sql.push(" AND name < ").bind(end);
        }
    }
    if let Some(called) = page.called {
        sql.push(" AND (name = ").bind(called.clone());
        sql.push(" OR id IN (SELECT feature_id FROM feature_synonyms WHERE synonym = ");
        sql.bind(called).push("))");
    }
    if let Some(dtype) = page.dtype {
        sql.push(" AND dtype = ").bind(dtype);
    }
    if let Some((role, name, id)) = page.after {
        sql.push(" AND (role, name, id) > (").bind(role).push(", ");
        sql.bind(name).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY role, name, id LIMIT ");
    sql.bind(i64::try_from(page.rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// Synonyms of some features, by id.
pub(crate) async fn synonyms(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    let mut found = Vec::new();
    for ids in ids.chunks(numbered::ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT feature_id, synonym FROM feature_synonyms WHERE feature_id IN ");
        sql.bind_list(ids.iter().copied()).push(" ORDER BY feature_id, synonym");
        let rows: Vec<OfFeature> = sql.all(conn).await?;
        found.extend(rows.into_iter().map(|row| (row.feature_id, row.synonym)));
    }
    Ok(found)
}

/// Inserts a feature; answers its id.
pub(crate) async fn insert(txn: &Txn, row: &FeatureRow) -> Result<i64> {
    const SQL: &str = "INSERT INTO features (uid, space_id, role, name, dtype, unit, description, revision, \
         created_by, created_at_us, updated_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";
    let FeatureRow {
        id: _,
        uid,
        space_id,
        role,
        name,
        dtype,
        unit,
        description,
        revision,
        created_by,
        created_at_us,
        updated_at_us,
    } = row.clone();
    let values = [
        uid.into(),
        space_id.into(),
        role.into(),
        name.into(),
        dtype.into(),
        unit.into(),
        description.into(),
        revision.into(),
        created_by.into(),
        created_at_us.into(),
        updated_at_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Writes what can change in a feature.
pub(crate) async fn update(txn: &Txn, row: &FeatureRow) -> Result<()> {
    const SQL: &str = "UPDATE features SET name = $1, dtype = $2, unit = $3, description = $4, revision = $5, \
         updated_at_us = $6 WHERE id = $7";
    let values = [
        row.name.clone().into(),
        row.dtype.clone().into(),
        row.unit.clone().into(),
        row.description.clone().into(),
        row.revision.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// Gives a feature these synonyms and no others.
pub(crate) async fn set_synonyms(txn: &Txn, id: i64, synonyms: &[&str]) -> Result<()> {
    numbered::run(txn, "DELETE FROM feature_synonyms WHERE feature_id = $1", [id.into()]).await?;
    if synonyms.is_empty() {
        return Ok(());
    }
    let places = numbered::places_for(synonyms.len(), 2);
    let sql = format!("INSERT INTO feature_synonyms (feature_id, synonym) VALUES {places}");
    let values = synonyms.iter().flat_map(|synonym| [id.into(), (*synonym).into()]);
    numbered::run(txn, &sql, values).await?;
    Ok(())
}

/// Gives a categorical these registries and no others.
pub(crate) async fn set_registries(txn: &Txn, id: i64, registries: &[i64]) -> Result<()> {
    numbered::run(txn, "DELETE FROM feature_registries WHERE feature_id = $1", [id.into()]).await?;
    if registries.is_empty() {
        return Ok(());
    }
    let places = numbered::places_for(registries.len(), 2);
    let sql = format!("INSERT INTO feature_registries (feature_id, registry_id) VALUES {places}");
    let values = registries.iter().flat_map(|registry| [id.into(), (*registry).into()]);
    numbered::run(txn, &sql, values).await?;
    Ok(())
}

/// Whether an artifact has a value of this feature.
pub(crate) async fn has_values(conn: &impl ConnectionTrait, id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one WHERE \
         EXISTS (SELECT 1 FROM feature_values WHERE feature_id = $1 AND int_value IS NOT NULL) OR \
         EXISTS (SELECT 1 FROM feature_values WHERE feature_id = $1 AND float_value IS NOT NULL) OR \
         EXISTS (SELECT 1 FROM feature_values WHERE feature_id = $1 AND text_value IS NOT NULL) OR \
         EXISTS (SELECT 1 FROM artifact_labels WHERE feature_id = $1)";
    numbered::any(conn, SQL, [id.into()]).await
}

/// Removes a feature; `Conflict` when something names it after all.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM features WHERE id = $1", [id.into()]).await?;
    Ok(())
}
