//! The contract between a detector and everybody else.

use super::explanation::Explanation;
use super::on::On;
use super::verdict::{Refusal, Verdict};
use peak_core::{Key, Timestamp};
use std::borrow::Borrow;

/// Tells whether what it looks at is strange, given what it has learned.
///
/// `X` is what it looks at: an [`Observation`](crate::Observation) of a key for the peak detector, a
/// point of a series, a row of features. Judging is pure and learning is explicit, so a program
/// decides what enters the memory; [`step`](Self::step) does both in the order that does not let a
/// point vouch for itself.
///
/// Detectors are deterministic: the same input and configuration give the same bits.
/// `peak_detectors::testing::check_detector` (feature `testing`) asserts the contract for any
/// implementation.
pub trait Detector<X: ?Sized> {
    /// Judges `x` against what was learned so far, and leaves no trace.
    ///
    /// # Errors
    /// A [`Refusal`] when there is no basis for a verdict.
    fn judge(&self, x: &X) -> Result<Verdict, Refusal>;

    /// Takes `x` into the memory.
    fn learn(&mut self, x: &X);

    /// Says why [`judge`](Self::judge) says what it says about `x`. Only paid for when asked.
    ///
    /// # Errors
    /// The same [`Refusal`] as `judge`.
    fn explain(&self, x: &X) -> Result<Explanation, Refusal>;

    /// Judges, then learns.
    ///
    /// # Errors
    /// As [`judge`](Self::judge); `x` is learned all the same.
    fn step(&mut self, x: &X) -> Result<Verdict, Refusal> {
        let verdict = self.judge(x);
        self.learn(x);
        verdict
    }

    /// Judges what arrived together: all keys of one window of a table. A detector that decides
    /// across keys overrides it; for a single element it always equals [`judge`](Self::judge).
    fn judge_all(&self, together: &[X]) -> Vec<Result<Verdict, Refusal>>
    where
        X: Sized,
    {
        together.iter().map(|x| self.judge(x)).collect()
    }

    /// Learns what arrived together. A detector that borrows strength across keys overrides it; for a
    /// single element it always equals [`learn`](Self::learn).
    fn learn_all(&mut self, together: &[X])
    where
        X: Sized,
    {
        together.iter().for_each(|x| self.learn(x));
    }

    /// The detector on another input: `look` turns what is at hand into what the detector looks at. All
    /// detectors can so be asked about one feed, and be held as `Box<dyn Detector<_>>`.
    ///
    /// ```
    /// use peak_core::{Span, Summary};
    /// use peak_detectors::{Detector, IsolationForest, Mad, Point};
    ///
    /// let rows = ndarray::array![[90.0, 3.0], [95.0, 4.0], [88.0, 3.0], [92.0, 2.0]];
    /// let forest = IsolationForest::builder().names(["records", "samples"]).fit(rows.view())?;
    /// let detectors: [Box<dyn Detector<(Span, Summary)>>; 2] = [
    ///     Box::new(Mad::default().on(|(span, found): &(Span, Summary)| {
    ///         Point::new(span.start(), found.records as f64)
    ///     })),
    ///     Box::new(forest.on(|(_, found): &(Span, Summary)| [found.records as f64, found.distinct() as f64])),
    /// ];
    /// # let _ = detectors;
    /// # Ok::<(), peak_core::Error>(())
    /// ```
    fn on<W, R, F>(self, look: F) -> On<Self, F, X>
    where
        Self: Sized,
        W: ?Sized,
        R: Borrow<X>,
        F: Fn(&W) -> R,
    {
        On::new(self, look)
    }

    /// Forgets the keys that had no records since. An [`Engine`](crate::Engine) calls it with the
    /// start of its horizon, when its own history forgets them. A detector that remembers no keys, or
    /// shall never forget them, does nothing.
    fn forget_before(&mut self, horizon: Timestamp) {
        let _ = horizon;
    }

    /// Forgets the keys that are not to be kept. A detector that remembers no keys does nothing.
    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        let _ = keep;
    }
}
