//! Storages, and files in place.

use std::path::Path;

use artifactd_proto::v1::{self as pb, storage_service_client::StorageServiceClient};

use crate::{
    calls::{Calls, Line, answer},
    failure::Outcome,
};

/// A root to register, in which files lie in place.
pub fn root(name: &str, root: impl AsRef<Path>) -> pb::RegisterStorageRequest {
    pb::RegisterStorageRequest {
        name: name.to_owned(),
        root: root.as_ref().display().to_string(),
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
