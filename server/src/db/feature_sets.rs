//! Queries over feature sets.

use sea_orm::{ConnectionTrait, FromQueryResult};

use super::{
    Result, Txn,
    numbered::{self, ROWS_AT_ONCE, Sql, pieces, places_for},
};

const COLUMNS: &str = "SELECT id, uid, space_id, hash, n_features, created_by, created_at_us FROM feature_sets WHERE ";

/// A set of features.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct FeatureSetRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) n_features: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
}

/// A set, and where an artifact has it.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct SlotRow {
    pub(crate) slot: String,
    pub(crate) feature_set_id: i64,
}

#[derive(FromQueryResult)]
struct Id {
    id: i64,
}

#[derive(FromQueryResult)]
struct Number {
    number: i64,
}

/// The set with this uid, wherever it is.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<FeatureSetRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("uid = ").bind(uid);
    sql.one(conn).await
}

/// The sets with these ids.
pub(crate) async fn by_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<FeatureSetRow>> {
    let mut sql = Sql::new(COLUMNS);
    sql.push("id IN ").bind_list(ids.iter().copied());
    sql.all(conn).await
}

/// The set of these features; it is made when there is none.
pub(crate) async fn find_or_insert(txn: &Txn, new: &FeatureSetRow, feature_ids: &[i64]) -> Result<i64> {
    if let Some(id) = find(txn, new).await? {
        return Ok(id);
    }
    const SQL: &str = "INSERT INTO feature_sets (uid, space_id, hash, n_features, created_by, created_at_us) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (space_id, hash) DO NOTHING";
    let FeatureSetRow {
        id: _,
        uid,
        space_id,
        hash,
        n_features,
        created_by,
        created_at_us,
    } = new.clone();
    let values = [
        uid.into(),
        space_id.into(),
        hash.into(),
        n_features.into(),
        created_by.into(),
        created_at_us.into(),
    ];
    let inserted = numbered::run(txn, SQL, values).await? == 1;
    let id = find(txn, new).await?.ok_or(sea_orm::DbErr::RecordNotInserted)?;
    if inserted {
        for ids in feature_ids.chunks(ROWS_AT_ONCE) {
            let places = places_for(ids.len(), 2);
            let sql = format!("INSERT INTO feature_set_members (feature_set_id, feature_id) VALUES {places}");
            let values = ids.iter().flat_map(|feature| [id.into(), (*feature).into()]);
            numbered::run(txn, &sql, values).await?;
        }
    }
    Ok(id)
}

async fn find(txn: &Txn, set: &FeatureSetRow) -> Result<Option<i64>> {
    // Whoever removes sets that nothing has waits.
    let mut sql = Sql::new("SELECT id FROM feature_sets WHERE space_id = ");
    sql.bind(set.space_id).push(" AND hash = ").bind(set.hash.clone());
    sql.push(txn.for_share());
    Ok(sql.one::<Id>(txn).await?.map(|row| row.id))
}

/// Says which set an artifact has in a slot.
pub(crate) async fn link(txn: &Txn, artifact_id: i64, slot: &str, feature_set_id: i64) -> Result<()> {
    const SQL: &str = "INSERT INTO artifact_feature_sets (artifact_id, slot, feature_set_id) VALUES ($1, $2, $3)";
    numbered::run(txn, SQL, [artifact_id.into(), slot.into(), feature_set_id.into()]).await?;
    Ok(())
}

/// The same for many, each with its artifact, slot and set.
pub(crate) async fn link_all(txn: &Txn, links: &[(i64, &str, i64)]) -> Result<()> {
    for links in pieces(links, ROWS_AT_ONCE) {
        let places = places_for(links.len(), 3);
        let sql = format!("INSERT INTO artifact_feature_sets (artifact_id, slot, feature_set_id) VALUES {places}");
        let values = links
            .iter()
            .flat_map(|(artifact, slot, set)| [(*artifact).into(), (*slot).into(), (*set).into()]);
        numbered::run(txn, &sql, values).await?;
    }
    Ok(())
}

/// Forgets which sets an artifact has.
pub(crate) async fn unlink(txn: &Txn, artifact_id: i64) -> Result<()> {
    const SQL: &str = "DELETE FROM artifact_feature_sets WHERE artifact_id = $1";
    numbered::run(txn, SQL, [artifact_id.into()]).await?;
    Ok(())
}

/// Which sets an artifact has.
pub(crate) async fn of_artifact(conn: &impl ConnectionTrait, artifact_id: i64) -> Result<Vec<SlotRow>> {
    let mut sql = Sql::new("SELECT slot, feature_set_id FROM artifact_feature_sets WHERE artifact_id = ");
    sql.bind(artifact_id).push(" ORDER BY slot");
    sql.all(conn).await
}

/// Features of a set.
pub(crate) async fn members(conn: &impl ConnectionTrait, feature_set_id: i64) -> Result<Vec<i64>> {
    let mut sql = Sql::new("SELECT feature_id AS id FROM feature_set_members WHERE feature_set_id = ");
    sql.bind(feature_set_id);
    let rows = sql.all::<Id>(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// How many artifacts outside trash have a set.
pub(crate) async fn count_artifacts(conn: &impl ConnectionTrait, feature_set_id: i64, trash: i16) -> Result<i64> {
    let mut sql = Sql::new(
        "SELECT COUNT(*) AS number FROM artifact_feature_sets \
         JOIN artifacts ON artifacts.id = artifact_feature_sets.artifact_id WHERE feature_set_id = ",
    );
    sql.bind(feature_set_id).push(" AND visibility <> ").bind(trash);
    Ok(sql.one::<Number>(conn).await?.map_or(0, |row| row.number))
}

/// Removes the sets of a feature that no artifact has any more; whether it is in others.
pub(crate) async fn release(txn: &Txn, feature_id: i64) -> Result<bool> {
    const UNUSED: &str = "DELETE FROM feature_sets WHERE id IN \
         (SELECT feature_set_id FROM feature_set_members WHERE feature_id = $1) AND NOT EXISTS \
         (SELECT 1 FROM artifact_feature_sets WHERE artifact_feature_sets.feature_set_id = feature_sets.id)";
    numbered::run(txn, UNUSED, [feature_id.into()]).await?;
    const USED: &str = "SELECT 1 AS one FROM feature_set_members WHERE feature_id = $1 LIMIT 1";
    numbered::any(txn, USED, [feature_id.into()]).await
}
