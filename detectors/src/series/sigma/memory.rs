//! What an ensemble has learned.

use super::deviations::{Calibration, Lesson};
use crate::series::feed::{Feed, FeedRules};
use serde::{Deserialize, Serialize};

/// What an ensemble has learned: the stored form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SigmaMemory {
    pub(super) feed: Feed,
    pub(super) calibration: Calibration,
    /// How many of the last values are the same.
    pub(super) same: u64,
    /// What the newest point teaches the tails. They learn it when the next one comes, so that it can be
    /// explained as it was judged.
    pub(super) lesson: Option<Lesson>,
}

impl SigmaMemory {
    /// # Panics
    /// Never: the window of the rules was checked when it was set.
    pub(super) fn new(rules: &FeedRules) -> Self {
        let feed = Feed::new(rules).expect("a window that was checked");
        SigmaMemory { feed, calibration: Calibration::default(), same: 0, lesson: None }
    }
}
