//! Saving and loading state: versioned, checksummed, atomic, and by one writer at a time.
//!
//! * [`save`] and [`load`] keep one value; [`save_sections`] and [`Snapshot`] keep several, each under
//!   a name and a version of its own, so that one of them can change its layout without costing the
//!   others. [`write()`], [`read`] and [`Writer`] do the same to and from any stream: an object store, a
//!   database, memory.
//! * [`write_atomically`] is how a file is replaced, whatever its content.
//! * A [`Lock`] keeps a second writer away while a first one lives.
//!
//! # The stored form
//!
//! A snapshot is its head, any number of sections, and its end. Numbers are little endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the magic `PEAKSNAP` |
//! | 2 | version of the envelope |
//! | … | the sections |
//! | 1 | zero: no further section |
//! | 4 | CRC-32 of the magic, the envelope's version and the checksums of all sections |
//!
//! A section:
//!
//! | bytes | what |
//! |---|---|
//! | 1 + n | its name: length, at least 1, and UTF-8 text |
//! | 2 | version of its content |
//! | 2 + n | a chunk of its content, MessagePack: length, at least 1, and bytes; any number of them |
//! | 2 | zero: no further chunk |
//! | 4 | CRC-32 of the section so far |
//!
//! Content is streamed in both directions, never held a second time in memory. A snapshot is read
//! through once, and all its checksums are verified, before any of it is decoded.
//!
//! ```
//! use peak_core::{GlobalTable, snapshot};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("history.peak");
//! snapshot::save(&path, "global table", 1, &GlobalTable::default())?;
//! let table: GlobalTable = snapshot::load(&path, "global table", 1)?;
//! assert_eq!(table, GlobalTable::default());
//! assert!(snapshot::load::<GlobalTable>(&path, "something else", 1).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic;
mod lock;
mod sections;

pub use atomic::write_atomically;
pub use lock::Lock;
pub use sections::{Snapshot, Writer};

use crate::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Saves a value as the only section of a file. The file is there as a whole or, on any failure but
/// [`NotDurable`](crate::ErrorKind::NotDurable), as it was before.
///
/// `kind` names the content (1 to 255 bytes) and `version` its layout; both must be given again to
/// load it.
///
/// # Errors
/// As [`write_atomically`], and when the value cannot be stored.
pub fn save<T: Serialize + ?Sized>(path: &Path, kind: &str, version: u16, value: &T) -> Result<()> {
    save_sections(path, |sections| sections.section(kind, version, value))
}

/// Saves the sections that `fill` writes, atomically as [`save`].
///
/// # Errors
/// As [`save`], and when `fill` fails.
pub fn save_sections(path: &Path, fill: impl FnOnce(&mut Writer<'_>) -> io::Result<()>) -> Result<()> {
    write_atomically(path, |file| {
        let mut sections = Writer::new(file)?;
        fill(&mut sections)?;
        sections.finish()
    })
}

/// Loads a value that [`save`] wrote under the same kind and version. Other sections are left alone.
///
/// # Errors
/// When the file cannot be read, is damaged or foreign, or holds another kind or version.
pub fn load<T: DeserializeOwned>(path: &Path, kind: &str, version: u16) -> Result<T> {
    Snapshot::open(path)?.section(kind, version)
}

/// Writes a value to a stream, in the form [`save`] gives a file.
///
/// # Errors
/// When the stream cannot be written, or the value cannot be stored.
pub fn write<T: Serialize + ?Sized>(
    out: &mut dyn Write,
    kind: &str,
    version: u16,
    value: &T,
) -> io::Result<()> {
    let mut sections = Writer::new(out)?;
    sections.section(kind, version, value)?;
    sections.finish()
}

/// Reads a value from a stream that is a snapshot and nothing else. `name` names the stream in errors.
///
/// # Errors
/// As [`load`].
pub fn read<T: DeserializeOwned>(input: impl Read + Seek, name: &str, kind: &str, version: u16) -> Result<T> {
    Snapshot::read(input, name)?.section(kind, version)
}
