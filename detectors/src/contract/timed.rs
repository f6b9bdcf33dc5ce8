//! What happens at a time.

use peak_core::Timestamp;
use std::borrow::Borrow;

/// Something that a detector looks at, and when it was: a [`Point`](crate::Point), or a time with a row of
/// features.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::Timed;
///
/// let row = (Timestamp::from_millis(60_000)?, [12.0, 3.0]);
/// assert_eq!((row.time().millis(), row.thing()), (60_000, &[12.0, 3.0][..]));
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait Timed {
    /// What the detector looks at.
    type Thing: ?Sized;

    /// When it was: event time.
    fn time(&self) -> Timestamp;

    /// What it was.
    fn thing(&self) -> &Self::Thing;
}

/// A row of features at a time.
impl<R: Borrow<[f64]>> Timed for (Timestamp, R) {
    type Thing = [f64];

    fn time(&self) -> Timestamp {
        self.0
    }

    fn thing(&self) -> &[f64] {
        self.1.borrow()
    }
}
