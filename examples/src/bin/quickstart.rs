//! The engine inside a program of one's own, in thirty lines.
//!
//! ```text
//! cargo run --release -p peak-examples --bin quickstart
//! ```

use peak_core::{Schema, Span};
use peak_detectors::{Budget, Engine, Peak};
use peak_json::JsonFiles;

fn main() -> peak_core::Result<()> {
    let schema = Schema::builder()
        .time("utc_timestamp")
        .sample("file.sha1")
        .dimensions(["task.severity", "file.llfile_type"]) // any number
        .blame(["source.user_id", "source.origin"])
        .build()?;
    let feed = JsonFiles::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/data/telemetry.ndjson.gz"), schema)?;

    let budget = Budget::per_key_window(0.001)?; // one false alarm in a thousand key-days
    let mut engine = Engine::new(Peak::calibrated(budget)); // Engine::open("history.peak", …) resumes
    for step in engine.run(&feed, &Span::days("2024-01-01", "2024-02-12")?)? {
        for found in step {
            println!("{found}"); // what, how strange, why, who, and what would have been normal
        }
    }
    engine.save()
}
