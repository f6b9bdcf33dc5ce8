//! Readings: the values of some metrics of a key at a time.

use crate::series::Point;
use peak_core::{Key, Report, Result, Source, Span, Timestamp};
use std::ops::ControlFlow;
use std::{iter, slice};

/// The values of some metrics of a key at a time, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading<'a> {
    /// Whose metrics they are: a host, say.
    pub key: &'a Key,
    /// When they were read: event time.
    pub time: Timestamp,
    /// One value per metric; one that is missing is not a number.
    pub values: &'a [f64],
}

impl<'a> Reading<'a> {
    /// The values of the metrics of a key at a time.
    #[must_use]
    pub fn new(key: &'a Key, time: Timestamp, values: &'a [f64]) -> Self {
        Reading { key, time, values }
    }

    /// A point of a series, as the reading of a single metric.
    #[must_use]
    pub fn of_point(key: &'a Key, point: &'a Point) -> Self {
        Reading { key, time: point.time, values: slice::from_ref(&point.value) }
    }
}

/// A feed of readings in memory.
///
/// Of a source, the dimensions become the key and the measures the values:
///
/// ```
/// use peak_core::{Schema, Span};
/// use peak_detectors::Readings;
/// # use peak_core::{Intake, Record, Report, Result, Source, Timestamp};
/// # use std::ops::ControlFlow;
/// # struct Feed(Schema);
/// # impl Source for Feed {
/// #     fn schema(&self) -> &Schema { &self.0 }
/// #     fn scan(&self, span: Span, visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<Report> {
/// #         let mut intake = Intake::new(span);
/// #         for i in 0..4i64 {
/// #             let (time, measures) = (Timestamp::from_millis(i * 60_000)?, [Some(i as f64)]);
/// #             let record = Record::new(time, &["web-1"]).with_measures(&measures);
/// #             if intake.offer(&record, visit).is_break() { break; }
/// #         }
/// #         intake.finish()
/// #     }
/// # }
/// let schema = Schema::builder().time("timestamp").dimensions(["host"]).measures(["cpu", "memory"]).build()?;
/// # let source = Feed(schema);
/// let (readings, report) = Readings::scan(&source, Span::ALWAYS)?;
/// assert_eq!(report.records, readings.len() as u64);
/// let last = readings.iter().last().unwrap();
/// assert_eq!((last.key.to_string().as_str(), last.values[0]), ("web-1", 3.0));
/// assert!(last.values[1].is_nan());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// Key, time, and where the values end.
    readings: Vec<(Key, Timestamp, usize)>,
    values: Vec<f64>,
}

impl Readings {
    /// Appends a reading.
    pub fn push(&mut self, reading: &Reading<'_>) {
        self.values.extend_from_slice(reading.values);
        self.readings.push((reading.key.clone(), reading.time, self.values.len()));
    }

    /// The records of a source within a span: dimensions are keys, measures are values.
    ///
    /// # Errors
    /// Those of the source.
    pub fn scan<S: Source + ?Sized>(source: &S, span: Span) -> Result<(Self, Report)> {
        let mut readings = Readings::default();
        let measures = source.schema().measures().len();
        let report = source.scan(span, &mut |record| {
            let key = Key::new(record.dimensions);
            // Those at the end may be left out of a record.
            let missing = measures.saturating_sub(record.measures.len());
            let values = record.measures.iter().copied().chain(iter::repeat_n(None, missing));
            readings.values.extend(values.map(|value| value.unwrap_or(f64::NAN)));
            readings.readings.push((key, record.time, readings.values.len()));
            ControlFlow::Continue(())
        })?;
        Ok((readings, report))
    }

    /// How many readings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether there is no reading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// The reading at a place, counted from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<Reading<'_>> {
        let (key, time, end) = self.readings.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.readings[before].2);
        Some(Reading { key, time: *time, values: &self.values[start..*end] })
    }

    /// The readings, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Reading<'_>> {
        (0..self.len()).filter_map(|place| self.get(place))
    }
}
