//! Series: points in time, the sliding window over the newest of them, and what tests read from it.
//!
//! The same statistics come in two forms. [`Batch`] computes them from slices, in several passes;
//! [`Sliding`] keeps them up to date point by point. Whatever is built on [`Summary`] gives the same
//! answers on both.

mod batch;
mod counter;
mod feed;
mod ranks;
mod seasonal;
mod sliding;
pub(crate) mod sum;

pub use batch::Batch;
pub use feed::{Duplicates, Feed, FeedReport};
pub use seasonal::Seasonality;
pub use sliding::Sliding;

pub(crate) use feed::{Counters, FeedRules, Taken};
pub(crate) use seasonal::{QUARTER, Seasonal, clock_offset};

use peak_core::Timestamp;
use serde::{Deserialize, Serialize};

/// One measurement of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When it was measured: event time.
    pub time: Timestamp,
    /// What was measured.
    pub value: f64,
}

impl Point {
    /// Values of this magnitude and above are refused: the sums of their squares would not be finite.
    pub const LIMIT: f64 = 1e100;

    /// The value at a time.
    #[must_use]
    pub fn new(time: Timestamp, value: f64) -> Self {
        Point { time, value }
    }

    /// Whether the value is a number, and below [`LIMIT`](Self::LIMIT) in magnitude.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.value.abs() < Self::LIMIT
    }
}

/// A location and a standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

/// The residuals of the least-squares line on time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The residual of the newest point.
    pub last: f64,
    /// The mean residual of the last three points.
    pub tail: f64,
    /// The sample standard deviation of all residuals.
    pub deviation: f64,
}

/// What tests read from a series of at least one point, the newest included.
///
/// Standard deviations of identical values are exactly 0, also where sums are kept running.
pub trait Summary {
    /// The number of points.
    fn len(&self) -> usize;

    /// Whether there is no point.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of the newest point.
    fn last(&self) -> f64;

    /// The mean of the last three values; the last value when there are fewer.
    fn tail(&self) -> f64;

    /// The mean, and the sample standard deviation (n − 1; not a number for a single point).
    fn all(&self) -> Spread;

    /// The mean and population standard deviation of all points but the newest; `None` when there is
    /// no other.
    fn earlier(&self) -> Option<Spread>;

    /// The points of the first hour of the last day: how many, their mean and sample deviation.
    fn first_hour(&self) -> (usize, Spread);

    /// The mean and deviation under exponential weights, 50/51 a step, the deviation corrected for bias.
    fn moving(&self) -> Spread;

    /// The median.
    fn median(&self) -> f64;

    /// The median absolute deviation from the median, without any factor.
    fn median_deviation(&self) -> f64;

    /// The smallest value.
    fn least(&self) -> f64;

    /// The largest value.
    fn greatest(&self) -> f64;

    /// How many values fall into one of [`BINS`] equal bins between the smallest and largest value, see [`bin`].
    fn count_in_bin(&self, bin: usize) -> usize;

    /// The least-squares line on time; `None` for fewer than three points.
    fn line(&self) -> Option<Line>;

    /// How many points the reference and the probe of the two-sample test have.
    fn recent(&self) -> (usize, usize);

    /// The Kolmogorov–Smirnov distance of reference and probe where it exceeds `limit`; otherwise
    /// some number that does not.
    fn distance(&self, limit: f64) -> f64;

    /// The values of the reference, in order of time.
    fn reference(&self) -> Vec<f64>;
}

/// How many bins the histogram has.
pub const BINS: usize = 15;

/// The bin of a value between `least` and `greatest`, the last one when all values are the same.
#[must_use]
pub fn bin(x: f64, least: f64, greatest: f64) -> usize {
    let scaled = BINS as f64 * (x - least) / (greatest - least);
    if scaled.is_nan() { BINS - 1 } else { (scaled as usize).min(BINS - 1) }
}

/// Rates and residuals of usable values are smaller.
const LARGEST: f64 = 1e110;

/// What remains of a weight after a step of the moving average.
pub(crate) const DECAY: f64 = 50.0 / 51.0;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// The lengths of the parts of a window, in milliseconds.
///
/// Upstream they are an hour, and ten minutes after fifty. On a coarse series these hold too few
/// points for anything, so that they may be stretched with the resolution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lengths {
    hour: i64,
    probe: i64,
    both: i64,
}

/// How the lengths depend on the resolution of the series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scaling {
    /// Not at all.
    Fixed,
    /// Long enough for [`Lengths::POINTS`] points; the hour is half a day at most.
    WithResolution,
}

impl Lengths {
    const FIXED: Lengths = Lengths { hour: HOUR, probe: HOUR / 6, both: HOUR };
    /// How many points the hour and the probe hold at least.
    const POINTS: i64 = 30;

    fn new(scaling: Scaling, resolution: i64) -> Self {
        match scaling {
            Scaling::Fixed => Self::FIXED,
            Scaling::WithResolution => {
                let probe = (HOUR / 6).max(Self::POINTS * resolution);
                let hour = HOUR.max(Self::POINTS * resolution).min(DAY / 2);
                Lengths { hour, probe, both: 6 * probe }
            }
        }
    }
}

/// The most frequent step between points, the shortest of several; 0 when there is none.
fn modal(gaps: &mut [u32]) -> i64 {
    gaps.sort_unstable();
    let runs = gaps.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0]));
    let longest = runs.reduce(|best, run| if run.0 > best.0 { run } else { best });
    longest.map_or(0, |(_, gap)| i64::from(gap))
}

/// The two-sample distance of sorted values: the largest difference of their distribution functions.
fn distance_of_sorted(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut distance) = (0, 0, 0f64);
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        while i < a.len() && a[i] <= x {
            i += 1;
        }
        while j < b.len() && b[j] <= x {
            j += 1;
        }
        distance = distance.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    distance
}

fn tail_of(last: f64, before: f64, before_that: f64) -> f64 {
    ((last + before) + before_that) / 3.0
}

/// The factor that corrects a variance under n weights b⁰ … bⁿ⁻¹ for bias, W²/(W² − Σw²).
fn bias_correction(power: f64) -> f64 {
    let sum = (1.0 - power) / (1.0 - DECAY);
    let squares = (1.0 - power * power) / (1.0 - DECAY * DECAY);
    sum * sum / (sum * sum - squares)
}
