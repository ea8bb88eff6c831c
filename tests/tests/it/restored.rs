//! A database that was restored from a copy does not take for garbage what it does not know.

use std::{fs, path::PathBuf};

use artifactd_tests::{
    Backend, Failure, TestServer,
    calls::{by_key, by_uid, keyed, saved},
    content::content,
    pb::ErrorReason,
    refusal,
};

async fn without_grace(backend: Backend) -> TestServer {
    TestServer::setup().on(backend).without_grace().start().await
}

async fn save(server: &TestServer, key: &str, seed: u64) {
    saved(server.calls().save(keyed(key), &content(seed, 300_000)).await.unwrap());
}

async fn assert_refused(server: &TestServer, objects: &[String]) {
    assert_eq!(
        refusal(server.calls().collect_garbage(false).await),
        ErrorReason::DatabaseBehind
    );
    assert_eq!(server.stored_objects(), objects, "nothing went");
    let report = server.calls().collect_garbage(true).await.unwrap();
    assert!(!report.storages[0].collected.is_empty(), "a dry run says what would go");
}

fn collect(server: &TestServer, more: &[&str]) -> std::process::Output {
    let data_dir = server.data_dir().display().to_string();
    server.run(&[&["gc", "--data-dir", &data_dir], more].concat())
}

/// The files of the embedded database.
fn database_files(server: &TestServer) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data_dir()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.display().to_string().contains(".sqlite3"))
        .collect()
}

#[tokio::test]
async fn an_older_copy_of_a_database_collects_nothing_until_that_is_accepted() {
    for backend in [Backend::EMBEDDED, Backend::S3] {
        let mut server = without_grace(backend).await;
        save(&server, "before.bin", 1).await;
        server.calls().collect_garbage(false).await.unwrap();
        server.stop().await;
        let copies: Vec<_> = database_files(&server)
            .into_iter()
            .map(|path| (fs::read(&path).unwrap(), path))
            .collect();

        server.start_again().await;
        save(&server, "after.bin", 2).await;
        // What is known collects as ever, again and again.
        for _ in 0..2 {
            server.calls().collect_garbage(false).await.unwrap();
        }
        let objects = server.stored_objects();
        assert_eq!(objects.len(), 2);
        server.stop().await;
        for path in database_files(&server) {
            fs::remove_file(path).unwrap();
        }
        for (bytes, path) in copies {
            fs::write(path, bytes).unwrap();
        }

        server.start_again().await;
        assert_refused(&server, &objects).await;
        // All else goes on, and what comes now is not lost either.
        save(&server, "later.bin", 3).await;
        assert!(server.calls().read(by_key("before.bin")).await.unwrap() == content(1, 300_000));
        assert_eq!(server.stored_objects().len(), 3);
        server.stop().await;
        let refused = collect(&server, &[]);
        assert_eq!(refused.status.code(), Some(3), "{backend:?}");
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(says.contains("--accept-restored-database"), "{says}");
        assert_eq!(server.stored_objects().len(), 3);

        let accepted = collect(&server, &["--accept-restored-database"]);
        assert_eq!(accepted.status.code(), Some(0), "{accepted:?}");
        assert_eq!(server.stored_objects().len(), 2, "{backend:?}");
        server.start_again().await;
        server.calls().collect_garbage(false).await.unwrap();
        for (key, seed) in [("before.bin", 1), ("later.bin", 3)] {
            assert!(server.calls().read(by_key(key)).await.unwrap() == content(seed, 300_000));
        }
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_new_database_beside_an_old_storage_collects_nothing() {
    let mut server = without_grace(Backend::EMBEDDED).await;
    save(&server, "old.bin", 1).await;
    server.calls().collect_garbage(false).await.unwrap();
    let objects = server.stored_objects();
    server.stop().await;
    for path in database_files(&server) {
        fs::remove_file(path).unwrap();
    }
    server.start_again().await;
    assert_refused(&server, &objects).await;
}

#[tokio::test]
async fn two_copies_of_a_database_find_each_other_out() {
    for backend in [Backend::POSTGRES, Backend::CLUSTER] {
        let server = without_grace(backend).await;
        let gone = saved(server.calls().save(keyed("x.bin"), &content(1, 300_000)).await.unwrap());
        server.calls().collect_garbage(false).await.unwrap();
        server.calls().destroy(by_uid(&gone.uid)).await.unwrap();
        let objects = server.stored_objects();
        let database = server.database().await;
        // The other copy began as many epochs, one less, and one less than it noted.
        database
            .run("UPDATE leases SET holder = 'another' WHERE name LIKE 'epoch%'")
            .await;
        assert_refused(&server, &objects).await;
        database
            .run("UPDATE leases SET epoch = epoch - 1 WHERE name LIKE 'epoch%'")
            .await;
        assert_refused(&server, &objects).await;
        database
            .run("UPDATE leases SET epoch = epoch + 2 WHERE name LIKE 'epoch%'")
            .await;
        server.calls().collect_garbage(false).await.unwrap();
        assert_eq!(server.stored_objects(), [""; 0], "{backend:?}");
    }
}

#[tokio::test]
async fn a_note_that_nobody_can_read_counts_as_somebody_elses() {
    let server = without_grace(Backend::EMBEDDED).await;
    save(&server, "x.bin", 1).await;
    server.calls().collect_garbage(false).await.unwrap();
    let object = PathBuf::from(&server.stored_objects()[0]);
    let note = object.ancestors().nth(3).unwrap().join("epoch");
    assert!(note.exists(), "{}", note.display());
    fs::write(&note, "?").unwrap();
    let refused: Result<_, Failure> = server.calls().collect_garbage(false).await;
    assert_eq!(refusal(refused), ErrorReason::DatabaseBehind);
    fs::remove_file(&note).unwrap();
    server.calls().collect_garbage(false).await.unwrap();
    assert!(note.exists());
}
