//! Whether restored numbers are of a kind that learning gives.

/// Whether sums and products of it stay numbers; what is learned is much smaller.
pub(crate) fn is_number(x: f64) -> bool {
    x.abs() < 1e60
}

/// Whether it can be what things weigh together.
pub(crate) fn is_weight(x: f64) -> bool {
    x >= 0.0 && is_number(x)
}

/// Whether a count in single precision can be one: what the heaviest rows add up to at the longest
/// half-life is less.
pub(crate) fn is_count(count: f32) -> bool {
    (0.0..1e20).contains(&count)
}
