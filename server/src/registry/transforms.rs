//! Code that makes artifacts, versioned by its key.

use artifactd_domain::{
    Description, Key, Label, Note, Sha256, Stem, TransformKind, Uid, VersionNumber, VersionSuffix, version_label,
};
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Caller, Registry, RegistryError, Result, Thing, draw_stem, events,
    features::{entry_etag, own_first, range_of, require_entry_etag},
    idempotency::RequestKey,
    now_us,
};
use crate::db::{
    Batch, DbError, Txn,
    scope::Scope,
    transforms::{self, TransformPage, TransformRow},
};

/// One version of some code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// Identifier.
    pub uid: Uid,
    /// Its name.
    pub key: String,
    /// What it is.
    pub kind: TransformKind,
    /// Label of the version.
    pub version: String,
    /// Number of the version.
    pub version_number: i32,
    /// Whether it is the highest.
    pub is_latest: bool,
    /// Free text.
    pub description: Option<String>,
    /// The code, where it was asked for.
    pub source: Option<String>,
    /// Digest of the code.
    pub source_sha256: Option<Sha256>,
    /// Where the code is.
    pub reference: Option<String>,
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

/// How a transform is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransformRef {
    /// One version.
    Uid(Uid),
    /// The latest of a family.
    Stem(Stem),
    /// By key: a version, or the latest.
    Key(Key, Option<Label>),
}

impl std::fmt::Display for TransformRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Stem(stem) => stem.fmt(f),
            Self::Key(key, None) => key.fmt(f),
            Self::Key(key, Some(version)) => write!(f, "{key}@@{version}"),
        }
    }
}

/// What to add.
#[derive(Debug, Clone)]
pub struct NewTransform {
    /// Its name.
    pub key: Key,
    /// What it is.
    pub kind: TransformKind,
    /// Free text.
    pub description: Option<Description>,
    /// The code.
    pub source: Option<String>,
    /// Where the code is.
    pub reference: Option<Note>,
    /// Label of the version.
    pub version: Option<Label>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What to change.
#[derive(Debug, Clone)]
pub struct TransformUpdate {
    /// The version.
    pub transform: TransformRef,
    /// New values of some fields.
    pub fields: Vec<TransformField>,
    /// Etag that it must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// The new value of one field.
#[derive(Debug, Clone)]
pub enum TransformField {
    /// Another kind.
    Kind(TransformKind),
    /// Another text, or none.
    Description(Option<Description>),
    /// Another place, or none.
    Reference(Option<Note>),
}

/// Which transforms to list.
#[derive(Debug, Clone, Default)]
pub struct TransformsQuery {
    /// What their keys begin with.
    pub prefix: String,
    /// Whether older versions are listed too.
    pub all_versions: bool,
    /// Place after which the page starts.
    pub after: Option<(String, i32, i64)>,
    /// Most records.
    pub rows: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    row: TransformRow,
    created: bool,
}

impl TransformRow {
    fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }
}

fn impossible(column: &'static str) -> DbError {
    let table = "transforms";
    DbError::Row { table, column }
}

impl Registry {
    /// Adds a transform, or its next version; answers whether one was added.
    pub async fn create_transform(&self, caller: &Caller, new: NewTransform) -> Result<(Transform, bool)> {
        let (scope, request, maker) = (caller.scope(), new.request.clone(), caller.clone());
        let answer: Answer = self
            .change_once(caller, request.as_ref(), move |txn| {
                let (caller, new) = (maker.clone(), new.clone());
                Box::pin(async move { create(txn, &caller, scope, &new).await })
            })
            .await?;
        let source = transforms::source(self.db.reader(), answer.row.id).await?;
        Ok((self.to_transform(answer.row, source)?, answer.created))
    }

    /// Finds a transform, with its source.
    pub async fn transform(&self, caller: &Caller, reference: &TransformRef) -> Result<Transform> {
        let conn = self.db.reader();
        let row = find(conn, caller.scope(), reference).await?;
        let source = transforms::source(conn, row.id).await?;
        self.to_transform(row, source)
    }

    /// Lists transforms, and the place of the last one when there are more.
    pub async fn transforms(
        &self,
        caller: &Caller,
        query: TransformsQuery,
    ) -> Result<(Vec<Transform>, Option<(String, i32, i64)>)> {
        let most = query.rows;
        let page = TransformPage {
            prefix: range_of(&query.prefix),
            all_versions: query.all_versions,
            after: query.after,
            rows: most + 1,
        };
        let mut rows = transforms::page(self.db.reader(), caller.scope(), page).await?;
        let more = rows.len() as u64 > most;
        rows.truncate(most as usize);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| (row.key.clone(), row.version_number, row.id));
        let transforms = rows.into_iter().map(|row| self.to_transform(row, None));
        Ok((transforms.collect::<Result<_>>()?, next))
    }

    /// Changes fields of one version.
    pub async fn update_transform(&self, caller: &Caller, update: TransformUpdate) -> Result<Transform> {
        let (scope, request, changer) = (caller.scope(), update.request.clone(), caller.clone());
        let row: TransformRow = self
            .change_once(caller, request.as_ref(), move |txn| {
                let (caller, update) = (changer.clone(), update.clone());
                Box::pin(async move { change(txn, &caller, scope, &update).await })
            })
            .await?;
        let source = transforms::source(self.db.reader(), row.id).await?;
        self.to_transform(row, source)
    }

    /// Deletes a version that no run names.
    pub async fn delete_transform(
        &self,
        caller: &Caller,
        uid: Uid,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<()> {
        let (scope, deleter) = (caller.scope(), caller.clone());
        self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, etag) = (deleter.clone(), etag.clone());
            Box::pin(async move {
                let row = locked(txn, scope, &TransformRef::Uid(uid), etag.as_deref()).await?;
                if transforms::has_runs(txn, row.id).await? {
                    let (what, name, by) = (Thing::Transform, row.uid, "runs");
                    return Err(RegistryError::InUse { what, name, by });
                }
                transforms::delete(txn, row.id).await?;
                if row.is_latest {
                    transforms::mark_highest(txn, row.family_id).await?;
                }
                log(txn, &caller, "transform_deleted", &row).await
            })
        })
        .await
    }

    fn to_transform(&self, row: TransformRow, source: Option<String>) -> Result<Transform> {
        Ok(Transform {
            uid: row.uid.parse().map_err(|_| impossible("uid"))?,
            kind: TransformKind::from_code(row.kind).ok_or(impossible("kind"))?,
            source_sha256: match row.source_sha256.as_deref().map(<[u8; 32]>::try_from) {
                None => None,
                Some(Ok(digest)) => Some(Sha256::from_bytes(digest)),
                Some(Err(_)) => return Err(impossible("source_sha256").into()),
            },
            etag: row.etag(),
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            key: row.key,
            version: row.version_label,
            version_number: row.version_number,
            is_latest: row.is_latest,
            description: row.description,
            source,
            reference: row.reference,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

/// The row that a reference names.
pub(super) async fn find(conn: &impl ConnectionTrait, scope: Scope, reference: &TransformRef) -> Result<TransformRow> {
    let found = match reference {
        TransformRef::Uid(uid) => transforms::by_uid(conn, uid.as_str()).await?,
        TransformRef::Stem(stem) => transforms::latest_of_stem(conn, stem.as_str()).await?,
        TransformRef::Key(key, None) => {
            let rows = transforms::latest_of_key(conn, scope, key.as_str()).await?;
            own_first(rows, scope, |row| row.space_id)
        }
        TransformRef::Key(key, Some(label)) => {
            let number = label.as_str().parse().ok().filter(|_| label.is_numeric());
            let rows = transforms::version_of_key(conn, scope, key.as_str(), label.as_str(), number).await?;
            own_first(rows, scope, |row| row.space_id)
        }
    };
    found
        .filter(|row| scope.sees(row.space_id))
        .ok_or_else(|| RegistryError::Missing {
            what: Thing::Transform,
            name: reference.to_string(),
        })
}

/// A version of the caller's own space, its family locked.
async fn locked(txn: &Txn, scope: Scope, reference: &TransformRef, etag: Option<&str>) -> Result<TransformRow> {
    let found = find(txn, scope, reference).await?;
    transforms::lock_family_by_id(txn, found.family_id).await?;
    // It may have changed before the lock was had.
    let row = transforms::by_uid(txn, &found.uid).await?;
    let row = row.filter(|row| row.space_id == scope.own);
    let row = row.ok_or_else(|| RegistryError::Missing {
        what: Thing::Transform,
        name: reference.to_string(),
    })?;
    require_entry_etag(Thing::Transform, &row.uid, row.etag(), etag)?;
    Ok(row)
}

async fn create(txn: &Txn, caller: &Caller, scope: Scope, new: &NewTransform) -> Result<Answer> {
    let digest = new
        .source
        .as_ref()
        .map(|source| Sha256::of(source.as_bytes()).as_bytes().to_vec());
    let reference = new.reference.as_ref().map(Note::to_string);
    let family = transforms::lock_family(txn, scope.own, new.key.as_str()).await?;
    let latest = match &family {
        None => None,
        Some(family) => transforms::latest_of_stem(txn, &family.stem).await?,
    };
    if let Some(row) = &latest
        && row.source_sha256 == digest
        && row.reference == reference
        && row.kind == new.kind.code()
    {
        let wished = new
            .version
            .as_ref()
            .is_some_and(|label| label.as_str() != row.version_label);
        if !wished {
            let (row, created) = (row.clone(), false);
            return Ok(Answer { row, created });
        }
    }
    let now = now_us();
    let (stem, number, suffix) = match &family {
        None => (draw_stem(), VersionNumber::FIRST, VersionSuffix::FIRST),
        Some(family) => {
            let suffix = family.next_suffix.as_deref();
            let suffix = suffix.ok_or_else(|| RegistryError::VersionsExhausted(family.stem.clone()))?;
            (
                family.stem.parse().map_err(|_| impossible("stem"))?,
                VersionNumber::from_integer(family.next_number.into()).ok_or(impossible("next_number"))?,
                suffix.parse().map_err(|_| impossible("next_suffix"))?,
            )
        }
    };
    let taken = match &family {
        None => Vec::new(),
        Some(family) => transforms::labels_of(txn, family.id).await?,
    };
    let taken = taken.iter().filter_map(|label| label.parse().ok()).collect();
    let label = version_label(number, &taken, new.version.clone()).map_err(|error| match error {
        artifactd_domain::LabelRefused::Taken { wish } => RegistryError::VersionTaken(wish),
        other => RegistryError::field("version", other),
    })?;
    let next_number = i32::try_from(number.next().get()).expect("version numbers fit");
    let next = (
        next_number,
        suffix.successor().map(|suffix: VersionSuffix| suffix.to_string()),
    );
    let family_id = match &family {
        None => transforms::insert_family(txn, stem.as_str(), scope.own, new.key.as_str(), next, now).await?,
        Some(family) => {
            transforms::advance_family(txn, family.id, next).await?;
            family.id
        }
    };
    let description = new.description.as_ref().map(|text| text.as_str().to_owned());
    let mut row = TransformRow {
        id: 0,
        uid: Uid::new(stem, suffix).to_string(),
        family_id,
        space_id: scope.own,
        key: new.key.to_string(),
        version_number: i32::try_from(number.get()).expect("version numbers fit"),
        version_label: label.to_string(),
        is_latest: true,
        kind: new.kind.code(),
        description: description.or_else(|| latest.and_then(|row| row.description)),
        source_sha256: digest,
        reference,
        revision: 1,
        created_by: caller.principal.id,
        created_at_us: now,
        updated_at_us: now,
    };
    row.id = transforms::insert(txn, &row, new.source.as_deref()).await?;
    log(txn, caller, "transform_created", &row).await?;
    let created = true;
    Ok(Answer { row, created })
}

async fn change(txn: &Txn, caller: &Caller, scope: Scope, update: &TransformUpdate) -> Result<TransformRow> {
    let mut row = locked(txn, scope, &update.transform, update.etag.as_deref()).await?;
    for field in &update.fields {
        match field {
            TransformField::Kind(kind) => row.kind = kind.code(),
            TransformField::Description(text) => {
                row.description = text.as_ref().map(|text| text.as_str().to_owned());
            }
            TransformField::Reference(reference) => row.reference = reference.as_ref().map(Note::to_string),
        }
    }
    row.revision += 1;
    row.updated_at_us = now_us().max(row.updated_at_us);
    transforms::update(txn, &row).await?;
    log(txn, caller, "transform_updated", &row).await?;
    Ok(row)
}

async fn log(txn: &Txn, caller: &Caller, kind: &'static str, row: &TransformRow) -> Result<()> {
    let mut batch = Batch::new(txn);
    let detail = json!({ "key": row.key, "version": row.version_label });
    events::record_of(&mut batch, caller, kind, format!("transform/{}", row.uid), detail);
    Ok(batch.run(txn).await?)
}
