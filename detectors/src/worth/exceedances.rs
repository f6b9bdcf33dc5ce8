//! What a deviation is worth, learned from how large deviations were before.
//!
//! A deviation z, in robust standard deviations from the median, counts as s = ln(1 + z/5). Per
//! statistic (last value, mean of three) and side, the top two percent of s are tracked: the level u
//! that two percent exceed (Robbins and Monro, 1951), the share r that did, and the mean excess h above
//! it. An exponential tail in s is a power tail in z far out, and about exponential below 5, so that
//! beyond u
//!
//! ```text
//! P(S > s) = r · exp(−(s − u)/h)
//! ```
//!
//! h never counts as less than for a normal distribution, [`NORMAL_EXCESS`], or, where more than half
//! of the values are the same, for sparse counts, [`SPARSE_EXCESS`]: a lighter tail is not believed.
//! Heavy tails raise h, and lognormal noise does not alarm where normal noise would.
//!
//! Of a run of anomalous points only the first is learned: a run is one event (declustering, as in
//! extreme-value statistics). It lasts until thirty points in a row are not anomalous, and four hours
//! of minutes at most, so that what has become usual is learned in the end. No excess counts for more than three mean ones, so that what is found now
//! and then does not hide the next.

use crate::series::{Sliding, Statistics};
use serde::{Deserialize, Serialize};

/// The share of deviations that make the tail.
const SHARE: f64 = 0.02;
/// Up to so many standard deviations, tails are taken as about exponential.
const KNEE: f64 = 5.0;
/// The mean excess of s above its 98 % point, for normal z.
const NORMAL_EXCESS: f64 = 0.05;
/// The same for sparse counts, whose excess is measured badly: their values are far apart.
const SPARSE_EXCESS: f64 = 0.075;
/// An excess counts for at most so many mean ones: of a true tail that hardly takes anything away.
const CUT: f64 = 3.0;
/// A tail starts as if it had so many excesses of a normal distribution more.
const PRIOR: f64 = 10.0;
/// Beyond any doubt is far enough.
const LARGEST_Z: f64 = 1e9;
/// Older deviations are forgotten, slowly.
const MEMORY: u32 = 5_000;

/// The tail of one statistic on one side.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Tail {
    level: f64,
    excess: f64,
    rate: f64,
    seen: u32,
    above: u32,
}

impl Tail {
    /// Starts from the z of `n` points on this side; those that cannot be in the tail may be left out.
    fn start(mut z: Vec<f64>, n: usize) -> Self {
        let k = in_tail(n);
        let (over, level) = match z.len().checked_sub(k + 1) {
            Some(rest) => {
                let (_, level, over) = z.select_nth_unstable_by(rest, f64::total_cmp);
                (over.to_vec(), strangeness(*level))
            }
            None => (z, 0.0),
        };
        let mut over: Vec<f64> =
            over.iter().map(|&z| strangeness(z) - level).filter(|&over| over > 0.0).collect();
        over.sort_unstable_by(f64::total_cmp);
        // The mean excess as told by its median, for an exponential tail.
        let typical = over.get(over.len() / 2).map_or(0.0, |median| median / std::f64::consts::LN_2);
        let cut = CUT * typical.max(NORMAL_EXCESS);
        let sum = over.iter().map(|over| over.min(cut)).sum::<f64>();
        let excess = (sum + PRIOR * NORMAL_EXCESS) / (over.len() as f64 + PRIOR);
        let rate = over.len() as f64 / n.max(1) as f64;
        Tail { level, excess, rate, seen: n as u32, above: over.len() as u32 }
    }

    #[inline]
    fn p(&self, s: f64, least_excess: f64) -> f64 {
        let rate = self.rate.max(1.0 / f64::from(self.seen + 1)).min(0.5);
        if s <= self.level {
            return 1.0 - (1.0 - rate) * s / self.level.max(f64::MIN_POSITIVE);
        }
        rate * (-(s - self.level) / self.excess.max(least_excess)).exp()
    }

    /// The deviation that has this probability.
    fn at(&self, p: f64, least_excess: f64) -> f64 {
        let rate = self.rate.max(1.0 / f64::from(self.seen + 1)).min(0.5);
        self.level + (rate / p).ln().max(0.0) * self.excess.max(least_excess)
    }

    #[inline]
    fn learn(&mut self, s: f64) {
        self.seen = (self.seen + 1).min(MEMORY);
        let n = f64::from(self.seen);
        let over = s - self.level;
        let is_above = over > 0.0;
        self.rate += (f64::from(u8::from(is_above)) - self.rate) / n;
        let excess = self.excess.max(NORMAL_EXCESS);
        let step = excess / (SHARE * n);
        if is_above {
            self.above = (self.above + 1).min((SHARE * f64::from(MEMORY)) as u32);
            self.excess += (over.min(CUT * excess) - self.excess) / f64::from(self.above + 1);
            self.level += (1.0 - SHARE) * step.min(over / (1.0 - SHARE));
        } else {
            self.level = (self.level - SHARE * step).max(0.0);
        }
    }
}

/// How many of n points make the tail: of few points, two percent are too few to measure.
fn in_tail(n: usize) -> usize {
    (n / 50).max(10).min(n / 2)
}

/// The sizes of z beyond a limit, below and above.
fn sides(z: impl Iterator<Item = f64>, limit: f64) -> [Vec<f64>; 2] {
    let mut sides = [Vec::with_capacity(512), Vec::with_capacity(512)];
    z.filter(|z| z.abs() > limit).for_each(|z| sides[usize::from(z > 0.0)].push(z.abs()));
    sides
}

/// A deviation of a statistic from the median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deviation {
    /// In robust standard deviations, signed.
    pub(crate) z: f64,
    /// How likely one as large is.
    pub(crate) p: f64,
}

impl Deviation {
    pub(crate) fn is_valid(&self) -> bool {
        self.z.abs() <= LARGEST_Z && (0.0..=1.0).contains(&self.p)
    }
}

/// What is needed to turn a value into a deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    pub(crate) centre: f64,
    /// A robust standard deviation; 0 when all other points have one value.
    pub(crate) unit: f64,
    least_excess: f64,
}

/// The statistics whose deviations are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistic {
    Last,
    /// The mean of the last three.
    Tail,
}

impl Statistic {
    /// How many standard deviations of the statistic are one of a value, for independent values.
    pub(crate) fn gain(self) -> f64 {
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
    pub(crate) fn of(series: &(impl Statistics + ?Sized)) -> Self {
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
        (statistic.gain() * (x - self.centre) / self.unit).clamp(-LARGEST_Z, LARGEST_Z)
    }
}

#[inline]
fn strangeness(z: f64) -> f64 {
    (1.0 + z.abs() / KNEE).ln()
}

/// The tails of both statistics, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// By statistic (last value, mean of three), then side (below, above).
    tails: [[Tail; 2]; 2],
    is_ready: bool,
    /// How many points the run of anomalous ones has had so far; 0 when there is none.
    run: u32,
    /// How many points of the run were not anomalous since the last that was.
    quiet: u32,
}

/// A run is over after so many points that are not anomalous,
const QUIET: u32 = 30;
/// or after so many in all.
const LONGEST: u32 = 240;

impl Calibration {
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Starts from the points of a series, the newest left out.
    pub(crate) fn start(&mut self, values: &[f64], scale: Scale) {
        let earlier = &values[..values.len().saturating_sub(1)];
        let tails = |statistic, values: &[f64]| {
            // Of most series, far fewer than all are beyond one standard deviation, and enough.
            let far = sides(values.iter().map(|&x| scale.z(statistic, x)), 1.0);
            [0, 1].map(|side| {
                let z = if far[side].len() > in_tail(values.len()) {
                    far[side].clone()
                } else {
                    let all = sides(values.iter().map(|&x| scale.z(statistic, x)), 0.0);
                    all[side].clone()
                };
                Tail::start(z, values.len())
            })
        };
        self.is_ready = true;
        if scale.unit > 0.0 {
            let means: Vec<f64> = earlier.windows(3).map(|three| three.iter().sum::<f64>() / 3.0).collect();
            self.tails = [tails(Statistic::Last, earlier), tails(Statistic::Tail, &means)];
        } else {
            self.tails = [[Tail { seen: values.len() as u32, ..Tail::default() }; 2]; 2];
        }
    }

    #[inline]
    fn tail(&self, statistic: Statistic, z: f64) -> &Tail {
        &self.tails[statistic as usize][usize::from(z > 0.0)]
    }

    /// The deviations of the last value and of the mean of three.
    #[inline]
    pub(crate) fn judge(&self, scale: Scale, last: f64, mean: f64) -> [Deviation; 2] {
        let judge = |statistic, x: f64| {
            let z = scale.z(statistic, x);
            Deviation { z, p: self.tail(statistic, z).p(strangeness(z), scale.least_excess) }
        };
        [judge(Statistic::Last, last), judge(Statistic::Tail, mean)]
    }

    /// The last values that have this probability, below and above.
    pub(crate) fn bounds(&self, scale: Scale, p: f64) -> (f64, f64) {
        let reach = |side: usize| {
            scale.unit * KNEE * self.tails[Statistic::Last as usize][side].at(p, scale.least_excess).exp_m1()
        };
        (scale.centre - reach(0), scale.centre + reach(1))
    }

    /// Learns the newest point's deviations.
    #[inline]
    pub(crate) fn learn(&mut self, deviations: [Deviation; 2], is_anomalous: bool) {
        self.quiet = if is_anomalous { 0 } else { self.quiet.saturating_add(1) };
        if self.run > 0 && self.quiet < QUIET && self.run < LONGEST {
            self.run += 1;
            return;
        }
        self.run = u32::from(is_anomalous);
        for (sides, deviation) in self.tails.iter_mut().zip(deviations) {
            let s = strangeness(deviation.z);
            let above = usize::from(deviation.z > 0.0);
            sides[above].learn(s);
            sides[1 - above].learn(0.0);
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        let most = strangeness(LARGEST_Z);
        let is_tail = |tail: &Tail| {
            (0.0..=most).contains(&tail.level)
                && (0.0..=most).contains(&tail.excess)
                && (0.0..=1.0).contains(&tail.rate)
                && tail.seen.max(tail.above) as usize <= Sliding::MOST
        };
        self.tails.iter().flatten().all(is_tail)
    }
}

/// The values of a window, oldest first.
pub(crate) fn values_of(series: &Sliding) -> Vec<f64> {
    series.iter().map(|(_, value)| value).collect()
}
