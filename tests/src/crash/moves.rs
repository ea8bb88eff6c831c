//! Moves that meet a crash point.

use artifactd_proto::v1 as pb;

use crate::{
    Backend, Calls, Outcome, Storage, TestServer,
    calls::by_uid,
    refusal,
    s3::S3Server,
    server::Setup,
    storages::{far, managed, root},
};

/// The storage called `far`: a folder, or a bucket where the server's own is one.
pub(super) enum Far {
    Folder(tempfile::TempDir),
    Bucket(String),
}

impl Far {
    /// One of the kind of a backend's.
    pub(super) fn of(backend: Backend) -> Self {
        match backend.storage {
            Storage::Local => Self::Folder(tempfile::tempdir().expect("make a folder")),
            Storage::S3 => Self::Bucket(S3Server::shared().create_bucket().name),
        }
    }

    fn root(&self) -> String {
        match self {
            Self::Folder(folder) => {
                let real = folder.path().canonicalize().expect("it is there");
                real.display().to_string()
            }
            Self::Bucket(name) => format!("s3://{name}"),
        }
    }

    /// A server on which it may be registered.
    pub(super) fn allowed(&self, setup: Setup) -> Setup {
        setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &self.root())
    }

    /// Registers it.
    pub(super) async fn register(&self, calls: &Calls) {
        let request = managed(root("far", self.root()));
        calls.register(request).await.expect("register a storage");
    }
}

/// Moves an artifact there.
pub(super) async fn run(calls: &Calls, base: &pb::Artifact, request_id: &str) -> Outcome<()> {
    let moved = calls.move_artifact(by_uid(&base.uid), "far", Some(request_id)).await?;
    assert_eq!(moved.versions, 1);
    Ok(())
}

/// It lies there under its key, and nowhere else; once, however often it was asked for.
pub(super) async fn assert_moved_once(server: &TestServer, base: &pb::Artifact) {
    let calls = server.calls();
    let moved = calls.get(far(base.key())).await.expect("find it where it is now");
    assert_eq!((&moved.uid, moved.storage.as_str()), (&base.uid, "far"));
    assert_eq!((&moved.hash, moved.size), (&base.hash, base.size));
    let before = calls.get(crate::calls::by_key(base.key())).await;
    assert_eq!(refusal(before), pb::ErrorReason::ArtifactNotFound);
    let events = server
        .query_integer("SELECT count(*) FROM events WHERE kind = 'moved'")
        .await;
    assert_eq!(events, 1, "it moved once");
}
