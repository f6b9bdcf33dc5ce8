//! Streams made of labelled matrices: each row is judged, then learned (prequential evaluation).

use crate::cpu_seconds;
use crate::matrix::{Matrix, auc_and_ap};
use anyhow::Result;
use ndarray::Axis;
use peak_core::snapshot;
use peak_detectors::{Detector, Persist, Refusal, RsHash};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;

/// How a stream was judged.
#[derive(Debug, Clone, Serialize)]
pub struct Streamed {
    /// Whose detector.
    pub peer: &'static str,
    /// Rows.
    pub n: usize,
    /// Features.
    pub d: usize,
    /// Of the order of the rows and of the detector.
    pub seed: u64,
    /// Rows that the detector refused to judge while it warmed up; they are in no rank.
    pub refused: usize,
    /// Area under the ROC curve, where outliers and others were judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auc: Option<f64>,
    /// Average precision, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ap: Option<f64>,
    /// The share of the rows that are no outliers which were called anomalous; of all rows, where
    /// outliers are not known.
    pub alarms: f64,
    /// Microseconds of the processor to judge and learn a row.
    pub us_per_point: f64,
    /// The bytes of the saved memory at the end.
    pub state_bytes: usize,
}

/// The rows in the order of a permutation that follows from `seed`.
#[must_use]
pub fn shuffled(matrix: &Matrix, seed: u64) -> Matrix {
    let mut rows: Vec<usize> = (0..matrix.x.nrows()).collect();
    rows.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let outliers = matrix.outliers.as_ref().map(|outliers| rows.iter().map(|&row| outliers[row]).collect());
    Matrix { x: matrix.x.select(Axis(0), &rows), outliers }
}

/// Steps a detector made with `seed` through the rows as they come.
///
/// # Errors
/// When a row is refused for another reason than warming up, or the memory cannot be saved.
pub fn prequential(matrix: &Matrix, seed: u64) -> Result<Streamed> {
    let (n, d) = matrix.x.dim();
    let rows = matrix.x.as_standard_layout();
    let mut detector = RsHash::builder(d).seed(seed).build()?;
    let mut judged = Vec::with_capacity(n);
    let start = cpu_seconds();
    for row in rows.rows() {
        judged.push(detector.step(row.as_slice().unwrap_or_default()));
    }
    let seconds = cpu_seconds() - start;

    let (mut scores, mut outliers, mut refused) = (Vec::new(), Vec::new(), 0);
    let (mut normal, mut alarms) = (0u32, 0u32);
    for (i, judged) in judged.into_iter().enumerate() {
        match judged {
            Ok(verdict) => {
                let is_outlier = matrix.outliers.as_ref().is_some_and(|outliers| outliers[i]);
                scores.push(verdict.score);
                outliers.push(is_outlier);
                normal += u32::from(!is_outlier);
                alarms += u32::from(!is_outlier && verdict.anomalous);
            }
            Err(Refusal::TooShort { .. }) => refused += 1,
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let are_both_there = outliers.contains(&true) && outliers.contains(&false);
    let ranks = are_both_there.then(|| auc_and_ap(&scores, &outliers));
    let mut memory = Vec::new();
    snapshot::write(&mut memory, RsHash::KIND, RsHash::VERSION, &detector.memory())?;
    Ok(Streamed {
        peer: "peak-streaming",
        n,
        d,
        seed,
        refused,
        auc: ranks.map(|(auc, _)| auc),
        ap: ranks.map(|(_, ap)| ap),
        alarms: f64::from(alarms) / f64::from(normal.max(1)),
        us_per_point: 1e6 * seconds / n as f64,
        state_bytes: memory.len(),
    })
}
