//! Why: every statistic beside what was expected of it, with bounds at the budget.

use super::pool::{Assessment, Pool, Worth, least_of_eight};
use super::statistics::{NAMES, VOLUME, least};
use crate::contract::{Counterfactual, Evidence};
use std::borrow::Cow;

impl Assessment {
    /// Everything that was looked at.
    pub(super) fn evidence(&self, pool: &Pool, worth: &Worth, threshold: f64) -> Vec<Evidence> {
        match self.newcomer {
            Some(_) => vec![pool.evidence_of_newcomer(self, threshold)],
            None => (0..4).filter_map(|i| worth.evidence(i, self, threshold)).collect(),
        }
    }
}

/// What would have been quiet, in terms of evidence that is not.
pub(super) fn quiet(carrier: &Evidence) -> Counterfactual {
    Counterfactual {
        statistic: carrier.statistic.clone(),
        above: carrier.lower.filter(|lower| carrier.actual < *lower).map(|lower| lower - 1.0),
        below: carrier.upper.filter(|upper| carrier.actual > *upper).map(|upper| upper + 1.0),
    }
}

impl Worth {
    /// The p-value of a window whose strangest statistic is this one, on this side, with this tail.
    fn p_value(&self, statistic: usize, side: usize, raw: f64) -> f64 {
        self.calibrate(least_of_eight(self.map(statistic, side, raw)))
    }

    /// The tail at which that p-value is the threshold.
    fn critical(&self, statistic: usize, side: usize, threshold: f64) -> f64 {
        let (mut low, mut high) = (-300.0, 0.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if self.p_value(statistic, side, libm::pow(10.0, middle)) < threshold {
                low = middle;
            } else {
                high = middle;
            }
        }
        libm::pow(10.0, high)
    }

    fn evidence(&self, i: usize, assessment: &Assessment, threshold: f64) -> Option<Evidence> {
        let model = assessment.models[i]?;
        let (lower, upper) = model.bounds(self.critical(i, 0, threshold), self.critical(i, 1, threshold));
        let p = self.calibrate(least_of_eight(assessment.mapped[i].least()));
        Some(Evidence {
            statistic: Cow::Borrowed(NAMES[i]),
            actual: assessment.reading.counts[i],
            expected: Some(model.expected()),
            lower,
            upper: Some(upper),
            exceeded: p < threshold,
            p_value: Some(p),
        })
    }
}

impl Pool {
    fn evidence_of_newcomer(&self, assessment: &Assessment, threshold: f64) -> Evidence {
        let actual = assessment.reading.counts[VOLUME];
        let phase = assessment.newcomer.map_or(0.0, |typical| libm::log(typical) - self.newcomers.typical());
        let upper = least(|count| self.newcomers.tail(libm::log(count + 0.5) - phase) < threshold) - 1.0;
        Evidence {
            statistic: Cow::Borrowed(NAMES[VOLUME]),
            actual,
            expected: assessment.newcomer,
            lower: None,
            upper: Some(upper),
            exceeded: assessment.p < threshold,
            p_value: Some(assessment.p),
        }
    }
}
