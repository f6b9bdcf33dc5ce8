//! The parts of a window that tests compare.

use serde::{Deserialize, Serialize};

const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The lengths of the parts of a window, in milliseconds.
///
/// Upstream they are an hour, and ten minutes after fifty. On a coarse series these hold too few
/// points for anything, so that they may be stretched with the resolution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lengths {
    pub(super) hour: i64,
    pub(super) probe: i64,
    pub(super) both: i64,
}

/// How the lengths depend on the resolution of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scaling {
    /// Not at all.
    Fixed,
    /// Long enough for [`Lengths::POINTS`] points; the hour is half a day at most.
    WithResolution,
}

impl Lengths {
    const FIXED: Lengths = Lengths { hour: HOUR, probe: HOUR / 6, both: HOUR };
    /// How many points the hour and the probe hold at least.
    const POINTS: i64 = 30;

    pub(super) fn new(scaling: Scaling, resolution: i64) -> Self {
        match scaling {
            Scaling::Fixed => Self::FIXED,
            Scaling::WithResolution => {
                let probe = (HOUR / 6).max(Self::POINTS * resolution);
                let hour = HOUR.max(Self::POINTS * resolution).min(DAY / 2);
                Lengths { hour, probe, both: 6 * probe }
            }
        }
    }
}

/// The most frequent step between points, the shortest of several; 0 when there is none.
pub(super) fn modal(gaps: &mut [u32]) -> i64 {
    gaps.sort_unstable();
    let runs = gaps.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0]));
    let longest = runs.reduce(|best, run| if run.0 > best.0 { run } else { best });
    longest.map_or(0, |(_, gap)| i64::from(gap))
}
