//! Queries over manifests, their pages, and the blobs that these name.
//!
//! A folder of a million files has a million rows here, so what comes in numbers is
//! written many rows at a time. The statements are the same text every time, which
//! both databases compile once.

use artifactd_domain::{
    Sha256,
    manifest::{ManifestDigest, MemberPath, Page, PageRef},
};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, Value};

use super::{
    DbError, Result, Txn,
    blobs::BlobPlace,
    numbered::{ROWS_AT_ONCE, list_of, pieces, places_for},
    statement,
};

/// Pages in one statement: each has some 60 KiB.
const PAGES_AT_ONCE: usize = 16;

/// A blob that is about to be written, in an object that has its row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewBlob {
    pub(crate) sha256: Sha256,
    pub(crate) size_bytes: i64,
    pub(crate) object_id: i64,
    pub(crate) offset_bytes: i64,
    /// Of the whole, where that is one block.
    pub(crate) crc32c: Option<u32>,
}

/// A page and where it stands in a manifest.
#[derive(Debug, Clone)]
pub(crate) struct PlacedPage {
    pub(crate) page_id: i64,
    pub(crate) reference: PageRef,
}

fn sha256(row: &QueryResult, column: &str) -> Result<Sha256> {
    let bytes: Vec<u8> = row.try_get("", column)?;
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| DbErr::Type(format!("{column} is no digest")))?;
    Ok(Sha256::from_bytes(bytes))
}

/// Ids of the pages of a storage that are there, among some.
pub(crate) async fn pages_with_digests(
    conn: &impl ConnectionTrait,
    storage_id: i64,
    digests: &[Sha256],
) -> Result<Vec<(Sha256, i64)>> {
    let mut found = Vec::new();
    for digests in pieces(digests, ROWS_AT_ONCE) {
        let sql = format!(
            "SELECT id, sha256 FROM manifest_pages WHERE storage_id = $1 AND sha256 IN ({})",
            list_of(digests.len(), 2)
        );
        let values = digests.iter().map(|digest| digest.as_bytes().to_vec().into());
        let values = std::iter::once(storage_id.into()).chain(values);
        for row in conn.query_all_raw(statement(conn, sql, values)).await? {
            found.push((sha256(&row, "sha256")?, row.try_get("", "id")?));
        }
    }
    Ok(found)
}

/// Inserts pages; answers their ids.
pub(crate) async fn insert_pages(
    txn: &Txn,
    storage_id: i64,
    pages: &[&Page],
    now_us: i64,
) -> Result<Vec<(Sha256, i64)>> {
    let mut inserted = Vec::with_capacity(pages.len());
    for pages in pieces(pages, PAGES_AT_ONCE) {
        let sql = format!(
            "INSERT INTO manifest_pages (storage_id, sha256, entries, created_at_us) VALUES {} RETURNING id, sha256",
            places_for(pages.len(), 4)
        );
        let values = pages.iter().flat_map(|page| {
            let digest = page.sha256().as_bytes().to_vec();
            [storage_id.into(), digest.into(), page.encode().into(), now_us.into()]
        });
        for row in txn.query_all_raw(statement(txn, sql, values)).await? {
            inserted.push((sha256(&row, "sha256")?, row.try_get("", "id")?));
        }
    }
    Ok(inserted)
}

/// Inserts blobs; answers their digests, sizes and ids.
pub(crate) async fn insert_blobs(
    txn: &Txn,
    storage_id: i64,
    blobs: &[NewBlob],
    now_us: i64,
) -> Result<Vec<(Sha256, i64, i64)>> {
    let mut inserted = Vec::with_capacity(blobs.len());
    for blobs in pieces(blobs, ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO blobs (storage_id, sha256, size_bytes, object_id, offset_bytes, crc32c, kept, created_at_us) \
             VALUES {} RETURNING id, sha256, size_bytes",
            places_for(blobs.len(), 8)
        );
        let values = blobs.iter().flat_map(|blob| -> [Value; 8] {
            [
                storage_id.into(),
                blob.sha256.as_bytes().to_vec().into(),
                blob.size_bytes.into(),
                blob.object_id.into(),
                blob.offset_bytes.into(),
                blob.crc32c.map(i64::from).into(),
                false.into(),
                now_us.into(),
            ]
        });
        for row in txn.query_all_raw(statement(txn, sql, values)).await? {
            let (size_bytes, id) = (row.try_get("", "size_bytes")?, row.try_get("", "id")?);
            inserted.push((sha256(&row, "sha256")?, size_bytes, id));
        }
    }
    Ok(inserted)
}

/// Says which blobs the entries of pages name. Each pair once.
pub(crate) async fn insert_page_blobs(txn: &Txn, pairs: &[(i64, i64)]) -> Result<()> {
    for pairs in pieces(pairs, ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO manifest_page_blobs (page_id, blob_id) VALUES {}",
            places_for(pairs.len(), 2)
        );
        let values = pairs.iter().flat_map(|(page, blob)| [(*page).into(), (*blob).into()]);
        txn.execute_raw(statement(txn, sql, values)).await?;
    }
    Ok(())
}

/// Inserts a manifest; answers its id.
pub(crate) async fn insert(txn: &Txn, storage_id: i64, digest: &ManifestDigest, now_us: i64) -> Result<i64> {
    const SQL: &str = "INSERT INTO manifests (storage_id, sha256, size_bytes, n_objects, created_at_us) \
         VALUES ($1, $2, $3, $4, $5) RETURNING id";
    let values: [Value; 5] = [
        storage_id.into(),
        digest.sha256.as_bytes().to_vec().into(),
        // Both are limited where the digest is made.
        (digest.size_bytes as i64).into(),
        (digest.n_objects as i64).into(),
        now_us.into(),
    ];
    let row = txn.query_one_raw(statement(txn, SQL, values)).await?;
    Ok(row.ok_or(DbErr::RecordNotInserted)?.try_get("", "id")?)
}

/// Says which pages a manifest consists of.
pub(crate) async fn insert_places(txn: &Txn, manifest_id: i64, places: &[(&MemberPath, i64)]) -> Result<()> {
    for places in pieces(places, ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO manifest_page_places (manifest_id, first_path, page_id) VALUES {}",
            places_for(places.len(), 3)
        );
        let values = places
            .iter()
            .flat_map(|(path, page)| [manifest_id.into(), path.as_str().into(), (*page).into()]);
        txn.execute_raw(statement(txn, sql, values)).await?;
    }
    Ok(())
}

fn placed(row: &QueryResult) -> Result<PlacedPage> {
    let first_path: String = row.try_get("", "first_path")?;
    let first_path = first_path.parse().map_err(|_| DbError::Row {
        table: "manifest_page_places",
        column: "first_path",
    })?;
    Ok(PlacedPage {
        page_id: row.try_get("", "page_id")?,
        reference: PageRef {
            first_path,
            sha256: sha256(row, "sha256")?,
        },
    })
}

const PLACES: &str = "SELECT places.first_path, places.page_id, pages.sha256 FROM manifest_page_places AS places \
     JOIN manifest_pages AS pages ON pages.id = places.page_id WHERE places.manifest_id = $1";

/// All pages of a manifest, in order.
pub(crate) async fn pages_of(conn: &impl ConnectionTrait, manifest_id: i64) -> Result<Vec<PlacedPage>> {
    let sql = format!("{PLACES} ORDER BY places.first_path");
    let rows = conn.query_all_raw(statement(conn, sql, [manifest_id.into()])).await?;
    rows.iter().map(placed).collect()
}

/// The page of a manifest that has `path` if one does: the last to begin at or before it.
pub(crate) async fn page_for(conn: &impl ConnectionTrait, manifest_id: i64, path: &str) -> Result<Option<PlacedPage>> {
    let sql = format!("{PLACES} AND places.first_path <= $2 ORDER BY places.first_path DESC LIMIT 1");
    let row = conn
        .query_one_raw(statement(conn, sql, [manifest_id.into(), path.into()]))
        .await?;
    row.as_ref().map(placed).transpose()
}

/// The page of a manifest that begins next after `path`.
pub(crate) async fn page_after(
    conn: &impl ConnectionTrait,
    manifest_id: i64,
    path: &str,
) -> Result<Option<PlacedPage>> {
    let sql = format!("{PLACES} AND places.first_path > $2 ORDER BY places.first_path LIMIT 1");
    let row = conn
        .query_one_raw(statement(conn, sql, [manifest_id.into(), path.into()]))
        .await?;
    row.as_ref().map(placed).transpose()
}

/// The members of a page; `None` when it is gone.
pub(crate) async fn page(conn: &impl ConnectionTrait, page_id: i64) -> Result<Option<Page>> {
    const SQL: &str = "SELECT entries FROM manifest_pages WHERE id = $1";
    let Some(row) = conn.query_one_raw(statement(conn, SQL, [page_id.into()])).await? else {
        return Ok(None);
    };
    let entries: Vec<u8> = row.try_get("", "entries")?;
    let page = Page::decode(&entries).map_err(|_| DbError::Row {
        table: "manifest_pages",
        column: "entries",
    })?;
    Ok(Some(page))
}

/// Digests and sizes of the blobs that a page names.
pub(crate) async fn contents_of_page(conn: &impl ConnectionTrait, page_id: i64) -> Result<Vec<(Sha256, u64)>> {
    const SQL: &str = "SELECT blobs.sha256, blobs.size_bytes FROM manifest_page_blobs AS named \
         JOIN blobs ON blobs.id = named.blob_id WHERE named.page_id = $1";
    let rows = conn.query_all_raw(statement(conn, SQL, [page_id.into()])).await?;
    rows.iter()
        .map(|row| {
            Ok((
                sha256(row, "sha256")?,
                row.try_get::<i64>("", "size_bytes")?.unsigned_abs(),
            ))
        })
        .collect()
}

/// Where the contents lie that a page names, with their digests.
pub(crate) async fn places_of_page(conn: &impl ConnectionTrait, page_id: i64) -> Result<Vec<(Sha256, BlobPlace)>> {
    const SQL: &str = "SELECT blobs.sha256, blobs.id AS blob_id, objects.name AS object_name, blobs.offset_bytes, \
         blobs.size_bytes, blobs.crc32c FROM manifest_page_blobs AS named JOIN blobs ON blobs.id = named.blob_id \
         JOIN objects ON objects.id = blobs.object_id WHERE named.page_id = $1";
    let rows = conn.query_all_raw(statement(conn, SQL, [page_id.into()])).await?;
    rows.iter()
        .map(|row| Ok((sha256(row, "sha256")?, BlobPlace::from_query_result(row, "")?)))
        .collect()
}

/// Marks a manifest that no artifact has any more, and what becomes of its bytes.
pub(crate) async fn discard(txn: &Txn, manifest_id: i64, keeps_bytes: bool, now_us: i64) -> Result<()> {
    const SQL: &str = "UPDATE manifests SET garbage_since_us = $1, keeps_bytes = $2 WHERE id = $3";
    let values: [Value; 3] = [now_us.into(), keeps_bytes.into(), manifest_id.into()];
    txn.execute_raw(statement(txn, SQL, values)).await?;
    Ok(())
}

/// A manifest that no artifact has, and whether its bytes are kept.
pub(crate) async fn garbage(conn: &impl ConnectionTrait) -> Result<Option<(i64, bool)>> {
    const SQL: &str = "SELECT id, keeps_bytes FROM manifests WHERE garbage_since_us IS NOT NULL ORDER BY id LIMIT 1";
    let row = conn.query_one_raw(statement(conn, SQL, [])).await?;
    row.map(|row| Ok((row.try_get("", "id")?, row.try_get("", "keeps_bytes")?)))
        .transpose()
}

/// Takes some pages out of a manifest, and the manifest away when it has no more;
/// answers their ids.
pub(crate) async fn take_pages(txn: &Txn, manifest_id: i64, most: i64) -> Result<Vec<i64>> {
    const PAGES: &str = "DELETE FROM manifest_page_places WHERE manifest_id = $1 AND first_path IN \
         (SELECT first_path FROM manifest_page_places WHERE manifest_id = $1 ORDER BY first_path LIMIT $2) \
         RETURNING page_id";
    const MANIFEST: &str = "DELETE FROM manifests WHERE id = $1 AND NOT EXISTS \
         (SELECT 1 FROM manifest_page_places WHERE manifest_id = $1)";
    let values: [Value; 2] = [manifest_id.into(), most.into()];
    let rows = txn.query_all_raw(statement(txn, PAGES, values)).await?;
    txn.execute_raw(statement(txn, MANIFEST, [manifest_id.into()])).await?;
    page_ids(&rows)
}

pub(super) fn page_ids(rows: &[QueryResult]) -> Result<Vec<i64>> {
    rows.iter().map(|row| Ok(row.try_get("", "page_id")?)).collect()
}

/// What of a page's bytes nothing else needs.
const UNUSED_BLOBS: &str = "SELECT blobs.id FROM blobs WHERE blobs.id IN \
     (SELECT blob_id FROM manifest_page_blobs WHERE page_id = $1)";

/// Removes a page that no manifest and no save holds, and with it the blobs that nothing
/// else uses; answers the objects in which these lay.
pub(crate) async fn delete_page_if_unused(txn: &Txn, page_id: i64, keeps_bytes: bool, now_us: i64) -> Result<()> {
    const IS_USED: &str = "SELECT 1 FROM manifest_page_places WHERE page_id = $1 \
         UNION ALL SELECT 1 FROM folder_save_pages WHERE page_id = $1 LIMIT 1";
    const BLOBS: &str = "SELECT blob_id FROM manifest_page_blobs WHERE page_id = $1";
    const PAGE: &str = "DELETE FROM manifest_pages WHERE id = $1";
    if txn
        .query_one_raw(statement(txn, IS_USED, [page_id.into()]))
        .await?
        .is_some()
    {
        return Ok(());
    }
    if keeps_bytes {
        let sql = format!("UPDATE blobs SET kept = TRUE WHERE id IN ({UNUSED_BLOBS})");
        txn.execute_raw(statement(txn, sql, [page_id.into()])).await?;
    }
    let rows = txn.query_all_raw(statement(txn, BLOBS, [page_id.into()])).await?;
    let mut blob_ids = Vec::with_capacity(rows.len());
    for row in &rows {
        blob_ids.push(row.try_get::<i64>("", "blob_id")?);
    }
    txn.execute_raw(statement(txn, PAGE, [page_id.into()])).await?;
    delete_blobs_if_unused(txn, &blob_ids, now_us).await
}

/// Removes the blobs among some that nothing uses, and marks the objects as garbage in
/// which none is left.
pub(crate) async fn delete_blobs_if_unused(txn: &Txn, blob_ids: &[i64], now_us: i64) -> Result<()> {
    let mut object_ids = std::collections::BTreeSet::new();
    for ids in pieces(blob_ids, ROWS_AT_ONCE) {
        let sql = format!(
            "DELETE FROM blobs WHERE id IN ({}) AND NOT kept \
             AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.blob_id = blobs.id) \
             AND NOT EXISTS (SELECT 1 FROM manifest_page_blobs AS named WHERE named.blob_id = blobs.id) \
             RETURNING object_id",
            list_of(ids.len(), 1)
        );
        let values = ids.iter().map(|id| (*id).into());
        for row in txn.query_all_raw(statement(txn, sql, values)).await? {
            object_ids.insert(row.try_get::<i64>("", "object_id")?);
        }
    }
    for object_id in object_ids {
        txn.execute(&super::blobs::discard_object_if_unused(object_id, now_us))
            .await?;
    }
    Ok(())
}
