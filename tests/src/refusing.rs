//! A host before the S3 server that answers some requests itself, as services do that refuse
//! them, and lets all others through.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::s3::S3Server;

/// What the host answers itself: requests with a method and some words in their target.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The method.
    pub method: &'static str,
    /// Words of the target; any will do when empty.
    pub target: &'static str,
    /// The status and its phrase.
    pub status: &'static str,
    /// The body; `{key}` is the first key in that of the request.
    pub body: &'static str,
}

/// The host, on a port of this machine, until the process ends.
#[derive(Debug, Clone)]
pub struct RefusingHost {
    port: u16,
    refusals: Arc<Mutex<Vec<Refusal>>>,
}

impl RefusingHost {
    /// Starts one that refuses nothing, before the server that all tests share.
    ///
    /// # Panics
    /// When it gets no port.
    pub fn start() -> Self {
        let upstream = S3Server::shared().endpoint();
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let host = Self {
            port: listener.local_addr().expect("an address").port(),
            refusals: Arc::default(),
        };
        let refusals = Arc::clone(&host.refusals);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (refusals, upstream) = (Arc::clone(&refusals), upstream.clone());
                // Whoever hangs up half-way has no answer to get.
                thread::spawn(move || drop(answer(&stream, &refusals, &upstream)));
            }
        });
        host
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Refuses this from now on, and nothing else.
    ///
    /// # Panics
    /// When a thread that served has panicked.
    pub fn refuse(&self, refusals: Vec<Refusal>) {
        *self.refusals.lock().expect("no thread panics") = refusals;
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: &TcpStream, refusals: &Mutex<Vec<Refusal>>, upstream: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap_or_default();
        }
        if line.trim().is_empty() {
            break;
        }
        // The server shall close the line after its answer, so that it is known to be whole.
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let refusals = refusals.lock().expect("no thread panics").clone();
    let refusal = refusals
        .iter()
        .find(|refusal| refusal.method == method && target.contains(refusal.target));
    if let Some(Refusal { status, body: said, .. }) = refusal {
        let asked = String::from_utf8_lossy(&body);
        let key = asked.split("<Key>").nth(1).and_then(|rest| rest.split('<').next());
        let body = said.replace("{key}", key.unwrap_or_default());
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
        return write!(
            stream,
            "{head}content-type: application/xml\r\nconnection: close\r\n\r\n{body}"
        );
    }
    let mut server = TcpStream::connect(upstream)?;
    write!(server, "{head}connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut stream)?;
    Ok(())
}
