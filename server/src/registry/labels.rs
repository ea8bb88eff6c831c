//! Label registries, and the labels in them.

mod change;
mod import;
mod lookup;
mod registries;

use std::collections::HashMap;

use artifactd_domain::{Description, LabelName, Name, Note, RegistryName, Synonyms};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};

pub(super) use change::insert_names;
pub use import::{ImportCount, LabelImport};
pub use lookup::{LabelMatch, Resolved};
pub(super) use lookup::{Wanted, find_all};
pub use registries::{LabelRegistry, NewLabelRegistry};

use super::{
    Caller, Registry, Result,
    features::{entry_etag, range_of},
    idempotency::RequestKey,
};
use crate::db::labels::{self, Kin, LabelPage, LabelRow};

/// A label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRecord {
    /// Identifier.
    pub uid: String,
    /// Its registry.
    pub registry: String,
    /// Its name.
    pub name: String,
    /// Its identifier in an ontology.
    pub ontology_id: Option<String>,
    /// A short form of its name.
    pub abbreviation: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Where it comes from.
    pub reference: Option<String>,
    /// Other names.
    pub synonyms: Vec<String>,
    /// What stands right above it: uid, name, and identifier in an ontology.
    pub parents: Vec<(String, String, Option<String>)>,
    /// Name of its space.
    pub space: String,
    /// Who added it.
    pub created_by: String,
    /// When it was added, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// When it last changed, in microseconds since 1970 UTC.
    pub updated_at_us: i64,
    /// Its entity tag.
    pub etag: String,
}

/// What to add.
#[derive(Debug, Clone)]
pub struct NewLabel {
    /// Its registry.
    pub registry: RegistryName,
    /// Its name.
    pub name: Name,
    /// Its identifier in an ontology.
    pub ontology_id: Option<Note>,
    /// A short form of its name.
    pub abbreviation: Option<Note>,
    /// Free text.
    pub description: Option<Description>,
    /// Where it comes from.
    pub reference: Option<Note>,
    /// Other names.
    pub synonyms: Synonyms,
    /// What stands right above it.
    pub parents: Vec<LabelName>,
    /// Whether one that is there will do.
    pub allow_existing: bool,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What to change.
#[derive(Debug, Clone)]
pub struct LabelUpdate {
    /// The label.
    pub label: LabelName,
    /// New values of some fields.
    pub fields: Vec<LabelField>,
    /// Etag that it must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// The new value of one field.
#[derive(Debug, Clone)]
pub enum LabelField {
    /// Another name.
    Name(Name),
    /// Another identifier, or none.
    OntologyId(Option<Note>),
    /// Another short form, or none.
    Abbreviation(Option<Note>),
    /// Another text, or none.
    Description(Option<Description>),
    /// Another reference, or none.
    Reference(Option<Note>),
    /// All other names.
    Synonyms(Synonyms),
    /// All that stands right above it.
    Parents(Vec<LabelName>),
}

/// Which labels to list.
#[derive(Debug, Clone)]
pub struct LabelsQuery {
    /// Their registry.
    pub registry: RegistryName,
    /// What their names begin with.
    pub prefix: String,
    /// What stands right above them.
    pub parent: Option<LabelName>,
    /// What stands somewhere above them.
    pub ancestor: Option<LabelName>,
    /// What stands right below them.
    pub child: Option<LabelName>,
    /// What stands somewhere below them.
    pub descendant: Option<LabelName>,
    /// Place after which the page starts.
    pub after: Option<(String, i64)>,
    /// Most records.
    pub rows: u64,
}

/// A label as it is stored, with what belongs to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) row: LabelRow,
    pub(super) registry: String,
    pub(super) synonyms: Vec<String>,
    pub(super) parents: Vec<(String, String, Option<String>)>,
}

impl LabelRow {
    pub(super) fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }
}

impl Registry {
    /// Finds a label.
    pub async fn label(&self, caller: &Caller, label: &LabelName) -> Result<LabelRecord> {
        let conn = self.db.reader();
        let row = lookup::find(conn, caller.scope(), label).await?;
        let mut stored = with_relations(conn, vec![row]).await?;
        self.to_label(stored.remove(0))
    }

    /// Lists labels by name, and the place of the last one when there are more.
    pub async fn labels(
        &self,
        caller: &Caller,
        query: LabelsQuery,
    ) -> Result<(Vec<LabelRecord>, Option<(String, i64)>)> {
        let (conn, scope) = (self.db.reader(), caller.scope());
        let registry = lookup::registry(conn, scope, &query.registry).await?;
        let mut kin = Vec::new();
        let id_of = async |label: &Option<LabelName>| -> Result<Option<i64>> {
            match label {
                None => Ok(None),
                Some(label) => Ok(Some(lookup::find_in(conn, scope, &registry, label).await?.id)),
            }
        };
        kin.extend(id_of(&query.parent).await?.map(Kin::Children));
        kin.extend(id_of(&query.ancestor).await?.map(Kin::Below));
        kin.extend(id_of(&query.child).await?.map(Kin::Parents));
        kin.extend(id_of(&query.descendant).await?.map(Kin::Above));
        let page = LabelPage {
            registry_id: registry.id,
            prefix: range_of(&query.prefix),
            kin,
            after: query.after,
            rows: query.rows + 1,
        };
        let mut rows = labels::page(conn, scope, page).await?;
        let more = rows.len() as u64 > query.rows;
        rows.truncate(query.rows as usize);
        let next = rows.last().filter(|_| more).map(|row| (row.name.clone(), row.id));
        let stored = with_relations(conn, rows).await?;
        let labels = stored.into_iter().map(|stored| self.to_label(stored));
        Ok((labels.collect::<Result<_>>()?, next))
    }

    fn to_label(&self, stored: Stored) -> Result<LabelRecord> {
        let Stored {
            row,
            registry,
            synonyms,
            parents,
        } = stored;
        Ok(LabelRecord {
            etag: row.etag(),
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            uid: row.uid,
            registry,
            name: row.name,
            ontology_id: row.ontology_id,
            abbreviation: row.abbreviation,
            description: row.description,
            reference: row.reference,
            synonyms,
            parents,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

/// Adds to labels what belongs to them: four queries, however many there are.
async fn with_relations(conn: &impl ConnectionTrait, rows: Vec<LabelRow>) -> Result<Vec<Stored>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut synonyms: HashMap<i64, Vec<String>> = HashMap::new();
    for (id, synonym) in labels::synonyms(conn, &ids).await? {
        synonyms.entry(id).or_default().push(synonym);
    }
    let edges = labels::parents(conn, &ids).await?;
    let above: Vec<i64> = edges.iter().map(|edge| edge.parent_id).collect();
    let above: HashMap<i64, LabelRow> = labels::by_ids(conn, &above)
        .await?
        .into_iter()
        .map(|row| (row.id, row))
        .collect();
    let mut parents: HashMap<i64, Vec<(String, String, Option<String>)>> = HashMap::new();
    for edge in edges {
        if let Some(parent) = above.get(&edge.parent_id) {
            let named = (parent.uid.clone(), parent.name.clone(), parent.ontology_id.clone());
            parents.entry(edge.child_id).or_default().push(named);
        }
    }
    let mut registry_ids: Vec<i64> = rows.iter().map(|row| row.registry_id).collect();
    registry_ids.sort_unstable();
    registry_ids.dedup();
    let registries: HashMap<i64, String> = labels::registries_by_ids(conn, &registry_ids)
        .await?
        .into_iter()
        .map(|row| (row.id, row.name))
        .collect();
    let stored = rows.into_iter().map(|row| {
        let mut parents = parents.remove(&row.id).unwrap_or_default();
        parents.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        Stored {
            synonyms: synonyms.remove(&row.id).unwrap_or_default(),
            registry: registries.get(&row.registry_id).cloned().unwrap_or_default(),
            parents,
            row,
        }
    });
    Ok(stored.collect())
}
