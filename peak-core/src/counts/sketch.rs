//! Counts in bounded memory: a HyperLogLog sketch for the number of labels, signed sums for the sum of
//! squares, and the most frequent labels with the counts that they have at most.

use super::Uncertainty;
use super::distinct::Distinct;
use super::label::Packed;
use super::labels::{Labels, MOST};
use crate::CountMoments;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Bounded counts. With a precision p they take about 2^p · 10 bytes for labels like digests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub(super) struct Sketch {
    precision: u8,
    /// All occurrences.
    records: u64,
    distinct: Distinct,
    squares: Squares,
    /// The most frequent labels and the counts that they have at most: a label that is counted for
    /// the first time may have occurred as often as the ones that were dropped.
    frequent: Labels,
    /// The largest count that was dropped, and thus the most that a count is too large.
    surplus: u64,
}

const LEAST_PRECISION: u8 = 6;
const MOST_PRECISION: u8 = 16;
/// All that there are.
pub(super) const PRECISIONS: RangeInclusive<u8> = LEAST_PRECISION..=MOST_PRECISION;
const BYTES_PER_REGISTER: usize = 10;

/// How many labels are kept, at most.
fn room(precision: u8) -> usize {
    1 << (precision - 3)
}

/// How many counters the sum of squares has.
pub(super) fn counters(precision: u8) -> usize {
    1 << (precision - 3)
}

impl Sketch {
    fn empty(precision: u8) -> Self {
        Sketch {
            precision,
            records: 0,
            distinct: Distinct::new(precision),
            squares: Squares(vec![0; counters(precision)]),
            frequent: Labels::default(),
            surplus: 0,
        }
    }

    /// Exact counts in half their memory; `None` when they are too small for that.
    pub(super) fn of_half(labels: &Labels) -> Option<Self> {
        let fits = |precision: &u8| (BYTES_PER_REGISTER << precision) <= labels.heap_bytes() / 2;
        let precision = PRECISIONS.rev().find(fits)?;
        let mut sketch = Sketch::empty(precision);
        labels.iter().for_each(|entry| sketch.count(entry.label.fingerprint(), entry.count));
        let dropped = nth_largest(labels, room(precision) / 2);
        sketch.frequent = labels.above(dropped);
        sketch.surplus = dropped;
        Some(sketch)
    }

    /// Counts a label of this hash. Returns by how many bytes the memory grew.
    pub(super) fn add(&mut self, label: Packed<'_>, hash: impl Fn() -> u64, count: u64) -> isize {
        self.count(label.fingerprint(), count);
        let grown = self.frequent.add(label, hash, count, count.saturating_add(self.surplus)) as isize;
        if self.frequent.len() <= room(self.precision) {
            return grown;
        }
        let before = self.frequent.heap_bytes() as isize;
        self.drop_to(room(self.precision) / 2);
        grown + self.frequent.heap_bytes() as isize - before
    }

    /// As [`Labels::touch`].
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.frequent.touch(hash)
    }

    pub(super) fn add_all(&mut self, labels: &Labels) {
        for entry in labels.iter() {
            self.add(entry.label, || entry.label.hash(), entry.count);
        }
    }

    /// What does not depend on the label itself.
    fn count(&mut self, fingerprint: u64, count: u64) {
        self.records = self.records.saturating_add(count);
        self.distinct.add(fingerprint);
        self.squares.add(fingerprint, count);
    }

    /// Keeps at most so many labels, the most frequent ones.
    fn drop_to(&mut self, most: usize) {
        if self.frequent.len() > most {
            self.surplus = nth_largest(&self.frequent, most);
            self.frequent = self.frequent.above(self.surplus);
        }
    }

    /// Halves the memory. False when there is nothing left to halve.
    pub(super) fn halve(&mut self) -> bool {
        if self.precision == LEAST_PRECISION {
            return false;
        }
        self.precision -= 1;
        self.distinct.halve();
        self.squares.halve();
        self.drop_to(room(self.precision) / 2);
        true
    }

    pub(super) fn merge(&mut self, other: &Self) {
        while self.precision > other.precision {
            self.halve();
        }
        let mut other = other.clone();
        while other.precision > self.precision {
            other.halve();
        }
        self.records = self.records.saturating_add(other.records);
        self.distinct.merge(&other.distinct);
        self.squares.merge(&other.squares);
        // A label that one side does not know may have occurred there as often as its surplus.
        let mut frequent = Labels::default();
        let both = |label: Packed<'_>| self.get(label).saturating_add(other.get(label));
        for entry in self.frequent.iter().chain(other.frequent.iter()) {
            frequent.add(entry.label, || entry.label.hash(), 0, both(entry.label));
        }
        self.frequent = frequent;
        self.surplus = self.surplus.saturating_add(other.surplus);
        if self.frequent.len() > room(self.precision) {
            self.drop_to(room(self.precision) / 2);
        }
    }

    /// How often the label occurred at most.
    pub(super) fn get(&self, label: Packed<'_>) -> u64 {
        self.frequent.get(label).unwrap_or(self.surplus)
    }

    pub(super) fn distinct(&self) -> u64 {
        (self.distinct.estimate().round() as u64).max(self.frequent.len() as u64).min(self.records)
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.frequent
    }

    pub(super) fn moments(&self) -> CountMoments {
        let n = self.distinct();
        let max = self.frequent.iter().map(|entry| entry.count).max().unwrap_or(self.surplus);
        // By Cauchy and Schwarz the sum of squares is at least (Σc)²/n.
        let least = u128::from(self.records).pow(2).div_ceil(u128::from(n.max(1)));
        CountMoments::from_parts(n, self.records, self.squares.estimate().max(least), max.min(self.records))
    }

    pub(super) fn uncertainty(&self) -> Uncertainty {
        Uncertainty { precision: self.precision, surplus: self.surplus }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let sketches = (1 << self.precision) + size_of::<i64>() * self.squares.0.len();
        size_of::<Self>() + sketches + self.frequent.heap_bytes()
    }
}

/// The count that exactly `n` others precede in order of size; 0 when there are no more than `n`.
fn nth_largest(labels: &Labels, n: usize) -> u64 {
    let mut counts: Vec<u64> = labels.iter().map(|entry| entry.count).collect();
    match counts.len().checked_sub(n + 1) {
        Some(index) => *counts.select_nth_unstable(index).1,
        None => 0,
    }
}

/// The stored form of a [`Sketch`].
#[derive(Deserialize)]
struct Stored {
    precision: u8,
    records: u64,
    distinct: Distinct,
    squares: Squares,
    frequent: Labels,
    surplus: u64,
}

impl TryFrom<Stored> for Sketch {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let Stored { precision, records, distinct, squares, frequent, surplus } = stored;
        let fits = PRECISIONS.contains(&precision)
            && distinct.len() == 1 << precision
            && squares.0.len() == counters(precision)
            && frequent.len() <= room(precision);
        if !fits {
            return Err("bounded counts must have one precision throughout");
        }
        let sketch = Sketch { precision, records, distinct, squares, frequent, surplus };
        if !sketch.is_possible() {
            return Err("bounded counts must be possible");
        }
        Ok(sketch)
    }
}

impl Sketch {
    /// Whether some records make these numbers.
    ///
    /// What the labels have above the surplus, and room/2 times the surplus, are together no more than
    /// all occurrences: counting adds the same to both sides, and dropping moves the surplus up to what
    /// room/2 labels have at least. Nothing is known of what has reached its maximum.
    fn is_possible(&self) -> bool {
        let Sketch { precision, records, distinct, squares, frequent, surplus } = self;
        let is_maximum = *records == u64::MAX;
        let above = frequent.iter().map(|entry| u128::from(entry.count.saturating_sub(*surplus)));
        let counted = above.sum::<u128>() + u128::from(*surplus) * (room(*precision) / 2) as u128;
        let signed = squares.0.iter().map(|sum| u128::from(sum.unsigned_abs())).sum::<u128>();
        (is_maximum || counted.max(signed) <= u128::from(*records))
            && frequent.iter().all(|entry| entry.count > *surplus || entry.count == MOST)
            && frequent.iter().all(|entry| distinct.may_hold(entry.label.fingerprint()))
            && (*records > 0) == (distinct.estimate() > 0.0)
    }
}

/// Counters that add or subtract the count of each label that falls to them, as its hash has it. The
/// sum of their squares estimates the sum of the squares of the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Squares(Vec<i64>);

impl Squares {
    /// The counter of a label, and whether it adds: other bits than those that make most of a rank.
    fn place(&self, fingerprint: u64) -> (usize, bool) {
        let low = fingerprint as u32;
        ((low >> (u32::BITS - self.0.len().trailing_zeros())) as usize, low & 1 == 0)
    }

    fn add(&mut self, fingerprint: u64, count: u64) {
        let (counter, adds) = self.place(fingerprint);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let signed = if adds { count } else { -count };
        self.0[counter] = self.0[counter].saturating_add(signed);
    }

    fn halve(&mut self) {
        self.0 =
            self.0.chunks(2).map(|pair| pair.iter().fold(0, |sum: i64, &c| sum.saturating_add(c))).collect();
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, &more)| *sum = sum.saturating_add(more));
    }

    fn estimate(&self) -> u128 {
        self.0.iter().map(|&sum| u128::from(sum.unsigned_abs()).pow(2)).fold(0, u128::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::super::label::Words;
    use super::*;

    /// Six kinds of labels.
    const KINDS: [fn(u64) -> String; 6] = [
        |i| format!("{i:040x}"),
        |i| format!("{:016x}", i.wrapping_mul(0x2545_f491_4f6c_dd1d)),
        |i| format!("{i:08x}-0000-4000-8000-00000000cafe"),
        |i| (10_000_000 + i).to_string(),
        |i| format!("user {i}"),
        |i| format!("https://example.org/{}/{i}/index.html", "a/long/path/".repeat(6)),
    ];

    #[test]
    fn estimates_err_as_they_state() {
        let (mut words, trials) = (Words::default(), 80);
        for (kind, label) in KINDS.iter().enumerate() {
            for n in [100, 3_000] {
                let (mut distinct, mut squares) = (0.0, 0.0);
                for trial in 0..trials {
                    let mut sketch = Sketch::empty(8);
                    let mut truth = CountMoments::default();
                    for i in 0..n {
                        let label = Packed::new(&label(trial * 100_000 + i), &mut words).fingerprint();
                        sketch.count(label, 1 + i % 3);
                        truth.push(1 + i % 3);
                    }
                    let error =
                        |estimate: f64, truth: f64, stated: f64| ((estimate / truth - 1.0) / stated).powi(2);
                    let stated = sketch.uncertainty();
                    distinct += error(sketch.distinct.estimate(), truth.n() as f64, stated.distinct());
                    let (estimate, truth) = (sketch.squares.estimate(), truth.sum_of_squares());
                    squares += error(estimate as f64, truth as f64, stated.sum_of_squares());
                }
                let rms = |sum: f64| (sum / trials as f64).sqrt();
                let (distinct, squares) = (rms(distinct), rms(squares));
                assert!((0.3..1.25).contains(&distinct), "kind {kind}, {n} labels: {distinct}");
                assert!((0.7..1.3).contains(&squares), "kind {kind}, {n} labels: {squares}");
            }
        }
    }
}
