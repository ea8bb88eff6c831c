//! Connections: accepting them, their number, and their end.
//!
//! Connections and calls are tasks of one tracker and end by two tokens: `drain`
//! asks a connection to take no more calls, `stop` drops everything.

use std::{error::Error, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use hyper_util::{rt::TokioIo, server::conn::auto::Builder, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;

use super::{budget::Budgeted, door::Door, http};
use crate::{api::layer::while_taken, config::Config};

/// What every HTTP/2 connection begins with.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a new connection may stay silent.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
const GREETING_POLL: Duration = Duration::from_millis(20);

/// Pause after the system refused to accept, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long dropped calls may take to let go.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the calls of HTTP/2 connections.
#[derive(Clone)]
struct Calls {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// How long a caller may leave its answer.
    idle: Duration,
}

impl<F> hyper::rt::Executor<F> for Calls
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, call: F) {
        let (stop, call) = (self.stop.clone(), while_taken(call, self.idle));
        self.tracker.spawn(async move {
            if let Some(None) = stop.run_until_cancelled_owned(call).await {
                tracing::info!("Dropped a call whose answer was not taken");
            }
        });
    }
}

/// All connections of a server. What still runs ends when this is dropped.
pub(super) struct Connections {
    door: Door,
    builder: Arc<Builder<Calls>>,
    room: Arc<Semaphore>,
    tracker: TaskTracker,
    drain: CancellationToken,
    stop: CancellationToken,
    idle: Duration,
}

impl Connections {
    pub(super) fn new(door: Door, config: &Config) -> Self {
        let tracker = TaskTracker::new();
        let stop = CancellationToken::new();
        let calls = Calls {
            tracker: tracker.clone(),
            stop: stop.clone(),
            idle: config.limits.stream_idle_timeout,
        };
        Self {
            idle: calls.idle,
            door,
            builder: Arc::new(http::builder(calls, &config.limits)),
            room: Arc::new(Semaphore::new(
                config.server.connections_max.min(Semaphore::MAX_PERMITS),
            )),
            tracker,
            drain: stop.child_token(),
            stop,
        }
    }

    /// Accepts connections for ever.
    pub(super) async fn accept(&self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "Cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(%peer, "Closed a connection: there are as many as allowed");
            return;
        };
        let connection = Connection {
            door: self.door.of(stream.connect_info()),
            builder: Arc::clone(&self.builder),
            drain: self.drain.clone(),
            peer,
            idle: self.idle,
            _place: place,
        };
        let stop = self.stop.clone();
        self.tracker
            .spawn(async move { stop.run_until_cancelled_owned(connection.hold(stream)).await });
    }

    /// Lets calls in flight end, for as long as `patience`, then drops them.
    pub(super) async fn drain(&self, patience: Duration) {
        self.tracker.close();
        self.drain.cancel();
        if timeout(patience, self.tracker.wait()).await.is_ok() {
            return;
        }
        tracing::warn!("Calls still ran {patience:?} after the signal to stop; they are dropped");
        self.stop.cancel();
        if timeout(STOP_TIMEOUT, self.tracker.wait()).await.is_err() {
            tracing::warn!("Dropped calls did not let go within {STOP_TIMEOUT:?}");
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One connection.
struct Connection {
    door: Door,
    builder: Arc<Builder<Calls>>,
    drain: CancellationToken,
    peer: SocketAddr,
    idle: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn hold(self, stream: TcpStream) {
        // Small answers must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let greeted = timeout(GREETING_TIMEOUT, greeting(&stream));
        match self.drain.run_until_cancelled(greeted).await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return self.note_end(&error),
            Some(Err(_silent)) => return tracing::info!(peer = %self.peer, "Closed a silent connection"),
            None => return,
        }
        let service = TowerToHyperService::new(self.door.clone());
        let mut served = pin!(
            self.builder
                .serve_connection(TokioIo::new(Budgeted::new(stream, self.peer)), service)
        );
        // Over HTTP/1.1 calls run here, and not in tasks of their own.
        let ended = while_taken(
            async {
                tokio::select! {
                    ended = &mut served => ended,
                    () = self.drain.cancelled() => {
                        served.as_mut().graceful_shutdown();
                        served.await
                    }
                }
            },
            self.idle,
        );
        match ended.await {
            Some(Ok(())) => {}
            Some(Err(error)) => self.note_end(&*error),
            None => tracing::info!(peer = %self.peer, "Closed a connection whose answer was not taken"),
        }
    }

    /// A peer that speaks something else is worth a line; one that went away is not.
    fn note_end(&self, error: &(dyn Error + 'static)) {
        let peer = self.peer;
        if peer_went_away(error) {
            tracing::debug!(%peer, error, "A connection ended");
        } else {
            tracing::info!(%peer, error, "Closed a connection");
        }
    }
}

/// Waits for the first bytes: enough to tell that it is HTTP/2, or that it is not.
async fn greeting(stream: &TcpStream) -> io::Result<()> {
    let mut begin = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut begin).await? {
            0 => return Err(io::ErrorKind::ConnectionReset.into()),
            seen if seen == PREFACE.len() || begin[..seen] != PREFACE[..seen] => return Ok(()),
            _ => sleep(GREETING_POLL).await,
        }
    }
}

fn peer_went_away(error: &(dyn Error + 'static)) -> bool {
    let cut = error.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_canceled() || error.is_closed() || error.is_incomplete_message() || error.is_timeout()
    });
    cut || error.is::<io::Error>() || error.source().is_some_and(peer_went_away)
}

/// Errors of `accept` that say nothing about the listener.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted
    )
}
