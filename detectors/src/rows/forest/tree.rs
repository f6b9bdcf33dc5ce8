//! One tree: grown on a sample of rows, and what is the same for all kinds of it.

use super::grow::{Cut, Sample, Split, choose};
use super::random::hash;
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

/// What trees are grown by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth<'a> {
    pub(super) split: Split,
    pub(super) depth: u32,
    /// The mean path length below a leaf, per number of its rows.
    pub(super) paths: &'a [f64],
}

/// The mean length of an unsuccessful search among so many rows, for all numbers up to `most`:
/// c(n) = 2 H(n − 1) − 2 (n − 1) / n, with exact harmonic numbers.
pub(super) fn mean_paths(most: usize) -> Vec<f64> {
    let mut harmonic = 0.0;
    let mut path = |n: usize| {
        if n < 2 {
            return 0.0;
        }
        let before = (n - 1) as f64;
        harmonic += 1.0 / before;
        2.0 * harmonic - 2.0 * before / n as f64
    };
    (0..=most).map(&mut path).collect()
}

/// The nodes of a tree; the root is the first.
pub(super) fn grow(growth: &Growth<'_>, sample: &Sample<'_>, seed: u64) -> Vec<Node> {
    let mut rows: Vec<u32> = (0..sample.rows as u32).collect();
    let is_live = |&feature: &u32| sample.weights.is_none_or(|weights| weights[feature as usize] > 0.0);
    let live = (0..sample.identities.len() as u32).filter(is_live).collect();
    let mut tree = Tree { growth, sample, seed, nodes: vec![LEAF] };
    tree.grow(0, Place { number: 1, depth: 0 }, &mut rows, live);
    tree.nodes
}

/// A node before it is known what becomes of it.
const LEAF: Node = Node {
    direction: Direction { feature: 0, second: None },
    threshold: 0.0,
    left: 0,
    missing: Side::Left,
    path: 0.0,
};

struct Tree<'a> {
    growth: &'a Growth<'a>,
    sample: &'a Sample<'a>,
    seed: u64,
    nodes: Vec<Node>,
}

/// Where a node stands: counted breadth first, from 1 at the root.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    depth: u32,
}

impl Tree<'_> {
    fn grow(&mut self, node: usize, place: Place, rows: &mut [u32], mut live: Vec<u32>) {
        let splits = rows.len() > 1 && place.depth < self.growth.depth;
        let seed = hash(self.seed, place.number);
        let cut = if splits { choose(self.growth.split, self.sample, rows, &mut live, seed) } else { None };
        let Some(Cut { direction, threshold }) = cut else {
            let path = f64::from(place.depth) + self.growth.paths[rows.len()];
            self.nodes[node].path = path as f32;
            return;
        };
        let sample = self.sample;
        let value = |row: u32| direction.of(|feature| sample.column(feature)[row as usize]);
        let not_above = partition(rows, |row| {
            let value = value(row);
            value < threshold || value.is_nan()
        });
        let below = partition(&mut rows[..not_above], |row| !value(row).is_nan());
        let above = rows.len() - not_above;
        let (missing, middle) = if above > below { (Side::Right, below) } else { (Side::Left, not_above) };
        let left = self.nodes.len();
        self.nodes.extend([LEAF; 2]);
        let split = Node { direction, threshold, left: left as u32, missing, path: 0.0 };
        let (lower, upper) = rows.split_at_mut(middle);
        let below = |right: u64| Place { number: 2 * place.number + right, depth: place.depth + 1 };
        self.grow(left, below(0), lower, live.clone());
        self.grow(left + 1, below(1), upper, live);
        let sum = |node: usize, rows: &[u32]| f64::from(self.nodes[node].path) * rows.len() as f64;
        let path = (sum(left, lower) + sum(left + 1, upper)) / (lower.len() + upper.len()) as f64;
        self.nodes[node] = Node { path: path as f32, ..split };
    }
}

/// Puts the rows that belong left to the front, and says how many there are.
fn partition(rows: &mut [u32], is_left: impl Fn(u32) -> bool) -> usize {
    let mut left = 0;
    for i in 0..rows.len() {
        // Swapped in any case: a processor cannot foresee the side.
        rows.swap(i, left);
        left += usize::from(is_left(rows[left]));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_lengths_have_exact_harmonic_numbers() {
        let paths = mean_paths(256);
        assert_eq!(paths[..3], [0.0, 0.0, 1.0]);
        assert!((paths[3] - 5.0 / 3.0).abs() < 1e-15);
        let harmonic: f64 = (1..256).map(|i| 1.0 / f64::from(i)).sum();
        assert!((paths[256] - (2.0 * harmonic - 2.0 * 255.0 / 256.0)).abs() < 1e-12);
    }
}
