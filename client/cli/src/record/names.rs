//! How what belongs to the record is written on the command line.

use artifactd_client::{
    IntoReference,
    messages::{self as pb, collection_ref, transform_ref, value::Kind},
};

use crate::exit::Failure;

/// What a text names, and its version: an identifier of a version or of a family, or a key with
/// or without a version. What it becomes is that of each kind.
fn named<R>(text: &str, uid: fn(String) -> R, stem: fn(String) -> R, key: fn(String) -> R) -> (R, Option<String>) {
    let is_identifier = |length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_identifier(20) {
        return (uid(text.to_owned()), None);
    }
    if is_identifier(16) {
        return (stem(text.to_owned()), None);
    }
    match text.rsplit_once("@@") {
        Some((name, version)) => (key(name.to_owned()), Some(version.to_owned())),
        None => (key(text.to_owned()), None),
    }
}

/// A transform: its uid, its stem or `KEY[@@VERSION]`.
pub(crate) fn transform(text: &str) -> pb::TransformRef {
    use transform_ref::Ref;
    let (named, version) = named(text, Ref::Uid, Ref::Stem, Ref::Key);
    let r#ref = Some(named);
    pb::TransformRef { r#ref, version }
}

/// A collection, written the same way.
pub(crate) fn collection(text: &str) -> pb::CollectionRef {
    use collection_ref::Ref;
    let (named, version) = named(text, Ref::Uid, Ref::Stem, Ref::Key);
    let r#ref = Some(named);
    pb::CollectionRef { r#ref, version }
}

/// An artifact. The server reads the text as this program does; here it is only looked at.
pub(crate) fn artifact(text: &str) -> Result<pb::ArtifactRef, Failure> {
    text.into_reference()?;
    Ok(pb::ArtifactRef {
        r#ref: Some(pb::artifact_ref::Ref::Text(text.to_owned())),
    })
}

/// Some artifacts.
pub(crate) fn artifacts(texts: &[String]) -> Result<Vec<pb::ArtifactRef>, Failure> {
    texts.iter().map(|text| artifact(text)).collect()
}

/// A label: `[REGISTRY:]NAME`. A name with a colon needs its registry before it.
pub(crate) fn label(text: &str) -> pb::LabelName {
    let (registry, name) = match text.split_once(':') {
        Some((registry, name)) => (Some(registry.to_owned()), name),
        None => (None, text),
    };
    pb::LabelName {
        registry,
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

/// A name and a value: `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Valued {
    pub(crate) name: String,
    pub(crate) value: pb::Value,
}

/// Parses `NAME=VALUE`. A value that is JSON is what it is in JSON; everything else is text,
/// which dates, times and labels are too.
pub(crate) fn valued(text: &str) -> Result<Valued, String> {
    let (name, value) = text.split_once('=').ok_or("must be written as NAME=VALUE")?;
    if name.is_empty() {
        return Err("must have a name before the `=`".to_owned());
    }
    Ok(Valued {
        name: name.to_owned(),
        value: value_of(value)?,
    })
}

fn value_of(text: &str) -> Result<pb::Value, String> {
    let kind = match serde_json::from_str(text) {
        Ok(json) => kind_of(text, json)?,
        Err(_) => Kind::StringValue(text.to_owned()),
    };
    Ok(pb::Value { kind: Some(kind) })
}

fn kind_of(text: &str, json: serde_json::Value) -> Result<Kind, String> {
    use serde_json::Value as Json;
    Ok(match json {
        Json::Null => return Err("there is no value in null".to_owned()),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::String(text) => Kind::StringValue(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Kind::IntValue(value),
            // A whole number that is no int would lose digits without a word.
            (None, _) if number.is_u64() => return Err(format!("{text} is too large a number")),
            (None, Some(value)) if is_whole(text) => {
                return Err(format!("{value} is too large a number"));
            }
            (None, Some(value)) => Kind::FloatValue(value),
            (None, None) => return Err(format!("{text} is no number")),
        },
        // As it was written, so that numbers keep their digits.
        Json::Object(_) => Kind::DictValue(text.to_owned()),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| {
                let text = item.to_string();
                Ok::<_, String>(pb::Value {
                    kind: Some(kind_of(&text, item)?),
                })
            });
            Kind::ListValue(pb::ValueList {
                values: items.collect::<Result<_, _>>()?,
            })
        }
    })
}

fn is_whole(text: &str) -> bool {
    text.trim()
        .trim_start_matches('-')
        .bytes()
        .all(|byte| byte.is_ascii_digit())
}

/// The values of each name, in the order in which they were written.
pub(crate) fn grouped(all: &[Valued]) -> Vec<pb::FeatureValues> {
    let mut grouped: Vec<pb::FeatureValues> = Vec::new();
    for Valued { name, value } in all {
        match grouped.iter_mut().find(|values| values.name == *name) {
            Some(values) => values.values.push(value.clone()),
            None => grouped.push(pb::FeatureValues {
                name: name.clone(),
                values: vec![value.clone()],
                ..Default::default()
            }),
        }
    }
    grouped
}

/// What a run is called with.
pub(crate) fn params(all: &[Valued]) -> Vec<pb::RunParam> {
    let params = all.iter().map(|Valued { name, value }| pb::RunParam {
        name: name.clone(),
        value: Some(value.clone()),
    });
    params.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        valued(&format!("x={text}")).unwrap().value.kind.unwrap()
    }

    #[test]
    fn a_value_is_what_it_is_in_json_and_else_text() {
        assert_eq!(kind("9007199254740993"), Kind::IntValue(9_007_199_254_740_993));
        assert_eq!(kind("-0.5"), Kind::FloatValue(-0.5));
        assert_eq!(kind("true"), Kind::BoolValue(true));
        for (text, said) in [
            ("Iris setosa", "Iris setosa"),
            ("\"42\"", "42"),
            ("2024-02-29", "2024-02-29"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(kind(text), Kind::StringValue(said.to_owned()), "{text}");
        }
        let dict = r#"{"n": 123456789012345678901234567890}"#;
        assert_eq!(kind(dict), Kind::DictValue(dict.to_owned()));
        let Kind::ListValue(list) = kind("[1, \"a\"]") else {
            panic!("it is a list");
        };
        assert_eq!(list.values.len(), 2);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for wrong in [
            "x",
            "=1",
            "x=null",
            "x=18446744073709551615",
            "x=123456789012345678901234567890",
            "x=[null]",
        ] {
            assert!(valued(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_are_named_by_uid_stem_or_key() {
        use collection_ref::Ref;
        assert_eq!(collection("all").r#ref, Some(Ref::Key("all".to_owned())));
        let versioned = collection("all@@2");
        assert_eq!(versioned.version.as_deref(), Some("2"));
        let uid = "4lRIkWeaZdGvpUKI0000";
        assert_eq!(collection(uid).r#ref, Some(Ref::Uid(uid.to_owned())));
        assert_eq!(collection(&uid[..16]).r#ref, Some(Ref::Stem(uid[..16].to_owned())));
        assert_eq!(label("CellType:T cell").registry.as_deref(), Some("CellType"));
        assert_eq!(label("T cell").registry, None);
    }
}
