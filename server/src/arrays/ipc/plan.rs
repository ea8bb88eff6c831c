//! What the header of a batch says of it.

use std::ops::Range;

use arrow_ipc::{CompressionType, MetadataVersion, RecordBatch as Header};

use super::{FORMAT, lie};
use crate::arrays::error::{ArrayError, Result};

/// What the header of a batch says, checked so far as it can be without the body.
#[derive(Debug, Clone)]
pub(super) struct BatchPlan {
    /// Rows of the batch.
    pub(super) rows: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) buffers: Vec<Range<u64>>,
    pub(super) variadic: Vec<usize>,
    pub(super) compression: Option<CompressionType>,
    pub(super) version: MetadataVersion,
}

/// What it says of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) rows: usize,
    pub(super) nulls: usize,
}

/// A number that must not be negative.
pub(super) fn natural(number: i64, what: &str) -> Result<usize> {
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

    /// Whether its buffers are packed, so that they can only be read as a whole.
    pub(super) fn is_compressed(&self) -> bool {
        self.compression.is_some()
    }
}
