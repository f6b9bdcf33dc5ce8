//! Files to write.

use crate::args::UsageError;
use anyhow::{Result, bail};
use peak_core::{Error, snapshot};
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Refuses, before any work is done, what cannot be written.
pub(crate) fn check(path: &Path) -> Result<()> {
    if path.is_dir() {
        bail!(UsageError(format!("{} is a folder, not a file to write", path.display())));
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => Ok(fs::metadata(folder).map(drop).map_err(|e| Error::io(folder.display(), e))?),
        None => Ok(()),
    }
}

/// Writes a file as a whole or not at all; into what is no regular file, such as `/dev/stdout` or a pipe.
pub(crate) fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let failed = |error| Error::io(path.display(), error);
    let out: Box<dyn Write> = match fs::metadata(path) {
        Ok(about) if is_same_file(&about, &io::stdout()) => Box::new(io::stdout()),
        Ok(about) if is_same_file(&about, &io::stderr()) => Box::new(io::stderr()),
        // What stands in these folders may lead to a regular file that someone else has open.
        Ok(about) if !about.is_file() || path.starts_with("/dev") || path.starts_with("/proc") => {
            Box::new(OpenOptions::new().append(true).open(path).map_err(failed)?)
        }
        _ => return Ok(snapshot::write_atomically(path, write)?),
    };
    let mut out = BufWriter::new(out);
    Ok(write(&mut out).and_then(|()| out.flush()).map_err(failed)?)
}

/// Whether an open stream leads to this very file.
#[cfg(unix)]
fn is_same_file(about: &fs::Metadata, stream: &impl std::os::fd::AsFd) -> bool {
    use std::os::unix::fs::MetadataExt;
    let stream = stream.as_fd().try_clone_to_owned().and_then(|stream| fs::File::from(stream).metadata());
    stream.is_ok_and(|stream| (stream.dev(), stream.ino()) == (about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn is_same_file<T>(_: &fs::Metadata, _: &T) -> bool {
    false
}
