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
            _ if !self.is_estimate() => model,
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

    /// Whether samples were estimated, not counted.
    pub(super) fn is_estimate(&self) -> bool {
        self.error > 0.0
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

    /// The smallest and largest whole counts whose tails are not below the bounds, low and high.
    pub(super) fn bounds(&self, [low, high]: [Bound; 2]) -> (Option<f64>, f64) {
        let lower = (self.tails(0.0).low < low.tail)
            .then(|| least_from(self.at(-low.normal), |count| self.tails(count).low >= low.tail));
        let upper = least_from(self.at(high.normal), |count| self.tails(count).high < high.tail) - 1.0;
        (lower, upper.max(0.0))
    }

    /// About where a statistic lies that is so many standard deviations off.
    fn at(&self, deviations: f64) -> f64 {
        match self {
            Model::Count(_, prediction) => prediction.at(deviations),
            Model::Ratio(ratio, expected) => {
                ratio_count(*ratio, expected.log + deviations * expected.deviation)
            }
        }
    }
}

/// How unlikely a statistic must be to be strange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// As a tail.
    tail: f64,
    /// As standard deviations of a normal distribution.
    normal: f64,
}

impl Bound {
    pub(super) fn at(tail: f64) -> Self {
        Bound { tail, normal: tail::normal_quantile(tail) }
    }
}

/// The least whole number from 1 on that holds, which all larger ones must do, sought from near `guess`.
pub(super) fn least_from(guess: f64, holds: impl Fn(f64) -> bool) -> f64 {
    const MOST: f64 = 1e18;
    let guess = guess.clamp(1.0, MOST).floor();
    // `below` does not hold, or is 0; `above` does, or is the most.
    let (mut below, mut above, mut step) = (0.0, MOST, 1.0);
    if holds(guess) {
        above = guess;
        while above > 1.0 {
            let next = (above - step).max(1.0);
            if !holds(next) {
                below = next;
                break;
            }
            (above, step) = (next, 4.0 * step);
        }
    } else {
        below = guess;
        while below < MOST {
            let next = (below + step).min(MOST);
            if holds(next) {
                above = next;
                break;
            }
            (below, step) = (next, 4.0 * step);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_that_holds_is_found_from_anywhere(least in 1u64..1_000_000_000, guess in -5.0..2e9f64) {
            let least = least as f64;
            prop_assert_eq!(least_from(guess, |x| x >= least), least);
        }
    }
}
