//! Matrices from NumPy's files.

use anyhow::{Context, Result, bail};
use ndarray::{Array, Array1, Array2, Axis, Dimension};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpyExt, ReadNpzError, ReadableElement};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::fs::File;
use std::io::{BufReader, Seek};
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

/// Reads a `.npy` matrix, or the `X` and `y` (1 or true for an outlier) of a `.npz`, of whatever real numbers.
///
/// Of the latter, rows above [`MOST_ROWS`] are dropped by a permutation of its own seed, the same for
/// every caller but another than NumPy's; when fewer than ten outliers are left, all of them stay.
///
/// # Errors
/// When the file cannot be read or is something else.
pub fn read(path: &Path) -> Result<Matrix> {
    let file = || File::open(path).with_context(|| path.display().to_string());
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => {
            let x = numbers(&mut file()?).with_context(|| path.display().to_string())?;
            Ok(Matrix { x, outliers: None })
        }
        Some("npz") => {
            let mut file = NpzReader::new(file()?)?;
            let part = |name| format!("{name} of {}", path.display());
            let x: Array2<f64> = numbers(&mut Part(&mut file, "X")).with_context(|| part("X"))?;
            let labels: Array1<f64> = numbers(&mut Part(&mut file, "y")).with_context(|| part("y"))?;
            let outliers: Vec<bool> = labels.iter().map(|&label| label == 1.0).collect();
            if outliers.len() != x.nrows() {
                bail!("{}: {} labels for {} rows", path.display(), outliers.len(), x.nrows());
            }
            Ok(few(x, outliers))
        }
        _ => bail!("{}: neither .npy nor .npz", path.display()),
    }
}

/// Where an array stands that may be of any kind of number.
trait Stored {
    fn array<T: ReadableElement, D: Dimension>(&mut self) -> Result<Array<T, D>, ReadNpyError>;
}

impl Stored for File {
    fn array<T: ReadableElement, D: Dimension>(&mut self) -> Result<Array<T, D>, ReadNpyError> {
        self.rewind()?;
        Array::read_npy(BufReader::new(self))
    }
}

/// An array of a `.npz` and its name.
struct Part<'a>(&'a mut NpzReader<File>, &'a str);

impl Stored for Part<'_> {
    fn array<T: ReadableElement, D: Dimension>(&mut self) -> Result<Array<T, D>, ReadNpyError> {
        self.0.by_name(self.1).map_err(|error| match error {
            ReadNpzError::Npy(error) => error,
            ReadNpzError::Zip(error) => ReadNpyError::Io(error.into()),
        })
    }
}

/// The array as it is, or made of integers, single precision or truths.
#[allow(clippy::cast_lossless, reason = "some of these lose digits, which is fine here")]
fn numbers<D: Dimension>(stored: &mut impl Stored) -> Result<Array<f64, D>, ReadNpyError> {
    macro_rules! first_that_fits {
        ($($number:ty),*) => {
            $(match stored.array::<$number, D>() {
                Err(ReadNpyError::WrongDescriptor(_)) => {}
                found => return Ok(found?.mapv(|x| x as f64)),
            })*
        };
    }
    first_that_fits!(f64, i64, i32, f32, i16, i8, u8, u16, u32, u64);
    Ok(stored.array::<bool, D>()?.mapv(|x| f64::from(u8::from(x))))
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
    fn integers_and_truths_are_read_as_numbers() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("set.npz");
        let mut file = ndarray_npy::NpzWriter::new(File::create(&path)?);
        file.add_array("X", &ndarray::array![[1i32, -2], [3, 4], [5, 6]])?;
        file.add_array("y", &ndarray::array![false, true, false])?;
        file.finish()?;
        let Matrix { x, outliers } = read(&path)?;
        assert_eq!(
            (x, outliers),
            (ndarray::array![[1.0, -2.0], [3.0, 4.0], [5.0, 6.0]], Some(vec![false, true, false]))
        );

        let path = folder.path().join("matrix.npy");
        ndarray_npy::write_npy(&path, &ndarray::array![[200u8, 0], [7, 1]])?;
        assert_eq!(read(&path)?.x, ndarray::array![[200.0, 0.0], [7.0, 1.0]]);
        ndarray_npy::write_npy(&path, &ndarray::array![1.0, 2.0])?;
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("matrix.npy: ndim 1"), "{error}");
        Ok(())
    }

    #[test]
    fn ranks_are_judged_as_scikit_learn_does() {
        let scores = [0.1, 0.4, 0.35, 0.8, 0.35, 0.9];
        let outliers = [false, false, true, true, false, false];
        let (auc, ap) = auc_and_ap(&scores, &outliers);
        // roc_auc_score and average_precision_score of scikit-learn 1.9.
        assert!((auc - 0.5625).abs() < 1e-12 && (ap - 0.45).abs() < 1e-12, "{auc} {ap}");
    }
}
