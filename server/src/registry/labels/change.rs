//! Adding, changing and deleting labels.

use artifactd_domain::{LabelName, Name, Note};
use serde_json::json;

use super::{LabelField, LabelRecord, LabelUpdate, NewLabel, Stored, lookup, with_relations};
use crate::{
    db::{
        Batch, Txn,
        labels::{self, Edge, LabelKey, LabelRow, RegistryRow},
        scope::Scope,
    },
    registry::{
        Caller, Registry, RegistryError, Result, Thing, draw_stem, events, features::require_entry_etag,
        idempotency::RequestKey, now_us,
    },
};

impl Registry {
    /// Adds a label.
    pub async fn create_label(&self, caller: &Caller, new: NewLabel) -> Result<LabelRecord> {
        let (scope, request, maker) = (caller.scope(), new.request.clone(), caller.clone());
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, new) = (maker.clone(), new.clone());
            Box::pin(async move { create(txn, &caller, scope, &new).await })
        });
        self.to_label(stored.await?)
    }

    /// Changes fields of a label.
    pub async fn update_label(&self, caller: &Caller, update: LabelUpdate) -> Result<LabelRecord> {
        let (scope, request, changer) = (caller.scope(), update.request.clone(), caller.clone());
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, update) = (changer.clone(), update.clone());
            Box::pin(async move { change(txn, &caller, scope, &update).await })
        });
        self.to_label(stored.await?)
    }

    /// Deletes a label that nothing uses.
    pub async fn delete_label(
        &self,
        caller: &Caller,
        label: LabelName,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<()> {
        let (scope, deleter) = (caller.scope(), caller.clone());
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, label, etag) = (deleter.clone(), label.clone(), etag.clone());
            Box::pin(async move {
                let row = locked(txn, scope, &label, etag.as_deref()).await?;
                if let Some(by) = labels::use_of(txn, row.id).await? {
                    let (what, name) = (Thing::Label, row.name);
                    return Err(RegistryError::InUse { what, name, by });
                }
                labels::delete(txn, row.id).await?;
                log(txn, &caller, "label_deleted", &row).await
            })
        })
        .await
    }
}

async fn create(txn: &Txn, caller: &Caller, scope: Scope, new: &NewLabel) -> Result<Stored> {
    let registry = lookup::registry(txn, scope, &new.registry).await?;
    let found = labels::by_keys(txn, scope, &[registry.id], LabelKey::Name, &[new.name.as_str()]).await?;
    if let Some(row) = found.into_iter().find(|row| row.space_id == scope.own) {
        if new.allow_existing {
            return Ok(with_relations(txn, vec![row]).await?.remove(0));
        }
        return Err(taken(row.name));
    }
    if let Some(id) = &new.ontology_id {
        require_free_id(txn, scope, &registry, id, None).await?;
    }
    let parents = parents(txn, scope, &registry, &new.parents).await?;
    let now = now_us();
    let text = |note: &Option<Note>| note.as_ref().map(Note::to_string);
    let mut row = LabelRow {
        id: 0,
        uid: draw_stem().to_string(),
        registry_id: registry.id,
        space_id: scope.own,
        name: new.name.to_string(),
        ontology_id: text(&new.ontology_id),
        abbreviation: text(&new.abbreviation),
        description: new.description.as_ref().map(|text| text.as_str().to_owned()),
        reference: text(&new.reference),
        revision: 1,
        created_by: caller.principal.id,
        created_at_us: now,
        updated_at_us: now,
    };
    row.id = insert_one(txn, &row).await?;
    let synonyms: Vec<(i64, String)> = new.synonyms.iter().map(|name| (row.id, name.to_string())).collect();
    labels::add_synonyms(txn, &synonyms).await?;
    labels::add_parents(txn, &edges(row.id, &parents)).await?;
    log(txn, caller, "label_created", &row).await?;
    Ok(with_relations(txn, vec![row]).await?.remove(0))
}

async fn insert_one(txn: &Txn, row: &LabelRow) -> Result<i64> {
    let inserted = labels::insert(txn, std::slice::from_ref(row)).await?;
    Ok(inserted.first().map_or(0, |(_, id)| *id))
}

/// Adds plain labels whose names are free in a registry; answers their rows.
pub(in crate::registry) async fn insert_names(
    txn: &Txn,
    caller: &Caller,
    scope: Scope,
    registry: &RegistryRow,
    names: &[Name],
) -> Result<Vec<LabelRow>> {
    let now = now_us();
    let mut rows: Vec<LabelRow> = names
        .iter()
        .map(|name| LabelRow {
            id: 0,
            uid: draw_stem().to_string(),
            registry_id: registry.id,
            space_id: scope.own,
            name: name.to_string(),
            ontology_id: None,
            abbreviation: None,
            description: None,
            reference: None,
            revision: 1,
            created_by: caller.principal.id,
            created_at_us: now,
            updated_at_us: now,
        })
        .collect();
    for (uid, id) in labels::insert(txn, &rows).await? {
        if let Some(row) = rows.iter_mut().find(|row| row.uid == uid) {
            row.id = id;
        }
    }
    for row in &rows {
        log(txn, caller, "label_created", row).await?;
    }
    Ok(rows)
}

fn taken(name: String) -> RegistryError {
    let what = Thing::Label;
    RegistryError::NameTaken { what, name }
}

fn edges(child_id: i64, parents: &[LabelRow]) -> Vec<Edge> {
    let edges = parents.iter().map(|parent| Edge {
        child_id,
        parent_id: parent.id,
    });
    edges.collect()
}

async fn parents(txn: &Txn, scope: Scope, registry: &RegistryRow, named: &[LabelName]) -> Result<Vec<LabelRow>> {
    let mut found = Vec::with_capacity(named.len());
    for label in named {
        found.push(lookup::find_in(txn, scope, registry, label).await?);
    }
    Ok(found)
}

async fn require_free_id(txn: &Txn, scope: Scope, registry: &RegistryRow, id: &Note, of: Option<i64>) -> Result<()> {
    let found = labels::by_keys(txn, scope, &[registry.id], LabelKey::OntologyId, &[id.as_str()]).await?;
    match found.iter().any(|row| row.space_id == scope.own && Some(row.id) != of) {
        true => Err(taken(id.to_string())),
        false => Ok(()),
    }
}

/// A label of the caller's own space, locked.
async fn locked(txn: &Txn, scope: Scope, label: &LabelName, etag: Option<&str>) -> Result<LabelRow> {
    let found = lookup::find(txn, scope, label).await?;
    let row = labels::lock(txn, found.id).await?;
    let row = row.filter(|row| row.space_id == scope.own);
    let row = row.ok_or_else(|| RegistryError::Missing {
        what: Thing::Label,
        name: label.to_string(),
    })?;
    require_entry_etag(Thing::Label, &row.name, row.etag(), etag)?;
    Ok(row)
}

async fn change(txn: &Txn, caller: &Caller, scope: Scope, update: &LabelUpdate) -> Result<Stored> {
    let mut row = locked(txn, scope, &update.label, update.etag.as_deref()).await?;
    let registry = labels::registries_by_ids(txn, &[row.registry_id]).await?.remove(0);
    let text = |note: &Option<Note>| note.as_ref().map(Note::to_string);
    for field in &update.fields {
        match field {
            LabelField::Name(name) => {
                let found = labels::by_keys(txn, scope, &[registry.id], LabelKey::Name, &[name.as_str()]).await?;
                if found
                    .iter()
                    .any(|other| other.space_id == scope.own && other.id != row.id)
                {
                    return Err(taken(name.to_string()));
                }
                row.name = name.to_string();
            }
            LabelField::OntologyId(id) => {
                if let Some(id) = id {
                    require_free_id(txn, scope, &registry, id, Some(row.id)).await?;
                }
                row.ontology_id = text(id);
            }
            LabelField::Abbreviation(abbreviation) => row.abbreviation = text(abbreviation),
            LabelField::Description(description) => {
                row.description = description.as_ref().map(|text| text.as_str().to_owned());
            }
            LabelField::Reference(reference) => row.reference = text(reference),
            LabelField::Synonyms(synonyms) => {
                labels::clear_synonyms(txn, &[row.id]).await?;
                let synonyms: Vec<_> = synonyms.iter().map(|name| (row.id, name.to_string())).collect();
                labels::add_synonyms(txn, &synonyms).await?;
            }
            LabelField::Parents(named) => set_parents(txn, scope, &registry, &row, named).await?,
        }
    }
    row.revision += 1;
    row.updated_at_us = now_us().max(row.updated_at_us);
    labels::update(txn, &row).await?;
    log(txn, caller, "label_updated", &row).await?;
    Ok(with_relations(txn, vec![row]).await?.remove(0))
}

async fn set_parents(
    txn: &Txn,
    scope: Scope,
    registry: &RegistryRow,
    row: &LabelRow,
    named: &[LabelName],
) -> Result<()> {
    // Two changes that together close a circle must see each other.
    labels::lock_registry(txn, registry.id).await?;
    let parents = parents(txn, scope, registry, named).await?;
    let ids: Vec<i64> = parents.iter().map(|parent| parent.id).collect();
    if !ids.is_empty() && labels::above(txn, &ids).await?.contains(&row.id) {
        return Err(RegistryError::LabelCycle(row.name.clone()));
    }
    labels::clear_parents(txn, &[row.id]).await?;
    Ok(labels::add_parents(txn, &edges(row.id, &parents)).await?)
}

async fn log(txn: &Txn, caller: &Caller, kind: &'static str, row: &LabelRow) -> Result<()> {
    let mut batch = Batch::new(txn);
    let subject = format!("label/{}", row.uid);
    events::record_of(&mut batch, caller, kind, subject, json!({ "name": row.name }));
    Ok(batch.run(txn).await?)
}
