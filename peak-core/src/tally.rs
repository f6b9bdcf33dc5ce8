//! The counting of one key in one window.

use crate::{CountMoments, Merge, Moments, Record, Share, Window};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// How often each label occurred.
///
/// ```
/// use peak_core::Counts;
///
/// let mut counts = Counts::default();
/// for label in ["b", "a", "b"] {
///     counts.add(label);
/// }
/// assert_eq!((counts.get("b"), counts.get("z"), counts.distinct()), (2, 0, 2));
/// assert_eq!(counts.top(1)[0].label, "b");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(HashMap<Box<str>, u64>);

impl Counts {
    /// Counts one occurrence.
    pub fn add(&mut self, label: &str) {
        self.add_many(label, 1);
    }

    fn add_many(&mut self, label: &str, count: u64) {
        match self.0.get_mut(label) {
            Some(sum) => *sum = sum.saturating_add(count),
            None => drop(self.0.insert(label.into(), count)),
        }
    }

    /// How often the label occurred.
    #[must_use]
    pub fn get(&self, label: &str) -> u64 {
        self.0.get(label).copied().unwrap_or(0)
    }

    /// How many different labels occurred.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.0.len() as u64
    }

    /// The labels and their counts, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.0.iter().map(|(label, &count)| (&**label, count))
    }

    /// The moments of the counts.
    #[must_use]
    pub fn moments(&self) -> CountMoments {
        self.0.values().copied().collect()
    }

    /// The `n` most frequent labels, most frequent first, equal counts in order of their labels.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<Share> {
        let order = |a: &(&str, u64), b: &(&str, u64)| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0));
        let mut top: SmallVec<[(&str, u64); 16]> = SmallVec::new();
        for entry in self.iter() {
            let at = top.partition_point(|kept| order(kept, &entry).is_lt());
            if at < n {
                top.truncate(n - 1);
                top.insert(at, entry);
            }
        }
        top.into_iter().map(|(label, count)| Share { label: label.into(), count }).collect()
    }
}

impl Merge for Counts {
    fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(label, count)| self.add_many(label, count));
    }
}

/// One key in one window, still being counted: records, samples, blame and measures.
///
/// Tallies of the *same* window merge across shards; finishing gives the [`Window`]. Memory grows
/// with the number of distinct samples and blame values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    events: u64,
    samples: Counts,
    blame: Vec<Counts>,
    measures: Vec<Moments>,
}

impl Tally {
    /// Counts one record. Its time and dimensions are the table's business.
    pub fn add(&mut self, record: &Record<'_>) {
        self.events = self.events.saturating_add(1);
        if let Some(sample) = record.sample {
            self.samples.add(sample);
        }
        if self.blame.len() < record.blame.len() {
            self.blame.resize_with(record.blame.len(), Counts::default);
        }
        for (counts, value) in self.blame.iter_mut().zip(record.blame) {
            if let Some(value) = value {
                counts.add(value);
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

    /// The summary of the finished window.
    #[must_use]
    pub fn finish(&self) -> Window {
        Window {
            events: self.events,
            samples: self.samples.moments(),
            measures: self.measures.clone(),
            top_samples: self.samples.top(Window::TOP),
            top_blame: self.blame.iter().map(|counts| counts.top(Window::TOP)).collect(),
        }
    }
}

impl Merge for Tally {
    fn merge(&mut self, other: &Self) {
        self.events = self.events.saturating_add(other.events);
        self.samples.merge(&other.samples);
        if self.blame.len() < other.blame.len() {
            self.blame.resize_with(other.blame.len(), Counts::default);
        }
        for (counts, more) in self.blame.iter_mut().zip(&other.blame) {
            counts.merge(more);
        }
        if self.measures.len() < other.measures.len() {
            self.measures.resize_with(other.measures.len(), Moments::default);
        }
        for (moments, more) in self.measures.iter_mut().zip(&other.measures) {
            moments.merge(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn top_is_the_head_of_the_full_order(labels in prop::collection::vec("[a-h]{1,2}", 0..60), n in 0..12usize) {
            let mut counts = Counts::default();
            labels.iter().for_each(|label| counts.add(label));
            let mut full: Vec<(&str, u64)> = counts.iter().collect();
            full.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            full.truncate(n);
            let top = counts.top(n);
            let top: Vec<(&str, u64)> = top.iter().map(|share| (&*share.label, share.count)).collect();
            prop_assert_eq!(top, full);
        }
    }
}
