//! A checkpoint of any content, or with damage in it, is refused, or an engine goes on from it as any other: it
//! judges, learns, amends and saves, and another that is read from what it saves does the same.
//!
//! Both rules, with windows open for late records and with those of a live feed, and with a memory of another
//! version, which is learned anew.

#![no_main]

mod damage;
mod envelope;
mod fixture;

use damage::{Edit, damaged};
use envelope::{Section, unwrapped, wrapped};
use fixture::{day, records, schema, table};
use libfuzzer_sys::fuzz_target;
use peak_core::{Grid, Live, LocalTable, Placed, Timestamp, Tz};
use peak_detectors::{Budget, Calibrated, Classic, Engine, Peak, Phases, Resumed};
use std::io::Cursor;
use std::sync::LazyLock;
use std::time::Duration;

/// Days that the engine has learned; some later ones are open in the live feed.
const LEARNED: u32 = 16;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[subject, edits], bytes)) = bytes.split_first_chunk() else { return };
    let rule = usize::from(subject & 1);
    let mut sections = CHECKPOINTS[rule].clone();
    let damage = subject / 2 % 8;
    let place = usize::from(subject / 16) % sections.len();
    if damage == 0 {
        sections[place].2 = bytes.to_vec();
    } else {
        let count = size_of::<Edit>() * (1 + usize::from(edits % 3));
        let (edits, _) = bytes.split_at_checked(count).unwrap_or_default();
        sections[place].2 = damaged(&sections[place].2, edits.as_chunks().0);
    }
    if damage == 1 {
        // The memory is of another version.
        sections[1].1 = 999;
    }
    let Some(resumed) = read(&wrapped(&sections), rule) else { return };
    assert_eq!(resumed.engine.relearned(), damage == 1);
    check(resumed, rule);
});

fn rule(rule: usize) -> Peak {
    match rule {
        0 => Peak::calibrated(Calibrated::new(Budget::default()).with_phases(Phases::NONE)),
        _ => Peak::classic(Classic::new(&schema(), Tz::Europe__Berlin)),
    }
}

static CHECKPOINTS: LazyLock<[Vec<Section>; 2]> = LazyLock::new(|| {
    [0, 1].map(|which| {
        let mut engine = Engine::new(rule(which)).with_horizon(Duration::from_secs(86_400 * 30));
        engine = engine.with_lateness(3).expect("nothing is open");
        let grid = Grid::days(Tz::UTC);
        let mut live = Live::new(&schema(), grid).with_late(3).with_grace(Duration::from_secs(3_600));
        for n in 0..=LEARNED {
            records(day(n), 40, &mut |record| {
                assert_ne!(live.push(record).expect("a record"), Placed::Early)
            });
            for window in live.close(Timestamp::MIN) {
                engine.take(window).expect("a window");
            }
        }
        records(day(LEARNED - 2), 5, &mut |record| {
            assert_eq!(live.push(record).expect("a record"), Placed::Late);
        });
        live.not_observed(day(LEARNED + 3));
        let mut written = Vec::new();
        engine.write_checkpoint(&mut live, b"a place in the feed", &mut written).expect("a vector");
        assert!(read(&written, which).is_some());
        unwrapped(&written)
    })
});

fn read(bytes: &[u8], which: usize) -> Option<Resumed<Peak>> {
    Engine::read(Cursor::new(bytes), "fuzzed", rule(which)).ok()
}

fn check(Resumed { mut engine, live, cursor, .. }: Resumed<Peak>, which: usize) {
    let mut live = live.unwrap_or_else(|| Live::new(&schema(), Grid::days(Tz::UTC)));
    let (saved, mut twin) = saved_and_read(&engine, &mut live, &cursor, which);
    let mut twin_live = twin.live.take().expect("it was saved");
    assert_eq!(twin.cursor, cursor);
    assert!(
        saved_and_read(&twin.engine, &mut twin_live, &cursor, which).0 == saved,
        "it saves to other bytes"
    );

    for n in LEARNED..LEARNED + 5 {
        let count = if n % 2 == 0 { 40 } else { 200 };
        records(day(n), count, &mut |record| {
            let placed = live.push(record).map_err(|error| error.to_string());
            assert_eq!(placed, twin_live.push(record).map_err(|error| error.to_string()));
        });
        let (over, twin_over) = (live.close(Timestamp::MIN), twin_live.close(Timestamp::MIN));
        assert_eq!(over, twin_over);
        for window in over.into_iter().take(5) {
            same_step(&mut engine, &mut twin.engine, window);
        }
        same_step(&mut engine, &mut twin.engine, table(day(n), count));
        let (late, twin_late) = (live.take_late(), twin_live.take_late());
        assert_eq!(late, twin_late);
        for late in [late, vec![table(day(n), 3), table(day(n - 2), 100)]] {
            let amended = engine.amend_tables(late.clone()).map_err(|error| error.to_string());
            let twin = twin.engine.amend_tables(late).map_err(|error| error.to_string());
            assert_eq!(json(&amended.as_ref()), json(&twin.as_ref()));
        }
    }
    let keys: Vec<_> = engine.history().iter().map(|(key, _)| key.clone()).collect();
    let explained = engine.explain(&table(day(LEARNED + 9), 7).finish(), keys.iter().take(5));
    assert_eq!(explained.len(), keys.len().min(5));
    live.merge(twin_live).expect("its own kind");
    engine.retain(|key| key.to_string().len() % 2 == 0);
    let mut engine = engine.with_horizon(Duration::from_secs(86_400 * 3));
    let _ = engine.take(table(day(LEARNED + 9), 10));
    saved_and_read(&engine, &mut live, &cursor, which);
}

fn saved_and_read(
    engine: &Engine<Peak>,
    live: &mut Live,
    cursor: &[u8],
    which: usize,
) -> (Vec<u8>, Resumed<Peak>) {
    let mut saved = Vec::new();
    engine.write_checkpoint(live, cursor, &mut saved).expect("a vector can be written");
    let read = Engine::read(Cursor::new(&saved), "saved", rule(which)).expect("its own checkpoint");
    (saved, read)
}

/// Both judge a window alike, and scores are numbers.
fn same_step(engine: &mut Engine<Peak>, twin: &mut Engine<Peak>, window: LocalTable) {
    let mut verdicts = Vec::new();
    let step = engine.take_with(window.clone(), &mut |x, verdict| {
        if let Ok(verdict) = verdict {
            assert!(verdict.score.is_finite(), "{verdict:?}");
            assert!(verdict.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{verdict:?}");
        }
        verdicts.push((x.key.clone(), verdict));
    });
    let mut twins = Vec::new();
    let twin = twin.take_with(window, &mut |x, verdict| twins.push((x.key.clone(), verdict)));
    assert_eq!(
        json(&step.map_err(|error| error.to_string())),
        json(&twin.map_err(|error| error.to_string()))
    );
    assert_eq!(verdicts, twins);
}

fn json<T: serde::Serialize, E: std::fmt::Debug>(said: &Result<T, E>) -> String {
    match said {
        Ok(said) => serde_json::to_string(said).expect("what is said can be told"),
        Err(error) => format!("{error:?}"),
    }
}
