//! One tree: grown on a sample of rows, and what is the same for all kinds of it.

use super::columns::Sample;
use super::cut::Cut;
use super::node::{Node, Side};
use super::split::{Split, choose};
use crate::rows::random::hash;

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
    let mut tree = Tree { growth, sample, seed, nodes: vec![Node::LEAF] };
    tree.grow(0, Place { number: 1, depth: 0 }, &mut rows, live);
    tree.nodes
}

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
        self.nodes.extend([Node::LEAF; 2]);
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
