//! Randomness that depends on a seed alone: numbers in a sequence, and numbers that a hash draws from what
//! they are for, so that no order of threads or columns changes them.

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a bijection that mixes all bits.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number that depends on both in no simple way.
pub(crate) fn hash(a: u64, b: u64) -> u64 {
    mix(mix(a.wrapping_add(GOLDEN)) ^ b.wrapping_mul(GOLDEN).wrapping_add(0x632b_e59b_d9b4_e019))
}

/// The identity of a text.
pub(crate) fn hash_text(text: &str) -> u64 {
    text.bytes().fold(text.len() as u64, |state, byte| hash(state, u64::from(byte)))
}

/// From 0 (included) to 1 (excluded).
pub(crate) fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Below `end`, which is above 0 (Lemire, 2019, without the rejection: the bias is below 2⁻³²).
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.next()) * end as u128;
        (wide >> 64) as usize
    }

    /// From 0 (included) to 1 (excluded).
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.next())
    }
}
