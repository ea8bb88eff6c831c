//! Streams of members, and comparisons of folders, read with all their promises checked.

use artifactd_proto::v1::{
    self as pb, diff_folders_response::Message as DiffMessage, folder_difference::Difference,
    read_members_response::Message,
};

use crate::{Calls, Outcome};

/// A member that was read, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadMember {
    /// Its path.
    pub path: String,
    /// The first byte that was read.
    pub offset: i64,
    /// What was read.
    pub bytes: Vec<u8>,
}

/// A stream of members, as far as it came.
#[derive(Debug, Default)]
pub struct ReadMembers {
    /// Whose members they are.
    pub artifact: Option<pb::Artifact>,
    /// Those of which all came.
    pub members: Vec<ReadMember>,
    /// Messages, without the head.
    pub messages: usize,
}

impl Calls {
    /// Reads members of a folder.
    ///
    /// # Panics
    /// When the stream breaks its promises: numbers and chunks in order, right checksums,
    /// as many bytes as announced.
    pub async fn read_members(&self, request: pb::ReadMembersRequest) -> Outcome<Vec<ReadMember>> {
        let mut read = ReadMembers::default();
        self.read_members_into(request, &mut read).await?;
        Ok(read.members)
    }

    /// Reads members of a folder for as long as they come.
    ///
    /// # Panics
    /// As [`read_members`](Self::read_members).
    pub async fn read_members_into(&self, request: pb::ReadMembersRequest, read: &mut ReadMembers) -> Outcome<()> {
        let mut stream = self.contents().read_members(request).await?.into_inner();
        let mut open: Option<(pb::MemberBegin, ReadMember)> = None;
        while let Some(message) = stream.message().await? {
            match message.message.expect("a message of a known kind") {
                Message::Head(head) => {
                    assert!(read.artifact.is_none(), "one head");
                    read.artifact = head.artifact;
                    continue;
                }
                Message::Begin(begin) => {
                    assert!(open.is_none(), "a member begins after the end of the one before");
                    assert_eq!(begin.number, read.members.len() as i64);
                    let member = begun(&begin);
                    open = Some((begin, member));
                }
                Message::Chunk(chunk) => {
                    let (_, member) = open.as_mut().expect("a chunk follows a beginning");
                    assert_eq!(chunk.offset, Some(member.offset + member.bytes.len() as i64));
                    assert_eq!(chunk.crc32c, Some(artifactd_domain::crc32c(&chunk.data)));
                    member.bytes.extend_from_slice(&chunk.data);
                }
                Message::Small(small) => {
                    assert!(open.is_none(), "small members come after the end of the one before");
                    for part in small.members {
                        assert_eq!(part.crc32c, artifactd_domain::crc32c(&part.content));
                        let begin = part.begin.expect("a member says which it is");
                        assert_eq!(begin.number, read.members.len() as i64);
                        assert_eq!(begin.length, part.content.len() as i64);
                        let mut member = begun(&begin);
                        member.bytes = part.content.to_vec();
                        read.members.push(member);
                    }
                }
            }
            assert!(read.artifact.is_some(), "the head comes first");
            read.messages += 1;
            if open
                .as_ref()
                .is_some_and(|(begin, member)| begin.length == member.bytes.len() as i64)
            {
                read.members.extend(open.take().map(|(_, member)| member));
            }
        }
        assert!(open.is_none(), "all of a member comes");
        Ok(())
    }

    /// What differs between two folders, and whether moves may be missing.
    ///
    /// # Panics
    /// When the stream breaks its promises: the head first, the end last.
    pub async fn diff_folders(&self, old: pb::ArtifactRef, new: pb::ArtifactRef) -> Outcome<(Vec<Difference>, bool)> {
        let request = pb::DiffFoldersRequest {
            old: Some(old),
            new: Some(new),
            include_hidden: false,
        };
        let mut stream = self.artifacts().diff_folders(request).await?.into_inner();
        let (mut found, mut end, mut has_head) = (Vec::new(), None, false);
        while let Some(message) = stream.message().await? {
            assert!(end.is_none(), "nothing comes after the end");
            match message.message.expect("a message of a known kind") {
                DiffMessage::Head(head) => {
                    assert!(head.old.is_some() && head.new.is_some() && !has_head);
                    has_head = true;
                }
                DiffMessage::Differences(pb::FolderDifferences { differences }) => {
                    assert!(has_head && !differences.is_empty() && differences.len() <= 1_000);
                    found.extend(differences.into_iter().filter_map(|difference| difference.difference));
                }
                DiffMessage::End(pb::DiffEnd { moves_may_be_missing }) => end = Some(moves_may_be_missing),
            }
        }
        Ok((found, end.expect("a comparison ends with its end")))
    }
}

fn begun(begin: &pb::MemberBegin) -> ReadMember {
    let member = begin.member.as_ref().expect("a member says which it is");
    assert!(begin.offset + begin.length <= member.size);
    ReadMember {
        path: member.path.clone(),
        offset: begin.offset,
        bytes: Vec::new(),
    }
}
