//! Schemas: which columns the tables of artifacts must have.
//!
//! A schema never changes, so that what was saved under it keeps to it. Its features are
//! called as they were when it was added, with the dtypes they had.

use std::collections::HashMap;

use artifactd_domain::{ArtifactRef, Description, Dtype, ExpectedColumn, FoundColumn, Name, Role, column_faults};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Caller, Registry, RegistryError, Result, Thing, draw_stem, events,
    features::{own_first, range_of},
    idempotency::RequestKey,
    looking::{self, Facts},
    now_us,
};
use crate::{
    arrays,
    db::{
        Batch, DbError, Txn, features,
        schemas::{self, MemberRow, SchemaPage, SchemaRow, SlotRow},
        scope::Scope,
        tables,
    },
};

/// What tables must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Identifier.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// What it says of each slot.
    pub slots: Vec<SchemaSlot>,
    /// Name of its space.
    pub space: String,
    /// Who added it.
    pub created_by: String,
    /// When it was added, in microseconds since 1970 UTC.
    pub created_at_us: i64,
}

/// What a schema says of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaSlot {
    /// The slot.
    pub slot: String,
    /// Columns that it knows.
    pub columns: Vec<ExpectedColumn>,
    /// Whether there may be no others.
    pub is_closed: bool,
}

/// What to add.
#[derive(Debug, Clone)]
pub struct NewSchema {
    /// Its name.
    pub name: Name,
    /// Free text.
    pub description: Option<Description>,
    /// Its slots: each once, and each name in one once.
    pub slots: Vec<NewSchemaSlot>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// A slot of a schema to add.
#[derive(Debug, Clone)]
pub struct NewSchemaSlot {
    /// The slot.
    pub slot: String,
    /// Names of features, and whether each must be there.
    pub features: Vec<(Name, bool)>,
    /// Whether there may be no other columns.
    pub is_closed: bool,
}

/// Which schemas to list.
#[derive(Debug, Clone, Default)]
pub struct SchemasQuery {
    /// What their names begin with.
    pub prefix: String,
    /// Place after which the page starts.
    pub after: Option<(String, i64)>,
    /// Most records.
    pub rows: u64,
}

/// One way in which content breaks a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// Where.
    pub slot: String,
    /// Name of the column; empty when it is about all of them.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// A schema as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    row: SchemaRow,
    slots: Vec<SlotRow>,
    members: Vec<MemberRow>,
}

impl Registry {
    /// Adds a schema.
    pub async fn create_schema(&self, caller: &Caller, new: NewSchema) -> Result<Schema> {
        let (request, maker) = (new.request.clone(), caller.clone());
        let stored = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, new) = (maker.clone(), new.clone());
            Box::pin(async move { create(txn, &caller, &new).await })
        });
        self.to_schema(stored.await?)
    }

    /// Finds one.
    pub async fn schema(&self, caller: &Caller, name: &Name) -> Result<Schema> {
        let conn = self.db.reader();
        let row = find(conn, caller.scope(), name).await?;
        let mut stored = with_slots(conn, vec![row]).await?;
        self.to_schema(stored.remove(0))
    }

    /// Lists them, and the place of the last one when there are more.
    pub async fn schemas(&self, caller: &Caller, query: SchemasQuery) -> Result<(Vec<Schema>, Option<(String, i64)>)> {
        let page = SchemaPage {
            prefix: range_of(&query.prefix),
            after: query.after,
            rows: query.rows + 1,
        };
        let conn = self.db.reader();
        let mut rows = schemas::page(conn, caller.scope(), page).await?;
        let more = rows.len() as u64 > query.rows;
        rows.truncate(query.rows as usize);
        let next = rows.last().filter(|_| more).map(|row| (row.name.clone(), row.id));
        let stored = with_slots(conn, rows).await?;
        let schemas = stored.into_iter().map(|stored| self.to_schema(stored));
        Ok((schemas.collect::<Result<_>>()?, next))
    }

    /// Deletes one under which nothing was saved.
    pub async fn delete_schema(&self, caller: &Caller, name: Name, request: Option<RequestKey>) -> Result<()> {
        let deleter = caller.clone();
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, name) = (deleter.clone(), name.clone());
            Box::pin(async move {
                let found = find(txn, caller.scope(), &name).await?;
                let row = schemas::lock(txn, found.id).await?;
                let row = row.filter(|row| row.space_id == caller.space_id);
                let row = row.ok_or_else(|| missing(&name))?;
                if schemas::has_artifacts(txn, row.id).await? {
                    let (what, name, by) = (Thing::Schema, row.name, "artifacts that were saved under it");
                    return Err(RegistryError::InUse { what, name, by });
                }
                schemas::delete(txn, row.id).await?;
                log(txn, &caller, "schema_deleted", &row).await
            })
        })
        .await
    }

    /// Everything in which the table of an artifact breaks a schema.
    pub async fn check_schema(
        &self,
        caller: &Caller,
        name: &Name,
        reference: &ArtifactRef,
    ) -> Result<Vec<SchemaFault>> {
        let conn = self.db.reader();
        let row = find(conn, caller.scope(), name).await?;
        let stored = with_slots(conn, vec![row]).await?.remove(0);
        let artifact = self.find(conn, caller, reference, true).await?;
        let table = match artifact.accessor {
            Some(_) => tables::of_artifact(conn, artifact.id).await?,
            None => None,
        };
        let table = table.and_then(|table| looking::from_row(&table, artifact.n_observations));
        let found = match table {
            Some(table) => Some(arrays::found_columns(&arrays::read_schema(&table.schema)?)),
            None => None,
        };
        faults(&stored, found.as_deref())
    }

    /// Name of the schema under which an artifact was saved.
    pub(super) async fn schema_of(&self, artifact_id: i64) -> Result<Option<String>> {
        let row = schemas::of_artifact(self.db.reader(), artifact_id).await?;
        Ok(row.map(|row| row.name))
    }

    fn to_schema(&self, stored: Stored) -> Result<Schema> {
        let slots = slots_of(&stored)?;
        let Stored { row, .. } = stored;
        Ok(Schema {
            uid: row.uid,
            name: row.name,
            description: row.description,
            slots,
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            created_at_us: row.created_at_us,
        })
    }
}

/// Fails with all faults when content breaks the schema under which it is saved; answers the
/// id of that.
pub(super) async fn require(txn: &Txn, scope: Scope, name: &Name, found: &Facts) -> Result<i64> {
    let row = find(txn, scope, name).await?;
    let row = schemas::lock_shared(txn, row.id).await?.ok_or_else(|| missing(name))?;
    require_row(txn, row, found).await
}

/// The same for content that replaces what was saved under a schema.
pub(super) async fn require_of_artifact(txn: &Txn, artifact_id: i64, found: &Facts) -> Result<()> {
    if let Some(row) = schemas::of_artifact(txn, artifact_id).await? {
        require_row(txn, row, found).await?;
    }
    Ok(())
}

async fn require_row(txn: &Txn, row: SchemaRow, found: &Facts) -> Result<i64> {
    let stored = with_slots(txn, vec![row]).await?.remove(0);
    let faults = faults(&stored, found.typed_columns()?.as_deref())?;
    if faults.is_empty() {
        return Ok(stored.row.id);
    }
    let schema = stored.row.name;
    Err(RegistryError::SchemaBroken { schema, faults })
}

/// What of a schema some columns break.
fn faults(stored: &Stored, found: Option<&[FoundColumn]>) -> Result<Vec<SchemaFault>> {
    let mut faults = Vec::new();
    for SchemaSlot {
        slot,
        columns,
        is_closed,
    } in slots_of(stored)?
    {
        let found = found.filter(|_| slot == artifactd_domain::COLUMNS_SLOT);
        let Some(found) = found else {
            faults.push(SchemaFault {
                slot,
                name: String::new(),
                why: "was not found: the content is no table that can be looked into".to_owned(),
            });
            continue;
        };
        let told = column_faults(&columns, is_closed, found).into_iter();
        faults.extend(told.map(|(name, fault)| SchemaFault {
            slot: slot.clone(),
            name,
            why: fault.to_string(),
        }));
    }
    Ok(faults)
}

fn slots_of(stored: &Stored) -> Result<Vec<SchemaSlot>> {
    let mut slots = Vec::with_capacity(stored.slots.len());
    for slot in &stored.slots {
        let members = stored.members.iter().filter(|member| member.slot_place == slot.place);
        let columns = members.map(|member| {
            let dtype: Dtype = member.dtype.parse().map_err(|_| DbError::Row {
                table: "schema_features",
                column: "dtype",
            })?;
            Ok(ExpectedColumn {
                name: member.name.clone(),
                dtype,
                is_required: member.is_required,
            })
        });
        slots.push(SchemaSlot {
            slot: slot.slot.clone(),
            columns: columns.collect::<Result<_>>()?,
            is_closed: slot.is_closed,
        });
    }
    Ok(slots)
}

fn missing(name: &Name) -> RegistryError {
    RegistryError::Missing {
        what: Thing::Schema,
        name: name.to_string(),
    }
}

async fn find(conn: &impl ConnectionTrait, scope: Scope, name: &Name) -> Result<SchemaRow> {
    let found = schemas::by_name(conn, scope, name.as_str()).await?;
    own_first(found, scope, |row| row.space_id).ok_or_else(|| missing(name))
}

async fn with_slots(conn: &impl ConnectionTrait, rows: Vec<SchemaRow>) -> Result<Vec<Stored>> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let (slots, members) = schemas::slots(conn, &ids).await?;
    let mut slots_by_schema: HashMap<i64, Vec<SlotRow>> = HashMap::new();
    for slot in slots {
        slots_by_schema.entry(slot.schema_id).or_default().push(slot);
    }
    let mut members_by_schema: HashMap<i64, Vec<MemberRow>> = HashMap::new();
    for member in members {
        members_by_schema.entry(member.schema_id).or_default().push(member);
    }
    let stored = rows.into_iter().map(|row| Stored {
        slots: slots_by_schema.remove(&row.id).unwrap_or_default(),
        members: members_by_schema.remove(&row.id).unwrap_or_default(),
        row,
    });
    Ok(stored.collect())
}

async fn create(txn: &Txn, caller: &Caller, new: &NewSchema) -> Result<Stored> {
    let scope = caller.scope();
    let taken = schemas::by_name(txn, scope, new.name.as_str()).await?;
    if taken.iter().any(|row| row.space_id == scope.own) {
        let (what, name) = (Thing::Schema, new.name.to_string());
        return Err(RegistryError::NameTaken { what, name });
    }
    let mut row = SchemaRow {
        id: 0,
        uid: draw_stem().to_string(),
        space_id: scope.own,
        name: new.name.to_string(),
        description: new.description.as_ref().map(|text| text.as_str().to_owned()),
        created_by: caller.principal.id,
        created_at_us: now_us(),
    };
    row.id = schemas::insert(txn, &row).await?;
    let (mut slots, mut members) = (Vec::new(), Vec::new());
    for (slot_place, slot) in (0..).zip(&new.slots) {
        slots.push(SlotRow {
            schema_id: row.id,
            place: slot_place,
            slot: slot.slot.clone(),
            is_closed: slot.is_closed,
        });
        let names: Vec<&str> = slot.features.iter().map(|(name, _)| name.as_str()).collect();
        let found = features::by_names_shared(txn, scope, Role::Feature.code(), &names).await?;
        let mut found_by_name: HashMap<String, Vec<_>> = HashMap::new();
        for row in found {
            found_by_name.entry(row.name.clone()).or_default().push(row);
        }
        for (place, (name, is_required)) in (0..).zip(&slot.features) {
            let named = found_by_name.remove(name.as_str()).unwrap_or_default();
            let feature = own_first(named, scope, |row| row.space_id);
            let feature = feature.ok_or_else(|| RegistryError::Missing {
                what: Thing::Feature,
                name: name.to_string(),
            })?;
            members.push(MemberRow {
                schema_id: row.id,
                slot_place,
                place,
                feature_id: feature.id,
                name: feature.name,
                dtype: feature.dtype,
                is_required: *is_required,
            });
        }
    }
    schemas::insert_slots(txn, &slots, &members).await?;
    log(txn, caller, "schema_created", &row).await?;
    Ok(Stored { row, slots, members })
}

async fn log(txn: &Txn, caller: &Caller, kind: &'static str, row: &SchemaRow) -> Result<()> {
    let mut batch = Batch::new(txn);
    let detail = json!({ "name": row.name });
    events::record_of(&mut batch, caller, kind, format!("schema/{}", row.uid), detail);
    Ok(batch.run(txn).await?)
}
