//! Reads records that look like earlier ones without parsing them.
//!
//! The records of a feed have nearly always the same keys in the same order, and many of their values
//! never change. What stands between the values that do change is learned from records that
//! `serde_json` has accepted. A record that repeats it is read by comparing bytes and passing over
//! those values; any other is left to `serde_json`, which alone says what is wrong with it.
//!
//! So a record that is read here is one that was accepted before, with other strings, numbers, booleans
//! and nulls in the place of its own, and as valid. The order of keys, blanks and optional fields may
//! vary: what may follow a value is learned for each place in the structure, not for whole records.

use crate::fields::{Fields, Json};
use hashbrown::HashMap;
use memchr::{memchr_iter, memchr2};
use std::sync::Arc;

/// What is known of the records of one feed.
#[derive(Debug, Clone)]
pub(crate) struct Shapes {
    fields: Arc<Fields>,
    places: Vec<Place>,
    /// Places by that of their container and their key as it is written; elements of arrays have none.
    by_key: HashMap<(usize, Box<[u8]>), usize>,
    /// The memory that all this takes, roughly.
    bytes: usize,
    /// The fields of the record that was read last.
    values: Vec<Option<Token>>,
    /// What may be spent on learning.
    credit: u32,
}

/// A place in the structure of a record, with all the containers around it: that of a value.
#[derive(Debug, Clone)]
struct Place {
    role: Role,
    content: Content,
    /// The ways to the next value that may change, likely ones first.
    paths: Vec<Path>,
}

/// What the schema wants of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The value of this field.
    Field(usize),
    /// Fields, if it is an object: those behind this node.
    Node(usize),
    Nothing,
}

/// The strings and scalars at a place.
#[derive(Debug, Clone)]
enum Content {
    Unknown,
    /// The same in all records, quotes included.
    Constant(Box<[u8]>),
    Changing,
}

/// The way from one value that may change to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    /// What stands between them: quotes, keys, punctuation, blanks and constants.
    literal: Box<[u8]>,
    lines: u64,
    to: To,
}

/// What follows a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// The inside of a string, and a quote.
    String(usize),
    /// A number, a boolean or null.
    Scalar(usize),
    /// The end of the record.
    End,
}

/// Where a value stands in its record.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The inside of a string without escapes.
    Plain,
    /// The inside of a string with escapes.
    Escaped,
    Scalar,
}

/// How far a record reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) bytes: usize,
    /// The line ends in it.
    pub(crate) lines: u64,
}

/// The place of the whole record: paths from it begin at its brace.
const RECORD: usize = 0;

impl Shapes {
    /// What may be remembered.
    const MOST_BYTES: usize = 1 << 20;
    /// Longer and deeper records are not learned.
    const MOST_RECORD_BYTES: usize = 64 << 10;
    const MOST_DEPTH: usize = 32;
    /// The most ways from one place.
    const MOST_PATHS: usize = 16;
    /// Learning takes longer than parsing: in the long run one record in so many is learned.
    const PRICE: u32 = 32;
    const MOST_CREDIT: u32 = 32 * Self::PRICE;

    pub(crate) fn new(fields: Arc<Fields>) -> Self {
        Shapes {
            values: vec![None; fields.count()],
            fields,
            places: vec![Place::new(Role::Node(Fields::ROOT))],
            by_key: HashMap::new(),
            bytes: 0,
            credit: Self::MOST_CREDIT,
        }
    }

    /// Reads the object that the bytes begin with; `None` when it is not like those that were learned.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<Extent> {
        self.values.fill(None);
        let mut extent = Extent { bytes: 0, lines: 0 };
        let mut from = RECORD;
        loop {
            let rest = &bytes[extent.bytes..];
            let paths = &mut self.places[from].paths;
            let taken = paths.iter().position(|path| path.begins(rest))?;
            let Path { ref literal, lines, to } = paths[taken];
            extent.bytes += literal.len();
            extent.lines += lines;
            if taken > 0 {
                paths.swap(taken - 1, taken);
            }
            let (place, token) = match to {
                To::String(place) => (place, Token::string(bytes, extent.bytes)?),
                To::Scalar(place) => (place, Token::scalar(bytes, extent.bytes)?),
                To::End => break,
            };
            if let Role::Field(field) = self.places[place].role
                && self.values[field].replace(token).is_some()
            {
                return None;
            }
            // A string ends behind its quote.
            extent.bytes = token.end + usize::from(token.kind != Kind::Scalar);
            from = place;
        }
        self.credit = Self::MOST_CREDIT.min(self.credit + 1);
        Some(extent)
    }

    /// The value of a field of the object that was read last, from the same bytes.
    pub(crate) fn value<'a>(&self, object: &'a str, field: usize) -> Json<'a> {
        let Some(Token { start, end, kind }) = self.values[field] else { return Json::Nothing };
        let text = |start, end| object.get(start..end).unwrap_or_default();
        match kind {
            Kind::Plain => Json::Plain(text(start, end)),
            Kind::Escaped => Json::Source(text(start - 1, end + 1)),
            Kind::Scalar => Json::Source(text(start, end)),
        }
    }

    /// Remembers what a good record looks like. It must be an object that `serde_json` accepts.
    pub(crate) fn learn(&mut self, object: &str) {
        self.credit = Self::MOST_CREDIT.min(self.credit + 1);
        if self.credit < Self::PRICE || object.len() > Self::MOST_RECORD_BYTES {
            return;
        }
        self.credit -= Self::PRICE;
        if self.bytes > Self::MOST_BYTES {
            *self = Shapes { credit: self.credit, ..Shapes::new(Arc::clone(&self.fields)) };
        }
        let has_changed = |shapes: &mut Self| {
            let mut lesson = Lesson::new(shapes, object);
            lesson.record();
            lesson.has_changed
        };
        if has_changed(self) {
            // Paths may lead over a value that is no constant.
            self.places.iter_mut().for_each(|place| place.paths.clear());
            has_changed(self);
        }
    }

    fn place(&mut self, container: usize, key: &[u8], role: Role) -> usize {
        let next = self.places.len();
        let place = *self.by_key.entry((container, key.into())).or_insert(next);
        if place == next {
            self.bytes += size_of::<Place>() + key.len();
            self.places.push(Place::new(role));
        }
        place
    }
}

impl Place {
    fn new(role: Role) -> Self {
        let content = if let Role::Field(_) = role { Content::Changing } else { Content::Unknown };
        Place { role, content, paths: Vec::new() }
    }
}

impl Path {
    fn begins(&self, bytes: &[u8]) -> bool {
        // A string may also follow where a scalar does; its path is another one.
        begins_with(bytes, &self.literal)
            && (!matches!(self.to, To::Scalar(_)) || bytes.get(self.literal.len()) != Some(&b'"'))
    }
}

impl Token {
    /// The inside of a string, from behind its first quote.
    fn string(bytes: &[u8], start: usize) -> Option<Token> {
        let (mut at, mut kind, mut is_ascii) = (start, Kind::Plain, true);
        loop {
            at = special(bytes, at)?;
            match bytes[at] {
                b'"' => break,
                b'\\' => {
                    kind = Kind::Escaped;
                    at += match bytes.get(at + 1)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                        b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
                        _ => return None,
                    };
                }
                0x80.. => {
                    is_ascii = false;
                    at += bytes[at..].iter().take_while(|byte| !byte.is_ascii()).count();
                }
                _ => return None,
            }
        }
        let is_text = is_ascii || std::str::from_utf8(&bytes[start..at]).is_ok();
        is_text.then_some(Token { start, end: at, kind })
    }

    fn scalar(bytes: &[u8], start: usize) -> Option<Token> {
        let rest = &bytes[start..];
        let word = |word: &[u8]| rest.starts_with(word).then_some(word.len());
        let length = match rest.first()? {
            b'n' => word(b"null"),
            b't' => word(b"true"),
            b'f' => word(b"false"),
            _ => number(rest),
        };
        Some(Token { start, end: start + length?, kind: Kind::Scalar })
    }
}

/// The same as `starts_with`, which is a call of its own for each of these short texts.
fn begins_with(bytes: &[u8], literal: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..literal.len()) else { return false };
    let mut at = 0;
    while let (Some(block), Some(other)) =
        (bytes[at..].first_chunk::<32>(), literal[at..].first_chunk::<32>())
    {
        if block != other {
            return false;
        }
        at += 32;
    }
    // The last block overlaps the one before.
    if let (Some(block), Some(other)) = (bytes.last_chunk::<32>(), literal.last_chunk::<32>()) {
        return block == other;
    }
    if let (Some(block), Some(other)) = (bytes.last_chunk::<16>(), literal.last_chunk::<16>()) {
        return block == other && bytes.first_chunk::<16>() == literal.first_chunk::<16>();
    }
    if let (Some(block), Some(other)) = (bytes.last_chunk::<8>(), literal.last_chunk::<8>()) {
        return block == other && bytes.first_chunk::<8>() == literal.first_chunk::<8>();
    }
    bytes.iter().zip(literal).all(|(byte, other)| byte == other)
}

/// Eight bytes that are the same.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The place of the first quote, backslash, control character or byte that is not ASCII.
fn special(bytes: &[u8], at: usize) -> Option<usize> {
    first(bytes, at, |block| {
        let is = |byte: u8| (block ^ eight(byte)).wrapping_sub(eight(1));
        is(b'"') | is(b'\\') | block.wrapping_sub(eight(0x20)) | block
    })
}

/// The place of the first byte that is no digit.
fn no_digit(bytes: &[u8], at: usize) -> Option<usize> {
    first(bytes, at, |block| {
        let digits = block ^ eight(b'0');
        digits.wrapping_add(eight(0x80 - 10)) | digits
    })
}

/// The place of the first byte whose top bit `hits` sets, as it must for zeros. Bits behind the first do
/// not matter, so a borrow or a carry may set them.
#[inline]
fn first(bytes: &[u8], mut at: usize, hits: impl Fn(u64) -> u64) -> Option<usize> {
    while let Some(block) = bytes[at..].first_chunk() {
        let hits = hits(u64::from_le_bytes(*block)) & eight(0x80);
        if hits != 0 {
            return Some(at + (hits.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let is_hit = |byte: &u8| hits(u64::from(*byte)) & 0x80 != 0;
    bytes[at..].iter().position(is_hit).map(|more| at + more)
}

/// The length of the number that the bytes begin with.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |at: usize| no_digit(bytes, at).unwrap_or(bytes.len()) - at;
    let some_digits = |at: usize| Some(digits(at)).filter(|&digits| digits > 0);
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += if bytes.get(at) == Some(&b'0') { 1 } else { some_digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at += 1 + some_digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at += some_digits(at)?;
    }
    Some(at)
}

/// Walks over a valid object, and adds the paths in it.
struct Lesson<'s, 'a> {
    shapes: &'s mut Shapes,
    text: &'a [u8],
    at: usize,
    /// The place that the present path comes from, and where in the text it begins.
    from: usize,
    start: usize,
    /// Whether a value was taken for a constant so far.
    has_changed: bool,
}

impl<'s, 'a> Lesson<'s, 'a> {
    fn new(shapes: &'s mut Shapes, object: &'a str) -> Self {
        Lesson { shapes, text: object.as_bytes(), at: 0, from: RECORD, start: 0, has_changed: false }
    }

    /// `None` when there is no way to the end.
    fn record(&mut self) -> Option<()> {
        self.value(RECORD, 0)?;
        self.add_path(self.at, To::End);
        Some(())
    }

    fn value(&mut self, place: usize, depth: usize) -> Option<()> {
        let role = self.shapes.places[place].role;
        let start = self.at;
        match self.byte()? {
            // A container in the place of a field makes a bad record.
            b'{' | b'[' if depth == Shapes::MOST_DEPTH || matches!(role, Role::Field(_)) => None,
            b'{' => self.items(b'}', |lesson| {
                let key = lesson.string();
                let place = lesson.member(place, role, key)?;
                lesson.skip_blanks();
                lesson.skip(b':')?;
                lesson.skip_blanks();
                lesson.value(place, depth + 1)
            }),
            b'[' => self.items(b']', |lesson| {
                let place = lesson.shapes.place(place, b"", Role::Nothing);
                lesson.value(place, depth + 1)
            }),
            b'"' => {
                let value = self.string();
                self.leaf(place, value, start + 1, To::String(place))
            }
            _ => {
                let is_end = |byte: &u8| b",]} \t\n\r".contains(byte);
                let length = self.text[start..].iter().position(is_end)?;
                self.at += length;
                self.leaf(place, &self.text[start..self.at], start, To::Scalar(place))
            }
        }
    }

    fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.skip_blanks();
        if self.skip(close).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.skip_blanks();
            if self.skip(close).is_some() {
                return Some(());
            }
            self.skip(b',')?;
            self.skip_blanks();
        }
    }

    fn member(&mut self, object: usize, role: Role, key: &[u8]) -> Option<usize> {
        let fields = &self.shapes.fields;
        let node = match role {
            Role::Node(node) => fields.step(node, &serde_json::from_slice::<String>(key).ok()?),
            _ => None,
        };
        let role =
            node.map_or(Role::Nothing, |node| fields.field(node).map_or(Role::Node(node), Role::Field));
        Some(self.shapes.place(object, key, role))
    }

    /// A string or scalar: part of the present path while it is constant, and otherwise its end.
    fn leaf(&mut self, place: usize, value: &[u8], inside: usize, to: To) -> Option<()> {
        let Place { role, content, .. } = &mut self.shapes.places[place];
        match content {
            // What stands where an object may be is parsed by other rules than what nobody wants: it is
            // never passed over.
            _ if matches!(role, Role::Node(_)) => {}
            Content::Unknown => {
                *content = Content::Constant(value.into());
                self.shapes.bytes += value.len();
            }
            Content::Constant(constant) if **constant == *value => {}
            Content::Constant(_) => {
                *content = Content::Changing;
                self.has_changed = true;
            }
            Content::Changing => {
                self.add_path(inside, to);
                self.from = place;
                self.start = self.at;
            }
        }
        Some(())
    }

    fn add_path(&mut self, end: usize, to: To) {
        let literal = &self.text[self.start..end];
        let lines = memchr_iter(b'\n', literal).count() as u64;
        let path = Path { literal: literal.into(), lines, to };
        let paths = &mut self.shapes.places[self.from].paths;
        match paths.iter().position(|known| *known == path) {
            Some(known) => drop(paths.remove(known)),
            None => self.shapes.bytes += size_of::<Path>() + literal.len(),
        }
        paths.insert(0, path);
        paths.truncate(Shapes::MOST_PATHS);
    }

    /// Passes over a string, and returns it with its quotes.
    fn string(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at += 1;
        while let Some(more) = memchr2(b'"', b'\\', &self.text[self.at..]) {
            self.at += more + 1;
            if self.text[self.at - 1] == b'"' {
                break;
            }
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn skip_blanks(&mut self) {
        let is_blank = |byte: &&u8| b" \t\n\r".contains(byte);
        self.at += self.text[self.at..].iter().take_while(is_blank).count();
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.byte()? == byte).then(|| self.at += 1)
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peak_core::Schema;
    use peak_core::read::Value;
    use proptest::prelude::*;

    fn fields() -> Arc<Fields> {
        let schema = Schema::builder().time("t").sample("a.b").dimensions(["a.c.d", "d"]).blame(["é"]);
        Arc::new(Fields::new(&schema.build().unwrap()))
    }

    /// What the fields are in an object that is known, as `serde_json` sees it.
    fn known(shapes: &mut Shapes, bytes: &[u8]) -> Option<Extent> {
        let extent = shapes.read(bytes)?;
        let object = std::str::from_utf8(&bytes[..extent.bytes]).expect("UTF-8");
        let found = shapes.fields.find(object).expect("valid JSON");
        assert!(found.twice.is_none(), "a field twice");
        for field in 0..shapes.fields.count() {
            let (known, expected) = (shapes.value(object, field), found.value(field));
            assert_eq!(known.source(), expected.source(), "{object}");
            assert_eq!(known.is_absent(), expected.is_absent(), "{object}");
            assert_eq!(known.text(), expected.text(), "{object}");
            assert!(known.plain().is_none_or(|plain| expected.text().as_deref() == Ok(plain)), "{object}");
        }
        assert_eq!(extent.lines, memchr_iter(b'\n', object.as_bytes()).count() as u64);
        Some(extent)
    }

    /// Learns an object as a reader would.
    fn learn(shapes: &mut Shapes, object: &str) {
        if shapes.fields.find(object).is_ok_and(|found| found.twice.is_none()) && object.starts_with('{') {
            shapes.learn(object);
        }
    }

    fn shapes(learned: &[&str]) -> Shapes {
        let mut shapes = Shapes::new(fields());
        // The second time, it is known what changes.
        for object in learned.iter().chain(learned) {
            learn(&mut shapes, object);
        }
        shapes
    }

    #[test]
    fn records_that_differ_in_strings_and_numbers_are_known() {
        let mut shapes = shapes(&[
            r#"{"t": 1, "x": "0", "y": {"z": [1, 2], "t": "é"}, "a": {"b": "v", "c.d": 3}, "n": null}"#,
            r#"{"t": 2, "x": "1", "y": {"z": [], "t": "é"}, "a": {"b": 5, "c.d": "w"}, "n": null}"#,
        ]);
        for text in [
            r#"{"t": 0, "x": "", "y": {"z": [3], "t": "é"}, "a": {"b": "\n\u00e9\"", "c.d": "漢字"}, "n": null}"#,
            r#"{"t": -0.5e+3, "x": "caf\u00e9", "y": {"z": [1, 2, 3, 4], "t": "é"}, "a": {"b": "w", "c.d": null}, "n": null}"#,
        ] {
            assert_eq!(
                known(&mut shapes, text.as_bytes()),
                Some(Extent { bytes: text.len(), lines: 0 }),
                "{text}"
            );
            assert!(known(&mut shapes, format!("{text}}}, ").as_bytes()).is_some());
            for end in 0..text.len() {
                assert_eq!(known(&mut shapes, &text.as_bytes()[..end]), None, "{text}");
            }
        }
    }

    #[test]
    fn what_serde_json_refuses_is_never_known() {
        let mut shapes = shapes(&[r#"{"t":1,"x":"a"}"#, r#"{"t":2,"x":"b"}"#]);
        for (time, text, is_known) in [
            ("3", "c", true),
            ("\"", "c", false),
            ("03", "c", false),
            ("-", "c", false),
            ("1.", "c", false),
            ("1e", "c", false),
            (".5", "c", false),
            ("1e+05", "c", true),
            ("nul", "c", false),
            ("nullx", "c", false),
            ("[]", "c", false),
            ("3", "\\x", false),
            ("3", "\\u12g4", false),
            ("3", "\\u12", false),
            ("3", "\\", false),
            ("3", "\\ud800", true),
            ("3", "\t", false),
            ("3", "\n", false),
            ("3", "\u{7f}\u{80}", true),
            ("3", "\",\"x\":\"", false),
        ] {
            let object = format!(r#"{{"t":{time},"x":"{text}"}}"#);
            assert_eq!(known(&mut shapes, object.as_bytes()).is_some(), is_known, "{object}");
        }
        for bytes in
            [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"12345678\x80", b"1234567890123456789012345\x1f"]
        {
            let object = [b"{\"t\":3,\"x\":\"", bytes, b"\"}"].concat();
            assert_eq!(known(&mut shapes, &object), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_quote_belongs_to_its_string() {
        let mut shapes = shapes(&[r#"{"t":1,"d":5,"x":1}"#, r#"{"t":1,"d":"a","x":2}"#]);
        assert!(known(&mut shapes, br#"{"t":1,"d":"b","x":3}"#).is_some());
        assert_eq!(known(&mut shapes, br#"{"t":1,"d":5","x":3}"#), None);
        assert_eq!(known(&mut shapes, br#"{"t":1,"d":"a,"x":3}"#), None);
    }

    #[test]
    fn a_field_twice_is_left_to_the_parser() {
        let mut shapes = shapes(&[r#"{"t":1,"d":2,"x":5,"t.":0}"#, r#"{"t":1,"x":6,"d":4,"t.":0}"#]);
        assert!(known(&mut shapes, br#"{"t":1,"d":2,"x":7,"t.":0}"#).is_some());
        assert_eq!(known(&mut shapes, br#"{"t":1,"d":2,"x":7,"d":3,"t.":0}"#), None);
    }

    #[test]
    fn memory_is_bounded_whatever_the_keys() {
        let mut shapes = Shapes::new(fields());
        for i in 0..100_000 {
            learn(&mut shapes, &format!("{{\"t\":1,\"{i:0>1000}\":[{i}, \"{i}\"]}}"));
            assert!(shapes.bytes < 2 * Shapes::MOST_BYTES);
            assert!(shapes.places.len() * size_of::<Place>() < 2 * Shapes::MOST_BYTES);
        }
    }

    /// Records of a few kinds, well formed or nearly so.
    fn records() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            any::<i32>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:e}")),
            "[0-9.eE+-]{0,4}",
        ];
        let piece = prop_oneof![9 => "[ -~é漢]{0,12}", 1 => any::<String>(), 1 => "\\\\[a-z0-9\"\\\\]{1,6}"];
        let string = piece.prop_map(|text| {
            format!("\"{}\"", if text.contains('\\') { text } else { text.replace('"', "") })
        });
        let value = prop_oneof![
            scalar.clone(),
            string.clone(),
            prop::collection::vec(scalar, 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            (prop::sample::select(vec!["b", "c", "c.d", "t"]), string)
                .prop_map(|(key, value)| format!("{{\"{key}\":{value}}}")),
        ];
        let key = prop::sample::select(vec!["t", "a", "a.b", "a.c", "d", "d", "x", "y", "é", "\\u0074"]);
        let member = (key, value, prop_oneof![9 => Just(""), 1 => Just(" "), 1 => Just("\n")]);
        prop::collection::vec(member, 0..6).prop_map(|members| {
            let member =
                |(key, value, blank): &(&str, String, &str)| format!("{blank}\"{key}\":{blank}{value}");
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn scanning_by_blocks_is_scanning_by_bytes(bytes in "[ -~]{0,40}([0-9]{0,40}[\\x00-\\x7fé]){0,2}", edit: prop::sample::Index, byte: u8) {
            let literal = bytes.as_bytes();
            let mut edited = literal.to_vec();
            if !edited.is_empty() {
                edited[edit.index(literal.len())] = byte;
            }
            for end in [edited.len(), edited.len().saturating_sub(1)] {
                prop_assert_eq!(begins_with(&edited[..end], literal), edited[..end].starts_with(literal));
                prop_assert_eq!(begins_with(literal, &edited[..end]), literal.starts_with(&edited[..end]));
            }
            for at in 0..=edited.len() {
                let find = |is: fn(&u8) -> bool| edited[at..].iter().position(is).map(|more| at + more);
                prop_assert_eq!(special(&edited, at), find(|byte| matches!(byte, b'"' | b'\\' | ..0x20 | 0x80..)));
                prop_assert_eq!(no_digit(&edited, at), find(|byte| !byte.is_ascii_digit()));
            }
        }

        #[test]
        fn what_is_known_is_what_serde_json_reads(
            records in prop::collection::vec(records(), 1..12),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..24),
            cuts in prop::collection::vec(any::<[prop::sample::Index; 4]>(), 0..12),
        ) {
                let mut shapes = Shapes::new(fields());
            for _ in 0..2 {
                for record in &records {
                    known(&mut shapes, record.as_bytes());
                    learn(&mut shapes, record);
                }
            }
            for (record, at, byte) in edits {
                let mut bytes = record.get(&records).clone().into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                known(&mut shapes, &bytes);
            }
            for [left, right, end, start] in cuts {
                let (left, right) = (left.get(&records).as_bytes(), right.get(&records).as_bytes());
                known(&mut shapes, &[&left[..end.index(left.len())], &right[start.index(right.len())..]].concat());
            }
        }
    }
}
