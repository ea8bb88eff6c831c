//! The default storage: a folder or a bucket.

use std::path::{Path, PathBuf};

use artifactd_domain::StorageName;

use super::{
    error::Place,
    parse::{self, Raw},
    settings::{Placed, Settings},
};
use crate::storage::{AllowedRoots, S3Root, Secret, StorageRoot};

const DEFAULT_NAME: &str = "default";
const FOLDER: &str = "storage";
const DEFAULT_REGION: &str = "us-east-1";

/// The default storage.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// Its name.
    pub name: StorageName,
    /// Where it lies.
    pub root: StorageRoot,
    /// Where others may be registered.
    pub allowed: AllowedRoots,
}

impl StorageConfig {
    pub(super) fn take(settings: &mut Settings, data_dir: &Path) -> Self {
        let default = DEFAULT_NAME.parse().expect("the default name follows the rule");
        let name = settings
            .take_or("storage.name", default, parse::parsed::<StorageName>)
            .value;
        let is_given = settings.has("storage.url");
        let target = settings.take("storage.url", target);
        let service = Service::take(settings);
        let root = match target.map(|target| target.value) {
            Some(Target::Bucket { bucket, prefix }) => StorageRoot::S3(service.into_root(bucket, prefix)),
            Some(Target::Folder(path)) => service.unused(settings, path),
            // A bad URL is one error, not one more for each setting beside it.
            None if is_given => StorageRoot::Local(data_dir.join(FOLDER)),
            None => service.unused(settings, data_dir.join(FOLDER)),
        };
        let allowed = settings
            .take_or("storage.register_from", AllowedRoots::default(), allowed)
            .value;
        Self { name, root, allowed }
    }
}

fn allowed(raw: &Raw) -> Result<AllowedRoots, String> {
    AllowedRoots::new(&parse::list(raw)?)
}

enum Target {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: String },
}

fn target(raw: &Raw) -> Result<Target, String> {
    let url = parse::text(raw)?;
    match url.split_once("://") {
        Some(("s3", rest)) => bucket(rest),
        Some(_) => Err("expected a path or s3://bucket/prefix".to_owned()),
        None => parse::path(raw).map(Target::Folder),
    }
}

fn bucket(rest: &str) -> Result<Target, String> {
    if holds_credentials(rest) {
        return Err("holds credentials; set storage.access_key_id and storage.secret_access_key instead".to_owned());
    }
    if rest.contains(['?', '#', '\\']) || rest.chars().any(char::is_control) {
        return Err("expected s3://bucket/prefix and nothing more".to_owned());
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket: StorageName = bucket.parse().map_err(|_| "has no valid bucket name".to_owned())?;
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && prefix.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("has an empty, `.` or `..` segment in its prefix".to_owned());
    }
    Ok(Target::Bucket {
        bucket: bucket.to_string(),
        prefix: prefix.to_owned(),
    })
}

/// Whether something stands before an `@` in the host part.
fn holds_credentials(rest: &str) -> bool {
    rest.split('/').next().is_some_and(|host| host.contains('@'))
}

/// What only buckets need.
struct Service {
    region: Option<Placed<String>>,
    endpoint: Option<Placed<String>>,
    allow_http: Option<Placed<bool>>,
    access_key_id: Option<Placed<String>>,
    secret_access_key: Option<Placed<Secret>>,
}

impl Service {
    fn take(settings: &mut Settings) -> Self {
        let service = Self {
            region: settings.take("storage.region", parse::text),
            endpoint: settings.take("storage.endpoint", endpoint),
            allow_http: settings.take("storage.allow_http", parse::boolean),
            access_key_id: settings.take("storage.access_key_id", parse::text),
            secret_access_key: settings.take("storage.secret_access_key", parse::secret),
        };
        service.refuse_half_a_key(settings);
        service.refuse_plain_http(settings);
        service
    }

    fn refuse_half_a_key(&self, settings: &mut Settings) {
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), None) => settings.refuse(&id.place, "needs storage.secret_access_key beside it"),
            (None, Some(secret)) => settings.refuse(&secret.place, "needs storage.access_key_id beside it"),
            _ => {}
        }
    }

    fn refuse_plain_http(&self, settings: &mut Settings) {
        let allowed = self.allow_http.as_ref().is_some_and(|allowed| allowed.value);
        if let Some(endpoint) = &self.endpoint
            && endpoint.value.starts_with("http://")
            && !allowed
        {
            settings.refuse(&endpoint.place, "is without TLS; storage.allow_http permits that");
        }
    }

    fn into_root(self, bucket: String, prefix: String) -> S3Root {
        S3Root {
            bucket,
            prefix,
            region: self
                .region
                .map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.value),
            endpoint: self.endpoint.map(|endpoint| endpoint.value),
            allow_http: self.allow_http.is_some_and(|allowed| allowed.value),
            access_key_id: self.access_key_id.map(|id| id.value),
            secret_access_key: self.secret_access_key.map(|secret| secret.value),
        }
    }

    fn unused(self, settings: &mut Settings, folder: PathBuf) -> StorageRoot {
        let Self {
            region,
            endpoint,
            allow_http,
            access_key_id,
            secret_access_key,
        } = self;
        let places: [Option<Place>; 5] = [
            region.map(|placed| placed.place),
            endpoint.map(|placed| placed.place),
            allow_http.map(|placed| placed.place),
            access_key_id.map(|placed| placed.place),
            secret_access_key.map(|placed| placed.place),
        ];
        for place in places.into_iter().flatten() {
            settings.refuse(&place, "is for s3:// storages");
        }
        StorageRoot::Local(folder)
    }
}

fn endpoint(raw: &Raw) -> Result<String, String> {
    let url = parse::text(raw)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return Err("expected https://… or http://…".to_owned());
    };
    match holds_credentials(rest) {
        true => Err("holds credentials; set storage.access_key_id and storage.secret_access_key instead".to_owned()),
        false => Ok(url),
    }
}
