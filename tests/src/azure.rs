//! A real Azure Blob Storage over HTTP (Azurite, from npm), and the few plain requests by
//! which tests look into a container and change what lies there.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};

use crate::required_env;

/// The account that everybody has of it.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite. It ends when this binary does, as nobody asks it any more.
#[derive(Debug)]
pub struct Azurite {
    endpoint: String,
    line: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _process: Child,
}

/// One container on it.
#[derive(Debug)]
pub struct Container {
    server: &'static Azurite,
    /// Its name.
    pub name: String,
}

impl Azurite {
    /// The one that all tests of this binary share; each takes a container of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("azurite/azurite.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(required_env("ARTIFACTD_TEST_AZURITE"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let asked = child.stdin.take().expect("it is piped");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut endpoint = String::new();
        said.read_line(&mut endpoint).expect("it says its endpoint");
        assert!(endpoint.starts_with("http://"), "Azurite did not start");
        Self {
            endpoint: endpoint.trim().to_owned(),
            line: Mutex::new((asked, said)),
            _process: child,
        }
    }

    /// Its address with its account, as a URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes an empty container.
    pub fn create_container(&'static self) -> Container {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("container-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.ask(json!({ "method": "PUT", "path": format!("/{name}?restype=container") }));
        Container { server: self, name }
    }

    /// Sends one request, and answers the body.
    fn ask(&self, request: Value) -> String {
        let mut line = self.line.lock().expect("nobody panics");
        let (asked, said) = &mut *line;
        writeln!(asked, "{request}").expect("it takes requests");
        let mut answer = String::new();
        said.read_line(&mut answer).expect("it answers");
        let answer: Value = serde_json::from_str(&answer).expect("it answers with JSON");
        let status = answer["status"].as_u64().expect("a status is a number");
        assert!((200..300).contains(&status), "{request}: {answer}");
        answer["body"].as_str().expect("a body is text").to_owned()
    }
}

impl Container {
    /// What makes a server keep its bytes here.
    pub fn settings(&self) -> [(&'static str, String); 5] {
        [
            ("ARTIFACTD_STORAGE__URL", format!("az://{}/store", self.name)),
            ("ARTIFACTD_STORAGE__ENDPOINT", self.server.endpoint.clone()),
            ("ARTIFACTD_STORAGE__ALLOW_HTTP", "true".to_owned()),
            ("ARTIFACTD_STORAGE__ACCESS_KEY_ID", ACCOUNT.to_owned()),
            ("ARTIFACTD_STORAGE__SECRET_ACCESS_KEY", ACCOUNT_KEY.to_owned()),
        ]
    }

    /// Names of everything in it, blocks that are of no blob yet too.
    pub fn list(&self) -> Vec<String> {
        let path = format!("/{}?restype=container&comp=list&include=uncommittedblobs", self.name);
        let page = self.server.ask(json!({ "method": "GET", "path": path }));
        let names = page.split("<Name>").skip(1);
        names
            .filter_map(|rest| rest.split("</Name>").next())
            .map(str::to_owned)
            .collect()
    }

    /// Puts a text under a name.
    pub fn overwrite(&self, name: &str, text: &str) {
        let headers = json!({ "x-ms-blob-type": "BlockBlob" });
        let path = format!("/{}/{name}", self.name);
        let request = json!({ "method": "PUT", "path": path, "headers": headers, "body": text });
        self.server.ask(request);
    }
}
