//! Servers of object stores that are not ours, over HTTP: `moto` for S3, and for the XML
//! interface of Google, which is that of S3; `Azurite` for Azure. They are had by
//! `tests/environment`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use super::{BucketRoot, Secret, Service, StorageRoot};

/// Python, when `ARTIFACTD_TEST_PYTHON` names no other one.
const PYTHON: &str = "python3";

/// Knows S3, and takes a token of Google, or none, for a signature of S3.
const MOTO: &str = "
import sys, threading, boto3
from moto.server import ThreadedMotoServer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
ask = DomainDispatcherApplication.__call__
signed = 'AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any'
def with_any_login(self, environ, start_response):
    if not environ.get('HTTP_AUTHORIZATION', '').startswith('AWS4'):
        environ['HTTP_AUTHORIZATION'] = signed
    return ask(self, environ, start_response)
DomainDispatcherApplication.__call__ = with_any_login
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f'http://127.0.0.1:{port}'
boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1', aws_access_key_id='test',
             aws_secret_access_key='test').create_bucket(Bucket='bucket')
print(endpoint, flush=True)
sys.stdin.read()
";

/// The account that everybody has of Azurite.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// What Google's library takes for a key, and asks nobody for a token then.
const NO_LOGIN: &str = r#"{"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": true}"#;

/// A server with one bucket, named `bucket`; it ends with the test.
pub(super) struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    pub(super) fn moto() -> Self {
        let python = std::env::var("ARTIFACTD_TEST_PYTHON").unwrap_or_else(|_| PYTHON.to_owned());
        Self::start(Command::new(python).args(["-c", MOTO]), "the package moto[server]", "").0
    }

    /// # Panics
    /// When `ARTIFACTD_TEST_AZURITE` names no folder of Node's modules that holds it.
    pub(super) fn azurite() -> Self {
        let modules = std::env::var("ARTIFACTD_TEST_AZURITE").expect("ARTIFACTD_TEST_AZURITE is set: use tests/run");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/azurite/azurite.mjs");
        let bucket = "{\"method\": \"PUT\", \"path\": \"/bucket?restype=container\"}\n";
        let (server, made) = Self::start(Command::new("node").args([script, &modules]), "azurite", bucket);
        assert!(made.contains("201"), "{made}");
        server
    }

    /// Starts one that says its endpoint, then what it answers to a line.
    fn start(command: &mut Command, needed: &str, asked: &str) -> (Self, String) {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let (mut endpoint, mut answer) = (String::new(), String::new());
        said.read_line(&mut endpoint).unwrap();
        assert!(
            endpoint.starts_with("http://"),
            "it did not start: the tests need {needed}"
        );
        if !asked.is_empty() {
            process.stdin.as_mut().unwrap().write_all(asked.as_bytes()).unwrap();
            said.read_line(&mut answer).unwrap();
        }
        let endpoint = endpoint.trim().to_owned();
        (Self { process, endpoint }, answer)
    }

    /// Its host and port.
    pub(super) fn address(&self) -> String {
        let rest = self.endpoint.trim_start_matches("http://");
        rest.split('/').next().unwrap_or(rest).to_owned()
    }

    pub(super) fn root(&self, service: Service, prefix: &str) -> StorageRoot {
        root_at(&self.endpoint, service, prefix)
    }
}

/// The bucket of a server, and a login to it.
pub(super) fn root_at(endpoint: &str, service: Service, prefix: &str) -> StorageRoot {
    let (id, secret) = match service {
        Service::S3 => (Some("test"), "test"),
        Service::Azure => (Some(ACCOUNT), ACCOUNT_KEY),
        Service::Google => (None, NO_LOGIN),
    };
    StorageRoot::Bucket(BucketRoot {
        service,
        bucket: "bucket".to_owned(),
        prefix: prefix.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        allow_http: true,
        access_key_id: id.map(str::to_owned),
        secret_access_key: Some(Secret::new(secret.to_owned())),
        is_trusted: true,
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
