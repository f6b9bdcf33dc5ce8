//! The votes on a point, and what they come to.

use super::ballot::{Abstention, Ballot, SeriesTest, Vote};
use super::memory::SigmaMemory;
use super::settings::{Preset, Settings};
use super::{
    first_hour_average, grubbs, histogram_bins, ks_test, least_squares, mean_subtraction_cumulation,
    median_absolute_deviation, skyline, stddev_from_average, stddev_from_moving_average,
};
use crate::contract::Verdict;
use crate::series::window::Statistics;
use crate::worth::exceedances::{Deviation, Scale, Statistic};

/// The votes on the newest point, and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub struct SigmaAssessment {
    /// Who voted what, and on what basis.
    pub ballots: Vec<Ballot>,
    /// What they come to.
    pub verdict: Verdict,
}

/// What the tests of the default ensemble look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Last,
    Tail,
}

impl Settings {
    /// How far the newest point is off, as of what was learned before it.
    #[inline]
    pub(super) fn deviations(&self, memory: &SigmaMemory) -> Option<(Scale, [Deviation; 2])> {
        if self.preset == Preset::Skyline || !memory.calibration.is_ready() {
            return None;
        }
        let window = memory.feed.window();
        if window.is_empty() {
            return None;
        }
        let scale = Scale::of(window);
        if scale.unit > 0.0 {
            Some((scale, memory.calibration.judge(scale, window.last(), window.tail())))
        } else {
            // All other points have one value: any other value is the first of its kind.
            let p = if window.last() == scale.centre { 1.0 } else { f64::MIN_POSITIVE };
            Some((scale, [Deviation { z: 0.0, p }, Deviation { z: 0.0, p: 1.0 }]))
        }
    }

    fn critical(&self, n: usize) -> f64 {
        if n == self.feed.window { self.critical } else { grubbs::critical(n) }
    }

    pub(super) fn ballots<S: Statistics>(&self, series: &S, subject: Subject) -> Vec<Ballot> {
        let mut ballots = Vec::with_capacity(9 + self.tests.len());
        let x = match subject {
            Subject::Last => series.last(),
            Subject::Tail => series.tail(),
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
    fn nine<S: Statistics>(&self, series: &S, subject: Subject, x: f64) -> [Ballot; 9] {
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
            least_squares::vote(series, |line| if subject == Subject::Last { line.last } else { line.tail }),
        ]
    }

    pub(super) fn assess<S: Statistics>(
        &self,
        series: &S,
        deviations: Option<[Deviation; 2]>,
    ) -> SigmaAssessment {
        let subject = subject(deviations);
        let ballots = self.ballots(series, subject);
        let verdict = self.verdict(&ballots, deviations);
        SigmaAssessment { ballots, verdict }
    }

    fn verdict(&self, ballots: &[Ballot], deviations: Option<[Deviation; 2]>) -> Verdict {
        let Some(deviations) = deviations else {
            let score = ballots.iter().map(passes).fold(0.0, f64::max);
            return Verdict { score, anomalous: skyline::decide(ballots), p_value: None };
        };
        let p = either(deviations);
        let count = |wanted: fn(Vote) -> bool| ballots.iter().filter(|ballot| wanted(ballot.vote)).count();
        let yes = count(|vote| vote == Vote::Yes) as f64;
        let able = count(|vote| !matches!(vote, Vote::Abstain(_))) as f64;
        // Votes that nobody can cast do not protect anybody.
        let agreed = yes >= self.consensus * able;
        Verdict { score: -p.log10(), anomalous: agreed && p <= self.rarity, p_value: Some(p) }
    }

    /// The verdict on the newest point. There is no vote where it cannot matter.
    #[inline]
    pub(super) fn judge<S: Statistics>(&self, series: &S, deviations: Option<[Deviation; 2]>) -> Verdict {
        if let Some(p) = deviations.map(either).filter(|&p| p > self.rarity) {
            return Verdict { score: -p.log10(), anomalous: false, p_value: Some(p) };
        }
        let subject = subject(deviations);
        if self.tests.is_empty() {
            let x = if subject == Subject::Last { series.last() } else { series.tail() };
            self.verdict(&self.nine(series, subject, x), deviations)
        } else {
            self.verdict(&self.ballots(series, subject), deviations)
        }
    }
}

/// The probability of one of two deviations.
#[inline]
pub(super) fn either([last, tail]: [Deviation; 2]) -> f64 {
    (2.0 * last.p.min(tail.p)).min(1.0)
}

/// The mean of three counts for nothing unless the newest value carries at least half of its deviation:
/// what comes after a spike is not strange.
#[inline]
pub(super) fn supported([last, tail]: [Deviation; 2]) -> [Deviation; 2] {
    let per_value = Statistic::Tail.gain();
    let carried = last.z * tail.z.signum() >= 0.5 * tail.z.abs() / per_value;
    [last, if carried { tail } else { Deviation { p: 1.0, ..tail } }]
}

#[inline]
fn subject(deviations: Option<[Deviation; 2]>) -> Subject {
    match deviations {
        Some([last, tail]) if tail.p < last.p => Subject::Tail,
        _ => Subject::Last,
    }
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
