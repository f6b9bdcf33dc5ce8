//! A live feed: records that are pushed are judged as those of an archive.

use super::{Feed, Row, at, either, json, records, seconds};
use peak_core::{Grid, Live, Placed, Record};
use peak_detectors::{Engine, Peak, Step};
use proptest::prelude::*;
use std::io::Cursor;
use std::time::Duration;

fn push(live: &mut Live, &(millis, key, sample, who): &Row) -> Placed {
    let [key, sample, who] = [key, sample, who].map(|n| n.to_string());
    let labels = [Some(sample.as_str()), Some(who.as_str())];
    live.push(&Record::new(at(millis), &[&key, "x"]).with_labels(&labels)).unwrap()
}

/// Saves all, and goes on from there.
fn interrupted(
    engine: &Engine<Peak>,
    live: &mut Live,
    calibrated: bool,
    feed: &Feed,
) -> (Engine<Peak>, Live) {
    let mut bytes = Vec::new();
    engine.write_checkpoint(live, b"offset 7", &mut bytes).unwrap();
    let resumed = Engine::read(Cursor::new(bytes), "memory", either(calibrated, feed)).unwrap();
    assert_eq!(resumed.cursor, b"offset 7");
    assert!(!resumed.engine.relearned());
    (resumed.engine, resumed.live.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pushing_is_running_whatever_the_order_within_the_grace_and_the_interruptions(
        rows in records().prop_filter("records", |rows| !rows.is_empty()),
        delays in prop::collection::vec(0..1_500i64, 300),
        interruption in 0..300usize,
        lateness in 0..3usize,
        calibrated: bool,
    ) {
        let feed = Feed::new(rows);
        let mut arrivals: Vec<(i64, Row)> =
            feed.records.iter().zip(delays).map(|(row, delay)| (row.0 + delay, *row)).collect();
        arrivals.sort_unstable();
        let grid = Grid::every(Duration::from_secs(1)).unwrap();
        let mut live = Live::new(&feed.schema, grid).with_grace(Duration::from_millis(1_500));
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(lateness).unwrap();
        let mut steps: Vec<Step> = Vec::new();
        for (i, (now, row)) in arrivals.iter().enumerate() {
            steps.extend(live.close(at(*now)).into_iter().map(|table| engine.take(table).unwrap()));
            if i == interruption {
                (engine, live) = interrupted(&engine, &mut live, calibrated, &feed);
            }
            prop_assert_eq!(push(&mut live, row), Placed::Counted);
        }
        steps.extend(live.close(at(11_500)).into_iter().map(|table| engine.take(table).unwrap()));

        let first = feed.records.iter().map(|row| row.0).min().unwrap() / 1_000;
        let mut whole = Engine::new(either(calibrated, &feed));
        let expected = whole.run(&feed, &seconds(first..10)).unwrap();
        prop_assert_eq!(steps.len(), expected.len());
        prop_assert_eq!(json(&steps), json(&expected));
        prop_assert_eq!(engine.history(), whole.history());
        prop_assert_eq!(engine.detector(), whole.detector());
    }

    #[test]
    fn records_that_come_after_their_window_amend_it(rows in records(), late in records(), calibrated: bool) {
        let feed = Feed::new(rows);
        let grid = Grid::every(Duration::from_secs(1)).unwrap();
        let mut live = Live::new(&feed.schema, grid).with_late(10);
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(10).unwrap();
        let mut all = feed.records.clone();
        all.push((0, 1, 1, 1));
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.iter().for_each(|row| assert_eq!(push(&mut live, row), Placed::Counted));
        live.close(at(10_000)).into_iter().for_each(|table| drop(engine.take(table).unwrap()));
        late.iter().for_each(|row| assert_eq!(push(&mut live, row), Placed::Late));
        let amendment = engine.amend_tables(live.take_late()).unwrap();
        prop_assert_eq!((amendment.merged, amendment.too_late, amendment.too_early), (late.len() as u64, 0, 0));
        prop_assert!(live.take_late().is_empty());

        let all = Feed::new([all, late].concat());
        let mut expected = Engine::new(either(calibrated, &all));
        expected.run(&all, &seconds(0..10)).unwrap();
        prop_assert_eq!(engine.history(), expected.history());
        prop_assert_eq!(engine.detector(), expected.detector());
    }
}

#[test]
fn a_window_in_which_the_collector_was_down_is_no_silence() {
    let feed =
        Feed::new((0..10).filter(|second| *second != 5).map(|second| (1_000 * second, 1, 1, 1)).collect());
    let grid = Grid::every(Duration::from_secs(1)).unwrap();
    let mut live = Live::new(&feed.schema, grid);
    feed.records.iter().for_each(|row| assert_eq!(push(&mut live, row), Placed::Counted));
    live.not_observed(peak_core::Span::new(at(5_200), at(6_000)).unwrap());
    let mut engine = Engine::new(either(true, &feed));
    let steps: Vec<Step> =
        live.close(at(10_000)).into_iter().map(|table| engine.take(table).unwrap()).collect();
    assert_eq!((steps.len(), engine.history().learned().len()), (10, 9));
    assert!((steps[5].exposure - 0.2).abs() < 1e-12);
    assert_eq!(steps[5].refused, [("not observed", 1)].into());
}
