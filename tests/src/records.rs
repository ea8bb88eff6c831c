//! Features, labels, runs and the like: every RPC as a function, and short ways to make them.

use crate::{
    Calls, Outcome,
    calls::{Line, answer},
};
use artifactd_proto::v1 as pb;
use pb::{
    annotation_service_client::AnnotationServiceClient, feature_service_client::FeatureServiceClient,
    import_labels_request::Message, label_service_client::LabelServiceClient, value::Kind,
};

/// A feature to add.
pub fn feature(name: &str, dtype: &str) -> pb::CreateFeatureRequest {
    pb::CreateFeatureRequest {
        name: name.to_owned(),
        dtype: dtype.to_owned(),
        ..Default::default()
    }
}

/// A param to add.
pub fn param(name: &str, dtype: &str) -> pb::CreateFeatureRequest {
    pb::CreateFeatureRequest {
        role: pb::FeatureRole::Param.into(),
        ..feature(name, dtype)
    }
}

/// A feature by its name.
pub fn feature_named(name: &str) -> Option<pb::FeatureRef> {
    named(name, pb::FeatureRole::Feature)
}

/// A param by its name.
pub fn param_named(name: &str) -> Option<pb::FeatureRef> {
    named(name, pb::FeatureRole::Param)
}

fn named(name: &str, role: pb::FeatureRole) -> Option<pb::FeatureRef> {
    Some(pb::FeatureRef {
        r#ref: Some(pb::feature_ref::Ref::Name(name.to_owned())),
        role: role.into(),
    })
}

/// A label to add to `ULabel`.
pub fn label(name: &str) -> pb::CreateLabelRequest {
    pb::CreateLabelRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

/// A label to add to a registry.
pub fn label_of(registry: &str, name: &str) -> pb::CreateLabelRequest {
    pb::CreateLabelRequest {
        registry: Some(registry.to_owned()),
        ..label(name)
    }
}

/// A label by its name.
pub fn label_named(name: &str) -> pb::LabelName {
    pb::LabelName {
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

/// A label of a registry by its name.
pub fn label_in(registry: &str, name: &str) -> pb::LabelName {
    pb::LabelName {
        registry: Some(registry.to_owned()),
        ..label_named(name)
    }
}

/// The fields that an update changes.
pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Some(prost_types::FieldMask { paths })
}

impl Calls {
    /// The generated client of features.
    pub fn features(&self) -> FeatureServiceClient<Line> {
        FeatureServiceClient::new(self.channel.clone())
    }

    /// The generated client of labels.
    pub fn labels(&self) -> LabelServiceClient<Line> {
        LabelServiceClient::new(self.channel.clone())
    }

    /// Adds a feature or param.
    pub async fn create_feature(&self, request: pb::CreateFeatureRequest) -> Outcome<pb::Feature> {
        answer(self.features().create_feature(request)).await
    }

    /// Finds a feature or param.
    pub async fn get_feature(&self, feature: Option<pb::FeatureRef>) -> Outcome<pb::Feature> {
        answer(self.features().get_feature(pb::GetFeatureRequest { feature })).await
    }

    /// One page of features and params.
    pub async fn list_features(&self, request: pb::ListFeaturesRequest) -> Outcome<pb::ListFeaturesResponse> {
        answer(self.features().list_features(request)).await
    }

    /// Changes a feature or param.
    pub async fn update_feature(&self, request: pb::UpdateFeatureRequest) -> Outcome<pb::Feature> {
        answer(self.features().update_feature(request)).await
    }

    /// Deletes a feature or param.
    pub async fn delete_feature(&self, feature: Option<pb::FeatureRef>) -> Outcome<pb::DeleteFeatureResponse> {
        let request = pb::DeleteFeatureRequest {
            feature,
            ..Default::default()
        };
        answer(self.features().delete_feature(request)).await
    }

    /// Adds a registry of labels.
    pub async fn create_registry(&self, name: &str) -> Outcome<pb::LabelRegistry> {
        let request = pb::CreateLabelRegistryRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        answer(self.labels().create_label_registry(request)).await
    }

    /// Finds a registry of labels.
    pub async fn get_registry(&self, name: &str) -> Outcome<pb::LabelRegistry> {
        let name = name.to_owned();
        answer(self.labels().get_label_registry(pb::GetLabelRegistryRequest { name })).await
    }

    /// Deletes a registry of labels.
    pub async fn delete_registry(&self, name: &str) -> Outcome<pb::DeleteLabelRegistryResponse> {
        let request = pb::DeleteLabelRegistryRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        answer(self.labels().delete_label_registry(request)).await
    }

    /// Adds a label.
    pub async fn create_label(&self, request: pb::CreateLabelRequest) -> Outcome<pb::Label> {
        answer(self.labels().create_label(request)).await
    }

    /// Finds a label.
    pub async fn get_label(&self, label: pb::LabelName) -> Outcome<pb::Label> {
        let label = Some(label);
        answer(self.labels().get_label(pb::GetLabelRequest { label })).await
    }

    /// One page of labels.
    pub async fn list_labels(&self, request: pb::ListLabelsRequest) -> Outcome<pb::ListLabelsResponse> {
        answer(Box::pin(self.labels().list_labels(request))).await
    }

    /// Changes a label.
    pub async fn update_label(&self, request: pb::UpdateLabelRequest) -> Outcome<pb::Label> {
        answer(self.labels().update_label(request)).await
    }

    /// Puts labels right above one, and no others.
    pub async fn set_parents(&self, label: pb::LabelName, parents: Vec<pb::LabelName>) -> Outcome<pb::Label> {
        self.update_label(pb::UpdateLabelRequest {
            label: Some(label),
            update: Some(pb::LabelUpdate {
                parents,
                ..Default::default()
            }),
            update_mask: mask(&["parents"]),
            ..Default::default()
        })
        .await
    }

    /// Deletes a label.
    pub async fn delete_label(&self, label: pb::LabelName) -> Outcome<pb::DeleteLabelResponse> {
        let request = pb::DeleteLabelRequest {
            label: Some(label),
            ..Default::default()
        };
        answer(self.labels().delete_label(request)).await
    }

    /// Says what texts mean in a registry.
    pub async fn resolve_labels(&self, registry: &str, texts: &[&str]) -> Outcome<Vec<pb::ResolvedLabel>> {
        let request = pb::ResolveLabelsRequest {
            registry: Some(registry.to_owned()),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        };
        Ok(answer(self.labels().resolve_labels(request)).await?.labels)
    }

    /// Imports the labels of a file, in chunks of a few bytes.
    pub async fn import_labels(&self, header: pb::ImportLabelsHeader, file: &str) -> Outcome<pb::ImportLabelsResponse> {
        let mut messages = vec![Message::Header(header)];
        let chunks = file.as_bytes().chunks(1_000);
        messages.extend(chunks.map(|chunk| Message::Chunk(chunk.to_vec().into())));
        let messages = messages
            .into_iter()
            .map(|message| pb::ImportLabelsRequest { message: Some(message) });
        let messages: Vec<_> = messages.collect();
        answer(self.labels().import_labels(futures::stream::iter(messages))).await
    }
}

/// A whole number as a value.
pub fn int(value: i64) -> pb::Value {
    of(Kind::IntValue(value))
}

/// A number as a value.
pub fn float(value: f64) -> pb::Value {
    of(Kind::FloatValue(value))
}

/// A text as a value.
pub fn text(value: &str) -> pb::Value {
    of(Kind::StringValue(value.to_owned()))
}

/// True or false as a value.
pub fn boolean(value: bool) -> pb::Value {
    of(Kind::BoolValue(value))
}

/// A date as a value.
pub fn date(value: &str) -> pb::Value {
    of(Kind::DateValue(value.to_owned()))
}

/// A JSON object as a value.
pub fn dict(value: &str) -> pb::Value {
    of(Kind::DictValue(value.to_owned()))
}

/// A label as a value.
pub fn label_value(value: pb::LabelName) -> pb::Value {
    of(Kind::LabelValue(value))
}

/// Some values as one.
pub fn list(values: Vec<pb::Value>) -> pb::Value {
    of(Kind::ListValue(pb::ValueList { values }))
}

/// A value of some kind.
pub fn of(kind: Kind) -> pb::Value {
    pb::Value { kind: Some(kind) }
}

/// Values of one name.
pub fn values(name: &str, values: Vec<pb::Value>) -> pb::FeatureValues {
    pb::FeatureValues {
        name: name.to_owned(),
        values,
        dtype: String::new(),
    }
}

/// Annotations with features alone.
pub fn features(features: Vec<pb::FeatureValues>) -> Option<pb::Annotations> {
    Some(pb::Annotations {
        features,
        ..Default::default()
    })
}

/// Annotations with params alone.
pub fn params(params: Vec<pb::FeatureValues>) -> Option<pb::Annotations> {
    Some(pb::Annotations {
        params,
        ..Default::default()
    })
}

/// Annotations with labels alone.
pub fn labels(labels: Vec<pb::LabelName>) -> Option<pb::Annotations> {
    Some(pb::Annotations {
        labels,
        ..Default::default()
    })
}

/// What annotations say, in a form that is easy to compare: `name: value, value`.
pub fn said(annotations: &pb::Annotations) -> Vec<String> {
    let named = annotations.features.iter().chain(&annotations.params);
    let mut said: Vec<String> = named
        .map(|of| {
            let values: Vec<String> = of.values.iter().map(shown).collect();
            format!("{}: {}", of.name, values.join(", "))
        })
        .collect();
    said.extend(annotations.labels.iter().map(|label| format!("label {}", label.name())));
    said
}

fn shown(value: &pb::Value) -> String {
    match value.kind.as_ref().expect("a value has a kind") {
        Kind::IntValue(value) => value.to_string(),
        Kind::FloatValue(value) => format!("{value:?}"),
        Kind::BoolValue(value) => value.to_string(),
        Kind::StringValue(text) => format!("{text:?}"),
        Kind::DateValue(text) | Kind::DictValue(text) => text.clone(),
        Kind::DatetimeValue(time) => format!("{}.{:09}", time.seconds, time.nanos),
        Kind::ListValue(list) => {
            let items: Vec<String> = list.values.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::LabelValue(label) => format!("{}:{}", label.registry(), label.name()),
    }
}

impl Calls {
    /// The generated client of annotations.
    pub fn annotations(&self) -> AnnotationServiceClient<Line> {
        AnnotationServiceClient::new(self.channel.clone())
    }

    /// Changes annotations.
    pub async fn annotate(&self, request: pb::AnnotateRequest) -> Outcome<pb::AnnotateResponse> {
        answer(self.annotations().annotate(request)).await
    }

    /// Adds annotations to one artifact.
    pub async fn add(&self, artifact: pb::ArtifactRef, add: Option<pb::Annotations>) -> Outcome<pb::AnnotateResponse> {
        let artifacts = vec![artifact];
        self.annotate(pb::AnnotateRequest {
            artifacts,
            add,
            ..Default::default()
        })
        .await
    }

    /// Annotations of one artifact.
    pub async fn annotations_of(&self, artifact: pb::ArtifactRef) -> Outcome<pb::Annotations> {
        let artifacts = vec![artifact];
        let request = pb::GetAnnotationsRequest { artifacts };
        Ok(answer(self.annotations().get_annotations(request))
            .await?
            .annotations
            .remove(0))
    }

    /// Adds the annotations of one artifact to others.
    pub async fn copy_annotations(
        &self,
        from: pb::ArtifactRef,
        to: Vec<pb::ArtifactRef>,
    ) -> Outcome<pb::AnnotateResponse> {
        let request = pb::CopyAnnotationsRequest {
            from: Some(from),
            to,
            request_id: None,
        };
        answer(self.annotations().copy_annotations(request)).await
    }

    /// Asks for all that is known of an artifact.
    pub async fn describe(&self, artifact: pb::ArtifactRef) -> Outcome<pb::DescribeArtifactResponse> {
        let request = pb::DescribeArtifactRequest {
            artifact: Some(artifact),
            include_hidden: false,
        };
        answer(self.annotations().describe_artifact(request)).await
    }
}
