//! Where a node is split: the one choice in which the kinds of forest differ.

use super::random::{hash, unit};
use serde::{Deserialize, Serialize};

/// How the nodes of the trees are split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Split {
    /// A random feature at a random place between its smallest and its largest value (Liu, Ting and
    /// Zhou, 2008).
    #[default]
    Classical,
    /// Of a few random features, the one whose best place to cut leaves the least spread on both
    /// sides together, measured in its own standard deviations. It finds clustered anomalies better
    /// and costs more to fit, but nothing more to score.
    PooledGain,
}

/// How many features compete for a node of [`Split::PooledGain`].
const CANDIDATES: usize = 3;

/// The rows that a tree is grown on, as the trees see them.
pub(super) struct Sample<'a> {
    /// Column by column.
    pub(super) values: &'a [f32],
    /// How many rows.
    pub(super) rows: usize,
    /// Per feature, who it is: all randomness about a feature comes from it, not from its place.
    pub(super) identities: &'a [u64],
    /// Per feature, how likely it is to be drawn; `None` when all are as likely.
    pub(super) weights: Option<&'a [f64]>,
}

/// Values below the threshold go left, others right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) feature: usize,
    pub(super) threshold: f32,
}

impl Sample<'_> {
    pub(super) fn column(&self, feature: usize) -> &[f32] {
        &self.values[feature * self.rows..][..self.rows]
    }

    /// The smallest and the largest of these rows' values, when they differ. NaN is left out.
    fn range(&self, feature: usize, rows: &[u32]) -> Option<(f32, f32)> {
        let column = self.column(feature);
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &row in rows {
            let value = column[row as usize];
            low = low.min(value);
            high = high.max(value);
        }
        (low < high).then_some((low, high))
    }

    /// Draws one of the `live` features and takes it out; of `draws`, which belong to them, too.
    fn draw(&self, live: &mut Vec<u32>, draws: &mut Vec<Draw>) -> Option<Draw> {
        let first = (0..draws.len()).min_by(|&a, &b| draws[a].time.total_cmp(&draws[b].time))?;
        live.swap_remove(first);
        Some(draws.swap_remove(first))
    }

    /// Every feature's turn: exponential times with the weights as rates, so that the first is drawn
    /// with a probability in proportion to its weight, and does not depend on the features' places.
    fn draws(&self, live: &[u32], seed: u64) -> Vec<Draw> {
        let draw = |&feature: &u32| {
            let feature = feature as usize;
            let hash = hash(seed, self.identities[feature]);
            let draw = unit(hash);
            // Equal weights need no logarithm: the order is the same.
            let time = self.weights.map_or(draw, |weights| -libm::log1p(-draw) / weights[feature]);
            Draw { feature, time, hash }
        };
        live.iter().map(draw).collect()
    }
}

#[derive(Debug, Clone, Copy)]
struct Draw {
    feature: usize,
    time: f64,
    hash: u64,
}

/// Chooses where these rows are split. `live` are the features that may still differ among them; those
/// that are found not to are taken out. `None` when no feature differs.
pub(super) fn choose(
    split: Split,
    sample: &Sample<'_>,
    rows: &[u32],
    live: &mut Vec<u32>,
    seed: u64,
) -> Option<Cut> {
    let mut draws = sample.draws(live, seed);
    let (mut differing, mut best) = (Vec::new(), None::<(f64, Cut)>);
    while let Some(Draw { feature, hash: drawn, .. }) = sample.draw(live, &mut draws) {
        let Some((low, high)) = sample.range(feature, rows) else { continue };
        differing.push(feature as u32);
        let place = unit(hash(drawn, 1)) as f32;
        match split {
            Split::Classical => {
                best = Some((0.0, Cut { feature, threshold: between(low, high, place) }));
                break;
            }
            Split::PooledGain => {
                let (gain, threshold) = pooled_gain(sample.column(feature), rows, place);
                if best.is_none_or(|(most, _)| gain > most) {
                    best = Some((gain, Cut { feature, threshold }));
                }
                if differing.len() == CANDIDATES {
                    break;
                }
            }
        }
    }
    live.extend(differing);
    best.map(|(_, cut)| cut)
}

/// Above `low` and not above `high`, so that neither side is empty.
fn between(low: f32, high: f32, place: f32) -> f32 {
    let threshold = low + place * (high - low);
    if threshold > low && threshold <= high { threshold } else { high }
}

/// The largest gain of all places to cut, and the place: how much less the standard deviations of
/// both sides, weighted by their rows, are than the one of all, in parts of it (Cortes, 2021).
fn pooled_gain(column: &[f32], rows: &[u32], place: f32) -> (f64, f32) {
    let mut values: Vec<f32> =
        rows.iter().map(|&row| column[row as usize]).filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f32::total_cmp);
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return (0.0, 0.0) };
    // Relative to the range, squares neither overflow nor vanish.
    let (origin, unit) = (f64::from(first), 1.0 / (f64::from(last) - f64::from(first)));
    let relative = |value: f32| (f64::from(value) - origin) * unit;
    let add = |(sum, squares): (f64, f64), x: f64| (sum + x, squares + x * x);
    let (total, squares) = values.iter().map(|&value| relative(value)).fold((0.0, 0.0), add);
    // A standard deviation times the number of rows.
    let spread = |n: f64, sum: f64, squares: f64| (n * squares - sum * sum).max(0.0).sqrt();
    let n = values.len() as f64;
    let (mut left, mut best) = ((0.0, 0.0), (f64::INFINITY, last));
    for (i, pair) in values.windows(2).enumerate() {
        left = add(left, relative(pair[0]));
        if pair[0] < pair[1] {
            let (here, there) = ((i + 1) as f64, n - (i + 1) as f64);
            let pooled = spread(here, left.0, left.1) + spread(there, total - left.0, squares - left.1);
            if pooled < best.0 {
                best = (pooled, between(pair[0], pair[1], place));
            }
        }
    }
    (1.0 - best.0 / spread(n, total, squares), best.1)
}
