//! Features: what detectors of rows look at, made of readings of metrics.
//!
//! A [`Reading`] holds the values of some metrics of a key at a time. [`Features`] make a row of it: the
//! values, what they were before, what they did in windows of *time*, and where the time stands in the day
//! and in the week. They are fitted on a training feed and applied unchanged to what comes then, one
//! reading at a time or a whole feed at once; both give the same bits. [`OnFeatures`] puts a detector of
//! rows behind them.
//!
//! Per key only the newest readings are kept, as many as windows and lags look at. A feature depends on
//! these readings and on nothing else, residuals of the season apart: sums of windows are exact, so that
//! nothing drifts and a restored history goes on with the same bits. A reading costs O(1), amortised, for
//! each feature.

mod config;
mod exact;
mod extremes;
mod history;
mod on_features;
mod readings;
mod scaler;

pub use config::{Feature, FeaturesBuilder, Standardisation, TimeFeature};
pub use on_features::{OnFeatures, OnFeaturesMemory};
pub use readings::{Reading, Readings};

use crate::contract::{Persist, Refusal};
use crate::series::Point;
use crate::time::clock::Clock;
use config::Layout;
use foldhash::fast::RandomState;
use history::{History, HistoryMemory};
use indexmap::IndexMap;
use ndarray::Array2;
use peak_core::{Error, Key, Result, Timestamp, Tz};
use scaler::Scaler;
use serde::{Deserialize, Serialize, Serializer};
use std::sync::Arc;

/// Makes rows of features out of readings, with a history per key.
///
/// ```
/// use peak_core::{Key, Timestamp};
/// use peak_detectors::{Feature, Features, Reading, Refusal, Standardisation, TimeFeature};
/// use std::time::Duration;
///
/// let ten_minutes = Duration::from_secs(600);
/// let mut features = Features::builder()
///     .time([TimeFeature::Hour])
///     .metrics(["cpu_usage_percent"], [Feature::Value, Feature::Lag(1), Feature::Mean(ten_minutes)])
///     .metrics(["errors_total"], [Feature::Rate])
///     .standardisation(Standardisation::Robust)
///     .build()?;
/// assert_eq!(features.names()[2..], ["cpu_usage_percent", "cpu_usage_percent.lag1", "cpu_usage_percent.mean_10m", "errors_total.rate"]);
///
/// let host = Key::new(["web-1"]);
/// let at = |minute: i64| Timestamp::from_millis(60_000 * minute).unwrap();
/// let values: Vec<[f64; 2]> = (0..500).map(|i| [(i * 37 % 41) as f64, (i * 2) as f64]).collect();
/// let feed = values.iter().enumerate().map(|(i, values)| Reading::new(&host, at(i as i64), values));
/// let training = features.fit(feed)?;
/// assert_eq!(training.matrix.dim(), (490, 6)); // it takes ten minutes to fill the window
/// assert_eq!(training.refused[9], (9, Refusal::Incomplete { have: 540, need: 600 }));
///
/// let next = Reading::new(&host, at(500), &[12.0, 1_000.0]);
/// let row = features.features(&next)?; // leaves no trace
/// assert_eq!(features.step(&next)?, row);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Refusals
///
/// | reading | refusal | is taken in |
/// |---|---|---|
/// | has not one value per metric | [`WrongWidth`](Refusal::WrongWidth) | no |
/// | a value is infinite, or at least [`Point::LIMIT`] | [`NotFinite`](Refusal::NotFinite) | no |
/// | all values are missing (not a number) | [`Empty`](Refusal::Empty) | no |
/// | is older than the key's newest, or as old | [`Late`](Refusal::Late), [`Duplicate`](Refusal::Duplicate) | no |
/// | has fewer readings before it than lags and differences look at | [`TooShort`](Refusal::TooShort) | yes |
/// | comes sooner after the key's first than the longest window lasts, or a residual's week | [`Incomplete`](Refusal::Incomplete) | yes |
/// | is to be standardised, but nothing was fitted yet | [`TooShort`](Refusal::TooShort), of training rows | yes |
///
/// A value that is missing makes features missing: they are not a number.
#[derive(Debug, Clone)]
pub struct Features {
    layout: Arc<Layout>,
    standardisation: Standardisation,
    clock: Clock,
    scaler: Option<Scaler>,
    keys: IndexMap<Key, History, RandomState>,
}

/// The rows of a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRows {
    /// A row for each reading that has one, in their order; a column for each feature.
    pub matrix: Array2<f64>,
    /// Of which reading each row is, counted from 0.
    pub readings: Vec<usize>,
    /// The other readings, and why they have no row.
    pub refused: Vec<(usize, Refusal)>,
}

impl Features {
    /// The readings of a key that are kept at most, unless told otherwise: six weeks of minutes, and more.
    pub const MOST_READINGS: usize = 1 << 16;
    /// How many training rows a fit takes.
    pub const LEAST_ROWS: usize = 2;

    /// Starts a configuration.
    pub fn builder() -> FeaturesBuilder {
        FeaturesBuilder::new()
    }

    fn new(layout: Layout, standardisation: Standardisation) -> Self {
        Features {
            clock: Clock::new(layout.zone),
            layout: Arc::new(layout),
            standardisation,
            scaler: None,
            keys: IndexMap::default(),
        }
    }

    /// The names of the features, one per column.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.layout.names
    }

    /// The names of the metrics, one per value of a reading.
    #[must_use]
    pub fn metrics(&self) -> &[String] {
        &self.layout.metrics
    }

    /// How many keys have a history.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Learns a training feed from scratch and fits the standardisation to its rows. What was learned and
    /// fitted before is forgotten.
    ///
    /// # Errors
    /// When the feed has fewer than [`LEAST_ROWS`](Self::LEAST_ROWS) rows, or no value at all of a feature
    /// that is to be standardised. Nothing changes then.
    pub fn fit<'a>(&mut self, feed: impl IntoIterator<Item = Reading<'a>>) -> Result<FeatureRows> {
        let mut fresh = Features { scaler: None, keys: IndexMap::default(), ..self.clone_without_keys() };
        let mut rows = fresh.fold(feed, Self::take);
        if rows.readings.len() < Self::LEAST_ROWS {
            let rule = format!("must give {} rows or more", Self::LEAST_ROWS);
            let (found, refused) = (rows.readings.len(), rows.refused.len());
            let why = rows.refused.last().map_or(String::new(), |last| format!(", the last: {}", last.1));
            let value = format!("{found}; {refused} readings refused{why}");
            return Err(Error::invalid("training feed", rule, value));
        }
        let flat = rows.matrix.as_slice().unwrap_or_default();
        fresh.scaler = Scaler::fit(self.standardisation, flat, self.names())?;
        rows.matrix.rows_mut().into_iter().for_each(|mut row| {
            if let Some(row) = row.as_slice_mut() {
                fresh.scale(row);
            }
        });
        *self = fresh;
        Ok(rows)
    }

    /// The rows of a whole feed, which is learned: the same as [`step`](Self::step) for each reading.
    pub fn rows<'a>(&mut self, feed: impl IntoIterator<Item = Reading<'a>>) -> FeatureRows {
        self.fold(feed, Self::step_into)
    }

    /// The row of a reading, if it came next. Nothing changes.
    ///
    /// # Errors
    /// When there is no row; see the table above.
    pub fn features(&self, reading: &Reading<'_>) -> Result<Vec<f64>, Refusal> {
        let mut row = vec![f64::NAN; self.names().len()];
        self.features_into(reading, &mut row)?;
        Ok(row)
    }

    /// Takes a reading into the history of its key.
    ///
    /// # Errors
    /// When it is not taken in; see the table above.
    pub fn learn(&mut self, reading: &Reading<'_>) -> Result<(), Refusal> {
        check_values(&self.layout, reading.values)?;
        let time = reading.time.millis();
        self.clock.remember(time);
        let history = history_of(&mut self.keys, &self.layout, reading);
        history.check_order(time)?;
        history.learn(&self.layout, time, reading.values);
        Ok(())
    }

    /// The row of a reading, which is learned.
    ///
    /// # Errors
    /// When there is no row; see the table above.
    pub fn step(&mut self, reading: &Reading<'_>) -> Result<Vec<f64>, Refusal> {
        let mut row = vec![f64::NAN; self.names().len()];
        self.step_into(reading, &mut row)?;
        Ok(row)
    }

    /// Forgets the keys that had no reading since.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        self.keys.retain(|_, history| history.newest() >= Some(horizon.millis()));
    }

    fn features_into(&self, reading: &Reading<'_>, row: &mut [f64]) -> Result<(), Refusal> {
        check_values(&self.layout, reading.values)?;
        let (layout, time) = (&*self.layout, reading.time.millis());
        let new;
        let history = match self.keys.get(reading.key) {
            Some(history) => history,
            None => {
                new = History::new(layout, time);
                &new
            }
        };
        history.check_order(time)?;
        history.check_warm(layout, time)?;
        self.check_fitted()?;
        history.plain(layout, &self.clock, time, reading.values, row);
        history.windows_with(layout, time, reading.values, row);
        self.scale(row);
        Ok(())
    }

    fn step_into(&mut self, reading: &Reading<'_>, row: &mut [f64]) -> Result<(), Refusal> {
        self.take(reading, row)?;
        self.check_fitted()?;
        self.scale(row);
        Ok(())
    }

    /// Learns a reading and gives its row, not standardised.
    fn take(&mut self, reading: &Reading<'_>, row: &mut [f64]) -> Result<(), Refusal> {
        check_values(&self.layout, reading.values)?;
        let (layout, time, values) = (&*self.layout, reading.time.millis(), reading.values);
        self.clock.remember(time);
        let history = history_of(&mut self.keys, layout, reading);
        history.check_order(time)?;
        let warm = history.check_warm(layout, time);
        if warm.is_ok() {
            history.plain(layout, &self.clock, time, values, row);
        }
        history.learn(layout, time, values);
        if warm.is_ok() {
            history.windows(layout, row);
        }
        warm
    }

    fn fold<'a>(
        &mut self,
        feed: impl IntoIterator<Item = Reading<'a>>,
        mut step: impl FnMut(&mut Self, &Reading<'_>, &mut [f64]) -> Result<(), Refusal>,
    ) -> FeatureRows {
        let width = self.names().len();
        let (mut flat, mut readings, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let mut row = vec![f64::NAN; width];
        for (number, reading) in feed.into_iter().enumerate() {
            match step(self, &reading, &mut row) {
                Ok(()) => {
                    flat.extend_from_slice(&row);
                    readings.push(number);
                }
                Err(refusal) => refused.push((number, refusal)),
            }
        }
        let matrix = Array2::from_shape_vec((readings.len(), width), flat).expect("whole rows");
        FeatureRows { matrix, readings, refused }
    }

    fn check_fitted(&self) -> Result<(), Refusal> {
        match (self.standardisation, &self.scaler) {
            (Standardisation::None, _) | (_, Some(_)) => Ok(()),
            _ => Err(Refusal::TooShort { have: 0, need: Self::LEAST_ROWS as u64 }),
        }
    }

    fn scale(&self, row: &mut [f64]) {
        if let Some(scaler) = &self.scaler {
            scaler.scale(row);
        }
        // What is missing has the same bits, wherever it comes from.
        row.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = f64::NAN);
    }

    /// A value of a feature in its own unit.
    fn unscale(&self, column: usize, x: f64) -> f64 {
        self.scaler.as_ref().map_or(x, |scaler| scaler.unscale(column, x))
    }

    fn clone_without_keys(&self) -> Self {
        Features {
            layout: Arc::clone(&self.layout),
            standardisation: self.standardisation,
            clock: self.clock.clone(),
            scaler: self.scaler.clone(),
            keys: IndexMap::default(),
        }
    }
}

#[inline]
fn check_values(layout: &Layout, values: &[f64]) -> Result<(), Refusal> {
    if values.len() != layout.metrics.len() {
        return Err(Refusal::WrongWidth { have: values.len() as u64, need: layout.metrics.len() as u64 });
    }
    if values.iter().any(|x| x.abs() >= Point::LIMIT) {
        return Err(Refusal::NotFinite);
    }
    if values.iter().all(|x| x.is_nan()) {
        return Err(Refusal::Empty);
    }
    Ok(())
}

#[inline]
fn history_of<'a>(
    keys: &'a mut IndexMap<Key, History, RandomState>,
    layout: &Layout,
    reading: &Reading<'_>,
) -> &'a mut History {
    let index = match keys.get_index_of(reading.key) {
        Some(index) => index,
        None => keys.insert_full(reading.key.clone(), History::new(layout, reading.time.millis())).0,
    };
    &mut keys[index]
}

/// What [`Features`] have learned: the standardisation that was fitted, and per key its newest readings.
#[derive(Debug, Clone, Deserialize)]
pub struct FeaturesMemory {
    layout: LayoutMemory,
    scaler: Option<Scaler>,
    keys: Vec<(Key, HistoryMemory)>,
}

/// The configuration that a memory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LayoutMemory {
    names: Vec<String>,
    metrics: Vec<String>,
    zone: Tz,
    standardisation: Standardisation,
}

/// In the order of the fields of [`FeaturesMemory`].
#[derive(Serialize)]
struct Stored<'a> {
    layout: LayoutMemory,
    scaler: &'a Option<Scaler>,
    keys: StoredKeys<'a>,
}

struct StoredKeys<'a>(&'a IndexMap<Key, History, RandomState>);

impl Serialize for StoredKeys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, history)| (key, history.memory())))
    }
}

impl Features {
    fn layout_memory(&self) -> LayoutMemory {
        LayoutMemory {
            names: self.layout.names.clone(),
            metrics: self.layout.metrics.clone(),
            zone: self.layout.zone,
            standardisation: self.standardisation,
        }
    }
}

impl Persist for Features {
    type Memory = FeaturesMemory;
    const KIND: &'static str = "features";
    const VERSION: u16 = 2;

    fn memory(&self) -> impl Serialize {
        Stored { layout: self.layout_memory(), scaler: &self.scaler, keys: StoredKeys(&self.keys) }
    }

    fn restore(&mut self, memory: FeaturesMemory) -> Result<()> {
        let FeaturesMemory { layout, scaler, keys } = memory;
        let own = self.layout_memory();
        if layout != own {
            let rule = "must be of features of this configuration";
            let value = format!("{:?} by {}", layout.names, layout.zone);
            return Err(Error::invalid("features memory", rule, value));
        }
        let fits = scaler.as_ref().is_none_or(|scaler| {
            self.standardisation != Standardisation::None && scaler.is_valid(own.names.len())
        });
        if !fits {
            return Err(Error::invalid("features memory", "must have a usable standardisation", "another"));
        }
        let mut restored = IndexMap::default();
        for (key, memory) in keys {
            let Some(history) = History::restored(&self.layout, memory) else {
                return Err(Error::invalid("features memory", "must have usable readings of each key", key));
            };
            if restored.insert(key.clone(), history).is_some() {
                return Err(Error::invalid("features memory", "must have every key once", key));
            }
        }
        (self.scaler, self.keys) = (scaler, restored);
        Ok(())
    }
}
