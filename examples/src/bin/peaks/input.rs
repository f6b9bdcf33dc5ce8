//! Opening the input, and showing how much of it was read.

use crate::args::{Args, Format};
use anyhow::Result;
use indicatif::{HumanBytes, ProgressBar, ProgressState, ProgressStyle};
use peak_core::{Error, Schema, Source};
use peak_csv::CsvFiles;
use peak_files::Files;
use peak_json::JsonFiles;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// An open feed.
pub(crate) struct Feed {
    source: Box<dyn Source>,
    progress: ProgressBar,
    /// Holds standard input, which has to be read several times; removed with the feed.
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
pub(crate) fn open(inputs: &[String], args: &Args, schema: &Schema) -> Result<Feed> {
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

/// All files of all patterns.
fn files(inputs: &[String]) -> Result<(Files, Option<TempDir>)> {
    let mut files = Files::paths::<&Path>([]);
    let mut spool = None;
    for input in inputs {
        if input == "-" {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("standard input");
            File::create(&path)
                .and_then(|mut file| io::copy(&mut io::stdin().lock(), &mut file))
                .map_err(|error| Error::io("standard input", error))?;
            files = files.join(Files::paths([path]));
            spool = Some(folder);
        } else {
            files = files.join(Files::glob(input)?);
        }
    }
    Ok((files, spool))
}

fn is_csv(inputs: &[String], args: &Args) -> bool {
    match args.format {
        Format::Csv => true,
        Format::Json => false,
        Format::Auto => inputs.iter().all(|input| input.contains(".csv")),
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
