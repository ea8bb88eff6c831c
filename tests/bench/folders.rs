//! Folders: saved beside lamindb, and large ones beside small ones.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use artifactd_client::{
    Artifact, Client, FolderEdit, MemberRange, MembersOptions, ReadMembersOptions, ReadOptions, SaveOptions,
};
use futures::{StreamExt, TryStreamExt};

use crate::{
    Wanted, cases, machine,
    peer::Peer,
    rounds::{Both, time_of, timed},
    server::Server,
    shelf,
    table::Samples,
};

const ROUNDS: u64 = 5;

/// Files of the folder that is saved beside lamindb.
const FILES: u64 = 5_000;

/// Files of the large folder, and of the small one beside it.
const LARGE: u64 = 1_000_000;
const SMALL: u64 = 1_000;

/// Bytes of each of their files.
const TINY_BYTES: usize = 100;

const FILES_IN_FOLDER: u64 = 1_000;

/// Members in a page of a list.
const PAGE: usize = 1_000;

/// Changes and pages that are timed of both.
const TRIES: u64 = 21;

const RANGES: u64 = 1_000;
const RANGE_BYTES: u64 = 1 << 20;
const RANGED_FILES: u64 = 100;

pub(crate) async fn run(wanted: &Wanted) {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    if wanted.has(&cases::FOLDER) {
        beside_lamindb(&server.client().await).await;
    }
    if wanted.has(&cases::RANGES) {
        ranges(&server.client().await).await;
    }
    server.stop().await;
    if wanted.has_any(cases::MILLION) {
        million(wanted).await;
    }
}

/// A folder that neither side has seen, as one artifact.
async fn beside_lamindb(client: &Client) {
    let folder = machine::folder();
    let lamindb = Peer::lamindb(folder.path());
    let mut both = Both::default();
    for number in 0..ROUNDS {
        let many = folder.path().join(format!("folder-{number}"));
        std::fs::create_dir(&many).expect("make a folder");
        for file in 0..FILES {
            let content = shelf::content(4_000_000 + number * FILES + file);
            std::fs::write(many.join(format!("{file:04}.bin")), content).expect("write a file");
        }
        let ours = async {
            let options = SaveOptions::key(format!("folder-{number}"));
            let (saved, took) = timed(client.save_folder(&many, options)).await;
            assert_eq!(saved.saved.artifact.n_objects, Some(FILES));
            took
        };
        both.round(number, ours, lamindb.call("save_folder", number)).await;
    }
    cases::FOLDER.report(&both.ours, &both.other);
}

/// Many ranges of many files, beside one range of as many bytes of one.
async fn ranges(client: &Client) {
    let folder = machine::folder();
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).expect("make a folder");
    let each = RANGES / RANGED_FILES * RANGE_BYTES;
    for file in 0..RANGED_FILES {
        std::fs::write(parts.join(path_of_part(file)), block(file, each)).expect("write a file");
    }
    let whole = folder.path().join("whole");
    std::fs::write(&whole, block(RANGED_FILES, RANGES * RANGE_BYTES)).expect("write a file");
    let (saved, _) = timed(client.save_folder(&parts, SaveOptions::key("parts"))).await;
    let (parts, _) = (saved.saved.artifact, std::fs::remove_dir_all(&parts));
    let (whole, _) = timed(client.save_file(&whole, SaveOptions::key("whole"))).await;
    let whole = whole.artifact;
    let mut both = Both::default();
    for number in 0..ROUNDS {
        let one = async {
            let options = ReadOptions {
                length: Some(RANGES * RANGE_BYTES),
                ..ReadOptions::default()
            };
            time_of(async { drained(client.open_content(whole.uid, options).await?).await }).await
        };
        both.round(number, read_ranges(client, &parts), one).await;
    }
    cases::RANGES.report(&both.ours, &both.other);
}

fn path_of_part(file: u64) -> String {
    format!("{file:03}.bin")
}

fn block(number: u64, bytes: u64) -> Vec<u8> {
    let mut content = vec![number as u8; bytes as usize];
    content[..8].copy_from_slice(&number.to_le_bytes());
    content
}

async fn drained(mut content: artifactd_client::Content) -> artifactd_client::Result<()> {
    while content.try_next().await?.is_some() {}
    Ok(())
}

/// Ranges that jump between files and inside them.
async fn read_ranges(client: &Client, parts: &Artifact) -> Duration {
    let range = |number: u64| MemberRange {
        path: path_of_part(number % RANGED_FILES),
        offset: (number / RANGED_FILES * RANGE_BYTES) as i64,
        length: Some(RANGE_BYTES),
    };
    let options = ReadMembersOptions {
        ranges: (0..RANGES).map(range).collect(),
        ..ReadMembersOptions::default()
    };
    let began = Instant::now();
    let mut pieces = client.read_members(parts.uid, options).await.expect("read");
    let mut bytes = 0;
    while let Some(piece) = pieces.try_next().await.expect("read") {
        bytes += piece.bytes.len() as u64;
    }
    assert_eq!(bytes, RANGES * RANGE_BYTES);
    began.elapsed()
}

/// A folder of a million files, beside one of a thousand.
async fn million(wanted: &Wanted) {
    let folder = machine::folder();
    let large = folder.path().join("large");
    make_tiny(&large, LARGE, 0);
    let server = Server::start(folder.path()).await;
    let (client, idle_mib) = (server.client().await, server.idle_mib().await);
    server.reset_peak();
    let (saved, took) = timed(client.save_folder(&large, SaveOptions::key("large"))).await;
    cases::MILLION_SAVE.report_alone(&Samples::one(took.as_secs_f64()));
    cases::MILLION_MEMORY.report(&Samples::one(server.peak_mib()), &Samples::one(idle_mib));
    let large = saved.saved.artifact;
    assert_eq!(large.n_objects, Some(LARGE));
    let mut small = Vec::new();
    for number in 0..TRIES {
        let (name, first) = (format!("small-{number}"), LARGE + number * SMALL);
        make_tiny(&folder.path().join(&name), SMALL, first);
        let saved = client
            .save_folder(folder.path().join(&name), SaveOptions::key(name))
            .await;
        small.push(saved.expect("save").saved.artifact);
    }
    if wanted.has(&cases::MILLION_PAGE) {
        let mut both = Both::default();
        // Each page is one that nobody listed before.
        for (number, small) in (0..).zip(&small) {
            let (ours, other) = (list_page(&client, &large, number), list_page(&client, small, 0));
            both.round(number, ours, other).await;
        }
        cases::MILLION_PAGE.report(&both.ours, &both.other);
    }
    let path = path_of_tiny(LARGE / 2);
    let read = client
        .read_member(large.uid, path.as_str())
        .await
        .expect("read a member");
    assert_eq!(read, tiny(LARGE / 2));
    if wanted.has(&cases::MILLION_CHANGE) || wanted.has(&cases::MILLION_SENT) {
        let small = small.swap_remove(0);
        change(&client, large, small).await;
    }
    server.stop().await;
}

async fn change(client: &Client, mut large: Artifact, mut small: Artifact) {
    let (mut both, mut sent) = (Both::default(), Samples::default());
    for number in 0..TRIES {
        let content = format!("change {number} of a file that had other bytes before");
        let ours = async {
            let edit = put(number * (LARGE / TRIES), content.clone() + " large");
            let (saved, took) = timed(client.change_folder(large.uid, vec![edit], SaveOptions::default())).await;
            sent.push(saved.sent_bytes as f64 / 1024.0 / 1024.0);
            large = saved.saved.artifact;
            took
        };
        let other = async {
            let edit = put(number * (SMALL / TRIES), content.clone() + " small");
            let (saved, took) = timed(client.change_folder(small.uid, vec![edit], SaveOptions::default())).await;
            small = saved.saved.artifact;
            took
        };
        both.round(number, ours, other).await;
    }
    assert_eq!((large.n_objects, small.n_objects), (Some(LARGE), Some(SMALL)));
    cases::MILLION_CHANGE.report(&both.ours, &both.other);
    cases::MILLION_SENT.report_alone(&sent);
}

fn put(file: u64, content: String) -> FolderEdit {
    FolderEdit::PutBytes {
        path: path_of_tiny(file),
        content: content.into(),
    }
}

/// A page of those files that lie in one folder inside.
async fn list_page(client: &Client, artifact: &Artifact, number: u64) -> Duration {
    let options = MembersOptions {
        prefix: format!("{:03}/", number * 47),
        ..MembersOptions::default()
    };
    let began = Instant::now();
    let listed = client
        .list_members(artifact.uid, options)
        .take(PAGE)
        .try_collect::<Vec<_>>()
        .await;
    assert_eq!(listed.expect("list").len(), PAGE);
    began.elapsed()
}

fn path_of_tiny(file: u64) -> String {
    format!("{:03}/{:03}.bin", file / FILES_IN_FOLDER, file % FILES_IN_FOLDER)
}

fn tiny(number: u64) -> Vec<u8> {
    let mut content = vec![0; TINY_BYTES];
    content[..8].copy_from_slice(&number.to_le_bytes());
    content
}

fn make_tiny(folder: &Path, files: u64, first: u64) {
    for file in 0..files {
        let path = folder.join(path_of_tiny(file));
        if file.is_multiple_of(FILES_IN_FOLDER) {
            let inside = path.parent().expect("it lies in a folder");
            std::fs::create_dir_all(inside).expect("make a folder");
        }
        std::fs::write(path, tiny(first + file)).expect("write a file");
    }
}
