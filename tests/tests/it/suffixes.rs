//! Suffixes, file names and media types.

use artifactd_tests::{
    TestServer,
    calls::{by_uid, described, keyed, saved},
    pb::{self, ErrorReason},
    refusal,
};

#[tokio::test]
async fn the_suffix_is_canonical_and_the_key_keeps_its_spelling() {
    let server = TestServer::start().await;
    for (key, suffix, media_type) in [
        ("a/Table.CSV", ".csv", "text/csv"),
        ("reads.fastq.gz", ".fastq.gz", "application/gzip"),
        ("x.tar.gz", ".tar.gz", "application/gzip"),
        ("image.ome.zarr", ".ome.zarr", "application/octet-stream"),
        ("old.zrad", ".anndata.zarr", "application/octet-stream"),
        ("data.2024", "", "application/octet-stream"),
        ("plain", "", "application/octet-stream"),
        ("x.unknownending", "", "application/octet-stream"),
    ] {
        let artifact = saved(server.calls().save(keyed(key), key.as_bytes()).await.unwrap());
        assert_eq!((artifact.key.as_deref(), artifact.suffix.as_str()), (Some(key), suffix));
        assert_eq!(artifact.media_type, media_type, "{key}");
    }
}

#[tokio::test]
async fn without_a_key_the_suffix_comes_from_the_file_name() {
    let server = TestServer::start().await;
    let header = pb::SaveHeader {
        file_name: Some("Counts.H5AD".to_owned()),
        ..described("counts")
    };
    let artifact = saved(server.calls().save(header, b"1").await.unwrap());
    assert_eq!(artifact.suffix, ".h5ad");
    assert_eq!(artifact.file_name.as_deref(), Some("Counts.H5AD"));
    assert_eq!(
        server.calls().get(by_uid(&artifact.uid)).await.unwrap().file_name,
        artifact.file_name
    );
}

#[tokio::test]
async fn key_and_file_name_must_agree() {
    let server = TestServer::start().await;
    let named = |key: &str, name: &str| pb::SaveHeader {
        file_name: Some(name.to_owned()),
        ..keyed(key)
    };
    for (key, name) in [
        ("a.csv", "b.parquet"),
        ("a.csv", "plain"),
        ("plain", "b.csv"),
        ("a.csv", "b.csv.gz"),
    ] {
        let refused = refusal(server.calls().save(named(key, name), b"1").await);
        assert_eq!(refused, ErrorReason::SuffixMismatch, "{key} with {name}");
    }
    for (key, name) in [("a.csv", "B.CSV"), ("plain", "other"), ("x.zrad", "y.anndata.zarr")] {
        server.calls().save(named(key, name), key.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_media_type_that_is_given_stands() {
    let server = TestServer::start().await;
    let header = pb::SaveHeader {
        media_type: Some("text/x-table".to_owned()),
        ..keyed("x.csv")
    };
    assert_eq!(
        saved(server.calls().save(header, b"1").await.unwrap()).media_type,
        "text/x-table"
    );
}
