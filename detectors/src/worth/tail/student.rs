//! Student's t: its tail, quickly, and its quantiles, exactly.

use super::{LEAST, normal};
use std::f64::consts::{LN_2, PI};

/// P(T ≥ t) of Student's t, by the normalising transformation of Wallace (1959).
pub(crate) fn student(t: f64, freedom: f64) -> f64 {
    let z = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * (freedom * libm::log1p(t * t / freedom)).sqrt();
    normal(z.copysign(t)).clamp(LEAST, 1.0)
}

/// The upper quantile of Student's t: the q with P(T > q) = `probability`, for at least one degree of
/// freedom and a probability below ½.
///
/// Newton's iteration on ln P over ln q. That function is concave and falling, so that from the
/// second step on it approaches the root from one side. P is half a regularised incomplete beta
/// function, by Lentz's continued fraction.
pub(crate) fn student_quantile(probability: f64, freedom: f64) -> f64 {
    let wanted = libm::log(probability);
    let log_scale =
        libm::lgamma((freedom + 1.0) / 2.0) - libm::lgamma(freedom / 2.0) - 0.5 * libm::log(freedom * PI);
    let log_density = |q: f64| log_scale - (freedom + 1.0) / 2.0 * libm::log1p(q * q / freedom);
    let mut q = 2.0f64;
    for _ in 0..60 {
        let log_tail = log_tail(q, freedom, log_scale);
        let slope = -libm::exp(log_density(q) - log_tail) * q;
        let step = ((log_tail - wanted) / slope).clamp(-3.0, 3.0);
        q *= libm::exp(-step);
        if step.abs() < 1e-14 {
            break;
        }
    }
    q
}

/// ln P(T > q), for q > 0.
fn log_tail(q: f64, freedom: f64, log_scale: f64) -> f64 {
    // I(x; a, b) with x = ν/(ν + q²), a = ν/2, b = ½: front factor xᵃ(1 − x)ᵇ / (a B(a, b)).
    let (a, b) = (freedom / 2.0, 0.5);
    let (x, rest) = (freedom / (freedom + q * q), q * q / (freedom + q * q));
    // 1/B(a, ½) = Γ(a + ½)/(Γ(a) √π), and the scale of the density is that over √ν.
    let log_beta = -(log_scale + 0.5 * libm::log(freedom));
    let front =
        |a: f64, x: f64, b: f64, rest: f64| a * libm::log(x) + b * libm::log(rest) - log_beta - libm::log(a);
    if x < (a + 1.0) / (a + b + 2.0) {
        front(a, x, b, rest) + libm::log(fraction(x, a, b)) - LN_2
    } else {
        libm::log(0.5 * (1.0 - libm::exp(front(b, rest, a, x)) * fraction(rest, b, a)))
    }
}

/// The continued fraction of the incomplete beta function.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let keep = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / keep(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = d;
    for m in 1..300 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / keep(1.0 + term * d);
            c = keep(1.0 + term / c);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::near;
    use super::*;

    #[test]
    fn tails_are_those_of_scipy() {
        // scipy.stats.t.sf(t, freedom)
        for (t, freedom, p) in [
            (1.0, 5.0, 1.8160873382e-01),
            (3.365, 5.0, 9.9992362529e-03),
            (2.5, 10.0, 1.5723422118e-02),
            (-1.0, 7.0, 8.2469166859e-01),
            (6.0, 45.0, 1.5611900975e-07),
            (0.0, 5.0, 0.5),
        ] {
            assert!(near(student(t, freedom), p, 0.03), "{t} {freedom}: {}", student(t, freedom));
        }
    }

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy.stats.t.isf(p, freedom)
        for (p, freedom, q) in [
            (0.05 / 6.0, 1.0, 38.18845929702562),
            (0.05 / 2_880.0, 1_438.0, 4.153148190828615),
            (0.05 / 5_760.0, 2_878.0, 4.303651473338113),
            (0.25, 5.0, 0.7266868438004229),
            (0.4, 3.0, 0.27667066233268983),
        ] {
            let ours = student_quantile(p, freedom);
            assert!((ours / q - 1.0).abs() < 1e-11, "{p} {freedom}: {ours}");
        }
    }
}
