//! The newest points of a series, and running statistics of them.

mod moving;
mod reading;
mod restored;

use super::lengths::{DAY, Lengths, Scaling, modal};
use super::ranks::Ranks;
use super::statistics::Statistics;
use super::sum::Sum;
use moving::Moving;
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
    /// run of ranks, which moves little from point to point. Between two clusters of the same size it moves
    /// far, which is why it is found by [`steps`].
    #[inline]
    fn medians(&self) -> (f64, f64, usize) {
        let n = self.len();
        let median =
            if n % 2 == 1 { self.ranked(n / 2) } else { (self.ranked(n / 2 - 1) + self.ranked(n / 2)) / 2.0 };
        // The k closest values have the ranks from `first` to just before `first + k`.
        let k = n.div_ceil(2);
        let below = |rank: usize| median - self.ranked(rank);
        let above = |rank: usize| self.ranked(rank) - median;
        let start = self.closest.min(n - k);
        let first = start + steps(n - k - start, |step| below(start + step) > above(start + step + k));
        let first = first - steps(first, |step| above(first - step + k - 1) > below(first - step - 1));
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
}

/// How many steps lead on, of so many at most: `leads_on` holds for the first of them and for none after.
/// The width of what is looked at doubles, so that the next place is found at once and a far one soon.
#[inline]
fn steps(most: usize, leads_on: impl Fn(usize) -> bool) -> usize {
    let (mut known, mut width) = (0, 1);
    loop {
        if known == most || !leads_on(known) {
            return known;
        }
        // All up to here lead on; so may those up to the next.
        known += 1;
        let next = known + width;
        if next > most || !leads_on(next - 1) {
            break;
        }
        (known, width) = (next, 2 * width);
    }
    let mut end = (known + width).min(most);
    while known < end {
        let middle = known + (end - known) / 2;
        if leads_on(middle) { known = middle + 1 } else { end = middle }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_to_the_first_that_does_not_lead_on() {
        for most in 0..70 {
            for right in 0..=most {
                assert_eq!(steps(most, |step| step < right), right, "of {most}");
            }
        }
    }

    /// In the worst series there is, each new value moves the median from one cluster to the other.
    #[test]
    fn a_median_between_two_clusters_is_found_in_few_steps() {
        let looks = std::cell::Cell::new(0);
        let right = steps(65_535, |step| {
            looks.set(looks.get() + 1);
            step < 32_768
        });
        assert_eq!(right, 32_768);
        assert!(looks.get() < 64, "{}", looks.get());
    }
}
