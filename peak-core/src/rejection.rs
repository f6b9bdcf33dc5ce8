//! Bad records: where they stand, and what they break.

use crate::{Moments, Timestamp, shown};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Where in its source a record stands.
///
/// ```
/// use peak_core::{Place, Position};
///
/// let position = Position::new("monday.ndjson", Place::Line { record: 2, line: 3 });
/// assert_eq!(position.to_string(), "monday.ndjson: record 2 (line 3)");
///
/// let message = Position::new("orders", Place::Offset { partition: 0, offset: 17 });
/// assert_eq!(message.to_string(), "orders: partition 0, offset 17");
/// assert_eq!(message.within(2, 5).to_string(), "orders: partition 0, offset 17, record 2 (line 5)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Position {
    /// The file, stream, topic, table or peer.
    pub origin: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// Where in what stands at that place.
    inside: Option<Inside>,
}

/// Where in a file, topic or table something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Place {
    /// In a text.
    Line {
        /// The record's number, from 1.
        record: u64,
        /// The line on which it begins, from 1.
        line: u64,
    },
    /// In a queue that numbers its messages.
    Offset {
        /// The partition.
        partition: u32,
        /// The message's number in it.
        offset: u64,
    },
    /// In a table, or whatever else has one record after the other: its number.
    Row(u64),
    /// Somewhere: it has no number.
    Nowhere,
}

/// A record of several at one place, both from 1. Smaller than [`Place::Line`], so that results with a
/// [`Rejection`] in them stay small: a payload is in memory, and has fewer records than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Inside {
    record: NonZeroU32,
    line: u32,
}

impl Position {
    /// A place in the named origin.
    #[must_use]
    pub fn new(origin: impl Into<Arc<str>>, place: Place) -> Self {
        Position { origin: origin.into(), place, inside: None }
    }

    /// In the named origin, without a number.
    #[must_use]
    pub fn nowhere(origin: impl Into<Arc<str>>) -> Self {
        Self::new(origin, Place::Nowhere)
    }

    /// The position of one of the records of what stands here. Both numbers are from 1; the first record on
    /// the first line stands where the whole does.
    ///
    /// Of a text the records and lines are counted on; any other place is told with the record's number.
    #[must_use]
    pub fn within(&self, record: u64, line: u64) -> Self {
        let (records, lines) = (record.saturating_sub(1), line.saturating_sub(1));
        let mut position = self.clone();
        if let Place::Line { record, line } = &mut position.place {
            *record = record.saturating_add(records);
            *line = line.saturating_add(lines);
        } else if (records, lines) != (0, 0) {
            let Inside { record, line } = self.inside.unwrap_or(Inside { record: NonZeroU32::MIN, line: 1 });
            position.inside = Some(Inside {
                record: record.saturating_add(u32::try_from(records).unwrap_or(u32::MAX)),
                line: line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX)),
            });
        }
        position
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", shown(&self.origin))?;
        match self.place {
            Place::Line { record, line } => write!(f, ": record {record} (line {line})")?,
            Place::Offset { partition, offset } => write!(f, ": partition {partition}, offset {offset}")?,
            Place::Row(row) => write!(f, ": row {row}")?,
            Place::Nowhere => {}
        }
        match self.inside {
            None => Ok(()),
            Some(Inside { record, line }) => {
                let mark = if self.place == Place::Nowhere { ":" } else { "," };
                write!(f, "{mark} record {record} (line {line})")
            }
        }
    }
}

/// What must hold of a record: the kind of rule, for programs, and its words, for people.
///
/// The words complete a sentence that begins with what they are about: `field "host" must be present`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rule {
    /// What programs tell apart and count.
    pub kind: RuleKind,
    /// What people read.
    pub words: Cow<'static, str>,
}

/// The kinds of rules that a bad record breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RuleKind {
    /// A field that must be present has no value.
    Missing,
    /// A value is no point in time, or none from 1970 to 9999.
    NotATime,
    /// A value is no finite number, or too large a one.
    NotANumber,
    /// A value is no text: a container, or no UTF-8.
    NotText,
    /// A value or a record is too long.
    TooLong,
    /// The record cannot be read at all.
    Syntax,
    /// A field has two values.
    Twice,
    /// The record has more or fewer cells than there are columns.
    Width,
    /// Any other rule of a format.
    Other,
}

impl Rule {
    /// A rule in one's own words.
    #[must_use]
    pub fn new(kind: RuleKind, words: impl Into<Cow<'static, str>>) -> Self {
        Rule { kind, words: words.into() }
    }

    /// A value must be there.
    #[must_use]
    pub fn present() -> Self {
        Self::new(RuleKind::Missing, "must be present")
    }

    /// A time must be one.
    #[must_use]
    pub fn time() -> Self {
        Self::new(RuleKind::NotATime, Timestamp::RULE)
    }

    /// A measure must be a finite number, no larger than [`Moments::LARGEST`].
    #[must_use]
    pub fn number() -> Self {
        let words = format!("must be a number from -{0:e} to {0:e}", Moments::LARGEST);
        Self::new(RuleKind::NotANumber, words)
    }

    /// A weight must be a whole number from 1 on.
    #[must_use]
    pub fn weight() -> Self {
        Self::new(RuleKind::NotANumber, "must be a whole number from 1 on")
    }

    /// Text must be UTF-8.
    #[must_use]
    pub fn utf8() -> Self {
        Self::new(RuleKind::NotText, "must be UTF-8")
    }

    /// A record must not have more than so many bytes.
    #[must_use]
    pub fn at_most(bytes: usize) -> Self {
        Self::new(RuleKind::TooLong, format!("must be at most {bytes} bytes"))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", shown(&self.words))
    }
}

/// One bad record: where it stands, which field broke which rule, and with what value.
///
/// Its message stands on one line, whatever the value; the fields hold what came as it came.
///
/// ```
/// use peak_core::{Place, Position, Rejection, Rule, RuleKind};
///
/// let position = Position::new("a.ndjson", Place::Line { record: 2, line: 3 });
/// let rejection = Rejection::new(position, Some("host"), Rule::present(), "null");
/// assert_eq!(rejection.rule.kind, RuleKind::Missing);
/// assert_eq!(
///     rejection.to_string(),
///     r#"a.ndjson: record 2 (line 3): field "host" must be present, got null"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rejection {
    /// Where the record stands.
    pub position: Position,
    /// The field, when one is to blame.
    pub field: Option<String>,
    /// What must hold.
    pub rule: Rule,
    /// What was found instead, shortened to [`Rejection::VALUE_CHARS`] characters.
    pub value: Box<str>,
}

impl Rejection {
    /// The longest value that a rejection quotes, in characters.
    pub const VALUE_CHARS: usize = 80;

    /// A rejection that quotes at most [`VALUE_CHARS`](Self::VALUE_CHARS) characters of the value.
    #[must_use]
    pub fn new(position: Position, field: Option<&str>, rule: Rule, value: &str) -> Self {
        let value = match value.char_indices().nth(Self::VALUE_CHARS) {
            None => value.into(),
            Some((end, _)) => format!("{}…", &value[..end]).into(),
        };
        Rejection { position, field: field.map(str::to_owned), rule, value }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejection { position, field, rule, value } = self;
        write!(f, "{position}: ")?;
        if let Some(field) = field {
            write!(f, "field {field:?} ")?;
        }
        write!(f, "{rule}, got {}", shown(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_value_is_shortened_at_a_character() {
        let position = Position::new("a.ndjson", Place::Line { record: 2, line: 3 });
        let rejection = Rejection::new(position, Some("host"), Rule::utf8(), &"é".repeat(500));
        let text = rejection.to_string();
        let begin = r#"a.ndjson: record 2 (line 3): field "host" must be UTF-8, got éé"#;
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with("é…"));
        assert_eq!(rejection.value.chars().count(), Rejection::VALUE_CHARS + 1);
        let whole = "é".repeat(Rejection::VALUE_CHARS);
        let rejection = Rejection::new(Position::nowhere("a"), None, Rule::utf8(), &whole);
        assert_eq!(*rejection.value, *whole);
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_command_a_terminal() {
        let value = "x\n2024-01-01 CRITICAL forged \x1b[2J";
        let rejection = Rejection::new(Position::nowhere("a\r"), Some("h\n"), Rule::present(), value);
        assert_eq!(
            rejection.to_string(),
            r#"a\r: field "h\n" must be present, got x\n2024-01-01 CRITICAL forged \u{1b}[2J"#
        );
        assert_eq!(*rejection.value, *value);
    }

    #[test]
    fn a_place_within_a_text_is_counted_on_and_any_other_is_told_with_it() {
        let line = Position::new("a", Place::Line { record: 10, line: 20 });
        assert_eq!(line.within(1, 1), line);
        assert_eq!(line.within(3, 5).to_string(), "a: record 12 (line 24)");
        for (place, expected) in [
            (Place::Offset { partition: 1, offset: 7 }, "a: partition 1, offset 7, record 3 (line 5)"),
            (Place::Row(4), "a: row 4, record 3 (line 5)"),
            (Place::Nowhere, "a: record 3 (line 5)"),
        ] {
            let whole = Position::new("a", place);
            assert_eq!(whole.within(1, 1), whole);
            assert_eq!(whole.within(3, 5).to_string(), expected);
        }
        let last = line.within(u64::MAX, u64::MAX).within(u64::MAX, u64::MAX);
        assert_eq!(last.place, Place::Line { record: u64::MAX, line: u64::MAX });
    }

    #[test]
    fn a_result_with_a_rejection_is_small() {
        assert!(size_of::<Result<(), Rejection>>() < 128);
    }

    fn places() -> impl Strategy<Value = Place> {
        prop_oneof![
            any::<(u64, u64)>().prop_map(|(record, line)| Place::Line { record, line }),
            any::<(u32, u64)>().prop_map(|(partition, offset)| Place::Offset { partition, offset }),
            any::<u64>().prop_map(Place::Row),
            Just(Place::Nowhere),
        ]
    }

    proptest! {
        #[test]
        fn places_within_places_add_up(place in places(), [a, b, c, d] in [1..1_000u64, 1..1_000, 1..1_000, 1..1_000]) {
            let position = Position::new("a", place);
            prop_assert_eq!(position.within(a, b).within(c, d), position.within(a + c - 1, b + d - 1));
        }

        #[test]
        fn a_rejection_survives_being_stored(place in places(), within in 1..9u64, words: String, value: String) {
            let position = Position::new("a", place).within(within, within);
            let rejection = Rejection::new(position, Some("f"), Rule::new(RuleKind::Other, words), &value);
            let stored = rmp_serde::to_vec(&rejection).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Rejection>(&stored).unwrap(), rejection);
        }
    }
}
