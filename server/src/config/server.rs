//! The listener and its limits.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::HeaderValue;

use super::{
    parse::{self, Raw},
    settings::{Placed, Settings},
};

const DEFAULT_PORT: u16 = 50051;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
const CONNECTIONS_MAX: u64 = 1024;

/// The listener and its limits.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address of gRPC and all that shares its port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Whether an address that others can reach is served without TLS and keys.
    pub insecure: bool,
    /// How long calls may still run after the first signal to stop.
    pub drain_timeout: Duration,
    /// Connections at once; more are closed as they come.
    pub connections_max: usize,
    /// Web pages that may call over gRPC-Web.
    pub origins: Origins,
}

/// Origins of web pages that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every page.
    Any,
    /// These; none when empty.
    These(Vec<HeaderValue>),
}

impl Origins {
    /// Whether a page of this origin may call.
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::These(origins) => origins.contains(origin),
        }
    }
}

impl ServerConfig {
    pub(super) fn take(settings: &mut Settings) -> Self {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        let listen = settings.take_or("server.listen", default, parse::address);
        let insecure = settings.take_or("server.insecure", false, parse::boolean).value;
        refuse_open_door(settings, &listen, insecure);
        refuse_shared_ports(settings, &[("server.listen", &listen)]);
        let drain = parse::duration(DRAIN_TIMEOUT_MAX);
        let connections = parse::integer(1, 1_000_000);
        let no_origins = Origins::These(Vec::new());
        Self {
            listen: listen.value,
            insecure,
            drain_timeout: settings.take_or("server.drain_timeout", DRAIN_TIMEOUT, drain).value,
            connections_max: usize::try_from(
                settings
                    .take_or("server.max_connections", CONNECTIONS_MAX, connections)
                    .value,
            )
            .unwrap_or(usize::MAX),
            origins: settings.take_or("server.allowed_origins", no_origins, origins).value,
        }
    }
}

fn refuse_open_door(settings: &mut Settings, listen: &Placed<SocketAddr>, insecure: bool) {
    if !insecure && !listen.value.ip().is_loopback() {
        let message = format!(
            "{} can be reached by others, and there is no TLS and no login; \
             use a loopback address, or start with --insecure",
            listen.value
        );
        settings.refuse(&listen.place, message);
    }
}

/// Refuses two listeners on one port, also when one of them takes all addresses.
pub(super) fn refuse_shared_ports(settings: &mut Settings, listeners: &[(&str, &Placed<SocketAddr>)]) {
    for (index, (_, later)) in listeners.iter().enumerate() {
        for (name, earlier) in &listeners[..index] {
            if share_a_port(earlier.value, later.value) {
                settings.refuse(&later.place, format!("port {} is taken by {name}", later.value.port()));
            }
        }
    }
}

fn share_a_port(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

fn origins(raw: &Raw) -> Result<Origins, String> {
    let texts = parse::list(raw)?;
    if texts.iter().any(|text| text == "*") {
        return match texts.len() {
            1 => Ok(Origins::Any),
            _ => Err("`*` stands alone".to_owned()),
        };
    }
    texts
        .iter()
        .map(|text| origin(text))
        .collect::<Result<_, _>>()
        .map(Origins::These)
}

/// An origin as browsers send it: scheme, host and port, nothing more.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let refused = || format!("`{text}` is not an origin such as https://example.org");
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |host: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        !host.is_empty() && host.bytes().all(|byte| good(byte) && !byte.is_ascii_uppercase())
    };
    host.filter(|host| is_plain(host)).ok_or_else(refused)?;
    HeaderValue::from_str(text).map_err(|_| refused())
}
