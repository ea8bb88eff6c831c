//! Files in place that go with their record, and a crash point on the way.

use std::{fs, path::Path, time::Duration};

use artifactd_proto::v1 as pb;

use crate::{
    Backend, Calls, Outcome, Storage, TestServer,
    calls::{by_uid, saved},
    s3::{Bucket, S3Server},
    server::Setup,
    storages::{removing, root},
};

/// Files of the folder, and one that is not its own.
const FILES: [&str; 3] = ["set/a.csv", "set/deep/b.csv", "set/deep/c.csv"];
const STRANGER: &str = "set/deep/stranger";

/// How long a start may take to finish what a crash has cut.
const FINISHED_WITHIN: Duration = Duration::from_secs(20);

/// Where files lie in place: a folder, or a bucket where the server's own storage is one.
pub(super) enum Lab {
    Folder(tempfile::TempDir),
    Bucket(Bucket),
}

impl Lab {
    /// One of the kind of a backend's.
    pub(super) fn of(backend: Backend) -> Self {
        match backend.storage {
            Storage::Local => Self::Folder(tempfile::tempdir().expect("make a folder")),
            Storage::S3 => Self::Bucket(S3Server::shared().create_bucket()),
        }
    }

    fn root(&self) -> String {
        match self {
            Self::Folder(folder) => folder.path().canonicalize().expect("it is there").display().to_string(),
            Self::Bucket(bucket) => format!("s3://{}", bucket.name),
        }
    }

    /// A server on which it may be registered.
    pub(super) fn allowed(&self, setup: Setup) -> Setup {
        setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &self.root())
    }

    /// Registers it and a folder in it, beside whose files another one comes to lie.
    pub(super) async fn fill(&self, calls: &Calls) -> pb::Artifact {
        calls.register(root("lab", self.root())).await.expect("register a root");
        FILES.iter().for_each(|path| self.put(path));
        let folder = calls.register_folder(&format!("{}/set", self.root())).await;
        let folder = saved(folder.expect("register a folder"));
        self.put(STRANGER);
        folder
    }

    fn put(&self, path: &str) {
        match self {
            Self::Bucket(bucket) => bucket.overwrite(path, path.as_bytes()),
            Self::Folder(folder) => {
                let file = folder.path().join(path);
                fs::create_dir_all(file.parent().expect("it has one")).expect("make a folder");
                fs::write(file, path).expect("write a file");
            }
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = match self {
            Self::Bucket(bucket) => bucket.list(),
            Self::Folder(folder) => {
                let all = FILES.into_iter().chain([STRANGER]);
                let there = |path: &&str| Path::new(folder.path()).join(path).exists();
                all.filter(there).map(str::to_owned).collect()
            }
        };
        left.sort();
        left
    }

    /// While the record is there, so are all its files.
    pub(super) async fn assert_whole_or_going(&self, calls: &Calls, base: &pb::Artifact) {
        if calls.get(by_uid(&base.uid)).await.is_ok() {
            assert_eq!(self.left().len(), FILES.len() + 1, "a record lost its files");
        }
    }

    /// The record and its files are gone, and no other file.
    pub(super) async fn assert_gone(&self, server: &TestServer) {
        const WAITING: &str = "SELECT count(*) FROM removals WHERE committed_at_us IS NOT NULL";
        let finished = async {
            while server.query_integer(WAITING).await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let finished = tokio::time::timeout(FINISHED_WITHIN, finished).await;
        assert!(
            finished.is_ok(),
            "what a crash has cut is not finished: {:?}",
            self.left()
        );
        assert_eq!(self.left(), [STRANGER]);
    }
}

/// Destroys a record with its files.
pub(super) async fn run(calls: &Calls, base: &pb::Artifact, request_id: &str) -> Outcome<()> {
    let request = pb::DeleteArtifactRequest {
        request_id: Some(request_id.to_owned()),
        ..removing(by_uid(&base.uid))
    };
    calls.delete(request).await.map(drop)
}
