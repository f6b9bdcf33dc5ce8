//! The days that a history starts from, when there is none.

use super::Classic;
use super::original::Number;
use peak_core::{Error, GlobalTable, Key, Past, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A key's windows over whole days, days without records of the key counting 0.
#[derive(Debug, Clone, PartialEq)]
pub struct DayStatistics {
    /// Mean records per day.
    pub records_mean: Number,
    /// Most records on a day.
    pub records_max: Number,
    /// Mean distinct samples per day.
    pub samples_mean: Number,
    /// Most distinct samples on a day.
    pub samples_max: Number,
    /// The largest mean of records per sample on a day.
    pub records_per_sample_max: Number,
}

impl DayStatistics {
    /// The statistics of every combination of dimension values in the table, whether it occurred or
    /// not.
    ///
    /// # Errors
    /// When there are more than [`Classic::MOST_ROWS`] combinations.
    pub fn of(days: &GlobalTable) -> Result<BTreeMap<Key, Self>> {
        let count = days.learned().len() as u64;
        let statistics = |key: Key| {
            let pasts: Vec<Past> =
                days.get(&key).map(|baseline| baseline.windows().collect()).unwrap_or_default();
            (key, Self::of_key(&pasts, count))
        };
        Ok(combinations(days)?.into_iter().map(statistics).collect())
    }

    fn of_key(pasts: &[Past], days: u64) -> Self {
        let sum =
            |count: fn(&Past) -> u64| Number::from(pasts.iter().map(count).fold(0, u64::saturating_add));
        let max = |count: fn(&Past) -> u64| Number::from(pasts.iter().map(count).max().unwrap_or(0));
        let (records, samples) = (|past: &Past| past.records, |past: &Past| past.samples.n());
        let ratio = |past: &Past| Number::from(past.records).divide(past.samples.n().into());
        DayStatistics {
            records_mean: sum(records).divide_exactly(days.into()),
            records_max: max(records),
            samples_mean: sum(samples).divide_exactly(days.into()),
            samples_max: max(samples),
            records_per_sample_max: pasts.iter().map(ratio).fold(Number::Int(0), Number::max),
        }
    }

    /// Mean records over mean samples, 0 when there are none.
    pub(super) fn records_per_sample(&self) -> Number {
        self.records_mean.divide(self.samples_mean)
    }
}

/// All combinations of the values that each dimension takes in the table.
fn combinations(days: &GlobalTable) -> Result<Vec<Key>> {
    let arity = days.iter().next().map_or(0, |(key, _)| key.arity());
    let values = |dimension: usize| -> BTreeSet<&str> {
        days.iter().filter_map(|(key, _)| key.values().nth(dimension)).collect()
    };
    let values: Vec<BTreeSet<&str>> = (0..arity).map(values).collect();
    let size = values.iter().try_fold(1usize, |size, values| size.checked_mul(values.len()));
    if days.iter().next().is_none() {
        return Ok(Vec::new());
    }
    if size.is_none_or(|size| size > Classic::MOST_ROWS) {
        let sizes: Vec<usize> = values.iter().map(BTreeSet::len).collect();
        let rule = format!("must have at most {} combinations", Classic::MOST_ROWS);
        return Err(Error::invalid("dimension values", rule, format_args!("{sizes:?}")));
    }
    let mut combinations: Vec<Vec<&str>> = vec![Vec::new()];
    for values in &values {
        let mut longer = Vec::with_capacity(combinations.len() * values.len());
        for prefix in &combinations {
            longer.extend(values.iter().map(|value| [&prefix[..], &[*value]].concat()));
        }
        combinations = longer;
    }
    Ok(combinations.into_iter().map(Key::new).collect())
}
