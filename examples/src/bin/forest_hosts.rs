//! Isolation forests on the metrics of hosts: trained on a clean recording, then asked about a live one.
//!
//! ```sh
//! cargo run --release -p peak-examples --bin generate -- hosts --out hosts
//! cargo run --release -p peak-examples --bin forest_hosts -- \
//!     hosts/hosts_training.csv hosts/hosts_live.csv --truth hosts/hosts_truth.json
//! ```
//!
//! Recordings are CSV or lines of JSON with a time, a host and metrics. Readings become rows of features: the
//! values, their mean over the last minutes, and how much they are off from what is usual at that hour of the
//! week, which takes a week to learn. Each host has features and a forest of
//! its own, for no two hosts are alike. The live recording is read in its order, reading by reading: judge,
//! explain what is anomalous, then learn. When enough anomalous readings of a
//! host follow each other, they are one alert.
//!
//! With the truth about what was planted, alerts are compared with it: how many of the faults were found, and
//! how many of the alerts are one of them.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::Table;
use peak_core::{Key, Schema, Source, Span, Timestamp};
use peak_csv::CsvFiles;
use peak_detectors::{
    Detector, Explanation, Feature, Features, Incident, Incidents, IsolationForest, News, OnFeatures, Point,
    Reading, Readings, Refusal, Threshold, Verdict,
};
use peak_json::JsonFiles;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Isolation forests on the metrics of hosts")]
struct Arguments {
    /// A recording without faults: .csv, or lines of JSON
    training: PathBuf,
    /// The recording to judge
    live: PathBuf,
    /// What was planted in it, as `generate hosts` writes it
    #[arg(long)]
    truth: Option<PathBuf>,
    /// The field with the time
    #[arg(long, default_value = "timestamp")]
    time: String,
    /// The field with the host
    #[arg(long, default_value = "host")]
    host: String,
    /// The fields with metrics; of CSV all others unless told
    #[arg(long, value_delimiter = ',')]
    metrics: Vec<String>,
    /// Minutes that features look back
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=527_040))]
    minutes: u64,
    /// The share of clean readings that may be anomalous
    #[arg(long, default_value_t = 0.02)]
    share: f64,
    /// How many anomalous readings make an alert, and how many minutes without one end it
    #[arg(long, default_value_t = 4)]
    least: u64,
    /// Where the forests' randomness comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let training = open(&arguments.training, &arguments)?;
    let metrics = training.schema().measures().to_vec();
    let (training, report) = Readings::scan(&*training, Span::ALWAYS)?;
    println!("{}: {report}", arguments.training.display());
    let mut hosts = train(&training, &metrics, &arguments)?;

    let live = open(&arguments.live, &arguments)?;
    ensure!(live.schema().measures() == metrics, "both recordings must have the same metrics");
    let (mut judged, mut alerts) = (BTreeMap::<&str, u64>::new(), Vec::new());
    let report = live.scan(Span::ALWAYS, &mut |record| {
        let key = Key::new(record.dimensions);
        let values: Vec<f64> = record.measures.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let Some(host) = hosts.get_mut(&key) else {
            *judged.entry("of an unknown host").or_default() += 1;
            return ControlFlow::Continue(());
        };
        let verdict = host.step(&Reading::new(&key, record.time, &values), &mut alerts);
        let what = verdict.map_or_else(Refusal::reason, |verdict| match verdict.anomalous {
            true => "anomalous",
            false => "normal",
        });
        *judged.entry(what).or_default() += 1;
        ControlFlow::Continue(())
    })?;
    hosts.into_values().for_each(|host| host.finish(&mut alerts));
    alerts.retain(|alert| alert.incident.anomalous >= arguments.least);
    println!("{}: {report}", arguments.live.display());
    let counts: Vec<String> = judged.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("readings: {}\n", counts.join(", "));

    alerts.sort_by_key(|alert| (alert.incident.start.time, alert.host.clone()));
    alerts.iter().for_each(|alert| println!("{alert}"));
    match &arguments.truth {
        Some(path) => compare(&alerts, path, &arguments),
        None => Ok(()),
    }
}

/// A recording: dimensions are hosts, measures are metrics.
fn open(path: &Path, arguments: &Arguments) -> Result<Box<dyn Source>> {
    let roles = Schema::builder().time(&arguments.time).dimensions([&arguments.host]);
    let pattern = path.to_str().with_context(|| format!("{} is not text", path.display()))?;
    if !pattern.contains(".csv") {
        ensure!(!arguments.metrics.is_empty(), "--metrics must name the metrics of {pattern}");
        return Ok(Box::new(JsonFiles::glob(pattern, roles.measures(&arguments.metrics).build()?)?));
    }
    Ok(Box::new(match arguments.metrics.as_slice() {
        [] => CsvFiles::wide(pattern, b',', roles)?,
        metrics => CsvFiles::glob(pattern, roles.measures(metrics).build()?)?,
    }))
}

/// Features and a forest for each host.
fn train(readings: &Readings, metrics: &[String], arguments: &Arguments) -> Result<BTreeMap<Key, Host>> {
    let window = Duration::from_secs(60 * arguments.minutes);
    let of_metric = [Feature::Value, Feature::Mean(window), Feature::Residual];
    let features = Features::builder().metrics(metrics, of_metric).build()?;
    let mut by_host = BTreeMap::<&Key, Vec<Reading<'_>>>::new();
    readings.iter().for_each(|reading| by_host.entry(reading.key).or_default().push(reading));
    let train = |(key, readings): (&Key, Vec<Reading<'_>>)| {
        let mut features = features.clone();
        let rows = features.fit(readings)?;
        let forest = IsolationForest::builder()
            .names(features.names())
            .threshold(Threshold::Contamination(arguments.share))
            .seed(arguments.seed)
            .fit(rows.matrix.view())?;
        let (rows, columns) = rows.matrix.dim();
        println!("{key}: {rows} rows of {columns} features; anomalous above {:.3}", forest.cutoff().score);
        let quiet = Duration::from_secs(60 * arguments.least);
        let incidents = Incidents::default().with_close_after(quiet)?.with_cool_down(Duration::ZERO);
        let detector = OnFeatures::new(features, forest);
        Ok((key.clone(), Host { name: key.to_string(), detector, incidents, explanation: None }))
    };
    by_host.into_iter().map(train).collect()
}

/// A host, watched.
struct Host {
    name: String,
    detector: OnFeatures<IsolationForest>,
    incidents: Incidents,
    /// Of the strangest reading of the incident.
    explanation: Option<Explanation>,
}

impl Host {
    /// Judges a reading, then learns it.
    fn step(&mut self, reading: &Reading<'_>, alerts: &mut Vec<Alert>) -> Result<Verdict, Refusal> {
        let judged = self.detector.judge(reading);
        // What the incidents see is the score.
        let point = Point::new(reading.time, judged.map_or(0.0, |verdict| verdict.score));
        for news in self.incidents.observe(&point, judged, None) {
            match news {
                News::Opened(incident) | News::Continued(incident) | News::Reopened(incident) => {
                    if incident.strangest == point {
                        self.explanation = self.detector.explain(reading).ok();
                    }
                }
                News::Closed(incident) => self.alert(incident, alerts),
                News::Stale(_) => {}
            }
        }
        self.detector.learn(reading);
        judged
    }

    fn finish(self, alerts: &mut Vec<Alert>) {
        if let Some(&incident) = self.incidents.open() {
            self.alert(incident, alerts);
        }
    }

    /// Tells of an incident that is over. One that was told of before has been opened again.
    fn alert(&self, incident: Incident, alerts: &mut Vec<Alert>) {
        alerts.retain(|alert| alert.host != self.name || alert.incident.start != incident.start);
        alerts.push(Alert { host: self.name.clone(), incident, explanation: self.explanation.clone() });
    }
}

/// Anomalous readings of a host that follow each other.
struct Alert {
    host: String,
    incident: Incident,
    explanation: Option<Explanation>,
}

/// Which host, when and how strange; then which features are to blame.
impl std::fmt::Display for Alert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Incident { start, last, anomalous, score, .. } = self.incident;
        write!(
            f,
            "{} from {} to {}: {anomalous} anomalous, score {score:.3}",
            self.host, start.time, last.time
        )?;
        match &self.explanation {
            Some(explanation) => write!(f, "\n    {explanation}"),
            None => Ok(()),
        }
    }
}

/// What was planted.
#[derive(Deserialize)]
struct Truth {
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    kind: String,
    host: String,
    #[serde(deserialize_with = "time")]
    from: Timestamp,
    #[serde(deserialize_with = "time")]
    until: Timestamp,
}

fn time<'de, D: Deserializer<'de>>(text: D) -> Result<Timestamp, D::Error> {
    Timestamp::parse(&String::deserialize(text)?).map_err(serde::de::Error::custom)
}

impl Fault {
    /// Whether an alert tells of the fault: it overlaps with it, or with what windows remember of it.
    fn is_told_by(&self, alert: &Alert, memory: Duration) -> bool {
        let Incident { start, last, .. } = alert.incident;
        let after = start.time.millis() - self.until.millis();
        alert.host == self.host && last.time >= self.from && after < memory.as_millis() as i64
    }
}

/// Which faults were found and which alerts are none.
fn compare(alerts: &[Alert], truth: &Path, arguments: &Arguments) -> Result<()> {
    let text = std::fs::read_to_string(truth).with_context(|| truth.display().to_string())?;
    let truth: Truth = serde_json::from_str(&text).with_context(|| truth.display().to_string())?;
    let memory = Duration::from_secs(60 * arguments.minutes);
    let (mut table, mut found) = (Table::new(), 0);
    table.set_header(["fault", "host", "from", "until", "first alert", "alerts"]);
    for fault in &truth.faults {
        let told: Vec<&Alert> = alerts.iter().filter(|alert| fault.is_told_by(alert, memory)).collect();
        found += usize::from(!told.is_empty());
        let first =
            told.first().map_or_else(|| "none".to_owned(), |alert| alert.incident.start.time.to_string());
        let times = [fault.from.to_string(), fault.until.to_string(), first, told.len().to_string()];
        table.add_row([fault.kind.clone(), fault.host.clone()].into_iter().chain(times));
    }
    println!("\n{table}");
    let is_fault = |alert: &&Alert| truth.faults.iter().any(|fault| fault.is_told_by(alert, memory));
    let true_alerts = alerts.iter().filter(is_fault).count();
    println!("recall: {found} of {} faults found", truth.faults.len());
    println!("precision: {true_alerts} of {} alerts tell of a fault", alerts.len());
    Ok(())
}
