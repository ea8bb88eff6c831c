//! Tables that are put and are none: whatever is wrong with the messages, nothing is saved.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, types::Int32Type};
use arrow_flight::{
    FlightData, FlightDescriptor,
    encode::{DictionaryHandling, FlightDataEncoderBuilder},
};
use arrow_schema::{DataType, Field, Schema};
use artifactd_proto::flight::v1 as flight;
use artifactd_tests::{
    Calls, TestServer,
    calls::{by_key, keyed},
    flight::{numbered, numbered_schema, packed, put_messages, read_command, refused},
    pb::{self, ErrorReason as R},
};
use futures::{StreamExt, TryStreamExt, stream};
use tonic::Code;

fn descriptor(key: &str) -> FlightDescriptor {
    let write = flight::WriteTable {
        save: Some(keyed(key)),
        ..Default::default()
    };
    FlightDescriptor::new_cmd(packed("WriteTable", &write))
}

/// Messages that keep dictionaries.
async fn with_dictionaries(batch: RecordBatch) -> Vec<FlightData> {
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor("bad.parquet")))
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(stream::iter([Ok(batch)]).boxed());
    encoder.try_collect().await.unwrap()
}

fn one_column(column: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

fn words() -> RecordBatch {
    one_column(Arc::new(StringArray::from(vec!["abc", "defg", "hijkl"])))
}

/// The bytes with others in the place of the first that look so.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let place = bytes.windows(from.len()).position(|window| window == from);
    let place = place.expect("they are there");
    [&bytes[..place], to, &bytes[place + from.len()..]].concat()
}

fn little(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

async fn assert_nothing_is_saved(calls: &Calls, what: &str, messages: Vec<FlightData>) {
    let failure = refused(calls.do_put_raw(messages).await);
    assert_eq!(failure.status.code(), Code::InvalidArgument, "{what}: {failure:?}");
    assert!(failure.reason.is_some(), "{what}: {failure:?}");
    let listed = calls.list(pb::ListArtifactsRequest::default()).await.unwrap().artifacts;
    assert!(listed.is_empty(), "{what}: {listed:?}");
}

/// F07.
#[tokio::test]
async fn messages_that_make_no_table_save_nothing() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let key = || descriptor("bad.parquet");
    let whole = put_messages(key(), &[numbered(0..1000), numbered(1000..2000)]).await;
    assert_eq!(whole.len(), 3, "a schema and two batches");

    assert_nothing_is_saved(&calls, "nothing at all", Vec::new()).await;
    let mut no_schema = whole[1..].to_vec();
    no_schema[0].flight_descriptor = Some(key());
    assert_nothing_is_saved(&calls, "no schema", no_schema).await;
    let mut no_descriptor = whole.clone();
    no_descriptor[0].flight_descriptor = None;
    assert_nothing_is_saved(&calls, "no descriptor", no_descriptor).await;
    let again = [&whole[..2], &whole[..1], &whole[2..]].concat();
    assert_nothing_is_saved(&calls, "a second schema", again).await;
    let others = put_messages(key(), &[words()]).await;
    let mixed = [&whole[..2], &others[1..]].concat();
    assert_nothing_is_saved(&calls, "a batch of another table", mixed).await;

    // What is wrong is in the last of several batches.
    let changed = |change: &dyn Fn(&mut FlightData)| {
        let mut messages = whole.clone();
        change(&mut messages[2]);
        messages
    };
    for rows in [-1, 999, 1001, i64::MAX] {
        let lies = changed(&|batch| {
            let header = replaced(&batch.data_header, &1000_i64.to_le_bytes(), &i64::to_le_bytes(rows));
            batch.data_header = header.into();
        });
        assert_nothing_is_saved(&calls, &format!("{rows} rows"), lies).await;
    }
    let cut = changed(&|batch| batch.data_body = batch.data_body.slice(..batch.data_body.len() / 2));
    assert_nothing_is_saved(&calls, "half a body", cut).await;
    let garbled = changed(&|batch| batch.data_header = vec![0xff; batch.data_header.len()].into());
    assert_nothing_is_saved(&calls, "a header of garbage", garbled).await;

    let words = put_messages(key(), &[words()]).await;
    for offsets in [[0, 7, 3, 12], [0, -1, 7, 12], [0, 3, 7, 1 << 30], [5, 5, 5, 1 << 20]] {
        let mut lies = words.clone();
        lies[1].data_body = replaced(&words[1].data_body, &little(&[0, 3, 7, 12]), &little(&offsets)).into();
        assert_nothing_is_saved(&calls, &format!("offsets {offsets:?}"), lies).await;
    }
    let mut no_text = words.clone();
    no_text[1].data_body = replaced(&words[1].data_body, b"defg", b"d\xffgh").into();
    assert_nothing_is_saved(&calls, "a text that is none", no_text).await;

    let keys = Int32Array::from(vec![0, 1, 0, 1, 1]);
    let values = Arc::new(StringArray::from(vec!["low", "high"]));
    let dictionary = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
    let messages = with_dictionaries(one_column(Arc::new(dictionary))).await;
    assert_eq!(messages.len(), 3, "a schema, a dictionary and a batch");
    let never_sent = [&messages[..1], &messages[2..]].concat();
    assert_nothing_is_saved(&calls, "a dictionary that never came", never_sent).await;
    let mut beyond = messages.clone();
    beyond[2].data_body = replaced(
        &beyond[2].data_body,
        &little(&[0, 1, 0, 1, 1]),
        &little(&[0, 1, 9, 1, 1]),
    )
    .into();
    assert_nothing_is_saved(&calls, "a key beyond its dictionary", beyond).await;
    assert!(calls.do_put_raw(messages).await.is_ok(), "the same without a fault");
    assert!(server.staged().is_empty(), "{:?}", server.staged());
    server.assert_clean();
}

/// F07: a table without rows is one, and a sender of none has nothing to send.
#[tokio::test]
async fn a_schema_without_batches_is_a_table_without_rows() {
    let server = TestServer::start().await;
    let calls = server.calls();
    for suffix in ["parquet", "arrow", "arrows"] {
        let key = format!("none.{suffix}");
        let mut messages = put_messages(descriptor(&key), &[numbered(0..1)]).await;
        messages.truncate(1);
        let answers = calls.do_put_raw(messages).await.unwrap();
        let Some(flight::put_answer::Answer::Saved(saved)) = answers.last() else {
            panic!("{suffix}: {answers:?}");
        };
        let artifact = saved.artifact.as_ref().unwrap();
        assert_eq!(artifact.n_observations, Some(0), "{suffix}");
        assert_eq!(artifact.accessor(), pb::Accessor::DataFrame, "{suffix}");
        let read = flight::ReadArray {
            artifact: Some(by_key(&key)),
            ..Default::default()
        };
        assert_eq!(calls.read_table(&read).await.unwrap().rows(), 0, "{suffix}");
        let schema = calls.flight_schema(read_command(&read)).await.unwrap();
        assert_eq!(Schema::try_from(&schema).unwrap(), *numbered_schema(), "{suffix}");
    }
    server.assert_clean();
}

/// F08.
#[tokio::test]
async fn a_type_that_names_code_is_kept_as_what_it_is_stored_as() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let metadata = [
        ("ARROW:extension:name", "arrow.py_extension_type"),
        ("ARROW:extension:metadata", "cos\nsystem\n(S'touch /tmp/owned'\ntR."),
    ];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let field = Field::new("c", DataType::Utf8, true).with_metadata(metadata.clone().into());
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), words().columns().to_vec()).unwrap();
    for suffix in ["parquet", "arrow"] {
        let key = format!("code.{suffix}");
        calls
            .do_put_raw(put_messages(descriptor(&key), std::slice::from_ref(&batch)).await)
            .await
            .unwrap();
        let read = flight::ReadArray {
            artifact: Some(by_key(&key)),
            ..Default::default()
        };
        let got = calls.read_table(&read).await.unwrap();
        assert_eq!(got.batches[0].schema().field(0), &field, "{suffix}");
        assert_eq!(got.batches[0].column(0), batch.column(0), "{suffix}");
    }
    // Metadata of 16 MiB is more than a schema may have.
    let schema = Schema::new_with_metadata(
        vec![Field::new("c", DataType::Utf8, true)],
        [("large".to_owned(), "x".repeat(16 << 20))].into(),
    );
    let large = RecordBatch::try_new(Arc::new(schema), words().columns().to_vec()).unwrap();
    let failure = refused(
        calls
            .do_put_raw(put_messages(descriptor("large.parquet"), &[large]).await)
            .await,
    );
    assert_eq!(failure.reason, Some(R::UnitTooLarge), "{failure:?}");
    assert_eq!(
        refused(calls.get(by_key("large.parquet")).await).status.code(),
        Code::NotFound
    );
    server.assert_clean();
}
