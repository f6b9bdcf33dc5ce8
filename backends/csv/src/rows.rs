//! Cuts a stream of bytes into rows of cells, in memory that does not depend on its length.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr_iter;
use peak_core::read::Value;
use peak_core::{Error, Place, Position, Rejection, Result, Rule, RuleKind};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

/// The rows of one file.
pub(crate) struct Rows<R> {
    input: BufReader<R>,
    parser: Reader,
    /// Of the row that was read last.
    pub(crate) position: Position,
    /// The number of the row that was read last.
    record: u64,
    /// The line that comes next.
    line: u64,
    most_bytes: usize,
    /// The cells of the row back to back, and where each one ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
}

/// One row, quotes removed.
pub(crate) struct Row<'a> {
    pub(crate) position: &'a Position,
    cells: &'a [u8],
    ends: &'a [usize],
}

impl<R: Read> Rows<R> {
    const CHUNK: usize = 64 << 10;

    /// Rows of more than `most_bytes` are bad records, and not kept in memory.
    pub(crate) fn new(name: Arc<str>, input: R, delimiter: u8, most_bytes: usize) -> Self {
        Rows {
            input: BufReader::with_capacity(Self::CHUNK, input),
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            position: Position::nowhere(name),
            record: 0,
            line: 1,
            most_bytes,
            cells: vec![0; 1 << 10],
            ends: vec![0; 1 << 5],
        }
    }

    /// The names in the first row, which is no record; `None` when there is no row.
    pub(crate) fn header(&mut self) -> Result<Option<Vec<String>>> {
        let Some(row) = self.next()? else { return Ok(None) };
        let row = row?;
        let name = |column| String::from_utf8_lossy(row.cell(column).0.trim_ascii()).into_owned();
        let names = (0..row.ends.len()).map(name).collect();
        self.record = 0;
        Ok(Some(names))
    }

    /// The next row, or why it is a bad record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Result<Row<'_>, Rejection>>> {
        self.skip_line_ends()?;
        self.record += 1;
        self.position.place = Place::Line { record: self.record, line: self.line };
        let (mut bytes, mut length, mut count) = (0, 0, 0);
        // What the cells got so far, also where it is not kept, and the line on which the last one begins.
        let (mut put, mut cell_line) = (0, self.line);
        let mut ends_in_line_end = false;
        loop {
            let input = self.input.fill_buf().map_err(|source| Error::io(&self.position.origin, source))?;
            // At the end of the input the parser closes an open quote by itself. A line end tells: it ends a row,
            // unless it stands in quotes.
            let is_end = input.is_empty() && bytes > 0;
            let input = if is_end { &b"\n"[..] } else { input };
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut self.cells[length..], &mut self.ends[count..]);
            if !is_end {
                ends_in_line_end = input[..read].last().map_or(ends_in_line_end, |byte| *byte == b'\n');
                self.consume(read);
            } else if matches!(result, ReadRecordResult::InputEmpty) {
                // Nothing is open any more.
                self.parser.reset();
                let lines = self.line - cell_line - u64::from(ends_in_line_end);
                return Ok(Some(Err(self.open_quote(cell_line, lines))));
            }
            if !matches!(result, ReadRecordResult::Record) && ended > 0 {
                // Within a row, line ends stand in cells.
                let last_cell = self.ends[count + ended - 1] - put;
                let lines = memchr_iter(b'\n', &self.cells[length..][last_cell..written]).count();
                cell_line = self.line - lines as u64;
            }
            put += written;
            (bytes, length, count) = (bytes + read, length + written, count + ended);
            if bytes > self.most_bytes {
                // Read on without keeping it.
                (length, count) = (0, 0);
            }
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::InputEmpty
                | ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull => {
                    grow_when_full(&mut self.cells, length);
                    grow_when_full(&mut self.ends, count);
                }
            }
        }
        if bytes > self.most_bytes {
            let rule = Rule::at_most(self.most_bytes);
            return Ok(Some(Err(Rejection::new(self.position.clone(), None, rule, &bytes.to_string()))));
        }
        Ok(Some(Ok(Row {
            position: &self.position,
            cells: &self.cells[..length],
            ends: &self.ends[..count],
        })))
    }

    /// Why a row is a bad record whose last cell, on this line, has a quote that the input does not close; so many
    /// lines come after it.
    fn open_quote(&self, line: u64, lines: u64) -> Rejection {
        let value = match lines {
            0 => "none up to the end".to_owned(),
            lines => format!("none up to the end, {lines} lines below"),
        };
        let place = Place::Line { record: self.record, line };
        let position = Position::new(self.position.origin.clone(), place);
        Rejection::new(position, None, Rule::new(RuleKind::Syntax, "must close its quote"), &value)
    }

    /// Skips what the parser would skip, too, to know the line on which the row begins.
    fn skip_line_ends(&mut self) -> Result<()> {
        loop {
            let input = self.input.fill_buf().map_err(|source| Error::io(&self.position.origin, source))?;
            let skipped = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if skipped == 0 {
                return Ok(());
            }
            self.consume(skipped);
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.line += memchr_iter(b'\n', &self.input.buffer()[..bytes]).count() as u64;
        self.input.consume(bytes);
    }
}

fn grow_when_full<T: Clone + Default>(buffer: &mut Vec<T>, used: usize) {
    if used == buffer.len() {
        buffer.resize(2 * used, T::default());
    }
}

impl<'a> Row<'a> {
    pub(crate) fn cell(&self, column: usize) -> Cell<'a> {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        Cell(&self.cells[start..self.ends[column]])
    }

    /// Asserts that there is one cell for each column.
    pub(crate) fn check_len(&self, columns: usize) -> Result<(), Rejection> {
        let count = self.ends.len();
        if count == columns {
            return Ok(());
        }
        let rule = format!("must have one cell for each of {columns} columns");
        let rule = Rule::new(RuleKind::Width, rule);
        Err(Rejection::new(self.position.clone(), None, rule, &count.to_string()))
    }
}

/// A cell as it stands in its row, quotes removed.
pub(crate) struct Cell<'a>(&'a [u8]);

impl<'a> Value<'a> for Cell<'a> {
    fn is_absent(&self) -> bool {
        self.0.trim_ascii().is_empty()
    }

    fn source(&self) -> Cow<'a, str> {
        if self.is_absent() { "nothing".into() } else { String::from_utf8_lossy(self.0) }
    }

    fn text(&self) -> Result<Cow<'a, str>, Rule> {
        std::str::from_utf8(self.0).map(Cow::Borrowed).map_err(|_| Rule::utf8())
    }

    fn plain(&self) -> Option<&'a str> {
        if self.is_absent() { None } else { std::str::from_utf8(self.0).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_100_mb_is_passed_over_in_little_memory() {
        let most_bytes = 100_000;
        for byte in [b'x', b',', b'\n'] {
            let long = std::io::repeat(byte).take(100_000_000);
            let input = b"1\n\"\"\"".chain(long).chain(&b"\"\n3\n"[..]);
            let mut rows = Rows::new("f".into(), input, b',', most_bytes);
            assert_eq!(rows.next().unwrap().unwrap().unwrap().cell(0).0, b"1");
            let rejection = rows.next().unwrap().unwrap().err().unwrap();
            assert_eq!(
                rejection.to_string(),
                "f: record 2 (line 2): must be at most 100000 bytes, got 100000005"
            );
            assert_eq!(rows.next().unwrap().unwrap().unwrap().cell(0).0, b"3");
            assert!(rows.next().unwrap().is_none());
            let kept = rows.cells.capacity() + rows.ends.capacity() * size_of::<usize>();
            assert!(kept < 3 * most_bytes, "{kept} bytes for {byte}");
        }
    }
}
