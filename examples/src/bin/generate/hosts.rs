//! Metrics of hosts, some of them faulty.
//!
//! Four hosts with five metrics each. Load has a daily and a weekly rhythm and wanders; processor, network,
//! memory and errors follow it, the disk fills during the day and is cleaned up at night.
//!
//! - `hosts_training.csv` or `.ndjson`: two weeks without faults, unless told otherwise.
//! - `hosts_live.csv` or `.ndjson`: the week after, with a fault on each of its first six days.
//! - `hosts_truth.json`: what was planted, on which host, when, and in which columns it shows.

use crate::{KEYS, midnight, streams};
use anyhow::Result;
use clap::ValueEnum;
use rand_distr::{Distribution, Normal, Poisson};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::Serialize;
use std::f64::consts::TAU;
use std::fmt::Write as _;

/// How much of it, and in which form.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Days without faults, from Monday, 2024-01-01
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=365))]
    training_days: u32,
    /// Days with faults after those
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    live_days: u32,
    /// Seconds from reading to reading
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    interval: u32,
    /// How readings are written
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

/// The hosts. One in each tier behaves alike, but no two are the same.
const HOSTS: [Host; 4] = [
    Host {
        name: "web-1",
        cpu: (8.0, 52.0),
        network: 24.0,
        errors: 3.0,
        memory: 46.0,
        disk: 38.0,
        office: true,
    },
    Host {
        name: "web-2",
        cpu: (9.0, 47.0),
        network: 21.0,
        errors: 2.5,
        memory: 44.0,
        disk: 41.0,
        office: true,
    },
    Host {
        name: "app-1",
        cpu: (14.0, 38.0),
        network: 9.0,
        errors: 1.2,
        memory: 58.0,
        disk: 52.0,
        office: true,
    },
    Host {
        name: "db-1",
        cpu: (18.0, 24.0),
        network: 13.0,
        errors: 0.4,
        memory: 71.0,
        disk: 63.0,
        office: false,
    },
];

/// A host and how it usually behaves.
struct Host {
    name: &'static str,
    /// Percent when idle, and what a load of 1 adds.
    cpu: (f64, f64),
    /// Megabytes a second at a load of 1.
    network: f64,
    /// A minute at a load of 1.
    errors: f64,
    /// Percent when idle.
    memory: f64,
    /// Percent in the morning of the first day.
    disk: f64,
    /// Whether people use it: less on weekends.
    office: bool,
}

/// What goes wrong, one fault a day. Hours count from midnight.
const FAULTS: [Fault; 6] = [
    fault("memory_leak", "app-1", 10.0..15.0, &[MEMORY], "memory leaks, six points an hour, until a restart"),
    fault(
        "decoupling",
        "web-1",
        11.0..13.0,
        &[NETWORK],
        "the network falls to a tenth while the processor is as busy as ever",
    ),
    fault("error_burst", "web-2", 15.0..15.75, &[ERRORS], "twelve times the usual errors"),
    fault(
        "disk_filling",
        "db-1",
        18.0..22.0,
        &[DISK],
        "a job fills the disk, eight points an hour, until it is stopped",
    ),
    fault(
        "level_shift",
        "db-1",
        8.0..20.0,
        &[CPU],
        "the processor is 30 points busier than the load explains",
    ),
    fault(
        "runaway",
        "web-1",
        2.0..3.5,
        &[CPU],
        "a process without traffic keeps the processor as busy as at noon, in the night",
    ),
];

const TIMESTAMP: &str = "timestamp";
const HOST: &str = "host";
const CPU: &str = "cpu_usage_percent";
const MEMORY: &str = "memory_used_percent";
const DISK: &str = "disk_used_percent";
const NETWORK: &str = "network_received_megabytes_per_second";
const ERRORS: &str = "errors_per_minute";

struct Fault {
    kind: &'static str,
    host: &'static str,
    hours: std::ops::Range<f64>,
    columns: &'static [&'static str],
    note: &'static str,
}

const fn fault(
    kind: &'static str,
    host: &'static str,
    hours: std::ops::Range<f64>,
    columns: &'static [&'static str],
    note: &'static str,
) -> Fault {
    Fault { kind, host, hours, columns, note }
}

/// The readings of a host at a time.
#[derive(Serialize)]
struct Line {
    timestamp: String,
    host: &'static str,
    cpu_usage_percent: f64,
    memory_used_percent: f64,
    disk_used_percent: f64,
    network_received_megabytes_per_second: f64,
    errors_per_minute: f64,
}

/// A value that wanders around 0 with a standard deviation of 1, and forgets after so many seconds.
struct Wander {
    value: f64,
    memory: f64,
}

impl Wander {
    fn step(&mut self, interval: f64, rng: &mut Xoshiro256PlusPlus) -> Result<f64> {
        let keep = (-interval / self.memory).exp();
        self.value = keep * self.value + (1.0 - keep * keep).sqrt() * Normal::new(0.0, 1.0)?.sample(rng);
        Ok(self.value)
    }
}

/// A host in time.
struct Running {
    host: &'static Host,
    rng: Xoshiro256PlusPlus,
    load: Wander,
    memory: Wander,
}

impl Running {
    fn new(host: &'static Host, rng: Xoshiro256PlusPlus) -> Self {
        let wander = |memory| Wander { value: 0.0, memory };
        Running { host, rng, load: wander(1_200.0), memory: wander(7_200.0) }
    }

    /// The readings at a second since the first day, for so many seconds, and with a fault so many hours old.
    fn read(&mut self, second: u32, interval: f64, fault: Option<(&Fault, f64)>) -> Result<Line> {
        let Running { host, rng, .. } = self;
        let hours = f64::from(second) / 3_600.0;
        let weekend = host.office && (hours / 24.0) as u32 % 7 >= 5;
        let daily = 0.5 - 0.5 * ((hours - 3.0) / 24.0 * TAU).cos();
        let usual = (0.2 + 0.8 * daily) * if weekend { 0.5 } else { 1.0 };
        let load = usual * (1.0 + 0.06 * self.load.step(interval, rng)?);
        let noise = Normal::new(0.0, 1.0)?;

        let mut cpu = host.cpu.0 + host.cpu.1 * load + 1.5 * noise.sample(rng);
        let mut network = host.network * load * (1.0 + 0.05 * noise.sample(rng));
        let mut memory =
            host.memory + 8.0 * usual + 0.8 * self.memory.step(interval, rng)? + 0.2 * noise.sample(rng);
        let since_cleaning = (hours - 3.0).rem_euclid(24.0);
        let mut disk = host.disk + 0.05 * hours / 24.0 + since_cleaning / 8.0 + 0.05 * noise.sample(rng);
        let mut error_rate = host.errors * (0.2 + load);
        match fault.map(|(fault, age)| (fault.kind, age)) {
            Some(("memory_leak", age)) => memory += 6.0 * age,
            Some(("decoupling", _)) => network *= 0.1,
            Some(("error_burst", _)) => error_rate *= 12.0,
            Some(("disk_filling", age)) => disk += 8.0 * age,
            Some(("level_shift", _)) => cpu += 30.0,
            Some(("runaway", _)) => cpu = host.cpu.0 + host.cpu.1 + 1.5 * noise.sample(rng),
            _ => {}
        }
        let minutes = interval / 60.0;
        let errors = Poisson::new(error_rate * minutes)?.sample(rng) / minutes;
        let percent = |x: f64| rounded(x.clamp(0.0, 100.0));
        Ok(Line {
            timestamp: time(second),
            host: host.name,
            cpu_usage_percent: percent(cpu),
            memory_used_percent: percent(memory),
            disk_used_percent: percent(disk),
            network_received_megabytes_per_second: rounded(network.max(0.0)),
            errors_per_minute: rounded(errors),
        })
    }
}

/// To two digits behind the point.
fn rounded(x: f64) -> f64 {
    (100.0 * x).round() / 100.0
}

fn time(second: u32) -> String {
    (midnight(0) + chrono::TimeDelta::seconds(second.into())).format("%FT%TZ").to_string()
}

const DAY: u32 = 86_400;

/// The fault of a host at a second since the first live day, and how many hours old it is.
fn fault_at(host: &Host, second: u32) -> Option<(&'static Fault, f64)> {
    let (day, hour) = ((second / DAY) as usize, f64::from(second % DAY) / 3_600.0);
    let fault = FAULTS.get(day).filter(|fault| fault.host == host.name && fault.hours.contains(&hour))?;
    Some((fault, hour - fault.hours.start))
}

/// What was planted.
#[derive(Serialize)]
struct Truth {
    seed: u64,
    interval_seconds: u32,
    faults: Vec<FaultTruth>,
}

#[derive(Serialize)]
struct FaultTruth {
    kind: &'static str,
    host: &'static str,
    columns: &'static [&'static str],
    from: String,
    /// The first time that is as usual again.
    until: String,
    note: &'static str,
}

/// All files, by name.
pub(crate) fn files(seed: u64, plan: &Plan) -> Result<Vec<(String, String)>> {
    let (live, end) = (plan.training_days * DAY, (plan.training_days + plan.live_days) * DAY);
    // Streams that the other data leave over.
    let rngs = streams(seed).skip(KEYS.len() + crate::HOSTS.len());
    let mut hosts: Vec<Running> = HOSTS.iter().zip(rngs).map(|(host, rng)| Running::new(host, rng)).collect();
    let extension = if plan.format == Format::Csv { "csv" } else { "ndjson" };
    let mut files = Vec::new();
    for (name, seconds) in [("training", 0..live), ("live", live..end)] {
        let mut text = String::new();
        if plan.format == Format::Csv {
            writeln!(text, "{}", [TIMESTAMP, HOST, CPU, MEMORY, DISK, NETWORK, ERRORS].join(","))?;
        }
        for second in seconds.step_by(plan.interval as usize) {
            for running in &mut hosts {
                let fault = second.checked_sub(live).and_then(|second| fault_at(running.host, second));
                let line = running.read(second, plan.interval.into(), fault)?;
                write_line(&mut text, plan.format, &line)?;
            }
        }
        files.push((format!("hosts_{name}.{extension}"), text));
    }
    let faults = FAULTS.iter().zip(0..plan.live_days).map(|(fault, day)| {
        let at = |hour: f64| time(live + day * DAY + (3_600.0 * hour) as u32);
        let (from, until) = (at(fault.hours.start), at(fault.hours.end));
        FaultTruth {
            kind: fault.kind,
            host: fault.host,
            columns: fault.columns,
            from,
            until,
            note: fault.note,
        }
    });
    let truth = Truth { seed, interval_seconds: plan.interval, faults: faults.collect() };
    files.push(("hosts_truth.json".to_owned(), serde_json::to_string_pretty(&truth)? + "\n"));
    Ok(files)
}

fn write_line(text: &mut String, format: Format, line: &Line) -> Result<()> {
    match format {
        Format::Ndjson => writeln!(text, "{}", serde_json::to_string(line)?)?,
        Format::Csv => {
            let values = [
                line.cpu_usage_percent,
                line.memory_used_percent,
                line.disk_used_percent,
                line.network_received_megabytes_per_second,
                line.errors_per_minute,
            ];
            write!(text, "{},{}", line.timestamp, line.host)?;
            values.iter().try_for_each(|value| write!(text, ",{value}"))?;
            writeln!(text)?;
        }
    }
    Ok(())
}
