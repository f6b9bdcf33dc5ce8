//! Local statistics tables: the tallies of all keys in short windows.

use crate::key::Borrowed;
use crate::{Key, KeyWindow, Merge, Record, Result, Span, Tally, Windows};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

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
        if !self.span.contains(record.time) {
            return false;
        }
        match self.tallies.get_mut(&Borrowed(record.dimensions)) {
            Some(tally) => tally.add(record),
            None => self.tallies.entry(Key::new(record.dimensions)).or_default().add(record),
        }
        true
    }

    /// The tally of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Tally> {
        self.tallies.get(key)
    }

    /// The keys and their tallies, in the order in which the keys were first seen.
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
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.span != other.span {
            let rule = format!("must be of the window {}", self.span);
            return Err(crate::Error::invalid("merged table", rule, other.span));
        }
        for (key, tally) in &other.tallies {
            match self.tallies.get_mut(key) {
                Some(sum) => sum.merge(tally),
                None => drop(self.tallies.insert(key.clone(), tally.clone())),
            }
        }
        Ok(())
    }
}

/// Equal when window and tallies are; the order in which keys were first seen does not matter.
impl PartialEq for LocalTable {
    fn eq(&self, other: &Self) -> bool {
        self.span == other.span && self.tallies == other.tallies
    }
}

/// A local table for each of several windows, filled in one pass over the records.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalTables {
    windows: Windows,
    tables: Vec<LocalTable>,
}

impl LocalTables {
    /// Empty tables for these windows.
    #[must_use]
    pub fn new(windows: &Windows) -> Self {
        LocalTables {
            windows: windows.clone(),
            tables: windows.iter().map(|&span| LocalTable::new(span)).collect(),
        }
    }

    /// The windows.
    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Tables of the same kind for the same windows, without records: what a shard starts with.
    #[must_use]
    pub fn emptied(&self) -> Self {
        LocalTables::new(&self.windows)
    }

    /// Counts a record in its window, if it has one. Says whether it was counted.
    pub fn add(&mut self, record: &Record<'_>) -> bool {
        match self.windows.find(record.time) {
            Some(index) => self.tables[index].add(record),
            None => false,
        }
    }

    /// Takes in tables of the same windows that were built from other records.
    ///
    /// # Errors
    /// When the windows differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.windows != other.windows {
            let show = |windows: &Windows| format!("{} within {:?}", windows.len(), windows.hull());
            let rule = format!("must be of the same windows, {}", show(&self.windows));
            return Err(crate::Error::invalid("merged tables", rule, show(&other.windows)));
        }
        self.tables.iter_mut().zip(&other.tables).try_for_each(|(sum, table)| sum.merge(table))
    }

    /// The tables, in order of time.
    pub fn into_tables(self) -> Vec<LocalTable> {
        self.tables
    }
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

    fn tables(rows: &[Row]) -> LocalTables {
        let span = Span::new(Timestamp::MIN, Timestamp::from_millis(3_000).unwrap()).unwrap();
        let windows = Windows::every(span, std::time::Duration::from_secs(1)).unwrap();
        let mut tables = LocalTables::new(&windows);
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
            assert_eq!(tables.add(&record), millis < 3_000);
        }
        tables
    }

    #[test]
    fn tables_of_different_windows_do_not_merge() {
        let days = Span::days("2020-11-01", "2020-11-03").unwrap();
        let error = LocalTable::new(days[0]).merge(&LocalTable::new(days[1])).unwrap_err();
        assert!(error.to_string().starts_with("merged table: must be of the window 2020-11-01"), "{error}");
    }

    proptest! {
        #[test]
        fn any_split_in_any_order_gives_the_same_tables(rows in rows(), shards in prop::collection::vec(0..4usize, 80)) {
            let whole = tables(&rows).into_tables();
            let mut parts: [Vec<Row>; 4] = Default::default();
            rows.iter().zip(&shards).for_each(|(row, &shard)| parts[shard].push(*row));
            for order in [[0, 1, 2, 3], [3, 1, 0, 2]] {
                let mut merged = tables(&[]).into_tables();
                for part in order {
                    let shard = tables(&parts[part]).into_tables();
                    for (sum, table) in merged.iter_mut().zip(&shard) {
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
