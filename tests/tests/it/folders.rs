//! Many files as one artifact: only what is missing travels, all or nothing.

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, by_uid, by_version, keyed, saved},
    content::{content, digest},
    folders::{Files, FolderCall, change_of, copy, digest_of, entry, file, files, folder, removal},
    pb::{self, ErrorReason, SaveOutcome},
    refusal,
};
use bytes::Bytes;

pub(crate) fn of(files: &[(&str, &[u8])]) -> Files {
    let owned = files
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), Bytes::copy_from_slice(bytes)));
    owned.collect()
}

fn all_of(uid: &str) -> pb::ListMembersRequest {
    pb::ListMembersRequest {
        artifact: Some(by_uid(uid)),
        ..Default::default()
    }
}

pub(crate) async fn assert_holds(server: &TestServer, uid: &str, files: &Files) {
    let calls = server.calls();
    let members = calls.list_members(all_of(uid)).await.unwrap();
    let expected: Vec<_> = files
        .iter()
        .map(|(path, content)| pb::Member {
            path: path.clone(),
            size: content.len() as i64,
            sha256: digest(content),
        })
        .collect();
    assert!(
        members == expected,
        "{} members, expected {}",
        members.len(),
        expected.len()
    );
    for (path, content) in files {
        assert!(
            calls.read_member(by_uid(uid), path).await.unwrap() == *content,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_folder_is_saved_listed_and_read_on_every_backend() {
    for backend in Backend::ALL {
        let mut server = TestServer::on(backend).await;
        let mut all = files(60, &[0, 1, 700, 5_000]);
        for (path, seed, size) in [
            ("ä/ö.txt", 7, 300),
            ("large.bin", 8, 2_500_000),
            ("blocks.bin", 9, 700_000),
        ] {
            all.insert(path.to_owned(), content(seed, size));
        }
        let answer = server.calls().save_folder(folder("cells.zarr"), &all).await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::Created);
        let artifact = saved(answer);
        let size: usize = all.values().map(Bytes::len).sum();
        assert_eq!((artifact.n_objects, artifact.size), (Some(63), size as i64));
        assert_eq!(artifact.hash, digest_of(&all));
        assert_eq!(artifact.hash_type(), pb::HashType::Sha256Manifest);
        assert_eq!((artifact.suffix.as_str(), artifact.path.as_deref()), (".zarr", None));
        assert_holds(&server, &artifact.uid, &all).await;
        let request = pb::ReadContentRequest {
            artifact: Some(by_key("cells.zarr")),
            member: Some("blocks.bin".to_owned()),
            offset: 262_000,
            length: Some(500),
            ..Default::default()
        };
        let read = server.calls().read_raw(request).await.unwrap();
        assert!(read.bytes == all["blocks.bin"][262_000..262_500]);
        assert_eq!(read.head.member.unwrap().size, 700_000);
        // One pack, and an object for the large file.
        assert_eq!(server.stored_objects().len(), 2, "{backend:?}");
        server.kill();
        server.assert_clean();
        server.start_again().await;
        assert_holds(&server, &artifact.uid, &all).await;
    }
}

#[tokio::test]
async fn only_what_is_missing_travels() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut all = files(20, &[100, 2_000]);
        let first = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        calls.save(keyed("elsewhere.bin"), b"held by a file").await.unwrap();
        all.insert("new.bin".to_owned(), Bytes::from_static(b"new"));
        all.insert("twice.bin".to_owned(), Bytes::from_static(b"new"));
        all.insert("held.bin".to_owned(), Bytes::from_static(b"held by a file"));
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.send_all(&all).await.unwrap();
        assert_eq!(call.wanted.len(), 1, "equal contents are wanted once, held ones never");
        let answer = call.commit().await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::NewVersion);
        let second = saved(answer);
        assert_eq!(second.stem, first.stem);
        assert_holds(&server, &second.uid, &all).await;
        // The same folder again is the same artifact.
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.send_all(&all).await.unwrap();
        assert_eq!(call.wanted, [0; 0]);
        let again = call.commit().await.unwrap();
        assert_eq!((again.outcome(), saved(again).uid), (SaveOutcome::Existing, second.uid));
        server.assert_clean();
    }
}

#[tokio::test]
async fn what_came_before_a_cut_is_not_wanted_again() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = files(40, &[3_000]);
        let listed: Vec<_> = all.iter().map(|(path, content)| entry(path, content)).collect();
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.list(listed.clone()).await.unwrap();
        let contents: Vec<_> = all.values().collect();
        let half = (0..40).step_by(2).map(|number| file(number, contents[number as usize]));
        call.put(half.collect()).await.unwrap();
        drop(call);
        // The server notices on its own time.
        let mut tries = 0;
        let wanted = loop {
            let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
            let wanted = call.list(listed.clone()).await.unwrap();
            tries += 1;
            if wanted.len() < 40 || tries > 100 {
                break wanted;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(wanted, (1..40).step_by(2).collect::<Vec<_>>(), "{backend:?}");
        let artifact = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        assert_holds(&server, &artifact.uid, &all).await;
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_change_of_a_version_lists_nothing_else() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let mut all = files(8_000, &[10]);
        let first = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        let other = saved(
            calls
                .save_folder(folder("other"), &of(&[("deep/x", b"theirs")]))
                .await
                .unwrap(),
        );
        let single = saved(calls.save(keyed("single.bin"), b"alone").await.unwrap());
        let mut call = FolderCall::begin(&calls, change_of(&first.uid)).await.unwrap();
        let wanted = call
            .list(vec![
                copy("a/copied", by_uid(&other.uid), Some("deep/x")),
                copy("a/single", by_uid(&single.uid), None),
                removal("part 0/000000.bin"),
                entry("part 1/000001.bin", b"changed"),
                entry("part 9/new", b"new"),
            ])
            .await
            .unwrap();
        assert_eq!(wanted, [3, 4]);
        call.put(vec![file(3, b"changed"), file(4, b"new")]).await.unwrap();
        let answer = call.commit().await.unwrap();
        assert_eq!(answer.outcome(), SaveOutcome::NewVersion);
        let second = saved(answer);
        all.remove("part 0/000000.bin");
        all.extend(of(&[
            ("a/copied", b"theirs"),
            ("a/single", b"alone"),
            ("part 1/000001.bin", b"changed"),
            ("part 9/new", b"new"),
        ]));
        assert_eq!((second.stem, second.hash), (first.stem.clone(), digest_of(&all)));
        assert_eq!(second.n_objects, Some(all.len() as i64));
        for path in ["a/copied", "a/single", "part 1/000001.bin", "part 9/new"] {
            assert!(calls.read_member(by_key("f"), path).await.unwrap() == all[path]);
        }
        let gone = calls.read_member(by_key("f"), "part 0/000000.bin").await;
        assert_eq!(refusal(gone), ErrorReason::MemberNotFound);
        assert!(
            calls
                .read_member(by_version("f", "1"), "part 0/000000.bin")
                .await
                .is_ok()
        );
        let shared =
            "SELECT count(*) FROM (SELECT page_id FROM manifest_page_places GROUP BY page_id HAVING count(*) > 1) AS x";
        assert!(
            server.query_integer(shared).await > 0,
            "pages are shared between versions"
        );
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_repeated_request_has_the_effect_of_one() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = files(30, &[500]);
        let header = |base: Option<&str>, sha256: Option<String>| pb::SaveFolderHeader {
            save: Some(pb::SaveHeader {
                request_id: Some(format!("the-request-{}-{}", base.is_some(), sha256.is_some())),
                sha256,
                ..keyed("f")
            }),
            base_uid: base.map(str::to_owned),
            ..Default::default()
        };
        let first = saved(calls.save_folder(header(None, None), &all).await.unwrap());
        let again = saved(calls.save_folder(header(None, None), &all).await.unwrap());
        assert_eq!(first, again);
        let mut other = all.clone();
        other.remove("part 0/000000.bin");
        let reused = calls.save_folder(header(None, None), &other).await;
        assert_eq!(refusal(reused), ErrorReason::RequestIdReused);
        // With a declared digest nothing has to be listed again.
        let declared = || header(None, Some(digest_of(&other)));
        let second = saved(calls.save_folder(declared(), &other).await.unwrap());
        let again = saved(calls.save_folder(declared(), &Files::new()).await.unwrap());
        assert_eq!(second, again);
        let wrong = pb::SaveFolderHeader {
            save: Some(pb::SaveHeader {
                sha256: Some(digest(b"")),
                ..keyed("g")
            }),
            base_uid: None,
            ..Default::default()
        };
        assert_eq!(
            refusal(calls.save_folder(wrong, &all).await),
            ErrorReason::DigestMismatch
        );
        // A change is told from another by its edits, also when its base is gone.
        let change = async |entries: Vec<pb::FolderEntry>| {
            let mut call = FolderCall::begin(&calls, header(Some(&first.uid), None)).await?;
            call.list(entries).await?;
            call.commit().await
        };
        let third = saved(
            change(vec![removal("part 0/000000.bin"), removal("part 1/000001.bin")])
                .await
                .unwrap(),
        );
        calls.destroy(by_uid(&first.uid)).await.unwrap();
        let again = saved(
            change(vec![removal("part 0/000000.bin"), removal("part 1/000001.bin")])
                .await
                .unwrap(),
        );
        assert_eq!(third, again);
        let reused = change(vec![removal("part 0/000000.bin")]).await;
        assert_eq!(refusal(reused), ErrorReason::RequestIdReused);
        server.assert_clean();
    }
}

#[tokio::test]
async fn members_are_listed_by_prefix_pattern_and_page() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = files(5_000, &[3]);
        let artifact = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        for page_size in [0, 1_000, 333] {
            let request = pb::ListMembersRequest {
                page_size,
                ..all_of(&artifact.uid)
            };
            let listed = calls.list_members(request).await.unwrap();
            assert!(
                listed.iter().map(|member| &member.path).eq(all.keys()),
                "{page_size} {backend:?}"
            );
        }
        let listed = async |prefix: &str, glob: Option<&str>| {
            let request = pb::ListMembersRequest {
                prefix: prefix.to_owned(),
                glob: glob.map(str::to_owned),
                ..all_of(&artifact.uid)
            };
            let members = calls.list_members(request).await.unwrap();
            members.into_iter().map(|member| member.path).collect::<Vec<_>>()
        };
        let expected =
            |holds: &dyn Fn(&str) -> bool| all.keys().filter(|path| holds(path)).cloned().collect::<Vec<_>>();
        assert_eq!(
            listed("part 3/", None).await,
            expected(&|path| path.starts_with("part 3/"))
        );
        assert_eq!(
            listed("part 3/0001", None).await,
            expected(&|path| path.starts_with("part 3/0001"))
        );
        assert_eq!(listed("zzz", None).await, [""; 0]);
        assert_eq!(
            listed("", Some("**/*77.bin")).await,
            expected(&|path| path.ends_with("77.bin"))
        );
        assert_eq!(
            listed("part 6/", Some("part [5-6]/*")).await,
            expected(&|path| path.starts_with("part 6/"))
        );
        assert_eq!(listed("part 1/", Some("part 2/*")).await, [""; 0]);
        let page = calls.members_page(all_of(&artifact.uid)).await.unwrap();
        assert_eq!((page.members.len(), &page.uid), (100, &artifact.uid));
        let other = pb::ListMembersRequest {
            page_token: page.next_page_token,
            prefix: "part".to_owned(),
            ..all_of(&artifact.uid)
        };
        assert_eq!(refusal(calls.members_page(other).await), ErrorReason::PageTokenMismatch);
        let bad = pb::ListMembersRequest {
            glob: Some("a/[".to_owned()),
            ..all_of(&artifact.uid)
        };
        assert_eq!(refusal(calls.members_page(bad).await), ErrorReason::FieldInvalid);
    }
}

#[tokio::test]
async fn a_folder_of_many_pages_is_written_on_the_way() {
    for backend in Backend::DATABASES {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = files(45_000, &[4]);
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.send_all(&all).await.unwrap();
        let saves = "SELECT count(*) FROM folder_saves";
        assert_eq!(server.query_integer(saves).await, 1, "{backend:?}");
        let artifact = saved(call.commit().await.unwrap());
        assert_eq!((artifact.n_objects, artifact.hash), (Some(45_000), digest_of(&all)));
        assert_eq!(server.query_integer(saves).await, 0);
        assert_eq!(server.query_integer("SELECT count(*) FROM folder_save_pages").await, 0);
        let one = "part 3/030411.bin";
        assert!(calls.read_member(by_key("f"), one).await.unwrap() == all[one]);
        server.assert_clean();
    }
}

#[tokio::test]
async fn a_damaged_file_is_met_wanted_again_and_mended() {
    for backend in [Backend::EMBEDDED, Backend::POSTGRES, Backend::S3] {
        let server = TestServer::on(backend).await;
        let calls = server.calls();
        let all = of(&[
            ("a", &content(1, 1_000)),
            ("b", &content(2, 1_000)),
            ("c", &content(3, 1_000)),
        ]);
        let first = saved(calls.save_folder(folder("f"), &all).await.unwrap());
        server.overwrite_only_object(|stored| stored[1_500] ^= 1);
        assert_eq!(
            refusal(calls.read_member(by_key("f"), "b").await),
            ErrorReason::ContentCorrupt
        );
        assert!(calls.read_member(by_key("f"), "a").await.unwrap() == all["a"]);
        let mut call = FolderCall::begin(&calls, folder("f")).await.unwrap();
        call.send_all(&all).await.unwrap();
        assert_eq!(call.wanted, [1]);
        let again = call.commit().await.unwrap();
        assert_eq!(
            (again.outcome(), saved(again).uid),
            (SaveOutcome::Existing, first.uid.clone())
        );
        assert_holds(&server, &first.uid, &all).await;
        server.assert_clean();
    }
}
