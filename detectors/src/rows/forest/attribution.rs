//! Why a row is strange: which features set it apart, and what would not have.

use super::IsolationForest;
use super::node::Node;
use super::scaler::Boundary;
use crate::contract::{Counterfactual, Refusal};
use serde::Serialize;

/// How much each feature adds to a row's score.
///
/// On its way down a tree, a row passes nodes of which each has a mean path length, that of its training
/// rows. A split that takes the row to a node of shorter paths makes it stranger; the difference is
/// booked to the split's feature, or shared between its two. Over all trees these differences add up to
/// how much shorter than usual the row's paths are. They are then brought to the scale of the score, all
/// by the same factor, so that they add up to `score - baseline`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attribution {
    /// The row's score.
    pub score: f64,
    /// The score of a row whose paths are as long as the training rows' on average.
    pub baseline: f64,
    /// Per column, how much of `score - baseline` is the feature's: above 0 what makes the row
    /// stranger. They add up to it within 10⁻⁶, as the score is a sum of 32-bit path lengths. A
    /// feature that no tree looks at has 0.
    pub contributions: Vec<f64>,
}

impl IsolationForest {
    /// How much each feature adds to a row's score; takes about as long as scoring the row some times
    /// over.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn attribute(&self, row: &[f64]) -> Result<Attribution, Refusal> {
        let score = self.score(row)?;
        let row = self.scaled(row);
        let (mut shares, mut usual) = (vec![0.0; row.len()], 0.0);
        for tree in &self.trees {
            let mut node = &tree[0];
            usual += f64::from(node.path);
            while !node.is_leaf() {
                let child = &tree[node.child(|feature| row[feature])];
                let mut difference = f64::from(node.path) - f64::from(child.path);
                if let Some(second) = node.direction.second {
                    let share = difference * f64::from(second.share);
                    shares[second.feature as usize] += share;
                    difference -= share;
                }
                shares[node.direction.feature as usize] += difference;
                node = child;
            }
        }
        // A length of this halves the score.
        let unit = self.trees.len() as f64 * self.normal;
        let baseline = libm::exp2(-usual / unit);
        let shorter = shares.iter().sum::<f64>() / unit * std::f64::consts::LN_2;
        let growth = if shorter == 0.0 { 1.0 } else { libm::expm1(shorter) / shorter };
        let factor = baseline * growth * std::f64::consts::LN_2 / unit;
        shares.iter_mut().for_each(|share| *share *= factor);
        Ok(Attribution { score, baseline, contributions: shares })
    }

    /// The smallest change of a single feature, measured in the spread of its training values, with which
    /// a row would not score above the cutoff; `None` when it does not anyway, or when no single
    /// feature suffices. Missing features are not considered.
    ///
    /// # Errors
    /// As [`score`](Self::score).
    pub fn counterfactual(&self, row: &[f64]) -> Result<Option<Counterfactual>, Refusal> {
        let score = self.score(row)?;
        if score <= self.cutoff.score {
            return Ok(None);
        }
        let scaled = self.scaled(row);
        let mut ways: Vec<Way> = (0..row.len()).flat_map(|feature| self.ways(&scaled, feature)).collect();
        ways.sort_by(|a, b| a.change.total_cmp(&b.change));
        let mut changed = row.to_vec();
        for Way { feature, from, to, .. } in ways {
            let scale = self.scales[feature];
            let above = (from > f32::NEG_INFINITY).then(|| scale.boundary(from, Boundary::NotBelow));
            let below = (to < f32::INFINITY).then(|| scale.boundary(to, Boundary::Below));
            let finite = |bound: Option<f64>| bound.filter(|value| value.is_finite());
            let (above, below) = (finite(above), finite(below));
            let Some(value) = (if from > scaled[feature] { above } else { below }) else { continue };
            // What rounding makes of it is what counts.
            changed[feature] = value;
            if self.score(&changed)? <= self.cutoff.score {
                let statistic = self.names[feature].clone().into();
                return Ok(Some(Counterfactual { statistic, above, below }));
            }
            changed[feature] = row[feature];
        }
        Ok(None)
    }

    /// The row as the trees see it.
    fn scaled(&self, row: &[f64]) -> Vec<f32> {
        row.iter().zip(&self.scales).map(|(&value, scale)| scale.apply(value)).collect()
    }

    /// The ranges of a feature in which the row would be quiet, everything else being equal.
    fn ways(&self, row: &[f32], feature: usize) -> Vec<Way> {
        let value = row[feature];
        if value.is_nan() {
            return Vec::new();
        }
        // How the sum of path lengths changes as the feature rises.
        let (mut lowest, mut steps, mut pieces) = (0.0, Vec::new(), Vec::new());
        for tree in &self.trees {
            pieces.clear();
            reach(tree, 0, row, feature, (f32::NEG_INFINITY, f32::INFINITY), &mut pieces);
            lowest += pieces.first().map_or(0.0, |&(_, path)| path);
            let differences = pieces.windows(2).map(|pair| (pair[1].0, pair[1].1 - pair[0].1));
            steps.extend(differences);
        }
        steps.sort_unstable_by(|a: &(f32, f64), b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let enough = -libm::log2(self.cutoff.score) * self.trees.len() as f64 * self.normal;
        let mut ways: Vec<Way> = Vec::new();
        let (mut from, mut sum, mut quiet_from) = (f32::NEG_INFINITY, lowest, None);
        let mut close = |from: f32, to: f32| {
            let change = if from > value { from - value } else { value - to };
            ways.push(Way { feature, from, to, change });
        };
        for steps in steps.chunk_by(|a, b| a.0 == b.0) {
            match (sum >= enough, quiet_from) {
                (true, None) => quiet_from = Some(from),
                (false, Some(start)) => {
                    close(start, from);
                    quiet_from = None;
                }
                _ => {}
            }
            from = steps[0].0;
            sum += steps.iter().map(|step| step.1).sum::<f64>();
        }
        match (sum >= enough, quiet_from) {
            (true, start) => close(start.unwrap_or(from), f32::INFINITY),
            (false, Some(start)) => close(start, from),
            (false, None) => {}
        }
        ways
    }
}

/// A range of a feature in which the row would be quiet: from, inclusive, to, exclusive.
#[derive(Debug, Clone, Copy)]
struct Way {
    feature: usize,
    from: f32,
    to: f32,
    /// How far away it is.
    change: f32,
}

/// The path lengths that the row can come to in a tree when one feature is free, and from which value of
/// the feature on, in ascending order.
fn reach(
    tree: &[Node],
    node: usize,
    row: &[f32],
    free: usize,
    (from, to): (f32, f32),
    pieces: &mut Vec<(f32, f64)>,
) {
    let split = &tree[node];
    if split.is_leaf() {
        pieces.push((from, f64::from(split.path)));
        return;
    }
    let Some(Turn { at, below, above }) = turn(split, row, free) else {
        return reach(tree, split.child(|feature| row[feature]), row, free, (from, to), pieces);
    };
    if from < at {
        reach(tree, below, row, free, (from, to.min(at)), pieces);
    }
    if at < to {
        reach(tree, above, row, free, (from.max(at), to), pieces);
    }
}

/// Where a row turns from one child of a split to the other as one of its features rises.
struct Turn {
    /// From here on it goes to the one, below to the other; infinite when it never does.
    at: f32,
    below: usize,
    above: usize,
}

/// `None` when it does not depend on the feature.
fn turn(split: &Node, row: &[f32], free: usize) -> Option<Turn> {
    let (left, right) = (split.left as usize, split.left as usize + 1);
    let first = split.direction.feature as usize;
    let Some(second) = split.direction.second else {
        return (first == free).then_some(Turn { at: split.threshold, below: left, above: right });
    };
    let other = if first == free { second.feature as usize } else { first };
    if (second.feature as usize != free && first != free) || row[other].is_nan() {
        return None;
    }
    // Rounding included: sums and products keep the order of what they are of.
    let is_right = |free_value: f32| {
        split.child(|feature| if feature == free { free_value } else { row[feature] }) == right
    };
    if first == free || second.coefficient > 0.0 {
        Some(Turn { at: first_where(is_right), below: left, above: right })
    } else {
        Some(Turn { at: first_where(|value| !is_right(value)), below: right, above: left })
    }
}

/// The smallest number of which `holds` is true, when it is true of all above; infinite when it is true
/// of all finite numbers, or of none.
fn first_where(holds: impl Fn(f32) -> bool) -> f32 {
    // Numbers in their order, as integers in theirs.
    let number = |order: i32| f32::from_bits((order ^ ((order >> 31) & i32::MAX)) as u32);
    let order = |number: f32| {
        let bits = number.to_bits() as i32;
        bits ^ ((bits >> 31) & i32::MAX)
    };
    let (mut low, mut high) = (order(f32::NEG_INFINITY), order(f32::INFINITY));
    if holds(f32::MIN) {
        return f32::NEG_INFINITY;
    }
    // Not true at `low`, true at `high` if anywhere.
    while i64::from(high) - i64::from(low) > 1 {
        let middle = ((i64::from(low) + i64::from(high)) / 2) as i32;
        if holds(number(middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    number(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_is_found_exactly() {
        for at in [-3e38f32, -1.5, -1e-45, 1e-45, 0.1, 7.0f32.next_up(), 3e38] {
            assert_eq!(first_where(|number| number >= at), at);
        }
        assert_eq!(first_where(|_| true), f32::NEG_INFINITY);
        assert_eq!(first_where(|_| false), f32::INFINITY);
    }
}
