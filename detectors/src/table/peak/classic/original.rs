//! The original program's numbers and files, so that its users can move in both directions.

use super::{Assessment, Classic, Row};
use chrono::NaiveDateTime;
use peak_core::{Error, Key, Result};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::cmp::Ordering;
use std::io::{self, Read, Write};

/// An integer or a floating-point number, as the original's files tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Number::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl Number {
    /// The number as floating point.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Int(n) => n as f64,
            Number::Float(x) => x,
        }
    }

    /// The nearest integer, ties to even.
    pub(crate) fn round(self) -> Number {
        match self {
            Number::Int(_) => self,
            Number::Float(x) => Number::Int(x.round_ties_even() as i64),
        }
    }

    /// The quotient as floating point; the integer 0 when dividing by zero.
    pub(crate) fn divide(self, by: Number) -> Number {
        if by.to_f64() == 0.0 { Number::Int(0) } else { Number::Float(self.to_f64() / by.to_f64()) }
    }

    /// The quotient, as an integer where it is one.
    pub(crate) fn divide_exactly(self, by: Number) -> Number {
        match (self, by) {
            (Number::Int(a), Number::Int(b)) if a.checked_rem(b) == Some(0) => Number::Int(a / b),
            _ => self.divide(by),
        }
    }

    /// The average of `count` numbers whose average is `self`, and one more.
    pub(crate) fn running_average(self, count: u64, new: Number) -> Number {
        let sum = match (self, new) {
            (Number::Int(old), Number::Int(new)) => {
                (i128::from(old) * i128::from(count) + i128::from(new)) as f64
            }
            _ => self.to_f64() * count as f64 + new.to_f64(),
        };
        Number::Float(sum / (count as f64 + 1.0))
    }

    pub(crate) fn exceeds(self, other: Number) -> bool {
        let order = match (self, other) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            _ => self.to_f64().partial_cmp(&other.to_f64()),
        };
        order == Some(Ordering::Greater)
    }

    /// The larger one; `self` on a tie, so that 4.0 stays 4.0 beside 4.
    pub(crate) fn max(self, other: Number) -> Number {
        if other.exceeds(self) { other } else { self }
    }
}

const TIME: &str = "%Y-%m-%d %H:%M:%S";

impl Classic {
    /// Replaces what the rule remembers by the original's global table: a JSON object, nested by
    /// dimension, `{value: {value: [start, end, windows, …]}}`. Times are cut to whole seconds and
    /// empty objects dropped, as the original does. `name` names the input in errors.
    ///
    /// # Errors
    /// When the input cannot be read, is no JSON, or a row is not what it should be; the message
    /// names the input, the row, the cell, the rule and the value.
    pub fn import(&mut self, input: &mut dyn Read, name: &str) -> Result<()> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(|error| Error::io(name, error))?;
        let table: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Error::invalid(name, "must be a global table in JSON", error))?;
        let mut rows = Vec::new();
        read_level(&table, &mut Vec::new(), self.arity(), name, &mut rows)?;
        self.set_rows(rows.into_iter().collect());
        Ok(())
    }

    /// Writes what the rule remembers as the original's global table, byte for byte as the original
    /// would: sorted, indented by two, ASCII.
    ///
    /// # Errors
    /// When writing fails.
    pub fn export(&self, out: &mut dyn Write) -> io::Result<()> {
        write_nested(out, self.rows().iter().map(|(key, row)| (key, Cells(row))))
    }

    /// Writes peaks as the original does: `{value: {value: [records, samples, max, mean, std, share,
    /// global max, threshold]}}`.
    ///
    /// # Errors
    /// When writing fails.
    pub fn export_peaks<'a>(
        peaks: impl IntoIterator<Item = (&'a Key, &'a Assessment)>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let cells = |a: &Assessment| {
            let counts = [a.records, a.samples, a.max].map(Number::from);
            let rest = [a.mean, Number::Float(a.std), Number::Float(a.share), a.global_max, a.threshold];
            [&counts[..], &rest].concat()
        };
        write_nested(out, peaks.into_iter().map(|(key, assessment)| (key, cells(assessment))))
    }
}

/// A row as the list of its cells.
struct Cells<'a>(&'a Row);

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let row = self.0;
        let [start, end] = [row.start, row.end].map(wall_clock);
        let (a, b) = (row.records_avg, row.records_max);
        let (c, d) = (row.samples_avg, row.samples_max);
        let (e, f) = (row.records_per_sample_avg, row.records_per_sample_max);
        (start, end, row.window_count, a, b, c, d, e, f, row.threshold).serialize(serializer)
    }
}

/// `YYYY-MM-DD HH:MM:SS`, with microseconds when there are any.
fn wall_clock(time: NaiveDateTime) -> String {
    let micros = time.and_utc().timestamp_subsec_micros();
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{}{fraction}", time.format(TIME))
}

/// Entries that share the dimension values before `depth`, as one JSON object per dimension.
struct Level<'a, T> {
    entries: &'a [(&'a Key, T)],
    depth: usize,
}

impl<T: Serialize> Serialize for Level<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let value = |entry: &(&Key, T)| entry.0.values().nth(self.depth).unwrap_or_default().to_owned();
        let mut map = serializer.serialize_map(None)?;
        for entries in self.entries.chunk_by(|a, b| value(a) == value(b)) {
            let (key, content) = &entries[0];
            if self.depth + 1 >= key.arity() {
                map.serialize_entry(&value(&entries[0]), content)?;
            } else {
                map.serialize_entry(&value(&entries[0]), &Level { entries, depth: self.depth + 1 })?;
            }
        }
        map.end()
    }
}

fn write_nested<'a, T: Serialize>(
    out: &mut dyn Write,
    entries: impl Iterator<Item = (&'a Key, T)>,
) -> io::Result<()> {
    let mut entries: Vec<(&Key, T)> = entries.collect();
    // Keys order by bytes of UTF-8, which is the order of code points that the original sorts by.
    entries.sort_by_key(|(key, _)| *key);
    let mut serializer = serde_json::Serializer::with_formatter(out, Python(PrettyFormatter::new()));
    Level { entries: &entries, depth: 0 }.serialize(&mut serializer).map_err(io::Error::from)
}

/// JSON as Python writes it with `indent=2`: ASCII only, and floats with Python's exponents.
struct Python(PrettyFormatter<'static>);

impl Formatter for Python {
    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, x: f64) -> io::Result<()> {
        let scientific = format!("{x:e}");
        match scientific.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
            Some((digits, Ok(exponent))) if !(-4..16).contains(&exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(out, "{digits}e{sign}{:02}", exponent.abs())
            }
            _ => write!(out, "{x:?}"),
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0u16; 2];
        for c in fragment.chars() {
            match c {
                ' '..='~' => write!(out, "{c}")?,
                _ => c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))?,
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }
    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }
    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }
    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }
    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

fn read_level<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    arity: usize,
    name: &str,
    rows: &mut Vec<(Key, Row)>,
) -> Result<()> {
    if path.len() == arity {
        rows.push((Key::new(&*path), read_row(value, &format!("{name}: row {:?}", path.join(" / ")))?));
        return Ok(());
    }
    let Value::Object(entries) = value else {
        let rule = format!("must be an object, {arity} levels deep");
        return Err(Error::invalid(format!("{name}: {:?}", path.join(" / ")), rule, value));
    };
    for (key, value) in entries {
        path.push(key);
        read_level(value, path, arity, name, rows)?;
        path.pop();
    }
    Ok(())
}

fn read_row(value: &Value, place: &str) -> Result<Row> {
    let cells = value.as_array().filter(|cells| cells.len() == 10);
    let Some(cells) = cells else {
        return Err(Error::invalid(place, "must be a list of 10 cells", value));
    };
    let time = |i: usize, cell: &str| {
        let text = cells[i].as_str().and_then(|text| text.get(..19.min(text.len())));
        text.and_then(|text| NaiveDateTime::parse_from_str(text, TIME).ok()).ok_or_else(|| {
            Error::invalid(format!("{place}: {cell}"), "must be a time YYYY-MM-DD HH:MM:SS", &cells[i])
        })
    };
    let number = |i: usize, cell: &str| -> Result<Number> {
        let float = || cells[i].as_f64().map(Number::Float);
        let number = cells[i].as_i64().map(Number::Int).or_else(float);
        number.ok_or_else(|| Error::invalid(format!("{place}: {cell}"), "must be a number", &cells[i]))
    };
    let count = cells[2].as_u64().ok_or_else(|| {
        Error::invalid(format!("{place}: window count"), "must be an integer from 0", &cells[2])
    })?;
    Ok(Row {
        start: time(0, "start")?,
        end: time(1, "end")?,
        window_count: count,
        records_avg: number(3, "average records")?,
        records_max: number(4, "most records")?,
        samples_avg: number(5, "average samples")?,
        samples_max: number(6, "most samples")?,
        records_per_sample_avg: number(7, "average records per sample")?,
        records_per_sample_max: number(8, "most records per sample")?,
        threshold: number(9, "threshold")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::{Schema, Tz};
    use proptest::prelude::*;

    fn rule() -> Classic {
        Classic::new(&Schema::file_types(), Tz::UTC)
    }

    fn imported(json: &str) -> Result<Classic> {
        let mut rule = rule();
        rule.import(&mut json.as_bytes(), "gst.json").map(|()| rule)
    }

    fn exported(rule: &Classic) -> String {
        let mut bytes = Vec::new();
        rule.export(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn floats_are_written_as_python_does() {
        // Each pair is `repr(x)` of Python 3.11.
        let expected = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (4.5, "4.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e22, "1.5e+22"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.234e-7, "1.234e-07"),
            (1e-100, "1e-100"),
            (0.1 + 0.2, "0.30000000000000004"),
        ];
        for (x, text) in expected {
            let mut out = Vec::new();
            Python(PrettyFormatter::new()).write_f64(&mut out, x).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn a_fraction_of_a_second_has_six_digits_as_in_python() {
        let time = |millis| peak_core::Timestamp::from_millis(millis).unwrap().local(peak_core::Tz::UTC);
        assert_eq!(wall_clock(time(1_000)), "1970-01-01 00:00:01");
        assert_eq!(wall_clock(time(1_500)), "1970-01-01 00:00:01.500000");
        assert_eq!(wall_clock(time(1_007)), "1970-01-01 00:00:01.007000");
    }

    #[test]
    fn text_is_written_in_ascii_as_python_does() {
        let json = r#"{"a\u00e9\"\\\n": {"\ud83d\ude00\u007f": ["2021-08-25 00:00:00", "2021-09-01 00:00:00", 7, 1, 1, 1, 1, 1, 1.0, 90]}}"#;
        let written = exported(&imported(json).unwrap());
        assert!(written.starts_with("{\n  \"a\\u00e9\\\"\\\\\\n\": {\n    \"\\ud83d\\ude00\\u007f\": [\n      \"2021-08-25 00:00:00\","), "{written}");
        assert!(written.ends_with("      1.0,\n      90\n    ]\n  }\n}"), "{written}");
        assert_eq!(exported(&rule()), "{}");
    }

    #[test]
    fn a_wrong_row_is_named() {
        let row = |cells: &str| format!(r#"{{"malicious": {{"PeExeFile": [{cells}]}}}}"#);
        let error = |json: &str| imported(json).unwrap_err().to_string();
        let place = r#"gst.json: row "malicious / PeExeFile""#;
        assert_eq!(error(&row("1, 2")), format!("{place}: must be a list of 10 cells, got \"[1,2]\""));
        let good = r#""2021-08-25 00:00:00", "2021-09-01 00:00:00""#;
        assert_eq!(
            error(&row(r#""yesterday", "x", 7, 1, 1, 1, 1, 1, 1, 1"#)),
            format!("{place}: start: must be a time YYYY-MM-DD HH:MM:SS, got \"\\\"yesterday\\\"\"")
        );
        assert_eq!(
            error(&row(&format!("{good}, -7, 1, 1, 1, 1, 1, 1, 1"))),
            format!("{place}: window count: must be an integer from 0, got \"-7\"")
        );
        assert_eq!(
            error(&row(&format!("{good}, 7, 1, 1, null, 1, 1, 1, 1"))),
            format!("{place}: average samples: must be a number, got \"null\"")
        );
        assert!(error("[1]").starts_with(r#"gst.json: "": must be an object, 2 levels deep"#));
        assert!(error(r#"{"a": 3}"#).starts_with(r#"gst.json: "a": must be an object"#));
        assert!(error("{").contains("must be a global table in JSON"));
        assert!(error("\u{fffd}").contains("line 1"));
    }

    proptest! {
        #[test]
        fn what_is_exported_is_imported(cells in prop::collection::btree_map("\\PC{0,4}", prop::array::uniform7(prop_oneof![
            any::<i64>().prop_map(Number::Int), (-1e18..1e18f64).prop_map(Number::Float)]), 0..5), seconds in 0..4_000_000_000i64) {
            let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let row = |n: &[Number; 7]| Row {
                start: time, end: time, window_count: seconds.unsigned_abs(), records_avg: n[0], records_max: n[1], samples_avg: n[2],
                samples_max: n[3], records_per_sample_avg: n[4], records_per_sample_max: n[5], threshold: n[6],
            };
            let mut rule = rule();
            rule.set_rows(cells.iter().map(|(value, n)| (Key::new([value, "x"]), row(n))).collect());
            let again = imported(&exported(&rule)).unwrap();
            prop_assert_eq!(exported(&again), exported(&rule));
            prop_assert_eq!(again.rows(), rule.rows());
        }
    }
}
