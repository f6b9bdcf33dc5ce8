//! Any bytes, as a file of records: nothing panics, every line is counted once, and a record that is like
//! earlier ones is read as if it stood alone.
//!
//! An object on a line of its own is a good record exactly when `serde_json` reads it and finds the two fields
//! in it, whatever the reader's own framing and picking of fields does. As a payload, it gives the same whatever
//! was learned before.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_core::{BadRecords, Decode, Position, Report, Schema, Source, Span, TimeUnit};
use peak_json::{Files, JsonDecoder, JsonFiles};
use serde_json::Value;
use std::io::Cursor;
use std::ops::ControlFlow;

/// What the reader learns before it meets the fuzzed lines.
const LIKELY: &str = r#"{}
{"t":1,"d":{"e":"a"},"x":"b","y":[1,{"z":"c"}]}
{"t":2,"d":{"e":"b"},"x":"","y":[2,{"z":"d"}]}
{"d.e":5,"x":"e","t":"3"}
{"t":1,"d":{"e":"a"},"x":"b","y":[1,{"z":"c"}]}
"#;

fn schema() -> Schema {
    Schema::builder().time("t").dimensions(["d.e"]).build().expect("a schema")
}

/// All that a scan tells but the places of bad records.
fn scan(bytes: &[u8]) -> Option<(Vec<String>, Report)> {
    let files = Files::stream("fuzzed", Cursor::new(bytes.to_vec()));
    let feed =
        JsonFiles::new(files, schema()).on_bad_record(BadRecords::Skip(u64::MAX)).max_record_bytes(4096);
    let mut records = Vec::new();
    let report = feed.scan(Span::ALWAYS, &mut |record| {
        records.push(format!("{record:?}"));
        ControlFlow::Continue(())
    });
    let report = report.ok()?;
    assert_eq!(report.records, records.len() as u64);
    Some((records, report))
}

/// All that a decoder tells of a payload: records, and bad ones with their places.
fn decode(decoder: &mut JsonDecoder, payload: &[u8]) -> Vec<Result<String, String>> {
    let mut told = Vec::new();
    let flow = decoder.decode(payload, &Position::nowhere("fuzzed"), &mut |record| {
        told.push(record.map(|record| format!("{record:?}")).map_err(|rejection| rejection.to_string()));
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue());
    told
}

/// A payload tells the same whatever payloads came before it, and the same as a file of it.
fn check_payload(bytes: &[u8]) {
    let decoder = || JsonDecoder::new(schema()).max_record_bytes(4096);
    let fresh = decode(&mut decoder(), bytes);
    let mut learned = decoder();
    decode(&mut learned, LIKELY.as_bytes());
    assert_eq!(decode(&mut learned, bytes), fresh);
    assert_eq!(decode(&mut learned, bytes), fresh);
    let lines = [b"{}\n", bytes].concat();
    let (records, report) = scan(&lines).expect("a stream");
    let told = decode(&mut learned, &lines);
    let good: Vec<String> = told.iter().flatten().cloned().collect();
    assert_eq!((good, (told.len() - records.len()) as u64), (records, report.skipped));
}

fuzz_target!(|bytes: &[u8]| {
    check_payload(bytes);
    let Some(_) = scan(bytes) else { return };

    // Lines, behind one that keeps the reader from taking them for an array.
    let (known, likely) = scan(LIKELY.as_bytes()).expect("a stream");
    let (records, report) = scan(&[LIKELY.as_bytes(), bytes].concat()).expect("a stream");
    let (mut alone, mut skipped) = (known, likely.skipped);
    let mut objects = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        if line.iter().all(|byte| b" \t\r".contains(byte)) {
            continue;
        }
        let (record, report) = scan(&[b"{}\n", line].concat()).expect("a stream");
        if line.len() <= 4000 {
            check_alone(line, &report);
        }
        alone.extend(record);
        skipped += report.skipped - 1;
        if line.len() <= 4000 && serde_json::from_slice::<Value>(line).is_ok() {
            objects.push(line);
        }
    }
    assert_eq!((records, report.skipped), (alone, skipped));

    // The same as elements of an array, where lines do not end them.
    let lines = scan(&[b"{}\n", &objects.join(&b'\n')[..]].concat()).expect("a stream");
    let array = scan(&[b"[{}\n,", &objects.join(&b","[..])[..], b"]"].concat());
    if !objects.is_empty() {
        let (records, report) = array.expect("a stream");
        assert_eq!((records, report.skipped), (lines.0, lines.1.skipped));
    }
});

fn check_alone(line: &[u8], report: &Report) {
    assert_eq!(report.records + report.outside + report.skipped, 2);
    let is_good = report.skipped == 1;
    if let Ok(Value::Object(object)) = serde_json::from_slice(line) {
        let flat = object.get("d.e").is_some();
        let nested = object.get("d").is_some_and(|d| d.get("e").is_some());
        let time = object.get("t").and_then(|t| match t {
            Value::String(text) => TimeUnit::Milliseconds.read(text),
            Value::Number(number) => TimeUnit::Milliseconds.read(&number.to_string()),
            _ => None,
        });
        let value = object.get("d.e").or_else(|| object.get("d").and_then(|d| d.get("e")));
        let is_text = value.is_some_and(|value| value.is_string() || value.is_number() || value.is_boolean());
        // `Value` keeps the last of two equal keys; the reader refuses both, which is the one way to differ.
        if is_good {
            assert!(flat != nested && is_text && time.is_some(), "good, but {object:?}");
        }
    } else {
        assert!(!is_good, "good, but no JSON object");
    }
}
