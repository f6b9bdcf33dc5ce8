//! What a deviation is worth, learned from how large deviations were before.
//!
//! A deviation z ≥ 0, in robust standard deviations, counts as s = ln(1 + z/5). The top two percent of s
//! are tracked: the level u that two percent exceed (Robbins and Monro, 1951), the share r that did, and
//! the mean excess h above it. An exponential tail in s is a power tail in z far out, and about
//! exponential below 5, so that beyond u
//!
//! ```text
//! P(S > s) = r · exp(−(s − u)/h)
//! ```
//!
//! h never counts as less than the caller says: a lighter tail than a [`NORMAL_EXCESS`] or, for sparse
//! counts, a [`SPARSE_EXCESS`] is not believed. Heavy tails raise h, and lognormal noise does not alarm
//! where normal noise would. No excess counts for more than three mean ones, so that what is found now
//! and then does not hide the next.
//!
//! These are probabilities by a model of two numbers. What they are worth on a series is told by
//! [`recurrence`](super::recurrence).

use serde::{Deserialize, Serialize};

/// The share of deviations that make the tail.
const SHARE: f64 = 0.02;
/// Up to so many standard deviations, tails are taken as about exponential.
const KNEE: f64 = 5.0;
/// The mean excess of s above its 98 % point, for normal z.
pub(crate) const NORMAL_EXCESS: f64 = 0.05;
/// The same for sparse counts, whose excess is measured badly: their values are far apart.
pub(crate) const SPARSE_EXCESS: f64 = 0.075;
/// An excess counts for at most so many mean ones: of a true tail that hardly takes anything away.
const CUT: f64 = 3.0;
/// A tail starts as if it had so many excesses of a normal distribution more.
const PRIOR: f64 = 10.0;
/// Beyond any doubt is far enough.
pub(crate) const LARGEST: f64 = 1e9;
/// Older deviations are forgotten, slowly.
const MEMORY: u32 = 5_000;
/// A tail starts from at most so many deviations.
const MOST: u32 = 65_535;

/// The tail of deviations on one side.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Exceedances {
    level: f64,
    excess: f64,
    rate: f64,
    seen: u32,
    above: u32,
}

/// The size s of a deviation z: the score of these tails.
#[inline]
pub(crate) fn size(z: f64) -> f64 {
    libm::log(1.0 + z / KNEE)
}

/// The deviation of a size.
pub(crate) fn deviation(s: f64) -> f64 {
    KNEE * libm::expm1(s)
}

impl Exceedances {
    /// Starts from the deviations on this side among `n`; those that cannot be in the tail may be left
    /// out, see [`in_tail`](Self::in_tail).
    pub(crate) fn start(mut z: Vec<f64>, n: usize) -> Self {
        let k = Self::in_tail(n);
        let (over, level) = match z.len().checked_sub(k + 1) {
            Some(rest) => {
                let (_, level, over) = z.select_nth_unstable_by(rest, f64::total_cmp);
                (over.to_vec(), size(*level))
            }
            None => (z, 0.0),
        };
        let mut over: Vec<f64> = over.iter().map(|&z| size(z) - level).filter(|&over| over > 0.0).collect();
        over.sort_unstable_by(f64::total_cmp);
        // The mean excess as told by its median, for an exponential tail.
        let typical = over.get(over.len() / 2).map_or(0.0, |median| median / std::f64::consts::LN_2);
        let cut = CUT * typical.max(NORMAL_EXCESS);
        let sum = over.iter().map(|over| over.min(cut)).sum::<f64>();
        let excess = (sum + PRIOR * NORMAL_EXCESS) / (over.len() as f64 + PRIOR);
        let rate = over.len() as f64 / n.max(1) as f64;
        Exceedances { level, excess, rate, seen: n as u32, above: over.len() as u32 }
    }

    /// How many of n deviations make the tail: of few, two percent are too few to measure.
    pub(crate) fn in_tail(n: usize) -> usize {
        (n / 50).max(10).min(n / 2)
    }

    fn rate(&self) -> f64 {
        self.rate.max(1.0 / f64::from(self.seen + 1)).min(0.5)
    }

    /// The probability of a larger size on this side.
    #[inline]
    pub(crate) fn p_value(&self, s: f64, least_excess: f64) -> f64 {
        let rate = self.rate();
        if s <= self.level {
            return 1.0 - (1.0 - rate) * s / self.level.max(f64::MIN_POSITIVE);
        }
        rate * libm::exp(-(s - self.level) / self.excess.max(least_excess))
    }

    /// The size that has this probability, where it is in the tail; the tail's least otherwise.
    pub(crate) fn score_at(&self, p: f64, least_excess: f64) -> f64 {
        self.level + libm::log(self.rate() / p).max(0.0) * self.excess.max(least_excess)
    }

    /// Takes in a size, 0 where the deviation is on the other side.
    #[inline]
    pub(crate) fn learn(&mut self, s: f64) {
        self.seen = (self.seen + 1).min(MEMORY);
        let n = f64::from(self.seen);
        let over = s - self.level;
        let is_above = over > 0.0;
        self.rate += (f64::from(u8::from(is_above)) - self.rate) / n;
        let excess = self.excess.max(NORMAL_EXCESS);
        let step = excess / (SHARE * n);
        if is_above {
            self.above = (self.above + 1).min((SHARE * f64::from(MEMORY)) as u32);
            self.excess += (over.min(CUT * excess) - self.excess) / f64::from(self.above + 1);
            self.level += (1.0 - SHARE) * step.min(over / (1.0 - SHARE));
        } else {
            self.level = (self.level - SHARE * step).max(0.0);
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        let most = size(LARGEST);
        (0.0..=most).contains(&self.level)
            && (0.0..=most).contains(&self.excess)
            && (0.0..=1.0).contains(&self.rate)
            && self.seen.max(self.above) <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_where_its_probability_says() {
        let tail = Exceedances::start((0..1_000).map(|i| f64::from(i % 97) / 30.0).collect(), 2_000);
        for p in [1e-2, 1e-4, 1e-9] {
            let s = tail.score_at(p, NORMAL_EXCESS);
            assert!((tail.p_value(s, NORMAL_EXCESS) / p - 1.0).abs() < 1e-9, "{p}: {s}");
            assert!((size(deviation(s)) / s - 1.0).abs() < 1e-9, "{s}");
        }
    }
}
