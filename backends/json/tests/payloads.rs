//! Payloads: what the decoder makes of them, and that it is what files give.

#![allow(clippy::unwrap_used)]

use peak_core::testing::{check_decoder, check_stateless_decoder};
use peak_core::{BadRecords, Decode, Place, Position, Schema, Source, Span};
use peak_json::{Files, JsonDecoder, JsonFiles};
use proptest::prelude::*;
use std::io::Cursor;
use std::ops::ControlFlow;

const LINE: &str =
    r#"{"at": 1, "host": {"name": "web-1"}, "user": "é\n", "load": 0.5, "other": [1, {"at": 2}]}"#;
const OVER_LINES: &str = "{\n  \"at\": 2,\n  \"host.name\": \"web-2\",\n  \"load\": null\n}\n";

fn schema() -> Schema {
    let schema = Schema::builder().time("at").dimensions(["host.name"]).blame(["user"]);
    schema.measures(["load"]).build().unwrap()
}

fn decoder() -> JsonDecoder {
    JsonDecoder::new(schema()).max_record_bytes(4096)
}

/// Records and rejections, in order.
fn decode(decoder: &mut JsonDecoder, payload: &[u8], at: &Position) -> Vec<String> {
    let mut decoded = Vec::new();
    let flow = decoder.decode(payload, at, &mut |read| {
        decoded.push(match read {
            Ok(record) => format!("{record:?}"),
            Err(rejection) => rejection.to_string(),
        });
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue());
    decoded
}

/// The number of records, and the messages of bad ones.
fn read(payload: &str) -> (usize, Vec<String>) {
    let at = Position::new("topic", Place::Offset { partition: 3, offset: 17 });
    let decoded = decode(&mut decoder(), payload.as_bytes(), &at);
    let (bad, good): (Vec<_>, Vec<_>) = decoded.into_iter().partition(|text| text.starts_with("topic"));
    (good.len(), bad)
}

#[test]
fn a_payload_is_an_object_or_lines_or_an_array() {
    for (payload, records) in [
        ("", 0),
        (" \r\n", 0),
        ("[]", 0),
        (LINE, 1),
        (OVER_LINES, 1),
        (&format!("\u{feff}{OVER_LINES}"), 1),
        (&format!("{LINE}\n\n  {LINE}\r\n"), 2),
        (&format!("\u{feff}[{LINE},\n{OVER_LINES}, {LINE}]\n"), 3),
    ] {
        assert_eq!(read(payload), (records, vec![]), "{payload}");
    }
}

#[test]
fn a_bad_record_is_named_within_its_payload() {
    let missing = r#"field "host.name" must be present, got nothing"#;
    let place = "topic: partition 3, offset 17";
    assert_eq!(read(r#"{"at": 1}"#), (0, vec![format!("{place}: {missing}")]));
    assert_eq!(read("{\n\"at\": 1\n}"), (0, vec![format!("{place}: {missing}")]));
    let lines = format!("{LINE}\n\n{{\"at\": 1}}\n{LINE}");
    assert_eq!(read(&lines), (2, vec![format!("{place}, record 2 (line 3): {missing}")]));
    let cut = format!("[{LINE},\n{{\"at\"");
    let rule = "must be whole, but the input ends inside the array";
    assert_eq!(read(&cut), (1, vec![format!("{place}, record 2 (line 2): {rule}, got {{\"at\"")]));
}

#[test]
fn two_objects_over_lines_are_lines_whatever_was_learned() {
    let two = format!("{OVER_LINES}{OVER_LINES}");
    let at = Position::nowhere("topic");
    let expected = decode(&mut decoder(), two.as_bytes(), &at);
    assert_eq!(expected.len(), 10);
    let mut learned = decoder();
    for time in 0..100 {
        let changed = OVER_LINES.replace("2,", &format!("{time},"));
        assert_eq!(decode(&mut learned, changed.as_bytes(), &at).len(), 1);
    }
    assert_eq!(decode(&mut learned, two.as_bytes(), &at), expected);
}

#[test]
fn the_decoder_keeps_the_contract() {
    let lines = format!("{LINE}\n{LINE}\n{{}}\nnone\n{}", LINE.replace("web-1", "web-3"));
    let array = format!("[{LINE},{OVER_LINES}, {LINE}]");
    let wrong = format!("[{LINE},5,{{\"at\":1,\"at\":2}}] {LINE}");
    let payloads: [&[u8]; 6] =
        [LINE.as_bytes(), OVER_LINES.as_bytes(), lines.as_bytes(), array.as_bytes(), wrong.as_bytes(), b""];
    check_decoder(decoder, &payloads);
    check_stateless_decoder(decoder, &payloads);
}

/// Payloads of records that are alike and not, in lines and arrays, damaged now and then.
fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let record = (0..99u32, 0..6u8).prop_map(|(n, kind)| match kind {
        0 => LINE.replace("web-1", &n.to_string()),
        1 => format!(r#"{{"at":{n},"host.name":"{n}","user":null}}"#),
        2 => format!(r#"{{"user":"{n}","at":"{n}","host.name":{n},"load":{n}e-2}}"#),
        3 => OVER_LINES.replace("2,", &format!("{n},")),
        4 => format!(r#"{{"at":{n}}}"#),
        _ => "{\n}".to_owned(),
    });
    let payload = (prop::collection::vec(record, 0..5), any::<bool>()).prop_map(|(records, is_array)| {
        if is_array { format!("[{}]", records.join(",\n")) } else { records.join("\n") }
    });
    let edit = prop::option::weighted(0.3, any::<(prop::sample::Index, u8)>());
    let damaged = (payload, edit).prop_map(|(payload, edit)| {
        let mut bytes = payload.into_bytes();
        if let (Some((at, byte)), false) = (edit, bytes.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop::collection::vec(damaged, 1..12)
}

proptest! {
    #[test]
    fn a_payload_gives_the_same_whatever_was_learned(payloads in payloads()) {
        let at = Position::nowhere("topic");
        let mut learned = decoder();
        for payload in payloads.iter().chain(&payloads) {
            prop_assert_eq!(decode(&mut learned, payload, &at), decode(&mut decoder(), payload, &at));
        }
    }

    #[test]
    fn a_payload_gives_what_a_file_of_it_gives(payloads in payloads()) {
        for payload in payloads {
            let at = Position::new("f", Place::Line { record: 1, line: 1 });
            let decoded = decode(&mut decoder(), &payload, &at);
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_ok();
            if is_json && payload.trim_ascii_start().starts_with(b"{") {
                // An object, which may stand on several lines.
                prop_assert_eq!(decoded.len(), 1);
                continue;
            }
            let files = Files::stream("f", Cursor::new(payload));
            let source = JsonFiles::new(files, schema()).on_bad_record(BadRecords::Skip(u64::MAX));
            let mut records = Vec::new();
            let report = source.max_record_bytes(4096).scan(Span::ALWAYS, &mut |record| {
                records.push(format!("{record:?}"));
                ControlFlow::Continue(())
            }).unwrap();
            let (bad, good): (Vec<_>, Vec<_>) = decoded.into_iter().partition(|text| text.starts_with("f: "));
            prop_assert_eq!(good, records);
            prop_assert_eq!(bad.len() as u64, report.skipped);
            let named: Vec<String> = report.first_skipped.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&bad[..named.len()], named);
        }
    }
}
