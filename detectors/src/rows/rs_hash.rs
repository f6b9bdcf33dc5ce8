//! Randomized subspace hashing with forgetting: a detector for streams of rows that drift.
//!
//! Many random grids each look at three features and count how many rows fell into each of their
//! cells (RS-Hash: Sathe and Aggarwal, *Subspace histograms for outlier detection in linear time*,
//! Knowledge and Information Systems 2018). A row is strange when it falls into cells that hold
//! little. With `c` the count of the row's cell in a grid and `n` the count of all its cells,
//!
//! ```text
//! score = 2 log2( mean over the grids of √((n + 1) / (c + 0.3)) )        in bits
//! ```
//!
//! What is done differently here:
//!
//! * **The mean is of square roots**, not of logarithms: a few grids that are very surprised say more
//!   than many that are a little. It ranks labelled data sets as well, and finds a single wild feature
//!   among many others far more often.
//! * **No ranges are assumed.** A feature is measured by its running mean `m` and mean absolute
//!   deviation `s`, and mapped to 0 to 1 by `½ + ½ e / (|e| + 2.5 s)` with `e = x − m`: the whole line
//!   has a place, and far away the cells grow with the distance. One wild value moves `m` and `s`
//!   little, as it counts for at most 30 deviations; when such values keep coming, that limit doubles
//!   with each, so that a lasting shift is followed.
//! * **Counts decay** with a half-life in rows (forward decay: Cormode, Shkapenyuk, Srivastava and Xu
//!   2009), instead of two windows of which one is thrown away.
//! * **One hash row of 64 counters a grid** stands for its cells, by multilinear hashing. Collisions
//!   hardly matter to a mean over many grids: 64 counters rank as well as 1,024.
//! * **Grids have 3 to 6 cells a side**, spread evenly on a logarithmic scale, and a random shift.
//! * **Features are dealt like cards**, so that all occur equally often.
//!
//! **The decision** is apart from the score: the score is compared with the remembered scores of
//! earlier rows, which decay as the counts do. The p-value is the share of them that is as high, in
//! steps of a sixteenth of a bit, the row itself included; a row is anomalous when it is not above the
//! configured rate of false alarms. It is empirical: it holds as far as earlier rows are like the ones
//! to come, and anomalies among them make it cautious. Before `1 / rate` scores are remembered nothing
//! can be anomalous.
//!
//! **Wide rows.** What shows in a single feature shows in one grid of `width / 3` only. One of 12, 30, 50
//! and 100 independent normal features a thousand standard deviations off was anomalous in 100, 99, 91
//! and 68 % of rows, eight deviations off in 100, 73, 46 and 28 %. More grids help; a detector per group
//! of related features helps more.
//!
//! **Missing values** are NaN. Grids that look at one are left out, in judging and in learning. A row that no
//! grid can look at is not judged, and leaves no trace: what was learned does not fade while a sensor is
//! dead.

mod builder;
mod grid;
mod memory;
mod scale;

pub use builder::RsHashBuilder;
pub use memory::RsHashMemory;

use crate::contract::{Counterfactual, Detector, Evidence, Explanation, Footprint, Refusal, Verdict};
use crate::worth::histogram::Histogram;
use builder::Settings;
use grid::{BINS, Grid};
use scale::Scale;
use std::borrow::Cow;
use std::sync::Arc;

/// Alarms on rows that fall where few rows fell lately; constant memory, one pass.
///
/// A row is a slice with one value per feature, NaN where it is missing. A step takes time in
/// proportion to the width and the number of grids, and allocates nothing; judging alone allocates one
/// small vector.
///
/// ```
/// use peak_detectors::{Detector, RsHash};
///
/// let mut detector = RsHash::builder(2).names(["cpu", "memory"]).half_life(1_000).build()?;
/// for i in 0..2_000u32 {
///     let load = f64::from(i % 97) / 97.0;
///     let _ = detector.step(&[load, 10.0 + 4.0 * load]); // a refusal while it warms up
/// }
/// assert!(!detector.judge(&[0.5, 12.0]).unwrap().anomalous);
/// // Each value is common, but not together.
/// assert!(detector.judge(&[0.05, 13.8]).unwrap().anomalous);
/// // A value is missing: the grids that look at the other one decide.
/// assert!(detector.judge(&[0.5, f64::NAN]).is_ok());
/// let why = detector.explain(&[0.5, 99.0]).unwrap();
/// assert_eq!(why.carried_by, "memory");
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RsHash {
    model: Arc<Model>,
    /// Rows learned, up to what a verdict takes.
    learned: u64,
    /// What the next row weighs in the counts.
    unit: f64,
    scales: Vec<Scale>,
    counts: Vec<[f32; BINS]>,
    /// The sum of each grid's counts.
    totals: Vec<f32>,
    tail: Histogram,
    /// A step's own: the newest row, mapped.
    places: Vec<f32>,
}

/// The configuration, and what follows from it.
#[derive(Debug)]
struct Model {
    names: Vec<Cow<'static, str>>,
    grids: Vec<Grid>,
    seed: u64,
    rate: f64,
    /// What is left of a row after one more.
    keep: f64,
}

/// Values of a larger size are refused: sums over them must stay finite.
const LARGEST: f64 = 1e150;
/// What every cell holds from the start, in rows.
const PRIOR: f64 = 0.3;
/// When a row weighs more than this, all counts are made smaller by it.
const HEAVIEST: f64 = (1u64 << 40) as f64;
/// The number of features an explanation names, at most.
const NAMED: usize = 8;

/// The mean over grids of `√((n + 1) / (c + 0.3))`.
#[derive(Debug, Clone, Copy, Default)]
struct Surprise {
    sum: f64,
    grids: u32,
}

impl Surprise {
    #[inline]
    fn add(&mut self, root: f32) {
        self.sum += f64::from(root);
        self.grids += 1;
    }

    /// In bits; `None` without grids.
    fn score(self) -> Option<f64> {
        (self.grids > 0).then(|| 2.0 * libm::log2(self.sum / f64::from(self.grids)))
    }
}

/// Counts of a moment: how surprising they are depends on what a row weighs.
#[derive(Debug, Clone, Copy)]
struct Weights {
    unit: f32,
    prior: f32,
}

impl Weights {
    #[inline]
    fn root(self, count: f32, total: f32) -> f32 {
        ((total + self.unit) / (count + self.prior)).sqrt()
    }
}

impl RsHash {
    /// The random grids unless told otherwise.
    pub const GRIDS: usize = 200;
    /// The half-life unless told otherwise, in rows.
    pub const HALF_LIFE: u32 = 2_000;
    /// The share of false alarms unless told otherwise.
    pub const RATE: f64 = 0.01;
    /// How many rows a verdict takes.
    pub const LEAST: u64 = 32;

    /// A detector of rows of so many features.
    pub fn builder(width: usize) -> RsHashBuilder {
        RsHashBuilder(Settings { width, ..Settings::default() })
    }

    fn new(Settings { width, names, grids, half_life, rate, seed }: Settings) -> Self {
        let grids = Grid::deal(width, grids, seed);
        let names = names.unwrap_or_else(|| (0..width).map(|i| format!("feature {i}").into()).collect());
        RsHash {
            learned: 0,
            unit: 1.0,
            scales: vec![Scale::default(); width],
            counts: vec![[0.0; BINS]; grids.len()],
            totals: vec![0.0; grids.len()],
            tail: Histogram::default(),
            places: vec![0.0; width],
            model: Arc::new(Model {
                names,
                grids,
                seed,
                rate,
                keep: libm::exp2(-1.0 / f64::from(half_life)),
            }),
        }
    }

    /// The number of features of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.scales.len()
    }

    /// From this score on a row is anomalous, as of now; `None` while too few scores are remembered.
    #[must_use]
    pub fn threshold(&self) -> Option<f64> {
        self.tail.score_at(self.model.rate, self.unit as f32)
    }

    /// By how many bits the score would fall if one feature were as usual (at its mean) and the others
    /// as they are: one number per feature, 0 where the value is missing, negative where the row would
    /// be stranger.
    ///
    /// # Errors
    /// The same [`Refusal`] as [`judge`](Detector::judge).
    pub fn attribution(&self, x: &[f64]) -> Result<Vec<f64>, Refusal> {
        let places = self.places_of(x)?;
        self.score(&places)?;
        let weights = self.weights();
        let (mut sum, mut changes) = (0.0, vec![0.0; x.len()]);
        for ((grid, counts), &total) in self.model.grids.iter().zip(&self.counts).zip(&self.totals) {
            let Some(bin) = grid.bin(&places).filter(|_| total > 0.0) else { continue };
            let root = |bin: usize| f64::from(weights.root(counts[bin], total));
            sum += root(bin);
            for (feature, usual) in grid.features().zip(grid.bins_without(&places)) {
                changes[feature] += root(usual) - root(bin);
            }
        }
        // A sum of roots is positive, but rounding may say otherwise.
        let bits = |change: f64| 2.0 * libm::log2(sum / (sum + change).max(f64::MIN_POSITIVE));
        Ok(changes.into_iter().map(bits).collect())
    }

    /// Whether a row can be looked at.
    fn check(&self, x: &[f64]) -> Result<(), Refusal> {
        let (have, need) = (x.len() as u64, self.width() as u64);
        if have != need {
            return Err(Refusal::WrongWidth { have, need });
        }
        if x.iter().any(|x| x.abs() > LARGEST) {
            return Err(Refusal::NotFinite);
        }
        if x.iter().all(|x| x.is_nan()) {
            return Err(Refusal::Empty);
        }
        Ok(())
    }

    fn places_of(&self, x: &[f64]) -> Result<Vec<f32>, Refusal> {
        self.check(x)?;
        let places: Vec<f32> = self.scales.iter().zip(x).map(|(scale, &x)| scale.place(x)).collect();
        self.check_seen(&places)?;
        Ok(places)
    }

    /// Whether a grid can look at a row.
    fn check_seen(&self, places: &[f32]) -> Result<(), Refusal> {
        let is_seen = self.model.grids.iter().any(|grid| grid.bin(places).is_some());
        if is_seen { Ok(()) } else { Err(Refusal::Empty) }
    }

    fn weights(&self) -> Weights {
        Weights { unit: self.unit as f32, prior: (PRIOR * self.unit) as f32 }
    }

    fn score(&self, places: &[f32]) -> Result<f64, Refusal> {
        let weights = self.weights();
        let mut surprise = Surprise::default();
        for ((grid, counts), &total) in self.model.grids.iter().zip(&self.counts).zip(&self.totals) {
            if let Some(bin) = grid.bin(places).filter(|_| total > 0.0) {
                surprise.add(weights.root(counts[bin], total));
            }
        }
        self.warm(surprise)
    }

    /// As [`score`](Self::score), and the row is counted.
    fn score_and_count(&mut self, places: &[f32]) -> Result<f64, Refusal> {
        let weights = self.weights();
        let mut surprise = Surprise::default();
        for ((grid, counts), total) in self.model.grids.iter().zip(&mut self.counts).zip(&mut self.totals) {
            let Some(bin) = grid.bin(places) else { continue };
            if *total > 0.0 {
                surprise.add(weights.root(counts[bin], *total));
            }
            counts[bin] += weights.unit;
            *total += weights.unit;
        }
        self.warm(surprise)
    }

    fn warm(&self, surprise: Surprise) -> Result<f64, Refusal> {
        if self.learned < Self::LEAST {
            return Err(Refusal::TooShort { have: self.learned, need: Self::LEAST });
        }
        // Its features were missing in all rows that were learned.
        surprise.score().ok_or(Refusal::TooShort { have: 0, need: Self::LEAST })
    }

    fn verdict(&self, score: f64) -> Verdict {
        let p = self.tail.p_value(score, self.unit as f32);
        Verdict { score, anomalous: p <= self.model.rate, p_value: Some(p) }
    }

    /// Time passes: the next row weighs more than all before it.
    fn age(&mut self) {
        self.learned = Self::LEAST.min(self.learned + 1);
        self.unit /= self.model.keep;
        if self.unit >= HEAVIEST {
            // A power of two: but for what vanishes, nothing is rounded.
            self.unit /= HEAVIEST;
            self.counts.iter_mut().flatten().chain(&mut self.totals).chain(self.tail.counts()).for_each(
                |count| {
                    let lighter = *count / HEAVIEST as f32;
                    *count = if lighter < 1e-12 { 0.0 } else { lighter };
                },
            );
        }
    }

    /// The nearest value on the way from `x[feature]` to its mean with which the row is not anomalous,
    /// if there is any.
    fn quiet_at(&self, x: &[f64], feature: usize) -> Option<f64> {
        const STEPS: i32 = 64;
        let scale = &self.scales[feature];
        let from = scale.place_exactly(x[feature]);
        let mut row = x.to_vec();
        let mut value = |part: f64| {
            row[feature] = if part == 0.0 { x[feature] } else { scale.value(from + part * (0.5 - from)) };
            let quiet = self.judge(&row).is_ok_and(|verdict| !verdict.anomalous);
            quiet.then_some(row[feature])
        };
        let first = (1..=STEPS).find(|&step| value(f64::from(step) / f64::from(STEPS)).is_some())?;
        let (mut loud, mut quiet) = (f64::from(first - 1), f64::from(first));
        for _ in 0..20 {
            let middle = (loud + quiet) / 2.0;
            *(if value(middle / f64::from(STEPS)).is_some() { &mut quiet } else { &mut loud }) = middle;
        }
        value(quiet / f64::from(STEPS))
    }
}

impl Detector<[f64]> for RsHash {
    fn judge(&self, x: &[f64]) -> Result<Verdict, Refusal> {
        let score = self.score(&self.places_of(x)?)?;
        Ok(self.verdict(score))
    }

    fn learn(&mut self, x: &[f64]) {
        // Learning takes the score, too: it is what later scores are compared with.
        let _ = self.step(x);
    }

    fn step(&mut self, x: &[f64]) -> Result<Verdict, Refusal> {
        self.check(x)?;
        let keep = self.model.keep;
        let mut places = std::mem::take(&mut self.places);
        places.iter_mut().zip(&self.scales).zip(x).for_each(|((place, scale), &x)| *place = scale.place(x));
        if let Err(refusal) = self.check_seen(&places) {
            self.places = places;
            return Err(refusal);
        }
        self.scales.iter_mut().zip(x).for_each(|(scale, &x)| scale.learn(x, keep));
        let score = self.score_and_count(&places);
        self.places = places;
        let verdict = score.map(|score| {
            let verdict = self.verdict(score);
            self.tail.learn(score, self.unit as f32);
            verdict
        });
        self.age();
        verdict
    }

    /// The evidence is the score beside its threshold, and the features that raise it most, at most
    /// eight, by [`attribution`](RsHash::attribution). The counterfactual is the nearest value of the
    /// first of them that suffices alone, on the way to its mean; there may be none.
    fn explain(&self, x: &[f64]) -> Result<Explanation, Refusal> {
        let verdict = self.judge(x)?;
        let bits = self.attribution(x)?;
        let mut order: Vec<usize> = (0..x.len()).filter(|&i| bits[i] > 0.0).collect();
        order.sort_by(|&a, &b| bits[b].total_cmp(&bits[a]));
        order.truncate(NAMED);
        let score = Evidence {
            statistic: "score".into(),
            actual: verdict.score,
            expected: None,
            lower: None,
            upper: self.threshold(),
            exceeded: verdict.anomalous,
            p_value: verdict.p_value,
        };
        let name = |feature: usize| self.model.names[feature].clone();
        let features = order.iter().map(|&i| Evidence {
            statistic: name(i),
            actual: x[i],
            expected: Some(self.scales[i].mean()),
            lower: None,
            upper: None,
            exceeded: false,
            p_value: None,
        });
        let quiet = |&i: &usize| {
            let value = self.quiet_at(x, i)?;
            let (above, below) = if value > x[i] { (Some(value), None) } else { (None, Some(value)) };
            Some(Counterfactual { statistic: name(i), above, below })
        };
        Ok(Explanation {
            carried_by: order.first().map_or("score".into(), |&i| name(i)),
            counterfactual: verdict.anomalous.then(|| order.iter().find_map(quiet)).flatten(),
            evidence: std::iter::once(score).chain(features).collect(),
            change: None,
        })
    }
}

impl Footprint for RsHash {
    /// What clones share, the grids and the names, is not counted.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.scales.len() * (size_of::<Scale>() + size_of::<f32>())
            + self.counts.len() * (size_of::<[f32; BINS]>() + size_of::<f32>())
            + Histogram::BYTES
    }
}
