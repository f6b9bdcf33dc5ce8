//! Where a time stands in the day and in the week.

use peak_core::{Timestamp, Tz};

/// A quarter of an hour in milliseconds: no wall clock is set at another time.
pub(crate) const QUARTER: i64 = 900_000;

/// How many milliseconds the wall clock of a zone is ahead of UTC in a quarter of an hour, of those since
/// 1970.
pub(crate) fn clock_offset(zone: Tz, quarter: i64) -> i64 {
    let utc = Timestamp::from_millis(quarter * QUARTER).unwrap_or(Timestamp::MIN);
    utc.local(zone).and_utc().timestamp_millis() - utc.millis()
}
use std::f64::consts::TAU;

const DAY: i64 = 86_400_000;
pub(crate) const WEEK: i64 = 7 * DAY;
/// 1970 began on a Thursday, three days after a Monday.
const THURSDAY: i64 = 3 * DAY;

/// A wall clock. It remembers the offset of the last quarter of an hour, which saves looking it up.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    zone: Tz,
    quarter: i64,
    offset: i64,
}

impl Clock {
    pub(crate) fn new(zone: Tz) -> Self {
        Clock { zone, quarter: 0, offset: clock_offset(zone, 0) }
    }

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
