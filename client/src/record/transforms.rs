//! Transforms: the programs that runs are runs of.

use artifactd_proto::v1::{self as pb, transform_service_client::TransformServiceClient};
use futures::Stream;

use super::{all_pages, call, change};
use crate::{Client, Result};

impl Client {
    /// Adds a transform, or a version of one; the same again is answered as it is.
    pub async fn create_transform(&self, transform: pb::CreateTransformRequest) -> Result<pb::CreateTransformResponse> {
        change!(
            self,
            TransformServiceClient,
            create_transform,
            "CreateTransform",
            transform
        )
    }

    /// Finds a transform.
    pub async fn get_transform(&self, transform: pb::TransformRef) -> Result<pb::Transform> {
        let message = pb::GetTransformRequest {
            transform: Some(transform),
        };
        call!(self, TransformServiceClient, get_transform, "GetTransform", message)
    }

    /// Transforms, in the order of their keys.
    pub fn transforms(
        &self,
        request: pb::ListTransformsRequest,
    ) -> impl Stream<Item = Result<pb::Transform>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let message = pb::ListTransformsRequest { page_token, ..request };
                let page = call!(
                    client,
                    TransformServiceClient,
                    list_transforms,
                    "ListTransforms",
                    message
                )?;
                Ok((page.transforms, page.next_page_token))
            }
        })
    }

    /// Changes what is said of a transform.
    pub async fn update_transform(&self, update: pb::UpdateTransformRequest) -> Result<pb::Transform> {
        change!(
            self,
            TransformServiceClient,
            update_transform,
            "UpdateTransform",
            update
        )
    }

    /// Deletes a transform of which there is no run.
    pub async fn delete_transform(&self, request: pb::DeleteTransformRequest) -> Result<()> {
        change!(
            self,
            TransformServiceClient,
            delete_transform,
            "DeleteTransform",
            request
        )
        .map(drop)
    }
}
