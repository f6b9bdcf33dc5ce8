//! Which days the data cover, where a few records with wrong times must not decide.

use crate::args::Args;
use crate::plan;
use crate::show::{cell, say};
use anyhow::{Result, bail};
use chrono::{Days, NaiveDateTime, NaiveTime};
use peak_core::{Source, Span, Timestamp};
use peak_detectors::{Engine, Peak};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const DAY_MILLIS: i64 = 86_400_000;

/// Records that lie apart from all others, by this much or more, are far.
const FAR: i64 = 7 * DAY_MILLIS;

/// Far records are stray when they are so much thinner than the others, by records a day.
const THINNER: u128 = 20;

/// How many of the places where stray records are get a line of their own.
const MOST_NAMED: usize = 5;

/// Records without a long silence between them.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: Timestamp,
    last: Timestamp,
    records: u64,
}

impl Part {
    fn new(time: Timestamp) -> Self {
        Part { first: time, last: time, records: 1 }
    }

    fn add(&mut self, other: Part) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.records += other.records;
    }

    /// How many milliseconds lie between this one and one that comes later.
    fn silence_before(&self, later: &Part) -> i64 {
        later.first.millis() - self.last.millis()
    }

    fn days(&self) -> u128 {
        1 + u128::from(self.last.millis().abs_diff(self.first.millis())) / DAY_MILLIS as u128
    }

    fn is_thin_beside(&self, other: &Part) -> bool {
        let [own, others] = [self, other].map(|part| u128::from(part.records));
        THINNER * own * other.days() <= others * self.days()
    }
}

/// From the midnight before the first record within the span to the midnight after the last; `None` without a record.
///
/// A clock that is wrong makes windows up to its time, and in these a history forgets all it has. So records that lie
/// after tomorrow, or are few and far from all others, are set aside and told.
///
/// # Errors
/// When all records lie after tomorrow, or so long a silence lies in the middle that a history would not outlast it.
pub(crate) fn of_the_data(
    args: &Args,
    source: &dyn Source,
    within: Span,
) -> Result<Option<(NaiveDateTime, NaiveDateTime)>> {
    let tomorrow_ends = plan::end_of_tomorrow(args);
    let limit = if args.far_days { Timestamp::MAX } else { Timestamp::from_local(tomorrow_ends, args.zone) };
    let (mut days, mut ahead) = (BTreeMap::<i64, Part>::new(), None::<Part>);
    source.scan(within, &mut |record| {
        let part = Part::new(record.time);
        if record.time >= limit {
            ahead.get_or_insert(Part { records: 0, ..part }).add(part);
        } else {
            let day = record.time.millis() / DAY_MILLIS;
            days.entry(day).or_insert(Part { records: 0, ..part }).add(part);
        }
        ControlFlow::Continue(())
    })?;
    let mut parts: Vec<Part> = Vec::new();
    for day in days.into_values() {
        match parts.last_mut() {
            Some(part) if args.far_days || part.silence_before(&day) < FAR => part.add(day),
            _ => parts.push(day),
        }
    }
    let Some(main) = parts.iter().copied().max_by_key(|part| part.records) else {
        let Some(Part { first, .. }) = ahead else { return Ok(None) };
        bail!(
            "all records lie after tomorrow, which ends {tomorrow_ends}, from {first} on; --far-days judges them"
        );
    };
    // What is thin between others makes no windows that are not there anyway.
    let is_dense = |part: &Part| !part.is_thin_beside(&main);
    let first = parts.iter().position(is_dense).unwrap_or(0);
    let end = parts.iter().rposition(is_dense).map_or(parts.len(), |last| last + 1);
    let (kept, far) = (&parts[first..end], parts[..first].iter().chain(&parts[end..]));
    let far = far.map(|part| (*part, "few and far from all others"));
    tell(source, &far.chain(ahead.map(|part| (part, "after tomorrow"))).collect::<Vec<_>>())?;

    let horizon = i64::try_from(Engine::<Peak>::HORIZON.as_millis())?;
    if let Some(pair) = kept.windows(2).find(|pair| pair[0].silence_before(&pair[1]) > horizon) {
        let [before, after] = [&pair[0], &pair[1]];
        bail!(
            "no record between {} and {}, for {} days: --start and --end say which days to judge, --far-days judges all",
            before.last,
            after.first,
            before.silence_before(after) / DAY_MILLIS
        );
    }
    let midnight = |time: Timestamp| time.local(args.zone).date().and_time(NaiveTime::MIN);
    let (first, last) = (kept.first().unwrap_or(&main), kept.last().unwrap_or(&main));
    Ok(Some((midnight(first.first), midnight(last.last) + Days::new(1))))
}

/// Tells of records that are set aside, and which are the first.
fn tell(source: &dyn Source, stray: &[(Part, &str)]) -> Result<()> {
    let hull = stray.iter().copied().map(|(part, _)| part).reduce(|mut all, part| {
        all.add(part);
        all
    });
    let Some(hull) = hull else { return Ok(()) };
    let mut keys: BTreeMap<Timestamp, Option<String>> =
        stray.iter().take(MOST_NAMED).map(|(part, _)| (part.first, None)).collect();
    source.scan(Span::new(hull.first, after(hull.last))?, &mut |record| {
        if let Some(key) = keys.get_mut(&record.time) {
            let this = || cell(&record.dimensions.join(" / "));
            // Of several, the one that does not depend on their order.
            *key = Some(key.take().map_or_else(this, |known| known.min(this())));
        }
        ControlFlow::Continue(())
    })?;
    for (Part { first, last, records }, why) in stray.iter().take(MOST_NAMED) {
        let when = if first == last { format!("at {first}") } else { format!("from {first} to {last}") };
        let key = keys.get(first).and_then(Option::as_deref).unwrap_or_default();
        say(&format!(
            "note: set aside as {why}: {records} records {when}, the first of {key}; --far-days judges them"
        ));
    }
    let unnamed = stray.iter().skip(MOST_NAMED);
    let unnamed = unnamed.fold((0, 0), |(places, records), (part, _)| (places + 1, records + part.records));
    if let (places @ 1.., records) = unnamed {
        say(&format!("note: set aside as well: {records} records in {places} other places"));
    }
    Ok(())
}

/// The end of a span that has this point in time in it.
fn after(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.millis() + 1).unwrap_or(Timestamp::MAX)
}
