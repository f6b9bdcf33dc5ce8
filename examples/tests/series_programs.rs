//! The programs on series run and say what they should.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Two days of minutes with a spike, an unreadable line and twenty minutes of silence.
fn feed() -> String {
    let line = |minute: i64| {
        let value = if minute == 1_500 { 99.0 } else { 50.0 + (minute * 7_919 % 101) as f64 / 20.0 };
        let silent = if minute > 2_500 { 20 } else { 0 };
        let time = peak_core::Timestamp::from_millis(1_704_067_200_000 + (minute + silent) * 60_000).unwrap();
        if minute == 77 { "nonsense\n".to_owned() } else { format!("{time},{value}\n") }
    };
    (0..2_880).map(line).collect()
}

#[test]
fn streaming_tells_incidents_and_draws_them() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("series.svg");
    let output = run(env!("CARGO_BIN_EXE_streaming"), &["--svg", picture.to_str().unwrap()], &feed());
    let (said, errors) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "line 78: must be a time and a value, got \"nonsense\"\n");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].starts_with(
            "2024-01-02T01:00:00Z opened: since 2024-01-02T01:00:00Z, 1 anomalous, strangest 99"
        ),
        "{said}"
    );
    assert!(lines[1].ends_with("; recovered at 2024-01-02T01:30:00Z"), "{said}");
    assert!(lines[2].ends_with("stale: no point for 1260 s"), "{said}");
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(
        svg.contains("normal range") && svg.matches("<circle").count() == 2,
        "one point, and the legend's"
    );
}

#[test]
fn compare_shows_every_detector() {
    let output = run(env!("CARGO_BIN_EXE_compare"), &["--demo"], "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for name in ["sigma", "sigma skyline", "MAD", "double MAD"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("| {name} "))), "{name}: {said}");
    }
    let cells: Vec<&str> =
        said.lines().find(|line| line.starts_with("| sigma  ")).unwrap().split('|').map(str::trim).collect();
    assert_eq!(cells[4], "3", "a spike, a drop and a shift: {said}");
    let bad = run(env!("CARGO_BIN_EXE_compare"), &[], "2024-01-01,x\n");
    assert!(!bad.status.success());
    assert!(String::from_utf8(bad.stderr).unwrap().contains("line 1: value \"x\""));
}
