//! Lists and their pages.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    pb::{self, ErrorReason, ListArtifactVersionsRequest, ListArtifactsRequest, Visibility},
    refusal,
};

async fn walk(server: &TestServer, page_size: i32, visibilities: &[Visibility]) -> Vec<String> {
    let mut keys = Vec::new();
    let mut page_token = String::new();
    loop {
        let visibilities = visibilities.iter().map(|visibility| i32::from(*visibility)).collect();
        let page = server
            .calls()
            .list(ListArtifactsRequest {
                page_size,
                page_token,
                visibilities,
                ..Default::default()
            })
            .await
            .unwrap();
        assert!(page_size == 0 || page.artifacts.len() <= page_size as usize);
        keys.extend(page.artifacts.into_iter().filter_map(|artifact| artifact.key));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return keys;
        }
    }
}

#[tokio::test]
async fn pages_hold_everything_once_and_newest_first() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let mut expected: Vec<String> = (0..25).map(|number| format!("{number:02}.txt")).collect();
        for key in &expected {
            server.calls().save(keyed(key), key.as_bytes()).await.unwrap();
        }
        expected.reverse();
        for page_size in [0, 1, 7, 25, 1000] {
            assert_eq!(
                walk(&server, page_size, &[]).await,
                expected,
                "pages of {page_size} on {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn artifacts_that_are_saved_between_pages_move_nothing() {
    let server = TestServer::start().await;
    for number in 0..6 {
        server
            .calls()
            .save(keyed(&format!("{number}.txt")), &[number])
            .await
            .unwrap();
    }
    let first = server
        .calls()
        .list(ListArtifactsRequest {
            page_size: 3,
            ..Default::default()
        })
        .await
        .unwrap();
    server.calls().save(keyed("late.txt"), b"late").await.unwrap();
    let next = ListArtifactsRequest {
        page_size: 3,
        page_token: first.next_page_token,
        ..Default::default()
    };
    let second = server.calls().list(next).await.unwrap();
    let keys: Vec<_> = second
        .artifacts
        .into_iter()
        .filter_map(|artifact| artifact.key)
        .collect();
    assert_eq!(keys, ["2.txt", "1.txt", "0.txt"]);
}

#[tokio::test]
async fn only_visibilities_that_were_asked_for_are_listed() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        calls.save(keyed("default.txt"), b"1").await.unwrap();
        let hidden = pb::SaveHeader {
            visibility: Visibility::Hidden.into(),
            ..keyed("hidden.txt")
        };
        calls.save(hidden, b"2").await.unwrap();
        let trashed = saved(calls.save(keyed("trash.txt"), b"3").await.unwrap());
        calls.trash(by_uid(&trashed.uid)).await.unwrap();
        for (asked, keys) in [
            (&[][..], &["default.txt"][..]),
            (&[Visibility::Default], &["default.txt"]),
            (&[Visibility::Hidden], &["hidden.txt"]),
            (&[Visibility::Trash], &["trash.txt"]),
            (
                &[Visibility::Trash, Visibility::Default, Visibility::Hidden],
                &["trash.txt", "hidden.txt", "default.txt"],
            ),
        ] {
            assert_eq!(walk(&server, 2, asked).await, keys, "{asked:?} on {backend:?}");
        }
    }
}

#[tokio::test]
async fn versions_come_highest_number_first_in_pages() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for number in 1..=7_u8 {
            calls.save(keyed("x.txt"), &[number]).await.unwrap();
        }
        let trashed = calls
            .get(artifactd_tests::calls::by_version("x.txt", "4"))
            .await
            .unwrap();
        calls.trash(by_uid(&trashed.uid)).await.unwrap();
        let mut numbers = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListArtifactVersionsRequest {
                artifact: Some(by_key("x.txt")),
                page_size: 2,
                page_token,
                visibilities: Vec::new(),
                ..Default::default()
            };
            let page = calls.versions(request).await.unwrap();
            numbers.extend(page.artifacts.iter().map(|artifact| artifact.version_number));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(numbers, [7, 6, 5, 3, 2, 1], "{backend:?}");
        assert_eq!(calls.family(by_uid(&trashed.uid)).await.unwrap().len(), 7);
    }
}

#[tokio::test]
async fn page_tokens_are_sealed_and_belong_to_their_request() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        for number in 0..5_u8 {
            calls.save(keyed(&format!("{number}.txt")), &[number]).await.unwrap();
            calls.save(keyed("x.txt"), &[number, 1]).await.unwrap();
        }
        let first = calls
            .list(ListArtifactsRequest {
                page_size: 2,
                ..Default::default()
            })
            .await
            .unwrap();
        let token = first.next_page_token;
        let mut altered = token.clone().into_bytes();
        let middle = altered.len() / 2;
        altered[middle] = if altered[middle] == b'A' { b'B' } else { b'A' };
        for garbage in [
            "x",
            "é",
            "AAAA",
            &"A".repeat(5000),
            &String::from_utf8(altered).unwrap(),
            &token[..middle],
        ] {
            let request = ListArtifactsRequest {
                page_size: 2,
                page_token: garbage.to_owned(),
                ..Default::default()
            };
            assert_eq!(
                refusal(calls.list(request).await),
                ErrorReason::PageTokenInvalid,
                "{garbage:?}"
            );
        }
        let other = ListArtifactsRequest {
            page_size: 2,
            page_token: token.clone(),
            visibilities: vec![Visibility::Trash.into()],
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.list(other).await),
            ErrorReason::PageTokenMismatch,
            "{backend:?}"
        );
        let elsewhere = ListArtifactVersionsRequest {
            artifact: Some(by_key("x.txt")),
            page_size: 2,
            page_token: token,
            visibilities: Vec::new(),
            ..Default::default()
        };
        let reason = refusal(calls.versions(elsewhere).await);
        assert!(
            matches!(reason, ErrorReason::PageTokenMismatch | ErrorReason::PageTokenInvalid),
            "{reason:?}"
        );
    }
}

#[tokio::test]
async fn page_sizes_and_visibilities_outside_their_rules_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("x.txt"), b"1").await.unwrap();
    for page_size in [-1, i32::MIN] {
        let request = ListArtifactsRequest {
            page_size,
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.list(request).await),
            ErrorReason::FieldInvalid,
            "{page_size}"
        );
    }
    for visibility in [99, -1, 0] {
        let request = ListArtifactsRequest {
            visibilities: vec![visibility],
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.list(request).await),
            ErrorReason::FieldInvalid,
            "visibility {visibility}"
        );
    }
    let request = ListArtifactsRequest {
        page_size: i32::MAX,
        ..Default::default()
    };
    assert_eq!(
        calls.list(request).await.unwrap().artifacts.len(),
        1,
        "too large a page is made smaller"
    );
}
