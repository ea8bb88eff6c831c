//! The entity tag of content, as S3 clients expect it.

use crate::Sha256;

const ETAG_HEX_DIGITS: usize = 32;

/// The tag of content that did not come in through S3: the first 32 hexadecimal
/// digits of its sha256 and `-1`, which S3 clients read as a multipart upload of
/// one part and therefore do not take for an md5.
pub fn content_etag(sha256: &Sha256) -> String {
    [&sha256.hex().as_str()[..ETAG_HEX_DIGITS], "-1"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_reads_as_a_multipart_tag() {
        let empty: Sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            .parse()
            .unwrap();
        assert_eq!(content_etag(&empty), "e3b0c44298fc1c149afbf4c8996fb924-1");
    }
}
