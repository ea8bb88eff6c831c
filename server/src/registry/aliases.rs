//! Aliases: names of a family that point to one of its versions.
//!
//! A move locks the family, as everything does that changes versions, and can say what
//! it takes the alias for: of two callers who move it at once, the second hears of the
//! first. What points to a version goes with it when it is destroyed, which the history
//! tells; in trash the version keeps its aliases, and they find nothing.

use artifactd_domain::{AliasName, ArtifactRef, Label, Stem, Uid, VersionNumber, Visibility};
use serde_json::json;

use super::{
    Caller, Registry, RegistryError, Result, events,
    idempotency::{Repeatable, RequestKey, once},
    now_us,
};
use crate::{
    db::{
        Batch, DbError, Txn,
        aliases::{self, AliasRow},
        artifacts,
        entities::families::Model as Family,
        families,
    },
    fault,
};

/// Most aliases of a family.
const ALIASES_MAX: u64 = 1_000;

/// A name that points to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: AliasName,
    /// The version.
    pub uid: Uid,
    /// Label of the version.
    pub version: Label,
    /// Number of the version.
    pub version_number: VersionNumber,
    /// Who sees the version.
    pub visibility: Visibility,
    /// Who moved it last.
    pub set_by: String,
    /// When it was first set, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// When it was last moved, in microseconds since 1970 UTC.
    pub updated_at_us: i64,
    /// Strong entity tag.
    pub etag: String,
}

/// What an alias must be like for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasIs {
    /// It points to this version.
    Uid(Uid),
    /// It has this etag.
    Etag(String),
    /// There is none.
    Absent,
}

/// A move or removal of an alias.
#[derive(Debug, Clone)]
pub struct AliasMove {
    /// The version to point to, or any version of the family to remove from.
    pub reference: ArtifactRef,
    /// The alias.
    pub name: AliasName,
    /// What it is taken for.
    pub expected: Option<AliasIs>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// One move of an alias.
#[derive(Debug, Clone)]
pub struct AliasChange {
    /// Its place in the history.
    pub id: i64,
    /// The alias.
    pub name: String,
    /// Where it pointed before.
    pub from_uid: Option<String>,
    /// Where it pointed afterwards.
    pub to_uid: Option<String>,
    /// Who did it.
    pub changed_by: String,
    /// When, in microseconds since 1970 UTC.
    pub changed_at_us: i64,
}

/// Some of many, and where the rest begins.
#[derive(Debug, Clone)]
pub struct Part<T, After> {
    /// These.
    pub items: Vec<T>,
    /// The last of them, when there are more.
    pub next: Option<After>,
}

/// Where an alias points now, and where it did before.
pub(super) type Moved = (AliasRow, Option<String>);

/// Points an alias to a version, as a part of a change that names its uid.
pub(super) async fn set(txn: &Txn, caller: &Caller, change: AliasMove, uid: &Uid) -> Result<Moved> {
    Commit::new(caller, change, None).set(txn, uid).await
}

impl Registry {
    /// Points an alias to a version; answers it, and where it pointed before.
    pub async fn set_alias(&self, caller: &Caller, change: AliasMove) -> Result<(Alias, Option<String>)> {
        let repeatable = Repeatable::new(change.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(finished) = repeatable.finished::<Moved>(self.db.reader(), caller).await?
        {
            return self.moved(finished.answer);
        }
        let uid = self
            .find(self.db.reader(), caller, &change.reference, true)
            .await?
            .uid()?;
        let commit = Commit::new(caller, change, repeatable);
        let moved = self.db.write(move |txn| {
            let commit = commit.clone();
            Box::pin(async move {
                let set = commit.set(txn, &uid);
                once(commit.repeatable.as_ref(), txn, &commit.caller, set).await
            })
        });
        self.moved(moved.await?)
    }

    /// Removes an alias; answers it as it was.
    pub async fn delete_alias(&self, caller: &Caller, change: AliasMove) -> Result<Alias> {
        let repeatable = Repeatable::new(change.request.as_ref(), caller);
        if let Some(repeatable) = &repeatable
            && let Some(finished) = repeatable.finished::<AliasRow>(self.db.reader(), caller).await?
        {
            return self.to_alias(finished.answer);
        }
        let stem = self.family(self.db.reader(), caller, &change.reference).await?.stem;
        let stem = stem.parse().map_err(|_| impossible("families", "stem"))?;
        let commit = Commit::new(caller, change, repeatable);
        let deleted = self.db.write(move |txn| {
            let commit = commit.clone();
            Box::pin(async move {
                let delete = commit.delete(txn, stem);
                once(commit.repeatable.as_ref(), txn, &commit.caller, delete).await
            })
        });
        self.to_alias(deleted.await?)
    }

    /// The aliases of a family after a name, in the order of their names.
    pub async fn aliases(
        &self,
        caller: &Caller,
        reference: &ArtifactRef,
        after: Option<&str>,
        rows: u64,
    ) -> Result<Part<Alias, String>> {
        let conn = self.db.reader();
        let family = self.family(conn, caller, reference).await?;
        let mut found = aliases::page(conn, family.id, after, rows + 1).await?;
        let more = found.len() as u64 > rows;
        found.truncate(rows as usize);
        Ok(Part {
            next: found.last().filter(|_| more).map(|row| row.name.clone()),
            items: found.into_iter().map(|row| self.to_alias(row)).collect::<Result<_>>()?,
        })
    }

    /// What happened to the aliases of a family, or to one of them, newest first.
    pub async fn alias_changes(
        &self,
        caller: &Caller,
        reference: &ArtifactRef,
        name: Option<&AliasName>,
        before: Option<i64>,
        rows: u64,
    ) -> Result<Part<AliasChange, i64>> {
        let conn = self.db.reader();
        let family = self.family(conn, caller, reference).await?;
        let mut found = aliases::changes(conn, family.id, name, before, rows + 1).await?;
        let more = found.len() as u64 > rows;
        found.truncate(rows as usize);
        let next = found.last().filter(|_| more).map(|row| row.id);
        let items = found.into_iter().map(|row| {
            Ok(AliasChange {
                id: row.id,
                name: row.name,
                from_uid: row.from_uid,
                to_uid: row.to_uid,
                changed_by: self.places.principal_name(row.changed_by)?.to_owned(),
                changed_at_us: row.changed_at_us,
            })
        });
        Ok(Part {
            items: items.collect::<Result<_>>()?,
            next,
        })
    }

    pub(super) fn moved(&self, (row, previous): Moved) -> Result<(Alias, Option<String>)> {
        Ok((self.to_alias(row)?, previous))
    }

    fn to_alias(&self, row: AliasRow) -> Result<Alias> {
        let number = VersionNumber::from_integer(row.version_number.into());
        Ok(Alias {
            etag: etag(&row),
            name: row.name.parse().map_err(|_| impossible("aliases", "name"))?,
            uid: row.uid.parse().map_err(|_| impossible("artifacts", "uid"))?,
            version: row
                .version_label
                .parse()
                .map_err(|_| impossible("artifacts", "version_label"))?,
            version_number: number.ok_or(impossible("artifacts", "version_number"))?,
            visibility: Visibility::from_code(row.visibility).ok_or(impossible("artifacts", "visibility"))?,
            set_by: self.places.principal_name(row.set_by)?.to_owned(),
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

fn impossible(table: &'static str, column: &'static str) -> DbError {
    DbError::Row { table, column }
}

/// One that was removed and made again must not look like what it was.
fn etag(row: &AliasRow) -> String {
    format!("\"{:x}-{:x}\"", row.revision, row.created_at_us)
}

#[derive(Debug, Clone)]
struct Commit {
    caller: Caller,
    change: AliasMove,
    repeatable: Option<Repeatable>,
}

impl Commit {
    fn new(caller: &Caller, change: AliasMove, repeatable: Option<Repeatable>) -> Self {
        Self {
            caller: caller.clone(),
            change,
            repeatable,
        }
    }

    async fn set(&self, txn: &Txn, uid: &Uid) -> Result<Moved> {
        let family = self.family(txn, uid.stem()).await?;
        let version = artifacts::by_uid(txn, uid).await?;
        let version = version.ok_or_else(|| RegistryError::NotFound(uid.to_string()))?;
        if version.in_trash() {
            return Err(RegistryError::InTrash(version.uid));
        }
        let name = self.change.name.as_str();
        if artifacts::has_label(txn, family.id, name).await? {
            return Err(RegistryError::AliasIsLabel(name.to_owned()));
        }
        let before = aliases::find(txn, family.id, &self.change.name).await?;
        self.require_expected(before.as_ref())?;
        let (now, mut batch) = (now_us(), Batch::new(txn));
        let previous = before.as_ref().map(|row| row.uid.clone());
        let mut row = AliasRow {
            name: name.to_owned(),
            artifact_id: version.id,
            revision: 1,
            set_by: self.caller.principal.id,
            created_at_us: now,
            updated_at_us: now,
            uid: version.uid,
            version_label: version.version_label,
            version_number: version.version_number,
            visibility: version.visibility,
        };
        match before {
            Some(before) if before.artifact_id == row.artifact_id => {
                row = before;
            }
            Some(before) => {
                row.revision = before.revision + 1;
                row.created_at_us = before.created_at_us;
                row.updated_at_us = Ord::max(now, before.updated_at_us);
                batch.push(&aliases::update(family.id, &row));
                self.remember_move(&mut batch, &family, (Some(&before.uid), Some(&row.uid)), now);
            }
            None => {
                let there = aliases::page(txn, family.id, None, ALIASES_MAX).await?;
                if there.len() as u64 >= ALIASES_MAX {
                    return Err(RegistryError::AliasesExhausted(ALIASES_MAX));
                }
                batch.push(&aliases::insert(family.id, &row));
                self.remember_move(&mut batch, &family, (None, Some(&row.uid)), now);
            }
        }
        let answer = (row, previous);
        if let Some(repeatable) = &self.repeatable {
            repeatable.remember(&mut batch, &self.caller, &answer, None);
        }
        batch.run(txn).await?;
        fault::point("alias.in_transaction");
        Ok(answer)
    }

    async fn delete(&self, txn: &Txn, stem: Stem) -> Result<AliasRow> {
        let family = self.family(txn, stem).await?;
        let name = &self.change.name;
        let row = aliases::find(txn, family.id, name).await?;
        self.require_expected(row.as_ref())?;
        let row = row.ok_or_else(|| RegistryError::AliasNotFound(name.to_string()))?;
        let mut batch = Batch::new(txn);
        batch.push(&aliases::delete(family.id, name.as_str()));
        self.remember_move(&mut batch, &family, (Some(&row.uid), None), now_us());
        if let Some(repeatable) = &self.repeatable {
            repeatable.remember(&mut batch, &self.caller, &row, None);
        }
        batch.run(txn).await?;
        Ok(row)
    }

    async fn family(&self, txn: &Txn, stem: Stem) -> Result<Family> {
        let family = families::lock_by_stem(txn, stem).await?;
        let family = family.filter(|family| self.caller.may_read(family.space_id));
        family.ok_or_else(|| RegistryError::NotFound(self.change.reference.to_string()))
    }

    fn require_expected(&self, row: Option<&AliasRow>) -> Result<()> {
        let is_expected = match (&self.change.expected, row) {
            (None, _) | (Some(AliasIs::Absent), None) => true,
            (Some(AliasIs::Uid(uid)), Some(row)) => row.uid == uid.as_str(),
            (Some(AliasIs::Etag(expected)), Some(row)) => etag(row) == *expected,
            _ => false,
        };
        if is_expected {
            return Ok(());
        }
        Err(RegistryError::AliasMoved {
            name: self.change.name.to_string(),
            now: row.map(|row| row.uid.clone()),
        })
    }

    fn remember_move(&self, batch: &mut Batch, family: &Family, (from, to): (Option<&str>, Option<&str>), now_us: i64) {
        record(
            batch,
            &self.caller,
            family,
            self.change.name.as_str(),
            (from, to),
            now_us,
        );
    }
}

/// Adds a move of an alias to its history and to the log.
pub(super) fn record(
    batch: &mut Batch,
    caller: &Caller,
    family: &Family,
    name: &str,
    (from, to): (Option<&str>, Option<&str>),
    now_us: i64,
) {
    batch.push(&aliases::insert_change(
        family.id,
        name,
        (from, to),
        caller.principal.id,
        now_us,
    ));
    let (kind, uid) = match to {
        Some(to) => ("alias_set", to),
        None => ("alias_deleted", from.unwrap_or_default()),
    };
    let detail = json!({ "alias": name, "stem": family.stem, "from": from, "to": to });
    events::record(batch, caller, kind, uid, detail);
}
