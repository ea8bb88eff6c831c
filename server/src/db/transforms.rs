//! Queries over transforms and their families.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    named::{self, OfFamily, Versioned},
    numbered::{self, Sql, inserted},
    scope::Scope,
};

/// All of a transform but its source, which may be long.
const BRIEF: &str = "SELECT transforms.id, transforms.uid, family_id, space_id, \"key\", version_number, version_label, \
     is_latest, kind, description, source_sha256, reference, revision, created_by, transforms.created_at_us, \
     updated_at_us FROM transforms JOIN transform_families ON transform_families.id = transforms.family_id WHERE ";

/// One version of a transform.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct TransformRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) family_id: i64,
    pub(crate) space_id: i64,
    pub(crate) key: String,
    pub(crate) version_number: i32,
    pub(crate) version_label: String,
    pub(crate) is_latest: bool,
    pub(crate) kind: i16,
    pub(crate) description: Option<String>,
    pub(crate) source_sha256: Option<Vec<u8>>,
    pub(crate) reference: Option<String>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// All versions of a transform: what they issue next.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct FamilyRow {
    pub(crate) id: i64,
    pub(crate) stem: String,
    pub(crate) next_number: i32,
    pub(crate) next_suffix: Option<String>,
}

/// Which transforms to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct TransformPage {
    pub(crate) prefix: Option<(String, Option<String>)>,
    pub(crate) all_versions: bool,
    /// Key, number and id of the last one before.
    pub(crate) after: Option<(String, i32, i64)>,
    pub(crate) rows: u64,
}

/// Ids of what these names mean, each with its name: uids one version, keys and stems all versions.
pub(crate) async fn ids_of_names(
    conn: &impl ConnectionTrait,
    scope: Scope,
    names: &[&str],
) -> Result<Vec<(String, i64)>> {
    const TABLES: Versioned = Versioned {
        versions: "transforms",
        families: "transform_families",
    };
    named::ids_of_names(conn, scope, TABLES, OfFamily::AllVersions, names).await
}

/// The version with this uid.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<TransformRow>> {
    let mut sql = Sql::new(BRIEF);
    sql.push("uid = ").bind(uid);
    sql.one(conn).await
}

/// The versions with these ids.
pub(crate) async fn by_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<TransformRow>> {
    let mut found = Vec::new();
    for ids in ids.chunks(numbered::ROWS_AT_ONCE) {
        let mut sql = Sql::new(BRIEF);
        sql.push("transforms.id IN ").bind_list(ids.iter().copied());
        found.extend(sql.all::<TransformRow>(conn).await?);
    }
    Ok(found)
}

/// The latest version of the family with this stem.
pub(crate) async fn latest_of_stem(conn: &impl ConnectionTrait, stem: &str) -> Result<Option<TransformRow>> {
    let mut sql = Sql::new(BRIEF);
    sql.push("stem = ").bind(stem).push(" AND is_latest");
    sql.one(conn).await
}

/// The latest versions of the families with this key, in one space or the other.
pub(crate) async fn latest_of_key(conn: &impl ConnectionTrait, scope: Scope, key: &str) -> Result<Vec<TransformRow>> {
    let mut sql = Sql::new(BRIEF);
    sql.push("\"key\" = ").bind(key).push(" AND is_latest AND space_id IN ");
    scope.bind(&mut sql);
    sql.all(conn).await
}

/// The versions with this key that have one label or number, in one space or the other.
pub(crate) async fn version_of_key(
    conn: &impl ConnectionTrait,
    scope: Scope,
    key: &str,
    label: &str,
    number: Option<i32>,
) -> Result<Vec<TransformRow>> {
    let mut sql = Sql::new(BRIEF);
    sql.push("\"key\" = ")
        .bind(key)
        .push(" AND (version_label = ")
        .bind(label);
    if let Some(number) = number {
        sql.push(" OR version_number = ").bind(number);
    }
    sql.push(") AND space_id IN ");
    scope.bind(&mut sql).push(" ORDER BY version_number");
    sql.all(conn).await
}

/// One page by key, the highest version first.
pub(crate) async fn page(conn: &impl ConnectionTrait, scope: Scope, page: TransformPage) -> Result<Vec<TransformRow>> {
    let mut sql = Sql::new(BRIEF);
    sql.push("space_id IN ");
    scope.bind(&mut sql);
    if !page.all_versions {
        sql.push(" AND is_latest");
    }
    if let Some((begin, end)) = page.prefix {
        sql.push(" AND \"key\" >= ").bind(begin);
        if let Some(end) = end {
            sql.push(" AND \"key\" < ").bind(end);
        }
    }
    if let Some((key, number, id)) = page.after {
        sql.push(" AND (\"key\", -version_number, transforms.id) > (")
            .bind(key)
            .push(", ");
        sql.bind(-number).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY \"key\", version_number DESC, transforms.id LIMIT ");
    sql.bind(i64::try_from(page.rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// The source of a version.
pub(crate) async fn source(conn: &impl ConnectionTrait, id: i64) -> Result<Option<String>> {
    #[derive(FromQueryResult)]
    struct Source {
        source: Option<String>,
    }
    let mut sql = Sql::new("SELECT source FROM transforms WHERE id = ");
    sql.bind(id);
    Ok(sql.one::<Source>(conn).await?.and_then(|row| row.source))
}

/// The family of a space with this key, locked.
pub(crate) async fn lock_family(txn: &Txn, space_id: i64, key: &str) -> Result<Option<FamilyRow>> {
    let mut sql = Sql::new("SELECT id, stem, next_number, next_suffix FROM transform_families WHERE space_id = ");
    sql.bind(space_id)
        .push(" AND \"key\" = ")
        .bind(key)
        .push(txn.for_update());
    sql.one(txn).await
}

/// The same by its id.
pub(crate) async fn lock_family_by_id(txn: &Txn, id: i64) -> Result<Option<FamilyRow>> {
    let mut sql = Sql::new("SELECT id, stem, next_number, next_suffix FROM transform_families WHERE id = ");
    sql.bind(id).push(txn.for_update());
    sql.one(txn).await
}

/// Begins a family; answers its id.
pub(crate) async fn insert_family(
    txn: &Txn,
    stem: &str,
    space_id: i64,
    key: &str,
    next: (i32, Option<String>),
    now_us: i64,
) -> Result<i64> {
    const SQL: &str = "INSERT INTO transform_families (stem, space_id, \"key\", next_number, next_suffix, created_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
    let values = [
        stem.into(),
        space_id.into(),
        key.into(),
        next.0.into(),
        next.1.into(),
        now_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Remembers what a family issues next, and takes the mark of the latest from whichever has it.
pub(crate) async fn advance_family(txn: &Txn, id: i64, next: (i32, Option<String>)) -> Result<()> {
    const SQL: &str = "UPDATE transform_families SET next_number = $1, next_suffix = $2 WHERE id = $3";
    numbered::run(txn, SQL, [next.0.into(), next.1.into(), id.into()]).await?;
    clear_latest(txn, id).await
}

/// Takes the mark of the latest from whichever version of a family has it.
pub(crate) async fn clear_latest(txn: &Txn, family_id: i64) -> Result<()> {
    const SQL: &str = "UPDATE transforms SET is_latest = FALSE WHERE family_id = $1 AND is_latest";
    numbered::run(txn, SQL, [family_id.into()]).await?;
    Ok(())
}

/// Makes the highest version of a family the latest.
pub(crate) async fn mark_highest(txn: &Txn, family_id: i64) -> Result<()> {
    const SQL: &str = "UPDATE transforms SET is_latest = TRUE WHERE family_id = $1 AND version_number = \
         (SELECT MAX(version_number) FROM transforms WHERE family_id = $1)";
    numbered::run(txn, SQL, [family_id.into()]).await?;
    Ok(())
}

/// Inserts a version; answers its id.
pub(crate) async fn insert(txn: &Txn, row: &TransformRow, source: Option<&str>) -> Result<i64> {
    const SQL: &str = "INSERT INTO transforms (uid, family_id, version_number, version_label, is_latest, kind, \
         description, source, source_sha256, reference, revision, created_by, created_at_us, updated_at_us) \
         VALUES ($1, $2, $3, $4, TRUE, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id";
    let row = row.clone();
    let values = [
        row.uid.into(),
        row.family_id.into(),
        row.version_number.into(),
        row.version_label.into(),
        row.kind.into(),
        row.description.into(),
        source.map(str::to_owned).into(),
        row.source_sha256.into(),
        row.reference.into(),
        row.revision.into(),
        row.created_by.into(),
        row.created_at_us.into(),
        row.updated_at_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Labels that the versions of a family have.
pub(crate) async fn labels_of(txn: &Txn, family_id: i64) -> Result<Vec<String>> {
    #[derive(FromQueryResult)]
    struct Label {
        version_label: String,
    }
    let mut sql = Sql::new("SELECT version_label FROM transforms WHERE family_id = ");
    sql.bind(family_id);
    let rows: Vec<Label> = sql.all(txn).await?;
    Ok(rows.into_iter().map(|row| row.version_label).collect())
}

/// Writes what can change in a version.
pub(crate) async fn update(txn: &Txn, row: &TransformRow) -> Result<()> {
    const SQL: &str = "UPDATE transforms SET kind = $1, description = $2, reference = $3, revision = $4, \
         updated_at_us = $5 WHERE id = $6";
    let values = [
        row.kind.into(),
        row.description.clone().into(),
        row.reference.clone().into(),
        row.revision.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// Whether a run names a version.
pub(crate) async fn has_runs(conn: &impl ConnectionTrait, id: i64) -> Result<bool> {
    numbered::any(
        conn,
        "SELECT 1 AS one FROM runs WHERE transform_id = $1 LIMIT 1",
        [id.into()],
    )
    .await
}

/// Removes a version; `Conflict` when a run names it after all.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM transforms WHERE id = $1", [id.into()]).await?;
    Ok(())
}
