//! One law for all that tells what a score is worth: p-values are what they say.
//!
//! Where nothing is wrong, P(p ≤ q)/q is at most [`MOST`] for each q from 0.001 to 0.1, whatever the
//! scores are like, and at least [`LEAST`] where they are continuous and have no end; scores that are
//! discrete, end somewhere or stay for long have ties, which are conservative. It holds when scores are
//! left out by chance. When those are left out that look like an alarm, it holds of the others. It is
//! measured over what comes after the first [`WARM_UP`] scores.

use super::exceedances::{self, Exceedances, NORMAL_EXCESS};
use super::histogram::Histogram;
use super::levels::{Arrivals, TailMap};
use super::recurrence::Recurrence;
use super::{empirical, tail};

const LEAST: f64 = 0.3;
const MOST: f64 = 2.0;
const WARM_UP: usize = 5_000;
const SCORES: usize = 30_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((x ^ (x >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Student's t with three degrees of freedom.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / 3.0).sqrt()
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }
}

/// Kinds of scores where nothing is wrong: the higher, the stranger.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scores {
    Uniform,
    Exponential,
    Heavy,
    Discrete,
    Sparse,
    OnAndOff,
}

use Scores::{Discrete, Exponential, Heavy, OnAndOff, Sparse, Uniform};

impl Scores {
    const ALL: [Scores; 6] = [Uniform, Exponential, Heavy, Discrete, Sparse, OnAndOff];

    fn has_ties(self) -> bool {
        matches!(self, Uniform | Discrete | Sparse | OnAndOff)
    }

    fn draw(self) -> impl Iterator<Item = f64> {
        let (mut random, mut on) = (Random(7), false);
        (0..SCORES).map(move |_| match self {
            Uniform => 3.0 * random.uniform(),
            Exponential => -random.uniform().ln(),
            Heavy => random.heavy().abs(),
            Discrete => random.poisson(3.0),
            Sparse => random.poisson(0.05),
            OnAndOff => {
                on ^= random.uniform() < if on { 0.02 } else { 0.002 };
                random.uniform() + if on { 9.0 } else { 0.0 }
            }
        })
    }
}

/// Which scores are learned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Learned {
    All,
    /// One in three, by chance.
    Some,
    /// Those that do not look like an alarm.
    NoAlarms,
}

/// Where P(p ≤ q)/q is not within the band.
fn outside(p_values: &[f64], has_ties: bool, what: &str) -> Vec<String> {
    let least = if has_ties { 0.0 } else { LEAST };
    let ratio = |q: f64| p_values.iter().filter(|p| **p <= q).count() as f64 / p_values.len() as f64 / q;
    let ratios = [0.1, 0.03, 0.01, 0.003, 0.001].map(|q| (q, ratio(q)));
    let outside = ratios.into_iter().filter(|(_, ratio)| !(least..=MOST).contains(ratio));
    let mut told: Vec<String> =
        outside.map(|(q, ratio)| format!("{what}: P(p ≤ {q})/{q} = {ratio:.3}")).collect();
    if !p_values.iter().all(|p| *p > 0.0 && *p <= 1.0) {
        told.push(format!("{what}: not a probability"));
    }
    told
}

fn assert_none(outside: &[String]) {
    assert!(outside.is_empty(), "{}", outside.join("\n"));
}

/// All kinds of scores, chosen in all ways, on what tells the p-value of a score and learns it where told.
fn all_conform<W: FnMut(f64, &dyn Fn(f64) -> bool) -> f64>(make: impl Fn() -> W, what: &str) -> Vec<String> {
    let mut outside = Vec::new();
    for scores in Scores::ALL {
        for learned in [Learned::All, Learned::Some, Learned::NoAlarms] {
            let (mut worth, mut chance) = (make(), Random(9));
            let mut p_values = Vec::with_capacity(SCORES);
            for score in scores.draw() {
                let by_chance = chance.uniform() < 1.0 / 3.0;
                let choose = |p: f64| match learned {
                    Learned::All => true,
                    Learned::Some => by_chance,
                    Learned::NoAlarms => p > 1e-4,
                };
                let p = worth(score, &choose);
                p_values.push(if learned == Learned::NoAlarms && !choose(p) { 1.0 } else { p });
            }
            let (what, p_values) = (format!("{what}, {scores:?}, {learned:?}"), &p_values[WARM_UP..]);
            outside.extend(self::outside(p_values, scores.has_ties(), &what));
        }
    }
    outside
}

/// P-values of models that are right, and of such that are wrong by a power.
#[test]
fn recurrence_makes_p_values_of_what_is_none() {
    let mut outside = Vec::new();
    for power in [0.7, 5.0] {
        let make = || {
            let mut recurrence = Recurrence::default();
            move |score: f64, choose: &dyn Fn(f64) -> bool| {
                let model = (-power * score).exp();
                let p = recurrence.p_value(model);
                if choose(p) {
                    recurrence.learn(model);
                }
                p
            }
        };
        outside.extend(all_conform(make, &format!("recurrence of e^(−{power} s)")));
    }
    assert_none(&outside);
}

#[test]
fn exceedances_and_their_recurrence_tell_p_values() {
    let make = || {
        let mut first = Some(Vec::new());
        let (mut tail, mut recurrence) = (Exceedances::default(), Recurrence::default());
        move |score: f64, choose: &dyn Fn(f64) -> bool| {
            if let Some(scores) = &mut first {
                scores.push(score);
                if scores.len() == 100 {
                    tail = Exceedances::start(std::mem::take(scores), 100);
                    first = None;
                }
                return 1.0;
            }
            let size = exceedances::size(score);
            let model = tail.p_value(size, NORMAL_EXCESS);
            let p = recurrence.p_value(model);
            if choose(p) {
                recurrence.learn(model);
            }
            tail.learn(size);
            p
        }
    };
    assert_none(&all_conform(make, "exceedances"));
}

#[test]
fn histograms_tell_p_values() {
    let make = || {
        let (mut histogram, mut unit) = (Histogram::default(), 1f32);
        move |score: f64, choose: &dyn Fn(f64) -> bool| {
            let p = histogram.p_value(score, unit);
            if choose(p) {
                histogram.learn(score, unit);
            }
            // A half-life of 10,000 scores.
            unit *= 1.000_069_3;
            if unit > 1e6 {
                unit /= 1e6;
                histogram.counts().iter_mut().for_each(|count| *count /= 1e6);
            }
            p
        }
    };
    assert_none(&all_conform(make, "histogram"));
}

#[test]
fn ranks_among_reference_scores_are_p_values() {
    for scores in Scores::ALL.into_iter().filter(|scores| *scores != OnAndOff) {
        let drawn: Vec<f64> = scores.draw().collect();
        let mut p_values = Vec::new();
        for part in drawn.chunks_exact(4_000) {
            let (reference, fresh) = part.split_at(2_000);
            let mut reference = reference.to_vec();
            reference.sort_unstable_by(f64::total_cmp);
            p_values.extend(fresh.iter().map(|&score| empirical::p_value(&reference, score)));
        }
        assert_none(&outside(&p_values, scores.has_ties(), &format!("empirical, {scores:?}")));
    }
}

/// Forty keys a window: scores that do not tie, and counts that spread more than their model has it.
#[test]
fn levels_make_p_values_of_what_is_none() {
    const KEYS: usize = 40;
    let mut outside = Vec::new();
    let mut learn = |models: &[f64], has_ties, what: &str| {
        let (mut map, mut p_values) = (TailMap::default(), Vec::new());
        for window in models.chunks_exact(KEYS) {
            let (curve, mut arrivals) = (map.curve(8.0), Arrivals::default());
            p_values.extend(window.iter().map(|&p| curve.worth(p)));
            window.iter().for_each(|&p| arrivals.add(p));
            map.learn(&arrivals, 8.0, 0.985);
        }
        outside.extend(self::outside(&p_values[WARM_UP..], has_ties, what));
    };
    for (scores, power) in
        [(Exponential, 0.7), (Exponential, 1.0), (Exponential, 2.0), (Heavy, 1.0), (Heavy, 1.5)]
    {
        let models: Vec<f64> = scores.draw().map(|score| (-power * score).exp()).collect();
        learn(&models, false, &format!("levels of e^(−{power} s), {scores:?}"));
    }
    let mut random = Random(5);
    let mut count = |mean: f64| {
        // A Poisson count whose mean is exponential around this one, in part.
        let rate = mean * (0.7 - 0.3 * random.uniform().ln());
        tail::negative_binomial(random.poisson(rate), mean, 0.01).high
    };
    let models: Vec<f64> = (0..SCORES).map(|i| count(1.0 + 2.0 * (i % KEYS) as f64)).collect();
    learn(&models, false, "levels of counts");
    assert_none(&outside);
}

/// Laws that are known are exact.
#[test]
fn tails_of_known_laws_are_p_values() {
    let mut random = Random(3);
    let normal: Vec<f64> = (0..SCORES).map(|_| tail::normal(random.normal())).collect();
    assert_none(&outside(&normal, false, "normal"));
    let heavy: Vec<f64> = (0..SCORES).map(|_| tail::student(random.heavy(), 3.0)).collect();
    assert_none(&outside(&heavy, false, "Student"));
}
