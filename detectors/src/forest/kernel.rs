//! The lengths of paths: rows against all trees.
//!
//! Trees of at most [`LEVELS`] levels take the fast way: each is padded to a full tree and laid out
//! breadth first, and a [`Tile`] of [`ROWS`] rows, column by column, goes down all levels of it
//! together. The first levels compare whole columns; below, one pass fetches each row's value and
//! threshold, and the next compares them. Passes are compiled for several sets of instructions, of
//! which the processor's best is taken at run time. None of them changes a bit: values are only
//! compared, and path lengths are added in the order of the trees. Deeper trees are walked row by row.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx512;
mod padded;
mod passes;
mod tile;

pub(super) use tile::{Infinite, ROWS, Tile};

use super::tree::Node;
use fearless_simd::{Level, dispatch};
use padded::{LEVELS, Padded};
use passes::Passes;

/// The trees in the form that rows are run through.
#[derive(Debug, Clone)]
pub(super) enum Kernel {
    Padded(Vec<Padded>),
    Walked(Vec<Vec<Node>>),
}

/// How many trees a single row goes down together, so that one's memory is read while another waits.
const TOGETHER: usize = 8;

impl Kernel {
    pub(super) fn new(trees: &[Vec<Node>]) -> Self {
        let padded: Option<Vec<Padded>> = trees.iter().map(|tree| Padded::new(tree)).collect();
        padded.map_or_else(|| Kernel::Walked(trees.to_vec()), Kernel::Padded)
    }

    /// Per row of the tile, the sum of its path lengths over all trees.
    pub(super) fn paths(&self, tile: &Tile, level: Level) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        match self {
            Kernel::Padded(trees) => {
                let mut passes = Passes::default();
                for tree in trees {
                    self::paths(tree, tile, level, &mut passes, &mut sums);
                }
            }
            Kernel::Walked(trees) => {
                for tree in trees {
                    for (row, sum) in sums.iter_mut().enumerate().take(tile.rows()) {
                        *sum += walk(tree, |feature| tile.value(row, feature));
                    }
                }
            }
        }
        sums
    }

    /// The sum of a single row's path lengths, the same bits as of a tile. `row` is padded to a power of
    /// two.
    pub(super) fn path(&self, row: &[f32]) -> f32 {
        match self {
            Kernel::Padded(trees) => {
                let (groups, rest) = trees.as_chunks::<TOGETHER>();
                let sum = groups.iter().fold(0.0, |sum, trees| {
                    let leaves = padded::leaves(trees, row);
                    trees.iter().zip(leaves).fold(sum, |sum, (tree, leaf)| sum + tree.path(leaf))
                });
                rest.iter().fold(sum, |sum, tree| {
                    let [leaf] = padded::leaves(std::array::from_ref(tree), row);
                    sum + tree.path(leaf)
                })
            }
            Kernel::Walked(trees) => {
                trees.iter().fold(0.0, |sum, tree| sum + walk(tree, |feature| row[feature]))
            }
        }
    }
}

/// Adds each row's path length in one tree.
fn paths(tree: &Padded, tile: &Tile, level: Level, passes: &mut Passes, sums: &mut [f32; ROWS]) {
    if tile.has_missing() {
        passes.start();
        for _ in 0..LEVELS {
            passes.fetch_or_missing(tree, tile.values());
            dispatch!(level, simd => passes.compare(simd));
        }
        return passes.add(tree, sums);
    }
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Level::Avx512(token) = level {
        return avx512::paths(token, tree, tile.values(), passes, sums);
    }
    let dense = dispatch!(level, simd => passes.dense(simd, tree, tile.values()));
    for _ in dense..LEVELS {
        passes.fetch(tree, tile.values());
        dispatch!(level, simd => passes.compare(simd));
    }
    passes.add(tree, sums);
}

/// The length of the path that a row takes through a tree.
fn walk(tree: &[Node], value: impl Fn(usize) -> f32) -> f32 {
    let mut node = &tree[0];
    while !node.is_leaf() {
        node = &tree[node.child(value(node.feature as usize))];
    }
    node.path
}
