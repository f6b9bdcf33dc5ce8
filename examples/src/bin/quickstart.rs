//! The engine inside a program of one's own, in thirty lines.
//!
//! ```text
//! cargo run --release -p peak-examples --bin quickstart
//! ```

use peak_core::{Schema, Span, Tz};
use peak_detectors::{Classic, Engine, Peak};
use peak_json::JsonFiles;

fn main() -> peak_core::Result<()> {
    let schema = Schema::builder()
        .time("utc_timestamp")
        .sample("file.sha1")
        .dimensions(["task.severity", "file.llfile_type"]) // any number
        .blame(["source.user_id", "source.origin"])
        .build()?;
    let rule = Classic::new(&schema, Tz::UTC).with_floor("task.severity", "malicious", 90)?;
    let feed = JsonFiles::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/data/telemetry.ndjson.gz"), schema)?;

    let mut engine = Engine::new(Peak::classic(rule)); // Engine::open("history.peak", …) resumes
    for step in engine.run(&feed, &Span::days("2024-01-01", "2024-02-12")?)? {
        for found in step {
            println!("{found}"); // what, why, who, and what would have been normal
        }
    }
    engine.save()
}
