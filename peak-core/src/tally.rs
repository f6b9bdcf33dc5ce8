//! The counting of one key in one window.

use crate::{Combine, Counts, Merge, Moments, Record, Window};
use serde::{Deserialize, Serialize};

/// One key in one window, still being counted: records, samples, blame and measures.
///
/// Tallies of the *same* window merge across shards; finishing gives the [`Window`]. Memory grows
/// with the number of distinct samples and blame values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    events: u64,
    samples: Counts,
    blame: Vec<Counts>,
    measures: Vec<Moments>,
}

impl Tally {
    /// Counts one record. Its time and dimensions are the table's business.
    pub fn add(&mut self, record: &Record<'_>) {
        self.add_all_but_sample(record);
        if let Some(sample) = record.sample {
            self.samples.add(sample, 1);
        }
    }

    pub(crate) fn add_all_but_sample(&mut self, record: &Record<'_>) {
        self.events = self.events.saturating_add(1);
        if self.blame.len() < record.blame.len() {
            self.blame.resize_with(record.blame.len(), Counts::default);
        }
        for (counts, value) in self.blame.iter_mut().zip(record.blame) {
            if let Some(value) = value {
                counts.add(value, 1);
            }
        }
        if self.measures.len() < record.measures.len() {
            self.measures.resize_with(record.measures.len(), Moments::default);
        }
        for (moments, value) in self.measures.iter_mut().zip(record.measures) {
            if let Some(value) = value {
                moments.push(*value);
            }
        }
    }

    /// The number of records.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How often each sample occurred.
    #[must_use]
    pub fn samples(&self) -> &Counts {
        &self.samples
    }

    pub(crate) fn samples_mut(&mut self) -> &mut Counts {
        &mut self.samples
    }

    /// Per blame field, how often each value occurred.
    #[must_use]
    pub fn blame(&self) -> &[Counts] {
        &self.blame
    }

    /// Per measure, its moments.
    #[must_use]
    pub fn measures(&self) -> &[Moments] {
        &self.measures
    }

    /// The memory that the tally takes, in bytes, without that of its measures.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.counts().map(Counts::memory_bytes).sum::<usize>()
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.counts().any(|counts| counts.uncertainty().is_some())
    }

    /// Of samples and of each blame field.
    fn counts(&self) -> impl Iterator<Item = &Counts> {
        std::iter::once(&self.samples).chain(&self.blame)
    }

    pub(crate) fn counts_mut(&mut self) -> impl Iterator<Item = &mut Counts> {
        std::iter::once(&mut self.samples).chain(&mut self.blame)
    }

    /// The summary of the finished window.
    #[must_use]
    pub fn finish(&self) -> Window {
        let (samples, top_samples) = self.samples.moments_and_top(Window::TOP);
        Window {
            events: self.events,
            samples,
            uncertainty: self.samples.uncertainty(),
            measures: self.measures.clone(),
            top_samples,
            top_blame: self.blame.iter().map(|counts| counts.top(Window::TOP)).collect(),
        }
    }
}

impl Merge for Tally {
    fn merge(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.samples.combine(&other.samples);
        if self.blame.len() < other.blame.len() {
            self.blame.resize_with(other.blame.len(), Counts::default);
        }
        for (counts, more) in self.blame.iter_mut().zip(&other.blame) {
            counts.combine(more);
        }
        if self.measures.len() < other.measures.len() {
            self.measures.resize_with(other.measures.len(), Moments::default);
        }
        for (moments, more) in self.measures.iter_mut().zip(&other.measures) {
            moments.merge(more);
        }
    }
}
