//! The model of ratios: repetition and concentration, given the records.
//!
//! Both are counts whose logarithm u follows the logarithm l of the records: repetition is
//! u = ln(records − samples + 1), concentration u = ln(records of the top sample). A key has a
//! location, the mean of u − β(l − l̄) over windows that weigh 0.93^k and Huber's min(1, 2/|z|); the
//! slope β is the pool's. Its scale comes from one-step-ahead residuals, capped at three standard
//! deviations, and is shrunk to the pool's by ten windows. Tails are logistic with that variance:
//! they fall as a power of the count, as heavy duplicates do.

use crate::contract::valid::{is_number, is_weight};
use serde::{Deserialize, Serialize};

const STRENGTH: f64 = 10.0;
/// Huber's constant, in standard deviations.
const HUBER: f64 = 2.0;
/// Residuals are capped here, in standard deviations.
const CAP: f64 = 3.0;
/// The least standard deviation: a sixteenth more or less is never strange.
const FLOOR: f64 = 0.12;
/// The pool's standard deviation before anything was learned.
const PRIOR: f64 = 0.3;

/// What the model remembers of one ratio of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ratio {
    weight: f64,
    mean: f64,
    log_records: f64,
    scale: Scale,
}

/// Σ e² and how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Scale {
    squares: f64,
    count: f64,
}

impl Scale {
    fn is_valid(&self) -> bool {
        is_weight(self.squares) && is_weight(self.count)
    }

    fn decay(&mut self, kept: f64) {
        self.squares *= kept;
        self.count *= kept;
    }

    fn add(&mut self, square: f64) {
        self.squares += square;
        self.count += 1.0;
    }

    fn estimate(&self, prior: f64) -> f64 {
        (self.squares + STRENGTH * prior) / (self.count + STRENGTH)
    }
}

/// What all keys share: the scale and the slope.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct RatioPool {
    scale: Scale,
    /// Σ (u − ū)(l − l̄) and Σ (l − l̄)².
    cross: f64,
    square: f64,
}

impl RatioPool {
    pub(super) fn is_valid(&self) -> bool {
        self.scale.is_valid() && is_number(self.cross) && is_weight(self.square)
    }

    pub(super) fn decay(&mut self, kept: f64) {
        self.scale.decay(kept);
        self.cross *= kept;
        self.square *= kept;
    }

    pub(super) fn add(&mut self, residual: &Residual) {
        self.scale.add(residual.square);
        self.cross += residual.cross;
        self.square += residual.log_records * residual.log_records;
    }

    /// The pooled slope; 0 before anything was learned.
    fn slope(&self) -> f64 {
        self.cross / (self.square + 1.0)
    }
}

/// Where the logarithm of a ratio's count is expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    pub(super) log: f64,
    pub(super) deviation: f64,
}

/// What a window adds to the scales and the slope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Residual {
    square: f64,
    cross: f64,
    log_records: f64,
}

impl Ratio {
    pub(super) fn is_valid(&self) -> bool {
        is_weight(self.weight)
            && [self.mean, self.log_records].into_iter().all(is_number)
            && self.scale.is_valid()
    }

    /// The prediction given the logarithm of the records; `None` before anything was learned.
    pub(super) fn predict(&self, log_records: f64, pool: &RatioPool) -> Option<Expected> {
        if self.weight <= 0.0 {
            return None;
        }
        let scale = self.scale.estimate(pool.scale.estimate(PRIOR * PRIOR)).max(FLOOR * FLOOR);
        Some(Expected {
            log: self.mean + pool.slope() * (log_records - self.log_records),
            deviation: (scale * (1.0 + 1.0 / self.weight)).sqrt(),
        })
    }

    pub(super) fn residual(&self, log: f64, log_records: f64, expected: &Expected) -> Residual {
        let cap = CAP * expected.deviation;
        let error = (log - expected.log).clamp(-cap, cap);
        let distance = (log_records - self.log_records).clamp(-2.0, 2.0);
        Residual {
            square: error * error / (1.0 + 1.0 / self.weight),
            cross: (expected.log + error - self.mean) * distance,
            log_records: distance,
        }
    }

    pub(super) fn learn_scale(&mut self, residual: &Residual, kept: f64) {
        self.scale.decay(kept);
        self.scale.add(residual.square);
    }

    /// Starts anew with a window; its scale stays.
    pub(super) fn restart(&mut self, log: f64, log_records: f64) {
        self.weight = 0.0;
        self.learn(log, log_records, None, 0.0);
    }

    /// Moves the location, of which this share is kept.
    pub(super) fn learn(&mut self, log: f64, log_records: f64, expected: Option<&Expected>, kept: f64) {
        let weight = expected.map_or(1.0, |e| (HUBER * e.deviation / (log - e.log).abs()).min(1.0));
        self.weight = kept * self.weight + weight;
        let share = weight / self.weight;
        self.mean += share * (log - self.mean);
        self.log_records += share * (log_records - self.log_records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: f64 = 0.93;

    #[test]
    fn the_location_is_the_discounted_mean() {
        let (mut ratio, pool) = (Ratio::default(), RatioPool::default());
        assert_eq!(ratio.predict(5.0, &pool), None);
        let logs = [1.0, 1.2, 0.9, 1.1];
        for log in logs {
            ratio.learn(log, 5.0, None, MEMORY);
        }
        let weights = [MEMORY.powi(3), MEMORY.powi(2), MEMORY, 1.0];
        let total: f64 = weights.iter().sum();
        let mean = logs.iter().zip(weights).map(|(log, weight)| log * weight).sum::<f64>() / total;
        let expected = ratio.predict(5.0, &pool).unwrap();
        assert!((expected.log - mean).abs() < 1e-12);
        assert!((expected.deviation - PRIOR * (1.0 + 1.0 / total).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_is_far_off_counts_less() {
        let pool = RatioPool::default();
        let mut ratio = Ratio::default();
        (0..50).for_each(|_| ratio.learn(1.0, 5.0, None, MEMORY));
        let before = ratio.predict(5.0, &pool).unwrap();
        ratio.learn(1.0 + 20.0 * before.deviation, 5.0, Some(&before), MEMORY);
        let moved = ratio.mean - 1.0;
        // Huber: an error of 20 deviations weighs 2/20.
        let weight = MEMORY * (1.0 - MEMORY.powi(50)) / (1.0 - MEMORY) + 0.1;
        assert!((moved - 0.1 / weight * 20.0 * before.deviation).abs() < 1e-9, "{moved}");
    }

    #[test]
    fn the_pool_learns_scale_and_slope() {
        let (mut ratio, mut pool) = (Ratio::default(), RatioPool::default());
        ratio.learn(1.0, 5.0, None, MEMORY);
        for i in 0..2_000 {
            // u = 1 + 0.7 (l − 5) ± 0.2
            let log_records = if i % 2 == 0 { 6.0 } else { 4.0 };
            let log = 1.0 + 0.7 * (log_records - 5.0) + if i % 4 < 2 { 0.2 } else { -0.2 };
            let expected = ratio.predict(log_records, &pool).unwrap();
            let residual = ratio.residual(log, log_records, &expected);
            pool.decay(0.98);
            pool.add(&residual);
        }
        assert!((pool.slope() - 0.7).abs() < 0.05, "{}", pool.slope());
        // One observation behind the location doubles the variance of a residual.
        let scale = pool.scale.estimate(PRIOR * PRIOR);
        assert!((scale - 0.04 / 2.0).abs() < 0.02, "{scale}");
    }
}
