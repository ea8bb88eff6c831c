//! Tables over Arrow Flight: what is asked for comes, and comes again.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch};
use artifactd_proto::flight::v1::{self as flight, RowRange};
use artifactd_tests::{
    Backend, Calls, TestServer,
    calls::{by_key, by_uid, keyed},
    content::Random,
    failure::Failure,
    flight::{all_of, put, read_command, refused},
    pb::{self, ErrorReason as R},
    python,
};
use futures::TryStreamExt;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};

const ROWS: i64 = 200_000;

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

/// Batches of 2.5 MiB, as they are in an Arrow file.
async fn put_wide(calls: &Calls, key: &str, batches: usize) -> pb::Artifact {
    const BATCH_ROWS: usize = 64 * 1024;
    let columns = |first: usize| -> [(&str, ArrayRef); 2] {
        let ids = first..first + BATCH_ROWS;
        let values = ids.clone().map(|id| [id as u8; 32]);
        [
            (
                "id",
                Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id as i64))),
            ),
            ("bytes", Arc::new(FixedSizeBinaryArray::try_from_iter(values).unwrap())),
        ]
    };
    let batches: Vec<_> = (0..batches)
        .map(|number| RecordBatch::try_from_iter(columns(number * BATCH_ROWS)).unwrap())
        .collect();
    let write = flight::WriteTable {
        save: Some(keyed(key)),
        ..Default::default()
    };
    calls.do_put(&write, &batches).await.unwrap().artifact.unwrap()
}

const MAX_MESSAGE: &str = "artifactd-max-message-bytes";

#[tokio::test]
async fn large_messages_go_out_as_they_lie_and_are_checked_on_their_way() {
    const BATCHES: usize = 4;
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = put_wide(&calls, "wide.arrow", BATCHES).await;
    let rows = artifact.n_observations.unwrap();
    let mut large = MetadataMap::new();
    large.insert(MAX_MESSAGE, MetadataValue::from_static("3000000"));
    let ticket = calls.ticket(&all_of(&artifact.uid)).await.unwrap();
    let whole = calls.do_get_with(ticket.clone(), large.clone()).await.unwrap();
    assert_eq!(whole.batches.len(), BATCHES);
    assert!(whole.integers("id").into_iter().eq(0..rows));
    // The block of each header is read twice, and so are the ends of the file.
    let blocks = 2 * BATCHES as u64 + 4;
    assert!(
        whole.cost.0 < artifact.size as u64 + blocks * 256 * 1024,
        "{:?}",
        whole.cost
    );
    for (number, info) in whole.infos.iter().enumerate() {
        let mut headers = resuming(info);
        headers.insert(MAX_MESSAGE, MetadataValue::from_static("3000000"));
        let rest = calls.do_get_with(ticket.clone(), headers).await.unwrap();
        assert_eq!(rest.batches.len(), BATCHES - 1 - number);
        assert!(rest.integers("id").into_iter().eq(info.next_row..rows));
    }
    // The first batch goes out as it lies, and what is wanted of the next one does not.
    let limit = rows / BATCHES as i64 + 5;
    let read = flight::ReadArray {
        limit: Some(limit),
        ..all_of(&artifact.uid)
    };
    let first = calls.ticket(&read).await.unwrap();
    let first = calls.do_get_with(first, large.clone()).await.unwrap();
    assert!(first.integers("id").into_iter().eq(0..limit));
    // Its header is sound, and went out before the damage was met.
    server.overwrite_only_object(|stored| {
        let middle = stored.len() * 3 / 8;
        stored[middle] ^= 1;
    });
    let failure = refused(calls.do_get_with(ticket, large).await);
    assert_eq!(failure.reason, Some(R::ContentCorrupt), "{failure:?}");
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
