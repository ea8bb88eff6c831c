//! Tables from the command line.

use std::fs;

use artifactd_tests::{TestServer, calls::keyed, command::Ctl, flight::numbered};
use serde_json::{Value, json};

#[tokio::test]
async fn a_table_is_shown_and_written_in_every_format() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    let write = artifactd_proto::flight::v1::WriteTable {
        save: Some(keyed("t/numbers.parquet")),
        ..Default::default()
    };
    server.calls().do_put(&write, &[numbered(0..1_000)]).await.unwrap();
    assert_eq!(
        ctl.run(&["schema", "t/numbers.parquet"]).ok(),
        "id    Int64    0 null, 0 to 999\n\
         half  Float64  334 null, 0.5 to 499.0\n\
         word  Utf8     0 null,  10 to lung 996\n"
    );
    let id = &ctl.run(&["--json", "schema", "t/numbers.parquet", "-c", "id"]).ok();
    let id: Value = serde_json::from_str(id).unwrap();
    assert_eq!(
        id,
        json!({"name": "id", "type": "Int64", "nullCount": "0", "min": "0", "max": "999"})
    );
    assert_eq!(
        ctl.run(&["head", "t/numbers.parquet", "-n", "3"]).ok(),
        "id  half  word\n0         lung 0\n1   0.5   liver 1\n2   1.0    2\n"
    );
    let rows = ctl
        .run(&[
            "--json",
            "head",
            "t/numbers.parquet",
            "-f",
            "id > 900",
            "-n",
            "1",
            "-c",
            "word,id",
        ])
        .ok();
    assert_eq!(rows, "{\"word\":\"liver 901\",\"id\":901}\n");

    let csv = ctl
        .run(&["export", "t/numbers.parquet", "-", "--format", "csv", "--rows", "3..5"])
        .ok();
    assert_eq!(csv, "id,half,word\n3,,heart 3\n4,2.0,lung 4\n");
    let said = ctl
        .run(&["export", "t/numbers.parquet", "--format", "json", "--limit", "2"])
        .ok();
    assert!(
        said.starts_with("exported numbers.jsonl  2 rows  t/numbers.parquet@@1"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string(ctl.home().join("numbers.jsonl")).unwrap(),
        "{\"id\":0,\"half\":null,\"word\":\"lung 0\"}\n{\"id\":1,\"half\":0.5,\"word\":\"liver 1\"}\n"
    );
    // What is written is a table again.
    for name in ["whole.parquet", "whole.arrow", "whole.csv"] {
        ctl.run(&["export", "t/numbers.parquet", name]).ok();
        ctl.run(&["put", name]).ok();
        let last = ctl.run(&["--json", "head", name, "--rows", "999..1000"]).ok();
        assert_eq!(last, "{\"id\":999,\"half\":null,\"word\":\"heart 999\"}\n", "{name}");
    }
    let again = ctl.run(&["export", "t/numbers.parquet", "whole.csv"]);
    assert_eq!((again.code, again.stdout.as_str()), (4, ""), "{again:?}");
    ctl.run(&[
        "export",
        "t/numbers.parquet",
        "whole.csv",
        "--overwrite",
        "--limit",
        "0",
    ])
    .ok();
    assert_eq!(
        fs::read_to_string(ctl.home().join("whole.csv")).unwrap(),
        "id,half,word\n"
    );
    let left: Vec<_> = fs::read_dir(ctl.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with(".artifactctl-")),
        "{left:?}"
    );
    server.assert_clean();
}

#[tokio::test]
async fn what_is_no_table_or_no_column_is_told() {
    let server = TestServer::start().await;
    let ctl = Ctl::of(server.url());
    fs::write(ctl.home().join("note.txt"), "no table").unwrap();
    fs::create_dir(ctl.home().join("f")).unwrap();
    fs::write(ctl.home().join("f/a.csv"), "x\n1\n").unwrap();
    ctl.run(&["put", "note.txt"]).ok();
    ctl.run(&["put", "f"]).ok();
    for (arguments, code) in [
        (&["head", "note.txt"][..], 4),
        (&["head", "nothing.csv"], 3),
        (&["head", "f", "--member", "b.csv"], 3),
        (&["head", "f", "--member", "a.csv", "-c", "y"], 2),
        (&["head", "f", "--member", "a.csv", "-f", "x >"], 2),
        (&["head", "f", "--member", "a.csv", "--rows", "3..1"], 2),
        (&["export", "f", "--member", "a.csv", "out"], 2),
    ] {
        let ran = ctl.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{arguments:?}: {ran:?}");
    }
    assert_eq!(ctl.run(&["head", "f", "--member", "a.csv"]).ok(), "x\n1\n");
    server.assert_clean();
}
