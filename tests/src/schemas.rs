//! Schemas and feature sets: every RPC as a function, and short ways to make them.

use artifactd_proto::v1 as pb;
use pb::schema_service_client::SchemaServiceClient;

use crate::{
    Calls, Outcome,
    calls::{Line, answer},
};

/// A schema of the columns of a table; names that end in `?` are optional.
pub fn schema(name: &str, columns: &[&str], closed: bool) -> pb::CreateSchemaRequest {
    let features = columns.iter().map(|column| pb::SchemaFeature {
        name: column.trim_end_matches('?').to_owned(),
        optional: column.ends_with('?'),
        dtype: String::new(),
    });
    pb::CreateSchemaRequest {
        name: name.to_owned(),
        slots: vec![pb::SchemaSlot {
            slot: "columns".to_owned(),
            features: features.collect(),
            closed,
        }],
        ..Default::default()
    }
}

impl Calls {
    /// The generated client of schemas.
    pub fn schemas(&self) -> SchemaServiceClient<Line> {
        SchemaServiceClient::new(self.channel.clone())
    }

    /// Adds a schema.
    pub async fn create_schema(&self, request: pb::CreateSchemaRequest) -> Outcome<pb::Schema> {
        answer(self.schemas().create_schema(request)).await
    }

    /// Finds a schema.
    pub async fn get_schema(&self, name: &str) -> Outcome<pb::Schema> {
        let request = pb::GetSchemaRequest { name: name.to_owned() };
        answer(self.schemas().get_schema(request)).await
    }

    /// Lists schemas.
    pub async fn list_schemas(&self, request: pb::ListSchemasRequest) -> Outcome<pb::ListSchemasResponse> {
        answer(self.schemas().list_schemas(request)).await
    }

    /// Deletes a schema.
    pub async fn delete_schema(&self, name: &str) -> Outcome<pb::DeleteSchemaResponse> {
        let request = pb::DeleteSchemaRequest {
            name: name.to_owned(),
            request_id: None,
        };
        answer(self.schemas().delete_schema(request)).await
    }

    /// Says in what an artifact breaks a schema, as `slot.name: what`.
    pub async fn check_schema(&self, schema: &str, artifact: pb::ArtifactRef) -> Outcome<Vec<String>> {
        let request = pb::CheckSchemaRequest {
            schema: schema.to_owned(),
            artifact: Some(artifact),
        };
        let faults = answer(self.schemas().check_schema(request)).await?.faults;
        let told = faults
            .iter()
            .map(|fault| format!("{}.{} {}", fault.slot, fault.name, fault.description));
        Ok(told.collect())
    }

    /// Finds a feature set.
    pub async fn get_feature_set(&self, uid: &str) -> Outcome<pb::FeatureSet> {
        let request = pb::GetFeatureSetRequest { uid: uid.to_owned() };
        answer(self.schemas().get_feature_set(request)).await
    }
}
