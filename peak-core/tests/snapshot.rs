//! What saves, loads and locks promise of files, among threads and among processes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use peak_core::snapshot::{self, Lock, Snapshot};
use peak_core::{Error, ErrorKind};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names a folder, and a file in it that is not there yet.
fn fresh() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.peak");
    (folder, path)
}

fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// A value that knows whether it is whole.
fn value(writer: u64, round: u64, size: usize) -> Vec<u64> {
    (0..size as u64).map(|i| writer << 48 | round << 24 | i).collect()
}

fn check_whole(value: &[u64]) {
    let first = value[0];
    assert!((first..).zip(value).all(|(expected, &found)| expected == found));
}

fn save(path: &Path, value: &[u64]) -> Result<(), Error> {
    snapshot::save(path, "value", 1, value)
}

fn load(path: &Path) -> Vec<u64> {
    let value: Vec<u64> = snapshot::load(path, "value", 1).unwrap();
    check_whole(&value);
    value
}

/// Runs a role of [`the_other_process`] in a process of its own.
fn other_process(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "the_other_process"]);
    command.env("PEAK_ROLE", role).env("PEAK_PATH", path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and waits until it says that it is ready.
fn started(role: &str, path: &Path) -> Child {
    let mut child = other_process(role, path).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "it ended");
    child
}

#[test]
#[ignore = "others run it, in a process of its own"]
fn the_other_process() {
    let (Ok(role), Some(path)) = (std::env::var("PEAK_ROLE"), std::env::var_os("PEAK_PATH")) else { return };
    let path = Path::new(&path);
    match role.as_str() {
        "save for ever" => {
            println!("ready");
            // Or until its folder is gone.
            for round in 0.. {
                save(path, &value(7, round, 5_000)).unwrap();
            }
        }
        "hold the lock" => {
            let _lock = Lock::acquire(path).unwrap();
            println!("ready");
            // Until it is killed, or whoever started it is gone.
            io::stdin().lines().for_each(drop);
        }
        "say why it cannot save" => println!("error: {}", save(path, &value(8, 0, 9)).unwrap_err()),
        "say why it cannot lock" => {
            let error = Lock::acquire(path).unwrap_err();
            println!("error: {error}, temporary: {}", error.is_temporary());
        }
        "save" => {
            save(path, &value(8, 0, 9)).unwrap();
            println!("error: none");
        }
        _ => unreachable!("{role}"),
    }
}

#[test]
fn a_missing_file_is_told_once() {
    let (_folder, path) = fresh();
    let missing = snapshot::load::<u64>(&path, "value", 1).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::Io { .. }), "{missing}");
    // Also by what prints a chain of sources.
    assert!(std::error::Error::source(&missing).is_none());
    assert!(missing.to_string().contains("history.peak: "));
}

#[test]
fn a_file_of_another_kind_or_version_is_refused() {
    let (_folder, path) = fresh();
    save(&path, &[1]).unwrap();
    let refused = |kind, version| {
        let error = snapshot::load::<Vec<u64>>(&path, kind, version).unwrap_err().to_string();
        error.split_once("history.peak: ").unwrap().1.to_owned()
    };
    let unusable = "not a usable snapshot: it";
    assert_eq!(refused("value", 2), format!(r#"{unusable}s section "value" has version 1, expected 2"#));
    assert_eq!(refused("other", 1), format!(r#"{unusable} has no section "other", but "value" version 1"#));
}

#[test]
fn sections_are_saved_together_and_unknown_ones_are_left_alone() {
    let (folder, path) = fresh();
    snapshot::save_sections(&path, |sections| {
        sections.section("from a later version", 9, "whatever")?;
        sections.section("value", 1, &[1, 2])
    })
    .unwrap();
    assert_eq!(load(&path), [1, 2]);
    let stored = Snapshot::open(&path).unwrap();
    assert_eq!(stored.sections().collect::<Vec<_>>(), [("from a later version", 9), ("value", 1)]);
    let before = fs::read(&path).unwrap();
    let failed = snapshot::save_sections(&path, |sections| {
        sections.section("value", 1, &[3])?;
        sections.section("value", 1, &[4])
    });
    let error = failed.unwrap_err().to_string();
    assert!(error.ends_with(r#"history.peak: two sections are named "value""#), "{error}");
    assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (before, vec!["history.peak".into()]));
}

#[test]
fn an_open_snapshot_stays_what_it_was() {
    let (_folder, path) = fresh();
    let (old, new) = (value(1, 0, 30_000), value(2, 0, 20));
    save(&path, &old).unwrap();
    let mut opened = Snapshot::open(&path).unwrap();
    save(&path, &new).unwrap();
    assert_eq!(opened.section::<Vec<u64>>("value", 1).unwrap(), old);
    assert_eq!(load(&path), new);
}

#[test]
fn a_failed_save_leaves_the_old_file_and_nothing_else() {
    let (folder, path) = fresh();
    save(&path, &[1]).unwrap();
    let before = fs::read(&path).unwrap();
    let failed = snapshot::write_atomically(&path, |out| {
        out.write_all(&[0; 100_000])?;
        Err(io::ErrorKind::StorageFull.into())
    });
    let error = failed.unwrap_err();
    assert!(error.is_temporary() && error.to_string().contains("history.peak"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(folder.path()), ["history.peak"]);
}

#[test]
fn many_writers_and_readers_of_one_file_do_not_disturb_each_other() {
    let (folder, path) = fresh();
    save(&path, &value(0, 0, 1)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) {
                    load(&path);
                    reads += 1;
                }
                assert!(reads > 0);
            });
        }
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let path = &path;
                threads.spawn(move || {
                    for round in 0..300 {
                        // Of many sizes, also more than a chunk.
                        let size = 1 + (round as usize * 37) % 20_000;
                        save(path, &value(writer, round, size)).unwrap();
                        load(path);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|writer| writer.unwrap());
    });
    assert_eq!(load(&path)[0] >> 24 & 0xff_ffff, 299);
    assert_eq!(names(folder.path()), ["history.peak"]);
}

#[test]
fn a_writer_that_is_killed_leaves_the_old_file_or_the_new_one() {
    let (folder, path) = fresh();
    save(&path, &value(0, 0, 1)).unwrap();
    let (mut leftovers, mut newer) = (0, 0);
    for round in 0..50 {
        let mut child = started("save for ever", &path);
        std::thread::sleep(Duration::from_micros(round * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        leftovers += usize::from(names(folder.path()).len() > 1);
        newer += usize::from(load(&path)[0] >> 48 == 7);
        save(&path, &value(0, round, 1)).unwrap();
        assert_eq!(names(folder.path()), ["history.peak"], "round {round}");
    }
    println!("{leftovers} of 50 left a temporary file behind, {newer} had saved");
    assert!(leftovers > 0, "none was killed in the middle of a save");
}

#[test]
fn leftovers_are_removed_and_nothing_else() {
    let (folder, path) = fresh();
    let at = |name: &str| folder.path().join(name);
    let kept = [
        "history.peak.4711.tmp",
        "history.peak.bak",
        "history.peak.old.4711-0123456789abcdef.tmp",
        "other.peak.4711-0123456789abcdef.tmp",
    ];
    kept.iter().for_each(|name| fs::write(at(name), "kept").unwrap());
    fs::create_dir(at("history.peak.1-0123456789abcdef.tmp")).unwrap();
    for process in [1, 4711, u32::MAX] {
        fs::write(at(&format!("history.peak.{process}-fedcba9876543210.tmp")), "left behind").unwrap();
    }
    save(&path, &[1]).unwrap();
    let mut expected: Vec<OsString> = kept.map(OsString::from).to_vec();
    expected.extend(["history.peak".into(), "history.peak.1-0123456789abcdef.tmp".into()]);
    expected.sort();
    assert_eq!(names(folder.path()), expected);
}

#[test]
fn the_file_of_a_living_writer_is_kept() {
    let (folder, path) = fresh();
    snapshot::write_atomically(&path, |out| {
        out.write_all(&[1; 100_000])?;
        // Meanwhile another saves, twice.
        for _ in 0..2 {
            save(&path, &[1]).unwrap();
            assert_eq!(load(&path), [1]);
            assert_eq!(names(folder.path()).len(), 2);
        }
        out.write_all(&[1; 100_000])
    })
    .unwrap();
    assert!(fs::read(&path).unwrap() == [1; 200_000]);
    assert_eq!(names(folder.path()), ["history.peak"]);
}

#[test]
fn a_folder_is_refused() {
    let (folder, path) = fresh();
    fs::create_dir(&path).unwrap();
    let check = |error: Error| {
        assert!(
            matches!(error.kind(), ErrorKind::NotAFile { found: "folder", .. }) && !error.is_temporary(),
            "{error}"
        );
        assert!(error.to_string().ends_with("history.peak: is a folder, not a regular file"), "{error}");
    };
    check(snapshot::write_atomically(&path, |_| panic!("nothing is written")).unwrap_err());
    check(snapshot::load::<u64>(&path, "value", 1).unwrap_err());
    check(Lock::acquire(&path).unwrap_err());
    assert_eq!(names(folder.path()), ["history.peak"]);
    for nameless in ["", "/", ".."] {
        assert!(save(Path::new(nameless), &[1]).is_err(), "{nameless:?}");
    }
}

#[test]
fn a_second_writer_is_refused_while_the_first_one_lives() {
    let (folder, path) = fresh();
    let refused = || {
        let error = Lock::acquire(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Locked { .. }) && error.is_temporary(), "{error}");
        assert!(error.to_string().contains("history.peak: is in use by another writer"), "{error}");
    };
    let lock = Lock::acquire(&path).unwrap();
    refused();
    std::thread::scope(|threads| threads.spawn(refused).join().unwrap());
    // Another file is another's.
    let _other = Lock::acquire(&folder.path().join("other.peak")).unwrap();
    // Saves and loads are not kept away, nor does a save release it.
    save(&path, &[1]).unwrap();
    load(&path);
    refused();
    drop(lock);
    assert_eq!(names(folder.path()), ["history.peak", "history.peak.lock", "other.peak.lock"]);
    assert_eq!(fs::metadata(folder.path().join("history.peak.lock")).unwrap().len(), 0);
    let lock = Lock::acquire(&path).unwrap();
    refused();
    // It may move between threads.
    std::thread::spawn(move || drop(lock)).join().unwrap();
    Lock::acquire(&path).map(drop).unwrap();
}

#[test]
fn a_lock_is_shared_by_references_among_threads() {
    fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Lock>();
    crosses_threads::<Snapshot<fs::File>>();
}

#[test]
fn a_lock_holds_between_processes_and_ends_with_its_own() {
    let (_folder, path) = fresh();
    let mut child = started("hold the lock", &path);
    let error = Lock::acquire(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    Lock::acquire(&path).map(drop).unwrap();
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65_534;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn is_root() -> bool {
        tempfile::tempfile().unwrap().metadata().unwrap().uid() == 0
    }

    /// What a process without root's powers says after `error: `, or nothing where none can be started.
    fn said_by_nobody(role: &str, path: &Path) -> Option<String> {
        let mut command = other_process(role, path);
        let folder = path.parent().unwrap();
        if is_root() {
            chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("SKIPPED: no process without root's powers: {error}");
                return None;
            }
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find_map(|line| line.split_once("error: "));
        Some(line.unwrap_or_else(|| panic!("{said}{errors}")).1.to_owned())
    }

    #[test]
    fn a_link_stays_one_and_what_it_leads_to_is_replaced() {
        let (folder, path) = fresh();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("data")).unwrap();
        fs::create_dir(at("links")).unwrap();
        symlink(folder.path().join("data/h.peak"), at("absolute")).unwrap();
        symlink("../data/h.peak", at("links/relative")).unwrap();
        symlink("links/relative", &path).unwrap();
        // The first save finds that the last link leads nowhere yet.
        for (round, link) in [&path, &at("links/relative"), &at("absolute")].into_iter().enumerate() {
            fs::write(at("data/h.peak.1-0123456789abcdef.tmp"), "left behind").unwrap();
            let value = value(1, round as u64, 9);
            save(link, &value).unwrap();
            assert_eq!(load(link), value);
            assert_eq!(load(&at("data/h.peak")), value);
            assert!(fs::symlink_metadata(link).unwrap().is_symlink());
            assert_eq!(names(&at("data")), ["h.peak"]);
        }
        assert_eq!(names(folder.path()), ["absolute", "data", "history.peak", "links"]);
        // It is one file, and has one lock.
        let _lock = Lock::acquire(&path).unwrap();
        let error = Lock::acquire(&at("absolute")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Locked { .. }), "{error}");
        assert_eq!(names(&at("data")), ["h.peak", "h.peak.lock"]);
    }

    #[test]
    fn links_that_lead_nowhere_are_an_error() {
        let (folder, path) = fresh();
        symlink("history.peak", &path).unwrap();
        let error = save(&path, &[1]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        fs::remove_file(&path).unwrap();
        symlink("no folder/history.peak", &path).unwrap();
        let error = save(&path, &[1]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        assert_eq!(names(folder.path()), ["history.peak"]);
    }

    #[test]
    fn a_save_keeps_the_permissions_of_the_file() {
        let (folder, path) = fresh();
        save(&path, &[1]).unwrap();
        let usual = folder.path().join("usual");
        fs::write(&usual, "").unwrap();
        assert_eq!(mode(&path), mode(&usual));
        for kept in [0o600, 0o640, 0o444, 0o666, 0o604] {
            set_mode(&path, kept);
            snapshot::write_atomically(&path, |out| {
                // At no time are they wider.
                let [beside] = names(folder.path())
                    .into_iter()
                    .filter(|name| name.to_string_lossy().ends_with(".tmp"))
                    .collect::<Vec<_>>()
                    .try_into()
                    .unwrap();
                assert_eq!(mode(&folder.path().join(beside)), kept);
                out.write_all(b"new")
            })
            .unwrap();
            assert_eq!(mode(&path), kept, "{kept:o}");
        }
    }

    #[test]
    fn a_save_keeps_the_owner_where_it_may() {
        let (_folder, path) = fresh();
        save(&path, &[1]).unwrap();
        if !is_root() {
            eprintln!("SKIPPED: only root can give a file to another");
            return;
        }
        set_mode(&path, 0o640);
        chown(&path, Some(NOBODY), Some(1234)).unwrap();
        save(&path, &[2]).unwrap();
        let saved = fs::metadata(&path).unwrap();
        assert_eq!((saved.uid(), saved.gid(), mode(&path)), (NOBODY, 1234, 0o640));
        // Who may not give it away keeps it, and the new group may do no more than everybody.
        for (before, after) in [(0o640, 0o600), (0o664, 0o644), (0o606, 0o606)] {
            chown(&path, Some(0), Some(0)).unwrap();
            set_mode(&path, before);
            let Some(error) = said_by_nobody("save", &path) else { return };
            let saved = fs::metadata(&path).unwrap();
            assert_eq!(error, "none");
            assert_eq!((saved.uid(), saved.gid(), mode(&path)), (NOBODY, NOBODY, after));
        }
    }

    #[test]
    fn other_hard_links_keep_the_old_content() {
        let (folder, path) = fresh();
        let second = folder.path().join("second");
        save(&path, &[1]).unwrap();
        fs::hard_link(&path, &second).unwrap();
        save(&path, &[2]).unwrap();
        assert_eq!((load(&path), load(&second)), (vec![2], vec![1]));
    }

    fn refused_as(path: &Path, expected: &str) {
        let folder = path.parent().unwrap();
        let before = names(folder);
        let refusals = [
            snapshot::write_atomically(path, |_| panic!("nothing is written")),
            snapshot::load::<u64>(path, "value", 1).map(drop),
            Lock::acquire(path).map(drop),
        ];
        for refusal in refusals {
            let error = refusal.unwrap_err();
            let refused = matches!(error.kind(), ErrorKind::NotAFile { found, .. } if *found == expected);
            assert!(refused, "{error}");
        }
        assert_eq!(names(folder), before);
    }

    #[test]
    fn a_pipe_a_socket_and_a_device_are_refused_and_stay() {
        let (folder, path) = fresh();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        refused_as(&pipe, "named pipe");
        symlink("pipe", &path).unwrap();
        refused_as(&path, "named pipe");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        refused_as(&socket, "socket");

        // A device of one's own: root could replace the system's.
        let device = folder.path().join("null");
        let made = Command::new("mknod").arg(&device).args(["c", "1", "3"]).output();
        if made.is_ok_and(|made| made.status.success()) {
            refused_as(&device, "device");
            assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
        } else if is_root() {
            eprintln!("SKIPPED: no device can be made here");
        } else {
            refused_as(Path::new("/dev/null"), "device");
        }
    }

    #[test]
    fn pipes_and_links_among_the_leftovers_are_not_touched() {
        let (folder, path) = fresh();
        let [pipe, link, victim] =
            ["history.peak.1-0000000000000001.tmp", "history.peak.1-0000000000000002.tmp", "victim"]
                .map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::write(&victim, "another's").unwrap();
        symlink(&victim, &link).unwrap();
        save(&path, &[1]).unwrap();
        assert_eq!(names(folder.path()).len(), 4);
        assert_eq!(fs::read(&victim).unwrap(), b"another's");
    }

    #[test]
    fn a_lock_does_not_follow_a_link_nor_wait_for_a_pipe() {
        let (folder, path) = fresh();
        let lock = folder.path().join("history.peak.lock");
        symlink("victim", &lock).unwrap();
        let refused = |found: &str| {
            let error = Lock::acquire(&path).unwrap_err().to_string();
            assert!(
                error.ends_with(&format!("history.peak.lock: is a {found}, not a regular file")),
                "{error}"
            );
        };
        refused("symbolic link");
        assert_eq!(names(folder.path()), ["history.peak.lock"]);
        fs::remove_file(&lock).unwrap();
        assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
        refused("named pipe");
    }

    #[test]
    fn a_folder_that_cannot_be_synced_fails_before_the_file_is_replaced() {
        let (folder, path) = fresh();
        let old = value(1, 0, 9);
        save(&path, &old).unwrap();
        set_mode(folder.path(), 0o300);
        let error = said_by_nobody("say why it cannot save", &path);
        set_mode(folder.path(), 0o700);
        let Some(error) = error else { return };
        assert!(error.contains("history.peak: Permission denied"), "{error}");
        assert_eq!((load(&path), names(folder.path())), (old, vec!["history.peak".into()]));
    }

    #[test]
    fn a_folder_that_cannot_be_written_has_no_lock() {
        let (folder, path) = fresh();
        save(&path, &[1]).unwrap();
        set_mode(folder.path(), 0o500);
        let error = said_by_nobody("say why it cannot lock", &path);
        set_mode(folder.path(), 0o700);
        let Some(error) = error else { return };
        assert!(error.contains("history.peak.lock: Permission denied"), "{error}");
        assert!(error.ends_with("temporary: false"), "{error}");
    }
}
