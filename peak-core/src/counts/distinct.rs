//! How many different fingerprints there were: a HyperLogLog sketch (Flajolet, Fusy, Gandouet and
//! Meunier, 2007) with Ertl's improved estimator (*New cardinality estimation algorithms for HyperLogLog
//! sketches*, 2017), which needs neither tables nor other regimes for small and large numbers.

use crate::bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Registers of a byte each. The leading bits of a fingerprint choose one of them, and it keeps the
/// largest rank that came to it: the place of the first one among the bits that follow.
///
/// Registers are maxima, so sketches of one precision merge exactly. They can be halved exactly, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distinct(Vec<u8>);

impl Distinct {
    pub(super) fn new(precision: u8) -> Self {
        Distinct(vec![0; 1 << precision])
    }

    /// The number of leading bits that choose a register.
    fn precision(&self) -> u32 {
        self.0.len().trailing_zeros()
    }

    /// The register of a fingerprint, and its rank.
    fn place(&self, fingerprint: u64) -> (usize, u8) {
        let precision = self.precision();
        let rest = fingerprint << precision;
        let rank = rest.leading_zeros().min(u64::BITS - precision) + 1;
        ((fingerprint >> (u64::BITS - precision)) as usize, rank as u8)
    }

    pub(super) fn add(&mut self, fingerprint: u64) {
        let (register, rank) = self.place(fingerprint);
        self.0[register] = self.0[register].max(rank);
    }

    /// Whether the fingerprint may have been added.
    pub(super) fn may_hold(&self, fingerprint: u64) -> bool {
        let (register, rank) = self.place(fingerprint);
        self.0[register] >= rank
    }

    /// Makes it the sketch that it would be with half the registers from the start: the last bit that
    /// chose a register becomes the first of the rank.
    pub(super) fn halve(&mut self) {
        let half = |pair: &[u8]| match pair {
            [0, 0] => 0,
            [0, _] => 1,
            [zero, _] => zero + 1,
            _ => 0,
        };
        self.0 = self.0.chunks_exact(2).map(half).collect();
    }

    /// Takes in another sketch of the same precision.
    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(rank, &other)| *rank = (*rank).max(other));
    }

    /// An estimate of how many there were. Its bits are the same everywhere: nothing but sums, products
    /// and square roots.
    pub(super) fn estimate(&self) -> f64 {
        let registers = self.0.len() as f64;
        let most = (u64::BITS - self.precision() + 1) as usize;
        let mut with_rank = [0u32; u64::BITS as usize + 1];
        self.0.iter().for_each(|&rank| with_rank[usize::from(rank)] += 1);
        let share = |rank: usize| f64::from(with_rank[rank]) / registers;
        let full = registers * tau(1.0 - share(most));
        let sum = (1..most).rev().fold(full, |sum, rank| 0.5 * (sum + f64::from(with_rank[rank])));
        let sum = sum + registers * sigma(share(0));
        registers * registers / (2.0 * std::f64::consts::LN_2) / sum
    }

    /// Registers that were stored. `None` when no fingerprints can have made them.
    fn restored(registers: Vec<u8>) -> Option<Self> {
        let precision = registers.len().trailing_zeros();
        let is_possible = registers.len().is_power_of_two()
            && (1..=16).contains(&precision)
            && registers.iter().all(|&rank| u32::from(rank) <= u64::BITS - precision + 1);
        is_possible.then_some(Distinct(registers))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// x + Σ x^(2^k)·2^(k−1), which registers that are still 0 stand for.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight *= 2.0;
        if sum == before {
            return sum;
        }
    }
}

/// (1 − x − Σ (1 − x^(2^−k))²·2^−k)/3, which registers at their largest rank stand for.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

/// Stored as bytes.
impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes(&*self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes(registers) = Bytes::<Vec<u8>>::deserialize(deserializer)?;
        let refused = || serde::de::Error::custom("registers must hold ranks of their fingerprints");
        Distinct::restored(registers).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(precision: u8, fingerprints: &[u64]) -> Distinct {
        let mut distinct = Distinct::new(precision);
        fingerprints.iter().for_each(|&fingerprint| distinct.add(fingerprint));
        distinct
    }

    fn random(i: u64) -> u64 {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    #[test]
    fn few_are_counted_nearly_exactly_and_none_is_none() {
        assert_eq!(Distinct::new(16).estimate(), 0.0);
        assert_eq!(sketch(16, &[7]).estimate().round(), 1.0);
        assert_eq!(sketch(16, &[0]).estimate().round(), 1.0);
        let hundred: Vec<u64> = (0..100).map(random).collect();
        assert!((sketch(16, &hundred).estimate() - 100.0).abs() < 1.0);
    }

    #[test]
    fn an_estimate_is_the_same_everywhere() {
        let distinct = sketch(8, &(0..10_000).map(random).collect::<Vec<_>>());
        assert_eq!(distinct.estimate().to_bits(), 0x40c3_6e92_aa56_12bd);
    }

    #[test]
    fn ranks_fit_their_registers() {
        for precision in 6..=16 {
            let most = 65 - precision;
            assert_eq!(Distinct::new(precision).place(0), (0, most));
            assert_eq!(Distinct::new(precision).place(1), (0, most - 1));
            assert_eq!(Distinct::new(precision).place(u64::MAX), ((1 << precision) - 1, 1));
            let full = vec![most; 1 << precision];
            assert!(Distinct::restored(full).unwrap().estimate() > 1e17);
            let mut too_many = vec![0; 1 << precision];
            too_many[3] = most + 1;
            assert_eq!(Distinct::restored(too_many), None);
        }
        for registers in [0, 1, 3, 100, 1 << 17] {
            assert_eq!(Distinct::restored(vec![0; registers]), None, "{registers}");
        }
    }

    proptest! {
        #[test]
        fn half_a_sketch_is_a_sketch_of_half_the_precision(fingerprints: Vec<u64>, few: Vec<u16>, precision in 7..=16u8) {
            let few = few.iter().map(|&few| u64::from(few) << 50 | u64::from(few & 3));
            let fingerprints: Vec<u64> = fingerprints.into_iter().chain(few).collect();
            let mut half = sketch(precision, &fingerprints);
            half.halve();
            prop_assert_eq!(half, sketch(precision - 1, &fingerprints));
        }

        #[test]
        fn parts_make_the_whole(fingerprints: Vec<u64>, cut: u8) {
            let (left, right) = fingerprints.split_at(usize::from(cut).min(fingerprints.len()));
            let mut merged = sketch(6, left);
            merged.merge(&sketch(6, right));
            prop_assert!(fingerprints.iter().all(|&fingerprint| merged.may_hold(fingerprint)));
            prop_assert_eq!(merged, sketch(6, &fingerprints));
        }
    }
}
