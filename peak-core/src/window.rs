//! Summaries of finished windows: what detectors look at and baselines remember.

use crate::{CountMoments, Key, Moments, Span, Uncertainty};
use serde::{Deserialize, Serialize};

/// A label with its count: one of the most frequent samples or senders of a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Share {
    /// The sample or the blame value.
    pub label: String,
    /// How many records carry it.
    pub count: u64,
}

/// The summary of one key in one finished window.
///
/// Windows do not merge: the distinct samples of two halves say nothing about the whole. Merge
/// [`Tally`](crate::Tally)s instead, then finish.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// The number of records.
    pub events: u64,
    /// The moments of the records per sample: `n` is the number of distinct samples, `max` the
    /// records of the most frequent one.
    pub samples: CountMoments,
    /// How far the moments of the samples may be from the truth; `None` when they are exact.
    pub uncertainty: Option<Uncertainty>,
    /// Per measure of the schema, its moments; empty when there was no record.
    pub measures: Vec<Moments>,
    /// The most frequent samples, most frequent first, at most [`TOP`](Self::TOP).
    pub top_samples: Vec<Share>,
    /// Per blame field of the schema, its most frequent values, likewise.
    pub top_blame: Vec<Vec<Share>>,
}

impl Window {
    /// How many of the most frequent samples and blame values a window names.
    pub const TOP: usize = 5;

    /// The number of distinct samples.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.samples.n()
    }
}

/// A window and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWindow {
    /// The dimension values.
    pub key: Key,
    /// The span of time.
    pub span: Span,
    /// The summary.
    pub window: Window,
}
