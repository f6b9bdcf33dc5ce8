//! Whether a window that was stored is one.

use super::moving::Moving;
use super::{CELLS, Cursor, Hour, Recent, Sliding};
use crate::series::point::LARGEST;
use crate::series::window::Statistics;
use crate::series::window::lengths::{Lengths, Scaling};
use crate::series::window::statistics::DECAY;
use peak_core::Timestamp;

impl Sliding {
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
