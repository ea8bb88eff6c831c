//! One content, over one or several streams, into a file.

use std::{
    collections::VecDeque,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{TryStreamExt, future::try_join_all};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    DownloadOptions, Downloaded, IfExists, Part, Place, Source, Watch, part::SPAN_BYTES, place::is_same_file,
    source::in_time,
};
use crate::{Artifact, Client, Content, Error, IntoReference, ReadOptions, Reason, Result, download::CHUNKS_WAITING};

impl Client {
    /// Downloads a file or folder to `path`. It appears there whole, checked and durable, or
    /// not at all; a file that was there gives way, a folder does not.
    pub async fn download(&self, artifact: impl IntoReference, path: impl AsRef<Path>) -> Result<Artifact> {
        let done = self.download_with(artifact, path, DownloadOptions::default());
        Ok(done.await?.artifact)
    }

    /// Downloads a file or folder, with options.
    ///
    /// Folders above the target are made. A cut is overcome within the tries of the client;
    /// after that, or when this program was killed, the same call goes on where it stopped:
    /// what has come lies beside the target until then (`.<name>.<id>.part`). Two that
    /// download the same content to the same target share the work.
    ///
    /// ```no_run
    /// # async fn get(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// use artifactd_client::{DownloadOptions, IfExists};
    ///
    /// let options = DownloadOptions {
    ///     if_exists: IfExists::KeepSame,
    ///     ..DownloadOptions::default()
    /// };
    /// let got = client.download_with("cells/pbmc68k.h5ad", "data/pbmc68k.h5ad", options).await?;
    /// println!("{} bytes travelled", got.moved_bytes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] of kind `AlreadyExists` when what lies at the target must stay;
    /// [`Error::Damaged`] when what came is not what the record says, of which nothing is kept.
    pub async fn download_with(
        &self,
        artifact: impl IntoReference,
        path: impl AsRef<Path>,
        options: DownloadOptions,
    ) -> Result<Downloaded> {
        let (reference, path) = (artifact.into_reference()?, path.as_ref());
        let place = off_thread(path, {
            let (path, if_exists) = (path.to_owned(), options.if_exists);
            move || Place::new(&path, if_exists)
        })
        .await?;
        let turn = self.turn().await;
        let first = ReadOptions {
            // More would be read by other streams.
            length: (options.streams > 1).then_some(SPAN_BYTES),
            include_hidden: options.include_hidden,
            member: options.member.clone(),
            ..ReadOptions::default()
        };
        let first = match self.open_content(reference.clone(), first).await {
            Err(error) if error.reason() == Some(Reason::ArtifactIsFolder) => {
                drop(turn);
                return Box::pin(self.download_tree(reference, place, options)).await;
            }
            first => first?,
        };
        drop(turn);
        let source = Source::of_content(&first, options.member.clone());
        let artifact = first.artifact().clone();
        let watch = Watch::begin(&self.events, 1, source.size_bytes);
        let had = fetch_to(self, &source, (place, first), &options, &watch).await?;
        watch.completed(1);
        Ok(Downloaded {
            moved_bytes: watch.finish(),
            artifact,
            path: path.to_owned(),
            was_there: had,
        })
    }
}

/// Fetches a content to its place. Answers whether it was there.
async fn fetch_to(
    client: &Client,
    source: &Source,
    (place, first): (Place, Content),
    options: &DownloadOptions,
    watch: &Watch,
) -> Result<bool> {
    if place.if_exists() == IfExists::KeepSame && is_there(&place, source).await? {
        watch.was_there(source.size_bytes);
        return Ok(true);
    }
    let (part, waited) = Part::open(place.part(source.sha256), source.sha256, source.size_bytes).await?;
    // Whoever had it may have finished it.
    if waited && is_there(&place, source).await? {
        part.discard();
        watch.was_there(source.size_bytes);
        return Ok(true);
    }
    let part = Arc::new(part);
    fetch_part(client, source, Some(first), &part, options.streams, watch).await?;
    let (target, durable) = (place.target().to_owned(), options.durable);
    off_thread(&target, move || part.become_file(&place, durable)).await?;
    Ok(false)
}

/// Whether the target is this very content. With `KeepSame` another one is an error.
pub(super) async fn is_there(place: &Place, source: &Source) -> Result<bool> {
    let (owned, size_bytes, sha256) = (place.clone(), source.size_bytes, source.sha256);
    off_thread(place.target(), move || {
        let target = owned.target();
        let is_same = is_same_file(target, size_bytes, sha256)?;
        if !is_same && owned.if_exists() == IfExists::KeepSame {
            super::place::require_absent(target)?;
        }
        Ok(is_same)
    })
    .await
}

/// Fetches what is missing of a file until all of it is there and right. What cannot
/// become right is removed.
pub(crate) async fn fetch_part(
    client: &Client,
    source: &Source,
    first: Option<Content>,
    part: &Arc<Part>,
    streams: usize,
    watch: &Watch,
) -> Result<()> {
    let done = fetch_and_check(client, source, first, part, streams, watch).await;
    if done.as_ref().is_err_and(Error::ends_content) {
        part.discard();
    }
    done
}

async fn fetch_and_check(
    client: &Client,
    source: &Source,
    mut first: Option<Content>,
    part: &Arc<Part>,
    streams: usize,
    watch: &Watch,
) -> Result<()> {
    let mut taken_over = part.present_bytes();
    watch.was_there(taken_over);
    loop {
        let work = Work {
            client,
            source,
            part,
            watch,
            spans: Mutex::new(part.missing().into()),
        };
        work.run(first.take(), streams).await?;
        let hashed = Arc::clone(part);
        let actual = off_thread(Path::new("part"), move || hashed.sha256()).await?;
        if actual == source.sha256 {
            return Ok(());
        }
        if taken_over == 0 {
            let expected = source.sha256;
            return Err(source.damaged(format!("sha256 is {actual}, expected {expected}")));
        }
        // What an earlier run left was not what it seemed.
        let cleared = Arc::clone(part);
        off_thread(Path::new("part"), move || cleared.clear()).await?;
        watch.was_wrong(source.size_bytes);
        taken_over = 0;
    }
}

/// What is to be fetched, and by whom.
struct Work<'a> {
    client: &'a Client,
    source: &'a Source,
    part: &'a Arc<Part>,
    watch: &'a Watch,
    /// Spans that no stream has taken.
    spans: Mutex<VecDeque<Range<u64>>>,
}

impl Work<'_> {
    async fn run(&self, first: Option<Content>, streams: usize) -> Result<()> {
        // A stream that was opened before anybody knew serves where all is missing.
        let mut first = first.filter(|_| self.part.present_bytes() == 0);
        let streams = streams.clamp(1, self.len().max(1));
        try_join_all((0..streams).map(|_| self.fetch_spans(first.take()))).await?;
        Ok(())
    }

    fn len(&self) -> usize {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn next(&self) -> Option<Range<u64>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn fetch_spans(&self, mut first: Option<Content>) -> Result<()> {
        let _turn = self.client.turn().await;
        while let Some(mut span) = self.next() {
            let content = first.take();
            if let Some(content) = &content {
                // A stream that brings all takes all.
                while span.end < content.end
                    && let Some(next) = self.next()
                {
                    span.end = next.end;
                }
            }
            self.fetch(span, content).await?;
        }
        Ok(())
    }

    /// Fetches a span, over a new stream after each cut.
    async fn fetch(&self, span: Range<u64>, mut content: Option<Content>) -> Result<()> {
        let mut writing = Writing::start(Arc::clone(self.part), span.clone());
        let fetched = self.pass_on(span, &mut content, &mut writing).await;
        let written = writing.finish().await;
        fetched?;
        written
    }

    async fn pass_on(&self, span: Range<u64>, content: &mut Option<Content>, writing: &mut Writing) -> Result<()> {
        let (mut position, mut tries) = (span.start, 0);
        while position < span.end {
            let next = async {
                let content = match content {
                    Some(content) => content,
                    None => content.insert(self.source.open(self.client, position..span.end).await?),
                };
                match in_time(self.client, content.try_next()).await? {
                    Some(data) => Ok(data),
                    None => Err(self.source.damaged("the stream ended early")),
                }
            };
            match next.await {
                Ok(data) => {
                    tries = 0;
                    position += data.len() as u64;
                    self.watch.came(data.len() as u64);
                    if position > span.end {
                        return Err(self.source.damaged("more bytes came than were asked for"));
                    }
                    if !writing.write(data).await {
                        return Ok(());
                    }
                }
                Err(error) => {
                    *content = None;
                    tries += 1;
                    if !self.client.wait(tries, &error).await {
                        return Err(error);
                    }
                }
            }
        }
        self.client.inner.retry.succeeded();
        // So that a stream which would never end, or ends in an error, is noticed.
        match content {
            Some(content) => self.end(content).await,
            None => Ok(()),
        }
    }

    async fn end(&self, content: &mut Content) -> Result<()> {
        match in_time(self.client, content.try_next()).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.source.damaged("more bytes came than were promised")),
            // All bytes are there, and checked in the end.
            Err(error) if error.is_retryable() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A thread that writes the bytes of a span in order.
pub(super) struct Writing {
    chunks: mpsc::Sender<Bytes>,
    done: JoinHandle<std::io::Result<()>>,
}

impl Writing {
    pub(super) fn start(part: Arc<Part>, span: Range<u64>) -> Self {
        let (chunks, mut waiting) = mpsc::channel::<Bytes>(CHUNKS_WAITING);
        let done = tokio::task::spawn_blocking(move || {
            let (mut position, mut noted) = (span.start, span.start);
            let block_bytes = part.block_bytes();
            while let Some(chunk) = waiting.blocking_recv() {
                part.write(&chunk, position)?;
                position += chunk.len() as u64;
                if position - noted >= block_bytes || position == span.end {
                    part.note(noted..position)?;
                    // Only whole blocks were noted.
                    noted = position - position % block_bytes;
                }
            }
            part.catch_up()
        });
        Self { chunks, done }
    }

    /// False when the thread has stopped; its outcome says why.
    pub(super) async fn write(&mut self, data: Bytes) -> bool {
        self.chunks.send(data).await.is_ok()
    }

    pub(super) async fn finish(self) -> Result<()> {
        drop(self.chunks);
        let written = self.done.await.expect("writing does not panic");
        written.map_err(|error| Error::file(Path::new("the download"), error))
    }
}

/// Does something with files on a thread that may wait for the disk.
pub(super) async fn off_thread<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    // A runtime that ends takes its threads with it.
    let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| Error::file(path, error))
}
