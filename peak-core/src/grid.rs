//! How time is cut into windows, without an end.

use crate::time::{ahead_of_utc, bounded, first_that, midnight};
use crate::{Error, Result, Span, Timestamp, Tz, Windows};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How time is cut into windows: every point in time lies in one of them, and each begins where the
/// one before it ends. The first begins with [`Timestamp::MIN`], the last ends with
/// [`Timestamp::MAX`].
///
/// ```
/// use peak_core::{Grid, Timestamp, Tz};
/// use std::time::Duration;
///
/// let at = |text| Timestamp::parse(text).unwrap();
/// let minutes = Grid::every(Duration::from_secs(300))?;
/// let window = minutes.window_of(at("2020-11-01T10:07:30Z"));
/// assert_eq!(window.to_string(), "2020-11-01T10:05:00Z to 2020-11-01T10:10:00Z");
/// assert_eq!(minutes.next(window), Some(minutes.window_of(window.end())));
///
/// let hours = Grid::hours(Tz::Asia__Kolkata).window_of(at("2020-11-01T10:07:30Z"));
/// assert_eq!(hours.start(), at("2020-11-01T09:30:00Z"));
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "GridKind", into = "GridKind")]
pub struct Grid(GridKind);

/// The kinds of [`Grid`], as they stand in configurations: `{"every_ms": 300000}`,
/// `{"hours": "Asia/Kolkata"}`, `{"days": "UTC"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GridKind {
    /// Windows of equal length; see [`Grid::every`].
    #[serde(rename = "every_ms", with = "millis")]
    Every(Duration),
    /// The hours of a wall clock; see [`Grid::hours`].
    Hours(Tz),
    /// The days of a wall clock; see [`Grid::days`].
    Days(Tz),
}

const HOUR: i64 = 3_600_000;

impl Grid {
    /// Windows of this length, counted from 1970-01-01T00:00:00Z on.
    ///
    /// # Errors
    /// When the length is not a whole number of milliseconds, at least one and at most all of time.
    pub fn every(length: Duration) -> Result<Self> {
        let is_whole = length.subsec_nanos().is_multiple_of(1_000_000);
        if is_whole && !length.is_zero() && length <= Span::ALWAYS.duration() {
            Ok(Grid(GridKind::Every(length)))
        } else {
            let rule = "must be whole milliseconds, at least one and at most all of time";
            Err(Error::invalid("window length", rule, format_args!("{length:?}")))
        }
    }

    /// The hours of a wall clock in the zone: a window begins with each full hour that the clock shows,
    /// and whenever the clock is set.
    ///
    /// So no window is longer than an hour. An hour that the clock shows twice is two windows; one
    /// that is cut by a change, which is so in few zones, is a shorter window. In a zone that is ahead
    /// of UTC by half hours, they begin at half hours of UTC.
    #[must_use]
    pub fn hours(zone: Tz) -> Self {
        Grid(GridKind::Hours(zone))
    }

    /// The days of a wall clock in the zone; see [`Span::local_days`].
    #[must_use]
    pub fn days(zone: Tz) -> Self {
        Grid(GridKind::Days(zone))
    }

    /// How time is cut.
    #[must_use]
    pub fn kind(self) -> GridKind {
        self.0
    }

    /// The window that holds a point in time.
    #[must_use]
    pub fn window_of(self, time: Timestamp) -> Span {
        // The end of time begins no window.
        let time = time.min(Timestamp::MAX.saturating_sub(Duration::from_millis(1)));
        match self.0 {
            GridKind::Every(length) => {
                // It is at most all of time.
                let length = length.as_millis() as i64;
                let start = time.millis() / length * length;
                bounded(start, start + length)
            }
            GridKind::Hours(zone) => hour_of(time.millis(), zone),
            GridKind::Days(zone) => day_of(time, zone),
        }
    }

    /// The window that begins where this one ends; none at the end of time. For a span that is no
    /// window, the window that holds its end.
    #[must_use]
    pub fn next(self, window: Span) -> Option<Span> {
        (window.end() < Timestamp::MAX).then(|| self.window_of(window.end()))
    }

    /// Whether the span is one of the windows.
    #[must_use]
    pub fn is_window(self, span: Span) -> bool {
        self.window_of(span.start()) == span
    }

    /// All windows that overlap a span, each as a whole.
    ///
    /// # Errors
    /// When there are more than [`Windows::MOST`].
    pub fn windows(self, span: Span) -> Result<Windows> {
        let first = self.window_of(span.start());
        let all = std::iter::successors(Some(first), |&window| self.next(window));
        let windows: Vec<Span> =
            all.take_while(|window| window.overlaps(span)).take(Windows::MOST + 1).collect();
        if windows.len() > Windows::MOST {
            let rule = format!("must not be cut into more than {} windows", Windows::MOST);
            return Err(Error::invalid("span", rule, format_args!("{span}, cut into {self}")));
        }
        Windows::new(windows)
    }
}

/// The hour of a wall clock that holds a point in time. No clock is set twice within an hour.
fn hour_of(time: i64, zone: Tz) -> Span {
    let ahead = ahead_of_utc(time, zone);
    let start = time - (time + ahead).rem_euclid(HOUR);
    let is_set = |millis: i64| ahead_of_utc(millis, zone) != ahead;
    let begin = if is_set(start) { first_that(start, time, |millis| !is_set(millis)) } else { start };
    let last = start + HOUR - 1;
    bounded(begin, if is_set(last) { first_that(time, last, is_set) } else { start + HOUR })
}

/// The day of a wall clock that holds a point in time. As a rule it is the day of the date that the
/// clock shows; where the clock is set back over midnight, the day of the next date has begun already.
fn day_of(time: Timestamp, zone: Tz) -> Span {
    let mut date = time.local(zone).date();
    loop {
        let next = date.succ_opt().unwrap_or(date);
        let (start, end) = (midnight(date, zone), midnight(next, zone));
        if time < end || date == next {
            return bounded(start.millis(), end.millis());
        }
        date = next;
    }
}

/// As in `every 300s`, `hours of Asia/Kolkata`, `days of UTC`.
impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GridKind::Every(length) => write!(f, "every {length:?}"),
            GridKind::Hours(zone) => write!(f, "hours of {zone}"),
            GridKind::Days(zone) => write!(f, "days of {zone}"),
        }
    }
}

impl TryFrom<GridKind> for Grid {
    type Error = Error;
    fn try_from(kind: GridKind) -> Result<Self> {
        match kind {
            GridKind::Every(length) => Grid::every(length),
            GridKind::Hours(_) | GridKind::Days(_) => Ok(Grid(kind)),
        }
    }
}

impl From<Grid> for GridKind {
    fn from(grid: Grid) -> GridKind {
        grid.0
    }
}

/// A length as a number of milliseconds.
mod millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        // A grid's length is at most all of time.
        u64::try_from(length.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{NaiveDate, NaiveTime, TimeDelta, Timelike};
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    const DAY: i64 = 24 * HOUR;
    const MILLI: Duration = Duration::from_millis(1);

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn point(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    /// When the clocks of each zone are set, from 1970 to 2039. They are left alone for a week at least.
    /// Of zones with the same clocks there is one.
    static CHANGES: LazyLock<Vec<(Tz, Vec<i64>)>> = LazyLock::new(|| {
        let end = at("2040-01-01").millis();
        let mut clocks = BTreeSet::new();
        let changes = |zone: Tz| {
            let times = (0..end / (5 * DAY)).map(|i| 5 * DAY * i);
            let ahead: Vec<(i64, i64)> = times.map(|time| (time, ahead_of_utc(time, zone))).collect();
            let pairs = ahead.windows(2).filter(|pair| pair[0].1 != pair[1].1);
            let change = |pair: &[(i64, i64)]| {
                first_that(pair[0].0, pair[1].0, |time| ahead_of_utc(time, zone) == pair[1].1)
            };
            let changes: Vec<i64> = pairs.map(change).collect();
            clocks.insert((changes.clone(), ahead)).then_some((zone, changes))
        };
        TZ_VARIANTS.into_iter().filter_map(changes).collect()
    });

    /// The first point in time that shows this date's midnight or later, from the changes alone: between
    /// two of them the clock runs on.
    fn first_instant(date: NaiveDate, zone: Tz, changes: &[i64]) -> i64 {
        let wall = date.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let from = changes.partition_point(|&change| change < wall - 3 * DAY);
        let mut begin = wall - 3 * DAY;
        for &end in &changes[from..] {
            let first = begin.max(wall - ahead_of_utc(begin, zone));
            if first < end {
                return first;
            }
            begin = end;
        }
        begin.max(wall - ahead_of_utc(begin, zone))
    }

    #[test]
    fn every_local_day_begins_with_its_first_instant() {
        let mut skipped = Vec::new();
        for (zone, changes) in &*CHANGES {
            for &change in changes {
                let shown = point(change).local(*zone).date();
                for date in (-2..=2).map(|days| shown + TimeDelta::days(days)) {
                    let [first, end] =
                        [date, date + TimeDelta::days(1)].map(|date| first_instant(date, *zone, changes));
                    let Ok(day) = Windows::local_day(date, *zone) else {
                        assert_eq!(first, end, "{date} in {zone}");
                        skipped.push(format!("{date} in {zone}"));
                        continue;
                    };
                    assert_eq!(day, bounded(first, end), "{date} in {zone}");
                    assert_eq!(day.start().local(*zone).date(), date, "in {zone}");
                    let before = point(first - 1);
                    assert_ne!(before.local(*zone).date(), date, "in {zone}");
                    let grid = Grid::days(*zone);
                    let days = [point(first), point(end - 1)].map(|time| grid.window_of(time));
                    assert_eq!(days, [day; 2], "{date} in {zone}");
                    assert_eq!(grid.next(grid.window_of(before)), Some(day), "{date} in {zone}");
                }
            }
        }
        assert!(skipped.contains(&"2011-12-30 in Pacific/Apia".to_owned()), "{skipped:?}");
    }

    #[test]
    fn every_hour_is_one_that_the_wall_clock_shows_without_a_break() {
        for (zone, changes) in &*CHANGES {
            let grid = Grid::hours(*zone);
            for &change in changes {
                let mut hour = grid.window_of(point(change - 2 * HOUR));
                while hour.start().millis() < change + 2 * HOUR {
                    let (start, last) = (hour.start(), hour.end().saturating_sub(MILLI));
                    let [first_shown, last_shown] = [start, last].map(|time| time.local(*zone));
                    let is_full = first_shown.num_seconds_from_midnight() % 3600 == 0;
                    assert!(is_full || start.millis() == change, "{hour} in {zone}");
                    assert_eq!(first_shown.hour(), last_shown.hour(), "{hour} in {zone}");
                    let runs = (last_shown - first_shown).num_milliseconds() + 1;
                    assert_eq!(runs, hour.duration().as_millis() as i64, "{hour} in {zone}");
                    let windows = [start, last, start.saturating_add(hour.duration() / 2)];
                    assert_eq!(windows.map(|time| grid.window_of(time)), [hour; 3], "in {zone}");
                    let next = grid.next(hour).unwrap();
                    assert_eq!(next.start(), hour.end(), "in {zone}");
                    hour = next;
                }
                assert!(grid.window_of(point(change)).start() == point(change), "{zone}");
            }
        }
    }

    #[test]
    fn an_hour_is_a_full_one_of_the_wall_clock() {
        let hours = |from: &str, to: &str, zone: Tz| {
            let windows = Grid::hours(zone).windows(Span::new(at(from), at(to)).unwrap()).unwrap();
            let minutes = |hour: Span| hour.duration().as_secs() / 60;
            windows.iter().map(|hour| (hour.start().local(zone).time().to_string(), minutes(*hour))).collect()
        };
        let expect = |hours: Vec<(String, u64)>, expected: &[(&str, u64)]| {
            assert_eq!(hours.iter().map(|(start, n)| (start.as_str(), *n)).collect::<Vec<_>>(), expected);
        };
        expect(
            hours("2021-11-01T10:07:00Z", "2021-11-01T11:00:00Z", Tz::Asia__Kolkata),
            &[("15:00:00", 60), ("16:00:00", 60)],
        );
        // New York sets its clocks back from 2:00 to 1:00, and forward from 2:00 to 3:00.
        expect(
            hours("2021-11-07T05:00:00Z", "2021-11-07T08:00:00Z", Tz::America__New_York),
            &[("01:00:00", 60), ("01:00:00", 60), ("02:00:00", 60)],
        );
        expect(
            hours("2021-03-14T06:00:00Z", "2021-03-14T08:00:00Z", Tz::America__New_York),
            &[("01:00:00", 60), ("03:00:00", 60)],
        );
        // Lord Howe from 2:00 to 1:30, Chatham from 3:45 to 2:45.
        expect(
            hours("2021-04-03T14:00:00Z", "2021-04-03T16:30:00Z", Tz::Australia__Lord_Howe),
            &[("01:00:00", 60), ("01:30:00", 30), ("02:00:00", 60)],
        );
        expect(
            hours("2021-04-03T13:15:00Z", "2021-04-03T15:15:00Z", Tz::Pacific__Chatham),
            &[("03:00:00", 45), ("02:45:00", 15), ("03:00:00", 60)],
        );
    }

    #[test]
    fn a_clock_set_back_over_midnight_does_not_begin_the_day_twice() {
        // At 0:01 clocks in Newfoundland were set back to 23:01.
        let grid = Grid::days(Tz::America__St_Johns);
        let day = grid.window_of(at("2010-11-07T02:30:00Z"));
        assert_eq!(day.start().local(Tz::America__St_Johns).to_string(), "2010-11-07 00:00:00");
        let again = at("2010-11-07T02:45:00Z");
        assert_eq!(again.local(Tz::America__St_Johns).to_string(), "2010-11-06 23:15:00");
        assert_eq!(grid.window_of(again), day);
        assert_eq!(day.duration(), Duration::from_secs(25 * 3600));
    }

    #[test]
    fn a_length_that_cuts_nothing_is_refused() {
        let all = Span::ALWAYS.duration();
        for length in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1_500), all + MILLI] {
            let error = Grid::every(length).unwrap_err().to_string();
            assert!(error.starts_with("window length: must be whole milliseconds"), "{error}");
        }
        assert_eq!(Grid::every(all).unwrap().window_of(Timestamp::MAX), Span::ALWAYS);
    }

    #[test]
    fn configurations_are_checked_on_the_way_in() {
        let grids = [Grid::every(Duration::from_secs(300)).unwrap(), Grid::hours(Tz::Asia__Kolkata)];
        for (grid, text) in grids.into_iter().chain([Grid::days(Tz::UTC)]).zip([
            r#"{"every_ms":300000}"#,
            r#"{"hours":"Asia/Kolkata"}"#,
            r#"{"days":"UTC"}"#,
        ]) {
            assert_eq!(serde_json::to_string(&grid).unwrap(), text);
            assert_eq!(serde_json::from_str::<Grid>(text).unwrap(), grid);
            let bytes = rmp_serde::to_vec(&grid).unwrap();
            assert_eq!(rmp_serde::from_slice::<Grid>(&bytes).unwrap(), grid);
        }
        for text in [r#"{"every_ms":0}"#, r#"{"every_ms":-1}"#, r#"{"every_ms":1.5}"#, r#"{"days":"Mars"}"#] {
            assert!(serde_json::from_str::<Grid>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn too_many_windows_are_refused() {
        let second = Grid::every(Duration::from_secs(1)).unwrap();
        let most = Span::starting(Timestamp::MIN, Duration::from_secs(1_000_000)).unwrap();
        assert_eq!(second.windows(most).unwrap().len(), Windows::MOST);
        let error = second.windows(Span::new(most.start(), point(1_000_000_001)).unwrap()).unwrap_err();
        let expected = r#"span: must not be cut into more than 1000000 windows, got "1970-01-01T00:00:00Z to 1970-01-12T13:46:40.001Z, cut into every 1s""#;
        assert_eq!(error.to_string(), expected);
    }

    fn grids() -> impl Strategy<Value = Grid> {
        let zone = || prop::sample::select(&TZ_VARIANTS[..]);
        let length = prop_oneof![1..100i64, 1..1_000 * DAY, Just(Timestamp::MAX.millis())];
        prop_oneof![
            length.prop_map(|length| Grid::every(Duration::from_millis(length as u64)).unwrap()),
            zone().prop_map(Grid::hours),
            zone().prop_map(Grid::days),
        ]
    }

    fn times() -> impl Strategy<Value = Timestamp> {
        let near = 0..2 * DAY;
        let far = Timestamp::MAX.millis();
        prop_oneof![0..=far, 0..at("2040-01-01").millis(), near.clone(), near.prop_map(move |t| far - t)]
            .prop_map(point)
    }

    proptest! {
        #[test]
        fn windows_tile_time(grid in grids(), time in times()) {
            let window = grid.window_of(time);
            prop_assert!(window.contains(time));
            prop_assert!(grid.is_window(window));
            prop_assert_eq!(grid.window_of(window.start()), window);
            prop_assert_eq!(grid.window_of(window.end().saturating_sub(MILLI)), window);
            match grid.next(window) {
                Some(next) => {
                    prop_assert_eq!(next.start(), window.end());
                    prop_assert!(grid.is_window(next));
                    let across = Span::new(window.end().saturating_sub(MILLI), next.end()).unwrap();
                    prop_assert_eq!(grid.windows(across).unwrap().to_vec(), vec![window, next]);
                    prop_assert!(!grid.is_window(Span::new(window.start(), next.end()).unwrap()));
                }
                None => prop_assert_eq!(window.end(), Timestamp::MAX),
            }
        }

        #[test]
        fn equal_windows_are_counted_from_1970(length in 1..1_000 * DAY, time in times()) {
            let window = Grid::every(Duration::from_millis(length as u64)).unwrap().window_of(time);
            prop_assert_eq!(window.start().millis() % length, 0);
            let whole = (window.start().millis() + length).min(Timestamp::MAX.millis());
            prop_assert_eq!(window.end().millis(), whole);
        }

        #[test]
        fn hours_tile_days(zone in prop::sample::select(&TZ_VARIANTS[..]), day in 0..25_000i64) {
            let date = NaiveDate::default() + TimeDelta::days(day);
            let Ok(day) = Windows::local_day(date, zone) else { return Ok(()) };
            let hours = Windows::local_hours(date, date + TimeDelta::days(1), zone).unwrap();
            prop_assert_eq!(hours.hull(), Some(day));
            prop_assert!(hours.windows(2).all(|pair| pair[0].end() == pair[1].start()));
        }
    }
}
