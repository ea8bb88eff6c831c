//! What may be a root: what the operator's list names, and nothing that is somebody else's.

use std::path::{Path, PathBuf};

use artifactd_domain::StorageName;

use super::{NewStorage, Root};
use crate::{
    registry::{Places, RegistryError, Result},
    storage::{AllowedRoots, BucketRoot, Reach, Service, StorageRoot, parsed_url},
};

const FIELD: &str = "root";

/// Where the kernel shows what are no files of anybody.
const NO_DISKS: [&str; 3] = ["/dev", "/proc", "/sys"];

const DEFAULT_REGION: &str = "us-east-1";

/// Where storages may be registered, and what the configuration says of the default one.
#[derive(Debug, Clone, Default)]
pub struct StorageRoots {
    /// The operator's list.
    pub allowed: AllowedRoots,
    /// Root of the default storage: a bucket at its endpoint has its keys.
    pub default: Option<StorageRoot>,
    /// Folder of the database, where it is a file.
    pub database: Option<PathBuf>,
}

/// The root that a text names, when it may be one.
pub(super) fn root_of(new: &NewStorage, allowed: &AllowedRoots, default: Option<&StorageRoot>) -> Result<Root> {
    let text = new.root.as_str();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if let Some(service) = Service::of_scheme(scheme) {
        return bucket(new, service, rest, allowed, default);
    }
    match scheme {
        "http" | "https" => http(new, allowed),
        "file" | "" => folder(new, Path::new(rest), allowed),
        other => Err(refused(unsupported(other))),
    }
}

/// Why no root of this kind can be registered, and what can instead.
pub(super) fn unsupported(scheme: &str) -> &'static str {
    match scheme {
        "abfs" | "abfss" | "adl" | "azure" | "wasb" | "wasbs" => {
            "must be a path, or an s3, az, gs, http or https URL: a container of Azure is az://container, at the \
             endpoint https://<account>.blob.core.windows.net"
        }
        _ => "must be a path, or an s3, az, gs, http or https URL",
    }
}

fn refused(rule: impl Into<String>) -> RegistryError {
    RegistryError::other(FIELD, rule)
}

fn forbidden(root: &str) -> RegistryError {
    RegistryError::StorageForbidden(root.to_owned())
}

fn for_buckets_only(new: &NewStorage) -> Result<()> {
    let (region, endpoint) = (new.region.is_some(), new.endpoint.is_some());
    match (region, endpoint) {
        (true, _) => Err(RegistryError::other("region", "is for buckets")),
        (_, true) => Err(RegistryError::other("endpoint", "is for buckets")),
        _ => Ok(()),
    }
}

fn folder(new: &NewStorage, path: &Path, allowed: &AllowedRoots) -> Result<Root> {
    for_buckets_only(new)?;
    if !path.is_absolute() {
        return Err(refused("must be an absolute path"));
    }
    let is_plain = path
        .components()
        .all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
    if !is_plain {
        return Err(refused("must not have a `.` or `..` segment"));
    }
    // The list first: whoever may not register a folder shall not learn whether it is there.
    if !allowed.allows_folder(path) {
        return Err(forbidden(&path.display().to_string()));
    }
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) => return Err(refused(format!("cannot be opened: {error}"))),
    };
    if real.parent().is_none() {
        return Err(refused("is the root of the file system"));
    }
    if NO_DISKS.iter().any(|folder| real.starts_with(folder)) {
        return Err(refused("lies on no disk"));
    }
    if !real.is_dir() {
        return Err(refused("is no folder"));
    }
    // It may be a link to somewhere else.
    if !allowed.allows_folder(&real) {
        return Err(forbidden(&path.display().to_string()));
    }
    Ok(Root {
        root: StorageRoot::Local(real),
        reach: Reach::Named,
    })
}

fn bucket(
    new: &NewStorage,
    service: Service,
    rest: &str,
    allowed: &AllowedRoots,
    default: Option<&StorageRoot>,
) -> Result<Root> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains(['@', ':']) {
        return Err(refused("holds credentials, which a URL must not"));
    }
    if rest.contains(['?', '#', '\\']) || rest.chars().any(char::is_control) {
        let rule = format!("must be {}://bucket/prefix and nothing more", service.scheme());
        return Err(refused(rule));
    }
    let bucket: StorageName = bucket.parse().map_err(|_| refused("has no valid bucket name"))?;
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && prefix.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(refused("has an empty, `.` or `..` segment in its prefix"));
    }
    if !allowed.allows_bucket(service, bucket.as_str(), prefix) {
        return Err(forbidden(&new.root));
    }
    if service != Service::S3 && new.region.is_some() {
        return Err(RegistryError::other("region", "is for buckets of S3"));
    }
    let known = match default {
        Some(StorageRoot::Bucket(root)) if root.service == service => Some(root),
        _ => None,
    };
    let endpoint = new
        .endpoint
        .clone()
        .or_else(|| known.and_then(|root| root.endpoint.clone()));
    let is_known = known.is_some_and(|root| root.endpoint == endpoint);
    let reach = match &endpoint {
        Some(_) if is_known => Reach::Named,
        None => Reach::Named,
        Some(endpoint) => {
            let url = parsed_url(endpoint).map_err(|rule| RegistryError::other("endpoint", rule))?;
            let reach = allowed.allows_url(&url).ok_or_else(|| forbidden(endpoint))?;
            if new.managed && reach != Reach::Named {
                return Err(forbidden(endpoint));
            }
            reach
        }
    };
    // Keys of one service are none of another's.
    let keys = known.filter(|_| is_known);
    Ok(Root {
        reach,
        root: StorageRoot::Bucket(BucketRoot {
            service,
            bucket: bucket.to_string(),
            prefix: prefix.to_owned(),
            region: new
                .region
                .clone()
                .or_else(|| known.map(|root| root.region.clone()))
                .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            allow_http: endpoint
                .as_ref()
                .is_some_and(|endpoint| endpoint.starts_with("http://")),
            // Nothing is shown to a host that the configuration does not name for that.
            is_trusted: is_known || endpoint.is_none(),
            endpoint,
            access_key_id: keys.and_then(|root| root.access_key_id.clone()),
            secret_access_key: keys.and_then(|root| root.secret_access_key.clone()),
        }),
    })
}

fn http(new: &NewStorage, allowed: &AllowedRoots) -> Result<Root> {
    for_buckets_only(new)?;
    let url = parsed_url(&new.root).map_err(refused)?;
    if new.managed {
        return Err(RegistryError::other(
            "managed",
            "must not be set: nothing is written by http",
        ));
    }
    let reach = allowed.allows_url(&url).ok_or_else(|| forbidden(url.as_str()))?;
    Ok(Root {
        root: StorageRoot::Http(url.as_str().trim_end_matches('/').to_owned()),
        reach,
    })
}

/// Fails for a folder that holds what is the server's own, or lies in it.
pub(super) fn require_apart(found: &Root, places: &Places, database: Option<&Path>) -> Result<()> {
    let StorageRoot::Local(folder) = &found.root else {
        return Ok(());
    };
    let meets = |other: &Path| folder.starts_with(other) || other.starts_with(folder);
    let database = database.and_then(|database| database.canonicalize().ok());
    if database.is_some_and(|database| meets(&database)) {
        return Err(refused("meets the folder of the database"));
    }
    for place in places.storages() {
        let other = place.store.uri_of_root().strip_prefix("file://");
        if let Some(other) = other
            && meets(Path::new(other))
        {
            return Err(refused(format!("meets that of storage {}", place.name)));
        }
    }
    Ok(())
}

/// The root of a storage that was registered before, which the list allowed then.
pub(in crate::registry) fn registered_root(
    root: &str,
    region: Option<&str>,
    endpoint: Option<&str>,
    roots: &StorageRoots,
) -> std::result::Result<(StorageRoot, Reach), RegistryError> {
    let new = NewStorage {
        name: "registered".parse().expect("it follows the rule"),
        root: root.to_owned(),
        region: region.map(ToOwned::to_owned),
        endpoint: endpoint.map(ToOwned::to_owned),
        managed: false,
        read_only: true,
        description: None,
        request: None,
    };
    let found = root_of(&new, &roots.allowed, roots.default.as_ref())?;
    Ok((found.root, found.reach))
}
