//! Quantiles of a measure, from exact counts of values that are nearly equal.

use crate::Merge;
use crate::moments::Lowest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the values of a measure are distributed: how many lie in each of many narrow bins.
///
/// A bin holds the values that have sign, exponent and the first six bits of the mantissa in common: an
/// octave has 64 bins of equal width, so a bin is at most 1/64 as wide as its values are large. Counts
/// are integers, so merging is exact, and the bits of a value alone say where it belongs: it is the same
/// on every platform.
///
/// A [quantile](Self::quantile) is told as the middle of the bin in which it lies. It is thus at most
/// 1/128 of its size away from the value that has this rank. (Bins of a constant ratio of their ends,
/// as in DDSketch of Masson, Rim and Lee, 2019, would need a logarithm.)
/// Values smaller than the smallest normal number, 2⁻¹⁰²², count as zero. The smallest and the largest
/// value are exact.
///
/// Memory grows with the number of bins that are not empty, some 30 bytes each: 64 for values within a
/// factor of two, about 640 within a factor of 1000.
///
/// ```
/// use peak_core::Quantiles;
///
/// let latencies: Quantiles = (1..=1000).map(f64::from).collect();
/// let median = latencies.quantile(0.5).unwrap();
/// assert!((median / 500.0 - 1.0).abs() <= Quantiles::RELATIVE_ERROR);
/// assert_eq!((latencies.quantile(0.0), latencies.quantile(1.0)), (Some(1.0), Some(1000.0)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Quantiles {
    n: u64,
    min: Lowest,
    negated_max: Lowest,
    /// Values per bin; none is 0.
    bins: BTreeMap<i32, u64>,
}

/// So many bits of a value do not choose its bin.
const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - 6;

/// The bin of a number. Bins order as their values do; zero has the bin 0.
fn bin(x: f64) -> i32 {
    let magnitude = x.abs();
    if magnitude < f64::MIN_POSITIVE {
        return 0;
    }
    let bin = (magnitude.to_bits() >> DROPPED_BITS) as i32;
    if x < 0.0 { -bin } else { bin }
}

/// The middle of a bin.
fn middle(bin: i32) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let low = u64::from(bin.unsigned_abs()) << DROPPED_BITS;
    let middle = f64::from_bits(low | 1 << (DROPPED_BITS - 1));
    if bin < 0 { -middle } else { middle }
}

impl Quantiles {
    /// How far a quantile may be from the value of its rank, as a share of that value: half the width of
    /// a bin over its smaller end, 2⁻⁷ at most.
    pub const RELATIVE_ERROR: f64 = 1.0 / 128.0;

    /// What the tree takes, at most: a node of 144 bytes, or 240 within, has room for 11 bins, and all
    /// but the first have at least 5.
    const BYTES_PER_TREE: usize = 144;
    const BYTES_PER_BIN: usize = 36;

    /// Takes in one value. NaN is no value and is left out; infinities count as the largest finite
    /// numbers.
    pub fn push(&mut self, x: f64) {
        self.push_times(x, 1);
    }

    /// Takes in a value that occurred so many times. Counts saturate.
    pub fn push_times(&mut self, x: f64, times: u64) {
        if x.is_nan() || times == 0 {
            return;
        }
        let x = x.clamp(f64::MIN, f64::MAX);
        self.n = self.n.saturating_add(times);
        self.min = self.min.min(Lowest::of(x));
        self.negated_max = self.negated_max.min(Lowest::of(-x));
        let count = self.bins.entry(bin(x)).or_default();
        *count = count.saturating_add(times);
    }

    /// How many values there are.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The smallest value, exactly.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        (self.n > 0).then(|| self.min.value())
    }

    /// The largest value, exactly.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        (self.n > 0).then(|| -self.negated_max.value())
    }

    /// The value that a share `q` of all values does not exceed: of n values in order, about the ⌈q·n⌉-th,
    /// [nearly](Self::RELATIVE_ERROR). The smallest for 0, the largest for 1, and never outside of
    /// these. `None` when there is no value, or `q` is not from 0 to 1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (min, max) = (self.min()?, self.max()?);
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let rank = ((q * self.n as f64).ceil() as u64).clamp(1, self.n);
        if rank == 1 {
            return Some(min);
        }
        if rank == self.n {
            return Some(max);
        }
        let mut seen = 0u64;
        let reaches = |&(_, &count): &(&i32, &u64)| {
            seen = seen.saturating_add(count);
            seen >= rank
        };
        let middle = self.bins.iter().find(reaches).map_or(max, |(&bin, _)| middle(bin));
        Some(middle.clamp(min, max))
    }

    /// The share of the values that are below `x`. Values which are within 1/64 of `x` may count as
    /// above; none that is above counts as below. `None` when there is no value, or `x` is none.
    #[must_use]
    pub fn share_below(&self, x: f64) -> Option<f64> {
        let (min, max) = (self.min()?, self.max()?);
        if x.is_nan() {
            return None;
        }
        if x <= min {
            return Some(0.0);
        }
        if x > max {
            return Some(1.0);
        }
        let below = self.bins.range(..bin(x)).fold(0, |sum: u64, (_, &count)| sum.saturating_add(count));
        Some(below as f64 / self.n as f64)
    }

    /// The memory that they take, in bytes, at most: what the tree takes in truth is not told.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let tree = if self.bins.is_empty() { 0 } else { Self::BYTES_PER_TREE };
        size_of::<Self>() + tree + Self::BYTES_PER_BIN * self.bins.len()
    }
}

impl Merge for Quantiles {
    fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.min = self.min.min(other.min);
        self.negated_max = self.negated_max.min(other.negated_max);
        for (&bin, &more) in &other.bins {
            let count = self.bins.entry(bin).or_default();
            *count = count.saturating_add(more);
        }
    }
}

impl FromIterator<f64> for Quantiles {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut quantiles = Quantiles::default();
        values.into_iter().for_each(|x| quantiles.push(x));
        quantiles
    }
}

/// The stored form: the smallest and the largest value, and the bins in order.
#[derive(Serialize, Deserialize)]
struct Stored {
    extremes: Option<(f64, f64)>,
    bins: Vec<(i32, u64)>,
}

impl From<Quantiles> for Stored {
    fn from(quantiles: Quantiles) -> Self {
        let extremes = quantiles.min().zip(quantiles.max());
        Stored { extremes, bins: quantiles.bins.into_iter().collect() }
    }
}

impl TryFrom<Stored> for Quantiles {
    type Error = &'static str;

    fn try_from(Stored { extremes, bins }: Stored) -> Result<Self, Self::Error> {
        let ends = bins.first().zip(bins.last()).map(|(first, last)| (first.0, last.0));
        let is_in_order = bins.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let are_counted = bins.iter().all(|&(_, count)| count > 0);
        let (least, most) = (bin(f64::MIN_POSITIVE), bin(f64::MAX));
        let is_bin = |bin: i32| bin == 0 || (least..=most).contains(&bin.saturating_abs());
        if !is_in_order || !are_counted || !bins.iter().all(|&(bin, _)| is_bin(bin)) {
            return Err("bins must be those of numbers, in order, and none empty");
        }
        let Some((min, max)) = extremes else {
            return if bins.is_empty() { Ok(Quantiles::default()) } else { Err("bins without extremes") };
        };
        let (low, high) = (Lowest::of(min), Lowest::of(max));
        let fits = min.is_finite() && max.is_finite() && low <= high && ends == Some((bin(min), bin(max)));
        if !fits {
            return Err("the extremes must lie in the first and the last bin");
        }
        let n = bins.iter().fold(0u64, |n, &(_, count)| n.saturating_add(count));
        if n == 1 && low != high {
            return Err("one value must be smallest and largest");
        }
        Ok(Quantiles { n, min: low, negated_max: Lowest::of(-max), bins: bins.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            prop::num::f64::ANY,
            prop::num::f64::SUBNORMAL,
            -1e3..1e3,
            (-9i32..9).prop_map(f64::from),
            0.9..1.1,
            Just(-0.0),
        ];
        prop::collection::vec(value, 0..60)
    }

    fn is_near(estimate: f64, truth: f64) -> bool {
        (estimate - truth).abs() <= (truth.abs() * Quantiles::RELATIVE_ERROR).max(f64::MIN_POSITIVE)
    }

    #[test]
    fn nothing_has_no_quantiles() {
        let nothing = Quantiles::from_iter([f64::NAN]);
        assert_eq!(nothing, Quantiles::default());
        assert_eq!((nothing.quantile(0.5), nothing.share_below(1.0), nothing.n()), (None, None, 0));
        let one = Quantiles::from_iter([7.0]);
        assert_eq!((one.quantile(0.5), one.quantile(-0.1), one.quantile(f64::NAN)), (Some(7.0), None, None));
    }

    #[test]
    fn bins_are_those_of_the_bits() {
        assert_eq!([0.0, -0.0, f64::from_bits(1), 1.0, -1.0].map(bin), [0, 0, 0, 0xffc0, -0xffc0]);
        assert_eq!(
            (middle(0xffc0), middle(-0xffc0), middle(0)),
            (1.0 + 1.0 / 128.0, -1.0 - 1.0 / 128.0, 0.0)
        );
        let infinite = Quantiles::from_iter([f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!((infinite.min(), infinite.max()), (Some(f64::MIN), Some(f64::MAX)));
    }

    #[test]
    fn narrow_values_take_little_memory() {
        let narrow: Quantiles = (0..100_000).map(|i| 1.0 + f64::from(i) / 100_000.0).collect();
        assert_eq!(narrow.bins.len(), 64);
        assert!(narrow.memory_bytes() < 2_600);
        assert!(Quantiles::from_iter([3.0]).memory_bytes() < 250);
    }

    #[test]
    fn counts_saturate() {
        let mut quantiles = Quantiles::default();
        for x in [1.0, 2.0, 3.0, 3.0] {
            quantiles.push_times(x, u64::MAX / 2);
        }
        assert_eq!((quantiles.n(), quantiles.quantile(0.9)), (u64::MAX, Some(2.0 + 1.0 / 64.0)));
        let stored = rmp_serde::to_vec(&quantiles).unwrap();
        assert_eq!(rmp_serde::from_slice::<Quantiles>(&stored).unwrap(), quantiles);
    }

    #[test]
    fn quantiles_of_no_values_are_refused() {
        let extremes = Some((1.0, 4.0));
        let (one, four) = (bin(1.0), bin(4.0));
        assert!(Quantiles::try_from(Stored { extremes, bins: vec![(one, 1), (four, 2)] }).is_ok());
        for (extremes, bins) in [
            (None, vec![(one, 1)]),
            (extremes, vec![]),
            (extremes, vec![(four, 1), (one, 1)]),
            (extremes, vec![(one, 1), (one, 1), (four, 1)]),
            (extremes, vec![(one, 1), (one + 1, 0), (four, 1)]),
            (extremes, vec![(one, 1), (four + 1, 1)]),
            (extremes, vec![(one - 1, 1), (four, 1)]),
            (Some((f64::NAN, 1.0)), vec![(one, 1)]),
            (Some((0.0, f64::INFINITY)), vec![(0, 1), (bin(f64::INFINITY), 1)]),
            (Some((0.0, 1.0)), vec![(0, 1), (5, 1), (one, 1)]),
            (Some((1.001, 1.0)), vec![(one, 2)]),
            (Some((1.0, 1.001)), vec![(one, 1)]),
            (Some((-1.0, 1.0)), vec![(i32::MIN, 1), (one, 1)]),
        ] {
            assert!(
                Quantiles::try_from(Stored { extremes, bins: bins.clone() }).is_err(),
                "{extremes:?} {bins:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_as_near_as_they_say(mut values in values(), q in 0.0..=1.0f64, x in prop_oneof![any::<f64>(), -9.0..9.0]) {
            let quantiles = Quantiles::from_iter(values.iter().copied());
            values.retain(|x| !x.is_nan());
            values.iter_mut().for_each(|x| *x = x.clamp(f64::MIN, f64::MAX));
            values.sort_by(f64::total_cmp);
            let n = values.len();
            prop_assert_eq!(quantiles.n(), n as u64);
            prop_assert_eq!(quantiles.quantile(q).is_some(), n > 0);
            if let Some(estimate) = quantiles.quantile(q) {
                let rank = ((q * n as f64).ceil() as usize).clamp(1, n);
                prop_assert!(is_near(estimate, values[rank - 1]), "{estimate} {}", values[rank - 1]);
                prop_assert!((values[0]..=values[n - 1]).contains(&estimate));
                prop_assert_eq!((quantiles.quantile(0.0), quantiles.quantile(1.0)), (Some(values[0]), Some(values[n - 1])));

                let below = |x: f64| values.iter().filter(|&&value| value < x).count() as f64 / n as f64;
                let share = quantiles.share_below(x).unwrap();
                let margin = (x.abs() / 64.0).max(2.0 * f64::MIN_POSITIVE);
                prop_assert!(below(x - margin) <= share && share <= below(x), "{share} {x}");
            }
        }

        #[test]
        fn parts_in_any_order_make_the_whole(mut values in values(), cut in 0..60usize, times in 0..5u64) {
            let whole = Quantiles::from_iter(values.iter().copied());
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = Quantiles::from_iter(right.iter().copied());
            merged.merge(&Quantiles::from_iter(left.iter().copied()));
            prop_assert_eq!(&merged, &whole);
            values.reverse();
            let (mut at_once, mut one_by_one) = (Quantiles::default(), Quantiles::default());
            for &x in &values {
                at_once.push_times(x, times);
                (0..times).for_each(|_| one_by_one.push(x));
            }
            prop_assert_eq!(at_once, one_by_one);
            let stored = rmp_serde::to_vec(&whole).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Quantiles>(&stored).unwrap(), whole);
        }

        #[test]
        fn damaged_quantiles_are_refused_or_whole(values in values(), at: prop::sample::Index, byte: u8) {
            let mut stored = rmp_serde::to_vec(&Quantiles::from_iter(values)).unwrap();
            let at = at.index(stored.len());
            stored[at] = byte;
            if let Ok(loaded) = rmp_serde::from_slice::<Quantiles>(&stored) {
                let stored = rmp_serde::to_vec(&loaded).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<Quantiles>(&stored).unwrap(), &loaded);
                for q in [0.0, 0.3, 1.0] {
                    let value = loaded.quantile(q);
                    prop_assert!(value.is_none_or(|x| Some(x) >= loaded.min() && Some(x) <= loaded.max()));
                    prop_assert_eq!(value.is_some(), loaded.n() > 0);
                }
            }
        }
    }
}
