//! The use cases, and the only place that orders effects.
//!
//! gRPC, and later Flight and S3, translate a call, ask here, and translate the
//! answer. Every function takes the caller first. The order of a save is always
//! the same: content becomes durable, then one transaction makes it visible, then
//! the caller hears of it.

mod aliases;
mod annotations;
mod batch;
mod caller;
mod clock;
mod collections;
mod content;
mod describe;
mod error;
mod events;
mod feature_sets;
mod features;
mod folders;
mod garbage;
mod idempotency;
mod labels;
mod lineage;
mod list;
mod looking;
mod lookup;
mod open;
mod place;
mod placing;
mod record;
mod removals;
mod replace;
mod runs;
mod save;
mod schemas;
mod search;
mod selection;
mod sequencer;
mod storages;
mod tables;
mod transforms;
mod trash;
mod turns;
mod update;
mod uploads;
mod verify;
mod versions;
mod watch;
mod work;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use aliases::{Alias, AliasChange, AliasIs, AliasMove, Part};
pub use annotations::{
    Annotated, Annotation, AnnotationFault, Annotations, AnnotationsOf, FirstAnnotations, LabelOf, NamedValues,
    Registered, ValuesOf, WhyNot,
};
pub use batch::BatchItem;
pub use caller::{Caller, Principal};
pub use collections::{
    Appendix, ArtifactCollection, CollectionMember, CollectionPiece, CollectionRef, CollectionStart, CollectionToRead,
    CollectionsQuery, NewCollection, NewMember,
};
pub use content::{Content, ContentSource, Data, Declared, Piece};
pub use describe::Description;
pub use error::{RegistryError, Rule, Thing};
pub use feature_sets::{FeatureSet, SlotOfArtifact};
pub use features::{Feature, FeatureField, FeatureRef, FeatureUpdate, FeaturesQuery, NewFeature};
pub use folders::{
    DiffFound, FolderBegun, FolderDiff, FolderEdit, FolderSave, FolderSource, MemberHead, MemberPage, MemberPiece,
    MemberRange, MembersQuery, MembersToRead, NewFolder, OpenMembers, WhichMembers,
};
pub use garbage::{Amount, Collection, GarbageLimits, GarbageReason, GarbageReport, StorageGarbage};
pub use idempotency::RequestKey;
pub use labels::{
    ImportCount, LabelField, LabelImport, LabelMatch, LabelRecord, LabelRegistry, LabelUpdate, LabelsQuery, NewLabel,
    NewLabelRegistry, Resolved,
};
pub use lineage::{
    Direction, DrawFormat, EdgeKind, Graph, GraphEnd, GraphPart, GraphQuery, Impact, IsRunInput, LineageArtifact,
    LineageEdge, LineageRun,
};
pub use list::{Count, ListQuery, Page, Place, VersionsQuery};
pub use open::{ContentOf, OpenContent, ReadRange};
pub use place::{Places, Space, StoragePlace};
pub use record::Artifact;
pub use replace::{Replaced, Replacement};
pub use runs::{NewRun, Run, RunEnd, RunField, RunUpdate, RunsQuery};
pub use save::{NewArtifact, Revises, Saved};
pub use schemas::{NewSchema, NewSchemaSlot, Schema, SchemaFault, SchemaSlot, SchemasQuery};
pub use search::{Hit, Hits, SearchPlace, SearchQuery};
pub use selection::Selection;
pub use storages::{FilesInPlace, InPlace, Move, Moved, NewStorage, RegisteredFile, StorageRecord, StorageRoots};
pub use tables::{
    ListedTable, NewTable, OpenTable, TableBatch, TableOf, TablePlan, TableSelection, TableStream, Target,
    WriteProgress, Written,
};
pub use transforms::{NewTransform, Transform, TransformField, TransformRef, TransformUpdate, TransformsQuery};
pub use trash::{DeleteMode, Deleted, Deletion, IfUsed, KeepBytes, Restoration};
pub use turns::ContentTurn;
pub use update::{Field, Update};
pub use uploads::{Acks, Completion, HashSeal, NewUpload, Upload, UploadState, UploadWriter};
pub use verify::{VerifyReport, verify};
pub use watch::{Event, WatchQuery, Watchable, Watched};
pub use work::{
    AliasTarget, CollectionChange, Committed, Reservation, Reserved, RunOfWork, Work, WorkAlias, WorkCollection,
    WorkEnd,
};

pub(crate) use clock::now_us;

use crate::{
    db::{DatabaseConfig, Db},
    storage::{ArtifactView, Member, ReadBudget, StorageError, StorageRoot, Store},
};

/// Memory of content that is read ahead of its callers, for all of them together.
const READ_AHEAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Files of labels that are read at once.
const LABEL_IMPORTS_MAX: usize = 2;

/// Result of a registry call.
pub(crate) type Result<T> = std::result::Result<T, RegistryError>;

/// What a registry is built from.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The database.
    pub database: DatabaseConfig,
    /// Name of the default storage.
    pub storage_name: String,
    /// Where the default storage lies.
    pub storage_root: StorageRoot,
    /// Where others may be registered.
    pub storage_roots: StorageRoots,
    /// Limits of single calls.
    pub limits: Limits,
    /// When garbage goes.
    pub garbage: GarbageLimits,
    /// Seals how the hashes of uploads stand.
    pub hash_seal: HashSeal,
}

/// Limits of single calls.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest content that is taken.
    pub content_bytes_max: u64,
    /// Content streams that are read at once; more wait.
    pub content_streams_max: usize,
    /// Content streams that wait for that; more are turned away at once.
    pub content_waiting_max: usize,
    /// Tables that are read at once; more wait as content streams do.
    pub table_streams_max: usize,
    /// How long a content stream waits for its turn before it is turned away.
    pub content_wait: Duration,
    /// How long a stream may be silent.
    pub stream_idle_timeout: Duration,
    /// How long an upload stays after its last part.
    pub upload_expiry: Duration,
}

/// Everything that the use cases need, built once.
#[derive(Debug)]
pub struct Registry {
    /// Records.
    pub(crate) db: Db,
    /// Users, spaces and storages.
    pub(crate) places: Places,
    /// Where storages may be registered.
    storage_roots: StorageRoots,
    /// Limits of single calls.
    pub(crate) limits: Limits,
    /// When garbage goes.
    garbage: GarbageLimits,
    /// Who writes to uploads.
    upload_locks: uploads::UploadLocks,
    /// Hashes of uploads whose parts come in any order.
    hashes_ahead: uploads::HashesAhead,
    hash_seal: HashSeal,
    /// Pages of folders that were read lately.
    pages: folders::PageCache,
    /// Turns of content streams.
    content_turns: turns::ContentTurns,
    /// How many of them go to each key.
    key_turns: turns::KeyTurns,
    /// Memory of content that is read ahead of its callers.
    read_budget: ReadBudget,
    /// Files of labels that are read at once: each is held whole.
    label_imports: Semaphore,
    /// Told when the server is about to end, by whatever would go on for ever.
    ending: CancellationToken,
    /// Turns of reads of tables.
    table_turns: Arc<Semaphore>,
    batch_room: tables::BatchRoom,
    /// Work that outlives the call which began it.
    tasks: TaskTracker,
}

impl Registry {
    /// Opens the database and the storages.
    pub async fn open(config: RegistryConfig) -> Result<Arc<Self>> {
        let (db, store) = futures::try_join!(
            async { Db::open(&config.database).await.map_err(RegistryError::from) },
            async {
                let root = config.storage_root.clone();
                let opened = tokio::task::spawn_blocking(move || Store::open(&root)).await;
                opened
                    .expect("opening a storage does not panic")
                    .map_err(RegistryError::from)
            }
        )?;
        clock::warn_of_wrong_clock(&db).await?;
        let root = config.storage_root.to_string();
        let places = Places::open(&db, &config.storage_name, &root, store, &config.storage_roots).await?;
        let content_turns = turns::ContentTurns::new(&config.limits);
        let table_turns = Arc::new(Semaphore::new(config.limits.table_streams_max));
        let registry = Self {
            db,
            places,
            storage_roots: config.storage_roots,
            limits: config.limits,
            garbage: config.garbage,
            upload_locks: uploads::UploadLocks::default(),
            hashes_ahead: uploads::HashesAhead::default(),
            hash_seal: config.hash_seal,
            pages: folders::PageCache::default(),
            content_turns,
            key_turns: turns::KeyTurns::default(),
            read_budget: ReadBudget::of_bytes(READ_AHEAD_BYTES_MAX),
            label_imports: Semaphore::new(LABEL_IMPORTS_MAX),
            ending: CancellationToken::new(),
            table_turns,
            batch_room: tables::BatchRoom::default(),
            tasks: TaskTracker::new(),
        };
        registry.ensure_ulabel().await?;
        Ok(Arc::new(registry))
    }

    /// Fails when the database does not answer.
    pub async fn check_database(&self) -> Result<()> {
        Ok(self.db.check().await?)
    }

    /// Fails when the default storage of a space does not take a small object. One that was
    /// registered besides may be away without making all others useless.
    pub async fn check_storage(&self) -> Result<()> {
        for storage in self.places.default_storages() {
            storage.store.writer.probe().await?;
        }
        Ok(())
    }

    /// Members of an artifact, read in the memory that all readers share.
    pub(crate) fn view(&self, store: &Store, members: Vec<Member>) -> ArtifactView {
        ArtifactView::new(Arc::clone(&store.reader), members).within(&self.read_budget)
    }

    /// Waits until one more table may be read.
    pub(crate) async fn table_turn(&self) -> Result<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.table_turns).acquire_owned();
        match tokio::time::timeout(self.limits.content_wait, turn).await {
            Ok(turn) => Ok(turn.expect("nobody closes it")),
            Err(_) => Err(RegistryError::Busy),
        }
    }

    /// Runs work to its end even when its caller goes away.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn(work)
    }

    /// Waits for work that outlives its calls, then closes the database.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.db.close().await;
    }

    /// Whether the server is about to end, so that what can wait does.
    fn is_ending(&self) -> bool {
        self.tasks.is_closed()
    }

    /// Removes objects that no row names. What cannot be removed now is garbage
    /// that `verify` lists.
    pub(crate) fn discard(self: &Arc<Self>, storage_id: i64, object: crate::storage::ObjectName) {
        let registry = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Ok(storage) = registry.places.storage_by_id(storage_id)
                && let Err(error) = storage.store.writer.delete(&object).await
            {
                tracing::warn!(%object, error = &error as &dyn std::error::Error, "Could not remove object {object}");
            }
        });
    }
}

impl From<StorageError> for RegistryError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// Bytes from the operating system's generator of randomness.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// A new stem, never used before.
pub(crate) fn draw_stem() -> artifactd_domain::Stem {
    std::iter::repeat_with(random)
        .find_map(|bytes| artifactd_domain::Stem::from_random_bytes(&bytes))
        .expect("endless")
}

/// A random name for things that are not artifacts.
pub(crate) fn draw_uid() -> String {
    random::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}
