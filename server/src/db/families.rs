//! Queries over families. Who changes versions locks the family first.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use artifactd_domain::Stem;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect, Statement, Value,
    sea_query::{Expr, ExprTrait, JoinType, Query, UpdateStatement},
};

use super::{
    Connection, Insert, Inserted, Result, Txn, all_of,
    entities::{
        artifacts,
        families::{Column as Col, Entity, Model},
    },
    insert_all_returning,
    numbered::{ROWS_AT_ONCE, Sql, pieces, row},
};

static FAMILIES: LazyLock<String> = LazyLock::new(all_of::<Entity>);

/// The family with this stem, locked.
pub(crate) async fn lock_by_stem(conn: &impl ConnectionTrait, stem: Stem) -> Result<Option<Model>> {
    locked(conn, "stem = $1", [stem.as_str().into()]).await
}

/// Locks the families of some artifacts, in one order for all callers.
pub(crate) async fn lock_of_artifacts(txn: &Txn, uids: &[&str]) -> Result<()> {
    if txn.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    for uids in uids.chunks(256) {
        let mut sql = Sql::new("SELECT id FROM families WHERE id IN (SELECT family_id FROM artifacts WHERE uid IN ");
        sql.bind_list(uids.iter().copied()).push(") ORDER BY id FOR UPDATE");
        sql.run(txn).await?;
    }
    Ok(())
}

/// The family that has this key now, locked.
pub(crate) async fn lock_by_key(conn: &impl ConnectionTrait, storage_id: i64, key: &str) -> Result<Option<Model>> {
    locked(
        conn,
        "storage_id = $1 AND live_key = $2",
        [storage_id.into(), key.into()],
    )
    .await
}

async fn locked(
    conn: &impl ConnectionTrait,
    condition: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<Model>> {
    let lock = match conn.get_database_backend() {
        DbBackend::Postgres => " FOR UPDATE",
        // One change runs at a time anyway.
        _ => "",
    };
    row(conn, &format!("{} WHERE {condition}{lock}", *FAMILIES), values).await
}

/// The family with this stem.
pub(crate) async fn by_stem(conn: &impl ConnectionTrait, stem: Stem) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Col::Stem.eq(stem.as_str())).one(conn).await?)
}

/// Every family of a storage in the order of ids, for a walk over all.
pub(crate) async fn walk(conn: &impl ConnectionTrait, storage_id: i64, after_id: i64, rows: u64) -> Result<Vec<Model>> {
    use sea_orm::QueryOrder;
    let found = Entity::find()
        .filter(Col::StorageId.eq(storage_id))
        .filter(Col::Id.gt(after_id));
    Ok(found.order_by_asc(Col::Id).limit(rows).all(conn).await?)
}

/// Inserts a family that has issued its first version.
pub(crate) fn insert(
    stem: Stem,
    space_id: i64,
    storage_id: i64,
    next: (i32, Option<String>),
    live_key: Option<String>,
    now_us: i64,
) -> Insert {
    Insert::into(Entity)
        .columns([
            Col::Stem,
            Col::SpaceId,
            Col::StorageId,
            Col::NextNumber,
            Col::NextSuffix,
            Col::LiveKey,
            Col::CreatedAtUs,
        ])
        .values([
            stem.as_str().into(),
            space_id.into(),
            storage_id.into(),
            next.0.into(),
            next.1.into(),
            live_key.into(),
            now_us.into(),
        ])
}

/// Inserts some, many in a statement; answers their ids by their stems.
pub(crate) async fn insert_all(txn: &Txn, families: Vec<Insert>) -> Result<HashMap<String, i64>> {
    let families = families
        .into_iter()
        .map(|family| family.returning([Col::Id, Col::Stem]));
    let ids: Vec<(i64, String)> = insert_all_returning(txn, families.collect()).await?;
    Ok(ids.into_iter().map(|(id, stem)| (stem, id)).collect())
}

/// Which of some keys are those of families now.
pub(crate) async fn live_keys(conn: &impl Connection, storage_id: i64, keys: &[&str]) -> Result<HashSet<String>> {
    const LIVE: &str = "SELECT families.id, live_key FROM families WHERE families.storage_id = ";
    among(conn, LIVE, storage_id, keys).await
}

/// Which of some keys are those of live folders.
pub(crate) async fn folder_keys(conn: &impl Connection, storage_id: i64, keys: &[&str]) -> Result<HashSet<String>> {
    const FOLDERS: &str = "SELECT families.id, live_key FROM families \
         JOIN artifacts ON artifacts.family_id = families.id AND artifacts.is_latest \
         AND artifacts.manifest_id IS NOT NULL WHERE families.storage_id = ";
    among(conn, FOLDERS, storage_id, keys).await
}

async fn among(conn: &impl Connection, select: &str, storage_id: i64, keys: &[&str]) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for keys in pieces(keys, ROWS_AT_ONCE) {
        let mut sql = Sql::new(select);
        sql.bind(storage_id)
            .push(" AND live_key IN ")
            .bind_list(keys.iter().copied());
        let rows: Vec<(i64, String)> = sql.read(conn).await?;
        found.extend(rows.into_iter().map(|(_, key)| key));
    }
    Ok(found)
}

/// Remembers what the family issues next.
pub(crate) fn advance(id: i64, next: (i32, Option<String>), live_key: Option<String>) -> UpdateStatement {
    let mut update = set_live_key(id, live_key);
    update.value(Col::NextNumber, next.0).value(Col::NextSuffix, next.1);
    update
}

/// Gives the family the key under which it is found, or none.
pub(crate) fn set_live_key(id: i64, live_key: Option<String>) -> UpdateStatement {
    let mut update = Query::update();
    update
        .table(Entity)
        .value(Col::LiveKey, live_key)
        .and_where(Expr::col(Col::Id).eq(id));
    update
}

/// The id of the family with this stem.
pub(super) fn family_id_of(stem: Stem) -> Inserted {
    Inserted::Found("SELECT id FROM families WHERE stem = ?", vec![stem.as_str().into()])
}

/// Makes changes of folders wait for other changes of keys that may overlap theirs.
///
/// On SQLite one change runs at a time anyway. The lock ends with the transaction.
pub(crate) async fn lock_overlaps(txn: &Txn, storage_id: i64, key: &str, is_folder: bool) -> Result<()> {
    if txn.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let function = if is_folder {
        "pg_advisory_xact_lock"
    } else {
        "pg_advisory_xact_lock_shared"
    };
    let sql = format!("SELECT {function}(hashtextextended($1, $2))");
    let segment = key.split('/').next().unwrap_or_default();
    let values = [segment.into(), storage_id.into()];
    txn.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, sql, values))
        .await?;
    Ok(())
}

/// The key of a live folder in which `key` would lie.
pub(crate) async fn folder_above(conn: &impl ConnectionTrait, storage_id: i64, key: &str) -> Result<Option<String>> {
    let above: Vec<&str> = key.match_indices('/').map(|(end, _)| &key[..end]).collect();
    if above.is_empty() {
        return Ok(None);
    }
    let mut select = Query::select();
    select
        .column((Entity, Col::LiveKey))
        .from(Entity)
        .join(
            JoinType::InnerJoin,
            artifacts::Entity,
            Expr::col((artifacts::Entity, artifacts::Column::FamilyId)).equals((Entity, Col::Id)),
        )
        .and_where(Expr::col((Entity, Col::StorageId)).eq(storage_id))
        .and_where(Expr::col((Entity, Col::LiveKey)).is_in(above))
        .and_where(Expr::col((artifacts::Entity, artifacts::Column::IsLatest)).eq(true))
        .and_where(Expr::col((artifacts::Entity, artifacts::Column::ManifestId)).is_not_null())
        .limit(1);
    let row = conn.query_one(&select).await?;
    Ok(row.map(|row| row.try_get("", "live_key")).transpose()?)
}

/// A live key that would lie in a folder with this key.
pub(crate) async fn key_below(conn: &impl ConnectionTrait, storage_id: i64, key: &str) -> Result<Option<String>> {
    let mut select = Query::select();
    select
        .column(Col::LiveKey)
        .from(Entity)
        .and_where(Expr::col(Col::StorageId).eq(storage_id))
        .and_where(Expr::col(Col::LiveKey).gte(format!("{key}/")))
        // The character that follows `/`.
        .and_where(Expr::col(Col::LiveKey).lt(format!("{key}0")))
        .limit(1);
    let row = conn.query_one(&select).await?;
    Ok(row.map(|row| row.try_get("", "live_key")).transpose()?)
}
