//! Local statistics tables: the tallies of all keys in short windows.

use crate::counts::Later;
use crate::key::Sought;
use crate::limits::{Limits, shortened};
use crate::schema::Shape;
use crate::summary::checked_exposure;
use crate::tally::Bounded;
use crate::{Combine, Error, Key, Record, Result, Schema, Span, Summaries, Tally, Timestamp, Windows};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use indexmap::map::Entry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// The local statistics table (LST): the tallies of all keys in one window.
///
/// Tables of the same window merge across shards, files and machines; see the crate's example. A table
/// is stored in the order of its keys and labels, so equal tables are stored as the same bytes.
#[derive(Debug, Clone)]
pub struct LocalTable {
    schema: Arc<Schema>,
    span: Span,
    exposure: f64,
    tallies: IndexMap<Key, Tally, RandomState>,
}

impl LocalTable {
    /// An empty table for a window that is observed as a whole.
    #[must_use]
    pub fn new(schema: Arc<Schema>, span: Span) -> Self {
        LocalTable { schema, span, exposure: 1.0, tallies: IndexMap::default() }
    }

    /// The table of a window of which only this part was observed: 0 when the collector was down all
    /// the time, 1 when it never was. What was not observed is not silence.
    ///
    /// # Errors
    /// When it is not from 0 to 1.
    pub fn with_exposure(self, exposure: f64) -> Result<Self> {
        Ok(LocalTable { exposure: checked_exposure(exposure)?, ..self })
    }

    pub(crate) fn set_exposure(&mut self, exposure: f64) {
        self.exposure = exposure.clamp(0.0, 1.0);
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

    /// Counts a record, unless its time lies outside the window. Says whether it was counted.
    ///
    /// # Errors
    /// When the record has not the shape of the schema. It is not counted then.
    pub fn add(&mut self, record: &Record<'_>) -> Result<bool> {
        self.schema.check(record)?;
        let is_inside = self.span.contains(record.time);
        if is_inside {
            let index = self.index(record.dimensions);
            self.tallies[index].add(&self.schema, record);
        }
        Ok(is_inside)
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

    /// The keys and their tallies, in the order of the keys.
    fn sorted(&self) -> Vec<(&Key, &Tally)> {
        let mut sorted: Vec<_> = self.tallies.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        sorted
    }

    /// The summaries of all keys, in order of the keys.
    #[must_use]
    pub fn finish(&self) -> Summaries {
        let rows = self.sorted().into_iter().map(|(key, tally)| (key.clone(), tally.finish())).collect();
        Summaries::of_table(Arc::clone(&self.schema), self.span, self.exposure, rows)
    }

    /// Takes in a table of the same window that was built from other records. What either of them
    /// observed was observed.
    ///
    /// # Errors
    /// When the windows or the schemas differ.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if self.span != other.span {
            let rule = format!("must be of the window {}", self.span);
            return Err(Error::invalid("merged table", rule, other.span));
        }
        self.schema.check_same(&other.schema)?;
        self.exposure = self.exposure.max(other.exposure);
        for (key, tally) in other.tallies {
            match self.tallies.get_mut(&key) {
                Some(sum) => sum.combine(&tally),
                None => drop(self.tallies.insert(key, tally)),
            }
        }
        Ok(())
    }

    /// Forgets the keys that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) {
        self.tallies.retain(|key, _| keep(key));
    }

    /// Bounds what the table holds to the limits, as if they were its alone.
    ///
    /// # Errors
    /// Never, but for windows that do not fit.
    pub fn keep_to(&mut self, limits: Limits) -> Result<()> {
        let empty = Windows::default();
        let mut tables = LocalTables::with_schema(Arc::clone(&self.schema), &empty).with_limits(limits);
        let emptied = LocalTable::new(Arc::clone(&self.schema), self.span).with_exposure(self.exposure)?;
        tables.take_in(std::mem::replace(self, emptied))?;
        for table in tables.into_tables() {
            *self = table;
        }
        Ok(())
    }

    /// The memory that the table takes, in bytes: tallies, keys, and what finds them.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let spare = self.tallies.capacity() - self.tallies.len();
        let tally =
            |(key, tally): (&Key, &Tally)| tally.memory_bytes() - size_of::<Tally>() + key.heap_bytes();
        self.tallies.iter().map(tally).sum::<usize>() + (self.tallies.len() + spare) * PER_KEY
    }
}

/// What a key takes in a table beside its text and what the tally has on the heap: the entry, its hash,
/// and the place in the hash table.
const PER_KEY: usize = size_of::<(Key, Tally)>() + 3 * size_of::<usize>();

/// Equal when schema, window, exposure and tallies are.
impl PartialEq for LocalTable {
    fn eq(&self, other: &Self) -> bool {
        (&self.schema, self.span, self.exposure) == (&other.schema, other.span, other.exposure)
            && self.tallies == other.tallies
    }
}

impl Serialize for LocalTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.schema, self.span, self.exposure, self.sorted()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LocalTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (schema, span, exposure, rows): (Arc<Schema>, _, _, Vec<(Key, Tally)>) =
            Deserialize::deserialize(deserializer)?;
        let table = LocalTable::new(schema, span).with_exposure(exposure);
        let mut table = table.map_err(serde::de::Error::custom)?;
        let arity = table.schema.dimensions().len();
        if rows.iter().any(|(key, _)| key.arity() != arity) || !rows.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(serde::de::Error::custom("the keys of a table must be in order and of its schema"));
        }
        table.tallies = rows.into_iter().collect();
        Ok(table)
    }
}

/// A local table for each of several windows, filled in one pass over the records.
///
/// Records are counted some at a time, so that the places in memory where they belong are looked up
/// side by side; whatever reads the tables counts what is pending first.
///
/// With [`Limits`] the largest tallies give up exactness when the tables outgrow their memory:
///
/// ```
/// use peak_core::{Limits, LocalTables, Record, Schema, Span};
///
/// let schema = Schema::builder().time("at").sample("id").dimensions(["host"]).build()?;
/// let days = Span::days("2020-11-01", "2020-11-02")?;
/// let mut tables = LocalTables::new(&schema, &days).with_limits(Limits::default().with_memory(1 << 20));
/// for i in 0..100_000 {
///     let sample = i.to_string();
///     tables.add(&Record::new(days[0].start(), &["web"]).with_labels(&[Some(&sample)]))?;
/// }
/// assert!(tables.memory_bytes() < 1 << 20);
/// let found = tables.into_tables()[0].finish();
/// let (_, summary) = found.iter().next().unwrap();
/// let uncertainty = summary.uncertainty().expect("the memory did not last");
/// assert!((summary.distinct() as f64 / 100_000.0 - 1.0).abs() < 4.0 * uncertainty.distinct());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LocalTables {
    schema: Arc<Schema>,
    shape: Shape,
    windows: Windows,
    tables: Vec<LocalTable>,
    limits: Limits,
    /// What of the memory is used, as long as there is a limit to it.
    used: usize,
    /// Above this, something is done about it.
    threshold: usize,
    /// Whether there is no room for new keys.
    is_full: bool,
    /// Records whose keys found no room.
    other: u64,
    /// Records since the memory was looked at.
    unchecked: usize,
    /// Where the pending samples belong, and for how many records they stand.
    places: Vec<(Place, u64)>,
    /// The pending samples, and room for more.
    samples: Vec<Later>,
}

/// Where a tally is.
#[derive(Debug, Clone, Copy)]
struct Place {
    window: usize,
    tally: usize,
}

impl LocalTables {
    /// As many places as a processor looks up at a time, some times over.
    const PENDING: usize = 64;

    /// Empty tables for these windows.
    #[must_use]
    pub fn new(schema: &Schema, windows: &Windows) -> Self {
        Self::with_schema(Arc::new(schema.clone()), windows)
    }

    fn with_schema(schema: Arc<Schema>, windows: &Windows) -> Self {
        let tables = windows.into_iter().map(|span| LocalTable::new(Arc::clone(&schema), span)).collect();
        LocalTables {
            shape: schema.shape(),
            schema,
            windows: windows.clone(),
            tables,
            limits: Limits::default(),
            used: 0,
            threshold: usize::MAX,
            is_full: false,
            other: 0,
            unchecked: 0,
            places: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// The tables with limits to what they hold.
    ///
    /// What is counted beyond the memory is counted in bounded memory, the largest tallies first; see
    /// [`Counts::bound`](crate::Counts::bound). When nothing is left to bound, new keys are counted together as
    /// [`Key::other`], and so are those beyond the most keys of a window. Which ones depends on the
    /// order of the records, and nothing else; [`other`](Self::other) says how many records that were.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.set_limits(limits);
        self
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.threshold = limits.memory().unwrap_or(usize::MAX);
        self.is_full = false;
        self.keep_to_most_keys();
        self.look_at_memory();
    }

    /// The fields of the feed and their roles.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The windows.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Tables of the same kind for the same windows, without records: what a shard starts with. Each
    /// of so many shards has its share of the memory.
    #[must_use]
    pub fn emptied(&self, shards: usize) -> Self {
        let empty = Self::with_schema(Arc::clone(&self.schema), &self.windows);
        empty.with_limits(self.limits.shared_by(shards))
    }

    /// Counts a record in its window, if it has one. Says whether it was counted.
    ///
    /// # Errors
    /// When the record has not the shape of the schema. It is not counted then.
    pub fn add(&mut self, record: &Record<'_>) -> Result<bool> {
        // Nearly every record is.
        let is_plain = self.shape.fits(record) && self.limits.allow(record);
        if !is_plain {
            self.schema.check(record)?;
        }
        let Some(window) = self.windows.find(record.time) else { return Ok(false) };
        if is_plain {
            self.add_to(window, record);
        } else {
            shortened(record, self.limits, |record| self.add_to(window, record));
        }
        Ok(true)
    }

    fn add_to(&mut self, window: usize, record: &Record<'_>) {
        let place = Place { window, tally: self.index(window, record) };
        let tally = &mut self.tables[window].tallies[place.tally];
        self.used =
            self.used.saturating_add_signed(tally.add_all_but_sample(self.shape.asked(&self.schema), record));
        if let Some(sample) = record.sample() {
            let pending = self.places.len();
            if pending == self.samples.len() {
                self.samples.push(Later::default());
            }
            self.samples[pending].set(sample);
            self.places.push((place, record.weight));
        }
        self.unchecked += 1;
        if self.unchecked >= Self::PENDING {
            self.count_pending();
            self.keep_to_memory();
        }
    }

    /// Where the key's tally is, or that of all keys without room.
    fn index(&mut self, window: usize, record: &Record<'_>) -> usize {
        let tallies = &mut self.tables[window].tallies;
        let sought = Sought::new(record.dimensions);
        if let Some(index) = tallies.get_index_of(&sought) {
            return index;
        }
        let has_room = !self.is_full && self.limits.keys().is_none_or(|most| tallies.len() < most);
        let key = if has_room { sought.key() } else { Key::other(record.dimensions.len()) };
        if !has_room {
            self.other = self.other.saturating_add(record.weight);
        }
        let entry = tallies.entry(key);
        let index = entry.index();
        if let Entry::Vacant(entry) = entry {
            // Twice: a table that grows has room for as many again.
            self.used += 2 * PER_KEY + entry.key().heap_bytes();
            entry.insert(Tally::default());
        }
        index
    }

    /// Counts what is pending.
    fn count_pending(&mut self) {
        self.unchecked = 0;
        let tables = &self.tables;
        let pending = self.places.iter().zip(&self.samples);
        // The processor need not wait for one place to look up the next.
        let touch = |((place, _), sample): (&(Place, u64), &Later)| {
            tables[place.window].tallies[place.tally].samples().touch(sample)
        };
        std::hint::black_box(pending.map(touch).fold(0, u64::wrapping_add));
        for ((place, weight), sample) in self.places.drain(..).zip(&self.samples) {
            let tally = &mut self.tables[place.window].tallies[place.tally];
            self.used = self.used.saturating_add_signed(tally.samples_mut().add_later(sample, weight));
        }
    }

    /// Takes in tables of the same windows that were built from other records.
    ///
    /// # Errors
    /// When the windows or the schemas differ.
    pub fn merge(&mut self, mut other: Self) -> Result<()> {
        if self.windows != other.windows {
            let show = |windows: &Windows| format!("{} within {:?}", windows.len(), windows.hull());
            let rule = format!("must be of the same windows, {}", show(&self.windows));
            return Err(Error::invalid("merged tables", rule, show(&other.windows)));
        }
        self.schema.check_same(&other.schema)?;
        self.count_pending();
        other.count_pending();
        self.other = self.other.saturating_add(other.other);
        let (sums, tables) = (self.tables.iter_mut(), other.tables);
        sums.zip(tables).try_for_each(|(sum, table)| sum.merge(table))?;
        self.keep_to_most_keys();
        self.look_at_memory();
        Ok(())
    }

    /// Cuts the tables into so many parts by their keys: a key is in the same part of all tables of
    /// the same windows. Parts can thus be merged side by side.
    #[must_use]
    pub fn split(mut self, parts: usize) -> Vec<Self> {
        self.count_pending();
        let mut split: Vec<Self> = (0..parts.max(1)).map(|_| self.emptied(parts)).collect();
        split[0].other = self.other;
        let hasher = foldhash::fast::FixedState::default();
        for (window, table) in self.tables.into_iter().enumerate() {
            for part in &mut split {
                part.tables[window].exposure = table.exposure;
            }
            for (key, tally) in table.tallies {
                let part = (hasher.hash_one(&key) % split.len() as u64) as usize;
                split[part].tables[window].tallies.insert(key, tally);
            }
        }
        split.iter_mut().for_each(Self::look_at_memory);
        split
    }

    /// The tables, in order of time.
    #[must_use]
    pub fn into_tables(mut self) -> Vec<LocalTable> {
        self.count_pending();
        self.tables
    }

    /// The tables, in order of time.
    pub fn tables(&mut self) -> &[LocalTable] {
        self.count_pending();
        &self.tables
    }

    /// The memory that the tables take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let pending: usize = self.samples.iter().map(Later::memory_bytes).sum();
        pending + self.tables.iter().map(LocalTable::memory_bytes).sum::<usize>()
    }

    /// How many keys and windows have bounded counts.
    #[must_use]
    pub fn bounded(&self) -> u64 {
        let tallies = self.tables.iter().flat_map(|table| table.tallies.values());
        tallies.filter(|tally| !tally.is_exact()).count() as u64
    }

    /// How many records are counted as [`Key::other`], because their keys found no room.
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// Opens one more window, unless it is there already.
    pub(crate) fn open(&mut self, span: Span) -> Result<()> {
        if self.windows.find(span.start()).is_some_and(|window| self.windows[window] == span) {
            return Ok(());
        }
        self.count_pending();
        let at = self.windows.insert(span)?;
        self.tables.insert(at, LocalTable::new(Arc::clone(&self.schema), span));
        Ok(())
    }

    /// Puts a table in its place, or into the one that is there.
    pub(crate) fn take_in(&mut self, table: LocalTable) -> Result<()> {
        self.schema.check_same(&table.schema)?;
        self.count_pending();
        match self.windows.find(table.span.start()).filter(|&window| self.windows[window] == table.span) {
            Some(window) => self.tables[window].merge(table)?,
            None => {
                let at = self.windows.insert(table.span)?;
                self.tables.insert(at, table);
            }
        }
        self.keep_to_most_keys();
        self.look_at_memory();
        Ok(())
    }

    /// The tables, when nothing is pending.
    pub(crate) fn settled(&self) -> Option<&[LocalTable]> {
        self.places.is_empty().then_some(&self.tables)
    }

    /// Takes out the tables of the windows that begin then or later.
    pub(crate) fn take_from(&mut self, time: Timestamp) -> Vec<LocalTable> {
        self.count_pending();
        self.tables.split_off(self.windows.remove_from(time))
    }

    /// Takes out the tables of the windows that end by then.
    pub(crate) fn take_before(&mut self, time: Timestamp) -> Vec<LocalTable> {
        self.count_pending();
        let windows = self.windows.remove_before(time);
        let tables: Vec<_> = self.tables.drain(..windows).collect();
        if !tables.is_empty() {
            self.set_limits(self.limits);
        }
        tables
    }

    /// Counts the keys beyond the most of a window together. Of keys that were put together from
    /// several tables the first in order stay.
    fn keep_to_most_keys(&mut self) {
        let Some(most) = self.limits.keys() else { return };
        for table in &mut self.tables {
            if table.tallies.len() <= most + 1 {
                continue;
            }
            let other = Key::other(self.schema.dimensions().len());
            let mut sum = table.tallies.swap_remove(&other).unwrap_or_default();
            table.tallies.sort_unstable_keys();
            for (_, tally) in table.tallies.split_off(most) {
                self.other = self.other.saturating_add(tally.records());
                sum.combine(&tally);
            }
            table.tallies.insert(other, sum);
        }
    }

    /// Works out what memory is used, where there is a limit to it, and keeps to it.
    fn look_at_memory(&mut self) {
        if self.limits.memory().is_some() {
            self.used = self.memory_bytes();
            self.keep_to_memory();
        }
    }

    /// Bounds counts, the largest first, until a quarter of the memory is free or nothing is left to
    /// bound: then there is no room for new keys.
    fn keep_to_memory(&mut self) {
        let Some(most) = self.limits.memory().filter(|_| self.used > self.threshold) else { return };
        let tallies = self.tables.iter_mut().flat_map(|table| table.tallies.values_mut());
        let mut counts: Vec<Bounded<'_>> = tallies.flat_map(Tally::boundable).collect();
        // The largest on top; of equal ones the first.
        let mut heap: BinaryHeap<(usize, Reverse<usize>)> =
            counts.iter().enumerate().map(|(i, counts)| (counts.memory_bytes(), Reverse(i))).collect();
        while self.used > most / 4 * 3 {
            let Some((before, Reverse(i))) = heap.pop() else { break };
            if counts[i].bound() {
                let after = counts[i].memory_bytes();
                self.used = (self.used + after).saturating_sub(before);
                heap.push((after, Reverse(i)));
            }
        }
        // Where the keys alone take it all, there is no use in trying with each record.
        self.is_full = self.used > most / 4 * 3;
        self.threshold = most.max(self.used + self.used / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Summary;
    use proptest::prelude::*;

    type Row = (i64, u8, u8, Option<u8>, Option<f64>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let measure = prop::option::of(prop_oneof![-1e9..1e9f64, Just(0.1), Just(-0.0)]);
        prop::collection::vec((0..4_000i64, 0..3u8, 0..6u8, prop::option::of(0..3u8), measure), 0..80)
    }

    fn schema() -> Schema {
        let fields = Schema::builder().time("t").sample("s").dimensions(["a", "b"]).blame(["who"]);
        fields.measures(["m"]).build().unwrap()
    }

    fn windows_of_a_second() -> LocalTables {
        let span = Span::new(Timestamp::MIN, Timestamp::from_millis(3_000).unwrap()).unwrap();
        LocalTables::new(&schema(), &Windows::every(span, std::time::Duration::from_secs(1)).unwrap())
    }

    fn each(rows: &[Row], mut add: impl FnMut(&Record<'_>) -> bool) {
        for &(millis, dimension, sample, blame, measure) in rows {
            let (dimension, text) = (dimension.to_string(), sample.to_string());
            let blame = blame.map(|b| b.to_string());
            let (dimensions, labels) = ([dimension.as_str(), "x"], [Some(text.as_str()), blame.as_deref()]);
            let record = Record::new(Timestamp::from_millis(millis).unwrap(), &dimensions)
                .with_labels(&labels)
                .with_measures(std::slice::from_ref(&measure))
                .with_weight(1 + u64::from(sample) / 3);
            assert_eq!(add(&record), millis < 3_000);
        }
    }

    fn tables(rows: &[Row]) -> LocalTables {
        let mut tables = windows_of_a_second();
        each(rows, |record| tables.add(record).unwrap());
        tables
    }

    #[test]
    fn tables_of_different_windows_or_roles_do_not_merge() {
        let days = Span::days("2020-11-01", "2020-11-03").unwrap();
        let table = |schema: Schema, day| LocalTable::new(Arc::new(schema), days[day]);
        let error = table(schema(), 0).merge(table(schema(), 1)).unwrap_err();
        assert!(error.to_string().starts_with("merged table: must be of the window 2020-11-01"), "{error}");
        let error = table(schema(), 0).merge(table(Schema::file_types(), 0)).unwrap_err();
        assert!(error.to_string().starts_with("dimensions: must be"), "{error}");
    }

    #[test]
    fn a_record_stands_for_as_many_as_it_weighs() {
        let count = |weight: u64, times: usize| {
            let mut tables = windows_of_a_second();
            let (labels, measures) = ([Some("s"), Some("w")], [Some(0.1)]);
            let record = Record::new(Timestamp::MIN, &["a", "x"]).with_labels(&labels);
            for _ in 0..times {
                tables.add(&record.with_measures(&measures).with_weight(weight)).unwrap();
            }
            tables.into_tables()
        };
        assert_eq!(count(7, 3), count(1, 21));
        assert_eq!(count(7, 3)[0].finish().iter().next().unwrap().1.measures[0].n(), 21);
    }

    fn wide() -> Schema {
        Schema::builder().time("t").sample("s").dimensions(["d"]).blame(["b"]).build().unwrap()
    }

    /// Ten keys, each with twice the samples of the one before.
    fn doubling(tables: &mut LocalTables) {
        for i in 0..1_023_u64 * 16 {
            let key = (i / 16 + 1).ilog2().to_string();
            let (sample, sender) = (format!("{i:040x}"), format!("sender {}", i % 5));
            let (dimensions, labels) = ([key.as_str()], [Some(sample.as_str()), Some(sender.as_str())]);
            let record = Record::new(Timestamp::MIN, &dimensions).with_labels(&labels);
            assert!(tables.add(&record).unwrap());
        }
    }

    #[test]
    fn a_limit_bounds_the_largest_tallies_and_no_more_than_it_must() {
        let windows = Windows::from(Span::ALWAYS);
        let mut exact = LocalTables::new(&wide(), &windows);
        doubling(&mut exact);
        assert_eq!(exact.bounded(), 0);
        let needed = exact.memory_bytes();
        for (share, least, most) in [(2.0, 0, 0), (1.1, 0, 0), (0.5, 1, 2), (0.1, 4, 9), (0.03, 6, 10)] {
            let bytes = (needed as f64 * share) as usize;
            let tables =
                || LocalTables::new(&wide(), &windows).with_limits(Limits::default().with_memory(bytes));
            let mut bounded = tables();
            doubling(&mut bounded);
            assert!(bounded.memory_bytes() <= bytes, "{share}: {}", bounded.memory_bytes());
            assert!((least..=most).contains(&bounded.bounded()), "{share}: {}", bounded.bounded());
            let mut again = tables();
            doubling(&mut again);
            let bounded = bounded.into_tables();
            assert!(again.into_tables() == bounded, "it depends on nothing but the records");

            let finished = bounded[0].finish();
            let uncertain = |(_, summary): (&Key, &Summary)| summary.uncertainty().is_some();
            let first = finished.iter().position(uncertain).unwrap_or(finished.len());
            assert!(finished.iter().skip(first).all(uncertain), "the largest first");
        }
    }

    #[test]
    fn keys_without_room_are_counted_together() {
        let windows = Windows::from(Span::ALWAYS);
        let records = |tables: &[LocalTable]| -> u64 {
            tables[0].finish().iter().map(|(_, summary)| summary.records).sum()
        };
        for limits in [Limits::default().with_memory(1), Limits::default().with_keys(3)] {
            let mut tables = LocalTables::new(&wide(), &windows).with_limits(limits);
            doubling(&mut tables);
            let other = tables.other();
            let tables = tables.into_tables();
            assert_eq!(records(&tables), 1_023 * 16);
            let counted = tables[0].get(&Key::other(1)).unwrap().records();
            assert!(counted == other && other > 0, "{counted} of {other}");
            assert!(tables[0].iter().len() <= 5, "{}", tables[0].iter().len());
        }
    }

    #[test]
    fn a_limit_to_keys_holds_when_tables_are_put_together() {
        let windows = Windows::from(Span::ALWAYS);
        let part = |from: u32| {
            let limits = Limits::default().with_keys(3);
            let mut tables = LocalTables::new(&wide(), &windows).with_limits(limits);
            for i in from..from + 3 {
                let key = i.to_string();
                tables.add(&Record::new(Timestamp::MIN, &[&key]).with_labels(&[Some("s")])).unwrap();
            }
            tables
        };
        let mut sum = part(0);
        sum.merge(part(3)).unwrap();
        assert_eq!(sum.other(), 3);
        let keys = |tables: &[LocalTable]| {
            tables[0].finish().iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&sum.into_tables()), ["(other)", "0", "1", "2"]);
    }

    /// Samples, senders and keys that never come twice, as far as a feed has them.
    fn fill(memory: usize, records: u64, [sample, key]: [bool; 2]) -> LocalTables {
        let fields = Schema::builder().time("t").dimensions(["d"]).blame(["b"]);
        let schema = if sample { fields.sample("s") } else { fields }.build().unwrap();
        let limits = Limits::default().with_memory(memory);
        let mut tables = LocalTables::new(&schema, &Windows::from(Span::ALWAYS)).with_limits(limits);
        for i in 0..records {
            let text = format!("{i:040x}");
            let dimensions = [if key { text.as_str() } else { "web" }];
            let labels = [sample.then_some(text.as_str()), Some(text.as_str())];
            tables.add(&Record::new(Timestamp::MIN, &dimensions).with_labels(&labels)).unwrap();
        }
        tables
    }

    #[test]
    fn memory_is_kept_to_also_without_samples_and_for_keys() {
        for kind in [[true, false], [false, false], [false, true], [true, true]] {
            let tables = fill(1 << 20, 100_000, kind);
            assert!(tables.memory_bytes() < 1 << 20, "{kind:?}: {}", tables.memory_bytes());
            assert_eq!(tables.other() > 0, kind[1]);
        }
    }

    #[test]
    fn a_record_of_another_shape_is_not_counted() {
        let mut tables = windows_of_a_second();
        let (labels, nan) = ([Some("s")], [Some(f64::NAN)]);
        let record = Record::new(Timestamp::MIN, &["a", "x"]).with_labels(&labels);
        for misshapen in [
            Record::new(Timestamp::MIN, &["a"]).with_labels(&labels),
            Record::new(Timestamp::MIN, &["a", "x", "y"]).with_labels(&labels),
            Record::new(Timestamp::MIN, &["a", "x"]),
            record.with_labels(&[Some("s"), None, Some("z")]),
            record.with_measures(&nan),
            record.with_weight(0),
        ] {
            let error = tables.add(&misshapen).unwrap_err().to_string();
            assert!(error.starts_with("record: must have 2 dimensions, a sample, "), "{error}");
        }
        assert!(tables.tables().iter().all(|table| table.iter().len() == 0));
        assert!(tables.add(&record).unwrap());
    }

    #[test]
    fn long_labels_take_no_more_than_they_may() {
        let mut tables = LocalTables::new(&wide(), &Windows::from(Span::ALWAYS));
        let long = "x".repeat(1 << 20);
        for i in 0..64 {
            let label = format!("{long}{i}");
            let labels = [Some(label.as_str()), Some(label.as_str())];
            tables.add(&Record::new(Timestamp::MIN, &[&long]).with_labels(&labels)).unwrap();
        }
        assert!(tables.memory_bytes() < 3 << 20, "{}", tables.memory_bytes());
        let found = tables.into_tables()[0].finish();
        assert_eq!((found.len(), found.iter().next().unwrap().1.distinct()), (1, 64));
    }

    #[test]
    fn parts_have_their_share_of_the_memory() {
        let parts = fill(4 << 20, 50_000, [true, true]).split(4);
        let total: usize = parts.iter().map(LocalTables::memory_bytes).sum();
        assert!(total < 4 << 20, "{total}");
    }

    #[test]
    fn a_table_is_stored_as_the_same_bytes_in_whatever_order_it_was_filled() {
        let rows: Vec<Row> =
            (0..40).map(|i| (i, (i % 3) as u8, (i % 5) as u8, Some((i % 2) as u8), Some(0.1))).collect();
        let reversed: Vec<Row> = rows.iter().rev().copied().collect();
        let bytes = |rows: &[Row]| rmp_serde::to_vec(&tables(rows).into_tables()).unwrap();
        assert_eq!(bytes(&rows), bytes(&reversed));
    }

    #[test]
    fn damaged_tables_are_refused() {
        let table = tables(&[(0, 1, 1, None, None), (1, 2, 1, None, None)]).into_tables().swap_remove(0);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<LocalTable>(&text).unwrap(), table);
        let swapped = text.replacen(r#"["1","x"]"#, r#"["3","x"]"#, 1);
        assert!(swapped != text);
        let error = serde_json::from_str::<LocalTable>(&swapped).unwrap_err().to_string();
        assert!(error.starts_with("the keys of a table must be in order"), "{error}");
    }

    proptest! {
        #[test]
        fn some_at_a_time_is_the_same_as_one_by_one(rows in rows()) {
            let mut one_by_one = windows_of_a_second().into_tables();
            each(&rows, |record| {
                let added = one_by_one.iter_mut().filter_map(|table| table.add(record).unwrap().then_some(()));
                added.count() == 1
            });
            prop_assert_eq!(tables(&rows).into_tables(), one_by_one);
        }

        #[test]
        fn parts_hold_each_key_once_and_merge_to_the_whole(rows in rows(), parts in 0..5usize) {
            let mut whole = tables(&rows);
            let split = whole.clone().split(parts);
            prop_assert_eq!(split.len(), parts.max(1));
            let keys = |tables: &LocalTables| tables.tables.iter().map(|table| table.tallies.len()).sum::<usize>();
            whole.count_pending();
            prop_assert_eq!(split.iter().map(keys).sum::<usize>(), keys(&whole));
            let mut merged = whole.emptied(1);
            split.into_iter().try_for_each(|part| merged.merge(part)).unwrap();
            prop_assert_eq!(merged.into_tables(), whole.into_tables());
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
                    prop_assert_eq!(rmp_serde::to_vec(sum).unwrap(), rmp_serde::to_vec(table).unwrap());
                }
            }
        }

        #[test]
        fn windows_may_be_opened_and_taken_in_any_order(rows in rows()) {
            let whole = tables(&rows).into_tables();
            let mut open = LocalTables::new(&schema(), &Windows::default());
            for second in [2, 0, 1] {
                open.open(whole[second].span()).unwrap();
            }
            each(&rows, |record| open.add(record).unwrap());
            let first = open.take_before(whole[0].span().end());
            let rest = open.take_before(Timestamp::MAX);
            prop_assert_eq!([first, rest].concat(), whole);
        }

        #[test]
        fn every_record_is_counted_once(rows in rows()) {
            let whole = tables(&rows).into_tables();
            let finished: Vec<_> = whole.iter().flat_map(|table| table.finish().into_rows()).collect();
            let records: u64 = finished.iter().map(|(_, summary)| summary.records).sum();
            let weights = rows.iter().filter(|row| row.0 < 3_000).map(|row| 1 + u64::from(row.2) / 3);
            prop_assert_eq!(records, weights.sum::<u64>());
            for (_, summary) in finished {
                prop_assert_eq!(summary.samples().sum(), summary.records);
                prop_assert_eq!(summary.samples().max(), summary.labels().next().unwrap().top[0].count);
            }
        }
    }
}
