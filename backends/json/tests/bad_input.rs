//! Bad input: each kind is named with its file, place, field, rule and value.

#![allow(clippy::unwrap_used)]

use peak_core::{BadRecords, ErrorKind, Moments, Report, Result, Schema, Source, Span, Timestamp};
use peak_json::{Files, JsonFiles};
use std::fs;
use std::io::{Cursor, Read, Write};
use std::ops::ControlFlow;

const SKIP_ALL: BadRecords = BadRecords::Skip(u64::MAX);

fn schema() -> Schema {
    let schema = Schema::builder().time("at").sample("id").dimensions(["host.name"]).blame(["user"]);
    schema.measures(["load"]).build().unwrap()
}

fn feed(content: impl Into<Vec<u8>>) -> JsonFiles {
    JsonFiles::new(Files::stream("feed.json", Cursor::new(content.into())), schema())
}

fn scan(source: &JsonFiles) -> Result<Report> {
    source.scan(Span::ALWAYS, &mut |_| ControlFlow::Continue(()))
}

/// The message of the one bad record; the policy must not change it.
fn rejection(content: impl Into<Vec<u8>>) -> String {
    let content = content.into();
    let error = scan(&feed(content.clone())).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadRecord(_)), "{error}");
    let report = scan(&feed(content).on_bad_record(SKIP_ALL)).unwrap();
    assert_eq!(report.skipped, 1, "{report}");
    assert_eq!(report.first_skipped[0].to_string(), error.to_string());
    error.to_string()
}

/// The message for a record in which one field has this value; without its position.
fn rejected_value(field: &str, value: &str) -> String {
    let fields = [("at", "0"), ("id", "1"), ("host.name", "\"web\""), ("user", "2"), ("load", "3")];
    let members: Vec<String> = fields
        .iter()
        .map(|&(name, good)| format!("{name:?}: {}", if name == field { value } else { good }))
        .collect();
    let message = rejection(format!("{{{}}}", members.join(", ")));
    message.strip_prefix("feed.json: record 1 (line 1): ").unwrap().to_owned()
}

#[test]
fn one_bad_line_among_many_is_found_and_named() {
    const GOOD: &str = "{\"at\":0,\"id\":1,\"host.name\":\"web\"}\n";
    let many = GOOD.repeat(500_000);
    let text = format!("{many}{{\"at\":0,\"id\":1}}\n{many}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.ndjson");
    fs::write(&path, text).unwrap();

    let source = JsonFiles::paths([&path], schema());
    let expected = format!(
        r#"{}: record 500001 (line 500001): field "host.name" must be present, got nothing"#,
        path.display()
    );
    assert_eq!(scan(&source).unwrap_err().to_string(), expected);
    let report = scan(&source.on_bad_record(BadRecords::Skip(1))).unwrap();
    assert_eq!((report.records, report.skipped), (1_000_000, 1));
    assert_eq!(report.first_skipped[0].to_string(), expected);
}

#[test]
fn more_bad_records_than_allowed_end_the_run() {
    let bad = "{\"at\":0}\n".repeat(3);
    assert_eq!(scan(&feed(bad.clone()).on_bad_record(BadRecords::Skip(3))).unwrap().skipped, 3);
    assert_eq!(
        scan(&feed(bad).on_bad_record(BadRecords::Skip(2))).unwrap_err().to_string(),
        r#"more than 2 bad records; the first: feed.json: record 1 (line 1): field "id" must be present, got nothing"#
    );
}

#[test]
fn a_bad_record_among_several_files_names_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("1.json", r#"[{"at":0,"id":1,"host":{"name":2}}]"#), ("2.json", "[\n\n{\"at\":0,\"id\":1}\n]")]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let source = JsonFiles::glob(&format!("{}/*.json", folder.path().display()), schema()).unwrap();
    let second = folder.path().join("2.json");
    assert_eq!(
        scan(&source).unwrap_err().to_string(),
        format!(r#"{}: record 1 (line 3): field "host.name" must be present, got nothing"#, second.display())
    );
}

#[test]
fn a_cut_array() {
    let good = "{\"at\":0,\"id\":1,\"host.name\":2}";
    let rule = "must be whole, but the input ends inside the array, got";
    for (end, found) in [("", "nothing"), ("{\"at\": 1, \"id", "{\"at\": 1, \"id"), (good, good)] {
        let message = rejection(format!("[{good},\n{good},\n{end}"));
        assert_eq!(message, format!("feed.json: record 3 (line 3): {rule} {found}"));
    }
    assert_eq!(rejection("["), format!("feed.json: record 1 (line 1): {rule} nothing"));
}

#[test]
fn a_broken_array() {
    let good = "{\"at\":0,\"id\":1,\"host.name\":2}";
    assert_eq!(
        rejection(format!("[{good}\n{good}]")),
        format!(
            "feed.json: record 1 (line 1): must be valid JSON: trailing characters at line 2 column 1 of the record, got {good}\\n{good}"
        )
    );
    assert_eq!(
        rejection(format!("[{good}]\n{good}\n{good}")),
        format!("feed.json: record 2 (line 2): must not follow the end of the array, got {good}")
    );
    for (element, found) in
        [("", "nothing"), ("5", "5"), ("[{}]", "[{}]"), ("null", "null"), ("\"{}\"", "\"{}\"")]
    {
        let message = rejection(format!("[{good},{element},{good}]"));
        assert_eq!(message, format!("feed.json: record 2 (line 1): must be a JSON object, got {found}"));
    }
}

#[test]
fn a_broken_line() {
    let good = "{\"at\":0,\"id\":1,\"host.name\":2}";
    let syntax = "feed.json: record 2 (line 2): must be valid JSON:";
    assert_eq!(
        rejection(format!("{good}\n{{\"at\":0,\"id\"\n{good}")),
        format!(
            "{syntax} EOF while parsing an object at line 1 column 12 of the record, got {{\"at\":0,\"id\""
        )
    );
    assert_eq!(
        rejection(format!("{good}\n{{\"at\": NaN}}\n{good}")),
        format!("{syntax} expected value at line 1 column 8 of the record, got {{\"at\": NaN}}")
    );
    assert_eq!(
        rejection(format!("{good}\n{good} {good}\n{good}")),
        format!("{syntax} trailing characters at line 1 column 31 of the record, got {good} {good}")
    );
    assert_eq!(
        rejection(format!("{good}\n{{\"other\": tru}}\n{good}")),
        format!("{syntax} expected ident at line 1 column 14 of the record, got {{\"other\": tru}}")
    );
}

#[test]
fn a_form_feed_is_no_blank() {
    let good = "{\"at\":0,\"id\":1,\"host.name\":2}";
    for feed in [format!("{good}\n{good}\x0c\n"), format!("[{good},\n{good}\x0c]")] {
        assert_eq!(
            rejection(feed),
            format!(
                "feed.json: record 2 (line 2): must be valid JSON: trailing characters at line 1 column 30 of the record, got {good}\\u{{c}}"
            )
        );
    }
}

#[test]
fn objects_over_several_lines_without_an_array() {
    let report = scan(&feed("{\n  \"at\": 0\n}\n").on_bad_record(SKIP_ALL)).unwrap();
    let messages: Vec<String> = report.first_skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "feed.json: record 1 (line 1): must be valid JSON: EOF while parsing an object at line 1 column 1 of the record, got {",
            "feed.json: record 2 (line 2): must be a JSON object, got \"at\": 0",
            "feed.json: record 3 (line 3): must be a JSON object, got }",
        ]
    );
}

#[test]
fn a_missing_field() {
    for (record, field) in [
        (r#"{"id": 1, "host.name": 2}"#, "at"),
        (r#"{"at": 0, "host.name": 2}"#, "id"),
        (r#"{"at": 0, "id": 1}"#, "host.name"),
        (r#"{"at": 0, "id": 1, "host": "name"}"#, "host.name"),
    ] {
        let expected = format!("feed.json: record 1 (line 1): field {field:?} must be present, got nothing");
        assert_eq!(rejection(record), expected);
    }
}

#[test]
fn null() {
    for field in ["at", "id", "host.name"] {
        assert_eq!(rejected_value(field, "null"), format!("field {field:?} must be present, got null"));
    }
}

#[test]
fn a_wrong_type() {
    for value in ["{}", "[1]", r#"{"a": "b"}"#] {
        for field in ["id", "host.name", "user", "at"] {
            let expected = format!("field {field:?} must be a string, a number or a boolean, got {value}");
            assert_eq!(rejected_value(field, value), expected);
        }
    }
}

#[test]
fn no_time() {
    for value in [
        "-1",
        "1.5",
        "1e12",
        "99999999999999999999",
        "253402300800000",
        "true",
        "\"NaN\"",
        "\"soon\"",
        "\"\"",
    ] {
        assert_eq!(rejected_value("at", value), format!("field \"at\" {}, got {value}", Timestamp::RULE));
    }
}

#[test]
fn no_measure() {
    let rule = format!("must be a number from -{0:e} to {0:e}", Moments::LARGEST);
    for value in ["\"5\"", "\"NaN\"", "true", "1.1e140", "-1e999", "[]", "{}"] {
        assert_eq!(rejected_value("load", value), format!("field \"load\" {rule}, got {value}"));
    }
}

#[test]
fn a_field_given_twice() {
    for (record, value) in [
        (r#"{"at": 0, "id": 1, "host.name": 2, "host.name": 3}"#, 3),
        (r#"{"at": 0, "id": 1, "host": {"name": 2, "name": 4}}"#, 4),
        (r#"{"at": 0, "id": 1, "host": {"name": 2}, "host.name": 5}"#, 5),
        (r#"{"at": 0, "id": 1, "host": {"name": null}, "host": {"name": 6}}"#, 6),
    ] {
        let expected =
            format!(r#"feed.json: record 1 (line 1): field "host.name" must be given once, got {value}"#);
        assert_eq!(rejection(record), expected);
    }
}

#[test]
fn invalid_utf_8() {
    let record = b"{\"at\": 0, \"id\": \"caf\xe9\", \"host.name\": 1}".to_vec();
    let expected = "feed.json: record 1 (line 1): must be UTF-8, got byte 0xe9 at offset 20";
    assert_eq!(rejection(record), expected);
}

#[test]
fn half_a_surrogate_pair() {
    assert_eq!(
        rejected_value("id", r#""\ud800""#),
        r#"field "id" must be valid JSON: unexpected end of hex escape at line 1 column 8 of the value, got "\ud800""#
    );
}

#[test]
fn a_line_of_100_mb() {
    let begin = "{\"at\":0,\"id\":1,\"host.name\":\"";
    let line = |bytes| begin.as_bytes().chain(std::io::repeat(b'x').take(bytes)).chain(&b"\"}\n"[..]);
    let files = Files::stream("feed.json", line(10).chain(line(100_000_000)).chain(line(10)));
    let report = scan(&JsonFiles::new(files, schema()).on_bad_record(SKIP_ALL)).unwrap();
    assert_eq!((report.records, report.skipped), (2, 1));
    assert_eq!(
        report.first_skipped[0].to_string(),
        format!(
            "feed.json: record 2 (line 2): must be at most 16777216 bytes, got {begin}{}…",
            "x".repeat(52)
        )
    );
}

#[test]
fn a_record_longer_than_configured() {
    let record = r#"{"at":0,"id":1,"host.name":2}"#;
    assert_eq!(scan(&feed(record).max_record_bytes(record.len())).unwrap().records, 1);
    let error = scan(&feed(record).max_record_bytes(record.len() - 1)).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"feed.json: record 1 (line 1): must be at most 28 bytes, got {"at":0,"id":1,"host.name":2"#
    );
}

#[test]
fn deep_nesting_does_not_overflow() {
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let record = format!(r#"{{"at": 0, "id": 1, "host.name": 2, "other": {deep}, "host": {deep}}}"#);
    assert_eq!(scan(&feed(format!("[{record}]"))).unwrap().records, 1);
    let message = rejected_value("id", &deep);
    assert_eq!(
        message,
        format!(r#"field "id" must be a string, a number or a boolean, got {}…"#, "[".repeat(80))
    );
}

#[test]
fn nothing_at_all() {
    for empty in ["", "\n \r\n", "[]", "\u{feff}", "\u{feff}[ ]\n"] {
        assert_eq!(scan(&feed(empty)).unwrap(), Report::default());
    }
    let folder = tempfile::tempdir().unwrap();
    let pattern = format!("{}/*.json", folder.path().display());
    let error = JsonFiles::glob(&pattern, schema()).unwrap_err();
    assert_eq!(error.to_string(), format!("no file matches {pattern:?}"));
}

#[test]
fn a_damaged_gzip_file() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&b"{\"at\":0,\"id\":1,\"host.name\":2}\n".repeat(10_000)).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.truncate(bytes.len() - 9);
    let error = scan(&feed(bytes).on_bad_record(SKIP_ALL)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    assert!(error.to_string().starts_with("feed.json: "), "{error}");
}

#[test]
fn standard_input_read_twice() {
    let source = feed("");
    scan(&source).unwrap();
    assert_eq!(scan(&source).unwrap_err().to_string(), "feed.json: can be read only once");
}
