//! Searches by words.

use artifactd_tests::{
    Backend, Calls, Database, TestServer,
    calls::{by_key, by_uid, described, keyed, saved},
    pb::{
        ArtifactUpdate, DeleteArtifactRequest, ErrorReason, SaveHeader, SearchArtifactsRequest, SearchRank,
        UpdateArtifactRequest, Visibility,
    },
    refusal_of,
};
use futures::TryStreamExt;

fn query(query: &str) -> SearchArtifactsRequest {
    SearchArtifactsRequest {
        query: query.to_owned(),
        ..Default::default()
    }
}

/// Keys, or descriptions where there are none, with ranks.
async fn found(calls: &Calls, request: SearchArtifactsRequest) -> Vec<(String, SearchRank)> {
    let hits = calls.search_all(request).await.unwrap();
    let names = hits.into_iter().map(|hit| {
        let rank = hit.rank();
        let artifact = hit.artifact.unwrap();
        (artifact.key.or(artifact.description).unwrap(), rank)
    });
    names.collect()
}

async fn names(calls: &Calls, text: &str) -> Vec<String> {
    found(calls, query(text))
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[tokio::test]
async fn better_matches_come_first_and_the_newest_of_equal_ones() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for (number, key) in [
            "cells/pbmc68k.h5ad",
            "tables/pbmc.csv",
            "PBMC",
            "raw/my-pbmc-counts.csv",
            "pbmc/notes.txt",
            "xpbmcx.csv",
            "other.csv",
        ]
        .into_iter()
        .enumerate()
        {
            calls.save(keyed(key), &[number as u8]).await.unwrap();
        }
        calls
            .save(described("All about PBMC and Stra\u{df}e"), b"d")
            .await
            .unwrap();
        let named = SaveHeader {
            file_name: Some("Pbmc.csv".to_owned()),
            ..described("a file with a name")
        };
        calls.save(named, b"n").await.unwrap();
        let expected = [
            ("PBMC", SearchRank::Exact),
            ("a file with a name", SearchRank::Prefix),
            ("pbmc/notes.txt", SearchRank::Prefix),
            ("tables/pbmc.csv", SearchRank::Prefix),
            ("cells/pbmc68k.h5ad", SearchRank::Prefix),
            ("All about PBMC and Stra\u{df}e", SearchRank::Words),
            ("raw/my-pbmc-counts.csv", SearchRank::Words),
            ("xpbmcx.csv", SearchRank::Parts),
        ]
        .map(|(name, rank)| (name.to_owned(), rank));
        // Out of the log, then out of the index, on pages of every size.
        for is_indexed in [false, true] {
            for page_size in [0, 1, 3, 8] {
                let request = SearchArtifactsRequest {
                    page_size,
                    ..query(" pbmC ")
                };
                let found = found(&calls, request).await;
                assert_eq!(found, expected, "pages of {page_size}, {is_indexed} on {backend:?}");
            }
            for (text, expected) in [
                ("about stra\u{df}e", &["All about PBMC and Stra\u{df}e"][..]),
                ("counts csv raw", &["raw/my-pbmc-counts.csv"]),
                ("bmc68", &["cells/pbmc68k.h5ad"]),
                ("h5", &["cells/pbmc68k.h5ad"]),
                ("cells/pbmc68k.h5ad", &["cells/pbmc68k.h5ad"]),
                ("5ad nothing", &[]),
                ("' OR \"x\" * NEAR( :* & | ! artifact_terms", &[]),
            ] {
                assert_eq!(
                    names(&calls, text).await,
                    expected,
                    "{text:?}, {is_indexed} on {backend:?}"
                );
            }
            server.wait_until_indexed().await;
        }
    }
}

#[tokio::test]
async fn searches_find_what_was_just_written_and_nothing_that_is_gone() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        // Each step is looked at before and after the index knows of it.
        for is_indexed in [false, true] {
            let settle = async || {
                if is_indexed {
                    server.wait_until_indexed().await;
                }
            };
            let one = saved(
                calls
                    .save(keyed(&format!("zebra-{is_indexed}.csv")), b"1")
                    .await
                    .unwrap(),
            );
            settle().await;
            assert_eq!(names(&calls, "zebra").await.len(), 1, "{backend:?}");
            let update = UpdateArtifactRequest {
                artifact: Some(by_uid(&one.uid)),
                update: Some(ArtifactUpdate {
                    key: Some(format!("giraffe-{is_indexed}.csv")),
                    description: Some("stripes".to_owned()),
                    ..Default::default()
                }),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec!["key".to_owned(), "description".to_owned()],
                }),
                ..Default::default()
            };
            calls.update(update).await.unwrap();
            settle().await;
            assert_eq!(names(&calls, "zebra").await, [""; 0], "{backend:?}");
            assert_eq!(names(&calls, "giraffe stripes").await.len(), 1, "{backend:?}");
            calls.trash(by_uid(&one.uid)).await.unwrap();
            settle().await;
            assert_eq!(names(&calls, "stripes").await, [""; 0]);
            let trashed = SearchArtifactsRequest {
                visibilities: vec![Visibility::Trash.into()],
                ..query("stripes")
            };
            assert_eq!(found(&calls, trashed).await.len(), 1);
            let destroy = DeleteArtifactRequest {
                artifact: Some(by_uid(&one.uid)),
                permanent: true,
                ..Default::default()
            };
            calls.delete(destroy).await.unwrap();
            settle().await;
            let everything = SearchArtifactsRequest {
                visibilities: [Visibility::Default, Visibility::Hidden, Visibility::Trash]
                    .map(i32::from)
                    .to_vec(),
                ..query("stripes")
            };
            assert_eq!(found(&calls, everything).await, []);
        }
        let terms = "SELECT count(*) FROM artifact_terms";
        assert_eq!(
            server.query_integer(terms).await,
            0,
            "nothing is left behind on {backend:?}"
        );
    }
}

#[tokio::test]
async fn filters_narrow_a_search_and_pages_hold_everything_once() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut files = Vec::new();
        for number in 0..300_u32 {
            let name = ["alpha", "alphabet", "beta-alpha", "xalphax"][number as usize % 4];
            files.push((keyed(&format!("{name}/{number:03}.csv")), number.to_be_bytes().to_vec()));
        }
        for outcome in calls.save_batch(files).await.unwrap() {
            outcome.unwrap();
        }
        for is_indexed in [false, true] {
            for page_size in [7, 100] {
                let request = SearchArtifactsRequest {
                    page_size,
                    filter: "key = '*5.csv' OR key = 'beta*'".to_owned(),
                    ..query("alpha")
                };
                let found = found(&calls, request).await;
                let mut once = found.clone();
                once.sort();
                once.dedup();
                assert_eq!((found.len(), once.len()), (105, 105), "{is_indexed} on {backend:?}");
                let ranks: Vec<i32> = found.iter().map(|(_, rank)| i32::from(*rank)).collect();
                assert!(ranks.is_sorted(), "{ranks:?}");
            }
            let all = names(&calls, "alpha").await;
            assert_eq!(all.len(), 300);
            let prefixes = all[..150].iter().filter(|name| name.starts_with("alpha"));
            assert_eq!(
                prefixes.count(),
                150,
                "those that begin so come first, the newest before"
            );
            server.wait_until_indexed().await;
        }
    }
}

#[tokio::test]
async fn queries_outside_their_rules_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for number in 0..3_u8 {
        calls.save(keyed(&format!("x{number}.csv")), &[number]).await.unwrap();
    }
    for text in [
        "",
        "   ",
        "*",
        "%",
        "\0",
        "-",
        &"x".repeat(513),
        &(0..17).map(|n| format!("w{n} ")).collect::<String>(),
    ] {
        assert_eq!(
            refusal_of(text, calls.search(query(text)).await),
            ErrorReason::QueryInvalid
        );
    }
    let filtered = SearchArtifactsRequest {
        filter: "x".to_owned(),
        ..query("x")
    };
    assert_eq!(
        refusal_of("filter", calls.search(filtered).await),
        ErrorReason::FilterInvalid
    );
    let sized = SearchArtifactsRequest {
        page_size: -1,
        ..query("x")
    };
    assert_eq!(
        refusal_of("page_size", calls.search(sized).await),
        ErrorReason::FieldInvalid
    );
    let first = SearchArtifactsRequest {
        page_size: 1,
        ..query("x")
    };
    let token = calls.search(first.clone()).await.unwrap().next_page_token;
    for other in [
        query("X"),
        SearchArtifactsRequest {
            filter: "size = 1".to_owned(),
            ..query("x")
        },
    ] {
        let other = SearchArtifactsRequest {
            page_token: token.clone(),
            ..other
        };
        assert_eq!(
            refusal_of(other.clone(), calls.search(other).await),
            ErrorReason::PageTokenMismatch
        );
    }
    let masked = SearchArtifactsRequest {
        page_token: token,
        read_mask: Some(prost_types::FieldMask {
            paths: vec!["key".to_owned()],
        }),
        ..first
    };
    let hit = calls.search(masked).await.unwrap().hits.remove(0).artifact.unwrap();
    assert_eq!((hit.key.as_deref(), hit.hash.as_str()), (Some("x1.csv"), ""));
}

#[tokio::test]
async fn there_is_no_search_while_the_index_is_far_behind_the_log() {
    /// Twice as many as a search looks at itself, so that it takes a while to work them off.
    const EVENTS: u32 = 100_000;
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("zebra.csv"), b"z").await.unwrap();
        server.wait_until_indexed().await;
        let numbers = match backend.database {
            Database::Sqlite => {
                format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {EVENTS})")
            }
            Database::Postgres => format!("WITH n AS (SELECT generate_series(1, {EVENTS}) AS n)"),
        };
        let events = format!(
            "INSERT INTO events (position, space_id, principal_id, kind, call_id, detail, at_us) {numbers} \
             SELECT (SELECT max(position) FROM events) + n, 1, 1, 'saved', 'call', '{{}}', 0 FROM n"
        );
        server.database().await.run(&events).await;
        let failure = calls.search(query("zebra")).await.unwrap_err();
        assert_eq!(failure.reason, Some(ErrorReason::SearchIndexBehind), "{backend:?}");
        assert_eq!(failure.status.code(), tonic::Code::Unavailable);
        assert!(failure.says_when_to_retry);
        // Nothing else waits for the index, and the index waits for nothing.
        calls.get(by_key("zebra.csv")).await.unwrap();
        server.wait_until_indexed().await;
        assert_eq!(names(&calls, "zebra").await, ["zebra.csv"]);
    }
}

#[tokio::test]
async fn the_rust_client_searches() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for number in 0..5_u8 {
        client.save(vec![number], format!("zebra/{number}.csv")).await.unwrap();
    }
    let options = artifactd_client::SearchOptions {
        page_size: 2,
        filter: "key != '*0.csv'".to_owned(),
        ..Default::default()
    };
    let hits: Vec<_> = client.search("Zebra", options).try_collect().await.unwrap();
    let keys: Vec<_> = hits.iter().map(|hit| hit.artifact.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["zebra/4.csv", "zebra/3.csv", "zebra/2.csv", "zebra/1.csv"]);
    assert!(
        hits.iter()
            .all(|hit| hit.rank == artifactd_client::domain::search::Rank::Prefix)
    );
}
