//! The newest points of a series, and running statistics of them.

use super::lengths::{DAY, Lengths, Scaling, modal};
use super::ranks::Ranks;
use super::statistics::{BINS, DECAY, Line, Spread, Statistics};
use super::statistics::{bias_correction, bin, distance_of_sorted, tail_of};
use super::sum::Sum;
use crate::series::point::LARGEST;
use peak_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// The last W points of a series, in 16 bytes a point, with everything in [`Statistics`] kept up to date.
///
/// A new point takes its place in O(log W) comparisons and one short move of memory. Sums are
/// compensated, relative to an offset near the mean, and made anew once per window length; medians
/// come from the order of the values. Times are kept as steps from point to point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sliding {
    window: usize,
    scaling: Scaling,
    /// A ring: the oldest point stands in slot `head` once the window is full.
    values: Vec<f64>,
    /// Milliseconds since the point before.
    gaps: Vec<u32>,
    head: usize,
    oldest: i64,
    newest: i64,
    ranks: Ranks,
    /// Points until the statistics are made anew.
    until_anew: usize,
    resolution: i64,
    lengths: Lengths,
    offset: f64,
    sum: Sum,
    squares: Sum,
    products: Sum,
    /// Times are counted in milliseconds from here.
    origin: i64,
    times: i128,
    times_squared: i128,
    hour: Hour,
    recent: Recent,
    moving: Moving,
    /// Where the closest half of the values began when it was last looked for.
    closest: usize,
    median: f64,
    median_deviation: f64,
}

/// A place in the window, counted from the oldest point, and the time of the point there.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Cursor {
    index: usize,
    time: i64,
}

/// Sums over the first hour of the last day.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Hour {
    from: Cursor,
    to: Cursor,
    sum: Sum,
    squares: Sum,
    /// How many values differ from the one before, in the hour.
    changes: usize,
}

/// How the values of reference and probe are distributed, on a coarse scale.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Recent {
    reference: Cursor,
    probe: Cursor,
    in_reference: [u16; CELLS],
    in_probe: [u16; CELLS],
}

const CELLS: usize = 32;

/// Mean and squared deviations under exponential weights, in West's form (1979).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Moving {
    mean: f64,
    squares: f64,
    /// The weight of the point before the oldest: bⁿ.
    power: f64,
}

impl Moving {
    /// Takes in a point; `n` points were there before.
    #[inline]
    fn add(&mut self, x: f64, n: usize) {
        if n == 0 {
            *self = Moving { mean: x, squares: 0.0, power: DECAY };
            return;
        }
        let before = DECAY * (1.0 - self.power) / (1.0 - DECAY);
        let share = 1.0 / (before + 1.0);
        let off = x - self.mean;
        self.mean += off * share;
        self.squares = DECAY * self.squares + off * off * before * share;
        self.power *= DECAY;
    }

    /// Forgets the oldest point. Says whether what remains still has its digits: it has not when the
    /// point was nearly all there was.
    #[inline]
    fn remove(&mut self, x: f64) -> bool {
        let weight = self.power / DECAY;
        let before = (1.0 - self.power) / (1.0 - DECAY);
        let after = before - weight;
        let off = x - self.mean;
        self.mean -= weight * off / after;
        let squares = self.squares - weight * off * off * before / after;
        let is_exact = squares >= 1e-6 * self.squares;
        (self.squares, self.power) = (squares.max(0.0), weight);
        is_exact
    }
}

impl Sliding {
    /// The shortest window.
    pub const LEAST: usize = 3;
    /// The longest window.
    pub const MOST: usize = Ranks::MOST - 1;

    pub(crate) fn new(window: usize, scaling: Scaling) -> Result<Self> {
        if !(Self::LEAST..=Self::MOST).contains(&window) {
            let rule = format!("must be from {} to {} points", Self::LEAST, Self::MOST);
            return Err(Error::invalid("window", rule, window));
        }
        Ok(Sliding {
            window,
            scaling,
            values: Vec::new(),
            gaps: Vec::new(),
            head: 0,
            oldest: 0,
            newest: 0,
            ranks: Ranks::default(),
            until_anew: 0,
            resolution: 0,
            lengths: Lengths::new(scaling, 0),
            offset: 0.0,
            sum: Sum::default(),
            squares: Sum::default(),
            products: Sum::default(),
            origin: 0,
            times: 0,
            times_squared: 0,
            hour: Hour::default(),
            recent: Recent::default(),
            moving: Moving::default(),
            closest: 0,
            median: 0.0,
            median_deviation: 0.0,
        })
    }

    /// The most points it holds.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// The time of the newest point.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        (!self.is_empty()).then(|| Timestamp::from_millis(self.newest).unwrap_or(Timestamp::MAX))
    }

    /// The most frequent step between points in milliseconds, as of when the statistics were last made
    /// anew; 0 when it is not known.
    #[must_use]
    pub fn resolution(&self) -> i64 {
        self.resolution
    }

    /// The points, oldest first, as milliseconds and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        let mut time = self.oldest;
        (0..self.len()).map(move |index| {
            let slot = self.slot(index);
            if index > 0 {
                time += i64::from(self.gaps[slot]);
            }
            (time, self.values[slot])
        })
    }

    /// The bytes it takes, those on the heap included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * 8 + self.gaps.capacity() * 4 + self.ranks.capacity() * 4
    }

    #[inline]
    fn slot(&self, index: usize) -> usize {
        let slot = self.head + index;
        if slot >= self.values.len() { slot - self.values.len() } else { slot }
    }

    #[inline]
    fn at(&self, index: usize) -> f64 {
        self.values[self.slot(index)]
    }

    /// Appends a point that is newer than all others. After a gap of more than 49 days the window
    /// starts anew.
    #[inline]
    pub(crate) fn push(&mut self, time: i64, value: f64) {
        debug_assert!(self.is_empty() || time > self.newest);
        let gap = u32::try_from(time - self.newest).unwrap_or(0);
        if self.is_empty() || gap == 0 {
            self.clear();
            self.oldest = time;
        }
        self.advance(time);
        let mut moving_is_exact = true;
        let slot = if self.len() < self.window {
            self.grow();
            let slot = self.len();
            self.ranks.insert(value, slot, &self.values);
            self.values.push(value);
            self.gaps.push(gap);
            slot
        } else {
            let slot = self.head;
            moving_is_exact = self.forget_oldest();
            self.ranks.replace(slot, value, &self.values);
            self.values[slot] = value;
            self.gaps[slot] = gap;
            slot
        };
        self.newest = time;
        // A full ring counts the point that was just replaced as its last one.
        self.take_in(slot, time, value);
        if !moving_is_exact {
            self.renew_moving();
        }
        if self.until_anew == 0 {
            self.renew();
        } else {
            self.until_anew -= 1;
        }
        self.find_medians();
    }

    /// Makes room: by doubling, never for more than the window.
    fn grow(&mut self) {
        let n = self.len();
        if n == self.values.capacity() {
            let more = n.max(64).min(self.window - n);
            self.values.reserve_exact(more);
            self.gaps.reserve_exact(more);
            self.ranks.reserve(more);
        }
    }

    fn take_in(&mut self, slot: usize, time: i64, value: f64) {
        let index = self.len() - 1;
        for cursor in
            [&mut self.hour.from, &mut self.hour.to, &mut self.recent.reference, &mut self.recent.probe]
        {
            if cursor.index == index {
                cursor.time = time;
            }
        }
        debug_assert_eq!(self.slot(index), slot);
        self.recent.in_probe[self.cell(value)] += 1;
        self.moving.add(value, index.min(self.window - 1));
        self.add_to_sums(time, value);
    }

    #[inline]
    fn add_to_sums(&mut self, time: i64, value: f64) {
        let (x, y) = (time - self.origin, value - self.offset);
        self.sum.add(y);
        self.squares.add_product(y, y);
        self.products.add_product(x as f64, y);
        self.times += i128::from(x);
        self.times_squared += i128::from(x) * i128::from(x);
    }

    #[inline]
    fn cell(&self, value: f64) -> usize {
        usize::from(self.ranks.key(value) >> 11)
    }

    /// Takes the oldest point out of everything but the ring and the order. Says whether the moving
    /// average still has its digits.
    #[inline]
    fn forget_oldest(&mut self) -> bool {
        if self.hour.to.index == 0 {
            self.enter_hour();
        }
        if self.hour.from.index == 0 {
            self.leave_hour();
        }
        if self.recent.probe.index == 0 {
            self.enter_reference();
        }
        if self.recent.reference.index == 0 {
            self.leave_reference();
        }
        for cursor in
            [&mut self.hour.from, &mut self.hour.to, &mut self.recent.reference, &mut self.recent.probe]
        {
            cursor.index -= 1;
        }
        let value = self.values[self.head];
        let (x, y) = (self.oldest - self.origin, value - self.offset);
        self.sum.add(-y);
        self.squares.add_product(-y, y);
        self.products.add_product(-(x as f64), y);
        self.times -= i128::from(x);
        self.times_squared -= i128::from(x) * i128::from(x);
        let next = self.slot(1);
        self.oldest += i64::from(self.gaps[next]);
        self.head = next;
        self.moving.remove(value)
    }

    fn renew_moving(&mut self) {
        let mut moving = Moving::default();
        (0..self.len()).for_each(|index| moving.add(self.at(index), index));
        self.moving = moving;
    }

    /// Moves the parts of the window along with the newest time.
    #[inline]
    fn advance(&mut self, now: i64) {
        let Lengths { hour, probe, both } = self.lengths;
        let n = self.len();
        while self.hour.to.index < n && self.hour.to.time < now - DAY + hour {
            self.enter_hour();
        }
        while self.hour.from.index < self.hour.to.index && self.hour.from.time <= now - DAY {
            self.leave_hour();
        }
        while self.recent.probe.index < n && self.recent.probe.time < now - probe {
            self.enter_reference();
        }
        while self.recent.reference.index < self.recent.probe.index && self.recent.reference.time < now - both
        {
            self.leave_reference();
        }
    }

    #[inline]
    fn next(&self, cursor: Cursor) -> Cursor {
        let index = cursor.index + 1;
        let step = if index < self.len() { i64::from(self.gaps[self.slot(index)]) } else { 0 };
        Cursor { index, time: cursor.time + step }
    }

    #[inline]
    fn enter_hour(&mut self) {
        let Cursor { index, .. } = self.hour.to;
        let value = self.at(index);
        let y = value - self.offset;
        self.hour.sum.add(y);
        self.hour.squares.add_product(y, y);
        if index > self.hour.from.index && value != self.at(index - 1) {
            self.hour.changes += 1;
        }
        self.hour.to = self.next(self.hour.to);
    }

    #[inline]
    fn leave_hour(&mut self) {
        let Cursor { index, .. } = self.hour.from;
        let value = self.at(index);
        let y = value - self.offset;
        self.hour.sum.add(-y);
        self.hour.squares.add_product(-y, y);
        if index + 1 < self.hour.to.index && value != self.at(index + 1) {
            self.hour.changes -= 1;
        }
        self.hour.from = self.next(self.hour.from);
    }

    #[inline]
    fn enter_reference(&mut self) {
        let cell = self.cell(self.at(self.recent.probe.index));
        self.recent.in_probe[cell] -= 1;
        self.recent.in_reference[cell] += 1;
        self.recent.probe = self.next(self.recent.probe);
    }

    #[inline]
    fn leave_reference(&mut self) {
        let cell = self.cell(self.at(self.recent.reference.index));
        self.recent.in_reference[cell] -= 1;
        self.recent.reference = self.next(self.recent.reference);
    }

    /// Makes all statistics anew from the points: caps the drift of sums, follows the resolution and
    /// the range of values.
    fn renew(&mut self) {
        let n = self.len();
        self.until_anew = n;
        self.ranks.scale_anew(&self.values);
        let mut gaps: Vec<u32> = (1..n).map(|index| self.gaps[self.slot(index)]).collect();
        self.resolution = modal(&mut gaps);
        self.lengths = Lengths::new(self.scaling, self.resolution);
        self.offset = self.values.iter().sum::<f64>() / n as f64;
        self.origin = self.oldest;
        (self.sum, self.squares, self.products) = Default::default();
        (self.times, self.times_squared) = (0, 0);
        self.renew_moving();
        let first = Cursor { index: 0, time: self.oldest };
        self.hour = Hour { from: first, to: first, ..Hour::default() };
        self.recent = Recent { reference: first, probe: first, ..Recent::default() };
        let mut time = self.oldest;
        for index in 0..n {
            let slot = self.slot(index);
            let value = self.values[slot];
            time += if index > 0 { i64::from(self.gaps[slot]) } else { 0 };
            self.add_to_sums(time, value);
            let cell = self.cell(value);
            self.recent.in_probe[cell] += 1;
        }
        self.advance(self.newest);
    }

    /// Inserts a point among the others. It costs as much as a whole window.
    pub(crate) fn insert(&mut self, time: i64, value: f64) {
        let mut points: Vec<(i64, f64)> = self.iter().collect();
        let index = points.partition_point(|point| point.0 < time);
        points.insert(index, (time, value));
        self.refill(&points);
    }

    /// Changes the value at a time, if there is one.
    pub(crate) fn change(&mut self, time: i64, change: impl Fn(f64) -> f64) {
        let mut points: Vec<(i64, f64)> = self.iter().collect();
        if let Ok(index) = points.binary_search_by_key(&time, |point| point.0) {
            points[index].1 = change(points[index].1);
            self.refill(&points);
        }
    }

    /// Forgets everything and takes the newest of these points, which are in order of time.
    pub(crate) fn refill(&mut self, points: &[(i64, f64)]) {
        let mut points = &points[points.len().saturating_sub(self.window)..];
        let is_long = |pair: &[(i64, f64)]| u32::try_from(pair[1].0 - pair[0].0).is_err();
        if let Some(gap) = points.windows(2).rposition(is_long) {
            points = &points[gap + 1..];
        }
        self.clear();
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        (self.oldest, self.newest) = (first.0, last.0);
        self.values.extend(points.iter().map(|point| point.1));
        let steps = points.windows(2).map(|pair| (pair[1].0 - pair[0].0) as u32);
        self.gaps.extend(std::iter::once(0).chain(steps));
        self.ranks.sort(0..points.len(), &self.values);
        self.renew();
        self.find_medians();
    }

    pub(crate) fn clear(&mut self) {
        let empty = |items: &mut Vec<u32>| items.clear();
        self.values.clear();
        empty(&mut self.gaps);
        self.ranks.sort(std::iter::empty(), &[]);
        let first = Cursor::default();
        self.head = 0;
        self.until_anew = 0;
        self.closest = 0;
        (self.sum, self.squares, self.products) = Default::default();
        (self.times, self.times_squared) = (0, 0);
        self.hour = Hour { from: first, to: first, ..Hour::default() };
        self.recent = Recent::default();
        self.moving = Moving::default();
    }

    #[inline]
    fn ranked(&self, rank: usize) -> f64 {
        self.ranks.value(rank, &self.values)
    }

    #[inline]
    fn find_medians(&mut self) {
        (self.median, self.median_deviation, self.closest) = self.medians();
    }

    /// The median, the median deviation from it, and where the closest half of the values begins: they are a
    /// run of ranks, which moves little from point to point.
    #[inline]
    fn medians(&self) -> (f64, f64, usize) {
        let n = self.len();
        let median =
            if n % 2 == 1 { self.ranked(n / 2) } else { (self.ranked(n / 2 - 1) + self.ranked(n / 2)) / 2.0 };
        // The k closest values have the ranks from `first` to just before `first + k`.
        let k = n.div_ceil(2);
        let below = |rank: usize| median - self.ranked(rank);
        let above = |rank: usize| self.ranked(rank) - median;
        let mut first = self.closest.min(n - k);
        while first + k < n && below(first) > above(first + k) {
            first += 1;
        }
        while first > 0 && above(first + k - 1) > below(first - 1) {
            first -= 1;
        }
        let farthest = below(first).max(above(first + k - 1));
        let median_deviation = if n % 2 == 1 {
            farthest
        } else {
            let lower = if first > 0 { below(first - 1) } else { f64::INFINITY };
            let upper = if first + k < n { above(first + k) } else { f64::INFINITY };
            (farthest + lower.min(upper)) / 2.0
        };
        (median, median_deviation, first)
    }

    /// The median distances from the median of the values below and above it.
    pub(crate) fn median_deviations(&self) -> [f64; 2] {
        let n = self.len();
        // Each half includes the median of an odd number of values.
        let half = n.div_ceil(2);
        let middle = |from: usize| {
            if half % 2 == 1 {
                self.ranked(from + half / 2)
            } else {
                (self.ranked(from + half / 2 - 1) + self.ranked(from + half / 2)) / 2.0
            }
        };
        [self.median - middle(0), middle(n - half) - self.median]
    }

    /// The newest values, newest first; `None` when there are not as many.
    pub(crate) fn newest_values<const N: usize>(&self) -> Option<[f64; N]> {
        let n = self.len();
        (n >= N).then(|| std::array::from_fn(|back| self.at(n - 1 - back)))
    }

    fn is_constant(&self) -> bool {
        self.least() == self.greatest()
    }

    /// Whether all points but the newest have one value.
    fn was_constant(&self) -> bool {
        let n = self.len();
        let (least, greatest, last) = (self.least(), self.greatest(), self.last());
        least == greatest
            || (last == greatest && self.ranked(n - 2) == least)
            || (last == least && self.ranked(1) == greatest)
    }

    /// Whether it could have come about by pushing points into a window of this length. What follows exactly
    /// from the points is compared; running sums, which depend on the past, are of a size that they can have.
    pub(crate) fn is_valid(&self, window: usize, scaling: Scaling) -> bool {
        let n = self.values.len();
        let counted = |cells: &[u16; CELLS]| cells.iter().map(|&count| usize::from(count)).sum::<usize>();
        let is_time = |millis: i64| Timestamp::from_millis(millis).is_ok();
        // Zero has one sign, so that the order of values is that of numbers.
        let is_value = |x: &f64| x.abs() < LARGEST && x.to_bits() != (-0.0f64).to_bits();
        self.window == window
            && self.scaling == scaling
            && n <= window
            && self.gaps.len() == n
            && (self.head == 0 || (n == window && self.head < n))
            && self.values.iter().all(is_value)
            && self.ranks.is_valid(&self.values, self.head)
            && self.until_anew <= self.window
            && [self.oldest, self.newest, self.origin].into_iter().all(is_time)
            && (0..=i64::from(u32::MAX)).contains(&self.resolution)
            && self.lengths == Lengths::new(scaling, self.resolution)
            && (n == 0
                || self.times_match()
                    && self.counts_match(counted(&self.recent.in_probe), counted(&self.recent.in_reference))
                    && self.sums_are_usable()
                    && self.medians() == (self.median, self.median_deviation, self.closest))
    }

    /// Whether times ascend to the newest, and the parts of the window and sums of times are what they tell.
    fn times_match(&self) -> bool {
        let times: Vec<i64> = self.iter().map(|(time, _)| time).collect();
        let Hour { from, to, changes, .. } = self.hour;
        let Recent { reference, probe, .. } = self.recent;
        let is_at = |cursor: Cursor| times.get(cursor.index).is_none_or(|&time| time == cursor.time);
        let changed = |index: &usize| self.at(*index) != self.at(index - 1);
        let since = times.iter().map(|time| i128::from(time - self.origin));
        times.is_sorted_by(|a, b| a < b)
            && times.last() == Some(&self.newest)
            && [from, to, reference, probe].into_iter().all(is_at)
            && (from.index <= to.index && to.index <= times.len())
            && (reference.index <= probe.index && probe.index <= times.len())
            && changes == (from.index + 1..to.index).filter(changed).count()
            && self.times == since.clone().sum()
            && self.times_squared == since.map(|time| time * time).sum()
    }

    /// Whether sums are small enough for everything that follows from them to be finite.
    fn sums_are_usable(&self) -> bool {
        let Moving { mean, squares, power } = self.moving;
        let sums = [(self.sum, 1e120), (self.hour.sum, 1e120), (self.products, 1e140)];
        let of_squares = [(self.squares, 1e240), (self.hour.squares, 1e240)];
        let expected = DECAY.powi(self.len() as i32);
        self.offset.abs() <= LARGEST
            && sums.into_iter().chain(of_squares).all(|(sum, limit)| sum.is_within(limit))
            && mean.abs() <= LARGEST
            && (0.0..=1e240).contains(&squares)
            // But for rounding, and for what is nearly nothing.
            && (power - expected).abs() <= 1e-6 * expected + f64::MIN_POSITIVE
    }

    fn counts_match(&self, probe: usize, reference: usize) -> bool {
        let mut counted = self.recent.clone();
        (counted.in_probe, counted.in_reference) = Default::default();
        for index in counted.reference.index..self.len() {
            let cell = self.cell(self.at(index));
            let cells =
                if index < counted.probe.index { &mut counted.in_reference } else { &mut counted.in_probe };
            cells[cell] += 1;
        }
        counted == self.recent && (reference, probe) == self.recent()
    }
}

fn deviation(sum: Sum, squares: Sum, n: f64, freedom: f64) -> f64 {
    (squares.centred(sum, sum, n).max(0.0) / freedom).sqrt()
}

impl Statistics for Sliding {
    #[inline]
    fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    fn last(&self) -> f64 {
        self.at(self.len() - 1)
    }

    #[inline]
    fn tail(&self) -> f64 {
        let n = self.len();
        if n < 3 { self.last() } else { tail_of(self.at(n - 1), self.at(n - 2), self.at(n - 3)) }
    }

    #[inline]
    fn all(&self) -> Spread {
        if self.is_constant() {
            let deviation = if self.len() > 1 { 0.0 } else { f64::NAN };
            return Spread { mean: self.last(), deviation };
        }
        let n = self.len() as f64;
        let deviation = deviation(self.sum, self.squares, n, n - 1.0);
        Spread { mean: self.offset + self.sum.value() / n, deviation }
    }

    #[inline]
    fn earlier(&self) -> Option<Spread> {
        let n = self.len();
        if n < 2 {
            return None;
        }
        if self.was_constant() {
            return Some(Spread { mean: self.at(n - 2), deviation: 0.0 });
        }
        let last = self.last() - self.offset;
        let (mut sum, mut squares) = (self.sum, self.squares);
        sum.add(-last);
        squares.add_product(-last, last);
        let n = (n - 1) as f64;
        Some(Spread { mean: self.offset + sum.value() / n, deviation: deviation(sum, squares, n, n) })
    }

    #[inline]
    fn first_hour(&self) -> (usize, Spread) {
        let Hour { from, to, sum, squares, changes } = self.hour;
        let n = to.index - from.index;
        if n < 2 {
            let mean = if n == 1 { self.at(from.index) } else { f64::NAN };
            return (n, Spread { mean, deviation: f64::NAN });
        }
        if changes == 0 {
            return (n, Spread { mean: self.at(from.index), deviation: 0.0 });
        }
        let count = n as f64;
        let deviation = deviation(sum, squares, count, count - 1.0);
        (n, Spread { mean: self.offset + sum.value() / count, deviation })
    }

    #[inline]
    fn moving(&self) -> Spread {
        if self.is_constant() {
            return Spread { mean: self.last(), deviation: 0.0 };
        }
        let weights = (1.0 - self.moving.power) / (1.0 - DECAY);
        let variance = self.moving.squares / weights * bias_correction(self.moving.power);
        Spread { mean: self.moving.mean, deviation: variance.sqrt() }
    }

    #[inline]
    fn median(&self) -> f64 {
        self.median
    }

    #[inline]
    fn median_deviation(&self) -> f64 {
        self.median_deviation
    }

    #[inline]
    fn least(&self) -> f64 {
        self.ranked(0)
    }

    #[inline]
    fn greatest(&self) -> f64 {
        self.ranked(self.len() - 1)
    }

    fn count_in_bin(&self, wanted: usize) -> usize {
        let (least, greatest) = (self.least(), self.greatest());
        let width = (greatest - least) / BINS as f64;
        let below = |edge: usize| {
            let near = least + edge as f64 * width;
            self.ranks.count(near, |value| bin(value, least, greatest) < edge, &self.values)
        };
        let start = if wanted == 0 { 0 } else { below(wanted) };
        let end = if wanted + 1 == BINS { self.len() } else { below(wanted + 1) };
        end - start
    }

    #[inline]
    fn line(&self) -> Option<Line> {
        let n = self.len();
        if n < 3 {
            return None;
        }
        let (count, sum) = (n as f64, self.sum.value());
        let (times, of_times) = (Sum::of_integer(self.times), Sum::of_integer(self.times_squared));
        let of_times = of_times.centred(times, times, count);
        let of_products = self.products.centred(times, self.sum, count);
        let of_values = self.squares.centred(self.sum, self.sum, count).max(0.0);
        let times = times.value();
        let slope = of_products / of_times;
        let before = self.newest - i64::from(self.gaps[self.slot(n - 1)]);
        let points = [
            (self.newest, self.at(n - 1)),
            (before, self.at(n - 2)),
            (before - i64::from(self.gaps[self.slot(n - 2)]), self.at(n - 3)),
        ];
        let residual = |(time, value): (i64, f64)| {
            value - self.offset - sum / count - slope * ((time - self.origin) as f64 - times / count)
        };
        let [last, second, third] = points.map(residual);
        let squares = (of_values - slope * of_products).max(0.0);
        let deviation = if self.is_constant() { 0.0 } else { (squares / (count - 1.0)).sqrt() };
        Some(Line { last, tail: tail_of(last, second, third), deviation })
    }

    #[inline]
    fn recent(&self) -> (usize, usize) {
        let Recent { reference, probe, .. } = self.recent;
        (probe.index - reference.index, self.len() - probe.index)
    }

    /// From the coarse scale alone where that decides.
    fn distance(&self, limit: f64) -> f64 {
        let (reference, probe) = self.recent();
        let (per_reference, per_probe) = (probe as i64, reference as i64);
        let (mut of_reference, mut of_probe, mut most) = (0, 0, 0);
        for (&in_reference, &in_probe) in self.recent.in_reference.iter().zip(&self.recent.in_probe) {
            let next_of_reference = of_reference + i64::from(in_reference) * per_reference;
            let next_of_probe = of_probe + i64::from(in_probe) * per_probe;
            most = most.max(next_of_reference - of_probe).max(next_of_probe - of_reference);
            (of_reference, of_probe) = (next_of_reference, next_of_probe);
        }
        // Rounding must not decide.
        let most = most as f64 / (reference as f64 * probe as f64);
        if most < limit - 1e-9 {
            return most;
        }
        let sorted = |from: usize, to: usize| {
            let mut values: Vec<f64> = (from..to).map(|index| self.at(index)).collect();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let start = self.recent.probe.index;
        distance_of_sorted(&sorted(self.recent.reference.index, start), &sorted(start, self.len()))
    }

    fn reference(&self) -> Vec<f64> {
        (self.recent.reference.index..self.recent.probe.index).map(|index| self.at(index)).collect()
    }
}
