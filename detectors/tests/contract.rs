//! Every detector keeps the contract of `peak_detectors::testing`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{CountMoments, Key, Schema, Span, Summaries, Summary, Timestamp, Tz, Windows};
use peak_detectors::testing::{check_detector, check_table_detector};
use peak_detectors::{
    AnyDetector, Budget, Classic, Detector, Fleet, IsolationForest, Mad, Observation, Peak, PerKey, Persist,
    Point, RsHash, SigmaEnsemble, Split, TableDetector, Threshold,
};
use std::sync::Arc;

/// Records over samples, the most frequent of which has `top`.
fn summary(records: u64, samples: u64, top: u64) -> Summary {
    let rest = (records - top) / (samples - 1);
    let counts = (1..samples).map(|i| if i == 1 { records - top - rest * (samples - 2) } else { rest });
    Summary::new(records).with_samples(counts.chain([top]).collect::<CountMoments>())
}

/// The windows of days, each of many keys.
struct Days(Arc<Schema>, Windows);

impl Days {
    fn new() -> Self {
        Days(Arc::new(Schema::file_types()), Span::days("2020-11-01", "2021-02-01").unwrap())
    }

    fn key(i: usize) -> Key {
        Key::new([["malicious", "benign", "unknown"][i % 3].to_owned(), format!("type {i:02}")])
    }

    fn window(&self, day: usize, rows: impl IntoIterator<Item = (usize, Summary)>) -> Summaries {
        let rows = rows.into_iter().map(|(i, summary)| (Days::key(i), summary));
        Summaries::new(Arc::clone(&self.0), self.1[day], rows).unwrap()
    }

    /// Keys of 40 to 1,000 records a day, one of which comes in the middle, and one of which comes and goes.
    fn quiet(&self, day: usize) -> Summaries {
        let of_key = |i: usize| {
            let wobble = (day * 7 + i * 3) * 2_654_435_761 % 1_000;
            let records = (40 * (i + 1) + wobble * (i + 1) / 50) as u64;
            summary(records, records.div_ceil(2 + i as u64 % 2), 4 + i as u64 % 3)
        };
        let is_there = |&i: &usize| match i {
            7 => day >= 20,
            8 => day.is_multiple_of(3),
            _ => true,
        };
        self.window(day, (0..25).filter(is_there).map(|i| (i, of_key(i))))
    }
}

fn check<D: TableDetector + Persist>(make: impl Fn() -> D) {
    let days = Days::new();
    let feed: Vec<Summaries> = (0..42).map(|day| days.quiet(day)).collect();
    let spike = summary(90_000, 9_000, 50_000);
    let with_spike = days.window(42, [(3, spike.clone()), (5, summary(240, 120, 4))]);
    let most = CountMoments::from_parts(u64::MAX, u64::MAX, u128::MAX, u64::MAX);
    let odd = [
        days.window(42, []),
        days.window(42, [(2, Summary::default())]),
        days.window(
            42,
            [(0, Summary::new(7)), (90, Summary::new(0).with_samples(CountMoments::from_iter([3, 4])))],
        ),
        days.window(42, [(1, Summary::new(u64::MAX).with_samples(CountMoments::from_iter([u64::MAX])))]),
        days.window(42, (0..25).map(|i| (i, Summary::new(u64::MAX).with_samples(most)))),
        days.window(42, (100..400).map(|i| (i, spike.clone()))),
        days.window(42 + 30, (0..25).map(|i| (i, Summary::new(1)))),
    ];
    check_table_detector(make, &feed, (&with_spike, &Days::key(3)), &odd);
}

#[test]
fn peak_with_the_classic_rule() {
    check(|| Peak::classic(Classic::new(&Schema::file_types(), Tz::UTC)));
}

#[test]
fn peak_with_the_calibrated_rule() {
    check(Peak::default);
    check(|| Peak::calibrated(Budget::per_window(1.0).unwrap()));
    check(|| Peak::calibrated(Budget::fdr(0.1).unwrap()));
}

#[test]
fn any_detector_per_key() {
    let records = |x: &Observation<'_>| Point::new(x.span.start(), x.summary.records as f64);
    check(|| PerKey::new(Fleet::new(|_| Mad::default()), records));
    check(|| PerKey::new(Fleet::new(|_| Mad::double()).with_budget(1 << 20), records));
    let boxed = |key: &Key| -> Box<dyn AnyDetector<Point>> {
        match key.values().next() {
            Some("benign") => Box::new(SigmaEnsemble::default().with_window(30).unwrap()),
            _ => Box::new(Mad::default()),
        }
    };
    check(|| PerKey::new(Fleet::new(boxed).with_budget(1 << 24), records));
    let row = |x: &Observation<'_>| (x.span.start(), [x.summary.records as f64, x.summary.distinct() as f64]);
    check(|| {
        PerKey::new(
            Fleet::new(|_| RsHash::builder(2).half_life(200).false_alarm_rate(0.1).build().unwrap()),
            row,
        )
    });
}

/// A quiet series, a spike of a thousand standard deviations, and points that should not occur but may.
fn check_series<D: Detector<Point> + Persist>(make: impl Fn() -> D) {
    let at = |i: i64, value| Point::new(Timestamp::from_millis(i * 60_000).unwrap(), value);
    let feed: Vec<Point> = (0..400).map(|i| at(i, 50.0 + ((i * 7_919) % 101) as f64 / 17.0)).collect();
    let odd = [f64::NAN, f64::INFINITY, -1e300, 1e99, 0.0, -0.0, 7.0, 7.0, 7.0, f64::MIN_POSITIVE];
    let odd: Vec<Point> = odd.iter().zip(0..).map(|(&value, i)| at(i / 2, value)).collect();
    check_detector(make, &feed, &at(400, 2_000.0), &odd);
}

#[test]
fn sigma() {
    check_series(SigmaEnsemble::default);
    check_series(SigmaEnsemble::skyline);
    check_series(|| SigmaEnsemble::default().with_window(120).unwrap());
}

#[test]
fn mad() {
    check_series(Mad::default);
    check_series(Mad::double);
}

#[test]
fn forest() {
    let rows: Vec<Vec<f64>> = (0..150i64)
        .map(|i| {
            [101, 89, 97]
                .map(|prime| (1..5).map(|k| (i * 7_919 * k * k) % prime).sum::<i64>() as f64)
                .to_vec()
        })
        .collect();
    let x = ndarray::Array2::from_shape_fn((150, 3), |(row, column)| rows[row][column]);
    let odd = [
        vec![],
        vec![1.0],
        vec![f64::NAN; 3],
        vec![f64::INFINITY; 3],
        vec![-1e300; 3],
        vec![0.0, -0.0, f64::MIN_POSITIVE],
        vec![7.0; 3],
        vec![7.0; 3],
    ];
    for split in [Split::Classical, Split::PooledGain, Split::PooledPairs] {
        // What is far outside goes the way of the outermost of the training rows: of these, some must count.
        let threshold = Threshold::Contamination(0.1);
        let builder = IsolationForest::builder().trees(25).sample(64).split(split).threshold(threshold);
        let forest = builder.fit(x.view()).unwrap();
        // Rows of any length, as vectors.
        let make = || forest.clone().on(|row: &Vec<f64>| row.clone());
        check_detector(make, &rows, &vec![2_000.0; 3], &odd);
    }
}

/// Quiet rows, a spike of a thousand standard deviations, and rows that should not occur but may.
fn check_rows<D: Detector<[f64]> + Persist>(make: impl Fn() -> D) {
    let at = |i: i64| vec![50.0 + ((i * 7_919) % 101) as f64 / 17.0, ((i * 31) % 13) as f64, 7.0];
    let feed: Vec<Vec<f64>> = (0..400).map(at).collect();
    let odd = [f64::NAN, f64::INFINITY, -1e300, 1e99, 0.0, -0.0, 7.0, f64::MIN_POSITIVE];
    let mut rows: Vec<Vec<f64>> = odd.iter().map(|&value| vec![value; 3]).collect();
    rows.extend(odd.iter().map(|&value| vec![51.0, value, 7.0]));
    rows.extend([vec![], vec![1.0], vec![1.0; 4]]);
    // Rows of any length, as vectors.
    check_detector(|| make().on(|row: &Vec<f64>| row.clone()), &feed, &vec![2_000.0, 4.0, 7.0], &rows);
}

#[test]
fn rs_hash() {
    check_rows(|| RsHash::builder(3).grids(60).build().unwrap());
    check_rows(|| RsHash::builder(3).half_life(200).grids(30).seed(5).build().unwrap());
}
