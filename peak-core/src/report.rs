//! What was read: records counted, bad ones named.

use crate::{Decode, Error, ErrorKind, Position, Record, Rejection, Result, RuleKind, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a source read: nothing is left out silently.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Good records within the span or the windows: those that were handed out or counted.
    pub records: u64,
    /// Good records outside of it; of windows, before the first and after the last.
    pub outside: u64,
    /// Good records between two windows, where there is a gap.
    pub between: u64,
    /// Bad records that were left out.
    pub skipped: u64,
    /// The same by the kind of rule that they break.
    pub skipped_by_kind: BTreeMap<RuleKind, u64>,
    /// The first of them, at most [`FIRST`](Self::FIRST).
    pub first_skipped: Vec<Rejection>,
    /// Whether it was stopped by the one who asked for it, so that there may be more.
    pub stopped: bool,
}

impl Report {
    /// How many bad records a report names.
    pub const FIRST: usize = 5;

    /// All records that were read, good and bad.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.records + self.outside + self.between + self.skipped
    }

    /// Takes note that so many of the records lie in no window, but between two.
    pub fn leave_between(&mut self, records: u64) {
        self.records -= records.min(self.records);
        self.between += records;
    }

    fn skip(&mut self, rejection: Rejection) {
        self.skipped += 1;
        *self.skipped_by_kind.entry(rejection.rule.kind).or_default() += 1;
        if self.first_skipped.len() < Self::FIRST {
            self.first_skipped.push(rejection);
        }
    }

    /// Takes in the report of what was read next.
    fn append(&mut self, next: Report) {
        let Report { records, outside, between, skipped, skipped_by_kind, first_skipped, stopped } = next;
        self.records += records;
        self.outside += outside;
        self.between += between;
        self.skipped += skipped;
        for (kind, skipped) in skipped_by_kind {
            *self.skipped_by_kind.entry(kind).or_default() += skipped;
        }
        let room = Self::FIRST - self.first_skipped.len();
        self.first_skipped.extend(first_skipped.into_iter().take(room));
        self.stopped |= stopped;
    }
}

/// One line for the counts, and one for each bad record that is named.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { records, outside, between, skipped, first_skipped, stopped, .. } = self;
        write!(f, "{records} records, {outside} outside the span, ")?;
        if *between > 0 {
            write!(f, "{between} between the windows, ")?;
        }
        write!(f, "{skipped} bad ones skipped{}", if *stopped { ", stopped early" } else { "" })?;
        first_skipped.iter().try_for_each(|rejection| write!(f, "\n  skipped {rejection}"))
    }
}

/// What to do with records that break a rule.
///
/// It is data, and can stand in a configuration:
///
/// ```
/// use peak_core::BadRecords;
///
/// let policy: BadRecords = serde_json::from_str(r#"{"SkipShare": {"most": 0.01, "after": 1000}}"#)?;
/// assert_eq!(policy, BadRecords::share(0.01)?);
/// assert!(serde_json::from_str::<BadRecords>(r#"{"SkipShare": {"most": 2, "after": 1000}}"#).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BadRecords {
    /// The first one ends the run with an error.
    #[default]
    Reject,
    /// Up to this many are left out and reported; one more ends the run with an error.
    Skip(u64),
    /// Up to this share of all records is left out and reported; more end the run with an error.
    SkipShare(BadShare),
}

impl BadRecords {
    /// Leaves out up to this share of all records, from 0 to 1; see [`BadShare`].
    ///
    /// # Errors
    /// As [`BadShare::new`].
    pub fn share(most: f64) -> Result<Self> {
        BadShare::new(most).map(BadRecords::SkipShare)
    }

    /// What a message says is allowed.
    pub(crate) fn allowed(self) -> String {
        match self {
            BadRecords::Reject => "0".to_owned(),
            BadRecords::Skip(limit) => limit.to_string(),
            BadRecords::SkipShare(share) => format!("{} %", f64::from(share.millionths) / 1e4),
        }
    }
}

/// The largest share of bad records that is allowed.
///
/// It is judged at the end, and before that with each bad record once enough records were read: 1,000
/// unless said. So a feed that begins with a bad record is not given up, and one of nothing else is, soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredShare", into = "StoredShare")]
pub struct BadShare {
    /// Of all records; whole numbers, so that sums over parts are exact.
    millionths: u32,
    after: u32,
}

/// As a configuration has it.
#[derive(Serialize, Deserialize)]
struct StoredShare {
    most: f64,
    #[serde(default = "default_after")]
    after: u32,
}

fn default_after() -> u32 {
    1_000
}

impl BadShare {
    /// The most records that can be asked for before the share is judged.
    pub const MOST_AFTER: u32 = 1_000_000;

    /// A share of all records from 0 to 1, to a millionth.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(most: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&most) {
            return Err(Error::invalid("share of bad records", "must be from 0 to 1", most));
        }
        Ok(BadShare { millionths: (most * 1e6).round() as u32, after: default_after() })
    }

    /// How many records must have been read before the share is judged; less only at the end.
    ///
    /// # Errors
    /// When they are more than [`MOST_AFTER`](Self::MOST_AFTER).
    pub fn judged_after(self, records: u32) -> Result<Self> {
        if records > Self::MOST_AFTER {
            let rule = format!("must be at most {}", Self::MOST_AFTER);
            return Err(Error::invalid("records before bad ones are judged", rule, records));
        }
        Ok(BadShare { after: records, ..self })
    }

    /// By how much the bad records are more than allowed, in millionths of a record.
    fn excess(self, skipped: u64, read: u64) -> i128 {
        i128::from(skipped) * 1_000_000 - i128::from(self.millionths) * i128::from(read)
    }
}

impl TryFrom<StoredShare> for BadShare {
    type Error = Error;
    fn try_from(StoredShare { most, after }: StoredShare) -> Result<Self> {
        BadShare::new(most)?.judged_after(after)
    }
}

impl From<BadShare> for StoredShare {
    fn from(BadShare { millionths, after }: BadShare) -> Self {
        StoredShare { most: f64::from(millionths) / 1e6, after }
    }
}

/// Where bad records go besides the report: a function that sees each one, and its bytes where they are at
/// hand. It also sees the one that ends the run.
///
/// ```
/// use peak_core::{DeadLetters, Position, Intake, Rejection, Rule, Span};
/// use std::sync::mpsc;
///
/// let (letters, box_of_letters) = mpsc::channel();
/// let mut intake = Intake::new(Span::ALWAYS).dead_letters(DeadLetters::to(move |rejection, raw| {
///     // A closed box is no reason to stop intake.
///     let _ = letters.send((rejection.to_string(), raw.map(<[u8]>::to_vec)));
/// }));
/// let rejection = Rejection::new(Position::nowhere("queue"), Some("at"), Rule::time(), "soon");
/// assert!(intake.reject(rejection, Some(b"at=soon")).is_err());
/// assert_eq!(box_of_letters.recv()?.1, Some(b"at=soon".to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct DeadLetters(Option<Arc<Take>>);

/// Takes one bad record.
type Take = dyn Fn(&Rejection, Option<&[u8]>) + Send + Sync;

impl DeadLetters {
    /// To this function.
    pub fn to(take: impl Fn(&Rejection, Option<&[u8]>) + Send + Sync + 'static) -> Self {
        DeadLetters(Some(Arc::new(take)))
    }

    /// Whether they go nowhere, as is the default.
    #[must_use]
    pub fn is_nowhere(&self) -> bool {
        self.0.is_none()
    }

    fn send(&self, rejection: &Rejection, raw: Option<&[u8]>) {
        if let Some(take) = &self.0 {
            take(rejection, raw);
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_nowhere() { "DeadLetters(nowhere)" } else { "DeadLetters" })
    }
}

/// Counts what is read, and does with bad records what the policy says: what a source makes its
/// [`Report`] with.
///
/// ```
/// use peak_core::{BadRecords, Place, Position, Intake, Record, Rejection, Rule, Span, Timestamp};
/// use std::ops::ControlFlow;
///
/// let mut intake = Intake::new(Span::ALWAYS).on_bad_record(BadRecords::Skip(10));
/// let mut times = Vec::new();
/// for (row, cell) in (1..).zip(["0", "soon", "2000"]) {
///     let Ok(time) = Timestamp::parse(cell) else {
///         let position = Position::new("times", Place::Row(row));
///         intake.reject(Rejection::new(position, Some("at"), Rule::time(), cell), Some(cell.as_bytes()))?;
///         continue;
///     };
///     let record = Record::new(time, &[]);
///     let flow = intake.offer(&record, &mut |record| {
///         times.push(record.time.millis());
///         ControlFlow::Continue(())
///     });
///     if flow.is_break() {
///         break;
///     }
/// }
/// let report = intake.finish()?;
/// assert_eq!((times, report.records, report.skipped), (vec![0, 2000], 2, 1));
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Intake {
    span: Span,
    policy: BadRecords,
    dead_letters: DeadLetters,
    report: Report,
    part: Option<Marks>,
}

/// What must be known of a part to judge it with what was read before it.
#[derive(Debug, Clone, Default)]
struct Marks {
    /// How many records had been read with each bad one, while they were too few to be judged.
    early: Vec<u32>,
    /// The largest excess over the share with any later one.
    late: Option<i128>,
}

impl Intake {
    /// Hands on the records within the span; the first bad one ends the run unless said.
    #[must_use]
    pub fn new(span: Span) -> Self {
        Intake {
            span,
            policy: BadRecords::default(),
            dead_letters: DeadLetters::default(),
            report: Report::default(),
            part: None,
        }
    }

    /// What to do with bad records.
    #[must_use]
    pub fn on_bad_record(self, policy: BadRecords) -> Self {
        Intake { policy, ..self }
    }

    /// Where bad records go besides the report.
    #[must_use]
    pub fn dead_letters(self, dead_letters: DeadLetters) -> Self {
        Intake { dead_letters, ..self }
    }

    /// Reads a part of something, at the same time as others read theirs. Bad records are counted whatever
    /// the policy, and judged when the part is [appended](Self::append) to what was read before it.
    #[must_use]
    pub fn of_part(self) -> Self {
        Intake { part: Some(Marks::default()), ..self }
    }

    /// Counts a good record, and hands it on when it lies within the span. A break means that no more are
    /// wanted: the source is to stop, and to [finish](Self::finish).
    #[inline]
    pub fn offer(
        &mut self,
        record: &Record<'_>,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.span.contains(record.time) {
            self.report.outside += 1;
            return ControlFlow::Continue(());
        }
        self.report.records += 1;
        let flow = visit(record);
        self.report.stopped |= flow.is_break();
        flow
    }

    /// Counts a bad record, and does what the policy says. `raw` is the record as it came, where that is at
    /// hand.
    ///
    /// # Errors
    /// When the policy does not allow it.
    pub fn reject(&mut self, rejection: Rejection, raw: Option<&[u8]>) -> Result<()> {
        self.dead_letters.send(&rejection, raw);
        let (skipped, read) = (self.report.skipped + 1, self.report.read() + 1);
        let is_allowed = match (self.policy, &mut self.part) {
            (BadRecords::SkipShare(share), Some(marks)) => {
                marks.add(share, skipped, read);
                true
            }
            (_, Some(_)) => true,
            (BadRecords::Reject, None) => return Err(rejection.into()),
            (BadRecords::Skip(limit), None) => skipped <= limit,
            (BadRecords::SkipShare(share), None) => {
                read < u64::from(share.after) || share.excess(skipped, read) <= 0
            }
        };
        if !is_allowed {
            return Err(self.too_many(&rejection));
        }
        self.report.skip(rejection);
        Ok(())
    }

    /// Decodes a payload: its good records are [offered](Self::offer), its bad ones
    /// [rejected](Self::reject), with the payload as it came. A break means that no more are wanted.
    ///
    /// # Errors
    /// When the policy does not allow a bad record.
    pub fn decode(
        &mut self,
        decoder: &mut dyn Decode,
        payload: &[u8],
        at: &Position,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut failed = None;
        let flow = decoder.decode(payload, at, &mut |read| match read {
            Ok(record) => self.offer(record, visit),
            Err(rejection) => match self.reject(rejection, Some(payload)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        });
        failed.map_or(Ok(flow), Err)
    }

    /// Takes in a [part](Self::of_part) that comes next: the result is that of reading it here.
    ///
    /// # Errors
    /// When the policy does not allow its bad records.
    pub fn append(&mut self, part: Intake) -> Result<()> {
        let Intake { report: next, part: marks, .. } = part;
        if let Some(first) = next.first_skipped.first() {
            let (skipped, read) = (self.report.skipped, self.report.read());
            let marks = marks.unwrap_or_default();
            let is_allowed = match (self.policy, &mut self.part) {
                (BadRecords::SkipShare(share), Some(own)) => {
                    own.append(share, skipped, read, &marks);
                    true
                }
                (_, Some(_)) => true,
                (BadRecords::Reject, None) => return Err(first.clone().into()),
                (BadRecords::Skip(limit), None) => skipped + next.skipped <= limit,
                (BadRecords::SkipShare(share), None) => {
                    let mut all = Marks::default();
                    all.append(share, skipped, read, &marks);
                    all.late.is_none_or(|excess| excess <= 0)
                }
            };
            if !is_allowed {
                return Err(self.too_many(first));
            }
        }
        self.report.append(next);
        Ok(())
    }

    /// Whether the policy is broken by what was read here alone, whatever was read before. Only a
    /// [part](Self::of_part) can be read on then.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match self.policy {
            BadRecords::Reject => self.report.skipped > 0,
            BadRecords::Skip(limit) => self.report.skipped > limit,
            BadRecords::SkipShare(_) => false,
        }
    }

    /// What was read so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Changes the position of each bad record that the report names. What reads a part of a file counts from
    /// its beginning.
    pub fn move_positions(&mut self, change: impl FnMut(&mut Position)) {
        self.report.first_skipped.iter_mut().map(|rejection| &mut rejection.position).for_each(change);
    }

    /// What was read.
    ///
    /// # Errors
    /// When the share of bad records is larger than allowed. It is not judged when it was stopped.
    pub fn finish(self) -> Result<Report> {
        if let (BadRecords::SkipShare(share), Some(first)) = (self.policy, self.report.first_skipped.first())
            && !self.report.stopped
            && share.excess(self.report.skipped, self.report.read()) > 0
        {
            return Err(self.too_many(first));
        }
        Ok(self.report)
    }

    /// The error that names the first bad record: this one, if there was none before.
    fn too_many(&self, next: &Rejection) -> Error {
        let first = self.report.first_skipped.first().unwrap_or(next).clone();
        ErrorKind::TooManyBadRecords { policy: self.policy, first }.into()
    }
}

impl Marks {
    fn add(&mut self, share: BadShare, skipped: u64, read: u64) {
        match u32::try_from(read) {
            Ok(read) if read < share.after => self.early.push(read),
            _ => self.late = self.late.max(Some(share.excess(skipped, read))),
        }
    }

    /// Adds those of what was read next.
    fn append(&mut self, share: BadShare, skipped: u64, read: u64, next: &Marks) {
        for (number, &early) in (1..).zip(&next.early) {
            self.add(share, skipped + number, read + u64::from(early));
        }
        let late = next.late.map(|late| late + share.excess(skipped, read));
        self.late = self.late.max(late);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, Rule, Timestamp};
    use proptest::prelude::*;

    fn bad(row: u64) -> Rejection {
        let kind = if row.is_multiple_of(2) { RuleKind::Missing } else { RuleKind::Syntax };
        let position = Position::new("a.ndjson", Place::Row(row));
        Rejection::new(position, Some("host"), Rule::new(kind, "must be text"), "null")
    }

    /// Reads rows, from number `first` on: good ones are true.
    fn read(intake: &mut Intake, first: u64, rows: &[bool]) -> Result<()> {
        for (row, is_good) in (first..).zip(rows) {
            if *is_good {
                let time = Timestamp::from_millis(row as i64 % 3).unwrap();
                let record = Record::new(time, &[]);
                let _ = intake.offer(&record, &mut |_| ControlFlow::Continue(()));
            } else {
                intake.reject(bad(row), None)?;
            }
        }
        Ok(())
    }

    fn intake(policy: BadRecords) -> Intake {
        let span = Span::new(Timestamp::MIN, Timestamp::from_millis(2).unwrap()).unwrap();
        Intake::new(span).on_bad_record(policy)
    }

    fn outcome(policy: BadRecords, rows: &[bool]) -> Result<Report, String> {
        let mut intake = intake(policy);
        let read = read(&mut intake, 1, rows).and_then(|()| intake.finish());
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn bad_records_are_counted_by_kind_up_to_the_limit() {
        let report = outcome(BadRecords::Skip(7), &[false; 7]).unwrap();
        assert_eq!((report.skipped, report.first_skipped.len()), (7, Report::FIRST));
        let by_kind = BTreeMap::from([(RuleKind::Missing, 3), (RuleKind::Syntax, 4)]);
        assert_eq!(report.skipped_by_kind, by_kind);
        assert_eq!(
            outcome(BadRecords::Skip(7), &[false; 8]).unwrap_err(),
            r#"more than 7 bad records; the first: a.ndjson: row 1: field "host" must be text, got null"#
        );
        let expected = r#"a.ndjson: row 2: field "host" must be text, got null"#;
        assert_eq!(outcome(BadRecords::Reject, &[true, false]).unwrap_err(), expected);
    }

    #[test]
    fn a_share_is_judged_when_enough_was_read_and_at_the_end() {
        let policy = BadRecords::SkipShare(BadShare::new(0.25).unwrap().judged_after(8).unwrap());
        let first = r#"a.ndjson: row 1: field "host" must be text, got null"#;
        let error = format!("more than 25 % bad records; the first: {first}");
        // Too many at the beginning, but not in all.
        let mut rows = vec![false, false, false, true, true, true, true, true, true, true, true, true];
        assert_eq!(outcome(policy, &rows).unwrap().skipped, 3);
        // Too many at the end.
        assert_eq!(outcome(policy, &rows[..7]).unwrap_err(), error);
        assert_eq!(outcome(policy, &[false]).unwrap_err(), error);
        // Too many in between, whatever follows.
        rows[7] = false;
        rows.extend([true; 100]);
        assert_eq!(outcome(policy, &rows).unwrap_err(), error);
    }

    #[test]
    fn an_intake_that_is_stopped_says_so_and_its_share_is_not_judged() {
        let mut intake = intake(BadRecords::share(0.5).unwrap());
        read(&mut intake, 1, &[false, false]).unwrap();
        let record = Record::new(Timestamp::MIN, &[]);
        assert!(intake.offer(&record, &mut |_| ControlFlow::Break(())).is_break());
        let report = intake.finish().unwrap();
        assert_eq!((report.records, report.skipped, report.stopped), (1, 2, true));
        assert!(
            report
                .to_string()
                .starts_with("1 records, 0 outside the span, 2 bad ones skipped, stopped early\n")
        );
    }

    #[test]
    fn a_useless_share_is_refused_by_code_and_configuration() {
        for most in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(BadRecords::share(most).is_err(), "{most}");
        }
        assert!(BadShare::new(0.1).unwrap().judged_after(BadShare::MOST_AFTER + 1).is_err());
        for text in [r#"{"SkipShare":{"most":1.5}}"#, r#"{"SkipShare":{"most":0.5,"after":1000001}}"#] {
            assert!(serde_json::from_str::<BadRecords>(text).is_err(), "{text}");
        }
        for policy in [BadRecords::Reject, BadRecords::Skip(3), BadRecords::share(0.01).unwrap()] {
            let text = serde_json::to_string(&policy).unwrap();
            assert_eq!(serde_json::from_str::<BadRecords>(&text).unwrap(), policy, "{text}");
        }
        assert_eq!(
            serde_json::to_string(&BadRecords::share(0.01).unwrap()).unwrap(),
            r#"{"SkipShare":{"most":0.01,"after":1000}}"#
        );
    }

    #[test]
    fn dead_letters_are_all_bad_records_with_the_one_that_ends_the_run() {
        let (letters, taken) = std::sync::mpsc::channel();
        let to = DeadLetters::to(move |rejection, raw| {
            letters.send((rejection.clone(), raw.map(<[u8]>::to_vec))).unwrap();
        });
        let mut intake = intake(BadRecords::Skip(1)).dead_letters(to);
        intake.reject(bad(1), Some(b"raw")).unwrap();
        intake.reject(bad(2), None).unwrap_err();
        drop(intake);
        assert_eq!(taken.iter().collect::<Vec<_>>(), [(bad(1), Some(b"raw".to_vec())), (bad(2), None)]);
    }

    #[test]
    fn a_report_survives_being_stored() {
        let mut report = outcome(BadRecords::Skip(9), &[true, false, false, true, true]).unwrap();
        report.leave_between(1);
        assert_eq!((report.records, report.outside, report.between), (1, 1, 1));
        assert_eq!(report.read(), 5);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let stored = rmp_serde::to_vec(&report).unwrap();
        assert_eq!(rmp_serde::from_slice::<Report>(&stored).unwrap(), report);
    }

    fn policies() -> impl Strategy<Value = BadRecords> {
        let share = (0..=100u32, 0..20u32).prop_map(|(percent, after)| {
            BadShare::new(f64::from(percent) / 100.0).unwrap().judged_after(after).unwrap()
        });
        prop_oneof![
            Just(BadRecords::Reject),
            (0..9u64).prop_map(BadRecords::Skip),
            share.prop_map(BadRecords::SkipShare)
        ]
    }

    proptest! {
        #[test]
        fn parts_are_judged_as_if_they_were_read_one_after_the_other(
            rows in prop::collection::vec(prop::bool::weighted(0.8), 0..40),
            cuts in prop::collection::vec(0..40usize, 0..5),
            policy in policies(),
            nested: bool,
        ) {
            let mut cuts = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect::<Vec<_>>();
            cuts.sort_unstable();
            let (mut whole, mut inner) = (intake(policy), intake(policy).of_part());
            let mut result = Ok(());
            for cut in cuts.windows(2) {
                let mut part = intake(policy).of_part();
                read(&mut part, 1 + cut[0] as u64, &rows[cut[0]..cut[1]]).unwrap();
                prop_assert!(!part.has_failed() || outcome(policy, &rows).is_err());
                result = result.and_then(|()| if nested { inner.append(part) } else { whole.append(part) });
            }
            let result = result.and_then(|()| if nested { whole.append(inner) } else { Ok(()) });
            let result = result.and_then(|()| whole.finish()).map_err(|error| error.to_string());
            prop_assert_eq!(result, outcome(policy, &rows));
        }
    }
}
