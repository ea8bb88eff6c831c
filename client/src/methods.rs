//! Which calls may be made again when their outcome is not known.

use std::{collections::HashMap, sync::LazyLock};

use artifactd_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

/// A request id lies at most this deep in what is sent.
const DEPTH_MAX: usize = 3;

/// Whether a call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or nothing more the second time.
    Always,
    /// It carries a request id, under which the server answers it once. All of this client's do.
    UnderItsId,
    /// Nobody knows: it is made once.
    Never,
}

/// What the protos say of their methods, read when a call fails first.
static METHODS: LazyLock<HashMap<String, Repeat>> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
        .expect("the build wrote descriptors")
        .file;
    let messages: Vec<&DescriptorProto> = files.iter().flat_map(|file| &file.message_type).collect();
    let ours = files.iter().filter(|file| file.package() == "artifactd.v1");
    let methods = ours.flat_map(|file| &file.service).flat_map(|service| &service.method);
    methods
        .map(|method| (method.name().to_owned(), said(method, &messages)))
        .collect()
});

/// Whether a method may be called again; one that the protos do not know is called once.
pub(crate) fn repeat(method: &str) -> Repeat {
    match method {
        // The second one finds that it is gone.
        "AbortUpload" => Repeat::Always,
        // Of Arrow Flight, whose protos say nothing of that.
        "GetFlightInfo" => Repeat::Always,
        _ => METHODS.get(method).copied().unwrap_or(Repeat::Never),
    }
}

fn said(method: &MethodDescriptorProto, messages: &[&DescriptorProto]) -> Repeat {
    let level = method.options.as_ref().map(|options| options.idempotency_level());
    match level {
        Some(IdempotencyLevel::NoSideEffects | IdempotencyLevel::Idempotent) => Repeat::Always,
        _ if has_id(method.input_type(), messages, DEPTH_MAX) => Repeat::UnderItsId,
        _ => Repeat::Never,
    }
}

/// Whether a message has a request id, also in one that it holds.
fn has_id(message: &str, messages: &[&DescriptorProto], depth: usize) -> bool {
    let name = message.rsplit('.').next().unwrap_or_default();
    let fields = messages
        .iter()
        .find(|message| message.name() == name)
        .map(|message| &message.field);
    fields
        .into_iter()
        .flatten()
        .any(|field| field.name() == "request_id" || (depth > 0 && has_id(field.type_name(), messages, depth - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_what_has_an_id_are_repeated_and_nothing_else_is() {
        for (repeated, methods) in [
            (
                Repeat::Always,
                "GetArtifact ListArtifacts ListMembers DiffFolders ReadContent ReadMembers GetServerInfo UploadPart \
                 GetUpload CompleteUpload AbortUpload UpdateArtifact DeleteArtifact",
            ),
            (
                Repeat::UnderItsId,
                "SaveArtifact SaveSmallArtifact BatchSave SaveFolder ReplaceArtifact CreateUpload",
            ),
            // Whoever writes parts asks what is durable before going on.
            (Repeat::Never, "WriteUpload NoSuchMethod"),
        ] {
            for method in methods.split_whitespace() {
                assert_eq!(repeat(method), repeated, "{method}");
            }
        }
    }
}
