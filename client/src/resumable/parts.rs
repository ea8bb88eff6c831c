//! The parts of an upload: what is durable of it, and what is not.

use std::collections::BTreeMap;

use artifactd_proto::v1 as pb;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    /// Whether the server must be told that the content ends behind it.
    pub(super) says_end: bool,
}

impl Part {
    /// Position behind it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.size_bytes
    }
}

/// Whether the part with a number, which ends at a position, is durable.
pub(super) fn holds(upload: &pb::Upload, number: u64, end: u64) -> bool {
    if !upload.parallel {
        return end <= upload.durable_bytes.unsigned_abs();
    }
    let ranges = &upload.parts;
    let behind = ranges.partition_point(|range| range.first.unsigned_abs() <= number);
    behind > 0 && number <= ranges[behind - 1].last.unsigned_abs()
}

/// The parts of a file of so many bytes that are not durable, in order.
pub(super) fn missing(upload: &pb::Upload, size_bytes: u64) -> impl Iterator<Item = Part> {
    let declares_size = upload.save.as_ref().is_some_and(|save| save.size.is_some());
    let part_bytes = upload.part_bytes.unsigned_abs().max(1);
    let parts = (0..size_bytes.div_ceil(part_bytes)).map(move |number| {
        let offset = number * part_bytes;
        let size_bytes = part_bytes.min(size_bytes - offset);
        Part {
            number,
            offset,
            size_bytes,
            says_end: !declares_size && size_bytes < part_bytes,
        }
    });
    parts.filter(|part| !holds(upload, part.number, part.end()))
}

/// What the durable parts of an upload are.
#[derive(Debug)]
pub(super) struct Sums {
    /// Bytes of each part but the last.
    pub(super) part_bytes: u64,
    /// A crc32c of each durable part, by its number.
    pub(super) parts: BTreeMap<u64, u32>,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            part_bytes: u64::MAX,
            parts: BTreeMap::new(),
        }
    }
}

/// What the durable parts of an upload are, where its server tells.
pub(super) fn sums(upload: &pb::Upload, size_bytes: u64) -> Sums {
    let part_bytes = upload.part_bytes.unsigned_abs().max(1);
    let numbers = (0..size_bytes.div_ceil(part_bytes)).filter(|number| {
        let offset = number * part_bytes;
        let size_bytes = part_bytes.min(size_bytes - offset);
        holds(upload, *number, offset + size_bytes)
    });
    Sums {
        part_bytes,
        parts: numbers.zip(upload.part_crc32c.iter().copied()).collect(),
    }
}

/// Bytes that are durable, wherever they are.
pub(crate) fn durable_bytes(upload: &pb::Upload) -> u64 {
    let in_a_row = upload.durable_bytes.unsigned_abs();
    let size = upload.save.as_ref().and_then(|save| save.size);
    let Some(size_bytes) = size.filter(|_| upload.parallel).map(i64::unsigned_abs) else {
        return in_a_row;
    };
    let part_bytes = upload.part_bytes.unsigned_abs();
    let bytes = upload.parts.iter().map(|range| {
        let end = (range.last.unsigned_abs() + 1) * part_bytes;
        end.min(size_bytes)
            .saturating_sub(range.first.unsigned_abs() * part_bytes)
    });
    // The parts of what is complete are told no more.
    bytes.sum::<u64>().max(in_a_row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(size: Option<i64>, parallel: bool, ranges: &[(i64, i64)], durable_bytes: i64) -> pb::Upload {
        pb::Upload {
            save: Some(pb::SaveHeader {
                size,
                ..Default::default()
            }),
            parallel,
            part_bytes: 10,
            durable_bytes,
            parts: ranges
                .iter()
                .map(|&(first, last)| pb::PartRange { first, last })
                .collect(),
            ..Default::default()
        }
    }

    fn numbers(upload: &pb::Upload, size_bytes: u64) -> Vec<u64> {
        missing(upload, size_bytes).map(|part| part.number).collect()
    }

    #[test]
    fn parts_between_durable_ones_are_missing() {
        let upload = upload(Some(45), true, &[(1, 1), (3, 4)], 0);
        assert_eq!(numbers(&upload, 45), [0, 2]);
        assert_eq!(durable_bytes(&upload), 25);
    }

    #[test]
    fn in_order_all_behind_the_durable_bytes_is_missing() {
        let upload = upload(Some(45), false, &[], 20);
        assert_eq!(numbers(&upload, 45), [2, 3, 4]);
        assert_eq!(durable_bytes(&upload), 20);
    }

    #[test]
    fn sums_belong_to_the_durable_parts_in_their_order() {
        let sums_of = |mut upload: pb::Upload, part_crc32c: &[u32]| {
            upload.part_crc32c = part_crc32c.to_vec();
            Vec::from_iter(sums(&upload, 45).parts)
        };
        let ranges = [(1, 1), (3, 4)];
        assert_eq!(
            sums_of(upload(Some(45), true, &ranges, 0), &[7, 8, 9]),
            [(1, 7), (3, 8), (4, 9)]
        );
        assert_eq!(sums_of(upload(Some(45), false, &[], 20), &[7, 8]), [(0, 7), (1, 8)]);
        assert_eq!(sums_of(upload(Some(45), false, &[], 45), &[7, 8, 9, 1, 2]).len(), 5);
        // An older server tells none.
        assert_eq!(sums_of(upload(Some(45), true, &ranges, 0), &[]), []);
    }

    #[test]
    fn the_end_is_said_only_where_nothing_else_tells_it() {
        let last = |upload: &pb::Upload, size| missing(upload, size).last().unwrap();
        assert!(!last(&upload(Some(45), false, &[], 0), 45).says_end);
        assert!(last(&upload(None, false, &[], 0), 45).says_end);
        assert!(!last(&upload(None, false, &[], 0), 40).says_end);
    }

    #[test]
    fn nothing_has_no_parts_and_a_multiple_has_only_whole_ones() {
        assert_eq!(numbers(&upload(Some(0), true, &[], 0), 0), [0; 0]);
        let whole: Vec<u64> = missing(&upload(Some(20), true, &[], 0), 20)
            .map(|p| p.size_bytes)
            .collect();
        assert_eq!(whole, [10, 10]);
    }
}
