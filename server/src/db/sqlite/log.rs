//! Room for the write-ahead log.
//!
//! A commit that makes the log longer also changes the file system's own records of it,
//! which takes the disk as long again as the commit. So the file is there in full length
//! before the first one: SQLite takes a log without a header for an empty one, and writes
//! over it from its beginning. It does the same with the log that it has when that was
//! written back, so that the file stays as long as this.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::LOG_PAGES_MAX;

/// What SQLite writes for one page: the page and a header.
const FRAME_BYTES: u64 = 4096 + 24;

/// A log is written back by the commit that makes it longer than its most; this much longer.
const LAST_COMMIT_PAGES: u32 = 128;

const PIECE_BYTES: u64 = 1 << 20;

/// Where less is free than so many times the room, others need it more.
const FREE_ROOMS_MIN: u64 = 16;

/// Makes room for the log of a database that nobody has opened to write. What another
/// process holds is left alone; without room commits take longer, and work.
pub(in crate::db) fn make_room(database: &Path) {
    match written_in_full(database) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            tracing::debug!(error = &error as &dyn std::error::Error, "No room was made for the log");
        }
        Ok(()) | Err(_) => {}
    }
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn written_in_full(database: &Path) -> io::Result<()> {
    let pieces = u64::from(LOG_PAGES_MAX.unsigned_abs() + LAST_COMMIT_PAGES) * FRAME_BYTES / PIECE_BYTES + 1;
    let disk = rustix::fs::statvfs(database)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_ROOMS_MIN * pieces * PIECE_BYTES {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let log = log_of(database);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&log)?;
    let zeros = vec![0; PIECE_BYTES as usize];
    let written = (0..pieces).try_for_each(|_| file.write_all(&zeros));
    written.and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a room is room that others lack.
        let _ = std::fs::remove_file(&log);
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::db::sqlite::{Access, Sqlite};

    fn count(sqlite: &Sqlite) -> usize {
        let rows = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "SELECT * FROM rows");
        sqlite.query(&rows, usize::MAX).unwrap().len()
    }

    #[test]
    fn commits_write_over_the_room_and_are_found_after_it_was_used_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sqlite3");
        let made = Sqlite::open(&path, Access::Write).unwrap();
        made.script("CREATE TABLE rows (bytes BLOB)").unwrap();
        drop(made);
        make_room(&path);
        let room = fs::metadata(log_of(&path)).unwrap().len();
        let sqlite = Sqlite::open(&path, Access::Write).unwrap();
        let reader = Sqlite::open(&path, Access::Read).unwrap();
        assert_eq!(count(&reader), 0);
        // As much as the log holds, and half of it again.
        for written in 1..=60 {
            sqlite.script("INSERT INTO rows VALUES (zeroblob(400000))").unwrap();
            assert_eq!(fs::metadata(log_of(&path)).unwrap().len(), room, "after {written}");
        }
        assert_eq!(count(&reader), 60);
        // As a process leaves it that is killed.
        let copy = folder.path().join("copy.sqlite3");
        fs::copy(&path, &copy).unwrap();
        fs::copy(log_of(&path), log_of(&copy)).unwrap();
        make_room(&copy);
        assert_eq!(count(&Sqlite::open(&copy, Access::Write).unwrap()), 60);
    }

    #[test]
    fn a_log_that_is_there_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sqlite3");
        fs::write(&path, "").unwrap();
        fs::write(log_of(&path), "somebody's").unwrap();
        make_room(&path);
        assert_eq!(fs::read(log_of(&path)).unwrap(), b"somebody's");
    }
}
