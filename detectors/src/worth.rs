//! What a score is worth: from raw scores to probabilities, and what is spent on false alarms.

pub(crate) mod budget;
pub(crate) mod exceedances;
pub(crate) mod histogram;
pub(crate) mod levels;
pub(crate) mod student;
pub(crate) mod tail;

pub use budget::Budget;
