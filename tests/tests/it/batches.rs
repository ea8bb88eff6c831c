//! Many small files in one call: each for itself, all in one object.

use std::collections::BTreeSet;

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason, SaveOutcome},
    refusal,
};

const OBJECTS: &str = "SELECT count(*) FROM objects";
const GARBAGE: &str = "SELECT count(*) FROM objects WHERE garbage_since_us IS NOT NULL";

fn files(count: u64) -> Vec<(pb::SaveHeader, Vec<u8>)> {
    let sizes = [0, 1, 100, 4_000, 300_000];
    (0..count)
        .map(|number| {
            let size = sizes[number as usize % sizes.len()];
            let size = if number >= 10 { size.min(1_000) } else { size };
            (keyed(&format!("f/{number}.bin")), content(number, size).to_vec())
        })
        .collect()
}

fn item(header: pb::SaveHeader, content: &[u8]) -> pb::BatchSaveItem {
    pb::BatchSaveItem {
        header: Some(header),
        content: content.to_vec().into(),
        crc32c: None,
    }
}

#[tokio::test]
async fn many_files_share_one_object_and_are_read_like_others() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let calls = server.calls();
        let results = calls.save_batch(files(200)).await.unwrap();
        assert_eq!(results.len(), 200);
        for (result, (header, bytes)) in results.into_iter().zip(files(200)) {
            let answer = result.unwrap();
            assert_eq!(answer.outcome(), SaveOutcome::Created);
            let artifact = saved(answer);
            assert_eq!((&artifact.key, &artifact.hash), (&header.key, &digest(&bytes)));
            assert_eq!(artifact.path, None, "packed content has no path of its own");
            assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes, "{backend:?}");
        }
        let middle = calls.read_range(by_key("f/4.bin"), 262_000, 500).await.unwrap();
        assert!(middle == content(4, 300_000)[262_000..262_500], "over a block's edge");
        assert_eq!(server.query_integer(OBJECTS).await, 1, "{backend:?}");
        server.kill();
        server.assert_clean();
        server.start_again().await;
        assert!(server.calls().read(by_key("f/9.bin")).await.unwrap() == content(9, 300_000));
    }
}

#[tokio::test]
async fn a_refused_file_stops_no_other() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let claim = |sha256: String| pb::SaveHeader {
            claim: true,
            sha256: Some(sha256),
            ..keyed("claim.bin")
        };
        let wrong_size = pb::SaveHeader {
            size: Some(7),
            ..keyed("size.bin")
        };
        let messages = vec![pb::BatchSaveRequest {
            items: vec![
                item(keyed("a.bin"), b"first"),
                item(keyed("/bad"), b"x"),
                item(claim(digest(b"unknown")), b""),
                item(wrong_size, b"x"),
                item(keyed("large.bin"), &content(1, 1 << 20)),
                pb::BatchSaveItem::default(),
                pb::BatchSaveItem {
                    crc32c: Some(1),
                    ..item(keyed("sum.bin"), b"x")
                },
                item(pb::SaveHeader::default(), b"x"),
                item(keyed("b.bin"), b"last"),
            ],
        }];
        let mut results = calls.save_batches(messages).await.unwrap().remove(0);
        for (key, bytes) in [("b.bin", b"last".as_slice()), ("a.bin", b"first")] {
            assert!(calls.read(by_key(key)).await.unwrap() == bytes, "{backend:?}");
        }
        assert!(results.remove(8).is_ok() && results.remove(0).is_ok());
        let reasons: Vec<_> = results.into_iter().map(refusal).collect();
        let expected = [
            ErrorReason::KeyInvalid,
            ErrorReason::ContentNotHeld,
            ErrorReason::SizeMismatch,
            ErrorReason::MessageTooLarge,
            ErrorReason::FieldRequired,
            ErrorReason::ChunkChecksumMismatch,
            ErrorReason::NameRequired,
        ];
        assert_eq!(reasons, expected);
        assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 2);
        server.assert_clean();
    }
}

#[tokio::test]
async fn files_of_a_batch_follow_the_rules_of_single_saves_in_their_order() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let held = saved(calls.save(keyed("held.bin"), b"held").await.unwrap());
        let claim = pb::SaveHeader {
            claim: true,
            sha256: Some(digest(b"held")),
            ..keyed("claim.bin")
        };
        let files = vec![
            (keyed("x.bin"), b"1".to_vec()),
            (keyed("x.bin"), b"2".to_vec()),
            (keyed("y.bin"), b"2".to_vec()),
            (keyed("held.bin"), b"held".to_vec()),
            (claim, Vec::new()),
            (keyed("again.bin"), b"held".to_vec()),
        ];
        let answers: Vec<_> = calls.save_batch(files).await.unwrap();
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        let outcomes: Vec<_> = answers.iter().map(pb::SaveArtifactResponse::outcome).collect();
        use SaveOutcome::{Created, Existing, NewVersion};
        assert_eq!(outcomes, [Created, NewVersion, Created, Existing, Created, Created]);
        let second = answers[1].artifact.as_ref().unwrap();
        assert_eq!(answers[2].same_content_uids, std::slice::from_ref(&second.uid));
        assert_eq!(answers[3].artifact.as_ref().unwrap().uid, held.uid);
        for (key, bytes) in [
            ("x.bin", "2"),
            ("y.bin", "2"),
            ("claim.bin", "held"),
            ("again.bin", "held"),
        ] {
            assert!(calls.read(by_key(key)).await.unwrap() == bytes.as_bytes(), "{key}");
        }
        assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 3);
        server.assert_clean();
    }
}

#[tokio::test]
async fn families_of_a_batch_lie_together_and_apart_from_those_of_others() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut neighbourhoods = BTreeSet::new();
        for batch in 0..3 {
            let files = (0..20).map(|file| (keyed(&format!("{batch}/{file}.bin")), vec![batch, file]));
            let results = calls.save_batch(files.collect()).await.unwrap();
            let stems: Vec<String> = results.into_iter().map(|result| saved(result.unwrap()).stem).collect();
            assert!(stems.iter().all(|stem| stem[..4] == stems[0][..4]), "{stems:?}");
            let ends: BTreeSet<&str> = stems.iter().map(|stem| &stem[4..8]).collect();
            assert!(ends.len() > 10, "{stems:?}");
            neighbourhoods.insert(stems[0][..4].to_owned());
        }
        assert_eq!(neighbourhoods.len(), 3, "{backend:?}");
    }
}

#[tokio::test]
async fn a_repeated_batch_has_one_effect_and_the_same_answers() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let files = |last: &str| {
            let file = |id: &str, key: &str, bytes: &str| {
                let header = pb::SaveHeader {
                    request_id: Some(id.to_owned()),
                    ..keyed(key)
                };
                (header, bytes.as_bytes().to_vec())
            };
            vec![
                file("r-1", "a.txt", "1"),
                file("r-1", "a.txt", "1"),
                file("r-2", "b.txt", "2"),
                file("r-3", "c.txt", last),
            ]
        };
        let first = calls.save_batch(files("3")).await.unwrap();
        let first: Vec<_> = first.into_iter().map(Result::unwrap).collect();
        assert_eq!(first[0], first[1], "one id twice in a batch, {backend:?}");
        let mut again = calls.save_batch(files("other")).await.unwrap();
        assert_eq!(refusal(again.remove(3)), ErrorReason::RequestIdReused);
        let again: Vec<_> = again.into_iter().map(Result::unwrap).collect();
        assert_eq!(again, first[..3]);
        assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 3);
        assert_eq!(
            server.query_integer("SELECT count(*) FROM objects").await,
            server.query_integer(GARBAGE).await + 1
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_message_with_too_many_files_is_refused_as_a_whole() {
    let server = TestServer::on(Backend::EMBEDDED).await;
    let calls = server.calls();
    let message = |count: usize| pb::BatchSaveRequest {
        items: (0..count)
            .map(|number| item(keyed(&format!("{number}.bin")), b"x"))
            .collect(),
    };
    let refused = calls.save_batches(vec![message(501)]).await;
    assert_eq!(refusal(refused), ErrorReason::FieldInvalid);
    assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 0);
    let answers = calls.save_batches(vec![message(0), message(500)]).await.unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [0, 500]);
}

#[tokio::test]
async fn a_pack_becomes_garbage_with_the_last_content_in_it() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save_batch(files(5)).await.unwrap();
        for number in 0..5 {
            assert_eq!(server.query_integer(GARBAGE).await, 0, "before {number}, {backend:?}");
            let request = pb::DeleteArtifactRequest {
                artifact: Some(by_key(&format!("f/{number}.bin"))),
                permanent: true,
                force: true,
                ..Default::default()
            };
            calls.delete(request).await.unwrap();
        }
        assert_eq!(server.query_integer(GARBAGE).await, 1, "{backend:?}");
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_damaged_content_of_a_pack_is_met_and_mended_alone() {
    for backend in [Backend::EMBEDDED, Backend::POSTGRES, Backend::S3] {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let two = || {
            vec![
                (keyed("a.bin"), content(1, 5_000).to_vec()),
                (keyed("b.bin"), content(2, 5_000).to_vec()),
            ]
        };
        calls.save_batch(two()).await.unwrap();
        server.overwrite_only_object(|stored| stored[7_000] ^= 1);
        assert_eq!(refusal(calls.read(by_key("b.bin")).await), ErrorReason::ContentCorrupt);
        assert!(
            calls.read(by_key("a.bin")).await.unwrap() == content(1, 5_000),
            "{backend:?}"
        );
        calls.save_batch(two()).await.unwrap();
        for (number, key) in [(1, "a.bin"), (2, "b.bin")] {
            assert!(
                calls.read(by_key(key)).await.unwrap() == content(number, 5_000),
                "{key} {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn batches_that_race_for_the_same_keys_leave_whole_families() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let batches = (0..8_u64).map(|lane| {
            let calls = calls.clone();
            async move {
                let mut files: Vec<_> = (0..20_u64)
                    .map(|number| {
                        (
                            keyed(&format!("{number}.bin")),
                            content(lane * 100 + number, 500).to_vec(),
                        )
                    })
                    .collect();
                if lane % 2 == 1 {
                    files.reverse();
                }
                let results = calls.save_batch(files).await.unwrap();
                assert!(results.iter().all(Result::is_ok), "{results:?}");
            }
        });
        futures::future::join_all(batches).await;
        for number in 0..20 {
            let family = calls.family(by_key(&format!("{number}.bin"))).await.unwrap();
            let numbers: Vec<_> = family.iter().map(|artifact| artifact.version_number).collect();
            assert_eq!(numbers, (1..=8).rev().collect::<Vec<_>>(), "{backend:?}");
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn the_client_saves_more_files_than_fit_into_one_message() {
    use artifactd_client::SaveOptions;
    let server = TestServer::on(Backend::EMBEDDED).await;
    let client = server.client().await;
    let mut files: Vec<_> = (0..1_200_u64)
        .map(|number| (content(number, 2_000), SaveOptions::key(format!("{number}.bin"))))
        .collect();
    files.insert(700, (content(5_000, 3_000_000), SaveOptions::key("large.bin")));
    files.insert(800, (content(5_001, 10), SaveOptions::key("/bad.bin")));
    let results = client.save_many(files).await.unwrap();
    assert_eq!(results.len(), 1_202);
    for (number, result) in results.iter().enumerate() {
        match (number, result) {
            (800, refused) => assert!(refused.is_err()),
            (700, saved) => assert_eq!(saved.as_ref().unwrap().artifact.size_bytes, 3_000_000),
            (_, saved) => assert!(saved.is_ok(), "{number}: {saved:?}"),
        }
    }
    assert!(client.read("1199.bin").await.unwrap() == content(1_199, 2_000));
    assert!(client.read("large.bin").await.unwrap() == content(5_000, 3_000_000));
    assert!(server.query_integer(OBJECTS).await <= 5);
}

#[tokio::test]
async fn a_folder_is_saved_file_by_file() {
    use artifactd_client::{Error, SaveOptions, Skipped, domain::SaveOutcome};
    use std::os::unix::ffi::OsStrExt;
    let server = TestServer::on(Backend::EMBEDDED).await;
    let client = server.client().await;
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("data set");
    std::fs::create_dir_all(folder.join("a/b")).unwrap();
    std::fs::create_dir_all(folder.join("empty/inner")).unwrap();
    let large = content(1, 2_500_000);
    for (path, bytes) in [
        ("a/1.txt", b"same".as_slice()),
        ("a/b/2.txt", b"same"),
        ("a/zero.bin", b""),
        ("large.bin", &large),
    ] {
        std::fs::write(folder.join(path), bytes).unwrap();
    }
    std::os::unix::fs::symlink("a/1.txt", folder.join("link")).unwrap();
    std::fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xff.txt")), b"x").unwrap();

    let saved = client.save_dir(&folder, SaveOptions::default()).await.unwrap();
    let paths: Vec<_> = saved.files.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(paths, ["a/1.txt", "a/b/2.txt", "a/zero.bin", "large.bin"]);
    for (path, result) in &saved.files {
        let saved = result.as_ref().unwrap();
        assert_eq!(saved.outcome, SaveOutcome::Created, "equal files are kept");
        let key = format!("data set/{}", path.to_str().unwrap());
        assert_eq!(saved.artifact.key.as_ref().map(ToString::to_string), Some(key.clone()));
        assert!(client.read(key.as_str()).await.unwrap() == std::fs::read(folder.join(path)).unwrap());
    }
    let reasons: Vec<_> = saved.skipped.iter().map(|(_, why)| *why).collect();
    assert_eq!(
        reasons,
        [Skipped::EmptyFolder, Skipped::NotRegular, Skipped::NotUnicode]
    );

    // Empty content never counts as the same.
    use SaveOutcome::{Existing, NewVersion};
    let again = client.save_dir(&folder, SaveOptions::key("data set/")).await.unwrap();
    let outcomes: Vec<_> = again
        .files
        .iter()
        .map(|(_, result)| result.as_ref().unwrap().outcome)
        .collect();
    assert_eq!(outcomes, [Existing, Existing, NewVersion, Existing]);

    let of_one = SaveOptions {
        request_id: Some("r".to_owned()),
        ..SaveOptions::default()
    };
    assert!(matches!(client.save_dir(&folder, of_one).await, Err(Error::Input(_))));
    let missing = client.save_dir(folder.join("none"), SaveOptions::key("k")).await;
    assert!(missing.is_err());
}
