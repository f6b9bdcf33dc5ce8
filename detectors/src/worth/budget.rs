//! False-alarm budgets.

use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many false alarms a program is willing to see when there is nothing to find.
///
/// ```
/// use peak_detectors::Budget;
///
/// let budget = Budget::per_key_window(0.01)?; // one in a hundred windows of each key
/// assert!(Budget::per_key_window(1.5).is_err());
///
/// // As data, of a file of configuration, say, it is checked on the way in.
/// let read = |text| serde_json::from_str::<Budget>(text);
/// assert_eq!(read(r#"{"per_key_window": 0.01}"#).unwrap(), budget);
/// assert!(read(r#"{"fdr": 2.0}"#).is_err());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kind", into = "Kind")]
pub struct Budget(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    PerKeyWindow(f64),
    PerWindow(f64),
    Fdr(f64),
}

impl TryFrom<Kind> for Budget {
    type Error = Error;
    fn try_from(kind: Kind) -> Result<Self> {
        match kind {
            Kind::PerKeyWindow(probability) => Budget::per_key_window(probability),
            Kind::PerWindow(alarms) => Budget::per_window(alarms),
            Kind::Fdr(share) => Budget::fdr(share),
        }
    }
}

impl From<Budget> for Kind {
    fn from(budget: Budget) -> Self {
        budget.0
    }
}

impl Default for Budget {
    /// One in a hundred windows of each key.
    fn default() -> Self {
        Budget(Kind::PerKeyWindow(0.01))
    }
}

impl Budget {
    /// The most that is ever spent on one window of one key, however large the budget.
    pub const MOST: f64 = 0.05;

    /// The probability of a false alarm in one window of one key.
    ///
    /// # Errors
    /// When it is not above 0 and at most 0.5.
    pub fn per_key_window(probability: f64) -> Result<Self> {
        proportion("budget per key and window", probability).map(|p| Budget(Kind::PerKeyWindow(p)))
    }

    /// The expected number of false alarms in one window of all keys. It is shared evenly among the
    /// keys that are judged, none getting more than [`MOST`](Self::MOST).
    ///
    /// # Errors
    /// When it is not above 0 and finite.
    pub fn per_window(alarms: f64) -> Result<Self> {
        if !(alarms > 0.0 && alarms.is_finite()) {
            return Err(Error::invalid("budget per window", "must be above 0 and finite", alarms));
        }
        Ok(Budget(Kind::PerWindow(alarms)))
    }

    /// The expected share of false alarms among all alarms (Benjamini and Hochberg, 1995), over the
    /// keys of one window. Two fifths of it are kept back, since the p-values that decide are smaller
    /// than those whose worth is well known.
    ///
    /// # Errors
    /// When it is not above 0 and at most 0.5.
    pub fn fdr(share: f64) -> Result<Self> {
        proportion("false-discovery rate", share).map(|q| Budget(Kind::Fdr(q)))
    }

    /// The threshold for these p-values of one window, `keys` being how many keys the table has at
    /// least: a p-value below it is a peak.
    pub(crate) fn threshold(self, p_values: impl Iterator<Item = f64>, keys: usize) -> f64 {
        match self.0 {
            Kind::PerKeyWindow(p) => p,
            Kind::PerWindow(alarms) => (alarms / p_values.count().max(keys).max(1) as f64).min(Self::MOST),
            Kind::Fdr(q) => benjamini_hochberg(p_values.collect(), keys, FDR_SPENT * q),
        }
    }
}

/// The share of a false-discovery rate that is spent.
const FDR_SPENT: f64 = 0.6;

fn proportion(field: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value <= 0.5 {
        Ok(value)
    } else {
        Err(Error::invalid(field, "must be above 0 and at most 0.5", value))
    }
}

/// The smallest number above the largest p₍ₖ₎ ≤ k·q/m, and above q/m, which a p-value alone has to keep to.
fn benjamini_hochberg(mut p_values: Vec<f64>, keys: usize, q: f64) -> f64 {
    p_values.sort_unstable_by(f64::total_cmp);
    let step = q / p_values.len().max(keys).max(1) as f64;
    let passes = |(rank, p): &(usize, &f64)| **p <= (rank + 1) as f64 * step;
    p_values.iter().enumerate().rfind(passes).map_or(step, |(_, p)| p.max(step)).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_that_make_no_sense_cannot_be_made() {
        for wrong in [0.0, -0.1, 0.6, f64::NAN, f64::INFINITY] {
            assert!(Budget::per_key_window(wrong).is_err() && Budget::fdr(wrong).is_err(), "{wrong}");
        }
        assert!(Budget::per_window(0.0).is_err() && Budget::per_window(f64::NAN).is_err());
        let error = Budget::fdr(2.0).unwrap_err().to_string();
        assert_eq!(error, r#"false-discovery rate: must be above 0 and at most 0.5, got "2""#);
    }

    #[test]
    fn a_window_shares_its_budget_among_its_keys() {
        let budget = Budget::per_window(1.0).unwrap();
        assert_eq!(budget.threshold([0.5; 200].into_iter(), 0), 0.005);
        assert_eq!(budget.threshold([0.5; 10].into_iter(), 400), 0.0025);
        assert_eq!(budget.threshold([0.5; 2].into_iter(), 2), Budget::MOST);
    }

    #[test]
    fn false_discoveries_are_limited_as_in_the_original_paper() {
        // Benjamini and Hochberg (1995), section 3.2: of 15 hypotheses, four are rejected at 0.05.
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0000,
        ];
        let threshold = benjamini_hochberg(p_values.into_iter().rev().collect(), 0, 0.05);
        assert_eq!(p_values.iter().filter(|p| **p < threshold).count(), 4);
        // Where none passes, it is what one alone would have to keep to.
        assert_eq!(Budget::fdr(0.05).unwrap().threshold([0.9].into_iter(), 0), (FDR_SPENT * 0.05).next_up());
        // More keys in the table than were judged make it stricter.
        assert_eq!(benjamini_hochberg(p_values.to_vec(), 1_000, 0.05), (0.05f64 / 1_000.0).next_up());
    }
}
