//! All keys of a window at once.

mod engine;
mod fleet;
mod peak;
mod per_key;

pub use engine::{Amendment, Blame, BlameShare, Correction, Engine, Finished, Found, Resumed, Step, Visit};
pub use fleet::{Fleet, FleetMemory};
pub use peak::calibrated::{Calibrated, CalibratedMemory};
pub use peak::classic::Classic;
pub use peak::{Peak, PeakMemory, PeakRule};
pub use per_key::PerKey;

pub(crate) use peak::classic;
