//! Limits of calls and their content.

use std::time::Duration;

use super::{parse, settings::Settings};

/// Five TiB, the largest object that an S3 service takes.
const CONTENT_BYTES_MAX: u64 = 5 << 40;
const STREAMS_PER_CONNECTION: u64 = 256;

/// Twice as many are no faster where the processor or the disk is the limit.
const CONTENT_STREAMS_MAX: u64 = 32;

/// As many wait with a window each as 300 MiB have room for. Who is turned away comes back.
const CONTENT_WAITING_MAX: u64 = 96;

/// Over a line of 40 ms that is 26 MB/s for each stream.
const STREAM_WINDOW_BYTES: u64 = 1 << 20;

/// Each holds some batches, and what they are made of: about 32 MiB.
const TABLE_STREAMS_MAX: u64 = 16;

const CONTENT_WAIT_MS: u64 = 60_000;
const STREAM_IDLE_TIMEOUT_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 3_600_000;

/// Limits of calls and their content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Largest content that is taken.
    pub content_bytes_max: u64,
    /// Calls at once on one connection.
    pub streams_per_connection: u32,
    /// What a caller may send of one stream before it is read.
    pub stream_window_bytes: u32,
    /// Content streams at once; more wait.
    pub content_streams_max: usize,
    /// Content streams that wait; more are turned away at once.
    pub content_waiting_max: usize,
    /// Tables that are read at once; more wait as content streams do.
    pub table_streams_max: usize,
    /// How long a content stream waits for its turn.
    pub content_wait: Duration,
    /// How long a stream may be silent, or slow: over this time a caller sends at least
    /// 1 KiB/s on average, and takes at least 256 KiB of what it asked for (2 MiB where it
    /// took as much at 8 MiB/s just before).
    pub stream_idle_timeout: Duration,
}

impl LimitsConfig {
    pub(super) fn take(settings: &mut Settings) -> Self {
        let mut number = |name: &str, default: u64, least: u64, most: u64| {
            settings.take_or(name, default, parse::integer(least, most)).value
        };
        let content_bytes_max = number("limits.content_bytes_max", CONTENT_BYTES_MAX, 1, 1 << 62);
        let per_connection = number("limits.streams_per_connection", STREAMS_PER_CONNECTION, 1, 100_000);
        let window = number("limits.stream_window_bytes", STREAM_WINDOW_BYTES, 64 << 10, 8 << 20);
        let content_streams = number("limits.content_streams_max", CONTENT_STREAMS_MAX, 1, 100_000);
        let content_waiting = number("limits.content_waiting_max", CONTENT_WAITING_MAX, 0, 100_000);
        let table_streams = number("limits.table_streams_max", TABLE_STREAMS_MAX, 1, 100_000);
        let content_wait_ms = number("limits.content_wait_ms", CONTENT_WAIT_MS, 0, DAY_MS);
        let idle_ms = number("limits.stream_idle_timeout_ms", STREAM_IDLE_TIMEOUT_MS, 1, DAY_MS);
        Self {
            content_bytes_max,
            streams_per_connection: u32::try_from(per_connection).unwrap_or(u32::MAX),
            stream_window_bytes: u32::try_from(window).unwrap_or(u32::MAX),
            content_streams_max: usize::try_from(content_streams).unwrap_or(usize::MAX),
            content_waiting_max: usize::try_from(content_waiting).unwrap_or(usize::MAX),
            table_streams_max: usize::try_from(table_streams).unwrap_or(usize::MAX),
            content_wait: Duration::from_millis(content_wait_ms),
            stream_idle_timeout: Duration::from_millis(idle_ms),
        }
    }
}
