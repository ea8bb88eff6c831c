//! Multipart uploads of S3, and of Google, whose requests and answers are the same.

use std::{collections::HashMap, fmt, io, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use object_store::{
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{HttpClient, HttpRequest, HttpRequestBody},
    gcp::GcpCredentialProvider,
    path::Path,
};
use reqwest::Method;

use super::{
    Bucket, from_write, unavailable,
    uploads::{Kept, ListedUpload, OpenUploads, answered, connected, encode, encode_path},
    xml::each_element,
};
use crate::storage::error::Result;

/// How services say that they do not do what they are asked, or not for this caller.
const REFUSALS: [u16; 6] = [400, 403, 404, 405, 409, 501];

/// Behind which upload the next page begins.
type UploadMarker = Option<(String, String)>;

/// One page of open multipart uploads.
#[derive(Debug, Default)]
struct UploadsPage {
    uploads: Vec<ListedUpload>,
    next: UploadMarker,
}

/// One page of the parts of a multipart upload: their ETags by number, from 1.
#[derive(Debug, Default)]
struct PartsPage {
    parts: HashMap<usize, String>,
    next: Option<String>,
}

/// How requests show who asks.
#[derive(Clone)]
pub(in crate::storage) enum SignedBy {
    S3 {
        credentials: AwsCredentialProvider,
        region: String,
    },
    Google(GcpCredentialProvider),
}

impl fmt::Debug for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedBy(…)")
    }
}

/// Multipart uploads of one bucket.
#[derive(Debug)]
pub(in crate::storage) struct S3Uploads {
    bucket: Arc<dyn Bucket>,
    base: String,
    signed_by: SignedBy,
    http: HttpClient,
}

impl S3Uploads {
    /// `base` is the URL of the bucket.
    pub(in crate::storage) fn new(
        bucket: Arc<dyn Bucket>,
        base: String,
        signed_by: SignedBy,
        allow_http: bool,
    ) -> Result<Self> {
        Ok(Self {
            bucket,
            base,
            signed_by,
            http: connected(allow_http)?,
        })
    }

    /// One page of the store's open multipart uploads.
    async fn uploads_page(&self, prefix: &Path, after: &UploadMarker) -> Result<UploadsPage> {
        let mut query = format!("uploads=&prefix={}", encode(prefix.as_ref()));
        if let Some((key, id)) = after {
            query.push_str(&format!("&key-marker={}&upload-id-marker={}", encode(key), encode(id)));
        }
        UploadsPage::parse(&self.list("", &query).await?)
    }

    /// ETags of the parts that the store has of a multipart upload, by their numbers from 1.
    async fn stored_parts(&self, object: &Path, id: &str) -> Result<HashMap<usize, String>> {
        let (path, mut parts) = (encode_path(object), HashMap::new());
        let mut after: Option<String> = None;
        loop {
            let mut query = String::new();
            if let Some(after) = &after {
                query.push_str(&format!("part-number-marker={}&", encode(after)));
            }
            query.push_str(&format!("uploadId={}", encode(id)));
            let page = PartsPage::parse(&self.list(&path, &query).await?)?;
            parts.extend(page.parts);
            match page.next {
                None => return Ok(parts),
                next => after = next,
            }
        }
    }

    async fn list(&self, path: &str, query: &str) -> Result<Vec<u8>> {
        let request = self.signed(Method::GET, path, query).await?;
        let answer = answered(&self.http, request, &[]).await?;
        Ok(answer.unwrap_or_default())
    }

    /// What the service answers; `None` when it refuses.
    pub(super) async fn ask(&self, method: Method, path: &str, query: &str) -> Result<Option<Vec<u8>>> {
        let request = self.signed(method, path, query).await?;
        answered(&self.http, request, &REFUSALS).await
    }

    async fn signed(&self, method: Method, path: &str, query: &str) -> Result<HttpRequest> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}?{query}", self.base).parse().map_err(unavailable)?;
        match &self.signed_by {
            SignedBy::S3 { credentials, region } => {
                let credential = credentials.get_credential().await.map_err(unavailable)?;
                AwsAuthorizer::new(&credential, "s3", region).authorize(&mut request, None);
            }
            SignedBy::Google(credentials) => {
                let credential = credentials.get_credential().await.map_err(unavailable)?;
                let token = format!("Bearer {}", credential.bearer).parse().map_err(unavailable)?;
                request.headers_mut().insert(reqwest::header::AUTHORIZATION, token);
            }
        }
        Ok(request)
    }
}

#[async_trait]
impl OpenUploads for S3Uploads {
    async fn begun(&self, prefix: &Path) -> Result<Vec<ListedUpload>> {
        let (mut begun, mut after) = (Vec::new(), None);
        loop {
            let page = self.uploads_page(prefix, &after).await?;
            begun.extend(page.uploads);
            match page.next {
                None => return Ok(begun),
                next => after = next,
            }
        }
    }

    async fn is_begun(&self, object: &Path, id: &str) -> Result<bool> {
        let query = format!("max-parts=1&uploadId={}", encode(id));
        let request = self.signed(Method::GET, &encode_path(object), &query).await?;
        let response = self.http.execute(request).await.map_err(unavailable)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(unavailable)?;
        match status.as_u16() {
            200 => Ok(true),
            404 if says_no_such_upload(&body) => Ok(false),
            _ => {
                let said = format!("a request about an upload is answered {status}");
                Err(unavailable(io::Error::other(said)))
            }
        }
    }

    async fn replaced(&self, object: &Path, id: &str, parts: &[String]) -> Result<Vec<usize>> {
        let stored = self.stored_parts(object, id).await?;
        // Some stores leave the quotes of an ETag out.
        let same = |a: &str, b: &str| a.trim_matches('"') == b.trim_matches('"');
        let is_there = |number: &usize| {
            stored
                .get(&(number + 1))
                .is_some_and(|etag| same(etag, &parts[*number]))
        };
        Ok((0..parts.len()).filter(|number| !is_there(number)).collect())
    }

    async fn forget(&self, object: &Path, id: &str) -> Result<()> {
        match self.bucket.abort_multipart(object, &id.to_owned()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_write(error)),
        }
    }

    /// The store knows nothing any more of an upload that was aborted.
    fn takes_late_parts(&self) -> bool {
        false
    }

    async fn clear(&self, object: &Path) -> Result<Kept> {
        match self.signed_by {
            SignedBy::S3 { .. } => self.clear_versions(object).await,
            // Generations of Google are told of in other words.
            SignedBy::Google(_) => Ok(Kept::Nothing),
        }
    }
}

impl UploadsPage {
    /// Stores order the elements of an upload as they like, so it is taken when it ends.
    fn parse(xml: &[u8]) -> Result<Self> {
        let mut page = Self::default();
        let (mut upload, mut next) = (ListedUpload::default(), <(String, String)>::default());
        let mut truncated = false;
        each_element(xml, |name, text| match name {
            b"Key" => upload.path = text,
            b"UploadId" => upload.id = text,
            b"Initiated" => upload.initiated = time(&text),
            b"Upload" => page.uploads.push(std::mem::take(&mut upload)),
            b"NextKeyMarker" => next.0 = text,
            b"NextUploadIdMarker" => next.1 = text,
            b"IsTruncated" => truncated = text == "true",
            _ => {}
        })?;
        page.next = truncated.then_some(next);
        Ok(page)
    }
}

impl PartsPage {
    fn parse(xml: &[u8]) -> Result<Self> {
        let (mut page, mut part, mut truncated) = (Self::default(), (None, String::new()), false);
        each_element(xml, |name, text| match name {
            b"PartNumber" => part.0 = text.parse().ok(),
            b"ETag" => part.1 = text,
            b"Part" => {
                if let (Some(number), etag) = std::mem::take(&mut part) {
                    page.parts.insert(number, etag);
                }
            }
            b"NextPartNumberMarker" => page.next = Some(text),
            b"IsTruncated" => truncated = text == "true",
            _ => {}
        })?;
        page.next = page.next.filter(|_| truncated);
        Ok(page)
    }
}

/// Whether a refusal is of the upload: a bucket that is not there, or a host that is another's
/// for a while, answers with the same status.
fn says_no_such_upload(xml: &[u8]) -> bool {
    let mut says = false;
    let read = each_element(xml, |name, text| says |= name == b"Code" && text == "NoSuchUpload");
    read.is_ok() && says
}

/// A time as stores write it, such as `2010-11-10T20:48:33.000Z`.
fn time(text: &str) -> Option<SystemTime> {
    text.parse::<prost_types::Timestamp>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_uploads_are_read_in_any_order_of_elements() {
        let page = UploadsPage::parse(
            b"<?xml version='1.0'?><ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker/>\
              <NextKeyMarker>a&amp;b/2</NextKeyMarker><NextUploadIdMarker>id2</NextUploadIdMarker><IsTruncated>true</IsTruncated>\
              <Upload><Initiated>2026-03-01T10:00:00.500Z</Initiated><UploadId>id1</UploadId><Key>a&amp;b/1</Key><Owner><ID>x</ID></Owner></Upload>\
              <Upload>\n<Key>a&#38;b/2</Key>\n<UploadId>id2</UploadId></Upload></ListMultipartUploadsResult>",
        );
        let page = page.unwrap();
        let since = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_772_359_200_500);
        let upload = |path: &str, id: &str, initiated| ListedUpload {
            path: path.to_owned(),
            id: id.to_owned(),
            initiated,
        };
        let expected = [upload("a&b/1", "id1", Some(since)), upload("a&b/2", "id2", None)];
        assert_eq!(page.uploads, expected);
        assert_eq!(page.next, Some(("a&b/2".to_owned(), "id2".to_owned())));
    }

    #[test]
    fn parts_are_read_with_their_etags() {
        let page = PartsPage::parse(
            b"<ListPartsResult><Bucket>b</Bucket><NextPartNumberMarker>2</NextPartNumberMarker><IsTruncated>true</IsTruncated>\
              <Part><ETag>&quot;aa&quot;</ETag><PartNumber>1</PartNumber><Size>5</Size></Part>\
              <Part><PartNumber>2</PartNumber><ETag>bb</ETag></Part></ListPartsResult>",
        );
        let page = page.unwrap();
        assert_eq!(page.next.as_deref(), Some("2"));
        let parts: Vec<_> = [1, 2].map(|number| page.parts[&number].as_str()).into();
        assert_eq!(parts, ["\"aa\"", "bb"]);
        let last =
            PartsPage::parse(b"<R><NextPartNumberMarker>2</NextPartNumberMarker><IsTruncated>false</IsTruncated></R>");
        assert_eq!(last.unwrap().next, None);
    }

    #[test]
    fn only_who_says_so_has_forgotten_an_upload() {
        let refusal =
            |code: &str| format!("<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>");
        assert!(says_no_such_upload(refusal("NoSuchUpload").as_bytes()));
        assert!(!says_no_such_upload(refusal("NoSuchBucket").as_bytes()));
        assert!(!says_no_such_upload(b"<html>NoSuchUpload</html>"));
        assert!(!says_no_such_upload(b""));
    }

    #[test]
    fn an_answer_that_is_no_list_is_an_error_or_empty() {
        assert!(UploadsPage::parse(b"<Upload><Key>a</Wrong>").is_err());
        assert!(UploadsPage::parse(b"<Upload><Key>&unknown;</Key></Upload>").is_err());
        assert!(UploadsPage::parse(b"").unwrap().uploads.is_empty());
    }
}
