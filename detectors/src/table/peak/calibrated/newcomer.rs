//! New keys: how many records a key has in its first window.
//!
//! The logarithms of first counts are taken as normal with unknown mean and variance. Their
//! conjugate prior is worth one observation of ln 30 and five degrees of freedom of 1.2; the
//! predictive distribution is Student's t. A first count further than three deviations off enters
//! as if it were three off.

use crate::worth::tail;
use serde::{Deserialize, Serialize};

const MEAN: f64 = 3.401_197_381_662_155_4; // ln 30
const DEVIATION: f64 = 1.2;
const FREEDOM: f64 = 5.0;
const CAP: f64 = 3.0;

/// The first counts so far: how many, the mean of their logarithms, and the sum of squares about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Newcomers {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Default for Newcomers {
    fn default() -> Self {
        Newcomers { count: 1.0, mean: MEAN, squares: FREEDOM * DEVIATION * DEVIATION }
    }
}

impl Newcomers {
    pub(super) fn is_valid(&self) -> bool {
        self.count >= 1.0
            && self.squares > 0.0
            && [self.count, self.mean, self.squares].into_iter().all(crate::contract::valid::is_number)
    }

    fn freedom(&self) -> f64 {
        FREEDOM + self.count - 1.0
    }

    /// The scale of the predictive distribution.
    fn deviation(&self) -> f64 {
        (self.squares / self.freedom() * (1.0 + 1.0 / self.count)).sqrt()
    }

    /// The typical first count, on the log scale.
    pub(super) fn typical(&self) -> f64 {
        self.mean
    }

    /// The probability of a first count at least as large as this.
    pub(super) fn tail(&self, log: f64) -> f64 {
        tail::student((log - self.mean) / self.deviation(), self.freedom())
    }

    pub(super) fn learn(&mut self, log: f64) {
        let cap = CAP * self.deviation();
        let off = (log - self.mean).clamp(-cap, cap);
        self.count += 1.0;
        self.mean += off / self.count;
        self.squares += off * off * (1.0 - 1.0 / self.count);
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
        assert!((newcomers.mean - mean).abs() < 1e-12);
        assert!((newcomers.squares - (5.0 * 1.44 + squares)).abs() < 1e-12);
        assert_eq!(newcomers.freedom(), 7.0);
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
}
