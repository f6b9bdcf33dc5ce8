//! Trees whose splits look at two features, and their passes.

use super::ROWS;
use super::padded::{PLACES, Padded};
use super::passes::{Passes, column};
use crate::rows::forest::node::Node;
use fearless_simd::{Simd, f32x8, prelude::*, u32x8};

/// A padded tree, and the second features. Where a split has none, it is the first with a
/// coefficient of 0, which changes no bit.
#[derive(Debug, Clone)]
pub(in crate::rows::forest) struct Pairs {
    pub(super) padded: Padded,
    pub(super) coefficients: [f32; PLACES],
    /// Where the column of the second feature begins in a tile.
    pub(super) seconds: [u32; PLACES],
}

impl Pairs {
    /// `None` when the tree is too deep.
    pub(super) fn new(tree: &[Node]) -> Option<Self> {
        let padded = Padded::new(tree)?;
        let mut pairs = Pairs { padded, coefficients: [0.0; PLACES], seconds: [0; PLACES] };
        pairs.place(tree, 0, 1);
        Some(pairs)
    }

    fn place(&mut self, tree: &[Node], node: usize, place: usize) {
        let node = tree[node];
        if node.is_leaf() {
            return;
        }
        let first = node.direction.feature;
        let (second, coefficient) =
            node.direction.second.map_or((first, 0.0), |second| (second.feature, second.coefficient));
        self.coefficients[place] = coefficient;
        self.seconds[place] = second * ROWS as u32;
        let left = node.left as usize;
        self.place(tree, left, 2 * place);
        self.place(tree, left + 1, 2 * place + 1);
    }
}

const LANES: usize = 8;

impl Passes {
    /// As [`dense`](Self::dense).
    #[inline(always)]
    pub(super) fn dense_pairs<S: Simd>(&mut self, simd: S, tree: &Pairs, tile: &[f32]) -> u32 {
        let columns = |starts: &[u32; PLACES]| -> [&[[f32; LANES]]; 8] {
            std::array::from_fn(|place| column(tile, starts[place]).as_chunks().0)
        };
        let (firsts, seconds) = (columns(&tree.padded.columns), columns(&tree.seconds));
        let one = u32x8::splat(simd, 1);
        let zero = u32x8::splat(simd, 0);
        for (group, places) in self.places.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let x = |place: usize| {
                let first = f32x8::simd_from(simd, firsts[place][group]);
                let second = f32x8::simd_from(simd, seconds[place][group]);
                first + second * f32x8::splat(simd, tree.coefficients[place])
            };
            let t = |place: usize| f32x8::splat(simd, tree.padded.thresholds[place]);
            let root = x(1).simd_ge(t(1));
            let first = root.select(x(3), x(2)).simd_ge(root.select(t(3), t(2)));
            let below = |values: [f32x8<S>; 4]| {
                let [a, b, c, d] = values;
                root.select(first.select(d, c), first.select(b, a))
            };
            let second = below([x(4), x(5), x(6), x(7)]).simd_ge(below([t(4), t(5), t(6), t(7)]));
            let mut place = one;
            for right in [root, first, second] {
                place = place + place + right.select(one, zero);
            }
            *places = place.into();
        }
        super::passes::DENSE
    }

    /// As [`fetch`](Self::fetch).
    #[inline(never)]
    pub(super) fn fetch_pairs(&mut self, tree: &Pairs, tile: &[f32]) {
        let rows = self.values.iter_mut().zip(&mut self.thresholds).zip(&self.places);
        for (row, ((value, threshold), &place)) in rows.enumerate() {
            let at = place as usize % PLACES;
            let fetch = |column: u32| tile[(column as usize + row) & (tile.len() - 1)];
            *threshold = tree.padded.thresholds[at];
            *value = fetch(tree.padded.columns[at]) + tree.coefficients[at] * fetch(tree.seconds[at]);
        }
    }

    /// The same where values may be missing.
    pub(super) fn fetch_pairs_or_missing(&mut self, tree: &Pairs, tile: &[f32]) {
        self.fetch_pairs(tree, tile);
        self.missing(&tree.padded);
    }
}
