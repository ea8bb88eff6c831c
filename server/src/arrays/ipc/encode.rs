//! Batches as messages of Arrow IPC, without copying what they hold.
//!
//! The buffers of a batch go out as they are; only what has to change, as the offsets
//! of a slice, is made anew. What is small is put together, so that a message has few
//! pieces.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, GenericByteArray, OffsetSizeTrait, RecordBatch, cast::AsArray, types::ByteArrayType,
};
use arrow_buffer::{ArrowNativeType, Buffer, OffsetBuffer};
use arrow_data::{ArrayData, transform::MutableArrayData};
use arrow_ipc::{
    DictionaryBatchBuilder, FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder,
    convert::IpcSchemaEncoder, writer::DictionaryTracker,
};
use arrow_schema::{DataType, Schema};
use bytes::{Bytes, BytesMut};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::arrays::error::{ArrayError, Result};

/// Buffers begin at multiples of it, so that whoever gets them need not move them.
pub(crate) const ALIGNMENT: usize = 64;

/// From this size on a buffer is a piece of its own.
const PIECE_BYTES_MIN: usize = 8 * 1024;

/// A message: what it is, and its buffers one after the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// The flatbuffer that describes the body.
    pub(crate) header: Bytes,
    /// The body, in pieces.
    pub(crate) body: Vec<Bytes>,
    /// How long it is.
    pub(crate) body_bytes: usize,
}

/// Encodes the batches of one stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    schema: Message,
    /// The values that were sent last under each id.
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Encoder {
    /// For batches of a schema.
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            schema: schema_message(schema),
            dictionaries: HashMap::new(),
        }
    }

    /// The first message.
    pub(crate) fn schema(&self) -> Message {
        self.schema.clone()
    }

    /// The messages of a batch: dictionaries that changed, then the batch itself.
    pub(crate) fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let mut next_id = 0;
        for column in batch.columns() {
            self.dictionaries_of(column, &mut next_id, &mut messages)?;
        }
        let mut body = Body::default();
        for column in batch.columns() {
            body.array(column)?;
        }
        messages.push(body.record_batch(batch.num_rows()));
        Ok(messages)
    }

    /// Sends what a column refers to. Ids are counted as the schema message counts them.
    fn dictionaries_of(&mut self, array: &ArrayRef, next_id: &mut i64, into: &mut Vec<Message>) -> Result<()> {
        match array.data_type() {
            DataType::Dictionary(..) => {
                let values = array.as_any_dictionary().values();
                self.dictionaries_of(values, next_id, into)?;
                let id = *next_id;
                *next_id += 1;
                if self.dictionaries.get(&id).is_some_and(|sent| is_same(sent, values)) {
                    return Ok(());
                }
                let mut body = Body::default();
                body.array(values)?;
                into.push(body.dictionary(id, values.len()));
                self.dictionaries.insert(id, Arc::clone(values));
            }
            data_type if data_type.is_nested() => {
                for child in children(array) {
                    self.dictionaries_of(&child, next_id, into)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether two arrays hold the same; most often they are one.
fn is_same(one: &ArrayRef, other: &ArrayRef) -> bool {
    std::ptr::addr_eq(one.as_ref(), other.as_ref())
        || one.to_data().ptr_eq(&other.to_data())
        || one.as_ref() == other.as_ref()
}

fn children(array: &ArrayRef) -> Vec<ArrayRef> {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().to_vec(),
        DataType::List(_) => vec![Arc::clone(array.as_list::<i32>().values())],
        DataType::LargeList(_) => vec![Arc::clone(array.as_list::<i64>().values())],
        DataType::FixedSizeList(..) => vec![Arc::clone(array.as_fixed_size_list().values())],
        DataType::Map(..) => array.as_map().entries().columns().to_vec(),
        _ => {
            let data = array.to_data();
            data.child_data()
                .iter()
                .map(|child| arrow_array::make_array(child.clone()))
                .collect()
        }
    }
}

/// The message that opens a stream of batches.
pub(crate) fn schema_message(schema: &Schema) -> Message {
    let mut builder = FlatBufferBuilder::new();
    let mut ids = DictionaryTracker::new(false);
    let fields = IpcSchemaEncoder::new()
        .with_dictionary_tracker(&mut ids)
        .schema_to_fb_offset(&mut builder, schema);
    message(builder, MessageHeader::Schema, fields.as_union_value(), Body::default())
}

fn message(
    mut builder: FlatBufferBuilder<'_>,
    kind: MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
    mut body: Body,
) -> Message {
    body.end_joined();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(kind);
    message.add_bodyLength(body.bytes as i64);
    message.add_header(header);
    let root = message.finish();
    builder.finish(root, None);
    let (buffer, start) = builder.collapse();
    Message {
        header: Bytes::from(buffer).slice(start..),
        body: body.pieces,
        body_bytes: body.bytes,
    }
}

/// The buffers of a message, and what describes them.
#[derive(Default)]
struct Body {
    nodes: Vec<FieldNode>,
    buffers: Vec<arrow_ipc::Buffer>,
    variadic: Vec<i64>,
    pieces: Vec<Bytes>,
    /// What is too small to be a piece.
    joined: BytesMut,
    bytes: usize,
}

/// Keeps a buffer for as long as its bytes are on their way.
struct Owned(Buffer);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Body {
    fn record_batch(self, rows: usize) -> Message {
        let mut builder = FlatBufferBuilder::new();
        let header = self.header(&mut builder, rows).as_union_value();
        message(builder, MessageHeader::RecordBatch, header, self)
    }

    fn dictionary(self, id: i64, values: usize) -> Message {
        let mut builder = FlatBufferBuilder::new();
        let data = self.header(&mut builder, values);
        let mut dictionary = DictionaryBatchBuilder::new(&mut builder);
        dictionary.add_id(id);
        dictionary.add_data(data);
        let header = dictionary.finish().as_union_value();
        message(builder, MessageHeader::DictionaryBatch, header, self)
    }

    fn header<'b>(&self, builder: &mut FlatBufferBuilder<'b>, rows: usize) -> WIPOffset<arrow_ipc::RecordBatch<'b>> {
        let nodes = builder.create_vector(&self.nodes);
        let buffers = builder.create_vector(&self.buffers);
        let variadic = (!self.variadic.is_empty()).then(|| builder.create_vector(&self.variadic));
        let mut batch = RecordBatchBuilder::new(builder);
        batch.add_length(rows as i64);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        if let Some(variadic) = variadic {
            batch.add_variadicBufferCounts(variadic);
        }
        batch.finish()
    }

    fn put(&mut self, buffer: Buffer) {
        let len = buffer.len();
        self.buffers.push(arrow_ipc::Buffer::new(self.bytes as i64, len as i64));
        match len < PIECE_BYTES_MIN {
            true => self.joined.extend_from_slice(&buffer),
            false => {
                self.end_joined();
                self.pieces.push(Bytes::from_owner(Owned(buffer)));
            }
        }
        let padding = len.next_multiple_of(ALIGNMENT) - len;
        self.joined.resize(self.joined.len() + padding, 0);
        self.bytes += len + padding;
    }

    fn end_joined(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push(self.joined.split().freeze());
        }
    }

    /// The node of an array, and where its nulls are.
    fn node(&mut self, array: &dyn Array) {
        self.nodes
            .push(FieldNode::new(array.len() as i64, array.null_count() as i64));
        match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => self.put(nulls.inner().sliced()),
            None => self.put(Buffer::from(&[])),
        }
    }

    fn array(&mut self, array: &ArrayRef) -> Result<()> {
        use DataType as D;
        match array.data_type() {
            D::Null => {
                let rows = array.len() as i64;
                self.nodes.push(FieldNode::new(rows, rows));
            }
            D::Boolean => {
                self.node(array);
                self.put(array.as_boolean().values().sliced());
            }
            D::Utf8 => self.texts(array, array.as_string::<i32>()),
            D::LargeUtf8 => self.texts(array, array.as_string::<i64>()),
            D::Binary => self.texts(array, array.as_binary::<i32>()),
            D::LargeBinary => self.texts(array, array.as_binary::<i64>()),
            D::Utf8View => {
                let views = array.as_string_view();
                match is_wasteful(array, views.data_buffers()) {
                    true => self.views(array, &views.gc().into_data()),
                    false => self.views(array, &array.to_data()),
                }
            }
            D::BinaryView => {
                let views = array.as_binary_view();
                match is_wasteful(array, views.data_buffers()) {
                    true => self.views(array, &views.gc().into_data()),
                    false => self.views(array, &array.to_data()),
                }
            }
            D::List(_) => {
                let lists = array.as_list::<i32>();
                self.lists(array, lists.offsets(), lists.values())?;
            }
            D::LargeList(_) => {
                let lists = array.as_list::<i64>();
                self.lists(array, lists.offsets(), lists.values())?;
            }
            D::Map(..) => {
                let map = array.as_map();
                let entries: ArrayRef = Arc::new(map.entries().clone());
                self.lists(array, map.offsets(), &entries)?;
            }
            D::FixedSizeList(_, size) => {
                let lists = array.as_fixed_size_list();
                self.node(array);
                let start = lists.value_offset(0).as_usize();
                let values = lists.values().slice(start, lists.len() * size.as_usize());
                self.array(&values)?;
            }
            D::Struct(_) => {
                self.node(array);
                for column in array.as_struct().columns() {
                    self.array(column)?;
                }
            }
            D::Dictionary(..) => {
                let keys = array.as_any_dictionary().keys();
                self.node(array);
                self.values(&keys.to_data())?;
            }
            D::Union(..) | D::RunEndEncoded(..) | D::ListView(_) | D::LargeListView(_) => {
                self.rest(&compact(array)?)?;
            }
            _ => {
                self.node(array);
                self.values(&array.to_data())?;
            }
        }
        Ok(())
    }

    /// Values of one size.
    fn values(&mut self, data: &ArrayData) -> Result<()> {
        let width = match data.data_type() {
            DataType::FixedSizeBinary(size) => size.as_usize(),
            other => other
                .primitive_width()
                .ok_or_else(|| ArrayError::unsupported("arrow", format!("the type {other}")))?,
        };
        let values = &data.buffers()[0];
        self.put(values.slice_with_length(data.offset() * width, data.len() * width));
        Ok(())
    }

    fn texts<T: ByteArrayType>(&mut self, array: &ArrayRef, texts: &GenericByteArray<T>) {
        self.node(array);
        let offsets = texts.offsets();
        self.offsets(offsets);
        let (start, end) = bounds(offsets);
        self.put(texts.values().slice_with_length(start, end - start));
    }

    fn lists<O: OffsetSizeTrait>(
        &mut self,
        array: &ArrayRef,
        offsets: &OffsetBuffer<O>,
        values: &ArrayRef,
    ) -> Result<()> {
        self.node(array);
        self.offsets(offsets);
        let (start, end) = bounds(offsets);
        self.array(&values.slice(start, end - start))
    }

    /// Offsets that begin with 0.
    fn offsets<O: OffsetSizeTrait>(&mut self, offsets: &OffsetBuffer<O>) {
        let first = offsets[0];
        match first == O::usize_as(0) {
            true => self.put(offsets.inner().inner().clone()),
            false => {
                let moved: Vec<O> = offsets.iter().map(|offset| *offset - first).collect();
                self.put(Buffer::from_vec(moved));
            }
        }
    }

    fn views(&mut self, array: &ArrayRef, data: &ArrayData) {
        const VIEW_BYTES: usize = 16;
        self.node(array);
        let views = &data.buffers()[0];
        self.put(views.slice_with_length(data.offset() * VIEW_BYTES, data.len() * VIEW_BYTES));
        self.variadic.push(data.buffers().len() as i64 - 1);
        for buffer in &data.buffers()[1..] {
            self.put(buffer.clone());
        }
    }

    /// An array of a rare type that begins at the beginning of its buffers.
    fn rest(&mut self, data: &ArrayData) -> Result<()> {
        let array = arrow_array::make_array(data.clone());
        match data.data_type() {
            DataType::Union(..) | DataType::RunEndEncoded(..) => {
                self.nodes.push(FieldNode::new(data.len() as i64, 0));
            }
            _ => self.node(&array),
        }
        for buffer in data.buffers() {
            self.put(buffer.clone());
        }
        for child in data.child_data() {
            self.array(&arrow_array::make_array(child.clone()))?;
        }
        Ok(())
    }
}

/// The first and the last offset. An array without rows has one.
fn bounds<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize())
}

/// Whether views stand for little of what they refer to.
fn is_wasteful(array: &ArrayRef, buffers: &[Buffer]) -> bool {
    let held: usize = buffers.iter().map(Buffer::len).sum();
    held > PIECE_BYTES_MIN && held > 2 * crate::arrays::measure::long_view_bytes(array)
}

/// A copy that holds nothing but what is in the array.
fn compact(array: &ArrayRef) -> Result<ArrayData> {
    let data = array.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    let copied = copy.try_extend(0, 0, data.len());
    copied.map_err(|error| ArrayError::from_arrow(super::FORMAT, error))?;
    Ok(copy.freeze())
}
