//! The case suite of series detectors: what each says of every feed stands in `series_cases.json`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod noise;

use noise::noise;
use peak_core::Timestamp;
use peak_detectors::{Detector, Incidents, Mad, News, NormalRange, Point, SigmaEnsemble};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Case {
    name: String,
    why: String,
    expect: BTreeMap<String, String>,
}

/// The values of a case, a minute apart; `None` is a gap.
fn values(name: &str) -> Vec<Option<f64>> {
    let of = |n: usize, value: &dyn Fn(usize) -> f64| (0..n).map(|i| Some(value(i))).collect();
    let quiet = |i: usize| 50.0 + 3.0 * noise(i);
    match name {
        "constant" => of(600, &|_| 7.0),
        "constant but one" => of(600, &|i| if i == 500 { 8.0 } else { 7.0 }),
        "empty" => Vec::new(),
        "one point" => of(1, &|_| 7.0),
        "quiet" => of(3_000, &quiet),
        "spike up" => of(3_000, &|i| quiet(i) + if i == 2_500 { 30.0 } else { 0.0 }),
        "spike down" => of(3_000, &|i| quiet(i) - if i == 2_500 { 30.0 } else { 0.0 }),
        "level shift" => of(6_000, &|i| quiet(i) + if i >= 3_000 { 24.0 } else { 0.0 }),
        "ramp" => of(3_000, &|i| quiet(i) + i as f64 * 0.02),
        "seasonal" => of(6_000, &|i| quiet(i) + 30.0 * (i as f64 / 1_440.0 * std::f64::consts::TAU).sin()),
        "sparse counts" => of(3_000, &|i| if noise(i) > 1.3 { 1.0 } else { 0.0 }),
        "counter with resets" => {
            let mut shown = 0.0;
            let counter = (0..3_000).map(|i| {
                shown = if i % 900 == 899 { 0.0 } else { shown + 100.0 + 5.0 * noise(i) };
                Some(shown)
            });
            counter.collect()
        }
        "gap" => (0..3_000).map(|i| (!(2_000..2_400).contains(&i)).then(|| quiet(i))).collect(),
        "NaN" => of(3_000, &|i| if i % 10 == 5 { f64::NAN } else { quiet(i) }),
        "heavy tail" => of(6_000, &|i| noise(i).exp()),
        _ => panic!("no feed is called {name:?}"),
    }
}

/// What a detector says: how many points were refused and anomalous, and where incidents opened.
fn outcome<D: Detector<Point>>(
    mut detector: D,
    normal: fn(&D) -> Option<NormalRange>,
    seen: fn(&D, &Point) -> Point,
    values: &[Option<f64>],
) -> String {
    let mut incidents = Incidents::default();
    let (mut refused, mut anomalous, mut opened, mut end) = (0, 0, Vec::new(), None);
    for (i, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let point = Point::new(Timestamp::from_millis(i as i64 * 60_000).unwrap(), *value);
        let before = normal(&detector);
        let judged = detector.step(&point);
        match judged {
            Err(_) => refused += 1,
            Ok(verdict) => anomalous += u32::from(verdict.anomalous),
        }
        for news in incidents.observe(&seen(&detector, &point), judged, before) {
            match news {
                News::Opened(_) => opened.push(i),
                News::Closed(incident) => end = incident.end,
                _ => {}
            }
        }
    }
    let news = match opened.as_slice() {
        [] => "no incident".to_owned(),
        [at] => {
            format!("incident at {at}, {}", end.map_or("open".to_owned(), |(_, reason)| reason.to_string()))
        }
        [first, ..] => format!("{} incidents from {first} on", opened.len()),
    };
    format!("{refused} refused, {anomalous} anomalous: {news}")
}

fn sigma(
    normal: fn(&SigmaEnsemble) -> Option<NormalRange>,
) -> impl Fn(SigmaEnsemble, &[Option<f64>]) -> String {
    move |ensemble, values| outcome(ensemble, normal, |ensemble, x| ensemble.feed().as_judged(x), values)
}

fn mad(mad: Mad, values: &[Option<f64>]) -> String {
    outcome(mad, Mad::normal_range, |mad, x| mad.feed().as_judged(x), values)
}

#[test]
fn every_series_detector_says_of_every_case_what_is_expected() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("series_cases.json")).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let values = values(&case.name);
        for (name, said) in [
            ("sigma", sigma(SigmaEnsemble::normal_range)(SigmaEnsemble::default(), &values)),
            ("skyline", sigma(|_| None)(SigmaEnsemble::skyline(), &values)),
            ("mad", mad(Mad::default(), &values)),
            ("double mad", mad(Mad::double(), &values)),
        ] {
            if case.expect.get(name) != Some(&said) {
                wrong.push(format!("{} ({}): {name}: {said}", case.name, case.why));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
