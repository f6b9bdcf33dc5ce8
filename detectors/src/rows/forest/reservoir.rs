//! The rows that are kept: for the threshold, and for trees that are grown later.

use super::sample::{Rows, gather};
use crate::rows::random::{Random, hash};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// Rows as they came, at most so many.
///
/// It starts as a random sample of the training rows. A row that is learned takes the place of a
/// random one, so that of n places a row keeps its own for n learned rows on average: what is kept
/// follows a slow drift (Aggarwal, 2006).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reservoir {
    pub(super) capacity: usize,
    /// Row by row.
    pub(super) values: Vec<f64>,
    /// How many rows were learned.
    pub(super) learned: u64,
}

impl Reservoir {
    pub(super) fn of(x: ArrayView2<'_, f64>, rows: &Rows, capacity: usize, seed: u64) -> Self {
        let rows = rows.sample(capacity, &mut Random::new(hash(seed, RESERVOIR)));
        let mut values = Vec::new();
        gather(x, &rows, &mut values);
        Reservoir { capacity, values, learned: 0 }
    }

    pub(super) fn view(&self, columns: usize) -> ArrayView2<'_, f64> {
        let rows = self.values.len() / columns;
        ArrayView2::from_shape((rows, columns), &self.values).expect("whole rows")
    }

    /// The values of one of so many columns.
    pub(super) fn column(&self, columns: usize, column: usize) -> Vec<f64> {
        self.values.iter().skip(column).step_by(columns).copied().collect()
    }

    pub(super) fn learn(&mut self, row: &[f64], seed: u64) {
        let place = self.learned;
        self.learned += 1;
        if self.values.len() / row.len() < self.capacity {
            self.values.extend(row);
            return;
        }
        let place = Random::new(hash(hash(seed, RESERVOIR), place)).below(self.capacity);
        self.values[place * row.len()..][..row.len()].copy_from_slice(row);
    }
}

/// What the randomness of a reservoir is for; trees are counted from 0.
const RESERVOIR: u64 = u64::MAX;
