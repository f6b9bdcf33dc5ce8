//! Cuts a stream of bytes into records, in memory that does not depend on its length.

use crate::shape::Shapes;
use memchr::{memchr, memchr_iter, memchr3};
use peak_core::{Rejection, Rule, RuleKind};
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

/// One record, or what stands where one should be.
pub(crate) struct Frame<'a> {
    /// Its number, from 1.
    pub(crate) record: u64,
    /// The line on which it begins, from 1.
    pub(crate) line: u64,
    /// Its bytes, or why there are none.
    pub(crate) bytes: Result<&'a [u8], Fault>,
    /// Whether the shapes have read it.
    pub(crate) is_known: bool,
}

/// Why there is no frame where one should be: the rule, and what was found instead.
pub(crate) struct Fault {
    pub(crate) rule: Rule,
    pub(crate) found: String,
}

/// Yields the elements of a top-level array or, when the input does not begin with `[`, its lines.
///
/// Blanks around records and blank lines are left out. A frame need not be JSON: it is whatever
/// stands where a record should be.
pub(crate) struct Framer<'p, R> {
    input: Buffer<'p, R>,
    /// How many records there were so far.
    records: u64,
    most_bytes: usize,
    state: State,
    /// Whether the input may end in front of an element, because another part of the file goes on there.
    is_cut_off: bool,
    /// Whether all of it may be one object, over several lines.
    is_payload: bool,
}

/// What comes next.
#[derive(Clone, Copy)]
enum State {
    Start,
    Line,
    FirstElement,
    Element,
    AfterArray,
    End,
}

impl<R: Read> Framer<'_, R> {
    /// Reads a file or stream. Records of more than `most_bytes` are bad ones, and not kept in memory.
    pub(crate) fn new(input: R, most_bytes: usize) -> Self {
        Self::of(Buffer::new(input), most_bytes)
    }

    /// Begins at a line behind others; records and lines are counted from there.
    pub(crate) fn at_line(self) -> Self {
        Framer { state: State::Line, ..self }
    }

    /// Begins at an element of an array behind others; records and lines are counted from there.
    pub(crate) fn at_element(self) -> Self {
        Framer { state: State::Element, ..self }
    }

    /// Another part of the file goes on where the input ends.
    pub(crate) fn cut_off(self) -> Self {
        Framer { is_cut_off: true, ..self }
    }

    /// Whether it has come to the end of a part of an array in front of an element, so that the next
    /// part may begin there.
    pub(crate) fn is_before_element(&self) -> bool {
        matches!(self.state, State::Element) && self.input.unread().is_empty()
    }

    /// How many records there were so far, and how many line ends up to the end of the last one.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.records, self.input.line - 1)
    }

    /// The next record, or why it is a bad one; `None` at the end. The shapes must be of this feed's
    /// records.
    pub(crate) fn next(&mut self, shapes: &mut Shapes) -> io::Result<Option<Frame<'_>>> {
        if !self.find_next()? {
            return Ok(None);
        }
        self.records += 1;
        let (record, line) = (self.records, self.input.line);
        if let Some(range) = self.known(shapes) {
            let bytes = Ok(&self.input.bytes[range]);
            return Ok(Some(Frame { record, line, bytes, is_known: true }));
        }
        let range = self.unknown()?;
        let bytes = range.map(|range| trim_end(&self.input.bytes[range]));
        Ok(Some(Frame { record, line, bytes, is_known: false }))
    }

    /// Goes to the first byte of the next record; false when there is none.
    fn find_next(&mut self) -> io::Result<bool> {
        loop {
            let first = self.input.first_non_blank()?;
            self.state = match (self.state, first) {
                (State::Start, Some(b'[')) => {
                    self.input.consume(1);
                    State::FirstElement
                }
                (State::Start, _) => State::Line,
                (State::FirstElement, Some(b']')) => {
                    self.input.consume(1);
                    State::AfterArray
                }
                (State::Line | State::AfterArray, None) | (State::End, _) => return Ok(false),
                (State::Element, None) if self.is_cut_off => return Ok(false),
                _ => return Ok(true),
            };
        }
    }

    /// Where in the buffer the next record lies, if the shapes can read it there.
    fn known(&mut self, shapes: &mut Shapes) -> Option<Range<usize>> {
        let unread = self.input.unread();
        let extent = shapes.read(unread)?;
        let (mut end, mut lines) = (extent.bytes, extent.lines);
        let is_over_lines = matches!(self.state, State::Line) && lines > 0;
        if is_over_lines && !self.may_be_whole() {
            return None;
        }
        let state = loop {
            match (self.state, unread.get(end)) {
                (State::Line, Some(b'\n')) if !is_over_lines => break State::Line,
                (State::Line, None) if self.input.has_ended => break State::End,
                (State::FirstElement | State::Element, Some(b',')) => break State::Element,
                (State::FirstElement | State::Element, Some(b']')) => break State::AfterArray,
                (_, Some(b'\n')) => lines += 1,
                (_, Some(b' ' | b'\t' | b'\r')) => {}
                _ => return None,
            }
            end += 1;
        };
        if end > self.most_bytes {
            return None;
        }
        let start = self.input.start;
        self.input.start += end + usize::from(!matches!(state, State::End));
        self.input.line += lines + u64::from(matches!(state, State::Line));
        self.state = state;
        Some(start..start + extent.bytes)
    }

    /// Where in the buffer the next record lies, known or not.
    fn unknown(&mut self) -> io::Result<Result<Range<usize>, Fault>> {
        match self.state {
            State::Line => self.line(),
            State::AfterArray => Ok(Err(self.trailer()?)),
            _ => self.element(),
        }
    }

    fn line(&mut self) -> io::Result<Result<Range<usize>, Fault>> {
        let is_whole = self.may_be_whole() && is_object_over_lines(self.input.unread());
        let find = |bytes: &[u8]| if is_whole { None } else { memchr(b'\n', bytes) };
        let taken = self.input.take(self.most_bytes, find)?;
        Ok(self.bounded(taken))
    }

    /// Whether the next record may be all that is left of the input, whatever the lines.
    fn may_be_whole(&self) -> bool {
        self.is_payload && self.records == 1
    }

    fn element(&mut self) -> io::Result<Result<Range<usize>, Fault>> {
        let mut nesting = Nesting::default();
        let taken = self.input.take(self.most_bytes, |bytes| nesting.find_end(bytes))?;
        self.state = match taken.delimiter {
            Some(b',') => State::Element,
            Some(_) => State::AfterArray,
            None => {
                self.state = State::End;
                let rule = Rule::new(RuleKind::Syntax, "must be whole, but the input ends inside the array");
                return Ok(Err(Fault { rule, found: self.input.show(&taken.range) }));
            }
        };
        Ok(self.bounded(taken))
    }

    /// What follows an array, up to the end of its line.
    fn trailer(&mut self) -> io::Result<Fault> {
        self.state = State::End;
        let taken = self.input.take(self.most_bytes, |bytes| memchr(b'\n', bytes))?;
        let rule = Rule::new(RuleKind::Syntax, "must not follow the end of the array");
        Ok(Fault { rule, found: self.input.show(&taken.range) })
    }

    fn bounded(&self, taken: Taken) -> Result<Range<usize>, Fault> {
        if !taken.is_too_long {
            return Ok(taken.range);
        }
        let rule = Rule::at_most(self.most_bytes);
        Err(Fault { rule, found: self.input.show(&taken.range) })
    }
}

impl<'p> Framer<'p, io::Empty> {
    /// Reads a payload. It may also be one object over several lines.
    pub(crate) fn of_payload(payload: &'p [u8], most_bytes: usize) -> Self {
        Framer { is_payload: true, ..Self::of(Buffer::of_payload(payload), most_bytes) }
    }
}

impl<'p, R> Framer<'p, R> {
    fn of(input: Buffer<'p, R>, most_bytes: usize) -> Self {
        Framer { input, records: 0, most_bytes, state: State::Start, is_cut_off: false, is_payload: false }
    }
}

/// Whether the bytes are one object that does not end on its first line. If its first line is an object,
/// they are not.
fn is_object_over_lines(bytes: &[u8]) -> bool {
    bytes.contains(&b'\n') && bytes.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Without blanks at its end: those of JSON, which knows no form feed.
fn trim_end(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|byte| !b" \t\n\r".contains(byte)).map_or(0, |last| last + 1);
    &bytes[..length]
}

/// How deep within an element of an array the bytes so far have led.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Walks over the next bytes, up to the comma or bracket behind the element.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.is_escaped {
                self.is_escaped = false;
            } else if self.in_string {
                // A string cannot go over a line end: one that is not closed ends there, so that it
                // does not hide the elements behind it.
                at += memchr3(b'"', b'\\', b'\n', &bytes[at..])?;
                self.is_escaped = bytes[at] == b'\\';
                self.in_string = self.is_escaped;
            } else {
                at += bytes[at..]
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b',' | b'[' | b']' | b'{' | b'}'))?;
                match bytes[at] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b',' | b']' if self.depth == 0 => return Some(at),
                    b',' => {}
                    // The two kinds of brackets are not told apart: that is the parser's business, and
                    // an element with a wrong one does not take its neighbours with it.
                    _ => self.depth = self.depth.saturating_sub(1),
                }
            }
            at += 1;
        }
        None
    }
}

/// A buffer that counts lines and grows as far as one record needs.
struct Buffer<'p, R> {
    input: R,
    /// Whether there is no more to read.
    has_ended: bool,
    /// What was read and not consumed lies from `start` to `end`. A payload is never copied.
    bytes: Cow<'p, [u8]>,
    start: usize,
    end: usize,
    /// The line that `start` lies on.
    line: u64,
}

/// A record in the buffer, already consumed.
struct Taken {
    range: Range<usize>,
    /// What ended it; `None` for the end of the input.
    delimiter: Option<u8>,
    /// Then the range holds only its beginning.
    is_too_long: bool,
}

impl<'p> Buffer<'p, io::Empty> {
    fn of_payload(payload: &'p [u8]) -> Self {
        let (bytes, end) = (Cow::Borrowed(payload), payload.len());
        Buffer { input: io::empty(), has_ended: true, bytes, start: 0, end, line: 1 }
    }
}

impl<R> Buffer<'_, R> {
    fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

impl<R: Read> Buffer<'_, R> {
    const CHUNK: usize = 256 << 10;
    /// More than a [`Rejection`] quotes.
    const SHOWN: usize = 4 * (Rejection::VALUE_CHARS + 1);

    fn new(input: R) -> Self {
        let bytes = Cow::Owned(vec![0; Self::CHUNK]);
        Buffer { input, has_ended: false, bytes, start: 0, end: 0, line: 1 }
    }

    fn show(&self, range: &Range<usize>) -> String {
        let shown = range.start..range.end.min(range.start + Self::SHOWN);
        match &self.bytes[shown] {
            [] => "nothing".to_owned(),
            bytes => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// Consumes blanks.
    fn first_non_blank(&mut self) -> io::Result<Option<u8>> {
        loop {
            for at in self.start..self.end {
                match self.bytes[at] {
                    b'\n' => self.line += 1,
                    b' ' | b'\t' | b'\r' => {}
                    byte => {
                        self.start = at;
                        return Ok(Some(byte));
                    }
                }
            }
            self.start = self.end;
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Consumes a record and its delimiter. `find` looks for the delimiter, in one piece of the input
    /// after the other.
    fn take(&mut self, most_bytes: usize, mut find: impl FnMut(&[u8]) -> Option<usize>) -> io::Result<Taken> {
        let mut length = 0;
        let mut is_too_long = false;
        let is_delimited = loop {
            if let Some(more) = find(&self.unread()[length..]) {
                length += more;
                break true;
            }
            length = self.unread().len();
            if length > most_bytes {
                is_too_long = true;
                length = most_bytes.min(Self::SHOWN);
                self.drop_behind(length);
            }
            if !self.fill()? {
                break false;
            }
        };
        let delimiter = is_delimited.then(|| self.unread()[length]);
        is_too_long |= length > most_bytes;
        let shown = if is_too_long { most_bytes.min(Self::SHOWN) } else { length };
        let range = self.start..self.start + shown;
        self.consume(length + usize::from(is_delimited));
        Ok(Taken { range, delimiter, is_too_long })
    }

    /// Reads on; false at the end. What was consumed is overwritten.
    fn fill(&mut self) -> io::Result<bool> {
        if self.has_ended {
            return Ok(false);
        }
        let bytes = self.bytes.to_mut();
        if self.start > 0 {
            bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == bytes.len() {
            bytes.resize(2 * self.end, 0);
        }
        let read = self.input.read(&mut bytes[self.end..])?;
        self.end += read;
        self.has_ended = read == 0;
        Ok(read > 0)
    }

    fn consume(&mut self, bytes: usize) {
        self.count_lines(self.start..self.start + bytes);
        self.start += bytes;
    }

    /// Forgets all that was read but the first `bytes` of it.
    fn drop_behind(&mut self, bytes: usize) {
        self.count_lines(self.start + bytes..self.end);
        self.end = self.start + bytes;
    }

    fn count_lines(&mut self, range: Range<usize>) {
        self.line += memchr_iter(b'\n', &self.bytes[range]).count() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Fields;
    use peak_core::Schema;
    use proptest::prelude::*;
    use std::sync::Arc;

    const UNBOUNDED: usize = usize::MAX;

    /// Hands out at most `step` bytes at a time.
    struct Slow<'a> {
        bytes: &'a [u8],
        step: usize,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.step);
            self.bytes.read(&mut buffer[..length])
        }
    }

    /// A text that begins, repeats itself `times`, and ends, without ever being in memory.
    fn repeated(begin: &'static str, part: &'static [u8], times: u64, end: &'static str) -> impl Read {
        let parts = (0..times).map(move |_| part);
        let whole = begin.as_bytes().chain(Parts { parts, rest: &[] });
        whole.chain(end.as_bytes())
    }

    struct Parts<I> {
        parts: I,
        rest: &'static [u8],
    }

    impl<I: Iterator<Item = &'static [u8]>> Read for Parts<I> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.rest.is_empty() {
                self.rest = self.parts.next().unwrap_or_default();
            }
            self.rest.read(buffer)
        }
    }

    fn shapes() -> Shapes {
        Shapes::new(Arc::new(Fields::new(&Schema::file_types())))
    }

    /// Every frame or fault, with its place.
    fn frames(input: impl Read, most_bytes: usize) -> (Vec<String>, usize) {
        let mut framer = Framer::new(input, most_bytes);
        let frames = all(&mut framer);
        (frames, framer.input.bytes.len())
    }

    fn all<R: Read>(framer: &mut Framer<'_, R>) -> Vec<String> {
        let mut shapes = shapes();
        let mut frames = Vec::new();
        while let Some(Frame { record, line, bytes, .. }) = framer.next(&mut shapes).unwrap() {
            frames.push(match bytes {
                Ok(bytes) => format!("{record}/{line} {}", String::from_utf8_lossy(bytes)),
                Err(Fault { rule, found }) => format!("{record}/{line} {rule}, got {found}"),
            });
        }
        frames
    }

    fn frames_of_payload(text: &str) -> Vec<String> {
        all(&mut Framer::of_payload(text.as_bytes(), UNBOUNDED))
    }

    fn frames_of(text: &str) -> Vec<String> {
        frames(text.as_bytes(), UNBOUNDED).0
    }

    #[test]
    fn lines_are_records() {
        assert_eq!(frames_of("{1}\r\n\r\n  {2} \n\n\n{3}"), ["1/1 {1}", "2/3 {2}", "3/6 {3}"]);
        assert_eq!(frames_of(" \n"), [""; 0]);
    }

    #[test]
    fn elements_are_records() {
        let text = r#" [
            {"a": [1, {}],
             "b": "],\"}{"} ,
            {"a": "\\"},5
        ] "#;
        let expected =
            ["1/2 {\"a\": [1, {}],\n             \"b\": \"],\\\"}{\"}", r#"2/4 {"a": "\\"}"#, "3/4 5"];
        assert_eq!(frames_of(text), expected);
        assert_eq!(frames_of("[ ]\n"), [""; 0]);
    }

    #[test]
    fn a_broken_element_leaves_its_neighbours_alone() {
        assert_eq!(frames_of("[{1]},{2}},{3}]"), ["1/1 {1]}", "2/1 {2}}", "3/1 {3}"]);
        assert_eq!(frames_of("[,{2},]"), ["1/1 ", "2/1 {2}", "3/1 "]);
        assert_eq!(frames_of("[{1} {2},\n{3}]"), ["1/1 {1} {2}", "2/2 {3}"]);
        assert_eq!(frames_of("[{\"1},\n{2}},\n{3}]"), ["1/1 {\"1},\n{2}}", "2/3 {3}"]);
    }

    #[test]
    fn an_array_must_end_where_the_file_does() {
        let rule = "must be whole, but the input ends inside the array";
        assert_eq!(frames_of("["), [format!("1/1 {rule}, got nothing")]);
        assert_eq!(frames_of("[{1},\n{2}"), ["1/1 {1}", &format!("2/2 {rule}, got {{2}}")]);
        assert_eq!(frames_of("[{1},"), ["1/1 {1}", &format!("2/1 {rule}, got nothing")]);
        assert_eq!(
            frames_of("[{1}] \n{2}\n{3}"),
            ["1/1 {1}", "2/2 must not follow the end of the array, got {2}"]
        );
    }

    #[test]
    fn a_payload_may_be_one_object_over_lines_and_is_lines_otherwise() {
        let object = "{\n  \"a\": {\n\"b\": 1}\n}";
        assert_eq!(frames_of_payload(&format!("\n {object} \r\n")), [format!("1/2 {object}")]);
        assert_eq!(frames_of(object).len(), 4);
        // Two of them, or something else behind it: each line is a record.
        assert_eq!(frames_of_payload(&format!("{object}\n{object}")).len(), 8);
        assert_eq!(frames_of_payload(&format!("{object}x")).len(), 4);
        let lines = "{\"a\": 1}\n\n{\"a\": 2}\r\n{\n}\n";
        assert_eq!(frames_of_payload(lines), ["1/1 {\"a\": 1}", "2/3 {\"a\": 2}", "3/4 {", "4/5 }"]);
        assert_eq!(frames_of_payload(" [{\n},{}]\n"), ["1/1 {\n}", "2/2 {}"]);
        for empty in ["", " \n\r\n", "[]", "[ \n]"] {
            assert_eq!(frames_of_payload(empty), [""; 0]);
        }
    }

    #[test]
    fn a_record_of_100_mb_is_passed_over_in_little_memory() {
        const PART: &[u8] = &[b'x'; 10_000];
        let most_bytes = 1_000_000;
        for (begin, end) in [("{1}\n{\"a\": \"", "\"}\n{3}\n"), ("[{1},\n{\"a\": \"", "\"},\n{3}]")] {
            let (frames, capacity) = frames(repeated(begin, PART, 10_000, end), most_bytes);
            let beginning = format!("{{\"a\": \"{}", "x".repeat(Buffer::<io::Empty>::SHOWN - 7));
            assert_eq!(
                frames,
                ["1/1 {1}", &format!("2/2 must be at most 1000000 bytes, got {beginning}"), "3/3 {3}"]
            );
            assert!(capacity <= 2 * most_bytes, "{capacity} bytes for records of {most_bytes}");
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_records() {
        let (lines, capacity) = frames(repeated("", b"{\"a\": 1}\n", 100_000, ""), UNBOUNDED);
        assert_eq!(lines.len(), 100_000);
        assert_eq!(lines[99_999], "100000/100000 {\"a\": 1}");
        assert!(capacity <= 1 << 18, "{capacity}");
    }

    /// Text that looks like JSON, but seldom is.
    fn soup() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("{\"a\": 1}"),
            Just("["),
            Just("]"),
            Just("{"),
            Just("}"),
            Just(","),
            Just("\""),
            Just("\\"),
            Just("\n"),
            Just(" "),
            Just("é"),
        ];
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_how_the_input_arrives(text in soup(), in_array: bool, step in 1..64usize, most in 0..40usize) {
            let text = if in_array { format!("[{text}") } else { text };
            for most_bytes in [most, UNBOUNDED] {
                let (whole, _) = frames(text.as_bytes(), most_bytes);
                let (steps, _) = frames(Slow { bytes: text.as_bytes(), step }, most_bytes);
                prop_assert_eq!(&steps, &whole);
                if !is_object_over_lines(text.trim_ascii_start().as_bytes()) {
                    prop_assert_eq!(all(&mut Framer::of_payload(text.as_bytes(), most_bytes)), whole);
                }
            }
        }
    }
}
