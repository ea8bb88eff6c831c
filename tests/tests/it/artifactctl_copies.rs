//! Copies of artifacts by the command line, between keys and storages.

use std::fs;

use artifactd_tests::{Backend, calls::by_text, command::Ctl, refusal, storages::Places};

/// What a command printed of the artifact that it saved.
fn saved(ran: artifactd_tests::command::Ran) -> (String, serde_json::Value) {
    let message = ran.messages().remove(0);
    let outcome = message["outcome"].as_str().unwrap().to_owned();
    (outcome, message["artifact"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_copied_to_another_key_and_to_another_storage() {
    for backend in Backend::DATABASES {
        let places = Places::on(backend).await;
        let ctl = Ctl::of(places.server.url());
        fs::write(ctl.home().join("a.csv"), "x\n1\n").unwrap();
        let put = ["put", "a.csv", "raw/a.csv", "-d", "first", "--kind", "model", "--json"];
        let (_, source) = saved(ctl.run(&put));
        let uid = source["uid"].as_str().unwrap();
        for (target, storage, key) in [
            ("raw/b.csv", "default", "raw/b.csv"),
            ("kept/", "default", "kept/a.csv"),
            ("far::", "far", "raw/a.csv"),
            ("far::other/c.csv", "far", "other/c.csv"),
        ] {
            let (outcome, copy) = saved(ctl.run(&["cp", uid, target, "--json"]));
            assert_eq!(outcome, "SAVE_OUTCOME_CREATED", "{target}");
            assert_ne!(copy["uid"], source["uid"], "{target}");
            assert_eq!(
                (&copy["storage"], &copy["key"]),
                (&storage.into(), &key.into()),
                "{target}"
            );
            for same in ["sha256", "description", "kind", "mediaType", "size"] {
                assert_eq!(copy[same], source[same], "{same} at {target}");
            }
            let content = ctl.run(&["cat", copy["uid"].as_str().unwrap()]).ok();
            assert_eq!(content, "x\n1\n", "{target}");
            let (outcome, again) = saved(ctl.run(&["cp", uid, target, "--json"]));
            assert_eq!(
                (outcome.as_str(), &again["uid"]),
                ("SAVE_OUTCOME_EXISTING", &copy["uid"])
            );
        }
        // One content is kept once in each storage, and what it was copied from is not needed.
        assert_eq!(places.near_contents().await, 1);
        assert_eq!(places.far_objects() + places.far_packs(), 1);
        ctl.run(&["rm", uid, "--permanent", "--force", "--yes"]).ok();
        assert_eq!(ctl.run(&["cat", "far::raw/a.csv"]).ok(), "x\n1\n");
        // What has another content becomes the next version.
        fs::write(ctl.home().join("a.csv"), "x\n2\n").unwrap();
        ctl.run(&["put", "a.csv", "raw/new.csv"]).ok();
        let copy = [
            "cp",
            "raw/new.csv",
            "far::raw/a.csv",
            "--version-label",
            "two",
            "--json",
        ];
        let (outcome, copy) = saved(ctl.run(&copy));
        assert_eq!(
            (outcome.as_str(), &copy["version"]),
            ("SAVE_OUTCOME_NEW_VERSION", &"two".into())
        );
        places.server.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_copied_whole() {
    let places = Places::on(Backend::EMBEDDED).await;
    let ctl = Ctl::of(places.server.url());
    fs::create_dir_all(ctl.home().join("set/deep")).unwrap();
    for (name, content) in [("a.txt", "a"), ("A.txt", "other"), ("deep/b.txt", "b")] {
        fs::write(ctl.home().join("set").join(name), content).unwrap();
    }
    let (_, source) = saved(ctl.run(&["put", "set", "--allow-case-collisions", "--json"]));
    for (target, storage) in [("again", "default"), ("default::third", "default"), ("far::set", "far")] {
        let (outcome, copy) = saved(ctl.run(&["cp", "set", target, "--json"]));
        assert_eq!(outcome, "SAVE_OUTCOME_CREATED", "{target}");
        assert_eq!(
            (&copy["storage"], &copy["sha256"]),
            (&storage.into(), &source["sha256"])
        );
        let got = ctl.home().join(format!("got-{}", target.replace(':', "-")));
        ctl.run(&["get", target, got.to_str().unwrap()]).ok();
        assert_eq!(fs::read_to_string(got.join("A.txt")).unwrap(), "other");
        assert_eq!(fs::read_to_string(got.join("deep/b.txt")).unwrap(), "b");
    }
    places.server.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_copied_says_why_and_copies_nothing() {
    let places = Places::on(Backend::EMBEDDED).await;
    let ctl = Ctl::of(places.server.url());
    fs::write(ctl.home().join("a.csv"), "x\n").unwrap();
    let (_, source) = saved(ctl.run(&["put", "a.csv", "--json"]));
    let uid = source["uid"].as_str().unwrap();
    ctl.run(&["cp", "missing.csv", "b.csv"]).failed(3);
    ctl.run(&["cp", "a.csv", "nowhere::b.csv"]).failed(3);
    // Nothing is written to a root of which files lie in place.
    let refused = ctl.run(&["cp", "a.csv", "lab::b.csv"]).failed(4);
    assert!(
        refused.contains("the storage refuses writes (StorageReadOnly"),
        "{refused}"
    );
    for target in [uid, "b.csv@@2", "/b.csv", ""] {
        ctl.run(&["cp", "a.csv", target]).failed(2);
    }
    // A description alone is no key to copy under.
    fs::write(ctl.home().join("n.csv"), "n\n").unwrap();
    let described = places.server.client().await;
    let unnamed = described
        .save_bytes(b"n\n".as_slice(), artifactd_client::SaveOptions::described("unnamed"))
        .await
        .unwrap();
    ctl.run(&["cp", &unnamed.artifact.uid.to_string(), "far::"]).failed(2);
    ctl.run(&["cp", &unnamed.artifact.uid.to_string(), "far::named"]).ok();
    for key in ["b.csv", "lab::b.csv"] {
        refusal(places.server.calls().get(by_text(key)).await);
    }
}
