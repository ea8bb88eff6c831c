//! Lists among many artifacts: what they find, and that they search indexes for it.

use artifactd_tests::{
    Backend, Database, TestServer,
    filled::{HUNDRED, fill},
    pb::{CountArtifactsRequest, ListArtifactsRequest},
};

const ARTIFACTS: u64 = 30_000;

/// Filters, and how many artifacts match.
const FILTERS: [(&str, u64); 12] = [
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
];

#[tokio::test]
async fn lists_among_many_are_whole_and_search_indexes() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        let database = server.database().await;
        fill(&database, ARTIFACTS).await;
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
            for order_by in ["", "key", "size desc", "updated_at"] {
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
        // PostgreSQL counts when sessions end.
        server.stop().await;
        assert_eq!(
            scanned(&server).await,
            before,
            "no list reads the table from end to end"
        );
    }
}

/// How many rows were read by going through the table of artifacts from its beginning;
/// SQLite is asked for its plans in the server's own tests.
async fn scanned(server: &TestServer) -> i64 {
    match server.backend().database {
        Database::Sqlite => 0,
        Database::Postgres => {
            let sql = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'artifacts'";
            server.query_integer(sql).await
        }
    }
}
