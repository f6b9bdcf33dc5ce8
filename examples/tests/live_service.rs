//! The service goes on where it was, whatever stops it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// A folder with the state and the output of a service, over all its runs.
struct Service {
    folder: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        Service { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, feed: Option<&Path>) -> Child {
        let append = |name| OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_live_service"));
        command.args(feed).arg("--state").arg(self.path("state.peak"));
        command.stdin(Stdio::null()).stdout(append("out")).stderr(append("errors")).spawn().unwrap()
    }

    fn run(&self, feed: Option<&Path>) -> ExitStatus {
        self.start(feed).wait().unwrap()
    }

    /// What a receiver keeps of all that was told: whole lines, each once.
    fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for line in fs::read_to_string(self.path("out")).unwrap().lines() {
            if line.ends_with('}') && !told.iter().any(|before| before == line) {
                told.push(line.to_owned());
            }
        }
        told
    }

    fn state(&self) -> Vec<u8> {
        fs::read(self.path("state.peak")).unwrap()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.path("errors")).unwrap()
    }

    /// Ends what a kill cut off, so that the next run begins a line of its own.
    fn end_line(&self) {
        let out = fs::read(self.path("out")).unwrap();
        if out.last().is_some_and(|&byte| byte != b'\n') {
            File::options().append(true).open(self.path("out")).unwrap().write_all(b"\n").unwrap();
        }
    }
}

#[test]
fn twenty_kills_change_neither_what_is_told_nor_what_is_kept() {
    let undisturbed = Service::new();
    let start = Instant::now();
    assert!(undisturbed.run(None).success(), "{}", undisturbed.errors());
    let whole = start.elapsed();
    let told = undisturbed.told();
    assert!(told[0].contains(r#""start":"2024-01-04T10:00:00Z"#) && told[0].contains("web-1"), "{told:?}");
    assert!(told.iter().any(|line| line.contains("web-2") && line.contains(r#""before":null"#)), "{told:?}");

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let (mut service, mut kills) = (Service::new(), 0);
    loop {
        let mut child = service.start(None);
        if kills < 20 {
            std::thread::sleep(whole.mul_f64(rng.random_range(0.0..0.3)));
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        service.end_line();
        if !status.success() {
            assert_eq!(status.code(), None, "{}", service.errors());
            kills += 1;
            continue;
        }
        assert_eq!(service.told(), told);
        assert!(service.state() == undisturbed.state(), "another state after {kills} kills");
        if kills >= 20 {
            break;
        }
        service = Service::new();
    }
}

#[test]
fn a_file_that_grows_is_read_on_and_a_bad_line_is_named() {
    let line =
        |hour: u32| format!(r#"{{"time":"2024-01-01T{hour:02}:00:00Z","host":"a","path":"/"}}"#) + "\n";
    let [service, at_once] = [Service::new(), Service::new()];
    let feed = service.path("feed.ndjson");
    let begin = line(1) + "no JSON\n" + &line(2);
    // The last line is being written.
    fs::write(&feed, begin.clone() + &line(3)[..20]).unwrap();
    assert!(service.run(Some(&feed)).success());
    let errors = service.errors();
    let bad = format!("feed: partition 0, offset {}: must be a JSON object, got no JSON", line(1).len());
    assert!(errors.contains(&bad) && errors.contains("2 records counted"), "{errors}");
    fs::write(&feed, begin + &line(3) + &line(5)).unwrap();
    assert!(service.run(Some(&feed)).success());
    assert!(service.errors().contains("4 records counted"), "{}", service.errors());
    assert!(at_once.run(Some(&feed)).success());
    assert!(service.state() == at_once.state());

    fs::write(&feed, line(1)).unwrap();
    assert!(!service.run(Some(&feed)).success());
    assert!(service.errors().contains("of which"), "{}", service.errors());
    assert!(service.state() == at_once.state());
}
