//! What a forest shall be, before it is fitted.

use super::IsolationForest;
use super::split::Split;
use super::threshold::Threshold;
use ndarray::ArrayView2;
use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

/// What a forest shall be. Values are checked when it is fitted.
///
/// As data, of a file of configuration, say, they are checked on the way in; what is not named is as
/// [`IsolationForest::builder`] has it:
///
/// ```
/// use peak_detectors::IsolationForestBuilder;
///
/// let rows = ndarray::array![[90.0, 3.0], [95.0, 4.0], [88.0, 3.0], [92.0, 2.0]];
/// let read = |text| serde_json::from_str::<IsolationForestBuilder>(text);
/// let forest = read(r#"{"trees": 50, "split": "pooled_pairs", "threshold": {"contamination": 0.01}}"#)?;
/// assert_eq!(forest.fit(rows.view())?.trees(), 50);
/// assert!(read(r#"{"threshold": {"contamination": 2.0}}"#).is_err()); // out of range
/// assert!(read(r#"{"tree": 50}"#).is_err()); // nothing is called so
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Plan", into = "Plan")]
#[must_use = "a builder does nothing until it is fitted"]
pub struct IsolationForestBuilder(pub(super) Plan);

/// What a forest is fitted and goes on by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) trees: usize,
    pub(super) sample: usize,
    pub(super) depth: Option<u32>,
    pub(super) split: Split,
    pub(super) seed: u64,
    pub(super) threads: NonZeroUsize,
    pub(super) threshold: Threshold,
    pub(super) reservoir: usize,
    pub(super) names: Option<Vec<String>>,
    pub(super) weights: Option<Vec<f64>>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            trees: 100,
            sample: 256,
            depth: None,
            split: Split::Classical,
            seed: 0,
            threads: NonZeroUsize::MIN,
            threshold: Threshold::Auto,
            reservoir: 4_096,
            names: None,
            weights: None,
        }
    }
}

impl TryFrom<Plan> for IsolationForestBuilder {
    type Error = Error;
    fn try_from(plan: Plan) -> Result<Self> {
        // How many columns there will be is not known, unless they are named or weighed.
        let columns = plan.names.as_ref().map(Vec::len).or(plan.weights.as_ref().map(Vec::len));
        plan.check(columns.unwrap_or(1))?;
        Ok(IsolationForestBuilder(plan))
    }
}

impl From<IsolationForestBuilder> for Plan {
    fn from(builder: IsolationForestBuilder) -> Self {
        builder.0
    }
}

impl IsolationForestBuilder {
    /// How many trees there are; 100 unless told otherwise.
    pub fn trees(mut self, trees: usize) -> Self {
        self.0.trees = trees;
        self
    }

    /// How many distinct rows each tree is grown on, from 2; 256 unless told otherwise, and all where
    /// there are fewer.
    pub fn sample(mut self, rows: usize) -> Self {
        self.0.sample = rows;
        self
    }

    /// How many splits a path has at most, from 1 to [`MOST_DEPTH`](IsolationForest::MOST_DEPTH);
    /// unless told otherwise the binary logarithm of the sample, rounded up. Up to 8, scoring is
    /// fastest.
    pub fn depth(mut self, depth: u32) -> Self {
        self.0.depth = Some(depth);
        self
    }

    /// How nodes are split; [`Split::Classical`] unless told otherwise.
    pub fn split(mut self, split: Split) -> Self {
        self.0.split = split;
        self
    }

    /// Where the randomness comes from. Forests of different seeds have no tree in common.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// On how many threads it is fitted and scores many rows; the bits do not depend on it.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.0.threads = threads;
        self
    }

    /// From which score on a row is anomalous. It can be changed later:
    /// [`set_threshold`](IsolationForest::set_threshold).
    pub fn threshold(mut self, threshold: Threshold) -> Self {
        self.0.threshold = threshold;
        self
    }

    /// How many rows are kept for the threshold, p-values and new trees; 4,096 unless told otherwise,
    /// and never fewer than a tree is grown on.
    pub fn reservoir(mut self, rows: usize) -> Self {
        self.0.reservoir = rows;
        self
    }

    /// The names of the columns, all different. A name is its feature's identity: columns that change
    /// places together with their names leave the forest as it is. Without names, the places are the
    /// names: `x0`, `x1` …
    pub fn names<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.0.names = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// How likely each feature is drawn for a split: finite, not negative, not all 0. A weight of 0 is a
    /// feature that is never looked at.
    pub fn weights(mut self, weights: impl IntoIterator<Item = f64>) -> Self {
        self.0.weights = Some(weights.into_iter().collect());
        self
    }

    /// Fits a forest to a matrix of a row per observation and a column per feature. NaN is a missing
    /// value.
    ///
    /// # Errors
    /// When a setting breaks its rule, with fewer than two rows, without a column, and with an infinite
    /// value.
    pub fn fit(self, x: ArrayView2<'_, f64>) -> Result<IsolationForest> {
        IsolationForest::fit(self.0, x, None)
    }

    /// Fits a forest to rows of which some count more: in a sample, a row is as likely as its weight.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and when there is not one finite weight per row that is not negative, or
    /// fewer than two are above 0.
    pub fn fit_weighted(self, x: ArrayView2<'_, f64>, weights: &[f64]) -> Result<IsolationForest> {
        IsolationForest::fit(self.0, x, Some(weights))
    }
}

impl Plan {
    pub(super) fn check(&self, features: usize) -> Result<()> {
        let at_least = |field, least: usize, value: usize| {
            let error = || Error::invalid(field, format!("must be at least {least}"), value);
            if value < least { Err(error()) } else { Ok(()) }
        };
        at_least("trees", 1, self.trees)?;
        at_least("columns", 1, features)?;
        at_least("sample", 2, self.sample)?;
        at_most("trees", IsolationForest::MOST_TREES, self.trees)?;
        at_most("columns", IsolationForest::MOST_COLUMNS, features)?;
        at_most("sample", u32::MAX as usize, self.sample)?;
        if let Some(depth) = self.depth {
            at_least("depth", 1, depth as usize)?;
            at_most("depth", IsolationForest::MOST_DEPTH as usize, depth as usize)?;
        }
        self.threshold.check()?;
        if let Some(names) = &self.names {
            one_per_column("names", features, names.len())?;
            let mut seen = BTreeSet::new();
            if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
                return Err(Error::invalid("names", "must all be different", twice));
            }
        }
        if let Some(weights) = &self.weights {
            one_per_column("feature weights", features, weights.len())?;
            if let Some(weight) = weights.iter().find(|&&weight| !(weight >= 0.0 && weight.is_finite())) {
                return Err(Error::invalid("feature weights", "must be finite and not negative", weight));
            }
            if weights.iter().all(|&weight| weight == 0.0) {
                return Err(Error::invalid("feature weights", "must not all be 0", 0));
            }
        }
        Ok(())
    }
}

pub(super) fn at_most(field: &str, most: usize, value: usize) -> Result<()> {
    let error = || Error::invalid(field, format!("must be at most {most}"), value);
    if value > most { Err(error()) } else { Ok(()) }
}

fn one_per_column(field: &str, features: usize, found: usize) -> Result<()> {
    let error = || Error::invalid(field, format!("must be one per column, {features}"), found);
    if found == features { Ok(()) } else { Err(error()) }
}
