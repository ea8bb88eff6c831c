//! What the protos publish of refusals. Each server of each test is held to it when it
//! ends; here it is shown that this holds anything at all.

use artifactd_tests::{TestServer, calls::by_key, published::unpublished};

const LINE: &str = "INFO call{method=\"x\"}: record: Finished artifactd.v1.ArtifactService/GetArtifact: NotFound \
                    code=NotFound reason=\"REASON\" duration_us=7";

#[test]
fn a_refusal_for_a_reason_that_the_call_does_not_list_is_found() {
    assert!(unpublished(&LINE.replace("REASON", "ARTIFACT_NOT_FOUND")).is_empty());
    assert!(unpublished(&LINE.replace("REASON", "DEADLINE_EXCEEDED")).is_empty());
    for reason in ["FOLDER_INCOMPLETE", "NO_SUCH_REASON"] {
        let found = unpublished(&LINE.replace("REASON", reason));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[tokio::test]
async fn the_log_tells_the_reason_of_a_refusal() {
    let server = TestServer::start().await;
    server.calls().get(by_key("missing.txt")).await.unwrap_err();
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("Finished artifactd.v1.ArtifactService/GetArtifact"));
    let line = line.expect("the call is in the log");
    assert!(line.contains("reason=\"ARTIFACT_NOT_FOUND\""), "{line}");
    // In the form that the check of every server reads.
    assert_eq!(
        unpublished(&line.replace("ARTIFACT_NOT_FOUND", "FOLDER_INCOMPLETE")).len(),
        1
    );
}
