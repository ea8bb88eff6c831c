//! Messages of Arrow IPC as arrays, with every buffer checked against what is there.
//!
//! A window of the rows of a message can be decoded alone: then of each buffer only
//! the bytes are fetched that these rows need, so that a file of one huge batch is read
//! in small ones. All arrays are validated: offsets, dictionary keys, UTF-8.

mod buffers;
mod nested;
mod texts;

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow_array::{ArrayRef, make_array, new_empty_array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_ipc::MetadataVersion;
use arrow_schema::{DataType, Field, UnionMode};
use bytes::Bytes;

use super::{
    FORMAT,
    body::BodyReader,
    lie,
    plan::{BatchPlan, Node, natural},
    schema::{check_depth, child_types, dictionary_id},
};
use crate::arrays::error::{ArrayError, Result};

/// What the dictionaries of a stream hold now, by their ids.
pub(crate) type Dictionaries = HashMap<i64, ArrayRef>;

impl BatchPlan {
    /// Where the buffers of some columns lie in the body.
    pub(super) fn buffers_of(&self, fields: &[Arc<Field>], wanted: impl Fn(usize) -> bool) -> Result<Vec<Range<u64>>> {
        let (nothing, dictionaries) = (Bytes::new(), Dictionaries::new());
        let mut decoding = Decoding::new(self, &nothing, &dictionaries);
        let mut buffers = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            let first = decoding.buffer;
            decoding.skip(field.data_type(), 0)?;
            if wanted(place) {
                buffers.extend_from_slice(&self.buffers[first..decoding.buffer]);
            }
        }
        Ok(buffers)
    }

    /// The columns of some rows; `None` in place of those that are not wanted.
    pub(super) fn decode(
        &self,
        fields: &[Arc<Field>],
        wanted: impl Fn(usize) -> bool,
        rows: Range<usize>,
        body: &dyn BodyReader,
        dictionaries: &Dictionaries,
    ) -> Result<Vec<Option<ArrayRef>>> {
        let mut decoding = Decoding::new(self, body, dictionaries);
        let columns = fields.iter().enumerate().map(|(place, field)| match wanted(place) {
            true => {
                let node = decoding.plan.nodes.get(decoding.node);
                if node.is_none_or(|node| node.rows != self.rows) {
                    return Err(lie(format!(
                        "the column {} has another length than its batch",
                        field.name()
                    )));
                }
                decoding
                    .array(field, rows.clone(), 0)
                    .map(|data| Some(make_array(data)))
            }
            false => decoding.skip(field.data_type(), 0).map(|()| None),
        });
        columns.collect()
    }

    /// A dictionary, which is a batch of one column.
    pub(super) fn decode_values(
        &self,
        field: &Field,
        body: &dyn BodyReader,
        dictionaries: &Dictionaries,
    ) -> Result<ArrayRef> {
        let columns = self.decode(&[Arc::new(field.clone())], |_| true, 0..self.rows, body, dictionaries)?;
        columns
            .into_iter()
            .flatten()
            .next()
            .ok_or_else(|| lie("a dictionary without values"))
    }
}

struct Decoding<'b> {
    plan: &'b BatchPlan,
    body: &'b dyn BodyReader,
    dictionaries: &'b Dictionaries,
    /// The next of each.
    node: usize,
    buffer: usize,
    variadic: usize,
    /// Which rows of the next column are null because what it lies in is. Writers leave
    /// keys there to which a dictionary has no value.
    outer: Option<NullBuffer>,
}

impl<'b> Decoding<'b> {
    fn new(plan: &'b BatchPlan, body: &'b dyn BodyReader, dictionaries: &'b Dictionaries) -> Self {
        Self {
            plan,
            body,
            dictionaries,
            node: 0,
            buffer: 0,
            variadic: 0,
            outer: None,
        }
    }

    fn next_node(&mut self) -> Result<Node> {
        let node = self.plan.nodes.get(self.node).copied();
        self.node += 1;
        node.ok_or_else(|| lie("a batch lacks columns"))
    }

    fn next_buffer(&mut self) -> Result<Range<u64>> {
        let buffer = self.plan.buffers.get(self.buffer).cloned();
        self.buffer += 1;
        buffer.ok_or_else(|| lie("a batch lacks buffers"))
    }

    fn next_variadic(&mut self) -> Result<usize> {
        let count = self.plan.variadic.get(self.variadic).copied();
        self.variadic += 1;
        let left = self.plan.buffers.len().saturating_sub(self.buffer);
        count
            .filter(|count| *count <= left)
            .ok_or_else(|| lie("a batch lacks buffers of views"))
    }

    /// Goes past a column.
    fn skip(&mut self, data_type: &DataType, depth: usize) -> Result<()> {
        use DataType as D;
        check_depth(depth)?;
        self.next_node()?;
        let buffers = match data_type {
            D::Null | D::RunEndEncoded(..) => 0,
            D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary | D::ListView(_) | D::LargeListView(_) => 3,
            D::Struct(_) | D::FixedSizeList(..) => 1,
            D::Union(_, mode) => {
                let validity = usize::from(self.plan.version < MetadataVersion::V5);
                validity + if *mode == UnionMode::Dense { 2 } else { 1 }
            }
            D::Utf8View | D::BinaryView => 2 + self.next_variadic()?,
            _ => 2,
        };
        for _ in 0..buffers {
            self.next_buffer()?;
        }
        for child in child_types(data_type) {
            self.skip(child, depth + 1)?;
        }
        Ok(())
    }

    fn array(&mut self, field: &Field, rows: Range<usize>, depth: usize) -> Result<ArrayData> {
        use DataType as D;
        check_depth(depth)?;
        let data_type = field.data_type();
        let outer = self.outer.take();
        let node = self.next_node()?;
        if rows.end > node.rows {
            return Err(lie("a column is shorter than what refers to it"));
        }
        match data_type {
            D::Null => built(ArrayData::builder(D::Null).len(rows.len())),
            D::Boolean => {
                let (nulls, values) = (self.next_buffer()?, self.next_buffer()?);
                let nulls = self.nulls(&nulls, node, &rows)?;
                let (bits, skipped) = self.bits(&values, &rows)?;
                let bits = match skipped {
                    0 => bits,
                    skipped => BooleanBuffer::new(bits, skipped, rows.len()).sliced(),
                };
                let builder = ArrayData::builder(D::Boolean).len(rows.len()).null_bit_buffer(nulls);
                built(builder.add_buffer(bits))
            }
            D::Utf8 | D::Binary => self.texts::<i32>(data_type, node, &rows),
            D::LargeUtf8 | D::LargeBinary => self.texts::<i64>(data_type, node, &rows),
            D::Utf8View | D::BinaryView => self.views(data_type, node, &rows),
            D::List(field) | D::Map(field, _) => self.lists::<i32>(data_type, field, node, &rows, depth),
            D::LargeList(field) => self.lists::<i64>(data_type, field, node, &rows, depth),
            D::ListView(field) => self.list_views::<i32>(data_type, field, node, &rows, depth),
            D::LargeListView(field) => self.list_views::<i64>(data_type, field, node, &rows, depth),
            D::FixedSizeList(field, size) => {
                let nulls = self.next_buffer()?;
                let nulls = self.nulls(&nulls, node, &rows)?;
                let size = natural((*size).into(), "a list")?;
                let at = |row: usize| row.checked_mul(size).ok_or_else(|| lie("a list is too long"));
                let set = null_buffer(nulls.as_ref(), rows.len());
                self.outer = NullBuffer::union(outer.as_ref(), set.as_ref()).map(|nulls| nulls.expand(size));
                let values = self.array(field, at(rows.start)?..at(rows.end)?, depth + 1)?;
                let builder = ArrayData::builder(data_type.clone())
                    .len(rows.len())
                    .null_bit_buffer(nulls);
                built(builder.add_child_data(values))
            }
            D::Struct(fields) => {
                let nulls = self.next_buffer()?;
                let nulls = self.nulls(&nulls, node, &rows)?;
                let mut builder = ArrayData::builder(data_type.clone())
                    .len(rows.len())
                    .null_bit_buffer(nulls.clone());
                let set = null_buffer(nulls.as_ref(), rows.len());
                let outer = NullBuffer::union(outer.as_ref(), set.as_ref());
                for field in fields {
                    self.outer.clone_from(&outer);
                    builder = builder.add_child_data(self.array(field, rows.clone(), depth + 1)?);
                }
                built(builder)
            }
            D::Union(fields, mode) => self.union(fields, *mode, &rows, depth),
            D::RunEndEncoded(ends, values) => self.runs(data_type, (ends, values), node, &rows, depth),
            D::Dictionary(keys, values) => {
                let (nulls, indices) = (self.next_buffer()?, self.next_buffer()?);
                let nulls = self.nulls(&nulls, node, &rows)?;
                let set = null_buffer(nulls.as_ref(), rows.len());
                let set = NullBuffer::union(outer.as_ref(), set.as_ref());
                let width = keys
                    .primitive_width()
                    .ok_or_else(|| lie("a dictionary with keys of no known size"))?;
                let indices = self.values(&indices, &rows, width)?;
                // One that only nulls refer to need not be there.
                let values = match dictionary_id(field).and_then(|id| self.dictionaries.get(&id)) {
                    Some(values) => values.to_data(),
                    None => new_empty_array(values).to_data(),
                };
                let builder = ArrayData::builder(data_type.clone()).len(rows.len()).nulls(set);
                built(builder.add_buffer(indices).add_child_data(values))
            }
            other => {
                let width = match other {
                    D::FixedSizeBinary(size) => natural((*size).into(), "a value")?,
                    other => other
                        .primitive_width()
                        .ok_or_else(|| ArrayError::unsupported(FORMAT, other.to_string()))?,
                };
                let (nulls, values) = (self.next_buffer()?, self.next_buffer()?);
                let nulls = self.nulls(&nulls, node, &rows)?;
                let builder = ArrayData::builder(other.clone()).len(rows.len()).null_bit_buffer(nulls);
                built(builder.add_buffer(self.values(&values, &rows, width)?))
            }
        }
    }
}

/// The nulls of some rows that begin with the first bit.
fn null_buffer(bits: Option<&Buffer>, rows: usize) -> Option<NullBuffer> {
    bits.map(|bits| NullBuffer::new(BooleanBuffer::new(bits.clone(), 0, rows)))
}

/// Builds an array and checks all of it.
fn built(builder: arrow_data::ArrayDataBuilder) -> Result<ArrayData> {
    let built = builder.align_buffers(true).build();
    built.map_err(|error| ArrayError::from_arrow(FORMAT, error))
}
