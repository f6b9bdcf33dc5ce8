//! JSON and NDJSON as telemetry records for the peak engine: files as a source ([`JsonFiles`]), payloads of a
//! queue or a socket with a decoder ([`JsonDecoder`]).
//!
//! ```
//! use peak_core::{Schema, Source, Span};
//! use peak_json::JsonFiles;
//! use std::ops::ControlFlow;
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
//! let mut records = Vec::new();
//! let report = feed.windows(&Span::days("2020-11-02", "2020-11-03")?, &mut |found| {
//!     records.extend(found.iter().map(|(key, summary)| (key.to_string(), summary.records)));
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(records, [("PdfDocFile".to_owned(), 1), ("PeExeFile".to_owned(), 2)]);
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
//! [`JsonFiles::on_bad_record`] decides, the report counts them, and [`JsonFiles::dead_letters`] are told
//! each one.

mod decoder;
mod fields;
mod frame;
mod reader;
mod shape;
mod share;

pub use decoder::JsonDecoder;
pub use peak_files::Files;

use peak_core::{
    BadRecords, DeadLetters, Decode, Intake, LocalTables, Record, Report, Result, Schema, Source, Span,
    scan_into,
};
use reader::{Bad, Reader};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// JSON and NDJSON files, or a stream of either, as a [`Source`].
#[derive(Debug, Clone)]
pub struct JsonFiles {
    files: Files,
    /// Of each input anew.
    decoder: JsonDecoder,
    bad_records: BadRecords,
    dead_letters: DeadLetters,
    threads: NonZeroUsize,
}

impl JsonFiles {
    /// Any set of inputs.
    #[must_use]
    pub fn new(files: Files, schema: Schema) -> Self {
        JsonFiles {
            files,
            decoder: JsonDecoder::new(schema),
            bad_records: BadRecords::default(),
            dead_letters: DeadLetters::default(),
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

    /// Where bad records go besides the report: each one, in order, whenever the files are read. They are then
    /// read with one thread.
    #[must_use]
    pub fn dead_letters(mut self, dead_letters: DeadLetters) -> Self {
        self.dead_letters = dead_letters;
        self
    }

    /// The size above which a record is a bad one, and is passed over without being kept in memory;
    /// 16 MiB unless said.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.decoder = self.decoder.max_record_bytes(bytes);
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

    fn intake(&self, span: Span) -> Intake {
        Intake::new(span).on_bad_record(self.bad_records).dead_letters(self.dead_letters.clone())
    }
}

impl Source for JsonFiles {
    fn schema(&self) -> &Schema {
        self.decoder.schema()
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = self.intake(span);
        'inputs: for input in self.files.open() {
            let mut reader = Reader::new(self, input?);
            while let Some(read) = reader.next(|record| intake.offer(record, visit))? {
                match read {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => break 'inputs,
                    Err(Bad { rejection, raw }) => intake.reject(rejection, raw)?,
                }
            }
        }
        intake.finish()
    }

    fn count(&self, tables: &mut LocalTables) -> Result<Report> {
        match tables.windows().hull() {
            Some(hull) if self.threads > NonZeroUsize::MIN && self.dead_letters.is_nowhere() => {
                share::count(self, hull, tables)
            }
            _ => scan_into(self, tables),
        }
    }
}
