//! Queries over saves of large folders in progress, and the pages that they hold.

use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{Result, Txn, manifests::page_ids, statement};

/// Begins a save, which holds its pages until its lease ends; answers its id.
pub(crate) async fn begin(
    txn: &Txn,
    uid: &str,
    (storage_id, principal_id): (i64, i64),
    lease_until_us: i64,
    now_us: i64,
) -> Result<i64> {
    const SQL: &str = "INSERT INTO folder_saves (uid, storage_id, principal_id, lease_until_us, created_at_us) \
         VALUES ($1, $2, $3, $4, $5) RETURNING id";
    let values: [Value; 5] = [
        uid.into(),
        storage_id.into(),
        principal_id.into(),
        lease_until_us.into(),
        now_us.into(),
    ];
    let row = txn.query_one_raw(statement(txn, SQL, values)).await?;
    Ok(row.ok_or(DbErr::RecordNotInserted)?.try_get("", "id")?)
}

/// Lengthens a lease; false when the save is gone.
pub(crate) async fn renew(txn: &Txn, id: i64, lease_until_us: i64) -> Result<bool> {
    const SQL: &str = "UPDATE folder_saves SET lease_until_us = $1 WHERE id = $2";
    let values: [Value; 2] = [lease_until_us.into(), id.into()];
    Ok(txn.execute_raw(statement(txn, SQL, values)).await?.rows_affected() == 1)
}

/// Holds pages for a save.
pub(crate) async fn hold(txn: &Txn, id: i64, pages: &[i64]) -> Result<()> {
    const SQL: &str = "INSERT INTO folder_save_pages (save_id, page_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    for page in pages {
        let values: [Value; 2] = [id.into(), (*page).into()];
        txn.execute_raw(statement(txn, SQL, values)).await?;
    }
    Ok(())
}

/// Ends a save and lets go of its pages; false when it is gone.
pub(crate) async fn end(txn: &Txn, id: i64) -> Result<bool> {
    const SQL: &str = "DELETE FROM folder_saves WHERE id = $1";
    let ended = txn.execute_raw(statement(txn, SQL, [id.into()])).await?;
    Ok(ended.rows_affected() == 1)
}

/// A save whose lease has ended.
pub(crate) async fn expired(conn: &impl ConnectionTrait, now_us: i64) -> Result<Option<i64>> {
    const SQL: &str = "SELECT id FROM folder_saves WHERE lease_until_us < $1 ORDER BY lease_until_us LIMIT 1";
    let row = conn.query_one_raw(statement(conn, SQL, [now_us.into()])).await?;
    Ok(row.map(|row| row.try_get("", "id")).transpose()?)
}

/// Lets go of some pages of a save whose lease has ended, and of the save when it has no
/// more; answers their ids.
pub(crate) async fn take_pages(txn: &Txn, id: i64, most: i64, now_us: i64) -> Result<Vec<i64>> {
    const LEASE: &str = "UPDATE folder_saves SET lease_until_us = 0 WHERE id = $1 AND lease_until_us < $2";
    const PAGES: &str = "DELETE FROM folder_save_pages WHERE save_id = $1 AND page_id IN \
         (SELECT page_id FROM folder_save_pages WHERE save_id = $1 ORDER BY page_id LIMIT $2) RETURNING page_id";
    let values: [Value; 2] = [id.into(), now_us.into()];
    // It also locks the row, so that a save that comes back waits and then fails.
    if txn.execute_raw(statement(txn, LEASE, values)).await?.rows_affected() == 0 {
        return Ok(Vec::new());
    }
    let values: [Value; 2] = [id.into(), most.into()];
    let rows = txn.query_all_raw(statement(txn, PAGES, values)).await?;
    if (rows.len() as i64) < most {
        end(txn, id).await?;
    }
    page_ids(&rows)
}
