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

mod assessment;
mod days;
pub(crate) mod original;
mod row;
mod weights;

pub use assessment::Assessment;
pub use days::DayStatistics;
pub use original::Number;
pub use row::Row;
pub use weights::Weights;

use super::Floor;
use crate::contract::{Explanation, Judged, Observation, Refusal, TableDetector, TableWindow};
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use peak_core::{
    Error, GlobalTable, Key, KeyMap, Report, Result, Schema, Source, Span, Summaries, Timestamp, Tz, Windows,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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

    fn assess_against(&self, row: Option<&Row>, x: &Observation<'_>) -> Result<Assessment, Refusal> {
        if x.summary.records == 0 || x.summary.distinct() == 0 {
            return Err(Refusal::Empty);
        }
        let row = row.ok_or(Refusal::TooShort { have: 0, need: 1 })?;
        let mut assessment = Assessment::measure(x.summary, &self.weights);
        assessment.compare(row, self.threshold, &self.weights);
        Ok(assessment)
    }

    pub(crate) fn arity(&self) -> usize {
        self.dimensions.len()
    }

    fn floor(&self, key: &Key) -> u64 {
        Floor::highest(&self.floors, key)
    }
}

impl TableDetector for Classic {
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        let mut rows = self.rows.walk();
        let judge = |x: &Observation<'_>| {
            self.assess_against(rows.find(x.key), x).map(|assessment| assessment.verdict())
        };
        Judged::new(window.keys.iter().map(judge).collect())
    }

    /// Takes a window into the rows of its keys: a new key gets one, a known key's averages move on,
    /// unless the window began before the row ended. Keys without records change nothing.
    fn learn(&mut self, window: &TableWindow<'_>) {
        let Classic { zone, floors, rows, .. } = self;
        rows.share(window.keys.iter().map(|x| x.key));
        let eventful = window.keys.iter().filter(|x| x.summary.records > 0 && x.summary.distinct() > 0);
        let (start, end) = (window.span.start().local(*zone), window.span.end().local(*zone));
        rows.update(eventful.map(|x| (x.key, x)), |row, x| match row {
            Some(row) if start < row.end => None,
            Some(row) => {
                row.refresh(x.summary, end);
                None
            }
            None => Some(Row::infer(x.summary, start, end, Floor::highest(floors, x.key))),
        });
    }

    fn explain(
        &self,
        window: &TableWindow<'_>,
        _: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        let explain = |&place: &usize| {
            let x = window.keys.get(place).ok_or(Refusal::Empty)?;
            self.assess(x).map(|assessment| assessment.explain())
        };
        places.iter().map(explain).collect()
    }

    fn forget_before(&mut self, horizon: Timestamp) {
        if self.keeping == Keeping::WithinHorizon {
            let horizon = horizon.local(self.zone);
            self.rows.retain(|_, row| row.end > horizon);
        }
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.rows.retain(|key, _| keep(key));
    }
}

/// Days in a span of whole days, else hours; at least 1.
fn window_count(length: TimeDelta) -> u64 {
    let hours = u64::try_from(length.num_hours()).unwrap_or(0);
    (if hours % 24 == 0 { hours / 24 } else { hours }).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::{Baseline, CountMoments, Summary};
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
            let found = window(counts);
            let keys = [Observation::new(&key, day(i), &found, &past)];
            rule.learn(&TableWindow::new(day(i), &keys).unwrap());
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
        let found = window(&[99]);
        let keys = [Observation::new(&key, day(1), &found, &past)];
        rule.learn(&TableWindow::new(day(1), &keys).unwrap());
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
