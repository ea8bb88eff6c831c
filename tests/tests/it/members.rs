//! Many members of a folder in one stream, and what differs between two folders.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, by_version, keyed, saved},
    content::{content, digest},
    folders::{Files, FolderCall, files, folder},
    members::{ReadMember, ReadMembers},
    pb::{self, ErrorReason, folder_difference::Difference},
    refusal,
};
use bytes::Bytes;

/// Files of all sizes between which reading differs.
fn mixed() -> Files {
    let mut all = files(300, &[0, 1, 700, 5_000]);
    for (path, seed, size) in [
        ("block.bin", 1, 256 << 10),
        ("block and a byte.bin", 2, (256 << 10) + 1),
        ("large.bin", 3, 2_500_000),
        ("part 3/large.bin", 4, 6_000_000),
    ] {
        all.insert(path.to_owned(), content(seed, size));
    }
    all
}

fn whole(all: &Files) -> Vec<ReadMember> {
    let members = all.iter().map(|(path, bytes)| ReadMember {
        path: path.clone(),
        offset: 0,
        bytes: bytes.to_vec(),
    });
    members.collect()
}

fn everything(key: &str) -> pb::ReadMembersRequest {
    pb::ReadMembersRequest {
        artifact: Some(by_key(key)),
        ..Default::default()
    }
}

fn range(path: &str, offset: i64, length: Option<i64>) -> pb::MemberRange {
    pb::MemberRange {
        path: path.to_owned(),
        offset,
        length,
    }
}

#[tokio::test]
async fn all_members_come_in_order_and_small_ones_together() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = mixed();
        calls.save_folder(folder("f"), &all).await.unwrap();
        let mut read = ReadMembers::default();
        calls.read_members_into(everything("f"), &mut read).await.unwrap();
        assert!(read.members == whole(&all), "{backend:?}");
        assert!(read.messages < 40, "300 small files came in {} messages", read.messages);
        let matching = pb::ReadMembersRequest {
            prefix: "part 3/".to_owned(),
            glob: Some("**/*1*.bin".to_owned()),
            ..everything("f")
        };
        let expected: Files = all
            .iter()
            .filter(|(path, _)| path.starts_with("part 3/") && path["part 3/".len()..].contains('1'))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect();
        assert!(expected.len() > 5);
        assert!(calls.read_members(matching).await.unwrap() == whole(&expected));
    }
}

#[tokio::test]
async fn a_stream_is_taken_up_where_it_was_cut() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = mixed();
        let artifact = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        for (path, offset) in [
            ("part 3/large.bin", 3_000_001),
            ("part 3/large.bin", 0),
            ("part 3/large.bin", 6_000_000),
            ("part 2/000002.bin", 300),
            ("part 4/no such file", 77),
            ("zzz", 0),
        ] {
            let request = pb::ReadMembersRequest {
                start_path: Some(path.to_owned()),
                start_offset: offset,
                if_match: Some(artifact.content_etag.clone()),
                ..everything("f")
            };
            let mut expected = whole(&all);
            expected.retain(|member| member.path.as_str() >= path);
            if let Some(first) = expected.first_mut().filter(|first| first.path == path) {
                first.bytes.drain(..offset as usize);
                first.offset = offset;
            }
            assert!(
                calls.read_members(request).await.unwrap() == expected,
                "{path} {offset} {backend:?}"
            );
        }
    }
}

#[tokio::test]
async fn ranges_come_in_the_order_in_which_they_were_asked_for() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = mixed();
        calls.save_folder(folder("f"), &all).await.unwrap();
        let mut wanted = vec![
            ("part 3/large.bin", 4_000_000, Some(1_500_000)),
            ("part 2/000002.bin", 600, None),
            ("block.bin", -10, None),
            ("part 3/large.bin", 0, Some(1)),
            ("part 0/000000.bin", 0, None),
            ("block and a byte.bin", 262_144, Some(1_000)),
            ("part 2/000002.bin", 0, Some(0)),
            ("large.bin", 2_500_000, None),
        ];
        wanted.extend(std::iter::repeat_n(("part 6/000006.bin", 5, Some(20)), 500));
        let request = pb::ReadMembersRequest {
            ranges: wanted
                .iter()
                .map(|(path, offset, length)| range(path, *offset, *length))
                .collect(),
            ..everything("f")
        };
        let expected: Vec<_> = wanted
            .iter()
            .map(|(path, offset, length)| {
                let bytes = &all[*path];
                let start = if *offset < 0 {
                    bytes.len() as i64 + offset
                } else {
                    *offset
                };
                let end = length.map_or(bytes.len() as i64, |length| (start + length).min(bytes.len() as i64));
                ReadMember {
                    path: (*path).to_owned(),
                    offset: start,
                    bytes: bytes[start as usize..end as usize].to_vec(),
                }
            })
            .collect();
        assert!(calls.read_members(request).await.unwrap() == expected, "{backend:?}");
    }
}

#[tokio::test]
async fn requests_for_members_that_make_no_sense_are_refused() {
    let server = TestServer::start().await;
    let calls = server.calls();
    let artifact = saved(calls.save_folder(folder("f"), &mixed()).await.unwrap());
    calls.save(keyed("file"), b"x").await.unwrap();
    let ranges = |ranges| pb::ReadMembersRequest {
        ranges,
        ..everything("f")
    };
    let beside = |change: &dyn Fn(&mut pb::ReadMembersRequest)| {
        let mut request = ranges(vec![range("block.bin", 0, None)]);
        change(&mut request);
        request
    };
    let start = |path: Option<&str>, offset| pb::ReadMembersRequest {
        start_path: path.map(str::to_owned),
        start_offset: offset,
        ..everything("f")
    };
    for (request, reason) in [
        (ranges(vec![range("no", 0, None)]), ErrorReason::MemberNotFound),
        (ranges(vec![range("../x", 0, None)]), ErrorReason::FieldInvalid),
        (ranges(vec![range("block.bin", 0, Some(-1))]), ErrorReason::FieldInvalid),
        (
            ranges(vec![range("block.bin", 262_145, None)]),
            ErrorReason::RangeInvalid,
        ),
        (
            ranges(vec![range("block.bin", -262_145, None)]),
            ErrorReason::RangeInvalid,
        ),
        (
            ranges(vec![range("block.bin", 0, None); 10_001]),
            ErrorReason::FieldInvalid,
        ),
        (
            beside(&|request| request.prefix = "a".to_owned()),
            ErrorReason::FieldInvalid,
        ),
        (
            beside(&|request| request.glob = Some("*".to_owned())),
            ErrorReason::FieldInvalid,
        ),
        (
            beside(&|request| request.start_path = Some("a".to_owned())),
            ErrorReason::FieldInvalid,
        ),
        (start(None, 1), ErrorReason::FieldInvalid),
        (start(Some("block.bin"), -1), ErrorReason::FieldInvalid),
        (start(Some("block.bin"), 262_145), ErrorReason::RangeInvalid),
        (start(Some("/"), 0), ErrorReason::FieldInvalid),
        (
            pb::ReadMembersRequest {
                glob: Some("[".to_owned()),
                ..everything("f")
            },
            ErrorReason::FieldInvalid,
        ),
        (
            pb::ReadMembersRequest {
                if_match: Some("other".to_owned()),
                ..everything("f")
            },
            ErrorReason::ContentChanged,
        ),
        (everything("file"), ErrorReason::ArtifactIsFile),
        (everything("nothing"), ErrorReason::ArtifactNotFound),
        (pb::ReadMembersRequest::default(), ErrorReason::FieldRequired),
    ] {
        let what = format!("{request:?}").chars().take(300).collect::<String>();
        assert_eq!(refusal(calls.read_members(request).await), reason, "{what}");
    }
    calls.trash(by_uid(&artifact.uid)).await.unwrap();
    let in_trash = pb::ReadMembersRequest {
        artifact: Some(by_uid(&artifact.uid)),
        ..Default::default()
    };
    assert_eq!(
        refusal(calls.read_members(in_trash).await),
        ErrorReason::ArtifactInTrash
    );
}

#[tokio::test]
async fn a_damaged_member_ends_the_stream_and_is_wanted_again() {
    for backend in [Backend::EMBEDDED, Backend::POSTGRES, Backend::S3] {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all: Files = (1..=3)
            .map(|number| (format!("{number}.bin"), content(number, 1_000)))
            .collect();
        calls.save_folder(folder("f"), &all).await.unwrap();
        server.overwrite_only_object(|stored| stored[1_500] ^= 1);
        assert_eq!(
            refusal(calls.read_members(everything("f")).await),
            ErrorReason::ContentCorrupt
        );
        let sound = pb::ReadMembersRequest {
            ranges: vec![range("3.bin", 0, None), range("1.bin", 0, None)],
            ..everything("f")
        };
        assert_eq!(calls.read_members(sound).await.unwrap().len(), 2, "{backend:?}");
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.send_all(&all).await.unwrap();
        assert_eq!(call.wanted, [1]);
        call.commit().await.unwrap();
        assert!(calls.read_members(everything("f")).await.unwrap() == whole(&all));
        server.assert_clean();
    }
}

fn named(files: &Files, path: &str) -> pb::Member {
    pb::Member {
        path: path.to_owned(),
        size: files[path].len() as i64,
        sha256: digest(&files[path]),
    }
}

#[tokio::test]
async fn two_versions_differ_in_what_was_added_removed_changed_and_moved() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let before = files(5_000, &[30]);
        let mut after = before.clone();
        after.insert("new".to_owned(), Bytes::from_static(b"new"));
        after.insert("part 1/000001.bin".to_owned(), Bytes::from_static(b"changed"));
        after.remove("part 2/000002.bin");
        let moved = after.remove("part 3/000003.bin").unwrap();
        after.insert("part 9/moved.bin".to_owned(), moved);
        calls.save_folder(folder("f"), &before).await.unwrap();
        calls.save_folder(folder("f"), &after).await.unwrap();
        let (mut found, moves_may_be_missing) = calls
            .diff_folders(by_version("f", "1"), by_version("f", "2"))
            .await
            .unwrap();
        assert!(!moves_may_be_missing);
        let mut expected = vec![
            Difference::Added(named(&after, "new")),
            Difference::Removed(named(&before, "part 2/000002.bin")),
            Difference::Changed(pb::ChangedMember {
                before: Some(named(&before, "part 1/000001.bin")),
                after: Some(named(&after, "part 1/000001.bin")),
            }),
            Difference::Moved(pb::MovedMember {
                from_path: "part 3/000003.bin".to_owned(),
                to: Some(named(&after, "part 9/moved.bin")),
            }),
        ];
        found.sort_by_key(|difference| format!("{difference:?}"));
        expected.sort_by_key(|difference| format!("{difference:?}"));
        assert_eq!(found, expected, "{backend:?}");
        let same = calls.diff_folders(by_key("f"), by_version("f", "2")).await.unwrap();
        assert_eq!(same, (Vec::new(), false));
        calls.save_folder(folder("other"), &files(1, &[9])).await.unwrap();
        let (all, _) = calls.diff_folders(by_version("f", "1"), by_key("other")).await.unwrap();
        assert_eq!(all.len(), 5_000, "one of them changed");
    }
}

#[tokio::test]
async fn only_folders_can_be_compared() {
    let server = TestServer::start().await;
    let calls = server.calls();
    calls.save_folder(folder("f"), &files(3, &[9])).await.unwrap();
    calls.save(keyed("file"), b"x").await.unwrap();
    let diff = async |old: &str, new: &str| refusal(calls.diff_folders(by_key(old), by_key(new)).await);
    assert_eq!(diff("f", "file").await, ErrorReason::ArtifactIsFile);
    assert_eq!(diff("file", "f").await, ErrorReason::ArtifactIsFile);
    assert_eq!(diff("f", "nothing").await, ErrorReason::ArtifactNotFound);
    let without_new = pb::DiffFoldersRequest {
        old: Some(by_key("f")),
        ..Default::default()
    };
    let refused = calls.artifacts().diff_folders(without_new).await.map(drop);
    let failure = artifactd_tests::Failure::from(refused.unwrap_err());
    assert_eq!(
        (failure.reason, failure.fields),
        (Some(ErrorReason::FieldRequired), vec!["new".to_owned()])
    );
}
