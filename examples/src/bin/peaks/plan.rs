//! Which windows to judge.

use crate::args::{Args, UsageError, Window};
use crate::days;
use anyhow::{Result, bail};
use chrono::{Days, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use peak_core::{Source, Span, Timestamp, Windows};
use peak_detectors::{Engine, Peak};

/// How much of the past the first run looks at when there is no history, as the original does.
pub(crate) const FIRST_HISTORY: TimeDelta = TimeDelta::days(7);

/// The windows that the arguments ask for: all days of the data, unless they say otherwise.
pub(crate) fn windows(args: &Args, source: &dyn Source) -> Result<Windows> {
    let at = |local| Timestamp::from_local(local, args.zone);
    let (start, end) = match bounds(args)? {
        (Some(start), Some(end)) => (start, end),
        (start, end) => {
            let within = Span::new(start.map_or(Timestamp::MIN, at), end.map_or(Timestamp::MAX, at))?;
            let Some((first, last)) = days::of_the_data(args, source, within)? else {
                if within == Span::ALWAYS {
                    bail!("the input holds no record");
                }
                bail!("the input holds no record within {within}");
            };
            (start.unwrap_or(first), end.unwrap_or(last))
        }
    };
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

/// The windows before the first one, as far back as the data and the engine's horizon go.
pub(crate) fn earlier_windows(args: &Args, source: &dyn Source, windows: &Windows) -> Result<Windows> {
    // Windows that begin with the data have nothing before them, and need no look at it.
    let (Some(first), (Some(_), _)) = (windows.first(), bounds(args)?) else { return Ok(Windows::default()) };
    let at = |local| Timestamp::from_local(local, args.zone);
    let start = first.start().local(args.zone);
    let horizon = TimeDelta::from_std(Engine::<Peak>::HORIZON)?;
    let from = start.checked_sub_signed(horizon).unwrap_or(start);
    let Ok(before) = Span::new(at(from), first.start()) else { return Ok(Windows::default()) };
    let Some((first_day, _)) = days::of_the_data(args, source, before)? else {
        return Ok(Windows::default());
    };
    let from = from.max(first_day);
    if from >= start {
        return Ok(Windows::default());
    }
    Ok(match args.window {
        Window::Day => Windows::local_days(from.date(), start.date(), args.zone)?,
        // Counted backwards, so that the last one ends where the first window begins.
        Window::Length(_) | Window::Whole => {
            let length = first.duration();
            let whole = TimeDelta::from_std(length)?;
            let count = (start - from).num_milliseconds() / whole.num_milliseconds().max(1);
            let begin = i32::try_from(count).ok().and_then(|count| start.checked_sub_signed(whole * count));
            match begin.filter(|begin| *begin < start) {
                Some(begin) => Windows::every(Span::new(at(begin), first.start())?, length)?,
                None => Windows::default(),
            }
        }
    })
}

/// What the arguments say of start and end.
fn bounds(args: &Args) -> Result<(Option<NaiveDateTime>, Option<NaiveDateTime>)> {
    let days_before = |time: NaiveDateTime, days: u32| {
        let day = time.checked_sub_days(Days::new(days.into()));
        day.ok_or_else(|| UsageError(format!("{days} days before {time} is before the calendar begins")))
    };
    if let Some(end) = args.end.filter(|end| !args.far_days && *end > end_of_tomorrow(args)) {
        let why = "lies after tomorrow, whose days would be learned as empty ones; --far-days allows it";
        bail!(UsageError(format!("--end {end} {why}")));
    }
    let end = match (args.end, args.delay, args.delta) {
        (Some(end), _, _) => Some(end),
        (None, None, None) => None,
        (None, delay, _) => Some(days_before(now(args).date().and_time(NaiveTime::MIN), delay.unwrap_or(0))?),
    };
    let start = match (args.start, args.delta, end) {
        (Some(start), _, _) => Some(start),
        (None, Some(days), Some(end)) => Some(days_before(end, days)?),
        _ => None,
    };
    Ok((start, end))
}

/// What the clock shows.
fn now(args: &Args) -> NaiveDateTime {
    args.now.unwrap_or_else(|| Utc::now().with_timezone(&args.zone).naive_local())
}

/// The midnight after tomorrow: no clock that is right shows a later time, in whatever zone.
pub(crate) fn end_of_tomorrow(args: &Args) -> NaiveDateTime {
    now(args)
        .date()
        .checked_add_days(Days::new(2))
        .map_or(NaiveDateTime::MAX, |day| day.and_time(NaiveTime::MIN))
}

/// Refuses windows that lie so far behind the history that it would forget all it has.
pub(crate) fn check_history(args: &Args, learned: &[Span], windows: &Windows) -> Result<()> {
    if let (false, Some(newest), Some(first)) = (args.far_days, learned.last(), windows.first()) {
        let silence = first.start().millis() - newest.end().millis();
        if silence > i64::try_from(Engine::<Peak>::HORIZON.as_millis())? {
            bail!(
                "window {first} begins {} days after the history ends, which would forget all it has; --far-days allows it",
                silence / 86_400_000
            );
        }
    }
    Ok(())
}
