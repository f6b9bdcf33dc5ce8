//! Labelled matrices as streams: each row is judged, then learned (prequential evaluation).

use crate::cpu_seconds;
use crate::matrix::{Matrix, auc_and_ap};
use anyhow::Result;
use peak_core::snapshot;
use peak_detectors::{Detector, Persist, Refusal, RsHash, Verdict};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use std::time::Instant;

/// How a stream was judged.
#[derive(Debug, Clone)]
pub struct Streamed {
    /// Rows that the detector refused to judge while it warmed up; they are in no rank.
    pub refused: usize,
    /// Area under the ROC curve and average precision, where outliers and others were judged.
    pub auc_and_ap: Option<(f64, f64)>,
    /// The share of the rows that are no outliers which were called anomalous; of all rows, where
    /// outliers are not known.
    pub alarms: f64,
    /// The seconds of the processor that it took.
    pub cpu_s: f64,
    /// The seconds that it took.
    pub wall_s: f64,
    /// The bytes of the saved memory at the end.
    pub state_bytes: usize,
    /// Of each row of the matrix; NaN where it was refused or is not in the stream.
    pub scores: Vec<f64>,
}

/// The places of so many rows in an order that follows from `seed`.
#[must_use]
pub fn shuffled(rows: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    order
}

/// Steps a detector made with `seed` through the rows at these places, in their order.
///
/// # Errors
/// When a row is refused for another reason than warming up, or the memory cannot be saved.
pub fn prequential(matrix: &Matrix, order: &[usize], seed: u64) -> Result<Streamed> {
    let rows = matrix.x.as_standard_layout();
    let mut detector = RsHash::builder(matrix.x.ncols()).seed(seed).build()?;
    let mut judged = Vec::with_capacity(order.len());
    let (start, cpu) = (Instant::now(), cpu_seconds());
    for &row in order {
        judged.push(detector.step(rows.row(row).as_slice().unwrap_or_default()));
    }
    let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);

    let mut scores = vec![f64::NAN; matrix.x.nrows()];
    let (mut ranked, mut outliers, mut refused) = (Vec::new(), Vec::new(), 0);
    let (mut normal, mut alarms) = (0u32, 0u32);
    for (judged, &row) in judged.into_iter().zip(order) {
        match judged {
            Ok(Verdict { score, anomalous, .. }) => {
                let is_outlier = matrix.outliers.as_ref().is_some_and(|outliers| outliers[row]);
                scores[row] = score;
                ranked.push(score);
                outliers.push(is_outlier);
                normal += u32::from(!is_outlier);
                alarms += u32::from(!is_outlier && anomalous);
            }
            Err(Refusal::TooShort { .. }) => refused += 1,
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let are_both_there = outliers.contains(&true) && outliers.contains(&false);
    let mut memory = Vec::new();
    snapshot::write(&mut memory, RsHash::KIND, RsHash::VERSION, &detector.memory())?;
    Ok(Streamed {
        refused,
        auc_and_ap: are_both_there.then(|| auc_and_ap(&ranked, &outliers)),
        alarms: f64::from(alarms) / f64::from(normal.max(1)),
        cpu_s,
        wall_s,
        state_bytes: memory.len(),
        scores,
    })
}
