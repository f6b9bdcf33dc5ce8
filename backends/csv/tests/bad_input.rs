//! Bad input: each kind is named with its file, place, field, rule and value.

#![allow(clippy::unwrap_used)]

use peak_core::{BadRecords, ErrorKind, Moments, Report, Result, Schema, Source, Span, Timestamp};
use peak_csv::{CsvFiles, Files};
use proptest::prelude::*;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::ops::ControlFlow;

const SKIP_ALL: BadRecords = BadRecords::Skip(u64::MAX);
const HEADER: &str = "at,id,host,user,load\n";

fn schema() -> Schema {
    let schema = Schema::builder().time("at").sample("id").dimensions(["host"]).blame(["user"]);
    schema.measures(["load"]).build().unwrap()
}

fn stream(input: impl Read + Send + 'static) -> CsvFiles {
    CsvFiles::new(Files::stream("feed.csv", input), schema())
}

fn feed(content: impl Into<Vec<u8>>) -> CsvFiles {
    stream(Cursor::new(content.into()))
}

fn scan(source: &CsvFiles) -> Result<Report> {
    source.scan(Span::ALWAYS, &mut |_| ControlFlow::Continue(()))
}

/// The message of the one bad record among good ones; the policy must not change it.
fn rejection(row: impl AsRef<[u8]>) -> String {
    let good = "0,1,web,2,3\n";
    let content = [HEADER.as_bytes(), good.as_bytes(), row.as_ref(), b"\n", good.as_bytes()].concat();
    let error = scan(&feed(content.clone())).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadRecord(_)), "{error}");
    let report = scan(&feed(content).on_bad_record(SKIP_ALL)).unwrap();
    assert_eq!((report.records, report.skipped), (2, 1), "{report}");
    assert_eq!(report.first_skipped[0].to_string(), error.to_string());
    error.to_string().strip_prefix("feed.csv: record 2 (line 3): ").unwrap().to_owned()
}

#[test]
fn one_bad_row_among_many_is_found_and_named() {
    let many = "0,1,web,2,3\n".repeat(100_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.csv");
    fs::write(&path, format!("{HEADER}{many}\n0,\"1\n\",,2,3\n{many}")).unwrap();

    let source = CsvFiles::paths([&path], schema());
    let expected = format!(
        r#"{}: record 100001 (line 100003): field "host" must be present, got nothing"#,
        path.display()
    );
    assert_eq!(scan(&source).unwrap_err().to_string(), expected);
    let report = scan(&source.on_bad_record(BadRecords::Skip(1))).unwrap();
    assert_eq!((report.records, report.skipped), (200_000, 1));
    assert_eq!(report.first_skipped[0].to_string(), expected);
}

#[test]
fn lines_are_counted_over_quotes_blank_lines_and_every_line_end() {
    let content = format!("{HEADER}\r\n0,\"a\nb\",web,2,3\r\n\r\n\n-1,1,web,2,3\n");
    let error = scan(&feed(content)).unwrap_err().to_string();
    assert!(error.starts_with(r#"feed.csv: record 2 (line 7): field "at""#), "{error}");
}

#[test]
fn an_empty_cell() {
    for (row, field) in [(",1,web,2,3", "at"), ("0,,web,2,3", "id"), ("0,1, ,2,3", "host")] {
        assert_eq!(rejection(row), format!("field {field:?} must be present, got nothing"));
    }
}

#[test]
fn no_time() {
    for value in ["-1", "NaN", "1.5", "1e12", "99999999999999999999", "253402300800000", "soon", "null"] {
        let expected = format!("field \"at\" {}, got {value}", Timestamp::RULE);
        assert_eq!(rejection(format!("{value},1,web,2,3")), expected);
    }
}

#[test]
fn no_measure() {
    for value in ["NaN", "-inf", "1e999", "-1.1e150", "many", "1,5", "null"] {
        let expected =
            format!("field \"load\" must be a number from -{0:e} to {0:e}, got {value}", Moments::LARGEST);
        assert_eq!(rejection(format!("0,1,web,2,{value:?}")), expected);
    }
}

#[test]
fn a_row_of_another_length() {
    let rule = "must have one cell for each of 5 columns, got";
    for (row, cells) in [("0,1,web,2", 4), ("0,1,web,2,3,4", 6), (" ", 1), ("0,\"1,web,2,3", 2)] {
        let message = match cells {
            2 => scan(&feed(format!("{HEADER}{row}\n0,1,web,2,3\n"))).unwrap_err().to_string(),
            _ => format!("feed.csv: record 1 (line 2): {}", rejection(row)),
        };
        assert_eq!(message, format!("feed.csv: record 1 (line 2): {rule} {cells}"));
    }
}

#[test]
fn invalid_utf_8() {
    let expected = r#"field "host" must be UTF-8, got caf�"#;
    assert_eq!(rejection(b"0,1,caf\xe9,2,3"), expected);
    // Cells that no one asks for may hold anything.
    let report = scan(&feed(b"at,id,host,user,load,\xe9\n0,1,web,2,3,\xe9\n")).unwrap();
    assert_eq!(report.records, 1);
}

#[test]
fn a_row_of_100_mb() {
    let row = |bytes| (&b"0,1,"[..]).chain(std::io::repeat(b'x').take(bytes)).chain(&b",2,3\n"[..]);
    let input = HEADER.as_bytes().chain(row(10)).chain(row(100_000_000)).chain(row(10));
    let report = scan(&stream(input).on_bad_record(SKIP_ALL)).unwrap();
    assert_eq!((report.records, report.skipped), (2, 1));
    assert_eq!(
        report.first_skipped[0].to_string(),
        "feed.csv: record 2 (line 3): must be at most 16777216 bytes, got 100000009"
    );
}

#[test]
fn a_file_without_the_columns() {
    for (header, expected) in [
        ("at,id,user,load", r#"feed.csv: columns: must name "host" once, got "at, id, user, load""#),
        (
            "id,at,id,host,user,load",
            r#"feed.csv: columns: must name "id" once, got "id, at, id, host, user, load""#,
        ),
    ] {
        let error = scan(&feed(format!("{header}\n")).on_bad_record(SKIP_ALL)).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let error = scan(&feed("").columns(header.split(','))).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_useless_delimiter() {
    for delimiter in [b'"', b'\r', b'\n', 0xff] {
        let error = feed("").delimiter(delimiter).unwrap_err().to_string();
        assert!(error.starts_with("delimiter: must be ASCII and neither a quote nor a line end"), "{error}");
    }
}

#[test]
fn nothing_at_all() {
    for empty in ["", "\r\n\n", "\u{feff}", HEADER] {
        assert_eq!(scan(&feed(empty)).unwrap(), Report::default());
    }
    let folder = tempfile::tempdir().unwrap();
    let pattern = format!("{}/*.csv", folder.path().display());
    let expected = format!("no file matches {pattern:?}");
    assert_eq!(CsvFiles::glob(&pattern, schema()).unwrap_err().to_string(), expected);
    let roles = Schema::builder().time("at");
    assert_eq!(CsvFiles::wide(&pattern, b',', roles.clone()).unwrap_err().to_string(), expected);

    fs::write(folder.path().join("empty.csv"), "").unwrap();
    let error = CsvFiles::wide(&pattern, b',', roles).unwrap_err().to_string();
    assert!(error.ends_with(r#"empty.csv: columns: must name "at" once, got """#), "{error}");
}

#[test]
fn a_damaged_gzip_file() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(encoder, "{HEADER}{}", "0,1,web,2,3\n".repeat(10_000)).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.truncate(bytes.len() - 9);
    let error = scan(&feed(bytes).on_bad_record(SKIP_ALL)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert!(error.to_string().starts_with("feed.csv: "), "{error}");
}

proptest! {
    #[test]
    fn random_input_never_panics(pieces in prop::collection::vec(prop_oneof![Just("0,1,web,2,3\n"), Just("\""), Just(","), Just("\n"), Just("\r"), Just("é"), Just("7")], 0..40), most in 0..60usize) {
        let content = format!("{HEADER}{}", pieces.concat());
        let report = scan(&feed(content).max_record_bytes(most).on_bad_record(SKIP_ALL));
        // The header alone has 21 bytes.
        prop_assert_eq!(report.is_ok(), most >= HEADER.len());
    }
}
