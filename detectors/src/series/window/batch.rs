//! Statistics of a whole series at once.

use super::lengths::{DAY, Lengths, Scaling, modal};
use super::statistics::{BINS, DECAY, Line, Spread, Statistics};
use super::statistics::{bias_correction, bin, distance_of_sorted, tail_of};
use crate::series::point::Point;
use peak_core::{Error, Result, Timestamp};

/// A series in memory, with everything in [`Statistics`] computed from it in a few passes.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::series::{Batch, Statistics};
///
/// let times: Vec<_> = (0..5).map(|i| Timestamp::from_millis(i * 60_000).unwrap()).collect();
/// let series = Batch::new(&times, &[1.0, 2.0, 2.0, 3.0, 90.0], times[4])?;
/// assert_eq!((series.median(), series.median_deviation()), (2.0, 1.0));
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batch<'a> {
    times: &'a [Timestamp],
    values: &'a [f64],
    all: Spread,
    least: f64,
    greatest: f64,
    median: f64,
    median_deviation: f64,
    hour: (usize, usize),
    reference: (usize, usize),
    probe: usize,
}

impl<'a> Batch<'a> {
    /// The statistics as of `now`, with the lengths that Skyline has.
    ///
    /// # Errors
    /// When there is no point, there are not as many times as values, the times do not ascend, or a
    /// value is not usable ([`Point::is_usable`](crate::Point::is_usable)).
    pub fn new(times: &'a [Timestamp], values: &'a [f64], now: Timestamp) -> Result<Self> {
        Self::scaled(times, values, now, Scaling::Fixed)
    }

    pub(crate) fn scaled(
        times: &'a [Timestamp],
        values: &'a [f64],
        now: Timestamp,
        scaling: Scaling,
    ) -> Result<Self> {
        let n = values.len();
        if n == 0 || times.len() != n {
            let rule = format!("must be as many as times, {}, and at least one", times.len());
            return Err(Error::invalid("values", rule, n));
        }
        if let Some(pair) = times.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::invalid("times", format!("must ascend from {}", pair[0]), pair[1]));
        }
        if let Some(value) = values.iter().find(|value| value.abs() >= Point::LIMIT || value.is_nan()) {
            return Err(Error::invalid("values", "must be finite, and below 1e100 in magnitude", value));
        }
        let resolution = match scaling {
            Scaling::Fixed => 0,
            Scaling::WithResolution => {
                let gap = |pair: &[Timestamp]| u32::try_from(pair[1].millis() - pair[0].millis()).ok();
                modal(&mut times.windows(2).filter_map(gap).collect::<Vec<_>>())
            }
        };
        let lengths = Lengths::new(scaling, resolution);
        let (newest, now) = (times[n - 1].millis(), now.millis());
        let before = |time: i64| times.partition_point(|t| t.millis() < time);
        let (least, greatest) = range(values);
        let (median, median_deviation) = medians(values);
        let probe = before(now - lengths.probe);
        Ok(Batch {
            times,
            values,
            all: spread(values, 1),
            least,
            greatest,
            median,
            median_deviation,
            hour: (before(newest - DAY + 1), before(newest - DAY + lengths.hour)),
            reference: (before(now - lengths.both).min(probe), probe),
            probe,
        })
    }

    /// The points, as milliseconds and values.
    pub(crate) fn points(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.times.iter().map(|time| time.millis()).zip(self.values.iter().copied())
    }
}

/// Sums in four lanes, so that they need not wait for each other.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let chunks = values.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().map(|&x| of(x)).sum();
    let lanes = chunks.fold([0.0; 4], |mut lanes, chunk| {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += of(x);
        }
        lanes
    });
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

/// Mean and deviation in two passes; `missing` is what the number of degrees of freedom lacks to n.
fn spread(values: &[f64], missing: usize) -> Spread {
    let n = values.len() as f64;
    if values.len() > missing && values.iter().all(|&x| x == values[0]) {
        return Spread { mean: values[0], deviation: 0.0 };
    }
    let mean = sum(values, |x| x) / n;
    let (squares, off) = (sum(values, |x| (x - mean) * (x - mean)), sum(values, |x| x - mean));
    let freedom = n - missing as f64;
    Spread { mean: mean + off / n, deviation: ((squares - off * off / n) / freedom).sqrt() }
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), &x| {
        (if x < least { x } else { least }, if x > greatest { x } else { greatest })
    })
}

fn medians(values: &[f64]) -> (f64, f64) {
    let mut scratch = values.to_vec();
    let median = median(&mut scratch);
    scratch.iter_mut().for_each(|x| *x = (*x - median).abs());
    (median, self::median(&mut scratch))
}

fn median(values: &mut [f64]) -> f64 {
    let n = values.len();
    let (below, &mut middle, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return middle;
    }
    (below.iter().copied().fold(f64::NEG_INFINITY, f64::max) + middle) / 2.0
}

/// Σ bⁱ f(x), i counted from the newest: four lanes of every fourth point.
fn weighted(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    const PER_ROUND: f64 = DECAY * DECAY * DECAY * DECAY;
    let chunks = values.rchunks_exact(4);
    let rest = chunks.remainder();
    let first = rest.iter().fold(0.0, |sum, &x| DECAY * sum + of(x));
    let mut lanes = [0.0, 0.0, 0.0, first];
    for chunk in chunks.rev() {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = PER_ROUND * *lane + of(x);
        }
    }
    // The last lane of the rest was the point before the first round, as the lanes are.
    lanes.iter().fold(0.0, |sum, lane| DECAY * sum + lane)
}

impl Statistics for Batch<'_> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn last(&self) -> f64 {
        self.values[self.len() - 1]
    }

    fn tail(&self) -> f64 {
        match self.values {
            [.., third, second, last] => tail_of(*last, *second, *third),
            _ => self.last(),
        }
    }

    fn all(&self) -> Spread {
        self.all
    }

    fn earlier(&self) -> Option<Spread> {
        let (_, earlier) = self.values.split_last()?;
        (!earlier.is_empty()).then(|| spread(earlier, 0))
    }

    fn first_hour(&self) -> (usize, Spread) {
        let hour = &self.values[self.hour.0..self.hour.1];
        (hour.len(), spread(hour, 1))
    }

    fn moving(&self) -> Spread {
        if self.least == self.greatest {
            return Spread { mean: self.last(), deviation: 0.0 };
        }
        // Beyond 2,000 points back the weights are below 1e-17.
        let values = &self.values[self.len().saturating_sub(2_000)..];
        let power = libm::pow(DECAY, values.len() as f64);
        let weights = (1.0 - power) / (1.0 - DECAY);
        let near = self.last();
        let mean = near + weighted(values, |x| x - near) / weights;
        let variance = weighted(values, |x| (x - mean) * (x - mean)) / weights * bias_correction(power);
        Spread { mean, deviation: variance.sqrt() }
    }

    fn median(&self) -> f64 {
        self.median
    }

    fn median_deviation(&self) -> f64 {
        self.median_deviation
    }

    fn least(&self) -> f64 {
        self.least
    }

    fn greatest(&self) -> f64 {
        self.greatest
    }

    fn count_in_bin(&self, wanted: usize) -> usize {
        debug_assert!(wanted < BINS);
        self.values.iter().filter(|&&x| bin(x, self.least, self.greatest) == wanted).count()
    }

    fn line(&self) -> Option<Line> {
        let n = self.len();
        if n < 3 {
            return None;
        }
        let start = self.times[0].millis();
        let count = n as f64;
        let mean_time = self.times.iter().map(|t| (t.millis() - start) as f64).sum::<f64>() / count;
        let mean = self.all.mean;
        let centred = || self.points().map(|(time, value)| ((time - start) as f64 - mean_time, value - mean));
        let (of_times, of_products) = centred().fold((0.0, 0.0), |(xx, xy), (x, y)| (xx + x * x, xy + x * y));
        let slope = of_products / of_times;
        let squares: f64 = centred().map(|(x, y)| (y - slope * x) * (y - slope * x)).sum();
        let residual = |index: usize| {
            self.values[index] - mean - slope * ((self.times[index].millis() - start) as f64 - mean_time)
        };
        let [last, second, third] = [n - 1, n - 2, n - 3].map(residual);
        let deviation = if self.least == self.greatest { 0.0 } else { (squares / (count - 1.0)).sqrt() };
        Some(Line { last, tail: tail_of(last, second, third), deviation })
    }

    fn recent(&self) -> (usize, usize) {
        (self.reference.1 - self.reference.0, self.len() - self.probe)
    }

    fn distance(&self, _limit: f64) -> f64 {
        let sorted = |values: &[f64]| {
            let mut values = values.to_vec();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        let reference = &self.values[self.reference.0..self.reference.1];
        distance_of_sorted(&sorted(reference), &sorted(&self.values[self.probe..]))
    }

    fn reference(&self) -> Vec<f64> {
        self.values[self.reference.0..self.reference.1].to_vec()
    }
}
