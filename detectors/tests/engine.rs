//! The engine: what it remembers, what it refuses, what it finds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::{ErrorKind, Record, Report, Result, Schema, Source, Span, Timestamp, Tz, Windows};
use peak_detectors::{Classic, Engine, Peak, Step};
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

/// Records in memory: millisecond, key, sample, sender.
struct Feed {
    schema: Schema,
    records: Vec<(i64, u8, u8, u8)>,
}

impl Feed {
    fn new(records: Vec<(i64, u8, u8, u8)>) -> Self {
        let schema =
            Schema::builder().time("t").sample("s").dimensions(["a", "b"]).blame(["who"]).build().unwrap();
        Feed { schema, records }
    }
}

impl Source for Feed {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Report> {
        let mut report = Report::default();
        for &(millis, key, sample, who) in &self.records {
            let [key, sample, who] = [key, sample, who].map(|n| n.to_string());
            let record = Record {
                time: Timestamp::from_millis(millis)?,
                sample: Some(&sample),
                dimensions: &[&key, "x"],
                blame: &[Some(&who)],
                measures: &[],
            };
            report.offer(span, &record, visit);
        }
        Ok(report)
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

fn json(steps: &[Step]) -> Vec<String> {
    steps.iter().flat_map(|step| &step.found).map(|found| serde_json::to_string(found).unwrap()).collect()
}

fn records() -> impl Strategy<Value = Vec<(i64, u8, u8, u8)>> {
    prop::collection::vec((0..10_000i64, 0..3u8, 0..5u8, 0..3u8), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn saved_and_resumed_it_finds_the_same(records in records(), at in 0..10usize) {
        let (feed, windows) = (Feed::new(records), windows());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.peak");
        let mut whole = Engine::new(detector(&feed));
        let expected = json(&whole.run(&feed, &windows).unwrap());

        let mut first = Engine::open(&path, detector(&feed)).unwrap();
        let mut found = json(&first.run(&feed, &Windows::new(windows[..at].to_vec()).unwrap()).unwrap());
        first.save().unwrap();
        let mut second = Engine::open(&path, detector(&feed)).unwrap();
        prop_assert_eq!(second.history(), first.history());
        prop_assert_eq!(second.detector(), first.detector());
        for &window in &windows[at..] {
            found.extend(json(&[second.step(&feed, window).unwrap()]));
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(second.history(), whole.history());
    }

    #[test]
    fn the_order_of_records_does_not_matter(records in records().prop_shuffle()) {
        let mut sorted = records.clone();
        sorted.sort_unstable();
        let found = |records| {
            let feed = Feed::new(records);
            json(&Engine::new(detector(&feed)).run(&feed, &windows()).unwrap())
        };
        prop_assert_eq!(found(records), found(sorted));
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
    assert!(
        error.ends_with(
            "history.peak: not a usable snapshot: its checksum does not match: it is damaged or cut short"
        ),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
