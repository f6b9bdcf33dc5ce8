//! Why a verdict is what it is.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

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

impl Evidence {
    /// A value that was measured, without any bound.
    #[must_use]
    pub fn new(statistic: impl Into<Cow<'static, str>>, actual: f64) -> Self {
        Evidence {
            statistic: statistic.into(),
            actual,
            expected: None,
            lower: None,
            upper: None,
            exceeded: false,
            p_value: None,
        }
    }

    /// With what is typical.
    #[must_use]
    pub fn with_expected(self, expected: f64) -> Self {
        Evidence { expected: Some(expected), ..self }
    }

    /// With the values that must not be passed.
    #[must_use]
    pub fn with_bounds(self, lower: Option<f64>, upper: Option<f64>) -> Self {
        let is_below = lower.is_some_and(|lower| self.actual < lower);
        let is_above = upper.is_some_and(|upper| self.actual > upper);
        Evidence { lower, upper, exceeded: is_below || is_above, ..self }
    }
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
    /// The explanation of a detector that looks at one thing only.
    #[must_use]
    pub fn of(evidence: Evidence) -> Self {
        let quiet = evidence.exceeded.then(|| Counterfactual {
            statistic: evidence.statistic.clone(),
            above: evidence.lower.filter(|lower| evidence.actual < *lower),
            below: evidence.upper.filter(|upper| evidence.actual > *upper),
        });
        Explanation {
            carried_by: evidence.statistic.clone(),
            evidence: vec![evidence],
            counterfactual: quiet.filter(|quiet| quiet.above.or(quiet.below).is_some()),
            change: None,
        }
    }

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
pub(crate) fn short(x: f64) -> String {
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
