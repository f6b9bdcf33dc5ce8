//! What tests say.

use crate::series::window::Statistics;
use serde::Serialize;
use std::fmt;

/// What a test says of the newest point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Vote {
    /// It is strange.
    Yes,
    /// It is not.
    No,
    /// The test cannot tell.
    Abstain(Abstention),
}

/// Why a test cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub enum Abstention {
    /// Too few points, in all or in one of the parts that it compares.
    TooFewPoints,
    /// What it measures by does not vary.
    NoSpread,
    /// The test is not for this series.
    NotForThis,
}

impl fmt::Display for Abstention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Abstention::TooFewPoints => "too few points",
            Abstention::NoSpread => "no spread",
            Abstention::NotForThis => "not for this series",
        })
    }
}

impl From<bool> for Vote {
    fn from(yes: bool) -> Self {
        if yes { Vote::Yes } else { Vote::No }
    }
}

/// A test's vote, and what it is based on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ballot {
    /// The name of the test.
    pub test: &'static str,
    /// Its vote.
    pub vote: Vote,
    /// What it measured.
    pub actual: f64,
    /// What is typical.
    pub expected: Option<f64>,
    /// The test votes yes below.
    pub lower: Option<f64>,
    /// The test votes yes above.
    pub upper: Option<f64>,
}

impl Ballot {
    /// A test that cannot tell.
    #[must_use]
    pub fn abstain(test: &'static str, reason: Abstention) -> Self {
        let vote = Vote::Abstain(reason);
        Ballot { test, vote, actual: f64::NAN, expected: None, lower: None, upper: None }
    }

    /// Votes yes when `actual` is farther than `reach` from `centre`, strictly; no when any of them is
    /// not a number.
    #[must_use]
    #[inline]
    pub fn within(test: &'static str, actual: f64, centre: f64, reach: f64) -> Self {
        Ballot {
            test,
            vote: Vote::from((actual - centre).abs() > reach),
            actual,
            expected: Some(centre),
            lower: Some(centre - reach),
            upper: Some(centre + reach),
        }
    }

    /// Votes yes when `actual` is above `limit`, strictly.
    #[must_use]
    #[inline]
    pub fn at_most(test: &'static str, actual: f64, limit: f64) -> Self {
        let vote = Vote::from(actual > limit);
        Ballot { test, vote, actual, expected: None, lower: None, upper: Some(limit) }
    }

    #[inline]
    pub(super) fn with_vote(self, vote: impl Into<Vote>) -> Self {
        Ballot { vote: vote.into(), ..self }
    }
}

/// A test of one's own in the ensemble.
///
/// ```
/// use peak_detectors::series::Statistics;
/// use peak_detectors::{Ballot, SeriesTest, SigmaEnsemble};
///
/// struct NeverNegative;
///
/// impl SeriesTest for NeverNegative {
///     fn name(&self) -> &'static str {
///         "never_negative"
///     }
///     fn vote(&self, series: &dyn Statistics, x: f64) -> Ballot {
///         Ballot { lower: Some(0.0), ..Ballot::at_most(self.name(), -x, 0.0) }
///     }
///     fn applies_to(&self, namespace: &str) -> bool {
///         namespace.starts_with("disk.")
///     }
/// }
///
/// let disk = SigmaEnsemble::default().with_namespace("disk.free").with_test(NeverNegative);
/// let cpu = SigmaEnsemble::default().with_namespace("cpu.idle").with_test(NeverNegative); // abstains
/// # let _ = (disk, cpu);
/// ```
pub trait SeriesTest: Send + Sync {
    /// The name of the test, as it stands in explanations.
    fn name(&self) -> &'static str;

    /// Its vote on a series whose newest point is the one in question. `x` is what is tested: the
    /// newest value, or the mean of the last three, whichever is the stranger.
    fn vote(&self, series: &dyn Statistics, x: f64) -> Ballot;

    /// Whether the test is for a series of this namespace. It abstains on others.
    fn applies_to(&self, namespace: &str) -> bool {
        let _ = namespace;
        true
    }
}
