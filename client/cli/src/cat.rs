//! `artifactctl cat`

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use artifactd_client::{
    Error, ReadOptions,
    domain::{Sha256, Sha256Hasher},
};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Context,
    exit::{Code, Failure},
};

/// Pieces that may wait for whoever reads the output.
const PIECES_WAITING: usize = 16;

/// Write the content of a file to standard output
///
/// Every piece is checked before it is written, and the whole at the end.
#[derive(Debug, clap::Args)]
pub(crate) struct Cat {
    /// The artifact
    artifact: String,
    /// Path of the file, when the artifact is a folder
    #[arg(long, value_name = "PATH")]
    member: Option<String>,
    /// First byte; counted from the end when negative
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    offset: i64,
    /// Most bytes; to the end unless set
    #[arg(long)]
    length: Option<u64>,
    /// Find a hidden one by its key or stem too
    #[arg(long)]
    hidden: bool,
}

pub(crate) async fn run(context: &mut Context, command: Cat) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let options = ReadOptions {
        offset: command.offset,
        length: command.length,
        include_hidden: command.hidden,
        member: command.member.clone(),
        ..ReadOptions::default()
    };
    let mut content = client.open_steady(&command.artifact, options).await?;
    let whole = content.is_whole().then(|| content.sha256());
    let uid = content.artifact().uid;
    let mut writing = Writing::start(whole.is_some())?;
    let read = async {
        while let Some(data) = content.try_next().await? {
            if !writing.write(data).await {
                break;
            }
        }
        Ok::<(), Error>(())
    };
    let read = read.await;
    let written = writing.finish().await.map_err(|error| Failure::output(&error))?;
    read?;
    if let (Some(expected), Some(actual)) = (whole, written)
        && expected != actual
    {
        let text = format!("the content of {uid} has the sha256 {actual}, expected {expected}");
        return Err(Failure::new(Code::Damaged, text));
    }
    Ok(Code::Done)
}

/// A thread that writes and hashes, past the buffer for lines.
struct Writing {
    pieces: mpsc::Sender<Bytes>,
    done: JoinHandle<io::Result<Option<Sha256>>>,
}

impl Writing {
    fn start(hashes: bool) -> Result<Self, Failure> {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let mut stdout = File::from(stdout.map_err(|error| Failure::output(&error))?);
        let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES_WAITING);
        let done = tokio::task::spawn_blocking(move || {
            let mut hasher = hashes.then(Sha256Hasher::default);
            while let Some(piece) = waiting.blocking_recv() {
                stdout.write_all(&piece)?;
                if let Some(hasher) = &mut hasher {
                    hasher.update(&piece);
                }
            }
            Ok(hasher.map(Sha256Hasher::finish))
        });
        Ok(Self { pieces, done })
    }

    /// False when the thread has stopped; its outcome says why.
    async fn write(&mut self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    async fn finish(self) -> io::Result<Option<Sha256>> {
        drop(self.pieces);
        self.done.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}
