//! Aliases: names of a family that point to one of its versions.

use std::time::SystemTime;

use artifactd_domain::{AliasName, Label, Uid, VersionNumber, Visibility};
use artifactd_proto::v1::{self as pb, alias_precondition::Precondition};

use crate::{Client, Error, IntoReference, Result, convert};

/// A name that points to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: AliasName,
    /// The version to which it points.
    pub uid: Uid,
    /// Label of that version.
    pub version: Label,
    /// Number of that version.
    pub version_number: VersionNumber,
    /// Who sees that version; an alias of a trashed one finds nothing.
    pub visibility: Visibility,
    /// Who moved it last.
    pub set_by: String,
    /// When it was first set.
    pub created_at: SystemTime,
    /// When it was last moved.
    pub updated_at: SystemTime,
    /// Changes with every move.
    pub etag: String,
}

/// What an alias must be like for a change of it to happen; else it fails with `ALIAS_MOVED`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AliasIs {
    /// Whatever it is.
    #[default]
    Anything,
    /// There is none of this name.
    Absent,
    /// It points to this version.
    Uid(Uid),
    /// It has this etag.
    Etag(String),
}

/// One move of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasChange {
    /// The alias.
    pub name: String,
    /// Where it pointed before; nowhere when it was new.
    pub from: Option<Uid>,
    /// Where it pointed afterwards; nowhere when it was removed.
    pub to: Option<Uid>,
    /// Who did it.
    pub changed_by: String,
    /// When.
    pub changed_at: SystemTime,
}

impl AliasIs {
    fn into_message(self) -> Option<pb::AliasPrecondition> {
        let precondition = match self {
            Self::Anything => return None,
            Self::Absent => Precondition::Absent(true),
            Self::Uid(uid) => Precondition::Uid(uid.to_string()),
            Self::Etag(etag) => Precondition::Etag(etag),
        };
        Some(pb::AliasPrecondition {
            precondition: Some(precondition),
        })
    }
}

impl Client {
    /// Points an alias to a version of its family; answers it as it is then.
    ///
    /// `to` may be named by another alias: `cells.h5ad@@staging`.
    pub async fn set_alias(&self, to: impl IntoReference, name: &str, only_if: AliasIs) -> Result<Alias> {
        let message = pb::SetAliasRequest {
            artifact: Some(convert::reference(to.into_reference()?)),
            name: name.to_owned(),
            r#if: only_if.into_message(),
            request_id: Some(convert::draw_request_id()),
        };
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.set_alias(request).await }
        };
        answered(self.call("SetAlias", message, call).await?.alias)
    }

    /// Removes an alias of the family of an artifact; answers it as it was.
    pub async fn delete_alias(&self, artifact: impl IntoReference, name: &str, only_if: AliasIs) -> Result<Alias> {
        let message = pb::DeleteAliasRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            name: name.to_owned(),
            r#if: only_if.into_message(),
            request_id: Some(convert::draw_request_id()),
        };
        let call = |request| {
            let mut artifacts = self.artifacts();
            async move { artifacts.delete_alias(request).await }
        };
        answered(self.call("DeleteAlias", message, call).await?.alias)
    }

    /// All aliases of the family of an artifact, in the order of their names.
    pub async fn aliases(&self, artifact: impl IntoReference) -> Result<Vec<Alias>> {
        let artifact = convert::reference(artifact.into_reference()?);
        let (mut aliases, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = pb::ListAliasesRequest {
                artifact: Some(artifact.clone()),
                page_size: 0,
                page_token,
            };
            let call = |request| {
                let mut artifacts = self.artifacts();
                async move { artifacts.list_aliases(request).await }
            };
            let page = self.call("ListAliases", message, call).await?;
            for alias in page.aliases {
                aliases.push(convert::alias(alias)?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(aliases);
            }
        }
    }

    /// The latest changes of the aliases of a family, or of one of them, newest first; at most so many.
    pub async fn alias_changes(
        &self,
        artifact: impl IntoReference,
        name: Option<&str>,
        most: usize,
    ) -> Result<Vec<AliasChange>> {
        const PAGE_MAX: usize = 1_000;
        let artifact = convert::reference(artifact.into_reference()?);
        let (mut changes, mut page_token) = (Vec::new(), String::new());
        while changes.len() < most {
            let page_size = (most - changes.len()).min(PAGE_MAX);
            let message = pb::ListAliasChangesRequest {
                artifact: Some(artifact.clone()),
                name: name.map(str::to_owned),
                page_size: i32::try_from(page_size).unwrap_or(i32::MAX),
                page_token,
            };
            let call = |request| {
                let mut artifacts = self.artifacts();
                async move { artifacts.list_alias_changes(request).await }
            };
            let page = self.call("ListAliasChanges", message, call).await?;
            for change in page.changes {
                changes.push(convert::alias_change(change)?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(changes)
    }
}

fn answered(alias: Option<pb::Alias>) -> Result<Alias> {
    convert::alias(alias.ok_or_else(|| Error::Answer("it holds no alias".to_owned()))?)
}
