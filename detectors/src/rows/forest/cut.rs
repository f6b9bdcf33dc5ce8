//! Where rows are parted.

use super::node::Direction;

/// What is below the threshold goes left, what is not goes right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    pub(super) direction: Direction,
    pub(super) threshold: f32,
}

/// Above `low` and not above `high`, so that neither side is empty.
pub(super) fn between(low: f32, high: f32, place: f32) -> f32 {
    let threshold = low + place * (high - low);
    if threshold > low && threshold <= high { threshold } else { high }
}
