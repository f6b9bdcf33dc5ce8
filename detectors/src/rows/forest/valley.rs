//! The valley between two groups of values, and whether there is one.

use super::cut::between;

/// The part of a sum of squares that a cut must explain for a valley, but for what few values explain
/// by chance: a little more than the 2 / π of a normal distribution.
const VALLEY: f64 = 0.65;
const CHANCE: f64 = 2.0;

/// Where the values, which ascend and differ, are cut: at the valley between two peaks when there is
/// one, else at the given place of their range.
pub(super) fn valley(values: &[f32], place: f32) -> f32 {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return 0.0 };
    let (explained, threshold) = best_cut(values);
    let enough = VALLEY + CHANCE / values.len() as f64;
    if explained < enough { between(first, last, place) } else { threshold }
}

/// The largest part of the values' sum of squares that a cut explains, and the cut.
fn best_cut(values: &[f32]) -> (f64, f32) {
    let (first, last) = (values[0], values[values.len() - 1]);
    // Relative to the range, squares neither overflow nor vanish.
    let (origin, unit) = (f64::from(first), 1.0 / (f64::from(last) - f64::from(first)));
    let relative = |value: f32| (f64::from(value) - origin) * unit;
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| relative(value)).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|&value| (relative(value) - mean) * (relative(value) - mean)).sum();
    let (mut sum, mut best) = (0.0, (0.0, last));
    for (i, pair) in values.windows(2).enumerate() {
        sum += relative(pair[0]) - mean;
        if pair[0] < pair[1] {
            // Between the sides: their means are sum / left and −sum / right from that of all.
            let left = (i + 1) as f64;
            let explained = sum * sum * (1.0 / left + 1.0 / (n - left)) / squares;
            if explained > best.0 {
                best = (explained, between(pair[0], pair[1], 0.5));
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantiles of a distribution in the middles of so many equal parts.
    fn quantiles(count: usize, quantile: impl Fn(f64) -> f64) -> Vec<f32> {
        (0..count).map(|i| quantile((i as f64 + 0.5) / count as f64) as f32).collect()
    }

    #[test]
    fn the_best_cut_explains_what_theory_says() {
        let uniform = quantiles(10_000, |p| p);
        let (explained, cut) = best_cut(&uniform);
        assert!((explained - 0.75).abs() < 1e-3 && (cut - 0.5).abs() < 1e-3, "{explained} {cut}");
        // The sum of twelve uniform numbers is close to normal.
        let mut random = crate::rows::random::Random::new(1);
        let mut normal: Vec<f32> =
            (0..20_000).map(|_| ((0..12).map(|_| random.unit()).sum::<f64>() - 6.0) as f32).collect();
        normal.sort_unstable_by(f32::total_cmp);
        let (explained, cut) = best_cut(&normal);
        assert!(
            (explained - std::f64::consts::FRAC_2_PI).abs() < 0.01 && cut.abs() < 0.1,
            "{explained} {cut}"
        );
        let (explained, cut) = best_cut(&[1.0, 1.0, 4.0]);
        assert!((explained - 1.0).abs() < 1e-12 && cut == 2.5, "{explained} {cut}");
    }

    #[test]
    fn cuts_are_random_unless_there_is_a_valley() {
        let one_peak = quantiles(200, |p| libm::atanh(2.0 * p - 1.0));
        assert_eq!(valley(&one_peak, 0.0), one_peak[199]);
        assert_eq!(valley(&one_peak, 0.5), between(one_peak[0], one_peak[199], 0.5));
        let mut two_peaks = one_peak.clone();
        two_peaks.extend(one_peak.iter().map(|value| value + 100.0));
        let cut = (one_peak[199] + one_peak[0] + 100.0) / 2.0;
        for place in [0.0, 0.3, 0.9] {
            assert!((valley(&two_peaks, place) - cut).abs() < 1e-3);
        }
        // Two values are always two peaks, but no evidence of them.
        assert_eq!(valley(&[0.0, 1.0], 0.25), 0.25);
    }

    #[test]
    fn a_cut_leaves_rows_on_both_sides() {
        let next = 1f32.next_up();
        for values in [vec![1.0, next], vec![0.0, 1.0, next, next], vec![-3e18, 3e18], vec![0.0, 1e-45]] {
            for place in [0.0, 0.5, 0.999_999_94] {
                let cut = valley(&values, place);
                assert!(values[0] < cut && cut <= values[values.len() - 1], "{values:?} {cut}");
            }
        }
    }
}
