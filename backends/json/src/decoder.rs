//! Makes records of JSON objects: those of files and those of payloads.

use crate::fields::Fields;
use crate::frame::{Fault, Frame, Framer};
use crate::shape::Shapes;
use peak_core::read::read_record;
use peak_core::{Decode, Position, Record, Rejection, Rule, RuleKind, Schema};
use std::ops::ControlFlow;
use std::sync::Arc;

/// JSON payloads as records: a message is one object, several on lines of their own, or an array of them.
///
/// It reads what [`JsonFiles`](crate::JsonFiles) reads, at the same speed, and one thing more: a payload that is
/// one object may stand on several lines. An empty payload holds no record.
///
/// What it learns of the records makes no difference but speed, so it is best kept for the whole of a feed.
///
/// ```
/// use peak_core::{BadRecords, Decode, Place, Position, Intake, Schema, Span};
/// use peak_json::JsonDecoder;
/// use std::ops::ControlFlow;
///
/// let schema = Schema::builder().time("at").dimensions(["host"]).measures(["load"]).build()?;
/// let mut decoder = JsonDecoder::new(schema);
/// let mut intake = Intake::new(Span::ALWAYS).on_bad_record(BadRecords::share(0.5)?);
/// let mut loads = Vec::new();
///
/// // In a service, the messages of a queue.
/// let messages = [
///     r#"{"at": "2024-01-01T10:00:00Z", "host": "web-1", "load": 0.5}"#,
///     r#"[{"at": "2024-01-01T10:00:01Z", "host": "web-2", "load": 0.25}, {"at": 0}]"#,
/// ];
/// for (offset, message) in (17..).zip(messages) {
///     let at = Position::new("metrics", Place::Offset { partition: 0, offset });
///     let _ = intake.decode(&mut decoder, message.as_bytes(), &at, &mut |record| {
///         loads.push(record.measures[0]);
///         ControlFlow::Continue(())
///     })?;
/// }
/// let report = intake.finish()?;
/// assert_eq!(loads, [Some(0.5), Some(0.25)]);
/// assert_eq!(
///     report.first_skipped[0].to_string(),
///     r#"metrics: partition 0, offset 18, record 2 (line 1): field "host" must be present, got nothing"#
/// );
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct JsonDecoder {
    schema: Schema,
    fields: Arc<Fields>,
    shapes: Shapes,
    max_record_bytes: usize,
}

impl JsonDecoder {
    /// A decoder of records with these fields.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        let fields = Arc::new(Fields::new(&schema));
        let shapes = Shapes::new(Arc::clone(&fields));
        JsonDecoder { schema, fields, shapes, max_record_bytes: 16 << 20 }
    }

    /// The size above which a record is a bad one; 16 MiB unless said.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes;
        self
    }

    pub(crate) fn most_bytes(&self) -> usize {
        self.max_record_bytes
    }

    /// What the next frame is to be compared with.
    pub(crate) fn shapes(&mut self) -> &mut Shapes {
        &mut self.shapes
    }

    /// Hands the record in a frame to `visit`, and returns what that returns. `at` is where the input begins.
    ///
    /// The frame must be from these [`shapes`](Self::shapes).
    pub(crate) fn read<R>(
        &mut self,
        frame: Frame<'_>,
        at: &Position,
        mut visit: impl FnMut(&Record<'_>) -> R,
    ) -> Result<R, Rejection> {
        let Frame { record, line, bytes, is_known } = frame;
        let at = || at.within(record, line);
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(Fault { rule, found }) => return Err(Rejection::new(at(), None, rule, &found)),
        };
        if let Some(read) = self.read_known(bytes, is_known, at, &mut visit) {
            return Ok(read);
        }
        let (object, read) = self.read_unknown(bytes, at, visit)?;
        self.shapes.learn(object);
        Ok(read)
    }

    /// Reads a record that is like others before it. `None` for any other and for a bad one.
    fn read_known<R>(
        &mut self,
        bytes: &[u8],
        is_known: bool,
        at: impl Fn() -> Position,
        visit: impl FnOnce(&Record<'_>) -> R,
    ) -> Option<R> {
        let shapes = &mut self.shapes;
        let is_known = is_known || shapes.read(bytes).is_some_and(|extent| extent.bytes == bytes.len());
        if !is_known {
            return None;
        }
        // At once, which takes less time than value by value.
        let text = std::str::from_utf8(bytes).ok()?;
        read_record(&self.schema, at, |field| shapes.value(text, field), visit).ok()
    }

    /// Reads any record; returns the object that it is, too.
    fn read_unknown<'a, R>(
        &self,
        bytes: &'a [u8],
        at: impl Fn() -> Position,
        visit: impl FnOnce(&Record<'_>) -> R,
    ) -> Result<(&'a str, R), Rejection> {
        let reject = |field: Option<usize>, rule: Rule, value: &str| {
            let field = field.and_then(|field| self.schema.fields().nth(field));
            Rejection::new(at(), field, rule, value)
        };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            reject(None, Rule::utf8(), &format!("byte {:#04x} at offset {at}", bytes[at]))
        })?;
        if !text.starts_with('{') {
            let found = if text.is_empty() { "nothing" } else { text };
            return Err(reject(None, Rule::new(RuleKind::Syntax, "must be a JSON object"), found));
        }
        let found = self.fields.find(text).map_err(|error| {
            let words = format!("must be valid JSON: {error} of the record");
            reject(None, Rule::new(RuleKind::Syntax, words), text)
        })?;
        if let Some((field, value)) = found.twice {
            return Err(reject(Some(field), Rule::new(RuleKind::Twice, "must be given once"), value));
        }
        Ok((text, read_record(&self.schema, &at, |field| found.value(field), visit)?))
    }
}

impl Decode for JsonDecoder {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn decode(
        &mut self,
        payload: &[u8],
        at: &Position,
        visit: &mut dyn FnMut(Result<&Record<'_>, Rejection>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let payload = payload.strip_prefix("\u{feff}".as_bytes()).unwrap_or(payload);
        let mut framer = Framer::of_payload(payload, self.max_record_bytes);
        // A payload is in memory: reading it does not fail.
        while let Ok(Some(frame)) = framer.next(&mut self.shapes) {
            match self.read(frame, at, |record| visit(Ok(record))) {
                Ok(flow) => flow?,
                Err(rejection) => visit(Err(rejection))?,
            }
        }
        ControlFlow::Continue(())
    }
}
