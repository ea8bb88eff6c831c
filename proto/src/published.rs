//! What the comments of the protos publish beside the interface itself.
//!
//! The comment of each method ends with the reasons for which the method is refused,
//! `Reasons: A, B.`, and that of `ErrorReason` lists those of any call. The server is
//! held to them by the end-to-end tests; the reference is made from them.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::{FILE_DESCRIPTOR_SET, v1::ErrorReason};

/// Begins the paragraph that lists the reasons of a method.
const OF_METHOD: &str = "Reasons: ";

/// Begins the paragraph that lists the reasons of any call.
const OF_ANY_CALL: &str = "Any call: ";

/// Places of parts in a file, as a descriptor numbers them.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
/// Of a field in a message, of a value in an enum and of a method in a service.
const MEMBERS: i32 = 2;

/// The files of this interface, those of others left out.
///
/// # Panics
/// Never: the descriptors were made by the build.
pub fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build wrote descriptors");
    let ours = |file: &FileDescriptorProto| file.package() == "artifactd.v1";
    set.file.into_iter().filter(ours).collect()
}

/// The comments of one file.
#[derive(Debug)]
pub struct Comments(BTreeMap<Vec<i32>, String>);

impl Comments {
    /// Those of a file.
    pub fn of(file: &FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations.filter_map(|location| {
            let lines = location.leading_comments.as_ref()?.lines().map(str::trim);
            Some((
                location.path.clone(),
                lines.collect::<Vec<_>>().join("\n").trim().to_owned(),
            ))
        });
        Self(comments.collect())
    }

    /// That of a service.
    pub fn service(&self, service: usize) -> &str {
        self.at(&[SERVICES, number(service)])
    }

    /// That of a method, the reasons left out.
    pub fn method(&self, service: usize, method: usize) -> &str {
        let whole = self.at(&[SERVICES, number(service), MEMBERS, number(method)]);
        whole.split_once(OF_METHOD).map_or(whole, |(text, _)| text.trim_end())
    }

    /// The reasons of a method, as its comment names them.
    pub fn reasons(&self, service: usize, method: usize) -> Vec<&str> {
        listed(
            self.at(&[SERVICES, number(service), MEMBERS, number(method)]),
            OF_METHOD,
        )
    }

    /// That of a message.
    pub fn message(&self, message: usize) -> &str {
        self.at(&[MESSAGES, number(message)])
    }

    /// That of a field.
    pub fn field(&self, message: usize, field: usize) -> &str {
        self.at(&[MESSAGES, number(message), MEMBERS, number(field)])
    }

    /// That of an enum, the reasons of any call left out.
    pub fn enumeration(&self, enumeration: usize) -> &str {
        let whole = self.at(&[ENUMS, number(enumeration)]);
        whole.split_once(OF_ANY_CALL).map_or(whole, |(text, _)| text.trim_end())
    }

    /// That of a value of an enum.
    pub fn value(&self, enumeration: usize, value: usize) -> &str {
        self.at(&[ENUMS, number(enumeration), MEMBERS, number(value)])
    }

    fn at(&self, path: &[i32]) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }
}

fn number(position: usize) -> i32 {
    i32::try_from(position).expect("a file has few parts")
}

/// The names in the paragraph of a comment that begins so; it ends with a full stop.
fn listed<'a>(comment: &'a str, beginning: &str) -> Vec<&'a str> {
    let Some((_, list)) = comment.split_once(beginning) else {
        return Vec::new();
    };
    let list = list.split_once('.').map_or(list, |(list, _)| list);
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// The reasons for which each method is refused, by its path
/// (`artifactd.v1.ArtifactService/GetArtifact`), those of any call left out.
///
/// # Panics
/// When a comment names a reason that there is not.
pub fn reasons_of_methods() -> BTreeMap<String, BTreeSet<ErrorReason>> {
    let mut reasons = BTreeMap::new();
    for file in files() {
        let comments = Comments::of(&file);
        for (place, service) in file.service.iter().enumerate() {
            for (at, method) in service.method.iter().enumerate() {
                let path = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let listed = comments.reasons(place, at).into_iter().map(reason);
                reasons.insert(path, listed.collect());
            }
        }
    }
    reasons
}

/// The reasons for which any call is refused.
///
/// # Panics
/// When the comment names a reason that there is not.
pub fn reasons_of_any_call() -> BTreeSet<ErrorReason> {
    let mut reasons = BTreeSet::new();
    for file in files() {
        let comments = Comments::of(&file);
        for place in 0..file.enum_type.len() {
            let listed = listed(comments.at(&[ENUMS, number(place)]), OF_ANY_CALL);
            reasons.extend(listed.into_iter().map(reason));
        }
    }
    reasons
}

fn reason(name: &str) -> ErrorReason {
    let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{name}"));
    reason.unwrap_or_else(|| panic!("a comment names {name:?}, which is no reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_over_lines_and_ends_at_its_full_stop() {
        let comment = "Finds it.\n\nReasons: ARTIFACT_NOT_FOUND, KEY_INVALID,\nREFERENCE_INVALID.\n\nMore.";
        let names = ["ARTIFACT_NOT_FOUND", "KEY_INVALID", "REFERENCE_INVALID"];
        assert_eq!(listed(comment, OF_METHOD), names);
        assert!(listed("Finds it.", OF_METHOD).is_empty());
    }

    #[test]
    fn every_method_lists_its_reasons_and_none_of_any_call() {
        let any = reasons_of_any_call();
        assert!(any.contains(&ErrorReason::Internal), "{any:?}");
        for (method, reasons) in reasons_of_methods() {
            let both: Vec<_> = reasons.intersection(&any).collect();
            assert!(both.is_empty(), "{method} lists what any call answers: {both:?}");
        }
    }
}
