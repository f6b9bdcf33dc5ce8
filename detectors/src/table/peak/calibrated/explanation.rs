//! Why: every statistic beside what was expected of it, with bounds at the threshold of its window.

use super::pool::{Assessment, Pool, Worth, least_of_eight};
use super::statistics::{Bound, NAMES, VOLUME, least_from};
use crate::contract::{Counterfactual, Evidence};
use std::borrow::Cow;

/// What evidence is measured by: the same for all keys of a window.
pub(super) struct Gauge<'a> {
    pool: &'a Pool,
    worth: Worth,
    threshold: f64,
    /// By statistic and side: the tail at which the p-value is the threshold.
    critical: [[Bound; 2]; 4],
}

/// What would have been quiet, in terms of evidence that is not.
pub(super) fn quiet(carrier: &Evidence) -> Counterfactual {
    Counterfactual {
        statistic: carrier.statistic.clone(),
        above: carrier.lower.filter(|lower| carrier.actual < *lower).map(|lower| lower - 1.0),
        below: carrier.upper.filter(|upper| carrier.actual > *upper).map(|upper| upper + 1.0),
    }
}

impl<'a> Gauge<'a> {
    pub(super) fn new(pool: &'a Pool, threshold: f64) -> Self {
        let worth = pool.worth();
        let critical =
            [0, 1, 2, 3].map(|i| [0, 1].map(|side| Bound::at(critical(&worth, i, side, threshold))));
        Gauge { pool, worth, threshold, critical }
    }

    pub(super) fn worth(&self) -> &Worth {
        &self.worth
    }

    /// Everything that was looked at.
    pub(super) fn evidence(&self, assessment: &Assessment) -> Vec<Evidence> {
        match assessment.newcomer {
            Some(typical) => vec![self.of_newcomer(assessment, typical)],
            None => (0..4).filter_map(|i| self.of_statistic(i, assessment)).collect(),
        }
    }

    fn of_statistic(&self, i: usize, assessment: &Assessment) -> Option<Evidence> {
        let model = assessment.models[i]?;
        let (lower, upper) = model.bounds(self.critical[i]);
        let p = self.worth.calibrate(least_of_eight(assessment.mapped[i].least()));
        Some(Evidence {
            statistic: Cow::Borrowed(NAMES[i]),
            actual: assessment.reading.counts[i],
            expected: Some(model.expected()),
            lower,
            upper: Some(upper),
            exceeded: p < self.threshold,
            p_value: Some(p),
        })
    }

    fn of_newcomer(&self, assessment: &Assessment, typical: f64) -> Evidence {
        let newcomers = &self.pool.newcomers;
        let phase = libm::log(typical) - newcomers.typical();
        let is_strange = |count: f64| newcomers.tail(libm::log(count + 0.5) - phase) < self.threshold;
        Evidence {
            statistic: Cow::Borrowed(NAMES[VOLUME]),
            actual: assessment.reading.counts[VOLUME],
            expected: Some(typical),
            lower: None,
            upper: Some(least_from(typical, is_strange) - 1.0),
            exceeded: assessment.p < self.threshold,
            p_value: Some(assessment.p),
        }
    }
}

/// The tail of a statistic on a side at which the p-value of a window of which it is the strangest is
/// the threshold.
fn critical(worth: &Worth, statistic: usize, side: usize, threshold: f64) -> f64 {
    let (mut low, mut high) = (-300.0, 0.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        let tail = worth.map(statistic, side, libm::exp10(middle));
        if worth.calibrate(least_of_eight(tail)) < threshold {
            low = middle;
        } else {
            high = middle;
        }
    }
    libm::exp10(high)
}
