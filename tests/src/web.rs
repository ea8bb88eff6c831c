//! A host of files over HTTP, as small as one can be: whole files and ranges of them.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What the host has, and what it was asked.
#[derive(Debug, Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    /// Where a path leads instead.
    redirects: Mutex<HashMap<String, String>>,
    asked: Mutex<Vec<String>>,
}

/// A host of files on a port of this machine, until the process ends.
#[derive(Debug, Clone)]
pub struct FileHost {
    port: u16,
    shared: Arc<Shared>,
}

impl FileHost {
    /// Starts one without files.
    ///
    /// # Panics
    /// When it gets no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let host = Self {
            port,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || while answer(&stream, &shared).is_some() {});
            }
        });
        host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a file under a path such as `/sets/a.csv`.
    ///
    /// # Panics
    /// When a thread that served has panicked.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut files = self.shared.files.lock().expect("no thread panics");
        files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Leads a path somewhere else.
    ///
    /// # Panics
    /// When a thread that served has panicked.
    pub fn redirect(&self, path: &str, to: &str) {
        let mut redirects = self.shared.redirects.lock().expect("no thread panics");
        redirects.insert(path.to_owned(), to.to_owned());
    }

    /// The methods and paths that it was asked for.
    ///
    /// # Panics
    /// When a thread that served has panicked.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("no thread panics").clone()
    }
}

/// Answers one request; `None` when there is no more.
fn answer(mut stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut range = None;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(bytes) = header.strip_prefix("range: bytes=") {
            let (from, to) = bytes.split_once('-')?;
            range = Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()));
        }
    }
    shared.asked.lock().ok()?.push(format!("{method} {path}"));
    if let Some(to) = shared.redirects.lock().ok()?.get(&path) {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        return stream.write_all(head.as_bytes()).ok();
    }
    let file = shared.files.lock().ok()?.get(&path).cloned();
    let Some(file) = file else {
        return stream
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            .ok();
    };
    let tag = file
        .iter()
        .fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
    let (from, to) = match range {
        Some((from, to)) => (from, to.map_or(file.len(), |to| file.len().min(to + 1))),
        None => (0, file.len()),
    };
    let (status, part) = match range {
        Some(_) => (
            "206 Partial Content",
            format!("content-range: bytes {from}-{}/{}\r\n", to.max(1) - 1, file.len()),
        ),
        None => ("200 OK", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\netag: \"{tag:x}\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n{part}\
         content-length: {}\r\n\r\n",
        to - from
    );
    stream.write_all(head.as_bytes()).ok()?;
    if method == "GET" {
        stream.write_all(&file[from..to]).ok()?;
    }
    Some(())
}
