//! The contract of what judges all keys of a window at once.

use super::detector::Wanted;
use super::explanation::Explanation;
use super::verdict::{Refusal, Verdict};
use peak_core::{Baseline, Error, Key, Result, Span, Summary, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One key in one finished window, beside the key's past.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Observation<'a> {
    /// The dimension values.
    pub key: &'a Key,
    /// The window.
    pub span: Span,
    /// Its summary; without records for a key of the past that has none in the window.
    pub summary: &'a Summary,
    /// The key's history before the window.
    pub past: &'a Baseline,
}

impl<'a> Observation<'a> {
    /// A key in a window, beside its past.
    #[must_use]
    pub fn new(key: &'a Key, span: Span, summary: &'a Summary, past: &'a Baseline) -> Self {
        Observation { key, span, summary, past }
    }
}

/// All keys of one window: what a [`TableDetector`] looks at.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TableWindow<'a> {
    /// The window.
    pub span: Span,
    /// The part of it that was observed, above 0 and at most 1.
    pub exposure: f64,
    /// How much time lies between the end of the last window that was learned and the start of this
    /// one: 0 when they follow each other, `None` for the first. What was not observed in between did
    /// happen, and what is known has aged by it.
    pub since_last: Option<Duration>,
    /// The keys, in their order, each once.
    pub keys: &'a [Observation<'a>],
}

impl<'a> TableWindow<'a> {
    /// A window that was observed as a whole, and follows the last one without a gap.
    ///
    /// # Errors
    /// When the keys are not in their order, each once and all of this window.
    pub fn new(span: Span, keys: &'a [Observation<'a>]) -> Result<Self> {
        if let Some(pair) = keys.windows(2).find(|pair| pair[0].key >= pair[1].key) {
            return Err(Error::invalid("keys of a window", "must be in order, each once", pair[1].key));
        }
        if let Some(other) = keys.iter().find(|x| x.span != span) {
            return Err(Error::invalid("keys of a window", "must all be of this window", other.span));
        }
        Ok(TableWindow { span, exposure: 1.0, since_last: Some(Duration::ZERO), keys })
    }

    /// The window as one of which only a part was observed.
    ///
    /// # Errors
    /// When the part is not above 0 and at most 1.
    pub fn with_exposure(self, exposure: f64) -> Result<Self> {
        if !(exposure > 0.0 && exposure <= 1.0) {
            return Err(Error::invalid("exposure", "must be above 0 and at most 1", exposure));
        }
        Ok(TableWindow { exposure, ..self })
    }

    /// The window as one that so much time separates from the last one that was learned.
    #[must_use]
    pub fn with_since_last(self, since_last: Option<Duration>) -> Self {
        TableWindow { since_last, ..self }
    }

    /// The window as it follows a history.
    pub(crate) fn after(
        span: Span,
        exposure: f64,
        newest: Option<Timestamp>,
        keys: &'a [Observation<'a>],
    ) -> Self {
        let since = |end: Timestamp| span.start().millis().saturating_sub(end.millis()).max(0);
        let since_last = newest.map(|end| Duration::from_millis(since(end).unsigned_abs()));
        TableWindow { span, exposure, since_last, keys }
    }
}

/// What a [`TableDetector`] says of a window.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Judged {
    /// The verdicts on the keys, in their order.
    pub verdicts: Vec<Result<Verdict, Refusal>>,
    /// The p-value below which a key of this window was anomalous, where the method has one. It can
    /// depend on all keys of the window.
    pub threshold: Option<f64>,
    /// What is to be said of all keys together.
    pub pool: Option<PoolVerdict>,
}

impl Judged {
    /// The verdicts on the keys, in their order.
    #[must_use]
    pub fn new(verdicts: Vec<Result<Verdict, Refusal>>) -> Self {
        Judged { verdicts, threshold: None, pool: None }
    }

    /// With the p-value below which a key was anomalous.
    #[must_use]
    pub fn with_threshold(self, threshold: f64) -> Self {
        Judged { threshold: Some(threshold), ..self }
    }

    /// With what is to be said of all keys together.
    #[must_use]
    pub fn with_pool(self, pool: PoolVerdict) -> Self {
        Judged { pool: Some(pool), ..self }
    }

    /// The places of the keys whose verdict is wanted.
    fn places(&self, wanted: &Wanted<'_>) -> Vec<usize> {
        let verdicts = self.verdicts.iter().enumerate();
        verdicts.filter_map(|(i, verdict)| verdict.as_ref().is_ok_and(wanted).then_some(i)).collect()
    }
}

/// What happened to all keys of a window alike: told once, not once a key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PoolVerdict {
    /// How strange.
    pub verdict: Verdict,
    /// By which factor the keys differ from what was expected of them; 0 when all are silent.
    pub factor: f64,
    /// How many keys.
    pub keys: u64,
}

impl fmt::Display for PoolVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.factor {
            0.0 => write!(f, "all {} keys are silent", self.keys),
            factor => write!(f, "all {} keys at {:.0} % of expected", self.keys, 100.0 * factor),
        }
    }
}

/// What a [`TableDetector`] says of a window, and why, where that was wanted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TableTold {
    /// The verdicts.
    pub judged: Judged,
    /// The places of the keys whose verdict was wanted, in their order, and why it is what it is, as of
    /// before the window was learned.
    pub explained: Vec<(usize, Result<Explanation, Refusal>)>,
}

impl TableTold {
    /// Verdicts, and explanations by place.
    #[must_use]
    pub fn new(judged: Judged, explained: Vec<(usize, Result<Explanation, Refusal>)>) -> Self {
        TableTold { judged, explained }
    }
}

/// Tells which keys of a window are strange: all keys at once, so that it can borrow strength across
/// them.
///
/// [`Peak`](crate::Peak) is one, and [`PerKey`](crate::PerKey) makes one of any [`Detector`](crate::Detector)
/// of one thing. An [`Engine`](crate::Engine) runs them. Windows come in the order of time.
///
/// `peak_detectors::testing::check_table_detector` (feature `testing`) asserts the contract for any
/// implementation.
pub trait TableDetector {
    /// Judges every key of a window against what was learned so far, and leaves no trace.
    fn judge(&self, window: &TableWindow<'_>) -> Judged;

    /// Takes a window into the memory.
    fn learn(&mut self, window: &TableWindow<'_>);

    /// Says why [`judge`](Self::judge) has judged the keys at some places of a window as it did, one
    /// explanation for each place, in their order.
    ///
    /// A place is refused as `judge` has refused it.
    fn explain(
        &self,
        window: &TableWindow<'_>,
        judged: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>>;

    /// Judges, explains the verdicts that are wanted, then learns. What these need in common is worked
    /// out once where a detector overrides it.
    fn step_told(&mut self, window: &TableWindow<'_>, wanted: &Wanted<'_>) -> TableTold {
        let judged = self.judge(window);
        let places = judged.places(wanted);
        let explanations = self.explain(window, &judged, &places);
        self.learn(window);
        TableTold { judged, explained: places.into_iter().zip(explanations).collect() }
    }

    /// Whether a window is one that the detector can be shown.
    ///
    /// # Errors
    /// When it is not, because it is of another length than those that were learned, say. Nothing of it
    /// is judged or learned then.
    fn admits(&self, window: Span) -> Result<()> {
        let _ = window;
        Ok(())
    }

    /// Forgets the keys that had no records since. An [`Engine`](crate::Engine) calls it with the
    /// start of its horizon, when its own history forgets them. A detector that remembers no keys, or
    /// shall never forget them, does nothing.
    fn forget_before(&mut self, horizon: Timestamp) {
        let _ = horizon;
    }

    /// Forgets the keys that are not to be kept. A detector that remembers no keys does nothing.
    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        let _ = keep;
    }
}
