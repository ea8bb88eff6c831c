//! Opens buckets of services.

use std::sync::Arc;

use object_store::{
    ClientConfigKey, ObjectStore, StaticCredentialProvider,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder},
    gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey},
    prefix::PrefixStore,
};
use reqwest::Url;

use super::Store;
use crate::storage::{
    BucketRoot, Reach, Service, StorageError,
    allowed::GuardedConnector,
    cloud::{AzureUploads, Bucket, CloudWriter, OpenUploads, S3Uploads, SignedBy},
    error::Result,
};

/// Where accounts of Azure have their endpoints.
const AZURE_HOSTS: &str = ".blob.core.windows.net";

/// Where Google has its buckets.
const GOOGLE: &str = "https://storage.googleapis.com";

pub(super) fn open(root: &BucketRoot, reach: Reach) -> Result<Store> {
    let (bucket, uploads) = match root.service {
        Service::S3 => s3(root, reach)?,
        Service::Azure => azure(root, reach)?,
        Service::Google => google(root, reach)?,
    };
    let writer = CloudWriter::new(Arc::clone(&bucket), uploads, &root.prefix);
    let reader: Arc<dyn ObjectStore> = if root.prefix.is_empty() {
        bucket
    } else {
        Arc::new(PrefixStore::new(bucket, root.prefix.as_str()))
    };
    Ok(Store {
        parts: Arc::new(writer.clone()),
        writer: Arc::new(writer),
        reader,
        uri: root.to_string(),
        is_absent: false,
        can_list: true,
    })
}

/// A bucket, and who knows what was begun in it.
type Opened = (Arc<dyn Bucket>, Arc<dyn OpenUploads>);

fn refused(root: &BucketRoot) -> impl Fn(object_store::Error) -> StorageError {
    let root = root.to_string();
    move |error| StorageError::Refused {
        root: root.clone(),
        why: error.to_string(),
    }
}

fn s3(root: &BucketRoot, reach: Reach) -> Result<Opened> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&root.bucket)
        .with_region(&root.region)
        .with_allow_http(root.allow_http)
        .with_disable_tagging(true);
    if let Some(endpoint) = &root.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if reach == Reach::Public {
        builder = builder.with_http_connector(GuardedConnector(reach));
    }
    if let (Some(id), Some(secret)) = (&root.access_key_id, &root.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose());
    }
    // The endpoint may come from the environment, and the requests for uploads are our own.
    let base = match builder.get_config_value(&AmazonS3ConfigKey::Endpoint) {
        Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), root.bucket),
        None => format!("https://s3.{}.amazonaws.com/{}", root.region, root.bucket),
    };
    let bucket: Arc<AmazonS3> = Arc::new(builder.build().map_err(refused(root))?);
    let signed_by = SignedBy::S3 {
        credentials: Arc::clone(bucket.credentials()),
        region: root.region.clone(),
    };
    let uploads = S3Uploads::new(Arc::clone(&bucket) as _, base, signed_by, root.allow_http)?;
    Ok((bucket, Arc::new(uploads)))
}

fn azure(root: &BucketRoot, reach: Reach) -> Result<Opened> {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&root.bucket)
        .with_allow_http(root.allow_http)
        .with_disable_tagging(true);
    if let Some(endpoint) = &root.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    // An endpoint names its account; the environment may name that of another one.
    let named = endpoint.as_deref().and_then(account_of);
    if let Some(account) = root.access_key_id.clone().or(named) {
        builder = builder.with_account(account);
    }
    if let Some(key) = &root.secret_access_key {
        builder = builder.with_access_key(key.expose());
    }
    if !root.is_trusted && !endpoint.as_deref().is_some_and(is_azure) {
        builder = builder.with_skip_signature(true);
    }
    if reach == Reach::Public {
        builder = builder.with_http_connector(GuardedConnector(reach));
    }
    let account = builder
        .get_config_value(&AzureConfigKey::AccountName)
        .unwrap_or_default();
    let base = endpoint.unwrap_or_else(|| format!("https://{account}{AZURE_HOSTS}"));
    let bucket: Arc<MicrosoftAzure> = Arc::new(builder.build().map_err(refused(root))?);
    let base = format!("{}/{}", base.trim_end_matches('/'), root.bucket);
    let uploads = AzureUploads::new(Arc::clone(&bucket), base, account, root.allow_http)?;
    Ok((bucket, Arc::new(uploads)))
}

fn google(root: &BucketRoot, reach: Reach) -> Result<Opened> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&root.bucket);
    if let Some(endpoint) = &root.endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    if root.allow_http {
        builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    if let Some(key) = &root.secret_access_key {
        builder = builder.with_service_account_key(key.expose());
    }
    if !root.is_trusted {
        // A token is shown to whoever is asked.
        let nobody = StaticCredentialProvider::new(GcpCredential { bearer: String::new() });
        builder = builder.with_credentials(Arc::new(nobody)).with_skip_signature(true);
    }
    if reach == Reach::Public {
        builder = builder.with_http_connector(GuardedConnector(reach));
    }
    let base = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let base = format!("{}/{}", base.as_deref().unwrap_or(GOOGLE), root.bucket);
    let bucket: Arc<GoogleCloudStorage> = Arc::new(builder.build().map_err(refused(root))?);
    let signed_by = SignedBy::Google(Arc::clone(bucket.credentials()));
    let uploads = S3Uploads::new(Arc::clone(&bucket) as _, base, signed_by, root.allow_http)?;
    Ok((bucket, Arc::new(uploads)))
}

/// Whether an endpoint is one of Azure's own.
fn is_azure(endpoint: &str) -> bool {
    let url = Url::parse(endpoint).ok();
    url.is_some_and(|url| {
        let host = url.host_str().unwrap_or_default();
        url.scheme() == "https" && host.ends_with(AZURE_HOSTS)
    })
}

/// The account that an endpoint is of: Azure's own have it in the name of the host, others as
/// the first segment of their path.
fn account_of(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    let account = match url.host_str()?.strip_suffix(AZURE_HOSTS) {
        Some(account) => account,
        None => url.path_segments()?.next()?,
    };
    (!account.is_empty()).then(|| account.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_of_azure_names_its_account() {
        for (endpoint, account) in [
            ("https://lab.blob.core.windows.net", Some("lab")),
            ("https://lab.blob.core.windows.net/", Some("lab")),
            ("http://127.0.0.1:10000/devstoreaccount1", Some("devstoreaccount1")),
            ("https://storage.example", None),
            ("no url", None),
        ] {
            assert_eq!(account_of(endpoint).as_deref(), account, "{endpoint}");
        }
    }

    #[test]
    fn only_hosts_of_azure_are_azure() {
        assert!(is_azure("https://lab.blob.core.windows.net"));
        for other in [
            "http://lab.blob.core.windows.net",
            "https://lab.blob.core.windows.net.example.org",
            "https://example.org/lab.blob.core.windows.net",
            "http://127.0.0.1:10000/devstoreaccount1",
        ] {
            assert!(!is_azure(other), "{other}");
        }
    }
}
