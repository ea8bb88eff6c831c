//! Some files of a folder, which come in one stream.

use std::{fs::File, io::Write, path::Path, sync::Arc};

use artifactd_domain::{Sha256Hasher, manifest::Member};
use futures::TryStreamExt;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Watch, source::in_time, tree::Tree};
use crate::{
    Artifact, Client, Error, MemberPiece, MemberRange, Members, ReadMembersOptions, Result, download::CHUNKS_WAITING,
};

/// Files that one stream brings.
pub(super) struct Group<'a> {
    pub(super) client: &'a Client,
    pub(super) artifact: &'a Artifact,
    pub(super) tree: &'a Arc<Tree>,
    pub(super) watch: &'a Watch,
    pub(super) members: Arc<[Member]>,
}

impl Group<'_> {
    /// Fetches them, over a new stream after each cut.
    pub(super) async fn fetch(&self) -> Result<()> {
        let _turn = self.client.turn().await;
        let uid = self.artifact.uid.to_string();
        let mut writing = Writing::start(Arc::clone(self.tree), uid);
        let fetched = self.pass_on(&mut writing).await;
        let written = writing.finish().await;
        fetched?;
        written
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged {
            uid: self.artifact.uid.to_string(),
            what: what.into(),
        }
    }

    async fn pass_on(&self, writing: &mut Writing) -> Result<()> {
        let (mut at, mut tries) = (Position::default(), 0);
        let mut stream: Option<(Members, usize)> = None;
        while at.member < self.members.len() {
            let next = async {
                let (members, first) = match &mut stream {
                    Some(stream) => stream,
                    None => stream.insert((self.open(&at).await?, at.member)),
                };
                let piece = in_time(self.client, members.try_next()).await?;
                let piece = piece.ok_or_else(|| self.damaged("files are missing"))?;
                self.check(&piece, &at, *first)?;
                Ok(piece)
            };
            match next.await {
                Ok(piece) => {
                    tries = 0;
                    self.watch.came(piece.bytes.len() as u64);
                    at.step(&piece);
                    if !writing.write(piece).await {
                        return Ok(());
                    }
                }
                Err(error) => {
                    stream = None;
                    tries += 1;
                    if !self.client.wait(tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
        self.watch.completed(self.members.len() as u64);
        self.client.inner.retry.succeeded();
        Ok(())
    }

    async fn open(&self, at: &Position) -> Result<Members> {
        let rest = self.members[at.member..].iter().enumerate();
        let ranges = rest.map(|(number, member)| MemberRange {
            path: member.path.to_string(),
            offset: if number == 0 { at.offset as i64 } else { 0 },
            length: None,
        });
        let options = ReadMembersOptions {
            ranges: ranges.collect(),
            if_match: Some(self.artifact.content_etag.clone()),
            include_hidden: true,
            ..ReadMembersOptions::default()
        };
        self.client.read_members(self.artifact.uid, options).await
    }

    /// Whether a piece is what comes next.
    fn check(&self, piece: &MemberPiece, at: &Position, first: usize) -> Result<()> {
        let expected = &self.members[at.member];
        if *piece.member != *expected || piece.number != (at.member - first) as u64 || piece.offset != at.offset {
            return Err(self.damaged(format!("`{}` came instead of `{}`", piece.member.path, expected.path)));
        }
        let is_last = piece.offset + piece.bytes.len() as u64 == expected.size_bytes;
        if is_last != piece.is_last {
            return Err(self.damaged(format!("another range of `{}` came", expected.path)));
        }
        Ok(())
    }
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    member: usize,
    offset: u64,
}

impl Position {
    fn step(&mut self, piece: &MemberPiece) {
        if piece.is_last {
            *self = Self {
                member: self.member + 1,
                offset: 0,
            };
        } else {
            self.offset += piece.bytes.len() as u64;
        }
    }
}

/// A thread that writes and checks files in order.
struct Writing {
    pieces: mpsc::Sender<MemberPiece>,
    done: JoinHandle<Result<()>>,
}

impl Writing {
    fn start(tree: Arc<Tree>, uid: String) -> Self {
        let (pieces, mut waiting) = mpsc::channel::<MemberPiece>(CHUNKS_WAITING);
        let done = tokio::task::spawn_blocking(move || {
            let mut open = None;
            while let Some(piece) = waiting.blocking_recv() {
                let member = &piece.member;
                let failed = |error| Error::file(Path::new(member.path.as_str()), error);
                let (mut file, mut hasher): (File, Sha256Hasher) = match open.take() {
                    Some(open) => open,
                    None => (tree.create(member).map_err(failed)?, Sha256Hasher::default()),
                };
                file.write_all(&piece.bytes).map_err(failed)?;
                hasher.update(&piece.bytes);
                if !piece.is_last {
                    open = Some((file, hasher));
                    continue;
                }
                let (actual, expected) = (hasher.finish(), member.sha256);
                if actual != expected {
                    let what = format!("sha256 of `{}` is {actual}, expected {expected}", member.path);
                    return Err(Error::Damaged { uid, what });
                }
            }
            Ok(())
        });
        Self { pieces, done }
    }

    /// False when the thread has stopped; its outcome says why.
    async fn write(&mut self, piece: MemberPiece) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    async fn finish(self) -> Result<()> {
        drop(self.pieces);
        self.done.await.expect("writing does not panic")
    }
}
