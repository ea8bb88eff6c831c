//! Uploads that were begun and not finished, so that the same command goes on with them.
//!
//! One small file for each: which file it was, and the request id. It goes when the upload
//! is done. Losing it costs no more than sending what was sent again.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use artifactd_client::{SaveOptions, domain::Sha256};
use serde::{Deserialize, Serialize};

use crate::{exit::Failure, settings::Settings};

/// What is remembered of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begun {
    /// The file.
    pub(crate) path: PathBuf,
    size_bytes: u64,
    modified_ns: i64,
    inode: u64,
    request_id: String,
}

/// An upload that is about to begin or to go on.
pub(crate) struct Unfinished {
    /// Where it is remembered; nowhere when this user has no folder for that.
    file: Option<PathBuf>,
    begun: Begun,
}

impl Unfinished {
    /// Looks whether this very upload was begun before. A file that changed since begins anew.
    pub(crate) fn of(settings: &Settings, source: &Path, options: &SaveOptions) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::file(source, &error);
        let path = source.canonicalize().map_err(failed)?;
        let metadata = fs::metadata(&path).map_err(failed)?;
        let what = format!("{}\n{:?}\n{path:?}\n{options:?}", settings.endpoint, settings.space);
        let id = Sha256::of(what.as_bytes()).to_string();
        let file = folder().map(|folder| folder.join(format!("{}.json", &id[..32])));
        let now = Begun {
            path,
            size_bytes: metadata.len(),
            modified_ns: metadata
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(metadata.mtime_nsec()),
            inode: metadata.ino(),
            request_id: String::new(),
        };
        let before = file.as_deref().and_then(read);
        if let Some(before) = before {
            let same = Begun {
                request_id: before.request_id.clone(),
                ..now.clone()
            };
            if same == before {
                return Ok(Self { file, begun: before });
            }
        }
        let begun = Begun {
            request_id: artifactd_client::draw_request_id(),
            ..now
        };
        let unfinished = Self { file, begun };
        unfinished.remember();
        Ok(unfinished)
    }

    pub(crate) fn request_id(&self) -> &str {
        &self.begun.request_id
    }

    /// Who cannot remember it can still upload it.
    fn remember(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let written = || -> io::Result<()> {
            fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
            let new = file.with_extension("new");
            fs::write(&new, serde_json::to_vec(&self.begun)?)?;
            fs::rename(new, file)
        };
        let _ = written();
    }

    /// It is done, or cannot go on.
    pub(crate) fn forget(&self) {
        if let Some(file) = &self.file {
            // One that stays is found to be done the next time.
            let _ = fs::remove_file(file);
        }
    }
}

/// What was begun and not finished on this machine.
pub(crate) fn all() -> Vec<Begun> {
    let entries = folder().and_then(|folder| fs::read_dir(folder).ok());
    let entries = entries.into_iter().flatten().flatten();
    entries.filter_map(|entry| read(&entry.path())).collect()
}

fn read(file: &Path) -> Option<Begun> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Where this user's programs keep what they were doing.
fn folder() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let below_home = || std::env::home_dir().map(|home| home.join(".local/state"));
    let folder = set.filter(|folder| folder.is_absolute()).or_else(below_home)?;
    Some(folder.join("artifactctl/uploads"))
}
