//! Quantiles of Student's t.

/// The upper quantile of Student's t: the q with P(T > q) = `probability`, for at least one degree of
/// freedom and a probability below ½.
///
/// Newton's iteration on ln P over ln q. That function is concave and falling, so that from the
/// second step on it approaches the root from one side. P is half a regularised incomplete beta
/// function, by Lentz's continued fraction.
pub(crate) fn upper_quantile(probability: f64, freedom: f64) -> f64 {
    let wanted = probability.ln();
    let log_scale = libm::lgamma((freedom + 1.0) / 2.0)
        - libm::lgamma(freedom / 2.0)
        - 0.5 * (freedom * std::f64::consts::PI).ln();
    let log_density = |q: f64| log_scale - (freedom + 1.0) / 2.0 * (q * q / freedom).ln_1p();
    let mut q = 2.0f64;
    for _ in 0..60 {
        let log_tail = log_tail(q, freedom, log_scale);
        let slope = -(log_density(q) - log_tail).exp() * q;
        let step = ((log_tail - wanted) / slope).clamp(-3.0, 3.0);
        q *= (-step).exp();
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
    let log_beta = -(log_scale + 0.5 * freedom.ln());
    let front = |a: f64, x: f64, b: f64, rest: f64| a * x.ln() + b * rest.ln() - log_beta - a.ln();
    if x < (a + 1.0) / (a + b + 2.0) {
        front(a, x, b, rest) + fraction(x, a, b).ln() - std::f64::consts::LN_2
    } else {
        (0.5 * (1.0 - front(b, rest, a, x).exp() * fraction(rest, b, a))).ln()
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
    use super::*;

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
            let ours = upper_quantile(p, freedom);
            assert!((ours / q - 1.0).abs() < 1e-11, "{p} {freedom}: {ours}");
        }
    }
}
