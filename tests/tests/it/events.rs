//! Watching events.

use std::time::Duration;

use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    events::Watch,
    pb::{self, ErrorReason},
    refusal,
};

async fn save(calls: &Calls, key: &str) -> pb::Artifact {
    saved(calls.save(keyed(key), key.as_bytes()).await.unwrap())
}

fn beginning() -> pb::WatchRequest {
    pb::WatchRequest {
        from_beginning: true,
        ..Default::default()
    }
}

fn of_kinds(kinds: &[&str]) -> pb::WatchRequest {
    pb::WatchRequest {
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..beginning()
    }
}

#[tokio::test]
async fn events_come_in_order_and_once_and_as_they_happen() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let early = save(&calls, "early.txt").await;
        let mut watch = Watch::open(&calls, pb::WatchRequest::default()).await.unwrap();
        // On PostgreSQL the event may have got its place only now.
        let late = save(&calls, "late.txt").await;
        calls.trash(by_key("late.txt")).await.unwrap();
        let mut told = Vec::new();
        while told.last().map(|event: &pb::Event| event.kind.as_str()) != Some("trashed") {
            told.push(watch.event().await);
        }
        told.retain(|event| event.artifact_uid.as_ref() != Some(&early.uid));
        let kinds: Vec<_> = told.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["saved", "trashed"], "{backend:?}");
        assert!(told.iter().all(|event| event.artifact_uid.as_ref() == Some(&late.uid)));
        assert_eq!(
            (told[0].space.as_str(), told[0].created_by.as_str()),
            ("default", "admin")
        );
        let mut again = Watch::open(&calls, beginning()).await.unwrap();
        let mut positions = Vec::new();
        while positions.last() != Some(&told[1].position) {
            positions.push(again.event().await.position);
        }
        assert_eq!(
            positions,
            (1..=told[1].position).collect::<Vec<_>>(),
            "no gaps on {backend:?}"
        );
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_also_on_a_server_that_was_started_again() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        let calls = server.calls();
        for number in 0..5 {
            save(&calls, &format!("{number}.txt")).await;
        }
        let request = of_kinds(&["saved"]);
        let mut watch = Watch::open(&calls, request.clone()).await.unwrap();
        let mut uids = Vec::new();
        for _ in 0..3 {
            uids.push(watch.event().await.artifact_uid.unwrap());
        }
        let resume_token = watch.token.clone();
        drop(watch);
        server.kill();
        server.start_again().await;
        let calls = server.calls();
        save(&calls, "5.txt").await;
        let resumed = pb::WatchRequest {
            resume_token,
            ..request
        };
        let mut watch = Watch::open(&calls, resumed.clone()).await.unwrap();
        for _ in 0..3 {
            uids.push(watch.event().await.artifact_uid.unwrap());
        }
        for (number, uid) in uids.iter().enumerate() {
            assert_eq!(
                calls.get(by_uid(uid)).await.unwrap().key(),
                format!("{number}.txt"),
                "{backend:?}"
            );
        }
        let other = pb::WatchRequest {
            kinds: Vec::new(),
            ..resumed
        };
        assert_eq!(
            refusal(Watch::open(&calls, other).await),
            ErrorReason::PageTokenMismatch
        );
    }
}

#[tokio::test]
async fn writers_in_parallel_lose_no_event_and_make_none_up() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        const WRITERS: usize = 8;
        const SAVES: usize = 12;
        let mut watch = Watch::open(&server.calls(), of_kinds(&["saved"])).await.unwrap();
        let writing = (0..WRITERS).map(|writer| {
            let calls = server.calls();
            async move {
                let mut uids = Vec::new();
                for number in 0..SAVES {
                    uids.push(save(&calls, &format!("{writer}/{number}.txt")).await.uid);
                    // A refused save tells nothing.
                    let taken = pb::SaveHeader {
                        version: Some("1".to_owned()),
                        ..keyed(&format!("{writer}/{number}.txt"))
                    };
                    assert!(calls.save(taken, b"other").await.is_err());
                }
                uids
            }
        });
        let watching = async {
            let (mut uids, mut last) = (Vec::new(), 0);
            while uids.len() < WRITERS * SAVES {
                let event = watch.event().await;
                assert!(event.position > last, "events come in order");
                last = event.position;
                uids.push(event.artifact_uid.unwrap());
            }
            uids
        };
        let (written, mut told) = tokio::join!(futures::future::join_all(writing), watching);
        let mut written: Vec<String> = written.concat();
        written.sort();
        told.sort();
        assert_eq!(told, written, "{backend:?}");
        assert!(
            watch.nothing_for(Duration::from_millis(500)).await,
            "no more than happened"
        );
    }
}

#[tokio::test]
async fn events_are_chosen_by_kind_and_artifact() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let (one, other) = (save(&calls, "one.txt").await, save(&calls, "other.txt").await);
        let next = saved(calls.save(keyed("one.txt"), b"more").await.unwrap());
        calls.trash(by_uid(&other.uid)).await.unwrap();
        for (request, expected) in [
            (of_kinds(&["trashed"]), vec![("trashed", &other.uid)]),
            (
                pb::WatchRequest {
                    artifacts: vec![one.stem.clone()],
                    ..beginning()
                },
                vec![("saved", &one.uid), ("saved", &next.uid)],
            ),
            (
                pb::WatchRequest {
                    artifacts: vec![one.uid.clone(), other.uid.clone()],
                    ..beginning()
                },
                vec![("saved", &one.uid), ("saved", &other.uid), ("trashed", &other.uid)],
            ),
        ] {
            let mut watch = Watch::open(&calls, request).await.unwrap();
            for (kind, uid) in expected {
                let event = watch.event().await;
                assert_eq!(
                    (event.kind.as_str(), event.artifact_uid.as_ref()),
                    (kind, Some(uid)),
                    "{backend:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_that_does_not_read_costs_little_and_loses_nothing() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let slow = Watch::open(&calls, of_kinds(&["saved"])).await.unwrap();
    let before = server.resident_bytes();
    // More than a line holds that nobody reads.
    const MESSAGES: usize = 6;
    const FILES: usize = 500;
    for message in 0..MESSAGES {
        let files = (0..FILES).map(|number| (keyed(&format!("{message}/{number}.txt")), vec![1]));
        let saved = calls.save_batch(files.collect()).await.unwrap();
        assert!(saved.iter().all(Result::is_ok));
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for a watcher that does not read");
    // Nor does one who comes when all has happened.
    let late = Watch::open(&calls, of_kinds(&["saved"])).await.unwrap();
    for mut watch in [slow, late] {
        let mut keys = Vec::new();
        for _ in 0..MESSAGES * FILES {
            let detail: serde_json::Value = serde_json::from_str(&watch.event().await.detail).unwrap();
            keys.push(detail["key"].as_str().unwrap().to_owned());
        }
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), MESSAGES * FILES);
    }
}

#[tokio::test]
async fn a_bookmark_leads_to_what_happens_next() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let one = save(&calls, "one.txt").await;
        let request = of_kinds(&["trashed"]);
        let mut watch = Watch::open(&calls, request.clone()).await.unwrap();
        assert!(watch.nothing_for(Duration::from_millis(500)).await);
        assert!(!watch.token.is_empty(), "how far it is was told");
        let resumed = pb::WatchRequest {
            resume_token: watch.token.clone(),
            ..request
        };
        drop(watch);
        calls.trash(by_key("one.txt")).await.unwrap();
        let mut watch = Watch::open(&calls, resumed).await.unwrap();
        assert_eq!(watch.event().await.artifact_uid, Some(one.uid), "{backend:?}");
    }
}

#[tokio::test]
async fn a_watch_ends_with_the_server_and_says_why() {
    let mut server = TestServer::start().await;
    let mut watch = Watch::open(&server.calls(), pb::WatchRequest::default()).await.unwrap();
    let stopping = server.stop();
    let (status, end) = tokio::join!(stopping, watch.failure());
    assert!(status.success(), "{status}");
    assert_eq!(end.reason, Some(ErrorReason::ServerDraining));
    assert!(end.says_when_to_retry);
}

#[tokio::test]
async fn bad_watches_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for (request, reason) in [
        (of_kinds(&["SAVED"]), ErrorReason::FieldInvalid),
        (of_kinds(&["saved"; 101]), ErrorReason::FieldInvalid),
        (
            pb::WatchRequest {
                artifacts: vec!["a.csv".to_owned()],
                ..beginning()
            },
            ErrorReason::ReferenceInvalid,
        ),
        (
            pb::WatchRequest {
                resume_token: "x".to_owned(),
                ..Default::default()
            },
            ErrorReason::PageTokenInvalid,
        ),
    ] {
        assert_eq!(refusal(Watch::open(&calls, request).await), reason);
    }
}
