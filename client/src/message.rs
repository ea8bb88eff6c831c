//! What the server said, as the messages of the protos again, for programs that pass it on.

use artifactd_domain::manifest::{Difference, Member};
use artifactd_proto::v1 as pb;
use prost::Message;

use crate::{Alias, AliasChange, Artifact, Count, Hit, Saved, ServerInfo, Upload, convert};

/// Something that has the form of a message of the protos.
pub trait ToMessage {
    /// The message.
    type Message: Message;

    /// The message that says the same.
    fn to_message(&self) -> Self::Message;
}

impl ToMessage for Artifact {
    type Message = pb::Artifact;

    fn to_message(&self) -> pb::Artifact {
        convert::artifact_message(self)
    }
}

impl ToMessage for Saved {
    type Message = pb::SaveArtifactResponse;

    fn to_message(&self) -> pb::SaveArtifactResponse {
        convert::saved_message(self)
    }
}

impl ToMessage for Member {
    type Message = pb::Member;

    fn to_message(&self) -> pb::Member {
        convert::member_message(self)
    }
}

impl ToMessage for Difference {
    type Message = pb::FolderDifference;

    fn to_message(&self) -> pb::FolderDifference {
        convert::difference_message(self)
    }
}

impl ToMessage for ServerInfo {
    type Message = pb::ServerInfo;

    fn to_message(&self) -> pb::ServerInfo {
        convert::server_info_message(self)
    }
}

impl ToMessage for Upload {
    type Message = pb::Upload;

    fn to_message(&self) -> pb::Upload {
        convert::upload_message(self)
    }
}

impl ToMessage for Alias {
    type Message = pb::Alias;

    fn to_message(&self) -> pb::Alias {
        convert::alias_message(self)
    }
}

impl ToMessage for AliasChange {
    type Message = pb::AliasChange;

    fn to_message(&self) -> pb::AliasChange {
        convert::alias_change_message(self)
    }
}

impl ToMessage for Count {
    type Message = pb::CountArtifactsResponse;

    fn to_message(&self) -> pb::CountArtifactsResponse {
        convert::count_message(self)
    }
}

impl ToMessage for Hit {
    type Message = pb::SearchHit;

    fn to_message(&self) -> pb::SearchHit {
        convert::hit_message(self)
    }
}
