//! A borrowed view of one telemetry record.

use crate::Timestamp;

/// One record as a [`Source`](crate::Source) or a decoder hands it out: borrowed, and valid only during
/// the call.
///
/// The slices follow the order of the [`Schema`](crate::Schema)'s fields. Dimensions are always there (a
/// record without one is a bad record). Labels and measures may be missing, and then only the count
/// they would have entered misses them; the first label is the sample, and is there exactly when the
/// schema names one.
///
/// ```
/// use peak_core::{Record, Timestamp};
///
/// // A flow that was sampled, one in a thousand: host, then the flow's address and its user.
/// let record = Record::new(Timestamp::parse("2020-11-01T10:00:00Z")?, &["web-1"])
///     .with_labels(&[Some("10.0.0.1"), None])
///     .with_measures(&[Some(1_500.0)])
///     .with_weight(1_000);
/// assert_eq!((record.dimensions, record.weight), (&["web-1"][..], 1_000));
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// When it happened.
    pub time: Timestamp,
    /// For how many records it stands, at least 1: a sampled flow, a row that was aggregated before.
    /// Counts and moments are exactly those of so many records like it.
    pub weight: u64,
    /// One value per dimension.
    pub dimensions: &'a [&'a str],
    /// What is counted: the sample, then one value per blame field (who or what sent the record). Those
    /// at the end that are missing may be left out.
    pub labels: &'a [Option<&'a str>],
    /// One finite number per measure, in the measure's own unit. Those at the end that are missing may
    /// be left out.
    pub measures: &'a [Option<f64>],
}

impl<'a> Record<'a> {
    /// A record without labels and measures that stands for itself.
    #[must_use]
    pub fn new(time: Timestamp, dimensions: &'a [&'a str]) -> Self {
        Record { time, weight: 1, dimensions, labels: &[], measures: &[] }
    }

    /// The record with these labels: the sample first.
    #[must_use]
    pub fn with_labels(self, labels: &'a [Option<&'a str>]) -> Self {
        Record { labels, ..self }
    }

    /// The record with these measures.
    #[must_use]
    pub fn with_measures(self, measures: &'a [Option<f64>]) -> Self {
        Record { measures, ..self }
    }

    /// The record as standing for so many.
    #[must_use]
    pub fn with_weight(self, weight: u64) -> Self {
        Record { weight, ..self }
    }

    /// What is counted, when the schema names it.
    #[must_use]
    pub fn sample(&self) -> Option<&'a str> {
        self.labels.first().copied().flatten()
    }
}
