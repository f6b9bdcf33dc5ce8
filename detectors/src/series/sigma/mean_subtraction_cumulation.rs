//! Is it far from the mean of all other points?
//!
//! Three population deviations of the points before from their mean, as in Skyline's
//! `mean_subtraction_cumulation`. Nothing is cumulated, despite the name.

use super::ballot::{Abstention, Ballot};
use crate::series::window::Statistics;

pub(super) const NAME: &str = "mean_subtraction_cumulation";

/// The last value.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    vote(series, series.last())
}

/// Any x.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64) -> Ballot {
    match series.earlier() {
        None => Ballot::abstain(NAME, Abstention::TooFewPoints),
        Some(earlier) => Ballot::within(NAME, x, earlier.mean, 3.0 * earlier.deviation),
    }
}
