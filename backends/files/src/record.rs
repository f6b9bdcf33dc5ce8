//! From the values of a record's fields to the record.

use peak_core::{Moments, Position, Record, Rejection, Schema, Timestamp};
use smallvec::SmallVec;
use std::borrow::Cow;

/// A rule that a value breaks, as it stands in error messages.
pub type Rule = Cow<'static, str>;

/// The value of one field of one record, in the notation of its format.
pub trait Value<'a> {
    /// Whether the record has no value there. Blame and measures need none.
    fn is_absent(&self) -> bool;

    /// The value as it stands in the source: what numbers are read from and errors quote.
    fn source(&self) -> Cow<'a, str>;

    /// The value as text.
    ///
    /// # Errors
    /// With the rule that it breaks.
    fn text(&self) -> Result<Cow<'a, str>, Rule>;

    /// What [`text`](Self::text) gives, if the value is present and there is nothing to decode: it is
    /// tried first because it is cheap, and may always be `None`.
    fn plain(&self) -> Option<&'a str>;
}

/// Hands the record that the values make to `visit`.
///
/// `value` gives the value of a field by its place among [`Schema::fields`].
///
/// # Errors
/// When a value breaks a rule: the time, the sample and the dimensions must be there, a time must be
/// one, and a measure must be a finite number no larger than [`Moments::LARGEST`].
pub fn read_record<'a, V: Value<'a>>(
    schema: &Schema,
    position: &Position,
    value: impl Fn(usize) -> V,
    visit: impl FnOnce(&Record<'_>),
) -> Result<(), Rejection> {
    let dimensions = 1 + usize::from(schema.sample().is_some());
    let blame = dimensions + schema.dimensions().len();
    let measures = blame + schema.blame().len();
    let end = measures + schema.measures().len();

    // Nearly every record is plain, and then there is nothing to decode.
    let mut required = SmallVec::<[&str; 10]>::new();
    let mut senders = SmallVec::<[Option<&str>; 4]>::new();
    let mut numbers = SmallVec::<[Option<f64>; 8]>::new();
    let mut read_plain = || {
        for field in 0..blame {
            required.push(value(field).plain()?);
        }
        for field in blame..measures {
            let sender = value(field);
            senders.push(if sender.is_absent() { None } else { Some(sender.plain()?) });
        }
        for field in measures..end {
            let number = value(field);
            numbers.push(if number.is_absent() { None } else { Some(measure(&number.source())?) });
        }
        schema.time_unit().read(required[0])
    };
    if let Some(time) = read_plain() {
        let sample = schema.sample().map(|_| required[1]);
        let dimensions = &required[dimensions..];
        visit(&Record { time, sample, dimensions, blame: &senders, measures: &numbers });
        return Ok(());
    }

    let reject = |field, rule: Rule| {
        Rejection::new(position.clone(), schema.fields().nth(field), rule, &value(field).source())
    };
    let optional = |field| match value(field) {
        value if value.is_absent() => Ok(None),
        value => value.text().map(Some).map_err(|rule| reject(field, rule)),
    };
    let required = |field| optional(field)?.ok_or_else(|| reject(field, "must be present".into()));
    let number = |field| match value(field) {
        value if value.is_absent() => Ok(None),
        value => measure(&value.source()).map(Some).ok_or_else(|| reject(field, measure_rule())),
    };

    let time = required(0)?;
    let time = schema.time_unit().read(&time).ok_or_else(|| reject(0, Timestamp::RULE.into()))?;
    let sample = if schema.sample().is_some() { Some(required(1)?) } else { None };
    let dimensions = (dimensions..blame).map(required).collect::<Result<SmallVec<[_; 8]>, _>>()?;
    let blame = (blame..measures).map(optional).collect::<Result<SmallVec<[_; 4]>, _>>()?;
    let measures = (measures..end).map(number).collect::<Result<SmallVec<[_; 8]>, _>>()?;
    visit(&Record {
        time,
        sample: sample.as_deref(),
        dimensions: &dimensions.iter().map(|text| &**text).collect::<SmallVec<[_; 8]>>(),
        blame: &blame.iter().map(Option::as_deref).collect::<SmallVec<[_; 4]>>(),
        measures: &measures,
    });
    Ok(())
}

fn measure(text: &str) -> Option<f64> {
    let x: f64 = text.trim().parse().ok()?;
    // False for NaN, too.
    (x.abs() <= Moments::LARGEST).then_some(x)
}

fn measure_rule() -> Rule {
    format!("must be a number from -{0:e} to {0:e}", Moments::LARGEST).into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            if self.0 == "?" { Err("must be known".into()) } else { Ok(self.0.into()) }
        }

        fn plain(&self) -> Option<&'static str> {
            (!matches!(self.0, "" | "?" | "odd")).then_some(self.0)
        }
    }

    fn read(values: [&'static str; 5]) -> Result<String, String> {
        let schema = Schema::builder()
            .time("time")
            .sample("sample")
            .dimensions(["host"])
            .blame(["user"])
            .measures(["load"])
            .build()
            .unwrap();
        let position = Position { file: "a.txt".into(), record: 3, line: 4 };
        let mut read = String::new();
        read_record(
            &schema,
            &position,
            |field| Plain(values[field]),
            |record| {
                let Record { time, sample, dimensions, blame, measures } = record;
                read = format!("{} {sample:?} {dimensions:?} {blame:?} {measures:?}", time.millis());
            },
        )
        .map_err(|rejection| rejection.to_string())?;
        Ok(read)
    }

    #[test]
    fn values_become_a_record() {
        let full = r#"5 Some("s") ["web"] [Some("u")] [Some(-1.5)]"#;
        assert_eq!(read(["5", "s", "web", "u", " -1.5 "]).unwrap(), full);
        assert_eq!(read(["5", "s", "web", "", ""]).unwrap(), r#"5 Some("s") ["web"] [None] [None]"#);
        assert_eq!(read(["5", "s", "odd", "", ""]).unwrap(), r#"5 Some("s") ["odd"] [None] [None]"#);
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
}
