//! Makes the demonstration data in `examples/data`, anomalies included.
//!
//! ```text
//! cargo run --release -p peak-examples --bin generate -- [--seed N] [--out DIR]
//! ```
//!
//! - `telemetry.ndjson.gz`: six weeks of file submissions, one record a line, sorted by time. Thirteen keys
//!   (severity × file type), each with its own rate, weekly and daily rhythm, duplicates and senders. From the
//!   third week on, nine of them are made to misbehave once; the rest of the feed is ordinary.
//! - `metrics.csv`: ten days of hourly readings of two hosts, with one planted fault each.
//! - `truth.json`: what was planted and where, to check a detector against.
//!
//! The same seed gives the same bytes. Each key and each host draws from a random stream of its own, so that
//! changing one leaves the others as they are.
//!
//! ```text
//! cargo run --release -p peak-examples --bin generate -- hosts --out DIR [--interval SECONDS] [--format ndjson]
//! ```
//!
//! makes larger data, for detectors that look at several metrics at once; see [`hosts`].

mod hosts;

use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::{fs, iter};

use anyhow::{Context, Result};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::{Parser, Subcommand};
use flate2::{Compression, GzBuilder};
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::weighted::WeightedIndex;
use rand_distr::{Distribution, Gamma, Geometric, LogNormal, Normal, Poisson, Zipf};
use rand_xoshiro::{SplitMix64, Xoshiro256PlusPlus};
use serde::Serialize;

use Effect::{Burst, Concentration, Repetition, Stops, Variety, Volume, Wave};
use Fault::{Leaking, Saturated};
use Rhythm::{Machine, Office};
use Samples::{Circulating, MostlyNew};

/// Makes the demonstration data: records, metrics, and the truth about both.
#[derive(Parser)]
struct Args {
    /// Where every random draw starts from.
    #[arg(long, global = true, default_value_t = 2024)]
    seed: u64,
    /// The folder to write to.
    #[arg(long, global = true, default_value = "examples/data")]
    out: PathBuf,
    #[command(subcommand)]
    instead: Option<Instead>,
}

/// What to make instead of the bundled data.
#[derive(Subcommand)]
enum Instead {
    /// Five metrics of four hosts: clean ones to train on, and others with faults planted
    Hosts(hosts::Plan),
}

fn main() -> Result<()> {
    let args = Args::parse();
    let save = |name: &str, bytes: &[u8]| {
        let path = args.out.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    if let Some(Instead::Hosts(plan)) = &args.instead {
        return hosts::files(args.seed, plan)?
            .iter()
            .try_for_each(|(name, content)| save(name, content.as_bytes()));
    }
    save("telemetry.ndjson.gz", &gzip(&ndjson(&records(args.seed)?)?)?)?;
    save("metrics.csv", metrics(args.seed)?.as_bytes())?;
    save("truth.json", truth(args.seed)?.as_bytes())
}

/// The first day of everything, a Monday. All times are UTC.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2024, 1, 1).expect("a date in the calendar");

/// How many days the records cover.
const DAYS: u32 = 42;

/// What makes daily counts vary more than Poisson's: this times the squared mean is added to their variance.
const DISPERSION: f64 = 0.01;

/// The keys of the feed. Days count from 0, so that 5 and 6 are the first weekend.
const KEYS: [Key; 13] = [
    key("malicious", "PeExeFile", 60.0, Office, MostlyNew).planted(16, Volume(4.0)),
    key("malicious", "WordMsDocxFile", 110.0, Office, MostlyNew).planted(22, Concentration(0.4)),
    key("benign", "ExcelMsDocxFile", 150.0, Office, MostlyNew).planted(24, Repetition(4)),
    key("malicious", "ElfExeFile", 3600.0, Machine, MostlyNew).planted(25, Wave),
    key("suspicious", "JavascriptScriptFile", 100.0, Office, Circulating).planted(28, Variety),
    key("benign", "GzipArchiveFile", 200.0, Office, MostlyNew).planted(30, Stops),
    key("malicious", "ZipArchiveFile", 90.0, Office, MostlyNew).planted(33, Volume(4.0)),
    key("benign", "PdfDocFile", 520.0, Office, MostlyNew).planted(36, Volume(0.15)),
    key("benign", "HtmlTextFile", 100.0, Office, MostlyNew).planted(38, Burst(6.0)),
    key("malicious", "RtfDocFile", 30.0, Office, MostlyNew),
    key("malicious", "ExcelMsDocxFile", 45.0, Office, MostlyNew),
    key("suspicious", "PdfDocFile", 35.0, Office, MostlyNew),
    key("suspicious", "PeExeFile", 70.0, Machine, MostlyNew),
];

/// One key of the feed, how it usually behaves, and what is planted in it.
struct Key {
    severity: &'static str,
    file_type: &'static str,
    /// Mean number of records on a weekday.
    rate: f64,
    rhythm: Rhythm,
    samples: Samples,
    planted: Option<Planted>,
}

/// When records arrive.
#[derive(Clone, Copy)]
enum Rhythm {
    /// Sent by people: working hours, quiet weekends.
    Office,
    /// Sent by machines: every day and every hour nearly alike.
    Machine,
}

/// How often a sample comes again.
#[derive(Clone, Copy)]
enum Samples {
    /// Nearly every record is a new sample; a few samples come in several copies.
    MostlyNew,
    /// The same few samples circulate, some much more than others, and are replaced slowly.
    Circulating,
}

/// An anomaly.
#[derive(Clone, Copy)]
struct Planted {
    /// The day it happens or, where it lasts, begins.
    day: u32,
    effect: Effect,
}

/// What an anomaly does to the records of its key.
#[derive(Clone, Copy)]
enum Effect {
    /// Their number is multiplied.
    Volume(f64),
    /// Their number is multiplied by what one sender adds within two hours.
    Burst(f64),
    /// One sample, mostly from one sender, makes this share of them.
    Concentration(f64),
    /// Each is a sample never seen before.
    Variety,
    /// Each sample comes this many times.
    Repetition(u32),
    /// There are none on any other day.
    Wave,
    /// There are none from that day on.
    Stops,
}

const fn key(
    severity: &'static str,
    file_type: &'static str,
    rate: f64,
    rhythm: Rhythm,
    samples: Samples,
) -> Key {
    Key { severity, file_type, rate, rhythm, samples, planted: None }
}

impl Key {
    const fn planted(mut self, day: u32, effect: Effect) -> Self {
        self.planted = Some(Planted { day, effect });
        self
    }

    /// Mean number of records on `day`.
    fn rate_on(&self, day: u32) -> f64 {
        self.rate * self.rhythm.factor(day) * self.planted.map_or(1.0, |planted| planted.factor(day))
    }

    /// The effect that shapes the records of `day`, if any.
    fn effect_on(&self, day: u32) -> Option<Effect> {
        self.planted.filter(|planted| planted.day == day).map(|planted| planted.effect)
    }
}

impl Rhythm {
    fn factor(self, day: u32) -> f64 {
        let weekend = day % 7 >= 5;
        if weekend && matches!(self, Office) { 0.4 } else { 1.0 }
    }

    /// The relative weight of each hour of the day.
    fn hours(self) -> [u32; 24] {
        match self {
            Office => [2, 1, 1, 1, 1, 2, 4, 8, 14, 18, 19, 18, 15, 16, 18, 18, 16, 13, 10, 8, 7, 6, 4, 3],
            Machine => {
                [11, 12, 12, 12, 12, 11, 11, 10, 10, 9, 9, 9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11]
            }
        }
    }
}

impl Planted {
    /// What the usual number of records on `day` is multiplied by.
    fn factor(&self, day: u32) -> f64 {
        match self.effect {
            Volume(factor) | Burst(factor) if day == self.day => factor,
            Wave if day != self.day => 0.0,
            Stops if day >= self.day => 0.0,
            _ => 1.0,
        }
    }
}

impl Effect {
    /// The share of the day's records that one sender is behind.
    fn share_of_culprit(self) -> f64 {
        match self {
            Burst(factor) => 1.0 - 1.0 / factor,
            Concentration(share) => share,
            _ => 0.0,
        }
    }
}

/// One line of the feed: flat, with dotted keys in alphabetical order.
#[derive(Serialize)]
struct Record {
    /// JSON inside JSON, with quotes, backslashes and letters beyond ASCII.
    #[serde(rename = "analysis.details")]
    details: &'static str,
    #[serde(rename = "customer.channel")]
    channel: Option<&'static str>,
    #[serde(rename = "customer.region")]
    region: &'static str,
    #[serde(rename = "file.llfile_type")]
    file_type: &'static str,
    #[serde(rename = "file.sha1")]
    sha1: String,
    #[serde(rename = "file.size")]
    size: u64,
    #[serde(rename = "source.origin")]
    origin: &'static str,
    #[serde(rename = "source.user_id")]
    user_id: u32,
    #[serde(rename = "submission_id")]
    submission_id: usize,
    #[serde(rename = "task.score")]
    score: u32,
    #[serde(rename = "task.severity")]
    severity: &'static str,
    #[serde(rename = "utc_timestamp")]
    milliseconds: i64,
}

/// The thing submitted, by number; its properties follow from that.
#[derive(Clone, Copy)]
struct Sample(u64);

/// Who submits.
#[derive(Clone, Copy, Serialize)]
struct Sender {
    #[serde(rename = "source.user_id")]
    user_id: u32,
    #[serde(rename = "source.origin")]
    origin: &'static str,
}

/// The sender behind planted bursts and concentrations, unknown otherwise.
const CULPRIT: Sender = Sender { user_id: 4711, origin: "SMB" };

impl Sample {
    /// The one that dominates the planted concentration.
    const DOMINANT: Self = Self(u64::MAX);

    /// Forty hexadecimal digits and a size in bytes.
    fn file(self) -> Result<(String, u64)> {
        let mut rng = SplitMix64::seed_from_u64(self.0);
        let mut sha1 = String::with_capacity(40);
        for _ in 0..5 {
            write!(sha1, "{:08x}", rng.next_u32())?;
        }
        let sectors: f64 = LogNormal::new(5.0, 1.2)?.sample(&mut rng);
        Ok((sha1, sectors.ceil() as u64 * 512))
    }
}

impl Sender {
    fn region(self) -> &'static str {
        ["AMER", "EMEA", "AMER", "EMEA", "APAC"][self.user_id as usize % 5]
    }
}

/// Draws the records of one key, day after day.
struct Feed {
    key: &'static Key,
    /// Position among the keys; keeps samples and favourite senders apart.
    number: u32,
    rng: Xoshiro256PlusPlus,
    hours: WeightedIndex<u32>,
    samples_made: u64,
    circulating: Vec<Sample>,
}

impl Feed {
    /// How many samples circulate at a time.
    const CIRCULATING: usize = 20;

    fn new(key: &'static Key, number: u32, rng: Xoshiro256PlusPlus) -> Result<Self> {
        let hours = WeightedIndex::new(key.rhythm.hours())?;
        let mut feed = Self { key, number, rng, hours, samples_made: 0, circulating: Vec::new() };
        feed.circulating = iter::repeat_with(|| feed.new_sample()).take(Self::CIRCULATING).collect();
        Ok(feed)
    }

    fn day(&mut self, day: u32) -> Result<Vec<Record>> {
        let effect = self.key.effect_on(day);
        let count = self.count(self.key.rate_on(day))?;
        let of_culprit = (count as f64 * effect.map_or(0.0, Effect::share_of_culprit)).round() as usize;
        let midnight = midnight(day).timestamp();

        let mut records = Vec::with_capacity(count);
        for (position, sample) in self.samples(count, of_culprit, effect)?.into_iter().enumerate() {
            let by_culprit = position < of_culprit;
            let sender = if by_culprit && self.rng.random_bool(0.9) { CULPRIT } else { self.sender()? };
            let second = match effect {
                Some(Burst(_)) if by_culprit => self.rng.random_range(13 * 3600..15 * 3600),
                _ => self.second(),
            };
            records.push(self.record(sample, sender, midnight + second)?);
        }
        Ok(records)
    }

    /// A negative-binomial count: Poisson with a rate that varies from day to day.
    fn count(&mut self, rate: f64) -> Result<usize> {
        if rate == 0.0 {
            return Ok(0);
        }
        let rate = Gamma::new(1.0 / DISPERSION, rate * DISPERSION)?.sample(&mut self.rng);
        Ok(Poisson::new(rate)?.sample(&mut self.rng) as usize)
    }

    /// The samples of a day's `count` records, those of the culprit first.
    fn samples(&mut self, count: usize, of_culprit: usize, effect: Option<Effect>) -> Result<Vec<Sample>> {
        let mut samples = Vec::with_capacity(count);
        if let Some(Concentration(_)) = effect {
            samples.resize(of_culprit, Sample::DOMINANT);
        }
        while samples.len() < count {
            let (sample, copies) = match (effect, self.key.samples) {
                (Some(Variety), _) => (self.new_sample(), 1),
                (Some(Repetition(times)), _) => (self.new_sample(), times as usize),
                (_, MostlyNew) => (self.new_sample(), self.copies()?),
                (_, Circulating) => (self.circulating_sample()?, 1),
            };
            samples.extend(iter::repeat_n(sample, copies));
        }
        samples.truncate(count);
        self.renew_circulating();
        Ok(samples)
    }

    fn new_sample(&mut self) -> Sample {
        self.samples_made += 1;
        Sample(u64::from(self.number) << 32 | self.samples_made)
    }

    /// One, for one sample in twenty some more.
    fn copies(&mut self) -> Result<usize> {
        if self.rng.random_bool(0.95) {
            return Ok(1);
        }
        Ok(2 + Geometric::new(0.5)?.sample(&mut self.rng) as usize)
    }

    fn circulating_sample(&mut self) -> Result<Sample> {
        let rank = Zipf::new(Self::CIRCULATING as f64, 0.8)?.sample(&mut self.rng);
        Ok(self.circulating[rank as usize - 1])
    }

    /// Two samples a day go out of fashion.
    fn renew_circulating(&mut self) {
        for _ in 0..2 {
            let place = self.rng.random_range(0..Self::CIRCULATING as u32);
            self.circulating[place as usize] = self.new_sample();
        }
    }

    /// One of forty users, a few of them busy; each has a favourite way to submit.
    fn sender(&mut self) -> Result<Sender> {
        let rank = Zipf::new(40.0, 1.1)?.sample(&mut self.rng) as u32;
        let user_id = 1000 + (rank * 7 + self.number * 11) % 40;
        let favourite = ["EMAIL", "API", "EMAIL", "HTTP"][user_id as usize % 4];
        Ok(Sender { user_id, origin: if self.rng.random_bool(0.9) { favourite } else { "API" } })
    }

    /// A second of the day.
    fn second(&mut self) -> i64 {
        self.hours.sample(&mut self.rng) as i64 * 3600 + self.rng.random_range(0..3600)
    }

    fn record(&self, sample: Sample, sender: Sender, second: i64) -> Result<Record> {
        let (sha1, size) = sample.file()?;
        let (score, details) = match self.key.severity {
            "malicious" => (70, r#"{"rule": "Lädt \"C:\\Temp\\ü.exe\" nach", "matches": [1, 2]}"#),
            "suspicious" => (45, "{\"rule\": \"obfuscation – très suspect\",\n\t\"matches\": []}"),
            _ => (0, "{}"),
        };
        Ok(Record {
            details,
            channel: None,
            region: sender.region(),
            file_type: self.key.file_type,
            sha1,
            size,
            origin: sender.origin,
            user_id: sender.user_id,
            submission_id: 0,
            score,
            severity: self.key.severity,
            milliseconds: second * 1000,
        })
    }
}

/// All records, sorted by time and numbered in that order.
fn records(seed: u64) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for ((number, key), rng) in (0..).zip(&KEYS).zip(streams(seed)) {
        let mut feed = Feed::new(key, number, rng)?;
        for day in 0..DAYS {
            records.append(&mut feed.day(day)?);
        }
    }
    records.sort_by_key(|record| record.milliseconds);
    for (submission_id, record) in (1..).zip(&mut records) {
        record.submission_id = submission_id;
    }
    Ok(records)
}

fn ndjson(records: &[Record]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Compressed without a date or a name, which would differ from run to run.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// Independent random streams of one seed: one for each key, then one for each host.
fn streams(seed: u64) -> impl Iterator<Item = Xoshiro256PlusPlus> {
    iter::successors(Some(Xoshiro256PlusPlus::seed_from_u64(seed)), |stream| {
        let mut next = stream.clone();
        next.jump();
        Some(next)
    })
}

fn date(day: u32) -> NaiveDate {
    FIRST_DAY + Days::new(day.into())
}

fn midnight(day: u32) -> DateTime<Utc> {
    date(day).and_time(NaiveTime::MIN).and_utc()
}

/// How many hours the metrics cover.
const HOURS: u32 = 240;

/// The hosts of the metrics. Hours count from 0, so that 24 is the first of the second day.
const HOSTS: [Host; 2] = [
    Host { name: "web-1", cpu: 35.0, memory: 52.0, errors: 4.0, fault: Saturated, faulty: 181..185 },
    Host { name: "db-1", cpu: 22.0, memory: 40.0, errors: 1.0, fault: Leaking, faulty: 218..230 },
];

/// A host, its mean readings, and what goes wrong with it in which hours.
struct Host {
    name: &'static str,
    /// Percent.
    cpu: f64,
    /// Percent.
    memory: f64,
    /// A count.
    errors: f64,
    fault: Fault,
    faulty: Range<u32>,
}

/// What goes wrong with a host.
#[derive(Clone, Copy)]
enum Fault {
    /// The processor has no time left and requests fail.
    Saturated,
    /// Memory fills up until a restart.
    Leaking,
}

impl Host {
    /// Processor, memory and errors of one hour.
    fn reading(&self, hour: u32, rng: &mut Xoshiro256PlusPlus) -> Result<(f64, f64, f64)> {
        let daily = (f64::from(hour % 24) / 24.0 * TAU - 2.4).sin();
        let mut cpu = self.cpu * (1.0 + 0.4 * daily) + Normal::new(0.0, 2.0)?.sample(rng);
        let mut memory = self.memory + 3.0 * daily + Normal::new(0.0, 0.8)?.sample(rng);
        let mut errors = Poisson::new(self.errors * (1.0 + 0.5 * daily))?.sample(rng);
        if self.faulty.contains(&hour) {
            match self.fault {
                Saturated => {
                    cpu = 100.0;
                    errors = errors * 8.0 + 20.0;
                }
                Leaking => memory += 4.0 * f64::from(hour - self.faulty.start + 1),
            }
        }
        Ok((cpu, memory, errors))
    }
}

/// The metrics as CSV, by time and then by host.
fn metrics(seed: u64) -> Result<String> {
    let mut csv = String::from("time,host,cpu,memory,errors\n");
    let mut streams: Vec<_> = streams(seed).skip(KEYS.len()).take(HOSTS.len()).collect();
    for hour in 0..HOURS {
        for (host, rng) in HOSTS.iter().zip(&mut streams) {
            let (cpu, memory, errors) = host.reading(hour, rng)?;
            writeln!(csv, "{},{},{cpu:.1},{memory:.1},{errors:.0}", time(hour), host.name)?;
        }
    }
    Ok(csv)
}

fn time(hour: u32) -> String {
    (midnight(0) + TimeDelta::hours(hour.into())).format("%FT%TZ").to_string()
}

/// What was planted.
#[derive(Serialize)]
struct Truth {
    seed: u64,
    first_day: NaiveDate,
    days: u32,
    /// Anomalies of the records, by day.
    planted: Vec<PlantedTruth>,
    /// Faults of the hosts.
    metrics: Vec<FaultTruth>,
}

/// One anomaly of the records.
#[derive(Serialize)]
struct PlantedTruth {
    /// The statistic it shows in, or `new_key`, `stopped_key`.
    kind: &'static str,
    direction: &'static str,
    day: NaiveDate,
    /// The first day that is as usual again; null when it lasts to the end.
    until: Option<NaiveDate>,
    key: KeyTruth,
    /// How many times the usual value; of a concentration the share; null when nothing is usual.
    factor: Option<f64>,
    /// Who is behind it, if anyone.
    sender: Option<Sender>,
    /// The `file.sha1` behind it, if any.
    sample: Option<String>,
    note: String,
}

/// The dimensions of a key.
#[derive(Serialize)]
struct KeyTruth {
    #[serde(rename = "task.severity")]
    severity: &'static str,
    #[serde(rename = "file.llfile_type")]
    file_type: &'static str,
}

/// One fault of a host.
#[derive(Serialize)]
struct FaultTruth {
    host: &'static str,
    columns: &'static [&'static str],
    from: String,
    /// The first hour that is as usual again.
    until: String,
    note: &'static str,
}

fn truth(seed: u64) -> Result<String> {
    let planted = KEYS.iter().filter_map(|key| Some(planted_truth(key, key.planted?)));
    let mut planted = planted.collect::<Result<Vec<_>>>()?;
    planted.sort_by_key(|planted| planted.day);
    let metrics = HOSTS.iter().map(fault_truth).collect();
    let truth = Truth { seed, first_day: FIRST_DAY, days: DAYS, planted, metrics };
    Ok(serde_json::to_string_pretty(&truth)? + "\n")
}

fn planted_truth(key: &Key, Planted { day, effect }: Planted) -> Result<PlantedTruth> {
    let weekday = date(day).format("%A");
    let (kind, factor, note) = match effect {
        Volume(f) => ("volume", Some(f), format!("{f} times the usual records of a {weekday}")),
        Burst(f) => ("volume", Some(f), format!("{f} times the usual records, in two hours from one sender")),
        Concentration(share) => {
            let note = format!("one sample makes {:.0} % of as many records as usual", 100.0 * share);
            ("concentration", Some(share), note)
        }
        Variety => {
            let circulating = Feed::CIRCULATING as f64;
            let note = format!("all samples differ, where usually {circulating} circulate");
            ("variety", Some(key.rate / circulating), note)
        }
        Repetition(times) => {
            let note = format!("every sample comes {times} times, in as many records as usual");
            ("repetition", Some(times.into()), note)
        }
        Wave => {
            ("new_key", None, "never seen before, as much as all others together, gone the next day".into())
        }
        Stops => ("stopped_key", Some(0.0), "silent for good".into()),
    };
    let low = factor.is_some_and(|factor| factor < 1.0) && kind != "concentration";
    let lasts = matches!(effect, Stops);
    let sample = matches!(effect, Concentration(_)).then(|| Sample::DOMINANT.file()).transpose()?;
    Ok(PlantedTruth {
        kind,
        direction: if low { "low" } else { "high" },
        day: date(day),
        until: (!lasts).then(|| date(day + 1)),
        key: KeyTruth { severity: key.severity, file_type: key.file_type },
        factor,
        sender: (effect.share_of_culprit() > 0.0).then_some(CULPRIT),
        sample: sample.map(|(sha1, _)| sha1),
        note,
    })
}

fn fault_truth(host: &Host) -> FaultTruth {
    let (columns, note): (&[_], _) = match host.fault {
        Saturated => (&["cpu", "errors"], "the processor is saturated and requests fail"),
        Leaking => (&["memory"], "memory leaks, four points an hour, until a restart"),
    };
    FaultTruth { host: host.name, columns, from: time(host.faulty.start), until: time(host.faulty.end), note }
}
