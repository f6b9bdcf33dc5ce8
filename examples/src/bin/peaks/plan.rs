//! Which windows to judge.

use crate::args::{Args, UsageError, Window};
use anyhow::{Result, bail};
use chrono::{Days, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use peak_core::{Source, Span, Timestamp, Windows};

/// How much of the past the first run looks at when there is no history, as the original does.
pub(crate) const FIRST_HISTORY: TimeDelta = TimeDelta::days(7);

/// The windows that the arguments ask for: all days of the data, unless they say otherwise.
pub(crate) fn windows(args: &Args, source: &dyn Source) -> Result<Windows> {
    let (start, end) = match bounds(args)? {
        (Some(start), Some(end)) => (start, end),
        (start, end) => {
            let Some((first, last)) = days_of_the_data(args, source)? else {
                bail!("the input holds no record");
            };
            (start.unwrap_or(first), end.unwrap_or(last))
        }
    };
    let at = |local| Timestamp::from_local(local, args.zone);
    let span = || Span::new(at(start), at(end));
    Ok(match args.window {
        Window::Whole => span()?.into(),
        Window::Length(length) => Windows::every(span()?, length)?,
        Window::Day => {
            if let Some(time) = [start, end].into_iter().find(|time| time.time() != NaiveTime::MIN) {
                bail!(UsageError(format!(
                    "{time} is no date; days are judged whole, unless --window says otherwise"
                )));
            }
            Windows::local_days(start.date(), end.date(), args.zone)?
        }
    })
}

/// What the arguments say of start and end.
fn bounds(args: &Args) -> Result<(Option<NaiveDateTime>, Option<NaiveDateTime>)> {
    let now = || args.now.unwrap_or_else(|| Utc::now().with_timezone(&args.zone).naive_local());
    let days_before = |time: NaiveDateTime, days: u32| {
        let day = time.checked_sub_days(Days::new(days.into()));
        day.ok_or_else(|| UsageError(format!("{days} days before {time} is before the calendar begins")))
    };
    let end = match (args.end, args.delay, args.delta) {
        (Some(end), _, _) => Some(end),
        (None, None, None) => None,
        (None, delay, _) => Some(days_before(now().date().and_time(NaiveTime::MIN), delay.unwrap_or(0))?),
    };
    let start = match (args.start, args.delta, end) {
        (Some(start), _, _) => Some(start),
        (None, Some(days), Some(end)) => Some(days_before(end, days)?),
        _ => None,
    };
    Ok((start, end))
}

/// From the midnight before the first record to the midnight after the last.
fn days_of_the_data(args: &Args, source: &dyn Source) -> Result<Option<(NaiveDateTime, NaiveDateTime)>> {
    let mut extent: Option<(Timestamp, Timestamp)> = None;
    source.scan(Span::ALWAYS, &mut |record| {
        let (first, last) = extent.unwrap_or((record.time, record.time));
        extent = Some((first.min(record.time), last.max(record.time)));
    })?;
    Ok(extent.map(|(first, last)| {
        let date = |time: Timestamp| time.local(args.zone).date();
        let after = date(last) + Days::new(1);
        (date(first).and_time(NaiveTime::MIN), after.and_time(NaiveTime::MIN))
    }))
}
