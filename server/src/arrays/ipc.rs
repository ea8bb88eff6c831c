//! Arrow IPC: files, streams, and Feather, which is such a file.
//!
//! A file lists its batches at its end; of a stream the headers are read from the first
//! to the last. Bodies are only read when their rows are wanted, and a batch that is
//! too large for one is read in windows.

mod body;
mod decode;
mod encode;
mod layout;
mod messages;
mod plan;
mod scan;
mod schema;
mod stored;
mod write;

use std::sync::{Arc, OnceLock};

use arrow_ipc::CompressionType;
use arrow_schema::SchemaRef;

use self::layout::Layout;
use super::{
    budget::Deadline,
    error::{ArrayError, Result},
    source::{Place, Source},
    table::{Batches, ColumnFacts, Part, Portions, Scan, Table},
};

pub(crate) use self::{
    encode::{ALIGNMENT, Encoder, Message, schema_message},
    messages::MessageReader,
    schema::read_schema,
    write::IpcSink,
};

const FORMAT: &str = "arrow";

fn lie(what: impl Into<String>) -> ArrayError {
    ArrayError::malformed(FORMAT, what)
}

/// A file or stream of batches.
#[derive(Debug)]
pub(crate) struct IpcTable {
    place: Place,
    layout: Layout,
    /// The first row of each batch, and the end of the last.
    starts: OnceLock<Vec<u64>>,
}

impl IpcTable {
    /// Finds out where the batches lie. Must be called where waiting is allowed.
    ///
    /// How many rows each has may be known from an earlier look.
    pub(crate) fn open(place: Place, rows: Option<&[u64]>) -> Result<Self> {
        let layout = Layout::read(&Source::sparse(place.clone()), Deadline::NEVER)?;
        let table = Self {
            place,
            layout,
            starts: OnceLock::new(),
        };
        if let Some(rows) = rows.filter(|rows| rows.len() == table.layout.batches.len()) {
            table.starts.get_or_init(|| starts_of(rows.iter().copied()));
        }
        Ok(table)
    }

    /// How many rows each batch has: of a file, this reads all headers.
    pub(crate) fn count_rows(&self, deadline: Deadline) -> Result<Vec<u64>> {
        let starts = self.starts(&self.place, deadline)?;
        Ok(starts.windows(2).map(|pair| pair[1] - pair[0]).collect())
    }

    fn starts(&self, place: &Place, deadline: Deadline) -> Result<&[u64]> {
        if let Some(starts) = self.starts.get() {
            return Ok(starts);
        }
        let source = Source::sparse(place.clone());
        let mut rows = Vec::with_capacity(self.layout.batches.len());
        for block in &self.layout.batches {
            deadline.check()?;
            let (plan, _) = self.layout.plan(&source, block)?;
            rows.push(plan.rows as u64);
        }
        Ok(self.starts.get_or_init(|| starts_of(rows)))
    }
}

fn starts_of(rows: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut end = 0u64;
    let ends = rows.into_iter().map(|rows| {
        end = end.saturating_add(rows);
        end
    });
    std::iter::once(0).chain(ends).collect()
}

impl Table for IpcTable {
    fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    fn n_rows(&self) -> Option<u64> {
        self.starts.get()?.last().copied()
    }

    fn parts(&self) -> Vec<Part> {
        let Some(starts) = self.starts.get() else {
            return Vec::new();
        };
        let parts = starts.windows(2).zip(&self.layout.batches);
        parts
            .map(|(pair, block)| Part {
                rows: pair[0]..pair[1],
                bytes: block.body_bytes,
            })
            .collect()
    }

    fn column_facts(&self) -> Vec<ColumnFacts> {
        vec![ColumnFacts::default(); self.layout.schema.fields().len()]
    }

    fn scan(self: Arc<Self>, scan: Scan) -> Result<Batches> {
        scan::scan(self, scan)
    }

    fn scan_to_send(self: Arc<Self>, scan: Scan) -> Result<Portions> {
        scan::scan_to_send(self, scan)
    }
}

/// Unpacks a buffer that says how long it becomes.
fn unpack(codec: CompressionType, packed: &[u8], bytes: usize) -> Result<Vec<u8>> {
    use std::io::Read;
    let unpacked = match codec {
        CompressionType::ZSTD => zstd::bulk::decompress(packed, bytes),
        _ => {
            let mut unpacked = Vec::with_capacity(bytes);
            let mut decoder = lz4_flex::frame::FrameDecoder::new(packed).take(bytes as u64 + 1);
            decoder.read_to_end(&mut unpacked).map(|_| unpacked)
        }
    };
    let unpacked = unpacked.map_err(|_| lie("a packed buffer cannot be unpacked"))?;
    match unpacked.len() == bytes {
        true => Ok(unpacked),
        false => Err(lie("a packed buffer is longer or shorter than it says")),
    }
}
