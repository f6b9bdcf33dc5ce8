//! What a score is worth: from raw scores to probabilities, from these to 0–100, and what is spent on
//! false alarms.
//!
//! ```text
//! raw score ── p_value ──> probability of one as high when nothing is wrong ── severity ──> 0 to 100
//!                                      │
//!                                      └── budget: is it small enough for an alarm?
//! ```
//!
//! There are several ways from scores to probabilities, by what is known of the scores. They have their words
//! in common: `p_value` falls as the score rises and is never 0, `learn` takes a score into the
//! memory, `score_at` is the score from which on the probability is at most as small as given.
//!
//! | | scores | how |
//! |---|---|---|
//! | [`tail`] | of a known law | its tail |
//! | [`empirical`] | of a fixed set of rows | counts those as high |
//! | [`histogram`] | of a stream of rows | counts those as high, in steps |
//! | [`exceedances`] | deviations of a series | counts down to one in fifty, an exponential beyond |
//! | [`levels`] | p-values of many keys that are not exact | counts those as small, by powers of two |
//! | [`recurrence`] | p-values of a series that are wrong | the same, whatever the series |
//!
//! Ties are conservative: what is as high counts as a whole. Only tails of counts are mid-p, as models
//! of them want it; [`levels`] then say what they are worth. One test in this room and one of all detectors
//! hold them to it (`conformance`).

pub(crate) mod budget;
pub(crate) mod combine;
pub(crate) mod empirical;
pub(crate) mod exceedances;
pub(crate) mod histogram;
pub(crate) mod levels;
pub(crate) mod recurrence;
pub(crate) mod severity;
pub(crate) mod tail;
mod together;

#[cfg(test)]
mod conformance;

pub use budget::Budget;
pub use severity::severity;
pub use together::{Combination, Together, TogetherMemory};
