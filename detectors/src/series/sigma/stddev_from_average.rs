//! Is it far from the mean of the window?
//!
//! Three sample deviations from the mean, the point itself included, as in Skyline's
//! `stddev_from_average`.

use super::ballot::Ballot;
use crate::series::window::Statistics;

pub(super) const NAME: &str = "stddev_from_average";

/// The tail.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    vote(series, series.tail())
}

/// Any x.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64) -> Ballot {
    let all = series.all();
    Ballot::within(NAME, x, all.mean, 3.0 * all.deviation)
}
