//! Starting, refusing to start, and the other commands of the server.

use std::{fs, process::Command, time::Duration};

use artifactd_tests::{
    Backend, TestServer,
    calls::{by_key, keyed},
    content::content,
    required_env,
    server::Depth,
};

/// Runs `artifactd` with a configuration file and answers exit code and output.
fn with_config(arguments: &[&str], config: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("artifactd.toml");
    fs::write(&file, config).unwrap();
    let output = Command::new(required_env("ARTIFACTD_BIN"))
        .args(arguments)
        .arg("--config")
        .arg(&file)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_file_and_line() {
    for (what, config, expected) in [
        ("an unknown key", "[limits]\nno_such_limit = 1\n", "no_such_limit"),
        ("an unknown section", "[no_such_section]\nx = 1\n", "no_such_section"),
        (
            "a wrong type",
            "[limits]\ncontent_bytes_max = \"many\"\n",
            "content_bytes_max",
        ),
        (
            "a negative limit",
            "[limits]\nstream_idle_timeout_ms = -1\n",
            "stream_idle_timeout_ms",
        ),
        ("no TOML", "[limits\n", "artifactd.toml"),
        (
            "a storage of an unknown kind",
            "[storage]\nurl = \"ftp://x/y\"\n",
            "storage.url",
        ),
        (
            "a database of an unknown kind",
            "[database]\nurl = \"mysql://x/y\"\n",
            "database.url",
        ),
    ] {
        for command in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let (code, text) = with_config(command, config, &[]);
            assert!(
                code.is_some_and(|code| code != 0),
                "{what} was taken by {command:?}: {text}"
            );
            assert!(text.contains(expected), "{what}, {command:?}: {text}");
            assert!(!text.contains("panicked"), "{what}: {text}");
        }
    }
    let (_, text) = with_config(&["config", "check"], "\n\n[limits]\nno_such_limit = 1\n", &[]);
    assert!(
        text.contains("artifactd.toml") && text.contains('4'),
        "file and line: {text}"
    );
}

#[tokio::test]
async fn every_fault_of_a_configuration_is_said_at_once() {
    let env = [
        ("ARTIFACTD_LIMITS__CONTENT_BYTES_MAX", "many"),
        ("ARTIFACTD_STORAGE__URL", "ftp://x/y"),
    ];
    let (code, text) = with_config(&["config", "check"], "[limits]\nno_such_limit = 1\n", &env);
    assert!(code.is_some_and(|code| code != 0), "{text}");
    for expected in ["no_such_limit", "CONTENT_BYTES_MAX", "STORAGE__URL"] {
        assert!(
            text.to_uppercase().contains(&expected.to_uppercase()),
            "{expected} in {text}"
        );
    }
}

#[tokio::test]
async fn a_wrong_environment_is_refused_by_name_and_secrets_are_not_shown() {
    for (name, value) in [
        ("ARTIFACTD_LIMITS__CONTENT_BYTES_MAX", "many"),
        ("ARTIFACTD_NO_SUCH_SECTION__X", "1"),
        ("ARTIFACTD_LIMITS__NO_SUCH_LIMIT", "1"),
    ] {
        let (code, text) = with_config(&["config", "check"], "", &[(name, value)]);
        assert!(code.is_some_and(|code| code != 0), "{name} was taken: {text}");
        let last = name.rsplit("__").next().unwrap();
        assert!(text.to_uppercase().contains(last), "{name}: {text}");
    }
    let secret = [
        ("ARTIFACTD_STORAGE__SECRET_ACCESS_KEY", "hunter2-hunter2"),
        (
            "ARTIFACTD_DATABASE__URL",
            "postgres://user:hunter2-hunter2@127.0.0.1:1/x",
        ),
    ];
    let (_, text) = with_config(&["config", "check"], "", &secret);
    assert!(!text.contains("hunter2"), "{text}");
    let mut server = TestServer::setup().env(secret[1].0, secret[1].1).prepare().await;
    assert!(!server.start_refused().await.success());
    assert!(!server.log().contains("hunter2"), "{}", server.log());
}

#[tokio::test]
async fn a_right_configuration_is_accepted() {
    let (code, text) = with_config(&["config", "check"], "[limits]\ncontent_bytes_max = 1000000\n", &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = with_config(&["config", "check"], "", &[]);
    assert_eq!(code, Some(0), "{text}");
    let sample = include_str!("../../../deploy/artifactd.toml");
    let (code, text) = with_config(&["config", "check"], sample, &[]);
    assert_eq!(code, Some(0), "the sample: {text}");
}

#[tokio::test]
async fn ports_and_addresses_that_cannot_be_had_are_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let _holder = std::net::TcpListener::bind(&taken);
    for listen in [
        "127.0.0.1:70000",
        "nonsense",
        "127.0.0.1",
        "256.0.0.1:50051",
        "0.0.0.0:0",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(required_env("ARTIFACTD_BIN"))
            .args(["serve", "--listen", listen, "--data-dir"])
            .arg(folder.path().join("data"))
            .env_clear()
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let status = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        if status.is_err() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(status.is_ok_and(|status| !status.success()), "{listen} was taken");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.bin"), b"1").await.unwrap();
    let data_dir = server.data_dir();
    let second = server.run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ]);
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned() + &String::from_utf8_lossy(&second.stdout);
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(server.calls().read(by_key("x.bin")).await.unwrap(), b"1");
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused_and_left_alone() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::on(backend).await;
        server.calls().save(keyed("x.bin"), b"1").await.unwrap();
        assert!(server.stop().await.success());
        let database = server.database().await;
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_from_the_future', 1)";
        database.run(newer).await;
        drop(database);
        assert!(!server.start_refused().await.success(), "{backend:?}");
        assert!(!server.log().contains("panicked"), "{}", server.log());
        let database = server.database().await;
        database
            .run("DELETE FROM seaql_migrations WHERE version LIKE 'm9999%'")
            .await;
        drop(database);
        server.start_again().await;
        assert_eq!(server.calls().read(by_key("x.bin")).await.unwrap(), b"1", "{backend:?}");
    }
}

#[tokio::test]
async fn servers_that_start_at_once_on_one_database_migrate_it_once() {
    let bytes = tempfile::tempdir().unwrap();
    let url = artifactd_tests::postgres::Postgres::shared().create_database().await;
    let mut servers = Vec::new();
    for _ in 0..4 {
        let setup = TestServer::setup().on(Backend::POSTGRES).database_url(url.clone());
        servers.push(setup.storage_path(bytes.path()).prepare().await);
    }
    futures::future::join_all(servers.iter_mut().map(TestServer::start_again)).await;
    for (number, server) in servers.iter().enumerate() {
        server
            .calls()
            .save(keyed("x.bin"), &content(number as u64, 10))
            .await
            .unwrap();
    }
    for server in &servers {
        assert_eq!(
            server.calls().read(by_key("x.bin")).await.unwrap(),
            content(3, 10),
            "all see the same"
        );
    }
}

#[tokio::test]
async fn a_storage_that_takes_no_writes_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.as_path(), std::path::Path::new("/proc/artifactd")] {
        let mut server = TestServer::setup().storage_path(path).prepare().await;
        assert!(!server.start_refused().await.success(), "{}", path.display());
        assert!(!server.log().contains("panicked"), "{}", server.log());
        assert!(
            server.log().contains(path.to_str().unwrap()),
            "the reason names the place: {}",
            server.log()
        );
    }
}

#[tokio::test]
async fn a_start_on_an_existing_folder_is_quick() {
    let mut server = TestServer::start().await;
    for number in 0..50_u64 {
        server
            .calls()
            .save(keyed(&format!("{number}.bin")), &content(number, 1_000))
            .await
            .unwrap();
    }
    server.kill();
    let began = std::time::Instant::now();
    server.start_again().await;
    // A debug build on a busy machine; the benchmark has the real figure.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(server.calls().read(by_key("7.bin")).await.unwrap(), content(7, 1_000));
}

#[tokio::test]
async fn what_a_crash_left_in_staging_is_gone_after_the_next_start() {
    use artifactd_tests::calls::chunk;
    use artifactd_tests::pb::save_artifact_request::Message;
    let mut server = TestServer::start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let calls = server.calls();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let running = tokio::spawn(async move { calls.save_stream(stream).await });
    sender.send(Message::Header(keyed("x.bin"))).await.unwrap();
    for _ in 0..4 {
        sender.send(Message::Chunk(chunk(&[7; 1_000_000]))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    assert!(running.await.unwrap().unwrap_err().is_cut());
    server.start_again().await;
    server.calls().save(keyed("y.bin"), b"1").await.unwrap();
    for _ in 0..100 {
        if server.staged().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.staged(), [""; 0]);
    server.assert_clean();
}

#[tokio::test]
async fn verify_reports_and_tells_its_result_by_exit_code() {
    for backend in Backend::ALL {
        let server = TestServer::on(backend).await;
        server.calls().save(keyed("x.bin"), &content(1, 600_000)).await.unwrap();
        for depth in [Depth::Quick, Depth::Deep] {
            let verified = server.verify(depth);
            assert_eq!(verified.exit_code, Some(0), "{backend:?}: {:#}", verified.report);
            assert!(verified.report.is_object(), "{:#}", verified.report);
        }
    }
    let nowhere = TestServer::setup()
        .env("ARTIFACTD_DATABASE__URL", "postgres://nobody@127.0.0.1:1/none")
        .prepare()
        .await;
    let data_dir = nowhere.data_dir();
    let output = nowhere.run(&["verify", "--json", "--data-dir", data_dir.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[tokio::test]
async fn verify_lists_bytes_without_a_record_as_garbage_and_stays_clean() {
    let server = TestServer::start().await;
    server.calls().save(keyed("x.bin"), &content(1, 600_000)).await.unwrap();
    let object = server.stored_objects().remove(0);
    let orphan = object.replace(".bin", "");
    let name = orphan.rsplit('/').next().unwrap();
    let flipped: String = name.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
    let shard = std::path::Path::new(&object).parent().unwrap();
    let other = shard.parent().unwrap().join(&flipped[..2]);
    fs::create_dir_all(&other).unwrap();
    fs::copy(&object, other.join(&flipped)).unwrap();
    let verified = server.verify(Depth::Deep);
    assert_eq!(verified.exit_code, Some(0), "{:#}", verified.report);
    assert!(
        verified.report.to_string().contains(&flipped),
        "garbage is listed: {:#}",
        verified.report
    );
}

#[tokio::test]
async fn migrate_prepares_a_database_without_serving() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::setup().on(backend).prepare().await;
        let data_dir = server.data_dir();
        for _ in 0..2 {
            let output = server.run(&["migrate", "--data-dir", data_dir.to_str().unwrap()]);
            assert!(output.status.success(), "{backend:?}: {output:?}");
        }
        server.start_again().await;
        server.calls().save(keyed("x.bin"), b"1").await.unwrap();
    }
}

#[tokio::test]
async fn a_first_start_that_is_killed_anywhere_is_followed_by_one_that_works() {
    for backend in Backend::DATABASES {
        let mut server = TestServer::setup().on(backend).prepare().await;
        for life_ms in [0, 5, 10, 20, 30, 45, 60, 80, 100, 130, 160, 200, 250, 300] {
            server.start_and_kill(Duration::from_millis(life_ms)).await;
        }
        server.start_again().await;
        server.calls().save(keyed("x.bin"), b"1").await.unwrap();
        assert_eq!(server.calls().read(by_key("x.bin")).await.unwrap(), b"1");
        assert_eq!(
            server.query_integer("SELECT count(*) FROM spaces").await,
            1,
            "{backend:?}"
        );
        assert_eq!(
            server.query_integer("SELECT count(*) FROM storages").await,
            1,
            "{backend:?}"
        );
        server.assert_clean();
    }
}
