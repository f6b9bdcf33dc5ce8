//! How often the sigma ensemble opens an incident when nothing is wrong, and whether it finds what was
//! planted, beside Skyline's rules and the median absolute deviation.
//!
//! ```text
//! cargo run --release -p peak-benches --bin sigma_experiment -- --seeds 20
//! ```
//!
//! With `--p-values` it tells instead how often p-values of the default ensemble are at most q, over q: 1
//! where they are what they say, on series of many kinds on which nothing is wrong.
//!
//! Series are of one-minute points. The first two windows (with a season: four days) are learned;
//! then 30 days count. One set of parameters serves all series; the seasonal baseline is on for the daily sine
//! alone. Spikes of 8 standard deviations of the noise last one point; shifts last 12 hours.

#![allow(clippy::unwrap_used, reason = "an experiment may panic")]

use clap::Parser;
use comfy_table::Table;
use peak_core::{Timestamp, Tz};
use peak_detectors::series::Seasonality;
use peak_detectors::{Detector, Incidents, Mad, News, NormalRange, Point, SigmaEnsemble};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Normal, Poisson, StudentT};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::f64::consts::TAU;
use std::ops::Range;

#[derive(Parser)]
#[command(about = "False incidents and finds of the series detectors on simulated series")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 2001)]
    first_seed: u64,
    /// How many days are judged
    #[arg(long, default_value_t = 30)]
    days: usize,
    /// How often p-values are at most q, over q
    #[arg(long)]
    p_values: bool,
}

const DAY: usize = 1_440;
const LEARNED: usize = 4 * DAY;
const SPIKE: f64 = 8.0;

fn at(minute: usize) -> Timestamp {
    Timestamp::from_millis(1_704_067_200_000 + minute as i64 * 60_000).unwrap()
}

#[derive(Clone, Copy, PartialEq)]
enum Feed {
    Gaussian,
    Poisson,
    LogNormal,
    DailySine,
}

impl Feed {
    const ALL: [(Feed, &'static str); 4] = [
        (Feed::Gaussian, "Gaussian"),
        (Feed::Poisson, "Poisson(0.3)"),
        (Feed::LogNormal, "lognormal(σ = 1)"),
        (Feed::DailySine, "daily sine"),
    ];

    fn series(self, seed: u64, minutes: usize) -> Vec<f64> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let normal = Normal::new(0.0, 3.0).unwrap();
        let sine = |minute: usize| 30.0 * (minute as f64 / DAY as f64 * TAU).sin();
        (0..minutes)
            .map(|minute| match self {
                Feed::Gaussian => 50.0 + normal.sample(&mut rng),
                Feed::Poisson => Poisson::new(0.3).unwrap().sample(&mut rng),
                Feed::LogNormal => LogNormal::new(0.0, 1.0).unwrap().sample(&mut rng),
                Feed::DailySine => 100.0 + sine(minute) + normal.sample(&mut rng),
            })
            .collect()
    }
}

/// What was told of a series.
#[derive(Default)]
struct Told {
    /// Where incidents opened.
    opened: Vec<usize>,
    /// Where points were anomalous.
    anomalous: Vec<usize>,
}

fn watch<D: Detector<Point>>(
    mut detector: D,
    normal: impl Fn(&D) -> Option<NormalRange>,
    feed: impl Fn(&D) -> &peak_detectors::series::Feed,
    values: &[f64],
) -> Told {
    let (mut incidents, mut told) = (Incidents::default(), Told::default());
    for (minute, &value) in values.iter().enumerate() {
        let point = Point::new(at(minute), value);
        if minute < LEARNED {
            detector.learn(&point);
            continue;
        }
        // What was normal before the point; it is only needed where an incident may open.
        let before = if incidents.open().is_none() { normal(&detector) } else { None };
        let judged = detector.step(&point);
        if judged.is_ok_and(|verdict| verdict.anomalous) {
            told.anomalous.push(minute);
        }
        let seen = feed(&detector).as_judged(&point);
        let news = incidents.observe(&seen, judged, before);
        told.opened.extend(news.iter().filter(|news| matches!(news, News::Opened(_))).map(|_| minute));
    }
    told
}

#[derive(Clone, Copy, PartialEq)]
enum Which {
    Default,
    Skyline,
    Mad,
}

fn run(which: Which, feed: Feed, values: &[f64]) -> Told {
    match which {
        Which::Default if feed == Feed::DailySine => {
            let ensemble = SigmaEnsemble::default().with_seasonality(Seasonality::Weekly(Tz::UTC));
            watch(ensemble, SigmaEnsemble::normal_range, SigmaEnsemble::feed, values)
        }
        Which::Default => {
            watch(SigmaEnsemble::default(), SigmaEnsemble::normal_range, SigmaEnsemble::feed, values)
        }
        Which::Skyline => watch(SigmaEnsemble::skyline(), |_| None, SigmaEnsemble::feed, values),
        Which::Mad => watch(Mad::default(), Mad::normal_range, Mad::feed, values),
    }
}

/// Whether the last point of a short series is anomalous.
fn found_last(which: Which, values: &[f64]) -> bool {
    let mut detector: Box<dyn Detector<Point>> = match which {
        Which::Default => Box::new(SigmaEnsemble::default()),
        Which::Skyline => Box::new(SigmaEnsemble::skyline()),
        Which::Mad => Box::new(Mad::default()),
    };
    let points = values.iter().enumerate().map(|(minute, &value)| Point::new(at(minute), value));
    points.fold(false, |_, point| detector.step(&point).is_ok_and(|verdict| verdict.anomalous))
}

const ALL: [Which; 3] = [Which::Default, Which::Skyline, Which::Mad];

fn row(table: &mut Table, name: String, target: &str, of: impl Fn(Which) -> f64) {
    let cells = ALL.map(|which| format!("{:.2}", of(which)));
    table.add_row([name, target.to_owned()].into_iter().chain(cells));
}

/// Series on which nothing is wrong, for p-values.
const KINDS: [&str; 19] = [
    "Gaussian",
    "uniform",
    "t3",
    "lognormal(σ = 1)",
    "AR 0.9",
    "AR 0.99",
    "random walk",
    "GARCH",
    "daily sine, 3 σ",
    "spread by the time of day",
    "Poisson(20), daily",
    "Poisson(5)",
    "Poisson(0.3)",
    "Poisson(0.05)",
    "rounded Gaussian",
    "on and off",
    "bursts",
    "a job of 20 minutes a day",
    "steps",
];

fn series_of(kind: &str, seed: u64, minutes: usize) -> Vec<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let unit = Normal::new(0.0, 1.0).unwrap();
    let (mut x, mut variance, mut on) = (0.0, 1.0f64, false);
    let of = |minute: usize| {
        let day = (minute as f64 / DAY as f64 * TAU).sin();
        let noise = unit.sample(&mut rng);
        let mut poisson = |mean: f64| Poisson::new(mean).unwrap().sample(&mut rng);
        match kind {
            "Gaussian" => noise,
            "uniform" => rng.random::<f64>(),
            "t3" => StudentT::new(3.0).unwrap().sample(&mut rng),
            "lognormal(σ = 1)" => noise.exp(),
            "AR 0.9" | "AR 0.99" | "random walk" => {
                let kept = match kind {
                    "AR 0.9" => 0.9,
                    "AR 0.99" => 0.99,
                    _ => 1.0,
                };
                x = noise + kept * x;
                x
            }
            "GARCH" => {
                let value = variance.sqrt() * noise;
                variance = 0.05 + 0.15 * value * value + 0.8 * variance;
                value
            }
            "daily sine, 3 σ" => 3.0 * day + noise,
            "spread by the time of day" => (1.5 * day).exp() * noise,
            "Poisson(20), daily" => poisson(20.0 * (1.2 * day).exp()),
            "Poisson(5)" => poisson(5.0),
            "Poisson(0.3)" => poisson(0.3),
            "Poisson(0.05)" => poisson(0.05),
            "rounded Gaussian" => (0.4 * noise).round(),
            "on and off" => {
                on ^= rng.random_bool(0.005);
                noise + if on { 50.0 } else { 0.0 }
            }
            "bursts" => {
                if rng.random_bool(0.002) {
                    x = 30.0 * rng.random::<f64>();
                }
                x *= 0.8;
                noise + x
            }
            "a job of 20 minutes a day" => noise + if minute % DAY < 20 { 40.0 } else { 0.0 },
            _ => noise + 3.0 * (minute / (3 * DAY)) as f64,
        }
    };
    (0..minutes).map(of).collect()
}

fn p_values(seeds: Range<u64>, minutes: usize) -> Table {
    const LEVELS: [f64; 5] = [0.5, 0.1, 0.01, 1e-3, 1e-4];
    let mut table = Table::new();
    let heads = LEVELS.map(|q| format!("P(p ≤ q)/q, q = {q}"));
    table.set_header(
        ["series"]
            .into_iter()
            .map(String::from)
            .chain(heads)
            .chain(["incidents a series".into(), "anomalous".into()]),
    );
    for kind in KINDS {
        let (mut counts, mut judged, mut opened, mut anomalous, mut n) =
            ([0u64; LEVELS.len()], 0u64, 0u64, 0u64, 0u64);
        for seed in seeds.clone() {
            let (mut ensemble, mut incidents) = (SigmaEnsemble::default(), Incidents::default());
            for (minute, value) in series_of(kind, seed, minutes).into_iter().enumerate() {
                let point = Point::new(at(minute), value);
                let verdict = ensemble.step(&point);
                if minute < LEARNED {
                    continue;
                }
                if let Ok(verdict) = verdict {
                    judged += 1;
                    anomalous += u64::from(verdict.anomalous);
                    let p = verdict.p_value.unwrap();
                    counts.iter_mut().zip(LEVELS).for_each(|(count, q)| *count += u64::from(p <= q));
                }
                opened += {
                    let news = incidents.observe(&point, verdict, None);
                    news.iter().filter(|news| matches!(news, News::Opened(_))).count() as u64
                };
            }
            n += 1;
        }
        let ratios =
            counts.iter().zip(LEVELS).map(|(&count, q)| format!("{:.2}", count as f64 / judged as f64 / q));
        let ends = [opened, anomalous].map(|count| format!("{:.1}", count as f64 / n as f64));
        table.add_row([kind.to_owned()].into_iter().chain(ratios).chain(ends));
    }
    table
}

fn main() {
    let arguments = Arguments::parse();
    let seeds = || arguments.first_seed..arguments.first_seed + arguments.seeds;
    let n = arguments.seeds as f64;
    let minutes = LEARNED + arguments.days * DAY;
    if arguments.p_values {
        println!("{}", p_values(seeds(), minutes));
        return;
    }
    let mut table = Table::new();
    table.set_header(["what", "target", "default", "skyline", "MAD"]);

    for (feed, name) in Feed::ALL {
        row(
            &mut table,
            format!("{name}: false incidents a series and {} days", arguments.days),
            "≤ 1",
            |which| {
                seeds()
                    .map(|seed| run(which, feed, &feed.series(seed, minutes)).opened.len() as f64)
                    .sum::<f64>()
                    / n
            },
        );
    }
    for (feed, name) in [Feed::ALL[0], Feed::ALL[3]] {
        for (side, direction) in [(1.0, "up"), (-1.0, "down")] {
            row(&mut table, format!("{name}: spikes of 8 σ {direction} found, %"), "≥ 95", |which| {
                let (mut found, mut planted) = (0, 0);
                for seed in seeds() {
                    let mut values = feed.series(seed, LEARNED + 10 * DAY);
                    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed + 1_000_000);
                    let spikes: Vec<usize> = (LEARNED..values.len() - 700)
                        .step_by(700)
                        .map(|i| i + rng.random_range(0..300))
                        .collect();
                    spikes.iter().for_each(|&spike| values[spike] += side * SPIKE * 3.0);
                    let told = run(which, feed, &values);
                    found +=
                        spikes.iter().filter(|spike| told.anomalous.binary_search(spike).is_ok()).count();
                    planted += spikes.len();
                }
                100.0 * f64::from(found as u32) / f64::from(planted as u32)
            });
        }
    }
    for (side, direction) in [(1.0, "up"), (-1.0, "down")] {
        row(&mut table, format!("Gaussian: the same {direction}, after one window, %"), "≥ 95", |which| {
            let trials = (0..20 * arguments.seeds).map(|trial| {
                let mut values = Feed::Gaussian.series(arguments.first_seed + trial, LEARNED + DAY);
                values.drain(..LEARNED);
                *values.last_mut().unwrap() += side * SPIKE * 3.0;
                found_last(which, &values)
            });
            100.0 * trials.filter(|found| *found).count() as f64 / (20.0 * n)
        });
    }
    for (hours, size) in [(12, 8.0), (48, 8.0)] {
        row(
            &mut table,
            format!("Gaussian: spikes of 12 σ in the week after {hours} hours at {size:+} σ, %"),
            "≥ 95",
            |which| {
                let (mut found, mut planted) = (0, 0);
                for seed in seeds() {
                    let mut values = Feed::Gaussian.series(seed, LEARNED + 10 * DAY);
                    let from = LEARNED + DAY;
                    values[from..from + hours * 60].iter_mut().for_each(|x| *x += size * 3.0);
                    let spikes: Vec<usize> = (LEARNED + 4 * DAY..values.len()).step_by(1_000).collect();
                    spikes.iter().for_each(|&spike| values[spike] += 12.0 * 3.0);
                    let told = run(which, Feed::Gaussian, &values);
                    found +=
                        spikes.iter().filter(|spike| told.anomalous.binary_search(spike).is_ok()).count();
                    planted += spikes.len();
                }
                100.0 * f64::from(found as u32) / f64::from(planted as u32)
            },
        );
    }
    for size in [4.0, 6.0, 8.0, 12.0, 20.0] {
        for side in [1.0, -1.0] {
            row(&mut table, format!("Gaussian: incidents of a shift by {:+} σ", side * size), "1", |which| {
                seeds()
                    .map(|seed| {
                        let mut values = Feed::Gaussian.series(seed, LEARNED + 3 * DAY);
                        let from = LEARNED + DAY / 2;
                        values[from..].iter_mut().for_each(|x| *x += side * size * 3.0);
                        run(which, Feed::Gaussian, &values).opened.iter().filter(|&&at| at >= from).count()
                            as f64
                    })
                    .sum::<f64>()
                    / n
            });
        }
    }
    println!("{table}");
}
