//! How well isolation forests and the detector of streams rank the outliers of labelled sets.
//!
//! ```text
//! cargo run --release -p peak-benches --bin forest_accuracy -- FOLDER
//! ```
//!
//! Means over the seeds of the area under the ROC curve and of average precision, per set; sets are read
//! as the `forest` program does. The detector of streams sees the rows in an order that follows from the
//! seed, and judges each before it learns it. Joined with the classical forest and the one of pairs by their
//! p-values it has learned all rows, as they have. A set is won when the area is larger than the classical one
//! by more than 0.01, and lost when it is smaller by as much.

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{CellAlignment, Table};
use peak_benches::matrix::{Matrix, auc_and_ap, read};
use peak_benches::streaming::{prequential, shuffled};
use peak_detectors::{Detector, IsolationForest, RsHash, Split, Together};
use std::cmp::Reverse;
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

/// The first is what the others are compared with.
const KINDS: [(&str, Kind); 5] = [
    ("classical", Kind::Forest(Split::Classical)),
    ("gain", Kind::Forest(Split::PooledGain)),
    ("pairs", Kind::Forest(Split::PooledPairs)),
    ("streaming", Kind::Stream),
    ("together", Kind::Together),
];
const MARGIN: f64 = 0.01;
/// How many of the sets with the most rows have a mean of their own.
const LARGEST: usize = 12;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Forest(Split),
    Stream,
    Together,
}

impl Kind {
    /// The area under the ROC curve, and average precision.
    fn ranks(self, matrix: &Matrix, seed: u64, threads: NonZeroUsize) -> Result<(f64, f64)> {
        match self {
            Kind::Forest(split) => {
                let outliers = matrix.outliers.as_deref().context("no labels")?;
                let builder = IsolationForest::builder().split(split).seed(seed).threads(threads);
                let scores = builder.fit(matrix.x.view())?.score_all(matrix.x.view())?;
                Ok(auc_and_ap(&scores.to_vec(), outliers))
            }
            Kind::Stream => {
                let order = shuffled(matrix.x.nrows(), seed);
                prequential(matrix, &order, seed)?.auc_and_ap.context("no labels")
            }
            Kind::Together => {
                let outliers = matrix.outliers.as_deref().context("no labels")?;
                let fit = |split| {
                    let builder = IsolationForest::builder().split(split).seed(seed).threads(threads);
                    builder.fit(matrix.x.view())
                };
                let members: [(_, Box<dyn Detector<[f64]>>); 3] = [
                    ("classical", Box::new(fit(Split::Classical)?)),
                    ("pairs", Box::new(fit(Split::PooledPairs)?)),
                    ("streaming", Box::new(RsHash::builder(matrix.x.ncols()).seed(seed).build()?)),
                ];
                let mut together = Together::new(members)?;
                let rows = matrix.x.as_standard_layout();
                let row = |row: usize| rows.row(row).to_slice().unwrap_or_default();
                shuffled(rows.nrows(), seed).into_iter().for_each(|place| together.learn(row(place)));
                let scores = (0..rows.nrows()).map(|place| Ok(together.judge(row(place))?.score));
                Ok(auc_and_ap(&scores.collect::<Result<Vec<_>>>()?, outliers))
            }
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder =
        std::fs::read_dir(&arguments.folder).with_context(|| arguments.folder.display().to_string())?;
    let mut files: Vec<PathBuf> = folder.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "npz"));
    files.sort();

    let mut table = Table::new();
    let names = KINDS.map(|(name, _)| name);
    let heads = ["set", "rows", "columns"].map(str::to_owned).into_iter();
    let areas = names.map(|name| format!("AUC {name}"));
    let precisions = names.map(|name| format!("AP {name}"));
    table.set_header(heads.chain(areas).chain(precisions));
    let (mut sums, mut counts) = ([[0.0; 2]; KINDS.len()], [[0; 2]; KINDS.len()]);
    let mut sizes = Vec::new();
    for path in &files {
        let matrix = read(path)?;
        let mut means = [[0.0; 2]; KINDS.len()];
        for (mean, (_, kind)) in means.iter_mut().zip(KINDS) {
            for seed in 1..=arguments.seeds {
                let (auc, ap) = kind.ranks(&matrix, seed, arguments.threads)?;
                mean[0] += auc / arguments.seeds as f64;
                mean[1] += ap / arguments.seeds as f64;
            }
        }
        for ((sum, [won, lost]), mean) in sums.iter_mut().zip(&mut counts).zip(means) {
            let difference = mean[0] - means[0][0];
            *won += usize::from(difference > MARGIN);
            *lost += usize::from(difference < -MARGIN);
            sum.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += mean / files.len() as f64);
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (rows, columns) = matrix.x.dim();
        sizes.push((rows, means));
        table.add_row(row([name, rows.to_string(), columns.to_string()], means));
    }
    table.add_row(row(["mean".to_owned(), String::new(), format!("of {}", files.len())], sums));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    for (name, [won, lost]) in names.iter().zip(counts).skip(1) {
        println!("{name}: won {won}, lost {lost}");
    }
    sizes.sort_by_key(|&(rows, _)| Reverse(rows));
    sizes.truncate(LARGEST);
    for (kind, name) in names.iter().enumerate() {
        let area = sizes.iter().map(|(_, means)| means[kind][0]).sum::<f64>() / sizes.len() as f64;
        println!("{name}: mean area over the {} sets with the most rows {area:.4}", sizes.len());
    }
    Ok(())
}

fn row(heads: [String; 3], means: [[f64; 2]; KINDS.len()]) -> Vec<String> {
    let numbers = |which: usize| means.map(|mean| format!("{:.4}", mean[which]));
    heads.into_iter().chain(numbers(0)).chain(numbers(1)).collect()
}
