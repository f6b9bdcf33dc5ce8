//! What an ensemble has learned.

use crate::series::feed::{Feed, FeedRules};
use crate::worth::exceedances::{Calibration, Deviation};
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

/// How large the deviations of a point were, and whether they were rare enough for an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Lesson {
    pub(super) deviations: [Deviation; 2],
    pub(super) is_rare: bool,
}

impl Lesson {
    pub(super) fn teach(self, calibration: &mut Calibration) {
        calibration.learn(self.deviations, self.is_rare);
    }

    pub(super) fn is_valid(&self) -> bool {
        self.deviations.iter().all(Deviation::is_valid)
    }
}

impl SigmaMemory {
    /// # Panics
    /// Never: the window of the rules was checked when it was set.
    pub(super) fn new(rules: &FeedRules) -> Self {
        let feed = Feed::new(rules).expect("a window that was checked");
        SigmaMemory { feed, calibration: Calibration::default(), same: 0, lesson: None }
    }
}
