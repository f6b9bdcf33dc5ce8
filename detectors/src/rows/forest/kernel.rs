//! The lengths of paths: rows against all trees.
//!
//! Trees of at most [`LEVELS`] levels take the fast way: each is padded to a full tree and laid out
//! breadth first, and a [`Tile`] of [`ROWS`] rows, column by column, goes down all levels of it
//! together. The first levels compare whole columns; below, one pass fetches each row's value and
//! threshold, and the next compares them. Passes are compiled for several sets of instructions, of
//! which the processor's best is taken at run time. None of them changes a bit: values are only
//! compared, or where splits look at two features multiplied, rounded, added and compared, and path
//! lengths are added in the order of the trees. Deeper trees are walked row by row.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx512;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod avx512_pairs;
mod padded;
mod pairs;
mod passes;
mod single;
mod tile;

pub(super) use tile::{Infinite, ROWS, Tile};

use super::node::Node;
use fearless_simd::{Level, dispatch};
use padded::{LEVELS, Padded};
use pairs::Pairs;
use passes::Passes;
use single::{Pair, Plain, Singles};

/// The trees in the form that rows are run through.
#[derive(Debug, Clone)]
pub(super) enum Kernel {
    Padded(Singles<Plain>, Vec<Padded>),
    Pairs(Singles<Pair>, Vec<Pairs>),
    Walked(Vec<Vec<Node>>),
}

impl Kernel {
    pub(super) fn new(trees: &[Vec<Node>]) -> Self {
        let walked = || Kernel::Walked(trees.to_vec());
        if trees.iter().flatten().any(|node| node.direction.second.is_some()) {
            let trees: Option<Vec<_>> = trees.iter().map(|tree| Pairs::new(tree)).collect();
            trees.map_or_else(walked, |trees| Kernel::Pairs(Singles::of_pairs(&trees), trees))
        } else {
            let trees: Option<Vec<_>> = trees.iter().map(|tree| Padded::new(tree)).collect();
            trees.map_or_else(walked, |trees| Kernel::Padded(Singles::new(&trees), trees))
        }
    }

    /// The bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Kernel::Padded(singles, trees) => singles.bytes() + size_of_val(&trees[..]),
            Kernel::Pairs(singles, trees) => singles.bytes() + size_of_val(&trees[..]),
            Kernel::Walked(trees) => trees.iter().map(|tree| size_of_val(&tree[..])).sum(),
        }
    }

    /// Per row of the tile, the sum of its path lengths over all trees.
    pub(super) fn paths(&self, tile: &Tile, level: Level) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        match self {
            Kernel::Padded(_, trees) => {
                let mut passes = Passes::default();
                for tree in trees {
                    self::paths(tree, tile, level, &mut passes, &mut sums);
                }
            }
            Kernel::Pairs(_, trees) => {
                let mut passes = Passes::default();
                for tree in trees {
                    paths_of_pairs(tree, tile, level, &mut passes, &mut sums);
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

    /// The sum of a single row's path lengths, the same bits as of a tile.
    pub(super) fn path(&self, row: &[f32]) -> f32 {
        match self {
            Kernel::Padded(singles, trees) => single::path(trees, singles, row),
            Kernel::Pairs(singles, trees) => single::path_of_pairs(trees, singles, row),
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

/// The same, where splits look at two features.
fn paths_of_pairs(tree: &Pairs, tile: &Tile, level: Level, passes: &mut Passes, sums: &mut [f32; ROWS]) {
    if tile.has_missing() {
        passes.start();
        for _ in 0..LEVELS {
            passes.fetch_pairs_or_missing(tree, tile.values());
            dispatch!(level, simd => passes.compare(simd));
        }
        return passes.add(&tree.padded, sums);
    }
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Level::Avx512(token) = level {
        return avx512_pairs::paths(token, tree, tile.values(), passes, sums);
    }
    let dense = dispatch!(level, simd => passes.dense_pairs(simd, tree, tile.values()));
    for _ in dense..LEVELS {
        passes.fetch_pairs(tree, tile.values());
        dispatch!(level, simd => passes.compare(simd));
    }
    passes.add(&tree.padded, sums);
}

/// The length of the path that a row takes through a tree.
fn walk(tree: &[Node], value: impl Fn(usize) -> f32) -> f32 {
    let mut node = &tree[0];
    while !node.is_leaf() {
        node = &tree[node.child(&value)];
    }
    node.path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::forest::node::{Direction, Second, Side};
    use crate::rows::forest::scaler::{Curve, Scale};
    use ndarray::Array2;

    /// A tree with all kinds of splits and leaves; every other one stops early.
    fn tree(depth: u32, columns: u32, seed: u64, paired: f64) -> Vec<Node> {
        let mut random = crate::rows::random::Random::new(seed);
        let mut nodes = vec![(
            0,
            Node { direction: Direction::along(0), threshold: 0.0, left: 0, missing: Side::Left, path: 1.0 },
        )];
        let mut next = 0;
        while next < nodes.len() {
            let (level, mut node) = nodes[next];
            node.path = random.unit() as f32 + level as f32 + 1.0;
            if level < depth && (level < 2 || random.unit() < 0.8) {
                let feature = random.below(columns as usize) as u32;
                let second = Second {
                    feature: (feature + 1 + random.below(columns.max(2) as usize - 1) as u32) % columns,
                    coefficient: 4.0 * random.unit() as f32 - 2.0,
                    share: 0.5,
                };
                let second = (random.unit() < paired && columns > 1).then_some(second);
                node.direction = Direction { feature, second };
                node.threshold = random.unit() as f32 - 0.5;
                node.missing = if random.unit() < 0.5 { Side::Left } else { Side::Right };
                node.left = nodes.len() as u32;
                nodes.extend([(level + 1, Node { left: 0, ..node }); 2]);
            }
            nodes[next].1 = node;
            next += 1;
        }
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    fn levels() -> Vec<Level> {
        let best = Level::new();
        #[allow(unused_mut, reason = "elsewhere there is but one")]
        let mut levels = vec![best];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            levels.extend(best.as_sse2().map(Level::Sse2));
            levels.extend(best.as_sse4_2().map(Level::Sse4_2));
            levels.extend(best.as_avx2().map(Level::Avx2));
            levels.extend(best.as_avx512().map(Level::Avx512));
        }
        levels
    }

    #[test]
    fn all_instructions_give_the_bits_of_a_plain_walk() {
        let shapes =
            [(1, 0.0, 8), (5, 0.0, 8), (10, 0.0, 8), (10, 0.2, 8), (50, 0.0, 5), (300, 0.0, 8), (7, 0.1, 11)];
        for ((columns, missing, depth), paired) in
            shapes.into_iter().flat_map(|shape| [0.0, 0.8].map(|p| (shape, p)))
        {
            let trees: Vec<Vec<Node>> =
                (0..150).map(|seed| tree(depth, columns as u32, seed, paired)).collect();
            let kernel = Kernel::new(&trees);
            assert_eq!(matches!(kernel, Kernel::Walked(_)), depth > LEVELS);
            assert_eq!(matches!(kernel, Kernel::Pairs(..)), depth <= LEVELS && paired > 0.0 && columns > 1);
            let mut random = crate::rows::random::Random::new(9);
            let x = Array2::from_shape_simple_fn((200, columns), || {
                if random.unit() < missing { f64::NAN } else { random.unit() - 0.5 }
            });
            let mut tile = Tile::new(columns);
            tile.fill(x.view(), &vec![Scale { centre: 0.0, factor: 1.0, curve: Curve::Straight }; columns])
                .unwrap();
            let plain = |row: usize| {
                trees.iter().fold(0f32, |sum, tree| sum + walk(tree, |feature| x[[row, feature]] as f32))
            };
            for level in levels() {
                let sums = kernel.paths(&tile, level);
                for (row, sum) in sums.iter().enumerate().take(200) {
                    assert_eq!(sum.to_bits(), plain(row).to_bits(), "{level:?} {columns} {paired} {row}");
                    let single: Vec<f32> = x.row(row).iter().map(|&value| value as f32).collect();
                    assert_eq!(kernel.path(&single).to_bits(), plain(row).to_bits());
                }
            }
        }
    }
}
