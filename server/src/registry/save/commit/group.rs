//! Saves of a batch that begin families, written together.
//!
//! Content that the storage holds becomes the first version under a key that nobody has:
//! the saves beside such a one change nothing about that. So what they have to know is
//! looked up for all of them at once, and their rows are written many in a statement.
//! Every other save takes the way of a single one, after those before it were written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    mem,
};

use artifactd_domain::{Key, SaveOutcome, Sha256};

use super::{Answer, Commit, NewContent, Run, SAME_CONTENT_NAMED_MAX};
use crate::{
    db::{
        self, DbError, Insert, Txn, WriteError,
        artifacts::{self, ObjectName},
        blobs, events, families,
        feature_sets::link_all,
        runs::OpenRun,
        tables::{self, StoredTable},
    },
    registry::{
        Result,
        events::of_artifact,
        feature_sets::sets_of,
        idempotency::Repeatable,
        lineage::open_run,
        looking::Facts,
        now_us,
        placing::integer,
        versions::{self, NextVersion},
    },
};

/// Saves for which looking ahead pays.
const GROUP_MIN: usize = 2;

/// Runs the saves of a batch in this order; a refused one stops no other, and leaves nothing.
pub(in crate::registry) async fn run_all(txn: &Txn, commits: &[(usize, &Commit)]) -> Result<Vec<(usize, Result<Run>)>> {
    let mut sight = Sight::ahead(txn, commits).await?;
    let (mut runs, mut group) = (Vec::with_capacity(commits.len()), Vec::new());
    for (number, commit) in commits {
        if let Some(first) = sight.first_version(*number, commit) {
            group.push(first);
            continue;
        }
        runs.extend(sight.write(txn, mem::take(&mut group)).await?);
        match commit.run_beside_others(txn).await {
            Err(error) if error.as_db().is_some() => return Err(error),
            run => {
                sight.saw(commit, &run);
                runs.push((*number, run));
            }
        }
    }
    runs.extend(sight.write(txn, group).await?);
    Ok(runs)
}

impl Commit {
    async fn run_beside_others(&self, txn: &Txn) -> Result<Run> {
        match self.new.annotations.are_none() {
            true => self.run(txn).await,
            // What is said of an artifact is checked when its row is there.
            false => txn.part(self.run(txn)).await,
        }
    }

    /// Its key and its content, where nothing else of it has to be decided.
    fn plain(&self) -> Option<(&str, Identity)> {
        let new = &*self.new;
        if new.revises.is_some() || new.schema.is_some() || !new.annotations.are_none() {
            return None;
        }
        let content = match &*self.content {
            NewContent::Packed { digest, .. } => (digest.sha256, digest.size_bytes),
            NewContent::Claimed { sha256, size_bytes } if self.caller.may_read(self.space_id) => {
                (*sha256, (*size_bytes)?)
            }
            _ => return None,
        };
        Some((new.key.as_ref().map(Key::as_str)?, content))
    }
}

/// What tells contents apart.
type Identity = (Sha256, u64);

/// What was looked up for the saves of a batch.
#[derive(Default)]
struct Sight<'c> {
    /// By the ids of storages.
    places: HashMap<i64, Place<'c>>,
    /// The run of the call.
    run: Option<OpenRun>,
    /// Ids of the requests of saves that wait to be written.
    requests: HashSet<&'c str>,
    /// What was found in contents, as it is written.
    found: Vec<Known>,
}

/// What was found in some content, as the record says it.
struct Known {
    found: Facts,
    sets: Vec<(&'static str, i64)>,
    table: Option<StoredTable>,
}

/// A storage.
#[derive(Default)]
struct Place<'c> {
    /// Keys that no family has, and that lie in no folder.
    free: HashSet<&'c str>,
    held: HashMap<Identity, Held>,
}

/// Content that a storage holds.
struct Held {
    blob_id: i64,
    object: ObjectName,
    /// Uids of the artifacts that have it, newest first, or the first of them.
    uids: VecDeque<String>,
}

/// A first version that is to be written.
struct First<'c> {
    number: usize,
    commit: &'c Commit,
    version: NextVersion,
    family: Insert,
    size_bytes: i64,
    blob_id: i64,
    object: ObjectName,
    same_content_uids: Vec<String>,
}

impl<'c> Sight<'c> {
    async fn ahead(txn: &Txn, commits: &[(usize, &'c Commit)]) -> Result<Self> {
        let mut plain: BTreeMap<i64, Vec<(&'c str, Identity)>> = BTreeMap::new();
        for (_, commit) in commits {
            plain.entry(commit.storage_id).or_default().extend(commit.plain());
        }
        let Some((_, first)) = commits
            .first()
            .filter(|_| plain.values().map(Vec::len).sum::<usize>() >= GROUP_MIN)
        else {
            return Ok(Self::default());
        };
        let run = match open_run(txn, &first.caller).await {
            Err(error) if error.as_db().is_none() => return Ok(Self::default()),
            run => run?,
        };
        let mut places = HashMap::with_capacity(plain.len());
        for (storage_id, plain) in plain {
            let place = Place::ahead(txn, storage_id, first.caller.space_id, &plain).await?;
            places.insert(storage_id, place);
        }
        Ok(Self {
            places,
            run,
            ..Self::default()
        })
    }

    /// The first version that a save makes, unless there is more to decide.
    fn first_version(&mut self, number: usize, commit: &'c Commit) -> Option<First<'c>> {
        let (key, (sha256, size)) = commit.plain()?;
        let place = self.places.get_mut(&commit.storage_id)?;
        let held = place.held.get_mut(&(sha256, size))?;
        let size_bytes = i64::try_from(size).ok()?;
        if let Some(repeatable) = &commit.repeatable
            && (self.requests.contains(repeatable.id()) || !repeatable.is_first_try())
        {
            return None;
        }
        if !place.free.remove(key) {
            return None;
        }
        let ids = (commit.caller.space_id, commit.storage_id);
        // Whose label is refused learns so in its own way.
        let wish = commit.new.version.clone();
        let key = Some(key.to_owned());
        let (version, family) = versions::begin_family(commit.stem, ids, key, wish, now_us()).ok()?;
        let same = held.uids.iter().take(SAME_CONTENT_NAMED_MAX as usize);
        let same_content_uids = same.cloned().collect();
        held.remember(version.uid.to_string(), size);
        self.requests.extend(commit.repeatable.as_ref().map(Repeatable::id));
        Some(First {
            number,
            commit,
            version,
            family,
            size_bytes,
            blob_id: held.blob_id,
            object: held.object.clone(),
            same_content_uids,
        })
    }

    /// Keeps what is known true after a save that went its own way.
    fn saw(&mut self, commit: &Commit, run: &Result<Run>) {
        let Some(place) = self.places.get_mut(&commit.storage_id) else {
            return;
        };
        if let Some(key) = &commit.new.key {
            place.free.remove(key.as_str());
        }
        if let Ok(Run::Done { answer, .. }) = run
            && answer.outcome != SaveOutcome::Existing.as_str()
            && let Ok(size) = u64::try_from(answer.row.size_bytes)
            && let Some(held) = place.held.get_mut(&(commit.sha256(), size))
        {
            held.remember(answer.uid().to_owned(), size);
        }
    }

    /// Writes first versions.
    async fn write(&mut self, txn: &Txn, group: Vec<First<'c>>) -> Result<Vec<(usize, Result<Run>)>> {
        self.requests.clear();
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let rows = group.iter().map(|first| first.family.clone()).collect();
        let families = families::insert_all(txn, rows).await?;
        let (mut rows, mut saves) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        let now = now_us();
        for first in group {
            let stem = first.version.uid.stem();
            let family_id = families.get(stem.as_str()).ok_or(DbError::Row {
                table: "families",
                column: "stem",
            })?;
            let commit = first.commit;
            let version = (first.version, &commit.suffix);
            let row = commit.row(version, None, first.size_bytes, self.run.clone(), now);
            rows.push((row, *family_id, first.blob_id, first.object));
            saves.push((first.number, commit, first.same_content_uids));
        }
        let rows = artifacts::insert_all(txn, rows).await?;
        let (mut links, mut found, mut log, mut requests) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut runs = Vec::with_capacity(rows.len());
        for ((number, commit, same_content_uids), row) in saves.into_iter().zip(rows) {
            let known = self.known(txn, commit).await?;
            links.extend(known.sets.iter().map(|(slot, set)| (row.id, *slot, *set)));
            found.extend(known.table.as_ref().map(|table| tables::insert(row.id, table)));
            let detail = commit.detail(SaveOutcome::Created, &row);
            log.push(of_artifact(&commit.caller, "saved", &row.uid, detail));
            let answer = Answer {
                row,
                outcome: SaveOutcome::Created.as_str().to_owned(),
                not_applied: Vec::new(),
                same_content_uids,
            };
            let asked = Some(commit.asked());
            let repeatable = commit.repeatable.as_ref();
            requests.extend(repeatable.map(|repeatable| repeatable.row(&commit.caller, &answer, asked)));
            let answer = Box::new(answer);
            let object_used = false;
            runs.push((number, Ok(Run::Done { answer, object_used })));
        }
        link_all(txn, &links).await?;
        db::insert_all(txn, found).await?;
        events::insert_all(txn, &log).await?;
        db::insert_all(txn, requests).await?;
        Ok(runs)
    }

    /// What is written of what was found in the content of a save: made once for all saves
    /// that found the same.
    async fn known(&mut self, txn: &Txn, commit: &Commit) -> Result<&Known> {
        let known = self.found.iter().position(|known| known.found.are(&commit.found));
        let known = match known {
            Some(known) => known,
            None => {
                let found = commit.found.clone();
                let sets = match found.slots().is_empty() {
                    true => Vec::new(),
                    false => sets_of(txn, &commit.caller, &found).await?,
                };
                let table = found.stored_table();
                self.found.push(Known { found, sets, table });
                self.found.len() - 1
            }
        };
        Ok(&self.found[known])
    }
}

impl<'c> Place<'c> {
    async fn ahead(txn: &Txn, storage_id: i64, space_id: i64, plain: &[(&'c str, Identity)]) -> Result<Self> {
        let keys: BTreeSet<&str> = plain.iter().map(|(key, _)| *key).collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let live = families::live_keys(txn, storage_id, &keys).await?;
        let keys: Vec<&str> = keys.into_iter().filter(|key| !live.contains(*key)).collect();
        let below = versions::below_folders(txn, storage_id, &keys).await?;
        let free = keys.into_iter().filter(|key| !below.contains(key)).collect();
        let asked: HashSet<Identity> = plain.iter().map(|(_, content)| *content).collect();
        let digests: HashSet<Sha256> = asked.iter().map(|(sha256, _)| *sha256).collect();
        let digests: Vec<Sha256> = digests.into_iter().collect();
        let mut held = HashMap::with_capacity(asked.len());
        for blob in blobs::sound(txn, storage_id, &digests).await? {
            let content = <[u8; 32]>::try_from(blob.sha256.as_slice())
                .map(|sha256| (Sha256::from_bytes(sha256), blob.size_bytes.unsigned_abs()));
            let Some(content) = content.ok().filter(|content| asked.contains(content)) else {
                continue;
            };
            let held_here = Held {
                blob_id: blob.id,
                object: ObjectName {
                    name: blob.object_name,
                    is_pack: blob.object_is_pack,
                },
                uids: VecDeque::new(),
            };
            held.insert(content, held_here);
        }
        // Of empty content nobody is told.
        let told: Vec<(Sha256, i64)> = held
            .keys()
            .filter(|(_, size)| *size > 0)
            .map(|(sha256, size)| Ok((*sha256, integer(*size)?)))
            .collect::<Result<_>>()?;
        let uids = artifacts::uids_with_contents(txn, space_id, &told, SAME_CONTENT_NAMED_MAX).await?;
        for ((sha256, size), uids) in told.into_iter().zip(uids) {
            if let Some(held) = held.get_mut(&(sha256, size.unsigned_abs())) {
                held.uids = uids.into();
            }
        }
        Ok(Self { free, held })
    }
}

impl Held {
    /// One more artifact has it; of empty content nobody is told.
    fn remember(&mut self, uid: String, size: u64) {
        if size > 0 {
            self.uids.push_front(uid);
            self.uids.truncate(SAME_CONTENT_NAMED_MAX as usize);
        }
    }
}
