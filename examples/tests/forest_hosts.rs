//! The program on isolation forests finds what was planted in the metrics of hosts.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(folder).output().unwrap()
}

/// What the program says about recordings in a format.
fn said(format: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let plan = ["hosts", "--format", format, "--out", "."];
    assert!(run(env!("CARGO_BIN_EXE_generate"), &plan, folder.path()).status.success());
    let files = ["training", "live"].map(|name| format!("hosts_{name}.{format}"));
    let inputs = [&files[0], &files[1], "--truth", "hosts_truth.json"];
    let output = run(env!("CARGO_BIN_EXE_forest_hosts"), &[&inputs[..], arguments].concat(), folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The two numbers of a line that begins like this: so many of so many.
fn of(said: &str, name: &str) -> (usize, usize) {
    let line =
        said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {said}"));
    let mut numbers = line.split(' ').filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn most_planted_faults_are_found_and_explained() {
    let said = said("csv", &[]);
    let (found, faults) = of(&said, "recall:");
    assert!(faults == 6 && found >= 5, "{said}");
    let (of_fault, alerts) = of(&said, "precision:");
    assert!(of_fault >= found && 3 * of_fault >= alerts, "{said}");
    // The week in which residuals are learned is no part of the training.
    assert!(said.contains("web-1: 2016 rows of 15 features; anomalous above 0."), "{said}");
    let runaway =
        said.lines().skip_while(|line| !line.starts_with("web-1 from 2024-01-20T02:")).nth(1).unwrap();
    assert!(runaway.contains(" cpu_usage_percent.residual "), "{runaway}");
}

#[test]
fn lines_of_json_say_the_same() {
    let metrics = "cpu_usage_percent,memory_used_percent,disk_used_percent,\
                   network_received_megabytes_per_second,errors_per_minute";
    let (json, csv) = (said("ndjson", &["--metrics", metrics]), said("csv", &[]));
    assert_eq!(json.replace(".ndjson", ".csv"), csv);
}

#[test]
fn what_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let failure = |arguments: &[&str]| {
        let output = run(env!("CARGO_BIN_EXE_forest_hosts"), arguments, folder.path());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let write = |name, text| std::fs::write(folder.path().join(name), text).unwrap();
    write("short.csv", "timestamp,host,cpu\n2024-01-01T00:00:00Z,a,1\n");
    write("short.ndjson", "{\"timestamp\": \"2024-01-01T00:00:00Z\", \"host\": \"a\", \"cpu\": 1}\n");
    let short = failure(&["short.csv", "short.csv"]);
    assert!(short.contains("training feed: must give 2 rows or more"), "{short}");
    assert!(short.contains("history incomplete: have 0 s, need 604800 s"), "{short}");
    let unnamed = failure(&["short.ndjson", "short.csv"]);
    assert!(unnamed.contains("--metrics must name the metrics of short.ndjson"), "{unnamed}");
}
