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

/// Adds five values to each of the artifacts of `fill`: `group`, which one in a hundred
/// shares, `rank`, a number from 0 that no other has, and three that are as they may be.
///
/// # Panics
/// When the database refuses them.
pub async fn fill_values(database: &RawDatabase, artifacts: u64) {
    let features = [
        ("group", "int"),
        ("rank", "int"),
        ("share", "float"),
        ("batch", "str"),
        ("well", "int"),
    ];
    for (number, (name, dtype)) in features.iter().enumerate() {
        let id = number + 1;
        database
            .run(&format!(
                "INSERT INTO features (id, uid, space_id, role, name, dtype, revision, created_by, created_at_us, \
                 updated_at_us) VALUES ({id}, 'filled{id:010}', 1, 1, '{name}', '{dtype}', 1, 1, 1, 1)"
            ))
            .await;
    }
    for (id, column, value) in [
        (1, "int_value", "id % 100".to_owned()),
        (2, "int_value", format!("id * 7919 % {artifacts}")),
        (3, "float_value", "id * 0.25".to_owned()),
        (4, "text_value", "'batch ' || id % 97".to_owned()),
        (5, "int_value", "id % 384".to_owned()),
    ] {
        database
            .run(&format!(
                "INSERT INTO feature_values (artifact_id, feature_id, {column}, is_item, artifact_at_us) \
                 SELECT id, {id}, {value}, FALSE, created_at_us FROM artifacts"
            ))
            .await;
    }
    if matches!(database, RawDatabase::Postgres(_)) {
        database.run("ANALYZE").await;
    }
}

/// Makes a lineage of the first artifacts of `fill`: from one of them a run each makes
/// `width` others, from each of these one, and so on, until there are so many.
///
/// # Panics
/// When the database refuses it.
pub async fn fill_lineage(database: &RawDatabase, artifacts: u64, width: u64) {
    let of_all = format!("FROM artifacts WHERE id BETWEEN 2 AND {artifacts}");
    database
        .run(&format!(
            "INSERT INTO runs (id, uid, space_id, name, status, params, revision, created_by, created_at_us, \
             updated_at_us) SELECT id, substr(uid, 1, 16), 1, 'step', 0, '{{}}', 1, 1, created_at_us, created_at_us \
             {of_all}"
        ))
        .await;
    database
        .run(&format!(
            "UPDATE artifacts SET run_id = id WHERE id BETWEEN 2 AND {artifacts}"
        ))
        .await;
    database
        .run(&format!(
            "INSERT INTO run_inputs (run_id, artifact_id, artifact_at_us, at_us) \
             SELECT id, CASE WHEN id > {width} + 1 THEN id - {width} ELSE 1 END, created_at_us, created_at_us {of_all}"
        ))
        .await;
}
