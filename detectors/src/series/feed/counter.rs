//! Counters: series that only grow, until they start anew.

use super::FeedReport;
use crate::contract::Refusal;
use crate::series::point::LARGEST;
use peak_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What kind of series it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A counter: it only grows, until it starts anew. What is judged is its growth per second.
    Counter,
    /// Its values go up and down, and are judged as they are.
    #[default]
    Gauge,
    /// Told from its first [`Feed::TO_TELL`](super::Feed::TO_TELL) readings, and told anew after a fall
    /// that no counter has.
    ///
    /// A counter is never negative, grows in at least half of the steps, and falls in at most one of
    /// 20: to what it can have counted since the reading before, or by at most a tenth. So a disk that
    /// fills up is taken for a counter as long as it only fills; when it is cleared, it is a gauge, and
    /// the fall is judged among the values before it.
    Recognised,
}

/// The growth per second between two readings; `None` where the later one is less.
#[inline]
pub(crate) fn growth(from: (i64, f64), to: (i64, f64)) -> Option<f64> {
    (to.1 >= from.1).then(|| (to.1 - from.1) * 1000.0 / (to.0 - from.0) as f64)
}

/// What a reading of a counter tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// It grew by so much a second.
    Rate(f64),
    /// It fell: a [`Refusal::Reset`] when it shows no more than it can have counted since the reading
    /// before, a [`Refusal::Fell`] otherwise.
    Refused(Refusal),
    /// It fell as no counter does.
    NoCounter,
}

/// A counter as it is read.
///
/// A fall is not understood before the next reading: that one tells a counter that started anew, and
/// goes on from there, from one that showed too little once (a zero where it was not read, a value from
/// before the last one, rounding), and goes on from where it was. No growth is told of the fall itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Counter {
    /// The last reading that was understood: milliseconds and value.
    pub(super) last: (i64, f64),
    /// The reading after it that was less, and is not understood yet.
    pub(super) fallen: Option<(i64, f64)>,
    /// The greatest growth per second, slowly forgotten.
    pub(super) fastest: f64,
    /// How many readings ago it fell without starting anew.
    pub(super) since: u32,
}

impl Counter {
    /// A counter falls at most once in so many readings without starting anew.
    const APART: u32 = 20;
    /// And by at most this share.
    const SMALL: f64 = 0.1;
    /// How many times as fast as ever it may count at first.
    const MARGIN: f64 = 3.0;
    /// What remains of the greatest growth per reading: it is forgotten within some thousands.
    const KEEP: f64 = 0.999;

    pub(super) fn new(first: (i64, f64)) -> Self {
        Counter { last: first, fallen: None, fastest: 0.0, since: Self::APART }
    }

    /// Takes in a newer reading, and counts the falls that are understood. Where it must be a counter, there
    /// is no step that no counter has.
    #[inline]
    pub(super) fn step(&mut self, now: (i64, f64), must_be: bool, report: &mut FeedReport) -> Step {
        let Some(fallen) = self.fallen else {
            return match growth(self.last, now) {
                Some(rate) => self.grow(now, rate),
                None => self.fall(now, must_be),
            };
        };
        let Some(anew) = growth(fallen, now) else {
            // It falls once more. Readings so soon after each start may all be less than the one before.
            self.understand(fallen, report);
            return self.fall(now, must_be);
        };
        match growth(self.last, now) {
            Some(rate) if !(self.is_start(fallen) && anew <= Self::MARGIN * self.fastest) => {
                // It showed too little once.
                report.falls += 1;
                self.since = 0;
                self.fallen = None;
                self.grow(now, rate)
            }
            _ => {
                self.understand(fallen, report);
                self.grow(now, anew)
            }
        }
    }

    fn grow(&mut self, now: (i64, f64), rate: f64) -> Step {
        self.last = now;
        self.fastest = rate.max(Self::KEEP * self.fastest);
        self.since = self.since.saturating_add(1);
        Step::Rate(rate)
    }

    /// It goes on from where it fell to.
    fn understand(&mut self, fallen: (i64, f64), report: &mut FeedReport) {
        if self.is_start(fallen) {
            report.resets += 1;
        } else {
            report.falls += 1;
            self.since = 0;
        }
        (self.last, self.fallen) = (fallen, None);
    }

    fn fall(&mut self, now: (i64, f64), must_be: bool) -> Step {
        let is_start = self.is_start(now);
        let is_small = now.1 >= (1.0 - Self::SMALL) * self.last.1 && self.since >= Self::APART;
        if !(must_be || is_start || is_small) {
            return Step::NoCounter;
        }
        self.fallen = Some(now);
        Step::Refused(if is_start { Refusal::Reset } else { Refusal::Fell })
    }

    /// What the newest reading is called when it is less than before.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.fallen.map(|fallen| if self.is_start(fallen) { Refusal::Reset } else { Refusal::Fell })
    }

    /// Whether all that is shown can have been counted since the last reading.
    fn is_start(&self, now: (i64, f64)) -> bool {
        let seconds = (now.0 - self.last.0) as f64 / 1000.0;
        (0.0..=Self::MARGIN * self.fastest * seconds).contains(&now.1)
    }

    /// Tells a counter from its readings, of which there is at least one, and what it grew by at each.
    pub(super) fn recognise(
        readings: &[(i64, f64)],
        report: &mut FeedReport,
    ) -> Option<(Self, Vec<(i64, f64)>)> {
        let steps = || readings.windows(2).filter_map(|pair| growth(pair[0], pair[1]));
        let mut growing: Vec<f64> = steps().filter(|&rate| rate > 0.0).collect();
        let first = *readings.first().filter(|first| first.1 >= 0.0)?;
        if 2 * growing.len() < readings.len() - 1 {
            return None;
        }
        // A step back up is no growth: the few greatest do not count.
        growing.sort_unstable_by(f64::total_cmp);
        let fastest = growing.get((growing.len() * 19 / 20).min(growing.len().saturating_sub(1)));
        let mut counter = Counter { fastest: fastest.copied().unwrap_or(0.0), ..Counter::new(first) };
        let (mut rates, mut fell, mut counted) = (Vec::with_capacity(readings.len()), 0, *report);
        for &now in &readings[1..] {
            match counter.step(now, false, &mut counted) {
                Step::Rate(rate) => rates.push((now.0, rate)),
                Step::Refused(_) => fell += 1,
                Step::NoCounter => return None,
            }
        }
        if 20 * fell >= readings.len() {
            return None;
        }
        *report = counted;
        Some((counter, rates))
    }

    /// Whether it could have come about by reading one whose newest reading is at a time.
    pub(super) fn is_valid(&self, newest: i64, largest: f64) -> bool {
        let is_usable =
            |(time, value): (i64, f64)| Timestamp::from_millis(time).is_ok() && value.abs() < largest;
        let in_order = self.fallen.is_none_or(|fallen| self.last.0 < fallen.0 && fallen.1 < self.last.1);
        self.fallen.unwrap_or(self.last).0 == newest
            && in_order
            && is_usable(self.last)
            && self.fallen.is_none_or(is_usable)
            && (0.0..=LARGEST).contains(&self.fastest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: Step = Step::Refused(Refusal::Reset);
    const FELL: Step = Step::Refused(Refusal::Fell);

    /// What each of these readings, a second apart, tells of a counter.
    fn told(values: &[f64], must_be: bool) -> Vec<Step> {
        let mut counter = Counter::new((0, values[0]));
        let readings = values[1..].iter().zip(1..);
        let mut step = |now| counter.step(now, must_be, &mut FeedReport::default());
        readings.map(|(&value, second)| step((1_000 * second, value))).collect()
    }

    #[test]
    fn the_reading_after_a_fall_tells_what_it_was() {
        let ten = Step::Rate(10.0);
        // It started anew, twice within three readings; the second time it had counted to more than half.
        assert_eq!(told(&[980.0, 990.0, 4.0, 14.0], false), [ten, RESET, ten]);
        assert_eq!(told(&[0.0, 10.0, 20.0, 30.0, 20.0, 30.0], false)[3..], [RESET, ten]);
        // A zero between two large values.
        assert_eq!(told(&[980.0, 990.0, 0.0, 1_010.0, 1_020.0], false), [ten, RESET, ten, ten]);
        // A value from before the last one.
        assert_eq!(told(&[980.0, 990.0, 985.0, 1_010.0], false), [ten, FELL, ten]);
        // A small fall from which it goes on.
        assert_eq!(told(&[980.0, 990.0, 950.0, 960.0], false), [ten, FELL, ten]);
        // Restarts at every reading.
        assert_eq!(told(&[980.0, 990.0, 9.0, 7.0, 4.0, 14.0], false)[1..4], [RESET; 3]);
    }

    #[test]
    fn what_falls_as_no_counter_does_is_none_unless_it_must_be() {
        assert_eq!(told(&[1e3, 1_010.0, 500.0, 510.0], false)[1], Step::NoCounter);
        assert_eq!(told(&[1e3, 1_010.0, 500.0, 510.0], true)[1..], [FELL, Step::Rate(10.0)]);
        assert_eq!(told(&[1e3, 1_010.0, -5.0], false)[1], Step::NoCounter);
        let twice = [1e3, 1_010.0, 1_005.0, 1_020.0, 1_015.0];
        assert_eq!(told(&twice, false)[3], Step::NoCounter);
    }

    #[test]
    fn a_counter_is_told_from_its_readings() {
        let told = |value: &dyn Fn(i64) -> f64| {
            let readings: Vec<(i64, f64)> = (0..100).map(|i| (1_000 * i, value(i))).collect();
            Counter::recognise(&readings, &mut FeedReport::default()).map(|(_, rates)| rates.len())
        };
        assert_eq!(told(&|i| 10.0 * i as f64), Some(99));
        assert_eq!(told(&|i| 10.0 * (i % 40) as f64), Some(97), "it starts anew twice");
        assert_eq!(told(&|i| if i == 50 { 0.0 } else { 10.0 * i as f64 }), Some(98), "a zero");
        assert_eq!(told(&|i| 40.0 + 0.01 * (i % 60) as f64), Some(98), "a small fall");
        assert_eq!(told(&|i| 40.0 + 10.0 * (i % 60) as f64), None, "it is cleared");
        assert_eq!(told(&|i| 10.0 * (i % 10) as f64), None, "it starts anew too often");
        assert_eq!(told(&|i| (i / 3) as f64), None, "it grows too rarely");
        assert_eq!(told(&|i| 10.0 * i as f64 - 5.0), None, "it was negative");
    }
}
