//! What is asked of tables and cannot be: refused with a reason and its field.

use arrow_flight::{
    CancelFlightInfoRequest, Empty, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    RenewFlightEndpointRequest, Ticket,
};
use artifactd_proto::flight::v1::{self as flight, RowRange};
use artifactd_tests::{
    TestServer,
    calls::by_key,
    flight::{all_of, packed, put, read_command, refused},
    pb::ErrorReason as R,
};
use futures::TryStreamExt;
use tonic::{Code, metadata::MetadataMap, metadata::MetadataValue};

#[tokio::test]
async fn what_does_not_fit_a_table_is_refused_with_its_field() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = put(&calls, "t.parquet", 1000).await;
    let all = || all_of(&artifact.uid);
    let range = |start, end| vec![RowRange { start, end }];
    let deep = "(".repeat(10_000) + "id = 1";
    let any_of = |count: i64| {
        let tests: Vec<String> = (0..count).map(|id| format!("id = {id}")).collect();
        tests.join(" OR ")
    };
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
                filter: any_of(257),
                ..all()
            },
            R::FieldInvalid,
            "filter",
        ),
        (
            flight::ReadArray {
                filter: any_of(20_000),
                ..all()
            },
            R::FieldInvalid,
            "filter",
        ),
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
        (FlightDescriptor::new_cmd(vec![b'x'; 1 << 20]), Code::InvalidArgument),
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
    // As many tests as there may be are no mistake, and hold for the rows that they name.
    let most = flight::ReadArray {
        filter: any_of(256),
        ..all()
    };
    let got = calls.read_table(&most).await.unwrap();
    assert_eq!(got.integers("id"), (0..256).collect::<Vec<_>>());
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
    // A read that nobody began here, and a request that is none.
    let foreign = FlightEndpoint {
        ticket: Some(Ticket {
            ticket: b"not ours".as_slice().into(),
        }),
        ..Default::default()
    };
    let foreign = CancelFlightInfoRequest {
        info: Some(FlightInfo {
            endpoint: vec![foreign],
            ..Default::default()
        }),
    };
    let failure = refused(calls.do_action("CancelFlightInfo", &foreign).await);
    assert_eq!(failure.reason, Some(R::TicketInvalid));
    let garbage = Ticket {
        ticket: vec![0xff; 9].into(),
    };
    for action in ["CancelFlightInfo", "RenewFlightEndpoint"] {
        let failure = refused(calls.do_action(action, &garbage).await);
        assert_eq!(failure.status.code(), Code::InvalidArgument, "{action}: {failure:?}");
    }
    server.assert_clean();
}
