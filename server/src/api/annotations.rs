//! `AnnotationService`, and annotations in messages.

use artifactd_domain::{ArtifactRef, Json, Value, moment};
use artifactd_proto::v1::{self as pb, ErrorReason, annotation_service_server::AnnotationService};
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, call_id,
    convert::{self, refused, request_key, timestamp},
    labels::label_name,
    layer::CallId,
    runs, schemas, status, transforms,
};
use crate::registry::{Annotated, Annotation, Annotations, AnnotationsOf, Description, NamedValues, Rule, ValuesOf};

/// Most artifacts of one call.
const ARTIFACTS_MAX: usize = 1_000;

/// Most values of one call, over all names.
const VALUES_MAX: usize = 10_000;

type Result<T> = std::result::Result<T, Status>;

#[async_trait]
impl AnnotationService for Api {
    async fn annotate(&self, request: Request<pb::AnnotateRequest>) -> Result<Response<pb::AnnotateResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let annotation = annotation(request.into_inner(), &call_id)?;
        let annotated = self.registry.annotate(&caller, annotation).await;
        let annotated = annotated.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(response(annotated)))
    }

    async fn get_annotations(
        &self,
        request: Request<pb::GetAnnotationsRequest>,
    ) -> Result<Response<pb::GetAnnotationsResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let artifacts = references(request.into_inner().artifacts, "artifacts", &call_id)?;
        let found = self.registry.annotations(&caller, &artifacts).await;
        let found = found.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(pb::GetAnnotationsResponse {
            annotations: found.into_iter().map(annotations_of).collect(),
        }))
    }

    async fn describe_artifact(
        &self,
        request: Request<pb::DescribeArtifactRequest>,
    ) -> Result<Response<pb::DescribeArtifactResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let pb::DescribeArtifactRequest {
            artifact,
            include_hidden,
        } = request.into_inner();
        let reference = convert::reference(artifact, &call_id)?;
        let described = self.registry.describe(&caller, &reference, include_hidden).await;
        let described = described.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(description(described)))
    }

    async fn copy_annotations(
        &self,
        request: Request<pb::CopyAnnotationsRequest>,
    ) -> Result<Response<pb::AnnotateResponse>> {
        let caller = self.caller(&request)?;
        let call_id = call_id(&caller);
        let mut message = request.into_inner();
        let id = message.request_id.take();
        let key = request_key("CopyAnnotations", id, "request_id", &message, &call_id)?;
        let pb::CopyAnnotationsRequest {
            from,
            to,
            request_id: _,
        } = message;
        let from = convert::reference_in(from, &convert::FROM, &call_id)?;
        let to = references(to, "to", &call_id)?;
        let copied = self.registry.copy_annotations(&caller, &from, to, key).await;
        let copied = copied.map_err(|error| status::from_registry(error, &call_id))?;
        Ok(Response::new(response(copied)))
    }
}

fn description(described: Description) -> pb::DescribeArtifactResponse {
    let Description {
        artifact,
        annotations,
        run,
        transform,
        input_of,
        collections,
        more_collections,
        versions,
        feature_sets,
        schema,
    } = described;
    pb::DescribeArtifactResponse {
        artifact: Some(convert::artifact(artifact)),
        annotations: Some(annotations_of(annotations)),
        run: run.map(runs::run),
        transform: transform.map(transforms::transform),
        input_of_runs: input_of.0,
        input_of_run_uids: input_of.1,
        collections: collections.into_iter().map(super::collections::collection).collect(),
        more_collections,
        versions,
        feature_sets: feature_sets.into_iter().map(schemas::slot_of_artifact).collect(),
        schema,
    }
}

/// The artifacts of a call: at least one, not too many.
pub(super) fn references(
    messages: Vec<pb::ArtifactRef>,
    field: &'static str,
    call_id: &CallId,
) -> Result<Vec<ArtifactRef>> {
    if messages.is_empty() {
        return Err(refused(call_id, field, Rule::Required));
    }
    if messages.len() > ARTIFACTS_MAX {
        let rule = format!("must be at most {ARTIFACTS_MAX}, got {}", messages.len());
        return Err(status::field(call_id, field, rule));
    }
    let messages = messages.into_iter();
    messages
        .map(|message| convert::reference_in(Some(message), &convert::ARTIFACTS, call_id))
        .collect()
}

/// What to change in the annotations of some artifacts.
pub(super) fn annotation(mut message: pb::AnnotateRequest, call_id: &CallId) -> Result<Annotation> {
    let id = message.request_id.take();
    let request = request_key("Annotate", id, "request_id", &message, call_id)?;
    let pb::AnnotateRequest {
        artifacts,
        clear,
        remove,
        set,
        add,
        register_missing,
        etag,
        request_id: _,
    } = message;
    let artifacts = references(artifacts, "artifacts", call_id)?;
    let mut values = 0;
    let mut read = |name: &str, message: Option<pb::Annotations>| -> Result<Annotations> {
        let read = annotations(message.unwrap_or_default(), name, call_id)?;
        values += size(&read);
        Ok(read)
    };
    let (remove, set, add) = (read("remove", remove)?, read("set", set)?, read("add", add)?);
    if values > VALUES_MAX {
        let rule = format!("must have at most {VALUES_MAX} values together, got {values}");
        return Err(status::field(call_id, "add", rule));
    }
    if !clear && remove.is_empty() && set.is_empty() && add.is_empty() {
        return Err(refused(call_id, "add", Rule::Required));
    }
    Ok(Annotation {
        artifacts,
        clear,
        remove,
        set,
        add,
        register_missing,
        etag,
        request,
    })
}

fn size(annotations: &Annotations) -> usize {
    let named = annotations.features.iter().chain(&annotations.params);
    annotations.labels.len() + named.map(|named| named.values.len().max(1)).sum::<usize>()
}

/// Annotations of a request. Only their form is checked; `path` says where they stand.
pub(super) fn annotations(message: pb::Annotations, path: &str, call_id: &CallId) -> Result<Annotations> {
    let pb::Annotations {
        features,
        params,
        labels,
    } = message;
    let mut faults = Vec::new();
    let mut named = |messages: Vec<pb::FeatureValues>, kind: &str| -> Vec<NamedValues> {
        let mut read = Vec::with_capacity(messages.len());
        for (place, message) in messages.into_iter().enumerate() {
            let pb::FeatureValues { name, values, dtype: _ } = message;
            let mut kept = Vec::with_capacity(values.len());
            for (number, message) in values.into_iter().enumerate() {
                match value(message, true) {
                    Ok(value) => kept.push(value),
                    Err(fault) => faults.push((format!("{path}.{kind}[{place}].values[{number}]"), fault)),
                }
            }
            read.push(NamedValues { name, values: kept });
        }
        read
    };
    let (features, params) = (named(features, "features"), named(params, "params"));
    if !faults.is_empty() {
        return Err(status::faults(call_id, ErrorReason::AnnotationInvalid, &faults));
    }
    let labels = labels.into_iter().map(|label| label_name(label, "labels", call_id));
    Ok(Annotations {
        features,
        params,
        labels: labels.collect::<Result<_>>()?,
    })
}

/// A value of a message, or what is wrong with its form.
pub(super) fn value(message: pb::Value, lists: bool) -> std::result::Result<Value, String> {
    use pb::value::Kind;
    Ok(match message.kind.ok_or("is required")? {
        Kind::IntValue(value) => Value::Int(value),
        Kind::FloatValue(value) if value.is_finite() => Value::Float(value),
        Kind::FloatValue(_) => return Err("must be a finite number".to_owned()),
        Kind::BoolValue(value) => Value::Bool(value),
        Kind::StringValue(text) => Value::Text(text),
        Kind::DateValue(text) => Value::Date(moment::read_date(&text).map_err(|error| error.to_string())?),
        Kind::DatetimeValue(time) => Value::Time(time_us(time)?),
        Kind::DictValue(text) => match Json::read(&text).map_err(|error| error.to_string())? {
            json @ Json::Object(_) => Value::Dict(json),
            _ => return Err("must be a JSON object".to_owned()),
        },
        Kind::ListValue(_) if !lists => return Err("must not be a list in a list".to_owned()),
        Kind::ListValue(list) => {
            let items = list.values.into_iter().map(|item| value(item, false));
            Value::List(items.collect::<std::result::Result<_, _>>()?)
        }
        Kind::LabelValue(label) => {
            use artifactd_domain::{LabelBy, LabelName};
            let by = match (label.uid, label.name, label.ontology_id) {
                (Some(uid), _, _) => LabelBy::Uid(uid),
                (None, Some(name), _) => LabelBy::Name(name),
                (None, None, Some(id)) => LabelBy::OntologyId(id),
                (None, None, None) => return Err("must name a label".to_owned()),
            };
            let registry = label.registry.map(|name| name.parse()).transpose();
            let registry =
                registry.map_err(|error: artifactd_domain::NameRefused| format!("has a registry that {error}"))?;
            Value::Label(LabelName { registry, by })
        }
    })
}

fn time_us(time: prost_types::Timestamp) -> std::result::Result<i64, String> {
    let in_range = (0..1_000_000_000).contains(&time.nanos);
    let us = time.seconds.checked_mul(1_000_000).filter(|_| in_range);
    let us = us.and_then(|us| us.checked_add(i64::from(time.nanos) / 1_000));
    let us = us.filter(|us| moment::is_time(*us));
    us.ok_or_else(|| moment::MomentRefused::Time.to_string())
}

/// A value as a message.
pub(super) fn value_message(value: Value) -> pb::Value {
    use pb::value::Kind;
    let kind = match value {
        Value::Int(value) => Kind::IntValue(value),
        Value::Float(value) => Kind::FloatValue(value),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Text(text) => Kind::StringValue(text),
        Value::Date(days) => Kind::DateValue(moment::write_date(days)),
        Value::Time(us) => Kind::DatetimeValue(timestamp(us)),
        Value::Dict(json) => Kind::DictValue(json.to_string()),
        Value::List(items) => Kind::ListValue(pb::ValueList {
            values: items.into_iter().map(value_message).collect(),
        }),
        Value::Label(label) => Kind::LabelValue(pb::LabelName {
            registry: label.registry.map(|name| name.to_string()),
            name: Some(match label.by {
                artifactd_domain::LabelBy::Uid(text)
                | artifactd_domain::LabelBy::Name(text)
                | artifactd_domain::LabelBy::OntologyId(text) => text,
            }),
            ..Default::default()
        }),
    };
    pb::Value { kind: Some(kind) }
}

fn label_message((registry, uid, name, ontology_id): crate::registry::LabelOf) -> pb::LabelName {
    pb::LabelName {
        registry: Some(registry),
        uid: Some(uid),
        name: Some(name),
        ontology_id,
    }
}

fn values_of(of: ValuesOf) -> pb::FeatureValues {
    let ValuesOf {
        name,
        dtype,
        values,
        labels,
    } = of;
    let labels = labels.into_iter().map(|label| pb::Value {
        kind: Some(pb::value::Kind::LabelValue(label_message(label))),
    });
    let mut values: Vec<pb::Value> = values.into_iter().map(value_message).chain(labels).collect();
    if dtype.is_list && dtype.is_categorical() {
        let list = pb::ValueList { values };
        values = vec![pb::Value {
            kind: Some(pb::value::Kind::ListValue(list)),
        }];
    }
    pb::FeatureValues {
        name,
        values,
        dtype: dtype.to_string(),
    }
}

/// What is known of an artifact, as a message.
pub(super) fn annotations_of(of: AnnotationsOf) -> pb::Annotations {
    let AnnotationsOf {
        features,
        params,
        labels,
    } = of;
    pb::Annotations {
        features: features.into_iter().map(values_of).collect(),
        params: params.into_iter().map(values_of).collect(),
        labels: labels.into_iter().map(label_message).collect(),
    }
}

/// What became of annotations.
pub(super) fn response(annotated: Annotated) -> pb::AnnotateResponse {
    let Annotated {
        artifacts,
        added,
        removed,
        registered,
    } = annotated;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    pb::AnnotateResponse {
        artifacts: convert::artifacts(artifacts),
        added: count(added),
        removed: count(removed),
        registered_features: registered.features,
        registered_labels: registered.labels,
    }
}
