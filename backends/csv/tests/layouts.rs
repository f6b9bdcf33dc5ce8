//! Every layout and compression of a feed gives the same records.

#![allow(clippy::unwrap_used)]

use peak_core::testing::check_source;
use peak_core::{Record, Report, Schema, Source, Span, TimeUnit};
use peak_csv::{CsvFiles, Files};
use proptest::prelude::*;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::ops::ControlFlow;

const FEED: &str = "\
at,file,kind,user,size
2020-11-01T10:00:00Z,da39,PeExeFile,42,10
2020-11-02 10:00:00,0b51,PdfDocFile,API, 2.5
1604397600000,da39,PeExeFile,,
";

const RECORDS: [&str; 3] = [
    r#"2020-11-01T10:00:00Z da39 ["PeExeFile"] [Some("42")] [Some(10.0)]"#,
    r#"2020-11-02T10:00:00Z 0b51 ["PdfDocFile"] [Some("API")] [Some(2.5)]"#,
    r#"2020-11-03T10:00:00Z da39 ["PeExeFile"] [None] [None]"#,
];

fn schema() -> Schema {
    let schema = Schema::builder().time("at").sample("file").dimensions(["kind"]).blame(["user"]);
    schema.measures(["size"]).build().unwrap()
}

fn stream(content: impl Into<Vec<u8>>) -> CsvFiles {
    CsvFiles::new(Files::stream("feed.csv", Cursor::new(content.into())), schema())
}

fn show(record: &Record<'_>) -> String {
    let Record { time, dimensions, labels, measures, .. } = record;
    format!("{time} {} {dimensions:?} {:?} {measures:?}", labels[0].unwrap_or("-"), &labels[1..])
}

fn records(source: &CsvFiles) -> Vec<String> {
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
    for content in [
        FEED.as_bytes().to_vec(),
        format!("\u{feff}\r\n{}\r\n", FEED.replace('\n', "\r\n\r\n")).into_bytes(),
        FEED.trim_end().replace("kind", "\" kind \"").replace("da39", "\"da39\"").into_bytes(),
        gzip(FEED),
        zstd(FEED),
    ] {
        assert_eq!(records(&stream(content)), RECORDS);
    }
    let semicolons = FEED.replace(',', ";");
    assert_eq!(records(&stream(semicolons).delimiter(b';').unwrap()), RECORDS);
}

#[test]
fn columns_may_be_named_and_stand_in_any_order() {
    let (_, rows) = FEED.split_once('\n').unwrap();
    assert_eq!(records(&stream(rows).columns(["at", "file", "kind", "user", "size"])), RECORDS);
    assert_eq!(
        records(&stream("size,other,kind,,user,file,at,\n1.5,?,PeExeFile,?,,da39,0,?\n")),
        [r#"1970-01-01T00:00:00Z da39 ["PeExeFile"] [None] [Some(1.5)]"#]
    );
}

#[test]
fn quoted_cells_may_hold_anything() {
    let quoted = "at,file,kind,user,size\n0,\"a,b\",\"c\n\"\"d\"\"\",\" e \",\"1\"\n";
    let expected = r#"1970-01-01T00:00:00Z a,b ["c\n\"d\""] [Some(" e ")] [Some(1.0)]"#;
    assert_eq!(records(&stream(quoted)), [expected]);
}

#[test]
fn every_layout_obeys_the_contract_of_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let all = [("plain.csv", FEED.into()), ("feed.csv.gz", gzip(FEED)), ("feed.csv.zst", zstd(FEED))];
    for (name, content) in &all {
        fs::write(path(name), content).unwrap();
        check_source(&CsvFiles::paths([path(name)], schema())).unwrap();
    }
    fs::write(path("reordered.csv"), "kind,size,user,file,at\nPeExeFile,,,da39,0\n").unwrap();
    let every_file = CsvFiles::glob(&format!("{}/*", folder.path().display()), schema()).unwrap();
    check_source(&every_file).unwrap();
    assert_eq!(records(&every_file).len(), all.len() * RECORDS.len() + 1);
}

#[test]
fn wide_files_have_a_measure_in_every_column_that_has_no_role() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("1.csv"), ";time;cpu;host;disk\n0;1;1.5;web;\n1;60;2.5;db;7\n").unwrap();
    fs::write(path("2.csv"), "disk;time;cpu;host;new\n8;120;;web;9\n").unwrap();
    let roles = Schema::builder().time("time").time_unit(TimeUnit::Seconds).dimensions(["host"]);
    let pattern = format!("{}/*.csv", folder.path().display());

    let feed = CsvFiles::wide(&pattern, b';', roles.clone()).unwrap();
    assert_eq!(feed.schema(), &roles.clone().measures(["cpu", "disk"]).build().unwrap());
    let expected = [
        r#"1970-01-01T00:00:01Z - ["web"] [] [Some(1.5), None]"#,
        r#"1970-01-01T00:01:00Z - ["db"] [] [Some(2.5), Some(7.0)]"#,
        r#"1970-01-01T00:02:00Z - ["web"] [] [None, Some(8.0)]"#,
    ];
    assert_eq!(records(&feed), expected);
    check_source(&feed).unwrap();

    let error = CsvFiles::wide(&pattern, b',', roles).unwrap_err().to_string();
    let first = path("1.csv").display().to_string();
    let expected = format!(r#"{first}: columns: must name "time" once, got ";time;cpu;host;disk""#);
    assert_eq!(error, expected);
}

/// Hands out at most `step` bytes at a time.
struct Slow {
    bytes: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..length])
    }
}

fn quoted(cell: &str) -> String {
    format!("\"{}\"", cell.replace('"', "\"\""))
}

proptest! {
    #[test]
    fn what_was_written_is_read(cells in prop::collection::vec(("[^ ]{1,9}", "\\PC{1,3}", -1e140..1e140), 0..9), step in 1..64usize) {
        let mut text = "at,file,kind,user,size\n".to_owned();
        let mut expected = Vec::new();
        for (sample, kind, size) in &cells {
            prop_assume!(!sample.trim_ascii().is_empty() && !kind.trim_ascii().is_empty());
            text += &format!("0,{},{},,{size}\n", quoted(sample), quoted(kind));
            expected.push(format!("1970-01-01T00:00:00Z {sample} {:?} [None] {:?}", [kind], [Some(size)]));
        }
        let input = Slow { bytes: Cursor::new(text.into_bytes()), step };
        let source = CsvFiles::new(Files::stream("feed.csv", input), schema());
        prop_assert_eq!(records(&source), expected);
    }
}
