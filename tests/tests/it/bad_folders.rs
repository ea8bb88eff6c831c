//! Folders that cannot be saved as they are sent: what is refused, and what can be mended.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, honest_chunks, keyed, saved},
    content::content,
    folders::{FolderCall, change_of, copy, digest_of, entry, file, folder, removal},
    pb::{self, ErrorReason, save_folder_request::Message as Asked},
    refusal,
};

use super::folders::{assert_holds, of};

#[tokio::test]
async fn a_refused_file_stops_no_other_and_is_sent_again_or_withdrawn() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let large = content(1, 1 << 20);
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        let listed = vec![
            entry("a", b"a"),
            entry("b", b"b"),
            entry("c", b"c"),
            entry("d", b"d"),
            entry("e", &large),
        ];
        assert_eq!(call.list(listed).await.unwrap(), [0, 1, 2, 3, 4]);
        let damaged = pb::FolderFile {
            crc32c: Some(1),
            ..file(1, b"b")
        };
        let sent = vec![
            file(0, b"a"),
            damaged,
            file(2, b"x"),
            file(3, b"dd"),
            file(9, b"?"),
            file(4, &large),
        ];
        let mut results = call.put(sent).await.unwrap();
        assert!(results.remove(0).is_ok());
        let reasons: Vec<_> = results.into_iter().map(refusal).collect();
        let expected = [
            ErrorReason::ChunkChecksumMismatch,
            ErrorReason::DigestMismatch,
            ErrorReason::SizeMismatch,
            ErrorReason::FieldInvalid,
            ErrorReason::ContentTooLarge,
        ];
        assert_eq!(reasons, expected);
        let mut wrong = honest_chunks(&large);
        wrong[0].crc32c = Some(1);
        let refused = call.put_in_chunks(4, wrong).await.unwrap();
        assert_eq!(refusal(refused), ErrorReason::ChunkChecksumMismatch);
        let other = call
            .put_in_chunks(4, honest_chunks(&content(2, 1 << 20)))
            .await
            .unwrap();
        assert_eq!(refusal(other), ErrorReason::DigestMismatch);
        let short = call.put_in_chunks(4, honest_chunks(&large[1..])).await.unwrap();
        assert_eq!(refusal(short), ErrorReason::SizeMismatch);
        call.put_in_chunks(4, honest_chunks(&large)).await.unwrap().unwrap();
        assert!(call.put(vec![file(1, b"b")]).await.unwrap().remove(0).is_ok());
        assert_eq!(call.withdraw(vec![2, 3]).await.unwrap(), [0; 0]);
        let artifact = saved(call.commit().await.unwrap());
        let expected = of(&[("a", b"a"), ("b", b"b"), ("e", &large)]);
        assert_eq!(artifact.hash, digest_of(&expected));
        assert_holds(&server, &artifact.uid, &expected).await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_commit_needs_every_listed_file_and_leaves_nothing_without() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.list(vec![entry("a", b"a"), entry("b", b"b")]).await.unwrap();
        call.put(vec![file(0, b"a")]).await.unwrap().remove(0).unwrap();
        assert_eq!(refusal(call.commit().await), ErrorReason::FolderIncomplete);
        assert_eq!(refusal(calls.get(by_key("f")).await), ErrorReason::ArtifactNotFound);
        // What came is not wanted again.
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        let wanted = call.list(vec![entry("a", b"a"), entry("b", b"b")]).await.unwrap();
        assert_eq!(wanted, [1], "{backend:?}");
        call.put(vec![file(1, b"b")]).await.unwrap().remove(0).unwrap();
        call.commit().await.unwrap();
        server.assert_clean();
    }
}

#[tokio::test]
async fn listings_that_make_no_folder_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let first = saved(
        calls
            .save_folder(folder("f"), &of(&[("a", b"1"), ("b/c", b"2")]))
            .await
            .unwrap(),
    );
    let refused = async |header: pb::SaveFolderHeader, entries: Vec<pb::FolderEntry>| {
        let mut call = FolderCall::begin(&calls, header).await.unwrap();
        match call.list(entries).await {
            Err(failure) => refusal(Err::<(), _>(failure)),
            Ok(wanted) => {
                call.withdraw(wanted).await.unwrap();
                refusal(call.commit().await)
            }
        }
    };
    let new = || folder("new");
    let change = || change_of(&first.uid);
    for (header, entries, reason) in [
        (new(), vec![], ErrorReason::FolderInvalid),
        (
            new(),
            vec![entry("b", b"1"), entry("a", b"2")],
            ErrorReason::FolderInvalid,
        ),
        (
            new(),
            vec![entry("a", b"1"), entry("a", b"1")],
            ErrorReason::FolderInvalid,
        ),
        (
            new(),
            vec![entry("a", b"1"), entry("a/b", b"2")],
            ErrorReason::FolderInvalid,
        ),
        (new(), vec![removal("a")], ErrorReason::FolderInvalid),
        (new(), vec![entry("../a", b"1")], ErrorReason::FieldInvalid),
        (new(), vec![entry("/a", b"1")], ErrorReason::FieldInvalid),
        (new(), vec![pb::FolderEntry::default()], ErrorReason::FieldInvalid),
        (change(), vec![removal("x")], ErrorReason::FolderInvalid),
        (
            change(),
            vec![copy("b", by_uid(&first.uid), Some("a"))],
            ErrorReason::FolderInvalid,
        ),
        (
            change(),
            vec![copy("z", by_uid(&first.uid), Some("no"))],
            ErrorReason::MemberNotFound,
        ),
        (
            change(),
            vec![copy("z", by_uid(&first.uid), None)],
            ErrorReason::ArtifactIsFolder,
        ),
        (change(), vec![removal("a"), removal("b/c")], ErrorReason::FolderInvalid),
    ] {
        let what = format!("{entries:?}");
        assert_eq!(refused(header, entries).await, reason, "{what}");
    }
    let many = (0..4_097).map(|number| entry(&format!("{number:05}"), b"1")).collect();
    assert_eq!(refused(new(), many).await, ErrorReason::FieldInvalid);
    let file = saved(calls.save(keyed("file"), b"1").await.unwrap());
    let begun = FolderCall::begin(&calls, change_of(&file.uid)).await;
    assert_eq!(refusal(begun.map(drop)), ErrorReason::ArtifactIsFile);
    server.assert_clean();
}

#[tokio::test]
async fn messages_out_of_order_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let chunk = || Asked::Chunk(artifactd_tests::calls::chunk(b"x"));
    let begin = || Asked::FileBegin(pb::FolderFileBegin { number: 0 });
    for (messages, reason) in [
        (vec![chunk()], ErrorReason::StreamOutOfOrder),
        (
            vec![Asked::Header(folder("f")), Asked::Header(folder("f"))],
            ErrorReason::StreamOutOfOrder,
        ),
        (vec![Asked::Header(folder("f")), chunk()], ErrorReason::StreamOutOfOrder),
        (
            vec![Asked::Header(folder("f")), begin(), begin()],
            ErrorReason::FieldInvalid,
        ),
        (
            vec![Asked::Header(folder("f")), begin(), Asked::Commit(pb::FolderCommit {})],
            ErrorReason::FieldInvalid,
        ),
        (
            vec![Asked::Header(folder("f")), Asked::FileEnd(pb::FolderFileEnd {})],
            ErrorReason::FieldInvalid,
        ),
        (
            vec![Asked::Header(pb::SaveFolderHeader::default())],
            ErrorReason::FieldRequired,
        ),
    ] {
        let what = format!("{messages:?}");
        let mut call = FolderCall::open(&calls).await.unwrap();
        for message in messages {
            call.send(message).await;
        }
        let failure = loop {
            match call.answer().await {
                Ok(_) => {}
                Err(failure) => break failure,
            }
        };
        assert_eq!(refusal(Err::<(), _>(failure)), reason, "{what}");
    }
    let call = FolderCall::begin(&calls, folder("f")).await.unwrap();
    assert_eq!(refusal(call.end().await.map(drop)), ErrorReason::StreamIncomplete);
    assert_eq!(refusal(calls.get(by_key("f")).await), ErrorReason::ArtifactNotFound);
}
