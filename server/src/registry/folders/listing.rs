//! Lists of the members of a folder.
//!
//! A page of a list reads the pages of the manifest that it covers, and no others: it
//! costs the same in a folder of a million as in one of a thousand.

use artifactd_domain::{
    ArtifactRef, Key,
    manifest::{Glob, Member},
};

use super::super::{Artifact, Caller, Registry, RegistryError, Result};
use crate::db::manifests;

/// Pages of a manifest that are searched for members that match, for one page of a list.
const PAGES_SEARCHED_MAX: usize = 64;

/// Which members to list.
#[derive(Debug, Clone)]
pub struct MembersQuery {
    /// The folder.
    pub reference: ArtifactRef,
    /// What their paths begin with.
    pub prefix: String,
    /// What their paths match.
    pub glob: Option<Glob>,
    /// Path after which the page starts.
    pub after: Option<String>,
    /// Most members.
    pub rows: usize,
}

/// Some members of a folder, and where the next ones start.
#[derive(Debug, Clone)]
pub struct MemberPage {
    /// Whose members they are.
    pub artifact: Artifact,
    /// The members, in the order of their paths.
    pub members: Vec<Member>,
    /// Path after which there may be more.
    pub next: Option<String>,
}

impl MembersQuery {
    /// What all paths begin with that can be listed.
    fn whole_prefix(&self) -> Option<&str> {
        let of_glob = self.glob.as_ref().map_or("", Glob::prefix);
        match (self.prefix.as_str(), of_glob) {
            (prefix, glob) if prefix.starts_with(glob) => Some(prefix),
            (prefix, glob) if glob.starts_with(prefix) => Some(glob),
            // Nothing begins with both.
            _ => None,
        }
    }
}

impl Registry {
    /// Lists members of a folder in the order of their paths.
    pub async fn members(&self, caller: &Caller, query: &MembersQuery, include_hidden: bool) -> Result<MemberPage> {
        let reader = self.db.reader();
        let row = self.find(reader, caller, &query.reference, include_hidden).await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        let manifest_id = row.folder()?;
        let artifact = self.to_artifact(row)?;
        let mut listed = MemberPage {
            artifact,
            members: Vec::new(),
            next: None,
        };
        let Some(prefix) = query.whole_prefix() else {
            return Ok(listed);
        };
        let end = Key::prefix_end(prefix);
        let after = query.after.as_deref().filter(|after| *after >= prefix);
        let mut placed = manifests::page_for(reader, manifest_id, after.unwrap_or(prefix)).await?;
        if placed.is_none() {
            placed = manifests::page_after(reader, manifest_id, "").await?;
        }
        for _ in 0..PAGES_SEARCHED_MAX {
            let Some(at) = placed else { return Ok(listed) };
            let page = self.page(reader, &at).await?;
            let page = page.ok_or(RegistryError::ContentChanged(listed.artifact.uid))?;
            for member in page.members_from(after.unwrap_or(prefix)) {
                let path = member.path.as_str();
                if after == Some(path) {
                    continue;
                }
                if end.as_deref().is_some_and(|end| path >= end) {
                    return Ok(listed);
                }
                if !query.glob.as_ref().is_none_or(|glob| glob.matches(path)) {
                    continue;
                }
                if listed.members.len() == query.rows {
                    listed.next = listed.members.last().map(|member| member.path.to_string());
                    return Ok(listed);
                }
                listed.members.push(member.clone());
            }
            listed.next = page.members().last().map(|member| member.path.to_string());
            placed = manifests::page_after(reader, manifest_id, at.reference.first_path.as_str()).await?;
            if placed.as_ref().is_none_or(|next| {
                let first = next.reference.first_path.as_str();
                end.as_deref().is_some_and(|end| first >= end)
            }) {
                listed.next = None;
                return Ok(listed);
            }
        }
        Ok(listed)
    }
}
