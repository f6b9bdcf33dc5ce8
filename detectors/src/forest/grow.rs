//! Where a node is split: the one choice in which the kinds of forest differ.

use super::random::{hash, unit};
use super::scaler::Curve;
use super::valley::valley;
use serde::{Deserialize, Serialize};

/// How the nodes of the trees are split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Split {
    /// A random feature at a random place between its smallest and its largest value (Liu, Ting and
    /// Zhou, 2008).
    #[default]
    Classical,
    /// A random feature, cut at the valley between two groups of its values where there is one, and at
    /// a random place where there is none. It ranks outliers better than [`Classical`](Self::Classical)
    /// on most data, and costs more to fit, but nothing more to score.
    ///
    /// Features are seen on the scale of the signed square root, sign(u) (√(1 + |u|) − 1) with u the
    /// distance from the median in robust standard deviations (IQR / 1.349): on the plain scale a heavy
    /// tail would take nearly all random cuts.
    ///
    /// The best cut of a node's n values is where the sum of squares around the means of both sides,
    /// SSₗ + SSᵣ, is least: Otsu's rule (1979). It explains the part g = 1 − (SSₗ + SSᵣ) / SS of their
    /// sum of squares, half-way between the two values next to it. The best cut of a normal
    /// distribution explains 2 / π = 0.637, of a uniform one 0.75, and of few values more by chance.
    /// So only where g reaches 0.65 + 2 / n the values have two peaks rather than one, or an end far from
    /// the rest, and are cut there; a cut elsewhere would halve what belongs together, and anomalies
    /// with it.
    ///
    /// Known weakness: anomalies that are many and close to one another. A cut takes such a clump off as
    /// a whole, and below it is as hard to isolate as any group of rows.
    /// [`Classical`](Self::Classical) does better there.
    PooledGain,
}

impl Split {
    /// How features are bent before they are cut.
    pub(super) fn curve(self) -> Curve {
        match self {
            Split::Classical => Curve::Straight,
            Split::PooledGain => Curve::Root,
        }
    }
}

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

    /// These rows' values, ascending. NaN is left out.
    fn known(&self, feature: usize, rows: &[u32]) -> Vec<f32> {
        let column = self.column(feature);
        let values = rows.iter().map(|&row| column[row as usize]);
        let mut values: Vec<f32> = values.filter(|value| !value.is_nan()).collect();
        values.sort_unstable_by(f32::total_cmp);
        values
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
    while let Some(Draw { feature, hash: drawn, .. }) = sample.draw(live, &mut draws) {
        let Some((low, high)) = sample.range(feature, rows) else { continue };
        live.push(feature as u32);
        let place = unit(hash(drawn, 1)) as f32;
        let threshold = match split {
            Split::Classical => between(low, high, place),
            Split::PooledGain => valley(&sample.known(feature, rows), place),
        };
        return Some(Cut { feature, threshold });
    }
    None
}

/// Above `low` and not above `high`, so that neither side is empty.
pub(super) fn between(low: f32, high: f32, place: f32) -> f32 {
    let threshold = low + place * (high - low);
    if threshold > low && threshold <= high { threshold } else { high }
}
