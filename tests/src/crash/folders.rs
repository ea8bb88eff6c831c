//! Operations on folders that meet a crash point.

use artifactd_proto::v1::{self as pb, ErrorReason};
use bytes::Bytes;

use super::{NEW_KEY, Operation};
use crate::{
    Calls, Outcome,
    calls::{by_key, saved},
    folders::{Files, FolderCall, entry, file, files},
    refusal,
};

/// The point that only a folder of many pages meets.
pub(super) const ONLY_LARGE: &str = "folder.pack_durable";

/// Files of such a folder.
const LARGE_FILES: u64 = 9_000;

const BASE_KEY: &str = "folder";

fn small() -> Files {
    let mut all = files(10, &[0, 10, 3_000]);
    all.insert("large.bin".to_owned(), crate::content::content(9, 1_200_000));
    all
}

fn of(operation: Operation) -> Files {
    match operation {
        Operation::LargeFolder => files(LARGE_FILES, &[8]),
        _ => small(),
    }
}

fn folder(save: pb::SaveHeader) -> pb::SaveFolderHeader {
    pb::SaveFolderHeader {
        save: Some(save),
        base_uid: None,
        ..Default::default()
    }
}

/// A folder to destroy, or to move.
pub(super) async fn base(calls: &Calls) -> pb::Artifact {
    let header = folder(crate::calls::keyed(BASE_KEY));
    saved(calls.save_folder(header, &small()).await.expect("save a folder"))
}

/// Saves a folder; a first try ends without one of its files, and what came is kept.
pub(super) async fn save_twice(calls: &Calls, header: pb::SaveHeader) -> Outcome<()> {
    let all = small();
    let first = pb::SaveHeader {
        request_id: None,
        ..header.clone()
    };
    let mut call = FolderCall::begin(calls, folder(first)).await?;
    let listed: Vec<(&String, &Bytes)> = all.iter().collect();
    let entries = listed.iter().map(|(path, content)| entry(path, content)).collect();
    let wanted = call.list(entries).await?;
    // The retry of all this finds that everything came.
    if let Some((_, some)) = wanted.split_last() {
        let small = some.iter().filter(|number| listed[**number as usize].1.len() < 1 << 20);
        let sent = small.map(|number| file(*number, listed[*number as usize].1)).collect();
        call.put(sent).await?.into_iter().collect::<Outcome<()>>()?;
        match call.commit().await {
            Err(failure) if failure.reason == Some(ErrorReason::FolderIncomplete) => {}
            Err(failure) => return Err(failure),
            Ok(_) => panic!("a folder was saved without one of its files"),
        }
    }
    calls.save_folder(folder(header), &all).await.map(drop)
}

/// Saves a folder of many pages.
pub(super) async fn save_large(calls: &Calls, header: pb::SaveHeader) -> Outcome<()> {
    let all = of(Operation::LargeFolder);
    calls.save_folder(folder(header), &all).await.map(drop)
}

/// Before any retry: no folder, or all of it.
pub(super) async fn assert_absent_or_whole(calls: &Calls, operation: Operation) {
    let key = key_of(operation);
    match calls.get(by_key(key)).await {
        Ok(_) => assert_whole(calls, operation).await,
        Err(failure) => assert_eq!(refusal(Err::<(), _>(failure)), ErrorReason::ArtifactNotFound),
    }
}

/// All of a folder is there.
pub(super) async fn assert_whole(calls: &Calls, operation: Operation) {
    assert_whole_at(calls, by_key(key_of(operation)), operation).await;
}

/// The same of one that is named otherwise.
pub(super) async fn assert_whole_at(calls: &Calls, folder: pb::ArtifactRef, operation: Operation) {
    let all = of(operation);
    let list = pb::ListMembersRequest {
        artifact: Some(folder.clone()),
        page_size: 1_000,
        ..Default::default()
    };
    let members = calls.list_members(list).await.expect("list the folder");
    assert!(
        members.iter().map(|member| &member.path).eq(all.keys()),
        "{operation:?}"
    );
    for (path, content) in all.iter().step_by(all.len().div_ceil(20)) {
        let bytes = calls
            .read_member(folder.clone(), path)
            .await
            .expect("a file has its bytes");
        assert!(bytes == *content, "{operation:?} left {path} with other bytes");
    }
}

fn key_of(operation: Operation) -> &'static str {
    match operation {
        Operation::DestroyFolder => BASE_KEY,
        _ => NEW_KEY,
    }
}
