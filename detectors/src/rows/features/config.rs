//! Which features there are: configuration, and what follows from it.

use super::Features;
use crate::time::clock::WEEK;
use peak_core::{Error, Result, Tz};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// A feature of a metric. `x` is the newest value, at time `t` of the reading.
///
/// A window of length `w` holds the readings after `t − w` up to `t`, itself included. Missing values do
/// not count; where no value is left, the feature is missing, and so is the deviation of a single value.
///
/// In configurations they are called `"value"`, `{"lag": 1}`, `{"mean_ms": 300000}`, `{"std_ms": 300000}`,
/// `{"min_ms": 300000}`, `{"max_ms": 300000}`, `"difference"`, `"rate"` and `"residual"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// `x`. Named like the metric.
    Value,
    /// The value of the reading so many before, `.lag1`. Missing when that reading had none.
    Lag(usize),
    /// The mean of a window, `.mean_5m`.
    #[serde(rename = "mean_ms", with = "millis")]
    Mean(Duration),
    /// The sample standard deviation (n − 1) of a window, `.std_5m`.
    #[serde(rename = "std_ms", with = "millis")]
    Std(Duration),
    /// The smallest value of a window, `.min_5m`.
    #[serde(rename = "min_ms", with = "millis")]
    Min(Duration),
    /// The largest value of a window, `.max_5m`.
    #[serde(rename = "max_ms", with = "millis")]
    Max(Duration),
    /// How much `x` is more than the last value before it, `.difference`.
    Difference,
    /// The growth per second since that value, `.rate`, of a counter. It is missing where the value is less:
    /// the counter started anew, and what it counted is not known. What goes up and down has a
    /// [`Difference`](Self::Difference).
    Rate,
    /// How much `x` is more than what is usual at the hour of the day and of the week, on the wall clock of
    /// the zone, `.residual`: the levels are learned from the key's own history. It takes a week to
    /// warm up.
    Residual,
}

/// A feature of the time of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFeature {
    /// Seconds since 1970, `time.epoch`. It only grows: no new row is like the training rows in it.
    Epoch,
    /// Seconds since the key's first reading, `time.relative`.
    Relative,
    /// The time of day on the wall clock as a point on a circle, `time.hour_sin` and `time.hour_cos`: a
    /// turn is a day, from midnight.
    Hour,
    /// The time of the week likewise, `time.weekday_sin` and `time.weekday_cos`: a turn is a week, from
    /// the midnight of Monday.
    Weekday,
}

/// How features are made comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standardisation {
    /// Not at all: every feature keeps its unit.
    #[default]
    None,
    /// (x − mean) / standard deviation of the training rows.
    Standard,
    /// (x − median) / interquartile range of the training rows.
    Robust,
}

/// The suffix in the feature's name.
impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, window) = match self {
            Feature::Value => return Ok(()),
            Feature::Lag(readings) => return write!(f, ".lag{readings}"),
            Feature::Difference => return f.write_str(".difference"),
            Feature::Rate => return f.write_str(".rate"),
            Feature::Residual => return f.write_str(".residual"),
            Feature::Mean(window) => ("mean", window),
            Feature::Std(window) => ("std", window),
            Feature::Min(window) => ("min", window),
            Feature::Max(window) => ("max", window),
        };
        let millis = window.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        let unit = units.into_iter().find(|(unit, _)| millis % unit == 0).unwrap_or((1, "ms"));
        write!(f, ".{name}_{}{}", millis / unit.0, unit.1)
    }
}

impl TimeFeature {
    /// The names of its columns, which stand side by side.
    fn names(self) -> &'static [&'static str] {
        match self {
            TimeFeature::Epoch => &["time.epoch"],
            TimeFeature::Relative => &["time.relative"],
            TimeFeature::Hour => &["time.hour_sin", "time.hour_cos"],
            TimeFeature::Weekday => &["time.weekday_sin", "time.weekday_cos"],
        }
    }
}

/// Collects the configuration of [`Features`].
///
/// As data, of a file of configuration, say, it is checked on the way in; what is not named is as
/// [`Features::builder`] has it:
///
/// ```
/// use peak_detectors::FeaturesBuilder;
///
/// let read = |text| serde_json::from_str::<FeaturesBuilder>(text);
/// let features = read(r#"{
///     "zone": "Europe/Berlin",
///     "time": ["hour"],
///     "metrics": [
///         {"name": "cpu", "features": ["value", {"lag": 1}, {"mean_ms": 300000}]},
///         {"name": "errors", "features": ["rate"]}
///     ],
///     "standardisation": "robust"
/// }"#)?;
/// assert_eq!(features.build()?.names()[4..], ["cpu.mean_5m", "errors.rate"]);
/// assert!(read(r#"{"metrics": []}"#).is_err()); // out of range
/// assert!(read(r#"{"metric": []}"#).is_err()); // nothing is called so
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
#[must_use = "a builder does nothing until it builds"]
pub struct FeaturesBuilder(Settings);

/// As they are configured, before they are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    zone: Tz,
    time: Vec<TimeFeature>,
    metrics: Vec<Metric>,
    standardisation: Standardisation,
    most_readings: usize,
}

/// A metric and its features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    features: Vec<Feature>,
}

/// Without a metric, which the program must name.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            zone: Tz::UTC,
            time: Vec::new(),
            metrics: Vec::new(),
            standardisation: Standardisation::None,
            most_readings: Features::MOST_READINGS,
        }
    }
}

impl TryFrom<Settings> for FeaturesBuilder {
    type Error = Error;
    fn try_from(settings: Settings) -> Result<Self> {
        let mut seen = HashSet::new();
        if let Some(twice) = settings.metrics.iter().find(|metric| !seen.insert(&metric.name)) {
            return Err(Error::invalid("metrics", "must differ", twice.name.escape_debug()));
        }
        settings.layout()?;
        Ok(FeaturesBuilder(settings))
    }
}

impl From<FeaturesBuilder> for Settings {
    fn from(builder: FeaturesBuilder) -> Self {
        builder.0
    }
}

/// Whole milliseconds, as the limits of windows are.
mod millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(deserializer)?))
    }
}

impl FeaturesBuilder {
    pub(super) fn new() -> Self {
        FeaturesBuilder(Settings::default())
    }

    /// The time zone of the wall clock for hours, weekdays and residuals; UTC unless told otherwise.
    pub fn zone(mut self, zone: Tz) -> Self {
        self.0.zone = zone;
        self
    }

    /// Features of the time of a reading. They stand before all others.
    pub fn time(mut self, features: impl IntoIterator<Item = TimeFeature>) -> Self {
        self.0.time.extend(features);
        self
    }

    /// Metrics and the features that each of them has. The values of a reading stand in the order in which
    /// metrics are first named, the features in that of the metrics, then in their own.
    pub fn metrics<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
        features: impl IntoIterator<Item = Feature>,
    ) -> Self {
        let features: Vec<Feature> = features.into_iter().collect();
        for name in names.into_iter().map(Into::into) {
            match self.0.metrics.iter_mut().find(|metric| metric.name == name) {
                Some(metric) => metric.features.extend(&features),
                None => self.0.metrics.push(Metric { name, features: features.clone() }),
            }
        }
        self
    }

    /// How features are made comparable; not at all unless told otherwise.
    pub fn standardisation(mut self, standardisation: Standardisation) -> Self {
        self.0.standardisation = standardisation;
        self
    }

    /// How many readings of a key are kept at most, [`Features::MOST_READINGS`] unless told otherwise: the
    /// memory of a key does not grow beyond, and a window that would hold more holds the newest of them.
    pub fn most_readings(mut self, readings: usize) -> Self {
        self.0.most_readings = readings;
        self
    }

    /// The features, without any history.
    ///
    /// # Errors
    /// When there is no metric, a metric has no name or no feature, a feature is asked for twice, or a
    /// lag, a window or the number of readings is out of range.
    pub fn build(self) -> Result<Features> {
        let layout = self.0.layout()?;
        Ok(Features::new(layout, self.0.standardisation))
    }
}

impl Settings {
    /// The most readings a window may hold, whatever is configured.
    const MOST_READINGS: usize = 1 << 24;
    const LONGEST: Duration = Duration::from_secs(366 * 86_400);
    const MOST_LAGS: usize = 10_000;

    fn layout(&self) -> Result<Layout> {
        if self.metrics.is_empty() {
            return Err(Error::invalid("metrics", "must be at least one", 0));
        }
        let mut layout = Layout::new(self.zone, self.most_readings);
        for &feature in &self.time {
            layout.plain.push((layout.names.len(), Plain::Time(feature)));
            layout.names.extend(feature.names().iter().map(|&name| name.to_owned()));
        }
        for (metric, Metric { name, features }) in self.metrics.iter().enumerate() {
            if name.is_empty() || name.contains(char::is_control) {
                let rule = "must be named, without control characters";
                return Err(Error::invalid("metric", rule, name.escape_debug()));
            }
            if features.is_empty() {
                return Err(Error::invalid(format!("features of {name}"), "must be at least one", 0));
            }
            layout.metrics.push(name.clone());
            features.iter().try_for_each(|&feature| layout.add(metric, feature))?;
        }
        let mut names = HashSet::new();
        if let Some(twice) = layout.names.iter().find(|name| !names.insert(name.as_str())) {
            return Err(Error::invalid("features", "must have names that differ", twice));
        }
        let least = layout.lags + 1;
        if !(least..=Self::MOST_READINGS).contains(&self.most_readings) {
            let rule = format!("must be from {least} to {}", Self::MOST_READINGS);
            return Err(Error::invalid("most readings", rule, self.most_readings));
        }
        Ok(layout)
    }
}

/// A feature that needs no window, by the place of its metric.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plain {
    Time(TimeFeature),
    Value(usize),
    /// The metric, and how many readings before.
    Lag(usize, usize),
    Difference(usize),
    Rate(usize),
    /// The season, and its metric.
    Residual(usize, usize),
}

/// What is kept of the values of a metric in a window, and in which columns it ends.
#[derive(Debug, Clone)]
pub(super) struct OfWindow<C> {
    pub(super) window: usize,
    pub(super) metric: usize,
    pub(super) columns: C,
}

/// The columns of mean and deviation, where they are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct SpreadColumns {
    pub(super) mean: Option<usize>,
    pub(super) deviation: Option<usize>,
}

/// The column of an extreme, and the factor that makes it the smallest.
#[derive(Debug, Clone)]
pub(super) struct ExtremeColumn {
    pub(super) column: usize,
    pub(super) sign: f64,
}

/// What follows from the configuration.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) metrics: Vec<String>,
    /// One per column.
    pub(super) names: Vec<String>,
    pub(super) plain: Vec<(usize, Plain)>,
    /// Lengths in milliseconds.
    pub(super) windows: Vec<i64>,
    pub(super) spreads: Vec<OfWindow<SpreadColumns>>,
    pub(super) extremes: Vec<OfWindow<ExtremeColumn>>,
    /// The metrics whose seasons are learned, by the clock of a zone.
    pub(super) seasons: Vec<usize>,
    pub(super) zone: Tz,
    /// How many milliseconds a row looks back.
    pub(super) span: i64,
    /// How many readings before the newest a row looks at, windows apart.
    pub(super) lags: usize,
    /// The most readings that are kept.
    pub(super) most: usize,
}

impl Layout {
    fn new(zone: Tz, most: usize) -> Self {
        Layout {
            metrics: Vec::new(),
            names: Vec::new(),
            plain: Vec::new(),
            windows: Vec::new(),
            spreads: Vec::new(),
            extremes: Vec::new(),
            seasons: Vec::new(),
            zone,
            span: 0,
            lags: 0,
            most,
        }
    }

    fn add(&mut self, metric: usize, feature: Feature) -> Result<()> {
        let column = self.names.len();
        let name = format!("{}{feature}", self.metrics[metric]);
        match feature {
            Feature::Value => self.plain.push((column, Plain::Value(metric))),
            Feature::Lag(readings) => {
                if !(1..=Settings::MOST_LAGS).contains(&readings) {
                    let rule = format!("must be from 1 to {} readings", Settings::MOST_LAGS);
                    return Err(Error::invalid(name, rule, readings));
                }
                self.lags = self.lags.max(readings);
                self.plain.push((column, Plain::Lag(metric, readings)));
            }
            Feature::Difference | Feature::Rate => {
                self.lags = self.lags.max(1);
                let is_rate = feature == Feature::Rate;
                let plain = if is_rate { Plain::Rate(metric) } else { Plain::Difference(metric) };
                self.plain.push((column, plain));
            }
            Feature::Residual => {
                self.span = self.span.max(WEEK);
                self.plain.push((column, Plain::Residual(self.seasons.len(), metric)));
                self.seasons.push(metric);
            }
            Feature::Mean(window) | Feature::Std(window) => {
                let window = self.window(&name, window)?;
                let is_it = |of: &OfWindow<_>| (of.window, of.metric) == (window, metric);
                let place = self.spreads.iter().position(is_it).unwrap_or_else(|| {
                    self.spreads.push(OfWindow { window, metric, columns: SpreadColumns::default() });
                    self.spreads.len() - 1
                });
                let columns = &mut self.spreads[place].columns;
                let of_mean = matches!(feature, Feature::Mean(_));
                *(if of_mean { &mut columns.mean } else { &mut columns.deviation }) = Some(column);
            }
            Feature::Min(window) | Feature::Max(window) => {
                let window = self.window(&name, window)?;
                let sign = if matches!(feature, Feature::Min(_)) { 1.0 } else { -1.0 };
                self.extremes.push(OfWindow { window, metric, columns: ExtremeColumn { column, sign } });
            }
        }
        self.names.push(name);
        Ok(())
    }

    /// The place of a window among the windows.
    fn window(&mut self, name: &str, length: Duration) -> Result<usize> {
        let (least, millis) = (Duration::from_millis(1), u64::try_from(length.as_millis()));
        let is_whole = millis.is_ok_and(|millis| Duration::from_millis(millis) == length);
        if !(least..=Settings::LONGEST).contains(&length) || !is_whole {
            let rule = "must have a window of whole milliseconds, from 1 ms to 366 days";
            return Err(Error::invalid(name, rule, format_args!("{length:?}")));
        }
        // At most 366 days.
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        self.span = self.span.max(length);
        Ok(self.windows.iter().position(|&window| window == length).unwrap_or_else(|| {
            self.windows.push(length);
            self.windows.len() - 1
        }))
    }
}
