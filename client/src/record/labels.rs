//! Labels and their registries.

use artifactd_proto::v1::{self as pb, import_labels_request::Message, label_service_client::LabelServiceClient};
use bytes::Bytes;
use futures::{Stream, stream};

use super::{all_pages, call, change};
use crate::{Client, Error, Result};

/// Bytes of a file of labels in one message.
const PIECE_BYTES: usize = 256 * 1024;

impl Client {
    /// Adds a registry of labels.
    pub async fn create_label_registry(&self, registry: pb::CreateLabelRegistryRequest) -> Result<pb::LabelRegistry> {
        change!(
            self,
            LabelServiceClient,
            create_label_registry,
            "CreateLabelRegistry",
            registry
        )
    }

    /// Finds a registry of labels.
    pub async fn get_label_registry(&self, request: pb::GetLabelRegistryRequest) -> Result<pb::LabelRegistry> {
        call!(
            self,
            LabelServiceClient,
            get_label_registry,
            "GetLabelRegistry",
            request
        )
    }

    /// Registries of labels, in the order of their names.
    pub fn label_registries(&self) -> impl Stream<Item = Result<pb::LabelRegistry>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let client = client.clone();
            async move {
                let message = pb::ListLabelRegistriesRequest {
                    page_token,
                    ..Default::default()
                };
                let page = call!(
                    client,
                    LabelServiceClient,
                    list_label_registries,
                    "ListLabelRegistries",
                    message
                )?;
                Ok((page.registries, page.next_page_token))
            }
        })
    }

    /// Changes a registry of labels.
    pub async fn update_label_registry(&self, update: pb::UpdateLabelRegistryRequest) -> Result<pb::LabelRegistry> {
        change!(
            self,
            LabelServiceClient,
            update_label_registry,
            "UpdateLabelRegistry",
            update
        )
    }

    /// Deletes a registry that no label and no feature is of.
    pub async fn delete_label_registry(&self, request: pb::DeleteLabelRegistryRequest) -> Result<()> {
        change!(
            self,
            LabelServiceClient,
            delete_label_registry,
            "DeleteLabelRegistry",
            request
        )
        .map(drop)
    }

    /// Adds a label.
    pub async fn create_label(&self, label: pb::CreateLabelRequest) -> Result<pb::Label> {
        change!(self, LabelServiceClient, create_label, "CreateLabel", label)
    }

    /// Finds a label.
    pub async fn get_label(&self, label: pb::LabelName) -> Result<pb::Label> {
        let message = pb::GetLabelRequest { label: Some(label) };
        call!(self, LabelServiceClient, get_label, "GetLabel", message)
    }

    /// Labels, in the order of their names.
    pub fn labels(&self, request: pb::ListLabelsRequest) -> impl Stream<Item = Result<pb::Label>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let message = pb::ListLabelsRequest { page_token, ..request };
                let page = call!(client, LabelServiceClient, list_labels, "ListLabels", message)?;
                Ok((page.labels, page.next_page_token))
            }
        })
    }

    /// Changes a label.
    pub async fn update_label(&self, update: pb::UpdateLabelRequest) -> Result<pb::Label> {
        change!(self, LabelServiceClient, update_label, "UpdateLabel", update)
    }

    /// Deletes a label that no artifact has, and under which there is none.
    pub async fn delete_label(&self, request: pb::DeleteLabelRequest) -> Result<()> {
        change!(self, LabelServiceClient, delete_label, "DeleteLabel", request).map(drop)
    }

    /// The labels that texts mean: by name, identifier, abbreviation or synonym.
    pub async fn resolve_labels(&self, request: pb::ResolveLabelsRequest) -> Result<Vec<pb::ResolvedLabel>> {
        let answer = call!(self, LabelServiceClient, resolve_labels, "ResolveLabels", request)?;
        Ok(answer.labels)
    }

    /// Adds the labels of a file (OBO, TSV or CSV) to a registry.
    pub async fn import_labels(
        &self,
        header: pb::ImportLabelsHeader,
        file: impl Into<Bytes>,
    ) -> Result<pb::ImportLabelsResponse> {
        let file: Bytes = file.into();
        let call = |request: tonic::Request<(pb::ImportLabelsHeader, Bytes)>| {
            let mut labels = LabelServiceClient::new(self.line(0));
            let (metadata, extensions, (header, file)) = request.into_parts();
            let pieces: Vec<Bytes> = pieces_of(file);
            let header = std::iter::once(Message::Header(header));
            let messages = header.chain(pieces.into_iter().map(Message::Chunk));
            let messages = messages.map(|message| pb::ImportLabelsRequest { message: Some(message) });
            let messages = stream::iter(messages.collect::<Vec<_>>());
            let request = tonic::Request::from_parts(metadata, extensions, messages);
            async move { labels.import_labels(request).await }
        };
        self.call("ImportLabels", (header, file), call).await
    }

    /// The same from a file here.
    pub async fn import_label_file(
        &self,
        header: pb::ImportLabelsHeader,
        path: impl AsRef<std::path::Path>,
    ) -> Result<pb::ImportLabelsResponse> {
        let path = path.as_ref();
        let file = tokio::fs::read(path).await;
        let file = file.map_err(|error| Error::Input(format!("{}: {error}", path.display())))?;
        self.import_labels(header, file).await
    }
}

fn pieces_of(mut file: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while !file.is_empty() {
        pieces.push(file.split_to(PIECE_BYTES.min(file.len())));
    }
    pieces
}
