//! The loop of a service: payloads come in, windows end, findings go out, and a kill costs nothing.
//!
//! ```text
//! cargo run --release -p peak-examples --bin live_service -- access.ndjson --state service.peak
//! ```
//!
//! Each line is a payload, `{"time": …, "host": …, "path": …, "client": …}`, of a file that may still grow, or of
//! standard input (`-`); unless one is given, four days are made up. History, open windows and the place in the feed are
//! saved together whenever windows have ended. Killed at whatever moment and started anew, it ends with the same state,
//! bit for bit; it tells what it told after the last save once more, with the same `id`, so that a receiver drops it.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use peak_core::{Decode, Error, Grid, Live, Place, Position, Schema, Timestamp};
use peak_detectors::{Budget, Engine, Peak};
use peak_json::JsonDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Judges hour by hour what hosts were asked for, as it comes")]
struct Arguments {
    /// A file of JSON lines, or `-`; four days are made up unless given
    feed: Option<PathBuf>,
    /// Keeps history, open windows and the place in the feed; created when it is not there
    #[arg(long, default_value = "service.peak")]
    state: PathBuf,
}

/// How many windows late records may still enter.
const LATE: usize = 6;

fn main() -> Result<()> {
    let Arguments { feed, state } = Arguments::parse();
    let schema =
        Schema::builder().time("time").sample("path").dimensions(["host"]).blame(["client"]).build()?;
    let mut decoder = JsonDecoder::new(schema);
    let resumed = Engine::resume(&state, Peak::calibrated(Budget::per_window(0.001)?))?;
    let mut engine = resumed.engine.with_lateness(LATE)?;
    let hours = Grid::every(Duration::from_secs(3_600))?;
    let fresh = || Live::new(decoder.schema(), hours).with_grace(Duration::from_secs(300)).with_late(LATE);
    let mut live = resumed.live.unwrap_or_else(fresh);
    let mut offset = resumed.cursor.try_into().map_or(0, u64::from_le_bytes);

    let (mut input, mut line, mut out) = (open(feed.as_deref())?, Vec::new(), io::stdout());
    let known = io::copy(&mut input.by_ref().take(offset), &mut io::sink())?;
    ensure!(known == offset, "the feed has {known} bytes, of which {offset} were read before");
    while input.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            eprintln!("the last line has no end yet and is left for the next run");
            break;
        }
        let at = Position::new("feed", Place::Offset { partition: 0, offset });
        let _ = decoder.decode(&line, &at, &mut |record| {
            if let Err(bad) = record.map_err(Error::from).and_then(|record| live.push(record)) {
                eprintln!("{bad}");
            }
            ControlFlow::Continue(())
        });
        offset += line.len() as u64;
        line.clear();

        let over = live.close(Timestamp::MIN); // by the times of records; a service without them gives its clock's
        if over.is_empty() {
            continue;
        }
        for window in over {
            for found in engine.take(window)? {
                writeln!(out, "{}", serde_json::to_string(&found)?)?;
            }
        }
        for correction in engine.amend_tables(live.take_late())?.corrections {
            writeln!(out, "{}", serde_json::to_string(&correction)?)?;
        }
        engine.checkpoint(&mut live, &offset.to_le_bytes())?;
    }
    engine.checkpoint(&mut live, &offset.to_le_bytes())?;
    eprintln!("{}", live.report());
    Ok(())
}

fn open(feed: Option<&Path>) -> Result<Box<dyn BufRead>> {
    Ok(match feed {
        None => Box::new(Cursor::new(made_up())),
        Some(feed) if feed == Path::new("-") => Box::new(io::stdin().lock()),
        Some(feed) => Box::new(BufReader::new(File::open(feed).with_context(|| feed.display().to_string())?)),
    })
}

/// Three hosts for four days, in the order in which the records come: most after seconds, some after hours. On the last
/// day one client searches `web-1` for a way in, and another `web-2`, of which is only heard two hours later.
fn made_up() -> String {
    let start = 1_704_067_200; // 2024-01-01T00:00:00Z
    let mut records = Vec::new();
    let mut record = |second: u64, delay: u64, host: u64, path: &str, client: u64| {
        let time = 1_000 * (start + second);
        let line =
            format!(r#"{{"time":{time},"host":"web-{host}","path":"{path}","client":"10.0.0.{client}"}}"#);
        records.push((second + delay, line + "\n"));
    };
    for i in 0..4 * 8_640 {
        let random = peak_core::stable_hash(i, b"made up");
        let delay = if random.is_multiple_of(97) { 7_200 } else { random % 60 };
        record(
            10 * i,
            delay,
            random / 97 % 3,
            &format!("/article/{}", random / 991 % 40),
            random / 39_989 % 50,
        );
    }
    for i in 0..600 {
        record(3 * 86_400 + 10 * 3_600 + 3 * i, 0, 1, "/wp-login.php", 66);
        record(3 * 86_400 + 14 * 3_600 + 3 * i, 7_200, 2, "/.env", 67);
    }
    records.sort_by_key(|(arrives, _)| *arrives);
    records.into_iter().map(|(_, line)| line).collect()
}
