//! Any bytes, as a CSV file: nothing panics, a second reading tells the same, and every row is counted once.
//!
//! Where nothing is quoted, a row is a line, and each is read as if it stood alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_core::{BadRecords, Schema, Source, Span};
use peak_csv::{CsvFiles, Files};
use std::io::Cursor;
use std::ops::ControlFlow;

const COLUMNS: [&str; 3] = ["t", "d", "m"];

/// How a file is read.
#[derive(Clone, Copy)]
struct Options {
    delimiter: u8,
    has_header: bool,
    most_bytes: usize,
}

/// The records, how many rows there were, and all that is said of them.
type Scanned = (Vec<String>, u64, String);

impl Options {
    fn scan(self, bytes: &[u8]) -> Result<Scanned, String> {
        let schema = Schema::builder().time("t").dimensions(["d"]).measures(["m"]).build().expect("a schema");
        let feed = CsvFiles::new(Files::stream("fuzzed", Cursor::new(bytes.to_vec())), schema);
        let feed = feed.delimiter(self.delimiter).expect("a delimiter").max_record_bytes(self.most_bytes);
        let feed = if self.has_header { feed } else { feed.columns(COLUMNS) };
        let mut records = Vec::new();
        let report = feed.on_bad_record(BadRecords::Skip(u64::MAX)).scan(Span::ALWAYS, &mut |record| {
            records.push(format!("{record:?}"));
            ControlFlow::Continue(())
        });
        let report = report.map_err(|error| error.to_string())?;
        assert_eq!((report.records, report.outside), (records.len() as u64, 0));
        Ok((records, report.records + report.skipped, report.to_string()))
    }

    /// A row that is good.
    fn good(self) -> Vec<u8> {
        [&b"1"[..], b"a", b"2"].join(&self.delimiter)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else { return };
    let options = Options {
        delimiter: [b',', b';', b'\t', b' '][usize::from(how % 4)],
        has_header: how & 4 > 0,
        most_bytes: if how & 8 > 0 { 20 } else { 4096 },
    };
    assert_eq!(options.scan(bytes), options.scan(bytes));

    // Behind a good row nothing is taken for a compressed file.
    let options = Options { has_header: false, ..options };
    let behind = |rows: &[u8]| options.scan(&[&options.good()[..], b"\n", rows].concat()).expect("a stream");
    let (records, rows, said) = behind(bytes);
    let lines = || bytes.split(|byte| b"\r\n".contains(byte)).filter(|line| !line.is_empty());
    assert!(rows <= 1 + lines().count() as u64, "{said}");
    let header = COLUMNS.map(str::as_bytes).join(&options.delimiter);
    let named = Options { has_header: true, ..options };
    let named = named.scan(&[&header[..], b"\n", &options.good(), b"\n", bytes].concat()).expect("a stream");
    assert_eq!((&named.0, named.1), (&records, rows));

    if !bytes.contains(&b'"') {
        let (mut alone, mut count) = (behind(b"").0, 1);
        for line in lines() {
            let (mut read, rows, _) = behind(line);
            alone.extend(read.drain(1..));
            count += rows - 1;
        }
        assert_eq!((records, rows), (alone, count));
        assert_eq!(rows, 1 + lines().count() as u64, "{said}");
    }
});
