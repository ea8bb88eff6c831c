//! Ordered sets of artifacts, versioned by their key.

mod change;
mod read;

use std::collections::HashMap;

use artifactd_domain::{ArtifactRef, Description, Key, Label, Sha256, Stem, Uid};

pub(super) use change::{Answer, Named, append, create};
pub use read::{CollectionPiece, CollectionStart, CollectionToRead};

use super::{
    Artifact, Caller, Registry, RegistryError, Result, Thing,
    features::{entry_etag, own_first, range_of},
    idempotency::RequestKey,
};
use crate::db::{
    Connection, DbError, artifacts,
    artifacts::ArtifactRow,
    collections::{self, CollectionPage, CollectionRow, MemberRow},
    scope::Scope,
};

/// One version of an ordered set of artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactCollection {
    /// Identifier.
    pub uid: Uid,
    /// Its name.
    pub key: String,
    /// Label of the version.
    pub version: String,
    /// Number of the version.
    pub version_number: i32,
    /// Whether it is the highest.
    pub is_latest: bool,
    /// Free text.
    pub description: Option<String>,
    /// Digest over its members.
    pub sha256: Sha256,
    /// Number of members.
    pub n_members: i64,
    /// The run that made it.
    pub run_uid: Option<String>,
    /// Name of its space.
    pub space: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made, in microseconds since 1970 UTC.
    pub created_at_us: i64,
    /// When its record last changed, in microseconds since 1970 UTC.
    pub updated_at_us: i64,
    /// Its entity tag.
    pub etag: String,
}

/// How a collection is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectionRef {
    /// One version.
    Uid(Uid),
    /// The latest of a family.
    Stem(Stem),
    /// By key: a version, or the latest.
    Key(Key, Option<Label>),
}

impl std::fmt::Display for CollectionRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::Stem(stem) => stem.fmt(f),
            Self::Key(key, None) => key.fmt(f),
            Self::Key(key, Some(version)) => write!(f, "{key}@@{version}"),
        }
    }
}

/// A member to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// The artifact.
    pub artifact: ArtifactRef,
    /// Whether the latest version of its family is meant.
    pub follow_latest: bool,
}

/// What to add.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Its name.
    pub key: Key,
    /// Free text.
    pub description: Option<Description>,
    /// Its members.
    pub members: Vec<NewMember>,
    /// Label of the version.
    pub version: Option<Label>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// What to append.
#[derive(Debug, Clone)]
pub struct Appendix {
    /// The collection.
    pub collection: CollectionRef,
    /// More members.
    pub members: Vec<NewMember>,
    /// Label of the version.
    pub version: Option<Label>,
    /// Etag that the latest version must have.
    pub etag: Option<String>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// Which collections to list.
#[derive(Debug, Clone, Default)]
pub struct CollectionsQuery {
    /// What their keys begin with.
    pub prefix: String,
    /// Whether older versions are listed too.
    pub all_versions: bool,
    /// An artifact that is a member.
    pub member: Option<ArtifactRef>,
    /// Place after which the page starts.
    pub after: Option<(String, i32, i64)>,
    /// Most records.
    pub rows: u64,
}

/// A member.
#[derive(Debug, Clone)]
pub struct CollectionMember {
    /// Its place.
    pub place: i64,
    /// Whether it follows the latest version of its family.
    pub follows_latest: bool,
    /// The artifact, while there is one.
    pub artifact: Option<Artifact>,
    /// Uid of what is pinned, or stem of what is followed.
    pub uid_or_stem: String,
}

impl CollectionRow {
    fn etag(&self) -> String {
        entry_etag(self.revision, &self.uid)
    }
}

fn impossible(column: &'static str) -> DbError {
    let table = "collections";
    DbError::Row { table, column }
}

impl Registry {
    /// Finds a collection.
    pub async fn collection(&self, caller: &Caller, reference: &CollectionRef) -> Result<ArtifactCollection> {
        self.to_collection(find(self.db.reader(), caller.scope(), reference).await?)
    }

    /// Lists collections, and the place of the last one when there are more.
    pub async fn collections(
        &self,
        caller: &Caller,
        query: CollectionsQuery,
    ) -> Result<(Vec<ArtifactCollection>, Option<(String, i32, i64)>)> {
        let (conn, most) = (self.db.reader(), query.rows);
        let member = match &query.member {
            None => None,
            Some(reference) => {
                let row = self.find(conn, caller, reference, true).await?;
                Some((row.id, row.family_id))
            }
        };
        let page = CollectionPage {
            prefix: range_of(&query.prefix),
            all_versions: query.all_versions,
            member,
            after: query.after,
            rows: most + 1,
        };
        let mut rows = collections::page(conn, caller.scope(), page).await?;
        let more = rows.len() as u64 > most;
        rows.truncate(most as usize);
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| (row.key.clone(), row.version_number, row.id));
        let found = rows.into_iter().map(|row| self.to_collection(row));
        Ok((found.collect::<Result<_>>()?, next))
    }

    /// Lists members of a collection from a place on, and the place of the next one when there are more.
    pub async fn collection_members(
        &self,
        caller: &Caller,
        reference: &CollectionRef,
        from: i64,
        most: u64,
    ) -> Result<(Uid, Vec<CollectionMember>, Option<i64>)> {
        let conn = self.db.reader();
        let row = find(conn, caller.scope(), reference).await?;
        let mut members = collections::members(conn, row.id, from, most + 1).await?;
        let next = members.get(most as usize).map(|member| member.place);
        members.truncate(most as usize);
        let members = self.resolved(conn, caller, members).await?;
        let members = members.into_iter().map(|(member, row)| self.to_member(member, row));
        let uid = row.uid.parse().map_err(|_| impossible("uid"))?;
        Ok((uid, members.collect::<Result<_>>()?, next))
    }

    /// Members with their artifacts: two queries, however many there are.
    async fn resolved(
        &self,
        conn: &impl Connection,
        caller: &Caller,
        members: Vec<MemberRow>,
    ) -> Result<Vec<(MemberRow, Option<ArtifactRow>)>> {
        let pinned: Vec<i64> = members.iter().filter_map(|member| member.artifact_id).collect();
        let followed: Vec<i64> = members.iter().filter_map(|member| member.family_id).collect();
        let mut by_id: HashMap<i64, ArtifactRow> = HashMap::new();
        for row in artifacts::by_ids(conn, &pinned).await? {
            by_id.insert(row.id, row);
        }
        let mut by_family: HashMap<i64, ArtifactRow> = HashMap::new();
        for row in artifacts::latest_of_families(conn, &followed).await? {
            by_family.insert(row.family_id, row);
        }
        let resolved = members.into_iter().map(|member| {
            let row = match (member.artifact_id, member.family_id) {
                (Some(id), _) => by_id.get(&id),
                (None, Some(id)) => by_family.get(&id),
                (None, None) => None,
            };
            let row = row.filter(|row| caller.may_read(row.space_id)).cloned();
            (member, row)
        });
        Ok(resolved.collect())
    }

    fn to_member(&self, member: MemberRow, row: Option<ArtifactRow>) -> Result<CollectionMember> {
        let artifact = row.map(|row| self.to_artifact(row)).transpose()?;
        let uid = artifact.as_ref().map(|artifact| artifact.uid.to_string());
        Ok(CollectionMember {
            place: member.place,
            follows_latest: member.family_id.is_some(),
            uid_or_stem: member.stem.or(member.lost_uid).or(uid).unwrap_or_default(),
            artifact,
        })
    }

    pub(super) fn to_collection(&self, row: CollectionRow) -> Result<ArtifactCollection> {
        Ok(ArtifactCollection {
            uid: row.uid.parse().map_err(|_| impossible("uid"))?,
            sha256: match <[u8; 32]>::try_from(row.sha256.as_slice()) {
                Ok(digest) => Sha256::from_bytes(digest),
                Err(_) => return Err(impossible("sha256").into()),
            },
            etag: row.etag(),
            space: self.places.space(row.space_id)?.name.clone(),
            created_by: self.places.principal_name(row.created_by)?.to_owned(),
            key: row.key,
            version: row.version_label,
            version_number: row.version_number,
            is_latest: row.is_latest,
            description: row.description,
            n_members: row.n_members,
            run_uid: row.run_uid,
            created_at_us: row.created_at_us,
            updated_at_us: row.updated_at_us,
        })
    }
}

/// The row that a reference names.
pub(super) async fn find(conn: &impl Connection, scope: Scope, reference: &CollectionRef) -> Result<CollectionRow> {
    let found = match reference {
        CollectionRef::Uid(uid) => collections::by_uid(conn, uid.as_str()).await?,
        CollectionRef::Stem(stem) => collections::latest_of_stem(conn, stem.as_str()).await?,
        CollectionRef::Key(key, None) => {
            let rows = collections::latest_of_key(conn, scope, key.as_str()).await?;
            own_first(rows, scope, |row| row.space_id)
        }
        CollectionRef::Key(key, Some(label)) => {
            let number = label.as_str().parse().ok().filter(|_| label.is_numeric());
            let rows = collections::version_of_key(conn, scope, key.as_str(), label.as_str(), number).await?;
            own_first(rows, scope, |row| row.space_id)
        }
    };
    found
        .filter(|row| scope.sees(row.space_id))
        .ok_or_else(|| RegistryError::Missing {
            what: Thing::Collection,
            name: reference.to_string(),
        })
}
