//! Tickets of tables: for whom, for what and how long they are good, and reads that are cancelled.

use arrow_flight::{
    CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightEndpoint,
    RenewFlightEndpointRequest, Ticket,
};
use artifactd_proto::flight::v1 as flight;
use artifactd_tests::{
    TestServer,
    calls::by_uid,
    content::Random,
    flight::{all_of, numbered, packed, put, put_messages, read_command, refused},
    pb::ErrorReason as R,
    required_env,
};
use prost::Message;
use tonic::{Code, metadata::MetadataValue};

#[tokio::test]
async fn a_ticket_is_used_again_also_after_a_restart_and_never_gives_other_content() {
    let mut server = TestServer::start().await;
    let calls = server.calls();
    let artifact = put(&calls, "t.parquet", 1000).await;
    let ticket = calls.ticket(&all_of(&artifact.uid)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(calls.do_get(ticket.clone()).await.unwrap().rows(), 1000);
    }
    server.stop().await;
    server.start_again().await;
    let calls = server.calls();
    assert_eq!(calls.do_get(ticket.clone()).await.unwrap().rows(), 1000);

    let replace = flight::WriteTable {
        replace: Some(by_uid(&artifact.uid)),
        replace_etag: Some(artifact.etag.clone()),
        ..Default::default()
    };
    let descriptor = FlightDescriptor::new_cmd(packed("WriteTable", &replace));
    let messages = put_messages(descriptor, &[numbered(0..10)]).await;
    let answers = calls.do_put_raw(messages.clone()).await.unwrap();
    let Some(flight::put_answer::Answer::Replaced(replaced)) = answers.last() else {
        panic!("{answers:?}");
    };
    assert!(replaced.changed);
    assert_eq!(replaced.artifact.as_ref().unwrap().n_observations, Some(10));
    assert_eq!(refused(calls.do_put_raw(messages).await).reason, Some(R::EtagMismatch));
    assert_eq!(refused(calls.do_get(ticket).await).reason, Some(R::ContentChanged));

    let ticket = calls.ticket(&all_of(&artifact.uid)).await.unwrap();
    calls.trash(by_uid(&artifact.uid)).await.unwrap();
    assert_eq!(
        refused(calls.do_get(ticket.clone()).await).reason,
        Some(R::ArtifactInTrash)
    );
    calls.destroy(by_uid(&artifact.uid)).await.unwrap();
    assert_eq!(refused(calls.do_get(ticket).await).reason, Some(R::ArtifactNotFound));
    server.assert_clean();
}

#[tokio::test]
async fn a_ticket_that_was_altered_or_made_elsewhere_is_refused() {
    let server = TestServer::start().await;
    let other = TestServer::start().await;
    let calls = server.calls();
    let artifact = put(&calls, "t.parquet", 10).await;
    let foreign = put(&other.calls(), "t.parquet", 10).await;
    let ticket = calls.ticket(&all_of(&artifact.uid)).await.unwrap().ticket;
    let mut tickets = vec![
        Vec::new(),
        b"random bytes".to_vec(),
        packed("ReadArray", &all_of(&artifact.uid)),
        packed(
            "ReadTicket",
            &flight::ReadTicket {
                sealed: "x".repeat(200),
            },
        ),
        other
            .calls()
            .ticket(&all_of(&foreign.uid))
            .await
            .unwrap()
            .ticket
            .to_vec(),
    ];
    let mut random = Random::new(5);
    for _ in 0..60 {
        let mut altered = ticket.to_vec();
        let at = random.below(altered.len());
        altered[at] ^= 1 << random.below(8);
        tickets.push(altered);
        tickets.push(ticket[..random.below(ticket.len())].to_vec());
    }
    for altered in tickets {
        match calls
            .do_get(Ticket {
                ticket: altered.clone().into(),
            })
            .await
        {
            Err(failure) => assert_eq!(failure.reason, Some(R::TicketInvalid), "{altered:?}"),
            // A bit that nobody looks at, as in the name of a host.
            Ok(got) => assert_eq!(got.rows(), 10),
        }
    }
    server.assert_clean();
}

#[tokio::test]
async fn a_ticket_expires_and_can_be_renewed_before() {
    let offset = tempfile::NamedTempFile::new().unwrap();
    let set = |minutes: i64| std::fs::write(offset.path(), format!("{minutes:+}m")).unwrap();
    set(0);
    let server = TestServer::setup()
        .env("LD_PRELOAD", &required_env("ARTIFACTD_TEST_FAKETIME"))
        .env("FAKETIME_TIMESTAMP_FILE", offset.path().to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .start()
        .await;
    let calls = server.calls();
    let artifact = put(&calls, "t.parquet", 10).await;
    let info = calls.flight_info(read_command(&all_of(&artifact.uid))).await.unwrap();
    let endpoint = info.endpoint[0].clone();
    set(10);
    let request = RenewFlightEndpointRequest {
        endpoint: Some(endpoint.clone()),
    };
    let renewed = calls.do_action("RenewFlightEndpoint", &request).await.unwrap();
    let renewed = FlightEndpoint::decode(&renewed[..]).unwrap();
    assert!(renewed.expiration_time.unwrap().seconds > endpoint.expiration_time.unwrap().seconds + 500);
    set(20);
    assert_eq!(
        refused(calls.do_get(endpoint.ticket.clone().unwrap()).await).reason,
        Some(R::TicketExpired)
    );
    assert_eq!(calls.do_get(renewed.ticket.unwrap()).await.unwrap().rows(), 10);
    assert_eq!(
        refused(calls.do_action("RenewFlightEndpoint", &request).await).reason,
        Some(R::TicketExpired)
    );
    server.assert_clean();
}

#[tokio::test]
async fn a_read_is_cancelled_from_elsewhere() {
    const ROWS: i64 = 200_000;
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = put(&calls, "t.parquet", ROWS).await;
    let info = calls.flight_info(read_command(&all_of(&artifact.uid))).await.unwrap();
    let cancel = CancelFlightInfoRequest {
        info: Some(info.clone()),
    };
    let status = |body: Vec<u8>| CancelFlightInfoResult::decode(&body[..]).unwrap().status();
    let nothing_runs = calls.do_action("CancelFlightInfo", &cancel).await.unwrap();
    assert_eq!(status(nothing_runs), CancelStatus::NotCancellable);
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut request = tonic::Request::new(ticket);
    request
        .metadata_mut()
        .insert("artifactd-max-message-bytes", MetadataValue::from_static("65536"));
    let mut reading = calls.flight().do_get(request).await.unwrap().into_inner();
    reading.message().await.unwrap().unwrap();
    assert_eq!(
        status(calls.do_action("CancelFlightInfo", &cancel).await.unwrap()),
        CancelStatus::Cancelled
    );
    let ended = loop {
        match reading.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was read to its end"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Cancelled);
    server.assert_clean();
}
