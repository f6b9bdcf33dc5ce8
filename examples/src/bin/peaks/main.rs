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
mod days;
mod input;
mod output;
mod plan;
mod plot;
mod show;

use anyhow::{Result, bail};
use args::{Args, Rule, UsageError};
use clap::Parser;
use peak_core::{Baseline, Error, ErrorKind, LocalTable, LocalTables, Report, Source, Span, Windows};
use peak_detectors::classic::Assessment;
use peak_detectors::{Amendment, Classic, Engine, Observation, Peak, PeakRule, Step};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(peaks) if peaks > 0 && args.exit_code => ExitCode::from(3),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            show::say(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

/// Does what the arguments say; gives the number of peaks.
fn run(args: &Args) -> Result<usize> {
    let outputs = [&args.history, &args.export_gst, &args.output, &args.original_peaks];
    outputs.into_iter().flatten().try_for_each(|path| output::check(path))?;
    if args.input.iter().chain(&args.late).filter(|input| input::is_stdin(input)).count() > 1 {
        bail!(UsageError("standard input can be read only once".into()));
    }
    let schema = args.schema()?;
    let feed = input::open(&args.input, args, &schema)?;
    let windows = plan::windows(args, feed.source())?;
    let mut outcome = Outcome::run(args.rule(), args, feed.source(), &windows)?;
    if args.rule.is_none() && args.history.is_none() && outcome.is_undecided() {
        show::say("note: too little history for the calibrated rule, the classic rule decides instead");
        outcome = Outcome::run(Rule::Classic, args, feed.source(), &windows)?;
    }
    let Outcome { mut engine, before, windows, steps, original_peaks } = outcome;
    let amendment = match &args.late[..] {
        [] => None,
        late => {
            let late = input::open(late, args, &schema)?;
            let amendment = engine.amend(late.source())?;
            late.finish();
            Some(amendment)
        }
    };
    feed.finish();

    // What was learned is safe before anything is told. What cannot be written then keeps nothing else from it.
    engine.save()?;
    let export_original = |path: &PathBuf| output::write(path, |file| file.write_all(&original_peaks));
    let export_table = |path: &PathBuf| match engine.detector().rule() {
        PeakRule::Classic(rule) => output::write(path, |file| rule.export(file)),
        _ => Ok(()),
    };
    let pictures = || match (&args.svg, before) {
        (Some(folder), Some(before)) => {
            let (tables, _) = count(args, feed.source(), &windows)?;
            plot::draw_all(folder, before, tables, &steps, args.zone)
        }
        _ => Ok(()),
    };
    let written = [
        args.output.as_ref().map_or(Ok(()), |path| write_peaks(path, &steps)),
        args.original_peaks.as_ref().map_or(Ok(()), export_original),
        args.export_gst.as_ref().map_or(Ok(()), export_table),
        print(args, &steps, amendment.as_ref()),
        pictures(),
    ];
    // Whoever reads the output may have seen enough.
    written.into_iter().filter(|written| !is_broken_pipe(written)).collect::<Result<()>>()?;
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
    /// The peaks as the original writes them, when that is asked for.
    original_peaks: Vec<u8>,
}

impl Outcome {
    fn run(rule: Rule, args: &Args, source: &dyn Source, windows: &Windows) -> Result<Self> {
        let schema = source.schema();
        let detector = match rule {
            Rule::Calibrated => Peak::calibrated(args.calibrated(schema)?),
            Rule::Classic => Peak::classic(with_history(args.classic(schema)?, args, source, windows)?),
        };
        let engine = match &args.history {
            Some(path) => Engine::open(path, detector)?,
            None => Engine::new(detector),
        };
        let mut engine = engine.with_limits(args.limits());
        if rule == Rule::Calibrated && engine.history().learned().is_empty() {
            learn_before(&mut engine, args, source, windows)?;
        }
        if let Some(windows) = args.lateness {
            engine = engine.with_lateness(windows)?;
        }
        let windows = without_learned(windows, engine.history().learned())?;
        plan::check_history(args, engine.history().learned(), &windows)?;
        let before = args.svg.is_some().then(|| engine.clone());
        let (steps, original_peaks) = if args.original_peaks.is_some() {
            let (step, peaks) = step_and_export(&mut engine, args, source, &windows)?;
            (vec![step], peaks)
        } else {
            (engine.run(source, &windows)?, Vec::new())
        };
        Ok(Outcome { engine, before, windows, steps, original_peaks })
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
        let count = earlier.len();
        show::say(&format!("note: no history yet, it starts from the data's {count} windows before: {span}"));
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
        let days = plan::FIRST_HISTORY.num_days();
        show::say(&format!("note: no history yet, it starts from the {days} days before {end}"));
    }
    Ok(rule)
}

/// The windows that are not in the history yet. A rerun over the same days is no error.
fn without_learned(windows: &Windows, learned: &[Span]) -> Result<Windows> {
    let (again, new): (Vec<_>, Vec<_>) = windows.iter().partition(|window| learned.contains(window));
    for window in again {
        show::say(&format!("note: {window} was learned already and is left out"));
    }
    Ok(Windows::new(new)?)
}

/// The tables of each window, within the limits.
fn count(args: &Args, source: &dyn Source, windows: &Windows) -> Result<(Vec<LocalTable>, Report)> {
    let mut tables = LocalTables::new(source.schema(), windows).with_limits(args.limits());
    let report = source.count(&mut tables)?;
    Ok((tables.into_tables(), report))
}

/// Steps through the only window; gives its peaks as the original writes them, too.
fn step_and_export(
    engine: &mut Engine<Peak>,
    args: &Args,
    source: &dyn Source,
    windows: &Windows,
) -> Result<(Step, Vec<u8>)> {
    let (tables, report) = count(args, source, windows)?;
    let Ok([table]) = <[LocalTable; 1]>::try_from(tables) else {
        bail!(UsageError(format!("--original-peaks takes one window, there are {}", windows.len())));
    };
    let mut exported = Vec::new();
    if let PeakRule::Classic(rule) = engine.detector().rule() {
        let (found, past) = (table.finish(), Baseline::default());
        let assess = |(key, summary)| {
            let assessment = rule.assess(&Observation::new(key, table.span(), summary, &past)).ok();
            Some((key, assessment.filter(Assessment::is_peak)?))
        };
        let peaks: Vec<_> = found.iter().filter_map(assess).collect();
        Classic::export_peaks(peaks.iter().map(|(key, assessment)| (*key, assessment)), &mut exported)?;
    }
    let mut step = engine.take(table)?;
    step.report = report;
    Ok((step, exported))
}

/// Writes the peaks to a file, as JSON lines.
fn write_peaks(path: &Path, steps: &[Step]) -> Result<()> {
    output::write(path, |file| show::json_lines(file, steps.iter().flat_map(|step| &step.found)))
}

/// Shows what was found, and what late records changed.
fn print(args: &Args, steps: &[Step], amendment: Option<&Amendment>) -> Result<()> {
    let found = || steps.iter().flat_map(|step| &step.found);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut show = || {
        if args.json {
            show::json_lines(&mut out, found())?;
        } else if found().next().is_some() {
            writeln!(out, "{}", show::table(found(), args.zone))?;
        }
        out.flush()
    };
    let shown = show();
    show::summary(steps).lines().for_each(show::say);
    shown?;
    if let Some(amendment) = amendment {
        show::corrections(&mut out, amendment, args.json)?;
    }
    Ok(out.flush()?)
}

/// Whether something could not be written because its reader went away.
fn is_broken_pipe(written: &Result<()>) -> bool {
    let Err(error) = written else { return false };
    let io = match error.downcast_ref::<Error>().map(Error::kind) {
        Some(ErrorKind::Io { error, .. }) => Some(error),
        _ => error.downcast_ref::<io::Error>(),
    };
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
