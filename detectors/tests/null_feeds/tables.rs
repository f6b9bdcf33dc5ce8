//! Tables of forty keys, a window a day, records with samples.

use super::Share;
use super::noise::Random;
use peak_core::{Baseline, CountMoments, Key, Schema, Span, Summary, Tz};
use peak_detectors::{Budget, Classic, Observation, Peak, TableDetector, TableWindow};

const KEYS: usize = 40;
const DAYS: usize = 40;
/// Verdicts count from here on.
const WARM: usize = 14;

/// A feed of keys of 30 to 2,500 records a day.
#[derive(Clone, Copy)]
struct Feed {
    seed: u64,
    /// Of negative binomial counts, or 0 for Poisson counts.
    shape: u32,
    /// One key in so many has such counts, all others Poisson counts.
    one_in: usize,
    /// What a day of the weekend has of a weekday's records.
    weekend: f64,
}

/// What is done to a window of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Planted {
    Nothing,
    /// So many times the records.
    Times(f64),
    /// Four fifths of the records are of one sample.
    OneSample,
}

/// A verdict, and what was planted.
struct Said {
    key: usize,
    anomalous: bool,
    planted: Planted,
}

/// Poisson counts, and counts with a standard deviation of a third; with and without weekends.
const KINDS: [(u32, f64); 4] = [(0, 1.0), (0, 0.3), (10, 1.0), (10, 0.3)];

/// Three feeds of each kind.
fn feeds() -> [[Feed; 3]; 4] {
    KINDS.map(|(shape, weekend)| [1, 2, 3].map(|seed| Feed { seed, shape, one_in: 1, weekend }))
}

/// So many records; three in ten are of samples that come more than once.
fn summary(random: &mut Random, records: u64, planted: Planted) -> Summary {
    let of_one = if planted == Planted::OneSample { 4 * records / 5 } else { 0 };
    let (mut left, mut samples) = (records - of_one, vec![of_one]);
    while left > 0 {
        let size = if random.uniform() < 0.85 { 1 } else { (2.0 * random.uniform().powf(-0.4)) as u64 };
        samples.push(size.min(left));
        left -= size.min(left);
    }
    Summary::new(records).with_samples(samples.into_iter().filter(|&size| size > 0).collect::<CountMoments>())
}

impl Feed {
    /// What a detector says, window by window, from day [`WARM`] on.
    fn judged_by(
        self,
        mut detector: impl TableDetector,
        plant: impl Fn(usize, usize) -> Planted,
    ) -> Vec<Vec<Said>> {
        let mut random = Random(self.seed);
        let keys: Vec<Key> = (0..KEYS).map(|i| Key::new(["x".to_owned(), format!("key {i:02}")])).collect();
        let rates: Vec<f64> =
            keys.iter().map(|_| 30.0 * (2_500.0f64 / 30.0).powf(random.uniform())).collect();
        let (past, mut said) = (Baseline::default(), Vec::new());
        for (day, &span) in Span::days("2020-01-06", "2020-04-01").unwrap().iter().take(DAYS).enumerate() {
            let of_day = if day % 7 < 5 { 1.0 } else { self.weekend };
            let summaries: Vec<Summary> = (0..KEYS)
                .map(|key| {
                    let planted = plant(day, key);
                    let times = if let Planted::Times(times) = planted { times } else { 1.0 };
                    let mean = rates[key] * of_day * times;
                    let records = match self.shape {
                        shape if shape > 0 && key % self.one_in == 0 => random.negative_binomial(mean, shape),
                        _ => random.poisson(mean),
                    };
                    summary(&mut random, records as u64, planted)
                })
                .collect();
            let both = keys.iter().zip(&summaries);
            let observed: Vec<_> =
                both.map(|(key, summary)| Observation::new(key, span, summary, &past)).collect();
            let window = TableWindow::new(span, &observed).unwrap();
            if day >= WARM {
                let verdicts = detector.judge(&window).verdicts.into_iter().enumerate();
                let of_window = verdicts.filter_map(|(key, verdict)| {
                    Some(Said { key, anomalous: verdict.ok()?.anomalous, planted: plant(day, key) })
                });
                said.push(of_window.collect());
            }
            detector.learn(&window);
        }
        said
    }
}

fn quiet(_: usize, _: usize) -> Planted {
    Planted::Nothing
}

fn share_of_alarms(said: &[Vec<Said>]) -> Share {
    said.iter().flatten().map(|said| said.anomalous).collect()
}

/// Of the windows in which something was planted, or of the others.
fn share_of(said: &[Vec<Said>], is_planted: bool) -> Share {
    let among = said.iter().flatten().filter(|said| (said.planted != Planted::Nothing) == is_planted);
    among.map(|said| said.anomalous).collect()
}

/// Plants in one of fifty windows of keys from day 20 on.
fn now_and_then(what: Planted) -> impl Fn(usize, usize) -> Planted {
    move |day, key| match day >= 20 && (7 * day + 3 * key).is_multiple_of(50) {
        true => what,
        false => Planted::Nothing,
    }
}

/// What the default rule says of feeds.
fn told_of(feeds: &[Feed], budget: Budget, plant: impl Fn(usize, usize) -> Planted) -> Vec<Vec<Said>> {
    feeds.iter().flat_map(|feed| feed.judged_by(Peak::calibrated(budget), &plant)).collect()
}

/// Of 3,120 key-windows of a kind, and four times as many in all. Of twenty-four seeds, one kind had 0.77 to
/// 1.22 %, all together 0.98 to 1.07 %.
#[test]
fn the_calibrated_rule_spends_its_budget_per_key_and_window_and_no_more() {
    let budget = Budget::per_key_window(0.01).unwrap();
    let shares = feeds().map(|feeds| share_of_alarms(&told_of(&feeds, budget, quiet)));
    for (share, kind) in shares.iter().zip(KINDS) {
        share.assert_in(0.3..=1.8, &format!("{kind:?}"));
    }
    shares.into_iter().sum::<Share>().assert_in(0.65..=1.4, "all");
}

/// A larger budget is spent as well: five times the alarms, not all of them.
#[test]
fn the_calibrated_rule_spends_a_larger_budget_too() {
    let budget = Budget::per_key_window(0.05).unwrap();
    let shares = feeds().map(|feeds| share_of_alarms(&told_of(&feeds, budget, quiet)));
    shares.into_iter().sum::<Share>().assert_in(3.5..=6.5, "all");
}

/// Forty keys and one alarm a window: one key in forty.
#[test]
fn the_calibrated_rule_spends_its_budget_per_window_and_no_more() {
    let budget = Budget::per_window(1.0).unwrap();
    let shares = feeds().map(|feeds| share_of_alarms(&told_of(&feeds, budget, quiet)));
    for (share, kind) in shares.iter().zip(KINDS) {
        share.assert_in(1.25..=3.75, &format!("{kind:?}"));
    }
}

/// The mean over windows of the share of alarms that are false: three fifths of the rate that was asked for
/// are spent. Of the sixteen kinds of four seeds, it was 2.8 to 7.8 %, and 91 to 100 % were found.
#[test]
fn the_calibrated_rule_keeps_to_a_false_discovery_rate() {
    let plant = |day: usize, key: usize| match day >= 20 && (7 * day + 3 * key).is_multiple_of(25) {
        true => Planted::Times(6.0),
        false => Planted::Nothing,
    };
    let said = told_of(&feeds().concat(), Budget::fdr(0.1).unwrap(), plant);
    let of_window = |said: &Vec<Said>| {
        let alarms: Vec<&Said> = said.iter().filter(|said| said.anomalous).collect();
        let is_false = alarms.iter().filter(|said| said.planted == Planted::Nothing).count();
        is_false as f64 / alarms.len().max(1) as f64
    };
    let later: Vec<f64> =
        said.chunks(DAYS - WARM).flat_map(|feed| &feed[20 - WARM..]).map(of_window).collect();
    let rate = later.iter().sum::<f64>() / later.len() as f64;
    assert!((0.02..=0.1).contains(&rate), "{rate}");
    share_of(&said, true).assert_in(90.0..=100.0, "found");
}

/// Of 48 windows in which it was planted, a kind; the least and the most of six times three seeds stand
/// beside. A band with two ends guards the width of predictions, too.
#[test]
fn the_calibrated_rule_finds_what_was_planted() {
    use Planted::{OneSample, Times};
    let found = |kind: usize, what: Planted, band| {
        let said = told_of(&feeds()[kind], Budget::default(), now_and_then(what));
        share_of(&said, true).assert_in(band, &format!("{:?} {what:?}", KINDS[kind]));
        share_of(&said, false).assert_in(0.3..=1.8, &format!("{:?} beside {what:?}", KINDS[kind]));
    };
    found(0, Times(3.0), 95.0..=100.0); // 100 to 100
    found(0, Times(0.2), 95.0..=100.0); // 100 to 100
    found(0, Times(0.0), 95.0..=100.0); // 100 to 100
    found(0, Times(1.5), 60.0..=96.0); // 75 to 90
    found(0, OneSample, 70.0..=98.0); // 85 to 90
    found(1, Times(3.0), 95.0..=100.0); // 100 to 100
    found(1, Times(0.0), 90.0..=100.0); // 98 to 100
    found(2, Times(3.0), 45.0..=97.0); // 60 to 88
    found(2, Times(1.5), 0.0..=25.0); // 4 to 17
    found(3, Times(0.0), 85.0..=100.0); // 94 to 100
}

/// When all keys have had twenty times as much, what comes after is judged as before.
#[test]
fn a_day_on_which_everything_moved_is_not_remembered_against_the_keys() {
    let everything = |day: usize, _: usize| if day == 20 { Planted::Times(20.0) } else { Planted::Nothing };
    for feeds in feeds() {
        let said = told_of(&feeds, Budget::default(), everything);
        let after = said.chunks(DAYS - WARM).flat_map(|feed| &feed[21 - WARM..]).flatten();
        after.map(|said| said.anomalous).collect::<Share>().assert_in(0.3..=1.8, "after");
    }
}

/// One key in ten varies by more than half, all others are Poisson: 1 % of each was asked for. The promise
/// holds for all keys together, not for the noisy ones, which take 17 %; how far it is off must not grow.
#[test]
fn noisy_keys_among_quiet_ones_take_no_more_of_the_budget_than_is_known() {
    let feeds: Vec<Feed> = (1..=8).map(|seed| Feed { seed, shape: 3, one_in: 10, weekend: 1.0 }).collect();
    let said = told_of(&feeds, Budget::default(), quiet);
    let of = |noisy: bool| -> Share {
        let among = said.iter().flatten().filter(|said| said.key.is_multiple_of(10) == noisy);
        among.map(|said| said.anomalous).collect()
    };
    of(true).assert_in(0.3..=23.0, "noisy");
    of(false).assert_in(0.1..=1.4, "quiet");
}

/// It reproduces the decisions of another program, which alarms on so many windows in which there is nothing
/// to find: of twenty-four seeds, on 24 to 33 % of a kind.
#[test]
fn the_classic_rule_alarms_as_often_as_it_is_known_to() {
    let classic = || Peak::classic(Classic::new(&Schema::file_types(), Tz::UTC));
    let bands = [28.0..=36.0, 24.0..=32.0, 24.0..=34.0, 21.0..=31.0];
    for ((feeds, band), kind) in feeds().into_iter().zip(bands).zip(KINDS) {
        let said = feeds.iter().flat_map(|feed| feed.judged_by(classic(), quiet));
        share_of_alarms(&said.collect::<Vec<_>>()).assert_in(band, &format!("{kind:?}"));
    }
}

/// Its thresholds are what keeps a window with few records from being a peak.
#[test]
fn the_classic_rule_finds_what_is_large_and_nothing_that_is_small() {
    let classic = || Peak::classic(Classic::new(&Schema::file_types(), Tz::UTC));
    let [feeds, ..] = feeds();
    let found = |times: f64| {
        let plant = now_and_then(Planted::Times(times));
        let said = feeds.iter().flat_map(|feed| feed.judged_by(classic(), &plant));
        share_of(&said.collect::<Vec<_>>(), true)
    };
    found(3.0).assert_in(95.0..=100.0, "three times the records");
    found(0.5).assert_in(0.0..=0.0, "half the records");
}
