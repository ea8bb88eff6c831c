//! File suffixes, in one canonical spelling.
//!
//! The rules are those of the model we follow in its newest form: a table of
//! known formats, a few composites that name a format of their own, and
//! compressions that stay together with the format they wrap. What is not in the
//! table has no suffix, so that a dot in a name is not taken for a format.

use std::fmt;

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

/// Known formats and their media types, sorted by suffix.
const FORMATS: &[(&str, &str)] = &[
    (".7z", "application/x-7z-compressed"),
    (".aac", "audio/aac"),
    (".ab1", "application/octet-stream"),
    (".arrow", "application/vnd.apache.arrow.file"),
    (".arrows", "application/vnd.apache.arrow.stream"),
    (".avi", "video/x-msvideo"),
    (".avif", "image/avif"),
    (".avro", "application/avro"),
    (".bai", "application/octet-stream"),
    (".bam", "application/octet-stream"),
    (".bcf", "application/octet-stream"),
    (".bcl", "application/octet-stream"),
    (".bed", "text/plain"),
    (".bedgraph", "text/plain"),
    (".bgen", "application/octet-stream"),
    (".bib", "text/x-bibtex"),
    (".bigbed", "application/octet-stream"),
    (".bigwig", "application/octet-stream"),
    (".bim", "text/plain"),
    (".bin", "application/octet-stream"),
    (".biom", "application/octet-stream"),
    (".bmp", "image/bmp"),
    (".bw", "application/octet-stream"),
    (".c", "text/x-c"),
    (".cbor", "application/cbor"),
    (".cdf", "application/x-netcdf"),
    (".cfg", "text/plain"),
    (".cif", "chemical/x-cif"),
    (".ckpt", "application/octet-stream"),
    (".conf", "text/plain"),
    (".cpp", "text/x-c"),
    (".crai", "application/octet-stream"),
    (".cram", "application/octet-stream"),
    (".csi", "application/octet-stream"),
    (".css", "text/css"),
    (".csv", "text/csv"),
    (".czi", "application/octet-stream"),
    (".dat", "application/octet-stream"),
    (".db", "application/vnd.sqlite3"),
    (".dcm", "application/dicom"),
    (".dict", "text/plain"),
    (".doc", "application/msword"),
    (
        ".docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    (".dta", "application/octet-stream"),
    (".duckdb", "application/octet-stream"),
    (".embl", "text/plain"),
    (".eps", "application/postscript"),
    (".fa", "text/x-fasta"),
    (".fai", "text/plain"),
    (".fam", "text/plain"),
    (".fast5", "application/x-hdf5"),
    (".fasta", "text/x-fasta"),
    (".fastq", "text/plain"),
    (".fcs", "application/vnd.isac.fcs"),
    (".feather", "application/vnd.apache.arrow.file"),
    (".flac", "audio/flac"),
    (".fna", "text/x-fasta"),
    (".fq", "text/plain"),
    (".gb", "text/plain"),
    (".gbk", "text/plain"),
    (".geojson", "application/geo+json"),
    (".gff", "text/plain"),
    (".gff3", "text/plain"),
    (".gguf", "application/octet-stream"),
    (".gif", "image/gif"),
    (".gmt", "text/plain"),
    (".go", "text/plain"),
    (".gpkg", "application/geopackage+sqlite3"),
    (".graphml", "application/xml"),
    (".gtf", "text/plain"),
    (".h5", "application/x-hdf5"),
    (".h5ad", "application/x-hdf5"),
    (".h5mu", "application/x-hdf5"),
    (".h5seurat", "application/x-hdf5"),
    (".hdf", "application/x-hdf"),
    (".hdf5", "application/x-hdf5"),
    (".hic", "application/octet-stream"),
    (".html", "text/html"),
    (".idx", "application/octet-stream"),
    (".ini", "text/plain"),
    (".ipynb", "application/x-ipynb+json"),
    (".jar", "application/java-archive"),
    (".java", "text/x-java"),
    (".jp2", "image/jp2"),
    (".jpeg", "image/jpeg"),
    (".jpg", "image/jpeg"),
    (".js", "text/javascript"),
    (".json", "application/json"),
    (".jsonl", "application/jsonl"),
    (".jsonld", "application/ld+json"),
    (".keras", "application/zip"),
    (".lif", "application/octet-stream"),
    (".log", "text/plain"),
    (".loom", "application/x-hdf5"),
    (".lz4", "application/x-lz4"),
    (".maf", "text/plain"),
    (".mat", "application/x-matlab-data"),
    (".md", "text/markdown"),
    (".mex", "text/plain"),
    (".mgf", "text/plain"),
    (".mid", "audio/midi"),
    (".mkv", "video/x-matroska"),
    (".mmcif", "chemical/x-mmcif"),
    (".mol", "chemical/x-mdl-molfile"),
    (".mol2", "chemical/x-mol2"),
    (".mov", "video/quicktime"),
    (".mp3", "audio/mpeg"),
    (".mp4", "video/mp4"),
    (".mpg", "video/mpeg"),
    (".mtx", "text/plain"),
    (".mzml", "application/xml"),
    (".nc", "application/x-netcdf"),
    (".nd2", "application/octet-stream"),
    (".ndjson", "application/x-ndjson"),
    (".nexus", "text/plain"),
    (".nii", "application/octet-stream"),
    (".npy", "application/octet-stream"),
    (".npz", "application/zip"),
    (".nwk", "text/plain"),
    (".obo", "text/plain"),
    (".ods", "application/vnd.oasis.opendocument.spreadsheet"),
    (".odt", "application/vnd.oasis.opendocument.text"),
    (".ogg", "audio/ogg"),
    (".onnx", "application/octet-stream"),
    (".orc", "application/vnd.apache.orc"),
    (".otf", "font/otf"),
    (".owl", "application/rdf+xml"),
    (".parquet", "application/vnd.apache.parquet"),
    (".pb", "application/x-protobuf"),
    (".pbtxt", "text/plain"),
    (".pdb", "chemical/x-pdb"),
    (".pdf", "application/pdf"),
    (".pgen", "application/octet-stream"),
    (".pickle", "application/octet-stream"),
    (".pkl", "application/octet-stream"),
    (".pl", "text/x-perl"),
    (".ply", "application/octet-stream"),
    (".png", "image/png"),
    (".pod5", "application/octet-stream"),
    (".ppt", "application/vnd.ms-powerpoint"),
    (
        ".pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ),
    (".proto", "text/plain"),
    (".psam", "text/plain"),
    (".pt", "application/octet-stream"),
    (".pth", "application/octet-stream"),
    (".pvar", "text/plain"),
    (".py", "text/x-python"),
    (".qmd", "text/markdown"),
    (".qptiff", "image/tiff"),
    (".r", "text/x-r"),
    (".rar", "application/vnd.rar"),
    (".rdata", "application/octet-stream"),
    (".rdf", "application/rdf+xml"),
    (".rds", "application/octet-stream"),
    (".rmd", "text/markdown"),
    (".rs", "text/x-rust"),
    (".rst", "text/x-rst"),
    (".rtf", "application/rtf"),
    (".safetensors", "application/octet-stream"),
    (".sam", "text/plain"),
    (".sav", "application/octet-stream"),
    (".sbml", "application/sbml+xml"),
    (".scn", "application/octet-stream"),
    (".sdf", "chemical/x-mdl-sdfile"),
    (".sh", "application/x-sh"),
    (".shp", "application/vnd.shp"),
    (".smi", "chemical/x-daylight-smiles"),
    (".soma", "application/octet-stream"),
    (".spss", "application/octet-stream"),
    (".sql", "application/sql"),
    (".sqlite", "application/vnd.sqlite3"),
    (".sqlite3", "application/vnd.sqlite3"),
    (".sra", "application/octet-stream"),
    (".stl", "model/stl"),
    (".svg", "image/svg+xml"),
    (".svs", "image/tiff"),
    (".tar", "application/x-tar"),
    (".tbi", "application/octet-stream"),
    (".tbx", "application/octet-stream"),
    (".tex", "application/x-tex"),
    (".tflite", "application/octet-stream"),
    (".tfrecord", "application/octet-stream"),
    (".tgz", "application/gzip"),
    (".tif", "image/tiff"),
    (".tiff", "image/tiff"),
    (".tiledb", "application/octet-stream"),
    (".tiledbsoma", "application/octet-stream"),
    (".toml", "application/toml"),
    (".ts", "text/plain"),
    (".tsv", "text/tab-separated-values"),
    (".ttf", "font/ttf"),
    (".ttl", "text/turtle"),
    (".txt", "text/plain"),
    (".vcf", "text/x-vcard"),
    (".wav", "audio/wav"),
    (".webm", "video/webm"),
    (".webp", "image/webp"),
    (".whl", "application/zip"),
    (".wig", "text/plain"),
    (".woff2", "font/woff2"),
    (".xls", "application/vnd.ms-excel"),
    (
        ".xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    (".xml", "application/xml"),
    (".yaml", "application/yaml"),
    (".yml", "application/yaml"),
    (".zarr", "application/octet-stream"),
    (".zip", "application/zip"),
    (".zrad", "application/octet-stream"),
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
            _ => media_type_of(last).unwrap_or("application/octet-stream"),
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
    // A leading dot makes a hidden file, not a suffix.
    let dots: Vec<usize> = lower
        .match_indices('.')
        .map(|(at, _)| at)
        .filter(|at| *at > 0)
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

fn media_type_of(part: &str) -> Option<&'static str> {
    FORMATS
        .binary_search_by_key(&part, |(suffix, _)| suffix)
        .ok()
        .map(|at| FORMATS[at].1)
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
    fn the_table_is_sorted_and_has_no_entry_twice() {
        assert!(FORMATS.is_sorted_by(|(a, _), (b, _)| a < b));
    }

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
            (".hidden.csv", ".csv"),
            ("trailing.", ""),
            ("", ""),
            ("日本.parquet", ".parquet"),
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
