//! The counting of one key in one window.

use crate::summary::More;
use crate::{
    Combine, Counts, LabelMoments, LabelSummary, Merge, Moments, Quantiles, Record, Schema, Summary,
};
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
    /// Apart, so that a tally of records without measures is small.
    measured: Option<Box<Measured>>,
}

/// What is known of measures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Measured {
    moments: Vec<Moments>,
    /// What only some schemas ask for.
    more: More,
}

impl Tally {
    /// Counts one record of a feed. Its time and dimensions are the table's business.
    pub fn add(&mut self, schema: &Schema, record: &Record<'_>) {
        self.add_all_but_sample(schema.shape().asked(schema), record);
        if let Some(sample) = record.sample() {
            self.samples.add(sample, record.weight);
        }
    }

    /// Says by how many bytes it has grown.
    ///
    /// The schema is that of the feed where it asks for more than others do.
    #[inline]
    pub(crate) fn add_all_but_sample(&mut self, asked: Option<&Schema>, record: &Record<'_>) -> isize {
        self.records = self.records.saturating_add(record.weight);
        let blame = record.labels.get(1..).unwrap_or_default();
        let mut growth = grow(&mut self.blame, blame.len());
        for (counts, value) in self.blame.iter_mut().zip(blame) {
            if let Some(value) = value {
                growth += counts.add(value, record.weight);
            }
        }
        if !record.measures.is_empty() {
            growth += self.measured.get_or_insert_default().add(asked, record);
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

    /// Per measure, its moments.
    #[must_use]
    pub fn measures(&self) -> &[Moments] {
        self.measured.as_ref().map_or(&[], |measured| &measured.moments)
    }

    /// The memory that the tally takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.samples.heap_bytes()
            + self.blame.iter().map(Counts::memory_bytes).sum::<usize>()
            + self.measured.as_ref().map_or(0, |measured| measured.memory_bytes())
    }

    /// Per measure of [`Schema::quantiles`], the distribution of its values.
    #[must_use]
    pub fn quantiles(&self) -> &[Quantiles] {
        self.measured.as_ref().map_or(&[], |measured| &measured.more.quantiles)
    }

    /// Per pair of [`Schema::label_moments`], the moments of the measure by label.
    #[must_use]
    pub fn label_moments(&self) -> &[LabelMoments] {
        self.measured.as_ref().map_or(&[], |measured| &measured.more.label_moments)
    }

    /// What can give up exactness for memory.
    pub(crate) fn boundable(&mut self) -> impl Iterator<Item = Bounded<'_>> {
        let moments = self.measured.iter_mut().flat_map(|measured| &mut measured.more.label_moments);
        let counts = std::iter::once(&mut self.samples).chain(&mut self.blame);
        counts.map(Bounded::Counts).chain(moments.map(Bounded::Moments))
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
        let mut finished = Summary::new(self.records)
            .with_labels(self.labels().map(summary))
            .with_measures(self.measures().iter().cloned());
        let is_more = !(self.quantiles().is_empty() && self.label_moments().is_empty());
        finished.more =
            self.measured.as_ref().filter(|_| is_more).map(|measured| Box::new(measured.more.clone()));
        finished
    }
}

impl Measured {
    /// Says by how many bytes it has grown.
    fn add(&mut self, asked: Option<&Schema>, record: &Record<'_>) -> isize {
        let mut growth = if self.moments.is_empty() { size_of::<Self>() as isize } else { 0 };
        growth += grow(&mut self.moments, record.measures.len());
        for (moments, value) in self.moments.iter_mut().zip(record.measures) {
            if let Some(value) = value {
                moments.push_times(*value, record.weight);
            }
        }
        growth + asked.map_or(0, |schema| self.more.add(schema, record))
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<More>()
            + size_of_val(self.moments.as_slice())
            + self.more.memory_bytes()
    }

    fn merge(&mut self, other: &Self) {
        grow(&mut self.moments, other.moments.len());
        self.moments.iter_mut().zip(&other.moments).for_each(|(sum, more)| sum.merge(more));
        self.more.merge(&other.more);
    }
}

impl More {
    /// Says by how many bytes it has grown.
    fn add(&mut self, schema: &Schema, record: &Record<'_>) -> isize {
        let measure = |measure: usize| record.measures.get(measure).copied().flatten();
        let (wanted, pairs) = (schema.quantiles(), schema.label_moments());
        let mut growth = grow(&mut self.quantiles, wanted.len()) + grow(&mut self.label_moments, pairs.len());
        for (quantiles, value) in self.quantiles.iter_mut().zip(wanted.map(measure)) {
            if let Some(value) = value {
                let before = quantiles.memory_bytes();
                quantiles.push_times(value, record.weight);
                growth += quantiles.memory_bytes() as isize - before as isize;
            }
        }
        for (moments, (label, value)) in self.label_moments.iter_mut().zip(pairs) {
            let label = record.labels.get(label).copied().flatten();
            if let (Some(label), Some(value)) = (label, measure(value)) {
                growth += moments.push_times(label, value, record.weight);
            }
        }
        growth
    }

    fn merge(&mut self, other: &Self) {
        grow(&mut self.quantiles, other.quantiles.len());
        grow(&mut self.label_moments, other.label_moments.len());
        self.quantiles.iter_mut().zip(&other.quantiles).for_each(|(sum, more)| sum.merge(more));
        self.label_moments.iter_mut().zip(&other.label_moments).for_each(|(sum, more)| sum.combine(more));
    }
}

/// A part of a tally that can give up exactness for memory.
pub(crate) enum Bounded<'a> {
    Counts(&'a mut Counts),
    Moments(&'a mut LabelMoments),
}

impl Bounded<'_> {
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Bounded::Counts(counts) => counts.memory_bytes(),
            Bounded::Moments(moments) => moments.memory_bytes(),
        }
    }

    /// Takes less memory, if that is possible.
    pub(crate) fn bound(&mut self) -> bool {
        match self {
            Bounded::Counts(counts) => counts.bound(),
            Bounded::Moments(moments) => moments.bound(),
        }
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
        self.labels().all(Counts::is_exact) && self.label_moments().iter().all(LabelMoments::is_exact)
    }

    fn combine(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        grow(&mut self.blame, other.blame.len());
        self.samples.combine(&other.samples);
        for (counts, more) in self.blame.iter_mut().zip(&other.blame) {
            counts.combine(more);
        }
        if let Some(measured) = &other.measured {
            self.measured.get_or_insert_default().merge(measured);
        }
    }
}
