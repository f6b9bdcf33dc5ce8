//! The isolation forest on a NumPy file: speed, memory and, with labels, accuracy, as one line of JSON.
//!
//! ```text
//! cargo run --release -p peak-benches --bin forest -- FILE.npy --threads 2
//! ```
//!
//! Seconds are of the processor and of the clock. `memory_mib` is the most memory beyond the input
//! that the program had while it fitted and scored, the scores included. `single_row_us` is what a row
//! takes that is scored by itself.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use ndarray_npy::WriteNpyExt;
use peak_benches::matrix::{auc_and_ap, read};
use peak_benches::{cpu_seconds, memory_bytes};
use peak_detectors::{IsolationForest, Split};
use serde_json::json;
use std::fs::File;
use std::hint::black_box;
use std::io::BufWriter;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "The isolation forest on a NumPy file, as one line of JSON")]
struct Arguments {
    /// A .npy matrix, or a .npz with X and y
    file: PathBuf,
    /// How many threads fit and score
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Where the randomness comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How nodes are split
    #[arg(long, value_enum, default_value_t = Mode::Classical)]
    mode: Mode,
    /// Where the scores are written to
    #[arg(long)]
    scores: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Classical,
    Gain,
    /// Pairs
    Accuracy,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let matrix = read(&arguments.file)?;
    let split = match arguments.mode {
        Mode::Classical => Split::Classical,
        Mode::Gain => Split::PooledGain,
        Mode::Accuracy => Split::PooledPairs,
    };
    let before = memory_bytes("VmRSS");
    let marks = |()| (Instant::now(), cpu_seconds());
    let start = marks(());
    let builder = IsolationForest::builder().split(split).seed(arguments.seed).threads(arguments.threads);
    let forest = builder.fit(matrix.x.view())?;
    let fitted = marks(());
    let scores = forest.score_all(matrix.x.view())?;
    let scored = marks(());
    let memory = before.zip(memory_bytes("VmHWM")).map(|(before, most)| most.saturating_sub(before));

    let singles: Vec<Vec<f64>> = matrix.x.rows().into_iter().take(20_000).map(|row| row.to_vec()).collect();
    let (first, mut sum) = (cpu_seconds(), 0.0);
    singles.iter().for_each(|row| sum += forest.score(row).unwrap_or(0.0));
    let single = (cpu_seconds() - first) / singles.len() as f64;
    black_box(sum);

    let (rows, columns) = matrix.x.dim();
    let cpu = |a: &(Instant, f64), b: &(Instant, f64)| round(b.1 - a.1, 4);
    let wall = |a: &(Instant, f64), b: &(Instant, f64)| round((b.0 - a.0).as_secs_f64(), 4);
    let per_row_tree = (scored.1 - fitted.1) * 1e9 / rows as f64 / forest.trees() as f64;
    let mut out = json!({
        "peer": "peak",
        "file": arguments.file.file_name().map(|name| name.to_string_lossy()),
        "n": rows,
        "d": columns,
        "threads": arguments.threads,
        "seed": arguments.seed,
        "fit_cpu_s": cpu(&start, &fitted),
        "score_cpu_s": cpu(&fitted, &scored),
        "fit_wall_s": wall(&start, &fitted),
        "score_wall_s": wall(&fitted, &scored),
        "ns_row_tree": round(per_row_tree, 2),
        "single_row_us": round(single * 1e6, 3),
        "memory_mib": memory.map(|bytes| round(bytes as f64 / f64::from(1 << 20), 1)),
    });
    if let Some(outliers) = &matrix.outliers {
        let (auc, ap) = auc_and_ap(&scores.to_vec(), outliers);
        out["auc"] = json!(round(auc, 4));
        out["ap"] = json!(round(ap, 4));
    }
    if let Some(path) = &arguments.scores {
        scores.write_npy(BufWriter::new(File::create(path)?))?;
    }
    println!("{out}");
    Ok(())
}

fn round(x: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (x * unit).round() / unit
}
