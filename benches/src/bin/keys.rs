//! Tables of very many keys: how fast a window is judged and learned, what a key takes, and how fast
//! the whole is saved and loaded.
//!
//! ```text
//! cargo run --release -p peak-benches --bin keys -- --keys 1000000 --windows 42
//! ```
//!
//! Prints one JSON object a line: what was measured, its median, and over how many runs. Rates are by
//! the processor's time where the system tells it (Linux), which other programs disturb least; for
//! files there is the rate by the clock on the wall, too. Memory is
//! what the system says of a process of its own that loads the snapshot, so that nothing but the
//! engine is in it; it is known on Linux only.

use anyhow::{Result, ensure};
use clap::Parser;
use peak_benches::{cpu_seconds, median, memory_bytes, mix};
use peak_core::{
    CountMoments, GlobalTable, Key, LabelCount, LabelSummary, Schema, Span, Summaries, Summary, Timestamp, Tz,
};
use peak_detectors::{Classic, Engine, Peak};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Measures tables of very many keys.
#[derive(Parser)]
struct Args {
    /// How many keys.
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// How many daily windows there are before the timed ones; they are also the horizon.
    #[arg(long, default_value_t = 42)]
    windows: usize,
    /// How often what is timed is run.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Only what has this in its name, of learn, classic and calibrated.
    #[arg(long, default_value = "")]
    only: String,
    /// Loads this snapshot, saves it beside itself, and says what that takes; measures nothing else.
    #[arg(long, hide = true)]
    load: Option<PathBuf>,
    /// The rule of the snapshot.
    #[arg(long, hide = true, default_value = "calibrated")]
    rule: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.keys > 0 && args.windows > 0 && args.runs > 0, "there must be keys, windows and runs");
    if let Some(path) = &args.load {
        println!("{}", load_and_save(path, &args.rule)?);
        return Ok(());
    }
    let feed = Feed::new(args.keys, args.windows + args.runs + 1)?;
    if "learn".contains(&args.only) {
        learn(&feed, &args)?;
    }
    for rule in ["classic", "calibrated"].into_iter().filter(|rule| rule.contains(&args.only)) {
        observe(&feed, &args, rule)?;
    }
    Ok(())
}

/// Windows of a day of busy keys, each with its own level and two senders. Nearly half of the samples
/// come twice, as they always do; one key in a thousand has a sample that comes far too often.
struct Feed {
    schema: Arc<Schema>,
    days: Vec<Span>,
    keys: usize,
}

impl Feed {
    fn new(keys: usize, windows: usize) -> Result<Self> {
        let schema = Schema::builder().time("time").sample("event");
        let schema = schema.dimensions(["severity", "host"]).blame(["user", "origin"]).build()?;
        let start = Timestamp::parse("2020-01-01T00:00:00Z")?.millis();
        let day = |i: usize| {
            let at = |i: usize| Timestamp::from_millis(start + i as i64 * 86_400_000);
            Span::new(at(i)?, at(i + 1)?)
        };
        Ok(Feed { schema: Arc::new(schema), days: (0..windows).map(day).collect::<Result<_, _>>()?, keys })
    }

    /// A window of all keys, in their order, as a source gives it: sharing nothing with those before.
    fn window(&self, day: usize) -> Result<Summaries> {
        let rows = (0..self.keys).map(|i| self.row(day, i));
        Ok(Summaries::new(Arc::clone(&self.schema), self.days[day], rows)?)
    }

    fn row(&self, day: usize, i: usize) -> (Key, Summary) {
        let (third, host) = (self.keys.div_ceil(3), i % self.keys.div_ceil(3));
        let severity = ["benign", "malicious", "suspicious"][i / third];
        let level = 500 + mix(i as u64) % 4_000;
        let noise = mix((day * self.keys + i) as u64);
        let records = level * (80 + noise % 40) / 100;
        let distinct = records * 100 / 155;
        let max = if (noise / 1_000).is_multiple_of(1_000) { records / 3 } else { 2 };
        let (n, sum_of_squares) = (distinct, u128::from(max * max + 2 * records));
        let label = |name: &str, number: u64, count, moments| {
            let top = LabelCount::new(format!("{name}-{number:04}"), count);
            LabelSummary::new(moments).with_top([top])
        };
        let sender = |name: &str, number: u64, count| {
            label(name, number, count, CountMoments::from_iter([count, records - count]))
        };
        let samples = CountMoments::from_parts(n, records, sum_of_squares, max);
        let labels = [
            label("event", noise % 1_000, max, samples),
            sender("user", noise % 400, records * (30 + noise % 20) / 100),
            sender("origin", noise % 7, records * (60 + noise % 30) / 100),
        ];
        (Key::new([severity, &format!("host-{host:06}")]), Summary::new(records).with_labels(labels))
    }
}

fn learn(feed: &Feed, args: &Args) -> Result<()> {
    let mut table = GlobalTable::new(Duration::from_secs(86_400 * args.windows as u64));
    let mut seconds = Vec::new();
    for day in 0..args.windows + args.runs {
        let window = feed.window(day)?;
        let start = cpu_seconds();
        table.learn(&window)?;
        seconds.push(cpu_seconds() - start);
    }
    let bytes: usize = table.iter().map(|(_, baseline)| baseline.memory_bytes()).sum();
    print("learn the first window", args, rate(args, &mut seconds[..1]));
    print("learn a window, the horizon being full", args, rate(args, &mut seconds[args.windows..]));
    print("baseline", args, json!({ "bytes_per_key": bytes / args.keys }));
    Ok(())
}

fn detector(rule: &str, schema: &Schema) -> Peak {
    if rule == "classic" { Peak::classic(Classic::new(schema, Tz::UTC)) } else { Peak::default() }
}

fn observe(feed: &Feed, args: &Args, rule: &str) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("peak-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("history.peak");
    let horizon = Duration::from_secs(86_400 * args.windows as u64);
    let mut engine = Engine::open(&path, detector(rule, &feed.schema))?.with_horizon(horizon);
    let mut seconds = Vec::new();
    for day in 0..args.windows + args.runs {
        let window = feed.window(day)?;
        let start = cpu_seconds();
        let step = engine.take(&window)?;
        seconds.push(cpu_seconds() - start);
        ensure!(day == 0 || step.refused.len() <= 1, "{:?}", step.refused);
    }
    print(&format!("judge and learn, {rule}"), args, rate(args, &mut seconds[args.windows..]));
    if rule == "calibrated" {
        let quiet = median(seconds[args.windows..].to_vec());
        print("all keys gone", args, all_gone(&engine, feed, args, quiet)?);
    }

    let mut saves = timed(args.runs, || Ok(engine.save()?))?;
    let bytes = std::fs::metadata(&path)?.len();
    print(&format!("save, {rule}"), args, throughput(bytes, &mut saves));
    drop(engine);
    let load = || Engine::open(&path, detector(rule, &feed.schema)).map(drop);
    let mut loads = timed(args.runs, || Ok(load()?))?;
    print(&format!("load, {rule}"), args, throughput(bytes, &mut loads));
    print(&format!("memory, {rule}"), args, in_its_own_process(&path, rule, args)?);
    Ok(std::fs::remove_dir_all(&folder)?)
}

/// A window in which no key has records: all of them are found, and explained.
fn all_gone(engine: &Engine<Peak>, feed: &Feed, args: &Args, quiet: f64) -> Result<Value> {
    let silence = Summaries::new(Arc::clone(&feed.schema), feed.days[args.windows + args.runs], [])?;
    let mut seconds = Vec::new();
    for _ in 0..args.runs {
        let mut engine = engine.clone();
        let start = cpu_seconds();
        let step = engine.take(&silence)?;
        seconds.push(cpu_seconds() - start);
        ensure!(step.found.len() == args.keys, "{} found", step.found.len());
    }
    Ok(json!({ "times_a_quiet_window": median(seconds.clone()) / quiet, "runs": seconds.len() }))
}

/// By the processor's time, and by the clock on the wall.
fn timed(runs: usize, mut run: impl FnMut() -> Result<()>) -> Result<[Vec<f64>; 2]> {
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..runs {
        let (start, wall) = (cpu_seconds(), Instant::now());
        run()?;
        seconds[0].push(cpu_seconds() - start);
        seconds[1].push(wall.elapsed().as_secs_f64());
    }
    Ok(seconds)
}

/// What an engine takes that was loaded, and what saving it takes on top.
fn in_its_own_process(path: &Path, rule: &str, args: &Args) -> Result<Value> {
    let child =
        Command::new(std::env::current_exe()?).arg("--load").arg(path).args(["--rule", rule]).output()?;
    ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let mut found: Value = serde_json::from_slice(&child.stdout)?;
    if let Some(rss) = found["rss_loaded"].as_u64() {
        found["bytes_per_key"] = json!(rss / args.keys as u64);
    }
    Ok(found)
}

fn load_and_save(path: &Path, rule: &str) -> Result<Value> {
    let schema = Feed::new(1, 1)?.schema;
    let before = memory_bytes("VmRSS");
    let beside = path.with_extension("again");
    let engine = Engine::open(path, detector(rule, &schema))?;
    let (loaded, load_peak) = (memory_bytes("VmRSS"), memory_bytes("VmHWM"));
    std::fs::rename(path, &beside)?;
    engine.save()?;
    let save_peak = memory_bytes("VmHWM");
    ensure!(std::fs::read(path)? == std::fs::read(&beside)?, "what was loaded is not what was saved");
    let over = |bytes: Option<u64>| Some(bytes?.saturating_sub(before?));
    Ok(
        json!({ "rss_loaded": over(loaded), "peak_of_load": over(load_peak), "peak_of_save": over(save_peak) }),
    )
}

fn rate(args: &Args, seconds: &mut [f64]) -> Value {
    json!({ "keys_per_second": (args.keys as f64 / median(seconds.to_vec())).round(), "runs": seconds.len() })
}

fn throughput(bytes: u64, [seconds, wall]: &mut [Vec<f64>; 2]) -> Value {
    let [rate, wall] = [seconds, wall].map(|seconds| (bytes as f64 / 1e6 / median(seconds.to_vec())).round());
    json!({ "megabytes_per_second": rate, "by_the_wall": wall, "megabytes": bytes / 1_000_000 })
}

fn print(name: &str, args: &Args, figures: Value) {
    let mut line = json!({ "name": name, "keys": args.keys, "windows": args.windows });
    if let (Value::Object(line), Value::Object(figures)) = (&mut line, figures) {
        line.extend(figures);
    }
    println!("{line}");
}
