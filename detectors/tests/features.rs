//! Features are what their definitions say, live as in a batch, and a detector of rows works behind them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{ExactSum, Key, Result, Timestamp, Tz, snapshot};
use peak_detectors::testing::check_detector;
use peak_detectors::{
    Counterfactual, Detector, Evidence, Explanation, Feature, Features, FeaturesBuilder, IsolationForest,
    OnFeatures, Persist, Point, Reading, Readings, Refusal, Standardisation, TimeFeature, Verdict,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const NAN: f64 = f64::NAN;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

/// Every feature there is of two metrics, with windows of 10 and 60 seconds.
fn all_features() -> Features {
    let window =
        |length| [Feature::Mean(length), Feature::Std(length), Feature::Min(length), Feature::Max(length)];
    let features = [Feature::Value, Feature::Lag(1), Feature::Lag(3), Feature::Difference, Feature::Rate];
    let features = features.into_iter().chain(window(10 * SECOND)).chain(window(MINUTE));
    let all_of_time = [TimeFeature::Epoch, TimeFeature::Relative, TimeFeature::Hour, TimeFeature::Weekday];
    Features::builder().zone(Tz::Asia__Tokyo).time(all_of_time).metrics(["a", "b"], features).build().unwrap()
}

/// The same from the definitions, in several passes over all readings of a key up to this one.
fn by_definition(past: &[(i64, Vec<f64>)]) -> Vec<f64> {
    let (time, values) = past.last().unwrap();
    let local = time + 9 * 3_600_000;
    let turn = |part: i64, whole: i64| (part as f64 / whole as f64 * std::f64::consts::TAU).sin_cos();
    let hour = turn(local % 86_400_000, 86_400_000);
    let weekday = turn((local + 3 * 86_400_000) % (7 * 86_400_000), 7 * 86_400_000);
    let mut row =
        vec![*time as f64 / 1e3, (time - past[0].0) as f64 / 1e3, hour.0, hour.1, weekday.0, weekday.1];
    for (metric, &x) in values.iter().enumerate() {
        let lag = |readings: usize| past[past.len() - 1 - readings].1[metric];
        let before = past[..past.len() - 1].iter().rev().find(|(_, values)| !values[metric].is_nan());
        let (since, before) = before.map_or((0, NAN), |(time, values)| (*time, values[metric]));
        let grown = if x < before { NAN } else { x - before };
        row.extend([x, lag(1), lag(3), x - before, grown / ((time - since) as f64 / 1e3)]);
        for window in [10_000, 60_000] {
            let inside = past.iter().filter(|(t, _)| *t > time - window).map(|(_, values)| values[metric]);
            let inside: Vec<f64> = inside.filter(|x| !x.is_nan()).collect();
            let (n, mut sum) = (inside.len() as f64, ExactSum::default());
            inside.iter().for_each(|&x| sum.add(x));
            let mean = sum.value() / n;
            let squares: f64 = inside.iter().map(|x| (x - mean).powi(2)).sum();
            // The mean of values that are all the same may be rounded; they do not deviate.
            let is_same = inside.iter().all(|x| *x == inside[0]);
            let deviation = if is_same { 0.0 } else { (squares / (n - 1.0)).sqrt() };
            let deviation = if inside.len() > 1 { deviation } else { NAN };
            row.extend([mean, deviation]);
            row.push(inside.iter().copied().fold(NAN, f64::min));
            row.push(inside.iter().copied().fold(NAN, f64::max));
        }
    }
    row
}

/// Equal, but for the last digits of what is not computed in the same way.
fn assert_close(names: &[String], row: &[f64], expected: &[f64]) {
    for (name, (&x, &y)) in names.iter().zip(row.iter().zip(expected)) {
        let is_rounded = ["std", "rate", "sin", "cos"].iter().any(|part| name.contains(part));
        let tolerance = if is_rounded { 1e-9 * y.abs().max(1e-3) } else { 0.0 };
        assert!((x - y).abs() <= tolerance || x.is_nan() && y.is_nan(), "{name}: {x}, by definition {y}");
    }
}

fn bits(row: &std::result::Result<Vec<f64>, Refusal>) -> String {
    match row {
        Ok(row) => format!("{:?}", row.iter().map(|x| x.to_bits()).collect::<Vec<_>>()),
        Err(refusal) => format!("{refusal:?}"),
    }
}

fn memory(of: &impl Persist) -> Vec<u8> {
    fn written<P: Persist>(of: &P) -> Vec<u8> {
        let mut bytes = Vec::new();
        snapshot::write(&mut bytes, P::KIND, P::VERSION, &of.memory()).unwrap();
        bytes
    }
    written(of)
}

fn restore<P: Persist>(into: &mut P, bytes: Vec<u8>) -> Result<()> {
    into.restore(snapshot::read(&mut Cursor::new(bytes), "memory", P::KIND, P::VERSION)?)
}

/// Values of telemetry: mostly alike, some the same, some missing, some far away.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..100.0,
        3 => (0i32..3).prop_map(f64::from),
        2 => Just(NAN),
        1 => prop_oneof![Just(-0.0), Just(1e9), Just(-1e-9), Just(1e99), Just(f64::INFINITY)],
    ]
}

/// Readings of three keys: which key, milliseconds since the reading before, two values.
fn feed() -> impl Strategy<Value = Readings> {
    let step = prop_oneof![8 => 1..5_000i64, 2 => Just(1_000), 1 => 5_000..200_000i64, 1 => -3_000..=0i64];
    prop::collection::vec((0..3usize, step, value(), value()), 0..150).prop_map(|steps| {
        let keys = ["x", "y", "z"].map(|name| Key::new([name]));
        let (mut readings, mut time) = (Readings::default(), 1_700_000_000_000);
        for (key, step, a, b) in steps {
            time += step;
            readings.push(&Reading::new(&keys[key], at(time), &[a, b]));
        }
        readings
    })
}

#[test]
fn a_builder_is_the_same_when_it_was_data() {
    let window = [Feature::Mean(MINUTE), Feature::Std(MINUTE), Feature::Min(SECOND), Feature::Max(SECOND)];
    let others = [Feature::Value, Feature::Lag(2), Feature::Difference, Feature::Rate, Feature::Residual];
    let full = Features::builder().zone(Tz::Asia__Tokyo).time([TimeFeature::Epoch, TimeFeature::Weekday]);
    let full = full.metrics(["b", "a"], window).metrics(["a"], others).most_readings(99);
    for builder in
        [Features::builder().metrics(["x"], [Feature::Value]), full.standardisation(Standardisation::Robust)]
    {
        let data = serde_json::to_string(&builder).unwrap();
        assert_eq!(serde_json::from_str::<FeaturesBuilder>(&data).unwrap(), builder, "{data}");
    }
    let refused = |data| serde_json::from_str::<FeaturesBuilder>(data).unwrap_err().to_string();
    assert!(refused("{}").contains("metrics: must be at least one"));
    let twice = r#"{"metrics": [{"name": "a", "features": ["rate"]}, {"name": "a", "features": ["value"]}]}"#;
    assert!(refused(twice).contains(r#"metrics: must differ, got "a""#));
    let lag = r#"{"metrics": [{"name": "a", "features": [{"lag": 0}]}]}"#;
    assert!(refused(lag).contains("a.lag0: must be from 1 to 10000 readings"));
    assert!(refused(r#"{"readings": 9}"#).contains("unknown field `readings`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn features_are_what_their_definitions_say(feed in feed()) {
        let mut features = all_features();
        let mut past: BTreeMap<Key, Vec<(i64, Vec<f64>)>> = BTreeMap::new();
        for reading in feed.iter() {
            let past = past.entry(reading.key.clone()).or_default();
            let row = features.step(&reading);
            let time = reading.time.millis();
            let expected = match past.last() {
                _ if reading.values.iter().any(|x| x.is_infinite()) => Err(Refusal::NotFinite),
                _ if reading.values.iter().all(|x| x.is_nan()) => Err(Refusal::Empty),
                Some(last) if time < last.0 => Err(Refusal::Late),
                Some(last) if time == last.0 => Err(Refusal::Duplicate),
                _ => Ok(()),
            };
            if let Err(refusal) = expected {
                prop_assert_eq!(row, Err(refusal));
                continue;
            }
            past.push((time, reading.values.to_vec()));
            let (have, span) = (past.len() as u64 - 1, (time - past[0].0) as u64);
            match row {
                Ok(row) => assert_close(features.names(), &row, &by_definition(past)),
                Err(refusal) if have < 3 => prop_assert_eq!(refusal, Refusal::TooShort { have, need: 3 }),
                Err(refusal) => {
                    prop_assert!(span < 60_000);
                    prop_assert_eq!(refusal, Refusal::Incomplete { have: span / 1_000, need: 60 });
                }
            }
        }
    }

    #[test]
    fn judging_leaves_no_trace_and_a_batch_is_its_steps(feed in feed(), cut in 0..150usize) {
        let (mut live, mut batch, mut apart) = (all_features(), all_features(), all_features());
        let rows = batch.rows(feed.iter());
        let mut expected: Vec<std::result::Result<Vec<f64>, Refusal>> = vec![Err(Refusal::Boring { same: 0 }); feed.len()];
        rows.refused.iter().for_each(|&(place, refusal)| expected[place] = Err(refusal));
        rows.readings.iter().zip(rows.matrix.rows()).for_each(|(&place, row)| expected[place] = Ok(row.to_vec()));
        for (place, reading) in feed.iter().enumerate() {
            let before = memory(&live);
            let row = live.features(&reading);
            prop_assert_eq!(bits(&row), bits(&live.features(&reading)));
            prop_assert!(memory(&live) == before);
            prop_assert_eq!(bits(&row), bits(&live.step(&reading)), "judged and stepped, reading {}", place);
            prop_assert_eq!(bits(&row), bits(&expected[place]), "live and batch, reading {}", place);
            let taken = apart.learn(&reading);
            prop_assert_eq!(taken.is_ok(), memory(&live) != before);
            prop_assert!(memory(&apart) == memory(&live));
            if place == cut {
                let mut restored = all_features();
                restore(&mut restored, memory(&live)).unwrap();
                prop_assert!(memory(&restored) == memory(&live));
                live = restored;
            }
        }
        prop_assert!(memory(&batch) == memory(&live));
    }

    #[test]
    fn a_key_keeps_no_more_readings_than_it_may(feed in feed()) {
        const MOST: usize = 5;
        let window = [Feature::Mean(MINUTE), Feature::Std(MINUTE), Feature::Min(MINUTE), Feature::Max(MINUTE)];
        let build = || Features::builder().metrics(["a", "b"], window).most_readings(MOST).build().unwrap();
        let mut features = build();
        let mut past: BTreeMap<Key, Vec<(i64, Vec<f64>)>> = BTreeMap::new();
        for reading in feed.iter() {
            if features.learn(&reading).is_ok() {
                past.entry(reading.key.clone()).or_default().push((reading.time.millis(), reading.values.to_vec()));
            }
            let Some(past) = past.get(reading.key) else { continue };
            let next = past.last().unwrap().0 + 60_000 - 1;
            let row = features.features(&Reading::new(reading.key, at(next), &[1.5, 2.5]));
            let Ok(row) = row else {
                prop_assert!(next - past[0].0 < 60_000, "{row:?} after a minute");
                continue;
            };
            let inside = past.iter().rev().take(MOST - 1).filter(|(time, _)| *time > next - 60_000);
            let inside: Vec<f64> = inside.map(|(_, values)| values[0]).chain([1.5]).filter(|x| !x.is_nan()).collect();
            prop_assert_eq!(row[2], inside.iter().copied().fold(NAN, f64::min));
            prop_assert_eq!(row[3], inside.iter().copied().fold(NAN, f64::max));
        }
    }
}

#[test]
fn what_passes_through_a_window_leaves_nothing_behind() {
    let window = [Feature::Mean(MINUTE), Feature::Std(MINUTE)];
    let build = || Features::builder().metrics(["a"], window).build().unwrap();
    let key = Key::new(["x"]);
    let (mut live, mut fresh) = (build(), build());
    for i in 0..100_000 {
        let extreme = [1e99, -3e80, 1e-300, 1e16].get(i as usize % 97).copied();
        let value = extreme.filter(|_| i < 99_000).unwrap_or((i * 7_919 % 10_007) as f64 / 97.0);
        let values = [value];
        let reading = Reading::new(&key, at(1_000 * i), &values);
        let row = live.step(&reading);
        if i >= 99_700 {
            let expected = fresh.step(&reading);
            assert_eq!(bits(&expected), bits(if expected.is_ok() { &row } else { &expected }), "reading {i}");
        }
    }
    // Where all values are the same, there is no deviation at all.
    for i in 100_000..100_200 {
        let row = live.step(&Reading::new(&key, at(1_000 * i), &[0.1 + 1e9])).unwrap();
        assert!(i < 100_059 || row == [0.1 + 1e9, 0.0], "{row:?}");
    }
}

#[test]
fn a_reading_that_cannot_be_read_is_refused_and_changes_nothing() {
    let (mut features, key) = (all_features(), Key::new(["x"]));
    features.learn(&Reading::new(&key, at(5_000), &[1.0, 2.0])).unwrap();
    let before = memory(&features);
    let bad: [(i64, &[f64], Refusal); 8] = [
        (6_000, &[1.0], Refusal::WrongWidth { have: 1, need: 2 }),
        (6_000, &[1.0, 2.0, 3.0], Refusal::WrongWidth { have: 3, need: 2 }),
        (6_000, &[], Refusal::WrongWidth { have: 0, need: 2 }),
        (6_000, &[1.0, f64::NEG_INFINITY], Refusal::NotFinite),
        (6_000, &[Point::LIMIT, NAN], Refusal::NotFinite),
        (6_000, &[NAN, NAN], Refusal::Empty),
        (5_000, &[1.0, 2.0], Refusal::Duplicate),
        (4_999, &[1.0, 2.0], Refusal::Late),
    ];
    for (time, values, refusal) in bad {
        let reading = Reading::new(&key, at(time), values);
        assert_eq!(features.features(&reading), Err(refusal));
        assert_eq!(features.step(&reading), Err(refusal));
        assert_eq!(features.learn(&reading), Err(refusal));
    }
    assert!(memory(&features) == before);
    let unknown = Key::new(["y"]);
    assert_eq!(features.learn(&Reading::new(&unknown, at(1), &[NAN, NAN])), Err(Refusal::Empty));
    assert!(memory(&features) == before, "a key comes with its first good reading");
    assert_eq!(Refusal::WrongWidth { have: 1, need: 2 }.to_string(), "wrong width: have 1, need 2");
}

#[test]
fn time_goes_by_the_wall_clock_of_the_zone() {
    let of_time = |zone| {
        let time = [TimeFeature::Hour, TimeFeature::Weekday];
        Features::builder().zone(zone).time(time).metrics(["a"], [Feature::Value]).build().unwrap()
    };
    let key = Key::new(["x"]);
    let angle = |features: &Features, text: &str| {
        let row = features.features(&Reading::new(&key, Timestamp::parse(text).unwrap(), &[1.0])).unwrap();
        let turn =
            |sin: f64, cos: f64| sin.atan2(cos).rem_euclid(std::f64::consts::TAU) / std::f64::consts::TAU;
        // Hours since midnight, days since the midnight of Monday; to the millisecond.
        let round = |x: f64| (x * 1e7).round() / 1e7;
        (round(24.0 * turn(row[0], row[1])), round(7.0 * turn(row[2], row[3])))
    };
    let utc = of_time(Tz::UTC);
    assert_eq!(angle(&utc, "2024-01-01T00:00:00Z"), (0.0, 0.0), "a Monday");
    assert_eq!(angle(&utc, "2024-01-07T18:00:00Z"), (18.0, 6.75));
    assert_eq!(angle(&utc, "1970-01-01T12:00:00Z"), (12.0, 3.5), "a Thursday");
    let mut new_york = of_time(Tz::America__New_York);
    assert_eq!(angle(&new_york, "2024-01-01T00:00:00Z"), (19.0, 6.7916667), "Sunday evening");
    // Clocks go forward from 2 to 3 on March 10th, and back on November 3rd.
    assert_eq!(angle(&new_york, "2024-03-10T06:30:00Z").0, 1.5);
    assert_eq!(angle(&new_york, "2024-03-10T07:30:00Z").0, 3.5);
    assert_eq!(angle(&new_york, "2024-11-03T05:30:00Z").0, 1.5);
    assert_eq!(angle(&new_york, "2024-11-03T06:30:00Z").0, 1.5);
    // An offset that is remembered does not stick.
    new_york.learn(&Reading::new(&key, at(1_700_000_000_000), &[1.0])).unwrap();
    assert_eq!(angle(&new_york, "2024-03-10T07:30:00Z").0, 3.5);
    assert_eq!(angle(&of_time(Tz::Australia__Lord_Howe), "2024-01-01T00:00:00Z").0, 11.0);
}

#[test]
fn missing_values_make_missing_features_and_count_for_nothing() {
    let window = 10 * SECOND;
    let features = [
        Feature::Value,
        Feature::Lag(1),
        Feature::Difference,
        Feature::Rate,
        Feature::Mean(window),
        Feature::Std(window),
        Feature::Max(window),
    ];
    let mut features = Features::builder().metrics(["a", "b"], features).build().unwrap();
    let key = Key::new(["x"]);
    let mut row_of =
        |time, a| features.step(&Reading::new(&key, at(time), &[a, 0.0])).map(|row| row[..7].to_vec());
    assert_eq!(row_of(0, 3.0), Err(Refusal::TooShort { have: 0, need: 1 }));
    assert_eq!(row_of(4_000, NAN), Err(Refusal::Incomplete { have: 4, need: 10 }));
    row_of(8_000, 5.0).unwrap_err();
    let same = |row: Vec<f64>, expected: [f64; 7]| assert_eq!(format!("{row:?}"), format!("{expected:?}"));
    same(row_of(12_000, NAN).unwrap(), [NAN, 5.0, NAN, NAN, 5.0, NAN, 5.0]);
    same(row_of(16_000, 9.0).unwrap(), [9.0, NAN, 4.0, 0.5, 7.0, 8f64.sqrt(), 9.0]);
    same(row_of(90_000, NAN).unwrap(), [NAN, 9.0, NAN, NAN, NAN, NAN, NAN]);
    same(row_of(90_500, 8.0).unwrap(), [8.0, NAN, -1.0, NAN, 8.0, NAN, 8.0]);
}

/// A counter that starts anew is no alarm: what it counted is not known.
#[test]
fn the_rate_of_a_counter_that_starts_anew_is_missing() {
    let mut features = Features::builder().metrics(["errors_total"], [Feature::Rate]).build().unwrap();
    let key = Key::new(["web"]);
    let mut rates = Vec::new();
    for (i, shown) in [1_000.0, 1_010.0, 1_020.0, 5.0, 15.0, 15.0].into_iter().enumerate() {
        let row = features.step(&Reading::new(&key, at(1_000 * i as i64), &[shown]));
        rates.extend(row.map(|row| row[0]));
    }
    assert_eq!(format!("{rates:?}"), format!("{:?}", [10.0, 10.0, NAN, 10.0, 0.0]));
}

#[test]
fn standardised_rows_are_those_of_the_training_feed_scaled() {
    let build = |how| {
        let features = [Feature::Value, Feature::Difference];
        Features::builder().metrics(["a"], features).standardisation(how).build().unwrap()
    };
    let key = Key::new(["x"]);
    let mut readings = Readings::default();
    (0..101).for_each(|i: i64| readings.push(&Reading::new(&key, at(1_000 * i), &[(i * 37 % 101) as f64])));
    let raw = build(Standardisation::None).fit(readings.iter()).unwrap().matrix;
    for how in [Standardisation::Standard, Standardisation::Robust] {
        let mut features = build(how);
        let next = Reading::new(&key, at(0), &[1.0]);
        assert_eq!(features.features(&next), Err(Refusal::TooShort { have: 0, need: 1 }));
        readings.iter().for_each(|reading| drop(features.step(&reading)));
        let unfitted = features.features(&Reading::new(&key, at(1_000_000), &[1.0]));
        assert_eq!(unfitted, Err(Refusal::TooShort { have: 0, need: 2 }));

        let rows = features.fit(readings.iter()).unwrap().matrix;
        for (column, raw) in rows.columns().into_iter().zip(raw.columns()) {
            let n = column.len() as f64;
            if how == Standardisation::Standard {
                let squares: f64 = column.iter().map(|x| x * x).sum();
                assert!(column.sum().abs() < 1e-9 && (squares / (n - 1.0) - 1.0).abs() < 1e-9);
            } else {
                let mut sorted = column.to_vec();
                sorted.sort_by(f64::total_cmp);
                assert!(
                    ((sorted[74] + sorted[75]) / 2.0 - (sorted[24] + sorted[25]) / 2.0 - 1.0).abs() < 0.05
                );
                assert!((sorted[49] + sorted[50]).abs() < 1e-9, "the median is 0");
            }
            let other = raw.iter().position(|&x| x != raw[0]).unwrap();
            let ratio = (column[other] - column[0]) / (raw[other] - raw[0]);
            let linear = |i: usize| (column[i] - column[0] - ratio * (raw[i] - raw[0])).abs() < 1e-9;
            assert!((0..column.len()).all(linear), "one scale for the whole column");
        }
        // Applied unchanged to what comes next, and to a feed of another key.
        let first = (features.step(&Reading::new(&key, at(200_000), &[50.0])).unwrap()[0], rows[[0, 0]]);
        assert!((first.0 - first.1).abs() > 0.0);
        let of_50 = raw.column(0).iter().position(|&x| x == 50.0).unwrap();
        assert_eq!(first.0, rows[[of_50, 0]]);
    }
}

#[test]
fn quiet_keys_are_forgotten() {
    let mut features = Features::builder()
        .time([TimeFeature::Relative])
        .metrics(["a"], [Feature::Difference])
        .build()
        .unwrap();
    let keys = ["x", "y", "z"].map(|name| Key::new([name]));
    for (key, time) in keys.iter().zip([1_000, 2_000, 3_000]) {
        features.learn(&Reading::new(key, at(time), &[1.0])).unwrap();
    }
    features.forget_before(at(2_000));
    assert_eq!(features.keys(), 2);
    let of = |key| features.features(&Reading::new(key, at(9_000), &[5.0]));
    assert_eq!(of(&keys[0]), Err(Refusal::TooShort { have: 0, need: 1 }));
    assert_eq!(of(&keys[1]), Ok(vec![7.0, 4.0]));
}

#[test]
fn what_makes_no_sense_cannot_be_built() {
    let error = |builder: peak_detectors::FeaturesBuilder| builder.build().unwrap_err().to_string();
    let with = |features: &[Feature]| Features::builder().metrics(["cpu"], features.iter().copied());
    assert_eq!(error(Features::builder()), r#"metrics: must be at least one, got "0""#);
    assert_eq!(error(with(&[])), r#"features of cpu: must be at least one, got "0""#);
    assert_eq!(
        error(Features::builder().metrics([""], [Feature::Value])),
        r#"metric: must be named, without control characters, got """#
    );
    assert_eq!(
        error(with(&[Feature::Rate, Feature::Mean(MINUTE), Feature::Mean(60 * SECOND)])),
        r#"features: must have names that differ, got "cpu.mean_1m""#
    );
    assert_eq!(error(with(&[Feature::Lag(0)])), r#"cpu.lag0: must be from 1 to 10000 readings, got "0""#);
    let rule = "must have a window of whole milliseconds, from 1 ms to 366 days";
    for (window, shown) in
        [(Duration::ZERO, "0ns"), (Duration::from_micros(1_500), "1.5ms"), (MINUTE * 9_999_999, "599999940s")]
    {
        assert!(error(with(&[Feature::Max(window)])).ends_with(&format!("{rule}, got {shown:?}")));
    }
    let few = with(&[Feature::Lag(7)]).most_readings(7);
    assert_eq!(error(few), r#"most readings: must be from 8 to 16777216, got "7""#);
    let windows = [1, 1_500, 90_000, 3_600_000, 172_800_000].map(Duration::from_millis).map(Feature::Min);
    let named = with(&windows).build().unwrap();
    assert_eq!(named.names(), ["cpu.min_1ms", "cpu.min_1500ms", "cpu.min_90s", "cpu.min_1h", "cpu.min_2d"]);
}

#[test]
fn a_feed_that_teaches_nothing_fits_nothing() {
    let build = || {
        let standardised = Features::builder().standardisation(Standardisation::Robust);
        standardised.metrics(["a", "b"], [Feature::Lag(1)]).build().unwrap()
    };
    let (mut features, key) = (build(), Key::new(["x"]));
    let reading = |time, values| Reading::new(&key, at(time), values);
    let few = [reading(0, &[1.0, 2.0]), reading(1, &[1.0, 2.0]), reading(1, &[1.0, 2.0])];
    assert_eq!(
        features.fit(few).unwrap_err().to_string(),
        r#"training feed: must give 2 rows or more, got "1; 2 readings refused, the last: duplicate""#
    );
    let dead: Vec<_> = (0..9).map(|i| reading(i, &[1.0, NAN])).collect();
    assert_eq!(
        features.fit(dead).unwrap_err().to_string(),
        r#"training feed: must have a value of every feature, got "none of b.lag1""#
    );
    assert!(memory(&features) == memory(&build()), "nothing was learned");
}

/// How many standard deviations a row is away from the mean of the rows before, at most.
#[derive(Debug, Clone, Default)]
struct Farthest {
    names: Vec<String>,
    learned: Learned,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Learned {
    rows: u64,
    /// Per column mean and squared deviations.
    columns: Vec<(f64, f64)>,
}

impl Farthest {
    fn distance(&self, row: &[f64]) -> Result<(usize, f64), Refusal> {
        let n = self.learned.rows;
        if n < 30 {
            return Err(Refusal::TooShort { have: n, need: 30 });
        }
        let off = row.iter().zip(&self.learned.columns);
        let off =
            off.map(|(x, (mean, squares))| (x - mean).abs() / (squares / (n - 1) as f64).sqrt().max(1e-9));
        let farthest = off.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        farthest.filter(|(_, off)| !off.is_nan()).ok_or(Refusal::NotFinite)
    }
}

impl Detector<[f64]> for Farthest {
    fn judge(&self, row: &[f64]) -> Result<Verdict, Refusal> {
        let (_, score) = self.distance(row)?;
        Ok(Verdict { score, anomalous: score > 10.0, p_value: None })
    }

    fn learn(&mut self, row: &[f64]) {
        self.learned.rows += 1;
        self.learned.columns.resize(row.len(), (0.0, 0.0));
        for (x, (mean, squares)) in row.iter().zip(&mut self.learned.columns) {
            let off = x - *mean;
            *mean += off / self.learned.rows as f64;
            *squares += off * (x - *mean);
        }
    }

    fn explain(&self, row: &[f64]) -> Result<Explanation, Refusal> {
        let (column, off) = self.distance(row)?;
        let (mean, squares) = self.learned.columns[column];
        let upper = mean + 10.0 * (squares / (self.learned.rows - 1) as f64).sqrt();
        let name = self.names.get(column).cloned().unwrap_or_else(|| column.to_string());
        let evidence = Evidence {
            statistic: name.clone().into(),
            actual: row[column],
            expected: Some(mean),
            lower: None,
            upper: Some(upper),
            exceeded: off > 10.0,
            p_value: None,
        };
        let counterfactual = (off > 10.0).then(|| Counterfactual {
            statistic: name.clone().into(),
            above: None,
            below: Some(upper),
        });
        Ok(Explanation { carried_by: name.into(), evidence: vec![evidence], counterfactual, change: None })
    }
}

impl Persist for Farthest {
    type Memory = Learned;
    const KIND: &'static str = "farthest";
    const VERSION: u16 = 3;

    fn memory(&self) -> impl Serialize {
        &self.learned
    }

    fn restore(&mut self, memory: Learned) -> Result<()> {
        self.learned = memory;
        Ok(())
    }
}

/// Standardised features of two metrics with their history, fitted on an hour of seconds of two hosts.
fn fitted() -> OnFeatures<Farthest> {
    let features =
        [Feature::Value, Feature::Lag(2), Feature::Mean(MINUTE), Feature::Std(MINUTE), Feature::Max(MINUTE)];
    let mut features = Features::builder()
        .time([TimeFeature::Hour])
        .metrics(["cpu_usage_percent", "memory_used_percent"], features)
        .standardisation(Standardisation::Standard)
        .build()
        .unwrap();
    let training = training(0..3_600);
    let rows = features.fit(training.iter()).unwrap();
    let mut detector = Farthest { names: features.names().to_vec(), ..Farthest::default() };
    rows.matrix.rows().into_iter().for_each(|row| detector.learn(row.as_slice().unwrap()));
    OnFeatures::new(features, detector)
}

fn hosts() -> [Key; 2] {
    ["web-1", "db-1"].map(|name| Key::new([name]))
}

fn training(seconds: std::ops::Range<i64>) -> Readings {
    let (mut readings, hosts) = (Readings::default(), hosts());
    for i in seconds {
        let values = [50.0 + (i * 7_919 % 101) as f64 / 17.0, 30.0 + (i * 104_729 % 89) as f64 / 9.0];
        hosts.iter().for_each(|host| readings.push(&Reading::new(host, at(1_000 * i), &values)));
    }
    readings
}

#[test]
fn a_detector_on_features_keeps_the_contract() {
    let quiet = training(3_600..4_000);
    let feed: Vec<Reading<'_>> = quiet.iter().collect();
    let host = Key::new(["web-1"]);
    let spike = Reading::new(&host, at(4_000_000), &[9_000.0, 30.0]);
    let new = Key::new(["new"]);
    let odd: [(&Key, i64, &[f64]); 9] = [
        (&host, 3_700_000, &[f64::INFINITY, 1.0]),
        (&host, 3_700_000, &[]),
        (&host, 3_700_000, &[NAN, NAN]),
        (&host, 3_700_001, &[1.0]),
        (&host, 3_700_002, &[0.0, -0.0]),
        (&host, 3_700_002, &[1e99, -1e99]),
        (&host, 1, &[1e99, NAN]),
        (&new, 3_700_003, &[f64::MIN_POSITIVE, 7.0]),
        (&new, 253_402_300_799_999, &[7.0, NAN]),
    ];
    let odd = odd.map(|(key, time, values)| Reading::new(key, at(time), values));
    let prototype = fitted();
    check_detector(|| prototype.clone(), &feed, &spike, &odd);
}

#[test]
fn an_isolation_forest_on_features_keeps_the_contract() {
    let features = [Feature::Value, Feature::Mean(MINUTE), Feature::Std(MINUTE)];
    let mut features = Features::builder()
        .metrics(["cpu_usage_percent", "memory_used_percent"], features)
        .standardisation(Standardisation::Robust)
        .build()
        .unwrap();
    let rows = features.fit(training(0..300).iter()).unwrap();
    // A small one: the contract writes its memory again and again.
    let forest = IsolationForest::builder().trees(20).sample(64).reservoir(200).names(features.names());
    let forest = forest.fit(rows.matrix.view()).unwrap();
    let prototype = OnFeatures::new(features, forest);
    let quiet = training(300..320);
    let feed: Vec<Reading<'_>> = quiet.iter().collect();
    let [host, _] = hosts();
    let spike = Reading::new(&host, at(320_000), &[9_000.0, 9_000.0]);
    let odd: [(i64, &[f64]); 5] = [
        (350_000, &[f64::NEG_INFINITY, 1.0]),
        (350_001, &[1.0]),
        (350_002, &[NAN, 7.0]),
        (350_002, &[1e99, -1e99]),
        (350_003, &[1e99, NAN]),
    ];
    let odd = odd.map(|(time, values)| Reading::new(&host, at(time), values));
    check_detector(|| prototype.clone(), &feed, &spike, &odd);
    let explanation = prototype.explain(&Reading::new(&host, at(300_000), &[9_000.0, 9_000.0])).unwrap();
    // In percent, for all that the forest sees standardised rows: the mean of 9,000 and 59 of 50 to 56.
    let cpu = explanation.evidence.iter().find(|e| e.statistic == "cpu_usage_percent.mean_1m").unwrap();
    assert!((199.0..205.0).contains(&cpu.actual), "{explanation}");
    assert!(explanation.carried_by.contains("_percent"), "{explanation}");
}

#[test]
fn explanations_name_features_in_their_own_units() {
    let (detector, [host, _]) = (fitted(), hosts());
    let spike = Reading::new(&host, at(3_600_000), &[500.0, 30.0]);
    assert!(detector.judge(&spike).unwrap().anomalous);
    let explanation = detector.explain(&spike).unwrap();
    // One value moves the mean of a minute, its deviation and its maximum, too.
    let carrier = explanation.carrier().unwrap();
    assert!(carrier.statistic.starts_with("cpu_usage_percent"), "{explanation}");
    let row = detector.features().features(&spike).unwrap();
    let column = detector.features().names().iter().position(|name| *name == carrier.statistic).unwrap();
    let scaled = detector.detector().explain(&row).unwrap();
    assert_eq!(scaled.evidence[0].actual, row[column]);
    let own = match carrier.statistic.as_ref() {
        "cpu_usage_percent" | "cpu_usage_percent.max_1m" => 500.0,
        "cpu_usage_percent.std_1m" => 57.9,
        other => panic!("{other}"),
    };
    assert!((carrier.actual - own).abs() < 1.0, "{explanation}");
    let quiet = explanation.counterfactual.as_ref().unwrap();
    assert!(quiet.below.unwrap() < carrier.actual && quiet.below.unwrap() > carrier.expected.unwrap());
}

#[test]
fn restored_the_next_thousand_outputs_are_the_same_bits() {
    let mut detector = fitted();
    for reading in training(3_600..3_700).iter() {
        detector.step(&reading).unwrap();
    }
    let saved = memory(&detector);
    let mut restored = fitted();
    training(0..9).iter().for_each(|reading| restored.learn(&reading));
    restore(&mut restored, saved.clone()).unwrap();
    assert!(memory(&restored) == saved);
    let next = training(3_700..4_200);
    assert_eq!(next.len(), 1_000);
    for reading in next.iter() {
        let rows = [detector.features().features(&reading), restored.features().features(&reading)];
        assert_eq!(bits(&rows[0]), bits(&rows[1]));
        let verdicts = [detector.step(&reading).unwrap(), restored.step(&reading).unwrap()];
        assert_eq!(verdicts[0].score.to_bits(), verdicts[1].score.to_bits());
    }
    assert!(memory(&restored) == memory(&detector));
}

#[test]
fn a_memory_that_does_not_fit_is_refused_and_changes_nothing() {
    let saved = memory(&fitted().features().clone());
    let build = |zone, metric: &str, how| {
        let features = [
            Feature::Value,
            Feature::Lag(2),
            Feature::Mean(MINUTE),
            Feature::Std(MINUTE),
            Feature::Max(MINUTE),
        ];
        let builder = Features::builder().zone(zone).time([TimeFeature::Hour]).standardisation(how);
        builder.metrics(["cpu_usage_percent", metric], features).build().unwrap()
    };
    let memory_used = "memory_used_percent";
    let mut same = build(Tz::UTC, memory_used, Standardisation::Standard);
    restore(&mut same, saved.clone()).unwrap();
    assert_eq!(same.keys(), 2);
    for mut other in [
        build(Tz::Asia__Tokyo, memory_used, Standardisation::Standard),
        build(Tz::UTC, "disk", Standardisation::Standard),
        build(Tz::UTC, memory_used, Standardisation::Robust),
        build(Tz::UTC, memory_used, Standardisation::None),
    ] {
        let before = memory(&other);
        let error = restore(&mut other, saved.clone()).unwrap_err().to_string();
        assert!(
            error.starts_with("features memory: must be of features of this configuration, got "),
            "{error}"
        );
        assert!(memory(&other) == before);
    }
    let mut damaged = saved;
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    assert!(restore(&mut same, damaged).unwrap_err().to_string().contains("checksum"));
}

/// A memory whose envelope is right, but whose content is not.
#[test]
fn a_memory_that_makes_no_sense_is_refused() {
    type Readings = (i64, Vec<i64>, Vec<f64>, Vec<(i64, f64)>, Vec<()>);
    type Layout<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a str);
    let layout: Layout<'_> = (&["a"], &["a"], "UTC", "standard");
    let build = || {
        let standardised = Features::builder().standardisation(Standardisation::Standard);
        standardised.metrics(["a"], [Feature::Value]).build().unwrap()
    };
    let restored = |scaler: Option<Vec<(f64, f64)>>, keys: Vec<(&str, Readings)>| {
        let keys: Vec<([&str; 1], Readings)> =
            keys.into_iter().map(|(key, readings)| ([key], readings)).collect();
        let mut bytes = Vec::new();
        snapshot::write(&mut bytes, Features::KIND, Features::VERSION, &(layout, scaler, keys)).unwrap();
        let mut features = build();
        restore(&mut features, bytes).map(|()| features)
    };
    let good = || (5, vec![5, 9], vec![1.0, NAN], vec![(5, 1.0)], vec![]);
    let mut fine = restored(Some(vec![(1.0, 2.0)]), vec![("x", good()), ("y", good())]).unwrap();
    let key = Key::new(["x"]);
    assert_eq!(fine.step(&Reading::new(&key, at(10), &[4.0])), Ok(vec![1.5]));
    for scaler in
        [vec![(1.0, 0.0)], vec![(NAN, 1.0)], vec![(1.0, f64::INFINITY)], vec![], vec![(1.0, 1.0); 2]]
    {
        let error = restored(Some(scaler), vec![]).unwrap_err().to_string();
        assert!(error.contains("must have a usable standardisation"), "{error}");
    }
    let twice = restored(None, vec![("x", good()), ("x", good())]).unwrap_err().to_string();
    assert_eq!(twice, r#"features memory: must have every key once, got "x""#);
    let bad: [Readings; 9] = [
        (5, vec![], vec![], vec![(5, 1.0)], vec![]),
        (5, vec![9, 9], vec![1.0, 1.0], vec![(5, 1.0)], vec![]),
        (6, vec![5, 9], vec![1.0, 1.0], vec![(6, 1.0)], vec![]),
        (-1, vec![5, 9], vec![1.0, 1.0], vec![(5, 1.0)], vec![]),
        (5, vec![5, i64::MAX], vec![1.0, 1.0], vec![(5, 1.0)], vec![]),
        (5, vec![5, 9], vec![1.0], vec![(5, 1.0)], vec![]),
        (5, vec![5, 9], vec![1.0, f64::INFINITY], vec![(5, 1.0)], vec![]),
        (5, vec![5, 9], vec![1.0, 1.0], vec![(10, 1.0)], vec![]),
        (5, vec![5, 9], vec![1.0, 1.0], vec![], vec![]),
    ];
    for readings in bad {
        let error = restored(None, vec![("x", readings.clone())]).unwrap_err().to_string();
        assert_eq!(
            error, r#"features memory: must have usable readings of each key, got "x""#,
            "{readings:?}"
        );
    }
}

#[test]
fn a_point_is_the_reading_of_one_metric() {
    let mut features = Features::builder().metrics(["value"], [Feature::Difference]).build().unwrap();
    let key = Key::new(["series"]);
    features.learn(&Reading::of_point(&key, &Point::new(at(0), 2.0))).unwrap();
    assert_eq!(features.step(&Reading::of_point(&key, &Point::new(at(1), 5.0))), Ok(vec![3.0]));
}

/// A daily and weekly rhythm, every ten minutes, with what is added to it.
fn rhythm(i: i64, added: f64) -> [f64; 2] {
    let hours = i as f64 / 6.0;
    let weekend = if (i / 144) % 7 >= 5 { 20.0 } else { 0.0 };
    let value = 50.0 + 10.0 * (hours / 24.0 * std::f64::consts::TAU).sin() - weekend
        + (i * 7_919 % 101) as f64 / 100.0;
    [if i % 17 == 3 { NAN } else { value + added }, value]
}

#[test]
fn residuals_are_free_of_the_rhythm() {
    const WEEK: u64 = 604_800;
    let build = || {
        let features = [Feature::Residual, Feature::Value];
        Features::builder().zone(Tz::Europe__Berlin).metrics(["a", "b"], features).build().unwrap()
    };
    let (mut features, key) = (build(), Key::new(["x"]));
    let at = |i: i64| at(1_704_067_200_000 + 600_000 * i);
    for i in 0..4 * 7 * 144 {
        let values = rhythm(i, 0.0);
        let reading = Reading::new(&key, at(i), &values);
        let row = features.features(&reading);
        assert_eq!(bits(&row), bits(&features.step(&reading)));
        match row {
            Err(refusal) => assert_eq!(refusal, Refusal::Incomplete { have: 600 * i as u64, need: WEEK }),
            Ok(row) => {
                assert!(i >= 7 * 144 && (row[0].is_nan() == values[0].is_nan()));
                // A weekend differs so much from the days before that it takes some weeks to be known.
                let is_weekday = (i / 144) % 7 < 5 && i % 1_008 > 6;
                assert!(!is_weekday || row[2].abs() < 5.0, "reading {i}: {row:?}");
            }
        }
        if i == 2_000 {
            let mut restored = build();
            restore(&mut restored, memory(&features)).unwrap();
            assert!(memory(&restored) == memory(&features));
            features = restored;
        }
    }
    let residual = |added| {
        let i = 4 * 7 * 144 + 77;
        features.features(&Reading::new(&key, at(i), &rhythm(i, added))).unwrap()[0]
    };
    assert!(
        (residual(25.0) - residual(0.0) - 25.0).abs() < 1e-9 && residual(0.0).abs() < 2.0,
        "{}",
        residual(0.0)
    );
}
