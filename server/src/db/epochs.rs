//! Epochs of storages: how far a database knows what lies in them.
//!
//! Each is kept among the leases, which count in the same way, with a mark that was
//! never used before in the place of a holder.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{Result, Txn, statement};

/// The epoch of a storage as a database knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromQueryResult)]
pub(crate) struct Epoch {
    pub(crate) number: i64,
    pub(crate) mark: String,
}

fn name(storage_id: i64) -> String {
    format!("epoch of storage {storage_id}")
}

/// The epoch of a storage; the first when none was ever begun.
pub(crate) async fn find(conn: &impl ConnectionTrait, storage_id: i64) -> Result<Epoch> {
    const SQL: &str = "SELECT epoch AS number, holder AS mark FROM leases WHERE name = $1";
    let row = conn
        .query_one_raw(statement(conn, SQL, [name(storage_id).into()]))
        .await?;
    let found = row.map(|row| Epoch::from_query_result(&row, "")).transpose()?;
    Ok(found.unwrap_or_default())
}

/// Begins another epoch, above the last one and above `above`.
pub(crate) async fn begin(txn: &Txn, storage_id: i64, above: i64, mark: &str) -> Result<Epoch> {
    const SQL: &str = "INSERT INTO leases (name, holder, epoch, until_us) VALUES ($1, $2, $3, 0) \
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
         epoch = CASE WHEN leases.epoch < excluded.epoch THEN excluded.epoch ELSE leases.epoch + 1 END \
         RETURNING epoch AS number, holder AS mark";
    let values = [name(storage_id).into(), mark.into(), (above + 1).into()];
    let row = txn.query_one_raw(statement(txn, SQL, values)).await?;
    let row = row.ok_or(sea_orm::DbErr::RecordNotInserted)?;
    Ok(Epoch::from_query_result(&row, "")?)
}
