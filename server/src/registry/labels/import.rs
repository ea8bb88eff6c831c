//! Labels of a file, brought into a registry.
//!
//! All of it is checked before anything is written. Labels are written in groups, so
//! that other writers get their turn, and what stands above them at the end.

use std::collections::{HashMap, HashSet};

use artifactd_domain::{
    Note, RegistryName, Synonyms,
    terms::{Term, TermFormat, Terms, find_cycle},
};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::sync::SemaphorePermit;

use super::lookup;
use crate::{
    db::{
        Batch, Txn,
        labels::{self, Edge, LabelKey, LabelRow, RegistryRow},
        scope::Scope,
    },
    registry::{Caller, Registry, RegistryError, Result, draw_stem, events, now_us},
};

/// Labels that are written in one transaction.
const GROUP_TERMS: usize = 500;

/// How to import.
#[derive(Debug, Clone)]
pub struct LabelImport {
    /// The registry.
    pub registry: RegistryName,
    /// How the file is written.
    pub format: TermFormat,
    /// Whether labels that are there follow the file.
    pub update_existing: bool,
    /// Whether the file is only checked.
    pub validate_only: bool,
}

/// What an import did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportCount {
    /// Labels that were added.
    pub created: usize,
    /// Labels that were changed.
    pub updated: usize,
    /// Labels that stayed.
    pub unchanged: usize,
    /// Entries that are no labels.
    pub skipped: usize,
}

/// What becomes of one label of the file.
#[derive(Debug, Clone)]
enum Fate {
    Create,
    Update(LabelRow),
    Keep(LabelRow),
}

impl Fate {
    fn existing(&self) -> Option<&LabelRow> {
        match self {
            Self::Create => None,
            Self::Update(row) | Self::Keep(row) => Some(row),
        }
    }
}

/// A label above another: one of the file, by its place, or one that was there.
#[derive(Debug, Clone, Copy)]
enum Above {
    InFile(usize),
    There(i64),
}

struct Plan {
    registry: RegistryRow,
    terms: Vec<Term>,
    fates: Vec<Fate>,
    above: Vec<Vec<Above>>,
}

impl Registry {
    /// The right to hold one file of labels. `Busy` when others do.
    pub fn label_import_turn(&self) -> Result<SemaphorePermit<'_>> {
        self.label_imports.try_acquire().map_err(|_| RegistryError::Busy)
    }

    /// Brings the labels of a file into a registry.
    pub async fn import_labels(&self, caller: &Caller, import: &LabelImport, file: &[u8]) -> Result<ImportCount> {
        let refused = |text: String| RegistryError::other("chunk", text);
        let read = Terms::read(file, import.format).map_err(|error| refused(error.to_string()))?;
        let Terms { terms, skipped } = read;
        let (conn, scope) = (self.db.reader(), caller.scope());
        let registry = lookup::registry(conn, scope, &import.registry).await?;
        let fates = fates(conn, scope, &registry, &terms, import.update_existing).await?;
        let above = above(conn, scope, &registry, &terms, &fates).await?;
        let plan = Plan {
            registry,
            terms,
            fates,
            above,
        };
        plan.require_no_cycle(&labels::all_edges(conn, plan.registry.id).await?)?;
        let count = plan.count(skipped);
        if !import.validate_only {
            self.write(caller, scope, plan, count).await?;
        }
        Ok(count)
    }

    async fn write(&self, caller: &Caller, scope: Scope, plan: Plan, count: ImportCount) -> Result<()> {
        let mut ids: Vec<i64> = plan
            .fates
            .iter()
            .map(|fate| fate.existing().map_or(0, |row| row.id))
            .collect();
        let plan = std::sync::Arc::new(plan);
        for begin in (0..plan.terms.len()).step_by(GROUP_TERMS) {
            let end = (begin + GROUP_TERMS).min(plan.terms.len());
            let (group, caller) = (std::sync::Arc::clone(&plan), caller.clone());
            let written = self.db.write::<_, RegistryError, _>(move |txn| {
                let (group, caller) = (std::sync::Arc::clone(&group), caller.clone());
                Box::pin(async move { group.write_group(txn, &caller, scope, begin..end).await })
            });
            for (place, id) in written.await? {
                ids[place] = id;
            }
        }
        let caller = caller.clone();
        let edges = self.db.write(move |txn| {
            let (plan, caller, ids) = (std::sync::Arc::clone(&plan), caller.clone(), ids.clone());
            Box::pin(async move { plan.write_edges(txn, &caller, &ids, count).await })
        });
        edges.await
    }
}

/// What becomes of each label, by its identifier or else its name.
async fn fates(
    conn: &impl ConnectionTrait,
    scope: Scope,
    registry: &RegistryRow,
    terms: &[Term],
    update: bool,
) -> Result<Vec<Fate>> {
    let names: Vec<&str> = terms.iter().map(|term| term.name.as_str()).collect();
    let ids: Vec<&str> = terms
        .iter()
        .filter_map(|term| term.ontology_id.as_ref())
        .map(Note::as_str)
        .collect();
    let own = |row: &LabelRow| row.space_id == scope.own;
    let named = labels::by_keys(conn, scope, &[registry.id], LabelKey::Name, &names).await?;
    let named: HashMap<String, LabelRow> = named
        .into_iter()
        .filter(own)
        .map(|row| (row.name.clone(), row))
        .collect();
    let by_id = labels::by_keys(conn, scope, &[registry.id], LabelKey::OntologyId, &ids).await?;
    let by_id: HashMap<String, LabelRow> = by_id
        .into_iter()
        .filter(own)
        .filter_map(|row| Some((row.ontology_id.clone()?, row)))
        .collect();
    let mut fates = Vec::with_capacity(terms.len());
    for term in terms {
        let by_name = named.get(term.name.as_str());
        let by_id = term.ontology_id.as_ref().and_then(|id| by_id.get(id.as_str()));
        let existing = match (by_id, by_name) {
            (Some(one), Some(other)) if one.id != other.id => {
                return Err(RegistryError::other(
                    "chunk",
                    format!(
                        "line {}: the registry has the name `{}` and the identifier of this label at two labels",
                        term.line, term.name
                    ),
                ));
            }
            (by_id, by_name) => by_id.or(by_name),
        };
        fates.push(match existing {
            None => Fate::Create,
            Some(row) if update => Fate::Update(row.clone()),
            Some(row) => Fate::Keep(row.clone()),
        });
    }
    Ok(fates)
}

/// What stands right above each label.
async fn above(
    conn: &impl ConnectionTrait,
    scope: Scope,
    registry: &RegistryRow,
    terms: &[Term],
    fates: &[Fate],
) -> Result<Vec<Vec<Above>>> {
    let mut in_file: HashMap<&str, usize> = HashMap::new();
    for (place, term) in terms.iter().enumerate() {
        in_file.insert(term.name.as_str(), place);
    }
    for (place, term) in terms.iter().enumerate() {
        if let Some(id) = &term.ontology_id {
            in_file.insert(id.as_str(), place);
        }
    }
    let applied = |place: usize| !matches!(fates[place], Fate::Keep(_));
    let elsewhere: HashSet<&str> = terms
        .iter()
        .enumerate()
        .filter(|(place, _)| applied(*place))
        .flat_map(|(_, term)| term.parents.iter().map(String::as_str))
        .filter(|parent| !in_file.contains_key(parent))
        .collect();
    let elsewhere: Vec<&str> = elsewhere.into_iter().collect();
    let mut there: HashMap<String, i64> = HashMap::new();
    for row in labels::by_keys(conn, scope, &[registry.id], LabelKey::Name, &elsewhere).await? {
        there.insert(row.name, row.id);
    }
    for row in labels::by_keys(conn, scope, &[registry.id], LabelKey::OntologyId, &elsewhere).await? {
        there.extend(row.ontology_id.map(|id| (id, row.id)));
    }
    let mut above = Vec::with_capacity(terms.len());
    for (place, term) in terms.iter().enumerate() {
        let mut parents = Vec::new();
        for parent in term.parents.iter().filter(|_| applied(place)) {
            let found = in_file.get(parent.as_str()).map(|place| Above::InFile(*place));
            let found = found.or_else(|| there.get(parent).map(|id| Above::There(*id)));
            let parent_short: String = parent.chars().take(100).collect();
            parents.push(found.ok_or_else(|| {
                RegistryError::other(
                    "chunk",
                    format!("line {}: there is no label `{parent_short}`", term.line),
                )
            })?);
        }
        above.push(parents);
    }
    Ok(above)
}

impl Plan {
    fn count(&self, skipped: usize) -> ImportCount {
        let mut count = ImportCount {
            skipped,
            ..ImportCount::default()
        };
        for fate in &self.fates {
            match fate {
                Fate::Create => count.created += 1,
                Fate::Update(_) => count.updated += 1,
                Fate::Keep(_) => count.unchanged += 1,
            }
        }
        count
    }

    /// The id of a label that was there, and of a new one a number that no id has.
    fn node(&self, above: Above) -> usize {
        match above {
            Above::There(id) => id as usize,
            Above::InFile(place) => match self.fates[place].existing() {
                Some(row) => row.id as usize,
                None => usize::MAX - place,
            },
        }
    }

    /// Fails when the file, with what stands already, would put a label below itself.
    fn require_no_cycle(&self, standing: &[Edge]) -> Result<()> {
        let replaced: HashSet<i64> = self
            .fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Update(row) => Some(row.id),
                Fate::Create | Fate::Keep(_) => None,
            })
            .collect();
        let mut graph: HashMap<usize, Vec<usize>> = HashMap::new();
        for edge in standing.iter().filter(|edge| !replaced.contains(&edge.child_id)) {
            graph
                .entry(edge.child_id as usize)
                .or_default()
                .push(edge.parent_id as usize);
        }
        for (place, above) in self.above.iter().enumerate().filter(|(_, above)| !above.is_empty()) {
            let nodes = above.iter().map(|above| self.node(*above));
            graph.entry(self.node(Above::InFile(place))).or_default().extend(nodes);
        }
        let Some(node) = find_cycle(&graph) else { return Ok(()) };
        let place = (0..self.terms.len()).find(|place| self.node(Above::InFile(*place)) == node);
        let name = place.map_or_else(|| format!("number {node}"), |place| self.terms[place].name.to_string());
        Err(RegistryError::LabelCycle(name))
    }

    /// Writes some labels; answers the ids of new ones with their places.
    async fn write_group(
        &self,
        txn: &Txn,
        caller: &Caller,
        scope: Scope,
        places: std::ops::Range<usize>,
    ) -> Result<Vec<(usize, i64)>> {
        let now = now_us();
        let (mut new, mut new_places) = (Vec::new(), HashMap::new());
        let mut synonyms: Vec<(i64, &Synonyms)> = Vec::new();
        for place in places {
            let term = &self.terms[place];
            match &self.fates[place] {
                Fate::Create => {
                    let row = new_row(term, &self.registry, caller, scope, now);
                    new_places.insert(row.uid.clone(), place);
                    new.push(row);
                }
                Fate::Update(row) => {
                    labels::update(txn, &changed_row(term, row, now)).await?;
                    synonyms.push((row.id, &term.synonyms));
                }
                Fate::Keep(_) => {}
            }
        }
        let updated: Vec<i64> = synonyms.iter().map(|(id, _)| *id).collect();
        labels::clear_synonyms(txn, &updated).await?;
        let mut written = Vec::with_capacity(new.len());
        for (uid, id) in labels::insert(txn, &new).await? {
            if let Some(place) = new_places.get(&uid) {
                written.push((*place, id));
                synonyms.push((id, &self.terms[*place].synonyms));
            }
        }
        let synonyms: Vec<(i64, String)> = synonyms
            .into_iter()
            .flat_map(|(id, names)| names.iter().map(move |name| (id, name.to_string())))
            .collect();
        labels::add_synonyms(txn, &synonyms).await?;
        Ok(written)
    }

    async fn write_edges(&self, txn: &Txn, caller: &Caller, ids: &[i64], count: ImportCount) -> Result<()> {
        // What stands above what changes by one call at a time; so it is looked at again.
        labels::lock_registry(txn, self.registry.id).await?;
        self.require_no_cycle(&labels::all_edges(txn, self.registry.id).await?)?;
        let updated: Vec<i64> = self
            .fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Update(row) => Some(row.id),
                Fate::Create | Fate::Keep(_) => None,
            })
            .collect();
        labels::clear_parents(txn, &updated).await?;
        let mut edges = Vec::new();
        for (place, above) in self.above.iter().enumerate() {
            edges.extend(above.iter().map(|above| Edge {
                child_id: ids[place],
                parent_id: match above {
                    Above::There(id) => *id,
                    Above::InFile(place) => ids[*place],
                },
            }));
        }
        labels::add_parents(txn, &edges).await?;
        let mut batch = Batch::new(txn);
        let detail = json!({ "name": self.registry.name, "created": count.created, "updated": count.updated });
        let subject = format!("label_registry/{}", self.registry.uid);
        events::record_of(&mut batch, caller, "labels_imported", subject, detail);
        Ok(batch.run(txn).await?)
    }
}

fn text(note: &Option<Note>) -> Option<String> {
    note.as_ref().map(Note::to_string)
}

fn new_row(term: &Term, registry: &RegistryRow, caller: &Caller, scope: Scope, now: i64) -> LabelRow {
    LabelRow {
        id: 0,
        uid: draw_stem().to_string(),
        registry_id: registry.id,
        space_id: scope.own,
        name: term.name.to_string(),
        ontology_id: text(&term.ontology_id),
        abbreviation: text(&term.abbreviation),
        description: term.description.clone(),
        reference: text(&term.reference),
        revision: 1,
        created_by: caller.principal.id,
        created_at_us: now,
        updated_at_us: now,
    }
}

/// What the file does not say stays.
fn changed_row(term: &Term, row: &LabelRow, now: i64) -> LabelRow {
    LabelRow {
        name: term.name.to_string(),
        ontology_id: text(&term.ontology_id).or_else(|| row.ontology_id.clone()),
        abbreviation: text(&term.abbreviation).or_else(|| row.abbreviation.clone()),
        description: term.description.clone().or_else(|| row.description.clone()),
        reference: text(&term.reference).or_else(|| row.reference.clone()),
        revision: row.revision + 1,
        updated_at_us: now.max(row.updated_at_us),
        ..row.clone()
    }
}
