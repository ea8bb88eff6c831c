//! What is said of an artifact with its save.

use artifactd_domain::Role;

use super::{Annotations, require_kinds, resolve};
use crate::{
    db::{Txn, annotations, artifacts::ArtifactRow},
    registry::{Caller, RegistryError, Result, annotations::apply},
};

/// What is said of an artifact with its save.
#[derive(Debug, Clone, Default)]
pub struct FirstAnnotations {
    /// Values and labels.
    pub said: Annotations,
    /// Whether names and labels that nobody registered are.
    pub register_missing: bool,
    /// Whether it takes those of the version before.
    pub inherit: bool,
}

impl FirstAnnotations {
    /// Whether there is nothing to do.
    pub(in crate::registry) fn are_none(&self) -> bool {
        self.said.is_empty() && !self.inherit
    }

    /// Annotates an artifact in the transaction that makes it.
    pub(in crate::registry) async fn write(
        &self,
        txn: &Txn,
        caller: &Caller,
        row: &ArtifactRow,
        before: Option<&ArtifactRow>,
    ) -> Result<()> {
        if let Some(before) = before.filter(|_| self.inherit) {
            require_same_kind(before, row)?;
            annotations::inherit(txn, before.id, (row.id, row.created_at_us)).await?;
        }
        if self.said.is_empty() {
            return Ok(());
        }
        require_kinds(row, std::iter::once(&self.said))?;
        let none = Annotations::default();
        let parts = [("remove", &none), ("set", &none), ("header.annotations", &self.said)];
        let resolution = resolve::resolve(txn, caller, caller.scope(), &parts, self.register_missing).await?;
        apply::apply(txn, std::slice::from_ref(row), &resolution, false).await?;
        Ok(())
    }
}

/// A model takes no features from a dataset, and the other way round.
fn require_same_kind(before: &ArtifactRow, row: &ArtifactRow) -> Result<()> {
    if before.kind == row.kind {
        return Ok(());
    }
    let hosted = [Role::Feature, Role::Param]
        .into_iter()
        .find(|role| role.host().code() == before.kind);
    match hosted {
        Some(role) => Err(RegistryError::WrongKind { uid: row.uid()?, role }),
        None => Ok(()),
    }
}
