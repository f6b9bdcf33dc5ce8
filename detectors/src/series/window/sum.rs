//! Sums in twice the precision.

use serde::{Deserialize, Serialize};

/// A running sum as a pair of numbers, the second the rounding error of the first (Dekker, 1971): what
/// is added and taken away again leaves next to nothing behind, and differences of large sums keep
/// their digits.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

/// a + b and its rounding error (Knuth).
#[inline]
pub(crate) fn exact_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let shown = sum - a;
    (sum, (a - (sum - shown)) + (b - shown))
}

/// a · b and its rounding error (Veltkamp and Dekker). Factors must be below 1e200.
#[inline]
pub(crate) fn exact_product(a: f64, b: f64) -> (f64, f64) {
    const SPLITTER: f64 = 134_217_729.0;
    let split = |x: f64| {
        let high = SPLITTER * x;
        let high = high - (high - x);
        (high, x - high)
    };
    let product = a * b;
    let ((ah, al), (bh, bl)) = (split(a), split(b));
    (product, ((ah * bh - product) + ah * bl + al * bh) + al * bl)
}

impl Sum {
    /// The sum of a number and a smaller one.
    #[inline]
    pub(crate) fn new((high, low): (f64, f64)) -> Self {
        let sum = high + low;
        Sum { sum, lost: low - (sum - high) }
    }

    #[inline]
    pub(crate) fn add(&mut self, x: f64) {
        let (sum, error) = exact_sum(self.sum, x);
        (self.sum, self.lost) = (sum, self.lost + error);
    }

    /// Adds a product, with its rounding error.
    #[inline]
    pub(crate) fn add_product(&mut self, a: f64, b: f64) {
        let (product, error) = exact_product(a, b);
        self.add(product);
        self.lost += error;
    }

    #[inline]
    pub(crate) fn value(self) -> f64 {
        self.sum + self.lost
    }

    /// Whether nothing in it is larger; not a number is.
    pub(crate) fn is_within(self, limit: f64) -> bool {
        self.sum.abs() <= limit && self.lost.abs() <= limit
    }

    /// An integer, to 106 bits.
    #[inline]
    pub(crate) fn of_integer(x: i128) -> Self {
        let sum = x as f64;
        Sum { sum, lost: (x - sum as i128) as f64 }
    }

    /// Σxy − Σx Σy / n.
    #[inline]
    pub(crate) fn centred(self, x: Sum, y: Sum, n: f64) -> f64 {
        let (x, y) = (Sum::new((x.sum, x.lost)), Sum::new((y.sum, y.lost)));
        let (high, low) = exact_product(x.sum, y.sum);
        let product = Sum::new((high, low + x.sum * y.lost + x.lost * y.sum));
        let quotient = product.sum / n;
        let (back, error) = exact_product(quotient, n);
        let rest = ((product.sum - back) - error + product.lost) / n;
        let (difference, error) = exact_sum(self.sum, -quotient);
        difference + (error + self.lost - rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_through_leaves_nothing_behind() {
        let mut sum = Sum::default();
        (0..1_000).for_each(|i| sum.add(f64::from(i) * 0.1));
        let before = sum.value();
        for x in [1e18, 0.3, -1e18, -0.3] {
            sum.add(x);
        }
        assert!((sum.value() - before).abs() < 1e-9, "{} {before}", sum.value());
    }

    #[test]
    fn a_variance_far_from_zero_keeps_its_digits() {
        let (mut sum, mut squares) = (Sum::default(), Sum::default());
        for i in 0..1_000 {
            let x = 1e9 + f64::from(i % 2);
            sum.add(x);
            squares.add_product(x, x);
        }
        assert!((squares.centred(sum, sum, 1_000.0) - 250.0).abs() < 1e-9);
    }
}
