//! Finished mutations, kept so that a repeated request has the effect of one.

use artifactd_domain::RequestId;
use sea_orm::{
    ConnectionTrait, EntityTrait,
    sea_query::{InsertStatement, Query},
};

use super::{
    Result,
    entities::requests::{Column as Col, Entity, Model},
};

/// The finished request of this id.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    principal_id: i64,
    request_id: &RequestId,
) -> Result<Option<Model>> {
    Ok(Entity::find_by_id((principal_id, request_id.as_str().to_owned()))
        .one(conn)
        .await?)
}

/// Remembers a request and its answer.
pub(crate) fn insert(row: &Model) -> InsertStatement {
    let Model {
        principal_id,
        request_id,
        request_hash,
        content_sha256,
        answer,
        created_at_us,
    } = row.clone();
    let mut insert = Query::insert();
    insert
        .into_table(Entity)
        .columns([
            Col::PrincipalId,
            Col::RequestId,
            Col::RequestHash,
            Col::ContentSha256,
            Col::Answer,
            Col::CreatedAtUs,
        ])
        .values_panic([
            principal_id.into(),
            request_id.into(),
            request_hash.into(),
            content_sha256.into(),
            answer.into(),
            created_at_us.into(),
        ]);
    insert
}
