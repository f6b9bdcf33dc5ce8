//! Moments: how many, how much, how spread, the largest.

use crate::{ExactSum, Merge};
use serde::{Deserialize, Serialize};

/// Exact moments of counts: how many there are, their sum, their sum of squares and their maximum.
///
/// Everything is an integer, so merging is exact. Sums saturate at their type's maximum.
///
/// ```
/// use peak_core::CountMoments;
///
/// let moments: CountMoments = [8, 1, 1].into_iter().collect();
/// assert_eq!((moments.n(), moments.sum(), moments.max()), (3, 10, 8));
/// assert_eq!(moments.mean(), Some(10.0 / 3.0));
/// assert_eq!(moments.std(), Some((49.0_f64 / 3.0).sqrt()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CountMoments {
    n: u64,
    sum: u64,
    sum_of_squares: u128,
    max: u64,
}

impl CountMoments {
    /// Moments that were computed elsewhere, by a store that aggregates, say.
    #[must_use]
    pub fn from_parts(n: u64, sum: u64, sum_of_squares: u128, max: u64) -> Self {
        CountMoments { n, sum, sum_of_squares, max }
    }

    /// Takes in one count.
    pub fn push(&mut self, count: u64) {
        self.n = self.n.saturating_add(1);
        self.sum = self.sum.saturating_add(count);
        self.sum_of_squares = self.sum_of_squares.saturating_add(u128::from(count) * u128::from(count));
        self.max = self.max.max(count);
    }

    /// How many counts there are.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The sum of their squares.
    #[must_use]
    pub fn sum_of_squares(&self) -> u128 {
        self.sum_of_squares
    }

    /// The largest count, 0 when there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; `None` when there is no count.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum as f64 / self.n as f64)
    }

    /// The sample variance (divisor n − 1), from the exact integer numerator n·Σx² − (Σx)²; `None`
    /// for fewer than two counts.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        if self.n < 2 {
            return None;
        }
        let (n, square) = (u128::from(self.n), u128::from(self.sum).pow(2));
        let numerator = match n.checked_mul(self.sum_of_squares) {
            Some(product) => product.saturating_sub(square) as f64,
            None => (n as f64 * self.sum_of_squares as f64 - square as f64).max(0.0),
        };
        Some(numerator / (n * (n - 1)) as f64)
    }

    /// The sample standard deviation; `None` for fewer than two counts.
    #[must_use]
    pub fn std(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }
}

impl Merge for CountMoments {
    fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.sum = self.sum.saturating_add(other.sum);
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        self.max = self.max.max(other.max);
    }
}

impl FromIterator<u64> for CountMoments {
    fn from_iter<I: IntoIterator<Item = u64>>(counts: I) -> Self {
        let mut moments = CountMoments::default();
        counts.into_iter().for_each(|count| moments.push(count));
        moments
    }
}

/// Moments of a measure: how many values, their exact sum and sum of squares, smallest and largest.
///
/// The sums are [`ExactSum`]s, so that merging is exact and the order of values does not matter.
///
/// ```
/// use peak_core::Moments;
///
/// let moments: Moments = [1.0, 2.0, 4.5].into_iter().collect();
/// assert_eq!(moments.mean(), Some(2.5));
/// assert_eq!(moments.variance(), Some(3.25));
/// assert_eq!((moments.min(), moments.max()), (Some(1.0), Some(4.5)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Moments {
    n: u64,
    sum: ExactSum,
    sum_of_squares: ExactSum,
    min: Lowest,
    negated_max: Lowest,
}

/// The smallest value so far, by the order of its bits: it makes −0 smaller than 0, so that equal
/// moments have equal bits. The default is larger than every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Lowest(i64);

impl Default for Lowest {
    fn default() -> Self {
        Lowest(i64::MAX)
    }
}

impl Lowest {
    /// The map `f64::total_cmp` compares by; it is its own inverse.
    pub(crate) fn of(x: f64) -> Self {
        Lowest(Self::flip(x.to_bits() as i64))
    }

    pub(crate) fn value(self) -> f64 {
        f64::from_bits(Self::flip(self.0) as u64)
    }

    fn flip(bits: i64) -> i64 {
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    }
}

impl Moments {
    /// The largest magnitude of a value; larger ones count as this one. The sum of the squares of 2⁶⁴
    /// such values is below 10³⁰⁰, so nothing that is derived overflows.
    pub const LARGEST: f64 = 1e140;

    /// Takes in one value. NaN is no value and is left out.
    #[inline]
    pub fn push(&mut self, x: f64) {
        self.push_times(x, 1);
    }

    /// Takes in a value that occurred so many times: the same as that many calls of
    /// [`push`](Self::push), bit for bit.
    ///
    /// ```
    /// use peak_core::Moments;
    ///
    /// let mut moments = Moments::default();
    /// moments.push_times(0.1, 3);
    /// assert_eq!(moments, [0.1, 0.1, 0.1].into_iter().collect());
    /// ```
    #[inline]
    pub fn push_times(&mut self, x: f64, times: u64) {
        if x.is_nan() || times == 0 {
            return;
        }
        let x = x.clamp(-Self::LARGEST, Self::LARGEST);
        self.n = self.n.saturating_add(times);
        self.sum.add_times(x, times);
        self.sum_of_squares.add_product(x, x, times);
        self.min = self.min.min(Lowest::of(x));
        self.negated_max = self.negated_max.min(Lowest::of(-x));
    }

    /// How many values there are.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum.value()
    }

    /// The mean; `None` when there is no value.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum() / self.n as f64)
    }

    /// The sample variance (divisor n − 1); `None` for fewer than two values.
    ///
    /// It is Σ(x − m)² over n − 1, where m is the rounded mean, expanded into Σx² − 2mΣx + nm² and
    /// summed without rounding, so that nothing cancels; less n times the square of m's error.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        if self.n < 2 {
            return None;
        }
        let (n, mean) = (self.n as f64, self.mean()?);
        let (sum, rest) = self.sum.value_and_rest();
        let mut squares = self.sum_of_squares.clone();
        squares.add_product(-2.0 * mean, sum, 1);
        squares.add_product(-2.0 * mean, rest, 1);
        squares.add_product(mean, mean, self.n);
        let mut deviations = self.sum.clone();
        deviations.add_times(-mean, self.n);
        let error = deviations.value() / n;
        Some((squares.value() - n * error * error).max(0.0) / (n - 1.0))
    }

    /// The sample standard deviation; `None` for fewer than two values.
    #[must_use]
    pub fn std(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The smallest value.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        (self.n > 0).then(|| self.min.value())
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        (self.n > 0).then(|| -self.negated_max.value())
    }

    /// The memory that they take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.sum.heap_bytes() + self.sum_of_squares.heap_bytes()
    }

    /// Whether some values have these moments: they lie between smallest and largest, and so do their
    /// sums between what as many of those would have. Nothing is known of how many there are once they
    /// saturate.
    fn are_possible(&self) -> bool {
        if self.n == 0 {
            return *self == Moments::default();
        }
        let (min, max) = (self.min.value(), -self.negated_max.value());
        let is_value = |x: f64| x.abs() <= Self::LARGEST;
        if !is_value(min) || !is_value(max) || self.min > Lowest::of(max) {
            return false;
        }
        if self.n == u64::MAX {
            return self.sum_of_squares.value() >= 0.0;
        }
        let all = |x| {
            let mut all = Moments::default();
            all.push_times(x, self.n);
            all
        };
        let (low, high, zero) = (all(min), all(max), ExactSum::default());
        low.sum <= self.sum
            && self.sum <= high.sum
            && zero <= self.sum_of_squares
            && self.sum_of_squares <= if -min > max { low } else { high }.sum_of_squares
    }
}

/// The stored form of [`Moments`].
#[derive(Deserialize)]
struct Stored {
    n: u64,
    sum: ExactSum,
    sum_of_squares: ExactSum,
    min: Lowest,
    negated_max: Lowest,
}

impl TryFrom<Stored> for Moments {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored { n, sum, sum_of_squares, min, negated_max } = stored;
        let moments = Moments { n, sum, sum_of_squares, min, negated_max };
        if moments.are_possible() { Ok(moments) } else { Err("moments must be those of some values") }
    }
}

impl Merge for Moments {
    fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.sum.merge(&other.sum);
        self.sum_of_squares.merge(&other.sum_of_squares);
        self.min = self.min.min(other.min);
        self.negated_max = self.negated_max.min(other.negated_max);
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Moments::default();
        values.into_iter().for_each(|x| moments.push(x));
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_moments_say_nothing() {
        let (counts, values) = (CountMoments::default(), Moments::default());
        assert_eq!((counts.mean(), counts.std(), counts.max()), (None, None, 0));
        assert_eq!((values.mean(), values.std(), values.min(), values.max()), (None, None, None, None));
        assert_eq!(CountMoments::from_iter([7]).std(), None);
    }

    #[test]
    fn sums_saturate_and_never_wrap() {
        let moments = CountMoments::from_iter([u64::MAX, u64::MAX]);
        assert_eq!((moments.n(), moments.sum(), moments.max()), (2, u64::MAX, u64::MAX));
        assert!(moments.variance().unwrap().is_finite());
    }

    #[test]
    fn variance_survives_a_large_offset() {
        let moments: Moments = [1e15 + 1.0, 1e15 + 2.0, 1e15 + 4.5].into_iter().collect();
        assert_eq!(moments.variance(), Some(3.25));
        let moments: Moments = [1e15, 1e15, 1e15 + 1.0].into_iter().collect();
        assert_eq!(moments.variance(), Some(1.0 / 3.0));
        let moments: Moments = [0.1, 0.1, 0.1].into_iter().collect();
        assert!(moments.variance().unwrap() < 1e-33);
    }

    #[test]
    fn the_largest_values_overflow_nothing() {
        let mut moments = Moments::default();
        for x in [f64::INFINITY, -1e300] {
            moments.push_times(x, u64::MAX / 2);
        }
        assert_eq!((moments.mean(), moments.n()), (Some(0.0), u64::MAX - 1));
        assert!((moments.std().unwrap() / Moments::LARGEST - 1.0).abs() < 1e-15);
        for _ in 0..100 {
            let same = moments.clone();
            moments.merge(&same);
        }
        assert_eq!((moments.n(), moments.sum()), (u64::MAX, 0.0));
        assert_eq!(moments, rmp_serde::from_slice(&rmp_serde::to_vec(&moments).unwrap()).unwrap());
    }

    #[test]
    fn many_equal_values_have_no_spread() {
        for x in [0.1, 1e15 + 1.0, -1e-160, 3e139] {
            let mut moments = Moments::default();
            moments.push_times(x, (1 << 60) + 1);
            assert_eq!(moments.mean(), Some(x));
            assert!(moments.std().unwrap() <= x.abs() * 1e-15, "{x}: {:?}", moments.std());
        }
    }

    #[test]
    fn moments_of_no_values_are_refused() {
        let moments: Moments = [-2.5, 1.0, 4.0].into_iter().collect();
        let sum = |x| moments_of(&[x]).sum;
        let refused = [
            Moments { n: 0, ..moments.clone() },
            Moments { n: 1, ..moments.clone() },
            Moments { min: Lowest::of(5.0), ..moments.clone() },
            Moments { min: Lowest::of(f64::NEG_INFINITY), ..moments.clone() },
            Moments { negated_max: Lowest(i64::MAX), ..moments.clone() },
            Moments { sum: sum(12.5), ..moments.clone() },
            Moments { sum: sum(-7.6), ..moments.clone() },
            Moments { sum_of_squares: sum(-1.0), ..moments.clone() },
            Moments { sum_of_squares: sum(48.1), ..moments.clone() },
            Moments { sum: sum(1.0), ..Moments::default() },
        ];
        for wrong in refused {
            let stored = rmp_serde::to_vec(&wrong).unwrap();
            assert!(rmp_serde::from_slice::<Moments>(&stored).is_err(), "{wrong:?}");
        }
    }

    fn moments_of(values: &[f64]) -> Moments {
        values.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn a_value_many_times_at_once_is_many_values(x in prop_oneof![prop::num::f64::ANY, -1e3..1e3], few in 0..40u64, times: u64) {
            let mut at_once = Moments::default();
            at_once.push_times(x, few);
            prop_assert_eq!(&at_once, &moments_of(&vec![x; few as usize]));
            // Many are twice as many, over and over.
            let (mut doubled, mut one_by_one) = (moments_of(&[x]), Moments::default());
            for bit in 0..u64::BITS {
                if times >> bit & 1 == 1 {
                    one_by_one.merge(&doubled);
                }
                let same = doubled.clone();
                doubled.merge(&same);
            }
            let mut at_once = Moments::default();
            at_once.push_times(x, times);
            prop_assert_eq!(&at_once, &one_by_one);
            let stored = rmp_serde::to_vec(&at_once).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Moments>(&stored).unwrap(), at_once);
        }

        #[test]
        fn stored_moments_load_unchanged(values in prop::collection::vec(prop_oneof![prop::num::f64::ANY, -1e-3..1e3, prop::num::f64::SUBNORMAL], 0..9)) {
            let moments = moments_of(&values);
            let stored = rmp_serde::to_vec(&moments).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Moments>(&stored).unwrap(), moments);
        }

        #[test]
        fn counts_agree_with_the_textbook(counts in prop::collection::vec(0..5_000u64, 2..50)) {
            let n = counts.len() as f64;
            let mean = counts.iter().sum::<u64>() as f64 / n;
            let variance = counts.iter().map(|&c| (c as f64 - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let moments = CountMoments::from_iter(counts.iter().copied());
            prop_assert_eq!(moments.mean(), Some(mean));
            prop_assert!((moments.variance().unwrap() - variance).abs() <= 1e-12 * variance.max(1.0));
            prop_assert_eq!(Some(&moments.max()), counts.iter().max());
        }

        #[test]
        fn values_agree_with_the_textbook(values in prop::collection::vec(-1e6..1e6f64, 2..50)) {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let moments = Moments::from_iter(values.iter().copied());
            prop_assert!((moments.mean().unwrap() - mean).abs() <= 1e-9);
            prop_assert!((moments.variance().unwrap() - variance).abs() <= 1e-9 * variance.max(1.0));
            prop_assert_eq!(moments.min(), values.iter().copied().reduce(f64::min));
            prop_assert_eq!(moments.max(), values.iter().copied().reduce(f64::max));
        }
    }
}
