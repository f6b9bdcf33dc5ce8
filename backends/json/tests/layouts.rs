//! Every layout, compression and spelling of a feed gives the same records.

#![allow(clippy::unwrap_used)]

use peak_core::testing::check_source;
use peak_core::{Record, Report, Schema, Source, Span, TimeUnit};
use peak_json::{Files, JsonFiles};
use std::fs;
use std::io::{Cursor, Write};
use std::ops::ControlFlow;

const FLAT: [&str; 3] = [
    r#"{"at": 1604224800000, "file.sha1": "da39", "file.kind": "PeExeFile", "user": 42, "file.size": 10}"#,
    r#"{"at": 1604311200000, "file.sha1": "0b51", "file.kind": "PdfDocFile", "user": "API", "file.size": 2.5}"#,
    r#"{"at": 1604397600000, "file.sha1": "da39", "file.kind": "PeExeFile"}"#,
];

const NESTED: [&str; 3] = [
    r#"{"file": {"sha1": "da39", "kind": "PeExeFile", "size": 1e1}, "at": "2020-11-01T10:00:00Z", "user": 42}"#,
    r#"{"at": "2020-11-02T11:00:00+01:00", "file.sha1": "0b51", "user": "\u0041PI", "other": [{"at": 1}],
        "file": {"other": {"sha1": 5}, "kind": "PdfDoc\u0046ile", "size": 2.50}}"#,
    r#"{"at": "2020-11-03 10:00:00", "file": {"sha1": "da39"}, "file": {"kind": "PeExeFile", "size": null}}"#,
];

fn schema() -> Schema {
    let schema = Schema::builder().time("at").sample("file.sha1").dimensions(["file.kind"]).blame(["user"]);
    schema.measures(["file.size"]).build().unwrap()
}

fn stream(content: impl Into<Vec<u8>>, schema: Schema) -> JsonFiles {
    JsonFiles::new(Files::stream("feed.json", Cursor::new(content.into())), schema)
}

fn show(record: &Record<'_>) -> String {
    let Record { time, dimensions, labels, measures, .. } = record;
    format!("{time} {} {dimensions:?} {:?} {measures:?}", labels[0].unwrap_or("-"), &labels[1..])
}

fn records(source: &JsonFiles) -> Vec<String> {
    let mut records = Vec::new();
    let report = source.scan(Span::ALWAYS, &mut |record| {
        records.push(show(record));
        ControlFlow::Continue(())
    });
    let mut expected = Report::default();
    expected.records = records.len() as u64;
    assert_eq!(report.unwrap(), expected);
    records
}

fn lines(records: [&str; 3]) -> String {
    records.map(|record| record.replace('\n', " ")).join("\n")
}

fn array(records: [&str; 3]) -> String {
    format!("[\n{}\n]\n", records.join(",\n"))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

#[test]
fn every_layout_gives_the_same_records() {
    let expected = [
        r#"2020-11-01T10:00:00Z da39 ["PeExeFile"] [Some("42")] [Some(10.0)]"#,
        r#"2020-11-02T10:00:00Z 0b51 ["PdfDocFile"] [Some("API")] [Some(2.5)]"#,
        r#"2020-11-03T10:00:00Z da39 ["PeExeFile"] [None] [None]"#,
    ];
    for content in [
        lines(FLAT).into_bytes(),
        lines(NESTED).into_bytes(),
        array(FLAT).into_bytes(),
        array(NESTED).into_bytes(),
        format!("\u{feff}{}\r\n\r\n", lines(FLAT).replace('\n', "\r\n")).into_bytes(),
        format!("\u{feff}[{}]", FLAT.join(",")).into_bytes(),
        gzip(&lines(NESTED)),
        zstd(&array(FLAT)),
    ] {
        assert_eq!(records(&stream(content, schema())), expected);
    }
}

#[test]
fn every_layout_obeys_the_contract_of_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let all: [(&str, Vec<u8>); 5] = [
        ("lines.ndjson", lines(FLAT).into()),
        ("array.json", array(FLAT).into()),
        ("nested.json", lines(NESTED).into()),
        ("lines.ndjson.gz", gzip(&lines(FLAT))),
        ("array.json.zst", zstd(&array(NESTED))),
    ];
    for (name, content) in &all {
        fs::write(path(name), content).unwrap();
        check_source(&JsonFiles::paths([path(name)], schema())).unwrap();
    }
    let every_file = JsonFiles::glob(&format!("{}/*", folder.path().display()), schema()).unwrap();
    check_source(&every_file).unwrap();
    assert_eq!(records(&every_file).len(), all.len() * 3);
}

#[test]
fn a_field_may_be_spelled_with_any_mixture_of_dots_and_objects() {
    let schema = Schema::builder().time("t").dimensions(["a.b.c", "a.d"]).build().unwrap();
    for object in [
        r#"{"t": 0, "a.b.c": 1, "a.d": 2}"#,
        r#"{"t": 0, "a": {"b.c": 1, "d": 2}}"#,
        r#"{"t": 0, "a.b": {"c": 1}, "a": {"d": 2}}"#,
        r#"{"t": 0, "a": {"b": {"c": 1}, "d": 2}}"#,
        r#"{"t": 0, "a": 7, "a": [{"b": 7}], "a": {"b": {"c": 1}}, "a\u002ed": 2, "b.c": 3, "c": 4}"#,
        r#"{"t": 0, "a": {"b": "7", "b": null, "b": {"c": 1, "d": 3}, "": {"d": 5}, "d": 2, "d.c": 6}}"#,
    ] {
        assert_eq!(
            records(&stream(object, schema.clone())),
            [r#"1970-01-01T00:00:00Z - ["1", "2"] [] []"#],
            "{object}"
        );
    }
}

#[test]
fn odd_field_names_are_found() {
    let schema =
        Schema::builder().time("t").dimensions(["a..b", ".c", "d.", ".", "é \" \\"]).build().unwrap();
    let object = r#"{"t": 0, "a": {".b": 1}, "": {"c": 2, "": 4}, "d": {"": 3}, "\u00e9 \" \\": 5}"#;
    let expected = [r#"1970-01-01T00:00:00Z - ["1", "2", "3", "4", "5"] [] []"#];
    assert_eq!(records(&stream(object, schema)), expected);
}

#[test]
fn a_field_may_lie_on_the_way_to_another() {
    let schema = Schema::builder().time("t").dimensions(["a.b"]).blame(["a"]).build().unwrap();
    let expected = [r#"1970-01-01T00:00:00Z - ["2"] [Some("1")] []"#];
    assert_eq!(records(&stream(r#"{"t": 0, "a": 1, "a.b": 2}"#, schema)), expected);
}

#[test]
fn values_keep_their_text() {
    let schema = Schema::builder().time("t").sample("s").dimensions(["d"]).build().unwrap();
    for (value, text) in [
        ("1.50", "1.50"),
        ("-0", "-0"),
        ("1E+2", "1E+2"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"),
        (r#""""#, ""),
        (r#""a\"\\\n\u00e9\ud83d\ude00/""#, "a\"\\\né😀/"),
    ] {
        let object = format!(r#"{{"t": 0, "s": {value}, "d": {value}}}"#);
        let expected = format!(r#"1970-01-01T00:00:00Z {text} [{text:?}] [] []"#);
        assert_eq!(records(&stream(object, schema.clone())), [expected]);
    }
}

#[test]
fn numeric_times_have_the_unit_of_the_schema() {
    let schema = |unit| Schema::builder().time("t").time_unit(unit).build().unwrap();
    for (unit, time) in [
        (TimeUnit::Seconds, "1604224800.5"),
        (TimeUnit::Milliseconds, "1604224800500"),
        (TimeUnit::Nanoseconds, "\"1604224800500000000\""),
    ] {
        let found = records(&stream(format!(r#"{{"t": {time}}}"#), schema(unit)));
        assert_eq!(found, ["2020-11-01T10:00:00.500Z - [] [] []"]);
    }
}

#[test]
fn the_real_files_are_read_in_full() {
    let Ok(shared) = std::env::var("PEAK_SHARED") else {
        // Not by a macro: what those print of a test that passes is not shown.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED the_real_files_are_read_in_full: PEAK_SHARED is not set");
        return;
    };
    let pattern = format!("{shared}/golden/peak/data/telemetry_example_*.json");
    let both = JsonFiles::glob(&pattern, Schema::file_types()).unwrap();
    assert_eq!(records(&both).len(), 1000);
    check_source(&both).unwrap();
}
