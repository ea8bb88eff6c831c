//! Upload streams that break their own rules: refused, nothing saved, nothing left.

use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, chunk, honest_chunks, honest_trailer, keyed, save_messages},
    content::{content, digest},
    pb::{self, ContentChunk, ContentTrailer, ErrorReason, SaveHeader, save_artifact_request::Message},
    refusal,
};
use bytes::Bytes;

const KEY: &str = "x.bin";

async fn send(calls: &Calls, messages: Vec<Message>) -> Outcome<pb::SaveArtifactResponse> {
    calls.save_stream(futures::stream::iter(messages)).await
}

async fn assert_nothing_is_left(server: &TestServer, what: &str) {
    assert_eq!(
        refusal(server.calls().get(by_key(KEY)).await),
        ErrorReason::ArtifactNotFound,
        "{what}"
    );
    assert_eq!(
        server.query_integer("SELECT count(*) FROM artifacts").await,
        0,
        "{what}"
    );
    // Tidying up follows the answer; it must come without any further call.
    for _ in 0..200 {
        if server.staged().is_empty() && server.stored_objects().is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{what} left {:?} and {:?}", server.staged(), server.stored_objects());
}

fn wrong_messages(bytes: &[u8]) -> Vec<(&'static str, Vec<Message>, ErrorReason)> {
    let size = bytes.len() as i64;
    let header = |header: SaveHeader| Message::Header(header);
    let plain = || Message::Header(keyed(KEY));
    let chunks = || honest_chunks(bytes).into_iter().map(Message::Chunk).collect::<Vec<_>>();
    let trailer = || Message::Trailer(honest_trailer(bytes));
    let with = |parts: [Vec<Message>; 3]| parts.into_iter().flatten().collect::<Vec<_>>();
    let declared = |declared: SaveHeader| with([vec![header(declared)], chunks(), vec![trailer()]]);
    let ended = |end: ContentTrailer| with([vec![plain()], chunks(), vec![Message::Trailer(end)]]);
    let with_chunk = |change: &dyn Fn(&mut Vec<ContentChunk>)| {
        let mut changed = honest_chunks(bytes);
        change(&mut changed);
        with([
            vec![plain()],
            changed.into_iter().map(Message::Chunk).collect(),
            vec![trailer()],
        ])
    };
    vec![
        (
            "chunk before header",
            with([chunks(), vec![plain()], vec![trailer()]]),
            ErrorReason::StreamOutOfOrder,
        ),
        ("trailer alone", vec![trailer()], ErrorReason::StreamOutOfOrder),
        (
            "two headers",
            with([vec![plain(), plain()], chunks(), vec![trailer()]]),
            ErrorReason::StreamOutOfOrder,
        ),
        (
            "header in the middle",
            with([vec![plain()], chunks(), vec![plain(), trailer()]]),
            ErrorReason::StreamOutOfOrder,
        ),
        (
            "chunk after trailer",
            with([vec![plain(), trailer()], chunks(), vec![]]),
            ErrorReason::StreamOutOfOrder,
        ),
        (
            "two trailers",
            with([vec![plain()], chunks(), vec![trailer(), trailer()]]),
            ErrorReason::StreamOutOfOrder,
        ),
        (
            "chunk behind a right trailer",
            with([vec![plain()], chunks(), vec![trailer(), Message::Chunk(chunk(b"x"))]]),
            ErrorReason::StreamOutOfOrder,
        ),
        ("nothing", vec![], ErrorReason::StreamIncomplete),
        ("header alone", vec![plain()], ErrorReason::StreamIncomplete),
        (
            "no trailer",
            with([vec![plain()], chunks(), vec![]]),
            ErrorReason::StreamIncomplete,
        ),
        (
            "declared one byte less",
            declared(SaveHeader {
                size: Some(size - 1),
                ..keyed(KEY)
            }),
            ErrorReason::SizeMismatch,
        ),
        (
            "declared one byte more",
            declared(SaveHeader {
                size: Some(size + 1),
                ..keyed(KEY)
            }),
            ErrorReason::SizeMismatch,
        ),
        (
            "another digest declared",
            declared(SaveHeader {
                sha256: Some(digest(b"other")),
                ..keyed(KEY)
            }),
            ErrorReason::DigestMismatch,
        ),
        (
            "trailer with another size",
            ended(ContentTrailer {
                size: Some(size - 1),
                sha256: None,
            }),
            ErrorReason::SizeMismatch,
        ),
        (
            "trailer with a negative size",
            ended(ContentTrailer {
                size: Some(-1),
                sha256: None,
            }),
            ErrorReason::FieldInvalid,
        ),
        (
            "trailer with another digest",
            ended(ContentTrailer {
                size: None,
                sha256: Some(digest(b"other")),
            }),
            ErrorReason::DigestMismatch,
        ),
        (
            "trailer with no digest",
            ended(ContentTrailer {
                size: None,
                sha256: Some("ABC".to_owned()),
            }),
            ErrorReason::DigestInvalid,
        ),
        (
            "gap",
            with_chunk(&|chunks| chunks[1].offset = Some(chunks[1].offset.unwrap() + 1)),
            ErrorReason::OffsetMismatch,
        ),
        (
            "overlap",
            with_chunk(&|chunks| chunks[1].offset = Some(5)),
            ErrorReason::OffsetMismatch,
        ),
        (
            "chunk twice",
            with_chunk(&|chunks| chunks.insert(1, chunks[0].clone())),
            ErrorReason::OffsetMismatch,
        ),
        (
            "chunks in another order",
            with_chunk(&|chunks| chunks.swap(0, 1)),
            ErrorReason::OffsetMismatch,
        ),
        (
            "offset at the end of time",
            with_chunk(&|chunks| chunks[1].offset = Some(i64::MAX)),
            ErrorReason::OffsetMismatch,
        ),
        (
            "negative offset",
            with_chunk(&|chunks| chunks[1].offset = Some(-1)),
            ErrorReason::OffsetMismatch,
        ),
        (
            "wrong checksum of the first",
            with_chunk(&|chunks| chunks[0].crc32c = Some(0)),
            ErrorReason::ChunkChecksumMismatch,
        ),
        (
            "wrong checksum of the last",
            with_chunk(&|chunks| chunks.last_mut().unwrap().crc32c = Some(1)),
            ErrorReason::ChunkChecksumMismatch,
        ),
        (
            "bytes that changed on the way",
            with_chunk(&|chunks| chunks[1].data = Bytes::from(vec![0; chunks[1].data.len()])),
            ErrorReason::ChunkChecksumMismatch,
        ),
    ]
}

#[tokio::test]
async fn streams_that_break_the_rules_save_nothing() {
    for backend in [Backend::EMBEDDED, Backend::POSTGRES, Backend::S3] {
        let server = TestServer::on(backend).await;
        for (what, messages, reason) in wrong_messages(&content(1, 2_500_000)) {
            let failure = send(&server.calls(), messages).await.expect_err(what);
            let right = failure.reason == Some(reason)
                || (reason == ErrorReason::OffsetMismatch && failure.reason == Some(ErrorReason::FieldInvalid));
            assert!(right, "{what} on {backend:?}: expected {reason:?}, got {failure}");
            assert_nothing_is_left(&server, what).await;
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn empty_messages_have_no_place_in_a_stream() {
    let server = TestServer::start().await;
    let requests = [pb::SaveArtifactRequest { message: None }];
    let status = server
        .calls()
        .artifacts()
        .save_artifact(futures::stream::iter(requests))
        .await
        .unwrap_err();
    let reason = artifactd_tests::Failure::from(status).reason.unwrap();
    assert!(
        matches!(reason, ErrorReason::StreamOutOfOrder | ErrorReason::FieldRequired),
        "{reason:?}"
    );
}

#[tokio::test]
async fn too_much_content_is_cut_at_once_and_not_at_the_end() {
    use futures::StreamExt;
    let server = TestServer::start().await;
    let declared = SaveHeader {
        size: Some(10),
        ..keyed(KEY)
    };
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&sent);
    let endless = futures::stream::iter(std::iter::once(Message::Header(declared))).chain(
        futures::stream::repeat_with(move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Message::Chunk(chunk(&[0; 1000]))
        })
        .take(1_000_000),
    );
    assert_eq!(
        refusal(server.calls().save_stream(endless).await),
        ErrorReason::SizeMismatch
    );
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent < 100_000, "{sent} chunks were taken before the answer");
    assert_nothing_is_left(&server, "too much content").await;
}

#[tokio::test]
async fn sizes_above_the_limit_are_refused_before_any_byte() {
    let server = TestServer::setup()
        .env("ARTIFACTD_LIMITS__CONTENT_BYTES_MAX", "1000000")
        .start()
        .await;
    let huge = SaveHeader {
        size: Some(i64::MAX),
        ..keyed(KEY)
    };
    let forever = futures::stream::once(async { Message::Header(huge) });
    let forever = futures::StreamExt::chain(forever, futures::stream::pending());
    assert_eq!(
        refusal(server.calls().save_stream(forever).await),
        ErrorReason::ContentTooLarge
    );
    let undeclared = send(&server.calls(), save_messages(keyed(KEY), &content(1, 1_000_001))).await;
    assert_eq!(refusal(undeclared), ErrorReason::ContentTooLarge);
    assert_nothing_is_left(&server, "content above the limit").await;
    send(&server.calls(), save_messages(keyed(KEY), &content(1, 1_000_000)))
        .await
        .unwrap();
}

#[tokio::test]
async fn chunks_may_have_two_million_bytes_and_no_more() {
    let server = TestServer::start().await;
    let whole = |size: usize| vec![Message::Header(keyed(KEY)), Message::Chunk(chunk(&vec![7; size]))];
    for size in [2_000_001, 3 << 20, 20 << 20] {
        let failure = send(&server.calls(), whole(size)).await.unwrap_err();
        let right = [None, Some(ErrorReason::MessageTooLarge)];
        assert!(right.contains(&failure.reason), "a chunk of {size}: {failure}");
        assert_nothing_is_left(&server, "a chunk that is too large").await;
    }
    let mut messages = whole(2_000_000);
    messages.push(Message::Trailer(ContentTrailer::default()));
    send(&server.calls(), messages).await.unwrap();
}

#[tokio::test]
async fn tiny_and_empty_chunks_add_up() {
    for backend in [Backend::EMBEDDED, Backend::S3] {
        let server = TestServer::on(backend).await;
        let bytes = content(1, 20_000);
        let mut messages = vec![Message::Header(keyed(KEY))];
        for byte in &bytes {
            messages.push(Message::Chunk(chunk(&[])));
            messages.push(Message::Chunk(chunk(&[*byte])));
        }
        messages.push(Message::Trailer(honest_trailer(&bytes)));
        send(&server.calls(), messages).await.unwrap();
        assert!(server.calls().read(by_key(KEY)).await.unwrap() == bytes, "{backend:?}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_at_any_chunk_leaves_nothing() {
    for backend in [Backend::EMBEDDED, Backend::POSTGRES, Backend::S3] {
        let server = TestServer::on(backend).await;
        let bytes = content(1, 7_000_000);
        let messages = save_messages(keyed(KEY), &bytes);
        for cut in 0..messages.len() {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            let calls = server.calls();
            let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
            let call = tokio::spawn(async move { calls.save_stream(stream).await });
            for message in messages.iter().take(cut) {
                sender.send(message.clone()).await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            call.abort();
            assert!(call.await.is_err_and(|error| error.is_cancelled()));
            assert_nothing_is_left(&server, &format!("cut before message {cut} on {backend:?}")).await;
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_silent_upload_is_cut() {
    let server = TestServer::setup()
        .env("ARTIFACTD_LIMITS__STREAM_IDLE_TIMEOUT_MS", "300")
        .start()
        .await;
    let silent = futures::stream::iter([Message::Header(keyed(KEY)), Message::Chunk(chunk(b"begun"))]);
    let silent = futures::StreamExt::chain(silent, futures::stream::pending());
    let began = std::time::Instant::now();
    assert_eq!(
        refusal(server.calls().save_stream(silent).await),
        ErrorReason::DeadlineExceeded
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    let without_header = refusal(server.calls().save_stream(futures::stream::pending()).await);
    assert_eq!(without_header, ErrorReason::DeadlineExceeded);
    assert_nothing_is_left(&server, "a silent upload").await;
}

#[tokio::test]
async fn a_small_save_checks_what_was_declared() {
    let server = TestServer::start().await;
    let request = |header: SaveHeader, crc32c| pb::SaveSmallArtifactRequest {
        header: Some(header),
        content: "content".into(),
        crc32c,
    };
    for (what, request, reason) in [
        (
            "size",
            request(
                SaveHeader {
                    size: Some(6),
                    ..keyed(KEY)
                },
                None,
            ),
            ErrorReason::SizeMismatch,
        ),
        (
            "digest",
            request(
                SaveHeader {
                    sha256: Some(digest(b"other")),
                    ..keyed(KEY)
                },
                None,
            ),
            ErrorReason::DigestMismatch,
        ),
        (
            "checksum",
            request(keyed(KEY), Some(0)),
            ErrorReason::ChunkChecksumMismatch,
        ),
    ] {
        assert_eq!(refusal(server.calls().save_small_raw(request).await), reason, "{what}");
        assert_nothing_is_left(&server, what).await;
    }
}
