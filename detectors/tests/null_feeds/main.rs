//! What detectors promise of their decisions, on feeds that are made up: how often they alarm when there is
//! nothing to find, and that they find what was planted.
//!
//! Every share has a least and a most. A rule that alarms twice as often fails, and so does one that never
//! alarms. The noise is seeded; bands are wide enough that another seed would pass as well, and where a
//! band is not the promise itself, the figures that were measured stand beside it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../noise/mod.rs"]
mod noise;
mod rows;
mod series;
mod tables;

/// A share of so many cases.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    of: usize,
    cases: usize,
}

impl Share {
    fn count(&mut self, holds: bool) {
        self.of += 1;
        self.cases += usize::from(holds);
    }

    fn percent(self) -> f64 {
        100.0 * self.cases as f64 / self.of as f64
    }

    /// Asserts that it lies in a band, in percent.
    #[track_caller]
    fn assert_in(self, percent: std::ops::RangeInclusive<f64>, what: &str) {
        let (share, Share { of, cases }) = (self.percent(), self);
        assert!(percent.contains(&share), "{what}: {cases} of {of}, {share:.2} %, not in {percent:?} %");
    }
}

impl FromIterator<bool> for Share {
    fn from_iter<I: IntoIterator<Item = bool>>(cases: I) -> Self {
        let mut share = Share::default();
        cases.into_iter().for_each(|holds| share.count(holds));
        share
    }
}

impl std::ops::Add for Share {
    type Output = Share;
    fn add(self, other: Share) -> Share {
        Share { of: self.of + other.of, cases: self.cases + other.cases }
    }
}

impl std::iter::Sum for Share {
    fn sum<I: Iterator<Item = Share>>(shares: I) -> Self {
        shares.fold(Share::default(), |sum, share| sum + share)
    }
}
