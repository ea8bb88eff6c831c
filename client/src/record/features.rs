//! Features and params.

use artifactd_proto::v1::{self as pb, feature_service_client::FeatureServiceClient};
use futures::Stream;

use super::{all_pages, call, change};
use crate::{Client, Result};

impl Client {
    /// Adds a feature or param.
    pub async fn create_feature(&self, feature: pb::CreateFeatureRequest) -> Result<pb::Feature> {
        change!(self, FeatureServiceClient, create_feature, "CreateFeature", feature)
    }

    /// Finds a feature or param.
    pub async fn get_feature(&self, feature: pb::FeatureRef) -> Result<pb::Feature> {
        let message = pb::GetFeatureRequest { feature: Some(feature) };
        call!(self, FeatureServiceClient, get_feature, "GetFeature", message)
    }

    /// Features and params, in the order of their names.
    pub fn features(&self, request: pb::ListFeaturesRequest) -> impl Stream<Item = Result<pb::Feature>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let message = pb::ListFeaturesRequest { page_token, ..request };
                let page = call!(client, FeatureServiceClient, list_features, "ListFeatures", message)?;
                Ok((page.features, page.next_page_token))
            }
        })
    }

    /// Changes a feature or param.
    pub async fn update_feature(&self, update: pb::UpdateFeatureRequest) -> Result<pb::Feature> {
        change!(self, FeatureServiceClient, update_feature, "UpdateFeature", update)
    }

    /// Deletes a feature or param that no artifact has a value of.
    pub async fn delete_feature(&self, request: pb::DeleteFeatureRequest) -> Result<()> {
        change!(self, FeatureServiceClient, delete_feature, "DeleteFeature", request).map(drop)
    }
}
