//! A bad line: a proxy before a service that cuts, stalls or swallows what passes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

const PIECE_BYTES: usize = 16 << 10;

/// How PostgreSQL is asked to commit.
const COMMIT: &[u8] = b"COMMIT";

/// What the line does with what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Lets it through.
    Open,
    /// Keeps it until the line is open again.
    Stalled,
    /// Takes it, and it never arrives. A connection that was open meanwhile never
    /// recovers, and nobody is told.
    BlackHole,
    /// Cuts a connection when a commit was done, before anybody hears of it.
    CutsCommits,
}

/// What cuts one connection, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// A client has sent this: the service gets it, and its answer is cut.
    Said(&'static [u8]),
    /// Clients have sent as many bytes.
    Sent(u64),
}

#[derive(Debug, Clone, Copy)]
struct State {
    line: Line,
    /// Connections of an earlier one are closed.
    cuts: u64,
    /// Connections of an earlier one are dead.
    holes: u64,
}

/// A proxy before one service. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    upstream: SocketAddr,
    state: watch::Sender<State>,
    sent_bytes: Arc<AtomicU64>,
    received_bytes: Arc<AtomicU64>,
    trap: Arc<Mutex<Option<Trap>>>,
    connections: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts one, open.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a port");
        let address = listener.local_addr().expect("a bound port");
        let (state, watched) = watch::channel(State {
            line: Line::Open,
            cuts: 0,
            holes: 0,
        });
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let received_bytes = Arc::new(AtomicU64::new(0));
        let trap = Arc::default();
        let watcher = Watcher {
            sent_bytes: Arc::clone(&sent_bytes),
            received_bytes: Arc::clone(&received_bytes),
            trap: Arc::clone(&trap),
        };
        let connections = Arc::new(AtomicU64::new(0));
        let accepted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connect(client, upstream, watched.clone(), watcher.clone()));
            }
        });
        Self {
            address,
            upstream,
            state,
            sent_bytes,
            received_bytes,
            trap,
            connections,
            accepting,
        }
    }

    /// Sets a trap, which cuts the connection that meets it and is gone then.
    pub fn set_trap(&self, trap: Trap) {
        *lock(&self.trap) = Some(trap);
    }

    /// Whether no trap waits.
    pub fn is_sprung(&self) -> bool {
        lock(&self.trap).is_none()
    }

    /// The URL of the service, as it is reached through the proxy.
    pub fn through(&self, url: &str) -> String {
        let proxied = url.replace(&self.upstream.to_string(), &self.address.to_string());
        assert_ne!(proxied, url, "the URL does not name the service");
        proxied
    }

    /// Bytes that clients have sent so far, also those that did not arrive.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that the service has answered so far, also those that did not arrive.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Changes what the line does.
    pub fn set(&self, line: Line) {
        self.state.send_modify(|state| {
            state.line = line;
            state.holes += u64::from(line == Line::BlackHole);
        });
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

fn lock(trap: &Mutex<Option<Trap>>) -> std::sync::MutexGuard<'_, Option<Trap>> {
    trap.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts what passes, and looks for what springs the trap.
#[derive(Debug, Clone)]
struct Watcher {
    sent_bytes: Arc<AtomicU64>,
    received_bytes: Arc<AtomicU64>,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Watcher {
    /// Counts a piece; answers the trap that it springs.
    fn pass(&self, piece: &[u8]) -> Option<Trap> {
        let sent = self.sent_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
        let has = |said: &[u8]| piece.windows(said.len()).any(|bytes| bytes == said);
        lock(&self.trap).take_if(|trap| match *trap {
            Trap::Said(said) => has(said),
            Trap::Sent(bytes) => sent >= bytes,
        })
    }
}

async fn connect(client: TcpStream, upstream: SocketAddr, state: watch::Receiver<State>, watcher: Watcher) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (cuts, holes) = (state.borrow().cuts, state.borrow().holes);
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = state.clone();
    let (asked, cutting) = watch::channel(Cutting::Nothing);
    let received_bytes = Arc::clone(&watcher.received_bytes);
    let up = pump(from_client, to_server, state.clone(), holes, Side::Asks(asked, watcher));
    let down = pump(
        from_server,
        to_client,
        state,
        holes,
        Side::Answers(cutting, received_bytes),
    );
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Which answers are to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cutting {
    Nothing,
    /// The next one, while the line cuts commits.
    Commits,
    /// The next one.
    Answers,
}

/// Which way bytes go; one side tells the other what is to be cut.
enum Side {
    Asks(watch::Sender<Cutting>, Watcher),
    Answers(watch::Receiver<Cutting>, Arc<AtomicU64>),
}

/// Passes bytes on until one side ends.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    holes: u64,
    side: Side,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        match &side {
            Side::Asks(asked, watcher) => match watcher.pass(&piece[..read]) {
                Some(Trap::Said(_)) => {
                    asked.send_replace(Cutting::Answers);
                }
                Some(Trap::Sent(_)) => return,
                None => {}
            },
            Side::Answers(_, received_bytes) => {
                received_bytes.fetch_add(read as u64, Ordering::Relaxed);
            }
        }
        let Ok(now) = state
            .wait_for(|state| state.line != Line::Stalled)
            .await
            .map(|now| *now)
        else {
            return;
        };
        if now.line == Line::BlackHole || now.holes != holes {
            continue;
        }
        match &side {
            Side::Asks(asked, _) if now.line == Line::CutsCommits => {
                if piece[..read].windows(COMMIT.len()).any(|bytes| bytes == COMMIT) {
                    asked.send_replace(Cutting::Commits);
                }
            }
            Side::Asks(..) => {}
            Side::Answers(cutting, _) => match *cutting.borrow() {
                Cutting::Answers => return,
                Cutting::Commits if now.line == Line::CutsCommits => return,
                Cutting::Commits | Cutting::Nothing => {}
            },
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    // A dead line does not tell the end of a connection either.
    let now = *state.borrow();
    if now.line == Line::BlackHole || now.holes != holes {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
}
