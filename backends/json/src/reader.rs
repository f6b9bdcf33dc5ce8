//! Reads the records of one input.

use crate::JsonFiles;
use crate::frame::{Frame, Framer};
use crate::shape::Shapes;
use peak_core::{Record, Rejection, Result};
use peak_files::{Cut, Input, Part, read_record};

/// The records of one input, or of a part of it.
pub(crate) struct Reader<'a> {
    source: &'a JsonFiles,
    framer: Framer<Input>,
    shapes: Shapes<'a>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a JsonFiles, input: Input) -> Self {
        let framer = Framer::new(input.name().clone(), input, source.max_record_bytes);
        Reader { source, framer, shapes: Shapes::new(&source.fields) }
    }

    /// Reads a part of an input; records and lines are counted from its beginning.
    pub(crate) fn of_part(source: &'a JsonFiles, part: &Part<'_>) -> Result<Self> {
        let Reader { mut framer, .. } = Reader::new(source, part.open()?);
        framer = match part.cut() {
            Some(Cut::BehindLineEnd) if part.is_continued() => framer.at_line(),
            Some(Cut::Before(_)) if part.is_continued() => framer.at_element(),
            _ => framer,
        };
        if part.is_cut_off() {
            framer = framer.cut_off();
        }
        Ok(Reader { source, framer, shapes: Shapes::new(&source.fields) })
    }

    /// Hands the next record to `visit`, or says why it is a bad one; `None` at the end.
    pub(crate) fn next(
        &mut self,
        mut visit: impl FnMut(&Record<'_>),
    ) -> Result<Option<Result<(), Rejection>>> {
        let Reader { source, framer, shapes } = self;
        let Some(frame) = framer.next(shapes)? else { return Ok(None) };
        Ok(Some(frame.and_then(|frame| {
            if read_known(source, shapes, &frame, &mut visit) {
                return Ok(());
            }
            let object = read_unknown(source, &frame, visit)?;
            shapes.learn(object);
            Ok(())
        })))
    }

    /// Whether a part of an array has ended where an element begins.
    pub(crate) fn is_before_element(&self) -> bool {
        self.framer.is_before_element()
    }

    /// How many records there were so far, and how many line ends up to the end of the last one.
    pub(crate) fn passed(&self) -> (u64, u64) {
        self.framer.passed()
    }
}

/// Reads a record that is like others before it. False for any other and for a bad one.
fn read_known(
    source: &JsonFiles,
    shapes: &mut Shapes<'_>,
    frame: &Frame<'_>,
    visit: impl FnOnce(&Record<'_>),
) -> bool {
    let &Frame { position, bytes, is_known } = frame;
    let is_known = is_known || shapes.read(bytes).is_some_and(|extent| extent.bytes == bytes.len());
    if !is_known {
        return false;
    }
    // At once, which takes less time than value by value.
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    read_record(&source.schema, position, |field| shapes.value(text, field), visit).is_ok()
}

/// Reads any record; returns the object that it is.
fn read_unknown<'a>(
    source: &JsonFiles,
    frame: &Frame<'a>,
    visit: impl FnOnce(&Record<'_>),
) -> Result<&'a str, Rejection> {
    let &Frame { position, bytes, .. } = frame;
    let reject = |field: Option<usize>, rule: String, value: &str| {
        let field = field.and_then(|field| source.schema.fields().nth(field));
        Rejection::new(position.clone(), field, rule, value)
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        reject(None, "must be UTF-8".into(), &format!("byte {:#04x} at offset {at}", bytes[at]))
    })?;
    if !text.starts_with('{') {
        let found = if text.is_empty() { "nothing" } else { text };
        return Err(reject(None, "must be a JSON object".into(), found));
    }
    let found = source
        .fields
        .find(text)
        .map_err(|error| reject(None, format!("must be valid JSON: {error} of the record"), text))?;
    if let Some((field, value)) = found.twice {
        return Err(reject(Some(field), "must be given once".into(), value));
    }
    read_record(&source.schema, position, |field| found.value(field), visit)?;
    Ok(text)
}
