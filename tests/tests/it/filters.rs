//! Filters over a socket: the same artifacts on both databases as without one.

use artifactd_domain::{ArtifactFields, Order, filter::Filter};
use artifactd_tests::{
    Backend, Outcome, TestServer,
    calls::{by_text as text, by_uid, described, keyed, saved},
    entries::Answered,
    folders::{files, folder},
    pb::{
        self, ArtifactKind, BatchGetArtifactsRequest, CountArtifactsRequest, ErrorReason, ListArtifactsRequest,
        SaveHeader, Visibility,
    },
    refusal_of,
};

pub(crate) const ALL: [Visibility; 3] = [Visibility::Default, Visibility::Hidden, Visibility::Trash];

/// A server with artifacts of every sort.
async fn with_artifacts(backend: Backend) -> TestServer {
    let server = TestServer::on(backend).await;
    let calls = server.calls();
    for number in 0..24_u8 {
        let header = SaveHeader {
            description: match number % 4 {
                0 => Some(format!("counts of cells, \u{e9}dition {number}")),
                1 => Some("it's \"100%\" _\\ *".to_owned()),
                _ => None,
            },
            kind: ArtifactKind::try_from(i32::from(number % 4)).unwrap().into(),
            file_name: (number % 3 == 0).then(|| format!("File-{number}.csv")),
            media_type: (number % 5 == 0).then(|| "application/x-mine".to_owned()),
            visibility: match number % 6 {
                5 => Visibility::Hidden.into(),
                _ => Visibility::Default.into(),
            },
            version: (number % 8 == 7).then(|| format!("v{number}")),
            ..keyed(&format!(
                "{}/{}-{number}.csv",
                ["cells", "Cells", "\u{65e5}\u{672c}"][number as usize % 3],
                number % 7
            ))
        };
        let content = vec![number; 1 + number as usize % 9];
        calls.save(header, &content).await.unwrap();
    }
    for number in 0..4_u8 {
        calls
            .save(described(&format!("without a key {number}")), &[100 + number])
            .await
            .unwrap();
        // Next versions of some.
        let again = format!("cells/{}-{}.csv", number * 3 % 7, number * 3);
        calls.save(keyed(&again), &[200 + number]).await.unwrap();
    }
    for uid in 0..3 {
        let page = calls.list(ListArtifactsRequest::default()).await.unwrap();
        calls.trash(by_uid(&page.artifacts[uid * 3].uid)).await.unwrap();
    }
    server
}

/// A page of what matches, in an order.
pub(crate) fn listed(
    filter: &str,
    order_by: &str,
    page_size: i32,
    visibilities: &[Visibility],
) -> ListArtifactsRequest {
    ListArtifactsRequest {
        page_size,
        filter: filter.to_owned(),
        order_by: order_by.to_owned(),
        visibilities: visibilities.iter().map(|visibility| i32::from(*visibility)).collect(),
        ..Default::default()
    }
}

/// What a list has to answer, in an order of which the sort here knows only the default.
pub(crate) fn expected(all: &[pb::Artifact], filter: &str, visibilities: &[Visibility]) -> Vec<String> {
    let predicate = filter.parse::<Filter>().unwrap().check(&ArtifactFields).unwrap();
    let shown: &[Visibility] = match visibilities {
        [] if filter.contains("visibility") => &ALL,
        [] => &[Visibility::Default],
        named => named,
    };
    let shown = all.iter().filter(|artifact| shown.contains(&artifact.visibility()));
    let matching = shown.filter(|artifact| predicate.matches(&Answered(artifact)));
    matching.map(|artifact| artifact.uid.clone()).collect()
}

pub(crate) fn uids(artifacts: &[pb::Artifact]) -> Vec<String> {
    artifacts.iter().map(|artifact| artifact.uid.clone()).collect()
}

/// Filters with every field, type and way of testing.
fn filters(all: &[pb::Artifact]) -> Vec<String> {
    let some = &all[all.len() / 2];
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().to_string();
    let filters = [
        "",
        "key = 'cells/*'",
        "key = 'C*'",
        "key = '*5.csv'",
        "key = '*-1*'",
        "key = 'cells/*-1*.csv'",
        "key = 'cells/0-0.csv*.csv'",
        "key != 'cells/*'",
        "NOT key = 'cells/*'",
        "-key:*",
        "key > cells AND key < 'cells/4'",
        "key = '\u{65e5}*'",
        "description = *\u{e9}dition*",
        "description = 'it\\'s \"100%\" _\\\\ \\*'",
        "description = '*%*'",
        "description = '*_*'",
        "description != '*cells*'",
        "description:* AND -file_name:*",
        "file_name = 'File-*' OR file_name = 'file-*'",
        "file_name != 'File-0.csv'",
        "kind = MODEL",
        "kind != dataset",
        "kind = ARTIFACT_KIND_CODE OR suffix = ''",
        "suffix = .csv",
        "media_type = 'application/*'",
        "size > 3 AND size <= 6.5",
        "size = 1e0",
        "size = 0.5",
        "size < 99999999999999999999",
        "version = 2",
        "version = 'v*'",
        "version_number >= 2",
        "version_number != 1",
        "is_latest = false",
        "NOT is_latest = true",
        "key_is_virtual = true AND is_latest = true",
        "visibility = HIDDEN",
        "visibility = trash OR key = 'cells/*'",
        "NOT visibility = DEFAULT",
        "visibility != TRASH AND size > 2",
        "deleted_at:* AND visibility = TRASH",
        "space = default AND storage = default",
        "space = other",
        "storage != default OR created_by = 'a*'",
        "NOT storage = 'def*'",
        "created_by = admin",
        "created_by = nobody",
        "hash_type = SHA256",
        "hash_type = HASH_TYPE_SHA256_MANIFEST AND n_objects > 1",
        "accessor = DATA_FRAME AND n_observations > 1",
        "-accessor:*",
        "n_objects:*",
        "created_at > 2000-01-01 AND updated_at < 2999-12-31T23:59:59.999999999Z",
        "created_at < 2000-01-01",
        "id > 10 AND id <= 20.5",
    ];
    let mut filters: Vec<String> = filters.map(str::to_owned).to_vec();
    filters.extend([
        format!("uid = {}", some.uid),
        format!("uid = {} OR uid = {} OR uid = ''", some.uid, all[1].uid),
        format!("stem = {}", some.stem),
        format!("stem != {}", some.stem),
        format!("uid < {} AND NOT stem = '{}*'", some.uid, &some.stem[..3]),
        format!("hash = {}", some.hash),
        format!("hash != {} AND id != {}", some.hash.to_uppercase(), all[0].id),
        format!("id = {} OR id = {}", some.id, all[2].id),
        format!("created_at = {}", seconds(&some.created_at)),
        format!("created_at <= {} AND size > 1", seconds(&some.created_at)),
        format!("updated_at > {}", seconds(&some.updated_at)),
    ]);
    filters
}

#[tokio::test]
async fn filters_match_the_same_on_both_databases_as_without_one() {
    for backend in Backend::DATABASES {
        let server = with_artifacts(backend).await;
        let calls = server.calls();
        calls
            .save_folder(folder("folder.zarr"), &files(2, &[1, 22]))
            .await
            .unwrap();
        let all = calls.list_all(listed("", "", 1000, &ALL)).await.unwrap();
        assert!(all.len() > 30 && all.iter().any(|artifact| artifact.n_objects == Some(2)));
        for filter in filters(&all) {
            for visibilities in [&[][..], &ALL] {
                let expected = expected(&all, &filter, visibilities);
                let what = format!("{filter:?} of {visibilities:?} on {backend:?}");
                let found = calls.list_all(listed(&filter, "", 9, visibilities)).await.unwrap();
                assert_eq!(uids(&found), expected, "{what}");
                let count = CountArtifactsRequest {
                    filter: filter.clone(),
                    visibilities: visibilities.iter().map(|visibility| i32::from(*visibility)).collect(),
                    at_most: 0,
                };
                let counted = calls.count(count).await.unwrap();
                assert_eq!((counted.count, counted.more), (expected.len() as i64, false), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn lists_come_in_every_order() {
    for backend in Backend::DATABASES {
        let server = with_artifacts(backend).await;
        let calls = server.calls();
        for (number, rows) in [5, 2, 2, 9].into_iter().enumerate() {
            let table = (0..rows).fold("n\n".to_owned(), |table, row| format!("{table}{row}\n"));
            let key = format!("rows/{number}.csv");
            calls.save(keyed(&key), table.as_bytes()).await.unwrap();
        }
        let all = calls.list_all(listed("", "", 1000, &ALL)).await.unwrap();
        let tables = all.iter().filter(|artifact| artifact.n_observations > Some(1));
        assert!(tables.count() >= 4, "what orders is of several values, and is unset");
        for (order_by, is_descending) in [
            ("created_at", false),
            ("updated_at desc, uid desc", true),
            ("key", false),
            ("key desc", true),
            ("size asc", false),
            ("size desc", true),
            ("n_observations", false),
            ("n_observations desc", true),
        ] {
            let order: Order = order_by.parse().unwrap();
            let name = order.by.name();
            let mut expected = all.clone();
            expected.sort_by(|one, other| {
                let unset = |artifact: &pb::Artifact| match name {
                    "key" => artifact.key.is_none(),
                    "n_observations" => artifact.n_observations.is_none(),
                    _ => false,
                };
                let value = |artifact: &pb::Artifact| match name {
                    "size" => (artifact.size, 0, None),
                    "n_observations" => (artifact.n_observations.unwrap_or_default(), 0, None),
                    "key" => (0, 0, artifact.key.clone()),
                    name => {
                        let time = if name == "created_at" {
                            artifact.created_at
                        } else {
                            artifact.updated_at
                        };
                        (time.unwrap().seconds, time.unwrap().nanos, None)
                    }
                };
                let forward = (value(one), &one.uid).cmp(&(value(other), &other.uid));
                let forward = if is_descending { forward.reverse() } else { forward };
                unset(one).cmp(&unset(other)).then(forward)
            });
            for page_size in [1, 7, 1000] {
                let found = calls.list_all(listed("", order_by, page_size, &ALL)).await.unwrap();
                assert_eq!(
                    uids(&found),
                    uids(&expected),
                    "{order_by} in {page_size} on {backend:?}"
                );
            }
            expected.retain(|artifact| artifact.size > 2);
            let found = calls.list_all(listed("size > 2", order_by, 5, &ALL)).await.unwrap();
            assert_eq!(uids(&found), uids(&expected), "{order_by} of some on {backend:?}");
        }
    }
}

#[tokio::test]
async fn some_are_found_at_once_in_the_order_in_which_they_are_named() {
    for backend in Backend::DATABASES {
        let server = with_artifacts(backend).await;
        let calls = server.calls();
        let named = saved(calls.save(keyed("named.csv"), b"named").await.unwrap());
        let hidden = calls
            .list(listed("visibility = HIDDEN", "", 1, &[]))
            .await
            .unwrap()
            .artifacts
            .remove(0);
        let trashed = calls
            .list(listed("visibility = TRASH", "", 1, &[]))
            .await
            .unwrap()
            .artifacts
            .remove(0);
        let references = vec![
            text("named.csv"),
            by_uid(&trashed.uid),
            by_uid(&hidden.uid),
            text(&named.stem),
            text("named.csv@@1"),
            text("default::named.csv"),
            text("named.csv"),
        ];
        let request = BatchGetArtifactsRequest {
            artifacts: references.clone(),
            ..Default::default()
        };
        let found = calls.batch_get(request.clone()).await.unwrap().artifacts;
        let [n, t, h] = [&named.uid, &trashed.uid, &hidden.uid].map(String::clone);
        assert_eq!(
            uids(&found),
            [&n, &t, &h, &n, &n, &n, &n].map(String::clone),
            "{backend:?}"
        );
        assert_eq!(found[0], calls.get(by_uid(&n)).await.unwrap());
        assert_eq!(
            calls
                .batch_get(BatchGetArtifactsRequest::default())
                .await
                .unwrap()
                .artifacts,
            []
        );

        for (missing, reason) in [
            (text("nothing.csv"), ErrorReason::ArtifactNotFound),
            (text("named.csv@@9"), ErrorReason::ArtifactNotFound),
            (text("0123456789abcdef0000"), ErrorReason::ArtifactNotFound),
            (text("0123456789abcdef"), ErrorReason::ArtifactNotFound),
            (text("elsewhere::named.csv"), ErrorReason::StorageNotFound),
            (text(hidden.key.as_deref().unwrap()), ErrorReason::ArtifactNotFound),
            (text("../x"), ErrorReason::ReferenceInvalid),
            (pb::ArtifactRef { r#ref: None }, ErrorReason::FieldRequired),
        ] {
            let mut request = request.clone();
            request.artifacts.push(missing.clone());
            assert_eq!(
                refusal_of(&missing, calls.batch_get(request).await),
                reason,
                "{backend:?}"
            );
        }
        let with_hidden = BatchGetArtifactsRequest {
            artifacts: vec![text(hidden.key.as_deref().unwrap())],
            include_hidden: true,
            read_mask: None,
        };
        assert_eq!(uids(&calls.batch_get(with_hidden).await.unwrap().artifacts), [h]);
        let many = BatchGetArtifactsRequest {
            artifacts: vec![text("named.csv"); 1_000],
            ..Default::default()
        };
        assert_eq!(calls.batch_get(many.clone()).await.unwrap().artifacts.len(), 1_000);
        let mut too_many = many;
        too_many.artifacts.push(text("named.csv"));
        assert_eq!(
            refusal_of("1,001", calls.batch_get(too_many).await),
            ErrorReason::FieldInvalid
        );
    }
}

#[tokio::test]
async fn only_fields_that_were_asked_for_are_answered() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save(keyed("a.csv"), b"a").await.unwrap());
    let mask = |paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Some(prost_types::FieldMask { paths })
    };
    let few = pb::Artifact {
        uid: artifact.uid.clone(),
        key: artifact.key.clone(),
        size: artifact.size,
        ..Default::default()
    };
    let get = |read_mask| pb::GetArtifactRequest {
        artifact: Some(by_uid(&artifact.uid)),
        include_hidden: false,
        read_mask,
    };
    assert_eq!(calls.get_raw(get(mask(&["key", "size"]))).await.unwrap(), few);
    assert_eq!(calls.get_raw(get(mask(&["*"]))).await.unwrap(), artifact);
    let list = |read_mask| ListArtifactsRequest {
        read_mask,
        ..Default::default()
    };
    let page = calls.list(list(mask(&["size", "key", "uid"]))).await.unwrap();
    assert!(page.artifacts.iter().eq([&few]));
    let versions = |read_mask| pb::ListArtifactVersionsRequest {
        artifact: Some(by_uid(&artifact.uid)),
        read_mask,
        ..Default::default()
    };
    let page = calls.versions(versions(mask(&["key", "size"]))).await.unwrap();
    assert!(page.artifacts.iter().eq([&few]));
    let some = |read_mask| BatchGetArtifactsRequest {
        artifacts: vec![by_uid(&artifact.uid)],
        include_hidden: false,
        read_mask,
    };
    assert_eq!(
        calls.batch_get(some(mask(&["key", "size"]))).await.unwrap().artifacts,
        [few]
    );
    for unknown in ["", "sizes", "created_at.seconds", "Key"] {
        let reasons = [
            refusal_of(unknown, calls.get_raw(get(mask(&["key", unknown]))).await),
            refusal_of(unknown, calls.list(list(mask(&[unknown]))).await),
            refusal_of(unknown, calls.versions(versions(mask(&[unknown]))).await),
            refusal_of(unknown, calls.batch_get(some(mask(&[unknown]))).await),
        ];
        assert_eq!(reasons, [ErrorReason::FieldInvalid; 4]);
    }
}

#[tokio::test]
async fn counts_stop_where_they_are_told_to() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for number in 0..9_u8 {
            calls.save(keyed(&format!("{number}.csv")), &[number; 3]).await.unwrap();
        }
        let count = |filter: &str, at_most| CountArtifactsRequest {
            filter: filter.to_owned(),
            at_most,
            ..Default::default()
        };
        for (filter, at_most, expected) in [
            ("", 0, (9, false)),
            ("", 9, (9, false)),
            ("", 8, (8, true)),
            ("", i64::MAX, (9, false)),
            ("size = 3 AND media_type = 'text/csv'", 4, (4, true)),
            ("key = '1*'", 1, (1, false)),
            ("size > 1e30", 1, (0, false)),
        ] {
            let counted = calls.count(count(filter, at_most)).await.unwrap();
            assert_eq!(
                (counted.count, counted.more),
                expected,
                "{filter:?} to {at_most} on {backend:?}"
            );
        }
        assert_eq!(
            refusal_of(-1, calls.count(count("", -1)).await),
            ErrorReason::FieldInvalid
        );
        assert_eq!(
            refusal_of("x", calls.count(count("x", 0)).await),
            ErrorReason::FilterInvalid
        );
    }
}

fn fault<T: std::fmt::Debug>(outcome: Outcome<T>) -> (ErrorReason, Vec<String>, String) {
    let failure = outcome.expect_err("it is refused");
    (
        failure.reason.unwrap(),
        failure.fields.clone(),
        failure.status.message().to_owned(),
    )
}

#[tokio::test]
async fn what_cannot_be_filtered_or_ordered_is_refused_with_its_place() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("x.csv"), b"1").await.unwrap();
    let deep = format!("{}size = 1{}", "(".repeat(5_000), ")".repeat(5_000));
    let wide = vec!["id=1"; 1_500].join(" OR ");
    let long = format!("key = '{}'", "x".repeat(20_000));
    for (filter, message) in [
        (
            "hello",
            "filter at character 1: `hello` tests nothing: write `field = value`; words are looked for by a search",
        ),
        (
            "size = 1 AND colour = red",
            "filter at character 14: there is no field `colour`",
        ),
        (
            "size = many",
            "filter at character 8: `size` takes an integer, not `many`",
        ),
        ("etag = x", "filter at character 1: `etag` cannot be tested"),
        ("key = 'a", "filter at character 7: this quote is not closed"),
        (
            "key = a'; DROP TABLE artifacts; --",
            "filter at character 8: expected a space; values that hold this are quoted, found `'`",
        ),
        ("__class__ = x", "filter at character 1: there is no field `__class__`"),
        ("key = '*a*a*a*a*b'", "filter at character 7: a value has at most 2 `*`"),
        (&deep, "filter at character 33: parentheses are nested at most 32 deep"),
        (&wide, "filter at character 2049: a filter has at most 256 tests"),
        (
            &long,
            "filter at character 1: a filter has at most 16384 bytes, this one has 20008",
        ),
    ] {
        let fields = vec!["filter".to_owned()];
        let expected = (ErrorReason::FilterInvalid, fields, message.to_owned());
        assert_eq!(fault(calls.list(listed(filter, "", 0, &[])).await), expected);
        let count = CountArtifactsRequest {
            filter: filter.to_owned(),
            ..Default::default()
        };
        assert_eq!(fault(calls.count(count).await), expected);
    }
    // Texts that are SQL, patterns or nothing special elsewhere are just texts.
    for value in [
        "'; DROP TABLE artifacts; --",
        "%",
        "_",
        "x' OR '1'='1",
        "\u{202e}",
        "$1",
        "?",
        "{}",
        "\\*",
    ] {
        let quoted = value.replace('\\', "\\\\").replace('\'', "\\'").replace('*', "\\*");
        let filter = format!("key = '{quoted}' OR description = '{quoted}' OR file_name = '*{quoted}*'");
        assert_eq!(
            calls.list_all(listed(&filter, "", 0, &[])).await.unwrap(),
            [],
            "{filter}"
        );
    }
    for order in [
        "colour",
        "__class__",
        "password",
        "key; DROP TABLE artifacts",
        "key, size",
        "key up",
        "uid",
        "-key",
    ] {
        let (reason, fields, message) = fault(calls.list(listed("", order, 0, &[])).await);
        assert_eq!(
            (reason, fields),
            (ErrorReason::FieldInvalid, vec!["order_by".to_owned()]),
            "{message}"
        );
    }
    assert_eq!(calls.list_all(listed("", "", 0, &[])).await.unwrap().len(), 1);
}

#[tokio::test]
async fn page_tokens_belong_to_their_filter_order_and_caller() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for number in 0..5_u8 {
            calls.save(keyed(&format!("{number}.csv")), &[number]).await.unwrap();
        }
        let first = listed("size = 1", "key", 2, &[]);
        let token = calls.list(first.clone()).await.unwrap().next_page_token;
        let with_token = |request: ListArtifactsRequest| ListArtifactsRequest {
            page_token: token.clone(),
            ..request
        };
        let next = calls.list(with_token(first.clone())).await.unwrap();
        assert_eq!(next.artifacts[0].key.as_deref(), Some("2.csv"));
        let larger = with_token(listed("size = 1", "key", 1000, &[]));
        assert_eq!(
            calls.list(larger).await.unwrap().artifacts.len(),
            3,
            "pages may change their size"
        );
        for other in [
            listed("size = 1 ", "key", 2, &[]),
            listed("", "key", 2, &[]),
            listed("size = 1", "key desc", 2, &[]),
            listed("size = 1", "", 2, &[]),
            listed("size = 1", "key", 2, &[Visibility::Trash]),
        ] {
            let reason = refusal_of(&other, calls.list(with_token(other.clone())).await);
            assert_eq!(reason, ErrorReason::PageTokenMismatch, "{backend:?}");
        }
        let counted = CountArtifactsRequest::default();
        assert_eq!(calls.count(counted).await.unwrap().count, 5);
    }
}
