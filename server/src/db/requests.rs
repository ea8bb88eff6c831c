//! Finished mutations, kept so that a repeated request has the effect of one.

use std::sync::LazyLock;

use artifactd_domain::RequestId;
use sea_orm::{ConnectionTrait, DbBackend};

use super::{
    Insert, Result, Txn, all_of,
    entities::requests::{Column as Col, Entity, Model},
    numbered::row,
    statement,
};

static REQUESTS: LazyLock<String> = LazyLock::new(all_of::<Entity>);

/// The finished request of this id.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    principal_id: i64,
    request_id: &RequestId,
) -> Result<Option<Model>> {
    let sql = format!("{} WHERE principal_id = $1 AND request_id = $2", *REQUESTS);
    row(conn, &sql, [principal_id.into(), request_id.as_str().into()]).await
}

/// Remembers a request and its answer.
pub(crate) fn insert(row: Model) -> Insert {
    let Model {
        principal_id,
        request_id,
        request_hash,
        content_sha256,
        answer,
        created_at_us,
    } = row;
    Insert::into(Entity)
        .columns([
            Col::PrincipalId,
            Col::RequestId,
            Col::RequestHash,
            Col::ContentSha256,
            Col::Answer,
            Col::CreatedAtUs,
        ])
        .values([
            principal_id.into(),
            request_id.into(),
            request_hash.into(),
            content_sha256.into(),
            answer.into(),
            created_at_us.into(),
        ])
}

/// Forgets some requests that were finished before a time, the oldest first; answers how many.
///
/// Rows lie in the order in which they came, so the search ends at the first that stays.
pub(crate) async fn forget(txn: &Txn, before_us: i64, most: i64) -> Result<u64> {
    let sql = match txn.get_database_backend() {
        DbBackend::Postgres => {
            "DELETE FROM requests WHERE ctid IN \
             (SELECT ctid FROM requests WHERE created_at_us < $1 LIMIT $2)"
        }
        _ => {
            "DELETE FROM requests WHERE rowid IN \
             (SELECT rowid FROM (SELECT rowid, created_at_us FROM requests ORDER BY rowid LIMIT $2) \
             WHERE created_at_us < $1)"
        }
    };
    let values = [before_us.into(), most.into()];
    Ok(txn.execute_raw(statement(txn, sql, values)).await?.rows_affected())
}
