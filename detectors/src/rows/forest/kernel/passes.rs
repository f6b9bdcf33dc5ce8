//! The passes of a tile through one tree: any instructions will do.

use super::ROWS;
use super::padded::{PLACES, Padded};
use fearless_simd::{Simd, f32x8, prelude::*, u32x8};

/// Where the rows of a tile are in a tree, and what they are compared with there. A vector that lies across
/// two cache lines would be read twice, so it is aligned, as trees are.
#[derive(Debug)]
#[repr(align(64))]
#[cfg_attr(
    not(any(target_arch = "x86", target_arch = "x86_64")),
    allow(dead_code, reason = "only AVX-512 fetches by address")
)]
pub(super) struct Passes {
    /// The place of each row in the padded tree.
    pub(super) places: [u32; ROWS],
    /// Where the value is in the tile.
    pub(super) addresses: [u32; ROWS],
    pub(super) values: [f32; ROWS],
    /// The same of the second features, where splits have two.
    pub(super) second_addresses: [u32; ROWS],
    pub(super) second_values: [f32; ROWS],
    pub(super) thresholds: [f32; ROWS],
}

impl Default for Passes {
    fn default() -> Self {
        Passes {
            places: [1; ROWS],
            addresses: [0; ROWS],
            values: [0.0; ROWS],
            second_addresses: [0; ROWS],
            second_values: [0.0; ROWS],
            thresholds: [0.0; ROWS],
        }
    }
}

/// The levels that compare whole columns.
pub(super) const DENSE: u32 = 3;
const LANES: usize = 8;

/// The column that begins there.
#[inline(always)]
pub(super) fn column(tile: &[f32], start: u32) -> &[f32; ROWS] {
    match tile[start as usize..].first_chunk() {
        Some(column) => column,
        None => unreachable!("a tile has whole columns"),
    }
}

impl Passes {
    /// All rows are at the root.
    pub(super) fn start(&mut self) {
        self.places.fill(1);
    }

    /// Takes all rows down the first levels by comparing with columns as a whole, and says how many levels.
    #[inline(always)]
    pub(super) fn dense<S: Simd>(&mut self, simd: S, tree: &Padded, tile: &[f32]) -> u32 {
        let columns: [&[[f32; LANES]]; 8] =
            std::array::from_fn(|place| column(tile, tree.columns[place]).as_chunks().0);
        let thresholds: [f32x8<S>; 8] =
            std::array::from_fn(|place| f32x8::splat(simd, tree.thresholds[place]));
        let one = u32x8::splat(simd, 1);
        let zero = u32x8::splat(simd, 0);
        for (group, places) in self.places.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let x = |place: usize| f32x8::simd_from(simd, columns[place][group]);
            let t = |place: usize| thresholds[place];
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
        DENSE
    }

    /// Fetches what each row is compared with. Not inlined into code for instructions that gather: that
    /// is slower where it is slow.
    #[inline(never)]
    pub(super) fn fetch(&mut self, tree: &Padded, tile: &[f32]) {
        let rows = self.values.iter_mut().zip(&mut self.thresholds).zip(&self.places);
        for (row, ((value, threshold), &place)) in rows.enumerate() {
            let at = place as usize % PLACES;
            *threshold = tree.thresholds[at];
            *value = tile[(tree.columns[at] as usize + row) & (tile.len() - 1)];
        }
    }

    /// The same where values may be missing.
    pub(super) fn fetch_or_missing(&mut self, tree: &Padded, tile: &[f32]) {
        self.fetch(tree, tile);
        self.missing(tree);
    }

    /// Puts what stands for a missing value where one was fetched.
    pub(super) fn missing(&mut self, tree: &Padded) {
        for (value, &place) in self.values.iter_mut().zip(&self.places) {
            if value.is_nan() {
                *value = tree.missing[place as usize % PLACES];
            }
        }
    }

    /// Fetches the values from their addresses alone.
    #[inline(never)]
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    pub(super) fn fetch_values(&mut self, tile: &[f32]) {
        for (value, &address) in self.values.iter_mut().zip(&self.addresses) {
            *value = tile[address as usize & (tile.len() - 1)];
        }
    }

    /// The same for both features of a split.
    #[inline(never)]
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    pub(super) fn fetch_both_values(&mut self, tile: &[f32]) {
        let firsts = self.values.iter_mut().zip(&self.addresses);
        let seconds = self.second_values.iter_mut().zip(&self.second_addresses);
        for ((first, &first_address), (second, &second_address)) in firsts.zip(seconds) {
            *first = tile[first_address as usize & (tile.len() - 1)];
            *second = tile[second_address as usize & (tile.len() - 1)];
        }
    }

    /// Takes all rows down one level.
    #[inline(always)]
    pub(super) fn compare<S: Simd>(&mut self, simd: S) {
        let one = u32x8::splat(simd, 1);
        let zero = u32x8::splat(simd, 0);
        let places = self.places.as_chunks_mut::<LANES>().0.iter_mut();
        let values = self.values.as_chunks::<LANES>().0.iter();
        let thresholds = self.thresholds.as_chunks::<LANES>().0.iter();
        for (places, (&values, &thresholds)) in places.zip(values.zip(thresholds)) {
            let right = f32x8::simd_from(simd, values).simd_ge(f32x8::simd_from(simd, thresholds));
            let place = u32x8::simd_from(simd, *places);
            *places = (place + place + right.select(one, zero)).into();
        }
    }

    /// Adds the path lengths of the leaves that the rows came to.
    #[inline(never)]
    pub(super) fn add(&self, tree: &Padded, sums: &mut [f32; ROWS]) {
        for (sum, &place) in sums.iter_mut().zip(&self.places) {
            *sum += tree.path(place);
        }
    }
}
