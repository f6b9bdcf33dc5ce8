//! Is it far from the median?
//!
//! Six median absolute deviations from the median, as in Skyline's `median_absolute_deviation`. The
//! deviation has no factor: for a normal distribution these are four standard deviations.

use super::ballot::{Abstention, Ballot};
use crate::series::window::Statistics;

pub(super) const NAME: &str = "median_absolute_deviation";

const REACH: f64 = 6.0;

/// The last value; a deviation of zero votes no.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    let (last, median, deviation) = (series.last(), series.median(), series.median_deviation());
    let yes = deviation > 0.0 && (last - median).abs() / deviation > REACH;
    Ballot::within(NAME, last, median, REACH * deviation).with_vote(yes)
}

/// Any x. When more than half of the values are the same, so that the deviation is zero, the standard
/// deviation of the other points takes its place; without any spread, any other value is strange.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64) -> Ballot {
    match series.earlier() {
        None => Ballot::abstain(NAME, Abstention::TooFewPoints),
        Some(earlier) => {
            let deviation = series.median_deviation();
            let reach = if deviation > 0.0 { REACH * deviation } else { 4.0 * earlier.deviation };
            Ballot::within(NAME, x, series.median(), reach)
        }
    }
}
