//! How a client connects.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderValue, Uri};
use tokio::sync::Semaphore;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::transport::{Channel, Endpoint};

use crate::{
    Client, Error, Result, cache,
    client::Inner,
    line::{Headers, SPACE},
    memory,
    retry::Retry,
};

const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// A chunk of 1 MiB then comes in 4 frames instead of 64.
const FRAME_BYTES_MAX: u32 = 256 * 1024;

/// Content streams that one client keeps open at once; more wait here instead of
/// at the server.
const CONTENT_STREAMS_MAX: usize = 8;

/// How a client connects. Made by [`Client::builder`].
///
/// ```no_run
/// # async fn connect() -> Result<(), artifactd_client::Error> {
/// use std::time::Duration;
///
/// use artifactd_client::Client;
///
/// let client = Client::builder("https://artifacts.example.org")
///     .ca_certificate(std::fs::read("ca.pem").expect("the CA is installed"))
///     .token("a key of yours")
///     .space("cells")
///     .call_timeout(Duration::from_secs(20))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    endpoint: String,
    token: Option<Token>,
    tokens_anywhere: bool,
    space: Option<String>,
    user_agent: Option<String>,
    connect_timeout: Duration,
    call_timeout: Duration,
    idle_timeout: Duration,
    tries_max: u32,
    content_streams_max: usize,
    connections: usize,
    cache: cache::Settings,
    #[cfg(feature = "tls")]
    tls: Tls,
}

/// A secret that is never printed.
#[derive(Clone)]
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Whom to trust, and how to prove who one is.
#[cfg(feature = "tls")]
#[derive(Debug, Clone, Default)]
struct Tls {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
    server_name: Option<String>,
}

impl Builder {
    pub(crate) fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            token: None,
            tokens_anywhere: false,
            space: None,
            user_agent: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            tries_max: 5,
            content_streams_max: CONTENT_STREAMS_MAX,
            connections: 1,
            cache: cache::Settings::default(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
        }
    }

    /// The key with which all calls are made, as `authorization: Bearer`. It leaves this
    /// machine over TLS only.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token(token.into()));
        self
    }

    /// Lets the key travel without TLS to any server, where the line is safe by other means.
    pub fn allow_token_without_tls(mut self) -> Self {
        self.tokens_anywhere = true;
        self
    }

    /// The space in which all calls work; the caller's home space unless set.
    pub fn space(mut self, space: impl Into<String>) -> Self {
        self.space = Some(space.into());
        self
    }

    /// What program calls; it comes before the name of this crate in the server's log.
    pub fn user_agent(mut self, program: impl Into<String>) -> Self {
        self.user_agent = Some(program.into());
        self
    }

    /// Trusts servers whose certificate comes from this authority (PEM), and no longer those
    /// that the system trusts. May be called for several.
    #[cfg(feature = "tls")]
    pub fn ca_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.tls.authorities.push(Certificate::from_pem(pem));
        self
    }

    /// Proves who this client is, to a server that asks: a certificate with its chain, and
    /// its private key, both PEM.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.tls.identity = Some(Identity::from_pem(certificate, key));
        self
    }

    /// The name that the server's certificate must have; the host of the endpoint unless set.
    #[cfg(feature = "tls")]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.tls.server_name = Some(name.into());
        self
    }

    /// How long a connection may take to be made; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call without content may take with all its tries; 60 s unless set.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// How long a download waits for its next bytes, and a request until it sets out, before
    /// it counts as cut; 60 s unless set.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How often a call is tried; 5 times unless set. 1 means never again.
    pub fn tries_max(mut self, tries: u32) -> Self {
        self.tries_max = tries;
        self
    }

    /// How many contents travel at once; 8 unless set.
    pub fn content_streams_max(mut self, streams: usize) -> Self {
        self.content_streams_max = streams.max(1);
        self
    }

    /// Connections over which the parts of an upload travel; 1 unless set. More help where
    /// one cannot fill the line, as over a long one that loses packets.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Where [`Client::cache`] keeps copies; `artifactd-client` among the user's caches unless
    /// set. Clients of any servers share it, also those of other programs.
    pub fn cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache.folder = Some(folder.into());
        self
    }

    /// Bytes that copies may take together; 20 GiB unless set. Only what is in use may take more.
    pub fn cache_bytes_max(mut self, bytes: u64) -> Self {
        self.cache.bytes_max = bytes;
        self
    }

    /// Connects with the first call, so that a client can be had without its server, for
    /// copies that are here ([`CacheOptions::offline`](crate::CacheOptions::offline)).
    pub fn connect_lazy(self) -> Result<Client> {
        let endpoint = self.endpoint()?;
        let channel = endpoint.connect_lazy();
        self.client(channel, &endpoint)
    }

    /// Connects. `Transport` when there is no server, `Input` when a setting cannot be.
    pub async fn connect(self) -> Result<Client> {
        let endpoint = self.endpoint()?;
        let channel = endpoint.connect().await?;
        self.client(channel, &endpoint)
    }

    fn client(self, channel: Channel, endpoint: &Endpoint) -> Result<Client> {
        let headers = self.headers()?;
        memory::keep_buffers();
        let inner = Inner {
            endpoint: self.endpoint,
            channel,
            more_channels: (1..self.connections).map(|_| endpoint.connect_lazy()).collect(),
            call_timeout: self.call_timeout,
            idle_timeout: self.idle_timeout,
            cache: self.cache,
            retry: Retry::new(self.tries_max),
            content_turns: Semaphore::new(self.content_streams_max),
        };
        Ok(Client::new(Arc::new(inner), headers))
    }

    fn endpoint(&self) -> Result<Endpoint> {
        let refused = |why: &dyn std::fmt::Display| Error::Input(format!("`{}` is no endpoint: {why}", self.endpoint));
        let uri: Uri = self.endpoint.parse().map_err(|error| refused(&error))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused(&"it begins with neither `http://` nor `https://`")),
        };
        let host = uri.host().ok_or_else(|| refused(&"it names no host"))?;
        if self.token.is_some() && !is_tls && !self.tokens_anywhere && !is_loopback(host) {
            return Err(Error::Input(format!(
                "the token would travel to {host} in the clear: use https, or allow it"
            )));
        }
        let agent = match &self.user_agent {
            Some(program) => format!("{program} {AGENT}"),
            None => AGENT.to_owned(),
        };
        let endpoint = Endpoint::from_shared(self.endpoint.clone())
            .map_err(|error| refused(&error))?
            .user_agent(agent)
            .map_err(|error| refused(&error))?
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        if is_tls { self.with_tls(endpoint) } else { Ok(endpoint) }
    }

    #[cfg(feature = "tls")]
    fn with_tls(&self, endpoint: Endpoint) -> Result<Endpoint> {
        let Tls {
            authorities,
            identity,
            server_name,
        } = self.tls.clone();
        let mut tls = ClientTlsConfig::new().timeout(self.connect_timeout);
        tls = match authorities.is_empty() {
            true => tls.with_native_roots(),
            false => tls.ca_certificates(authorities),
        };
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        if let Some(name) = server_name {
            tls = tls.domain_name(name);
        }
        let refused = |error| Error::Input(format!("the certificates cannot be used: {}", chain(&error)));
        endpoint.tls_config(tls).map_err(refused)
    }

    #[cfg(not(feature = "tls"))]
    fn with_tls(&self, _: Endpoint) -> Result<Endpoint> {
        Err(Error::Input("this client was built without TLS".to_owned()))
    }

    fn headers(&self) -> Result<Headers> {
        let mut headers = Headers::default();
        if let Some(Token(token)) = &self.token {
            // What is wrong with it is not said, as it would be printed.
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Error::Input("the token has characters that no token has".to_owned()))?;
            value.set_sensitive(true);
            headers.set(http::header::AUTHORIZATION, value);
        }
        if let Some(space) = &self.space {
            headers.set(SPACE, visible(space, "space")?);
        }
        Ok(headers)
    }
}

const AGENT: &str = concat!("artifactd-client/", env!("CARGO_PKG_VERSION"));

/// A name that travels in the head of calls.
pub(crate) fn visible(text: &str, what: &str) -> Result<HeaderValue> {
    let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(text).ok().filter(|_| is_visible);
    value.ok_or_else(|| Error::Input(format!("`{text}` is no name of a {what}")))
}

/// Whether all that is sent there stays on this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with all that caused it.
#[cfg(feature = "tls")]
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(builder: Builder) -> String {
        builder
            .endpoint()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_token_leaves_this_machine_over_tls_only() {
        let with_token = |endpoint: &str| Client::builder(endpoint).token("secret");
        for endpoint in [
            "http://10.0.0.1:50051",
            "http://example.org",
            "http://127.0.0.1.example.org",
        ] {
            assert!(refusal(with_token(endpoint)).contains("in the clear"), "{endpoint}");
            assert_eq!(refusal(with_token(endpoint).allow_token_without_tls()), "");
            assert_eq!(refusal(Client::builder(endpoint)), "");
        }
        for endpoint in [
            "http://127.0.0.1:50051",
            "http://localhost:1",
            "http://[::1]:1",
            "http://127.9.9.9",
        ] {
            assert_eq!(refusal(with_token(endpoint)), "", "{endpoint}");
        }
        #[cfg(feature = "tls")]
        assert_eq!(refusal(with_token("https://example.org")), "");
    }

    #[test]
    fn a_token_is_never_printed() {
        let builder = Client::builder("http://localhost").token("hunter2");
        assert!(!format!("{builder:?} {:?}", builder.headers()).contains("hunter2"));
        let odd = Client::builder("http://localhost").token("hunter2\n").headers();
        assert!(!format!("{odd:?}").contains("hunter2"));
    }

    #[test]
    fn endpoints_and_names_that_cannot_be_are_refused() {
        for endpoint in ["", "localhost:50051", "ftp://x", "http://", "http://a b"] {
            assert!(refusal(Client::builder(endpoint)).contains("no endpoint"), "{endpoint}");
        }
        for space in ["", "a b", "ä", "a\r\nb"] {
            assert!(Client::builder("http://x").space(space).headers().is_err(), "{space:?}");
        }
    }
}
