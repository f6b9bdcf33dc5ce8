//! Running totals of a window, without rounding: they depend on what is in it and on nothing else.

use crate::series::Spread;
use crate::series::sum::{Sum, exact_product, exact_sum};
use smallvec::SmallVec;

/// An exact sum as parts whose digits do not overlap, smallest first (J. R. Shewchuk, "Adaptive precision
/// floating-point arithmetic", 1997, there grow-expansion). What is added and taken away again leaves
/// nothing behind; [`peak_core::ExactSum`] is for sums that are merged and stored, this one for sums that
/// change with every reading.
#[derive(Debug, Clone, Default)]
struct Parts(SmallVec<[f64; 6]>);

impl Parts {
    /// More parts than so many are worth a look whether fewer would do.
    const FEW: usize = 4;

    #[inline]
    fn add(&mut self, x: f64) {
        let (mut carry, mut kept) = (x, 0);
        for i in 0..self.0.len() {
            let (sum, rest) = exact_sum(carry, self.0[i]);
            if rest != 0.0 {
                self.0[kept] = rest;
                kept += 1;
            }
            carry = sum;
        }
        self.0.truncate(kept);
        if carry != 0.0 {
            self.0.push(carry);
        }
        if self.0.len() > Self::FEW {
            self.compress();
        }
    }

    /// The same sum in as few parts as its digits take (there Compress): down, to fill each part from
    /// those below, then up, where that has left room.
    fn compress(&mut self) {
        let parts = &mut self.0;
        let Some(&top) = parts.last() else { return };
        let (mut carry, mut bottom) = (top, parts.len() - 1);
        for i in (0..parts.len() - 1).rev() {
            let (sum, rest) = exact_sum(carry, parts[i]);
            carry = sum;
            if rest != 0.0 {
                parts[bottom] = carry;
                bottom -= 1;
                carry = rest;
            }
        }
        let mut kept = 0;
        for i in bottom + 1..parts.len() {
            let (sum, rest) = exact_sum(parts[i], carry);
            carry = sum;
            if rest != 0.0 {
                parts[kept] = rest;
                kept += 1;
            }
        }
        parts.truncate(kept);
        parts.push(carry);
    }

    /// The sum, rounded to the nearest number, and the rounded rest.
    #[inline]
    fn rounded(&self) -> (f64, f64) {
        let Some((&top, below)) = self.0.split_last() else { return (0.0, 0.0) };
        let (high, rest, left) = round(top, below);
        (high, round(rest, &below[..left]).0)
    }
}

/// Rounds the sum of parts to the nearest number, ties to even. Also gives what this leaves behind: a
/// number and how many of the parts.
#[inline]
fn round(top: f64, parts: &[f64]) -> (f64, f64, usize) {
    let mut high = top;
    for left in (0..parts.len()).rev() {
        let (sum, rest) = exact_sum(high, parts[left]);
        high = sum;
        if rest != 0.0 {
            // Parts further down only matter where the rest is half a step: then away from even.
            let beyond = left > 0 && (parts[left - 1] > 0.0) == (rest > 0.0);
            let next = high + 2.0 * rest;
            if beyond && next - high == 2.0 * rest {
                return (next, -rest, left);
            }
            return (high, rest, left);
        }
    }
    (high, 0.0, 0)
}

/// The number of values, their sum and, for a deviation, the sum of their squares.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    n: u64,
    sum: Parts,
    squares: Option<Parts>,
}

impl Totals {
    /// Of no values, without a deviation.
    pub(super) fn of_mean() -> Self {
        Totals::default()
    }

    /// Of no values.
    pub(super) fn of_deviation() -> Self {
        Totals { squares: Some(Parts::default()), ..Totals::default() }
    }

    /// Takes away all values.
    pub(super) fn clear(&mut self) {
        self.n = 0;
        self.sum.0.clear();
        self.squares.iter_mut().for_each(|squares| squares.0.clear());
    }

    /// Takes in a value of magnitude below 1e100; not a number is no value.
    #[inline]
    pub(super) fn add(&mut self, x: f64) {
        if !x.is_nan() {
            self.n += 1;
            self.count(x, 1.0);
        }
    }

    /// Takes away a value that was added.
    #[inline]
    pub(super) fn remove(&mut self, x: f64) {
        if !x.is_nan() {
            self.n -= 1;
            self.count(x, -1.0);
        }
    }

    #[inline]
    fn count(&mut self, x: f64, sign: f64) {
        self.sum.add(sign * x);
        if let Some(squares) = &mut self.squares {
            let (square, error) = exact_product(x, x);
            squares.add(sign * square);
            squares.add(sign * error);
        }
    }

    /// The mean and the sample standard deviation (n − 1); not a number where there are too few values.
    /// `same` is how many of the newest values are the same.
    #[inline]
    pub(super) fn spread(&self, same: u64) -> Spread {
        let n = self.n as f64;
        let sum = self.sum.rounded();
        let mean = if self.n > 0 { sum.0 / n } else { f64::NAN };
        let deviation = match (&self.squares, self.n) {
            (None, _) | (_, 0 | 1) => f64::NAN,
            (_, n) if same >= n => 0.0,
            (Some(squares), _) => {
                let sum = Sum::new(sum);
                let squared = Sum::new(squares.rounded()).centred(sum, sum, n);
                (squared.max(0.0) / (n - 1.0)).sqrt()
            }
        };
        Spread { mean, deviation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::ExactSum;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            -1e3..1e3,
            (-9i32..9).prop_map(f64::from),
            (-1.0..1.0, -300i32..99).prop_map(|(x, power): (f64, i32)| x * 10f64.powi(power)),
            // Halves of a step, and just beside them.
            (0i32..120).prop_map(|power| 2f64.powi(power - 60)),
        ]
    }

    proptest! {
        #[test]
        fn sums_are_exact_and_rounded_once(numbers in prop::collection::vec(number(), 0..60), gone in 0..60usize) {
            let (mut sum, mut expected) = (Parts::default(), ExactSum::default());
            numbers.iter().for_each(|&x| sum.add(x));
            numbers.iter().take(gone).for_each(|&x| sum.add(-x));
            numbers.iter().skip(gone).for_each(|&x| expected.add(x));
            prop_assert_eq!(sum.rounded(), expected.value_and_rest());
        }
    }

    #[test]
    fn ties_are_broken_by_what_is_below() {
        let mut sum = Parts::default();
        for (x, expected) in [(9_007_199_254_740_992.0, 0.0), (1.0, 0.0), (1e-300, 2.0), (-2e-300, 0.0)] {
            sum.add(x);
            assert_eq!(sum.rounded().0, 9_007_199_254_740_992.0 + expected);
        }
    }

    #[test]
    fn a_long_stream_leaves_few_parts() {
        let (mut totals, mut most) = (Totals::of_deviation(), [0; 2]);
        let value = |i: u64| ((i * 7_919) % 10_007) as f64 / 97.0 + if i % 501 == 7 { 1e9 } else { 0.0 };
        for i in 0..100_000 {
            totals.add(value(i));
            if i >= 300 {
                totals.remove(value(i - 300));
            }
            let squares = totals.squares.as_ref().map_or(0, |squares| squares.0.len());
            most = [most[0].max(totals.sum.0.len()), most[1].max(squares)];
        }
        assert!(most.iter().all(|&parts| (2..=4).contains(&parts)), "{most:?}");
    }
}
