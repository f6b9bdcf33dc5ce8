//! How long something is remembered.

use peak_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How fast what was learned fades, against the default.
///
/// ```text
/// kept(windows) = base^(windows · pace)
/// ```
///
/// `base` is what is kept after one window by default. The pace is 1 by default, whatever a window is: a
/// memory lasts so many windows. With a half-life of
/// levels given as a duration it is how much faster than by default these are to fade; all other
/// memories keep their proportion to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pace(f64);

/// What is kept of a level after one window by default.
pub(crate) const LEVEL: f64 = 0.93;
/// ln ½ / ln 0.93: the half-life of a level in windows, by default.
const HALF_LIFE: f64 = 9.551_337_509_447_352;

impl Pace {
    /// The pace of windows of this many milliseconds, under which half of a level is left after the
    /// half-life; the default without one.
    pub(crate) fn new(half_life: Option<HalfLife>, window: i64) -> Self {
        Pace(half_life.map_or(1.0, |HalfLife(millis)| HALF_LIFE * window as f64 / millis as f64))
    }

    /// What is kept after so many windows of what keeps `base` after one by default.
    pub(crate) fn kept(self, base: f64, windows: f64) -> f64 {
        let times = windows * self.0;
        if times == 1.0 { base } else { libm::pow(base, times) }
    }

    /// How many times as long as by default everything lasts.
    pub(crate) fn lasts(self) -> f64 {
        1.0 / self.0
    }
}

/// A half-life in milliseconds, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(crate) struct HalfLife(u64);

impl HalfLife {
    /// The longest: a century. What lasts longer would never be forgotten.
    const MOST: u64 = 36_525 * 86_400_000;
}

impl TryFrom<u64> for HalfLife {
    type Error = Error;
    fn try_from(millis: u64) -> Result<Self> {
        if (1..=Self::MOST).contains(&millis) {
            return Ok(HalfLife(millis));
        }
        let rule = "must be from a millisecond to a century";
        Err(Error::invalid("half-life", rule, format_args!("{:?}", Duration::from_millis(millis))))
    }
}

impl TryFrom<Duration> for HalfLife {
    type Error = Error;
    fn try_from(duration: Duration) -> Result<Self> {
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).try_into()
    }
}

impl From<HalfLife> for u64 {
    fn from(half_life: HalfLife) -> Self {
        half_life.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn half_life(days: f64) -> Option<HalfLife> {
        Some(Duration::from_secs_f64(86_400.0 * days).try_into().unwrap())
    }

    #[test]
    fn by_default_a_window_takes_the_same_whatever_it_is() {
        for window in [300_000, 3_600_000, DAY, 7 * DAY] {
            let pace = Pace::new(None, window);
            // To the last bit.
            assert_eq!([0.93, 0.97, 0.98, 0.985].map(|base| pace.kept(base, 1.0)), [0.93, 0.97, 0.98, 0.985]);
            assert!((pace.kept(LEVEL, 2.0) - 0.93 * 0.93).abs() < 1e-15);
            assert_eq!(pace.lasts(), 1.0);
        }
        assert!((Pace::new(None, DAY).kept(LEVEL, HALF_LIFE) - 0.5).abs() < 1e-14);
    }

    #[test]
    fn half_of_a_level_is_left_after_its_half_life_and_the_rest_in_proportion() {
        for (window, windows) in [(DAY, 20.0), (3_600_000, 480.0), (300_000, 5_760.0)] {
            let pace = Pace::new(half_life(20.0), window);
            assert!((pace.kept(LEVEL, windows) - 0.5).abs() < 1e-12, "{window}");
            // 0.98 lasts 3.59 times as long as 0.93.
            let longer = windows * libm::log(LEVEL) / libm::log(0.98);
            assert!((pace.kept(0.98, longer) - 0.5).abs() < 1e-12, "{window}");
            assert!((pace.lasts() - windows / HALF_LIFE).abs() < 1e-9);
        }
    }

    #[test]
    fn a_half_life_is_a_time_that_can_pass() {
        for wrong in [Duration::ZERO, Duration::from_nanos(999), Duration::MAX] {
            let error = HalfLife::try_from(wrong).unwrap_err().to_string();
            assert!(error.starts_with("half-life: must be from a millisecond to a century"), "{error}");
        }
        assert!(half_life(36_525.0).is_some());
    }
}
