//! Tables that are written over Arrow Flight: what they become, and for whom.

use arrow_flight::FlightDescriptor;
use artifactd_proto::flight::v1::{self as flight, put_answer::Answer};
use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_uid, keyed},
    failure::Outcome,
    flight::{numbered, packed, put_messages, read_command, refused},
    pb::{self, ErrorReason as R},
};

async fn put(calls: &Calls, header: pb::SaveHeader, rows: i64) -> Outcome<pb::SaveArtifactResponse> {
    let write = flight::WriteTable {
        save: Some(header),
        ..Default::default()
    };
    calls.do_put(&write, &[numbered(0..rows)]).await
}

async fn replace(calls: &Calls, uid: &str, etag: &str, rows: i64) -> Outcome<pb::ReplaceArtifactResponse> {
    let write = flight::WriteTable {
        replace: Some(by_uid(uid)),
        replace_etag: Some(etag.to_owned()),
        ..Default::default()
    };
    let descriptor = FlightDescriptor::new_cmd(packed("WriteTable", &write));
    let messages = put_messages(descriptor, &[numbered(0..rows)]).await;
    match calls.do_put_raw(messages).await?.pop() {
        Some(Answer::Replaced(replaced)) => Ok(replaced),
        other => panic!("the last answer is {other:?}"),
    }
}

#[tokio::test]
async fn a_table_is_written_as_a_version_and_under_a_run() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let first = put(&calls, keyed("t.parquet"), 10).await.unwrap().artifact.unwrap();
        assert_eq!((first.version_number, &first.run_uid), (1, &None));

        let run = calls.create_run(pb::CreateRunRequest::default()).await.unwrap();
        let under = calls.under(&run.uid);
        let revision = pb::SaveHeader {
            revises: Some(first.uid.clone()),
            description: Some("more rows".to_owned()),
            ..Default::default()
        };
        let second = put(&under, revision, 20).await.unwrap().artifact.unwrap();
        assert_eq!(second.stem, first.stem, "{backend:?}");
        assert_eq!((second.version_number, second.is_latest), (2, true));
        assert_eq!(second.key.as_deref(), Some("t.parquet"));
        assert_eq!(second.description.as_deref(), Some("more rows"));
        assert_eq!(second.run_uid.as_ref(), Some(&run.uid));
        assert_eq!(
            (second.n_observations, second.accessor()),
            (Some(20), pb::Accessor::DataFrame)
        );
        assert!(!calls.get(by_uid(&first.uid)).await.unwrap().is_latest);

        let stale = replace(&under, &first.uid, "another", 5).await;
        assert_eq!(refused(stale).reason, Some(R::EtagMismatch));
        let first = calls.get(by_uid(&first.uid)).await.unwrap();
        let replaced = replace(&under, &first.uid, &first.etag, 5).await.unwrap();
        assert!(replaced.changed);
        let replaced = replaced.artifact.unwrap();
        assert_eq!((&replaced.uid, replaced.version_number), (&first.uid, 1));
        assert_eq!((replaced.n_observations, replaced.run_uid), (Some(5), None));
        assert_eq!(replaced.previous_run_uids, std::slice::from_ref(&run.uid));

        // A family keeps its format, whoever writes its next version.
        let arrow = put(&calls, keyed("u.arrow"), 10).await.unwrap().artifact.unwrap();
        let next = pb::SaveHeader {
            revises: Some(arrow.stem.clone()),
            ..Default::default()
        };
        let next_arrow = put(&calls, next.clone(), 30).await.unwrap().artifact.unwrap();
        assert_eq!(
            (next_arrow.suffix.as_str(), next_arrow.n_observations),
            (".arrow", Some(30))
        );
        let bytes = calls.read(by_uid(&next_arrow.uid)).await.unwrap();
        assert!(bytes.starts_with(b"ARROW1"), "{backend:?}");
        let text = calls
            .save(keyed("v.csv"), b"a,b\n1,2\n")
            .await
            .unwrap()
            .artifact
            .unwrap();
        let next = pb::SaveHeader {
            revises: Some(text.stem),
            ..Default::default()
        };
        let streamed = calls
            .save(next.clone(), b"a,b\n1,2\n3,4\n")
            .await
            .unwrap()
            .artifact
            .unwrap();
        assert_eq!(streamed.n_observations, Some(2));
        let batch = vec![(next, b"a,b\n1,2\n3,4\n5,6\n".to_vec())];
        let batch = calls.save_batch(batch).await.unwrap().remove(0).unwrap();
        assert_eq!(batch.artifact.unwrap().n_observations, Some(3));

        let of_nothing = pb::SaveHeader {
            revises: Some("0123456789abcdef0000".to_owned()),
            ..Default::default()
        };
        let failure = refused(put(&calls, of_nothing, 1).await);
        assert_eq!(failure.reason, Some(R::ArtifactNotFound), "{failure:?}");
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_poll_answers_at_once_and_its_tickets_read() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let saved = put(&calls, keyed("t.parquet"), 1000).await.unwrap().artifact.unwrap();
    let read = flight::ReadArray {
        artifact: Some(by_uid(&saved.uid)),
        filter: "id >= 990".to_owned(),
        columns: vec!["id".to_owned()],
        ..Default::default()
    };
    let answer = calls.flight().poll_flight_info(read_command(&read)).await.unwrap();
    let polled = answer.into_inner();
    // Nothing is left to be asked for.
    assert_eq!((polled.flight_descriptor, polled.progress), (None, Some(1.0)));
    assert!(polled.expiration_time.is_some());
    let (polled, info) = (
        polled.info.unwrap(),
        calls.flight_info(read_command(&read)).await.unwrap(),
    );
    assert_eq!((polled.schema, polled.total_records), (info.schema, info.total_records));
    assert_eq!((polled.app_metadata, polled.ordered), (info.app_metadata, info.ordered));
    let mut rows = Vec::new();
    for endpoint in polled.endpoint {
        let got = calls.do_get(endpoint.ticket.unwrap()).await.unwrap();
        rows.extend(got.integers("id"));
    }
    assert_eq!(rows, (990..1000).collect::<Vec<_>>());
    server.assert_clean();
}
