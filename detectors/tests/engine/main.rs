//! The engine: what it takes in and refuses, what it finds, remembers and forgets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checkpoint;
mod forgetting;
mod found;
mod late;
mod limits;
mod live;
mod sources;
mod verdicts;

use peak_core::{
    ErrorKind, Intake, Key, LocalTable, LocalTables, Record, Report, Result, Schema, Source, Span, Summaries,
    Timestamp, Tz, Windows,
};
use peak_detectors::{
    Budget, Calibrated, Classic, Engine, Explanation, Judged, Observation, Peak, PeakRule, Persist, Phases,
    Refusal, Step, TableDetector, TableWindow, Verdict,
};
use proptest::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
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
            let (dimensions, labels) = ([key.as_str(), "x"], [Some(sample.as_str()), Some(who.as_str())]);
            let record = Record::new(Timestamp::from_millis(millis)?, &dimensions).with_labels(&labels);
            if intake.offer(&record, visit).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn seconds(span: std::ops::Range<i64>) -> Windows {
    let span = Span::new(at(1_000 * span.start), at(1_000 * span.end)).unwrap();
    Windows::every(span, Duration::from_secs(1)).unwrap()
}

/// Ten windows of a second.
fn windows() -> Windows {
    seconds(0..10)
}

/// The tables of these windows.
fn tables(feed: &Feed, windows: &Windows) -> Vec<LocalTable> {
    let mut tables = LocalTables::new(&feed.schema, windows);
    feed.count(&mut tables).unwrap();
    tables.into_tables()
}

/// Two keys of about twenty records a second, and many more of one in the last of twenty seconds.
fn spike() -> Feed {
    let quiet = (0..20).flat_map(|second| {
        let row = move |i: i64| (1_000 * second + i, 1 + (i % 2) as u8, (i % 5) as u8, (i % 3) as u8);
        (0..40 + second % 3).map(row)
    });
    Feed::new(quiet.chain((0..700).map(|i| (19_100 + i, 1, 7, 2))).collect())
}

fn detector(feed: &Feed) -> Peak {
    Peak::classic(Classic::new(&feed.schema, Tz::UTC))
}

/// The detector with either of its rules.
fn either(calibrated: bool, feed: &Feed) -> Peak {
    if calibrated {
        Peak::calibrated(Calibrated::new(Budget::default()).with_phases(Phases::NONE))
    } else {
        detector(feed)
    }
}

/// Finds the keys that have more records than ever; another one with each version.
#[derive(Debug, Clone, PartialEq, Default)]
struct Highest<const VERSION: u16>(BTreeMap<Key, u64>);

impl<const VERSION: u16> TableDetector for Highest<VERSION> {
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        let judge = |x: &Observation<'_>| {
            let highest = self.0.get(x.key).ok_or(Refusal::TooShort { have: 0, need: 1 })?;
            let records = x.summary.records;
            Ok(Verdict { score: records as f64, anomalous: records > *highest, p_value: None })
        };
        Judged::new(window.keys.iter().map(judge).collect())
    }

    fn learn(&mut self, window: &TableWindow<'_>) {
        for x in window.keys {
            let highest = self.0.entry(x.key.clone()).or_default();
            *highest = x.summary.records.max(*highest);
        }
    }

    fn explain(
        &self,
        _: &TableWindow<'_>,
        judged: &Judged,
        places: &[usize],
    ) -> Vec<std::result::Result<Explanation, Refusal>> {
        let explain = |&place: &usize| {
            let carried_by = "records".into();
            let why = Explanation { carried_by, evidence: Vec::new(), counterfactual: None, change: None };
            judged.verdicts[place].map(|_| why)
        };
        places.iter().map(explain).collect()
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

impl<const VERSION: u16> Persist for Highest<VERSION> {
    type Memory = BTreeMap<Key, u64>;
    const KIND: &'static str = "highest";
    const VERSION: u16 = VERSION;

    fn memory(&self) -> impl Serialize {
        &self.0
    }

    fn restore(&mut self, memory: Self::Memory) -> Result<()> {
        self.0 = memory;
        Ok(())
    }
}

fn json(steps: &[Step]) -> Vec<String> {
    steps.iter().flat_map(|step| &step.found).map(|found| serde_json::to_string(found).unwrap()).collect()
}

fn records() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((0..10_000i64, 0..3u8, 0..5u8, 0..3u8), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

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
        let mut tables = LocalTables::new(&feed.schema, &windows);
        for part in parts {
            let mut shard = tables.emptied(1);
            Feed::new(part).count(&mut shard).unwrap();
            tables.merge(shard).unwrap();
        }
        let mut merged = Engine::new(either(calibrated, &feed));
        let steps: Vec<Step> = tables.into_tables().into_iter().map(|table| merged.take(table).unwrap()).collect();
        prop_assert_eq!(json(&steps), expected);
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
    assert_eq!(
        error,
        r#"dimensions: must be ["a", "b"], those that were counted before, in this order, got "[\"a\"]""#
    );
}

#[test]
fn a_key_that_falls_silent_is_judged_as_having_nothing() {
    let (feed, windows) = (Feed::new(vec![(5, 1, 1, 1), (6, 2, 1, 1), (1_005, 2, 1, 1)]), windows());
    let steps = Engine::new(detector(&feed)).run(&feed, &windows).unwrap();
    assert_eq!(steps[0].refused, [("history too short", 2)].into());
    assert_eq!((steps[1].judged, &steps[1].refused), (1, &[("no records", 1)].into()));
    assert_eq!(steps[2].refused, [("no records", 2)].into());
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
    let mut tables = LocalTables::new(&feed.schema, &windows());
    feed.count(&mut tables).unwrap();
    for calibrated in [false, true] {
        let (mut straight, mut reversed) =
            (Engine::new(either(calibrated, &feed)), Engine::new(either(calibrated, &feed)));
        for table in tables.clone().into_tables() {
            let rows = table.finish().into_rows();
            let of = |rows: Vec<_>| Summaries::new(Arc::clone(table.schema()), table.span(), rows);
            let backwards: Vec<_> = rows.iter().rev().cloned().collect();
            let error = of([&rows[..], &rows[..1]].concat()).unwrap_err().to_string();
            assert_eq!(error, r#"keys of a window: must be different, got "1 / x""#);
            let a = straight.take(of(rows).unwrap()).unwrap();
            let b = reversed.take(of(backwards).unwrap()).unwrap();
            assert_eq!(json(&[a]), json(&[b]));
        }
        assert_eq!(straight.detector(), reversed.detector());
        assert_eq!(straight.history(), reversed.history());
    }
}

#[test]
fn an_older_window_is_not_learned_as_the_newest() {
    let feed = spike();
    for calibrated in [false, true] {
        let mut engine = Engine::new(either(calibrated, &feed));
        engine.run(&feed, &seconds(0..5)).unwrap();
        engine.run(&feed, &seconds(8..12)).unwrap();
        let (detector, history) = (engine.detector().clone(), engine.history().clone());
        let error = engine.step(&feed, seconds(6..7)[0]).unwrap_err().to_string();
        assert!(error.contains("must be newer"), "{error}");
        assert_eq!((engine.detector(), engine.history()), (&detector, &history));
    }
}

#[test]
fn a_window_says_how_long_nothing_was_learned() {
    #[derive(Debug, Clone, Default)]
    struct Gaps(Vec<Option<u64>>);
    impl TableDetector for Gaps {
        fn judge(&self, window: &TableWindow<'_>) -> Judged {
            Judged::new(vec![Err(Refusal::Empty); window.keys.len()])
        }
        fn learn(&mut self, window: &TableWindow<'_>) {
            self.0.push(window.since_last.map(|gap| gap.as_secs()));
        }
        fn explain(
            &self,
            _: &TableWindow<'_>,
            _: &Judged,
            places: &[usize],
        ) -> Vec<std::result::Result<Explanation, Refusal>> {
            vec![Err(Refusal::Empty); places.len()]
        }
    }
    impl Persist for Gaps {
        type Memory = Vec<Option<u64>>;
        const KIND: &'static str = "gaps";
        const VERSION: u16 = 1;
        fn memory(&self) -> impl Serialize {
            &self.0
        }
        fn restore(&mut self, memory: Self::Memory) -> Result<()> {
            self.0 = memory;
            Ok(())
        }
    }
    let mut engine = Engine::new(Gaps::default());
    for span in [0..2, 5..6, 6..7] {
        engine.run(&spike(), &seconds(span)).unwrap();
    }
    assert_eq!(engine.detector().0, [None, Some(0), Some(3), Some(0)]);
}

#[test]
fn a_window_of_another_length_is_refused_and_changes_nothing() {
    let feed = spike();
    let mut engine = Engine::new(either(true, &feed));
    engine.run(&feed, &seconds(0..5)).unwrap();
    let (detector, history) = (engine.detector().clone(), engine.history().clone());
    let long = Span::new(seconds(5..6)[0].start(), seconds(8..9)[0].end()).unwrap();
    let error = engine.step(&feed, long).unwrap_err().to_string();
    assert_eq!(
        error,
        r#"window: must last 1s, as those that were learned, got "1970-01-01T00:00:05Z to 1970-01-01T00:00:09Z, which lasts 4s""#
    );
    assert_eq!((engine.detector(), engine.history()), (&detector, &history));
    // A rule that does not mind takes it.
    let mut engine = Engine::new(either(false, &feed));
    engine.run(&feed, &seconds(0..5)).unwrap();
    engine.step(&feed, long).unwrap();
}
