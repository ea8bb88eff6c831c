//! File suffixes, in one canonical spelling.
//!
//! The rules are those of the model we follow in its newest form: a table of
//! known formats, a few composites that name a format of their own, and
//! compressions that stay together with the format they wrap. What is not in the
//! table has no suffix, so that a dot in a name is not taken for a format.

use std::fmt;

use crate::formats::{UNKNOWN, media_type_of};

/// A canonical suffix such as `.tar.gz`, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Suffix(String);

const COMPRESSIONS: [&str; 4] = [".gz", ".bz2", ".xz", ".zst"];

/// Endings of two parts that name one format.
const COMPOSITES: [&str; 6] = [
    ".anndata.zarr",
    ".spatialdata.zarr",
    ".vitessce.json",
    ".ome.zarr",
    ".ome.h5",
    ".ome.hdf5",
];

impl Suffix {
    /// The canonical suffix of a file name; nothing when its ending is unknown.
    pub fn of_name(name: &str) -> Self {
        canonical(&raw_suffix_of(name).to_ascii_lowercase())
    }

    /// The suffix as text, such as `.tar.gz`; empty for none.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The media type of files with this suffix.
    pub fn media_type(&self) -> &'static str {
        let last = &self.0[self.0.rfind('.').unwrap_or(0)..];
        match last {
            ".gz" => "application/gzip",
            ".bz2" => "application/x-bzip2",
            ".xz" => "application/x-xz",
            ".zst" => "application/zstd",
            _ => media_type_of(last).unwrap_or(UNKNOWN),
        }
    }
}

fn canonical(raw: &str) -> Suffix {
    Suffix(if raw == ".zrad" {
        ".anndata.zarr".to_owned()
    } else {
        raw.to_owned()
    })
}

/// The suffix of a file name as it is spelled there.
///
/// In this order: a composite; a known format; a compression together with the
/// known format before it (and `.tar`, and a format before that), or alone.
pub fn raw_suffix_of(name: &str) -> &str {
    let lower = name.to_ascii_lowercase();
    // Leading dots make a hidden file, not a suffix.
    let hidden = lower.len() - lower.trim_start_matches('.').len();
    let dots: Vec<usize> = lower
        .match_indices('.')
        .map(|(at, _)| at)
        .filter(|at| *at >= hidden)
        .collect();
    let parts: Vec<&str> = dots
        .iter()
        .zip(dots.iter().skip(1).chain([&lower.len()]))
        .map(|(from, to)| &lower[*from..*to])
        .collect();
    let known = known_parts(&parts);
    match known {
        0 => "",
        _ => &name[dots[dots.len() - known]..],
    }
}

/// How many of the last parts make up the suffix.
fn known_parts(parts: &[&str]) -> usize {
    match parts {
        [.., before, last] if COMPOSITES.contains(&[*before, *last].concat().as_str()) => 2,
        [.., last] if is_format(last) => 1,
        [.., format, ".tar", last] if is_compression(last) && is_format(format) => 3,
        [.., format, last] if is_compression(last) && is_format(format) => 2,
        [.., last] if is_compression(last) => 1,
        _ => 0,
    }
}

fn is_compression(part: &str) -> bool {
    COMPRESSIONS.contains(&part)
}

fn is_format(part: &str) -> bool {
    media_type_of(part).is_some()
}

impl fmt::Display for Suffix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn suffixes_follow_the_rules_of_the_model() {
        for (name, suffix) in [
            ("table.csv", ".csv"),
            ("TABLE.CSV", ".csv"),
            ("a.tar.gz", ".tar.gz"),
            ("x.h5ad.tar.gz", ".h5ad.tar.gz"),
            ("reads.fastq.gz", ".fastq.gz"),
            ("x.csv.bz2", ".csv.bz2"),
            ("file.random.gz", ".gz"),
            ("x.anndata.zarr", ".anndata.zarr"),
            ("x.zrad", ".anndata.zarr"),
            ("image.ome.zarr", ".ome.zarr"),
            ("x.vitessce.json", ".vitessce.json"),
            ("f.h5ad.zarr", ".zarr"),
            ("salmon.merged.gene_counts.tsv", ".tsv"),
            ("x.abcdef", ""),
            ("v1.0", ""),
            ("data.2024", ""),
            ("plain", ""),
            (".csv", ""),
            ("..csv", ""),
            (".hidden.csv", ".csv"),
            ("x..csv", ".csv"),
            ("x.csv.", ""),
            ("trailing.", ""),
            ("", ""),
            ("日本.parquet", ".parquet"),
        ] {
            assert_eq!(Suffix::of_name(name).as_str(), suffix, "{name}");
        }
    }

    #[test]
    fn names_give_the_suffixes_that_the_model_gives_them() {
        for (name, suffix) in [
            ("a", ""),
            ("a.txt", ".txt"),
            ("a.123", ""),
            ("f.b.c", ".c"),
            ("f.a.b.c", ".c"),
            ("date.log.txt", ".txt"),
            ("date.log.123", ""),
            ("some.unknown.suffix", ""),
            ("reads.bam", ".bam"),
            ("variants.vcf", ".vcf"),
            ("store.h5", ".h5"),
            ("array.npy", ".npy"),
            ("model.onnx", ".onnx"),
            ("notebook.ipynb", ".ipynb"),
            ("filename.v1.1.0.anndata.zarr", ".anndata.zarr"),
            ("sample.ome.h5", ".ome.h5"),
            ("sample.ome.hdf5", ".ome.hdf5"),
            ("sample.OME.ZARR", ".ome.zarr"),
            ("data.config.json", ".json"),
            ("plain.gz", ".gz"),
            ("plain.bz2", ".bz2"),
            ("plain.xz", ".xz"),
            ("plain.zst", ".zst"),
            ("salmon.merged.gene_counts.tsv.gz", ".tsv.gz"),
            ("variants.vcf.gz", ".vcf.gz"),
            ("variants.VCF.GZ", ".vcf.gz"),
            ("foo.bar.tar.gz", ".tar.gz"),
            ("data.tsv.xz", ".tsv.xz"),
            ("archive.tar.bz2", ".tar.bz2"),
            ("archive.tar.zst", ".tar.zst"),
            ("filename.h5ad.tar.xz", ".h5ad.tar.xz"),
            ("file.random.zst", ".zst"),
            ("x.gz.gz", ".gz"),
            ("scan.TIFF", ".tiff"),
            ("photo.JPG", ".jpg"),
            ("unknown.XYZ", ""),
            ("model.state_dict", ".state_dict"),
        ] {
            assert_eq!(Suffix::of_name(name).as_str(), suffix, "{name}");
        }
    }

    #[test]
    fn the_raw_suffix_keeps_its_spelling() {
        assert_eq!(raw_suffix_of("A.Tar.GZ"), ".Tar.GZ");
    }

    #[test]
    fn media_types_come_from_the_last_part() {
        for (name, media_type) in [
            ("a.csv", "text/csv"),
            ("a.csv.gz", "application/gzip"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(Suffix::of_name(name).media_type(), media_type);
        }
    }

    proptest! {
        #[test]
        fn the_suffix_is_the_end_of_the_name(name in "[a-zA-Z0-9é.]{0,20}") {
            let raw = raw_suffix_of(&name);
            prop_assert!(name.ends_with(raw));
            prop_assert!(raw.is_empty() || raw.starts_with('.'));
            prop_assert!(raw.len() < name.len() || raw.is_empty());
        }

        #[test]
        fn the_canonical_suffix_is_a_suffix_of_itself(name in "[a-z.]{0,12}(csv|gz|tar.gz|zarr|zrad|h5ad.zst)") {
            let suffix = Suffix::of_name(&name);
            prop_assert_eq!(Suffix::of_name(&format!("x{suffix}")), suffix);
        }
    }
}
