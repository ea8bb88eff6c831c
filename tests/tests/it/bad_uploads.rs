//! Uploads that break the rules, or that somebody gives up at any point.

use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_uid, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason, UploadState, write_upload_request::Message as Asked},
    refusal,
};
use bytes::Bytes;

/// The smallest part of a folder.
const PART: usize = 256 << 10;

fn wanted(key: &str, size: Option<i64>, parallel: bool) -> pb::CreateUploadRequest {
    pb::CreateUploadRequest {
        save: Some(pb::SaveHeader { size, ..keyed(key) }),
        parallel,
        part_bytes: PART as i64,
    }
}

async fn begin(calls: &Calls, size: Option<usize>, parallel: bool) -> String {
    let request = wanted("x.bin", size.map(|size| size as i64), parallel);
    calls.create_upload(request).await.unwrap().uid
}

/// Sends messages as they are, from the very first.
async fn send(calls: &Calls, messages: Vec<Asked>) -> Outcome<Vec<i64>> {
    let messages = messages
        .into_iter()
        .map(|message| pb::WriteUploadRequest { message: Some(message) });
    let mut answers = calls
        .uploads()
        .write_upload(futures::stream::iter(messages))
        .await?
        .into_inner();
    let mut acks = Vec::new();
    while let Some(answer) = answers.message().await? {
        acks.push(answer.durable_bytes);
    }
    Ok(acks)
}

fn header(uid: &str, offset: i64) -> Asked {
    let uid = uid.to_owned();
    Asked::Header(pb::WriteUploadHeader { uid, offset })
}

fn chunk(data: impl Into<Bytes>, offset: Option<i64>) -> Asked {
    Asked::Chunk(pb::ContentChunk {
        data: data.into(),
        crc32c: None,
        offset,
    })
}

fn end() -> Asked {
    Asked::End(pb::WriteUploadEnd {})
}

async fn complete(calls: &Calls, request: pb::CompleteUploadRequest) -> ErrorReason {
    let completed = calls.uploads().complete_upload(request).await;
    reason(completed.expect_err("it is refused"))
}

fn reason(status: tonic::Status) -> ErrorReason {
    refusal(Err::<(), _>(status.into()))
}

#[tokio::test]
async fn streams_out_of_order_write_nothing() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let uid = begin(&calls, None, false).await;
    let bytes = content(1, 1_000);
    for (what, messages, reason) in [
        ("nothing", vec![], ErrorReason::StreamOutOfOrder),
        (
            "content first",
            vec![chunk(bytes.clone(), None)],
            ErrorReason::StreamOutOfOrder,
        ),
        ("the end first", vec![end()], ErrorReason::StreamOutOfOrder),
        ("no upload", vec![header("", 0)], ErrorReason::UploadNotFound),
        (
            "a position before all",
            vec![header(&uid, -1)],
            ErrorReason::FieldInvalid,
        ),
        (
            "a position behind all",
            vec![header(&uid, i64::MAX)],
            ErrorReason::OffsetMismatch,
        ),
        (
            "content behind the end",
            vec![header(&uid, 0), end(), chunk(bytes.clone(), None)],
            ErrorReason::StreamOutOfOrder,
        ),
        (
            "a gap",
            vec![
                header(&uid, 0),
                chunk(bytes.clone(), Some(0)),
                chunk(bytes.clone(), Some(1_001)),
            ],
            ErrorReason::OffsetMismatch,
        ),
        (
            "an overlap",
            vec![
                header(&uid, 0),
                chunk(bytes.clone(), Some(0)),
                chunk(bytes.clone(), Some(999)),
            ],
            ErrorReason::OffsetMismatch,
        ),
        (
            "a chunk that is too large",
            vec![header(&uid, 0), chunk(vec![0; 2_000_001], Some(0))],
            ErrorReason::MessageTooLarge,
        ),
    ] {
        assert_eq!(refusal(send(&calls, messages).await), reason, "{what}");
    }
    assert_eq!(calls.upload(&uid).await.unwrap().durable_bytes, 0);
    server.assert_clean();
}

#[tokio::test]
async fn what_nobody_said_was_all_does_not_become_an_artifact() {
    for backend in [Backend::EMBEDDED, Backend::CLUSTER] {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for parts in [0, 2] {
            let upload = calls.create_upload(wanted("x.bin", None, false)).await.unwrap();
            let (uid, part) = (upload.uid.as_str(), upload.part_bytes as usize);
            let bytes = content(2, parts * part);
            // Cut at a border of parts: all that came is durable.
            if parts > 0 {
                calls.write_rest(uid, &bytes, 0, false).await.unwrap();
            }
            assert_eq!(refusal(calls.complete_upload(uid).await), ErrorReason::UploadIncomplete);
            calls.write_rest(uid, &bytes, bytes.len(), true).await.unwrap();
            let found = calls.upload(uid).await.unwrap();
            assert_eq!(
                (found.state(), found.durable_bytes),
                (UploadState::Open, bytes.len() as i64)
            );
            assert_eq!(calls.part_sums(uid).await.unwrap().len(), parts);
            let late = calls.write_upload(uid, bytes.len()).await;
            assert_eq!(refusal(late), ErrorReason::UploadNotOpen, "{backend:?}: it has its end");
            let artifact = saved(calls.complete_upload(uid).await.unwrap());
            assert_eq!((artifact.size, artifact.hash), (bytes.len() as i64, digest(&bytes)));
            assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes);
        }
        // Whoever says what all is needs no end.
        let upload = calls.create_upload(wanted("y.bin", None, false)).await.unwrap();
        let bytes = content(3, upload.part_bytes as usize);
        calls.write_rest(&upload.uid, &bytes, 0, false).await.unwrap();
        let request = pb::CompleteUploadRequest {
            uid: upload.uid,
            size: Some(bytes.len() as i64),
            ..Default::default()
        };
        let completed = calls.uploads().complete_upload(request).await.unwrap().into_inner();
        assert_eq!(saved(completed.saved.unwrap()).hash, digest(&bytes));
        server.assert_clean();
    }
}

#[tokio::test]
async fn an_end_before_the_declared_one_is_refused_and_the_rest_can_come() {
    for parallel in [false, true] {
        let server = TestServer::start().await;
        let calls = server.calls();
        let bytes = content(4, PART + 10);
        let uid = begin(&calls, Some(bytes.len()), parallel).await;
        for sent in [0, 7, PART, PART + 9] {
            let reason = loop {
                let durable = calls.upload(&uid).await.unwrap().durable_bytes as usize;
                let rest = bytes.slice(durable..sent.max(durable));
                let messages = vec![header(&uid, durable as i64), chunk(rest, None), end()];
                match refusal(send(&calls, messages).await) {
                    // What the stream before had on its way was recorded meanwhile.
                    ErrorReason::OffsetMismatch => {}
                    reason => break reason,
                }
            };
            assert_eq!(reason, ErrorReason::SizeMismatch, "{sent}");
        }
        let early = calls.upload_part(&uid, PART, &bytes[PART..PART + 5], true).await;
        assert_eq!(refusal(early), ErrorReason::SizeMismatch);
        let more = calls.upload_part(&uid, PART, &content(4, 11), true).await;
        assert_eq!(refusal(more), ErrorReason::SizeMismatch);
        calls.upload_part(&uid, PART, &bytes[PART..], true).await.unwrap();
        let artifact = saved(calls.complete_upload(&uid).await.unwrap());
        assert_eq!(artifact.hash, digest(&bytes));
        server.assert_clean();
    }
}

#[tokio::test]
async fn parts_that_lie_nowhere_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let bytes = content(5, 3 * PART);
    let uid = begin(&calls, Some(bytes.len()), true).await;
    let part = &bytes[..PART];
    for (offset, reason) in [
        (1, ErrorReason::FieldInvalid),
        (PART - 1, ErrorReason::FieldInvalid),
        (3 * PART, ErrorReason::SizeMismatch),
        (usize::MAX >> 1, ErrorReason::FieldInvalid),
    ] {
        let sent = calls.upload_part(&uid, offset, part, false).await;
        assert_eq!(refusal(sent), reason, "{offset}");
    }
    let damaged = pb::UploadPartRequest {
        uid: uid.clone(),
        data: part.to_vec().into(),
        crc32c: Some(1),
        ..Default::default()
    };
    let refused = calls.uploads().upload_part(damaged).await.unwrap_err();
    assert_eq!(reason(refused), ErrorReason::ChunkChecksumMismatch);
    let negative = pb::UploadPartRequest {
        uid: uid.clone(),
        offset: -1,
        ..Default::default()
    };
    let refused = calls.uploads().upload_part(negative).await.unwrap_err();
    assert_eq!(reason(refused), ErrorReason::FieldInvalid);
    let huge = calls
        .upload_part(&uid, 0, &vec![0; (8 << 20) + (64 << 10) + 1], false)
        .await;
    assert_eq!(refusal(huge), ErrorReason::MessageTooLarge);
    // A border that a stream leaves is one at which it may go on.
    let inside = send(
        &calls,
        vec![
            header(&uid, 0),
            chunk(vec![1; 5], Some(0)),
            chunk(vec![1; 5], Some(PART as i64)),
        ],
    );
    assert_eq!(refusal(inside.await), ErrorReason::OffsetMismatch);
    assert_eq!(calls.upload(&uid).await.unwrap().parts, []);
    server.assert_clean();
}

#[tokio::test]
async fn what_a_completion_declares_is_checked_for_its_form() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for size in [-1, i64::MIN] {
        let created = calls.create_upload(wanted("x.bin", Some(size), false)).await;
        assert_eq!(refusal(created), ErrorReason::FieldInvalid, "{size}");
    }
    let bytes = content(6, PART + 1);
    let mut lying = wanted("lying.bin", None, false);
    lying.save.as_mut().unwrap().sha256 = Some(digest(b"something else"));
    let uid = calls.create_upload(lying).await.unwrap().uid;
    calls.write_rest(&uid, &bytes, 0, true).await.unwrap();
    assert_eq!(refusal(calls.complete_upload(&uid).await), ErrorReason::DigestMismatch);
    let uid = begin(&calls, Some(bytes.len()), false).await;
    calls.write_rest(&uid, &bytes, 0, false).await.unwrap();
    let request = |sha256: Option<&str>, size| pb::CompleteUploadRequest {
        uid: uid.clone(),
        sha256: sha256.map(str::to_owned),
        size,
    };
    for sha256 in ["", "xyz", &digest(&bytes)[1..], &digest(&bytes).to_uppercase()] {
        assert_eq!(
            complete(&calls, request(Some(sha256), None)).await,
            ErrorReason::DigestInvalid,
            "{sha256}"
        );
    }
    assert_eq!(
        complete(&calls, request(None, Some(-1))).await,
        ErrorReason::FieldInvalid
    );
    assert_eq!(
        complete(&calls, request(None, Some(PART as i64))).await,
        ErrorReason::SizeMismatch
    );
    let artifact = saved(calls.complete_upload(&uid).await.unwrap());
    assert_eq!(artifact.hash, digest(&bytes));
    server.assert_clean();
}

#[tokio::test]
async fn tiny_and_empty_chunks_add_up_to_parts() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let bytes = content(7, PART + 9_000);
    let uid = begin(&calls, None, false).await;
    let mut messages = vec![header(&uid, 0)];
    for (number, piece) in bytes.chunks(13).enumerate() {
        messages.push(chunk(piece.to_vec(), Some(number as i64 * 13)));
        messages.push(chunk(Bytes::new(), None));
    }
    messages.push(end());
    let acks = send(&calls, messages).await.unwrap();
    assert_eq!(acks, [0, PART as i64, bytes.len() as i64]);
    let artifact = saved(calls.complete_upload(&uid).await.unwrap());
    assert_eq!(artifact.hash, digest(&bytes));
}

#[tokio::test]
async fn a_client_that_goes_away_at_any_chunk_goes_on_with_what_was_acknowledged() {
    const CHUNK: usize = PART / 4;
    for parallel in [false, true] {
        let server = TestServer::start().await;
        let bytes = content(8, 3 * PART + CHUNK);
        let uid = begin(&server.calls(), Some(bytes.len()), parallel).await;
        let mut furthest = 0;
        for chunks in 0..=bytes.len() / CHUNK {
            let calls = server.calls();
            let begun = calls.upload(&uid).await.unwrap().durable_bytes as usize;
            assert!(begun >= furthest, "what was acknowledged is durable");
            if begun == bytes.len() {
                break;
            }
            let mut stream = match calls.write_upload(&uid, begun).await {
                Ok(stream) => stream,
                // What the stream before had on its way was recorded meanwhile.
                refused => {
                    assert_eq!(refusal(refused), ErrorReason::OffsetMismatch);
                    continue;
                }
            };
            let until = (chunks * CHUNK).clamp(begun, bytes.len());
            stream.write(begun, &bytes[begun..until]).await;
            let whole = begun + (until - begun) / PART * PART;
            let acked = if until == bytes.len() { until } else { whole };
            while furthest < acked {
                furthest = stream.ack().await.unwrap().expect("more is durable") as usize;
            }
            // It is gone without an end, and so is its connection.
            drop((stream, calls));
        }
        let calls = server.calls();
        let durable = calls.upload(&uid).await.unwrap().durable_bytes as usize;
        if durable < bytes.len() {
            calls.write_rest(&uid, &bytes, durable, false).await.unwrap();
        }
        let artifact = saved(calls.complete_upload(&uid).await.unwrap());
        assert_eq!(artifact.hash, digest(&bytes));
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}
