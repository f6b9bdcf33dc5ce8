//! The streaming detector of rows on NumPy files, judged row by row before each is learned: a line of
//! JSON for each file and seed.
//!
//! ```text
//! cargo run --release -p peak-benches --bin streaming -- outliers/*.npz --seeds 3
//! ```
//!
//! The rows come in an order permuted by the seed, or as they stand in the file with `--in-order`. Of
//! more than 20,000 labelled rows a fixed random choice is taken.

use anyhow::Result;
use clap::Parser;
use peak_benches::matrix;
use peak_benches::streaming::{prequential, shuffled};
use serde_json::json;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "The streaming detector of rows on NumPy files")]
struct Arguments {
    /// .npy matrices, or .npz with X and y
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How many orders of the rows, and of the detector's grids
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// The rows come as they stand in the file
    #[arg(long)]
    in_order: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (mut auc, mut ap, mut alarms) = (Vec::new(), Vec::new(), Vec::new());
    for path in &arguments.files {
        let matrix = matrix::read(path)?;
        for seed in 0..arguments.seeds {
            let streamed = if arguments.in_order {
                prequential(&matrix, seed)
            } else {
                prequential(&shuffled(&matrix, seed), seed)
            }?;
            let mut line = serde_json::to_value(&streamed)?;
            line["file"] = json!(path.file_name().map(|name| name.to_string_lossy()));
            println!("{line}");
            auc.extend(streamed.auc);
            ap.extend(streamed.ap);
            alarms.push(streamed.alarms);
        }
    }
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
    let files = arguments.files.len();
    println!("{}", json!({"files": files, "auc": mean(&auc), "ap": mean(&ap), "alarms": mean(&alarms)}));
    Ok(())
}
