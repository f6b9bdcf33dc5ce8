//! Any number of threads gives the tables, the report and the error of one.

#![allow(clippy::unwrap_used)]

use peak_core::testing::check_source;
use peak_core::{
    BadRecords, BadShare, DeadLetters, LocalTable, LocalTables, Place, Schema, Source, Span, Timestamp,
    Windows,
};
use peak_json::{Files, JsonFiles};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

fn schema() -> Schema {
    let schema = Schema::builder().time("at").sample("id").dimensions(["host"]).blame(["user"]);
    schema.measures(["load"]).build().unwrap()
}

/// Everything there is to know of a count: the tables, and the report or the error.
fn count(source: &JsonFiles) -> (Option<Vec<LocalTable>>, Result<String, String>) {
    let span = Span::new(Timestamp::MIN, Timestamp::from_millis(3_000).unwrap()).unwrap();
    let seconds = Windows::every(span, Duration::from_secs(1)).unwrap();
    // With a gap.
    let mut tables = LocalTables::new(source.schema(), &Windows::new(vec![seconds[0], seconds[2]]).unwrap());
    match source.count(&mut tables) {
        Ok(report) => (Some(tables.into_tables()), Ok(serde_json::to_string(&report).unwrap())),
        Err(error) => (None, Err(error.to_string())),
    }
}

fn check(paths: &[impl AsRef<Path>]) {
    let policies = [
        BadRecords::Reject,
        BadRecords::Skip(0),
        BadRecords::Skip(1),
        BadRecords::Skip(4),
        BadRecords::Skip(u64::MAX),
        BadRecords::SkipShare(BadShare::new(0.02).unwrap().judged_after(9).unwrap()),
        BadRecords::share(0.02).unwrap(),
    ];
    for policy in policies {
        let source = |threads| {
            let paths = paths.iter().map(AsRef::as_ref);
            JsonFiles::paths(paths, schema())
                .on_bad_record(policy)
                .threads(NonZeroUsize::new(threads).unwrap())
        };
        let expected = count(&source(1));
        for threads in 2..=5 {
            assert_eq!(count(&source(threads)), expected, "{policy:?}, {threads} threads");
        }
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Lines,
    Array,
    Gzip,
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let good =
        (0..4_000u32, 0..9u8, 0..4u8, 0..4u8, 0..3u8).prop_map(|(at, id, host, user, load)| match host {
            0 => format!(r#"{{"at":{at},"id":"{id}","host":"a","user":{user},"load":0.{load}}}"#),
            1 => format!(r#"{{"host":"b\u00e9","id":"{id}","load":{load}e-1,"at":{at},"user":null}}"#),
            2 => format!(r#"  {{"at": {at}, "id": {id}, "host": true}}"#),
            // In the array stands what seems to be the next record.
            _ => format!(r#"{{"at":{at},"x":[{{"y":{id}}},{{"at":{id}}}],"id":"é{id}","host":"a"}}"#),
        });
    let bad = prop::sample::select(vec!["{}", "[1]", "{\"at\":1", "5", "{\"at\":0,\"id\":1,\"host\":{}}"]);
    let line = prop_oneof![60 => good, 1 => bad.prop_map(str::to_owned), 2 => Just(String::new())];
    prop::collection::vec(line, 0..60)
}

fn files() -> impl Strategy<Value = Vec<(Kind, Vec<String>)>> {
    let kind = prop_oneof![3 => Just(Kind::Lines), 3 => Just(Kind::Array), 1 => Just(Kind::Gzip)];
    prop::collection::vec((kind, lines()), 1..4)
}

proptest! {
    #[test]
    fn any_number_of_threads_gives_the_result_of_one(files in files(), is_missing in prop::bool::weighted(0.1)) {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (number, (kind, lines)) in files.into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            let content = match kind {
                Kind::Lines => lines.join("\n").into_bytes(),
                Kind::Array => format!("[{}]", lines.join(",\n")).into_bytes(),
                Kind::Gzip => {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    encoder.write_all(lines.join("\n").as_bytes()).unwrap();
                    encoder.finish().unwrap()
                }
            };
            fs::write(&path, content).unwrap();
            paths.push(path);
        }
        if is_missing {
            paths.push(folder.path().join("missing"));
        }
        check(&paths);
    }
}

#[test]
fn a_bad_record_keeps_its_place_whatever_part_of_the_file_it_is_in() {
    const RECORDS: usize = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.ndjson");
    let good = |i: usize| format!("{{\"at\":{i},\"id\":{},\"host\":\"{}\"}}\n", i % 70, i % 3);
    for bad in [1, RECORDS / 2 - 1, RECORDS / 2, RECORDS - 1] {
        let line = |i: usize| if i == bad { format!("\n{}", good(i).replace("id", "di")) } else { good(i) };
        fs::write(&path, (0..RECORDS).map(line).collect::<String>()).unwrap();
        check(&[&path]);
        let source = JsonFiles::paths([&path], schema()).threads(NonZeroUsize::new(4).unwrap());
        let error = count(&source).1.unwrap_err();
        let place =
            format!("feed.ndjson: record {} (line {}): field \"id\" must be present", bad + 1, bad + 2);
        assert!(error.contains(&place), "{error}");
    }
}

#[test]
fn threads_obey_the_contract_of_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.ndjson");
    let line = |i: usize| format!("{{\"at\":{i},\"id\":{},\"host\":\"{}\",\"load\":0.{i}}}\n", i % 7, i % 3);
    fs::write(&path, (0..1_000).map(line).collect::<String>()).unwrap();
    check_source(&JsonFiles::paths([path], schema()).threads(NonZeroUsize::new(3).unwrap())).unwrap();
}

#[test]
fn a_stream_is_read_by_one_of_the_threads() {
    let text = "{\"at\":1,\"id\":1,\"host\":\"a\"}\n".repeat(100);
    let files = Files::stream("feed", std::io::Cursor::new(text.into_bytes()));
    let source = JsonFiles::new(files, schema()).threads(NonZeroUsize::new(2).unwrap());
    assert!(count(&source).1.unwrap().contains("\"records\":100"));
    assert_eq!(count(&source).1.unwrap_err(), "feed: can be read only once");
}

#[test]
fn dead_letters_come_in_order_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feed.ndjson");
    let line = |i: usize| {
        if i % 100 == 7 { format!("bad {i}\n") } else { format!("{{\"at\":{i},\"id\":1,\"host\":2}}\n") }
    };
    fs::write(&path, (0..1_000).map(line).collect::<String>()).unwrap();
    let (letters, taken) = std::sync::mpsc::channel();
    let source = JsonFiles::paths([path], schema())
        .on_bad_record(BadRecords::Skip(u64::MAX))
        .threads(NonZeroUsize::new(3).unwrap())
        .dead_letters(DeadLetters::to(move |rejection, raw| {
            letters.send((rejection.position.place, raw.unwrap().to_vec())).unwrap();
        }));
    assert!(count(&source).1.is_ok());
    drop(source);
    let expected = (0..1_000).filter(|i| i % 100 == 7).map(|i| {
        let number = i as u64 + 1;
        (Place::Line { record: number, line: number }, format!("bad {i}").into_bytes())
    });
    assert_eq!(taken.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
