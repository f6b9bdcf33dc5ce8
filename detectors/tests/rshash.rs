//! The streaming detector of rows: alarms, drift, missing values, memory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::snapshot;
use peak_detectors::{Detector, Footprint, Persist, Refusal, RsHash, RsHashBuilder, RsHashMemory, Verdict};
use proptest::prelude::*;

/// Reproducible noise between 0 and 1.
fn uniform(i: u64) -> f64 {
    let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Nearly normal noise: a sum of twelve uniform numbers.
fn normal(i: u64) -> f64 {
    (0..12).map(|j| uniform(12 * i + j)).sum::<f64>() - 6.0
}

/// A row of `width` features that share half of what moves them.
fn row(i: u64, width: u64) -> Vec<f64> {
    let common = normal(i * (width + 1));
    (0..width).map(|j| 10.0 * j as f64 + common + normal(i * (width + 1) + 1 + j)).collect()
}

fn trained(width: usize, rows: u64) -> RsHash {
    let mut detector = RsHash::builder(width).half_life(500).build().unwrap();
    (0..rows).for_each(|i| detector.learn(&row(i, width as u64)));
    detector
}

fn saved(detector: &RsHash) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot::write(&mut bytes, RsHash::KIND, RsHash::VERSION, &detector.memory()).unwrap();
    bytes
}

fn loaded(bytes: Vec<u8>) -> RsHashMemory {
    let mut stream = std::io::Cursor::new(bytes);
    snapshot::read(&mut stream, "memory", RsHash::KIND, RsHash::VERSION).unwrap()
}

/// The share of alarms among verdicts.
fn alarms(verdicts: impl IntoIterator<Item = Result<Verdict, Refusal>>) -> f64 {
    let verdicts: Vec<bool> = verdicts.into_iter().map(|judged| judged.unwrap().anomalous).collect();
    verdicts.iter().filter(|&&anomalous| anomalous).count() as f64 / verdicts.len() as f64
}

#[test]
fn outliers_fire_and_are_explained() {
    let names = ["a", "b", "c", "d", "e"];
    let mut detector = RsHash::builder(5).names(names).build().unwrap();
    (0..3_000).for_each(|i| detector.learn(&row(i, 5)));
    for feature in 0..5 {
        for off in [-1e9, -30.0, 30.0, 1e9] {
            let mut x = row(9_999, 5);
            x[feature] += off;
            let verdict = detector.judge(&x).unwrap();
            assert!(verdict.anomalous && verdict.p_value.unwrap() <= 0.01, "{off} in {feature}: {verdict:?}");

            let bits = detector.attribution(&x).unwrap();
            let strongest = (0..5).max_by(|&a, &b| bits[a].total_cmp(&bits[b])).unwrap();
            assert_eq!(strongest, feature, "{off}: {bits:?}");
            let explanation = detector.explain(&x).unwrap();
            assert_eq!(explanation.carried_by, names[feature]);
            let quiet = explanation.counterfactual.expect("one feature is to blame");
            assert_eq!((quiet.statistic.as_ref(), quiet.below.is_some()), (names[feature], off > 0.0));
            x[feature] = quiet.above.or(quiet.below).unwrap();
            assert!(!detector.judge(&x).unwrap().anomalous, "{quiet}");
        }
    }
    let threshold = detector.threshold().unwrap();
    let usual = detector.judge(&row(9_999, 5)).unwrap();
    assert!(!usual.anomalous && usual.score < threshold, "{usual:?} {threshold}");
    assert_eq!(detector.explain(&row(9_999, 5)).unwrap().counterfactual, None);
}

#[test]
fn values_that_are_only_strange_together_fire() {
    let mut detector = RsHash::builder(2).build().unwrap();
    let on_a_line = |i: u64| [uniform(i), 100.0 - 100.0 * uniform(i) + uniform(i + 1_000_000)];
    (0..4_000).for_each(|i| detector.learn(&on_a_line(i)));
    assert!(detector.judge(&[0.1, 10.0]).unwrap().anomalous);
    assert!(!detector.judge(&[0.1, 90.5]).unwrap().anomalous);
}

/// Measured: 100, 99.5, 91.5 and 68.5 %.
#[test]
fn one_wild_feature_among_many_mostly_fires() {
    let share_of = |width: u64| {
        let apart = |i: u64| -> Vec<f64> { (0..width).map(|j| normal(i * width + j)).collect() };
        let mut detector = RsHash::builder(width as usize).build().unwrap();
        (0..4_000).for_each(|i| detector.learn(&apart(i)));
        alarms((4_000..4_200).map(|i| {
            let mut x = apart(i);
            x[(i % width) as usize] += 1_000.0;
            detector.judge(&x)
        }))
    };
    let shares = [12, 30, 50, 100].map(share_of);
    let floors = [0.95, 0.9, 0.8, 0.5];
    assert!(shares.iter().zip(floors).all(|(share, floor)| *share > floor), "{shares:?}");
}

#[test]
fn false_alarms_are_as_configured() {
    for (width, rate) in [(2, 0.01), (10, 0.01), (4, 0.05)] {
        let mut detector = RsHash::builder(width).false_alarm_rate(rate).build().unwrap();
        let mut step = |i| detector.step(&row(i, width as u64));
        (0..2_000).for_each(|i| {
            let _ = step(i);
        });
        let share = alarms((2_000..22_000).map(step));
        assert!((0.6 * rate..1.3 * rate).contains(&share), "{width} features at {rate}: {share}");
    }
}

#[test]
fn nothing_is_anomalous_before_the_rate_can_be_told() {
    let mut detector = RsHash::builder(1).false_alarm_rate(0.01).build().unwrap();
    for i in 0..32 {
        let too_short = Err(Refusal::TooShort { have: i, need: 32 });
        assert_eq!(detector.step(&[uniform(i)]), too_short);
    }
    assert!((32..125).all(|i| !detector.step(&[1e6 * f64::from(i)]).unwrap().anomalous));
    assert_eq!(detector.threshold(), None);
}

/// Alarms at the shift, and quiet five half-lives later: also for shifts that are wild.
#[test]
fn a_level_shift_is_followed() {
    for shift in [15.0, 1e4, -1e9] {
        let mut detector = trained(4, 3_000);
        let shifted = |i: u64| -> Vec<f64> { row(i, 4).iter().map(|x| x + shift).collect() };
        let mut step = |i| detector.step(&shifted(i));
        assert!(alarms((3_000..3_005).map(&mut step)) >= 0.6, "{shift}");
        (3_005..5_500).for_each(|i| {
            let _ = step(i);
        });
        let share = alarms((5_500..8_500).map(&mut step));
        assert!(share < 0.03, "{shift}: {share}");
        // What was usual before is not any more.
        assert!(detector.judge(&row(9_999, 4)).unwrap().anomalous, "{shift}");
    }
}

#[test]
fn slow_drift_is_no_anomaly() {
    let mut detector = RsHash::builder(4).half_life(500).build().unwrap();
    let mut step = |i: u64| {
        let drifted: Vec<f64> = row(i, 4).iter().map(|x| x + i as f64 / 500.0).collect();
        detector.step(&drifted)
    };
    (0..2_000).for_each(|i| {
        let _ = step(i);
    });
    let share = alarms((2_000..12_000).map(step));
    assert!(share < 0.02, "{share}");
}

#[test]
fn missing_values_are_left_out() {
    for width in [2, 3, 5, 12] {
        let mut detector = RsHash::builder(width).build().unwrap();
        let holey = |i: u64| -> Vec<f64> {
            let mut x = row(i, width as u64);
            if i.is_multiple_of(3) {
                x[(i / 3) as usize % width] = f64::NAN;
            }
            x
        };
        (0..5_000).for_each(|i| {
            let _ = detector.step(&holey(i));
        });
        let share = alarms((5_000..6_000).map(|i| detector.judge(&holey(i))));
        assert!(share < 0.05, "{share}");
        for missing in 0..width {
            let mut x = row(7_001, width as u64);
            let strange = (missing + 1) % width;
            (x[missing], x[strange]) = (f64::NAN, 1e3);
            assert!(detector.judge(&x).unwrap().anomalous, "{width} features without {missing}");
            let bits = detector.attribution(&x).unwrap();
            assert!(bits[missing] == 0.0 && bits[strange] > 0.0, "{bits:?}");
            assert_eq!(detector.explain(&x).unwrap().carried_by, format!("feature {strange}"));
        }
        assert_eq!(detector.judge(&vec![f64::NAN; width]), Err(Refusal::Empty));
    }
}

/// A feature that was never there says nothing when it comes.
#[test]
fn what_was_never_seen_is_not_judged() {
    let mut detector = RsHash::builder(4).build().unwrap();
    for i in 0..1_000 {
        let mut x = row(i, 4);
        x[2] = f64::NAN;
        detector.learn(&x);
    }
    let mut x = row(2_000, 4);
    x[2] = f64::NAN;
    let without = detector.judge(&x).unwrap();
    x[2] = 5.0;
    assert_eq!(detector.judge(&x).unwrap(), without);
    assert_eq!(detector.judge(&[f64::NAN, f64::NAN, 5.0, f64::NAN]), Err(Refusal::Empty));
}

#[test]
fn rows_that_cannot_be_judged_are_not_learned() {
    let mut detector = trained(3, 500);
    let before = saved(&detector);
    assert_eq!(detector.step(&[1.0]), Err(Refusal::WrongWidth { have: 1, need: 3 }));
    assert_eq!(detector.step(&[]), Err(Refusal::WrongWidth { have: 0, need: 3 }));
    assert_eq!(detector.step(&[1.0, f64::INFINITY, 1.0]), Err(Refusal::NotFinite));
    assert_eq!(detector.step(&[1.0, 1e151, f64::NAN]), Err(Refusal::NotFinite));
    assert_eq!(detector.step(&[f64::NAN; 3]), Err(Refusal::Empty));
    assert!(saved(&detector) == before);
    assert_eq!(Refusal::WrongWidth { have: 1, need: 3 }.to_string(), "wrong width: have 1, need 3");
}

/// What was learned does not fade while there is nothing that a grid could look at.
#[test]
fn a_dead_sensor_leaves_no_trace() {
    let nan = f64::NAN;
    for (width, dead) in [(1, vec![nan]), (4, vec![nan, nan, 5.0, nan]), (5, vec![0.5, nan, nan, nan, 0.5])] {
        let mut detector = trained(width, 500);
        let before = saved(&detector);
        for _ in 0..5_000 {
            assert_eq!(detector.judge(&dead), Err(Refusal::Empty));
            assert_eq!(detector.step(&dead), Err(Refusal::Empty));
        }
        assert!(saved(&detector) == before);
    }
}

/// The first values of a feature are not judged, but learned: else they never would be.
#[test]
fn a_feature_that_appears_late_is_learned() {
    let mut detector = RsHash::builder(2).build().unwrap();
    (0..500).for_each(|i| detector.learn(&[uniform(i), f64::NAN]));
    let late = |i: u64| [f64::NAN, uniform(i)];
    assert_eq!(detector.step(&late(0)), Err(Refusal::TooShort { have: 0, need: RsHash::LEAST }));
    (1..200).for_each(|i| detector.learn(&late(i)));
    assert!(!detector.judge(&late(200)).unwrap().anomalous);
    assert!(detector.judge(&[f64::NAN, 1e6]).unwrap().anomalous);
}

#[test]
fn memory_stays_constant() {
    let mut detector = trained(6, 40);
    let (saved_first, bytes) = (saved(&detector).len(), detector.bytes());
    (40..30_000).for_each(|i| detector.learn(&row(i, 6)));
    assert_eq!((saved(&detector).len(), detector.bytes()), (saved_first, bytes));
    assert!(bytes < 60_000 && saved_first < 70_000, "{bytes} {saved_first}");
}

#[test]
fn restored_the_next_outputs_are_the_same_bits() {
    // Long enough for counts to have been made lighter: a row weighs 2^40 after 40 half-lives.
    let make = || RsHash::builder(5).half_life(100).false_alarm_rate(0.02).seed(9).build().unwrap();
    let mut detector = make();
    (0..4_500).for_each(|i| detector.learn(&row(i, 5)));
    let mut restored = make();
    restored.restore(loaded(saved(&detector))).unwrap();
    for i in 4_500..5_500 {
        let mut x = row(i, 5);
        if i % 50 == 0 {
            x[(i % 5) as usize] = if i % 100 == 0 { f64::NAN } else { 99.0 };
        }
        let (a, b) = (detector.step(&x).unwrap(), restored.step(&x).unwrap());
        assert_eq!((a.score.to_bits(), a.anomalous), (b.score.to_bits(), b.anomalous));
        assert_eq!(a.p_value.unwrap().to_bits(), b.p_value.unwrap().to_bits());
    }
    assert!(saved(&detector) == saved(&restored));
}

#[test]
fn memory_of_another_detector_or_damaged_is_refused() {
    let detector = trained(3, 100);
    let restore = |mut other: RsHash| other.restore(loaded(saved(&detector)));
    assert!(restore(RsHash::builder(3).build().unwrap()).is_ok());
    assert!(restore(RsHash::builder(3).names(["x", "y", "z"]).half_life(9_000).build().unwrap()).is_ok());
    assert!(restore(RsHash::builder(4).build().unwrap()).is_err());
    assert!(restore(RsHash::builder(3).seed(1).build().unwrap()).is_err());
    assert!(restore(RsHash::builder(3).grids(150).build().unwrap()).is_err());

    let good = serde_json::to_value(detector.memory()).unwrap();
    let damaged = |path: &str, value: serde_json::Value| {
        let mut memory = good.clone();
        *memory.pointer_mut(path).unwrap() = value;
        let memory: RsHashMemory = serde_json::from_value(memory).unwrap();
        let before = saved(&trained(3, 50));
        let mut other = trained(3, 50);
        let refused = other.restore(memory).is_err();
        assert!(!refused || saved(&other) == before, "{path}: refused, yet something changed");
        refused
    };
    assert!(!damaged("/learned", 3.into()));
    assert!(damaged("/learned", 33.into()));
    assert!(damaged("/unit", 0.0.into()) && damaged("/unit", 1e300.into()));
    assert!(damaged("/counts/7", (-1.0).into()) && damaged("/totals/7", 1e30.into()));
    assert!(damaged("/counts", serde_json::json!([1.0])) && damaged("/scales", serde_json::json!([])));
    assert!(damaged("/scales/1/deviation", (-1.0).into()) && damaged("/scales/1/mean", 1e200.into()));
    assert!(damaged("/scales/1/patience", 0.0.into()) && damaged("/scales/1/weight", 1e9.into()));
    assert!(damaged("/tail/counts", serde_json::json!([1.0])) && damaged("/tail/counts/0", (-1.0).into()));
}

#[test]
fn what_makes_no_sense_cannot_be_made() {
    let message = |builder: RsHashBuilder| builder.build().unwrap_err().to_string();
    assert_eq!(message(RsHash::builder(0)), r#"width: must be from 1 to 65536, got "0""#);
    assert!(RsHash::builder(70_000).build().is_err());
    let half_life = RsHash::builder(1).half_life(15);
    assert_eq!(message(half_life), r#"half_life: must be from 16 to 1000000 rows, got "15""#);
    assert!(message(RsHash::builder(1).grids(0)).starts_with("grids: "));
    for rate in [0.0, -1.0, 0.51, f64::NAN, 0.000_1] {
        assert!(message(RsHash::builder(1).false_alarm_rate(rate)).starts_with("false_alarm_rate: "));
    }
    assert_eq!(message(RsHash::builder(2).names(["a"])), r#"names: must be 2, one a feature, got "1""#);
    assert_eq!(message(RsHash::builder(2).names(["a", "a"])), r#"names: must differ, got "a""#);
}

#[test]
fn a_builder_is_the_same_when_it_was_data() {
    let full = RsHash::builder(2).names(["a", "b"]).half_life(300).grids(50).false_alarm_rate(0.1).seed(7);
    for builder in [RsHash::builder(5), full] {
        let data = serde_json::to_string(&builder).unwrap();
        assert_eq!(serde_json::from_str::<RsHashBuilder>(&data).unwrap(), builder, "{data}");
    }
    let refused = |data| serde_json::from_str::<RsHashBuilder>(data).unwrap_err().to_string();
    assert!(refused("{}").contains("width: must be from 1 to 65536"));
    assert!(refused(r#"{"width": 2, "names": ["a"]}"#).contains("names: must be 2"));
    assert!(refused(r#"{"width": 2, "rate": 0.1}"#).contains("unknown field `rate`"));
}

/// The smallest rate that can be configured is reached.
#[test]
fn the_least_rate_can_be_told() {
    for half_life in [16, 100, 5_000] {
        let rate = 1.4 / f64::from(half_life);
        let mut detector = RsHash::builder(1).half_life(half_life).false_alarm_rate(rate).build().unwrap();
        (0..10 * u64::from(half_life)).for_each(|i| detector.learn(&[uniform(i)]));
        assert!(detector.judge(&[1e6]).unwrap().anomalous, "{half_life}");
    }
}

#[test]
fn seeds_give_other_grids() {
    let score = |seed| {
        let mut detector = RsHash::builder(3).seed(seed).build().unwrap();
        (0..100).for_each(|i| detector.learn(&row(i, 3)));
        detector.judge(&row(100, 3)).unwrap().score.to_bits()
    };
    assert!(score(1) == score(1) && score(1) != score(2));
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -3.0..3.0f64,
        1 => prop::sample::select(vec![
            0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 5e-324, 1e150, -1e150,
            f64::MAX, 1e-150, 1e9,
        ]),
        1 => any::<f64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever comes: no panic, finite scores, probabilities, and a step is judging, then learning.
    #[test]
    fn the_laws_hold_for_any_rows(
        width in 1..6usize,
        half_life in 140..400u32,
        values in prop::collection::vec(anything(), 0..300),
        runs in prop::collection::vec(1..40usize, 1..20),
    ) {
        let mut detector = RsHash::builder(width).half_life(half_life).grids(20).build().unwrap();
        // Rows repeat, as they do when a sensor hangs.
        for (x, run) in values.chunks_exact(width).zip(runs.iter().cycle()) {
            for _ in 0..*run {
                let judged = detector.judge(x);
                if let Ok(verdict) = judged {
                    prop_assert!(verdict.score.is_finite() && verdict.score > -1e-9, "{verdict:?}");
                    prop_assert!(verdict.p_value.is_some_and(|p| 0.0 < p && p <= 1.0), "{verdict:?}");
                }
                prop_assert_eq!(judged, detector.step(x));
            }
            prop_assert_eq!(detector.judge(x).err(), detector.explain(x).err());
        }
        let mut restored = RsHash::builder(width).half_life(half_life).grids(20).build().unwrap();
        prop_assert!(restored.restore(loaded(saved(&detector))).is_ok(), "what was learned is not valid");
    }
}
