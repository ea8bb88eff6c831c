//! Files of folders, and what differs between folders, as streams.

use artifactd_domain::manifest::{Difference, GlobRefused};
use artifactd_proto::{
    ContentBody, Outgoing,
    aside::BodyAside,
    v1::{
        self as pb, diff_folders_response::Message as DiffMessage, folder_difference::Difference as DiffKind,
        read_members_response::Message,
    },
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use tonic::{Response, Status, body::Body};

use super::{
    Api, call_id, chunks,
    content::{chunk_bytes, length},
    convert,
    layer::CallId,
    status,
};
use crate::{
    registry::{Caller, DiffFound, MemberHead, MemberPiece, MemberRange, MembersToRead, ReadRange, WhichMembers},
    storage::VerifiedChunk,
};

/// Ranges in one request.
const RANGES_MAX: usize = 10_000;

/// Bytes of small files in one message, with what is said about them.
const SMALL_BYTES_MAX: usize = 1024 * 1024;

/// What a small file takes in its message besides its content and its path.
const SMALL_MEMBER_BYTES: usize = 128;

/// Differences in one message.
const DIFFERENCES_MAX: usize = 1_000;

/// Answers `ReadMembers`; the messages go beside the answer.
pub(super) async fn read<S>(
    api: &Api,
    caller: &Caller,
    request: pb::ReadMembersRequest,
) -> Result<Response<stream::Empty<S>>, Status> {
    let call_id = call_id(caller);
    let wanted = members_to_read(request, &call_id)?;
    let open = api.registry.open_members(caller, wanted).await;
    let open = open.map_err(|error| status::from_registry(error, &call_id))?;
    let head = message(Message::Head(pb::MembersHead {
        artifact: Some(convert::artifact(open.artifact)),
    }));
    let messages = open.pieces.flat_map(move |piece| match piece {
        Ok(piece) => stream::iter(messages_of(piece).into_iter().map(Ok).collect::<Vec<_>>()),
        Err(error) => stream::iter(vec![Err(status::from_registry(error, &call_id))]),
    });
    let body = ContentBody::of_server(stream::iter([Ok(head)]).chain(messages));
    let mut answer = Response::new(stream::empty());
    BodyAside::put(answer.extensions_mut(), Body::new(body));
    Ok(answer)
}

fn members_to_read(request: pb::ReadMembersRequest, call_id: &CallId) -> Result<MembersToRead, Status> {
    let pb::ReadMembersRequest {
        artifact,
        ranges,
        prefix,
        glob,
        start_path,
        start_offset,
        if_match,
        chunk_bytes: wish,
        include_hidden,
        is_run_input,
    } = request;
    if ranges.len() > RANGES_MAX {
        let rule = format!("has {} ranges, at most {RANGES_MAX} are taken", ranges.len());
        return Err(status::field(call_id, "ranges", rule));
    }
    let start_offset = u64::try_from(start_offset);
    let start_offset = start_offset.map_err(|_| status::field(call_id, "start_offset", "must not be negative"))?;
    let which = if ranges.is_empty() {
        convert::check_prefix(&prefix, call_id)?;
        let glob = glob.map(|text| {
            let refused = |error: GlobRefused| status::field(call_id, "glob", error.to_string());
            text.parse().map_err(refused)
        });
        let start_path = start_path.map(|path| convert::member_path(&path, "start_path", call_id));
        if start_path.is_none() && start_offset > 0 {
            return Err(status::field(call_id, "start_offset", "needs a `start_path`"));
        }
        WhichMembers::Matching {
            prefix,
            glob: glob.transpose()?,
            start: start_path.transpose()?.map(|path| (path, start_offset)),
        }
    } else {
        let chooses = [
            (!prefix.is_empty(), "prefix"),
            (glob.is_some(), "glob"),
            (start_path.is_some(), "start_path"),
            (start_offset > 0, "start_offset"),
        ];
        if let Some((_, field)) = chooses.into_iter().find(|(is_set, _)| *is_set) {
            return Err(status::field(call_id, field, "must not be set beside `ranges`"));
        }
        let ranges = ranges.into_iter().map(|range| member_range(range, call_id));
        WhichMembers::Ranges(ranges.collect::<Result<_, _>>()?)
    };
    Ok(MembersToRead {
        reference: convert::reference(artifact, call_id)?,
        which,
        if_match,
        include_hidden,
        chunk_bytes: chunk_bytes(wish, call_id)?,
        is_run_input: convert::is_run_input(is_run_input),
    })
}

fn member_range(range: pb::MemberRange, call_id: &CallId) -> Result<MemberRange, Status> {
    let pb::MemberRange {
        path,
        offset,
        length: most,
    } = range;
    Ok(MemberRange {
        path: convert::member_path(&path, "ranges.path", call_id)?,
        range: ReadRange {
            offset,
            length: length(most, "ranges.length", call_id)?,
        },
    })
}

fn message(message: Message) -> Outgoing {
    Outgoing::message(&pb::ReadMembersResponse { message: Some(message) })
}

fn messages_of(piece: MemberPiece) -> Vec<Outgoing> {
    match piece {
        MemberPiece::Chunk(chunk) => vec![chunks::outgoing(chunk)],
        MemberPiece::Begin(head) => vec![message(Message::Begin(begin(&head)))],
        MemberPiece::Whole(parts, room) => {
            let messages = small_messages(parts);
            messages
                .into_iter()
                .map(|message| message.keeping(room.clone()))
                .collect()
        }
    }
}

fn small_messages(parts: Vec<(MemberHead, VerifiedChunk)>) -> Vec<Outgoing> {
    let small = |members| message(Message::Small(pb::SmallMembers { members }));
    let (mut messages, mut members, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (head, chunk) in parts {
        let takes = SMALL_MEMBER_BYTES + head.member.path.as_str().len() + chunk.data.len();
        if bytes + takes > SMALL_BYTES_MAX && !members.is_empty() {
            messages.push(small(std::mem::take(&mut members)));
            bytes = 0;
        }
        bytes += takes;
        members.push(pb::SmallMember {
            begin: Some(begin(&head)),
            content: Bytes::clone(&chunk.data),
            crc32c: chunk.crc32c,
        });
    }
    messages.push(small(members));
    messages
}

fn begin(head: &MemberHead) -> pb::MemberBegin {
    let integer = |number: u64| i64::try_from(number).expect("sizes come from the database's integers");
    let MemberHead { number, member, range } = head;
    pb::MemberBegin {
        number: integer(*number),
        member: Some(convert::member(member)),
        offset: integer(range.start),
        length: integer(range.end - range.start),
    }
}

/// The messages of an answer to `DiffFolders`.
pub(super) type DiffMessages = BoxStream<'static, Result<pb::DiffFoldersResponse, Status>>;

/// Answers `DiffFolders`.
pub(super) async fn diff(
    api: &Api,
    caller: &Caller,
    request: pb::DiffFoldersRequest,
) -> Result<Response<DiffMessages>, Status> {
    let call_id = call_id(caller);
    let pb::DiffFoldersRequest {
        old,
        new,
        include_hidden,
    } = request;
    let old = convert::reference_in(old, &convert::OLD, &call_id)?;
    let new = convert::reference_in(new, &convert::NEW, &call_id)?;
    let diff = api.registry.diff_folders(caller, (&old, &new), include_hidden).await;
    let diff = diff.map_err(|error| status::from_registry(error, &call_id))?;
    let head = DiffMessage::Head(pb::DiffHead {
        old: Some(convert::artifact(diff.old)),
        new: Some(convert::artifact(diff.new)),
    });
    let steps = diff
        .steps
        .map(move |step| step.map_err(|error| status::from_registry(error, &call_id)));
    let messages = stream::iter([Ok(head)]).chain(in_groups(steps));
    let answers = messages.map(|message| message.map(|message| pb::DiffFoldersResponse { message: Some(message) }));
    Ok(Response::new(answers.boxed()))
}

/// Puts differences together that are found at once.
fn in_groups(
    steps: impl Stream<Item = Result<DiffFound, Status>> + Send + 'static,
) -> impl Stream<Item = Result<DiffMessage, Status>> + Send {
    steps.ready_chunks(DIFFERENCES_MAX).flat_map(|found| {
        let (mut messages, mut differences) = (Vec::new(), Vec::new());
        let mut last = None;
        for step in found {
            match step {
                Ok(DiffFound::Difference(difference)) => differences.push(folder_difference(difference)),
                Ok(DiffFound::End { moves_may_be_missing }) => {
                    last = Some(Ok(DiffMessage::End(pb::DiffEnd { moves_may_be_missing })));
                }
                Err(status) => last = Some(Err(status)),
            }
        }
        if !differences.is_empty() {
            messages.push(Ok(DiffMessage::Differences(pb::FolderDifferences { differences })));
        }
        messages.extend(last);
        stream::iter(messages)
    })
}

fn folder_difference(difference: Difference) -> pb::FolderDifference {
    let kind = match difference {
        Difference::Added(member) => DiffKind::Added(convert::member(&member)),
        Difference::Removed(member) => DiffKind::Removed(convert::member(&member)),
        Difference::Changed { before, after } => DiffKind::Changed(pb::ChangedMember {
            before: Some(convert::member(&before)),
            after: Some(convert::member(&after)),
        }),
        Difference::Moved { from, to } => DiffKind::Moved(pb::MovedMember {
            from_path: from.to_string(),
            to: Some(convert::member(&to)),
        }),
    };
    pb::FolderDifference { difference: Some(kind) }
}
