//! Data folders that earlier versions wrote: each must open and be whole.

use std::{fs, path::Path};

use artifactd_tests::{
    TestServer,
    calls::{by_key, by_text, by_version},
    collections::key_ref,
    pb,
    records::said,
    refusal,
    storages::{far, removing},
};

/// The version that knew only files.
const BEFORE_FOLDERS: &str = "0.1.0-spine";

/// Those of which no upload was under way.
const WITHOUT_UPLOADS: [&str; 4] = [BEFORE_FOLDERS, "0.1.0-bulk", WITH_RECORD, WITH_ROOTS];

/// The one that holds something of everything that a record can say.
const WITH_RECORD: &str = "0.1.0-record";

/// The one that holds a root besides which is only read.
const WITH_ROOTS: &str = "0.1.0-roots";

/// What their uploads are of.
const UPLOADED_BYTES: usize = 300 << 10;

/// Bytes of the first of their two parts: one of them has come.
const PART_BYTES: usize = 256 << 10;

const PACKED_FILES: usize = 20;

const FOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/upgrade");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A folder of two versions, and small files that share an object.
async fn folders_are_whole(server: &TestServer) {
    let client = server.client().await;
    let diff = client.diff_folders("islands@@1", "islands").await.unwrap();
    assert_eq!(diff.differences.len(), 1, "{diff:?}");
    let read = client.read_member("islands", "biscoe/gentoo.csv").await.unwrap();
    assert_eq!(read, &b"body_mass_g\n4500\n5700\n"[..]);
    for number in 0..PACKED_FILES {
        let read = client.read(format!("packed/{number}.txt").as_str()).await.unwrap();
        assert_eq!(read, number.to_string().as_bytes());
    }
}

/// The storages besides that of the server lie where the folder lies now.
async fn storages_are_here(server: &TestServer) {
    for name in ["lab", "far", "archive"] {
        // Not every version knew all of them.
        let Ok(root) = server.data_dir().join(name).canonicalize() else {
            continue;
        };
        let here = format!("UPDATE storages SET root = '{}' WHERE name = '{name}'", root.display());
        server.database().await.run(&here).await;
    }
}

/// All that is said of artifacts, what made them, what belongs together, and where it lies.
async fn the_record_is_whole(server: &TestServer) {
    let calls = server.calls();
    let of_table = said(
        &calls
            .annotations_of(by_version("penguins/size.csv", "2"))
            .await
            .unwrap(),
    );
    let expected = [
        "island: Island:Biscoe",
        "scientist: ULabel:Barbara, ULabel:Edgar",
        "temperature: 27.6",
        "label published",
    ];
    assert_eq!(of_table, expected);
    for (filter, keys) in [
        ("features.temperature > 20", &["penguins/size.csv"][..]),
        ("features.island = 'Biscoe'", &["penguins/size.csv"]),
        ("labels.ULabel = 'published'", &["penguins/size.csv"]),
    ] {
        let request = pb::ListArtifactsRequest {
            filter: filter.to_owned(),
            ..Default::default()
        };
        let found = calls.list_all(request).await.unwrap();
        assert!(
            found.iter().map(pb::Artifact::key).eq(keys.iter().copied()),
            "{filter}: {found:?}"
        );
    }
    let rate = calls
        .get_feature(artifactd_tests::records::param_named("rate"))
        .await
        .unwrap();
    assert_eq!(rate.dtype, "float");
    let made = calls.describe(by_key("weighed.csv")).await.unwrap();
    assert_eq!(made.feature_sets.len(), 1, "its column is a feature");
    let unweighed = pb::SaveHeader {
        schema: Some("weighed".to_owned()),
        ..artifactd_tests::calls::keyed("light.csv")
    };
    let broken = refusal(calls.save(unweighed, b"name\nx\n").await);
    assert_eq!(broken, pb::ErrorReason::SchemaBroken);

    let clean = calls.get(by_key("made/clean.csv")).await.unwrap();
    let run = calls.get_run(clean.run_uid()).await.unwrap();
    assert_eq!((run.status(), run.exit_code), (pb::RunStatus::Completed, Some(0)));
    const READ: &str = "SELECT count(*) FROM run_inputs JOIN artifacts ON artifacts.id = run_inputs.artifact_id \
         WHERE artifacts.version_number = 2";
    assert_eq!(server.query_integer(READ).await, 1, "it had read the table");
    assert_eq!(
        calls
            .get(by_version("penguins/size.csv", "good"))
            .await
            .unwrap()
            .version,
        "2"
    );

    let members = calls.all_members(key_ref("training")).await.unwrap();
    let keys: Vec<_> = members.iter().filter_map(|member| member.artifact.as_ref()).collect();
    let keys: Vec<_> = keys.iter().map(|artifact| artifact.key()).collect();
    assert_eq!(keys, ["penguins/size.csv", "made/clean.csv", "weighed.csv"]);
    assert!(members[2].follows_latest);
    let content = |text: &str| text.as_bytes().to_vec();
    let in_place = calls.get(by_text("lab::wells.csv")).await.unwrap();
    assert!(!in_place.key_is_virtual);
    for name in ["lab", "far", "default"] {
        assert!(!calls.get_storage(name).await.unwrap().read_only, "{name}");
    }
    for (key, text) in [("lab::wells.csv", "well,count\nA1,7\n"), ("far::moved.txt", "moved\n")] {
        assert_eq!(calls.read(by_text(key)).await.unwrap(), content(text), "{key}");
    }
    let plate = calls.read_member(by_text("lab::plates"), "two.csv").await.unwrap();
    assert_eq!(plate, content("plate,two\n"));
    for (version, text) in [
        ("islands@@1", "body_mass_g\n4500\n"),
        ("islands", "body_mass_g\n4500\n5700\n"),
    ] {
        let read = calls.read_member(far(version), "biscoe/gentoo.csv").await.unwrap();
        assert_eq!(read, content(text), "{version}");
    }
    // What moved moves on, and what lies in place is taken in.
    let own = clean.storage.clone();
    calls.move_artifact(far("islands"), &own, None).await.unwrap();
    calls.move_artifact(by_text("lab::plates"), "far", None).await.unwrap();
    let plate = calls.read_member(far("plates"), "one.csv").await.unwrap();
    assert_eq!(plate, content("plate,one\n"));
}

/// What is only read stays, and what went with its record is gone.
async fn roots_are_what_they_were(server: &TestServer) {
    let calls = server.calls();
    assert!(calls.get_storage("archive").await.unwrap().read_only);
    let refused = calls.delete(removing(by_text("archive::old.csv"))).await;
    assert_eq!(refusal(refused), pb::ErrorReason::StorageReadOnly);
    let old = calls.read(by_text("archive::old.csv")).await.unwrap();
    assert_eq!(old, b"well,count\nA1,5\n");
    let gone = calls.get(by_text("lab::gone.csv")).await;
    assert_eq!(refusal(gone), pb::ErrorReason::ArtifactNotFound);
    calls.delete(removing(by_text("lab::wells.csv"))).await.unwrap();
    assert!(!server.data_dir().join("lab/wells.csv").exists());
}

/// What the upload for a key is of: its key, again and again.
fn uploaded(key: &str) -> Vec<u8> {
    key.bytes().cycle().take(UPLOADED_BYTES).collect()
}

/// Uploads go on after the part that came last, and one that was completed keeps its answer.
async fn uploads_go_on(server: &TestServer) {
    let calls = server.calls();
    let request = artifactd_tests::pb::ListUploadsRequest::default();
    let listed = calls
        .uploads()
        .list_uploads(request)
        .await
        .unwrap()
        .into_inner()
        .uploads;
    assert_eq!(listed.len(), 3);
    for upload in listed {
        let key = upload.save.as_ref().unwrap().key();
        let bytes = uploaded(key);
        match key {
            "in-order.txt" => {
                assert_eq!(upload.durable_bytes as usize, PART_BYTES);
                let rest = &bytes[PART_BYTES..];
                calls.upload_part(&upload.uid, PART_BYTES, rest, true).await.unwrap();
            }
            "at-once.txt" => {
                let came: Vec<_> = upload.parts.iter().map(|range| (range.first, range.last)).collect();
                assert_eq!(came, [(1, 1)]);
                let first = &bytes[..PART_BYTES];
                calls.upload_part(&upload.uid, 0, first, false).await.unwrap();
            }
            _ => {
                let saved = upload.saved.expect("it is complete").artifact.unwrap();
                assert_eq!(saved.uid, calls.get(by_key("complete.txt")).await.unwrap().uid);
            }
        }
        let saved = calls.complete_upload(&upload.uid).await.unwrap().artifact.unwrap();
        assert_eq!((saved.key(), saved.version_number), (key, 1));
        assert!(calls.read(by_key(key)).await.unwrap() == bytes, "{key}");
    }
}

#[tokio::test]
async fn folders_of_every_earlier_version_open_and_are_whole() {
    let mut opened = 0;
    for entry in fs::read_dir(FOLDERS).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let has_roots = folder.ends_with(WITH_ROOTS);
        let has_record = has_roots || folder.ends_with(WITH_RECORD);
        // Whatever a folder registers lies somewhere below.
        let anywhere = std::env::temp_dir().canonicalize().unwrap();
        let setup = TestServer::setup().env("ARTIFACTD_STORAGE__REGISTER_FROM", anywhere.to_str().unwrap());
        let mut server = setup.prepare().await;
        copy(&folder, &server.data_dir());
        if has_record {
            storages_are_here(&server).await;
        }
        let has_uploads = !WITHOUT_UPLOADS.iter().any(|name| folder.ends_with(name));
        if has_uploads {
            // Where the folder lies, time does not pass for what expires.
            let later = "UPDATE uploads SET expires_at_us = 9000000000000000";
            server.database().await.run(later).await;
        }
        server.start_again().await;
        let calls = server.calls();
        let latest = calls.get(by_text("penguins/size.csv")).await.unwrap();
        assert_eq!(
            (latest.version_number, latest.is_latest),
            (2, true),
            "{}",
            folder.display()
        );
        let first = calls.read(by_text("penguins/size.csv@@1")).await.unwrap();
        assert!(first.starts_with(b"species,island"), "{}", folder.display());
        let again = server.client().await.save(first, "penguins/size.csv").await.unwrap();
        assert_eq!(again.artifact.version_number.get(), 3, "{}", folder.display());
        if has_record {
            the_record_is_whole(&server).await;
            if has_roots {
                roots_are_what_they_were(&server).await;
            }
        } else if !folder.ends_with(BEFORE_FOLDERS) {
            folders_are_whole(&server).await;
        }
        if has_uploads {
            uploads_go_on(&server).await;
        }
        server.assert_clean();
        opened += 1;
    }
    assert!(opened > 0, "there are folders of earlier versions");
}
