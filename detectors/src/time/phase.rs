//! Seasonal phases: how days of the week or hours of the day differ, for all keys alike.
//!
//! A window's *day factor* is how much higher than their levels its keys were, on the log scale: the
//! median over keys, refined by one step of the precision-weighted mean of relative residuals, each
//! clipped at three standard deviations. A phase is estimated from the factors of its last five
//! windows: a single one is taken as it is, but may owe 7.5 % to drift; of two that differ by more than four standard deviations
//! the older is taken, because the newer may be the anomaly; of more, the weighted mean of those
//! clipped to three deviations about the median. An effect within two standard errors of none is
//! none.
//!
//! How far factors turn out to be from their phases is the variance that all keys have in common: days
//! that are busier for everybody, a wave, a trend that levels follow late. It widens every
//! prediction, large keys feel it and small ones hardly do.

use crate::contract::valid::{is_number, is_weight};
use peak_core::{Error, Result, Span};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How windows repeat: so many windows of a nominal length make a period.
///
/// A window's phase follows from its start, counted in nominal lengths. Days are told apart at 18:00
/// UTC, where no time zone with daylight saving time has its midnight, so days of 23 and 25 hours
/// keep their day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Period", into = "Period")]
pub struct Phases {
    millis: i64,
    count: usize,
}

/// Phases as they are configured, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    window_ms: u64,
    count: usize,
}

impl TryFrom<Period> for Phases {
    type Error = Error;
    fn try_from(Period { window_ms, count }: Period) -> Result<Self> {
        Phases::new(Duration::from_millis(window_ms), count)
    }
}

impl From<Phases> for Period {
    fn from(Phases { millis, count }: Phases) -> Self {
        Period { window_ms: millis.unsigned_abs(), count }
    }
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

impl Phases {
    /// No phases: every window is like every other.
    pub const NONE: Phases = Phases { millis: 1, count: 1 };
    /// Seven windows of a day.
    pub const DAYS_OF_WEEK: Phases = Phases { millis: (DAY * 1_000) as i64, count: 7 };
    /// 24 windows of an hour.
    pub const HOURS_OF_DAY: Phases = Phases { millis: (HOUR * 1_000) as i64, count: 24 };
    /// 168 windows of an hour.
    pub const HOURS_OF_WEEK: Phases = Phases { millis: (HOUR * 1_000) as i64, count: 168 };
    /// The most phases of a period.
    pub const MOST: usize = 10_000;

    /// A period of so many windows of this length.
    ///
    /// # Errors
    /// When the length is less than a millisecond, or the number is 0 or more than
    /// [`MOST`](Self::MOST).
    pub fn new(window: Duration, count: usize) -> Result<Self> {
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        if millis == 0 {
            return Err(Error::invalid("phases", "must be of windows of a millisecond at least", "0"));
        }
        if !(1..=Self::MOST).contains(&count) {
            let rule = format!("must be from 1 to {}", Self::MOST);
            return Err(Error::invalid("phases", rule, count));
        }
        Ok(Phases { millis, count })
    }

    /// The phases of windows of this length: days of the week for days, times of day for windows that
    /// divide the day, none for others.
    #[must_use]
    pub fn of(window: Duration) -> Self {
        let seconds = window.as_secs();
        match seconds {
            s if (DAY - HOUR..=DAY + HOUR).contains(&s) => Self::DAYS_OF_WEEK,
            s if s >= 60 && DAY.is_multiple_of(s) => {
                Phases { millis: (s * 1_000) as i64, count: (DAY / s) as usize }
            }
            _ => Self::NONE,
        }
    }

    pub(crate) fn count(self) -> usize {
        self.count
    }

    pub(crate) fn index(self, span: Span) -> usize {
        let start = span.start().millis() + 6 * HOUR as i64 * 1_000;
        start.div_euclid(self.millis).rem_euclid(self.count as i64) as usize
    }
}

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

    /// Takes in the factor of a window; `count` is the number of phases.
    pub(crate) fn learn(&mut self, phase: usize, count: usize, factor: Effect) {
        self.phases.resize(count, Phase::default());
        if let Some(expected) = self.phases[phase].effect() {
            self.surprise.learn(factor.log - expected.log, factor.variance + expected.variance);
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
    const MEMORY: f64 = 0.97;
    const STRENGTH: f64 = 3.0;

    fn variance(&self) -> f64 {
        let strength = Self::STRENGTH * (Self::STRENGTH / self.weight.max(1e-9)).min(1.0);
        ((self.sum + strength * DRIFT * DRIFT) / (self.weight + strength)).max(0.0)
    }

    fn learn(&mut self, off: f64, explained: f64) {
        let square = (off * off).min(9.0 * (self.variance() + explained));
        self.sum = Self::MEMORY * self.sum + square - explained;
        self.weight = Self::MEMORY * self.weight + 1.0;
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
            [(older, v), (newer, w)] if (newer - older).powi(2) > 16.0 * (v + w) => {
                Effect { log: older, variance: v + ((newer - older) / 4.0).powi(2) }
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
        let scatter = (1.4826 * median(&mut off)).powi(2) / self.factors.len() as f64;
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
    let ratio = |word: &Word| ((word.count + 0.5) / (word.level + 0.5)).ln();
    let middle = median(&mut words.iter().map(ratio).collect::<Vec<_>>());
    let (mut sum, mut weights) = (0.0, 0.0);
    for word in words {
        let mean = word.level * middle.exp();
        let cap = Phase::CAP / word.precision.sqrt();
        sum += word.precision * ((word.count - mean) / mean.max(1e-9)).clamp(-cap, cap);
        weights += word.precision;
    }
    Some(Effect { log: middle + sum / weights, variance: 1.0 / weights })
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
    use peak_core::{Timestamp, Tz};

    fn phase(factors: &[f64]) -> Effect {
        let mut phase = Phase::default();
        factors.iter().for_each(|&log| phase.learn(Effect { log, variance: 1e-4 }));
        phase.effect().unwrap()
    }

    #[test]
    fn days_keep_their_weekday_when_clocks_change() {
        for (first, end, zone) in [
            ("2021-03-01", "2021-04-12", Tz::Europe__London),
            ("2021-10-04", "2021-11-29", Tz::America__New_York),
            ("2021-08-30", "2021-10-11", Tz::Pacific__Auckland),
            ("2021-03-08", "2021-04-19", Tz::Australia__Lord_Howe),
        ] {
            let days = Span::local_days(first, end, zone).unwrap();
            let indices: Vec<usize> = days.iter().map(|&day| Phases::DAYS_OF_WEEK.index(day)).collect();
            assert!(indices.windows(8).all(|week| week[0] == week[7] && week[0] != week[1]), "{zone}");
        }
    }

    #[test]
    fn the_length_of_windows_tells_their_phases() {
        let of = |hours: u64| Phases::of(Duration::from_secs(hours * HOUR));
        assert_eq!([23, 24, 25].map(of), [Phases::DAYS_OF_WEEK; 3]);
        assert_eq!(of(1), Phases::HOURS_OF_DAY);
        assert_eq!(of(6).count(), 4);
        assert_eq!([7, 48, 168].map(of), [Phases::NONE; 3]);
        assert!(Phases::new(Duration::ZERO, 7).is_err());
        let error = Phases::new(Duration::from_secs(60), 0).unwrap_err().to_string();
        assert_eq!(error, r#"phases: must be from 1 to 10000, got "0""#);
        let hour = |i: i64| Timestamp::from_millis(i * 3_600_000).unwrap();
        let index = |i: i64| Phases::HOURS_OF_DAY.index(Span::new(hour(i), hour(i + 1)).unwrap());
        assert_eq!((index(0) + 5) % 24, index(29));
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
            calm.learn(0.0, 0.0);
            restless.learn(if i % 2 == 0 { 0.2 } else { -0.2 }, 0.0);
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
