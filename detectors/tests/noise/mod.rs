//! Noise for made-up feeds.

#![allow(dead_code, reason = "no test needs all of it")]

use std::f64::consts::TAU;

/// Reproducible noise, about normal with a standard deviation of 1.
pub(crate) fn noise(i: usize) -> f64 {
    let uniform = |i: usize| {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ (x >> 29)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..12).map(|k| uniform(12 * i + k)).sum::<f64>() - 6.0
}

/// A source of random numbers: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Between 0 and 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((x ^ (x >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// With a standard deviation of 1 (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// A count; a large one is about normal.
    pub(crate) fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }

    /// A count with a variance of mean + mean² / `shape`: of a rate that is the sum of so many exponential
    /// ones.
    pub(crate) fn negative_binomial(&mut self, mean: f64, shape: u32) -> f64 {
        let rate: f64 = (0..shape).map(|_| -self.uniform().ln()).sum();
        self.poisson(mean * rate / f64::from(shape))
    }
}
