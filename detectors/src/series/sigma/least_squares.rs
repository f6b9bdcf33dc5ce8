//! Is it far from the line through the window?
//!
//! Three deviations of the residuals from the least-squares line on time, as in Skyline's
//! `least_squares`. Sums are centred: the original solves for the raw times, and loses the slope of
//! short windows and of times in milliseconds.

use super::ballot::{Abstention, Ballot};
use crate::series::window::{Line, Statistics};

pub(super) const NAME: &str = "least_squares";

/// The mean of the last three residuals, and only when that and the deviation do not round to zero:
/// ratios below ½ never vote yes. Fewer than three points vote no.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    let line = series.line().unwrap_or(Line { last: 0.0, tail: 0.0, deviation: 0.0 });
    let ballot = Ballot::within(NAME, line.tail, 0.0, 3.0 * line.deviation);
    let rounds_to_zero = |x: f64| x.round_ties_even() == 0.0;
    let yes =
        ballot.vote == super::Vote::Yes && !rounds_to_zero(line.deviation) && !rounds_to_zero(line.tail);
    ballot.with_vote(yes)
}

/// Smaller residuals than this share of the range are rounding: the series is a line.
const ROUNDING: f64 = 1e-9;

/// The residual of the last value, or the mean of the last three, whatever their scale.
pub(super) fn vote(series: &(impl Statistics + ?Sized), residual: impl Fn(Line) -> f64) -> Ballot {
    match series.line() {
        None => Ballot::abstain(NAME, Abstention::TooFewPoints),
        Some(line) if line.deviation <= ROUNDING * (series.greatest() - series.least()) => {
            Ballot::abstain(NAME, Abstention::NoSpread)
        }
        Some(line) => Ballot::within(NAME, residual(line), 0.0, 3.0 * line.deviation),
    }
}
