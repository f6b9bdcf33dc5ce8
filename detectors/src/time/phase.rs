//! Seasonal phases: how days of the week or hours of the day differ, for all keys alike.
//!
//! A window's *day factor* is how much higher than their levels its keys were, on the log scale: the
//! median over keys, refined by one step of the precision-weighted mean of relative residuals, each
//! clipped at three standard deviations. A phase is estimated from the factors of its last five
//! windows: a single one is taken as it is, but may owe 7.5 % to drift; of two that differ by more than
//! four standard deviations the older is taken, because the newer may be the anomaly; of more, the
//! weighted mean of those clipped to three deviations about the median. An effect within two standard
//! errors of none is none.
//!
//! How far factors turn out to be from their phases is the variance that all keys have in common: days
//! that are busier for everybody, a wave, a trend that levels follow late. It widens every
//! prediction, large keys feel it and small ones hardly do.

use super::calendar::Phases;
use crate::contract::valid::{is_number, is_weight};
use serde::{Deserialize, Serialize};

/// The phases of one count, and how much a window differs from its phase for all keys together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Seasons {
    phases: Vec<Phase>,
    surprise: Surprise,
}

impl Seasons {
    pub(crate) fn is_valid(&self) -> bool {
        let is_factor = |&(log, variance): &(f64, f64)| is_number(log) && is_weight(variance);
        let is_phase =
            |phase: &Phase| phase.factors.len() <= Phase::KEPT && phase.factors.iter().all(is_factor);
        self.phases.len() <= Phases::MOST
            && self.phases.iter().all(is_phase)
            && is_number(self.surprise.sum)
            && is_weight(self.surprise.weight)
    }

    /// The effect of a phase on a window to come; `None` before the phase's first window.
    pub(crate) fn effect(&self, phase: usize) -> Option<Effect> {
        let Effect { log, variance } = self.phases.get(phase)?.effect()?;
        Some(Effect { log, variance: variance + self.surprise.variance() })
    }

    /// How many of the last windows of a phase are remembered.
    pub(crate) fn seen(&self, phase: usize) -> usize {
        self.phases.get(phase).map_or(0, |phase| phase.factors.len())
    }

    /// Whether it knows this number of phases.
    pub(crate) fn fits(&self, count: usize) -> bool {
        self.phases.len() == count
    }

    /// Begins anew where there are not as many phases as it knows: those of another period tell nothing.
    pub(crate) fn fit(&mut self, count: usize) {
        if !self.fits(count) {
            self.phases = vec![Phase::default(); count];
        }
    }

    /// Takes in the factor of a window of a phase, in a season of that kind, which keeps this share of
    /// how large surprises were.
    pub(crate) fn learn(&mut self, phase: usize, factor: Effect, kept: f64) {
        if let Some(expected) = self.phases[phase].effect() {
            self.surprise.learn(factor.log - expected.log, factor.variance + expected.variance, kept);
        }
        self.phases[phase].learn(factor);
    }
}

/// The variance that all keys have in common, from how far factors were off.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Surprise {
    sum: f64,
    weight: f64,
}

impl Surprise {
    const STRENGTH: f64 = 3.0;

    fn variance(&self) -> f64 {
        let strength = Self::STRENGTH * (Self::STRENGTH / self.weight.max(1e-9)).min(1.0);
        ((self.sum + strength * DRIFT * DRIFT) / (self.weight + strength)).max(0.0)
    }

    fn learn(&mut self, off: f64, explained: f64, kept: f64) {
        let square = (off * off).min(9.0 * (self.variance() + explained));
        self.sum = kept * self.sum + square - explained;
        self.weight = kept * self.weight + 1.0;
    }
}

/// The standard deviation, before anything is known, of what windows owe to common drift.
const DRIFT: f64 = 0.075;

/// The factors of the last windows of one phase, oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Phase {
    factors: Vec<(f64, f64)>,
}

impl Phase {
    const KEPT: usize = 5;
    const CAP: f64 = 3.0;
    fn learn(&mut self, factor: Effect) {
        if self.factors.len() == Self::KEPT {
            self.factors.remove(0);
        }
        self.factors.push((factor.log, factor.variance));
    }

    /// The effect of the phase; `None` before its first window.
    fn effect(&self) -> Option<Effect> {
        let effect = match *self.factors.as_slice() {
            [] => return None,
            [(log, variance)] => Effect { log, variance: variance + DRIFT * DRIFT },
            [(older, v), (newer, w)] if square(newer - older) > 16.0 * (v + w) => {
                Effect { log: older, variance: v + square((newer - older) / 4.0) }
            }
            [(older, v), (newer, w)] => Effect { log: (older + newer) / 2.0, variance: (v + w) / 4.0 },
            _ => self.robust_mean(),
        };
        Some(shrink(effect))
    }

    fn robust_mean(&self) -> Effect {
        let logs = self.factors.iter().map(|factor| factor.0);
        let middle = median(&mut logs.collect::<Vec<_>>());
        let (mut sum, mut weights) = (0.0, 0.0);
        for &(log, variance) in &self.factors {
            let variance = variance.max(1e-9);
            let cap = Self::CAP * variance.sqrt();
            sum += (log - middle).clamp(-cap, cap) / variance;
            weights += 1.0 / variance;
        }
        let mut off: Vec<f64> = self.factors.iter().map(|factor| (factor.0 - middle).abs()).collect();
        let scatter = square(1.4826 * median(&mut off)) / self.factors.len() as f64;
        Effect { log: middle + sum / weights, variance: scatter.max(1.0 / weights) }
    }
}

/// Small effects are noise: within two standard errors, an effect is none.
fn shrink(effect: Effect) -> Effect {
    let kept = 1.0 - 4.0 * effect.variance / (effect.log * effect.log).max(1e-300);
    Effect { log: effect.log * kept.max(0.0), ..effect }
}

/// A multiplicative effect on the mean, on the log scale.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Effect {
    pub(crate) log: f64,
    pub(crate) variance: f64,
}

/// One key's word on a window's factor: its count, its level, and how precisely it tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) count: f64,
    pub(crate) level: f64,
    pub(crate) precision: f64,
}

/// The factor of a window, from its keys' words in an order that does not depend on the caller.
pub(crate) fn day_factor(words: &[Word]) -> Option<Effect> {
    if words.is_empty() {
        return None;
    }
    let ratio = |word: &Word| libm::log((word.count + 0.5) / (word.level + 0.5));
    let middle = median(&mut words.iter().map(ratio).collect::<Vec<_>>());
    let (mut sum, mut weights) = (0.0, 0.0);
    for word in words {
        let mean = word.level * libm::exp(middle);
        let cap = Phase::CAP / word.precision.sqrt();
        sum += word.precision * ((word.count - mean) / mean.max(1e-9)).clamp(-cap, cap);
        weights += word.precision;
    }
    Some(Effect { log: middle + sum / weights, variance: 1.0 / weights })
}

fn square(x: f64) -> f64 {
    x * x
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 0 => (values[half - 1] + values[half]) / 2.0,
        _ => values[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(factors: &[f64]) -> Effect {
        let mut phase = Phase::default();
        factors.iter().for_each(|&log| phase.learn(Effect { log, variance: 1e-4 }));
        phase.effect().unwrap()
    }

    #[test]
    fn one_window_is_taken_as_it_is_and_of_two_that_differ_the_older() {
        assert!((phase(&[-1.2]).log + 1.2).abs() < 0.02);
        assert!((phase(&[-1.2, -1.22]).log + 1.21).abs() < 0.01);
        let doubtful = phase(&[-1.2, 0.0]);
        assert!(doubtful.log < -0.8, "{doubtful:?}");
        assert!(doubtful.variance > 0.08, "{doubtful:?}");
    }

    #[test]
    fn of_several_an_odd_one_hardly_counts() {
        assert!((phase(&[-1.2, -1.21, 2.0, -1.19, -1.2]).log + 1.2).abs() < 0.02);
        assert_eq!(phase(&[0.005, -0.005, 0.003]).log, 0.0);
    }

    #[test]
    fn the_factor_of_a_window_is_what_its_keys_have_in_common() {
        let word = |level: f64, factor: f64| Word {
            count: level * factor,
            level,
            precision: 1.0 / (1.0 / level + 0.01),
        };
        let mut words: Vec<Word> = (1..10).map(|i| word(f64::from(i) * 1_000.0, 0.3)).collect();
        let factor = day_factor(&words).unwrap();
        assert!((factor.log - 0.3f64.ln()).abs() < 0.01, "{factor:?}");
        words.push(word(1e6, 20.0));
        let factor = day_factor(&words).unwrap();
        assert!((factor.log - 0.3f64.ln()).abs() < 0.06, "{factor:?}");
        assert_eq!(day_factor(&[]), None);
    }

    #[test]
    fn common_surprises_widen_what_is_expected() {
        let mut calm = Surprise::default();
        let mut restless = Surprise::default();
        for i in 0..100 {
            calm.learn(0.0, 0.0, 0.97);
            restless.learn(if i % 2 == 0 { 0.2 } else { -0.2 }, 0.0, 0.97);
        }
        assert!(calm.variance() < 1e-4, "{}", calm.variance());
        assert!((restless.variance() - 0.04).abs() < 0.004, "{}", restless.variance());
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }
}
