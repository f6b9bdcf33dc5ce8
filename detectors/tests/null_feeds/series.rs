//! Series of a point a minute.

use super::Share;
use super::noise::Random;
use peak_core::Timestamp;
use peak_detectors::series::Statistics;
use peak_detectors::{
    Ballot, Detector, EndReason, Incidents, Mad, News, NormalRange, Point, SeriesTest, SigmaEnsemble, Vote,
};
use std::f64::consts::TAU;

const DAY: usize = 1_440;

#[derive(Debug, Clone, Copy)]
enum Noise {
    White,
    /// Each point is nine tenths of the last, and something new.
    Autoregressive,
    /// White, on a wave of three standard deviations, a day long.
    Daily,
}

const NOISES: [Noise; 3] = [Noise::White, Noise::Autoregressive, Noise::Daily];

impl Noise {
    /// Values with a standard deviation of 1, the wave apart.
    fn draw(self, seed: u64, points: usize) -> Vec<f64> {
        let (mut random, mut last) = (Random(seed), 0.0);
        let mut draw = |i: usize| match self {
            Noise::White => random.normal(),
            Noise::Autoregressive => {
                last = 0.9 * last + 0.19f64.sqrt() * random.normal();
                last
            }
            Noise::Daily => 3.0 * (TAU * i as f64 / DAY as f64).sin() + random.normal(),
        };
        (0..points).map(&mut draw).collect()
    }
}

fn at(i: usize, value: f64) -> Point {
    Point::new(Timestamp::from_millis(1_700_000_000_000 + 60_000 * i as i64).unwrap(), value)
}

/// Which points are anomalous; none that is refused.
fn alarms(mut detector: impl Detector<Point>, values: &[f64]) -> Vec<bool> {
    let step =
        |(i, &value): (usize, &f64)| detector.step(&at(i, value)).is_ok_and(|verdict| verdict.anomalous);
    values.iter().enumerate().map(step).collect()
}

/// What is told of a series.
fn told<D: Detector<Point>>(
    mut detector: D,
    normal: fn(&D) -> Option<NormalRange>,
    values: &[f64],
) -> Vec<News> {
    let (mut incidents, mut news) = (Incidents::default(), Vec::new());
    for (i, &value) in values.iter().enumerate() {
        let (point, normal) = (at(i, value), normal(&detector));
        news.extend(incidents.observe(&point, detector.step(&point), normal));
    }
    news
}

fn told_by_sigma(values: &[f64]) -> Vec<News> {
    told(SigmaEnsemble::default(), SigmaEnsemble::normal_range, values)
}

fn opened(news: &[News]) -> usize {
    news.iter().filter(|news| matches!(news, News::Opened(_))).count()
}

/// Values with something added at some of them.
fn with(mut values: Vec<f64>, places: impl IntoIterator<Item = usize>, off: f64) -> Vec<f64> {
    places.into_iter().for_each(|place| values[place] += off);
    values
}

/// Twenty places, far enough apart for incidents of their own.
fn places() -> impl Iterator<Item = usize> {
    (0..20).map(|i| 3 * DAY + 400 * i)
}

/// At a rarity of 1 in 40,000, which is one point of a month of minutes; and they must agree.
#[test]
fn the_sigma_ensemble_tells_of_an_incident_a_month_at_most_where_nothing_is_wrong() {
    for noise in NOISES {
        let incidents = [1, 2].map(|seed| opened(&told_by_sigma(&noise.draw(seed, 30 * DAY))));
        assert!(incidents.iter().sum::<usize>() <= 2, "{noise:?}: {incidents:?}");
    }
}

/// Where the tests agree at once, what is said of rarity is what decides.
#[test]
fn the_sigma_ensemble_alarms_as_rarely_as_it_is_told_to() {
    let ensemble = SigmaEnsemble::default().with_rarity(0.01).unwrap().with_consensus(1e-9).unwrap();
    for noise in [Noise::White, Noise::Daily] {
        let alarms = alarms(ensemble.clone(), &noise.draw(5, 12 * DAY));
        alarms[2 * DAY..].iter().copied().collect::<Share>().assert_in(0.3..=2.0, &format!("{noise:?}"));
    }
    let consensus = SigmaEnsemble::default().with_rarity(0.01).unwrap();
    let alarms = alarms(consensus.clone(), &Noise::White.draw(5, 12 * DAY));
    alarms[2 * DAY..].iter().copied().collect::<Share>().assert_in(0.02..=0.2, "in agreement");
}

#[test]
fn the_sigma_ensemble_finds_a_spike_each_an_incident() {
    for (noise, least) in [(Noise::White, 18), (Noise::Autoregressive, 17)] {
        for off in [8.0, -8.0] {
            let values = with(noise.draw(6, 9 * DAY), places(), off);
            let alarms = alarms(SigmaEnsemble::default(), &values);
            let found = places().filter(|&place| alarms[place]).count();
            let news = told_by_sigma(&values);
            assert!(found >= least && opened(&news) == found, "{noise:?} {off}: {found}, {}", opened(&news));
            assert!(alarms.iter().filter(|alarm| **alarm).count() <= found + 1, "{noise:?}");
        }
    }
}

/// Of six standard deviations, which is about where the normal range ends, and of nine.
#[test]
fn a_shift_is_one_incident_that_ends_when_it_has_become_normal() {
    for off in [6.0, -6.0, 9.0, -9.0] {
        let values = with(Noise::White.draw(1, 6 * DAY), 3 * DAY..6 * DAY, off);
        let news = told_by_sigma(&values);
        assert_eq!(opened(&news), 1, "{off}");
        let Some(News::Closed(incident)) = news.last() else { panic!("still open") };
        let after = (incident.start.time.millis() - at(3 * DAY, 0.0).time.millis()) / 60_000;
        assert!((0..=5).contains(&after), "{off}: {incident:?}");
        let has_adapted = incident.end.is_some_and(|(_, reason)| reason == EndReason::Adapted);
        assert!(has_adapted || off.abs() < 9.0, "{off}: {incident:?}");
    }
}

/// A spike every twenty minutes for eight days: each is told of at first, none in the end.
#[test]
fn what_keeps_coming_is_normal_in_the_end() {
    let every_twenty = (3 * DAY..11 * DAY).step_by(20);
    let alarms = alarms(SigmaEnsemble::default(), &with(Noise::White.draw(12, 11 * DAY), every_twenty, 12.0));
    let of_days: Vec<usize> =
        alarms.chunks(DAY).map(|day| day.iter().filter(|alarm| **alarm).count()).collect();
    assert!(of_days[3] >= 65 && of_days[10] <= 5, "{of_days:?}");
}

/// For no series.
struct Elsewhere;

impl SeriesTest for Elsewhere {
    fn name(&self) -> &'static str {
        "elsewhere"
    }

    fn vote(&self, _: &dyn Statistics, x: f64) -> Ballot {
        Ballot::at_most(self.name(), x, 0.0)
    }

    fn applies_to(&self, _: &str) -> bool {
        false
    }
}

#[test]
fn tests_that_abstain_protect_nobody() {
    let many = (0..9).fold(SigmaEnsemble::default(), |ensemble, _| ensemble.with_test(Elsewhere));
    let values = with(Noise::White.draw(6, 9 * DAY), places(), 20.0);
    let alarms = alarms(many, &values);
    places().map(|place| alarms[place]).collect::<Share>().assert_in(95.0..=100.0, "found");
}

/// Votes of Skyline's tests, a majority of nine of which is needed.
#[test]
fn skylines_rules_are_quiet_on_noise_and_find_a_spike() {
    for noise in [Noise::White, Noise::Daily] {
        let alarms = alarms(SigmaEnsemble::skyline(), &noise.draw(1, 6 * DAY));
        alarms.into_iter().collect::<Share>().assert_in(0.0..=0.1, &format!("{noise:?}"));
    }
    for (off, band) in [(20.0, 100.0..=100.0), (12.0, 60.0..=95.0), (-12.0, 60.0..=95.0), (6.0, 0.0..=15.0)] {
        let values = with(Noise::White.draw(2, 9 * DAY), places(), off);
        let alarms = alarms(SigmaEnsemble::skyline(), &values);
        places().map(|place| alarms[place]).collect::<Share>().assert_in(band, &format!("{off}"));
    }
}

/// Three standard deviations of a normal distribution are 0.27 %, of which a day of minutes tells the
/// deviation to within three percent.
#[test]
fn mad_alarms_on_what_is_beyond_its_reach() {
    for mad in [Mad::default(), Mad::double()] {
        let alarms = alarms(mad.with_reach(3.0).unwrap(), &Noise::White.draw(4, 30 * DAY));
        alarms[DAY..].iter().copied().collect::<Share>().assert_in(0.2..=0.36, "reach 3");
    }
    let alarms = alarms(Mad::default(), &Noise::White.draw(4, 30 * DAY));
    assert_eq!(alarms.into_iter().filter(|alarm| *alarm).count(), 0);
}

/// Exponential noise, whose median distance above the median is 1.7 times that below: e^-(ln 2 + 3 · 1.027) of
/// it is beyond three deviations of its own side, e^-(ln 2 + 3 · 0.713) of both.
#[test]
fn mad_measures_each_side_by_itself_where_it_is_asked_to() {
    let (mut random, mad) = (Random(3), |mad: Mad| mad.with_reach(3.0).unwrap());
    let values: Vec<f64> = (0..20 * DAY).map(|_| -random.uniform().ln()).collect();
    for (mad, band) in [(mad(Mad::double()), 1.9..=2.7), (mad(Mad::default()), 5.1..=6.7)] {
        alarms(mad, &values)[DAY..].iter().copied().collect::<Share>().assert_in(band, "exponential");
    }
}

/// Twenty spikes of so many standard deviations, the noise apart, below and above the reach of six.
#[test]
fn mad_finds_a_spike_beyond_its_reach() {
    for (off, least, most) in [(10.0, 20, 20), (-10.0, 20, 20), (6.0, 5, 15), (3.0, 0, 0)] {
        let values = with(Noise::White.draw(8, 9 * DAY), places(), off);
        let alarms = alarms(Mad::default(), &values);
        let found = places().filter(|&place| alarms[place]).count();
        assert!((least..=most).contains(&found), "{off}: {found}");
    }
}

/// Twenty events of so many minutes, which are over for hours before the next.
#[test]
fn an_event_is_one_incident_however_long_it_is() {
    let ended = |news: &[News], reason: EndReason| {
        let ended = |news: &&News| matches!(news, News::Closed(incident) if incident.end.is_some_and(|end| end.1 == reason));
        news.iter().filter(ended).count()
    };
    for minutes in [1, 5, 20] {
        let during = places().flat_map(|place| place..place + minutes);
        let values = with(Noise::White.draw(9, 9 * DAY), during, 15.0);
        let news = told(Mad::default(), Mad::normal_range, &values);
        assert_eq!((opened(&news), ended(&news, EndReason::Recovered)), (20, 20), "{minutes}: {news:?}");
        assert_eq!(news.len(), 20 * (1 + minutes), "{minutes}");
        let news = told_by_sigma(&values);
        assert!((19..=20).contains(&opened(&news)), "{minutes}: {}", opened(&news));
        assert!(ended(&news, EndReason::Recovered) >= 19, "{minutes}");
    }
}

/// What each test votes when so many of the last points lie so much higher.
fn votes(ensemble: &SigmaEnsemble, seconds: i64, last: usize, off: f64) -> Vec<(&'static str, Vote)> {
    let time = |i: usize| Timestamp::from_millis(1_700_000_000_000 + 1_000 * seconds * i as i64).unwrap();
    let times: Vec<Timestamp> = (0..DAY).map(time).collect();
    let mut values = Noise::White.draw(10, DAY);
    // Where these points lie does not depend on their own noise when there are few of them.
    let tail = &mut values[DAY - last..];
    tail.iter_mut().for_each(|value| *value = off + if last > 3 { *value } else { 0.0 });
    let ballots = ensemble.vote_on_series(&times, &values, times[DAY - 1]).unwrap();
    ballots.iter().map(|ballot| (ballot.test, ballot.vote)).collect()
}

/// From how many standard deviations on it votes yes, on a day of minutes: three, six median absolute
/// deviations, Grubbs' value, three deviations of the last minutes or of the first hour, the edge of the
/// range. The two-sample test needs more points in ten minutes, and compares all of these with the fifty
/// before.
#[test]
fn each_test_votes_yes_from_as_far_on_as_it_says() {
    for (ensemble, is_skylines) in [(SigmaEnsemble::skyline(), true), (SigmaEnsemble::default(), false)] {
        for side in [1.0, -1.0] {
            for (name, band) in [
                ("histogram_bins", 2.0..=3.3),
                ("first_hour_average", 2.4..=3.6),
                ("stddev_from_average", 2.85..=3.2),
                ("grubbs", 4.0..=4.4),
                ("ks_test", 0.5..=2.0),
                ("mean_subtraction_cumulation", 2.85..=3.2),
                ("median_absolute_deviation", 3.75..=4.3),
                ("stddev_from_moving_average", 3.6..=5.5),
                ("least_squares", 2.85..=3.3),
            ] {
                let (seconds, last) = if name == "ks_test" { (20, 30) } else { (60, 3) };
                let is_yes =
                    |off: &f64| votes(&ensemble, seconds, last, side * off).contains(&(name, Vote::Yes));
                let first = (0..70).map(|i| f64::from(i) / 10.0).find(is_yes);
                // Skyline's looks upwards only.
                let is_blind = name == "grubbs" && side < 0.0 && first.is_none();
                let is_within = first.is_some_and(|first| band.contains(&first));
                assert!(is_within || (is_blind && is_skylines), "{name}: {first:?}, not in {band:?}");
            }
        }
    }
}
