//! Reads the records of one input.

use crate::frame::Framer;
use crate::{JsonDecoder, JsonFiles};
use peak_core::{Error, Place, Position, Record, Rejection, Result};
use peak_files::{Cut, Input, Part};

/// The records of one input, or of a part of it.
pub(crate) struct Reader {
    /// Where the input begins.
    at: Position,
    framer: Framer<'static, Input>,
    decoder: JsonDecoder,
}

/// A bad record, and its bytes if they can be told.
pub(crate) struct Bad<'a> {
    pub(crate) rejection: Rejection,
    pub(crate) raw: Option<&'a [u8]>,
}

impl Reader {
    pub(crate) fn new(source: &JsonFiles, input: Input) -> Self {
        let at = Position::new(input.name().clone(), Place::Line { record: 1, line: 1 });
        let decoder = source.decoder.clone();
        Reader { at, framer: Framer::new(input, decoder.most_bytes()), decoder }
    }

    /// Reads a part of an input; records and lines are counted from its beginning.
    pub(crate) fn of_part(source: &JsonFiles, part: &Part<'_>) -> Result<Self> {
        let Reader { at, mut framer, decoder } = Reader::new(source, part.open()?);
        framer = match part.cut() {
            Some(Cut::BehindLineEnd) if part.is_continued() => framer.at_line(),
            Some(Cut::Before(_)) if part.is_continued() => framer.at_element(),
            _ => framer,
        };
        if part.is_cut_off() {
            framer = framer.cut_off();
        }
        Ok(Reader { at, framer, decoder })
    }

    /// Hands the next record to `visit`, or says why it is a bad one; `None` at the end.
    pub(crate) fn next<R>(
        &mut self,
        visit: impl FnMut(&Record<'_>) -> R,
    ) -> Result<Option<Result<R, Bad<'_>>>> {
        let Reader { at, framer, decoder } = self;
        let next = framer.next(decoder.shapes());
        let Some(frame) = next.map_err(|error| Error::io(&at.origin, error))? else { return Ok(None) };
        let raw = frame.bytes.as_ref().ok().copied();
        Ok(Some(decoder.read(frame, at, visit).map_err(|rejection| Bad { rejection, raw })))
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
