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

mod assessment;
mod ballot;
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

use assessment::{Subject, either, supported};
use evidence::{evidence_of, strongest};
use settings::{Rules, Settings, fresh};

use super::feed::{Counters, Duplicates, Feed, FeedRules, Seasonality, Taken};
use super::point::Point;
use super::range::NormalRange;
use super::window::{Batch, Scaling, Sliding, Statistics};
use crate::contract::{
    Counterfactual, Detector, Evidence, Explanation, Footprint, Persist, Refusal, Verdict,
};
use crate::worth::exceedances::{Calibration, Deviation, Scale, values_of};
use peak_core::{Error, Result, Timestamp};
use serde::Serialize;
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

    /// How rare a deviation must be for an alarm: its probability, at a point where nothing is wrong.
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
        let deviations = self.settings.deviations(&self.memory);
        Ok(self.settings.assess(window, deviations.as_ref().map(|(_, deviations)| supported(*deviations))))
    }

    /// All votes, whether or not there is a basis for a verdict: for comparisons with recordings.
    #[must_use]
    pub fn ballots(&self) -> Vec<Ballot> {
        let window = self.memory.feed.window();
        if window.is_empty() { Vec::new() } else { self.settings.ballots(window, Subject::Last) }
    }

    /// Outside of this range the newest value would have been rare enough for an alarm, in the units of
    /// the series (of its rate, for a counter). `None` as long as there is no verdict.
    #[must_use]
    pub fn normal_range(&self) -> Option<NormalRange> {
        let (scale, _) = self.settings.deviations(&self.memory)?;
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
            let mut calibration = Calibration::default();
            let scale = Scale::of(&series);
            let deviations = (self.settings.rules == Rules::Own).then(|| {
                calibration.start(values, scale);
                supported(calibration.judge(scale, series.last(), series.tail()))
            });
            self.settings.assess(&series, deviations)
        }))
    }

    /// All votes on a whole series, whether or not there is a basis for a verdict.
    ///
    /// # Errors
    /// When the points are no series.
    pub fn vote_on_series(&self, times: &[Timestamp], values: &[f64], now: Timestamp) -> Result<Vec<Ballot>> {
        let series = Batch::scaled(times, values, now, self.settings.feed.scaling)?;
        Ok(self.settings.ballots(&series, Subject::Last))
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

    /// Learns how large the newest point's deviations are.
    #[inline]
    fn learn_tails(&mut self, deviations: Option<(Scale, [Deviation; 2])>) {
        let Some((_, deviations)) = deviations else { return };
        let is_rare = either(deviations) <= self.settings.rarity;
        self.memory.calibration.learn(deviations, is_rare);
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

impl Detector<Point> for SigmaEnsemble {
    fn judge(&self, x: &Point) -> Result<Verdict, Refusal> {
        self.clone().step(x)
    }

    fn learn(&mut self, x: &Point) {
        if self.take(x).is_ok() {
            self.prepare();
            self.learn_tails(self.settings.deviations(&self.memory));
        }
    }

    fn step(&mut self, x: &Point) -> Result<Verdict, Refusal> {
        self.take(x)?;
        self.prepare();
        let deviations = self.settings.deviations(&self.memory);
        let verdict = self.settings.guard(&self.memory).map(|()| {
            let deviations = deviations.as_ref().map(|(_, deviations)| supported(*deviations));
            self.settings.judge(self.memory.feed.window(), deviations)
        });
        self.learn_tails(deviations);
        verdict
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

impl Persist for SigmaEnsemble {
    type Memory = SigmaMemory;
    const KIND: &'static str = "sigma";
    const VERSION: u16 = 1;

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
