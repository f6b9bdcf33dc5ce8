//! The peak detector: strange windows of keys in statistics tables.

pub(crate) mod calibrated;
pub(crate) mod classic;

use crate::contract::{
    Explanation, Footprint, Judged, Persist, Refusal, TableDetector, TableTold, TableWindow, Wanted,
};
use crate::worth::Budget;
use calibrated::{Calibrated, CalibratedMemory};
use classic::{Classic, Rows};
use peak_core::{Error, Key, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Finds keys whose window stands out against their history.
///
/// What it looks at and what counts as a peak is the rule's business; see [`PeakRule`].
#[derive(Debug, Clone, PartialEq)]
pub struct Peak {
    rule: PeakRule,
}

/// How the peak detector decides.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PeakRule {
    /// The rule of telemetry-peak-analyzer, decision for decision.
    Classic(Classic),
    /// The rule that keeps a stated false-alarm budget: the default.
    Calibrated(Box<Calibrated>),
}

/// What the peak detector remembers, by rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PeakMemory {
    /// The rows of the classic rule.
    Classic(Rows),
    /// The sums of the calibrated rule.
    Calibrated(Box<CalibratedMemory>),
}

impl Peak {
    /// A peak detector with a rule.
    #[must_use]
    pub fn new(rule: PeakRule) -> Self {
        Peak { rule }
    }

    /// A peak detector with the classic rule.
    #[must_use]
    pub fn classic(rule: Classic) -> Self {
        Peak::new(PeakRule::Classic(rule))
    }

    /// A peak detector with the calibrated rule: with a [`Budget`](crate::Budget), or configured further.
    #[must_use]
    pub fn calibrated(rule: impl Into<Calibrated>) -> Self {
        Peak::new(PeakRule::Calibrated(Box::new(rule.into())))
    }

    /// The rule, with what it remembers.
    #[must_use]
    pub fn rule(&self) -> &PeakRule {
        &self.rule
    }
}

/// The calibrated rule with its default budget.
impl Default for Peak {
    fn default() -> Self {
        Peak::calibrated(Budget::default())
    }
}

impl Peak {
    /// The rule as a detector.
    fn detector(&self) -> &dyn TableDetector {
        match &self.rule {
            PeakRule::Classic(rule) => rule,
            PeakRule::Calibrated(rule) => &**rule,
        }
    }

    fn detector_mut(&mut self) -> &mut dyn TableDetector {
        match &mut self.rule {
            PeakRule::Classic(rule) => rule,
            PeakRule::Calibrated(rule) => &mut **rule,
        }
    }
}

impl TableDetector for Peak {
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        self.detector().judge(window)
    }

    fn learn(&mut self, window: &TableWindow<'_>) {
        self.detector_mut().learn(window);
    }

    fn explain(
        &self,
        window: &TableWindow<'_>,
        judged: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        self.detector().explain(window, judged, places)
    }

    fn step_told(&mut self, window: &TableWindow<'_>, wanted: &Wanted<'_>) -> TableTold {
        self.detector_mut().step_told(window, wanted)
    }

    fn admits(&self, window: Span) -> Result<()> {
        self.detector().admits(window)
    }

    fn forget_before(&mut self, horizon: Timestamp) {
        self.detector_mut().forget_before(horizon);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.detector_mut().retain(keep);
    }
}

impl Footprint for Peak {
    fn bytes(&self) -> usize {
        let remembered = match &self.rule {
            PeakRule::Classic(rule) => rule.rows().memory_bytes(),
            PeakRule::Calibrated(rule) => rule.memory().bytes(),
        };
        size_of::<Self>() + remembered
    }
}

/// Borrows what [`PeakMemory`] owns; both are stored alike.
#[derive(Serialize)]
enum Borrowed<'a> {
    Classic(&'a Rows),
    Calibrated(&'a CalibratedMemory),
}

impl Persist for Peak {
    type Memory = PeakMemory;
    const KIND: &'static str = "peak";
    const VERSION: u16 = 4;

    fn memory(&self) -> impl Serialize {
        match &self.rule {
            PeakRule::Classic(rule) => Borrowed::Classic(rule.rows()),
            PeakRule::Calibrated(rule) => Borrowed::Calibrated(rule.memory()),
        }
    }

    fn restore(&mut self, memory: PeakMemory) -> Result<()> {
        match (&mut self.rule, memory) {
            (PeakRule::Classic(rule), PeakMemory::Classic(rows)) => {
                rule.set_rows(rows);
                Ok(())
            }
            (PeakRule::Calibrated(rule), PeakMemory::Calibrated(memory)) => rule.set_memory(*memory),
            (PeakRule::Classic(_), _) => Err(other_rule("classic", "calibrated")),
            (PeakRule::Calibrated(_), _) => Err(other_rule("calibrated", "classic")),
        }
    }
}

fn other_rule(own: &str, stored: &str) -> Error {
    Error::invalid("peak rule", format!("must be the one of the stored memory, {stored}"), own)
}

/// The least records of keys with this value in this dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    dimension: usize,
    value: String,
    records: u64,
}

impl Floor {
    /// A floor on one of these dimensions.
    fn new(dimensions: &[String], dimension: &str, value: impl Into<String>, records: u64) -> Result<Self> {
        let Some(index) = dimensions.iter().position(|name| name == dimension) else {
            let rule = format!("must be one of the dimensions {dimensions:?}");
            return Err(Error::invalid("floor", rule, dimension));
        };
        Ok(Floor { dimension: index, value: value.into(), records })
    }

    /// The highest floor that applies to a key, 0 when none does.
    fn highest(floors: &[Floor], key: &Key) -> u64 {
        let applies = |floor: &&Floor| key.values().nth(floor.dimension) == Some(&floor.value);
        floors.iter().filter(applies).map(|floor| floor.records).max().unwrap_or(0)
    }
}
