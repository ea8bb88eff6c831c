//! Queries over what connects artifacts and runs. Each answers a step of a walk for many at once.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult};

use super::{
    Connection, Result,
    cells::{Cells, FromCells},
    numbered::Sql,
};

/// Ids in one statement; both databases take more.
const IDS_AT_ONCE: usize = 1_024;

/// An artifact as a node.
#[derive(Debug, Clone)]
pub(crate) struct ArtifactNode {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) key: Option<String>,
    /// The beginning of its description, where it has no key; may be empty.
    pub(crate) description: String,
    pub(crate) kind: i16,
    pub(crate) version_label: String,
    pub(crate) visibility: i16,
    pub(crate) size_bytes: i64,
    pub(crate) created_at_us: i64,
    /// The run that made it.
    pub(crate) run_id: Option<i64>,
    pub(crate) has_previous_runs: bool,
}

/// A run as a node.
#[derive(Debug, Clone)]
pub(crate) struct RunNode {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) name: Option<String>,
    pub(crate) status: i16,
    pub(crate) transform_id: Option<i64>,
}

/// A transform as a node says it.
#[derive(Debug, Clone)]
pub(crate) struct TransformNode {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) key: String,
    pub(crate) version: String,
}

/// What connects an artifact and a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) artifact_id: i64,
    pub(crate) run_id: i64,
}

impl FromCells for ArtifactNode {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            id: cells.next()?,
            uid: cells.next()?,
            space_id: cells.next()?,
            key: cells.next()?,
            description: cells.next()?,
            kind: cells.next()?,
            version_label: cells.next()?,
            visibility: cells.next()?,
            size_bytes: cells.next()?,
            created_at_us: cells.next()?,
            run_id: cells.next()?,
            has_previous_runs: cells.next()?,
        })
    }
}

/// A run, and an artifact that it has used.
impl FromCells for (i64, RunNode) {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok((cells.next()?, RunNode::from_cells(cells)?))
    }
}

impl FromCells for RunNode {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            id: cells.next()?,
            uid: cells.next()?,
            space_id: cells.next()?,
            name: cells.next()?,
            status: cells.next()?,
            transform_id: cells.next()?,
        })
    }
}

impl FromCells for TransformNode {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            id: cells.next()?,
            uid: cells.next()?,
            key: cells.next()?,
            version: cells.next()?,
        })
    }
}

impl FromCells for Link {
    fn from_cells(cells: &mut Cells<'_>) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            artifact_id: cells.next()?,
            run_id: cells.next()?,
        })
    }
}

/// Artifacts as nodes; of a description only what a node shows.
const ARTIFACTS: &str = "SELECT id, uid, space_id, \"key\", \
     CASE WHEN \"key\" IS NULL THEN COALESCE(SUBSTR(description, 1, 80), '') ELSE '' END, \
     kind, version_label, visibility, size_bytes, created_at_us, run_id, has_previous_runs FROM artifacts";

/// A run as a node.
const RUN_COLUMNS: &str = "runs.id, runs.uid, runs.space_id, runs.name, runs.status, runs.transform_id";

/// Ids in pieces, each of them a power of two long, so that few statements are compiled: the
/// last is filled with an id that it has.
fn pieces(ids: &[i64]) -> impl Iterator<Item = Vec<i64>> {
    ids.chunks(IDS_AT_ONCE).map(|ids| {
        let mut piece = ids.to_vec();
        piece.resize(ids.len().next_power_of_two(), ids[ids.len() - 1]);
        piece
    })
}

/// All that a text finds for some ids.
async fn all<T: FromCells>(conn: &impl Connection, text: &str, ids: &[i64]) -> Result<Vec<T>> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in pieces(ids) {
        let mut sql = Sql::new(text);
        sql.bind_list(ids);
        found.extend(sql.read(conn).await?);
    }
    Ok(found)
}

/// The artifacts with these ids.
pub(crate) async fn artifacts(conn: &impl Connection, ids: &[i64]) -> Result<Vec<ArtifactNode>> {
    all(conn, &format!("{ARTIFACTS} WHERE id IN "), ids).await
}

/// The runs with these ids.
pub(crate) async fn runs(conn: &impl Connection, ids: &[i64]) -> Result<Vec<RunNode>> {
    all(conn, &format!("SELECT {RUN_COLUMNS} FROM runs WHERE id IN "), ids).await
}

/// The transforms with these ids.
pub(crate) async fn transforms(conn: &impl Connection, ids: &[i64]) -> Result<Vec<TransformNode>> {
    const SQL: &str = "SELECT transforms.id, transforms.uid, transform_families.\"key\", transforms.version_label \
         FROM transforms JOIN transform_families ON transform_families.id = transforms.family_id \
         WHERE transforms.id IN ";
    all(conn, SQL, ids).await
}

/// What a text finds for some ids; at most so many.
async fn found<T: FromCells>(conn: &impl Connection, text: &str, ids: &[i64], most: usize) -> Result<Vec<T>> {
    let mut found = Vec::new();
    for ids in pieces(ids) {
        let mut sql = Sql::new(text);
        sql.bind_list(ids);
        sql.push(" LIMIT ")
            .bind(i64::try_from(most.saturating_sub(found.len())).unwrap_or(i64::MAX));
        found.extend(sql.read(conn).await?);
        if found.len() >= most {
            break;
        }
    }
    Ok(found)
}

/// What some runs have used; at most so many.
pub(crate) async fn inputs_of(conn: &impl Connection, runs: &[i64], most: usize) -> Result<Vec<Link>> {
    const SQL: &str = "SELECT artifact_id, run_id FROM run_inputs WHERE run_id IN ";
    found(conn, SQL, runs, most).await
}

/// What some runs have made; at most so many. Each says by which run it was made.
pub(crate) async fn outputs_of(conn: &impl Connection, runs: &[i64], most: usize) -> Result<Vec<ArtifactNode>> {
    found(conn, &format!("{ARTIFACTS} WHERE run_id IN "), runs, most).await
}

/// What some runs made again or changed; at most so many.
pub(crate) async fn updated_by(conn: &impl Connection, runs: &[i64], most: usize) -> Result<Vec<Link>> {
    const SQL: &str = "SELECT artifact_id, run_id FROM artifact_runs WHERE run_id IN ";
    found(conn, SQL, runs, most).await
}

/// Which runs have used some artifacts, each behind the id of one; at most so many.
pub(crate) async fn readers_of(conn: &impl Connection, artifacts: &[i64], most: usize) -> Result<Vec<(i64, RunNode)>> {
    let text = format!(
        "SELECT run_inputs.artifact_id, {RUN_COLUMNS} FROM run_inputs \
         JOIN runs ON runs.id = run_inputs.run_id WHERE run_inputs.artifact_id IN "
    );
    found(conn, &text, artifacts, most).await
}

/// Which runs made some artifacts again or changed them; at most so many.
pub(crate) async fn updaters_of(conn: &impl Connection, artifacts: &[i64], most: usize) -> Result<Vec<Link>> {
    const SQL: &str = "SELECT artifact_id, run_id FROM artifact_runs WHERE artifact_id IN ";
    found(conn, SQL, artifacts, most).await
}

/// A number and some uids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub(crate) number: i64,
    pub(crate) uids: Vec<String>,
}

#[derive(FromQueryResult)]
struct Number {
    number: i64,
}

#[derive(FromQueryResult)]
struct Uid {
    uid: String,
}

async fn number(conn: &impl ConnectionTrait, text: &str, id: i64) -> Result<i64> {
    let mut sql = Sql::new("SELECT COUNT(*) AS number FROM ");
    // The text has the place of the id.
    let (before, after) = text.split_once("$1").unwrap_or((text, ""));
    sql.push(before).bind(id).push(after);
    Ok(sql.one::<Number>(conn).await?.map_or(0, |row| row.number))
}

async fn counted(conn: &impl ConnectionTrait, column: &str, text: &str, id: i64, most: i64) -> Result<Counted> {
    let number = number(conn, text, id).await?;
    let mut sql = Sql::new("SELECT ");
    let (before, after) = text.split_once("$1").unwrap_or((text, ""));
    sql.push(column).push(" AS uid FROM ").push(before).bind(id).push(after);
    sql.push(" ORDER BY 1 LIMIT ").bind(most);
    let rows: Vec<Uid> = sql.all(conn).await?;
    let uids = rows.into_iter().map(|row| row.uid).collect();
    Ok(Counted { number, uids })
}

/// Runs that have used an artifact.
pub(crate) async fn input_of(conn: &impl ConnectionTrait, artifact_id: i64, most: i64) -> Result<Counted> {
    const SQL: &str = "run_inputs JOIN runs ON runs.id = run_inputs.run_id WHERE artifact_id = $1";
    counted(conn, "runs.uid", SQL, artifact_id, most).await
}

/// Artifacts that those runs have made.
pub(crate) async fn derived_from(conn: &impl ConnectionTrait, artifact_id: i64, most: i64) -> Result<Counted> {
    const SQL: &str = "artifacts WHERE run_id IN (SELECT run_id FROM run_inputs WHERE artifact_id = $1)";
    counted(conn, "artifacts.uid", SQL, artifact_id, most).await
}

/// Runs whose report or environment an artifact is.
pub(crate) async fn described_by(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<i64> {
    Ok(number(conn, "runs WHERE report_id = $1", artifact_id).await?
        + number(conn, "runs WHERE environment_id = $1", artifact_id).await?)
}

/// Values and labels of an artifact.
pub(crate) async fn annotations_of(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<i64> {
    Ok(number(
        conn,
        "feature_values WHERE artifact_id = $1 AND NOT is_item",
        artifact_id,
    )
    .await?
        + number(conn, "artifact_labels WHERE artifact_id = $1", artifact_id).await?)
}

/// Versions of a family, those in trash too.
pub(crate) async fn versions_of(conn: &impl ConnectionTrait, family_id: i64) -> Result<i64> {
    number(conn, "artifacts WHERE family_id = $1", family_id).await
}

/// Artifacts on the same bytes, this one among them.
pub(crate) async fn with_blob(conn: &impl ConnectionTrait, blob_id: i64) -> Result<i64> {
    number(conn, "artifacts WHERE blob_id = $1", blob_id).await
}

/// The same of a folder.
pub(crate) async fn with_manifest(conn: &impl ConnectionTrait, manifest_id: i64) -> Result<i64> {
    number(conn, "artifacts WHERE manifest_id = $1", manifest_id).await
}
