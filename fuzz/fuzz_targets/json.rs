//! Any bytes, as a file of records: nothing panics, and every line is counted once.
//!
//! An object on a line of its own is a good record exactly when `serde_json` reads it and finds the two fields
//! in it, whatever the reader's own framing and picking of fields does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_core::{BadRecords, Schema, Source, Span, TimeUnit};
use peak_json::{Files, JsonFiles};
use serde_json::Value;
use std::io::Cursor;

fuzz_target!(|bytes: &[u8]| {
    let schema = Schema::builder().time("t").dimensions(["d.e"]).build().expect("a schema");
    let feed = |bytes: &[u8]| {
        let files = Files::stream("fuzzed", Cursor::new(bytes.to_vec()));
        JsonFiles::new(files, schema.clone()).on_bad_record(BadRecords::Skip(u64::MAX)).max_record_bytes(4096)
    };
    let mut handed_out = 0;
    let Ok(report) = feed(bytes).scan(Span::ALWAYS, &mut |_| handed_out += 1) else { return };
    assert_eq!(report.records, handed_out);

    // One line alone, behind a line that keeps the reader from taking it for an array.
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if line.trim_ascii().is_empty() || line.len() > 4000 {
        return;
    }
    let report =
        feed(&[b"{}\n", line].concat()).scan(Span::ALWAYS, &mut |_| {}).expect("bad records are skipped");
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
});
