//! Registries of labels.

use artifactd_domain::{Description, RegistryName};
use serde_json::json;

use super::lookup;
use crate::{
    db::{
        Batch, Txn,
        labels::{self, RegistryRow},
        scope::Scope,
    },
    registry::{
        Caller, Registry, RegistryError, Result, Thing, draw_stem, events,
        features::{entry_etag, require_entry_etag},
        idempotency::RequestKey,
        now_us,
    },
};

/// A registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRegistry {
    /// Identifier.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
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
pub struct NewLabelRegistry {
    /// Its name.
    pub name: RegistryName,
    /// Free text.
    pub description: Option<Description>,
    /// Whether one that is there will do.
    pub allow_existing: bool,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

impl RegistryRow {
    fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }
}

impl Registry {
    /// Makes sure that the registry is there which every server has.
    pub(in crate::registry) async fn ensure_ulabel(&self) -> Result<()> {
        let caller = self.places.local_admin(None, "start".to_owned())?;
        let scope = caller.scope();
        let names = [RegistryName::ULABEL];
        if !labels::registries_by_names(self.db.reader(), scope, &names)
            .await?
            .is_empty()
        {
            return Ok(());
        }
        let new = NewLabelRegistry {
            name: RegistryName::ulabel(),
            description: Some("Labels of any kind.".parse().expect("a short text")),
            allow_existing: true,
            request: None,
        };
        self.create_label_registry(&caller, new).await.map(|_| ())
    }

    /// Adds a registry.
    pub async fn create_label_registry(&self, caller: &Caller, new: NewLabelRegistry) -> Result<LabelRegistry> {
        let (scope, request, maker) = (caller.scope(), new.request.clone(), caller.clone());
        let row = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, new) = (maker.clone(), new.clone());
            Box::pin(async move { create(txn, &caller, scope, &new).await })
        });
        self.to_registry(row.await?)
    }

    /// Finds a registry.
    pub async fn label_registry(&self, caller: &Caller, name: &RegistryName) -> Result<LabelRegistry> {
        self.to_registry(lookup::registry(self.db.reader(), caller.scope(), name).await?)
    }

    /// Lists registries by name, and the place of the last one when there are more.
    pub async fn label_registries(
        &self,
        caller: &Caller,
        after: Option<(String, i64)>,
        most: u64,
    ) -> Result<(Vec<LabelRegistry>, Option<(String, i64)>)> {
        let scope = caller.scope();
        let mut rows = labels::registries_page(self.db.reader(), scope, after, most + 1).await?;
        let more = rows.len() as u64 > most;
        rows.truncate(most as usize);
        let next = rows.last().filter(|_| more).map(|row| (row.name.clone(), row.id));
        let registries = rows.into_iter().map(|row| self.to_registry(row));
        Ok((registries.collect::<Result<_>>()?, next))
    }

    /// Gives a registry another description, or none.
    pub async fn update_label_registry(
        &self,
        caller: &Caller,
        name: RegistryName,
        description: Option<Description>,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<LabelRegistry> {
        let (scope, changer) = (caller.scope(), caller.clone());
        let row = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, name, etag) = (changer.clone(), name.clone(), etag.clone());
            let description = description.clone();
            Box::pin(async move {
                let mut row = locked(txn, scope, &name, etag.as_deref()).await?;
                row.description = description.map(|text| text.as_str().to_owned());
                row.revision += 1;
                row.updated_at_us = now_us().max(row.updated_at_us);
                labels::update_registry(txn, &row).await?;
                log(txn, &caller, "label_registry_updated", &row).await?;
                Ok(row)
            })
        });
        self.to_registry(row.await?)
    }

    /// Deletes a registry that nothing uses.
    pub async fn delete_label_registry(
        &self,
        caller: &Caller,
        name: RegistryName,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<()> {
        let (scope, deleter) = (caller.scope(), caller.clone());
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, name, etag) = (deleter.clone(), name.clone(), etag.clone());
            Box::pin(async move {
                let row = locked(txn, scope, &name, etag.as_deref()).await?;
                let by = if row.name == RegistryName::ULABEL {
                    Some("every server")
                } else {
                    let used = labels::registry_is_used(txn, row.id).await?;
                    used.then_some("its labels, or a feature")
                };
                if let Some(by) = by {
                    let (what, name) = (Thing::LabelRegistry, row.name);
                    return Err(RegistryError::InUse { what, name, by });
                }
                labels::delete_registry(txn, row.id).await?;
                log(txn, &caller, "label_registry_deleted", &row).await
            })
        })
        .await
    }

    fn to_registry(&self, row: RegistryRow) -> Result<LabelRegistry> {
        Ok(LabelRegistry {
            etag: row.etag(),
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            uid: row.uid,
            name: row.name,
            description: row.description,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

async fn create(txn: &Txn, caller: &Caller, scope: Scope, new: &NewLabelRegistry) -> Result<RegistryRow> {
    let found = labels::registries_by_names(txn, scope, &[new.name.as_str()]).await?;
    if let Some(row) = found.into_iter().find(|row| row.space_id == scope.own) {
        if new.allow_existing {
            return Ok(row);
        }
        let (what, name) = (Thing::LabelRegistry, row.name);
        return Err(RegistryError::NameTaken { what, name });
    }
    let now = now_us();
    let mut row = RegistryRow {
        id: 0,
        uid: draw_stem().to_string(),
        space_id: scope.own,
        name: new.name.to_string(),
        description: new.description.as_ref().map(|text| text.as_str().to_owned()),
        revision: 1,
        created_by: caller.principal.id,
        created_at_us: now,
        updated_at_us: now,
    };
    row.id = labels::insert_registry(txn, &row).await?;
    log(txn, caller, "label_registry_created", &row).await?;
    Ok(row)
}

/// A registry of the caller's own space, locked.
async fn locked(txn: &Txn, scope: Scope, name: &RegistryName, etag: Option<&str>) -> Result<RegistryRow> {
    let found = lookup::registry(txn, scope, name).await?;
    let row = labels::lock_registry(txn, found.id).await?;
    let row = row.filter(|row| row.space_id == scope.own);
    let row = row.ok_or_else(|| RegistryError::Missing {
        what: Thing::LabelRegistry,
        name: name.to_string(),
    })?;
    require_entry_etag(Thing::LabelRegistry, &row.name, row.etag(), etag)?;
    Ok(row)
}

async fn log(txn: &Txn, caller: &Caller, kind: &'static str, row: &RegistryRow) -> Result<()> {
    let mut batch = Batch::new(txn);
    let subject = format!("label_registry/{}", row.uid);
    events::record_of(&mut batch, caller, kind, subject, json!({ "name": row.name }));
    Ok(batch.run(txn).await?)
}
