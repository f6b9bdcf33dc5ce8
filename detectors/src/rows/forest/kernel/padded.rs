//! A tree padded to its full breadth.

use super::ROWS;
use crate::rows::forest::node::{Node, Side};

/// The levels of splits in a padded tree.
pub(super) const LEVELS: u32 = 8;
/// As many leaves, and as many places for splits.
pub(super) const PLACES: usize = 1 << LEVELS;

/// The splits of a full tree in breadth-first order from place 1, so that the children of place i are
/// 2 i and 2 i + 1; and its leaves from place 256, kept from 0. Below a leaf of the tree that it comes
/// from, all splits go left, and all leaves are the same.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(in crate::rows::forest) struct Padded {
    /// Values that are not below it go right.
    pub(super) thresholds: [f32; PLACES],
    /// Where the column of the feature begins in a tile.
    pub(super) columns: [u32; PLACES],
    /// What stands for a missing value: infinite, on the side where missing values go.
    pub(super) missing: [f32; PLACES],
    /// The path lengths of the leaves.
    pub(super) paths: [f32; PLACES],
}

impl Padded {
    /// `None` when the tree is too deep.
    pub(super) fn new(tree: &[Node]) -> Option<Self> {
        let mut padded = Padded {
            thresholds: [f32::INFINITY; PLACES],
            columns: [0; PLACES],
            missing: [f32::NEG_INFINITY; PLACES],
            paths: [0.0; PLACES],
        };
        padded.place(tree, 0, 1).then_some(padded)
    }

    fn place(&mut self, tree: &[Node], node: usize, place: usize) -> bool {
        let split = tree[node];
        if split.is_leaf() {
            let (mut first, mut leaves) = (place, 1);
            while first < PLACES {
                (first, leaves) = (2 * first, 2 * leaves);
            }
            self.paths[first - PLACES..][..leaves].fill(split.path);
            return true;
        }
        if place >= PLACES {
            return false;
        }
        self.thresholds[place] = split.threshold;
        self.columns[place] = split.direction.feature * ROWS as u32;
        self.missing[place] = match split.missing {
            Side::Left => f32::NEG_INFINITY,
            Side::Right => f32::INFINITY,
        };
        let left = split.left as usize;
        self.place(tree, left, 2 * place) && self.place(tree, left + 1, 2 * place + 1)
    }

    /// The path length of a leaf.
    pub(super) fn path(&self, leaf: u32) -> f32 {
        self.paths[leaf as usize % PLACES]
    }
}
