//! A bucket behind a peer that loses answers and is busy at times.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// The store does as asked, and the connection ends without an answer.
    LoseAnswer,
    /// The store is not asked, and the answer is 503.
    Busy,
}

/// Stands between the writer and the store; ends with the test.
struct Peer {
    endpoint: String,
    struck: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// Lets `mishap` happen to the first `times` requests that `concerns` picks by their first line.
    async fn start(server: &Server, mishap: Mishap, times: u64, concerns: fn(&str) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let store = server.address();
        let struck = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&struck);
        let task = tokio::spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (store, counter) = (store.clone(), Arc::clone(&counter));
                calls.spawn(async move {
                    let strikes = |line: &str| {
                        (concerns(line) && counter.fetch_add(1, Ordering::SeqCst) < times).then_some(mishap)
                    };
                    let _ = carry(client, &store, strikes).await;
                });
            }
        });
        Self { endpoint, struck, task }
    }

    fn store(&self, server: &Server, service: Service) -> Store {
        let StorageRoot::Bucket(root) = server.root(service, "lossy") else {
            unreachable!("servers have buckets");
        };
        let origin = format!("http://{}", server.address());
        let endpoint = root.endpoint.map(|endpoint| endpoint.replace(&origin, &self.endpoint));
        Store::open(&StorageRoot::Bucket(BucketRoot { endpoint, ..root })).unwrap()
    }
}

/// Carries one request to the store and its answer back.
async fn carry(mut client: TcpStream, store: &str, strikes: impl Fn(&str) -> Option<Mishap>) -> io::Result<()> {
    let (head, body) = read_request(&mut client).await?;
    let (line, fields) = head.split_once("\r\n").expect("a head has lines");
    let mishap = strikes(line);
    if mishap == Some(Mishap::Busy) {
        let busy = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(busy).await;
    }
    let mut upstream = TcpStream::connect(store).await?;
    upstream
        .write_all(format!("{line}\r\nconnection: close\r\n{fields}").as_bytes())
        .await?;
    upstream.write_all(&body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    match mishap {
        None => client.write_all(&answer).await,
        Some(_) => Ok(()),
    }
}

pub(super) async fn read_request(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut head, mut body) = (Vec::new(), Vec::new());
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, length)| length.trim().parse().expect("a length is a number"));
    client.take(length).read_to_end(&mut body).await?;
    Ok((head, body))
}

fn is_completion(line: &str) -> bool {
    line.starts_with("POST") && line.contains("uploadId=") || line.contains("comp=blocklist")
}

fn is_write(line: &str) -> bool {
    line.starts_with("PUT") || line.starts_with("POST")
}

/// Every service, each with the server that stands for it.
fn services() -> [(Service, Server); 3] {
    Service::ALL.map(|service| match service {
        Service::Azure => (service, Server::azurite()),
        Service::S3 | Service::Google => (service, Server::moto()),
    })
}

#[tokio::test]
async fn answers_that_are_lost_and_busy_stores_change_nothing() {
    for (service, server) in services() {
        a_completion_whose_answer_is_lost_is_decided_by_what_the_store_shows(service, &server).await;
        a_put_whose_answer_is_lost_is_one_object(service, &server).await;
        a_busy_store_is_asked_again(service, &server).await;
    }
}

async fn a_completion_whose_answer_is_lost_is_decided_by_what_the_store_shows(service: Service, server: &Server) {
    let peer = Peer::start(server, Mishap::LoseAnswer, 1, is_completion).await;
    let store = peer.store(server, service);
    let (name, content) = (fresh_name(), content(20 * MIB));
    write(&store, &name, &content, MIB).await.unwrap();
    assert!(peer.struck.load(Ordering::SeqCst) > 0);
    assert_eq!(stored(&store, &name).await.unwrap(), content);
    assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
    store.writer.delete(&name).await.unwrap();
}

async fn a_put_whose_answer_is_lost_is_one_object(service: Service, server: &Server) {
    let peer = Peer::start(server, Mishap::LoseAnswer, 1, is_write).await;
    let store = peer.store(server, service);
    let (name, content) = (fresh_name(), content(MIB));
    write(&store, &name, &content, MIB).await.unwrap();
    assert!(peer.struck.load(Ordering::SeqCst) > 0);
    assert_eq!(stored(&store, &name).await.unwrap(), content);
    assert_eq!(store.writer.list_objects().try_concat().await.unwrap().len(), 1);
}

async fn a_busy_store_is_asked_again(service: Service, server: &Server) {
    for size in [1, 9 * MIB] {
        let peer = Peer::start(server, Mishap::Busy, 2, is_write).await;
        let store = peer.store(server, service);
        let (name, content) = (fresh_name(), content(size));
        write(&store, &name, &content, MIB).await.unwrap();
        assert!(peer.struck.load(Ordering::SeqCst) > 2);
        assert_eq!(stored(&store, &name).await.unwrap(), content);
    }
}

#[tokio::test]
async fn open_uploads_are_listed_and_forgotten_when_their_caller_hangs_up() {
    let moto = Server::moto();
    let store = Store::open(&moto.root(Service::S3, "hung-up")).unwrap();
    let mut begun = Vec::new();
    for name in [fresh_name(), fresh_name()] {
        let mut object = store.writer.begin(name.clone());
        object.put_part(content(9 * MIB)).await.unwrap();
        begun.push((name.to_string(), object));
    }
    let mut listed: Vec<_> = store.writer.list_unfinished().await.unwrap();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    begun.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(
        listed
            .iter()
            .map(|open| &open.name)
            .eq(begun.iter().map(|(name, _)| name))
    );
    // The id belongs to the name: the other upload goes on without the aborted one.
    store.writer.abort_unfinished(&listed[0]).await.unwrap();
    assert_eq!(store.writer.list_unfinished().await.unwrap().len(), 1);
    let (_, aborted) = begun.remove(0);
    assert!(aborted.finish().await.is_err());
    drop(begun);
    let forgotten = async {
        while !store.writer.list_unfinished().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), forgotten)
        .await
        .expect("the upload is aborted");
}
