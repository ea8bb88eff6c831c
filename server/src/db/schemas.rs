//! Queries over schemas.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    numbered::{self, ROWS_AT_ONCE, Sql, inserted, places_for},
    scope::Scope,
};

const COLUMNS: &str = "SELECT id, uid, space_id, name, description, created_by, created_at_us FROM schemas WHERE ";

/// A schema.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct SchemaRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
}

/// A slot of a schema.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct SlotRow {
    pub(crate) schema_id: i64,
    pub(crate) place: i64,
    pub(crate) slot: String,
    pub(crate) is_closed: bool,
}

/// A feature of a slot, as it was called when the schema was made.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct MemberRow {
    pub(crate) schema_id: i64,
    pub(crate) slot_place: i64,
    pub(crate) place: i64,
    pub(crate) feature_id: i64,
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) is_required: bool,
}

#[derive(FromQueryResult)]
struct Id {
    id: i64,
}

/// Which schemas to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct SchemaPage {
    pub(crate) prefix: Option<(String, Option<String>)>,
    /// Name and id of the last one before.
    pub(crate) after: Option<(String, i64)>,
    pub(crate) rows: u64,
}

/// The schemas with a name, in one space or the other.
pub(crate) async fn by_name(conn: &impl ConnectionTrait, scope: Scope, name: &str) -> Result<Vec<SchemaRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("name = ").bind(name).push(" AND space_id IN ");
    scope.bind(&mut sql);
    sql.all(conn).await
}

/// A schema, kept until the transaction ends.
pub(crate) async fn lock_shared(txn: &Txn, id: i64) -> Result<Option<SchemaRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("id = ").bind(id).push(txn.for_share());
    sql.one(txn).await
}

/// A schema, locked against those who save under it.
pub(crate) async fn lock(txn: &Txn, id: i64) -> Result<Option<SchemaRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("id = ").bind(id).push(txn.for_update());
    sql.one(txn).await
}

/// One page, by name.
pub(crate) async fn page(conn: &impl ConnectionTrait, scope: Scope, page: SchemaPage) -> Result<Vec<SchemaRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("space_id IN ");
    scope.bind(&mut sql);
    if let Some((begin, end)) = page.prefix {
        sql.push(" AND name >= ").bind(begin);
        if let Some(end) = end {
            sql.push(" AND name < ").bind(end);
        }
    }
    if let Some((name, id)) = page.after {
        sql.push(" AND (name, id) > (").bind(name).push(", ");
        sql.bind(id).push(")");
    }
    sql.push(" ORDER BY name, id LIMIT ");
    sql.bind(i64::try_from(page.rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// The slots of some schemas, and what is in them, in their order.
pub(crate) async fn slots(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<(Vec<SlotRow>, Vec<MemberRow>)> {
    let (mut slots, mut members) = (Vec::new(), Vec::new());
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT schema_id, place, slot, is_closed FROM schema_slots WHERE schema_id IN ");
        sql.bind_list(ids.iter().copied()).push(" ORDER BY schema_id, place");
        slots.extend(sql.all::<SlotRow>(conn).await?);
        let mut sql = Sql::new(
            "SELECT schema_id, slot_place, place, feature_id, name, dtype, is_required FROM schema_features \
             WHERE schema_id IN ",
        );
        sql.bind_list(ids.iter().copied());
        sql.push(" ORDER BY schema_id, slot_place, place");
        members.extend(sql.all::<MemberRow>(conn).await?);
    }
    Ok((slots, members))
}

/// Inserts a schema; answers its id.
pub(crate) async fn insert(txn: &Txn, row: &SchemaRow) -> Result<i64> {
    const SQL: &str = "INSERT INTO schemas (uid, space_id, name, description, created_by, created_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id";
    let SchemaRow {
        id: _,
        uid,
        space_id,
        name,
        description,
        created_by,
        created_at_us,
    } = row.clone();
    let values = [
        uid.into(),
        space_id.into(),
        name.into(),
        description.into(),
        created_by.into(),
        created_at_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Inserts what is in a schema.
pub(crate) async fn insert_slots(txn: &Txn, slots: &[SlotRow], members: &[MemberRow]) -> Result<()> {
    for slots in slots.chunks(ROWS_AT_ONCE) {
        let places = places_for(slots.len(), 4);
        let sql = format!("INSERT INTO schema_slots (schema_id, place, slot, is_closed) VALUES {places}");
        let values = slots.iter().flat_map(|slot| {
            let SlotRow {
                schema_id,
                place,
                slot,
                is_closed,
            } = slot.clone();
            [schema_id.into(), place.into(), slot.into(), is_closed.into()]
        });
        numbered::run(txn, &sql, values).await?;
    }
    for members in members.chunks(ROWS_AT_ONCE) {
        let places = places_for(members.len(), 7);
        let sql = format!(
            "INSERT INTO schema_features (schema_id, slot_place, place, feature_id, name, dtype, is_required) \
             VALUES {places}"
        );
        let values = members.iter().flat_map(|member| {
            let MemberRow {
                schema_id,
                slot_place,
                place,
                feature_id,
                name,
                dtype,
                is_required,
            } = member.clone();
            [
                schema_id.into(),
                slot_place.into(),
                place.into(),
                feature_id.into(),
                name.into(),
                dtype.into(),
                is_required.into(),
            ]
        });
        numbered::run(txn, &sql, values).await?;
    }
    Ok(())
}

/// Removes a schema with what is in it.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM schemas WHERE id = $1", [id.into()]).await?;
    Ok(())
}

/// Whether artifacts were saved under a schema.
pub(crate) async fn has_artifacts(txn: &Txn, id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one FROM artifact_schemas WHERE schema_id = $1 LIMIT 1";
    numbered::any(txn, SQL, [id.into()]).await
}

/// Whether a schema names a feature.
pub(crate) async fn name_feature(txn: &Txn, feature_id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one FROM schema_features WHERE feature_id = $1 LIMIT 1";
    numbered::any(txn, SQL, [feature_id.into()]).await
}

/// Says under which schema an artifact was saved.
pub(crate) async fn link(txn: &Txn, artifact_id: i64, schema_id: i64) -> Result<()> {
    const SQL: &str = "INSERT INTO artifact_schemas (artifact_id, schema_id) VALUES ($1, $2)";
    numbered::run(txn, SQL, [artifact_id.into(), schema_id.into()]).await?;
    Ok(())
}

/// The schema under which an artifact was saved.
pub(crate) async fn of_artifact(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<Option<SchemaRow>> {
    let mut sql = Sql::new("SELECT schema_id AS id FROM artifact_schemas WHERE artifact_id = ");
    sql.bind(artifact_id);
    let Some(Id { id }) = sql.one(conn).await? else {
        return Ok(None);
    };
    let mut sql = Sql::new(COLUMNS);
    sql.push("id = ").bind(id);
    sql.one(conn).await
}
