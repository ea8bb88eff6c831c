//! Files that were made to do harm, one test for each kind of harm: what they are told,
//! and that they are told it before much is read, unpacked or kept.

mod arrow;
mod parquet;
mod text;

use std::{sync::Arc, time::Instant};

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use bytes::Bytes;

use super::{
    error::ArrayError,
    mutated::{TIME_MAX, read_all},
    source::Place,
    summary,
};
use ArrayError as E;

const MIB: usize = 1024 * 1024;

/// What reading a file is told, which must not take long.
fn told(name: &str, file: &[u8]) -> ArrayError {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let told = read_all(name, file).expect_err("it is refused");
    assert!(began.elapsed() < TIME_MAX, "{told}: {:?}", began.elapsed());
    // What a look says when it is saved is no table either.
    let found = summary::look_into(Place::here(Bytes::copy_from_slice(file)), suffix(name));
    assert!(found.accessor.is_none() || matches!(told, E::UnitTooLarge { .. } | E::Malformed { .. } | E::Bomb(_)));
    told
}

fn suffix(name: &str) -> &str {
    &name[name.find('.').expect("it has one")..]
}

fn one_column(column: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("c", column.data_type().clone(), true)]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap()
}

fn integers(count: i64) -> RecordBatch {
    one_column(Arc::new(Int64Array::from_iter_values(0..count)))
}

/// Puts other bytes in the place of the only ones that look so.
fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places = file
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from);
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    assert_eq!(places.len(), 1, "{from:?} is there once");
    let (before, behind) = (&file[..places[0]], &file[places[0] + from.len()..]);
    [before, to, behind].concat()
}
