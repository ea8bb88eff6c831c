//! Content in messages: chunks on their way in and out.

use artifactd_domain::crc32c;
use artifactd_proto::v1::{self as pb, ErrorReason};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tonic::{Code, Status, Streaming};

use super::{convert::declared_in_trailer, layer::CallId, status};
use crate::{
    registry::{ContentSource, Piece, RegistryError},
    storage::VerifiedChunk,
};

/// Largest chunk that is taken.
pub(super) const CHUNK_BYTES_MAX: usize = 2_000_000;

/// A message of a stream that brings content.
pub(super) enum ContentMessage {
    /// The first one.
    Header,
    /// Content.
    Chunk(pb::ContentChunk),
    /// The last one.
    Trailer(pb::ContentTrailer),
    /// Nothing that this version knows.
    Unknown,
}

impl From<pb::SaveArtifactRequest> for ContentMessage {
    fn from(message: pb::SaveArtifactRequest) -> Self {
        use pb::save_artifact_request::Message;
        match message.message {
            Some(Message::Header(_)) => Self::Header,
            Some(Message::Chunk(chunk)) => Self::Chunk(chunk),
            Some(Message::Trailer(trailer)) => Self::Trailer(trailer),
            None => Self::Unknown,
        }
    }
}

impl From<pb::ReplaceArtifactRequest> for ContentMessage {
    fn from(message: pb::ReplaceArtifactRequest) -> Self {
        use pb::replace_artifact_request::Message;
        match message.message {
            Some(Message::Header(_)) => Self::Header,
            Some(Message::Chunk(chunk)) => Self::Chunk(chunk),
            Some(Message::Trailer(trailer)) => Self::Trailer(trailer),
            None => Self::Unknown,
        }
    }
}

/// A message that stands where it must not.
pub(super) fn out_of_order(call_id: &CallId, what: &str) -> Status {
    status::status(call_id, Code::InvalidArgument, ErrorReason::StreamOutOfOrder, what)
}

/// The pieces of content in the messages after the header.
pub(super) fn pieces<M>(messages: Streaming<M>, call_id: CallId) -> ContentSource
where
    M: Into<ContentMessage> + Send + 'static,
{
    let state = (messages, 0, call_id);
    stream::try_unfold(state, |(mut messages, received, call_id)| async move {
        let message = match messages.message().await {
            Ok(Some(message)) => message.into(),
            Ok(None) => return Ok(None),
            Err(made) => return Err(fault(status::from_tonic(&made, &call_id))),
        };
        let piece = piece(message, received, &call_id).map_err(fault)?;
        let received = match &piece {
            Piece::Data(data) => received + data.len() as u64,
            Piece::End(_) => {
                nothing_more(&mut messages, &call_id).await.map_err(fault)?;
                received
            }
        };
        Ok(Some((piece, (messages, received, call_id))))
    })
    .boxed()
}

/// Fails when a stream goes on after its last message.
pub(super) async fn nothing_more<M>(messages: &mut Streaming<M>, call_id: &CallId) -> Result<(), Status> {
    match messages.message().await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(out_of_order(call_id, "a message after the last one")),
        Err(made) => Err(status::from_tonic(&made, call_id)),
    }
}

fn fault(status: Status) -> RegistryError {
    RegistryError::Source(Box::new(status))
}

fn piece(message: ContentMessage, received: u64, call_id: &CallId) -> Result<Piece, Status> {
    match message {
        ContentMessage::Chunk(chunk) => Ok(Piece::Data(checked(chunk, received, call_id)?)),
        ContentMessage::Trailer(trailer) => Ok(Piece::End(declared_in_trailer(trailer, call_id)?)),
        ContentMessage::Header => Err(out_of_order(call_id, "a second header")),
        ContentMessage::Unknown => Err(out_of_order(call_id, "a message that is no chunk and no trailer")),
    }
}

fn checked(chunk: pb::ContentChunk, received: u64, call_id: &CallId) -> Result<Bytes, Status> {
    let pb::ContentChunk {
        data,
        crc32c: sum,
        offset,
    } = chunk;
    if data.len() > CHUNK_BYTES_MAX {
        let message = format!("a chunk has {} bytes, at most {CHUNK_BYTES_MAX} are taken", data.len());
        return Err(status::status(
            call_id,
            Code::ResourceExhausted,
            ErrorReason::MessageTooLarge,
            message,
        ));
    }
    if offset.is_some_and(|offset| u64::try_from(offset) != Ok(received)) {
        let rule = format!("is not the number of bytes before it, {received}");
        return Err(status::field_with(
            call_id,
            ErrorReason::OffsetMismatch,
            "chunk.offset",
            rule,
        ));
    }
    check_sum(&data, sum, "chunk.crc32c", call_id)?;
    Ok(data)
}

/// Fails when bytes do not agree with the checksum that came with them.
pub(super) fn check_sum(data: &[u8], sum: Option<u32>, field: &str, call_id: &CallId) -> Result<(), Status> {
    let actual = crc32c(data);
    if sum.is_none_or(|sum| sum == actual) {
        return Ok(());
    }
    let rule = format!("does not match the bytes, whose crc32c is {actual:08x}");
    Err(status::field_with(
        call_id,
        ErrorReason::ChunkChecksumMismatch,
        field,
        rule,
    ))
}

/// A chunk on its way out.
pub(super) fn to_message(chunk: VerifiedChunk) -> pb::ContentChunk {
    let VerifiedChunk { offset, data, crc32c } = chunk;
    pb::ContentChunk {
        data,
        crc32c: Some(crc32c),
        offset: i64::try_from(offset).ok(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// Messages as clients send them, right and wrong.
    fn corpus() -> Vec<Vec<u8>> {
        use pb::save_artifact_request::Message as M;
        let chunk = |data: &'static [u8], crc32c, offset| {
            M::Chunk(pb::ContentChunk {
                data: Bytes::from_static(data),
                crc32c,
                offset,
            })
        };
        let trailer = |sha256: Option<&str>, size| {
            M::Trailer(pb::ContentTrailer {
                sha256: sha256.map(str::to_owned),
                size,
            })
        };
        let messages = [
            M::Header(pb::SaveHeader {
                key: Some("a.csv".to_owned()),
                ..Default::default()
            }),
            chunk(b"abc", Some(crc32c(b"abc")), Some(0)),
            chunk(b"abc", Some(1), Some(i64::MIN)),
            chunk(b"", None, None),
            trailer(Some(&"0".repeat(64)), Some(3)),
            trailer(Some("short"), Some(-1)),
        ];
        let encode = |message| pb::SaveArtifactRequest { message: Some(message) }.encode_to_vec();
        messages.into_iter().map(encode).collect()
    }

    #[test]
    fn mutated_messages_are_taken_or_refused_with_a_reason() {
        let (mut state, corpus, call_id) = (0x5eed_u64, corpus(), CallId::new("test"));
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % end.max(1)
        };
        for _ in 0..50_000 {
            let mut bytes = corpus[below(corpus.len())].clone();
            for _ in 0..below(4) {
                let at = below(bytes.len());
                match below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, below(256) as u8),
                    _ if !bytes.is_empty() => bytes[at] = below(256) as u8,
                    _ => {}
                }
            }
            let Ok(message) = pb::SaveArtifactRequest::decode(bytes.as_slice()) else {
                continue;
            };
            match piece(message.into(), 0, &call_id) {
                Ok(Piece::Data(data)) => assert!(data.len() <= CHUNK_BYTES_MAX),
                Ok(Piece::End(_)) => {}
                Err(status) => assert!(!status.details().is_empty(), "{status}"),
            }
        }
    }

    #[test]
    fn chunks_are_checked_for_sum_offset_and_size() {
        let call_id = CallId::new("test");
        let chunk = |data: Vec<u8>, crc32c, offset| {
            let chunk = pb::ContentChunk {
                data: data.into(),
                crc32c,
                offset,
            };
            checked(chunk, 7, &call_id).map_err(|status| status.code())
        };
        assert_eq!(chunk(b"abc".to_vec(), Some(crc32c(b"abc")), Some(7)).unwrap(), "abc");
        assert_eq!(chunk(b"abc".to_vec(), Some(0), None), Err(Code::InvalidArgument));
        for offset in [0, 6, 8, -1, i64::MAX] {
            assert_eq!(chunk(b"abc".to_vec(), None, Some(offset)), Err(Code::InvalidArgument));
        }
        assert_eq!(
            chunk(vec![0; CHUNK_BYTES_MAX + 1], None, None),
            Err(Code::ResourceExhausted)
        );
    }
}
