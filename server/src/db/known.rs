//! What is there already, asked for all at once: one visit to the database
//! instead of three.

use artifactd_domain::{RequestId, Sha256};
use sea_orm::{
    ConnectionTrait,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};

use super::{
    Result,
    blobs::blob_id_of,
    entities::{families, requests},
};

/// What was found. Things that were not asked for are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Whether a request of this id has finished.
    pub(crate) request: bool,
    /// Whether a live family has this key.
    pub(crate) key: Option<bool>,
    /// Whether a blob has this content.
    pub(crate) content: Option<bool>,
}

/// Looks for a finished request, a live key and a content of a storage.
pub(crate) async fn look(
    conn: &impl ConnectionTrait,
    request: Option<(i64, &RequestId)>,
    storage_id: i64,
    key: Option<&str>,
    (sha256, size_bytes): (&Sha256, i64),
) -> Result<Known> {
    let mut select = Query::select();
    select
        .expr_as(found(request_of(request)), Alias::new("request"))
        .expr_as(found(family_of(storage_id, key)), Alias::new("key"))
        .expr_as(
            blob_id_of(storage_id, sha256, size_bytes).is_not_null(),
            Alias::new("content"),
        );
    let Some(row) = conn.query_one(&select).await? else {
        return Ok(Known::default());
    };
    Ok(Known {
        request: row.try_get("", "request")?,
        key: key.map(|_| row.try_get("", "key")).transpose()?,
        content: Some(row.try_get("", "content")?),
    })
}

fn found(select: SelectStatement) -> Expr {
    Expr::exists(select)
}

fn request_of(request: Option<(i64, &RequestId)>) -> SelectStatement {
    use requests::Column;
    let (principal_id, id) = request.map_or((0, ""), |(principal_id, id)| (principal_id, id.as_str()));
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(requests::Entity)
        .and_where(Expr::col(Column::PrincipalId).eq(principal_id))
        .and_where(Expr::col(Column::RequestId).eq(id));
    select
}

fn family_of(storage_id: i64, key: Option<&str>) -> SelectStatement {
    use families::Column;
    let mut select = Query::select();
    select
        .expr(Expr::val(1))
        .from(families::Entity)
        .and_where(Expr::col(Column::StorageId).eq(storage_id))
        .and_where(Expr::col(Column::LiveKey).eq(key.unwrap_or_default()));
    select
}
