//! The nine tests as Skyline's Analyzer votes.

use super::ballot::{Ballot, Vote};
use super::stddev_from_moving_average;
use super::{first_hour_average, grubbs, histogram_bins, ks_test, least_squares};
use super::{mean_subtraction_cumulation, median_absolute_deviation, stddev_from_average};
use crate::series::window::Statistics;

/// All tests in voting order. `critical` is Grubbs' value for the length of the series.
pub(super) fn votes(series: &(impl Statistics + ?Sized), critical: f64) -> [Ballot; 9] {
    [
        histogram_bins::skyline(series),
        first_hour_average::skyline(series),
        stddev_from_average::skyline(series),
        grubbs::skyline(series, critical),
        ks_test::skyline(series),
        mean_subtraction_cumulation::skyline(series),
        median_absolute_deviation::skyline(series),
        stddev_from_moving_average::skyline(series),
        least_squares::skyline(series),
    ]
}

/// Of nine tests, this many must not vote no.
pub(super) const CONSENSUS: usize = 6;

/// The original counts the votes against: an abstention counts as a yes. That is kept here only.
pub(super) fn decide(ballots: &[Ballot]) -> bool {
    let against = ballots.iter().filter(|ballot| ballot.vote == Vote::No).count();
    against + CONSENSUS <= 9
}

#[cfg(test)]
mod tests {
    use super::super::ballot::Abstention;
    use super::*;

    #[test]
    fn an_abstention_counts_as_a_yes() {
        let ballots = |no: usize, abstain: usize| {
            let vote = |i: usize| match i {
                _ if i < no => Ballot::at_most("no", 0.0, 1.0),
                _ if i < no + abstain => Ballot::abstain("abstains", Abstention::TooFewPoints),
                _ => Ballot::at_most("yes", 2.0, 1.0),
            };
            (0..9).map(vote).collect::<Vec<_>>()
        };
        for abstain in 0..=5 {
            assert!(decide(&ballots(3, abstain)) && !decide(&ballots(4, abstain)), "{abstain}");
        }
    }
}
