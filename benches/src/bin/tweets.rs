//! The calibrated rule on real counts: the ten `realTweets` series of the Numenta Anomaly Benchmark as
//! ten keys of one table, hourly windows, phases of day and week.
//!
//! ```text
//! PEAK_SHARED=… cargo run --release -p peak-benches --bin tweets
//! ```
//!
//! Prints, for two budgets, the alarms per key and week, the labelled windows that were hit, and the
//! strangest hours with their explanations.

use anyhow::{Context, Result};
use clap::Parser;
use peak_core::{Key, Schema, Span, Summaries, Summary, Timestamp};
use peak_detectors::{Budget, Calibrated, Engine, Found, Peak, Phases};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Parser)]
#[command(about = "The calibrated peak rule on the realTweets series of the Numenta Anomaly Benchmark")]
struct Arguments {
    /// The folder that holds data/nab
    #[arg(long, env = "PEAK_SHARED")]
    shared: PathBuf,
    /// How many of the strangest hours are shown
    #[arg(long, default_value_t = 10)]
    show: usize,
    /// Phases of the day alone
    #[arg(long)]
    daily: bool,
}

const HOUR: i64 = 3_600_000;
const WEEK: i64 = 168 * HOUR;

/// Per hour, counted from 1970, and series: the sum of its counts.
type Hours = BTreeMap<i64, BTreeMap<String, u64>>;
/// Per series, the labelled windows.
type Labels = BTreeMap<String, Vec<Span>>;

fn read_hours(folder: &Path) -> Result<Hours> {
    let mut hours = Hours::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        for line in fs::read_to_string(&path)?.lines().skip(1) {
            let (time, value) = line.split_once(',').with_context(|| format!("no value in {line:?}"))?;
            let hour = Timestamp::parse(time)?.millis() / HOUR;
            *hours.entry(hour).or_default().entry(series(&path)).or_default() += value.parse::<f64>()? as u64;
        }
    }
    Ok(hours)
}

/// `Twitter_volume_AAPL.csv` is about AAPL.
fn series(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.trim_start_matches("Twitter_volume_").to_owned()
}

fn read_labels(file: &Path) -> Result<Labels> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let all: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text)?;
    let tweets = all.into_iter().filter(|(name, _)| name.starts_with("realTweets/"));
    let spans = |windows: Vec<(String, String)>| -> Result<Vec<Span>> {
        let span = |(start, end): (String, String)| {
            Ok(Span::new(Timestamp::parse(&start)?, Timestamp::parse(&end)?)?)
        };
        windows.into_iter().map(span).collect()
    };
    tweets.map(|(name, windows)| Ok((series(Path::new(&name)), spans(windows)?))).collect()
}

/// Everything that was found, and how many key-windows were judged.
fn find(hours: &Hours, budget: Budget, phases: Phases) -> Result<(Vec<Found>, u64)> {
    let schema = Arc::new(Schema::builder().time("timestamp").dimensions(["ticker"]).build()?);
    let rule = Calibrated::new(budget).with_phases(phases);
    let mut engine = Engine::new(Peak::calibrated(rule));
    let (mut found, mut judged) = (Vec::new(), 0);
    for (&hour, counts) in hours {
        let at = |hour| Timestamp::from_millis(hour * HOUR);
        let span = Span::new(at(hour)?, at(hour + 1)?)?;
        let row = |(series, &records): (&String, &u64)| (Key::new([series]), Summary::new(records));
        let step = engine.take(Summaries::new(Arc::clone(&schema), span, counts.iter().map(row))?)?;
        judged += step.judged;
        found.extend(step.found);
    }
    Ok((found, judged))
}

/// How many labelled windows hold something found, of those that begin after the first judged week.
fn hits(found: &[Found], labels: &Labels, from: Timestamp) -> (usize, usize) {
    let of_series =
        labels.iter().flat_map(|(series, windows)| windows.iter().map(move |span| (series, span)));
    let later: Vec<_> = of_series.filter(|(_, span)| span.end() > from).collect();
    let hit = |(series, span): &&(&String, &Span)| {
        found.iter().any(|f| f.key.values().next() == Some(series) && f.span.overlaps(**span))
    };
    (later.iter().filter(hit).count(), later.len())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let hours = read_hours(&arguments.shared.join("data/nab/data/realTweets"))?;
    let labels = read_labels(&arguments.shared.join("data/nab/labels/combined_windows.json"))?;
    let phases = if arguments.daily { Phases::HOURS_OF_DAY } else { Phases::HOURS_OF_WEEK };
    let first = hours.keys().next().copied().unwrap_or_default() * HOUR;
    let from = Timestamp::from_millis(first + WEEK)?;
    for budget in [0.01, 0.001] {
        let (mut found, judged) = find(&hours, Budget::per_key_window(budget)?, phases)?;
        let (hit, labelled) = hits(&found, &labels, from);
        println!(
            "budget {:.1} %: {} alarms in {judged} key-hours ({:.2} %), {:.2} per key and week; \
             {hit} of {labelled} labelled windows hit",
            100.0 * budget,
            found.len(),
            100.0 * found.len() as f64 / judged as f64,
            found.len() as f64 / judged as f64 * 168.0,
        );
        found.sort_by(|a, b| b.verdict.score.total_cmp(&a.verdict.score));
        for found in found.iter().take(arguments.show) {
            println!("  {} {}: {}", found.span.start(), found.key, found.explanation);
        }
    }
    Ok(())
}
