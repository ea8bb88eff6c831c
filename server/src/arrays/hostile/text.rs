//! Text, rows C07 and C14.

use std::sync::Arc;

use arrow_schema::DataType;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{E, MIB, told};
use crate::arrays::{error::Result, open, source::Place, table::Scan};

/// C07.
#[test]
fn text_that_is_no_table_is_told_where() {
    let utf16: Vec<u8> = "\u{feff}a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (what, text, line) in [
        ("a quote that is never closed", b"a,b\n1,\"2\n3,4\n".to_vec(), "2"),
        ("Latin-1", b"a,b\n1,2\ncaf\xe9,3\n".to_vec(), "3"),
        ("too few", b"a,b\n1,2\n3\n".to_vec(), "3"),
        ("too many", b"a,b\n1,2\n3,4,5\n".to_vec(), "3"),
        ("UTF-16", utf16, ""),
        ("a NUL", b"a,b\n1,2\n\0y,3\n".to_vec(), "3"),
        ("nothing", Vec::new(), ""),
    ] {
        for name in ["x.csv", "x.tsv"] {
            let text: Vec<u8> = match name {
                "x.tsv" => text
                    .iter()
                    .map(|byte| if *byte == b',' { b'\t' } else { *byte })
                    .collect(),
                _ => text.clone(),
            };
            let told = told(name, &text);
            assert!(
                matches!(told, E::Malformed { .. } | E::Unsupported { .. }),
                "{what}: {told}"
            );
            let said = told.to_string();
            assert!(
                line.is_empty() || said.contains(&format!("line {line}")),
                "{what}: {said}"
            );
        }
    }
}

/// C07.
#[test]
fn text_without_end_is_not_kept() {
    let line = [b"a,b\n1,".to_vec(), vec![b'x'; 40 * MIB]].concat();
    let quoted = [b"a,b\n1,\"".to_vec(), b"x\n".repeat(20 * MIB)].concat();
    let header = vec![b'a'; 40 * MIB];
    for (what, text) in [("a line", line), ("a quote", quoted), ("a header", header)] {
        let told = told("x.csv", &text);
        assert!(
            matches!(told, E::UnitTooLarge { .. } | E::Malformed { .. }),
            "{what}: {told}"
        );
    }
    let names: Vec<String> = (0..1_000_000).map(|number| number.to_string()).collect();
    let told = told("x.csv", names.join(",").as_bytes());
    assert!(matches!(told, E::OverBudget(_)), "{told}");
    let json = [b"{\"a\":\"".to_vec(), vec![b'x'; 40 * MIB]].concat();
    let told = super::told("x.jsonl", &json);
    assert!(matches!(told, E::UnitTooLarge { .. } | E::Malformed { .. }), "{told}");
}

/// C07.
#[test]
fn what_a_spreadsheet_would_run_is_a_text() {
    let text = b"a,b\n=cmd|' /C calc'!A0,+1+1\n@SUM(1),-2+3\n\"=1+1\",\"\"\n";
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let table = open::open(Place::here(Bytes::from_static(text)), ".csv", None).unwrap();
    let scan = Scan {
        columns: Arc::new([0, 1]),
        rows: None,
        filter: None,
        limit: None,
        batch_bytes: MIB,
        cancel: CancellationToken::new(),
    };
    let batches: Result<Vec<_>> = table.scan(scan).unwrap().collect();
    let batch = &batches.unwrap()[0].batch;
    let texts = |column: usize| -> Vec<String> {
        let column = arrow_cast::cast(batch.column(column), &DataType::Utf8).unwrap();
        let column = arrow_array::cast::as_string_array(&column);
        column.iter().map(|text| text.unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(texts(0), ["=cmd|' /C calc'!A0", "@SUM(1)", "=1+1"]);
    assert_eq!(texts(1), ["+1+1", "-2+3", ""]);
}

/// C14.
#[test]
fn packed_text_that_unpacks_into_far_more_is_left() {
    let line = [vec![b'x'; 16 * 1024], b"\n".to_vec()].concat();
    let line = [b"a\n".to_vec(), line.repeat(5_000)].concat();
    let packed = zstd::encode_all(&line[..], 19).unwrap();
    assert!(packed.len() * 10_000 < line.len(), "{} bytes", packed.len());
    let refused = told("x.csv.zst", &packed);
    assert!(matches!(refused, E::Bomb(_)), "{refused}");
    // A frame that says that it repeats itself over 2 GiB: magic, no size, that window, one byte.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0x00, 0x00, b'a'];
    let refused = told("x.csv.zst", &window);
    assert!(matches!(refused, E::Malformed { .. }), "{refused}");
    for (name, packed) in [
        ("x.csv.gz", &b"\x1f\x8b\x08\x00broken"[..]),
        ("x.csv.zst", b"broken"),
        ("x.csv.gz", b""),
    ] {
        let refused = told(name, packed);
        assert!(matches!(refused, E::Malformed { .. }), "{name}: {refused}");
    }
}
