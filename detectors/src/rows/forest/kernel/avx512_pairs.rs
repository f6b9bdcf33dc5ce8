//! The passes with AVX-512 where splits look at two features: as for one, with two more tables.

use super::ROWS;
use super::avx512::{LANES, descend, floats, integers, of_16, of_32, of_64, of_128, of_256, stored, table};
use super::pairs::Pairs;
use super::passes::{Passes, column};
use fearless_simd::{Avx512, f32x16, kernel, prelude::*};
#[cfg(target_arch = "x86")]
use std::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Adds each row's path length in one tree. No value of the tile is missing.
pub(super) fn paths(token: Avx512, tree: &Pairs, tile: &[f32], passes: &mut Passes, sums: &mut [f32; ROWS]) {
    dense(token, tree, tile, passes);
    passes.fetch_both_values(tile);
    level_4(token, tree, passes);
    passes.fetch_both_values(tile);
    level_5(token, tree, passes);
    passes.fetch_both_values(tile);
    level_6(token, tree, passes);
    passes.fetch_both_values(tile);
    level_7(token, tree, passes, sums);
}

kernel!(
    /// What is compared: the product is rounded before the sum, as everywhere.
    #[inline]
    fn sum(_token: Avx512, first: __m512, second: __m512, coefficient: __m512) -> __m512 {
        _mm512_add_ps(first, _mm512_mul_ps(second, coefficient))
    }
);

kernel!(
    /// Levels 0 to 3 compare whole columns; then the addresses for level 4.
    fn dense(token: Avx512, tree: &Pairs, tile: &[f32], passes: &mut Passes) {
        let firsts: [&[f32; ROWS]; 16] =
            std::array::from_fn(|place| column(tile, tree.padded.columns[place]));
        let seconds: [&[f32; ROWS]; 16] = std::array::from_fn(|place| column(tile, tree.seconds[place]));
        let chunk = |column: &[f32; ROWS], group: usize| floats(token, &column.as_chunks().0[group]);
        let [thresholds] = table(&tree.padded.thresholds, 0, |chunk| floats(token, chunk));
        let [next_first] = table(&tree.padded.columns, 16, |chunk| integers(token, chunk));
        let [next_second] = table(&tree.seconds, 16, |chunk| integers(token, chunk));
        let rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let places = passes.places.as_chunks_mut::<LANES>().0;
        let first_addresses = passes.addresses.as_chunks_mut::<LANES>().0;
        let second_addresses = passes.second_addresses.as_chunks_mut::<LANES>().0;
        for (group, (places, (first_addresses, second_addresses))) in
            places.iter_mut().zip(first_addresses.iter_mut().zip(second_addresses)).enumerate()
        {
            let x = |place: usize| {
                let (first, second) = (chunk(firsts[place], group), chunk(seconds[place], group));
                sum(token, first, second, _mm512_set1_ps(tree.coefficients[place]))
            };
            let place = descend(token, std::array::from_fn(x), thresholds);
            *places = stored(token, place);
            let row = _mm512_add_epi32(rows, _mm512_set1_epi32((group * LANES) as i32));
            let first = _mm512_permutexvar_epi32(place, next_first);
            *first_addresses = stored(token, _mm512_add_epi32(row, first));
            let second = _mm512_permutexvar_epi32(place, next_second);
            *second_addresses = stored(token, _mm512_add_epi32(row, second));
        }
    }
);

/// A level between: its thresholds and coefficients and the next level's columns are looked up.
macro_rules! level {
    ($name:ident, $first:literal, $splits:literal $split:ident, $columns:literal $column:ident) => {
        kernel!(
            fn $name(token: Avx512, tree: &Pairs, passes: &mut Passes) {
                let one = _mm512_set1_epi32(1);
                let thresholds: [__m512; $splits] =
                    table(&tree.padded.thresholds, $first, |chunk| floats(token, chunk));
                let coefficients: [__m512; $splits] =
                    table(&tree.coefficients, $first, |chunk| floats(token, chunk));
                let columns = |all: &[u32]| -> [__m512; $columns] {
                    table(all, 2 * $first, |chunk| _mm512_castsi512_ps(integers(token, chunk)))
                };
                let (firsts, seconds) = (columns(&tree.padded.columns), columns(&tree.seconds));
                let rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let places = passes.places.as_chunks_mut::<LANES>().0.iter_mut();
                let values = passes.values.as_chunks::<LANES>().0.iter();
                let values = values.zip(passes.second_values.as_chunks::<LANES>().0);
                let addresses = passes.addresses.as_chunks_mut::<LANES>().0.iter_mut();
                let addresses = addresses.zip(passes.second_addresses.as_chunks_mut::<LANES>().0);
                for (group, ((places, (first, second)), (first_addresses, second_addresses))) in
                    places.zip(values).zip(addresses).enumerate()
                {
                    let place = integers(token, places);
                    let coefficient = $split(token, coefficients, place);
                    let value = sum(token, floats(token, first), floats(token, second), coefficient);
                    let threshold = $split(token, thresholds, place);
                    let right = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(value, threshold);
                    let left = _mm512_add_epi32(place, place);
                    let place = _mm512_mask_add_epi32(left, right, left, one);
                    *places = stored(token, place);
                    let row = _mm512_add_epi32(rows, _mm512_set1_epi32((group * LANES) as i32));
                    let first = _mm512_castps_si512($column(token, firsts, place));
                    *first_addresses = stored(token, _mm512_add_epi32(row, first));
                    let second = _mm512_castps_si512($column(token, seconds, place));
                    *second_addresses = stored(token, _mm512_add_epi32(row, second));
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
    fn level_7(token: Avx512, tree: &Pairs, passes: &mut Passes, sums: &mut [f32; ROWS]) {
        let one = _mm512_set1_epi32(1);
        let thresholds: [__m512; 8] = table(&tree.padded.thresholds, 128, |chunk| floats(token, chunk));
        let coefficients: [__m512; 8] = table(&tree.coefficients, 128, |chunk| floats(token, chunk));
        let paths: [__m512; 16] = table(&tree.padded.paths, 0, |chunk| floats(token, chunk));
        let places = passes.places.as_chunks::<LANES>().0.iter();
        let values = passes.values.as_chunks::<LANES>().0.iter();
        let values = values.zip(passes.second_values.as_chunks::<LANES>().0);
        let sums = sums.as_chunks_mut::<LANES>().0.iter_mut();
        for (sums, (places, (first, second))) in sums.zip(places.zip(values)) {
            let place = integers(token, places);
            let coefficient = of_128(token, coefficients, place);
            let value = sum(token, floats(token, first), floats(token, second), coefficient);
            let threshold = of_128(token, thresholds, place);
            let right = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(value, threshold);
            let left = _mm512_add_epi32(place, place);
            let place = _mm512_mask_add_epi32(left, right, left, one);
            let path = of_256(token, paths, place);
            *sums = f32x16::simd_from(token, _mm512_add_ps(floats(token, sums), path)).into();
        }
    }
);
