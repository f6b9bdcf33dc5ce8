//! From what arrives to the window: order, duplicates, counters, seasons.

mod counter;
mod seasonal;

pub use counter::Kind;
pub use seasonal::Seasonality;

pub(crate) use counter::growth;
pub(crate) use seasonal::Seasonal;

use super::point::{LARGEST, Point};
use super::window::{DAY, Scaling, Sliding, Statistics};
use crate::contract::Refusal;
use counter::{Counter, Step};
use peak_core::Timestamp;
use serde::{Deserialize, Serialize};

/// What becomes of a second point at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// How often a counter started anew.
    pub resets: u64,
    /// How often a counter showed less than before, and had not started anew.
    pub falls: u64,
}

impl FeedReport {
    /// Whether there is room to count on.
    fn is_valid(&self) -> bool {
        let FeedReport { in_order, inserted, too_late, duplicates, not_finite, resets, falls } = *self;
        [in_order, inserted, too_late, duplicates, not_finite, resets, falls]
            .iter()
            .all(|&count| count < 1 << 60)
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
    pub(crate) kind: Kind,
    pub(crate) seasonality: Option<Seasonality>,
}

/// What a series is taken for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Form {
    /// Not known yet; a declared counter before its first reading.
    Unknown,
    /// Values go up and down.
    Gauge,
    /// Values went up and down as no counter's do. It was taken for one before, and may be again.
    Watched(Watch),
    /// What is looked at is the growth.
    Counter(Box<Counter>),
}

/// Whether values that fell as no counter's do are those of a counter all the same.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Watch {
    /// How many readings in a row have not fallen, and how many of them grew.
    steps: u32,
    growing: u32,
}

impl Watch {
    fn step(&mut self, before: f64, value: f64) {
        if value < before || before < 0.0 {
            *self = Watch::default();
            return;
        }
        self.steps = self.steps.saturating_add(1);
        self.growing = self.growing.saturating_add((value > before).into());
    }

    fn is_counter(&self, patience: u32) -> bool {
        self.steps >= patience && 2 * u64::from(self.growing) >= u64::from(self.steps)
    }
}

/// So many readings in a row must not fall before what was taken for a counter in error is taken for one
/// again: twice as many after the first time, and after each time.
const PATIENCE: u32 = 500;

/// A counter's growth takes two readings.
const FIRST: Refusal = Refusal::TooShort { have: 1, need: 2 };

/// What became of the newest reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    /// It is the newest of the window.
    Entered,
    /// It was, and the window has been changed since.
    Changed,
    /// It is the first of a counter.
    First,
    /// The hour of its day is not known.
    Hour,
    /// The counter started anew,
    Reset,
    /// or fell otherwise.
    Fell,
}

impl Outcome {
    fn of(taken: Result<(), Refusal>) -> Self {
        match taken {
            Ok(()) => Outcome::Entered,
            Err(Refusal::Reset) => Outcome::Reset,
            Err(Refusal::Fell) => Outcome::Fell,
            Err(Refusal::TooShort { need: 2, .. }) => Outcome::First,
            Err(_) => Outcome::Hour,
        }
    }
}

/// A series as it arrives: puts points in order, applies the policy for duplicates, turns counters
/// into rates and takes a seasonal baseline off; the outcome is a [`Sliding`] window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    window: Sliding,
    form: Form,
    patience: u32,
    seasonal: Option<Box<Seasonal>>,
    /// What was taken off the newest point.
    baseline: f64,
    /// The newest reading that was in order: milliseconds and value.
    newest: Option<(i64, f64)>,
    outcome: Outcome,
    report: FeedReport,
}

impl Feed {
    /// How many readings it takes to tell a counter, or as many as a shorter window holds.
    pub const TO_TELL: usize = 100;

    pub(crate) fn new(rules: &FeedRules) -> peak_core::Result<Self> {
        Ok(Feed {
            window: Sliding::new(rules.window, rules.scaling)?,
            form: if rules.kind == Kind::Gauge { Form::Gauge } else { Form::Unknown },
            patience: PATIENCE,
            seasonal: rules.seasonality.map(|kind| Box::new(Seasonal::new(kind))),
            baseline: 0.0,
            newest: None,
            outcome: Outcome::Entered,
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

    /// Whether the series is taken for a counter: it was declared or recognised as one, see [`Kind`]. The
    /// window then holds its growth per second, and that is what verdicts, ranges and explanations are about.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        matches!(self.form, Form::Counter(_))
    }

    /// When the newest point was measured, whether or not it told enough to enter the window.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest.map(|(time, _)| Timestamp::from_millis(time).unwrap_or(Timestamp::MAX))
    }

    /// The point that was just learned as it was judged: of a counter, its growth per second in place of
    /// what it showed. This is what the detector's range of normal values is about, and what
    /// [`Incidents`](crate::Incidents) should be given. A point that was refused stays as it is.
    ///
    /// ```
    /// use peak_core::Timestamp;
    /// use peak_detectors::series::Kind;
    /// use peak_detectors::{Detector, Mad, Point};
    ///
    /// let at = |i: i64, value| Point::new(Timestamp::from_millis(1_000 * i).unwrap(), value);
    /// let mut requests = Mad::default().with_kind(Kind::Counter);
    /// (0..100).for_each(|i| requests.learn(&at(i, 7.0 * i as f64)));
    /// assert_eq!(requests.feed().as_judged(&at(99, 7.0 * 99.0)).value, 7.0);
    /// ```
    #[must_use]
    pub fn as_judged(&self, point: &Point) -> Point {
        if self.is_counter() && self.window.newest() == Some(point.time) {
            Point::new(point.time, self.window.last() + self.baseline)
        } else {
            *point
        }
    }

    /// What became of the newest point, which was learned already; `None` of any other point.
    pub(crate) fn again(&self, point: &Point) -> Option<Result<(), Refusal>> {
        let is_newest = self.newest == Some((point.time.millis(), point.value + 0.0));
        let known = || self.seasonal.as_ref().map_or(0, |seasonal| seasonal.known());
        is_newest.then(|| match self.outcome {
            Outcome::Entered => Ok(()),
            Outcome::Changed => Err(Refusal::Duplicate),
            Outcome::First => Err(FIRST),
            Outcome::Hour => Err(Refusal::TooShort { have: known() as u64, need: 24 }),
            Outcome::Reset => Err(Refusal::Reset),
            Outcome::Fell => Err(Refusal::Fell),
        })
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

    /// The bytes it takes, those on the heap included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let seasonal = self.seasonal.as_ref().map_or(0, |_| size_of::<Seasonal>() + 192 * 16);
        let counter = if self.is_counter() { size_of::<Counter>() } else { 0 };
        self.window.bytes() - size_of::<Sliding>() + size_of::<Self>() + seasonal + counter
    }

    /// Takes a point in: it is the newest of the window then. Whatever else becomes of it is a refusal; it
    /// may have been counted, inserted, or have taught something all the same.
    #[inline]
    pub(crate) fn take(&mut self, point: &Point, rules: &FeedRules) -> Result<(), Refusal> {
        let (time, value) = (point.time.millis(), point.value + 0.0);
        if !point.is_usable() {
            self.report.not_finite += 1;
            return Err(Refusal::NotFinite);
        }
        match self.newest {
            Some((newest, _)) if time < newest => Err(self.late(time, value, rules)),
            Some((newest, _)) if time == newest => Err(self.duplicate(time, value, rules)),
            _ => {
                self.report.in_order += 1;
                let before = self.newest.replace((time, value)).map_or(f64::NAN, |before| before.1);
                let taken = self.append(before, (time, value), rules);
                self.outcome = Outcome::of(taken);
                taken
            }
        }
    }

    #[inline]
    fn append(&mut self, before: f64, now: (i64, f64), rules: &FeedRules) -> Result<(), Refusal> {
        match &mut self.form {
            Form::Gauge => self.enter(now),
            Form::Unknown if rules.kind == Kind::Counter => {
                self.form = Form::Counter(Box::new(Counter::new(now)));
                Err(FIRST)
            }
            Form::Unknown => {
                self.window.push(now.0, now.1);
                if self.window.len() >= Self::TO_TELL.min(self.window.window()) {
                    self.decide()
                } else {
                    Ok(())
                }
            }
            Form::Watched(watch) => {
                watch.step(before, now.1);
                let watch = *watch;
                self.enter(now)?;
                if watch.is_counter(self.patience) { self.become_counter(now, watch.steps) } else { Ok(()) }
            }
            Form::Counter(counter) => {
                let before = **counter;
                match counter.step(now, rules.kind == Kind::Counter, &mut self.report) {
                    Step::Rate(rate) => self.enter((now.0, rate)),
                    Step::Refused(refusal) => Err(refusal),
                    Step::NoCounter => self.become_gauge(&before, now),
                }
            }
        }
    }

    /// Takes the season off and appends to the window.
    #[inline]
    fn enter(&mut self, (time, value): (i64, f64)) -> Result<(), Refusal> {
        let Some(seasonal) = &mut self.seasonal else {
            self.window.push(time, value);
            return Ok(());
        };
        let expected = seasonal.expected(time);
        seasonal.learn(time, value);
        let Some(expected) = expected else {
            return Err(Refusal::TooShort { have: seasonal.known() as u64, need: 24 });
        };
        self.baseline = expected;
        self.window.push(time, value - expected);
        Ok(())
    }

    /// Tells a counter from a gauge, and makes the window what it is for that kind.
    fn decide(&mut self) -> Result<(), Refusal> {
        let readings: Vec<(i64, f64)> = self.window.iter().collect();
        let Some((counter, rates)) = Counter::recognise(&readings, &mut self.report) else {
            self.form = Form::Gauge;
            return if self.seasonal.is_some() { self.start_anew(readings) } else { Ok(()) };
        };
        self.form = Form::Counter(Box::new(counter));
        let entered = self.start_anew(rates);
        counter.refusal().map_or(entered, Err)
    }

    /// Fills the window with other points. Says what became of the last.
    fn start_anew(&mut self, points: Vec<(i64, f64)>) -> Result<(), Refusal> {
        self.window.clear();
        let mut entered = Err(Refusal::Empty);
        points.into_iter().for_each(|point| entered = self.enter(point));
        entered
    }

    /// What was taken for a counter is none. The values before are those that it grew by since; where a
    /// season was taken off, they are not known.
    fn become_gauge(&mut self, counter: &Counter, now: (i64, f64)) -> Result<(), Refusal> {
        self.form = Form::Watched(Watch::default());
        self.patience = self.patience.saturating_mul(2);
        if self.forgets_season() {
            return self.enter(now);
        }
        let rates: Vec<(i64, f64)> = self.window.iter().collect();
        let mut values: Vec<(i64, f64)> = counter.fallen.into_iter().chain([counter.last]).collect();
        let is_known = rates.last().is_some_and(|rate| rate.0 == counter.last.0);
        let mut value = counter.last.1;
        // Adding up rounds: what was the same shall be the same again, and nothing nothing.
        let unit = libm::exp2(libm::floor(libm::log2(value.max(f64::MIN_POSITIVE))) - 40.0);
        for pair in rates.windows(2).rev().take_while(|_| is_known) {
            value -= pair[1].1 * (pair[1].0 - pair[0].0) as f64 / 1000.0;
            if value < 0.0 {
                break;
            }
            values.push((pair[0].0, libm::round(value / unit) * unit));
        }
        values.reverse();
        self.window.refill(&values);
        self.enter(now)
    }

    /// What has not fallen for so many steps is a counter after all.
    fn become_counter(&mut self, now: (i64, f64), steps: u32) -> Result<(), Refusal> {
        let mut counter = Counter::new(now);
        if self.forgets_season() {
            self.form = Form::Counter(Box::new(counter));
            return Err(FIRST);
        }
        let readings: Vec<(i64, f64)> = self.window.iter().collect();
        let since = readings.len().saturating_sub(steps as usize + 1);
        let rate = |pair: &[(i64, f64)]| Some((pair[1].0, growth(pair[0], pair[1])?));
        let rates: Vec<(i64, f64)> = readings[since..].windows(2).filter_map(rate).collect();
        // After a gap there may be none, and late points may lie between.
        if rates.last().is_some_and(|rate| rate.0 == now.0) {
            counter.fastest = rates.iter().map(|rate| rate.1).fold(0.0, f64::max);
            self.form = Form::Counter(Box::new(counter));
            self.window.refill(&rates);
        }
        Ok(())
    }

    /// The season of what a series was taken for is not the season of what it is. Says whether there is one.
    fn forgets_season(&mut self) -> bool {
        let Some(seasonal) = &mut self.seasonal else { return false };
        **seasonal = Seasonal::new(seasonal.kind());
        self.baseline = 0.0;
        self.window.clear();
        true
    }

    fn duplicate(&mut self, time: i64, value: f64, rules: &FeedRules) -> Refusal {
        self.report.duplicates += 1;
        let off = if self.seasonal.is_some() { self.baseline } else { 0.0 };
        match rules.duplicates {
            Duplicates::KeepFirst => {}
            _ if self.is_counter() => {}
            Duplicates::KeepLast => self.change(time, |_| value - off),
            Duplicates::Add => self.change(time, |first| first + value),
        }
        Refusal::Duplicate
    }

    fn change(&mut self, time: i64, change: impl Fn(f64) -> f64) {
        self.window.change(time, change);
        self.changed();
    }

    /// The window is not the one any more in which the newest point was judged.
    fn changed(&mut self) {
        if self.outcome == Outcome::Entered {
            self.outcome = Outcome::Changed;
        }
    }

    fn late(&mut self, time: i64, value: f64, rules: &FeedRules) -> Refusal {
        let newest = self.newest.map_or(i64::MIN, |newest| newest.0);
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
                        Duplicates::KeepLast => self.change(time, |_| value - baseline),
                        Duplicates::Add => self.change(time, |first| first + value),
                    }
                    return Refusal::Duplicate;
                }
                self.report.inserted += 1;
                self.window.insert(time, value - baseline);
                self.changed();
            }
            _ => self.report.too_late += 1,
        }
        Refusal::Late
    }

    pub(crate) fn is_valid(&self, rules: &FeedRules) -> bool {
        let seasonal = match (&self.seasonal, rules.seasonality) {
            (Some(seasonal), Some(kind)) => seasonal.is_valid(kind),
            (None, None) => true,
            _ => false,
        };
        let may_be = match rules.kind {
            Kind::Gauge => self.form == Form::Gauge,
            Kind::Counter => matches!(self.form, Form::Unknown | Form::Counter(_)),
            Kind::Recognised => true,
        };
        let of_window = self.window.newest().map(Timestamp::millis);
        let is_newest = match self.newest {
            Some((time, value)) => {
                let is_usable = Timestamp::from_millis(time).is_ok() && value.abs() < Point::LIMIT;
                is_usable && of_window.is_none_or(|of_window| of_window <= time)
            }
            None => of_window.is_none(),
        };
        let is_form = match &self.form {
            Form::Unknown | Form::Gauge => true,
            Form::Watched(Watch { steps, growing }) => growing <= steps,
            Form::Counter(counter) => {
                self.newest.is_some_and(|(time, _)| counter.is_valid(time, Point::LIMIT))
            }
        };
        seasonal
            && may_be
            && is_newest
            && is_form
            && self.patience >= PATIENCE
            && self.baseline.abs() <= LARGEST
            && self.report.is_valid()
            && self.window.is_valid(rules.window, rules.scaling)
    }
}
