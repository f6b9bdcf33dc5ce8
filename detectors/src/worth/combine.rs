//! Several probabilities of one thing, made one.

use std::f64::consts::PI;

/// How likely the least of n independent p-values is as small as this: 1 − (1 − p)ⁿ (Šidák, 1967).
///
/// Where they depend on one another as scores of the same rows do, so that one is the smaller for the
/// other being small, it errs on the side of caution: then the least is less likely to be small.
pub(crate) fn sidak(least: f64, n: usize) -> f64 {
    // 1 − (1 − p)ⁿ without cancellation.
    -libm::expm1(n as f64 * libm::log1p(-least.clamp(0.0, 1.0)))
}

/// The p-value of the mean of Cauchy variables, tan((½ − p) π), that the p-values are made of (Liu and
/// Xie, 2020, *Cauchy combination test*, Journal of the American Statistical Association 115).
///
/// It is exact for independent p-values, and small results are nearly so however the p-values depend: a mean
/// of Cauchy variables has the tail of one. Of none it is ½.
///
/// A p-value near 1 is a variable near −∞, which would outweigh any evidence of the others. So none counts
/// as more than [`LARGEST`] (Fang, Chang, Park and Tseng, 2023).
pub(crate) fn cauchy(ps: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0u32);
    for p in ps {
        // tan((½ − p) π) = 1 / tan(p π), which keeps the digits of a small p.
        sum += 1.0 / libm::tan(p.clamp(0.0, LARGEST) * PI);
        n += 1;
    }
    // ½ − arctan(t) / π is the angle of (t, 1), which keeps the digits of a large t.
    libm::atan2(1.0, sum / f64::from(n.max(1))) / PI
}

/// A larger p-value counts as this one.
const LARGEST: f64 = 0.99;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worth::tail::normal;

    fn near(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 1e-12
    }

    #[test]
    fn combinations_are_what_their_formulas_say() {
        for (ps, by_sidak, by_cauchy) in [
            (&[0.01, 0.2, 0.5][..], 0.029_701, 0.028_687_703_876_189_02),
            (&[0.5, 0.5], 0.75, 0.5),
            (&[0.03], 0.03, 0.03),
        ] {
            let least = ps.iter().copied().fold(1.0, f64::min);
            assert!(near(sidak(least, ps.len()), by_sidak) && near(cauchy(ps.iter().copied()), by_cauchy));
        }
    }

    #[test]
    fn small_p_values_keep_their_digits() {
        assert!(near(sidak(1e-300, 3), 3e-300) && near(cauchy([1e-300, 0.3, 0.4]), 3e-300));
        assert_eq!((sidak(0.0, 3), cauchy([0.0, 0.5])), (0.0, 0.0));
        assert_eq!((sidak(1.0, 3), cauchy([])), (1.0, 0.5));
        // A member that finds nothing at all does not take back what another found.
        assert!(cauchy([1e-6, 1.0]) < 3e-6);
        assert!((0.98..=1.0).contains(&cauchy([1.0, 1.0])));
    }

    /// How often the combination of three p-values is at most so small when nothing is wrong; they are of
    /// normal variables with this correlation.
    fn shares(correlation: f64, combine: impl Fn(&[f64]) -> f64) -> [f64; 3] {
        let mut state = 7u64;
        // SplitMix64, and two of its numbers for a normal one (Box and Muller, 1958).
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut random = || (-2.0 * libm::log1p(-uniform())).sqrt() * libm::cos(2.0 * PI * uniform());
        let (own, common) = ((1.0 - correlation).sqrt(), correlation.sqrt());
        let mut counts = [0u32; 3];
        for _ in 0..N {
            let shared = common * random();
            let ps = [(); 3].map(|()| normal(own * random() + shared));
            let p = combine(&ps);
            counts.iter_mut().zip(LEVELS).for_each(|(count, level)| *count += u32::from(p <= level));
        }
        let mut shares = counts.map(|count| f64::from(count) / f64::from(N));
        shares.iter_mut().zip(LEVELS).for_each(|(share, level)| *share /= level);
        shares
    }

    const N: u32 = 200_000;
    const LEVELS: [f64; 3] = [0.1, 0.01, 0.001];
    /// Five standard errors of a share of that size, relative to it.
    const BANDS: [f64; 3] = [0.034, 0.112, 0.36];

    fn least(ps: &[f64]) -> f64 {
        sidak(ps.iter().copied().fold(1.0, f64::min), ps.len())
    }

    #[test]
    fn combined_p_values_are_small_as_seldom_as_they_say() {
        let mean = |ps: &[f64]| cauchy(ps.iter().copied());
        // Independent: both are exact.
        for shares in [shares(0.0, least), shares(0.0, mean)] {
            for (share, band) in shares.into_iter().zip(BANDS) {
                assert!((share - 1.0).abs() < band, "{shares:?}");
            }
        }
        // The more they agree, the more cautious is the least; the mean is exact where it is small.
        for correlation in [0.5, 0.9, 1.0] {
            let (by_least, by_mean) = (shares(correlation, least), shares(correlation, mean));
            for ((least, mean), band) in by_least.into_iter().zip(by_mean).zip(BANDS) {
                assert!(least < 1.0 + band, "{correlation} {by_least:?}");
                assert!(mean < 1.2 + band && mean > least, "{correlation} {by_mean:?}");
            }
            assert!((by_mean[2] - 1.0).abs() < 0.15 + BANDS[2], "{correlation} {by_mean:?}");
        }
        assert!(shares(1.0, least)[1] < 0.4);
    }
}
