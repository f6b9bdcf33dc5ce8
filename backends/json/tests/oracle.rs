//! Random input: nothing panics, and records are what `serde_json::Value` says they are.

#![allow(clippy::unwrap_used)]

use peak_core::{BadRecords, Moments, Schema, Source, Span, Timestamp};
use peak_json::{Files, JsonFiles};
use proptest::prelude::*;
use serde_json::{Map, Value};
use std::io::Cursor;
use std::ops::ControlFlow;

/// A record with owned values.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    time: Timestamp,
    sample: String,
    dimensions: Vec<String>,
    blame: Vec<Option<String>>,
    measures: Vec<Option<f64>>,
}

fn schema() -> Schema {
    let schema = Schema::builder().time("t").sample("a.b").dimensions(["a.c.d", "d"]).blame(["a.c", "é.f"]);
    schema.measures(["m.x"]).build().unwrap()
}

/// The records of a feed, and the number of bad ones.
fn read(text: impl Into<Vec<u8>>) -> (Vec<Owned>, u64) {
    let files = Files::stream("random", Cursor::new(text.into()));
    let source = JsonFiles::new(files, schema()).on_bad_record(BadRecords::Skip(u64::MAX));
    let own = |text: &str| text.to_owned();
    let mut records = Vec::new();
    let scanned = source.scan(Span::ALWAYS, &mut |record| {
        records.push(Owned {
            time: record.time,
            sample: own(record.sample().unwrap()),
            dimensions: record.dimensions.iter().map(|text| own(text)).collect(),
            blame: record.labels[1..].iter().map(|text| text.map(own)).collect(),
            measures: record.measures.to_vec(),
        });
        ControlFlow::Continue(())
    });
    (records, scanned.unwrap().skipped)
}

/// What a record must be; `None` when it is a bad one.
fn expected(object: &Value) -> Option<Owned> {
    let get = |path: &str| {
        let mut found = Vec::new();
        collect(object, path, &mut found);
        match found[..] {
            [] => Some(&Value::Null),
            [value] => Some(value),
            _ => None,
        }
    };
    let optional = |path: &str| match get(path)? {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.clone())),
        value @ (Value::Bool(_) | Value::Number(_)) => Some(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => None,
    };
    let measure = |path: &str| match get(path)? {
        Value::Null => Some(None),
        value => Some(Some(value.as_f64().filter(|x| x.abs() <= Moments::LARGEST)?)),
    };
    Some(Owned {
        time: schema().time_unit().read(&optional("t")??)?,
        sample: optional("a.b")??,
        dimensions: vec![optional("a.c.d")??, optional("d")??],
        blame: vec![optional("a.c")?, optional("é.f")?],
        measures: vec![measure("m.x")?],
    })
}

/// Every value that a dotted path leads to, over any mixture of dotted keys and nested objects.
fn collect<'v>(value: &'v Value, path: &str, found: &mut Vec<&'v Value>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        match path.strip_prefix(key.as_str()) {
            Some("") => found.push(value),
            Some(rest) => {
                if let Some(rest) = rest.strip_prefix('.') {
                    collect(value, rest, found);
                }
            }
            None => {}
        }
    }
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn keys() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] =
        &["t", "a", "b", "c", "d", "m", "x", "é", "f", "a.b", "a.c", "c.d", "é.f", "", "."];
    prop_oneof![9 => prop::sample::select(KNOWN).prop_map(str::to_owned), 1 => any::<String>()]
}

fn objects(values: impl Strategy<Value = Value>, most: usize) -> impl Strategy<Value = Value> {
    let members = prop::collection::vec((keys(), values), 0..most);
    members.prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

fn values() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(3, 24, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), objects(inner, 5)]
    })
}

/// Objects that are good records more often than not, with their fields in random spellings.
fn likely_records() -> impl Strategy<Value = Value> {
    let millis = || 0..=Timestamp::MAX.millis();
    let time = prop_oneof![
        9 => millis().prop_map(Value::from),
        9 => millis().prop_map(|millis| Timestamp::from_millis(millis).unwrap().to_string().into()),
        1 => values(),
    ];
    let text = || prop_oneof![9 => any::<String>().prop_map(Value::from), 9 => any::<i64>().prop_map(Value::from), 1 => values()];
    let measure = prop_oneof![9 => (-1e140..1e140).prop_map(Value::from), 1 => values()];
    let sometimes = |value| prop::option::weighted(0.3, value);
    let fields = (time, text(), text(), text(), sometimes(text().boxed()), sometimes(measure.boxed()));
    (objects(values(), 2), fields, any::<[bool; 6]>()).prop_map(|(extra, fields, nested)| {
        let mut object = extra;
        let (time, sample, kind, other, blame, measure) = fields;
        let values = [Some(time), Some(sample), Some(kind), Some(other), blame, measure];
        for ((path, value), nested) in ["t", "a.b", "a.c.d", "d", "é.f", "m.x"].iter().zip(values).zip(nested)
        {
            if let Some(value) = value {
                place(&mut object, path, nested, value);
            }
        }
        object
    })
}

/// Sets a field, as nested objects or under its dotted name.
fn place(object: &mut Value, path: &str, nested: bool, value: Value) {
    match path.split_once('.') {
        Some((key, rest)) if nested => {
            if !object[key].is_object() {
                object[key] = Value::Object(Map::new());
            }
            place(&mut object[key], rest, nested, value);
        }
        _ => object[path] = value,
    }
}

proptest! {
    #[test]
    fn records_are_what_their_json_says(objects in prop::collection::vec(prop_oneof![3 => likely_records(), 1 => objects(values(), 8)], 0..8)) {
        let good: Vec<Owned> = objects.iter().filter_map(expected).collect();
        let bad = (objects.len() - good.len()) as u64;

        let lines: Vec<String> = objects.iter().map(Value::to_string).collect();
        prop_assert_eq!(&read(lines.join("\n")), &(good.clone(), bad));
        prop_assert_eq!(&read(format!("[{}]", lines.join(","))), &(good.clone(), bad));
        let array = serde_json::to_string_pretty(&objects).unwrap();
        prop_assert_eq!(&read(array), &(good, bad));
    }

    #[test]
    fn damaged_json_never_panics(objects in prop::collection::vec(likely_records(), 1..4), in_array: bool, edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut bytes = match in_array {
            true => serde_json::to_vec_pretty(&objects).unwrap(),
            false => objects.iter().flat_map(|object| format!("{object}\n").into_bytes()).collect(),
        };
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read(bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, in_array: bool) {
        let begin: &[u8] = if in_array { b"[" } else { b"" };
        let (records, _) = read([begin, &bytes].concat());
        prop_assert_eq!(records, []);
    }
}
