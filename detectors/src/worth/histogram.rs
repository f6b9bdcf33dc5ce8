//! The scores of earlier rows of a stream.
//!
//! A histogram in steps of a sixteenth of a bit. What a score weighs is the caller's matter: with
//! weights that grow, earlier scores are forgotten (forward decay). Scores in the same step are ties.

use serde::{Deserialize, Serialize};

/// Counters to a bit.
const STEPS: f64 = 16.0;
/// From 0 to 24 bits: no score is higher.
const COUNTERS: usize = 384;

/// How often scores were this high, with forgetting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    counts: Vec<f32>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0.0; COUNTERS] }
    }
}

impl Histogram {
    pub(crate) const BYTES: usize = COUNTERS * size_of::<f32>();

    fn at(score: f64) -> usize {
        // A cast of floating point saturates.
        ((STEPS * score) as usize).min(COUNTERS - 1)
    }

    /// The share of scores that are as high, this one included.
    pub(crate) fn p_value(&self, score: f64, unit: f32) -> f64 {
        let (below, above) = self.counts.split_at(Self::at(score));
        let above = sum(above) + unit;
        f64::from(above) / f64::from(sum(below) + above)
    }

    /// From this score on the share is at most `p`; `None` where it never is.
    pub(crate) fn score_at(&self, p: f64, unit: f32) -> Option<f64> {
        let scores = (0..COUNTERS).map(|at| at as f64 / STEPS);
        scores.into_iter().find(|&score| self.p_value(score, unit) <= p)
    }

    pub(crate) fn learn(&mut self, score: f64, unit: f32) {
        self.counts[Self::at(score)] += unit;
    }

    pub(crate) fn counts(&mut self) -> &mut [f32] {
        &mut self.counts
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.counts.len() == COUNTERS
            && self.counts.iter().all(|&count| crate::contract::valid::is_count(count))
    }
}

/// In eight lanes: a sum in one waits for every addition.
fn sum(counts: &[f32]) -> f32 {
    let chunks = counts.chunks_exact(8);
    let mut lanes = [0.0; 8];
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, count)| *lane += count);
    }
    lanes.iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted() {
        let mut scores = Histogram::default();
        assert_eq!(scores.p_value(3.0, 1.0), 1.0);
        (0..99).for_each(|i| scores.learn(f64::from(i) / 16.0, 1.0));
        assert_eq!(scores.p_value(98.0 / 16.0, 1.0), 0.02);
        assert_eq!(scores.p_value(99.0 / 16.0, 1.0), 0.01);
        assert_eq!(scores.p_value(0.0, 1.0), 1.0);
        assert_eq!(scores.score_at(0.01, 1.0), Some(99.0 / 16.0));
        assert_eq!(scores.score_at(0.009, 1.0), None);
    }
}
