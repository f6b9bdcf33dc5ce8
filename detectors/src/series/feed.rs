//! From what arrives to the window: order, duplicates, counters, seasons.

mod counter;
mod seasonal;

pub use seasonal::Seasonality;

pub(crate) use seasonal::Seasonal;

use super::point::{LARGEST, Point};
use super::window::{DAY, Scaling, Sliding, Statistics};
use counter::{Kind, Step};
use peak_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What becomes of a second point at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Duplicates {
    /// The first one stays.
    #[default]
    KeepFirst,
    /// The last one takes its place.
    KeepLast,
    /// Their values are added.
    Add,
}

/// What arrived, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeedReport {
    /// Points that were the newest when they came.
    pub in_order: u64,
    /// Points that came late and were inserted.
    pub inserted: u64,
    /// Points that came too late.
    pub too_late: u64,
    /// Points at a time that had one already.
    pub duplicates: u64,
    /// Points whose value is not finite, or too large.
    pub not_finite: u64,
    /// Starts of a counter.
    pub resets: u64,
}

impl FeedReport {
    /// Whether there is room to count on.
    fn is_valid(&self) -> bool {
        let FeedReport { in_order, inserted, too_late, duplicates, not_finite, resets } = *self;
        [in_order, inserted, too_late, duplicates, not_finite, resets].iter().all(|&count| count < 1 << 60)
    }
}

/// How points are taken in; a program's configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FeedRules {
    pub(crate) window: usize,
    pub(crate) scaling: Scaling,
    /// In milliseconds before the newest point.
    pub(crate) lateness: i64,
    pub(crate) duplicates: Duplicates,
    pub(crate) counters: Counters,
    pub(crate) seasonality: Option<Seasonality>,
}

/// Whether counters are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counters {
    Recognised,
    Ignored,
}

/// How many points it takes to tell a counter.
const TO_TELL: usize = 100;

/// A series as it arrives: puts points in order, applies the policy for duplicates, turns counters
/// into rates and takes a seasonal baseline off; the outcome is a [`Sliding`] window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    window: Sliding,
    kind: Kind,
    seasonal: Option<Box<Seasonal>>,
    /// What was taken off the newest point.
    baseline: f64,
    report: FeedReport,
}

/// What became of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is the newest of the window.
    Newest,
    /// It came late, and was inserted or refused.
    Late,
    /// There is one at its time.
    Duplicate,
    /// It is not usable.
    NotFinite,
    /// It told something, but is not in the window: the start of a counter, or an hour that is not
    /// known yet.
    Aside,
}

impl Feed {
    pub(crate) fn new(rules: &FeedRules) -> peak_core::Result<Self> {
        Ok(Feed {
            window: Sliding::new(rules.window, rules.scaling)?,
            kind: match rules.counters {
                Counters::Recognised => Kind::Undecided,
                Counters::Ignored => Kind::Gauge,
            },
            seasonal: rules.seasonality.map(|kind| Box::new(Seasonal::new(kind))),
            baseline: 0.0,
            report: FeedReport::default(),
        })
    }

    /// The window that tests look at: rates for a counter, residuals where a season is taken off.
    #[must_use]
    pub fn window(&self) -> &Sliding {
        &self.window
    }

    /// What was taken off the newest point: the seasonal baseline, or 0.
    #[must_use]
    pub fn baseline(&self) -> f64 {
        self.baseline
    }

    /// Whether the series was recognised as a counter.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        matches!(self.kind, Kind::Counter { .. })
    }

    /// What arrived.
    #[must_use]
    pub fn report(&self) -> FeedReport {
        self.report
    }

    /// How much of the last day is there, in percent: 100 · n / (86,400 s / resolution). `None` while
    /// the resolution is not known.
    #[must_use]
    pub fn density(&self) -> Option<f64> {
        let newest = self.window.newest()?.millis();
        let of_day = self.window.iter().filter(|point| point.0 > newest - DAY).count();
        let resolution = self.window.resolution();
        (resolution > 0).then(|| 100.0 * of_day as f64 * resolution as f64 / DAY as f64)
    }

    /// Hours of the day that a seasonal baseline knows; `None` without one.
    pub(crate) fn hours_known(&self) -> Option<usize> {
        self.seasonal.as_ref().map(|seasonal| seasonal.known())
    }

    /// The bytes it takes, those on the heap included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let seasonal = self.seasonal.as_ref().map_or(0, |_| size_of::<Seasonal>() + 192 * 16);
        self.window.bytes() - size_of::<Sliding>() + size_of::<Self>() + seasonal
    }

    /// What would become of a point. Nothing changes.
    fn order(&self, point: &Point) -> Taken {
        if !point.is_usable() {
            return Taken::NotFinite;
        }
        let time = point.time.millis();
        let newest = match self.kind {
            Kind::Counter { time, .. } => Some(time),
            _ => self.window.newest().map(Timestamp::millis),
        };
        match newest {
            Some(newest) if time < newest => Taken::Late,
            Some(newest) if time == newest => Taken::Duplicate,
            _ => Taken::Newest,
        }
    }

    #[inline]
    pub(crate) fn take(&mut self, point: &Point, rules: &FeedRules) -> Taken {
        let (time, value) = (point.time.millis(), point.value + 0.0);
        match self.order(point) {
            Taken::Newest => {
                self.report.in_order += 1;
                self.append(time, value)
            }
            Taken::NotFinite => {
                self.report.not_finite += 1;
                Taken::NotFinite
            }
            Taken::Duplicate => self.duplicate(time, value, rules),
            Taken::Late | Taken::Aside => self.late(time, value, rules),
        }
    }

    #[inline]
    fn append(&mut self, time: i64, value: f64) -> Taken {
        match self.kind {
            Kind::Gauge => self.enter(time, value),
            Kind::Undecided => {
                self.window.push(time, value);
                if self.window.len() >= TO_TELL.min(self.window.window()) {
                    self.decide()
                } else {
                    Taken::Newest
                }
            }
            Kind::Counter { time: last_time, value: last } => {
                self.kind = Kind::Counter { time, value };
                match counter::step((last_time, last), (time, value)) {
                    Step::Rate(rate) => self.enter(time, rate),
                    Step::Reset => {
                        self.report.resets += 1;
                        Taken::Aside
                    }
                    Step::Fall => {
                        self.kind = Kind::Gauge;
                        self.window.clear();
                        self.enter(time, value)
                    }
                }
            }
        }
    }

    /// Takes the season off and appends to the window.
    #[inline]
    fn enter(&mut self, time: i64, value: f64) -> Taken {
        let Some(seasonal) = &mut self.seasonal else {
            self.window.push(time, value);
            return Taken::Newest;
        };
        let expected = seasonal.expected(time);
        seasonal.learn(time, value);
        match expected {
            Some(expected) => {
                self.baseline = expected;
                self.window.push(time, value - expected);
                Taken::Newest
            }
            None => Taken::Aside,
        }
    }

    /// Tells a counter from a gauge, and makes the window what it is for that kind.
    fn decide(&mut self) -> Taken {
        let points: Vec<(i64, f64)> = self.window.iter().collect();
        let last = points[points.len() - 1];
        let is_counter = counter::is_counter(&points);
        self.kind = if is_counter { Kind::Counter { time: last.0, value: last.1 } } else { Kind::Gauge };
        if !is_counter && self.seasonal.is_none() {
            return Taken::Newest;
        }
        let points = if is_counter { counter::rates(&points) } else { points };
        self.window.clear();
        points.into_iter().fold(Taken::Aside, |_, (time, value)| self.enter(time, value))
    }

    fn duplicate(&mut self, time: i64, value: f64, rules: &FeedRules) -> Taken {
        self.report.duplicates += 1;
        let off = if self.seasonal.is_some() { self.baseline } else { 0.0 };
        match rules.duplicates {
            Duplicates::KeepFirst => {}
            _ if self.is_counter() => {}
            Duplicates::KeepLast => self.window.change(time, |_| value - off),
            Duplicates::Add => self.window.change(time, |first| first + value),
        }
        Taken::Duplicate
    }

    fn late(&mut self, time: i64, value: f64, rules: &FeedRules) -> Taken {
        let newest = self.window.newest().map_or(i64::MIN, Timestamp::millis);
        let baseline = match &mut self.seasonal {
            Some(seasonal) => seasonal.expected(time),
            None => Some(0.0),
        };
        match baseline {
            Some(baseline) if time >= newest.saturating_sub(rules.lateness) && !self.is_counter() => {
                if self.window.iter().any(|point| point.0 == time) {
                    self.report.duplicates += 1;
                    match rules.duplicates {
                        Duplicates::KeepFirst => {}
                        Duplicates::KeepLast => self.window.change(time, |_| value - baseline),
                        Duplicates::Add => self.window.change(time, |first| first + value),
                    }
                    return Taken::Duplicate;
                }
                self.report.inserted += 1;
                self.window.insert(time, value - baseline);
            }
            _ => self.report.too_late += 1,
        }
        Taken::Late
    }

    pub(crate) fn is_valid(&self, rules: &FeedRules) -> bool {
        let seasonal = match (&self.seasonal, rules.seasonality) {
            (Some(seasonal), Some(kind)) => seasonal.is_valid(kind),
            (None, None) => true,
            _ => false,
        };
        let kind = match self.kind {
            Kind::Gauge => true,
            Kind::Undecided => rules.counters == Counters::Recognised,
            Kind::Counter { time, value } => {
                let is_next = self.window.newest().is_none_or(|newest| newest.millis() <= time);
                let is_usable = Timestamp::from_millis(time).is_ok() && value.abs() < Point::LIMIT;
                rules.counters == Counters::Recognised && is_next && is_usable
            }
        };
        seasonal
            && kind
            && self.baseline.abs() <= LARGEST
            && self.report.is_valid()
            && self.window.is_valid(rules.window, rules.scaling)
    }
}
