//! Directions across two features.

use super::columns::{Draw, Sample};
use super::node::{Direction, Second};
use crate::rows::random::{hash, unit};

/// A random direction across two features, each measured in its standard deviation among these rows, and
/// the rows' values in it, ascending. `None` when there is but one feature, when one does not differ, or
/// when nothing differs in the direction.
pub(super) fn pair(sample: &Sample<'_>, rows: &[u32], a: Draw, b: Draw) -> Option<(Direction, Vec<f32>)> {
    if a.feature == b.feature {
        return None;
    }
    let part = |draw: Draw, purpose: u64| {
        let deviation = deviation(&sample.known(Direction::along(draw.feature), rows))?;
        Some((draw.feature as u32, normal(hash(draw.hash, purpose)), deviation))
    };
    let (a, b) = (part(a, FIRST)?, part(b, SECOND)?);
    // The one that has more of it comes first, with a coefficient of 1.
    let (first, second) = if a.1.abs() >= b.1.abs() { (a, b) } else { (b, a) };
    let ratio = second.1 / first.1;
    let coefficient = (ratio * (first.2 / second.2)) as f32;
    if coefficient == 0.0 || !coefficient.is_finite() {
        return None;
    }
    let share = (ratio * ratio / (1.0 + ratio * ratio)) as f32;
    let second = Some(Second { feature: second.0, coefficient, share });
    let direction = Direction { feature: first.0, second };
    let values = sample.known(direction, rows);
    let (low, high) = (*values.first()?, *values.last()?);
    (low < high && (high - low).is_finite()).then_some((direction, values))
}

const FIRST: u64 = 2;
const SECOND: u64 = 3;

/// The standard deviation of ascending values, when they differ.
fn deviation(values: &[f32]) -> Option<f64> {
    if values.first() >= values.last() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let square = |&value: &f32| (f64::from(value) - mean) * (f64::from(value) - mean);
    Some((values.iter().map(square).sum::<f64>() / n).sqrt())
}

/// A number of the standard normal distribution (Box and Muller, 1958).
fn normal(seed: u64) -> f64 {
    let (radius, angle) = (unit(hash(seed, 0)), unit(hash(seed, 1)));
    // The radius is below 1, where the logarithm is finite.
    (-2.0 * libm::log1p(-radius)).sqrt() * libm::cos(std::f64::consts::TAU * angle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_normally_distributed() {
        let numbers: Vec<f64> = (0..20_000).map(normal).collect();
        let mean = |power: i32| numbers.iter().map(|x| x.powi(power)).sum::<f64>() / 20_000.0;
        // Five standard errors: of x 1, of x² √2, of x⁴ √96, each over √20000.
        assert!(mean(1).abs() < 0.036 && (mean(2) - 1.0).abs() < 0.05 && (mean(4) - 3.0).abs() < 0.35);
        assert!(numbers.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn a_deviation_is_that_of_all_values() {
        assert_eq!(deviation(&[1.0, 1.0, 5.0, 5.0]), Some(2.0));
        assert_eq!((deviation(&[3.0, 3.0]), deviation(&[])), (None, None));
        assert!(deviation(&[-3e18, 3e18]).is_some_and(f64::is_finite));
        assert!(deviation(&[0.0, 1e-45]).is_some_and(|deviation| deviation > 0.0));
    }
}
