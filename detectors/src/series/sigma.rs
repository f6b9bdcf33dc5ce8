//! The sigma ensemble: small statistical tests vote on the newest point of a series.
//!
//! Nine tests, those of Etsy's Skyline, look at a window of a series from as many sides: location and
//! spread of all of it, of its first hour, of its last minutes; ranks; a trend. Each says whether the
//! newest point is strange, and a consensus decides. There are two sets of rules:
//!
//! * [`SigmaEnsemble::skyline`] votes and decides as Skyline's Analyzer does, its quirks included.
//! * [`SigmaEnsemble::default`] is the same idea without them. A test that cannot tell abstains, and
//!   the consensus is a share of those that can; tests look at both sides and at any scale; parts of
//!   the window grow with the resolution. The tests look at the newest value or at the mean of the last
//!   three, whichever is the stranger: a mean of three dilutes a spike threefold, and a single value
//!   hides a small shift. Besides the consensus, a point must be as rare as stated
//!   ([`with_rarity`](SigmaEnsemble::with_rarity)) by how large deviations have been in this very
//!   series, so that heavy-tailed series do not alarm all the time. Counters are recognised and become
//!   rates.
//!
//! The score is −log₁₀ of that rarity. The p-value is what it is worth: how often points of this
//! series were as rare, alarms left out. Over time, of the points that are no alarms about one in
//! a hundred have a p-value of at most 0.01, whatever the series; where values are discrete or stay for
//! long, fewer. The decision does not look at it: on a series that is on and off an alarm may have a
//! large one, and little [`severity`](crate::severity()).

mod ballot;
mod deviations;
mod first_hour_average;
mod grubbs;
mod histogram_bins;
mod ks_test;
mod least_squares;
mod mean_subtraction_cumulation;
mod median_absolute_deviation;
mod skyline;
mod stationarity;
mod stddev_from_average;
mod stddev_from_moving_average;

pub use ballot::{Abstention, Ballot, SeriesTest, Vote};

use super::feed::{Counters, Duplicates, Feed, FeedRules, Seasonality, Taken};
use super::point::Point;
use super::range::NormalRange;
use super::window::{Batch, Scaling, Sliding, Statistics};
use crate::contract::{
    Counterfactual, Detector, Evidence, Explanation, Footprint, Persist, Refusal, Verdict,
};
use deviations::{Calibration, Rareness, Scale, Statistic, values_of};
use peak_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The ensemble on one live series.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::{Detector, Point, SigmaEnsemble};
///
/// # fn alert(why: Result<peak_detectors::Explanation, peak_detectors::Refusal>) { println!("{}", why.unwrap()) }
/// # let minute = |i: i64| Timestamp::from_millis(1_700_000_000_000 + 60_000 * i).unwrap();
/// # let value = |i: i64| if i == 200 { 90.0 } else { 50.0 + (i * 7919 % 13) as f64 };
/// # let readings = (0..=200).map(|i| (minute(i), value(i)));
/// # let mut alerts = 0;
/// let mut cpu = SigmaEnsemble::default();                     // one series, live
/// for (time, value) in readings {
///     let point = Point::new(time, value);
///     match cpu.judge(&point) {
///         Ok(verdict) if verdict.anomalous => alert(cpu.explain(&point)),
///         Ok(_) => {}
///         Err(refusal) => eprintln!("{refusal}"),             // history too short: have 3, need 100 …
///     }
/// #   alerts += u32::from(cpu.judge(&point).is_ok_and(|verdict| verdict.anomalous));
///     cpu.learn(&point);                                      // or step(), which does both
/// }
/// # assert_eq!(alerts, 1);
/// ```
///
/// [`step`](Detector::step) is the fast way: it learns the point and looks at the outcome, while
/// [`judge`](Detector::judge) does the same on a copy of the window.
#[derive(Debug, Clone)]
pub struct SigmaEnsemble {
    settings: Arc<Settings>,
    memory: SigmaMemory,
}

/// What an ensemble has learned: the stored form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SigmaMemory {
    feed: Feed,
    calibration: Calibration,
    /// How many of the last values are the same.
    same: u64,
}

#[derive(Clone)]
struct Settings {
    rules: Rules,
    feed: FeedRules,
    consensus: f64,
    rarity: f64,
    full: Option<Duration>,
    /// Grubbs' value for a full window.
    critical: f64,
    namespace: String,
    tests: Vec<Arc<dyn SeriesTest>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    Skyline,
    Own,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<&str> = self.tests.iter().map(|test| test.name()).collect();
        f.debug_struct("Settings")
            .field("rules", &self.rules)
            .field("feed", &self.feed)
            .field("consensus", &self.consensus)
            .field("rarity", &self.rarity)
            .field("namespace", &self.namespace)
            .field("tests", &tests)
            .finish_non_exhaustive()
    }
}

/// Upstream, points are stale after so long.
const STALE: i64 = 500_000;

/// The votes on the newest point, and what they come to.
#[derive(Debug, Clone, PartialEq)]
pub struct SigmaAssessment {
    /// Who voted what, and on what basis.
    pub ballots: Vec<Ballot>,
    /// What they come to.
    pub verdict: Verdict,
}

impl SigmaEnsemble {
    /// The points that a window holds unless told otherwise: a day of minutes.
    pub const WINDOW: usize = 1_440;
    /// How many points a verdict takes.
    pub const LEAST: usize = 100;
    /// The default share of the able tests that must vote yes.
    pub const CONSENSUS: f64 = 0.6;
    /// The default of [`with_rarity`](Self::with_rarity).
    pub const RARITY: f64 = 2.5e-5;

    fn new(rules: Rules) -> Self {
        let (scaling, counters) = match rules {
            Rules::Skyline => (Scaling::Fixed, Counters::Ignored),
            Rules::Own => (Scaling::WithResolution, Counters::Recognised),
        };
        let feed = FeedRules {
            window: Self::WINDOW,
            scaling,
            lateness: 0,
            duplicates: Duplicates::default(),
            counters,
            seasonality: None,
        };
        let settings = Settings {
            rules,
            feed,
            consensus: Self::CONSENSUS,
            rarity: Self::RARITY,
            full: None,
            critical: grubbs::critical(Self::WINDOW),
            namespace: String::new(),
            tests: Vec::new(),
        };
        let memory = SigmaMemory::new(&feed);
        SigmaEnsemble { settings: Arc::new(settings), memory }
    }

    /// Votes and decides as the Analyzer of Skyline: bit for bit, where no vote is a near tie.
    ///
    /// An abstention counts as a yes, since the original counts the votes against. A verdict is refused
    /// below 100 points, and when the last 100 values are the same. The score is the largest number of
    /// times that a test's reach was passed.
    #[must_use]
    pub fn skyline() -> Self {
        Self::new(Rules::Skyline)
    }

    /// Changes a setting, and forgets all points.
    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self.memory = SigmaMemory::new(&self.settings.feed);
        self
    }

    /// A window of so many points.
    ///
    /// # Errors
    /// When it is not from 3 to 65,535 points.
    pub fn with_window(self, points: usize) -> Result<Self> {
        Sliding::new(points, self.settings.feed.scaling)?;
        Ok(self.with(|settings| {
            settings.feed.window = points;
            settings.critical = grubbs::critical(points);
        }))
    }

    /// The share of the able tests that must vote yes. Not for [`skyline`](Self::skyline), which has
    /// its own consensus.
    ///
    /// # Errors
    /// When it is not above 0 and at most 1.
    pub fn with_consensus(self, share: f64) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::invalid("consensus", "must be above 0 and at most 1", share));
        }
        Ok(self.with(|settings| settings.consensus = share))
    }

    /// How rare a deviation must be for an alarm: its probability by the tails that were learned of this
    /// series. They have two numbers each and are not exact; what they are worth on this series is the
    /// verdict's p-value, which decides nothing.
    ///
    /// # Errors
    /// When it is not above 0 and at most 0.01.
    pub fn with_rarity(self, probability: f64) -> Result<Self> {
        if !(probability > 0.0 && probability <= 0.01) {
            return Err(Error::invalid("rarity", "must be above 0 and at most 0.01", probability));
        }
        Ok(self.with(|settings| settings.rarity = probability))
    }

    /// Takes a seasonal baseline off before the vote. It is learned as points come; a verdict takes one
    /// day of history first.
    #[must_use]
    pub fn with_seasonality(self, seasonality: Seasonality) -> Self {
        self.with(|settings| settings.feed.seasonality = Some(seasonality))
    }

    /// Inserts points that come up to this much later than the newest; 0 unless told otherwise. That
    /// costs as much as a window. They get no verdict; later ones are counted and refused.
    #[must_use]
    pub fn with_lateness(self, lateness: Duration) -> Self {
        let lateness = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        self.with(|settings| settings.feed.lateness = lateness)
    }

    /// What becomes of a second point at the same time; it gets no verdict.
    #[must_use]
    pub fn with_duplicates(self, duplicates: Duplicates) -> Self {
        self.with(|settings| settings.feed.duplicates = duplicates)
    }

    /// Refuses verdicts while the points span less than this.
    #[must_use]
    pub fn with_full_duration(self, duration: Duration) -> Self {
        self.with(|settings| settings.full = Some(duration))
    }

    /// Names the series, for tests that are not for all.
    #[must_use]
    pub fn with_namespace(self, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        self.with(|settings| settings.namespace = namespace)
    }

    /// One test more.
    #[must_use]
    pub fn with_test(self, test: impl SeriesTest + 'static) -> Self {
        self.with(|settings| settings.tests.push(Arc::new(test)))
    }

    /// The series as it was taken in.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.memory.feed
    }

    /// The bytes that the series takes; what several share by cloning is not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Feed>() + self.memory.feed.bytes()
    }

    /// Whether the newest point is as old as Skyline calls stale: more than 500 seconds before `now`.
    /// [`Incidents`](crate::Incidents) tell it once.
    ///
    /// # Errors
    /// [`Refusal::Stale`] when it is, [`Refusal::Empty`] when there is no point.
    pub fn check_freshness(&self, now: Timestamp) -> Result<(), Refusal> {
        let newest = self.memory.feed.window().newest().ok_or(Refusal::Empty)?;
        fresh(newest, now)
    }

    /// The votes on the newest point that was learned.
    ///
    /// # Errors
    /// A [`Refusal`] when there is no basis for them.
    pub fn assess(&self) -> Result<SigmaAssessment, Refusal> {
        self.settings.guard(&self.memory)?;
        let window = self.memory.feed.window();
        let newest = self.settings.newest(&self.memory);
        Ok(self.settings.assess(window, newest.map(|(_, rareness)| rareness)))
    }

    /// All votes, whether or not there is a basis for a verdict: for comparisons with recordings.
    #[must_use]
    pub fn ballots(&self) -> Vec<Ballot> {
        let window = self.memory.feed.window();
        if window.is_empty() { Vec::new() } else { self.settings.ballots(window, Statistic::Last) }
    }

    /// Outside of this range the newest value would have been rare enough for an alarm, in the units of
    /// the series (of its rate, for a counter). `None` as long as there is no verdict.
    #[must_use]
    pub fn normal_range(&self) -> Option<NormalRange> {
        let (scale, _) = self.settings.newest(&self.memory)?;
        let (lower, upper) = self.memory.calibration.bounds(scale, self.settings.rarity / 2.0);
        let baseline = self.memory.feed.baseline();
        Some(NormalRange { lower: lower + baseline, upper: upper + baseline, baseline })
    }

    /// The votes on the newest point of a whole series, as of `now`, from nothing but that series: its
    /// own deviations are what rarity is measured by. Seasons, counters and late points are matters of
    /// a feed.
    ///
    /// # Errors
    /// When the points are no series; inside, a [`Refusal`] when there is no basis for a verdict.
    pub fn assess_series(
        &self,
        times: &[Timestamp],
        values: &[f64],
        now: Timestamp,
    ) -> Result<Result<SigmaAssessment, Refusal>> {
        let (Some(&oldest), Some(&newest)) = (times.first(), times.last()) else {
            return Ok(Err(Refusal::Empty));
        };
        let series = Batch::scaled(times, values, now, self.settings.feed.scaling)?;
        let same = values.iter().rev().take_while(|&&x| x == series.last()).count() as u64;
        let guarded = self
            .settings
            .guard_series(values.len(), newest.millis() - oldest.millis(), same)
            .and_then(|()| fresh(newest, now));
        Ok(guarded.map(|()| {
            let rareness = (self.settings.rules == Rules::Own).then(|| {
                let (mut calibration, scale) = (Calibration::default(), Scale::of(&series));
                calibration.start(values, scale);
                calibration.judge(scale, series.last(), series.tail())
            });
            self.settings.assess(&series, rareness)
        }))
    }

    /// All votes on a whole series, whether or not there is a basis for a verdict.
    ///
    /// # Errors
    /// When the points are no series.
    pub fn vote_on_series(&self, times: &[Timestamp], values: &[f64], now: Timestamp) -> Result<Vec<Ballot>> {
        let series = Batch::scaled(times, values, now, self.settings.feed.scaling)?;
        Ok(self.settings.ballots(&series, Statistic::Last))
    }

    /// Goes through the past: learns all points, and gives the verdicts from `since` on, each as if its
    /// point were the newest.
    pub fn back_fill<'a>(
        &'a mut self,
        points: impl IntoIterator<Item = Point> + 'a,
        since: Timestamp,
    ) -> impl Iterator<Item = (Point, Result<Verdict, Refusal>)> + 'a {
        points.into_iter().filter_map(move |point| {
            if point.time < since {
                self.learn(&point);
                return None;
            }
            Some((point, self.step(&point)))
        })
    }

    /// Takes a point in, and says what became of it. The tails are not touched.
    #[inline]
    fn take(&mut self, point: &Point) -> Result<(), Refusal> {
        let memory = &mut self.memory;
        let before = memory.feed.window().len();
        let last = if before == 0 { f64::NAN } else { memory.feed.window().last() };
        match memory.feed.take(point, &self.settings.feed) {
            Taken::Newest => {
                let same = memory.feed.window().last() == last && memory.feed.window().len() >= before;
                memory.same = if same { memory.same + 1 } else { 1 };
                Ok(())
            }
            Taken::Late => Err(Refusal::Late),
            Taken::Duplicate => Err(Refusal::Duplicate),
            Taken::NotFinite => Err(Refusal::NotFinite),
            Taken::Aside => Err(match memory.feed.hours_known() {
                Some(hours) if hours < 24 => Refusal::TooShort { have: hours as u64, need: 24 },
                _ => Refusal::TooShort { have: memory.feed.window().len() as u64, need: Self::LEAST as u64 },
            }),
        }
    }

    /// Judges the newest point, then learns how strange it was.
    #[inline]
    fn judge_newest(&mut self) -> Result<Verdict, Refusal> {
        self.prepare();
        let rareness = self.settings.newest(&self.memory).map(|(_, rareness)| rareness);
        let guarded = self.settings.guard(&self.memory);
        let verdict = guarded.map(|()| self.settings.judge(self.memory.feed.window(), rareness));
        if let Some(rareness) = rareness {
            let anomalous = verdict.is_ok_and(|verdict| verdict.anomalous);
            self.memory.calibration.learn(rareness, self.settings.rarity, anomalous);
        }
        verdict
    }

    /// Rarity is measured from the first points that a verdict takes.
    #[inline]
    fn prepare(&mut self) {
        let memory = &mut self.memory;
        let window = memory.feed.window();
        if self.settings.rules == Rules::Own
            && !memory.calibration.is_ready()
            && window.len() >= self.settings.least()
        {
            memory.calibration.start(&values_of(window), Scale::of(window));
        }
    }
}

/// The ensemble with its own rules.
impl Default for SigmaEnsemble {
    fn default() -> Self {
        Self::new(Rules::Own)
    }
}

fn fresh(newest: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let age = now.millis() - newest.millis();
    if age > STALE { Err(Refusal::Stale { seconds: (age / 1000) as u64 }) } else { Ok(()) }
}

impl Settings {
    /// How many points a verdict takes; a shorter window of the own rules is enough once it is full.
    fn least(&self) -> usize {
        match self.rules {
            Rules::Skyline => SigmaEnsemble::LEAST,
            Rules::Own => SigmaEnsemble::LEAST.min(self.feed.window),
        }
    }

    fn guard(&self, memory: &SigmaMemory) -> Result<(), Refusal> {
        let window = memory.feed.window();
        let span = if self.full.is_some() {
            window.newest().map_or(0, Timestamp::millis) - window.iter().next().map_or(0, |(time, _)| time)
        } else {
            0
        };
        self.guard_series(window.len(), span, memory.same)
    }

    #[inline]
    fn guard_series(&self, n: usize, span: i64, same: u64) -> Result<(), Refusal> {
        let least = self.least();
        let span = Duration::from_millis(span.unsigned_abs());
        match self.full {
            _ if n == 0 => Err(Refusal::Empty),
            _ if n < least => Err(Refusal::TooShort { have: n as u64, need: least as u64 }),
            Some(full) if span < full => {
                Err(Refusal::Incomplete { have: span.as_secs(), need: full.as_secs() })
            }
            _ if self.rules == Rules::Skyline && same >= SigmaEnsemble::LEAST as u64 => {
                Err(Refusal::Boring { same })
            }
            _ => Ok(()),
        }
    }

    /// How strange the newest point is, as of what was learned before it.
    #[inline]
    fn newest(&self, memory: &SigmaMemory) -> Option<(Scale, Rareness)> {
        let window = memory.feed.window();
        if self.rules == Rules::Skyline || !memory.calibration.is_ready() || window.is_empty() {
            return None;
        }
        let scale = Scale::of(window);
        Some((scale, memory.calibration.judge(scale, window.last(), window.tail())))
    }

    fn critical(&self, n: usize) -> f64 {
        if n == self.feed.window { self.critical } else { grubbs::critical(n) }
    }

    fn ballots<S: Statistics>(&self, series: &S, subject: Statistic) -> Vec<Ballot> {
        let mut ballots = Vec::with_capacity(9 + self.tests.len());
        let x = match subject {
            Statistic::Last => series.last(),
            Statistic::Tail => series.tail(),
        };
        self.nine(series, subject, x).into_iter().for_each(|ballot| ballots.push(ballot));
        ballots.extend(self.tests.iter().map(|test| self.custom(test.as_ref(), series, x)));
        ballots
    }

    fn custom(&self, test: &dyn SeriesTest, series: &dyn Statistics, x: f64) -> Ballot {
        if test.applies_to(&self.namespace) {
            test.vote(series, x)
        } else {
            Ballot::abstain(test.name(), Abstention::NotForThis)
        }
    }

    #[inline]
    fn nine<S: Statistics>(&self, series: &S, subject: Statistic, x: f64) -> [Ballot; 9] {
        let critical = self.critical(series.len());
        if self.rules == Rules::Skyline {
            return skyline::votes(series, critical);
        }
        [
            histogram_bins::vote(series, x),
            first_hour_average::vote(series, x),
            stddev_from_average::vote(series, x),
            grubbs::vote(series, x, critical),
            ks_test::vote(series),
            mean_subtraction_cumulation::vote(series, x),
            median_absolute_deviation::vote(series, x),
            stddev_from_moving_average::vote(series, x),
            least_squares::vote(
                series,
                |line| if subject == Statistic::Last { line.last } else { line.tail },
            ),
        ]
    }

    fn assess<S: Statistics>(&self, series: &S, rareness: Option<Rareness>) -> SigmaAssessment {
        let subject = rareness.map_or(Statistic::Last, |rareness| rareness.subject);
        let ballots = self.ballots(series, subject);
        let verdict = self.verdict(&ballots, rareness);
        SigmaAssessment { ballots, verdict }
    }

    fn verdict(&self, ballots: &[Ballot], rareness: Option<Rareness>) -> Verdict {
        let Some(rareness) = rareness else {
            let score = ballots.iter().map(passes).fold(0.0, f64::max);
            return Verdict { score, anomalous: skyline::decide(ballots), p_value: None };
        };
        let count = |wanted: fn(Vote) -> bool| ballots.iter().filter(|ballot| wanted(ballot.vote)).count();
        let yes = count(|vote| vote == Vote::Yes) as f64;
        let able = count(|vote| !matches!(vote, Vote::Abstain(_))) as f64;
        // Votes that nobody can cast do not protect anybody.
        let agreed = yes >= self.consensus * able;
        told(rareness, agreed && rareness.rarity <= self.rarity)
    }

    /// The verdict on the newest point. There is no vote where it cannot matter.
    #[inline]
    fn judge<S: Statistics>(&self, series: &S, rareness: Option<Rareness>) -> Verdict {
        if let Some(rareness) = rareness.filter(|rareness| rareness.rarity > self.rarity) {
            return told(rareness, false);
        }
        let subject = rareness.map_or(Statistic::Last, |rareness| rareness.subject);
        if self.tests.is_empty() {
            let x = if subject == Statistic::Last { series.last() } else { series.tail() };
            self.verdict(&self.nine(series, subject, x), rareness)
        } else {
            self.verdict(&self.ballots(series, subject), rareness)
        }
    }
}

#[inline]
fn told(rareness: Rareness, anomalous: bool) -> Verdict {
    Verdict { score: -libm::log10(rareness.rarity), anomalous, p_value: Some(rareness.p) }
}

/// How many times over a test's reach was passed.
fn passes(ballot: &Ballot) -> f64 {
    let (Some(lower), Some(upper), Some(centre)) = (ballot.lower, ballot.upper, ballot.expected) else {
        return 0.0;
    };
    let reach = if ballot.actual > centre { upper - centre } else { centre - lower };
    let times = (ballot.actual - centre).abs() / reach;
    if times.is_nan() { 0.0 } else { times.min(1e9) }
}

impl SigmaMemory {
    /// # Panics
    /// Never: the window of the rules was checked when it was set.
    fn new(rules: &FeedRules) -> Self {
        let feed = Feed::new(rules).expect("a window that was checked");
        SigmaMemory { feed, calibration: Calibration::default(), same: 0 }
    }
}

impl Detector<Point> for SigmaEnsemble {
    fn judge(&self, x: &Point) -> Result<Verdict, Refusal> {
        self.clone().step(x)
    }

    fn learn(&mut self, x: &Point) {
        if self.take(x).is_ok() && self.settings.rules == Rules::Own {
            // What is an alarm is not learned as what is usual.
            let _ = self.judge_newest();
        }
    }

    fn step(&mut self, x: &Point) -> Result<Verdict, Refusal> {
        self.take(x)?;
        self.judge_newest()
    }

    fn explain(&self, x: &Point) -> Result<Explanation, Refusal> {
        let mut with = self.clone();
        with.take(x)?;
        with.prepare();
        let SigmaAssessment { ballots, verdict } = with.assess()?;
        let baseline = with.memory.feed.baseline();
        let value = with.memory.feed.window().last() + baseline;
        let mut evidence: Vec<Evidence> =
            ballots.iter().map(|ballot| evidence_of(ballot, baseline)).collect();
        let Some(NormalRange { lower, upper, .. }) = with.normal_range() else {
            let carrier = strongest(&ballots);
            return Ok(Explanation {
                carried_by: carrier.into(),
                evidence,
                counterfactual: None,
                change: None,
            });
        };
        evidence.insert(
            0,
            Evidence {
                statistic: "value".into(),
                actual: value,
                expected: Some(with.memory.feed.window().median() + baseline),
                lower: Some(lower),
                upper: Some(upper),
                exceeded: verdict.anomalous,
                p_value: verdict.p_value,
            },
        );
        let counterfactual = verdict.anomalous.then(|| Counterfactual {
            statistic: "value".into(),
            above: (value < lower).then_some(lower),
            below: (value > upper).then_some(upper),
        });
        let counterfactual = counterfactual.filter(|quiet| quiet.above.or(quiet.below).is_some());
        Ok(Explanation { carried_by: "value".into(), evidence, counterfactual, change: None })
    }
}

impl Footprint for SigmaEnsemble {
    fn bytes(&self) -> usize {
        SigmaEnsemble::bytes(self)
    }
}

/// A ballot on the scale of the series: tests of the value itself are shifted by the baseline.
fn evidence_of(ballot: &Ballot, baseline: f64) -> Evidence {
    let is_value = ![ks_test::NAME, least_squares::NAME].contains(&ballot.test);
    let shift = if is_value { baseline } else { 0.0 };
    let shifted = |bound: Option<f64>| bound.map(|bound| bound + shift);
    Evidence {
        statistic: Cow::Borrowed(ballot.test),
        actual: ballot.actual + shift,
        expected: shifted(ballot.expected),
        lower: shifted(ballot.lower),
        upper: shifted(ballot.upper),
        exceeded: ballot.vote == Vote::Yes,
        p_value: None,
    }
}

fn strongest(ballots: &[Ballot]) -> &'static str {
    let strongest = ballots.iter().max_by(|a, b| passes(a).total_cmp(&passes(b)));
    strongest.map_or("votes", |ballot| ballot.test)
}

impl Persist for SigmaEnsemble {
    type Memory = SigmaMemory;
    const KIND: &'static str = "sigma";
    const VERSION: u16 = 2;

    fn memory(&self) -> impl Serialize {
        &self.memory
    }

    fn restore(&mut self, memory: SigmaMemory) -> Result<()> {
        let SigmaMemory { feed, calibration, same } = &memory;
        let same_fits = *same <= feed.report().in_order;
        if !(feed.is_valid(&self.settings.feed) && calibration.is_valid() && same_fits) {
            let rule = "must be of an ensemble with this window, seasonality and rules";
            return Err(Error::invalid("sigma memory", rule, "another"));
        }
        self.memory = memory;
        Ok(())
    }
}
