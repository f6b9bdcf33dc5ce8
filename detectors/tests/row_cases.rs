//! The case suite of detectors of rows: what each says of every row stands in `row_cases.json`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod noise;

use ndarray::Array2;
use noise::noise;
use peak_detectors::{Detector, Explanation, IsolationForest, Refusal, RsHash, Split, Threshold, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Case {
    name: String,
    why: String,
    /// What the training rows are.
    training: String,
    /// The row that is asked about; `null` is missing.
    row: Vec<Option<f64>>,
    expect: BTreeMap<String, String>,
}

/// Two thousand rows of three features.
fn training(name: &str) -> Array2<f64> {
    let row = |i: usize| {
        let [a, b, c] = [0, 1, 2].map(|column| noise(3 * i + column));
        match name {
            "one cloud" => [a, b, c],
            "two clouds" => [a + if i.is_multiple_of(2) { 10.0 } else { -10.0 }, b, c],
            "two features that go together" => [5.0 * a, 5.0 * a + 0.3 * b, c],
            "a constant feature" => [a, b, 7.0],
            "units far apart" => [1e9 * a, 1e-9 * b, 1.7e9 + c],
            "one value in ten is missing" => [a, if i % 10 == 3 { f64::NAN } else { b }, c],
            "all the same" => [1.0, 2.0, 3.0],
            _ => panic!("no training rows are called {name:?}"),
        }
    };
    let rows: Vec<[f64; 3]> = (0..2_000).map(row).collect();
    Array2::from(rows)
}

/// What a detector says of a row, and which feature carried it.
fn outcome(verdict: Result<Verdict, Refusal>, why: Result<Explanation, Refusal>) -> String {
    match (verdict, why) {
        (Ok(Verdict { anomalous: true, .. }), Ok(why)) => format!("anomalous, by {}", why.carried_by),
        (Ok(Verdict { anomalous: false, .. }), Ok(_)) => "quiet".to_owned(),
        (Err(refusal), Err(same)) if refusal == same => refusal.to_string(),
        (verdict, why) => panic!("{verdict:?}, but {why:?}"),
    }
}

/// What every detector says of a row after the training rows.
fn outcomes(training: &Array2<f64>, row: &[f64]) -> BTreeMap<String, String> {
    let names = ["x", "y", "z"];
    let of_forest = |(name, split)| {
        let builder = IsolationForest::builder().names(names).split(split).seed(1);
        let forest = builder.threshold(Threshold::Contamination(0.01)).fit(training.view()).unwrap();
        (format!("forest {name}"), outcome(forest.judge(row), forest.explain(row)))
    };
    let splits =
        [("classical", Split::Classical), ("gain", Split::PooledGain), ("pairs", Split::PooledPairs)];
    let mut stream = RsHash::builder(3).names(names).seed(1).build().unwrap();
    for row in training.rows() {
        stream.learn(row.as_slice().unwrap());
    }
    let of_stream = ("rs-hash".to_owned(), outcome(stream.judge(row), stream.explain(row)));
    splits.map(of_forest).into_iter().chain([of_stream]).collect()
}

#[test]
fn every_detector_says_of_every_row_what_is_expected() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("row_cases.json")).unwrap();
    let mut wrong = Vec::new();
    for Case { name, why, training: rows, row, expect } in &cases {
        let row: Vec<f64> = row.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let said = outcomes(&training(rows), &row);
        if said != *expect {
            wrong.push(format!("{name}: said {said:?}, expected {expect:?} ({why})"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
