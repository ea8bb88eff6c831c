//! Very many artifacts at once: records without bytes, written past the server.
//!
//! What lists and searches do with them tells how they behave among many. Whatever
//! their number, a hundred have a key below `hundred/` and the word "zebra" in their
//! description, one in a hundred has a key below `percent/`, and another one in a
//! hundred the suffix `.h5ad`; all of them lie evenly among the others.

use crate::database::RawDatabase;

/// How many lie below `hundred/`.
pub const HUNDRED: u64 = 100;

const COLUMNS: &str = "uid, family_id, space_id, storage_id, version_number, version_label, is_latest, \"key\", \
     key_is_virtual, description, kind, suffix, file_name, media_type, size_bytes, sha256, hash_type, blob_id, \
     visibility, revision, created_by, created_at_us, updated_at_us";

/// Adds so many artifacts to an empty database; a multiple of 10,000.
///
/// # Panics
/// When the database refuses them.
pub async fn fill(database: &RawDatabase, artifacts: u64) {
    let every = artifacts / HUNDRED;
    let stem = "2654435761 * n % 4294967296";
    let (numbers, text, stem, digest, end) = match database {
        RawDatabase::Sqlite(_) => (
            format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {artifacts})"),
            "printf('%0*d', 8, n)",
            format!("printf('%08x%08x', {stem}, n)"),
            "CAST(printf('%032d', n) AS BLOB)",
            "",
        ),
        RawDatabase::Postgres(_) => (
            format!("WITH n AS (SELECT generate_series(1, {artifacts}::BIGINT) AS n)"),
            "lpad(n::TEXT, 8, '0')",
            format!("lpad(to_hex({stem}), 8, '0') || lpad(to_hex(n), 8, '0')"),
            "lpad(n::TEXT, 32, '0')::BYTEA",
            "ANALYZE",
        ),
    };
    let key = format!(
        "CASE WHEN n % {every} = 0 THEN 'hundred/' WHEN n % 100 = 7 THEN 'percent/' \
             ELSE 'bulk-' || (n % 97) || '/' END || {text} || CASE n % 100 WHEN 13 THEN '.h5ad' ELSE '.csv' END"
    );
    let insert = |into: &str, values: String| format!("INSERT INTO {into} {numbers} SELECT {values} FROM n");
    let begin = "1700000000000000 + n * 1000000";
    database
        .run(&insert(
            "objects (id, storage_id, name, is_pack, size_bytes, created_at_us)",
            format!("n, 1, 'objects/fill/' || {text}, FALSE, n, {begin}"),
        ))
        .await;
    database
        .run(&insert(
            "blobs (id, storage_id, sha256, size_bytes, object_id, offset_bytes, kept, created_at_us)",
            format!("n, 1, {digest}, n, n, 0, FALSE, {begin}"),
        ))
        .await;
    database
        .run(&insert(
            "families (id, stem, space_id, storage_id, next_number, next_suffix, live_key, created_at_us)",
            format!("n, {stem}, 1, 1, 2, '0001', {key}, {begin}"),
        ))
        .await;
    database
        .run(&insert(
            &format!("artifacts ({COLUMNS})"),
            format!(
                "{stem} || '0000', n, 1, 1, 1, '1', TRUE, {key}, TRUE, \
                 CASE WHEN n % {every} = 0 THEN 'stripes of a zebra' WHEN n % 2 = 0 THEN 'counts of cells' END, 1, \
                 CASE n % 100 WHEN 13 THEN '.h5ad' ELSE '.csv' END, NULL, 'text/csv', n, {digest}, 1, n, 1, 1, 1, \
                 {begin}, {begin}"
            ),
        ))
        .await;
    if !end.is_empty() {
        database.run(end).await;
    }
}
