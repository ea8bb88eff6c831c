//! Clocks that are wrong, or are set while the server runs.

use std::fs;

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::content,
    pb, required_env,
};

const YEAR_SECONDS: i64 = 365 * 24 * 3600;

/// A server whose clock a test sets, by an offset that is read again at every look.
struct Clocked {
    server: TestServer,
    offset: tempfile::NamedTempFile,
}

impl Clocked {
    async fn start(backend: Backend, seconds: i64) -> Self {
        let offset = tempfile::NamedTempFile::new().unwrap();
        set(&offset, seconds);
        let server = TestServer::setup()
            .on(backend)
            .env("LD_PRELOAD", &required_env("ARTIFACTD_TEST_FAKETIME"))
            .env("FAKETIME_TIMESTAMP_FILE", offset.path().to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            // Deadlines and pauses go on as ever.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .start()
            .await;
        Self { server, offset }
    }

    fn set_clock(&self, seconds: i64) {
        set(&self.offset, seconds);
    }

    /// No record was changed before it was made, and events are in order.
    async fn assert_times_are_sane(&self, events_in_order: bool) {
        let early = "SELECT count(*) FROM artifacts WHERE updated_at_us < created_at_us";
        assert_eq!(self.server.query_integer(early).await, 0, "changed before it was made");
        let unplaced = "SELECT count(*) FROM events WHERE position IS NULL";
        for _ in 0..100 {
            if self.server.query_integer(unplaced).await == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(
            self.server.query_integer(unplaced).await,
            0,
            "events wait for a position"
        );
        let falling = "SELECT count(*) FROM events AS one JOIN events AS next ON next.position = one.position + 1
                       WHERE next.at_us < one.at_us";
        if events_in_order {
            assert_eq!(
                self.server.query_integer(falling).await,
                0,
                "an event older than the one before it"
            );
        }
        self.server.assert_clean();
    }
}

fn set(offset: &tempfile::NamedTempFile, seconds: i64) {
    // Replaced as a whole, so that the server never reads half of it.
    let draft = offset.path().with_extension("new");
    fs::write(&draft, format!("{seconds:+}")).unwrap();
    fs::rename(&draft, offset.path()).unwrap();
}

async fn save(calls: &Calls, key: &str, seed: u64) -> pb::Artifact {
    saved(calls.save(keyed(key), &content(seed, 1_000)).await.unwrap())
}

async fn describe(calls: &Calls, uid: &str, description: &str) -> pb::Artifact {
    let request = pb::UpdateArtifactRequest {
        artifact: Some(by_uid(uid)),
        update: Some(pb::ArtifactUpdate {
            description: Some(description.to_owned()),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["description".to_owned()],
        }),
        ..Default::default()
    };
    calls.update(request).await.unwrap()
}

fn micros(time: Option<&prost_types::Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000)
}

/// Every page of the list, in the order of creation.
async fn list(calls: &Calls) -> Vec<pb::Artifact> {
    let mut request = pb::ListArtifactsRequest {
        page_size: 2,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page = calls.list(request.clone()).await.unwrap();
        all.extend(page.artifacts);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_a_little_makes_nothing_older() {
    for backend in Backend::DATABASES {
        let clocked = Clocked::start(backend, 0).await;
        let calls = clocked.server.calls();
        let first = save(&calls, "x.bin", 1).await;
        clocked.set_clock(-300);
        let described = describe(&calls, &first.uid, "after the step back").await;
        let second = save(&calls, "x.bin", 2).await;
        let created = |artifact: &pb::Artifact| micros(artifact.created_at.as_ref());
        assert!(created(&second) >= created(&first), "{backend:?}");
        assert!(
            micros(described.updated_at.as_ref()) >= micros(first.updated_at.as_ref()),
            "{backend:?}"
        );
        calls.trash(by_uid(&second.uid)).await.unwrap();
        calls.restore(by_uid(&second.uid)).await.unwrap();
        clocked.assert_times_are_sane(true).await;
    }
}

#[tokio::test]
async fn a_server_that_starts_in_another_decade_says_so_and_loses_no_order() {
    for backend in Backend::DATABASES {
        for (offset, year) in [(-50 * YEAR_SECONDS, "1976"), (10 * YEAR_SECONDS, "2036")] {
            let mut clocked = Clocked::start(backend, offset).await;
            let what = format!("{year} on {backend:?}");
            // Without another clock nobody can tell that it is ahead.
            let tells = offset < 0 || backend == Backend::POSTGRES;
            assert_eq!(clocked.server.log().contains("The clock is wrong"), tells, "{what}");
            let calls = clocked.server.calls();
            let first = save(&calls, "x.bin", 1).await;
            for number in 0..5_u64 {
                save(&calls, &format!("{number}.bin"), 100 + number).await;
            }
            describe(&calls, &first.uid, "then").await;
            clocked.server.kill();
            clocked.set_clock(0);
            clocked.server.start_again().await;
            let calls = clocked.server.calls();
            let behind = "behind the newest event";
            assert_eq!(clocked.server.log().contains(behind), offset > 0 || tells, "{what}");
            let described = describe(&calls, &first.uid, "now").await;
            assert_eq!(described.description.as_deref(), Some("now"));
            assert!(
                micros(described.updated_at.as_ref()) >= micros(first.updated_at.as_ref()),
                "{what}"
            );
            let second = save(&calls, "x.bin", 2).await;
            assert_eq!((second.version_number, second.is_latest), (2, true), "{what}");
            assert!(
                calls.read(by_key("x.bin")).await.unwrap() == content(2, 1_000),
                "{what}"
            );
            let listed = list(&calls).await;
            assert_eq!(listed.len(), 7, "{what}");
            let mut uids: Vec<_> = listed.iter().map(|artifact| artifact.uid.as_str()).collect();
            uids.sort_unstable();
            uids.dedup();
            assert_eq!(uids.len(), 7, "{what}: pages overlap");
            clocked.assert_times_are_sane(false).await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_while_the_server_works_disturbs_nothing() {
    for backend in Backend::DATABASES {
        let clocked = Clocked::start(backend, 0).await;
        let calls = clocked.server.calls();
        for (number, offset) in [0, 10 * YEAR_SECONDS, -3600, 30 * YEAR_SECONDS, 0]
            .into_iter()
            .enumerate()
        {
            clocked.set_clock(offset);
            let artifact = save(&calls, "x.bin", number as u64).await;
            assert_eq!(artifact.version_number as usize, number + 1);
            describe(&calls, &artifact.uid, "described").await;
            assert!(calls.read(by_key("x.bin")).await.unwrap() == content(number as u64, 1_000));
            assert_eq!(list(&calls).await.len(), number + 1);
        }
        clocked.assert_times_are_sane(false).await;
    }
}
