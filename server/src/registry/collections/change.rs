//! Making versions of collections, changing and deleting them.

use std::collections::HashMap;

use artifactd_domain::{
    Description, HashType, Label, Sha256, Sha256Hasher, Stem, Uid, VersionNumber, VersionSuffix, version_label,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Appendix, ArtifactCollection, CollectionRef, NewCollection, NewMember, find, impossible};
use crate::{
    db::{
        Batch, DbError, Txn,
        artifacts::{self, ArtifactRow},
        collections::{self, CollectionRow, FamilyRow, HashedMember, NewMember as MemberToWrite},
        scope::Scope,
    },
    registry::{
        Caller, Registry, RegistryError, Result, Thing, draw_stem, events, features::require_entry_etag,
        idempotency::RequestKey, lineage::open_run, now_us,
    },
};

/// Most members of one collection: all of them are written with each version.
const MEMBERS_MAX: i64 = 100_000;

/// Members that are hashed at once.
const HASHED_AT_ONCE: i64 = 10_000;

/// What a call is answered, also when it is repeated.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::registry) struct Answer {
    pub(in crate::registry) row: CollectionRow,
    pub(in crate::registry) created: bool,
}

/// Members by full uid, as far as that is known before the transaction.
pub(in crate::registry) type Named = Vec<(String, bool)>;

impl Registry {
    /// Adds a collection or its next version; answers whether one was added.
    pub async fn create_collection(&self, caller: &Caller, new: NewCollection) -> Result<(ArtifactCollection, bool)> {
        let named = self.named(caller, &new.members).await?;
        let (scope, request, maker) = (caller.scope(), new.request.clone(), caller.clone());
        let answer: Answer = self
            .change_once(caller, request.as_ref(), move |txn| {
                let (caller, new, named) = (maker.clone(), new.clone(), named.clone());
                Box::pin(async move { create(txn, &caller, scope, &new, &named).await })
            })
            .await?;
        Ok((self.to_collection(answer.row)?, answer.created))
    }

    /// Adds a version with more members at its end.
    pub async fn append_to_collection(&self, caller: &Caller, appendix: Appendix) -> Result<ArtifactCollection> {
        let named = self.named(caller, &appendix.members).await?;
        let (scope, request, maker) = (caller.scope(), appendix.request.clone(), caller.clone());
        let row = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, appendix, named) = (maker.clone(), appendix.clone(), named.clone());
            Box::pin(async move { append(txn, &caller, scope, &appendix, &named).await })
        });
        self.to_collection(row.await?)
    }

    /// Gives a version another description, or none.
    pub async fn update_collection(
        &self,
        caller: &Caller,
        reference: CollectionRef,
        description: Option<Description>,
        etag: Option<String>,
        request: Option<RequestKey>,
    ) -> Result<ArtifactCollection> {
        let (scope, changer) = (caller.scope(), caller.clone());
        let row = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, reference, etag) = (changer.clone(), reference.clone(), etag.clone());
            let description = description.clone();
            Box::pin(async move {
                let mut row = locked(txn, scope, &reference, etag.as_deref()).await?;
                row.description = description.map(|text| text.as_str().to_owned());
                row.revision += 1;
                row.updated_at_us = now_us().max(row.updated_at_us);
                collections::update(txn, &row).await?;
                log(txn, &caller, "collection_updated", &row).await?;
                Ok(row)
            })
        });
        self.to_collection(row.await?)
    }

    /// Deletes a version.
    pub async fn delete_collection(
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
                let row = locked(txn, scope, &CollectionRef::Uid(uid), etag.as_deref()).await?;
                collections::delete(txn, row.id).await?;
                if row.is_latest {
                    collections::mark_highest(txn, row.family_id).await?;
                }
                log(txn, &caller, "collection_deleted", &row).await
            })
        })
        .await
    }

    pub(in crate::registry) async fn named(&self, caller: &Caller, members: &[NewMember]) -> Result<Named> {
        let references: Vec<_> = members.iter().map(|member| member.artifact.clone()).collect();
        let uids = self.uids_of(caller, &references).await?;
        Ok(uids
            .into_iter()
            .zip(members.iter().map(|member| member.follow_latest))
            .collect())
    }
}

/// A version of the caller's own space, its family locked.
async fn locked(txn: &Txn, scope: Scope, reference: &CollectionRef, etag: Option<&str>) -> Result<CollectionRow> {
    let found = find(txn, scope, reference).await?;
    collections::lock_family_by_id(txn, found.family_id).await?;
    let row = collections::by_uid(txn, &found.uid).await?;
    let row = row
        .filter(|row| row.space_id == scope.own)
        .ok_or_else(|| missing(reference))?;
    require_entry_etag(Thing::Collection, &row.uid, row.etag(), etag)?;
    Ok(row)
}

fn missing(reference: &CollectionRef) -> RegistryError {
    RegistryError::Missing {
        what: Thing::Collection,
        name: reference.to_string(),
    }
}

/// Members as they are written, and what the digest says of each. They must be outside trash.
async fn members_of(txn: &Txn, caller: &Caller, named: &Named) -> Result<Vec<(MemberToWrite, String)>> {
    let mut distinct: Vec<&str> = named.iter().map(|(uid, _)| uid.as_str()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let rows = artifacts::by_uids(txn, &distinct).await?;
    let rows: HashMap<&str, &ArtifactRow> = rows.iter().map(|row| (row.uid.as_str(), row)).collect();
    let mut members = Vec::with_capacity(named.len());
    for (uid, follows) in named {
        let row = rows.get(uid.as_str()).filter(|row| caller.may_read(row.space_id));
        let row = row.ok_or_else(|| RegistryError::NotFound(uid.clone()))?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(uid.clone()));
        }
        members.push(match follows {
            true => (
                MemberToWrite::Following(row.family_id),
                format!("stem:{}\n", row.uid()?.stem()),
            ),
            false => (MemberToWrite::Pinned(row.id), content_line(row.hash_type, &row.sha256)?),
        });
    }
    Ok(members)
}

fn written(members: &[(MemberToWrite, String)]) -> Vec<MemberToWrite> {
    members.iter().map(|(member, _)| *member).collect()
}

/// Adds a collection or its next version.
pub(in crate::registry) async fn create(
    txn: &Txn,
    caller: &Caller,
    scope: Scope,
    new: &NewCollection,
    named: &Named,
) -> Result<Answer> {
    let family = collections::lock_family(txn, scope.own, new.key.as_str()).await?;
    let latest = match &family {
        None => None,
        Some(family) => collections::latest_of_stem(txn, &family.stem).await?,
    };
    let members = members_of(txn, caller, named).await?;
    let mut hasher = Sha256Hasher::default();
    for (_, line) in &members {
        hasher.update(line.as_bytes());
    }
    let sha256 = hasher.finish().as_bytes().to_vec();
    let n_members = members.len() as i64;
    if let Some(row) = &latest
        && row.sha256 == sha256
        && row.n_members == n_members
        && new
            .version
            .as_ref()
            .is_none_or(|label| label.as_str() == row.version_label)
    {
        let (row, created) = (row.clone(), false);
        return Ok(Answer { row, created });
    }
    let description = new.description.as_ref().map(|text| text.as_str().to_owned());
    let begun = Begun {
        scope,
        key: new.key.to_string(),
        description: description.or_else(|| latest.and_then(|row| row.description)),
        sha256,
        n_members,
    };
    let row = next_version(txn, caller, begun, family, new.version.clone()).await?;
    collections::add_members(txn, row.id, 0, &written(&members)).await?;
    log(txn, caller, "collection_created", &row).await?;
    let created = true;
    Ok(Answer { row, created })
}

/// Adds a version with more members at its end.
pub(in crate::registry) async fn append(
    txn: &Txn,
    caller: &Caller,
    scope: Scope,
    appendix: &Appendix,
    named: &Named,
) -> Result<CollectionRow> {
    let found = find(txn, scope, &appendix.collection).await?;
    let family = collections::lock_family_by_id(txn, found.family_id).await?;
    let family = family.ok_or_else(|| missing(&appendix.collection))?;
    let latest = collections::latest_of_stem(txn, &family.stem).await?;
    let latest = latest.filter(|row| row.space_id == scope.own);
    let latest = latest.ok_or_else(|| missing(&appendix.collection))?;
    require_entry_etag(Thing::Collection, &latest.uid, latest.etag(), appendix.etag.as_deref())?;
    let members = members_of(txn, caller, named).await?;
    let n_members = latest.n_members + members.len() as i64;
    if n_members > MEMBERS_MAX {
        let rule = format!("would make {n_members}; a collection has at most {MEMBERS_MAX}");
        return Err(RegistryError::other("members", rule));
    }
    let mut hasher = Sha256Hasher::default();
    hash_members(txn, latest.id, &mut hasher).await?;
    for (_, line) in &members {
        hasher.update(line.as_bytes());
    }
    let begun = Begun {
        scope,
        key: latest.key,
        description: latest.description,
        sha256: hasher.finish().as_bytes().to_vec(),
        n_members,
    };
    let row = next_version(txn, caller, begun, Some(family), appendix.version.clone()).await?;
    collections::copy_members(txn, latest.id, row.id).await?;
    collections::add_members(txn, row.id, latest.n_members, &written(&members)).await?;
    log(txn, caller, "collection_created", &row).await?;
    Ok(row)
}

/// What a version that is about to be made says.
struct Begun {
    scope: Scope,
    key: String,
    description: Option<String>,
    sha256: Vec<u8>,
    n_members: i64,
}

/// Issues the next version of a locked family, or the first of a new one, without members.
async fn next_version(
    txn: &Txn,
    caller: &Caller,
    begun: Begun,
    family: Option<FamilyRow>,
    wish: Option<Label>,
) -> Result<CollectionRow> {
    let Begun {
        scope,
        key,
        description,
        sha256,
        n_members,
    } = begun;
    let run = open_run(txn, caller).await?;
    let now = now_us();
    let (stem, number, suffix): (Stem, _, _) = match &family {
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
    let taken = match (&family, &wish) {
        (Some(family), Some(_)) => collections::labels_of(txn, family.id).await?,
        _ => Vec::new(),
    };
    let taken = taken.iter().filter_map(|label| label.parse().ok()).collect();
    let label = version_label(number, &taken, wish).map_err(|error| match error {
        artifactd_domain::LabelRefused::Taken { wish } => RegistryError::VersionTaken(wish),
        other => RegistryError::field("version", other),
    })?;
    let next_number = i32::try_from(number.next().get()).expect("version numbers fit");
    let next = (
        next_number,
        suffix.successor().map(|suffix: VersionSuffix| suffix.to_string()),
    );
    let family_id = match &family {
        None => collections::insert_family(txn, stem.as_str(), scope.own, &key, next, now).await?,
        Some(family) => {
            collections::advance_family(txn, family.id, next).await?;
            family.id
        }
    };
    let mut row = CollectionRow {
        id: 0,
        uid: Uid::new(stem, suffix).to_string(),
        family_id,
        space_id: scope.own,
        key,
        version_number: i32::try_from(number.get()).expect("version numbers fit"),
        version_label: label.to_string(),
        is_latest: true,
        description,
        sha256,
        n_members,
        run_id: run.as_ref().map(|run| run.id),
        run_uid: run.map(|run| run.uid),
        revision: 1,
        created_by: caller.principal.id,
        created_at_us: now,
        updated_at_us: now,
    };
    row.id = collections::insert(txn, &row).await?;
    Ok(row)
}

/// Goes on with a digest over the members of a version as they are now.
async fn hash_members(txn: &Txn, collection_id: i64, hasher: &mut Sha256Hasher) -> Result<()> {
    let mut from = 0;
    loop {
        let members = collections::hashed_members(txn, collection_id, from, HASHED_AT_ONCE).await?;
        for member in &members {
            hasher.update(line(member)?.as_bytes());
        }
        match members.last() {
            Some(last) if members.len() as i64 == HASHED_AT_ONCE => from = last.place + 1,
            _ => return Ok(()),
        }
    }
}

/// What the digest says of a member.
fn line(member: &HashedMember) -> Result<String> {
    let HashedMember {
        place: _,
        hash_type,
        sha256,
        stem,
        lost_uid,
    } = member;
    match (hash_type, sha256, stem, lost_uid) {
        (Some(hash_type), Some(sha256), _, _) => content_line(*hash_type, sha256),
        (_, _, Some(stem), _) => Ok(format!("stem:{stem}\n")),
        (_, _, None, Some(uid)) => Ok(format!("lost:{uid}\n")),
        _ => Err(DbError::Row {
            table: "collection_members",
            column: "artifact_id",
        }
        .into()),
    }
}

fn content_line(hash_type: i16, sha256: &[u8]) -> Result<String> {
    let name = match HashType::from_code(hash_type) {
        Some(HashType::Sha256) => "sha256",
        Some(HashType::Sha256Manifest) => "sha256-manifest",
        None => return Err(impossible("hash_type").into()),
    };
    let digest = <[u8; 32]>::try_from(sha256).map_err(|_| impossible("sha256"))?;
    Ok(format!("{name}:{}\n", Sha256::from_bytes(digest)))
}

async fn log(txn: &Txn, caller: &Caller, kind: &'static str, row: &CollectionRow) -> Result<()> {
    let mut batch = Batch::new(txn);
    let detail = json!({ "key": row.key, "version": row.version_label, "n_members": row.n_members });
    events::record_of(&mut batch, caller, kind, format!("collection/{}", row.uid), detail);
    Ok(batch.run(txn).await?)
}
