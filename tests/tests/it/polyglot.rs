//! More of what a client in Python does, made from our protos by its own tools.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use artifactd_tests::{
    Backend, TestServer,
    calls::by_key,
    content::{content, digest},
    pb,
    proxy::{Line, Proxy},
    python,
};

/// How often the upload may have to be run again.
const RUNS_MAX: usize = 3;

/// Bytes of a part unless somebody wishes others.
const PART: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_saves_reads_and_deletes() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let out = python::run("check.py", &[&server.address().to_string()]);
        assert!(out.contains("all checks passed"), "{backend:?}:\n{out}");
        server.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_saved_listed_read_and_changed_from_python() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    for (path, bytes) in [
        ("a.bin", content(1, 3 << 20)),
        ("a", content(2, 100)),
        ("b/same", content(2, 100)),
        ("b/empty", content(3, 0)),
    ] {
        std::fs::write(folder.path().join(path), bytes).unwrap();
    }
    let arguments = [&server.address().to_string(), folder.path().to_str().unwrap(), "data"];
    let out = python::run("folder.py", &arguments);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "saved   4 files, 3 travelled, version 1",
            "listed  a 100 bytes",
            "listed  a.bin 3145728 bytes",
            "listed  b/empty 0 bytes",
            "listed  b/same 100 bytes",
            "read    a",
            "read    a.bin",
            "read    b/empty",
            "read    b/same",
            "changed 5 files, 1 travelled, version 2",
        ]
    );
    server.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_from_python_goes_on_after_the_program_was_killed() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = (folder.path().join("large.bin"), content(9, 12 * PART + 77));
        std::fs::write(&path, &bytes).unwrap();
        let path = path.to_str().unwrap();

        let proxy = Proxy::start(server.address()).await;
        let through = proxy.through(&server.url()).replace("http://", "");
        let mut first = python::command("upload.py", &[&through, path, "large.bin"]);
        let mut first = first.stdout(Stdio::null()).spawn().expect("run Python");
        while durable_bytes(&server).await < 3 * PART {
            assert!(first.try_wait().unwrap().is_none(), "it ended too early");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.set(Line::Stalled);
        first.kill().unwrap();
        first.wait().unwrap();
        drop(proxy);
        let out = go_on(&server, path, bytes.len()).await;
        assert!(
            out.ends_with(&format!("sha256 {}\n", digest(&bytes))),
            "{backend:?}: {out}"
        );
        assert!(server.calls().read(by_key("large.bin")).await.unwrap() == bytes);
        server.assert_clean();
    }
}

/// Runs the upload again, as often as it is told that more came meanwhile: a part of the
/// program that was killed may still be made durable when the next one asks.
async fn go_on(server: &TestServer, path: &str, size: usize) -> String {
    for _ in 0..RUNS_MAX {
        let durable = durable_bytes(server).await;
        assert!(durable < size, "it was not cut");
        let proxy = Proxy::start(server.address()).await;
        let through = proxy.through(&server.url()).replace("http://", "");
        let Output { status, stdout, stderr } = python::output("upload.py", &[&through, path, "large.bin"]);
        if status.success() {
            // Frames and calls around the content come to little.
            let most = (size - durable) * 101 / 100;
            assert!(proxy.sent_bytes() <= most as u64, "more came than was missing");
            return String::from_utf8(stdout).unwrap();
        }
        let err = String::from_utf8_lossy(&stderr);
        assert!(err.contains("the next byte is at"), "{err}");
    }
    panic!("the upload never went on");
}

/// How much of the only upload is durable.
async fn durable_bytes(server: &TestServer) -> usize {
    let mut service = server.calls().uploads();
    let listed = service.list_uploads(pb::ListUploadsRequest::default()).await;
    let uploads = listed.unwrap().into_inner().uploads;
    uploads.first().map_or(0, |upload| upload.durable_bytes as usize)
}
