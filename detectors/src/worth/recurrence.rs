//! What the p-values of a stream are worth, by how often ones as small came up.
//!
//! A model of a series may be wrong by orders of magnitude: of a series that is on and off, every third
//! point may lie where the model says one in a million. There are 64 levels Lⱼ from 1 down to 2⁻⁹⁰⁸: half a
//! power of two apart down to 2⁻¹⁶, then 1, 2, 4 … powers of two, four times each. Cⱼ is the number of past
//! p-values at or below Lⱼ. The share that falls from one level to the next is shrunk toward that of the
//! level before, brought to the same distance, or the model's own Lⱼ₊₁/Lⱼ where that is more:
//!
//! ```text
//! ratioⱼ = (Cⱼ₊₁ + κ max(ratioⱼ₋₁, Lⱼ₊₁/Lⱼ)) / (Cⱼ + κ),   Wⱼ = ratio₀ · … · ratioⱼ₋₁
//! ```
//!
//! A p-value between Lⱼ₊₁ and Lⱼ is worth from Wⱼ to Wⱼ₋₁, in proportion: never less than the
//! share of those between the same levels or beyond. So it does not matter how p-values lie between two
//! levels, all in one place for a discrete series, and for a continuous one the worth is conservative
//! by half a power of two down to 2⁻¹⁶. Far out, where nothing was ever seen, it falls about as the model
//! says, from where the p-values of this stream end, and is conservative by up to a third of its powers
//! of two.
//!
//! Counts are halved when there are [`MOST`] of them: a point has an influence for eleven days of minutes.
//! Every point that is not an alarm has to be learned, however strange: then, whatever the series does,
//! small p-values cannot go on being given more often than they say.

use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_1_SQRT_2;

/// From 1 down to 2⁻⁹⁰⁸.
const LEVELS: [f64; 64] = levels();
/// Lⱼ₊₁/Lⱼ.
const STEPS: [f64; 63] = steps();
/// From this level on the distance doubles after every fourth.
const FAR: usize = 32;
/// Pseudo-observations behind each ratio.
const STRENGTH: f64 = 8.0;
/// Counts are halved when so many p-values were counted.
const MOST: u16 = 16_384;

const fn steps() -> [f64; 63] {
    let (mut steps, mut j) = ([FRAC_1_SQRT_2; 63], FAR);
    while j < steps.len() {
        // 2⁻¹, then squared after every fourth.
        steps[j] = if j == FAR { 0.5 } else { steps[j - 1] };
        if j > FAR && j.is_multiple_of(4) {
            steps[j] *= steps[j];
        }
        j += 1;
    }
    steps
}

const fn levels() -> [f64; 64] {
    let (mut levels, mut j, steps) = ([1.0; 64], 1, steps());
    while j < levels.len() {
        // Every other of the near ones is a power of two, exactly.
        let is_exact = j <= FAR && j.is_multiple_of(2);
        levels[j] = if is_exact { levels[j - 2] / 2.0 } else { levels[j - 1] * steps[j - 1] };
        j += 1;
    }
    levels
}

/// How often p-values were as small, by levels. 128 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Recurrence {
    counts: [[u16; 32]; 2],
}

/// P-values from one level to the next, and what they are worth.
struct Between {
    low: f64,
    high: f64,
    least: f64,
    most: f64,
}

impl Recurrence {
    /// From the largest p-values to the smallest; the last reach down to 0.
    #[inline]
    fn between(&self) -> impl Iterator<Item = Between> {
        let counts = self.counts.as_flattened();
        let (mut most, mut least, mut ratio) = (1.0, 1.0, STEPS[0]);
        LEVELS.iter().enumerate().map(move |(j, &high)| {
            let Some(&step) = STEPS.get(j) else {
                return Between { low: 0.0, high, least: 0.0, most };
            };
            let here = Between { low: LEVELS[j + 1], high, least, most };
            let before = if j >= FAR && j.is_multiple_of(4) { ratio * ratio } else { ratio };
            let [count, next] = [counts[j], counts[j + 1]].map(f64::from);
            ratio = (next + STRENGTH * f64::max(before, step)) / (count + STRENGTH);
            (most, least) = (least, least * ratio);
            here
        })
    }

    /// What this p-value is worth.
    #[inline]
    pub(crate) fn p_value(&self, p: f64) -> f64 {
        // Most points are not rare at all.
        if p > LEVELS[1] {
            return 1.0;
        }
        let p = p.max(f64::MIN_POSITIVE);
        let worth = |Between { low, high, least, most }| least + (most - least) * (p - low) / (high - low);
        self.between().find(|between| p > between.low).map_or(1.0, worth).clamp(f64::MIN_POSITIVE, 1.0)
    }

    /// Counts a p-value.
    #[inline]
    pub(crate) fn learn(&mut self, p: f64) {
        let counts = self.counts.as_flattened_mut();
        counts.iter_mut().zip(LEVELS).take_while(|(_, level)| p <= *level).for_each(|(count, _)| *count += 1);
        if counts[0] >= MOST {
            counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        let counts = self.counts.as_flattened();
        counts.is_sorted_by(|more, less| more >= less) && counts[0] < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn learned(p_values: impl IntoIterator<Item = f64>) -> Recurrence {
        let mut recurrence = Recurrence::default();
        p_values.into_iter().for_each(|p| recurrence.learn(p));
        recurrence
    }

    #[test]
    fn levels_are_close_where_p_values_can_be_counted() {
        assert!(LEVELS.iter().zip(&LEVELS[1..]).all(|(high, low)| low < high));
        assert_eq!((LEVELS[2], LEVELS[FAR], LEVELS[FAR + 4]), (0.5, 2f64.powi(-16), 2f64.powi(-20)));
        assert_eq!((LEVELS[FAR + 5], LEVELS[63]), (2f64.powi(-22), 2f64.powi(-908)));
    }

    #[test]
    fn nothing_learned_is_the_model_and_half_a_power_of_two() {
        let recurrence = Recurrence::default();
        for p in [0.5, 0.01, 1e-4] {
            assert!((recurrence.p_value(p) / p / 2f64.sqrt() - 1.0).abs() < 1e-9, "{p}");
        }
        assert!((1e-30..1e-20).contains(&recurrence.p_value(1e-30)), "{}", recurrence.p_value(1e-30));
        assert_eq!(recurrence.p_value(1.0), 1.0);
        assert!(recurrence.p_value(0.0) > 0.0);
    }

    #[test]
    fn what_is_usual_on_a_series_is_worth_how_often_it_is() {
        let on_and_off = (0..20_000).map(|i| if i / 200 % 3 == 0 { 1e-9 } else { 0.6 });
        let recurrence = learned(on_and_off);
        assert!((0.3..0.4).contains(&recurrence.p_value(1e-9)), "{}", recurrence.p_value(1e-9));
        // What was never as small is still strange.
        assert!(recurrence.p_value(1e-30) < 1e-5, "{}", recurrence.p_value(1e-30));
    }

    #[test]
    fn what_was_usual_is_forgotten() {
        let mut recurrence = learned((0..300).map(|_| 1e-6));
        (0..100_000).for_each(|i| recurrence.learn(0.01 + f64::from(i % 97) / 98.0));
        assert!(recurrence.p_value(1e-6) < 1e-5, "{}", recurrence.p_value(1e-6));
    }

    proptest! {
        #[test]
        fn order_stays(
            learned_depths in prop::collection::vec(0.0..1_100.0f64, 0..900), a in 0.0..1_100.0f64, b in 0.0..1_100.0f64,
        ) {
            let recurrence = learned(learned_depths.into_iter().map(|depth| (-depth).exp2()));
            let (small, large) = ((-a.max(b)).exp2(), (-a.min(b)).exp2());
            let (less, more) = (recurrence.p_value(small), recurrence.p_value(large));
            prop_assert!(less <= more && (f64::MIN_POSITIVE..=1.0).contains(&less), "{} {}", less, more);
        }
    }
}
