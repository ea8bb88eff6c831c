//! Values of features and params, and labels, of artifacts.

use artifactd_proto::v1::{self as pb, annotation_service_client::AnnotationServiceClient, value::Kind};

use super::{call, change};
use crate::{Artifact, Client, Error, IntoReference, Result, convert};

/// Values of features and params, and labels.
///
/// ```
/// use artifactd_client::Annotations;
///
/// let annotations = Annotations::new()
///     .feature("temperature", 27.6)
///     .feature("scientist", "Barbara McClintock")
///     .feature("scientist", "Edgar Anderson")
///     .label("published");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations(pb::Annotations);

impl Annotations {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a value of a feature; a feature may have several.
    #[must_use]
    pub fn feature(mut self, name: impl Into<String>, value: impl IntoValue) -> Self {
        add(&mut self.0.features, name.into(), value.into_value());
        self
    }

    /// With a value of a param.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl IntoValue) -> Self {
        add(&mut self.0.params, name.into(), value.into_value());
        self
    }

    /// With a label by its name, of the registry that every server has.
    #[must_use]
    pub fn label(self, name: impl Into<String>) -> Self {
        self.label_named(pb::LabelName {
            name: Some(name.into()),
            ..Default::default()
        })
    }

    /// With a label of a registry.
    #[must_use]
    pub fn label_of(self, registry: impl Into<String>, name: impl Into<String>) -> Self {
        self.label_named(pb::LabelName {
            registry: Some(registry.into()),
            name: Some(name.into()),
            ..Default::default()
        })
    }

    fn label_named(mut self, label: pb::LabelName) -> Self {
        self.0.labels.push(label);
        self
    }

    /// As a message.
    pub fn to_message(&self) -> pb::Annotations {
        self.0.clone()
    }
}

impl From<pb::Annotations> for Annotations {
    fn from(message: pb::Annotations) -> Self {
        Self(message)
    }
}

fn add(all: &mut Vec<pb::FeatureValues>, name: String, value: pb::Value) {
    match all.iter_mut().find(|values| values.name == name) {
        Some(values) => values.values.push(value),
        None => all.push(pb::FeatureValues {
            name,
            values: vec![value],
            ..Default::default()
        }),
    }
}

/// Something that is a value of a feature or param.
pub trait IntoValue {
    /// The value.
    fn into_value(self) -> pb::Value;
}

macro_rules! values {
    ($($plain:ty => $kind:ident),*) => {$(
        impl IntoValue for $plain {
            fn into_value(self) -> pb::Value {
                pb::Value { kind: Some(Kind::$kind(self.into())) }
            }
        }
    )*};
}

values!(i64 => IntValue, i32 => IntValue, u32 => IntValue, f64 => FloatValue, bool => BoolValue,
    &str => StringValue, String => StringValue, pb::LabelName => LabelValue);

impl IntoValue for pb::Value {
    fn into_value(self) -> pb::Value {
        self
    }
}

impl<V: IntoValue> IntoValue for Vec<V> {
    fn into_value(self) -> pb::Value {
        let values = self.into_iter().map(V::into_value).collect();
        pb::Value {
            kind: Some(Kind::ListValue(pb::ValueList { values })),
        }
    }
}

impl Client {
    /// Adds values and labels to an artifact; what it has already stays.
    pub async fn annotate(&self, artifact: impl IntoReference, annotations: Annotations) -> Result<Artifact> {
        let message = pb::AnnotateRequest {
            artifacts: vec![convert::reference(artifact.into_reference()?)],
            add: Some(annotations.0),
            ..Default::default()
        };
        let mut answer = self.annotate_with(message).await?;
        let artifact = answer.artifacts.pop();
        convert::some(artifact)
    }

    /// Removes, sets and adds values and labels of one or many artifacts, all or nothing.
    pub async fn annotate_with(&self, request: pb::AnnotateRequest) -> Result<pb::AnnotateResponse> {
        change!(self, AnnotationServiceClient, annotate, "Annotate", request)
    }

    /// The values and labels of an artifact.
    pub async fn annotations(&self, artifact: impl IntoReference) -> Result<Annotations> {
        let message = pb::GetAnnotationsRequest {
            artifacts: vec![convert::reference(artifact.into_reference()?)],
        };
        let answer = call!(
            self,
            AnnotationServiceClient,
            get_annotations,
            "GetAnnotations",
            message
        )?;
        let annotations = answer.annotations.into_iter().next();
        annotations
            .map(Annotations)
            .ok_or_else(|| Error::Answer("an answer without its annotations".to_owned()))
    }

    /// All that is known of an artifact: record, annotations, what made it, what has used it.
    pub async fn describe(&self, artifact: impl IntoReference) -> Result<pb::DescribeArtifactResponse> {
        let message = pb::DescribeArtifactRequest {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            include_hidden: false,
        };
        call!(
            self,
            AnnotationServiceClient,
            describe_artifact,
            "DescribeArtifact",
            message
        )
    }

    /// Adds the values and labels of one artifact to others.
    pub async fn copy_annotations(&self, request: pb::CopyAnnotationsRequest) -> Result<pb::AnnotateResponse> {
        change!(
            self,
            AnnotationServiceClient,
            copy_annotations,
            "CopyAnnotations",
            request
        )
    }
}
