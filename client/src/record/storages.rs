//! Storages: roots where bytes live, and files in them that become artifacts where they lie.

use std::time::Duration;

use artifactd_proto::v1::{
    self as pb, register_files_response::Result as Outcome, storage_service_client::StorageServiceClient,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{call, change};
use crate::{Artifact, Client, Error, IntoReference, Result, SaveOptions, Saved, convert};

/// What the server may take to read a file or folder that it registers.
const READING_WAIT: Duration = Duration::from_secs(6 * 60 * 60);

impl Client {
    /// Registers a root, once the server has opened and tried it.
    pub async fn register_storage(&self, storage: pb::RegisterStorageRequest) -> Result<pb::Storage> {
        change!(self, StorageServiceClient, register_storage, "RegisterStorage", storage)
    }

    /// Finds a storage.
    pub async fn get_storage(&self, name: impl Into<String>) -> Result<pb::Storage> {
        let message = pb::GetStorageRequest { name: name.into() };
        call!(self, StorageServiceClient, get_storage, "GetStorage", message)
    }

    /// All storages, in the order of their names.
    pub async fn storages(&self) -> Result<Vec<pb::Storage>> {
        let message = pb::ListStoragesRequest {};
        let answer = call!(self, StorageServiceClient, list_storages, "ListStorages", message)?;
        Ok(answer.storages)
    }

    /// Changes what is said of a storage.
    pub async fn update_storage(&self, update: pb::UpdateStorageRequest) -> Result<pb::Storage> {
        change!(self, StorageServiceClient, update_storage, "UpdateStorage", update)
    }

    /// Forgets a storage in which there is nothing. Its files stay.
    pub async fn delete_storage(&self, request: pb::DeleteStorageRequest) -> Result<()> {
        change!(self, StorageServiceClient, delete_storage, "DeleteStorage", request).map(drop)
    }

    /// Makes a file an artifact where it lies, without a copy: a path of the server's
    /// machine or a URL, below the root of a storage that is not managed.
    ///
    /// ```no_run
    /// # async fn example(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// use artifactd_client::SaveOptions;
    ///
    /// let options = SaveOptions::described("my file in the bucket");
    /// let saved = client.register_file("s3://my-bucket/my-file.csv", options).await?;
    /// assert_eq!(saved.artifact.key.as_deref(), Some("my-file.csv"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn register_file(&self, uri: impl Into<String>, options: SaveOptions) -> Result<Saved> {
        let message = pb::RegisterFileRequest {
            uri: uri.into(),
            header: Some(convert::save_header(options)),
        };
        let call = |request| {
            let mut storages = StorageServiceClient::new(self.line(0));
            async move { storages.register_file(request).await }
        };
        convert::saved(self.call_within(READING_WAIT, "RegisterFile", message, call).await?)
    }

    /// Makes all files below a path or URL one artifact, a folder, where they lie.
    pub async fn register_folder(&self, uri: impl Into<String>, options: SaveOptions) -> Result<Saved> {
        let message = pb::RegisterFolderRequest {
            uri: uri.into(),
            header: Some(convert::save_header(options)),
        };
        let call = |request| {
            let mut storages = StorageServiceClient::new(self.line(0));
            async move { storages.register_folder(request).await }
        };
        convert::saved(self.call_within(READING_WAIT, "RegisterFolder", message, call).await?)
    }

    /// Moves an artifact with all its versions to a storage that the server writes. Answers
    /// its newest version, and how many bytes had to be copied.
    pub async fn move_artifact(
        &self,
        artifact: impl IntoReference,
        storage: impl Into<String>,
    ) -> Result<(Artifact, u64)> {
        let message = pb::MoveArtifactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            storage: storage.into(),
            request_id: Some(convert::draw_request_id()),
        };
        let call = |request| {
            let mut storages = StorageServiceClient::new(self.line(0));
            async move { storages.move_artifact(request).await }
        };
        let answer = self.call_within(READING_WAIT, "MoveArtifact", message, call).await?;
        let artifact = answer
            .artifact
            .ok_or_else(|| Error::Answer("a move without its artifact".to_owned()))?;
        Ok((convert::artifact(artifact)?, answer.copied_bytes.unsigned_abs()))
    }

    /// Makes each file below a path or URL an artifact, where it lies: a key and what became
    /// of it for each, as they are done. After a lost connection the same call goes on, as
    /// what is registered already is answered as it is.
    pub fn register_files(
        &self,
        uri: &str,
        options: SaveOptions,
    ) -> impl Stream<Item = Result<(String, Result<Saved>)>> + Send + use<> {
        let message = pb::RegisterFilesRequest {
            uri: uri.to_owned(),
            // Each file is a request of its own, which its place names.
            header: Some(pb::SaveHeader {
                request_id: None,
                ..convert::save_header(options)
            }),
        };
        let mut storages = StorageServiceClient::new(self.line(0));
        let answers = async move {
            let answers = storages.register_files(message).await?.into_inner();
            Ok::<_, Error>(
                answers
                    .map_err(Error::from)
                    .and_then(|answer| async { outcome(answer) }),
            )
        };
        stream::once(answers).try_flatten().boxed()
    }
}

fn outcome(answer: pb::RegisterFilesResponse) -> Result<(String, Result<Saved>)> {
    let result = match answer.result {
        Some(Outcome::Saved(saved)) => Ok(convert::saved(saved)?),
        Some(Outcome::Error(status)) => Err(convert::status_in_message(status).into()),
        None => return Err(Error::Answer(format!("{} without a result", answer.key))),
    };
    Ok((answer.key, result))
}
