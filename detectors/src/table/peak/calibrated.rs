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
//! Everything that is remembered is a decayed sum, so a key takes 272 bytes however long
//! its history, and learning a window takes one step. Sums over keys run in the order of the keys.

mod counts;
mod explanation;
mod newcomer;
mod pool;
mod ratio;
mod statistics;

use super::Floor;
use crate::contract::{
    Change, Explanation, Judged, Observation, Refusal, TableDetector, TableWindow, Verdict,
};
use crate::time::Phases;
use crate::worth::Budget;
use explanation::Gauge;
use peak_core::{Error, Key, KeyMap, Result, Schema, Span, Timestamp};
use pool::{Assessment, Known, Pool, Scene, Worth};
use serde::{Deserialize, Serialize};
use statistics::{NAMES, Reading, VOLUME};
use std::borrow::Cow;

/// The calibrated rule: its configuration, and what it remembers.
///
/// ```
/// use peak_detectors::{Budget, Calibrated, Peak, Phases};
///
/// let rule = Calibrated::new(Budget::per_window(1.0)?)
///     .with_phases(Phases::HOURS_OF_WEEK)
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
    phases: Option<Phases>,
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
    phases: Option<Phases>,
    least_absolute: f64,
    least_relative: f64,
    floors: Vec<Floor>,
}

impl TryFrom<Config> for Calibrated {
    type Error = Error;
    fn try_from(config: Config) -> Result<Self> {
        let rule =
            Calibrated { phases: config.phases, floors: config.floors, ..Calibrated::new(config.budget) };
        rule.with_minimum_effect(config.least_absolute, config.least_relative)
    }
}

impl From<Calibrated> for Config {
    fn from(rule: Calibrated) -> Self {
        let Calibrated { budget, phases, least_absolute, least_relative, floors, .. } = rule;
        Config { budget, phases, least_absolute, least_relative, floors }
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
            phases: None,
            least_absolute: 0.0,
            least_relative: 0.0,
            floors: Vec::new(),
            memory: CalibratedMemory::default(),
        }
    }

    /// The rule with these seasonal phases; by default those of the length of the windows.
    #[must_use]
    pub fn with_phases(self, phases: Phases) -> Self {
        Calibrated { phases: Some(phases), ..self }
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

    fn phases(&self, span: Span) -> Phases {
        self.phases.unwrap_or_else(|| Phases::of(span.duration()))
    }

    /// What the predictions of a window share.
    fn scene(&self, span: Span) -> Result<Scene, Refusal> {
        let (phases, pool) = (self.phases(span), &self.memory.pool);
        let need = phases.count() as u64;
        let have = pool.windows().min(need - 1);
        pool.scene(phases.index(span)).ok_or(Refusal::TooShort { have, need })
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
        let scene = self.scene(window.span);
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
                    score: -libm::log10(assessment.p),
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
        let phases = self.phases(window.span);
        let CalibratedMemory { keys, pool } = &mut self.memory;
        pool.learn(keys, window, phases);
    }

    fn explain(
        &self,
        window: &TableWindow<'_>,
        judged: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        let threshold = judged.threshold.unwrap_or(Budget::MOST);
        let (scene, gauge) = (self.scene(window.span), Gauge::new(&self.memory.pool, threshold));
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

    fn forget_before(&mut self, horizon: Timestamp) {
        self.memory.keys.retain(|_, known| known.seen() > horizon);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.memory.keys.retain(|key, _| keep(key));
    }
}
