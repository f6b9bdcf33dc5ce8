//! Points in time, half-open spans, and the splitting of spans into windows.

use crate::{Error, Result};
use chrono::{
    DateTime, Days, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
///
/// The bounds keep every sum and difference of times in range, and turn a time in the wrong unit
/// into an error instead of a window nobody looks at.
///
/// ```
/// use peak_core::Timestamp;
///
/// let time = Timestamp::parse("2020-11-01T10:00:00+02:00")?;
/// assert_eq!(time, Timestamp::from_millis(1_604_217_600_000)?);
/// assert_eq!(time.to_string(), "2020-11-01T08:00:00Z");
/// assert!(Timestamp::from_millis(-1).is_err());
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
    pub const RULE: &'static str = "must be a time from 1970 to 9999: an integer or RFC 3339";

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
        let ceiling = |t: DateTime<Utc>| {
            t.timestamp_millis() + i64::from(!t.timestamp_subsec_nanos().is_multiple_of(1_000_000))
        };
        let millis = match zone.from_local_datetime(&local) {
            MappedLocalTime::Single(t) | MappedLocalTime::Ambiguous(t, _) => ceiling(t.to_utc()),
            MappedLocalTime::None => ceiling(end_of_gap(local, zone)),
        };
        Timestamp(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    pub(crate) fn saturating_sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp((self.0.saturating_sub(millis)).max(Self::MIN.0))
    }

    fn in_range(millis: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&millis).then_some(Timestamp(millis))
    }

    fn utc(self) -> DateTime<Utc> {
        // Every value in range has a representation; the epoch stands for what cannot occur.
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// No offset from UTC exceeds it.
const DAY: TimeDelta = TimeDelta::days(1);

/// The first instant whose wall clock in `zone` is past the gap that swallowed `local`.
fn end_of_gap(local: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let shows_earlier = |t: DateTime<Utc>| t.with_timezone(&zone).naive_local() < local;
    // No gap exceeds a day either.
    let (mut before, mut after) = (local.and_utc() - DAY * 2, local.and_utc() + DAY * 2);
    while after - before > TimeDelta::milliseconds(1) {
        let middle = before + (after - before) / 2;
        if shows_earlier(middle) {
            before = middle;
        } else {
            after = middle;
        }
    }
    after
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

/// A half-open span of time: `start` belongs to it, `end` does not.
///
/// ```
/// use peak_core::{Span, Timestamp};
///
/// let at = |text| Timestamp::parse(text).unwrap();
/// let noon = Span::new(at("2020-11-01T12:00:00Z"), at("2020-11-01T13:00:00Z"))?;
/// assert!(noon.contains(at("2020-11-01T12:00:00Z")));
/// assert!(!noon.contains(at("2020-11-01T13:00:00Z")));
/// assert!(Span::new(noon.end(), noon.start()).is_err());
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

    /// The UTC days from the first date to just before the second, both as `YYYY-MM-DD`.
    ///
    /// # Errors
    /// When a date cannot be read or the first is not before the second.
    pub fn days(first: &str, end: &str) -> Result<Windows> {
        Self::local_days(first, end, Tz::UTC)
    }

    /// The days of a time zone from the first date to just before the second, both as `YYYY-MM-DD`.
    ///
    /// A day lasts from midnight to midnight on the wall clock: 23 or 25 hours when daylight saving
    /// time begins or ends. Where midnight is skipped, the day begins with its first instant.
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
    /// When a date cannot be read or the first is not before the second.
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
        self.start <= time && time < self.end
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Windows(Vec<Span>);

impl Windows {
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
    /// When the length is less than a millisecond, or so small that a million windows would not do.
    pub fn every(span: Span, length: Duration) -> Result<Self> {
        const MOST: u128 = 1_000_000;
        let step = length.as_millis();
        if step == 0 || span.duration().as_millis().div_ceil(step) > MOST {
            let rule = format!("must be at least 1 ms and cut the span into at most {MOST} windows");
            return Err(Error::invalid("window length", rule, format_args!("{length:?}")));
        }
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let starts = std::iter::successors(Some(span.start), |&Timestamp(start)| {
            start.checked_add(step).map(Timestamp).filter(|&next| next < span.end)
        });
        let end = |Timestamp(start)| Timestamp(start.saturating_add(step).min(span.end.0));
        Ok(Windows(starts.map(|start| Span { start, end: end(start) }).collect()))
    }

    /// The days of a time zone from one date to just before another; see [`Span::local_days`].
    ///
    /// # Errors
    /// When `first` is not before `end`, or a day lies outside the years 1970 to 9999.
    pub fn local_days(first: NaiveDate, end: NaiveDate, zone: Tz) -> Result<Self> {
        if first >= end {
            return Err(Error::invalid(
                "days",
                "must start before they end",
                format_args!("{first} to {end}"),
            ));
        }
        let dates = first.iter_days().take_while(|date| *date < end);
        Windows::new(dates.map(|date| Self::local_day(date, zone)).collect::<Result<_>>()?)
    }

    /// The day that a wall clock in the zone shows as `date`.
    ///
    /// # Errors
    /// When it lies outside the years 1970 to 9999, or the zone skipped the whole date.
    pub fn local_day(date: NaiveDate, zone: Tz) -> Result<Span> {
        let midnight = |date: NaiveDate| Timestamp::from_local(date.and_time(NaiveTime::MIN), zone);
        let next = date.checked_add_days(Days::new(1)).unwrap_or(date);
        Span::new(midnight(date), midnight(next))
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
        let day = Span::local_days("2018-11-04", "2018-11-05", Tz::America__Sao_Paulo).unwrap()[0];
        assert_eq!(day.start().to_string(), "2018-11-04T03:00:00Z");
        assert_eq!(day.start().local(Tz::America__Sao_Paulo).to_string(), "2018-11-04 01:00:00");
    }

    #[test]
    fn a_date_that_a_zone_skipped_is_an_error() {
        let error = Span::local_days("2011-12-30", "2011-12-31", Tz::Pacific__Apia).unwrap_err();
        assert!(error.to_string().contains("must start before it ends"), "{error}");
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
            prop_assert!(windows.find(time).is_none_or(|i| windows[i].contains(time)));
        }

        #[test]
        fn times_survive_their_text(millis in 0..=Timestamp::MAX.0) {
            let time = Timestamp(millis);
            prop_assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
            prop_assert_eq!(Timestamp::from_local(time.local(Tz::UTC), Tz::UTC), time);
        }
    }
}
