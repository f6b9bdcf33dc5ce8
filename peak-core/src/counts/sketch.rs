//! Counts in bounded memory: a HyperLogLog sketch for the number of labels, signed sums for the sum of
//! squares, and the most frequent labels with the counts that they have at most.

use super::Uncertainty;
use super::label::Packed;
use super::labels::Labels;
use crate::CountMoments;
use crate::bytes::Bytes;
use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// Exact counts in half their memory; `None` when they are too small for that.
    pub(super) fn of_half(labels: &Labels) -> Option<Self> {
        let fits = |precision: &u8| (BYTES_PER_REGISTER << precision) <= labels.heap_bytes() / 2;
        let precision = (LEAST_PRECISION..=MOST_PRECISION).rev().find(fits)?;
        let mut sketch = Sketch {
            precision,
            records: 0,
            distinct: Distinct::new(precision),
            squares: Squares(vec![0; counters(precision)]),
            frequent: Labels::default(),
            surplus: 0,
        };
        labels.iter().for_each(|entry| sketch.count(entry.label.hash(), entry.count));
        let dropped = nth_largest(labels, room(precision) / 2);
        sketch.frequent = labels.above(dropped);
        sketch.surplus = dropped;
        Some(sketch)
    }

    pub(super) fn add(&mut self, label: Packed<'_>, count: u64) {
        let hash = label.hash();
        self.count(hash, count);
        self.frequent.add(label, || hash, count, count.saturating_add(self.surplus));
        if self.frequent.len() > room(self.precision) {
            self.drop_to(room(self.precision) / 2);
        }
    }

    /// As [`Labels::touch`].
    pub(super) fn touch(&self, hash: u64) -> u64 {
        self.frequent.touch(hash) ^ self.squares.0[self.squares.place(hash).0] as u64
    }

    pub(super) fn add_all(&mut self, labels: &Labels) {
        labels.iter().for_each(|entry| self.add(entry.label, entry.count));
    }

    /// What does not depend on the label itself.
    fn count(&mut self, hash: u64, count: u64) {
        self.records = self.records.saturating_add(count);
        self.distinct.add(hash);
        self.squares.add(hash, count);
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
        self.distinct.halve(self.precision);
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
        self.distinct.merge(&other.distinct, self.precision);
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
        let fits = (LEAST_PRECISION..=MOST_PRECISION).contains(&precision)
            && distinct.0.lg_config_k() == precision
            && squares.0.len() == counters(precision)
            && frequent.len() <= room(precision);
        if !fits {
            return Err("bounded counts must have one precision throughout");
        }
        Ok(Sketch { precision, records, distinct, squares, frequent, surplus })
    }
}

/// The number of different hashes.
#[derive(Debug, Clone, PartialEq)]
struct Distinct(HllSketch);

impl Distinct {
    fn new(precision: u8) -> Self {
        Distinct(HllSketch::new(precision, HllType::Hll8).expect("a precision from 4 to 21"))
    }

    fn add(&mut self, hash: u64) {
        self.0.update_with_coupon(Coupon::from_value(hash));
    }

    /// An estimate that depends on what was counted alone, not on its order.
    fn estimate(&self) -> f64 {
        self.0.composite_estimate()
    }

    fn halve(&mut self, precision: u8) {
        *self = Self::union([self], precision);
    }

    fn merge(&mut self, other: &Self, precision: u8) {
        *self = Self::union([self, other], precision);
    }

    fn union<const N: usize>(parts: [&Self; N], precision: u8) -> Self {
        let mut union = HllUnion::new(precision).expect("a precision from 4 to 21");
        parts.iter().for_each(|part| union.update(&part.0));
        Distinct(union.to_sketch(HllType::Hll8))
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(&*self.0.serialize()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::<Vec<u8>>::deserialize(deserializer)?;
        HllSketch::deserialize(&bytes).map(Distinct).map_err(Error::custom)
    }
}

/// Counters that add or subtract the count of each label that falls to them, as its hash has it. The
/// sum of their squares estimates the sum of the squares of the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Squares(Vec<i64>);

impl Squares {
    /// The counter of a label, and whether it adds.
    fn place(&self, hash: u64) -> (usize, bool) {
        // Another hash than the one that places the labels.
        let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((hash >> (u64::BITS - self.0.len().trailing_zeros())) as usize, hash & 1 << 20 == 0)
    }

    fn add(&mut self, hash: u64, count: u64) {
        let (counter, adds) = self.place(hash);
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
