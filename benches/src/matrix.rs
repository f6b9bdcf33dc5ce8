//! Matrices from NumPy's files.

use anyhow::{Context, Result, bail};
use ndarray::{Array1, Array2, Axis};
use ndarray_npy::{NpzReader, ReadNpyExt};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The most rows that are taken of a labelled matrix.
pub const MOST_ROWS: usize = 20_000;

/// A matrix, and which of its rows are outliers where that is known.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// A row per observation.
    pub x: Array2<f64>,
    /// Whether each row is an outlier.
    pub outliers: Option<Vec<bool>>,
}

/// Reads a `.npy` matrix of `f64`, or the `X` (`f64`) and `y` (`i64`, 1 for an outlier) of a `.npz`.
///
/// Of the latter, rows above [`MOST_ROWS`] are dropped by a permutation of its own seed, the same for
/// every caller but another than NumPy's; when fewer than ten outliers are left, all of them stay.
///
/// # Errors
/// When the file cannot be read or is something else.
pub fn read(path: &Path) -> Result<Matrix> {
    let open = || File::open(path).with_context(|| path.display().to_string());
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(Matrix { x: Array2::read_npy(BufReader::new(open()?))?, outliers: None }),
        Some("npz") => {
            let mut file = NpzReader::new(open()?)?;
            let x: Array2<f64> = file.by_name("X")?;
            let labels: Array1<i64> = file.by_name("y")?;
            let outliers: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
            if outliers.len() != x.nrows() {
                bail!("{}: {} labels for {} rows", path.display(), outliers.len(), x.nrows());
            }
            Ok(few(x, outliers))
        }
        _ => bail!("{}: neither .npy nor .npz", path.display()),
    }
}

fn few(x: Array2<f64>, outliers: Vec<bool>) -> Matrix {
    if outliers.len() <= MOST_ROWS {
        return Matrix { x, outliers: Some(outliers) };
    }
    let mut rows: Vec<usize> = (0..outliers.len()).collect();
    rows.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(0));
    let dropped = rows.split_off(MOST_ROWS);
    if rows.iter().filter(|&&row| outliers[row]).count() < 10 {
        rows.extend(dropped.into_iter().filter(|&row| outliers[row]));
    }
    rows.sort_unstable();
    let kept = rows.iter().map(|&row| outliers[row]).collect();
    Matrix { x: x.select(Axis(0), &rows), outliers: Some(kept) }
}

/// The area under the ROC curve and the average precision of scores; rows of equal score come
/// together.
#[must_use]
pub fn auc_and_ap(scores: &[f64], outliers: &[bool]) -> (f64, f64) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = outliers.iter().filter(|&&outlier| outlier).count() as f64;
    let negatives = outliers.len() as f64 - positives;
    let (mut found, mut alarms, mut area, mut precision) = (0.0, 0.0, 0.0, 0.0);
    for tie in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let hits = tie.iter().filter(|&&row| outliers[row]).count() as f64;
        let misses = tie.len() as f64 - hits;
        area += misses * (found + hits / 2.0);
        found += hits;
        alarms += misses;
        precision += hits * found / (found + alarms);
    }
    (area / (positives * negatives), precision / positives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_judged_as_scikit_learn_does() {
        let scores = [0.1, 0.4, 0.35, 0.8, 0.35, 0.9];
        let outliers = [false, false, true, true, false, false];
        let (auc, ap) = auc_and_ap(&scores, &outliers);
        // roc_auc_score and average_precision_score of scikit-learn 1.9.
        assert!((auc - 0.5625).abs() < 1e-12 && (ap - 0.45).abs() < 1e-12, "{auc} {ap}");
    }
}
