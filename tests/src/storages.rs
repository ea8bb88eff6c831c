//! Storages, and files in place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use artifactd_proto::v1::{self as pb, storage_service_client::StorageServiceClient};

use crate::{
    Backend, TestServer,
    calls::{Calls, Line, answer, by_text},
    failure::Outcome,
    server::Setup,
};

/// A server with two storages that it writes, its own and `far`, and `lab`, where files lie
/// in place.
#[derive(Debug)]
pub struct Places {
    /// The server.
    pub server: TestServer,
    _folder: tempfile::TempDir,
    /// Root of `lab`.
    pub lab: PathBuf,
    /// Root of `far`.
    pub far: PathBuf,
}

impl Places {
    /// Starts one on a backend.
    pub async fn on(backend: Backend) -> Self {
        Self::of(TestServer::setup().on(backend)).await
    }

    /// Starts one.
    ///
    /// # Panics
    /// When a part is missing.
    pub async fn of(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        let real = folder.path().canonicalize().expect("it is there");
        let (lab, far) = (real.join("lab"), real.join("far"));
        fs::create_dir(&lab).expect("make a folder");
        fs::create_dir(&far).expect("make a folder");
        let from = real.to_str().expect("a plain path");
        let setup = setup.without_grace().env("ARTIFACTD_STORAGE__REGISTER_FROM", from);
        let server = setup.start().await;
        for request in [root("lab", &lab), managed(root("far", &far))] {
            server.calls().register(request).await.expect("register a root");
        }
        Self {
            server,
            _folder: folder,
            lab,
            far,
        }
    }

    /// Objects in the storage called `far`.
    pub fn far_objects(&self) -> usize {
        self.in_far("objects")
    }

    /// Packs in it.
    pub fn far_packs(&self) -> usize {
        self.in_far("packs")
    }

    fn in_far(&self, kind: &str) -> usize {
        let folders = fs::read_dir(self.far.join(".artifactd").join(kind));
        let count = |folder: fs::DirEntry| fs::read_dir(folder.path()).map_or(0, Iterator::count);
        folders.into_iter().flatten().flatten().map(count).sum()
    }

    /// How many contents are known of the storages but `far`.
    pub async fn near_contents(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM blobs JOIN storages ON storages.id = blobs.storage_id \
             WHERE storages.name <> 'far'";
        self.server.query_integer(COUNT).await
    }

    /// How many objects are garbage and still there.
    pub async fn garbage(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM objects WHERE garbage_since_us IS NOT NULL AND deleted_at_us IS NULL";
        self.server.query_integer(COUNT).await
    }
}

/// What has this key in `far`.
pub fn far(key: &str) -> pb::ArtifactRef {
    by_text(&format!("far::{key}"))
}

/// A root that the server writes.
pub fn managed(request: pb::RegisterStorageRequest) -> pb::RegisterStorageRequest {
    pb::RegisterStorageRequest {
        managed: true,
        ..request
    }
}

/// A root to register, in which files lie in place.
pub fn root(name: &str, root: impl AsRef<Path>) -> pb::RegisterStorageRequest {
    pb::RegisterStorageRequest {
        name: name.to_owned(),
        root: root.as_ref().display().to_string(),
        ..Default::default()
    }
}

/// Destroys an artifact and what lies in place of it.
pub fn removing(artifact: pb::ArtifactRef) -> pb::DeleteArtifactRequest {
    pb::DeleteArtifactRequest {
        artifact: Some(artifact),
        permanent: true,
        force: true,
        storage: pb::DeleteStorage::Delete.into(),
        ..Default::default()
    }
}

impl Calls {
    /// Calls of the storage service.
    pub fn storages(&self) -> StorageServiceClient<Line> {
        StorageServiceClient::new(self.channel.clone())
    }

    /// Registers a root.
    pub async fn register(&self, request: pb::RegisterStorageRequest) -> Outcome<pb::Storage> {
        answer(self.storages().register_storage(request)).await
    }

    /// Finds a storage.
    pub async fn get_storage(&self, name: &str) -> Outcome<pb::Storage> {
        let name = name.to_owned();
        answer(self.storages().get_storage(pb::GetStorageRequest { name })).await
    }

    /// All storages.
    pub async fn list_storages(&self) -> Outcome<Vec<pb::Storage>> {
        let listed = answer(self.storages().list_storages(pb::ListStoragesRequest {})).await?;
        Ok(listed.storages)
    }

    /// Changes what is said of a storage.
    pub async fn update_storage(&self, request: pb::UpdateStorageRequest) -> Outcome<pb::Storage> {
        answer(self.storages().update_storage(request)).await
    }

    /// Forgets a storage.
    pub async fn delete_storage(&self, name: &str) -> Outcome<pb::DeleteStorageResponse> {
        let request = pb::DeleteStorageRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        answer(self.storages().delete_storage(request)).await
    }

    /// Registers a file in place.
    pub async fn register_file(&self, uri: &str) -> Outcome<pb::SaveArtifactResponse> {
        self.register_file_as(uri, pb::SaveHeader::default()).await
    }

    /// Registers a file in place, of which something is said.
    pub async fn register_file_as(&self, uri: &str, header: pb::SaveHeader) -> Outcome<pb::SaveArtifactResponse> {
        let request = pb::RegisterFileRequest {
            uri: uri.to_owned(),
            header: Some(header),
        };
        answer(self.storages().register_file(request)).await
    }

    /// Registers a folder in place.
    pub async fn register_folder(&self, uri: &str) -> Outcome<pb::SaveArtifactResponse> {
        let request = pb::RegisterFolderRequest {
            uri: uri.to_owned(),
            header: None,
        };
        answer(self.storages().register_folder(request)).await
    }

    /// Registers each file below a prefix; answers what became of them.
    pub async fn register_files(&self, uri: &str) -> Outcome<Vec<pb::RegisterFilesResponse>> {
        let request = pb::RegisterFilesRequest {
            uri: uri.to_owned(),
            header: None,
        };
        let mut files = answer(self.storages().register_files(request)).await?;
        let mut all = Vec::new();
        while let Some(file) = files.message().await? {
            all.push(file);
        }
        Ok(all)
    }

    /// Moves an artifact to another storage.
    pub async fn move_artifact(
        &self,
        artifact: pb::ArtifactRef,
        storage: &str,
        request_id: Option<&str>,
    ) -> Outcome<pb::MoveArtifactResponse> {
        let request = pb::MoveArtifactRequest {
            artifact: Some(artifact),
            storage: storage.to_owned(),
            request_id: request_id.map(str::to_owned),
        };
        answer(self.storages().move_artifact(request)).await
    }
}
