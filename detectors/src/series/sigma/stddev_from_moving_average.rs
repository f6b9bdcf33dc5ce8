//! Is it far from the moving average?
//!
//! Three deviations from the mean, both under exponential weights of 50/51 a step and with the point
//! itself included, as in Skyline's `stddev_from_moving_average`. With w the weights,
//!
//! ```text
//! μ = Σwv/Σw,   s² = Σw(v − μ)²/Σw · (Σw)² / ((Σw)² − Σw²)
//! ```

use super::ballot::{Abstention, Ballot};
use crate::series::window::Statistics;

pub(super) const NAME: &str = "stddev_from_moving_average";

/// The last value.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    let moving = series.moving();
    Ballot::within(NAME, series.last(), moving.mean, 3.0 * moving.deviation)
}

/// Any x; abstains when the average has not moved.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64) -> Ballot {
    let moving = series.moving();
    if moving.deviation > 0.0 {
        Ballot::within(NAME, x, moving.mean, 3.0 * moving.deviation)
    } else {
        Ballot::abstain(NAME, Abstention::NoSpread)
    }
}
