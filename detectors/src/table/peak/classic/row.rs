//! What the classic rule remembers of a key.

use super::original::Number;
use chrono::NaiveDateTime;
use peak_core::Summary;
use serde::{Deserialize, Serialize};

/// The history of one key as the classic rule keeps it: running averages, rounded to integers, and
/// maxima.
///
/// Numbers remember whether they were integers, because the original's files do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Where the first window began, on the wall clock.
    pub start: NaiveDateTime,
    /// Where the last window ended, on the wall clock.
    pub end: NaiveDateTime,
    /// How many windows the averages run over.
    pub window_count: u64,
    /// Average records per window.
    pub records_avg: Number,
    /// Most records in a window.
    pub records_max: Number,
    /// Average distinct samples per window.
    pub samples_avg: Number,
    /// Most distinct samples in a window.
    pub samples_max: Number,
    /// Average records per sample.
    pub records_per_sample_avg: Number,
    /// The largest average of records per sample in a window.
    pub records_per_sample_max: Number,
    /// The records a window needs to become a peak.
    pub threshold: Number,
}
impl Row {
    /// The row of a key that is seen for the first time.
    pub(super) fn infer(summary: &Summary, start: NaiveDateTime, end: NaiveDateTime, floor: u64) -> Self {
        let (records, samples) = (Number::from(summary.records), Number::from(summary.distinct()));
        let records_per_sample = records.divide(samples).round();
        Row {
            start,
            end,
            window_count: 1,
            records_avg: records,
            records_max: records,
            samples_avg: samples,
            samples_max: samples,
            records_per_sample_avg: records_per_sample,
            records_per_sample_max: records_per_sample,
            threshold: records.max(floor.into()),
        }
    }

    pub(super) fn refresh(&mut self, summary: &Summary, end: NaiveDateTime) {
        let (records, samples) = (Number::from(summary.records), Number::from(summary.distinct()));
        let records_per_sample = records.divide(samples).round();
        let count = self.window_count;
        let average = |old: Number, new: Number| old.running_average(count, new).round();
        self.end = end;
        self.window_count = count.saturating_add(1);
        self.records_avg = average(self.records_avg, records);
        self.records_max = self.records_max.max(records);
        self.samples_avg = average(self.samples_avg, samples);
        self.samples_max = self.samples_max.max(samples);
        self.records_per_sample_avg = average(self.records_per_sample_avg, records_per_sample);
        self.records_per_sample_max = self.records_per_sample_max.max(records_per_sample);
        self.threshold = self.threshold.max(self.records_avg);
    }
}
