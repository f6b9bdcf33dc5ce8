//! Which windows are of a kind: by the time of the day and the week, and by the name of the day, where the
//! wall clock of a zone tells them.

use peak_core::chrono::{Datelike, Days as DayCount, NaiveDate, NaiveDateTime, TimeDelta};
use peak_core::{Error, Result, Span, Tz};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How windows repeat: so many windows of a nominal length make a period.
///
/// A window's phase follows from where the wall clock stands, counted in nominal lengths from the midnight
/// before a Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Period", into = "Period")]
pub struct Phases {
    millis: i64,
    count: usize,
}

/// Phases as they are configured, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    window_ms: u64,
    count: usize,
}

impl TryFrom<Period> for Phases {
    type Error = Error;
    fn try_from(Period { window_ms, count }: Period) -> Result<Self> {
        Phases::new(Duration::from_millis(window_ms), count)
    }
}

impl From<Phases> for Period {
    fn from(Phases { millis, count }: Phases) -> Self {
        Period { window_ms: millis.unsigned_abs(), count }
    }
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 1970 began on a Thursday, three days after a Monday.
const THURSDAY: i64 = 3 * DAY;
/// Clocks are set by so much at most, but for whole days: what is so close to a day is one.
const SET: i64 = 3 * HOUR;

/// The length of a window in milliseconds as it is meant: a day of 23 or 25 hours is a day.
pub(crate) fn nominal_length(window: Duration) -> i64 {
    let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    if (DAY - SET..=DAY + SET).contains(&millis) { DAY } else { millis.max(1) }
}

impl Phases {
    /// No phases: every window is like every other.
    pub const NONE: Phases = Phases { millis: 1, count: 1 };
    /// Seven windows of a day, from Monday on.
    pub const DAYS_OF_WEEK: Phases = Phases { millis: DAY, count: 7 };
    /// 24 windows of an hour, from midnight on.
    pub const HOURS_OF_DAY: Phases = Phases { millis: HOUR, count: 24 };
    /// 168 windows of an hour, from the midnight before Monday on.
    pub const HOURS_OF_WEEK: Phases = Phases { millis: HOUR, count: 168 };
    /// The most phases of a period.
    pub const MOST: usize = 10_000;

    /// A period of so many windows of this length.
    ///
    /// # Errors
    /// When the length is less than a millisecond, or the number is 0 or more than
    /// [`MOST`](Self::MOST).
    pub fn new(window: Duration, count: usize) -> Result<Self> {
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        if millis == 0 {
            return Err(Error::invalid("phases", "must be of windows of a millisecond at least", "0"));
        }
        if !(1..=Self::MOST).contains(&count) {
            let rule = format!("must be from 1 to {}", Self::MOST);
            return Err(Error::invalid("phases", rule, count));
        }
        Ok(Phases { millis, count })
    }

    /// The phases of windows of this length: days of the week for days, also for those of 23 and 25 hours;
    /// times of day for windows of a minute or more that divide the day; none for others.
    #[must_use]
    pub fn of(window: Duration) -> Self {
        match nominal_length(window) {
            DAY => Self::DAYS_OF_WEEK,
            millis if millis >= 60_000 && millis % 1_000 == 0 && DAY % millis == 0 => {
                Phases { millis, count: (DAY / millis) as usize }
            }
            _ => Self::NONE,
        }
    }

    pub(crate) fn count(self) -> usize {
        self.count
    }
}

/// Which windows are of a kind: a zone, whose wall clock tells the [`Phases`] of the day and the week; and
/// days with a name, which are not like other days.
///
/// A window belongs where the clock stands a quarter of its length after its start. So a day of a zone
/// keeps its day of the week when clocks change, also by a calendar of UTC: at 18:00 UTC, where those
/// would be torn apart, no zone with daylight saving time has its midnight.
///
/// ```
/// use peak_core::{Span, Tz};
/// use peak_detectors::{Calendar, Days, Phases};
///
/// let calendar = Calendar::new(Tz::Europe__Berlin)
///     .with_named("month end", Days::of_month(-1)?)?
///     .with_named("payday", Days::of_month(15)?)?
///     .with_named("holiday", Days::every_year(12, 25)?)?;
/// let days = Span::local_days("2024-02-28", "2024-03-02", calendar.zone())?;
/// let named: Vec<_> = days.iter().map(|&day| calendar.named_day(day)).collect();
/// assert_eq!(named, [None, Some("month end"), None]);
///
/// // As data it is checked on the way in; what is not there is as usual.
/// let read = |text| serde_json::from_str::<Calendar>(text);
/// let text = r#"{"zone": "Europe/Berlin", "named": [{"name": "off", "days": {"dates": ["2024-05-10"]}}]}"#;
/// assert_eq!(read(text).unwrap().zone(), Tz::Europe__Berlin);
/// assert!(read(r#"{"named": [{"name": "never", "days": {"of_month": 32}}]}"#).is_err());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Config", into = "Config")]
pub struct Calendar {
    zone: Tz,
    phases: Option<Phases>,
    named: Vec<Named>,
}

/// Days with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    days: Days,
}

/// A calendar as it is configured, before it is checked.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    zone: Tz,
    phases: Option<Phases>,
    named: Vec<Named>,
}

impl Default for Config {
    fn default() -> Self {
        Config { zone: Tz::UTC, phases: None, named: Vec::new() }
    }
}

impl TryFrom<Config> for Calendar {
    type Error = Error;
    fn try_from(Config { zone, phases, named }: Config) -> Result<Self> {
        let calendar = Calendar { zone, phases, named: Vec::new() };
        named.into_iter().try_fold(calendar, |calendar, Named { name, days }| calendar.with_named(name, days))
    }
}

impl From<Calendar> for Config {
    fn from(Calendar { zone, phases, named }: Calendar) -> Self {
        Config { zone, phases, named }
    }
}

impl Default for Calendar {
    /// By UTC, with the phases of the length of the windows and no named days.
    fn default() -> Self {
        Calendar::new(Tz::UTC)
    }
}

impl Calendar {
    /// The most kinds of named days.
    pub const MOST_NAMED: usize = 100;

    /// The calendar of a zone, with the phases of the length of the windows and no named days.
    #[must_use]
    pub fn new(zone: Tz) -> Self {
        Calendar { zone, phases: None, named: Vec::new() }
    }

    /// The calendar with these phases; by default [those of the length](Phases::of) of the windows.
    #[must_use]
    pub fn with_phases(self, phases: Phases) -> Self {
        Calendar { phases: Some(phases), ..self }
    }

    /// The calendar with these days under this name. A day that has several names has the first.
    ///
    /// # Errors
    /// When there are such days already, or [`MOST_NAMED`](Self::MOST_NAMED) others.
    pub fn with_named(mut self, name: impl Into<String>, days: Days) -> Result<Self> {
        let name = name.into();
        if self.named.iter().any(|named| named.name == name) {
            return Err(Error::invalid("named days", "must have different names", name));
        }
        if self.named.len() == Self::MOST_NAMED {
            let rule = format!("must be of at most {} kinds", Self::MOST_NAMED);
            return Err(Error::invalid("named days", rule, name));
        }
        self.named.push(Named { name, days });
        Ok(self)
    }

    /// The zone whose wall clock it goes by.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The phases of windows of this length.
    #[must_use]
    pub fn phases(&self, window: Duration) -> Phases {
        self.phases.unwrap_or_else(|| Phases::of(window))
    }

    /// The name of the day that a window is, or lies in; `None` for days without a name, and for windows
    /// longer than a day.
    #[must_use]
    pub fn named_day(&self, window: Span) -> Option<&str> {
        if nominal_length(window.duration()) > DAY {
            return None;
        }
        let date = self.stands(window).date();
        self.named.iter().find(|named| named.days.contain(date)).map(|named| named.name.as_str())
    }

    /// The phase of a window, from 0 on.
    pub(crate) fn phase(&self, window: Span) -> usize {
        let Phases { millis, count } = self.phases(window.duration());
        let since_monday = self.stands(window).and_utc().timestamp_millis() + THURSDAY;
        since_monday.div_euclid(millis).rem_euclid(count as i64) as usize
    }

    /// Where the clock stands a quarter of the window after its start.
    fn stands(&self, window: Span) -> NaiveDateTime {
        let quarter = i64::try_from(window.duration().as_millis()).unwrap_or(i64::MAX) / 4;
        let start = window.start().local(self.zone);
        start.checked_add_signed(TimeDelta::milliseconds(quarter)).unwrap_or(start)
    }
}

/// Days of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DaysKind", into = "DaysKind")]
pub struct Days(DaysKind);

/// Kinds of [`Days`] as they stand in configurations: `{"of_month": -1}`, `{"every_year": [12, 25]}`,
/// `{"dates": ["2024-05-10"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DaysKind {
    OfMonth(i8),
    EveryYear(u32, u32),
    Dates(BTreeSet<NaiveDate>),
}

impl TryFrom<DaysKind> for Days {
    type Error = Error;
    fn try_from(kind: DaysKind) -> Result<Self> {
        match kind {
            DaysKind::OfMonth(day) => Days::of_month(day),
            DaysKind::EveryYear(month, day) => Days::every_year(month, day),
            DaysKind::Dates(dates) => Ok(Days::dates(dates)),
        }
    }
}

impl From<Days> for DaysKind {
    fn from(days: Days) -> Self {
        days.0
    }
}

impl Days {
    /// A day of each month: from 1, the first, on; or from −1, the last, back. Months that are too
    /// short have none.
    ///
    /// # Errors
    /// When it is 0, or beyond 31 either way.
    pub fn of_month(day: i8) -> Result<Self> {
        if (1..=31).contains(&day.unsigned_abs()) {
            Ok(Days(DaysKind::OfMonth(day)))
        } else {
            Err(Error::invalid("day of the month", "must be from 1 to 31, or from -1 back to -31", day))
        }
    }

    /// A day of each year, both counted from 1. There may be years without the 29th of February.
    ///
    /// # Errors
    /// When no year has such a day.
    pub fn every_year(month: u32, day: u32) -> Result<Self> {
        match NaiveDate::from_ymd_opt(2024, month, day) {
            Some(_) => Ok(Days(DaysKind::EveryYear(month, day))),
            None => Err(Error::invalid(
                "day of the year",
                "must be a month and its day",
                format_args!("{month}, {day}"),
            )),
        }
    }

    /// These dates: holidays that move, paydays of a list.
    #[must_use]
    pub fn dates(dates: impl IntoIterator<Item = NaiveDate>) -> Self {
        Days(DaysKind::Dates(dates.into_iter().collect()))
    }

    /// Whether a date is one of them.
    #[must_use]
    pub fn contain(&self, date: NaiveDate) -> bool {
        match &self.0 {
            DaysKind::OfMonth(day @ 1..) => date.day() == u32::from(day.unsigned_abs()),
            // So many days later it is the first of the next month.
            DaysKind::OfMonth(day) => date
                .checked_add_days(DayCount::new(u64::from(day.unsigned_abs())))
                .is_some_and(|next| next.day() == 1 && date.month() != next.month()),
            DaysKind::EveryYear(month, day) => (date.month(), date.day()) == (*month, *day),
            DaysKind::Dates(dates) => dates.contains(&date),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::{Grid, Timestamp, Windows};

    const HOUR: u64 = 3_600;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn indices(calendar: &Calendar, windows: &[Span]) -> Vec<usize> {
        windows.iter().map(|&window| calendar.phase(window)).collect()
    }

    /// Clocks that go back and that go forward, in the north and in the south, by an hour and by half
    /// of one; one whose midnight is skipped.
    const CHANGES: [(&str, &str, Tz); 7] = [
        ("2021-03-01", "2021-04-12", Tz::Europe__London),
        ("2021-10-04", "2021-11-29", Tz::Europe__Berlin),
        ("2021-10-04", "2021-11-29", Tz::America__New_York),
        ("2021-08-30", "2021-10-11", Tz::Pacific__Auckland),
        ("2021-03-08", "2021-04-19", Tz::Australia__Lord_Howe),
        ("2018-10-08", "2018-11-26", Tz::America__Sao_Paulo),
        ("2018-01-29", "2018-03-12", Tz::America__Sao_Paulo),
    ];

    #[test]
    fn days_keep_their_weekday_when_clocks_change() {
        for (first, end, zone) in CHANGES {
            let days = Span::local_days(first, end, zone).unwrap();
            // In their own zone the first, a Monday, is 0.
            let expected: Vec<usize> = (0..days.len()).map(|day| day % 7).collect();
            assert_eq!(indices(&Calendar::new(zone), &days), expected, "{zone}");
            let by_utc = indices(&Calendar::default(), &days);
            assert!(by_utc.windows(8).all(|week| week[0] == week[7] && week[0] != week[1]), "{zone}");
        }
    }

    #[test]
    fn hours_keep_their_time_of_day_when_clocks_change() {
        for (first, end, zone) in CHANGES {
            let days = Span::local_days(first, end, zone).unwrap();
            let span = Span::new(days[0].start(), days[days.len() - 1].end()).unwrap();
            let hours = Windows::every(span, Duration::from_secs(HOUR)).unwrap();
            let calendar = Calendar::new(zone).with_phases(Phases::HOURS_OF_WEEK);
            for &hour in hours.iter() {
                // Where half hours are set, an hour is half of this hour and half of the next.
                let local =
                    [hour.start(), Timestamp::from_millis(hour.start().millis() + 1_800_000).unwrap()]
                        .map(|time| time.local(zone));
                let of_week = local.map(|local| {
                    let hour: u32 = local.format("%H").to_string().parse().unwrap();
                    (24 * local.weekday().num_days_from_monday() + hour) as usize
                });
                assert!(of_week.contains(&calendar.phase(hour)), "{zone} {hour}");
            }
        }
    }

    #[test]
    fn half_hours_of_a_zone_are_hours_of_its_clock() {
        for zone in [Tz::Asia__Kolkata, Tz::Asia__Kathmandu, Tz::Australia__Adelaide] {
            let grid = Grid::hours(zone);
            let calendar = Calendar::new(zone);
            let mut window = grid.window_of(Timestamp::parse("2021-10-01T00:00:00Z").unwrap());
            for _ in 0..24 * 7 {
                let hour = window.start().local(zone).format("%H").to_string();
                if window.duration() == Duration::from_secs(HOUR) {
                    assert_eq!(calendar.phase(window), hour.parse::<usize>().unwrap(), "{zone} {window}");
                }
                window = grid.next(window).unwrap();
            }
        }
    }

    #[test]
    fn a_day_that_a_zone_skipped_is_no_day_and_the_week_goes_on_without_it() {
        // Apia went from Thursday to Saturday.
        let days = Span::local_days("2011-12-26", "2012-01-03", Tz::Pacific__Apia).unwrap();
        let calendar = Calendar::new(Tz::Pacific__Apia)
            .with_named("never", Days::dates([date("2011-12-30")]))
            .unwrap()
            .with_named("month end", Days::of_month(-1).unwrap())
            .unwrap();
        assert_eq!(indices(&calendar, &days), [0, 1, 2, 3, 5, 6, 0]);
        let named: Vec<_> = days.iter().map(|&day| calendar.named_day(day)).collect();
        assert_eq!(named, [None, None, None, None, Some("month end"), None, None]);
    }

    #[test]
    fn the_length_of_windows_tells_their_phases() {
        let of = |hours: u64| Phases::of(Duration::from_secs(hours * HOUR));
        assert_eq!([22, 23, 24, 25, 26].map(of), [Phases::DAYS_OF_WEEK; 5]);
        assert_eq!(of(1), Phases::HOURS_OF_DAY);
        assert_eq!(of(6).count(), 4);
        assert_eq!([7, 18, 48, 168].map(of), [Phases::NONE; 4]);
        assert_eq!(Phases::of(Duration::from_secs(30)), Phases::NONE);
        assert!(Phases::new(Duration::ZERO, 7).is_err());
        let error = Phases::new(Duration::from_secs(60), 0).unwrap_err().to_string();
        assert_eq!(error, r#"phases: must be from 1 to 10000, got "0""#);
    }

    #[test]
    fn what_repeats_has_the_same_phase() {
        let hour = |i: i64| Timestamp::from_millis(i * 3_600_000).unwrap();
        let phase = |phases: Phases, i: i64| {
            Calendar::default().with_phases(phases).phase(Span::new(hour(i), hour(i + 1)).unwrap())
        };
        for (i, phases, count) in [(0, Phases::HOURS_OF_DAY, 24), (5, Phases::HOURS_OF_WEEK, 168)] {
            assert_eq!(phase(phases, i), phase(phases, i + count));
            assert_eq!((phase(phases, i) + 5) % count as usize, phase(phases, i + 5));
        }
        // 1970 began at the midnight before a Thursday; and hours of a day are that day's.
        assert_eq!((phase(Phases::HOURS_OF_DAY, 0), phase(Phases::HOURS_OF_WEEK, 0)), (0, 72));
        assert!((0..24).all(|i| phase(Phases::DAYS_OF_WEEK, i) == 3));
        assert_eq!(phase(Phases::NONE, 17), 0);
    }

    #[test]
    fn days_have_the_first_of_their_names() {
        let of = |days: &Days, text: &str| days.contain(date(text));
        let last = Days::of_month(-1).unwrap();
        for end in ["2024-01-31", "2024-02-29", "2023-02-28", "2024-04-30", "2024-12-31"] {
            assert!(of(&last, end), "{end}");
        }
        assert!(!of(&last, "2024-02-28") && !of(&last, "2024-03-01"));
        let before = Days::of_month(-2).unwrap();
        assert!(of(&before, "2024-02-28") && !of(&before, "2024-02-29") && !of(&before, "2024-02-27"));
        // February has no 31st day from its end.
        assert!(
            !of(&Days::of_month(-31).unwrap(), "2024-02-01")
                && of(&Days::of_month(-31).unwrap(), "2024-01-01")
        );
        let leap = Days::every_year(2, 29).unwrap();
        assert!(of(&leap, "2024-02-29") && !of(&leap, "2023-03-01"));
        for wrong in [
            Days::of_month(0),
            Days::of_month(32),
            Days::of_month(-32),
            Days::every_year(2, 30),
            Days::every_year(13, 1),
        ] {
            assert!(wrong.is_err());
        }

        let calendar =
            Calendar::default().with_named("christmas", Days::every_year(12, 25).unwrap()).unwrap();
        let calendar = calendar.with_named("payday", Days::of_month(25).unwrap()).unwrap();
        let days = Span::days("2024-12-25", "2025-01-26").unwrap();
        assert_eq!(calendar.named_day(days[0]), Some("christmas"));
        assert_eq!(calendar.named_day(days[31]), Some("payday"));
        let hour = Span::starting(days[31].start(), Duration::from_secs(HOUR)).unwrap();
        assert_eq!(calendar.named_day(hour), Some("payday"));
        assert_eq!(calendar.named_day(Span::new(days[0].start(), days[1].end()).unwrap()), None);
        assert!(calendar.with_named("payday", Days::dates([])).is_err());
    }

    #[test]
    fn a_calendar_is_data() {
        let calendar = Calendar::new(Tz::Asia__Kolkata)
            .with_phases(Phases::HOURS_OF_WEEK)
            .with_named("month end", Days::of_month(-1).unwrap())
            .unwrap()
            .with_named("off", Days::dates([date("2024-05-10")]))
            .unwrap()
            .with_named("new year", Days::every_year(1, 1).unwrap())
            .unwrap();
        let text = serde_json::to_string(&calendar).unwrap();
        assert_eq!(serde_json::from_str::<Calendar>(&text).unwrap(), calendar, "{text}");
        let read = |text: &str| serde_json::from_str::<Calendar>(text);
        assert_eq!(read("{}").unwrap(), Calendar::default());
        for wrong in [
            r#"{"zone": "Europe/Atlantis"}"#,
            r#"{"named": [{"name": "a", "days": {"every_year": [2, 30]}}]}"#,
            r#"{"named": [{"name": "a", "days": {"of_month": 1}}, {"name": "a", "days": {"of_month": 2}}]}"#,
            r#"{"phases": {"window_ms": 0, "count": 7}}"#,
            r#"{"holidays": []}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_of_a_clock_that_is_set_are_days() {
        for (first, end, zone) in CHANGES {
            let days = Span::local_days(first, end, zone).unwrap();
            assert!(days.iter().all(|day| nominal_length(day.duration()) == super::DAY), "{zone}");
        }
        assert_eq!(nominal_length(Duration::from_secs(HOUR)), super::HOUR);
        assert_eq!(nominal_length(Duration::from_secs(48 * HOUR)), 2 * super::DAY);
    }
}
