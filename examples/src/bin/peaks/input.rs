//! Opening the input, and showing how much of it was read.

use crate::args::{Args, Format};
use anyhow::Result;
use indicatif::{HumanBytes, ProgressBar, ProgressState, ProgressStyle};
use peak_core::{Error, Schema, Source};
use peak_csv::CsvFiles;
use peak_files::Files;
use peak_json::JsonFiles;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// An open feed.
pub(crate) struct Feed {
    source: Box<dyn Source>,
    progress: ProgressBar,
    /// Holds what can be read only once, and has to be read several times; removed with the feed.
    _spool: Option<TempDir>,
}

impl Feed {
    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// Takes the progress off the terminal.
    pub(crate) fn finish(&self) {
        self.progress.finish_and_clear();
    }
}

/// Opens these inputs, read as the arguments say.
pub(crate) fn open(inputs: &[PathBuf], args: &Args, schema: &Schema) -> Result<Feed> {
    let (files, spool) = files(inputs)?;
    let read = Arc::new(AtomicU64::new(0));
    let total = files.total_bytes().unwrap_or(0);
    let files = files.count_bytes(Arc::clone(&read));
    let source: Box<dyn Source> = if is_csv(inputs, args) {
        let csv = CsvFiles::new(files, schema.clone());
        Box::new(csv.delimiter(args.delimiter()?)?.on_bad_record(args.on_bad_record()))
    } else {
        let threads = args.threads.or(thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        Box::new(JsonFiles::new(files, schema.clone()).on_bad_record(args.on_bad_record()).threads(threads))
    };
    Ok(Feed { source, progress: progress(read, total)?, _spool: spool })
}

/// All files of all patterns. Pipes are copied first.
fn files(inputs: &[PathBuf]) -> Result<(Files, Option<TempDir>)> {
    let mut files = Files::default();
    let mut spool = None;
    for (number, input) in inputs.iter().enumerate() {
        if !is_read_once(input) {
            files = files.join(Files::glob(input)?);
            continue;
        }
        // As files do, a pipe that is named twice counts once.
        if inputs[..number].contains(input) {
            continue;
        }
        let folder = match spool.take() {
            Some(folder) => folder,
            None => tempfile::tempdir()?,
        };
        let name = if is_stdin(input) { "standard input".into() } else { input.to_string_lossy() };
        // Errors name the copy.
        let copy = folder.path().join(format!("{number} {}", name.replace(['/', '\\'], " ").trim_start()));
        copy_all(input, &copy).map_err(|error| Error::io(name, error))?;
        files = files.join(Files::paths([copy]));
        spool = Some(folder);
    }
    Ok((files, spool))
}

fn copy_all(input: &Path, copy: &Path) -> io::Result<u64> {
    let mut copy = File::create(copy)?;
    if is_stdin(input) {
        io::copy(&mut io::stdin().lock(), &mut copy)
    } else {
        io::copy(&mut File::open(input)?, &mut copy)
    }
}

/// Whether an input is no file, but something whose bytes come only once.
fn is_read_once(input: &Path) -> bool {
    is_stdin(input) || fs::metadata(input).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// Whether an input is standard input.
pub(crate) fn is_stdin(input: &Path) -> bool {
    input == Path::new("-")
}

fn is_csv(inputs: &[PathBuf], args: &Args) -> bool {
    match args.format {
        Format::Csv => true,
        Format::Json => false,
        Format::Auto => inputs.iter().all(|input| input.to_string_lossy().contains(".csv")),
    }
}

/// A bar of how far the input was read, on a terminal only. The input is gone through several times.
fn progress(read: Arc<AtomicU64>, total: u64) -> Result<ProgressBar> {
    const WIDTH: u64 = 30;
    let bar = move |_: &ProgressState, line: &mut dyn Write| {
        let (read, total) = (read.load(Ordering::Relaxed), total.max(1));
        let done = (WIDTH * (read % total) / total) as usize;
        let (done, left) = ("█".repeat(done), "░".repeat(WIDTH as usize - done));
        // A progress line that cannot be written is no reason to stop.
        let _ = write!(line, "{done}{left} {} read, pass {}", HumanBytes(read), 1 + read / total);
    };
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{reading} in {elapsed}")?.with_key("reading", bar));
    progress.enable_steady_tick(Duration::from_millis(100));
    Ok(progress)
}
