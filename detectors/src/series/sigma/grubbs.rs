//! Is it an outlier by Grubbs' test (1969)?
//!
//! ```text
//! |x − mean| / sd > G,   G = (n − 1)/√n · √(q² / (n − 2 + q²))
//! ```
//!
//! where q is the upper quantile of Student's t with n − 2 degrees of freedom at 0.05/(2n): the test
//! of the largest of n values at a level of 5 %.

use super::ballot::{Abstention, Ballot};
use crate::series::window::Statistics;
use crate::worth::tail::student_quantile;

pub(super) const NAME: &str = "grubbs";

/// G for n points; not a number below three.
pub(super) fn critical(n: usize) -> f64 {
    if n < 3 {
        return f64::NAN;
    }
    let n = n as f64;
    let q = student_quantile(0.05 / (2.0 * n), n - 2.0);
    (n - 1.0) / n.sqrt() * (q * q / (n - 2.0 + q * q)).sqrt()
}

/// The tail, and only when it is above the mean: Skyline's `grubbs`. Without spread it votes no.
pub(super) fn skyline(series: &(impl Statistics + ?Sized), critical: f64) -> Ballot {
    let (all, tail) = (series.all(), series.tail());
    let yes = (tail - all.mean) / all.deviation > critical && all.deviation > 0.0;
    Ballot { lower: None, ..Ballot::within(NAME, tail, all.mean, critical * all.deviation) }.with_vote(yes)
}

/// Any x, on both sides.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64, critical: f64) -> Ballot {
    let all = series.all();
    if all.deviation > 0.0 {
        Ballot::within(NAME, x, all.mean, critical * all.deviation)
    } else {
        Ballot::abstain(NAME, Abstention::NoSpread)
    }
}
