//! Writing to an upload: bytes in, acknowledgements of what is durable out.

use std::sync::Arc;

use artifactd_domain::BlockChecksums;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Caller, Registry, RegistryError, Result, content::Data, placing::integer, turns::ContentTurn},
    UploadState, bytes_of, contiguous, declared, has_end,
    hashing::UploadHash,
    locks::WriterTurn,
    object_of,
    recording::{FilledPart, OpenPart, Recorder, Target},
    unsigned,
};
use crate::{
    db::uploads::{self, UploadRow},
    storage::{PartPlace, PartedObject, Store},
};

/// Filled parts that wait to be made durable while the next one comes in.
const PARTS_WAITING_MAX: usize = 1;

/// Acknowledgements that wait to be taken.
const ACKS_WAITING_MAX: usize = 8;

/// What was made durable, or why no more is: the position behind it.
pub type Acks = mpsc::Receiver<Result<u64>>;

/// A stream that writes to an upload.
pub struct UploadWriter {
    registry: Arc<Registry>,
    row: Arc<UploadRow>,
    object: PartedObject,
    store: Store,
    /// Position of the next byte.
    offset: u64,
    /// Size that the content may not exceed.
    size_bytes_max: u64,
    open: Option<OpenPart>,
    filled: mpsc::Sender<FilledPart>,
    /// While the hash of all bytes before is known.
    hashing: Option<UploadHash>,
    /// Told when another stream has taken over, where one writes at a time.
    superseded: Option<CancellationToken>,
    _content_turn: ContentTurn,
}

impl Registry {
    /// Opens a stream that writes to an upload of the caller from `offset` on; where parts
    /// come in order, whoever wrote before is turned away.
    pub async fn write_upload(
        self: &Arc<Self>,
        caller: &Caller,
        uid: &str,
        offset: u64,
    ) -> Result<(UploadWriter, Acks)> {
        let content_turn = self.content_turns.take().await?;
        self.write_in_turn(caller, (uid, offset), content_turn).await
    }

    async fn write_in_turn(
        self: &Arc<Self>,
        caller: &Caller,
        (uid, offset): (&str, u64),
        content_turn: ContentTurn,
    ) -> Result<(UploadWriter, Acks)> {
        let mut row = self.find_upload(caller, uid).await?;
        if UploadState::of(&row)? != UploadState::Open {
            return Err(RegistryError::UploadNotOpen(row.uid));
        }
        let store = self.places.storage_by_id(row.storage_id)?.store.clone();
        let (turn, epoch) = if row.is_parallel {
            if !offset.is_multiple_of(unsigned(row.part_bytes)) {
                return Err(off_border(&row));
            }
            self.note_writer(&mut row, &store).await?;
            (None, row.epoch)
        } else {
            let (turn, epoch) = self.take_over_upload(&row).await?;
            let parts = uploads::parts(self.db.reader(), row.id).await?;
            let durable = contiguous(&parts, row.part_bytes);
            if offset != durable {
                return Err(RegistryError::OffsetMismatch(durable));
            }
            // Not where one in between has to come again.
            if has_end(&parts, row.part_bytes) && durable == bytes_of(&parts) {
                return Err(RegistryError::UploadNotOpen(row.uid));
            }
            (Some(turn), epoch)
        };
        let (filled, waiting) = mpsc::channel(PARTS_WAITING_MAX);
        let (acks, told) = mpsc::channel(ACKS_WAITING_MAX);
        let superseded = turn.as_ref().map(|turn| turn.superseded.clone());
        let (object, row) = (object_of(&row)?, Arc::new(row));
        let recorder = Recorder {
            registry: Arc::clone(self),
            row: Arc::clone(&row),
            object: object.clone(),
            store: store.clone(),
            epoch,
            turn,
        };
        drop(self.spawn(recorder.run(waiting, acks)));
        let hasher = if row.is_parallel {
            None
        } else {
            self.hash_seal.hasher(&row, offset)
        };
        let writer = UploadWriter {
            registry: Arc::clone(self),
            object,
            store,
            offset,
            size_bytes_max: declared(&row)?.size_bytes.unwrap_or(self.limits.content_bytes_max),
            open: None,
            filled,
            hashing: hasher.map(UploadHash::new),
            row,
            superseded,
            _content_turn: content_turn,
        };
        Ok((writer, told))
    }

    /// Writes one part of an upload of the caller, which was read in its turn; answers the
    /// position behind it.
    pub async fn upload_part(
        self: &Arc<Self>,
        caller: &Caller,
        (uid, offset): (&str, u64),
        (data, is_last): (Data, bool),
        turn: ContentTurn,
    ) -> Result<u64> {
        let (mut writer, mut acks) = self.write_in_turn(caller, (uid, offset), turn).await?;
        let (part_bytes, end) = (writer.row.part_bytes, offset + data.size_bytes());
        let put = writer.put(data).await;
        let ended = writer.end(is_last && put.is_ok()).await;
        let mut durable = offset;
        while let Some(ack) = acks.recv().await {
            durable = ack?;
        }
        put?;
        ended?;
        if durable < end {
            let rule = format!("must have {part_bytes} bytes, as only the last part may have fewer");
            return Err(RegistryError::other("data", rule));
        }
        Ok(end)
    }

    async fn take_over_upload(&self, row: &UploadRow) -> Result<(WriterTurn, i64)> {
        let id = row.id;
        let turn = self.upload_locks.take_over(id).await;
        let taken = self
            .db
            .write::<_, RegistryError, _>(move |txn| Box::pin(async move { Ok(uploads::take_over(txn, id).await?) }));
        let epoch = taken
            .await?
            .ok_or_else(|| RegistryError::UploadNotOpen(row.uid.clone()))?;
        self.upload_locks.note_epoch(id, epoch);
        Ok((turn, epoch))
    }
}

fn off_border(row: &UploadRow) -> RegistryError {
    let rule = format!("is not a multiple of {}, where a part begins", row.part_bytes);
    RegistryError::other("offset", rule)
}

impl UploadWriter {
    /// Position of the next byte.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Completes when another stream has taken over.
    pub async fn superseded(&self) {
        let part = self.open.as_ref().and_then(|part| part.turn.as_ref());
        match (&self.superseded, part) {
            (Some(superseded), _) => superseded.cancelled().await,
            (None, Some(part)) => part.superseded().await,
            (None, None) => std::future::pending().await,
        }
    }

    /// The upload is another stream's by now.
    pub fn fenced(&self) -> RegistryError {
        RegistryError::UploadFenced(self.row.uid.clone())
    }

    /// Goes on at another position, where parts may come in any order.
    pub fn jump(&mut self, offset: u64) -> Result<()> {
        if offset == self.offset {
            return Ok(());
        }
        if !self.row.is_parallel || self.open.is_some() {
            return Err(RegistryError::OffsetMismatch(self.offset));
        }
        if !offset.is_multiple_of(unsigned(self.row.part_bytes)) {
            return Err(off_border(&self.row));
        }
        self.offset = offset;
        Ok(())
    }

    /// Takes the next bytes. False when recording has failed, which its acknowledgements tell.
    pub async fn put(&mut self, data: Data) -> Result<bool> {
        let end = self.offset + data.size_bytes();
        if end > self.size_bytes_max {
            return Err(match declared(&self.row)?.size_bytes {
                Some(declared) => RegistryError::SizeMismatch { declared, actual: end },
                None => RegistryError::ContentTooLarge(self.size_bytes_max),
            });
        }
        for piece in data.into_pieces() {
            if !self.put_piece(piece).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn put_piece(&mut self, mut piece: Bytes) -> Result<bool> {
        let part_bytes = unsigned(self.row.part_bytes);
        while !piece.is_empty() {
            let mut part = match self.open.take() {
                Some(part) => part,
                None => self.begin_part().await?,
            };
            let room = part_bytes - part.size_bytes;
            let next = piece.split_to(piece.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            if let Some(hashing) = &self.hashing {
                hashing.update(next.clone()).await;
            }
            part.put(next.clone()).await?;
            self.offset += next.len() as u64;
            let is_full =
                part.size_bytes == part_bytes || self.row.declared_size_bytes.map(unsigned) == Some(self.offset);
            if !is_full {
                self.open = Some(part);
            } else if !self.hand_over(part).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives a part to who records it; false when that has failed.
    async fn hand_over(&self, part: OpenPart) -> bool {
        let hash = match &self.hashing {
            Some(hashing) => Some(hashing.state().await),
            None => None,
        };
        self.filled.send(FilledPart { part, hash }).await.is_ok()
    }

    async fn begin_part(&self) -> Result<OpenPart> {
        let number = self.offset / unsigned(self.row.part_bytes);
        let place = PartPlace {
            number: usize::try_from(number).map_err(|_| RegistryError::ContentTooLarge(self.size_bytes_max))?,
            offset: self.offset,
        };
        if number >= super::PARTS_MAX {
            let most = super::PARTS_MAX * unsigned(self.row.part_bytes);
            return Err(RegistryError::ContentTooLarge(most));
        }
        let (mut turn, mut there) = (None, None);
        if self.row.is_parallel {
            turn = Some(self.registry.upload_locks.take_part(self.row.id, number).await);
            there = uploads::part(self.registry.db.reader(), self.row.id, integer(number)?).await?;
        }
        let target = match there {
            Some(part) => Target::Compared(part),
            None => Target::Store(self.store.parts.begin_part(&self.object, place)),
        };
        Ok(OpenPart {
            number,
            size_bytes: 0,
            sums: BlockChecksums::default(),
            target,
            turn,
        })
    }

    /// Ends the stream. `is_all` says that the content ends here; without it a part that
    /// is not full is dropped, and is sent again by whoever goes on.
    pub async fn end(mut self, is_all: bool) -> Result<()> {
        let open = self.open.take();
        if !is_all {
            return Ok(());
        }
        match (open, declared(&self.row)?.size_bytes) {
            (_, Some(declared)) if declared != self.offset => {
                let actual = self.offset;
                return Err(RegistryError::SizeMismatch { declared, actual });
            }
            // Recording that has failed says so in its acknowledgements.
            (Some(part), _) => drop(self.hand_over(part).await),
            (None, None) => drop(self.hand_over(self.end_mark()).await),
            (None, Some(_)) => {}
        }
        Ok(())
    }

    /// Where the last part is full, one of no bytes says that it was the last.
    fn end_mark(&self) -> OpenPart {
        OpenPart {
            number: self.offset / unsigned(self.row.part_bytes),
            size_bytes: 0,
            sums: BlockChecksums::default(),
            target: Target::Nothing,
            turn: None,
        }
    }
}
