//! What a score is worth: from raw scores to probabilities, and what is spent on false alarms.

pub(crate) mod budget;
pub(crate) mod combine;
pub(crate) mod exceedances;
pub(crate) mod histogram;
pub(crate) mod levels;
pub(crate) mod student;
pub(crate) mod tail;
mod together;

pub use budget::Budget;
pub use together::{Combination, Together, TogetherMemory};
