//! What a store lists of its multipart uploads, which `object_store` does not ask for.

use std::{collections::HashMap, io, time::SystemTime};

use object_store::{
    aws::AwsAuthorizer,
    client::{HttpRequest, HttpRequestBody},
};
use quick_xml::events::{BytesRef, Event};

use super::{CloudWriter, unavailable};
use crate::storage::error::Result;

/// Behind which upload the next page begins.
pub(super) type UploadMarker = Option<(String, String)>;

/// One page of open multipart uploads.
#[derive(Debug, Default)]
pub(super) struct UploadsPage {
    pub(super) uploads: Vec<ListedUpload>,
    pub(super) next: UploadMarker,
}

/// A multipart upload as a store lists it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListedUpload {
    pub(super) path: String,
    pub(super) id: String,
    pub(super) initiated: Option<SystemTime>,
}

/// One page of the parts of a multipart upload: their ETags by number, from 1.
#[derive(Debug, Default)]
struct PartsPage {
    parts: HashMap<usize, String>,
    next: Option<String>,
}

impl CloudWriter {
    /// One page of the store's open multipart uploads.
    pub(super) async fn uploads_page(&self, after: &UploadMarker) -> Result<UploadsPage> {
        let mut query = format!("uploads=&prefix={}", encode(self.path("").as_ref()));
        if let Some((key, id)) = after {
            query.push_str(&format!("&key-marker={}&upload-id-marker={}", encode(key), encode(id)));
        }
        UploadsPage::parse(&self.list("", &query).await?)
    }

    /// ETags of the parts that the store has of a multipart upload, by their numbers from 1.
    pub(in crate::storage) async fn stored_parts(&self, name: &str, id: &str) -> Result<HashMap<usize, String>> {
        let path: Vec<String> = self.path(name).parts().map(|part| encode(part.as_ref())).collect();
        let (path, mut parts) = (format!("/{}", path.join("/")), HashMap::new());
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
        let base = match &self.root.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.root.bucket),
            None => format!("https://s3.{}.amazonaws.com/{}", self.root.region, self.root.bucket),
        };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = format!("{base}{path}?{query}").parse().map_err(unavailable)?;
        let credential = self.bucket.credentials().get_credential().await.map_err(unavailable)?;
        AwsAuthorizer::new(&credential, "s3", &self.root.region).authorize(&mut request, None);
        let response = self.http.execute(request).await.map_err(unavailable)?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(unavailable)?;
        if !status.is_success() {
            return Err(unavailable(io::Error::other(format!(
                "listing uploads or parts answered {status}"
            ))));
        }
        Ok(body.into())
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

/// Tells of each element when it ends, and of its text where it has no other element.
fn each_element(xml: &[u8], mut tell: impl FnMut(&[u8], String)) -> Result<()> {
    let (mut reader, mut text) = (quick_xml::Reader::from_reader(xml), String::new());
    loop {
        match reader.read_event().map_err(unavailable)? {
            Event::Start(_) => text.clear(),
            Event::Text(part) => text.push_str(&part.decode().map_err(unavailable)?),
            Event::GeneralRef(part) => text.push(character(&part)?),
            Event::End(end) => tell(end.local_name().as_ref(), std::mem::take(&mut text)),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// A time as stores write it, such as `2010-11-10T20:48:33.000Z`.
fn time(text: &str) -> Option<SystemTime> {
    text.parse::<prost_types::Timestamp>().ok()?.try_into().ok()
}

/// The character that a reference such as `&amp;` or `&#38;` stands for.
fn character(reference: &BytesRef<'_>) -> Result<char> {
    if let Some(character) = reference.resolve_char_ref().map_err(unavailable)? {
        return Ok(character);
    }
    let name = reference.decode().map_err(unavailable)?;
    quick_xml::escape::resolve_xml_entity(&name)
        .and_then(|text| text.chars().next())
        .ok_or_else(|| {
            unavailable(io::Error::other(format!(
                "the store answered with an unknown entity {name}"
            )))
        })
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
    fn an_answer_that_is_no_list_is_an_error_or_empty() {
        assert!(UploadsPage::parse(b"<Upload><Key>a</Wrong>").is_err());
        assert!(UploadsPage::parse(b"<Upload><Key>&unknown;</Key></Upload>").is_err());
        assert!(UploadsPage::parse(b"").unwrap().uploads.is_empty());
    }
}
