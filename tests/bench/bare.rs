//! The bare work: what any server with the same promises has to do.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use artifactd_client::domain::Sha256Hasher;
use rusqlite::Connection;

/// A SQLite database of one table, in write-ahead mode with full durability.
pub(crate) fn database(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("bare.sqlite3")).expect("open SQLite");
    let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (a INTEGER, b BLOB)";
    connection.execute_batch(setup).expect("prepare SQLite");
    connection
}

/// One row, committed.
pub(crate) fn commit(connection: &Connection) {
    connection
        .execute("INSERT INTO t VALUES (1, x'00')", [])
        .expect("commit a row");
}

/// A file and its folder, made durable.
pub(crate) fn durable_file(folder: &Path, name: &str, content: &[u8]) {
    let mut file = File::create(folder.join(name)).expect("create a file");
    file.write_all(content).expect("write a file");
    file.sync_all().expect("fsync a file");
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .expect("fsync a folder");
}

/// One pass of copy, sha256 and fsync on one thread.
pub(crate) fn copy_hashed(from: &Path, to: &Path) {
    let (mut from, mut to) = (File::open(from).expect("open"), File::create(to).expect("create"));
    let (mut hasher, mut buffer) = (Sha256Hasher::default(), vec![0; 1024 * 1024]);
    loop {
        let read = from.read(&mut buffer).expect("read");
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).expect("write");
    }
    to.sync_all().expect("fsync");
    std::hint::black_box(hasher.finish());
}
