//! Which calls may be made again when their outcome is not known.

/// Whether a call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or nothing more the second time.
    Always,
    /// It carries a request id, under which the server answers it once.
    UnderItsId,
    /// Nobody knows: it is made once.
    Never,
}

/// The table for all methods; one that it does not name is made once.
pub(crate) fn repeat(method: &str) -> Repeat {
    match method {
        "ListMembers" | "DiffFolders" | "GetArtifact" | "ListArtifacts" | "ListArtifactVersions" => Repeat::Always,
        "ReadContent" | "ReadMembers" => Repeat::Always,
        "GetServerInfo" | "CollectGarbage" => Repeat::Always,
        "UploadPart" | "GetUpload" | "ListUploads" | "CompleteUpload" | "AbortUpload" => Repeat::Always,
        "SaveArtifact" | "SaveSmallArtifact" | "BatchSave" | "SaveFolder" | "ReplaceArtifact" => Repeat::UnderItsId,
        "UpdateArtifact" | "DeleteArtifact" | "RestoreArtifact" | "CreateUpload" => Repeat::UnderItsId,
        // `WriteUpload` asks what is durable before it goes on, and does so itself.
        _ => Repeat::Never,
    }
}

#[cfg(test)]
mod tests {
    use artifactd_proto::FILE_DESCRIPTOR_SET;
    use prost::Message;
    use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

    use super::*;

    fn methods() -> Vec<MethodDescriptorProto> {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let ours = files.into_iter().filter(|file| file.package() == "artifactd.v1");
        ours.flat_map(|file| file.service)
            .flat_map(|service| service.method)
            .collect()
    }

    #[test]
    fn what_the_protos_call_free_of_effects_may_be_repeated() {
        let methods = methods();
        assert!(methods.len() > 20);
        for method in methods {
            let level = method.options.as_ref().map(|options| options.idempotency_level());
            match level {
                Some(IdempotencyLevel::NoSideEffects) => {
                    assert_eq!(repeat(method.name()), Repeat::Always, "{method:?}")
                }
                Some(IdempotencyLevel::Idempotent) => assert_ne!(repeat(method.name()), Repeat::Never, "{method:?}"),
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_repeated_under_an_id_has_one() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let messages: Vec<_> = set.file.iter().flat_map(|file| &file.message_type).collect();
        // Also in what a message holds: a save has its id in its header.
        fn has_id(messages: &[&prost_types::DescriptorProto], name: &str, depth: u32) -> bool {
            let message = messages.iter().find(|message| message.name() == name).copied();
            let fields = message.map(|message| message.field.as_slice()).unwrap_or_default();
            fields.iter().any(|field| {
                let kind = field.type_name().rsplit('.').next().unwrap_or_default();
                field.name() == "request_id" || (depth > 0 && has_id(messages, kind, depth - 1))
            })
        }
        for method in methods() {
            if repeat(method.name()) == Repeat::UnderItsId {
                let input = method.input_type().rsplit('.').next().unwrap_or_default();
                assert!(has_id(&messages, input, 3), "{}", method.name());
            }
        }
    }
}
