//! One row at a time.

use super::ROWS;
use super::padded::{LEVELS, PLACES, Padded};
use super::pairs::Pairs;

/// A padded tree with all about a split side by side, and nothing that a row is seldom in need of:
/// the less memory the trees lie in, the sooner it is read.
#[derive(Debug, Clone)]
pub(in crate::forest) struct Single<S> {
    splits: [S; PLACES],
    paths: [f32; PLACES],
}

/// Threshold and feature.
pub(in crate::forest) type Plain = (f32, u32);

/// A split that looks at two features.
#[derive(Debug, Clone, Copy)]
pub(in crate::forest) struct Pair {
    threshold: f32,
    coefficient: f32,
    first: u32,
    second: u32,
}

/// How many trees a row goes down together: while the memory of one is waited for, others go on.
const TOGETHER: usize = 128;

impl Single<Plain> {
    pub(super) fn new(tree: &Padded) -> Self {
        let split = |place: usize| (tree.thresholds[place], tree.columns[place] / ROWS as u32);
        Single { splits: std::array::from_fn(split), paths: tree.paths }
    }
}

impl Single<Pair> {
    pub(super) fn of_pairs(tree: &Pairs) -> Self {
        let split = |place: usize| Pair {
            threshold: tree.padded.thresholds[place],
            coefficient: tree.coefficients[place],
            first: tree.padded.columns[place] / ROWS as u32,
            second: tree.seconds[place] / ROWS as u32,
        };
        Single { splits: std::array::from_fn(split), paths: tree.padded.paths }
    }
}

/// The sum of a row's path lengths.
pub(super) fn path(trees: &[Padded], singles: &[Single<Plain>], row: &[f32]) -> f32 {
    sum(trees, singles, row, |tree| tree, |(threshold, feature)| (row[feature as usize], threshold))
}

/// The same, where splits look at two features.
pub(super) fn path_of_pairs(trees: &[Pairs], singles: &[Single<Pair>], row: &[f32]) -> f32 {
    let compared = |Pair { threshold, coefficient, first, second }| {
        (row[first as usize] + coefficient * row[second as usize], threshold)
    };
    sum(trees, singles, row, |tree| &tree.padded, compared)
}

/// `compared` says of a split which value is compared with which threshold.
#[inline(always)]
fn sum<T, S: Copy>(
    trees: &[T],
    singles: &[Single<S>],
    row: &[f32],
    padded: impl Fn(&T) -> &Padded,
    compared: impl Fn(S) -> (f32, f32),
) -> f32 {
    let missing = row.iter().any(|value| value.is_nan());
    let mut sum = 0.0;
    for (trees, singles) in trees.chunks(TOGETHER).zip(singles.chunks(TOGETHER)) {
        // Leaf 256 + i is place i here.
        let mut places = [1u8; TOGETHER];
        for _ in 0..LEVELS {
            for (place, (tree, single)) in places.iter_mut().zip(trees.iter().zip(singles)) {
                let at = usize::from(*place);
                let (mut value, threshold) = compared(single.splits[at]);
                if missing && value.is_nan() {
                    value = padded(tree).missing[at];
                }
                *place = *place << 1 | u8::from(value >= threshold);
            }
        }
        let paths = singles.iter().zip(places).map(|(single, leaf)| single.paths[usize::from(leaf)]);
        sum = paths.fold(sum, |sum, path| sum + path);
    }
    sum
}
