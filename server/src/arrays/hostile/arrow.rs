//! Arrow IPC, row C06.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_ipc::{
    CompressionType,
    writer::{FileWriter, IpcWriteOptions},
};
use arrow_schema::{DataType, Field, Schema};

use super::{E, MIB, integers, one_column, replaced, told};
use crate::arrays::mutated::read_all;

fn ipc(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn little(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// C06.
#[test]
fn arrow_whose_offsets_lie_is_refused() {
    let file = ipc(
        &one_column(Arc::new(StringArray::from(vec!["abc", "defg", "hijkl"]))),
        None,
    );
    for lie in [
        [0, 7, 3, 12],
        [0, -1, 7, 12],
        [0, 3, 7, 1 << 30],
        [1 << 20, 1 << 20, 1 << 20, 1 << 20],
        [0, 3, 7, i32::MAX],
    ] {
        let told = told("x.arrow", &replaced(&file, &little(&[0, 3, 7, 12]), &little(&lie)));
        assert!(matches!(told, E::Malformed { .. }), "{lie:?}: {told}");
    }
    // Texts that are none.
    let told = told("x.arrow", &replaced(&file, b"abcdefghijkl", b"abcdefg\xffijkl"));
    assert!(matches!(told, E::Malformed { .. }), "{told}");
}

/// C06.
#[test]
fn arrow_whose_lengths_or_places_lie_is_refused() {
    let file = ipc(&integers(1000), None);
    // The length of the batch, of its only column, and of the values of that.
    let (rows, bytes) = (1000_i64.to_le_bytes(), 8000_i64.to_le_bytes());
    for (from, lies) in [(rows, [-1, 1 << 40, i64::MAX]), (bytes, [-8, 1 << 40, i64::MAX])] {
        for lie in lies {
            let places = file.windows(8).enumerate().filter(|(_, window)| *window == from);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            for place in places {
                let mut file = file.clone();
                file[place..place + 8].copy_from_slice(&lie.to_le_bytes());
                // What nobody asks may say anything: the length of a body stands in two places.
                match read_all("x.arrow", &file) {
                    Ok(rows) => assert_eq!(rows, 1000, "{lie} at {place}"),
                    Err(told) => assert!(
                        matches!(told, E::Malformed { .. } | E::UnitTooLarge { .. }),
                        "{lie}: {told}"
                    ),
                }
            }
        }
    }
}

/// C06.
#[test]
fn arrow_that_unpacks_into_far_more_is_not_unpacked() {
    let file = ipc(&integers(1000), Some(CompressionType::ZSTD));
    for lie in [1_i64 << 40, i64::MAX, 1 << 31] {
        let told = told("x.arrow", &replaced(&file, &8000_i64.to_le_bytes(), &lie.to_le_bytes()));
        assert!(
            matches!(told, E::Malformed { .. } | E::UnitTooLarge { .. }),
            "{lie}: {told}"
        );
    }
    let zeros = one_column(Arc::new(Int64Array::from(vec![0; 9 * MIB])));
    let told = told("x.arrow", &ipc(&zeros, Some(CompressionType::ZSTD)));
    assert!(matches!(told, E::UnitTooLarge { .. }), "{told}");
}

/// C06.
#[test]
fn arrow_whose_types_are_nested_without_end_is_refused() {
    let mut nested = DataType::Int8;
    for _ in 0..300 {
        nested = DataType::Struct(vec![Field::new("f", nested, true)].into());
    }
    let schema = Schema::new(vec![Field::new("c", nested, true)]);
    let file = FileWriter::try_new(Vec::new(), &schema).unwrap().into_inner().unwrap();
    let told = told("x.arrow", &file);
    assert!(matches!(told, E::Malformed { .. }), "{told}");
}
