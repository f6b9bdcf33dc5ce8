//! The calibrated rule: a stated false-alarm budget that holds.
//!
//! For each key and window it asks four questions, low and high: how many records (volume), how many
//! samples (variety), how many records that repeat a sample (repetition), how many records of the most
//! frequent sample (concentration)? The answer to each is a tail probability:
//!
//! 1. Volume and variety are overdispersed counts with a level, a slope and phases: the model of counts.
//! 2. Repetition and concentration follow the records by a power law of the pool: [`ratio`].
//! 3. Phases, and how much windows differ for all keys alike, come from the pool: [`phase`].
//! 4. What a model's tail is worth is learned from how often such tails came up: [`calibration`].
//! 5. The least of the eight values, m, becomes 1 − (1 − m)⁸, as if they were independent. They are
//!    not; one more map learns what that is worth. The result is the window's p-value.
//! 6. A key without history is judged by its first count against those of other keys: [`newcomer`].
//! 7. A p-value below the threshold of the [`budget`] is a peak, when its effect is large enough.
//!
//! Learning resists what it should find. Residuals are capped, far windows weigh less, and a window
//! whose volume and variety, or one of whose ratios, is below 10⁻⁴ does not enter the maps while such
//! windows are rare; when they are most keys of a window, it teaches only levels and phases. Three
//! windows in a row in which a statistic is far off on the same side are a new regime, with which it
//! starts anew. So a key that stops alerts three times.
//!
//! Counts that were estimated in bounded memory are held against predictions that are wider by their
//! standard error, and a maximum that may be too large is judged at either end.
//!
//! A phase that was never seen is no basis for a verdict: a table with days of the week refuses its
//! first week. A phase that was seen once widens predictions, since it may have been drift.
//!
//! What is learned fades. Half of a level is left after 9.6 windows, whatever a window is, or after the
//! [half-life](Calibrated::with_half_life) that the rule is given; all else lasts in proportion:
//!
//! | half is left of … after | windows | of five minutes | an hour | a day | a week |
//! |---|---|---|---|---|---|
//! | levels, slopes, locations of ratios | 9.6 | 48 min | 9.6 h | 9.6 d | 9.6 weeks |
//! | how far all keys are off together | 23 | 1.9 h | 23 h | 23 d | 5 months |
//! | dispersions, scales, rhythms | 34 | 2.9 h | 34 h | 34 d | 8 months |
//! | what tails are worth | 46 | 3.8 h | 46 h | 46 d | 11 months |
//! | first counts of new keys | 69 | 5.7 h | 2.9 d | 69 d | 16 months |
//!
//! Levels age with time: windows that nobody looked at, because the engine was down or the collector
//! was, count too, and move a level by its slope. The others fade by windows learned. Phases are of the
//! last five windows of a kind, and new regimes of three windows in a row, at any pace.
//!
//! A memory is of windows of one length, in their order: another length and an older window are refused.
//!
//! Everything that is remembered is a decayed sum, so a key takes 272 bytes however long
//! its history, and learning a window takes one step. Sums over keys run in the order of the keys.

mod counts;
mod elapsed;
mod explanation;
mod newcomer;
mod pool;
mod ratio;
mod statistics;

use super::Floor;
use crate::contract::{
    Change, Explanation, Judged, Observation, Refusal, TableDetector, TableWindow, Verdict,
};
use crate::time::memory::HalfLife;
use crate::time::{Calendar, Phases};
use crate::worth::Budget;
use elapsed::Elapsed;
use explanation::Gauge;
use peak_core::{Error, Key, KeyMap, Result, Schema, Span, Timestamp};
use pool::{Assessment, Known, Pool, Scene, Worth};
use serde::{Deserialize, Serialize};
use statistics::{NAMES, Reading, VOLUME};
use std::borrow::Cow;
use std::time::Duration;

/// The calibrated rule: its configuration, and what it remembers.
///
/// ```
/// use peak_core::Tz;
/// use peak_detectors::{Budget, Calendar, Calibrated, Peak, Phases};
/// use std::time::Duration;
///
/// let rule = Calibrated::new(Budget::per_window(1.0)?)
///     .with_calendar(Calendar::new(Tz::Europe__Berlin).with_phases(Phases::HOURS_OF_WEEK))
///     .with_half_life(Duration::from_secs(3 * 86_400))?
///     .with_minimum_effect(20.0, 0.5)?;
/// let detector = Peak::calibrated(rule);
/// # let _ = detector;
///
/// // As data it is the configuration alone, checked on the way in; what is not there is as usual.
/// let read = |text| serde_json::from_str::<Calibrated>(text);
/// let rule = read(r#"{"budget": {"per_window": 1.0}, "least_relative": 0.5}"#).unwrap();
/// let expected = Calibrated::new(Budget::per_window(1.0)?).with_minimum_effect(0.0, 0.5)?;
/// assert_eq!(rule, expected);
/// assert!(read(r#"{"least_absolute": -1.0}"#).is_err());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Config", into = "Config")]
pub struct Calibrated {
    budget: Budget,
    calendar: Calendar,
    half_life: Option<HalfLife>,
    least_absolute: f64,
    least_relative: f64,
    floors: Vec<Floor>,
    memory: CalibratedMemory,
}

/// The configuration of the rule as data, before it is checked.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    budget: Budget,
    calendar: Calendar,
    half_life_ms: Option<HalfLife>,
    least_absolute: f64,
    least_relative: f64,
    floors: Vec<Floor>,
}

impl TryFrom<Config> for Calibrated {
    type Error = Error;
    fn try_from(config: Config) -> Result<Self> {
        let rule = Calibrated {
            calendar: config.calendar,
            half_life: config.half_life_ms,
            floors: config.floors,
            ..Calibrated::new(config.budget)
        };
        rule.with_minimum_effect(config.least_absolute, config.least_relative)
    }
}

impl From<Calibrated> for Config {
    fn from(rule: Calibrated) -> Self {
        let Calibrated { budget, calendar, half_life, least_absolute, least_relative, floors, .. } = rule;
        Config { budget, calendar, half_life_ms: half_life, least_absolute, least_relative, floors }
    }
}

/// What the calibrated rule remembers: sums for each key, and sums for the pool of all keys.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CalibratedMemory {
    keys: KeyMap<Known>,
    pool: Pool,
}

impl CalibratedMemory {
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Calibrated>() + self.keys.memory_bytes()
    }
}

impl From<Budget> for Calibrated {
    fn from(budget: Budget) -> Self {
        Calibrated::new(budget)
    }
}

impl Calibrated {
    /// The rule with a budget, without history.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Calibrated {
            budget,
            calendar: Calendar::default(),
            half_life: None,
            least_absolute: 0.0,
            least_relative: 0.0,
            floors: Vec::new(),
            memory: CalibratedMemory::default(),
        }
    }

    /// The rule with a calendar: its zone tells which phase a window has, also when clocks change. By
    /// default that is UTC, with the phases of the length of the windows. Named days are not looked at
    /// yet.
    #[must_use]
    pub fn with_calendar(self, calendar: Calendar) -> Self {
        Calibrated { calendar, ..self }
    }

    /// The rule with these seasonal phases in its [calendar](Self::with_calendar).
    #[must_use]
    pub fn with_phases(self, phases: Phases) -> Self {
        Calibrated { calendar: self.calendar.with_phases(phases), ..self }
    }

    /// The rule with levels of which half is left after this time, whatever the length of the windows; all
    /// other memories last in proportion. By default half is left after 9.6 windows: 48 minutes with
    /// windows of five minutes, 9.6 hours with windows of an hour, 9.6 days with days, 67 days with
    /// weeks.
    ///
    /// # Errors
    /// When it is less than a millisecond, or more than a century.
    pub fn with_half_life(self, half_life: Duration) -> Result<Self> {
        Ok(Calibrated { half_life: Some(half_life.try_into()?), ..self })
    }

    /// The rule with a minimum effect: a statistic that differs from what is expected by less than
    /// `absolute`, or by less than this proportion of it, carries no peak, however significant.
    ///
    /// # Errors
    /// When one of them is negative or not finite.
    pub fn with_minimum_effect(self, absolute: f64, relative: f64) -> Result<Self> {
        for effect in [absolute, relative] {
            if !(effect >= 0.0 && effect.is_finite()) {
                return Err(Error::invalid("minimum effect", "must be finite and not negative", effect));
            }
        }
        Ok(Calibrated { least_absolute: absolute, least_relative: relative, ..self })
    }

    /// The rule with a floor: keys whose `dimension` has this value are no peaks while both their
    /// records and what is expected of them are fewer. Where several floors apply, the highest counts.
    ///
    /// # Errors
    /// When the schema has no such dimension.
    pub fn with_floor(
        mut self,
        schema: &Schema,
        dimension: &str,
        value: impl Into<String>,
        records: u64,
    ) -> Result<Self> {
        self.floors.push(Floor::new(schema.dimensions(), dimension, value, records)?);
        Ok(self)
    }

    /// How many keys the rule remembers.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.memory.keys.len()
    }

    /// The start of the last window that was learned: an older one is refused.
    #[must_use]
    pub fn last_window(&self) -> Option<Timestamp> {
        self.memory.pool.last().map(|last| last.start)
    }

    /// The length of the windows that were learned; one of another length is refused. Days of 23 and 25
    /// hours are days.
    #[must_use]
    pub fn window_length(&self) -> Option<Duration> {
        self.memory.pool.last().map(|last| Duration::from_millis(last.length.unsigned_abs()))
    }

    pub(crate) fn memory(&self) -> &CalibratedMemory {
        &self.memory
    }

    /// # Errors
    /// When a number in it is none, or of a kind that learning does not give.
    pub(crate) fn set_memory(&mut self, memory: CalibratedMemory) -> Result<()> {
        let rule = "must be of numbers that learning can give";
        if let Some((key, _)) = memory.keys.iter().find(|(_, known)| !known.is_valid()) {
            return Err(Error::invalid("memory of a key", rule, key));
        }
        if !memory.pool.is_valid() {
            return Err(Error::invalid("memory of the pool", rule, "another"));
        }
        self.memory = memory;
        Ok(())
    }

    /// Which phase a window has, of how many.
    fn phase(&self, span: Span) -> (usize, usize) {
        (self.calendar.phase(span), self.calendar.phases(span.duration()).count())
    }

    /// What has passed since the last window.
    fn elapsed(&self, window: &TableWindow<'_>) -> Result<Elapsed, Refusal> {
        self.memory.pool.elapsed(window.span, window.exposure, self.half_life)
    }

    /// What the predictions of a window share.
    fn scene(&self, window: &TableWindow<'_>) -> Result<Scene, Refusal> {
        let (elapsed, pool) = (self.elapsed(window)?, &self.memory.pool);
        let (phase, count) = self.phase(window.span);
        let need = count as u64;
        let have = pool.windows().min(need - 1);
        pool.scene(phase, count, elapsed).ok_or(Refusal::TooShort { have, need })
    }

    fn assess(
        &self,
        known: Option<&Known>,
        x: &Observation<'_>,
        scene: &Result<Scene, Refusal>,
        worth: &Worth,
    ) -> Result<Assessment, Refusal> {
        if known.is_none() && x.summary.records == 0 {
            return Err(Refusal::Empty);
        }
        let scene = scene.as_ref().map_err(|refusal| *refusal)?;
        let (reading, pool) = (Reading::of(x.summary), &self.memory.pool);
        Ok(match known {
            Some(known) => pool.assess(known, reading, scene, worth),
            None => pool.assess_new(reading, scene),
        })
    }

    /// Which statistics differ from what is expected by enough to matter.
    fn matters(&self, key: &Key, assessment: &Assessment) -> [bool; 4] {
        if self.least_absolute == 0.0 && self.least_relative == 0.0 && self.floors.is_empty() {
            return [true; 4];
        }
        let counts = &assessment.reading.counts;
        let records = counts[VOLUME].max(assessment.expected(VOLUME));
        let above_floor = records >= Floor::highest(&self.floors, key) as f64;
        [0, 1, 2, 3].map(|i| {
            let expected = assessment.expected(i);
            let effect = (counts[i] - expected).abs();
            above_floor && effect >= self.least_absolute && effect >= self.least_relative * expected
        })
    }
}

impl TableDetector for Calibrated {
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        let scene = self.scene(window);
        let (mut walk, worth) = (self.memory.keys.walk(), self.memory.pool.worth());
        // What is as strange as it should be, among the statistics that matter.
        let mut carried = Vec::with_capacity(window.keys.len());
        let verdict =
            |x: &Observation<'_>| {
                let assessment = self.assess(walk.find(x.key), x, &scene, &worth);
                carried.push(assessment.as_ref().map_or(1.0, |assessment| {
                    assessment.p_value_among(&worth, self.matters(x.key, assessment))
                }));
                let verdict = |assessment: Assessment| Verdict {
                    score: 0.0 - libm::log10(assessment.p),
                    anomalous: false,
                    p_value: Some(assessment.p),
                };
                assessment.map(verdict)
            };
        let mut verdicts: Vec<_> = window.keys.iter().map(verdict).collect();
        let p_values = verdicts.iter().flatten().filter_map(|verdict| verdict.p_value);
        let threshold = self.budget.threshold(p_values, self.memory.keys.len());
        for (verdict, carried) in verdicts.iter_mut().zip(carried) {
            verdict.iter_mut().for_each(|verdict| verdict.anomalous = carried < threshold);
        }
        Judged::new(verdicts).with_threshold(threshold)
    }

    fn learn(&mut self, window: &TableWindow<'_>) {
        let Ok(elapsed) = self.elapsed(window) else { return };
        let phase = self.phase(window.span);
        let CalibratedMemory { keys, pool } = &mut self.memory;
        pool.learn(keys, window, phase, elapsed);
    }

    fn explain(
        &self,
        window: &TableWindow<'_>,
        judged: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        let threshold = judged.threshold.unwrap_or(Budget::MOST);
        let (scene, gauge) = (self.scene(window), Gauge::new(&self.memory.pool, threshold));
        let explain = |&place: &usize| {
            let x = window.keys.get(place).ok_or(Refusal::Empty)?;
            let assessment = self.assess(self.memory.keys.get(x.key), x, &scene, gauge.worth())?;
            let carrier = assessment.carrier(self.matters(x.key, &assessment));
            let evidence = gauge.evidence(&assessment);
            let carried_by = Cow::Borrowed(NAMES[carrier.unwrap_or_else(|| assessment.strongest())]);
            let exceeded = evidence.iter().find(|e| e.statistic == carried_by && e.exceeded);
            Ok(Explanation {
                counterfactual: exceeded.filter(|_| carrier.is_some()).map(explanation::quiet),
                carried_by,
                change: match assessment.newcomer {
                    Some(_) => Some(Change::FirstSeen),
                    None => (x.summary.records == 0).then_some(Change::Gone),
                },
                evidence,
            })
        };
        places.iter().map(explain).collect()
    }

    fn admits(&self, window: Span) -> Result<()> {
        let (have, need) = match self.memory.pool.elapsed(window, 1.0, self.half_life) {
            Err(Refusal::WrongLength { have, need }) => (have, need),
            _ => return Ok(()),
        };
        let need = Duration::from_millis(need);
        let rule = format!("must last {need:?}, as those that were learned");
        Err(Error::invalid(
            "window",
            rule,
            format_args!("{window}, which lasts {:?}", Duration::from_millis(have)),
        ))
    }

    fn forget_before(&mut self, horizon: Timestamp) {
        self.memory.keys.retain(|_, known| known.seen() > horizon);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.memory.keys.retain(|key, _| keep(key));
    }
}
