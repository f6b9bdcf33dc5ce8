//! Global statistics tables: the history of all keys.

mod packed;

use crate::{
    CountMoments, ErrorKind, Key, KeyMap, LabelSummary, Moments, Result, Schema, Span, Summaries, Summary,
    Timestamp,
};
use packed::Packed;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::time::Duration;

/// What a baseline remembers of one window.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Past {
    /// The window.
    pub span: Span,
    /// The number of records.
    pub records: u64,
    /// The moments of the records per sample.
    pub samples: CountMoments,
    /// Per blame field, the records of its most frequent value.
    pub top_blame: SmallVec<[u64; 2]>,
    /// Per measure, what is remembered of its values.
    pub measures: SmallVec<[PastMeasure; 1]>,
}

/// What a baseline remembers of a measure in one window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct PastMeasure {
    /// How many records had the measure.
    pub n: u64,
    /// The sum of its values: the exact one, rounded once.
    pub sum: f64,
}

impl PastMeasure {
    fn of(moments: &Moments) -> Self {
        PastMeasure { n: moments.n(), sum: moments.sum() }
    }

    /// The mean; `None` when there is no value.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }
}

impl Past {
    fn of(span: Span, summary: &Summary) -> Self {
        Past {
            span,
            records: summary.records,
            samples: summary.samples(),
            top_blame: summary.labels().skip(1).map(|label| label.moments.max()).collect(),
            measures: summary.measures.iter().map(PastMeasure::of).collect(),
        }
    }

    /// What a summary of the window would say now: without the names of labels, of blame fields only the
    /// records of the most frequent value, and of measures only how many values there were and their mean.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let label = |&top: &u64| LabelSummary::new(CountMoments::from_parts(0, self.records, 0, top));
        let measure = |past: &PastMeasure| {
            let mut moments = Moments::default();
            past.mean().inspect(|&mean| moments.push_times(mean, past.n));
            moments
        };
        Summary::new(self.records)
            .with_labels(
                [LabelSummary::new(self.samples)].into_iter().chain(self.top_blame.iter().map(label)),
            )
            .with_measures(self.measures.iter().map(measure))
    }

    /// The order of windows: by their end, so that what is forgotten comes first.
    fn place(&self) -> (Timestamp, Timestamp) {
        place(self.span)
    }
}

fn place(span: Span) -> (Timestamp, Timestamp) {
    (span.end(), span.start())
}

/// The history of one key: the windows in which it had records, in order of time.
///
/// Windows are kept as they were, so everything derived from them is exact, and forgetting a window
/// is the same as never having learned it. Windows in which a key had no records are not stored;
/// the [`GlobalTable`] knows which windows were learned at all. A window takes about 14 bytes, and ten
/// more for each measure.
///
/// ```
/// use peak_core::{Baseline, Span, Summary};
///
/// let days = Span::days("2020-11-01", "2020-11-03")?;
/// let mut baseline = Baseline::default();
/// baseline.learn(days[0], &Summary::new(10))?;
/// baseline.learn(days[1], &Summary::new(14))?;
/// assert_eq!(baseline.records().mean(), Some(12.0));
/// assert!(baseline.learn(days[1], &Summary::default()).is_err()); // not twice
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline {
    windows: Packed,
}

impl fmt::Debug for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.windows()).finish()
    }
}

impl PartialEq for Baseline {
    fn eq(&self, other: &Self) -> bool {
        self.windows().eq(other.windows())
    }
}

impl Baseline {
    /// A history without windows.
    #[must_use]
    pub const fn new() -> Self {
        Baseline { windows: Packed::new() }
    }

    /// The history of a single window.
    fn of(span: Span, summary: &Summary) -> Self {
        let mut baseline = Baseline::new();
        baseline.insert(Past::of(span, summary));
        baseline
    }

    /// Adds a window to the history, at its place in time.
    ///
    /// # Errors
    /// When it overlaps a window of the history: its records would count twice.
    pub fn learn(&mut self, span: Span, summary: &Summary) -> Result<()> {
        if span.start() < self.windows.end() {
            self.windows().try_for_each(|learned| refuse_overlap(span, learned.span))?;
        }
        self.insert(Past::of(span, summary));
        Ok(())
    }

    /// Adds a window at its place.
    fn insert(&mut self, past: Past) {
        if past.span.start() >= self.windows.end() {
            self.windows.push(&past);
        } else {
            let mut windows: Vec<Past> = self.windows().collect();
            windows.insert(windows.partition_point(|known| known.place() < past.place()), past);
            self.windows = windows.iter().collect();
        }
    }

    /// Takes in the windows of another history of the key, which are none of this one's.
    fn merge(&mut self, other: &Self) {
        let mut windows: Vec<Past> = self.windows().chain(other.windows()).collect();
        windows.sort_unstable_by_key(Past::place);
        self.windows = windows.iter().collect();
    }

    /// Forgets the windows that end at `horizon` or before it.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        self.windows.forget_before(horizon);
    }

    /// The windows, in order of their ends.
    pub fn windows(&self) -> impl Iterator<Item = Past> + '_ {
        self.windows.iter()
    }

    /// Whether there is no window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The memory that the history takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.windows.heap_bytes()
    }

    /// The moments of the records per window, over the windows with records.
    #[must_use]
    pub fn records(&self) -> CountMoments {
        self.windows().map(|past| past.records).collect()
    }

    /// The moments of the distinct samples per window, over the windows with records.
    #[must_use]
    pub fn distinct(&self) -> CountMoments {
        self.windows().map(|past| past.samples.n()).collect()
    }
}

fn refuse_overlap(window: Span, learned: Span) -> Result<()> {
    if window.overlaps(learned) { Err(ErrorKind::AlreadyLearned { window, learned }.into()) } else { Ok(()) }
}

/// The global statistics table (GST): the baselines of all keys over a sliding horizon.
///
/// A key without records within the horizon is forgotten.
///
/// Histories of different windows [merge](Self::merge). Shards of the *same* window do not: their
/// distinct samples are not known any more. Merge their [`LocalTable`](crate::LocalTable)s, then learn.
///
/// ```
/// use peak_core::{GlobalTable, Key, Schema, Span, Summaries, Summary};
/// use std::{sync::Arc, time::Duration};
///
/// let schema = Arc::new(Schema::file_types());
/// let mut table = GlobalTable::new(Duration::from_secs(7 * 86_400));
/// let key = Key::new(["malicious", "PeExeFile"]);
/// for day in Span::days("2020-11-01", "2020-11-15")? {
///     let rows = [(key.clone(), Summary::new(60))];
///     table.learn(&Summaries::new(Arc::clone(&schema), day, rows)?)?;
/// }
/// assert_eq!(table.learned().len(), 7); // the horizon holds a week
/// assert_eq!(table.get(&key).unwrap().records().sum(), 7 * 60);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GlobalTable {
    /// How far back from the newest window the table remembers; `None` is forever.
    horizon: Option<Duration>,
    /// The schema of what was learned, once anything was.
    schema: Option<Schema>,
    /// The windows that were learned and are within the horizon, in order of their ends.
    learned: Vec<Span>,
    /// No baseline is empty.
    baselines: KeyMap<Baseline>,
}

impl GlobalTable {
    /// An empty table that remembers windows up to this age, counted from the end of the newest.
    #[must_use]
    pub fn new(horizon: Duration) -> Self {
        GlobalTable { horizon: Some(horizon), ..GlobalTable::default() }
    }

    /// Adds a finished window of all keys to the history and forgets what has left the horizon.
    /// Keys that are not listed had no records; windows without records are not stored.
    ///
    /// # Errors
    /// When the fields or their roles are not those of what was learned before, the window overlaps one
    /// that was learned already, or lies before the horizon. The table is unchanged then.
    pub fn learn(&mut self, found: &Summaries) -> Result<()> {
        self.admits(found.schema(), found.span())?;
        let span = found.span();
        self.schema.get_or_insert_with(|| Schema::clone(found.schema()));
        let at = self.learned.partition_point(|learned| place(*learned) < place(span));
        self.learned.insert(at, span);
        let horizon = self.start_of_horizon();
        let eventful = found.iter().filter(|(_, summary)| summary.records > 0);
        self.baselines.update(eventful, |baseline, summary| {
            let Some(baseline) = baseline else { return Some(Baseline::of(span, summary)) };
            // While the bytes are at hand.
            horizon.inspect(|&horizon| baseline.forget_before(horizon));
            baseline.insert(Past::of(span, summary));
            None
        });
        self.forget();
        Ok(())
    }

    /// Whether [`learn`](Self::learn) would take this window of such a feed.
    ///
    /// # Errors
    /// When it would not: see there.
    pub fn admits(&self, schema: &Schema, span: Span) -> Result<()> {
        self.schema.iter().try_for_each(|known| known.check_same(schema))?;
        let later = self.learned.partition_point(|learned| learned.end() <= span.start());
        self.learned[later..].iter().try_for_each(|&learned| refuse_overlap(span, learned))?;
        match self.start_of_horizon() {
            Some(horizon) if span.end() <= horizon => Err(ErrorKind::TooOld { window: span, horizon }.into()),
            _ => Ok(()),
        }
    }

    /// Takes in the history of other windows, over the shorter of the two horizons. In which order
    /// histories are merged makes no difference.
    ///
    /// # Errors
    /// When a window of one overlaps a window of the other, so that records would count twice, or the
    /// fields or their roles are not the same. The table is unchanged then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if let (Some(known), Some(given)) = (&self.schema, &other.schema) {
            known.check_same(given)?;
        }
        let mut both: Vec<Span> = self.learned.iter().chain(&other.learned).copied().collect();
        both.sort_unstable();
        both.windows(2).try_for_each(|pair| refuse_overlap(pair[1], pair[0]))?;
        both.sort_unstable_by_key(|span| place(*span));
        self.learned = both;
        self.horizon = [self.horizon, other.horizon].into_iter().flatten().min();
        if self.schema.is_none() {
            self.schema.clone_from(&other.schema);
        }
        self.baselines.update(other.baselines.iter(), |union, baseline| match union {
            Some(union) => {
                union.merge(baseline);
                None
            }
            None => Some(baseline.clone()),
        });
        self.forget();
        Ok(())
    }

    /// How far back from the newest window the table remembers; `None` is forever.
    #[must_use]
    pub fn horizon(&self) -> Option<Duration> {
        self.horizon
    }

    /// Changes how far back the table remembers, and forgets what is older.
    pub fn set_horizon(&mut self, horizon: Duration) {
        self.horizon = Some(horizon);
        self.forget();
    }

    /// Forgets the keys that are not to be kept: a tenant that has left, say.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &Baseline) -> bool) {
        self.baselines.retain(|key, baseline| keep(key, baseline));
    }

    /// The fields and roles of what was learned, once anything was.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    /// The history of a key, when it had records within the horizon.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Baseline> {
        self.baselines.get(key)
    }

    /// The keys and their histories, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Baseline)> {
        self.baselines.iter()
    }

    /// The keys and their histories, as a map.
    #[must_use]
    pub fn baselines(&self) -> &KeyMap<Baseline> {
        &self.baselines
    }

    /// The windows that were learned and are within the horizon, in order of their ends.
    #[must_use]
    pub fn learned(&self) -> &[Span] {
        &self.learned
    }

    /// Where the horizon begins: windows that end there or before are forgotten. `None` while there
    /// is nothing to forget.
    #[must_use]
    pub fn start_of_horizon(&self) -> Option<Timestamp> {
        Some(self.learned.last()?.end().saturating_sub(self.horizon?))
    }

    /// The memory that the table takes, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let heap = |(key, baseline): (&Key, &Baseline)| {
            key.heap_bytes() + baseline.memory_bytes() + size_of::<Key>()
        };
        size_of_val(self.learned.as_slice()) + self.baselines.iter().map(heap).sum::<usize>()
    }

    fn forget(&mut self) {
        let Some(horizon) = self.start_of_horizon() else { return };
        self.learned.drain(..self.learned.partition_point(|span| span.end() <= horizon));
        self.baselines.retain(|_, baseline| {
            baseline.forget_before(horizon);
            !baseline.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Windows of one second; each holds the records of three keys.
    type Feed = Vec<(i64, [u64; 3])>;

    fn feed() -> impl Strategy<Value = Feed> {
        prop::collection::btree_map(0..40i64, prop::array::uniform3(0..4u64), 0..20)
            .prop_map(|windows| windows.into_iter().collect())
            .prop_shuffle()
    }

    #[test]
    fn six_weeks_of_a_key_take_less_than_740_bytes() {
        let mut baseline = Baseline::new();
        for (i, day) in Span::days("2020-11-01", "2020-12-13").unwrap().into_iter().enumerate() {
            let samples: CountMoments = (0..900).map(|j| 1 + (i as u64 * j) % 7).collect();
            let label = |n, max| LabelSummary::new(CountMoments::from_parts(n, 900, 0, max));
            let labels = [LabelSummary::new(samples), label(90, 700), label(200, 1_500)];
            baseline.learn(day, &Summary::new(samples.sum()).with_labels(labels)).unwrap();
        }
        assert_eq!(baseline.windows().count(), 42);
        assert!(baseline.memory_bytes() < 740, "{}", baseline.memory_bytes());
    }

    fn span(second: i64) -> Span {
        let at = |s: i64| Timestamp::from_millis(1_000 * s).unwrap();
        Span::new(at(second), at(second + 1)).unwrap()
    }

    fn schema(measures: &[&str]) -> Arc<Schema> {
        let measures = measures.iter().copied();
        Arc::new(Schema::builder().time("t").dimensions(["k"]).measures(measures).build().unwrap())
    }

    fn windows(second: i64, records: [u64; 3]) -> Summaries {
        let summary = |records: u64| {
            let measure = Moments::from_iter((0..records).map(|i| 0.1 * i as f64));
            Summary::new(records).with_samples(CountMoments::from_iter([records])).with_measures([measure])
        };
        let keyed = |(i, records)| (Key::new([format!("k{i}")]), summary(records));
        Summaries::new(schema(&["m"]), span(second), records.into_iter().enumerate().map(keyed)).unwrap()
    }

    fn table(feed: &[(i64, [u64; 3])], horizon: u64) -> GlobalTable {
        let mut table = GlobalTable::new(Duration::from_secs(horizon));
        for &(second, records) in feed {
            match table.learn(&windows(second, records)) {
                Ok(()) => {}
                Err(error) => assert!(matches!(error.kind(), ErrorKind::TooOld { .. }), "{error}"),
            }
        }
        table
    }

    #[test]
    fn a_window_is_not_learned_twice() {
        let mut table = table(&[(5, [1, 2, 0])], 10);
        let before = table.clone();
        let error = table.learn(&windows(5, [1, 2, 3])).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyLearned { .. }));
        assert!(error.to_string().contains("learned already"), "{error}");
        let overlapping = Span::new(span(4).start(), span(5).end()).unwrap();
        assert!(table.learn(&Summaries::new(schema(&["m"]), overlapping, []).unwrap()).is_err());
        assert_eq!(table, before);
    }

    #[test]
    fn a_feed_of_other_roles_is_refused() {
        let mut table = table(&[(5, [1, 2, 0])], 10);
        let before = table.clone();
        let error = table.learn(&Summaries::new(schema(&["other"]), span(6), []).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with(r#"measures: must be ["m"], those"#), "{error}");
        assert_eq!(table, before);
    }

    #[test]
    fn means_and_sums_have_a_past() {
        let table = table(&[(5, [4, 2, 0])], 10);
        let past = table.get(&Key::new(["k0"])).unwrap().windows().next().unwrap();
        assert_eq!((past.measures[0].n, past.measures[0].sum), (4, 0.600_000_000_000_000_1));
        assert_eq!(past.measures[0].mean(), Some(0.600_000_000_000_000_1 / 4.0));
    }

    #[test]
    fn histories_that_overlap_do_not_merge() {
        let mut day = table(&[(5, [240, 0, 0])], 10);
        let before = day.clone();
        for other in [table(&[(5, [240, 0, 0])], 10), table(&[(5, [100, 7, 0])], 10)] {
            let error = day.merge(&other).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::AlreadyLearned { .. }), "{error}");
        }
        let long = Span::new(span(0).start(), span(9).end()).unwrap();
        let mut whole = GlobalTable::default();
        whole.learn(&Summaries::new(schema(&["m"]), long, []).unwrap()).unwrap();
        assert!(day.merge(&whole).is_err() && whole.merge(&day).is_err());
        assert_eq!(day, before);
    }

    #[test]
    fn keys_can_be_forgotten_by_name() {
        let mut table = table(&[(5, [1, 2, 3]), (6, [1, 2, 3])], 10);
        let before = table.memory_bytes();
        table.retain(|key, _| key.values().next() != Some("k1"));
        assert_eq!(table.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(), ["k0", "k2"]);
        assert!(table.memory_bytes() < before && table.learned().len() == 2);
    }

    /// Found by fuzzing: a stored length of billions.
    #[test]
    fn a_stored_length_is_not_taken_at_its_word() {
        let mut bytes = rmp_serde::to_vec(&Baseline::new()).unwrap();
        bytes.pop();
        bytes.pop();
        bytes.extend_from_slice(&[0xc6, 0xff, 0xff, 0xff, 0xff, 0x10]);
        let error = rmp_serde::from_slice::<Baseline>(&bytes).unwrap_err().to_string();
        assert!(error.contains("IO error") || error.contains("reading"), "{error}");
    }

    #[test]
    fn a_key_that_stands_there_twice_is_refused() {
        let twice = ["k0", "k1", "k0"].map(|key| (Key::new([key]), Summary::new(1)));
        let error = Summaries::new(schema(&[]), span(5), twice).unwrap_err().to_string();
        assert_eq!(error, r#"keys of a window: must be different, got "k0""#);
    }

    proptest! {
        #[test]
        fn forgetting_equals_never_having_known(mut feed in feed(), horizon in 1..50u64) {
            let newest = feed.iter().map(|(second, _)| *second).max();
            let kept: Vec<_> = feed.iter().copied().filter(|(second, _)| newest.is_some_and(|n| n - second < horizon as i64)).collect();
            prop_assert_eq!(table(&feed, horizon), table(&kept, horizon));
            let mut bytes = Vec::new();
            crate::snapshot::write(&mut bytes, "table", 1, &table(&feed, horizon)).unwrap();
            let mut fresh = Vec::new();
            crate::snapshot::write(&mut fresh, "table", 1, &table(&kept, horizon)).unwrap();
            prop_assert_eq!(&bytes, &fresh);
            let loaded: GlobalTable = crate::snapshot::read(&mut std::io::Cursor::new(bytes), "bytes", "table", 1).unwrap();
            prop_assert_eq!(loaded, table(&feed, horizon));
            feed.sort_unstable();
            prop_assert_eq!(table(&feed, horizon), table(&kept, horizon));
        }

        #[test]
        fn histories_learned_apart_merge_to_the_whole_in_any_order(feed in feed(), horizon in 1..50u64, split in 0..20usize) {
            let (left, right) = feed.split_at(split.min(feed.len()));
            let parts = [table(left, horizon), table(right, horizon)];
            for [first, second] in [[0, 1], [1, 0]] {
                let mut merged = parts[first].clone();
                merged.merge(&parts[second]).unwrap();
                prop_assert_eq!(merged, table(&feed, horizon));
            }
        }

        #[test]
        fn a_history_reads_back_what_it_writes_as_text(feed in feed()) {
            let table = table(&feed, 50);
            let text = serde_json::to_string(&table).unwrap();
            prop_assert_eq!(serde_json::from_str::<GlobalTable>(&text).unwrap(), table);
        }
    }
}
