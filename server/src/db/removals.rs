//! Queries over files in place that go with their records.
//!
//! A removal is a plan first, whose files were looked at. The transaction that destroys the
//! records commits it, and from then on its files go, whatever else happens.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Value};

use super::{
    Result, Txn,
    numbered::{self, ROWS_AT_ONCE, Sql, inserted, pieces, places_for},
    statement,
};

/// A committed removal.
#[derive(Debug, Clone, Copy, FromQueryResult)]
pub(crate) struct Removal {
    pub(crate) id: i64,
    pub(crate) storage_id: i64,
}

/// A file that goes, as it was when it was looked at.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct DoomedFile {
    /// Its path from the root.
    pub(crate) path: String,
    /// The folder artifact that it was in; its own folders go when they are empty.
    pub(crate) folder: Option<String>,
    pub(crate) sha256: Vec<u8>,
    pub(crate) size_bytes: i64,
    pub(crate) store_etag: Option<String>,
    pub(crate) modified_us: i64,
}

/// An artifact in place that has a key.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct InPlace {
    pub(crate) key: String,
    /// Its manifest, where it is a folder.
    pub(crate) manifest_id: Option<i64>,
}

/// A content, and the object in which the database finds it.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct Held {
    pub(crate) blob_id: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) size_bytes: i64,
    pub(crate) object_name: String,
    pub(crate) store_etag: Option<String>,
    pub(crate) damaged_since_us: Option<i64>,
}

/// Begins a plan; answers its id.
pub(crate) async fn begin(txn: &Txn, storage_id: i64, lease_until_us: i64) -> Result<i64> {
    const SQL: &str = "INSERT INTO removals (storage_id, lease_until_us) VALUES ($1, $2) RETURNING id";
    inserted(txn, SQL, [storage_id.into(), lease_until_us.into()]).await
}

/// Adds files to a plan, and lengthens its lease; false when it is gone.
pub(crate) async fn add(txn: &Txn, id: i64, files: &[DoomedFile], lease_until_us: i64) -> Result<bool> {
    const RENEW: &str = "UPDATE removals SET lease_until_us = $1 WHERE id = $2 AND committed_at_us IS NULL";
    if numbered::run(txn, RENEW, [lease_until_us.into(), id.into()]).await? == 0 {
        return Ok(false);
    }
    for files in pieces(files, ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO removal_files (removal_id, path, folder, sha256, size_bytes, store_etag, modified_us) \
             VALUES {} ON CONFLICT DO NOTHING",
            places_for(files.len(), 7)
        );
        let values = files.iter().flat_map(|file| -> [Value; 7] {
            [
                id.into(),
                file.path.clone().into(),
                file.folder.clone().into(),
                file.sha256.clone().into(),
                file.size_bytes.into(),
                file.store_etag.clone().into(),
                file.modified_us.into(),
            ]
        });
        numbered::run(txn, &sql, values).await?;
    }
    Ok(true)
}

/// Which of some paths a plan has already.
pub(crate) async fn planned(conn: &impl ConnectionTrait, id: i64, paths: &[&str]) -> Result<HashSet<String>> {
    let mut planned = HashSet::new();
    for paths in pieces(paths, ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT path FROM removal_files WHERE removal_id = ");
        sql.bind(id).push(" AND path IN ").bind_list(paths.iter().copied());
        for path in sql.all::<PathOnly>(conn).await? {
            planned.insert(path.path);
        }
    }
    Ok(planned)
}

#[derive(FromQueryResult)]
struct PathOnly {
    path: String,
}

/// Lets the files of a plan go, and no file be registered among them meanwhile; false when
/// the plan is gone.
pub(crate) async fn commit(txn: &Txn, removal: Removal, now_us: i64) -> Result<bool> {
    const HOLD: &str = "SELECT id FROM storages WHERE id = $1 FOR NO KEY UPDATE";
    const COMMIT: &str = "UPDATE removals SET committed_at_us = $1 WHERE id = $2 AND committed_at_us IS NULL";
    if txn.get_database_backend() == DbBackend::Postgres {
        txn.query_one_raw(statement(txn, HOLD, [removal.storage_id.into()]))
            .await?;
    }
    let values = [now_us.into(), removal.id.into()];
    Ok(numbered::run(txn, COMMIT, values).await? == 1)
}

/// Whether a file that is about to be registered goes, or one below a folder. No other
/// begins to go before the transaction ends.
pub(crate) async fn is_going(txn: &Txn, storage_id: i64, key: &str, is_folder: bool) -> Result<bool> {
    const HOLD: &str = "SELECT id FROM storages WHERE id = $1 FOR SHARE";
    if txn.get_database_backend() == DbBackend::Postgres {
        txn.query_one_raw(statement(txn, HOLD, [storage_id.into()])).await?;
    }
    let mut sql = Sql::new(
        "SELECT removals.id, removals.storage_id FROM removal_files \
         JOIN removals ON removals.id = removal_files.removal_id \
         WHERE removals.committed_at_us IS NOT NULL AND removals.storage_id = ",
    );
    sql.bind(storage_id);
    match is_folder {
        false => sql.push(" AND removal_files.path = ").bind(key),
        // `0` comes next after `/`.
        true => sql
            .push(" AND removal_files.path > ")
            .bind(format!("{key}/"))
            .push(" AND removal_files.path < ")
            .bind(format!("{key}0")),
    };
    sql.push(" LIMIT 1");
    Ok(sql.one::<Removal>(txn).await?.is_some())
}

/// Committed removals behind an id.
pub(crate) async fn committed(conn: &impl ConnectionTrait, after: i64) -> Result<Option<Removal>> {
    const SQL: &str = "SELECT id, storage_id FROM removals WHERE committed_at_us IS NOT NULL AND id > $1 \
         ORDER BY id LIMIT 1";
    numbered::row(conn, SQL, [after.into()]).await
}

/// Files of a removal behind a path, in the order of their paths.
pub(crate) async fn files(conn: &impl ConnectionTrait, id: i64, after: &str, most: i64) -> Result<Vec<DoomedFile>> {
    const SQL: &str = "SELECT path, folder, sha256, size_bytes, store_etag, modified_us FROM removal_files \
         WHERE removal_id = $1 AND path > $2 ORDER BY path LIMIT $3";
    numbered::rows(conn, SQL, [id.into(), after.into(), most.into()]).await
}

/// Forgets files that are gone, or stay.
pub(crate) async fn done(txn: &Txn, id: i64, paths: &[String]) -> Result<()> {
    for paths in pieces(paths, ROWS_AT_ONCE) {
        let mut sql = Sql::new("DELETE FROM removal_files WHERE removal_id = ");
        sql.bind(id).push(" AND path IN ");
        sql.bind_list(paths.iter().map(String::as_str));
        sql.run(txn).await?;
    }
    Ok(())
}

/// Forgets a removal that has no more files.
pub(crate) async fn end(txn: &Txn, id: i64) -> Result<()> {
    const SQL: &str = "DELETE FROM removals WHERE id = $1 \
         AND NOT EXISTS (SELECT 1 FROM removal_files WHERE removal_id = $1)";
    numbered::run(txn, SQL, [id.into()]).await?;
    Ok(())
}

/// Ends the lease of a plan.
pub(crate) async fn abandon(txn: &Txn, id: i64) -> Result<()> {
    const SQL: &str = "UPDATE removals SET lease_until_us = 0 WHERE id = $1 AND committed_at_us IS NULL";
    numbered::run(txn, SQL, [id.into()]).await?;
    Ok(())
}

/// Forgets some files of plans whose lease has ended, and the plans that have no more;
/// false when there are none.
pub(crate) async fn forget_abandoned(txn: &Txn, now_us: i64, most: i64) -> Result<bool> {
    const PLAN: &str = "UPDATE removals SET lease_until_us = 0 WHERE id IN \
         (SELECT id FROM removals WHERE committed_at_us IS NULL AND lease_until_us < $1 ORDER BY id LIMIT 1) \
         AND committed_at_us IS NULL AND lease_until_us < $1 RETURNING id, storage_id";
    const FILES: &str = "DELETE FROM removal_files WHERE removal_id = $1 AND path IN \
         (SELECT path FROM removal_files WHERE removal_id = $1 ORDER BY path LIMIT $2)";
    let Some(plan) = numbered::row::<Removal>(txn, PLAN, [now_us.into()]).await? else {
        return Ok(false);
    };
    numbered::run(txn, FILES, [plan.id.into(), most.into()]).await?;
    end(txn, plan.id).await?;
    Ok(true)
}

/// Artifacts in place with some keys, but for some that are about to go; those in trash too.
pub(crate) async fn in_place_with_keys(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    keys: &[&str],
    but: &[i64],
) -> Result<Vec<InPlace>> {
    let mut found = Vec::new();
    for keys in pieces(keys, ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT \"key\", manifest_id FROM artifacts WHERE NOT key_is_virtual AND storage_id = ");
        sql.bind(storage_id)
            .push(" AND \"key\" IN ")
            .bind_list(keys.iter().copied());
        except(&mut sql, "id", but);
        found.extend(sql.all::<InPlace>(conn).await?);
    }
    Ok(found)
}

fn except(sql: &mut Sql, column: &str, ids: &[i64]) {
    if !ids.is_empty() {
        sql.push(" AND ").push(column).push(" NOT IN ");
        sql.bind_list(ids.iter().copied());
    }
}

/// The contents of a storage with some digests, and where they are found.
pub(crate) async fn held(conn: &impl ConnectionTrait, storage_id: i64, digests: &[&[u8]]) -> Result<Vec<Held>> {
    let mut found = Vec::new();
    for digests in pieces(digests, ROWS_AT_ONCE) {
        let mut sql = Sql::new(
            "SELECT blobs.id AS blob_id, blobs.sha256, blobs.size_bytes, blobs.damaged_since_us, \
             objects.name AS object_name, objects.store_etag FROM blobs \
             JOIN objects ON objects.id = blobs.object_id WHERE blobs.storage_id = ",
        );
        sql.bind(storage_id)
            .push(" AND blobs.sha256 IN ")
            .bind_list(digests.iter().map(|digest| digest.to_vec()));
        found.extend(sql.all::<Held>(conn).await?);
    }
    Ok(found)
}

/// Whether a content is needed by other artifacts than some that are about to go.
pub(crate) async fn is_needed(conn: &impl ConnectionTrait, blob_id: i64, but: &[i64]) -> Result<bool> {
    const BY_FILE: &str = "SELECT blob_id AS id, storage_id FROM artifacts WHERE blob_id = ";
    const BY_FOLDER: &str = "SELECT named.blob_id AS id, artifacts.storage_id FROM manifest_page_blobs AS named \
         JOIN manifest_page_places AS places ON places.page_id = named.page_id \
         JOIN artifacts ON artifacts.manifest_id = places.manifest_id WHERE named.blob_id = ";
    const KEPT: &str = "SELECT id, storage_id FROM blobs WHERE kept AND id = ";
    for (text, column) in [(BY_FILE, "artifacts.id"), (BY_FOLDER, "artifacts.id"), (KEPT, "")] {
        let mut sql = Sql::new(text);
        sql.bind(blob_id);
        if !column.is_empty() {
            except(&mut sql, column, but);
        }
        sql.push(" LIMIT 1");
        if sql.one::<Removal>(conn).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
