//! Where a time stands: in the day, in the week, by the wall clock of a zone.

pub(crate) mod clock;
pub(crate) mod phase;

pub use phase::Phases;
