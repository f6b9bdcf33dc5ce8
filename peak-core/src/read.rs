//! From the values of a record's fields to the record: the roles of a [`Schema`] and their rules, for every
//! format.
//!
//! A format says what a value looks like ([`Value`]) and where the value of a field stands; [`read_record`]
//! makes the [`Record`] of them, or names the field and the [`Rule`] when it cannot. So a missing dimension is
//! the same mistake in every format. One of one's own, with `key=value` pairs in a line:
//!
//! ```
//! use peak_core::read::{Value, read_record};
//! use peak_core::{Place, Position, Rule, RuleKind, Schema};
//! use std::borrow::Cow;
//!
//! /// The text behind the `=`, if the key is there.
//! struct Pair<'a>(Option<&'a str>);
//!
//! impl<'a> Value<'a> for Pair<'a> {
//!     fn is_absent(&self) -> bool {
//!         self.0.is_none_or(str::is_empty)
//!     }
//!     fn source(&self) -> Cow<'a, str> {
//!         self.0.unwrap_or("nothing").into()
//!     }
//!     fn text(&self) -> Result<Cow<'a, str>, Rule> {
//!         Ok(self.source())
//!     }
//! }
//!
//! let schema = Schema::builder().time("at").dimensions(["host"]).measures(["load"]).build()?;
//! let fields: Vec<&str> = schema.fields().collect();
//! let read = |line: &str| {
//!     let value = |field: usize| {
//!         let pairs = line.split(' ').filter_map(|pair| pair.split_once('='));
//!         Pair(pairs.into_iter().find(|(key, _)| *key == fields[field]).map(|(_, value)| value))
//!     };
//!     let at = || Position::new("load.log", Place::Line { record: 1, line: 1 });
//!     read_record(&schema, at, value, |record| (record.dimensions[0].to_owned(), record.measures[0]))
//! };
//! assert_eq!(read("host=web-1 at=2024-01-01 load=0.5"), Ok(("web-1".to_owned(), Some(0.5))));
//! let rejection = read("at=2024-01-01 load=0.5").unwrap_err();
//! assert_eq!(rejection.rule.kind, RuleKind::Missing);
//! assert_eq!(
//!     rejection.to_string(),
//!     r#"load.log: record 1 (line 1): field "host" must be present, got nothing"#
//! );
//! # Ok::<(), peak_core::Error>(())
//! ```

use crate::{Moments, Position, Record, Rejection, Rule, Schema};
use smallvec::SmallVec;
use std::borrow::Cow;

/// The value of one field of one record, in the notation of its format.
pub trait Value<'a> {
    /// Whether the record has no value there. Blame and measures need none.
    fn is_absent(&self) -> bool;

    /// The value as it stands in the source: what numbers are read from and errors quote.
    fn source(&self) -> Cow<'a, str>;

    /// The value as text. It is not asked for when the value is absent.
    ///
    /// # Errors
    /// With the rule that it breaks.
    fn text(&self) -> Result<Cow<'a, str>, Rule>;

    /// What [`text`](Self::text) gives, if the value is present and there is nothing to decode: it is
    /// tried first because it is cheap, and may always be `None`.
    fn plain(&self) -> Option<&'a str> {
        None
    }
}

/// Hands the record that the values make to `visit`, and returns what that returns.
///
/// `value` gives the value of a field by its place among [`Schema::fields`]; `at` the record's position, when
/// it is a bad one.
///
/// # Errors
/// When a value breaks a rule: the time, the sample, the dimensions and the weight must be there, a time
/// must be one, a measure must be a finite number no larger than [`Moments::LARGEST`], and a weight a whole
/// number from 1 on.
pub fn read_record<'a, V: Value<'a>, R>(
    schema: &Schema,
    at: impl Fn() -> Position,
    value: impl Fn(usize) -> V,
    visit: impl FnOnce(&Record<'_>) -> R,
) -> Result<R, Rejection> {
    let dimensions = 1 + usize::from(schema.sample().is_some());
    let blame = dimensions + schema.dimensions().len();
    let measures = blame + schema.blame().len();
    let end = measures + schema.measures().len();
    let weight = schema.weight().map(|_| end);

    // Nearly every record is plain, and then there is nothing to decode.
    let mut required = SmallVec::<[&str; 10]>::new();
    let mut labels = SmallVec::<[Option<&str>; 5]>::new();
    let mut numbers = SmallVec::<[Option<f64>; 8]>::new();
    let mut read_plain = || {
        for field in 0..blame {
            required.push(value(field).plain()?);
        }
        labels.push(schema.sample().map(|_| required[1]));
        for field in blame..measures {
            let label = value(field);
            labels.push(if label.is_absent() { None } else { Some(label.plain()?) });
        }
        for field in measures..end {
            let number = value(field);
            numbers.push(if number.is_absent() { None } else { Some(measure(&number.source())?) });
        }
        let weight = weight.map_or(Some(1), |field| whole(&value(field).source()))?;
        Some((schema.time_unit().read(required[0])?, weight))
    };
    if let Some((time, weight)) = read_plain() {
        let record = Record::new(time, &required[dimensions..]).with_weight(weight);
        return Ok(visit(&record.with_labels(&labels).with_measures(&numbers)));
    }

    let reject =
        |field, rule: Rule| Rejection::new(at(), schema.fields().nth(field), rule, &value(field).source());
    let optional = |field| match value(field) {
        value if value.is_absent() => Ok(None),
        value => value.text().map(Some).map_err(|rule| reject(field, rule)),
    };
    let required = |field| optional(field)?.ok_or_else(|| reject(field, Rule::present()));
    let number = |field| match value(field) {
        value if value.is_absent() => Ok(None),
        value => measure(&value.source()).map(Some).ok_or_else(|| reject(field, Rule::number())),
    };

    let time = required(0)?;
    let time = schema.time_unit().read(&time).ok_or_else(|| reject(0, Rule::time()))?;
    let sample = schema.sample().map(|_| required(1)).transpose()?;
    let dimensions = (dimensions..blame).map(required).collect::<Result<SmallVec<[_; 8]>, _>>()?;
    let blame = (blame..measures).map(optional).collect::<Result<SmallVec<[_; 4]>, _>>()?;
    let measures = (measures..end).map(number).collect::<Result<SmallVec<[_; 8]>, _>>()?;
    let weight = weight.map_or(Ok(1), |field| {
        let text = required(field)?;
        whole(&text).ok_or_else(|| reject(field, Rule::weight()))
    })?;
    let dimensions = dimensions.iter().map(|text| &**text).collect::<SmallVec<[_; 8]>>();
    let labels = std::iter::once(&sample).chain(&blame).map(Option::as_deref).collect::<SmallVec<[_; 5]>>();
    let record = Record::new(time, &dimensions).with_weight(weight);
    Ok(visit(&record.with_labels(&labels).with_measures(&measures)))
}

/// A number of records.
fn whole(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&weight| weight > 0)
}

fn measure(text: &str) -> Option<f64> {
    let x: f64 = text.trim().parse().ok()?;
    // False for NaN, too.
    (x.abs() <= Moments::LARGEST).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, RuleKind, Timestamp};

    /// Text as it stands; empty means absent.
    struct Plain(&'static str);

    impl Value<'static> for Plain {
        fn is_absent(&self) -> bool {
            self.0.is_empty()
        }

        fn source(&self) -> Cow<'static, str> {
            self.0.into()
        }

        fn text(&self) -> Result<Cow<'static, str>, Rule> {
            if self.0 == "?" { Err(Rule::new(RuleKind::Other, "must be known")) } else { Ok(self.0.into()) }
        }

        fn plain(&self) -> Option<&'static str> {
            (!matches!(self.0, "" | "?" | "odd")).then_some(self.0)
        }
    }

    fn read(values: [&'static str; 5]) -> Result<String, String> {
        let [time, sample, host, user, load] = values;
        read_weighted([time, sample, host, user, load, "7"])
    }

    fn read_weighted(values: [&'static str; 6]) -> Result<String, String> {
        let schema = Schema::builder()
            .time("time")
            .sample("sample")
            .dimensions(["host"])
            .blame(["user"])
            .measures(["load"])
            .weight("rate")
            .build()
            .unwrap();
        read_record(
            &schema,
            || Position::new("a.txt", Place::Line { record: 3, line: 4 }),
            |field| Plain(values[field]),
            |record| {
                let Record { time, weight, dimensions, labels, measures } = record;
                format!("{} {dimensions:?} {labels:?} {measures:?} {weight}", time.millis())
            },
        )
        .map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn values_become_a_record() {
        let full = r#"5 ["web"] [Some("s"), Some("u")] [Some(-1.5)] 7"#;
        assert_eq!(read(["5", "s", "web", "u", " -1.5 "]).unwrap(), full);
        assert_eq!(read(["5", "s", "web", "", ""]).unwrap(), r#"5 ["web"] [Some("s"), None] [None] 7"#);
        assert_eq!(read(["5", "s", "odd", "", ""]).unwrap(), r#"5 ["odd"] [Some("s"), None] [None] 7"#);
    }

    #[test]
    fn a_broken_rule_names_place_field_rule_and_value() {
        let number = r#"field "load" must be a number from -1e140 to 1e140, got"#;
        for (values, expected) in [
            (["", "s", "web", "u", "1"], r#"field "time" must be present, got "#.to_owned()),
            (["-5", "s", "web", "u", "1"], format!(r#"field "time" {}, got -5"#, Timestamp::RULE)),
            (["5", "", "web", "u", "1"], r#"field "sample" must be present, got "#.to_owned()),
            (["5", "s", "", "u", "1"], r#"field "host" must be present, got "#.to_owned()),
            (["5", "s", "?", "u", "1"], r#"field "host" must be known, got ?"#.to_owned()),
            (["5", "s", "web", "?", "1"], r#"field "user" must be known, got ?"#.to_owned()),
            (["5", "s", "web", "u", "NaN"], format!("{number} NaN")),
            (["5", "s", "web", "u", "inf"], format!("{number} inf")),
            (["5", "s", "web", "u", "1.1e140"], format!("{number} 1.1e140")),
            (["5", "s", "web", "u", "1e999"], format!("{number} 1e999")),
        ] {
            assert_eq!(read(values).unwrap_err(), format!("a.txt: record 3 (line 4): {expected}"));
        }
    }

    #[test]
    fn a_weight_is_a_whole_number_from_one_on() {
        assert!(read_weighted(["5", "s", "web", "u", "1", " 1000 "]).unwrap().ends_with(" 1000"));
        for host in ["web", "odd"] {
            for (weight, expected) in [("", "present"), ("0", "a whole number"), ("1.5", "a whole number")] {
                let error = read_weighted(["5", "s", host, "u", "1", weight]).unwrap_err();
                assert!(error.contains(&format!(r#"field "rate" must be {expected}"#)), "{error}");
            }
        }
    }
}
