//! What tests read from a series.

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
pub trait Statistics {
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

/// What remains of a weight after a step of the moving average.
pub(super) const DECAY: f64 = 50.0 / 51.0;

/// The two-sample distance of sorted values: the largest difference of their distribution functions.
pub(super) fn distance_of_sorted(a: &[f64], b: &[f64]) -> f64 {
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

pub(super) fn tail_of(last: f64, before: f64, before_that: f64) -> f64 {
    ((last + before) + before_that) / 3.0
}

/// The factor that corrects a variance under n weights b⁰ … bⁿ⁻¹ for bias, W²/(W² − Σw²).
pub(super) fn bias_correction(power: f64) -> f64 {
    let sum = (1.0 - power) / (1.0 - DECAY);
    let squares = (1.0 - power * power) / (1.0 - DECAY * DECAY);
    sum * sum / (sum * sum - squares)
}
