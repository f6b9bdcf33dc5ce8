//! Limits of memory and keys, and what is said of what does not fit.

use super::{Feed, Highest, at, detector, tables, windows};
use peak_core::{
    Grid, Intake, Key, Limits, Live, LocalTable, LocalTables, Record, Report, Result, Schema, Source, Span,
    Windows,
};
use peak_detectors::{Budget, Calibrated, Engine, Peak, Phases, Step};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

const MEBIBYTE: usize = 1 << 20;

/// A hundred thousand records in ten seconds, of which one thing never comes twice.
#[derive(Clone, Copy, PartialEq)]
enum Many {
    Samples,
    Senders,
    Keys,
}

struct Wide(Schema, Many);

impl Wide {
    fn new(many: Many) -> Self {
        Wide(Feed::new(Vec::new()).schema, many)
    }

    fn each(&self, mut visit: impl FnMut(&Record<'_>) -> ControlFlow<()>) {
        for i in 0..100_000 {
            let text = format!("{i:040x}");
            let only = |many, text, other| if self.1 == many { text } else { other };
            let dimensions = [only(Many::Keys, text.as_str(), "a"), "x"];
            let labels = [
                Some(only(Many::Samples, text.as_str(), "s")),
                Some(only(Many::Senders, text.as_str(), "u")),
            ];
            if visit(&Record::new(at(i / 10), &dimensions).with_labels(&labels)).is_break() {
                break;
            }
        }
    }
}

impl Source for Wide {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
        let mut intake = Intake::new(span);
        self.each(|record| intake.offer(record, visit));
        intake.finish()
    }
}

#[test]
fn a_memory_limit_estimates_what_does_not_fit_and_says_so() {
    let feed = Wide::new(Many::Samples);
    let classic = || detector(&Feed::new(Vec::new()));
    let exact = Engine::new(classic()).run(&feed, &windows()).unwrap();
    assert!(exact.iter().all(|step| step.estimated == 0));

    for lateness in [0, 3] {
        let limits = Limits::default().with_memory(MEBIBYTE);
        let mut engine = Engine::new(classic()).with_limits(limits).with_lateness(lateness).unwrap();
        let steps = engine.run(&feed, &windows()).unwrap();
        assert!(steps.iter().any(|step| step.estimated == 1));
        assert!(steps.iter().zip(&exact).all(|(step, exact)| step.judged == exact.judged));
        let (key, baseline) = engine.history().iter().next().unwrap();
        assert_eq!(key.to_string(), "a / x");
        for past in baseline.windows() {
            assert_eq!((past.records, past.samples.sum()), (10_000, 10_000));
            assert!((past.samples.n() as f64 / 10_000.0 - 1.0).abs() < 0.2, "{past:?}");
        }
    }
}

#[test]
fn estimates_of_senders_are_stated_too() {
    let feed = Wide::new(Many::Senders);
    let mut engine =
        Engine::new(Highest::<1>::default()).with_limits(Limits::default().with_memory(MEBIBYTE / 4));
    let steps = engine.run(&feed, &windows()).unwrap();
    assert!(steps.iter().all(|step| step.estimated == 1));

    let mut table = LocalTable::new(Arc::new(feed.0.clone()), Span::new(at(10_000), at(11_000)).unwrap());
    for i in 0..20_000 {
        let sender = if i % 2 == 0 { "often".to_owned() } else { i.to_string() };
        let labels = [Some("s"), Some(sender.as_str())];
        table.add(&Record::new(at(10_000), &["a", "x"]).with_labels(&labels)).unwrap();
    }
    table.keep_to(Limits::default().with_memory(MEBIBYTE / 8)).unwrap();
    let step = engine.take(table).unwrap();
    assert_eq!((step.estimated, step.found.len()), (1, 1));
    let found = &step.found[0];
    let [samples, senders] = [0, 1].map(|label| found.blame().nth(label).unwrap());
    assert_eq!(samples.uncertainty, None);
    let surplus = senders.uncertainty.unwrap().surplus();
    assert!(surplus > 0 && senders.top[0].records - 10_000 <= surplus, "{senders}");
    let told = found.to_string();
    let expected = format!(" (estimates, up to {surplus} records too many)");
    assert!(
        told.ends_with(&expected) && told.starts_with("a / x: 20000 records of 1 samples from "),
        "{told}"
    );
    let json: serde_json::Value = serde_json::to_value(found).unwrap();
    assert_eq!(json["estimated"], true);
    assert_eq!(json["blame"]["who"]["uncertainty"]["surplus"], surplus);
    assert!(json["blame"]["s"].get("uncertainty").is_none());
}

#[test]
fn keys_beyond_the_limit_are_counted_together_and_told() {
    let feed = Feed::new((0..10).map(|i| (i, i as u8, 1, 1)).collect());
    let limits = Limits::default().with_keys(4);
    // With windows that are open or not, and also from a table that was counted elsewhere.
    let run = |lateness| {
        let mut engine = Engine::new(detector(&feed)).with_limits(limits).with_lateness(lateness).unwrap();
        let step = engine.step(&feed, windows()[0]).unwrap();
        (step, engine)
    };
    let taken = || {
        let mut engine = Engine::new(detector(&feed)).with_limits(limits).with_lateness(1).unwrap();
        let step = engine.take(tables(&feed, &windows()).swap_remove(0)).unwrap();
        (step, engine)
    };
    for (step, engine) in [run(0), run(2), taken()] {
        assert_eq!(step.other, 6);
        let keys: Vec<String> = engine.history().iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["(other) / (other)", "0 / x", "1 / x", "2 / x", "3 / x"]);
        let other = engine.history().get(&Key::other(2)).unwrap().records().sum();
        assert_eq!(other, 6);
    }
    let step = Engine::new(detector(&feed)).step(&feed, windows()[0]).unwrap();
    assert_eq!(step.other, 0);
}

#[test]
fn late_records_keep_to_the_limit() {
    let limits = Limits::default().with_memory(MEBIBYTE);
    for many in [Many::Samples, Many::Senders, Many::Keys] {
        let feed = Wide::new(many);
        let mut engine = Engine::new(Highest::<1>::default()).with_limits(limits).with_lateness(2).unwrap();
        let quiet = Feed::new((0..10).map(|second| (1_000 * second, 1, 1, 1)).collect());
        engine.run(&quiet, &windows()).unwrap();
        for _ in 0..3 {
            let amendment = engine.amend(&feed).unwrap();
            assert_eq!((amendment.merged, amendment.too_late, amendment.too_early), (20_000, 80_000, 0));
            let open = engine.memory_bytes() - 2 * engine.history().memory_bytes();
            assert!(open < MEBIBYTE, "{open}");
        }
    }
}

#[test]
fn tables_of_a_live_feed_keep_to_the_limit_while_they_are_open() {
    let feed = Wide::new(Many::Samples);
    let limits = Limits::default().with_memory(MEBIBYTE);
    let mut live = Live::new(&feed.0, Grid::every(Duration::from_secs(1)).unwrap());
    let mut engine = Engine::new(Highest::<1>::default()).with_limits(limits).with_lateness(4).unwrap();
    feed.each(|record| {
        live.push(record).unwrap();
        for table in live.close(record.time) {
            assert!(table.memory_bytes() > MEBIBYTE / 4);
            let step = engine.take(table).unwrap();
            assert_eq!(step.estimated, 1);
        }
        ControlFlow::Continue(())
    });
    let open = engine.memory_bytes() - 2 * engine.history().memory_bytes();
    assert!((MEBIBYTE / 20..MEBIBYTE).contains(&open), "{open}");
    // What was judged is what is judged when a window is amended: nothing is corrected but the amended.
    let late = Feed::new(vec![(8_500, 9, 9, 9)]);
    let amendment = engine.amend(&late).unwrap();
    assert_eq!((amendment.merged, amendment.corrections.len()), (1, 0));
}

#[test]
fn memory_grows_with_what_is_remembered_and_shrinks_with_what_is_forgotten() {
    let feed = |keys: u8| {
        let records = (0..10).flat_map(|second| (0..keys).map(move |key| (1_000 * second, key, key, 1)));
        Feed::new(records.collect())
    };
    let bytes = |keys: u8, lateness, horizon| {
        let engine = Engine::new(Highest::<1>::default()).with_horizon(Duration::from_secs(horizon));
        let mut engine = engine.with_lateness(lateness).unwrap();
        engine.run(&feed(keys), &windows()).unwrap();
        engine.memory_bytes()
    };
    assert!(Engine::new(Highest::<1>::default()).memory_bytes() < 1_000);
    assert!(bytes(200, 0, 20) > 10 * bytes(10, 0, 20));
    assert!(bytes(200, 3, 20) > bytes(200, 1, 20) && bytes(200, 1, 20) > bytes(200, 0, 20));
    assert!(bytes(200, 0, 20) > bytes(200, 0, 3));
    // Windows of which only the summaries are there take memory, too.
    let mut engine = Engine::new(Highest::<1>::default()).with_lateness(3).unwrap();
    for table in tables(&feed(200), &windows()) {
        engine.take(table.finish()).unwrap();
    }
    assert!(engine.memory_bytes() - 2 * engine.history().memory_bytes() > 3 * 200 * size_of::<Key>());
}

#[test]
fn memory_does_not_grow_beyond_the_horizon() {
    let mut engine = Engine::new(Highest::<1>::default()).with_horizon(Duration::from_secs(20));
    let mut most_at_first = 0;
    for round in 0..20 {
        let records: Vec<_> = (0..10)
            .flat_map(|second| [1, 2, 3].map(|key| (10_000 * round + 1_000 * second, key, 1, 1)))
            .collect();
        let windows = super::seconds(10 * round..10 * (round + 1));
        let steps: Vec<Step> =
            engine.run(&Feed::new(records), &Windows::new(windows.to_vec()).unwrap()).unwrap();
        assert_eq!(steps.len(), 10);
        if round < 5 {
            most_at_first = engine.memory_bytes().max(most_at_first);
        }
        assert!(engine.memory_bytes() <= 2 * most_at_first, "{round}: {}", engine.memory_bytes());
    }
    assert_eq!(engine.history().learned().len(), 20);
}

#[test]
fn a_flood_of_new_keys_makes_no_known_key_seem_gone_and_teaches_no_silence() {
    let schema = Schema::builder().time("t").dimensions(["k"]).build().unwrap();
    let limits = Limits::default().with_keys(3);
    let rule = Calibrated::new(Budget::per_key_window(0.01).unwrap()).with_phases(Phases::NONE);
    let mut engine = Engine::new(Peak::calibrated(rule));
    let windows = Windows::every(Span::new(at(0), at(30_000)).unwrap(), Duration::from_secs(1)).unwrap();
    let table = |window: usize, keys: &[&str]| {
        let mut tables = LocalTables::new(&schema, &windows[window].into()).with_limits(limits);
        for i in 0..60 * keys.len() {
            let record = Record::new(windows[window].start(), std::slice::from_ref(&keys[i % keys.len()]));
            assert!(tables.add(&record).unwrap());
        }
        tables.into_tables().remove(0)
    };
    for window in 0..20 {
        engine.take(table(window, &["a", "b", "c"])).unwrap();
    }
    let known = ["a", "b", "c"].map(|key| Key::new([key]));
    let tells_of_known = |step: &Step| step.found.iter().any(|found| known.contains(&found.key));
    let stopped = engine.clone().take(table(20, &["a", "b", "x"])).unwrap();
    assert!(tells_of_known(&stopped), "a key that stops is told");

    let flooded = engine.take(table(20, &["x", "y", "z", "a", "b", "c"])).unwrap();
    assert_eq!((flooded.other, flooded.refused["not observed"]), (180, 3));
    assert!(!tells_of_known(&flooded), "{:?}", flooded.found);
    let after = engine.take(table(21, &["a", "b", "c"])).unwrap();
    assert!(!tells_of_known(&after), "{:?}", after.found);
}
