use arrow_flight::FlightDescriptor;
use futures::{FutureExt, StreamExt, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::prelude::*;

use super::*;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// A body that brings `bytes` cut into frames of these sizes, the rest in one, and this status.
fn body(bytes: &[u8], cuts: &[usize], status: Option<Code>) -> Body {
    let (mut rest, mut frames) = (Bytes::copy_from_slice(bytes), Vec::new());
    for cut in cuts {
        frames.push(Frame::data(rest.split_to((*cut).min(rest.len()))));
    }
    frames.push(Frame::data(rest));
    if let Some(code) = status {
        let mut trailers = HeaderMap::new();
        Status::new(code, "").add_header(&mut trailers).unwrap();
        frames.push(Frame::trailers(trailers));
    }
    Body::new(StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Status>))))
}

/// All messages of a body, and the code of the error after them.
fn received(body: Body) -> (Vec<FlightData>, Option<Code>) {
    let (mut messages, mut all) = (Messages::new(body, MESSAGE_BYTES_MAX), Vec::new());
    loop {
        match messages.next().now_or_never().expect("the body never waits") {
            Some(Ok(message)) => all.push(message),
            Some(Err(FlightError::Tonic(status))) => return (all, Some(status.code())),
            Some(Err(other)) => panic!("{other}"),
            None => return (all, None),
        }
    }
}

fn any_message() -> impl Strategy<Value = FlightData> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from);
    (bytes(300), bytes(300), bytes(3000), any::<bool>()).prop_map(|(header, metadata, body, described)| FlightData {
        flight_descriptor: described.then(|| FlightDescriptor::new_path(vec!["cells".to_owned()])),
        data_header: header,
        app_metadata: metadata,
        data_body: body,
    })
}

proptest! {
    #[test]
    fn messages_are_the_same_however_they_are_cut(
        sent in prop::collection::vec(any_message(), 0..6),
        cuts in prop::collection::vec(0_usize..400, 0..40),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|message| framed(&message.encode_to_vec())).collect();
        let (messages, failure) = received(body(&bytes, &cuts, Some(Code::Ok)));
        prop_assert_eq!(failure, None);
        for message in &messages {
            let aligned = message.data_body.is_empty() || message.data_body.as_ptr().align_offset(ALIGNMENT) == 0;
            prop_assert!(aligned);
        }
        prop_assert_eq!(messages, sent);
    }

    #[test]
    fn noise_is_refused_or_is_what_the_ordinary_decoder_makes_of_it(
        noise in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(0_usize..10, 0..10),
    ) {
        let (messages, failure) = received(body(&framed(&noise), &cuts, Some(Code::Ok)));
        match failure {
            None => prop_assert_eq!(messages, vec![FlightData::decode(&noise[..]).unwrap()]),
            Some(code) => prop_assert_eq!(code, Code::Internal),
        }
    }
}

#[test]
fn fields_that_nobody_knows_are_left_out() {
    let known = FlightData {
        data_body: Bytes::from_static(b"body"),
        ..FlightData::default()
    };
    let unknown: [&[u8]; 4] = [
        &[0x38, 0x96, 0x01],
        &[0x3a, 2, b'a', b'b'],
        &[0x3d, 1, 2, 3, 4],
        &[0x39, 1, 2, 3, 4, 5, 6, 7, 8],
    ];
    let message = [&unknown.concat()[..], &known.encode_to_vec(), &unknown.concat()].concat();
    for cut in 0..message.len() {
        let (messages, failure) = received(body(&framed(&message), &[cut, 1], Some(Code::Ok)));
        assert_eq!((messages, failure), (vec![known.clone()], None), "cut at {cut}");
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let compressed = [1, 0, 0, 0, 0];
    // The field of a body begins with the bytes 0xc2 0x3e.
    let longer_body = framed(&[0xc2, 0x3e, 9, b'a']);
    let two_bodies = framed(&[0xc2, 0x3e, 1, b'a', 0xc2, 0x3e, 1, b'b']);
    let longer_field = framed(&[0x12, 9, b'a']);
    let group = framed(&[0x0b, 0x0c]);
    let endless = framed(&[0xff; 12]);
    for bytes in [
        &compressed[..],
        &longer_body,
        &two_bodies,
        &longer_field,
        &group,
        &endless,
    ] {
        let (messages, failure) = received(body(bytes, &[], Some(Code::Ok)));
        assert_eq!((messages, failure), (vec![], Some(Code::Internal)), "{bytes:?}");
    }
}

#[test]
fn a_message_above_the_limit_is_refused_before_it_comes() {
    let mut bytes = vec![0];
    bytes.extend((MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes());
    assert_eq!(received(body(&bytes, &[], None)), (vec![], Some(Code::OutOfRange)));
}

#[test]
fn an_end_says_what_the_server_said() {
    let message = framed(&FlightData::default().encode_to_vec());
    let whole = vec![FlightData::default()];
    let code_after = |bytes: &[u8], status| received(body(bytes, &[], status));
    assert_eq!(code_after(&message, Some(Code::Ok)), (whole.clone(), None));
    assert_eq!(
        code_after(&message, Some(Code::DataLoss)),
        (whole.clone(), Some(Code::DataLoss))
    );
    assert_eq!(code_after(&message, None), (whole, Some(Code::Unknown)));
    let cut = framed(&[0xc2, 0x3e, 9, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h', b'i']);
    for length in 1..cut.len() {
        let (messages, failure) = code_after(&cut[..length], Some(Code::Ok));
        assert_eq!((messages, failure), (vec![], Some(Code::Internal)), "{length} bytes");
    }
}
