//! How severe something is, from 0 to 100.
//!
//! A probability means little to people, and the same one means other things on other clocks: one in a
//! thousand comes every third year by the day and every day by the minute. What means the same
//! everywhere is how often one as small would come in a month if nothing happened:
//!
//! ```text
//! E = p · month / every        how many such p-values a month
//! ```
//!
//! and severity is piecewise linear in −log₁₀ E:
//!
//! | E a month | 30 | 8 | 2 | 0.5 | 0.05 | 10⁻³ | 10⁻⁸ | 10⁻²⁰ |
//! |---|---|---|---|---|---|---|---|---|
//! | severity | 0 | 25 | 50 | 75 | 90 | 96 | 99 | 100 |
//!
//! What comes every day is 0; 25, 50 and 75, where scales of four colours change, are twice a week,
//! every other week and once in two months; 90 is once in twenty months. Beyond that a probability is an
//! extrapolation, and hardly raises it. It is a function of the probability alone, without a memory of
//! what scores there were: it never falls as p falls, it does not drift, and it means the same for every
//! detector whose p-values are what they say. People can be told the number behind it: "about once in
//! twenty months".

use crate::contract::Verdict;
use std::time::Duration;

/// A twelfth of 365.25 days, in seconds.
const MONTH: f64 = 2_629_800.0;

/// How many a month, and how severe that is.
const SCALE: [(f64, f64); 8] = [
    (30.0, 0.0),
    (8.0, 25.0),
    (2.0, 50.0),
    (0.5, 75.0),
    (0.05, 90.0),
    (1e-3, 96.0),
    (1e-8, 99.0),
    (1e-20, 100.0),
];

/// How severe a p-value is, from 0 to 100, where one is told in every such time: 0 where one as small
/// comes every day with nothing wrong, 50 every other week, 75 once in two months, 90 once in twenty. It
/// never falls as the p-value falls.
///
/// ```
/// use peak_detectors::severity;
/// use std::time::Duration;
///
/// let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
/// assert_eq!(severity(1e-3, minute), 0.0); // every day
/// assert!(severity(1e-3, day) > 90.0); // in three years
/// assert!(severity(1e-9, minute) > 96.0);
/// ```
#[must_use]
pub fn severity(p_value: f64, every: Duration) -> f64 {
    let a_month = (p_value * MONTH / every.as_secs_f64()).clamp(1e-20, 30.0);
    let rarer = SCALE.partition_point(|&(often, _)| often > a_month).max(1);
    let [(from, low), (to, high)] = [SCALE[rarer - 1], SCALE[rarer]];
    low + (high - low) * libm::log10(from / a_month) / libm::log10(from / to)
}

impl Verdict {
    /// How severe it is, from 0 to 100, see [`severity`], where one verdict is given in every such time, the
    /// length of a window or the step of a series; `None` without a p-value.
    #[must_use]
    pub fn severity(&self, every: Duration) -> Option<f64> {
        self.p_value.map(|p| severity(p, every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_comes_so_often_is_so_severe() {
        let month = Duration::from_secs(MONTH as u64);
        for (times, as_severe) in [
            (30.0, 0.0),
            (8.0, 25.0),
            (2.0, 50.0),
            (0.5, 75.0),
            (0.05, 90.0),
            (1e-3, 96.0),
            (1e-8, 99.0),
            (1e-20, 100.0),
        ] {
            let told_often = severity(times / 100.0, month / 100);
            assert!((told_often - as_severe).abs() < 1e-6, "{times} a month: {told_often}");
        }
        assert_eq!((severity(1.0, month / 100), severity(0.0, month)), (0.0, 100.0));
    }

    #[test]
    fn without_a_p_value_there_is_no_severity() {
        let verdict = Verdict { score: 9.0, anomalous: true, p_value: None };
        assert_eq!(verdict.severity(Duration::from_secs(60)), None);
        let verdict = Verdict { p_value: Some(1e-300), ..verdict };
        assert_eq!(verdict.severity(Duration::from_secs(60)), Some(100.0));
    }

    proptest! {
        #[test]
        fn a_smaller_p_value_is_never_less_severe(a in 0.0..1.0f64, power in 0..320i32, seconds in 1..10_000_000u64) {
            let every = Duration::from_secs(seconds);
            let smaller = a * 10f64.powi(-power);
            prop_assert!(severity(smaller, every) >= severity(a, every));
            prop_assert!((0.0..=100.0).contains(&severity(smaller, every)));
        }
    }
}
