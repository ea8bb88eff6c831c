//! Queries over blobs, their objects and their checksums.

use std::sync::LazyLock;

use artifactd_domain::Sha256;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    Value,
    sea_query::{DeleteStatement, Expr, ExprTrait, InsertStatement, Query, SelectStatement, UpdateStatement},
};

use super::{
    DbError, Insert, Inserted, Result, Txn, all_of,
    entities::{artifacts, blob_checksums, blobs, manifest_page_blobs, objects},
    numbered::{Sql, pieces, row},
    statement,
};

type Col = blobs::Column;

static BLOBS: LazyLock<String> = LazyLock::new(all_of::<blobs::Entity>);
static OBJECTS: LazyLock<String> = LazyLock::new(all_of::<objects::Entity>);

/// Digests in one query.
const DIGESTS_AT_ONCE: usize = 512;

/// The blob with this content in a storage.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    sha256: &Sha256,
    size_bytes: i64,
) -> Result<Option<blobs::Model>> {
    let sql = format!("{} WHERE storage_id = $1 AND sha256 = $2 AND size_bytes = $3", *BLOBS);
    let values: [Value; 3] = [storage_id.into(), sha256.as_bytes().to_vec().into(), size_bytes.into()];
    row(conn, &sql, values).await
}

/// The largest blob of this digest whose size the caller does not know.
pub(crate) async fn find_by_digest(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    sha256: &Sha256,
) -> Result<Option<blobs::Model>> {
    let found = blobs::Entity::find()
        .filter(Col::StorageId.eq(storage_id))
        .filter(Col::Sha256.eq(sha256.as_bytes().to_vec()));
    Ok(found.order_by_desc(Col::SizeBytes).one(conn).await?)
}

/// The id of the blob with this content, inside another statement.
pub(crate) fn blob_id_of(storage_id: i64, sha256: &Sha256, size_bytes: i64) -> Expr {
    let mut select = Query::select();
    select
        .column(Col::Id)
        .from(blobs::Entity)
        .and_where(Expr::col(Col::StorageId).eq(storage_id))
        .and_where(Expr::col(Col::Sha256).eq(sha256.as_bytes().to_vec()))
        .and_where(Expr::col(Col::SizeBytes).eq(size_bytes));
    Expr::SubQuery(None, Box::new(select.into()))
}

/// The same for an insert.
pub(super) fn blob_id_in(storage_id: i64, sha256: &Sha256, size_bytes: i64) -> Inserted {
    Inserted::Found(
        "SELECT id FROM blobs WHERE storage_id = ? AND sha256 = ? AND size_bytes = ?",
        vec![storage_id.into(), sha256.as_bytes().to_vec().into(), size_bytes.into()],
    )
}

fn object_id_of(name: &str) -> Expr {
    let mut select = Query::select();
    select
        .column(objects::Column::Id)
        .from(objects::Entity)
        .and_where(Expr::col(objects::Column::Name).eq(name));
    Expr::SubQuery(None, Box::new(select.into()))
}

/// A stored object that no row names yet.
#[derive(Debug, Clone)]
pub(crate) struct NewObject {
    pub(crate) storage_id: i64,
    pub(crate) name: String,
    pub(crate) is_pack: bool,
    pub(crate) size_bytes: i64,
    pub(crate) store_etag: Option<String>,
}

/// Inserts an object that holds one blob, or a pack of some.
pub(crate) fn insert_object(object: &NewObject, now_us: i64) -> Insert {
    use objects::Column;
    Insert::into(objects::Entity)
        .columns([
            Column::StorageId,
            Column::Name,
            Column::IsPack,
            Column::SizeBytes,
            Column::StoreEtag,
            Column::CreatedAtUs,
        ])
        .values([
            object.storage_id.into(),
            object.name.as_str().into(),
            object.is_pack.into(),
            object.size_bytes.into(),
            object.store_etag.clone().into(),
            now_us.into(),
        ])
}

/// Where the bytes of a blob lie: the name of an object, and the first byte in it.
pub(crate) type PlaceInObject<'n> = (&'n str, i64);

/// Inserts a blob.
pub(crate) fn insert(
    storage_id: i64,
    sha256: &Sha256,
    size_bytes: i64,
    (object_name, offset_bytes): PlaceInObject<'_>,
    crc32c: Option<u32>,
    now_us: i64,
) -> Insert {
    Insert::into(blobs::Entity)
        .columns([
            Col::StorageId,
            Col::Sha256,
            Col::SizeBytes,
            Col::ObjectId,
            Col::OffsetBytes,
            Col::Crc32c,
            Col::Kept,
            Col::CreatedAtUs,
        ])
        .values([
            storage_id.into(),
            sha256.as_bytes().to_vec().into(),
            size_bytes.into(),
            Inserted::Found("SELECT id FROM objects WHERE name = ?", vec![object_name.into()]),
            offset_bytes.into(),
            crc32c.map(i64::from).into(),
            false.into(),
            now_us.into(),
        ])
}

/// Inserts one page of checksums of the blob with this content.
pub(crate) fn insert_checksums(blob_id: Expr, page: i64, sums: &[u32]) -> InsertStatement {
    use blob_checksums::Column;
    let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    let mut insert = Query::insert();
    insert
        .into_table(blob_checksums::Entity)
        .columns([Column::BlobId, Column::Page, Column::Crc32c])
        .values_panic([blob_id, page.into(), bytes.into()]);
    insert
}

/// One page of checksums of a blob; `None` when the blob is gone.
pub(crate) async fn checksums(conn: &impl ConnectionTrait, blob_id: i64, page: i64) -> Result<Option<Vec<u32>>> {
    let Some(row) = blob_checksums::Entity::find_by_id((blob_id, page)).one(conn).await? else {
        return Ok(None);
    };
    let (sums, rest) = row.crc32c.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(DbError::Row {
            table: "blob_checksums",
            column: "crc32c",
        });
    }
    Ok(Some(sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect()))
}

/// Points a damaged blob at sound bytes that came in again.
pub(crate) fn heal(id: i64, (object_name, offset_bytes): PlaceInObject<'_>) -> UpdateStatement {
    let mut update = update(id);
    update
        .value(Col::ObjectId, object_id_of(object_name))
        .value(Col::OffsetBytes, offset_bytes)
        .value(Col::DamagedSinceUs, None::<i64>);
    update
}

/// Marks a blob whose bytes were found wrong.
pub(crate) fn mark_damaged(id: i64, now_us: i64) -> UpdateStatement {
    let mut update = update(id);
    update
        .value(Col::DamagedSinceUs, now_us)
        .and_where(Expr::col(Col::DamagedSinceUs).is_null());
    update
}

/// Keeps a blob although nothing references it.
pub(crate) fn keep(id: i64) -> UpdateStatement {
    let mut update = update(id);
    update.value(Col::Kept, true);
    update
}

fn update(id: i64) -> UpdateStatement {
    let mut update = Query::update();
    update.table(blobs::Entity).and_where(Expr::col(Col::Id).eq(id));
    update
}

/// Whether the blob may go: no artifact, no folder and no keeper needs it.
fn unused() -> Expr {
    let used_by = |mut select: SelectStatement, column: Expr| {
        select
            .expr(Expr::val(1))
            .and_where(column.equals((blobs::Entity, Col::Id)));
        Expr::exists(select).not()
    };
    let mut by_artifact = Query::select();
    by_artifact.from(artifacts::Entity);
    let mut by_folder = Query::select();
    by_folder.from(manifest_page_blobs::Entity);
    Expr::col(Col::Kept)
        .eq(false)
        .and(used_by(
            by_artifact,
            Expr::col((artifacts::Entity, artifacts::Column::BlobId)),
        ))
        .and(used_by(
            by_folder,
            Expr::col((manifest_page_blobs::Entity, manifest_page_blobs::Column::BlobId)),
        ))
}

/// Removes the blob if nothing uses it.
pub(crate) fn delete_if_unused(id: i64) -> DeleteStatement {
    let mut delete = Query::delete();
    delete
        .from_table(blobs::Entity)
        .and_where(Expr::col(Col::Id).eq(id))
        .and_where(unused());
    delete
}

/// Digests and sizes of sound blobs of a storage, among those with some digests.
pub(crate) async fn held(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    digests: &[Sha256],
) -> Result<Vec<(Vec<u8>, i64)>> {
    let mut held = Vec::new();
    for digests in pieces(digests, DIGESTS_AT_ONCE) {
        let mut select = Query::select();
        select
            .columns([Col::Sha256, Col::SizeBytes])
            .from(blobs::Entity)
            .and_where(Expr::col(Col::StorageId).eq(storage_id))
            .and_where(Expr::col(Col::Sha256).is_in(digests.iter().map(|digest| digest.as_bytes().to_vec())))
            .and_where(Expr::col(Col::DamagedSinceUs).is_null());
        for row in conn.query_all(&select).await? {
            held.push((row.try_get("", "sha256")?, row.try_get("", "size_bytes")?));
        }
    }
    Ok(held)
}

/// Blobs of a storage with some digests, of whatever size, sound or not.
pub(crate) async fn with_digests(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    digests: &[Sha256],
) -> Result<Vec<blobs::Model>> {
    let mut found = Vec::new();
    for digests in pieces(digests, DIGESTS_AT_ONCE) {
        let query = blobs::Entity::find()
            .filter(Col::StorageId.eq(storage_id))
            .filter(Col::Sha256.is_in(digests.iter().map(|digest| digest.as_bytes().to_vec())));
        found.extend(query.all(conn).await?);
    }
    Ok(found)
}

/// A sound blob that artifacts use, and its object.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct SoundBlob {
    pub(crate) id: i64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) size_bytes: i64,
    pub(crate) object_name: String,
    pub(crate) object_is_pack: bool,
}

/// The sound blobs of a storage with some digests that are not kept for nobody; they stay
/// until the transaction ends.
pub(crate) async fn sound(txn: &Txn, storage_id: i64, digests: &[Sha256]) -> Result<Vec<SoundBlob>> {
    let hold = match txn {
        Txn::Sqlite(_) => "",
        Txn::Postgres(_) => " FOR KEY SHARE OF blobs",
    };
    let mut found = Vec::new();
    for digests in pieces(digests, DIGESTS_AT_ONCE) {
        let mut sql = Sql::new(
            "SELECT blobs.id, blobs.sha256, blobs.size_bytes, objects.name AS object_name, \
             objects.is_pack AS object_is_pack FROM blobs JOIN objects ON objects.id = blobs.object_id \
             WHERE blobs.damaged_since_us IS NULL AND NOT blobs.kept AND blobs.storage_id = ",
        );
        sql.bind(storage_id).push(" AND blobs.sha256 IN ");
        sql.bind_list(digests.iter().map(|digest| digest.as_bytes().to_vec()));
        sql.push(" ORDER BY blobs.id").push(hold);
        found.extend(sql.all::<SoundBlob>(txn).await?);
    }
    Ok(found)
}

/// Where the bytes of a blob lie, and what they must be.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct BlobPlace {
    pub(crate) blob_id: i64,
    pub(crate) object_name: String,
    pub(crate) offset_bytes: i64,
    pub(crate) size_bytes: i64,
    pub(crate) crc32c: Option<i64>,
}

const PLACE: &str = "SELECT blobs.id AS blob_id, objects.name AS object_name, blobs.offset_bytes, blobs.size_bytes, \
     blobs.crc32c FROM blobs JOIN objects ON objects.id = blobs.object_id";

/// Where the bytes of a blob lie.
pub(crate) async fn place(conn: &impl ConnectionTrait, id: i64) -> Result<Option<BlobPlace>> {
    place_by(conn, "blobs.id = $1", [id.into()]).await
}

/// Where the bytes of the blob with this content lie.
pub(crate) async fn place_of(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    sha256: &Sha256,
    size_bytes: i64,
) -> Result<Option<BlobPlace>> {
    let values: [Value; 3] = [storage_id.into(), sha256.as_bytes().to_vec().into(), size_bytes.into()];
    place_by(
        conn,
        "blobs.storage_id = $1 AND blobs.sha256 = $2 AND blobs.size_bytes = $3",
        values,
    )
    .await
}

async fn place_by(
    conn: &impl ConnectionTrait,
    condition: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<BlobPlace>> {
    row(conn, &format!("{PLACE} WHERE {condition}"), values).await
}

/// The id of the object with this row, inserted unless it is there.
///
/// `Conflict` when it is garbage by now. The row is held, so that it does not become
/// garbage before the transaction ends.
pub(crate) async fn ensure_object(txn: &Txn, object: &NewObject, now_us: i64) -> Result<i64> {
    let hold = match txn.get_database_backend() {
        DbBackend::Postgres => "FOR KEY SHARE",
        _ => "",
    };
    let sql = format!("SELECT id, garbage_since_us FROM objects WHERE name = $1 {hold}");
    let there = txn
        .query_one_raw(statement(txn, sql, [object.name.as_str().into()]))
        .await?;
    if let Some(row) = there {
        return match row.try_get::<Option<i64>>("", "garbage_since_us")? {
            None => Ok(row.try_get("", "id")?),
            Some(_) => Err(DbError::Conflict(DbErr::Custom(format!(
                "object {} is garbage",
                object.name
            )))),
        };
    }
    let insert = insert_object(object, now_us).returning([objects::Column::Id]);
    let row = txn.query_one_raw(insert.statement(txn.get_database_backend())).await?;
    Ok(row.ok_or(DbErr::RecordNotInserted)?.try_get("", "id")?)
}

/// Marks an object that no blob lies in any more as garbage.
pub(crate) fn discard_object_if_unused(id: i64, now_us: i64) -> UpdateStatement {
    let mut blob_in_it = Query::select();
    blob_in_it
        .expr(Expr::val(1))
        .from(blobs::Entity)
        .and_where(Expr::col((blobs::Entity, Col::ObjectId)).eq(id));
    let mut update = Query::update();
    update
        .table(objects::Entity)
        .value(objects::Column::GarbageSinceUs, now_us)
        .and_where(Expr::col(objects::Column::Id).eq(id))
        .and_where(Expr::exists(blob_in_it).not());
    update
}

/// Marks an object that nothing came to lie in as garbage.
pub(crate) fn discard_object_by_name(name: &str, now_us: i64) -> UpdateStatement {
    let mut update = Query::update();
    update
        .table(objects::Entity)
        .value(objects::Column::GarbageSinceUs, now_us)
        .and_where(Expr::col(objects::Column::Name).eq(name));
    update
}

/// The object with this id.
pub(crate) async fn object(conn: &impl ConnectionTrait, id: i64) -> Result<Option<objects::Model>> {
    row(conn, &format!("{} WHERE id = $1", *OBJECTS), [id.into()]).await
}

/// The object with this name.
pub(crate) async fn object_by_name(conn: &impl ConnectionTrait, name: &str) -> Result<Option<objects::Model>> {
    Ok(objects::Entity::find()
        .filter(objects::Column::Name.eq(name))
        .one(conn)
        .await?)
}

/// Blobs of a storage with their objects in the order of ids, for a walk over all.
pub(crate) async fn walk(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    after_id: i64,
    rows: u64,
) -> Result<Vec<blobs::Model>> {
    let found = blobs::Entity::find()
        .filter(Col::StorageId.eq(storage_id))
        .filter(Col::Id.gt(after_id));
    Ok(found.order_by_asc(Col::Id).limit(rows).all(conn).await?)
}

/// Whether nothing but its keeper holds a blob.
pub(crate) async fn is_referenced(conn: &impl ConnectionTrait, id: i64) -> Result<bool> {
    let by_artifact = artifacts::Entity::find()
        .filter(artifacts::Column::BlobId.eq(id))
        .one(conn)
        .await?;
    if by_artifact.is_some() {
        return Ok(true);
    }
    let by_folder = manifest_page_blobs::Entity::find()
        .filter(manifest_page_blobs::Column::BlobId.eq(id))
        .one(conn)
        .await?;
    Ok(by_folder.is_some())
}

/// Takes back the keeping of a blob that an artifact uses again.
pub(crate) fn adopt(id: i64) -> UpdateStatement {
    let mut update = update(id);
    update.value(Col::Kept, false);
    update
}
