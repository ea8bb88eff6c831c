//! Stored bytes that are wrong are never answered as right.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, keyed},
    content::content,
    pb::ErrorReason,
    refusal,
};

const BLOCK: usize = 262_144;

/// Flips one byte of every block in turn: reads that meet it fail, others do not,
/// and once it is mended all is well again.
async fn a_flipped_byte_is_met(backend: Backend, size: usize) {
    let server = TestServer::on(backend).await;
    let calls = server.calls();
    let bytes = content(size as u64, size);
    calls.save(keyed("x.bin"), &bytes).await.unwrap();
    let blocks = size.div_ceil(BLOCK);
    for block in 0..blocks {
        let start = block * BLOCK;
        let end = size.min(start + BLOCK);
        // Another place in every block, the first and last bytes among them.
        let at = [start, end - 1, (start + end) / 2][block % 3];
        server.overwrite_only_object(|stored| stored[at] ^= 1 << (block % 8));
        let whole = refusal(calls.read(by_key("x.bin")).await);
        assert_eq!(
            whole,
            ErrorReason::ContentCorrupt,
            "block {block} of {size} bytes on {backend:?}"
        );
        let met = refusal(calls.read_range(by_key("x.bin"), at as i64, 1).await);
        assert_eq!(
            met,
            ErrorReason::ContentCorrupt,
            "the byte itself, block {block} of {size} on {backend:?}"
        );
        if blocks > 1 {
            let other = if block == 0 { BLOCK } else { 0 };
            let len = BLOCK.min(size - other);
            let fine = calls
                .read_range(by_key("x.bin"), other as i64, len as i64)
                .await
                .unwrap();
            assert!(fine == bytes[other..other + len], "a read that does not meet it");
        }
        server.overwrite_only_object(|stored| stored[at] ^= 1 << (block % 8));
        let mended = calls.read(by_key("x.bin")).await;
        assert!(
            mended.is_ok_and(|read| read == bytes),
            "mended, block {block} of {size} on {backend:?}"
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_in_any_block_of_a_small_blob_is_met() {
    for backend in [Backend::EMBEDDED, Backend::POSTGRES, Backend::S3] {
        for size in [1, 1000, BLOCK - 1, BLOCK] {
            a_flipped_byte_is_met(backend, size).await;
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_in_any_block_of_a_large_blob_in_a_folder_is_met() {
    for backend in Backend::DATABASES {
        a_flipped_byte_is_met(backend, 3 * 1024 * 1024 + 5).await;
        a_flipped_byte_is_met(backend, BLOCK + 1).await;
    }
}

#[tokio::test]
async fn a_flipped_byte_in_any_block_of_a_large_blob_in_a_bucket_is_met() {
    a_flipped_byte_is_met(Backend::S3, 3 * 1024 * 1024 + 5).await;
    a_flipped_byte_is_met(Backend::CLUSTER, BLOCK + 1).await;
}

#[tokio::test]
async fn truncated_grown_and_missing_bytes_are_met_and_verified() {
    for backend in [Backend::EMBEDDED, Backend::S3] {
        for size in [1000, 1_000_000] {
            let server = TestServer::on(backend).await;
            let calls = server.calls();
            let bytes = content(1, size);
            calls.save(keyed("x.bin"), &bytes).await.unwrap();
            server.assert_clean();
            server.overwrite_only_object(|stored| stored.truncate(size - 1));
            assert_eq!(
                refusal(calls.read(by_key("x.bin")).await),
                ErrorReason::ContentCorrupt,
                "truncated, {backend:?}"
            );
            assert_eq!(
                server.verify(artifactd_tests::server::Depth::Quick).exit_code,
                Some(2),
                "truncated, {backend:?}"
            );
            server.overwrite_only_object(|stored| stored.clear());
            assert_eq!(
                refusal(calls.read(by_key("x.bin")).await),
                ErrorReason::ContentCorrupt,
                "emptied, {backend:?}"
            );
            server.remove_only_object();
            assert_eq!(
                refusal(calls.read(by_key("x.bin")).await),
                ErrorReason::ContentCorrupt,
                "missing, {backend:?}"
            );
            assert_eq!(
                server.verify(artifactd_tests::server::Depth::Quick).exit_code,
                Some(2),
                "missing, {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found_by_the_deep_verify_only() {
    use artifactd_tests::server::Depth;
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        server.calls().save(keyed("x.bin"), &content(1, 600_000)).await.unwrap();
        server.overwrite_only_object(|stored| stored[300_000] ^= 4);
        assert_eq!(server.verify(Depth::Quick).exit_code, Some(0), "{backend:?}");
        let deep = server.verify(Depth::Deep);
        assert_eq!(deep.exit_code, Some(2), "{backend:?}: {:#}", deep.report);
    }
}

#[tokio::test]
async fn bytes_of_a_damaged_blob_that_are_sent_again_are_not_lost() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(1, 600_000);
        calls.save(keyed("x.bin"), &bytes).await.unwrap();
        server.overwrite_only_object(|stored| stored[300_000] ^= 4);
        assert_eq!(refusal(calls.read(by_key("x.bin")).await), ErrorReason::ContentCorrupt);
        // An acknowledged save is readable, whatever happened to equal bytes before.
        calls.save(keyed("again.bin"), &bytes).await.unwrap();
        assert!(calls.read(by_key("again.bin")).await.unwrap() == bytes, "{backend:?}");
    }
}
