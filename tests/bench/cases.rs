//! The figures that the server is held to.
//!
//! A figure is reached at its bound and beyond it on the better side. "Must" is
//! what may not be missed, "aim" what is worth working for.

/// One figure with its bounds.
pub(crate) struct Case {
    /// What it is called on the command line and in the table.
    pub(crate) name: &'static str,
    pub(crate) measure: Measure,
    pub(crate) must: Option<f64>,
    pub(crate) aim: Option<f64>,
}

/// What follows from the measured times or sizes of both sides.
#[derive(Clone, Copy)]
pub(crate) enum Measure {
    /// Our time as a multiple of the other's; less is better.
    TimesTheTime,
    /// The other's time as a multiple of ours; more is better.
    TimesAsFast,
    /// Our bytes a second as a multiple of the other's; more is better.
    TimesTheRate {
        /// How many bytes both sides move.
        bytes: u64,
    },
    /// Milliseconds that ours takes longer.
    MillisecondsMore,
    /// Seconds that ours takes.
    Seconds,
    /// Memory that ours has, in MiB.
    Mebibytes,
    /// Memory that ours has more than the other, in MiB.
    MebibytesMore,
}

pub(crate) const GIB: u64 = 1 << 30;

const fn case(name: &'static str, measure: Measure, must: Option<f64>, aim: Option<f64>) -> Case {
    Case {
        name,
        measure,
        must,
        aim,
    }
}

pub(crate) const SAVE_BARE: Case = case("save/bare", Measure::TimesTheTime, Some(1.5), Some(1.3));
pub(crate) const SAVE_LAMINDB: Case = case("save/lamindb", Measure::TimesAsFast, Some(7.0), Some(10.0));
pub(crate) const GET: Case = case("get/empty-call", Measure::MillisecondsMore, Some(0.25), Some(0.1));
pub(crate) const CLAIM: Case = case("claim/lamindb", Measure::TimesAsFast, Some(10.0), None);
pub(crate) const TRASH: Case = case("trash/lamindb", Measure::TimesAsFast, Some(8.0), Some(10.0));
pub(crate) const DELETE: Case = case("delete/lamindb", Measure::TimesAsFast, Some(8.0), Some(10.0));
pub(crate) const RESTORE: Case = case("restore/lamindb", Measure::TimesAsFast, Some(3.0), Some(4.0));
pub(crate) const START: Case = case("start", Measure::Seconds, Some(0.2), Some(0.05));
pub(crate) const IDLE: Case = case("idle-memory", Measure::Mebibytes, Some(64.0), Some(40.0));

const RATE_GIB: Measure = Measure::TimesTheRate { bytes: GIB };
pub(crate) const UPLOAD_BARE: Case = case("upload/bare-copy", RATE_GIB, Some(0.75), Some(0.85));
pub(crate) const UPLOAD_GRPCIO: Case = case("upload/grpcio-tmpfs", RATE_GIB, Some(1.7), Some(2.0));
pub(crate) const DOWNLOAD_GRPCIO: Case = case("download/grpcio", RATE_GIB, Some(1.0), Some(1.3));
/// Beside grpcio without protobuf, which no service does without.
pub(crate) const UPLOAD_RAW: Case = case("upload/raw-grpcio", RATE_GIB, None, None);
pub(crate) const DOWNLOAD_RAW: Case = case("download/raw-grpcio", RATE_GIB, None, None);
pub(crate) const DOWNLOAD_NGINX: Case = case("download/nginx", RATE_GIB, None, Some(0.9));

pub(crate) const CHUNKS_UP: Case = case("chunks/up", RATE_GIB, Some(0.85), None);
pub(crate) const CHUNKS_DOWN: Case = case("chunks/down", RATE_GIB, Some(0.85), None);

/// In 4 parts at once beside one stream, where a round trip takes 40 ms.
pub(crate) const PARALLEL: Case = case("parallel/one-stream", RATE_GIB, Some(2.0), Some(3.0));

pub(crate) const MEMORY_IN: Case = case("memory/10-gib-in", Measure::MebibytesMore, Some(64.0), None);
pub(crate) const MEMORY_OUT: Case = case("memory/10-gib-out", Measure::MebibytesMore, Some(64.0), None);
pub(crate) const MEMORY_SAVES: Case = case("memory/500-saves", Measure::MebibytesMore, Some(300.0), None);

/// p99 of a get while 64 connections list and save at half of what the server can do, beside its p99 when idle.
pub(crate) const GET_P99: Case = case("load/get-p99", Measure::TimesTheTime, Some(5.0), Some(3.0));

/// A page of 100 whose keys begin alike, among 10,000.
pub(crate) const PAGE_LAMINDB: Case = case("page/lamindb", Measure::TimesAsFast, Some(5.0), Some(8.0));
/// A page of 100 of the 1% with a suffix, among 1,000,000 and among 10,000.
pub(crate) const AMONG_EQUAL: Case = case("among/equal", Measure::TimesTheTime, Some(2.0), Some(1.3));
/// All 100 with a prefix, there and there.
pub(crate) const AMONG_PREFIX: Case = case("among/prefix", Measure::TimesTheTime, Some(2.0), Some(1.3));
/// A page of 100 of the 1% with a prefix, there and there.
pub(crate) const AMONG_PERCENT: Case = case("among/percent", Measure::TimesTheTime, Some(6.0), Some(3.0));
/// All 100 that a search finds, there and there.
pub(crate) const AMONG_SEARCH: Case = case("among/search", Measure::TimesTheTime, Some(2.0), None);
/// The same four on PostgreSQL.
pub(crate) const AMONG_PG_EQUAL: Case = case("among/postgres-equal", Measure::TimesTheTime, Some(2.0), Some(1.3));
pub(crate) const AMONG_PG_PREFIX: Case = case("among/postgres-prefix", Measure::TimesTheTime, Some(2.0), Some(1.3));
pub(crate) const AMONG_PG_PERCENT: Case = case("among/postgres-percent", Measure::TimesTheTime, Some(6.0), Some(3.0));
pub(crate) const AMONG_PG_SEARCH: Case = case("among/postgres-search", Measure::TimesTheTime, Some(2.0), None);

/// A copy that is fresh beside an empty call.
pub(crate) const CACHE: Case = case("cache/empty-call", Measure::MillisecondsMore, Some(1.0), None);
/// `artifactctl cat` to nowhere beside a read in one program.
pub(crate) const CAT: Case = case("cat/read-content", RATE_GIB, Some(0.9), None);

/// An Arrow file of 1 GiB, beside a Flight server of pyarrow that has it in memory.
pub(crate) const TABLE_IPC: Case = case("tables/ipc", Measure::TimesAsFast, Some(0.95), Some(1.1));
/// What the servers' threads do for it.
pub(crate) const TABLE_IPC_CPU: Case = case("tables/ipc-cpu", Measure::TimesTheTime, Some(1.5), Some(1.0));
/// All of 1.1 million rows of packed parquet, beside that server, and beside polars without one.
pub(crate) const TABLE_PARQUET: Case = case("tables/parquet", Measure::TimesAsFast, Some(1.0), Some(1.2));
pub(crate) const TABLE_PARQUET_POLARS: Case = case("tables/parquet-polars", Measure::TimesTheTime, None, Some(1.25));
/// Two of its columns, where one has a large value.
pub(crate) const TABLE_COLUMNS: Case = case("tables/columns", Measure::TimesAsFast, Some(1.3), Some(2.0));
/// 1% of its ids.
pub(crate) const TABLE_RANGE_PEER: Case = case("tables/range-peer", Measure::TimesAsFast, None, None);
pub(crate) const TABLE_RANGE_POLARS: Case = case("tables/range-polars", Measure::TimesTheTime, Some(2.0), Some(1.3));
/// All of it in two streams to our client, beside the parquet crate on one thread.
pub(crate) const TABLE_CLIENT: Case = case("tables/rust-client", Measure::TimesAsFast, Some(0.8), Some(1.0));
/// 1 GiB of batches that become a durable file, beside pyarrow that writes one.
pub(crate) const TABLE_PUT: Case = case("tables/put", Measure::TimesAsFast, Some(0.7), Some(0.9));
pub(crate) const TABLE_STOPPED: Case = case("tables/stopped", Measure::MebibytesMore, Some(128.0), None);
pub(crate) const TABLE_READERS: Case = case("tables/16-readers", Measure::MebibytesMore, Some(512.0), None);

pub(crate) const BATCH: Case = case("batch/lamindb", Measure::TimesAsFast, Some(50.0), Some(100.0));

pub(crate) const FOLDER: Case = case("folder/lamindb", Measure::TimesAsFast, Some(5.0), Some(10.0));
pub(crate) const RANGES: Case = case("ranges/one-range", Measure::TimesTheTime, Some(1.5), None);
pub(crate) const MILLION_SAVE: Case = case("million/save", Measure::Seconds, None, Some(300.0));
pub(crate) const MILLION_MEMORY: Case = case("million/memory", Measure::MebibytesMore, Some(128.0), None);
pub(crate) const MILLION_PAGE: Case = case("million/page", Measure::TimesTheTime, Some(1.2), None);
pub(crate) const MILLION_CHANGE: Case = case("million/change", Measure::TimesTheTime, Some(5.0), Some(2.0));
/// 1% of the bytes of all files.
pub(crate) const MILLION_SENT: Case = case("million/change-sent", Measure::Mebibytes, Some(0.95), None);

/// A folder of a million files, beside one of a thousand.
pub(crate) const MILLION: &[Case] = &[MILLION_SAVE, MILLION_MEMORY, MILLION_PAGE, MILLION_CHANGE, MILLION_SENT];

/// Folders as artifacts.
pub(crate) const FOLDERS: &[Case] = &[
    FOLDER,
    RANGES,
    MILLION_SAVE,
    MILLION_MEMORY,
    MILLION_PAGE,
    MILLION_CHANGE,
    MILLION_SENT,
];

/// Many files at once.
pub(crate) const MANY: &[Case] = &[BATCH];

/// Calls about one small artifact, and what the server costs that only holds such ones.
pub(crate) const SMALL: &[Case] = &[SAVE_BARE, GET, SAVE_LAMINDB, CLAIM, TRASH, RESTORE, DELETE, START, IDLE];

/// Those of them for which the server holds 10,000 artifacts: all but the first.
pub(crate) const AMONG_MANY: &[Case] = SMALL.split_at(1).1;

/// Those of them that lamindb does too.
pub(crate) const BESIDE_LAMINDB: &[Case] = &[SAVE_LAMINDB, CLAIM, TRASH, RESTORE, DELETE];

/// Content of 1 GiB, in and out.
pub(crate) const LARGE: &[Case] = &[
    UPLOAD_BARE,
    DOWNLOAD_GRPCIO,
    DOWNLOAD_RAW,
    DOWNLOAD_NGINX,
    UPLOAD_GRPCIO,
    UPLOAD_RAW,
];

/// Content in small chunks beside content in large ones.
pub(crate) const CHUNKS: &[Case] = &[CHUNKS_UP, CHUNKS_DOWN];

/// Tables.
pub(crate) const TABLES: &[Case] = &[
    TABLE_IPC,
    TABLE_IPC_CPU,
    TABLE_PARQUET,
    TABLE_PARQUET_POLARS,
    TABLE_COLUMNS,
    TABLE_RANGE_PEER,
    TABLE_RANGE_POLARS,
    TABLE_CLIENT,
    TABLE_PUT,
    TABLE_STOPPED,
    TABLE_READERS,
];

/// Those of them that pyarrow reads.
pub(crate) const TABLES_READ: &[Case] = TABLES.split_at(7).0;

/// Those that are about memory.
pub(crate) const TABLES_MEMORY: &[Case] = TABLES.split_at(9).1;

/// What a program on the other side sees.
pub(crate) const USING: &[Case] = &[CACHE, CAT];

/// Lists and searches among a million, beside ten thousand, on each database.
pub(crate) const AMONG_SQLITE: [Case; 4] = [AMONG_EQUAL, AMONG_PREFIX, AMONG_PERCENT, AMONG_SEARCH];
pub(crate) const AMONG_POSTGRES: [Case; 4] = [AMONG_PG_EQUAL, AMONG_PG_PREFIX, AMONG_PG_PERCENT, AMONG_PG_SEARCH];

/// How much memory the server takes at its busiest.
pub(crate) const MEMORY: &[Case] = &[MEMORY_IN, MEMORY_OUT, MEMORY_SAVES];

/// Two values for one artifact, durable.
pub(crate) const ANNOTATE: Case = case("record/annotate", Measure::TimesAsFast, Some(12.0), Some(20.0));
/// 10,000 artifacts by claim in batches of 1,000, beside ml-metadata in its process.
pub(crate) const REGISTER: Case = case("record/register", Measure::TimesAsFast, Some(1.0), Some(2.0));
/// A page of 100 that have a value, among 10,000.
pub(crate) const VALUE_LAMINDB: Case = case("record/value-lamindb", Measure::TimesAsFast, Some(5.0), Some(8.0));
pub(crate) const VALUE_ML_METADATA: Case = case("record/value-ml-metadata", Measure::TimesAsFast, Some(1.5), Some(3.0));
/// A page of 100 of the 1% with a value, among 1,000,000 with 5,000,000 values and among 10,000 with 50,000.
pub(crate) const VALUE_EQUAL: Case = case("record/value-equal", Measure::TimesTheTime, Some(2.0), Some(1.3));
/// The hundred above a value, there and there.
pub(crate) const VALUE_HUNDRED: Case = case("record/value-hundred", Measure::TimesTheTime, Some(2.0), Some(1.3));
/// A page of 100 of the 1% above a value, there and there.
pub(crate) const VALUE_PERCENT: Case = case("record/value-percent", Measure::TimesTheTime, Some(6.0), Some(3.0));
/// The same three on PostgreSQL.
pub(crate) const POSTGRES_EQUAL: Case = case("record/postgres-equal", Measure::TimesTheTime, Some(2.0), Some(1.3));
pub(crate) const POSTGRES_HUNDRED: Case = case("record/postgres-hundred", Measure::TimesTheTime, Some(2.0), Some(1.3));
pub(crate) const POSTGRES_PERCENT: Case = case("record/postgres-percent", Measure::TimesTheTime, Some(6.0), Some(3.0));
/// 10,000 artifacts and runs in 10 steps, beside a query that a hand wrote.
pub(crate) const LINEAGE: Case = case("record/lineage", Measure::TimesTheTime, Some(2.0), Some(1.2));

/// What is said of artifacts, and what made them.
pub(crate) const RECORD: &[Case] = &[
    ANNOTATE,
    REGISTER,
    VALUE_LAMINDB,
    VALUE_ML_METADATA,
    VALUE_EQUAL,
    VALUE_HUNDRED,
    VALUE_PERCENT,
    POSTGRES_EQUAL,
    POSTGRES_HUNDRED,
    POSTGRES_PERCENT,
    LINEAGE,
];

/// Those of them among a million, on each database.
pub(crate) const VALUES_SQLITE: [Case; 3] = [VALUE_EQUAL, VALUE_HUNDRED, VALUE_PERCENT];
pub(crate) const VALUES_POSTGRES: [Case; 3] = [POSTGRES_EQUAL, POSTGRES_HUNDRED, POSTGRES_PERCENT];

/// Every case, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let [parallel, load, page] = [&[PARALLEL], &[GET_P99], &[PAGE_LAMINDB]];
    [
        SMALL,
        load,
        page,
        &AMONG_SQLITE,
        &AMONG_POSTGRES,
        RECORD,
        MANY,
        FOLDERS,
        LARGE,
        CHUNKS,
        parallel,
        USING,
        TABLES,
        MEMORY,
    ]
    .into_iter()
    .flatten()
}
