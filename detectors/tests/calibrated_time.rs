//! What the calibrated rule makes of time: windows that were skipped, windows out of order or of
//! another length, clocks that are set, how long it remembers; and keys that were there before it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod noise;

use noise::noise;
use peak_core::{Baseline, CountMoments, Key, Span, Summary, Timestamp, Tz, Windows};
use peak_detectors::{
    Budget, Calendar, Calibrated, Observation, Peak, PeakRule, Persist, Phases, Refusal, TableDetector,
    TableWindow, Verdict,
};
use std::collections::BTreeSet;
use std::time::Duration;

type Judged = Vec<(usize, Result<Verdict, Refusal>)>;

/// A detector, and the keys that it knows: those without records are there, too.
struct Feed {
    peak: Peak,
    known: BTreeSet<usize>,
}

impl Feed {
    fn new(rule: impl Into<Calibrated>) -> Self {
        Feed { peak: Peak::calibrated(rule), known: BTreeSet::new() }
    }

    fn look<T>(&mut self, span: Span, counts: &[u64], look: impl Fn(&mut Peak, &TableWindow<'_>) -> T) -> T {
        let there = |key: &usize| counts[*key] > 0 || self.known.contains(key);
        let summary = |key: usize| match counts[key] {
            0 => Summary::default(),
            n => Summary::new(n).with_samples(CountMoments::from_parts(n, n, u128::from(n), 1)),
        };
        let rows: Vec<(Key, Summary)> = (0..counts.len())
            .filter(there)
            .map(|key| (Key::new([format!("key {key:03}")]), summary(key)))
            .collect();
        let past = Baseline::default();
        let together: Vec<_> =
            rows.iter().map(|(key, summary)| Observation::new(key, span, summary, &past)).collect();
        look(&mut self.peak, &TableWindow::new(span, &together).unwrap())
    }

    fn judge(&mut self, span: Span, counts: &[u64]) -> Judged {
        let there: Vec<usize> =
            (0..counts.len()).filter(|key| counts[*key] > 0 || self.known.contains(key)).collect();
        there.into_iter().zip(self.look(span, counts, |peak, window| peak.judge(window).verdicts)).collect()
    }

    fn learn(&mut self, span: Span, counts: &[u64]) {
        self.look(span, counts, TableDetector::learn);
        self.known.extend((0..counts.len()).filter(|&key| counts[key] > 0));
    }

    fn step(&mut self, span: Span, counts: &[u64]) -> Judged {
        let judged = self.judge(span, counts);
        self.learn(span, counts);
        judged
    }
}

fn alarms(judged: &Judged) -> usize {
    judged.iter().filter(|(_, verdict)| verdict.is_ok_and(|verdict| verdict.anomalous)).count()
}

fn budget() -> Budget {
    Budget::per_key_window(0.01).unwrap()
}

fn days() -> Windows {
    Span::days("2024-01-01", "2024-06-01").unwrap()
}

/// The records of one of forty keys, which have 100 to 2,500 in a window, times a factor: about as even as
/// Poisson's.
fn count(seed: usize, window: usize, key: usize, factor: f64) -> u64 {
    let mean = 100.0 * 25f64.powf(((key * 17 + seed) % 40) as f64 / 39.0) * factor;
    (mean + mean.sqrt() * noise(100_000 * seed + 100 * window + key)).round() as u64
}

fn counts(seed: usize, window: usize, factor: f64) -> Vec<u64> {
    (0..40).map(|key| count(seed, window, key, factor)).collect()
}

/// Alarms in the first window after a gap, and in the ten after that, of ten times forty keys that grow by
/// this factor a day and wander by this much, when so many windows are skipped after fifty.
fn alarms_after_a_gap(skipped: usize, growth: f64, wandering: f64) -> (usize, usize) {
    let (mut first, mut next) = (0, 0);
    let days = Span::days("2024-01-01", "2024-06-01").unwrap();
    for seed in 0..10 {
        let mut feed = Feed::new(budget());
        let mut logs = vec![0.0; 40];
        for day in 0..61 + skipped {
            let step =
                |key: usize| growth.ln() + wandering * noise(9_000_000 + 10_000 * seed + 100 * day + key);
            logs.iter_mut().enumerate().for_each(|(key, log)| *log += step(key));
            if (50..50 + skipped).contains(&day) {
                continue;
            }
            let counts: Vec<u64> = (0..40).map(|key| count(seed, day, key, logs[key].exp())).collect();
            let alarms = alarms(&feed.step(days[day], &counts));
            first += if day == 50 + skipped { alarms } else { 0 };
            next += if day > 50 + skipped { alarms } else { 0 };
        }
    }
    (first, next)
}

/// When ages were counts of windows, 77 % of all keys alarmed in the first window, 12 % in the next ten.
#[test]
fn windows_that_were_skipped_are_time_that_has_passed() {
    for growth in [1.01, 0.99] {
        let (first, next) = alarms_after_a_gap(14, growth, 0.0);
        assert!(first <= 8, "{first} of 400");
        assert!(next <= 60, "{next} of 4,000");
    }
}

#[test]
fn what_was_known_long_ago_is_less_sure() {
    let (first, next) = alarms_after_a_gap(60, 1.0, 0.03);
    assert!(first <= 8, "{first} of 400");
    assert!(next <= 80, "{next} of 4,000");
}

#[test]
fn an_older_window_is_refused_and_teaches_nothing() {
    let mut feed = Feed::new(budget());
    for (day, &span) in days().iter().enumerate().take(30).filter(|(day, _)| !(10..13).contains(day)) {
        feed.step(span, &counts(1, day, 1.0));
    }
    let before = feed.peak.clone();
    for day in 10..13 {
        let judged = feed.step(days()[day], &counts(1, day, 1.0));
        assert!(judged.iter().all(|(_, judged)| *judged == Err(Refusal::Late)), "{judged:?}");
    }
    assert_eq!(feed.peak, before);
    assert_eq!(memory_of(&feed.peak), (Some(days()[29].start()), Some(Duration::from_secs(86_400))));
    assert!(feed.step(days()[30], &counts(1, 30, 1.0)).iter().all(|(_, judged)| judged.is_ok()));
}

/// The start of the last window, and the length of windows.
fn memory_of(peak: &Peak) -> (Option<Timestamp>, Option<Duration>) {
    match peak.rule() {
        PeakRule::Calibrated(rule) => (rule.last_window(), rule.window_length()),
        _ => unreachable!(),
    }
}

#[test]
fn a_window_of_another_length_is_refused_and_teaches_nothing() {
    let mut feed = Feed::new(budget());
    assert_eq!(memory_of(&feed.peak), (None, None));
    for (day, &span) in days().iter().enumerate().take(30) {
        feed.step(span, &counts(1, day, 1.0));
    }
    let before = feed.peak.clone();
    let start = days()[30].start();
    for hours in [1, 12, 48] {
        let span = Span::starting(start, Duration::from_secs(3_600 * hours)).unwrap();
        let judged = feed.step(span, &counts(1, 30, hours as f64 / 24.0));
        let refusal = Refusal::WrongLength { have: hours * 3_600_000, need: 86_400_000 };
        assert!(judged.iter().all(|(_, judged)| *judged == Err(refusal)), "{judged:?}");
        assert_eq!(
            refusal.to_string(),
            format!("wrong length: have {} ms, need 86400000 ms", hours * 3_600_000)
        );
    }
    assert_eq!(feed.peak, before);
    assert!(feed.step(days()[30], &counts(1, 30, 1.0)).iter().all(|(_, judged)| judged.is_ok()));
}

#[test]
fn phases_of_another_period_are_begun_anew() {
    let mut feed = Feed::new(budget());
    for (day, &span) in days().iter().enumerate().take(30) {
        feed.step(span, &counts(1, day, if day % 7 < 5 { 1.0 } else { 0.3 }));
    }
    let memory = rmp_serde::to_vec(&feed.peak.memory()).unwrap();
    let fortnight = Phases::new(Duration::from_secs(86_400), 14).unwrap();
    feed.peak = Peak::calibrated(Calibrated::new(budget()).with_phases(fortnight));
    feed.peak.restore(rmp_serde::from_slice(&memory).unwrap()).unwrap();
    for (day, &span) in days().iter().enumerate().take(60).skip(30) {
        let judged = feed.step(span, &counts(1, day, if day % 7 < 5 { 1.0 } else { 0.3 }));
        let refused = Err(Refusal::TooShort { have: 13, need: 14 });
        match day {
            30..44 => assert!(judged.iter().all(|(_, judged)| *judged == refused), "{day}: {judged:?}"),
            _ => assert!(judged.iter().all(|(_, judged)| judged.is_ok()), "{day}: {judged:?}"),
        }
    }
}

/// Weekends at 0.3, where clocks go forward and where they go back.
#[test]
fn days_of_23_and_25_hours_are_days() {
    for (first, end) in [("2024-02-05", "2024-04-22"), ("2024-09-02", "2024-11-18")] {
        let zone = Tz::Europe__Berlin;
        let days = Span::local_days(first, end, zone).unwrap();
        assert!(days.iter().any(|day| day.duration() != Duration::from_secs(86_400)));
        let mut feed = Feed::new(Calibrated::new(budget()).with_calendar(Calendar::new(zone)));
        let (mut found, mut judged) = (0, 0);
        for (day, &span) in days.iter().enumerate() {
            let verdicts = feed.step(span, &counts(2, day, if day % 7 < 5 { 1.0 } else { 0.3 }));
            assert!(day < 7 || verdicts.iter().all(|(_, verdict)| verdict.is_ok()), "{span}");
            found += alarms(&verdicts);
            judged += verdicts.iter().filter(|(_, verdict)| verdict.is_ok()).count();
        }
        assert!(found * 200 < 3 * judged, "{found} of {judged}");
    }
}

/// Alarms in the three days after clocks changed, of people who live by them.
fn alarms_after_clocks_change(start: &str, zone: Tz) -> usize {
    let calendar = Calendar::new(zone).with_phases(Phases::HOURS_OF_DAY);
    let mut feed = Feed::new(Calibrated::new(budget()).with_calendar(calendar));
    let start = Timestamp::parse(start).unwrap();
    let mut found = 0;
    for hour in 0..24 * 24 {
        let span = Span::starting(
            start.saturating_add(Duration::from_secs(3_600 * hour)),
            Duration::from_secs(3_600),
        )
        .unwrap();
        let local: f64 = span.start().local(Tz::America__New_York).format("%H").to_string().parse().unwrap();
        // From a tenth at four in the morning to twice at four in the afternoon.
        let factor = 1.05 - 0.95 * (std::f64::consts::TAU * (local - 4.0) / 24.0).cos();
        let alarms = alarms(&feed.step(span, &counts(3, hour as usize, factor)));
        found += if hour >= 24 * 21 { alarms } else { 0 };
    }
    found
}

#[test]
fn hours_follow_the_wall_clock_of_their_zone() {
    // Three weeks before the clocks of New York went forward, and back.
    for start in ["2024-02-18T07:00:00Z", "2024-10-13T06:00:00Z"] {
        let [utc, zone] =
            [Tz::UTC, Tz::America__New_York].map(|zone| alarms_after_clocks_change(start, zone));
        // Of 2,880 key-windows.
        assert!(zone <= 43, "{start}: {zone}");
        assert!(utc > 4 * zone.max(20), "{start}: {utc} by UTC, {zone} by the zone");
    }
}

/// What the first key is expected to have, against what it mostly had, after ten days and one on which
/// it had a tenth less, by the hour.
fn expected_after_a_low_day(rule: Calibrated) -> f64 {
    let mut feed = Feed::new(rule.with_phases(Phases::NONE));
    let span = Span::new(days()[0].start(), days()[12].start()).unwrap();
    let hours = Windows::every(span, Duration::from_secs(3_600)).unwrap();
    let mut sum = 0;
    for (hour, &span) in hours.iter().enumerate().take(264) {
        let mut counts = counts(4, hour, 1.0);
        counts[0] = if hour < 240 { counts[0] } else { 9 * counts[0] / 10 };
        sum += if hour < 240 { counts[0] } else { 0 };
        feed.learn(span, &counts);
    }
    let explained = feed.look(hours[264], &counts(4, 264, 1.0), |peak, window| {
        let judged = peak.judge(window);
        peak.explain(window, &judged, &[0]).swap_remove(0)
    });
    explained.unwrap().evidence[0].expected.unwrap() / (sum as f64 / 240.0)
}

#[test]
fn a_half_life_is_a_time_whatever_the_length_of_windows() {
    let rule = || Calibrated::new(budget());
    // By default an hour forgets in hours: the low day is all there is.
    let default = expected_after_a_low_day(rule());
    assert!(default < 0.92, "{default}");
    let weeks = expected_after_a_low_day(rule().with_half_life(Duration::from_secs(14 * 86_400)).unwrap());
    // A line through eleven days, of which the last is low.
    assert!((0.94..0.97).contains(&weeks), "{weeks}");
    assert!(rule().with_half_life(Duration::ZERO).is_err());

    // As data, checked on the way in.
    let read = |text: &str| serde_json::from_str::<Calibrated>(text);
    let text = r#"{"half_life_ms": 1209600000, "calendar": {"zone": "Asia/Kolkata"}}"#;
    let expected = Calibrated::new(Budget::default()).with_calendar(Calendar::new(Tz::Asia__Kolkata));
    let expected = expected.with_half_life(Duration::from_secs(14 * 86_400)).unwrap();
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read(&serde_json::to_string(&expected).unwrap()).unwrap(), expected);
    assert!(read(r#"{"half_life_ms": 0}"#).is_err());
}

#[test]
fn the_budget_holds_at_other_half_lives() {
    for days in [1, 4] {
        let rule = Calibrated::new(budget()).with_half_life(Duration::from_secs(days * 86_400)).unwrap();
        let mut feed = Feed::new(rule.with_phases(Phases::NONE));
        let (mut found, mut judged) = (0, 0);
        for hour in 0..24 * 20u64 {
            let start = self::days()[0].start().saturating_add(Duration::from_secs(3_600 * hour));
            let span = Span::starting(start, Duration::from_secs(3_600)).unwrap();
            let verdicts = feed.step(span, &counts(5, hour as usize, 1.0));
            if hour >= 24 {
                found += alarms(&verdicts);
                judged += verdicts.len();
            }
        }
        let share = found as f64 / judged as f64;
        assert!((0.003..0.015).contains(&share), "{days} d: {share}");
    }
}

/// When they were, of newcomers of forty times the typical one 0 of 50 were found, where the table
/// began with large keys.
#[test]
fn keys_of_the_first_window_are_no_newcomers() {
    let (mut found, mut large, mut false_alarms, mut small) = (0, 0, 0, 0);
    for seed in 0..10 {
        let mut feed = Feed::new(budget());
        for (day, &span) in days().iter().enumerate().take(60) {
            let mut counts = counts(seed, day, 0.8);
            // A new key a day, every tenth of them of 400 records, the others of 10 or so.
            let is_large = |new: usize| new % 10 == 9;
            let count = |new: usize| match new {
                _ if is_large(new) => 400.0 + 20.0 * noise(7_000_000 + 1_000 * seed + new + 61 * day),
                _ => 10.0 * (0.7 * noise(8_000_000 + 1_000 * seed + new)).exp(),
            };
            counts.extend((0..day).map(|new| count(new).round().max(1.0) as u64));
            let judged = feed.step(span, &counts);
            let newest = judged.last().filter(|(key, _)| day > 10 && *key == 40 + day - 1);
            let Some((_, Ok(verdict))) = newest else { continue };
            let (told, of) =
                if is_large(day - 1) { (&mut found, &mut large) } else { (&mut false_alarms, &mut small) };
            *told += usize::from(verdict.anomalous);
            *of += 1;
        }
    }
    assert!(large == 40 && found >= 36, "{found} of {large}");
    assert!(false_alarms * 50 <= small, "{false_alarms} of {small}");
}
