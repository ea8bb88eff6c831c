//! Uploads that meet a crash point.

use artifactd_proto::v1 as pb;

use super::NEW_KEY;
use crate::{Calls, Outcome};

/// Bytes of a part; a bucket takes at least 5 MiB.
const PART_BYTES: i64 = 1 << 20;

fn wanted(save: pb::SaveHeader) -> pb::CreateUploadRequest {
    pb::CreateUploadRequest {
        save: Some(save),
        parallel: false,
        part_bytes: PART_BYTES,
    }
}

/// Saves a content, going on where a try before was cut.
pub(super) async fn save(calls: &Calls, header: pb::SaveHeader, content: &[u8]) -> Outcome<()> {
    calls.save_in_parts(header, content, PART_BYTES).await.map(drop)
}

/// The same with parts that travel at once.
pub(super) async fn save_at_once(calls: &Calls, header: pb::SaveHeader, content: &[u8]) -> Outcome<()> {
    calls.save_in_parts_at_once(header, content, PART_BYTES).await.map(drop)
}

/// Begins an upload that has a part.
pub(super) async fn begin(calls: &Calls, content: &[u8]) {
    let upload = calls.create_upload(wanted(crate::calls::keyed(NEW_KEY))).await;
    let upload = upload.expect("begin an upload");
    let part = &content[..upload.part_bytes as usize];
    let written = calls.upload_part(&upload.uid, 0, part, false).await;
    written.expect("write a part");
}

/// Removes all uploads.
pub(super) async fn abort_all(calls: &Calls) -> Outcome<()> {
    let request = pb::ListUploadsRequest::default();
    let listed = calls.uploads().list_uploads(request).await?.into_inner();
    for upload in listed.uploads {
        calls.abort_upload(&upload.uid).await?;
    }
    Ok(())
}
