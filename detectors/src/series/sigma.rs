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
//!   rates; what kind of series it is can be [declared](SigmaEnsemble::with_kind).
//!
//! The score is −log₁₀ of that rarity. The p-value is what it is worth: how often points of this
//! series were as rare, alarms left out. Over time, of the points that are no alarms about one in
//! a hundred have a p-value of at most 0.01, whatever the series; where values are discrete or stay for
//! long, fewer. The decision does not look at it: on a series that is on and off an alarm may have a
//! large one, and little [`severity`](crate::severity()).
//!
//! The window holds the point in question, as in the original, so that short windows find less.

mod assessment;
mod ballot;
mod deviations;
mod evidence;
mod first_hour_average;
mod grubbs;
mod histogram_bins;
mod ks_test;
mod least_squares;
mod mean_subtraction_cumulation;
mod median_absolute_deviation;
mod memory;
mod settings;
mod skyline;
mod stationarity;
mod stddev_from_average;
mod stddev_from_moving_average;

pub use assessment::SigmaAssessment;
pub use ballot::{Abstention, Ballot, SeriesTest, Vote};
pub use memory::SigmaMemory;

use deviations::{Calibration, Scale, Statistic, values_of};
use evidence::explanation;
use settings::{Config, Preset, Settings, fresh};

use super::feed::{Duplicates, Feed, FeedRules, Kind, Seasonality};
use super::point::Point;
use super::range::NormalRange;
use super::window::{Batch, Scaling, Sliding, Statistics};
use crate::contract::{Detector, Explanation, Footprint, Persist, Refusal, Told, Verdict, Wanted};
use peak_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
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
/// [`judge`](Detector::judge) does the same on a copy of the window. The point that was just learned can
/// still be [explained](Detector::explain), as it was judged.
///
/// As data it is its configuration alone, checked on the way in; what is not there is as usual. Tests of
/// one's own are code, and not part of it.
///
/// ```
/// use peak_detectors::SigmaEnsemble;
///
/// let read = |text| serde_json::from_str::<SigmaEnsemble>(text);
/// let requests = read(r#"{"kind": "counter", "seasonality": {"weekly": "Europe/Berlin"}}"#).unwrap();
/// let mut hourly = read(r#"{"preset": "skyline", "window": 168}"#).unwrap();
/// hourly.set_namespace("requests.hourly"); // a setting of a running detector: nothing is forgotten
/// assert!(read(r#"{"rarity": 0.5}"#).is_err() && read(r#"{"windows": 288}"#).is_err());
/// # let _ = requests;
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Config", into = "Config")]
pub struct SigmaEnsemble {
    settings: Arc<Settings>,
    memory: SigmaMemory,
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

    fn new(preset: Preset) -> Self {
        let (scaling, kind) = match preset {
            Preset::Skyline => (Scaling::Fixed, Kind::Gauge),
            Preset::Own => (Scaling::WithResolution, Kind::Recognised),
        };
        let feed = FeedRules {
            window: Self::WINDOW,
            scaling,
            lateness: 0,
            duplicates: Duplicates::default(),
            kind,
            seasonality: None,
        };
        let settings = Settings {
            preset,
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
        Self::new(Preset::Skyline)
    }

    fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        change(Arc::make_mut(&mut self.settings));
    }

    /// Changes what the window holds, so that it starts empty.
    fn anew(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        self.set(change);
        self.memory = SigmaMemory::new(&self.settings.feed);
        self
    }

    /// A window of so many points; it starts empty.
    ///
    /// # Errors
    /// When it is not from 3 to 65,535 points.
    pub fn with_window(self, points: usize) -> Result<Self> {
        Sliding::new(points, self.settings.feed.scaling)?;
        Ok(self.anew(|settings| {
            settings.feed.window = points;
            settings.critical = grubbs::critical(points);
        }))
    }

    /// What kind of series it is; the window starts empty. Unless told otherwise, counters are recognised
    /// by the own rules, and are nothing special for [`skyline`](Self::skyline).
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Self {
        self.anew(|settings| settings.feed.kind = kind)
    }

    /// Takes a seasonal baseline off before the vote; the window starts empty. The baseline is learned as
    /// points come; a verdict takes one day of history first.
    #[must_use]
    pub fn with_seasonality(self, seasonality: Seasonality) -> Self {
        self.anew(|settings| settings.feed.seasonality = Some(seasonality))
    }

    /// See [`set_consensus`](Self::set_consensus).
    ///
    /// # Errors
    /// As there.
    pub fn with_consensus(mut self, share: f64) -> Result<Self> {
        self.set_consensus(share)?;
        Ok(self)
    }

    /// The share of the able tests that must vote yes. Not for [`skyline`](Self::skyline), which has
    /// its own consensus.
    ///
    /// # Errors
    /// When it is not above 0 and at most 1.
    pub fn set_consensus(&mut self, share: f64) -> Result<()> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::invalid("consensus", "must be above 0 and at most 1", share));
        }
        self.set(|settings| settings.consensus = share);
        Ok(())
    }

    /// See [`set_rarity`](Self::set_rarity).
    ///
    /// # Errors
    /// As there.
    pub fn with_rarity(mut self, probability: f64) -> Result<Self> {
        self.set_rarity(probability)?;
        Ok(self)
    }

    /// How rare a deviation must be for an alarm: its probability by the tails that were learned of this
    /// series. They have two numbers each and are not exact; what they are worth on this series is the
    /// verdict's p-value, which decides nothing.
    ///
    /// # Errors
    /// When it is not above 0 and at most 0.01.
    pub fn set_rarity(&mut self, probability: f64) -> Result<()> {
        if !(probability > 0.0 && probability <= 0.01) {
            return Err(Error::invalid("rarity", "must be above 0 and at most 0.01", probability));
        }
        self.set(|settings| settings.rarity = probability);
        Ok(())
    }

    /// See [`set_lateness`](Self::set_lateness).
    #[must_use]
    pub fn with_lateness(mut self, lateness: Duration) -> Self {
        self.set_lateness(lateness);
        self
    }

    /// Inserts points that come up to this much later than the newest; 0 unless told otherwise. That
    /// costs as much as a window. They get no verdict; later ones are counted and refused.
    pub fn set_lateness(&mut self, lateness: Duration) {
        let lateness = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        self.set(|settings| settings.feed.lateness = lateness);
    }

    /// See [`set_duplicates`](Self::set_duplicates).
    #[must_use]
    pub fn with_duplicates(mut self, duplicates: Duplicates) -> Self {
        self.set_duplicates(duplicates);
        self
    }

    /// What becomes of a second point at the same time; it gets no verdict.
    pub fn set_duplicates(&mut self, duplicates: Duplicates) {
        self.set(|settings| settings.feed.duplicates = duplicates);
    }

    /// See [`set_full_duration`](Self::set_full_duration).
    #[must_use]
    pub fn with_full_duration(mut self, duration: Duration) -> Self {
        self.set_full_duration(Some(duration));
        self
    }

    /// Refuses verdicts while the points span less than this; `None` unless told otherwise.
    pub fn set_full_duration(&mut self, duration: Option<Duration>) {
        self.set(|settings| settings.full = duration);
    }

    /// See [`set_namespace`](Self::set_namespace).
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.set_namespace(namespace);
        self
    }

    /// Names the series, for tests that are not for all.
    pub fn set_namespace(&mut self, namespace: impl Into<String>) {
        let namespace = namespace.into();
        self.set(|settings| settings.namespace = namespace);
    }

    /// See [`add_test`](Self::add_test).
    #[must_use]
    pub fn with_test(mut self, test: impl SeriesTest + 'static) -> Self {
        self.add_test(test);
        self
    }

    /// One test more.
    pub fn add_test(&mut self, test: impl SeriesTest + 'static) {
        self.set(|settings| settings.tests.push(Arc::new(test)));
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
        let newest = self.memory.feed.newest().ok_or(Refusal::Empty)?;
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
        let mut calibration = self.memory.calibration;
        self.memory.lesson.into_iter().for_each(|lesson| calibration.learn(lesson));
        let (lower, upper) = calibration.bounds(scale, self.settings.rarity / 2.0);
        let baseline = self.memory.feed.baseline();
        let per_second = self.memory.feed.is_counter();
        Some(NormalRange { lower: lower + baseline, upper: upper + baseline, baseline, per_second })
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
            let rareness = (self.settings.preset == Preset::Own).then(|| {
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

    /// Takes a point in, and says what became of it. The tails learn of the point before, unless they are
    /// those of another kind of series.
    #[inline]
    fn take(&mut self, point: &Point) -> Result<(), Refusal> {
        let SigmaMemory { feed, calibration, same, lesson } = &mut self.memory;
        let (before, was_counter) = (feed.window().len(), feed.is_counter());
        let last = if before == 0 { f64::NAN } else { feed.window().last() };
        let taken = feed.take(point, &self.settings.feed);
        if matches!(taken, Err(Refusal::NotFinite | Refusal::Late | Refusal::Duplicate)) {
            return taken;
        }
        if let Some(lesson) = lesson.take() {
            calibration.learn(lesson);
        }
        if feed.is_counter() != was_counter {
            *calibration = Calibration::default();
        }
        if taken.is_ok() {
            let is_same = feed.window().last() == last && feed.window().len() >= before;
            *same = if is_same { *same + 1 } else { 1 };
        }
        taken
    }

    /// Judges the newest point, and keeps in mind how strange it was.
    #[inline]
    fn judge_newest(&mut self) -> Result<Verdict, Refusal> {
        self.prepare();
        let rareness = self.settings.newest(&self.memory).map(|(_, rareness)| rareness);
        let guarded = self.settings.guard(&self.memory);
        let verdict = guarded.map(|()| self.settings.judge(self.memory.feed.window(), rareness));
        let is_alarm = verdict.is_ok_and(|verdict| verdict.anomalous);
        self.memory.lesson = rareness.map(|rareness| rareness.lesson(self.settings.rarity, is_alarm));
        verdict
    }

    /// Rarity is measured from the first points that a verdict takes.
    #[inline]
    fn prepare(&mut self) {
        let memory = &mut self.memory;
        let window = memory.feed.window();
        if self.settings.preset == Preset::Own
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
        Self::new(Preset::Own)
    }
}

impl Detector<Point> for SigmaEnsemble {
    fn judge(&self, x: &Point) -> Result<Verdict, Refusal> {
        self.clone().step(x)
    }

    fn learn(&mut self, x: &Point) {
        if self.take(x).is_ok() && self.settings.preset == Preset::Own {
            // What is an alarm is not learned as what is usual.
            let _ = self.judge_newest();
        }
    }

    fn step(&mut self, x: &Point) -> Result<Verdict, Refusal> {
        self.take(x)?;
        self.judge_newest()
    }

    /// What was just learned can still be explained, so that no window is copied to judge.
    fn step_told(&mut self, x: &Point, wanted: &Wanted<'_>) -> Result<Told, Refusal> {
        let verdict = self.step(x)?;
        let explanation = wanted(&verdict).then(|| self.explain(x));
        Ok(Told::new(verdict, explanation))
    }

    /// The newest point, which was learned already, is explained as it was judged. Another second point at
    /// a time is refused.
    fn explain(&self, x: &Point) -> Result<Explanation, Refusal> {
        let mut with = self.clone();
        match self.memory.feed.again(x) {
            Some(taken) => {
                taken?;
                with.memory.lesson = None;
            }
            None => {
                with.take(x)?;
                with.prepare();
            }
        }
        Ok(explanation(&with.assess()?, &with.memory.feed, with.normal_range()))
    }
}

impl Footprint for SigmaEnsemble {
    fn bytes(&self) -> usize {
        SigmaEnsemble::bytes(self)
    }
}

impl Persist for SigmaEnsemble {
    type Memory = SigmaMemory;
    const KIND: &'static str = "sigma";
    const VERSION: u16 = 2;

    fn memory(&self) -> impl Serialize {
        &self.memory
    }

    fn restore(&mut self, memory: SigmaMemory) -> Result<()> {
        let SigmaMemory { feed, calibration, same, lesson } = &memory;
        let lesson_fits = lesson.is_none_or(|lesson| calibration.is_ready() && lesson.is_valid());
        let same_fits = *same <= feed.report().in_order;
        if !(feed.is_valid(&self.settings.feed) && calibration.is_valid() && same_fits && lesson_fits) {
            let rule = "must be of an ensemble with this window, seasonality and rules";
            return Err(Error::invalid("sigma memory", rule, "another"));
        }
        self.memory = memory;
        Ok(())
    }
}
