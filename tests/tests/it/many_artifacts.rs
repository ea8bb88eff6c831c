//! Lists among many artifacts: what they find, and that they search indexes for it.

use artifactd_tests::{
    Backend, Calls, Database, TestServer,
    database::RawDatabase,
    filled::{HUNDRED, fill},
    pb::{CountArtifactsRequest, ListArtifactsRequest, SearchArtifactsRequest},
    records::feature,
};

const ARTIFACTS: u64 = 30_000;

/// Filters, and how many artifacts match.
const FILTERS: [(&str, u64); 19] = [
    ("", ARTIFACTS),
    ("key = 'hundred/*'", HUNDRED),
    ("key = 'percent/*'", ARTIFACTS / 100),
    ("key = 'percent/*' AND is_latest = true", ARTIFACTS / 100),
    ("key = 'bulk-*' AND suffix = .h5ad", ARTIFACTS / 100),
    ("suffix = .h5ad", ARTIFACTS / 100),
    ("size > 100 AND size <= 600", 500),
    ("size < 29000 AND created_at < 2023-11-14T23:00:00Z", 2_799),
    ("description = '*zebra*'", HUNDRED),
    ("-description:*", ARTIFACTS / 2),
    ("NOT suffix = .csv AND key = 'bulk-1*'", 36),
    ("version_number > 1", 0),
    // Values, which lie in tables of their own.
    ("features.percent = 7", ARTIFACTS / 100),
    ("features.percent = 7 AND suffix = .csv AND size <= 1000", 10),
    ("features.percent < 50 AND size <= 1000", 500),
    ("features.rank > 29900", 100),
    ("features.percent = 7 OR features.rank = 8", ARTIFACTS / 100 + 1),
    ("-features.rank:*", 0),
    ("features.rank = 123456789", 0),
];

/// Gives every artifact two values.
async fn annotate(calls: &Calls, database: &RawDatabase) {
    for (name, value) in [("percent", "size_bytes % 100"), ("rank", "size_bytes")] {
        calls.create_feature(feature(name, "int")).await.unwrap();
        let sql = format!(
            "{} INSERT INTO feature_values (artifact_id, feature_id, int_value, is_item, artifact_at_us) \
             SELECT artifacts.id, features.id, {value}, FALSE, artifacts.created_at_us FROM artifacts \
             JOIN features ON features.name = '{name}' ORDER BY artifacts.id",
            unscanned(database)
        );
        database.run(&sql).await;
    }
}

#[tokio::test]
async fn lists_among_many_are_whole_and_search_indexes() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        let database = server.database().await;
        fill(&database, ARTIFACTS).await;
        annotate(&server.calls(), &database).await;
        let before = scanned(&server).await;
        let calls = server.calls();
        for (filter, matching) in FILTERS {
            let count = CountArtifactsRequest {
                filter: filter.to_owned(),
                ..Default::default()
            };
            assert_eq!(
                calls.count(count).await.unwrap().count as u64,
                matching,
                "{filter:?} on {backend:?}"
            );
            let orders: &[&str] = match filter.contains("features") {
                // Which order it is changes nothing in what is asked of the values.
                true => &["size desc"],
                false => &["", "key", "size desc", "updated_at"],
            };
            for &order_by in orders {
                let mut request = ListArtifactsRequest {
                    page_size: 1000,
                    filter: filter.to_owned(),
                    order_by: order_by.to_owned(),
                    read_mask: Some(prost_types::FieldMask {
                        paths: vec!["uid".to_owned()],
                    }),
                    ..Default::default()
                };
                if matching > 1000 {
                    // What matters is not that there are many pages.
                    let first = calls.list(request.clone()).await.unwrap();
                    assert_eq!(first.artifacts.len(), 1000, "{filter:?} by {order_by:?} on {backend:?}");
                    request.page_token = first.next_page_token;
                    assert_eq!(calls.list(request).await.unwrap().artifacts.len(), 1000);
                    continue;
                }
                let found = calls.list_all(request).await.unwrap();
                assert_eq!(
                    found.len() as u64,
                    matching,
                    "{filter:?} by {order_by:?} on {backend:?}"
                );
            }
        }
        // By words: one in so many artifacts, among them all that are about a zebra.
        log_saves(&database, 15).await;
        for is_indexed in [false, true] {
            let request = SearchArtifactsRequest {
                query: "zebra".to_owned(),
                page_size: 1000,
                filter: "key = 'hundred/*'".to_owned(),
                ..Default::default()
            };
            let hits = calls.search_all(request).await.unwrap();
            assert_eq!(hits.len() as u64, HUNDRED, "{is_indexed} on {backend:?}");
            while !is_worked_off(&database).await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        // PostgreSQL counts when sessions end.
        server.stop().await;
        assert_eq!(
            scanned(&server).await,
            before,
            "no list reads the table from end to end"
        );
    }
}

/// Says in the log that one in so many artifacts was saved.
async fn log_saves(database: &RawDatabase, every: u64) {
    let sql = format!(
        "{} INSERT INTO events (position, space_id, principal_id, kind, artifact_uid, call_id, detail, at_us) \
         SELECT row_number() OVER (ORDER BY id) + (SELECT COALESCE(max(position), 0) FROM events), 1, 1, 'saved', uid, \
         'call', '{{}}', created_at_us FROM artifacts WHERE id % {every} = 0",
        unscanned(database)
    );
    database.run(&sql).await;
}

/// What a statement of the test begins with that reads artifacts by their ids. Its session
/// tells at any later time what it scanned, and that is not what the server scans.
fn unscanned(database: &RawDatabase) -> &'static str {
    match database {
        RawDatabase::Sqlite(_) => "",
        RawDatabase::Postgres(_) => "SET enable_seqscan = off;",
    }
}

/// Whether the index of words has the whole log; looked up in the log's index.
async fn is_worked_off(database: &RawDatabase) -> bool {
    let behind = "SELECT (SELECT max(position) FROM events) - (SELECT position FROM search_progress)";
    database.integer(behind).await == 0
}

/// How many rows were read by going through a table from its beginning;
/// SQLite is asked for its plans in the server's own tests.
async fn scanned(server: &TestServer) -> i64 {
    match server.backend().database {
        Database::Sqlite => 0,
        Database::Postgres => {
            let sql = "SELECT sum(seq_tup_read)::BIGINT FROM pg_stat_user_tables \
                       WHERE relname IN ('artifacts', 'feature_values', 'events', 'artifact_terms')";
            server.query_integer(sql).await
        }
    }
}
