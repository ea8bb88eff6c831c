//! Queries over artifacts. A row comes with the place of its bytes.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use artifactd_domain::{HashType, Label, Sha256, Stem, Uid, VersionNumber, Visibility};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, FromQueryResult, Iterable, Order, Value,
    sea_query::{Alias, Condition, Expr, ExprTrait, Func, JoinType, Query, SelectStatement, UpdateStatement},
};

use serde::{Deserialize, Serialize};

use super::{
    Batch, Connection, DbError, Insert, Inserted, Result, Txn,
    blobs::blob_id_in,
    cells::{Cell, Cells, FromCells},
    entities::{aliases, artifacts, blobs, families, objects},
    families::family_id_of,
    insert_all_returning,
    numbered::{Sql, any, pieces, run},
    runs, statement,
};

type Col = artifacts::Column;

/// An artifact and where its bytes lie.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct ArtifactRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) family_id: i64,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) version_number: i32,
    pub(crate) version_label: String,
    pub(crate) is_latest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) key_is_virtual: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) kind: i16,
    pub(crate) suffix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) hash_type: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) n_objects: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blob_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest_id: Option<i64>,
    pub(crate) visibility: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) visibility_before_trash: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trash_batch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trashed_at_us: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_previous_runs: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transform_uid: Option<String>,
    /// Uids of runs that made it again or changed it.
    #[sea_orm(skip)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) previous_runs: Vec<String>,
    pub(crate) accessor: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) n_observations: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object_is_pack: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset_bytes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<i64>,
}

impl FromCells for ArtifactRow {
    /// In the order in which [`select`] names its columns.
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            id: cells.next()?,
            uid: cells.next()?,
            family_id: cells.next()?,
            space_id: cells.next()?,
            storage_id: cells.next()?,
            version_number: cells.next()?,
            version_label: cells.next()?,
            is_latest: cells.next()?,
            key: cells.next()?,
            key_is_virtual: cells.next()?,
            description: cells.next()?,
            kind: cells.next()?,
            suffix: cells.next()?,
            file_name: cells.next()?,
            media_type: cells.next()?,
            size_bytes: cells.next()?,
            sha256: cells.next()?,
            hash_type: cells.next()?,
            n_objects: cells.next()?,
            blob_id: cells.next()?,
            manifest_id: cells.next()?,
            visibility: cells.next()?,
            visibility_before_trash: cells.next()?,
            trash_batch: cells.next()?,
            trashed_at_us: cells.next()?,
            revision: cells.next()?,
            created_by: cells.next()?,
            created_at_us: cells.next()?,
            updated_at_us: cells.next()?,
            run_id: cells.next()?,
            has_previous_runs: cells.next()?,
            accessor: cells.next()?,
            n_observations: cells.next()?,
            object_name: cells.next()?,
            object_is_pack: cells.next()?,
            run_uid: cells.next()?,
            transform_uid: cells.next()?,
            object_id: cells.next()?,
            offset_bytes: cells.next()?,
            crc32c: cells.next()?,
            previous_runs: Vec::new(),
        })
    }
}

/// An artifact, and what the query names behind its columns.
struct With<T>(ArtifactRow, T);

impl<T: Cell + Send> FromCells for With<T> {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self(ArtifactRow::from_cells(cells)?, cells.next()?))
    }
}

impl ArtifactRow {
    /// Counts a change of the record, as [`touch`] does in a statement.
    pub(crate) fn touch(&mut self, now_us: i64) {
        self.revision += 1;
        self.updated_at_us = std::cmp::Ord::max(self.updated_at_us, now_us);
    }
}

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

/// What tells contents apart: a folder is never a file that happens to hold what is hashed of it.
pub(crate) type Content<'d> = (HashType, &'d Sha256, i64);

/// The newest live artifact of a space with this content.
pub(crate) async fn newest_with_content(
    conn: &impl Connection,
    space_id: i64,
    content: Content<'_>,
) -> Result<Option<ArtifactRow>> {
    let mut select = select();
    one(conn, newest_first(&mut select, space_id, content).limit(1)).await
}

/// Uids of live artifacts of a space with this content, newest first.
pub(crate) async fn uids_with_content(
    conn: &impl Connection,
    space_id: i64,
    content: Content<'_>,
    most: u64,
) -> Result<Vec<String>> {
    let mut select = Query::select();
    select.column((artifacts::Entity, Col::Uid)).from(artifacts::Entity);
    let rows = conn
        .query_all(newest_first(&mut select, space_id, content).limit(most))
        .await?;
    rows.iter().map(|row| Ok(row.try_get("", "uid")?)).collect()
}

/// Contents of files that are asked for in one statement.
const CONTENTS_AT_ONCE: usize = 32;

/// An artifact with one of some contents: which, and the id and uid of the artifact.
struct WithContent {
    place: i64,
    id: i64,
    uid: String,
}

impl FromCells for WithContent {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            place: cells.next()?,
            id: cells.next()?,
            uid: cells.next()?,
        })
    }
}

/// Uids of live artifacts of a space with these contents of files: those of each, newest first.
pub(crate) async fn uids_with_contents(
    conn: &impl Connection,
    space_id: i64,
    contents: &[(Sha256, i64)],
    most: u64,
) -> Result<Vec<Vec<String>>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut uids = Vec::with_capacity(contents.len());
    for contents in pieces(contents, CONTENTS_AT_ONCE) {
        let mut sql = Sql::default();
        for (place, (sha256, size_bytes)) in contents.iter().enumerate() {
            // Each ends after a few rows of the index, however many there are.
            sql.push(if place == 0 { "" } else { " UNION ALL " });
            sql.push(&format!(
                "SELECT CAST({place} AS BIGINT), id, uid FROM (SELECT id, uid FROM artifacts WHERE space_id = "
            ));
            sql.bind(space_id)
                .push(" AND sha256 = ")
                .bind(sha256.as_bytes().to_vec());
            sql.push(" AND size_bytes = ").bind(*size_bytes);
            sql.push(" AND hash_type = ").bind(HashType::Sha256.code());
            sql.push(" AND visibility <> ").bind(Visibility::Trash.code());
            sql.push(" ORDER BY id DESC LIMIT ")
                .bind(most)
                .push(&format!(") AS content_{place}"));
        }
        let mut found: Vec<WithContent> = sql.read(conn).await?;
        found.sort_unstable_by_key(|found| (found.place, std::cmp::Reverse(found.id)));
        let mut of_contents = vec![Vec::new(); contents.len()];
        for WithContent { place, uid, .. } in found {
            if let Some(uids) = usize::try_from(place).ok().and_then(|place| of_contents.get_mut(place)) {
                uids.push(uid);
            }
        }
        uids.extend(of_contents);
    }
    Ok(uids)
}

/// By id, which an index holds in order: content may have many artifacts.
fn newest_first<'s>(
    select: &'s mut SelectStatement,
    space_id: i64,
    (hash_type, sha256, size_bytes): Content<'_>,
) -> &'s mut SelectStatement {
    select
        .and_where(col(Col::SpaceId).eq(space_id))
        .and_where(col(Col::Sha256).eq(sha256.as_bytes().to_vec()))
        .and_where(col(Col::SizeBytes).eq(size_bytes))
        .and_where(col(Col::HashType).eq(hash_type.code()))
        .and_where(outside_trash())
        .order_by((artifacts::Entity, Col::Id), Order::Desc)
}

/// What a new artifact needs besides defaults; family and blob are found by their natural keys.
#[derive(Debug, Clone)]
pub(crate) struct NewRow {
    pub(crate) uid: Uid,
    pub(crate) space_id: i64,
    pub(crate) storage_id: i64,
    pub(crate) version_number: VersionNumber,
    pub(crate) version_label: Label,
    pub(crate) key: Option<String>,
    pub(crate) key_is_virtual: bool,
    pub(crate) description: Option<String>,
    pub(crate) kind: i16,
    pub(crate) suffix: String,
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: String,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: Sha256,
    pub(crate) hash_type: i16,
    /// Of a folder: its manifest, and how many files it has.
    pub(crate) manifest: Option<(i64, i64)>,
    /// What was found in it: how it is opened, and how many rows it has.
    pub(crate) accessor: Option<i16>,
    pub(crate) n_observations: Option<i64>,
    pub(crate) visibility: i16,
    pub(crate) created_by: i64,
    /// The run that makes it: its id, its uid, and the uid of its transform.
    pub(crate) run: Option<(i64, String, Option<String>)>,
    pub(crate) now_us: i64,
}

/// Inserts an artifact as the latest version of its family; answers it without where
/// its bytes lie in the object.
///
/// `Conflict` when it would name no bytes; once it does, a foreign key keeps them.
pub(crate) async fn insert(txn: &Txn, new: NewRow, object: Option<ObjectName>) -> Result<ArtifactRow> {
    let family = family_id_of(new.uid.stem());
    let blob = match new.manifest {
        None => blob_id_in(new.storage_id, &new.sha256, new.size_bytes),
        Some(_) => None::<i64>.into(),
    };
    let insert = insert_of(&new, family, blob).returning([Col::Id, Col::FamilyId, Col::BlobId]);
    let row = txn.query_one_raw(insert.statement(txn.get_database_backend())).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotInserted)?;
    let blob_id: Option<i64> = row.try_get("", "blob_id")?;
    if blob_id.is_none() && new.manifest.is_none() {
        return Err(content_went());
    }
    let ids = (row.try_get("", "id")?, row.try_get("", "family_id")?, blob_id);
    Ok(inserted(new, ids, object))
}

/// Inserts first versions of new families, with files as their content, many in a
/// statement; answers them as [`insert`] does.
///
/// Each comes with the id of its family and its blob, and the object of that.
pub(crate) async fn insert_all(txn: &Txn, new: Vec<(NewRow, i64, i64, ObjectName)>) -> Result<Vec<ArtifactRow>> {
    let rows = new.iter().map(|(row, family_id, blob_id, _)| {
        insert_of(row, (*family_id).into(), (*blob_id).into()).returning([Col::Id, Col::Uid])
    });
    let ids: Vec<(i64, String)> = insert_all_returning(txn, rows.collect()).await?;
    let ids: HashMap<String, i64> = ids.into_iter().map(|(id, uid)| (uid, id)).collect();
    let rows = new.into_iter().map(|(row, family_id, blob_id, object)| {
        let id = ids.get(row.uid.as_str()).ok_or(DbErr::RecordNotInserted)?;
        Ok(inserted(row, (*id, family_id, Some(blob_id)), Some(object)))
    });
    rows.collect()
}

/// What was inserted with these ids, of the artifact, its family and its blob.
fn inserted(new: NewRow, (id, family_id, blob_id): (i64, i64, Option<i64>), object: Option<ObjectName>) -> ArtifactRow {
    let (run_id, run_uid, transform_uid) = match new.run {
        Some((id, uid, transform)) => (Some(id), Some(uid), transform),
        None => (None, None, None),
    };
    let (object_name, object_is_pack) = object.map(|object| (object.name, object.is_pack)).unzip();
    ArtifactRow {
        id,
        family_id,
        blob_id,
        manifest_id: new.manifest.map(|(id, _)| id),
        n_objects: new.manifest.map(|(_, objects)| objects),
        uid: new.uid.to_string(),
        space_id: new.space_id,
        storage_id: new.storage_id,
        version_number: number(new.version_number),
        version_label: new.version_label.to_string(),
        is_latest: true,
        key: new.key,
        key_is_virtual: new.key_is_virtual,
        description: new.description,
        kind: new.kind,
        suffix: new.suffix,
        file_name: new.file_name,
        media_type: new.media_type,
        size_bytes: new.size_bytes,
        sha256: new.sha256.as_bytes().to_vec(),
        hash_type: new.hash_type,
        visibility: new.visibility,
        visibility_before_trash: None,
        trash_batch: None,
        trashed_at_us: None,
        revision: 1,
        created_by: new.created_by,
        created_at_us: new.now_us,
        updated_at_us: new.now_us,
        run_id,
        has_previous_runs: false,
        run_uid,
        transform_uid,
        previous_runs: Vec::new(),
        accessor: new.accessor,
        n_observations: new.n_observations,
        object_name,
        object_id: None,
        object_is_pack,
        offset_bytes: None,
        crc32c: None,
    }
}

/// The object that holds the bytes of an artifact.
#[derive(Debug, Clone)]
pub(crate) struct ObjectName {
    pub(crate) name: String,
    pub(crate) is_pack: bool,
}

/// The blob was found by content, and a deletion came between finding and naming it.
fn content_went() -> DbError {
    DbError::Conflict(DbErr::Custom("the content went in between".to_owned()))
}

fn number(number: VersionNumber) -> i32 {
    i32::try_from(number.get()).expect("version numbers fit")
}

fn insert_of(row: &NewRow, family: Inserted, blob: Inserted) -> Insert {
    Insert::into(artifacts::Entity)
        .columns([
            Col::Uid,
            Col::FamilyId,
            Col::SpaceId,
            Col::StorageId,
            Col::VersionNumber,
            Col::VersionLabel,
            Col::IsLatest,
            Col::Key,
            Col::KeyIsVirtual,
            Col::Description,
            Col::Kind,
            Col::Suffix,
            Col::FileName,
            Col::MediaType,
            Col::SizeBytes,
            Col::Sha256,
            Col::HashType,
            Col::NObjects,
            Col::BlobId,
            Col::ManifestId,
            Col::Visibility,
            Col::Revision,
            Col::CreatedBy,
            Col::CreatedAtUs,
            Col::UpdatedAtUs,
            Col::RunId,
            Col::Accessor,
            Col::NObservations,
        ])
        .values([
            row.uid.as_str().into(),
            family,
            row.space_id.into(),
            row.storage_id.into(),
            number(row.version_number).into(),
            row.version_label.as_str().into(),
            true.into(),
            row.key.clone().into(),
            row.key_is_virtual.into(),
            row.description.clone().into(),
            row.kind.into(),
            row.suffix.as_str().into(),
            row.file_name.clone().into(),
            row.media_type.as_str().into(),
            row.size_bytes.into(),
            row.sha256.as_bytes().to_vec().into(),
            row.hash_type.into(),
            row.manifest.map(|(_, objects)| objects).into(),
            blob,
            row.manifest.map(|(id, _)| id).into(),
            row.visibility.into(),
            1i64.into(),
            row.created_by.into(),
            row.now_us.into(),
            row.now_us.into(),
            row.run.as_ref().map(|(id, ..)| *id).into(),
            row.accessor.into(),
            row.n_observations.into(),
        ])
}

/// An update of one artifact; the caller adds what to set.
pub(crate) fn update(id: i64) -> UpdateStatement {
    let mut update = Query::update();
    update.table(artifacts::Entity).and_where(Expr::col(Col::Id).eq(id));
    update
}

/// A change that readers of the record should notice: the revision rises, and the
/// time of the change does not fall, whatever the clock of this server says.
pub(crate) fn touch(update: &mut UpdateStatement, now_us: i64) -> &mut UpdateStatement {
    let before = Expr::col(Col::UpdatedAtUs);
    let later = Expr::case(before.clone().gt(now_us), before).finally(now_us);
    update
        .value(Col::Revision, Expr::col(Col::Revision).add(1))
        .value(Col::UpdatedAtUs, later)
}

/// Writes what deleting and restoring may change in a record. `None` when nothing differs.
///
/// The family must be locked: then nobody else changes its records.
pub(crate) fn change(before: &ArtifactRow, after: &ArtifactRow) -> Option<UpdateStatement> {
    let (mut update, mut differs) = (self::update(after.id), false);
    let mut set = |column: Col, differs_here: bool, value: sea_orm::Value| {
        if differs_here {
            update.value(column, value);
            differs = true;
        }
    };
    set(
        Col::IsLatest,
        before.is_latest != after.is_latest,
        after.is_latest.into(),
    );
    set(Col::Key, before.key != after.key, after.key.clone().into());
    set(
        Col::Visibility,
        before.visibility != after.visibility,
        after.visibility.into(),
    );
    set(
        Col::VisibilityBeforeTrash,
        before.visibility_before_trash != after.visibility_before_trash,
        after.visibility_before_trash.into(),
    );
    set(
        Col::TrashBatch,
        before.trash_batch != after.trash_batch,
        after.trash_batch.clone().into(),
    );
    set(
        Col::TrashedAtUs,
        before.trashed_at_us != after.trashed_at_us,
        after.trashed_at_us.into(),
    );
    set(Col::Revision, before.revision != after.revision, after.revision.into());
    set(
        Col::UpdatedAtUs,
        before.updated_at_us != after.updated_at_us,
        after.updated_at_us.into(),
    );
    differs.then_some(update)
}

/// Takes the mark of the latest version from whichever version of a family has it.
pub(crate) fn clear_latest(family_id: i64) -> UpdateStatement {
    let mut update = Query::update();
    update.table(artifacts::Entity).value(Col::IsLatest, false).cond_where(
        Condition::all()
            .add(Expr::col(Col::FamilyId).eq(family_id))
            .add(Expr::col(Col::IsLatest)),
    );
    update
}

/// Lets all versions of a family, and the family itself, name a storage that holds their
/// contents; `folders` are the ids of versions with those of their manifests there. The
/// family must be locked.
///
/// `Conflict` when one of them would name no bytes.
pub(crate) async fn move_family(
    txn: &Txn,
    family_id: i64,
    storage_id: i64,
    folders: &[(i64, i64)],
    now_us: i64,
) -> Result<()> {
    const VERSIONS: &str = "UPDATE artifacts SET storage_id = $2, key_is_virtual = $4, revision = revision + 1, \
         updated_at_us = CASE WHEN updated_at_us > $3 THEN updated_at_us ELSE $3 END, \
         blob_id = CASE WHEN manifest_id IS NULL THEN (SELECT blobs.id FROM blobs WHERE blobs.storage_id = $2 \
         AND blobs.sha256 = artifacts.sha256 AND blobs.size_bytes = artifacts.size_bytes) END WHERE family_id = $1";
    let values = [family_id.into(), storage_id.into(), now_us.into(), true.into()];
    run(txn, VERSIONS, values).await?;
    const FOLDER: &str = "UPDATE artifacts SET manifest_id = $2 WHERE id = $1";
    for (id, manifest_id) in folders {
        run(txn, FOLDER, [(*id).into(), (*manifest_id).into()]).await?;
    }
    const NOWHERE: &str = "SELECT 1 FROM artifacts LEFT JOIN manifests ON manifests.id = artifacts.manifest_id \
         WHERE family_id = $1 AND blob_id IS NULL AND (manifests.id IS NULL OR manifests.storage_id <> $2) LIMIT 1";
    if any(txn, NOWHERE, [family_id.into(), storage_id.into()]).await? {
        return Err(content_went());
    }
    const FAMILY: &str = "UPDATE families SET storage_id = $2 WHERE id = $1";
    run(txn, FAMILY, [family_id.into(), storage_id.into()]).await?;
    Ok(())
}

/// Removes the row of an artifact.
pub(crate) fn delete(id: i64) -> sea_orm::sea_query::DeleteStatement {
    let mut delete = Query::delete();
    delete
        .from_table(artifacts::Entity)
        .and_where(Expr::col(Col::Id).eq(id));
    delete
}
