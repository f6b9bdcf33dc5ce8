//! The windows of a live feed that are not over yet.

use crate::{Error, Grid, Limits, LocalTable, LocalTables, Record, Result, Schema, Span, Timestamp, Windows};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// Counts records as they come, and hands out windows as they end. The loop is the program's own.
///
/// There is no clock here, no thread, no input or output: the program pushes records, says what time it
/// is, and takes the windows that are over to its [engine]:
///
/// ```
/// use peak_core::{Grid, Live, Placed, Record, Schema, Timestamp};
/// use std::time::Duration;
///
/// let schema = Schema::builder().time("at").dimensions(["host"]).build()?;
/// let minutes = |n: u64| Duration::from_secs(60 * n);
/// let mut live = Live::new(&schema, Grid::every(minutes(5))?).with_grace(minutes(2)).with_late(1);
///
/// let at = |text| Timestamp::parse(text).unwrap();
/// live.push(&Record::new(at("2020-11-01T10:03:00Z"), &["web-1"]))?;
/// live.push(&Record::new(at("2020-11-01T10:05:30Z"), &["web-1"]))?;
/// live.push(&Record::new(at("2020-11-01T10:04:59Z"), &["web-1"]))?; // out of order, within the grace
///
/// assert!(live.close(at("2020-11-01T10:06:00Z")).is_empty());
/// let over = live.close(at("2020-11-01T10:07:00Z")); // what a clock shows, say
/// assert_eq!(over[0].span().to_string(), "2020-11-01T10:00:00Z to 2020-11-01T10:05:00Z");
/// assert_eq!(over[0].finish().iter().next().unwrap().1.records, 2);
/// assert_eq!(live.push(&Record::new(at("2020-11-01T10:04:00Z"), &["web-1"]))?, Placed::Late);
/// # Ok::<(), peak_core::Error>(())
/// ```
///
/// A window is over when no record of it is awaited any more: when the newest time that was heard of,
/// of a record or of a clock, is past its end by the [grace](Self::with_grace). In which order records
/// come within the grace makes no difference to the tables, and neither does how they are divided among
/// several of these that are [merged](Self::merge).
///
/// A record that comes later is counted as late; it is kept for
/// [`Engine::amend_tables`](https://docs.rs/peak-detectors) when [told](Self::with_late) to. One whose
/// time is further ahead than is [allowed](Self::with_ahead) is kept out, since it would close windows
/// that are not over. Nothing is left out silently: [`report`](Self::report) counts every outcome.
///
/// [engine]: https://docs.rs/peak-detectors
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Live {
    settings: Settings,
    limits: Limits,
    /// The newest time that was heard of, within what is allowed.
    newest: Option<Timestamp>,
    /// The start of the first window that was handed out: what was before is not known.
    first: Option<Timestamp>,
    /// The end of the last window that was handed out.
    closed: Option<Timestamp>,
    open: LocalTables,
    late: LocalTables,
    /// When nothing was observed: in order of time, none overlapping another.
    unobserved: Vec<Span>,
    report: LiveReport,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Settings {
    grid: Grid,
    grace: Duration,
    ahead: Duration,
    late: usize,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Placed {
    /// It is counted in its window.
    Counted,
    /// Its window was handed out already. It is kept to amend it.
    Late,
    /// Its window was handed out so long ago that it is not kept.
    TooLate,
    /// It is further ahead than is allowed, and left out.
    Early,
}

/// How many records came, by what became of them. A record counts once, whatever it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LiveReport {
    /// Counted in windows that were open.
    pub counted: u64,
    /// Kept to amend windows that were handed out.
    pub late: u64,
    /// Too late for that, and left out.
    pub too_late: u64,
    /// Further ahead than is allowed, and left out.
    pub early: u64,
    /// Of another shape than the schema's, and left out.
    pub malformed: u64,
}

impl fmt::Display for LiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LiveReport { counted, late, too_late, early, malformed } = self;
        write!(
            f,
            "{counted} records counted, {late} late, {too_late} too late, {early} too early, {malformed} malformed"
        )
    }
}

impl Live {
    /// How far ahead of the newest time a record may be unless told otherwise: a day.
    pub const AHEAD: Duration = Duration::from_secs(86_400);
    /// The most windows without any record that are handed out at once. What lies further back than the
    /// newest of so many windows was not observed.
    pub const MOST_EMPTY: usize = 100_000;

    /// No window is open. Windows are over as soon as something newer is heard of.
    #[must_use]
    pub fn new(schema: &Schema, grid: Grid) -> Self {
        let tables = LocalTables::new(schema, &Windows::default());
        Live {
            settings: Settings { grid, grace: Duration::ZERO, ahead: Self::AHEAD, late: 0 },
            limits: Limits::default(),
            newest: None,
            first: None,
            closed: None,
            open: tables.clone(),
            late: tables,
            unobserved: Vec::new(),
            report: LiveReport::default(),
        }
    }

    /// Waits so long for records of a window that has ended.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Lets a record be so far ahead of the newest time that was heard of before.
    #[must_use]
    pub fn with_ahead(mut self, ahead: Duration) -> Self {
        self.settings.ahead = ahead;
        self
    }

    /// Keeps late records of so many of the newest windows that were handed out: as many as the engine
    /// keeps open. None unless told.
    #[must_use]
    pub fn with_late(mut self, windows: usize) -> Self {
        self.settings.late = windows;
        self
    }

    /// Keeps to limits: those of memory are of open windows and late records together, three quarters
    /// for the open ones.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        let part = |of_four: usize| match limits.memory() {
            Some(bytes) => limits.with_memory(bytes / 4 * of_four),
            None => limits,
        };
        self.open.set_limits(part(3));
        self.late.set_limits(part(1));
        self.limits = limits;
        self
    }

    /// Counts a record in its window, and says what became of it.
    ///
    /// # Errors
    /// When the record has not the shape of the schema. It is left out, and counted as malformed.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Placed> {
        let placed = self.place(record);
        let count = match placed {
            Ok(Placed::Counted) => &mut self.report.counted,
            Ok(Placed::Late) => &mut self.report.late,
            Ok(Placed::TooLate) => &mut self.report.too_late,
            Ok(Placed::Early) => &mut self.report.early,
            Err(_) => &mut self.report.malformed,
        };
        *count += 1;
        placed
    }

    fn place(&mut self, record: &Record<'_>) -> Result<Placed> {
        match (self.closed, self.newest) {
            (Some(closed), _) if record.time < closed => return self.place_late(record),
            // Nothing was closed yet, but if it had been, it would be long ago.
            (None, Some(newest))
                if record.time < newest.saturating_sub(self.settings.grace + self.settings.ahead) =>
            {
                self.open.schema().check(record)?;
                return Ok(Placed::TooLate);
            }
            _ => {}
        }
        if self.newest.is_some_and(|newest| record.time > newest.saturating_add(self.settings.ahead)) {
            self.open.schema().check(record)?;
            return Ok(Placed::Early);
        }
        // As a rule its window is open.
        if !self.open.add(record)? {
            self.open.open(self.settings.grid.window_of(record.time))?;
            self.open.add(record)?;
        }
        self.newest = self.newest.max(Some(record.time));
        Ok(Placed::Counted)
    }

    fn place_late(&mut self, record: &Record<'_>) -> Result<Placed> {
        self.late.schema().check(record)?;
        let window = self.settings.grid.window_of(record.time);
        if !self.is_kept(window) {
            return Ok(Placed::TooLate);
        }
        self.late.open(window)?;
        self.late.add(record)?;
        Ok(Placed::Late)
    }

    /// Whether the window is one of the newest that were handed out.
    fn is_kept(&self, window: Span) -> bool {
        let Some(closed) = self.closed else { return false };
        if self.first.is_some_and(|first| window.start() < first) {
            return false;
        }
        let mut end = closed;
        for _ in 0..self.settings.late {
            if window.end() == end {
                return true;
            }
            if window.end() > end || end == Timestamp::MIN {
                return false;
            }
            end = self.settings.grid.window_of(end.saturating_sub(Duration::from_millis(1))).start();
        }
        false
    }

    /// The windows that are over, in order of time, those without records too: silence is judged.
    ///
    /// `now` is what a clock shows, so that a feed that falls silent still ends its windows; give
    /// [`Timestamp::MIN`] to go by the records alone. It should be the clock that gives the records
    /// their times, or the grace must allow for the difference.
    pub fn close(&mut self, now: Timestamp) -> Vec<LocalTable> {
        if now > Timestamp::MIN {
            self.hear(now);
        }
        let Some(newest) = self.newest else { return Vec::new() };
        let watermark = newest.saturating_sub(self.settings.grace);
        let tables = self.open.take_before(watermark);
        // The first window is that of the first record: what was before is not known.
        let Some(first) = self.closed.or(tables.first().map(|table| table.span().start())) else {
            return Vec::new();
        };
        let mut over = Vec::new();
        let mut next = first;
        for table in tables {
            self.fill(next, table.span().start(), &mut over);
            next = table.span().end();
            over.push(table);
        }
        let end = self.settings.grid.window_of(watermark).start().max(next);
        self.fill(next, end, &mut over);
        self.closed = Some(end).filter(|_| self.closed.is_some() || !over.is_empty());
        self.first = self.first.or(over.first().map(|table| table.span().start()));
        for table in &mut over {
            self.expose(table);
        }
        self.unobserved.retain(|span| span.end() > end);
        over
    }

    /// Takes note of a clock. What is further ahead of it than is allowed was a wrong time, and came when
    /// there was none to hold it against.
    fn hear(&mut self, now: Timestamp) {
        let most = now.saturating_add(self.settings.ahead);
        if self.newest.is_some_and(|newest| newest > most) {
            self.newest = Some(now);
            for table in self.open.take_from(most) {
                let records = table.iter().map(|(_, tally)| tally.records()).sum();
                self.report.counted = self.report.counted.saturating_sub(records);
                self.report.early = self.report.early.saturating_add(records);
            }
        }
        self.newest = self.newest.max(Some(now));
    }

    /// Empty tables for the windows between two ends of windows; the newest, if they are very many.
    fn fill(&self, from: Timestamp, to: Timestamp, over: &mut Vec<LocalTable>) {
        let mut empty = Vec::new();
        let mut end = to;
        while end > from && empty.len() < Self::MOST_EMPTY {
            let window = self.settings.grid.window_of(end.saturating_sub(Duration::from_millis(1)));
            empty.push(LocalTable::new(self.open.schema().clone(), window));
            end = window.start();
        }
        over.extend(empty.into_iter().rev());
    }

    /// Sets what part of a window was observed.
    fn expose(&self, table: &mut LocalTable) {
        let window = table.span();
        let missing: u128 = self
            .unobserved
            .iter()
            .filter_map(|span| Span::new(span.start().max(window.start()), span.end().min(window.end())).ok())
            .map(|both| both.duration().as_millis())
            .sum();
        if missing > 0 {
            table.set_exposure(1.0 - missing as f64 / window.duration().as_millis() as f64);
        }
    }

    /// Says that nothing was observed in a span: the collector was down, the service was not running. A
    /// window that lies in it, or partly, is handed out with its [exposure](LocalTable::exposure), and
    /// the engine does not take it for silence. Windows that were handed out already stay as they were.
    pub fn not_observed(&mut self, span: Span) {
        self.unobserved.push(span);
        self.unobserved.sort_unstable();
        let mut joined: Vec<Span> = Vec::with_capacity(self.unobserved.len());
        for span in self.unobserved.drain(..) {
            match joined.last_mut() {
                Some(last) if span.start() <= last.end() => {
                    *last = Span::new(last.start(), last.end().max(span.end())).unwrap_or(*last);
                }
                _ => joined.push(span),
            }
        }
        self.unobserved = joined;
    }

    /// Takes in what another one has counted: one for each thread or partition, merged before windows
    /// are closed, gives the same tables as one for all records. What the other has in windows that were
    /// handed out here becomes late.
    ///
    /// # Errors
    /// When the grids or the schemas differ. Nothing is taken in then.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.settings.grid != other.settings.grid {
            let rule = format!("must be {}", self.settings.grid);
            return Err(Error::invalid("grid of a merged feed", rule, other.settings.grid));
        }
        self.open.schema().check_same(other.open.schema())?;
        self.newest = self.newest.max(other.newest);
        self.closed = self.closed.max(other.closed);
        self.first = [self.first, other.first].into_iter().flatten().min();
        let LiveReport { counted, late, too_late, early, malformed } = other.report;
        self.report.counted += counted;
        self.report.late += late;
        self.report.too_late += too_late;
        self.report.early += early;
        self.report.malformed += malformed;
        let closed = self.closed.unwrap_or(Timestamp::MIN);
        let of_self = self.open.take_before(closed);
        for table in of_self.into_iter().chain(other.open.into_tables()).chain(other.late.into_tables()) {
            if table.span().end() > closed {
                self.open.take_in(table)?;
            } else if self.is_kept(table.span()) {
                self.late.take_in(table)?;
            } else {
                self.report.too_late += table.iter().map(|(_, tally)| tally.records()).sum::<u64>();
            }
        }
        other.unobserved.into_iter().for_each(|span| self.not_observed(span));
        Ok(())
    }

    /// The late records that were kept, by window, for `Engine::amend_tables`; none are kept after that.
    #[must_use]
    pub fn take_late(&mut self) -> Vec<LocalTable> {
        self.late.take_before(Timestamp::MAX)
    }

    /// How many records came, by what became of them.
    #[must_use]
    pub fn report(&self) -> LiveReport {
        self.report
    }

    /// The newest time that was heard of, of a record or a clock.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// The fields of the feed and their roles.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        self.open.schema()
    }

    /// How time is cut.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.settings.grid
    }

    /// The windows that are open, as they stand now: to look at before they are over.
    pub fn open(&mut self) -> &[LocalTable] {
        self.open.tables()
    }

    /// The memory that open windows and late records take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.open.memory_bytes() + self.late.memory_bytes()
    }

    /// Counts what is pending, so that storing need not.
    #[doc(hidden)]
    pub fn settle(&mut self) {
        self.open.tables();
        self.late.tables();
    }

    /// Records that were counted as [`Key::other`](crate::Key::other) since it was made or restored.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.open.other() + self.late.other()
    }
}

/// What is stored of the windows of a feed: all that the next outputs depend on.
#[derive(Deserialize)]
struct Stored {
    settings: Settings,
    limits: Limits,
    schema: Schema,
    newest: Option<Timestamp>,
    first: Option<Timestamp>,
    closed: Option<Timestamp>,
    open: Vec<LocalTable>,
    late: Vec<LocalTable>,
    unobserved: Vec<Span>,
    report: LiveReport,
}

/// As `Stored`, borrowed.
impl Serialize for Live {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Some(open), Some(late)) = (self.open.settled(), self.late.settled()) else {
            let mut settled = self.clone();
            settled.settle();
            return settled.serialize(serializer);
        };
        let Live { settings, limits, newest, first, closed, unobserved, report, .. } = self;
        let mut stored = serializer.serialize_struct("Live", 10)?;
        stored.serialize_field("settings", settings)?;
        stored.serialize_field("limits", limits)?;
        stored.serialize_field("schema", self.schema())?;
        stored.serialize_field("newest", newest)?;
        stored.serialize_field("first", first)?;
        stored.serialize_field("closed", closed)?;
        stored.serialize_field("open", open)?;
        stored.serialize_field("late", late)?;
        stored.serialize_field("unobserved", unobserved)?;
        stored.serialize_field("report", report)?;
        stored.end()
    }
}

impl TryFrom<Stored> for Live {
    type Error = Error;
    fn try_from(stored: Stored) -> Result<Self> {
        let mut live = Live::new(&stored.schema, stored.settings.grid).with_limits(stored.limits);
        live.settings = stored.settings;
        (live.newest, live.first, live.closed) = (stored.newest, stored.first, stored.closed);
        live.report = stored.report;
        for (tables, stored) in [(&mut live.open, stored.open), (&mut live.late, stored.late)] {
            for table in stored {
                if !live.settings.grid.is_window(table.span()) {
                    let rule = format!("must be one of {}", live.settings.grid);
                    return Err(Error::invalid("window of a feed", rule, table.span()));
                }
                tables.take_in(table)?;
            }
        }
        stored.unobserved.into_iter().for_each(|span| live.not_observed(span));
        Ok(live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Summary, Tally};
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn second() -> Grid {
        Grid::every(Duration::from_secs(1)).unwrap()
    }

    fn schema() -> Schema {
        Schema::builder().time("t").sample("s").dimensions(["d"]).build().unwrap()
    }

    fn push(live: &mut Live, millis: i64) -> Placed {
        push_sample(live, millis, "s")
    }

    fn push_sample(live: &mut Live, millis: i64, sample: &str) -> Placed {
        live.push(&Record::new(at(millis), &["d"]).with_labels(&[Some(sample)])).unwrap()
    }

    fn starts(tables: &[LocalTable]) -> Vec<i64> {
        tables.iter().map(|table| table.span().start().millis()).collect()
    }

    fn records(tables: &[LocalTable]) -> Vec<u64> {
        let records = |table: &LocalTable| table.iter().map(|(_, tally)| tally.records()).sum();
        tables.iter().map(records).collect()
    }

    #[test]
    fn what_comes_late_from_before_the_first_window_is_too_late() {
        let mut live = Live::new(&schema(), second()).with_late(3);
        push(&mut live, 10_200);
        assert_eq!(starts(&live.close(at(11_000))), [10_000]);
        assert_eq!((push(&mut live, 10_300), push(&mut live, 9_999)), (Placed::Late, Placed::TooLate));
        assert_eq!(starts(&live.take_late()), [10_000]);
    }

    #[test]
    fn windows_are_over_when_the_grace_has_passed_by_records_or_by_a_clock() {
        let mut live = Live::new(&schema(), second()).with_grace(Duration::from_millis(500));
        assert!(live.close(Timestamp::MIN).is_empty(), "nothing was heard of");
        push(&mut live, 10_200);
        push(&mut live, 11_499);
        assert!(live.close(Timestamp::MIN).is_empty());
        push(&mut live, 11_500);
        let over = live.close(Timestamp::MIN);
        assert_eq!((starts(&over), records(&over)), (vec![10_000], vec![1]));
        // A feed that falls silent: its windows end all the same, and there is nothing in them.
        let over = live.close(at(14_600));
        assert_eq!((starts(&over), records(&over)), (vec![11_000, 12_000, 13_000], vec![2, 0, 0]));
        // A clock that is set back opens nothing again.
        assert!(live.close(at(9_000)).is_empty());
        assert_eq!(live.newest(), Some(at(14_600)));
    }

    #[test]
    fn every_record_is_counted_by_what_became_of_it() {
        let mut live = Live::new(&schema(), second()).with_ahead(Duration::from_secs(60)).with_late(2);
        assert_eq!(push(&mut live, 100_000), Placed::Counted);
        assert_eq!(push(&mut live, 160_001), Placed::Early);
        assert_eq!(push(&mut live, 39_999), Placed::TooLate, "so long before that it would have been over");
        live.close(at(103_000));
        assert_eq!(push(&mut live, 102_500), Placed::Late);
        assert_eq!(push(&mut live, 101_500), Placed::Late);
        assert_eq!(push(&mut live, 100_500), Placed::TooLate);
        assert_eq!(push(&mut live, 103_000), Placed::Counted);
        let malformed = live.push(&Record::new(at(103_000), &["d", "e"]).with_labels(&[Some("s")]));
        assert!(malformed.unwrap_err().to_string().starts_with("record: must have 1 dimensions"));
        assert!(live.push(&Record::new(at(999_999_999), &["d"])).is_err(), "early, and malformed");
        let expected = LiveReport { counted: 2, late: 2, too_late: 2, early: 1, malformed: 2 };
        assert_eq!(live.report(), expected);
        let expected = "2 records counted, 2 late, 2 too late, 1 too early, 2 malformed";
        assert_eq!(live.report().to_string(), expected);
        let late = live.take_late();
        assert_eq!((starts(&late), records(&late)), (vec![101_000, 102_000], vec![1, 1]));
        assert!(live.take_late().is_empty());
    }

    #[test]
    fn a_wrong_clock_of_the_first_record_harms_nothing_once_the_time_is_known() {
        for wrong in [0, 4_070_908_800_000] {
            let mut live = Live::new(&schema(), second());
            let now = 1_600_000_000_000;
            push(&mut live, wrong);
            live.close(at(now));
            assert_eq!(push(&mut live, now + 500), Placed::Counted, "{wrong}");
            let over = live.close(at(now + 1_000));
            assert_eq!((starts(&over), records(&over)), (vec![now], vec![1]), "{wrong}");
        }
    }

    #[test]
    fn many_windows_without_a_record_are_not_made_up() {
        let mut live = Live::new(&schema(), second()).with_ahead(Duration::from_secs(1 << 40));
        push(&mut live, 0);
        push(&mut live, 1_000_000_000_000);
        let over = live.close(Timestamp::MIN);
        assert_eq!(over.len(), Live::MOST_EMPTY + 1);
        assert_eq!(over.last().unwrap().span().end(), at(1_000_000_000_000));
    }

    #[test]
    fn what_was_not_observed_is_told_by_the_exposure() {
        let mut live = Live::new(&schema(), second());
        push(&mut live, 500);
        live.not_observed(Span::new(at(1_250), at(1_500)).unwrap());
        live.not_observed(Span::new(at(1_500), at(3_000)).unwrap());
        live.not_observed(Span::new(at(1_400), at(1_600)).unwrap());
        let exposures = |over: &[LocalTable]| over.iter().map(LocalTable::exposure).collect::<Vec<_>>();
        assert_eq!(exposures(&live.close(at(2_500))), [1.0, 0.25]);
        assert_eq!(exposures(&live.close(at(5_000))), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn open_windows_and_late_records_keep_to_one_limit() {
        let limits = Limits::default().with_memory(1 << 20);
        let mut live = Live::new(&schema(), second()).with_limits(limits).with_late(5);
        push(&mut live, 0);
        live.close(at(5_000));
        for i in 0..60_000_u64 {
            push_sample(&mut live, 5_000 + (i % 5_000) as i64, &format!("{i:040x}"));
            push_sample(&mut live, (i % 5_000) as i64, &format!("{i:040x}"));
        }
        assert!(live.memory_bytes() < 1 << 20, "{}", live.memory_bytes());
        assert_eq!(records(live.open()).iter().sum::<u64>(), 60_000);
        assert_eq!(records(&live.take_late()).iter().sum::<u64>(), 60_000);
    }

    #[test]
    fn feeds_of_other_grids_or_schemas_do_not_merge() {
        let mut live = Live::new(&schema(), second());
        let minute = Grid::every(Duration::from_secs(60)).unwrap();
        let error = live.merge(Live::new(&schema(), minute)).unwrap_err().to_string();
        assert!(error.starts_with("grid of a merged feed: must be"), "{error}");
        assert!(live.merge(Live::new(&Schema::file_types(), second())).is_err());
    }

    #[test]
    fn what_another_has_in_windows_that_are_over_is_late() {
        let [mut live, mut other] = [1, 2].map(|_| Live::new(&schema(), second()).with_late(1));
        push(&mut live, 1_500);
        push(&mut live, 2_500);
        for millis in [500, 1_500, 2_500] {
            push(&mut other, millis);
        }
        assert_eq!(starts(&live.close(at(2_000))), [1_000]);
        push(&mut live, 1_900);
        live.merge(other).unwrap();
        assert_eq!(records(live.open()), [2]);
        assert_eq!((records(&live.take_late()), live.report().too_late), (vec![2], 1));
    }

    #[test]
    fn a_stored_feed_of_windows_that_its_grid_has_not_is_refused() {
        let mut live = Live::new(&schema(), second());
        push(&mut live, 1_500);
        live.settle();
        let text = serde_json::to_string(&live).unwrap();
        let read: Live = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let damaged = text.replace("[1000,2000]", "[1000,2001]");
        assert_ne!(damaged, text);
        let error = serde_json::from_str::<Live>(&damaged).unwrap_err().to_string();
        assert!(error.starts_with("window of a feed: must be one of"), "{error}");
    }

    /// What to do with a feed.
    #[derive(Debug, Clone)]
    enum Act {
        Push(i64, u8),
        Close(i64),
        NotObserved(i64, i64),
        TakeLate,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            8 => (0..20_000i64, 0..4u8).prop_map(|(millis, sample)| Act::Push(millis, sample)),
            2 => (0..20_000i64).prop_map(Act::Close),
            1 => (0..20_000i64, 1..3_000i64).prop_map(|(start, length)| Act::NotObserved(start, length)),
            1 => Just(Act::TakeLate),
        ];
        prop::collection::vec(act, 0..60)
    }

    fn act(live: &mut Live, act: &Act) -> Vec<LocalTable> {
        match *act {
            Act::Push(millis, sample) => {
                push_sample(live, millis, &sample.to_string());
                Vec::new()
            }
            Act::Close(millis) => live.close(at(millis)),
            Act::NotObserved(start, length) => {
                live.not_observed(Span::new(at(start), at(start + length)).unwrap());
                Vec::new()
            }
            Act::TakeLate => live.take_late(),
        }
    }

    fn feed() -> Live {
        let settings = Live::new(&schema(), second()).with_grace(Duration::from_millis(700));
        settings.with_ahead(Duration::from_secs(5)).with_late(3)
    }

    proptest! {
        #[test]
        fn a_feed_that_is_stored_and_restored_goes_on_as_if_nothing_had_been(acts in acts(), at in 0..60usize) {
            let (mut live, mut restored) = (feed(), feed());
            for (i, one) in acts.iter().enumerate() {
                if i == at {
                    // Also with records that are pending.
                    restored = rmp_serde::from_slice(&rmp_serde::to_vec(&restored).unwrap()).unwrap();
                }
                prop_assert_eq!(act(&mut live, one), act(&mut restored, one));
                prop_assert_eq!(live.report(), restored.report());
            }
            prop_assert_eq!(serde_json::to_string(&live).unwrap(), serde_json::to_string(&restored).unwrap());
        }

        #[test]
        fn windows_come_in_order_without_gap_and_no_record_is_lost_or_counted_twice(acts in acts()) {
            let (mut live, mut pushed, mut counted, mut late) = (feed(), 0, 0, 0);
            let mut last: Option<Timestamp> = None;
            for one in &acts {
                pushed += u64::from(matches!(one, Act::Push(..)));
                let tables = act(&mut live, one);
                let sum: u64 = records(&tables).iter().sum();
                if matches!(one, Act::TakeLate) {
                    late += sum;
                    continue;
                }
                counted += sum;
                for table in &tables {
                    prop_assert!(last.is_none_or(|end| end == table.span().start()));
                    last = Some(table.span().end());
                }
            }
            let report = live.report();
            counted += records(live.open()).iter().sum::<u64>();
            late += records(&live.take_late()).iter().sum::<u64>();
            prop_assert_eq!(report.counted, counted);
            prop_assert_eq!(report.late, late);
            prop_assert_eq!(pushed, report.counted + report.late + report.too_late + report.early + report.malformed);
        }

        #[test]
        fn several_that_are_merged_are_one(rows in prop::collection::vec((0..20_000i64, 0..4u8, 0..3usize), 0..80)) {
            let mut whole = feed().with_ahead(Duration::from_secs(60)).with_grace(Duration::from_secs(60));
            let mut parts = [1, 2, 3].map(|_| whole.clone());
            for (millis, sample, part) in rows {
                push_sample(&mut whole, millis, &sample.to_string());
                push_sample(&mut parts[part], millis, &sample.to_string());
            }
            let mut sum = feed().with_ahead(Duration::from_secs(60)).with_grace(Duration::from_secs(60));
            parts.into_iter().for_each(|part| sum.merge(part).unwrap());
            prop_assert_eq!(sum.report(), whole.report());
            prop_assert_eq!(sum.close(at(80_500)), whole.close(at(80_500)));
            let key = Key::new(["d"]);
            let left = |live: &mut Live| live.open().iter().map(|table| table.get(&key).map(Tally::finish)).collect::<Vec<Option<Summary>>>();
            prop_assert_eq!(left(&mut sum), left(&mut whole));
        }
    }
}
