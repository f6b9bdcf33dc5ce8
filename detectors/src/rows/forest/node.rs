//! What a tree is made of.

use serde::{Deserialize, Serialize};

/// A node that is split, or a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    /// What is compared with the threshold.
    pub(super) direction: Direction,
    /// What is below it goes left.
    pub(super) threshold: f32,
    /// The left child; the right one follows it. 0 is a leaf: nobody's child is the root.
    pub(super) left: u32,
    /// Where values are missing: on the side of most of the node's rows.
    pub(super) missing: Side,
    /// The path length of a row that ends here; for a node that is split, the mean over its rows.
    pub(super) path: f32,
}

/// What a split looks at: a feature, or the sum of one and of a multiple of a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Direction {
    pub(super) feature: u32,
    pub(super) second: Option<Second>,
}

/// The second feature of a split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Second {
    /// Another one than the first.
    pub(super) feature: u32,
    pub(super) coefficient: f32,
    /// The part of what the split contributes that is the second feature's; the rest is the first's.
    pub(super) share: f32,
}

impl Direction {
    pub(super) fn along(feature: usize) -> Self {
        Direction { feature: feature as u32, second: None }
    }

    /// What is compared; NaN where a value is missing. The product is rounded before the sum, so that all
    /// processors give the same bits.
    pub(super) fn of(&self, value: impl Fn(usize) -> f32) -> f32 {
        let first = value(self.feature as usize);
        let add = |second: &Second| first + second.coefficient * value(second.feature as usize);
        self.second.as_ref().map_or(first, add)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Side {
    Left,
    Right,
}

impl Node {
    /// A node before it is known what becomes of it.
    pub(super) const LEAF: Node = Node {
        direction: Direction { feature: 0, second: None },
        threshold: 0.0,
        left: 0,
        missing: Side::Left,
        path: 0.0,
    };

    pub(super) fn is_leaf(&self) -> bool {
        self.left == 0
    }

    /// The child that a row of these values goes to.
    pub(super) fn child(&self, value: impl Fn(usize) -> f32) -> usize {
        let value = self.direction.of(value);
        let right = if value.is_nan() { self.missing == Side::Right } else { value >= self.threshold };
        self.left as usize + usize::from(right)
    }
}
