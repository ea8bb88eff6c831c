//! Work as a whole: what a run used, made and said becomes visible at once or not at all.
//!
//! Contents become durable first, as those of a batch do; then one transaction does what
//! the calls for each part would do.

mod reserve;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use artifactd_domain::{AliasName, ArtifactRef, Description, RunStatus, RunUid, Uid};
use serde::{Deserialize, Serialize};

pub use reserve::{Reservation, Reserved};

use super::{
    Alias, AliasIs, AliasMove, Annotated, Annotation, Appendix, ArtifactCollection, Caller, NewCollection, NewRun,
    Registry, RegistryError, Result, Run as RunRecord, RunEnd, Saved, aliases, annotations,
    batch::{self, BatchItem, Packed, Ready, Shared},
    collections,
    idempotency::{Repeatable, RequestKey},
    now_us, runs,
    save::commit::{self, Commit, Run},
};
use crate::{
    db::{Batch, Txn, WriteError, blobs},
    fault,
};

/// How often contents are looked for again that were held a moment ago.
const TRIES: usize = 3;

/// What to commit.
pub struct Work {
    /// The run of all of it.
    pub run: RunOfWork,
    /// What it used.
    pub inputs: Vec<ArtifactRef>,
    /// What it made.
    pub outputs: Vec<BatchItem>,
    /// What it says of artifacts that were there before.
    pub annotations: Vec<Annotation>,
    /// Which aliases it moves, in this order.
    pub aliases: Vec<WorkAlias>,
    /// What it collects.
    pub collections: Vec<WorkCollection>,
    /// How its run ends.
    pub end: Option<WorkEnd>,
    /// Makes the call repeatable.
    pub request: Option<RequestKey>,
}

/// The run of some work.
#[derive(Debug, Clone)]
pub enum RunOfWork {
    /// That of the call, if it has one.
    OfCall,
    /// One that begins with it.
    Begins(NewRun),
    /// One that has begun.
    Begun(RunUid),
}

/// An alias to point to a version.
#[derive(Debug, Clone)]
pub struct WorkAlias {
    /// The version.
    pub target: AliasTarget,
    /// The alias.
    pub name: AliasName,
    /// What it is taken for.
    pub expected: Option<AliasIs>,
}

/// What an alias is to point to.
#[derive(Debug, Clone)]
pub enum AliasTarget {
    /// A version that was there before.
    Artifact(ArtifactRef),
    /// The output at this place.
    Output(usize),
}

/// A version of a collection to make.
#[derive(Debug, Clone)]
pub struct WorkCollection {
    /// Which.
    pub change: CollectionChange,
    /// Places of the outputs that become its last members.
    pub outputs: Vec<usize>,
    /// Whether the latest versions of these are meant.
    pub follow_latest: bool,
}

/// What becomes of a collection.
#[derive(Debug, Clone)]
pub enum CollectionChange {
    /// It gets its members.
    Create(NewCollection),
    /// It gets more members.
    Append(Appendix),
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct WorkEnd {
    /// How it ended.
    pub status: RunStatus,
    /// Exit code of its program.
    pub exit_code: Option<i32>,
    /// What went wrong.
    pub error: Option<Description>,
}

/// What was committed.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The run as it is now.
    pub run: Option<RunRecord>,
    /// What became of each output.
    pub outputs: Vec<Saved>,
    /// How many inputs are new.
    pub inputs_added: u64,
    /// What became of each annotation.
    pub annotations: Vec<Annotated>,
    /// Where each alias points, and where it did before.
    pub aliases: Vec<(Alias, Option<String>)>,
    /// What became of each collection, and whether a version was made.
    pub collections: Vec<(ArtifactCollection, bool)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    run: Option<runs::Stored>,
    outputs: Vec<commit::Answer>,
    inputs_added: u64,
    annotations: Vec<annotations::Answer>,
    /// None in answers that were kept before work had aliases.
    #[serde(default)]
    aliases: Vec<aliases::Moved>,
    collections: Vec<collections::Answer>,
}

/// Work whose names are looked up, so that its transaction can run.
struct Plan {
    run: RunOfWork,
    inputs: Vec<String>,
    /// By their storages.
    outputs: BTreeMap<i64, Vec<Ready>>,
    annotations: Vec<(Annotation, Vec<String>)>,
    aliases: Vec<(WorkAlias, Aliased)>,
    collections: Vec<(WorkCollection, collections::Named)>,
    end: Option<WorkEnd>,
}

/// A version that an alias is to point to.
enum Aliased {
    Uid(Uid),
    Output(usize),
}

/// The packs of the outputs, by their storages.
type Packs = BTreeMap<i64, Packed>;

impl Registry {
    /// Commits what a run used, made and said.
    pub async fn commit_work(self: &Arc<Self>, caller: &Caller, work: Work) -> Result<Committed> {
        let (request, caller) = (work.request.clone(), caller.of_work(&work.run));
        if let Some(repeatable) = Repeatable::new(request.as_ref(), &caller)
            && let Some(finished) = repeatable.finished::<Answer>(self.db.reader(), &caller).await?
        {
            return self.committed(finished.answer);
        }
        let _turn = match work.outputs.is_empty() {
            true => None,
            false => Some(self.content_turns.take().await?),
        };
        let plan = Arc::new(self.plan(&caller, work).await?);
        let mut tries = 0;
        loop {
            let packs = Arc::new(self.packs(&plan).await?);
            fault::point("work.contents_durable");
            let done = self.commit_plan(&caller, request.as_ref(), &plan, &packs).await;
            match done {
                Ok(answer) => return self.committed(answer),
                Err(error) => {
                    // Whether it was committed is not known then, so the packs stay.
                    if error.as_db().is_none() {
                        for (storage_id, pack) in packs.iter() {
                            self.discard(*storage_id, pack.object.name.clone());
                        }
                    }
                    tries += 1;
                    // The storage held it a moment ago, so it was not stored again.
                    let held_before = matches!(&error, RegistryError::ContentNotHeld(sha256) if plan.brings(sha256));
                    if !held_before || tries == TRIES {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn plan(&self, caller: &Caller, work: Work) -> Result<Plan> {
        let mut outputs: BTreeMap<i64, Vec<Ready>> = BTreeMap::new();
        let mut shared = Shared::default();
        for (number, output) in work.outputs.into_iter().enumerate() {
            let ready = self.ready(caller, number, output, &mut shared).await?;
            outputs.entry(ready.storage.id).or_default().push(ready);
        }
        let mut annotations = Vec::with_capacity(work.annotations.len());
        for annotation in work.annotations {
            annotation.check()?;
            let uids = self.uids_of(caller, &annotation.artifacts).await?;
            annotations.push((annotation, uids));
        }
        let mut aliases = Vec::with_capacity(work.aliases.len());
        for alias in work.aliases {
            let version = match &alias.target {
                AliasTarget::Output(place) => Aliased::Output(*place),
                AliasTarget::Artifact(reference) => {
                    let found = self.find(self.db.reader(), caller, reference, true).await?;
                    Aliased::Uid(found.uid()?)
                }
            };
            aliases.push((alias, version));
        }
        let mut changes = Vec::with_capacity(work.collections.len());
        for change in work.collections {
            let members = match &change.change {
                CollectionChange::Create(new) => &new.members,
                CollectionChange::Append(appendix) => &appendix.members,
            };
            let named = self.named(caller, members).await?;
            changes.push((change, named));
        }
        Ok(Plan {
            run: work.run,
            inputs: self.uids_of(caller, &work.inputs).await?,
            outputs,
            annotations,
            aliases,
            collections: changes,
            end: work.end,
        })
    }

    async fn packs(self: &Arc<Self>, plan: &Plan) -> Result<Packs> {
        let mut packs = Packs::new();
        for (storage_id, group) in &plan.outputs {
            match self.pack(group).await {
                Ok(Some(pack)) => {
                    packs.insert(*storage_id, pack);
                }
                Ok(None) => {}
                Err(error) => {
                    for (storage_id, pack) in packs {
                        self.discard(storage_id, pack.object.name);
                    }
                    return Err(error);
                }
            }
        }
        Ok(packs)
    }

    async fn commit_plan(
        &self,
        caller: &Caller,
        request: Option<&RequestKey>,
        plan: &Arc<Plan>,
        packs: &Arc<Packs>,
    ) -> Result<Answer> {
        let (worker, plan, packs) = (caller.clone(), Arc::clone(plan), Arc::clone(packs));
        self.change_once(caller, request, move |txn| {
            let (caller, plan, packs) = (worker.clone(), Arc::clone(&plan), Arc::clone(&packs));
            Box::pin(async move { plan.run(txn, caller, &packs).await })
        })
        .await
    }

    fn committed(&self, answer: Answer) -> Result<Committed> {
        let Answer {
            run,
            outputs,
            inputs_added,
            annotations,
            aliases,
            collections,
        } = answer;
        let outputs = outputs.into_iter().map(|answer| self.saved(answer));
        let annotations = annotations.into_iter().map(|answer| self.annotated(answer));
        let collections = collections
            .into_iter()
            .map(|answer| Ok((self.to_collection(answer.row)?, answer.created)));
        Ok(Committed {
            run: run.map(|stored| self.to_run(stored)).transpose()?,
            outputs: outputs.collect::<Result<_>>()?,
            inputs_added,
            annotations: annotations.collect::<Result<_>>()?,
            aliases: aliases
                .into_iter()
                .map(|moved| self.moved(moved))
                .collect::<Result<_>>()?,
            collections: collections.collect::<Result<_>>()?,
        })
    }
}

impl Caller {
    /// The caller under the run of some work; under none yet where that is to begin.
    fn of_work(&self, run: &RunOfWork) -> Self {
        match run {
            RunOfWork::OfCall | RunOfWork::Begins(_) => self.clone(),
            RunOfWork::Begun(uid) => Self {
                run: Some(uid.clone()),
                ..self.clone()
            },
        }
    }
}

impl Plan {
    /// Whether a content came along.
    fn brings(&self, sha256: &artifactd_domain::Sha256) -> bool {
        let outputs = self.outputs.values().flatten();
        outputs.filter_map(Ready::brings).any(|brought| brought == *sha256)
    }

    async fn run(&self, txn: &Txn, mut caller: Caller, packs: &Packs) -> Result<Answer> {
        if let RunOfWork::Begins(new) = &self.run {
            let row = runs::insert(txn, &caller, caller.scope(), new).await?;
            caller.run = Some(runs::uid_of(&row)?);
        }
        // Whoever ends it locks it first, so that two do not wait for each other.
        let mut ending = match (&self.end, &caller.run) {
            (None, _) => None,
            (Some(_), None) => return Err(RegistryError::RunRequired),
            (Some(end), Some(uid)) => Some((runs::locked(txn, &caller, uid, None).await?, end)),
        };
        let inputs_added = match self.inputs.is_empty() {
            true => 0,
            false => runs::add_inputs(txn, &caller, &self.inputs).await?,
        };
        let outputs = self.save(txn, &caller, packs).await?;
        let scope = caller.scope();
        let mut annotated = Vec::with_capacity(self.annotations.len());
        for (annotation, uids) in &self.annotations {
            annotated.push(annotations::change(txn, &caller, scope, annotation, uids).await?);
        }
        let mut moved = Vec::with_capacity(self.aliases.len());
        for (alias, version) in &self.aliases {
            let uid = match version {
                Aliased::Uid(uid) => *uid,
                Aliased::Output(place) => outputs[*place].made()?,
            };
            let change = AliasMove {
                reference: ArtifactRef::Uid(uid),
                name: alias.name.clone(),
                expected: alias.expected.clone(),
                request: None,
            };
            moved.push(aliases::set(txn, &caller, change, &uid).await?);
        }
        let mut collected = Vec::with_capacity(self.collections.len());
        for (collection, named) in &self.collections {
            let named = Self::members(collection, named, &outputs);
            collected.push(match &collection.change {
                CollectionChange::Create(new) => collections::create(txn, &caller, scope, new, &named).await?,
                CollectionChange::Append(appendix) => {
                    let row = collections::append(txn, &caller, scope, appendix, &named).await?;
                    collections::Answer { row, created: true }
                }
            });
        }
        if let Some((row, end)) = &mut ending {
            let end = RunEnd {
                uid: runs::uid_of(row)?,
                status: end.status,
                exit_code: end.exit_code,
                error: end.error.clone(),
                request: None,
            };
            runs::finish(txn, &caller, row, &end).await?;
        }
        fault::point("work.in_transaction");
        let run = match &caller.run {
            None => None,
            Some(uid) => Some(runs::stored(txn, &caller, uid).await?),
        };
        Ok(Answer {
            run,
            outputs,
            inputs_added,
            annotations: annotated,
            aliases: moved,
            collections: collected,
        })
    }

    /// The saves of the outputs, and their places in the call.
    fn commits(&self, caller: &Caller, packs: &Packs) -> (Vec<usize>, Vec<Commit>) {
        let mut commits = (Vec::new(), Vec::new());
        for (storage_id, group) in &self.outputs {
            let pack = packs.get(storage_id);
            for ready in group {
                commits.0.push(ready.number);
                commits.1.push(batch::commit(caller, ready, pack));
            }
        }
        commits
    }

    /// The members of a collection, with those that are outputs.
    fn members(
        collection: &WorkCollection,
        named: &collections::Named,
        outputs: &[commit::Answer],
    ) -> collections::Named {
        let mut members = named.clone();
        for place in &collection.outputs {
            members.push((outputs[*place].uid().to_owned(), collection.follow_latest));
        }
        members
    }

    /// Saves the outputs; the first that is refused ends it.
    async fn save(&self, txn: &Txn, caller: &Caller, packs: &Packs) -> Result<Vec<commit::Answer>> {
        let mut batch = Batch::new(txn);
        for (storage_id, pack) in packs {
            batch.push(&blobs::insert_object(&pack.row(*storage_id), now_us()));
        }
        batch.run(txn).await?;
        let (numbers, commits) = self.commits(caller, packs);
        let mut saved: BTreeMap<usize, commit::Answer> = BTreeMap::new();
        let mut used = HashSet::new();
        for (place, run) in commit::run_all(txn, &batch::in_lock_order(&commits)).await? {
            match run? {
                Run::Done { answer, object_used } => {
                    if object_used {
                        used.insert(commits[place].storage_id);
                    }
                    saved.insert(numbers[place], *answer);
                }
                Run::Before(answer) => {
                    saved.insert(numbers[place], *answer);
                }
            }
        }
        let mut batch = Batch::new(txn);
        for (storage_id, pack) in packs {
            if !used.contains(storage_id) {
                let name = pack.object.name.to_string();
                batch.push(&blobs::discard_object_by_name(&name, now_us()));
            }
        }
        batch.run(txn).await?;
        Ok(saved.into_values().collect())
    }
}
