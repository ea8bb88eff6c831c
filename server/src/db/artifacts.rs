//! Queries over artifacts. A row comes with the place of its bytes.

mod change;
mod content;
mod insert;
mod row;

use std::{collections::BTreeSet, sync::LazyLock};

use artifactd_domain::{Label, Stem, Uid, VersionNumber, Visibility};
use sea_orm::{
    ConnectionTrait, DbBackend, FromQueryResult, Iterable, Order, Value,
    sea_query::{Alias, Expr, ExprTrait, Func, JoinType, Query, SelectStatement},
};

pub(crate) use self::{
    change::{change, clear_latest, delete, move_family, touch, update},
    content::{Content, newest_with_content, uids_with_content, uids_with_contents},
    insert::{NewRow, ObjectName, insert, insert_all},
    row::ArtifactRow,
};
use self::{insert::content_went, row::With};
use super::{
    Batch, Connection, Result, Txn,
    entities::{aliases, artifacts, blobs, families, objects},
    runs, statement,
};

type Col = artifacts::Column;

/// The text of [`select`], for queries that are asked all the time.
static ARTIFACTS: LazyLock<String> = LazyLock::new(|| DbBackend::Postgres.build(&select()).sql);

/// The same for artifacts whose ids are a list in JSON; on SQLite they come in its order.
static LISTED: LazyLock<String> = LazyLock::new(|| {
    let listed = Alias::new("listed");
    let mut select = Query::select();
    // Only so does SQLite go through the list, and not through the artifacts.
    select
        .from_function(Func::cust("json_each").arg(""), listed.clone())
        .cross_join(artifacts::Entity)
        .and_where(col(Col::Id).equals((listed, Alias::new("value"))));
    DbBackend::Postgres.build(&with_columns(select)).sql
});

pub(super) fn select() -> SelectStatement {
    let mut select = Query::select();
    select.from(artifacts::Entity);
    with_columns(select)
}

/// Adds the columns of an artifact, and where they come from besides.
fn with_columns(mut select: SelectStatement) -> SelectStatement {
    select
        .columns(Col::iter().map(|column| (artifacts::Entity, column)))
        .expr_as(
            Expr::col((objects::Entity, objects::Column::Name)),
            Alias::new("object_name"),
        )
        .expr_as(
            Expr::col((objects::Entity, objects::Column::IsPack)),
            Alias::new("object_is_pack"),
        )
        .expr_as(
            Expr::col((Alias::new("runs"), Alias::new("uid"))),
            Alias::new("run_uid"),
        )
        .expr_as(
            Expr::col((Alias::new("transforms"), Alias::new("uid"))),
            Alias::new("transform_uid"),
        )
        .columns(
            [
                blobs::Column::ObjectId,
                blobs::Column::OffsetBytes,
                blobs::Column::Crc32c,
            ]
            .map(|column| (blobs::Entity, column)),
        )
        .join(
            JoinType::LeftJoin,
            blobs::Entity,
            col(Col::BlobId).equals((blobs::Entity, blobs::Column::Id)),
        )
        .join(
            JoinType::LeftJoin,
            objects::Entity,
            Expr::col((blobs::Entity, blobs::Column::ObjectId)).equals((objects::Entity, objects::Column::Id)),
        )
        .join(
            JoinType::LeftJoin,
            Alias::new("runs"),
            col(Col::RunId).equals((Alias::new("runs"), Alias::new("id"))),
        )
        .join(
            JoinType::LeftJoin,
            Alias::new("transforms"),
            Expr::col((Alias::new("runs"), Alias::new("transform_id")))
                .equals((Alias::new("transforms"), Alias::new("id"))),
        );
    select
}

/// Adds to records the runs that made them again or changed them, where there are some.
async fn with_previous_runs(conn: &impl Connection, mut rows: Vec<ArtifactRow>) -> Result<Vec<ArtifactRow>> {
    let ids: Vec<i64> = rows
        .iter()
        .filter(|row| row.has_previous_runs)
        .map(|row| row.id)
        .collect();
    if ids.is_empty() {
        return Ok(rows);
    }
    for (id, uid) in runs::previous(conn, &ids).await? {
        for row in rows.iter_mut().filter(|row| row.id == id) {
            row.previous_runs.push(uid.clone());
        }
    }
    Ok(rows)
}

fn col(column: Col) -> Expr {
    Expr::col((artifacts::Entity, column))
}

fn outside_trash() -> Expr {
    col(Col::Visibility).ne(Visibility::Trash.code())
}

async fn one(conn: &impl Connection, select: &SelectStatement) -> Result<Option<ArtifactRow>> {
    let row: Option<ArtifactRow> = conn.read_first(conn.get_database_backend().build(select)).await?;
    match row {
        Some(row) if row.has_previous_runs => Ok(with_previous_runs(conn, vec![row]).await?.pop()),
        row => Ok(row),
    }
}

pub(super) async fn all(conn: &impl Connection, select: &SelectStatement) -> Result<Vec<ArtifactRow>> {
    let rows = conn.read(conn.get_database_backend().build(select)).await?;
    with_previous_runs(conn, rows).await
}

/// What a query answers that is [`ARTIFACTS`] and a condition.
async fn by_text<const VALUES: usize>(
    conn: &impl Connection,
    condition: &str,
    values: [Value; VALUES],
) -> Result<Vec<ArtifactRow>> {
    let rows = conn
        .read(statement(conn, format!("{} {condition}", *ARTIFACTS), values))
        .await?;
    with_previous_runs(conn, rows).await
}

/// The artifact with this uid, wherever it is.
pub(crate) async fn by_uid(conn: &impl Connection, uid: &Uid) -> Result<Option<ArtifactRow>> {
    let rows = by_text(conn, "WHERE artifacts.uid = $1", [uid.as_str().into()]).await?;
    Ok(rows.into_iter().next())
}

/// The artifacts with these uids, wherever they are.
pub(crate) async fn by_uids(conn: &impl Connection, uids: &[&str]) -> Result<Vec<ArtifactRow>> {
    let mut found = Vec::with_capacity(uids.len());
    for uids in uids.chunks(256) {
        let mut select = select();
        select.and_where(col(Col::Uid).is_in(uids.iter().copied()));
        found.extend(all(conn, &select).await?);
    }
    Ok(found)
}

/// The latest versions of the families with these stems, in no order.
pub(crate) async fn latest_of_stems(conn: &impl Connection, stems: BTreeSet<&str>) -> Result<Vec<ArtifactRow>> {
    if stems.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = with_family();
    select
        .and_where(Expr::col((families::Entity, families::Column::Stem)).is_in(stems))
        .and_where(col(Col::IsLatest));
    all(conn, &select).await
}

/// The latest versions of the families that have these keys now, with their keys and in no order.
pub(crate) async fn latest_of_keys(
    conn: &impl Connection,
    storage_id: i64,
    keys: BTreeSet<&str>,
) -> Result<Vec<(String, ArtifactRow)>> {
    let live_key = (families::Entity, families::Column::LiveKey);
    let mut select = with_family();
    select
        .column(live_key)
        .and_where(Expr::col((families::Entity, families::Column::StorageId)).eq(storage_id))
        .and_where(Expr::col(live_key).is_in(keys))
        .and_where(col(Col::IsLatest));
    let rows = conn.read(conn.get_database_backend().build(&select)).await?;
    let (keys, rows): (Vec<_>, _) = rows.into_iter().map(|With(row, key)| (key, row)).unzip();
    let rows = with_previous_runs(conn, rows).await?;
    Ok(keys.into_iter().zip(rows).collect())
}

/// Runs a batch and answers the artifact with this uid as it is then.
///
/// `Conflict` when it would name no bytes; once it does, a foreign key keeps them.
pub(crate) async fn run_then_read(batch: Batch, txn: &Txn, uid: &Uid) -> Result<ArtifactRow> {
    let mut select = select();
    select.and_where(col(Col::Uid).eq(uid.as_str()));
    let row = ArtifactRow::from_query_result(&batch.run_then(txn, &select).await?, "")?;
    if row.blob_id.is_none() && row.manifest_id.is_none() {
        return Err(content_went());
    }
    Ok(with_previous_runs(txn, vec![row]).await?.remove(0))
}

/// The artifacts with these ids, in no order.
pub(crate) async fn by_ids(conn: &impl Connection, ids: &[i64]) -> Result<Vec<ArtifactRow>> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(256) {
        let mut select = select();
        select.and_where(col(Col::Id).is_in(ids.iter().copied()));
        found.extend(all(conn, &select).await?);
    }
    Ok(found)
}

/// The same on SQLite for one page, in one statement whose text is always the same, and in
/// the order of the ids.
pub(super) async fn with_ids(conn: &impl Connection, ids: &[i64]) -> Result<Vec<ArtifactRow>> {
    let ids = serde_json::to_string(ids).expect("numbers are plain data");
    let rows = conn.read(statement(conn, LISTED.as_str(), [ids.into()])).await?;
    with_previous_runs(conn, rows).await
}

/// The latest versions of some families, in no order.
pub(crate) async fn latest_of_families(conn: &impl Connection, families: &[i64]) -> Result<Vec<ArtifactRow>> {
    let mut found = Vec::with_capacity(families.len());
    for families in families.chunks(256) {
        let mut select = select();
        select
            .and_where(col(Col::FamilyId).is_in(families.iter().copied()))
            .and_where(col(Col::IsLatest));
        found.extend(all(conn, &select).await?);
    }
    Ok(found)
}

/// Uids of the artifacts with these ids.
pub(crate) async fn uids_of_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = Query::select();
    select
        .columns([Col::Id, Col::Uid])
        .from(artifacts::Entity)
        .and_where(Expr::col(Col::Id).is_in(ids.iter().copied()));
    let rows = conn.query_all(&select).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", "id")?, row.try_get("", "uid")?)))
        .collect()
}

/// The latest version of the family with this stem.
pub(crate) async fn latest_of_stem(conn: &impl Connection, stem: &str) -> Result<Option<ArtifactRow>> {
    const LATEST: &str =
        "JOIN families ON families.id = artifacts.family_id WHERE families.stem = $1 AND artifacts.is_latest";
    Ok(by_text(conn, LATEST, [stem.into()]).await?.into_iter().next())
}

/// The latest version of the family that has this key now.
pub(crate) async fn latest_of_key(conn: &impl Connection, storage_id: i64, key: &str) -> Result<Option<ArtifactRow>> {
    one(conn, of_live_key(storage_id, key).and_where(col(Col::IsLatest))).await
}

/// The version outside trash that a name means, of the family that has this key now.
pub(crate) async fn version_of_key(
    conn: &impl Connection,
    storage_id: i64,
    key: &str,
    name: &Label,
) -> Result<Option<ArtifactRow>> {
    version(conn, || of_live_key(storage_id, key), name).await
}

/// The version outside trash that a name means, of the family with this stem.
pub(crate) async fn version_of_stem(conn: &impl Connection, stem: Stem, name: &Label) -> Result<Option<ArtifactRow>> {
    version(conn, || of_family(families::Column::Stem, stem.as_str().into()), name).await
}

/// A name is a label, or the number of a version whose label was chosen, or an alias.
async fn version(
    conn: &impl Connection,
    family: impl Fn() -> SelectStatement,
    name: &Label,
) -> Result<Option<ArtifactRow>> {
    let mut labelled = family();
    labelled
        .and_where(col(Col::VersionLabel).eq(name.as_str()))
        .and_where(outside_trash());
    if let Some(found) = one(conn, &labelled).await? {
        return Ok(Some(found));
    }
    let mut named = family();
    if name.is_numeric() {
        let Ok(number) = name.as_str().parse::<i32>() else {
            return Ok(None);
        };
        named.and_where(col(Col::VersionNumber).eq(number));
    } else {
        let alias = |column| (aliases::Entity, column);
        named
            .join(
                JoinType::InnerJoin,
                aliases::Entity,
                col(Col::Id).equals(alias(aliases::Column::ArtifactId)),
            )
            .and_where(Expr::col(alias(aliases::Column::FamilyId)).equals((families::Entity, families::Column::Id)))
            .and_where(Expr::col(alias(aliases::Column::Name)).eq(name.as_str()));
    }
    one(conn, named.and_where(outside_trash())).await
}

/// Whether some version of a family has this label.
pub(crate) async fn has_label(conn: &impl ConnectionTrait, family_id: i64, label: &str) -> Result<bool> {
    let mut select = Query::select();
    select
        .column(Col::Id)
        .from(artifacts::Entity)
        .and_where(Expr::col(Col::FamilyId).eq(family_id))
        .and_where(Expr::col(Col::VersionLabel).eq(label))
        .limit(1);
    Ok(conn.query_one(&select).await?.is_some())
}

fn with_family() -> SelectStatement {
    let mut select = select();
    select.join(
        JoinType::InnerJoin,
        families::Entity,
        col(Col::FamilyId).equals((families::Entity, families::Column::Id)),
    );
    select
}

fn of_family(column: families::Column, value: sea_orm::Value) -> SelectStatement {
    let mut select = with_family();
    select.and_where(Expr::col((families::Entity, column)).eq(value));
    select
}

fn of_live_key(storage_id: i64, key: &str) -> SelectStatement {
    let mut select = of_family(families::Column::LiveKey, key.into());
    select.and_where(Expr::col((families::Entity, families::Column::StorageId)).eq(storage_id));
    select
}

/// All versions of a family, highest number first.
pub(crate) async fn versions(conn: &impl Connection, family_id: i64) -> Result<Vec<ArtifactRow>> {
    const ALL: &str = "WHERE artifacts.family_id = $1 ORDER BY artifacts.version_number DESC";
    by_text(conn, ALL, [family_id.into()]).await
}

/// One page of the versions of a family below a number, highest first.
pub(crate) async fn versions_page(
    conn: &impl Connection,
    family_id: i64,
    visibilities: &[Visibility],
    below: Option<VersionNumber>,
    rows: u64,
) -> Result<Vec<ArtifactRow>> {
    let mut select = select();
    select
        .and_where(col(Col::FamilyId).eq(family_id))
        .and_where(col(Col::Visibility).is_in(visibilities.iter().map(|visibility| visibility.code())))
        .order_by((artifacts::Entity, Col::VersionNumber), Order::Desc)
        .limit(rows);
    if let Some(below) = below {
        select.and_where(col(Col::VersionNumber).lt(i64::from(below.get())));
    }
    all(conn, &select).await
}
