//! From verdicts to incidents: what people are told, and when it is over.

use crate::contract::{Refusal, Verdict, short};
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
        match incident.normal {
            Some(NormalRange { per_second: true, .. }) => {
                write!(f, "strangest {} a second", short(strangest.value))?;
            }
            _ => write!(f, "strangest {}", strangest.value)?,
        }
        write!(f, " at {} (score {score:.1})", strangest.time)?;
        match incident.end {
            Some((time, reason)) => write!(f, "; {reason} at {time}"),
            None => Ok(()),
        }
    }
}

/// Makes incidents of the verdicts on one series.
///
/// An incident opens with an anomalous point and closes once no point has been anomalous for long. Whether
/// it recovered is told from what was normal when it began: when most of the points since lie within, the
/// season apart, the series is back; otherwise the detector has adapted. What becomes anomalous again
/// within the cool-down continues the incident. An incident of a series that sends nothing that can be
/// judged is over too: it went silent.
///
/// All this goes by time. Unless told otherwise, an incident closes after 30 times the usual step between
/// points, continues within 240 more, and a series is stale after 8⅓ of them: at a point a minute after
/// half an hour, four hours, and 500 seconds. As long as there is only one point, the step is taken to be
/// an hour.
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
///     let judged = mad.step(&point);
///     news.extend(incidents.observe(&mad.feed().as_judged(&point), judged, normal));
/// }
/// assert!(matches!(news.as_slice(), [News::Opened(_), News::Continued(_), News::Continued(_), News::Closed(_)]));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Incidents {
    close_after: Option<Duration>,
    cool_down: Option<Duration>,
    stale_after: Option<Duration>,
    cadence: Cadence,
    /// The incident that is open, or was last.
    incident: Option<Incident>,
    /// Points without alarm since, and how many of them were normal as before the incident.
    quiet: u64,
    within: u64,
    /// The newest point, and the newest that was judged.
    newest: Option<Timestamp>,
    judged: Option<Timestamp>,
    is_stale: bool,
}

/// The usual step between points: the least of the first few, then about their median.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Cadence {
    /// In milliseconds.
    step: u32,
    seen: u32,
}

impl Cadence {
    const FEW: u32 = 8;
    /// As long as there is only one point: an hour.
    const UNKNOWN: u32 = 3_600_000;

    fn learn(&mut self, gap: Duration) {
        let gap = u32::try_from(gap.as_millis()).unwrap_or(u32::MAX);
        if gap == 0 {
            return;
        }
        let most = self.step / 16 + 1;
        self.step = match self.seen {
            0 => gap,
            1..Self::FEW => self.step.min(gap),
            _ => gap.clamp(self.step.saturating_sub(most).max(1), self.step.saturating_add(most)),
        };
        self.seen = self.seen.saturating_add(1);
    }

    /// So many thirds of the step.
    fn thirds(self, n: u32) -> Duration {
        let step = if self.seen == 0 { Self::UNKNOWN } else { self.step };
        Duration::from_millis(step.into()) * n / 3
    }
}

/// How much later it is, if it is.
fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.millis().saturating_sub(then.millis()).max(0).unsigned_abs())
}

impl Incidents {
    /// Closes when for so long no point was anomalous.
    ///
    /// # Errors
    /// When it is 0.
    pub fn with_close_after(mut self, quiet: Duration) -> Result<Self> {
        if quiet.is_zero() {
            return Err(Error::invalid("quiet time to close", "must be longer than 0", "0 s"));
        }
        self.close_after = Some(quiet);
        Ok(self)
    }

    /// What becomes anomalous within this time after the close continues the incident.
    #[must_use]
    pub fn with_cool_down(mut self, duration: Duration) -> Self {
        self.cool_down = Some(duration);
        self
    }

    /// Without a point for longer, the series is stale.
    #[must_use]
    pub fn with_stale_after(mut self, duration: Duration) -> Self {
        self.stale_after = Some(duration);
        self
    }

    fn close_after(&self) -> Duration {
        self.close_after.unwrap_or_else(|| self.cadence.thirds(3 * 30))
    }

    fn cool_down(&self) -> Duration {
        self.cool_down.unwrap_or_else(|| self.cadence.thirds(3 * 240))
    }

    fn stale_after(&self) -> Duration {
        self.stale_after.unwrap_or_else(|| self.cadence.thirds(25))
    }

    /// The incident that is open.
    #[must_use]
    pub fn open(&self) -> Option<&Incident> {
        self.incident.as_ref().filter(|incident| incident.end.is_none())
    }

    /// Takes in what a detector said of a point, and what was normal before it, where the detector knows:
    /// in the same unit, see [`Feed::as_judged`](crate::series::Feed::as_judged). Refused points are neither
    /// quiet nor anomalous.
    ///
    /// There is one piece of news at most, unless nothing that could be judged had come for long before:
    /// then what was open is closed first.
    pub fn observe(
        &mut self,
        point: &Point,
        judged: Result<Verdict, Refusal>,
        normal: Option<NormalRange>,
    ) -> Vec<News> {
        let mut news: Vec<News> = self.silence(point.time).into_iter().collect();
        self.is_stale = false;
        if let Ok(verdict) = judged {
            self.judged = self.judged.max(Some(point.time));
            if verdict.anomalous {
                news.push(self.alarm(point, verdict.score, normal));
            } else {
                news.extend(self.quiet(point, normal));
            }
        }
        // The step to this point counts from the next on: it may be a gap.
        if let Some(newest) = self.newest {
            self.cadence.learn(since(newest, point.time));
        }
        self.newest = self.newest.max(Some(point.time));
        news
    }

    fn alarm(&mut self, point: &Point, score: f64, normal: Option<NormalRange>) -> News {
        (self.quiet, self.within) = (0, 0);
        let lasts = self.close_after().saturating_add(self.cool_down());
        match &mut self.incident {
            Some(incident) if incident.end.is_none() || since(incident.last.time, point.time) <= lasts => {
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
        let close_after = self.close_after();
        let incident = self.incident.as_mut().filter(|incident| incident.end.is_none())?;
        let is_within = incident.normal.is_none_or(|then| {
            let baseline = now.map_or(then.baseline, |now| now.baseline);
            then.holds(point.value, baseline)
        });
        self.quiet = self.quiet.saturating_add(1);
        self.within = self.within.saturating_add(u64::from(is_within));
        if since(incident.last.time, point.time) < close_after {
            return None;
        }
        let recovered = self.within > self.quiet / 2;
        let reason = if recovered { EndReason::Recovered } else { EndReason::Adapted };
        incident.end = Some((point.time, reason));
        Some(News::Closed(*incident))
    }

    /// Closes what is open when nothing that could be judged has come for long.
    fn silence(&mut self, now: Timestamp) -> Option<News> {
        let stale_after = self.stale_after();
        let incident = self.incident.as_mut().filter(|incident| incident.end.is_none())?;
        if since(self.judged?, now) <= stale_after {
            return None;
        }
        incident.end = Some((now, EndReason::WentSilent));
        Some(News::Closed(*incident))
    }

    /// Looks at the clock: closes what is open when nothing that could be judged has come for long, and
    /// tells once when no point has come at all. Call it now and then until there is no news.
    pub fn tick(&mut self, now: Timestamp) -> Option<News> {
        if let Some(closed) = self.silence(now) {
            return Some(closed);
        }
        let age = since(self.newest?, now);
        if age <= self.stale_after() || std::mem::replace(&mut self.is_stale, true) {
            return None;
        }
        Some(News::Stale(Refusal::Stale { seconds: age.as_secs() }))
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

    const NORMAL: NormalRange = NormalRange { lower: 0.0, upper: 10.0, baseline: 0.0, per_second: false };

    fn named(news: &News, i: usize) -> String {
        match news {
            News::Opened(_) => format!("opened {i}"),
            News::Continued(_) => format!("continued {i}"),
            News::Reopened(_) => format!("reopened {i}"),
            News::Closed(incident) => format!("closed {i} {}", incident.end.unwrap().1),
            News::Stale(_) => format!("stale {i}"),
        }
    }

    /// What is told of a pattern of quiet (.), anomalous (!), refused (?) and missing (_) points.
    fn told_by(mut incidents: Incidents, step: Duration, pattern: &str, value: f64) -> Vec<String> {
        let mut told = Vec::new();
        for (i, kind) in pattern.chars().enumerate().filter(|(_, kind)| *kind != '_') {
            let judged = if kind == '?' { Err(Refusal::NotFinite) } else { verdict(kind == '!') };
            let time = Timestamp::from_millis(i as i64 * step.as_millis() as i64).unwrap();
            let news = incidents.observe(&Point::new(time, value), judged, Some(NORMAL));
            told.extend(news.iter().map(|news| named(news, i)));
        }
        told
    }

    fn told(pattern: &str, value: f64) -> Vec<String> {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let incidents = Incidents::default().with_close_after(minutes(3)).unwrap();
        told_by(incidents.with_cool_down(minutes(4)), minutes(1), pattern, value)
    }

    #[test]
    fn incidents_have_hysteresis_and_a_cool_down() {
        assert_eq!(told("..!..!...", 5.0), ["opened 2", "continued 5", "closed 8 recovered"]);
        assert_eq!(told("!...", 50.0), ["opened 0", "closed 3 adapted"]);
        assert_eq!(told("!......!", 5.0), ["opened 0", "closed 3 recovered", "reopened 7"]);
        assert_eq!(told("!........!", 5.0), ["opened 0", "closed 3 recovered", "opened 9"]);
        assert_eq!(told("!.?.", 5.0), ["opened 0", "closed 3 recovered"]);
    }

    #[test]
    fn most_of_the_points_since_tell_whether_it_recovered() {
        for (within, of, reason) in [
            (0, 3, EndReason::Adapted),
            (1, 3, EndReason::Adapted),
            (2, 3, EndReason::Recovered),
            (2, 4, EndReason::Adapted),
            (3, 4, EndReason::Recovered),
        ] {
            let quiet = Duration::from_secs(60 * of as u64);
            let mut incidents = Incidents::default().with_close_after(quiet).unwrap();
            incidents.observe(&at(0, 50.0), verdict(true), Some(NORMAL));
            let value = |i: i64| if i <= within { 5.0 } else { 50.0 };
            let news =
                (1..=of).flat_map(|i| incidents.observe(&at(i, value(i)), verdict(false), Some(NORMAL)));
            let closed: Vec<Option<EndReason>> =
                news.map(|news| {
                    if let News::Closed(incident) = news { incident.end.map(|end| end.1) } else { None }
                })
                .collect();
            assert_eq!(closed, [Some(reason)], "{within} of {of}");
        }
    }

    #[test]
    fn the_strangest_point_has_the_highest_score() {
        let mut incidents = Incidents::default();
        for (i, score) in [5.0, 9.0, 7.0].into_iter().enumerate() {
            let verdict = Verdict { score, anomalous: true, p_value: None };
            incidents.observe(&at(i as i64, i as f64), Ok(verdict), None);
        }
        let Incident { start, strangest, score, last, anomalous, .. } = *incidents.open().unwrap();
        assert_eq!((start, strangest, last), (at(0, 0.0), at(1, 1.0), at(2, 2.0)));
        assert_eq!((score, anomalous), (9.0, 3));
    }

    /// As many points, at whatever resolution.
    #[test]
    fn incidents_are_as_long_as_the_series_is_slow() {
        let pattern = format!("{}!{}!{}!{}", ".".repeat(20), ".".repeat(29), ".".repeat(260), ".".repeat(60));
        let expected =
            ["opened 20", "continued 50", "closed 80 recovered", "reopened 311", "closed 341 recovered"];
        for seconds in [10, 60, 3_600] {
            let step = Duration::from_secs(seconds);
            assert_eq!(told_by(Incidents::default(), step, &pattern, 5.0), expected, "{seconds} s");
        }
    }

    #[test]
    fn an_alarm_after_a_month_is_an_incident_of_its_own() {
        let month = 43_200;
        let mut silent = Incidents::default();
        assert_eq!(silent.observe(&at(0, 5.0), verdict(false), None), []);
        assert!(matches!(silent.observe(&at(1, 5.0), verdict(true), None)[..], [News::Opened(_)]));
        let mut unseen = silent.clone();
        assert!(matches!(silent.tick(at(60, 0.0).time), Some(News::Closed(_))));
        assert!(matches!(silent.observe(&at(month, 5.0), verdict(true), None)[..], [News::Opened(_)]));
        // Without a look at the clock: what was open is closed first.
        let news = unseen.observe(&at(month, 5.0), verdict(true), None);
        let [News::Closed(closed), News::Opened(opened)] = news[..] else { panic!("{news:?}") };
        assert_eq!(closed.end, Some((at(month, 0.0).time, EndReason::WentSilent)));
        assert_eq!((opened.start.time, opened.anomalous), (at(month, 0.0).time, 1));
    }

    #[test]
    fn an_incident_of_a_series_that_can_no_longer_be_judged_is_over() {
        let pattern = format!("...!{}", "?".repeat(100));
        assert_eq!(told(&pattern, 5.0), ["opened 3", "closed 12 went silent"]);
        assert_eq!(told("...!......_________________!", 5.0)[2..], ["opened 27"]);
        // A gap that is no longer than usual for it is no silence.
        assert_eq!(told("...!_______!", 5.0), ["opened 3", "continued 11"]);
    }

    /// The strangest point of a counter is told as its rate.
    #[test]
    fn a_counter_is_told_in_growth_per_second() {
        let mut incidents = Incidents::default();
        let normal = NormalRange { per_second: true, ..NORMAL };
        let news = incidents.observe(&at(0, 500.0 / 3.0), verdict(true), Some(normal));
        assert!(news[0].to_string().contains("strangest 166.7 a second at"), "{}", news[0]);
    }

    #[test]
    fn the_usual_step_is_that_of_most_points() {
        let mut cadence = Cadence::default();
        cadence.learn(Duration::from_secs(86_400));
        (0..7).for_each(|i| cadence.learn(Duration::from_secs(60 + i)));
        assert_eq!(cadence.thirds(3), Duration::from_secs(60));
        // Gaps now and then move it little, another resolution in the end.
        (0..99).for_each(|i| cadence.learn(Duration::from_secs(if i % 9 == 0 { 900 } else { 60 })));
        assert!(cadence.thirds(3) <= Duration::from_secs(64), "{cadence:?}");
        (0..99).for_each(|_| cadence.learn(Duration::from_secs(600)));
        assert_eq!(cadence.thirds(3), Duration::from_secs(600));
    }

    #[test]
    fn a_season_that_moves_on_is_no_recovery() {
        let normal = |baseline: f64| {
            Some(NormalRange { lower: baseline - 5.0, upper: baseline + 5.0, baseline, ..NORMAL })
        };
        // Nine above normal at 40, and in the end back at 40 only because the season has fallen by nine.
        for (off, reason) in [(9.0, EndReason::Adapted), (0.0, EndReason::Recovered)] {
            let mut incidents = Incidents::default();
            incidents.observe(&at(0, 49.0), verdict(true), normal(40.0));
            let closed = (1..=30)
                .find_map(|i| incidents.observe(&at(i, 31.0 + off), verdict(false), normal(31.0)).pop());
            let Some(News::Closed(incident)) = closed else { panic!("still open") };
            assert_eq!(incident.end.unwrap().1, reason);
        }
    }

    #[test]
    fn silence_is_told_once() {
        let mut incidents = Incidents::default();
        assert_eq!(incidents.tick(at(9, 0.0).time), None);
        assert_eq!(incidents.observe(&at(0, 5.0), verdict(false), None), []);
        assert_eq!(incidents.tick(at(60, 0.0).time), None, "it may be slow");
        incidents.observe(&at(1, 5.0), verdict(true), None);
        assert_eq!(incidents.tick(at(9, 0.0).time), None);
        let Some(News::Closed(closed)) = incidents.tick(at(10, 0.0).time) else { panic!("still open") };
        assert_eq!(closed.end, Some((at(10, 0.0).time, EndReason::WentSilent)));
        assert_eq!(incidents.tick(at(10, 0.0).time), Some(News::Stale(Refusal::Stale { seconds: 540 })));
        assert_eq!(incidents.tick(at(11, 0.0).time), None);
        for i in [20, 21] {
            assert_eq!(incidents.observe(&at(i, 5.0), verdict(false), None), []);
        }
        assert_eq!(incidents.tick(at(28, 0.0).time), None);
        assert!(matches!(incidents.tick(at(40, 0.0).time), Some(News::Stale(_))));
    }
}
