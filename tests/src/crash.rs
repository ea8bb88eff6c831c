//! Operations that meet a named crash point, and what must hold afterwards:
//! what was acknowledged is readable with its digest, what was not is absent or
//! whole, no record lacks its bytes, and a retry of the request has the effect of one.

mod folders;
pub mod garbage;
mod in_place;
mod moves;
mod points;
mod records;
mod uploads;

use std::time::{Duration, Instant};

use artifactd_proto::v1 as pb;

pub use self::points::{applies, crash_points, meets};
use crate::{
    Backend, Calls, Outcome, Storage, TestServer,
    calls::{by_key, by_uid, by_version, keyed},
    content::{content, digest},
};

const KEY: &str = "base.bin";
const NEW_KEY: &str = "new.bin";
const OTHER_KEY: &str = "other.bin";
const REQUEST_ID: &str = "the-request";
const GARBAGE_SEED: u64 = 50;
const TIMES_AT_START_MAX: usize = 10;

/// How long after its answer a call may come by a point behind it: if it is said to, and if not.
const SAID_TO_MEET_WITHIN: Duration = Duration::from_secs(10);
const MIGHT_MEET_WITHIN: Duration = Duration::from_millis(100);

/// A mutation that may meet a crash point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// New content under a new key, as a stream.
    Save,
    /// New content under a new key, in one message.
    SaveSmall,
    /// Other content under the same key.
    NewVersion,
    /// The same content under the same key.
    SameContent,
    /// The same content under a new key.
    SharedContent,
    /// Other content for the same version.
    Replace,
    /// To trash.
    Trash,
    /// Out of trash.
    Restore,
    /// Destroyed.
    Destroy,
    /// Another description.
    Update,
    /// A value of a feature, both of them new.
    Annotate,
    /// A run begins.
    BeginRun,
    /// A name that points to a version.
    SetAlias,
    /// New content whose words are found: they come into the index behind the answer.
    Index,
    /// A run with its input, its output, what it says and what it collects, all at once.
    CommitWork,
    /// New content under two new keys, in one message.
    Batch,
    /// A folder, first without one of its files, then whole.
    Folder,
    /// A folder of which pages are written before it is whole.
    LargeFolder,
    /// A folder destroyed.
    DestroyFolder,
    /// A folder in place destroyed, with its files.
    DestroyInPlace,
    /// Garbage of every kind collected, without grace.
    Collect,
    /// New content under a new key, by an upload.
    Upload,
    /// The same by parts that travel at once.
    UploadAtOnce,
    /// An upload removed.
    AbortUpload,
    /// A file moved to another storage.
    Move,
    /// A folder moved there.
    MoveFolder,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Save,
        Self::SaveSmall,
        Self::NewVersion,
        Self::SameContent,
        Self::SharedContent,
        Self::Replace,
        Self::Trash,
        Self::Restore,
        Self::Destroy,
        Self::Update,
        Self::Annotate,
        Self::BeginRun,
        Self::SetAlias,
        Self::Index,
        Self::CommitWork,
        Self::Batch,
        Self::Folder,
        Self::LargeFolder,
        Self::DestroyFolder,
        Self::DestroyInPlace,
        Self::Collect,
        Self::Upload,
        Self::UploadAtOnce,
        Self::AbortUpload,
        Self::Move,
        Self::MoveFolder,
    ];
}

struct Scene {
    server: TestServer,
    old: Vec<u8>,
    new: Vec<u8>,
    base: pb::Artifact,
    /// The other storage of a move.
    _far: Option<moves::Far>,
    /// Where files lie in place.
    lab: Option<in_place::Lab>,
}

/// Lets `operation` meet `point`, starts the server again and checks everything.
/// Answers whether the point was met.
///
/// # Panics
/// When a promise was broken.
pub async fn meet(point: &str, operation: Operation, backend: Backend) -> bool {
    let mut scene = Scene::prepare(point, operation, backend).await;
    scene.arm(point).await;
    let first = scene.act(operation).await;
    let patience = match meets(point, operation, backend) {
        true => SAID_TO_MEET_WITHIN,
        false => MIGHT_MEET_WITHIN,
    };
    if first.is_ok() && !scene.has_crashed_within(patience, operation).await {
        scene.server.kill();
        return false;
    }
    assert!(
        first.as_ref().err().is_none_or(|failure| failure.is_cut()),
        "{point} {operation:?}: {first:?}"
    );
    scene.wait_for_crash().await;
    scene.server.start_again().await;
    scene.assert_absent_or_whole(operation).await;
    scene.server.assert_clean();
    scene
        .act(operation)
        .await
        .unwrap_or_else(|failure| panic!("{point} {operation:?} {backend:?}: retry: {failure}"));
    scene.assert_done_once(operation).await;
    scene.server.kill();
    scene.server.assert_clean();
    true
}

impl Scene {
    async fn prepare(point: &str, operation: Operation, backend: Backend) -> Self {
        let setup = TestServer::setup().on(backend);
        let moves = matches!(operation, Operation::Move | Operation::MoveFolder);
        let far = moves.then(|| moves::Far::of(backend));
        let lab = (operation == Operation::DestroyInPlace).then(|| in_place::Lab::of(backend));
        let setup = lab.iter().fold(setup, |setup, lab| lab.allowed(setup));
        let setup = match (operation, &far) {
            (Operation::Collect | Operation::AbortUpload, _) => setup.without_grace(),
            (_, Some(far)) => far.allowed(setup),
            _ => setup,
        };
        let server = setup.start().await;
        if let Some(far) = &far {
            far.register(&server.calls()).await;
        }
        let old = content(1, 300_000).to_vec();
        // On S3 the content must be larger than one part.
        let new = match (operation, backend.storage) {
            (Operation::SaveSmall | Operation::Index | Operation::Batch | Operation::CommitWork, _) => {
                content(2, 400_000)
            }
            (_, Storage::Local) => content(2, 2_500_000),
            (_, Storage::S3) => content(2, 9_000_000),
        };
        let base = server.calls().save(keyed(KEY), &old).await.expect("save the base");
        let mut base = crate::calls::saved(base);
        if operation == Operation::Restore {
            server.calls().trash(by_uid(&base.uid)).await.expect("trash the base");
        }
        if matches!(operation, Operation::DestroyFolder | Operation::MoveFolder) {
            base = folders::base(&server.calls()).await;
        }
        if let Some(lab) = &lab {
            base = lab.fill(&server.calls()).await;
        }
        if operation == Operation::AbortUpload {
            uploads::begin(&server.calls(), &new).await;
        }
        if operation == Operation::Collect {
            garbage::make(&server, GARBAGE_SEED).await;
        }
        // Else the next start writes to the index, and meets the point before the operation.
        if point.starts_with("write.") {
            server.wait_until_indexed().await;
        }
        let mut scene = Self {
            server,
            old,
            new: new.to_vec(),
            base,
            _far: far,
            lab,
        };
        scene.server.stop().await;
        scene
    }

    fn calls(&self) -> Calls {
        self.server.calls()
    }

    /// Starts the server with the point armed. Where a start comes by the point too, each
    /// of its times is survived first, until the next one belongs to the operation.
    async fn arm(&mut self, point: &str) {
        for time in 1..=TIMES_AT_START_MAX {
            if self.server.start_again_armed(&format!("{point}:{time}")).await {
                return;
            }
            self.server.assert_clean();
        }
        panic!("a start comes by {point} more than {TIMES_AT_START_MAX} times");
    }

    async fn act(&self, operation: Operation) -> Outcome<()> {
        let calls = self.calls();
        let request_id = Some(REQUEST_ID.to_owned());
        let header = |key: &str| pb::SaveHeader {
            request_id: request_id.clone(),
            ..keyed(key)
        };
        let artifact = Some(by_uid(&self.base.uid));
        match operation {
            Operation::Upload => uploads::save(&calls, header(NEW_KEY), &self.new).await,
            Operation::UploadAtOnce => uploads::save_at_once(&calls, header(NEW_KEY), &self.new).await,
            Operation::AbortUpload => uploads::abort_all(&calls).await,
            Operation::Move | Operation::MoveFolder => moves::run(&calls, &self.base, REQUEST_ID).await,
            Operation::DestroyInPlace => in_place::run(&calls, &self.base, REQUEST_ID).await,
            Operation::Collect => calls.collect_garbage(false).await.map(drop),
            Operation::Save => calls.save(header(NEW_KEY), &self.new).await.map(drop),
            Operation::SaveSmall | Operation::Index => calls.save_small(header(NEW_KEY), &self.new).await.map(drop),
            Operation::NewVersion => calls.save(header(KEY), &self.new).await.map(drop),
            Operation::SameContent => calls.save(header(KEY), &self.old).await.map(drop),
            Operation::SharedContent => calls.save(header(NEW_KEY), &self.old).await.map(drop),
            Operation::Replace => {
                let header = pb::ReplaceHeader {
                    request_id,
                    artifact,
                    ..Default::default()
                };
                calls.replace(header, &self.new).await.map(drop)
            }
            Operation::Trash => {
                let request = pb::DeleteArtifactRequest {
                    request_id,
                    artifact,
                    ..Default::default()
                };
                calls.delete(request).await.map(drop)
            }
            Operation::Restore => {
                let request = pb::RestoreArtifactRequest {
                    request_id,
                    artifact,
                    ..Default::default()
                };
                calls.restore_raw(request).await.map(drop)
            }
            Operation::Folder => folders::save_twice(&calls, header(NEW_KEY)).await,
            Operation::LargeFolder => folders::save_large(&calls, header(NEW_KEY)).await,
            Operation::Destroy | Operation::DestroyFolder => {
                let force = pb::DeleteArtifactRequest {
                    permanent: true,
                    force: true,
                    ..Default::default()
                };
                calls
                    .delete(pb::DeleteArtifactRequest {
                        request_id,
                        artifact,
                        ..force
                    })
                    .await
                    .map(drop)
            }
            Operation::Update => calls.update(self.update(request_id)).await.map(drop),
            Operation::Annotate => records::annotate(&calls, &self.base, request_id).await,
            Operation::BeginRun => records::begin_run(&calls, request_id).await,
            Operation::SetAlias => records::set_alias(&calls, &self.base, request_id).await,
            Operation::CommitWork => records::commit_work(&calls, &self.base, header(NEW_KEY), &self.new).await,
            Operation::Batch => {
                let other = pb::SaveHeader {
                    request_id: Some(format!("{REQUEST_ID}-2")),
                    ..keyed(OTHER_KEY)
                };
                let files = vec![(header(NEW_KEY), self.new.clone()), (other, self.old[1..].to_vec())];
                let results = calls.save_batch(files).await?;
                results.into_iter().try_for_each(|result| result.map(drop))
            }
        }
    }

    fn update(&self, request_id: Option<String>) -> pb::UpdateArtifactRequest {
        pb::UpdateArtifactRequest {
            artifact: Some(by_uid(&self.base.uid)),
            update: Some(pb::ArtifactUpdate {
                description: Some("other".to_owned()),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["description".to_owned()],
            }),
            request_id,
            ..Default::default()
        }
    }

    /// Whether the server ends on its own after an answer: a point behind it was met.
    async fn has_crashed_within(&mut self, patience: Duration, operation: Operation) -> bool {
        let began = Instant::now();
        while self.is_running() && began.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while operation == Operation::Index && self.is_running() {
            if self.server.is_indexed().await {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Folders are taken apart behind the answer.
        while operation == Operation::DestroyFolder && self.is_running() {
            if self.server.query_integer("SELECT count(*) FROM manifests").await == 0 {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        !self.is_running()
    }

    fn is_running(&mut self) -> bool {
        !self.server.has_crashed() && !self.server.is_stopped()
    }

    async fn wait_for_crash(&mut self) {
        for _ in 0..2_000 {
            if !self.is_running() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the call was cut, but the server still runs");
    }

    /// Before any retry: old or new state, never anything between.
    async fn assert_absent_or_whole(&self, operation: Operation) {
        if matches!(
            operation,
            Operation::Folder | Operation::LargeFolder | Operation::DestroyFolder
        ) {
            return folders::assert_absent_or_whole(&self.calls(), operation).await;
        }
        if operation == Operation::MoveFolder {
            return folders::assert_whole_at(&self.calls(), by_uid(&self.base.uid), operation).await;
        }
        if let Some(lab) = &self.lab {
            return lab.assert_whole_or_going(&self.calls(), &self.base).await;
        }
        if operation == Operation::Annotate {
            records::assert_all_or_nothing(&self.calls(), &self.base).await;
        }
        if operation == Operation::CommitWork {
            records::assert_work_is_whole(&self.calls(), NEW_KEY).await;
        }
        for key in [KEY, NEW_KEY] {
            let found = self.calls().get(by_key(key)).await;
            let Ok(artifact) = found else { continue };
            let bytes = self
                .calls()
                .read(by_uid(&artifact.uid))
                .await
                .expect("a record has its bytes");
            assert_eq!(
                digest(&bytes),
                artifact.hash,
                "{operation:?} left {key} with other bytes"
            );
            assert!(
                bytes == self.old || bytes == self.new,
                "{operation:?} left {key} with foreign bytes"
            );
        }
        if !matches!(
            operation,
            Operation::Trash | Operation::Restore | Operation::Destroy | Operation::Replace
        ) {
            let bytes = self
                .calls()
                .read(by_uid(&self.base.uid))
                .await
                .expect("the base was acknowledged");
            assert!(bytes == self.old, "{operation:?} changed the base");
        }
    }

    /// After the retry: the effect of one.
    async fn assert_done_once(&self, operation: Operation) {
        let calls = self.calls();
        let found = async |key: &str| calls.family(by_key(key)).await.expect("find a family");
        match operation {
            Operation::AbortUpload => {
                assert_eq!(self.server.query_integer("SELECT count(*) FROM uploads").await, 0);
                assert_eq!(self.server.query_integer("SELECT count(*) FROM upload_parts").await, 0);
                // A crash after its row went leaves its bytes behind.
                calls.collect_garbage(false).await.expect("collect garbage");
                assert_eq!(self.server.staged(), [""; 0]);
                assert_eq!(self.server.stored_files_below("uploads"), 0);
            }
            Operation::Move => {
                moves::assert_moved_once(&self.server, &self.base).await;
                assert!(calls.read(by_uid(&self.base.uid)).await.expect("read") == self.old);
            }
            Operation::MoveFolder => {
                moves::assert_moved_once(&self.server, &self.base).await;
                folders::assert_whole_at(&calls, by_uid(&self.base.uid), operation).await;
            }
            Operation::Save | Operation::SaveSmall | Operation::Upload | Operation::UploadAtOnce => {
                assert_eq!(found(NEW_KEY).await.len(), 1);
                assert!(calls.read(by_key(NEW_KEY)).await.expect("read") == self.new);
            }
            Operation::NewVersion => {
                assert_eq!(found(KEY).await.len(), 2);
                assert!(calls.read(by_key(KEY)).await.expect("read") == self.new);
                assert!(calls.read(by_version(KEY, "1")).await.expect("read") == self.old);
            }
            Operation::SameContent => assert_eq!(found(KEY).await.len(), 1),
            Operation::SharedContent => {
                assert_eq!(found(NEW_KEY).await.len(), 1);
                assert_eq!(self.server.query_integer("SELECT count(*) FROM blobs").await, 1);
            }
            Operation::Replace => {
                let family = found(KEY).await;
                assert_eq!(family.len(), 1);
                assert_eq!(family[0].uid, self.base.uid);
                assert!(calls.read(by_key(KEY)).await.expect("read") == self.new);
            }
            Operation::Trash => {
                let record = calls.get(by_uid(&self.base.uid)).await.expect("find it in trash");
                assert_eq!(record.visibility(), pb::Visibility::Trash);
            }
            Operation::Restore => assert!(calls.read(by_key(KEY)).await.expect("read") == self.old),
            Operation::Collect => garbage::assert_collected(&self.server, GARBAGE_SEED).await,
            Operation::Folder | Operation::LargeFolder => {
                assert_eq!(found(NEW_KEY).await.len(), 1);
                folders::assert_whole(&calls, operation).await;
            }
            Operation::Destroy | Operation::DestroyFolder | Operation::DestroyInPlace => {
                if let Some(lab) = &self.lab {
                    lab.assert_gone(&self.server).await;
                }
                let gone = crate::refusal(calls.get(by_uid(&self.base.uid)).await);
                assert_eq!(gone, pb::ErrorReason::ArtifactNotFound);
            }
            Operation::Batch => {
                for (key, bytes) in [(NEW_KEY, &self.new[..]), (OTHER_KEY, &self.old[1..])] {
                    assert_eq!(found(key).await.len(), 1);
                    assert!(calls.read(by_key(key)).await.expect("read") == bytes);
                }
            }
            Operation::Update => {
                let record = calls.get(by_uid(&self.base.uid)).await.expect("find the base");
                assert_eq!(record.description.as_deref(), Some("other"));
            }
            Operation::Annotate => records::assert_annotated_once(&calls, &self.base).await,
            Operation::BeginRun => records::assert_one_run(&calls).await,
            Operation::SetAlias => records::assert_one_alias(&calls, &self.base).await,
            Operation::Index => records::assert_found_once(&self.server, NEW_KEY).await,
            Operation::CommitWork => {
                records::assert_one_run(&calls).await;
                assert!(calls.read(by_key(NEW_KEY)).await.expect("read") == self.new);
                records::assert_work_is_whole(&calls, NEW_KEY).await;
            }
        }
    }
}
