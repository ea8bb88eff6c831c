//! Lists and searches: beside lamindb, and among a million beside ten thousand.

use std::{path::Path, time::Duration};

use artifactd_client::{Client, ListOptions, SearchOptions};
use artifactd_domain::search::{Rank, Terms, Texts};
use artifactd_tests::{database::RawDatabase, filled, postgres::Postgres};
use futures::TryStreamExt;

use crate::{
    Wanted,
    cases::{self, Case},
    machine,
    peer::Peer,
    rounds::{Both, time_of},
    server::Server,
    shelf,
};

const ROUNDS: u64 = 200;
const PAGE: usize = 100;
const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;

pub(crate) async fn run(wanted: &Wanted) {
    if wanted.has(&cases::PAGE_LAMINDB) {
        beside_lamindb().await;
    }
    if wanted.has_any(&cases::AMONG_SQLITE) {
        among(wanted, &cases::AMONG_SQLITE, None).await;
    }
    if wanted.has_any(&cases::AMONG_POSTGRES) {
        among(wanted, &cases::AMONG_POSTGRES, Some(Postgres::shared())).await;
    }
}

/// A page of those whose keys begin alike, among 10,000.
async fn beside_lamindb() {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    let client = server.client().await;
    shelf::fill(&client).await;
    let peer = machine::folder();
    let lamindb = Peer::lamindb(peer.path());
    lamindb.call("fill", shelf::ARTIFACTS).await;
    let both = Both::beside(&lamindb, "page", async || {
        time_of(page(&client, "key = 'fill/1*'")).await
    })
    .await;
    cases::PAGE_LAMINDB.report(&both.ours, &both.other);
    server.stop().await;
}

/// The same filters and the same search, whatever else there is.
async fn among(wanted: &Wanted, cases: &[Case; 4], postgres: Option<&Postgres>) {
    let [equal, prefix, percent, search] = cases;
    let folders = [machine::folder(), machine::folder()];
    let is_searched = wanted.has(search);
    let many = holding(folders[0].path(), MANY, is_searched, postgres).await;
    let few = holding(folders[1].path(), FEW, is_searched, postgres).await;
    let clients = [many.client().await, few.client().await];
    for (case, filter) in [
        (equal, "suffix = .h5ad"),
        (prefix, "key = 'hundred/*'"),
        (percent, "key = 'percent/*'"),
    ] {
        if wanted.has(case) {
            let [many, few] = &clients;
            turns(case, || time_of(page(many, filter)), || time_of(page(few, filter))).await;
        }
    }
    if is_searched {
        let [many, few] = &clients;
        turns(search, || time_of(hits(many)), || time_of(hits(few))).await;
    }
    many.stop().await;
    few.stop().await;
}

async fn turns<O: Future<Output = Duration>, P: Future<Output = Duration>>(
    case: &Case,
    ours: impl Fn() -> O,
    other: impl Fn() -> P,
) {
    let mut both = Both::default();
    for number in 0..ROUNDS {
        both.round(number, ours(), other()).await;
    }
    case.report(&both.ours, &both.other);
}

/// A server that holds so many artifacts.
async fn holding(folder: &Path, artifacts: u64, is_searched: bool, postgres: Option<&Postgres>) -> Server {
    let url = match postgres {
        Some(postgres) => Some(postgres.create_database().await),
        None => None,
    };
    let server = Server::start_with(folder, url.as_deref()).await;
    let database = match url {
        Some(url) => RawDatabase::postgres(&url).await,
        None => RawDatabase::sqlite(&folder.join("data/artifactd.sqlite3")),
    };
    filled::fill(&database, artifacts).await;
    if is_searched {
        index(&database).await;
    }
    server
}

/// Fills the index of words, as the server does from its log, which knows nothing of these artifacts.
async fn index(database: &RawDatabase) {
    let texts = database
        .texts("SELECT id, \"key\", COALESCE(description, '') FROM artifacts")
        .await;
    let terms = texts.into_iter().map(|(id, key, description)| {
        let terms = Terms::of(Texts {
            key: Some(&key),
            file_name: None,
            description: Some(&description).filter(|text| !text.is_empty()).map(String::as_str),
        });
        (id, terms.in_space(1))
    });
    let terms: Vec<(i64, String)> = terms.collect();
    match database {
        RawDatabase::Sqlite(database) => {
            let transaction = database.unchecked_transaction().expect("begin");
            let mut insert = transaction
                .prepare("INSERT INTO artifact_terms (rowid, terms) VALUES (?1, ?2)")
                .expect("an index of words");
            for row in &terms {
                insert.execute((row.0, &row.1)).expect("index an artifact");
            }
            drop(insert);
            transaction.commit().expect("commit");
        }
        RawDatabase::Postgres(_) => {
            // One index of everything is made sooner than one that grows.
            database.run("DROP INDEX artifact_terms_terms").await;
            for some in terms.chunks(5_000) {
                let rows = some
                    .iter()
                    .map(|(id, terms)| format!("({id}, array_to_tsvector(string_to_array('{terms}', ' ')))"));
                let rows = rows.collect::<Vec<_>>().join(", ");
                database.run(&format!("INSERT INTO artifact_terms VALUES {rows}")).await;
            }
            let create =
                "CREATE INDEX artifact_terms_terms ON artifact_terms USING gin (terms) WITH (fastupdate = off)";
            database.run(create).await;
            database.run("ANALYZE artifact_terms").await;
        }
    }
}

/// One page of those that match.
async fn page(client: &Client, filter: &str) -> artifactd_client::Result<()> {
    let options = ListOptions {
        page_size: PAGE as u32,
        filter: filter.to_owned(),
        ..ListOptions::default()
    };
    let mut artifacts = Box::pin(client.list(options));
    for _ in 0..PAGE {
        assert!(artifacts.try_next().await?.is_some(), "a page is full");
    }
    Ok(())
}

/// What the search finds: the same hundred on both sides.
async fn hits(client: &Client) -> artifactd_client::Result<()> {
    let options = SearchOptions {
        page_size: 1_000,
        ..SearchOptions::default()
    };
    let hits: Vec<_> = client.search("zebra", options).try_collect().await?;
    assert_eq!(hits.len() as u64, filled::HUNDRED);
    assert!(hits.iter().all(|hit| hit.rank == Rank::Words));
    Ok(())
}
