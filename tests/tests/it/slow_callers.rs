//! Callers that send or take so slowly that others would have to wait for them.

use std::time::{Duration, Instant};

use artifactd_tests::{
    Calls, Outcome, TestServer,
    calls::{by_key, chunk, keyed},
    content::content,
    folders::{Files, folder},
    pb::{self, ErrorReason, save_artifact_request::Message},
    refusal,
    wire::{END_HEADERS, END_STREAM, Ending, Frames, Kind, frame, framed, header_block},
};
use futures::StreamExt;
use prost::Message as _;

const READ: &str = "/artifactd.v1.ContentService/ReadContent";
const READ_MEMBERS: &str = "/artifactd.v1.ContentService/ReadMembers";
const GET: &str = "/artifactd.v1.ArtifactService/GetArtifact";
const IDLE_MS: u64 = 600;
const SLOW_STREAMS: u64 = 1_000;

/// How much memory all slow callers together may cost.
const GROWTH_BYTES_MAX: u64 = 192 << 20;

/// The same for downloads: a block that was checked for each of them, what is shared, and some more.
const DOWNLOADS_GROWTH_BYTES_MAX: u64 = (SLOW_STREAMS * (256 << 10)) + (64 << 20) + (64 << 20);

async fn impatient_server() -> TestServer {
    let setup = TestServer::setup()
        .env("ARTIFACTD_LIMITS__STREAM_IDLE_TIMEOUT_MS", &IDLE_MS.to_string())
        .env("ARTIFACTD_LIMITS__STREAMS_PER_CONNECTION", "2000")
        .env("ARTIFACTD_LIMITS__CONTENT_STREAMS_MAX", "2000");
    setup.start().await
}

/// Sends a byte and a byte, never silent for as long as is allowed.
async fn drip(calls: Calls, key: String) -> Outcome<pb::SaveArtifactResponse> {
    let drops = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(IDLE_MS / 4)).await;
        Some((Message::Chunk(chunk(b"x")), ()))
    });
    let header = futures::stream::once(async move { Message::Header(keyed(&key)) });
    calls.save_stream(header.chain(drops)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_by_single_bytes_are_cut_and_do_not_hold_up_others() {
    let server = impatient_server().await;
    let before = server.resident_bytes();
    let dripping = server.calls();
    let slow: Vec<_> = (0..SLOW_STREAMS)
        .map(|number| tokio::spawn(drip(dripping.clone(), format!("slow-{number}.bin"))))
        .collect();
    for number in 0..10_u64 {
        let (key, bytes) = (format!("good-{number}.bin"), content(number, 300_000));
        let began = Instant::now();
        server.calls().save(keyed(&key), &bytes).await.unwrap();
        assert!(server.calls().read(by_key(&key)).await.unwrap() == bytes);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    for slow in slow {
        assert_eq!(refusal(slow.await.unwrap()), ErrorReason::DeadlineExceeded);
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the server grew by {grown} bytes");
    assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 10);
    assert_eq!(server.staged(), [""; 0]);
    server.assert_clean();
}

/// Sends a byte of an upload and a byte, never silent for as long as is allowed.
async fn drip_into(calls: Calls, uid: String) -> ErrorReason {
    let mut stream = calls.write_upload(&uid, 0).await.unwrap();
    let mut sent = 0;
    loop {
        stream.write(sent, b"x").await;
        sent += 1;
        match tokio::time::timeout(Duration::from_millis(IDLE_MS / 4), stream.ack()).await {
            Err(_) => {}
            Ok(Err(failure)) => return refusal(Err::<(), _>(failure)),
            Ok(Ok(ack)) => panic!("acknowledged: {ack:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_by_single_bytes_are_cut_and_their_uploads_go_on() {
    let server = impatient_server().await;
    let calls = server.calls();
    let bytes = content(1, 300_000);
    let mut uploads = Vec::new();
    for parallel in [false, true] {
        let request = pb::CreateUploadRequest {
            save: Some(pb::SaveHeader {
                size: Some(bytes.len() as i64),
                ..keyed(&format!("{parallel}.bin"))
            }),
            parallel,
            part_bytes: 0,
        };
        uploads.push(calls.create_upload(request).await.unwrap().uid);
    }
    let slow: Vec<_> = uploads
        .iter()
        .map(|uid| tokio::spawn(drip_into(server.calls(), uid.clone())))
        .collect();
    for slow in slow {
        assert_eq!(slow.await.unwrap(), ErrorReason::DeadlineExceeded);
    }
    for uid in uploads {
        calls.write_rest(&uid, &bytes, 0, false).await.unwrap();
        calls.complete_upload(&uid).await.unwrap();
    }
    server.assert_clean();
}

#[tokio::test]
async fn an_upload_that_pauses_and_goes_on_in_time_is_taken() {
    let server = impatient_server().await;
    let bytes = content(1, 40_000);
    let mut messages = artifactd_tests::calls::save_messages(keyed("x.bin"), &bytes);
    let trailer = messages.pop().unwrap();
    messages.truncate(1);
    messages.extend(bytes.chunks(4_000).map(|piece| Message::Chunk(chunk(piece))));
    messages.push(trailer);
    let steady = futures::stream::iter(messages).then(|message| async {
        tokio::time::sleep(Duration::from_millis(IDLE_MS / 3)).await;
        message
    });
    server.calls().save_stream(steady).await.unwrap();
    assert!(server.calls().read(by_key("x.bin")).await.unwrap() == bytes);
}

fn read_request() -> Vec<u8> {
    let request = pb::ReadContentRequest {
        artifact: Some(by_key("x.bin")),
        ..Default::default()
    };
    framed(&request.encode_to_vec())
}

fn call(path: &str, stream: u32, message: &[u8]) -> Vec<u8> {
    let mut frames = frame(Kind::Headers, END_HEADERS, stream, &header_block(path));
    frames.extend(frame(Kind::Data, END_STREAM, stream, message));
    frames
}

/// Settings that let no answer through.
fn no_window() -> Vec<u8> {
    frame(Kind::Settings, 0, 0, &[0, 4, 0, 0, 0, 0])
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_dropped() {
    let server = impatient_server().await;
    server
        .calls()
        .save(keyed("x.bin"), &content(1, 5_000_000))
        .await
        .unwrap();
    for (what, settings) in [
        ("no window at all", no_window()),
        ("a window that is never opened again", vec![]),
    ] {
        let mut frames = Frames::connect(server.address()).await;
        frames.send(&settings).await.unwrap();
        frames.send(&call(READ, 1, &read_request())).await.unwrap();
        assert!(
            frames.is_reset(1, Duration::from_secs(10)).await,
            "{what}: the call goes on"
        );
        // The connection is as good as before.
        frames
            .send(&frame(Kind::Settings, 0, 0, &[0, 4, 0, 1, 0, 0]))
            .await
            .unwrap();
        frames.send(&frame(Kind::Ping, 0, 0, &[1; 8])).await.unwrap();
        assert_eq!(frames.ending(Duration::from_millis(300)).await, Ending::Open, "{what}");
    }
    assert!(server.calls().read(by_key("x.bin")).await.unwrap() == content(1, 5_000_000));
}

#[tokio::test]
async fn the_end_of_an_answer_does_not_wait_for_a_window_for_ever_either() {
    let server = impatient_server().await;
    // Larger than the window that a caller opens at first, smaller than a chunk.
    server.calls().save(keyed("x.bin"), &content(1, 200_000)).await.unwrap();
    let mut frames = Frames::connect(server.address()).await;
    frames.send(&call(READ, 1, &read_request())).await.unwrap();
    assert!(frames.is_reset(1, Duration::from_secs(10)).await, "the call goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_slow_downloads_stay_small_and_end_and_others_go_on() {
    let server = impatient_server().await;
    let bytes = content(1, 8_000_000);
    server.calls().save(keyed("x.bin"), &bytes).await.unwrap();
    many_slow_calls_stay_small(&server, READ, &read_request(), async || {
        assert!(server.calls().read(by_key("x.bin")).await.unwrap() == bytes);
    })
    .await;
}

/// A thousand callers that take next to nothing end soon and cost little, while others are served.
async fn many_slow_calls_stay_small(server: &TestServer, path: &str, request: &[u8], others: impl AsyncFn()) {
    let (before, mut grown) = (server.resident_bytes(), 0);
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut frames = Frames::connect(server.address()).await;
        for stream in 0..100 {
            frames.send(&call(path, stream * 2 + 1, request)).await.unwrap();
        }
        slow.push(frames);
    }
    let began = Instant::now();
    while slow.iter().map(Frames::resets).sum::<usize>() < SLOW_STREAMS as usize {
        assert!(began.elapsed() < Duration::from_secs(60), "slow calls go on");
        for frames in &mut slow {
            for stream in 0..100 {
                // A byte for each: a tenth of what the slowest may take.
                let _ = frames
                    .send(&frame(Kind::WindowUpdate, 0, stream * 2 + 1, &[0, 0, 0, 1]))
                    .await;
            }
            frames.drain();
        }
        grown = grown.max(server.resident_bytes().saturating_sub(before));
        others().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(grown < DOWNLOADS_GROWTH_BYTES_MAX, "the server grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_slow_readers_of_folders_stay_small_and_end_and_others_go_on() {
    let server = impatient_server().await;
    // Small files, of which many go together, and one that comes in chunks.
    let mut files: Files = (0..40)
        .map(|number| (format!("{number:02}.bin"), content(number, 200_000)))
        .collect();
    files.insert("large.bin".to_owned(), content(50, 4_000_000));
    server.calls().save_folder(folder("f"), &files).await.unwrap();
    for path in ["", "large"] {
        let request = pb::ReadMembersRequest {
            artifact: Some(by_key("f")),
            prefix: path.to_owned(),
            ..Default::default()
        };
        let request = framed(&request.encode_to_vec());
        many_slow_calls_stay_small(&server, READ_MEMBERS, &request, async || {
            let read = server.calls().read_member(by_key("f"), "07.bin").await.unwrap();
            assert!(read == files["07.bin"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_call_of_one_message_takes_no_second_one() {
    let server = impatient_server().await;
    server.calls().save(keyed("x.bin"), b"1").await.unwrap();
    let get = pb::GetArtifactRequest {
        artifact: Some(by_key("x.bin")),
        include_hidden: false,
        ..Default::default()
    };
    let get = framed(&get.encode_to_vec());
    let small = pb::SaveSmallArtifactRequest {
        header: Some(keyed("twice.bin")),
        content: "twice".into(),
        crc32c: None,
    };
    let small = framed(&small.encode_to_vec());
    const SMALL: &str = "/artifactd.v1.ArtifactService/SaveSmallArtifact";
    for (what, path, body) in [
        ("the same again", GET, [get.clone(), get.clone()].concat()),
        ("an empty one", GET, [get.clone(), framed(b"")].concat()),
        ("a byte", GET, [get.clone(), vec![0]].concat()),
        ("a third", GET, [get.clone(), get.clone(), get.clone()].concat()),
        (
            "to a stream of answers",
            READ,
            [read_request(), read_request()].concat(),
        ),
        ("a save", SMALL, [small.clone(), small.clone()].concat()),
    ] {
        let answer = artifactd_tests::wire::call(server.address(), path, &[], &body)
            .await
            .unwrap();
        let reason = artifactd_tests::failure::checked_reason(&answer.status.unwrap());
        assert_eq!(reason, Ok(ErrorReason::MessageMalformed), "{what}");
    }
    assert_eq!(
        refusal(server.calls().get(by_key("twice.bin")).await),
        ErrorReason::ArtifactNotFound
    );
    let once = artifactd_tests::wire::call(server.address(), GET, &[], &get)
        .await
        .unwrap();
    assert_eq!(once.status.unwrap().code(), tonic::Code::Ok);
}
