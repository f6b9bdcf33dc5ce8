//! What tests read from the window.

use super::{Hour, Recent, Sliding};
use crate::series::window::statistics::{
    BINS, DECAY, Line, Spread, Statistics, bias_correction, bin, distance_of_sorted, tail_of,
};
use crate::series::window::sum::Sum;

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
