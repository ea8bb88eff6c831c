//! Columns that have others in them, of which only the part is read that some rows need.

use std::ops::Range;

use arrow_array::{Array, UnionArray, make_array};
use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_ipc::MetadataVersion;
use arrow_schema::{DataType, Field, UnionMode};

use super::{
    super::{FORMAT, lie, plan::Node},
    Decoding,
    buffers::aligned,
    built,
};
use crate::arrays::{
    budget::UNIT_BYTES_MAX,
    error::{ArrayError, Result},
};

impl Decoding<'_> {
    /// Lists one after the other.
    pub(super) fn lists<O: ArrowNativeType>(
        &mut self,
        data_type: &DataType,
        field: &Field,
        node: Node,
        rows: &Range<usize>,
        depth: usize,
    ) -> Result<ArrayData> {
        let (nulls, offsets) = (self.next_buffer()?, self.next_buffer()?);
        let nulls = self.nulls(&nulls, node, rows)?;
        let (offsets, span) = self.offsets::<O>(&offsets, rows)?;
        let values = self.array(field, span, depth + 1)?;
        let builder = ArrayData::builder(data_type.clone())
            .len(rows.len())
            .null_bit_buffer(nulls);
        built(builder.add_buffer(Buffer::from_vec(offsets)).add_child_data(values))
    }

    /// Lists that may lie anywhere in their values.
    pub(super) fn list_views<O: ArrowNativeType>(
        &mut self,
        data_type: &DataType,
        field: &Field,
        node: Node,
        rows: &Range<usize>,
        depth: usize,
    ) -> Result<ArrayData> {
        let (nulls, offsets, sizes) = (self.next_buffer()?, self.next_buffer()?, self.next_buffer()?);
        let nulls = self.nulls(&nulls, node, rows)?;
        let offsets = aligned::<O>(self.values(&offsets, rows, size_of::<O>())?);
        let sizes = aligned::<O>(self.values(&sizes, rows, size_of::<O>())?);
        let zero = O::usize_as(0);
        let negative = |numbers: &[O]| numbers.iter().any(|number| *number < zero);
        if negative(&offsets) || negative(&sizes) {
            return Err(lie("a list of negative size"));
        }
        let lists = || offsets.iter().zip(sizes.iter()).filter(|(_, size)| **size != zero);
        let first = lists().map(|(offset, _)| offset.as_usize()).min().unwrap_or(0);
        let last = lists()
            .map(|(offset, size)| offset.as_usize().saturating_add(size.as_usize()))
            .max()
            .unwrap_or(0);
        let moved = offsets
            .iter()
            .zip(sizes.iter())
            .map(|(offset, size)| match *size == zero {
                true => zero,
                false => O::usize_as(offset.as_usize() - first),
            });
        let moved: Vec<O> = moved.collect();
        let values = self.array(field, first..last, depth + 1)?;
        let builder = ArrayData::builder(data_type.clone())
            .len(rows.len())
            .null_bit_buffer(nulls);
        built(
            builder
                .add_buffer(Buffer::from_vec(moved))
                .add_buffer(sizes.inner().clone())
                .add_child_data(values),
        )
    }

    pub(super) fn union(
        &mut self,
        fields: &arrow_schema::UnionFields,
        mode: UnionMode,
        rows: &Range<usize>,
        depth: usize,
    ) -> Result<ArrayData> {
        if self.plan.version < MetadataVersion::V5 {
            self.next_buffer()?;
        }
        let kinds = self.next_buffer()?;
        let kinds = aligned::<i8>(self.values(&kinds, rows, 1)?);
        let offsets = match mode {
            UnionMode::Sparse => None,
            UnionMode::Dense => {
                let offsets = self.next_buffer()?;
                Some(aligned::<i32>(self.values(&offsets, rows, size_of::<i32>())?))
            }
        };
        let mut values = Vec::with_capacity(fields.len());
        let mut moved = offsets.as_ref().map(|offsets| offsets.to_vec());
        for (kind, field) in fields.iter() {
            let span = match &offsets {
                None => rows.clone(),
                Some(offsets) => {
                    let of_kind = || kinds.iter().zip(offsets.iter()).filter(|(found, _)| **found == kind);
                    if of_kind().any(|(_, offset)| *offset < 0) {
                        return Err(lie("a value before the first"));
                    }
                    let first = of_kind().map(|(_, offset)| *offset as usize).min().unwrap_or(0);
                    let last = of_kind().map(|(_, offset)| *offset as usize + 1).max().unwrap_or(0);
                    for (found, offset) in kinds.iter().zip(moved.iter_mut().flatten()) {
                        if *found == kind {
                            *offset -= first as i32;
                        }
                    }
                    first..last
                }
            };
            values.push(make_array(self.array(field, span, depth + 1)?));
        }
        let offsets = moved.map(ScalarBuffer::from);
        let union = UnionArray::try_new(fields.clone(), kinds, offsets, values);
        union
            .map(|union| union.into_data())
            .map_err(|error| ArrayError::from_arrow(FORMAT, error))
    }

    /// Runs are found by where they end, so all ends are read.
    pub(super) fn runs(
        &mut self,
        data_type: &DataType,
        (ends, values): (&Field, &Field),
        node: Node,
        rows: &Range<usize>,
        depth: usize,
    ) -> Result<ArrayData> {
        let runs = self.plan.nodes.get(self.node).map_or(0, |node| node.rows);
        let width = ends.data_type().primitive_width().unwrap_or(8);
        if (runs as u64).saturating_mul(width as u64) > UNIT_BYTES_MAX {
            return Err(ArrayError::too_large(
                "a column of runs",
                runs as u64 * width as u64,
                UNIT_BYTES_MAX,
            ));
        }
        let ends = self.array(ends, 0..runs, depth + 1)?;
        let values = self.array(values, 0..runs, depth + 1)?;
        let builder = ArrayData::builder(data_type.clone()).len(node.rows);
        let whole = built(builder.add_child_data(ends).add_child_data(values))?;
        Ok(make_array(whole).slice(rows.start, rows.len()).to_data())
    }
}
