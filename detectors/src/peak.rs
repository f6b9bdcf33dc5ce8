//! The peak detector: strange windows of keys in statistics tables.

pub(crate) mod classic;
pub(crate) mod original;

use crate::{Classic, Detector, Explanation, Observation, Persist, Refusal, Rows, Verdict};
use peak_core::Result;
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
}

/// What the peak detector remembers, by rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PeakMemory {
    /// The rows of the classic rule.
    Classic(Rows),
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

    /// The rule, with what it remembers.
    #[must_use]
    pub fn rule(&self) -> &PeakRule {
        &self.rule
    }
}

impl Detector<Observation<'_>> for Peak {
    fn judge(&self, x: &Observation<'_>) -> Result<Verdict, Refusal> {
        match &self.rule {
            PeakRule::Classic(rule) => rule.assess(x).map(|assessment| assessment.verdict()),
        }
    }

    fn learn(&mut self, x: &Observation<'_>) {
        match &mut self.rule {
            PeakRule::Classic(rule) => rule.refresh(x),
        }
    }

    fn explain(&self, x: &Observation<'_>) -> Result<Explanation, Refusal> {
        match &self.rule {
            PeakRule::Classic(rule) => rule.assess(x).map(|assessment| assessment.explain()),
        }
    }
}

/// Borrows what [`PeakMemory`] owns; both are stored alike.
#[derive(Serialize)]
enum Borrowed<'a> {
    Classic(&'a Rows),
}

impl Persist for Peak {
    type Memory = PeakMemory;
    const KIND: &'static str = "peak";
    const VERSION: u16 = 1;

    fn memory(&self) -> impl Serialize {
        match &self.rule {
            PeakRule::Classic(rule) => Borrowed::Classic(rule.rows()),
        }
    }

    fn restore(&mut self, memory: PeakMemory) -> Result<()> {
        match (&mut self.rule, memory) {
            (PeakRule::Classic(rule), PeakMemory::Classic(rows)) => rule.set_rows(rows),
        }
        Ok(())
    }
}
