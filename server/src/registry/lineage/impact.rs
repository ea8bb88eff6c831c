//! What deleting or replacing an artifact would touch.

use artifactd_domain::ArtifactRef;

use crate::{
    db::lineage::{self, Counted},
    registry::{Artifact, Caller, Registry, Result},
};

/// Uids that an answer names of each kind.
const NAMED_MAX: i64 = 100;

/// What deleting or replacing an artifact would touch.
#[derive(Debug, Clone)]
pub struct Impact {
    /// The artifact.
    pub artifact: Artifact,
    /// Runs that have it as an input: how many, and some uids.
    pub input_of: (i64, Vec<String>),
    /// Artifacts that those runs have made: how many, and some uids.
    pub derived: (i64, Vec<String>),
    /// Runs whose report or environment it is.
    pub described_runs: i64,
    /// Other artifacts on the same bytes.
    pub same_content: i64,
    /// Values and labels that would go with it.
    pub annotations: i64,
}

impl Registry {
    /// What deleting or replacing an artifact would touch.
    pub async fn impact(&self, caller: &Caller, reference: &ArtifactRef) -> Result<Impact> {
        let conn = self.db.reader();
        let row = self.find(conn, caller, reference, true).await?;
        let Counted { number, uids } = lineage::input_of(conn, row.id, NAMED_MAX).await?;
        let input_of = (number, uids);
        let Counted { number, uids } = lineage::derived_from(conn, row.id, NAMED_MAX).await?;
        let on_same_bytes = match (row.blob_id, row.manifest_id) {
            (Some(blob_id), _) => lineage::with_blob(conn, blob_id).await?,
            (None, Some(manifest_id)) => lineage::with_manifest(conn, manifest_id).await?,
            (None, None) => 1,
        };
        Ok(Impact {
            input_of,
            derived: (number, uids),
            described_runs: lineage::described_by(conn, row.id).await?,
            same_content: (on_same_bytes - 1).max(0),
            annotations: lineage::annotations_of(conn, row.id).await?,
            artifact: self.to_artifact(row)?,
        })
    }
}
