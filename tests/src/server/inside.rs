//! What is seen of it past its interface: its database and its memory.

use std::{fs, path::PathBuf, time::Duration};

use super::{TestServer, stored::collect_files};
use crate::database::RawDatabase;

const INDEX_POLL: Duration = Duration::from_millis(20);

impl TestServer {
    /// One integer out of the database, past the server.
    ///
    /// # Panics
    /// When the query does not answer one integer.
    pub async fn query_integer(&self, sql: &str) -> i64 {
        self.database().await.integer(sql).await
    }

    /// The database, past the server.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn database(&self) -> RawDatabase {
        if let Some(url) = &self.database_url {
            return RawDatabase::postgres(url).await;
        }
        let is_database = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sqlite3");
        let mut files = Vec::new();
        collect_files(&self.data_dir(), &mut files);
        let file = files.into_iter().find(is_database);
        RawDatabase::sqlite(&file.expect("a database in the data folder"))
    }

    /// Whether the index of words has everything that the log has.
    pub async fn is_indexed(&self) -> bool {
        let behind = "SELECT (SELECT count(*) FROM events WHERE position IS NULL) + \
             (SELECT count(*) FROM events WHERE position > (SELECT position FROM search_progress))";
        self.query_integer(behind).await == 0
    }

    /// Waits until the index has everything.
    pub async fn wait_until_indexed(&self) {
        while !self.is_indexed().await {
            tokio::time::sleep(INDEX_POLL).await;
        }
    }

    /// Memory that the process has resident, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that it ever had.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let pid = self.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(field))
            .expect("the kernel counts it");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number");
        kib * 1024
    }
}
