//! The classic rule: a short local window against averages and maxima of the past.
//!
//! It reproduces the decisions of [telemetry-peak-analyzer] 0.1.6, including what is wrong with them,
//! so that its users can move without surprises: new and vanished keys never alert, maxima and
//! thresholds never decay, averages are rounded to integers. On feeds with nothing to find it alerts
//! on about a third of all keys and days.
//!
//! For a key with records *and* a [`Row`] of history, let t be the caller's threshold unless it is
//! absent or 0, else the row's. The key is a peak when it has at least t records and any of
//!
//! 1. records per sample, on average, > 0.8 × the row's maximum of that average,
//! 2. records of the top sample / records, rounded to two decimals, > 0.5 (0 up to 50 records),
//! 3. records of the top sample > mean + standard deviation of the records per sample
//!
//! holds. The constants are [`Weights`].
//!
//! [telemetry-peak-analyzer]: https://github.com/vmware-labs/telemetry-peak-analyzer

use super::Floor;
use super::original::Number;
use crate::contract::{Counterfactual, Evidence, Explanation, Refusal, Verdict};
use crate::table::engine::Observation;
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use peak_core::{
    Error, GlobalTable, Key, KeyMap, Past, Report, Result, Schema, Source, Span, Summaries, Summary,
    Timestamp, Tz, Windows,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

/// The history of all keys as the classic rule keeps it.
pub type Rows = KeyMap<Row>;

/// The classic rule: its configuration, and the [`Row`]s it remembers.
///
/// ```
/// use peak_core::{Schema, Tz};
/// use peak_detectors::classic::Weights;
/// use peak_detectors::{Classic, Peak};
///
/// let rule = Classic::new(&Schema::file_types(), Tz::America__New_York)
///     .with_floor("task.severity", "malicious", 90)?
///     .with_weights(Weights::new(50, 0.8, 0.5)?)
///     .with_threshold(Some(10));
/// let detector = Peak::classic(rule);
/// # let _ = detector;
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Config", into = "Config")]
pub struct Classic {
    dimensions: Vec<String>,
    zone: Tz,
    weights: Weights,
    floors: Vec<Floor>,
    threshold: Option<i64>,
    keeping: Keeping,
    rows: Rows,
}

/// The configuration of the rule as data: all but its rows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    dimensions: Vec<String>,
    #[serde(default)]
    zone: Tz,
    #[serde(default)]
    weights: Weights,
    #[serde(default)]
    floors: Vec<Floor>,
    #[serde(default)]
    threshold: Option<i64>,
    #[serde(default)]
    keeping: Keeping,
}

impl TryFrom<Config> for Classic {
    type Error = Error;
    fn try_from(config: Config) -> Result<Self> {
        let Config { dimensions, zone, weights, floors, threshold, keeping } = config;
        if let Some(floor) = floors.iter().find(|floor| floor.dimension >= dimensions.len()) {
            let rule = format!("must be below {}, the number of dimensions", dimensions.len());
            return Err(Error::invalid("dimension of a floor", rule, floor.dimension));
        }
        Ok(Classic { dimensions, zone, weights, floors, threshold, keeping, rows: Rows::new() })
    }
}

impl From<Classic> for Config {
    fn from(rule: Classic) -> Self {
        let Classic { dimensions, zone, weights, floors, threshold, keeping, .. } = rule;
        Config { dimensions, zone, weights, floors, threshold, keeping }
    }
}

/// What becomes of the rows of keys that an engine forgets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keeping {
    #[default]
    Forever,
    WithinHorizon,
}

/// The constants of the classic rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Constants", into = "Constants")]
pub struct Weights {
    least_records: u64,
    global_weight: f64,
    least_share: f64,
}

/// Weights as they are configured, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Constants {
    least_records: u64,
    global_weight: f64,
    least_share: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Weights::default().into()
    }
}

impl TryFrom<Constants> for Weights {
    type Error = Error;
    fn try_from(constants: Constants) -> Result<Self> {
        Weights::new(constants.least_records, constants.global_weight, constants.least_share)
    }
}

impl From<Weights> for Constants {
    fn from(Weights { least_records, global_weight, least_share }: Weights) -> Self {
        Constants { least_records, global_weight, least_share }
    }
}

impl Default for Weights {
    /// 50 records, weight 0.8, share 0.5.
    fn default() -> Self {
        Weights { least_records: 50, global_weight: 0.8, least_share: 0.5 }
    }
}

impl Weights {
    /// Other constants: up to `least_records` records the share of the top sample counts as 0;
    /// `global_weight` is the factor on the row's maximum; `least_share` is the share to pass.
    ///
    /// # Errors
    /// When the weight is negative or not finite, or the share lies outside 0 to 1.
    pub fn new(least_records: u64, global_weight: f64, least_share: f64) -> Result<Self> {
        if !(global_weight.is_finite() && global_weight >= 0.0) {
            return Err(Error::invalid("global weight", "must be finite and not negative", global_weight));
        }
        if !(0.0..=1.0).contains(&least_share) {
            return Err(Error::invalid("least share", "must be from 0 to 1", least_share));
        }
        Ok(Weights { least_records, global_weight, least_share })
    }
}

/// The history of one key as the classic rule keeps it: running averages, rounded to integers, and
/// maxima.
///
/// Numbers remember whether they were integers, because the original's files do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Where the first window began, on the wall clock.
    pub start: NaiveDateTime,
    /// Where the last window ended, on the wall clock.
    pub end: NaiveDateTime,
    /// How many windows the averages run over.
    pub window_count: u64,
    /// Average records per window.
    pub records_avg: Number,
    /// Most records in a window.
    pub records_max: Number,
    /// Average distinct samples per window.
    pub samples_avg: Number,
    /// Most distinct samples in a window.
    pub samples_max: Number,
    /// Average records per sample.
    pub records_per_sample_avg: Number,
    /// The largest average of records per sample in a window.
    pub records_per_sample_max: Number,
    /// The records a window needs to become a peak.
    pub threshold: Number,
}

impl Classic {
    /// The rule for keys of this schema, on the wall clock of a time zone, without floors or history.
    #[must_use]
    pub fn new(schema: &Schema, zone: Tz) -> Self {
        Classic {
            dimensions: schema.dimensions().to_vec(),
            zone,
            weights: Weights::default(),
            floors: Vec::new(),
            threshold: None,
            keeping: Keeping::Forever,
            rows: Rows::new(),
        }
    }

    /// The preset for [`Schema::file_types`]: floors of 90 records for malicious and 500 for benign
    /// keys.
    #[must_use]
    pub fn file_types(zone: Tz) -> Self {
        let floor = |value: &str, records| Floor { dimension: 0, value: value.into(), records };
        let floors = vec![floor("malicious", 90), floor("benign", 500)];
        Classic { floors, ..Classic::new(&Schema::file_types(), zone) }
    }

    /// The rule with other constants.
    #[must_use]
    pub fn with_weights(self, weights: Weights) -> Self {
        Classic { weights, ..self }
    }

    /// The rule with a floor: keys whose `dimension` has this value get thresholds of at least so
    /// many records. Where several floors apply, the highest counts.
    ///
    /// # Errors
    /// When the schema has no such dimension.
    pub fn with_floor(mut self, dimension: &str, value: impl Into<String>, records: u64) -> Result<Self> {
        self.floors.push(Floor::new(&self.dimensions, dimension, value, records)?);
        Ok(self)
    }

    /// The rule with the caller's threshold instead of the rows'. 0 is none; a negative one lets
    /// every key pass. It never enters the history.
    #[must_use]
    pub fn with_threshold(self, threshold: Option<i64>) -> Self {
        Classic { threshold, ..self }
    }

    /// The rule that forgets the rows of keys without records within the engine's horizon. Unless
    /// told so it keeps them forever, as the original does.
    #[must_use]
    pub fn forgetting(self) -> Self {
        Classic { keeping: Keeping::WithinHorizon, ..self }
    }

    /// What the rule remembers.
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Replaces what the rule remembers.
    pub fn set_rows(&mut self, rows: Rows) {
        self.rows = rows;
    }

    /// Starts the history from the source itself, as the original does when it has no file: from the
    /// local days with records between two wall-clock times, each taken whole.
    ///
    /// # Errors
    /// What the source returns; or more than [`MOST_ROWS`](Self::MOST_ROWS) combinations of
    /// dimension values.
    pub fn learn_days(
        &mut self,
        source: &dyn Source,
        start: NaiveDateTime,
        end: NaiveDateTime,
    ) -> Result<Report> {
        let (days, report) = self.whole_days(source, start, end)?;
        let window_count = window_count(end - start);
        let row = |key: &Key, days: DayStatistics| Row {
            start,
            end,
            window_count,
            records_avg: days.records_mean.round(),
            records_max: days.records_max,
            samples_avg: days.samples_mean.round(),
            samples_max: days.samples_max,
            records_per_sample_avg: days.records_per_sample().round(),
            records_per_sample_max: days.records_per_sample_max,
            threshold: days.records_mean.round().max(self.floor(key).into()),
        };
        self.rows =
            DayStatistics::of(&days)?.into_iter().map(|(key, days)| (key.clone(), row(&key, days))).collect();
        Ok(report)
    }

    /// The history of the local days that have a record between two wall-clock times, each day taken
    /// whole.
    ///
    /// # Errors
    /// What the source returns.
    pub fn whole_days(
        &self,
        source: &dyn Source,
        start: NaiveDateTime,
        end: NaiveDateTime,
    ) -> Result<(GlobalTable, Report)> {
        let zone = self.zone;
        let span = Span::new(Timestamp::from_local(start, zone), Timestamp::from_local(end, zone))?;
        let mut dates: BTreeSet<NaiveDate> = BTreeSet::new();
        let mut seen: Option<Span> = None;
        source.scan(span, &mut |record| {
            // Records come in runs of the same day: the calendar is asked once a run.
            if seen.is_some_and(|day| day.contains(record.time)) {
                return ControlFlow::Continue(());
            }
            let date = record.time.local(zone).date();
            dates.insert(date);
            seen = Windows::local_day(date, zone).ok();
            ControlFlow::Continue(())
        })?;
        let days: Result<Vec<Span>> = dates.into_iter().map(|date| Windows::local_day(date, zone)).collect();
        let days = Windows::new(days?)?;

        let mut found = Vec::new();
        let report = source.windows(&days, &mut |summaries| {
            found.push(summaries);
            ControlFlow::Continue(())
        })?;
        found.sort_by_key(Summaries::span);
        let mut table = GlobalTable::new(Duration::MAX);
        found.iter().filter(|of_day| !of_day.is_empty()).try_for_each(|of_day| table.learn(of_day))?;
        Ok((table, report))
    }

    /// The most combinations of dimension values that [`learn_days`](Self::learn_days) makes rows for.
    pub const MOST_ROWS: usize = 10_000_000;

    /// Everything the decision on a key rests on.
    ///
    /// # Errors
    /// [`Refusal::Empty`] without records, [`Refusal::TooShort`] without a row of history.
    pub fn assess(&self, x: &Observation<'_>) -> Result<Assessment, Refusal> {
        self.assess_against(self.rows.get(x.key), x)
    }

    pub(crate) fn judge_all(&self, together: &[Observation<'_>]) -> Vec<Result<Verdict, Refusal>> {
        let mut rows = self.rows.walk();
        let judge = |x: &Observation<'_>| {
            self.assess_against(rows.find(x.key), x).map(|assessment| assessment.verdict())
        };
        together.iter().map(judge).collect()
    }

    fn assess_against(&self, row: Option<&Row>, x: &Observation<'_>) -> Result<Assessment, Refusal> {
        if x.summary.records == 0 || x.summary.distinct() == 0 {
            return Err(Refusal::Empty);
        }
        let row = row.ok_or(Refusal::TooShort { have: 0, need: 1 })?;
        let mut assessment = Assessment::measure(x.summary, &self.weights);
        assessment.compare(row, self.threshold, &self.weights);
        Ok(assessment)
    }

    /// Takes windows into the rows of their keys: a new key gets one, a known key's averages move on,
    /// unless the window began before the row ended. Windows without records change nothing.
    pub(crate) fn learn_all(&mut self, together: &[Observation<'_>]) {
        let Classic { zone, floors, rows, .. } = self;
        rows.share(together.iter().map(|x| x.key));
        let eventful = together.iter().filter(|x| x.summary.records > 0 && x.summary.distinct() > 0);
        let mut clock: Option<(Span, NaiveDateTime, NaiveDateTime)> = None;
        rows.update(eventful.map(|x| (x.key, x)), |row, x| {
            // The calendar is asked once for windows of the same span.
            let (_, start, end) = match clock {
                Some(known) if known.0 == x.span => known,
                _ => *clock.insert((x.span, x.span.start().local(*zone), x.span.end().local(*zone))),
            };
            match row {
                Some(row) if start < row.end => {}
                Some(row) => row.refresh(x.summary, end),
                None => return Some(Row::infer(x.summary, start, end, Floor::highest(floors, x.key))),
            }
            None
        });
    }

    pub(crate) fn forget_before(&mut self, horizon: Timestamp) {
        if self.keeping == Keeping::WithinHorizon {
            let horizon = horizon.local(self.zone);
            self.rows.retain(|_, row| row.end > horizon);
        }
    }

    pub(crate) fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.rows.retain(|key, _| keep(key));
    }

    pub(crate) fn arity(&self) -> usize {
        self.dimensions.len()
    }

    fn floor(&self, key: &Key) -> u64 {
        Floor::highest(&self.floors, key)
    }
}

impl Row {
    /// The row of a key that is seen for the first time.
    fn infer(summary: &Summary, start: NaiveDateTime, end: NaiveDateTime, floor: u64) -> Self {
        let (records, samples) = (Number::from(summary.records), Number::from(summary.distinct()));
        let records_per_sample = records.divide(samples).round();
        Row {
            start,
            end,
            window_count: 1,
            records_avg: records,
            records_max: records,
            samples_avg: samples,
            samples_max: samples,
            records_per_sample_avg: records_per_sample,
            records_per_sample_max: records_per_sample,
            threshold: records.max(floor.into()),
        }
    }

    fn refresh(&mut self, summary: &Summary, end: NaiveDateTime) {
        let (records, samples) = (Number::from(summary.records), Number::from(summary.distinct()));
        let records_per_sample = records.divide(samples).round();
        let count = self.window_count;
        let average = |old: Number, new: Number| old.running_average(count, new).round();
        self.end = end;
        self.window_count = count.saturating_add(1);
        self.records_avg = average(self.records_avg, records);
        self.records_max = self.records_max.max(records);
        self.samples_avg = average(self.samples_avg, samples);
        self.samples_max = self.samples_max.max(samples);
        self.records_per_sample_avg = average(self.records_per_sample_avg, records_per_sample);
        self.records_per_sample_max = self.records_per_sample_max.max(records_per_sample);
        self.threshold = self.threshold.max(self.records_avg);
    }
}

/// Days in a span of whole days, else hours; at least 1.
fn window_count(length: TimeDelta) -> u64 {
    let hours = u64::try_from(length.num_hours()).unwrap_or(0);
    (if hours % 24 == 0 { hours / 24 } else { hours }).max(1)
}

/// Everything the classic decision on one key rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Records in the window.
    pub records: u64,
    /// Distinct samples.
    pub samples: u64,
    /// Records of the most frequent sample.
    pub max: u64,
    /// Mean records per sample; an integer where it is one.
    pub mean: Number,
    /// Sample standard deviation (n − 1) of the records per sample, 0 for one sample.
    pub std: f64,
    /// Share of the most frequent sample, rounded to two decimals; 0 for few records.
    pub share: f64,
    /// The row's maximum of the mean.
    pub global_max: Number,
    /// The row's average of records.
    pub records_avg: Number,
    /// The threshold in force: the caller's or the row's.
    pub threshold: Number,
    /// Whether the records reach the threshold.
    pub reaches_threshold: bool,
    /// Condition 1, whose bound is [`mean_bound`](Self::mean_bound).
    pub mean_exceeds_global: bool,
    /// Condition 2.
    pub share_exceeds_least: bool,
    /// Condition 3.
    pub max_exceeds_spread: bool,
    /// What the mean is compared with.
    pub mean_bound: f64,
    /// What the share is compared with.
    pub share_bound: f64,
}

impl Assessment {
    fn measure(summary: &Summary, weights: &Weights) -> Self {
        let (records, samples, max) = (summary.records, summary.distinct(), summary.samples().max());
        Assessment {
            records,
            samples,
            max,
            mean: Number::from(records).divide_exactly(samples.into()),
            std: summary.samples().std().unwrap_or(0.0),
            share: if records > weights.least_records {
                round_to_cents(max as f64 / records as f64)
            } else {
                0.0
            },
            global_max: Number::Int(0),
            records_avg: Number::Int(0),
            threshold: Number::Int(0),
            reaches_threshold: false,
            mean_exceeds_global: false,
            share_exceeds_least: false,
            max_exceeds_spread: false,
            mean_bound: 0.0,
            share_bound: weights.least_share,
        }
    }

    fn compare(&mut self, row: &Row, threshold: Option<i64>, weights: &Weights) {
        self.global_max = row.records_per_sample_max;
        self.records_avg = row.records_avg;
        self.threshold = match threshold {
            None | Some(0) => row.threshold,
            Some(own) => Number::Int(own),
        };
        self.reaches_threshold = !self.threshold.exceeds(self.records.into());
        self.mean_bound = weights.global_weight * self.global_max.to_f64();
        self.mean_exceeds_global = self.mean.to_f64() > self.mean_bound;
        self.share_exceeds_least = self.share > self.share_bound;
        self.max_exceeds_spread = self.max as f64 > self.spread_bound();
    }

    /// What the most frequent sample is compared with: mean + standard deviation.
    #[must_use]
    pub fn spread_bound(&self) -> f64 {
        self.mean.to_f64() + self.std
    }

    /// The decision.
    #[must_use]
    pub fn is_peak(&self) -> bool {
        self.reaches_threshold
            && (self.mean_exceeds_global || self.share_exceeds_least || self.max_exceeds_spread)
    }

    /// The decision with a score: the largest factor by which one of the three conditions passes its
    /// bound. The rule knows no probabilities.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let factors = self.conditions().into_iter().map(|condition| factor(&condition));
        Verdict { score: factors.fold(0.0, f64::max), anomalous: self.is_peak(), p_value: None }
    }

    /// The three conditions, and the volume; the counterfactual is the threshold.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let conditions = self.conditions();
        let strongest = |a: &&Evidence, b: &&Evidence| factor(a).total_cmp(&factor(b));
        let fired = conditions.iter().filter(|condition| condition.exceeded).max_by(strongest);
        let carried_by =
            fired.or(conditions.iter().max_by(strongest)).map_or(RECORDS.into(), |c| c.statistic.clone());
        let quiet =
            Counterfactual { statistic: RECORDS.into(), above: None, below: Some(self.threshold.to_f64()) };
        let volume = Evidence {
            statistic: RECORDS.into(),
            actual: self.records as f64,
            expected: Some(self.records_avg.to_f64()),
            lower: None,
            upper: None,
            exceeded: false,
            p_value: None,
        };
        Explanation {
            carried_by,
            evidence: conditions.into_iter().chain([volume]).collect(),
            counterfactual: self.is_peak().then_some(quiet),
            change: None,
        }
    }

    fn conditions(&self) -> [Evidence; 3] {
        let evidence = |statistic, actual, expected, upper, exceeded| Evidence {
            statistic: Cow::Borrowed(statistic),
            actual,
            expected,
            lower: None,
            upper: Some(upper),
            exceeded,
            p_value: None,
        };
        let (mean, max) = (self.mean.to_f64(), self.max as f64);
        let largest = Some(self.global_max.to_f64());
        [
            evidence("records per sample", mean, largest, self.mean_bound, self.mean_exceeds_global),
            evidence("share of the top sample", self.share, None, self.share_bound, self.share_exceeds_least),
            evidence(
                "records of the top sample",
                max,
                Some(mean),
                self.spread_bound(),
                self.max_exceeds_spread,
            ),
        ]
    }
}

const RECORDS: &str = "records";

/// By how much a condition passes its bound; finite also where the bound is 0.
fn factor(condition: &Evidence) -> f64 {
    condition.upper.map_or(0.0, |bound| condition.actual / bound.max(1e-9))
}

/// Rounds to two decimals, ties of the exact binary value to even.
fn round_to_cents(x: f64) -> f64 {
    let cents = 100.0 * x;
    if (0.0..=1e6).contains(&cents) && (cents.fract() - 0.5).abs() > 1e-6 {
        // No tie is near, and the quotient is the number nearest to the decimal.
        return cents.round() / 100.0;
    }
    format!("{x:.2}").parse().unwrap_or(x)
}

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
    fn records_per_sample(&self) -> Number {
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

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::{Baseline, CountMoments};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn window(counts: &[u64]) -> Summary {
        let samples: CountMoments = counts.iter().copied().collect();
        Summary::new(samples.sum()).with_samples(samples)
    }

    fn day(index: usize) -> Span {
        Span::days("2020-11-01", "2020-12-01").unwrap()[index]
    }

    fn learned(days: &[&[u64]]) -> Classic {
        let mut rule = Classic::new(&Schema::file_types(), Tz::UTC);
        let key = Key::new(["malicious", "PeExeFile"]);
        for (i, counts) in days.iter().enumerate() {
            let past = Baseline::default();
            rule.learn_all(&[Observation::new(&key, day(i), &window(counts), &past)]);
        }
        rule
    }

    fn assess(rule: &Classic, counts: &[u64]) -> Result<Assessment, Refusal> {
        let (key, past) = (Key::new(["malicious", "PeExeFile"]), Baseline::default());
        rule.assess(&Observation::new(&key, day(20), &window(counts), &past))
    }

    #[test]
    fn averages_are_rounded_and_stick() {
        let mut days: Vec<&[u64]> = vec![&[10]];
        days.extend([&[11][..]; 20]);
        let rule = learned(&days);
        let row = rule.rows().values().next().unwrap();
        assert_eq!((row.records_avg, row.window_count), (Number::Int(10), 21));
    }

    #[test]
    fn a_tie_is_not_greater() {
        // Three samples of 1, 1 and 4 records: mean 2, standard deviation √3.
        let assessment = assess(&learned(&[&[4, 4]]), &[1, 1, 4]).unwrap();
        assert!(assessment.max_exceeds_spread && !assessment.mean_exceeds_global);
        // Two samples of 0 and 2 records … one sample has no spread: max = mean.
        let assessment = assess(&learned(&[&[4, 4]]), &[3]).unwrap();
        assert!(!assessment.max_exceeds_spread);
    }

    #[test]
    fn the_threshold_is_the_callers_unless_it_is_none() {
        let rule = learned(&[&[1; 20]]);
        let reaches = |threshold, records| {
            let rule = rule.clone().with_threshold(threshold);
            assess(&rule, &vec![1; records]).unwrap().reaches_threshold
        };
        assert!(!reaches(None, 19) && reaches(None, 20));
        assert!(!reaches(Some(0), 19) && reaches(Some(0), 20));
        assert!(!reaches(Some(3), 2) && reaches(Some(3), 3));
        assert!(reaches(Some(-1), 1));
    }

    #[test]
    fn the_highest_floor_counts() {
        let rule = Classic::file_types(Tz::UTC).with_floor("file.llfile_type", "PeExeFile", 120).unwrap();
        assert_eq!(rule.floor(&Key::new(["malicious", "PeExeFile"])), 120);
        assert_eq!(rule.floor(&Key::new(["malicious", "PdfDocFile"])), 90);
        assert_eq!(rule.floor(&Key::new(["suspicious", "PdfDocFile"])), 0);
        let error = rule.with_floor("severity", "malicious", 1).unwrap_err().to_string();
        assert!(error.starts_with("floor: must be one of the dimensions [\"task.severity\""), "{error}");
    }

    #[test]
    fn the_configuration_is_data_and_is_checked_on_the_way_in() {
        let rule = Classic::file_types(Tz::America__New_York).with_threshold(Some(7)).forgetting();
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(serde_json::from_str::<Classic>(&text).unwrap(), rule);
        let minimal: Classic = serde_json::from_str(r#"{"dimensions": ["a"]}"#).unwrap();
        assert_eq!(minimal.weights, Weights::default());
        for (text, expected) in [
            (
                r#"{"dimensions": [], "floors": [{"dimension": 0, "value": "x", "records": 1}]}"#,
                "must be below 0",
            ),
            (r#"{"dimensions": [], "weights": {"least_share": 2.0}}"#, "must be from 0 to 1"),
            (r#"{"dimensions": [], "wieghts": {}}"#, "unknown field"),
        ] {
            let error = serde_json::from_str::<Classic>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn wrong_weights_cannot_be_made() {
        assert!(Weights::new(50, f64::NAN, 0.5).is_err());
        assert!(Weights::new(50, -1.0, 0.5).is_err());
        let error = Weights::new(50, 0.8, 1.5).unwrap_err().to_string();
        assert_eq!(error, r#"least share: must be from 0 to 1, got "1.5""#);
    }

    #[test]
    fn a_window_that_began_before_the_row_ended_changes_nothing() {
        let mut rule = learned(&[&[5, 5], &[6, 6]]);
        let before = rule.rows().clone();
        let (key, past) = (Key::new(["malicious", "PeExeFile"]), Baseline::default());
        rule.learn_all(&[Observation::new(&key, day(1), &window(&[99]), &past)]);
        assert_eq!(rule.rows(), &before);
    }

    #[test]
    fn days_without_a_key_count_as_zero_and_combinations_are_filled() {
        let keyed = |values: [&str; 2], counts: &[u64]| (Key::new(values), window(counts));
        let mut table = GlobalTable::default();
        for (i, rows) in
            [vec![keyed(["a", "x"], &[9]), keyed(["b", "y"], &[1, 1])], vec![keyed(["b", "y"], &[2, 1])]]
                .into_iter()
                .enumerate()
        {
            table.learn(&Summaries::new(Arc::new(Schema::file_types()), day(i), rows).unwrap()).unwrap();
        }
        let days = DayStatistics::of(&table).unwrap();
        assert_eq!(days.len(), 4);
        assert_eq!(days[&Key::new(["a", "y"])].records_max, Number::Int(0));
        assert_eq!(days[&Key::new(["a", "x"])].records_mean, Number::Float(4.5));
        assert_eq!(days[&Key::new(["b", "y"])].records_per_sample_max, Number::Float(1.5));
    }

    #[test]
    fn windows_are_counted_in_days_where_they_are_days() {
        assert_eq!(
            [0, 1, 23, 24, 25, 48, 168].map(|hours| window_count(TimeDelta::hours(hours))),
            [1, 1, 23, 1, 25, 2, 7]
        );
    }

    proptest! {
        #[test]
        fn shares_are_rounded_as_they_are_written(part in 0..100_000u64, rest in 0..100_000u64, cents in 0..100u64) {
            let near_a_tie = (cents as f64 + 0.5) / 100.0;
            let share = part as f64 / (part + rest).max(1) as f64;
            for x in [share, near_a_tie, near_a_tie.next_up(), near_a_tie.next_down(), cents as f64 / 100.0] {
                prop_assert_eq!(round_to_cents(x), format!("{x:.2}").parse::<f64>().unwrap());
            }
        }

        #[test]
        fn the_rounded_share_passes_a_half_from_101_in_200_on(max in 1..5_000u64, others in 0..5_000u64) {
            let records = max + others;
            prop_assume!(records > 50);
            let share = round_to_cents(max as f64 / records as f64);
            prop_assert_eq!(share > 0.5, 200 * max >= 101 * records);
        }

        #[test]
        fn the_decision_is_what_the_explanation_says(counts in prop::collection::vec(1..60u64, 1..20), past in prop::collection::vec(1..9u64, 1..40)) {
            let rule = learned(&[&past]);
            let assessment = assess(&rule, &counts).unwrap();
            let explanation = assessment.explain();
            let fired = explanation.evidence.iter().filter(|e| e.exceeded).count();
            prop_assert_eq!(assessment.is_peak(), assessment.reaches_threshold && fired > 0);
            prop_assert_eq!(explanation.counterfactual.is_some(), assessment.is_peak());
            prop_assert!(explanation.carrier().is_some_and(|carrier| carrier.exceeded || fired == 0));
        }
    }
}
