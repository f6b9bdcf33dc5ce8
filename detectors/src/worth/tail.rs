//! Tail probabilities of known laws.

mod counts;
mod student;

pub(crate) use counts::negative_binomial;
pub(crate) use student::{student, student_quantile};

use std::f64::consts::{PI, SQRT_2};

/// The probabilities of a value at most, and at least, as large as the one seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tails {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Tails {
    /// Nothing strange on either side.
    pub(crate) const NONE: Tails = Tails { low: 1.0, high: 1.0 };

    /// Probabilities stay above 0, so their logarithms are finite.
    fn new(low: f64, high: f64) -> Self {
        Tails { low: low.clamp(LEAST, 1.0), high: high.clamp(LEAST, 1.0) }
    }

    pub(crate) fn least(self) -> f64 {
        self.low.min(self.high)
    }
}

const LEAST: f64 = 1e-300;

/// P(Z ≥ z) of the standard normal.
pub(crate) fn normal(z: f64) -> f64 {
    0.5 * libm::erfc(z / SQRT_2)
}

/// The z with P(Z ≥ z) about `p`, at most ½ (Abramowitz and Stegun, 1964, 26.2.23: to 5·10⁻⁴).
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let t = (-2.0 * libm::log(p.clamp(LEAST, 0.5))).sqrt();
    let above = (0.010_328 * t + 0.802_853) * t + 2.515_517;
    t - above / (((0.001_308 * t + 0.189_269) * t + 1.432_788) * t + 1.0)
}

/// The tails of a logistic with this standard deviation: z is in standard deviations.
pub(crate) fn logistic(z: f64) -> Tails {
    let x = z * PI / 3f64.sqrt();
    Tails::new(1.0 / (1.0 + libm::exp(-x)), 1.0 / (1.0 + libm::exp(x)))
}

#[cfg(test)]
pub(super) fn near(actual: f64, expected: f64, relative: f64) -> bool {
    (actual / expected - 1.0).abs() <= relative
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_continuous_laws_are_those_of_scipy() {
        // scipy.stats.norm.sf(z)
        for (z, p) in
            [(0.0, 0.5), (1.96, 2.499789514822e-02), (10.0, 7.619853024160e-24), (30.0, 4.906713927148e-198)]
        {
            assert!(near(normal(z), p, 1e-9), "{z}");
        }
        // scipy.stats.logistic(scale=3**0.5/pi).sf(z)
        for (z, p) in
            [(0.0, 0.5), (1.0, 1.401795648537e-01), (-2.0, 9.741082670626e-01), (12.0, 3.526333133886e-10)]
        {
            assert!(near(logistic(z).high, p, 1e-9) && near(logistic(-z).low, p, 1e-9), "{z}");
        }
    }
}
