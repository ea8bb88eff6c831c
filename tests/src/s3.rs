//! A real S3 server over HTTP (moto, from PyPI), and the few plain requests by
//! which tests look into a bucket and damage what lies there.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    guarded::{Guarded, Guarding},
    required_env,
    server::free_port,
};

/// The server asks who calls, and believes any signature.
const OWNER: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running S3 server. It takes any key and any secret.
#[derive(Debug)]
pub struct S3Server {
    port: u16,
    log: PathBuf,
    _guard: Guarded,
}

/// One bucket on it.
#[derive(Debug, Clone)]
pub struct Bucket {
    port: u16,
    log: PathBuf,
    /// Its name.
    pub name: String,
}

impl S3Server {
    /// The one that all tests of this binary share; each takes a bucket of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<S3Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up; the message holds its log.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("artifactd-s3-")
            .tempdir()
            .expect("make a folder")
            .keep();
        let log = folder.join("log");
        let port = free_port();
        let arguments = ["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        let python = required_env("ARTIFACTD_TEST_PYTHON");
        let guarding = Guarding {
            signal: "TERM",
            folder: Some(&folder),
            log: &log,
            user: None,
        };
        let guard = Guarded::start(Path::new(&python), &arguments, &guarding);
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "the S3 server did not start:\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
        Self {
            port,
            log,
            _guard: guard,
        }
    }

    /// Its address as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self) -> Bucket {
        self.create_bucket_with("")
    }

    /// Makes an empty bucket that may lock objects, and so keeps versions.
    pub fn create_locking_bucket(&self) -> Bucket {
        self.create_bucket_with("x-amz-bucket-object-lock-enabled: true\r\n")
    }

    fn create_bucket_with(&self, headers: &str) -> Bucket {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let bucket = Bucket {
            port: self.port,
            log: self.log.clone(),
            name: format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        };
        request_with(self.port, "PUT", &format!("/{}", bucket.name), headers, &[]);
        bucket
    }
}

impl Bucket {
    /// Names of everything in it.
    ///
    /// # Panics
    /// When it holds more than one page of a listing.
    pub fn list(&self) -> Vec<String> {
        let page = request(self.port, "GET", &format!("/{}?list-type=2", self.name), &[]);
        let page = String::from_utf8(page).expect("a listing is text");
        assert!(!page.contains("<IsTruncated>true"), "more objects than one page");
        page.split("<Key>")
            .skip(1)
            .filter_map(|rest| rest.split("</Key>").next())
            .map(str::to_owned)
            .collect()
    }

    /// Unfinished multipart uploads.
    pub fn unfinished_uploads(&self) -> usize {
        let page = request(self.port, "GET", &format!("/{}?uploads", self.name), &[]);
        String::from_utf8_lossy(&page).matches("<UploadId>").count()
    }

    /// How often objects were read, by the server's own log.
    pub fn reads(&self) -> usize {
        let log = std::fs::read_to_string(&self.log).expect("read the S3 server's log");
        let reads = log
            .lines()
            .filter(|line| line.contains(&format!("GET /{}/", self.name)));
        // The note of an epoch is no object.
        reads.filter(|line| !line.contains("/epoch ")).count()
    }

    /// Lets the bucket keep versions of what is removed.
    pub fn keep_versions(&self) {
        let body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        request(self.port, "PUT", &format!("/{}?versioning", self.name), body);
    }

    /// Lets the bucket, which may, lock for a day what is written to it from now on.
    pub fn lock_all(&self) {
        let body = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
            <Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        request(self.port, "PUT", &format!("/{}?object-lock", self.name), body);
    }

    /// How many versions it has of all its objects, and markers of removed ones.
    pub fn versions(&self) -> usize {
        let page = request(self.port, "GET", &format!("/{}?versions", self.name), &[]);
        String::from_utf8_lossy(&page).matches("<VersionId>").count()
    }

    /// The bytes of one object.
    pub fn read(&self, name: &str) -> Vec<u8> {
        request(self.port, "GET", &format!("/{}/{name}", self.name), &[])
    }

    /// Puts other bytes under a name.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        request(self.port, "PUT", &format!("/{}/{name}", self.name), bytes);
    }

    /// Replaces a part of the only unfinished multipart upload, as who writes to it does.
    ///
    /// # Panics
    /// When there is none.
    pub fn overwrite_part(&self, number: usize, bytes: &[u8]) {
        let (key, id) = self.unfinished_upload();
        let target = format!("/{}/{key}?partNumber={number}&uploadId={id}", self.name);
        request(self.port, "PUT", &target, bytes);
    }

    /// Ends the only unfinished multipart upload, as a rule of a bucket does after some days.
    ///
    /// # Panics
    /// When there is none.
    pub fn forget_upload(&self) {
        let (key, id) = self.unfinished_upload();
        let target = format!("/{}/{key}?uploadId={id}", self.name);
        request(self.port, "DELETE", &target, &[]);
    }

    /// Its key and its id.
    fn unfinished_upload(&self) -> (String, String) {
        let page = request(self.port, "GET", &format!("/{}?uploads", self.name), &[]);
        let page = String::from_utf8(page).expect("a listing is text");
        let text = |name: &str| {
            let rest = page.split(&format!("<{name}>")).nth(1).expect("an unfinished upload");
            rest.split('<').next().expect("a text").to_owned()
        };
        (text("Key"), text("UploadId"))
    }

    /// Begins a multipart upload that nobody finishes.
    pub fn begin_upload(&self, name: &str) {
        request(self.port, "POST", &format!("/{}/{name}?uploads", self.name), &[]);
    }

    /// Removes one object.
    pub fn remove(&self, name: &str) {
        request(self.port, "DELETE", &format!("/{}/{name}", self.name), &[]);
    }
}

/// Sends one request and answers the body.
fn request(port: u16, method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    request_with(port, method, target, "", body)
}

/// The same with other headers, which end their lines. HTTP/1.0 keeps it free of chunked bodies.
fn request_with(port: u16, method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("reach the S3 server");
    let head = format!(
        "{method} {target} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: {OWNER}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("send the head");
    stream.write_all(body).expect("send the body");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read the answer");
    let head_end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("an HTTP answer");
    let head = String::from_utf8_lossy(&answer[..head_end]).into_owned();
    assert!(
        head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')),
        "{method} {target}: {head}"
    );
    answer.split_off(head_end + 4)
}
