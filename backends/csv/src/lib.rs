//! CSV files as a source of telemetry records for the peak engine.
//!
//! Metric files often have a time column and many measures. [`CsvFiles::wide`] takes every column
//! that has no other role for a measure:
//!
//! ```
//! use peak_core::{Schema, Source, Span};
//! use peak_csv::CsvFiles;
//! use std::ops::ControlFlow;
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(
//!     folder.path().join("monday.csv"),
//!     "time,host,cpu,memory\n\
//!      2020-11-02 10:00:00,web-1,0.25,512\n\
//!      2020-11-02 10:01:00,web-1,0.75,\n",
//! )?;
//!
//! let pattern = format!("{}/*.csv", folder.path().display());
//! let feed = CsvFiles::wide(&pattern, b',', Schema::builder().time("time").dimensions(["host"]))?;
//! assert_eq!(feed.schema().measures(), ["cpu", "memory"]);
//!
//! let mut means = Vec::new();
//! feed.windows(&Span::days("2020-11-02", "2020-11-03")?, &mut |found| {
//!     let measures = found.iter().flat_map(|(_, summary)| &summary.measures);
//!     means.extend(measures.map(|measure| measure.mean()));
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(means, [Some(0.5), Some(512.0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layout
//!
//! The first row names the columns, in each file anew, unless [`CsvFiles::columns`] does. Cells may
//! be quoted, with `""` for a quote. Empty lines do not count. Gzip and zstd are recognised by their
//! first bytes. Memory does not depend on the size of a file, only on that of its longest row, which
//! is bounded ([`CsvFiles::max_record_bytes`]).
//!
//! # Cells
//!
//! | role | cells |
//! |---|---|
//! | time | RFC 3339 text, or a number in the schema's unit ([`TimeUnit::read`](peak_core::TimeUnit::read)) |
//! | sample, dimension | text, as it stands |
//! | blame | the same, or nothing |
//! | measure | a number of magnitude up to 1e140, or nothing |
//!
//! A cell of blanks holds nothing. Anything else makes a bad record, and so does a row that has not
//! one cell for each column. Bad records are never left out silently: [`CsvFiles::on_bad_record`]
//! decides, the report counts them, and [`CsvFiles::dead_letters`] are told each one.

mod rows;

pub use peak_files::Files;

use peak_core::read::read_record;
use peak_core::{
    BadRecords, DeadLetters, Error, Intake, Record, Report, Result, Schema, SchemaBuilder, Source, Span,
};
use peak_files::Input;
use rows::Rows;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// CSV files, or a stream of CSV, as a [`Source`].
#[derive(Debug, Clone)]
pub struct CsvFiles {
    files: Files,
    schema: Schema,
    columns: Option<Vec<String>>,
    delimiter: u8,
    bad_records: BadRecords,
    dead_letters: DeadLetters,
    max_record_bytes: usize,
}

impl CsvFiles {
    /// Any set of inputs.
    #[must_use]
    pub fn new(files: Files, schema: Schema) -> Self {
        CsvFiles {
            files,
            schema,
            columns: None,
            delimiter: b',',
            bad_records: BadRecords::default(),
            dead_letters: DeadLetters::default(),
            max_record_bytes: 16 << 20,
        }
    }

    /// The files that match a pattern such as `metrics/**/*.csv.gz`; see [`Files::glob`].
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

    /// Wide metric files: every named column that has no role is a measure. The columns are those of
    /// the first file.
    ///
    /// # Errors
    /// As [`glob`](Self::glob) and [`delimiter`](Self::delimiter), and when the first file cannot be
    /// read or its columns and the roles make no schema.
    pub fn wide(pattern: &str, delimiter: u8, roles: SchemaBuilder) -> Result<Self> {
        let mut feed = Self::glob(pattern, roles.clone().build()?)?.delimiter(delimiter)?;
        if let Some(input) = feed.files.open().next() {
            let mut rows = feed.rows(input?);
            let columns = rows.header()?.unwrap_or_default();
            feed.locate(&rows.position.origin, &columns)?;
            let is_measure =
                |column: &String| !column.is_empty() && feed.schema.fields().all(|field| field != column);
            feed.schema = roles.measures(columns.into_iter().filter(is_measure)).build()?;
        }
        Ok(feed)
    }

    /// What stands between two cells; a comma unless said.
    ///
    /// # Errors
    /// When it is a quote, a line end or not ASCII.
    pub fn delimiter(mut self, delimiter: u8) -> Result<Self> {
        if !delimiter.is_ascii() || b"\"\r\n".contains(&delimiter) {
            let rule = "must be ASCII and neither a quote nor a line end";
            return Err(Error::invalid("delimiter", rule, delimiter.escape_ascii()));
        }
        self.delimiter = delimiter;
        Ok(self)
    }

    /// The names of the columns, for files without a header.
    #[must_use]
    pub fn columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// What to do with bad records; the first ends the run unless said.
    #[must_use]
    pub fn on_bad_record(mut self, policy: BadRecords) -> Self {
        self.bad_records = policy;
        self
    }

    /// Where bad records go besides the report; a row's bytes are not at hand then.
    #[must_use]
    pub fn dead_letters(mut self, dead_letters: DeadLetters) -> Self {
        self.dead_letters = dead_letters;
        self
    }

    /// The size above which a row is a bad record, and is passed over without being kept in memory;
    /// 16 MiB unless said.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    fn rows(&self, input: Input) -> Rows<Input> {
        Rows::new(input.name().clone(), input, self.delimiter, self.max_record_bytes)
    }

    /// Where each field of the schema stands among the columns of a file.
    fn locate(&self, file: &str, columns: &[String]) -> Result<Vec<usize>> {
        let locate = |field: &str| {
            let mut found = (0..columns.len()).filter(|&column| columns[column] == field);
            found.next().filter(|_| found.next().is_none()).ok_or_else(|| {
                let rule = format!("must name {field:?} once");
                Error::invalid(format!("{file}: columns"), rule, columns.join(", "))
            })
        };
        self.schema.fields().map(locate).collect()
    }

    fn scan_file(
        &self,
        input: Input,
        intake: &mut Intake,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut rows = self.rows(input);
        let columns = match &self.columns {
            Some(names) => Some(names.clone()),
            None => rows.header()?,
        };
        // A file without a header has no rows either.
        let Some(columns) = columns else { return Ok(ControlFlow::Continue(())) };
        let places = self.locate(&rows.position.origin, &columns)?;
        while let Some(row) = rows.next()? {
            let read = row.and_then(|row| {
                row.check_len(columns.len())?;
                let value = |field: usize| row.cell(places[field]);
                let at = || row.position.clone();
                read_record(&self.schema, at, value, |record| intake.offer(record, visit))
            });
            match read {
                Ok(ControlFlow::Continue(())) => {}
                Ok(stop) => return Ok(stop),
                Err(rejection) => intake.reject(rejection, None)?,
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Source for CsvFiles {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake =
            Intake::new(span).on_bad_record(self.bad_records).dead_letters(self.dead_letters.clone());
        for input in self.files.open() {
            if self.scan_file(input?, &mut intake, visit)?.is_break() {
                break;
            }
        }
        intake.finish()
    }
}
