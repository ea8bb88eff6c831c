//! Messages of Arrow IPC as arrays, with every buffer checked against what is there.
//!
//! A window of the rows of a message can be decoded alone: then of each buffer only
//! the bytes are fetched that these rows need, so that a file of one huge batch is read
//! in small ones. All arrays are validated: offsets, dictionary keys, UTF-8.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow_array::{Array, ArrayRef, UnionArray, make_array, new_empty_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_data::{ArrayData, ByteView};
use arrow_ipc::{CompressionType, MetadataVersion, RecordBatch as Header};
use arrow_schema::{DataType, Field, UnionMode};
use bytes::Bytes;

use super::FORMAT;
use crate::arrays::{
    budget::UNIT_BYTES_MAX,
    error::{ArrayError, Result},
};

/// Deepest nesting of types.
pub(super) const DEPTH_MAX: usize = 64;

/// Gives ranges of the body of a message.
pub(super) trait BodyReader {
    /// Bytes of it. The range lies inside.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

impl BodyReader for Bytes {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.slice(range.start as usize..range.end as usize))
    }
}

/// What the dictionaries of a stream hold now, by their ids.
pub(crate) type Dictionaries = HashMap<i64, ArrayRef>;

/// What the header of a batch says, checked so far as it can be without the body.
#[derive(Debug, Clone)]
pub(super) struct BatchPlan {
    /// Rows of the batch.
    pub(super) rows: usize,
    nodes: Vec<Node>,
    buffers: Vec<Range<u64>>,
    variadic: Vec<usize>,
    compression: Option<CompressionType>,
    version: MetadataVersion,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    rows: usize,
    nulls: usize,
}

fn lie(what: impl Into<String>) -> ArrayError {
    ArrayError::malformed(FORMAT, what)
}

fn natural(number: i64, what: &str) -> Result<usize> {
    usize::try_from(number).map_err(|_| lie(format!("a message has {what} of negative size")))
}

/// Rows that a batch may have whatever its bytes: packed, or always null.
const ROWS_FREE: u64 = 1 << 31;

impl BatchPlan {
    /// Reads the header of a batch whose body has as many bytes.
    pub(super) fn new(header: Header<'_>, version: MetadataVersion, body_bytes: u64) -> Result<Self> {
        let nodes = header.nodes().into_iter().flatten().map(|node| {
            let (rows, nulls) = (
                natural(node.length(), "a column")?,
                natural(node.null_count(), "nulls")?,
            );
            match nulls <= rows {
                true => Ok(Node { rows, nulls }),
                false => Err(lie("a column has more nulls than rows")),
            }
        });
        let buffers = header.buffers().into_iter().flatten().map(|buffer| {
            let (start, bytes) = (
                natural(buffer.offset(), "a buffer")?,
                natural(buffer.length(), "a buffer")?,
            );
            let end = (start as u64)
                .checked_add(bytes as u64)
                .filter(|end| *end <= body_bytes);
            end.map(|end| start as u64..end)
                .ok_or_else(|| lie("a buffer lies outside its message"))
        });
        let variadic = header.variadicBufferCounts().into_iter().flatten();
        let compression = match header.compression() {
            None => None,
            Some(body) => match body.codec() {
                codec @ (CompressionType::LZ4_FRAME | CompressionType::ZSTD) => Some(codec),
                other => return Err(ArrayError::unsupported(FORMAT, format!("the compression {other:?}"))),
            },
        };
        let rows = natural(header.length(), "a batch")?;
        // No column takes less than a bit for a row, but one that is always null.
        if rows as u64 > ROWS_FREE.max(body_bytes.saturating_mul(8)) {
            return Err(lie("a batch has more rows than its bytes can hold"));
        }
        Ok(Self {
            rows,
            nodes: nodes.collect::<Result<_>>()?,
            buffers: buffers.collect::<Result<_>>()?,
            variadic: variadic
                .map(|count| natural(count, "a column"))
                .collect::<Result<_>>()?,
            compression,
            version,
        })
    }

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

    /// Whether its buffers are packed, so that they can only be read as a whole.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression.is_some()
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

    /// A buffer as it is in memory, or a part of it.
    fn bytes(&self, buffer: &Range<u64>, part: Range<u64>) -> Result<Buffer> {
        let bytes = match self.plan.compression {
            None => {
                if part.end > buffer.end - buffer.start {
                    return Err(lie("a buffer is too short for its column"));
                }
                if part.is_empty() {
                    return Ok(Buffer::from(&[]));
                }
                self.body.read(buffer.start + part.start..buffer.start + part.end)?
            }
            Some(codec) => {
                let unpacked = self.unpacked(buffer, codec)?;
                let inside = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
                let inside = inside.filter(|(start, end)| start <= end && *end <= unpacked.len());
                let (start, end) = inside.ok_or_else(|| lie("a buffer is too short for its column"))?;
                unpacked.slice(start..end)
            }
        };
        Ok(Buffer::from(bytes))
    }

    fn unpacked(&self, buffer: &Range<u64>, codec: CompressionType) -> Result<Bytes> {
        const LENGTH_BYTES: u64 = 8;
        const NOT_PACKED: i64 = -1;
        let packed_bytes = buffer.end - buffer.start;
        if packed_bytes == 0 {
            return Ok(Bytes::new());
        }
        if packed_bytes < LENGTH_BYTES {
            return Err(lie("a packed buffer is too short"));
        }
        if packed_bytes > UNIT_BYTES_MAX {
            return Err(ArrayError::too_large("a packed buffer", packed_bytes, UNIT_BYTES_MAX));
        }
        let packed = self.body.read(buffer.clone())?;
        let length = i64::from_le_bytes(packed[..8].try_into().expect("eight bytes"));
        let packed = packed.slice(8..);
        if length == NOT_PACKED {
            return Ok(packed);
        }
        let length = u64::try_from(length).map_err(|_| lie("a packed buffer of negative size"))?;
        if length > UNIT_BYTES_MAX {
            return Err(ArrayError::too_large("a buffer", length, UNIT_BYTES_MAX));
        }
        super::unpack(codec, &packed, length as usize).map(Bytes::from)
    }

    /// Values of one size.
    fn values(&self, buffer: &Range<u64>, rows: &Range<usize>, width: usize) -> Result<Buffer> {
        let at = |row: usize| (row as u64).checked_mul(width as u64);
        let part = at(rows.start)
            .zip(at(rows.end))
            .ok_or_else(|| lie("a column is too long"))?;
        self.bytes(buffer, part.0..part.1)
    }

    /// Bits from the byte on that has the first; answers how many others stand before it there.
    fn bits(&self, buffer: &Range<u64>, rows: &Range<usize>) -> Result<(Buffer, usize)> {
        let first = rows.start / 8;
        let bytes = self.bytes(buffer, first as u64..rows.end.div_ceil(8) as u64)?;
        Ok((bytes, rows.start % 8))
    }

    /// The nulls of some rows, as an array begins with them.
    fn nulls(&self, buffer: &Range<u64>, node: Node, rows: &Range<usize>) -> Result<Option<Buffer>> {
        if node.nulls == 0 || rows.is_empty() {
            return Ok(None);
        }
        let (bits, skipped) = self.bits(buffer, rows)?;
        Ok(Some(match skipped {
            0 => bits,
            skipped => BooleanBuffer::new(bits, skipped, rows.len()).sliced(),
        }))
    }

    /// Offsets of some rows and what they span of the values.
    fn offsets<O: ArrowNativeType>(&self, buffer: &Range<u64>, rows: &Range<usize>) -> Result<(Vec<O>, Range<usize>)> {
        // A batch without rows need not have the one offset that it should.
        if rows.is_empty() {
            return Ok((vec![O::usize_as(0)], 0..0));
        }
        let with_end = rows.start..rows.end + 1;
        let stored = aligned::<O>(self.values(buffer, &with_end, size_of::<O>())?);
        let stored: &[O] = &stored;
        let in_order = stored.windows(2).all(|pair| pair[0] <= pair[1]) && stored[0] >= O::usize_as(0);
        if !in_order {
            return Err(lie("offsets are not in order"));
        }
        let (first, last) = (stored[0].as_usize(), stored[stored.len() - 1].as_usize());
        let moved = stored
            .iter()
            .map(|offset| O::usize_as(offset.as_usize() - first))
            .collect();
        Ok((moved, first..last))
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

    fn texts<O: ArrowNativeType>(
        &mut self,
        data_type: &DataType,
        node: Node,
        rows: &Range<usize>,
    ) -> Result<ArrayData> {
        let (nulls, offsets, values) = (self.next_buffer()?, self.next_buffer()?, self.next_buffer()?);
        let nulls = self.nulls(&nulls, node, rows)?;
        let (offsets, span) = self.offsets::<O>(&offsets, rows)?;
        let values = self.bytes(&values, span.start as u64..span.end as u64)?;
        let builder = ArrayData::builder(data_type.clone())
            .len(rows.len())
            .null_bit_buffer(nulls);
        built(builder.add_buffer(Buffer::from_vec(offsets)).add_buffer(values))
    }

    /// Views, with those parts of their buffers alone to which they refer.
    fn views(&mut self, data_type: &DataType, node: Node, rows: &Range<usize>) -> Result<ArrayData> {
        let buffers = self.next_variadic()?;
        let (nulls, views) = (self.next_buffer()?, self.next_buffer()?);
        let nulls = self.nulls(&nulls, node, rows)?;
        let mut views = aligned::<u128>(self.values(&views, rows, size_of::<u128>())?).to_vec();
        let buffers = (0..buffers).map(|_| self.next_buffer()).collect::<Result<Vec<_>>>()?;
        if let Some(nulls) = &nulls {
            let set = BooleanBuffer::new(nulls.clone(), 0, rows.len());
            let unset = views.iter_mut().zip(set.iter()).filter(|(_, set)| !set);
            unset.for_each(|(view, _)| *view = 0);
        }
        let mut used: Vec<Option<Range<u32>>> = vec![None; buffers.len()];
        for view in views.iter().map(|view| ByteView::from(*view)).filter(is_long) {
            let used = used.get_mut(view.buffer_index as usize);
            let used = used.ok_or_else(|| lie("a text lies in a buffer that there is not"))?;
            let end = view
                .offset
                .checked_add(view.length)
                .ok_or_else(|| lie("a text is too long"))?;
            let range = used.get_or_insert(view.offset..end);
            *range = range.start.min(view.offset)..range.end.max(end);
        }
        let mut builder = ArrayData::builder(data_type.clone())
            .len(rows.len())
            .null_bit_buffer(nulls);
        // What stood in which buffer, from where on, and in which one it is now.
        let mut places = vec![(0, 0); buffers.len()];
        let mut read = Vec::new();
        for (number, (buffer, used)) in buffers.iter().zip(&used).enumerate() {
            if let Some(used) = used {
                places[number] = (read.len() as u32, used.start);
                read.push(self.bytes(buffer, used.start.into()..used.end.into())?);
            }
        }
        for view in &mut views {
            let mut moved = ByteView::from(*view);
            if is_long(&moved) {
                let (buffer, start) = places[moved.buffer_index as usize];
                (moved.buffer_index, moved.offset) = (buffer, moved.offset - start);
                *view = moved.as_u128();
            }
        }
        builder = builder.add_buffer(Buffer::from_vec(views));
        built(
            read.into_iter()
                .fold(builder, |builder, buffer| builder.add_buffer(buffer)),
        )
    }

    fn lists<O: ArrowNativeType>(
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
    fn list_views<O: ArrowNativeType>(
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

    fn union(
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
    fn runs(
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

impl BatchPlan {
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

/// The nulls of some rows that begin with the first bit.
fn null_buffer(bits: Option<&Buffer>, rows: usize) -> Option<NullBuffer> {
    bits.map(|bits| NullBuffer::new(BooleanBuffer::new(bits.clone(), 0, rows)))
}

/// Whether a text stands outside its view.
fn is_long(view: &ByteView) -> bool {
    const INLINE_BYTES: u32 = 12;
    view.length > INLINE_BYTES
}

/// The id of the dictionary to which a column refers.
#[expect(deprecated, reason = "the schema of a stream says it nowhere else")]
pub(super) fn dictionary_id(field: &Field) -> Option<i64> {
    field.dict_id()
}

fn check_depth(depth: usize) -> Result<()> {
    match depth > DEPTH_MAX {
        true => Err(lie("types are nested too deeply")),
        false => Ok(()),
    }
}

/// The types below a type, in the order in which their columns come.
pub(super) fn child_types(data_type: &DataType) -> Vec<&DataType> {
    use DataType as D;
    match data_type {
        D::List(field)
        | D::LargeList(field)
        | D::ListView(field)
        | D::LargeListView(field)
        | D::FixedSizeList(field, _)
        | D::Map(field, _) => vec![field.data_type()],
        D::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        D::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        D::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

/// Numbers of a buffer, which may begin anywhere in memory.
fn aligned<T: ArrowNativeType>(buffer: Buffer) -> ScalarBuffer<T> {
    let whole = buffer.len() / size_of::<T>() * size_of::<T>();
    let buffer = match buffer.as_ptr().align_offset(align_of::<T>()) {
        0 => buffer.slice_with_length(0, whole),
        _ => Buffer::from(&buffer[..whole]),
    };
    ScalarBuffer::from(buffer)
}

/// Builds an array and checks all of it.
fn built(builder: arrow_data::ArrayDataBuilder) -> Result<ArrayData> {
    let built = builder.align_buffers(true).build();
    built.map_err(|error| ArrayError::from_arrow(FORMAT, error))
}
