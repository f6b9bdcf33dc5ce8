//! One writer at a time.

use super::atomic::{Target, appended, check_regular, open_to_lock};
use crate::{Error, ErrorKind, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// Keeps other writers away from a file while it lives.
///
/// Who loads a file, changes what it holds and saves it, acquires the lock before it loads: of two who
/// do that at once, the second would undo what the first one saved. The lock keeps away those who ask
/// for it; it does not keep [`save`](super::save) from saving, nor readers from reading.
///
/// It is released when it is dropped, and by the operating system when the process ends, however it
/// ends. It is held on an empty file beside the one that the path leads to, `FILE.lock`, which stays
/// there and should: a second writer who makes it anew while the first one lives would not meet the
/// first one's lock. Between machines it holds where their shared volume passes locks on.
///
/// ```
/// use peak_core::{ErrorKind, snapshot::Lock};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("history.peak");
/// let lock = Lock::acquire(&path)?;
/// let error = Lock::acquire(&path).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::Locked { .. }) && error.is_temporary());
/// drop(lock);
/// assert!(Lock::acquire(&path).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the lock is released when it is dropped"]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Acquires the lock of a file, which need not be there yet. It does not wait.
    ///
    /// # Errors
    /// [`Locked`](ErrorKind::Locked) when another holds it, in this process or another; that is
    /// temporary. Otherwise when the path leads to something that is no regular file, or the lock's own
    /// file cannot be made or opened, as in a folder or on a volume that cannot be written: who cannot
    /// save there needs no lock.
    pub fn acquire(path: &Path) -> Result<Lock> {
        let beside = appended(&Target::of(path)?.path, ".lock");
        let io_error = |error| Error::io(beside.display(), error);
        let file = match OpenOptions::new().write(true).create_new(true).open(&beside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A link is not followed: what it leads to is another's.
                let found = fs::symlink_metadata(&beside).map_err(io_error)?;
                check_regular(&beside, found.file_type())?;
                open_to_lock(&beside)
            }
            file => file,
        };
        let file = file.map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { file }),
            Err(TryLockError::WouldBlock) => {
                Err(ErrorKind::Locked { origin: path.display().to_string() }.into())
            }
            Err(TryLockError::Error(error)) => Err(io_error(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it is not enough while a process that is just being started has a copy of the handle.
        let _ = self.file.unlock();
    }
}
