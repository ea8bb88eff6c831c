//! Which database and storage a server under test uses.

/// Where the records live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file in the data folder.
    Sqlite,
    /// A database of its own on a real PostgreSQL.
    Postgres,
}

/// Where the bytes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// A folder below the data folder.
    Local,
    /// A bucket of its own on an S3 server.
    S3,
}

/// One combination of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Where the records live.
    pub database: Database,
    /// Where the bytes live.
    pub storage: Storage,
}

impl Backend {
    /// What the server uses without any configuration.
    pub const EMBEDDED: Self = Self::new(Database::Sqlite, Storage::Local);
    /// PostgreSQL and a folder.
    pub const POSTGRES: Self = Self::new(Database::Postgres, Storage::Local);
    /// SQLite and a bucket.
    pub const S3: Self = Self::new(Database::Sqlite, Storage::S3);
    /// PostgreSQL and a bucket: the shape of a cluster.
    pub const CLUSTER: Self = Self::new(Database::Postgres, Storage::S3);
    /// Every combination.
    pub const ALL: [Self; 4] = [Self::EMBEDDED, Self::POSTGRES, Self::S3, Self::CLUSTER];
    /// Both databases, where the storage does not matter.
    pub const DATABASES: [Self; 2] = [Self::EMBEDDED, Self::POSTGRES];

    const fn new(database: Database, storage: Storage) -> Self {
        Self { database, storage }
    }
}
