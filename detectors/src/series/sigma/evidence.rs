//! Votes as evidence.

use super::assessment::passes;
use super::ballot::{Ballot, Vote};
use super::{ks_test, least_squares};
use crate::contract::Evidence;
use std::borrow::Cow;

/// A ballot on the scale of the series: tests of the value itself are shifted by the baseline.
pub(super) fn evidence_of(ballot: &Ballot, baseline: f64) -> Evidence {
    let is_value = ![ks_test::NAME, least_squares::NAME].contains(&ballot.test);
    let shift = if is_value { baseline } else { 0.0 };
    let shifted = |bound: Option<f64>| bound.map(|bound| bound + shift);
    Evidence {
        statistic: Cow::Borrowed(ballot.test),
        actual: ballot.actual + shift,
        expected: shifted(ballot.expected),
        lower: shifted(ballot.lower),
        upper: shifted(ballot.upper),
        exceeded: ballot.vote == Vote::Yes,
        p_value: None,
    }
}

pub(super) fn strongest(ballots: &[Ballot]) -> &'static str {
    let strongest = ballots.iter().max_by(|a, b| passes(a).total_cmp(&passes(b)));
    strongest.map_or("votes", |ballot| ballot.test)
}
