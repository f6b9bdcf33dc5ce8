//! Series detectors: both forms agree, fleets, bad input.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{Timestamp, Tz, snapshot};
use peak_detectors::series::{Batch, Duplicates, Seasonality, Statistics};
use peak_detectors::{
    Ballot, Detector, Incidents, Mad, News, Persist, Point, Refusal, SigmaEnsemble, SigmaMemory, Verdict,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis).unwrap()
}

fn minute(i: usize) -> Timestamp {
    at(i as i64 * 60_000)
}

/// Reproducible noise between −1 and 1.
fn noise(i: usize) -> f64 {
    let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((x ^ (x >> 29)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Whether rounding may decide the vote.
fn is_near_tie(ballot: &Ballot, series: &Batch<'_>) -> bool {
    let scale = series.least().abs().max(series.greatest().abs()).max(1e-300);
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (a.abs() + b.abs()) + 1e-12 * scale;
    if ballot.test == "histogram_bins" {
        let (least, greatest) = (series.least(), series.greatest());
        return (0..=15).any(|i| near(ballot.actual, least + f64::from(i) * (greatest - least) / 15.0));
    }
    let line = series.line();
    // Residuals that are nothing but rounding.
    if ballot.test == "least_squares" && line.is_some_and(|line| line.deviation <= 1e-12 * scale) {
        return true;
    }
    let rounds = |x: f64| near((x - 0.5).fract().abs(), 0.0) || near((x - 0.5).fract().abs(), 1.0);
    [ballot.lower, ballot.upper].into_iter().flatten().any(|bound| near(ballot.actual, bound))
        || (ballot.test == "least_squares"
            && line.is_some_and(|line| rounds(line.tail) || rounds(line.deviation)))
}

fn assert_same_votes(live: &SigmaEnsemble, fresh: &SigmaEnsemble, times: &[Timestamp], values: &[f64]) {
    let now = times[times.len() - 1];
    let whole = fresh.vote_on_series(times, values, now).unwrap();
    let series = Batch::new(times, values, now).unwrap();
    for (a, b) in live.ballots().iter().zip(&whole) {
        assert!(a.vote == b.vote || is_near_tie(b, &series), "live {a:?}\nwhole {b:?}\n{values:?}");
    }
}

/// Values of many kinds: noise, counts, levels, spikes, runs of the same.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let piece = (0..6u8, 1..60usize, -50.0..50.0f64, 0.01..20.0f64, any::<u16>());
    prop::collection::vec(piece, 1..9).prop_map(|pieces| {
        let mut values = Vec::new();
        for (kind, length, level, size, seed) in pieces {
            values.extend((0..length).map(|i| {
                let noise = noise(i + usize::from(seed));
                match kind {
                    0 => level + size * noise,
                    1 => (4.0 * noise * noise * noise).round(),
                    2 => level,
                    3 => level + if i % 17 == 3 { 1_000.0 * size } else { noise },
                    4 => level + size * i as f64 + noise,
                    _ => 1e6 * size + noise,
                }
            }));
        }
        values
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Skyline's rules on irregular steps; gaps of hours included.
    #[test]
    fn streaming_votes_are_batch_votes(values in values(), window in 3..150usize, steps in prop::collection::vec(1..3_000i64, 9)) {
        let fresh = SigmaEnsemble::skyline().with_window(window).unwrap();
        let mut live = fresh.clone();
        let mut time = 0;
        let times: Vec<Timestamp> = (0..values.len()).map(|i| {
            time += 1_000 * if i % 50 == 49 { 9 * steps[i % 9] } else { steps[i % 9] };
            at(time)
        }).collect();
        for i in 0..values.len() {
            live.learn(&Point::new(times[i], values[i]));
            let from = (i + 1).saturating_sub(window);
            assert_same_votes(&live, &fresh, &times[from..=i], &values[from..=i]);
        }
    }

    /// The own rules on regular steps, where the resolution is known at once.
    #[test]
    fn own_streaming_votes_are_batch_votes(values in values(), window in 3..150usize, step in 1..4_000i64) {
        let fresh = SigmaEnsemble::default().with_window(window).unwrap();
        let mut live = fresh.clone();
        let times: Vec<Timestamp> = (0..values.len()).map(|i| at(1_000 * step * i as i64)).collect();
        for i in 0..values.len() {
            live.learn(&Point::new(times[i], values[i]));
            let from = (i + 1).saturating_sub(window);
            // A counter's window holds other values, and the first point has no resolution.
            if live.feed().is_counter() || live.feed().window().len() != i + 1 - from || i < 20 {
                continue;
            }
            assert_same_votes(&live, &fresh, &times[from..=i], &values[from..=i]);
        }
    }

    #[test]
    fn nothing_that_arrives_breaks_a_detector(points in prop::collection::vec((0..400i64, any::<f64>(), 0..4u8), 0..300)) {
        let lateness = Duration::from_secs(40);
        let mut detectors: Vec<Box<dyn Detector<Point>>> = vec![
            Box::new(SigmaEnsemble::default().with_window(20).unwrap().with_lateness(lateness).with_duplicates(Duplicates::Add)),
            Box::new(SigmaEnsemble::skyline().with_window(100).unwrap().with_duplicates(Duplicates::KeepLast)),
            Box::new(SigmaEnsemble::default().with_seasonality(Seasonality::Weekly(Tz::Europe__Berlin))),
            Box::new(Mad::double().with_window(40).unwrap()),
        ];
        for (i, (time, value, kind)) in points.into_iter().enumerate() {
            let value = match kind { 0 => value, 1 => 7.0, 2 => noise(i), _ => value % 1e99 };
            let point = Point::new(at(1_000 * (i as i64 + time % 60)), value);
            for detector in &mut detectors {
                let judged = detector.judge(&point);
                assert_eq!(judged.err(), detector.explain(&point).err());
                let stepped = detector.step(&point);
                assert_eq!(format!("{judged:?}"), format!("{stepped:?}"));
                assert!(stepped.is_ok() || value.is_nan() || stepped.is_err());
                if let Ok(Verdict { score, p_value, .. }) = stepped {
                    assert!(score.is_finite(), "{score}");
                    assert!(p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{p_value:?}");
                }
            }
        }
    }
}

#[test]
fn a_hundred_thousand_points_later_votes_are_still_batch_votes() {
    let fresh = SigmaEnsemble::skyline().with_window(700).unwrap();
    let mut live = fresh.clone();
    let value = |i: usize| {
        let spike = if i.is_multiple_of(997) { 1e7 } else { 0.0 };
        3.0 * noise(i) + 40.0 * (i as f64 / 9_000.0).sin() + spike
    };
    for i in 0..100_000 {
        live.learn(&Point::new(minute(i), value(i)));
        if i > 700 && i % 499 == 0 {
            let range = i - 699..=i;
            let times: Vec<Timestamp> = range.clone().map(minute).collect();
            assert_same_votes(&live, &fresh, &times, &range.map(value).collect::<Vec<_>>());
        }
    }
}

fn restored<D: Persist>(saved: &D, mut fresh: D) -> D {
    let mut bytes = Vec::new();
    snapshot::write(&mut bytes, D::KIND, D::VERSION, &saved.memory()).unwrap();
    let memory = snapshot::read(&mut std::io::Cursor::new(bytes), "memory", D::KIND, D::VERSION).unwrap();
    fresh.restore(memory).unwrap();
    fresh
}

#[test]
fn late_points_are_inserted_within_the_bound_and_counted_beyond() {
    let ensemble = SigmaEnsemble::default().with_lateness(Duration::from_secs(300));
    let (mut late, mut in_time) = (ensemble.clone(), ensemble);
    for i in 0..120 {
        in_time.learn(&Point::new(minute(i), noise(i)));
        if i != 110 {
            late.learn(&Point::new(minute(i), noise(i)));
        }
        if i == 113 {
            assert_eq!(late.step(&Point::new(minute(110), noise(110))), Err(Refusal::Late));
        }
    }
    let votes =
        |ensemble: &SigmaEnsemble| ensemble.ballots().iter().map(|ballot| ballot.vote).collect::<Vec<_>>();
    assert_eq!(votes(&late), votes(&in_time));
    assert_eq!(late.step(&Point::new(minute(50), 1.0)), Err(Refusal::Late));
    assert_eq!(late.step(&Point::new(minute(119), 1.0)), Err(Refusal::Duplicate));
    assert_eq!(late.step(&Point::new(minute(120), f64::NAN)), Err(Refusal::NotFinite));
    let report = late.feed().report();
    assert_eq!((report.inserted, report.too_late, report.duplicates, report.not_finite), (1, 1, 1, 1));
}

#[test]
fn duplicates_follow_the_policy() {
    for (policy, value) in [(Duplicates::KeepFirst, 2.0), (Duplicates::KeepLast, 5.0), (Duplicates::Add, 7.0)]
    {
        let mut ensemble = SigmaEnsemble::default().with_duplicates(policy);
        [1.0, 2.0].iter().enumerate().for_each(|(i, &x)| ensemble.learn(&Point::new(minute(i), x)));
        ensemble.learn(&Point::new(minute(1), 5.0));
        assert_eq!(
            (ensemble.feed().window().last(), ensemble.feed().window().len()),
            (value, 2),
            "{policy:?}"
        );
    }
}

#[test]
fn a_counter_becomes_its_rate_and_a_reset_is_nothing() {
    let mut ensemble = SigmaEnsemble::default();
    let mut incidents = Incidents::default();
    let (mut shown, mut opened) = (0.0, Vec::new());
    for i in 0..3_000 {
        shown += 600.0 + 30.0 * noise(i) + if i == 2_500 { 900.0 } else { 0.0 };
        if i % 700 == 699 {
            shown = 5.0;
        }
        let point = Point::new(minute(i), shown);
        let judged = ensemble.step(&point);
        if let Some(News::Opened(_)) = incidents.observe(&point, judged, None) {
            opened.push(i);
        }
    }
    assert!(ensemble.feed().is_counter());
    assert_eq!(ensemble.feed().report().resets, 4);
    assert!((ensemble.feed().window().median() - 10.0).abs() < 0.1);
    assert_eq!(opened, [2_500]);
}

#[test]
fn a_change_of_clocks_is_nothing() {
    let zone = Tz::Europe__Berlin;
    let start = Timestamp::parse("2024-03-11T00:00:00Z").unwrap().millis();
    let mut ensemble = SigmaEnsemble::default().with_seasonality(Seasonality::Weekly(zone));
    let mut anomalous = Vec::new();
    for i in 0..30 * 288 {
        let time = Timestamp::from_millis(start + i * 300_000).unwrap();
        let hour = time.local(zone).and_utc().timestamp() as f64 / 3_600.0;
        let value = 100.0 + 50.0 * (hour / 24.0 * std::f64::consts::TAU).sin() + 2.0 * noise(i as usize);
        let spike = if i == 29 * 288 { 60.0 } else { 0.0 };
        if ensemble.step(&Point::new(time, value + spike)).is_ok_and(|verdict| verdict.anomalous) {
            anomalous.push(i);
        }
    }
    assert_eq!(anomalous, [29 * 288]);
}

#[test]
fn foreign_and_damaged_memories_are_refused() {
    let mut ensemble = SigmaEnsemble::default().with_window(50).unwrap();
    (0..120).for_each(|i| ensemble.learn(&Point::new(minute(i), noise(i))));
    let mut bytes = Vec::new();
    snapshot::write(&mut bytes, "sigma", 1, &ensemble.memory()).unwrap();
    let memory = || snapshot::read(&mut std::io::Cursor::new(bytes.clone()), "memory", "sigma", 1).unwrap();
    assert!(SigmaEnsemble::default().with_window(60).unwrap().restore(memory()).is_err());
    assert!(SigmaEnsemble::skyline().with_window(50).unwrap().restore(memory()).is_err());
    assert!(SigmaEnsemble::default().with_window(50).unwrap().restore(memory()).is_ok());
}

/// Which of these changes to a memory are accepted.
fn accepted<'a>(learned: &SigmaEnsemble, changes: &[(&'a str, Value)]) -> Vec<&'a str> {
    let good = serde_json::to_value(learned.memory()).unwrap();
    let restored = |memory: &Value| {
        let memory: SigmaMemory = serde_json::from_value(memory.clone()).unwrap();
        learned.clone().restore(memory).is_ok()
    };
    assert!(restored(&good));
    let is_accepted = |(path, value): &&(&str, Value)| {
        let mut memory = good.clone();
        *memory.pointer_mut(path).unwrap() = value.clone();
        assert_ne!(memory.to_string(), good.to_string(), "{path}: no change");
        restored(&memory)
    };
    changes.iter().filter(is_accepted).map(|(path, _)| *path).collect()
}

/// Each of these made a restored detector panic, or its scores no numbers, or could have.
#[test]
fn a_memory_that_no_series_leaves_is_refused() {
    let zone = Seasonality::Weekly(Tz::UTC);
    let mut seasonal = SigmaEnsemble::default().with_window(50).unwrap().with_seasonality(zone);
    (0..2_000).for_each(|i| seasonal.learn(&Point::new(minute(i), noise(i))));
    let changes = [
        ("/same", json!(u64::MAX)),
        ("/calibration/tails/0/1/level", json!(-3.0)),
        ("/calibration/tails/1/0/excess", json!(-1.0)),
        ("/calibration/tails/0/0/seen", json!(u32::MAX)),
        ("/calibration/tails/0/0/above", json!(u32::MAX)),
        ("/feed/report/in_order", json!(u64::MAX)),
        ("/feed/report/not_finite", json!(u64::MAX)),
        ("/feed/baseline", json!(1e300)),
        ("/feed/seasonal/size", json!(-1.0)),
        ("/feed/seasonal/size", json!(1e300)),
        ("/feed/seasonal/sum", json!(1e300)),
        ("/feed/seasonal/count", json!(u32::MAX)),
        ("/feed/seasonal/day/3/value", json!(1e300)),
        ("/feed/seasonal/week/99/value", json!(-1e300)),
    ];
    assert_eq!(accepted(&seasonal, &changes), [""; 0]);

    let mut rough = SigmaEnsemble::default().with_window(50).unwrap();
    let value = |i: usize| (3.0 * noise(i)).round();
    (0..120).for_each(|i| rough.learn(&Point::new(minute(i), value(i))));
    let window = serde_json::to_value(rough.memory()).unwrap()["feed"]["window"].take();
    let entries = window["ranks"]["entries"].as_array().unwrap();
    let swapped = |rank: usize| {
        let mut entries = entries.clone();
        entries.swap(rank, rank + 1);
        json!(entries)
    };
    let key_of = |entry: &Value| entry.as_u64().unwrap() >> 16;
    let alike = entries.windows(2).position(|pair| key_of(&pair[0]) == key_of(&pair[1])).unwrap();
    let mut twice = entries.clone();
    twice[7] = twice[8].clone();
    let zero = window["values"].as_array().unwrap().iter().position(|value| *value == json!(0.0)).unwrap();
    let (gaps, zero) = (window["gaps"].as_array().unwrap(), format!("/feed/window/values/{zero}"));
    let mut still = gaps.clone();
    (still[7], still[8]) = (json!(0), json!(120_000));
    let head = window["head"].as_u64().unwrap();
    assert!(![7, 8].contains(&head), "the oldest point's step counts for nothing");
    let changes = [
        ("/feed/kind", json!({"Counter": {"time": minute(60).millis(), "value": 1.0}})),
        ("/feed/kind", json!({"Counter": {"time": i64::MAX, "value": 1.0}})),
        ("/feed/window/gaps", json!(still)),
        (&zero, json!(-0.0)),
        ("/feed/window/oldest", json!(minute(60).millis())),
        ("/feed/window/newest", json!(minute(200).millis())),
        ("/feed/window/origin", json!(i64::MIN)),
        ("/feed/window/times", json!(7)),
        ("/feed/window/times_squared", json!(7)),
        ("/feed/window/resolution", json!(-1)),
        ("/feed/window/lengths/hour", json!(i64::MAX)),
        ("/feed/window/lengths/both", json!(0)),
        ("/feed/window/ranks/entries", swapped(alike)),
        ("/feed/window/ranks/entries", json!(twice)),
        ("/feed/window/ranks/entries/7", json!(entries[7].as_u64().unwrap() + (1 << 16))),
        ("/feed/window/ranks/scale", json!(-1.0)),
        ("/feed/window/offset", json!(1e300)),
        ("/feed/window/sum/sum", json!(1e300)),
        ("/feed/window/sum/lost", json!(1e300)),
        ("/feed/window/squares/sum", json!(1e300)),
        ("/feed/window/products/sum", json!(1e300)),
        ("/feed/window/hour/sum/sum", json!(1e300)),
        ("/feed/window/hour/squares/sum", json!(1e300)),
        ("/feed/window/hour/changes", json!(1)),
        ("/feed/window/hour/from/time", json!(i64::MIN)),
        ("/feed/window/recent/probe/time", json!(minute(0).millis())),
        ("/feed/window/moving/mean", json!(1e300)),
        ("/feed/window/moving/squares", json!(-1.0)),
        ("/feed/window/moving/power", json!(50.0 / 51.0)),
        ("/feed/window/median", json!(1e9)),
        ("/feed/window/median_deviation", json!(-1.0)),
        ("/feed/window/closest", json!(49)),
    ];
    assert_eq!(accepted(&rough, &changes), [""; 0]);
}

/// Rounding adds up over the longest window, and values may be as large and rates as steep as can be.
#[test]
fn what_was_learned_is_restored() {
    let longest = || Mad::default().with_window(65_535).unwrap();
    let mut mad = longest();
    (0..70_000).for_each(|i| mad.learn(&Point::new(minute(i), noise(i))));
    restored(&mad, longest());

    let counting = || SigmaEnsemble::default().with_window(20).unwrap();
    let mut counter = counting();
    (0..200u32).for_each(|i| counter.learn(&Point::new(at(i.into()), 4e97 * f64::from(i))));
    assert!(counter.feed().is_counter());
    restored(&counter, counting());
}
