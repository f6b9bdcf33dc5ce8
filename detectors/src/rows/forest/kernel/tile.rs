//! Some rows as the trees see them, column by column.

use crate::rows::forest::scaler::{Scale, scale_rows};
use ndarray::ArrayView2;

/// The rows of a tile.
pub(in crate::rows::forest) const ROWS: usize = 256;

/// Up to [`ROWS`] rows.
#[derive(Debug)]
pub(in crate::rows::forest) struct Tile {
    /// A power of two of them: what is beyond the columns is there to be masked, not read.
    values: Vec<f32>,
    rows: usize,
    missing: bool,
}

/// A value is neither a number nor missing.
#[derive(Debug)]
pub(in crate::rows::forest) struct Infinite;

impl Tile {
    pub(in crate::rows::forest) fn new(columns: usize) -> Self {
        Tile { values: vec![0.0; columns.next_power_of_two() * ROWS], rows: 0, missing: false }
    }

    /// Takes these rows in, of which there are at most [`ROWS`].
    pub(in crate::rows::forest) fn fill(
        &mut self,
        x: ArrayView2<'_, f64>,
        scales: &[Scale],
    ) -> Result<(), Infinite> {
        self.rows = x.nrows();
        let met = scale_rows(x, scales, &mut self.values, ROWS);
        self.missing = met.missing;
        if met.infinite { Err(Infinite) } else { Ok(()) }
    }

    pub(in crate::rows::forest) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn value(&self, row: usize, column: usize) -> f32 {
        self.values[column * ROWS + row]
    }

    /// Whether a value is missing.
    pub(super) fn has_missing(&self) -> bool {
        self.missing
    }
}
