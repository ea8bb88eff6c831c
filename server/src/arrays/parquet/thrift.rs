//! A look at Thrift before the decoder sees it.
//!
//! The decoder trusts the sizes that a footer tells it: a list of two billion row
//! groups in ten bytes makes it ask for as much memory, and a schema that is nested
//! ten thousand deep for as much stack. So every size is held against what is there
//! first, and depths are counted.

use super::FORMAT;
use crate::arrays::error::{ArrayError, Result};

/// Structs in structs; those of parquet are six deep.
const DEPTH_MAX: usize = 16;

/// Elements of one list.
const ELEMENTS_MAX: usize = 1 << 18;

/// Levels of a schema.
const SCHEMA_DEPTH_MAX: usize = 64;

/// What the sizes of a footer come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FooterSizes {
    pub(super) schema_elements: usize,
    pub(super) row_groups: usize,
}

/// Walks through a footer to its end.
pub(super) fn check_footer(bytes: &[u8]) -> Result<FooterSizes> {
    const SCHEMA: i16 = 2;
    const ROW_GROUPS: i16 = 4;
    let mut walk = Walk { rest: bytes };
    let mut sizes = FooterSizes {
        schema_elements: 0,
        row_groups: 0,
    };
    let mut last = 0;
    while let Some((id, kind)) = walk.field(&mut last)? {
        match (id, kind) {
            (SCHEMA, Kind::List) => sizes.schema_elements = walk.schema()?,
            (ROW_GROUPS, Kind::List) => {
                let (elements, kind) = walk.list()?;
                sizes.row_groups = elements;
                for _ in 0..elements {
                    walk.skip(kind, 1)?;
                }
            }
            (_, kind) => walk.skip(kind, 1)?,
        }
    }
    Ok(sizes)
}

/// What the header of a page says of its size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the page when it is unpacked.
    pub(super) unpacked_bytes: u64,
    /// Values in it, with those that are null.
    pub(super) values: u64,
}

/// Walks through the header of a page.
pub(super) fn check_page_header(bytes: &[u8]) -> Result<PageHeader> {
    const UNPACKED: i16 = 2;
    const DATA_PAGE: i16 = 5;
    const DATA_PAGE_V2: i16 = 8;
    const VALUES: i16 = 1;
    let mut walk = Walk { rest: bytes };
    let (mut last, mut header) = (0, PageHeader::default());
    let natural = |number: i64| u64::try_from(number).map_err(|_| lie("a page of negative size"));
    while let Some((id, kind)) = walk.field(&mut last)? {
        match (id, kind) {
            (UNPACKED, Kind::Integer) => header.unpacked_bytes = natural(walk.integer()?)?,
            (DATA_PAGE | DATA_PAGE_V2, Kind::Struct) => {
                let mut last = 0;
                while let Some((id, kind)) = walk.field(&mut last)? {
                    match (id, kind) {
                        (VALUES, Kind::Integer) => header.values = natural(walk.integer()?)?,
                        (_, kind) => walk.skip(kind, 2)?,
                    }
                }
            }
            (_, kind) => walk.skip(kind, 1)?,
        }
    }
    Ok(header)
}

/// Walks through structs that stand one after the other.
pub(super) fn check_structs(bytes: &[u8]) -> Result<()> {
    let mut walk = Walk { rest: bytes };
    while !walk.rest.is_empty() {
        walk.skip(Kind::Struct, 0)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// True and false are kinds of their own in a struct, and take no byte.
    Bool,
    Byte,
    Integer,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    fn of(code: u8) -> Result<Self> {
        Ok(match code {
            1 | 2 => Self::Bool,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(lie("a field of no known kind")),
        })
    }
}

fn lie(what: &str) -> ArrayError {
    ArrayError::malformed(FORMAT, format!("its metadata holds {what}"))
}

/// What is left to walk through.
struct Walk<'b> {
    rest: &'b [u8],
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| lie("less than it says"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn pass(&mut self, bytes: u64) -> Result<()> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.rest = self.rest.get(bytes..).ok_or_else(|| lie("less than it says"))?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(lie("a number without end"))
    }

    fn integer(&mut self) -> Result<i64> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// The next field of a struct, and its kind; none at the end.
    fn field(&mut self, last: &mut i16) -> Result<Option<(i16, Kind)>> {
        let head = self.byte()?;
        if head & 0x0f == 0 {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.integer()?).map_err(|_| lie("a field that there cannot be"))?,
            delta => last
                .checked_add(delta.into())
                .ok_or_else(|| lie("a field that there cannot be"))?,
        };
        *last = id;
        Ok(Some((id, Kind::of(head & 0x0f)?)))
    }

    fn list(&mut self) -> Result<(usize, Kind)> {
        let head = self.byte()?;
        let elements = match head >> 4 {
            15 => self.varint()?,
            few => few.into(),
        };
        let kind = Kind::of(head & 0x0f)?;
        Ok((self.elements(elements)?, kind))
    }

    /// Each element takes a byte at least.
    fn elements(&self, elements: u64) -> Result<usize> {
        match usize::try_from(elements) {
            Ok(elements) if elements <= self.rest.len() && elements <= ELEMENTS_MAX => Ok(elements),
            _ => Err(lie("a list of more than there is, or is read")),
        }
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(lie("structs nested too deeply"));
        }
        match kind {
            Kind::Bool => {}
            Kind::Byte => self.pass(1)?,
            Kind::Integer => {
                self.varint()?;
            }
            Kind::Double => self.pass(8)?,
            Kind::Uuid => self.pass(16)?,
            Kind::Binary => {
                let bytes = self.varint()?;
                self.pass(bytes)?;
            }
            Kind::List => {
                let (elements, kind) = self.list()?;
                for _ in 0..elements {
                    self.skip_element(kind, depth)?;
                }
            }
            Kind::Map => {
                let entries = self.varint()?;
                if entries > 0 {
                    let entries = self.elements(entries)?;
                    let kinds = self.byte()?;
                    let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
                    for _ in 0..entries {
                        self.skip_element(key, depth)?;
                        self.skip_element(value, depth)?;
                    }
                }
            }
            Kind::Struct => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// In lists and maps, true and false take a byte.
    fn skip_element(&mut self, kind: Kind, depth: usize) -> Result<()> {
        match kind {
            Kind::Bool => self.pass(1),
            kind => self.skip(kind, depth + 1),
        }
    }

    /// The elements of a schema, each of which says how many of those behind it are its children.
    fn schema(&mut self) -> Result<usize> {
        const CHILDREN: i16 = 5;
        let (elements, kind) = self.list()?;
        if kind != Kind::Struct {
            return Err(lie("a schema of something else than fields"));
        }
        // How many children are still to come of each field that is open.
        let mut open: Vec<i64> = Vec::new();
        for number in 0..elements {
            let (mut last, mut children) = (0, 0);
            while let Some((id, kind)) = self.field(&mut last)? {
                match (id, kind) {
                    (CHILDREN, Kind::Integer) => children = self.integer()?,
                    (_, kind) => self.skip(kind, 2)?,
                }
            }
            if number > 0 {
                while open.last() == Some(&0) {
                    open.pop();
                }
                *open.last_mut().ok_or_else(|| lie("fields outside its schema"))? -= 1;
            }
            if children < 0 {
                return Err(lie("a field with less than no children"));
            }
            open.push(children);
            if open.len() > SCHEMA_DEPTH_MAX {
                return Err(lie("a schema nested too deeply"));
            }
        }
        match open.iter().all(|children| *children == 0) {
            true => Ok(elements),
            false => Err(lie("a schema that lacks fields")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer of these fields of a struct.
    fn footer(fields: &[&[u8]]) -> Vec<u8> {
        let mut bytes = fields.concat();
        bytes.push(0);
        bytes
    }

    /// A schema of elements that have only numbers of children, one of them the root.
    fn schema(children: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x29, 0xfc, children.len() as u8];
        for count in children {
            bytes.extend([0x55, count << 1, 0]);
        }
        bytes
    }

    #[test]
    fn a_sound_footer_is_counted() {
        let bytes = footer(&[&schema(&[2, 0, 1, 0]), &[0x16, 4], &[0x19, 0x2c, 0, 0]]);
        let sizes = check_footer(&bytes).unwrap();
        assert_eq!((sizes.schema_elements, sizes.row_groups), (4, 2));
    }

    #[test]
    fn sizes_that_are_not_there_are_refused() {
        let many_row_groups = footer(&[&schema(&[0]), &[0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]]);
        let long_text = footer(&[&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f, b'x']]);
        let huge_map = footer(&[&[0x1b, 0xff, 0xff, 0xff, 0x7f, 0x88]]);
        for bytes in [&many_row_groups, &long_text, &huge_map] {
            assert!(
                matches!(check_footer(bytes), Err(ArrayError::Malformed { .. })),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn depth_is_counted_in_structs_and_schemas() {
        let deep = [vec![0x1c; 10_000], vec![0; 10_001]].concat();
        assert!(check_footer(&deep).is_err());
        let mut children = vec![1; 100];
        children.push(0);
        assert!(check_footer(&footer(&[&schema(&children)])).is_err());
        assert!(check_footer(&footer(&[&schema(&children[80..])])).is_ok());
        assert!(
            check_footer(&footer(&[&schema(&[2, 0])])).is_err(),
            "a child is missing"
        );
        assert!(check_footer(&footer(&[&schema(&[0, 0])])).is_err(), "one too many");
    }

    #[test]
    fn every_cut_of_a_footer_is_refused() {
        let bytes = footer(&[&schema(&[1, 0]), &[0x16, 4], &[0x19, 0x1c, 0]]);
        for end in 0..bytes.len() {
            assert!(check_footer(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
