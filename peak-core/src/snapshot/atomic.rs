//! Replacing a file in one step.
//!
//! The new content goes to a temporary file beside the old one, reaches the disk, and takes the name.
//! Three things make that hold when several writers, and writers that are killed, share a folder:
//!
//! * A temporary file's name is made once: 64 random bits, and `create_new`. No writer opens what
//!   another made, nor a link that somebody put there; and a name never comes to mean another file.
//! * A writer holds a lock on its temporary file while it lives. The operating system releases it when
//!   the process ends, however it ends.
//! * Every save first removes the temporary files of the same target whose lock it can have, and it
//!   removes them while it has it.
//!
//! Between creating a file and locking it, a writer can be taken for dead. So it looks again when it
//! has the lock: had another the lock, or is the name gone, it starts over with another name. After that
//! the file is safe: who removes a name holds the lock of the file it names, and the writer has it. The
//! lock stays on the file when it takes the target's name, where nobody looks for it; one who opened it
//! under its old name and gets the lock then removes that old name, which names nothing any more.
//!
//! On a volume without locks nobody gets one: saves work, and leftovers stay.

use crate::{Error, ErrorKind, Result};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileType, Metadata, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How many links may lead to a file.
const LINKS: usize = 40;
/// How often a writer that was taken for dead starts over.
const ATTEMPTS: usize = 100;

/// Writes a file through `write`, such that it is there as a whole or, on any failure but
/// [`NotDurable`](ErrorKind::NotDurable), as it was before. Readers find the old file or the new one,
/// and several writers do not disturb each other: the last one to end wins.
///
/// A symbolic link stays one, and the file that it leads to is replaced. The permissions of a file that
/// is replaced are kept, also its owner and group where the system lets this process give them; where
/// it does not keep the group, the new group may do no more than everybody. Other hard links to the
/// file keep the old content.
///
/// The content is first written to `FILE.PID-RANDOM.tmp` in the same folder. When a process is killed
/// its temporary file remains; the next save of the same file removes it.
///
/// ```
/// use peak_core::snapshot;
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("thresholds.csv");
/// snapshot::write_atomically(&path, |file| writeln!(file, "key,threshold"))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "key,threshold\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the file cannot be written, `write` fails, or the path leads to something that is no regular
/// file, which is left alone. [`NotDurable`](ErrorKind::NotDurable) when the file was replaced and only
/// its folder could not be brought to the disk.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    replace(path, write, Folder::sync)
}

fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    sync: impl FnOnce(&Folder) -> io::Result<()>,
) -> Result<()> {
    let target = Target::of(path)?;
    let replaced = (|| {
        // A folder that cannot be opened cannot be synced: better to fail before the file is replaced.
        let folder = Folder::open(folder_of(&target.path))?;
        remove_leftovers(&target.path);
        let (beside, file) = create_beside(&target, || temporary_name(&target.path), |_| {})?;
        let written = fill(&file, &target, write).and_then(|()| fs::rename(&beside, &target.path));
        if written.is_err() {
            // The failure to report is the first one; the remains are of no use.
            let _ = fs::remove_file(&beside);
        }
        written.map(|()| folder)
    })();
    let folder = replaced.map_err(|error| Error::io(path.display(), error))?;
    sync(&folder).map_err(|error| ErrorKind::NotDurable { origin: path.display().to_string(), error }.into())
}

fn fill(
    file: &File,
    target: &Target,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(replaced) = &target.replaced {
        keep_access(file, replaced)?;
    }
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The file that a path leads to, which need not be there.
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// What is there now.
    replaced: Option<Metadata>,
}

impl Target {
    /// Follows symbolic links.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let io_error = |error| Error::io(path.display(), error);
        let mut target = path.to_owned();
        for _ in 0..=LINKS {
            let metadata = match fs::symlink_metadata(&target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && target.file_name().is_some() => {
                    return Ok(Target { path: target, replaced: None });
                }
                metadata => metadata.map_err(io_error)?,
            };
            if !metadata.is_symlink() {
                check_regular(path, metadata.file_type())?;
                return Ok(Target { path: target, replaced: Some(metadata) });
            }
            let link = fs::read_link(&target).map_err(io_error)?;
            target = folder_of(&target).join(link);
        }
        Err(io_error(io::Error::other("too many symbolic links lead on from here")))
    }
}

/// Refuses what is no regular file: writing to it, or waiting for it, would mean something else.
pub(super) fn check_regular(path: &Path, found: FileType) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    Err(ErrorKind::NotAFile { origin: path.display().to_string(), found: name_of(found) }.into())
}

fn name_of(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "named pipe";
        } else if found.is_socket() {
            return "socket";
        } else if found.is_char_device() || found.is_block_device() {
            return "device";
        }
    }
    if found.is_dir() {
        "folder"
    } else if found.is_symlink() {
        "symbolic link"
    } else {
        "special file"
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// An open folder, where folders can be synced.
struct Folder(Option<File>);

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        if cfg!(unix) { File::open(path).map(|file| Folder(Some(file))) } else { Ok(Folder(None)) }
    }

    /// Makes a new name in it survive a power cut.
    fn sync(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), File::sync_all)
    }
}

/// Creates a temporary file and locks it. `before_locking` is where another can take it for a leftover.
fn create_beside(
    target: &Target,
    mut name: impl FnMut() -> PathBuf,
    mut before_locking: impl FnMut(&Path),
) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if target.replaced.is_some() {
        // Nobody else until it is known who may.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    for _ in 0..ATTEMPTS {
        let beside = name();
        let file = match options.open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        before_locking(&beside);
        // Without locks it cannot be taken for a leftover either.
        let taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !taken && fs::symlink_metadata(&beside).is_ok() {
            return Ok((beside, file));
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "its temporary files are removed by others"))
}

/// `FILE.PID-RANDOM.tmp`: the process for those who look, the rest to be alone.
fn temporary_name(target: &Path) -> PathBuf {
    // The standard library seeds every hasher from the system.
    let random = RandomState::new().build_hasher().finish();
    appended(target, &format!(".{}-{random:016x}.tmp", std::process::id()))
}

/// Whether an entry of the folder is a temporary file of the target.
fn is_temporary_of(target: &OsStr, entry: &OsStr) -> bool {
    let middle = || {
        let name = entry.as_encoded_bytes().strip_prefix(target.as_encoded_bytes())?;
        str::from_utf8(name.strip_prefix(b".")?.strip_suffix(b".tmp")?).ok()?.split_once('-')
    };
    middle().is_some_and(|(process, random)| {
        let hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        !process.is_empty()
            && process.chars().all(|c| c.is_ascii_digit())
            && random.len() == 16
            && random.chars().all(hexadecimal)
    })
}

/// The path with something behind its last name.
pub(super) fn appended(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(ending);
    path.with_file_name(name)
}

/// Removes what killed writers of the target left behind. What cannot be removed stays: it is no reason
/// not to save.
fn remove_leftovers(target: &Path) {
    let (Some(name), Ok(entries)) = (target.file_name(), fs::read_dir(folder_of(target))) else { return };
    for entry in entries.flatten() {
        let is_file = || entry.file_type().is_ok_and(|found| found.is_file());
        if !is_temporary_of(name, &entry.file_name()) || !is_file() {
            continue;
        }
        if let Ok(file) = open_to_lock(&entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Some systems lock only what is open for writing, and some files can only be read.
pub(super) fn open_to_lock(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path),
        file => file,
    }
}

/// Gives a file the permissions of another, and its owner and group where that is allowed.
#[cfg(unix)]
fn keep_access(file: &File, replaced: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let made = file.metadata()?;
    let mut mode = replaced.mode() & 0o7777;
    if made.gid() != replaced.gid() && fchown(file, None, Some(replaced.gid())).is_err() {
        mode &= !0o070 | (mode & 0o007) << 3;
    }
    if made.mode() & 0o7777 != mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    if made.uid() != replaced.uid() {
        // Not everybody may; the file is then this process's own.
        let _ = fchown(file, Some(replaced.uid()), None);
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_access(file: &File, replaced: &Metadata) -> io::Result<()> {
    file.set_permissions(replaced.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn target(folder: &tempfile::TempDir) -> Target {
        Target::of(&folder.path().join("history.peak")).unwrap()
    }

    #[test]
    fn a_temporary_name_is_known_as_that_of_its_target_alone() {
        let known = |target: &str, entry: &OsStr| is_temporary_of(target.as_ref(), entry);
        let made = temporary_name(Path::new("folder/history.peak"));
        assert_eq!(made.parent(), Some(Path::new("folder")));
        assert_ne!(made, temporary_name(Path::new("folder/history.peak")));
        let made = made.file_name().unwrap();
        assert!(known("history.peak", made), "{made:?}");
        assert!(!known("history", made) && !known("istory.peak", made) && !known("", made));
        for other in [
            "history.peak",
            "history.peak.tmp",
            "history.peak.1.tmp",
            "history.peak.1-2.tmp",
            "history.peak.-0123456789abcdef.tmp",
            "history.peak.1-0123456789ABCDEF.tmp",
            "history.peak.1-0123456789abcdef.tmp.gz",
            "history.peak.b.1-0123456789abcdef.tmp",
            "history.peak1-0123456789abcdef.tmp",
        ] {
            assert!(!known("history.peak", other.as_ref()), "{other}");
        }
    }

    #[test]
    fn what_stands_under_a_temporary_name_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (taken, free) = (folder.path().join("taken"), folder.path().join("free"));
        fs::write(&taken, "another's").unwrap();
        let mut given = [&taken, &free].into_iter();
        let (beside, _file) =
            create_beside(&target(&folder), || given.next().unwrap().clone(), |_| {}).unwrap();
        assert_eq!((&beside, fs::read(&taken).unwrap()), (&free, b"another's".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_under_a_temporary_name_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [victim, link, dangling, free] =
            ["victim", "link", "dangling", "free"].map(|name| folder.path().join(name));
        fs::write(&victim, "another's").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        let mut given = [&link, &dangling, &free].into_iter();
        let (beside, file) =
            create_beside(&target(&folder), || given.next().unwrap().clone(), |_| {}).unwrap();
        fill(&file, &target(&folder), |out| out.write_all(b"mine")).unwrap();
        assert_eq!((&beside, fs::read(&victim).unwrap()), (&free, b"another's".to_vec()));
        assert_eq!(names(folder.path()), ["dangling", "free", "link", "victim"]);
    }

    #[test]
    fn a_writer_that_was_taken_for_dead_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(&folder);
        let name = || temporary_name(&target.path);
        // Another save comes by before the lock is there: its whole sweep, or the middle of it.
        let (mut sweeps, mut held) = (0, None);
        let created = create_beside(&target, name, |beside| {
            sweeps += 1;
            match sweeps {
                1 => remove_leftovers(&target.path),
                2 => {
                    let sweeping = open_to_lock(beside).unwrap();
                    sweeping.try_lock().unwrap();
                    held = Some((beside.to_owned(), sweeping));
                }
                _ => {}
            }
        });
        let (beside, file) = created.unwrap();
        let (abandoned, sweeping) = held.unwrap();
        fs::remove_file(abandoned).unwrap();
        drop(sweeping);
        assert_eq!(sweeps, 3);
        // From here on nobody removes it.
        remove_leftovers(&target.path);
        assert_eq!(names(folder.path()), [beside.file_name().unwrap()]);
        drop(file);
        remove_leftovers(&target.path);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_writer_whose_every_file_is_removed_gives_up() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(&folder);
        let created =
            create_beside(&target, || temporary_name(&target.path), |_| remove_leftovers(&target.path));
        assert_eq!(created.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_sweep_that_comes_late_does_not_remove_what_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(&folder);
        let (beside, file) = create_beside(&target, || temporary_name(&target.path), |_| {}).unwrap();
        let sweeping = open_to_lock(&beside).unwrap();
        assert!(sweeping.try_lock().is_err());
        fs::rename(&beside, &target.path).unwrap();
        drop(file);
        sweeping.try_lock().unwrap();
        assert!(fs::remove_file(&beside).is_err());
        assert_eq!(names(folder.path()), ["history.peak"]);
    }

    #[test]
    fn a_replaced_file_that_may_not_last_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.peak");
        fs::write(&path, "old").unwrap();
        let unsynced = |_: &Folder| Err(io::Error::other("the disk is gone"));
        let error = replace(&path, |out| out.write_all(b"new"), unsynced).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotDurable { .. }) && !error.is_temporary());
        assert!(
            error
                .to_string()
                .ends_with("history.peak: was replaced, but may not survive a power cut: the disk is gone"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["history.peak"]);
    }

    #[test]
    fn a_folder_that_cannot_be_opened_fails_before_the_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("history.peak");
        let error = write_atomically(&path, |_| panic!("nothing is written")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
    }
}
