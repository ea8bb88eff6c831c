//! Objects that come in parts.

use bytes::Bytes;

use super::{MIB, content, fresh_name, stored};
use crate::storage::{ClosedParts, FinishedObject, ObjectName, PartPlace, PartedObject, StorageError, Store};

/// What every storage takes.
const PART: usize = 5 * MIB;

pub(super) async fn all(store: &Store) {
    parts_in_any_order_become_one_object(store).await;
    content_of_no_bytes_becomes_an_object(store).await;
    what_is_aborted_leaves_nothing(store).await;
    what_nobody_needs_is_listed(store).await;
}

async fn put(store: &Store, object: &PartedObject, number: usize, bytes: &Bytes) -> Result<String, StorageError> {
    let offset = (number * PART) as u64;
    let mut part = store.parts.begin_part(object, PartPlace { number, offset });
    for piece in bytes.chunks(MIB + 7) {
        part.put(bytes.slice_ref(piece)).await?;
    }
    part.finish().await
}

async fn put_all(store: &Store, object: &PartedObject, bytes: &Bytes, order: &[usize]) -> Vec<String> {
    let mut names = vec![String::new(); order.len()];
    for number in order {
        let part = bytes.slice(number * PART..((number + 1) * PART).min(bytes.len()));
        names[*number] = put(store, object, *number, &part).await.unwrap();
    }
    names
}

async fn begin(store: &Store) -> PartedObject {
    store.parts.create(fresh_name()).await.unwrap()
}

async fn close(store: &Store, object: &PartedObject, bytes: &Bytes) -> Box<dyn ClosedParts> {
    store.parts.close(object, bytes.len() as u64).await.unwrap()
}

async fn assert_complete(store: &Store, name: &ObjectName, finished: &FinishedObject, bytes: &Bytes) {
    assert_eq!((&finished.name, finished.size_bytes), (name, bytes.len() as u64));
    assert!(stored(store, name).await.unwrap() == *bytes);
    assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
}

async fn parts_in_any_order_become_one_object(store: &Store) {
    let (bytes, object) = (content(2 * PART + 77), begin(store).await);
    let names = put_all(store, &object, &bytes, &[2, 0, 1]).await;
    // The same part again takes the place of the first.
    let again = put(store, &object, 0, &bytes.slice(..PART)).await.unwrap();
    let names = [vec![again], names[1..].to_vec()].concat();
    if store.parts.reads_parts() {
        let range = PART as u64 - 10..PART as u64 + 10;
        let read = store.parts.read(&object, range).await.unwrap();
        assert!(read == bytes[PART - 10..PART + 10]);
    }
    assert_eq!(stored(store, &object.name).await, None, "it is no object yet");
    let mut closed = close(store, &object, &bytes).await;
    if store.parts.reads_parts() {
        assert!(closed.read(0..bytes.len() as u64).await.unwrap() == bytes);
    }
    let finished = closed.complete(names.clone()).await.unwrap();
    assert!(closed.read(3..bytes.len() as u64).await.unwrap() == bytes[3..]);
    assert_complete(store, &object.name, &finished, &bytes).await;
    drop(closed);
    // Whoever was cut after that completes it again.
    let mut closed = close(store, &object, &bytes).await;
    let again = closed.complete(names).await.unwrap();
    assert_complete(store, &object.name, &again, &bytes).await;
    drop(closed);
    store.parts.abort(&object).await.unwrap();
    assert!(stored(store, &object.name).await.is_some(), "a complete object stays");
}

async fn content_of_no_bytes_becomes_an_object(store: &Store) {
    let object = begin(store).await;
    for _ in 0..2 {
        let mut closed = close(store, &object, &Bytes::new()).await;
        let finished = closed.complete(Vec::new()).await.unwrap();
        assert_complete(store, &object.name, &finished, &Bytes::new()).await;
    }
}

async fn what_is_aborted_leaves_nothing(store: &Store) {
    let (bytes, object) = (content(PART + 1), begin(store).await);
    put_all(store, &object, &bytes, &[0, 1]).await;
    for _ in 0..2 {
        store.parts.abort(&object).await.unwrap();
    }
    assert_eq!(stored(store, &object.name).await, None);
    assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
}

async fn what_nobody_needs_is_listed(store: &Store) {
    let (bytes, object) = (content(PART + 1), begin(store).await);
    put_all(store, &object, &bytes, &[0, 1]).await;
    let listed = store.writer.list_unfinished().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|unfinished| unfinished.name.as_str()).collect();
    assert_eq!(names, [object.name.as_str()]);
    store.writer.abort_unfinished(&listed[0]).await.unwrap();
    assert_eq!(store.writer.list_unfinished().await.unwrap(), []);
}

/// A folder alone: elsewhere each part is named by what it holds.
pub(super) async fn nobody_writes_to_what_is_closed(store: &Store) {
    let (bytes, other) = (content(2 * PART), content(PART + 3).slice(..PART));
    for begins_early in [true, false] {
        let object = begin(store).await;
        put_all(store, &object, &bytes, &[0, 1]).await;
        let place = PartPlace {
            number: 1,
            offset: PART as u64,
        };
        let mut late = store.parts.begin_part(&object, place);
        if begins_early {
            // It holds the file, and keeps it.
            late.put(other.slice(..MIB)).await.unwrap();
        }
        let mut closed = close(store, &object, &bytes).await;
        let before = closed.read(0..bytes.len() as u64).await.unwrap();
        let written = match late.put(other.slice(MIB..3 * MIB)).await {
            Ok(()) => late.finish().await.map(drop),
            refused => refused,
        };
        assert_eq!(written.is_ok(), begins_early, "{written:?}");
        let refused = put(store, &object, 0, &other).await;
        assert!(matches!(refused, Err(StorageError::Closed { .. })), "{refused:?}");
        assert!(closed.read(0..bytes.len() as u64).await.unwrap() == before);
        let finished = closed.complete(Vec::new()).await.unwrap();
        assert_complete(store, &object.name, &finished, &before).await;
        // Parts come again only when it is opened again.
        closed.reopen().await.unwrap();
        assert_eq!(stored(store, &object.name).await, None);
        put_all(store, &object, &bytes, &[1, 0]).await;
        let finished = close(store, &object, &bytes).await.complete(Vec::new()).await.unwrap();
        assert_complete(store, &object.name, &finished, &bytes).await;
    }
}
