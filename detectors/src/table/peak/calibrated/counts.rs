//! The model of counts: records and distinct samples of a key, window after window.
//!
//! **Level and slope.** A negative-binomial regression with log link, η = level + slope · age +
//! phase + ln(exposure), that forgets: what is k windows back weighs 0.93^k. Each window enters once, by
//! the Fisher scoring step that it would have in an iteration of the regression, so the state of a key is
//! five sums: those of [`Level`]. A window's weight is its information 1 / (1/μ + α), times min(1, 9/z²)
//! for a window that is more than three standard deviations off. Priors: level N(0, 10²), slope
//! N(0, 0.01²). Windows that were skipped age what is known, and move the level by its slope.
//!
//! **Rhythm.** A key follows the phases of the pool to its own extent: its slope on them, 1 a priori
//! with a variance of 1/20, estimated from its deviations from its level. A machine among people who
//! rest at weekends is not strange twice a week.
//!
//! **Dispersion.** α in V = μ + αμ², from one-step-ahead residuals, by moments: each window estimates α
//! as (y − μ)²/μ² · s/(s + v) − 1/μ, where s = 1/μ + α is the variance of one window on the log scale
//! and v that of the level; only their ratio counts, so a wrong α cancels. Squares are capped at four
//! predictive variances. Windows are weighted by 1 / (1/μ + α + v)² with the *pool's* α: with the
//! key's own, a key that reaches 0 would outweigh everything. A key is shrunk to the pool by ten
//! windows; the pool to 0.05 by ten key-windows, which fade as more are known. So predictions are too
//! wide at first, never too narrow.
//!
//! **Prediction.** Uncertainty of level and phase multiplies the mean by a factor of mean 1, which adds
//! to the dispersion: 1 + α' = (1 + α)(1 + v + v_phase).

use super::elapsed::Elapsed;
use crate::contract::valid::{is_number, is_weight};
use crate::time::level::{Level, Outlook};
use crate::time::phase::{Effect, Word};
use crate::worth::tail::{self, Tails};
use serde::{Deserialize, Serialize};

/// How far a residual counts in full, in standard deviations, squared.
const FAR: f64 = 9.0;
/// Where a squared residual is capped for the dispersion, in predictive variances.
const CAP: f64 = 4.0;
/// The largest relative step of the level in one window.
const STEP: f64 = 2.0;
/// The most dispersion of a prediction: twice the mean is then its standard deviation.
const WIDEST: f64 = 4.0;
/// The most variance of a level on the log scale.
const VAGUE: f64 = 4.0;
/// The range of the logarithm of a mean: from hardly ever one to the most that is counted.
const LOG_MEANS: [f64; 2] = [-12.0, 44.4];
/// The most information of one window: beyond it, the normal equations would lose their priors.
const CERTAIN: f64 = 1e12;

/// A prior dispersion is worth so many windows.
const STRENGTH: f64 = 10.0;

/// Weighted moment estimates of a dispersion: Σ ωα̂ and Σ ω.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Dispersion {
    sum: f64,
    weight: f64,
}

impl Dispersion {
    fn is_valid(&self) -> bool {
        is_number(self.sum) && is_weight(self.weight)
    }

    pub(super) fn decay(&mut self, kept: f64) {
        self.sum *= kept;
        self.weight *= kept;
    }

    pub(super) fn add(&mut self, other: Dispersion) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    /// The estimate, shrunk to a prior of this weight.
    fn estimate(&self, prior: f64, strength: f64) -> f64 {
        ((self.sum + strength * prior) / (self.weight + strength)).max(0.0)
    }
}

/// What all keys of a table share: the dispersion of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct PooledDispersion {
    total: Dispersion,
    windows: f64,
}

impl PooledDispersion {
    const PRIOR: f64 = 0.05;

    pub(super) fn is_valid(&self) -> bool {
        self.total.is_valid() && is_weight(self.windows)
    }

    pub(super) fn decay(&mut self, kept: f64) {
        self.total.decay(kept);
        self.windows *= kept;
    }

    pub(super) fn add(&mut self, one: Dispersion) {
        self.total.add(one);
        self.windows += 1.0;
    }

    /// The dispersion of the pool; 0.05 before anything was learned.
    pub(super) fn estimate(&self) -> f64 {
        if self.windows < 1e-6 || self.total.weight <= 0.0 {
            return Self::PRIOR;
        }
        let strength = STRENGTH * (STRENGTH / self.windows).min(1.0);
        self.total.estimate(Self::PRIOR, strength * self.total.weight / self.windows)
    }
}

/// How far a key follows the phases of the pool: 1 is in full, 0 not at all.
///
/// The slope of the key's deviations from its level on the pool's phases, with a prior of 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Rhythm {
    /// Σ w·phase·deviation, Σ w·phase².
    product: f64,
    information: f64,
}

impl Rhythm {
    /// The precision of the prior.
    const PRIOR: f64 = 20.0;
    /// From the contrary of what the pool does to three times as much.
    const SLOPES: [f64; 2] = [-1.0, 3.0];

    /// The effect that a phase of the pool has on the key.
    fn scale(&self, pool: Effect) -> Effect {
        let precision = self.information + Self::PRIOR;
        let slope = (self.product + Self::PRIOR) / precision;
        let slope = slope.clamp(Self::SLOPES[0], Self::SLOPES[1]);
        Effect { log: slope * pool.log, variance: pool.variance + pool.log * pool.log / precision }
    }

    /// Makes what was learned worth no more than the prior.
    fn doubt(&mut self) {
        let kept = Self::PRIOR / self.information.max(Self::PRIOR);
        self.product *= kept;
        self.information *= kept;
    }

    fn learn(&mut self, phase: f64, deviation: f64, information: f64, kept: f64) {
        self.product = kept * self.product + information * phase * deviation;
        self.information = kept * self.information + information * phase * phase;
    }
}

/// What the model remembers of one count of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Count {
    level: Level,
    rhythm: Rhythm,
    dispersion: Dispersion,
    /// The logs of the last two counts without their phases, newest first.
    recent: [f64; 2],
}

/// The predictive distribution of a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    pub(super) mean: f64,
    /// The logarithm of the mean.
    log_mean: f64,
    /// Of the key.
    alpha: f64,
    /// Of the key, the level and the phase.
    spread: f64,
    /// Of the level and the phase.
    variance: f64,
    /// Of an estimate of α.
    weight: f64,
    /// The effect of the phase and the exposure, and the pool's phase that it follows.
    offset: f64,
    phase: f64,
    pool_phase: f64,
}

impl Prediction {
    pub(super) fn tails(&self, count: f64) -> Tails {
        tail::negative_binomial(count, self.mean, self.spread)
    }

    /// The same with so much more variance on the log scale.
    pub(super) fn wider(self, variance: f64) -> Self {
        Prediction { spread: ((1.0 + self.spread) * (1.0 + variance) - 1.0).min(WIDEST), ..self }
    }

    /// About where a count lies that is so many standard deviations off (Wilson and Hilferty, 1931).
    pub(super) fn at(&self, deviations: f64) -> f64 {
        let shape = self.mean * self.mean / self.predictive_variance();
        let root = 1.0 - 1.0 / (9.0 * shape) + deviations / (3.0 * shape.sqrt());
        self.mean * root.max(0.0).powi(3)
    }

    fn predictive_variance(&self) -> f64 {
        self.mean + self.spread * self.mean * self.mean
    }
}

impl Count {
    /// A key that is seen for the first time.
    pub(super) fn first(count: f64, phase: Effect, pool: f64, elapsed: &Elapsed) -> Self {
        let log = log_count(count) - phase.log - elapsed.log_exposure;
        let mut fresh = Count { recent: [log, log], ..Count::default() };
        fresh.push(1.0, elapsed.level_of_one, log, 1.0 / (1.0 / (count + 0.5) + pool + phase.variance));
        fresh
    }

    pub(super) fn is_valid(&self) -> bool {
        self.level.is_valid()
            && [self.rhythm.product].into_iter().chain(self.recent).all(is_number)
            && is_weight(self.rhythm.information)
            && self.dispersion.is_valid()
    }

    /// What the key says of a window's factor: its count, its level, and how precisely it tells.
    pub(super) fn word(&self, count: f64, pool: f64, elapsed: &Elapsed) -> Word {
        let Outlook { value, variance } = self.outlook(elapsed);
        let level = libm::exp(value + elapsed.log_exposure);
        let alpha = self.alpha(moment_weight(level, variance, pool), pool);
        Word { count, level, precision: 1.0 / (1.0 / level.max(0.1) + alpha + variance) }
    }

    /// Where the log mean is thought to be, before any phase.
    fn outlook(&self, elapsed: &Elapsed) -> Outlook {
        let Outlook { value, variance } =
            self.level.outlook(elapsed.gap, elapsed.level_of_skipped, elapsed.prior);
        Outlook { value: value.clamp(LOG_MEANS[0], LOG_MEANS[1]), variance: variance.min(VAGUE) }
    }

    fn push(&mut self, gap: f64, kept: f64, log: f64, information: f64) {
        self.level.push(gap, kept, log, information.min(CERTAIN));
    }

    pub(super) fn predict(&self, pool_phase: Effect, pool: f64, elapsed: &Elapsed) -> Prediction {
        let (outlook, phase) = (self.outlook(elapsed), self.rhythm.scale(pool_phase));
        let offset = phase.log + elapsed.log_exposure;
        let log_mean = (outlook.value + offset).clamp(LOG_MEANS[0], LOG_MEANS[1]);
        let mean = libm::exp(log_mean);
        let variance = outlook.variance + phase.variance;
        let weight = moment_weight(mean, variance, pool);
        let alpha = self.alpha(weight, pool);
        let spread = ((1.0 + alpha) * (1.0 + variance) - 1.0).min(WIDEST);
        let (phase, pool_phase) = (phase.log, pool_phase.log);
        Prediction { mean, log_mean, alpha, spread, variance, weight, offset, phase, pool_phase }
    }

    /// The key's dispersion, shrunk to the pool's by ten windows of this weight.
    fn alpha(&self, weight: f64, pool: f64) -> f64 {
        self.dispersion.estimate(pool, STRENGTH * weight)
    }

    /// The window's own estimate of the dispersion.
    pub(super) fn moment(count: f64, p: &Prediction) -> Dispersion {
        let off = count - p.mean;
        let residual = (off * off).min(CAP * p.predictive_variance());
        let own = 1.0 / p.mean + p.alpha;
        let estimate = residual / (p.mean * p.mean) * own / (own + p.variance) - 1.0 / p.mean;
        Dispersion { sum: p.weight * estimate, weight: p.weight }
    }

    pub(super) fn learn_dispersion(&mut self, moment: Dispersion, kept: f64) {
        self.dispersion.decay(kept);
        self.dispersion.add(moment);
    }

    /// Moves the level.
    pub(super) fn learn(&mut self, count: f64, p: &Prediction, elapsed: &Elapsed) {
        let residual = count - p.mean;
        let z2 = residual * residual / (p.predictive_variance() + 0.25);
        let weight = (FAR / z2).min(1.0) / (1.0 / p.mean + p.alpha);
        let step = (residual / p.mean).min(STEP);
        self.push(elapsed.gap, elapsed.level, p.log_mean - p.offset + step, weight);
        self.rhythm.learn(p.pool_phase, p.phase + step, weight, elapsed.spread);
        self.remember(count, p);
    }

    /// Starts anew with this window and the two before it.
    pub(super) fn restart(&mut self, count: f64, p: &Prediction, elapsed: &Elapsed) {
        let [before, earlier] = self.recent;
        self.remember(count, p);
        self.level = Level::default();
        self.rhythm.doubt();
        let one = (1.0, elapsed.level_of_one);
        let windows = [(earlier, one), (before, one), (self.recent[0], (elapsed.gap, elapsed.level))];
        for (log, (gap, kept)) in windows {
            self.push(gap, kept, log, 1.0 / (libm::exp(-log) + p.alpha));
        }
    }

    fn remember(&mut self, count: f64, p: &Prediction) {
        self.recent = [log_count(count) - p.offset, self.recent[0]];
    }
}

fn log_count(count: f64) -> f64 {
    libm::log(count + 0.5)
}

/// The weight of a moment estimate: one over its variance, up to a factor.
fn moment_weight(mean: f64, variance: f64, pool: f64) -> f64 {
    let spread = 1.0 / mean + pool.max(1e-3) + variance;
    1.0 / (spread * spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::memory::Pace;

    const SURE: Effect = Effect { log: 0.0, variance: 0.0 };

    fn next() -> Elapsed {
        Elapsed::new(1.0, 1.0, Pace::new(None, 86_400_000))
    }

    #[test]
    fn a_key_without_the_rhythm_of_the_pool_is_found_out() {
        let pool = Effect { log: -1.2, variance: 0.01 };
        let mut rhythm = Rhythm::default();
        let first = rhythm.scale(pool);
        assert!(
            (first.log - pool.log).abs() < 1e-12 && (first.variance - (0.01 + 1.44 / 20.0)).abs() < 1e-12
        );
        rhythm.learn(pool.log, 0.0, 50.0, 0.98);
        // The prior, worth 20, against 50 · 1.2² = 72 of no effect.
        let after = rhythm.scale(pool);
        assert!((after.log - pool.log * 20.0 / 92.0).abs() < 1e-12, "{after:?}");
        assert!((after.variance - (0.01 + 1.44 / 92.0)).abs() < 1e-12, "{after:?}");
        // Without a phase nothing is learned of it.
        rhythm.learn(0.0, 3.0, 1e6, 0.98);
        assert!((rhythm.scale(pool).log - pool.log * 20.0 / (20.0 + 72.0 * 0.98)).abs() < 1e-12);
    }

    #[test]
    fn the_expected_square_estimates_the_dispersion() {
        let known = Prediction {
            mean: 50.0,
            log_mean: 50f64.ln(),
            alpha: 0.2,
            spread: 0.2,
            variance: 0.0,
            weight: 7.0,
            offset: 0.0,
            phase: 0.0,
            pool_phase: 0.0,
        };
        let typical = 50.0 + (50.0 + 0.2 * 2_500.0f64).sqrt();
        let moment = Count::moment(typical, &known);
        assert!((moment.sum / moment.weight - 0.2).abs() < 1e-12);
        // With an unsure level the same square means less; what is far off is capped.
        let unsure = Prediction { variance: 0.22, spread: 0.464, ..known };
        let moment = Count::moment(typical, &unsure);
        assert!((moment.sum / moment.weight - (0.5 * 0.22 - 0.02)).abs() < 1e-12);
        assert_eq!(Count::moment(1e6, &known), Count::moment(1e9, &known));
    }

    #[test]
    fn a_pool_starts_at_its_prior_and_follows_its_keys() {
        let mut pool = PooledDispersion::default();
        assert_eq!(pool.estimate(), 0.05);
        for _ in 0..10 {
            pool.add(Dispersion { sum: 6.0, weight: 20.0 });
        }
        // Ten of 0.3 and a prior worth ten.
        assert!((pool.estimate() - (0.3 + 0.05) / 2.0).abs() < 1e-12);
        for _ in 0..990 {
            pool.add(Dispersion { sum: 6.0, weight: 20.0 });
        }
        assert!((pool.estimate() - 0.3).abs() < 1e-4);
    }

    #[test]
    fn a_new_key_is_uncertain_and_a_known_one_is_not() {
        let mut key = Count::first(100.0, SURE, 0.05, &next());
        let first = key.predict(SURE, 0.05, &next());
        assert!((first.mean / 100.0 - 1.0).abs() < 0.01, "{first:?}");
        assert!(first.spread > 0.1, "{first:?}");
        for _ in 0..40 {
            let prediction = key.predict(SURE, 0.0, &next());
            key.learn_dispersion(Count::moment(100.0, &prediction), 0.98);
            key.learn(100.0, &prediction, &next());
        }
        let later = key.predict(SURE, 0.0, &next());
        assert!((later.mean / 100.0 - 1.0).abs() < 0.01 && later.spread < 0.003, "{later:?}");
    }

    #[test]
    fn half_of_a_window_has_half_of_the_records() {
        let mut key = Count::first(100.0, SURE, 0.0, &next());
        (0..20).for_each(|_| key.learn(100.0, &key.predict(SURE, 0.0, &next()), &next()));
        let whole = key.predict(SURE, 0.0, &next()).mean;
        let half = Elapsed::new(1.0, 0.5, Pace::new(None, 86_400_000));
        let prediction = key.predict(SURE, 0.0, &half);
        assert!((prediction.mean / (0.5 * whole) - 1.0).abs() < 1e-12, "{prediction:?}");
        // It says as much of the window as half of it can, and moves no level that it is in line with.
        let words = [(100.0, next()), (50.0, half)].map(|(count, elapsed)| key.word(count, 0.0, &elapsed));
        assert!((words[0].level / words[1].level - 2.0).abs() < 1e-12);
        assert!(words[1].precision < words[0].precision);
        key.learn(prediction.mean, &prediction, &half);
        assert!((key.predict(SURE, 0.0, &next()).mean / whole - 1.0).abs() < 1e-3);
        // So for a new regime, and a new key.
        for mut key in [key, Count::first(50.0, SURE, 0.0, &half)] {
            (0..3).for_each(|_| key.restart(50.0, &key.predict(SURE, 0.0, &half), &half));
            assert!((key.predict(SURE, 0.0, &next()).mean / 101.0 - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn a_level_starts_anew_with_the_last_three_windows() {
        let mut key = Count::first(100.0, SURE, 0.0, &next());
        let mut see = |count: f64, learn: fn(&mut Count, f64, &Prediction, &Elapsed)| {
            let prediction = key.predict(SURE, 0.0, &next());
            learn(&mut key, count, &prediction, &next());
            key.predict(SURE, 0.0, &next()).mean
        };
        assert!((0..20).all(|_| (see(100.0, Count::learn) / 100.0 - 1.0).abs() < 0.02));
        let means = [Count::learn, Count::learn, Count::restart].map(|learn| see(300.0, learn));
        assert!(means[1] < 250.0 && (means[2] / 300.0 - 1.0).abs() < 0.02, "{means:?}");
    }

    #[test]
    fn a_level_that_starts_anew_doubts_its_rhythm() {
        let pool = Effect { log: -1.2, variance: 0.0 };
        let mut key = Count::first(100.0, SURE, 0.0, &next());
        key.rhythm.learn(pool.log, 3.0 * pool.log, 1e6, 0.98);
        assert!((key.rhythm.scale(pool).log / pool.log - 3.0).abs() < 1e-3);
        let prediction = key.predict(SURE, 0.0, &next());
        key.restart(100.0, &prediction, &next());
        assert!((key.rhythm.scale(pool).log / pool.log - 2.0).abs() < 1e-3);
    }
}
