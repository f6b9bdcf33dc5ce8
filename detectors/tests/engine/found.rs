//! Findings as they are told, read back, and told apart.

use super::{Feed, Highest, at, either, seconds, spike, tables};
use peak_core::{Key, Limits, LocalTable, Record, Schema, Span};
use peak_detectors::{Engine, Explanation, Found, Judged, Persist, Refusal, TableDetector, TableWindow};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is found when a key has a record, and then as many as there are labels, of a sample and a sender
/// each.
fn found(key: [&str; 2], labels: &[[&str; 2]], limits: Limits, with_sample: bool) -> Found {
    let fields = Schema::builder().time("t").dimensions(["a", "b\n\"{"]).blame(["who", "\u{202e}é"]);
    let fields = if with_sample { fields.sample("s") } else { fields };
    let schema = Arc::new(fields.build().unwrap());
    let windows = seconds(0..2);
    let mut engine = Engine::new(Highest::<1>::default());
    for (window, labels) in windows.iter().zip([&labels[..1], labels]) {
        let mut table = LocalTable::new(Arc::clone(&schema), *window);
        for &[sample, sender] in labels {
            let labels = [with_sample.then_some(sample), Some(sender)];
            table.add(&Record::new(window.start(), &key).with_labels(&labels)).unwrap();
        }
        table.keep_to(limits).unwrap();
        let mut step = engine.take(table).unwrap();
        if window.start() > at(0) {
            return step.found.swap_remove(0);
        }
    }
    unreachable!()
}

fn reads_back(found: &Found) {
    let told = serde_json::to_string(found).unwrap();
    let read: Found = serde_json::from_str(&told).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), told);
    assert_eq!(read.to_string(), found.to_string());
    assert_eq!((&read.id, &read.key, read.span), (&found.id, &found.key, found.span));
    assert_eq!((read.verdict, &read.explanation), (found.verdict, &found.explanation));
    assert!(read.dimensions().eq(found.dimensions()));
    assert!(read.blame().eq(found.blame()));
}

#[test]
fn findings_of_either_rule_read_back_as_they_were_told() {
    let feed = spike();
    // A key that is gone has no samples and no senders.
    let gone = Feed::new(feed.records.iter().copied().filter(|row| row.1 == 1 || row.0 < 19_000).collect());
    for (calibrated, feed) in [(false, &feed), (true, &feed), (true, &gone)] {
        let mut engine = Engine::new(either(calibrated, feed));
        let steps = engine.run(feed, &seconds(0..20)).unwrap();
        let found: Vec<&Found> = steps.iter().flat_map(|step| &step.found).collect();
        assert!(!found.is_empty());
        found.into_iter().for_each(reads_back);
    }
}

#[test]
fn estimates_read_back_as_they_were_told() {
    let labels: Vec<[String; 2]> = (0..20_000).map(|i| [format!("{i:040x}"), i.to_string()]).collect();
    let labels: Vec<[&str; 2]> = labels.iter().map(|pair| pair.each_ref().map(String::as_str)).collect();
    for with_sample in [true, false] {
        let found = found(["a", "b"], &labels, Limits::default().with_memory(1 << 17), with_sample);
        assert!(found.summary.is_estimate());
        assert_eq!(found.to_string().contains(" of about "), with_sample);
        reads_back(&found);
    }
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\0\n\u{1b}\"\\\\{},:\u{202e}\u{2028}é]{0,9}", Just("x".repeat(9_000))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_labels_read_back_and_stay_on_their_lines(
        key in [hostile(), hostile()],
        labels in prop::collection::vec([hostile(), hostile()], 2..9),
        with_sample: bool,
    ) {
        let labels: Vec<[&str; 2]> = labels.iter().map(|pair| pair.each_ref().map(String::as_str)).collect();
        let found = found(key.each_ref().map(String::as_str), &labels, Limits::default(), with_sample);
        reads_back(&found);
        // One for what was found, one for each field of who.
        let told = found.to_string();
        let fields = found.blame().filter(|blame| !blame.top.is_empty()).count();
        prop_assert_eq!(told.split('\n').count(), 1 + fields);
        prop_assert!(!told.replace('\n', "").chars().any(char::is_control));
    }

    #[test]
    fn what_was_not_told_is_refused_and_never_panics(at: prop::sample::Index, byte: u8) {
        let labels: Vec<[String; 2]> = (0..2_000).map(|i| [i.to_string(), i.to_string()]).collect();
        let labels: Vec<[&str; 2]> = labels.iter().map(|pair| pair.each_ref().map(String::as_str)).collect();
        let found = found(["a", "b"], &labels, Limits::default().with_memory(1), true);
        let mut told = serde_json::to_vec(&found).unwrap();
        let at = at.index(told.len());
        told[at] = byte;
        if let Ok(read) = serde_json::from_slice::<Found>(&told) {
            let _ = (read.to_string(), serde_json::to_string(&read).unwrap());
            let bounds = read.blame().filter_map(|blame| blame.uncertainty);
            bounds.for_each(|bounds| assert!(bounds.distinct() > 0.0 && bounds.sum_of_squares() > 0.0));
        }
    }
}

#[test]
fn an_uncertainty_that_no_count_has_is_refused() {
    let labels: Vec<[String; 2]> = (0..2_000).map(|i| [i.to_string(), i.to_string()]).collect();
    let labels: Vec<[&str; 2]> = labels.iter().map(|pair| pair.each_ref().map(String::as_str)).collect();
    let told = found(["a", "b"], &labels, Limits::default().with_memory(1), true);
    let mut told = serde_json::to_value(&told).unwrap();
    for precision in [0, 64, 255] {
        told["blame"]["s"]["uncertainty"]["precision"] = precision.into();
        assert!(serde_json::from_value::<Found>(told.clone()).is_err(), "{precision}");
    }
}

/// Another kind of detector that finds the same, and has no explanation.
#[derive(Debug, Clone, Default)]
struct OfAnotherKind(Highest<1>);

impl TableDetector for OfAnotherKind {
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        self.0.judge(window)
    }

    fn learn(&mut self, window: &TableWindow<'_>) {
        self.0.learn(window);
    }

    fn explain(
        &self,
        _: &TableWindow<'_>,
        _: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        vec![Err(Refusal::Empty); places.len()]
    }
}

impl Persist for OfAnotherKind {
    type Memory = <Highest<1> as Persist>::Memory;
    const KIND: &'static str = "another kind";
    const VERSION: u16 = 1;

    fn memory(&self) -> impl serde::Serialize {
        self.0.0.clone()
    }

    fn restore(&mut self, memory: Self::Memory) -> peak_core::Result<()> {
        self.0.restore(memory)
    }
}

/// The findings of a detector in two windows, after one of one record each.
fn ids<D>(detector: D, dimensions: [&str; 2]) -> Vec<String>
where
    D: TableDetector + Persist + Clone,
{
    let schema = Arc::new(Schema::builder().time("t").dimensions(dimensions).build().unwrap());
    let mut engine = Engine::new(detector);
    let mut ids = Vec::new();
    for (i, window) in seconds(0..3).into_iter().enumerate() {
        let mut table = LocalTable::new(Arc::clone(&schema), window);
        for key in [["ab", "c"], ["a", "bc"], ["abc", ""]] {
            let record = Record::new(window.start(), &key).with_weight(1 + i as u64);
            table.add(&record).unwrap();
        }
        ids.extend(engine.take(table).unwrap().found.into_iter().map(|found| found.id));
    }
    assert_eq!(ids.len(), 6);
    ids
}

#[test]
fn ids_differ_by_detector_dimensions_key_and_window_and_by_nothing_else() {
    let first = ids(Highest::<1>::default(), ["x", "yz"]);
    // The same for ever: who has seen it before knows it again.
    assert_eq!(first[0], "8230c28dc5eb9cc28a09eb63104c183d");
    assert!(first.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert_eq!(ids(Highest::<2>::default(), ["x", "yz"]), first);
    let others = [ids(OfAnotherKind::default(), ["x", "yz"]), ids(Highest::<1>::default(), ["xy", "z"])];
    let different: BTreeSet<String> = others.into_iter().flatten().chain(first).collect();
    assert_eq!(different.len(), 3 * 6);
}

#[test]
fn what_is_found_is_told_also_without_an_explanation() {
    let feed = Feed::new(vec![(5, 1, 1, 1), (1_005, 1, 1, 1), (1_006, 1, 1, 1)]);
    let steps = Engine::new(OfAnotherKind::default()).run(&feed, &seconds(0..2)).unwrap();
    let found = &steps[1].found[0];
    assert_eq!((steps[1].judged, &found.explanation.carried_by[..]), (1, "no records"));
    reads_back(found);
}

#[test]
fn a_finding_keeps_its_id_when_it_is_amended() {
    let feed = spike();
    for calibrated in [false, true] {
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(3).unwrap();
        let steps = engine.run(&feed, &seconds(0..20)).unwrap();
        let found = steps[19].found[0].clone();
        let late = Feed::new((0..50).map(|i| (19_200 + i, 1, 7, 2)).collect());
        let amendment = engine.amend(&late).unwrap();
        let correction =
            amendment.corrections.iter().find(|correction| correction.key == Key::new(["1", "x"])).unwrap();
        let (before, after) = (correction.before.as_ref().unwrap(), correction.after.as_ref().unwrap());
        assert_eq!((&before.id, &after.id), (&found.id, &found.id));
        assert_eq!(
            (before.summary.records, after.summary.records),
            (found.summary.records, found.summary.records + 50)
        );
    }
}

#[test]
fn the_spans_of_findings_are_those_of_their_windows() {
    let feed = spike();
    let windows: Vec<Span> = tables(&feed, &seconds(0..20)).iter().map(LocalTable::span).collect();
    let steps = Engine::new(either(true, &feed)).run(&feed, &seconds(0..20)).unwrap();
    let mut told = 0;
    for (step, window) in steps.iter().zip(windows) {
        told += step.found.len();
        assert!(step.found.iter().all(|found| found.span == window), "{step:?}");
    }
    assert!(told > 0);
}
