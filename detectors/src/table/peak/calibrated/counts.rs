//! The model of counts: records and distinct samples of a key, window after window.
//!
//! **Level and slope.** A negative-binomial regression with log link, η = level + slope · age +
//! phase, that forgets: a window k steps back weighs 0.93^k. Each window enters once, by the Fisher
//! scoring step that it would have in an iteration of the regression, so the state of a key is five
//! sums: those of the weighted normal equations in the coordinates (level now, slope a window). A
//! window's weight is its information 1 / (1/μ + α), times min(1, 9/z²) for a window that is more
//! than three standard deviations off. Priors: level N(0, 10²), slope N(0, 0.01²).
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

use crate::contract::valid::{is_number, is_weight};
use crate::time::phase::{Effect, Word};
use crate::worth::tail::{self, Tails};
use serde::{Deserialize, Serialize};

/// The weight of a window against the next one.
const MEMORY: f64 = 0.93;
/// Prior precisions of level and slope.
const PRIOR: [f64; 2] = [1e-2, 1e4];
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

/// The weighted normal equations of level and slope, in coordinates of the newest window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Trend {
    /// Σ w, Σ w·age, Σ w·age², ages being negative.
    information: [f64; 3],
    /// Σ w·x, Σ w·x·age.
    score: [f64; 2],
}

/// Where the log mean of the next window is thought to be, before any phase.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Outlook {
    log_mean: f64,
    variance: f64,
}

impl Trend {
    /// The same equations in the coordinates of the next window.
    fn ahead(&self) -> Self {
        let ([a, b, c], [x, y]) = (self.information, self.score);
        Trend { information: [a, b - a, c - 2.0 * b + a], score: [x, y - x] }
    }

    /// The outlook on the next window: the solution of the normal equations with their priors.
    fn outlook(&self) -> Outlook {
        let Trend { information: [a, b, c], score: [x, y] } = self.ahead();
        let (a, c) = (a + PRIOR[0], c + PRIOR[1]);
        let determinant = a * c - b * b;
        Outlook {
            log_mean: ((c * x - b * y) / determinant).clamp(LOG_MEANS[0], LOG_MEANS[1]),
            variance: (c / determinant).min(VAGUE),
        }
    }

    /// Takes in the log mean of a window with its information.
    fn push(&mut self, log_mean: f64, information: f64) {
        let Trend { information: [a, b, c], score: [x, y] } = self.ahead();
        let information = information.min(CERTAIN);
        self.information = [MEMORY * a + information, MEMORY * b, MEMORY * c];
        self.score = [MEMORY * x + information * log_mean, MEMORY * y];
    }
}

/// A prior dispersion is worth so many windows.
const STRENGTH: f64 = 10.0;

/// Weighted moment estimates of a dispersion: Σ ωα̂ and Σ ω.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Dispersion {
    sum: f64,
    weight: f64,
}

impl Dispersion {
    const MEMORY: f64 = 0.98;

    fn is_valid(&self) -> bool {
        is_number(self.sum) && is_weight(self.weight)
    }

    pub(super) fn decay(&mut self) {
        self.sum *= Self::MEMORY;
        self.weight *= Self::MEMORY;
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

    pub(super) fn decay(&mut self) {
        self.total.decay();
        self.windows *= Dispersion::MEMORY;
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
    const MEMORY: f64 = 0.98;
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

    fn learn(&mut self, phase: f64, deviation: f64, information: f64) {
        self.product = Self::MEMORY * self.product + information * phase * deviation;
        self.information = Self::MEMORY * self.information + information * phase * phase;
    }
}

/// What the model remembers of one count of one key.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Count {
    trend: Trend,
    rhythm: Rhythm,
    dispersion: Dispersion,
    /// The logs of the last two counts without their phases, newest first.
    recent: [f64; 2],
}

/// The predictive distribution of a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    pub(super) mean: f64,
    /// Of the key.
    alpha: f64,
    /// Of the key, the level and the phase.
    spread: f64,
    /// Of the level and the phase.
    variance: f64,
    /// Of an estimate of α.
    weight: f64,
    /// The effect of the phase, and the pool's that it follows.
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
    pub(super) fn first(count: f64, phase: Effect, pool: f64) -> Self {
        let mut fresh = Count::default();
        let log = log_count(count) - phase.log;
        fresh.trend.push(log, 1.0 / (1.0 / (count + 0.5) + pool + phase.variance));
        fresh.recent = [log, log];
        fresh
    }

    pub(super) fn is_valid(&self) -> bool {
        let Trend { information: [sum, first, second], score } = self.trend;
        is_weight(sum)
            && is_weight(second)
            && sum * second >= first * first * (1.0 - 1e-6)
            && [first, self.rhythm.product].into_iter().chain(score).chain(self.recent).all(is_number)
            && is_weight(self.rhythm.information)
            && self.dispersion.is_valid()
    }

    /// What the key says of a window's factor: its count, its level, and how precisely it tells.
    pub(super) fn word(&self, count: f64, pool: f64) -> Word {
        let Outlook { log_mean, variance } = self.trend.outlook();
        let level = log_mean.exp();
        let alpha = self.alpha(moment_weight(level, variance, pool), pool);
        Word { count, level, precision: 1.0 / (1.0 / level.max(0.1) + alpha + variance) }
    }

    pub(super) fn predict(&self, pool_phase: Effect, pool: f64) -> Prediction {
        let (outlook, phase) = (self.trend.outlook(), self.rhythm.scale(pool_phase));
        let mean = (outlook.log_mean + phase.log).clamp(LOG_MEANS[0], LOG_MEANS[1]).exp();
        let variance = outlook.variance + phase.variance;
        let weight = moment_weight(mean, variance, pool);
        let alpha = self.alpha(weight, pool);
        let spread = ((1.0 + alpha) * (1.0 + variance) - 1.0).min(WIDEST);
        Prediction { mean, alpha, spread, variance, weight, phase: phase.log, pool_phase: pool_phase.log }
    }

    /// The key's dispersion, shrunk to the pool's by ten windows of this weight.
    fn alpha(&self, weight: f64, pool: f64) -> f64 {
        self.dispersion.estimate(pool, STRENGTH * weight)
    }

    /// The window's own estimate of the dispersion.
    pub(super) fn moment(count: f64, p: &Prediction) -> Dispersion {
        let residual = (count - p.mean).powi(2).min(CAP * p.predictive_variance());
        let own = 1.0 / p.mean + p.alpha;
        let estimate = residual / (p.mean * p.mean) * own / (own + p.variance) - 1.0 / p.mean;
        Dispersion { sum: p.weight * estimate, weight: p.weight }
    }

    pub(super) fn learn_dispersion(&mut self, moment: Dispersion) {
        self.dispersion.decay();
        self.dispersion.add(moment);
    }

    /// Moves the level.
    pub(super) fn learn(&mut self, count: f64, p: &Prediction) {
        let residual = count - p.mean;
        let z2 = residual * residual / (p.predictive_variance() + 0.25);
        let weight = (FAR / z2).min(1.0) / (1.0 / p.mean + p.alpha);
        let step = (residual / p.mean).min(STEP);
        self.trend.push(p.mean.ln() - p.phase + step, weight);
        self.rhythm.learn(p.pool_phase, p.phase + step, weight);
        self.remember(count, p);
    }

    /// Starts anew with this window and the two before it.
    pub(super) fn restart(&mut self, count: f64, p: &Prediction) {
        let [before, earlier] = self.recent;
        self.remember(count, p);
        self.trend = Trend::default();
        self.rhythm.doubt();
        for log in [earlier, before, self.recent[0]] {
            self.trend.push(log, 1.0 / ((-log).exp() + p.alpha));
        }
    }

    fn remember(&mut self, count: f64, p: &Prediction) {
        self.recent = [log_count(count) - p.phase, self.recent[0]];
    }
}

fn log_count(count: f64) -> f64 {
    (count + 0.5).ln()
}

/// The weight of a moment estimate: one over its variance, up to a factor.
fn moment_weight(mean: f64, variance: f64, pool: f64) -> f64 {
    (1.0 / mean + pool.max(1e-3) + variance).powi(-2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURE: Effect = Effect { log: 0.0, variance: 0.0 };

    #[test]
    fn the_outlook_solves_the_weighted_normal_equations() {
        let data = [(3.0, 10.0), (3.2, 20.0), (2.9, 15.0), (3.4, 30.0)];
        let mut trend = Trend::default();
        data.iter().for_each(|&(x, w)| trend.push(x, w));
        // import numpy as np; a = np.array([-4., -3, -2, -1]); x = np.array([3, 3.2, 2.9, 3.4])
        // w = np.array([10, 20, 15, 30]) * 0.93 ** np.array([3, 2, 1, 0])
        // X = np.stack([np.ones(4), a], 1); A = X.T @ (w[:, None] * X) + np.diag([0.01, 1e4])
        // np.linalg.solve(A, X.T @ (w * x)), np.linalg.inv(A)[0, 0]
        let Outlook { log_mean, variance } = trend.outlook();
        assert!((log_mean - 3.204376983466).abs() < 1e-9, "{log_mean}");
        assert!((variance - 0.0148460427464).abs() < 1e-9, "{variance}");
    }

    #[test]
    fn a_key_without_the_rhythm_of_the_pool_is_found_out() {
        let pool = Effect { log: -1.2, variance: 0.01 };
        let mut rhythm = Rhythm::default();
        let first = rhythm.scale(pool);
        assert!(
            (first.log - pool.log).abs() < 1e-12 && (first.variance - (0.01 + 1.44 / 20.0)).abs() < 1e-12
        );
        rhythm.learn(pool.log, 0.0, 50.0);
        // The prior, worth 20, against 50 · 1.2² = 72 of no effect.
        let after = rhythm.scale(pool);
        assert!((after.log - pool.log * 20.0 / 92.0).abs() < 1e-12, "{after:?}");
        assert!((after.variance - (0.01 + 1.44 / 92.0)).abs() < 1e-12, "{after:?}");
        // Without a phase nothing is learned of it.
        rhythm.learn(0.0, 3.0, 1e6);
        assert!((rhythm.scale(pool).log - pool.log * 20.0 / (20.0 + 72.0 * 0.98)).abs() < 1e-12);
    }

    #[test]
    fn the_expected_square_estimates_the_dispersion() {
        let known = Prediction {
            mean: 50.0,
            alpha: 0.2,
            spread: 0.2,
            variance: 0.0,
            weight: 7.0,
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
        let mut key = Count::first(100.0, SURE, 0.05);
        let first = key.predict(SURE, 0.05);
        assert!((first.mean / 100.0 - 1.0).abs() < 0.01, "{first:?}");
        assert!(first.spread > 0.1, "{first:?}");
        for _ in 0..40 {
            let prediction = key.predict(SURE, 0.0);
            key.learn_dispersion(Count::moment(100.0, &prediction));
            key.learn(100.0, &prediction);
        }
        let later = key.predict(SURE, 0.0);
        assert!((later.mean / 100.0 - 1.0).abs() < 0.01 && later.spread < 0.003, "{later:?}");
    }

    #[test]
    fn a_level_starts_anew_with_the_last_three_windows() {
        let mut key = Count::first(100.0, SURE, 0.0);
        let mut see = |count: f64, learn: fn(&mut Count, f64, &Prediction)| {
            let prediction = key.predict(SURE, 0.0);
            learn(&mut key, count, &prediction);
            key.predict(SURE, 0.0).mean
        };
        assert!((0..20).all(|_| (see(100.0, Count::learn) / 100.0 - 1.0).abs() < 0.02));
        let means = [Count::learn, Count::learn, Count::restart].map(|learn| see(300.0, learn));
        assert!(means[1] < 250.0 && (means[2] / 300.0 - 1.0).abs() < 0.02, "{means:?}");
    }

    #[test]
    fn a_level_that_starts_anew_doubts_its_rhythm() {
        let pool = Effect { log: -1.2, variance: 0.0 };
        let mut key = Count::first(100.0, SURE, 0.0);
        key.rhythm.learn(pool.log, 3.0 * pool.log, 1e6);
        assert!((key.rhythm.scale(pool).log / pool.log - 3.0).abs() < 1e-3);
        key.restart(100.0, &key.predict(SURE, 0.0));
        assert!((key.rhythm.scale(pool).log / pool.log - 2.0).abs() < 1e-3);
    }
}
