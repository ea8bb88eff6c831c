//! From text to cells.
//!
//! A cell in quotes may hold delimiters, line breaks and doubled quotes; a quote inside
//! another cell is itself. Empty lines count for nothing. Lines end with `\n`, `\r\n` or
//! `\r`.

use memchr::{memchr, memchr3};

/// Cells of some records, one after the other.
#[derive(Debug, Default)]
pub(super) struct Cells {
    bytes: Vec<u8>,
    /// Where each cell ends.
    ends: Vec<usize>,
    columns: usize,
}

impl Cells {
    pub(super) fn of_columns(columns: usize) -> Self {
        Self {
            columns,
            ..Self::default()
        }
    }

    /// Says how many make a record, once that is known.
    pub(super) fn set_columns(&mut self, columns: usize) {
        self.columns = columns;
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.len().checked_div(self.columns).unwrap_or(0)
    }

    /// How much text they hold.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The cells of a column.
    pub(super) fn column(&self, column: usize) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.rows()).map(move |row| self.cell(row, column))
    }

    fn cell(&self, row: usize, column: usize) -> &[u8] {
        let number = row * self.columns + column;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    /// The cells of the last record alone.
    pub(super) fn last_record(&self) -> impl Iterator<Item = &[u8]> {
        let row = self.rows().saturating_sub(1);
        (0..self.columns.min(self.ends.len())).map(move |column| self.cell(row, column))
    }
}

/// What came of trying to read a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It takes so many bytes, and as many lines, of which the first may be empty.
    Record {
        bytes: usize,
        lines: u64,
        empty_lines: u64,
        cells: usize,
    },
    /// It goes on behind what is here.
    Unfinished,
    /// There is none.
    End,
    /// A quote is never closed.
    OpenQuote,
    /// A byte that no text holds.
    Nul,
}

/// Reads the first record of a text into `cells`. What was put there of one that is not
/// whole is taken out again.
pub(super) fn read_record(text: &[u8], is_last: bool, delimiter: u8, cells: &mut Cells) -> Read {
    let (bytes, ends) = (cells.bytes.len(), cells.ends.len());
    let read = Record {
        text,
        is_last,
        delimiter,
    }
    .read(cells);
    if !matches!(read, Read::Record { .. }) {
        cells.bytes.truncate(bytes);
        cells.ends.truncate(ends);
    }
    read
}

struct Record<'t> {
    text: &'t [u8],
    is_last: bool,
    delimiter: u8,
}

impl Record<'_> {
    fn read(&self, cells: &mut Cells) -> Read {
        let (mut at, mut lines) = (0, 0);
        // Empty lines.
        loop {
            match self.text.get(at) {
                Some(b'\n') => {
                    at += 1;
                    lines += 1;
                }
                Some(b'\r') => match self.after_return(at) {
                    Some(next) => {
                        at = next;
                        lines += 1;
                    }
                    None => return Read::Unfinished,
                },
                Some(_) => break,
                None if self.is_last => return Read::End,
                None => return Read::Unfinished,
            }
        }
        let (first, empty_lines) = (cells.ends.len(), lines);
        loop {
            if self.text.get(at) == Some(&b'"') {
                match self.quoted(at + 1, &mut lines, cells) {
                    Ok(next) => at = next,
                    Err(read) => return read,
                }
            }
            let rest = &self.text[at..];
            let end = match memchr3(self.delimiter, b'\n', b'\r', rest) {
                Some(end) => end,
                None if self.is_last => rest.len(),
                None => return Read::Unfinished,
            };
            if memchr(0, &rest[..end]).is_some() {
                return Read::Nul;
            }
            cells.bytes.extend_from_slice(&rest[..end]);
            cells.ends.push(cells.bytes.len());
            at += end;
            let next = match self.text.get(at) {
                Some(byte) if *byte == self.delimiter => {
                    at += 1;
                    continue;
                }
                Some(b'\r') => match self.after_return(at) {
                    Some(next) => next,
                    None => return Read::Unfinished,
                },
                Some(_) => at + 1,
                None => at,
            };
            return Read::Record {
                bytes: next,
                lines: lines + 1,
                empty_lines,
                cells: cells.ends.len() - first,
            };
        }
    }

    /// What follows a `\r`, with the `\n` after it; nothing when that may come still.
    fn after_return(&self, at: usize) -> Option<usize> {
        match self.text.get(at + 1) {
            Some(b'\n') => Some(at + 2),
            Some(_) => Some(at + 1),
            None => self.is_last.then_some(at + 1),
        }
    }

    /// Reads what stands in quotes; answers where it goes on.
    fn quoted(&self, mut at: usize, lines: &mut u64, cells: &mut Cells) -> Result<usize, Read> {
        loop {
            let rest = &self.text[at..];
            let Some(quote) = memchr(b'"', rest) else {
                return Err(if self.is_last {
                    Read::OpenQuote
                } else {
                    Read::Unfinished
                });
            };
            let part = &rest[..quote];
            if memchr(0, part).is_some() {
                return Err(Read::Nul);
            }
            *lines += memchr::memchr_iter(b'\n', part).count() as u64;
            cells.bytes.extend_from_slice(part);
            at += quote + 1;
            match self.text.get(at) {
                Some(b'"') => {
                    cells.bytes.push(b'"');
                    at += 1;
                }
                None if !self.is_last => return Err(Read::Unfinished),
                _ => return Ok(at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads all records, with so much of the text there as each takes, and more each time.
    fn records(text: &str) -> Vec<Vec<String>> {
        let (mut start, mut records) = (0, Vec::new());
        loop {
            let mut seen = start;
            let read = loop {
                let mut cells = Cells::default();
                let (here, is_last) = (&text.as_bytes()[start..seen], seen == text.len());
                match read_record(here, is_last, b',', &mut cells) {
                    Read::Unfinished => seen += 1,
                    Read::Record {
                        bytes, cells: count, ..
                    } => {
                        cells.columns = count;
                        let record = cells
                            .last_record()
                            .map(|cell| String::from_utf8(cell.to_vec()).unwrap());
                        records.push(record.collect());
                        break Some(bytes);
                    }
                    Read::End => break None,
                    other => panic!("{other:?} in {text:?}"),
                }
            };
            match read {
                Some(bytes) => start += bytes,
                None => return records,
            }
        }
    }

    #[test]
    fn records_are_the_same_wherever_the_text_is_cut() {
        for (text, expected) in [
            ("", vec![]),
            ("a,b\n1,2", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a,b\r\n1,2\r\n", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a\r1\r\r2\r", vec![vec!["a"], vec!["1"], vec!["2"]]),
            ("\n\na,\n\n,b\n\n", vec![vec!["a", ""], vec!["", "b"]]),
            ("\"a,b\n\"\"c\"\"\",2\n", vec![vec!["a,b\n\"c\"", "2"]]),
            ("a\"b,\"c\"d\n", vec![vec!["a\"b", "cd"]]),
            ("\"\",\"\"", vec![vec!["", ""]]),
            ("=cmd(),+1\n", vec![vec!["=cmd()", "+1"]]),
        ] {
            assert_eq!(records(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_never_closed_and_bytes_of_no_text_are_told() {
        let read = |text: &[u8]| read_record(text, true, b',', &mut Cells::default());
        assert_eq!(read(b"a,\"b\nc,d\n"), Read::OpenQuote);
        assert_eq!(read(b"a,\0b\n"), Read::Nul);
        assert_eq!(read(b"\"a\0\"\n"), Read::Nul);
    }
}
