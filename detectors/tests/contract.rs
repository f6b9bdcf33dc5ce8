//! Every detector keeps the contract of `peak_detectors::testing::check_detector`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod feed;

use feed::WindowShape;
use peak_core::{Baseline, CountMoments, Key, Schema, Span, Summary, Timestamp, Tz};
use peak_detectors::testing::check_detector;
use peak_detectors::{
    Budget, Classic, Detector, IsolationForest, Mad, Observation, Peak, Persist, Point, RsHash,
    SigmaEnsemble, Split, Threshold,
};

fn shape(repeat: usize, records: u64, samples: u64, top: u64) -> WindowShape {
    WindowShape { repeat, records, samples, top }
}

type Window = (Span, Summary);

/// Quiet days, a spike, and windows that should not occur but may.
fn windows() -> (Vec<Window>, Window, Vec<Window>) {
    let mut days: Vec<Window> = feed::days(&[
        shape(1, 100, 100, 1),
        shape(39, 90, 90, 1),
        shape(1, 90_000, 9_000, 50_000),
        shape(6, 1, 1, 1),
    ])
    .collect();
    let mut odd = days.split_off(41);
    let spike = days.split_off(40).swap_remove(0);
    let odd_windows = [
        Summary::default(),
        Summary::new(7),
        Summary::new(u64::MAX).with_samples(CountMoments::from_iter([u64::MAX])),
        Summary::new(u64::MAX).with_samples(CountMoments::from_parts(
            u64::MAX,
            u64::MAX,
            u128::MAX,
            u64::MAX,
        )),
        Summary::new(0).with_samples(CountMoments::from_iter([3, 4])),
    ];
    odd.iter_mut().zip(odd_windows).for_each(|((_, summary), odd)| *summary = odd);
    (days, spike, odd)
}

fn observe<'a>(key: &'a Key, (span, summary): &'a Window, past: &'a Baseline) -> Observation<'a> {
    Observation::new(key, *span, summary, past)
}

fn check(make: impl Fn() -> Peak) {
    let (days, spike, odd) = windows();
    let (key, past) = (feed::key(), Baseline::default());
    let feed: Vec<_> = days.iter().map(|found| observe(&key, found, &past)).collect();
    let odd: Vec<_> = odd.iter().map(|found| observe(&key, found, &past)).collect();
    check_detector(make, &feed, &observe(&key, &spike, &past), &odd);
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
