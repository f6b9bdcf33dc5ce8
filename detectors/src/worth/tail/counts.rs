//! Tails of counts.
//!
//! Counts are discrete, so their tails are *mid-p*: half the probability of the value itself counts.
//! On average over the null distribution a mid-p is ½, which whole tails are not.
//!
//! The tails of the negative binomial come from the saddlepoint approximation of Lugannani and Rice
//! (1980) in Daniels' form for lattices (1987). With t the saddlepoint, w the signed root of the
//! deviance and σ² the variance at the saddlepoint,
//!
//! ```text
//! P(Y > y) + ½ P(Y = y) ≈ Φ(−w) + φ(w) (1/u − 1/w),   u = 2 σ tanh(t/2)
//! ```
//!
//! where tanh is what averaging the two lattice forms u = σ (1 − e^−t) and u = σ (e^t − 1) gives. It
//! is exact to a few percent for single events and far better for larger counts, out to any tail,
//! and costs the same at 10⁶ records as at 10.

use super::{Tails, normal};
use std::f64::consts::PI;

/// Below this deviance root the correction term is replaced by its limit.
const NEAR: f64 = 1e-5;

/// The mid-p tails of a negative binomial with variance mean + dispersion · mean².
pub(crate) fn negative_binomial(y: f64, mean: f64, dispersion: f64) -> Tails {
    let (mean, alpha) = (mean.max(1e-12), dispersion.max(1e-12));
    if y <= 0.0 {
        let none = libm::exp(-libm::log1p(alpha * mean) / alpha);
        return Tails::new(none / 2.0, 1.0 - none / 2.0);
    }
    let off = y - mean;
    let (of_count, of_sum) = (off / y, alpha * off / (1.0 + alpha * y));
    let saddle = libm::log1p(-of_sum) - libm::log1p(-of_count);
    let deviance = 2.0 * (y * excess(of_count) - (y + 1.0 / alpha) * excess(of_sum));
    let w = deviance.max(0.0).sqrt().copysign(off);
    let correction = if w.abs() < NEAR {
        -(1.0 + 2.0 * alpha * mean) / (6.0 * (mean * (1.0 + alpha * mean)).sqrt())
    } else {
        1.0 / (2.0 * (y * (1.0 + alpha * y)).sqrt() * libm::tanh(saddle / 2.0)) - 1.0 / w
    };
    let shift = libm::exp(-w * w / 2.0) / (2.0 * PI).sqrt() * correction;
    Tails::new(normal(-w) - shift, normal(w) + shift)
}

/// −ln(1 − x) − x, without cancellation: the linear terms of the deviance, which cancel, are left out.
fn excess(x: f64) -> f64 {
    if x.abs() > 0.05 {
        return -libm::log1p(-x) - x;
    }
    // Σ xⁿ/n from n = 2 on.
    (2..12).rev().fold(0.0, |sum, n| x * sum + 1.0 / f64::from(n)) * x * x
}

#[cfg(test)]
mod tests {
    use super::super::near;
    use super::*;
    use proptest::prelude::*;

    /// y, mean, dispersion, low, high: with d = scipy.stats.nbinom(1/a, 1/(1 + a*m)), or
    /// scipy.stats.poisson(m) for a = 0: d.cdf(y) - d.pmf(y)/2, d.sf(y) + d.pmf(y)/2
    const COUNTS: [(f64, f64, f64, f64, f64); 18] = [
        (0.0, 2.0, 0.1, 8.0752791445e-02, 9.1924720856e-01),
        (1.0, 0.1, 0.05, 9.5009090945e-01, 4.9909090546e-02),
        (1.0, 2.0, 0.1, 2.9609356863e-01, 7.0390643137e-01),
        (5.0, 2.0, 0.1, 9.5181537385e-01, 4.8184626145e-02),
        (20.0, 2.0, 0.5, 9.9999201298e-01, 7.9870223999e-06),
        (30.0, 30.0, 0.05, 5.3061191022e-01, 4.6938808978e-01),
        (10.0, 30.0, 0.05, 2.1880523904e-03, 9.9781194761e-01),
        (90.0, 30.0, 0.05, 9.9999970610e-01, 2.9390344199e-07),
        (0.0, 30.0, 0.1, 4.7683715820e-07, 9.9999952316e-01),
        (600.0, 600.0, 0.1, 5.4207142493e-01, 4.5792857507e-01),
        (1500.0, 600.0, 0.1, 9.9975975102e-01, 2.4024897914e-04),
        (1000500.0, 1000000.0, 0.0001, 5.2116466389e-01, 4.7883533611e-01),
        (1010000.0, 1000000.0, 1e-06, 1.0, 8.7033555595e-13),
        (3.0, 3.0, 2.0, 6.8127269807e-01, 3.1872730193e-01),
        (40.0, 3.0, 2.0, 9.9957157269e-01, 4.2842731387e-04),
        (4.0, 4.0, 0.0, 5.3115352777e-01, 4.6884647223e-01),
        (12.0, 4.0, 0.0, 9.9940552701e-01, 5.9447298506e-04),
        (700.0, 600.0, 0.0, 9.9996585668e-01, 3.4143316745e-05),
    ];

    #[test]
    fn tails_of_counts_are_those_of_scipy() {
        for (y, mean, dispersion, low, high) in COUNTS {
            let tails = negative_binomial(y, mean, dispersion);
            let relative = if mean < 10.0 { 0.06 } else { 0.005 };
            assert!(
                near(tails.low, low, relative) && near(tails.high, high, relative),
                "{y} {mean}: {tails:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_larger_count_never_raises_the_upper_tail(count in 0..5_000u32, log_mean in -3.0..14.0f64, log_alpha in -14.0..1.4f64) {
            let (mean, alpha) = (log_mean.exp(), log_alpha.exp());
            for y in [f64::from(count), (mean * f64::from(count) / 2_500.0).floor()] {
                let (here, next) = (negative_binomial(y, mean, alpha), negative_binomial(y + 1.0, mean, alpha));
                // Where both tails are large, the limit in the middle shows.
                let middle = if here.least() > 0.1 { 1e-5 } else { 0.0 };
                prop_assert!(next.high <= here.high * (1.0 + 1e-7) + middle, "{y} {mean} {alpha}: {here:?} {next:?}");
                prop_assert!(next.low >= here.low * (1.0 - 1e-7) - middle, "{y} {mean} {alpha}: {here:?} {next:?}");
            }
        }
    }
}
