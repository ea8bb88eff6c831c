//! The members of a collection, in their order: small files come in one stream, a large file
//! and a folder over streams of their own.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use artifactd_domain::Key;
use artifactd_proto::v1 as pb;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};

use super::{
    DownloadOptions, Downloaded, IfExists, Part, Place, Source, Watch,
    file::{Writing, fetch_part, is_there, off_thread},
    part::SPAN_BYTES,
};
use crate::{Artifact, Client, CollectionPiece, Error, Reason, Result, convert};

/// Bytes of members that are there already which may travel all the same: to begin a stream
/// anew takes as long.
const SKIPPED_BYTES_MAX: u64 = 256 << 10;

/// A download of a collection: what comes next.
pub struct CollectionDownload {
    /// One version, whichever the name means later.
    collection: pb::CollectionRef,
    folder: PathBuf,
    options: DownloadOptions,
    members: BoxStream<'static, Result<pb::CollectionMember>>,
    /// The stream of contents, where the one of the next member may follow.
    contents: Option<BoxStream<'static, Result<CollectionPiece>>>,
    /// Bytes in it before that one.
    skipped_bytes: u64,
}

impl fmt::Debug for CollectionDownload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionDownload")
            .field("collection", &self.collection)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// A member of a collection, and what became of it.
#[derive(Debug, Clone)]
pub struct DownloadedMember {
    /// The member.
    pub member: pb::CollectionMember,
    /// Its content; nothing when the artifact is not there any more.
    pub downloaded: Option<Downloaded>,
}

impl Client {
    /// Begins to download a collection: each member below `folder` under its key, or its uid
    /// where it has none. [`download_next`](Self::download_next) brings one after the other.
    ///
    /// With [`IfExists::KeepSame`] a later download goes on where this one ended: what is
    /// there need not travel again.
    pub async fn download_collection(
        &self,
        collection: pb::CollectionRef,
        folder: impl AsRef<Path>,
        options: DownloadOptions,
    ) -> Result<CollectionDownload> {
        let found = self.get_collection(collection).await?;
        let collection = pb::CollectionRef {
            r#ref: Some(pb::collection_ref::Ref::Uid(found.uid)),
            version: None,
        };
        Ok(CollectionDownload {
            members: self.collection_members(collection.clone()).boxed(),
            collection,
            folder: folder.as_ref().to_owned(),
            options,
            contents: None,
            skipped_bytes: 0,
        })
    }

    /// Brings the next member of a collection; `None` when there are no more.
    ///
    /// # Errors
    /// As [`download_with`](Self::download_with).
    pub async fn download_next(&self, download: &mut CollectionDownload) -> Result<Option<DownloadedMember>> {
        let Some(member) = download.members.try_next().await? else {
            return Ok(None);
        };
        let Some(artifact) = member.artifact.clone() else {
            let downloaded = None;
            return Ok(Some(DownloadedMember { member, downloaded }));
        };
        let artifact = convert::artifact(artifact)?;
        let target = download.target(&artifact)?;
        let is_small = artifact.n_objects.is_none() && artifact.size_bytes < SPAN_BYTES;
        let downloaded = match is_small {
            true => download.bring(self, member.place, artifact, &target).await?,
            false => {
                // What waits in it would only grow old.
                download.contents = None;
                let options = download.options.clone();
                self.download_with(artifact.uid, &target, options).await?
            }
        };
        let downloaded = Some(downloaded);
        Ok(Some(DownloadedMember { member, downloaded }))
    }
}

impl CollectionDownload {
    /// Where a member goes.
    fn target(&self, artifact: &Artifact) -> Result<PathBuf> {
        let Some(key) = &artifact.key else {
            return Ok(self.folder.join(format!("{}{}", artifact.uid, artifact.suffix)));
        };
        // A key leads nowhere but down.
        let parsed: std::result::Result<Key, _> = key.parse();
        let key = parsed.map_err(|error| Error::Answer(format!("key {key}: {error}")))?;
        Ok(self.folder.join(key.as_str()))
    }

    /// Brings a small file, out of the stream of all contents as far as that has it.
    async fn bring(&mut self, client: &Client, number: i64, artifact: Artifact, target: &Path) -> Result<Downloaded> {
        let (path, if_exists) = (target.to_owned(), self.options.if_exists);
        let place = off_thread(target, move || Place::new(&path, if_exists)).await?;
        let source = Source::of_artifact(&artifact);
        let watch = Watch::begin(&client.events, 1, source.size_bytes);
        let done = |moved_bytes, was_there| Downloaded {
            artifact,
            path: target.to_owned(),
            moved_bytes,
            was_there,
        };
        if if_exists == IfExists::KeepSame && is_there(&place, &source).await? {
            self.skipped_bytes += source.size_bytes;
            watch.was_there(source.size_bytes);
            watch.completed(1);
            return Ok(done(watch.finish(), true));
        }
        let (part, waited) = Part::open(place.part(source.sha256), source.sha256, source.size_bytes).await?;
        // Whoever had it may have finished it.
        if waited && is_there(&place, &source).await? {
            part.discard();
            watch.was_there(source.size_bytes);
            watch.completed(1);
            return Ok(done(watch.finish(), true));
        }
        let part = Arc::new(part);
        let came = self.fill(client, number, &source, &part).await?;
        // What did not come, or is not what it should be, is fetched by itself.
        fetch_part(client, &source, None, &part, self.options.streams, &watch).await?;
        let durable = self.options.durable;
        off_thread(target, move || part.become_file(&place, durable)).await?;
        watch.completed(1);
        Ok(done(came + watch.finish(), false))
    }

    /// Writes what the stream has of a member from its first missing byte on; answers how
    /// many bytes came.
    async fn fill(&mut self, client: &Client, number: i64, source: &Source, part: &Arc<Part>) -> Result<u64> {
        let Some(missing) = part.missing().first().cloned() else {
            return Ok(0);
        };
        let is_near = std::mem::take(&mut self.skipped_bytes) <= SKIPPED_BYTES_MAX;
        let mut contents = match self.contents.take().filter(|_| is_near) {
            Some(contents) => contents,
            None => {
                let start = pb::CollectionStart {
                    place: number,
                    path: None,
                    offset: i64::try_from(missing.start).unwrap_or(i64::MAX),
                    if_match: Some(source.content_etag.clone()),
                };
                client.read_collection(self.collection.clone(), Some(start)).boxed()
            }
        };
        let filled = fill_from(&mut contents, number, source, part).await;
        match filled {
            Ok((came, true)) => {
                self.contents = Some(contents);
                Ok(came)
            }
            Ok((came, false)) => Ok(came),
            // Whoever follows the latest version may have another one by now.
            Err(error) if error.reason() == Some(Reason::ContentChanged) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Writes what a stream brings of a member; answers how many bytes came, and whether the next
/// member follows in it.
async fn fill_from(
    contents: &mut BoxStream<'static, Result<CollectionPiece>>,
    number: i64,
    source: &Source,
    part: &Arc<Part>,
) -> Result<(u64, bool)> {
    let start = loop {
        match contents.try_next().await? {
            // Members before it that were there, or are empty.
            Some(CollectionPiece::Content { place, .. }) if place < number => {}
            Some(CollectionPiece::Bytes(_)) => {}
            Some(CollectionPiece::Content {
                place,
                artifact,
                member: None,
                offset,
            }) if place == number && artifact.uid == source.uid && artifact.sha256 == source.sha256 => {
                break u64::try_from(offset).unwrap_or(u64::MAX);
            }
            _ => return Ok((0, false)),
        }
    };
    let mut position = start;
    let mut writing = Writing::start(Arc::clone(part), start..source.size_bytes);
    let passed = async {
        while position < source.size_bytes {
            match contents.try_next().await? {
                Some(CollectionPiece::Bytes(data)) => {
                    position += data.len() as u64;
                    if position > source.size_bytes {
                        return Err(source.damaged("more bytes came than it has"));
                    }
                    if !writing.write(data).await {
                        return Ok(false);
                    }
                }
                // The stream was cut and goes on.
                Some(CollectionPiece::Content { place, offset, .. })
                    if place == number && u64::try_from(offset) == Ok(position) => {}
                _ => return Ok(false),
            }
        }
        Ok::<_, Error>(true)
    };
    let passed = passed.await;
    let written = writing.finish().await;
    let follows = passed?;
    written?;
    Ok((position - start, follows))
}
