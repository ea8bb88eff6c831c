//! Queries over label registries, labels and what stands above them.

use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use super::{
    Result, Txn,
    numbered::{self, ROWS_AT_ONCE, Sql, inserted, places_for},
    scope::Scope,
};

const REGISTRIES: &str = "SELECT id, uid, space_id, name, description, revision, created_by, created_at_us, \
     updated_at_us FROM label_registries WHERE ";

const LABELS: &str = "SELECT id, uid, registry_id, space_id, name, ontology_id, abbreviation, description, reference, \
     revision, created_by, created_at_us, updated_at_us FROM labels WHERE ";

/// A registry.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct RegistryRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) space_id: i64,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// A label.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub(crate) struct LabelRow {
    pub(crate) id: i64,
    pub(crate) uid: String,
    pub(crate) registry_id: i64,
    pub(crate) space_id: i64,
    pub(crate) name: String,
    pub(crate) ontology_id: Option<String>,
    pub(crate) abbreviation: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) reference: Option<String>,
    pub(crate) revision: i64,
    pub(crate) created_by: i64,
    pub(crate) created_at_us: i64,
    pub(crate) updated_at_us: i64,
}

/// Which label is right above which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub(crate) struct Edge {
    pub(crate) child_id: i64,
    pub(crate) parent_id: i64,
}

#[derive(Debug, Clone, FromQueryResult)]
struct OfLabel {
    label_id: i64,
    synonym: String,
}

#[derive(Debug, Clone, FromQueryResult)]
struct Id {
    id: i64,
}

/// Whose labels to list: how they are related to one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kin {
    /// Right below it.
    Children(i64),
    /// Right above it.
    Parents(i64),
    /// Somewhere below it.
    Below(i64),
    /// Somewhere above it.
    Above(i64),
}

/// Which labels to list.
#[derive(Debug, Clone)]
pub(crate) struct LabelPage {
    pub(crate) registry_id: i64,
    pub(crate) prefix: Option<(String, Option<String>)>,
    pub(crate) kin: Vec<Kin>,
    /// Name and id of the last one before.
    pub(crate) after: Option<(String, i64)>,
    pub(crate) rows: u64,
}

/// The registries with these names, in one space or the other.
pub(crate) async fn registries_by_names(
    conn: &impl ConnectionTrait,
    scope: Scope,
    names: &[&str],
) -> Result<Vec<RegistryRow>> {
    let mut sql = Sql::new(REGISTRIES);
    sql.push("name IN ")
        .bind_list(names.iter().copied())
        .push(" AND space_id IN ");
    scope.bind(&mut sql);
    sql.all(conn).await
}

/// The registries with these ids.
pub(crate) async fn registries_by_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<RegistryRow>> {
    let mut sql = Sql::new(REGISTRIES);
    sql.push("id IN ").bind_list(ids.iter().copied());
    sql.all(conn).await
}

/// Locks a registry, so that what stands above what changes by one call at a time.
pub(crate) async fn lock_registry(txn: &Txn, id: i64) -> Result<Option<RegistryRow>> {
    let mut sql = Sql::new(REGISTRIES);
    sql.push("id = ").bind(id).push(txn.for_update());
    sql.one(txn).await
}

/// One page of registries by name.
pub(crate) async fn registries_page(
    conn: &impl ConnectionTrait,
    scope: Scope,
    after: Option<(String, i64)>,
    rows: u64,
) -> Result<Vec<RegistryRow>> {
    let mut sql = Sql::new(REGISTRIES);
    sql.push("space_id IN ");
    scope.bind(&mut sql);
    if let Some((name, id)) = after {
        sql.push(" AND (name, id) > (").bind(name).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY name, id LIMIT ")
        .bind(i64::try_from(rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

/// Inserts a registry; answers its id.
pub(crate) async fn insert_registry(txn: &Txn, row: &RegistryRow) -> Result<i64> {
    const SQL: &str = "INSERT INTO label_registries (uid, space_id, name, description, revision, created_by, \
         created_at_us, updated_at_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id";
    let row = row.clone();
    let values = [
        row.uid.into(),
        row.space_id.into(),
        row.name.into(),
        row.description.into(),
        row.revision.into(),
        row.created_by.into(),
        row.created_at_us.into(),
        row.updated_at_us.into(),
    ];
    inserted(txn, SQL, values).await
}

/// Writes what can change in a registry.
pub(crate) async fn update_registry(txn: &Txn, row: &RegistryRow) -> Result<()> {
    const SQL: &str = "UPDATE label_registries SET description = $1, revision = $2, updated_at_us = $3 WHERE id = $4";
    let values = [
        row.description.clone().into(),
        row.revision.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// Whether a registry has labels, or a feature names it.
pub(crate) async fn registry_is_used(conn: &impl ConnectionTrait, id: i64) -> Result<bool> {
    const SQL: &str = "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM labels WHERE registry_id = $1) OR \
         EXISTS (SELECT 1 FROM feature_registries WHERE registry_id = $1)";
    numbered::any(conn, SQL, [id.into()]).await
}

/// Removes a registry; `Conflict` when something names it after all.
pub(crate) async fn delete_registry(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM label_registries WHERE id = $1", [id.into()]).await?;
    Ok(())
}

/// Registries of some categoricals.
pub(crate) async fn registries_of_features(conn: &impl ConnectionTrait, features: &[i64]) -> Result<Vec<(i64, i64)>> {
    #[derive(FromQueryResult)]
    struct Of {
        feature_id: i64,
        registry_id: i64,
    }
    let mut sql = Sql::new("SELECT feature_id, registry_id FROM feature_registries WHERE feature_id IN ");
    sql.bind_list(features.iter().copied());
    let rows: Vec<Of> = sql.all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.feature_id, row.registry_id)).collect())
}

/// The label with this uid, wherever it is.
pub(crate) async fn by_uid(conn: &impl ConnectionTrait, uid: &str) -> Result<Option<LabelRow>> {
    let mut sql = Sql::new(LABELS);
    sql.push("uid = ").bind(uid);
    sql.one(conn).await
}

/// The labels with these ids.
pub(crate) async fn by_ids(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<LabelRow>> {
    let mut found = Vec::new();
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new(LABELS);
        sql.push("id IN ").bind_list(ids.iter().copied());
        found.extend(sql.all::<LabelRow>(conn).await?);
    }
    Ok(found)
}

/// By what labels are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum LabelKey {
    Uid,
    Name,
    OntologyId,
}

/// The labels of some registries that have one of these keys, in one space or the other.
pub(crate) async fn by_keys(
    conn: &impl ConnectionTrait,
    scope: Scope,
    registries: &[i64],
    key: LabelKey,
    keys: &[&str],
) -> Result<Vec<LabelRow>> {
    let column = match key {
        LabelKey::Uid => "uid",
        LabelKey::Name => "name",
        LabelKey::OntologyId => "ontology_id",
    };
    let mut found = Vec::new();
    for keys in keys.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new(LABELS);
        sql.push("registry_id IN ").bind_list(registries.iter().copied());
        sql.push(" AND ")
            .push(column)
            .push(" IN ")
            .bind_list(keys.iter().copied());
        sql.push(" AND space_id IN ");
        scope.bind(&mut sql);
        found.extend(sql.all::<LabelRow>(conn).await?);
    }
    Ok(found)
}

/// Labels of a registry that have one of these synonyms.
pub(crate) async fn by_synonyms(
    conn: &impl ConnectionTrait,
    scope: Scope,
    registry_id: i64,
    synonyms: &[&str],
) -> Result<Vec<(String, LabelRow)>> {
    let mut found = Vec::new();
    for synonyms in synonyms.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT label_id, synonym FROM label_synonyms WHERE synonym IN ");
        sql.bind_list(synonyms.iter().copied());
        sql.push(" AND label_id IN (SELECT id FROM labels WHERE registry_id = ")
            .bind(registry_id);
        sql.push(" AND space_id IN ");
        scope.bind(&mut sql).push(")");
        let named: Vec<OfLabel> = sql.all(conn).await?;
        let ids: Vec<i64> = named.iter().map(|named| named.label_id).collect();
        let labels = by_ids(conn, &ids).await?;
        for OfLabel { label_id, synonym } in named {
            let label = labels.iter().find(|label| label.id == label_id).cloned();
            found.extend(label.map(|label| (synonym, label)));
        }
    }
    Ok(found)
}

/// The label with this id, locked against changes and deletion.
pub(crate) async fn lock(txn: &Txn, id: i64) -> Result<Option<LabelRow>> {
    let mut sql = Sql::new(LABELS);
    sql.push("id = ").bind(id).push(txn.for_update());
    sql.one(txn).await
}

/// One page by name.
pub(crate) async fn page(conn: &impl ConnectionTrait, scope: Scope, page: LabelPage) -> Result<Vec<LabelRow>> {
    let mut sql = Sql::new(LABELS);
    sql.push("registry_id = ")
        .bind(page.registry_id)
        .push(" AND space_id IN ");
    scope.bind(&mut sql);
    if let Some((begin, end)) = page.prefix {
        sql.push(" AND name >= ").bind(begin);
        if let Some(end) = end {
            sql.push(" AND name < ").bind(end);
        }
    }
    for kin in page.kin {
        sql.push(" AND id IN (");
        related(&mut sql, kin);
        sql.push(")");
    }
    if let Some((name, id)) = page.after {
        sql.push(" AND (name, id) > (").bind(name).push(", ").bind(id).push(")");
    }
    sql.push(" ORDER BY name, id LIMIT ")
        .bind(i64::try_from(page.rows).unwrap_or(i64::MAX));
    sql.all(conn).await
}

fn related(sql: &mut Sql, kin: Kin) {
    match kin {
        Kin::Children(id) => sql
            .push("SELECT child_id FROM label_parents WHERE parent_id = ")
            .bind(id),
        Kin::Parents(id) => sql
            .push("SELECT parent_id FROM label_parents WHERE child_id = ")
            .bind(id),
        Kin::Below(id) => {
            sql.push("WITH RECURSIVE below (id) AS (SELECT child_id FROM label_parents WHERE parent_id = ")
                .bind(id);
            sql.push(
                " UNION SELECT label_parents.child_id FROM below JOIN label_parents \
                 ON label_parents.parent_id = below.id) SELECT id FROM below",
            )
        }
        Kin::Above(id) => {
            sql.push("WITH RECURSIVE above (id) AS (SELECT parent_id FROM label_parents WHERE child_id = ")
                .bind(id);
            sql.push(
                " UNION SELECT label_parents.parent_id FROM above JOIN label_parents \
                 ON label_parents.child_id = above.id) SELECT id FROM above",
            )
        }
    };
}

/// Ids of all labels above some, and of these.
pub(crate) async fn above(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<i64>> {
    let mut sql = Sql::new("WITH RECURSIVE above (id) AS (SELECT id FROM labels WHERE id IN ");
    sql.bind_list(ids.iter().copied()).push(
        " UNION SELECT label_parents.parent_id FROM above JOIN label_parents ON label_parents.child_id = above.id) \
         SELECT id FROM above",
    );
    let rows: Vec<Id> = sql.all(conn).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Some labels, and all below each of them; at most so many.
pub(crate) async fn below(conn: &impl ConnectionTrait, ids: &[i64], most: usize) -> Result<Vec<(i64, i64)>> {
    #[derive(FromQueryResult)]
    struct Below {
        top_id: i64,
        id: i64,
    }
    let mut sql = Sql::new("WITH RECURSIVE below (top_id, id) AS (SELECT id, id FROM labels WHERE id IN ");
    sql.bind_list(ids.iter().copied()).push(
        " UNION SELECT below.top_id, label_parents.child_id FROM below JOIN label_parents \
         ON label_parents.parent_id = below.id) SELECT top_id, id FROM below LIMIT ",
    );
    sql.bind(i64::try_from(most).unwrap_or(i64::MAX));
    let rows: Vec<Below> = sql.all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.top_id, row.id)).collect())
}

/// Synonyms of some labels.
pub(crate) async fn synonyms(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<(i64, String)>> {
    let mut found = Vec::new();
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT label_id, synonym FROM label_synonyms WHERE label_id IN ");
        sql.bind_list(ids.iter().copied()).push(" ORDER BY label_id, synonym");
        let rows: Vec<OfLabel> = sql.all(conn).await?;
        found.extend(rows.into_iter().map(|row| (row.label_id, row.synonym)));
    }
    Ok(found)
}

/// What stands right above some labels.
pub(crate) async fn parents(conn: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<Edge>> {
    let mut found = Vec::new();
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new("SELECT child_id, parent_id FROM label_parents WHERE child_id IN ");
        sql.bind_list(ids.iter().copied());
        found.extend(sql.all::<Edge>(conn).await?);
    }
    Ok(found)
}

/// All that stands above something in a registry.
pub(crate) async fn all_edges(conn: &impl ConnectionTrait, registry_id: i64) -> Result<Vec<Edge>> {
    let mut sql = Sql::new(
        "SELECT label_parents.child_id, label_parents.parent_id FROM label_parents \
         JOIN labels ON labels.id = label_parents.child_id WHERE labels.registry_id = ",
    );
    sql.bind(registry_id);
    sql.all(conn).await
}

/// Inserts labels, of which none may be there; answers their ids by uid.
pub(crate) async fn insert(txn: &Txn, labels: &[LabelRow]) -> Result<Vec<(String, i64)>> {
    #[derive(FromQueryResult)]
    struct Inserted {
        id: i64,
        uid: String,
    }
    let mut inserted = Vec::with_capacity(labels.len());
    for labels in labels.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO labels (uid, registry_id, space_id, name, ontology_id, abbreviation, description, reference, \
             revision, created_by, created_at_us, updated_at_us) VALUES {} RETURNING id, uid",
            places_for(labels.len(), 12)
        );
        let values = labels.iter().cloned().flat_map(|row| -> [sea_orm::Value; 12] {
            [
                row.uid.into(),
                row.registry_id.into(),
                row.space_id.into(),
                row.name.into(),
                row.ontology_id.into(),
                row.abbreviation.into(),
                row.description.into(),
                row.reference.into(),
                row.revision.into(),
                row.created_by.into(),
                row.created_at_us.into(),
                row.updated_at_us.into(),
            ]
        });
        let rows: Vec<Inserted> = numbered::rows(txn, &sql, values).await?;
        inserted.extend(rows.into_iter().map(|row| (row.uid, row.id)));
    }
    Ok(inserted)
}

/// Writes what can change in a label.
pub(crate) async fn update(txn: &Txn, row: &LabelRow) -> Result<()> {
    const SQL: &str = "UPDATE labels SET name = $1, ontology_id = $2, abbreviation = $3, description = $4, \
         reference = $5, revision = $6, updated_at_us = $7 WHERE id = $8";
    let row = row.clone();
    let values = [
        row.name.into(),
        row.ontology_id.into(),
        row.abbreviation.into(),
        row.description.into(),
        row.reference.into(),
        row.revision.into(),
        row.updated_at_us.into(),
        row.id.into(),
    ];
    numbered::run(txn, SQL, values).await?;
    Ok(())
}

/// Takes all synonyms from some labels.
pub(crate) async fn clear_synonyms(txn: &Txn, ids: &[i64]) -> Result<()> {
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new("DELETE FROM label_synonyms WHERE label_id IN ");
        sql.bind_list(ids.iter().copied());
        sql.run(txn).await?;
    }
    Ok(())
}

/// Adds synonyms.
pub(crate) async fn add_synonyms(txn: &Txn, synonyms: &[(i64, String)]) -> Result<()> {
    for synonyms in synonyms.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO label_synonyms (label_id, synonym) VALUES {} ON CONFLICT DO NOTHING",
            places_for(synonyms.len(), 2)
        );
        let values = synonyms
            .iter()
            .cloned()
            .flat_map(|(id, synonym)| [id.into(), synonym.into()]);
        numbered::run(txn, &sql, values).await?;
    }
    Ok(())
}

/// Takes all labels right above them from some.
pub(crate) async fn clear_parents(txn: &Txn, ids: &[i64]) -> Result<()> {
    for ids in ids.chunks(ROWS_AT_ONCE) {
        let mut sql = Sql::new("DELETE FROM label_parents WHERE child_id IN ");
        sql.bind_list(ids.iter().copied());
        sql.run(txn).await?;
    }
    Ok(())
}

/// Puts labels above others.
pub(crate) async fn add_parents(txn: &Txn, edges: &[Edge]) -> Result<()> {
    for edges in edges.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "INSERT INTO label_parents (child_id, parent_id) VALUES {} ON CONFLICT DO NOTHING",
            places_for(edges.len(), 2)
        );
        let values = edges
            .iter()
            .flat_map(|edge| [edge.child_id.into(), edge.parent_id.into()]);
        numbered::run(txn, &sql, values).await?;
    }
    Ok(())
}

/// What uses a label, if anything does.
pub(crate) async fn use_of(conn: &impl ConnectionTrait, id: i64) -> Result<Option<&'static str>> {
    const USES: [(&str, &str); 2] = [
        (
            "an artifact",
            "SELECT 1 AS one FROM artifact_labels WHERE label_id = $1 LIMIT 1",
        ),
        (
            "a label below it",
            "SELECT 1 AS one FROM label_parents WHERE parent_id = $1 LIMIT 1",
        ),
    ];
    for (what, sql) in USES {
        if numbered::any(conn, sql, [id.into()]).await? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Removes a label; `Conflict` when something names it after all.
pub(crate) async fn delete(txn: &Txn, id: i64) -> Result<()> {
    numbered::run(txn, "DELETE FROM labels WHERE id = $1", [id.into()]).await?;
    Ok(())
}
