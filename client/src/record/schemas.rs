//! Schemas and feature sets.

use artifactd_proto::v1::{self as pb, schema_service_client::SchemaServiceClient};
use futures::Stream;

use super::{all_pages, call, change};
use crate::{Client, IntoReference, Result, convert};

impl Client {
    /// Adds a schema. A save keeps to it by [`SaveOptions::schema`](crate::SaveOptions::schema).
    pub async fn create_schema(&self, schema: pb::CreateSchemaRequest) -> Result<pb::Schema> {
        change!(self, SchemaServiceClient, create_schema, "CreateSchema", schema)
    }

    /// Finds a schema.
    pub async fn get_schema(&self, name: impl Into<String>) -> Result<pb::Schema> {
        let message = pb::GetSchemaRequest { name: name.into() };
        call!(self, SchemaServiceClient, get_schema, "GetSchema", message)
    }

    /// Schemas, in the order of their names.
    pub fn schemas(&self, request: pb::ListSchemasRequest) -> impl Stream<Item = Result<pb::Schema>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let message = pb::ListSchemasRequest { page_token, ..request };
                let page = call!(client, SchemaServiceClient, list_schemas, "ListSchemas", message)?;
                Ok((page.schemas, page.next_page_token))
            }
        })
    }

    /// Deletes a schema under which nothing was saved.
    pub async fn delete_schema(&self, name: impl Into<String>) -> Result<()> {
        let message = pb::DeleteSchemaRequest {
            name: name.into(),
            request_id: None,
        };
        change!(self, SchemaServiceClient, delete_schema, "DeleteSchema", message).map(drop)
    }

    /// Everything in which the table of an artifact breaks a schema.
    pub async fn check_schema(
        &self,
        schema: impl Into<String>,
        artifact: impl IntoReference,
    ) -> Result<Vec<pb::SchemaFault>> {
        let message = pb::CheckSchemaRequest {
            schema: schema.into(),
            artifact: Some(convert::reference(artifact.into_reference()?)),
        };
        let answer = call!(self, SchemaServiceClient, check_schema, "CheckSchema", message)?;
        Ok(answer.faults)
    }

    /// Finds a feature set with its members.
    pub async fn get_feature_set(&self, uid: impl Into<String>) -> Result<pb::FeatureSet> {
        let message = pb::GetFeatureSetRequest { uid: uid.into() };
        call!(self, SchemaServiceClient, get_feature_set, "GetFeatureSet", message)
    }
}
