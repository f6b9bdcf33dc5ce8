//! The median absolute deviation as a detector of its own.
//!
//! A point is anomalous when it is farther from the median of the window than so many robust standard
//! deviations, 1.4826 times the median absolute deviation (Hampel, 1974). The factor makes it the
//! standard deviation of a normal distribution. The window includes the point.
//!
//! For skewed series each side has its own deviation (double MAD): the median distance of the values
//! below the median, and of those above.
//!
//! Where more than half of the values are the same, the deviation is zero; the standard deviation of
//! the other points takes its place. Without any spread, any other value is anomalous.

use super::feed::{Duplicates, Feed, FeedRules, Kind};
use super::point::Point;
use super::range::NormalRange;
use super::window::{Scaling, Sliding, Statistics};
use crate::contract::{
    Counterfactual, Detector, Evidence, Explanation, Footprint, Persist, Refusal, Told, Verdict, Wanted,
};
use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Alarms on values far from the median of a sliding window.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::{Detector, Mad, Point};
///
/// let at = |i: i64, value| Point::new(Timestamp::from_millis(60_000 * i).unwrap(), value);
/// let mut mad = Mad::default();
/// (0..200).for_each(|i| mad.learn(&at(i, 10.0 + (i % 7) as f64)));
/// assert!(!mad.step(&at(200, 17.0))?.anomalous);
/// assert!(mad.step(&at(201, 99.0))?.anomalous);
/// # Ok::<(), peak_detectors::Refusal>(())
/// ```
///
/// The point that was just learned can still be [explained](Detector::explain). As data it is its
/// configuration alone, checked on the way in; what is not there is as usual:
///
/// ```
/// use peak_detectors::Mad;
///
/// let read = |text| serde_json::from_str::<Mad>(text);
/// let mut latency = read(r#"{"window": 288, "sides": "each"}"#).unwrap(); // double MAD
/// latency.set_reach(8.0)?; // a setting of a running detector: nothing is forgotten
/// assert!(read(r#"{"reach": 0.0}"#).is_err() && read(r#"{"reech": 8.0}"#).is_err());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Config", into = "Config")]
pub struct Mad {
    rules: FeedRules,
    sides: Sides,
    reach: f64,
    feed: Feed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sides {
    #[default]
    Common,
    Each,
}

/// The detector as data, before it is checked.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    window: usize,
    kind: Kind,
    sides: Sides,
    reach: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config::from(Mad::default())
    }
}

impl TryFrom<Config> for Mad {
    type Error = Error;
    fn try_from(Config { window, kind, sides, reach }: Config) -> Result<Self> {
        Mad::new(sides).with_kind(kind).with_window(window)?.with_reach(reach)
    }
}

impl From<Mad> for Config {
    fn from(Mad { rules, sides, reach, .. }: Mad) -> Self {
        Config { window: rules.window, kind: rules.kind, sides, reach }
    }
}

/// A robust standard deviation of a normal distribution, in median absolute deviations.
const NORMAL: f64 = 1.4826;

/// What is typical, and the farthest that is not anomalous.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    median: f64,
    /// Robust standard deviations below and above.
    units: [f64; 2],
}

impl Mad {
    /// The points that a window holds unless told otherwise: a day of minutes.
    pub const WINDOW: usize = 1_440;
    /// How many points a verdict takes.
    pub const LEAST: usize = 30;
    /// How many robust standard deviations are normal unless told otherwise.
    pub const REACH: f64 = 6.0;

    fn new(sides: Sides) -> Self {
        let rules = FeedRules {
            window: Self::WINDOW,
            scaling: Scaling::Fixed,
            lateness: 0,
            duplicates: Duplicates::default(),
            kind: Kind::default(),
            seasonality: None,
        };
        let feed = Feed::new(&rules).expect("a window that is allowed");
        Mad { rules, sides, reach: Self::REACH, feed }
    }

    /// Each side has its own deviation, for skewed series.
    #[must_use]
    pub fn double() -> Self {
        Mad::new(Sides::Each)
    }

    /// A window of so many points; it starts empty.
    ///
    /// # Errors
    /// When it is not from 3 to 65,535 points.
    pub fn with_window(mut self, points: usize) -> Result<Self> {
        let rules = FeedRules { window: points, ..self.rules };
        (self.feed, self.rules) = (Feed::new(&rules)?, rules);
        Ok(self)
    }

    /// What kind of series it is, a gauge unless told otherwise; the window starts empty.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.rules.kind = kind;
        self.feed = Feed::new(&self.rules).expect("a window that was checked");
        self
    }

    /// See [`set_reach`](Self::set_reach).
    ///
    /// # Errors
    /// As there.
    pub fn with_reach(mut self, reach: f64) -> Result<Self> {
        self.set_reach(reach)?;
        Ok(self)
    }

    /// How many robust standard deviations are normal.
    ///
    /// # Errors
    /// When it is not above 0 and finite.
    pub fn set_reach(&mut self, reach: f64) -> Result<()> {
        if !(reach > 0.0 && reach.is_finite()) {
            return Err(Error::invalid("reach", "must be above 0 and finite", reach));
        }
        self.reach = reach;
        Ok(())
    }

    /// The series as it was taken in.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    fn measure(&self) -> Result<Bounds, Refusal> {
        let window = self.feed.window();
        let (have, need) = (window.len() as u64, Self::LEAST.min(self.rules.window) as u64);
        if have < need {
            return Err(Refusal::TooShort { have, need });
        }
        let deviations = match self.sides {
            Sides::Common => [window.median_deviation(); 2],
            Sides::Each => window.median_deviations(),
        };
        let otherwise = window.earlier().map_or(0.0, |earlier| earlier.deviation);
        let unit = |deviation: f64| if deviation > 0.0 { NORMAL * deviation } else { otherwise };
        Ok(Bounds { median: window.median(), units: deviations.map(unit) })
    }

    fn verdict(&self, Bounds { median, units }: Bounds) -> Verdict {
        let off = self.feed.window().last() - median;
        let unit = units[usize::from(off > 0.0)];
        // Beyond any doubt is far enough.
        let score = if off == 0.0 { 0.0 } else { (off.abs() / unit).min(1e9) };
        Verdict { score, anomalous: off.abs() > self.reach * unit, p_value: None }
    }

    /// Outside of this range a point like the newest is anomalous; `None` as long as there is no
    /// verdict.
    #[must_use]
    pub fn normal_range(&self) -> Option<NormalRange> {
        let Bounds { median, units: [below, above] } = self.measure().ok()?;
        let (lower, upper) = (median - self.reach * below, median + self.reach * above);
        Some(NormalRange { lower, upper, baseline: 0.0, per_second: self.feed.is_counter() })
    }
}

/// One deviation for both sides.
impl Default for Mad {
    fn default() -> Self {
        Mad::new(Sides::Common)
    }
}

impl Detector<Point> for Mad {
    fn judge(&self, x: &Point) -> Result<Verdict, Refusal> {
        self.clone().step(x)
    }

    fn learn(&mut self, x: &Point) {
        // A point that is refused is counted by the feed.
        let _ = self.feed.take(x, &self.rules);
    }

    fn step(&mut self, x: &Point) -> Result<Verdict, Refusal> {
        self.feed.take(x, &self.rules)?;
        self.measure().map(|bounds| self.verdict(bounds))
    }

    /// What was just learned can still be explained, so that no window is copied to judge.
    fn step_told(&mut self, x: &Point, wanted: &Wanted<'_>) -> Result<Told, Refusal> {
        let verdict = self.step(x)?;
        let explanation = wanted(&verdict).then(|| self.explain(x));
        Ok(Told::new(verdict, explanation))
    }

    /// The newest point, which was learned already, is explained as it was judged: the window holds it.
    /// Another second point at a time is refused.
    fn explain(&self, x: &Point) -> Result<Explanation, Refusal> {
        let mut with = self.clone();
        self.feed.again(x).unwrap_or_else(|| with.feed.take(x, &self.rules))?;
        let Bounds { median, units: [below, above] } = with.measure()?;
        let verdict = with.verdict(Bounds { median, units: [below, above] });
        let (lower, upper) = (median - self.reach * below, median + self.reach * above);
        let (value, per_second) = (with.feed.window().last(), with.feed.is_counter());
        let statistic = if per_second { "rate" } else { "value" };
        let evidence = Evidence {
            statistic: statistic.into(),
            actual: value,
            expected: Some(median),
            lower: Some(lower),
            upper: Some(upper),
            exceeded: verdict.anomalous,
            p_value: None,
        };
        let counterfactual = verdict.anomalous.then(|| Counterfactual {
            statistic: statistic.into(),
            above: (value < lower).then_some(lower),
            below: (value > upper).then_some(upper),
        });
        Ok(Explanation {
            carried_by: statistic.into(),
            evidence: vec![evidence],
            counterfactual,
            change: None,
        })
    }
}

impl Footprint for Mad {
    fn bytes(&self) -> usize {
        size_of::<Self>() - size_of_val(self.feed()) + self.feed().bytes()
    }
}

/// What a [`Mad`] has learned.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct MadMemory(Feed);

impl Persist for Mad {
    type Memory = MadMemory;
    const KIND: &'static str = "mad";
    const VERSION: u16 = 2;

    fn memory(&self) -> impl Serialize {
        &self.feed
    }

    fn restore(&mut self, MadMemory(feed): MadMemory) -> Result<()> {
        if !feed.is_valid(&self.rules) {
            return Err(Error::invalid("memory", "must be of a detector with this window", "another"));
        }
        self.feed = feed;
        Ok(())
    }
}

/// Whether the newest step is smaller than the last ten values differ from their mean, on average: then
/// there is little to see, and a detector with little time may skip the point.
#[must_use]
pub fn steps_little(window: &Sliding) -> bool {
    const VALUES: usize = 10;
    let values = window.newest_values::<VALUES>();
    let Some(values) = values else { return false };
    let mean = values.iter().sum::<f64>() / VALUES as f64;
    let spread = values.iter().map(|x| (x - mean).abs()).sum::<f64>() / VALUES as f64;
    (values[0] - values[1]).abs() < spread
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::Timestamp;

    fn at(i: i64, value: f64) -> Point {
        Point::new(Timestamp::from_millis(60_000 * i).unwrap(), value)
    }

    #[test]
    fn each_side_has_its_own_deviation() {
        let mut mad = Mad::double().with_window(101).unwrap();
        // 0 to 50 in ones, then to 550 in tens: the halves' middles are 25 below and 250 above 50.
        (0..=100)
            .for_each(|i| mad.learn(&at(i, if i <= 50 { i as f64 } else { 50.0 + 10.0 * (i - 50) as f64 })));
        let Bounds { median, units } = mad.measure().unwrap();
        assert_eq!((median, units), (50.0, [NORMAL * 25.0, NORMAL * 250.0]));
        let (lower, upper) = (median - 6.0 * units[0], median + 6.0 * units[1]);
        assert_eq!(mad.normal_range(), Some(NormalRange { lower, upper, baseline: 0.0, per_second: false }));
    }

    #[test]
    fn small_steps_are_told() {
        let mut mad = Mad::default();
        (0..9).for_each(|i| mad.learn(&at(i, (i % 2 * 10) as f64)));
        assert!(!steps_little(mad.feed().window()));
        mad.learn(&at(9, 1.0));
        assert!(steps_little(mad.feed().window()));
        mad.learn(&at(10, 40.0));
        assert!(!steps_little(mad.feed().window()));
    }

    #[test]
    fn what_makes_no_sense_cannot_be_made() {
        assert!(Mad::default().with_reach(0.0).is_err() && Mad::default().with_reach(f64::NAN).is_err());
        let error = Mad::default().with_window(2).unwrap_err().to_string();
        assert_eq!(error, r#"window: must be from 3 to 65535 points, got "2""#);
    }
}
