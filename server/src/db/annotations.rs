//! Queries over the values and labels of artifacts.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use super::{
    Result, Txn,
    numbered::{self, ROWS_AT_ONCE, Sql, places_for},
};

/// A value of an artifact that is no label.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub(crate) struct ValueRow {
    pub(crate) artifact_id: i64,
    pub(crate) feature_id: i64,
    pub(crate) int_value: Option<i64>,
    pub(crate) float_value: Option<f64>,
    pub(crate) text_value: Option<String>,
    pub(crate) document: Option<String>,
    /// Whether it is an item of a list, by which the list is found.
    pub(crate) is_item: bool,
    pub(crate) artifact_at_us: i64,
}

impl ValueRow {
    /// Whether both are the same value.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.artifact_id == other.artifact_id
            && self.feature_id == other.feature_id
            && self.int_value == other.int_value
            && self.float_value == other.float_value
            && self.text_value == other.text_value
            && self.is_item == other.is_item
    }
}

/// A label of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, FromQueryResult)]
pub(crate) struct LabelLink {
    pub(crate) artifact_id: i64,
    pub(crate) label_id: i64,
    /// The feature whose value it is.
    pub(crate) feature_id: Option<i64>,
    pub(crate) artifact_at_us: i64,
}

/// Values of some artifacts, without items of lists; of some features only, when these are given.
pub(crate) async fn values(
    conn: &impl ConnectionTrait,
    artifacts: &[i64],
    features: Option<&[i64]>,
) -> Result<Vec<ValueRow>> {
    let mut found = Vec::new();
    for artifacts in artifacts.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new(
            "SELECT artifact_id, feature_id, int_value, float_value, text_value, document, is_item, artifact_at_us \
             FROM feature_values WHERE artifact_id IN ",
        );
        sql.bind_list(artifacts.iter().copied());
        if let Some(features) = features {
            sql.push(" AND feature_id IN ").bind_list(features.iter().copied());
        }
        sql.push(" AND NOT is_item");
        found.extend(sql.all::<ValueRow>(conn).await?);
    }
    Ok(found)
}

/// Labels of some artifacts.
pub(crate) async fn labels(conn: &impl ConnectionTrait, artifacts: &[i64]) -> Result<Vec<LabelLink>> {
    let mut found = Vec::new();
    for artifacts in artifacts.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new(
            "SELECT artifact_id, label_id, feature_id, artifact_at_us FROM artifact_labels WHERE artifact_id IN ",
        );
        sql.bind_list(artifacts.iter().copied());
        found.extend(sql.all::<LabelLink>(conn).await?);
    }
    Ok(found)
}

/// Adds values; those that are there stay. Answers how many were new, without items of lists.
pub(crate) async fn add_values(txn: &Txn, values: &[ValueRow]) -> Result<u64> {
    let (items, plain): (Vec<_>, Vec<_>) = values.iter().partition(|row| row.is_item);
    insert_values(txn, &items).await?;
    insert_values(txn, &plain).await
}

async fn insert_values(txn: &Txn, values: &[&ValueRow]) -> Result<u64> {
    let mut added = 0;
    for values in values.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO feature_values (artifact_id, feature_id, int_value, float_value, text_value, document, \
             is_item, artifact_at_us) VALUES {} ON CONFLICT DO NOTHING",
            places_for(values.len(), 8)
        );
        let values = values.iter().flat_map(|row| -> [Value; 8] {
            [
                row.artifact_id.into(),
                row.feature_id.into(),
                row.int_value.into(),
                row.float_value.into(),
                row.text_value.clone().into(),
                row.document.clone().into(),
                row.is_item.into(),
                row.artifact_at_us.into(),
            ]
        });
        added += numbered::run(txn, &sql, values).await?;
    }
    Ok(added)
}

/// Adds the values and labels of one artifact to another, of which the time is given too.
pub(crate) async fn inherit(txn: &Txn, from_id: i64, (to_id, to_at_us): (i64, i64)) -> Result<()> {
    for (table, columns) in [
        (
            "feature_values",
            "feature_id, int_value, float_value, text_value, document, is_item",
        ),
        ("artifact_labels", "label_id, feature_id"),
    ] {
        let sql = format!(
            "INSERT INTO {table} (artifact_id, artifact_at_us, {columns}) SELECT $1, $2, {columns} FROM {table} \
             WHERE artifact_id = $3 ON CONFLICT DO NOTHING"
        );
        numbered::run(txn, &sql, [to_id.into(), to_at_us.into(), from_id.into()]).await?;
    }
    Ok(())
}

/// Adds labels; those that are there stay. Answers how many were new.
pub(crate) async fn add_labels(txn: &Txn, links: &[LabelLink]) -> Result<u64> {
    let mut added = 0;
    for links in links.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO artifact_labels (artifact_id, label_id, feature_id, artifact_at_us) VALUES {} \
             ON CONFLICT DO NOTHING",
            places_for(links.len(), 4)
        );
        let values = links.iter().flat_map(|link| -> [Value; 4] {
            [
                link.artifact_id.into(),
                link.label_id.into(),
                link.feature_id.into(),
                link.artifact_at_us.into(),
            ]
        });
        added += numbered::run(txn, &sql, values).await?;
    }
    Ok(added)
}

/// Removes the values of one feature from an artifact: all, or those that are like some.
pub(crate) async fn remove_value(txn: &Txn, row: &ValueRow) -> Result<u64> {
    let mut sql = Sql::new("DELETE FROM feature_values WHERE feature_id = ");
    sql.bind(row.feature_id);
    // One of the three, which is how the indexes hold it.
    if let Some(value) = row.int_value {
        sql.push(" AND int_value = ").bind(value);
    } else if let Some(value) = row.float_value {
        sql.push(" AND float_value = ").bind(value);
    } else if let Some(value) = &row.text_value {
        sql.push(" AND text_value = ").bind(value.clone());
    }
    sql.push(" AND artifact_at_us = ").bind(row.artifact_at_us);
    sql.push(" AND artifact_id = ").bind(row.artifact_id);
    sql.push(if row.is_item {
        " AND is_item"
    } else {
        " AND NOT is_item"
    });
    sql.run(txn).await
}

/// Removes all items of lists of one feature from an artifact.
pub(crate) async fn remove_items(txn: &Txn, artifact_id: i64, feature_id: i64) -> Result<()> {
    let mut sql = Sql::new("DELETE FROM feature_values WHERE artifact_id = ");
    sql.bind(artifact_id)
        .push(" AND feature_id = ")
        .bind(feature_id)
        .push(" AND is_item");
    sql.run(txn).await?;
    Ok(())
}

/// Removes a label of an artifact, as the value of a feature or as none.
pub(crate) async fn remove_label(txn: &Txn, link: &LabelLink) -> Result<u64> {
    let mut sql = Sql::new("DELETE FROM artifact_labels WHERE label_id = ");
    sql.bind(link.label_id)
        .push(" AND artifact_at_us = ")
        .bind(link.artifact_at_us);
    sql.push(" AND artifact_id = ").bind(link.artifact_id);
    match link.feature_id {
        Some(feature_id) => sql.push(" AND feature_id = ").bind(feature_id),
        None => sql.push(" AND feature_id IS NULL"),
    };
    sql.run(txn).await
}
