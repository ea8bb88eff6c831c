//! All that is known of an artifact, in one call.

use artifactd_domain::{ArtifactRef, RunUid};

use crate::{
    db::{
        collections::{self, CollectionPage},
        lineage,
    },
    registry::{
        AnnotationsOf, Artifact, ArtifactCollection, Caller, Registry, RegistryError, Result, Run, SlotOfArtifact,
        Transform, TransformRef, annotations,
    },
};

/// Runs and collections that an answer names.
const NAMED_MAX: u64 = 100;

/// All that is known of an artifact.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its record.
    pub artifact: Artifact,
    /// Its values and labels.
    pub annotations: AnnotationsOf,
    /// The run that made it.
    pub run: Option<Run>,
    /// What that was a run of, without the source.
    pub transform: Option<Transform>,
    /// Runs that have used it: how many, and some uids.
    pub input_of: (i64, Vec<String>),
    /// Some collections that have it as a member; of those that have many versions, each of these.
    pub collections: Vec<ArtifactCollection>,
    /// Whether more collections have it.
    pub more_collections: bool,
    /// Versions of its family, those in trash too.
    pub versions: i64,
    /// What its content has by slot.
    pub feature_sets: Vec<SlotOfArtifact>,
    /// Name of the schema under which it was saved.
    pub schema: Option<String>,
}

impl Registry {
    /// All that is known of an artifact.
    pub async fn describe(
        &self,
        caller: &Caller,
        reference: &ArtifactRef,
        include_hidden: bool,
    ) -> Result<Description> {
        let conn = self.db.reader();
        let row = self.find(conn, caller, reference, include_hidden).await?;
        let page = CollectionPage {
            prefix: None,
            all_versions: true,
            member: Some((row.id, row.family_id)),
            after: None,
            rows: NAMED_MAX + 1,
        };
        let (scope, ids) = (caller.scope(), [row.id]);
        let most = i64::try_from(NAMED_MAX).unwrap_or(i64::MAX);
        let uses = lineage::input_of(conn, row.id, most).await?;
        let mut annotated = annotations::all_of(conn, &ids).await?;
        let mut members = collections::page(conn, scope, page).await?;
        let versions = lineage::versions_of(conn, row.family_id).await?;
        let more_collections = members.len() as u64 > NAMED_MAX;
        members.truncate(NAMED_MAX as usize);
        let members = members.into_iter().map(|row| self.to_collection(row));
        let feature_sets = self.slots_of(&row).await?;
        let schema = self.schema_of(row.id).await?;
        let artifact = self.to_artifact(row)?;
        let run = match artifact.run_uid.as_deref().map(str::parse::<RunUid>) {
            Some(Ok(uid)) => seen(self.run(caller, &uid).await)?,
            _ => None,
        };
        let transform = match artifact.transform_uid.as_deref().map(str::parse) {
            Some(Ok(uid)) => seen(self.transform(caller, &TransformRef::Uid(uid)).await)?,
            _ => None,
        };
        Ok(Description {
            annotations: annotated.remove(&ids[0]).unwrap_or_default(),
            run,
            transform: transform.map(|transform| Transform {
                source: None,
                ..transform
            }),
            input_of: (uses.number, uses.uids),
            collections: members.collect::<Result<_>>()?,
            more_collections,
            versions,
            feature_sets,
            schema,
            artifact,
        })
    }
}

/// What the caller may not see is left out.
fn seen<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(RegistryError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
