//! One measurement of a series.

use crate::contract::Timed;
use peak_core::Timestamp;
use serde::{Deserialize, Serialize};

/// One measurement of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it was measured: event time.
    pub time: Timestamp,
    /// What was measured.
    pub value: f64,
}

impl Point {
    /// Values of this magnitude and above are refused: the sums of their squares would not be finite.
    pub const LIMIT: f64 = 1e100;

    /// The value at a time.
    #[must_use]
    pub fn new(time: Timestamp, value: f64) -> Self {
        Point { time, value }
    }

    /// Whether the value is a number, and below [`LIMIT`](Self::LIMIT) in magnitude.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.value.abs() < Self::LIMIT
    }
}

impl Timed for Point {
    type Thing = Self;

    fn time(&self) -> Timestamp {
        self.time
    }

    fn thing(&self) -> &Self {
        self
    }
}

/// Rates and residuals of usable values are smaller.
pub(crate) const LARGEST: f64 = 1e110;
