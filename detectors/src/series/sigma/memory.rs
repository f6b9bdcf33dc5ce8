//! What an ensemble has learned.

use crate::series::feed::{Feed, FeedRules};
use crate::worth::exceedances::Calibration;
use serde::{Deserialize, Serialize};

/// What an ensemble has learned: the stored form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SigmaMemory {
    pub(super) feed: Feed,
    pub(super) calibration: Calibration,
    /// How many of the last values are the same.
    pub(super) same: u64,
}

impl SigmaMemory {
    /// # Panics
    /// Never: the window of the rules was checked when it was set.
    pub(super) fn new(rules: &FeedRules) -> Self {
        let feed = Feed::new(rules).expect("a window that was checked");
        SigmaMemory { feed, calibration: Calibration::default(), same: 0 }
    }
}
