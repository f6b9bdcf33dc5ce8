//! Where records come from.

use crate::{ErrorKind, LocalTable, LocalTables, Record, Rejection, Result, Schema, Span, Summaries, Windows};
use serde::Serialize;
use std::fmt;

/// A source of telemetry: the one trait a backend implements.
///
/// [`scan`](Self::scan) hands out records. [`windows`](Self::windows) hands out finished summaries;
/// unless a backend says otherwise it folds `scan`, by way of [`count`](Self::count). A backend whose store can aggregate overrides it
/// with the same two-level aggregation (inner: records per window, key and sample; outer: sum,
/// number, sum of squares and maximum of those per window and key), so that only summaries travel.
/// Both must agree: `peak_core::testing::check_source` (feature `testing`) asserts it.
///
/// A complete source:
///
/// ```
/// use peak_core::{Record, Report, Result, Schema, Source, Span, Timestamp, Windows};
///
/// struct Heartbeats(Schema);
///
/// impl Source for Heartbeats {
///     fn schema(&self) -> &Schema {
///         &self.0
///     }
///
///     fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Report> {
///         let mut report = Report::default();
///         for minute in 0..90 {
///             let time = Timestamp::from_millis(minute * 60_000)?;
///             report.offer(span, &Record::new(time, &["web-1"]), visit);
///         }
///         Ok(report)
///     }
/// }
///
/// let source = Heartbeats(Schema::builder().time("at").dimensions(["host"]).build()?);
/// let mut hours = Vec::new();
/// let day = Span::days("1970-01-01", "1970-01-02")?[0];
/// let each_hour = Windows::every(day, std::time::Duration::from_secs(3600))?;
/// let report = source.windows(&each_hour, &mut |found| {
///     hours.extend(found.iter().map(|(_, summary)| summary.records));
/// })?;
/// assert_eq!(hours, [60, 30]);
/// assert_eq!(report.records, 90);
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait Source {
    /// The fields of the feed and their roles.
    fn schema(&self) -> &Schema;

    /// Hands every record within the span to `visit`, in any order, and reports what it read.
    ///
    /// # Errors
    /// When the source cannot be read, or has more bad records than its policy allows.
    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Report>;

    /// Counts the records of the tables' windows in them, and reports what it read. A backend that
    /// can read with several threads overrides it: each counts in [`LocalTables::emptied`] tables,
    /// which are merged, so the result is the same, bit for bit.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); the tables then hold some of the records.
    fn count(&self, tables: &mut LocalTables) -> Result<Report> {
        let Some(hull) = tables.windows().hull() else { return Ok(Report::default()) };
        let mut failure = None;
        let report = self.scan(hull, &mut |record| {
            if let (Err(error), None) = (tables.add(record), &failure) {
                failure = Some(error);
            }
        });
        failure.map_or(report, Err)
    }

    /// Hands the summaries of every window to `visit`, each window once, in any order, and reports what
    /// it read. Windows without records may be left out. A store that groups by key, then by window,
    /// puts its rows together by [`Summaries::group`].
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    fn windows(&self, windows: &Windows, visit: &mut dyn FnMut(Summaries)) -> Result<Report> {
        let mut tables = LocalTables::new(self.schema(), windows);
        let report = self.count(&mut tables)?;
        tables.into_tables().iter().map(LocalTable::finish).for_each(visit);
        Ok(report)
    }
}

/// What to do with a record that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadRecords {
    /// The first one ends the run with an error.
    #[default]
    Reject,
    /// Up to this many are left out and reported; one more ends the run with an error.
    Skip(u64),
}

/// What a source read: nothing is left out silently.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Good records within the span.
    pub records: u64,
    /// Good records outside it.
    pub outside: u64,
    /// Bad records that were left out.
    pub skipped: u64,
    /// The first of them, at most [`FIRST`](Self::FIRST).
    pub first_skipped: Vec<Rejection>,
}

impl Report {
    /// How many bad records a report names.
    pub const FIRST: usize = 5;

    /// Counts a good record, and hands it on when it lies within the span.
    pub fn offer(&mut self, span: Span, record: &Record<'_>, visit: &mut dyn FnMut(&Record<'_>)) {
        if span.contains(record.time) {
            self.records += 1;
            visit(record);
        } else {
            self.outside += 1;
        }
    }

    /// Counts a bad record, as the policy says.
    ///
    /// # Errors
    /// When the policy does not allow it.
    pub fn reject(&mut self, rejection: Rejection, policy: BadRecords) -> Result<()> {
        let limit = match policy {
            BadRecords::Reject => return Err(rejection.into()),
            BadRecords::Skip(limit) => limit,
        };
        if self.skipped >= limit {
            let first = self.first_skipped.first().cloned().unwrap_or(rejection);
            return Err(ErrorKind::TooManyBadRecords { limit, first }.into());
        }
        self.skipped += 1;
        if self.first_skipped.len() < Self::FIRST {
            self.first_skipped.push(rejection);
        }
        Ok(())
    }

    /// Takes in the report of what was read next, of whatever size its own limit was: the result is that
    /// of reading both with this policy.
    ///
    /// # Errors
    /// When the policy does not allow so many bad records.
    pub fn append(&mut self, next: Report, policy: BadRecords) -> Result<()> {
        let named = next.first_skipped.len() as u64;
        for rejection in next.first_skipped {
            self.reject(rejection, policy)?;
        }
        let unnamed = next.skipped.saturating_sub(named);
        if let (BadRecords::Skip(limit), Some(first)) = (policy, self.first_skipped.first())
            && self.skipped.saturating_add(unnamed) > limit
        {
            return Err(ErrorKind::TooManyBadRecords { limit, first: first.clone() }.into());
        }
        self.records += next.records;
        self.outside += next.outside;
        self.skipped += unnamed;
        Ok(())
    }
}

/// One line for the counts, and one for each bad record that is named.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { records, outside, skipped, first_skipped } = self;
        write!(f, "{records} records, {outside} outside the span, {skipped} bad ones skipped")?;
        first_skipped.iter().try_for_each(|rejection| write!(f, "\n  skipped {rejection}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Position;

    #[test]
    fn bad_records_are_counted_up_to_the_limit() {
        let bad = |record| {
            let position = Position { file: "a.ndjson".into(), record, line: record };
            Rejection::new(position, Some("host"), "must be text", "null")
        };
        let mut report = Report::default();
        for record in 1..=7 {
            report.reject(bad(record), BadRecords::Skip(7)).unwrap();
        }
        assert_eq!((report.skipped, report.first_skipped.len()), (7, Report::FIRST));
        let error = report.reject(bad(8), BadRecords::Skip(7)).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"more than 7 bad records; the first: a.ndjson: record 1 (line 1): field "host" must be text, got null"#
        );
        let (mut sum, halves) = (Report::default(), [(1..=6), (7..=7)]);
        for half in halves {
            let mut next = Report { records: 10, ..Report::default() };
            half.for_each(|record| next.reject(bad(record), BadRecords::Skip(u64::MAX)).unwrap());
            let error = sum.clone().append(next.clone(), BadRecords::Skip(sum.skipped + next.skipped - 1));
            let expected = "more than 5 bad records; the first: a.ndjson: record 1 (line 1)";
            assert!(error.unwrap_err().to_string().replace(" 6 ", " 5 ").starts_with(expected));
            sum.append(next, BadRecords::Skip(7)).unwrap();
        }
        assert_eq!(sum, Report { records: 20, ..report });

        let error = Report::default().reject(bad(9), BadRecords::Reject).unwrap_err().to_string();
        assert_eq!(error, r#"a.ndjson: record 9 (line 9): field "host" must be text, got null"#);
    }
}
