//! What the wall clock of a zone shows, and where that stands in the day and in the week.

use peak_core::{Timestamp, Tz};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// A quarter of an hour in milliseconds: no wall clock is set at another time.
const QUARTER: i64 = 900_000;

/// How many milliseconds the wall clock of a zone is ahead of UTC in a quarter of an hour, of those since
/// 1970.
fn clock_offset(zone: Tz, quarter: i64) -> i64 {
    let utc = Timestamp::from_millis(quarter * QUARTER).unwrap_or(Timestamp::MIN);
    utc.local(zone).and_utc().timestamp_millis() - utc.millis()
}

const DAY: i64 = 86_400_000;
pub(crate) const WEEK: i64 = 7 * DAY;
/// 1970 began on a Thursday, three days after a Monday.
const THURSDAY: i64 = 3 * DAY;

/// A wall clock. It remembers the offset of one quarter of an hour, which saves looking it up; as data,
/// and for equality, it is the zone alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Tz", into = "Tz")]
pub(crate) struct Clock {
    zone: Tz,
    quarter: i64,
    offset: i64,
}

impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone
    }
}

impl From<Tz> for Clock {
    fn from(zone: Tz) -> Self {
        Clock::new(zone)
    }
}

impl From<Clock> for Tz {
    fn from(clock: Clock) -> Self {
        clock.zone
    }
}

impl Clock {
    pub(crate) fn new(zone: Tz) -> Self {
        Clock { zone, quarter: 0, offset: clock_offset(zone, 0) }
    }

    pub(crate) fn zone(&self) -> Tz {
        self.zone
    }

    /// Looks up the offset of a time that many others are near.
    #[inline]
    pub(crate) fn remember(&mut self, time: i64) {
        let quarter = time.div_euclid(QUARTER);
        if quarter != self.quarter {
            (self.quarter, self.offset) = (quarter, clock_offset(self.zone, quarter));
        }
    }

    /// What the wall clock shows, in milliseconds since its 1970-01-01.
    pub(crate) fn local(&self, time: i64) -> i64 {
        let quarter = time.div_euclid(QUARTER);
        time + if quarter == self.quarter { self.offset } else { clock_offset(self.zone, quarter) }
    }

    /// Sine and cosine of the time of day: a turn is a day, from midnight.
    pub(crate) fn hour(&self, time: i64) -> (f64, f64) {
        turn(self.local(time).rem_euclid(DAY), DAY)
    }

    /// Sine and cosine of the time of the week: a turn is a week, from the midnight of Monday.
    pub(crate) fn weekday(&self, time: i64) -> (f64, f64) {
        turn((self.local(time) + THURSDAY).rem_euclid(WEEK), WEEK)
    }
}

/// The same bits on every machine, which the standard library does not promise.
fn turn(part: i64, whole: i64) -> (f64, f64) {
    libm::sincos(TAU * (part as f64 / whole as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_remembers_changes_nothing_that_it_shows() {
        let zones =
            [Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kathmandu, Tz::Australia__Lord_Howe, Tz::Pacific__Apia];
        for zone in zones {
            // Over the end of 2011, in steps that meet every minute of an hour.
            let start = Timestamp::parse("2011-09-01T00:00:00Z").unwrap().millis();
            let times = (0..6_000).map(|i| start + i * 31 * 60_000);
            let mut clock = Clock::new(zone);
            for time in times {
                let shown = Timestamp::from_millis(time).unwrap().local(zone).and_utc().timestamp_millis();
                assert_eq!(clock.local(time), shown, "{zone} {time}");
                clock.remember(time);
                assert_eq!(clock.local(time), shown, "{zone} {time}");
            }
        }
    }

    #[test]
    fn as_data_it_is_its_zone() {
        let mut clock = Clock::new(Tz::Asia__Kolkata);
        clock.remember(1_600_000_000_000);
        let text = serde_json::to_string(&clock).unwrap();
        assert_eq!(text, r#""Asia/Kolkata""#);
        assert_eq!(serde_json::from_str::<Clock>(&text).unwrap(), clock);
        assert_ne!(clock, Clock::new(Tz::UTC));
    }
}
