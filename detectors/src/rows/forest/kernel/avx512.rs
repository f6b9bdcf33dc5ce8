//! The passes with AVX-512: all tables of a tree are looked up in registers, and only values are
//! fetched one by one.

use super::ROWS;
use super::padded::Padded;
use super::passes::{Passes, column};
use fearless_simd::{Avx512, f32x16, kernel, prelude::*, u32x16};
#[cfg(target_arch = "x86")]
use std::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

pub(super) const LANES: usize = 16;

/// Adds each row's path length in one tree. No value of the tile is missing.
pub(super) fn paths(token: Avx512, tree: &Padded, tile: &[f32], passes: &mut Passes, sums: &mut [f32; ROWS]) {
    dense(token, tree, tile, passes);
    passes.fetch_values(tile);
    level_4(token, tree, passes);
    passes.fetch_values(tile);
    level_5(token, tree, passes);
    passes.fetch_values(tile);
    level_6(token, tree, passes);
    passes.fetch_values(tile);
    level_7(token, tree, passes, sums);
}

#[inline(always)]
pub(super) fn floats(token: Avx512, values: &[f32; LANES]) -> __m512 {
    f32x16::simd_from(token, *values).into()
}

#[inline(always)]
pub(super) fn integers(token: Avx512, values: &[u32; LANES]) -> __m512i {
    u32x16::simd_from(token, *values).into()
}

#[inline(always)]
pub(super) fn stored(token: Avx512, values: __m512i) -> [u32; LANES] {
    u32x16::simd_from(token, values).into()
}

/// So many vectors of a table, from the given place on.
#[inline(always)]
pub(super) fn table<const N: usize, T, V>(
    all: &[T],
    start: usize,
    load: impl Fn(&[T; LANES]) -> V,
) -> [V; N] {
    let chunks = all[start..].as_chunks().0;
    std::array::from_fn(|i| load(&chunks[i]))
}

kernel!(
    /// Levels 0 to 3 compare whole columns; then the addresses for level 4.
    fn dense(token: Avx512, tree: &Padded, tile: &[f32], passes: &mut Passes) {
        let columns: [&[f32; ROWS]; 16] = std::array::from_fn(|place| column(tile, tree.columns[place]));
        let [thresholds] = table(&tree.thresholds, 0, |chunk| floats(token, chunk));
        let [next] = table(&tree.columns, 16, |chunk| integers(token, chunk));
        let rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let places = passes.places.as_chunks_mut::<LANES>().0;
        let addresses = passes.addresses.as_chunks_mut::<LANES>().0;
        for (group, (places, addresses)) in places.iter_mut().zip(addresses).enumerate() {
            let x = |place: usize| floats(token, &columns[place].as_chunks().0[group]);
            let place = descend(token, std::array::from_fn(x), thresholds);
            *places = stored(token, place);
            let row = _mm512_add_epi32(rows, _mm512_set1_epi32((group * LANES) as i32));
            *addresses = stored(token, _mm512_add_epi32(row, _mm512_permutexvar_epi32(place, next)));
        }
    }
);

kernel!(
    /// The places at level 4, from what is compared at each place above it.
    #[inline]
    pub(super) fn descend(_token: Avx512, x: [__m512; 16], thresholds: __m512) -> __m512i {
        let one = _mm512_set1_epi32(1);
        let pick = |right: __mmask16, a: __m512, b: __m512| _mm512_mask_blend_ps(right, a, b);
        let right = |x: __m512, place: __m512i| {
            _mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, _mm512_permutexvar_ps(place, thresholds))
        };
        let child = |place: __m512i, right: __mmask16| {
            let left = _mm512_add_epi32(place, place);
            _mm512_mask_add_epi32(left, right, left, one)
        };
        let m0 = right(x[1], one);
        let place = child(one, m0);
        let m1 = right(pick(m0, x[2], x[3]), place);
        let place = child(place, m1);
        let m2 = right(pick(m0, pick(m1, x[4], x[5]), pick(m1, x[6], x[7])), place);
        let place = child(place, m2);
        let two = |first: usize| pick(m2, x[first], x[first + 1]);
        let m3 = right(pick(m0, pick(m1, two(8), two(10)), pick(m1, two(12), two(14))), place);
        child(place, m3)
    }
);

/// A level between: its thresholds and the next level's columns are looked up.
macro_rules! level {
    ($(#[$meta:meta])* $name:ident, $first:literal, $thresholds:literal $threshold:ident, $columns:literal $column:ident) => {
        kernel!(
            $(#[$meta])*
            fn $name(token: Avx512, tree: &Padded, passes: &mut Passes) {
                let one = _mm512_set1_epi32(1);
                let thresholds: [__m512; $thresholds] =
                    table(&tree.thresholds, $first, |chunk| floats(token, chunk));
                let columns: [__m512i; $columns] =
                    table(&tree.columns, 2 * $first, |chunk| integers(token, chunk));
                let rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let places = passes.places.as_chunks_mut::<LANES>().0;
                let values = passes.values.as_chunks::<LANES>().0;
                let addresses = passes.addresses.as_chunks_mut::<LANES>().0;
                for (group, (places, (addresses, values))) in
                    places.iter_mut().zip(addresses.iter_mut().zip(values)).enumerate()
                {
                    let place = integers(token, places);
                    let threshold = $threshold(token, thresholds, place);
                    let right = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(floats(token, values), threshold);
                    let left = _mm512_add_epi32(place, place);
                    let place = _mm512_mask_add_epi32(left, right, left, one);
                    *places = stored(token, place);
                    let row = _mm512_add_epi32(rows, _mm512_set1_epi32((group * LANES) as i32));
                    let column = _mm512_castps_si512($column(token, columns.map(|c| _mm512_castsi512_ps(c)), place));
                    *addresses = stored(token, _mm512_add_epi32(row, column));
                }
            }
        );
    };
}

level!(level_4, 16, 1 of_16, 2 of_32);
level!(level_5, 32, 2 of_32, 4 of_64);
level!(level_6, 64, 4 of_64, 8 of_128);

kernel!(
    /// The last level, and the leaves.
    fn level_7(token: Avx512, tree: &Padded, passes: &mut Passes, sums: &mut [f32; ROWS]) {
        let one = _mm512_set1_epi32(1);
        let thresholds: [__m512; 8] = table(&tree.thresholds, 128, |chunk| floats(token, chunk));
        let paths: [__m512; 16] = table(&tree.paths, 0, |chunk| floats(token, chunk));
        let places = passes.places.as_chunks::<LANES>().0;
        let values = passes.values.as_chunks::<LANES>().0;
        let sums = sums.as_chunks_mut::<LANES>().0;
        for (sums, (places, values)) in sums.iter_mut().zip(places.iter().zip(values)) {
            let place = integers(token, places);
            let threshold = of_128(token, thresholds, place);
            let right = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(floats(token, values), threshold);
            let left = _mm512_add_epi32(place, place);
            let place = _mm512_mask_add_epi32(left, right, left, one);
            let path = of_256(token, paths, place);
            *sums = f32x16::simd_from(token, _mm512_add_ps(floats(token, sums), path)).into();
        }
    }
);

kernel!(
    #[inline]
    pub(super) fn of_16(_token: Avx512, table: [__m512; 1], place: __m512i) -> __m512 {
        _mm512_permutexvar_ps(place, table[0])
    }
);

kernel!(
    #[inline]
    pub(super) fn of_32(_token: Avx512, table: [__m512; 2], place: __m512i) -> __m512 {
        _mm512_permutex2var_ps(table[0], place, table[1])
    }
);

/// A table of twice as many entries: one more bit of the place decides between two lookups.
macro_rules! twice {
    ($name:ident, $entries:literal, $half:ident, $vectors:literal) => {
        kernel!(
            #[inline]
            pub(super) fn $name(token: Avx512, table: [__m512; $vectors], place: __m512i) -> __m512 {
                let low = std::array::from_fn(|i| table[i]);
                let high = std::array::from_fn(|i| table[$vectors / 2 + i]);
                let upper = _mm512_test_epi32_mask(place, _mm512_set1_epi32($entries / 2));
                _mm512_mask_blend_ps(upper, $half(token, low, place), $half(token, high, place))
            }
        );
    };
}

twice!(of_64, 64, of_32, 4);
twice!(of_128, 128, of_64, 8);
twice!(of_256, 256, of_128, 16);
