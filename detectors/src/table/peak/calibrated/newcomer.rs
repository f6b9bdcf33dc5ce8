//! New keys: how many records a key has in its first window.
//!
//! The logarithms of first counts are taken as normal with unknown mean and variance. Their
//! conjugate prior is worth one observation of ln 30 and five degrees of freedom of 1.2; the
//! predictive distribution is Student's t. A first count further than three deviations off enters
//! as if it were three off, and a window later all count a hundredth less.
//!
//! The keys of the table's first window are not new: they were there before anybody looked. But while
//! there are no others they are all that is known of keys. They are worth as many newcomers as they are,
//! at most forty, and half as many with every newcomer.

use crate::contract::valid::{is_number, is_weight};
use crate::worth::tail;
use serde::{Deserialize, Serialize};

const MEAN: f64 = 3.401_197_381_662_155_4; // ln 30
const DEVIATION: f64 = 1.2;
const FREEDOM: f64 = 5.0;
const CAP: f64 = 3.0;
/// What the keys of the first window are worth at most, in newcomers.
const FOUNDERS: f64 = 40.0;

/// The first counts so far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Newcomers {
    /// Of new keys, fading.
    own: Sample,
    /// Of the keys of the table's first window.
    founders: Sample,
    /// How many new keys there ever were.
    seen: f64,
}

/// Logarithms: how many, their mean, and the sum of squares about it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Sample {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Sample {
    fn is_valid(&self) -> bool {
        is_weight(self.count) && is_number(self.mean) && is_weight(self.squares)
    }

    /// The same with another weight.
    fn times(self, weight: f64) -> Self {
        Sample { count: weight * self.count, squares: weight * self.squares, ..self }
    }

    /// Both together.
    fn and(self, other: Sample) -> Self {
        let count = self.count + other.count;
        if count <= 0.0 {
            return Sample::default();
        }
        let (share, off) = (other.count / count, other.mean - self.mean);
        Sample {
            count,
            mean: self.mean + share * off,
            squares: self.squares + other.squares + self.count * share * off * off,
        }
    }

    fn add(&mut self, log: f64) {
        *self = self.and(Sample { count: 1.0, mean: log, squares: 0.0 });
    }
}

impl Newcomers {
    pub(super) fn is_valid(&self) -> bool {
        self.own.is_valid() && self.founders.is_valid() && is_weight(self.seen)
    }

    /// All that is known, with the prior.
    fn all(&self) -> Sample {
        let prior = Sample { count: 1.0, mean: MEAN, squares: FREEDOM * DEVIATION * DEVIATION };
        let worth = FOUNDERS.min(self.founders.count) / self.founders.count.max(1.0) * libm::exp2(-self.seen);
        prior.and(self.founders.times(worth)).and(self.own)
    }

    /// The typical first count, on the log scale.
    pub(super) fn typical(&self) -> f64 {
        self.all().mean
    }

    /// The probability of a first count at least as large as this.
    pub(super) fn tail(&self, log: f64) -> f64 {
        let all = self.all();
        tail::student((log - all.mean) / all.deviation(), all.freedom())
    }

    /// A window passes, after which this share is kept.
    pub(super) fn decay(&mut self, kept: f64) {
        self.own = self.own.times(kept);
    }

    /// Takes in a key of the table's first window.
    pub(super) fn found(&mut self, log: f64) {
        self.founders.add(log);
    }

    /// Takes in the first count of a new key.
    pub(super) fn learn(&mut self, log: f64) {
        let all = self.all();
        let cap = CAP * all.deviation();
        self.own.add(all.mean + (log - all.mean).clamp(-cap, cap));
        self.seen += 1.0;
    }
}

/// Of a sample with the prior in it.
impl Sample {
    fn freedom(&self) -> f64 {
        FREEDOM + self.count - 1.0
    }

    /// The scale of the predictive distribution.
    fn deviation(&self) -> f64 {
        (self.squares / self.freedom() * (1.0 + 1.0 / self.count)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_counts_add_to_the_prior_as_observations() {
        let mut newcomers = Newcomers::default();
        let logs = [4.0, 4.6];
        logs.iter().for_each(|&log| newcomers.learn(log));
        let all = [MEAN, 4.0, 4.6];
        let mean = all.iter().sum::<f64>() / 3.0;
        let squares: f64 = all.iter().map(|log| (log - mean).powi(2)).sum();
        let known = newcomers.all();
        assert!((known.mean - mean).abs() < 1e-12);
        assert!((known.squares - (5.0 * 1.44 + squares)).abs() < 1e-12);
        assert_eq!(known.freedom(), 7.0);
    }

    #[test]
    fn forty_times_the_typical_is_strange_once_there_is_a_typical() {
        let mut newcomers = Newcomers::default();
        let spread = [-1.2, -0.5, 0.0, 0.5, 1.2];
        (0..30).for_each(|i| newcomers.learn(100f64.ln() + spread[i % 5]));
        assert!(newcomers.tail((40.0 * newcomers.typical().exp()).ln()) < 0.005);
        assert!(newcomers.tail((3.0 * newcomers.typical().exp()).ln()) > 0.05);
        // A single key beyond all bounds does not make the next one ordinary.
        newcomers.learn(1e9f64.ln());
        assert!(newcomers.tail((40.0 * newcomers.typical().exp()).ln()) < 0.01);
    }

    #[test]
    fn founders_are_all_there_is_until_there_are_newcomers() {
        let mut newcomers = Newcomers::default();
        (0..100).for_each(|i| newcomers.found(5.0 + 0.01 * f64::from(i)));
        // A hundred are worth forty.
        let known = newcomers.all();
        assert!(
            (known.count - 41.0).abs() < 1e-12 && (known.mean - (MEAN + 40.0 * 5.495) / 41.0).abs() < 1e-12
        );
        // After three newcomers, five.
        (0..3).for_each(|_| newcomers.learn(2.3));
        let known = newcomers.all();
        assert!((known.count - (1.0 + 5.0 + 3.0)).abs() < 1e-12, "{known:?}");
        (0..30).for_each(|_| newcomers.learn(2.3));
        assert!((newcomers.typical() - 2.3).abs() < 0.2 && newcomers.all().count - 34.0 < 1e-6);
    }

    #[test]
    fn newcomers_of_long_ago_fade() {
        let mut newcomers = Newcomers::default();
        (0..50).for_each(|_| newcomers.learn(6.0));
        (0..300).for_each(|_| newcomers.decay(0.99));
        (0..10).for_each(|_| newcomers.learn(2.0));
        assert!(newcomers.typical() < 3.0, "{}", newcomers.typical());
    }
}
