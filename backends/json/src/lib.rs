//! JSON and NDJSON files as a source of telemetry records for the peak engine.
//!
//! ```
//! use peak_core::{Schema, Source, Span};
//! use peak_json::JsonFiles;
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(
//!     folder.path().join("monday.ndjson"),
//!     r#"{"utc_timestamp": "2020-11-02T10:00:00Z", "file": {"sha1": "da39", "kind": "PeExeFile"}}
//!        {"utc_timestamp": "2020-11-02T10:05:00Z", "file": {"sha1": "0b51", "kind": "PdfDocFile"}}
//!        {"utc_timestamp": 1604312760000, "file.sha1": "da39", "file.kind": "PeExeFile"}"#,
//! )?;
//!
//! let schema = Schema::builder().time("utc_timestamp").sample("file.sha1").dimensions(["file.kind"]).build()?;
//! let feed = JsonFiles::glob(&format!("{}/*.ndjson", folder.path().display()), schema)?;
//!
//! let mut events = Vec::new();
//! let report = feed.windows(&Span::days("2020-11-02", "2020-11-03")?, &mut |found| {
//!     events.push((found.key.to_string(), found.window.events));
//! })?;
//! assert_eq!(events, [("PdfDocFile".to_owned(), 1), ("PeExeFile".to_owned(), 2)]);
//! assert_eq!(report.records, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! A file is one array of objects when its first character is `[`, and otherwise one object on each
//! line; blank lines do not count. In an array, a bracket that is never closed hides what follows: the
//! rest of the file is one bad record. In a file of lines, a bad record ends with its line.
//!
//! Gzip and zstd are recognised by their first bytes. Memory does not depend on the size of a file,
//! only on that of its longest record, which is bounded ([`JsonFiles::max_record_bytes`]); a thread
//! needs twice that, and a few megabytes besides.
//!
//! # Speed
//!
//! The records of a feed look alike. What stands between the values that change is learned on the way;
//! a record that repeats it is not parsed but compared, and of its values only those of the schema's
//! fields are looked at. It makes no difference but speed: any other record, and every bad one, is left
//! to `serde_json`. So a feed is read fastest when its program writes the keys in one order; fields
//! that come and go and several kinds of records in one feed cost little.
//!
//! [`JsonFiles::threads`] divides the inputs among threads in stretches of about the same size. A file
//! that is not compressed is cut: lines at line ends, an array where an element begins as its first one
//! does, with the same key. (Should that be no element after all, the file is read again in one piece.)
//! A compressed file and a stream are read by one thread each, so it takes several of those to gain from
//! several threads.
//!
//! # Fields
//!
//! The field `a.b` is found as `{"a.b": 1}` and as `{"a": {"b": 1}}`, in any mixture; a record that
//! has it twice is a bad one.
//!
//! | role | values |
//! |---|---|
//! | time | RFC 3339 text, or a number in the schema's unit ([`TimeUnit::read`](peak_core::TimeUnit::read)) |
//! | sample, dimension | text, or a number or boolean as it is written (1.50 stays 1.50) |
//! | blame | the same, or nothing or null |
//! | measure | a number of magnitude up to 1e140, or nothing or null |
//!
//! Anything else makes a bad record. Bad records are never left out silently:
//! [`JsonFiles::on_bad_record`] decides, and the report counts them.

mod fields;
mod frame;
mod reader;
mod shape;
mod share;

pub use peak_files::Files;

use fields::Fields;
use peak_core::{BadRecords, LocalTables, Record, Report, Result, Schema, Source, Span};
use reader::Reader;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// JSON and NDJSON files, or a stream of either, as a [`Source`].
#[derive(Debug, Clone)]
pub struct JsonFiles {
    files: Files,
    schema: Schema,
    fields: Fields,
    bad_records: BadRecords,
    max_record_bytes: usize,
    threads: NonZeroUsize,
}

impl JsonFiles {
    /// Any set of inputs.
    #[must_use]
    pub fn new(files: Files, schema: Schema) -> Self {
        let fields = Fields::new(&schema);
        JsonFiles {
            files,
            schema,
            fields,
            bad_records: BadRecords::default(),
            max_record_bytes: 16 << 20,
            threads: NonZeroUsize::MIN,
        }
    }

    /// The files that match a pattern such as `telemetry/**/*.ndjson.gz`; see [`Files::glob`].
    ///
    /// # Errors
    /// When no file matches, or the pattern cannot be used.
    pub fn glob(pattern: &str, schema: Schema) -> Result<Self> {
        Ok(Self::new(Files::glob(pattern)?, schema))
    }

    /// These files, in this order.
    pub fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>, schema: Schema) -> Self {
        Self::new(Files::paths(paths), schema)
    }

    /// Standard input. It can be read only once.
    #[must_use]
    pub fn stdin(schema: Schema) -> Self {
        Self::new(Files::stdin(), schema)
    }

    /// What to do with bad records; the first ends the run unless said.
    #[must_use]
    pub fn on_bad_record(mut self, policy: BadRecords) -> Self {
        self.bad_records = policy;
        self
    }

    /// The size above which a record is a bad one, and is passed over without being kept in memory;
    /// 16 MiB unless said.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    /// How many threads [`count`](Source::count) and [`windows`](Source::windows) read with; one unless
    /// said. The result does not depend on it, but for estimates in tables with a memory budget, of
    /// which each thread has its share.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = threads;
        self
    }
}

impl Source for JsonFiles {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Report> {
        let mut report = Report::default();
        for input in self.files.open() {
            let mut reader = Reader::new(self, input?);
            while let Some(read) = reader.next(|record| report.offer(span, record, visit))? {
                if let Err(rejection) = read {
                    report.reject(rejection, self.bad_records)?;
                }
            }
        }
        Ok(report)
    }

    fn count(&self, tables: &mut LocalTables) -> Result<Report> {
        let Some(hull) = tables.windows().hull() else { return Ok(Report::default()) };
        if self.threads == NonZeroUsize::MIN {
            let mut counter = tables.counter();
            self.scan(hull, &mut |record| {
                counter.add(record);
            })
        } else {
            share::count(self, hull, tables)
        }
    }
}
