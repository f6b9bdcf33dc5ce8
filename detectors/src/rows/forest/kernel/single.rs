//! One row at a time.

use super::ROWS;
use super::padded::{LEVELS, PLACES, Padded};
use super::pairs::Pairs;

/// Padded trees with all about a split side by side, and leaves apart: the less memory a row goes through,
/// the sooner it is read.
#[derive(Debug, Clone)]
pub(in crate::rows::forest) struct Singles<S> {
    splits: Vec<[S; PLACES]>,
    paths: Vec<[f32; PLACES]>,
}

/// Threshold and feature.
pub(in crate::rows::forest) type Plain = (f32, u32);

/// A split that looks at two features.
#[derive(Debug, Clone, Copy)]
pub(in crate::rows::forest) struct Pair {
    threshold: f32,
    coefficient: f32,
    first: u32,
    second: u32,
}

/// How many trees a row goes down together: while the memory of one is waited for, others go on.
const TOGETHER: usize = 128;

impl<S> Singles<S> {
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.splits[..]) + size_of_val(&self.paths[..])
    }
}

impl Singles<Plain> {
    pub(super) fn new(trees: &[Padded]) -> Self {
        let split = |tree: &Padded, place| (tree.thresholds[place], tree.columns[place] / ROWS as u32);
        let splits = trees.iter().map(|tree| std::array::from_fn(|place| split(tree, place)));
        Singles { splits: splits.collect(), paths: trees.iter().map(|tree| tree.paths).collect() }
    }
}

impl Singles<Pair> {
    pub(super) fn of_pairs(trees: &[Pairs]) -> Self {
        let split = |tree: &Pairs, place: usize| Pair {
            threshold: tree.padded.thresholds[place],
            coefficient: tree.coefficients[place],
            first: tree.padded.columns[place] / ROWS as u32,
            second: tree.seconds[place] / ROWS as u32,
        };
        let splits = trees.iter().map(|tree| std::array::from_fn(|place| split(tree, place)));
        Singles { splits: splits.collect(), paths: trees.iter().map(|tree| tree.padded.paths).collect() }
    }
}

/// The sum of a row's path lengths.
pub(super) fn path(trees: &[Padded], singles: &Singles<Plain>, row: &[f32]) -> f32 {
    sum(trees, singles, row, |tree| tree, |(threshold, feature)| (row[feature as usize], threshold))
}

/// The same, where splits look at two features.
pub(super) fn path_of_pairs(trees: &[Pairs], singles: &Singles<Pair>, row: &[f32]) -> f32 {
    let compared = |Pair { threshold, coefficient, first, second }| {
        (row[first as usize] + coefficient * row[second as usize], threshold)
    };
    sum(trees, singles, row, |tree| &tree.padded, compared)
}

/// `compared` says of a split which value is compared with which threshold.
#[inline(always)]
fn sum<T, S: Copy>(
    trees: &[T],
    singles: &Singles<S>,
    row: &[f32],
    padded: impl Fn(&T) -> &Padded,
    compared: impl Fn(S) -> (f32, f32),
) -> f32 {
    let missing = row.iter().any(|value| value.is_nan());
    let mut sum = 0.0;
    let tables = singles.splits.chunks(TOGETHER).zip(singles.paths.chunks(TOGETHER));
    for (trees, (splits, paths)) in trees.chunks(TOGETHER).zip(tables) {
        // Leaf 256 + i is place i here.
        let mut places = [1u8; TOGETHER];
        for _ in 0..LEVELS {
            for (place, (tree, splits)) in places.iter_mut().zip(trees.iter().zip(splits)) {
                let at = usize::from(*place);
                let (mut value, threshold) = compared(splits[at]);
                if missing && value.is_nan() {
                    value = padded(tree).missing[at];
                }
                *place = *place << 1 | u8::from(value >= threshold);
            }
        }
        let leaves = paths.iter().zip(places);
        sum = leaves.fold(sum, |sum, (paths, leaf)| sum + paths[usize::from(leaf)]);
    }
    sum
}
