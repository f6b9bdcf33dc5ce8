//! What is kept of one key, and the row that follows from it.

use super::config::{Layout, Plain, SpreadColumns, TimeFeature};
use super::exact::Totals;
use super::extremes::Smallest;
use crate::contract::Refusal;
use crate::series::{Point, Seasonal, Seasonality, Spread, growth};
use crate::time::clock::Clock;
use peak_core::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The newest readings of a key: as many as windows and lags look at. All else follows from them, but for
/// the seasons.
#[derive(Debug, Clone)]
pub(super) struct History {
    first: i64,
    times: VecDeque<i64>,
    /// As many for each reading as there are metrics.
    values: VecDeque<f64>,
    /// Per metric.
    last: Vec<Last>,
    /// Per window, the place of its first reading.
    starts: Vec<usize>,
    totals: Vec<Totals>,
    extremes: Vec<Smallest>,
    seasons: Vec<Seasonal>,
}

/// The newest value of a metric.
#[derive(Debug, Clone, Copy)]
struct Last {
    time: i64,
    /// Not a number before the first.
    value: f64,
    /// How many of the newest values are the same.
    same: u64,
}

/// The stored form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HistoryMemory {
    first: i64,
    times: VecDeque<i64>,
    values: VecDeque<f64>,
    /// Time and value; a value may be older than all readings that are kept.
    last: Vec<(i64, f64)>,
    seasons: Vec<Seasonal>,
}

impl History {
    /// Of a key whose first reading is at a time.
    pub(super) fn new(layout: &Layout, first: i64) -> Self {
        let totals = |columns: Option<usize>| match columns {
            Some(_) => Totals::of_deviation(),
            None => Totals::of_mean(),
        };
        History {
            first,
            times: VecDeque::new(),
            values: VecDeque::new(),
            last: vec![Last { time: first, value: f64::NAN, same: 0 }; layout.metrics.len()],
            starts: vec![0; layout.windows.len()],
            totals: layout.spreads.iter().map(|of| totals(of.columns.deviation)).collect(),
            extremes: vec![Smallest::default(); layout.extremes.len()],
            seasons: vec![Seasonal::new(Seasonality::Weekly(layout.zone)); layout.seasons.len()],
        }
    }

    pub(super) fn newest(&self) -> Option<i64> {
        self.times.back().copied()
    }

    /// Why a reading at a time cannot be taken in.
    #[inline]
    pub(super) fn check_order(&self, time: i64) -> Result<(), Refusal> {
        match self.newest() {
            Some(newest) if time < newest => Err(Refusal::Late),
            Some(newest) if time == newest => Err(Refusal::Duplicate),
            _ => Ok(()),
        }
    }

    /// Why a reading at a time has no row.
    #[inline]
    pub(super) fn check_warm(&self, layout: &Layout, time: i64) -> Result<(), Refusal> {
        if self.times.len() < layout.lags {
            return Err(Refusal::TooShort { have: self.times.len() as u64, need: layout.lags as u64 });
        }
        if time - self.first < layout.span {
            let have = (time - self.first).unsigned_abs() / 1_000;
            return Err(Refusal::Incomplete { have, need: layout.span.unsigned_abs().div_ceil(1_000) });
        }
        Ok(())
    }

    /// The place of a window's first reading, once there is another at a time.
    #[inline]
    fn start(&self, layout: &Layout, window: usize, time: i64) -> usize {
        let after = time - layout.windows[window];
        let mut start = self.starts[window].max((self.times.len() + 1).saturating_sub(layout.most));
        while self.times.get(start).is_some_and(|&time| time <= after) {
            start += 1;
        }
        start
    }

    /// The time up to which readings are too old for a window.
    #[inline]
    fn after(&self, start: usize) -> i64 {
        start.checked_sub(1).and_then(|before| self.times.get(before)).copied().unwrap_or(i64::MIN)
    }

    #[inline]
    fn value(&self, layout: &Layout, reading: usize, metric: usize) -> f64 {
        self.values[reading * layout.metrics.len() + metric]
    }

    /// Takes in a reading, whose order was checked.
    #[inline]
    pub(super) fn learn(&mut self, layout: &Layout, time: i64, values: &[f64]) {
        for (last, &x) in self.last.iter_mut().zip(values).filter(|(_, x)| !x.is_nan()) {
            let same = if last.value == x { last.same + 1 } else { 1 };
            *last = Last { time, value: x + 0.0, same };
        }
        for (season, &metric) in self.seasons.iter_mut().zip(&layout.seasons) {
            if !values[metric].is_nan() {
                season.learn(time, values[metric]);
            }
        }
        let mut oldest = self.times.len();
        let mut totals = std::mem::take(&mut self.totals);
        for window in 0..self.starts.len() {
            let start = self.start(layout, window, time);
            for (of, totals) in layout.spreads.iter().zip(&mut totals).filter(|(of, _)| of.window == window) {
                self.slide(layout, totals, (window, of.metric), start);
                totals.add(values[of.metric] + 0.0);
            }
            let after = self.after(start);
            for (of, smallest) in layout.extremes.iter().zip(&mut self.extremes) {
                if of.window == window {
                    smallest.push(after, time, of.columns.sign * (values[of.metric] + 0.0));
                }
            }
            self.starts[window] = start;
            oldest = oldest.min(start);
        }
        self.totals = totals;
        self.times.push_back(time);
        self.values.extend(values.iter().map(|x| x + 0.0));
        let gone = oldest.min(self.times.len().saturating_sub(layout.lags));
        if gone > 0 {
            self.times.drain(..gone);
            self.values.drain(..gone * layout.metrics.len());
            self.starts.iter_mut().for_each(|start| *start -= gone);
        }
    }

    /// Takes away the values that a window leaves behind when it starts at another place, or adds up
    /// those that stay where these are fewer: sums are exact, so both give the same.
    #[inline]
    fn slide(&self, layout: &Layout, totals: &mut Totals, (window, metric): (usize, usize), start: usize) {
        let (before, len) = (self.starts[window], self.times.len());
        if start - before <= len - start {
            (before..start).for_each(|reading| totals.remove(self.value(layout, reading, metric)));
        } else {
            totals.clear();
            (start..len).for_each(|reading| totals.add(self.value(layout, reading, metric)));
        }
    }

    /// The features that need no window, of a reading that was not taken in yet.
    #[inline]
    pub(super) fn plain(&self, layout: &Layout, clock: &Clock, time: i64, values: &[f64], row: &mut [f64]) {
        for &(column, plain) in &layout.plain {
            let before = |metric: usize| self.last[metric];
            row[column] = match plain {
                Plain::Time(TimeFeature::Epoch) => time as f64 / 1_000.0,
                Plain::Time(TimeFeature::Relative) => (time - self.first) as f64 / 1_000.0,
                Plain::Time(TimeFeature::Hour) => {
                    let (sin, cos) = clock.hour(time);
                    row[column + 1] = cos;
                    sin
                }
                Plain::Time(TimeFeature::Weekday) => {
                    let (sin, cos) = clock.weekday(time);
                    row[column + 1] = cos;
                    sin
                }
                Plain::Value(metric) => values[metric] + 0.0,
                Plain::Lag(metric, readings) => self.value(layout, self.times.len() - readings, metric),
                Plain::Difference(metric) => values[metric] - before(metric).value,
                Plain::Rate(metric) => {
                    let Last { time: since, value, .. } = before(metric);
                    growth((since, value), (time, values[metric])).unwrap_or(f64::NAN)
                }
                Plain::Residual(season, metric) => {
                    let usual = self.seasons[season].expected_at(clock.local(time));
                    values[metric] - usual.unwrap_or(f64::NAN)
                }
            };
        }
    }

    /// The features of windows, of a reading that is not taken in.
    pub(super) fn windows_with(&self, layout: &Layout, time: i64, values: &[f64], row: &mut [f64]) {
        for (of, totals) in layout.spreads.iter().zip(&self.totals) {
            let (start, x) = (self.start(layout, of.window, time), values[of.metric] + 0.0);
            let mut totals = totals.clone();
            self.slide(layout, &mut totals, (of.window, of.metric), start);
            totals.add(x);
            let Last { value, same, .. } = self.last[of.metric];
            let same = if x.is_nan() || value == x { same + u64::from(!x.is_nan()) } else { 1 };
            put(totals.spread(same), &of.columns, row);
        }
        for (of, smallest) in layout.extremes.iter().zip(&self.extremes) {
            let after = self.after(self.start(layout, of.window, time));
            let sign = of.columns.sign;
            row[of.columns.column] = sign * smallest.value_with(after, sign * (values[of.metric] + 0.0));
        }
    }

    /// The features of windows, of the newest reading.
    #[inline]
    pub(super) fn windows(&self, layout: &Layout, row: &mut [f64]) {
        for (of, totals) in layout.spreads.iter().zip(&self.totals) {
            put(totals.spread(self.last[of.metric].same), &of.columns, row);
        }
        for (of, smallest) in layout.extremes.iter().zip(&self.extremes) {
            row[of.columns.column] = of.columns.sign * smallest.value();
        }
    }

    pub(super) fn memory(&self) -> impl Serialize {
        let last: Vec<(i64, f64)> = self.last.iter().map(|last| (last.time, last.value)).collect();
        // Named like the fields of `HistoryMemory`, and in their order.
        #[derive(Serialize)]
        struct Stored<'a> {
            first: i64,
            times: &'a VecDeque<i64>,
            values: &'a VecDeque<f64>,
            last: Vec<(i64, f64)>,
            seasons: &'a [Seasonal],
        }
        Stored { first: self.first, times: &self.times, values: &self.values, last, seasons: &self.seasons }
    }

    /// What was stored; `None` when it makes no sense.
    pub(super) fn restored(layout: &Layout, memory: HistoryMemory) -> Option<Self> {
        let HistoryMemory { first, times, values, last, seasons } = memory;
        let (metrics, newest) = (layout.metrics.len(), *times.back()?);
        let is_time = |time: i64| (Timestamp::MIN.millis()..=Timestamp::MAX.millis()).contains(&time);
        let is_value = |x: f64| x.is_nan() || x.abs() < Point::LIMIT;
        let ascending = times.iter().zip(times.iter().skip(1)).all(|(a, b)| a < b);
        let in_range = first <= times[0] && is_time(first) && is_time(newest);
        let values_fit = values.len() == times.len() * metrics && values.iter().all(|&x| is_value(x));
        let last_fits = last.len() == metrics
            && last.iter().all(|&(time, x)| (first..=newest).contains(&time) && is_value(x));
        let kind = Seasonality::Weekly(layout.zone);
        let seasons_fit =
            seasons.len() == layout.seasons.len() && seasons.iter().all(|season| season.is_valid(kind));
        if !(ascending && in_range && values_fit && last_fits && seasons_fit) {
            return None;
        }
        let mut history = History::new(layout, first);
        for (own, (time, value)) in history.last.iter_mut().zip(last) {
            *own = Last { time, value: value + 0.0, same: 0 };
        }
        let values: Vec<f64> = values.into();
        for (&time, values) in times.iter().zip(values.chunks(metrics)) {
            history.learn(layout, time, values);
        }
        history.seasons = seasons;
        Some(history)
    }
}

#[inline]
fn put(spread: Spread, columns: &SpreadColumns, row: &mut [f64]) {
    if let Some(column) = columns.mean {
        row[column] = spread.mean;
    }
    if let Some(column) = columns.deviation {
        row[column] = spread.deviation;
    }
}
