//! Queries over work that somebody has for a while.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{
    Result, Txn,
    numbered::{self, Sql},
};

/// Who had some work last.
#[derive(Debug, Clone, Copy, FromQueryResult)]
pub(crate) struct ReservationRow {
    pub(crate) run_id: i64,
    pub(crate) expires_at_us: i64,
}

/// Who had this work last, locked.
pub(crate) async fn lock(txn: &Txn, space_id: i64, work: &[u8]) -> Result<Option<ReservationRow>> {
    let mut sql = Sql::new("SELECT run_id, expires_at_us FROM reservations WHERE space_id = ");
    sql.bind(space_id).push(" AND work = ").bind(work.to_vec());
    sql.push(txn.for_update());
    sql.one(txn).await
}

/// Gives work to a run that nobody had; `Conflict` when somebody got it meanwhile.
pub(crate) async fn insert(txn: &Txn, space_id: i64, work: &[u8], row: ReservationRow) -> Result<()> {
    const SQL: &str = "INSERT INTO reservations (run_id, expires_at_us, space_id, work) VALUES ($1, $2, $3, $4)";
    numbered::run(txn, SQL, values(space_id, work, row)).await?;
    Ok(())
}

/// Gives work to another run, or for longer.
pub(crate) async fn update(txn: &Txn, space_id: i64, work: &[u8], row: ReservationRow) -> Result<()> {
    const SQL: &str = "UPDATE reservations SET run_id = $1, expires_at_us = $2 WHERE space_id = $3 AND work = $4";
    numbered::run(txn, SQL, values(space_id, work, row)).await?;
    Ok(())
}

fn values(space_id: i64, work: &[u8], row: ReservationRow) -> [sea_orm::Value; 4] {
    let ReservationRow { run_id, expires_at_us } = row;
    [
        run_id.into(),
        expires_at_us.into(),
        space_id.into(),
        work.to_vec().into(),
    ]
}

/// What a run has made that is of none of these visibilities, in the order in which it did.
pub(crate) async fn outputs(
    conn: &impl ConnectionTrait,
    run_id: i64,
    not_visibility: i16,
    most: i64,
) -> Result<Vec<i64>> {
    #[derive(FromQueryResult)]
    struct Output {
        id: i64,
    }
    let mut sql = Sql::new("SELECT id FROM artifacts WHERE run_id = ");
    sql.bind(run_id).push(" AND visibility <> ").bind(not_visibility);
    sql.push(" ORDER BY created_at_us, id LIMIT ").bind(most);
    let rows: Vec<Output> = sql.all(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
