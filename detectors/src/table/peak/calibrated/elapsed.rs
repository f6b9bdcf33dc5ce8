//! What has passed since the last window that was learned, and what is kept of what was learned before it.
//!
//! Levels age with time: a window that comes fourteen windows after the last is expected fourteen
//! slopes further on, and what was known counts as little as fourteen windows take away. How widely
//! keys are spread and what their tails are worth does not change because nobody looked: that fades by
//! windows learned.

use crate::time::level::Prior;
use crate::time::memory::{LEVEL, Pace};

/// What is kept after a window of dispersions, scales, rhythms and slopes of ratios …
const SPREAD: f64 = 0.98;
/// … of how far windows are off for all keys alike …
const COMMON: f64 = 0.97;
/// … of what tails are worth, and how many are grossly strange …
const TAILS: f64 = 0.985;
/// … and of the first counts of new keys.
const NEWCOMERS: f64 = 0.99;
/// Prior precisions of level and slope, the slope being that of a window.
const PRIOR: Prior = Prior { level: 1e-2, slope: 1e4 };

/// What has passed, and how much of the window was observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Elapsed {
    /// How many windows after the last one this one is: 1 for the next.
    pub(super) gap: f64,
    /// The logarithm of the part of the window that was observed.
    pub(super) log_exposure: f64,
    /// What is kept of a level over the gap, over the windows in it that were skipped, and over one window.
    pub(super) level: f64,
    pub(super) level_of_skipped: f64,
    pub(super) level_of_one: f64,
    /// What is kept over the window of what fades by windows.
    pub(super) spread: f64,
    pub(super) common: f64,
    pub(super) tails: f64,
    pub(super) newcomers: f64,
    /// What is thought of levels and slopes beforehand: over what a level remembers, a slope moves it
    /// by as much whatever that is.
    pub(super) prior: Prior,
}

impl Elapsed {
    /// So many windows, at least one, of which this part of the newest was observed.
    pub(super) fn new(gap: f64, exposure: f64, pace: Pace) -> Self {
        let gap = gap.max(1.0);
        let lasts = pace.lasts();
        Elapsed {
            gap,
            log_exposure: libm::log(exposure),
            level: pace.kept(LEVEL, gap),
            level_of_skipped: pace.kept(LEVEL, gap - 1.0),
            level_of_one: pace.kept(LEVEL, 1.0),
            spread: pace.kept(SPREAD, 1.0),
            common: pace.kept(COMMON, 1.0),
            tails: pace.kept(TAILS, 1.0),
            newcomers: pace.kept(NEWCOMERS, 1.0),
            prior: Prior { slope: PRIOR.slope * lasts * lasts, ..PRIOR },
        }
    }
}
