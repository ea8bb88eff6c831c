//! Where storages may be registered: the operator's list.
//!
//! Nothing may be that the list does not name. A folder stands for all below it; a URL for
//! its host, and for what begins as its path does; `https://*` for every host of the
//! public internet. Whoever is reached by a name is checked again when the connection is
//! made, by its address, so that a name cannot be given another address in between.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use artifactd_domain::is_public;
use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector},
};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};

use super::Service;

/// Where storages may be registered.
#[derive(Debug, Clone, Default)]
pub struct AllowedRoots(Arc<Vec<Allowed>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    /// A folder and all below it.
    Folder(PathBuf),
    /// A bucket of a service, or all of them, and what its keys begin with.
    Bucket {
        service: Service,
        name: Option<String>,
        prefix: String,
    },
    /// One origin, and what its paths begin with.
    Origin { origin: String, path: String },
    /// Every public host behind TLS, or also without.
    Public { scheme: &'static str },
}

/// What a list says of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It may be used, whatever its address is.
    Named,
    /// It may be used when its address is public.
    Public,
}

impl AllowedRoots {
    /// Reads a list.
    pub fn new(texts: &[String]) -> Result<Self, String> {
        let allowed = texts.iter().map(|text| allowed(text));
        Ok(Self(Arc::new(allowed.collect::<Result<_, _>>()?)))
    }

    /// Whether a folder, free of symbolic links, may be a storage.
    pub fn allows_folder(&self, folder: &Path) -> bool {
        let is_in = |allowed: &Allowed| matches!(allowed, Allowed::Folder(root) if folder.starts_with(root));
        self.0.iter().any(is_in)
    }

    /// Whether a bucket, or a prefix in it, may be a storage.
    pub fn allows_bucket(&self, service: Service, bucket: &str, prefix: &str) -> bool {
        self.0.iter().any(|allowed| match allowed {
            Allowed::Bucket {
                service: of,
                name,
                prefix: below,
            } => *of == service && name.as_ref().is_none_or(|name| name == bucket) && is_below(prefix, below),
            _ => false,
        })
    }

    /// Whether a URL may be a storage, or the endpoint of one.
    pub fn allows_url(&self, url: &Url) -> Option<Reach> {
        let origin = url.origin().ascii_serialization();
        let path = url.path().trim_matches('/');
        let named = |allowed: &Allowed| match allowed {
            Allowed::Origin {
                origin: of,
                path: below,
            } => *of == origin && is_below(path, below),
            _ => false,
        };
        if self.0.iter().any(named) {
            return Some(Reach::Named);
        }
        let scheme = url.scheme();
        let public = |allowed: &Allowed| matches!(allowed, Allowed::Public { scheme: of } if *of == scheme);
        let may_be_public = address_in(url).is_none_or(is_public);
        (self.0.iter().any(public) && may_be_public).then_some(Reach::Public)
    }
}

/// Whether a path is another one or lies below it.
fn is_below(path: &str, below: &str) -> bool {
    let rest = path.strip_prefix(below);
    rest.is_some_and(|rest| below.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

/// The address that a URL has in place of a name.
fn address_in(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn allowed(text: &str) -> Result<Allowed, String> {
    if text == "https://*" || text == "http://*" {
        let scheme = if text.starts_with("https") { "https" } else { "http" };
        return Ok(Allowed::Public { scheme });
    }
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    if let Some(service) = Service::of_scheme(scheme) {
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/').to_owned();
        let name = match name {
            "" => return Err(format!("`{text}` names no bucket; `{scheme}://*` stands for all")),
            "*" => None,
            name => Some(name.to_owned()),
        };
        return Ok(Allowed::Bucket { service, name, prefix });
    }
    match text.split_once("://") {
        Some(("http" | "https", _)) => {
            let url = parsed_url(text)?;
            Ok(Allowed::Origin {
                origin: url.origin().ascii_serialization(),
                path: url.path().trim_matches('/').to_owned(),
            })
        }
        Some(_) => Err(format!(
            "`{text}` is neither a folder nor an s3, az, gs, http or https URL"
        )),
        None => {
            let folder = Path::new(text);
            if !folder.is_absolute() {
                return Err(format!("`{text}` is no absolute path"));
            }
            // As the folders are that it is held against.
            let folder = folder.canonicalize().map_err(|error| format!("`{text}`: {error}"))?;
            Ok(Allowed::Folder(folder))
        }
    }
}

/// A URL of a root, without anything that is not one.
pub(crate) fn parsed_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials, which a URL must not".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment, which no root has".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("has no host".to_owned());
    }
    Ok(url)
}

/// Connects to what a list allows, and to nothing that a name or an answer leads to instead.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardedConnector(pub(super) Reach);

impl HttpConnector for GuardedConnector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .dns_resolver(Arc::new(Resolver(self.0)))
            .build();
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "http",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(client))
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Finds addresses of names, and only those to which a connection may go.
struct Resolver(Reach);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let may = |address: &SocketAddr| reach == Reach::Named || is_public(address.ip());
            let addresses: Vec<SocketAddr> = found.filter(may).collect();
            if addresses.is_empty() {
                return Err(format!("{} has no address of the public internet", name.as_str()).into());
            }
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> AllowedRoots {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        AllowedRoots::new(&texts).unwrap()
    }

    fn reach(list: &AllowedRoots, url: &str) -> Option<Reach> {
        list.allows_url(&parsed_url(url).unwrap())
    }

    #[test]
    fn what_is_not_listed_is_not_allowed() {
        let none = AllowedRoots::default();
        assert!(!none.allows_folder(Path::new("/data")));
        assert!(!none.allows_bucket(Service::S3, "b", ""));
        assert_eq!(reach(&none, "https://example.org/"), None);
        let some = list(&["s3://lab/raw", "az://*", "https://example.org/sets", "/"]);
        let s3 = |bucket, prefix| some.allows_bucket(Service::S3, bucket, prefix);
        assert!(s3("lab", "raw/2026") && s3("lab", "raw"));
        assert!(!s3("lab", "rawer") && !s3("lab", ""));
        assert!(!s3("other", "raw"));
        // Buckets of one name are others with others.
        assert!(some.allows_bucket(Service::Azure, "other", "raw"));
        assert!(!some.allows_bucket(Service::Google, "lab", "raw"));
        assert_eq!(reach(&some, "https://example.org/sets/a"), Some(Reach::Named));
        for other in [
            "https://example.org/setsuna",
            "https://example.org/",
            "http://example.org/sets",
            "https://example.org:8443/sets",
            "https://sets.example.org/sets",
        ] {
            assert_eq!(reach(&some, other), None, "{other}");
        }
        assert!(some.allows_folder(Path::new("/anything")));
    }

    #[test]
    fn a_host_that_is_near_has_to_be_named() {
        let public = list(&["https://*", "http://*"]);
        assert_eq!(reach(&public, "https://example.org/a"), Some(Reach::Public));
        for near in [
            "http://169.254.169.254/latest",
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://10.0.0.5:9000/",
        ] {
            assert_eq!(reach(&public, near), None, "{near}");
        }
        let named = list(&["http://127.0.0.1:9000"]);
        assert_eq!(reach(&named, "http://127.1:9000/bucket"), Some(Reach::Named));
        assert_eq!(reach(&named, "http://127.0.0.1:9001/"), None);
    }

    #[tokio::test]
    async fn a_name_that_leads_near_is_not_followed() {
        let resolve = |reach| Resolver(reach).resolve("localhost".parse().unwrap());
        assert!(resolve(Reach::Public).await.is_err());
        assert!(resolve(Reach::Named).await.unwrap().count() > 0);
    }

    #[test]
    fn urls_hold_nothing_but_a_place() {
        for (url, why) in [
            ("https://user:secret@example.org/", "holds credentials"),
            ("https://user@example.org/", "holds credentials"),
            ("https://example.org/?token=secret", "has a query"),
            ("https://example.org/#secret", "has a query or a fragment"),
            ("https://", "is no URL"),
        ] {
            let refused = parsed_url(url).unwrap_err();
            assert!(refused.contains(why), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        for text in [
            "ftp://example.org",
            "data",
            "s3://",
            "gs:///a",
            "https://a:b@example.org",
        ] {
            assert!(AllowedRoots::new(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
