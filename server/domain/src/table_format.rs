//! The formats of tables, as suffixes name them.
//!
//! A suffix is only a promise: whether the content keeps it, a look into it says.

use std::fmt;

/// A format that holds one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableFormat {
    /// Text with a character between its cells.
    Delimited {
        /// The character.
        delimiter: u8,
    },
    /// A JSON object on each line.
    JsonLines,
    /// Parquet, as a file or as a folder of them.
    Parquet,
    /// Arrow IPC, as a file or a stream; version 2 of Feather is such a file.
    ArrowIpc,
}

/// How the text of a table is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextPacking {
    /// Not at all.
    Plain,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

impl TableFormat {
    /// Text with commas.
    pub const CSV: Self = Self::Delimited { delimiter: b',' };

    /// Text with tabs.
    pub const TSV: Self = Self::Delimited { delimiter: b'\t' };

    /// The format that a canonical suffix promises.
    pub fn of_suffix(suffix: &str) -> Option<(Self, TextPacking)> {
        let (format, packing) = match suffix.rsplit_once('.') {
            Some((format, "gz")) if !format.is_empty() => (format, TextPacking::Gzip),
            Some((format, "zst")) if !format.is_empty() => (format, TextPacking::Zstd),
            _ => (suffix, TextPacking::Plain),
        };
        let format = match format {
            ".csv" => Self::CSV,
            ".tsv" => Self::TSV,
            ".jsonl" | ".jsonlines" | ".ndjson" => Self::JsonLines,
            ".parquet" | ".pq" | ".geoparquet" => Self::Parquet,
            ".arrow" | ".arrows" | ".feather" | ".ipc" => Self::ArrowIpc,
            _ => return None,
        };
        let packs_itself = matches!(format, Self::Parquet | Self::ArrowIpc);
        match packing {
            TextPacking::Gzip | TextPacking::Zstd if packs_itself => None,
            packing => Some((format, packing)),
        }
    }

    /// Its name in stored summaries and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CSV => "csv",
            Self::Delimited { .. } => "tsv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
            Self::ArrowIpc => "arrow",
        }
    }
}

impl fmt::Display for TableFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Suffix;

    #[test]
    fn a_suffix_names_a_format_and_how_its_text_is_packed() {
        for (name, expected) in [
            ("a.csv", Some((TableFormat::CSV, TextPacking::Plain))),
            ("A.TSV.GZ", Some((TableFormat::TSV, TextPacking::Gzip))),
            ("a.jsonl.zst", Some((TableFormat::JsonLines, TextPacking::Zstd))),
            ("a.parquet", Some((TableFormat::Parquet, TextPacking::Plain))),
            ("a.feather", Some((TableFormat::ArrowIpc, TextPacking::Plain))),
            ("a.parquet.gz", None),
            ("a.csv.bz2", None),
            ("a.csv.tar.gz", None),
            ("a.gz", None),
            ("a.json", None),
            ("plain", None),
        ] {
            assert_eq!(
                TableFormat::of_suffix(Suffix::of_name(name).as_str()),
                expected,
                "{name}"
            );
        }
    }
}
