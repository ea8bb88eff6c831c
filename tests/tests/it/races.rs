//! Many callers at once on the same names.

use std::collections::{BTreeMap, BTreeSet};

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_stem, by_uid, keyed, saved},
    content::{Random, content},
    pb::{self, ErrorReason, SaveOutcome},
};

const CLIENTS: u64 = 64;

/// Sends until it is no longer told that others were in the way.
async fn save_until_through(calls: &Calls, key: &str, bytes: &[u8]) -> pb::SaveArtifactResponse {
    for _ in 0..50 {
        match calls.save(keyed(key), bytes).await {
            Ok(answer) => return answer,
            Err(failure) => assert!(
                matches!(failure.reason, Some(ErrorReason::Conflict | ErrorReason::ServerBusy)),
                "{failure}"
            ),
        }
    }
    panic!("{key} was refused fifty times");
}

async fn assert_sound(server: &TestServer) {
    for (what, sql) in [
        (
            "two heads",
            "SELECT count(*) FROM (SELECT family_id FROM artifacts WHERE is_latest GROUP BY family_id HAVING count(*) > 1) AS x",
        ),
        (
            "a number twice",
            "SELECT count(*) FROM (SELECT 1 FROM artifacts GROUP BY family_id, version_number HAVING count(*) > 1) AS x",
        ),
        (
            "a blob twice",
            "SELECT count(*) FROM (SELECT 1 FROM blobs GROUP BY storage_id, sha256, size_bytes HAVING count(*) > 1) AS x",
        ),
        (
            "a live key twice",
            "SELECT count(*) FROM (SELECT 1 FROM families WHERE live_key IS NOT NULL GROUP BY storage_id, live_key HAVING count(*) > 1) AS x",
        ),
    ] {
        assert_eq!(server.query_integer(sql).await, 0, "{what} on {:?}", server.backend());
    }
    server.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_contents_under_one_key_become_one_family_without_gaps() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let saves = (0..CLIENTS).map(|number| {
            let calls = server.calls();
            async move { save_until_through(&calls, "x.bin", &content(number, 5_000)).await }
        });
        let answers = futures::future::join_all(saves).await;
        let mut numbers: Vec<_> = answers
            .iter()
            .map(|answer| answer.artifact.as_ref().unwrap().version_number)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=CLIENTS as i32).collect::<Vec<_>>(), "{backend:?}");
        let created = answers
            .iter()
            .filter(|answer| answer.outcome() == SaveOutcome::Created)
            .count();
        assert_eq!(created, 1, "{backend:?}");
        let family = server.calls().family(by_key("x.bin")).await.unwrap();
        assert_eq!(family.len(), CLIENTS as usize);
        assert_eq!(family.iter().filter(|version| version.is_latest).count(), 1);
        for version in answers {
            let artifact = saved(version);
            let bytes = server.calls().read(by_uid(&artifact.uid)).await.unwrap();
            assert_eq!(artifactd_tests::content::digest(&bytes), artifact.hash);
        }
        assert_sound(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_contents_under_one_key_become_one_artifact() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let bytes = content(1, 300_000);
        let saves = (0..CLIENTS).map(|_| {
            let (calls, bytes) = (server.calls(), bytes.clone());
            async move { save_until_through(&calls, "x.bin", &bytes).await }
        });
        let answers = futures::future::join_all(saves).await;
        let uids: BTreeSet<_> = answers
            .iter()
            .map(|answer| answer.artifact.as_ref().unwrap().uid.clone())
            .collect();
        assert_eq!(uids.len(), 1, "{backend:?}");
        assert_eq!(server.query_integer("SELECT count(*) FROM blobs").await, 1);
        assert!(server.calls().read(by_key("x.bin")).await.unwrap() == bytes);
        assert_sound(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_contents_under_many_keys_share_one_blob() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let bytes = content(1, 300_000);
        let saves = (0..CLIENTS).map(|number| {
            let (calls, bytes) = (server.calls(), bytes.clone());
            async move { save_until_through(&calls, &format!("{number}.bin"), &bytes).await }
        });
        let answers = futures::future::join_all(saves).await;
        assert!(
            answers.iter().all(|answer| answer.outcome() == SaveOutcome::Created),
            "{backend:?}"
        );
        assert_eq!(
            server.query_integer("SELECT count(*) FROM blobs").await,
            1,
            "{backend:?}"
        );
        for number in [0, CLIENTS / 2, CLIENTS - 1] {
            assert!(server.calls().read(by_key(&format!("{number}.bin"))).await.unwrap() == bytes);
        }
        assert_sound(&server).await;
    }
}

/// What one caller of the mixed race did, and what it was told.
async fn mix(calls: Calls, seed: u64) -> Vec<pb::Artifact> {
    let mut random = Random::new(seed);
    let mut acknowledged = Vec::new();
    for _ in 0..8 {
        let bytes = content(random.below(6) as u64, 2_000);
        let outcome = match random.below(6) {
            0..3 => calls
                .save(keyed("x.bin"), &bytes)
                .await
                .map(|answer| acknowledged.push(saved(answer))),
            3 => calls.trash(by_key("x.bin")).await.map(drop),
            4 => restore_one(&calls, &acknowledged).await,
            _ => calls.read(by_key("x.bin")).await.map(drop),
        };
        if let Err(failure) = outcome {
            let reason = failure.reason.unwrap_or_else(|| panic!("the call was cut: {failure}"));
            let expected = matches!(
                reason,
                ErrorReason::ArtifactNotFound
                    | ErrorReason::ArtifactInTrash
                    | ErrorReason::KeyTaken
                    | ErrorReason::Conflict
                    | ErrorReason::ServerBusy
            );
            assert!(expected, "{failure}");
        }
    }
    acknowledged
}

async fn restore_one(calls: &Calls, acknowledged: &[pb::Artifact]) -> artifactd_tests::Outcome<()> {
    match acknowledged.last() {
        Some(artifact) => calls.restore(by_stem(&artifact.stem)).await.map(drop),
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saves_deletes_and_restores_of_one_key_lose_nothing() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let mixes = (0..CLIENTS).map(|seed| tokio::spawn(mix(server.calls(), seed)));
        let mut numbers: BTreeMap<(String, i32), String> = BTreeMap::new();
        for acknowledged in futures::future::join_all(mixes).await {
            for artifact in acknowledged.unwrap() {
                let found = server.calls().get(by_uid(&artifact.uid)).await.unwrap();
                assert_eq!(found.hash, artifact.hash, "{backend:?}");
                let number = (artifact.stem.clone(), artifact.version_number);
                let uid = numbers.entry(number).or_insert_with(|| artifact.uid.clone());
                assert_eq!(*uid, artifact.uid, "a number was issued twice on {backend:?}");
            }
        }
        assert_sound(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_label_goes_to_one_of_many() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        server.calls().save(keyed("x.bin"), b"first").await.unwrap();
        let saves = (0..16_u8).map(|number| {
            let calls = server.calls();
            let header = pb::SaveHeader {
                version: Some("release".to_owned()),
                ..keyed("x.bin")
            };
            async move { calls.save(header, &[number]).await }
        });
        let mut winners = 0;
        for outcome in futures::future::join_all(saves).await {
            match outcome {
                Ok(_) => winners += 1,
                Err(failure) => assert!(
                    matches!(failure.reason, Some(ErrorReason::VersionTaken | ErrorReason::Conflict)),
                    "{failure}"
                ),
            }
        }
        assert_eq!(winners, 1, "{backend:?}");
        assert_sound(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_one_content_while_it_is_replaced_again_and_again() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let contents: Vec<_> = (0..4).map(|seed| content(seed, 1_500_000)).collect();
    let artifact = saved(calls.save(keyed("x.bin"), &contents[0]).await.unwrap());
    let writer = tokio::spawn({
        let (calls, contents, uid) = (server.calls(), contents.clone(), artifact.uid.clone());
        async move {
            for round in 1..20 {
                let header = pb::ReplaceHeader {
                    artifact: Some(by_uid(&uid)),
                    ..Default::default()
                };
                calls.replace(header, &contents[round % contents.len()]).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        match calls.read(by_uid(&artifact.uid)).await {
            Ok(bytes) => assert!(contents.iter().any(|content| *content == bytes), "a mixture was read"),
            Err(failure) => assert_eq!(failure.reason, Some(ErrorReason::ContentChanged), "{failure}"),
        }
    }
    writer.await.unwrap();
    assert_sound(&server).await;
}
