use std::convert::Infallible;

use futures::{FutureExt, StreamExt, executor::block_on, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;

use super::*;
use crate::{
    ContentBody, Outgoing,
    v1::{self as pb, save_artifact_request::Message as Kind},
};

const MESSAGE_BYTES_MAX: usize = 1 << 20;

type Save = pb::SaveArtifactRequest;

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// A body that brings `bytes` cut into frames of these sizes, and the rest in one.
fn body(bytes: &[u8], cuts: &[usize]) -> Body {
    let (mut rest, mut frames) = (Bytes::copy_from_slice(bytes), Vec::new());
    for cut in cuts {
        frames.push(rest.split_to((*cut).min(rest.len())));
    }
    frames.push(rest);
    let frames = frames.into_iter().map(|data| Ok::<_, Infallible>(Frame::data(data)));
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// All messages of a body, and the code of the error after them.
fn received(body: Body) -> (Vec<Received<Save>>, Option<Code>) {
    let (mut messages, mut all) = (Messages::of_client(body, MESSAGE_BYTES_MAX), Vec::new());
    loop {
        match messages.message().now_or_never().expect("the body never waits") {
            Ok(Some(message)) => all.push(message),
            Ok(None) => return (all, None),
            Err(status) => return (all, Some(status.code())),
        }
    }
}

/// What the ordinary decoder makes of it.
fn ordinary(received: Received<Save>) -> Save {
    match received {
        Received::Message(message) => message,
        Received::Chunk(Chunk { data, crc32c, offset }) => Save {
            message: Some(Kind::Chunk(pb::ContentChunk {
                data: data.concat().into(),
                crc32c,
                offset,
            })),
        },
    }
}

fn any_message() -> impl Strategy<Value = Save> {
    let data = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(any::<u8>(), 5_000..20_000),
    ];
    let chunk = (data, any::<Option<u32>>(), any::<Option<i64>>()).prop_map(|(data, crc32c, offset)| {
        Kind::Chunk(pb::ContentChunk {
            data: data.into(),
            crc32c,
            offset,
        })
    });
    let header = any::<Option<String>>().prop_map(|key| {
        Kind::Header(pb::SaveHeader {
            key,
            ..Default::default()
        })
    });
    let trailer = any::<Option<i64>>().prop_map(|size| Kind::Trailer(pb::ContentTrailer { sha256: None, size }));
    prop::option::of(prop_oneof![4 => chunk, 1 => header, 1 => trailer]).prop_map(|message| Save { message })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..8_usize, 3_000..9_000_usize], 0..20)
}

proptest! {
    #[test]
    fn any_cutting_into_frames_gives_the_same_messages(
        sent in prop::collection::vec(any_message(), 0..4),
        cuts in cuts(),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|message| framed(&message.encode_to_vec())).collect();
        let (messages, error) = received(body(&bytes, &cuts));
        prop_assert_eq!(error, None);
        prop_assert_eq!(messages.into_iter().map(ordinary).collect::<Vec<_>>(), sent);
    }

    #[test]
    fn a_damaged_message_means_what_the_ordinary_decoder_says(
        message in any_message(),
        changes in prop::collection::vec((0..64_usize, any::<u8>(), 0..3), 1..4),
        cuts in cuts(),
    ) {
        let mut bytes = message.encode_to_vec();
        for (at, byte, how) in changes {
            let at = at % (bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        let (messages, error) = received(body(&framed(&bytes), &cuts));
        match Save::decode(bytes.as_slice()) {
            Ok(expected) => {
                let messages: Vec<_> = messages.into_iter().map(ordinary).collect();
                prop_assert_eq!((messages, error), (vec![expected], None));
            }
            Err(_) => prop_assert_eq!((messages.len(), error), (0, Some(Code::Internal))),
        }
    }

    #[test]
    fn what_is_written_in_parts_is_read_as_one_message(
        data in prop::collection::vec(any::<u8>(), 0..10_000),
        crc32c: u32,
        offset in 0..i64::MAX,
    ) {
        let chunk = pb::ContentChunk { data: data.into(), crc32c: Some(crc32c), offset: Some(offset) };
        let outgoing = [Outgoing::chunk(chunk.data.clone(), crc32c, offset)];
        let body = ContentBody::of_client(stream::iter(outgoing));
        let bytes = block_on(body.collect()).unwrap().to_bytes();
        // Chunks are the same field of every message that carries them.
        let save = Save::decode(&bytes[PREFIX_BYTES..]).unwrap();
        prop_assert_eq!(save.message, Some(Kind::Chunk(chunk.clone())));
        let replace = pb::ReplaceArtifactRequest::decode(&bytes[PREFIX_BYTES..]).unwrap();
        prop_assert_eq!(replace.message, Some(pb::replace_artifact_request::Message::Chunk(chunk.clone())));
        let read = pb::ReadContentResponse::decode(&bytes[PREFIX_BYTES..]).unwrap();
        prop_assert_eq!(read.message, Some(pb::read_content_response::Message::Chunk(chunk)));
    }
}

#[test]
fn a_plain_chunk_keeps_the_pieces_in_which_it_came() {
    let data = vec![7; 100_000];
    let message = Outgoing::chunk(data.clone().into(), 1, 2);
    let bytes = block_on(ContentBody::of_client(stream::iter([message])).collect())
        .unwrap()
        .to_bytes();
    let (messages, _) = received(body(&bytes, &[30_000, 30_000]));
    let [Received::Chunk(chunk)] = &messages[..] else {
        panic!("a chunk was sent: {messages:?}");
    };
    assert_eq!(chunk.data.len(), 3);
    assert_eq!(chunk.data.concat(), data);
}

#[test]
fn small_frames_do_not_keep_what_they_came_in() {
    let data = vec![7; 100_000];
    let message = Outgoing::chunk(data.clone().into(), 1, 2);
    let bytes = block_on(ContentBody::of_client(stream::iter([message])).collect())
        .unwrap()
        .to_bytes();
    let (messages, _) = received(body(&bytes, &[1; 99_000]));
    let [Received::Chunk(chunk)] = &messages[..] else {
        panic!("a chunk was sent");
    };
    assert_eq!(chunk.data.len(), 1);
    assert_eq!(chunk.data.concat(), data);
}

#[test]
fn a_cut_body_a_flag_and_a_great_length_are_refused() {
    let whole = framed(&Save { message: None }.encode_to_vec());
    let chunk = framed(&[0x12, 0]);
    for (bytes, code) in [
        (&whole[..3], Code::Internal),
        (&chunk[..6], Code::Internal),
        (&[1, 0, 0, 0, 0], Code::Internal),
        (&[2, 0, 0, 0, 0], Code::Internal),
        (&[0, 0, 0x10, 0, 1], Code::OutOfRange),
        (&[0, 0xff, 0xff, 0xff, 0xff], Code::OutOfRange),
    ] {
        let (messages, error) = received(body(bytes, &[]));
        assert_eq!((messages.len(), error), (0, Some(code)), "{bytes:?}");
    }
}

#[test]
fn an_answer_ends_with_the_status_that_follows_it() {
    let chunk = |offset| Ok(Outgoing::chunk(Bytes::from_static(b"abc"), 1, offset));
    let read = |body: Body| {
        let mut messages = Messages::<pb::ReadContentResponse>::of_server(body, MESSAGE_BYTES_MAX);
        let mut count = 0;
        loop {
            match messages.message().now_or_never().expect("the body never waits") {
                Ok(Some(_)) => count += 1,
                Ok(None) => return (count, Code::Ok),
                Err(status) => return (count, status.code()),
            }
        }
    };
    let whole = ContentBody::of_server(stream::iter([chunk(0), chunk(3)]));
    assert_eq!(read(Body::new(whole)), (2, Code::Ok));
    let failed = [chunk(0), Err(Status::data_loss("damaged")), chunk(3)];
    let failed = ContentBody::of_server(stream::iter(failed));
    assert_eq!(read(Body::new(failed)), (1, Code::DataLoss));
    // An end without a status is no end.
    let cut = ContentBody::of_client(stream::iter([chunk(0)]).map(Result::unwrap));
    assert_eq!(read(Body::new(cut)), (1, Code::Unknown));
}
