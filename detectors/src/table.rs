//! All keys of a window at once.

pub(crate) mod engine;
mod peak;
mod per_key;

pub use engine::{
    Amendment, Blame, BlameShare, Correction, Engine, Finished, Found, Observation, Resumed, Step, Visit,
};
pub use peak::calibrated::{Calibrated, CalibratedMemory};
pub use peak::classic::Classic;
pub use peak::{Peak, PeakMemory, PeakRule};
pub use per_key::{Fleet, FleetMemory};

pub(crate) use peak::classic;
pub(crate) use peak::original;
