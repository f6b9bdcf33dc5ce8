//! Where a feature lies and how far it spreads, with forgetting.

use serde::{Deserialize, Serialize};

/// The deviation by which half of the way to the edge is gone.
const HALFWAY: f64 = 2.5;
/// How many deviations a value counts for, at most, unless such values keep coming.
const REACH: f64 = 30.0;
/// Before so many values every value counts as it is.
const YOUNG: f64 = 16.0;

/// A running mean and mean absolute deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    mean: f64,
    deviation: f64,
    /// How many values these are made of.
    weight: f64,
    /// Doubles with each value in a row that is out of reach.
    patience: f64,
}

impl Default for Scale {
    fn default() -> Self {
        Scale { mean: 0.0, deviation: 0.0, weight: 0.0, patience: 1.0 }
    }
}

impl Scale {
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Maps a value to 0 to 1, the mean to the middle; NaN stays NaN.
    #[inline]
    pub(super) fn place(&self, x: f64) -> f32 {
        self.place_exactly(x) as f32
    }

    #[inline]
    pub(super) fn place_exactly(&self, x: f64) -> f64 {
        let off = x - self.mean;
        if off == 0.0 { 0.5 } else { 0.5 + 0.5 * off / (off.abs() + HALFWAY * self.deviation) }
    }

    /// The value that is mapped to this place.
    pub(super) fn value(&self, place: f64) -> f64 {
        let t = 2.0 * place - 1.0;
        let off = HALFWAY * self.deviation * t / (1.0 - t.abs());
        if off.is_finite() { self.mean + off } else { self.mean }
    }

    #[inline]
    pub(super) fn learn(&mut self, x: f64, keep: f64) {
        if x.is_nan() {
            return;
        }
        self.weight = self.weight * keep + 1.0;
        let mut off = x - self.mean;
        let limit = REACH * self.deviation * self.patience;
        if self.weight > YOUNG && self.deviation > 0.0 && off.abs() > limit {
            off = off.clamp(-limit, limit);
            self.patience = (2.0 * self.patience).min(1e300);
        } else {
            self.patience = 1.0;
        }
        let rate = 1.0 / self.weight;
        if self.weight > 1.0 {
            self.deviation += (off.abs() - self.deviation) * rate;
        }
        self.mean += off * rate;
    }

    pub(super) fn is_valid(&self, largest: f64) -> bool {
        // Rounding may carry a mean a little beyond the values.
        let largest = 3.0 * largest;
        self.mean.abs() <= largest
            && (0.0..=largest).contains(&self.deviation)
            && (0.0..=1e7).contains(&self.weight)
            && (1.0..=1e300).contains(&self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_value_counts_little_and_a_shift_is_followed() {
        let keep = libm::exp2(-1.0 / 500.0);
        let mut scale = Scale::default();
        (0..2_000).for_each(|i| scale.learn(f64::from(i % 11), keep));
        let before = scale;
        scale.learn(1e12, keep);
        assert!((scale.mean - before.mean).abs() < 1.0 && scale.deviation < 2.0 * before.deviation);

        let mut scale = before;
        (0..2_500).for_each(|i| scale.learn(1e12 + f64::from(i % 11), keep));
        assert!((0.25..0.75).contains(&scale.place_exactly(1e12)), "{scale:?}");
    }

    #[test]
    fn places_and_values_belong_together() {
        let mut scale = Scale::default();
        assert_eq!((scale.place(7.0), scale.place(0.0)), (1.0, 0.5));
        (0..100).for_each(|i| scale.learn(f64::from(i % 11), 1.0));
        for x in [-1e6, 0.0, 4.9, 5.0, 77.0] {
            let back = scale.value(scale.place_exactly(x));
            assert!((back - x).abs() <= 1e-9 * (1.0 + x.abs()), "{x} {back}");
        }
        assert!(scale.place(f64::NAN).is_nan());
    }
}
