//! Points in time, half-open spans, and the splitting of spans into windows.

use crate::{Error, Grid, Result};
use chrono::{
    DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
///
/// The bounds keep every sum and difference of times in range, and turn a time in the wrong unit
/// into an error instead of a window nobody looks at. There are no operators: where a sum may leave
/// the bounds, the method's name says what comes then. What a [`Duration`] or a foreign time has
/// beyond whole milliseconds is cut off.
///
/// ```
/// use peak_core::Timestamp;
/// use std::time::{Duration, SystemTime};
///
/// let time = Timestamp::parse("2020-11-01T10:00:00+02:00")?;
/// assert_eq!(time, Timestamp::from_millis(1_604_217_600_000)?);
/// assert_eq!(time.to_string(), "2020-11-01T08:00:00Z");
/// assert!(Timestamp::from_millis(-1).is_err());
///
/// let later = time.saturating_add(Duration::from_secs(90));
/// assert_eq!(later.to_string(), "2020-11-01T08:01:30Z");
/// assert_eq!(later.saturating_since(time), Duration::from_secs(90));
/// assert_eq!(Timestamp::try_from(SystemTime::from(later))?, later);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest point in time, 1970-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(0);
    /// The latest point in time, 9999-12-31T23:59:59.999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);

    /// The rule that every time must satisfy, as it stands in error messages.
    pub const RULE: &'static str =
        "must be a time from 1970 to 9999: RFC 3339, a date, or a number (decimals only of seconds)";

    /// The point `millis` milliseconds after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// When it lies outside the years 1970 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self> {
        Self::in_range(millis).ok_or_else(|| Error::invalid("time", Self::RULE, millis))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 (`2020-11-01T10:00:00+02:00`), the same without an offset (taken as UTC, with
    /// `T` or a blank before the time of day), a bare date, or an integer of milliseconds.
    ///
    /// # Errors
    /// When the text is none of these or the time is out of range.
    pub fn parse(text: &str) -> Result<Self> {
        TimeUnit::Milliseconds.read(text).ok_or_else(|| Error::invalid("time", Self::RULE, text))
    }

    /// The wall-clock time in a time zone.
    #[must_use]
    pub fn local(self, zone: Tz) -> NaiveDateTime {
        self.utc().with_timezone(&zone).naive_local()
    }

    /// The first point in time that a wall clock in `zone` shows as `local` or later: the earlier
    /// one where clocks are set back, the end of the gap where they are set forward. `local` is
    /// rounded up to milliseconds and bounded by [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    #[must_use]
    pub fn from_local(local: NaiveDateTime, zone: Tz) -> Self {
        // Far outside the bounds a time zone has no answer.
        let local = local.clamp(Self::MIN.utc().naive_utc() - DAY, Self::MAX.utc().naive_utc() + DAY);
        let utc = local.and_utc();
        let cut = i64::from(!utc.timestamp_subsec_nanos().is_multiple_of(1_000_000));
        let wall = utc.timestamp_millis() + cut;
        let local = at_millis(wall).naive_utc();
        let millis = match zone.from_local_datetime(&local) {
            MappedLocalTime::Single(t) | MappedLocalTime::Ambiguous(t, _) => t.timestamp_millis(),
            MappedLocalTime::None => end_of_gap(wall, zone),
        };
        Timestamp(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The point so much later, unless that is after [`MAX`](Self::MAX).
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        Self::in_range(self.0.checked_add(whole_millis(duration))?)
    }

    /// The point so much earlier, unless that is before [`MIN`](Self::MIN).
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        Self::in_range(self.0 - whole_millis(duration))
    }

    /// The point so much later, or [`MAX`](Self::MAX) if that comes first.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        self.checked_add(duration).unwrap_or(Self::MAX)
    }

    /// The point so much earlier, or [`MIN`](Self::MIN) if that comes first.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        self.checked_sub(duration).unwrap_or(Self::MIN)
    }

    /// The time from an earlier point to this one; none if that is not earlier.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    fn in_range(millis: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&millis).then_some(Timestamp(millis))
    }

    fn utc(self) -> DateTime<Utc> {
        at_millis(self.0)
    }
}

/// No offset from UTC exceeds it.
const DAY: TimeDelta = TimeDelta::days(1);

/// What a date that has a day must be.
const DATE_RULE: &str = "must be dates from 1970 to 9999 that the zone did not skip";

/// The first point in time that a wall clock in the zone shows as this date or a later one.
pub(crate) fn midnight(date: NaiveDate, zone: Tz) -> Timestamp {
    Timestamp::from_local(date.and_time(NaiveTime::MIN), zone)
}

/// Times up to some days beyond the bounds have a representation; the epoch stands for what cannot
/// occur.
fn at_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::UNIX_EPOCH)
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How far the wall clock in `zone` is ahead of UTC at a point in time, all in milliseconds.
pub(crate) fn ahead_of_utc(millis: i64, zone: Tz) -> i64 {
    let offset = zone.offset_from_utc_datetime(&at_millis(millis).naive_utc()).fix();
    i64::from(offset.local_minus_utc()) * 1000
}

/// The first point in time whose wall clock in `zone` is past the gap that swallowed `wall`. Clocks are
/// set at whole seconds, so this is exact.
fn end_of_gap(wall: i64, zone: Tz) -> i64 {
    // No gap exceeds a day either.
    let around = 2 * DAY.num_milliseconds();
    first_that(wall - around, wall + around, |millis| millis + ahead_of_utc(millis, zone) >= wall)
}

/// The first of `low + 1 ..= high` that `holds`, if `low` does not, `high` does, and the change is one.
pub(crate) fn first_that(mut low: i64, mut high: i64, holds: impl Fn(i64) -> bool) -> i64 {
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

impl TryFrom<i64> for Timestamp {
    type Error = Error;
    fn try_from(millis: i64) -> Result<Self> {
        Self::from_millis(millis)
    }
}

impl From<Timestamp> for i64 {
    fn from(time: Timestamp) -> i64 {
        time.0
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = Error;
    fn try_from(time: SystemTime) -> Result<Self> {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self::from_millis(whole_millis(since)),
            Err(error) => {
                let value = format_args!("{:?} before 1970", error.duration()).to_string();
                Err(Error::invalid("time", Self::RULE, value))
            }
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> SystemTime {
        SystemTime::UNIX_EPOCH + time.saturating_since(Timestamp::MIN)
    }
}

impl TryFrom<DateTime<Utc>> for Timestamp {
    type Error = Error;
    fn try_from(time: DateTime<Utc>) -> Result<Self> {
        Self::in_range(time.timestamp_millis()).ok_or_else(|| Error::invalid("time", Self::RULE, time))
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(time: Timestamp) -> DateTime<Utc> {
        time.utc()
    }
}

/// The same as [`Timestamp::parse`].
impl FromStr for Timestamp {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// RFC 3339 in UTC, with milliseconds when there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.0 % 1000 == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.3fZ" };
        write!(f, "{}", self.utc().format(format))
    }
}

/// The unit of times that are written as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds since 1970, possibly with decimals.
    Seconds,
    /// Milliseconds since 1970.
    #[default]
    Milliseconds,
    /// Microseconds since 1970; cut to milliseconds.
    Microseconds,
    /// Nanoseconds since 1970; cut to milliseconds.
    Nanoseconds,
}

impl TimeUnit {
    /// Reads a time written as a number of this unit or as text; see [`Timestamp::parse`].
    ///
    /// Decimals are read exactly and cut to milliseconds. `None` when the text is no time, or one
    /// out of range.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Timestamp> {
        if let Some(whole) = whole_number(text) {
            return self.in_millis(whole, 0);
        }
        if text.bytes().next()?.is_ascii_digit() && !text.bytes().any(|b| matches!(b, b'-' | b':')) {
            self.read_number(text)
        } else {
            read_text(text)
        }
    }

    fn read_number(self, text: &str) -> Option<Timestamp> {
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals)) if self == TimeUnit::Seconds && !decimals.is_empty() => (whole, decimals),
            Some(_) => return None,
            None => (text, ""),
        };
        if !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let place = |i: usize| decimals.as_bytes().get(i).map_or(0, |digit| i64::from(digit - b'0'));
        self.in_millis(whole.parse().ok()?, 100 * place(0) + 10 * place(1) + place(2))
    }

    /// The time after so many units, and so many milliseconds if the unit is seconds.
    fn in_millis(self, whole: i64, millis: i64) -> Option<Timestamp> {
        Timestamp::in_range(match self {
            TimeUnit::Seconds => whole.checked_mul(1000)?.checked_add(millis)?,
            TimeUnit::Milliseconds => whole,
            TimeUnit::Microseconds => whole / 1000,
            TimeUnit::Nanoseconds => whole / 1_000_000,
        })
    }
}

/// The usual case, in one pass: digits only, and so few that they cannot overflow.
fn whole_number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    text.bytes().try_fold(0, |whole, byte| Some(10 * whole + digit(byte)?))
}

fn read_text(text: &str) -> Option<Timestamp> {
    let utc = |naive: NaiveDateTime| naive.and_utc().timestamp_millis();
    let millis = DateTime::parse_from_rfc3339(text)
        .map(|t| t.timestamp_millis())
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(utc))
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").map(utc))
        .or_else(|_| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| utc(date.and_time(NaiveTime::MIN)))
        })
        .ok()?;
    Timestamp::in_range(millis)
}

/// A half-open span of time: `start` belongs to it, `end` does not, unless it is the end of time,
/// [`Timestamp::MAX`], which would belong to no span otherwise.
///
/// ```
/// use peak_core::{Span, Timestamp};
///
/// let at = |text| Timestamp::parse(text).unwrap();
/// let noon = Span::new(at("2020-11-01T12:00:00Z"), at("2020-11-01T13:00:00Z"))?;
/// assert!(noon.contains(at("2020-11-01T12:00:00Z")));
/// assert!(!noon.contains(at("2020-11-01T13:00:00Z")));
/// assert!(Span::new(noon.end(), noon.start()).is_err());
/// assert_eq!(noon.to_string().parse::<Span>()?, noon);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Timestamp, Timestamp)", into = "(Timestamp, Timestamp)")]
pub struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl Span {
    /// All of time.
    pub const ALWAYS: Span = Span { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The span from `start` to just before `end`.
    ///
    /// # Errors
    /// When `start` is not before `end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self> {
        if start < end {
            Ok(Span { start, end })
        } else {
            Err(Error::invalid("span", "must start before it ends", format_args!("{start} to {end}")))
        }
    }

    /// The span of this length from `start` on.
    ///
    /// ```
    /// use peak_core::{Span, Timestamp};
    /// use std::time::Duration;
    ///
    /// let minute = Span::starting(Timestamp::parse("2020-11-01")?, Duration::from_secs(60))?;
    /// assert_eq!(minute.to_string(), "2020-11-01T00:00:00Z to 2020-11-01T00:01:00Z");
    /// # Ok::<(), peak_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the length is less than a millisecond, or the span ends after [`Timestamp::MAX`].
    pub fn starting(start: Timestamp, length: Duration) -> Result<Self> {
        let end = start.checked_add(length).filter(|&end| start < end);
        end.map(|end| Span { start, end }).ok_or_else(|| {
            let rule = "must last at least 1 ms and end by the year 9999";
            Error::invalid("span", rule, format_args!("{length:?} from {start}"))
        })
    }

    /// The UTC days from the first date to just before the second, both as `YYYY-MM-DD`.
    ///
    /// # Errors
    /// When a date cannot be read; otherwise as in [`Windows::local_days`].
    pub fn days(first: &str, end: &str) -> Result<Windows> {
        Self::local_days(first, end, Tz::UTC)
    }

    /// The days of a time zone from the first date to just before the second, both as `YYYY-MM-DD`.
    ///
    /// A day lasts from midnight to midnight on the wall clock: 23 or 25 hours when daylight saving
    /// time begins or ends. Where midnight is skipped, the day begins with its first instant; where it
    /// comes twice, with the first. A date that the zone skipped as a whole has no day.
    ///
    /// ```
    /// use peak_core::{Span, Tz};
    ///
    /// let days = Span::local_days("2020-10-31", "2020-11-03", Tz::America__New_York)?;
    /// let hours: Vec<_> = days.iter().map(|day| day.duration().as_secs() / 3600).collect();
    /// assert_eq!(hours, [24, 25, 24]);
    /// # Ok::<(), peak_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a date cannot be read; otherwise as in [`Windows::local_days`].
    pub fn local_days(first: &str, end: &str, zone: Tz) -> Result<Windows> {
        let date = |field: &str, text: &str| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map_err(|_| Error::invalid(field, "must be a date YYYY-MM-DD", text))
        };
        Windows::local_days(date("first day", first)?, date("end day", end)?, zone)
    }

    /// The first point in time of the span.
    #[must_use]
    pub fn start(self) -> Timestamp {
        self.start
    }

    /// The first point in time after the span.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.end
    }

    /// How long the span lasts.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(self.end.0.abs_diff(self.start.0))
    }

    /// Whether the point in time lies in the span.
    #[must_use]
    pub fn contains(self, time: Timestamp) -> bool {
        self.start <= time && (time < self.end || self.end == Timestamp::MAX)
    }

    /// Whether the two spans share a point in time.
    #[must_use]
    pub fn overlaps(self, other: Span) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl TryFrom<(Timestamp, Timestamp)> for Span {
    type Error = Error;
    fn try_from((start, end): (Timestamp, Timestamp)) -> Result<Self> {
        Span::new(start, end)
    }
}

impl From<Span> for (Timestamp, Timestamp) {
    fn from(span: Span) -> Self {
        (span.start, span.end)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.start, self.end)
    }
}

/// Two times as [`Timestamp::parse`] reads them, with ` to ` between them.
impl FromStr for Span {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(" to ") {
            Some((start, end)) => Span::new(start.parse()?, end.parse()?),
            None => Err(Error::invalid("span", r#"must be two times with " to " between them"#, text)),
        }
    }
}

/// The span between two points, as far as time goes. `start` lies before the end of time, and `end`
/// after its beginning and after `start`.
pub(crate) fn bounded(start: i64, end: i64) -> Span {
    Span { start: Timestamp(start.max(Timestamp::MIN.0)), end: Timestamp(end.min(Timestamp::MAX.0)) }
}

/// Windows: spans in order of time, none overlapping another. Gaps between them are allowed.
///
/// It reads like a slice of [`Span`]s:
///
/// ```
/// use peak_core::Span;
///
/// let days = Span::days("2020-11-01", "2020-11-05")?;
/// assert_eq!(days.len(), 4);
/// for day in &days {
///     assert_eq!(day.duration().as_secs(), 86_400);
/// }
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Span>")]
pub struct Windows(Vec<Span>);

impl Windows {
    /// The most windows that a span is cut into.
    pub const MOST: usize = 1_000_000;

    /// These spans as windows.
    ///
    /// # Errors
    /// When they are not in order of time, or overlap.
    pub fn new(spans: Vec<Span>) -> Result<Self> {
        match spans.windows(2).find(|pair| pair[0].end > pair[1].start) {
            None => Ok(Windows(spans)),
            Some(pair) => {
                let value = format_args!("{} before {}", pair[0], pair[1]).to_string();
                Err(Error::invalid("windows", "must be in order of time and not overlap", value))
            }
        }
    }

    /// The span cut into windows of equal length from its start on; the last may be shorter.
    ///
    /// # Errors
    /// When the length is less than a millisecond, or so small that [`MOST`](Self::MOST) windows would
    /// not do.
    pub fn every(span: Span, length: Duration) -> Result<Self> {
        let step = whole_millis(length);
        if step == 0 || (span.end.0 - span.start.0 - 1) / step >= Self::MOST as i64 {
            let rule = format!("must be at least 1 ms and cut the span into at most {} windows", Self::MOST);
            return Err(Error::invalid("window length", rule, format_args!("{length:?}")));
        }
        let starts = std::iter::successors(Some(span.start), |&Timestamp(start)| {
            start.checked_add(step).map(Timestamp).filter(|&next| next < span.end)
        });
        let end = |Timestamp(start)| Timestamp(start.saturating_add(step).min(span.end.0));
        Ok(Windows(starts.map(|start| Span { start, end: end(start) }).collect()))
    }

    /// The days of a time zone from one date to just before another; see [`Span::local_days`]. Dates
    /// that the zone skipped are left out.
    ///
    /// # Errors
    /// When `first` is not before `end`, a day lies outside the years 1970 to 9999, or the zone skipped
    /// all of them.
    pub fn local_days(first: NaiveDate, end: NaiveDate, zone: Tz) -> Result<Self> {
        if first >= end {
            return Err(Error::invalid(
                "days",
                "must start before they end",
                format_args!("{first} to {end}"),
            ));
        }
        let (second, last) = (first.succ_opt().unwrap_or(end), end.pred_opt().unwrap_or(first));
        if midnight(second, zone) == Timestamp::MIN || midnight(last, zone) == Timestamp::MAX {
            return Err(Error::invalid("days", DATE_RULE, format_args!("{first} to {end} in {zone}")));
        }
        let dates = first.iter_days().take_while(|date| *date <= end);
        let mut starts: Vec<Timestamp> = dates.map(|date| midnight(date, zone)).collect();
        starts.dedup();
        if starts.len() == 1 {
            return Err(Error::invalid("days", DATE_RULE, format_args!("{first} to {end} in {zone}")));
        }
        Ok(Windows(starts.windows(2).map(|pair| Span { start: pair[0], end: pair[1] }).collect()))
    }

    /// The day that a wall clock in the zone shows as `date`.
    ///
    /// # Errors
    /// When it lies outside the years 1970 to 9999, or the zone skipped the whole date.
    pub fn local_day(date: NaiveDate, zone: Tz) -> Result<Span> {
        let next = date.succ_opt().unwrap_or(date);
        let (start, end) = (midnight(date, zone), midnight(next, zone));
        if start < end {
            Ok(Span { start, end })
        } else {
            Err(Error::invalid("day", DATE_RULE, format_args!("{date} in {zone}")))
        }
    }

    /// The hours of a wall clock in the zone, from one date to just before another; see
    /// [`Grid::hours`].
    ///
    /// # Errors
    /// As in [`local_days`](Self::local_days), or when there are more than [`MOST`](Self::MOST) hours.
    pub fn local_hours(first: NaiveDate, end: NaiveDate, zone: Tz) -> Result<Self> {
        match Self::local_days(first, end, zone)?.hull() {
            Some(days) => Grid::hours(zone).windows(days),
            None => Ok(Windows::default()),
        }
    }

    /// The window that holds this point in time.
    #[must_use]
    pub fn window_of(&self, time: Timestamp) -> Option<Span> {
        self.find(time).map(|index| self.0[index])
    }

    /// The window that holds this point in time, as an index.
    #[must_use]
    pub fn find(&self, time: Timestamp) -> Option<usize> {
        let after = self.0.partition_point(|span| span.start <= time);
        let index = after.checked_sub(1)?;
        self.0[index].contains(time).then_some(index)
    }

    /// Adds a window at its place, and says which.
    pub(crate) fn insert(&mut self, span: Span) -> Result<usize> {
        let at = self.0.partition_point(|known| known.start < span.start);
        let overlaps = |at: usize| self.0.get(at).filter(|known| known.overlaps(span));
        if let Some(known) = at.checked_sub(1).and_then(overlaps).or_else(|| overlaps(at)) {
            return Err(Error::invalid("window", format!("must not overlap {known}"), span));
        }
        self.0.insert(at, span);
        Ok(at)
    }

    /// Removes the windows that begin then or later, and says how many are left.
    pub(crate) fn remove_from(&mut self, time: Timestamp) -> usize {
        self.0.truncate(self.0.partition_point(|span| span.start < time));
        self.0.len()
    }

    /// Removes the windows that end by then, and says how many they were.
    pub(crate) fn remove_before(&mut self, time: Timestamp) -> usize {
        let windows = self.0.partition_point(|span| span.end <= time);
        self.0.drain(..windows);
        windows
    }

    /// From the start of the first window to the end of the last.
    #[must_use]
    pub fn hull(&self) -> Option<Span> {
        Some(Span { start: self.0.first()?.start, end: self.0.last()?.end })
    }
}

impl TryFrom<Vec<Span>> for Windows {
    type Error = Error;
    fn try_from(spans: Vec<Span>) -> Result<Self> {
        Windows::new(spans)
    }
}

impl From<Span> for Windows {
    fn from(span: Span) -> Self {
        Windows(vec![span])
    }
}

impl std::ops::Deref for Windows {
    type Target = [Span];
    fn deref(&self) -> &[Span] {
        &self.0
    }
}

impl IntoIterator for Windows {
    type Item = Span;
    type IntoIter = std::vec::IntoIter<Span>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Windows {
    type Item = Span;
    type IntoIter = std::iter::Copied<std::slice::Iter<'a, Span>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn times_are_read_in_every_documented_form() {
        let expected = at("1630479598000");
        for text in [
            "2021-09-01T06:59:58Z",
            "2021-09-01T08:59:58+02:00",
            "2021-09-01T06:59:58",
            "2021-09-01 06:59:58",
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
        assert_eq!(at("2021-09-01"), at("2021-09-01T00:00:00Z"));
        assert_eq!(TimeUnit::Seconds.read("1630479598.1239"), Some(at("1630479598123")));
        assert_eq!(TimeUnit::Seconds.read("1630479598"), Some(expected));
        assert_eq!(TimeUnit::Microseconds.read("1630479598000999"), Some(expected));
        assert_eq!(TimeUnit::Nanoseconds.read("1630479598000999999"), Some(expected));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            " ",
            "-1",
            "NaN",
            "1e12",
            "1.5",
            "12 ",
            "99999999999999999999",
            "253402300800000",
            "2021-13-01",
            "yesterday",
            "1.",
            "٣",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
        assert_eq!(TimeUnit::Seconds.read("1."), None);
        assert_eq!(TimeUnit::Seconds.read("9223372036854775807"), None);
        assert!(Timestamp::parse("10000-01-01T00:00:00Z").is_err());
        assert!(Timestamp::parse("1969-12-31T23:59:59Z").is_err());
    }

    #[test]
    fn a_local_day_has_the_hours_of_its_wall_clock() {
        let hours = |first, end, zone| {
            let days = Span::local_days(first, end, zone).unwrap();
            days.iter().map(|day| day.duration().as_secs_f64() / 3600.0).collect::<Vec<_>>()
        };
        assert_eq!(hours("2021-03-13", "2021-03-16", Tz::America__New_York), [24.0, 23.0, 24.0]);
        assert_eq!(hours("2021-11-06", "2021-11-09", Tz::America__New_York), [24.0, 25.0, 24.0]);
        // São Paulo skipped midnight itself; Lord Howe shifts by half an hour.
        assert_eq!(hours("2018-11-03", "2018-11-06", Tz::America__Sao_Paulo), [24.0, 23.0, 24.0]);
        assert_eq!(hours("2021-04-03", "2021-04-06", Tz::Australia__Lord_Howe), [24.0, 24.5, 24.0]);
    }

    #[test]
    fn a_skipped_midnight_starts_the_day_at_its_first_instant() {
        for (date, zone, start) in [
            ("2018-11-04", Tz::America__Sao_Paulo, "2018-11-04T03:00:00Z"),
            ("2025-04-25", Tz::Africa__Cairo, "2025-04-24T22:00:00Z"),
            ("2025-09-07", Tz::America__Santiago, "2025-09-07T04:00:00Z"),
        ] {
            let day = Windows::local_day(date.parse().unwrap(), zone).unwrap();
            assert_eq!(day.start().to_string(), start);
            assert_eq!(day.start().local(zone).to_string(), format!("{date} 01:00:00"));
        }
    }

    #[test]
    fn a_date_that_a_zone_skipped_has_no_day() {
        let days = |first, end| Span::local_days(first, end, Tz::Pacific__Apia);
        let error = days("2011-12-30", "2011-12-31").unwrap_err().to_string();
        let rule = "must be dates from 1970 to 9999 that the zone did not skip";
        assert_eq!(error, format!(r#"days: {rule}, got "2011-12-30 to 2011-12-31 in Pacific/Apia""#));
        let date = NaiveDate::from_ymd_opt(2011, 12, 30).unwrap();
        let error = Windows::local_day(date, Tz::Pacific__Apia).unwrap_err().to_string();
        assert_eq!(error, format!(r#"day: {rule}, got "2011-12-30 in Pacific/Apia""#));
        let around = days("2011-12-29", "2012-01-01").unwrap();
        let shown: Vec<_> =
            around.iter().map(|day| day.start().local(Tz::Pacific__Apia).to_string()).collect();
        assert_eq!(shown, ["2011-12-29 00:00:00", "2011-12-31 00:00:00"]);
        assert_eq!(around[0].end(), around[1].start());
    }

    #[test]
    fn days_outside_of_time_are_refused() {
        for (first, end) in
            [("1969-12-31", "1970-01-02"), ("9999-12-31", "+10000-01-02"), ("1600-01-01", "1700-01-01")]
        {
            let error = Span::days(first, end).unwrap_err().to_string();
            assert!(error.starts_with("days: must be dates from 1970 to 9999"), "{error}");
        }
        assert_eq!(Span::days("9999-12-31", "+10000-01-01").unwrap()[0].end(), Timestamp::MAX);
        let first = Span::local_days("1969-12-31", "1970-01-01", Tz::America__New_York).unwrap();
        assert_eq!(first[0].to_string(), "1970-01-01T00:00:00Z to 1970-01-01T05:00:00Z");
    }

    #[test]
    fn sums_of_times_end_at_the_bounds() {
        let (second, noon) = (Duration::from_secs(1), at("2020-11-01T12:00:00Z"));
        assert_eq!(noon.checked_add(second), Some(at("2020-11-01T12:00:01Z")));
        assert_eq!(noon.checked_sub(second), Some(at("2020-11-01T11:59:59Z")));
        assert_eq!(noon.saturating_add(Duration::from_micros(1_999)), at("2020-11-01T12:00:00.001Z"));
        for length in [second, Duration::MAX] {
            assert_eq!(
                (Timestamp::MAX.checked_add(length), Timestamp::MIN.checked_sub(length)),
                (None, None)
            );
            assert_eq!(Timestamp::MAX.saturating_add(length), Timestamp::MAX);
            assert_eq!(Timestamp::MIN.saturating_sub(length), Timestamp::MIN);
        }
        assert_eq!(noon.saturating_since(noon.saturating_sub(second)), second);
        assert_eq!(noon.saturating_since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn foreign_times_are_cut_to_milliseconds_and_checked() {
        let since = |nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
        assert_eq!(Timestamp::try_from(since(1_999_999)).unwrap(), Timestamp(1));
        let error = Timestamp::try_from(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)).unwrap_err();
        assert!(error.to_string().ends_with(r#"got "1ns before 1970""#), "{error}");
        let utc = |nanos| DateTime::from_timestamp_nanos(nanos);
        assert_eq!(Timestamp::try_from(utc(1_999_999)).unwrap(), Timestamp(1));
        assert!(Timestamp::try_from(utc(-1)).is_err());
        assert!(Timestamp::try_from(DateTime::<Utc>::MAX_UTC).is_err());
        assert_eq!(DateTime::from(Timestamp::MAX).timestamp_millis(), Timestamp::MAX.0);
    }

    #[test]
    fn the_end_of_time_belongs_to_the_spans_that_end_there() {
        assert!(Span::ALWAYS.contains(Timestamp::MAX));
        let days = Span::days("9999-12-30", "+10000-01-01").unwrap();
        assert_eq!(days.find(Timestamp::MAX), Some(1));
        assert!(!days[0].contains(days[1].start()));
    }

    #[test]
    fn stored_windows_are_checked() {
        let days = Span::days("2021-09-01", "2021-09-04").unwrap();
        let text = serde_json::to_string(&days).unwrap();
        assert_eq!(serde_json::from_str::<Windows>(&text).unwrap(), days);
        for text in ["[[0,2],[1,3]]", "[[1,2],[0,1]]", "[[1,1]]", "[[-1,1]]"] {
            assert!(serde_json::from_str::<Windows>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn local_times_between_milliseconds_round_up() {
        let local = at("2021-09-02T10:00:00Z").local(Tz::UTC) + TimeDelta::microseconds(123_456);
        assert_eq!(Timestamp::from_local(local, Tz::UTC).to_string(), "2021-09-02T10:00:00.124Z");
        assert_eq!(Timestamp::from_local(NaiveDateTime::MIN, Tz::Asia__Tokyo), Timestamp::MIN);
        assert_eq!(Timestamp::from_local(NaiveDateTime::MAX, Tz::America__New_York), Timestamp::MAX);
    }

    #[test]
    fn wrong_spans_say_what_is_wrong() {
        let error = Span::new(at("2021-01-02"), at("2021-01-01")).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"span: must start before it ends, got "2021-01-02T00:00:00Z to 2021-01-01T00:00:00Z""#
        );
        let error = Span::days("2021-01-02", "2021-01-02").unwrap_err().to_string();
        assert_eq!(error, r#"days: must start before they end, got "2021-01-02 to 2021-01-02""#);
        assert!(Span::days("2021-1x-02", "2021-01-03").unwrap_err().to_string().contains("YYYY-MM-DD"));
        let error = "2021-01-02".parse::<Span>().unwrap_err().to_string();
        assert_eq!(error, r#"span: must be two times with " to " between them, got "2021-01-02""#);
        for (start, length) in [(Timestamp::MIN, Duration::from_micros(999)), (Timestamp::MAX, Duration::MAX)]
        {
            assert!(Span::starting(start, length).is_err(), "{length:?} from {start}");
        }
        assert!(Windows::every(Span::ALWAYS, Duration::from_secs(1)).is_err());
        assert!(Windows::every(Span::ALWAYS, Duration::ZERO).is_err());
    }

    proptest! {
        #[test]
        fn equal_windows_tile_their_span(start in 0..10_000i64, length in 1..10_000i64, step in 1..5_000u64, probe in 0..20_000i64) {
            let span = Span::new(Timestamp(start), Timestamp(start + length)).unwrap();
            let windows = Windows::every(span, Duration::from_millis(step)).unwrap();
            prop_assert_eq!(windows.hull(), Some(span));
            prop_assert!(windows.windows(2).all(|pair| pair[0].end() == pair[1].start()));
            prop_assert_eq!(Windows::new(windows.to_vec()).unwrap(), windows.clone());
            let time = Timestamp(probe);
            prop_assert_eq!(windows.find(time).is_some(), span.contains(time));
            prop_assert_eq!(windows.window_of(time), windows.find(time).map(|i| windows[i]));
            prop_assert!(windows.find(time).is_none_or(|i| windows[i].contains(time)));
        }

        #[test]
        fn times_survive_their_text(millis in 0..=Timestamp::MAX.0) {
            let time = Timestamp(millis);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
            prop_assert_eq!(Timestamp::try_from(SystemTime::from(time)).unwrap(), time);
            prop_assert_eq!(Timestamp::try_from(DateTime::from(time)).unwrap(), time);
            let span = bounded(millis - 1, millis + 1);
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
            prop_assert_eq!(Timestamp::from_local(time.local(Tz::UTC), Tz::UTC), time);
        }
    }
}
