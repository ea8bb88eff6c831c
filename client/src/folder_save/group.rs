//! Groups of entries, hashed and partly read before the server hears of them.

use std::{
    fs::File,
    io::{Read, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

use artifactd_domain::{Sha256, Sha256Hasher, crc32c, manifest::MemberPath};
use artifactd_proto::v1::{self as pb, folder_entry};
use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Error, Result,
    upload::{Buffers, CHUNK_BYTES, next_chunk},
};

/// Contents below this size are kept until they are wanted and sent whole; others
/// are read again and sent in chunks.
const SMALL_BYTES_END: u64 = 1024 * 1024;

/// Entries of one group; a message may have 4,096.
const ENTRIES_MAX: usize = 4_000;

/// Bytes of small contents of one group. Three groups are in memory at once: one that
/// is being sent, one that was listed, one that is being read.
const SMALL_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of larger contents after which a group ends, so that they are sent while
/// the next ones are hashed.
const HASHED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One entry, and where its content is.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: MemberPath,
    pub(super) source: Source,
}

/// Where the content of an entry is.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Bytes(Bytes),
    Copy(pb::FolderCopy),
    /// The file shall go.
    Nothing,
}

/// Entries that are told together, and their contents.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Number of the first entry.
    pub(super) first: usize,
    /// Empty once they were told.
    pub(super) entries: Vec<pb::FolderEntry>,
    contents: Vec<Content>,
}

/// A content that may be wanted.
#[derive(Debug, Default)]
pub(super) enum Content {
    /// There is none, or it was taken.
    #[default]
    None,
    Small(Bytes),
    Large(Large),
}

impl Content {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Small(content) => content.len() as u64,
            Self::Large(large) => large.size_bytes(),
        }
    }
}

/// A content that goes in chunks.
#[derive(Debug)]
pub(super) enum Large {
    Bytes(Bytes),
    File { path: PathBuf, size_bytes: u64 },
}

impl Group {
    /// Begins to read the group that has this first entry. Reading stops when nobody waits for it.
    pub(super) fn start(items: &Arc<[Item]>, first: usize) -> oneshot::Receiver<Result<Self>> {
        let (mut group, waiting) = oneshot::channel();
        let items = Arc::clone(items);
        // The thread ends with its group, or soon after the receiver is gone.
        drop(tokio::task::spawn_blocking(move || {
            let read = Self::read(&items, first, &mut group);
            // Whoever went away needs no group.
            let _ = group.send(read);
        }));
        waiting
    }

    fn read(items: &[Item], first: usize, waiting: &mut oneshot::Sender<Result<Self>>) -> Result<Self> {
        let mut group = Self {
            first,
            ..Self::default()
        };
        let (mut small, mut hashed) = (0, 0);
        for item in items[first..].iter().take(ENTRIES_MAX) {
            let (entry, content) = item.identify(waiting)?;
            match &content {
                Content::None => {}
                Content::Small(content) => small += content.len() as u64,
                Content::Large(large) => hashed += large.size_bytes(),
            }
            group.entries.push(pb::FolderEntry {
                path: item.path.to_string(),
                content: Some(entry),
            });
            group.contents.push(content);
            // The next one may be as large as a small one gets.
            if small + SMALL_BYTES_END > SMALL_BYTES_MAX || hashed >= HASHED_BYTES_MAX {
                break;
            }
        }
        Ok(group)
    }

    /// Number of the entry after the last.
    pub(super) fn end(&self) -> usize {
        self.first + self.contents.len()
    }

    /// Bytes of all contents that were not taken.
    pub(super) fn bytes(&self) -> u64 {
        self.contents.iter().map(Content::size_bytes).sum()
    }

    /// Bytes of the content of an entry, unless it was taken.
    pub(super) fn bytes_of(&self, number: i64) -> u64 {
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(self.first));
        let content = index.and_then(|index| self.contents.get(index));
        content.map(Content::size_bytes).unwrap_or_default()
    }

    /// Takes the content of an entry; none when there is none or it was taken.
    pub(super) fn take(&mut self, number: i64) -> Content {
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(self.first));
        let content = index.and_then(|index| self.contents.get_mut(index));
        content.map(std::mem::take).unwrap_or_default()
    }
}

impl Item {
    /// What to tell of the entry, and the content that may be wanted then.
    fn identify(&self, waiting: &mut oneshot::Sender<Result<Group>>) -> Result<(folder_entry::Content, Content)> {
        match &self.source {
            Source::Nothing => Ok((folder_entry::Content::Remove(true), Content::None)),
            Source::Copy(copy) => Ok((folder_entry::Content::Copy(copy.clone()), Content::None)),
            Source::Bytes(bytes) => {
                let entry = file(bytes.len() as u64, Sha256::of(bytes));
                let is_small = (bytes.len() as u64) < SMALL_BYTES_END;
                let content = if is_small {
                    Content::Small
                } else {
                    |bytes| Content::Large(Large::Bytes(bytes))
                };
                Ok((entry?, content(bytes.clone())))
            }
            Source::File(path) => identify_file(path, || waiting.is_closed()),
        }
    }
}

fn identify_file(path: &Path, is_stopped: impl Fn() -> bool) -> Result<(folder_entry::Content, Content)> {
    let failed = |error| Error::file(path, error);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Error::Input(format!("{} is no regular file", path.display())));
    }
    let mut opened = File::open(path).map_err(failed)?;
    if metadata.len() < SMALL_BYTES_END {
        let mut content = Vec::with_capacity(metadata.len() as usize + 1);
        let small = (&mut opened).take(SMALL_BYTES_END);
        { small }.read_to_end(&mut content).map_err(failed)?;
        if (content.len() as u64) < SMALL_BYTES_END {
            let entry = file(content.len() as u64, Sha256::of(&content))?;
            return Ok((entry, Content::Small(content.into())));
        }
        // It has grown meanwhile.
        opened.rewind().map_err(failed)?;
    }
    let (size_bytes, sha256) = hash(&mut opened, is_stopped).map_err(failed)?;
    let path = path.to_owned();
    Ok((
        file(size_bytes, sha256)?,
        Content::Large(Large::File { path, size_bytes }),
    ))
}

fn file(size_bytes: u64, sha256: Sha256) -> Result<folder_entry::Content> {
    let size = i64::try_from(size_bytes).map_err(|_| Error::Input("a file is too large".to_owned()))?;
    Ok(folder_entry::Content::File(pb::FolderFileIdentity {
        size,
        sha256: sha256.to_string(),
    }))
}

fn hash(file: &mut File, is_stopped: impl Fn() -> bool) -> std::io::Result<(u64, Sha256)> {
    let (mut hasher, mut size_bytes) = (Sha256Hasher::default(), 0);
    let mut memory = BytesMut::zeroed(CHUNK_BYTES);
    loop {
        let read = file.read(&mut memory)?;
        if read == 0 || is_stopped() {
            return Ok((size_bytes, hasher.finish()));
        }
        hasher.update(&memory[..read]);
        size_bytes += read as u64;
    }
}

impl Large {
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size_bytes, .. } => *size_bytes,
        }
    }

    /// Gives all chunks, or those that somebody takes. What was added to a file after
    /// it was hashed stays behind; a shorter one ends early, which the server notices.
    pub(super) fn read(self, chunks: &mpsc::Sender<pb::ContentChunk>) -> Result<()> {
        let mut offset = 0;
        let mut send = |data: Bytes| {
            let (bytes, sum) = (data.len() as i64, crc32c(&data));
            let chunk = pb::ContentChunk {
                data,
                crc32c: Some(sum),
                offset: Some(offset),
            };
            offset += bytes;
            chunks.blocking_send(chunk).is_ok()
        };
        match self {
            Self::Bytes(mut bytes) => while !bytes.is_empty() && send(bytes.split_to(bytes.len().min(CHUNK_BYTES))) {},
            Self::File { path, size_bytes } => {
                let failed = |error| Error::file(&path, error);
                let mut file = File::open(&path).map_err(failed)?.take(size_bytes);
                let mut buffers = Buffers::default();
                loop {
                    let data = next_chunk(&mut file, buffers.free()).map_err(failed)?;
                    buffers.keep(&data);
                    if data.is_empty() || !send(data) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
