//! Queries over storages that are registered while the server runs.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    numbered::{self, Sql, inserted},
};

const COLUMNS: &str = "SELECT id, uid, space_id, name, root, managed, read_only, keeps_versions, registered, region, endpoint, \
     description, revision, created_by, created_at_us, COALESCE(updated_at_us, created_at_us) AS updated_at_us \
     FROM storages WHERE ";

/// A storage.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct StorageRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) name: String,
    pub(crate) root: String,
    /// Whether objects are written to it.
    pub(crate) managed: bool,
    /// Whether nothing below it is ever written or removed.
    pub(crate) read_only: bool,
    /// Whether it keeps versions of what is removed. Answers of the release before do not say.
    #[serde(default)]
    pub(crate) keeps_versions: bool,
    /// Whether a call made it, not a configuration.
    pub(crate) registered: bool,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) revision: i64,
    pub(crate) created_by: Option<i64>,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// All storages, by their names.
pub(crate) async fn all(conn: &impl ConnectionTrait) -> Result<Vec<StorageRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("TRUE ORDER BY name");
    sql.all(conn).await
}

/// The storage with this name.
pub(crate) async fn by_name(conn: &impl ConnectionTrait, name: &str) -> Result<Option<StorageRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("name = ").bind(name);
    sql.one(conn).await
}

/// Adds a storage; answers its id.
pub(crate) async fn insert(txn: &Txn, row: &StorageRow) -> Result<i64> {
    const SQL: &str = "INSERT INTO storages (uid, space_id, name, root, managed, read_only, registered, region, \
         endpoint, description, revision, created_by, created_at_us, updated_at_us, keeps_versions) \
         VALUES ($1, $2, $3, $4, $5, $6, TRUE, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id";
    let values = [
        row.uid.clone().into(),
        row.space_id.into(),
        row.name.clone().into(),
        row.root.clone().into(),
        row.managed.into(),
        row.read_only.into(),
        row.region.clone().into(),
        row.endpoint.clone().into(),
        row.description.clone().into(),
        row.revision.into(),
        row.created_by.into(),
        row.created_at_us.into(),
        row.updated_at_us.into(),
        row.keeps_versions.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Changes what is said of a storage.
pub(crate) async fn describe(txn: &Txn, row: &StorageRow) -> Result<()> {
    const SQL: &str = "UPDATE storages SET description = $1, revision = $2, updated_at_us = $3 WHERE id = $4";
    let values = [
        row.description.clone().into(),
        row.revision.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// What uses a storage, if anything does.
pub(crate) async fn use_of(conn: &impl ConnectionTrait, id: i64) -> Result<Option<&'static str>> {
    for (by, sql) in [
        ("artifacts", "SELECT 1 FROM families WHERE storage_id = $1 LIMIT 1"),
        ("bytes", "SELECT 1 FROM objects WHERE storage_id = $1 LIMIT 1"),
        (
            "the removal of files",
            "SELECT 1 FROM removals WHERE storage_id = $1 LIMIT 1",
        ),
        ("uploads", "SELECT 1 FROM uploads WHERE storage_id = $1 LIMIT 1"),
        ("spaces", "SELECT 1 FROM spaces WHERE default_storage_id = $1 LIMIT 1"),
    ] {
        if numbered::any(conn, sql, [id.into()]).await? {
            return Ok(Some(by));
        }
    }
    Ok(None)
}

/// Deletes a storage that nothing uses.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM storages WHERE id = $1 AND registered", [id.into()]).await?;
    Ok(())
}
