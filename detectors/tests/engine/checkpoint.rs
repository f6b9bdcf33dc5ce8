//! What is saved, and how an engine goes on from it.

use super::{Feed, Highest, at, detector, either, json, records, seconds, spike, tables, windows};
use peak_core::{GlobalTable, Grid, Key, Live, Placed, Record, Source, Timestamp, Windows, snapshot};
use peak_detectors::{Classic, Engine, Peak, Persist};
use proptest::prelude::*;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_damaged_history_is_refused_and_kept() {
    let feed = Feed::new(vec![(5, 1, 1, 1)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    let open = |path: &Path| Engine::open(path, detector(&feed)).map(drop);
    let mut engine = Engine::open(&path, detector(&feed)).unwrap();
    engine.step(&feed, windows()[0]).unwrap();
    engine.save().unwrap();
    drop(engine);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("history.peak: not a usable snapshot: "), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
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
        let (history, detector) = (first.history().clone(), first.detector().clone());
        drop(first);
        let mut second = Engine::open(&path, either(calibrated, &feed)).unwrap();
        prop_assert_eq!(second.history(), &history);
        prop_assert_eq!(second.detector(), &detector);
        for &window in &windows[at..] {
            found.extend(json(&[second.step(&feed, window).unwrap()]));
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(second.history(), whole.history());
    }
}

fn bytes<D>(engine: &Engine<D>) -> Vec<u8>
where
    D: peak_detectors::TableDetector + Persist + Clone,
{
    let mut bytes = Vec::new();
    engine.write(&mut bytes).unwrap();
    bytes
}

/// What the crafted file of these sections is.
fn sections(fill: impl FnOnce(&mut snapshot::Writer<'_>) -> std::io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = snapshot::Writer::new(&mut bytes).unwrap();
    fill(&mut out).unwrap();
    out.finish().unwrap();
    bytes
}

fn read(bytes: Vec<u8>, detector: Peak) -> peak_core::Result<Engine<Peak>> {
    Engine::read(Cursor::new(bytes), "a stream", detector).map(|resumed| resumed.engine)
}

#[test]
fn two_engines_do_not_share_a_history() {
    let feed = Feed::new(vec![(5, 1, 1, 1), (1_005, 1, 1, 1)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    let mut first = Engine::open(&path, detector(&feed)).unwrap();
    let refused = || Engine::open(&path, detector(&feed)).map(drop).unwrap_err().to_string();
    assert!(refused().contains("history.peak"), "{}", refused());
    first.step(&feed, windows()[0]).unwrap();
    first.save().unwrap();
    refused();
    // A clone saves to the same file, so the file is its own, too.
    let clone = first.clone();
    drop(first);
    refused();
    assert!(Engine::resume(&path, detector(&feed)).is_err());
    drop(clone);
    let mut second = Engine::open(&path, detector(&feed)).unwrap();
    second.step(&feed, windows()[1]).unwrap();
    second.save().unwrap();
    drop(second);
    assert_eq!(Engine::open(&path, detector(&feed)).unwrap().history().learned(), &windows()[..2]);
}

#[test]
fn a_checkpoint_is_whole_or_there_is_none() {
    let feed = spike();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    let fresh = Engine::resume(&path, either(true, &feed)).unwrap();
    assert!(fresh.live.is_none() && fresh.cursor.is_empty() && !path.exists());

    let mut live = Live::new(&feed.schema, Grid::every(Duration::from_secs(1)).unwrap());
    let mut engine = fresh.engine;
    feed.scan(peak_core::Span::ALWAYS, &mut |record| {
        assert_eq!(live.push(record).unwrap(), Placed::Counted);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    for table in live.close(Timestamp::MIN) {
        engine.take(table).unwrap();
    }
    engine.checkpoint(&mut live, b"partition 3, offset 7\0\xff").unwrap();
    let history = engine.history().clone();
    drop(engine);
    let resumed = Engine::resume(&path, either(true, &feed)).unwrap();
    let mut again = resumed.live.unwrap();
    assert_eq!(resumed.cursor, b"partition 3, offset 7\0\xff");
    assert_eq!((resumed.engine.history(), again.report()), (&history, live.report()));
    let rest = [again.close(at(20_000)), live.close(at(20_000))];
    assert_eq!(rest[0].len(), 1);
    assert_eq!(rest[0], rest[1]);

    // An engine that is saved without its feed no longer says where the feed was.
    resumed.engine.save().unwrap();
    drop(resumed.engine);
    let resumed = Engine::resume(&path, either(true, &feed)).unwrap();
    assert!(resumed.live.is_none() && resumed.cursor.is_empty());
    assert_eq!(resumed.engine.history(), &history);
}

#[test]
fn an_engine_without_a_file_is_saved_nowhere() {
    let feed = spike();
    let mut live = Live::new(&feed.schema, Grid::every(Duration::from_secs(1)).unwrap());
    let engine = Engine::new(either(true, &feed));
    engine.save().unwrap();
    engine.checkpoint(&mut live, b"7").unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_to_a_stream_is_what_is_saved_and_reads_back(
        records in records(),
        learned in 0..10usize,
        lateness in 0..4usize,
        calibrated: bool,
    ) {
        let feed = Feed::new(records);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.peak");
        let mut engine = Engine::open(&path, either(calibrated, &feed)).unwrap().with_lateness(lateness).unwrap();
        let mut tables = tables(&feed, &windows());
        let rest = tables.split_off(learned);
        for table in tables {
            engine.take(table).unwrap();
        }
        engine.save().unwrap();
        let written = bytes(&engine);
        prop_assert!(std::fs::read(&path).unwrap() == written);
        let mut read = read(written.clone(), either(calibrated, &feed)).unwrap();
        prop_assert!(!read.relearned());
        prop_assert!(bytes(&read) == written);
        for table in rest {
            prop_assert_eq!(json(&[read.take(table.clone()).unwrap()]), json(&[engine.take(table).unwrap()]));
        }
        prop_assert!(bytes(&read) == bytes(&engine));
    }

    #[test]
    fn a_memory_of_another_version_is_relearned_from_the_history(
        records in records(),
        learned in 0..11usize,
        calibrated: bool,
        other_kind: bool,
    ) {
        let feed = Feed::new(records);
        let mut engine = Engine::new(either(calibrated, &feed)).with_lateness(2).unwrap();
        let mut tables = tables(&feed, &windows());
        let rest = tables.split_off(learned);
        for table in tables {
            engine.take(table).unwrap();
        }
        let (kind, version) = if other_kind { ("highest", Peak::VERSION) } else { (Peak::KIND, Peak::VERSION + 1) };
        let file = sections(|out| {
            out.section("history", 1, engine.history())?;
            out.section(kind, version, &["a layout", "of another time"])?;
            out.section("late windows", 1, &(2, "what belongs to that layout"))?;
            out.section(&format!("{kind} before the late windows"), version, &0)
        });
        let mut relearned = read(file, either(calibrated, &feed)).unwrap();
        prop_assert!(relearned.relearned());
        prop_assert_eq!(relearned.history(), engine.history());
        prop_assert_eq!(relearned.detector(), engine.detector());
        let again = read(bytes(&relearned), either(calibrated, &feed)).unwrap();
        prop_assert!(!again.relearned());
        prop_assert_eq!((again.history(), again.detector()), (relearned.history(), relearned.detector()));
        for table in rest {
            prop_assert_eq!(json(&[relearned.take(table.clone()).unwrap()]), json(&[engine.take(table).unwrap()]));
        }
    }
}

#[test]
fn a_relearned_engine_finds_what_is_strange() {
    let feed = spike();
    let windows = seconds(0..20);
    let learned = Windows::new(windows[..19].to_vec()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    // The file of another kind of detector; and one without any memory.
    let mut other = Engine::open(&path, Highest::<1>::default()).unwrap();
    other.run(&feed, &learned).unwrap();
    other.save().unwrap();
    let history = other.history().clone();
    drop(other);
    for saved in [std::fs::read(&path).unwrap(), sections(|out| out.section("history", 1, &history))] {
        std::fs::write(&path, saved).unwrap();
        for calibrated in [false, true] {
            let mut engine = Engine::open(&path, either(calibrated, &feed)).unwrap();
            assert!(engine.relearned());
            assert_eq!(engine.history(), &history);
            let step = engine.step(&feed, windows[19]).unwrap();
            assert_eq!(step.judged, 2, "{:?}", step.refused);
            assert_eq!(step.found[0].key, Key::new(["1", "x"]));
        }
    }
    // Nothing was saved: the file is still the other's, and read by a newer version of it.
    let newer = Engine::open(&path, Highest::<2>::default()).unwrap();
    assert!(newer.relearned());
    newer.save().unwrap();
    drop(newer);
    assert!(!Engine::open(&path, Highest::<2>::default()).unwrap().relearned());
}

#[test]
fn an_engine_relearns_all_that_a_long_horizon_holds() {
    // A key that comes once, then none but the other one for a hundred days.
    let days = peak_core::Span::days("2020-01-01", "2020-04-10").unwrap();
    let records = days.iter().map(|day| (day.start().millis(), 1, 1, 1));
    let feed = Feed::new(records.chain([(days[0].start().millis(), 2, 1, 1)]).collect());
    let rules = || {
        let classic = Classic::new(&feed.schema, peak_core::Tz::UTC);
        [Peak::default(), Peak::classic(classic.clone()), Peak::classic(classic.forgetting())]
    };
    for (rule, fresh) in rules().into_iter().zip(rules()) {
        let mut engine = Engine::new(rule).with_horizon(Duration::from_secs(200 * 86_400));
        engine.run(&feed, &days).unwrap();
        assert_eq!(engine.history().iter().len(), 2);
        let file = sections(|out| out.section("history", 1, engine.history()));
        let relearned = read(file, fresh).unwrap();
        assert_eq!(relearned.history(), engine.history());
        assert_eq!(relearned.detector(), engine.detector());
    }
}

#[test]
fn a_file_without_a_usable_history_is_refused() {
    let feed = spike();
    let engine = Engine::new(either(true, &feed));
    let memory = engine.detector().memory();
    for (file, expected) in [
        (sections(|out| out.section(Peak::KIND, Peak::VERSION, &memory)), "history"),
        (sections(|out| out.section("history", 2, &GlobalTable::default())), "history"),
        (sections(|out| out.section("history", 1, &"none")), "history"),
        (sections(|_| Ok(())), "history"),
    ] {
        let error = read(file, either(true, &feed)).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("a stream: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn a_memory_that_does_not_fit_the_rule_is_refused() {
    let feed = spike();
    let error = read(bytes(&Engine::new(either(true, &feed))), either(false, &feed)).map(drop).unwrap_err();
    let expected = "peak rule: must be the one of the stored memory, calibrated, ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn a_relearned_engine_keeps_the_open_windows_and_the_cursor_of_its_feed() {
    let feed = spike();
    let mut live = Live::new(&feed.schema, Grid::every(Duration::from_secs(1)).unwrap());
    live.push(&Record::new(at(20_500), &["1", "x"]).with_labels(&[Some("s")])).unwrap();
    let mut engine = Engine::new(Highest::<1>::default());
    engine.run(&feed, &seconds(0..20)).unwrap();
    let mut bytes = Vec::new();
    engine.write_checkpoint(&mut live, b"7", &mut bytes).unwrap();
    let resumed = Engine::read(Cursor::new(bytes), "a stream", Highest::<2>::default()).unwrap();
    assert!(resumed.engine.relearned());
    assert_eq!((&resumed.cursor[..], resumed.engine.history()), (&b"7"[..], engine.history()));
    assert_eq!(resumed.live.unwrap().close(at(21_000)), live.close(at(21_000)));
    assert_eq!(resumed.engine.detector().0, engine.detector().0);
}
