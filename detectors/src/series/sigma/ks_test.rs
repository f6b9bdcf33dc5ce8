//! Are the last minutes distributed like the time before?
//!
//! The two-sample test of Kolmogorov and Smirnov on a probe, the last ten minutes, and a reference,
//! the fifty minutes before, as in Skyline's `ks_test`: yes when the distance exceeds ½ and the
//! reference is stationary by the augmented Dickey–Fuller test. With at least 20 points in both, such
//! a distance implies p ≤ 0.0082, so that p is not needed.

use super::ballot::{Abstention, Ballot};
use super::stationarity::dickey_fuller;
use crate::series::window::Statistics;

pub(super) const NAME: &str = "ks_test";

const POINTS: usize = 20;
const DISTANCE: f64 = 0.5;
/// The 5 % point of the Dickey–Fuller distribution with a constant (MacKinnon 2010).
const STATIONARY: f64 = -2.861_592_763_097_089_4;

/// Too few points, or a reference of one value, votes no.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    let ballot = vote(series);
    let too_few = series.recent().0.min(series.recent().1) < POINTS;
    if matches!(ballot.vote, super::Vote::Abstain(reason) if too_few || reason == Abstention::NoSpread) {
        return Ballot::at_most(NAME, 0.0, DISTANCE);
    }
    ballot
}

/// Abstains when it cannot tell.
pub(super) fn vote(series: &(impl Statistics + ?Sized)) -> Ballot {
    let (reference, probe) = series.recent();
    if reference < POINTS || probe < POINTS {
        return Ballot::abstain(NAME, Abstention::TooFewPoints);
    }
    let ballot = Ballot::at_most(NAME, series.distance(DISTANCE), DISTANCE);
    if ballot.actual <= DISTANCE {
        return ballot;
    }
    let reference = series.reference();
    if reference.iter().all(|&x| x == reference[0]) {
        return Ballot::abstain(NAME, Abstention::NoSpread);
    }
    match dickey_fuller(&reference) {
        Some(statistic) => ballot.with_vote(statistic < STATIONARY),
        None => Ballot::abstain(NAME, Abstention::TooFewPoints),
    }
}
