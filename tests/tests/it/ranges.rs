//! Reading pieces.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::content,
    pb::{self, ErrorReason, ReadContentRequest},
    refusal,
};

const SIZE: usize = 2_500_000;

#[tokio::test]
async fn every_range_is_the_same_piece_of_the_content() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(1, SIZE);
        calls.save(keyed("x.bin"), &bytes).await.unwrap();
        let size = SIZE as i64;
        for (offset, length, from, to) in [
            (0, None, 0, SIZE),
            (0, Some(0), 0, 0),
            (0, Some(1), 0, 1),
            (0, Some(i64::MAX), 0, SIZE),
            (1, Some(size), 1, SIZE),
            (262_143, Some(2), 262_143, 262_145),
            (262_144, Some(262_144), 262_144, 524_288),
            (1_000_000, Some(1_234_567), 1_000_000, 2_234_567),
            (size - 1, None, SIZE - 1, SIZE),
            (size, None, SIZE, SIZE),
            (size, Some(10), SIZE, SIZE),
            (-1, None, SIZE - 1, SIZE),
            (-100_000, Some(10), SIZE - 100_000, SIZE - 99_990),
            (-size, Some(3), 0, 3),
        ] {
            let request = ReadContentRequest {
                artifact: Some(by_key("x.bin")),
                offset,
                length,
                ..Default::default()
            };
            let read = calls.read_raw(request).await.unwrap();
            assert!(
                read.bytes == bytes[from..to],
                "offset {offset}, length {length:?} on {backend:?}"
            );
            assert_eq!((read.head.offset, read.head.length), (from as i64, (to - from) as i64));
            assert_eq!(read.head.artifact.unwrap().key.as_deref(), Some("x.bin"));
        }
    }
}

#[tokio::test]
async fn ranges_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("x.bin"), &content(1, 1000)).await.unwrap();
    calls.save(keyed("empty.bin"), b"").await.unwrap();
    for (key, offset, length, reasons) in [
        ("x.bin", 1001, None, &[ErrorReason::RangeInvalid][..]),
        ("x.bin", i64::MAX, None, &[ErrorReason::RangeInvalid]),
        ("x.bin", i64::MAX, Some(i64::MAX), &[ErrorReason::RangeInvalid]),
        ("x.bin", -1001, None, &[ErrorReason::RangeInvalid]),
        ("x.bin", i64::MIN, None, &[ErrorReason::RangeInvalid]),
        (
            "x.bin",
            0,
            Some(-1),
            &[ErrorReason::FieldInvalid, ErrorReason::RangeInvalid],
        ),
        (
            "x.bin",
            0,
            Some(i64::MIN),
            &[ErrorReason::FieldInvalid, ErrorReason::RangeInvalid],
        ),
        ("empty.bin", 1, None, &[ErrorReason::RangeInvalid]),
        ("empty.bin", -1, None, &[ErrorReason::RangeInvalid]),
    ] {
        let request = ReadContentRequest {
            artifact: Some(by_key(key)),
            offset,
            length,
            ..Default::default()
        };
        let reason = refusal(calls.read_raw(request).await);
        assert!(
            reasons.contains(&reason),
            "{key}, offset {offset}, length {length:?}: {reason:?}"
        );
    }
    assert_eq!(calls.read_range(by_key("empty.bin"), 0, 10).await.unwrap(), b"");
}

#[tokio::test]
async fn chunks_have_the_size_that_was_asked_for_within_bounds() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("x.bin"), &content(1, SIZE)).await.unwrap();
    for (wish, most) in [
        (0, 1 << 20),
        (1, 64 << 10),
        (65_536, 65_536),
        (100_000, 100_000),
        (1 << 20, 1 << 20),
        (i32::MAX, 1 << 20),
        (-1, 64 << 10),
    ] {
        let request = ReadContentRequest {
            artifact: Some(by_key("x.bin")),
            chunk_bytes: wish,
            ..Default::default()
        };
        let outcome = calls.read_raw(request).await;
        if wish < 0 && outcome.is_err() {
            assert_eq!(refusal(outcome), ErrorReason::FieldInvalid);
            continue;
        }
        let read = outcome.unwrap();
        assert!(
            read.chunk_sizes.iter().all(|size| *size <= most && *size > 0),
            "{wish}: {:?}",
            read.chunk_sizes
        );
        assert!(
            read.chunk_sizes.len() <= SIZE / most * 2 + 2,
            "{wish}: {} chunks",
            read.chunk_sizes.len()
        );
    }
}

#[tokio::test]
async fn a_resumed_read_gives_the_same_content_or_says_that_it_changed() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(1, SIZE);
        let artifact = saved(calls.save(keyed("x.bin"), &bytes).await.unwrap());
        let resume = |etag: &str| ReadContentRequest {
            artifact: Some(by_uid(&artifact.uid)),
            offset: 1_000_000,
            if_match: Some(etag.to_owned()),
            ..Default::default()
        };
        let rest = calls.read_raw(resume(&artifact.content_etag)).await.unwrap();
        assert!(rest.bytes == bytes[1_000_000..]);
        let replace = pb::ReplaceHeader {
            artifact: Some(by_uid(&artifact.uid)),
            ..Default::default()
        };
        calls.replace(replace, &content(2, SIZE)).await.unwrap();
        let refused = refusal(calls.read_raw(resume(&artifact.content_etag)).await);
        assert_eq!(refused, ErrorReason::ContentChanged, "{backend:?}");
        assert_eq!(
            refusal(calls.read_raw(resume("nonsense")).await),
            ErrorReason::ContentChanged
        );
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_costs_the_server_nothing() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let bytes = content(1, 8_000_000);
    calls.save(keyed("x.bin"), &bytes).await.unwrap();
    for _ in 0..50 {
        let request = ReadContentRequest {
            artifact: Some(by_key("x.bin")),
            ..Default::default()
        };
        let mut stream = calls.contents().read_content(request).await.unwrap().into_inner();
        stream.message().await.unwrap();
    }
    assert!(calls.read(by_key("x.bin")).await.unwrap() == bytes);
}
