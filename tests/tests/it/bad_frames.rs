//! gRPC and HTTP/2 that no client library would send.
//!
//! After every case the server still answers, has not grown, and has not panicked.

use std::time::Duration;

use artifactd_tests::{
    TestServer,
    calls::{by_key, keyed},
    failure::checked_reason,
    pb::{self, ErrorReason},
    wire::{self, END_HEADERS, END_STREAM, Ending, Frames, Kind, frame, framed, header_block},
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const GET: &str = "/artifactd.v1.ArtifactService/GetArtifact";
const SAVE: &str = "/artifactd.v1.ArtifactService/SaveArtifact";
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn get_request() -> Vec<u8> {
    pb::GetArtifactRequest {
        artifact: Some(by_key("x.txt")),
        include_hidden: false,
        ..Default::default()
    }
    .encode_to_vec()
}

async fn assert_unharmed(server: &TestServer, before: u64, what: &str) {
    server.calls().save(keyed("x.txt"), what.as_bytes()).await.unwrap();
    assert_eq!(
        server.calls().read(by_key("x.txt")).await.unwrap(),
        what.as_bytes(),
        "{what}"
    );
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "{what}: the server grew by {grown} bytes");
}

async fn refused(server: &TestServer, path: &str, headers: &[(&str, &[u8])], body: &[u8], what: &str) -> ErrorReason {
    let answer = wire::call(server.address(), path, headers, body)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let status = answer
        .status
        .unwrap_or_else(|| panic!("{what}: HTTP {} and no status", answer.http_status));
    checked_reason(&status).unwrap_or_else(|fault| panic!("{what}: {fault} in {status:?}"))
}

#[tokio::test]
async fn messages_that_are_none_are_refused_with_a_reason() {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
    let before = server.resident_bytes();
    let mut long_prefix = vec![0, 0xff, 0xff, 0xff, 0xff];
    long_prefix.extend_from_slice(b"five!");
    let groups: Vec<u8> = std::iter::repeat_n(0x0b, 10_000)
        .chain(std::iter::repeat_n(0x0c, 10_000))
        .collect();
    let mut nested = Vec::new();
    for _ in 0..2_000 {
        let len = prost::encoding::encoded_len_varint(nested.len() as u64);
        let mut outer = Vec::with_capacity(nested.len() + len + 1);
        outer.push(0x0a);
        prost::encoding::encode_varint(nested.len() as u64, &mut outer);
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    let malformed = &[ErrorReason::MessageMalformed][..];
    let too_large = &[ErrorReason::MessageTooLarge][..];
    let either = &[ErrorReason::MessageMalformed, ErrorReason::FieldRequired][..];
    for (what, body, reasons) in [
        ("M15 prefix of 4 GiB", long_prefix, too_large),
        ("M15 prefix without a body", vec![0, 0, 0, 0, 9], malformed),
        ("M15 half a prefix", vec![0, 0], malformed),
        ("M15 no message at all", vec![], malformed),
        ("M16 random bytes", framed(&[0xff; 100]), malformed),
        ("M16 wrong wire type", framed(&[0x0d, 1, 2, 3, 4]), malformed),
        ("M16 cut varint", framed(&[0x0a, 0xff]), malformed),
        (
            "M16 text that is not UTF-8",
            framed(&[0x0a, 4, 0x0a, 2, 0xff, 0xfe]),
            malformed,
        ),
        ("M16 nested groups", framed(&groups), malformed),
        ("M16 nested messages", framed(&nested), either),
        (
            "M13 compressed flag without an encoding",
            [vec![1], framed(&get_request())[1..].to_vec()].concat(),
            malformed,
        ),
    ] {
        let reason = refused(&server, GET, &[], &body, what).await;
        assert!(reasons.contains(&reason), "{what}: {reason:?}");
        assert_unharmed(&server, before, what).await;
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
    let mut request = get_request();
    request.extend([0xfa, 0xff, 0x3f, 3, 1, 2, 3]);
    let answer = wire::call(server.address(), GET, &[], &framed(&request)).await.unwrap();
    assert_eq!(answer.status.unwrap().code(), tonic::Code::Ok);
}

#[tokio::test]
async fn unknown_methods_and_encodings_are_unimplemented() {
    let server = TestServer::start().await;
    for path in [
        "/artifactd.v1.ArtifactService/NoSuchMethod",
        "/artifactd.v1.NoSuchService/Get",
        "/",
        "/x",
        "/artifactd.v1.ArtifactService/",
    ] {
        let reason = refused(&server, path, &[], &framed(b""), path).await;
        assert_eq!(reason, ErrorReason::MethodUnknown, "{path}");
    }
    let body = [vec![1], framed(&get_request())[1..].to_vec()].concat();
    for encoding in ["gzip", "br", "nonsense"] {
        let answer = wire::call(server.address(), GET, &[("grpc-encoding", encoding.as_bytes())], &body)
            .await
            .unwrap();
        let status = answer.status.unwrap();
        assert_eq!(checked_reason(&status), Ok(ErrorReason::MethodUnknown), "{encoding}");
        assert!(
            answer.headers.contains_key("grpc-accept-encoding"),
            "{encoding}: {:?}",
            answer.headers
        );
    }
}

#[tokio::test]
async fn deadlines_that_are_none_do_no_harm() {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
    for timeout in ["99999999H", "-1S", "abc", "", "1", "S", "999999999999S", "1x", "é"] {
        let headers: &[(&str, &[u8])] = &[("grpc-timeout", timeout.as_bytes())];
        let answer = wire::call(server.address(), GET, headers, &framed(&get_request()))
            .await
            .unwrap();
        let status = answer.status.unwrap();
        if status.code() != tonic::Code::Ok {
            let reason = checked_reason(&status).unwrap_or_else(|fault| panic!("{timeout:?}: {fault}"));
            assert!(
                matches!(
                    reason,
                    ErrorReason::FieldInvalid | ErrorReason::MessageMalformed | ErrorReason::DeadlineExceeded
                ),
                "{timeout:?}"
            );
        }
    }
    let reason = refused(&server, GET, &[("grpc-timeout", b"0n")], &framed(&get_request()), "0n").await;
    assert_eq!(reason, ErrorReason::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_shorter_than_the_commit_tells_the_truth_later() {
    for backend in artifactd_tests::Backend::DATABASES {
        let server = TestServer::on(backend).await;
        for micros in [1_u32, 200, 500, 1_000, 2_000, 4_000, 8_000, 16_000] {
            let key = format!("{micros}.txt");
            let header = pb::SaveHeader {
                request_id: Some(key.clone()),
                ..keyed(&key)
            };
            let request = pb::SaveSmallArtifactRequest {
                header: Some(header.clone()),
                content: key.clone().into(),
                crc32c: None,
            };
            let path = "/artifactd.v1.ArtifactService/SaveSmallArtifact";
            let timeout = format!("{micros}u");
            let headers: &[(&str, &[u8])] = &[("grpc-timeout", timeout.as_bytes())];
            let answer = wire::call(server.address(), path, headers, &framed(&request.encode_to_vec()))
                .await
                .unwrap();
            let status = answer.status.unwrap();
            if status.code() != tonic::Code::Ok {
                assert_eq!(
                    checked_reason(&status),
                    Ok(ErrorReason::DeadlineExceeded),
                    "{micros} us on {backend:?}"
                );
            }
            server.calls().save_small(header, key.as_bytes()).await.unwrap();
            assert_eq!(
                server.calls().family(by_key(&key)).await.unwrap().len(),
                1,
                "{micros} us on {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn too_many_headers_are_refused_and_others_go_on() {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
    let before = server.resident_bytes();
    let good = server.calls();
    good.read(by_key("x.txt")).await.unwrap();
    let large = vec![b'x'; 17 << 10];
    let answer = wire::call(server.address(), GET, &[("x-large", &large)], &framed(&get_request())).await;
    let passed = answer.is_ok_and(|answer| answer.status.is_some_and(|status| status.code() == tonic::Code::Ok));
    assert!(!passed, "17 KiB of headers were taken");
    let names: Vec<String> = (0..20_000).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"y".as_slice())).collect();
    let answer = wire::call(server.address(), GET, &many, &framed(&get_request())).await;
    let passed = answer.is_ok_and(|answer| answer.status.is_some_and(|status| status.code() == tonic::Code::Ok));
    assert!(!passed, "20,000 headers were taken");
    good.read(by_key("x.txt")).await.unwrap();
    assert_unharmed(&server, before, "M04").await;
}

#[tokio::test]
async fn request_ids_of_a_caller_cannot_forge_log_lines() {
    let server = TestServer::start().await;
    for id in [b"\x1b[31mred".as_slice(), &[b'x'; 8192], "übel".as_bytes()] {
        let headers: &[(&str, &[u8])] = &[("x-request-id", id)];
        if http::HeaderValue::from_bytes(id).is_ok() {
            let _ = wire::call(server.address(), GET, headers, &framed(&get_request())).await;
        }
    }
    let log = server.log();
    assert!(
        !log.contains("\u{1b}[31mred") && !log.contains(&"x".repeat(1000)),
        "{log}"
    );
}

#[tokio::test]
async fn other_protocols_are_turned_away() {
    let server = TestServer::start().await;
    let before = server.resident_bytes();
    for (what, bytes) in [
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec()),
        ("HTTP/1.1 POST", b"POST /artifactd.v1.ArtifactService/GetArtifact HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        ("TLS", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 200]].concat()),
        ("noise", artifactd_tests::content::content(5, 4096).to_vec()),
        ("half a preface", b"PRI * HTTP/2.0\r\n".to_vec()),
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{what}: the connection stays open");
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("panicked") && !text.contains(".rs:"), "{what}: {text}");
        assert_unharmed(&server, before, what).await;
    }
}

/// Frames that a server must not follow for ever, and whether it must say so.
async fn flood(what: &str, times: usize, must_end: bool, bytes: impl FnMut(u32) -> Vec<u8>) {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
    let before = server.resident_bytes();
    let ending = Frames::connect(server.address()).await.flood(times, bytes).await;
    assert!(
        !must_end || ending != Ending::Open,
        "{what}: the server followed to the end"
    );
    assert_unharmed(&server, before, what).await;
}

#[tokio::test]
async fn a_header_bomb_is_refused() {
    // One large entry of the dynamic table, named again and again.
    let mut block = header_block(GET);
    block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    block.extend(vec![b'y'; 127 + 0x21 + (0x1e << 7)]);
    block.extend(vec![0xbe; 100_000]);
    let mut pieces = block.chunks(16_000);
    let mut frames = frame(Kind::Headers, END_STREAM, 1, pieces.next().unwrap());
    let rest: Vec<_> = pieces.collect();
    for (number, piece) in rest.iter().enumerate() {
        let flags = if number + 1 == rest.len() { END_HEADERS } else { 0 };
        frames.extend(frame(Kind::Continuation, flags, 1, piece));
    }
    flood("M05", 1, false, move |_| frames.clone()).await;
}

#[tokio::test]
async fn endless_continuations_are_cut() {
    let piece = [0x00, 1, b'x', 1, b'y'].repeat(1_000);
    flood("M06", 5_000, true, move |number| match number {
        0 => frame(Kind::Headers, END_STREAM, 1, &header_block(GET)),
        _ => frame(Kind::Continuation, 0, 1, &piece),
    })
    .await;
}

#[tokio::test]
async fn rapid_resets_are_cut() {
    flood("M07", 20_000, true, |number| {
        let stream = number * 2 + 1;
        let mut frames = frame(Kind::Headers, END_HEADERS, stream, &header_block(GET));
        frames.extend(frame(Kind::RstStream, 0, stream, &8_u32.to_be_bytes()));
        frames
    })
    .await;
}

#[tokio::test]
async fn resets_that_the_server_is_made_to_send_are_counted() {
    flood("M08", 20_000, true, |number| {
        let stream = number * 2 + 1;
        let mut frames = frame(Kind::Headers, END_HEADERS | END_STREAM, stream, &header_block(GET));
        frames.extend(frame(Kind::WindowUpdate, 0, stream, &[0; 4]));
        frames
    })
    .await;
}

#[tokio::test]
async fn empty_frames_are_not_free() {
    let empty = frame(Kind::Data, 0, 1, &[]).repeat(1_000);
    flood("M09", 1_000, true, move |number| match number {
        0 => frame(Kind::Headers, END_HEADERS, 1, &header_block(SAVE)),
        _ => empty.clone(),
    })
    .await;
}

#[tokio::test]
async fn floods_of_frames_that_carry_nothing_are_cut() {
    let ping = frame(Kind::Ping, 0, 0, &[1; 8]).repeat(100);
    flood("M10 pings", 1_000, true, move |_| ping.clone()).await;
    let settings = frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(100);
    flood("M10 settings", 500, true, move |_| settings.clone()).await;
    let priority = frame(Kind::Priority, 0, 1, &[0, 0, 0, 3, 1]).repeat(100);
    flood("M10 priorities", 1_000, true, move |_| priority.clone()).await;
}

#[tokio::test]
async fn a_ping_every_millisecond_is_too_many_and_ten_a_second_are_not() {
    let server = TestServer::start().await;
    for (pause_ms, times, may_go_on) in [(1, 4_000, false), (100, 30, true)] {
        let mut frames = Frames::connect(server.address()).await;
        let mut ending = Ending::Open;
        for _ in 0..times {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            ending = match frames.send(&frame(Kind::Ping, 0, 0, &[1; 8])).await {
                Ok(()) => frames.ending(Duration::ZERO).await,
                Err(_) => Ending::Closed,
            };
            if ending != Ending::Open {
                break;
            }
        }
        assert_eq!(ending == Ending::Open, may_go_on, "a ping every {pause_ms} ms");
    }
}

#[tokio::test]
async fn a_good_client_that_measures_the_line_is_served() {
    use tonic::transport::Endpoint;
    let server = TestServer::start().await;
    // Pings follow each other as fast as they are answered while content flows.
    let endpoint = Endpoint::from_shared(server.url()).unwrap();
    let channel = endpoint.http2_adaptive_window(true).connect().await.unwrap();
    let calls = artifactd_tests::Calls::over(channel);
    let bytes = artifactd_tests::content::content(1, 60_000_000);
    calls.save(keyed("x.bin"), &bytes).await.unwrap();
    for _ in 0..3 {
        assert!(calls.read(by_key("x.bin")).await.unwrap() == bytes);
    }
}
