//! P-values are what they say, where nothing is wrong: fresh input of many kinds, seeded.
//!
//! P(p ≤ q)/q is at most [`MOST`] for each q that is asked for, and at least [`LEAST`] where scores are
//! continuous and have no end. Ties are conservative: where they are there is no least.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod noise;

use ndarray::Array2;
use noise::Random;
use peak_core::{Baseline, Key, Span, Summary, Timestamp};
use peak_detectors::{
    Budget, Calibrated, Detector, IsolationForest, Observation, Peak, Point, RsHash, SigmaEnsemble,
    TableDetector, TableWindow,
};

const LEAST: f64 = 0.3;
const MOST: f64 = 2.0;

/// Student's t with three degrees of freedom.
fn heavy(random: &mut Random) -> f64 {
    let squares: f64 = (0..3).map(|_| random.normal().powi(2)).sum();
    random.normal() / (squares / 3.0).sqrt()
}

/// Kinds of noise.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Noise {
    Uniform,
    Normal,
    Heavy,
    LogNormal,
    Autoregressive,
    Rounded,
    Counts,
    Sparse,
    OnAndOff,
}

use Noise::{Autoregressive, Counts, Heavy, LogNormal, Normal, OnAndOff, Rounded, Sparse, Uniform};

impl Noise {
    /// Whether scores tie, end somewhere or stay for long.
    fn has_ties(self) -> bool {
        matches!(self, Uniform | Autoregressive | Rounded | Counts | Sparse | OnAndOff)
    }

    fn draw(self, seed: u64) -> impl Iterator<Item = f64> {
        let (mut random, mut before, mut on) = (Random(seed), 0.0, false);
        std::iter::repeat_with(move || match self {
            Uniform => random.uniform(),
            Normal => random.normal(),
            Heavy => heavy(&mut random),
            LogNormal => random.normal().exp(),
            Autoregressive => {
                before = 0.9 * before + random.normal();
                before
            }
            Rounded => (0.4 * random.normal()).round(),
            Counts => random.poisson(3.0),
            Sparse => random.poisson(0.05),
            OnAndOff => {
                on ^= random.uniform() < 0.005;
                random.normal() + if on { 50.0 } else { 0.0 }
            }
        })
    }
}

/// Where P(p ≤ q)/q is not within the band.
fn outside(p_values: &[f64], qs: &[f64], has_ties: bool, what: &str) -> Vec<String> {
    let ratio = |q: f64| p_values.iter().filter(|p| **p <= q).count() as f64 / p_values.len() as f64 / q;
    let band = if has_ties { 0.0..=MOST } else { LEAST..=MOST };
    let ratios = qs.iter().map(|&q| (q, ratio(q))).filter(|(_, ratio)| !band.contains(ratio));
    ratios.map(|(q, ratio)| format!("{what}: P(p ≤ {q})/{q} = {ratio:.3}")).collect()
}

fn assert_none(outside: &[String]) {
    assert!(outside.is_empty(), "{}", outside.join("\n"));
}

#[test]
fn the_sigma_ensembles_p_values_are_what_they_say() {
    let mut found = Vec::new();
    for noise in [Uniform, Normal, Heavy, LogNormal, Autoregressive, Rounded, Counts, Sparse, OnAndOff] {
        let mut ensemble = SigmaEnsemble::default().with_window(500).unwrap();
        let at = |i: usize| Timestamp::from_millis(1_700_000_000_000 + 60_000 * i as i64).unwrap();
        let points = noise.draw(11).take(23_000).enumerate().map(|(i, value)| Point::new(at(i), value));
        let p_values: Vec<f64> =
            points.filter_map(|point| ensemble.step(&point).ok()?.p_value).skip(3_000).collect();
        found.extend(outside(
            &p_values,
            &[0.1, 0.03, 0.01, 0.003, 0.001],
            noise.has_ties(),
            &format!("{noise:?}"),
        ));
    }
    assert_none(&found);
}

#[test]
fn alarms_do_not_hide_the_next_and_make_no_p_value_larger() {
    let mut ensemble = SigmaEnsemble::default().with_window(500).unwrap();
    let (mut planted, mut found, mut largest) = (0, 0, 0f64);
    for (i, value) in Normal.draw(5).take(12_000).enumerate() {
        let spikes = i >= 2_000 && i % 300 == 0;
        let time = Timestamp::from_millis(1_700_000_000_000 + 60_000 * i as i64).unwrap();
        let verdict = ensemble.step(&Point::new(time, value + if spikes { 12.0 } else { 0.0 }));
        if spikes {
            let verdict = verdict.unwrap();
            planted += 1;
            found += u32::from(verdict.anomalous);
            largest = largest.max(verdict.p_value.unwrap());
        }
    }
    // Thirty-three of them are one in three hundred of all points.
    assert!(planted == 33 && found == 33 && largest < 1e-4, "{found} of {planted}, {largest}");
}

#[test]
fn the_p_values_of_hashed_subspaces_are_what_they_say() {
    let mut found = Vec::new();
    for noise in [Uniform, Normal, Heavy, Autoregressive, Counts, OnAndOff] {
        let mut detector = RsHash::builder(3).grids(30).half_life(2_000).build().unwrap();
        let mut columns = [1, 2, 3].map(|seed| noise.draw(seed));
        let mut row = || columns.each_mut().map(|column| column.next().unwrap());
        let stepped = (0..23_000).filter_map(|_| detector.step(&row()).ok()?.p_value);
        let p_values: Vec<f64> = stepped.skip(3_000).collect();
        // Of about 2,900 remembered scores.
        found.extend(outside(
            &p_values,
            &[0.1, 0.03, 0.01, 0.003, 0.001],
            noise.has_ties(),
            &format!("{noise:?}"),
        ));
    }
    assert_none(&found);
}

#[test]
fn a_forests_p_values_are_what_they_say_of_fresh_rows() {
    let mut found = Vec::new();
    for noise in [Uniform, Normal, Heavy, Counts] {
        let mut p_values = Vec::new();
        for seed in 1..=4 {
            let mut values = noise.draw(seed);
            let mut rows = || Array2::from_shape_simple_fn((1_000, 3), || values.next().unwrap());
            let forest = IsolationForest::builder().trees(50).seed(seed).fit(rows().view()).unwrap();
            p_values
                .extend(forest.score_all(rows().view()).unwrap().iter().map(|&score| forest.p_value(score)));
        }
        found.extend(outside(&p_values, &[0.1, 0.03, 0.01], noise.has_ties(), &format!("{noise:?}")));
    }
    assert_none(&found);
}

/// Counts of forty keys by the day: of Poisson keys, of keys whose rates vary, and of both.
#[test]
fn the_calibrated_rules_p_values_are_what_they_say() {
    const KEYS: usize = 40;
    let keys: Vec<Key> = (0..KEYS).map(|i| Key::new([format!("key {i:02}")])).collect();
    let days = Span::days("2020-01-01", "2020-05-01").unwrap().to_vec();
    let past = Baseline::default();
    let mut found = Vec::new();
    for (what, spread) in [("Poisson", 0.0), ("varied by a third", 0.3)] {
        let mut p_values = Vec::new();
        for seed in 1..=3 {
            let mut random = Random(100 + seed);
            let mut peak = Peak::calibrated(Calibrated::new(Budget::default()));
            for (day, &span) in days.iter().enumerate() {
                let mut count = |key: usize| {
                    let mean = 30.0 * (f64::from(key as u32) / 9.0).exp();
                    let rate = mean * (spread * random.normal() - spread * spread / 2.0).exp();
                    random.poisson(rate)
                };
                let summaries: Vec<Summary> = (0..KEYS).map(|key| Summary::new(count(key) as u64)).collect();
                let pairs = keys.iter().zip(&summaries);
                let window: Vec<_> =
                    pairs.map(|(key, summary)| Observation::new(key, span, summary, &past)).collect();
                let window = TableWindow::new(span, &window).unwrap();
                if day >= 40 {
                    let judged = peak.judge(&window).verdicts;
                    p_values.extend(judged.into_iter().filter_map(|judged| judged.ok()?.p_value));
                }
                peak.learn(&window);
            }
        }
        found.extend(outside(&p_values, &[0.1, 0.03, 0.01, 0.003], false, what));
    }
    assert_none(&found);
}
