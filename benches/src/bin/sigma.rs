//! The speed and memory of the sigma ensemble, as JSON.
//!
//! ```text
//! cargo run --release -p peak-benches --bin sigma -- --window 1440 --series 100000 --threads 2
//! ```
//!
//! Series are of one-minute Gaussian values. All windows are filled; then every round gives each series
//! one point, so that with many series no window is in a cache. Times of one thread are processor
//! time, those of several are by the clock. `all_votes` is with every test; the verdict alone
//! spares the votes that cannot matter. Renewals, once per window length, are in the figures of one series.
//! `original` is what Skyline's nine tests take a series in Python, 2.4 ms at 1,440 points; it reads
//! the series anew for each point.
//!
//! `--drift N` pushes N points through one window and compares the votes with those of a fresh batch
//! evaluation every thousand points.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use clap::Parser;
use peak_benches::{cpu_seconds, median, memory_bytes};
use peak_core::{Key, Timestamp};
use peak_detectors::{Detector, Fleet, Point, SigmaEnsemble};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Speed and memory of the sigma ensemble, as JSON")]
struct Arguments {
    /// Points a window holds
    #[arg(long, default_value_t = 1_440)]
    window: usize,
    /// How many series
    #[arg(long, default_value_t = 1_000)]
    series: usize,
    /// How many threads step them
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// How many rounds are measured; the median counts
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Vote as Skyline does
    #[arg(long)]
    skyline: bool,
    /// Step single points of a fleet instead, with a budget and without
    #[arg(long, conflicts_with = "drift")]
    budget: bool,
    /// Push so many points through one window instead, and compare with batch evaluations
    #[arg(long)]
    drift: Option<usize>,
}

const MINUTE: i64 = 60_000;
const ORIGINAL_SECONDS: f64 = 2.4e-3;

fn at(minute: usize) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + minute as i64 * MINUTE).unwrap()
}

fn noise() -> impl Iterator<Item = f64> {
    let (mut rng, normal) = (Xoshiro256PlusPlus::seed_from_u64(7), Normal::new(50.0, 3.0).unwrap());
    std::iter::repeat_with(move || normal.sample(&mut rng))
}

fn main() {
    let arguments = Arguments::parse();
    let ensemble = if arguments.skyline { SigmaEnsemble::skyline() } else { SigmaEnsemble::default() };
    let ensemble = ensemble.with_window(arguments.window).unwrap();
    let result = match arguments.drift {
        Some(points) => drift(&ensemble, points),
        None if arguments.budget => budget(&arguments, &ensemble),
        None => speed(&arguments, &ensemble),
    };
    println!("{result:#}");
}

fn speed(arguments: &Arguments, ensemble: &SigmaEnsemble) -> serde_json::Value {
    let Arguments { window, series, threads, rounds, .. } = *arguments;
    let mut values = noise();

    // One series, in the cache.
    let mut one = ensemble.clone();
    (0..2 * window).for_each(|i| one.learn(&Point::new(at(i), values.next().unwrap())));
    let points: Vec<Point> =
        (0..200_000).map(|i| Point::new(at(2 * window + i), values.next().unwrap())).collect();
    let hot = median(
        (0..5)
            .map(|_| {
                let mut one = one.clone();
                let start = cpu_seconds();
                for point in &points {
                    black_box(one.step(point)).ok();
                }
                (cpu_seconds() - start) / points.len() as f64
            })
            .collect(),
    );

    // The same with all votes; the default ensemble spares those that cannot matter.
    let voting = median(
        (0..5)
            .map(|_| {
                let mut one = one.clone();
                let start = cpu_seconds();
                for point in &points {
                    one.learn(point);
                    black_box(one.assess()).ok();
                }
                (cpu_seconds() - start) / points.len() as f64
            })
            .collect(),
    );

    // A series that is evaluated as a whole.
    let times: Vec<Timestamp> = (0..window).map(at).collect();
    let whole: Vec<f64> = values.by_ref().take(window).collect();
    const TIMES: usize = 2_000;
    let batch = median(
        (0..5)
            .map(|_| {
                let start = cpu_seconds();
                for _ in 0..TIMES {
                    black_box(ensemble.assess_series(&times, black_box(&whole), times[window - 1]))
                        .unwrap()
                        .ok();
                }
                (cpu_seconds() - start) / TIMES as f64
            })
            .collect(),
    );

    // All series, a point each in every round.
    let before = memory_bytes("VmRSS");
    let prototype = ensemble.clone();
    let mut fleet = Fleet::new(move |_| prototype.clone());
    let keys: Vec<Key> = (0..series).map(|i| Key::new([format!("series-{i}")])).collect();
    let pool: Vec<f64> = values.by_ref().take(1 << 16).collect();
    let round = |minute: usize| -> Vec<(Key, Point)> {
        let value = |i: usize| pool[(i * 31 + minute * 7_919) % pool.len()];
        keys.iter().enumerate().map(|(i, key)| (key.clone(), Point::new(at(minute), value(i)))).collect()
    };
    for minute in 0..window {
        fleet.step(&round(minute), NonZeroUsize::new(2).unwrap());
    }
    let resident = memory_bytes("VmRSS").zip(before).map(|(after, before)| after.saturating_sub(before));
    let mut elapsed = Vec::new();
    for minute in window..window + rounds {
        let points = round(minute);
        let (start, clock) = (cpu_seconds(), Instant::now());
        black_box(fleet.step(&points, threads));
        let one_thread = threads.get() == 1;
        elapsed.push(if one_thread { cpu_seconds() - start } else { clock.elapsed().as_secs_f64() });
    }
    let elapsed = median(elapsed);
    json!({
        "window": window,
        "series": series,
        "threads": threads,
        "ns_per_point_one_series": hot * 1e9,
        "ns_per_point_all_votes": voting * 1e9,
        "times_original": ORIGINAL_SECONDS * window as f64 / 1_440.0 / voting,
        "batch_us_per_series": batch * 1e6,
        "batch_times_original": ORIGINAL_SECONDS * window as f64 / 1_440.0 / batch,
        "ns_per_point_all_series": elapsed * 1e9 / series as f64,
        "points_per_second": series as f64 / elapsed,
        "bytes_per_series": fleet.bytes() / series.max(1),
        "bytes_per_series_target": 2 * window * 8 + 1024,
        "resident_bytes": resident,
    })
}

/// What a single point costs in a fleet of many series, side by side: with a budget that is never
/// reached, with one that is always reached, and without.
fn budget(arguments: &Arguments, ensemble: &SigmaEnsemble) -> serde_json::Value {
    let Arguments { series, rounds, .. } = *arguments;
    const POINTS: usize = 20_000;
    let keys: Vec<Key> = (0..2 * series).map(|i| Key::new([format!("series-{i}")])).collect();
    let fleet = |most: Option<usize>| {
        let prototype = ensemble.clone();
        let fleet = Fleet::new(move |_| prototype.clone());
        let mut fleet = match most {
            Some(bytes) => fleet.with_budget(bytes),
            None => fleet,
        };
        let all: Vec<_> = keys[..series].iter().map(|key| (key.clone(), Point::new(at(0), 50.0))).collect();
        fleet.step(&all, NonZeroUsize::MIN);
        fleet
    };
    let (mut without, mut with) = (fleet(None), fleet(Some(usize::MAX)));
    let mut full = fleet(Some(without.bytes()));
    let (mut times, mut minute) = ([Vec::new(), Vec::new(), Vec::new()], 0);
    for _ in 0..rounds {
        for (times, (fleet, keys)) in times.iter_mut().zip([
            (&mut without, &keys[..series]),
            (&mut with, &keys[..series]),
            // Every other point is of a key that is not there, and another one has to go.
            (&mut full, &keys[..]),
        ]) {
            let start = cpu_seconds();
            for i in 0..POINTS {
                let key = &keys[(minute + i) * 7_919 % keys.len()];
                black_box(
                    fleet.step(&[(key.clone(), Point::new(at(1 + minute + i), 51.0))], NonZeroUsize::MIN),
                );
            }
            times.push((cpu_seconds() - start) / POINTS as f64);
        }
        minute += POINTS;
    }
    let [without, with, full_seconds] = times.map(median);
    json!({
        "series": series,
        "ns_per_single_point": without * 1e9,
        "times_with_a_budget": with / without,
        "times_with_a_full_budget": full_seconds / without,
        "evicted": full.evicted(),
    })
}

fn drift(ensemble: &SigmaEnsemble, points: usize) -> serde_json::Value {
    let window = ensemble.feed().window().window();
    let mut live = ensemble.clone();
    let (mut times, mut recent) = (Vec::new(), Vec::new());
    let (mut compared, mut different, mut yes) = (0u64, Vec::new(), 0u64);
    let start = Instant::now();
    for (i, noise) in noise().take(points).enumerate() {
        // A level that wanders, and spikes of all sizes.
        let value = noise
            + 40.0 * (i as f64 / 9_000.0).sin()
            + if i % 997 == 0 { (i % 17) as f64 * 9.0 } else { 0.0 };
        live.learn(&Point::new(at(i), value));
        times.push(at(i));
        recent.push(value);
        if times.len() >= 4 * window {
            times.drain(..3 * window);
            recent.drain(..3 * window);
        }
        if i >= window && (i % 1_000 == 0 || i % 997 == 0) {
            let from = times.len() - window;
            let fresh = ensemble.vote_on_series(&times[from..], &recent[from..], at(i)).unwrap();
            for (a, b) in live.ballots().iter().zip(&fresh) {
                compared += 1;
                yes += u64::from(b.vote == peak_detectors::Vote::Yes);
                if a.vote != b.vote {
                    different.push(json!({ "point": i, "streaming": a, "batch": b }));
                }
            }
        }
    }
    json!({
        "points": points,
        "votes_compared": compared,
        "votes_yes": yes,
        "different": different.len(),
        "examples": different.into_iter().take(5).collect::<Vec<_>>(),
        "seconds": start.elapsed().as_secs_f64(),
    })
}
