//! Blocks of Azure that are of no blob yet.
//!
//! There are no uploads here: blocks belong to the name of their blob, and a blob is made of
//! those that a list names. Each block has a random name, so that a list can only make what
//! its caller wrote. Azure itself drops what no list named after a week.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use object_store::{
    ObjectStoreExt,
    azure::{AzureAuthorizer, MicrosoftAzure},
    client::{HttpClient, HttpRequest, HttpRequestBody},
    path::Path,
};

use reqwest::{
    Method,
    header::{self, HeaderValue},
};

use super::{
    from_write, unavailable,
    uploads::{ListedUpload, OpenUploads, answered, connected, encode, encode_path},
    xml::each_element,
};
use crate::storage::error::Result;

/// A list that names no block.
const NO_BLOCKS: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList></BlockList>";

/// What is answered where a blob has the name already.
const IS_THERE: &[u16] = &[409, 412];

/// Blocks of one container that are of no blob yet.
#[derive(Debug)]
pub(in crate::storage) struct AzureUploads {
    container: Arc<MicrosoftAzure>,
    base: String,
    account: String,
    http: HttpClient,
}

/// A page of blobs, those without a list of blocks too.
#[derive(Debug, Default)]
struct BlobsPage {
    blobs: Vec<ListedBlob>,
    next: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ListedBlob {
    path: String,
    is_empty: bool,
    has_etag: bool,
    modified: Option<SystemTime>,
}

impl AzureUploads {
    /// `base` is the URL of the container.
    pub(in crate::storage) fn new(
        container: Arc<MicrosoftAzure>,
        base: String,
        account: String,
        allow_http: bool,
    ) -> Result<Self> {
        Ok(Self {
            container,
            base,
            account,
            http: connected(allow_http)?,
        })
    }

    async fn list(&self, path: &str, query: &str) -> Result<Option<Vec<u8>>> {
        let request = HttpRequest::new(HttpRequestBody::empty());
        self.ask(request, path, query, &[404]).await
    }

    async fn ask(&self, mut request: HttpRequest, path: &str, query: &str, nothing: &[u16]) -> Result<Option<Vec<u8>>> {
        *request.uri_mut() = format!("{}{path}?{query}", self.base).parse().map_err(unavailable)?;
        let credential = self.container.credentials().get_credential().await;
        let credential = credential.map_err(unavailable)?;
        AzureAuthorizer::new(&credential, &self.account).authorize(&mut request);
        answered(&self.http, request, nothing).await
    }

    /// Whether a blob that is listed without bytes is none yet.
    async fn is_unfinished(&self, blob: &ListedBlob) -> Result<bool> {
        if !blob.is_empty || !blob.has_etag {
            return Ok(!blob.has_etag);
        }
        // Not every service leaves the ETag of those out.
        match self.container.head(&Path::from(blob.path.as_str())).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(unavailable(error)),
        }
    }
}

#[async_trait]
impl OpenUploads for AzureUploads {
    async fn begun(&self, prefix: &Path) -> Result<Vec<ListedUpload>> {
        let (mut begun, mut after) = (Vec::new(), String::new());
        loop {
            let mut query = format!(
                "restype=container&comp=list&include=uncommittedblobs&prefix={}",
                encode(prefix.as_ref())
            );
            if !after.is_empty() {
                query.push_str(&format!("&marker={}", encode(&after)));
            }
            let Some(page) = self.list("", &query).await? else {
                return Ok(begun);
            };
            let page = BlobsPage::parse(&page)?;
            for blob in page.blobs {
                if self.is_unfinished(&blob).await? {
                    begun.push(ListedUpload {
                        path: blob.path,
                        id: String::new(),
                        initiated: blob.modified,
                    });
                }
            }
            match page.next {
                None => return Ok(begun),
                Some(next) => after = next,
            }
        }
    }

    /// There is nothing that could be forgotten but blocks.
    async fn is_begun(&self, _object: &Path, _id: &str) -> Result<bool> {
        Ok(true)
    }

    async fn replaced(&self, object: &Path, _id: &str, parts: &[String]) -> Result<Vec<usize>> {
        let list = self
            .list(&encode_path(object), "comp=blocklist&blocklisttype=all")
            .await?;
        let stored = match list {
            Some(list) => block_names(&list)?,
            None => HashSet::new(),
        };
        let is_there = |number: &usize| stored.contains(&BASE64_STANDARD.encode(&parts[*number]));
        Ok((0..parts.len()).filter(|number| !is_there(number)).collect())
    }

    /// Blocks go when a list without any makes a blob that is not there yet; that is removed then.
    async fn forget(&self, object: &Path, _id: &str) -> Result<()> {
        let mut request = HttpRequest::new(HttpRequestBody::from(NO_BLOCKS.to_owned()));
        *request.method_mut() = Method::PUT;
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, NO_BLOCKS.len().into());
        request
            .headers_mut()
            .insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        let made = self
            .ask(request, &encode_path(object), "comp=blocklist", IS_THERE)
            .await?;
        if made.is_none() {
            // It is complete.
            return Ok(());
        }
        match self.container.delete(object).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_write(error)),
        }
    }

    fn takes_late_parts(&self) -> bool {
        true
    }
}

impl BlobsPage {
    fn parse(xml: &[u8]) -> Result<Self> {
        let (mut page, mut blob) = (Self::default(), ListedBlob::default());
        each_element(xml, |name, text| match name {
            b"Name" => blob.path = text,
            b"Content-Length" => blob.is_empty = text == "0",
            b"Etag" => blob.has_etag = !text.is_empty(),
            b"Last-Modified" => blob.modified = httpdate::parse_http_date(&text).ok(),
            b"Blob" => page.blobs.push(std::mem::take(&mut blob)),
            b"NextMarker" => page.next = (!text.is_empty()).then_some(text),
            _ => {}
        })?;
        Ok(page)
    }
}

/// Names of all blocks in a list of a blob's blocks, as Azure writes them.
fn block_names(xml: &[u8]) -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    each_element(xml, |name, text| {
        if name == b"Name" {
            names.insert(text);
        }
    })?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_without_a_list_of_blocks_have_no_etag() {
        let page = BlobsPage::parse(
            b"\xef\xbb\xbf<?xml version='1.0'?><EnumerationResults><Prefix>p</Prefix><Blobs>\
              <Blob><Name>p/a&amp;b</Name><Properties><Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>\
              <Etag>0x8D</Etag><Content-Length>0</Content-Length></Properties></Blob>\
              <Blob><Name>p/c</Name><Properties><Content-Length>0</Content-Length></Properties></Blob>\
              </Blobs><NextMarker>m</NextMarker></EnumerationResults>",
        );
        let page = page.unwrap();
        let since = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        let blob = |path: &str, has_etag, modified| ListedBlob {
            path: path.to_owned(),
            is_empty: true,
            has_etag,
            modified,
        };
        let expected = [blob("p/a&b", true, Some(since)), blob("p/c", false, None)];
        assert_eq!(
            (page.blobs.as_slice(), page.next.as_deref()),
            (&expected[..], Some("m"))
        );
        let last = BlobsPage::parse(b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>");
        assert_eq!(last.unwrap().next, None);
    }

    #[test]
    fn blocks_are_known_by_name_whether_they_are_of_a_blob_or_not() {
        let names = block_names(
            b"<BlockList><CommittedBlocks><Block><Name>YQ==</Name><Size>1</Size></Block></CommittedBlocks>\
              <UncommittedBlocks><Block><Name>Yg==</Name><Size>2</Size></Block></UncommittedBlocks></BlockList>",
        );
        assert_eq!(names.unwrap(), HashSet::from(["YQ==".to_owned(), "Yg==".to_owned()]));
    }
}
