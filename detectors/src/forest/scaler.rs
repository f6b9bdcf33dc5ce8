//! Features as the trees see them: centred and scaled in `f64`, then kept as `f32`.

use ndarray::ArrayView2;
use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// A feature's centre and the power of two that it is multiplied with.
///
/// The centre is the median, so that most of the digits of an `f32` go to where most of the values
/// are. A power of two loses no digit: a feature that is scaled by one gives the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    pub(super) centre: f64,
    pub(super) factor: f64,
}

/// Scaled values are kept within it, so that differences between any two of them are finite.
const LIMIT: f64 = 1e37;

impl Scale {
    /// Reads the scale off some values of the feature; their order does not matter. NaN is left out.
    pub(super) fn of(values: &mut Vec<f64>) -> Self {
        values.retain(|value| !value.is_nan());
        if values.is_empty() {
            return Scale { centre: 0.0, factor: 1.0 };
        }
        let last = values.len() - 1;
        let mut rank = |rank: usize| *values.select_nth_unstable_by(rank, f64::total_cmp).1;
        let centre = rank(last / 2);
        // Where half of the values are the same, the distance of the farthest ones will do.
        let quartiles = rank(last - last / 4) - rank(last / 4);
        let spread = if quartiles > 0.0 { quartiles } else { rank(last) - rank(0) };
        let exponent = if spread > 0.0 && spread.is_finite() { libm::ilogb(spread) } else { 0 };
        Scale { centre, factor: libm::ldexp(1.0, -exponent.clamp(-1_000, 1_000)) }
    }

    /// As the trees see the value: NaN stays NaN, all else is finite, and the order is kept.
    #[inline(always)]
    pub(super) fn apply(self, value: f64) -> f32 {
        ((value - self.centre) * self.factor).clamp(-LIMIT, LIMIT) as f32
    }

    /// The value that a tree's threshold stands for: the smallest that [`apply`](Self::apply) does not
    /// put below it, or the largest that it puts below.
    pub(super) fn boundary(self, threshold: f32, side: Boundary) -> f64 {
        let mut value = f64::from(threshold) / self.factor + self.centre;
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
        let power = self.factor > 0.0 && self.factor.is_finite() && libm::frexp(self.factor).0 == 0.5;
        if !(self.centre.is_finite() && power) {
            let found = format!("{} × {}", self.centre, self.factor);
            return Err(Error::invalid("forest scale", "must be finite, and a power of two", found));
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

/// How many rows are read side by side: their memory is waited for together, and what is written is a
/// whole cache line.
const SIDE_BY_SIDE: usize = 16;

/// Writes rows of a matrix as the trees see them, column by column: the columns begin `stride` apart.
pub(super) fn scale_rows(
    x: &ArrayView2<'_, f64>,
    mut rows: impl Iterator<Item = usize>,
    scales: &[Scale],
    columns: &mut [f32],
    stride: usize,
) -> Met {
    let (mut met, mut start) = (Met::default(), 0);
    let mut take = |value: f64, scale: &Scale| {
        met.missing |= value.is_nan();
        met.infinite |= value.is_infinite();
        scale.apply(value)
    };
    loop {
        let (mut block, mut count) = ([0; SIDE_BY_SIDE], 0);
        for (place, row) in block.iter_mut().zip(rows.by_ref()) {
            *place = row;
            count += 1;
        }
        let columns = columns.chunks_mut(stride).map(|column| &mut column[start..start + count]);
        // Rows that lie in one piece, if they do.
        let mut slices: [&[f64]; SIDE_BY_SIDE] = [&[]; SIDE_BY_SIDE];
        let whole = slices
            .iter_mut()
            .zip(&block[..count])
            .all(|(slice, &row)| x.row(row).to_slice().map(|found| *slice = found).is_some());
        for (j, (column, scale)) in columns.zip(scales).enumerate() {
            if whole {
                for (place, slice) in column.iter_mut().zip(&slices) {
                    *place = take(slice[j], scale);
                }
            } else {
                for (place, &row) in column.iter_mut().zip(&block) {
                    *place = take(x[[row, j]], scale);
                }
            }
        }
        if count < SIDE_BY_SIDE {
            return met;
        }
        start += count;
    }
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
        let scale = Scale::of(&mut times.clone());
        let scaled: Vec<f32> = times.iter().map(|&time| scale.apply(time)).collect();
        assert!(scaled.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_power_of_two_changes_no_bit() {
        let values: Vec<f64> = (0..999).map(|i| libm::sin(f64::from(i)) * 3.7 + 1.0).collect();
        let scaled = |power: f64| -> Vec<u32> {
            let values: Vec<f64> = values.iter().map(|value| value * power).collect();
            let scale = Scale::of(&mut values.clone());
            values.iter().map(|&value| scale.apply(value).to_bits()).collect()
        };
        assert_eq!(scaled(1.0), scaled(1_024.0));
        assert_eq!(scaled(1.0), scaled(2f64.powi(-300)));
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
        ] {
            let scale = Scale::of(&mut values.clone());
            scale.check().unwrap();
            for value in values.into_iter().chain([f64::MAX, f64::MIN, 0.0]) {
                assert!(scale.apply(value).is_finite() || value.is_nan(), "{value} {scale:?}");
            }
        }
    }

    #[test]
    fn a_boundary_is_on_its_side() {
        for scale in [Scale { centre: 1.7e9, factor: 2f64.powi(-10) }, Scale { centre: 0.1, factor: 64.0 }] {
            for threshold in [-3.3, -1e-30, 0.0, 0.7, 12_345.678] {
                assert!(scale.apply(scale.boundary(threshold, Boundary::NotBelow)) >= threshold);
                assert!(scale.apply(scale.boundary(threshold, Boundary::Below)) < threshold);
            }
        }
    }
}
