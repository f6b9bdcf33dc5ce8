//! Counts records with several threads, as if there were one.

use crate::JsonFiles;
use crate::reader::Reader;
use peak_core::{BadRecords, Error, LocalTables, Record, Report, Result, Span};
use peak_files::Part;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// Each thread takes a share, one stretch of all inputs, and counts it in tables of its own. Then each
/// merges the tables of some of the keys.
pub(crate) fn count(source: &JsonFiles, span: Span, tables: &mut LocalTables) -> Result<Report> {
    let is_lines = |head: &[u8]| head.trim_ascii_start().first().is_some_and(|&first| first != b'[');
    let threads = source.threads.get();
    let shares = source.files.shares(source.threads, is_lines);
    let first_failed = AtomicUsize::new(usize::MAX);
    let empty = tables.emptied(threads);
    let counted = side_by_side(shares.into_iter().enumerate(), |(number, parts): (usize, Vec<Part<'_>>)| {
        let mut tables = empty.clone();
        let mut outcomes = Vec::new();
        for part in parts {
            let is_in_vain = || first_failed.load(Ordering::Relaxed) < number;
            let outcome = Outcome::of(source, &part, span, &mut tables, is_in_vain);
            let has_failed = outcome.has_failed(source.bad_records);
            outcomes.push(outcome);
            if has_failed {
                first_failed.fetch_min(number, Ordering::Relaxed);
                break;
            }
        }
        (outcomes, tables.split(threads))
    });

    let mut report = Report::default();
    let mut passed = (0, 0);
    let mut by_keys: Vec<Vec<LocalTables>> = (0..threads).map(|_| Vec::new()).collect();
    for (outcomes, split) in counted {
        for outcome in outcomes {
            passed = outcome.append_to(&mut report, source.bad_records, passed)?;
        }
        by_keys.iter_mut().zip(split).for_each(|(same_keys, part)| same_keys.push(part));
    }
    let merged = side_by_side(by_keys, |same_keys| {
        let mut sum = empty.clone();
        same_keys.into_iter().try_for_each(|part| sum.merge(part)).map(|()| sum)
    });
    merged.into_iter().try_for_each(|part| tables.merge(part?))?;
    Ok(report)
}

/// Does something with each, in threads of their own.
fn side_by_side<T: Send, R: Send>(each: impl IntoIterator<Item = T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = each.into_iter().map(|one| scope.spawn(move || work(one))).collect();
        let join =
            |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(join).collect()
    })
}

/// What a thread has read of a part.
struct Outcome {
    is_continued: bool,
    /// Places are counted from the beginning of the part.
    report: Report,
    /// The records and line ends in it.
    passed: (u64, u64),
    /// Why it was not read to its end.
    error: Option<Error>,
}

impl Outcome {
    /// Counts a part, and passes over bad records up to the first that the policy does not allow.
    fn of(
        source: &JsonFiles,
        part: &Part<'_>,
        span: Span,
        tables: &mut LocalTables,
        is_in_vain: impl Fn() -> bool,
    ) -> Self {
        let is_continued = part.is_continued();
        let mut outcome = Outcome { is_continued, report: Report::default(), passed: (0, 0), error: None };
        outcome.error = outcome.read(source, part, span, tables, is_in_vain).err();
        outcome
    }

    fn read(
        &mut self,
        source: &JsonFiles,
        part: &Part<'_>,
        span: Span,
        tables: &mut LocalTables,
        is_in_vain: impl Fn() -> bool,
    ) -> Result<()> {
        let input = part.open()?;
        let mut reader =
            if self.is_continued { Reader::continued(source, input) } else { Reader::new(source, input) };
        let mut counter = tables.counter();
        let mut add = |record: &Record<'_>| {
            counter.add(record);
        };
        while let Some(read) = reader.next(|record| self.report.offer(span, record, &mut add))? {
            if let Err(rejection) = read {
                self.report.reject(rejection, BadRecords::Skip(u64::MAX))?;
            }
            if self.has_failed(source.bad_records) || is_in_vain() {
                break;
            }
        }
        self.passed = reader.passed();
        Ok(())
    }

    /// Whether the whole must fail, whatever the other parts are.
    fn has_failed(&self, policy: BadRecords) -> bool {
        let allowed = match policy {
            BadRecords::Reject => 0,
            BadRecords::Skip(limit) => limit,
        };
        self.error.is_some() || self.report.skipped > allowed
    }

    /// Adds it to the report of all before it. `before` are the records and line ends of the parts
    /// before it of the same file; the same for the part behind it is returned.
    fn append_to(
        mut self,
        report: &mut Report,
        policy: BadRecords,
        before: (u64, u64),
    ) -> Result<(u64, u64)> {
        let (records, lines) = if self.is_continued { before } else { (0, 0) };
        for rejection in &mut self.report.first_skipped {
            rejection.position.record += records;
            rejection.position.line += lines;
        }
        report.append(self.report, policy)?;
        match self.error {
            Some(error) => Err(error),
            None => Ok((records + self.passed.0, lines + self.passed.1)),
        }
    }
}
