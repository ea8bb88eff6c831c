//! Uploads that their bucket has forgotten.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_uid, keyed, saved},
    content::{content, digest},
    pb::{self, ErrorReason},
    refusal,
};
use futures::future::join_all;

const PART: usize = 5 << 20;

fn wanted(bytes: &[u8], parallel: bool) -> pb::CreateUploadRequest {
    pb::CreateUploadRequest {
        save: Some(pb::SaveHeader {
            size: Some(bytes.len() as i64),
            request_id: Some("x".to_owned()),
            ..keyed("x.bin")
        }),
        parallel,
        part_bytes: PART as i64,
    }
}

/// A bucket whose rule ends what was not finished for some days knows nothing any more of an
/// upload that took longer. Whoever sends the next part is told, and may begin again.
#[tokio::test]
async fn the_same_request_begins_again_what_the_bucket_has_forgotten() {
    let bytes = content(1, 2 * PART);
    for (parallel, parts_before) in [(false, 1), (true, 0), (true, 2)] {
        let server = TestServer::on(Backend::CLUSTER).await;
        let (calls, bucket) = (server.calls(), server.bucket.as_ref().unwrap());
        let upload = calls.create_upload(wanted(&bytes, parallel)).await.unwrap();
        let part = |number: usize| &bytes[number * PART..(number + 1) * PART];
        for number in 0..parts_before {
            calls
                .upload_part(&upload.uid, number * PART, part(number), false)
                .await
                .unwrap();
        }
        bucket.forget_upload();
        let refused = match parts_before {
            2 => vec![refusal(calls.complete_upload(&upload.uid).await)],
            // Where they come in any order, all at once.
            next => {
                let sends = (next..2).map(|number| calls.upload_part(&upload.uid, number * PART, part(number), false));
                join_all(sends).await.into_iter().map(refusal).collect()
            }
        };
        let case = format!("parallel: {parallel}, parts: {parts_before}");
        assert!(
            refused.iter().all(|reason| *reason == ErrorReason::UploadNotFound),
            "{case}: {refused:?}"
        );
        assert_eq!(
            refusal(calls.upload(&upload.uid).await),
            ErrorReason::UploadNotFound,
            "{case}"
        );
        let again = calls.create_upload(wanted(&bytes, parallel)).await.unwrap();
        assert_ne!(again.uid, upload.uid, "{case}");
        calls.write_rest(&again.uid, &bytes, 0, false).await.unwrap();
        let artifact = saved(calls.complete_upload(&again.uid).await.unwrap());
        assert_eq!(artifact.hash, digest(&bytes), "{case}");
        assert!(calls.read(by_uid(&artifact.uid)).await.unwrap() == bytes, "{case}");
        assert_eq!(server.staged(), [""; 0], "{case}");
        server.assert_clean();
    }
}
