//! What the server does when what it stands on fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use artifactd_tests::{
    Backend, Failure, TestServer,
    calls::{by_key, chunk, honest_trailer, keyed},
    content::content,
    pb::{self, ErrorReason, save_artifact_request::Message},
    postgres::{Postgres, Stop},
    refusal,
    storm::{self, Storm},
};
use rustix::process::Signal;

/// A small file system of its own, taken away at the end.
struct SmallDisk {
    path: PathBuf,
    /// Removed after the disk, where it is only for this.
    _folder: Option<tempfile::TempDir>,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Self::mount_at(folder.path(), mebibytes);
        disk._folder = Some(folder);
        disk
    }

    fn mount_at(path: &Path, mebibytes: u32) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(path)
            .status();
        assert!(
            mounted.unwrap().success(),
            "this test mounts a file system and needs the right to"
        );
        Self {
            path: path.to_owned(),
            _folder: None,
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// Whether this process may mount; without it the limit of the file size stands in.
fn may_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(folder.path())
        .output();
    let mounted = mounted.is_ok_and(|output| output.status.success());
    if mounted {
        let _ = Command::new("umount").arg("--lazy").arg(folder.path()).status();
    }
    mounted
}

#[tokio::test]
async fn a_full_disk_is_said_and_recovers_when_there_is_room_again() {
    if !may_mount() {
        return a_file_that_cannot_grow_is_refused().await;
    }
    for backend in Backend::DATABASES {
        let disk = SmallDisk::mount(8);
        let server = TestServer::setup().on(backend).storage_path(disk.path()).start().await;
        let calls = server.calls();
        let kept = content(1, 3_000_000);
        calls.save(keyed("kept.bin"), &kept).await.unwrap();
        for key in ["large.bin", "again.bin"] {
            let reason = refusal(calls.save(keyed(key), &content(2, 20_000_000)).await);
            assert_eq!(reason, ErrorReason::StorageFull, "{backend:?}");
            assert_eq!(refusal(calls.get(by_key(key)).await), ErrorReason::ArtifactNotFound);
        }
        assert!(calls.read(by_key("kept.bin")).await.unwrap() == kept);
        calls.save(keyed("small.bin"), &content(3, 2_000_000)).await.unwrap();
        assert_eq!(server.staged(), [""; 0], "what did not fit is gone");
        fs::write(disk.path().join("ballast"), vec![0; 2_500_000]).unwrap();
        assert_eq!(
            refusal(calls.save(keyed("x.bin"), &content(4, 1_000_000)).await),
            ErrorReason::StorageFull
        );
        fs::remove_file(disk.path().join("ballast")).unwrap();
        calls.save(keyed("x.bin"), &content(4, 1_000_000)).await.unwrap();
        server.assert_clean();
    }
}

/// A server whose database is on a small disk of its own, and its bytes elsewhere.
async fn with_database_disk(mebibytes: u32) -> (TestServer, SmallDisk, tempfile::TempDir) {
    let bytes = tempfile::tempdir().unwrap();
    let mut server = TestServer::setup().storage_path(bytes.path()).prepare().await;
    let disk = SmallDisk::mount_at(&server.data_dir(), mebibytes);
    server.start_again().await;
    (server, disk, bytes)
}

/// Saves until the database takes no more; answers how many were acknowledged, and the refusal.
async fn save_until_refused(server: &TestServer) -> (u64, ErrorReason) {
    for number in 0..1_000_u64 {
        let header = pb::SaveHeader {
            description: Some("x".repeat(60_000)),
            ..keyed(&format!("{number}.bin"))
        };
        if let Err(failure) = server.calls().save(header, &content(number, 100)).await {
            return (number, failure.reason.unwrap());
        }
    }
    panic!("a full disk took everything");
}

#[tokio::test]
async fn a_full_disk_of_the_database_is_said_and_recovers_when_there_is_room_again() {
    if !may_mount() {
        return a_file_that_cannot_grow_is_refused().await;
    }
    let (mut server, disk, _bytes) = with_database_disk(8).await;
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 3_000_000]).unwrap();
    let (kept, reason) = save_until_refused(&server).await;
    assert_eq!(reason, ErrorReason::StorageFull);
    assert!(kept > 0);
    let lost = by_key(&format!("{kept}.bin"));
    for _ in 0..2 {
        for number in 0..kept {
            let read = server.calls().read(by_key(&format!("{number}.bin"))).await.unwrap();
            assert!(read == content(number, 100), "{number}");
        }
        assert_eq!(
            refusal(server.calls().get(lost.clone()).await),
            ErrorReason::ArtifactNotFound
        );
        // What is full now must not keep the server from starting once there is room.
        fs::remove_file(&ballast).unwrap();
        server.kill();
        server.start_again().await;
        fs::write(&ballast, b"").unwrap();
    }
    server
        .calls()
        .save(keyed(&format!("{kept}.bin")), b"fits")
        .await
        .unwrap();
    server.assert_clean();
}

#[tokio::test]
async fn a_database_without_any_room_still_answers_reads() {
    if !may_mount() {
        return;
    }
    let (server, disk, _bytes) = with_database_disk(8).await;
    let calls = server.calls();
    calls.save(keyed("kept.bin"), b"kept").await.unwrap();
    // Files that are open for writing keep a disk from becoming read-only, so there is no room at all.
    fs::write(disk.path().join("ballast"), vec![0; 8_000_000]).unwrap_err();
    let refused = calls.trash(by_key("kept.bin")).await;
    assert_eq!(refusal(refused), ErrorReason::StorageFull);
    assert_eq!(calls.read(by_key("kept.bin")).await.unwrap(), b"kept");
    fs::remove_file(disk.path().join("ballast")).unwrap();
    calls.trash(by_key("kept.bin")).await.unwrap();
    server.assert_clean();
}

#[tokio::test]
async fn objects_on_another_disk_than_staging_are_refused_at_the_start() {
    if !may_mount() {
        return;
    }
    let mut server = TestServer::setup().prepare().await;
    let objects = server.data_dir().join("storage/.artifactd/objects/7f");
    let _disk = SmallDisk::mount_at(&objects, 1);
    assert!(!server.start_refused().await.success());
    assert!(server.log().contains("another file system"), "{}", server.log());
    assert!(server.log().contains("objects/7f"), "{}", server.log());
}

#[tokio::test]
async fn descriptors_that_run_out_turn_callers_away_and_nothing_spins() {
    let server = TestServer::setup().limit("--nofile=96").start().await;
    let calls = server.calls();
    calls.save(keyed("x.bin"), b"1").await.unwrap();
    let crowd: Vec<_> = (0..200)
        .filter_map(|_| std::net::TcpStream::connect(server.address()).ok())
        .collect();
    assert!(crowd.len() > 100);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = cpu_ticks(&server);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let spent = cpu_ticks(&server) - before;
    assert!(
        spent < 50,
        "the server spent {spent} hundredths of a second on two seconds of nothing"
    );
    // Who is connected already is served as far as files can be opened, and told so otherwise.
    if let Err(failure) = calls.save(keyed("y.bin"), b"2").await {
        let reason = failure.reason.unwrap();
        let right = [ErrorReason::StorageUnavailable, ErrorReason::DatabaseUnavailable];
        assert!(right.contains(&reason), "{failure}");
    }
    drop(crowd);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.calls().save(keyed("z.bin"), b"3").await.unwrap();
    for (key, bytes) in [("x.bin", b"1"), ("z.bin", b"3")] {
        assert_eq!(server.calls().read(by_key(key)).await.unwrap(), bytes);
    }
    server.assert_clean();
}

/// Time of the processor that a server has used, in hundredths of a second.
fn cpu_ticks(server: &TestServer) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid().as_raw_nonzero())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn a_file_that_cannot_grow_is_said() {
    a_file_that_cannot_grow_is_refused().await;
}

async fn a_file_that_cannot_grow_is_refused() {
    // SIGXFSZ must not end the server, and the database needs no large file.
    let server = TestServer::setup().limit("--fsize=4000000").start().await;
    let calls = server.calls();
    let reason = refusal(calls.save(keyed("large.bin"), &content(1, 8_000_000)).await);
    assert!(
        matches!(reason, ErrorReason::StorageFull | ErrorReason::StorageUnavailable),
        "{reason:?}"
    );
    assert_eq!(server.staged(), [""; 0]);
    calls.save(keyed("small.bin"), &content(1, 100_000)).await.unwrap();
    server.assert_clean();
}

#[tokio::test]
async fn a_storage_that_takes_no_writes_is_said() {
    let disk = if may_mount() {
        SmallDisk::mount(8)
    } else {
        let folder = tempfile::tempdir().unwrap();
        SmallDisk {
            path: folder.path().to_owned(),
            _folder: Some(folder),
        }
    };
    let server = TestServer::setup().storage_path(disk.path()).start().await;
    let calls = server.calls();
    let kept = content(1, 1_000_000);
    calls.save(keyed("kept.bin"), &kept).await.unwrap();
    let path = disk.path().display();
    // Root may write into any folder, so that only the file system can say no to it.
    let [deny, allow] = match may_mount() {
        true => [
            format!("mount -o remount,ro {path}"),
            format!("mount -o remount,rw {path}"),
        ],
        false => [format!("chmod -R a-w {path}"), format!("chmod -R u+w {path}")],
    };
    shell(&deny);
    let reason = refusal(calls.save(keyed("x.bin"), b"1").await);
    shell(&allow);
    assert_eq!(reason, ErrorReason::StorageReadOnly);
    assert!(calls.read(by_key("kept.bin")).await.unwrap() == kept);
    calls.save(keyed("x.bin"), b"1").await.unwrap();
    server.assert_clean();
}

fn shell(command: &str) {
    assert!(
        Command::new("sh").args(["-c", command]).status().unwrap().success(),
        "{command}"
    );
}

#[tokio::test]
async fn a_database_that_is_away_is_said_and_comes_back_by_itself() {
    let postgres = Postgres::start();
    let url = postgres.create_database().await;
    let server = TestServer::setup()
        .on(Backend::POSTGRES)
        .database_url(url)
        .start()
        .await;
    let calls = server.calls();
    let bytes = content(1, 700_000);
    calls.save(keyed("kept.bin"), &bytes).await.unwrap();
    for how in [Stop::Fast, Stop::Immediate] {
        postgres.stop(how);
        for reason in [
            refusal(calls.save(keyed("lost.bin"), &bytes).await),
            refusal(calls.get(by_key("kept.bin")).await),
            refusal(calls.read(by_key("kept.bin")).await),
            refusal(calls.trash(by_key("kept.bin")).await),
            refusal(calls.list(pb::ListArtifactsRequest::default()).await),
        ] {
            assert_eq!(reason, ErrorReason::DatabaseUnavailable, "{how:?}");
        }
        postgres.run();
        let back = tokio::time::timeout(Duration::from_secs(10), async {
            while calls.get(by_key("kept.bin")).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(
            back.await.is_ok(),
            "the server did not find its database again after {how:?}"
        );
        assert!(calls.read(by_key("kept.bin")).await.unwrap() == bytes);
        assert_eq!(
            refusal(calls.get(by_key("lost.bin")).await),
            ErrorReason::ArtifactNotFound
        );
    }
    calls.save(keyed("lost.bin"), &bytes).await.unwrap();
    server.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_restarts_under_load_loses_nothing() {
    let postgres = Postgres::start();
    let url = postgres.create_database().await;
    let server = TestServer::setup()
        .on(Backend::POSTGRES)
        .database_url(url)
        .start()
        .await;
    let acknowledged = tokio::spawn({
        let calls = server.calls();
        async move {
            let mut acknowledged = Vec::new();
            for number in 0..400_u64 {
                let key = format!("{number}.bin");
                let header = pb::SaveHeader {
                    request_id: Some(key.clone()),
                    ..keyed(&key)
                };
                loop {
                    match calls.save(header.clone(), &content(number, 1_000)).await {
                        Ok(_) => break acknowledged.push(number),
                        Err(Failure {
                            reason: Some(ErrorReason::DatabaseUnavailable | ErrorReason::Conflict),
                            ..
                        }) => {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        Err(failure) => panic!("{failure}"),
                    }
                }
            }
            acknowledged
        }
    });
    for how in [Stop::Immediate, Stop::Fast, Stop::Immediate] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        postgres.stop(how);
        postgres.run();
    }
    for number in acknowledged.await.unwrap() {
        let key = by_key(&format!("{number}.bin"));
        assert!(server.calls().read(key.clone()).await.unwrap() == content(number, 1_000));
        assert_eq!(
            server.calls().family(key).await.unwrap().len(),
            1,
            "a retry made another version"
        );
    }
    server.assert_clean();
}

#[tokio::test]
async fn a_term_signal_lets_running_saves_end_and_takes_no_new_ones() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        let calls = server.calls();
        let bytes = content(1, 300_000);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let running = tokio::spawn({
            let calls = calls.clone();
            let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
            async move { calls.save_stream(stream).await }
        });
        sender.send(Message::Header(keyed("running.bin"))).await.unwrap();
        sender.send(Message::Chunk(chunk(&bytes[..100_000]))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let late = server.calls().save(keyed("late.bin"), b"late").await;
        let failure = late.expect_err("a new save was taken while draining");
        assert!(
            matches!(failure.reason, None | Some(ErrorReason::ServerDraining)),
            "{failure}"
        );
        sender.send(Message::Chunk(chunk(&bytes[100_000..]))).await.unwrap();
        sender.send(Message::Trailer(honest_trailer(&bytes))).await.unwrap();
        drop(sender);
        running
            .await
            .unwrap()
            .unwrap_or_else(|failure| panic!("the running save, {backend:?}: {failure}"));
        let status = server.wait_for_end(Duration::from_secs(40)).await;
        assert!(status.success(), "{status:?}");
        server.start_again().await;
        assert!(server.calls().read(by_key("running.bin")).await.unwrap() == bytes);
        server.assert_clean();
    }
}

#[tokio::test]
async fn an_idle_server_ends_at_once_on_a_term_signal() {
    let mut server = TestServer::start().await;
    let calls = server.calls();
    calls.save(keyed("x.bin"), b"1").await.unwrap();
    let began = std::time::Instant::now();
    assert!(server.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing_in_a_bucket() {
    let tally = storm::run(Storm {
        seed: 3,
        rounds: 3,
        backend: Backend::CLUSTER,
        life_ms_max: 600,
    })
    .await;
    assert!(tally.acknowledged > 0, "{tally:?}");
}

#[tokio::test]
async fn many_streams_at_once_are_served_or_told_to_come_back() {
    let server = TestServer::start().await;
    let saves = (0..200_u64).map(|number| {
        let calls = server.calls();
        async move {
            calls
                .save(keyed(&format!("{number}.bin")), &content(number, 600_000))
                .await
                .map(|_| number)
        }
    });
    for outcome in futures::future::join_all(saves).await {
        match outcome {
            Ok(number) => {
                let bytes = server.calls().read(by_key(&format!("{number}.bin"))).await.unwrap();
                assert!(bytes == content(number, 600_000));
            }
            Err(failure) => {
                assert_eq!(failure.reason, Some(ErrorReason::ServerBusy), "{failure}");
                assert!(failure.says_when_to_retry, "{failure}");
            }
        }
    }
}
