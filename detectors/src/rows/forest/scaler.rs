//! Features as the trees see them: centred and scaled in `f64`, then kept as `f32`.

use ndarray::{ArrayView2, Axis};
use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// A feature's centre, the factor that it is multiplied with, and how it is bent then.
///
/// The centre is the median, so that most of the digits of an `f32` go to where most of the values
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    pub(super) centre: f64,
    pub(super) factor: f64,
    pub(super) curve: Curve,
}

/// What is done to a feature that is centred and scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Curve {
    /// Nothing. The factor is a power of two, which loses no digit: a feature that is scaled by one
    /// gives the same bits.
    Straight,
    /// The signed square root, sign(u) (√(1 + |u|) − 1): straight near the centre, and far out it grows
    /// as √|u|, so that heavy tails do not decide all cuts. The factor is one over a robust standard
    /// deviation, IQR / 1.349; over the standard deviation where the quartiles say nothing.
    Root,
}

/// Scaled values are kept within it, so that differences between any two of them are finite.
const LIMIT: f64 = 1e37;
/// Values so many of their spreads away from the centre keep half of the 24 digits of an `f32`.
const FARTHEST: f64 = 4_096.0;
/// The greatest factor: the values that would need more are nearly all subnormal.
const MOST: f64 = f64::MAX / 1e6;
/// The interquartile range of a normal distribution, in its standard deviations.
const QUARTILES: f64 = 1.349;
/// Quartiles that are nearer to each other than this, in standard deviations, say nothing.
const NEAR: f64 = 1e-3;

impl Curve {
    /// The same bits for one value and for many.
    #[inline(always)]
    pub(super) fn bend(self, value: f32) -> f32 {
        match self {
            Curve::Straight => value,
            // √(1 + |u|) − 1 = |u| / (√(1 + |u|) + 1), without cancellation.
            Curve::Root => value / ((1.0 + value.abs()).sqrt() + 1.0),
        }
    }

    /// Apart from reading them, so that vector instructions do it.
    #[inline(always)]
    fn bend_all(self, values: &mut [f32]) {
        if self != Curve::Straight {
            values.iter_mut().for_each(|value| *value = self.bend(*value));
        }
    }

    fn unbend(self, value: f64) -> f64 {
        match self {
            Curve::Straight => value,
            Curve::Root => value * (2.0 + value.abs()),
        }
    }
}

impl Scale {
    /// Reads the scale off some values of the feature. NaN is left out.
    pub(super) fn of(values: &mut Vec<f64>, curve: Curve) -> Self {
        values.retain(|value| !value.is_nan());
        if values.is_empty() {
            return Scale { centre: 0.0, factor: 1.0, curve };
        }
        let last = values.len() - 1;
        let mut rank = |rank: usize| *values.select_nth_unstable_by(rank, f64::total_cmp).1;
        let centre = rank(last / 2);
        // Where half of the values are the same, the distance of the farthest ones will do.
        let quartiles = rank(last - last / 4) - rank(last / 4);
        let spread = if quartiles > 0.0 { quartiles } else { rank(last) - rank(0) };
        let exponent = if spread > 0.0 && spread.is_finite() { libm::ilogb(spread) } else { 0 };
        let power = libm::ldexp(1.0, -exponent.clamp(-1_000, 1_000));
        let factor = match curve {
            Curve::Straight => power,
            Curve::Root => {
                values.sort_unstable_by(f64::total_cmp);
                let scaled = values.iter().map(|value| ((value - centre) * power).clamp(-LIMIT, LIMIT));
                let deviation = standard_deviation(scaled);
                let quartiles = quartiles * power;
                let unit = if quartiles > NEAR * deviation { quartiles / QUARTILES } else { deviation };
                if unit > 0.0 && unit.is_finite() { (power / unit).min(MOST) } else { power }
            }
        };
        Scale { centre, factor, curve }
    }

    /// That of values which this one does not tell apart any more; `None` where it does, or where they do not
    /// differ.
    pub(super) fn outgrown(self, values: &mut Vec<f64>) -> Option<Self> {
        let fresh = Scale::of(values, self.curve);
        let differ = values.iter().any(|value| *value != values[0]);
        // Where the values lie, and how far they spread, in this scale's units.
        let distance = ((fresh.centre - self.centre) * self.factor).abs();
        let spread = self.factor / fresh.factor;
        let told_apart = distance <= FARTHEST * spread && distance + spread <= LIMIT;
        (differ && !told_apart).then_some(fresh)
    }

    /// As the trees see the value: NaN stays NaN, all else is finite, and the order is kept.
    #[inline(always)]
    pub(super) fn apply(self, value: f64) -> f32 {
        self.curve.bend(self.straight(value))
    }

    /// The value before it is bent.
    #[inline(always)]
    pub(super) fn straight(self, value: f64) -> f32 {
        ((value - self.centre) * self.factor).clamp(-LIMIT, LIMIT) as f32
    }

    /// The value that a tree's threshold stands for: the smallest that [`apply`](Self::apply) does not
    /// put below it, or the largest that it puts below.
    pub(super) fn boundary(self, threshold: f32, side: Boundary) -> f64 {
        let mut value = self.curve.unbend(f64::from(threshold)) / self.factor + self.centre;
        if !value.is_finite() {
            return value;
        }
        let mut step = value.abs().max(self.centre.abs()) * f64::EPSILON;
        let reached = |value: f64| match side {
            Boundary::NotBelow => self.apply(value) >= threshold,
            Boundary::Below => self.apply(value) < threshold,
        };
        while !reached(value) && value.is_finite() {
            let next = match side {
                Boundary::NotBelow => value + step,
                Boundary::Below => value - step,
            };
            value = next;
            step = (2.0 * step).max(f64::MIN_POSITIVE);
        }
        value
    }

    /// # Errors
    /// When no training can have given this scale.
    pub(super) fn check(self) -> Result<()> {
        let positive = self.factor > 0.0 && self.factor.is_finite();
        let exact = self.curve == Curve::Root || libm::frexp(self.factor).0 == 0.5;
        if !(self.centre.is_finite() && positive && exact) {
            let found = format!("{} × {}", self.centre, self.factor);
            let rule = "must be finite, above 0, and a power of two where it is straight";
            return Err(Error::invalid("forest scale", rule, found));
        }
        Ok(())
    }
}

/// What was met among values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Met {
    pub(super) missing: bool,
    pub(super) infinite: bool,
}

/// How many rows are read side by side: what is written is a whole cache line.
const SIDE_BY_SIDE: usize = 16;

/// Writes the rows of a matrix as the trees see them, column by column: the columns begin `stride` apart.
pub(super) fn scale_rows(
    x: ArrayView2<'_, f64>,
    scales: &[Scale],
    columns: &mut [f32],
    stride: usize,
) -> Met {
    let mut met = Met::default();
    for (number, rows) in x.axis_chunks_iter(Axis(0), SIDE_BY_SIDE).enumerate() {
        let start = number * SIDE_BY_SIDE;
        // This reads the memory in its order, which is the fastest.
        met.missing |= rows.fold(false, |any, value| any | value.is_nan());
        met.infinite |= rows.fold(false, |any, value| any | value.is_infinite());
        let columns = columns.chunks_mut(stride).map(|column| &mut column[start..start + rows.nrows()]);
        for (j, (column, scale)) in columns.zip(scales).enumerate() {
            // Rows that lie in one piece, if they do.
            match rows.to_slice() {
                Some(rows) => {
                    for (place, row) in column.iter_mut().zip(rows.chunks_exact(scales.len())) {
                        *place = scale.straight(row[j]);
                    }
                }
                None => {
                    for (place, &value) in column.iter_mut().zip(rows.column(j)) {
                        *place = scale.straight(value);
                    }
                }
            }
            scale.curve.bend_all(column);
        }
    }
    met
}

/// Of all values, divided by their number.
fn standard_deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt()
}

/// On which side of a threshold a value shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    NotBelow,
    Below,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_since_1970_keep_their_differences() {
        let times: Vec<f64> = (0..3_000).map(|i| 1_700_000_000.0 + f64::from(i)).collect();
        for curve in [Curve::Straight, Curve::Root] {
            let scale = Scale::of(&mut times.clone(), curve);
            let scaled: Vec<f32> = times.iter().map(|&time| scale.apply(time)).collect();
            assert!(scaled.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn a_power_of_two_changes_no_bit() {
        let values: Vec<f64> = (0..999).map(|i| libm::sin(f64::from(i)) * 3.7 + 1.0).collect();
        let scaled = |power: f64, curve: Curve| -> Vec<u32> {
            let values: Vec<f64> = values.iter().map(|value| value * power).collect();
            let scale = Scale::of(&mut values.clone(), curve);
            values.iter().map(|&value| scale.apply(value).to_bits()).collect()
        };
        for curve in [Curve::Straight, Curve::Root] {
            assert_eq!(scaled(1.0, curve), scaled(1_024.0, curve));
            assert_eq!(scaled(1.0, curve), scaled(2f64.powi(-300), curve));
        }
    }

    #[test]
    fn far_values_come_nearer_by_the_square_root() {
        let scale = Scale { centre: 10.0, factor: 0.5, curve: Curve::Root };
        let all = [10.0, 16.0, 4.0, 40.0, 10.0 + 2e6];
        let expected = [0.0, 1.0, -1.0, 3.0, 1_000_001f64.sqrt() - 1.0];
        for (value, expected) in all.into_iter().zip(expected) {
            assert!((f64::from(scale.apply(value)) - expected).abs() <= 1e-6 * expected.abs());
        }
    }

    #[test]
    fn the_unit_is_that_of_a_normal_distribution_or_else_the_standard_deviation() {
        let mut normal: Vec<f64> = (0..=100).map(f64::from).collect();
        let scale = Scale::of(&mut normal, Curve::Root);
        assert_eq!((scale.centre, scale.factor), (50.0, 1.349 / 50.0));
        let mut mostly_zero = vec![0.0; 96];
        mostly_zero.extend([10.0; 4]);
        let scale = Scale::of(&mut mostly_zero, Curve::Root);
        let deviation = 10.0 * (0.04f64 * 0.96).sqrt();
        assert!(scale.centre == 0.0 && (scale.factor * deviation - 1.0).abs() < 1e-12);
    }

    #[test]
    fn any_numbers_give_a_scale_that_keeps_them_finite() {
        for values in [
            vec![],
            vec![f64::NAN],
            vec![7.0; 9],
            vec![f64::MAX, f64::MIN],
            vec![0.0, f64::MIN_POSITIVE, 5e-324],
            vec![0.0, 0.0, 0.0, 1e300],
            vec![0.0, 0.0, 5e-324],
        ] {
            for curve in [Curve::Straight, Curve::Root] {
                let scale = Scale::of(&mut values.clone(), curve);
                scale.check().unwrap();
                for &value in values.iter().chain(&[f64::MAX, f64::MIN, 0.0]) {
                    assert!(scale.apply(value).is_finite() || value.is_nan(), "{value} {scale:?}");
                }
            }
        }
    }

    #[test]
    fn a_scale_is_outgrown_when_values_that_differ_are_too_far_away_for_their_spread() {
        let around = |centre: f64, spread: f64| -> Vec<f64> {
            (0..=64).map(|i| centre + spread * (f64::from(i) / 32.0 - 1.0)).collect()
        };
        for curve in [Curve::Straight, Curve::Root] {
            let scale = Scale::of(&mut around(0.0, 1.0), curve);
            let outgrown = |mut values: Vec<f64>| scale.outgrown(&mut values);
            for (centre, spread) in [(0.0, 1.0), (1e3, 1.0), (1e9, 1e7), (0.0, 1e-30), (0.0, 1e30)] {
                assert_eq!(outgrown(around(centre, spread)), None, "{centre} ± {spread}");
            }
            for (centre, spread) in [(1e5, 1.0), (-1e5, 1.0), (1.0, 1e-6), (1e9, 1e3), (0.0, 1e40)] {
                let fresh = Scale::of(&mut around(centre, spread), curve);
                assert_eq!(outgrown(around(centre, spread)), Some(fresh), "{centre} ± {spread}");
            }
            assert_eq!((outgrown(vec![1e9; 9]), outgrown(vec![f64::NAN; 9])), (None, None));
        }
    }

    #[test]
    fn a_boundary_is_on_its_side() {
        for (centre, factor, curve) in [
            (1.7e9, 2f64.powi(-10), Curve::Straight),
            (0.1, 64.0, Curve::Straight),
            (1.7e9, 0.003, Curve::Root),
            (0.0, 70.0, Curve::Root),
        ] {
            let scale = Scale { centre, factor, curve };
            for threshold in [-3.3, -1e-30, 0.0, 0.7, 12_345.678] {
                assert!(scale.apply(scale.boundary(threshold, Boundary::NotBelow)) >= threshold);
                assert!(scale.apply(scale.boundary(threshold, Boundary::Below)) < threshold);
            }
        }
    }
}
