//! Local statistics tables: the tallies of all keys in short windows.

use crate::counts::Later;
use crate::key::Sought;
use crate::{Counts, Key, KeyWindow, Merge, Record, Result, Span, Tally, Windows};
use foldhash::fast::{FixedState, RandomState};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

/// The local statistics table (LST): the tallies of all keys in one window.
///
/// Tables of the same window merge across shards, files and machines; see the crate's example.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LocalTable {
    span: Span,
    tallies: IndexMap<Key, Tally, RandomState>,
}

impl LocalTable {
    /// An empty table for a window.
    #[must_use]
    pub fn new(span: Span) -> Self {
        LocalTable { span, tallies: IndexMap::default() }
    }

    /// The window.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Counts a record, unless its time lies outside the window. Says whether it was counted.
    pub fn add(&mut self, record: &Record<'_>) -> bool {
        let is_inside = self.span.contains(record.time);
        if is_inside {
            let index = self.index(record.dimensions);
            self.tallies[index].add(record);
        }
        is_inside
    }

    fn index(&mut self, dimensions: &[&str]) -> usize {
        let sought = Sought::new(dimensions);
        match self.tallies.get_index_of(&sought) {
            Some(index) => index,
            None => self.tallies.insert_full(sought.key(), Tally::default()).0,
        }
    }

    /// The tally of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Tally> {
        self.tallies.get(key)
    }

    /// The keys and their tallies, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Tally)> {
        self.tallies.iter()
    }

    /// The summaries of all keys, in order of the keys.
    #[must_use]
    pub fn finish(&self) -> Vec<KeyWindow> {
        let mut sorted: Vec<_> = self.tallies.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let finished = |(key, tally): (&Key, &Tally)| KeyWindow {
            key: key.clone(),
            span: self.span,
            window: tally.finish(),
        };
        sorted.into_iter().map(finished).collect()
    }

    /// Takes in a table of the same window that was built from other records.
    ///
    /// # Errors
    /// When the windows differ.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.span != other.span {
            let rule = format!("must be of the window {}", self.span);
            return Err(crate::Error::invalid("merged table", rule, other.span));
        }
        for (key, tally) in other.tallies {
            match self.tallies.get_mut(&key) {
                Some(sum) => sum.merge(&tally),
                None => drop(self.tallies.insert(key, tally)),
            }
        }
        Ok(())
    }
}

/// Equal when window and tallies are.
impl PartialEq for LocalTable {
    fn eq(&self, other: &Self) -> bool {
        self.span == other.span && self.tallies == other.tallies
    }
}

/// A local table for each of several windows, filled in one pass over the records.
///
/// With a [`MemoryBudget`] the largest tallies give up exactness when the tables outgrow it:
///
/// ```
/// use peak_core::{LocalTables, MemoryBudget, Record, Span};
///
/// let days = Span::days("2020-11-01", "2020-11-02")?;
/// let mut tables = LocalTables::new(&days).with_budget(MemoryBudget::bytes(1 << 20));
/// for i in 0..100_000 {
///     let sample = i.to_string();
///     let record = Record { time: days[0].start(), sample: Some(&sample), dimensions: &["web"], blame: &[], measures: &[] };
///     tables.add(&record);
/// }
/// assert!(tables.memory_bytes() < 1 << 20);
/// let window = &tables.into_tables()[0].finish()[0].window;
/// let uncertainty = window.uncertainty.expect("the budget did not last");
/// assert!((window.distinct() as f64 / 100_000.0 - 1.0).abs() < 4.0 * uncertainty.distinct());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LocalTables {
    windows: Windows,
    tables: Vec<LocalTable>,
    budget: Option<Spent>,
}

impl LocalTables {
    /// Empty tables for these windows.
    #[must_use]
    pub fn new(windows: &Windows) -> Self {
        let tables = windows.iter().map(|&span| LocalTable::new(span)).collect();
        LocalTables { windows: windows.clone(), tables, budget: None }
    }

    /// The tables with a limit to their memory.
    ///
    /// What is counted beyond it is counted in bounded memory, the largest tallies first; see
    /// [`Counts::bound`](crate::Counts::bound). Which ones depends on the order of the records, and
    /// nothing else.
    #[must_use]
    pub fn with_budget(mut self, budget: MemoryBudget) -> Self {
        let used = self.memory_bytes();
        self.budget = Some(Spent { budget, used, limit: budget.0 });
        self.keep_to_budget();
        self
    }

    /// The windows.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Tables of the same kind for the same windows, without records: what a shard starts with. Each
    /// of so many shards has its share of the budget.
    #[must_use]
    pub fn emptied(&self, shards: usize) -> Self {
        let empty = LocalTables::new(&self.windows);
        match &self.budget {
            None => empty,
            Some(spent) => empty.with_budget(MemoryBudget(spent.budget.0 / shards.max(1))),
        }
    }

    /// Counts a record in its window, if it has one. Says whether it was counted.
    ///
    /// For many records, a [`counter`](Self::counter) is faster.
    pub fn add(&mut self, record: &Record<'_>) -> bool {
        let Some(place) = self.place(record) else { return false };
        self.change(place, |tally| tally.add(record));
        self.keep_to_budget();
        true
    }

    /// Counts records some at a time, which is faster.
    pub fn counter(&mut self) -> Counter<'_> {
        Counter { tables: self, places: Vec::new(), samples: Vec::new() }
    }

    /// Where the record belongs.
    fn place(&mut self, record: &Record<'_>) -> Option<Place> {
        let window = self.windows.find(record.time)?;
        let tally = self.tables[window].index(record.dimensions);
        Some(Place { window, tally })
    }

    /// Changes a tally, and keeps track of its memory.
    fn change(&mut self, place: Place, change: impl FnOnce(&mut Tally)) {
        let tally = &mut self.tables[place.window].tallies[place.tally];
        match &mut self.budget {
            None => change(tally),
            Some(spent) => {
                let before = if tally.events() == 0 { 0 } else { tally.memory_bytes() };
                change(tally);
                spent.used = (spent.used + tally.memory_bytes()).saturating_sub(before);
            }
        }
    }

    /// Takes in tables of the same windows that were built from other records.
    ///
    /// # Errors
    /// When the windows differ.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.windows != other.windows {
            let show = |windows: &Windows| format!("{} within {:?}", windows.len(), windows.hull());
            let rule = format!("must be of the same windows, {}", show(&self.windows));
            return Err(crate::Error::invalid("merged tables", rule, show(&other.windows)));
        }
        let (sums, tables) = (self.tables.iter_mut(), other.tables);
        sums.zip(tables).try_for_each(|(sum, table)| sum.merge(table))?;
        if self.budget.is_some() {
            let used = self.memory_bytes();
            self.budget.iter_mut().for_each(|spent| spent.used = used);
            self.keep_to_budget();
        }
        Ok(())
    }

    /// Cuts the tables into so many parts by their keys: a key is in the same part of all tables of
    /// the same windows. Parts can thus be merged side by side.
    #[must_use]
    pub fn split(self, parts: usize) -> Vec<Self> {
        let mut split: Vec<Self> = (0..parts.max(1)).map(|_| self.emptied(parts)).collect();
        for (window, table) in self.tables.into_iter().enumerate() {
            for (key, tally) in table.tallies {
                let part = (FixedState::default().hash_one(&key) % split.len() as u64) as usize;
                split[part].tables[window].tallies.insert(key, tally);
            }
        }
        split
    }

    /// The tables, in order of time.
    pub fn into_tables(self) -> Vec<LocalTable> {
        self.tables
    }

    /// The memory that the tables take, in bytes, without that of measures.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tables.iter().flat_map(|table| table.tallies.values()).map(Tally::memory_bytes).sum()
    }

    /// How many keys and windows have bounded counts.
    #[must_use]
    pub fn bounded(&self) -> u64 {
        let tallies = self.tables.iter().flat_map(|table| table.tallies.values());
        tallies.filter(|tally| tally.is_bounded()).count() as u64
    }

    /// Bounds counts, the largest first, until a quarter of the budget is free or nothing is left to
    /// bound.
    fn keep_to_budget(&mut self) {
        let Some(spent) = &mut self.budget else { return };
        if spent.used <= spent.limit {
            return;
        }
        let mut counts: Vec<&mut Counts> = self
            .tables
            .iter_mut()
            .flat_map(|table| table.tallies.values_mut())
            .flat_map(Tally::counts_mut)
            .collect();
        // The largest on top; of equal ones the first.
        let mut heap: BinaryHeap<(usize, Reverse<usize>)> =
            counts.iter().enumerate().map(|(i, counts)| (counts.memory_bytes(), Reverse(i))).collect();
        while spent.used > spent.budget.0 / 4 * 3 {
            let Some((before, Reverse(i))) = heap.pop() else { break };
            if counts[i].bound() {
                let after = counts[i].memory_bytes();
                spent.used = (spent.used + after).saturating_sub(before);
                heap.push((after, Reverse(i)));
            }
        }
        // Where the keys alone take more than the budget, there is no use in trying with each record.
        spent.limit = spent.budget.0.max(spent.used + spent.used / 4);
    }
}

/// Counts records into tables some at a time, so that the places in memory where they belong are
/// looked up side by side. All are counted when it is dropped.
///
/// ```
/// use peak_core::{LocalTables, Record, Span};
///
/// let days = Span::days("2020-11-01", "2020-11-02")?;
/// let mut tables = LocalTables::new(&days);
/// let mut counter = tables.counter();
/// for sample in ["a", "b", "a"] {
///     let time = days[0].start();
///     counter.add(&Record { time, sample: Some(sample), dimensions: &["web"], blame: &[], measures: &[] });
/// }
/// drop(counter);
/// assert_eq!(tables.into_tables()[0].finish()[0].window.samples.max(), 2);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Counter<'a> {
    tables: &'a mut LocalTables,
    /// Where the pending samples belong.
    places: Vec<Place>,
    /// The pending samples, and room for more.
    samples: Vec<Later>,
}

/// Where a tally is.
#[derive(Debug, Clone, Copy)]
struct Place {
    window: usize,
    tally: usize,
}

impl Counter<'_> {
    /// As many places as a processor looks up at a time, some times over.
    const PENDING: usize = 64;

    /// Counts a record in its window, if it has one. Says whether it was counted.
    pub fn add(&mut self, record: &Record<'_>) -> bool {
        let Some(place) = self.tables.place(record) else { return false };
        self.tables.change(place, |tally| tally.add_all_but_sample(record));
        if let Some(sample) = record.sample {
            let pending = self.places.len();
            if pending == self.samples.len() {
                self.samples.push(Later::default());
            }
            self.samples[pending].set(sample);
            self.places.push(place);
        }
        if self.places.len() >= Self::PENDING {
            self.count();
        }
        true
    }

    /// Counts what is pending.
    fn count(&mut self) {
        let tables = &self.tables.tables;
        let pending = self.places.iter().zip(&self.samples);
        // The processor need not wait for one place to look up the next.
        let touch = |(place, sample): (&Place, &Later)| {
            tables[place.window].tallies[place.tally].samples().touch(sample)
        };
        std::hint::black_box(pending.map(touch).fold(0, u64::wrapping_add));
        for (place, sample) in self.places.drain(..).zip(&self.samples) {
            self.tables.change(place, |tally| _ = tally.samples_mut().add_later(sample, 1));
        }
        self.tables.keep_to_budget();
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

/// Equal when the windows and their tables are, whatever the budget.
impl PartialEq for LocalTables {
    fn eq(&self, other: &Self) -> bool {
        self.windows == other.windows && self.tables == other.tables
    }
}

/// How much memory tables may take.
///
/// ```
/// use peak_core::MemoryBudget;
///
/// let budget = MemoryBudget::bytes(256 << 20);
/// # let _ = budget;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget(usize);

impl MemoryBudget {
    /// So many bytes.
    #[must_use]
    pub fn bytes(bytes: usize) -> Self {
        MemoryBudget(bytes)
    }
}

/// A budget, and what of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spent {
    budget: MemoryBudget,
    used: usize,
    /// Above this, something is done about it.
    limit: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use proptest::prelude::*;

    type Row = (i64, u8, u8, Option<u8>, Option<f64>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let measure = prop::option::of(prop_oneof![-1e9..1e9f64, Just(0.1), Just(-0.0)]);
        prop::collection::vec((0..4_000i64, 0..3u8, 0..6u8, prop::option::of(0..3u8), measure), 0..80)
    }

    fn windows_of_a_second() -> LocalTables {
        let span = Span::new(Timestamp::MIN, Timestamp::from_millis(3_000).unwrap()).unwrap();
        LocalTables::new(&Windows::every(span, std::time::Duration::from_secs(1)).unwrap())
    }

    fn each(rows: &[Row], mut add: impl FnMut(&Record<'_>) -> bool) {
        for &(millis, dimension, sample, blame, measure) in rows {
            let (dimension, sample) = (dimension.to_string(), sample.to_string());
            let blame = blame.map(|b| b.to_string());
            let record = Record {
                time: Timestamp::from_millis(millis).unwrap(),
                sample: Some(&sample),
                dimensions: &[&dimension, "x"],
                blame: &[blame.as_deref()],
                measures: &[measure],
            };
            assert_eq!(add(&record), millis < 3_000);
        }
    }

    fn tables(rows: &[Row]) -> LocalTables {
        let mut tables = windows_of_a_second();
        let mut counter = tables.counter();
        each(rows, |record| counter.add(record));
        drop(counter);
        tables
    }

    #[test]
    fn tables_of_different_windows_do_not_merge() {
        let days = Span::days("2020-11-01", "2020-11-03").unwrap();
        let error = LocalTable::new(days[0]).merge(LocalTable::new(days[1])).unwrap_err();
        assert!(error.to_string().starts_with("merged table: must be of the window 2020-11-01"), "{error}");
    }

    /// Ten keys, each with twice the samples of the one before.
    fn doubling(tables: &mut LocalTables) {
        let mut counter = tables.counter();
        for i in 0..1_023_u64 * 16 {
            let key = (i / 16 + 1).ilog2().to_string();
            let (sample, sender) = (format!("{i:040x}"), format!("sender {}", i % 5));
            let record = Record {
                time: Timestamp::MIN,
                sample: Some(&sample),
                dimensions: &[&key],
                blame: &[Some(&sender)],
                measures: &[],
            };
            assert!(counter.add(&record));
        }
    }

    #[test]
    fn a_budget_bounds_the_largest_tallies_and_no_more_than_it_must() {
        let windows = Windows::from(Span::ALWAYS);
        let mut exact = LocalTables::new(&windows);
        doubling(&mut exact);
        assert_eq!(exact.bounded(), 0);
        let needed = exact.memory_bytes();
        for (share, least, most) in [(2.0, 0, 0), (1.0, 0, 0), (0.5, 1, 2), (0.1, 2, 5), (0.02, 5, 9)] {
            let bytes = (needed as f64 * share) as usize;
            let tables = || LocalTables::new(&windows).with_budget(MemoryBudget::bytes(bytes));
            let mut bounded = tables();
            doubling(&mut bounded);
            assert!(bounded.memory_bytes() <= bytes, "{share}: {}", bounded.memory_bytes());
            assert!((least..=most).contains(&bounded.bounded()), "{share}: {}", bounded.bounded());
            let mut again = tables();
            doubling(&mut again);
            assert!(again == bounded, "it depends on nothing but the records");

            let finished = bounded.into_tables()[0].finish();
            let uncertain = |found: &KeyWindow| found.window.uncertainty.is_some();
            let first = finished.iter().position(uncertain).unwrap_or(finished.len());
            assert!(finished[first..].iter().all(uncertain), "the largest first");
        }
    }

    #[test]
    fn a_budget_that_the_keys_alone_exceed_is_no_reason_to_fail() {
        let mut tables = LocalTables::new(&Windows::from(Span::ALWAYS)).with_budget(MemoryBudget::bytes(1));
        doubling(&mut tables);
        assert_eq!(
            tables.into_tables()[0].finish().iter().map(|found| found.window.events).sum::<u64>(),
            1_023 * 16
        );
    }

    proptest! {
        #[test]
        fn some_at_a_time_is_the_same_as_one_by_one(rows in rows()) {
            let mut one_by_one = windows_of_a_second();
            each(&rows, |record| one_by_one.add(record));
            prop_assert_eq!(tables(&rows), one_by_one);
        }

        #[test]
        fn parts_hold_each_key_once_and_merge_to_the_whole(rows in rows(), parts in 0..5usize) {
            let whole = tables(&rows);
            let split = whole.clone().split(parts);
            prop_assert_eq!(split.len(), parts.max(1));
            let keys = |tables: &LocalTables| tables.tables.iter().map(|table| table.tallies.len()).sum::<usize>();
            prop_assert_eq!(split.iter().map(keys).sum::<usize>(), keys(&whole));
            let mut merged = whole.emptied(1);
            split.into_iter().try_for_each(|part| merged.merge(part)).unwrap();
            prop_assert_eq!(merged, whole);
        }

        #[test]
        fn any_split_in_any_order_gives_the_same_tables(rows in rows(), shards in prop::collection::vec(0..4usize, 80)) {
            let whole = tables(&rows).into_tables();
            let mut parts: [Vec<Row>; 4] = Default::default();
            rows.iter().zip(&shards).for_each(|(row, &shard)| parts[shard].push(*row));
            for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
                let mut merged = tables(&[]).into_tables();
                for part in order {
                    let shard = tables(&parts[part]).into_tables();
                    for (sum, table) in merged.iter_mut().zip(shard) {
                        sum.merge(table).unwrap();
                    }
                }
                prop_assert_eq!(&merged, &whole);
                for (sum, table) in merged.iter().zip(&whole) {
                    prop_assert_eq!(sum.finish(), table.finish());
                }
            }
        }

        #[test]
        fn every_record_is_counted_once(rows in rows()) {
            let whole = tables(&rows).into_tables();
            let events: u64 = whole.iter().flat_map(LocalTable::finish).map(|found| found.window.events).sum();
            prop_assert_eq!(events, rows.iter().filter(|row| row.0 < 3_000).count() as u64);
            for found in whole.iter().flat_map(LocalTable::finish) {
                prop_assert_eq!(found.window.samples.sum(), found.window.events);
                prop_assert_eq!(found.window.samples.max(), found.window.top_samples[0].count);
            }
        }
    }
}
