//! Sums of floating-point numbers without rounding, so that order and grouping do not matter.

use crate::Merge;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::cmp::Ordering;

/// The exact sum of finite `f64`s.
///
/// Ordinary floating-point sums depend on the order of addition, so tables built on different
/// shards would differ in the last digits. This sum is a fixed-point number wide enough for what it
/// has seen (a small superaccumulator, after Kulisch; see R. M. Neal, "Fast exact summation using
/// small and large superaccumulators", 2015): adding is exact, and equal sums are equal values.
///
/// ```
/// use peak_core::ExactSum;
///
/// let mut sum = ExactSum::default();
/// for x in [1e100, 1.0, -1e100] {
///     sum.add(x);
/// }
/// assert_eq!(sum.value(), 1.0); // a plain sum gives 0
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Digits", into = "Digits")]
pub struct ExactSum {
    /// Position of the lowest digit: digit `i` weighs 2^(32·(low + i) − 1074).
    low: usize,
    /// Digits to the base 2³², lowest first. Canonical: every digit lies between −2³² and 2³² and has
    /// the sign of the sum or is zero, and neither end is zero.
    digits: SmallVec<[i64; 4]>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Digits(u16, Vec<i64>);

impl TryFrom<Digits> for ExactSum {
    type Error = &'static str;

    fn try_from(Digits(low, digits): Digits) -> Result<Self, Self::Error> {
        let low = usize::from(low);
        if low + digits.len() > MOST_DIGITS {
            return Err("a sum must be of finite numbers");
        }
        let stored = ExactSum { low, digits: digits.into() };
        let mut sum = stored.clone();
        sum.normalise();
        if sum != stored {
            return Err("the digits of a sum must be canonical");
        }
        Ok(sum)
    }
}

impl From<ExactSum> for Digits {
    fn from(sum: ExactSum) -> Self {
        Digits(u16::try_from(sum.low).unwrap_or(u16::MAX), sum.digits.into_vec())
    }
}

const BITS: usize = 32;
const BASE: i64 = 1 << BITS;
/// The exponent of the smallest positive `f64`, negated.
const BIAS: usize = 1074;
/// No stored sum has more. The largest `f64`, 2⁶⁴ times over, reaches up to the 68th.
const MOST_DIGITS: usize = 128;

impl ExactSum {
    /// Adds a number. Infinities and NaN have no place in a sum and are left out.
    pub fn add(&mut self, x: f64) {
        self.add_times(x, 1);
    }

    /// Adds a number so many times at once, without rounding either.
    ///
    /// ```
    /// use peak_core::ExactSum;
    ///
    /// let mut sum = ExactSum::default();
    /// sum.add_times(0.1, 10);
    /// assert_eq!(sum.value(), 1.0);
    /// ```
    #[inline]
    pub fn add_times(&mut self, x: f64, times: u64) {
        if x == 0.0 || !x.is_finite() || times == 0 {
            return;
        }
        let (mantissa, position) = decode(x);
        if times == 1 {
            self.put(x < 0.0, mantissa, position);
        } else {
            let product = u128::from(mantissa) * u128::from(times);
            self.put(x < 0.0, product as u64, position);
            self.put(x < 0.0, (product >> 64) as u64, position + 64);
        }
        self.normalise();
    }

    /// Adds `bits` · 2^`position` to the digits, or subtracts it. They are not canonical then.
    #[inline]
    fn put(&mut self, subtract: bool, bits: u64, position: usize) {
        let (index, shift) = (position / BITS, position % BITS);
        self.reserve(index, index + 3);
        let at = index - self.low;
        let wide = u128::from(bits) << shift;
        for (i, digit) in self.digits[at..at + 3].iter_mut().enumerate() {
            let part = i64::from((wide >> (BITS * i)) as u32);
            *digit += if subtract { -part } else { part };
        }
    }

    /// The sum, rounded once to the nearest `f64`.
    #[must_use]
    pub fn value(&self) -> f64 {
        let n = self.digits.len();
        let head = (0..4).fold(0u128, |head, i| {
            let digit = n.checked_sub(1 + i).map_or(0, |at| self.digits[at]);
            (head << BITS) | u128::from(digit.unsigned_abs())
        });
        // Digits below the head only matter for ties: one sticky bit stands for them all.
        let sticky = self.digits[..n.saturating_sub(4)].iter().any(|&digit| digit != 0);
        let position = (self.low + n) as i64 * BITS as i64 - 4 * BITS as i64;
        let magnitude = scale(head | u128::from(sticky), position - BIAS as i64);
        if self.digits.last().is_some_and(|&top| top < 0) { -magnitude } else { magnitude }
    }

    /// The sum as an unevaluated pair: its rounded value and the rounded rest.
    #[must_use]
    pub fn value_and_rest(&self) -> (f64, f64) {
        let value = self.value();
        let mut rest = self.clone();
        rest.add(-value);
        (value, rest.value())
    }

    /// Adds `a · b` so many times without rounding (barring underflow).
    #[inline]
    pub(crate) fn add_product(&mut self, a: f64, b: f64, times: u64) {
        let product = a * b;
        self.add_times(product, times);
        self.add_times(a.mul_add(b, -product), times);
    }

    /// The memory that it takes beside itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.digits.spilled() { size_of::<i64>() * self.digits.capacity() } else { 0 }
    }

    /// Makes room for digits at positions `from..to`.
    fn reserve(&mut self, from: usize, to: usize) {
        if self.digits.is_empty() {
            self.low = from;
        } else if from < self.low {
            self.digits.insert_many(0, std::iter::repeat_n(0, self.low - from));
            self.low = from;
        }
        if self.low + self.digits.len() < to {
            self.digits.resize(to - self.low, 0);
        }
    }

    /// Makes the digits canonical: carries, gives all digits one sign, and drops zeros at the ends.
    fn normalise(&mut self) {
        let mut carry = 0i64;
        for digit in &mut self.digits {
            let sum = digit.saturating_add(carry);
            carry = sum / BASE;
            *digit = sum % BASE;
        }
        if carry != 0 {
            self.digits.push(carry);
        }
        self.drop_top_zeros();
        let sign = self.digits.last().map_or(0, |top| top.signum());
        for i in 1..self.digits.len() {
            if self.digits[i - 1].signum() == -sign {
                self.digits[i - 1] += sign * BASE;
                self.digits[i] -= sign;
            }
        }
        self.drop_top_zeros();
        let zeros = self.digits.iter().take_while(|&&digit| digit == 0).count();
        self.digits.drain(..zeros);
        self.low = if self.digits.is_empty() { 0 } else { self.low + zeros };
    }

    fn drop_top_zeros(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
    }
}

/// Mantissa and position of the lowest bit (0 = 2^−1074) of a finite number other than zero.
fn decode(x: f64) -> (u64, usize) {
    let bits = x.to_bits();
    let (exponent, fraction) = ((bits >> 52 & 0x7ff) as usize, bits & ((1 << 52) - 1));
    if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) }
}

/// `head · 2^exponent`, rounded once, ties to even; too large gives infinity.
fn scale(head: u128, exponent: i64) -> f64 {
    if head == 0 {
        return 0.0;
    }
    // Keep 53 bits, or fewer where the result is subnormal.
    let length = i64::from(u128::BITS - head.leading_zeros());
    let drop = (length - 53).max(-(BIAS as i64) - exponent).max(0);
    let (kept, half) = if drop >= 128 { (0, 0) } else { (head >> drop, 1u128 << drop >> 1) };
    let below = if drop >= 128 { head } else { head & ((1u128 << drop) - 1) };
    let up = below > half || (below == half && half != 0 && kept & 1 == 1);
    let kept = (kept + u128::from(up)) as u64;
    let power = exponent + drop;
    if power + i64::from(kept.max(1).ilog2()) > 1023 {
        return f64::INFINITY;
    }
    // Two exact steps reach every power of two from subnormal to largest.
    let half_power = power / 2;
    kept as f64 * exp2(half_power) * exp2(power - half_power)
}

fn exp2(power: i64) -> f64 {
    f64::from_bits(((power + 1023).clamp(1, 2046) as u64) << 52)
}

/// By value, exactly.
impl Ord for ExactSum {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut difference = self.clone();
        let other_negated =
            ExactSum { low: other.low, digits: other.digits.iter().map(|digit| -digit).collect() };
        difference.merge(&other_negated);
        difference.digits.last().map_or(0, |top| top.signum()).cmp(&0)
    }
}

impl PartialOrd for ExactSum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge for ExactSum {
    fn merge(&mut self, other: &Self) {
        if other.digits.is_empty() {
            return;
        }
        self.reserve(other.low, other.low + other.digits.len());
        let at = other.low - self.low;
        for (digit, add) in self.digits[at..].iter_mut().zip(&other.digits) {
            *digit += add;
        }
        self.normalise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(numbers: impl IntoIterator<Item = f64>) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.into_iter().for_each(|x| sum.add(x));
        sum
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![
            prop::num::f64::NORMAL,
            prop::num::f64::SUBNORMAL,
            -1e3..1e3,
            (-9i32..9).prop_map(f64::from)
        ]
    }

    #[test]
    fn known_sums_are_rounded_once() {
        assert_eq!(sum([0.1; 10]).value(), 1.0);
        assert_eq!(sum([1e16, 1.0, 1.0]).value(), 1e16 + 2.0);
        // 2^53 + 1 is a tie: to even, unless something below breaks it.
        let tie = [9_007_199_254_740_992.0, 1.0];
        assert_eq!(sum(tie).value(), 9_007_199_254_740_992.0);
        assert_eq!(sum(tie.into_iter().chain([1e-300])).value(), 9_007_199_254_740_994.0);
        assert_eq!(sum([f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum([f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert_eq!(sum([f64::NAN, f64::INFINITY, 2.0]).value(), 2.0);
    }

    #[test]
    fn small_numbers_keep_their_last_bit() {
        let tiny = f64::from_bits(1);
        assert_eq!(sum([tiny]).value(), tiny);
        assert_eq!(sum([tiny, tiny, tiny]).value(), f64::from_bits(3));
        assert_eq!(sum([f64::MIN_POSITIVE, -tiny]).value(), f64::from_bits((1 << 52) - 1));
    }

    proptest! {
        #[test]
        fn one_number_sums_to_itself(x in finite()) {
            prop_assert_eq!(sum([x]).value(), x);
            prop_assert_eq!(sum([x, -x]), ExactSum::default());
        }

        #[test]
        fn two_numbers_round_like_the_machine(a in finite(), b in finite()) {
            prop_assert_eq!(sum([a, b]).value(), a + b);
        }

        #[test]
        fn sums_compare_as_their_values(a in finite(), b in finite()) {
            prop_assert_eq!(Some(sum([a]).cmp(&sum([b]))), a.partial_cmp(&b));
            prop_assert!(sum([a, 1e-300]) > sum([a]));
        }

        #[test]
        fn order_and_grouping_do_not_matter(mut numbers in prop::collection::vec(finite(), 0..40), split in 0..40usize) {
            let whole = sum(numbers.iter().copied());
            let (left, right) = numbers.split_at(split.min(numbers.len()));
            let mut merged = sum(left.iter().copied());
            merged.merge(&sum(right.iter().copied()));
            prop_assert_eq!(&merged, &whole);
            numbers.reverse();
            prop_assert_eq!(&sum(numbers.iter().copied()), &whole);
            prop_assert_eq!(sum(numbers.iter().flat_map(|&x| [x, 1.5, -x])).value(), 1.5 * numbers.len() as f64);
        }

        #[test]
        fn integers_sum_like_integers(numbers in prop::collection::vec(any::<i32>(), 0..40)) {
            let expected: i64 = numbers.iter().map(|&n| i64::from(n)).sum();
            prop_assert_eq!(sum(numbers.iter().map(|&n| f64::from(n))).value(), expected as f64);
        }

        #[test]
        fn stored_digits_load_as_they_are_or_not_at_all(low in 0..200u16, digits in prop::collection::vec(prop_oneof![any::<i64>(), 0..1i64 << 32, -1..2i64], 0..9)) {
            if let Ok(loaded) = ExactSum::try_from(Digits(low, digits.clone())) {
                let Digits(again, same) = loaded.clone().into();
                prop_assert_eq!((again, same), (low, digits));
                let mut more = loaded.clone();
                more.add(1.0);
                more.add(-1.0);
                prop_assert_eq!(&more, &loaded);
                more.merge(&loaded);
                prop_assert_eq!(more.value(), 2.0 * loaded.value());
            }
        }

        #[test]
        fn a_number_many_times_at_once_is_its_sum(x in finite(), times in prop_oneof![any::<u64>(), 0..9u64]) {
            let mut at_once = ExactSum::default();
            at_once.add_times(x, times);
            let (mut doubled, mut one_by_one) = (sum([x]), ExactSum::default());
            for bit in 0..u64::BITS {
                if times >> bit & 1 == 1 {
                    one_by_one.merge(&doubled);
                }
                let same = doubled.clone();
                doubled.merge(&same);
            }
            prop_assert_eq!(at_once, one_by_one);
        }

        #[test]
        fn stored_sums_load_unchanged(numbers in prop::collection::vec(finite(), 0..10)) {
            let whole = sum(numbers);
            let bytes = rmp_serde::to_vec(&whole).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<ExactSum>(&bytes).unwrap(), whole);
        }
    }
}
