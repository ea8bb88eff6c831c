//! Values, labels, runs and times, for people.

use artifactd_client::messages::{self as pb, value::Kind};

/// A value on one line.
pub(crate) fn value(value: &pb::Value) -> String {
    match &value.kind {
        None => "-".to_owned(),
        Some(Kind::IntValue(number)) => number.to_string(),
        Some(Kind::FloatValue(number)) => number.to_string(),
        Some(Kind::BoolValue(is)) => is.to_string(),
        Some(Kind::StringValue(text) | Kind::DateValue(text) | Kind::DictValue(text)) => text.clone(),
        Some(Kind::DatetimeValue(time)) => time.to_string(),
        Some(Kind::ListValue(list)) => format!("[{}]", values(&list.values)),
        Some(Kind::LabelValue(name)) => label(name),
    }
}

/// Some values, with commas between them.
pub(crate) fn values(all: &[pb::Value]) -> String {
    let all: Vec<String> = all.iter().map(value).collect();
    all.join(", ")
}

/// A label: its name, before it its registry where it is not the one that always exists.
pub(crate) fn label(label: &pb::LabelName) -> String {
    let name = [&label.name, &label.ontology_id, &label.uid]
        .into_iter()
        .flatten()
        .next();
    let name = name.map_or("-", String::as_str);
    match label.registry.as_deref() {
        None | Some("ULabel") => name.to_owned(),
        Some(registry) => format!("{registry}:{name}"),
    }
}

/// The lines that say what an artifact is annotated with.
pub(crate) fn annotations(annotations: &pb::Annotations) -> Vec<String> {
    let of = |role: &str, all: &[pb::FeatureValues]| -> Vec<String> {
        let line = |one: &pb::FeatureValues| format!("{role} {} = {}  ({})", one.name, values(&one.values), one.dtype);
        all.iter().map(line).collect()
    };
    let labels = annotations.labels.iter().map(|name| format!("label {}", label(name)));
    let mut lines = of("feature", &annotations.features);
    lines.extend(of("param", &annotations.params));
    lines.extend(labels);
    lines
}

/// How far a run is.
pub(crate) fn status(status: pb::RunStatus) -> &'static str {
    match status {
        pb::RunStatus::Unspecified => "unknown",
        pb::RunStatus::Scheduled => "scheduled",
        pb::RunStatus::Started => "started",
        pb::RunStatus::Completed => "completed",
        pb::RunStatus::Failed => "failed",
        pb::RunStatus::Aborted => "aborted",
    }
}

/// A time to the second.
pub(crate) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let to_the_second = |time: &prost_types::Timestamp| prost_types::Timestamp {
        seconds: time.seconds,
        nanos: 0,
    };
    time.map_or_else(|| "-".to_owned(), |time| to_the_second(time).to_string())
}

/// What a run is a run of, and its name.
pub(crate) fn run_name(transform: Option<&pb::RunTransform>, name: Option<&str>) -> String {
    match (transform, name) {
        (Some(transform), None) => format!("{}@@{}", transform.key, transform.version),
        (Some(transform), Some(name)) => format!("{}@@{} ({name})", transform.key, transform.version),
        (None, Some(name)) => format!("({name})"),
        (None, None) => "-".to_owned(),
    }
}
