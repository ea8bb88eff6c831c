//! A worker, and what it does with its keys.

use std::{fmt, time::Duration};

use artifactd_proto::v1::{self as pb, ErrorReason};
use tokio::time::timeout;

use super::model::{Act, Kind, State, after, choose, digest_at, folder, pooled};
use crate::{
    Calls, Failure, Outcome,
    calls::{by_key, by_stem, by_uid, keyed},
    content::Random,
    folders::{self, Files, FolderCall},
};

const FILES_PER_WORKER: usize = 4;
const FOLDERS_PER_WORKER: usize = 2;

/// So small that some contents have several parts; a bucket makes them larger.
const PART_BYTES: i64 = 512 << 10;

/// How long a call waits for a server that lives for less than a second.
///
/// The HTTP library can lose a request that meets the end of its connection
/// (hyperium/hyper#4122): it is neither sent nor failed. Such a call is cut, too.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(60);

/// How often something is tried that was refused for now.
const TRIES_MAX: usize = 100;

#[derive(Debug, Clone)]
struct Pending {
    act: Act,
    request_id: String,
}

#[derive(Debug)]
struct Slot {
    kind: Kind,
    key: String,
    stem: Option<String>,
    state: State,
    pending: Option<Pending>,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) acknowledged: usize,
    pub(super) cut: usize,
    random: Random,
    slots: Vec<Slot>,
    calls_made: usize,
}

impl Worker {
    pub(super) fn new(number: usize, seed: u64) -> Self {
        let slot = |kind, name: String| Slot {
            kind,
            key: format!("worker-{number}/{name}"),
            stem: None,
            state: State::Empty,
            pending: None,
        };
        let files = (0..FILES_PER_WORKER).map(|file| slot(Kind::File, format!("slot-{file}.bin")));
        let folders = (0..FOLDERS_PER_WORKER).map(|folder| slot(Kind::Folder, format!("folder-{folder}")));
        Self {
            number,
            acknowledged: 0,
            cut: 0,
            random: Random::new(seed),
            slots: files.chain(folders).collect(),
            calls_made: 0,
        }
    }

    /// Works until a call is cut.
    pub(super) async fn work(mut self, calls: Calls) -> Self {
        loop {
            let at = self.random.below(self.slots.len());
            let slot = &mut self.slots[at];
            let act = choose(&mut self.random, slot.kind, &slot.state);
            self.calls_made += 1;
            let request_id = format!("{}-{}", slot.key, self.calls_made);
            slot.pending = Some(Pending { act, request_id });
            match timeout(LOST_AFTER, slot.send(&calls)).await {
                Ok(Ok(())) => self.acknowledged += 1,
                Ok(Err(failure)) => {
                    assert!(failure.is_cut(), "{slot:?}: {failure}");
                    break;
                }
                Err(_) => break,
            }
        }
        self.cut += 1;
        self
    }

    pub(super) async fn settle(&mut self, calls: &Calls, seed: u64, round: usize) {
        for slot in &mut self.slots {
            if slot.pending.is_some() {
                slot.assert_before_or_after(calls).await;
                let retried = slot.send(calls).await;
                assert!(
                    retried.is_ok(),
                    "seed {seed}, round {round}: retry of {slot:?}: {retried:?}"
                );
            }
            if let Err(fault) = slot.compare(&slot.state, calls).await {
                panic!("seed {seed}, round {round}: {slot:?}: {fault}");
            }
        }
    }
}

/// Whether a call that failed so may go through by itself: it is refused for now, or what it
/// stored or began was taken for garbage before its record was made, there being no grace; or what it
/// reads moved twice while it read; or another stream, which a kill has cut, still seems to
/// be at it. What lasts is found in the end.
fn passes(failure: &Failure) -> bool {
    let reasons = [
        ErrorReason::ContentNotHeld,
        ErrorReason::UploadNotFound,
        ErrorReason::ContentCorrupt,
        ErrorReason::OffsetMismatch,
        ErrorReason::UploadFenced,
        ErrorReason::UploadIncomplete,
        ErrorReason::Conflict,
    ];
    failure.says_when_to_retry || failure.reason.is_some_and(|reason| reasons.contains(&reason))
}

impl Slot {
    /// Sends what is pending until it is answered; then the state is the one after.
    async fn send(&mut self, calls: &Calls) -> Outcome<()> {
        let Some(pending) = self.pending.clone() else {
            return Ok(());
        };
        let mut tries = 0;
        while let Err(failure) = self.act(&pending, calls).await {
            tries += 1;
            if !passes(&failure) || tries == TRIES_MAX {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.state = after(&self.state, pending.act);
        self.pending = None;
        Ok(())
    }

    async fn act(&mut self, pending: &Pending, calls: &Calls) -> Outcome<()> {
        let request_id = Some(pending.request_id.clone());
        let stem = self.stem.clone().unwrap_or_default();
        let header = pb::SaveHeader {
            request_id: request_id.clone(),
            ..keyed(&self.key)
        };
        let answer = match pending.act {
            Act::Save(number) if self.kind == Kind::Folder => {
                let header = pb::SaveFolderHeader {
                    save: Some(header),
                    base_uid: None,
                    ..Default::default()
                };
                calls.save_folder(header, folder(number)).await?
            }
            Act::Save(number) => calls.save(header, &pooled(number)).await?,
            Act::Upload(number) => calls.save_in_parts(header, &pooled(number), PART_BYTES).await?,
            Act::UploadAtOnce(number) => calls.save_in_parts_at_once(header, &pooled(number), PART_BYTES).await?,
            Act::Change(number) => self.change(calls, header, number).await?,
            other => return self.act_on_record(calls, other, (request_id, stem)).await,
        };
        self.stem = Some(crate::calls::saved(answer).stem);
        Ok(())
    }

    /// A folder by what differs from the version before. The base is that of the first try.
    async fn change(&self, calls: &Calls, header: pb::SaveHeader, number: usize) -> Outcome<pb::SaveArtifactResponse> {
        let State::Live(versions) = &self.state else {
            panic!("{self:?} has nothing to change")
        };
        let stem = self.stem.clone().unwrap_or_default();
        let family = calls.family(by_stem(&stem)).await?;
        let base = family
            .iter()
            .find(|version| version.version_number as usize == versions.len())
            .unwrap_or_else(|| panic!("{self:?} has no such version in {family:?}"));
        let (before, wanted) = (folder(*versions.last().expect("it lives")), folder(number));
        let mut header = pb::SaveFolderHeader {
            save: Some(header),
            base_uid: Some(base.uid.clone()),
            ..Default::default()
        };
        let edits = edits(before, wanted);
        if edits.is_empty() {
            header.base_uid = None;
            return calls.save_folder(header, wanted).await;
        }
        let mut call = FolderCall::open(calls).await?;
        if let Some(saved) = call.header(header).await? {
            return Ok(saved);
        }
        let contents: Vec<_> = edits.iter().map(|edit| wanted.get(&edit.path).cloned()).collect();
        for number in call.list(edits).await? {
            let content = contents[number as usize].as_ref().expect("only files are wanted");
            call.put_any(number, content).await??;
        }
        call.commit().await
    }

    async fn act_on_record(
        &self,
        calls: &Calls,
        act: Act,
        (request_id, stem): (Option<String>, String),
    ) -> Outcome<()> {
        let artifact = Some(by_stem(&stem));
        let deletion = pb::DeleteArtifactRequest {
            request_id: request_id.clone(),
            artifact: artifact.clone(),
            ..Default::default()
        };
        match act {
            Act::Replace(number) => {
                let header = pb::ReplaceHeader {
                    request_id,
                    artifact: Some(by_key(&self.key)),
                    ..Default::default()
                };
                calls.replace(header, &pooled(number)).await.map(drop)
            }
            Act::Read => match self.compare(&self.state, calls).await {
                Ok(()) => Ok(()),
                Err(Fault::Failed(failure)) => Err(*failure),
                Err(fault) => panic!("{self:?}: {fault}"),
            },
            Act::Trash => calls.delete(deletion).await.map(drop),
            Act::Restore => {
                let request = pb::RestoreArtifactRequest {
                    request_id,
                    artifact,
                    ..Default::default()
                };
                calls.restore_raw(request).await.map(drop)
            }
            Act::Destroy => {
                let destruction = pb::DeleteArtifactRequest {
                    permanent: true,
                    ..deletion
                };
                calls.delete(destruction).await.map(drop)
            }
            act => panic!("{act:?} makes a record"),
        }
    }

    async fn assert_before_or_after(&self, calls: &Calls) {
        let Some(pending) = &self.pending else { return };
        let before = self.compare(&self.state, calls).await;
        let after = self.compare(&after(&self.state, pending.act), calls).await;
        if let (Err(before), Err(after)) = (before, after) {
            panic!("{self:?}: not before ({before}) and not after ({after})");
        }
    }

    /// Compares what the server has with what a state says.
    async fn compare(&self, state: &State, calls: &Calls) -> Result<(), Fault> {
        let found = calls.get(by_key(&self.key)).await;
        let State::Live(versions) = state else {
            return match found {
                Err(failure) if failure.reason == Some(ErrorReason::ArtifactNotFound) => Ok(()),
                Err(failure) => Err(failure.into()),
                Ok(found) => Err(Fault::Other(format!("found {found:?}"))),
            };
        };
        let head = found?;
        let hashes: Vec<&str> = versions.iter().map(|number| digest_at(self.kind, *number)).collect();
        if Some(&head.hash.as_str()) != hashes.last() || head.version_number as usize != versions.len() {
            return Err(Fault::Other(format!("the head is {head:?}")));
        }
        self.compare_bytes(&head.uid, *versions.last().expect("it lives"), calls)
            .await?;
        let family = calls.family(by_stem(&head.stem)).await?;
        let found: Vec<&str> = family.iter().rev().map(|version| version.hash.as_str()).collect();
        if found != hashes || family.iter().filter(|version| version.is_latest).count() != 1 {
            return Err(Fault::Other(format!("the family is {family:?}")));
        }
        Ok(())
    }

    async fn compare_bytes(&self, uid: &str, number: usize, calls: &Calls) -> Result<(), Fault> {
        let is_right = match self.kind {
            Kind::File => calls.read(by_uid(uid)).await? == pooled(number),
            Kind::Folder => {
                let request = pb::ReadMembersRequest {
                    artifact: Some(by_uid(uid)),
                    ..Default::default()
                };
                let read = calls.read_members(request).await?;
                let read = read.into_iter().map(|member| (member.path, member.bytes.into()));
                read.collect::<Files>() == *folder(number)
            }
        };
        let wrong = || Fault::Other("other bytes than the record says".to_owned());
        is_right.then_some(()).ok_or_else(wrong)
    }
}

/// What differs from a state of a key.
#[derive(Debug)]
enum Fault {
    /// It could not be seen.
    Failed(Box<Failure>),
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// What makes one folder of another.
fn edits(before: &Files, wanted: &Files) -> Vec<pb::FolderEntry> {
    let removed = before.keys().filter(|path| !wanted.contains_key(*path));
    let removed = removed.map(|path| folders::removal(path));
    let put = wanted
        .iter()
        .filter(|(path, content)| before.get(*path) != Some(*content));
    let put = put.map(|(path, content)| folders::entry(path, content));
    let mut edits: Vec<_> = removed.chain(put).collect();
    edits.sort_by(|left, right| left.path.cmp(&right.path));
    edits
}
