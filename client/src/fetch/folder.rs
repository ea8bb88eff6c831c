//! A folder: listed first, and of its files only those fetched that are not here.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use artifactd_domain::{
    ArtifactRef, Sha256,
    manifest::{ManifestDigest, ManifestRefused, Member, Paging},
};
use futures::{
    TryStreamExt,
    stream::{self, BoxStream},
};

use super::{
    DownloadOptions, Downloaded, IfExists, Part, Place, Source, Watch,
    file::{fetch_part, off_thread},
    group::Group,
    part::SPAN_BYTES,
    place::hash,
    tree::Tree,
};
use crate::{Artifact, Client, Error, GetOptions, IntoReference, MembersOptions, Result, walk::walk};

/// Files that one stream brings at most.
const GROUP_FILES_MAX: usize = 2_000;

/// Their bytes, but for the last one.
const GROUP_BYTES_MAX: u64 = SPAN_BYTES;

impl Client {
    /// Downloads a folder to `target`, which must not exist and appears whole and
    /// checked, or not at all.
    pub async fn download_folder(&self, artifact: impl IntoReference, target: impl AsRef<Path>) -> Result<Artifact> {
        let options = DownloadOptions {
            if_exists: IfExists::Refuse,
            ..DownloadOptions::default()
        };
        let (reference, target) = (artifact.into_reference()?, target.as_ref().to_owned());
        let made = off_thread(&target.clone(), move || Place::new(&target, IfExists::Refuse)).await?;
        Ok(Box::pin(self.download_tree(reference, made, options)).await?.artifact)
    }

    pub(super) async fn download_tree(
        &self,
        reference: ArtifactRef,
        place: Place,
        options: DownloadOptions,
    ) -> Result<Downloaded> {
        let get = GetOptions {
            include_hidden: options.include_hidden,
        };
        let artifact = self.get_with(reference, get).await?;
        let watch = Watch::begin(
            &self.events,
            artifact.n_objects.unwrap_or_default(),
            artifact.size_bytes,
        );
        let done = |moved_bytes, was_there| Downloaded {
            artifact: artifact.clone(),
            path: place.target().to_owned(),
            moved_bytes,
            was_there,
        };
        if is_there(&place, &artifact).await? {
            watch.was_there(artifact.size_bytes);
            return Ok(done(watch.finish(), true));
        }
        let (tree, waited) = Tree::open(place.part(artifact.sha256)).await?;
        let tree = Arc::new(tree);
        // Whoever had it may have finished it.
        if waited && is_same_tree(place.target(), &artifact).await? {
            tree.discard();
            watch.was_there(artifact.size_bytes);
            return Ok(done(watch.finish(), true));
        }
        fetch_folder(self, &artifact, &tree, None, options.streams, &watch).await?;
        let (owned, durable) = (place.clone(), options.durable);
        off_thread(place.target(), move || tree.become_folder(&owned, durable)).await?;
        Ok(done(watch.finish(), false))
    }
}

/// Whether the target is this very folder and may stay. An error when something else must stay.
async fn is_there(place: &Place, artifact: &Artifact) -> Result<bool> {
    if place.if_exists() == IfExists::KeepSame && is_same_tree(place.target(), artifact).await? {
        return Ok(true);
    }
    if place.if_exists() != IfExists::Replace {
        let target = place.target().to_owned();
        off_thread(place.target(), move || super::place::require_absent(&target)).await?;
    }
    Ok(false)
}

/// Whether a folder holds exactly the files of an artifact.
async fn is_same_tree(folder: &Path, artifact: &Artifact) -> Result<bool> {
    let (folder, expected) = (folder.to_owned(), expected(artifact));
    let compared = move || {
        if !fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir()) {
            return Ok(false);
        }
        let (found, skipped) = walk(&folder)?;
        let bytes: u64 = found.iter().map(|file| file.size_bytes).sum();
        if !skipped.is_empty() || Some((found.len() as u64, bytes)) != expected.map(|e| (e.n_objects, e.size_bytes)) {
            return Ok(false);
        }
        let mut paging = Paging::new();
        for file in found {
            let path = folder.join(&file.relative);
            let sha256 = hash(&path).map_err(|error| Error::file(&path, error))?;
            let (Ok(path), size_bytes) = (file.path.parse(), file.size_bytes) else {
                return Ok(false);
            };
            let member = Member {
                path,
                size_bytes,
                sha256,
            };
            if paging.push(member).is_err() {
                return Ok(false);
            }
        }
        Ok(paging.finish().is_ok_and(|(_, digest)| Some(digest) == expected))
    };
    // A runtime that ends takes its threads with it.
    let ended = |error| Error::Input(format!("the folder cannot be read any more: {error}"));
    tokio::task::spawn_blocking(compared).await.map_err(ended)?
}

/// What the files of a folder must amount to.
fn expected(artifact: &Artifact) -> Option<ManifestDigest> {
    artifact.n_objects.map(|n_objects| ManifestDigest {
        sha256: artifact.sha256,
        size_bytes: artifact.size_bytes,
        n_objects,
    })
}

/// Files that are here already, from which those of a folder are made where they are the same.
#[derive(Debug, Default)]
pub(crate) struct Base(HashMap<(Sha256, u64), PathBuf>);

impl Base {
    /// Adds a file, which is known to have this content.
    pub(crate) fn add(&mut self, sha256: Sha256, size_bytes: u64, path: PathBuf) {
        self.0.insert((sha256, size_bytes), path);
    }

    /// Makes a file another name of one that is here; false when none is or it cannot be.
    fn link(&self, member: &Member, tree: &Tree) -> io::Result<bool> {
        let Some(from) = self.0.get(&(member.sha256, member.size_bytes)) else {
            return Ok(false);
        };
        let to = tree.place(member)?;
        Ok(fs::hard_link(from, to).is_ok())
    }
}

/// Fetches the files of a folder until all are there and right. What cannot become right
/// is removed. With a base the tree knows what they hold then.
pub(crate) async fn fetch_folder(
    client: &Client,
    artifact: &Artifact,
    tree: &Arc<Tree>,
    base: Option<Arc<Base>>,
    streams: usize,
    watch: &Watch,
) -> Result<()> {
    let looked = Arc::clone(tree);
    let found = tokio::task::spawn_blocking(move || looked.found()).await;
    // A runtime that ends takes its threads with it.
    let found = found.map_err(|error| Error::Input(format!("the folder cannot be read any more: {error}")))??;
    let job = Job {
        client,
        artifact,
        tree,
        base,
        streams: streams.max(1),
        watch,
    };
    let done = job.run(found).await;
    if done.as_ref().is_err_and(Error::ends_content) {
        tree.discard();
    }
    done
}

struct Job<'a> {
    client: &'a Client,
    artifact: &'a Artifact,
    tree: &'a Arc<Tree>,
    base: Option<Arc<Base>>,
    streams: usize,
    watch: &'a Watch,
}

/// A folder that is being listed.
struct Listing {
    members: BoxStream<'static, Result<Member>>,
    paging: Paging,
    /// What an earlier run left and was not listed yet.
    found: BTreeMap<String, u64>,
    files: u64,
    bytes: u64,
}

/// Files that are to be fetched.
#[derive(Default)]
struct Wanted {
    small: Vec<Member>,
    large: Vec<Member>,
}

impl Job<'_> {
    async fn run(&self, found: BTreeMap<String, u64>) -> Result<()> {
        let listing = Listing {
            members: self.client.list_members(
                self.artifact.uid,
                MembersOptions {
                    include_hidden: true,
                    ..MembersOptions::default()
                },
            ),
            paging: Paging::new(),
            found,
            files: 0,
            bytes: 0,
        };
        let wanted = stream::try_unfold(Some(listing), |listing| async move {
            match listing {
                Some(listing) => self.next(listing).await.map(Some),
                None => Ok(None),
            }
        });
        wanted
            .try_for_each_concurrent(self.streams, |wanted| self.fetch(wanted))
            .await
    }

    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged {
            uid: self.artifact.uid.to_string(),
            what: what.into(),
        }
    }

    /// What is to be fetched next, and the rest of the list, if there is more.
    async fn next(&self, mut listing: Listing) -> Result<(Wanted, Option<Listing>)> {
        let (mut members, mut bytes, mut is_end) = (Vec::new(), 0, false);
        while members.len() < GROUP_FILES_MAX && bytes < GROUP_BYTES_MAX {
            let Some(member) = listing.members.try_next().await? else {
                is_end = true;
                break;
            };
            self.note(&mut listing, &member)?;
            bytes += member.size_bytes.min(SPAN_BYTES);
            members.push(member);
        }
        if is_end {
            self.check_end(std::mem::take(&mut listing.paging))?;
        }
        let (tree, base) = (Arc::clone(self.tree), self.base.clone());
        let sorted = off_thread(&self.tree.files(), move || {
            let sorted = sort(&tree, base.as_deref(), members, &mut listing.found)?;
            if is_end {
                tree.remove(std::mem::take(&mut listing.found).into_keys())?;
            }
            Ok((sorted, listing))
        })
        .await?;
        let ((wanted, files, bytes), listing) = sorted;
        self.watch.was_there(bytes);
        self.watch.completed(files);
        Ok((wanted, (!is_end).then_some(listing)))
    }

    /// Counts a file, so that a list without an end is noticed early.
    fn note(&self, listing: &mut Listing, member: &Member) -> Result<()> {
        let pushed = listing.paging.push(member.clone());
        pushed.map_err(|refused| self.damaged(refused.to_string()))?;
        listing.files += 1;
        listing.bytes = listing.bytes.saturating_add(member.size_bytes);
        if Some(listing.files) > self.artifact.n_objects || listing.bytes > self.artifact.size_bytes {
            return Err(self.damaged("more files are listed than it has"));
        }
        Ok(())
    }

    fn check_end(&self, paging: Paging) -> Result<()> {
        let refused = |refused: ManifestRefused| self.damaged(refused.to_string());
        let (_, actual) = paging.finish().map_err(refused)?;
        if Some(actual) != expected(self.artifact) {
            return Err(self.damaged("the files that are listed are not those that it has"));
        }
        Ok(())
    }

    async fn fetch(&self, wanted: Wanted) -> Result<()> {
        if !wanted.small.is_empty() {
            let group = Group {
                client: self.client,
                artifact: self.artifact,
                tree: self.tree,
                watch: self.watch,
                members: wanted.small.into(),
            };
            group.fetch().await?;
        }
        for member in wanted.large {
            self.fetch_large(member).await?;
        }
        Ok(())
    }

    /// Fetches a large file over several streams.
    async fn fetch_large(&self, member: Member) -> Result<()> {
        let source = Source {
            member: Some(member.path.to_string()),
            size_bytes: member.size_bytes,
            sha256: member.sha256,
            ..Source::of_artifact(self.artifact)
        };
        let (part, _) = Part::open(self.tree.part(&member), member.sha256, member.size_bytes).await?;
        let part = Arc::new(part);
        fetch_part(self.client, &source, None, &part, self.streams, self.watch).await?;
        let tree = Arc::clone(self.tree);
        let path = PathBuf::from(member.path.as_str());
        off_thread(&path, move || {
            // The whole folder is made durable at once. A name that is another one's here is refused.
            let place = Place::new(&tree.place(&member)?, IfExists::Refuse)?;
            part.become_file(&place, false)
        })
        .await?;
        self.watch.completed(1);
        Ok(())
    }
}

/// Sorts files into those that are to be fetched, and counts the others with their bytes.
fn sort(
    tree: &Tree,
    base: Option<&Base>,
    members: Vec<Member>,
    found: &mut BTreeMap<String, u64>,
) -> io::Result<(Wanted, u64, u64)> {
    let (mut wanted, mut files, mut bytes) = (Wanted::default(), 0, 0);
    for member in members {
        if base.is_some() {
            tree.note_digest(&member);
        }
        let was_found = found.remove(member.path.as_str());
        let is_here = tree.keeps(&member, was_found)?
            || match base {
                Some(base) => base.link(&member, tree)?,
                None => false,
            };
        if is_here {
            files += 1;
            bytes += member.size_bytes;
        } else if member.size_bytes > SPAN_BYTES {
            wanted.large.push(member);
        } else {
            wanted.small.push(member);
        }
    }
    Ok((wanted, files, bytes))
}
