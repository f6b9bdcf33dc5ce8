//! Keys that are to be forgotten: a tenant that has left, a person who asked for it.

use super::{Feed, Highest, Row, either, json, records, tables, windows};
use peak_core::{Key, LocalTable, Summaries};
use peak_detectors::{Engine, Peak, PeakRule};
use proptest::prelude::*;

/// Whether the key is not the one with this number.
fn other_than(gone: u8) -> impl FnMut(&Key) -> bool {
    move |key| key.values().next() != Some(&gone.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn forgotten_keys_have_never_been_there(
        records in records(),
        late in records(),
        gone in 0..3u8,
        learned in 1..10usize,
        lateness in 0..4usize,
        as_summaries: bool,
    ) {
        let without = |records: &[Row]| records.iter().copied().filter(|row| row.1 != gone).collect();
        let run = |records| {
            let feed = Feed::new(records);
            let mut engine = Engine::new(Highest::<1>::default()).with_lateness(lateness).unwrap();
            for (i, table) in tables(&feed, &windows()).into_iter().take(learned).enumerate() {
                // Windows of which only the summaries are kept must forget, too.
                if as_summaries && i % 2 == 0 {
                    engine.take(table.finish()).unwrap();
                } else {
                    engine.take(table).unwrap();
                }
            }
            engine
        };
        let (mut engine, mut never) = (run(records.clone()), run(without(&records)));
        engine.retain(other_than(gone));
        prop_assert_eq!(engine.history(), never.history());
        prop_assert_eq!(engine.detector(), never.detector());

        // Neither late records of others bring it back, nor what comes next.
        let late = Feed::new(without(&late));
        let [a, b] = [&mut engine, &mut never].map(|engine| engine.amend(&late).unwrap());
        prop_assert_eq!(serde_json::to_string(&a).unwrap(), serde_json::to_string(&b).unwrap());
        prop_assert_eq!(engine.history(), never.history());
        prop_assert_eq!(engine.detector(), never.detector());
        let rest = tables(&Feed::new(records), &windows()).split_off(learned);
        for table in rest {
            let [a, b] = [&mut engine, &mut never].map(|engine| engine.take(table.clone()).unwrap());
            prop_assert_eq!(json(&[a]), json(&[b]));
        }
        prop_assert_eq!(engine.history(), never.history());
    }

    #[test]
    fn nothing_that_is_saved_names_a_forgotten_key(records in records(), calibrated: bool) {
        let mut feed = Feed::new(records);
        feed.records.extend((0..10).map(|second| (1_000 * second + 500, 3, 1, 1)));
        let rename = |table: &LocalTable| {
            let rows = table.finish().into_rows().into_iter().map(|(key, summary)| {
                let is_it = key == Key::new(["3", "x"]);
                (if is_it { Key::new(["a tenant that has left", "x"]) } else { key }, summary)
            });
            Summaries::new(table.schema().clone(), table.span(), rows).unwrap()
        };
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(3).unwrap();
        for table in tables(&feed, &windows()) {
            engine.take(rename(&table)).unwrap();
        }
        let is_named = |engine: &Engine<_>| {
            let mut bytes = Vec::new();
            engine.write(&mut bytes).unwrap();
            bytes.windows(22).any(|part| part == b"a tenant that has left")
        };
        prop_assert!(is_named(&engine));
        engine.retain(|key| key.values().next() != Some("a tenant that has left"));
        prop_assert!(!is_named(&engine));
    }
}

#[test]
fn the_rules_of_the_peak_detector_forget_their_keys() {
    let feed = Feed::new(
        (0..10).flat_map(|second| [(1_000 * second, 1, 1, 1), (1_000 * second, 2, 1, 1)]).collect(),
    );
    for calibrated in [false, true] {
        let mut engine = Engine::new(either(calibrated, &feed));
        engine.run(&feed, &windows()).unwrap();
        let keys = |engine: &Engine<Peak>| match engine.detector().rule() {
            PeakRule::Classic(rule) => rule.rows().len(),
            PeakRule::Calibrated(rule) => rule.keys(),
            _ => 0,
        };
        assert_eq!(keys(&engine), 2);
        engine.retain(other_than(2));
        assert_eq!((keys(&engine), engine.history().iter().len()), (1, 1));
    }
}
