//! What a bucket of S3 keeps of an object that was removed.
//!
//! Where versions are kept, removing an object hides it behind a marker, and its bytes stay
//! until somebody removes the version, or a rule of the bucket does.

use object_store::path::Path;
use reqwest::Method;

use super::{
    s3::S3Uploads,
    uploads::{Kept, encode, encode_path},
    xml::each_element,
};
use crate::storage::error::Result;

impl S3Uploads {
    /// Removes all versions of an object that is removed, as far as they can be. A service
    /// that does not tell of versions counts as one that keeps none.
    pub(super) async fn clear_versions(&self, object: &Path) -> Result<Kept> {
        let query = format!("prefix={}&versions=", encode(object.as_ref()));
        let Some(page) = self.ask(Method::GET, "", &query).await? else {
            return Ok(Kept::Nothing);
        };
        let ids = version_ids(&page, object.as_ref())?;
        let mut stay = false;
        for id in &ids {
            let query = format!("versionId={}", encode(id));
            stay |= self.ask(Method::DELETE, &encode_path(object), &query).await?.is_none();
        }
        match (ids.is_empty(), stay) {
            (true, _) => Ok(Kept::Nothing),
            (false, true) if self.locks().await? => Ok(Kept::Locked),
            (false, _) => Ok(Kept::Versions),
        }
    }

    /// Whether the bucket locks whatever is written to it.
    async fn locks(&self) -> Result<bool> {
        let Some(configuration) = self.ask(Method::GET, "", "object-lock=").await? else {
            return Ok(false);
        };
        let mut locks = false;
        each_element(&configuration, |name, _| locks |= name == b"DefaultRetention")?;
        Ok(locks)
    }
}

/// The versions of one object, and the markers that hide it.
fn version_ids(xml: &[u8], key: &str) -> Result<Vec<String>> {
    let (mut ids, mut of, mut id) = (Vec::new(), String::new(), String::new());
    each_element(xml, |name, text| match name {
        b"Key" => of = text,
        b"VersionId" => id = text,
        b"Version" | b"DeleteMarker" => {
            let id = std::mem::take(&mut id);
            if std::mem::take(&mut of) == key && !id.is_empty() {
                ids.push(id);
            }
        }
        _ => {}
    })?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_markers_of_one_object_are_read() {
        let ids = version_ids(
            b"<ListVersionsResult><Prefix>a</Prefix><KeyMarker/><VersionIdMarker/>\
              <Version><Key>a</Key><VersionId>1</VersionId><IsLatest>false</IsLatest></Version>\
              <DeleteMarker><VersionId>2</VersionId><Key>a</Key></DeleteMarker>\
              <Version><Key>a2</Key><VersionId>3</VersionId></Version></ListVersionsResult>",
            "a",
        );
        assert_eq!(ids.unwrap(), ["1", "2"]);
    }
}
