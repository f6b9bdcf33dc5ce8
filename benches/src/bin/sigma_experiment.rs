//! How often the sigma ensemble opens an incident when nothing is wrong, and whether it finds what was
//! planted, beside Skyline's rules and the median absolute deviation.
//!
//! ```text
//! cargo run --release -p peak-benches --bin sigma_experiment -- --seeds 20
//! ```
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
use rand_distr::{Distribution, LogNormal, Normal, Poisson};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::f64::consts::TAU;

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

fn main() {
    let arguments = Arguments::parse();
    let seeds = || arguments.first_seed..arguments.first_seed + arguments.seeds;
    let n = arguments.seeds as f64;
    let minutes = LEARNED + arguments.days * DAY;
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
