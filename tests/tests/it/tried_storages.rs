//! Buckets that are tried before anybody relies on them.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_text, by_uid, keyed, saved},
    failure::Failure,
    pb::{self, ErrorReason, RegisterStorageRequest},
    refusal,
    refusing::{Refusal, RefusingHost},
    s3::S3Server,
    storages::{managed, root},
};

/// Registers a root that cannot be used; nothing of it is known afterwards.
async fn unusable(server: &TestServer, request: RegisterStorageRequest) -> Failure {
    let calls = server.calls();
    let failure = calls.register(request).await.unwrap_err();
    assert_eq!(failure.reason, Some(ErrorReason::StorageUnusable), "{failure}");
    assert_eq!(failure.fields.len(), 1, "{failure}");
    assert_eq!(refusal(calls.get_storage("more").await), ErrorReason::StorageNotFound);
    failure
}

async fn beside(url: &str) -> TestServer {
    let from = format!("s3://*, {url}");
    let setup = TestServer::setup().on(Backend::S3);
    setup.env("ARTIFACTD_STORAGE__REGISTER_FROM", &from).start().await
}

fn at(bucket: &str) -> RegisterStorageRequest {
    managed(root("more", format!("s3://{bucket}/below")))
}

/// The same behind a host, which is shown no key of the configuration.
fn behind(host: &RefusingHost, bucket: &str) -> RegisterStorageRequest {
    RegisterStorageRequest {
        endpoint: Some(host.url()),
        ..at(bucket)
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told() {
    let server = beside("http://127.0.0.1:1").await;
    let failure = unusable(&server, at("no-such-bucket")).await;
    assert_eq!(failure.fields, ["root"]);
    let message = failure.status.message();
    assert!(
        message.contains("s3://no-such-bucket/below") && message.contains("NoSuchBucket"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_bucket_that_refuses_a_step_is_no_storage_and_what_can_go_is_gone() {
    let host = RefusingHost::start();
    let setup = TestServer::setup().on(Backend::EMBEDDED);
    let server = setup
        .env("ARTIFACTD_STORAGE__REGISTER_FROM", &format!("s3://*, {}", host.url()))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .start()
        .await;
    let denied = |method, target| Refusal {
        method,
        target,
        status: "403 Forbidden",
        body: "<Error><Code>AccessDenied</Code></Error>",
    };
    // Objects are removed by a list of them.
    let removal = |body| Refusal {
        status: "200 OK",
        body,
        ..denied("POST", "?delete")
    };
    let elsewhere = |status, body| Refusal {
        status,
        body,
        ..denied("PUT", "/probe-")
    };
    let denied_in_list = "<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code>\
        <Message>Access Denied</Message></Error></DeleteResult>";
    for (refused, field, says, left) in [
        (denied("PUT", "/probe-"), "root", "nothing can be written", 0),
        (denied("GET", "/probe-"), "root", "nothing can be read", 0),
        (denied("POST", "?delete"), "root", "nothing can be removed", 1),
        (removal(denied_in_list), "root", "nothing can be removed", 1),
        (
            removal("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>"),
            "root",
            "what is removed is still there",
            1,
        ),
        (
            elsewhere("301 Moved Permanently", "<Error><Code>PermanentRedirect</Code></Error>"),
            "region",
            "another region",
            0,
        ),
        (
            elsewhere(
                "400 Bad Request",
                "<Error><Code>AuthorizationHeaderMalformed</Code></Error>",
            ),
            "region",
            "another region",
            0,
        ),
    ] {
        let bucket = S3Server::shared().create_bucket();
        host.refuse(vec![refused.clone()]);
        let failure = unusable(&server, behind(&host, &bucket.name)).await;
        assert_eq!(failure.fields, [field], "{refused:?}: {failure}");
        assert!(failure.status.message().contains(says), "{refused:?}: {failure}");
        assert_eq!(bucket.list().len(), left, "{refused:?}");
        // It is the refusal that was in the way.
        host.refuse(Vec::new());
        let storage = server.calls().register(behind(&host, &bucket.name)).await.unwrap();
        assert!(storage.managed && !storage.keeps_versions);
        assert_eq!(bucket.list().len(), left, "{refused:?}");
        server.calls().delete_storage("more").await.unwrap();
    }
    // What says nothing of versions keeps none, as far as anybody knows.
    let bucket = S3Server::shared().create_bucket();
    bucket.keep_versions();
    host.refuse(vec![Refusal {
        method: "GET",
        target: "versions=",
        status: "501 Not Implemented",
        body: "<Error><Code>NotImplemented</Code></Error>",
    }]);
    let storage = server.calls().register(behind(&host, &bucket.name)).await.unwrap();
    assert!(!storage.keeps_versions);
    server.calls().delete_storage("more").await.unwrap();
    // One from which no version can be removed keeps them; whether it locks them, it tells.
    let no_version = denied("DELETE", "versionId=");
    host.refuse(vec![no_version.clone()]);
    let storage = server.calls().register(behind(&host, &bucket.name)).await.unwrap();
    assert!(storage.keeps_versions);
    server.calls().delete_storage("more").await.unwrap();
    let locks = Refusal {
        method: "GET",
        target: "object-lock=",
        status: "200 OK",
        body: "<ObjectLockConfiguration><Rule><DefaultRetention><Days>1</Days></DefaultRetention></Rule>\
            </ObjectLockConfiguration>",
    };
    host.refuse(vec![no_version, locks]);
    let failure = unusable(&server, behind(&host, &bucket.name)).await;
    assert!(failure.status.message().contains("locked"), "{failure}");
}

#[tokio::test]
async fn a_bucket_that_locks_what_is_written_is_no_storage() {
    let server = beside("http://127.0.0.1:1").await;
    let bucket = S3Server::shared().create_locking_bucket();
    bucket.lock_all();
    let failure = unusable(&server, at(&bucket.name)).await;
    assert_eq!(failure.fields, ["root"]);
    assert!(failure.status.message().contains("locked"), "{failure}");
    assert!(bucket.list().is_empty(), "it is hidden at least");
    // One that may lock, and does not by itself, is one that keeps versions.
    let bucket = S3Server::shared().create_locking_bucket();
    let storage = server.calls().register(at(&bucket.name)).await.unwrap();
    assert!(storage.keeps_versions);
    assert_eq!(bucket.versions(), 0);
}

#[tokio::test]
async fn a_bucket_that_keeps_versions_is_told_as_such() {
    let mut server = beside("http://127.0.0.1:1").await;
    let bucket = S3Server::shared().create_bucket();
    bucket.keep_versions();
    let calls = server.calls();
    let storage = calls.register(at(&bucket.name)).await.unwrap();
    assert!(storage.managed && storage.keeps_versions);
    assert_eq!(bucket.versions(), 0, "nothing is left of the trial, no version either");
    let header = pb::SaveHeader {
        storage: Some("more".to_owned()),
        ..keyed("a.csv")
    };
    let made = saved(calls.save(header, b"there").await.unwrap());
    assert_eq!(calls.read(by_uid(&made.uid)).await.unwrap(), b"there");
    server.stop().await;
    server.start_again().await;
    let calls = server.calls();
    assert!(calls.get_storage("more").await.unwrap().keeps_versions);
    assert_eq!(calls.read(by_text("more::a.csv")).await.unwrap(), b"there");
    assert!(!calls.get_storage("default").await.unwrap().keeps_versions);
}
