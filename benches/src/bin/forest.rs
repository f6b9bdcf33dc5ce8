//! The isolation forest on a NumPy file: speed, memory and, with labels, accuracy, as one line of JSON.
//!
//! ```text
//! cargo run --release -p peak-benches --bin forest -- FILE.npy --make 1000000,10
//! cargo run --release -p peak-benches --bin forest -- FILE.npy --threads 2
//! ```
//!
//! The first writes a matrix of so many rows and columns: four clusters, and 2 % of noise.
//!
//! Seconds are of the processor and of the clock. `memory_mib` is the most memory beyond the input
//! that the program had while it fitted and scored, the scores included. `single_row_us` is what a row
//! takes that is scored by itself.
//!
//! In the mode `streaming` it is the detector of streams instead, [`peak_detectors::RsHash`]: the rows come
//! in an order that follows from the seed, and each is judged before it is learned. All the time is then
//! that of scoring. `alarms` is the share of rows called anomalous though they are no outliers.

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use ndarray::{Array1, Array2};
use ndarray_npy::WriteNpyExt;
use peak_benches::matrix::{Matrix, auc_and_ap, read};
use peak_benches::streaming::{prequential, shuffled};
use peak_benches::{cpu_seconds, memory_bytes};
use peak_detectors::{IsolationForest, Split};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};
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
    /// Writes a matrix of so many rows and columns to the file instead
    #[arg(long, value_delimiter = ',', value_name = "ROWS,COLUMNS")]
    make: Option<Vec<usize>>,
    /// How many threads fit and score
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Where the randomness comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What kind of detector
    #[arg(long, value_enum, default_value_t = Mode::Classical)]
    mode: Mode,
    /// Where the scores are written to
    #[arg(long)]
    scores: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// An isolation forest as of 2008
    Classical,
    /// Cuts at valleys
    Gain,
    /// Cuts at valleys across two features
    Accuracy,
    /// One pass over a stream
    Streaming,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(size) = &arguments.make {
        let &[rows, columns] = size.as_slice() else { bail!("--make takes ROWS,COLUMNS") };
        let file = BufWriter::new(File::create(&arguments.file)?);
        return Ok(clusters(rows, columns, arguments.seed).write_npy(file)?);
    }
    let matrix = read(&arguments.file)?;
    let (figures, scores) = match arguments.mode {
        Mode::Classical => forest(&arguments, &matrix, Split::Classical),
        Mode::Gain => forest(&arguments, &matrix, Split::PooledGain),
        Mode::Accuracy => forest(&arguments, &matrix, Split::PooledPairs),
        Mode::Streaming => streaming(&arguments, &matrix),
    }?;
    let (rows, columns) = matrix.x.dim();
    let mut out = json!({
        "peer": "peak",
        "file": arguments.file.file_name().map(|name| name.to_string_lossy()),
        "n": rows,
        "d": columns,
        "threads": arguments.threads,
        "seed": arguments.seed,
    });
    if let (Some(out), Value::Object(mut figures)) = (out.as_object_mut(), figures) {
        out.append(&mut figures);
    }
    println!("{out}");
    if let Some(path) = &arguments.scores {
        scores.write_npy(BufWriter::new(File::create(path)?))?;
    }
    Ok(())
}

/// Rows of four clusters, each with spreads of its own, and one in fifty from anywhere.
fn clusters(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut normal = |_| StandardNormal.sample(&mut random);
    let centres: Vec<f64> = (0..4 * columns).map(&mut normal).map(|x: f64| 4.0 * x).collect();
    let spreads: Vec<f64> = (0..4 * columns).map(&mut normal).map(|x: f64| (0.5 * x).exp()).collect();
    let mut x = Array2::zeros((rows, columns));
    for mut row in x.rows_mut() {
        let (cluster, is_noise) = (random.random_range(0..4) * columns, random.random_ratio(1, 50));
        for (column, value) in row.iter_mut().enumerate() {
            let deviation: f64 = StandardNormal.sample(&mut random);
            let place = cluster + column;
            let near = centres[place] + spreads[place] * deviation;
            *value = if is_noise { random.random_range(-12.0..12.0) } else { near };
        }
    }
    x
}

/// Fits a forest to the rows and scores them.
fn forest(arguments: &Arguments, matrix: &Matrix, split: Split) -> Result<(Value, Array1<f64>)> {
    let before = memory_bytes("VmRSS");
    let mark = || (Instant::now(), cpu_seconds());
    let start = mark();
    let builder = IsolationForest::builder().split(split).seed(arguments.seed).threads(arguments.threads);
    let forest = builder.fit(matrix.x.view())?;
    let fitted = mark();
    let scores = forest.score_all(matrix.x.view())?;
    let scored = mark();
    let memory = before.zip(memory_bytes("VmHWM")).map(|(before, most)| most.saturating_sub(before));

    let singles: Vec<Vec<f64>> = matrix.x.rows().into_iter().take(20_000).map(|row| row.to_vec()).collect();
    let (first, mut sum) = (cpu_seconds(), 0.0);
    singles.iter().for_each(|row| sum += forest.score(row).unwrap_or(0.0));
    let single = (cpu_seconds() - first) / singles.len() as f64;
    black_box(sum);

    let cpu = |a: &(Instant, f64), b: &(Instant, f64)| round(b.1 - a.1, 4);
    let wall = |a: &(Instant, f64), b: &(Instant, f64)| round((b.0 - a.0).as_secs_f64(), 4);
    let per_row_tree = (scored.1 - fitted.1) * 1e9 / matrix.x.nrows() as f64 / forest.trees() as f64;
    let mut figures = json!({
        "fit_cpu_s": cpu(&start, &fitted),
        "score_cpu_s": cpu(&fitted, &scored),
        "fit_wall_s": wall(&start, &fitted),
        "score_wall_s": wall(&fitted, &scored),
        "ns_row_tree": round(per_row_tree, 2),
        "single_row_us": round(single * 1e6, 3),
        "memory_mib": memory.map(|bytes| round(bytes as f64 / f64::from(1 << 20), 1)),
    });
    let ranks = matrix.outliers.as_ref().map(|outliers| auc_and_ap(&scores.to_vec(), outliers));
    add_ranks(&mut figures, ranks);
    Ok((figures, scores))
}

/// Streams the rows.
fn streaming(arguments: &Arguments, matrix: &Matrix) -> Result<(Value, Array1<f64>)> {
    let order = shuffled(matrix.x.nrows(), arguments.seed);
    let streamed = prequential(matrix, &order, arguments.seed)?;
    let mut figures = json!({
        "fit_cpu_s": 0,
        "score_cpu_s": round(streamed.cpu_s, 4),
        "fit_wall_s": 0,
        "score_wall_s": round(streamed.wall_s, 4),
        "us_per_point": round(1e6 * streamed.cpu_s / order.len() as f64, 3),
        "state_bytes": streamed.state_bytes,
        "refused": streamed.refused,
        "alarms": round(streamed.alarms, 4),
    });
    add_ranks(&mut figures, streamed.auc_and_ap);
    Ok((figures, streamed.scores.into()))
}

fn add_ranks(figures: &mut Value, ranks: Option<(f64, f64)>) {
    if let Some((auc, ap)) = ranks {
        figures["auc"] = json!(round(auc, 4));
        figures["ap"] = json!(round(ap, 4));
    }
}

fn round(x: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (x * unit).round() / unit
}
