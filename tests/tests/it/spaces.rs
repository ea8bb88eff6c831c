//! Two spaces: what one of them holds is in no list, count or search of the other.

use std::{collections::BTreeSet, path::Path};

use artifactd_client::{Client, ListOptions, filter};
use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    pb::{
        self, CountArtifactsRequest, ErrorReason, ListArtifactsRequest, RegisterStorageRequest, SaveHeader,
        SaveOutcome, SearchArtifactsRequest, Visibility,
    },
    records::{feature, features, int, values},
    refusal_of,
    storages::root,
};
use futures::TryStreamExt;

use crate::filters::{ALL, expected, listed, uids};

const SPACES: [&str; 2] = ["default", "other"];

/// A server with a second space, whose bytes lie in a folder.
async fn with_other_space(backend: Backend, folder: &Path) -> TestServer {
    let allowed = folder.display().to_string();
    let setup = TestServer::setup().on(backend);
    let mut server = setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &allowed).start().await;
    let place = folder.join("bytes");
    std::fs::create_dir(&place).unwrap();
    let request = RegisterStorageRequest {
        managed: true,
        ..root("elsewhere", &place)
    };
    server.calls().register(request).await.unwrap();
    server.stop().await;
    let database = server.database().await;
    let make = "INSERT INTO spaces (uid, name, default_storage_id, created_at_us) \
         SELECT 'otherspace', 'other', id, 0 FROM storages WHERE name = 'elsewhere'";
    database.run(make).await;
    let give = "UPDATE storages SET space_id = (SELECT id FROM spaces WHERE name = 'other') WHERE name = 'elsewhere'";
    database.run(give).await;
    drop(database);
    server.start_again().await;
    server
}

/// Artifacts with the same keys, bytes and values in every space, and one that only it has.
async fn fill(calls: &Calls, space: &str) {
    let own = format!("{space}/zebra.csv");
    for number in 0..5_u8 {
        let header = SaveHeader {
            description: (number % 2 == 0).then(|| format!("zebra {number}")),
            visibility: match number {
                4 => Visibility::Hidden.into(),
                _ => Visibility::Default.into(),
            },
            ..keyed(&format!("zebras/{number}.csv"))
        };
        let made = calls.save(header, &[number; 3]).await.unwrap();
        assert_eq!(made.outcome(), SaveOutcome::Created, "{number} in {space}");
        assert_eq!(made.same_content_uids, [""; 0], "{number} in {space}");
    }
    calls.save(keyed(&own), space.as_bytes()).await.unwrap();
    calls.save(keyed("zebras/0.csv"), b"again").await.unwrap();
    let gone = saved(calls.save(keyed("zebras/gone.csv"), b"gone").await.unwrap());
    calls.trash(by_uid(&gone.uid)).await.unwrap();
    for key in ["zebras/1.csv", "zebras/2.csv", &own] {
        let group = features(vec![values("group", vec![int(7)])]);
        calls.add(by_key(key), group).await.unwrap();
    }
}

/// Filters that match in both spaces, or ask for what only one of them has.
fn filters(all: &[pb::Artifact]) -> Vec<String> {
    let plain = [
        "",
        "key = 'zebras/*'",
        "key = 'zebras/1.csv'",
        "key = 'other/*' OR key = 'default/*'",
        "key = '*zebra*.csv'",
        "space = other",
        "space = default OR space = other",
        "NOT space = default",
        "storage = elsewhere",
        "storage != elsewhere",
        "description = 'zebra*' AND size = 3",
        "id > 0",
        "created_by = admin AND is_latest = true",
        "version_number > 1",
        "visibility != DEFAULT",
    ];
    let of_some = all.iter().step_by(3).flat_map(|artifact| {
        let pb::Artifact {
            uid, stem, hash, id, ..
        } = artifact;
        [
            format!("uid = {uid}"),
            format!("stem = {stem}"),
            format!("hash = {hash}"),
            format!("id = {id} OR uid = {uid}"),
            format!("uid >= {uid}"),
        ]
    });
    plain.map(str::to_owned).into_iter().chain(of_some).collect()
}

#[tokio::test]
async fn lists_counts_and_searches_hold_nothing_of_another_space() {
    for backend in Backend::DATABASES {
        let folder = tempfile::tempdir().unwrap();
        let server = with_other_space(backend, folder.path()).await;
        server.calls().create_feature(feature("group", "int")).await.unwrap();
        let calls = SPACES.map(|space| server.calls().in_space(space));
        let mut held = Vec::new();
        for (space, calls) in SPACES.into_iter().zip(&calls) {
            fill(calls, space).await;
            let all = calls.list_all(listed("", "", 4, &ALL)).await.unwrap();
            assert!(
                all.iter().all(|artifact| artifact.space == space),
                "{backend:?}: {all:?}"
            );
            assert_eq!(all.len(), 8, "{space} on {backend:?}");
            held.push(all);
        }
        for filter in filters(&held.concat()) {
            for (calls, held) in calls.iter().zip(&held) {
                assert_holds(calls, held, &filter, backend).await;
            }
        }
        for ((space, calls), held) in SPACES.into_iter().zip(&calls).zip(&held) {
            let of_group = |key: &Option<String>| {
                let annotated = ["zebras/1.csv", "zebras/2.csv"];
                key.as_deref()
                    .is_some_and(|key| annotated.contains(&key) || key.starts_with(space))
            };
            let expected = held.iter().filter(|artifact| of_group(&artifact.key)).cloned();
            for filter in ["features.group = 7", "features.group > 6", "features.group:*"] {
                let found = calls.list_all(listed(filter, "", 1, &[])).await.unwrap();
                assert_eq!(
                    uids(&found),
                    uids(&expected.clone().collect::<Vec<_>>()),
                    "{filter} in {space}"
                );
            }
            // Once out of the log, and once out of the index.
            assert_finds(calls, held).await;
            server.wait_until_indexed().await;
            assert_finds(calls, held).await;
            let found = calls.get(by_key("zebras/1.csv")).await.unwrap();
            assert!(held.contains(&found), "{space} on {backend:?}: {found:?}");
            let client = Client::builder(server.url()).space(space).connect().await.unwrap();
            let found: Vec<_> = client
                .find(&filter::key().starts_with("zebras/"))
                .try_collect()
                .await
                .unwrap();
            assert!(
                found.len() == 5 && found.iter().all(|artifact| artifact.space == space),
                "{found:?}"
            );
            assert_eq!(client.count("", &[]).await.unwrap().count, 6, "{space} on {backend:?}");
        }
    }
}

/// What a filter lists and counts is what it matches of the space.
async fn assert_holds(calls: &Calls, held: &[pb::Artifact], filter: &str, backend: Backend) {
    for (visibilities, order) in [(&[][..], ""), (&ALL, "key")] {
        let mut expected = expected(held, filter, visibilities);
        let what = format!("{filter:?} by {order:?} of {visibilities:?} on {backend:?}");
        let found = calls.list_all(listed(filter, order, 5, visibilities)).await.unwrap();
        let mut found = uids(&found);
        if !order.is_empty() {
            found.sort();
            expected.sort();
        }
        assert_eq!(found, expected, "{what}");
        let count = CountArtifactsRequest {
            filter: filter.to_owned(),
            visibilities: visibilities.iter().map(|visibility| i32::from(*visibility)).collect(),
            at_most: 0,
        };
        let counted = calls.count(count).await.unwrap();
        assert_eq!((counted.count, counted.more), (expected.len() as i64, false), "{what}");
    }
}

/// A search finds all that the space shows, as every key of it has the word.
async fn assert_finds(calls: &Calls, held: &[pb::Artifact]) {
    for filter in ["", "key = 'zebras/*'"] {
        let search = SearchArtifactsRequest {
            query: "zebra".to_owned(),
            filter: filter.to_owned(),
            page_size: 3,
            ..Default::default()
        };
        let hits = calls.search_all(search).await.unwrap();
        let found: Vec<_> = hits
            .into_iter()
            .filter_map(|hit| hit.artifact)
            .map(|artifact| artifact.uid)
            .collect();
        let expected: BTreeSet<_> = expected(held, filter, &[]).into_iter().collect();
        assert_eq!(found.len(), expected.len(), "{filter:?}: each is found once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_page_goes_on_in_its_own_space_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = with_other_space(Backend::EMBEDDED, folder.path()).await;
    let [here, there] = SPACES.map(|space| server.calls().in_space(space));
    for number in 0..4_u8 {
        for calls in [&here, &there] {
            calls.save(keyed(&format!("{number}.csv")), &[number]).await.unwrap();
        }
    }
    let first = here.list(listed("", "", 2, &[])).await.unwrap();
    let next = ListArtifactsRequest {
        page_token: first.next_page_token,
        ..listed("", "", 2, &[])
    };
    let reason = refusal_of(&next, there.list(next.clone()).await);
    assert_eq!(reason, ErrorReason::PageTokenMismatch);
    assert_eq!(here.list(next).await.unwrap().artifacts.len(), 2);
    let nowhere = server.calls().in_space("nowhere");
    let request = listed("", "", 0, &[]);
    let reason = refusal_of(&request, nowhere.list(request.clone()).await);
    assert_eq!(reason, ErrorReason::SpaceNotFound);
    let options = ListOptions {
        filter: "space = default".to_owned(),
        ..ListOptions::default()
    };
    let client = Client::builder(server.url()).space("other").connect().await.unwrap();
    let found: Vec<_> = client.list(options).try_collect().await.unwrap();
    assert_eq!(found, []);
}
