//! Moves with the Rust client, and from the command line.

use std::fs;

use artifactd_client::Reason;
use artifactd_tests::{
    Backend,
    calls::keyed,
    command::Ctl,
    content::content,
    folders::{files, folder},
    storages::Places,
};

#[tokio::test]
async fn the_rust_client_moves_files_and_folders() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let client = places.server.client().await;
        let bytes = content(1, 2_000_000);
        let saved = client.save(bytes.clone(), "x.bin").await.unwrap();
        let (moved, copied_bytes) = client.move_artifact("x.bin", "far").await.unwrap();
        assert_eq!(
            (moved.uid, moved.storage.as_str()),
            (saved.artifact.uid, "far"),
            "{backend:?}"
        );
        assert_eq!(copied_bytes, 2_000_000);
        assert_eq!(client.read("far::x.bin").await.unwrap(), bytes);
        let (_, again) = client.move_artifact(moved.uid, "far").await.unwrap();
        assert_eq!(again, 0, "it is there");
        let all = files(5, &[1_000]);
        places.server.calls().save_folder(folder("set"), &all).await.unwrap();
        let (moved, copied_bytes) = client.move_artifact("set", "far").await.unwrap();
        assert_eq!((moved.n_objects, copied_bytes), (Some(5), 5_000));
        let read = client.read_member("far::set", "part 2/000002.bin").await.unwrap();
        assert_eq!(read, all["part 2/000002.bin"]);
        for (artifact, storage, reason) in [
            ("nothing.bin", "far", Reason::ArtifactNotFound),
            ("far::x.bin", "nowhere", Reason::StorageNotFound),
            ("far::x.bin", "lab", Reason::StorageReadOnly),
        ] {
            let refused = client.move_artifact(artifact, storage).await.unwrap_err();
            assert_eq!(refused.reason(), Some(reason), "{artifact} to {storage}");
        }
        places.server.assert_clean();
    }
}

#[tokio::test]
async fn artifacts_move_from_the_command_line() {
    let places = Places::on(Backend::EMBEDDED).await;
    let calls = places.server.calls();
    let ctl = Ctl::of(places.server.url());
    for text in ["one", "two"] {
        fs::write(ctl.home().join("x.txt"), text).unwrap();
        ctl.run(&["put", "x.txt"]).ok();
    }
    let moved = ctl.run(&["storage", "move", "x.txt", "far"]).ok();
    assert!(
        moved.starts_with("moved ") && moved.ends_with("to far, 6 B copied\n"),
        "{moved}"
    );
    ctl.run(&["get", "x.txt", "back.txt"]).failed(3);
    ctl.run(&["get", "far::x.txt@@1", "back.txt"]).ok();
    assert_eq!(fs::read_to_string(ctl.home().join("back.txt")).unwrap(), "one");
    let again = ctl.run(&["--json", "storage", "move", "far::x.txt", "far"]).messages();
    assert_eq!(
        (&again[0]["storage"], &again[0]["version"]),
        (&"far".into(), &"2".into())
    );
    calls.save_folder(folder("set"), &files(4, &[100])).await.unwrap();
    let moved = ctl.run(&["storage", "move", "set", "far"]).ok();
    assert!(moved.ends_with("to far, 400 B copied\n"), "{moved}");
    calls.save(keyed("x.txt"), b"in the way").await.unwrap();
    ctl.run(&["storage", "move", "x.txt", "far"]).failed(4);
    ctl.run(&["storage", "move", "x.txt", "nowhere"]).failed(3);
    ctl.run(&["storage", "move", "nothing.txt", "far"]).failed(3);
    ctl.run(&["storage", "move", "x.txt", "lab"]).failed(4);
    places.server.assert_clean();
}
