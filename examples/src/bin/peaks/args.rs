//! The command line.

use anyhow::{Result, bail};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use clap::{Parser, ValueEnum};
use peak_core::{BadRecords, Limits, Schema, TimeUnit, Tz};
use peak_detectors::{Budget, Calendar, Calibrated, Classic};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Finds peaks in telemetry files, day by day, against what it has seen before.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 ran, 1 error in the input, 2 wrong arguments, 3 peaks found with --exit-code."
)]
pub(crate) struct Args {
    /// Files or quoted patterns, plain, gzip or zstd; `-` is standard input.
    #[arg(required = true)]
    pub(crate) input: Vec<PathBuf>,
    /// How the input is written; `auto` takes names with `.csv` in them as CSV, all else as JSON.
    #[arg(long, value_enum, default_value = "auto", help_heading = "Input")]
    pub(crate) format: Format,
    /// Separates the cells of CSV.
    #[arg(long, default_value = ",", help_heading = "Input")]
    pub(crate) delimiter: char,
    /// Leave out up to this many bad records and report them, instead of stopping at the first.
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub(crate) skip_bad: Option<u64>,
    /// Read JSON with so many threads; as many as there are processors unless told.
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Count in so many MiB: the largest counts are estimated when they do not fit, and keys that find no room are
    /// counted together. The history is not among it.
    #[arg(long, value_name = "MIB", help_heading = "Input")]
    pub(crate) memory: Option<usize>,
    /// Count so many keys in each window, and the records of all others together.
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub(crate) keys: Option<usize>,

    /// The fields of a known feed; own fields below replace it.
    #[arg(long, value_enum, default_value = "file-types", help_heading = "Fields")]
    pub(crate) preset: Preset,
    /// The field that holds the time.
    #[arg(long, value_name = "FIELD", requires = "dimension", help_heading = "Fields")]
    pub(crate) time: Option<String>,
    /// The unit of times that are numbers.
    #[arg(long, value_enum, default_value = "ms", help_heading = "Fields")]
    pub(crate) time_unit: Unit,
    /// The field that names what is counted.
    #[arg(long, value_name = "FIELD", requires = "time", help_heading = "Fields")]
    pub(crate) sample: Option<String>,
    /// A field whose values make the keys; give it once per dimension.
    #[arg(long, value_name = "FIELD", requires = "sample", help_heading = "Fields")]
    pub(crate) dimension: Vec<String>,
    /// A field that says who sent a record; may be repeated.
    #[arg(long, value_name = "FIELD", requires = "time", help_heading = "Fields")]
    pub(crate) blame: Vec<String>,

    /// The first day, or the first moment with --window whole, on the wall clock.
    #[arg(long, short, value_name = "DATE", value_parser = wall_clock, help_heading = "Time")]
    pub(crate) start: Option<NaiveDateTime>,
    /// The day after the last, on the wall clock.
    #[arg(long, short, value_name = "DATE", value_parser = wall_clock, help_heading = "Time")]
    pub(crate) end: Option<NaiveDateTime>,
    /// Instead of a start: this many days before the end.
    #[arg(long, short, value_name = "DAYS", conflicts_with = "start", help_heading = "Time")]
    pub(crate) delta: Option<u32>,
    /// Instead of an end: the midnight this many days ago.
    #[arg(long, short = 'k', value_name = "DAYS", conflicts_with = "end", help_heading = "Time")]
    pub(crate) delay: Option<u32>,
    /// What is judged at once: `day`, a length such as `6h` or `15m`, or `whole`, from start to end.
    #[arg(long, default_value = "day", help_heading = "Time")]
    pub(crate) window: Window,
    /// Judge all days up to the last record, also when it lies after tomorrow or far from all others: unless told,
    /// what is few and far is set aside, and a history is not made to forget all it has.
    #[arg(long, help_heading = "Time")]
    pub(crate) far_days: bool,
    /// The time zone of the wall clock.
    #[arg(long, default_value = "UTC", help_heading = "Time")]
    pub(crate) zone: Tz,
    /// What the clock shows, instead of asking it.
    #[arg(long, value_name = "DATE", value_parser = wall_clock, help_heading = "Time")]
    pub(crate) now: Option<NaiveDateTime>,

    /// How peaks are found: `calibrated` keeps the budget of false alarms, `classic` decides as the original.
    /// Calibrated unless an option of the classic rule is given, or there is too little history.
    #[arg(long, value_enum, help_heading = "Rule")]
    pub(crate) rule: Option<Rule>,
    /// The false alarms to expect: a rate per key and window such as `0.01`, a number per window such as
    /// `1/window`, or a share of all alarms such as `0.1fdr`.
    #[arg(long, default_value = "0.01", help_heading = "Rule")]
    pub(crate) budget: OwnBudget,
    /// Classic: a key needs this many records to be a peak, whatever its history says; 0 is none.
    #[arg(long, short, value_name = "N", allow_hyphen_values = true, help_heading = "Rule")]
    pub(crate) threshold: Option<i64>,
    /// Keys with this value in this dimension need at least N records; may be repeated.
    #[arg(long, value_name = "DIMENSION=VALUE:N", help_heading = "Rule")]
    pub(crate) floor: Vec<Floor>,

    /// The history, kept from run to run; created when it is not there.
    #[arg(long, short = 'm', value_name = "FILE", help_heading = "History")]
    pub(crate) history: Option<PathBuf>,
    /// Keep this many windows open for late records; unless given, as many as the history has kept.
    #[arg(long, value_name = "WINDOWS", help_heading = "History")]
    pub(crate) lateness: Option<usize>,
    /// Late records of windows that are open: take them in, and tell which findings that changes.
    #[arg(long, value_name = "FILE", help_heading = "History")]
    pub(crate) late: Vec<PathBuf>,
    /// Start from a global table of the original, telemetry-peak-analyzer.
    #[arg(long, value_name = "FILE", help_heading = "History")]
    pub(crate) import_gst: Option<PathBuf>,
    /// Write the global table as the original does.
    #[arg(long, value_name = "FILE", help_heading = "History")]
    pub(crate) export_gst: Option<PathBuf>,

    /// Write JSON lines instead of a table.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Also write the peaks to a file, as JSON lines.
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Also draw the history of each key with a peak into this folder, as SVG.
    #[arg(long, value_name = "FOLDER", help_heading = "Output")]
    pub(crate) svg: Option<PathBuf>,
    /// Also write the peaks of the only window as the original does.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) original_peaks: Option<PathBuf>,
    /// End with exit code 3 when peaks were found.
    #[arg(long, help_heading = "Output")]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    Auto,
    Json,
    Csv,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Preset {
    FileTypes,
    NetworkEvents,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Rule {
    Calibrated,
    Classic,
}

/// A budget as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnBudget(pub(crate) Budget);

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Unit {
    S,
    Ms,
    Us,
    Ns,
}

/// What is judged at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Window {
    Day,
    Length(std::time::Duration),
    Whole,
}

/// A floor as it is written: `task.severity=malicious:90`.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    dimension: String,
    value: String,
    records: u64,
}

/// Arguments that contradict each other.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl Args {
    /// The fields: one's own where a time field is given, else the preset's.
    pub(crate) fn schema(&self) -> Result<Schema> {
        let Some(time) = &self.time else {
            return Ok(match self.preset {
                Preset::FileTypes => Schema::file_types(),
                Preset::NetworkEvents => Schema::network_events(),
            });
        };
        let unit = match self.time_unit {
            Unit::S => TimeUnit::Seconds,
            Unit::Ms => TimeUnit::Milliseconds,
            Unit::Us => TimeUnit::Microseconds,
            Unit::Ns => TimeUnit::Nanoseconds,
        };
        let sample = self.sample.clone().unwrap_or_default();
        let schema = Schema::builder().time(time).time_unit(unit).sample(sample);
        Ok(schema.dimensions(&self.dimension).blame(&self.blame).build()?)
    }

    /// What tables may hold.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        if let Some(mebibytes) = self.memory {
            limits = limits.with_memory(mebibytes.saturating_mul(1 << 20));
        }
        self.keys.map_or(limits, |keys| limits.with_keys(keys))
    }

    /// The rule that is asked for, by name or by an option that only it has.
    pub(crate) fn rule(&self) -> Rule {
        let asks_for_classic = self.threshold.is_some()
            || self.import_gst.is_some()
            || self.export_gst.is_some()
            || self.original_peaks.is_some();
        self.rule.unwrap_or(if asks_for_classic { Rule::Classic } else { Rule::Calibrated })
    }

    /// The calibrated rule, without history.
    pub(crate) fn calibrated(&self, schema: &Schema) -> Result<Calibrated> {
        let with_floor = |rule: Calibrated, floor: &Floor| {
            rule.with_floor(schema, &floor.dimension, &floor.value, floor.records)
        };
        let rule = Calibrated::new(self.budget.0).with_calendar(Calendar::new(self.zone));
        Ok(self.floor.iter().try_fold(rule, with_floor)?)
    }

    /// The classic rule, without history.
    pub(crate) fn classic(&self, schema: &Schema) -> Result<Classic> {
        let preset = matches!(self.preset, Preset::FileTypes) && self.time.is_none();
        let rule = if preset { Classic::file_types(self.zone) } else { Classic::new(schema, self.zone) };
        let with_floor =
            |rule: Classic, floor: &Floor| rule.with_floor(&floor.dimension, &floor.value, floor.records);
        let rule = self.floor.iter().try_fold(rule, with_floor)?;
        Ok(rule.with_threshold(self.threshold))
    }

    pub(crate) fn on_bad_record(&self) -> BadRecords {
        self.skip_bad.map_or(BadRecords::Reject, BadRecords::Skip)
    }

    pub(crate) fn delimiter(&self) -> Result<u8> {
        match u8::try_from(self.delimiter) {
            Ok(byte) if byte.is_ascii() => Ok(byte),
            _ => {
                bail!(UsageError(format!("--delimiter must be an ASCII character, got {:?}", self.delimiter)))
            }
        }
    }
}

/// A date, or a date and a time of day, on the wall clock.
fn wall_clock(text: &str) -> Result<NaiveDateTime, String> {
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| date.and_time(NaiveTime::MIN));
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    time.or(date().ok())
        .ok_or_else(|| "must be a date YYYY-MM-DD, possibly with a time of day HH:MM[:SS]".into())
}

impl std::str::FromStr for Window {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || format!("must be `day`, `whole`, or a length such as 6h, 15m or 90s, got {text:?}");
        match text {
            "day" => return Ok(Window::Day),
            "whole" => return Ok(Window::Whole),
            _ => {}
        }
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(rule)?;
        let seconds = match unit {
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return Err(rule()),
        };
        let count: u32 = number.parse().ok().filter(|&count| count > 0).ok_or_else(rule)?;
        Ok(Window::Length(std::time::Duration::from_secs(u64::from(count) * seconds)))
    }
}

impl std::str::FromStr for OwnBudget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<f64>()
                .map_err(|_| "must be a number, possibly followed by /window or fdr".to_owned())
        };
        let budget = if let Some(alarms) = text.strip_suffix("/window") {
            Budget::per_window(number(alarms)?)
        } else if let Some(share) = text.strip_suffix("fdr") {
            Budget::fdr(number(share)?)
        } else {
            Budget::per_key_window(number(text)?)
        };
        budget.map(OwnBudget).map_err(|error| error.to_string())
    }
}

impl std::str::FromStr for Floor {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (dimension, rest) = text.split_once('=')?;
            let (value, records) = rest.rsplit_once(':')?;
            Some(Floor { dimension: dimension.into(), value: value.into(), records: records.parse().ok()? })
        };
        parts().ok_or_else(|| format!("must be DIMENSION=VALUE:N, got {text:?}"))
    }
}
