//! Annotating artifacts: values of features and params, and labels.
//!
//! What a call names is resolved as a whole, so that it is refused with every fault at
//! once; then all its artifacts change in one transaction, or none.

mod apply;
mod copy;
mod on_save;
mod read;
mod resolve;

use std::collections::BTreeSet;

use artifactd_domain::{ArtifactRef, Dtype, LabelName, Misfit, Role, Value};
use serde::{Deserialize, Serialize};

use super::{
    Artifact, Caller, Registry, RegistryError, Result, events,
    idempotency::RequestKey,
    lineage::{note_update, open_run},
    now_us,
    replace::require_etag,
};
use crate::{
    db::{
        Batch, Txn,
        artifacts::{self, ArtifactRow},
        families,
        scope::Scope,
    },
    fault,
};
pub use on_save::FirstAnnotations;
pub(super) use read::read as all_of;
pub use read::{AnnotationsOf, LabelOf, ValuesOf};

/// What is said of an artifact.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations {
    /// Values of features.
    pub features: Vec<NamedValues>,
    /// Values of params.
    pub params: Vec<NamedValues>,
    /// Labels that no feature holds.
    pub labels: Vec<LabelName>,
}

/// Values of one feature or param.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedValues {
    /// Its name.
    pub name: String,
    /// The values.
    pub values: Vec<Value>,
}

impl Annotations {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let Self {
            features,
            params,
            labels,
        } = self;
        features.is_empty() && params.is_empty() && labels.is_empty()
    }
}

/// What to change in the annotations of some artifacts.
#[derive(Debug, Clone, Default)]
pub struct Annotation {
    /// The artifacts.
    pub artifacts: Vec<ArtifactRef>,
    /// Whether all annotations go first.
    pub clear: bool,
    /// What goes then.
    pub remove: Annotations,
    /// What takes the place of others of its name.
    pub set: Annotations,
    /// What comes.
    pub add: Annotations,
    /// Whether names and labels that nobody registered are.
    pub register_missing: bool,
    /// Etag that the record must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

impl Annotation {
    /// Fails when its parts do not fit.
    pub(super) fn check(&self) -> Result<()> {
        match self.etag {
            Some(_) if self.artifacts.len() != 1 => Err(RegistryError::other("etag", "only goes with one artifact")),
            _ => Ok(()),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Annotated {
    /// The records as they are now.
    pub artifacts: Vec<Artifact>,
    /// Values and labels that came.
    pub added: u64,
    /// Values and labels that went.
    pub removed: u64,
    /// Names that were registered.
    pub registered: Registered,
}

/// Names that a call registered.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Registered {
    /// Of features and params.
    pub features: Vec<String>,
    /// Of labels.
    pub labels: Vec<String>,
}

/// What a call is answered, also when it is repeated.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    rows: Vec<ArtifactRow>,
    added: u64,
    removed: u64,
    registered: Registered,
}

/// Something that is wrong with what a call says of artifacts.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct AnnotationFault {
    /// Where it stands in the request.
    pub path: String,
    /// What is wrong.
    pub why: WhyNot,
}

/// Why something cannot be said of an artifact.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WhyNot {
    /// No feature or param has the name.
    #[error("no {} is called `{name}`{}", role.as_str(), fitting(.fits.as_ref()))]
    Unknown {
        /// What was looked for.
        role: Role,
        /// The name.
        name: String,
        /// The dtype that fits the values, if one does.
        fits: Option<Dtype>,
    },
    /// A value does not fit.
    #[error("the value of `{name}` {misfit}")]
    Misfit {
        /// The feature or param.
        name: String,
        /// How it does not fit.
        misfit: Misfit,
    },
    /// There is no such label.
    #[error("no label `{label}` in {registries}")]
    NoLabel {
        /// The label.
        label: String,
        /// Where it was looked for.
        registries: String,
    },
    /// There is no such registry.
    #[error("no label registry is called `{0}`")]
    NoRegistry(String),
    /// A name without values where some are needed.
    #[error("`{0}` has no value")]
    NoValue(String),
    /// A name that is no name, and so cannot be registered.
    #[error("`{name}` cannot be registered: it {refused}")]
    BadName {
        /// The text.
        name: String,
        /// Why it is no name.
        refused: artifactd_domain::NameRefused,
    },
}

fn fitting(dtype: Option<&Dtype>) -> String {
    match dtype {
        Some(dtype) => format!("; the dtype {dtype} fits"),
        None => "; no one dtype fits its values".to_owned(),
    }
}

impl Registry {
    /// Changes the annotations of some artifacts outside trash.
    pub async fn annotate(&self, caller: &Caller, annotation: Annotation) -> Result<Annotated> {
        annotation.check()?;
        let uids = self.uids_of(caller, &annotation.artifacts).await?;
        let (scope, request) = (caller.scope(), annotation.request.clone());
        let changer = caller.clone();
        let answer = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, annotation, uids) = (changer.clone(), annotation.clone(), uids.clone());
            Box::pin(async move { change(txn, &caller, scope, &annotation, &uids).await })
        });
        self.annotated(answer.await?)
    }

    /// The full uids of what some references name.
    pub(super) async fn uids_of(&self, caller: &Caller, references: &[ArtifactRef]) -> Result<Vec<String>> {
        let mut uids = Vec::with_capacity(references.len());
        for reference in references {
            uids.push(match reference {
                // The transaction looks for it anyway.
                ArtifactRef::Uid(uid) => uid.to_string(),
                other => self.find(self.db.reader(), caller, other, true).await?.uid,
            });
        }
        Ok(uids)
    }

    pub(super) fn annotated(&self, answer: Answer) -> Result<Annotated> {
        let Answer {
            rows,
            added,
            removed,
            registered,
        } = answer;
        Ok(Annotated {
            artifacts: self.to_artifacts(rows)?,
            added,
            removed,
            registered,
        })
    }
}

/// The artifacts with these uids, their families locked, in the order of the uids.
pub(super) async fn lock_artifacts(txn: &Txn, caller: &Caller, uids: &[String]) -> Result<Vec<ArtifactRow>> {
    let distinct: BTreeSet<&str> = uids.iter().map(String::as_str).collect();
    let distinct: Vec<&str> = distinct.into_iter().collect();
    families::lock_of_artifacts(txn, &distinct).await?;
    let rows = artifacts::by_uids(txn, &distinct).await?;
    let mut found = Vec::with_capacity(uids.len());
    for uid in uids {
        let row = rows.iter().find(|row| row.uid == *uid && caller.may_read(row.space_id));
        let row = row.ok_or_else(|| RegistryError::NotFound(uid.clone()))?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(uid.clone()));
        }
        found.push(row.clone());
    }
    Ok(found)
}

/// Changes the annotations of artifacts with these uids.
pub(super) async fn change(
    txn: &Txn,
    caller: &Caller,
    scope: Scope,
    annotation: &Annotation,
    uids: &[String],
) -> Result<Answer> {
    let run = open_run(txn, caller).await?;
    let mut rows = lock_artifacts(txn, caller, uids).await?;
    if let [row] = rows.as_slice() {
        require_etag(row, annotation.etag.as_deref())?;
    }
    let parts = [
        ("remove", &annotation.remove),
        ("set", &annotation.set),
        ("add", &annotation.add),
    ];
    for row in &rows {
        require_kinds(row, parts.into_iter().map(|(_, part)| part))?;
    }
    let resolution = resolve::resolve(txn, caller, scope, &parts, annotation.register_missing).await?;
    let changes = apply::apply(txn, &rows, &resolution, annotation.clear).await?;
    let (added, removed) = (
        changes.iter().map(|change| change.added).sum(),
        changes.iter().map(|change| change.removed).sum(),
    );
    let mut batch = Batch::new(txn);
    let now = now_us();
    let mut touched = BTreeSet::new();
    for (row, change) in rows.iter().zip(&changes) {
        if change.added + change.removed > 0 && touched.insert(row.id) {
            batch.push(artifacts::touch(&mut artifacts::update(row.id), now));
            let detail = serde_json::json!({
                "added": change.added, "removed": change.removed, "features": resolution.names(),
                "labels": resolution.label_names(),
            });
            events::record(&mut batch, caller, "annotated", &row.uid, detail);
        }
    }
    batch.run(txn).await?;
    for row in rows.iter_mut().filter(|row| touched.contains(&row.id)) {
        row.touch(now);
        note_update(txn, run.as_ref(), row).await?;
    }
    fault::point("annotate.in_transaction");
    Ok(Answer {
        rows,
        added,
        removed,
        registered: resolution.registered,
    })
}

/// Fails when an artifact is of a kind that has no features, or no params.
pub(super) fn require_kinds<'a>(row: &ArtifactRow, parts: impl Iterator<Item = &'a Annotations>) -> Result<()> {
    for part in parts {
        for (role, named) in [(Role::Feature, &part.features), (Role::Param, &part.params)] {
            if !named.is_empty() && row.kind != role.host().code() {
                let uid = row.uid()?;
                return Err(RegistryError::WrongKind { uid, role });
            }
        }
    }
    Ok(())
}
