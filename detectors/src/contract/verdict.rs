//! What a detector says, and why it says nothing.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a detector says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Ranks: the higher, the stranger. Finite; its scale is the method's own.
    pub score: f64,
    /// Decides. Not derived from the score by rescaling.
    pub anomalous: bool,
    /// The probability of something at least as strange when nothing is wrong, where the method
    /// knows it.
    pub p_value: Option<f64>,
}

/// Why there is no verdict. Counted in reports; never a score of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The history is too short.
    TooShort {
        /// How much there is, in the method's unit: windows or points.
        have: u64,
        /// How much it takes.
        need: u64,
    },
    /// There is nothing to look at.
    Empty,
    /// A value is NaN, infinite, or too large to be squared. Where missing values are allowed, NaN is
    /// one.
    NotFinite,
    /// A row of features has another width than those of the training.
    WrongWidth {
        /// How many features there are.
        have: u64,
        /// How many there must be.
        need: u64,
    },
    /// The points span too little time, in seconds.
    Incomplete {
        /// How much they span.
        have: u64,
        /// How much it takes.
        need: u64,
    },
    /// The newest point is too old.
    Stale {
        /// How old, in seconds.
        seconds: u64,
    },
    /// Nothing has changed for so many points.
    Boring {
        /// How many values in a row are the same.
        same: u64,
    },
    /// The point or the window is older than the newest.
    Late,
    /// There is a point at this time already.
    Duplicate,
    /// The window is of another length than those that were learned, in milliseconds.
    WrongLength {
        /// How long it is.
        have: u64,
        /// How long they were.
        need: u64,
    },
    /// A counter started anew, so that what it counted since the reading before is not known. Should the
    /// next reading show that it only showed too little once, growth is told from the reading before.
    Reset,
    /// A counter shows less than before, and has not started anew: what it counted is not known.
    Fell,
    /// It is not known what happened: the window was not observed as a whole, or the key found no room in
    /// its table.
    NotObserved,
}

impl Refusal {
    /// The reason without its numbers, as reports count it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::TooShort { .. } => "history too short",
            Refusal::Empty => "no records",
            Refusal::NotFinite => "not finite",
            Refusal::WrongWidth { .. } => "wrong width",
            Refusal::Incomplete { .. } => "history incomplete",
            Refusal::Stale { .. } => "stale",
            Refusal::Boring { .. } => "boring",
            Refusal::Late => "late",
            Refusal::Duplicate => "duplicate",
            Refusal::WrongLength { .. } => "wrong length",
            Refusal::Reset => "counter reset",
            Refusal::Fell => "counter fell",
            Refusal::NotObserved => "not observed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TooShort { have, need } | Refusal::WrongWidth { have, need } => {
                write!(f, "{}: have {have}, need {need}", self.reason())
            }
            Refusal::Incomplete { have, need } => {
                write!(f, "{}: have {have} s, need {need} s", self.reason())
            }
            Refusal::WrongLength { have, need } => {
                write!(f, "{}: have {have} ms, need {need} ms", self.reason())
            }
            Refusal::Stale { seconds } => write!(f, "{}: no point for {seconds} s", self.reason()),
            Refusal::Boring { same } => write!(f, "{}: {same} times the same value", self.reason()),
            _ => f.write_str(self.reason()),
        }
    }
}

impl std::error::Error for Refusal {}
