//! Queries over uploads and their parts.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, QueryResult, Value};

use super::{Result, Txn, statement};

/// Names in one query.
const NAMES_AT_ONCE: usize = 256;

/// One upload.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct UploadRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) principal_id: i64,
    pub(crate) state: i16,
    pub(crate) object_name: String,
    pub(crate) store_upload_id: Option<String>,
    pub(crate) header: Vec<u8>,
    pub(crate) request_hash: Option<Vec<u8>>,
    pub(crate) is_parallel: bool,
    pub(crate) part_bytes: i64,
    pub(crate) declared_size_bytes: Option<i64>,
    pub(crate) declared_sha256: Option<Vec<u8>>,
    pub(crate) epoch: i64,
    pub(crate) hashed_bytes: i64,
    pub(crate) busy_until_us: i64,
    pub(crate) expires_at_us: i64,
    pub(crate) created_at_us: i64,
    pub(crate) answer: Option<String>,
    /// Sealed; of the parts from the first on without a gap, when they came in order. Else which
    /// processes write to it.
    pub(crate) hash_state: Option<String>,
}

/// A part that is durable.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub(crate) struct PartRow {
    pub(crate) number: i64,
    pub(crate) size_bytes: i64,
    /// A crc32c for each block, 4 bytes each, little-endian.
    pub(crate) crc32c: Vec<u8>,
    pub(crate) store_part: String,
}

/// What a new upload needs besides defaults.
#[derive(Debug, Clone)]
pub(crate) struct NewUpload {
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) principal_id: i64,
    /// Key that the artifact shall have.
    pub(crate) key: Option<String>,
    pub(crate) object_name: String,
    pub(crate) store_upload_id: Option<String>,
    pub(crate) header: Vec<u8>,
    pub(crate) request: Option<(String, Vec<u8>)>,
    pub(crate) is_parallel: bool,
    pub(crate) part_bytes: i64,
    pub(crate) declared_size_bytes: Option<i64>,
    pub(crate) declared_sha256: Option<Vec<u8>>,
    pub(crate) hash_state: Option<String>,
    pub(crate) expires_at_us: i64,
    pub(crate) now_us: i64,
}

const COLUMNS: &str = "id, uid, space_id, storage_id, principal_id, state, object_name, store_upload_id, header, \
     request_hash, is_parallel, part_bytes, declared_size_bytes, declared_sha256, epoch, hashed_bytes, busy_until_us, \
     expires_at_us, created_at_us, answer, hash_state";

fn upload(row: &QueryResult) -> Result<UploadRow> {
    Ok(UploadRow::from_query_result(row, "")?)
}

/// Inserts an upload that is open.
pub(crate) async fn insert(txn: &Txn, new: &NewUpload) -> Result<UploadRow> {
    let sql = format!(
        "INSERT INTO uploads (uid, space_id, storage_id, principal_id, state, object_name, store_upload_id, header, \
         request_id, request_hash, is_parallel, part_bytes, declared_size_bytes, declared_sha256, epoch, hashed_bytes, \
         busy_until_us, expires_at_us, created_at_us, hash_state, key) \
         VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, $14, $15, $16, $17) \
         RETURNING {COLUMNS}"
    );
    let (request_id, request_hash) = new.request.clone().unzip();
    let values: [Value; 17] = [
        new.uid.as_str().into(),
        new.space_id.into(),
        new.storage_id.into(),
        new.principal_id.into(),
        new.object_name.as_str().into(),
        new.store_upload_id.clone().into(),
        new.header.clone().into(),
        request_id.into(),
        request_hash.into(),
        new.is_parallel.into(),
        new.part_bytes.into(),
        new.declared_size_bytes.into(),
        new.declared_sha256.clone().into(),
        new.expires_at_us.into(),
        new.now_us.into(),
        new.hash_state.clone().into(),
        new.key.clone().into(),
    ];
    let row = txn.query_one_raw(statement(txn, sql, values)).await?;
    upload(&row.ok_or(DbErr::RecordNotInserted)?)
}

/// How many uploads to a key are under way and have not expired; `most` when there are more.
pub(crate) async fn under_way(
    conn: &impl ConnectionTrait,
    (space_id, key): (i64, &str),
    now_us: i64,
    most: i64,
) -> Result<i64> {
    const SQL: &str = "SELECT COUNT(*) AS found FROM (SELECT 1 AS one FROM uploads \
         WHERE space_id = $1 AND key = $2 AND state < 2 AND expires_at_us > $3 LIMIT $4) AS of_key";
    let values = [space_id.into(), key.into(), now_us.into(), most.into()];
    let row = conn.query_one_raw(statement(conn, SQL, values)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("a count".to_owned()))?;
    Ok(row.try_get("", "found")?)
}

/// Makes uploads that begin to a key wait for one another, until the end of the transaction.
///
/// On SQLite one change runs at a time anyway.
pub(crate) async fn lock_key(txn: &Txn, space_id: i64, key: &str) -> Result<()> {
    if txn.get_database_backend() == DbBackend::Postgres {
        const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, $2))";
        // Not the numbers under which keys of folders are locked.
        let values = [format!("upload {key}").into(), space_id.into()];
        txn.execute_raw(statement(txn, SQL, values)).await?;
    }
    Ok(())
}

/// The upload with this uid.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<UploadRow>> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE uid = $1");
    let row = conn.query_one_raw(statement(conn, sql, [uid.into()])).await?;
    row.as_ref().map(upload).transpose()
}

/// The upload that a request of somebody made.
pub(crate) async fn by_request(
    conn: &impl ConnectionTrait,
    principal_id: i64,
    request_id: &str,
) -> Result<Option<UploadRow>> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE principal_id = $1 AND request_id = $2");
    let values = [principal_id.into(), request_id.into()];
    let row = conn.query_one_raw(statement(conn, sql, values)).await?;
    row.as_ref().map(upload).transpose()
}

/// The upload with this id, held until the end of the transaction.
pub(crate) async fn lock(txn: &Txn, id: i64) -> Result<Option<UploadRow>> {
    let hold = match txn.get_database_backend() {
        DbBackend::Postgres => "FOR UPDATE",
        _ => "",
    };
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = $1 {hold}");
    let row = txn.query_one_raw(statement(txn, sql, [id.into()])).await?;
    row.as_ref().map(upload).transpose()
}

/// Uploads of somebody in a space, behind an id.
pub(crate) async fn of_owner(
    conn: &impl ConnectionTrait,
    (principal_id, space_id): (i64, i64),
    after: i64,
    rows: i64,
) -> Result<Vec<UploadRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM uploads WHERE principal_id = $1 AND id > $2 AND space_id = $3 ORDER BY id LIMIT $4"
    );
    let values: [Value; 4] = [principal_id.into(), after.into(), space_id.into(), rows.into()];
    let found = conn.query_all_raw(statement(conn, sql, values)).await?;
    found.iter().map(upload).collect()
}

/// Uploads that expired before a time.
pub(crate) async fn expired(conn: &impl ConnectionTrait, before_us: i64, rows: i64) -> Result<Vec<UploadRow>> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE expires_at_us < $1 ORDER BY expires_at_us LIMIT $2");
    let values = [before_us.into(), rows.into()];
    let found = conn.query_all_raw(statement(conn, sql, values)).await?;
    found.iter().map(upload).collect()
}

/// Which of some objects are uploads that are no artifacts yet. Of one that is, what its
/// record does not name is not needed.
pub(crate) async fn named(conn: &impl ConnectionTrait, names: &[String]) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for names in names.chunks(NAMES_AT_ONCE) {
        let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT object_name FROM uploads WHERE state < 3 AND object_name IN ({})",
            places.join(", ")
        );
        let values = names.iter().map(|name| name.as_str().into());
        for row in conn.query_all_raw(statement(conn, sql, values)).await? {
            found.insert(row.try_get("", "object_name")?);
        }
    }
    Ok(found)
}

/// The durable parts of an upload, in order.
pub(crate) async fn parts(conn: &impl ConnectionTrait, id: i64) -> Result<Vec<PartRow>> {
    const SQL: &str = "SELECT number, size_bytes, crc32c, store_part FROM upload_parts \
         WHERE upload_id = $1 ORDER BY number";
    let found = conn.query_all_raw(statement(conn, SQL, [id.into()])).await?;
    found
        .iter()
        .map(|row| Ok(PartRow::from_query_result(row, "")?))
        .collect()
}

/// Some of the durable parts of an upload, in order, from a number on.
pub(crate) async fn parts_from(conn: &impl ConnectionTrait, id: i64, first: i64, rows: i64) -> Result<Vec<PartRow>> {
    const SQL: &str = "SELECT number, size_bytes, crc32c, store_part FROM upload_parts \
         WHERE upload_id = $1 AND number >= $2 ORDER BY number LIMIT $3";
    let values = [id.into(), first.into(), rows.into()];
    let found = conn.query_all_raw(statement(conn, SQL, values)).await?;
    found
        .iter()
        .map(|row| Ok(PartRow::from_query_result(row, "")?))
        .collect()
}

/// Notes how the hash of an upload stands.
pub(crate) async fn note_hash(txn: &Txn, id: i64, hash_state: String) -> Result<()> {
    const SQL: &str = "UPDATE uploads SET hash_state = $1 WHERE id = $2";
    txn.execute_raw(statement(txn, SQL, [hash_state.into(), id.into()]))
        .await?;
    Ok(())
}

/// Ends what others write; answers the epoch of who writes from now on. `None` when the
/// upload is not open.
pub(crate) async fn take_over(txn: &Txn, id: i64) -> Result<Option<i64>> {
    const SQL: &str = "UPDATE uploads SET epoch = epoch + 1 WHERE id = $1 AND state = 0 RETURNING epoch";
    let row = txn.query_one_raw(statement(txn, SQL, [id.into()])).await?;
    Ok(row.map(|row| row.try_get("", "epoch")).transpose()?)
}

/// Says that an open upload of an epoch lives; false when it is another's, or not open.
pub(crate) async fn renew(txn: &Txn, (id, epoch): (i64, i64), expires_at_us: i64) -> Result<bool> {
    const SQL: &str = "UPDATE uploads SET expires_at_us = $1 WHERE id = $2 AND epoch = $3 AND state = 0";
    let values: [Value; 3] = [expires_at_us.into(), id.into(), epoch.into()];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}

/// The same, and how its hash stands.
pub(crate) async fn renew_hashed(
    txn: &Txn,
    (id, epoch): (i64, i64),
    expires_at_us: i64,
    hash_state: Option<String>,
) -> Result<bool> {
    const SQL: &str =
        "UPDATE uploads SET expires_at_us = $1, hash_state = $2 WHERE id = $3 AND epoch = $4 AND state = 0";
    let values: [Value; 4] = [expires_at_us.into(), hash_state.into(), id.into(), epoch.into()];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}

/// Records a durable part, in place of one with its number.
pub(crate) async fn put_part(txn: &Txn, id: i64, part: &PartRow) -> Result<()> {
    const SQL: &str = "INSERT INTO upload_parts (upload_id, number, size_bytes, crc32c, store_part) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (upload_id, number) DO UPDATE SET \
         size_bytes = excluded.size_bytes, crc32c = excluded.crc32c, store_part = excluded.store_part";
    txn.execute_raw(statement(txn, SQL, part_values(id, part))).await?;
    Ok(())
}

/// Records a durable part; false when there is one of other bytes with its number.
pub(crate) async fn add_part(txn: &Txn, id: i64, part: &PartRow) -> Result<bool> {
    const SQL: &str = "INSERT INTO upload_parts (upload_id, number, size_bytes, crc32c, store_part) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (upload_id, number) DO UPDATE SET store_part = excluded.store_part \
         WHERE upload_parts.size_bytes = excluded.size_bytes AND upload_parts.crc32c = excluded.crc32c";
    Ok(txn
        .execute_raw(statement(txn, SQL, part_values(id, part)))
        .await?
        .rows_affected()
        == 1)
}

fn part_values(id: i64, part: &PartRow) -> [Value; 5] {
    [
        id.into(),
        part.number.into(),
        part.size_bytes.into(),
        part.crc32c.clone().into(),
        part.store_part.as_str().into(),
    ]
}

/// The durable part with a number.
pub(crate) async fn part(conn: &impl ConnectionTrait, id: i64, number: i64) -> Result<Option<PartRow>> {
    const SQL: &str = "SELECT number, size_bytes, crc32c, store_part FROM upload_parts \
         WHERE upload_id = $1 AND number = $2";
    let row = conn
        .query_one_raw(statement(conn, SQL, [id.into(), number.into()]))
        .await?;
    Ok(row.map(|row| PartRow::from_query_result(&row, "")).transpose()?)
}

/// Sets the state, and until when its holder is busy with it. Another epoch begins.
pub(crate) async fn set_state(txn: &Txn, id: i64, state: i16, busy_until_us: i64) -> Result<()> {
    const SQL: &str = "UPDATE uploads SET state = $1, busy_until_us = $2, epoch = epoch + 1 WHERE id = $3";
    let values: [Value; 3] = [state.into(), busy_until_us.into(), id.into()];
    txn.execute_raw(statement(txn, SQL, values)).await?;
    Ok(())
}

/// Says how far the holder of an epoch has come; false when another one holds it.
pub(crate) async fn progress(
    txn: &Txn,
    (id, epoch): (i64, i64),
    hashed_bytes: i64,
    busy_until_us: i64,
) -> Result<bool> {
    const SQL: &str = "UPDATE uploads SET hashed_bytes = $1, busy_until_us = $2 WHERE id = $3 AND epoch = $4";
    let values: [Value; 4] = [hashed_bytes.into(), busy_until_us.into(), id.into(), epoch.into()];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}

/// Says what became of an upload; false when another holds it.
pub(crate) async fn finish(
    txn: &Txn,
    (id, epoch): (i64, i64),
    state: i16,
    answer: &str,
    expires_at_us: i64,
) -> Result<bool> {
    const SQL: &str = "UPDATE uploads SET state = $1, answer = $2, busy_until_us = 0, expires_at_us = $3 \
         WHERE id = $4 AND epoch = $5";
    let values: [Value; 5] = [
        state.into(),
        answer.into(),
        expires_at_us.into(),
        id.into(),
        epoch.into(),
    ];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}

/// Removes an upload and what is known of its parts.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    const SQL: &str = "DELETE FROM uploads WHERE id = $1";
    txn.execute_raw(statement(txn, SQL, [id.into()])).await?;
    Ok(())
}

/// Forgets a part.
pub(crate) async fn delete_part(txn: &Txn, id: i64, number: i64) -> Result<()> {
    const SQL: &str = "DELETE FROM upload_parts WHERE upload_id = $1 AND number = $2";
    txn.execute_raw(statement(txn, SQL, [id.into(), number.into()])).await?;
    Ok(())
}

/// Sets the state of an upload; false when another holds it.
pub(crate) async fn mark(txn: &Txn, (id, epoch): (i64, i64), state: i16) -> Result<bool> {
    const SQL: &str = "UPDATE uploads SET state = $1 WHERE id = $2 AND epoch = $3";
    let values: [Value; 3] = [state.into(), id.into(), epoch.into()];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}
