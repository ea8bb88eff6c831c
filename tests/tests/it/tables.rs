//! Tables over Arrow Flight: what is asked for comes, and comes again.

use arrow_flight::{
    CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Empty, FlightDescriptor, FlightEndpoint,
    HandshakeRequest, RenewFlightEndpointRequest, Ticket,
};
use artifactd_proto::flight::v1::{self as flight, RowRange};
use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed},
    content::Random,
    failure::Failure,
    flight::{numbered, packed, read_command, refused},
    pb::{self, ErrorReason as R},
    python, required_env,
};
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, metadata::MetadataMap, metadata::MetadataValue};

const ROWS: i64 = 200_000;

fn write(key: &str) -> flight::WriteTable {
    flight::WriteTable {
        save: Some(keyed(key)),
        ..Default::default()
    }
}

fn all_of(uid: &str) -> flight::ReadArray {
    flight::ReadArray {
        artifact: Some(by_uid(uid)),
        ..Default::default()
    }
}

async fn put(calls: &Calls, key: &str, rows: i64) -> pb::Artifact {
    let saved = calls.do_put(&write(key), &[numbered(0..rows)]).await.unwrap();
    saved.artifact.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_tables_are_the_same_to_pyarrow_pandas_and_polars() {
    for (backend, seed, tables) in [(Backend::EMBEDDED, "1", "4"), (Backend::CLUSTER, "2", "1")] {
        let server = TestServer::on(backend).await;
        let out = python::run("tables.py", &[&server.address().to_string(), seed, tables]);
        assert!(out.contains("are the same"), "{backend:?}:\n{out}");
        server.assert_clean();
    }
}

#[tokio::test]
async fn every_way_of_saving_looks_into_the_content() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let table = |rows: i64| {
            let mut text = String::from("id,name\n");
            for row in 0..rows {
                text += &format!("{row},n{row}\n");
            }
            text.into_bytes()
        };
        let is_table = |artifact: &pb::Artifact, rows: i64| {
            assert_eq!(artifact.accessor(), pb::Accessor::DataFrame, "{artifact:?}");
            assert_eq!(artifact.n_observations, Some(rows));
        };
        let small = calls
            .save_small(keyed("small.csv"), &table(3))
            .await
            .unwrap()
            .artifact
            .unwrap();
        is_table(&small, 3);
        let streamed = calls
            .save(keyed("streamed.csv"), &table(100_000))
            .await
            .unwrap()
            .artifact
            .unwrap();
        is_table(&streamed, 100_000);
        let batch = vec![
            (keyed("b/1.csv"), table(1)),
            (keyed("b/2.csv"), table(2)),
            (keyed("b/3.txt"), table(1)),
        ];
        let saved = calls.save_batch(batch).await.unwrap();
        let saved: Vec<_> = saved
            .into_iter()
            .map(|saved| saved.unwrap().artifact.unwrap())
            .collect();
        is_table(&saved[0], 1);
        is_table(&saved[1], 2);
        assert_eq!(
            (saved[2].accessor(), saved[2].n_observations),
            (pb::Accessor::Unspecified, None)
        );
        let claim = pb::SaveHeader {
            claim: true,
            sha256: Some(streamed.hash.clone()),
            ..keyed("claimed.csv")
        };
        let claimed = calls.save_small(claim.clone(), b"").await.unwrap().artifact.unwrap();
        is_table(&claimed, 100_000);
        let as_text = pb::SaveHeader {
            key: Some("claimed.txt".to_owned()),
            ..claim
        };
        let as_text = calls.save_small(as_text, b"").await.unwrap().artifact.unwrap();
        assert_eq!(as_text.accessor(), pb::Accessor::Unspecified);
        let header = pb::ReplaceHeader {
            artifact: Some(by_uid(&small.uid)),
            ..Default::default()
        };
        let replaced = calls
            .replace(header.clone(), &table(7))
            .await
            .unwrap()
            .artifact
            .unwrap();
        is_table(&replaced, 7);
        assert_eq!(calls.read_table(&all_of(&small.uid)).await.unwrap().rows(), 7);
        let broken = calls.replace(header, b"a,b\n1\n").await.unwrap().artifact.unwrap();
        assert_eq!(
            (broken.accessor(), broken.n_observations),
            (pb::Accessor::Unspecified, None)
        );
        // What was found is there again after a restart, and in lists.
        let listed = calls.list(pb::ListArtifactsRequest::default()).await.unwrap().artifacts;
        is_table(
            listed.iter().find(|artifact| artifact.uid == streamed.uid).unwrap(),
            100_000,
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn content_that_is_not_what_its_sender_expects_is_not_saved() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let expecting = |key: &str| pb::SaveHeader {
        expect_accessor: pb::Accessor::DataFrame.into(),
        ..keyed(key)
    };
    for (key, content) in [
        ("a.parquet", &b"<html>no table</html>"[..]),
        ("a.csv", b"a,b\n1\n"),
        ("a.txt", b"a,b\n1,2\n"),
        ("a.csv", b""),
    ] {
        for failure in [
            refused(calls.save_small(expecting(key), content).await),
            refused(calls.save(expecting(key), content).await),
            calls
                .save_batch(vec![(expecting(key), content.to_vec())])
                .await
                .unwrap()
                .remove(0)
                .unwrap_err(),
        ] {
            assert_eq!(failure.reason, Some(R::AccessorMismatch), "{key}: {failure:?}");
        }
        assert_eq!(refused(calls.get(by_key(key)).await).reason, Some(R::ArtifactNotFound));
    }
    calls.save_small(expecting("b.csv"), b"a,b\n1,2\n").await.unwrap();
    // A lie is saved where nobody expects anything, and cannot be opened.
    let lie = calls
        .save_small(keyed("lie.parquet"), b"<html></html>")
        .await
        .unwrap()
        .artifact
        .unwrap();
    assert_eq!(lie.accessor(), pb::Accessor::Unspecified);
    let failure = refused(calls.flight_info(read_command(&all_of(&lie.uid))).await);
    assert_eq!(failure.reason, Some(R::TableMalformed));
    let text = calls
        .save_small(keyed("a.txt"), b"a,b\n")
        .await
        .unwrap()
        .artifact
        .unwrap();
    let failure = refused(calls.flight_info(read_command(&all_of(&text.uid))).await);
    assert_eq!(failure.reason, Some(R::NotATable));
    server.assert_clean();
}

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
    let messages = artifactd_tests::flight::put_messages(descriptor, &[numbered(0..10)]).await;
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

/// Headers that say where a stream goes on.
fn resuming(last: &flight::BatchInfo) -> MetadataMap {
    let mut headers = MetadataMap::new();
    headers.insert_bin("artifactd-resume-bin", MetadataValue::from_bytes(&last.encode_to_vec()));
    headers
}

#[tokio::test]
async fn a_stream_goes_on_behind_any_batch_without_what_lies_before() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for key in ["t.parquet", "t.arrow", "t.arrows"] {
        let artifact = put(&calls, key, ROWS).await;
        for read in [
            all_of(&artifact.uid),
            flight::ReadArray {
                filter: "half > 1000".to_owned(),
                limit: Some(100_000),
                ..all_of(&artifact.uid)
            },
            flight::ReadArray {
                rows: vec![
                    RowRange {
                        start: 5,
                        end: Some(70_000),
                    },
                    RowRange {
                        start: 150_000,
                        end: None,
                    },
                ],
                ..all_of(&artifact.uid)
            },
        ] {
            let ticket = calls.ticket(&read).await.unwrap();
            let mut small = MetadataMap::new();
            small.insert("artifactd-max-message-bytes", MetadataValue::from_static("300000"));
            let whole = calls.do_get_with(ticket.clone(), small.clone()).await.unwrap();
            assert!(whole.largest_message <= 300_000 && whole.batches.len() > 5, "{key}");
            let ids = whole.integers("id");
            let mut before = 0;
            let mut random = Random::new(7);
            for (number, info) in whole.infos.iter().enumerate() {
                before += whole.batches[number].num_rows();
                assert_eq!(info.rows, before as i64, "{key}");
                if random.below(4) > 0 {
                    continue;
                }
                let mut headers = resuming(info);
                headers.insert("artifactd-max-message-bytes", MetadataValue::from_static("300000"));
                let rest = calls.do_get_with(ticket.clone(), headers).await.unwrap();
                assert_eq!(
                    rest.integers("id"),
                    ids[before..],
                    "{key} behind batch {number} of {read:?}"
                );
                assert_eq!(
                    rest.infos.last().map_or(before as i64, |last| last.rows),
                    ids.len() as i64
                );
            }
            let last = calls
                .do_get_with(ticket, resuming(whole.infos.last().unwrap()))
                .await
                .unwrap();
            assert_eq!(last.rows(), 0);
            if read.filter.is_empty() && read.rows.is_empty() {
                assert!(
                    last.cost.0 * 3 < whole.cost.0,
                    "{key}: {:?} of {:?}",
                    last.cost,
                    whole.cost
                );
            }
        }
    }
    server.assert_clean();
}

#[tokio::test]
async fn what_does_not_fit_a_table_is_refused_with_its_field() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = put(&calls, "t.parquet", 1000).await;
    let all = || all_of(&artifact.uid);
    let range = |start, end| vec![RowRange { start, end }];
    let deep = "(".repeat(10_000) + "id = 1";
    for (read, reason, field) in [
        (
            flight::ReadArray {
                columns: vec!["none".into()],
                ..all()
            },
            R::FieldInvalid,
            "columns",
        ),
        (
            flight::ReadArray {
                columns: vec!["id".into(), "id".into()],
                ..all()
            },
            R::FieldInvalid,
            "columns",
        ),
        (
            flight::ReadArray {
                columns: vec!["x".into(); 100_000],
                ..all()
            },
            R::FieldInvalid,
            "",
        ),
        (
            flight::ReadArray {
                rows: range(-1, None),
                ..all()
            },
            R::FieldInvalid,
            "rows",
        ),
        (
            flight::ReadArray {
                rows: range(7, Some(3)),
                ..all()
            },
            R::FieldInvalid,
            "rows",
        ),
        (
            flight::ReadArray {
                rows: range(0, Some(1001)),
                ..all()
            },
            R::RangeInvalid,
            "",
        ),
        (
            flight::ReadArray {
                rows: range(1001, None),
                ..all()
            },
            R::RangeInvalid,
            "",
        ),
        (
            flight::ReadArray {
                row_ids: vec![1000],
                ..all()
            },
            R::RangeInvalid,
            "",
        ),
        (
            flight::ReadArray {
                row_ids: vec![-5],
                ..all()
            },
            R::FieldInvalid,
            "row_ids",
        ),
        (
            flight::ReadArray {
                row_ids: vec![1; 100_001],
                ..all()
            },
            R::FieldInvalid,
            "",
        ),
        (
            flight::ReadArray {
                row_ids: vec![1],
                rows: range(0, None),
                ..all()
            },
            R::FieldInvalid,
            "row_ids",
        ),
        (
            flight::ReadArray {
                limit: Some(-1),
                ..all()
            },
            R::FieldInvalid,
            "limit",
        ),
        (
            flight::ReadArray {
                max_endpoints: -1,
                ..all()
            },
            R::FieldInvalid,
            "max_endpoints",
        ),
        (
            flight::ReadArray {
                filter: "id = \"x\"".into(),
                ..all()
            },
            R::FieldInvalid,
            "filter",
        ),
        (
            flight::ReadArray {
                filter: "none = 1".into(),
                ..all()
            },
            R::FieldInvalid,
            "filter",
        ),
        (
            flight::ReadArray {
                filter: "id >".into(),
                ..all()
            },
            R::FieldInvalid,
            "filter",
        ),
        (flight::ReadArray { filter: deep, ..all() }, R::FieldInvalid, "filter"),
        (
            flight::ReadArray {
                element: vec!["x".into()],
                ..all()
            },
            R::ElementNotFound,
            "",
        ),
        (
            flight::ReadArray {
                if_match: Some("\"other\"".into()),
                ..all()
            },
            R::ContentChanged,
            "",
        ),
        (
            flight::ReadArray {
                artifact: None,
                ..all()
            },
            R::FieldRequired,
            "artifact",
        ),
        (
            flight::ReadArray {
                artifact: Some(by_key("nothing.csv")),
                ..all()
            },
            R::ArtifactNotFound,
            "",
        ),
    ] {
        let failure = refused(calls.flight_info(read_command(&read)).await);
        assert_eq!(failure.reason, Some(reason), "{failure:?}");
        assert!(field.is_empty() || failure.fields == [field], "{failure:?}");
    }
    let path = |segments: &[&str]| FlightDescriptor::new_path(segments.iter().map(ToString::to_string).collect());
    for (descriptor, code) in [
        (FlightDescriptor::default(), Code::InvalidArgument),
        (path(&[]), Code::InvalidArgument),
        (path(&["../../etc/passwd"]), Code::InvalidArgument),
        (path(&["t.parquet", "..", "x"]), Code::NotFound),
        (path(&[&"x".repeat(1 << 20)]), Code::InvalidArgument),
        (FlightDescriptor::new_cmd(Vec::new()), Code::InvalidArgument),
        (FlightDescriptor::new_cmd(b"SELECT 1".to_vec()), Code::InvalidArgument),
        (
            FlightDescriptor::new_cmd(packed("ReadTicket", &flight::ReadTicket::default())),
            Code::InvalidArgument,
        ),
    ] {
        let failure = refused(calls.flight_info(descriptor.clone()).await);
        assert_eq!(failure.status.code(), code, "{failure:?}");
        assert_eq!(
            refused(calls.flight_schema(descriptor.clone()).await).status.code(),
            code
        );
        let polled = calls.flight().poll_flight_info(descriptor).await.unwrap_err();
        assert_eq!(polled.code(), code);
    }
    // The last row and nothing are no mistakes.
    let got = calls
        .read_table(&flight::ReadArray {
            rows: range(999, Some(1000)),
            ..all()
        })
        .await
        .unwrap();
    assert_eq!(got.integers("id"), [999]);
    for rows in [range(1000, None), range(5, Some(5))] {
        assert_eq!(
            calls
                .read_table(&flight::ReadArray { rows, ..all() })
                .await
                .unwrap()
                .rows(),
            0
        );
    }
    let ticket = calls.ticket(&all()).await.unwrap();
    for (name, value) in [
        ("artifactd-max-message-bytes", "much"),
        ("artifactd-max-message-bytes", "-5"),
    ] {
        let mut headers = MetadataMap::new();
        headers.insert(name, value.parse().unwrap());
        let failure = refused(calls.do_get_with(ticket.clone(), headers).await);
        assert_eq!(failure.fields, [name]);
    }
    let mut headers = MetadataMap::new();
    headers.insert_bin("artifactd-resume-bin", MetadataValue::from_bytes(&[0xff; 9]));
    assert_eq!(
        refused(calls.do_get_with(ticket, headers).await).fields,
        ["artifactd-resume-bin"]
    );
    server.assert_clean();
}

#[tokio::test]
async fn the_calls_that_there_are_say_so_and_the_others_say_that_they_are_not() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let mut service = calls.flight();
    let actions = service.list_actions(Empty {}).await.unwrap().into_inner();
    let actions: Vec<_> = actions.map_ok(|action| action.r#type).try_collect().await.unwrap();
    assert_eq!(actions, ["CancelFlightInfo", "RenewFlightEndpoint"]);
    let handshake = service
        .handshake(futures::stream::iter([HandshakeRequest::default()]))
        .await
        .unwrap_err();
    assert_eq!(handshake.code(), Code::Unimplemented);
    let exchange = service.do_exchange(futures::stream::empty()).await.unwrap_err();
    assert_eq!(exchange.code(), Code::Unimplemented);
    let failure = refused(calls.do_action("Nothing", &Empty {}).await);
    assert_eq!(
        (failure.reason, failure.status.code()),
        (Some(R::MethodUnknown), Code::Unimplemented)
    );
    let failure = refused(
        calls
            .do_action("RenewFlightEndpoint", &RenewFlightEndpointRequest::default())
            .await,
    );
    assert_eq!(failure.reason, Some(R::TicketInvalid));
    server.assert_clean();
}

#[tokio::test]
async fn damage_that_a_decoder_meets_is_told_as_damage() {
    for key in ["t.parquet", "t.arrow", "t.csv"] {
        let server = TestServer::start().await;
        let calls = server.calls();
        if key == "t.csv" {
            let rows = (0..ROWS).map(|row| format!("{row},word {row}\n"));
            let text = format!("id,word\n{}", rows.collect::<String>());
            calls.save(keyed(key), text.as_bytes()).await.unwrap();
        } else {
            put(&calls, key, ROWS).await;
        }
        let read = flight::ReadArray {
            artifact: Some(by_key(key)),
            ..Default::default()
        };
        let ticket = calls.ticket(&read).await.unwrap();
        server.overwrite_only_object(|stored| {
            let middle = stored.len() / 2;
            stored[middle] ^= 1;
        });
        let failure = refused(calls.do_get(ticket).await);
        assert_eq!(failure.reason, Some(R::ContentCorrupt), "{key}: {failure:?}");
    }
}

#[tokio::test]
async fn a_read_is_cancelled_from_elsewhere() {
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

#[tokio::test]
async fn tables_are_listed_without_a_look_at_their_content() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let listed = |criteria: &'static str| {
            let mut service = calls.flight();
            async move {
                let criteria = arrow_flight::Criteria {
                    expression: criteria.into(),
                };
                let infos = service.list_flights(criteria).await?.into_inner();
                infos.try_collect::<Vec<_>>().await
            }
        };
        assert!(listed("").await.unwrap().is_empty());
        let large = put(&calls, "large.parquet", 1_000).await;
        let many = (0..250).map(|number| (keyed(&format!("t/{number}.csv")), format!("n\n{number}\n").into_bytes()));
        assert!(
            calls
                .save_batch(many.collect())
                .await
                .unwrap()
                .iter()
                .all(Result::is_ok)
        );
        calls.save_small(keyed("none.txt"), b"no table").await.unwrap();
        let all = listed("").await.unwrap();
        assert_eq!(all.len(), 251, "{backend:?}");
        assert_eq!(all.last().unwrap().total_records, 1_000);
        assert_eq!(listed("key = 't/1*'").await.unwrap().len(), 111);
        let found = listed("n_observations > 1").await.unwrap();
        assert_eq!(found.len(), 1);
        let described = calls.flight_info(read_command(&all_of(&large.uid))).await.unwrap();
        assert_eq!(found[0].schema, described.schema);
        let info = flight::TableInfo::decode(found[0].app_metadata.clone()).unwrap();
        assert_eq!(info.artifact.unwrap().uid, large.uid);
        let ticket = found[0].endpoint[0].ticket.clone().unwrap();
        assert_eq!(calls.do_get(ticket).await.unwrap().rows(), 1_000);
        for criteria in ["key = ", "tissue = lung", "key = 'a') OR (key = 'b'"] {
            let failure = Failure::from(listed(criteria).await.unwrap_err());
            assert_eq!(failure.reason, Some(R::FilterInvalid), "{criteria}");
        }
        server.assert_clean();
    }
}
