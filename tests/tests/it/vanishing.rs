//! Content that is destroyed while another call is about to use it.

use std::time::Duration;

use artifactd_tests::{
    Backend, Calls, Outcome, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::{Random, content, digest},
    pb::{self, ErrorReason, save_artifact_request::Message},
    refusal,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, Statement, TransactionTrait};

const TASKS: u64 = 64;
const ROUNDS: usize = 4;

/// The largest content that is one block, so that it has no rows of checksums of its own.
const BYTES: usize = 200_000;

/// A family under `key` that is not committed: who wants the key has to wait for it,
/// after having looked for its content.
async fn hold_key(database: &DatabaseConnection, key: &str) -> DatabaseTransaction {
    let held = database.begin().await.unwrap();
    let family = format!(
        "INSERT INTO families (stem, space_id, storage_id, next_number, next_suffix, live_key, created_at_us)
         SELECT 'heldheldheldheld', space_id, storage_id, 2, '0001', '{key}', 0 FROM families LIMIT 1"
    );
    held.execute_unprepared(&family).await.unwrap();
    held
}

/// A locked record: who wants to change it has to wait, after having looked for its content.
async fn hold_record(database: &DatabaseConnection, uid: &str) -> DatabaseTransaction {
    let held = database.begin().await.unwrap();
    let lock = format!("SELECT 1 FROM artifacts WHERE uid = '{uid}' FOR UPDATE");
    held.execute_unprepared(&lock).await.unwrap();
    held
}

async fn until_somebody_waits(database: &DatabaseConnection) {
    let waiting =
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..1_000 {
        let statement = Statement::from_string(database.get_database_backend(), waiting);
        let row = database.query_one_raw(statement).await.unwrap().unwrap();
        if row.try_get::<i64>("", "n").unwrap() > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nobody waits for what the test holds");
}

/// A server that holds one content, under `old.bin`.
struct Scene {
    server: TestServer,
    database: DatabaseConnection,
    bytes: Vec<u8>,
    old: pb::Artifact,
}

impl Scene {
    async fn prepare() -> Self {
        // SQLite runs one transaction after the other, so that nothing comes in between there.
        let server = TestServer::on(Backend::POSTGRES).await;
        let bytes = content(1, BYTES).to_vec();
        let old = saved(server.calls().save(keyed("old.bin"), &bytes).await.unwrap());
        let url = server.database_url.as_deref().unwrap();
        let database = sea_orm::Database::connect(url).await.unwrap();
        Self {
            server,
            database,
            bytes,
            old,
        }
    }

    /// Destroys the content while a call waits in the middle of its transaction.
    async fn destroy_in_between(&self, held: DatabaseTransaction) {
        until_somebody_waits(&self.database).await;
        self.server.calls().destroy(by_uid(&self.old.uid)).await.unwrap();
        assert_eq!(
            self.server.query_integer("SELECT count(*) FROM blobs WHERE kept").await,
            0
        );
        held.rollback().await.unwrap();
    }

    async fn assert_every_record_has_bytes(&self) {
        let without = "SELECT count(*) FROM artifacts WHERE blob_id IS NULL AND manifest_id IS NULL";
        assert_eq!(self.server.query_integer(without).await, 0, "a record names no bytes");
        self.server.assert_clean();
    }
}

#[tokio::test]
async fn a_save_whose_content_goes_in_between_stores_its_own() {
    let scene = Scene::prepare().await;
    let held = hold_key(&scene.database, "new.bin").await;
    let saving = tokio::spawn({
        let (calls, bytes) = (scene.server.calls(), scene.bytes.clone());
        async move { calls.save(keyed("new.bin"), &bytes).await }
    });
    scene.destroy_in_between(held).await;
    let new = saved(saving.await.unwrap().unwrap());
    assert_eq!(new.hash, digest(&scene.bytes));
    assert!(scene.server.calls().read(by_key("new.bin")).await.unwrap() == scene.bytes);
    scene.assert_every_record_has_bytes().await;
}

#[tokio::test]
async fn a_claim_whose_content_goes_in_between_is_refused() {
    let scene = Scene::prepare().await;
    let held = hold_key(&scene.database, "new.bin").await;
    let claiming = tokio::spawn({
        let (calls, header) = (scene.server.calls(), claim("new.bin", &scene.bytes));
        async move {
            calls
                .save_stream(futures::stream::iter([Message::Header(header)]))
                .await
        }
    });
    scene.destroy_in_between(held).await;
    assert_eq!(refusal(claiming.await.unwrap()), ErrorReason::ContentNotHeld);
    let looked_for = scene.server.calls().get(by_key("new.bin")).await;
    assert_eq!(refusal(looked_for), ErrorReason::ArtifactNotFound);
    scene.assert_every_record_has_bytes().await;
}

#[tokio::test]
async fn a_replacement_whose_content_goes_in_between_stores_its_own() {
    let scene = Scene::prepare().await;
    let other = saved(scene.server.calls().save(keyed("x.bin"), b"before").await.unwrap());
    let held = hold_record(&scene.database, &other.uid).await;
    let replacing = tokio::spawn({
        let (calls, bytes) = (scene.server.calls(), scene.bytes.clone());
        let header = pb::ReplaceHeader {
            artifact: Some(by_uid(&other.uid)),
            ..Default::default()
        };
        async move { calls.replace(header, &bytes).await }
    });
    scene.destroy_in_between(held).await;
    replacing.await.unwrap().unwrap();
    assert!(scene.server.calls().read(by_key("x.bin")).await.unwrap() == scene.bytes);
    scene.assert_every_record_has_bytes().await;
}

fn claim(key: &str, bytes: &[u8]) -> pb::SaveHeader {
    pb::SaveHeader {
        sha256: Some(digest(bytes)),
        claim: true,
        size: Some(bytes.len() as i64),
        ..keyed(key)
    }
}

/// Saves and claims one content under keys of its own and destroys them again; whatever
/// is acknowledged must be readable until then. Answers what it left.
async fn come_and_go(calls: Calls, number: u64, bytes: Vec<u8>) -> Option<pb::Artifact> {
    let mut random = Random::new(number);
    let mut kept = None;
    for round in 0..ROUNDS {
        let key = format!("{number}-{round}.bin");
        let saving = match random.below(3) {
            0 => claimed(&calls, &key, &bytes).await,
            _ => calls.save(keyed(&key), &bytes).await.map(|answer| Some(saved(answer))),
        };
        match saving {
            Ok(None) => {}
            Ok(Some(artifact)) => {
                let read = calls.read(by_uid(&artifact.uid)).await.unwrap();
                assert!(read == bytes, "{key} was acknowledged without its bytes");
                match number.is_multiple_of(8) && round + 1 == ROUNDS {
                    true => kept = Some(artifact),
                    false => destroy(&calls, &artifact.uid).await,
                }
            }
            Err(failure) => assert!(
                matches!(failure.reason, Some(ErrorReason::Conflict | ErrorReason::ServerBusy)),
                "{failure}"
            ),
        }
    }
    kept
}

/// Nothing when the content is not there just now.
async fn claimed(calls: &Calls, key: &str, bytes: &[u8]) -> Outcome<Option<pb::Artifact>> {
    let messages = [Message::Header(claim(key, bytes))];
    match calls.save_stream(futures::stream::iter(messages)).await {
        Err(failure) if failure.reason == Some(ErrorReason::ContentNotHeld) => Ok(None),
        answer => answer.map(|answer| Some(saved(answer))),
    }
}

async fn destroy(calls: &Calls, uid: &str) {
    for _ in 0..50 {
        match calls.destroy(by_uid(uid)).await {
            Ok(_) => return,
            Err(failure) => assert!(
                matches!(failure.reason, Some(ErrorReason::Conflict | ErrorReason::ServerBusy)),
                "{failure}"
            ),
        }
    }
    panic!("{uid} could not be destroyed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_comes_and_goes_is_never_missing_where_it_was_acknowledged() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let bytes = content(1, BYTES).to_vec();
        let tasks = (0..TASKS).map(|number| tokio::spawn(come_and_go(server.calls(), number, bytes.clone())));
        let kept: Vec<_> = futures::future::join_all(tasks).await;
        let kept: Vec<_> = kept.into_iter().filter_map(Result::unwrap).collect();
        assert!(!kept.is_empty(), "{backend:?}");
        for artifact in kept {
            assert!(
                server.calls().read(by_uid(&artifact.uid)).await.unwrap() == bytes,
                "{backend:?}"
            );
        }
        server.assert_clean();
    }
}
