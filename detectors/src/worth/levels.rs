//! Tail maps: what a model's p-value is worth, learned from how often such values came up.
//!
//! No model of counts is right. A map keeps, for j = 0 … 24, the decayed number Cⱼ of past p-values
//! at or below 2^−j. The probability of falling from one level to the next is shrunk toward that of
//! the level before. The first is shrunk toward a little more than ½, which is what a true p-value
//! has: until the pool has shown its tails they are taken as heavier than the model's.
//!
//! ```text
//! ratioⱼ = (Cⱼ₊₁ + κ ratioⱼ₋₁) / (Cⱼ + κ),   ratio₋₁ = 0.56
//! ```
//!
//! The calibrated value at 2^−j is the product of the ratios before j; between levels, and beyond the
//! last, it is linear on the log-log scale. A map is monotone, so it never changes the order of two
//! values.
//!
//! Between two levels p-values are taken as spread, as those of many keys are. Were there one key with a
//! few values alone, all between two levels might lie in one place, and be worth up to five times
//! as much as the map says; [`recurrence`](super::recurrence) is for that.

use serde::{Deserialize, Serialize};

/// Levels 2^0 … 2^−24.
const LEVELS: usize = 25;
/// The first ratio before anything is known: tails a little heavier than the model's.
const FIRST: f64 = 0.56;

/// The counts of past p-values, by level.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct TailMap {
    counts: [f64; LEVELS],
}

/// The p-values of one window, by level, on their way into a map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrivals {
    counts: [u32; LEVELS],
}

impl Arrivals {
    pub(crate) fn add(&mut self, p: f64) {
        self.counts[..=level(p) as usize].iter_mut().for_each(|count| *count += 1);
    }
}

/// −log₂ p, up to the last level.
fn level(p: f64) -> f64 {
    (-libm::log2(p)).clamp(0.0, (LEVELS - 1) as f64)
}

impl TailMap {
    pub(crate) fn is_valid(&self) -> bool {
        self.counts.iter().all(|&count| crate::contract::valid::is_weight(count))
    }

    /// What p-values are worth, with so many pseudo-observations behind each ratio.
    pub(crate) fn curve(&self, strength: f64) -> Curve {
        let mut curve = Curve { logs: [0.0; LEVELS], slopes: [0.0; LEVELS - 1] };
        let mut ratio = FIRST;
        for j in 0..LEVELS - 1 {
            ratio = self.ratio(j, ratio, strength);
            curve.slopes[j] = libm::log(ratio);
            curve.logs[j + 1] = curve.logs[j] + curve.slopes[j];
        }
        curve
    }

    fn ratio(&self, j: usize, before: f64, strength: f64) -> f64 {
        (self.counts[j + 1] + strength * before) / (self.counts[j] + strength)
    }

    /// Takes in the p-values of a window, beside this share of what was known. What exceeds four times the expected number by more than
    /// three is one event of the window, not so many independent observations, and is left out.
    pub(crate) fn learn(&mut self, arrivals: &Arrivals, strength: f64, kept: f64) {
        let total = f64::from(arrivals.counts[0]);
        let (mut expected, mut ratio) = (total, FIRST);
        for j in 0..LEVELS {
            let most = if j == 0 { total } else { 3.0 + 4.0 * expected };
            if j + 1 < LEVELS {
                ratio = self.ratio(j, ratio, strength);
                expected *= ratio;
            }
            self.counts[j] = kept * self.counts[j] + f64::from(arrivals.counts[j]).min(most);
        }
    }
}

/// A map, worked out for many values: the logarithms of what the levels are worth, and how they fall
/// from each level to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Curve {
    logs: [f64; LEVELS],
    slopes: [f64; LEVELS - 1],
}

impl Curve {
    /// What this p-value is worth.
    pub(crate) fn worth(&self, p: f64) -> f64 {
        let depth = -libm::log2(p.clamp(1e-300, 1.0));
        let level = (depth.ceil() as usize).saturating_sub(1);
        match self.slopes.get(level) {
            Some(slope) => libm::exp(self.logs[level] + (depth - level as f64) * slope),
            None => {
                let last = LEVELS - 1;
                libm::exp(self.logs[last] + (depth - last as f64) * self.slopes[last - 1]).max(1e-300)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl TailMap {
        fn calibrate(&self, p: f64, strength: f64) -> f64 {
            self.curve(strength).worth(p)
        }
    }

    fn learned(windows: &[Vec<f64>]) -> TailMap {
        let mut map = TailMap::default();
        for window in windows {
            let mut arrivals = Arrivals::default();
            window.iter().for_each(|&p| arrivals.add(p));
            map.learn(&arrivals, 8.0, 0.985);
        }
        map
    }

    #[test]
    fn an_empty_map_is_a_power() {
        let map = TailMap::default();
        for p in [1.0, 0.3, 0.01, 1e-6, 1e-40] {
            let power = f64::powf(p, -FIRST.log2());
            assert!((map.calibrate(p, 8.0) / power - 1.0).abs() < 1e-9, "{p}");
        }
    }

    #[test]
    fn true_p_values_keep_their_worth() {
        let uniform: Vec<f64> = (0..1_000).map(|i| (f64::from(i) + 0.5) / 1_000.0).collect();
        let map = learned(&vec![uniform; 200]);
        for p in [0.5, 0.1, 0.02, 0.004] {
            assert!((map.calibrate(p, 8.0) / p - 1.0).abs() < 0.1, "{p}: {}", map.calibrate(p, 8.0));
        }
    }

    #[test]
    fn p_values_that_come_too_often_are_worth_what_they_come() {
        // p = u², so P(p ≤ x) = √x.
        let small: Vec<f64> = (0..1_000).map(|i| ((f64::from(i) + 0.5) / 1_000.0).powi(2)).collect();
        let map = learned(&vec![small; 200]);
        for p in [0.25, 0.01, 1e-4] {
            assert!(
                (map.calibrate(p, 8.0) / f64::sqrt(p) - 1.0).abs() < 0.1,
                "{p}: {}",
                map.calibrate(p, 8.0)
            );
        }
    }

    #[test]
    fn one_event_of_a_window_is_not_many() {
        let quiet = vec![vec![0.7, 0.5, 0.3, 0.9]; 50];
        let event = vec![vec![1e-9; 4_000]];
        let map = learned(&[quiet, event].concat());
        assert!(map.counts[20] < 3.0 + 4.0 * 4_000.0 * 0.56f64.powi(9), "{:?}", map.counts);
    }

    proptest! {
        #[test]
        fn order_stays(windows in prop::collection::vec(prop::collection::vec(0.0..1.0f64, 0..20), 0..9), a in -60.0..0.0f64, b in -60.0..0.0f64) {
            let map = learned(&windows);
            let (a, b) = (a.min(b).exp2(), a.max(b).exp2());
            prop_assert!(map.calibrate(a, 8.0) <= map.calibrate(b, 8.0));
        }
    }
}
