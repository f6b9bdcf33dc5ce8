//! What the calibrated rule promises whatever the feed: order does not matter, more is never less
//! strange, and what it says of a window is so.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{Baseline, CountMoments, Counts, Key, LabelSummary, Schema, Span, Summary};
use peak_detectors::{
    Budget, Calibrated, Change, Explanation, Observation, Peak, PeakRule, Persist, Refusal, TableDetector,
    TableWindow, Verdict,
};
use proptest::prelude::*;

/// Records and records of the top sample of each key, window after window; no records: no such key.
type Feed = Vec<Vec<(u64, u64)>>;

fn summary((records, top): (u64, u64)) -> Summary {
    let top = top.min(records);
    let others = u128::from(records - top);
    let squares = others + u128::from(top) * u128::from(top);
    let samples = u64::from(top > 0) + records - top;
    Summary::new(records).with_samples(CountMoments::from_parts(samples, records, squares, top))
}

fn days() -> Vec<Span> {
    Span::days("2020-01-01", "2020-06-01").unwrap().to_vec()
}

fn key(index: usize) -> Key {
    Key::new([format!("key {index}"), "x".into()])
}

/// Looks at one window of several keys.
fn look<T>(day: Span, counts: &[(usize, (u64, u64))], look: impl FnOnce(&TableWindow<'_>) -> T) -> T {
    let past = Baseline::default();
    let rows: Vec<(Key, Summary)> = counts.iter().map(|(i, counts)| (key(*i), summary(*counts))).collect();
    let keys: Vec<_> = rows.iter().map(|(key, summary)| Observation::new(key, day, summary, &past)).collect();
    look(&TableWindow::new(day, &keys).unwrap())
}

fn numbered(counts: &[(u64, u64)]) -> Vec<(usize, (u64, u64))> {
    counts.iter().copied().enumerate().collect()
}

fn learned(rule: impl Into<Calibrated>, feed: &Feed) -> Peak {
    let mut peak = Peak::calibrated(rule);
    for (day, counts) in days().into_iter().zip(feed) {
        look(day, &numbered(counts), |window| peak.learn(window));
    }
    peak
}

fn restored(peak: &Peak) -> Peak {
    let bytes = rmp_serde::to_vec(&peak.memory()).unwrap();
    let mut restored = Peak::default();
    restored.restore(rmp_serde::from_slice(&bytes).unwrap()).unwrap();
    restored
}

fn judge(peak: &Peak, day: usize, counts: (u64, u64)) -> Result<Verdict, Refusal> {
    look(days()[day], &[(0, counts)], |window| peak.judge(window).verdicts[0])
}

/// The verdict on a key of a window, and why.
fn told(peak: &Peak, window: &TableWindow<'_>, place: usize) -> (Verdict, Explanation) {
    let judged = peak.judge(window);
    let why = peak.explain(window, &judged, &[place]).swap_remove(0);
    (judged.verdicts[place].unwrap(), why.unwrap())
}

fn explain(peak: &Peak, day: usize, counts: (u64, u64)) -> Explanation {
    look(days()[day], &[(0, counts)], |window| told(peak, window, 0).1)
}

/// Five keys of about 100, 200 … records that wobble without repeating themselves.
fn quiet(windows: usize) -> Feed {
    let wobble = |day: usize, key: usize| ((day * 7 + key * 3) * 2_654_435_761 % 1_000) as f64 / 500.0 - 1.0;
    let count = |day: usize, key: usize| {
        let mean = 100.0 * (key + 1) as f64;
        ((mean + 1.7 * mean.sqrt() * wobble(day, key)) as u64, 1)
    };
    (0..windows).map(|day| (0..5).map(|key| count(day, key)).collect()).collect()
}

#[test]
fn estimates_are_held_against_wider_predictions() {
    // 12,000 records a day of 8,000 samples or so; then other numbers of samples, or another maximum.
    let past = Baseline::default();
    let window = |samples: u64, top: u64, uncertainty| {
        let samples = LabelSummary::new(CountMoments::from_parts(samples, 12_000, 40_000, top));
        Summary::new(12_000).with_labels([match uncertainty {
            Some(uncertainty) => samples.with_uncertainty(uncertainty),
            None => samples,
        }])
    };
    let observe = |peak: &mut Peak, day: usize, summary: &Summary, learn: bool| {
        let key = key(0);
        let keys = [Observation::new(&key, days()[day], summary, &past)];
        let window = TableWindow::new(days()[day], &keys).unwrap();
        let verdict = peak.judge(&window).verdicts[0];
        if learn {
            peak.learn(&window);
        }
        verdict
    };
    let mut peak = Peak::default();
    for day in 0..40 {
        let wobble = day as u64 * 7 % 5;
        let _ = observe(&mut peak, day, &window(8_000 + 20 * wobble, 40 + wobble, None), true);
    }
    let uncertainty = {
        let mut counts = Counts::default();
        (0..3_000).for_each(|i| _ = counts.add(&format!("{i:040x}"), 1));
        (0..60).for_each(|i| _ = counts.add(&format!("often {i}"), i + 1));
        while counts.bound() {}
        counts.uncertainty()
    };
    for (samples, top) in [(7_000, 42), (9_000, 42), (8_040, 60), (8_040, 90), (8_040, 20)] {
        let p_value = |peak: &mut Peak, uncertainty| {
            observe(peak, 40, &window(samples, top, uncertainty), false).unwrap().p_value.unwrap()
        };
        let (exact, estimated) = (p_value(&mut peak, None), p_value(&mut peak, uncertainty));
        assert!(estimated >= exact, "{samples} {top}: {estimated} {exact}");
    }
    let strange = |peak: &mut Peak, uncertainty| {
        observe(peak, 40, &window(6_000, 42, uncertainty), false).unwrap().p_value.unwrap()
    };
    let (exact, estimated) = (strange(&mut peak, None), strange(&mut peak, uncertainty));
    assert!(exact < 1e-4 && estimated > 50.0 * exact, "{exact} {estimated}");
}

fn feed() -> impl Strategy<Value = Feed> {
    let counts = (prop_oneof![Just(0), 1..9u64, 50..300u64, 0..90_000u64], 1..40u64);
    prop::collection::vec(prop::collection::vec(counts, 6), 8..20)
}

/// Counts of all sizes that a window can have.
fn wild_feed() -> impl Strategy<Value = Feed> {
    let counts =
        (prop_oneof![Just(0), 1..9u64, 0..90_000u64, (0..63u32).prop_map(|bits| 1 << bits)], 1..40u64);
    prop::collection::vec(prop::collection::vec(counts, 1..7), 8..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_larger_count_never_raises_the_upper_p_value(feed in feed(), counts in prop::collection::vec(0..100_000u64, 9)) {
        let peak = learned(Budget::default(), &feed);
        let mut counts = counts;
        counts.sort_unstable();
        let mut before = 1.0;
        for records in counts {
            // Volume alone, where the upper side is the stranger one beyond doubt.
            let Ok(verdict) = judge(&peak, feed.len(), (records, 1)) else { continue };
            let evidence = explain(&peak, feed.len(), (records, 1)).evidence.swap_remove(0);
            let p = evidence.p_value.unwrap();
            if p < 0.2 && evidence.expected.is_some_and(|expected| records as f64 > expected) {
                prop_assert!(p <= before * (1.0 + 1e-6), "{records}: {p} after {before}");
                before = p;
            }
            prop_assert!(verdict.p_value.is_some_and(|p| (0.0..=1.0).contains(&p)));
        }
    }

    #[test]
    fn whatever_comes_the_memory_holds_numbers(feed in wild_feed()) {
        let mut peak = Peak::default();
        for (day, counts) in days().into_iter().zip(feed.iter().chain(&quiet(30))) {
            let verdicts = look(day, &numbered(counts), |window| peak.judge(window).verdicts);
            look(day, &numbered(counts), |window| peak.learn(window));
            for verdict in verdicts.into_iter().flatten() {
                prop_assert!(verdict.p_value.is_some_and(|p| p > 0.0 && p <= 1.0), "{verdict:?}");
                prop_assert!(verdict.score.is_finite(), "{verdict:?}");
            }
            // What is not a number equals nothing.
            prop_assert_eq!(&peak, &peak.clone());
        }
        prop_assert_eq!(restored(&peak), peak);
    }

    #[test]
    fn restored_it_goes_on_bit_for_bit(feed in feed()) {
        let mut peak = learned(Budget::default(), &feed);
        let mut restored = restored(&peak);
        prop_assert_eq!(&restored, &peak);
        for (day, counts) in days().into_iter().skip(feed.len()).zip(&feed) {
            let judge = |peak: &Peak| look(day, &numbered(counts), |window| format!("{:?}", peak.judge(window)));
            prop_assert_eq!(judge(&peak), judge(&restored));
            look(day, &numbered(counts), |window| peak.learn(window));
            look(day, &numbered(counts), |window| restored.learn(window));
        }
    }
}

/// The law above on a feed of which the p-values are known to be asked for: from 130 records on, instead of
/// about 100, each is stranger than the one before.
#[test]
fn each_larger_count_is_stranger() {
    let peak = learned(Budget::default(), &quiet(40));
    let p_value = |records| judge(&peak, 40, (records, 1)).unwrap().p_value.unwrap();
    let upwards: Vec<f64> = (130..400).step_by(10).map(p_value).collect();
    assert!(upwards.is_sorted_by(|a, b| a > b), "{upwards:?}");
    let downwards: Vec<f64> = (0..15).map(|fives| p_value(70 - 5 * fives)).collect();
    assert!(downwards.is_sorted_by(|a, b| a > b), "{downwards:?}");
    assert!(upwards[0] > 1e-6 && upwards[26] < 1e-9 && downwards[14] < 1e-9, "{upwards:?} {downwards:?}");
}

#[test]
fn an_explanation_says_what_would_have_been_quiet() {
    let peak = learned(Budget::default(), &quiet(40));
    let spike = explain(&peak, 40, (300, 1));
    assert_eq!(spike.carried_by, "records");
    assert_eq!(spike.change, None);
    let carrier = spike.carrier().unwrap();
    assert!(carrier.exceeded && carrier.p_value.unwrap() < 0.01, "{spike}");
    assert!((carrier.expected.unwrap() - 100.0).abs() < 5.0, "{spike}");
    let (lower, upper) = (carrier.lower.unwrap() as u64, carrier.upper.unwrap() as u64);
    let anomalous = |records| judge(&peak, 40, (records, 1)).unwrap().anomalous;
    assert!(!anomalous(lower) && anomalous(lower - 1), "{spike}");
    assert!(!anomalous(upper) && anomalous(upper + 1), "{spike}");
    assert_eq!(spike.counterfactual.unwrap().below, Some((upper + 1) as f64));
    let low = explain(&peak, 40, (20, 1)).counterfactual.unwrap();
    assert_eq!((low.above, low.below), (Some((lower - 1) as f64), None));
    assert_eq!(explain(&peak, 40, (100, 1)).counterfactual, None);
}

/// Windows after a change for good in which it is told of.
fn alarms(feed: &Feed, change: usize) -> Vec<usize> {
    let mut peak = Peak::default();
    let mut told = Vec::new();
    for (i, (day, counts)) in days().into_iter().zip(feed).enumerate() {
        let verdicts = look(day, &numbered(counts), |window| peak.judge(window).verdicts);
        told.extend((i >= change && verdicts[0].is_ok_and(|verdict| verdict.anomalous)).then(|| i - change));
        look(day, &numbered(counts), |window| peak.learn(window));
    }
    told
}

#[test]
fn a_change_for_good_is_soon_the_new_normal() {
    // Of the first of five keys: so many times the records, or another number of records of its top sample.
    for (times, before, after) in [(3, 1, 1), (1, 20, 60), (1, 20, 1), (1, 1, 20)] {
        let mut feed = quiet(100);
        for (day, counts) in feed.iter_mut().enumerate() {
            for (key, (records, top)) in counts.iter_mut().enumerate() {
                let changed = key == 0 && day >= 50;
                let wobble = (day * 5 + key * 11) as u64 * 2_654_435_761 % 20;
                *records *= if changed { times } else { 1 };
                *top = (if changed { after } else { before }) * (90 + wobble) / 100;
            }
        }
        let told = alarms(&feed, 50);
        assert!(told.starts_with(&[0, 1, 2]) && told.len() <= 8, "{before} to {after}: {told:?}");
    }
}

#[test]
fn a_window_holds_its_keys_in_order_each_once_and_all_of_its_own_span() {
    let (past, silence, keys) = (Baseline::default(), Summary::default(), [key(0), key(1)]);
    let of = |place: usize, day: usize| Observation::new(&keys[place], days()[day], &silence, &past);
    assert!(TableWindow::new(days()[0], &[of(0, 0), of(1, 0)]).is_ok());
    for (wrong, rule) in [
        ([of(1, 0), of(0, 0)], "in order"),
        ([of(0, 0), of(0, 0)], "in order"),
        ([of(0, 0), of(1, 1)], "of this window"),
    ] {
        let error = TableWindow::new(days()[0], &wrong).unwrap_err().to_string();
        assert!(error.contains(rule), "{error}");
    }
}

#[test]
fn a_statistic_that_does_not_matter_hides_none_that_does() {
    // 3,000 records instead of 100, and 60 of the top sample instead of 1.
    let rule = |effect| Calibrated::new(Budget::default()).with_minimum_effect(effect, 0.0).unwrap();
    for (effect, top) in [(0.0, 60), (100.0, 60), (100.0, 1)] {
        let peak = learned(rule(effect), &quiet(40));
        let (verdict, why) = look(days()[40], &[(0, (3_000, top))], |window| told(&peak, window, 0));
        assert!(verdict.anomalous, "{effect} {top}: {why}");
        assert!(effect == 0.0 || why.carrier().unwrap().actual > 100.0, "{effect} {top}: {why}");
    }
}

#[test]
fn an_explanation_is_measured_by_the_threshold_of_its_window() {
    // One alarm a window is less for each key when there are a hundred times as many keys.
    let peak = learned(Budget::per_window(1.0).unwrap(), &quiet(40));
    let with_newcomers = |records: u64| -> Vec<(usize, (u64, u64))> {
        let known = (0..5).map(|key| (key, if key == 0 { (records, 1) } else { quiet(41)[40][key] }));
        known.chain((100..600).map(|key| (key, (30, 1)))).collect()
    };
    let mut both = [0, 0];
    for records in (100..180).chain([600]) {
        let mut counts = with_newcomers(records);
        counts.sort_by_key(|(i, _)| key(*i));
        let (verdict, why) = look(days()[40], &counts, |window| told(&peak, window, 0));
        assert_eq!(why.carrier().unwrap().exceeded, verdict.anomalous, "{records}: {why}");
        assert_eq!(why.counterfactual.is_some(), verdict.anomalous, "{records}: {why}");
        both[usize::from(verdict.anomalous)] += 1;
        if let Some(below) = why.counterfactual.and_then(|quiet| quiet.below) {
            let anomalous = |records: f64| {
                let mut counts = with_newcomers(records as u64);
                counts.sort_by_key(|(i, _)| key(*i));
                look(days()[40], &counts, |window| peak.judge(window).verdicts[0]).unwrap().anomalous
            };
            assert!(anomalous(below) && !anomalous(below - 1.0), "{records}: {below}");
        }
    }
    assert!(both[0] > 0 && both[1] > 0, "{both:?}");
}

#[test]
fn the_strangest_statistic_carries() {
    let peak = learned(Budget::default(), &quiet(40));
    let explanation = explain(&peak, 40, (100, 40));
    assert_eq!(explanation.carried_by, "records of the top sample");
    assert_eq!(explanation.evidence.len(), 4);
}

#[test]
fn keys_that_come_and_go_are_told_so() {
    let peak = learned(Budget::default(), &quiet(40));
    let gone = explain(&peak, 40, (0, 0));
    assert_eq!(gone.change, Some(Change::Gone));
    assert!(judge(&peak, 40, (0, 0)).unwrap().anomalous);
    let (verdict, new) = look(days()[40], &[(99, (90_000, 1))], |window| told(&peak, window, 0));
    assert_eq!(new.change, Some(Change::FirstSeen));
    assert!(verdict.anomalous && new.to_string().starts_with("first seen: records 9"), "{new}");
}

#[test]
fn small_effects_and_small_keys_can_be_left_out() {
    let rule = || Calibrated::new(Budget::default());
    let anomalous = |rule: Calibrated, records| {
        let peak = learned(rule, &quiet(40));
        judge(&peak, 40, (records, 1)).unwrap().anomalous
    };
    assert!(anomalous(rule(), 250));
    assert!(!anomalous(rule().with_minimum_effect(200.0, 0.0).unwrap(), 250));
    assert!(!anomalous(rule().with_minimum_effect(0.0, 2.0).unwrap(), 250));
    assert!(anomalous(rule().with_minimum_effect(100.0, 1.0).unwrap(), 250));
    let schema = Schema::file_types();
    let floor = |records| rule().with_floor(&schema, "task.severity", "key 0", records).unwrap();
    assert!(!anomalous(floor(500), 250));
    assert!(anomalous(floor(90), 250) && anomalous(floor(90), 0));
    assert!(rule().with_minimum_effect(-1.0, 0.0).is_err());
    assert!(rule().with_floor(&schema, "severity", "x", 1).is_err());
}

#[test]
fn a_memory_with_a_number_that_is_none_is_refused() {
    let feed: Feed = quiet(20).into_iter().chain([vec![(90, 30); 7]]).collect();
    let bytes = rmp_serde::to_vec(&learned(Budget::default(), &feed).memory()).unwrap();
    // Where a 64-bit floating-point number may stand: behind its marker.
    let places = (0..bytes.len() - 8).filter(|&at| bytes[at] == 0xcb);
    let mut refused = 0;
    for at in places {
        for odd in [f64::NAN, f64::INFINITY, -1e300] {
            let mut damaged = bytes.clone();
            damaged[at + 1..at + 9].copy_from_slice(&odd.to_be_bytes());
            let Ok(memory) = rmp_serde::from_slice(&damaged) else { continue };
            let restored = Peak::default().restore(memory);
            let error = restored.expect_err(&format!("{odd} at {at}")).to_string();
            assert!(error.starts_with("memory of"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 3 * 300, "{refused}");
}

#[test]
fn a_memory_of_another_rule_is_refused() {
    let classic = Peak::classic(peak_detectors::Classic::file_types(peak_core::Tz::UTC));
    let bytes = rmp_serde::to_vec(&classic.memory()).unwrap();
    let error = Peak::default().restore(rmp_serde::from_slice(&bytes).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("peak rule: must be"), "{error}");
    assert!(matches!(Peak::default().rule(), PeakRule::Calibrated(_)));
}
