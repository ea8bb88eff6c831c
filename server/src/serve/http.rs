//! HTTP settings of a connection, each with its reason.

use std::time::Duration;

use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};

use crate::config::LimitsConfig;

/// The most that HTTP/2 allows.
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

/// A chunk of 1 MiB then travels in 4 frames instead of 64: each wakes a task or two.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// All metadata of a call.
const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// Floods of requests that are reset at once, by the peer or because of it, end
/// the connection.
const PENDING_RESETS_MAX: usize = 20;
const OWN_RESETS_MAX: usize = 1024;

/// A peer that is gone without a word is noticed within 40 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/1.1 heads, and silence between two of them.
const HTTP1_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HTTP1_BUFFER_BYTES: usize = 64 << 10;

/// A builder of connections whose calls run on `executor`.
pub(super) fn builder<E>(executor: E, limits: &LimitsConfig) -> Builder<E> {
    let windows = Windows::of(limits);
    let mut builder = Builder::new(executor);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(windows.stream_bytes)
        .initial_connection_window_size(windows.connection_bytes)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(limits.streams_per_connection)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(OWN_RESETS_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP1_HEAD_TIMEOUT)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
}

/// What a peer may send before it is read.
///
/// Contents that wait for their turn are in memory with a window each, so that what
/// many at once may cost decides how wide it is. It is the same for those that have
/// their turn: the library widens the windows of a connection only all at once, and to
/// what all of its streams share. Over a long line the window bounds the rate of a
/// stream, so that it is not narrower, and fewer may wait.
///
/// The window of a connection has room for all of its streams. If it had less, those
/// that wait would fill it, and those that they wait for would get nothing more.
#[derive(Debug, PartialEq, Eq)]
struct Windows {
    stream_bytes: u32,
    connection_bytes: u32,
}

impl Windows {
    fn of(limits: &LimitsConfig) -> Self {
        // One more, for bytes of streams that were reset and are still on their way.
        let streams = limits.streams_per_connection.saturating_add(1);
        let stream_bytes = limits.stream_window_bytes.min(WINDOW_BYTES_MAX / streams);
        Self {
            stream_bytes,
            connection_bytes: streams * stream_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn windows(streams_per_connection: u32, stream_window_bytes: u32) -> Windows {
        Windows::of(&LimitsConfig {
            content_bytes_max: 1,
            streams_per_connection,
            stream_window_bytes,
            content_streams_max: 1,
            content_waiting_max: 1,
            table_streams_max: 1,
            content_wait: Duration::ZERO,
            stream_idle_timeout: Duration::ZERO,
        })
    }

    #[test]
    fn a_connection_has_room_for_all_of_its_streams() {
        for (streams, asked, given) in [
            (1, 1 << 20, 1 << 20),
            (255, 256 << 10, 256 << 10),
            // As far as HTTP/2 goes.
            (1023, 8 << 20, (2 << 20) - 1),
        ] {
            let Windows {
                stream_bytes,
                connection_bytes,
            } = windows(streams, asked);
            assert_eq!(stream_bytes, given, "{streams} streams");
            assert!(connection_bytes / stream_bytes > streams, "{streams} streams");
            assert!(connection_bytes <= WINDOW_BYTES_MAX, "{streams} streams");
        }
    }
}
