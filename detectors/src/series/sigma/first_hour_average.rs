//! Is it far from the same time a day ago?
//!
//! Three sample deviations from the mean of the first hour of the last 24, as in Skyline's
//! `first_hour_average`.

use super::ballot::{Abstention, Ballot};
use crate::series::window::Statistics;

pub(super) const NAME: &str = "first_hour_average";

/// The tail; an hour of one point, or none, votes no.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    let (_, hour) = series.first_hour();
    Ballot::within(NAME, series.tail(), hour.mean, 3.0 * hour.deviation)
}

/// Abstains when the hour, stretched with the resolution, holds fewer than 20 points or only one value.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64) -> Ballot {
    const POINTS: usize = 20;
    match series.first_hour() {
        (n, _) if n < POINTS => Ballot::abstain(NAME, Abstention::TooFewPoints),
        (_, hour) if hour.deviation == 0.0 => Ballot::abstain(NAME, Abstention::NoSpread),
        (_, hour) => Ballot::within(NAME, x, hour.mean, 3.0 * hour.deviation),
    }
}
