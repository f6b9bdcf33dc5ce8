//! Series detectors: both forms agree, fleets, bad input.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{Timestamp, Tz, snapshot};
use peak_detectors::series::{Batch, Duplicates, Kind, Seasonality, Statistics};
use peak_detectors::{
    Ballot, Detector, EndReason, Incidents, Mad, News, Persist, Point, Refusal, SigmaEnsemble, SigmaMemory,
    Verdict, Vote,
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

/// What is said of points out of order.
const ORDER: [Refusal; 3] = [Refusal::NotFinite, Refusal::Late, Refusal::Duplicate];

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
        let fresh = SigmaEnsemble::default().with_window(window).unwrap().with_kind(Kind::Gauge);
        let mut live = fresh.clone();
        let times: Vec<Timestamp> = (0..values.len()).map(|i| at(1_000 * step * i as i64)).collect();
        for i in 0..values.len() {
            live.learn(&Point::new(times[i], values[i]));
            let from = (i + 1).saturating_sub(window);
            // The first point has no resolution.
            if i < 20 {
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
        let mut newest = None;
        for (i, (time, value, kind)) in points.into_iter().enumerate() {
            let value = match kind { 0 => value, 1 => 7.0, 2 => noise(i), _ => value % 1e99 };
            let point = Point::new(at(1_000 * (i as i64 + time % 60)), value);
            let is_late = newest.is_some_and(|newest| point.time < newest);
            let is_second = newest == Some(point.time);
            for detector in &mut detectors {
                let stepped = detector.step(&point);
                let refused = match (value.abs() < Point::LIMIT, is_late, is_second) {
                    (false, _, _) => Some(Refusal::NotFinite),
                    (_, true, _) => Some(Refusal::Late),
                    (_, _, true) => Some(Refusal::Duplicate),
                    _ => None,
                };
                // A point between two others may be a second one, too.
                let said = stepped.err().filter(|said| ORDER.contains(said));
                let between = is_late && said == Some(Refusal::Duplicate);
                prop_assert!(said == refused || between, "{point:?}: {said:?}, not {refused:?}");
                let explained = detector.explain(&point);
                if let Ok(Verdict { score, anomalous, p_value }) = stepped {
                    prop_assert!(score.is_finite(), "{score}");
                    prop_assert!(p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{p_value:?}");
                    let explanation = explained.unwrap();
                    prop_assert!(!explanation.evidence.is_empty());
                    for evidence in &explanation.evidence {
                        let bounds = [evidence.expected, evidence.lower, evidence.upper];
                        prop_assert!(evidence.actual.is_finite() && bounds.iter().flatten().all(|x| x.is_finite()), "{evidence:?}");
                    }
                    prop_assert!(anomalous || explanation.counterfactual.is_none());
                }
            }
            if value.abs() < Point::LIMIT {
                newest = newest.max(Some(point.time));
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
        if let [News::Opened(_)] = incidents.observe(&point, judged, None)[..] {
            opened.push(i);
        }
    }
    assert!(ensemble.feed().is_counter());
    assert_eq!(ensemble.feed().report().resets, 4);
    assert!((ensemble.feed().window().median() - 10.0).abs() < 0.1);
    assert_eq!(opened, [2_500]);
}

/// A counter at 100 a minute, and how many points it has had.
fn counting(ensemble: &mut SigmaEnsemble, points: usize, from: f64) -> f64 {
    (0..points).fold(from, |shown, i| {
        let shown = shown + 100.0 + noise(i);
        let next = ensemble.feed().newest().map_or(minute(0), |newest| newest.saturating_add(MINUTE));
        ensemble.learn(&Point::new(next, shown));
        shown
    })
}

const MINUTE: Duration = Duration::from_secs(60);

/// The verdict on the next reading of a series of minutes.
fn next(ensemble: &mut SigmaEnsemble, shown: f64) -> Result<Verdict, Refusal> {
    let time = ensemble.feed().newest().unwrap().saturating_add(MINUTE);
    ensemble.step(&Point::new(time, shown))
}

#[test]
fn a_counter_that_starts_anew_twice_stays_a_counter_and_says_so() {
    let mut ensemble = SigmaEnsemble::default();
    counting(&mut ensemble, 1_000, 0.0);
    assert_eq!(next(&mut ensemble, 3.0), Err(Refusal::Reset));
    let shown = counting(&mut ensemble, 3, 3.0);
    assert!((302.0..304.0).contains(&shown));
    assert_eq!(next(&mut ensemble, 200.0), Err(Refusal::Reset), "it has counted to 200 of 303");
    let shown = counting(&mut ensemble, 300, 200.0);
    assert!(ensemble.feed().is_counter());
    assert_eq!(ensemble.feed().report().resets, 2);
    assert!(next(&mut ensemble, shown + 100_000.0).unwrap().anomalous);
}

#[test]
fn a_counter_that_once_shows_too_little_is_told_as_one_that_does_not() {
    let steady = || {
        let mut ensemble = SigmaEnsemble::default();
        let shown = counting(&mut ensemble, 1_000, 0.0);
        (ensemble, shown)
    };
    for (low, refusal) in [(0.0, Refusal::Reset), (99_000.0, Refusal::Fell)] {
        let (mut ensemble, shown) = steady();
        assert_eq!(next(&mut ensemble, low), Err(refusal));
        let verdict = next(&mut ensemble, shown + 200.0).unwrap();
        assert!(!verdict.anomalous && verdict.p_value > Some(0.01), "{low}: {verdict:?}");
        let shown = counting(&mut ensemble, 100, shown + 200.0);
        assert!((ensemble.feed().window().greatest() - 100.0 / 60.0).abs() < 0.1);
        let report = ensemble.feed().report();
        assert_eq!((report.resets, report.falls, ensemble.feed().is_counter()), (0, 1, true));
        assert!(next(&mut ensemble, shown + 1_000.0).unwrap().anomalous, "ten times the rate");
    }
}

/// It only grows, so that it looks like a counter; but none falls so.
#[test]
fn the_clearing_of_a_disk_is_an_anomaly() {
    let mut ensemble = SigmaEnsemble::default();
    let used = |i: usize| 40.0 + 0.01 * (i % 2_000) as f64;
    (0..2_000).for_each(|i| ensemble.learn(&Point::new(minute(i), used(i))));
    assert!(ensemble.feed().is_counter());
    assert!(next(&mut ensemble, 10.0).unwrap().anomalous);
    assert!(!ensemble.feed().is_counter());
    assert_eq!(ensemble.feed().window().least(), 10.0);
    assert!((ensemble.feed().window().greatest() - used(1_999)).abs() < 1e-9, "the values before are known");
    // What is a counter after all is one again.
    let shown = counting(&mut ensemble, 1_100, 10.0);
    assert!(ensemble.feed().is_counter());
    assert!(next(&mut ensemble, shown + 1_000.0).unwrap().anomalous);
}

#[test]
fn the_kind_of_a_series_can_be_declared() {
    // A counter that grows too rarely to be recognised, and falls as it likes.
    let shown = |i: usize| (i / 7) as f64 - if i > 600 { 30.0 } else { 0.0 };
    let mut counter = SigmaEnsemble::default().with_kind(Kind::Counter);
    let mut recognised = SigmaEnsemble::default();
    for i in 0..900 {
        let point = Point::new(minute(i), shown(i));
        recognised.learn(&point);
        let judged = counter.step(&point);
        match i {
            0 => assert_eq!(judged, Err(Refusal::TooShort { have: 1, need: 2 })),
            601 => assert_eq!(judged, Err(Refusal::Fell)),
            _ => assert!(!judged.is_ok_and(|verdict| verdict.anomalous), "{i}"),
        }
    }
    assert!(counter.feed().is_counter() && !recognised.feed().is_counter());
    // A gauge that only grows.
    let mut gauge = SigmaEnsemble::default().with_kind(Kind::Gauge);
    (0..900).for_each(|i| gauge.learn(&Point::new(minute(i), i as f64)));
    assert!(!gauge.feed().is_counter());
    assert_eq!(gauge.feed().window().last(), 899.0);
}

#[test]
fn what_is_said_of_a_counter_is_said_of_its_rate() {
    let mut ensemble = SigmaEnsemble::default();
    let shown = counting(&mut ensemble, 1_000, 0.0);
    let normal = ensemble.normal_range().unwrap();
    assert!(normal.per_second && normal.lower < 100.0 / 60.0 && 100.0 / 60.0 < normal.upper);
    let burst = Point::new(minute(1_000), shown + 6_000.0);
    let mut incidents = Incidents::default();
    let judged = ensemble.step(&burst);
    let explanation = ensemble.explain(&burst).unwrap();
    assert_eq!(explanation.carried_by, "rate");
    assert!((explanation.carrier().unwrap().actual - 100.0).abs() < 1e-9);
    let seen = ensemble.feed().as_judged(&burst);
    let [News::Opened(incident)] = incidents.observe(&seen, judged, Some(normal))[..] else { panic!() };
    assert!((incident.strangest.value - 100.0).abs() < 1e-9);
    // Back at the old rate it has recovered, whatever the counter shows by now.
    let mut closed = None;
    for i in 1..60 {
        let point = Point::new(minute(1_000 + i), burst.value + 100.0 * i as f64);
        let normal = ensemble.normal_range();
        let judged = ensemble.step(&point);
        closed = closed.or(incidents.observe(&ensemble.feed().as_judged(&point), judged, normal).pop());
    }
    let Some(News::Closed(incident)) = closed else { panic!("still open") };
    assert_eq!(incident.end, Some((minute(1_030), EndReason::Recovered)));
}

#[test]
fn on_the_first_day_of_a_season_points_out_of_order_are_refused() {
    let mut ensemble = SigmaEnsemble::default().with_seasonality(Seasonality::Daily(Tz::UTC));
    (0..400).for_each(|i| ensemble.learn(&Point::new(minute(i), noise(i))));
    for _ in 0..5 {
        assert_eq!(ensemble.step(&Point::new(minute(399), 5.0)), Err(Refusal::Duplicate));
        assert_eq!(ensemble.step(&Point::new(minute(100), 5.0)), Err(Refusal::Late));
    }
    let report = ensemble.feed().report();
    assert_eq!((report.in_order, report.duplicates, report.too_late), (400, 5, 5));
}

/// The newest point as it was judged; and no other second point at its time.
#[test]
fn what_was_just_learned_can_still_be_explained() {
    fn check<D: Detector<Point>>(mut detector: D) {
        for i in 0..600 {
            let point = Point::new(minute(i), noise(i) + if i % 100 == 99 { 99.0 } else { 0.0 });
            let before = detector.explain(&point);
            let stepped = detector.step(&point);
            let after = detector.explain(&point);
            assert_eq!(before, after, "{i}");
            assert_eq!(stepped.err(), after.err(), "{i}");
            assert_eq!(detector.judge(&point), Err(Refusal::Duplicate));
            let other = Point::new(point.time, point.value + 1.0);
            assert_eq!(detector.explain(&other), Err(Refusal::Duplicate));
            // What is refused changes nothing.
            detector.learn(&Point::new(minute(i), f64::NAN));
            detector.learn(&Point::new(minute(i / 2), 7.0));
            assert_eq!(detector.explain(&point), before, "{i}");
        }
    }
    check(SigmaEnsemble::default());
    check(SigmaEnsemble::skyline());
    check(SigmaEnsemble::default().with_seasonality(Seasonality::Daily(Tz::UTC)));
    check(SigmaEnsemble::default().with_kind(Kind::Counter));
    check(Mad::default());
    check(Mad::double().with_kind(Kind::Counter));
}

/// Of a gauge, of a counter, and as Skyline has it.
#[test]
fn a_hundred_thousand_series_of_a_day_take_two_and_a_quarter_gibibytes() {
    let most = (9 << 28) / 100_000;
    for mut ensemble in [SigmaEnsemble::default(), SigmaEnsemble::skyline()] {
        (0..2_000).for_each(|i| ensemble.learn(&Point::new(minute(i), noise(i))));
        assert!(ensemble.bytes() <= most, "{} > {most}", ensemble.bytes());
    }
    let mut counter = SigmaEnsemble::default();
    counting(&mut counter, 2_000, 0.0);
    assert!(counter.feed().is_counter() && counter.bytes() <= most, "{} > {most}", counter.bytes());
}

#[test]
fn settings_of_a_running_detector_forget_nothing() {
    let mut ensemble = SigmaEnsemble::default();
    (0..500).for_each(|i| ensemble.learn(&Point::new(minute(i), noise(i))));
    let memory = format!("{:?}", serde_json::to_value(ensemble.memory()).unwrap());
    ensemble.set_rarity(1e-3).unwrap();
    ensemble.set_consensus(0.1).unwrap();
    ensemble.set_namespace("cpu");
    ensemble.set_full_duration(Some(Duration::from_secs(600)));
    ensemble.set_lateness(MINUTE);
    ensemble.set_duplicates(Duplicates::KeepLast);
    let ensemble = ensemble.with_rarity(1e-3).unwrap().with_namespace("cpu").with_lateness(MINUTE);
    assert_eq!(memory, format!("{:?}", serde_json::to_value(ensemble.memory()).unwrap()));
    // They count at once.
    let (mut ensemble, odd) = (ensemble, Point::new(minute(500), 9.0));
    let rarity = 10f64.powf(-ensemble.judge(&odd).unwrap().score);
    for (rarity, anomalous) in [(0.9 * rarity, false), (1.1 * rarity, true)] {
        ensemble.set_rarity(rarity).unwrap();
        assert_eq!(ensemble.judge(&odd).unwrap().anomalous, anomalous);
    }
    let wrong = [ensemble.set_rarity(0.0), ensemble.set_rarity(0.5), ensemble.set_consensus(0.0)];
    assert!(wrong.iter().all(Result::is_err));

    let mut mad = Mad::default();
    (0..500).for_each(|i| mad.learn(&Point::new(minute(i), noise(i))));
    mad.set_reach(0.1).unwrap();
    assert_eq!(mad.feed().window().len(), 500);
    assert!(mad.judge(&odd).unwrap().anomalous);
    assert!(mad.set_reach(f64::NAN).is_err());
}

#[test]
fn a_configuration_is_data_that_is_checked() {
    let whole = SigmaEnsemble::default()
        .with_window(300)
        .unwrap()
        .with_kind(Kind::Counter)
        .with_seasonality(Seasonality::Weekly(Tz::Europe__Berlin))
        .with_lateness(MINUTE)
        .with_duplicates(Duplicates::Add)
        .with_consensus(0.7)
        .unwrap()
        .with_rarity(1e-6)
        .unwrap()
        .with_full_duration(Duration::from_secs(3_600))
        .with_namespace("requests");
    for ensemble in [whole, SigmaEnsemble::default(), SigmaEnsemble::skyline().with_window(99).unwrap()] {
        let text = serde_json::to_string(&ensemble).unwrap();
        let read: SigmaEnsemble = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{read:?}"), format!("{ensemble:?}"), "{text}");
    }
    for mad in [Mad::default(), Mad::double().with_window(9).unwrap().with_reach(3.0).unwrap()] {
        let text = serde_json::to_string(&mad).unwrap();
        let read: Mad = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{read:?}"), format!("{mad:?}"), "{text}");
    }
    let sigma = |text| serde_json::from_str::<SigmaEnsemble>(text).map(drop).map_err(|e| e.to_string());
    assert_eq!(sigma("{}"), Ok(()));
    for (text, why) in [
        (r#"{"window": 2}"#, "from 3 to 65535"),
        (r#"{"rarity": 0.02}"#, "at most 0.01"),
        (r#"{"consensus": 1.5}"#, "at most 1"),
        (r#"{"kind": "clock"}"#, "unknown variant"),
        (r#"{"rarety": 1e-5}"#, "unknown field"),
    ] {
        assert!(sigma(text).unwrap_err().contains(why), "{text}: {:?}", sigma(text));
    }
    let mad = |text| serde_json::from_str::<Mad>(text).is_ok();
    assert!(
        mad("{}") && !mad(r#"{"window": 2}"#) && !mad(r#"{"reach": -1.0}"#) && !mad(r#"{"side": "each"}"#)
    );
}

/// The two-sample test has nothing to compare here.
#[test]
fn a_test_that_cannot_tell_is_no_evidence() {
    for mut ensemble in [SigmaEnsemble::default(), SigmaEnsemble::skyline()] {
        (0..200).for_each(|i| ensemble.learn(&Point::new(minute(i), noise(i))));
        let point = Point::new(minute(200), 9.0);
        let explanation = ensemble.explain(&point).unwrap();
        ensemble.learn(&point);
        let able = ensemble.ballots();
        let able = able.iter().filter(|ballot| !matches!(ballot.vote, Vote::Abstain(_)));
        let able: Vec<&str> = able.map(|ballot| ballot.test).collect();
        assert!(able.len() < 9 || ensemble.normal_range().is_none());
        let told = explanation.evidence.iter().map(|evidence| evidence.statistic.as_ref());
        let told: Vec<&str> = told.filter(|name| *name != "value").collect();
        assert!(told.iter().all(|name| able.contains(name)), "{told:?} of {able:?}");
        assert!(explanation.carrier().is_some());
        let json = serde_json::to_value(&explanation).unwrap();
        for evidence in json["evidence"].as_array().unwrap() {
            assert!(evidence["actual"].is_number(), "{evidence}");
        }
        assert!(!explanation.to_string().contains("NaN"));
    }
}

/// The original votes on one point and on two, though its guards want a hundred for a verdict.
#[test]
fn a_series_of_one_or_two_points_is_judged_as_by_the_original() {
    let one = "yes no no no no abstain no no no"; // the only bin, and nothing before it
    let high = "no no no no no yes no no no"; // the largest value is in no bin; the other one has no spread
    let low = "yes no no no no yes no no no"; // the smallest value is in the first bin
    let same = "yes no no no no no no no no";
    let cases: [(&[f64], &str); 5] =
        [(&[7.0], one), (&[0.0], one), (&[1.0, 2.0], high), (&[2.0, 1.0], low), (&[2.0, 2.0], same)];
    for (values, expected) in cases {
        let mut live = SigmaEnsemble::skyline();
        let times: Vec<Timestamp> = (0..values.len()).map(minute).collect();
        let now = times[values.len() - 1];
        let judged = times.iter().zip(values).map(|(&time, &x)| live.step(&Point::new(time, x))).last();
        let short = Refusal::TooShort { have: values.len() as u64, need: 100 };
        assert_eq!(judged, Some(Err(short)));
        let whole = live.assess_series(&times, values, now).unwrap();
        assert_eq!(whole, Err(short));
        for ballots in [live.ballots(), live.vote_on_series(&times, values, now).unwrap()] {
            let votes = ballots.iter().map(|ballot| match ballot.vote {
                Vote::Yes => "yes",
                Vote::No => "no",
                Vote::Abstain(_) => "abstain",
            });
            assert_eq!(votes.collect::<Vec<_>>().join(" "), expected, "{values:?}");
        }
    }
}

/// The median of values, and the median of their distances from it, by sorting.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Counters that start anew, show too little, are cleared or end; gaps of months, late points.
    #[test]
    fn a_series_of_any_kind_is_restored_at_any_time(
        pieces in prop::collection::vec((0..8u8, 1..40usize, 0.1..50.0f64, any::<u16>()), 1..25),
        long in prop::option::of(900..1_300usize),
        window in 3..130usize,
    ) {
        let own = || SigmaEnsemble::default().with_window(window).unwrap().with_lateness(MINUTE * 5);
        let seasonality = Seasonality::Weekly(Tz::Europe__Berlin);
        let fresh = [
            own(),
            own().with_kind(Kind::Counter),
            own().with_seasonality(seasonality).with_duplicates(Duplicates::Add),
            own().with_kind(Kind::Counter).with_seasonality(seasonality),
        ];
        let mut live = fresh.clone();
        let (mut time, mut shown) = (0, 100.0);
        let mut step = |live: &mut [SigmaEnsemble; 4], minutes: i64, value: f64| {
            time += minutes * 60_000;
            let point = Point::new(at(time), value);
            for detector in live {
                let judged = detector.judge(&point);
                let stepped = detector.step(&point);
                assert_eq!(format!("{judged:?}"), format!("{stepped:?}"));
                assert!(stepped.is_err() || detector.explain(&point).is_ok());
            }
        };
        for (number, &(kind, length, size, seed)) in pieces.iter().enumerate() {
            let length = long.filter(|_| number == 0).unwrap_or(length);
            for i in 0..length {
                let up = size * (1.5 + noise(i + usize::from(seed)));
                match kind {
                    0..=2 => shown += up,
                    3 if i == 0 => shown = up,
                    4 if i == 0 => shown *= 0.99,
                    5 if i == 0 => shown *= 0.4,
                    6 => shown = (shown + 40.0 * (up - 1.5 * size)).max(0.0),
                    _ => {}
                }
                let value = if kind == 7 && i == 1 { 0.0 } else { shown };
                let minutes = if kind == 2 && i == 0 { 80_000 } else { 1 };
                step(&mut live, minutes, value);
                if seed % 5 == 0 && i % 7 == 3 {
                    step(&mut live, -2, value);
                    step(&mut live, 2, value);
                }
            }
            for (fresh, live) in fresh.iter().zip(&mut live) {
                let again = restored(live, fresh.clone());
                *live = again;
            }
        }
    }

    /// From nothing but the values of the window.
    #[test]
    fn mad_judges_as_it_is_defined(values in values(), window in 3..150usize, reach in 0.5..9.0f64) {
        let mut mad = Mad::default().with_window(window).unwrap().with_reach(reach).unwrap();
        for i in 0..values.len() {
            let judged = mad.step(&Point::new(minute(i), values[i]));
            let held = &values[(i + 1).saturating_sub(window)..=i];
            let need = window.min(Mad::LEAST);
            if held.len() < need {
                let short = Refusal::TooShort { have: held.len() as u64, need: need as u64 };
                prop_assert_eq!(judged, Err(short));
                continue;
            }
            let middle = median(held.iter().copied());
            let deviation = median(held.iter().map(|x| (x - middle).abs()));
            let verdict = judged.unwrap();
            let off = (values[i] - middle).abs();
            if deviation > 0.0 {
                prop_assert_eq!(verdict.anomalous, off > reach * (1.4826 * deviation));
                let score = if off == 0.0 { 0.0 } else { (off / (1.4826 * deviation)).min(1e9) };
                prop_assert_eq!(verdict.score, score);
            } else {
                prop_assert!(off > 0.0 || !verdict.anomalous);
            }
        }
    }

    /// What is voted where it matters is what is voted when everything is shown.
    #[test]
    fn a_verdict_is_what_its_votes_and_its_rarity_come_to(values in values(), window in 20..150usize) {
        let with = |ensemble: SigmaEnsemble| ensemble.with_window(window).unwrap().with_kind(Kind::Gauge);
        let mut own = with(SigmaEnsemble::default()).with_rarity(1e-3).unwrap().with_consensus(0.3).unwrap();
        let mut skyline = with(SigmaEnsemble::skyline());
        for (i, &value) in values.iter().enumerate() {
            let point = Point::new(minute(i), value);
            if let Ok(verdict) = own.step(&point) {
                let explanation = own.explain(&point).unwrap();
                let votes = explanation.evidence.iter().filter(|evidence| evidence.statistic != "value");
                let yes = votes.clone().filter(|evidence| evidence.exceeded).count() as f64;
                let agreed = yes >= 0.3 * votes.count() as f64;
                prop_assert_eq!(verdict.anomalous, agreed && verdict.score >= 3.0);
                prop_assert!(verdict.p_value.is_some_and(|p| p > 0.0 && p <= 1.0));
            }
            if let Ok(verdict) = skyline.step(&point) {
                let against = skyline.ballots().iter().filter(|ballot| ballot.vote == Vote::No).count();
                prop_assert_eq!(verdict.anomalous, against <= 3);
            }
        }
    }
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
    snapshot::write(&mut bytes, "sigma", 2, &ensemble.memory()).unwrap();
    let memory = || snapshot::read(&mut std::io::Cursor::new(bytes.clone()), "memory", "sigma", 2).unwrap();
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
    let counter = |last: Timestamp, fallen: Value, fastest: f64| json!({"Counter": {"last": [last.millis(), 1.0], "fallen": fallen, "fastest": fastest, "since": 20}});
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
        ("/feed/form", counter(minute(60), json!(null), 1.0)),
        ("/feed/form", counter(minute(119), json!([minute(60).millis(), 0.5]), 1.0)),
        ("/feed/form", counter(minute(119), json!([minute(119).millis(), 1e200]), 1.0)),
        ("/feed/form", counter(minute(119), json!(null), -1.0)),
        ("/feed/form", json!({"Watched": {"steps": 3, "growing": 4}})),
        ("/lesson/sizes/0", json!(1e300)),
        ("/lesson/rarity", json!(-0.5)),
        (
            "/feed/form",
            json!({"Counter": {"last": [i64::MIN, 1.0], "fallen": [minute(119).millis(), 0.5], "fastest": 1.0, "since": 20}}),
        ),
        ("/feed/patience", json!(0)),
        ("/feed/newest", json!(null)),
        ("/feed/newest", json!([minute(60).millis(), 1.0])),
        ("/feed/newest", json!([i64::MAX, 1.0])),
        ("/feed/newest", json!([minute(119).millis(), 1e200])),
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
