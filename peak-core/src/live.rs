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
        let Live { settings, limits, newest, closed, unobserved, report, .. } = self;
        let mut stored = serializer.serialize_struct("Live", 9)?;
        stored.serialize_field("settings", settings)?;
        stored.serialize_field("limits", limits)?;
        stored.serialize_field("schema", self.schema())?;
        stored.serialize_field("newest", newest)?;
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
        (live.newest, live.closed, live.report) = (stored.newest, stored.closed, stored.report);
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
