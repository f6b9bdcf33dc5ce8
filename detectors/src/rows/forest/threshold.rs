//! From which score on a row is anomalous: apart from the scores, and changed without scoring again.

pub(super) use crate::worth::empirical::p_value;

use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// From which score on a row is anomalous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Threshold {
    /// Above what is outside among the training rows' scores: one and a half interquartile ranges above
    /// the upper quartile (Tukey, 1977), and never below 0.5, the score of a row that is as hard to
    /// isolate as any. It expects no share of anomalies.
    ///
    /// Nor is it a rate of false alarms: of fresh normal rows, like the training rows, it called 0.8 %
    /// anomalous (many rows of ten features), 2.4 % (of three), up to 5.9 % (200 rows). Where a rate matters,
    /// compare [`Verdict::p_value`](crate::Verdict::p_value) with it, which holds, or ask for a
    /// [`Contamination`](Self::Contamination).
    #[default]
    Auto,
    /// This share of the training rows is anomalous: above 0, at most 0.5.
    Contamination(f64),
    /// Rows that score above this quantile of the training rows' scores: from 0 to 1.
    Quantile(f64),
    /// Rows that score above this: from 0 to 1.
    Fixed(f64),
}

impl Threshold {
    /// # Errors
    /// When a value is outside of its range.
    pub(super) fn check(self) -> Result<()> {
        let (field, rule, value, valid) = match self {
            Threshold::Auto => return Ok(()),
            Threshold::Contamination(x) => {
                ("contamination", "must be above 0 and at most 0.5", x, x > 0.0 && x <= 0.5)
            }
            Threshold::Quantile(x) => ("quantile", "must be from 0 to 1", x, (0.0..=1.0).contains(&x)),
            Threshold::Fixed(x) => ("threshold", "must be from 0 to 1", x, (0.0..=1.0).contains(&x)),
        };
        if valid { Ok(()) } else { Err(Error::invalid(field, rule, value)) }
    }

    /// The cutoff among these scores, which ascend.
    pub(super) fn among(self, scores: &[f64]) -> Cutoff {
        let rank = |quantile: f64| {
            let above = ((1.0 - quantile) * scores.len() as f64 + 1e-9).floor() as usize;
            scores.len().checked_sub(above + 1).map_or(0.0, |rank| scores[rank])
        };
        let score = match self {
            Threshold::Auto => {
                let (lower, upper) = (rank(0.25), rank(0.75));
                (upper + 1.5 * (upper - lower)).max(0.5)
            }
            Threshold::Contamination(share) => rank(1.0 - share),
            Threshold::Quantile(quantile) => rank(quantile),
            Threshold::Fixed(score) => score,
        };
        Cutoff { score, exceeding: exceeding(scores, score), of: scores.len() }
    }
}

fn exceeding(scores: &[f64], score: f64) -> usize {
    scores.len() - scores.partition_point(|&other| other <= score)
}

/// What a [`Threshold`] comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cutoff {
    /// Rows that score above it are anomalous.
    pub score: f64,
    /// How many of the reference rows do.
    pub exceeding: usize,
    /// How many reference rows there are: all training rows or, where there are more than the
    /// reservoir takes, a random sample of them.
    pub of: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> Vec<f64> {
        (1..=100).map(|i| f64::from(i) / 200.0).collect()
    }

    #[test]
    fn a_share_of_the_rows_is_above_the_cutoff() {
        for (threshold, exceeding) in [
            (Threshold::Contamination(0.1), 10),
            (Threshold::Contamination(0.5), 50),
            (Threshold::Contamination(0.001), 0),
            (Threshold::Quantile(0.9), 10),
            (Threshold::Quantile(1.0), 0),
            (Threshold::Quantile(0.0), 100),
            (Threshold::Fixed(0.25), 50),
            (Threshold::Auto, 0),
        ] {
            let cutoff = threshold.among(&scores());
            assert_eq!((cutoff.exceeding, cutoff.of), (exceeding, 100), "{threshold:?}");
        }
    }

    #[test]
    fn equal_scores_are_not_above_themselves() {
        assert_eq!(Threshold::Contamination(0.2).among(&[0.5; 10]).exceeding, 0);
        assert_eq!(Threshold::Auto.among(&[]).of, 0);
    }

    #[test]
    fn what_is_outside_is_relative_to_the_quartiles() {
        let mut scores: Vec<f64> = (0..100).map(|i| 0.4 + f64::from(i) / 1_000.0).collect();
        scores.push(0.9);
        let cutoff = Threshold::Auto.among(&scores);
        assert!(cutoff.exceeding == 1 && cutoff.score > 0.54, "{cutoff:?}");
    }

    #[test]
    fn a_row_that_is_as_hard_to_isolate_as_any_is_not_outside() {
        let scores: Vec<f64> = (0..100).map(|i| 0.3 + f64::from(i) / 10_000.0).chain([0.45, 0.6]).collect();
        let cutoff = Threshold::Auto.among(&scores);
        assert_eq!((cutoff.score, cutoff.exceeding), (0.5, 1));
    }
}
