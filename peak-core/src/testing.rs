//! Checks of the laws, for the tests of backends and of anything that merges.
//!
//! They panic with what differs, as assertions do. Third parties are meant to use them.

use crate::{Combine, KeyWindow, LocalTable, Merge, Result, Source, Span, Timestamp, Windows};
use std::fmt::Debug;
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
/// whole; every record has the schema's shape; and `windows` equals folding `scan`.
///
/// # Errors
/// What the source returns.
///
/// # Panics
/// When the contract is broken.
pub fn check_source(source: &dyn Source) -> Result<()> {
    let (first, last) = extent(source)?;
    assert!(first < last, "the source needs records at two different times");
    let after = Timestamp::from_millis(last.millis() + 1)?;
    let whole = Span::new(first, after)?;

    let all = table(source, whole)?;
    assert_eq!(table(source, whole)?, all, "scanning twice differs");
    let without_last = table(source, Span::new(first, last)?)?;
    assert!(events(&without_last) < events(&all), "the end of a span must not belong to it");

    let middle = Timestamp::from_millis(first.millis() + (after.millis() - first.millis()) / 2)?;
    let mut halves = LocalTable::new(whole);
    for half in [Span::new(first, middle)?, Span::new(middle, after)?] {
        source.scan(half, &mut |record| {
            assert!(half.contains(record.time), "a record at {} was handed out for {half}", record.time);
            halves.add(record);
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
        assert_eq!(record.sample.is_some(), schema.sample().is_some(), "sample: {record:?}");
        assert_eq!(record.dimensions.len(), schema.dimensions().len(), "dimensions: {record:?}");
        assert_eq!(record.blame.len(), schema.blame().len(), "blame: {record:?}");
        assert_eq!(record.measures.len(), schema.measures().len(), "measures: {record:?}");
        assert!(record.measures.iter().flatten().all(|x| x.is_finite()), "measures: {record:?}");
        first = first.min(record.time);
        last = last.max(record.time);
        records += 1;
    })?;
    assert_eq!(report.records, records, "the report does not count what was handed out");
    Ok((first, last))
}

fn table(source: &dyn Source, span: Span) -> Result<LocalTable> {
    let mut table = LocalTable::new(span);
    source.scan(span, &mut |record| assert!(table.add(record), "outside {span}: {record:?}"))?;
    Ok(table)
}

fn events(table: &LocalTable) -> u64 {
    table.iter().map(|(_, tally)| tally.events()).sum()
}

fn check_windows(source: &dyn Source, windows: &Windows) -> Result<()> {
    let mut handed_out: Vec<KeyWindow> = Vec::new();
    source.windows(windows, &mut |found| handed_out.push(found))?;
    let mut folded = Vec::new();
    for span in windows {
        folded.extend(table(source, span)?.finish());
    }
    assert_eq!(handed_out, folded, "windows does not equal the fold of scan");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CountMoments, Counts, ExactSum, LabelMoments, Moments, Quantiles, Record, Report, Schema, Tally,
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

        fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>)) -> Result<Report> {
            let mut report = Report::default();
            for &time in &self.times {
                let record = Record {
                    time: Timestamp::from_millis(time)?,
                    sample: Some("s"),
                    dimensions: if self.fault == "shape" { &[] } else { &["d"] },
                    blame: &[],
                    measures: &[],
                };
                if self.fault == "closed" && record.time == span.end() {
                    visit(&record);
                }
                report.offer(span, &record, visit);
            }
            report.records += u64::from(self.fault == "report");
            Ok(report)
        }

        fn windows(&self, windows: &Windows, visit: &mut dyn FnMut(KeyWindow)) -> Result<Report> {
            for span in windows {
                let mut found = table(self, span)?.finish();
                if self.fault == "push-down" {
                    found.iter_mut().for_each(|found| found.window.events += 1);
                }
                found.into_iter().for_each(&mut *visit);
            }
            Ok(Report::default())
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
        for fault in ["shape", "closed", "report", "push-down"] {
            let result = std::panic::catch_unwind(|| check_source(&memory(fault)));
            assert!(result.is_err(), "the fault {fault:?} was not found");
        }
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop_oneof![prop::num::f64::ANY, -1e3..1e3, Just(0.0), Just(-0.0)], 0..12)
    }

    fn labels() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-d]", 0..12)
    }

    fn tally(labels: &[String]) -> Tally {
        let mut tally = Tally::default();
        for label in labels {
            let measure = f64::from(label.as_bytes()[0]) * 0.1;
            let blame = (label != "a").then_some("who");
            tally.add(&Record {
                time: Timestamp::MIN,
                sample: Some(label),
                dimensions: &[],
                blame: &[blame],
                measures: &[Some(measure)],
            });
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
            check_merge(&tally(&labels[0]), &tally(&labels[1]), &tally(&labels[2]));
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
