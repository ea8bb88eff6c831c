//! From the types in which a decoder unpacks to those of the schema.
//!
//! Texts come as views. Once a batch has its final size they are written out, one
//! after the other, which is also what a message wants.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericByteViewArray, GenericListArray, MapArray, OffsetSizeTrait,
    RecordBatch, RecordBatchOptions, StructArray,
    builder::GenericByteBuilder,
    cast::AsArray,
    types::{BinaryType, ByteArrayType, ByteViewType, LargeBinaryType, LargeUtf8Type, Utf8Type},
};
use arrow_buffer::{ArrowNativeType, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, SchemaRef};

use super::error::{ArrayError, Result};

/// The batch with the types of a schema.
pub(crate) fn settle(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| settled(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(refused)
}

fn refused(error: ArrowError) -> ArrayError {
    ArrayError::malformed("arrow", error.to_string())
}

fn settled(array: &ArrayRef, as_type: &DataType) -> Result<ArrayRef> {
    use DataType as D;
    if array.data_type() == as_type {
        return Ok(Arc::clone(array));
    }
    Ok(match (array.data_type(), as_type) {
        (D::Utf8View, D::Utf8) => written_out::<_, Utf8Type>(array.as_string_view())?,
        (D::Utf8View, D::LargeUtf8) => written_out::<_, LargeUtf8Type>(array.as_string_view())?,
        (D::BinaryView, D::Binary) => written_out::<_, BinaryType>(array.as_binary_view())?,
        (D::BinaryView, D::LargeBinary) => written_out::<_, LargeBinaryType>(array.as_binary_view())?,
        (D::List(_), D::List(field)) => list(array.as_list::<i32>(), field)?,
        (D::LargeList(_), D::LargeList(field)) => list(array.as_list::<i64>(), field)?,
        (D::FixedSizeList(..), D::FixedSizeList(field, size)) => {
            let lists = array.as_fixed_size_list();
            let start = lists.value_offset(0).as_usize();
            let values = lists.values().slice(start, lists.len() * size.as_usize());
            let values = settled(&values, field.data_type())?;
            let nulls = lists.nulls().cloned();
            Arc::new(FixedSizeListArray::try_new(Arc::clone(field), *size, values, nulls).map_err(refused)?)
        }
        (D::Struct(_), D::Struct(fields)) => {
            let array = array.as_struct();
            let columns = array.columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| settled(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned()).map_err(refused)?)
        }
        (D::Map(..), D::Map(field, sorted)) => {
            let map = array.as_map();
            let (offsets, start, count) = moved(map.offsets());
            let entries: ArrayRef = Arc::new(map.entries().slice(start, count));
            let entries = settled(&entries, field.data_type())?.as_struct().clone();
            let nulls = map.nulls().cloned();
            Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, nulls, *sorted).map_err(refused)?)
        }
        (D::Dictionary(_, values), _) => {
            let dictionary = array.as_any_dictionary();
            let taken = arrow_select::take::take(dictionary.values(), dictionary.keys(), None).map_err(refused)?;
            match **values == *as_type {
                true => taken,
                false => settled(&taken, as_type)?,
            }
        }
        (from, to) => return Err(ArrayError::Internal(format!("a column of {from} instead of {to}"))),
    })
}

/// Offsets that begin with 0, where they began, and how much they span.
fn moved<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (OffsetBuffer<O>, usize, usize) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let moved: Vec<O> = offsets.iter().map(|offset| *offset - first).collect();
    let moved = OffsetBuffer::new(moved.into());
    (moved, first.as_usize(), (last - first).as_usize())
}

fn list<O: OffsetSizeTrait>(lists: &GenericListArray<O>, field: &arrow_schema::FieldRef) -> Result<ArrayRef> {
    let (offsets, start, count) = moved(lists.offsets());
    let values = settled(&lists.values().slice(start, count), field.data_type())?;
    let lists = GenericListArray::try_new(Arc::clone(field), offsets, values, lists.nulls().cloned());
    Ok(Arc::new(lists.map_err(refused)?))
}

fn written_out<V, T>(views: &GenericByteViewArray<V>) -> Result<ArrayRef>
where
    V: ByteViewType + ?Sized,
    T: ByteArrayType<Native = V::Native>,
    V::Native: AsRef<T::Native>,
{
    let lengths = views.views().iter().map(|view| *view as u32 as usize);
    let bytes: usize = lengths.sum();
    if T::Offset::from_usize(bytes).is_none() {
        return Err(ArrayError::too_large(
            "a column of one batch",
            bytes as u64,
            i32::MAX as u64,
        ));
    }
    let mut texts = GenericByteBuilder::<T>::with_capacity(views.len(), bytes);
    for row in 0..views.len() {
        match views.is_valid(row) {
            true => texts.append_value(views.value(row)),
            false => texts.append_null(),
        }
    }
    Ok(Arc::new(texts.finish()))
}
