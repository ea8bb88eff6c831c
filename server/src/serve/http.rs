//! HTTP settings of a connection, each with its reason.

use std::time::Duration;

use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};

/// Windows wide enough for a fast line of 30 ms at 1 Gbit/s per stream.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// A chunk of 1 MiB then travels in 8 frames instead of 64.
const FRAME_BYTES_MAX: u32 = 128 << 10;

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
pub(super) fn builder<E>(executor: E, streams_max: u32) -> Builder<E> {
    let mut builder = Builder::new(executor);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(streams_max)
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
