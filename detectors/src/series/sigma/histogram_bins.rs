//! Does the value fall where there were hardly any?
//!
//! 15 equal bins between the smallest and the largest value, as in Skyline's `histogram_bins`.

use super::ballot::{Abstention, Ballot};
use crate::series::window::{BINS, Statistics, bin};

pub(super) const NAME: &str = "histogram_bins";

/// A bin of at most 20 points contains the tail. The first bin contains it only at or below the
/// smallest value; the largest value is in no bin.
pub(super) fn skyline(series: &(impl Statistics + ?Sized)) -> Ballot {
    const RARE: usize = 20;
    let (tail, least, greatest) = (series.tail(), series.least(), series.greatest());
    let width = (greatest - least) / BINS as f64;
    let edge = |i: usize| if i == BINS { greatest } else { least + i as f64 * width };
    let containing =
        if tail <= least { Some(0) } else { (1..BINS).find(|&i| edge(i) <= tail && tail < edge(i + 1)) };
    let rare = containing.is_some_and(|bin| series.count_in_bin(bin) <= RARE);
    Ballot { expected: None, lower: None, upper: None, ..Ballot::within(NAME, tail, tail, 0.0) }
        .with_vote(rare)
}

/// The bin of x holds at most one point in 72 (20 in 1,440), and at least one may always be there.
pub(super) fn vote(series: &(impl Statistics + ?Sized), x: f64) -> Ballot {
    const ONE_IN: usize = 72;
    let (least, greatest) = (series.least(), series.greatest());
    if least == greatest {
        return Ballot::abstain(NAME, Abstention::NoSpread);
    }
    let rare = series.count_in_bin(bin(x, least, greatest)) <= (series.len() / ONE_IN).max(1);
    Ballot { expected: None, lower: None, upper: None, ..Ballot::within(NAME, x, x, 0.0) }.with_vote(rare)
}
