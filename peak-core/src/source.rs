//! Where records come from.

use crate::{LocalTable, LocalTables, Record, Report, Result, Schema, Span, Summaries, Windows};
use std::ops::ControlFlow;

/// A source of telemetry: the one trait a backend of an archive implements. What comes as it happens, in
/// payloads, is a [`Decode`](crate::Decode)r's.
///
/// [`scan`](Self::scan) hands out records. [`windows`](Self::windows) hands out finished summaries;
/// unless a backend says otherwise it folds `scan`, by way of [`count`](Self::count). A backend whose store
/// can aggregate overrides it with the same two-level aggregation (inner: records per window, key and sample;
/// outer: sum, number, sum of squares and maximum of those per window and key), so that only summaries travel.
/// Both must agree: `peak_core::testing::check_source` (feature `testing`) asserts it.
///
/// A complete source:
///
/// ```
/// use peak_core::{Intake, Record, Report, Result, Schema, Source, Span, Timestamp, Windows};
/// use std::ops::ControlFlow;
///
/// struct Heartbeats(Schema);
///
/// impl Source for Heartbeats {
///     fn schema(&self) -> &Schema {
///         &self.0
///     }
///
///     fn scan(
///         &self,
///         span: Span,
///         visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
///     ) -> Result<Report> {
///         let mut intake = Intake::new(span);
///         for minute in 0..90 {
///             let time = Timestamp::from_millis(minute * 60_000)?;
///             if intake.offer(&Record::new(time, &["web-1"]), visit).is_break() {
///                 break;
///             }
///         }
///         intake.finish()
///     }
/// }
///
/// let source = Heartbeats(Schema::builder().time("at").dimensions(["host"]).build()?);
/// let mut hours = Vec::new();
/// let day = Span::days("1970-01-01", "1970-01-02")?[0];
/// let each_hour = Windows::every(day, std::time::Duration::from_secs(3600))?;
/// let report = source.windows(&each_hour, &mut |found| {
///     hours.extend(found.iter().map(|(_, summary)| summary.records));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(hours, [60, 30]);
/// assert_eq!(report.records, 90);
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait Source {
    /// The fields of the feed and their roles.
    fn schema(&self) -> &Schema;

    /// Hands every record within the span to `visit`, in any order, and reports what it read. When `visit`
    /// breaks, no more are handed out, and the report says that it was [stopped](Report::stopped). An
    /// [`Intake`](crate::Intake) does both.
    ///
    /// # Errors
    /// When the source cannot be read, or has more bad records than its policy allows.
    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report>;

    /// Counts the records of the tables' windows in them, and reports what it read: its `records` are those
    /// that were counted, those in the gaps are `between`. A backend that can read with several threads
    /// overrides it: each counts in [`LocalTables::emptied`] tables, which are merged, so the result is the
    /// same, bit for bit.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); the tables then hold some of the records.
    fn count(&self, tables: &mut LocalTables) -> Result<Report> {
        scan_into(self, tables)
    }

    /// Hands the summaries of every window to `visit`, each window once, in any order, and reports what
    /// it read. Windows without records may be left out. A store that groups by key, then by window, puts
    /// its rows together by [`Summaries::group`]. When `visit` breaks, no more are handed out, and the report
    /// says that it was [stopped](Report::stopped).
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    fn windows(
        &self,
        windows: &Windows,
        visit: &mut dyn FnMut(Summaries) -> ControlFlow<()>,
    ) -> Result<Report> {
        let mut tables = LocalTables::new(self.schema(), windows);
        let mut report = self.count(&mut tables)?;
        let mut found = tables.into_tables().into_iter().map(|table: LocalTable| table.finish());
        report.stopped |= found.try_for_each(visit).is_break();
        Ok(report)
    }
}

/// Counts the records of the tables' windows by one [`scan`](Source::scan): what [`Source::count`] does unless
/// a backend knows better.
///
/// # Errors
/// As [`Source::count`].
pub fn scan_into<S: Source + ?Sized>(source: &S, tables: &mut LocalTables) -> Result<Report> {
    let Some(hull) = tables.windows().hull() else { return Ok(Report::default()) };
    let (mut between, mut failure) = (0, None);
    let mut report = source.scan(hull, &mut |record| match tables.add(record) {
        Ok(is_counted) => {
            between += u64::from(!is_counted);
            ControlFlow::Continue(())
        }
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    report.leave_between(between);
    failure.map_or(Ok(report), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Intake, Timestamp};

    /// A record each second.
    struct Seconds(Schema, i64);

    impl Source for Seconds {
        fn schema(&self) -> &Schema {
            &self.0
        }

        fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
            let mut intake = Intake::new(span);
            for second in 0..self.1 {
                let time = Timestamp::from_millis(second * 1_000)?;
                if intake.offer(&Record::new(time, &["a"]), visit).is_break() {
                    break;
                }
            }
            intake.finish()
        }
    }

    #[test]
    fn what_lies_between_windows_is_not_reported_as_counted() {
        let source = Seconds(Schema::builder().time("t").dimensions(["d"]).build().unwrap(), 10);
        let at = |second: i64| Timestamp::from_millis(second * 1_000).unwrap();
        let span = |start, end| Span::new(at(start), at(end)).unwrap();
        let windows = Windows::new(vec![span(1, 3), span(5, 8)]).unwrap();
        let mut counted = 0;
        let report = source.windows(&windows, &mut |found| {
            counted += found.iter().map(|(_, summary)| summary.records).sum::<u64>();
            ControlFlow::Continue(())
        });
        let report = report.unwrap();
        assert_eq!((report.records, report.between, report.outside), (5, 2, 3));
        assert_eq!(report.records, counted);
        let expected = "5 records, 3 outside the span, 2 between the windows, 0 bad ones skipped";
        assert_eq!(report.to_string(), expected);
    }
}
