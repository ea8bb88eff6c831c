//! What a caller knows of one of its keys.

use std::sync::LazyLock;

use bytes::Bytes;

use crate::{
    content::{Random, content, digest},
    folders::{Files, digest_of},
};

/// Few contents, so that workers race for the same blobs.
const CONTENTS: usize = 12;

/// What lies under a key: files, or folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Save(usize),
    /// The same in parts, one after another.
    Upload(usize),
    /// The same in parts at once.
    UploadAtOnce(usize),
    /// The same by what differs from the version before.
    Change(usize),
    Replace(usize),
    Read,
    Trash,
    Restore,
    Destroy,
}

/// The contents of a key's family by version, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Live(Vec<usize>),
    Trashed(Vec<usize>),
}

/// What to do next.
pub(super) fn choose(random: &mut Random, kind: Kind, state: &State) -> Act {
    let content = random.below(CONTENTS);
    match (kind, state, random.below(12)) {
        (_, State::Trashed(_), 0..6) => Act::Restore,
        (_, State::Trashed(_), _) => Act::Destroy,
        (_, State::Live(_), 0..2) => Act::Trash,
        (_, State::Live(_), 2..4) => Act::Read,
        (Kind::Folder, State::Live(_), 4..8) => Act::Change(content),
        (Kind::Folder, _, _) => Act::Save(content),
        (Kind::File, State::Live(_), 4..6) => Act::Replace(content),
        (Kind::File, _, 6..8) => Act::Upload(content),
        (Kind::File, _, 8..10) => Act::UploadAtOnce(content),
        (Kind::File, _, _) => Act::Save(content),
    }
}

/// The state behind an act.
pub(super) fn after(state: &State, act: Act) -> State {
    match (state, act) {
        (state, Act::Read) => state.clone(),
        (
            State::Live(versions),
            Act::Save(number) | Act::Upload(number) | Act::UploadAtOnce(number) | Act::Change(number),
        ) => {
            let mut versions = versions.clone();
            if versions.last() != Some(&number) {
                versions.push(number);
            }
            State::Live(versions)
        }
        (_, Act::Save(number) | Act::Upload(number) | Act::UploadAtOnce(number) | Act::Change(number)) => {
            State::Live(vec![number])
        }
        (State::Live(versions), Act::Replace(number)) => {
            State::Live([&versions[..versions.len() - 1], &[number]].concat())
        }
        (State::Live(versions), Act::Trash) => State::Trashed(versions.clone()),
        (State::Trashed(versions), Act::Restore) => State::Live(versions.clone()),
        _ => State::Empty,
    }
}

/// What lies under a key, and its digest, by kind and number. Made once: to make them takes
/// longer than what is done with them.
static FILES: LazyLock<Vec<(Bytes, String)>> = LazyLock::new(|| {
    let files = (0..CONTENTS).map(made_file);
    files.map(|file| (file.clone(), digest(&file))).collect()
});
static FOLDERS: LazyLock<Vec<(Files, String)>> = LazyLock::new(|| {
    let folders = (0..CONTENTS).map(made_folder);
    folders.map(|folder| (folder.clone(), digest_of(&folder))).collect()
});

/// The contents of files: small and large ones, from few seeds.
pub(super) fn pooled(number: usize) -> Bytes {
    FILES[number].0.clone()
}

/// The contents of folders: some of the same files under paths that several have.
pub(super) fn folder(number: usize) -> &'static Files {
    &FOLDERS[number].0
}

/// The digest of what a number stands for.
pub(super) fn digest_at(kind: Kind, number: usize) -> &'static str {
    match kind {
        Kind::File => &FILES[number].1,
        Kind::Folder => &FOLDERS[number].1,
    }
}

fn made_file(number: usize) -> Bytes {
    content(
        1000 + number as u64,
        [10, 5_000, 262_144, 700_000, 1_500_000, 0][number % 6] + number,
    )
}

fn made_folder(number: usize) -> Files {
    let mut random = Random::new(number as u64);
    let files = (0..6 + random.below(20)).map(|file| {
        let content = pooled(random.below(CONTENTS));
        (format!("part {}/{file:03}.bin", file % 3), content)
    });
    files.collect()
}
