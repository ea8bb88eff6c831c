//! Queries of the garbage collection.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Value};

use super::{Result, Txn, blobs, entities::blobs::Model as Blob, statement};

/// Names in one query.
const NAMES_AT_ONCE: usize = 256;

/// An object in which nothing lies.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct GarbageObject {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) size_bytes: i64,
    pub(crate) garbage_since_us: i64,
}

/// A blob that nothing uses.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct UnusedBlob {
    pub(crate) id: i64,
    pub(crate) object_id: i64,
}

/// A pack of which most is not needed any more.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct SparsePack {
    pub(crate) id: i64,
    pub(crate) size_bytes: i64,
    pub(crate) live_bytes: i64,
}

/// What is known of an object that a storage lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has its row.
    Kept,
    /// Its bytes should be gone.
    Deleted,
}

/// Objects of a storage that are marked as garbage and have their bytes, behind an id.
pub(crate) async fn objects(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    after: i64,
    rows: i64,
) -> Result<Vec<GarbageObject>> {
    const SQL: &str = "SELECT id, name, size_bytes, garbage_since_us FROM objects \
         WHERE garbage_since_us IS NOT NULL AND deleted_at_us IS NULL AND storage_id = $1 AND id > $2 \
         ORDER BY id LIMIT $3";
    let values: [Value; 3] = [storage_id.into(), after.into(), rows.into()];
    let found = conn.query_all_raw(statement(conn, SQL, values)).await?;
    found
        .iter()
        .map(|row| Ok(GarbageObject::from_query_result(row, "")?))
        .collect()
}

/// The highest id among the objects.
pub(crate) async fn newest_object(conn: &impl ConnectionTrait) -> Result<Option<i64>> {
    let row = conn
        .query_one_raw(statement(conn, "SELECT MAX(id) AS newest FROM objects", []))
        .await?;
    Ok(row.map(|row| row.try_get("", "newest")).transpose()?.flatten())
}

/// Objects of a storage, behind an id and made before a time, in which nothing lies
/// though nothing marks them.
pub(crate) async fn empty_objects(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    (after, before_us): (i64, i64),
    rows: i64,
) -> Result<Vec<i64>> {
    const SQL: &str = "SELECT id FROM objects WHERE storage_id = $1 AND id > $2 AND created_at_us < $3 \
         AND garbage_since_us IS NULL AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.object_id = objects.id) \
         ORDER BY id LIMIT $4";
    let values: [Value; 4] = [storage_id.into(), after.into(), before_us.into(), rows.into()];
    let found = conn.query_all_raw(statement(conn, SQL, values)).await?;
    found.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

/// Decides that the bytes of a garbage object go; false when something lies in it after
/// all, and it is no garbage any more.
///
/// From then on nothing can come to lie in it: whoever puts a blob there holds its row.
pub(crate) async fn condemn(txn: &Txn, id: i64, now_us: i64) -> Result<bool> {
    const HOLD: &str = "SELECT id FROM objects WHERE id = $1 FOR UPDATE";
    const CONDEMN: &str = "UPDATE objects SET deleted_at_us = $2 WHERE id = $1 AND garbage_since_us IS NOT NULL \
         AND deleted_at_us IS NULL AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.object_id = objects.id)";
    const SPARE: &str = "UPDATE objects SET garbage_since_us = NULL WHERE id = $1 AND deleted_at_us IS NULL \
         AND EXISTS (SELECT 1 FROM blobs WHERE blobs.object_id = objects.id)";
    if txn.get_database_backend() == DbBackend::Postgres {
        txn.query_one_raw(statement(txn, HOLD, [id.into()])).await?;
    }
    let condemned = txn
        .execute_raw(statement(txn, CONDEMN, [id.into(), now_us.into()]))
        .await?;
    if condemned.rows_affected() == 1 {
        return Ok(true);
    }
    txn.execute_raw(statement(txn, SPARE, [id.into()])).await?;
    Ok(false)
}

/// Takes bytes without a row for garbage. Whoever wanted to name them cannot any more.
pub(crate) async fn adopt(
    txn: &Txn,
    storage_id: i64,
    (name, is_pack): (&str, bool),
    size_bytes: i64,
    now_us: i64,
) -> Result<bool> {
    const SQL: &str = "INSERT INTO objects (storage_id, name, is_pack, size_bytes, garbage_since_us, created_at_us) \
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (name) DO NOTHING";
    let values: [Value; 5] = [
        storage_id.into(),
        name.into(),
        is_pack.into(),
        size_bytes.into(),
        now_us.into(),
    ];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}

/// What is known of objects with some names; those without a row are missing.
pub(crate) async fn known(conn: &impl ConnectionTrait, names: &[String]) -> Result<HashMap<String, Known>> {
    let mut known = HashMap::with_capacity(names.len());
    for names in names.chunks(NAMES_AT_ONCE) {
        let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT name, deleted_at_us FROM objects WHERE name IN ({})",
            places.join(", ")
        );
        let values = names.iter().map(|name| name.as_str().into());
        for row in conn.query_all_raw(statement(conn, sql, values)).await? {
            let deleted: Option<i64> = row.try_get("", "deleted_at_us")?;
            let what = deleted.map_or(Known::Kept, |_| Known::Deleted);
            known.insert(row.try_get("", "name")?, what);
        }
    }
    Ok(known)
}

/// Names of objects of a storage that are needed, in a range of names and made before a time.
pub(crate) async fn needed(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    (after, until, before_us): (&str, Option<&str>, i64),
    rows: i64,
) -> Result<Vec<String>> {
    let until_clause = until.map_or("", |_| "AND name <= $5");
    let sql = format!(
        "SELECT name FROM objects WHERE storage_id = $1 AND name > $2 AND created_at_us < $3 \
         AND garbage_since_us IS NULL AND deleted_at_us IS NULL {until_clause} ORDER BY name LIMIT $4"
    );
    let mut values: Vec<Value> = vec![storage_id.into(), after.into(), before_us.into(), rows.into()];
    values.extend(until.map(Value::from));
    let found = conn.query_all_raw(statement(conn, sql, values)).await?;
    found.iter().map(|row| Ok(row.try_get("", "name")?)).collect()
}

/// Forgets some objects whose bytes went before a time; answers how many.
pub(crate) async fn forget(txn: &Txn, before_us: i64, most: i64) -> Result<u64> {
    const SQL: &str = "DELETE FROM objects WHERE id IN \
         (SELECT id FROM objects WHERE deleted_at_us < $1 ORDER BY deleted_at_us LIMIT $2)";
    let values = [before_us.into(), most.into()];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected())
}

/// The highest id among the blobs behind `after`, in steps of so many rows; `None` at the end.
pub(crate) async fn blob_step(conn: &impl ConnectionTrait, after: i64, rows: i64) -> Result<Option<i64>> {
    const SQL: &str = "SELECT MAX(id) AS last FROM (SELECT id FROM blobs WHERE id > $1 ORDER BY id LIMIT $2) AS step";
    let row = conn
        .query_one_raw(statement(conn, SQL, [after.into(), rows.into()]))
        .await?;
    Ok(row.map(|row| row.try_get("", "last")).transpose()?.flatten())
}

/// Blobs of a storage in a range of ids that were made before a time and that nothing uses.
pub(crate) async fn unused_blobs(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    (after, last): (i64, i64),
    before_us: i64,
) -> Result<Vec<UnusedBlob>> {
    const SQL: &str = "SELECT id, object_id FROM blobs \
         WHERE id > $1 AND id <= $2 AND storage_id = $3 AND created_at_us < $4 AND NOT kept \
         AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.blob_id = blobs.id) \
         AND NOT EXISTS (SELECT 1 FROM manifest_page_blobs AS named WHERE named.blob_id = blobs.id)";
    let values: [Value; 4] = [after.into(), last.into(), storage_id.into(), before_us.into()];
    let found = conn.query_all_raw(statement(conn, SQL, values)).await?;
    found
        .iter()
        .map(|row| Ok(UnusedBlob::from_query_result(row, "")?))
        .collect()
}

/// Removes a blob if nothing uses it, and marks its object if nothing is left in it.
pub(crate) async fn remove_blob(txn: &Txn, blob: &UnusedBlob, now_us: i64) -> Result<bool> {
    let removed = txn.execute(&blobs::delete_if_unused(blob.id)).await?.rows_affected() == 1;
    if removed {
        txn.execute(&blobs::discard_object_if_unused(blob.object_id, now_us))
            .await?;
    }
    Ok(removed)
}

/// Packs of a storage, behind an id and made before a time, of whose contents less than
/// half is needed. `entry_bytes` is what a content takes besides its bytes.
pub(crate) async fn sparse_packs(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    (after, before_us): (i64, i64),
    entry_bytes: i64,
    rows: i64,
) -> Result<Vec<SparsePack>> {
    const SQL: &str = "SELECT objects.id AS id, objects.size_bytes AS size_bytes, \
         CAST(SUM(blobs.size_bytes) + COUNT(*) * $4 AS BIGINT) AS live_bytes \
         FROM objects JOIN blobs ON blobs.object_id = objects.id \
         WHERE objects.storage_id = $1 AND objects.id > $2 AND objects.created_at_us < $3 AND objects.is_pack \
         AND objects.garbage_since_us IS NULL GROUP BY objects.id, objects.size_bytes \
         HAVING 2 * (SUM(blobs.size_bytes) + COUNT(*) * $4) < objects.size_bytes ORDER BY objects.id LIMIT $5";
    let values: [Value; 5] = [
        storage_id.into(),
        after.into(),
        before_us.into(),
        entry_bytes.into(),
        rows.into(),
    ];
    let found = conn.query_all_raw(statement(conn, SQL, values)).await?;
    found
        .iter()
        .map(|row| Ok(SparsePack::from_query_result(row, "")?))
        .collect()
}

/// The blobs that lie in an object, in the order of their places.
pub(crate) async fn blobs_in(conn: &impl ConnectionTrait, object_id: i64) -> Result<Vec<Blob>> {
    use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

    use super::entities::blobs::{Column, Entity};
    let found = Entity::find()
        .filter(Column::ObjectId.eq(object_id))
        .order_by_asc(Column::OffsetBytes);
    Ok(found.all(conn).await?)
}

/// Says that a blob lies in another object now, unless it moved or went meanwhile.
pub(crate) async fn move_blob(txn: &Txn, blob: &Blob, (object_id, offset_bytes): (i64, i64)) -> Result<bool> {
    const SQL: &str = "UPDATE blobs SET object_id = $1, offset_bytes = $2 \
         WHERE id = $3 AND object_id = $4 AND offset_bytes = $5";
    let values: [Value; 5] = [
        object_id.into(),
        offset_bytes.into(),
        blob.id.into(),
        blob.object_id.into(),
        blob.offset_bytes.into(),
    ];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}
