//! Queries over what is known of tables.

use sea_orm::{
    ConnectionTrait, FromQueryResult,
    sea_query::{DeleteStatement, Expr, ExprTrait, Query},
};

use super::{
    Insert, Result,
    entities::tables::{Column as Col, Entity, Model},
};

/// What is known of a table, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTable {
    pub(crate) format: String,
    pub(crate) arrow_schema: Vec<u8>,
    pub(crate) columns_json: String,
    pub(crate) hint_json: String,
}

/// What is known of the table of an artifact.
pub(crate) async fn of_artifact(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<Option<StoredTable>> {
    let mut found = of_artifacts(conn, &[artifact_id]).await?;
    Ok(found.pop().map(|(_, table)| table))
}

/// The same for many, by their ids, in no order.
pub(crate) async fn of_artifacts(conn: &impl ConnectionTrait, artifact_ids: &[i64]) -> Result<Vec<(i64, StoredTable)>> {
    let mut select = Query::select();
    select
        .columns([
            Col::ArtifactId,
            Col::Format,
            Col::ArrowSchema,
            Col::ColumnsJson,
            Col::HintJson,
        ])
        .from(Entity)
        .and_where(Expr::col(Col::ArtifactId).is_in(artifact_ids.iter().copied()));
    let rows = conn.query_all(&select).await?;
    let stored = rows.iter().map(|row| {
        let Model {
            artifact_id,
            format,
            arrow_schema,
            columns_json,
            hint_json,
        } = Model::from_query_result(row, "")?;
        let stored = StoredTable {
            format,
            arrow_schema,
            columns_json,
            hint_json,
        };
        Ok((artifact_id, stored))
    });
    stored.collect()
}

/// Adds what is known of the table of an artifact.
pub(crate) fn insert(artifact_id: i64, table: &StoredTable) -> Insert {
    let StoredTable {
        format,
        arrow_schema,
        columns_json,
        hint_json,
    } = table.clone();
    Insert::into(Entity)
        .columns([
            Col::ArtifactId,
            Col::Format,
            Col::ArrowSchema,
            Col::ColumnsJson,
            Col::HintJson,
        ])
        .values([
            artifact_id.into(),
            format.into(),
            arrow_schema.into(),
            columns_json.into(),
            hint_json.into(),
        ])
}

/// Forgets what was known of the table of an artifact.
pub(crate) fn delete(artifact_id: i64) -> DeleteStatement {
    let mut delete = Query::delete();
    delete
        .from_table(Entity)
        .and_where(Expr::col(Col::ArtifactId).eq(artifact_id));
    delete
}
