//! Saving and restoring what an [`RsHash`] has learned.

use super::grid::BINS;
use super::scale::Scale;
use super::{HEAVIEST, LARGEST, RsHash};
use crate::contract::Persist;
use crate::contract::valid::is_count;
use crate::worth::histogram::Histogram;
use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// What an [`RsHash`] has learned.
#[derive(Debug, Clone, Deserialize)]
pub struct RsHashMemory {
    seed: u64,
    learned: u64,
    unit: f64,
    scales: Vec<Scale>,
    counts: Vec<f32>,
    totals: Vec<f32>,
    tail: Histogram,
}

/// The same, borrowed.
#[derive(Serialize)]
struct Stored<'a> {
    seed: u64,
    learned: u64,
    unit: f64,
    scales: &'a [Scale],
    counts: &'a [f32],
    totals: &'a [f32],
    tail: &'a Histogram,
}

impl Persist for RsHash {
    type Memory = RsHashMemory;
    const KIND: &'static str = "rs-hash";
    const VERSION: u16 = 1;

    fn memory(&self) -> impl Serialize {
        Stored {
            seed: self.model.seed,
            learned: self.learned,
            unit: self.unit,
            scales: &self.scales,
            counts: self.counts.as_flattened(),
            totals: &self.totals,
            tail: &self.tail,
        }
    }

    /// The width, the grids and the seed must be those of the detector that was saved; the half-life,
    /// the rate and the names may differ.
    fn restore(&mut self, memory: RsHashMemory) -> Result<()> {
        let RsHashMemory { seed, learned, unit, scales, counts, totals, tail } = memory;
        let of_this_shape = (scales.len(), counts.len(), totals.len())
            == (self.scales.len(), BINS * self.counts.len(), self.totals.len());
        if seed != self.model.seed || !of_this_shape {
            let rule = "must be of a detector with this width, these grids and this seed";
            return Err(Error::invalid("memory", rule, "another"));
        }
        let counts_are_valid = counts.iter().chain(&totals).all(|&count| is_count(count));
        let is_valid = counts_are_valid
            && learned <= Self::LEAST
            && (1.0..HEAVIEST).contains(&unit)
            && scales.iter().all(|scale| scale.is_valid(LARGEST))
            && tail.is_valid();
        if !is_valid {
            return Err(Error::invalid("memory", "must be what a detector can learn", "something else"));
        }
        (self.learned, self.unit, self.scales, self.tail) = (learned, unit, scales, tail);
        self.counts.as_flattened_mut().copy_from_slice(&counts);
        self.totals = totals;
        Ok(())
    }
}
