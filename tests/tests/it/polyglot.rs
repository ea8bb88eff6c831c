//! Clients of other languages, made from our protos by their own tools.

use std::{path::Path, process::Command};

use artifactd_tests::{Backend, TestServer, required_env};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_saves_reads_and_deletes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("polyglot/python/check.py");
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let address = server.address().to_string();
        let output = tokio::task::block_in_place(|| {
            Command::new(required_env("ARTIFACTD_TEST_PYTHON"))
                .arg(&script)
                .arg(&address)
                .env("PYTHONPATH", required_env("ARTIFACTD_TEST_STUBS"))
                .output()
                .unwrap()
        });
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(
            output.status.success() && out.contains("all checks passed"),
            "{backend:?}:\n{out}\n{err}"
        );
        server.assert_clean();
    }
}
