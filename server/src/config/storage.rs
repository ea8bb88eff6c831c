//! The default storage: a folder or a bucket.

use std::path::{Path, PathBuf};

use artifactd_domain::StorageName;

use super::{
    error::Place,
    parse::{self, Raw},
    settings::{Placed, Settings},
};
use crate::storage::{AllowedRoots, BucketRoot, Secret, Service, StorageRoot};

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
        let keys = Keys::take(settings);
        let root = match target.map(|target| target.value) {
            Some(Target::Bucket(place)) => StorageRoot::Bucket(keys.into_root(settings, place)),
            Some(Target::Folder(path)) => keys.unused(settings, path),
            // A bad URL is one error, not one more for each setting beside it.
            None if is_given => {
                keys.refuse_what_is_not_of(Service::S3, settings);
                StorageRoot::Local(data_dir.join(FOLDER))
            }
            None => keys.unused(settings, data_dir.join(FOLDER)),
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
    Bucket(BucketPlace),
}

struct BucketPlace {
    service: Service,
    bucket: String,
    prefix: String,
}

fn target(raw: &Raw) -> Result<Target, String> {
    let url = parse::text(raw)?;
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let service = Service::of_scheme(scheme).ok_or("expected a path or s3://, az:// or gs://bucket/prefix")?;
            bucket(service, rest).map(Target::Bucket)
        }
        None => parse::path(raw).map(Target::Folder),
    }
}

fn bucket(service: Service, rest: &str) -> Result<BucketPlace, String> {
    if holds_credentials(rest) {
        return Err("holds credentials; set storage.access_key_id and storage.secret_access_key instead".to_owned());
    }
    if rest.contains(['?', '#', '\\']) || rest.chars().any(char::is_control) {
        let scheme = service.scheme();
        return Err(format!("expected {scheme}://bucket/prefix and nothing more"));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let bucket: StorageName = bucket.parse().map_err(|_| "has no valid bucket name".to_owned())?;
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && prefix.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("has an empty, `.` or `..` segment in its prefix".to_owned());
    }
    Ok(BucketPlace {
        service,
        bucket: bucket.to_string(),
        prefix: prefix.to_owned(),
    })
}

/// Whether something stands before an `@` in the host part.
fn holds_credentials(rest: &str) -> bool {
    rest.split('/').next().is_some_and(|host| host.contains('@'))
}

/// What only buckets need.
struct Keys {
    region: Option<Placed<String>>,
    endpoint: Option<Placed<String>>,
    allow_http: Option<Placed<bool>>,
    access_key_id: Option<Placed<String>>,
    secret_access_key: Option<Placed<Secret>>,
}

impl Keys {
    fn take(settings: &mut Settings) -> Self {
        let keys = Self {
            region: settings.take("storage.region", parse::text),
            endpoint: settings.take("storage.endpoint", endpoint),
            allow_http: settings.take("storage.allow_http", parse::boolean),
            access_key_id: settings.take("storage.access_key_id", parse::text),
            secret_access_key: settings.take("storage.secret_access_key", parse::secret),
        };
        keys.refuse_plain_http(settings);
        keys
    }

    /// Google has one key, and what is not S3 has no regions.
    fn refuse_what_is_not_of(&self, service: Service, settings: &mut Settings) {
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), _) if service == Service::Google => {
                settings.refuse(&id.place, "is for s3:// and az:// storages");
            }
            (Some(id), None) => settings.refuse(&id.place, "needs storage.secret_access_key beside it"),
            (None, Some(secret)) if service != Service::Google => {
                settings.refuse(&secret.place, "needs storage.access_key_id beside it");
            }
            _ => {}
        }
        if let Some(region) = self.region.as_ref().filter(|_| service != Service::S3) {
            settings.refuse(&region.place, "is for s3:// storages");
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

    fn into_root(self, settings: &mut Settings, place: BucketPlace) -> BucketRoot {
        let BucketPlace {
            service,
            bucket,
            prefix,
        } = place;
        self.refuse_what_is_not_of(service, settings);
        BucketRoot {
            service,
            bucket,
            prefix,
            region: self
                .region
                .map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.value),
            endpoint: self.endpoint.map(|endpoint| endpoint.value),
            allow_http: self.allow_http.is_some_and(|allowed| allowed.value),
            access_key_id: self.access_key_id.map(|id| id.value),
            secret_access_key: self.secret_access_key.map(|secret| secret.value),
            is_trusted: true,
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
            settings.refuse(&place, "is for buckets");
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
