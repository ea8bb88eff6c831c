//! Where the messages of a file or stream lie.

use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::{Message, MessageHeader, MetadataVersion, root_as_footer_with_opts, root_as_message_with_opts};
use arrow_schema::{Field, SchemaRef};
use bytes::Bytes;
use flatbuffers::VerifierOptions;

use super::{
    FORMAT,
    decode::Dictionaries,
    lie,
    plan::BatchPlan,
    schema::{DEPTH_MAX, schema_of, values_of},
};
use crate::arrays::{
    budget::{COLUMNS_MAX, Deadline, UNIT_BYTES_MAX},
    error::{ArrayError, Result},
    source::Source,
};

const MAGIC: &[u8] = b"ARROW1";
const OLD_FEATHER: &[u8] = b"FEA1";

/// What stands before each message since version 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Most headers come with one read.
const HEADER_BYTES: u64 = 16 * 1024;

/// Largest header of a message, or footer.
const HEADER_BYTES_MAX: u64 = UNIT_BYTES_MAX;

/// Messages of one file.
const MESSAGES_MAX: usize = 1_000_000;

/// A message: its header, then its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins.
    pub(super) start: u64,
    /// Bytes before the body.
    pub(super) head_bytes: u64,
    /// Bytes of the body.
    pub(super) body_bytes: u64,
    /// Dictionaries that come before it.
    pub(super) dictionaries: usize,
}

/// What a file or stream is made of.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: SchemaRef,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    pub(super) batches: Vec<Block>,
}

/// Memory that begins where flatbuffers may begin.
pub(super) fn aligned(bytes: &[u8]) -> Buffer {
    Buffer::from_slice_ref(bytes)
}

fn options() -> VerifierOptions {
    VerifierOptions {
        max_depth: 2 * DEPTH_MAX,
        max_tables: 4 * COLUMNS_MAX,
        max_apparent_size: 4 * HEADER_BYTES_MAX as usize,
        ..VerifierOptions::default()
    }
}

/// A message, held against what flatbuffers may be.
pub(super) fn read_message(header: &Buffer) -> Result<Message<'_>> {
    root_as_message_with_opts(&options(), header).map_err(|error| lie(format!("a message makes no sense: {error}")))
}

/// What a message is.
pub(super) fn read_message_kind(header: &[u8]) -> Result<MessageHeader> {
    let header = aligned(header);
    Ok(read_message(&header)?.header_type())
}

impl BatchPlan {
    /// What the header of a message says of its batch.
    pub(super) fn of_message(header: &[u8], body_bytes: u64) -> Result<Self> {
        let header = aligned(header);
        let message = read_message(&header)?;
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| lie("a batch is something else"))?;
        Self::new(batch, message.version(), body_bytes)
    }
}

impl Layout {
    /// Finds the messages.
    pub(super) fn read(source: &Source, deadline: Deadline) -> Result<Self> {
        let first = source.read(0..source.size_bytes().min(8))?;
        if first.starts_with(OLD_FEATHER) {
            return Err(ArrayError::unsupported(FORMAT, "the first version of Feather"));
        }
        match first.starts_with(MAGIC) {
            true => Self::of_file(source),
            false => Self::of_stream(source, deadline),
        }
    }

    fn of_file(source: &Source) -> Result<Self> {
        const TAIL_BYTES: u64 = 10;
        const TAIL_READ_BYTES: u64 = 64 * 1024;
        let size = source.size_bytes();
        if size < 8 + TAIL_BYTES {
            return Err(lie("the file is too short"));
        }
        let last = source.read(size.saturating_sub(TAIL_READ_BYTES)..size)?;
        let tail = &last[last.len() - TAIL_BYTES as usize..];
        if tail[4..] != *MAGIC {
            return Err(lie("the file does not end as such a file does"));
        }
        let footer_bytes = i32::from_le_bytes(tail[..4].try_into().expect("four bytes"));
        let footer_bytes = u64::try_from(footer_bytes).map_err(|_| lie("the footer has a negative size"))?;
        if footer_bytes > HEADER_BYTES_MAX {
            return Err(ArrayError::too_large("the footer", footer_bytes, HEADER_BYTES_MAX));
        }
        let start = (size - TAIL_BYTES)
            .checked_sub(footer_bytes)
            .ok_or_else(|| lie("the footer is longer than the file"))?;
        let footer = aligned(&source.read(start..size - TAIL_BYTES)?);
        let footer = root_as_footer_with_opts(&options(), &footer)
            .map_err(|error| lie(format!("the footer makes no sense: {error}")))?;
        let schema = schema_of(footer.schema().ok_or_else(|| lie("the footer has no schema"))?)?;
        let blocks = |blocks: Option<flatbuffers::Vector<'_, arrow_ipc::Block>>, dictionaries| {
            let blocks = blocks.into_iter().flatten();
            blocks
                .map(|block| block_of(block, start, dictionaries))
                .collect::<Result<Vec<_>>>()
        };
        let dictionaries = blocks(footer.dictionaries(), 0)?;
        Ok(Self {
            schema: Arc::new(schema),
            version: footer.version(),
            batches: blocks(footer.recordBatches(), dictionaries.len())?,
            dictionaries,
        })
    }

    /// Goes from header to header.
    fn of_stream(source: &Source, deadline: Deadline) -> Result<Self> {
        let (mut layout, mut next) = (None::<Self>, 0);
        while let Some((head_bytes, header)) = next_header(source, next)? {
            deadline.check()?;
            let header = aligned(&header);
            let message = read_message(&header)?;
            let body_bytes = u64::try_from(message.bodyLength()).map_err(|_| lie("a body has a negative size"))?;
            let start = next;
            let end = (start + head_bytes)
                .checked_add(body_bytes)
                .filter(|end| *end <= source.size_bytes());
            next = end.ok_or_else(|| lie("the last message is cut"))?;
            let Some(layout) = &mut layout else {
                let schema = message
                    .header_as_schema()
                    .ok_or_else(|| lie("the first message is no schema"))?;
                layout = Some(Self {
                    schema: Arc::new(schema_of(schema)?),
                    version: message.version(),
                    dictionaries: Vec::new(),
                    batches: Vec::new(),
                });
                continue;
            };
            let block = Block {
                start,
                head_bytes,
                body_bytes,
                dictionaries: layout.dictionaries.len(),
            };
            match message.header_type() {
                MessageHeader::DictionaryBatch => layout.dictionaries.push(block),
                MessageHeader::RecordBatch => layout.batches.push(block),
                other => return Err(lie(format!("a stream holds a message of the kind {other:?}"))),
            }
            if layout.dictionaries.len() + layout.batches.len() > MESSAGES_MAX {
                return Err(ArrayError::OverBudget("a million messages"));
            }
        }
        layout.ok_or_else(|| lie("there is no schema"))
    }

    /// What a batch is made of, and its header where that says the same to whoever gets
    /// the message: in the present version, of a body as long.
    pub(super) fn plan(&self, source: &Source, block: &Block) -> Result<(BatchPlan, Option<Bytes>)> {
        let stored = self.header(source, block)?;
        let header = aligned(&stored);
        let message = read_message(&header)?;
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| lie("a batch is something else"))?;
        let plan = BatchPlan::new(batch, self.version, block.body_bytes)?;
        let says_the_same = message.version() == self.version
            && u64::try_from(message.bodyLength()).is_ok_and(|bytes| bytes == block.body_bytes);
        // A copy, as it would hold on to all that was read with it.
        Ok((plan, says_the_same.then(|| Bytes::copy_from_slice(&stored))))
    }

    fn header(&self, source: &Source, block: &Block) -> Result<Bytes> {
        let found = next_header(source, block.start)?;
        let (head_bytes, header) = found.ok_or_else(|| lie("a message is not there"))?;
        match head_bytes == block.head_bytes {
            true => Ok(header),
            false => Err(lie("a message has another size than the footer says")),
        }
    }

    /// Adds dictionaries to those that were read before.
    pub(super) fn read_dictionaries(
        &self,
        source: &Source,
        numbers: std::ops::Range<usize>,
        into: &mut Dictionaries,
    ) -> Result<()> {
        for block in &self.dictionaries[numbers] {
            if block.body_bytes > 2 * UNIT_BYTES_MAX {
                return Err(ArrayError::too_large(
                    "a dictionary",
                    block.body_bytes,
                    2 * UNIT_BYTES_MAX,
                ));
            }
            let header = self.header(source, block)?;
            let body =
                source.read(block.start + block.head_bytes..block.start + block.head_bytes + block.body_bytes)?;
            add_dictionary(&header, body, self.schema.fields(), self.version, into)?;
        }
        Ok(())
    }
}

/// Reads a dictionary and puts it in the place of the one with its id, or behind it.
pub(super) fn add_dictionary(
    header: &[u8],
    body: Bytes,
    fields: &[Arc<Field>],
    version: MetadataVersion,
    into: &mut Dictionaries,
) -> Result<()> {
    let header = aligned(header);
    let message = read_message(&header)?;
    let dictionary = message
        .header_as_dictionary_batch()
        .ok_or_else(|| lie("a dictionary is something else"))?;
    let id = dictionary.id();
    let values = fields.iter().find_map(|field| values_of(field, id));
    let values = values.ok_or_else(|| lie(format!("there is a dictionary {id} to which no column refers")))?;
    let batch = dictionary.data().ok_or_else(|| lie("a dictionary is empty"))?;
    let plan = BatchPlan::new(batch, version, body.len() as u64)?;
    let field = Field::new("values", values.clone(), true);
    let mut values = plan.decode_values(&field, &body, into)?;
    if dictionary.isDelta()
        && let Some(before) = into.get(&id)
    {
        values =
            arrow_select::concat::concat(&[before, &values]).map_err(|error| ArrayError::from_arrow(FORMAT, error))?;
    }
    into.insert(id, values);
    Ok(())
}

fn block_of(block: &arrow_ipc::Block, footer_start: u64, dictionaries: usize) -> Result<Block> {
    let natural = |number: i64| u64::try_from(number).map_err(|_| lie("a message lies before the file"));
    let block = Block {
        start: natural(block.offset())?,
        head_bytes: natural(block.metaDataLength().into())?,
        body_bytes: natural(block.bodyLength())?,
        dictionaries,
    };
    let head_end = block.start.checked_add(block.head_bytes);
    let end = head_end.and_then(|end| end.checked_add(block.body_bytes));
    match end.is_some_and(|end| end <= footer_start) {
        true => Ok(block),
        false => Err(lie("a message lies outside the file")),
    }
}

/// The header at a place, and the bytes up to its body; nothing at the end of a stream.
fn next_header(source: &Source, start: u64) -> Result<Option<(u64, Bytes)>> {
    let size = source.size_bytes();
    let first = source.read(start.min(size)..start.saturating_add(HEADER_BYTES).min(size))?;
    let word = |at: usize| {
        first
            .get(at..at + 4)
            .map(|word| <[u8; 4]>::try_from(word).expect("four bytes"))
    };
    let Some(marker) = word(0) else {
        // A stream need not say where it ends.
        return match first.is_empty() {
            true => Ok(None),
            false => Err(lie("the last message is cut")),
        };
    };
    let (length, before) = match marker {
        CONTINUATION => (word(4).ok_or_else(|| lie("the last message is cut"))?, 8),
        length => (length, 4),
    };
    let length = i32::from_le_bytes(length);
    if length == 0 {
        return Ok(None);
    }
    let length = u64::try_from(length).map_err(|_| lie("a message has a negative size"))?;
    if length > HEADER_BYTES_MAX {
        return Err(ArrayError::too_large(
            "the header of a message",
            length,
            HEADER_BYTES_MAX,
        ));
    }
    let end = start + before + length;
    if end > size {
        return Err(lie("the last message is cut"));
    }
    let header = match before + length <= first.len() as u64 {
        true => first.slice(before as usize..(before + length) as usize),
        false => source.read(start + before..end)?,
    };
    Ok(Some((before + length, header)))
}
