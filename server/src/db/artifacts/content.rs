//! Artifacts by what they hold.

use artifactd_domain::{HashType, Sha256, Visibility};
use sea_orm::{
    DbErr, Order,
    sea_query::{ExprTrait, Query, SelectStatement},
};

use super::{ArtifactRow, Col, col, one, outside_trash, select};
use crate::db::{
    Connection, Result,
    cells::{Cells, FromCells},
    entities::artifacts,
    numbered::{Sql, pieces},
};

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
