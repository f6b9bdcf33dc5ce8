//! What is usual at an hour of the day, and of the week.

use crate::series::point::LARGEST;
use crate::time::clock::Clock;
use peak_core::Tz;
use serde::{Deserialize, Serialize};

/// Which seasonal baseline is taken off a series, by the wall clock of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seasonality {
    /// By hour of the day.
    #[serde(alias = "daily")]
    Daily(Tz),
    /// By hour of the day, and how days of the week differ from that.
    #[serde(alias = "weekly")]
    Weekly(Tz),
}

impl Seasonality {
    fn zone(self) -> Tz {
        match self {
            Seasonality::Daily(zone) | Seasonality::Weekly(zone) => zone,
        }
    }
}

const HOURS: usize = 24;
const MILLIS: i64 = 3_600_000;

/// The baseline of a series: a level for each hour of the day, and for each hour of the week how it
/// differs from that, joined by straight lines from the middle of an hour to the middle of the next.
///
/// An hour's level moves once the hour is over, by a share of the mean residual seen in it: the whole
/// after the first time, later less, at least [`LEAST_SHARE`]. Residuals beyond five times the usual
/// size count as five times. Hours are those of the wall clock, so that a change to or from daylight
/// saving time moves nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seasonal {
    clock: Clock,
    day: Vec<Level>,
    /// Of no hours where days of the week are all alike.
    week: Vec<Level>,
    /// The hour of the week that is being learned, and what was seen in it.
    current: Option<usize>,
    sum: f64,
    count: u32,
    /// The usual size of a residual.
    size: f64,
    sizes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Level {
    value: f64,
    visits: u32,
}

/// An hour's level never stops moving.
const LEAST_SHARE: f64 = 0.15;
/// Residuals beyond so many usual sizes are cut.
const CUT: f64 = 5.0;
/// The milliseconds of a day: an hour has not that many values.
const MOST_SEEN: u32 = 86_400_000;

impl Level {
    fn learn(&mut self, residual: f64, first: f64) {
        let share =
            if self.visits == 0 { first } else { (1.0 / (f64::from(self.visits) + 1.0)).max(LEAST_SHARE) };
        self.visits = self.visits.saturating_add(1);
        self.value += share * residual;
    }
}

impl Seasonal {
    pub(crate) fn new(kind: Seasonality) -> Self {
        let week = if matches!(kind, Seasonality::Weekly(_)) { 7 * HOURS } else { 0 };
        Seasonal {
            clock: Clock::new(kind.zone()),
            day: vec![Level::default(); HOURS],
            week: vec![Level::default(); week],
            current: None,
            sum: 0.0,
            count: 0,
            size: 0.0,
            sizes: 0,
        }
    }

    pub(crate) fn kind(&self) -> Seasonality {
        let zone = self.clock.zone();
        if self.week.is_empty() { Seasonality::Daily(zone) } else { Seasonality::Weekly(zone) }
    }

    /// How many hours of the day it knows.
    pub(crate) fn known(&self) -> usize {
        self.day.iter().filter(|level| level.visits > 0).count()
    }

    /// Milliseconds since the wall clock's 1970-01-01, a Thursday.
    fn local(&mut self, time: i64) -> i64 {
        self.clock.remember(time);
        self.clock.local(time)
    }

    fn level(&self, hour: usize) -> Option<f64> {
        let day = self.day[hour % HOURS];
        let week = self.week.get(hour).map_or(0.0, |level| level.value);
        (day.visits > 0).then_some(day.value + week)
    }

    /// What is usual at a time; `None` while the hour of the day is not known.
    pub(crate) fn expected(&mut self, time: i64) -> Option<f64> {
        let local = self.local(time);
        self.expected_at(local)
    }

    /// The same, at a time that a wall clock shows.
    pub(crate) fn expected_at(&self, local: i64) -> Option<f64> {
        let middle = local - MILLIS / 2;
        let (hour, into) = (middle.div_euclid(MILLIS), middle.rem_euclid(MILLIS));
        let share = into as f64 / MILLIS as f64;
        let level = |hour: i64| self.level(hour_of_week(hour));
        let (before, after) = (level(hour), level(hour + 1));
        let own = if share < 0.5 { before } else { after };
        let own = own?;
        Some((1.0 - share) * before.unwrap_or(own) + share * after.unwrap_or(own))
    }

    /// Takes in a value.
    pub(crate) fn learn(&mut self, time: i64, value: f64) {
        let hour = hour_of_week(self.local(time).div_euclid(MILLIS));
        if self.current != Some(hour) {
            self.close();
            self.current = Some(hour);
        }
        let known = self.day[hour % HOURS].visits > 0;
        let residual = value - if known { self.expected(time).unwrap_or(0.0) } else { 0.0 };
        let cut = if known && self.sizes >= 100 { CUT * self.size } else { f64::INFINITY };
        let residual = residual.clamp(-cut, cut);
        if known {
            self.sizes = self.sizes.saturating_add(1);
            self.size += (residual.abs() - self.size) / f64::from(self.sizes.min(1_000));
        }
        self.sum += residual;
        self.count += 1;
    }

    /// The hour is over: its level moves.
    fn close(&mut self) {
        let Some(hour) = self.current.filter(|_| self.count > 0) else { return };
        let residual = self.sum / f64::from(self.count);
        let day = &mut self.day[hour % HOURS];
        let is_first = day.visits == 0;
        day.learn(residual, 1.0);
        if let Some(week) = self.week.get_mut(hour).filter(|_| !is_first) {
            // What the day did not take over is the weekday's.
            week.learn(residual, 0.5);
        }
        (self.sum, self.count) = (0.0, 0);
    }

    pub(crate) fn is_valid(&self, kind: Seasonality) -> bool {
        let fresh = Seasonal::new(kind);
        let levels = self.day.iter().chain(&self.week);
        self.kind() == kind
            && self.day.len() == fresh.day.len()
            && self.week.len() == fresh.week.len()
            && levels.map(|level| level.value).chain([self.sum]).all(|x| x.abs() <= LARGEST)
            && (0.0..=LARGEST).contains(&self.size)
            && self.count <= MOST_SEEN
            && self.current.is_none_or(|hour| hour < 7 * HOURS)
    }
}

/// The hour of the week, of the hours since the Thursday with which 1970 began.
fn hour_of_week(hour: i64) -> usize {
    hour.rem_euclid(7 * HOURS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::Timestamp;

    #[test]
    fn a_level_that_was_visited_as_often_as_can_be_counted_goes_on() {
        let mut level = Level { value: 1.0, visits: u32::MAX };
        level.learn(2.0, 1.0);
        assert_eq!(level, Level { value: 1.0 + LEAST_SHARE * 2.0, visits: u32::MAX });
    }

    /// A wall-clock pattern over weeks with a change to daylight saving time.
    #[test]
    fn daylight_saving_time_moves_nothing() {
        let zone = Tz::America__New_York;
        let start = Timestamp::parse("2024-02-20T05:00:00Z").unwrap().millis();
        let mut seasonal = Seasonal::new(Seasonality::Weekly(zone));
        let mut worst = 0f64;
        for minute in (0..40 * 1_440).step_by(5) {
            let time = start + minute * 60_000;
            let local = Timestamp::from_millis(time).unwrap().local(zone).and_utc().timestamp();
            let value = (local as f64 / 86_400.0 * std::f64::consts::TAU).sin();
            if let Some(expected) = seasonal.expected(time).filter(|_| minute > 7 * 1_440) {
                worst = worst.max((value - expected).abs());
            }
            seasonal.learn(time, value);
        }
        assert!(worst < 0.05, "{worst}");
    }
}
