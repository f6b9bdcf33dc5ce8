//! How often the rules of the peak detector alarm when there is nothing to find, and whether they
//! find what was planted: every feed of the acceptance table of the calibrated rule, for both rules.
//!
//! ```text
//! cargo run --release -p peak-benches --bin null_experiment -- --seeds 6
//! ```
//!
//! The classic rule has no p-values, so only the budget's own row shows it. Constants were chosen on
//! seeds 1001 to 1060.
//!
//! Feeds are made of windows, not of records: a key's rate is drawn log-uniformly from 30 to 2,500 a
//! window, its counts from the feed's distribution. The first seven windows are warm-up. Figures are
//! means over seeds.

#![allow(clippy::unwrap_used, reason = "an experiment may panic")]

use clap::Parser;
use comfy_table::Table;
use peak_core::{Baseline, CountMoments, Key, Schema, Span, Summary, Timestamp, Tz};
use peak_detectors::{Budget, Classic, Observation, Peak, Persist, TableDetector, TableWindow};
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, Gamma, Normal, Poisson};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use std::f64::consts::PI;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "False alarms and finds of the peak rules on simulated feeds")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 2001)]
    first_seed: u64,
    /// How many keys a feed has
    #[arg(long, default_value_t = 40)]
    keys: usize,
    /// How many windows a feed has
    #[arg(long, default_value_t = 60)]
    days: usize,
    /// The budget: false alarms per key-window
    #[arg(long, default_value_t = 0.01)]
    budget: f64,
    /// Only feeds whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// One JSON object a row instead of a table
    #[arg(long)]
    json: bool,
}

/// How many records a window has, given what is expected.
#[derive(Clone, Copy, PartialEq)]
enum Volume {
    Poisson,
    /// Variance mean + dispersion · mean².
    NegativeBinomial(f64),
}

impl Volume {
    fn draw(self, mean: f64, random: &mut impl Rng) -> u64 {
        let mean = match self {
            Volume::Poisson => mean,
            Volume::NegativeBinomial(alpha) => mean * Gamma::new(1.0 / alpha, alpha).unwrap().sample(random),
        };
        if mean > 0.0 { Poisson::new(mean).unwrap().sample(random) as u64 } else { 0 }
    }
}

/// How the expected count moves with time, all keys alike.
#[derive(Clone, Copy)]
enum Course {
    Flat,
    /// Factors of the days of the week.
    Weekly([f64; 7]),
    /// The same, but one key in four takes no notice.
    PartlyWeekly([f64; 7]),
    /// A factor a window.
    Growth(f64),
    /// Half as much again at the crest, so many windows from crest to crest.
    Wave(f64),
}

const WEEKEND: Course = Course::Weekly([1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.3]);

impl Course {
    fn factor(self, key: usize, window: usize) -> f64 {
        match self {
            Course::PartlyWeekly(_) if key.is_multiple_of(4) => 1.0,
            Course::PartlyWeekly(factors) => factors[window % 7],
            Course::Flat => 1.0,
            Course::Weekly(factors) => factors[window % 7],
            Course::Growth(factor) => factor.powf(window as f64),
            Course::Wave(period) => 1.0 + 0.5 * (2.0 * PI * window as f64 / period).sin(),
        }
    }
}

/// What is planted.
#[derive(Clone, Copy, PartialEq)]
enum Plant {
    Nothing,
    /// A factor on one window of each key, at random from window 20 on; on a weekend only, if asked.
    Spike {
        factor: f64,
        weekend: bool,
    },
    /// × 20 in window 10, then × 1.5 in window 40, all keys together.
    TwoSpikes,
    /// One sample makes 30 % of one window of each key.
    Concentration,
    /// A quarter of the keys stops in window 30.
    Stop,
    /// One key in twenty appears after window 20 at 40 times the typical rate.
    New,
    /// × 1.6 for good from window 20 on, all keys together.
    Shift,
    /// A factor on 2 % of all key-windows.
    Scattered(f64),
    /// A quarter of the keys joins in window 20, at rates like the others.
    Join,
}

#[derive(Clone)]
struct Feed {
    name: &'static str,
    volumes: &'static [Volume],
    /// The share of samples that repeat, as a Pareto law has it.
    repeated: f64,
    course: Course,
    rates: (f64, f64),
    plant: Plant,
    keys: usize,
    windows: usize,
    hourly: bool,
    fdr: bool,
}

const POISSON: &[Volume] = &[Volume::Poisson];
const NB: &[Volume] = &[Volume::NegativeBinomial(0.1)];

impl Feed {
    /// The window from which on verdicts count.
    fn warm(&self) -> usize {
        if self.hourly { 24 * 7 } else { 7 }
    }
}

/// One key in one window, and whether something was planted there.
struct Cell {
    summary: Summary,
    planted: bool,
    /// Not to be counted as false: the consequences of what was planted.
    excused: bool,
}

/// The cells of a feed, key by key.
fn simulate(feed: &Feed, seed: u64) -> Vec<Vec<Cell>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..feed.keys).map(|key| simulate_key(feed, key, &mut random)).collect()
}

fn simulate_key(feed: &Feed, key: usize, random: &mut Xoshiro256PlusPlus) -> Vec<Cell> {
    let (least, most) = feed.rates;
    let mut rate = least * (most / least).powf(random.random::<f64>());
    let volume = feed.volumes[key % feed.volumes.len()];
    let special = random.random_range(20..feed.windows);
    let special = match feed.plant {
        Plant::Spike { weekend: true, .. } => {
            special - special % 7 + 5 + usize::from(random.random_bool(0.5))
        }
        _ => special,
    };
    let late = match feed.plant {
        Plant::New if key.is_multiple_of(20) => {
            // First counts have a log-sd of 1 about a typical 100.
            rate = 40.0 * 100.0;
            special
        }
        Plant::New => {
            rate = 100.0 * Normal::new(0.0, 1.0_f64).unwrap().sample(random).exp();
            0
        }
        Plant::Join if key.is_multiple_of(4) => 20,
        _ => 0,
    };
    let cell = |window: usize| {
        let mut planted = false;
        let mut excused = false;
        let mut factor = feed.course.factor(key, window);
        let mut top = 0.0;
        match feed.plant {
            Plant::Spike { factor: spike, .. } if window == special => {
                (planted, factor) = (rate >= 100.0, factor * spike);
                excused = true;
            }
            Plant::TwoSpikes if window == 10 => (planted, factor) = (true, factor * 20.0),
            Plant::TwoSpikes if window == 40 => (planted, factor) = (true, factor * 1.5),
            Plant::Concentration if window == special => (planted, top) = (true, 0.3),
            Plant::Stop if key.is_multiple_of(4) && window >= 30 => {
                (planted, excused, factor) = (window == 30, window < 34, 0.0);
            }
            Plant::New if late > 0 => {
                planted = window == late;
                excused = window < late;
            }
            Plant::Shift if window >= 20 => {
                planted = window == 20 && rate >= 100.0;
                (excused, factor) = (window < 24, factor * 1.6);
            }
            Plant::Scattered(spike) if window >= feed.warm() && random.random_bool(0.02) => {
                (planted, excused) = (rate >= 100.0 || feed.fdr, true);
                // Negative-binomial keys of the mixed feed get twice as much: 3 is within their noise.
                factor *= if volume == Volume::Poisson { spike } else { 2.0 * spike };
            }
            _ => {}
        }
        if window < late {
            return Cell { summary: Summary::default(), planted: false, excused: true };
        }
        let count = volume.draw(rate * factor, random);
        Cell { summary: summary(count, feed.repeated, top, random), planted, excused }
    };
    (0..feed.windows).map(cell).collect()
}

/// A window of so many samples, of which some repeat, and one may make a share of all records.
fn summary(samples: u64, repeated: f64, top: f64, random: &mut impl Rng) -> Summary {
    if samples == 0 {
        return Summary::default();
    }
    let moments = if repeated > 0.0 {
        let count = |_| match random.random_bool(repeated) {
            true => random.random::<f64>().max(1e-9).powf(-1.0 / 1.5).ceil() as u64,
            false => 1,
        };
        (0..samples).map(count).collect()
    } else {
        let max = ((top * samples as f64) as u64).max(1);
        let distinct = samples - max + 1;
        CountMoments::from_parts(distinct, samples, u128::from(distinct - 1 + max * max), max)
    };
    Summary::new(moments.sum()).with_samples(moments)
}

/// What a rule said of one key in one window.
#[derive(Clone, Copy, Default)]
struct Said {
    alarm: bool,
    p: Option<f64>,
    carried_by_concentration: bool,
}

/// What a detector said of a feed, key by key, and what it took.
struct Run {
    said: Vec<Vec<Said>>,
    seconds: f64,
    /// The bytes of the stored memory.
    bytes: usize,
}

/// Runs a detector over a feed.
fn run(mut detector: Peak, feed: &Feed, cells: &[Vec<Cell>]) -> Run {
    let names: Vec<Key> = (0..feed.keys).map(|key| Key::new([format!("key {key:03}"), "x".into()])).collect();
    let nothing = Baseline::default();
    let length = if feed.hourly { 3_600_000 } else { 86_400_000 };
    let at = |window: usize| Timestamp::from_millis(1_604_275_200_000 + window as i64 * length).unwrap();
    let mut said = vec![Vec::with_capacity(feed.windows); feed.keys];
    let mut seen = vec![false; feed.keys];
    let mut seconds = 0.0;
    for window in 0..feed.windows {
        let span = Span::new(at(window), at(window + 1)).unwrap();
        let present: Vec<usize> =
            (0..feed.keys).filter(|&key| seen[key] || cells[key][window].summary.records > 0).collect();
        let observe =
            |&key: &usize| Observation::new(&names[key], span, &cells[key][window].summary, &nothing);
        let observations: Vec<_> = present.iter().map(observe).collect();
        let table = TableWindow::new(span, &observations).unwrap();
        let start = Instant::now();
        let judged = detector.judge(&table);
        seconds += start.elapsed().as_secs_f64();
        said.iter_mut().for_each(|said| said.push(Said::default()));
        for (place, &key) in present.iter().enumerate() {
            let Ok(verdict) = judged.verdicts[place] else { continue };
            let carried = || {
                let why = detector.explain(&table, &judged, &[place]).swap_remove(0);
                why.is_ok_and(|why| why.carried_by == "records of the top sample")
            };
            said[key][window] = Said {
                alarm: verdict.anomalous,
                p: verdict.p_value,
                carried_by_concentration: cells[key][window].planted && verdict.anomalous && carried(),
            };
        }
        let start = Instant::now();
        detector.learn(&table);
        seconds += start.elapsed().as_secs_f64();
        present.iter().for_each(|&key| seen[key] = true);
    }
    let bytes = rmp_serde::to_vec(&detector.memory()).unwrap().len();
    Run { said, seconds, bytes }
}

/// A count among a number of chances.
#[derive(Clone, Copy, Default)]
struct Rate {
    hits: u64,
    of: u64,
}

impl Rate {
    fn add(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.of += 1;
    }

    fn value(self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }
}

/// What is counted over a run.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Alarms where nothing was planted, by p-value: the budget itself, 5 %, 0.1 %.
    false_at: [Rate; 3],
    first_week: Rate,
    found: Rate,
    found_by_concentration: Rate,
    /// Sum over windows of the share of false alarms among alarms, 0 where there is none.
    false_discoveries: f64,
    windows: f64,
}

impl Tally {
    fn take(&mut self, feed: &Feed, cells: &[Vec<Cell>], said: &[Vec<Said>]) {
        for window in feed.warm()..feed.windows {
            let alarms = || (0..feed.keys).filter(|&key| said[key][window].alarm);
            let wrong = alarms().filter(|&key| !cells[key][window].planted).count();
            self.false_discoveries += wrong as f64 / alarms().count().max(1) as f64;
            self.windows += 1.0;
        }
        for (cells, said) in cells.iter().zip(said) {
            for (window, (cell, said)) in cells.iter().zip(said).enumerate().skip(feed.warm()) {
                if cell.planted {
                    self.found.add(said.alarm);
                    self.found_by_concentration.add(said.carried_by_concentration);
                } else if !cell.excused {
                    self.false_at[0].add(said.alarm);
                    self.false_at[1].add(said.p.is_some_and(|p| p < 0.05));
                    self.false_at[2].add(said.p.is_some_and(|p| p < 0.001));
                    if window < feed.warm() + if feed.hourly { 24 } else { 7 } {
                        self.first_week.add(said.alarm);
                    }
                }
            }
        }
    }
}

/// A line of the result.
#[derive(Serialize)]
struct Row {
    rule: &'static str,
    feed: String,
    false_per_key_window: Option<f64>,
    found: Option<f64>,
    target: String,
    met: bool,
}

fn feeds(keys: usize, windows: usize) -> Vec<Feed> {
    let null = Feed {
        name: "stationary Poisson",
        volumes: POISSON,
        repeated: 0.0,
        course: Course::Flat,
        rates: (30.0, 2_500.0),
        plant: Plant::Nothing,
        keys,
        windows,
        hourly: false,
        fdr: false,
    };
    let weekday = Course::Weekly([0.7, 1.3, 1.1, 0.9, 1.6, 0.5, 0.8]);
    let part_weekend = Course::PartlyWeekly([1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.3]);
    let daily = Course::Wave(24.0);
    let both: &[Volume] = &[Volume::Poisson, Volume::NegativeBinomial(0.1)];
    let huge = (1e4, 1e6);
    let hours = Feed { hourly: true, windows: 24 * 7 + 24 * 14, ..null.clone() };
    let large_nb: &[Volume] = &[Volume::NegativeBinomial(0.02)];
    let spike = |factor| Plant::Spike { factor, weekend: false };
    vec![
        null.clone(),
        Feed { name: "Pareto", repeated: 0.1, ..null.clone() },
        Feed { name: "NB", volumes: NB, ..null.clone() },
        Feed { name: "NB + Pareto", volumes: NB, repeated: 0.1, ..null.clone() },
        Feed { name: "weekend", course: WEEKEND, ..null.clone() },
        Feed { name: "weekend + Pareto", course: WEEKEND, repeated: 0.1, ..null.clone() },
        Feed { name: "weekend + NB", course: WEEKEND, volumes: NB, ..null.clone() },
        Feed { name: "weekend for three in four", course: part_weekend, ..null.clone() },
        Feed { name: "+1 %/day", course: Course::Growth(1.01), ..null.clone() },
        Feed { name: "+1 %/day + Pareto", course: Course::Growth(1.01), repeated: 0.1, ..null.clone() },
        Feed { name: "-1 %/day", course: Course::Growth(0.99), ..null.clone() },
        Feed { name: "-1 %/day + Pareto", course: Course::Growth(0.99), repeated: 0.1, ..null.clone() },
        Feed { name: "other weekdays", course: weekday, ..null.clone() },
        Feed { name: "sinusoid 28 days", course: Course::Wave(28.0), ..null.clone() },
        Feed { name: "sparse 1-5/day", rates: (1.0, 5.0), ..null.clone() },
        Feed { name: "large Poisson", rates: huge, ..null.clone() },
        Feed { name: "large NB 0.02", rates: huge, volumes: large_nb, ..null.clone() },
        Feed { name: "5 keys Poisson", keys: 5, ..null.clone() },
        Feed { name: "5 keys NB", keys: 5, volumes: NB, ..null.clone() },
        Feed { name: "5 keys Pareto", keys: 5, repeated: 0.1, ..null.clone() },
        Feed { name: "400 keys Poisson", keys: 400, ..null.clone() },
        Feed { name: "400 keys NB + Pareto", keys: 400, volumes: NB, repeated: 0.1, ..null.clone() },
        Feed { name: "joining Poisson", plant: Plant::Join, ..null.clone() },
        Feed { name: "joining NB", plant: Plant::Join, volumes: NB, ..null.clone() },
        Feed { name: "hourly Poisson", course: daily, ..hours.clone() },
        Feed { name: "hourly NB", course: daily, volumes: NB, ..hours.clone() },
        Feed { name: "hourly Pareto", course: daily, repeated: 0.1, ..hours },
        Feed { name: "x3", plant: spike(3.0), ..null.clone() },
        Feed {
            name: "x3 on a weekend day",
            course: WEEKEND,
            plant: Plant::Spike { factor: 3.0, weekend: true },
            windows: windows + 7,
            ..null.clone()
        },
        Feed { name: "x3 on NB", volumes: NB, plant: spike(3.0), ..null.clone() },
        Feed { name: "x20 then x1.5", rates: (300.0, 2_500.0), plant: Plant::TwoSpikes, ..null.clone() },
        Feed { name: "one sample 30 %", plant: Plant::Concentration, ..null.clone() },
        Feed { name: "one sample 30 % NB", plant: Plant::Concentration, volumes: NB, ..null.clone() },
        Feed { name: "stop Poisson", plant: Plant::Stop, ..null.clone() },
        Feed { name: "stop NB", plant: Plant::Stop, volumes: NB, ..null.clone() },
        Feed { name: "new key x40", plant: Plant::New, ..null.clone() },
        Feed { name: "shift x1.6", plant: Plant::Shift, ..null.clone() },
        Feed { name: "x3 on 2 %", plant: Plant::Scattered(3.0), ..null.clone() },
        Feed { name: "FDR 0.1 mixed", volumes: both, plant: Plant::Scattered(3.0), fdr: true, ..null },
    ]
}

fn detectors(feed: &Feed, budget: f64) -> anyhow::Result<[(&'static str, Peak); 2]> {
    let budget = if feed.fdr { Budget::fdr(0.1)? } else { Budget::per_key_window(budget)? };
    let classic = Classic::new(&Schema::file_types(), Tz::UTC);
    Ok([("calibrated", Peak::calibrated(budget)), ("classic", Peak::classic(classic))])
}

/// The rows of a feed: what was measured beside the limits of the acceptance table.
fn rows(rule: &'static str, feed: &Feed, tally: &Tally, budget: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    let wide = feed.hourly || feed.keys != 40 || matches!(feed.plant, Plant::Join);
    let slack = if wide { 1.5 } else { 1.0 };
    let mut row = |name: String, false_rate: Option<f64>, found: Option<f64>, least: f64, most: f64| {
        let measured = false_rate.or(found);
        let percent = |x: f64| (1e5 * x).round() / 1e3;
        rows.push(Row {
            rule,
            feed: name,
            false_per_key_window: false_rate,
            found,
            target: format!("{}-{} %", percent(least), percent(most)),
            met: measured.is_some_and(|x| least <= x && x <= most),
        });
    };
    let [own, five, tenth] = tally.false_at.map(Rate::value);
    let first_week = tally.first_week.value();
    match feed.plant {
        Plant::Nothing | Plant::Join => {
            let scaled = budget / 0.01;
            row(feed.name.into(), own, None, 0.003 * scaled / slack, 0.015 * scaled * slack);
            if rule == "calibrated" {
                row(format!("{}, at 5 %", feed.name), five, None, 0.03 / slack, 0.06 * slack);
                row(format!("{}, at 0.1 %", feed.name), tenth, None, 0.0, 0.004 * slack);
            }
            row(format!("{}, first week", feed.name), first_week, None, 0.0, 0.02 * slack);
        }
        Plant::Scattered(_) if feed.fdr => {
            let rate = tally.false_discoveries / tally.windows;
            row(format!("{}, false among alarms", feed.name), Some(rate), None, 0.0, 0.1);
            row(format!("{}, found", feed.name), None, tally.found.value(), 0.85, 1.0);
        }
        _ => {
            let nb = feed.volumes == NB && matches!(feed.plant, Plant::Spike { .. });
            row(format!("{}, found", feed.name), None, tally.found.value(), if nb { 0.7 } else { 0.95 }, 1.0);
            row(format!("{}, elsewhere", feed.name), own, None, 0.0, 0.015);
        }
    }
    if feed.plant == Plant::Concentration && rule == "calibrated" {
        let carried = tally.found_by_concentration.value();
        row(format!("{}, carried by it", feed.name), None, carried, 0.95, 1.0);
    }
    rows
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut table = Table::new();
    table.set_header(["feed", "calibrated", "target", "met", "classic"]);
    let (mut seconds, mut judged, mut bytes) = (0.0, 0, 0);
    for feed in feeds(arguments.keys, arguments.days).iter().filter(|f| f.name.contains(&arguments.only)) {
        let mut tallies = [Tally::default(); 2];
        for seed in arguments.first_seed..arguments.first_seed + arguments.seeds {
            let cells = simulate(feed, seed);
            for (i, (_, detector)) in detectors(feed, arguments.budget)?.into_iter().enumerate() {
                let run = run(detector, feed, &cells);
                tallies[i].take(feed, &cells, &run.said);
                if i == 0 {
                    seconds += run.seconds;
                    bytes = bytes.max(run.bytes / feed.keys);
                    judged += feed.keys * feed.windows;
                }
            }
        }
        let calibrated = rows("calibrated", feed, &tallies[0], arguments.budget);
        let classic = rows("classic", feed, &tallies[1], arguments.budget);
        if arguments.json {
            for row in calibrated.iter().chain(&classic) {
                println!("{}", serde_json::to_string(row)?);
            }
            continue;
        }
        for row in calibrated {
            let beside = classic.iter().find(|other| other.feed == row.feed);
            let value = |row: &Row| {
                let value = row.false_per_key_window.or(row.found);
                value.map_or("-".into(), |value| format!("{:.2} %", 100.0 * value))
            };
            let met = if row.met { "yes" } else { "NO" };
            let classic = beside.map_or(String::new(), value);
            table.add_row([row.feed.clone(), value(&row), row.target.clone(), met.into(), classic]);
        }
    }
    if !arguments.json {
        println!("{table}");
        let micros = 1e6 * seconds / judged as f64;
        println!(
            "calibrated: {micros:.2} µs per key-window, judged and learned; at most {bytes} stored bytes a key,"
        );
        println!("the pool's share included, beside the key's ring of windows");
    }
    Ok(())
}
