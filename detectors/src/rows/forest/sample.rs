//! Which rows a tree is grown on: distinct ones, at a cost that does not depend on how many there are.

use crate::rows::random::{Random, hash, unit};
use foldhash::fast::FixedState;
use indexmap::IndexSet;
use ndarray::ArrayView2;
use peak_core::{Error, Result};

/// Where samples of rows come from.
#[derive(Debug)]
pub(super) enum Rows {
    /// So many rows, each as likely as any other.
    Equal(usize),
    /// The rows' weights, their running sums, and how many are not 0.
    Weighted { weights: Vec<f64>, sums: Vec<f64>, positive: usize },
}

impl Rows {
    /// # Errors
    /// When a weight is negative or not finite, when there is not one per row, or when all are 0.
    pub(super) fn weighted(weights: &[f64], rows: usize) -> Result<Self> {
        if weights.len() != rows {
            let rule = format!("must be one per row, {rows}");
            return Err(Error::invalid("row weights", rule, weights.len()));
        }
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(rows);
        for (row, &weight) in weights.iter().enumerate() {
            if !(weight >= 0.0 && weight.is_finite()) {
                let field = format!("weight of row {row}");
                return Err(Error::invalid(field, "must be finite and not negative", weight));
            }
            sum += weight;
            sums.push(sum);
        }
        let positive = weights.iter().filter(|&&weight| weight > 0.0).count();
        if positive < 2 || !sum.is_finite() {
            let rule = "must be above 0 for two rows at least, and have a finite sum";
            return Err(Error::invalid("row weights", rule, sum));
        }
        Ok(Rows::Weighted { weights: weights.to_vec(), sums, positive })
    }

    /// The same without the rows that have no value: nothing can be learned of them.
    ///
    /// # Errors
    /// Where a value is infinite, and when fewer than two rows are left.
    pub(super) fn of_which_there_are_values(self, x: ArrayView2<'_, f64>) -> Result<Self> {
        if x.iter().any(|value| value.is_infinite()) {
            return Err(infinite(x));
        }
        let has_value: Vec<bool> =
            x.rows().into_iter().map(|row| row.iter().any(|value| !value.is_nan())).collect();
        if !has_value.contains(&false) {
            return Ok(self);
        }
        let left = has_value.iter().filter(|&&has_value| has_value).count();
        if left < 2 {
            return Err(Error::invalid("rows with a value", "must be at least 2", left));
        }
        let weights = match self {
            Rows::Equal(rows) => vec![1.0; rows],
            Rows::Weighted { weights, .. } => weights,
        };
        let of_values = weights.iter().zip(&has_value).map(|(&weight, &has)| if has { weight } else { 0.0 });
        Rows::weighted(&of_values.collect::<Vec<_>>(), x.nrows())
    }

    /// How many rows can be drawn.
    pub(super) fn available(&self) -> usize {
        match self {
            Rows::Equal(rows) => *rows,
            Rows::Weighted { positive, .. } => *positive,
        }
    }

    /// So many distinct rows, in ascending order; all that can be drawn when there are no more.
    ///
    /// Rows of equal weight come by Floyd's method (Bentley and Floyd, 1987). Weighted rows are drawn
    /// one after the other, in proportion to their weights among those that are left.
    pub(super) fn sample(&self, size: usize, random: &mut Random) -> Vec<usize> {
        let size = size.min(self.available());
        let mut drawn: IndexSet<usize, FixedState> =
            IndexSet::with_capacity_and_hasher(size, FixedState::default());
        match self {
            Rows::Equal(rows) => {
                for last in rows - size..*rows {
                    if !drawn.insert(random.below(last + 1)) {
                        drawn.insert(last);
                    }
                }
            }
            Rows::Weighted { weights, sums, .. } => {
                let total = sums.last().copied().unwrap_or(0.0);
                for _ in 0..8 * size {
                    if drawn.len() == size {
                        break;
                    }
                    let at = random.unit() * total;
                    let row = sums.partition_point(|&sum| sum <= at);
                    if row < sums.len() {
                        drawn.insert(row);
                    }
                }
                draw_the_rest(weights, &mut drawn, size, random);
            }
        }
        let mut rows: Vec<usize> = drawn.into_iter().collect();
        rows.sort_unstable();
        rows
    }
}

/// The error about the first infinite value.
pub(super) fn infinite(x: ArrayView2<'_, f64>) -> Error {
    let found = x.indexed_iter().find(|(_, value)| value.is_infinite());
    let (place, value) = found.map_or(((0, 0), f64::INFINITY), |(place, &value)| (place, value));
    Error::invalid(format!("row {}, column {}", place.0, place.1), "must be finite, or NaN if missing", value)
}

/// Copies rows of a matrix into one piece. Next to nothing is done between two rows, so that the memory of
/// many is waited for together.
pub(super) fn gather(x: ArrayView2<'_, f64>, rows: &[usize], values: &mut Vec<f64>) {
    values.clear();
    values.reserve(rows.len() * x.ncols());
    for &row in rows {
        match x.row(row).to_slice() {
            Some(row) => values.extend_from_slice(row),
            None => values.extend(x.row(row)),
        }
    }
}

/// Where few rows have nearly all the weight, drawing again and again would not end. The smallest of
/// exponential times with the weights as rates follow the same law (Efraimidis and Spirakis, 2006).
fn draw_the_rest(weights: &[f64], drawn: &mut IndexSet<usize, FixedState>, size: usize, random: &mut Random) {
    if drawn.len() == size {
        return;
    }
    let seed = random.next();
    let time = |(row, &weight): (usize, &f64)| {
        let draw = unit(hash(seed, row as u64));
        (weight > 0.0 && !drawn.contains(&row)).then(|| (-libm::log1p(-draw) / weight, row))
    };
    let mut times: Vec<(f64, usize)> = weights.iter().enumerate().filter_map(time).collect();
    times.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    drawn.extend(times.iter().map(|&(_, row)| row).take(size - drawn.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_as_likely() {
        let (rows, mut counts) = (Rows::Equal(40), [0usize; 40]);
        for seed in 0..4_000 {
            let sample = rows.sample(10, &mut Random::new(seed));
            assert!(sample.len() == 10 && sample.is_sorted_by(|a, b| a < b));
            sample.iter().for_each(|&row| counts[row] += 1);
        }
        // 1000 ± 27.4 by the binomial law; five standard deviations.
        assert!(counts.iter().all(|&count| (863..=1137).contains(&count)), "{counts:?}");
    }

    #[test]
    fn weights_decide_how_likely_a_row_is() {
        let rows = Rows::weighted(&[1.0, 0.0, 3.0], 3).unwrap();
        assert_eq!(rows.sample(9, &mut Random::new(1)), [0, 2]);
        let first = |seed| rows.sample(1, &mut Random::new(seed))[0];
        let heavy = (0..10_000).filter(|&seed| first(seed) == 2).count();
        assert!((7_280..=7_720).contains(&heavy), "{heavy}");
    }

    #[test]
    fn a_row_with_nearly_all_weight_does_not_stop_the_others() {
        let mut weights = vec![1e-200; 300];
        weights[7] = 1e200;
        let sample = Rows::weighted(&weights, 300).unwrap().sample(256, &mut Random::new(3));
        assert!(sample.len() == 256 && sample.contains(&7));
    }
}
