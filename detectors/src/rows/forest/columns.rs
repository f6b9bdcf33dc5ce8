//! The rows that a tree is grown on, feature by feature, and which feature's turn it is.

use super::node::Direction;
use crate::rows::random::{hash, unit};

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

impl Sample<'_> {
    pub(super) fn column(&self, feature: usize) -> &[f32] {
        &self.values[feature * self.rows..][..self.rows]
    }

    /// The smallest and the largest of these rows' values, when they differ. NaN is left out.
    pub(super) fn range(&self, feature: usize, rows: &[u32]) -> Option<(f32, f32)> {
        let column = self.column(feature);
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &row in rows {
            let value = column[row as usize];
            low = if value < low { value } else { low };
            high = if value > high { value } else { high };
        }
        (low < high).then_some((low, high))
    }

    /// These rows' values in a direction, ascending. NaN is left out.
    pub(super) fn known(&self, direction: Direction, rows: &[u32]) -> Vec<f32> {
        let value = |&row: &u32| direction.of(|feature| self.column(feature)[row as usize]);
        let values = rows.iter().map(value);
        let mut values: Vec<f32> = values.filter(|value| !value.is_nan()).collect();
        values.sort_unstable_by(f32::total_cmp);
        values
    }

    /// Draws one of the `live` features and takes it out; of `draws`, which belong to them, too.
    pub(super) fn draw(&self, live: &mut Vec<u32>, draws: &mut Vec<Draw>) -> Option<Draw> {
        let first = (0..draws.len()).min_by(|&a, &b| draws[a].time.total_cmp(&draws[b].time))?;
        live.swap_remove(first);
        Some(draws.swap_remove(first))
    }

    /// Every feature's turn: exponential times with the weights as rates, so that the first is drawn
    /// with a probability in proportion to its weight, and does not depend on the features' places.
    pub(super) fn draws(&self, live: &[u32], seed: u64) -> Vec<Draw> {
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
pub(super) struct Draw {
    pub(super) feature: usize,
    pub(super) time: f64,
    /// What is random about the feature in this node.
    pub(super) hash: u64,
}
