//! Queries over collections and their members.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    named::{self, OfFamily, Versioned},
    numbered::{self, ROWS_AT_ONCE, Sql, inserted, places_for},
    scope::Scope,
};

const COLUMNS: &str = "SELECT collections.id, collections.uid, collections.family_id, collection_families.space_id, \
     \"key\", version_number, version_label, is_latest, collections.description, sha256, n_members, run_id, \
     runs.uid AS run_uid, collections.revision, collections.created_by, collections.created_at_us, \
     collections.updated_at_us FROM collections \
     JOIN collection_families ON collection_families.id = collections.family_id \
     LEFT JOIN runs ON runs.id = collections.run_id WHERE ";

/// One version of a collection.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct CollectionRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) family_id: i64,
    pub(crate) space_id: i64,
    pub(crate) key: String,
    pub(crate) version_number: i32,
    pub(crate) version_label: String,
    pub(crate) is_latest: bool,
    pub(crate) description: Option<String>,
    pub(crate) sha256: Vec<u8>,
    pub(crate) n_members: i64,
    pub(crate) run_id: Option<i64>,
    pub(crate) run_uid: Option<String>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// All versions of a collection: what they issue next.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct FamilyRow {
    pub(crate) id: i64,
    pub(crate) stem: String,
    pub(crate) next_number: i32,
    pub(crate) next_suffix: Option<String>,
}

/// A member: exactly one of the three is set.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct MemberRow {
    pub(crate) place: i64,
    pub(crate) artifact_id: Option<i64>,
    pub(crate) family_id: Option<i64>,
    pub(crate) lost_uid: Option<String>,
    /// Stem of the family that is followed.
    pub(crate) stem: Option<String>,
}

/// What the hash of a collection says of a member.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct HashedMember {
    pub(crate) place: i64,
    pub(crate) hash_type: Option<i16>,
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) stem: Option<String>,
    pub(crate) lost_uid: Option<String>,
}

/// A member that is about to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NewMember {
    Pinned(i64),
    Following(i64),
}

/// Which collections to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct CollectionPage {
    pub(crate) prefix: Option<(String, Option<String>)>,
    pub(crate) all_versions: bool,
    /// An artifact and its family, of which one is a member.
    pub(crate) member: Option<(i64, i64)>,
    /// Key, number and id of the last one before.
    pub(crate) after: Option<(String, i32, i64)>,
    pub(crate) rows: u64,
}

/// Ids of what these names mean, each with its name: uids one version, keys and stems the latest one.
pub(crate) async fn ids_of_names(
    conn: &impl ConnectionTrait,
    scope: Scope,
    names: &[&str],
) -> Result<Vec<(String, i64)>> {
    const TABLES: Versioned = Versioned {
        versions: "collections",
        families: "collection_families",
    };
    named::ids_of_names(conn, scope, TABLES, OfFamily::LatestVersion, names).await
}

/// The version with this uid.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<CollectionRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("collections.uid = ").bind(uid);
    sql.one(conn).await
}

/// The latest version of the family with this stem.
pub(crate) async fn latest_of_stem(conn: &impl ConnectionTrait, stem: &str) -> Result<Option<CollectionRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("stem = ").bind(stem).push(" AND is_latest");
    sql.one(conn).await
}

/// The latest versions of the families with this key, in one space or the other.
pub(crate) async fn latest_of_key(conn: &impl ConnectionTrait, scope: Scope, key: &str) -> Result<Vec<CollectionRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("\"key\" = ")
        .bind(key)
        .push(" AND is_latest AND collection_families.space_id IN ");
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
) -> Result<Vec<CollectionRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("\"key\" = ")
        .bind(key)
        .push(" AND (version_label = ")
        .bind(label);
    if let Some(number) = number {
        sql.push(" OR version_number = ").bind(number);
    }
    sql.push(") AND collection_families.space_id IN ");
    scope.bind(&mut sql).push(" ORDER BY version_number");
    sql.all(conn).await
}

/// One page by key, the highest version first.
pub(crate) async fn page(
    conn: &impl ConnectionTrait,
    scope: Scope,
    page: CollectionPage,
) -> Result<Vec<CollectionRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("collection_families.space_id IN ");
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
    if let Some((artifact_id, family_id)) = page.member {
        sql.push(" AND collections.id IN (SELECT collection_id FROM collection_members WHERE artifact_id = ");
        sql.bind(artifact_id);
        sql.push(" UNION SELECT collection_id FROM collection_members WHERE family_id = ")
            .bind(family_id);
        sql.push(")");
    }
    if let Some((key, number, id)) = page.after {
        sql.push(" AND (\"key\", -version_number, collections.id) > (")
            .bind(key)
            .push(", ");
        sql.bind(-number).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY \"key\", version_number DESC, collections.id LIMIT ");
    sql.bind(i64::try_from(page.rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// The family of a space with this key, locked.
pub(crate) async fn lock_family(txn: &Txn, space_id: i64, key: &str) -> Result<Option<FamilyRow>> {
    let mut sql = Sql::new("SELECT id, stem, next_number, next_suffix FROM collection_families WHERE space_id = ");
    sql.bind(space_id)
        .push(" AND \"key\" = ")
        .bind(key)
        .push(txn.for_update());
    sql.one(txn).await
}

/// The same by its id.
pub(crate) async fn lock_family_by_id(txn: &Txn, id: i64) -> Result<Option<FamilyRow>> {
    let mut sql = Sql::new("SELECT id, stem, next_number, next_suffix FROM collection_families WHERE id = ");
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
    const SQL: &str = "INSERT INTO collection_families (stem, space_id, \"key\", next_number, next_suffix, \
         created_at_us) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
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
    const SQL: &str = "UPDATE collection_families SET next_number = $1, next_suffix = $2 WHERE id = $3";
    numbered::run(txn, SQL, [next.0.into(), next.1.into(), id.into()]).await?;
    const CLEAR: &str = "UPDATE collections SET is_latest = FALSE WHERE family_id = $1 AND is_latest";
    numbered::run(txn, CLEAR, [id.into()]).await?;
    Ok(())
}

/// Makes the highest version of a family the latest.
pub(crate) async fn mark_highest(txn: &Txn, family_id: i64) -> Result<()> {
    const SQL: &str = "UPDATE collections SET is_latest = TRUE WHERE family_id = $1 AND version_number = \
         (SELECT MAX(version_number) FROM collections WHERE family_id = $1)";
    numbered::run(txn, SQL, [family_id.into()]).await?;
    Ok(())
}

/// Labels that the versions of a family have.
pub(crate) async fn labels_of(txn: &Txn, family_id: i64) -> Result<Vec<String>> {
    #[derive(FromQueryResult)]
    struct Label {
        version_label: String,
    }
    let mut sql = Sql::new("SELECT version_label FROM collections WHERE family_id = ");
    sql.bind(family_id);
    let rows: Vec<Label> = sql.all(txn).await?;
    Ok(rows.into_iter().map(|row| row.version_label).collect())
}

/// Inserts a version as the latest, without members; answers its id.
pub(crate) async fn insert(txn: &Txn, row: &CollectionRow) -> Result<i64> {
    const SQL: &str = "INSERT INTO collections (uid, family_id, version_number, version_label, is_latest, description, \
         sha256, n_members, run_id, revision, created_by, created_at_us, updated_at_us) \
         VALUES ($1, $2, $3, $4, TRUE, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id";
    let row = row.clone();
    let values = [
        row.uid.into(),
        row.family_id.into(),
        row.version_number.into(),
        row.version_label.into(),
        row.description.into(),
        row.sha256.into(),
        row.n_members.into(),
        row.run_id.into(),
        row.revision.into(),
        row.created_by.into(),
        row.created_at_us.into(),
        row.updated_at_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Writes what can change in a version.
pub(crate) async fn update(txn: &Txn, row: &CollectionRow) -> Result<()> {
    const SQL: &str = "UPDATE collections SET description = $1, revision = $2, updated_at_us = $3 WHERE id = $4";
    let values = [
        row.description.clone().into(),
        row.revision.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// Removes a version with its members.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM collections WHERE id = $1", [id.into()]).await?;
    Ok(())
}

/// Adds members after those that are there.
pub(crate) async fn add_members(txn: &Txn, collection_id: i64, first: i64, members: &[NewMember]) -> Result<()> {
    for (chunk, members) in members.chunks(ROWS_AT_ONCE).enumerate() {
        let sql = format!(
            "INSERT INTO collection_members (collection_id, place, artifact_id, family_id) VALUES {}",
            places_for(members.len(), 4)
        );
        let first = first + (chunk * ROWS_AT_ONCE) as i64;
        let values = members.iter().enumerate().flat_map(|(number, member)| -> [Value; 4] {
            let (artifact_id, family_id) = match member {
                NewMember::Pinned(id) => (Some(*id), None),
                NewMember::Following(id) => (None, Some(*id)),
            };
            [
                collection_id.into(),
                (first + number as i64).into(),
                artifact_id.into(),
                family_id.into(),
            ]
        });
        numbered::run(txn, &sql, values).await?;
    }
    Ok(())
}

/// Gives a version the members of another, at the same places.
pub(crate) async fn copy_members(txn: &Txn, from_id: i64, to_id: i64) -> Result<()> {
    const SQL: &str = "INSERT INTO collection_members (collection_id, place, artifact_id, family_id, lost_uid) \
         SELECT $1, place, artifact_id, family_id, lost_uid FROM collection_members WHERE collection_id = $2";
    numbered::run(txn, SQL, [to_id.into(), from_id.into()]).await?;
    Ok(())
}

/// Some members from a place on.
pub(crate) async fn members(
    conn: &impl ConnectionTrait,
    collection_id: i64,
    from: i64,
    rows: u64,
) -> Result<Vec<MemberRow>> {
    let mut sql = Sql::new(
        "SELECT place, artifact_id, family_id, lost_uid, families.stem FROM collection_members \
         LEFT JOIN families ON families.id = collection_members.family_id WHERE collection_id = ",
    );
    sql.bind(collection_id).push(" AND place >= ").bind(from);
    sql.push(" ORDER BY place LIMIT ")
        .bind(i64::try_from(rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// What the hash says of some members from a place on.
pub(crate) async fn hashed_members(
    conn: &impl ConnectionTrait,
    collection_id: i64,
    from: i64,
    rows: i64,
) -> Result<Vec<HashedMember>> {
    let mut sql = Sql::new(
        "SELECT place, artifacts.hash_type, artifacts.sha256, families.stem, lost_uid FROM collection_members \
         LEFT JOIN artifacts ON artifacts.id = collection_members.artifact_id \
         LEFT JOIN families ON families.id = collection_members.family_id WHERE collection_id = ",
    );
    sql.bind(collection_id).push(" AND place >= ").bind(from);
    sql.push(" ORDER BY place LIMIT ").bind(rows);
    sql.all(conn).await
}

/// Whether an artifact is pinned by a collection.
pub(crate) async fn pins(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one FROM collection_members WHERE artifact_id = $1 LIMIT 1";
    numbered::any(conn, SQL, [artifact_id.into()]).await
}

/// Leaves of an artifact that is about to be destroyed only its uid.
pub(crate) async fn forget_artifact(txn: &Txn, artifact_id: i64, uid: &str) -> Result<()> {
    const SQL: &str = "UPDATE collection_members SET artifact_id = NULL, lost_uid = $1 WHERE artifact_id = $2";
    numbered::run(txn, SQL, [uid.into(), artifact_id.into()]).await?;
    Ok(())
}
