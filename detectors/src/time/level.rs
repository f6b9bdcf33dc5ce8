//! A level and its slope, learned from values of unlike precision and forgotten as time goes by.
//!
//! A discounted linear regression (Ameen and Harrison, 1984): value = level + slope · age, where ages are
//! counted back from now and a value's weight is its information times what is kept of it. All that is
//! remembered are the five sums of the weighted normal equations, in coordinates of the time of the newest
//! value. Time is in steps, of whatever length the owner likes, and need not be whole: a gap of fourteen
//! steps moves the level by fourteen slopes, and what was known before it counts as little as fourteen
//! steps take away. So what was not observed is neither a value nor no time at all.
//!
//! The values are on a scale on which effects add up. For counts that is the log scale, where what is not
//! the level's own is taken off before a value is learned and put on when one is expected: the phase of
//! the season, and the logarithm of the exposure, which is the part of a window that was observed.

use crate::contract::valid::{is_number, is_weight};
use serde::{Deserialize, Serialize};

/// What is thought of a level and a slope before anything was seen: that they are 0, with these precisions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Prior {
    /// 1 / variance.
    pub(crate) level: f64,
    /// 1 / variance, of the slope a step.
    pub(crate) slope: f64,
}

/// The weighted normal equations of level and slope, in coordinates of the newest value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Level {
    /// Σ w, Σ w·age, Σ w·age², ages being negative.
    information: [f64; 3],
    /// Σ w·x, Σ w·x·age.
    score: [f64; 2],
}

/// Where a level is thought to be at some time, and how surely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outlook {
    pub(crate) value: f64,
    pub(crate) variance: f64,
}

impl Level {
    pub(crate) fn is_valid(&self) -> bool {
        let Level { information: [sum, first, second], score } = *self;
        is_weight(sum)
            && is_weight(second)
            && sum * second >= first * first * (1.0 - 1e-6)
            && [first, score[0], score[1]].into_iter().all(is_number)
    }

    /// Where the level is so many steps after the newest value, when this share of what was known then
    /// still counts: the solution of the normal equations of then, with their priors. What fades makes
    /// it less sure, but moves it nowhere.
    ///
    /// The determinant is that of now, since moving the origin does not change it: after a long gap it
    /// would be the small difference of large numbers.
    pub(crate) fn outlook(&self, gap: f64, kept: f64, prior: Prior) -> Outlook {
        let ([a, b, c], [x, y]) = (self.information, self.score);
        let Level { information: [_, _, then], .. } = self.ahead(gap);
        let spread = (a * c - b * b).max(0.0);
        let determinant =
            |kept: f64| kept * (kept * spread + prior.slope * a) + prior.level * (kept * then + prior.slope);
        Outlook {
            value: (c * x - b * y + gap * (a * y - b * x) + prior.slope * x) / determinant(1.0),
            variance: (kept * then + prior.slope) / determinant(kept),
        }
    }

    /// Takes in a value with its information, so many steps after the newest, when this share of what
    /// was known is kept.
    pub(crate) fn push(&mut self, gap: f64, kept: f64, value: f64, information: f64) {
        let Level { information: [a, b, c], score: [x, y] } = self.ahead(gap);
        self.information = [kept * a + information, kept * b, kept * c];
        self.score = [kept * x + information * value, kept * y];
    }

    /// The same equations in coordinates of a time so many steps later.
    fn ahead(&self, gap: f64) -> Self {
        let ([a, b, c], [x, y]) = (self.information, self.score);
        Level { information: [a, b - gap * a, c - 2.0 * gap * b + gap * gap * a], score: [x, y - gap * x] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRIOR: Prior = Prior { level: 1e-2, slope: 1e4 };
    const KEPT: f64 = 0.93;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    #[test]
    fn the_outlook_solves_the_weighted_normal_equations() {
        let data = [(3.0, 10.0), (3.2, 20.0), (2.9, 15.0), (3.4, 30.0)];
        let mut level = Level::default();
        data.iter().for_each(|&(x, w)| level.push(1.0, KEPT, x, w));
        // import numpy as np; x = np.array([3, 3.2, 2.9, 3.4])
        // w = np.array([10, 20, 15, 30]) * 0.93 ** np.array([3, 2, 1, 0])
        // X = np.stack([np.ones(4), np.array([-3., -2, -1, 0]) - gap], 1)
        // A = X.T @ (w[:, None] * X) + np.diag([0.01, 1e4])
        // np.linalg.solve(A, X.T @ (w * x)), np.linalg.inv(A)[0, 0]
        for (gap, value, variance) in GAPS {
            let outlook = level.outlook(gap, 1.0, PRIOR);
            assert!(near(outlook.value, value) && near(outlook.variance, variance), "{gap}: {outlook:?}");
        }
    }

    const GAPS: [(f64, f64, f64); 2] =
        [(1.0, 3.204376983466, 0.0148460427464), (14.5, 3.215976372735, 0.0384034716069)];

    #[test]
    fn a_line_goes_on_through_a_gap() {
        let sure = Prior { level: 1e-9, slope: 1e-9 };
        let line = |time: f64| 2.0 + 0.01 * time;
        let mut level = Level::default();
        (0..40).for_each(|i| level.push(1.0, KEPT, line(f64::from(i)), 100.0));
        assert!(near(level.outlook(14.0, 1.0, sure).value, line(53.0)));
        let variance = |gap: f64, kept: f64| level.outlook(gap, kept, PRIOR).variance;
        assert!(variance(1.0, 1.0) < variance(2.0, 1.0) && 2.0 * variance(1.0, 1.0) < variance(14.0, 1.0));
        // Learned after the gap, the line is still the line.
        level.push(14.0, KEPT.powi(14), line(53.0), 100.0);
        assert!(near(level.outlook(1.0, 1.0, sure).value, line(54.0)));
    }

    #[test]
    fn a_level_that_is_all_but_certain_stays_a_number_after_ages() {
        let mut level = Level::default();
        (0..200).for_each(|_| level.push(1.0, KEPT, 27.0, 1e12));
        for gap in [1.0, 1e3, 1e5, 1e7] {
            let Outlook { value, variance } = level.outlook(gap, 1.0, PRIOR);
            assert!(value.is_finite() && variance > 0.0 && variance.is_finite(), "{gap}: {value} {variance}");
        }
        assert!(near(level.outlook(1e3, 1.0, PRIOR).value, 27.0));
        level.push(1e7, 0.0, 5.0, 1.0);
        assert!(
            level.is_valid() && near(level.outlook(1.0, 1.0, PRIOR).value, 5e4 / (1e4 + 1e-2 * 10_001.0))
        );
    }

    #[test]
    fn what_fades_is_less_sure_but_no_other() {
        let mut level = Level::default();
        (0..40).for_each(|i| level.push(1.0, KEPT, 2.0 + f64::from(i % 3), 100.0));
        let faded = {
            let times = |sums: &[f64]| sums.iter().map(|sum| 0.25 * sum).collect::<Vec<_>>();
            let (information, score) = (times(&level.information), times(&level.score));
            Level { information: information.try_into().unwrap(), score: score.try_into().unwrap() }
        };
        let [fresh, later] = [1.0, 0.25].map(|kept| level.outlook(5.0, kept, PRIOR));
        assert_eq!(fresh.value, later.value);
        assert!(later.variance > 3.0 * fresh.variance);
        assert!(near(later.variance, faded.outlook(5.0, 1.0, PRIOR).variance));
        // In the end nothing is known, and the level still is where it was.
        let last = level.outlook(5.0, 0.0, PRIOR);
        assert!(near(last.variance, 1.0 / PRIOR.level) && last.value == fresh.value);
    }

    proptest! {
        /// Time is one: what is skipped in one step is what is skipped in two.
        #[test]
        fn a_gap_is_the_sum_of_its_parts(values in prop::collection::vec((-9.0..9.0f64, 0.1..1e3f64), 1..20), gap in 1.0..50.0f64, share in 0.0..1.0f64) {
            let mut level = Level::default();
            values.iter().for_each(|&(x, w)| level.push(1.0, KEPT, x, w));
            let parts = level.ahead(share * gap).ahead(gap - share * gap).outlook(0.0, 1.0, PRIOR);
            let whole = level.outlook(gap, 1.0, PRIOR);
            prop_assert!((parts.value - whole.value).abs() < 1e-9 && near(parts.variance, whole.variance), "{parts:?} {whole:?}");
        }
    }
}
