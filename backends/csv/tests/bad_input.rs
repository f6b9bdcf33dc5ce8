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
    for value in ["NaN", "-inf", "1e999", "-1.1e140", "many", "1,5", "null"] {
        let expected =
            format!("field \"load\" must be a number from -{0:e} to {0:e}, got {value}", Moments::LARGEST);
        assert_eq!(rejection(format!("0,1,web,2,{value:?}")), expected);
    }
}

#[test]
fn a_row_of_another_length() {
    let rule = "must have one cell for each of 5 columns, got";
    for (row, cells) in [("0,1,web,2", 4), ("0,1,web,2,3,4", 6), (" ", 1), ("0,\"1,web\",2,3", 4)] {
        assert_eq!(rejection(row), format!("{rule} {cells}"));
    }
}

#[test]
fn an_open_quote_does_not_swallow_the_rest() {
    let good = "0,1,web,2,3\n";
    let rest = |lines: usize| match lines {
        0 => "none up to the end".to_owned(),
        lines => format!("none up to the end, {lines} lines below"),
    };
    for (row, line) in [
        ("\"0,1,web,2,3", 3),
        ("0,\"1,web,2,3", 3),
        ("0,1,web,2,\"3", 3),
        ("0,1,web,2,\"", 3),
        ("0,1,web,2,\"3\"\"", 3),
        ("0,1,web,2,3,4,\"", 3),
        ("0,1,\"w\ne\r\nb\",2,\"3", 5),
        ("\"\n\n\",\"\n\",\"", 6),
    ] {
        for lines in [0, 1, 9_000] {
            for end in ["", "\n", "\r\n"] {
                let below = "\n".to_owned() + &good.repeat(lines);
                let below = below.strip_suffix('\n').unwrap();
                let content = format!("{HEADER}{good}{row}{below}{end}");
                // So long a row is bad for its length, too, which the quote explains.
                let place = format!("feed.csv: record 2 (line {line})");
                let expected = format!("{place}: must close its quote, got {}", rest(lines));
                let error = scan(&feed(content.clone()).max_record_bytes(100_000)).unwrap_err();
                assert_eq!(error.to_string(), expected, "{row:?} {end:?}");
                let report = scan(&feed(content).on_bad_record(BadRecords::Skip(1))).unwrap();
                assert_eq!((report.records, report.skipped), (1, 1), "{row:?} {end:?}");
                assert_eq!(report.first_skipped[0].to_string(), expected, "{row:?} {end:?}");
            }
        }
    }
    let error = scan(&feed("at,id,\"host,user,load\n0,1,web,2,3\n")).unwrap_err().to_string();
    assert_eq!(
        error,
        "feed.csv: record 1 (line 1): must close its quote, got none up to the end, 1 lines below"
    );
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

#[test]
fn a_last_row_without_a_line_end_is_good_whatever_its_size() {
    // Sizes around those of the buffers of cells, and numbers of cells around that of their ends.
    for cells in [1, 27, 28, 29, 60] {
        for bytes in (990..1030).chain(2015..2055) {
            let (more, cell) = (",c".repeat(cells), "x".repeat(bytes));
            for cell in [cell.clone(), format!("\"{cell}\"")] {
                let content = format!("at,id,host,user,load{more}\n0,1,web,2,3{}{cell}", ",".repeat(cells));
                assert_eq!(scan(&feed(content)).unwrap().records, 1, "{cells} {bytes}");
            }
        }
    }
}

/// A reader made of a closure.
struct Reading<F>(F);

impl<F: FnMut(&mut [u8]) -> std::io::Result<usize>> Read for Reading<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0(buffer)
    }
}

/// A cell as it is written, and what it says.
fn quoted_cell() -> impl Strategy<Value = (String, String)> {
    let text = prop::collection::vec(
        prop_oneof![Just("\""), Just("\n"), Just("\r\n"), Just(","), Just("é"), Just("x ")],
        0..9,
    );
    let quoted = text.prop_map(|text| {
        (format!("\"w{}\"", text.concat().replace('"', "\"\"")), format!("w{}", text.concat()))
    });
    prop_oneof![Just(("web".to_owned(), "web".to_owned())), quoted]
}

proptest! {
    #[test]
    fn well_formed_quotes_are_good_records(
        cells in prop::collection::vec((quoted_cell(), quoted_cell()), 1..30),
        crlf: bool,
        last_line_ends: bool,
        small_reads in 1..9usize,
    ) {
        let line_end = if crlf { "\r\n" } else { "\n" };
        let rows: Vec<String> = cells.iter().map(|((id, _), (user, _))| format!("0,{id},web,3,{user}")).collect();
        let content = format!("at,id,host,load,user{line_end}{}{}", rows.join(line_end), if last_line_ends { line_end } else { "" });
        let mut bytes = Cursor::new(content.into_bytes());
        let read = move |buffer: &mut [u8]| { let most = buffer.len().min(small_reads); bytes.read(&mut buffer[..most]) };
        let mut found = Vec::new();
        let report = stream(Reading(read)).scan(Span::ALWAYS, &mut |record| {
            found.push((record.labels[0].unwrap().to_owned(), record.labels[1].unwrap().to_owned()));
            ControlFlow::Continue(())
        });
        prop_assert_eq!(report.unwrap().records, cells.len() as u64);
        let expected: Vec<_> = cells.into_iter().map(|((_, id), (_, user))| (id, user)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn random_input_never_panics(pieces in prop::collection::vec(prop_oneof![Just("0,1,web,2,3\n"), Just("\""), Just(","), Just("\n"), Just("\r"), Just("é"), Just("7")], 0..40), most in 0..60usize) {
        let content = format!("{HEADER}{}", pieces.concat());
        let report = scan(&feed(content).max_record_bytes(most).on_bad_record(SKIP_ALL));
        // The header alone has 21 bytes.
        prop_assert_eq!(report.is_ok(), most >= HEADER.len());
    }
}
