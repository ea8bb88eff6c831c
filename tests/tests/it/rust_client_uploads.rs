//! Uploads through the Rust client against a real server.

use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use artifactd_client::{
    Client, Error, Reason, SaveOptions, Saved, Upload, UploadOptions, UploadProgress, UploadState,
    domain::{SaveOutcome, Sha256},
};
use artifactd_tests::{
    Backend, TestServer,
    calls::keyed,
    content::content,
    long_upload::{FirstClient, LongUpload},
    pb,
    proxy::{Line, Proxy},
};
use bytes::Bytes;
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::sync::watch;

/// The smallest that every storage takes.
const PART: u64 = 5 << 20;

/// Calls that are no parts, and the frames around these.
const OVERHEAD: u64 = 1 << 20;

const BACKENDS: [Backend; 3] = [Backend::EMBEDDED, Backend::S3, Backend::CLUSTER];

/// A file and what is in it.
struct OnDisk {
    bytes: Bytes,
    path: PathBuf,
    _folder: TempDir,
}

impl OnDisk {
    fn new(seed: u64, size: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.bin");
        let bytes = content(seed, size as usize);
        std::fs::write(&path, &bytes).unwrap();
        Self {
            bytes,
            path,
            _folder: folder,
        }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

fn parallel() -> UploadOptions {
    UploadOptions {
        part_bytes: PART,
        ..Default::default()
    }
}

fn in_order() -> UploadOptions {
    UploadOptions {
        in_order: true,
        ..parallel()
    }
}

/// What one run of a program asks for, and the next one again.
fn named(key: &str) -> SaveOptions {
    SaveOptions {
        request_id: Some(format!("save-of-{key}")),
        ..SaveOptions::key(key)
    }
}

async fn patient(url: String) -> Client {
    Client::builder(url).tries_max(20).connect().await.unwrap()
}

/// Uploads until so much is durable, then drops the call and with it all that it has on the way.
async fn upload_until(client: &Client, file: &OnDisk, options: (SaveOptions, UploadOptions), durable: u64) -> String {
    let (told, mut events) = watch::channel(None);
    let uploading = client.upload_file_with(&file.path, options.0, options.1, |now| {
        told.send_replace(Some(now));
    });
    let enough = events.wait_for(|now| now.as_ref().is_some_and(|now| now.durable_bytes >= durable));
    tokio::select! {
        ended = uploading => panic!("the upload was faster than its end: {ended:?}"),
        enough = enough => enough.unwrap().as_ref().unwrap().uid.clone(),
    }
}

async fn uploads(client: &Client) -> Vec<Upload> {
    client.list_uploads().try_collect().await.unwrap()
}

async fn assert_saved(server: &TestServer, key: &str, saved: &Saved, bytes: &Bytes) {
    let client = server.client().await;
    assert_eq!(
        (saved.artifact.size_bytes, saved.artifact.sha256),
        (bytes.len() as u64, Sha256::of(bytes))
    );
    assert!(client.read(key).await.unwrap() == *bytes, "{key}");
    assert_eq!(client.versions(key).await.unwrap().len(), 1, "{key}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_all_sizes_arrive_whole_and_progress_is_told_in_order() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        for size in [0, 1, PART, 2 * PART, 5 * PART + 321] {
            for how in [parallel(), in_order()] {
                let file = OnDisk::new(size, size);
                let key = format!("{size}-{}.bin", how.in_order);
                let events = Mutex::new(Vec::<UploadProgress>::new());
                let options = SaveOptions {
                    if_content_exists: artifactd_client::domain::IfContentExists::Create,
                    ..SaveOptions::key(&key)
                };
                let uploaded =
                    client.upload_file_with(&file.path, options, how, |now| events.lock().unwrap().push(now));
                let saved = uploaded.await.unwrap();
                assert_eq!(saved.outcome, SaveOutcome::Created);
                assert_saved(&server, &key, &saved, &file.bytes).await;

                let events = events.into_inner().unwrap();
                assert_eq!(events[0].durable_bytes, 0);
                assert!(events.is_sorted_by_key(|now| (now.durable_bytes, now.sent_bytes, now.hashed_bytes)));
                let last = events.last().unwrap();
                assert_eq!(
                    (last.size_bytes, last.durable_bytes, last.sent_bytes),
                    (size, size, size)
                );
                assert_eq!(events.len() as u64, 1 + size.div_ceil(PART), "each part is told once");
            }
        }
        assert_eq!(server.staged(), [""; 0]);
        server.assert_clean();
    }
}

/// `tests/soak/run --upload 2048` does the same with 2 GiB, and kills a client that is a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_survives_the_end_of_its_client_of_its_server_and_of_its_line() {
    for backend in BACKENDS {
        for in_order in [false, true] {
            let upload = LongUpload {
                backend,
                size: 17 * PART + 321,
                part_bytes: PART,
                in_order,
                seed: 7,
            };
            upload.survive(FirstClient::Dropped).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_saved_does_not_travel_again() {
    for backend in BACKENDS {
        let server = TestServer::on(backend).await;
        let proxy = Proxy::start(server.address()).await;
        let client = Client::connect(proxy.through(&server.url())).await.unwrap();
        let file = OnDisk::new(8, 2 * PART);
        let first = client.upload_file(&file.path, named("x.bin")).await.unwrap();
        let before = proxy.sent_bytes();
        let again = client.upload_file(&file.path, named("x.bin")).await.unwrap();
        assert_eq!(again.artifact, first.artifact);
        let uid = uploads(&client).await.remove(0).uid;
        let resumed = client.resume_upload(uid, &file.path).await.unwrap();
        assert_eq!(resumed.artifact, first.artifact);
        assert!(proxy.sent_bytes() - before < OVERHEAD / 4, "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changed_between_tries_is_uploaded_anew() {
    for backend in BACKENDS {
        for how in [parallel(), in_order()] {
            let server = TestServer::on(backend).await;
            let client = server.client().await;
            let file = OnDisk::new(9, 6 * PART + 5);
            let uid = upload_until(&client, &file, (named("x.bin"), how.clone()), 2 * PART).await;
            let proxy = Proxy::start(server.address()).await;
            let watched = Client::connect(proxy.through(&server.url())).await.unwrap();

            // Of another size: nothing travels.
            std::fs::write(&file.path, &file.bytes[1..]).unwrap();
            let resumed = watched.resume_upload(&uid, &file.path).await;
            assert!(matches!(resumed, Err(Error::FileChanged { .. })), "{resumed:?}");
            let again = watched
                .upload_file_with(&file.path, named("x.bin"), how.clone(), |_| {})
                .await;
            assert_eq!(again.unwrap_err().reason(), Some(Reason::RequestIdReused));

            // Of the same size: nothing travels for an upload that was named.
            let mut other = file.bytes.to_vec();
            for part in other.chunks_mut(PART as usize) {
                part[0] ^= 1;
            }
            std::fs::write(&file.path, &other).unwrap();
            let resumed = watched.resume_upload(&uid, &file.path).await;
            assert!(matches!(resumed, Err(Error::FileChanged { .. })), "{resumed:?}");
            assert!(proxy.sent_bytes() < OVERHEAD / 4);
            assert!(client.read("x.bin").await.is_err(), "it is no artifact");
            let found = client.get_upload(&uid).await.unwrap();
            assert!(found.durable_bytes >= 2 * PART, "the right file can still be resumed");

            // One that is named by its request begins anew, before much has travelled.
            let anew = watched
                .upload_file_with(&file.path, named("x.bin"), how.clone(), |_| {})
                .await;
            assert_saved(&server, "x.bin", &anew.unwrap(), &other.clone().into()).await;
            let uploads = uploads(&client).await;
            assert_eq!(uploads.len(), 1);
            assert_ne!(uploads[0].uid, uid);
            let most = file.size() + how.streams as u64 * PART + OVERHEAD;
            assert!(proxy.sent_bytes() < most, "{backend:?}: {} bytes", proxy.sent_bytes());
            assert_eq!(server.staged(), [""; 0]);

            // What is an artifact already stays one.
            std::fs::write(&file.path, &file.bytes).unwrap();
            let again = client.upload_file_with(&file.path, named("x.bin"), how, |_| {}).await;
            assert!(matches!(again, Err(Error::FileChanged { .. })), "{again:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_some_time_is_waited_for() {
    let mut server = TestServer::start().await;
    let client = server.client().await;
    let file = OnDisk::new(16, 4 * PART);
    let (told, mut events) = watch::channel(0);
    let uploading = client.upload_file_with(&file.path, named("x.bin"), parallel(), |now| {
        told.send_replace(now.durable_bytes);
    });
    let outage = async {
        events.wait_for(|durable| *durable >= PART).await.unwrap();
        server.kill();
        // Longer than the five tries of a client last.
        tokio::time::sleep(Duration::from_secs(4)).await;
        server.start_again_in_place().await;
    };
    let (saved, ()) = tokio::join!(uploading, outage);
    assert_saved(&server, "x.bin", &saved.unwrap(), &file.bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_to_while_it_travels_is_refused() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let file = OnDisk::new(10, 4 * PART);
    let touched = std::fs::File::options().write(true).open(&file.path).unwrap();
    let uploaded = client.upload_file_with(&file.path, named("x.bin"), parallel(), |now| {
        if now.sent_bytes == PART {
            touched
                .set_modified(SystemTime::now() - Duration::from_secs(3600))
                .unwrap();
        }
    });
    assert!(matches!(uploaded.await, Err(Error::FileChanged { .. })));
    // One that is cut short ends with its first part that is not whole.
    let uploaded = client.upload_file_with(&file.path, named("y.bin"), in_order(), |_| {
        touched.set_len(PART).unwrap()
    });
    assert!(matches!(uploaded.await, Err(Error::FileChanged { .. })));
    for key in ["x.bin", "y.bin"] {
        assert!(client.read(key).await.is_err(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_digest_is_refused_and_a_right_one_is_not() {
    for backend in BACKENDS {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        let file = OnDisk::new(11, 2 * PART + 1);
        let with = |key: &str, sha256| SaveOptions {
            sha256: Some(sha256),
            ..SaveOptions::key(key)
        };
        for how in [parallel(), in_order()] {
            let wrong = with("x.bin", Sha256::of(b"something else"));
            let refused = client.upload_file_with(&file.path, wrong, how, |_| {}).await;
            assert_eq!(
                refused.unwrap_err().reason(),
                Some(Reason::DigestMismatch),
                "{backend:?}"
            );
        }
        assert!(client.read("x.bin").await.is_err());
        let right = with("y.bin", Sha256::of(&file.bytes));
        let saved = client.upload_file(&file.path, right).await.unwrap();
        assert_saved(&server, "y.bin", &saved, &file.bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_upload_is_gone_with_its_bytes() {
    for backend in BACKENDS {
        let server = TestServer::on(backend).await;
        let client = server.client().await;
        let file = OnDisk::new(12, 8 * PART);
        let uid = upload_until(&client, &file, (named("x.bin"), parallel()), PART).await;
        let found = client.get_upload(&uid).await.unwrap();
        assert_eq!((found.state, found.key.as_deref()), (UploadState::Open, Some("x.bin")));
        assert_eq!((found.part_bytes, found.size_bytes), (PART, Some(file.size())));
        assert!(found.durable_bytes >= PART && found.durable_bytes.is_multiple_of(PART));
        assert_eq!(uploads(&client).await.len(), 1);

        client.abort_upload(&uid).await.unwrap();
        assert_eq!(uploads(&client).await, []);
        let resumed = client.resume_upload(&uid, &file.path).await;
        assert_eq!(resumed.unwrap_err().reason(), Some(Reason::UploadNotFound));
        assert_eq!(server.staged(), [""; 0], "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_of_one_upload_get_the_same_artifact() {
    for backend in BACKENDS {
        for how in [parallel(), in_order()] {
            let server = TestServer::on(backend).await;
            let file = OnDisk::new(13, 5 * PART + 7);
            let (one, two) = (patient(server.url()).await, patient(server.url()).await);
            let upload = |client: Client| {
                let (path, how) = (file.path.clone(), how.clone());
                async move { client.upload_file_with(path, named("x.bin"), how, |_| {}).await }
            };
            let (one, two) = tokio::join!(upload(one), upload(two));
            let (one, two) = (one.unwrap(), two.unwrap());
            assert_eq!(one.artifact.uid, two.artifact.uid);
            assert_saved(&server, "x.bin", &one, &file.bytes).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_somebody_else_began_without_a_size_is_resumed() {
    for backend in BACKENDS {
        let server = TestServer::on(backend).await;
        let (calls, client) = (server.calls(), server.client().await);
        for size in [0, PART, 2 * PART + 9] {
            let file = OnDisk::new(14 + size, size);
            let key = format!("{size}.bin");
            let asked = pb::CreateUploadRequest {
                save: Some(keyed(&key)),
                part_bytes: PART as i64,
                parallel: false,
            };
            let upload = calls.create_upload(asked).await.unwrap();
            if size > PART {
                let sent = calls
                    .write_rest(&upload.uid, &file.bytes[..PART as usize], 0, false)
                    .await;
                assert_eq!(sent.unwrap(), [PART as i64]);
            }
            let saved = client.resume_upload(&upload.uid, &file.path).await.unwrap();
            assert_saved(&server, &key, &saved, &file.bytes).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_travel_over_several_connections_and_a_client_that_may_not_retry_fails() {
    let server = TestServer::start().await;
    let proxy = Proxy::start(server.address()).await;
    let file = OnDisk::new(15, 6 * PART);
    let several = Client::builder(proxy.through(&server.url())).connections(3).connect();
    let several = several.await.unwrap();
    let saved = several
        .upload_file_with(&file.path, named("x.bin"), parallel(), |_| {})
        .await;
    assert_saved(&server, "x.bin", &saved.unwrap(), &file.bytes).await;
    assert_eq!(proxy.connections(), 3);

    let impatient = Client::builder(proxy.through(&server.url())).tries_max(1).connect();
    let impatient = impatient.await.unwrap();
    let failed = impatient.upload_file_with(&file.path, named("y.bin"), parallel(), |now| {
        if now.sent_bytes > 0 {
            proxy.set(Line::Stalled);
            proxy.cut();
        }
    });
    assert!(matches!(failed.await, Err(Error::Transport(_))));
}
