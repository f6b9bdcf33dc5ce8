//! The contract of what judges one thing at a time.

use super::explanation::Explanation;
use super::on::On;
use super::verdict::{Refusal, Verdict};
use std::borrow::Borrow;

/// Tells whether what it looks at is strange, given what it has learned.
///
/// `X` is the one thing it looks at: a [`Point`](crate::Point) of a series, a row of features. (What looks
/// at all keys of a window at once is a [`TableDetector`](crate::TableDetector).) Judging is pure and
/// learning is explicit, so a program decides what enters the memory; [`step`](Self::step) does both in
/// the order that does not let a point vouch for itself.
///
/// Detectors are deterministic: the same input and configuration give the same bits.
/// `peak_detectors::testing::check_detector` (feature `testing`) asserts the contract for any
/// implementation.
///
/// The trait can be made into an object, and boxes of detectors are detectors; see
/// [`AnyDetector`](crate::AnyDetector) for boxes that are cloned and saved.
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
    /// What was learned last may be explained still, as it was judged before, where a detector can.
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

    /// Judges, explains when the verdict is wanted, then learns: the one order in which all three are
    /// possible.
    ///
    /// # Errors
    /// As [`judge`](Self::judge); `x` is learned all the same.
    fn step_told(&mut self, x: &X, wanted: &Wanted<'_>) -> Result<Told, Refusal> {
        let told = self.judge(x).map(|verdict| {
            let explanation = wanted(&verdict).then(|| self.explain(x));
            Told { verdict, explanation }
        });
        self.learn(x);
        told
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
}

/// Which verdicts are to be explained.
pub type Wanted<'w> = dyn Fn(&Verdict) -> bool + Sync + 'w;

/// A verdict, and why, where that was wanted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Told {
    /// What the detector says.
    pub verdict: Verdict,
    /// Why, as of before it was learned.
    pub explanation: Option<Result<Explanation, Refusal>>,
}

impl Told {
    /// A verdict and its explanation.
    #[must_use]
    pub fn new(verdict: Verdict, explanation: Option<Result<Explanation, Refusal>>) -> Self {
        Told { verdict, explanation }
    }
}

/// A detector through a pointer to it is the same detector.
macro_rules! through {
    ($pointer:ty) => {
        impl<X: ?Sized, D: Detector<X> + ?Sized> Detector<X> for $pointer {
            fn judge(&self, x: &X) -> Result<Verdict, Refusal> {
                (**self).judge(x)
            }

            fn learn(&mut self, x: &X) {
                (**self).learn(x);
            }

            fn explain(&self, x: &X) -> Result<Explanation, Refusal> {
                (**self).explain(x)
            }

            fn step(&mut self, x: &X) -> Result<Verdict, Refusal> {
                (**self).step(x)
            }

            fn step_told(&mut self, x: &X, wanted: &Wanted<'_>) -> Result<Told, Refusal> {
                (**self).step_told(x, wanted)
            }
        }
    };
}

through!(Box<D>);
through!(&mut D);
