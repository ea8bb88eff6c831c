//! What is said of artifacts and what made them: beside lamindb and ml-metadata, and
//! among a million beside ten thousand.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use artifactd_client::{Annotations, Client, ListOptions, messages as pb};
use artifactd_tests::{Calls, content::digest, database::RawDatabase, filled, postgres::Postgres};
use futures::{StreamExt, TryStreamExt};

use crate::{
    Wanted,
    cases::{self, Case},
    machine,
    peer::Peer,
    rounds::{Both, time_of},
    server::Server,
};

const ROUNDS: u64 = 200;
/// For what takes longer.
const FEW_ROUNDS: u64 = 7;
const PAGE: usize = 100;
const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

pub(crate) async fn run(wanted: &Wanted) {
    if wanted.has(&cases::ANNOTATE) {
        annotate().await;
    }
    if wanted.has(&cases::REGISTER) {
        register().await;
    }
    if wanted.has(&cases::VALUE_LAMINDB) || wanted.has(&cases::VALUE_ML_METADATA) {
        beside_peers(wanted).await;
    }
    if wanted.has_any(&cases::VALUES_SQLITE) {
        among(wanted, &cases::VALUES_SQLITE, None).await;
    }
    if wanted.has_any(&cases::VALUES_POSTGRES) {
        among(wanted, &cases::VALUES_POSTGRES, Some(Postgres::shared())).await;
    }
    if wanted.has(&cases::LINEAGE) {
        lineage().await;
    }
}

/// Two values for an artifact that has none.
async fn annotate() {
    let (folder, other) = (machine::folder(), machine::folder());
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    for (name, dtype) in [("temperature", "float"), ("study", "str")] {
        let feature = pb::CreateFeatureRequest {
            name: name.to_owned(),
            dtype: dtype.to_owned(),
            ..Default::default()
        };
        client.create_feature(feature).await.expect("add a feature");
    }
    let mut uids = Vec::new();
    for number in 0..ROUNDS {
        let key = format!("annotated/{number}.bin");
        let saved = client.save(number.to_string().into_bytes(), key).await.expect("save");
        uids.push(saved.artifact.uid);
    }
    let lamindb = Peer::lamindb(other.path());
    lamindb.call("annotatable", ROUNDS).await;
    let mut both = Both::default();
    for (number, uid) in (0..).zip(uids) {
        let annotations = Annotations::new()
            .feature("temperature", 20.5 + number as f64)
            .feature("study", format!("study {number}"));
        let ours = time_of(client.annotate(uid, annotations));
        both.round(number, ours, lamindb.call("annotate", number)).await;
    }
    cases::ANNOTATE.report(&both.ours, &both.other);
    server.stop().await;
}

/// 10,000 artifacts of a content that the server holds, in messages of 500, two of which are a batch.
async fn register() {
    let (folder, other) = (machine::folder(), machine::folder());
    let server = Server::start(folder.path()).await;
    let (client, calls) = (server.client().await, server.calls().await);
    client.save(&b"held"[..], "held.csv").await.expect("save");
    let peer = Peer::ml_metadata(other.path());
    let mut both = Both::default();
    for number in 0..FEW_ROUNDS {
        both.round(number, claim(&calls, number), peer.call("register", number))
            .await;
    }
    cases::REGISTER.report(&both.ours, &both.other);
    server.stop().await;
}

async fn claim(calls: &Calls, number: u64) -> Duration {
    const BATCHES: u64 = 10;
    let sha256 = digest(b"held");
    let began = Instant::now();
    for batch in 0..BATCHES {
        let messages = (0..2).map(|half| pb::BatchSaveRequest {
            items: (0..500)
                .map(|place| pb::BatchSaveItem {
                    header: Some(pb::SaveHeader {
                        key: Some(format!("claims-{number}/{batch}/{half}-{place}.csv")),
                        sha256: Some(sha256.clone()),
                        size: Some(4),
                        claim: true,
                        ..Default::default()
                    }),
                    ..Default::default()
                })
                .collect(),
        });
        let messages = futures::stream::iter(messages.collect::<Vec<_>>());
        let answers = calls
            .artifacts()
            .batch_save(messages)
            .await
            .expect("claim")
            .into_inner();
        let answers: Vec<_> = answers.try_collect().await.expect("claim");
        let made = answers
            .iter()
            .flat_map(|answer| &answer.results)
            .filter(|result| matches!(result.result, Some(pb::batch_save_result::Result::Saved(_))));
        assert_eq!(made.count(), 1_000, "all are held");
    }
    began.elapsed()
}

/// A page of those that have a value, among 10,000.
async fn beside_peers(wanted: &Wanted) {
    let (folder, other) = (machine::folder(), machine::folder());
    let server = holding(folder.path(), FEW, None).await;
    let client = server.client().await;
    for (case, peer) in [
        (&cases::VALUE_LAMINDB, Peer::lamindb as fn(&Path) -> Peer),
        (&cases::VALUE_ML_METADATA, Peer::ml_metadata),
    ] {
        if !wanted.has(case) {
            continue;
        }
        let peer = peer(other.path());
        peer.call("fill", FEW).await;
        let page_of_peer = match case.name == cases::VALUE_LAMINDB.name {
            true => {
                peer.call("valued", FEW).await;
                "page_valued"
            }
            false => "page",
        };
        let ours = async || time_of(page(&client, "features.group = 7")).await;
        let both = Both::beside(&peer, page_of_peer, ours).await;
        case.report(&both.ours, &both.other);
    }
    server.stop().await;
}

/// The same filters, whatever else there is.
async fn among(wanted: &Wanted, cases: &[Case; 3], postgres: Option<&Postgres>) {
    let folders = [machine::folder(), machine::folder()];
    let (mut servers, mut clients) = (Vec::new(), Vec::new());
    for (folder, artifacts) in folders.iter().zip([MANY, FEW]) {
        let url = match postgres {
            Some(postgres) => Some(postgres.create_database().await),
            None => None,
        };
        let server = holding(folder.path(), artifacts, url.as_deref()).await;
        clients.push((server.client().await, artifacts));
        servers.push(server);
    }
    let hundred = |artifacts: u64| format!("features.rank >= {}", artifacts - 100);
    let percent = |artifacts: u64| format!("features.rank >= {}", artifacts - artifacts / 100);
    let equal = |_| "features.group = 7".to_owned();
    let filters: [&dyn Fn(u64) -> String; 3] = [&equal, &hundred, &percent];
    for (case, filter) in cases.iter().zip(filters) {
        if !wanted.has(case) {
            continue;
        }
        let [(many, of_many), (few, of_few)] = &clients[..] else {
            unreachable!("there are two")
        };
        let (of_many, of_few) = (filter(*of_many), filter(*of_few));
        let mut both = Both::default();
        for number in 0..ROUNDS {
            let (ours, other) = (page(many, &of_many), page(few, &of_few));
            both.round(number, time_of(ours), time_of(other)).await;
        }
        case.report(&both.ours, &both.other);
    }
    for server in servers {
        server.stop().await;
    }
}

/// A server that holds so many artifacts with five values each.
async fn holding(folder: &Path, artifacts: u64, url: Option<&str>) -> Server {
    let server = Server::start_with(folder, url).await;
    let database = match url {
        Some(url) => RawDatabase::postgres(url).await,
        None => RawDatabase::sqlite(&folder.join("data/artifactd.sqlite3")),
    };
    filled::fill(&database, artifacts).await;
    filled::fill_values(&database, artifacts).await;
    server
}

/// One page of those that match.
async fn page(client: &Client, filter: &str) -> artifactd_client::Result<()> {
    let options = ListOptions {
        page_size: PAGE as u32,
        filter: filter.to_owned(),
        ..ListOptions::default()
    };
    let artifacts: Vec<_> = client.list(options).take(PAGE).try_collect().await?;
    assert_eq!(artifacts.len(), PAGE, "a page is full");
    Ok(())
}

/// Everything downstream of one artifact: 5,000 artifacts and 4,999 runs in 10 steps.
async fn lineage() {
    const ARTIFACTS: u64 = 5_000;
    let folder = machine::folder();
    let server = holding(folder.path(), FEW, None).await;
    let database = RawDatabase::sqlite(&folder.path().join("data/artifactd.sqlite3"));
    filled::fill_lineage(&database, ARTIFACTS, ARTIFACTS / 10).await;
    let RawDatabase::Sqlite(database) = database else {
        unreachable!("the server is on SQLite")
    };
    let first: String = database
        .query_row("SELECT uid FROM artifacts WHERE id = 1", [], |row| row.get(0))
        .expect("an artifact");
    let client = server.client().await;
    let request = || pb::GetLineageRequest {
        artifacts: vec![pb::ArtifactRef {
            r#ref: Some(pb::artifact_ref::Ref::Uid(first.clone())),
        }],
        direction: pb::LineageDirection::Downstream.into(),
        depth: 11,
        nodes_max: 20_000,
        ..Default::default()
    };
    let mut both = Both::default();
    for number in 0..4 * FEW_ROUNDS {
        let ours = async {
            let (graph, truncated) = client.lineage(request()).await?;
            assert_eq!(graph.artifacts.len() + graph.runs.len() + 1, 2 * ARTIFACTS as usize);
            assert!(!truncated && graph.edges.len() + 2 == 2 * ARTIFACTS as usize);
            artifactd_client::Result::Ok(())
        };
        let by_hand = async { by_hand(&database, ARTIFACTS) };
        both.round(number, time_of(ours), by_hand).await;
    }
    cases::LINEAGE.report(&both.ours, &both.other);
    server.stop().await;
}

/// The same nodes and edges with what the server tells of them, by a query that walks by itself.
fn by_hand(database: &rusqlite::Connection, artifacts: u64) -> Duration {
    const QUERY: &str = "
        WITH RECURSIVE down (artifact_id, run_id, from_id, depth) AS (
            SELECT 1, NULL, NULL, 0
            UNION SELECT made.id, run_inputs.run_id, down.artifact_id, down.depth + 1
            FROM down JOIN run_inputs ON run_inputs.artifact_id = down.artifact_id
            JOIN artifacts AS made ON made.run_id = run_inputs.run_id WHERE down.depth < 11)
        SELECT a.uid, a.\"key\", a.kind, a.version_label, a.visibility, a.size_bytes, a.created_at_us, down.depth,
            r.uid, r.name, r.status, f.uid
        FROM down JOIN artifacts AS a ON a.id = down.artifact_id
        LEFT JOIN runs AS r ON r.id = down.run_id LEFT JOIN artifacts AS f ON f.id = down.from_id";
    let began = Instant::now();
    let mut query = database.prepare_cached(QUERY).expect("a query");
    let mut rows = query.query([]).expect("walk");
    let (mut walked, mut bytes) = (0, 0);
    while let Some(row) = rows.next().expect("walk") {
        walked += 1;
        for column in [0, 1, 8, 9, 11] {
            bytes += row
                .get::<_, Option<String>>(column)
                .expect("a text")
                .map_or(0, |text| text.len());
        }
        for column in [2, 4, 5, 6, 7, 10] {
            bytes += usize::from(row.get::<_, Option<i64>>(column).expect("a number").is_some());
        }
    }
    let took = began.elapsed();
    assert!(walked == artifacts && bytes > 0);
    took
}
