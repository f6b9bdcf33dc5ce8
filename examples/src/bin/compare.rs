//! Every series detector on one feed: what each found, how they agree, and what they cost.
//!
//! ```sh
//! cargo run --release -p peak-examples --bin compare < series.csv
//! ```
//!
//! Lines are as those of `streaming`. Without an input of its own (`--demo`) the feed is three days of
//! minutes with a spike, a drop and a shift.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use comfy_table::Table;
use peak_core::Timestamp;
use peak_detectors::{Detector, Incidents, Mad, News, Point, SigmaEnsemble};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Every series detector on one feed")]
struct Arguments {
    /// Compares on a feed of its own
    #[arg(long)]
    demo: bool,
}

/// What a detector said of the feed.
struct Said {
    name: &'static str,
    judged: usize,
    anomalous: BTreeSet<usize>,
    incidents: Vec<Timestamp>,
    nanoseconds: f64,
}

fn ask(name: &'static str, mut detector: Box<dyn Detector<Point>>, feed: &[Point]) -> Said {
    let start = Instant::now();
    let judged: Vec<_> = feed.iter().map(|point| detector.step(point)).collect();
    let nanoseconds = start.elapsed().as_nanos() as f64 / feed.len().max(1) as f64;
    let mut incidents = Incidents::default();
    let news = feed.iter().zip(&judged).flat_map(|(point, judged)| incidents.observe(point, *judged, None));
    let opened = news.filter_map(|news| match news {
        News::Opened(incident) => Some(incident.start.time),
        _ => None,
    });
    let opened = opened.collect();
    let is_anomalous = |(i, judged): (usize, &Result<peak_detectors::Verdict, _>)| {
        judged.is_ok_and(|verdict| verdict.anomalous).then_some(i)
    };
    Said {
        name,
        judged: judged.iter().filter(|judged| judged.is_ok()).count(),
        anomalous: judged.iter().enumerate().filter_map(is_anomalous).collect(),
        incidents: opened,
        nanoseconds,
    }
}

fn demo() -> Result<Vec<Point>> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
    let noise = Normal::new(50.0, 3.0).context("a distribution")?;
    (0..3 * 1_440)
        .map(|minute| {
            let planted = match minute {
                2_000 => 30.0,
                2_700 => -30.0,
                3_500.. => 20.0,
                _ => 0.0,
            };
            let time = Timestamp::from_millis(1_704_067_200_000 + minute * 60_000)?;
            Ok(Point::new(time, noise.sample(&mut rng) + planted))
        })
        .collect()
}

fn read() -> Result<Vec<Point>> {
    let point = |(number, line): (usize, std::io::Result<String>)| {
        let line = line.context("standard input")?;
        let (time, value) = line
            .trim()
            .split_once([',', ' '])
            .ok_or_else(|| anyhow!("line {}: must be a time and a value, got {line:?}", number + 1))?;
        let value = value.trim().parse().with_context(|| format!("line {}: value {value:?}", number + 1))?;
        Ok(Point::new(Timestamp::parse(time.trim())?, value))
    };
    std::io::stdin().lock().lines().enumerate().map(point).collect()
}

fn main() -> Result<()> {
    let feed = if Arguments::parse().demo { demo()? } else { read()? };
    let said = [
        ask("sigma", Box::new(SigmaEnsemble::default()), &feed),
        ask("sigma skyline", Box::new(SigmaEnsemble::skyline()), &feed),
        ask("MAD", Box::new(Mad::default()), &feed),
        ask("double MAD", Box::new(Mad::double()), &feed),
    ];
    let mut table = Table::new();
    let names = said.iter().map(|said| format!("with {}", said.name));
    let columns = ["detector", "judged", "anomalous", "incidents", "first of them", "ns a point"];
    table.set_header(columns.map(str::to_owned).into_iter().chain(names));
    for one in &said {
        let first: Vec<String> = one.incidents.iter().take(3).map(ToString::to_string).collect();
        let own = [
            one.name.to_owned(),
            one.judged.to_string(),
            one.anomalous.len().to_string(),
            one.incidents.len().to_string(),
            first.join("\n"),
            format!("{:.0}", one.nanoseconds),
        ];
        let agreed =
            said.iter().map(|other| one.anomalous.intersection(&other.anomalous).count().to_string());
        table.add_row(own.into_iter().chain(agreed));
    }
    println!("{table}");
    Ok(())
}
