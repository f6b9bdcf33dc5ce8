//! The engine: what it remembers, what it refuses, what it finds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{
    ErrorKind, Intake, Key, LocalTables, MemoryBudget, Record, Report, Result, Schema, Source, Span,
    Timestamp, Tz, Windows,
};
use peak_detectors::{Budget, Calibrated, Classic, Engine, Found, Peak, PeakRule, Phases, Step};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// Millisecond, key, sample, sender.
type Row = (i64, u8, u8, u8);

/// Records in memory.
struct Feed {
    schema: Schema,
    records: Vec<Row>,
}

impl Feed {
    fn new(records: Vec<Row>) -> Self {
        let schema =
            Schema::builder().time("t").sample("s").dimensions(["a", "b"]).blame(["who"]).build().unwrap();
        Feed { schema, records }
    }
}

impl Source for Feed {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        for &(millis, key, sample, who) in &self.records {
            let [key, sample, who] = [key, sample, who].map(|n| n.to_string());
            let record = Record {
                time: Timestamp::from_millis(millis)?,
                sample: Some(&sample),
                dimensions: &[&key, "x"],
                blame: &[Some(&who)],
                measures: &[],
            };
            if intake.offer(&record, visit).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

/// Ten windows of a second.
fn windows() -> Windows {
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    Windows::every(Span::new(at(0), at(10_000)).unwrap(), Duration::from_secs(1)).unwrap()
}

fn detector(feed: &Feed) -> Peak {
    Peak::classic(Classic::new(&feed.schema, Tz::UTC))
}

/// The detector with either rule.
fn either(calibrated: bool, feed: &Feed) -> Peak {
    if calibrated {
        Peak::calibrated(Calibrated::new(Budget::default()).with_phases(Phases::NONE))
    } else {
        detector(feed)
    }
}

fn json(steps: &[Step]) -> Vec<String> {
    steps.iter().flat_map(|step| &step.found).map(|found| serde_json::to_string(found).unwrap()).collect()
}

fn records() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..10_000i64, 0..3u8, 0..5u8, 0..3u8), 0..300)
}

/// A feed of one key and many samples.
struct Wide(Schema);

impl Source for Wide {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        for i in 0..100_000 {
            let sample = format!("{i:040x}");
            let time = Timestamp::from_millis(i / 10)?;
            let record =
                Record { time, sample: Some(&sample), dimensions: &["a", "x"], blame: &[], measures: &[] };
            if intake.offer(&record, visit).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

#[test]
fn a_memory_budget_estimates_what_does_not_fit_and_says_so() {
    let feed = Wide(Feed::new(Vec::new()).schema);
    let classic = || Peak::classic(Classic::new(&feed.0, Tz::UTC));
    let exact = Engine::new(classic()).run(&feed, &windows()).unwrap();
    assert!(exact.iter().all(|step| step.estimated == 0));

    for lateness in [0, 3] {
        let budget = MemoryBudget::bytes(1 << 20);
        let mut engine = Engine::new(classic()).with_memory(budget).with_lateness(lateness).unwrap();
        let steps = engine.run(&feed, &windows()).unwrap();
        assert!(steps.iter().any(|step| step.estimated == 1));
        assert!(steps.iter().zip(&exact).all(|(step, exact)| step.judged == exact.judged));
        let (key, baseline) = engine.history().iter().next().unwrap();
        assert_eq!(key.to_string(), "a / x");
        for past in baseline.windows() {
            assert_eq!((past.events, past.samples.sum()), (10_000, 10_000));
            assert!((past.samples.n() as f64 / 10_000.0 - 1.0).abs() < 0.2, "{past:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn saved_and_resumed_it_finds_the_same(records in records(), at in 0..10usize, calibrated: bool) {
        let (feed, windows) = (Feed::new(records), windows());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.peak");
        let mut whole = Engine::new(either(calibrated, &feed));
        let expected = json(&whole.run(&feed, &windows).unwrap());

        let mut first = Engine::open(&path, either(calibrated, &feed)).unwrap();
        let mut found = json(&first.run(&feed, &Windows::new(windows[..at].to_vec()).unwrap()).unwrap());
        first.save().unwrap();
        let mut second = Engine::open(&path, either(calibrated, &feed)).unwrap();
        prop_assert_eq!(second.history(), first.history());
        prop_assert_eq!(second.detector(), first.detector());
        for &window in &windows[at..] {
            found.extend(json(&[second.step(&feed, window).unwrap()]));
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(second.history(), whole.history());
    }

    #[test]
    fn late_records_count_as_if_they_had_come_in_time(
        records in records(),
        is_late in prop::collection::vec(any::<bool>(), 300),
        learned in 1..10usize,
        lateness in 1..4usize,
        saved: bool,
        calibrated: bool,
    ) {
        let windows = windows();
        let (learned, rest) = windows.split_at(learned);
        let oldest_open = learned.len().saturating_sub(lateness);
        let is_amendable = |record: &Row| (oldest_open..learned.len()).contains(&((record.0 / 1_000) as usize));
        let (late, in_time): (Vec<_>, Vec<_>) = records.iter().zip(is_late).partition(|(_, is_late)| *is_late);
        let rows = |part: &[(&Row, bool)]| -> Vec<Row> { part.iter().map(|(row, _)| **row).collect() };
        let (late, in_time) = (Feed::new(rows(&late)), Feed::new(rows(&in_time)));
        let all: Vec<Row> = in_time.records.iter().chain(late.records.iter().filter(|row| is_amendable(row))).copied().collect();
        let all = Feed::new(all);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.peak");
        let mut engine = Engine::open(&path, either(calibrated, &all)).unwrap().with_lateness(lateness).unwrap();
        let first = engine.run(&in_time, &Windows::new(learned.to_vec()).unwrap()).unwrap();
        if saved {
            engine.save().unwrap();
            engine = Engine::open(&path, either(calibrated, &all)).unwrap().with_lateness(lateness).unwrap();
        }
        let amendment = engine.amend(&late).unwrap();

        let mut expected = Engine::new(either(calibrated, &all));
        let steps = expected.run(&all, &Windows::new(learned.to_vec()).unwrap()).unwrap();
        prop_assert_eq!(engine.history(), expected.history());
        prop_assert_eq!(engine.detector(), expected.detector());

        let counted = [amendment.merged, amendment.too_late, amendment.too_early];
        prop_assert_eq!(amendment.merged, late.records.iter().filter(|row| is_amendable(row)).count() as u64);
        prop_assert_eq!(counted.iter().sum::<u64>(), late.records.len() as u64);

        // What was found, corrected, is what is found with all records.
        let place = |found: &Found| (found.span, found.key.clone());
        let mut corrected: BTreeMap<_, _> = first.into_iter().flatten().map(|found| (place(&found), found)).collect();
        for correction in amendment.corrections {
            let before = corrected.remove(&(correction.span, correction.key.clone()));
            prop_assert_eq!(before.map(|found| found.to_string()), correction.before.map(|found| found.to_string()));
            corrected.extend(correction.after.map(|found| (place(&found), found)));
        }
        let expected_found: BTreeMap<_, _> = steps.into_iter().flatten().map(|found| (place(&found), found)).collect();
        let verdicts = |found: BTreeMap<(Span, Key), Found>| found.into_iter().map(|(place, f)| (place, f.window, f.verdict)).collect::<Vec<_>>();
        prop_assert_eq!(verdicts(corrected), verdicts(expected_found));

        for &window in rest {
            prop_assert_eq!(json(&[engine.step(&all, window).unwrap()]), json(&[expected.step(&all, window).unwrap()]));
        }
    }

    #[test]
    fn the_order_of_records_does_not_matter(records in records().prop_shuffle(), calibrated: bool) {
        let mut sorted = records.clone();
        sorted.sort_unstable();
        let found = |records| {
            let feed = Feed::new(records);
            json(&Engine::new(either(calibrated, &feed)).run(&feed, &windows()).unwrap())
        };
        prop_assert_eq!(found(records), found(sorted));
    }

    #[test]
    fn tables_merged_from_shards_give_the_same(records in records(), shards in prop::collection::vec(0..3usize, 300), calibrated: bool) {
        let windows = windows();
        let feed = Feed::new(records.clone());
        let mut whole = Engine::new(either(calibrated, &feed));
        let expected = json(&whole.run(&feed, &windows).unwrap());

        let mut parts: [Vec<Row>; 3] = Default::default();
        records.iter().zip(shards).for_each(|(row, shard)| parts[shard].push(*row));
        let mut tables = LocalTables::new(&windows);
        for part in parts {
            let mut shard = tables.emptied(1);
            Feed::new(part).count(&mut shard).unwrap();
            tables.merge(shard).unwrap();
        }
        let mut merged = Engine::new(either(calibrated, &feed));
        let tables = tables.into_tables();
        let steps = tables.iter().map(|table| merged.observe(table.span(), &feed.schema, table.finish()).unwrap());
        prop_assert_eq!(json(&steps.collect::<Vec<_>>()), expected);
        prop_assert_eq!(merged.detector(), whole.detector());
    }
}

#[test]
fn a_window_is_learned_once() {
    let (feed, windows) = (Feed::new(vec![(5, 1, 1, 1)]), windows());
    let mut engine = Engine::new(detector(&feed));
    engine.step(&feed, windows[0]).unwrap();
    let error = engine.step(&feed, windows[0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyLearned { .. }), "{error}");
    assert_eq!(engine.history().learned(), &windows[..1]);
}

#[test]
fn a_feed_with_other_dimensions_is_refused() {
    let (feed, windows) = (Feed::new(vec![(5, 1, 1, 1)]), windows());
    let mut engine = Engine::new(detector(&feed));
    engine.step(&feed, windows[0]).unwrap();
    let other = Feed {
        schema: Schema::builder().time("t").sample("s").dimensions(["a"]).build().unwrap(),
        records: vec![],
    };
    let error = engine.step(&other, windows[1]).unwrap_err().to_string();
    assert_eq!(error, r#"dimensions: must be ["a", "b"], those of the history, got "[\"a\"]""#);
}

#[test]
fn a_key_that_falls_silent_is_judged_as_having_nothing() {
    let (feed, windows) = (Feed::new(vec![(5, 1, 1, 1), (6, 2, 1, 1), (1_005, 2, 1, 1)]), windows());
    let steps = Engine::new(detector(&feed)).run(&feed, &windows).unwrap();
    assert_eq!(steps[0].refused, [("history too short", 2)].into());
    assert_eq!((steps[1].judged, &steps[1].refused), (1, &[("no records", 1)].into()));
    assert_eq!(steps[2].refused, [("no records", 2)].into());
}

#[test]
fn a_damaged_history_is_refused_and_kept() {
    let feed = Feed::new(vec![(5, 1, 1, 1)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    let open = |path: &Path| Engine::open(path, detector(&feed)).map(drop);
    let mut engine = Engine::open(&path, detector(&feed)).unwrap();
    engine.step(&feed, windows()[0]).unwrap();
    engine.save().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("history.peak: not a usable snapshot: the checksum of its section "), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn without_lateness_nothing_is_amended_and_all_is_counted() {
    let (feed, windows) = (Feed::new(vec![(5, 1, 1, 1), (1_500, 1, 1, 1)]), windows());
    let mut engine = Engine::new(detector(&feed));
    engine.run(&feed, &Windows::new(windows[..2].to_vec()).unwrap()).unwrap();
    let before = engine.history().clone();
    let late = Feed::new(vec![(7, 1, 1, 1), (1_700, 1, 1, 1), (2_300, 1, 1, 1)]);
    let amendment = engine.amend(&late).unwrap();
    assert_eq!((amendment.merged, amendment.too_late, amendment.too_early), (0, 2, 1));
    assert_eq!(engine.history(), &before);
}

/// A key with records in each of ten windows, and another one in the first alone.
fn one_falls_silent() -> Feed {
    let steady = (0..10).map(|second| (1_000 * second, 1, 1, 1));
    Feed::new(steady.chain([(5, 2, 1, 1)]).collect())
}

#[test]
fn keys_without_records_for_the_horizon_are_forgotten_everywhere() {
    let feed = one_falls_silent();
    let run = |peak: Peak, horizon| {
        let mut engine = Engine::new(peak).with_horizon(Duration::from_secs(horizon));
        let steps = engine.run(&feed, &windows()).unwrap();
        let offered = |step: &Step| step.judged + step.refused.values().sum::<u64>();
        let offered: Vec<u64> = steps.iter().map(offered).collect();
        (offered, engine)
    };
    for calibrated in [false, true] {
        // The window in which it falls out of the horizon is the last one that it is judged in.
        let (offered, engine) = run(either(calibrated, &feed), 4);
        assert_eq!(offered, [2, 2, 2, 2, 2, 1, 1, 1, 1, 1]);
        assert_eq!(engine.history().baselines().len(), 1);
    }
    let keys = |engine: &Engine<Peak>| match engine.detector().rule() {
        PeakRule::Classic(rule) => rule.rows().len(),
        PeakRule::Calibrated(rule) => rule.keys(),
        _ => 0,
    };
    let classic = || Classic::new(&feed.schema, Tz::UTC);
    assert_eq!(keys(&run(Peak::classic(classic()), 4).1), 2);
    assert_eq!(keys(&run(Peak::classic(classic().forgetting()), 4).1), 1);
    assert_eq!(keys(&run(Peak::classic(classic().forgetting()), 11).1), 2);
    assert_eq!(keys(&run(either(true, &feed), 4).1), 1);
    assert_eq!(keys(&run(either(true, &feed), 11).1), 2);
}

#[test]
fn the_order_of_keys_does_not_matter_and_none_comes_twice() {
    let feed = one_falls_silent();
    let mut tables = LocalTables::new(&windows());
    feed.count(&mut tables).unwrap();
    for calibrated in [false, true] {
        let (mut straight, mut reversed) =
            (Engine::new(either(calibrated, &feed)), Engine::new(either(calibrated, &feed)));
        for table in tables.clone().into_tables() {
            let found = table.finish();
            let backwards: Vec<_> = found.iter().rev().cloned().collect();
            let twice = [&found[..], &found[..1]].concat();
            let error = straight.observe(table.span(), &feed.schema, twice).unwrap_err().to_string();
            assert_eq!(error, r#"keys of a window: must be different, got "1 / x""#);
            let a = straight.observe(table.span(), &feed.schema, found).unwrap();
            let b = reversed.observe(table.span(), &feed.schema, backwards).unwrap();
            assert_eq!(json(&[a]), json(&[b]));
        }
        assert_eq!(straight.detector(), reversed.detector());
        assert_eq!(straight.history(), reversed.history());
    }
}
