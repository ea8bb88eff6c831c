//! The Rust client on its way to the server: TLS, keys, what it says of itself, and
//! lines and servers that fail.

use std::time::{Duration, Instant};

use artifactd_client::{Client, Error, Reason, SaveOptions, domain::SaveOutcome};
use artifactd_tests::{
    TestServer,
    impostor::{Goods, Impostor, Reply, busy, refused},
    proxy::{Line, Proxy},
    tls::{Authority, TlsProxy},
};

const KEY: &str = "x.txt";

#[tokio::test]
async fn a_server_behind_tls_is_reached_by_who_trusts_it_and_by_nobody_else() {
    let server = TestServer::start().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let proxy = TlsProxy::start(server.address(), &authority.certify("localhost"), None).await;
    let endpoint = format!("https://localhost:{}", proxy.port());
    let trusting = Client::builder(&endpoint).ca_certificate(&authority.certificate);
    let client = trusting.token("a key").connect().await.unwrap();
    client.save(&b"safe"[..], KEY).await.unwrap();
    assert_eq!(&client.read(KEY).await.unwrap()[..], b"safe");

    // By name, under another address.
    let by_address = format!("https://127.0.0.1:{}", proxy.port());
    let unnamed = Client::builder(&by_address).ca_certificate(&authority.certificate);
    assert!(matches!(unnamed.clone().connect().await, Err(Error::Transport(_))));
    unnamed.server_name("localhost").connect().await.unwrap();

    for refused in [
        Client::builder(&endpoint),
        Client::builder(&endpoint).ca_certificate(&stranger.certificate),
    ] {
        assert!(matches!(refused.connect().await, Err(Error::Transport(_))));
    }
    let in_the_clear = Client::builder(endpoint.replace("https", "http"))
        .tries_max(1)
        .connect_lazy();
    assert!(in_the_clear.unwrap().get(KEY).await.is_err());
    let nonsense = Client::builder(&endpoint)
        .ca_certificate("no certificate")
        .connect()
        .await;
    assert!(nonsense.is_err());
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_takes_only_the_right_one() {
    let server = TestServer::start().await;
    let (servers, clients) = (Authority::new(), Authority::new());
    let proxy = TlsProxy::start(server.address(), &servers.certify("localhost"), Some(&clients)).await;
    let builder = || {
        Client::builder(format!("https://localhost:{}", proxy.port()))
            .ca_certificate(&servers.certificate)
            .tries_max(1)
    };
    let right = clients.certify("client");
    let client = builder()
        .client_certificate(&right.certificate, &right.key)
        .connect()
        .await;
    client.unwrap().save(&b"mutual"[..], KEY).await.unwrap();
    let wrong = servers.certify("client");
    for other in [builder(), builder().client_certificate(&wrong.certificate, &wrong.key)] {
        // TLS 1.3 tells a client that it is refused with the first answer.
        match other.connect().await {
            Ok(client) => assert!(matches!(client.get(KEY).await, Err(Error::Transport(_)))),
            Err(refused) => assert!(matches!(refused, Error::Transport(_))),
        }
    }
}

#[tokio::test]
async fn calls_say_who_makes_them_in_which_space_and_for_which_run() {
    let goods = Goods::file(KEY, &b"x"[..]);
    let impostor = Impostor::start(move |asked| goods.answer(asked)).await;
    let client = Client::builder(impostor.url())
        .token("hunter2")
        .space("cells")
        .user_agent("nightly/3")
        .connect()
        .await
        .unwrap();
    client.read(KEY).await.unwrap();
    let run = client.with_run("b3xkTq0e9VfLr2aW").unwrap();
    run.get(KEY).await.unwrap();
    client.get(KEY).await.unwrap();
    let asked = impostor.take_asked();
    let runs: Vec<&str> = asked.iter().map(|call| call.header("artifactd-run")).collect();
    assert_eq!(runs, ["", "b3xkTq0e9VfLr2aW", ""]);
    for call in &asked {
        assert_eq!(call.header("authorization"), "Bearer hunter2");
        assert_eq!(call.header("artifactd-space"), "cells");
        assert!(call.header("user-agent").starts_with("nightly/3 artifactd-client/"));
    }
    assert!(client.with_run("two words").is_err());
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_space_that_is_not_there_is_not_found() {
    let server = TestServer::start().await;
    let elsewhere = Client::builder(server.url()).space("nowhere").connect().await.unwrap();
    assert_eq!(
        elsewhere.get(KEY).await.unwrap_err().reason(),
        Some(Reason::SpaceNotFound)
    );
    let home = Client::builder(server.url()).space("default").connect().await.unwrap();
    home.save(&b"x"[..], KEY).await.unwrap();
}

#[tokio::test]
async fn a_line_that_breaks_and_comes_back_is_overcome_and_saves_are_made_once() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let client = Client::builder(proxy.through(&server.url())).tries_max(20).connect();
    let client = client.await.unwrap();
    for number in 0..20 {
        let breaking = async {
            proxy.set(Line::Stalled);
            tokio::task::yield_now().await;
            proxy.cut();
            proxy.set(Line::Open);
        };
        let key = format!("{number}.txt");
        let saving = client.save_bytes(format!("{number}"), SaveOptions::key(&key));
        let (saved, ()) = tokio::join!(saving, breaking);
        assert_eq!(saved.unwrap().outcome, SaveOutcome::Created, "{number}");
        assert_eq!(client.versions(&key).await.unwrap().len(), 1);
    }
    assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 20);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_whatever_the_line_does() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let timeout = Duration::from_millis(400);
    let client = Client::builder(proxy.through(&server.url()))
        .call_timeout(timeout)
        .connect();
    let client = client.await.unwrap();
    client.save(&b"x"[..], KEY).await.unwrap();
    proxy.set(Line::Stalled);
    let began = Instant::now();
    let failed = client.get(KEY).await.unwrap_err();
    assert!(
        matches!(failed, Error::TimedOut { .. } | Error::Refused { .. }),
        "{failed}"
    );
    assert!(
        (timeout..timeout * 5).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
}

/// How often a server that always answers so is asked, and for how long.
async fn asked_in_vain(reply: Reply) -> (usize, Duration, Error) {
    let impostor = Impostor::start(move |_| reply.clone()).await;
    let client = Client::builder(impostor.url())
        .tries_max(3)
        .call_timeout(Duration::from_secs(5))
        .connect()
        .await
        .unwrap();
    let began = Instant::now();
    let failed = client.get(KEY).await.unwrap_err();
    (impostor.take_asked().len(), began.elapsed(), failed)
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    for (code, times) in [
        (14, 3),
        (2, 3),
        (13, 3),
        (3, 1),
        (5, 1),
        (7, 1),
        (12, 1),
        (16, 1),
        (4, 1),
        (15, 1),
    ] {
        assert_eq!(asked_in_vain(Reply::status(code)).await.0, times, "status {code}");
    }
    for (code, reason, times) in [
        (14, "STORAGE_UNAVAILABLE", 3),
        (10, "CONFLICT", 3),
        (10, "ETAG_MISMATCH", 1),
        (3, "KEY_INVALID", 1),
        (8, "CONTENT_TOO_LARGE", 1),
        (13, "INTERNAL", 1),
        (9, "A_REASON_OF_TOMORROW", 1),
    ] {
        assert_eq!(asked_in_vain(refused(code, reason)).await.0, times, "{reason}");
    }
}

#[tokio::test]
async fn the_server_says_when_to_come_back_within_reason() {
    let (times, took, _) = asked_in_vain(busy(Duration::from_millis(150))).await;
    assert_eq!(times, 3);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    let (times, took, failed) = asked_in_vain(busy(Duration::from_secs(365 * 24 * 3600))).await;
    assert_eq!((times, failed.reason()), (1, Some(Reason::ServerBusy)));
    assert!(took < Duration::from_secs(1));
}
