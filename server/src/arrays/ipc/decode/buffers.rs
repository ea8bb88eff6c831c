//! Buffers of a message, each checked against what is there.

use std::ops::Range;

use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, ScalarBuffer};
use arrow_ipc::CompressionType;
use bytes::Bytes;

use super::{
    super::{lie, plan::Node, unpack},
    Decoding,
};
use crate::arrays::{
    budget::UNIT_BYTES_MAX,
    error::{ArrayError, Result},
};

impl Decoding<'_> {
    /// A buffer as it is in memory, or a part of it.
    pub(super) fn bytes(&self, buffer: &Range<u64>, part: Range<u64>) -> Result<Buffer> {
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
        unpack(codec, &packed, length as usize).map(Bytes::from)
    }

    /// Values of one size.
    pub(super) fn values(&self, buffer: &Range<u64>, rows: &Range<usize>, width: usize) -> Result<Buffer> {
        let at = |row: usize| (row as u64).checked_mul(width as u64);
        let part = at(rows.start)
            .zip(at(rows.end))
            .ok_or_else(|| lie("a column is too long"))?;
        self.bytes(buffer, part.0..part.1)
    }

    /// Bits from the byte on that has the first; answers how many others stand before it there.
    pub(super) fn bits(&self, buffer: &Range<u64>, rows: &Range<usize>) -> Result<(Buffer, usize)> {
        let first = rows.start / 8;
        let bytes = self.bytes(buffer, first as u64..rows.end.div_ceil(8) as u64)?;
        Ok((bytes, rows.start % 8))
    }

    /// The nulls of some rows, as an array begins with them.
    pub(super) fn nulls(&self, buffer: &Range<u64>, node: Node, rows: &Range<usize>) -> Result<Option<Buffer>> {
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
    pub(super) fn offsets<O: ArrowNativeType>(
        &self,
        buffer: &Range<u64>,
        rows: &Range<usize>,
    ) -> Result<(Vec<O>, Range<usize>)> {
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
}

/// Numbers of a buffer, which may begin anywhere in memory.
pub(super) fn aligned<T: ArrowNativeType>(buffer: Buffer) -> ScalarBuffer<T> {
    let whole = buffer.len() / size_of::<T>() * size_of::<T>();
    let buffer = match buffer.as_ptr().align_offset(align_of::<T>()) {
        0 => buffer.slice_with_length(0, whole),
        _ => Buffer::from(&buffer[..whole]),
    };
    ScalarBuffer::from(buffer)
}
