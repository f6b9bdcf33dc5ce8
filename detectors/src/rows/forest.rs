//! Isolation forests: what few random cuts set apart from the rest is strange (Liu, Ting and Zhou, 2008).

#![allow(clippy::needless_pass_by_value, reason = "views of matrices are passed by value")]

mod attribution;
mod builder;
mod columns;
mod cut;
mod grow;
mod kernel;
mod memory;
mod node;
mod pair;
mod reservoir;
mod sample;
mod scaler;
mod split;
mod threshold;
mod valley;

pub use attribution::Attribution;
pub use builder::IsolationForestBuilder;
pub use memory::ForestMemory;
pub use split::Split;
pub use threshold::{Cutoff, Threshold};

use crate::contract::{Detector, Evidence, Explanation, Footprint, Refusal, Verdict};
use crate::rows::random::{Random, hash, hash_text};
use builder::Plan;
use columns::Sample;
use fearless_simd::Level;
use grow::{Growth, mean_paths};
use kernel::{Infinite, Kernel, ROWS, Tile};
use ndarray::{Array1, ArrayView2, Axis, Slice};
use node::Node;
use peak_core::{Error, Result};
use reservoir::Reservoir;
use sample::{Rows, gather, infinite};
use scaler::{Curve, Scale, scale_rows};
use smallvec::SmallVec;
use std::num::NonZeroUsize;

/// Tells how strange rows of features are: what few random cuts set apart from the rest is strange
/// (Liu, Ting and Zhou, 2008).
///
/// It is fitted to a matrix of a row per observation and a column per feature, any units, NaN where a
/// value is missing. Scores lie above 0 and below 1; around 0.5 and below is ordinary. From which score
/// on a row is anomalous is a [`Threshold`] apart from the forest.
///
/// ```
/// use ndarray::Array2;
/// use peak_detectors::{Detector, IsolationForest, Persist, Threshold};
///
/// // A day of minutes of a service: requests, their latency, errors.
/// let wave = |minute: usize, period: f64| (minute as f64 / period).sin();
/// let day = Array2::from_shape_fn((1_440, 3), |(minute, column)| match column {
///     0 => 900.0 + 300.0 * wave(minute, 229.0) + 20.0 * wave(minute * minute, 7.0),
///     1 => 40.0 + 6.0 * wave(minute, 229.0) + 3.0 * wave(minute * minute, 3.0),
///     _ => 5.0 + 2.0 * wave(minute * minute, 5.0),
/// });
/// let mut forest = IsolationForest::builder()
///     .names(["requests", "latency_ms", "errors"])
///     .threshold(Threshold::Contamination(0.01))
///     .seed(42)
///     .fit(day.view())?;
///
/// // All rows at once, or one by one.
/// let scores = forest.score_all(day.view())?;
/// assert_eq!(forest.score(&day.row(7).to_vec())?, scores[7]);
/// assert!(!forest.judge(&[950.0, 41.0, 5.0])?.anomalous);
///
/// // Many requests fail, and fast.
/// let outage = [950.0, 20.0, 60.0];
/// let verdict = forest.judge(&outage)?;
/// assert!(verdict.anomalous && verdict.p_value < Some(0.02));
/// println!("{}", forest.explain(&outage)?); // which features carried it, and what would be normal
///
/// let why = forest.attribute(&outage)?;
/// assert!(why.contributions[1] + why.contributions[2] > why.contributions[0]);
///
/// // The threshold is changed without fitting or scoring again.
/// let cutoff = forest.set_threshold(Threshold::Quantile(0.95))?;
/// assert_eq!((cutoff.exceeding, cutoff.of), (72, 1_440));
///
/// // What is learned is kept, and counts when the oldest trees are replaced.
/// forest.learn(&[960.0, 39.0, 6.0]);
/// forest.replace_oldest(10)?;
///
/// // Saved here, it goes on elsewhere.
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("service.peak");
/// forest.save(&path)?;
/// let opened = IsolationForest::open(&path)?;
/// assert_eq!(opened.judge(&outage), forest.judge(&outage));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// **What it cannot see.** A forest knows the range of its training rows only: a value far beyond the
/// largest goes the way of the largest, and scores no higher than the outermost training rows. Such rows
/// are found as long as the threshold lets the outermost training rows count.
///
/// **What the randomness depends on.** The number for a purpose is a hash of the seed, the tree, the
/// node and the feature's name. Threads and the order of columns with names change no bit, nor does
/// multiplying a feature by a power of two. The order of training rows decides which of them the trees
/// see, unless each sees all. Trees of different seeds have nothing in common.
///
/// **Missing values** go to that side of a split on which most of the training rows are that reached it,
/// so that they do not make a row strange by themselves. A row without any value is not judged. Infinite
/// values are refused.
///
/// **Speed.** Fitting takes no longer with more rows but for one look at all values. Up to a depth of 8,
/// which is that of the usual samples, many rows are scored with the processor's vector instructions.
#[derive(Debug, Clone)]
pub struct IsolationForest {
    plan: Plan,
    names: Vec<String>,
    scales: Vec<Scale>,
    trees: Vec<Vec<Node>>,
    /// How many trees were ever grown.
    grown: u64,
    /// How many rows a tree is grown on, and their mean path length c(n).
    sample: usize,
    normal: f64,
    kernel: Kernel,
    reservoir: Reservoir,
    /// The scores of the reservoir's rows, ascending.
    reference: Vec<f64>,
    cutoff: Cutoff,
}

impl IsolationForest {
    /// The greatest depth that can be asked for.
    pub const MOST_DEPTH: u32 = 60;
    /// The greatest number of columns.
    pub const MOST_COLUMNS: usize = 1 << 20;
    /// The greatest number of trees.
    pub const MOST_TREES: usize = 100_000;

    /// A forest of 100 trees of 256 rows, unless told otherwise.
    pub fn builder() -> IsolationForestBuilder {
        IsolationForestBuilder::default()
    }

    fn fit(plan: Plan, x: ArrayView2<'_, f64>, weights: Option<&[f64]>) -> Result<Self> {
        plan.check(x.ncols())?;
        if x.nrows() < 2 {
            return Err(Error::invalid("rows", "must be at least 2", x.nrows()));
        }
        let rows = match weights {
            None => Rows::Equal(x.nrows()),
            Some(weights) => Rows::weighted(weights, x.nrows())?,
        };
        let rows = if are_finite(x, plan.threads) { rows } else { rows.of_which_there_are_values(x)? };
        let sample = plan.sample.min(rows.available());
        let reservoir = Reservoir::of(x, &rows, plan.reservoir.max(plan.sample), plan.seed);
        let names = match &plan.names {
            Some(names) => names.clone(),
            None => (0..x.ncols()).map(|column| format!("x{column}")).collect(),
        };
        let scale = |column| Scale::of(&mut reservoir.column(x.ncols(), column), plan.split.curve());
        let scales = (0..x.ncols()).map(scale).collect();
        let mut forest = IsolationForest {
            names,
            scales,
            trees: Vec::new(),
            grown: 0,
            sample,
            normal: mean_paths(sample)[sample],
            kernel: Kernel::new(&[]),
            cutoff: Cutoff { score: 1.0, exceeding: 0, of: 0 },
            reservoir,
            reference: Vec::new(),
            plan,
        };
        let trees = forest.plan.trees;
        forest.grow(trees, x, &rows);
        forest.take_stock();
        Ok(forest)
    }

    /// Grows so many trees on rows of a matrix.
    fn grow(&mut self, trees: usize, x: ArrayView2<'_, f64>, rows: &Rows) {
        let depth = self.plan.depth.unwrap_or_else(|| (self.sample as f64).log2().ceil() as u32);
        let paths = mean_paths(self.sample);
        let growth = Growth { split: self.plan.split, depth, paths: &paths };
        let identities: Vec<u64> = self.names.iter().map(|name| hash_text(name)).collect();
        let grow = |tree: u64, plain: &mut Vec<f64>, values: &mut Vec<f32>| {
            let seed = hash(self.plan.seed, tree);
            let drawn = rows.sample(self.sample, &mut Random::new(seed));
            gather(x, &drawn, plain);
            values.resize(plain.len(), 0.0);
            let plain = ArrayView2::from_shape((drawn.len(), x.ncols()), plain).expect("whole rows");
            scale_rows(plain, &self.scales, values, drawn.len());
            let weights = self.plan.weights.as_deref();
            let sample = Sample { values, rows: drawn.len(), identities: &identities, weights };
            grow::grow(&growth, &sample, seed)
        };
        let numbers = (self.grown..self.grown + trees as u64).collect();
        let grown = in_shares(numbers, self.plan.threads, |numbers: Vec<u64>| {
            let (mut plain, mut values) = (Vec::new(), Vec::new());
            numbers.into_iter().map(|tree| grow(tree, &mut plain, &mut values)).collect::<Vec<_>>()
        });
        self.trees.extend(grown.into_iter().flatten());
        self.grown += trees as u64;
    }

    /// Brings what follows from the trees and the reservoir up to date.
    fn take_stock(&mut self) {
        self.kernel = Kernel::new(&self.trees);
        let scores = self.scores(self.reservoir.view(self.names.len()));
        self.reference = scores.unwrap_or_default();
        self.reference.sort_unstable_by(f64::total_cmp);
        self.cutoff = self.plan.threshold.among(&self.reference);
    }

    /// How strange each row of a matrix is: above 0 and below 1, the higher the stranger. NaN is a missing
    /// value.
    ///
    /// # Errors
    /// When the matrix has another number of columns than the training rows, or an infinite value.
    pub fn score_all(&self, x: ArrayView2<'_, f64>) -> Result<Array1<f64>> {
        if x.ncols() != self.names.len() {
            let rule = format!("must be {} as in training", self.names.len());
            return Err(Error::invalid("columns", rule, x.ncols()));
        }
        self.scores(x).map(Array1::from).ok_or_else(|| infinite(x))
    }

    /// `None` when a value is infinite.
    fn scores(&self, x: ArrayView2<'_, f64>) -> Option<Vec<f64>> {
        let (mut scores, level) = (vec![0.0; x.nrows()], Level::new());
        let share = x.nrows().div_ceil(self.plan.threads.get()).next_multiple_of(ROWS).max(ROWS);
        let shares = scores.chunks_mut(share).enumerate().collect();
        let done = in_shares(shares, self.plan.threads, |shares: Vec<(usize, &mut [f64])>| {
            let mut tile = Tile::new(self.scales.len());
            for (number, scores) in shares {
                for (i, scores) in scores.chunks_mut(ROWS).enumerate() {
                    let start = number * share + i * ROWS;
                    let rows = Slice::from(start..start + scores.len());
                    tile.fill(x.slice_axis(Axis(0), rows), &self.scales)?;
                    let paths = self.kernel.paths(&tile, level);
                    scores.iter_mut().zip(paths).for_each(|(score, paths)| *score = self.score_of(paths));
                }
            }
            Ok(())
        });
        let done: Result<Vec<()>, Infinite> = done.into_iter().collect();
        done.ok().map(|_| scores)
    }

    /// Whether a row can be scored.
    fn check(&self, row: &[f64]) -> Result<(), Refusal> {
        let (have, need) = (row.len() as u64, self.names.len() as u64);
        if have != need {
            return Err(Refusal::WrongWidth { have, need });
        }
        if row.iter().any(|value| value.is_infinite()) {
            return Err(Refusal::NotFinite);
        }
        Ok(())
    }

    /// How strange a row is: above 0 and below 1, the higher the stranger. NaN is a missing value.
    ///
    /// # Errors
    /// [`Refusal::WrongWidth`] and, for infinite values, [`Refusal::NotFinite`].
    pub fn score(&self, row: &[f64]) -> Result<f64, Refusal> {
        self.check(row)?;
        let scaled = row.iter().zip(&self.scales).map(|(&value, scale)| scale.apply(value));
        let scaled: SmallVec<[f32; 64]> = scaled.collect();
        Ok(self.score_of(self.kernel.path(&scaled)))
    }

    /// The score that belongs to a sum of path lengths.
    fn score_of(&self, paths: f32) -> f64 {
        libm::exp2(-f64::from(paths) / (self.trees.len() as f64 * self.normal))
    }

    /// From which score on a row is anomalous, and how many training rows are.
    #[must_use]
    pub fn cutoff(&self) -> Cutoff {
        self.cutoff
    }

    /// Changes from which score on a row is anomalous; nothing is fitted or scored again.
    ///
    /// # Errors
    /// When the threshold's value is outside of its range.
    pub fn set_threshold(&mut self, threshold: Threshold) -> Result<Cutoff> {
        threshold.check()?;
        self.plan.threshold = threshold;
        self.cutoff = threshold.among(&self.reference);
        Ok(self.cutoff)
    }

    /// How likely a training row scores at least as high, by their number: never 0.
    #[must_use]
    pub fn p_value(&self, score: f64) -> f64 {
        threshold::p_value(&self.reference, score)
    }

    /// Grows so many trees more, on the rows that are kept.
    ///
    /// Trees see 24 binary digits of a feature, relative to where the training rows lay. When the rows that are
    /// kept have moved so far from there, by some thousand of their spreads, that few of them are left, the
    /// feature is measured anew, and all trees are grown anew on the rows that are kept.
    ///
    /// # Errors
    /// When there would be more than [`MOST_TREES`](Self::MOST_TREES).
    pub fn add_trees(&mut self, mut trees: usize) -> Result<()> {
        builder::at_most("trees", Self::MOST_TREES, self.trees.len().saturating_add(trees))?;
        let kept = self.reservoir.clone();
        let outgrown = self.scales.iter().enumerate();
        let outgrown: Vec<_> = outgrown
            .map(|(column, scale)| scale.outgrown(&mut kept.column(self.names.len(), column)))
            .collect();
        if outgrown.iter().any(Option::is_some) {
            // No tree knows the new scales.
            self.scales.iter_mut().zip(outgrown).for_each(|(scale, fresh)| *scale = fresh.unwrap_or(*scale));
            trees += std::mem::take(&mut self.trees).len();
        }
        let x = kept.view(self.names.len());
        self.grow(trees, x, &Rows::Equal(x.nrows()));
        self.take_stock();
        Ok(())
    }

    /// Grows as many trees on the rows that are kept as it gives up of its oldest: what was learned
    /// since counts, and the threshold is taken among the rows that are kept now. A few trees now and
    /// then follow a slow drift; after one of thousands of spreads, all trees are grown anew, as by
    /// [`add_trees`](Self::add_trees).
    ///
    /// # Errors
    /// When there are not so many trees.
    pub fn replace_oldest(&mut self, trees: usize) -> Result<()> {
        builder::at_most("trees to replace", self.trees.len(), trees)?;
        self.trees.drain(..trees);
        self.add_trees(trees)
    }

    /// Changes on how many threads it grows trees and scores many rows; the bits do not depend on it.
    pub fn set_threads(&mut self, threads: NonZeroUsize) {
        self.plan.threads = threads;
    }

    /// The names of the features.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many trees there are.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }
}

impl Footprint for IsolationForest {
    fn bytes(&self) -> usize {
        let nodes: usize = self.trees.iter().map(|tree| size_of_val(&tree[..])).sum();
        let rows = size_of_val(&self.reservoir.values[..]) + size_of_val(&self.reference[..]);
        size_of::<Self>() + nodes + rows + size_of_val(&self.scales[..]) + self.kernel.bytes()
    }
}

/// Judges rows of features. Learning keeps a row for trees to come; verdicts change with
/// [`replace_oldest`](IsolationForest::replace_oldest).
impl Detector<[f64]> for IsolationForest {
    fn judge(&self, x: &[f64]) -> Result<Verdict, Refusal> {
        let score = self.score(x)?;
        if !has_value(x) {
            return Err(Refusal::Empty);
        }
        Ok(Verdict { score, anomalous: score > self.cutoff.score, p_value: Some(self.p_value(score)) })
    }

    fn learn(&mut self, x: &[f64]) {
        // What is not judged is not learned.
        if self.check(x).is_ok() && has_value(x) {
            self.reservoir.learn(x, self.plan.seed);
        }
    }

    fn explain(&self, x: &[f64]) -> Result<Explanation, Refusal> {
        let verdict = self.judge(x)?;
        let Attribution { score, baseline, contributions } = self.attribute(x)?;
        let mut features: Vec<usize> = (0..x.len()).filter(|&feature| contributions[feature] > 0.0).collect();
        features.sort_by(|&a, &b| contributions[b].total_cmp(&contributions[a]));
        // The median of the rows that are kept: where a drift has gone.
        let typical = |feature| {
            let mut values = self.reservoir.column(self.names.len(), feature);
            Scale::of(&mut values, Curve::Straight).centre
        };
        let mut evidence = vec![Evidence {
            statistic: SCORE.into(),
            actual: score,
            expected: Some(baseline),
            lower: None,
            upper: Some(self.cutoff.score),
            exceeded: verdict.anomalous,
            p_value: verdict.p_value,
        }];
        evidence.extend(features.iter().take(EXPLAINED).map(|&feature| Evidence {
            statistic: self.names[feature].clone().into(),
            actual: x[feature],
            expected: Some(typical(feature)),
            lower: None,
            upper: None,
            exceeded: false,
            p_value: None,
        }));
        let carried_by = evidence.get(1).unwrap_or(&evidence[0]).statistic.clone();
        Ok(Explanation { carried_by, evidence, counterfactual: self.counterfactual(x)?, change: None })
    }
}

fn has_value(row: &[f64]) -> bool {
    row.iter().any(|value| !value.is_nan())
}

/// The evidence beside the features.
const SCORE: &str = "isolation score";
/// How many features an explanation names.
const EXPLAINED: usize = 3;

/// A long slice is read in so many places in turn, so many values at a time: more of its memory is on
/// the way at once.
const STREAMS: usize = 8;
const CHUNK: usize = 64;

/// Whether no value is missing or infinite.
fn are_finite(x: ArrayView2<'_, f64>, threads: NonZeroUsize) -> bool {
    let finite_in = |values: &[f64]| {
        let share = values.len().div_ceil(STREAMS).max(1);
        let mut streams: Vec<_> = values.chunks(share).map(|stream| stream.chunks(CHUNK)).collect();
        (0..share.div_ceil(CHUNK)).all(|_| {
            let mut chunks = streams.iter_mut().filter_map(Iterator::next);
            chunks.all(|chunk| chunk.iter().fold(true, |all, value| all & value.is_finite()))
        })
    };
    let share = x.nrows().div_ceil(threads.get()).max(1);
    let parts = x.axis_chunks_iter(Axis(0), share).collect();
    let found = in_shares(parts, threads, |parts: Vec<ArrayView2<'_, f64>>| {
        parts.iter().all(|part| match part.as_slice_memory_order() {
            Some(values) => finite_in(values),
            None => part.iter().all(|value| value.is_finite()),
        })
    });
    !found.contains(&false)
}

/// Runs `work` on shares of the items, a thread each; the results are in the items' order.
fn in_shares<T: Send, R: Send>(
    mut items: Vec<T>,
    threads: NonZeroUsize,
    work: impl Fn(Vec<T>) -> R + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(threads.get()).max(1);
    if items.len() <= share {
        return vec![work(items)];
    }
    std::thread::scope(|scope| {
        let (work, mut handles) = (&work, Vec::new());
        while !items.is_empty() {
            let own: Vec<T> = items.drain(..share.min(items.len())).collect();
            handles.push(scope.spawn(move || work(own)));
        }
        // A thread that panicked has found a mistake here.
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
