//! The contract between detectors and everybody else.

mod detector;
mod explanation;
mod footprint;
mod on;
mod persist;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub(crate) mod valid;
mod verdict;

pub use detector::Detector;
pub(crate) use explanation::short;
pub use explanation::{Change, Counterfactual, Evidence, Explanation};
pub use footprint::Footprint;
pub use on::On;
pub(crate) use persist::MemoryOf;
pub use persist::Persist;
pub use verdict::{Refusal, Verdict};
