//! Checks of the laws, for the tests of backends and of anything that merges.
//!
//! They panic with what differs, as assertions do. Third parties are meant to use them.

use crate::{
    Combine, Decode, LocalTable, Merge, Place, Position, Record, Rejection, Result, Schema, Source, Span,
    Summaries, Timestamp, Windows,
};
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// Asserts the laws of [`Merge`] on three values, with exact equality: associative, commutative, the
/// default is the identity.
///
/// # Panics
/// When a law is broken.
pub fn check_merge<T: Merge + Clone + PartialEq + Debug>(a: &T, b: &T, c: &T) {
    let merged = |x: &T, y: &T| {
        let mut sum = x.clone();
        sum.merge(y);
        sum
    };
    assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)), "merge is not associative");
    assert_eq!(merged(a, b), merged(b, a), "merge is not commutative");
    for x in [a, b, c] {
        assert_eq!(&merged(x, &T::default()), x, "the default is not a right identity");
        assert_eq!(&merged(&T::default(), x), x, "the default is not a left identity");
    }
    assert_eq!(merged(&T::default(), &T::default()), T::default(), "empty and empty is not empty");
}

/// Asserts the laws of [`Combine`] on three values, with exact equality: those of [`Merge`] when all are
/// exact; and when one is bounded that what comes out is, that two may be swapped, and that the default
/// is the identity.
///
/// # Panics
/// When a law is broken.
pub fn check_combine<T: Combine + Clone + PartialEq + Debug>(a: &T, b: &T, c: &T) {
    let combined = |x: &T, y: &T| {
        let mut sum = x.clone();
        sum.combine(y);
        sum
    };
    assert!(T::default().is_exact(), "the default is not exact");
    for (x, y) in [(a, b), (a, c), (b, c)] {
        let sum = combined(x, y);
        assert_eq!(sum, combined(y, x), "combine is not commutative");
        assert_eq!(sum.is_exact(), x.is_exact() && y.is_exact(), "exactness is gained or lost");
    }
    if [a, b, c].iter().all(|x| x.is_exact()) {
        let (left, right) = (combined(&combined(a, b), c), combined(a, &combined(b, c)));
        assert_eq!(left, right, "combine of exact values is not associative");
    }
    let empty = T::default();
    for x in [a, b, c, &empty] {
        assert_eq!(&combined(x, &empty), x, "the default is not a right identity");
        assert_eq!(&combined(&empty, x), x, "the default is not a left identity");
    }
}

/// Asserts the contract of a [`Source`] on its own records, which must have at least two different
/// times: scanning twice gives the same records; a span is half-open and the parts of a span give the
/// whole; every record has the schema's shape; `windows` equals folding `scan`; and both stop when they are
/// told to.
///
/// # Errors
/// What the source returns.
///
/// # Panics
/// When the contract is broken.
pub fn check_source(source: &dyn Source) -> Result<()> {
    let (first, last) = extent(source)?;
    assert!(first < last, "the source needs records at two different times");
    check_stopping(source)?;
    let after = Timestamp::from_millis(last.millis() + 1)?;
    let whole = Span::new(first, after)?;

    let all = table(source, whole)?;
    assert_eq!(table(source, whole)?, all, "scanning twice differs");
    let without_last = table(source, Span::new(first, last)?)?;
    assert!(records(&without_last) < records(&all), "the end of a span must not belong to it");

    let middle = Timestamp::from_millis(first.millis() + (after.millis() - first.millis()) / 2)?;
    let mut halves = LocalTable::new(Arc::new(source.schema().clone()), whole);
    for half in [Span::new(first, middle)?, Span::new(middle, after)?] {
        source.scan(half, &mut |record| {
            assert!(half.contains(record.time), "a record at {} was handed out for {half}", record.time);
            assert!(halves.add(record).is_ok_and(|is_inside| is_inside), "{record:?}");
            ControlFlow::Continue(())
        })?;
    }
    assert_eq!(halves, all, "the halves of a span do not make the whole");

    check_windows(source, &whole.into())?;
    let seventh = Duration::from_millis((whole.duration().as_millis() as u64).div_ceil(7));
    check_windows(source, &Windows::every(whole, seventh)?)?;
    let with_gaps = Windows::every(whole, seventh)?.into_iter().step_by(2).collect();
    check_windows(source, &Windows::new(with_gaps)?)
}

/// The times of the first and the last record; checks every record's shape on the way.
fn extent(source: &dyn Source) -> Result<(Timestamp, Timestamp)> {
    let schema = source.schema();
    let (mut first, mut last, mut records) = (Timestamp::MAX, Timestamp::MIN, 0);
    let report = source.scan(Span::ALWAYS, &mut |record| {
        check_shape(schema, record);
        first = first.min(record.time);
        last = last.max(record.time);
        records += 1;
        ControlFlow::Continue(())
    })?;
    assert_eq!(report.records, records, "the report does not count what was handed out");
    assert!(!report.stopped, "the report says that the source was stopped, but no one did");
    Ok((first, last))
}

fn check_shape(schema: &Schema, record: &Record<'_>) {
    let shape = schema.check(record);
    assert!(shape.is_ok(), "shape: {shape:?}");
}

/// After so many records, exactly so many were handed out; windows likewise.
fn check_stopping(source: &dyn Source) -> Result<()> {
    let most = source.scan(Span::ALWAYS, &mut |_| ControlFlow::Continue(()))?.records;
    for wanted in [1, 2, most / 2, most - 1, most] {
        if wanted == 0 {
            continue;
        }
        let mut handed_out = 0;
        let report = source.scan(Span::ALWAYS, &mut |_| until(&mut handed_out, wanted))?;
        assert_eq!(handed_out, wanted, "the source was told to stop after {wanted} records");
        assert_eq!(report.records, wanted, "the report does not count what was handed out");
        assert!(report.stopped, "the report does not say that the source was stopped");
    }
    let mut handed_out = 0;
    let report = source.windows(&Span::ALWAYS.into(), &mut |_| until(&mut handed_out, 1))?;
    assert_eq!(handed_out, 1, "the source was told to stop after one window");
    assert!(report.stopped, "the report does not say that the source was stopped");
    Ok(())
}

/// Counts one more, and breaks with the last that is wanted.
fn until(handed_out: &mut u64, wanted: u64) -> ControlFlow<()> {
    *handed_out += 1;
    if *handed_out < wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn table(source: &dyn Source, span: Span) -> Result<LocalTable> {
    let mut table = LocalTable::new(Arc::new(source.schema().clone()), span);
    source.scan(span, &mut |record| {
        let added = table.add(record);
        assert!(matches!(added, Ok(true)), "outside {span}, or of another shape: {record:?}, {added:?}");
        ControlFlow::Continue(())
    })?;
    Ok(table)
}

fn records(table: &LocalTable) -> u64 {
    table.iter().map(|(_, tally)| tally.records()).sum()
}

fn check_windows(source: &dyn Source, windows: &Windows) -> Result<()> {
    let mut handed_out: Vec<Summaries> = Vec::new();
    let report = source.windows(windows, &mut |found| {
        handed_out.push(found);
        ControlFlow::Continue(())
    })?;
    let mut counted = 0;
    source.scan(Span::ALWAYS, &mut |record| {
        counted += u64::from(windows.find(record.time).is_some());
        ControlFlow::Continue(())
    })?;
    assert_eq!(report.records, counted, "the report does not count what the windows hold");
    handed_out.retain(|found| !found.is_empty());
    handed_out.sort_by_key(Summaries::span);
    let mut folded = Vec::new();
    for span in windows {
        folded.push(table(source, span)?.finish());
    }
    folded.retain(|found| !found.is_empty());
    assert_eq!(handed_out, folded, "windows does not equal the fold of scan");
    Ok(())
}

/// Asserts the contract of a [`Decode`]r on these payloads, which must hold a record: every record has the
/// schema's shape; the position changes nothing but those of bad records, which are within it; two decoders give
/// the same answers, and one that has seen all payloads gives the same each time; it stops when it is told to;
/// and whatever end of a payload is cut off and whichever byte is another, it does not panic.
///
/// `make` makes a new decoder. One without a memory must also pass [`check_stateless_decoder`].
///
/// # Panics
/// When the contract is broken.
pub fn check_decoder<D: Decode>(make: impl Fn() -> D, payloads: &[&[u8]]) {
    let all = |decoder: &mut D, at: &Position| -> Vec<Decoded> {
        payloads.iter().map(|payload| Decoded::of(decoder, payload, at)).collect()
    };
    let places =
        [Place::Line { record: 7, line: 9 }, Place::Offset { partition: 1, offset: 2 }, Place::Nowhere];
    let [mut first, mut second, mut third] = std::array::from_fn(|_| make());
    let [line, offset, nowhere] = places.map(|place| Position::new("payload", place));
    let new = all(&mut first, &line);
    assert!(new.iter().any(|decoded| decoded.records > 0), "the payloads need a record");
    assert_eq!(all(&mut second, &line), new, "two decoders differ");
    let elsewhere = all(&mut third, &offset);
    for (here, there) in new.iter().zip(&elsewhere) {
        assert_eq!(here.items, there.items, "the position changes the answers");
    }
    for (decoded, at) in new.iter().map(|new| (new, &line)).chain(elsewhere.iter().map(|new| (new, &offset)))
    {
        for position in &decoded.positions {
            assert_eq!(position.origin, at.origin, "a rejection is not within the payload's position");
            if let Place::Offset { .. } = at.place {
                assert_eq!(position.place, at.place, "a rejection is not within the payload's position");
            }
        }
    }
    let again = all(&mut first, &line);
    assert_eq!(all(&mut first, &line), again, "the same payloads give other answers the next time");

    for payload in payloads {
        // Whatever a decoder has learned.
        let whole = Decoded::of(&mut first, payload, &nowhere);
        let most = whole.items.len();
        for wanted in [1, 2, most / 2, most] {
            if wanted == 0 || wanted > most {
                continue;
            }
            let mut handed_out = 0;
            let flow = first.decode(payload, &nowhere, &mut |_| until(&mut handed_out, wanted as u64));
            assert_eq!(handed_out, wanted as u64, "the decoder was told to stop after {wanted} records");
            assert!(flow.is_break(), "the decoder was told to stop, and does not say so");
        }
    }
    each_damaged(payloads, |damaged| {
        // Also with what it has learned from damaged ones.
        Decoded::of(&mut first, damaged, &nowhere);
        Decoded::of(&mut make(), damaged, &nowhere);
    });
}

/// Asserts the contract of a [`Decode`]r without a memory: besides what [`check_decoder`] does, that each
/// payload gives the same answer whatever came before it, stopped or damaged payloads included.
///
/// # Panics
/// When the contract is broken.
pub fn check_stateless_decoder<D: Decode>(make: impl Fn() -> D, payloads: &[&[u8]]) {
    check_decoder(&make, payloads);
    let at = Position::nowhere("payload");
    let alone: Vec<Decoded> = payloads.iter().map(|payload| Decoded::of(&mut make(), payload, &at)).collect();
    let mut decoder = make();
    let check = |decoder: &mut D| {
        let in_any_order = (0..payloads.len()).chain((0..payloads.len()).rev());
        for i in in_any_order {
            let decoded = Decoded::of(decoder, payloads[i], &at);
            assert_eq!(decoded, alone[i], "the answer depends on what came before");
            let _ = decoder.decode(payloads[i], &at, &mut |_| ControlFlow::Break(()));
        }
    };
    check(&mut decoder);
    each_damaged(payloads, |damaged| {
        let decoded = Decoded::of(&mut decoder, damaged, &at);
        let alone = Decoded::of(&mut make(), damaged, &at);
        assert_eq!(decoded, alone, "the answer depends on what came before");
    });
    check(&mut decoder);
}

/// Everything that a decoder says of a payload.
#[derive(Debug, PartialEq)]
struct Decoded {
    items: Vec<String>,
    records: usize,
    positions: Vec<Position>,
}

impl Decoded {
    fn of(decoder: &mut impl Decode, payload: &[u8], at: &Position) -> Self {
        let schema = decoder.schema().clone();
        let mut decoded = Decoded { items: Vec::new(), records: 0, positions: Vec::new() };
        let flow = decoder.decode(payload, at, &mut |read| {
            match read {
                Ok(record) => {
                    check_shape(&schema, record);
                    decoded.records += 1;
                    decoded.items.push(format!("{record:?}"));
                }
                Err(Rejection { position, field, rule, value }) => {
                    decoded.items.push(format!("{field:?} {rule:?} {value:?}"));
                    decoded.positions.push(position);
                }
            }
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue(), "the decoder stopped without being told to");
        decoded
    }
}

/// Payloads with their ends cut off or one byte changed; of long payloads, at some hundred places.
fn each_damaged(payloads: &[&[u8]], mut each: impl FnMut(&[u8])) {
    const PLACES: usize = 256;
    for payload in payloads {
        let step = payload.len().div_ceil(PLACES).max(1);
        for at in (0..payload.len()).step_by(step) {
            each(&payload[..at]);
            for mask in [0x01, 0x20, 0x80, 0xff] {
                let mut flipped = payload.to_vec();
                flipped[at] ^= mask;
                each(&flipped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CountMoments, Counts, ExactSum, Intake, Key, LabelMoments, Moments, Quantiles, Report, Rule, Summary,
        Tally,
    };
    use proptest::prelude::*;

    /// Records in memory, with faults that the check must find.
    struct Memory {
        schema: Schema,
        times: Vec<i64>,
        fault: &'static str,
    }

    impl Source for Memory {
        fn schema(&self) -> &Schema {
            &self.schema
        }

        fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
            let mut intake = Intake::new(span);
            for &time in &self.times {
                let dimensions: &[&str] = if self.fault == "shape" { &[] } else { &["d"] };
                let labels = [Some("s")];
                let record = Record::new(Timestamp::from_millis(time)?, dimensions).with_labels(&labels);
                if self.fault == "closed" && record.time == span.end() {
                    let _ = visit(&record);
                }
                if intake.offer(&record, visit).is_break() && self.fault != "goes on" {
                    break;
                }
            }
            let mut report = intake.finish()?;
            report.records += u64::from(self.fault == "report");
            report.stopped &= self.fault != "silent";
            Ok(report)
        }

        fn windows(
            &self,
            windows: &Windows,
            visit: &mut dyn FnMut(Summaries) -> ControlFlow<()>,
        ) -> Result<Report> {
            let mut report = Report::default();
            for span in windows {
                let found = table(self, span)?.finish();
                report.records += found.iter().map(|(_, summary)| summary.records).sum::<u64>();
                report.records += u64::from(self.fault == "windows' report");
                let (schema, more) = (Arc::clone(found.schema()), u64::from(self.fault == "push-down"));
                let row = |(key, summary): (Key, Summary)| {
                    let mut summary = summary;
                    summary.records += more;
                    (key, summary)
                };
                let found = Summaries::new(schema, span, found.into_rows().into_iter().map(row))?;
                report.stopped = visit(found).is_break();
                if report.stopped {
                    break;
                }
            }
            Ok(report)
        }
    }

    fn memory(fault: &'static str) -> Memory {
        let schema = Schema::builder().time("t").sample("s").dimensions(["d"]).build().unwrap();
        Memory { schema, times: vec![5, 900, 17, 40, 41, 42, 899], fault }
    }

    /// Takes the first of two that differ.
    #[derive(Debug, Clone, PartialEq, Default)]
    struct First(Option<u8>);

    impl Combine for First {
        fn combine(&mut self, other: &Self) {
            self.0 = self.0.or(other.0);
        }

        fn is_exact(&self) -> bool {
            self.0 != Some(9)
        }
    }

    #[test]
    fn what_breaks_a_law_of_combining_is_found() {
        let check =
            |c| std::panic::catch_unwind(move || check_combine(&First(Some(1)), &First(Some(1)), &First(c)));
        assert!(check(Some(1)).is_ok() && check(None).is_ok());
        assert!(check(Some(2)).is_err() && check(Some(9)).is_err());
    }

    #[test]
    fn a_faithful_source_passes() {
        check_source(&memory("")).unwrap();
    }

    #[test]
    fn every_fault_is_found() {
        let faults = ["shape", "closed", "report", "push-down", "goes on", "silent", "windows' report"];
        for fault in faults {
            let result = std::panic::catch_unwind(|| check_source(&memory(fault)));
            assert!(result.is_err(), "the fault {fault:?} was not found");
        }
    }

    /// Each byte is a record at that time, but for 0 and those above 99, with faults that the check must find.
    struct Bytes {
        schema: Schema,
        fault: &'static str,
        decoded: usize,
    }

    impl Decode for Bytes {
        fn schema(&self) -> &Schema {
            &self.schema
        }

        fn decode(
            &mut self,
            payload: &[u8],
            at: &Position,
            visit: &mut dyn FnMut(Result<&Record<'_>, Rejection>) -> ControlFlow<()>,
        ) -> ControlFlow<()> {
            self.decoded += 1;
            let is_first_line = matches!(at.place, Place::Line { .. });
            for (number, &byte) in (1..).zip(payload) {
                assert!(self.fault != "panics" || byte != 0xfe);
                let time = Timestamp::from_millis(i64::from(byte)).unwrap_or(Timestamp::MIN);
                let has_no_shape = self.fault == "shape";
                let dimensions: &[&str] = if has_no_shape { &[] } else { &["d"] };
                let record = Record::new(time, dimensions);
                let flow = match byte {
                    0 | 100.. => {
                        let at = if self.fault == "position" {
                            Position::nowhere("?")
                        } else {
                            at.within(number, 1)
                        };
                        visit(Err(Rejection::new(at, Some("t"), Rule::time(), "")))
                    }
                    1 if self.fault == "impure" && is_first_line => ControlFlow::Continue(()),
                    1 if self.fault == "remembers" && self.decoded > 1 => ControlFlow::Continue(()),
                    1 if self.fault == "forgets" && self.decoded.is_multiple_of(2) => {
                        ControlFlow::Continue(())
                    }
                    _ => visit(Ok(&record)),
                };
                if self.fault != "goes on" {
                    flow?;
                }
            }
            if self.fault == "breaks" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    fn bytes(fault: &'static str) -> impl Fn() -> Bytes {
        let schema = Schema::builder().time("t").dimensions(["d"]).build().unwrap();
        move || Bytes { schema: schema.clone(), fault, decoded: 0 }
    }

    const PAYLOADS: [&[u8]; 4] = [&[1, 2, 3], &[0, 1, 200], &[], &[1, 1]];

    #[test]
    fn a_faithful_decoder_passes() {
        check_stateless_decoder(bytes(""), &PAYLOADS);
        let boxed = || Box::new(bytes("")()) as Box<dyn Decode>;
        check_decoder(boxed, &PAYLOADS);
        // A memory that settles is allowed.
        check_decoder(bytes("remembers"), &PAYLOADS);
    }

    #[test]
    fn every_fault_of_a_decoder_is_found() {
        for fault in ["shape", "position", "panics", "impure", "forgets", "goes on", "breaks"] {
            let result = std::panic::catch_unwind(|| check_decoder(bytes(fault), &PAYLOADS[..3]));
            assert!(result.is_err(), "the fault {fault:?} was not found");
        }
        let result = std::panic::catch_unwind(|| check_stateless_decoder(bytes("remembers"), &PAYLOADS));
        assert!(result.is_err(), "a memory was not found");
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop_oneof![prop::num::f64::ANY, -1e3..1e3, Just(0.0), Just(-0.0)], 0..12)
    }

    fn labels() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-d]", 0..12)
    }

    fn tally(labels: &[String]) -> Tally {
        let fields = Schema::builder().time("t").sample("s").blame(["b"]).measures(["m"]);
        let schema = fields.quantiles(["m"]).moments_by("b", "m").build().unwrap();
        let mut tally = Tally::default();
        for label in labels {
            let measure = f64::from(label.as_bytes()[0]) * 0.1;
            let blame = (label != "a").then_some("who");
            let labels = [Some(label.as_str()), blame];
            let record = Record::new(Timestamp::MIN, &[]).with_labels(&labels);
            tally.add(&schema, &record.with_measures(&[Some(measure)]).with_weight(1 + measure as u64));
        }
        tally
    }

    proptest! {
        #[test]
        fn everything_that_accumulates_merges(counts: [Vec<u64>; 3], values in prop::array::uniform3(values()), labels in prop::array::uniform3(labels())) {
            let [a, b, c] = counts.map(CountMoments::from_iter);
            check_merge(&a, &b, &c);
            let [a, b, c] = values.clone().map(Moments::from_iter);
            check_merge(&a, &b, &c);
            let [a, b, c] = values.clone().map(Quantiles::from_iter);
            check_merge(&a, &b, &c);
            let [a, b, c] = values.map(|values| {
                let mut sum = ExactSum::default();
                values.iter().for_each(|&x| sum.add(x));
                sum
            });
            check_merge(&a, &b, &c);
            let [a, b, c] = labels.clone().map(|labels| {
                let mut counts = Counts::default();
                labels.iter().for_each(|label| _ = counts.add(label, 1));
                counts
            });
            check_combine(&a, &b, &c);
            check_combine(&tally(&labels[0]), &tally(&labels[1]), &tally(&labels[2]));
        }

        #[test]
        fn what_is_exact_until_bounded_combines(sizes in prop::array::uniform3(0..400u32), times in prop::array::uniform3(0..2usize)) {
            let parts = [0, 1, 2].map(|part| {
                let (mut counts, mut moments) = (Counts::default(), LabelMoments::default());
                for i in 0..sizes[part] {
                    let (label, count) = ((i * i % 211 + part as u32).to_string(), u64::from(i % 5));
                    counts.add(&label, count);
                    moments.push_times(&label, f64::from(i % 17) - 7.9, count);
                }
                (0..times[part]).for_each(|_| _ = (counts.bound(), moments.bound()));
                (counts, moments)
            });
            let [a, b, c] = &parts;
            check_combine(&a.0, &b.0, &c.0);
            check_combine(&a.1, &b.1, &c.1);
        }

        #[test]
        fn moments_built_in_any_order_are_equal(mut values in values(), split in 0..12usize) {
            let whole = Moments::from_iter(values.iter().copied());
            let (left, right) = values.split_at(split.min(values.len()));
            let mut merged = Moments::from_iter(right.iter().copied());
            merged.merge(&Moments::from_iter(left.iter().copied()));
            prop_assert_eq!(&merged, &whole);
            values.reverse();
            prop_assert_eq!(Moments::from_iter(values), whole);
        }
    }
}
