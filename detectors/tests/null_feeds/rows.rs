//! Rows of four features.

use super::Share;
use super::noise::Random;
use ndarray::Array2;
use peak_detectors::{Detector, IsolationForest, RsHash, Threshold};

const WIDTH: usize = 4;

/// Rows that share half of what moves them; each row keeps so much of the last.
struct Rows {
    random: Random,
    kept: f64,
    last: [f64; WIDTH],
}

impl Rows {
    fn new(seed: u64, kept: f64) -> Self {
        let mut rows = Rows { random: Random(seed), kept, last: [0.0; WIDTH] };
        rows.last = rows.fresh();
        rows
    }

    fn fresh(&mut self) -> [f64; WIDTH] {
        let common = self.random.normal();
        [0.0; WIDTH].map(|_| (common + self.random.normal()) / 2f64.sqrt())
    }

    /// The next one; each feature has a standard deviation of 1.
    fn next(&mut self) -> [f64; WIDTH] {
        let fresh = self.fresh();
        for (last, fresh) in self.last.iter_mut().zip(fresh) {
            *last = self.kept * *last + (1.0 - self.kept * self.kept).sqrt() * fresh;
        }
        self.last
    }

    fn matrix(&mut self, rows: usize) -> Array2<f64> {
        let rows: Vec<_> = (0..rows).map(|_| self.next()).collect();
        Array2::from_shape_fn((rows.len(), WIDTH), |(row, column)| rows[row][column])
    }
}

/// A row with one feature or all of them far off.
fn planted(mut row: [f64; WIDTH], feature: usize, off: f64) -> [f64; WIDTH] {
    row[feature % WIDTH] += off;
    row
}

/// On rows that it has not seen. Of twelve forests, one in a hundred was 0.5 to 1.6 %.
#[test]
fn a_forest_alarms_as_often_as_its_threshold_says() {
    let of = |threshold: Threshold| -> Share {
        let share = |seed: u64| {
            let mut rows = Rows::new(seed, 0.0);
            let builder = IsolationForest::builder().trees(50).seed(seed).threshold(threshold);
            let forest = builder.fit(rows.matrix(1_500).view()).unwrap();
            (0..1_000).map(|_| forest.judge(&rows.next()).unwrap().anomalous).collect::<Share>()
        };
        (1..=3).map(share).sum()
    };
    of(Threshold::Contamination(0.01)).assert_in(0.4..=2.0, "contamination 1 %");
    of(Threshold::Quantile(0.9)).assert_in(7.5..=13.0, "quantile 90 %");
    // What is outside among scores of rows of this kind.
    of(Threshold::Auto).assert_in(1.2..=4.5, "auto");
}

#[test]
fn a_forest_finds_what_was_planted() {
    let mut rows = Rows::new(7, 0.0);
    let forest = IsolationForest::builder().threshold(Threshold::Contamination(0.05)).seed(7);
    let forest = forest.fit(rows.matrix(1_500).view()).unwrap();
    assert!(forest.judge(&[5.0, -5.0, 5.0, -5.0]).unwrap().anomalous);
    assert!(!forest.judge(&[0.0; WIDTH]).unwrap().anomalous);
    let one_off = |i: usize| forest.judge(&planted(rows.next(), i, 6.0)).unwrap().anomalous;
    (0..200).map(one_off).collect::<Share>().assert_in(45.0..=90.0, "one feature");
}

/// Independent rows, and rows that move little from one to the next. Of eight, 0.78 to 1.05 %.
#[test]
fn hashed_subspaces_alarm_as_often_as_configured_and_find_what_was_planted() {
    for kept in [0.0, 0.9] {
        let mut rows = Rows::new(3, kept);
        let mut detector = RsHash::builder(WIDTH).grids(60).build().unwrap();
        (0..2_000).for_each(|_| detector.learn(&rows.next()));
        let (mut alarms, mut found) = (Share::default(), Share::default());
        for i in 0..10_000 {
            let row = rows.next();
            if i % 100 == 0 {
                found.count(detector.judge(&planted(row, i / 100, 8.0)).unwrap().anomalous);
            }
            alarms.count(detector.step(&row).unwrap().anomalous);
        }
        alarms.assert_in(0.5..=1.5, &format!("{kept} kept"));
        found.assert_in(95.0..=100.0, "found");
    }
}

/// Rows come from elsewhere for good: what was usual before is strange again after ten half-lives, not after
/// one.
#[test]
fn hashed_subspaces_forget_after_half_lives() {
    for (half_life, is_forgotten) in [(200, true), (2_000, false), (20_000, false)] {
        let mut rows = Rows::new(5, 0.0);
        let mut detector = RsHash::builder(WIDTH).grids(60).half_life(half_life).build().unwrap();
        for i in 0..4_000 {
            let row = rows.next();
            detector.learn(&if i < 2_000 { row } else { row.map(|x| x + 8.0) });
        }
        let alarms: Share = (0..100).map(|_| detector.judge(&rows.next()).unwrap().anomalous).collect();
        let band = if is_forgotten { 95.0..=100.0 } else { 0.0..=5.0 };
        alarms.assert_in(band, &format!("after 2,000 rows, at a half-life of {half_life}"));
    }
}
