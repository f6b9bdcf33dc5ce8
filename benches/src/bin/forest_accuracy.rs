//! How well the kinds of isolation forest rank the outliers of labelled sets.
//!
//! ```text
//! cargo run --release -p peak-benches --bin forest_accuracy -- ../shared/data/outliers
//! ```
//!
//! Means over the seeds of the area under the ROC curve and of average precision, per set; sets are
//! read as the `forest` program does. A set is won when the area is larger by more than 0.01, and lost
//! when it is smaller by as much.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{CellAlignment, Table};
use peak_benches::matrix::{auc_and_ap, read};
use peak_detectors::{IsolationForest, Split};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "How well the kinds of isolation forest rank the outliers of labelled sets")]
struct Arguments {
    /// A folder of .npz files with X and y
    folder: PathBuf,
    /// How many seeds, from 1
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// How many threads fit and score
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
}

const KINDS: [Split; 2] = [Split::Classical, Split::PooledGain];
const MARGIN: f64 = 0.01;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder =
        std::fs::read_dir(&arguments.folder).with_context(|| arguments.folder.display().to_string())?;
    let mut files: Vec<PathBuf> = folder.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "npz"));
    files.sort();

    let mut table = Table::new();
    table.set_header([
        "set",
        "rows",
        "columns",
        "AUC classical",
        "AUC accuracy",
        "difference",
        "AP classical",
        "AP accuracy",
    ]);
    let (mut sums, mut won, mut lost) = ([[0.0; 2]; 2], 0, 0);
    for path in &files {
        let matrix = read(path)?;
        let outliers = matrix.outliers.as_deref().context("no labels")?;
        let mut means = [[0.0; 2]; 2];
        for (mean, split) in means.iter_mut().zip(KINDS) {
            for seed in 1..=arguments.seeds {
                let builder = IsolationForest::builder().split(split).seed(seed).threads(arguments.threads);
                let scores = builder.fit(matrix.x.view())?.score_all(matrix.x.view())?;
                let (auc, ap) = auc_and_ap(&scores.to_vec(), outliers);
                mean[0] += auc / arguments.seeds as f64;
                mean[1] += ap / arguments.seeds as f64;
            }
        }
        let [classical, accuracy] = means;
        let difference = accuracy[0] - classical[0];
        won += usize::from(difference > MARGIN);
        lost += usize::from(difference < -MARGIN);
        for (sum, mean) in sums.iter_mut().zip(means) {
            sum.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += mean);
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (rows, columns) = matrix.x.dim();
        table.add_row(row(&[name, rows.to_string(), columns.to_string()], classical, accuracy));
    }
    let [classical, accuracy] = sums.map(|sum| sum.map(|sum| sum / files.len() as f64));
    let heads = ["mean".to_owned(), format!("won {won}, lost {lost}"), format!("of {}", files.len())];
    table.add_row(row(&heads, classical, accuracy));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    Ok(())
}

fn row(heads: &[String; 3], classical: [f64; 2], accuracy: [f64; 2]) -> Vec<String> {
    let difference = accuracy[0] - classical[0];
    let numbers = [classical[0], accuracy[0]].map(|x| format!("{x:.4}"));
    let precisions = [classical[1], accuracy[1]].map(|x| format!("{x:.4}"));
    heads.iter().cloned().chain(numbers).chain([format!("{difference:+.4}")]).chain(precisions).collect()
}
