//! The votes on a point, and what they come to.

use super::ballot::{Abstention, Ballot, SeriesTest, Vote};
use super::deviations::{Rareness, Scale, Statistic};
use super::memory::SigmaMemory;
use super::settings::{Preset, Settings};
use super::{
    first_hour_average, grubbs, histogram_bins, ks_test, least_squares, mean_subtraction_cumulation,
    median_absolute_deviation, skyline, stddev_from_average, stddev_from_moving_average,
};
use crate::contract::Verdict;
use crate::series::window::Statistics;

/// The votes on the newest point, and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub struct SigmaAssessment {
    /// Who voted what, and on what basis.
    pub ballots: Vec<Ballot>,
    /// What they come to.
    pub verdict: Verdict,
}

impl Settings {
    /// How strange the newest point is, as of what was learned before it.
    #[inline]
    pub(super) fn newest(&self, memory: &SigmaMemory) -> Option<(Scale, Rareness)> {
        let window = memory.feed.window();
        if self.preset == Preset::Skyline || !memory.calibration.is_ready() || window.is_empty() {
            return None;
        }
        let scale = Scale::of(window);
        Some((scale, memory.calibration.judge(scale, window.last(), window.tail())))
    }

    fn critical(&self, n: usize) -> f64 {
        if n == self.feed.window { self.critical } else { grubbs::critical(n) }
    }

    pub(super) fn ballots<S: Statistics>(&self, series: &S, subject: Statistic) -> Vec<Ballot> {
        let mut ballots = Vec::with_capacity(9 + self.tests.len());
        let x = match subject {
            Statistic::Last => series.last(),
            Statistic::Tail => series.tail(),
        };
        self.nine(series, subject, x).into_iter().for_each(|ballot| ballots.push(ballot));
        ballots.extend(self.tests.iter().map(|test| self.custom(test.as_ref(), series, x)));
        ballots
    }

    fn custom(&self, test: &dyn SeriesTest, series: &dyn Statistics, x: f64) -> Ballot {
        if test.applies_to(&self.namespace) {
            test.vote(series, x)
        } else {
            Ballot::abstain(test.name(), Abstention::NotForThis)
        }
    }

    #[inline]
    fn nine<S: Statistics>(&self, series: &S, subject: Statistic, x: f64) -> [Ballot; 9] {
        let critical = self.critical(series.len());
        if self.preset == Preset::Skyline {
            return skyline::votes(series, critical);
        }
        [
            histogram_bins::vote(series, x),
            first_hour_average::vote(series, x),
            stddev_from_average::vote(series, x),
            grubbs::vote(series, x, critical),
            ks_test::vote(series),
            mean_subtraction_cumulation::vote(series, x),
            median_absolute_deviation::vote(series, x),
            stddev_from_moving_average::vote(series, x),
            least_squares::vote(
                series,
                |line| if subject == Statistic::Last { line.last } else { line.tail },
            ),
        ]
    }

    pub(super) fn assess<S: Statistics>(&self, series: &S, rareness: Option<Rareness>) -> SigmaAssessment {
        let subject = rareness.map_or(Statistic::Last, |rareness| rareness.subject);
        let ballots = self.ballots(series, subject);
        let verdict = self.verdict(&ballots, rareness);
        SigmaAssessment { ballots, verdict }
    }

    fn verdict(&self, ballots: &[Ballot], rareness: Option<Rareness>) -> Verdict {
        let Some(rareness) = rareness else {
            let score = ballots.iter().map(passes).fold(0.0, f64::max);
            return Verdict { score, anomalous: skyline::decide(ballots), p_value: None };
        };
        let count = |wanted: fn(Vote) -> bool| ballots.iter().filter(|ballot| wanted(ballot.vote)).count();
        let yes = count(|vote| vote == Vote::Yes) as f64;
        let able = count(|vote| !matches!(vote, Vote::Abstain(_))) as f64;
        // Votes that nobody can cast do not protect anybody.
        let agreed = yes >= self.consensus * able;
        told(rareness, agreed && rareness.rarity <= self.rarity)
    }

    /// The verdict on the newest point. There is no vote where it cannot matter.
    #[inline]
    pub(super) fn judge<S: Statistics>(&self, series: &S, rareness: Option<Rareness>) -> Verdict {
        if let Some(rareness) = rareness.filter(|rareness| rareness.rarity > self.rarity) {
            return told(rareness, false);
        }
        let subject = rareness.map_or(Statistic::Last, |rareness| rareness.subject);
        if self.tests.is_empty() {
            let x = if subject == Statistic::Last { series.last() } else { series.tail() };
            self.verdict(&self.nine(series, subject, x), rareness)
        } else {
            self.verdict(&self.ballots(series, subject), rareness)
        }
    }
}

#[inline]
fn told(rareness: Rareness, anomalous: bool) -> Verdict {
    Verdict { score: 0.0 - libm::log10(rareness.rarity), anomalous, p_value: Some(rareness.p) }
}

/// How many times over a test's reach was passed.
pub(super) fn passes(ballot: &Ballot) -> f64 {
    let (Some(lower), Some(upper), Some(centre)) = (ballot.lower, ballot.upper, ballot.expected) else {
        return 0.0;
    };
    let reach = if ballot.actual > centre { upper - centre } else { centre - lower };
    let times = (ballot.actual - centre).abs() / reach;
    if times.is_nan() { 0.0 } else { times.min(1e9) }
}
