//! A table, a tally or counts of any bytes, or damaged ones, are refused, or work as any others: they store to
//! themselves, keep the laws of combining, and take records, limits and a finish.

#![no_main]

mod damage;
mod fixture;

use damage::{Edit, damaged};
use libfuzzer_sys::fuzz_target;
use peak_core::testing::check_combine;
use peak_core::{Combine, Counts, GlobalTable, Limits, LocalTable, Summaries, Tally};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::LazyLock;
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[subject, edits], bytes)) = bytes.split_first_chunk() else { return };
    let count = size_of::<Edit>() * (1 + usize::from(edits % 3));
    let is_raw = edits >= 200;
    let (edits, _) = bytes.split_at_checked(count).unwrap_or_default();
    let (exact, bounded) = &*SUBJECTS;
    let subjects = if subject & 1 == 0 { exact } else { bounded };
    let stored = |stored: &[u8]| if is_raw { bytes.to_vec() } else { damaged(stored, edits.as_chunks().0) };
    match subject / 2 % 4 {
        0 => check_counts(&stored(&subjects.counts)),
        1 => check_tally(&stored(&subjects.tally)),
        2 => check_table(&stored(&subjects.table)),
        _ => check_summaries(&stored(&subjects.summaries)),
    }
});

struct Subjects {
    counts: Vec<u8>,
    tally: Vec<u8>,
    table: Vec<u8>,
    summaries: Vec<u8>,
    whole: LocalTable,
}

impl Subjects {
    fn of(table: LocalTable) -> Self {
        let (_, tally) = table.iter().next().expect("a tally");
        Subjects {
            counts: stored(tally.samples()),
            tally: stored(tally),
            table: stored(&table),
            summaries: stored(&table.finish()),
            whole: table,
        }
    }

    fn tally(&self) -> &Tally {
        self.whole.iter().next().expect("a tally").1
    }
}

static SUBJECTS: LazyLock<(Subjects, Subjects)> = LazyLock::new(|| {
    let exact = fixture::table(fixture::day(0), 40);
    let mut bounded = fixture::table(fixture::day(0), 400);
    bounded.keep_to(Limits::default().with_memory(8_000)).expect("a window");
    assert!(bounded.iter().any(|(_, tally)| !tally.is_exact()));
    (Subjects::of(exact), Subjects::of(bounded))
});

fn stored<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("it can be stored")
}

/// Decodes it, if it can be, and holds it against what it is stored to.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = rmp_serde::from_slice(bytes).ok()?;
    check_stored(&value);
    Some(value)
}

fn check_stored<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = stored(value);
    let again: T = rmp_serde::from_slice(&bytes).expect("what was stored can be read");
    assert_eq!(&again, value);
    assert!(stored(&again) == bytes, "read, it is stored to other bytes");
}

fn check_counts(bytes: &[u8]) {
    let Some(mut counts) = read::<Counts>(bytes) else { return };
    let (exact, bounded) = &*SUBJECTS;
    check_combine(&counts, exact.tally().samples(), bounded.tally().samples());
    let moments = counts.moments();
    assert!(moments.n() == counts.distinct() || !counts.is_exact());
    for label in counts.top(7) {
        assert_eq!(counts.get(&label.label), label.count);
    }
    for label in ["new", "a label that is longer than most of those that there are", ""] {
        let before = (counts.get(label), counts.memory_bytes());
        let growth = counts.add(label, 3);
        assert_eq!(counts.memory_bytes() as isize, before.1 as isize + growth);
        assert!(counts.get(label) >= before.0.min(3) || !counts.is_exact());
    }
    check_stored(&counts);
    for _ in 0..64 {
        let before = counts.memory_bytes();
        if !counts.bound() {
            break;
        }
        assert!(counts.memory_bytes() < before);
        counts.add("new", 1);
        assert!(counts.uncertainty().is_some_and(|uncertainty| uncertainty.distinct().is_finite()));
        check_stored(&counts);
    }
    assert!(!counts.bound());
}

fn check_tally(bytes: &[u8]) {
    let Some(mut tally) = read::<Tally>(bytes) else { return };
    let (exact, bounded) = &*SUBJECTS;
    check_combine(&tally, exact.tally(), bounded.tally());
    fixture::records(fixture::day(0), 9, &mut |record| tally.add(&fixture::schema(), record));
    check_stored(&tally);
    check_stored(&tally.finish());
}

fn check_table(bytes: &[u8]) {
    let Some(mut table) = read::<LocalTable>(bytes) else { return };
    let mut taken = 0;
    fixture::records(table.span(), 9, &mut |record| taken += i32::from(table.add(record).unwrap_or(false)));
    let other = SUBJECTS.0.whole.clone();
    let (mut merged, mut swapped) = (table.clone(), other.clone());
    if merged.merge(other).is_ok() {
        swapped.merge(table.clone()).expect("as the other way round");
        assert_eq!(merged, swapped);
        assert!(stored(&merged) == stored(&swapped), "equal tables are stored to other bytes");
        table = merged;
    }
    check_stored(&table);
    check_finished(&table.finish());
    for bytes in [20_000, 3_000, 0] {
        let records = |table: &LocalTable| {
            table.iter().fold(0, |sum: u64, (_, tally)| sum.saturating_add(tally.records()))
        };
        let before = records(&table);
        table.keep_to(Limits::default().with_memory(bytes).with_keys(2)).expect("a window");
        assert_eq!(records(&table), before);
        check_stored(&table);
        check_finished(&table.finish());
    }
    table.retain(|key| key.to_string().len() % 2 == 0);
    check_stored(&table);
}

fn check_summaries(bytes: &[u8]) {
    let Some(found) = read::<Summaries>(bytes) else { return };
    check_finished(&found);
}

/// Finished windows are stored, and learned by a history.
fn check_finished(found: &Summaries) {
    check_stored(found);
    let mut history = GlobalTable::new(Duration::from_secs(86_400 * 50));
    if history.learn(found).is_err() {
        assert_eq!(history.iter().len(), 0);
        return;
    }
    check_stored(&history);
    let _ = history.learn(&SUBJECTS.1.whole.finish());
    check_stored(&history);
}
