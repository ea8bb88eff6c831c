//! Uploads, step by step or whole.

use artifactd_proto::v1::{
    self as pb, upload_service_client::UploadServiceClient, write_upload_request::Message as Asked,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::{Calls, Outcome, calls::Line};

const CHUNK_BYTES: usize = 1 << 20;

/// A stream that writes to an upload.
#[derive(Debug)]
pub struct UploadStream {
    asked: Option<mpsc::Sender<pb::WriteUploadRequest>>,
    answers: Streaming<pb::WriteUploadResponse>,
}

impl UploadStream {
    /// Sends a message. A server that has answered already takes no more.
    pub async fn send(&mut self, message: Asked) {
        if let Some(asked) = &self.asked {
            let _ = asked.send(pb::WriteUploadRequest { message: Some(message) }).await;
        }
    }

    /// Sends bytes that begin at a position.
    pub async fn write(&mut self, offset: usize, bytes: &[u8]) {
        for (number, data) in bytes.chunks(CHUNK_BYTES).enumerate() {
            let chunk = pb::ContentChunk {
                data: data.to_vec().into(),
                crc32c: Some(artifactd_domain::crc32c(data)),
                offset: Some((offset + number * CHUNK_BYTES) as i64),
            };
            self.send(Asked::Chunk(chunk)).await;
        }
    }

    /// The next acknowledgement; `None` at the end.
    ///
    /// # Panics
    /// When none comes for long.
    pub async fn ack(&mut self) -> Outcome<Option<i64>> {
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), self.answers.message());
        Ok(next
            .await
            .expect("the server answers")?
            .map(|answer| answer.durable_bytes))
    }

    /// Sends no more, and takes all acknowledgements.
    pub async fn finish(mut self) -> Outcome<Vec<i64>> {
        self.asked = None;
        let mut acks = Vec::new();
        while let Some(ack) = self.ack().await? {
            acks.push(ack);
        }
        Ok(acks)
    }
}

impl Calls {
    /// The generated client of uploads.
    pub fn uploads(&self) -> UploadServiceClient<Line> {
        UploadServiceClient::new(self.channel.clone())
    }

    /// Begins an upload.
    pub async fn create_upload(&self, request: pb::CreateUploadRequest) -> Outcome<pb::Upload> {
        Ok(self.uploads().create_upload(request).await?.into_inner())
    }

    /// Opens a stream that writes from a position on, and takes its first acknowledgement.
    ///
    /// # Panics
    /// When the stream ends at once.
    pub async fn write_upload(&self, uid: &str, offset: usize) -> Outcome<UploadStream> {
        let (asked, waiting) = mpsc::channel(4);
        let header = pb::WriteUploadHeader {
            uid: uid.to_owned(),
            offset: offset as i64,
        };
        let first = pb::WriteUploadRequest {
            message: Some(Asked::Header(header)),
        };
        asked.send(first).await.expect("nobody has answered yet");
        let answers = self.uploads().write_upload(ReceiverStream::new(waiting)).await?;
        let mut stream = UploadStream {
            asked: Some(asked),
            answers: answers.into_inner(),
        };
        assert_eq!(stream.ack().await?, Some(offset as i64));
        Ok(stream)
    }

    /// Writes from a position to the end of a content.
    pub async fn write_rest(&self, uid: &str, content: &[u8], offset: usize, says_end: bool) -> Outcome<Vec<i64>> {
        let mut stream = self.write_upload(uid, offset).await?;
        stream.write(offset, &content[offset..]).await;
        if says_end {
            stream.send(Asked::End(pb::WriteUploadEnd {})).await;
        }
        stream.finish().await
    }

    /// Writes one part.
    pub async fn upload_part(&self, uid: &str, offset: usize, data: &[u8], is_last: bool) -> Outcome<i64> {
        let request = pb::UploadPartRequest {
            uid: uid.to_owned(),
            offset: offset as i64,
            data: data.to_vec().into(),
            crc32c: Some(artifactd_domain::crc32c(data)),
            is_last,
        };
        Ok(self.uploads().upload_part(request).await?.into_inner().durable_bytes)
    }

    /// How far an upload is.
    pub async fn upload(&self, uid: &str) -> Outcome<pb::Upload> {
        let request = pb::GetUploadRequest {
            uid: uid.to_owned(),
            part_sums: false,
        };
        Ok(self.uploads().get_upload(request).await?.into_inner())
    }

    /// A crc32c of each durable part of an upload.
    pub async fn part_sums(&self, uid: &str) -> Outcome<Vec<u32>> {
        let request = pb::GetUploadRequest {
            uid: uid.to_owned(),
            part_sums: true,
        };
        Ok(self.uploads().get_upload(request).await?.into_inner().part_crc32c)
    }

    /// Completes an upload, asking again for as long as it takes.
    pub async fn complete_upload(&self, uid: &str) -> Outcome<pb::SaveArtifactResponse> {
        loop {
            let request = pb::CompleteUploadRequest {
                uid: uid.to_owned(),
                ..Default::default()
            };
            let answer = self.uploads().complete_upload(request).await?.into_inner();
            if let Some(saved) = answer.saved {
                return Ok(saved);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Saves a content by an upload in order, going on where the same request was cut.
    ///
    /// # Errors
    /// When a call is refused or cut.
    pub async fn save_in_parts(
        &self,
        header: pb::SaveHeader,
        content: &[u8],
        part_bytes: i64,
    ) -> Outcome<pb::SaveArtifactResponse> {
        let header = pb::SaveHeader {
            size: Some(content.len() as i64),
            ..header
        };
        let request = pb::CreateUploadRequest {
            save: Some(header),
            parallel: false,
            part_bytes,
        };
        let upload = self.create_upload(request).await?;
        let durable = upload.durable_bytes as usize;
        if durable < content.len() {
            self.write_rest(&upload.uid, content, durable, false).await?;
        }
        self.complete_upload(&upload.uid).await
    }

    /// Saves a content by an upload whose parts travel at once, going on where the same
    /// request was cut.
    ///
    /// # Errors
    /// When a call is refused or cut.
    pub async fn save_in_parts_at_once(
        &self,
        header: pb::SaveHeader,
        content: &[u8],
        part_bytes: i64,
    ) -> Outcome<pb::SaveArtifactResponse> {
        let header = pb::SaveHeader {
            size: Some(content.len() as i64),
            ..header
        };
        let request = pb::CreateUploadRequest {
            save: Some(header),
            parallel: true,
            part_bytes,
        };
        let upload = self.create_upload(request).await?;
        let is_there = |number: usize| {
            let mut ranges = upload.parts.iter();
            ranges.any(|range| (range.first..=range.last).contains(&(number as i64)))
        };
        if upload.state() == pb::UploadState::Open {
            let part_bytes = upload.part_bytes as usize;
            let missing = content
                .chunks(part_bytes)
                .enumerate()
                .filter(|(number, _)| !is_there(*number));
            let sends = missing.map(|(number, part)| self.upload_part(&upload.uid, number * part_bytes, part, false));
            futures::future::try_join_all(sends).await?;
        }
        self.complete_upload(&upload.uid).await
    }

    /// Removes an upload.
    pub async fn abort_upload(&self, uid: &str) -> Outcome<()> {
        let request = pb::AbortUploadRequest { uid: uid.to_owned() };
        self.uploads().abort_upload(request).await?;
        Ok(())
    }
}
