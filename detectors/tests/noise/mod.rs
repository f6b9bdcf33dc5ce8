//! Noise for made-up feeds.

/// Reproducible noise, about normal with a standard deviation of 1.
pub(crate) fn noise(i: usize) -> f64 {
    let uniform = |i: usize| {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ (x >> 29)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..12).map(|k| uniform(12 * i + k)).sum::<f64>() - 6.0
}
