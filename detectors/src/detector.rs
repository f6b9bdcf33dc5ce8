//! The contract between detectors and everybody else.

use crate::On;
use peak_core::{Key, Result, Timestamp, snapshot};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::path::Path;

/// Tells whether what it looks at is strange, given what it has learned.
///
/// `X` is what it looks at: an [`Observation`](crate::Observation) of a key for the peak detector, a
/// point of a series, a row of features. Judging is pure and learning is explicit, so a program
/// decides what enters the memory; [`step`](Self::step) does both in the order that does not let a
/// point vouch for itself.
///
/// Detectors are deterministic: the same input and configuration give the same bits.
/// `peak_detectors::testing::check_detector` (feature `testing`) asserts the contract for any
/// implementation.
pub trait Detector<X: ?Sized> {
    /// Judges `x` against what was learned so far, and leaves no trace.
    ///
    /// # Errors
    /// A [`Refusal`] when there is no basis for a verdict.
    fn judge(&self, x: &X) -> Result<Verdict, Refusal>;

    /// Takes `x` into the memory.
    fn learn(&mut self, x: &X);

    /// Says why [`judge`](Self::judge) says what it says about `x`. Only paid for when asked.
    ///
    /// # Errors
    /// The same [`Refusal`] as `judge`.
    fn explain(&self, x: &X) -> Result<Explanation, Refusal>;

    /// Judges, then learns.
    ///
    /// # Errors
    /// As [`judge`](Self::judge); `x` is learned all the same.
    fn step(&mut self, x: &X) -> Result<Verdict, Refusal> {
        let verdict = self.judge(x);
        self.learn(x);
        verdict
    }

    /// Judges what arrived together: all keys of one window of a table. A detector that decides
    /// across keys overrides it; for a single element it always equals [`judge`](Self::judge).
    fn judge_all(&self, together: &[X]) -> Vec<Result<Verdict, Refusal>>
    where
        X: Sized,
    {
        together.iter().map(|x| self.judge(x)).collect()
    }

    /// Learns what arrived together. A detector that borrows strength across keys overrides it; for a
    /// single element it always equals [`learn`](Self::learn).
    fn learn_all(&mut self, together: &[X])
    where
        X: Sized,
    {
        together.iter().for_each(|x| self.learn(x));
    }

    /// The detector on another input: `look` turns what is at hand into what the detector looks at. All
    /// detectors can so be asked about one feed, and be held as `Box<dyn Detector<_>>`.
    ///
    /// ```
    /// use peak_core::{Span, Summary};
    /// use peak_detectors::{Detector, IsolationForest, Mad, Point};
    ///
    /// let rows = ndarray::array![[90.0, 3.0], [95.0, 4.0], [88.0, 3.0], [92.0, 2.0]];
    /// let forest = IsolationForest::builder().names(["records", "samples"]).fit(rows.view())?;
    /// let detectors: [Box<dyn Detector<(Span, Summary)>>; 2] = [
    ///     Box::new(Mad::default().on(|(span, found): &(Span, Summary)| {
    ///         Point::new(span.start(), found.records as f64)
    ///     })),
    ///     Box::new(forest.on(|(_, found): &(Span, Summary)| [found.records as f64, found.distinct() as f64])),
    /// ];
    /// # let _ = detectors;
    /// # Ok::<(), peak_core::Error>(())
    /// ```
    fn on<W, R, F>(self, look: F) -> On<Self, F, X>
    where
        Self: Sized,
        W: ?Sized,
        R: Borrow<X>,
        F: Fn(&W) -> R,
    {
        On::new(self, look)
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

/// A detector whose memory can be saved, and restored under the program's own configuration: the
/// configuration is the program's, the memory is the file's.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::{Detector, Mad, Persist, Point};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("latency.peak");
/// let at = |minute: i64, value: f64| Point::new(Timestamp::from_millis(60_000 * minute).unwrap(), value);
/// let mut mad = Mad::default();
/// (0..300).for_each(|i| mad.learn(&at(i, (i * 37 % 41) as f64)));
/// mad.save(&path)?;
///
/// let mut restored = Mad::default(); // in another process, say
/// restored.load(&path)?;
/// assert_eq!(restored.step(&at(300, 99.0)), mad.step(&at(300, 99.0)));
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait Persist {
    /// What is restored. The next outputs are then the same bits as of the detector that was saved.
    type Memory: DeserializeOwned;

    /// Names the kind of memory in a snapshot.
    const KIND: &'static str;

    /// The version of the memory's layout.
    const VERSION: u16;

    /// What was learned so far, in the stored form of [`Memory`](Self::Memory).
    fn memory(&self) -> impl Serialize;

    /// Replaces what was learned.
    ///
    /// # Errors
    /// When the memory does not fit the configuration.
    fn restore(&mut self, memory: Self::Memory) -> Result<()>;

    /// Saves what was learned, as [`snapshot::save`] does.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        snapshot::save(path.as_ref(), Self::KIND, Self::VERSION, &self.memory())
    }

    /// Replaces what was learned by what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or its memory is another detector's or does not fit
    /// the configuration. Nothing changes then.
    fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.restore(snapshot::load(path.as_ref(), Self::KIND, Self::VERSION)?)
    }
}

/// What a detector says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Ranks: the higher, the stranger. Finite; its scale is the method's own.
    pub score: f64,
    /// Decides. Not derived from the score by rescaling.
    pub anomalous: bool,
    /// The probability of something at least as strange when nothing is wrong, where the method
    /// knows it.
    pub p_value: Option<f64>,
}

/// Why there is no verdict. Counted in reports; never a score of 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The history is too short.
    TooShort {
        /// How much there is, in the method's unit: windows or points.
        have: u64,
        /// How much it takes.
        need: u64,
    },
    /// There is nothing to look at.
    Empty,
    /// A value is NaN, infinite, or too large to be squared. Where missing values are allowed, NaN is
    /// one.
    NotFinite,
    /// A row of features has another width than those of the training.
    WrongWidth {
        /// How many features there are.
        have: u64,
        /// How many there must be.
        need: u64,
    },
    /// The points span too little time, in seconds.
    Incomplete {
        /// How much they span.
        have: u64,
        /// How much it takes.
        need: u64,
    },
    /// The newest point is too old.
    Stale {
        /// How old, in seconds.
        seconds: u64,
    },
    /// Nothing has changed for so many points.
    Boring {
        /// How many values in a row are the same.
        same: u64,
    },
    /// The point is older than the newest.
    Late,
    /// There is a point at this time already.
    Duplicate,
    /// It is not known what happened: the window was not observed as a whole, or the key found no room in
    /// its table.
    NotObserved,
}

impl Refusal {
    /// The reason without its numbers, as reports count it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::TooShort { .. } => "history too short",
            Refusal::Empty => "no records",
            Refusal::NotFinite => "not finite",
            Refusal::WrongWidth { .. } => "wrong width",
            Refusal::Incomplete { .. } => "history incomplete",
            Refusal::Stale { .. } => "stale",
            Refusal::Boring { .. } => "boring",
            Refusal::Late => "late",
            Refusal::Duplicate => "duplicate",
            Refusal::NotObserved => "not observed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TooShort { have, need } | Refusal::WrongWidth { have, need } => {
                write!(f, "{}: have {have}, need {need}", self.reason())
            }
            Refusal::Incomplete { have, need } => {
                write!(f, "{}: have {have} s, need {need} s", self.reason())
            }
            Refusal::Stale { seconds } => write!(f, "{}: no point for {seconds} s", self.reason()),
            Refusal::Boring { same } => write!(f, "{}: {same} times the same value", self.reason()),
            _ => f.write_str(self.reason()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Why a verdict is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The statistic, test or feature that carried the verdict: the strongest evidence.
    pub carried_by: Cow<'static, str>,
    /// Everything that was looked at.
    pub evidence: Vec<Evidence>,
    /// The smallest change that would have kept the detector quiet; `None` when it is quiet.
    pub counterfactual: Option<Counterfactual>,
    /// Whether what was looked at has come or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// Coming and going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It was never seen before, or forgotten since.
    FirstSeen,
    /// It was expected and is not there.
    Gone,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Change::FirstSeen => "first seen",
            Change::Gone => "gone",
        })
    }
}

/// One statistic, test or feature beside what it was measured by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was measured.
    pub statistic: Cow<'static, str>,
    /// Its value.
    pub actual: f64,
    /// What is typical, where the method has an opinion.
    pub expected: Option<f64>,
    /// The value that must not be passed, downwards.
    pub lower: Option<f64>,
    /// The value that must not be passed, upwards.
    pub upper: Option<f64>,
    /// Whether it was passed.
    pub exceeded: bool,
    /// The probability of something at least as strange when nothing is wrong, where the method
    /// knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// What would have kept the detector quiet: this statistic above one value, or below another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counterfactual {
    /// The statistic to change.
    pub statistic: Cow<'static, str>,
    /// The detector is quiet above this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The detector is quiet below this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
}

/// The statistic and the value that keeps the detector quiet.
impl fmt::Display for Counterfactual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.statistic)?;
        let sides = [("above", self.above), ("below", self.below)];
        let bound =
            |(side, value): (&str, Option<f64>)| value.map(|value| format!(" {side} {}", short(value)));
        let bounds: Vec<String> = sides.into_iter().filter_map(bound).collect();
        write!(f, "{}", bounds.join(" and"))
    }
}

impl Explanation {
    /// The evidence that carried the verdict.
    #[must_use]
    pub fn carrier(&self) -> Option<&Evidence> {
        self.evidence.iter().find(|evidence| evidence.statistic == self.carried_by)
    }
}

/// One line: the evidence that carried the verdict, what else was exceeded, what has no bound but is
/// good to know, and the counterfactual.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = || self.evidence.iter().filter(|evidence| evidence.statistic != self.carried_by);
        let exceeded = others().filter(|evidence| evidence.exceeded);
        let unbounded = others().filter(|evidence| evidence.lower.or(evidence.upper).is_none());
        if let Some(change) = self.change {
            write!(f, "{change}: ")?;
        }
        for (i, evidence) in self.carrier().into_iter().chain(exceeded).chain(unbounded).enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{evidence}")?;
        }
        match &self.counterfactual {
            Some(quiet) => write!(f, "; would not alert with {quiet}"),
            None => Ok(()),
        }
    }
}

/// The statistic and its value; in brackets, its bounds and what is typical.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.statistic, short(self.actual))?;
        let bounds = match (self.lower, self.upper) {
            (_, Some(upper)) if self.actual > upper => Some(format!("above {}", short(upper))),
            (Some(lower), _) if self.actual < lower => Some(format!("below {}", short(lower))),
            (Some(lower), Some(upper)) => Some(format!("within {} to {}", short(lower), short(upper))),
            (None, Some(upper)) => Some(format!("not above {}", short(upper))),
            (Some(lower), None) => Some(format!("not below {}", short(lower))),
            (None, None) => None,
        };
        let typical = self.expected.map(|expected| format!("typical {}", short(expected)));
        let chance = self.p_value.map(|p| format!("p {}", short(p)));
        let notes: Vec<String> = bounds.into_iter().chain(typical).chain(chance).collect();
        if notes.is_empty() { Ok(()) } else { write!(f, " ({})", notes.join(", ")) }
    }
}

/// A number as people read it: integers whole, others with about three digits.
fn short(x: f64) -> String {
    if x.fract() == 0.0 && x.abs() < 1e15 {
        return format!("{x:.0}");
    }
    let decimals = match x.abs() {
        size if !(0.001..1e15).contains(&size) => return format!("{x:.1e}"),
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{x:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (x, text) in [
            (0.0, "0"),
            (27.0, "27"),
            (3.6, "3.6"),
            (0.1 + 0.2, "0.3"),
            (506.954, "507"),
            (12345.678, "12346"),
            (1e-7, "1.0e-7"),
        ] {
            assert_eq!(short(x), text);
        }
    }

    #[test]
    fn an_explanation_reads_as_a_sentence() {
        let evidence = |statistic, actual, exceeded| Evidence {
            statistic: Cow::Borrowed(statistic),
            actual,
            expected: Some(2.0),
            lower: None,
            upper: Some(3.5),
            exceeded,
            p_value: None,
        };
        let explanation = Explanation {
            carried_by: "b".into(),
            evidence: vec![evidence("a", 4.0, true), evidence("b", 9.0, true), evidence("c", 1.0, false)],
            change: None,
            counterfactual: Some(Counterfactual {
                statistic: "records".into(),
                above: None,
                below: Some(10.0),
            }),
        };
        let text =
            "b 9 (above 3.5, typical 2), a 4 (above 3.5, typical 2); would not alert with records below 10";
        assert_eq!(explanation.to_string(), text);
    }
}
