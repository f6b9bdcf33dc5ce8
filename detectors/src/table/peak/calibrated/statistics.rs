//! The four statistics of a window, and where they are expected.

use super::counts::Prediction;
use super::ratio::Expected;
use crate::worth::tail::{self, Tails};
use peak_core::Summary;

/// The four statistics.
pub(super) const VOLUME: usize = 0;
pub(super) const VARIETY: usize = 1;
pub(super) const REPETITION: usize = 2;
pub(super) const CONCENTRATION: usize = 3;
pub(super) const NAMES: [&str; 4] = ["records", "samples", "repeated records", "records of the top sample"];
/// Which statistic carries a peak when several are beyond all doubt.
pub(super) const CARRIERS: [usize; 4] = [CONCENTRATION, REPETITION, VOLUME, VARIETY];

/// The four statistics of a window, as counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) counts: [f64; 4],
    /// The standard error of the logarithm of the samples; 0 when they were counted exactly.
    error: f64,
    /// By how much the records of the top sample may be too many.
    surplus: f64,
}

impl Reading {
    pub(super) fn of(summary: &Summary) -> Self {
        let (records, distinct) = (summary.records, summary.distinct());
        let repeated = records.saturating_sub(distinct);
        let (error, surplus) =
            summary.uncertainty().map_or((0.0, 0.0), |bounds| (bounds.distinct(), bounds.surplus() as f64));
        let counts = [records, distinct, repeated, summary.samples().max()].map(|count| count as f64);
        Reading { counts, error, surplus }
    }

    /// The prediction of a statistic as this window can be held against it: wider by the error of
    /// what was estimated.
    pub(super) fn allow_for_error(&self, model: Model) -> Model {
        match model {
            _ if self.error <= 0.0 => model,
            Model::Count(VARIETY, prediction) => {
                Model::Count(VARIETY, prediction.wider(self.error * self.error))
            }
            Model::Ratio(REPETITION, expected) => {
                let error = self.error * self.counts[VARIETY] / (1.0 + self.counts[REPETITION]);
                let deviation = libm::hypot(expected.deviation, error);
                Model::Ratio(REPETITION, Expected { deviation, ..expected })
            }
            _ => model,
        }
    }

    /// The tails of a statistic. The records of the top sample count as too few when they are at their
    /// most, and as too many when they are at their least.
    pub(super) fn tails(&self, statistic: usize, model: &Model) -> Tails {
        let tails = model.tails(self.counts[statistic]);
        if statistic != CONCENTRATION || self.surplus <= 0.0 {
            return tails;
        }
        Tails { high: model.tails((self.counts[CONCENTRATION] - self.surplus).max(1.0)).high, ..tails }
    }

    /// Whether records were counted, but no samples.
    pub(super) fn is_without_samples(&self) -> bool {
        self.counts[VOLUME] > 0.0 && self.counts[VARIETY] == 0.0
    }

    /// The logarithm of the records; `None` where ratios say nothing.
    pub(super) fn log_records(&self) -> Option<f64> {
        (self.counts[VOLUME] > 0.0 && self.counts[VARIETY] > 0.0).then(|| libm::log(self.counts[VOLUME]))
    }

    /// What the model of a ratio looks at.
    pub(super) fn log(&self, ratio: usize) -> f64 {
        ratio_log(ratio, self.counts[ratio])
    }
}

fn ratio_log(ratio: usize, count: f64) -> f64 {
    if ratio == REPETITION { libm::log1p(count) } else { libm::log(count.max(1.0)) }
}

fn ratio_count(ratio: usize, log: f64) -> f64 {
    if ratio == REPETITION { libm::expm1(log) } else { libm::exp(log) }
}

/// The predictive distribution of a statistic.
#[derive(Debug, Clone, Copy)]
pub(super) enum Model {
    Count(usize, Prediction),
    Ratio(usize, Expected),
}

impl Model {
    pub(super) fn expected(&self) -> f64 {
        match self {
            Model::Count(_, prediction) => prediction.mean,
            Model::Ratio(ratio, expected) => ratio_count(*ratio, expected.log).max(0.0),
        }
    }

    pub(super) fn tails(&self, actual: f64) -> Tails {
        match self {
            Model::Count(_, prediction) => prediction.tails(actual),
            Model::Ratio(ratio, expected) => {
                tail::logistic((ratio_log(*ratio, actual) - expected.log) / expected.deviation)
            }
        }
    }

    /// The smallest and largest whole counts whose tails are not below these.
    pub(super) fn bounds(&self, low: f64, high: f64) -> (Option<f64>, f64) {
        let lower = (self.tails(0.0).low < low).then(|| least(|count| self.tails(count).low >= low));
        let upper = least(|count| self.tails(count).high < high) - 1.0;
        (lower, upper.max(0.0))
    }
}

/// The least whole number from 1 on that holds; it must hold for all larger ones.
pub(super) fn least(holds: impl Fn(f64) -> bool) -> f64 {
    let mut below = 0.0;
    let mut above = 1.0;
    while !holds(above) && above < 1e18 {
        below = above;
        above *= 2.0;
    }
    while above - below > 1.0 {
        let middle = ((below + above) / 2.0_f64).floor();
        if middle <= below || middle >= above {
            break;
        }
        if holds(middle) {
            above = middle;
        } else {
            below = middle;
        }
    }
    above
}
