//! What is shown of all verdicts, and what a window that was not observed is worth.

use super::{Feed, Highest, at, either, json, records, seconds, spike, tables, windows};
use peak_core::{Key, Record, Span, Tally};
use peak_detectors::{Engine, Found, Observation, Refusal, Step, Verdict};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Shown = (Span, Key, u64, Result<Verdict, Refusal>);

fn shown(x: &Observation<'_>, verdict: Result<Verdict, Refusal>) -> Shown {
    (x.span, x.key.clone(), x.summary.records, verdict)
}

/// The steps say of a window what its verdicts do.
fn check(step: &Step, shown: &[Shown], known: &BTreeSet<Key>) {
    let keys: Vec<&Key> = shown.iter().map(|(_, key, ..)| key).collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    assert!(keys.iter().copied().eq(known), "{keys:?}");
    assert!(shown.iter().all(|(span, ..)| *span == step.window));
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for refusal in shown.iter().filter_map(|(.., verdict)| verdict.err()) {
        *refused.entry(refusal.reason()).or_default() += 1;
    }
    assert_eq!(step.refused, refused);
    let judged: Vec<(&Key, Verdict)> =
        shown.iter().filter_map(|(_, key, _, verdict)| Some((key, verdict.ok()?))).collect();
    assert_eq!(step.judged, judged.len() as u64);
    let anomalous: BTreeMap<&Key, u64> =
        judged.iter().filter(|(_, v)| v.anomalous).map(|(key, v)| (*key, v.score.to_bits())).collect();
    let found = |found: &Found| (found.key.clone(), found.verdict.score.to_bits());
    let found: BTreeMap<Key, u64> = step.found.iter().map(found).collect();
    assert!(found.iter().map(|(key, score)| (key, *score)).eq(anomalous), "{:?}", step.found);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_verdict_is_shown_in_the_order_of_the_keys(
        records in records(),
        lateness in 0..3usize,
        calibrated: bool,
    ) {
        let feed = Feed::new(records);
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(lateness).unwrap();
        let mut all = Vec::new();
        let steps = engine.run_with(&feed, &windows(), &mut |x, verdict| all.push(shown(x, verdict))).unwrap();
        let (mut known, mut rest) = (BTreeSet::new(), &all[..]);
        for (step, table) in steps.iter().zip(tables(&feed, &windows())) {
            known.extend(table.iter().map(|(key, _)| key.clone()));
            let (of_window, later) = rest.split_at(known.len());
            check(step, of_window, &known);
            let records = |(_, key, records, _): &Shown| *records == table.get(key).map_or(0, Tally::records);
            prop_assert!(of_window.iter().all(records));
            rest = later;
        }
        prop_assert!(rest.is_empty());

        // Who looks changes nothing, and it is the same whichever door windows come in by.
        let mut unseen = Engine::new(either(calibrated, &feed));
        prop_assert_eq!(json(&unseen.run(&feed, &windows()).unwrap()), json(&steps));
        prop_assert_eq!(unseen.detector(), engine.detector());
        let mut taken = Engine::new(either(calibrated, &feed));
        let mut again = Vec::new();
        for table in tables(&feed, &windows()) {
            taken.take_with(table.finish(), &mut |x, verdict| again.push(shown(x, verdict))).unwrap();
        }
        prop_assert_eq!(again, all);
    }
}

#[test]
fn a_spike_is_the_strangest_to_either_rule_and_explained_as_it_was_judged() {
    let feed = spike();
    for calibrated in [false, true] {
        let mut engine = Engine::new(either(calibrated, &feed));
        let mut tables = tables(&feed, &seconds(0..20));
        let last = tables.pop().unwrap().finish();
        for table in tables {
            engine.take(table).unwrap();
        }
        let key = Key::new(["1", "x"]);
        let explanation = engine.explain(&last, [&key]).swap_remove(0).unwrap();
        let step = engine.take(last).unwrap();
        assert_eq!(step.found[0].key, key);
        assert_eq!(step.found[0].explanation, explanation);
    }
}

#[test]
fn what_was_not_observed_is_neither_judged_nor_learned() {
    let feed = spike();
    for (calibrated, exposure) in
        [false, true].into_iter().flat_map(|rule| [0.0, 0.5, 0.999].map(|e| (rule, e)))
    {
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(3).unwrap();
        let mut without = Engine::new(either(calibrated, &feed)).with_lateness(3).unwrap();
        let mut tables = tables(&feed, &seconds(0..20));
        let spike = tables.pop().unwrap();
        for table in tables {
            engine.take(table.clone()).unwrap();
            without.take(table).unwrap();
        }
        let (mut new, mut all) = (spike.clone().with_exposure(exposure).unwrap(), Vec::new());
        new.add(&Record::new(at(19_000), &["new", "x"]).with_labels(&[Some("s")])).unwrap();
        let step = engine.take_with(new, &mut |x, verdict| all.push((x.key.to_string(), verdict))).unwrap();
        assert_eq!((step.exposure, step.judged, step.found.len()), (exposure, 0, 0));
        assert_eq!(step.refused, [("not observed", 3)].into());
        assert_eq!(all, ["1 / x", "2 / x", "new / x"].map(|key| (key.to_owned(), Err(Refusal::NotObserved))));
        assert_eq!((engine.history(), engine.detector()), (without.history(), without.detector()));

        // A window that is read again, as a whole now, and late records of those before it.
        // It took none of the places of those that are open.
        let late = Feed::new(vec![(16_500, 1, 9, 1), (18_500, 1, 9, 1), (19_500, 1, 9, 1)]);
        let amendment = engine.amend(&late).unwrap();
        assert_eq!((amendment.merged, amendment.too_late, amendment.too_early), (2, 0, 1));
        without.amend(&late).unwrap();
        let (again, expected) = (engine.take(spike.clone()).unwrap(), without.take(spike).unwrap());
        assert_eq!(json(&[again]), json(std::slice::from_ref(&expected)));
        assert_eq!(expected.found[0].key, Key::new(["1", "x"]));
        assert_eq!((engine.history(), engine.detector()), (without.history(), without.detector()));
    }
}

#[test]
fn a_window_that_was_observed_is_judged_whatever_came_before() {
    let mut engine = Engine::new(Highest::<1>::default());
    let feed = Feed::new(vec![(5, 1, 1, 1), (1_005, 1, 1, 1)]);
    let tables = tables(&feed, &windows());
    let step = engine.take(tables[0].clone().with_exposure(0.0).unwrap()).unwrap();
    assert_eq!((step.refused, engine.history().learned().len()), ([("not observed", 1)].into(), 0));
    let step = engine.take(tables[1].clone()).unwrap();
    assert_eq!((step.exposure, step.refused), (1.0, [("history too short", 1)].into()));
}
