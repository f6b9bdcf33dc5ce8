//! What is normal.

use serde::{Deserialize, Serialize};

/// Between which values the next point of a series is normal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NormalRange {
    /// The lowest normal value.
    pub lower: f64,
    /// The highest normal value.
    pub upper: f64,
    /// What the season makes of both; 0 without one.
    pub baseline: f64,
    /// Whether all this is growth per second: the series is a counter.
    pub per_second: bool,
}

impl NormalRange {
    /// Whether the range holds a value, once the season has come to another baseline.
    pub(crate) fn holds(&self, value: f64, baseline: f64) -> bool {
        (self.lower..=self.upper).contains(&(value - (baseline - self.baseline)))
    }
}
