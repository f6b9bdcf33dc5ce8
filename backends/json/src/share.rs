//! Counts records with several threads, as if there were one.

use crate::JsonFiles;
use crate::reader::{Bad, Reader};
use memchr::memchr;
use peak_core::{Error, Intake, LocalTables, Record, Report, Result, Span};
use peak_files::{Cut, Part};
use std::iter;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// Each thread takes a share, one stretch of all inputs, and counts it in tables of its own. Then each
/// merges the tables of some of the keys.
pub(crate) fn count(source: &JsonFiles, span: Span, tables: &mut LocalTables) -> Result<Report> {
    let threads = source.threads.get();
    let shares = source.files.shares(source.threads, cut);
    let empty = tables.emptied(shares.iter().map(|share| share.chunk_by(are_counted_together).count()).sum());
    let first_failed = AtomicUsize::new(usize::MAX);
    let counted = side_by_side(shares.iter().enumerate(), |(number, share)| {
        let is_in_vain = || first_failed.load(Ordering::Relaxed) < number;
        let mut runs = Vec::new();
        for parts in share.chunk_by(are_counted_together) {
            let run = Run::of(source, parts, span, &empty, is_in_vain);
            let has_failed = run.has_failed;
            runs.push(run);
            if has_failed {
                first_failed.fetch_min(number, Ordering::Relaxed);
                break;
            }
        }
        runs
    });

    let mut intake = source.intake(span);
    let (mut passed, mut between) = ((0, 0), 0);
    let mut by_keys: Vec<Vec<LocalTables>> = (0..threads).map(|_| Vec::new()).collect();
    let mut rest = counted.into_iter().flatten().peekable();
    while let Some(first) = rest.next() {
        let whole = first.parts[0].whole();
        let mut runs = vec![first];
        if is_of_array(&runs[0].parts[0]) {
            runs.extend(iter::from_fn(|| rest.next_if(|run| run.is_guess)));
        }
        // All but the last must have led to the next.
        if runs.iter().rev().skip(1).any(|run| !run.is_before_element) {
            runs = vec![Run::of(source, slice::from_ref(&whole), span, &empty, || false)];
        }
        for run in runs {
            for outcome in run.outcomes {
                between += outcome.between;
                passed = outcome.append_to(&mut intake, passed)?;
            }
            by_keys.iter_mut().zip(run.tables).for_each(|(same_keys, part)| same_keys.push(part));
        }
    }
    let merged = side_by_side(by_keys, |same_keys| {
        let mut sum = empty.clone();
        same_keys.into_iter().try_for_each(|part| sum.merge(part)).map(|()| sum)
    });
    merged.into_iter().try_for_each(|part| tables.merge(part?))?;
    let mut report = intake.finish()?;
    report.leave_between(between);
    Ok(report)
}

/// Where a file may be cut, going by how it begins: behind lines, or in front of what begins like the
/// first element of an array.
fn cut(head: &[u8]) -> Option<Cut> {
    let (&first, elements) = head.trim_ascii_start().split_first()?;
    if first != b'[' {
        return Some(Cut::BehindLineEnd);
    }
    let element = elements.trim_ascii_start();
    let key = element.get(..=memchr(b':', element)?)?;
    key.starts_with(b"{").then(|| Cut::Before(key.into()))
}

fn is_of_array(part: &Part<'_>) -> bool {
    matches!(part.cut(), Some(Cut::Before(_)))
}

/// A piece of an array is counted by itself.
fn are_counted_together(a: &Part<'_>, b: &Part<'_>) -> bool {
    !is_of_array(a) && !is_of_array(b)
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

/// Parts that were counted into the same tables.
///
/// A piece from the middle of an array is read from where an element seems to begin. Whether one does is
/// known when the piece before it has been read to its end. If not, or if anything is wrong in a piece
/// before, the file is read again as a whole; so each piece of an array is a run of its own.
struct Run<'a> {
    parts: &'a [Part<'a>],
    outcomes: Vec<Outcome>,
    /// By keys.
    tables: Vec<LocalTables>,
    /// Whether it begins where an element of an array seems to begin.
    is_guess: bool,
    /// Whether it has ended where an element of an array does begin.
    is_before_element: bool,
    /// Whether the whole must fail. A piece of an array may only seem to be bad.
    has_failed: bool,
}

impl<'a> Run<'a> {
    fn of(
        source: &JsonFiles,
        parts: &'a [Part<'a>],
        span: Span,
        empty: &LocalTables,
        is_in_vain: impl Fn() -> bool,
    ) -> Self {
        let (mut tables, mut outcomes) = (empty.clone(), Vec::new());
        let (mut is_before_element, mut has_failed) = (false, false);
        for part in parts {
            let outcome = Outcome::of(source, part, span, &mut tables, &is_in_vain);
            is_before_element = outcome.is_before_element;
            has_failed = outcome.has_failed() && !is_of_array(part);
            outcomes.push(outcome);
            if has_failed {
                break;
            }
        }
        let is_guess = parts.iter().any(|part| is_of_array(part) && part.is_continued());
        let tables = tables.split(source.threads.get());
        Run { parts, outcomes, tables, is_guess, is_before_element, has_failed }
    }
}

/// What a thread has read of a part.
struct Outcome {
    is_continued: bool,
    is_before_element: bool,
    /// Places are counted from the beginning of the part.
    intake: Intake,
    /// The records that lie in no window, but between two.
    between: u64,
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
        let mut outcome = Outcome {
            is_continued: part.is_continued(),
            is_before_element: false,
            intake: source.intake(span).of_part(),
            between: 0,
            passed: (0, 0),
            error: None,
        };
        outcome.error = outcome.read(source, part, tables, is_in_vain).err();
        outcome
    }

    fn read(
        &mut self,
        source: &JsonFiles,
        part: &Part<'_>,
        tables: &mut LocalTables,
        is_in_vain: impl Fn() -> bool,
    ) -> Result<()> {
        let mut reader = Reader::of_part(source, part)?;
        let Outcome { intake, between, .. } = self;
        let mut failure = None;
        let mut add = |record: &Record<'_>| match tables.add(record) {
            Ok(is_counted) => {
                *between += u64::from(!is_counted);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        };
        while let Some(read) = reader.next(|record| intake.offer(record, &mut add))? {
            if let Err(Bad { rejection, raw }) = read {
                intake.reject(rejection, raw)?;
            }
            if intake.has_failed() || intake.report().stopped || is_in_vain() {
                break;
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        self.passed = reader.passed();
        self.is_before_element = reader.is_before_element();
        Ok(())
    }

    /// Whether the whole must fail, whatever the other parts are.
    fn has_failed(&self) -> bool {
        self.error.is_some() || self.intake.has_failed()
    }

    /// Adds it to what was read of all before it. `before` are the records and line ends of the parts
    /// before it of the same file; the same for the part behind it is returned.
    fn append_to(mut self, all: &mut Intake, before: (u64, u64)) -> Result<(u64, u64)> {
        let (records, lines) = if self.is_continued { before } else { (0, 0) };
        self.intake.move_positions(|position| *position = position.within(records + 1, lines + 1));
        all.append(self.intake)?;
        match self.error {
            Some(error) => Err(error),
            None => Ok((records + self.passed.0, lines + self.passed.1)),
        }
    }
}
