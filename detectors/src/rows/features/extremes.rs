//! The smallest value of a moving window.

use std::collections::VecDeque;

/// The values of a window that are, or may become, the smallest: every value before which a larger or
/// equal one stands has made that one leave (the monotonic queue). O(1) amortised per value.
#[derive(Debug, Clone, Default)]
pub(super) struct Smallest {
    /// Time and value, both ascending.
    candidates: VecDeque<(i64, f64)>,
}

impl Smallest {
    /// Takes in the newest value, and leaves out all that are not after a time.
    #[inline]
    pub(super) fn push(&mut self, after: i64, time: i64, x: f64) {
        while self.candidates.front().is_some_and(|candidate| candidate.0 <= after) {
            self.candidates.pop_front();
        }
        if x.is_nan() {
            return;
        }
        while self.candidates.back().is_some_and(|candidate| candidate.1 >= x) {
            self.candidates.pop_back();
        }
        self.candidates.push_back((time, x));
    }

    /// The smallest value; not a number when there is none.
    #[inline]
    pub(super) fn value(&self) -> f64 {
        self.candidates.front().map_or(f64::NAN, |candidate| candidate.1)
    }

    /// What [`value`](Self::value) would be after [`push`](Self::push).
    #[inline]
    pub(super) fn value_with(&self, after: i64, x: f64) -> f64 {
        let gone = self.candidates.partition_point(|candidate| candidate.0 <= after);
        // The smaller one, and the number where one is not.
        self.candidates.get(gone).map_or(f64::NAN, |candidate| candidate.1).min(x)
    }
}
