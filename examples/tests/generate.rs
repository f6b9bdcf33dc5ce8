//! The bundled demonstration data is what `generate` makes of its default seed.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

/// Runs the generator with `arguments` into a fresh folder.
fn generate(arguments: &[&str]) -> Result<tempfile::TempDir> {
    let out = tempfile::tempdir()?;
    let program = env!("CARGO_BIN_EXE_generate");
    let status = Command::new(program).args(arguments).arg("--out").arg(out.path()).status()?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(out)
}

/// The content of a file, decompressed where it is compressed: how well it is, is up to the library.
fn content(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    match path.extension() {
        Some(extension) if extension == "gz" => GzDecoder::new(file).read_to_end(&mut content)?,
        _ => file.read_to_end(&mut content)?,
    };
    Ok(content)
}

#[test]
fn default_seed_reproduces_the_bundled_data() -> Result<()> {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let made = generate(&[])?;
    for name in ["telemetry.ndjson.gz", "metrics.csv", "truth.json"] {
        let same = content(&made.path().join(name))? == content(&bundled.join(name))?;
        assert!(same, "{name} differs from the bundled one");
    }
    Ok(())
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_does_not() -> Result<()> {
    let (one, again, other) =
        (generate(&["--seed", "1"])?, generate(&["--seed", "1"])?, generate(&["--seed", "2"])?);
    for name in ["telemetry.ndjson.gz", "metrics.csv", "truth.json"] {
        let bytes = fs::read(one.path().join(name))?;
        assert!(bytes == fs::read(again.path().join(name))?, "{name} differs for the same seed");
        assert!(bytes != fs::read(other.path().join(name))?, "{name} does not depend on the seed");
    }
    Ok(())
}

/// The truth about the hosts' metrics shows in them: on the faulty host, while the fault lasts, its column is far
/// from where it is at the same time of the day before.
#[test]
fn metrics_of_hosts_have_their_faults_where_the_truth_says() -> Result<()> {
    let plan = ["hosts", "--training-days", "2", "--live-days", "6", "--interval", "600"];
    let (csv, ndjson) = (generate(&plan)?, generate(&[&plan[..], &["--format", "ndjson"]].concat())?);
    let read = |folder: &tempfile::TempDir, name| fs::read_to_string(folder.path().join(name));
    let truth = read(&csv, "hosts_truth.json")?;
    ensure!(truth == read(&ndjson, "hosts_truth.json")?, "the truth does not depend on the format");

    let text = read(&csv, "hosts_training.csv")? + &read(&csv, "hosts_live.csv")?;
    let columns: Vec<&str> = text.lines().next().context("a header")?.split(',').collect();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    ensure!(rows.len() == 2 + 8 * 144 * 4, "{} lines", rows.len());
    let lines = read(&ndjson, "hosts_training.ndjson")? + &read(&ndjson, "hosts_live.ndjson")?;
    for (row, line) in rows.iter().filter(|row| row[0] != "timestamp").zip(lines.lines()) {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let value = |i: usize| line[columns[i]].as_f64().map(|value| value.to_string());
        ensure!(line["host"] == row[1] && value(4).as_deref() == Some(row[4]), "{row:?} {line}");
    }

    let truth: serde_json::Value = serde_json::from_str(&truth)?;
    let faults = truth["faults"].as_array().context("faults")?;
    ensure!(faults.len() == 6, "{truth}");
    for fault in faults {
        let text = |field: &str| fault[field].as_str().unwrap_or_default().to_owned();
        let column = fault["columns"][0].as_str().context("a column")?;
        let column = columns.iter().position(|name| *name == column).context("a known column")?;
        let mean = |from: &str, until: &str| {
            let inside = rows.iter().filter(|row| row[1] == text("host") && row[0] >= from && row[0] < until);
            let values: Vec<f64> = inside.filter_map(|row| row[column].parse().ok()).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let day_before = |time: &str| -> Result<String> {
            let time: chrono::DateTime<chrono::Utc> = time.parse()?;
            Ok((time - chrono::TimeDelta::days(1)).format("%FT%TZ").to_string())
        };
        let (from, until) = (text("from"), text("until"));
        let (faulty, usual) = (mean(&from, &until), mean(&day_before(&from)?, &day_before(&until)?));
        let ratio = faulty / usual;
        ensure!(!(0.85..1.18).contains(&ratio), "{fault}: {faulty}, the day before {usual}");
    }
    Ok(())
}

#[test]
fn metrics_of_hosts_depend_on_the_seed_alone() -> Result<()> {
    let plan =
        |seed| ["hosts", "--live-days", "1", "--training-days", "1", "--interval", "900", "--seed", seed];
    let (one, again, other) = (generate(&plan("1"))?, generate(&plan("1"))?, generate(&plan("2"))?);
    for name in ["hosts_training.csv", "hosts_live.csv"] {
        let bytes = fs::read(one.path().join(name))?;
        assert!(bytes == fs::read(again.path().join(name))?, "{name} differs for the same seed");
        assert!(bytes != fs::read(other.path().join(name))?, "{name} does not depend on the seed");
    }
    Ok(())
}
