use std::{ffi::OsString, fs, net::SocketAddr, path::PathBuf, time::Duration};

use super::*;
use crate::{
    config::settings::{Placed, Settings},
    storage::{Service, StorageRoot},
};

/// Loads a file of this text, variables and flags; the file is called `artifactd.toml`.
fn load(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("artifactd.toml");
    fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path),
        default_file: None,
        environment: variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        flags: flags
            .iter()
            .map(|(flag, setting, value)| (*flag, *setting, (*value).to_owned()))
            .collect(),
    };
    let folder = format!("{}/", folder.path().display());
    Config::load(sources).map_err(|errors| errors.to_string().replace(&folder, ""))
}

fn refused(file: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let errors = load(file, variables, &[]).unwrap_err();
    errors.lines().map(str::to_owned).collect()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = Config::load(Sources::default()).unwrap();
    assert_eq!(config.server.listen, "127.0.0.1:50051".parse::<SocketAddr>().unwrap());
    assert_eq!(
        config.storage.root,
        StorageRoot::Local("./artifactd-data/storage".into())
    );
    let DatabaseConfig::Sqlite(path) = config.database else {
        panic!("{:?}", config.database)
    };
    assert_eq!(path, PathBuf::from("./artifactd-data/artifactd.sqlite3"));
}

#[test]
fn a_missing_file_is_an_error_only_when_it_was_named() {
    let missing = PathBuf::from("/nowhere/artifactd.toml");
    let default_file = Sources {
        default_file: Some(missing.clone()),
        ..Sources::default()
    };
    Config::load(default_file).unwrap();
    let named = Sources {
        file: Some(missing),
        ..Sources::default()
    };
    let errors = Config::load(named).unwrap_err().to_string();
    assert_eq!(
        errors,
        "/nowhere/artifactd.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "data_dir = \"f\"\n[server]\nlisten = \"127.0.0.1:1\"\ndrain_timeout = \"1s\"";
    let variables = [("ARTIFACTD_SERVER__LISTEN", "127.0.0.1:2"), ("ARTIFACTD_DATA_DIR", "e")];
    let flags = [("--listen", "server.listen", "127.0.0.1:3")];
    let config = load(file, &variables, &flags).unwrap();
    assert_eq!(config.server.listen.port(), 3);
    assert_eq!(config.data_dir, PathBuf::from("e"));
    assert_eq!(config.server.drain_timeout, Duration::from_secs(1));
}

#[test]
fn every_setting_can_be_set_in_a_file_and_in_the_environment() {
    let settings = [
        ("server.listen", "\"[::1]:0\""),
        ("server.insecure", "true"),
        ("server.drain_timeout", "\"5m\""),
        ("server.max_connections", "7"),
        (
            "server.allowed_origins",
            "[\"https://a.example\", \"http://localhost:3000\"]",
        ),
        ("database.url", "\"postgres://user:word@host/name\""),
        ("database.max_connections", "9"),
        ("database.acquire_timeout", "\"500ms\""),
        ("storage.name", "\"main\""),
        ("storage.url", "\"s3://bucket/a/b/\""),
        ("storage.region", "\"eu-west-1\""),
        ("storage.endpoint", "\"http://127.0.0.1:5000\""),
        ("storage.allow_http", "true"),
        ("storage.access_key_id", "\"id\""),
        ("storage.secret_access_key", "\"word\""),
        ("limits.content_bytes_max", "1_000_000"),
        ("limits.streams_per_connection", "10"),
        ("limits.stream_window_bytes", "100_000"),
        ("limits.content_streams_max", "11"),
        ("limits.content_waiting_max", "12"),
        ("limits.table_streams_max", "14"),
        ("limits.content_wait_ms", "0"),
        ("limits.stream_idle_timeout_ms", "13"),
        ("log.format", "\"json\""),
        ("log.level", "\"info,artifactd_server=debug\""),
    ];
    let file: String = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    let bare = |value: &str| value.replace(['"', '[', ']', '_'], "").replace("::1:0", "[::1]:0");
    let variables: Vec<(String, String)> = settings
        .iter()
        .map(|(name, value)| {
            let value = if name.starts_with("log") {
                value.replace('"', "")
            } else {
                bare(value)
            };
            (format!("ARTIFACTD_{}", name.to_uppercase().replace('.', "__")), value)
        })
        .collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let from_file = load(&file, &[], &[]).unwrap();
    let from_environment = load("", &variables, &[]).unwrap();
    assert_eq!(format!("{from_file:?}"), format!("{from_environment:?}"));
    let StorageRoot::Bucket(root) = from_file.storage.root else {
        panic!()
    };
    assert_eq!((root.bucket.as_str(), root.prefix.as_str()), ("bucket", "a/b"));
    assert_eq!(root.secret_access_key.unwrap().expose(), "word");
    assert_eq!(from_file.limits.content_bytes_max, 1_000_000);
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_with_its_place() {
    let file = r#"
data_dir = 5
colour = "red"
[server]
listen = "127.0.0.1:70000"
drain_timeout = "soon"
insecure = "yes"
max_connections = 0
backlog = 12
[storage]
region = "x"
[limits]
content_streams_max = 1.5
content_wait_ms = "60000"
[log]
format = ["text"]
[telemetry]
"#;
    let variables = [
        ("ARTIFACTD_SERVER__LISTEN", "0.0.0.0:50051"),
        ("ARTIFACTD_SERVER__LISTNE", "x"),
        ("ARTIFACTD_LOG__LEVEL", "loud=very"),
        ("ARTIFACTD_STORAGE__NAME", "No Name"),
    ];
    let flags = [("--log-format", "log.format", "yaml"), ("--data-dir", "data_dir", "")];
    let errors = load(file, &variables, &flags).unwrap_err();
    let expected = [
        "artifactd.toml:2: data_dir: expected text, found an integer",
        "artifactd.toml:3: colour: unknown setting",
        "artifactd.toml:5: server.listen: port 70000 is above 65535",
        "artifactd.toml:6: server.drain_timeout: expected a duration such as 500ms, 30s, 5m or 24h, found `soon`",
        "artifactd.toml:7: server.insecure: expected true or false, found text",
        "artifactd.toml:8: server.max_connections: must lie between 1 and 1000000",
        "artifactd.toml:9: server.backlog: unknown setting",
        "artifactd.toml:11: storage.region: is for buckets",
        "artifactd.toml:13: limits.content_streams_max: expected an integer, found a number with a fraction",
        "artifactd.toml:14: limits.content_wait_ms: expected an integer, found text",
        "artifactd.toml:16: log.format: expected text, found a list",
        "artifactd.toml:17: telemetry: unknown setting",
        "environment ARTIFACTD_LOG__LEVEL: expected off, error, warn, info, debug or trace, found `loud=very`",
        "environment ARTIFACTD_SERVER__LISTEN: 0.0.0.0:50051 can be reached by others, and there is no TLS and no \
         login; use a loopback address, or start with --insecure",
        "environment ARTIFACTD_SERVER__LISTNE: unknown setting",
    ];
    let lines: Vec<&str> = errors.lines().collect();
    let (name, rest): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.contains("STORAGE__NAME"));
    assert_eq!(name.len(), 1, "{errors}");
    assert_eq!(rest[..expected.len()], expected);
    assert_eq!(
        rest[expected.len()..],
        [
            "flag --data-dir: is empty",
            "flag --log-format: expected text or json, found `yaml`"
        ]
    );
}

#[test]
fn a_file_that_is_not_toml_is_reported_by_its_line() {
    let errors = refused("[server]\nlisten = 127.0.0.1:1\n", &[("ARTIFACTD_LOG__FORMAT", "yaml")]);
    assert!(errors[0].starts_with("artifactd.toml:2: "), "{errors:?}");
    assert_eq!(
        errors.last().unwrap(),
        "environment ARTIFACTD_LOG__FORMAT: expected text or json, found `yaml`"
    );
}

#[test]
fn bad_values_are_refused_one_by_one() {
    let bad = [
        (
            "server.listen",
            "\"127.0.0.1\"",
            "expected an address and port such as 127.0.0.1:50051, found `127.0.0.1`",
        ),
        ("server.listen", "\"127.0.0.1:\"", "`` is not a port"),
        ("server.listen", "\"127.0.0.1:-1\"", "`-1` is not a port"),
        (
            "server.listen",
            "\"example.org:1\"",
            "`example.org` is not an IP address, `[…]` around IPv6, or localhost",
        ),
        (
            "server.listen",
            "\"::1:1\"",
            "`::1` is not an IP address, `[…]` around IPv6, or localhost",
        ),
        (
            "server.drain_timeout",
            "\"-1s\"",
            "expected a duration such as 500ms, 30s, 5m or 24h, found `-1s`",
        ),
        ("server.drain_timeout", "\"25h\"", "is longer than 86400 s"),
        (
            "server.drain_timeout",
            "30",
            "expected a duration such as \"30s\", found an integer",
        ),
        ("server.allowed_origins", "\"*\"", "expected a list, found text"),
        ("server.allowed_origins", "[\"*\", \"https://a\"]", "`*` stands alone"),
        (
            "server.allowed_origins",
            "[\"https://a/b\"]",
            "`https://a/b` is not an origin such as https://example.org",
        ),
        (
            "database.url",
            "\"mysql://user:word@host\"",
            "expected postgres://… or sqlite:…",
        ),
        (
            "database.url",
            "\"sqlite::memory:\"",
            "a database in memory forgets what it acknowledged",
        ),
        ("database.max_connections", "4", "is for postgres:// databases"),
        (
            "storage.url",
            "\"abfs://bucket\"",
            "expected a path or s3://, az:// or gs://bucket/prefix",
        ),
        ("storage.url", "\"s3://\"", "has no valid bucket name"),
        (
            "storage.url",
            "\"s3://bucket/a//b\"",
            "has an empty, `.` or `..` segment in its prefix",
        ),
        (
            "storage.url",
            "\"s3://bucket/../b\"",
            "has an empty, `.` or `..` segment in its prefix",
        ),
        (
            "limits.content_bytes_max",
            "99999999999999999999",
            "must lie between 1 and 4611686018427387904",
        ),
        ("log.level", "\"\"", "is empty"),
    ];
    for (setting, value, message) in bad {
        let errors = refused(&format!("{setting} = {value}"), &[]);
        assert_eq!(errors, [format!("artifactd.toml:1: {setting}: {message}")], "{value}");
    }
}

#[test]
fn containers_have_an_account_and_google_has_one_key() {
    let key = "storage.secret_access_key = \"key\"\n";
    let azure = format!("storage.url = \"az://container/a\"\nstorage.access_key_id = \"account\"\n{key}");
    let StorageRoot::Bucket(root) = load(&azure, &[], &[]).unwrap().storage.root else {
        panic!()
    };
    assert_eq!(
        (root.service, root.to_string()),
        (Service::Azure, "az://container/a".to_owned())
    );
    assert_eq!(root.access_key_id.as_deref(), Some("account"));
    let google = format!("storage.url = \"gs://bucket\"\n{key}");
    let root = load(&google, &[], &[]).unwrap().storage.root;
    assert_eq!(root.to_string(), "gs://bucket");
    let refusals = [
        refused(&format!("{azure}storage.region = \"x\""), &[]),
        refused(&format!("storage.url = \"az://container\"\n{key}"), &[]),
        refused(&format!("{google}storage.access_key_id = \"id\""), &[]),
    ];
    assert_eq!(
        refusals.concat(),
        [
            "artifactd.toml:4: storage.region: is for s3:// storages",
            "artifactd.toml:2: storage.secret_access_key: needs storage.access_key_id beside it",
            "artifactd.toml:3: storage.access_key_id: is for s3:// and az:// storages",
        ]
    );
}

#[test]
fn half_a_key_and_plain_http_are_refused() {
    let bucket = "storage.url = \"s3://bucket\"\n";
    let half = refused(&format!("{bucket}storage.access_key_id = \"id\""), &[]);
    assert_eq!(
        half,
        ["artifactd.toml:2: storage.access_key_id: needs storage.secret_access_key beside it"]
    );
    let plain = refused(&format!("{bucket}storage.endpoint = \"http://host\""), &[]);
    assert_eq!(
        plain,
        ["artifactd.toml:2: storage.endpoint: is without TLS; storage.allow_http permits that"]
    );
}

#[test]
fn others_reach_the_server_only_when_that_was_asked_for() {
    for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:0"] {
        let errors = refused(&format!("server.listen = \"{address}\""), &[]);
        assert!(errors[0].contains("can be reached by others"), "{errors:?}");
        load(
            &format!("server.listen = \"{address}\"\nserver.insecure = true"),
            &[],
            &[],
        )
        .unwrap();
    }
    for address in ["127.0.0.9:0", "[::1]:65535", "localhost:1"] {
        load(&format!("server.listen = \"{address}\""), &[], &[]).unwrap();
    }
}

#[test]
fn two_listeners_never_share_a_port() {
    let taken = |one: &str, other: &str| {
        let mut settings = Settings::new(Sources::default());
        let [one, other] = [("one", one), ("other", other)].map(|(name, address)| Placed {
            value: address.parse().unwrap(),
            place: Place::Default(name.to_owned()),
        });
        server::refuse_shared_ports(&mut settings, &[("one", &one), ("other", &other)]);
        settings.finish().err().map(|errors| errors.to_string())
    };
    let message = Some("default of other: port 9 is taken by one".to_owned());
    assert_eq!(taken("127.0.0.1:9", "127.0.0.1:9"), message);
    assert_eq!(taken("0.0.0.0:9", "127.0.0.1:9"), message);
    assert_eq!(taken("127.0.0.1:9", "127.0.0.2:9"), None);
    assert_eq!(taken("127.0.0.1:0", "127.0.0.1:0"), None);
}

#[test]
fn a_secret_is_never_shown() {
    const SECRET: &str = "hunter2";
    let key = "0123456789abcdef".repeat(4);
    let variables = [
        ("ARTIFACTD_DATABASE__URL", "postgres://user:hunter2@host/name"),
        ("ARTIFACTD_STORAGE__URL", "s3://bucket"),
        ("ARTIFACTD_STORAGE__ACCESS_KEY_ID", "id"),
        ("ARTIFACTD_STORAGE__SECRET_ACCESS_KEY", "hunter2"),
        ("ARTIFACTD_MASTER_KEY", key.as_str()),
    ];
    let shown = format!("{:?}", load("", &variables, &[]).unwrap());
    assert!(!shown.contains(SECRET) && !shown.contains(&key), "{shown}");
    let refused_with_secret = [
        ("ARTIFACTD_DATABASE__URL", "mysql://user:hunter2@host/name"),
        ("ARTIFACTD_STORAGE__URL", "s3://id:hunter2@bucket/prefix"),
        ("ARTIFACTD_STORAGE__ENDPOINT", "https://id:hunter2@host"),
        ("ARTIFACTD_STORAGE__SECRET_ACCESS_KEY", "hunter2"),
        ("ARTIFACTD_DATABASE__MAX_CONNECTIONS", "9"),
        ("ARTIFACTD_MASTER_KEY", "hunter2"),
    ];
    let errors = refused("", &refused_with_secret);
    assert_eq!(errors.len(), refused_with_secret.len() - 1, "{errors:?}");
    assert!(!errors.join("\n").contains(SECRET), "{errors:?}");
    let key_in_file = refused("master_key = \"hunter2\"", &[]);
    let message = "is taken from the environment or from the data folder, not from a file of settings";
    assert_eq!(key_in_file, [format!("artifactd.toml:1: master_key: {message}")]);
}

#[test]
fn variables_of_others_and_empty_ones_are_left_alone() {
    let variables = [
        ("ARTIFACTD_PORT", "tcp://10.0.0.1:50051"),
        ("ARTIFACTD_SERVICE_HOST", "10.0.0.1"),
        ("ARTIFACTD_CRASH_AT", "after commit"),
        ("ARTIFACTD_DATABASE__URL", ""),
        ("HOME", "/root"),
    ];
    load("", &variables, &[]).unwrap();
}

#[test]
fn a_variable_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let sources = Sources {
        environment: vec![("ARTIFACTD_LOG__LEVEL".into(), OsString::from_vec(vec![0xff]))],
        ..Sources::default()
    };
    let errors = Config::load(sources).unwrap_err().to_string();
    assert_eq!(errors, "environment ARTIFACTD_LOG__LEVEL: is not UTF-8");
}
