//! How large rows are as a message, before it is made.
//!
//! Receivers take messages of a certain size, so batches are cut where they are still
//! below it. The size of any rows of a batch follows from a few sums that are made once.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, GenericByteViewArray, RecordBatch, cast::AsArray, types::ByteViewType};
use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_schema::DataType;

use super::{
    error::{ArrayError, Result},
    ipc::ALIGNMENT,
    table::Batch,
};

/// What a message has besides its buffers, and what describes each of these.
const MESSAGE_BYTES: u64 = 512;
const NODE_BYTES: u64 = 16;
const BUFFER_BYTES: u64 = 16 + ALIGNMENT as u64;

/// Cuts so that bits of both parts begin with a byte.
const ROWS_STEP: usize = 64;

/// Cuts a batch into parts that are messages of about one size and at most `bytes`, but for
/// rows that alone are larger and at most `row_bytes_max`.
pub(crate) fn cut(batch: &Batch, bytes: usize, row_bytes_max: usize) -> Result<Vec<Batch>> {
    let rows = batch.batch.num_rows();
    let measure = Measure::of_batch(&batch.batch);
    let (bytes, row_bytes_max, all) = (bytes as u64, row_bytes_max as u64, measure.bytes(0..rows));
    if all <= bytes {
        return Ok(vec![batch.clone()]);
    }
    let wanted = (all / all.div_ceil(bytes) + MESSAGE_BYTES).min(bytes);
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < rows {
        let end = measure.end_of_part(start..rows, wanted, row_bytes_max);
        if end == start {
            let bytes = measure.bytes(start..start + 1);
            return Err(ArrayError::too_large(
                format!("row {}", batch.number(start)),
                bytes,
                row_bytes_max,
            ));
        }
        parts.push(batch.slice(start..end));
        start = end;
    }
    Ok(parts)
}

/// Says how large any rows of an array are.
enum Measure<'a> {
    /// Each row has as many bits.
    Fixed(u64),
    /// Rows begin at these places of something else.
    Offsets(Vec<u64>, Box<Measure<'a>>),
    /// Rows begin at these bytes.
    Sums(Vec<u64>),
    /// Several, side by side.
    Together(Vec<Measure<'a>>),
    /// No better is known than to ask.
    Asked(&'a ArrayRef),
    /// As many buffers, whatever the rows.
    Overhead(u64),
}

impl<'a> Measure<'a> {
    fn of_batch(batch: &'a RecordBatch) -> Self {
        let columns = batch.columns().iter().map(Self::of);
        Self::Together(columns.chain([Self::Overhead(MESSAGE_BYTES)]).collect())
    }

    fn of(array: &'a ArrayRef) -> Self {
        use DataType as D;
        let nulls = || Self::Fixed(u64::from(array.null_count() > 0));
        let with = |more: Self, buffers: u64| {
            Self::Together(vec![more, nulls(), Self::Overhead(NODE_BYTES + buffers * BUFFER_BYTES)])
        };
        fn texts<'a, O: ArrowNativeType>(offsets: &[O]) -> Measure<'a> {
            let sums = offsets.iter().map(|offset| offset.as_usize() as u64).collect();
            Measure::Together(vec![Measure::Sums(sums), Measure::Fixed(8 * size_of::<O>() as u64)])
        }
        fn lists<'a, O: ArrowNativeType>(offsets: &[O], values: &'a ArrayRef) -> Measure<'a> {
            let starts = offsets.iter().map(|offset| offset.as_usize() as u64).collect();
            let values = Measure::Offsets(starts, Box::new(Measure::of(values)));
            Measure::Together(vec![values, Measure::Fixed(8 * size_of::<O>() as u64)])
        }
        match array.data_type() {
            D::Null => Self::Overhead(NODE_BYTES),
            D::Boolean => with(Self::Fixed(1), 2),
            D::Utf8 => with(texts(array.as_string::<i32>().value_offsets()), 3),
            D::LargeUtf8 => with(texts(array.as_string::<i64>().value_offsets()), 3),
            D::Binary => with(texts(array.as_binary::<i32>().value_offsets()), 3),
            D::LargeBinary => with(texts(array.as_binary::<i64>().value_offsets()), 3),
            D::Utf8View => with(Self::views(array.as_string_view()), 3),
            D::BinaryView => with(Self::views(array.as_binary_view()), 3),
            D::List(_) => {
                let array = array.as_list::<i32>();
                with(lists(array.value_offsets(), array.values()), 2)
            }
            D::LargeList(_) => {
                let array = array.as_list::<i64>();
                with(lists(array.value_offsets(), array.values()), 2)
            }
            D::FixedSizeList(_, size) => {
                let array = array.as_fixed_size_list();
                let start = array.value_offset(0).as_usize() as u64;
                let starts = (0..=array.len() as u64).map(|row| start + row * size.as_usize() as u64);
                with(Self::Offsets(starts.collect(), Box::new(Self::of(array.values()))), 1)
            }
            D::Struct(_) => with(
                Self::Together(array.as_struct().columns().iter().map(Self::of).collect()),
                1,
            ),
            D::Dictionary(keys, _) => with(Self::Fixed(8 * keys.primitive_width().unwrap_or(8) as u64), 2),
            D::FixedSizeBinary(size) => with(Self::Fixed(8 * size.as_usize() as u64), 2),
            other => match other.primitive_width() {
                Some(width) => with(Self::Fixed(8 * width as u64), 2),
                None => with(Self::Asked(array), 4),
            },
        }
    }

    /// As texts with offsets, or as views and one buffer: whichever is more.
    fn views<T: ByteViewType + ?Sized>(views: &GenericByteViewArray<T>) -> Self {
        const VIEW_BITS: u64 = 128;
        let mut sum = 0;
        let lengths = views.views().iter().map(|view| u64::from(*view as u32));
        let sums = std::iter::once(0).chain(lengths.map(|length| {
            sum += length;
            sum
        }));
        Self::Together(vec![Self::Sums(sums.collect()), Self::Fixed(VIEW_BITS)])
    }

    fn bytes(&self, rows: Range<usize>) -> u64 {
        match self {
            Self::Fixed(bits) => (bits * (rows.end - rows.start) as u64).div_ceil(8),
            Self::Offsets(starts, of) => of.bytes(starts[rows.start] as usize..starts[rows.end] as usize),
            Self::Sums(sums) => sums[rows.end] - sums[rows.start],
            Self::Together(parts) => parts.iter().map(|part| part.bytes(rows.clone())).sum(),
            Self::Asked(array) => {
                let slice = array.slice(rows.start, rows.end - rows.start);
                slice.to_data().get_slice_memory_size().unwrap_or(usize::MAX >> 1) as u64
            }
            Self::Overhead(bytes) => *bytes,
        }
    }

    /// The end of a part that begins `rows`: as near to `wanted` as can be, and never above `most`.
    fn end_of_part(&self, rows: Range<usize>, wanted: u64, most: u64) -> usize {
        let mut fits = rows.start;
        let mut too_far = rows.end + 1;
        while fits + 1 < too_far {
            let middle = fits + (too_far - fits) / 2;
            match self.bytes(rows.start..middle) <= wanted {
                true => fits = middle,
                false => too_far = middle,
            }
        }
        if fits == rows.end {
            return fits;
        }
        if fits == rows.start {
            let one_fits = self.bytes(rows.start..rows.start + 1) <= most;
            return rows.start + usize::from(one_fits);
        }
        let rounded = (fits - rows.start) / ROWS_STEP * ROWS_STEP;
        rows.start + if rounded > 0 { rounded } else { fits - rows.start }
    }
}

/// Bytes of the values of views that do not fit into a view.
pub(crate) fn long_view_bytes(array: &ArrayRef) -> usize {
    const INLINE_BYTES: u32 = 12;
    let data = array.to_data();
    let views = Buffer::clone(&data.buffers()[0]);
    let views = &views.typed_data::<u128>()[data.offset()..data.offset() + data.len()];
    let lengths = views
        .iter()
        .map(|view| *view as u32)
        .filter(|length| *length > INLINE_BYTES);
    lengths.map(|length| length as usize).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::StringArray;

    use super::*;
    use crate::arrays::table::Numbers;

    #[test]
    fn a_row_that_cannot_be_cut_goes_alone_when_it_is_not_too_large() {
        const KIB: usize = 1024;
        let mut texts = vec!["short".to_owned(); 300];
        texts[200] = "x".repeat(100 * KIB);
        let column: ArrayRef = Arc::new(StringArray::from(texts));
        let batch = Batch {
            batch: RecordBatch::try_from_iter([("text", column)]).unwrap(),
            numbers: Numbers::From(1000),
        };
        let parts = cut(&batch, 64 * KIB, 128 * KIB).unwrap();
        let rows: usize = parts.iter().map(|part| part.batch.num_rows()).sum();
        assert_eq!(rows, 300);
        let alone = parts.iter().filter(|part| part.batch.num_rows() == 1);
        assert_eq!(alone.map(|part| part.number(0)).collect::<Vec<_>>(), [1200]);
        match cut(&batch, 64 * KIB, 64 * KIB) {
            Err(ArrayError::UnitTooLarge { bytes, .. }) => assert!(bytes > 100 * KIB as u64),
            other => panic!("{other:?}"),
        }
    }
}
