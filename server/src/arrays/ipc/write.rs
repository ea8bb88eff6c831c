//! Tables as Arrow IPC files and streams.
//!
//! Bodies begin where their buffers may begin in memory, so that a file can be mapped
//! and used as it is. The batches of a file share their dictionaries: its readers take
//! all of these first. A stream may send others in between.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::{Block, FooterBuilder, MetadataVersion, convert::IpcSchemaEncoder, writer::DictionaryTracker};
use arrow_schema::SchemaRef;
use bytes::{BufMut, Bytes, BytesMut};
use flatbuffers::FlatBufferBuilder;

use super::encode::{ALIGNMENT, Encoder, Message};
use crate::arrays::{
    error::{ArrayError, Result},
    write::Sink,
};

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: u32 = 0xffff_ffff;

/// Writes pieces as a file, or as a stream when the suffix says so.
pub(crate) struct IpcSink {
    schema: SchemaRef,
    encoder: Encoder,
    is_file: bool,
    began: bool,
    position: u64,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

impl IpcSink {
    /// A file of batches of a schema.
    pub(crate) fn new(schema: &SchemaRef, suffix: &str) -> Self {
        Self {
            schema: Arc::clone(schema),
            encoder: Encoder::new(schema),
            is_file: suffix != ".arrows",
            began: false,
            position: 0,
            dictionaries: Vec::new(),
            batches: Vec::new(),
        }
    }

    fn begin(&mut self, ready: &mut Vec<Bytes>) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        if self.is_file {
            self.put(Bytes::from_static(b"ARROW1\0\0"), ready);
        }
        let schema = self.encoder.schema();
        self.message(schema, ready);
    }

    fn put(&mut self, bytes: Bytes, ready: &mut Vec<Bytes>) {
        self.position += bytes.len() as u64;
        ready.push(bytes);
    }

    fn message(&mut self, message: Message, ready: &mut Vec<Bytes>) -> Block {
        let start = self.position;
        // The body begins where its buffers may begin.
        let head_end = (start as usize + 8 + message.header.len()).next_multiple_of(ALIGNMENT);
        let header_bytes = head_end - start as usize - 8;
        let mut head = BytesMut::with_capacity(8 + header_bytes);
        head.put_u32_le(CONTINUATION);
        head.put_u32_le(header_bytes as u32);
        head.put_slice(&message.header);
        head.resize(8 + header_bytes, 0);
        self.put(head.freeze(), ready);
        for piece in message.body {
            self.put(piece, ready);
        }
        Block::new(start as i64, (8 + header_bytes) as i32, message.body_bytes as i64)
    }
}

impl Sink for IpcSink {
    fn write(&mut self, piece: &RecordBatch) -> Result<Vec<Bytes>> {
        let mut ready = Vec::new();
        self.begin(&mut ready);
        let mut messages = self.encoder.encode(piece)?;
        let batch = messages.pop();
        for dictionary in messages {
            if self.is_file && !self.batches.is_empty() {
                let rule = "has batches whose dictionaries differ: unify them, or write .arrows or .parquet";
                return Err(ArrayError::selection("schema", rule));
            }
            let block = self.message(dictionary, &mut ready);
            self.dictionaries.push(block);
        }
        if let Some(batch) = batch {
            let block = self.message(batch, &mut ready);
            self.batches.push(block);
        }
        Ok(ready)
    }

    fn finish(&mut self) -> Result<Vec<Bytes>> {
        let mut ready = Vec::new();
        self.begin(&mut ready);
        let mut tail = BytesMut::new();
        tail.put_u32_le(CONTINUATION);
        tail.put_u32_le(0);
        if self.is_file {
            let footer = self.footer();
            tail.put_slice(&footer);
            tail.put_i32_le(footer.len() as i32);
            tail.put_slice(MAGIC);
        }
        self.put(tail.freeze(), &mut ready);
        Ok(ready)
    }
}

impl IpcSink {
    fn footer(&self) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector(&self.dictionaries);
        let batches = builder.create_vector(&self.batches);
        let mut ids = DictionaryTracker::new(false);
        let mut encoder = IpcSchemaEncoder::new().with_dictionary_tracker(&mut ids);
        let schema = encoder.schema_to_fb_offset(&mut builder, &self.schema);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        let root = footer.finish();
        builder.finish(root, None);
        builder.finished_data().to_vec()
    }
}
