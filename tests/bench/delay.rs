//! A long line: a proxy that hands on what it gets a while later.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

const PIECE_BYTES: usize = 256 << 10;

/// Pieces on their way: more than the windows of both sides let through.
const PIECES_MAX: usize = 4096;

/// See the module. It ends when it is dropped.
pub(crate) struct LongLine {
    pub(crate) address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl LongLine {
    /// A line to `upstream` on which a call and its answer take `round_trip` longer.
    pub(crate) async fn start(upstream: SocketAddr, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(upstream).await.expect("reach the server");
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a socket");
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                hand_on(from_client, to_server, round_trip / 2);
                hand_on(from_server, to_client, round_trip / 2);
            }
        });
        Self { address, accepting }
    }
}

impl Drop for LongLine {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Both ends of one direction; they end with the connection.
fn hand_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sent, mut waiting) = mpsc::channel::<(Instant, Bytes)>(PIECES_MAX);
    tokio::spawn(async move {
        let mut piece = BytesMut::new();
        loop {
            piece.reserve(PIECE_BYTES);
            match from.read_buf(&mut piece).await {
                Ok(1..)
                    if sent
                        .send((Instant::now() + delay, piece.split().freeze()))
                        .await
                        .is_ok() => {}
                _ => return,
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, piece)) = waiting.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
}
