//! Lists with keyset pages: a page costs the same wherever it lies.

use artifactd_domain::{ArtifactRef, VersionNumber, Visibility};

use super::{Artifact, Caller, Registry, RegistryError, Result};
use crate::db::{artifacts, families};

/// A page of records, and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<After> {
    /// The records.
    pub artifacts: Vec<Artifact>,
    /// Place of the last record, when there are more.
    pub next: Option<After>,
}

/// Which artifacts to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Which visibilities.
    pub visibilities: Vec<Visibility>,
    /// Place after which the page starts: time of creation and uid.
    pub after: Option<(i64, String)>,
    /// Most records.
    pub rows: u64,
}

/// Which versions to list.
#[derive(Debug, Clone)]
pub struct VersionsQuery {
    /// Any artifact of the family.
    pub reference: ArtifactRef,
    /// Which visibilities.
    pub visibilities: Vec<Visibility>,
    /// Number below which the page starts.
    pub below: Option<VersionNumber>,
    /// Most records.
    pub rows: u64,
}

impl Registry {
    /// Lists the artifacts of the caller's space, newest first.
    pub async fn list(&self, caller: &Caller, query: &ListQuery) -> Result<Page<(i64, String)>> {
        // One visibility is one range of the index; the few ranges are merged here.
        let ranges = query.visibilities.iter().map(|visibility| {
            artifacts::page(
                self.db.reader(),
                caller.space_id,
                *visibility,
                query.after.as_ref(),
                query.rows + 1,
            )
        });
        let mut rows = futures::future::try_join_all(ranges).await?.concat();
        rows.sort_by(|a, b| (b.created_at_us, &b.uid).cmp(&(a.created_at_us, &a.uid)));
        let more = rows.len() as u64 > query.rows;
        rows.truncate(query.rows as usize);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|row| (row.created_at_us, row.uid.clone()));
        Ok(Page {
            artifacts: self.to_artifacts(rows)?,
            next,
        })
    }

    /// Lists the versions of a family, highest number first.
    pub async fn versions(&self, caller: &Caller, query: &VersionsQuery) -> Result<Page<VersionNumber>> {
        let conn = self.db.reader();
        let family_id = match &query.reference {
            // A family whose versions are all in trash has a stem, but no latest version.
            ArtifactRef::Stem(stem) => {
                families::by_stem(conn, *stem)
                    .await?
                    .filter(|family| caller.may_read(family.space_id))
                    .ok_or_else(|| RegistryError::NotFound(stem.to_string()))?
                    .id
            }
            other => self.find(conn, caller, other, true).await?.family_id,
        };
        let mut rows =
            artifacts::versions_page(conn, family_id, &query.visibilities, query.below, query.rows + 1).await?;
        let more = rows.len() as u64 > query.rows;
        rows.truncate(query.rows as usize);
        let next = rows.last().filter(|_| more).map(|row| row.number()).transpose()?;
        Ok(Page {
            artifacts: self.to_artifacts(rows)?,
            next,
        })
    }
}
