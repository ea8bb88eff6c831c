//! Content in messages: chunks on their way in and out.

use artifactd_proto::{
    Chunk, Messages, Outgoing, Received,
    aside::BodyAside,
    v1::{self as pb, ErrorReason},
};
use futures::{StreamExt, stream};
use prost::Message;
use tonic::{Code, Request, Status, Streaming};

use super::{MESSAGE_BYTES_MAX, convert::declared_in_trailer, layer::CallId, status};
use crate::{
    registry::{ContentSource, Data, Piece, RegistryError},
    storage::VerifiedChunk,
};

/// Largest chunk that is taken.
pub(super) const CHUNK_BYTES_MAX: usize = 2_000_000;

/// A message of a stream that brings content.
pub(super) enum ContentMessage {
    /// The first one.
    Header,
    /// Content.
    Chunk(Chunk),
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
            Some(Message::Chunk(chunk)) => Self::Chunk(chunk.into()),
            Some(Message::Trailer(trailer)) => Self::Trailer(trailer),
            None => Self::Unknown,
        }
    }
}

impl<M: Into<ContentMessage>> From<Received<M>> for ContentMessage {
    fn from(received: Received<M>) -> Self {
        match received {
            Received::Chunk(chunk) => Self::Chunk(chunk),
            Received::Message(message) => message.into(),
        }
    }
}

impl From<pb::ReplaceArtifactRequest> for ContentMessage {
    fn from(message: pb::ReplaceArtifactRequest) -> Self {
        use pb::replace_artifact_request::Message;
        match message.message {
            Some(Message::Header(_)) => Self::Header,
            Some(Message::Chunk(chunk)) => Self::Chunk(chunk.into()),
            Some(Message::Trailer(trailer)) => Self::Trailer(trailer),
            None => Self::Unknown,
        }
    }
}

/// A message that stands where it must not.
pub(super) fn out_of_order(call_id: &CallId, what: &str) -> Status {
    status::status(call_id, Code::InvalidArgument, ErrorReason::StreamOutOfOrder, what)
}

/// The messages of a call that brings content, which come beside what tonic reads.
pub(super) fn messages<M>(mut request: Request<Streaming<M>>, call_id: &CallId) -> Result<Messages<M>, Status>
where
    M: Message + Default,
{
    match BodyAside::take(request.extensions_mut()) {
        Some(body) => Ok(Messages::of_client(body, MESSAGE_BYTES_MAX)),
        None => Err(status::status(
            call_id,
            Code::Internal,
            ErrorReason::Internal,
            "the content of the call is not where it should be",
        )),
    }
}

/// The pieces of content in the messages after the header.
pub(super) fn pieces<M>(messages: Messages<M>, call_id: CallId) -> ContentSource
where
    M: Message + Default + Into<ContentMessage> + 'static,
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
            Piece::Data(data) => received + data.size_bytes(),
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
pub(super) async fn nothing_more<M>(messages: &mut Messages<M>, call_id: &CallId) -> Result<(), Status>
where
    M: Message + Default,
{
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
        ContentMessage::Chunk(chunk) => checked(chunk, received, call_id).map(Piece::Data),
        ContentMessage::Trailer(trailer) => Ok(Piece::End(declared_in_trailer(trailer, call_id)?)),
        ContentMessage::Header => Err(out_of_order(call_id, "a second header")),
        ContentMessage::Unknown => Err(out_of_order(call_id, "a message that is no chunk and no trailer")),
    }
}

fn checked(chunk: Chunk, received: u64, call_id: &CallId) -> Result<Data, Status> {
    let Chunk {
        data,
        crc32c: sum,
        offset,
    } = chunk;
    let bytes: u64 = data.iter().map(|piece| piece.len() as u64).sum();
    if bytes > CHUNK_BYTES_MAX as u64 {
        let message = format!("a chunk has {bytes} bytes, at most {CHUNK_BYTES_MAX} are taken");
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
    // The sums are those that the content is stored with.
    let data = Data::new(data);
    check_sum(data.crc32c(), sum, "chunk.crc32c", call_id).map(|()| data)
}

/// Fails when the checksum that came with some bytes is not theirs.
pub(super) fn check_sum(actual: u32, sum: Option<u32>, field: &str, call_id: &CallId) -> Result<(), Status> {
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
pub(super) fn outgoing(chunk: VerifiedChunk) -> Outgoing {
    let VerifiedChunk { offset, data, crc32c } = chunk;
    let offset = i64::try_from(offset).expect("sizes come from the database's integers");
    Outgoing::chunk(data, crc32c, offset)
}

#[cfg(test)]
mod tests {
    use artifactd_domain::crc32c;
    use bytes::Bytes;

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
                Ok(Piece::Data(data)) => assert!(data.size_bytes() <= CHUNK_BYTES_MAX as u64),
                Ok(Piece::End(_)) => {}
                Err(status) => assert!(!status.details().is_empty(), "{status}"),
            }
        }
    }

    #[test]
    fn chunks_are_checked_for_sum_offset_and_size() {
        let call_id = CallId::new("test");
        let chunk = |data: Vec<u8>, crc32c, offset| {
            let data = data.chunks(2).map(Bytes::copy_from_slice).collect();
            let chunk = Chunk { data, crc32c, offset };
            let checked = checked(chunk, 7, &call_id);
            checked.map(|data| data.size_bytes()).map_err(|status| status.code())
        };
        assert_eq!(chunk(b"abc".to_vec(), Some(crc32c(b"abc")), Some(7)), Ok(3));
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
