//! Lists and searches: beside lamindb, and among a million beside ten thousand.

use std::{path::Path, time::Duration};

use artifactd_client::{Client, ListOptions, SearchOptions};
use artifactd_domain::search::{Rank, Terms, Texts};
use artifactd_tests::{database::RawDatabase, filled};
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
    if wanted.has_any(cases::AMONG) {
        among(wanted).await;
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
    let mut both = Both::default();
    for number in 0..ROUNDS {
        let ours = time_of(page(&client, "key = 'fill/1*'"));
        both.round(number, ours, lamindb.call("page", number)).await;
    }
    cases::PAGE_LAMINDB.report(&both.ours, &both.other);
    server.stop().await;
}

/// The same filters and the same search, whatever else there is.
async fn among(wanted: &Wanted) {
    let folders = [machine::folder(), machine::folder()];
    let many = holding(folders[0].path(), MANY, wanted).await;
    let few = holding(folders[1].path(), FEW, wanted).await;
    let clients = [many.client().await, few.client().await];
    for (case, filter) in [
        (&cases::AMONG_EQUAL, "suffix = .h5ad"),
        (&cases::AMONG_PREFIX, "key = 'hundred/*'"),
        (&cases::AMONG_PERCENT, "key = 'percent/*'"),
    ] {
        if wanted.has(case) {
            let [many, few] = &clients;
            turns(case, || time_of(page(many, filter)), || time_of(page(few, filter))).await;
        }
    }
    if wanted.has(&cases::AMONG_SEARCH) {
        let [many, few] = &clients;
        turns(&cases::AMONG_SEARCH, || time_of(hits(many)), || time_of(hits(few))).await;
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
async fn holding(folder: &Path, artifacts: u64, wanted: &Wanted) -> Server {
    let server = Server::start(folder).await;
    let database = RawDatabase::sqlite(&folder.join("data/artifactd.sqlite3"));
    filled::fill(&database, artifacts).await;
    if wanted.has(&cases::AMONG_SEARCH) {
        index(&database);
    }
    server
}

/// Fills the index of words, as the server does from its log, which knows nothing of these artifacts.
fn index(database: &RawDatabase) {
    let RawDatabase::Sqlite(database) = database else {
        unreachable!("the server is on SQLite")
    };
    let transaction = database.unchecked_transaction().expect("begin");
    {
        let mut insert = transaction
            .prepare("INSERT INTO artifact_terms (rowid, terms) VALUES (?1, ?2)")
            .expect("an index of words");
        let mut select = transaction
            .prepare("SELECT id, \"key\", description FROM artifacts")
            .expect("artifacts");
        let mut rows = select.query([]).expect("read the artifacts");
        while let Some(row) = rows.next().expect("read an artifact") {
            let read = |column| row.get::<_, Option<String>>(column).expect("a text");
            let (key, description) = (read(1), read(2));
            let terms = Terms::of(Texts {
                key: key.as_deref(),
                file_name: None,
                description: description.as_deref(),
            });
            let id: i64 = row.get(0).expect("an id");
            insert.execute((id, terms.in_space(1))).expect("index an artifact");
        }
    }
    transaction.commit().expect("commit");
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
