//! Global statistics tables: the history of all keys.

mod packed;

use crate::{
    CountMoments, Error, ErrorKind, Key, KeyMap, KeyWindow, Merge, Result, Share, Span, Timestamp, Window,
};
use packed::Packed;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::time::Duration;

/// What a baseline remembers of one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The window.
    pub span: Span,
    /// The number of records.
    pub events: u64,
    /// The moments of the records per sample.
    pub samples: CountMoments,
    /// Per blame field, the records of its most frequent value.
    pub top_blame: SmallVec<[u64; 2]>,
}

impl Past {
    fn of(span: Span, window: &Window) -> Self {
        let top = |shares: &Vec<Share>| shares.first().map_or(0, |share| share.count);
        let top_blame = window.top_blame.iter().map(top).collect();
        Past { span, events: window.events, samples: window.samples, top_blame }
    }

    /// The order of windows: by their end, so that what is forgotten comes first.
    fn place(&self) -> (Timestamp, Timestamp) {
        place(self.span)
    }

    fn size(&self) -> (u64, u64, u128, u64, &[u64]) {
        let Past { events, samples, top_blame, .. } = self;
        (*events, samples.n(), samples.sum_of_squares(), samples.max(), top_blame)
    }
}

fn place(span: Span) -> (Timestamp, Timestamp) {
    (span.end(), span.start())
}

/// The history of one key: the windows in which it had records, in order of time.
///
/// Windows are kept as they were, so everything derived from them is exact, and forgetting a window
/// is the same as never having learned it. Windows in which a key had no records are not stored;
/// the [`GlobalTable`] knows which windows were learned at all. A window takes about 14 bytes.
///
/// Baselines merge across time. The merge is a union; when both sides hold the same window, built
/// from different records, the larger one stays.
///
/// ```
/// use peak_core::{Baseline, Span, Window};
///
/// let days = Span::days("2020-11-01", "2020-11-03")?;
/// let mut baseline = Baseline::default();
/// baseline.learn(days[0], &Window { events: 10, ..Window::default() })?;
/// baseline.learn(days[1], &Window { events: 14, ..Window::default() })?;
/// assert_eq!(baseline.events().mean(), Some(12.0));
/// assert!(baseline.learn(days[1], &Window::default()).is_err()); // not twice
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline {
    windows: Packed,
}

impl From<Vec<Past>> for Baseline {
    fn from(mut windows: Vec<Past>) -> Self {
        windows.sort_unstable_by(|a, b| a.place().cmp(&b.place()).then_with(|| b.size().cmp(&a.size())));
        windows.dedup_by_key(|past| past.span);
        let mut packed = Packed::new();
        windows.iter().for_each(|past| packed.push(past));
        Baseline { windows: packed }
    }
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

impl Eq for Baseline {}

impl Baseline {
    /// A history without windows.
    #[must_use]
    pub const fn new() -> Self {
        Baseline { windows: Packed::new() }
    }

    /// The history of a single window.
    fn of(span: Span, window: &Window) -> Self {
        let mut baseline = Baseline::new();
        baseline.insert(Past::of(span, window));
        baseline
    }

    /// Adds a window to the history, at its place in time.
    ///
    /// # Errors
    /// When it overlaps a window of the history: its records would count twice.
    pub fn learn(&mut self, span: Span, window: &Window) -> Result<()> {
        if span.start() < self.windows.end() {
            self.windows().try_for_each(|learned| refuse_overlap(span, learned.span))?;
        }
        self.insert(Past::of(span, window));
        Ok(())
    }

    /// Adds a window at its place.
    fn insert(&mut self, past: Past) {
        if past.span.start() >= self.windows.end() {
            self.windows.push(&past);
        } else {
            *self = self.windows().chain([past]).collect::<Vec<_>>().into();
        }
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
    pub fn events(&self) -> CountMoments {
        self.windows().map(|past| past.events).collect()
    }

    /// The moments of the distinct samples per window, over the windows with records.
    #[must_use]
    pub fn distinct(&self) -> CountMoments {
        self.windows().map(|past| past.samples.n()).collect()
    }
}

impl Merge for Baseline {
    fn merge(&mut self, other: &Self) {
        if !other.is_empty() {
            *self = self.windows().chain(other.windows()).collect::<Vec<_>>().into();
        }
    }
}

fn refuse_overlap(window: Span, learned: Span) -> Result<()> {
    if window.overlaps(learned) { Err(ErrorKind::AlreadyLearned { window, learned }.into()) } else { Ok(()) }
}

/// The global statistics table (GST): the baselines of all keys over a sliding horizon.
///
/// A key without records within the horizon is forgotten.
///
/// ```
/// use peak_core::{GlobalTable, Key, KeyWindow, Span, Window};
/// use std::time::Duration;
///
/// let mut table = GlobalTable::new(Duration::from_secs(7 * 86_400));
/// let key = Key::new(["malicious", "PeExeFile"]);
/// for span in Span::days("2020-11-01", "2020-11-15")? {
///     let window = Window { events: 60, ..Window::default() };
///     table.learn(span, &[KeyWindow { key: key.clone(), span, window }])?;
/// }
/// assert_eq!(table.learned().len(), 7); // the horizon holds a week
/// assert_eq!(table.get(&key).unwrap().events().sum(), 7 * 60);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GlobalTable {
    /// How far back from the newest window the table remembers; `None` is forever.
    horizon: Option<Duration>,
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
    /// The keys come in any order, but in theirs, which is how tables finish, it is fastest.
    ///
    /// # Errors
    /// When a key stands there twice, the window overlaps one that was learned already, or lies
    /// before the horizon. The table is unchanged then.
    pub fn learn(&mut self, span: Span, windows: &[KeyWindow]) -> Result<()> {
        if windows.is_sorted_by(|a, b| a.key < b.key) {
            return self.learn_in_order(span, windows.iter());
        }
        let mut sorted: Vec<&KeyWindow> = windows.iter().collect();
        sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        match sorted.windows(2).find(|pair| pair[0].key == pair[1].key) {
            Some(pair) => Err(Error::invalid("keys of a window", "must be different", &pair[0].key)),
            None => self.learn_in_order(span, sorted.into_iter()),
        }
    }

    fn learn_in_order<'a>(&mut self, span: Span, windows: impl Iterator<Item = &'a KeyWindow>) -> Result<()> {
        self.admits(span)?;
        let at = self.learned.partition_point(|learned| place(*learned) < place(span));
        self.learned.insert(at, span);
        let horizon = self.start_of_horizon();
        let eventful = windows.filter(|found| found.window.events > 0);
        self.baselines.update(eventful.map(|found| (&found.key, &found.window)), |baseline, window| {
            let Some(baseline) = baseline else { return Some(Baseline::of(span, window)) };
            // While the bytes are at hand.
            horizon.inspect(|&horizon| baseline.forget_before(horizon));
            baseline.insert(Past::of(span, window));
            None
        });
        self.forget();
        Ok(())
    }

    /// Whether [`learn`](Self::learn) would take this window.
    ///
    /// # Errors
    /// When it would not: the window overlaps one that was learned already, or lies before the
    /// horizon.
    pub fn admits(&self, span: Span) -> Result<()> {
        let later = self.learned.partition_point(|learned| learned.end() <= span.start());
        self.learned[later..].iter().try_for_each(|&learned| refuse_overlap(span, learned))?;
        match self.start_of_horizon() {
            Some(horizon) if span.end() <= horizon => Err(ErrorKind::TooOld { window: span, horizon }.into()),
            _ => Ok(()),
        }
    }

    /// Changes how far back the table remembers, and forgets what is older.
    pub fn set_horizon(&mut self, horizon: Duration) {
        self.horizon = Some(horizon);
        self.forget();
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

    fn forget(&mut self) {
        let Some(horizon) = self.start_of_horizon() else { return };
        self.learned.drain(..self.learned.partition_point(|span| span.end() <= horizon));
        self.baselines.retain(|_, baseline| {
            baseline.forget_before(horizon);
            !baseline.is_empty()
        });
    }
}

/// The union of both histories, over the shorter of the two horizons.
impl Merge for GlobalTable {
    fn merge(&mut self, other: &Self) {
        self.horizon = [self.horizon, other.horizon].into_iter().flatten().min();
        self.learned.extend(&other.learned);
        self.learned.sort_unstable_by_key(|span| place(*span));
        self.learned.dedup();
        self.baselines.update(other.baselines.iter(), |union, baseline| match union {
            Some(union) => {
                union.merge(baseline);
                None
            }
            None => Some(baseline.clone()),
        });
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Windows of one second; each holds the events of three keys.
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
            let top = |count| vec![Share { label: "a".into(), count }];
            let top_blame = vec![top(700), top(1_500)];
            baseline
                .learn(day, &Window { events: samples.sum(), samples, top_blame, ..Window::default() })
                .unwrap();
        }
        assert_eq!(baseline.windows().count(), 42);
        assert!(baseline.memory_bytes() < 740, "{}", baseline.memory_bytes());
    }

    fn span(second: i64) -> Span {
        let at = |s: i64| Timestamp::from_millis(1_000 * s).unwrap();
        Span::new(at(second), at(second + 1)).unwrap()
    }

    fn windows(second: i64, events: [u64; 3]) -> Vec<KeyWindow> {
        let window =
            |events| Window { events, samples: CountMoments::from_iter([events]), ..Window::default() };
        let keyed = |(i, events)| KeyWindow {
            key: Key::new([format!("k{i}")]),
            span: span(second),
            window: window(events),
        };
        events.into_iter().enumerate().map(keyed).collect()
    }

    fn table(feed: &[(i64, [u64; 3])], horizon: u64) -> GlobalTable {
        let mut table = GlobalTable::new(Duration::from_secs(horizon));
        for &(second, events) in feed {
            match table.learn(span(second), &windows(second, events)) {
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
        let error = table.learn(span(5), &windows(5, [1, 2, 3])).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::AlreadyLearned { .. }));
        assert!(error.to_string().contains("learned already"), "{error}");
        let overlapping = Span::new(span(4).start(), span(5).end()).unwrap();
        assert!(table.learn(overlapping, &[]).is_err());
        assert_eq!(table, before);
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
        let mut table = table(&[(4, [1, 2, 0])], 10);
        let before = table.clone();
        let twice = [windows(5, [1, 2, 3]), windows(5, [1, 0, 0])].concat();
        let error = table.learn(span(5), &twice).unwrap_err().to_string();
        assert_eq!(error, r#"keys of a window: must be different, got "k0""#);
        assert_eq!(table, before);
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
        fn histories_learned_apart_merge_to_the_whole(feed in feed(), horizon in 1..50u64, split in 0..20usize) {
            let (left, right) = feed.split_at(split.min(feed.len()));
            let mut merged = table(left, horizon);
            merged.merge(&table(right, horizon));
            prop_assert_eq!(merged, table(&feed, horizon));
        }

        #[test]
        fn merging_obeys_the_laws(a in feed(), b in feed(), c in feed(), horizons in prop::array::uniform3(1..50u64)) {
            let [a, b, c] = [table(&a, horizons[0]), table(&b, horizons[1]), table(&c, horizons[2])];
            crate::testing::check_merge(&a, &b, &c);
            let key = Key::new(["k0"]);
            let baseline = |table: &GlobalTable| table.get(&key).cloned().unwrap_or_default();
            crate::testing::check_merge(&baseline(&a), &baseline(&b), &baseline(&c));
            let mut twice = a.clone();
            twice.merge(&a);
            prop_assert_eq!(twice, a);
        }
    }
}
