//! How far the newest point is off, and what that is worth on this series.
//!
//! A deviation is measured in robust standard deviations from the median. Per statistic (last value, mean
//! of three) and side, [`Exceedances`] tell how probable one as large is.
//!
//! Of a run of rare points only the first is learned by them: a run is one event (declustering, as in
//! extreme-value statistics). It lasts until thirty points in a row are not rare, and four hours
//! of minutes at most, so that what has become usual is learned in the end.
//!
//! The lesser of the two probabilities, doubled, is how *rare* the point is, as far as four tails of two
//! numbers can tell. A [`Recurrence`] tells what that is worth, the p-value: it counts how often points
//! were as rare. Alarms alone are left out, so that they do not hide the next; not runs: in a series that
//! is on and off, it is the long runs that have to be known.

use crate::series::window::{Sliding, Statistics};
use crate::worth::exceedances::{self, Exceedances, NORMAL_EXCESS, SPARSE_EXCESS};
use crate::worth::recurrence::Recurrence;
use serde::{Deserialize, Serialize};

/// A deviation of a statistic from the median.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Deviation {
    /// In robust standard deviations, signed.
    z: f64,
    /// Its size, as tails have it.
    size: f64,
    /// How likely one as large is on this side, by the model of its tail.
    p: f64,
}

/// How strange a point is on its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rareness {
    /// Of the last value and of the mean of three.
    deviations: [Deviation; 2],
    /// How probable deviations as large are, by the model of their tails.
    pub(super) rarity: f64,
    /// What that is worth: how often points were as rare.
    pub(super) p: f64,
    /// The stranger of the two.
    pub(super) subject: Statistic,
}

/// What a point teaches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Lesson {
    /// The sizes of the deviations of the last value and of the mean of three; negative below.
    sizes: [f64; 2],
    rarity: f64,
    /// Whether either deviation alone is rare enough to begin a run.
    is_rare: bool,
    is_alarm: bool,
}

impl Rareness {
    /// What the point teaches, given from which probability on points are rare, and whether it was an
    /// alarm.
    #[inline]
    pub(super) fn lesson(self, rare: f64, is_alarm: bool) -> Lesson {
        Lesson {
            sizes: self.deviations.map(|deviation| deviation.size.copysign(deviation.z)),
            rarity: self.rarity,
            is_rare: either(self.deviations) <= rare,
            is_alarm,
        }
    }
}

impl Lesson {
    pub(super) fn is_valid(&self) -> bool {
        let most = exceedances::size(exceedances::LARGEST);
        self.sizes.iter().all(|size| size.abs() <= most) && (0.0..=1.0).contains(&self.rarity)
    }
}

/// What is needed to turn a value into a deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) centre: f64,
    /// A robust standard deviation; 0 when all other points have one value.
    pub(super) unit: f64,
    /// No lighter tail is believed.
    least_excess: f64,
}

/// The statistics whose deviations are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Statistic {
    Last,
    /// The mean of the last three.
    Tail,
}

impl Statistic {
    /// How many standard deviations of the statistic are one of a value, for independent values.
    fn gain(self) -> f64 {
        match self {
            Statistic::Last => 1.0,
            Statistic::Tail => 1.732_050_807_568_877_2,
        }
    }
}

impl Scale {
    /// From the median and its deviation, or the standard deviation of the other points where more
    /// than half of the values are the same.
    #[inline]
    pub(super) fn of(series: &(impl Statistics + ?Sized)) -> Self {
        let deviation = series.median_deviation();
        let (unit, least_excess) = if deviation > 0.0 {
            (1.4826 * deviation, NORMAL_EXCESS)
        } else {
            (series.earlier().map_or(0.0, |earlier| earlier.deviation), SPARSE_EXCESS)
        };
        Scale { centre: series.median(), unit, least_excess }
    }

    #[inline]
    fn z(self, statistic: Statistic, x: f64) -> f64 {
        let largest = exceedances::LARGEST;
        (statistic.gain() * (x - self.centre) / self.unit).clamp(-largest, largest)
    }
}

/// The sizes of z beyond a limit, below and above.
fn sides(z: impl Iterator<Item = f64>, limit: f64) -> [Vec<f64>; 2] {
    let mut sides = [Vec::with_capacity(512), Vec::with_capacity(512)];
    z.filter(|z| z.abs() > limit).for_each(|z| sides[usize::from(z > 0.0)].push(z.abs()));
    sides
}

/// The tails of both statistics, on both sides, and what they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Calibration {
    /// By statistic (last value, mean of three), then side (below, above).
    tails: [[Exceedances; 2]; 2],
    recurrence: Recurrence,
    is_ready: bool,
    /// How many points the run of rare ones has had so far; 0 when there is none.
    run: u32,
    /// How many points of the run were not rare since the last that was.
    quiet: u32,
}

/// A run is over after so many points that are not rare,
const QUIET: u32 = 30;
/// or after so many in all.
const LONGEST: u32 = 240;

impl Calibration {
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Starts from the points of a series, the newest left out.
    pub(super) fn start(&mut self, values: &[f64], scale: Scale) {
        let earlier = &values[..values.len().saturating_sub(1)];
        self.is_ready = true;
        if scale.unit == 0.0 {
            self.tails = [[Exceedances::start(Vec::new(), values.len()); 2]; 2];
            return;
        }
        let tails = |statistic, values: &[f64]| {
            // Of most series, far fewer than all are beyond one standard deviation, and enough.
            let far = sides(values.iter().map(|&x| scale.z(statistic, x)), 1.0);
            [0, 1].map(|side| {
                let z = if far[side].len() > Exceedances::in_tail(values.len()) {
                    far[side].clone()
                } else {
                    let all = sides(values.iter().map(|&x| scale.z(statistic, x)), 0.0);
                    all[side].clone()
                };
                Exceedances::start(z, values.len())
            })
        };
        let means: Vec<f64> = earlier.windows(3).map(|three| three.iter().sum::<f64>() / 3.0).collect();
        self.tails = [tails(Statistic::Last, earlier), tails(Statistic::Tail, &means)];
        // A few hundred are enough.
        let step = (means.len() / 256).max(1);
        for (last, &mean) in earlier[2.min(earlier.len())..].iter().zip(&means).step_by(step) {
            let rarity = either(supported(self.deviations(scale, *last, mean)));
            self.recurrence.learn(rarity);
        }
    }

    #[inline]
    fn tail(&self, statistic: Statistic, z: f64) -> &Exceedances {
        &self.tails[statistic as usize][usize::from(z > 0.0)]
    }

    /// How strange a point is whose value and mean of three these are.
    #[inline]
    pub(super) fn judge(&self, scale: Scale, last: f64, mean: f64) -> Rareness {
        let deviations = self.deviations(scale, last, mean);
        let [last, tail] = supported(deviations);
        let rarity = either([last, tail]);
        let subject = if tail.p < last.p { Statistic::Tail } else { Statistic::Last };
        Rareness { deviations, rarity, p: self.recurrence.p_value(rarity), subject }
    }

    #[inline]
    fn deviations(&self, scale: Scale, last: f64, mean: f64) -> [Deviation; 2] {
        let deviation = |statistic, x: f64| {
            let z = scale.z(statistic, x);
            let size = exceedances::size(z.abs());
            Deviation { z, size, p: self.tail(statistic, z).p_value(size, scale.least_excess) }
        };
        if scale.unit > 0.0 {
            return [deviation(Statistic::Last, last), deviation(Statistic::Tail, mean)];
        }
        // All other points have one value: any other value is the first of its kind.
        let p = if last == scale.centre { 1.0 } else { f64::MIN_POSITIVE };
        [p, 1.0].map(|p| Deviation { z: 0.0, size: 0.0, p })
    }

    /// The last values that have this probability by the model, below and above.
    pub(super) fn bounds(&self, scale: Scale, p: f64) -> (f64, f64) {
        let reach = |side: usize| {
            let size = self.tails[Statistic::Last as usize][side].score_at(p, scale.least_excess);
            scale.unit * exceedances::deviation(size)
        };
        (scale.centre - reach(0), scale.centre + reach(1))
    }

    /// Learns how strange a point was.
    #[inline]
    pub(super) fn learn(&mut self, Lesson { sizes, rarity, is_rare, is_alarm }: Lesson) {
        if !is_alarm {
            self.recurrence.learn(rarity);
        }
        self.quiet = if is_rare { 0 } else { self.quiet.saturating_add(1) };
        if self.run > 0 && self.quiet < QUIET && self.run < LONGEST {
            self.run += 1;
            return;
        }
        self.run = u32::from(is_rare);
        for (sides, size) in self.tails.iter_mut().zip(sizes) {
            let above = usize::from(size > 0.0);
            sides[above].learn(size.abs());
            sides[1 - above].learn(0.0);
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.tails.iter().flatten().all(Exceedances::is_valid) && self.recurrence.is_valid()
    }
}

/// The probability of one of two deviations.
#[inline]
fn either([last, tail]: [Deviation; 2]) -> f64 {
    (2.0 * last.p.min(tail.p)).min(1.0)
}

/// The mean of three counts for nothing unless the newest value carries at least half of its deviation:
/// what comes after a spike is not strange.
#[inline]
fn supported([last, tail]: [Deviation; 2]) -> [Deviation; 2] {
    let carried = last.z * tail.z.signum() >= 0.5 * tail.z.abs() / Statistic::Tail.gain();
    [last, if carried { tail } else { Deviation { p: 1.0, ..tail } }]
}

/// The values of a window, oldest first.
pub(super) fn values_of(series: &Sliding) -> Vec<f64> {
    series.iter().map(|(_, value)| value).collect()
}
