use artifactd_domain::{
    Held, OrderBy, RecordField, RecordFields,
    filter::{Entry, Filter, Value},
};
use proptest::{prelude::*, test_runner::TestRunner};
use sea_orm::{ConnectionTrait, Statement};

use super::*;
use crate::db::{
    Connection, DatabaseConfig, Db, Reader,
    explaining::{Answer, Before, Explaining, Watched, run},
};

/// A database with so many artifacts, in which nothing is evenly spread.
async fn filled(artifacts: u32) -> (tempfile::TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&DatabaseConfig::Sqlite(folder.path().join("db.sqlite3")))
        .await
        .unwrap();
    let script = format!(
        "INSERT INTO principals VALUES (1, 'u1', 'admin', 0);
         INSERT INTO spaces VALUES (1, 's1', 'default', 1, 0), (2, 's2', 'other', 1, 0);
         INSERT INTO storages (id, uid, space_id, name, root, managed, read_only, created_at_us)
             VALUES (1, 't1', 1, 'default', '/', TRUE, FALSE, 0);
         INSERT INTO families (id, stem, space_id, storage_id, next_number, created_at_us)
             VALUES (1, '0000000000000000', 1, 1, 1, 0);
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {artifacts})
         INSERT INTO artifacts (uid, family_id, space_id, storage_id, version_number, version_label, is_latest,
             \"key\", key_is_virtual, description, kind, suffix, file_name, media_type, size_bytes, sha256, hash_type,
             n_objects, n_observations, visibility, trashed_at_us, revision, created_by, created_at_us, updated_at_us)
         SELECT printf('%020d', n * 7919 % 1000003), 1, 1 + (n % 17 = 0), 1, n, CAST(n AS TEXT), FALSE,
             CASE WHEN n % 10 <> 0 THEN printf('k%d/%c%05d.csv', n % 7, 97 + n % 5, n) END, TRUE,
             CASE WHEN n % 100 = 0 THEN 'rare' WHEN n % 4 = 0 THEN 'b' END, 1 + n % 3,
             CASE WHEN n % 3 = 0 THEN '.csv' ELSE '' END, CASE WHEN n % 5 = 0 THEN 'é' || n || 'x' END, 'text/csv',
             n % 50, CAST(printf('%032d', n % 40) AS BLOB), 1, CASE WHEN n % 6 = 0 THEN n END,
             CASE WHEN n % 8 < 5 THEN n % 30 END,
             CASE WHEN n % 11 = 0 THEN 0 WHEN n % 13 = 0 THEN -1 ELSE 1 END, NULL, 1, 1, 1000 + n / 3,
             5000 - n * 31 % 997
         FROM n;
         INSERT INTO features (id, uid, space_id, role, name, dtype, revision, created_by, created_at_us, updated_at_us)
             VALUES (1, 'f1', 1, 1, 'n', 'int', 1, 1, 0, 0), (2, 'f2', 1, 1, 's', 'str', 1, 1, 0, 0),
                 (3, 'f3', 1, 1, 'c', 'cat[T]', 1, 1, 0, 0), (4, 'f4', 1, 1, 'l', 'list[float]', 1, 1, 0, 0);
         INSERT INTO label_registries (id, uid, space_id, name, revision, created_by, created_at_us, updated_at_us)
             VALUES (1, 'r1', 1, 'T', 1, 1, 0, 0);
         INSERT INTO labels (id, uid, registry_id, space_id, name, revision, created_by, created_at_us, updated_at_us)
             VALUES (1, 'l1', 1, 1, 'red', 1, 1, 0, 0), (2, 'l2', 1, 1, 'blue', 1, 1, 0, 0);
         INSERT INTO feature_values (artifact_id, feature_id, int_value, is_item, artifact_at_us)
             SELECT id, 1, id % 50, FALSE, created_at_us FROM artifacts WHERE id % 3 = 0
             UNION ALL SELECT id, 1, id % 7 + 100, FALSE, created_at_us FROM artifacts WHERE id % 6 = 0;
         INSERT INTO feature_values (artifact_id, feature_id, text_value, document, is_item, artifact_at_us)
             SELECT id, 2, 't' || (id % 20), NULL, FALSE, created_at_us FROM artifacts WHERE id % 4 = 0
             UNION ALL SELECT id, 4, 'digest', '[]', FALSE, created_at_us FROM artifacts WHERE id % 5 = 0;
         INSERT INTO feature_values (artifact_id, feature_id, float_value, is_item, artifact_at_us)
             SELECT id, 4, id % 9 + 0.5, TRUE, created_at_us FROM artifacts WHERE id % 5 = 0;
         INSERT INTO artifact_labels (artifact_id, label_id, feature_id, artifact_at_us)
             SELECT id, 1, NULL, created_at_us FROM artifacts WHERE id % 5 = 0
             UNION ALL SELECT id, 2, 3, created_at_us FROM artifacts WHERE id % 7 = 0;
         INSERT INTO runs (id, uid, space_id, status, params, revision, created_by, created_at_us, updated_at_us)
             VALUES (1, 'run', 1, 1, '{{}}', 1, 1, 0, 0);
         UPDATE artifacts SET run_id = 1 WHERE id % 9 = 0;"
    );
    run(&db, &script).await;
    (folder, db)
}

impl Entry<ArtifactField> for ArtifactRow {
    fn values(&self, field: &ArtifactField) -> Vec<Value> {
        let text = |text: &str| vec![Value::Text(text.to_owned())];
        let int = |number: i64| vec![Value::Int(number.into())];
        match field {
            ArtifactField::Uid => text(&self.uid),
            ArtifactField::Stem => text(&self.uid[..16]),
            ArtifactField::Key => self.key.as_deref().map_or(vec![], text),
            ArtifactField::Description => self.description.as_deref().map_or(vec![], text),
            ArtifactField::Kind => int(self.kind.into()),
            ArtifactField::Suffix => text(&self.suffix),
            ArtifactField::FileName => self.file_name.as_deref().map_or(vec![], text),
            ArtifactField::MediaType => text(&self.media_type),
            ArtifactField::Size => int(self.size_bytes),
            ArtifactField::Hash => vec![Value::Bytes(self.sha256.clone())],
            ArtifactField::HashType => int(self.hash_type.into()),
            ArtifactField::Version => text(&self.version_label),
            ArtifactField::VersionNumber => int(self.version_number.into()),
            ArtifactField::IsLatest => vec![Value::Bool(self.is_latest)],
            ArtifactField::Visibility => int(self.visibility.into()),
            ArtifactField::Space => int(self.space_id),
            ArtifactField::Storage => int(self.storage_id),
            ArtifactField::KeyIsVirtual => vec![Value::Bool(self.key_is_virtual)],
            ArtifactField::CreatedBy => int(self.created_by),
            ArtifactField::CreatedAt => int(self.created_at_us),
            ArtifactField::UpdatedAt => int(self.updated_at_us),
            ArtifactField::DeletedAt => self.trashed_at_us.map_or(vec![], int),
            ArtifactField::Id => int(self.id),
            ArtifactField::NObjects => self.n_objects.map_or(vec![], int),
            ArtifactField::Accessor => self.accessor.map_or(vec![], |code| int(code.into())),
            ArtifactField::NObservations => self.n_observations.map_or(vec![], int),
            ArtifactField::Record(record) => around(self.id, *record),
        }
    }
}

/// What the artifact with an id was given above.
fn around(id: i64, record: RecordField) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let one_in = |every: i64, value: Value| (id % every == 0).then_some(value);
    let (red, blue) = (one_in(5, text("red")), one_in(7, text("blue")));
    let all: Vec<Option<Value>> = match record {
        RecordField::Value { feature_id: 1, .. } => vec![
            one_in(3, Value::Int((id % 50).into())),
            one_in(6, Value::Int((id % 7 + 100).into())),
        ],
        RecordField::Value { feature_id: 2, .. } => vec![one_in(4, text(&format!("t{}", id % 20)))],
        RecordField::Value { holds: Held::Float, .. } => vec![one_in(5, Value::Float((id % 9) as f64 + 0.5))],
        RecordField::Category(_) => vec![blue],
        RecordField::Labels(_) | RecordField::Labelled => vec![red, blue],
        RecordField::Run => vec![one_in(9, text("run"))],
        other => panic!("{other:?}"),
    };
    all.into_iter().flatten().collect()
}

fn fields() -> RecordFields {
    let feature = |name: &str, id, dtype: &str| (name.to_owned(), (id, dtype.parse().unwrap()));
    RecordFields {
        features: [
            feature("n", 1, "int"),
            feature("s", 2, "str"),
            feature("c", 3, "cat[T]"),
            feature("l", 4, "list[float]"),
        ]
        .into(),
        registries: [("T".to_owned(), 1)].into(),
        ..Default::default()
    }
}

async fn rows_of(db: &Db) -> Vec<ArtifactRow> {
    artifacts::all(db.reader(), &artifacts::select()).await.unwrap()
}

fn listing(filter: &str, order: Order) -> Listing {
    let filter: Filter = filter.parse().unwrap();
    Listing {
        space_id: 1,
        visibility: Visibility::Default,
        order,
        filter: filter.check(&fields()).unwrap(),
    }
}

/// What a listing has to hold, found without a database.
fn expected(rows: &[ArtifactRow], listing: &Listing) -> Vec<String> {
    let is_here = |row: &&ArtifactRow| row.space_id == 1 && row.visibility == Visibility::Default.code();
    let mut matching: Vec<_> = rows
        .iter()
        .filter(is_here)
        .filter(|row| listing.filter.matches(*row))
        .map(|row| Place::of(row, listing.order.by))
        .collect();
    matching.sort_by(|one, other| one.compare(other, listing.order));
    matching.into_iter().map(|place| place.uid).collect()
}

/// Every page of a listing, one after the other.
async fn walked(conn: &impl Connection, listing: &Listing, rows: u64) -> Vec<String> {
    walked_within(conn, listing, rows, WALKED_MAX).await
}

/// The same, with so many rows that are tried for each page.
async fn walked_within(conn: &impl Connection, listing: &Listing, rows: u64, walked_max: u64) -> Vec<String> {
    let (mut uids, mut after) = (Vec::new(), None);
    loop {
        let found = next_within(conn, listing, after.as_ref(), rows, walked_max)
            .await
            .unwrap();
        assert!(found.rows.len() as u64 <= rows);
        uids.extend(found.rows.into_iter().map(|row| row.uid));
        if found.up_to.is_none() {
            return uids;
        }
        assert_ne!(found.up_to, after, "a page gets on");
        after = found.up_to;
    }
}

fn orders() -> impl Iterator<Item = Order> {
    let both = |by| [false, true].map(|is_descending| Order { by, is_descending });
    OrderBy::ALL.into_iter().flat_map(both)
}

/// What the optimiser of a database has to see through, or we for it.
const FILTERS: [&str; 48] = [
    "",
    "key = 'k3/*'",
    "key = 'k3/b*'",
    "key = 'k3/b0*' AND suffix = .csv",
    "key = '*5.csv'",
    "key = 'k*/b*.csv'",
    "key != 'k1*'",
    "-key:*",
    "key:*",
    "key > k5 AND key < 'k6/c'",
    "key = 'k1/b00001.csv' OR key = 'k2/c00002.csv' OR key = nothing",
    "description = rare",
    "description = rare AND key = 'k1*'",
    "NOT description = b",
    "description != b",
    "size = 7",
    "size >= 10 AND size < 12.5",
    "size = 7 OR size = 9",
    "size > 1e30",
    "created_at < 1970-01-01T00:00:00.0011Z",
    "created_at >= 1970-01-01T00:00:00.001100Z AND size = 3",
    "updated_at > 1970-01-01T00:00:00.0045Z AND kind = MODEL",
    "uid = 00000000000000007919",
    "uid = 00000000000000007919 OR uid = 00000000000000015838 OR uid = x",
    "stem = 0000000000000009",
    "stem = '00000000000000*' AND NOT stem = 0000000000000009",
    "hash = 3030303030303030303030303030303030303030303030303030303030303137",
    "id < 50 OR id = 70",
    "id = 3 OR id = 5",
    "version_number > 2900 AND is_latest = false",
    "file_name = 'é*x' AND file_name = '*é1*'",
    "n_objects:* AND n_objects <= 300 OR suffix = .csv",
    "n_observations >= 28",
    "-n_observations:* AND size = 3",
    "features.n = 3",
    "features.n > 46 AND features.n < 100.5",
    "features.n < 2 OR features.n = 103 OR features.s = t16",
    "features.n:*",
    "NOT features.n <= 48",
    "-features.n:* AND key = 'k1/a*'",
    "features.n = 9 AND key = 'k*' AND size > 20",
    "features.s = 't1*' AND NOT features.s = '*6'",
    "features.s > t4",
    "features.l > 7 AND features.l:*",
    "features.c = blue OR labels.T = 'r*'",
    "labels:* AND NOT labels.T = red AND features.n:*",
    "labels.T > r AND run:*",
    "NOT run:* AND features.n = 48",
];

#[tokio::test]
async fn listings_hold_what_matches_in_order_and_search_indexes_for_it() {
    let (_folder, db) = filled(3_000).await;
    let rows = rows_of(&db).await;
    let conn = Explaining::of(&db);
    for filter in FILTERS {
        for order in orders() {
            let listing = listing(filter, order);
            let expected = expected(&rows, &listing);
            let what = format!("{filter:?} by {order}");
            assert_eq!(walked(&conn, &listing, 400).await, expected, "{what}");
            let counted = count(&conn, &listing, 10_000).await.unwrap();
            assert_eq!(counted, expected.len() as u64, "{what}");
            assert_eq!(count(&conn, &listing, 5).await.unwrap(), Ord::min(counted, 5), "{what}");
            if expected.len() < 60 {
                assert_eq!(walked(&conn, &listing, 7).await, expected, "{what}");
            }
            let steps = conn.steps();
            let searches = steps.iter().any(|step| step.starts_with("SEARCH artifacts USING "));
            assert!(searches || listing.filter.is_never(), "{what}: {steps:#?}");
            let tables = ["artifacts", "feature_values", "artifact_labels", "runs"];
            let is_scan = |step: &&String| tables.into_iter().any(|table| **step == format!("SCAN {table}"));
            let scan = steps.iter().find(is_scan);
            assert_eq!(scan, None, "{what}");
        }
    }
}

#[tokio::test]
async fn rows_are_read_alike_by_number_and_by_name() {
    let (_folder, db) = filled(500).await;
    let fill_rest = "INSERT INTO objects (id, storage_id, name, is_pack, size_bytes, created_at_us)
             VALUES (7, 1, 'objects/aa/x', TRUE, 1, 0);
         INSERT INTO blobs (id, storage_id, sha256, size_bytes, object_id, offset_bytes, crc32c, kept, created_at_us)
             VALUES (8, 1, x'00', 1, 7, 9, 10, FALSE, 0);
         INSERT INTO transform_families (id, stem, space_id, \"key\", next_number, created_at_us)
             VALUES (1, 'stem', 1, 'k', 2, 0);
         INSERT INTO transforms (id, uid, family_id, version_number, version_label, is_latest, kind, revision,
             created_by, created_at_us, updated_at_us)
             VALUES (11, 'transform', 1, 1, '1', TRUE, 1, 1, 1, 0, 0);
         UPDATE runs SET transform_id = 11;
         UPDATE artifacts SET blob_id = 8, accessor = 12, visibility_before_trash = 13, trash_batch = 'batch',
             trashed_at_us = 14 WHERE id % 2 = 0;";
    run(&db, fill_rest).await;
    let plain = |row: &ArtifactRow| serde_json::to_value(row).unwrap();
    let by_number: Vec<_> = rows_of(&db).await.iter().map(plain).collect();
    let by_name = db.reader().query_all(&artifacts::select()).await.unwrap();
    let by_name = by_name
        .iter()
        .map(|row| plain(&sea_orm::FromQueryResult::from_query_result(row, "").unwrap()));
    assert_eq!(by_number, by_name.collect::<Vec<_>>());
    let fields = |row: &serde_json::Value| row.as_object().unwrap().len();
    // All but the manifest, earlier runs, and an integer whose column is not filled here.
    assert!(by_number.iter().any(|row| fields(row) >= 36), "{by_number:?}");
}

#[tokio::test]
async fn rows_that_are_known_by_their_ids_come_in_the_order_of_these() {
    let (_folder, db) = filled(300).await;
    for ids in [&[][..], &[7], &[250, 3, 100, 4, 299, 1]] {
        let rows = artifacts::with_ids(db.reader(), ids).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
    }
    let rows = artifacts::with_ids(db.reader(), &[9, 1_000, 2]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [9, 2]);
}

#[tokio::test]
async fn a_page_by_a_prefix_reads_one_index_and_the_rows_of_the_page() {
    let (_folder, db) = filled(3_000).await;
    let conn = Explaining::of(&db);
    for is_descending in [true, false] {
        let order = Order {
            by: OrderBy::CreatedAt,
            is_descending,
        };
        let found = next(&conn, &listing("key = 'k3/*'", order), None, 20).await.unwrap();
        assert_eq!(found.rows.len(), 20);
        let steps = conn.steps();
        // All that begins so, then the rows of the page, each with its blob, object, run and transform.
        assert_eq!(steps.len(), 7, "{steps:#?}");
        assert!(
            steps[0].starts_with("SEARCH artifacts USING COVERING INDEX"),
            "{steps:#?}"
        );
        assert!(steps[1].starts_with("SCAN listed VIRTUAL TABLE"), "{steps:#?}");
        assert!(
            steps[2].starts_with("SEARCH artifacts USING INTEGER PRIMARY KEY"),
            "{steps:#?}"
        );
    }
}

#[tokio::test]
async fn what_is_renamed_while_a_page_is_read_is_not_on_it() {
    let (_folder, db) = filled(3_000).await;
    let listing = listing("key = 'k3/*'", Order::default());
    let expected = expected(&rows_of(&db).await, &listing);
    let renaming = Renaming {
        db: db.clone(),
        uid: expected[2].clone(),
    };
    let renaming = Watched::new(&db, renaming);
    let found = next(&renaming, &listing, None, 5).await.unwrap();
    assert!(found.rows.len() <= 5);
    // The next page begins where it ends, and leaves nothing out.
    let rest = next(db.reader(), &listing, found.up_to.as_ref(), 10_000).await.unwrap();
    let rows = found.rows.into_iter().chain(rest.rows);
    let uids: Vec<_> = rows.map(|row| row.uid).collect();
    assert_eq!(uids, [&expected[..2], &expected[3..]].concat());
}

#[tokio::test]
async fn pages_of_a_prefix_are_whole_when_much_was_created_at_one_moment() {
    let (_folder, db) = filled(3_000).await;
    for moment in ["5", "id % 3", "id / 300", "id / 3"] {
        let script = format!("UPDATE artifacts SET created_at_us = {moment}");
        run(&db, &script).await;
        let rows = rows_of(&db).await;
        for (filter, is_descending) in [("key = 'k*'", true), ("key = 'k*'", false), ("key = 'k3/*'", true)] {
            let order = Order {
                by: OrderBy::CreatedAt,
                is_descending,
            };
            let listing = listing(filter, order);
            let expected = expected(&rows, &listing);
            for rows in [37, 400] {
                let walked = walked(db.reader(), &listing, rows).await;
                assert_eq!(
                    walked, expected,
                    "{filter} by {order} in pages of {rows}, created at {moment}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_page_that_finds_little_ends_where_it_got_to() {
    let (_folder, db) = filled(3_000).await;
    let order = Order {
        by: OrderBy::CreatedAt,
        is_descending: false,
    };
    // No index leads to it, and it was created last of all.
    let listing = listing("file_name = '*2995x'", order);
    let found = next_within(db.reader(), &listing, None, 10, 1_000).await.unwrap();
    assert!(found.rows.is_empty() && found.up_to.is_some(), "{found:?}");
    let expected = expected(&rows_of(&db).await, &listing);
    assert_eq!(expected.len(), 1);
    assert_eq!(walked_within(db.reader(), &listing, 10, 1_000).await, expected);
}

/// Renames an artifact before each query for whole rows.
struct Renaming {
    db: Db,
    uid: String,
}

#[async_trait::async_trait]
impl Before for Renaming {
    async fn before(&self, _reader: &Reader, query: &Statement) -> Answer<()> {
        if query.sql.contains("\"description\"") {
            let script = format!("UPDATE artifacts SET \"key\" = 'other' WHERE uid = '{}'", self.uid);
            run(&self.db, &script).await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_page_costs_the_same_wherever_it_lies() {
    let (_folder, db) = filled(3_000).await;
    let conn = Explaining::of(&db);
    for order in orders() {
        let listing = listing("", order);
        let first = next(&conn, &listing, None, 10).await.unwrap();
        drop(conn.steps());
        next(&conn, &listing, first.up_to.as_ref(), 10).await.unwrap();
        let column = sea_orm::Iden::unquoted(&Index::of_order(order.by).column()).to_owned();
        let bounded = format!("({column},uid){}(?,?)", if order.is_descending { "<" } else { ">" });
        let steps = conn.steps();
        assert!(steps[0].contains(&bounded), "{order}: {steps:?}");
        assert!(
            !steps.iter().any(|step| step.contains("TEMP B-TREE")),
            "{order}: {steps:?}"
        );
    }
}

#[tokio::test]
async fn equal_values_are_walked_as_their_artifacts_were_created() {
    let (_folder, db) = filled(3_000).await;
    let conn = Explaining::of(&db);
    let both = [true, false].map(|is_descending| Order {
        by: OrderBy::CreatedAt,
        is_descending,
    });
    // The second time with all of them at one moment.
    for moment in [None, Some(5)] {
        if let Some(moment) = moment {
            let script = format!(
                "UPDATE artifacts SET created_at_us = {moment}; UPDATE feature_values SET artifact_at_us = {moment}"
            );
            run(&db, &script).await;
        }
        let rows = rows_of(&db).await;
        for order in both {
            for filter in [
                "features.n = 103",
                "features.n = 103 AND size < 25",
                "features.n > 20 AND key = 'k*'",
            ] {
                let listing = listing(filter, order);
                let what = format!("{filter:?} by {order} at {moment:?}");
                assert_eq!(walked(&conn, &listing, 7).await, expected(&rows, &listing), "{what}");
                let steps = conn.steps();
                // Of one artifact only its own values are looked at.
                let mut probes = steps.windows(2).filter(|steps| steps[0].starts_with("CORRELATED"));
                let is_its_own = |step: &str| step.contains("feature_values_artifact") || step.contains("int_value=?");
                let is_of_others = |steps: &[String]| steps[1].contains("feature_values") && !is_its_own(&steps[1]);
                assert!(!probes.any(is_of_others), "{what}: {steps:?}");
                if filter.contains("= 103") {
                    let index =
                        "SEARCH feature_values USING COVERING INDEX feature_values_int (feature_id=? AND int_value=?";
                    assert!(steps[0].starts_with(index), "{what}: {steps:?}");
                    assert!(!steps[1].contains("TEMP B-TREE"), "{what}: {steps:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_shares_its_moment_with_the_end_of_a_step_is_not_left_out() {
    let (_folder, db) = filled(9_000).await;
    // More of one value than are looked up by their ids, two of them at each moment.
    let script = "DELETE FROM feature_values WHERE feature_id = 1; \
         INSERT INTO feature_values (artifact_id, feature_id, int_value, is_item, artifact_at_us) \
         SELECT id, 1, 103, FALSE, created_at_us FROM artifacts WHERE id % 3 <> 2";
    run(&db, script).await;
    let mut rows = rows_of(&db).await;
    rows.retain(|row| row.id % 3 != 2);
    for is_descending in [true, false] {
        let order = Order {
            by: OrderBy::CreatedAt,
            is_descending,
        };
        // Few of them match, so that a page needs several steps.
        let named = listing("file_name = 'é*x'", order);
        let of_value = listing("features.n = 103 AND file_name = 'é*x'", order);
        let walked = walked(db.reader(), &of_value, 40).await;
        assert_eq!(walked, expected(&rows, &named), "{order}");
    }
}

/// Any filter made of the tests above, which are few so that they meet.
fn filters() -> impl Strategy<Value = String> {
    let tests = [
        "key = 'k3/*'",
        "key > k4",
        "-key:*",
        "key = '*b*'",
        "key != '*1.csv'",
        "key = 'k1*1.csv'",
        "description = b",
        "description != b",
        "description:*",
        "size < 20",
        "size = 7",
        "size = 11",
        "created_at < 1970-01-01T00:00:00.001050Z",
        "updated_at > 1970-01-01T00:00:00.0048Z",
        "kind = MODEL",
        "suffix = .csv",
        "stem = '000000000000*'",
        "id = 9",
        "id <= 120",
        "n_objects > 50.5",
        "file_name = '*é*'",
        "file_name != '*5x'",
        "media_type = 'text/c*'",
        "is_latest = true",
        "uid < 00000000000000500000",
        "n_observations < 9",
        "features.n > 30",
        "features.n = 103",
        "features.n = 48",
        "features.s = t4",
        "features.s:*",
        "features.c = blue",
        "labels.T = '*e*'",
        "run:*",
    ];
    let test = prop::sample::select(tests.to_vec()).prop_map(str::to_owned);
    test.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|one| format!("NOT ({one})")),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|some| format!("({})", some.join(" AND "))),
            prop::collection::vec(inner, 2..4).prop_map(|some| format!("({})", some.join(" OR "))),
        ]
    })
}

#[test]
fn any_filter_matches_the_same_rows_in_the_database() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_folder, db) = runtime.block_on(filled(400));
    let rows = runtime.block_on(rows_of(&db));
    let orders: Vec<Order> = orders().collect();
    let given = (
        filters(),
        prop::sample::select(orders),
        prop::sample::select(vec![9, 50, 1_000]),
    );
    let tested = TestRunner::default().run(&given, |(filter, order, size)| {
        let listing = listing(&filter, order);
        let found = runtime.block_on(walked(db.reader(), &listing, size));
        prop_assert_eq!(found, expected(&rows, &listing), "{} by {}", filter, order);
        Ok(())
    });
    tested.unwrap();
}
