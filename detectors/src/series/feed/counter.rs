//! Counters: series that only grow, until they start anew.

use serde::{Deserialize, Serialize};

/// What kind of series it is, decided once from its first points.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Not known yet.
    #[default]
    Undecided,
    /// Values go up and down.
    Gauge,
    /// Values only grow but for resets. What counts is the growth per second since the point here.
    Counter {
        /// When it was read last, in milliseconds.
        time: i64,
        /// What it showed.
        value: f64,
    },
}

/// What a step of a counter is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// So much a second.
    Rate(f64),
    /// The counter started anew: it fell to less than half.
    Reset,
    /// It fell, but not to the start: it is no counter.
    Fall,
}

pub(super) fn step(from: (i64, f64), to: (i64, f64)) -> Step {
    if to.1 >= from.1 {
        Step::Rate((to.1 - from.1) * 1000.0 / (to.0 - from.0) as f64)
    } else if to.1 >= 0.0 && to.1 < from.1 / 2.0 {
        Step::Reset
    } else {
        Step::Fall
    }
}

/// Whether points look like a counter: never negative, growing in at least half of the steps, not
/// falling but for resets, and those in at most one of 20 steps.
pub(super) fn is_counter(points: &[(i64, f64)]) -> bool {
    let (mut growing, mut resets) = (0, 0);
    for pair in points.windows(2) {
        match step(pair[0], pair[1]) {
            Step::Rate(rate) => growing += usize::from(rate > 0.0),
            Step::Reset => resets += 1,
            Step::Fall => return false,
        }
    }
    let steps = points.len().saturating_sub(1);
    points.first().is_some_and(|point| point.1 >= 0.0) && 2 * growing >= steps && 20 * resets <= steps
}

/// The growth per second at each point but the first; none where it started anew.
pub(super) fn rates(points: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let rate = |pair: &[(i64, f64)]| match step(pair[0], pair[1]) {
        Step::Rate(rate) => Some((pair[1].0, rate)),
        Step::Reset | Step::Fall => None,
    };
    points.windows(2).filter_map(rate).collect()
}
