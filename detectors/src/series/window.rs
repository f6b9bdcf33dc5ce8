//! A window over a series, and the statistics that tests read from it.
//!
//! The same statistics come in two forms: from slices, in several passes, and kept up to date point by
//! point.

mod batch;
mod lengths;
mod ranks;
mod sliding;
mod statistics;
pub(crate) mod sum;

pub use batch::Batch;
pub use sliding::Sliding;
pub use statistics::{BINS, Line, Spread, Statistics, bin};

pub(crate) use lengths::{DAY, Scaling};
