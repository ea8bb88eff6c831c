//! The contents that the server wants: small ones together, large ones in chunks.

use std::io;

use artifactd_domain::crc32c;
use artifactd_proto::v1::{self as pb, save_folder_request::Message as Asked};
use tokio::sync::mpsc;

use super::{
    super::group::{Content, Large},
    Conversation, Pending,
};
use crate::{Error, Result, upload::CHUNKS_AHEAD};

/// Bytes of contents in one message of whole files, with what is said about them.
/// A single one may have a few more.
const FILES_BYTES_MAX: usize = 1024 * 1024;

/// What a file takes in its message besides its content.
const FILE_BYTES: usize = 32;

impl Conversation<'_> {
    /// Sends all that is wanted so far.
    pub(super) async fn send_wanted(&mut self) -> Result<()> {
        while let Some((mut group, numbers)) = self.wanted.pop_front() {
            let (mut files, mut bytes) = (Vec::new(), 0);
            for number in numbers {
                let content = match group.take(number) {
                    Content::Small(content) => content,
                    Content::Large(large) => {
                        self.send_large(number, large).await?;
                        continue;
                    }
                    Content::None => return Err(Error::Answer(format!("entry {number} is wanted and has no content"))),
                };
                if bytes + FILE_BYTES + content.len() > FILES_BYTES_MAX {
                    self.send_files(std::mem::take(&mut files)).await?;
                    bytes = 0;
                }
                bytes += FILE_BYTES + content.len();
                files.push(pb::FolderFile {
                    number,
                    crc32c: Some(crc32c(&content)),
                    content,
                });
            }
            self.send_files(files).await?;
        }
        Ok(())
    }

    async fn send_files(&mut self, files: Vec<pb::FolderFile>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let sizes = files.iter().map(|file| (file.number, file.content.len() as u64));
        let pending = Pending::Files(sizes.collect());
        self.ask(Asked::Files(pb::FolderFiles { files }), pending).await
    }

    /// Reads a content once more, ahead of the connection, and sends it.
    async fn send_large(&mut self, number: i64, large: Large) -> Result<()> {
        let pending = Pending::Files(vec![(number, large.size_bytes())]);
        let (chunks, mut ready) = mpsc::channel(CHUNKS_AHEAD);
        // The thread ends with the content, or when nobody takes its chunks any more.
        let reading = tokio::task::spawn_blocking(move || large.read(&chunks));
        self.send(Asked::FileBegin(pb::FolderFileBegin { number })).await?;
        while let Some(chunk) = ready.recv().await {
            self.send(Asked::Chunk(chunk)).await?;
        }
        let path = &self.plan.items[number as usize].path;
        let read = reading.await;
        read.map_err(|error| Error::file(path.as_str().as_ref(), io::Error::other(error)))??;
        self.ask(Asked::FileEnd(pb::FolderFileEnd {}), pending).await
    }
}
