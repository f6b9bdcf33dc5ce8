//! What the classic decision on a key rests on.

use super::original::Number;
use super::row::Row;
use super::weights::Weights;
use crate::contract::{Counterfactual, Evidence, Explanation, Verdict};
use peak_core::Summary;
use std::borrow::Cow;

/// Everything the classic decision on one key rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Records in the window.
    pub records: u64,
    /// Distinct samples.
    pub samples: u64,
    /// Records of the most frequent sample.
    pub max: u64,
    /// Mean records per sample; an integer where it is one.
    pub mean: Number,
    /// Sample standard deviation (n − 1) of the records per sample, 0 for one sample.
    pub std: f64,
    /// Share of the most frequent sample, rounded to two decimals; 0 for few records.
    pub share: f64,
    /// The row's maximum of the mean.
    pub global_max: Number,
    /// The row's average of records.
    pub records_avg: Number,
    /// The threshold in force: the caller's or the row's.
    pub threshold: Number,
    /// Whether the records reach the threshold.
    pub reaches_threshold: bool,
    /// Condition 1, whose bound is [`mean_bound`](Self::mean_bound).
    pub mean_exceeds_global: bool,
    /// Condition 2.
    pub share_exceeds_least: bool,
    /// Condition 3.
    pub max_exceeds_spread: bool,
    /// What the mean is compared with.
    pub mean_bound: f64,
    /// What the share is compared with.
    pub share_bound: f64,
}

impl Assessment {
    pub(super) fn measure(summary: &Summary, weights: &Weights) -> Self {
        let (records, samples, max) = (summary.records, summary.distinct(), summary.samples().max());
        Assessment {
            records,
            samples,
            max,
            mean: Number::from(records).divide_exactly(samples.into()),
            std: summary.samples().std().unwrap_or(0.0),
            share: if records > weights.least_records {
                round_to_cents(max as f64 / records as f64)
            } else {
                0.0
            },
            global_max: Number::Int(0),
            records_avg: Number::Int(0),
            threshold: Number::Int(0),
            reaches_threshold: false,
            mean_exceeds_global: false,
            share_exceeds_least: false,
            max_exceeds_spread: false,
            mean_bound: 0.0,
            share_bound: weights.least_share,
        }
    }

    pub(super) fn compare(&mut self, row: &Row, threshold: Option<i64>, weights: &Weights) {
        self.global_max = row.records_per_sample_max;
        self.records_avg = row.records_avg;
        self.threshold = match threshold {
            None | Some(0) => row.threshold,
            Some(own) => Number::Int(own),
        };
        self.reaches_threshold = !self.threshold.exceeds(self.records.into());
        self.mean_bound = weights.global_weight * self.global_max.to_f64();
        self.mean_exceeds_global = self.mean.to_f64() > self.mean_bound;
        self.share_exceeds_least = self.share > self.share_bound;
        self.max_exceeds_spread = self.max as f64 > self.spread_bound();
    }

    /// What the most frequent sample is compared with: mean + standard deviation.
    #[must_use]
    pub fn spread_bound(&self) -> f64 {
        self.mean.to_f64() + self.std
    }

    /// The decision.
    #[must_use]
    pub fn is_peak(&self) -> bool {
        self.reaches_threshold
            && (self.mean_exceeds_global || self.share_exceeds_least || self.max_exceeds_spread)
    }

    /// The decision with a score: the largest factor by which one of the three conditions passes its
    /// bound. The rule knows no probabilities.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let factors = self.conditions().into_iter().map(|condition| factor(&condition));
        Verdict { score: factors.fold(0.0, f64::max), anomalous: self.is_peak(), p_value: None }
    }

    /// The three conditions, and the volume; the counterfactual is the threshold.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let conditions = self.conditions();
        let strongest = |a: &&Evidence, b: &&Evidence| factor(a).total_cmp(&factor(b));
        let fired = conditions.iter().filter(|condition| condition.exceeded).max_by(strongest);
        let carried_by =
            fired.or(conditions.iter().max_by(strongest)).map_or(RECORDS.into(), |c| c.statistic.clone());
        let quiet =
            Counterfactual { statistic: RECORDS.into(), above: None, below: Some(self.threshold.to_f64()) };
        let volume = Evidence {
            statistic: RECORDS.into(),
            actual: self.records as f64,
            expected: Some(self.records_avg.to_f64()),
            lower: None,
            upper: None,
            exceeded: false,
            p_value: None,
        };
        Explanation {
            carried_by,
            evidence: conditions.into_iter().chain([volume]).collect(),
            counterfactual: self.is_peak().then_some(quiet),
            change: None,
        }
    }

    fn conditions(&self) -> [Evidence; 3] {
        let evidence = |statistic, actual, expected, upper, exceeded| Evidence {
            statistic: Cow::Borrowed(statistic),
            actual,
            expected,
            lower: None,
            upper: Some(upper),
            exceeded,
            p_value: None,
        };
        let (mean, max) = (self.mean.to_f64(), self.max as f64);
        let largest = Some(self.global_max.to_f64());
        [
            evidence("records per sample", mean, largest, self.mean_bound, self.mean_exceeds_global),
            evidence("share of the top sample", self.share, None, self.share_bound, self.share_exceeds_least),
            evidence(
                "records of the top sample",
                max,
                Some(mean),
                self.spread_bound(),
                self.max_exceeds_spread,
            ),
        ]
    }
}

const RECORDS: &str = "records";

/// By how much a condition passes its bound; finite also where the bound is 0.
fn factor(condition: &Evidence) -> f64 {
    condition.upper.map_or(0.0, |bound| condition.actual / bound.max(1e-9))
}

/// Rounds to two decimals, ties of the exact binary value to even.
fn round_to_cents(x: f64) -> f64 {
    let cents = 100.0 * x;
    if (0.0..=1e6).contains(&cents) && (cents.fract() - 0.5).abs() > 1e-6 {
        // No tie is near, and the quotient is the number nearest to the decimal.
        return cents.round() / 100.0;
    }
    format!("{x:.2}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_rounded_as_they_are_written(part in 0..100_000u64, rest in 0..100_000u64, cents in 0..100u64) {
            let near_a_tie = (cents as f64 + 0.5) / 100.0;
            let share = part as f64 / (part + rest).max(1) as f64;
            for x in [share, near_a_tie, near_a_tie.next_up(), near_a_tie.next_down(), cents as f64 / 100.0] {
                prop_assert_eq!(round_to_cents(x), format!("{x:.2}").parse::<f64>().unwrap());
            }
        }

        #[test]
        fn the_rounded_share_passes_a_half_from_101_in_200_on(max in 1..5_000u64, others in 0..5_000u64) {
            let records = max + others;
            prop_assume!(records > 50);
            let share = round_to_cents(max as f64 / records as f64);
            prop_assert_eq!(share > 0.5, 200 * max >= 101 * records);
        }
    }
}
