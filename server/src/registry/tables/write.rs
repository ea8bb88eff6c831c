//! Batches that become an artifact, through the same save as every content.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use artifactd_domain::Suffix;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;

use super::super::{
    Caller, Content, NewArtifact, Registry, RegistryError, Replaced, Replacement, Result, Saved,
    content::{Data, Declared, Piece},
};
use crate::arrays::{ArrayError, MessageReader, TableWriter};

/// The format of a table whose name says none.
const SUFFIX_DEFAULT: &str = ".parquet";

/// Largest schema, with its metadata: it travels in one message to whoever reads the table.
const SCHEMA_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Messages and pieces of the file that wait.
const MESSAGES_WAITING: usize = 1;
const PIECES_WAITING: usize = 4;

/// A table that is to be written.
pub struct NewTable {
    /// What becomes of it.
    pub target: Target,
    /// The header of the first message: the schema.
    pub schema: Bytes,
    /// Headers and bodies of the messages behind it.
    pub messages: BoxStream<'static, Result<(Bytes, Bytes)>>,
}

/// What a written table becomes.
#[derive(Debug, Clone)]
pub enum Target {
    /// An artifact or a version.
    New(Box<NewArtifact>),
    /// The content of an artifact.
    Replace(Box<Replacement>),
}

/// What became of a written table.
#[derive(Debug, Clone)]
pub enum Written {
    /// An artifact or a version.
    Saved(Box<Saved>),
    /// The content of an artifact.
    Replaced(Box<Replaced>),
}

/// How far a write is, for whoever wants to know meanwhile.
#[derive(Debug, Clone, Default)]
pub struct WriteProgress {
    rows: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl WriteProgress {
    /// Rows that came, and bytes of the file.
    pub fn get(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

impl Registry {
    /// Writes a table and saves it.
    pub async fn write_table(
        self: &Arc<Self>,
        caller: &Caller,
        table: NewTable,
        progress: WriteProgress,
    ) -> Result<Written> {
        let NewTable {
            target,
            schema,
            messages,
        } = table;
        let suffix = match self.suffix_of_target(caller, &target).await?.as_str() {
            "" => SUFFIX_DEFAULT.to_owned(),
            named => named.to_owned(),
        };
        let (to_writer, from_caller) = mpsc::channel(MESSAGES_WAITING);
        let (to_save, pieces) = mpsc::channel(PIECES_WAITING);
        let feeding = self.spawn(feed(messages, to_writer));
        let writing = tokio::task::spawn_blocking(move || write(&schema, &suffix, from_caller, &to_save, &progress));
        let content = Content::Stream(
            futures::stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) }).boxed(),
        );
        let written = match target {
            Target::New(new) => self
                .save(caller, *new, content)
                .await
                .map(|saved| Written::Saved(Box::new(saved))),
            Target::Replace(by) => {
                let replaced = self.replace(caller, *by, content).await;
                replaced.map(|replaced| Written::Replaced(Box::new(replaced)))
            }
        };
        feeding.abort();
        let _ = writing.await;
        written
    }
}

impl Registry {
    /// The suffix that says in which format a table is written.
    async fn suffix_of_target(&self, caller: &Caller, target: &Target) -> Result<Suffix> {
        match target {
            Target::New(new) => self.suffix_of(caller, new).await,
            Target::Replace(by) => {
                let row = self.find(self.db.reader(), caller, &by.reference, true).await?;
                Ok(by.suffix(&row))
            }
        }
    }
}

/// Passes messages on to the thread that writes; the first error is the last one.
async fn feed(mut messages: BoxStream<'static, Result<(Bytes, Bytes)>>, to: mpsc::Sender<Result<(Bytes, Bytes)>>) {
    while let Some(message) = messages.next().await {
        let failed = message.is_err();
        if to.send(message).await.is_err() || failed {
            return;
        }
    }
    // The end is said, so that a feeder that was taken away is none.
    let _ = to.send(Ok((Bytes::new(), Bytes::new()))).await;
}

type Pieces = mpsc::Sender<Result<Piece>>;

fn write(
    schema: &Bytes,
    suffix: &str,
    mut messages: mpsc::Receiver<Result<(Bytes, Bytes)>>,
    pieces: &Pieces,
    progress: &WriteProgress,
) {
    let written = write_all(schema, suffix, &mut messages, pieces, progress);
    let last = match written {
        Ok(()) => Ok(Piece::End(Declared::default())),
        Err(error) => Err(error),
    };
    // Whoever saves may have gone away, and knows why.
    let _ = pieces.blocking_send(last);
}

fn write_all(
    schema: &Bytes,
    suffix: &str,
    messages: &mut mpsc::Receiver<Result<(Bytes, Bytes)>>,
    pieces: &Pieces,
    progress: &WriteProgress,
) -> Result<()> {
    if schema.len() > SCHEMA_BYTES_MAX {
        let error = ArrayError::too_large("the schema", schema.len() as u64, SCHEMA_BYTES_MAX as u64);
        return Err(RegistryError::Array(error));
    }
    let mut reader = MessageReader::new(schema).map_err(RegistryError::Batch)?;
    let mut writer = TableWriter::new(suffix, Arc::clone(reader.schema())).map_err(refused)?;
    let send = |ready: Vec<Bytes>| -> Result<()> {
        for piece in ready {
            progress.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let data = Data::new(vec![piece]);
            pieces
                .blocking_send(Ok(Piece::Data(data)))
                .map_err(|_| RegistryError::StreamIncomplete)?;
        }
        Ok(())
    };
    loop {
        let (header, body) = messages.blocking_recv().ok_or(RegistryError::StreamIncomplete)??;
        if header.is_empty() {
            break;
        }
        if let Some(batch) = reader.message(&header, body).map_err(RegistryError::Batch)? {
            send(writer.write(&batch).map_err(refused)?)?;
            progress.rows.store(writer.rows(), Ordering::Relaxed);
        }
    }
    send(writer.finish().map_err(refused)?)
}

/// A writer refuses what its caller sent.
fn refused(error: ArrayError) -> RegistryError {
    match error {
        error @ (ArrayError::Selection { .. } | ArrayError::UnitTooLarge { .. }) => RegistryError::Array(error),
        error if error.is_about_content() => RegistryError::Batch(error),
        error => error.into(),
    }
}
