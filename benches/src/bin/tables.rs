//! The statistics tables of one feed: what they cost, to be compared with other engines.
//!
//! ```text
//! cargo run --release -p peak-benches --bin tables -- local|windows FILE [--threads N] [--budget BYTES]
//! cargo run --release -p peak-benches --bin tables -- local|windows --records N [--distinct N] [--budget BYTES]
//! cargo run --release -p peak-benches --bin tables -- keys FILE|--records N [--distinct N] [--memory BYTES]
//! cargo run --release -p peak-benches --bin tables -- read|scan FILE
//! cargo run --release -p peak-benches --bin tables -- bounds --records N [--distinct N] --budget BYTES
//! cargo run --release -p peak-benches --bin tables -- make FILE --records N
//! ```
//!
//! - `local` counts, over the seven days from 2021-09-01, each sample of each severity, file type, user
//!   and origin;
//! - `windows` counts, for each of the days, the samples of each severity and file type, and sums up;
//! - `keys` counts, over the seven days, the records of each sample, as keys: as many as there are
//!   samples, or as find room;
//! - `read` only reads the file, and `scan` also reads its records, but counts nothing: what `windows`
//!   takes above them are the tables;
//! - `bounds` counts like `windows`, exactly and within the budget, and tells on how many of the keys
//!   the estimates keep to their bounds;
//! - `make` writes made-up records to a file, as NDJSON or, when it ends in `.json`, as an indented
//!   array: 27 fields each, six of which matter.
//!
//! FILE holds records of files submitted for analysis (NDJSON, or one JSON array). Without a file,
//! records are made up on the way: 400 users, 5 origins, 3 severities, 17 file types, and mostly unique
//! samples with a heavy head.
//!
//! The same in SQL, to compare with:
//!
//! ```sql
//! -- local
//! select "task.severity", "file.llfile_type", "source.user_id", "source.origin", "file.sha1", count(*) c
//! from read_ndjson('FILE') where utc_timestamp >= 1630454400000 and utc_timestamp < 1631059200000 group by all;
//! -- windows
//! select day, severity, type, sum(c), count(*), sum(c * c), max(c) from (
//!   select (utc_timestamp - 1630454400000) // 86400000 as day, "task.severity" as severity,
//!     "file.llfile_type" as type, "file.sha1", count(*) c
//!   from read_ndjson('FILE') where utc_timestamp >= 1630454400000 and utc_timestamp < 1631059200000 group by all
//! ) group by all;
//! ```
//!
//! Prints one line of JSON. Times are in seconds, of the query alone; for made-up records, `source_s`
//! is what making them takes of it.

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use peak_benches::{cpu_seconds, median, memory_bytes, mix};
use peak_core::{
    Intake, Key, Limits, LocalTables, Record, Report, Schema, Source, Span, Summaries, Summary, Timestamp,
    Windows,
};
use peak_json::{Files, JsonFiles};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Counts a feed, and says what it cost.
#[derive(Parser)]
struct Args {
    op: Op,
    /// NDJSON, or one JSON array.
    file: Option<PathBuf>,
    /// How many records to make up instead.
    #[arg(long)]
    records: Option<u64>,
    /// How many different samples they have, besides a few thousand frequent ones; three in four
    /// unless told.
    #[arg(long, requires = "records")]
    distinct: Option<u64>,
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    threads: NonZeroUsize,
    /// How many bytes the tables may take; as many as they need unless told.
    #[arg(long, visible_alias = "memory")]
    budget: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Op {
    Local,
    Windows,
    Keys,
    Read,
    Scan,
    Bounds,
    Make,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.op == Op::Make {
        let (file, records) =
            args.file.as_deref().zip(args.records).context("FILE or --records N is missing")?;
        return make(file, &MadeUp::new(&args, records)?);
    }
    let feed = Feed::new(&args)?;
    let windows = args.op.windows()?;
    if args.op == Op::Bounds {
        return bounds(&feed, &windows, args.budget.context("--budget is missing")?);
    }

    let source_s = feed.cost_of_making()?;
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    if let Op::Read | Op::Scan = args.op {
        let passed = if args.op == Op::Read { read(args.file.as_deref())? } else { feed.scan()? };
        println!(
            "{}",
            json!({
                "op": args.op.name(),
                "passed": passed,
                "wall_s": round(wall.elapsed().as_secs_f64()),
                "cpu_s": round(cpu_seconds() - cpu),
            })
        );
        return Ok(());
    }
    let limits = args.budget.map_or(Limits::default(), |bytes| Limits::default().with_memory(bytes));
    let mut tables = LocalTables::new(feed.source.schema(), &windows).with_limits(limits);
    let report = feed.source.count(&mut tables)?;
    let (bounded, other) = (tables.bounded(), tables.other());
    let mut check = Check::default();
    for table in tables.into_tables() {
        table.finish().iter().for_each(|(_, summary)| check.add(summary));
    }
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);

    let result = json!({
        "engine": "peak",
        "op": args.op.name(),
        "file": args.file.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy()),
        "records": report.records,
        "threads": args.threads,
        "wall_s": round(wall),
        "cpu_s": round(cpu),
        "source_s": source_s.map(round),
        "rss_mb": memory_bytes("VmHWM").map(|bytes| bytes >> 20),
        "bounded": bounded,
        "keys": check.keys,
        "other": other,
        "check": check.of(args.op),
    });
    println!("{result}");
    Ok(())
}

impl Op {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn dimensions(self) -> &'static [&'static str] {
        match self {
            Op::Local => &["task.severity", "file.llfile_type", "source.user_id", "source.origin"],
            Op::Keys => &["file.sha1"],
            _ => &["task.severity", "file.llfile_type"],
        }
    }

    fn schema(self) -> Result<Schema> {
        let schema = Schema::builder().time("utc_timestamp").dimensions(self.dimensions().iter().copied());
        Ok(if self == Op::Keys { schema } else { schema.sample("file.sha1") }.build()?)
    }

    fn windows(self) -> Result<Windows> {
        let days = Span::days("2021-09-01", "2021-09-08")?;
        Ok(if let Op::Local | Op::Keys = self { days.hull().context("seven days")?.into() } else { days })
    }
}

/// What every engine must agree upon.
#[derive(Default)]
struct Check {
    keys: u64,
    records: u64,
    distinct: u128,
    sum: u128,
    squares: u128,
    max: u64,
}

impl Check {
    fn add(&mut self, summary: &Summary) {
        let samples = summary.samples();
        self.keys += 1;
        self.records += summary.records;
        self.distinct += u128::from(samples.n());
        self.sum += u128::from(samples.sum());
        self.squares += samples.sum_of_squares();
        self.max = self.max.max(samples.max());
    }

    /// For `local` the number of counts, their sum and the sum of their squares; for `windows` the number
    /// of keys and windows, records, distinct samples, sum of squares and maximum; for `keys` their
    /// number, and that of records.
    fn of(&self, op: Op) -> Vec<u128> {
        let Check { keys, records, distinct, sum, squares, max } = *self;
        match op {
            Op::Local => vec![distinct, sum, squares],
            Op::Keys => vec![keys.into(), records.into()],
            _ => vec![keys.into(), sum, distinct, squares, max.into()],
        }
    }
}

/// Reads a file as the backends do, and says how many bytes it has.
fn read(file: Option<&Path>) -> Result<u64> {
    let mut file = File::open(file.context("FILE is missing")?)?;
    let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            more => bytes += std::hint::black_box(&buffer[..more]).len() as u64,
        }
    }
}

/// Counts the feed exactly and within a budget, and compares.
fn bounds(feed: &Feed, windows: &Windows, budget: usize) -> Result<()> {
    let count = |limits: Limits| -> Result<Vec<Summaries>> {
        let mut tables = LocalTables::new(feed.source.schema(), windows).with_limits(limits);
        feed.source.count(&mut tables)?;
        Ok(tables.into_tables().into_iter().map(|table| table.finish()).collect())
    };
    let (bounded, exact) = (count(Limits::default().with_memory(budget))?, count(Limits::default())?);
    let rows = |windows: &[Summaries]| -> Vec<(Span, Key)> {
        let keys =
            windows.iter().flat_map(|window| window.iter().map(|(key, _)| (window.span(), key.clone())));
        keys.collect()
    };
    ensure!(rows(&bounded) == rows(&exact), "the same keys in the same windows");

    let (mut rows, mut estimated, mut distinct, mut max, mut squares) = (0, 0_u64, 0, 0, 0);
    let mut errors = Vec::new();
    let both = bounded.iter().flat_map(Summaries::iter).zip(exact.iter().flat_map(Summaries::iter));
    for ((_, estimate), (_, truth)) in both {
        rows += 1;
        let Some(uncertainty) = estimate.uncertainty() else { continue };
        let (guess, truth) = (estimate.samples(), truth.samples());
        let relative = |guess: f64, truth: f64| (guess / truth - 1.0).abs();
        let error = relative(guess.n() as f64, truth.n() as f64);
        let error_of_squares = relative(guess.sum_of_squares() as f64, truth.sum_of_squares() as f64);
        estimated += 1;
        distinct += u64::from(error <= 3.0 * uncertainty.distinct());
        squares += u64::from(error_of_squares <= 3.0 * uncertainty.sum_of_squares());
        max += u64::from(guess.max() >= truth.max() && guess.max() - truth.max() <= uncertainty.surplus());
        errors.push((error, relative(guess.max() as f64, truth.max() as f64), uncertainty));
    }
    let share = |within: u64| round(within as f64 / estimated as f64);
    ensure!(estimated > 0, "the budget lasts, there is nothing to compare");
    let result = json!({
        "op": "bounds",
        "keys and windows": rows,
        "bounded": estimated,
        "distinct within 3 standard errors": share(distinct),
        "sum of squares within 3 standard errors": share(squares),
        "maximum within its surplus": share(max),
        "median error of distinct": median(errors.iter().map(|e| e.0).collect()),
        "median stated standard error of distinct": median(errors.iter().map(|e| e.2.distinct()).collect()),
        "median error of the maximum": median(errors.iter().map(|e| e.1).collect()),
        "median stated surplus": median(errors.iter().map(|e| e.2.surplus() as f64).collect()),
    });
    println!("{result}");
    Ok(())
}

/// What is counted.
struct Feed {
    source: Box<dyn Source>,
    is_made_up: bool,
}

impl Feed {
    fn new(args: &Args) -> Result<Self> {
        let source: Box<dyn Source> = match (&args.file, args.records) {
            (Some(file), _) => {
                Box::new(JsonFiles::new(Files::paths([file]), args.op.schema()?).threads(args.threads))
            }
            (None, Some(records)) => Box::new(MadeUp::new(args, records)?),
            (None, None) => anyhow::bail!("a FILE or --records N is missing"),
        };
        Ok(Feed { source, is_made_up: args.file.is_none() })
    }

    /// Passes over all records, counting nothing, and says how many there are.
    fn scan(&self) -> Result<u64> {
        let report = self.source.scan(Span::ALWAYS, &mut |record| {
            std::hint::black_box(record);
            ControlFlow::Continue(())
        })?;
        Ok(report.records)
    }

    /// What making the records up costs.
    fn cost_of_making(&self) -> Result<Option<f64>> {
        if !self.is_made_up {
            return Ok(None);
        }
        let cpu = cpu_seconds();
        self.scan()?;
        Ok(Some(cpu_seconds() - cpu))
    }
}

/// Records that are made up, always the same.
struct MadeUp {
    schema: Schema,
    records: u64,
    distinct: u64,
}

const TYPES: [&str; 17] = [
    "PdfDocFile",
    "ZipArchiveFile",
    "GzipArchiveFile",
    "PeExeFile",
    "PeDllFile",
    "ExcelMsDocFile",
    "WordMsDocFile",
    "RtfDocFile",
    "HtmlTextFile",
    "JavaScriptFile",
    "VbsScriptFile",
    "ElfExeFile",
    "MachOFile",
    "ApkArchiveFile",
    "JarArchiveFile",
    "LnkFile",
    "UnknownFile",
];
const REGIONS: [&str; 3] = ["AMER", "EMEA", "APAC"];
/// 2021-09-01.
const START: i64 = 1_630_454_400_000;
const USERS: u64 = 400;
/// One sample in so many is of the heavy head.
const HEAD: u64 = 14;
const HEAD_SAMPLES: u64 = 2_000;

impl MadeUp {
    fn new(args: &Args, records: u64) -> Result<Self> {
        let distinct = args.distinct.unwrap_or(records / 4 * 3).max(1);
        Ok(MadeUp { schema: args.op.schema()?, records, distinct })
    }

    fn submission(&self, i: u64) -> Submission {
        let random = mix(i);
        let part = |shift: u32, of: u64| (random >> shift) % of;
        // Every sample of the long tail comes once before any comes again.
        let tail = HEAD_SAMPLES + i % self.distinct;
        let sample = if part(0, HEAD) == 0 { heavy(part(8, 1 << 20), HEAD_SAMPLES) } else { tail };
        let severity = match part(20, 100) {
            0..90 => "benign",
            90..98 => "malicious",
            _ => "suspicious",
        };
        let origin = match part(27, 100) {
            0..80 => "API",
            80..89 => "HTTP",
            89..97 => "EMAIL",
            97..99 => "SMB",
            _ => "FTP",
        };
        let again = mix(random);
        Submission {
            millis: START + (again >> 33) as i64 % (7 * 86_400_000),
            sample,
            severity,
            kind: TYPES[heavy(again % (1 << 20), 17) as usize],
            user: heavy((again >> 20) % (1 << 20), USERS),
            origin,
        }
    }
}

/// What of a record matters.
struct Submission {
    millis: i64,
    sample: u64,
    severity: &'static str,
    kind: &'static str,
    user: u64,
    origin: &'static str,
}

impl Source for MadeUp {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn scan(
        &self,
        span: Span,
        visit: &mut dyn FnMut(&Record<'_>) -> ControlFlow<()>,
    ) -> Result<Report, peak_core::Error> {
        let mut intake = Intake::new(span);
        let users: Vec<String> = (0..USERS).map(|user| user.to_string()).collect();
        let mut digest = [0; 40];
        for i in 0..self.records {
            let Submission { millis, sample, severity, kind, user, origin } = self.submission(i);
            write_digest(sample, &mut digest);
            let dimensions = [severity, kind, &users[user as usize], origin];
            let (time, digest) =
                (Timestamp::from_millis(millis)?, std::str::from_utf8(&digest).unwrap_or(""));
            let (dimensions, labels) = match self.schema.sample() {
                Some(_) => (&dimensions[..self.schema.dimensions().len()], &[Some(digest)][..]),
                None => (&[digest][..], &[][..]),
            };
            let record = Record::new(time, dimensions).with_labels(labels);
            if intake.offer(&record, visit).is_break() {
                break;
            }
        }
        intake.finish()
    }
}

/// Writes the records to a file.
fn make(file: &Path, made_up: &MadeUp) -> Result<()> {
    let is_array = file.extension().is_some_and(|extension| extension == "json");
    let mut out =
        BufWriter::new(File::create(file).with_context(|| format!("cannot create {}", file.display()))?);
    let mut digest = [0; 40];
    for i in 0..made_up.records {
        let Submission { millis, sample, severity, kind, user, origin } = made_up.submission(i);
        write_digest(sample, &mut digest);
        let sha1 = std::str::from_utf8(&digest)?;
        let random = mix(!i);
        let record = json!({
            "analysis.label": "not_run",
            "customer.channel": null,
            "customer.installation_type": null,
            "customer.region": REGIONS[random as usize % 3],
            "customer.sector": "IT",
            "customer.type": null,
            "file.llfile_type": kind,
            "file.magic": format!("data, version 1.{}, a \"quoted\" text", random % 9),
            "file.md5": &sha1[..32],
            "file.mime_type": "application/octet-stream",
            "file.name": null,
            "file.sha1": sha1,
            "file.sha256": format!("{sha1}{}", &sha1[..24]),
            "file.size": random % 10_000_000,
            "source.access_key_id": 0,
            "source.data_center": null,
            "source.geo.country_iso_code": null,
            "source.geo.location": "0.00,0.00",
            "source.origin": origin,
            "source.submitter_ip": "0.0.0.0",
            "source.user_id": user,
            "submission_id": 0,
            "task.portal_url": null,
            "task.score": random % 101,
            "task.severity": severity,
            "task.uuid": "a".repeat(32),
            "utc_timestamp": millis,
        });
        if is_array {
            out.write_all(if i == 0 { b"[\n" } else { b",\n" })?;
            serde_json::to_writer_pretty(&mut out, &record)?;
        } else {
            serde_json::to_writer(&mut out, &record)?;
            out.write_all(b"\n")?;
        }
    }
    if is_array {
        out.write_all(if made_up.records == 0 { b"[]\n" } else { b"\n]\n" })?;
    }
    Ok(out.into_inner()?.sync_all()?)
}

/// A number below `most` whose frequency falls with its size, from one that is even below 2²⁰.
fn heavy(even: u64, most: u64) -> u64 {
    ((1 << 20) / (even + 1) - 1) % most
}

fn write_digest(sample: u64, digest: &mut [u8; 40]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let words = [mix(sample), mix(!sample), mix(sample ^ 0x5555)];
    for (i, digit) in digest.iter_mut().enumerate() {
        *digit = DIGITS[(words[i / 16] >> (4 * (i % 16))) as usize & 15];
    }
}

fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}
