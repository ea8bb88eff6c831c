//! Many who save and change one folder at the same time.

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, saved},
    content::content,
    folders::{Files, FolderCall, change_of, digest_of, entry, file, files, folder, removal},
    pb::{self, ErrorReason, SaveOutcome},
};
use futures::future::join_all;

const LANES: u64 = 6;

/// Some files that all have, and some of a lane's own; a large one among them.
fn of_lane(lane: u64) -> Files {
    let mut all = files(40, &[300, 5_000]);
    all.insert("own.bin".to_owned(), content(1_000 + lane, 700));
    all.insert("large.bin".to_owned(), content(2_000 + lane % 2, 1_500_000));
    all
}

/// Saves until it is through: who met another one in the same moment is told so.
async fn save_until_through(calls: &Calls, all: &Files) -> pb::Artifact {
    loop {
        match calls.save_folder(folder("f"), all).await {
            Ok(answer) => return saved(answer),
            Err(failure) => assert_eq!(failure.reason, Some(ErrorReason::Conflict), "{failure:?}"),
        }
    }
}

async fn versions(calls: &Calls) -> Vec<i32> {
    let family = calls.family(by_key("f")).await.unwrap();
    assert_eq!(family.iter().filter(|version| version.is_latest).count(), 1);
    family.iter().rev().map(|version| version.version_number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_race_for_one_key_become_one_family_without_gaps() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let lanes = (0..LANES).map(|lane| {
            let calls = server.calls();
            tokio::spawn(async move { save_until_through(&calls, &of_lane(lane)).await })
        });
        let artifacts: Vec<_> = join_all(lanes).await.into_iter().map(Result::unwrap).collect();
        let calls = server.calls();
        assert_eq!(
            versions(&calls).await,
            (1..=LANES as i32).collect::<Vec<_>>(),
            "{backend:?}"
        );
        for (lane, artifact) in artifacts.iter().enumerate() {
            let all = of_lane(lane as u64);
            assert_eq!(artifact.hash, digest_of(&all), "{backend:?}");
            let request = pb::ReadMembersRequest {
                artifact: Some(by_uid(&artifact.uid)),
                ..Default::default()
            };
            let read = calls.read_members(request).await.unwrap();
            assert!(read.iter().all(|member| all[&member.path] == member.bytes) && read.len() == all.len());
        }
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_folders_under_one_key_become_one_artifact() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let lanes = (0..LANES).map(|_| {
            let calls = server.calls();
            tokio::spawn(async move { save_until_through(&calls, &of_lane(0)).await.uid })
        });
        let mut uids: Vec<_> = join_all(lanes).await.into_iter().map(Result::unwrap).collect();
        uids.dedup();
        assert_eq!(uids.len(), 1, "{backend:?}");
        assert_eq!(versions(&server.calls()).await, [1]);
        // What came more than once goes.
        let blobs = server.query_integer("SELECT count(*) FROM blobs").await;
        let contents: std::collections::BTreeSet<_> = of_lane(0).into_values().collect();
        assert_eq!(blobs, contents.len() as i64, "{backend:?}");
        server.assert_clean();
    }
}

async fn change(calls: &Calls, base: &str, lane: u64) -> pb::Artifact {
    let own = content(3_000 + lane, 900);
    loop {
        let mut call = FolderCall::begin(calls, change_of(base)).await.unwrap();
        let edits = vec![entry("changed.bin", &own), removal("own.bin")];
        for number in call.list(edits).await.unwrap() {
            call.put(vec![file(number, &own)]).await.unwrap().remove(0).unwrap();
        }
        match call.commit().await {
            Ok(answer) => {
                assert_eq!(answer.outcome(), SaveOutcome::NewVersion);
                return saved(answer);
            }
            Err(failure) => assert_eq!(failure.reason, Some(ErrorReason::Conflict), "{failure:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_one_version_at_once_are_versions_of_their_own() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let base = saved(server.calls().save_folder(folder("f"), &of_lane(0)).await.unwrap());
        let lanes = (0..LANES).map(|lane| {
            let (calls, base) = (server.calls(), base.uid.clone());
            tokio::spawn(async move { change(&calls, &base, lane).await })
        });
        let changed: Vec<_> = join_all(lanes).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            versions(&server.calls()).await,
            (1..=LANES as i32 + 1).collect::<Vec<_>>(),
            "{backend:?}"
        );
        for (lane, artifact) in changed.iter().enumerate() {
            // Each is the base and its own change, whatever others did.
            let mut all = of_lane(0);
            all.remove("own.bin");
            all.insert("changed.bin".to_owned(), content(3_000 + lane as u64, 900));
            assert_eq!(artifact.hash, digest_of(&all), "{backend:?}");
        }
        server.assert_clean();
    }
}
