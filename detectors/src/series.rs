//! Series: points in time, the sliding window over the newest of them, and what judges them.
//!
//! The same statistics come in two forms. [`Batch`] computes them from slices, in several passes;
//! [`Sliding`] keeps them up to date point by point. Whatever is built on [`Statistics`] gives the same
//! answers on both.

mod feed;
mod mad;
mod point;
mod range;
mod sigma;
mod window;

pub use feed::{Duplicates, Feed, FeedReport, Kind, Seasonality};
pub use mad::{Mad, MadMemory, steps_little};
pub use point::Point;
pub use range::NormalRange;
pub use sigma::{Abstention, Ballot, SeriesTest, SigmaAssessment, SigmaEnsemble, SigmaMemory, Vote};
pub use window::{BINS, Batch, Line, Sliding, Spread, Statistics, bin};

pub(crate) use feed::{Seasonal, growth};
pub(crate) use window::sum;
