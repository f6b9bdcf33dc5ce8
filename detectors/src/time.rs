//! Time: where a window stands by the wall clock of a zone, what repeats, and what is kept of what was
//! learned as time goes by.
//!
//! Times are milliseconds since 1970, and durations; nothing here knows what a record is. Counts and
//! points use the same: [`level`] for what is usual now, [`memory`] for how long that is remembered,
//! [`calendar`] for which windows are of a kind, [`phase`] for what such windows have in common,
//! [`clock`] for what the wall clock shows.

pub(crate) mod calendar;
pub(crate) mod clock;
pub(crate) mod level;
pub(crate) mod memory;
pub(crate) mod phase;

pub use calendar::{Calendar, Days, Phases};
