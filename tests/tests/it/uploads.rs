//! Content that survives whatever happens on its way.

use std::{os::unix::fs::FileExt, time::Duration};

use artifactd_tests::{
    Backend, Calls, Storage, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason, SaveOutcome, UploadState, write_upload_request::Message as Asked},
    refusal,
    s3::Bucket,
};

const PART: usize = 5 << 20;

fn wanted(key: &str, size: Option<usize>, parallel: bool) -> pb::CreateUploadRequest {
    pb::CreateUploadRequest {
        save: Some(pb::SaveHeader {
            size: size.map(|size| size as i64),
            ..keyed(key)
        }),
        parallel,
        part_bytes: PART as i64,
    }
}

async fn saved_is(calls: &Calls, uid: &str, bytes: &[u8]) -> pb::Artifact {
    let answer = calls.complete_upload(uid).await.unwrap();
    assert_eq!(answer.outcome(), SaveOutcome::Created);
    let artifact = saved(answer);
    assert_eq!(
        (artifact.hash.as_str(), artifact.size),
        (digest(bytes).as_str(), bytes.len() as i64)
    );
    assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes);
    artifact
}

/// Four parts that travel at once are no more than the one that travels in order.
#[tokio::test]
async fn parts_are_as_large_as_may_have_to_come_again() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let part_bytes = async |parallel| {
            let wanted = pb::CreateUploadRequest {
                part_bytes: 0,
                ..wanted("x.bin", Some(1 << 30), parallel)
            };
            server.calls().create_upload(wanted).await.unwrap().part_bytes
        };
        assert_eq!(part_bytes(false).await, 8 << 20);
        // The least that object stores take.
        let least = if backend.storage == Storage::S3 {
            5 << 20
        } else {
            2 << 20
        };
        assert_eq!(part_bytes(true).await, least, "{backend:?}");
    }
}

#[tokio::test]
async fn content_that_comes_in_order_becomes_an_artifact_once() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for (key, bytes, declares) in [
            ("large.bin", content(1, 2 * PART + 1_234_567), true),
            ("border.bin", content(2, 2 * PART), false),
            ("small.bin", content(3, 77), false),
            ("empty.bin", content(4, 0), false),
        ] {
            let size = declares.then_some(bytes.len());
            let upload = calls.create_upload(wanted(key, size, false)).await.unwrap();
            assert_eq!((upload.state(), upload.part_bytes), (UploadState::Open, PART as i64));
            let acks = calls.write_rest(&upload.uid, &bytes, 0, !declares).await.unwrap();
            assert_eq!(
                acks.last().copied().unwrap_or_default(),
                bytes.len() as i64,
                "{backend:?} {key}"
            );
            let found = calls.upload(&upload.uid).await.unwrap();
            assert_eq!(found.durable_bytes, bytes.len() as i64);
            let artifact = saved_is(&calls, &upload.uid, &bytes).await;
            // Completing again, and asking, answer the same.
            let again = calls.complete_upload(&upload.uid).await.unwrap();
            assert_eq!(saved(again), artifact);
            let done = calls.upload(&upload.uid).await.unwrap();
            assert_eq!(done.state(), UploadState::Saved);
            assert_eq!(saved(done.saved.unwrap()), artifact);
            assert_eq!(calls.family(by_key(key)).await.unwrap().len(), 1);
        }
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}

#[tokio::test]
async fn parts_come_in_any_order_and_the_same_part_twice_is_fine() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(5, 4 * PART + 321);
        let upload = calls
            .create_upload(wanted("x.bin", Some(bytes.len()), true))
            .await
            .unwrap();
        let part = |number: usize| &bytes[number * PART..(number * PART + PART).min(bytes.len())];
        let mut stream = calls.write_upload(&upload.uid, 3 * PART).await.unwrap();
        // One stream carries many parts.
        stream.write(3 * PART, part(3)).await;
        stream.write(PART, part(1)).await;
        assert_eq!(stream.finish().await.unwrap(), [4 * PART as i64, 2 * PART as i64]);
        assert_eq!(
            calls.upload_part(&upload.uid, 4 * PART, part(4), false).await.unwrap(),
            bytes.len() as i64
        );
        let found = calls.upload(&upload.uid).await.unwrap();
        let range = |first, last| pb::PartRange { first, last };
        assert_eq!((found.durable_bytes, found.parts), (0, vec![range(1, 1), range(3, 4)]));
        assert_eq!(found.part_crc32c, [0; 0], "they are told when they are asked for");
        let sums: Vec<_> = [1, 3, 4].map(|number| artifactd_domain::crc32c(part(number))).into();
        assert_eq!(calls.part_sums(&upload.uid).await.unwrap(), sums);
        let early = calls.complete_upload(&upload.uid).await;
        assert_eq!(refusal(early), ErrorReason::UploadIncomplete);
        assert_eq!(
            calls.upload_part(&upload.uid, PART, part(1), false).await.unwrap(),
            2 * PART as i64
        );
        let other = calls.upload_part(&upload.uid, PART, part(3), false).await;
        assert_eq!(refusal(other), ErrorReason::PartConflict);
        let (zero, two) = tokio::join!(
            calls.upload_part(&upload.uid, 0, part(0), false),
            calls.upload_part(&upload.uid, 2 * PART, part(2), false)
        );
        assert!(zero.is_ok() && two.is_ok());
        saved_is(&calls, &upload.uid, &bytes).await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn an_upload_goes_on_after_its_client_and_its_server_were_killed() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let bytes = content(6, 6 * PART + 99);
        let upload = server
            .calls()
            .create_upload(wanted("x.bin", None, false))
            .await
            .unwrap();
        // The client goes away in the middle of a part.
        let calls = server.calls();
        let mut stream = calls.write_upload(&upload.uid, 0).await.unwrap();
        stream.write(0, &bytes[..2 * PART + PART / 2]).await;
        assert_eq!(stream.ack().await.unwrap(), Some(PART as i64));
        assert_eq!(stream.ack().await.unwrap(), Some(2 * PART as i64));
        drop((stream, calls));
        let durable = server.calls().upload(&upload.uid).await.unwrap().durable_bytes as usize;
        assert_eq!(durable, 2 * PART, "{backend:?}");
        // So does the server.
        let calls = server.calls();
        let mut stream = calls.write_upload(&upload.uid, durable).await.unwrap();
        stream.write(durable, &bytes[durable..durable + PART + PART / 2]).await;
        assert_eq!(stream.ack().await.unwrap(), Some(3 * PART as i64));
        server.kill();
        drop((stream, calls));
        server.start_again().await;
        let calls = server.calls();
        let durable = calls.upload(&upload.uid).await.unwrap().durable_bytes as usize;
        assert_eq!(durable, 3 * PART);
        calls.write_rest(&upload.uid, &bytes, durable, true).await.unwrap();
        server.kill();
        server.start_again().await;
        saved_is(&server.calls(), &upload.uid, &bytes).await;
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}

/// An upload that came by way of two servers, one after the other.
async fn through_two_servers(server: &mut TestServer, key: &str, bytes: &[u8]) -> String {
    let upload = server.calls().create_upload(wanted(key, None, false)).await.unwrap();
    let calls = server.calls();
    let mut stream = calls.write_upload(&upload.uid, 0).await.unwrap();
    stream.write(0, &bytes[..PART]).await;
    assert_eq!(stream.ack().await.unwrap(), Some(PART as i64));
    server.kill();
    drop((stream, calls));
    server.start_again().await;
    server.calls().write_rest(&upload.uid, bytes, PART, true).await.unwrap();
    upload.uid
}

#[tokio::test]
async fn the_hash_goes_on_from_where_another_server_left_it() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let bytes = content(30, 2 * PART + 1_234);
        let uid = through_two_servers(&mut server, "x.bin", &bytes).await;
        let reads = server.bucket.as_ref().map(Bucket::reads);
        let completed = server.calls().complete_upload(&uid).await.unwrap();
        assert_eq!(saved(completed).hash, digest(&bytes), "{backend:?}");
        assert_eq!(server.bucket.as_ref().map(Bucket::reads), reads, "it was read again");
        server.assert_clean();
    }
}

#[tokio::test]
async fn bytes_that_somebody_wrote_over_are_sent_again() {
    let mut server = TestServer::start().await;
    let bytes = content(33, 2 * PART + 1_234);
    let uid = through_two_servers(&mut server, "x.bin", &bytes).await;
    let file = server
        .stored_files()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/uploads/"));
    let file = std::fs::File::options().write(true).open(file.unwrap()).unwrap();
    file.write_all_at(&[!bytes[PART + 7]], PART as u64 + 7).unwrap();
    let calls = server.calls();
    assert_eq!(
        refusal(calls.complete_upload(&uid).await),
        ErrorReason::UploadIncomplete
    );
    let durable = calls.upload(&uid).await.unwrap().durable_bytes as usize;
    assert_eq!(durable, PART);
    calls.write_rest(&uid, &bytes, durable, true).await.unwrap();
    saved_is(&calls, &uid, &bytes).await;
    server.assert_clean();
}

#[tokio::test]
async fn a_state_of_the_hash_that_is_not_of_the_upload_is_not_believed() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let (bytes, others) = (content(31, PART + 1_234), content(32, PART + 1_234));
        let uid = through_two_servers(&mut server, "x.bin", &bytes).await;
        let other = through_two_servers(&mut server, "other.bin", &others).await;
        // A sealed one, but for another upload; then one that was never sealed.
        let database = server.database().await;
        let taken = "UPDATE uploads SET hash_state = (SELECT o.hash_state FROM uploads o WHERE o.uid =";
        database.run(&format!("{taken} '{other}') WHERE uid = '{uid}'")).await;
        database
            .run(&format!("UPDATE uploads SET hash_state = 'AAAA' WHERE uid = '{other}'"))
            .await;
        saved_is(&server.calls(), &uid, &bytes).await;
        saved_is(&server.calls(), &other, &others).await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_new_stream_takes_over_and_the_one_before_is_refused() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(7, 2 * PART + 5);
        let upload = calls.create_upload(wanted("x.bin", None, false)).await.unwrap();
        let mut older = calls.write_upload(&upload.uid, 0).await.unwrap();
        older.write(0, &bytes[..PART + 10]).await;
        assert_eq!(older.ack().await.unwrap(), Some(PART as i64));
        let mut newer = calls.write_upload(&upload.uid, PART).await.unwrap();
        let fenced = loop {
            match older.ack().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the older stream ended well"),
                Err(failure) => break failure,
            }
        };
        assert_eq!(refusal(Err::<(), _>(fenced)), ErrorReason::UploadFenced);
        newer.write(PART, &bytes[PART..]).await;
        newer.send(Asked::End(pb::WriteUploadEnd {})).await;
        newer.finish().await.unwrap();
        saved_is(&calls, &upload.uid, &bytes).await;
        let late = calls.write_upload(&upload.uid, bytes.len()).await;
        assert_eq!(refusal(late), ErrorReason::UploadNotOpen);
        server.assert_clean();
    }
}

#[tokio::test]
async fn another_server_of_the_same_database_goes_on_while_the_first_runs() {
    let first = TestServer::on(Backend::CLUSTER).await;
    let bytes = content(8, 3 * PART);
    let upload = first
        .calls()
        .create_upload(wanted("x.bin", Some(bytes.len()), false))
        .await
        .unwrap();
    let calls = first.calls();
    let mut stream = calls.write_upload(&upload.uid, 0).await.unwrap();
    stream.write(0, &bytes[..PART]).await;
    assert_eq!(stream.ack().await.unwrap(), Some(PART as i64));
    let second = first.replica().await;
    second
        .calls()
        .write_rest(&upload.uid, &bytes, PART, false)
        .await
        .unwrap();
    stream.write(PART, &bytes[PART..2 * PART]).await;
    let fenced = loop {
        match stream.ack().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the older stream ended well"),
            Err(failure) => break failure,
        }
    };
    assert_eq!(refusal(Err::<(), _>(fenced)), ErrorReason::UploadFenced);
    let (one, two) = tokio::join!(calls.complete_upload(&upload.uid), async {
        second.calls().complete_upload(&upload.uid).await
    });
    assert_eq!(saved(one.unwrap()), saved(two.unwrap()));
    first.assert_clean();
}

#[tokio::test]
async fn uploads_that_make_no_sense_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let create = async |request: pb::CreateUploadRequest| refusal(calls.create_upload(request).await);
    assert_eq!(
        create(pb::CreateUploadRequest::default()).await,
        ErrorReason::FieldRequired
    );
    assert_eq!(create(wanted("x", None, true)).await, ErrorReason::FieldInvalid);
    let parts_of = |part_bytes| pb::CreateUploadRequest {
        part_bytes,
        ..wanted("x", None, false)
    };
    assert_eq!(create(parts_of(-1)).await, ErrorReason::FieldInvalid);
    assert_eq!(create(parts_of(1 << 40)).await, ErrorReason::FieldInvalid);
    assert_eq!(
        create(wanted("x", Some(1 << 60), false)).await,
        ErrorReason::ContentTooLarge
    );
    let mut claim = wanted("x", None, false);
    claim.save.as_mut().unwrap().claim = true;
    assert_eq!(create(claim).await, ErrorReason::FieldInvalid);
    let nameless = pb::CreateUploadRequest {
        save: Some(pb::SaveHeader::default()),
        ..Default::default()
    };
    assert_eq!(create(nameless).await, ErrorReason::NameRequired);

    let none = "0123456789abcdef0000";
    assert_eq!(refusal(calls.upload(none).await), ErrorReason::UploadNotFound);
    assert_eq!(refusal(calls.complete_upload(none).await), ErrorReason::UploadNotFound);
    assert_eq!(refusal(calls.abort_upload(none).await), ErrorReason::UploadNotFound);
    assert_eq!(refusal(calls.write_upload(none, 0).await), ErrorReason::UploadNotFound);
    assert_eq!(
        refusal(calls.upload_part(none, 0, b"x", true).await),
        ErrorReason::UploadNotFound
    );

    let bytes = content(9, PART + 10);
    let upload = calls
        .create_upload(wanted("x", Some(bytes.len()), false))
        .await
        .unwrap();
    let uid = upload.uid.as_str();
    assert_eq!(
        refusal(calls.write_upload(uid, PART).await),
        ErrorReason::OffsetMismatch
    );
    assert_eq!(
        refusal(calls.upload_part(uid, 0, &bytes[..100], false).await),
        ErrorReason::FieldInvalid
    );
    let wrong = async |messages: Vec<Asked>| {
        let mut stream = calls.write_upload(uid, 0).await.unwrap();
        for message in messages {
            stream.send(message).await;
        }
        refusal(stream.finish().await)
    };
    let chunk = |offset: Option<i64>, crc32c: Option<u32>| {
        Asked::Chunk(pb::ContentChunk {
            data: vec![1, 2, 3].into(),
            crc32c,
            offset,
        })
    };
    assert_eq!(wrong(vec![chunk(Some(5), None)]).await, ErrorReason::OffsetMismatch);
    assert_eq!(wrong(vec![chunk(Some(-5), None)]).await, ErrorReason::FieldInvalid);
    assert_eq!(
        wrong(vec![chunk(None, Some(1))]).await,
        ErrorReason::ChunkChecksumMismatch
    );
    let header = Asked::Header(pb::WriteUploadHeader {
        uid: uid.to_owned(),
        offset: 0,
    });
    assert_eq!(wrong(vec![header]).await, ErrorReason::StreamOutOfOrder);
    let end = || Asked::End(pb::WriteUploadEnd {});
    assert_eq!(wrong(vec![end(), end()]).await, ErrorReason::StreamOutOfOrder);
    let too_much = content(10, bytes.len() + 1);
    assert_eq!(
        refusal(calls.write_rest(uid, &too_much, 0, false).await),
        ErrorReason::SizeMismatch
    );
    // What came before the fault is durable, and the rest can come.
    let durable = calls.upload(uid).await.unwrap().durable_bytes as usize;
    assert!(durable == 0 || durable == PART);
    assert_eq!(refusal(calls.complete_upload(uid).await), ErrorReason::UploadIncomplete);
    calls.abort_upload(uid).await.unwrap();
    assert_eq!(refusal(calls.upload(uid).await), ErrorReason::UploadNotFound);
    assert_eq!(server.stored_files_below("uploads"), 0);
    server.assert_clean();
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_nothing_is_lost() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(11, PART + 7);
        let upload = calls.create_upload(wanted("x.bin", None, false)).await.unwrap();
        calls.write_rest(&upload.uid, &bytes, 0, true).await.unwrap();
        let with = |sha256: Option<String>, size| pb::CompleteUploadRequest {
            uid: upload.uid.clone(),
            sha256,
            size,
        };
        let wrong = calls.uploads().complete_upload(with(Some(digest(b"")), None)).await;
        let failure = artifactd_tests::Failure::from(wrong.unwrap_err());
        assert_eq!(failure.reason, Some(ErrorReason::DigestMismatch), "{backend:?}");
        let larger = calls
            .uploads()
            .complete_upload(with(None, Some(bytes.len() as i64 + 1)))
            .await;
        let failure = artifactd_tests::Failure::from(larger.unwrap_err());
        assert_eq!(failure.reason, Some(ErrorReason::UploadIncomplete));
        saved_is(&calls, &upload.uid, &bytes).await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn what_stands_against_the_record_can_be_mended() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = saved(calls.save(keyed("x.bin"), b"first").await.unwrap());
        let bytes = content(12, PART + 7);
        let mut request = wanted("x.bin", None, false);
        request.save.as_mut().unwrap().version = Some("one".to_owned());
        let upload = calls.create_upload(request).await.unwrap();
        calls.write_rest(&upload.uid, &bytes, 0, true).await.unwrap();
        let taken = pb::SaveHeader {
            version: Some("one".to_owned()),
            ..keyed("x.bin")
        };
        let second = saved(calls.save(taken, b"second").await.unwrap());
        assert_eq!(
            refusal(calls.complete_upload(&upload.uid).await),
            ErrorReason::VersionTaken
        );
        assert_eq!(calls.upload(&upload.uid).await.unwrap().state(), UploadState::Complete);
        calls.destroy(by_uid(&second.uid)).await.unwrap();
        let artifact = saved(calls.complete_upload(&upload.uid).await.unwrap());
        assert_eq!((artifact.stem, artifact.version.as_str()), (first.stem, "one"));
        assert!(calls.read(by_key("x.bin")).await.unwrap() == bytes);
        server.assert_clean();
    }
}

#[tokio::test]
async fn the_same_creation_again_is_the_same_upload() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let request = |key: &str| {
            let mut request = wanted(key, None, false);
            request.save.as_mut().unwrap().request_id = Some("the-request".to_owned());
            request
        };
        let one = calls.create_upload(request("x.bin")).await.unwrap();
        let again = calls.create_upload(request("x.bin")).await.unwrap();
        assert_eq!(one, again);
        let other = calls.create_upload(request("y.bin")).await;
        assert_eq!(refusal(other), ErrorReason::RequestIdReused);
        let mut uids = vec![one.uid];
        for number in 0..4 {
            let created = calls.create_upload(wanted(&format!("{number}"), None, false)).await;
            uids.push(created.unwrap().uid);
        }
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = calls
                .uploads()
                .list_uploads(pb::ListUploadsRequest {
                    page_size: 2,
                    page_token,
                })
                .await
                .unwrap()
                .into_inner();
            listed.extend(page.uploads.into_iter().map(|upload| upload.uid));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, uids, "{backend:?}");
    }
}

#[tokio::test]
async fn uploads_that_expired_go_and_others_stay() {
    for backend in Backend::ALL {
        let server = TestServer::setup().on(backend).without_grace().start().await;
        let calls = server.calls();
        let bytes = content(13, PART);
        let old = calls.create_upload(wanted("old.bin", None, false)).await.unwrap();
        let young = calls.create_upload(wanted("young.bin", None, false)).await.unwrap();
        for upload in [&old, &young] {
            assert_eq!(
                calls.upload_part(&upload.uid, 0, &bytes, false).await.unwrap(),
                PART as i64
            );
        }
        let expire = format!("UPDATE uploads SET expires_at_us = 5 WHERE uid = '{}'", old.uid);
        server.database().await.run(&expire).await;
        calls.collect_garbage(false).await.unwrap();
        assert_eq!(refusal(calls.upload(&old.uid).await), ErrorReason::UploadNotFound);
        calls.upload_part(&young.uid, PART, b"the end", true).await.unwrap();
        let whole = [&bytes[..], b"the end"].concat();
        calls.collect_garbage(false).await.unwrap();
        saved_is(&calls, &young.uid, &whole).await;
        assert_eq!(server.staged(), [""; 0], "{backend:?}");
        assert_eq!(server.stored_files_below("uploads"), 0);
        server.assert_clean();
    }
}

#[tokio::test]
async fn how_long_an_upload_stays_can_be_set() {
    let day = 24 * 3600;
    for (setting, seconds) in [(None, 7 * day), (Some("36h"), day + day / 2)] {
        let mut setup = TestServer::setup();
        if let Some(setting) = setting {
            setup = setup.env("ARTIFACTD_UPLOADS__EXPIRY", setting);
        }
        let server = setup.start().await;
        let calls = server.calls();
        let upload = calls.create_upload(wanted("x.bin", None, false)).await.unwrap();
        let life = |upload: &pb::Upload| {
            upload.expires_at.as_ref().unwrap().seconds - upload.created_at.as_ref().unwrap().seconds
        };
        assert_eq!(life(&upload), seconds);
        // A part puts it off.
        let database = server.database().await;
        database
            .run("UPDATE uploads SET expires_at_us = created_at_us + 5000000")
            .await;
        assert_eq!(life(&calls.upload(&upload.uid).await.unwrap()), 5);
        calls
            .upload_part(&upload.uid, 0, &content(1, PART), false)
            .await
            .unwrap();
        assert!(life(&calls.upload(&upload.uid).await.unwrap()) >= seconds);
    }
}

#[tokio::test]
async fn a_completion_by_many_at_once_makes_one_artifact() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(14, PART + 3);
        let upload = calls.create_upload(wanted("x.bin", None, false)).await.unwrap();
        calls.write_rest(&upload.uid, &bytes, 0, true).await.unwrap();
        let completions = (0..8).map(|_| {
            let (calls, uid) = (server.calls(), upload.uid.clone());
            async move { calls.complete_upload(&uid).await }
        });
        let done = futures::future::join_all(completions).await;
        let uids: std::collections::BTreeSet<_> = done.into_iter().map(|done| saved(done.unwrap()).uid).collect();
        assert_eq!(uids.len(), 1, "{backend:?}");
        assert_eq!(calls.family(by_key("x.bin")).await.unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
        server.assert_clean();
    }
}
