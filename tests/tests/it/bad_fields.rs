//! Bad values of fields: refused with the field's name, nothing saved.

use artifactd_tests::{
    Calls, Failure, TestServer,
    calls::{by_key, described, keyed},
    content::digest,
    pb::{self, ErrorReason, SaveHeader},
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Sends one header both ways and answers both refusals.
async fn refusals(calls: &Calls, header: SaveHeader) -> [Failure; 2] {
    let streamed = calls.save(header.clone(), b"content").await.map(|saved| saved.artifact);
    let small = calls
        .save_small(header.clone(), b"content")
        .await
        .map(|saved| saved.artifact);
    [streamed, small].map(|outcome| match outcome {
        Ok(artifact) => panic!("{header:?} was saved as {artifact:?}"),
        Err(failure) => failure,
    })
}

#[tokio::test]
async fn keys_that_would_mislead_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let long = "x".repeat(1025);
    for key in [
        "",
        "/",
        "//",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "a/./b",
        "C:\\x",
        "c:/x",
        "\\\\srv\\s",
        "..\\x",
        "a\0b",
        "a\r\nb",
        "a\u{7f}",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{1b}[31m",
        ".artifactd/objects/x",
        "a/.lamindb/b",
        "0123456789abcdef",
        "0123456789abcdef0000",
        "a@@1",
        "a::b",
        &long,
    ] {
        for failure in refusals(&calls, keyed(key)).await {
            assert_eq!(failure.reason, Some(ErrorReason::KeyInvalid), "key {key:?}: {failure}");
            assert!(
                failure.fields.iter().any(|field| field.ends_with("key")),
                "key {key:?}: {:?}",
                failure.fields
            );
        }
    }
    assert_eq!(server.stored_objects(), [""; 0], "refused saves leave nothing");
    assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 0);
}

#[tokio::test]
async fn keys_are_opaque_text_and_never_decoded_or_folded() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let longest = "x".repeat(1024);
    let keys = [
        "a",
        "A",
        "é",
        "e\u{301}",
        "a.",
        "a ",
        " a",
        "a b",
        "%2e%2e%2f",
        "%252e",
        "a%00b",
        "...",
        "日本/語.csv",
        "a'b\"c",
        "'; DROP TABLE artifacts;--",
        "a%",
        "a_",
        "*",
        "?",
        "#x",
        "a;b=c",
        "~",
        "-rf",
        "$(id)",
        &longest,
    ];
    for key in keys {
        calls.save(keyed(key), key.as_bytes()).await.unwrap();
    }
    for key in keys {
        assert_eq!(calls.read(by_key(key)).await.unwrap(), key.as_bytes(), "{key:?}");
        assert_eq!(calls.get(by_key(key)).await.unwrap().key.as_deref(), Some(key));
    }
    server.assert_clean();
}

#[tokio::test]
async fn bad_values_are_refused_with_the_name_of_their_field() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let base = || keyed("x.csv");
    for (header, reason, field) in [
        (
            SaveHeader {
                description: Some("x".repeat(64 * 1024 + 1)),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "description",
        ),
        (
            SaveHeader {
                description: some("a\0b"),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "description",
        ),
        (
            SaveHeader {
                media_type: some("nonsense"),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "media_type",
        ),
        (
            SaveHeader {
                media_type: some("text/html\r\nx: y"),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "media_type",
        ),
        (
            SaveHeader {
                media_type: Some(format!("text/{}", "x".repeat(255))),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "media_type",
        ),
        (
            SaveHeader {
                file_name: some("../x.csv"),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "file_name",
        ),
        (
            SaveHeader {
                file_name: some(""),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "file_name",
        ),
        (
            SaveHeader {
                file_name: some("a\\b.csv"),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "file_name",
        ),
        (SaveHeader { kind: 99, ..base() }, ErrorReason::FieldInvalid, "kind"),
        (SaveHeader { kind: -1, ..base() }, ErrorReason::FieldInvalid, "kind"),
        (
            SaveHeader {
                visibility: 99,
                ..base()
            },
            ErrorReason::FieldInvalid,
            "visibility",
        ),
        (
            SaveHeader {
                visibility: pb::Visibility::Trash.into(),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "visibility",
        ),
        (
            SaveHeader {
                if_content_exists: 99,
                ..base()
            },
            ErrorReason::FieldInvalid,
            "if_content_exists",
        ),
        (
            SaveHeader {
                size: Some(-1),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "size",
        ),
        (
            SaveHeader {
                size: Some(i64::MIN),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "size",
        ),
        (
            SaveHeader {
                request_id: some(""),
                ..base()
            },
            ErrorReason::FieldInvalid,
            "request_id",
        ),
        (
            SaveHeader {
                sha256: some(""),
                ..base()
            },
            ErrorReason::DigestInvalid,
            "sha256",
        ),
        (
            SaveHeader {
                sha256: some("abc"),
                ..base()
            },
            ErrorReason::DigestInvalid,
            "sha256",
        ),
        (
            SaveHeader {
                sha256: Some(digest(b"content").to_uppercase()),
                ..base()
            },
            ErrorReason::DigestInvalid,
            "sha256",
        ),
        (
            SaveHeader {
                sha256: Some("g".repeat(64)),
                ..base()
            },
            ErrorReason::DigestInvalid,
            "sha256",
        ),
        (
            SaveHeader {
                storage: some("no-such-storage"),
                ..base()
            },
            ErrorReason::StorageNotFound,
            "",
        ),
    ] {
        for failure in refusals(&calls, header.clone()).await {
            assert_eq!(failure.reason, Some(reason), "{header:?}: {failure}");
            let named = field.is_empty() || failure.fields.iter().any(|path| path.ends_with(field));
            assert!(named, "{field} in {:?}", failure.fields);
        }
    }
    assert_eq!(server.query_integer("SELECT count(*) FROM artifacts").await, 0);
}

#[tokio::test]
async fn storage_names_that_are_none_are_refused() {
    let server = TestServer::start().await;
    for storage in ["", "..", "A_B", "1.2.3.4", "a/b"] {
        let header = SaveHeader {
            storage: some(storage),
            ..keyed("x.csv")
        };
        for failure in refusals(&server.calls(), header).await {
            let right = [ErrorReason::FieldInvalid, ErrorReason::StorageNotFound];
            assert!(
                failure.reason.is_some_and(|reason| right.contains(&reason)),
                "{storage:?}: {failure}"
            );
        }
    }
}

#[tokio::test]
async fn a_description_may_have_sixty_four_kibibytes() {
    let server = TestServer::start().await;
    let description = "é".repeat(32 * 1024);
    let saved = server
        .calls()
        .save(described(&description), b"1")
        .await
        .unwrap()
        .artifact
        .unwrap();
    assert_eq!(saved.description, Some(description));
}

#[tokio::test]
async fn a_missing_header_is_a_missing_field() {
    let server = TestServer::start().await;
    let request = pb::SaveSmallArtifactRequest {
        header: None,
        content: "1".into(),
        crc32c: None,
    };
    let failure = server.calls().save_small_raw(request).await.unwrap_err();
    assert_eq!(failure.reason, Some(ErrorReason::FieldRequired));
}

#[tokio::test]
async fn a_field_of_one_gibibyte_is_not_read() {
    let server = TestServer::start().await;
    let before = server.resident_bytes();
    let failure = server
        .calls()
        .save_small(described(&"x".repeat(64 << 20)), b"1")
        .await
        .unwrap_err();
    assert!(
        matches!(failure.reason, None | Some(ErrorReason::MessageTooLarge)),
        "a message above the limit: {failure}"
    );
    assert!(
        server.resident_bytes() < before + (48 << 20),
        "the message was taken into memory"
    );
    server.calls().save(keyed("x.txt"), b"1").await.unwrap();
}
