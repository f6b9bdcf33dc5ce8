//! The counting of one key in one window.

use crate::{Combine, Counts, LabelSummary, Merge, Moments, Record, Summary};
use serde::{Deserialize, Serialize};

/// One key in one window, still being counted: records, labels and measures.
///
/// Tallies of the *same* window merge across shards; finishing gives the [`Summary`]. Memory grows with
/// the number of distinct labels.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    records: u64,
    /// The first of the labels, beside the records: most records are counted here and nowhere else.
    samples: Counts,
    /// The other labels.
    blame: Vec<Counts>,
    measures: Vec<Moments>,
}

impl Tally {
    /// Counts one record. Its time and dimensions are the table's business.
    pub fn add(&mut self, record: &Record<'_>) {
        self.add_all_but_sample(record);
        if let Some(sample) = record.sample() {
            self.samples.add(sample, record.weight);
        }
    }

    /// Says by how many bytes it has grown.
    pub(crate) fn add_all_but_sample(&mut self, record: &Record<'_>) -> isize {
        self.records = self.records.saturating_add(record.weight);
        let blame = record.labels.get(1..).unwrap_or_default();
        let mut growth = grow(&mut self.blame, blame.len()) + grow(&mut self.measures, record.measures.len());
        for (counts, value) in self.blame.iter_mut().zip(blame) {
            if let Some(value) = value {
                growth += counts.add(value, record.weight);
            }
        }
        for (moments, value) in self.measures.iter_mut().zip(record.measures) {
            if let Some(value) = value {
                moments.push_times(*value, record.weight);
            }
        }
        growth
    }

    /// The number of records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// How often each sample occurred.
    #[must_use]
    pub fn samples(&self) -> &Counts {
        &self.samples
    }

    pub(crate) fn samples_mut(&mut self) -> &mut Counts {
        &mut self.samples
    }

    /// Per field whose values are counted, how often each value occurred: the samples first.
    pub fn labels(&self) -> impl Iterator<Item = &Counts> {
        std::iter::once(&self.samples).chain(&self.blame)
    }

    pub(crate) fn labels_mut(&mut self) -> impl Iterator<Item = &mut Counts> {
        std::iter::once(&mut self.samples).chain(&mut self.blame)
    }

    /// Per measure, its moments.
    #[must_use]
    pub fn measures(&self) -> &[Moments] {
        &self.measures
    }

    /// The memory that the tally takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.samples.heap_bytes()
            + self.blame.iter().map(Counts::memory_bytes).sum::<usize>()
            + size_of_val(self.measures.as_slice())
    }

    /// The summary of the finished window.
    #[must_use]
    pub fn finish(&self) -> Summary {
        let summary = |counts: &Counts| {
            let (moments, top) = counts.moments_and_top(Summary::TOP);
            let summary = LabelSummary::new(moments).with_top(top);
            match counts.uncertainty() {
                Some(uncertainty) => summary.with_uncertainty(uncertainty),
                None => summary,
            }
        };
        Summary::new(self.records)
            .with_labels(self.labels().map(summary))
            .with_measures(self.measures.iter().cloned())
    }
}

/// Makes room for so many, and says by how many bytes it has grown.
fn grow<T: Default>(each: &mut Vec<T>, len: usize) -> isize {
    if each.len() >= len {
        return 0;
    }
    let growth = (len - each.len()) * size_of::<T>();
    each.reserve_exact(len - each.len());
    each.resize_with(len, T::default);
    growth as isize
}

impl Combine for Tally {
    fn is_exact(&self) -> bool {
        self.labels().all(Counts::is_exact)
    }

    fn combine(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        grow(&mut self.blame, other.blame.len());
        for (counts, more) in self.labels_mut().zip(other.labels()) {
            counts.combine(more);
        }
        grow(&mut self.measures, other.measures.len());
        for (moments, more) in self.measures.iter_mut().zip(&other.measures) {
            moments.merge(more);
        }
    }
}
