//! From verdicts to incidents: what people are told, and when it is over.

use crate::contract::{Refusal, Verdict};
use crate::series::{NormalRange, Point};
use peak_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Something that went wrong, from its first anomalous point on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// The first anomalous point.
    pub start: Point,
    /// The strangest point so far, and its score.
    pub strangest: Point,
    /// The score of the strangest point.
    pub score: f64,
    /// The last anomalous point.
    pub last: Point,
    /// How many points were anomalous.
    pub anomalous: u64,
    /// What was normal when it began, where the detector knows.
    pub normal: Option<NormalRange>,
    /// When and why it was over.
    pub end: Option<(Timestamp, EndReason)>,
}

/// Why an incident is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The series is back where it was.
    Recovered,
    /// The series is not back, but what was strange has become normal.
    Adapted,
    /// The series stopped.
    WentSilent,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EndReason::Recovered => "recovered",
            EndReason::Adapted => "adapted",
            EndReason::WentSilent => "went silent",
        })
    }
}

/// News about incidents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// One began.
    Opened(Incident),
    /// The open one goes on: another anomalous point.
    Continued(Incident),
    /// One that was over goes on after all, within the cool-down.
    Reopened(Incident),
    /// One is over.
    Closed(Incident),
    /// No point has come for long. Told once.
    Stale(Refusal),
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, incident) = match self {
            News::Opened(incident) => ("opened", incident),
            News::Continued(incident) => ("continued", incident),
            News::Reopened(incident) => ("reopened", incident),
            News::Closed(incident) => ("closed", incident),
            News::Stale(refusal) => return refusal.fmt(f),
        };
        let Incident { start, strangest, anomalous, score, .. } = incident;
        write!(f, "{what}: since {}, {anomalous} anomalous, ", start.time)?;
        write!(f, "strangest {} at {} (score {score:.1})", strangest.value, strangest.time)?;
        match incident.end {
            Some((time, reason)) => write!(f, "; {reason} at {time}"),
            None => Ok(()),
        }
    }
}

/// Makes incidents of the verdicts on one series.
///
/// An incident opens with an anomalous point and closes after so many quiet ones in a row. Whether it
/// recovered is told from what was normal when it began: when most of those quiet points lie within,
/// the season apart, the series is back; otherwise the detector has adapted. What becomes anomalous again within
/// the cool-down continues the incident.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::{Detector, Incidents, Mad, News, Point};
///
/// let at = |i: i64, value| Point::new(Timestamp::from_millis(60_000 * i).unwrap(), value);
/// let (mut mad, mut incidents) = (Mad::default(), Incidents::default());
/// let mut news = Vec::new();
/// for i in 0..300 {
///     let value = if (200..203).contains(&i) { 99.0 } else { (i % 7) as f64 };
///     let (point, normal) = (at(i, value), mad.normal_range());
///     news.extend(incidents.observe(&point, mad.step(&point), normal));
/// }
/// assert!(matches!(news.as_slice(), [News::Opened(_), News::Continued(_), News::Continued(_), News::Closed(_)]));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incidents {
    close_after: u64,
    cool_down: u64,
    stale_after: Duration,
    /// The incident that is open, or was last.
    incident: Option<Incident>,
    /// Points without alarm since, and how many of them lie what was normal before the incident.
    quiet: u64,
    within: u64,
    newest: Option<Timestamp>,
    is_stale: bool,
}

impl Default for Incidents {
    /// Closes after 30 quiet points, continues within 240 more, stale after 500 seconds.
    fn default() -> Self {
        Incidents {
            close_after: 30,
            cool_down: 240,
            stale_after: Duration::from_secs(500),
            incident: None,
            quiet: 0,
            within: 0,
            newest: None,
            is_stale: false,
        }
    }
}

impl Incidents {
    /// Closes after so many quiet points in a row.
    ///
    /// # Errors
    /// When it is 0.
    pub fn with_close_after(mut self, points: u64) -> Result<Self> {
        if points == 0 {
            return Err(Error::invalid("quiet points to close", "must be at least 1", points));
        }
        self.close_after = points;
        Ok(self)
    }

    /// What becomes anomalous within so many points after the close continues the incident.
    #[must_use]
    pub fn with_cool_down(mut self, points: u64) -> Self {
        self.cool_down = points;
        self
    }

    /// Without a point for longer, the series is stale.
    #[must_use]
    pub fn with_stale_after(mut self, duration: Duration) -> Self {
        self.stale_after = duration;
        self
    }

    /// The incident that is open.
    #[must_use]
    pub fn open(&self) -> Option<&Incident> {
        self.incident.as_ref().filter(|incident| incident.end.is_none())
    }

    /// Takes in what a detector said of a point, and what was normal before it, where the detector knows. Refused points are neither quiet nor anomalous.
    pub fn observe(
        &mut self,
        point: &Point,
        judged: Result<Verdict, Refusal>,
        normal: Option<NormalRange>,
    ) -> Option<News> {
        self.newest = self.newest.max(Some(point.time));
        self.is_stale = false;
        match judged {
            Ok(verdict) if verdict.anomalous => Some(self.alarm(point, verdict.score, normal)),
            Ok(_) => self.quiet(point, normal),
            Err(_) => None,
        }
    }

    fn alarm(&mut self, point: &Point, score: f64, normal: Option<NormalRange>) -> News {
        let quiet = std::mem::take(&mut self.quiet);
        self.within = 0;
        match &mut self.incident {
            Some(incident) if incident.end.is_none() || quiet <= self.close_after + self.cool_down => {
                let was_over = incident.end.take().is_some();
                incident.anomalous += 1;
                incident.last = *point;
                if score > incident.score {
                    (incident.strangest, incident.score) = (*point, score);
                }
                if was_over { News::Reopened(*incident) } else { News::Continued(*incident) }
            }
            _ => {
                let incident = Incident {
                    start: *point,
                    strangest: *point,
                    score,
                    last: *point,
                    anomalous: 1,
                    normal,
                    end: None,
                };
                News::Opened(*self.incident.insert(incident))
            }
        }
    }

    fn quiet(&mut self, point: &Point, now: Option<NormalRange>) -> Option<News> {
        self.quiet = self.quiet.saturating_add(1);
        let incident = self.incident.as_mut().filter(|incident| incident.end.is_none())?;
        let is_within = incident.normal.is_none_or(|then| {
            let baseline = now.map_or(then.baseline, |now| now.baseline);
            then.holds(point.value, baseline)
        });
        self.within += u64::from(is_within);
        if self.quiet < self.close_after {
            return None;
        }
        let recovered = 2 * self.within > self.quiet;
        let reason = if recovered { EndReason::Recovered } else { EndReason::Adapted };
        incident.end = Some((point.time, reason));
        Some(News::Closed(*incident))
    }

    /// Looks at the clock: closes what is open, and tells once, when no point has come for long. Call
    /// it now and then until there is no news.
    pub fn tick(&mut self, now: Timestamp) -> Option<News> {
        let newest = self.newest?;
        let age = Duration::from_millis(now.millis().saturating_sub(newest.millis()).max(0).unsigned_abs());
        if age <= self.stale_after {
            return None;
        }
        if let Some(incident) = self.incident.as_mut().filter(|incident| incident.end.is_none()) {
            incident.end = Some((now, EndReason::WentSilent));
            self.quiet = 0;
            return Some(News::Closed(*incident));
        }
        let is_news = !std::mem::replace(&mut self.is_stale, true);
        is_news.then_some(News::Stale(Refusal::Stale { seconds: age.as_secs() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(i: i64, value: f64) -> Point {
        Point::new(Timestamp::from_millis(i * 60_000).unwrap(), value)
    }

    fn verdict(anomalous: bool) -> Result<Verdict, Refusal> {
        Ok(Verdict { score: if anomalous { 9.0 } else { 0.0 }, anomalous, p_value: None })
    }

    /// What is told of a pattern of quiet (.), anomalous (!) and refused (?) points.
    fn told(pattern: &str, value: f64) -> Vec<String> {
        let mut incidents = Incidents::default().with_close_after(3).unwrap().with_cool_down(4);
        let news = pattern.chars().enumerate().filter_map(|(i, kind)| {
            let judged = if kind == '?' { Err(Refusal::NotFinite) } else { verdict(kind == '!') };
            let normal = NormalRange { lower: 0.0, upper: 10.0, baseline: 0.0 };
            let news = incidents.observe(&at(i as i64, value), judged, Some(normal))?;
            Some(match news {
                News::Opened(_) => format!("opened {i}"),
                News::Continued(_) => format!("continued {i}"),
                News::Reopened(_) => format!("reopened {i}"),
                News::Closed(incident) => format!("closed {i} {}", incident.end.unwrap().1),
                News::Stale(_) => format!("stale {i}"),
            })
        });
        news.collect()
    }

    #[test]
    fn incidents_have_hysteresis_and_a_cool_down() {
        assert_eq!(told("..!..!...", 5.0), ["opened 2", "continued 5", "closed 8 recovered"]);
        assert_eq!(told("!...", 50.0), ["opened 0", "closed 3 adapted"]);
        assert_eq!(told("!......!", 5.0), ["opened 0", "closed 3 recovered", "reopened 7"]);
        assert_eq!(told("!........!", 5.0), ["opened 0", "closed 3 recovered", "opened 9"]);
        assert_eq!(told("!.?.?", 5.0), ["opened 0"]);
    }

    #[test]
    fn a_season_that_moves_on_is_no_recovery() {
        let normal =
            |baseline: f64| Some(NormalRange { lower: baseline - 5.0, upper: baseline + 5.0, baseline });
        // Nine above normal at 40, and in the end back at 40 only because the season has fallen by nine.
        for (off, reason) in [(9.0, EndReason::Adapted), (0.0, EndReason::Recovered)] {
            let mut incidents = Incidents::default();
            incidents.observe(&at(0, 49.0), verdict(true), normal(40.0));
            let closed =
                (1..=30).find_map(|i| incidents.observe(&at(i, 31.0 + off), verdict(false), normal(31.0)));
            let Some(News::Closed(incident)) = closed else { panic!("still open") };
            assert_eq!(incident.end.unwrap().1, reason);
        }
    }

    #[test]
    fn silence_is_told_once() {
        let mut incidents = Incidents::default();
        assert_eq!(incidents.tick(at(9, 0.0).time), None);
        incidents.observe(&at(0, 5.0), verdict(true), None);
        assert_eq!(incidents.tick(at(8, 0.0).time), None);
        let Some(News::Closed(closed)) = incidents.tick(at(9, 0.0).time) else { panic!("still open") };
        assert_eq!(closed.end, Some((at(9, 0.0).time, EndReason::WentSilent)));
        assert_eq!(incidents.tick(at(9, 0.0).time), Some(News::Stale(Refusal::Stale { seconds: 540 })));
        assert_eq!(incidents.tick(at(10, 0.0).time), None);
        incidents.observe(&at(20, 5.0), verdict(false), None);
        assert!(matches!(incidents.tick(at(40, 0.0).time), Some(News::Stale(_))));
    }
}
