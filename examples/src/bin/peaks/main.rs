//! Finds peaks in telemetry files, day by day, against what it has seen before.
//!
//! ```text
//! peaks examples/data/telemetry.ndjson.gz --start 2024-02-05
//! peaks 'logs/*.ndjson.gz' --history history.peak --delta 1 --json
//! peaks export.csv --time at --sample hash --dimension severity --dimension type --blame user
//! ```
//!
//! Exit codes: 0 when it ran, 1 on an error in the input, 2 on wrong arguments, 3 when it found peaks and
//! `--exit-code` was given.

mod args;
mod input;
mod plan;
mod plot;
mod show;

use anyhow::{Result, bail};
use args::{Args, Rule, UsageError};
use clap::Parser;
use peak_core::{Error, MemoryBudget, Source, Span, Windows, snapshot};
use peak_detectors::{Assessment, Classic, Engine, Observation, Peak, PeakRule, Step};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(peaks) if peaks > 0 && args.exit_code => ExitCode::from(3),
        Ok(_) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// Does what the arguments say; gives the number of peaks.
fn run(args: &Args) -> Result<usize> {
    let schema = args.schema()?;
    let feed = input::open(&args.input, args, &schema)?;
    let windows = plan::windows(args, feed.source())?;
    let mut outcome = Outcome::run(args.rule(), args, feed.source(), &windows)?;
    if args.rule.is_none() && args.history.is_none() && outcome.is_undecided() {
        eprintln!("note: too little history for the calibrated rule, the classic rule decides instead");
        outcome = Outcome::run(Rule::Classic, args, feed.source(), &windows)?;
    }
    let Outcome { mut engine, before, windows, steps } = outcome;
    if let (Some(folder), Some(before)) = (&args.svg, before) {
        plot::draw_all(folder, before, feed.source(), &windows, &steps, args.zone)?;
    }
    feed.finish();

    write_peaks(args, &steps)?;
    eprintln!("{}", show::summary(&steps));
    if !args.late.is_empty() {
        let late = input::open(&args.late, args, &schema)?;
        let amendment = engine.amend(late.source())?;
        late.finish();
        show::corrections(&mut io::stdout().lock(), &amendment, args.json)?;
    }
    if let (Some(path), PeakRule::Classic(rule)) = (&args.export_gst, engine.detector().rule()) {
        snapshot::write_atomically(path, |file| rule.export(file))?;
    }
    engine.save()?;
    Ok(steps.iter().map(|step| step.found.len()).sum())
}

/// An engine that went through windows, and what it found.
struct Outcome {
    engine: Engine<Peak>,
    /// The engine as it was before them, for pictures.
    before: Option<Engine<Peak>>,
    /// The windows that were new to its history.
    windows: Windows,
    steps: Vec<Step>,
}

impl Outcome {
    fn run(rule: Rule, args: &Args, source: &dyn Source, windows: &Windows) -> Result<Self> {
        let schema = source.schema();
        let detector = match rule {
            Rule::Calibrated => Peak::calibrated(args.calibrated(schema)?),
            Rule::Classic => Peak::classic(with_history(args.classic(schema)?, args, source, windows)?),
        };
        let mut engine = match &args.history {
            Some(path) => Engine::open(path, detector)?,
            None => Engine::new(detector),
        };
        if let Some(mebibytes) = args.memory {
            engine = engine.with_memory(MemoryBudget::bytes(mebibytes.saturating_mul(1 << 20)));
        }
        if rule == Rule::Calibrated && engine.history().learned().is_empty() {
            learn_before(&mut engine, args, source, windows)?;
        }
        if let Some(windows) = args.lateness {
            engine = engine.with_lateness(windows)?;
        }
        let windows = without_learned(windows, engine.history().learned())?;
        let before = args.svg.is_some().then(|| engine.clone());
        let steps = match &args.original_peaks {
            Some(path) => vec![step_and_export(&mut engine, source, &windows, path)?],
            None => engine.run(source, &windows)?,
        };
        Ok(Outcome { engine, before, windows, steps })
    }

    /// Whether no key got a verdict, though there were some.
    fn is_undecided(&self) -> bool {
        let refused = |step: &Step| step.refused.values().sum::<u64>();
        self.steps.iter().all(|step| step.judged == 0) && self.steps.iter().any(|step| refused(step) > 0)
    }
}

/// Without a history the calibrated rule first learns what the data hold before the first window.
fn learn_before(
    engine: &mut Engine<Peak>,
    args: &Args,
    source: &dyn Source,
    windows: &Windows,
) -> Result<()> {
    let earlier = plan::earlier_windows(args, source, windows)?;
    if let Some(span) = earlier.hull() {
        engine.run(source, &earlier)?;
        eprintln!("note: no history yet, it starts from the data's {} windows before: {span}", earlier.len());
    }
    Ok(())
}

/// Gives the classic rule its first history: the original's table, or, when there is no history at all, the days
/// before the end of the first window.
fn with_history(mut rule: Classic, args: &Args, source: &dyn Source, windows: &Windows) -> Result<Classic> {
    let resumes = args.history.as_deref().is_some_and(Path::exists);
    if let Some(path) = &args.import_gst {
        if resumes {
            bail!(UsageError(
                "--import-gst would be overruled by the file of --history, which exists".into()
            ));
        }
        let mut file = File::open(path).map_err(|source| Error::io(path.display(), source))?;
        rule.import(&mut file, &path.display().to_string())?;
    } else if let (false, Some(first)) = (resumes, windows.first()) {
        let end = args.now.unwrap_or(first.end().local(args.zone));
        let start = end.checked_sub_signed(plan::FIRST_HISTORY).unwrap_or(end);
        rule.learn_days(source, start, end)?;
        eprintln!(
            "note: no history yet, it starts from the {} days before {end}",
            plan::FIRST_HISTORY.num_days()
        );
    }
    Ok(rule)
}

/// The windows that are not in the history yet. A rerun over the same days is no error.
fn without_learned(windows: &Windows, learned: &[Span]) -> Result<Windows> {
    let (again, new): (Vec<_>, Vec<_>) = windows.iter().partition(|window| learned.contains(window));
    for window in again {
        eprintln!("note: {window} was learned already and is left out");
    }
    Ok(Windows::new(new)?)
}

/// Steps through the only window, and writes its peaks as the original does.
fn step_and_export(
    engine: &mut Engine<Peak>,
    source: &dyn Source,
    windows: &Windows,
    path: &Path,
) -> Result<Step> {
    let [window] = windows[..] else {
        bail!(UsageError(format!("--original-peaks takes one window, there are {}", windows.len())));
    };
    let mut found = Vec::new();
    let report = source.windows(windows, &mut |window| {
        found.push(window);
        ControlFlow::Continue(())
    })?;
    if let PeakRule::Classic(rule) = engine.detector().rule() {
        let past = peak_core::Baseline::default();
        let assess = |x: &Observation<'_>| rule.assess(x).ok().filter(Assessment::is_peak);
        let peaks: Vec<_> = found
            .iter()
            .filter_map(|f| {
                Some((
                    &f.key,
                    assess(&Observation { key: &f.key, span: window, window: &f.window, past: &past })?,
                ))
            })
            .collect();
        let peaks = || peaks.iter().map(|(key, assessment)| (*key, assessment));
        snapshot::write_atomically(path, |file| Classic::export_peaks(peaks(), file))?;
    }
    Ok(Step { report, ..engine.observe(window, source.schema(), found)? })
}

/// Writes the peaks to standard output, and as JSON lines to the output file.
fn write_peaks(args: &Args, steps: &[Step]) -> Result<()> {
    let found = || steps.iter().flat_map(|step| &step.found);
    if let Some(path) = &args.output {
        snapshot::write_atomically(path, |file| show::json_lines(file, found()))?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        show::json_lines(&mut out, found())?;
    } else if found().next().is_some() {
        writeln!(out, "{}", show::table(found(), args.zone))?;
    }
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
