//! Every program runs and says what it should.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use chrono::NaiveDate;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PEAKS: &str = env!("CARGO_BIN_EXE_peaks");
const TELEMETRY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/telemetry.ndjson.gz");

fn peaks(arguments: &[&str]) -> Output {
    Command::new(PEAKS).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a failed run says, and its exit code.
fn failure(output: &Output) -> (i32, String) {
    let errors = stderr(output);
    let error = errors.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&errors);
    (output.status.code().unwrap(), error.to_owned())
}

/// The days and file types of the peaks, of JSON lines.
fn found(json_lines: &str) -> Vec<(String, String)> {
    let peak = |line: &str| {
        let peak: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        (text(&peak["start"])[..10].to_owned(), text(&peak["key"]["file.llfile_type"]))
    };
    json_lines.lines().map(peak).collect()
}

fn record(time: &str, sample: &str, kind: &str) -> String {
    format!(
        r#"{{"utc_timestamp": "{time}", "file.sha1": "{sample}", "task.severity": "malicious", "file.llfile_type": {kind}}}"#
    )
}

fn in_folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.iter().map(|(name, content)| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_readme_shows_the_real_output() {
    let readme = include_str!("../../README.md");
    let block = readme.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let (command, shown) = block.split_once('\n').unwrap();
    let arguments: Vec<&str> = command.split(" -- ").nth(1).unwrap().split(' ').collect();
    let output = Command::new(PEAKS)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let printed: Vec<String> = stdout(&output).lines().map(|line| line.trim_end().to_owned()).collect();
    assert_eq!(printed.join("\n"), shown.trim_end());
}

#[test]
fn estimates_find_the_same_peaks() {
    let both = |memory: &[&str]| {
        let output = peaks(&[&[TELEMETRY, "--start", "2024-01-22", "--json"], memory].concat());
        (found(&stdout(&output)), stderr(&output))
    };
    let (exact, said) = both(&[]);
    assert!(exact.len() == 13 && !said.contains("estimated"), "{said}");
    let (estimated, said) = both(&["--memory", "1", "--threads", "1"]);
    assert_eq!(estimated, exact);
    assert!(said.contains(" of them estimated, to keep to the memory, 13 peaks"), "{said}");
}

#[test]
fn keys_that_find_no_room_are_counted_together_and_told() {
    let keys: String = (0..50).map(|key| lines("2024-01-01", &format!("key {key}"), 2)).collect();
    let (_folder, paths) = in_folder(&[("a.ndjson", &keys)]);
    let run = |limit: [&str; 2]| {
        let arguments = [text(&paths[0]), "--threshold", "5", "--json", "--threads", "1"];
        let output = peaks(&[&arguments, &FIELDS[..], &limit].concat());
        stdout(&output);
        stderr(&output)
    };
    let said = run(["--keys", "40"]);
    assert!(
        said.contains("40 keys judged in 1 windows, 20 records counted as (other), for want of room"),
        "{said}"
    );
    let said = run(["--memory", "0"]);
    assert!(said.contains(" records counted as (other), for want of room"), "{said}");
    let said = run(["--keys", "50"]);
    assert!(said.contains("50 keys judged in 1 windows, 0 peaks"), "{said}");
}

#[test]
fn every_planted_peak_is_found_and_nothing_else_beyond_the_budget() {
    let budget = 0.01;
    let output = peaks(&[TELEMETRY, "--start", "2024-01-15", "--budget", &budget.to_string(), "--json"]);
    let found =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let truth: Value = serde_json::from_str(include_str!("../data/truth.json")).unwrap();
    let planted = truth["planted"].as_array().unwrap();
    let day = |text: &Value| text.as_str().unwrap()[..10].parse::<NaiveDate>().unwrap();

    for planted in planted {
        let is_it =
            |found: &&Value| day(&found["start"]) == day(&planted["day"]) && found["key"] == planted["key"];
        assert!(found.iter().any(|found| is_it(&found)), "not found: {planted}");
    }
    // A key that falls silent is told three times, a planted new key too once it is gone.
    let is_planted = |found: &&Value| {
        planted.iter().any(|planted| {
            let gone = found["explanation"]["change"] == "gone"
                && ["stopped_key", "new_key"].contains(&planted["kind"].as_str().unwrap());
            let days = (day(&found["start"]) - day(&planted["day"])).num_days();
            found["key"] == planted["key"] && (days == 0 || gone && (1..=3).contains(&days))
        })
    };
    let others: Vec<&Value> = found.iter().filter(|found| !is_planted(found)).collect();
    let summary = stderr(&output);
    let judged = summary.lines().find_map(|line| line.split_once(" keys judged")).unwrap().0;
    assert!(
        others.len() as f64 <= budget * judged.parse::<f64>().unwrap(),
        "{judged} keys judged, found {others:#?}"
    );
}

#[test]
fn the_classic_rule_finds_the_planted_volume_peaks() {
    let found = found(&stdout(&peaks(&[TELEMETRY, "--rule", "classic", "--json"])));
    for planted in
        [("2024-01-17", "PeExeFile"), ("2024-02-03", "ZipArchiveFile"), ("2024-02-08", "HtmlTextFile")]
    {
        assert!(
            found.iter().any(|(day, kind)| (day.as_str(), kind.as_str()) == planted),
            "{planted:?} in {found:?}"
        );
    }
}

#[test]
fn a_history_continues_from_run_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history.peak");
    let run = |start, end| {
        let days = ["--start", start, "--end", end, "--history", text(&history), "--json"];
        peaks(&[&[TELEMETRY][..], &days[..]].concat())
    };
    let at_once =
        found(&stdout(&peaks(&[TELEMETRY, "--json", "--start", "2024-01-01", "--end", "2024-01-19"])));
    let mut in_parts = found(&stdout(&run("2024-01-01", "2024-01-10")));
    in_parts.extend(found(&stdout(&run("2024-01-10", "2024-01-19"))));
    assert_eq!(in_parts, at_once);

    let again = run("2024-01-18", "2024-01-19");
    assert_eq!(stdout(&again), "");
    assert!(stderr(&again).contains("was learned already and is left out"), "{}", stderr(&again));
}

#[test]
fn a_null_dimension_does_not_cost_the_history() {
    let good = record("2024-01-01T10:00:00Z", "a", r#""PeExeFile""#);
    let null = record("2024-01-02T10:00:00Z", "b", "null");
    let (folder, paths) = in_folder(&[("first.ndjson", &good), ("second.ndjson", &null)]);
    let history = folder.path().join("history.peak");
    let run = |file: &Path, start, end, more: &[&str]| {
        peaks(
            &[&[text(file), "--start", start, "--end", end, "--history", text(&history)][..], more].concat(),
        )
    };
    stdout(&run(&paths[0], "2024-01-01", "2024-01-02", &[]));
    let before = fs::read(&history).unwrap();

    let (code, error) = failure(&run(&paths[1], "2024-01-02", "2024-01-03", &[]));
    assert_eq!(code, 1);
    assert!(
        error.contains(r#"second.ndjson: record 1 (line 1): field "file.llfile_type""#)
            && error.ends_with("got null"),
        "{error}"
    );
    assert_eq!(fs::read(&history).unwrap(), before);

    let skipped = run(&paths[1], "2024-01-02", "2024-01-03", &["--skip-bad", "1"]);
    stdout(&skipped);
    assert!(stderr(&skipped).contains("1 bad ones skipped\n  skipped "), "{}", stderr(&skipped));
    assert_ne!(fs::read(&history).unwrap(), before);
}

#[test]
#[cfg(unix)]
fn a_full_disk_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history.peak");
    let run = |limit: &str, start: &str, end: &str| {
        // A limit on the size of files stands for a full disk: writing beyond it fails.
        let script = format!("trap '' XFSZ; {limit} exec \"$@\"");
        let days = ["--start", start, "--end", end, "--history", text(&history)];
        Command::new("sh").args(["-c", &script, "sh", PEAKS, TELEMETRY]).args(days).output().unwrap()
    };
    stdout(&run("", "2024-01-01", "2024-01-03"));
    let before = fs::read(&history).unwrap();
    let (code, error) = failure(&run("ulimit -f 1;", "2024-01-03", "2024-01-05"));
    assert!(code == 1 && error.contains("history.peak: "), "{code} {error}");
    assert_eq!(fs::read(&history).unwrap(), before);
    let beside = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let beside: BTreeSet<_> = beside.collect();
    assert_eq!(
        beside,
        ["history.peak", "history.peak.lock"].map(Into::into).into(),
        "remains of the failed save"
    );
    stdout(&run("", "2024-01-03", "2024-01-05"));
}

#[test]
fn the_originals_table_goes_in_and_comes_out() {
    let case = concat!(env!("CARGO_MANIFEST_DIR"), "/data/parity/peak/case_generated_utc");
    let telemetry = format!("{case}/../data/telemetry.json");
    let folder = tempfile::tempdir().unwrap();
    let (gst, original_peaks) = (folder.path().join("gst.json"), folder.path().join("peaks.json"));
    let params: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(format!("{case}/params.json")).unwrap()).unwrap();
    let run = &params["runs"][1];
    let [start, end] = ["start", "end"].map(|name| run[name].as_str().unwrap()[..10].to_owned());
    let import = format!("{case}/gst_after_run1.json");
    stdout(&peaks(&[
        &telemetry,
        "--start",
        &start,
        "--end",
        &end,
        "--import-gst",
        &import,
        "--export-gst",
        text(&gst),
        "--original-peaks",
        text(&original_peaks),
    ]));
    assert_eq!(fs::read(&gst).unwrap(), fs::read(format!("{case}/gst_after_run2.json")).unwrap());
    assert_eq!(fs::read(&original_peaks).unwrap(), fs::read(format!("{case}/peaks_run2.json")).unwrap());
}

#[test]
fn the_real_recording_gives_peaks() {
    let Some(shared) = std::env::var_os("PEAK_SHARED") else {
        // Not by a macro: what those print of a test that passes is not shown.
        let _ = writeln!(std::io::stderr(), "SKIPPED the_real_recording_gives_peaks: PEAK_SHARED is not set");
        return;
    };
    let recording = Path::new(&shared).join("golden/peak/data/telemetry_example_2.json");
    // A single day: too little for the calibrated rule.
    let output = peaks(&[text(&recording)]);
    let table = stdout(&output);
    assert!(stderr(&output).contains("the classic rule decides instead"), "{}", stderr(&output));
    assert!(table.contains("PeExeFile") && table.contains("252 / 221"), "{table}");
    assert!(
        stderr(&output).contains("500 records, 0 outside the span, 0 bad ones skipped"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn standard_input_and_csv_give_the_same_peaks() {
    let lines: Vec<String> = (0..40)
        .map(|i| {
            record(
                &format!("2024-01-0{}T10:00:00Z", 1 + i / 20),
                &format!("s{}", if i < 20 { i } else { 1 }),
                r#""PeExeFile""#,
            )
        })
        .collect();
    let mut child = Command::new(PEAKS)
        .args(["-", "--json", "--threshold", "5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let from_stdin = found(&stdout(&child.wait_with_output().unwrap()));
    assert!(from_stdin.contains(&("2024-01-02".into(), "PeExeFile".into())), "{from_stdin:?}");

    let row = |line: &String| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let cell = |field: &str| record[field].as_str().unwrap().to_owned();
        [
            cell("utc_timestamp"),
            cell("file.sha1"),
            cell("task.severity"),
            cell("file.llfile_type"),
            String::new(),
        ]
        .join(";")
    };
    let csv = format!(
        "at;file.sha1;task.severity;file.llfile_type;who\n{}\n",
        lines.iter().map(row).collect::<Vec<_>>().join("\n")
    );
    let (_folder, paths) = in_folder(&[("records.csv", &csv)]);
    let from_csv = peaks(&[
        text(&paths[0]),
        "--json",
        "--threshold",
        "5",
        "--delimiter",
        ";",
        "--time",
        "at",
        "--sample",
        "file.sha1",
        "--dimension",
        "task.severity",
        "--dimension",
        "file.llfile_type",
        "--blame",
        "who",
    ]);
    assert_eq!(found(&stdout(&from_csv)), from_stdin);
}

#[test]
fn a_picture_is_drawn_of_each_key_with_a_peak() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    let days = ["--start", "2024-02-08", "--end", "2024-02-10", "--json", "--svg", text(&pictures)];
    let peaks = found(&stdout(&peaks(&[&[TELEMETRY][..], &days[..]].concat())));
    let picture = fs::read_to_string(pictures.join("benign___HtmlTextFile-b5503c3178343f2e.svg")).unwrap();
    assert!(
        picture.starts_with("<svg")
            && picture.contains("benign / HtmlTextFile")
            && picture.contains("<circle"),
        "{picture}"
    );
    let kinds: BTreeSet<_> = peaks.into_iter().map(|(_, kind)| kind).collect();
    assert!(fs::read_dir(pictures).unwrap().count() >= kinds.len());
}

#[test]
fn the_readme_shows_a_real_picture() {
    let folder = tempfile::tempdir().unwrap();
    stdout(&peaks(&[TELEMETRY, "--start", "2024-01-08", "--json", "--svg", text(folder.path())]));
    let drawn = fs::read_to_string(folder.path().join("benign___PdfDocFile-45177f6f9d40be50.svg")).unwrap();
    assert_eq!(drawn, include_str!("../data/picture.svg"));
}

#[test]
fn late_records_correct_what_was_found() {
    let day = |day: u32, records: u32| -> Vec<String> {
        (0..records)
            .map(|i| record(&format!("2024-01-{day:02}T10:00:00Z"), &format!("{day}-{i}"), r#""PeExeFile""#))
            .collect()
    };
    let quiet: Vec<String> = (1..=20).flat_map(|d| day(d, 95 + d % 7)).collect();
    let (late_day, too_late) = (day(20, 500).split_off(120), day(3, 4));
    let late = [late_day, too_late].concat();
    let (folder, paths) =
        in_folder(&[("in_time.ndjson", &quiet.join("\n")), ("late.ndjson", &late.join("\n"))]);
    let history = folder.path().join("history.peak");
    let run = |more: &[&str]| {
        peaks(&[&[text(&paths[0]), "--history", text(&history), "--lateness", "2"][..], more].concat())
    };
    stdout(&run(&[]));
    let corrected = run(&["--late", text(&paths[1])]);
    let printed = stdout(&corrected);
    assert!(printed.contains("correction: found now: malicious / PeExeFile: 481 records"), "{printed}");
    let summary = "380 late records taken in, 4 too late, 0 of windows to come, 1 findings corrected";
    assert!(stderr(&corrected).contains(summary), "{}", stderr(&corrected));
    let again = run(&["--late", text(&paths[1]), "--json"]);
    assert!(stdout(&again).lines().all(|line| line.contains(r#""before":{"#)), "{}", stdout(&again));
}

#[test]
fn windows_are_days_lengths_or_the_whole() {
    let judged = |more: &[&str]| {
        let output = peaks(&[&[TELEMETRY, "--start", "2024-01-20", "--json"][..], more].concat());
        stdout(&output);
        let summary = stderr(&output);
        summary
            .lines()
            .last()
            .unwrap()
            .split(" windows")
            .next()
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(judged(&["--end", "2024-01-23"]), "3");
    assert_eq!(judged(&["--end", "2024-01-21", "--window", "6h"]), "4");
    assert_eq!(judged(&["--end", "2024-01-23", "--window", "whole"]), "1");
    let last_days =
        peaks(&[TELEMETRY, "--delta", "2", "--delay", "1", "--now", "2024-02-01T12:00", "--json"]);
    assert!(found(&stdout(&last_days)).iter().all(|(day, _)| day == "2024-01-29" || day == "2024-01-30"));
    assert!(stderr(&last_days).contains("in 2 windows"), "{}", stderr(&last_days));
}

#[test]
fn wrong_input_is_named_with_an_exit_code() {
    let (_folder, paths) = in_folder(&[("empty.ndjson", ""), ("cut.json", "[{\"utc_timestamp\": 1")]);
    let fails = |arguments: &[&str]| failure(&peaks(arguments));
    assert_eq!(fails(&["no/such/*.json"]), (1, r#"no file matches "no/such/*.json""#.into()));
    assert_eq!(fails(&[text(&paths[0])]), (1, "the input holds no record".into()));
    let (code, error) = fails(&[text(&paths[1])]);
    assert!(code == 1 && error.contains("cut.json: record 1 (line 1)"), "{error}");
    let (code, error) = fails(&[TELEMETRY, "--start", "2024-01-03", "--end", "2024-01-03"]);
    assert_eq!(
        (code, error.as_str()),
        (1, r#"days: must start before they end, got "2024-01-03 to 2024-01-03""#)
    );
    let (code, error) = fails(&[TELEMETRY, "--start", "2024-01-03T05:00"]);
    assert!(code == 2 && error.contains("is no date"), "{error}");
    let (code, error) = fails(&[TELEMETRY, "--floor", "severity=x:1"]);
    assert!(code == 1 && error.starts_with("floor: must be one of the dimensions"), "{error}");
    assert_eq!(peaks(&[TELEMETRY, "--window", "5x"]).status.code(), Some(2));
    assert_eq!(peaks(&[TELEMETRY, "--zone", "Mars/Olympus"]).status.code(), Some(2));
    let one_day = [TELEMETRY, "--start", "2024-02-08", "--end", "2024-02-09", "--exit-code"];
    assert_eq!(peaks(&one_day).status.code(), Some(3));
    let twice = ["-", TELEMETRY, "--late", "-"];
    assert_eq!(fails(&twice), (2, "standard input can be read only once".into()));
}

/// The fields of [`lines`].
const FIELDS: [&str; 6] = ["--time", "t", "--sample", "s", "--dimension", "k"];

/// So many records of a key on a day.
fn lines(day: &str, key: &str, records: usize) -> String {
    let line = |i| serde_json::json!({"t": format!("{day}T10:00:00Z"), "k": key, "s": format!("{i}")});
    (0..records).map(|i| line(i).to_string() + "\n").collect()
}

/// Three weeks of a key before a day with a peak of it, on 2024-01-22, and the arguments that find it.
fn peak_of(key: &str) -> String {
    let quiet = (1..=21).map(|day| lines(&format!("2024-01-{day:02}"), key, 20 + day % 5));
    quiet.chain([lines("2024-01-22", key, 300)]).collect()
}

#[cfg(unix)]
fn shell(script: &str, arguments: &[&str]) -> Output {
    let shell = Command::new("sh").args(["-c", script, "sh", PEAKS]).args(arguments).output();
    shell.unwrap()
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_does_not_cost_the_history() {
    let (folder, paths) = in_folder(&[("a.ndjson", &peak_of("web"))]);
    let (history, code) = (folder.path().join("h.peak"), folder.path().join("code"));
    let arguments = [&[text(&paths[0]), "--history", text(&history), "--json"], &FIELDS[..]].concat();
    // `true` is gone at once; of both streams, or of one.
    for streams in ["2>&1", "2>/dev/null", "2>&1 >/dev/null"] {
        let script = format!("(sleep 0.2; \"$@\" {streams}; echo $? > {}) | true", text(&code));
        shell(&script, &arguments);
        assert_eq!(fs::read_to_string(&code).unwrap(), "0\n", "{streams}");
        fs::remove_file(&history).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_cannot_be_written_costs_nothing_else() {
    let (folder, paths) = in_folder(&[("a.ndjson", &peak_of("web"))]);
    let history = folder.path().join("h.peak");
    let arguments = [text(&paths[0]), "--history", text(&history), "--json", "--output", "/dev/full"];
    let output = peaks(&[&arguments, &FIELDS[..]].concat());
    let (code, error) = failure(&output);
    assert!(code == 1 && stderr(&output).contains("error: /dev/full: "), "{error}");
    assert!(history.exists() && String::from_utf8_lossy(&output.stdout).contains("2024-01-22"));
}

#[test]
#[cfg(target_os = "linux")]
fn outputs_that_are_no_files_are_written_into() {
    use std::os::unix::fs::FileTypeExt;
    let (folder, paths) =
        in_folder(&[("a.ndjson", &peak_of("web")), ("to.txt", ""), ("both.txt", "before\n")]);
    fn arguments<'a>(input: &'a Path, output: &'a str) -> Vec<&'a str> {
        [&[text(input), "--json", "--output", output], &FIELDS[..]].concat()
    }
    let shown = stdout(&peaks(&arguments(&paths[0], "/dev/null")));
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_eq!(shown.lines().count(), 1, "{shown}");

    assert_eq!(stdout(&peaks(&arguments(&paths[0], "/dev/stdout"))), shown.repeat(2));
    let redirected = |to: &Path, how: &str, output: &str| {
        let script = format!("\"$@\" {how} {}", text(to));
        stdout(&shell(&script, &arguments(&paths[0], output)));
        fs::read_to_string(to).unwrap()
    };
    assert_eq!(redirected(&paths[1], ">", "/dev/stdout"), shown.repeat(2));
    assert_eq!(redirected(&paths[1], ">", text(&paths[1])), shown.repeat(2));
    assert_eq!(redirected(&paths[2], ">>", "/dev/fd/1"), format!("before\n{}", shown.repeat(2)));
    assert_eq!(redirected(&paths[2], ">/dev/null 3>>", "/dev/fd/3"), format!("before\n{}", shown.repeat(3)));

    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    stdout(&peaks(&arguments(&paths[0], text(&pipe))));
    assert_eq!(reader.join().unwrap(), shown);
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

    let (code, error) = failure(&peaks(&arguments(&paths[0], text(folder.path()))));
    assert!(code == 2 && error.ends_with(" is a folder, not a file to write"), "{code} {error}");
    let (code, error) = failure(&peaks(&arguments(&paths[0], "/no/such/folder/a")));
    assert!(code == 1 && error.starts_with("/no/such/folder: "), "{code} {error}");
}

#[test]
#[cfg(unix)]
fn pipes_are_read_as_files_are() {
    let (folder, paths) = in_folder(&[("a.ndjson", &peak_of("web"))]);
    let arguments = [&["--json"], &FIELDS[..]].concat();
    let expected = stdout(&peaks(&[&[text(&paths[0])], &arguments[..]].concat()));
    assert_eq!(expected.lines().count(), 1);
    let piped = |script: &str| stdout(&shell(&format!("cat {} | {script}", text(&paths[0])), &arguments));
    for script in [r#""$@" -"#, r#""$@" /dev/stdin"#, r#"(exec 3<&0; "$@" /dev/fd/3 /dev/fd/3)"#] {
        assert_eq!(piped(script), expected, "{script}");
    }
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(piped(&format!("(cat {1} > {0} & \"$@\" {0} {0})", text(&pipe), text(&paths[0]))), expected);
}

#[test]
fn patterns_that_overlap_count_a_file_once() {
    let (folder, paths) = in_folder(&[("a.ndjson", &lines("2024-01-01", "web", 7))]);
    let pattern = folder.path().join("*.ndjson");
    let output = peaks(&[&[text(&paths[0]), text(&pattern), text(&paths[0])], &FIELDS[..]].concat());
    stdout(&output);
    assert!(stderr(&output).contains("\n7 records, "), "{}", stderr(&output));
    let (code, error) = failure(&peaks(&[&[text(folder.path())], &FIELDS[..]].concat()));
    assert!(code == 1 && error.contains(" is a folder; its files are "), "{error}");
}

#[test]
fn a_table_of_long_keys_is_short_and_json_keeps_them_apart() {
    let keys: Vec<String> = (0..10).map(|i| format!("{i}{}", "é".repeat(150_000))).collect();
    let records: String = keys.iter().map(|key| lines("2024-01-01", key, 9)).collect();
    let (_folder, paths) = in_folder(&[("a.ndjson", &records)]);
    let arguments = [&[text(&paths[0]), "--threshold", "5"], &FIELDS[..]].concat();
    let table = stdout(&peaks(&arguments));
    assert!(table.contains("9é") && table.contains('…') && table.chars().count() < 30_000, "{table}");
    let json = stdout(&peaks(&[&arguments, &["--json"][..]].concat()));
    let begins = |key: &String| json.matches(&key[..4_001]).count() == 1;
    assert!(json.lines().count() == 10 && json.len() < 100_000 && keys.iter().all(begins));
}

#[test]
fn what_records_hold_does_not_command_the_terminal() {
    let harmful = "x\u{1b}[31mRED\nERROR forged\u{202e}";
    let (_folder, paths) = in_folder(&[(
        "a.ndjson",
        &lines("2024-01-01", harmful, 9).replace(r#""s":""#, r#""s":"\u001b[2J\n"#),
    )]);
    let table = stdout(&peaks(&[&[text(&paths[0]), "--threshold", "5"], &FIELDS[..]].concat()));
    assert!(table.contains(r"x\u{1b}[31mRED\nERROR") && table.contains(r"\u{1b}[2J\n"), "{table}");
    assert!(!table.contains(['\u{1b}', '\u{202e}']) && !table.contains("\nERROR"), "{table}");
    let missing = "no/such\n\u{1b}c";
    let output = peaks(&[missing]);
    assert!(stderr(&output).starts_with(r"error: no/such\n\u{1b}c: "), "{}", stderr(&output));
}

#[test]
fn keys_that_look_alike_have_pictures_of_their_own() {
    let long = "x".repeat(300);
    let keys = ["a/b", "a_b", "A_b", "é\u{1b}", "..", &long, &format!("{long}y")];
    let records: String = keys.iter().map(|key| peak_of(key)).collect();
    let (folder, paths) = in_folder(&[("a.ndjson", &records)]);
    let pictures = folder.path().join("pictures");
    stdout(&peaks(&[&[text(&paths[0]), "--json", "--svg", text(&pictures)], &FIELDS[..]].concat()));
    let names =
        fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.map(|name| name.to_lowercase()).collect();
    assert_eq!(names.len(), keys.len(), "{names:?}");
    assert!(names.iter().all(|name| name.len() < 150), "{names:?}");
    for name in fs::read_dir(&pictures).unwrap() {
        let picture = fs::read_to_string(name.unwrap().path()).unwrap();
        assert!(picture.starts_with("<svg") && !picture.contains('\u{1b}'), "{picture}");
    }
}

/// Runs over an ordinary day and this record, with a history of three weeks before it; gives the output, and that of
/// the next ordinary day.
fn with_a_stray_record(time: &str, more: &[&str]) -> (Output, Output) {
    let history: String =
        (1..=21).map(|day| lines(&format!("2024-01-{day:02}"), "web", 40 + day % 5)).collect();
    let day = lines("2024-01-22", "web", 41) + &lines(time, "wrong clock", 1);
    let next = lines("2024-01-23", "web", 43);
    let (folder, paths) =
        in_folder(&[("history.ndjson", &history), ("day.ndjson", &day), ("next.ndjson", &next)]);
    let file = folder.path().join("h.peak");
    let run = |path: &Path, more: &[&str]| {
        peaks(&[&[text(path), "--history", text(&file), "--json"], &FIELDS[..], more].concat())
    };
    stdout(&run(&paths[0], &[]));
    (run(&paths[1], more), run(&paths[2], &[]))
}

#[test]
fn a_record_with_a_wrong_time_is_set_aside_and_told() {
    for (time, why) in [
        ("2025-01-30", "few and far from all others"),
        ("2024-02-12", "few and far from all others"),
        ("1970-01-01", "few and far from all others"),
        ("2099-01-01", "after tomorrow"),
        ("9999-12-31", "after tomorrow"),
    ] {
        let (day, next) = with_a_stray_record(time, &[]);
        assert_eq!(stdout(&day), "", "{time}");
        let told = format!(
            "note: set aside as {why}: 1 records at {time}T10:00:00Z, the first of wrong clock; --far-days judges them\n"
        );
        assert!(stderr(&day).starts_with(&told), "{}", stderr(&day));
        assert!(stderr(&day).contains("41 records, 1 outside the span"), "{}", stderr(&day));
        assert!(stderr(&day).contains("keys judged in 1 windows"), "{}", stderr(&day));
        assert_eq!(stdout(&next), "", "{time}");
    }
    let (day, next) = with_a_stray_record("2025-01-30", &["--far-days"]);
    assert!(stderr(&day).contains(" in 375 windows"), "{}", stderr(&day));
    assert_eq!(next.status.code(), Some(1));
}

#[test]
fn a_feed_that_was_silent_for_weeks_is_judged_to_its_end() {
    let days = [("01-01", 40), ("01-02", 41), ("01-20", 1), ("02-10", 39), ("02-11", 12)];
    let records = days.map(|(day, records)| lines(&format!("2024-{day}"), "web", records)).concat();
    let (_folder, paths) = in_folder(&[("a.ndjson", &records)]);
    let output = peaks(&[&[text(&paths[0]), "--json"], &FIELDS[..]].concat());
    stdout(&output);
    assert!(!stderr(&output).contains("set aside"), "{}", stderr(&output));
    assert!(stderr(&output).contains("133 records, 0 outside"), "{}", stderr(&output));
}

#[test]
fn a_history_is_not_made_to_forget_all_it_has() {
    let record = lines("2024-12-01", "web", 30);
    let (folder, paths) = in_folder(&[
        ("old.ndjson", &lines("2024-01-01", "web", 40)),
        ("new.ndjson", &record),
        ("both.ndjson", &(lines("2024-01-01", "web", 40) + &record)),
    ]);
    let history = folder.path().join("h.peak");
    let run = |path: &Path, more: &[&str]| {
        peaks(&[&[text(path), "--history", text(&history), "--json"], &FIELDS[..], more].concat())
    };
    stdout(&run(&paths[0], &[]));
    let before = fs::read(&history).unwrap();
    let (code, error) = failure(&run(&paths[1], &[]));
    assert!(
        code == 1 && error.contains("begins 334 days after the history ends, which would forget all"),
        "{error}"
    );
    // A host whose clock is wrong.
    let (code, error) = failure(&run(&paths[0], &["--delta", "1", "--now", "2025-01-01"]));
    assert!(code == 1 && error.contains("days after the history ends"), "{error}");
    let (code, error) = failure(&run(&paths[2], &[]));
    let expected = "no record between 2024-01-01T10:00:00Z and 2024-12-01T10:00:00Z, for 335 days: ";
    assert!(code == 1 && error.starts_with(expected), "{error}");
    let (code, error) = failure(&run(&paths[0], &["--end", "2999-01-01"]));
    assert!(code == 2 && error.starts_with("--end 2999-01-01 00:00:00 lies after tomorrow"), "{error}");
    let (code, error) = failure(&run(&paths[1], &["--now", "2024-11-01"]));
    assert!(
        code == 1
            && error.starts_with(
                "all records lie after tomorrow, which ends 2024-11-03 00:00:00, from 2024-12-01T10"
            ),
        "{error}"
    );
    assert_eq!(fs::read(&history).unwrap(), before);

    stdout(&run(&paths[2], &["--start", "2024-12-01", "--far-days"]));
    assert_ne!(fs::read(&history).unwrap(), before);
}

#[test]
fn the_quickstart_the_own_backend_and_the_own_detector_find_their_peaks() {
    let run = |program| stdout(&Command::new(program).output().unwrap());
    let quickstart = run(env!("CARGO_BIN_EXE_quickstart"));
    assert!(
        quickstart.contains("malicious / PeExeFile: 202 records of 188 samples from 2024-01-17"),
        "{quickstart}"
    );
    let own_backend = run(env!("CARGO_BIN_EXE_own_backend"));
    assert!(
        own_backend.contains("/wp-login.php 83%") && own_backend.contains("client: 10.0.0.66 83%"),
        "{own_backend}"
    );
    let own_detector = run(env!("CARGO_BIN_EXE_own_detector"));
    let lines: Vec<&str> = own_detector.lines().collect();
    assert_eq!(lines.len(), 4, "{own_detector}");
    assert_eq!(lines[0].trim_start_matches("alone"), lines[1].trim_start_matches("in a box"));
    assert!(lines[3].starts_with("per key: web-2: 900 records from 2020-11-30"), "{own_detector}");
}
