//! Votes as evidence.

use super::assessment::{SigmaAssessment, passes};
use super::ballot::{Ballot, Vote};
use super::{ks_test, least_squares};
use crate::contract::{Counterfactual, Evidence, Explanation};
use crate::series::feed::Feed;
use crate::series::range::NormalRange;
use crate::series::window::Statistics;
use std::borrow::Cow;

/// Why the newest point of a feed was judged as it was. Tests that could not tell are no evidence.
pub(super) fn explanation(
    SigmaAssessment { ballots, verdict }: &SigmaAssessment,
    feed: &Feed,
    normal: Option<NormalRange>,
) -> Explanation {
    let baseline = feed.baseline();
    let able = || ballots.iter().filter(|ballot| !matches!(ballot.vote, Vote::Abstain(_)));
    let mut evidence: Vec<Evidence> = able().filter_map(|ballot| evidence_of(ballot, baseline)).collect();
    let Some(NormalRange { lower, upper, per_second, .. }) = normal else {
        let carried_by = strongest(able()).into();
        return Explanation { carried_by, evidence, counterfactual: None, change: None };
    };
    let statistic = if per_second { "rate" } else { "value" };
    let value = feed.window().last() + baseline;
    let carrier = Evidence {
        statistic: statistic.into(),
        actual: value,
        expected: Some(feed.window().median() + baseline),
        lower: Some(lower),
        upper: Some(upper),
        exceeded: verdict.anomalous,
        p_value: verdict.p_value,
    };
    evidence.insert(0, carrier);
    let counterfactual = verdict.anomalous.then(|| Counterfactual {
        statistic: statistic.into(),
        above: (value < lower).then_some(lower),
        below: (value > upper).then_some(upper),
    });
    let counterfactual = counterfactual.filter(|quiet| quiet.above.or(quiet.below).is_some());
    Explanation { carried_by: statistic.into(), evidence, counterfactual, change: None }
}

/// A ballot on the scale of the series: tests of the value itself are shifted by the baseline. `None`
/// when it measured nothing.
fn evidence_of(ballot: &Ballot, baseline: f64) -> Option<Evidence> {
    let is_value = ![ks_test::NAME, least_squares::NAME].contains(&ballot.test);
    let shift = if is_value { baseline } else { 0.0 };
    let shifted = |bound: Option<f64>| bound.map(|bound| bound + shift).filter(|bound| bound.is_finite());
    ballot.actual.is_finite().then(|| Evidence {
        statistic: Cow::Borrowed(ballot.test),
        actual: ballot.actual + shift,
        expected: shifted(ballot.expected),
        lower: shifted(ballot.lower),
        upper: shifted(ballot.upper),
        exceeded: ballot.vote == Vote::Yes,
        p_value: None,
    })
}

fn strongest<'a>(ballots: impl Iterator<Item = &'a Ballot>) -> &'static str {
    let strongest = ballots.max_by(|a, b| passes(a).total_cmp(&passes(b)));
    strongest.map_or("votes", |ballot| ballot.test)
}
