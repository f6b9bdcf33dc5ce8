//! Late records: what they change, and what it takes to keep windows open for them.

use super::{Feed, Row, detector, either, json, records, windows};
use peak_core::{Key, Span, Windows};
use peak_detectors::{Engine, Found};
use proptest::prelude::*;
use std::collections::BTreeMap;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

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
            drop(engine);
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
        let verdicts = |found: BTreeMap<(Span, Key), Found>| found.into_iter().map(|(place, f)| (place, f.summary, f.verdict)).collect::<Vec<_>>();
        prop_assert_eq!(verdicts(corrected), verdicts(expected_found));

        for &window in rest {
            prop_assert_eq!(json(&[engine.step(&all, window).unwrap()]), json(&[expected.step(&all, window).unwrap()]));
        }
    }
}

fn filled(records: &[Row], lateness: usize, calibrated: bool) -> Vec<u8> {
    let feed = Feed::new(records.to_vec());
    let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(lateness).unwrap();
    engine.run(&feed, &windows()).unwrap();
    let mut bytes = Vec::new();
    engine.write(&mut bytes).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_saved_does_not_depend_on_the_order_of_records(
        (records, shuffled) in records().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        lateness in 0..4usize,
        calibrated: bool,
    ) {
        prop_assert_eq!(filled(&records, lateness, calibrated), filled(&shuffled, lateness, calibrated));
    }

    #[test]
    fn what_is_saved_is_the_same_whether_records_came_in_time_or_late(
        records in records(),
        is_late in prop::collection::vec(any::<bool>(), 300),
        calibrated: bool,
    ) {
        let (late, in_time): (Vec<_>, Vec<_>) = records.iter().zip(is_late).partition(|(_, is_late)| *is_late);
        let rows = |part: Vec<(&Row, bool)>| -> Vec<Row> { part.into_iter().map(|(row, _)| *row).collect() };
        let feed = Feed::new(rows(in_time));
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(10).unwrap();
        engine.run(&feed, &windows()).unwrap();
        engine.amend(&Feed::new(rows(late))).unwrap();
        let mut bytes = Vec::new();
        engine.write(&mut bytes).unwrap();
        prop_assert_eq!(bytes, filled(&records, 10, calibrated));
    }
}

#[test]
fn a_window_of_which_only_the_summaries_are_there_is_not_amended() {
    let feed = Feed::new((0..10).map(|second| (1_000 * second, 1, 1, 1)).collect());
    let mut engine = Engine::new(detector(&feed)).with_lateness(3).unwrap();
    for (i, table) in super::tables(&feed, &windows()).into_iter().enumerate() {
        if i == 8 {
            engine.take(table.finish()).unwrap();
        } else {
            engine.take(table).unwrap();
        }
    }
    let history = engine.history().clone();
    let amendment = engine.amend(&Feed::new(vec![(8_500, 1, 1, 1)])).unwrap();
    assert_eq!((amendment.merged, amendment.too_late), (0, 1));
    assert_eq!(engine.history(), &history);
    let amendment = engine.amend(&Feed::new(vec![(7_500, 1, 1, 1), (9_500, 1, 1, 1)])).unwrap();
    assert_eq!((amendment.merged, amendment.too_late), (2, 0));
}

#[test]
fn fewer_windows_can_be_kept_open_and_none() {
    let feed = Feed::new((0..10).map(|second| (1_000 * second, 1, 1, 1)).collect());
    let mut engine = Engine::new(detector(&feed)).with_lateness(5).unwrap();
    engine.run(&feed, &windows()).unwrap();
    let mut engine = engine.with_lateness(2).unwrap();
    let late = Feed::new(vec![(7_500, 1, 1, 1), (8_500, 1, 1, 1)]);
    let amendment = engine.amend(&late).unwrap();
    assert_eq!((amendment.merged, amendment.too_late), (1, 1));
    let mut engine = engine.with_lateness(0).unwrap();
    let amendment = engine.amend(&late).unwrap();
    assert_eq!((amendment.merged, amendment.too_late), (0, 2));
}
