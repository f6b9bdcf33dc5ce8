//! A borrowed view of one telemetry record.

use crate::Timestamp;

/// One record as a [`Source`](crate::Source) hands it out: borrowed, and valid only during the call.
///
/// The slices follow the order of the [`Schema`](crate::Schema)'s fields and have their length. A
/// dimension and the sample are always present (a record without them is a bad record); blame and
/// measures may be missing, and then only the count they would have entered misses them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// When it happened.
    pub time: Timestamp,
    /// The thing that is counted; `None` exactly when the schema names no sample field.
    pub sample: Option<&'a str>,
    /// One value per dimension.
    pub dimensions: &'a [&'a str],
    /// One value per blame field: who or what sent the record.
    pub blame: &'a [Option<&'a str>],
    /// One finite number per measure, in the measure's own unit.
    pub measures: &'a [Option<f64>],
}
