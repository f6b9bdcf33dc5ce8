//! The contracts between detectors and everybody else.

mod boxed;
mod detector;
mod explanation;
mod footprint;
mod on;
mod persist;
mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timed;
pub(crate) mod valid;
mod verdict;

pub use boxed::{AnyDetector, AnyPersist, BoxedMemory};
pub use detector::{Detector, Told, Wanted};
pub(crate) use explanation::short;
pub use explanation::{Change, Counterfactual, Evidence, Explanation};
pub use footprint::Footprint;
pub use on::On;
pub use persist::Persist;
pub(crate) use persist::{KindOf, MemoryOf};
pub use table::{Judged, Observation, PoolVerdict, TableDetector, TableTold, TableWindow};
pub use timed::Timed;
pub use verdict::{Refusal, Verdict};
