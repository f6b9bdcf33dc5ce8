//! Summaries of finished windows: what detectors look at and baselines remember.

use crate::{
    CountMoments, Error, Key, LabelMoments, Moments, Quantiles, Result, Schema, Span, Uncertainty, Windows,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A label with its count: one of the most frequent samples or senders of a window.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelCount {
    /// The sample or the blame value.
    pub label: String,
    /// How many records carry it.
    pub count: u64,
}

impl LabelCount {
    /// A label and its count.
    #[must_use]
    pub fn new(label: impl Into<String>, count: u64) -> Self {
        LabelCount { label: label.into(), count }
    }
}

/// What is known of one field whose values are counted, in one window: the sample, or a blame field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelSummary {
    /// The moments of the records per value: `n` is the number of distinct values, `max` the records of
    /// the most frequent one.
    pub moments: CountMoments,
    /// How far the moments may be from the truth; `None` when they are exact.
    pub uncertainty: Option<Uncertainty>,
    /// The most frequent values, most frequent first, at most [`Summary::TOP`].
    pub top: Vec<LabelCount>,
}

impl LabelSummary {
    /// Moments that are exact, without names.
    #[must_use]
    pub fn new(moments: CountMoments) -> Self {
        LabelSummary { moments, ..LabelSummary::default() }
    }

    /// The summary with these most frequent values.
    #[must_use]
    pub fn with_top(self, top: impl IntoIterator<Item = LabelCount>) -> Self {
        LabelSummary { top: top.into_iter().take(Summary::TOP).collect(), ..self }
    }

    /// The summary with moments that may be so far from the truth.
    #[must_use]
    pub fn with_uncertainty(self, uncertainty: Uncertainty) -> Self {
        LabelSummary { uncertainty: Some(uncertainty), ..self }
    }

    /// How many different values there were.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.moments.n()
    }
}

/// The summary of one key in one finished window.
///
/// Summaries do not merge: the distinct samples of two halves say nothing about the whole. Merge
/// [`Tally`](crate::Tally)s instead, then finish.
///
/// ```
/// use peak_core::{CountMoments, Summary};
///
/// let summary = Summary::new(10).with_samples(CountMoments::from_iter([8, 1, 1]));
/// assert_eq!((summary.records, summary.distinct(), summary.samples().max()), (10, 3, 8));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The number of records.
    pub records: u64,
    /// The first of the labels, beside the records: windows of many keys are read from end to end
    /// without a look elsewhere.
    samples: LabelSummary,
    /// The other labels.
    blame: Vec<LabelSummary>,
    /// Per measure of the schema, its moments; empty when there was no record.
    pub measures: Vec<Moments>,
    pub(crate) more: Option<Box<More>>,
}

/// What only some schemas ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct More {
    pub(crate) quantiles: Vec<Quantiles>,
    pub(crate) label_moments: Vec<LabelMoments>,
}

impl More {
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.quantiles.iter().map(Quantiles::memory_bytes).sum::<usize>()
            + self.label_moments.iter().map(LabelMoments::memory_bytes).sum::<usize>()
    }
}

impl Summary {
    /// How many of the most frequent values of a label a summary names.
    pub const TOP: usize = 5;

    /// So many records, of which nothing else is known.
    #[must_use]
    pub fn new(records: u64) -> Self {
        Summary { records, ..Summary::default() }
    }

    /// The summary with the moments of its samples.
    #[must_use]
    pub fn with_samples(self, samples: CountMoments) -> Self {
        Summary { samples: LabelSummary::new(samples), ..self }
    }

    /// The summary with these labels, the samples first.
    #[must_use]
    pub fn with_labels(self, labels: impl IntoIterator<Item = LabelSummary>) -> Self {
        let mut labels = labels.into_iter();
        let samples = labels.next().unwrap_or_default();
        Summary { samples, blame: labels.collect(), ..self }
    }

    /// The summary with these moments of the measures.
    #[must_use]
    pub fn with_measures(self, measures: impl IntoIterator<Item = Moments>) -> Self {
        Summary { measures: measures.into_iter().collect(), ..self }
    }

    /// Per field whose values are counted: the samples first (nothing of them when the schema names
    /// none), then the blame fields of the schema. Their places are those of [`Schema::labels`].
    pub fn labels(&self) -> impl Iterator<Item = &LabelSummary> {
        std::iter::once(&self.samples).chain(&self.blame)
    }

    /// One of the [labels](Self::labels), by its place.
    #[must_use]
    pub fn label(&self, place: usize) -> Option<&LabelSummary> {
        match place.checked_sub(1) {
            None => Some(&self.samples),
            Some(blame) => self.blame.get(blame),
        }
    }

    /// Per measure of [`Schema::quantiles`], the distribution of its values.
    #[must_use]
    pub fn quantiles(&self) -> &[Quantiles] {
        self.more.as_ref().map_or(&[], |more| &more.quantiles)
    }

    /// Per pair of [`Schema::label_moments`], the moments of the measure by label.
    #[must_use]
    pub fn label_moments(&self) -> &[LabelMoments] {
        self.more.as_ref().map_or(&[], |more| &more.label_moments)
    }

    /// The moments of the records per sample.
    #[must_use]
    pub fn samples(&self) -> CountMoments {
        self.samples.moments
    }

    /// The number of distinct samples.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.samples().n()
    }

    /// How far what is known of the samples may be from the truth; `None` when it is exact.
    #[must_use]
    pub fn uncertainty(&self) -> Option<Uncertainty> {
        self.samples.uncertainty
    }

    /// Whether the counts of any label are estimates.
    #[must_use]
    pub fn is_estimate(&self) -> bool {
        self.labels().any(|label| label.uncertainty.is_some())
    }

    fn heap_bytes(&self) -> usize {
        let top = |count: &LabelCount| size_of::<LabelCount>() + count.label.capacity();
        let label =
            |label: &LabelSummary| size_of::<LabelSummary>() + label.top.iter().map(top).sum::<usize>();
        self.labels().map(label).sum::<usize>()
            + size_of_val(self.measures.as_slice())
            + self.more.as_ref().map_or(0, |more| more.memory_bytes())
    }
}

/// The summaries of all keys in one finished window, in the order of the keys.
///
/// Keys without records are left out.
///
/// ```
/// use peak_core::{Key, Schema, Span, Summaries, Summary};
/// use std::sync::Arc;
///
/// let schema = Arc::new(Schema::builder().time("at").dimensions(["host"]).build()?);
/// let day = Span::days("2020-11-01", "2020-11-02")?[0];
/// let rows = ["web-2", "web-1"].map(|host| (Key::new([host]), Summary::new(60)));
/// let found = Summaries::new(schema, day, rows)?;
/// assert_eq!(found.iter().next().unwrap().0.to_string(), "web-1");
/// assert_eq!(found.get(&Key::new(["web-2"])).unwrap().records, 60);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Summaries {
    schema: Arc<Schema>,
    span: Span,
    exposure: f64,
    /// In the order of the keys, each once.
    rows: Vec<(Key, Summary)>,
}

/// Summaries as they are stored, before they are checked.
#[derive(Deserialize)]
struct Stored {
    schema: Arc<Schema>,
    span: Span,
    exposure: f64,
    rows: Vec<(Key, Summary)>,
}

impl TryFrom<Stored> for Summaries {
    type Error = Error;
    fn try_from(Stored { schema, span, exposure, rows }: Stored) -> Result<Self> {
        Summaries::new(schema, span, rows)?.with_exposure(exposure)
    }
}

impl Summaries {
    /// The summaries of a window that was observed as a whole. The rows come in any order, but in that
    /// of the keys, which is how tables finish, it is fastest.
    ///
    /// # Errors
    /// When a key stands there twice, or has another number of values than the schema has dimensions.
    pub fn new(
        schema: Arc<Schema>,
        span: Span,
        rows: impl IntoIterator<Item = (Key, Summary)>,
    ) -> Result<Self> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        if !rows.is_sorted_by(|a, b| a.0 < b.0) {
            rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(Error::invalid("keys of a window", "must be different", &pair[0].0));
            }
        }
        let arity = schema.dimensions().len();
        if let Some((key, _)) = rows.iter().find(|(key, _)| key.arity() != arity) {
            let rule = format!("must have a value for each of {arity} dimensions");
            return Err(Error::invalid("key of a window", rule, key));
        }
        Ok(Summaries { schema, span, exposure: 1.0, rows })
    }

    /// Those of a table: sorted and of the schema.
    pub(crate) fn of_table(
        schema: Arc<Schema>,
        span: Span,
        exposure: f64,
        rows: Vec<(Key, Summary)>,
    ) -> Self {
        Summaries { schema, span, exposure, rows }
    }

    /// The summaries of a window of which only this part was observed: 0 when the collector was down
    /// all the time, 1 when it never was.
    ///
    /// # Errors
    /// When it is not from 0 to 1.
    pub fn with_exposure(self, exposure: f64) -> Result<Self> {
        Ok(Summaries { exposure: checked_exposure(exposure)?, ..self })
    }

    /// Puts rows of several windows, in any order, into the tables of these windows: what a source does
    /// whose store groups by key, then by window. There is one for each window, also without rows.
    ///
    /// # Errors
    /// When a row is of another window, or as [`new`](Self::new).
    pub fn group(
        schema: &Arc<Schema>,
        windows: &Windows,
        rows: impl IntoIterator<Item = (Span, Key, Summary)>,
    ) -> Result<Vec<Self>> {
        let mut by_window: Vec<Vec<(Key, Summary)>> = windows.iter().map(|_| Vec::new()).collect();
        for (span, key, summary) in rows {
            match windows.find(span.start()).filter(|&window| windows[window] == span) {
                Some(window) => by_window[window].push((key, summary)),
                None => {
                    return Err(Error::invalid("window of a row", "must be one that was asked for", span));
                }
            }
        }
        let new = |(span, rows)| Summaries::new(Arc::clone(schema), span, rows);
        windows.into_iter().zip(by_window).map(new).collect()
    }

    /// The fields of the feed and their roles.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The window.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// The part of the window that was observed, from 0 to 1.
    #[must_use]
    pub fn exposure(&self) -> f64 {
        self.exposure
    }

    /// The summary of a key that had records.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Summary> {
        let at = self.rows.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        Some(&self.rows[at].1)
    }

    /// The keys and their summaries, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Summary)> {
        self.rows.iter().map(|(key, summary)| (key, summary))
    }

    /// How many keys had records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no key had records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets the keys that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) {
        self.rows.retain(|(key, _)| keep(key));
    }

    /// The memory that the summaries take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let heap: usize =
            self.rows.iter().map(|(key, summary)| key.heap_bytes() + summary.heap_bytes()).sum();
        heap + self.rows.capacity() * size_of::<(Key, Summary)>()
    }

    /// The keys and their summaries, in the order of the keys.
    #[must_use]
    pub fn into_rows(self) -> Vec<(Key, Summary)> {
        self.rows
    }
}

pub(crate) fn checked_exposure(exposure: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&exposure) {
        return Ok(exposure);
    }
    Err(Error::invalid("exposure", "must be a part of the window, from 0 to 1", exposure))
}
