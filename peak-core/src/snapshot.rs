//! Saving and loading state: versioned, checksummed, atomic.
//!
//! A snapshot is one file:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the magic `PEAKSNAP` |
//! | 2 | version of the envelope, little endian |
//! | 2 | version of the content, little endian |
//! | 1 + n | kind of the content: length and UTF-8 text |
//! | … | the content, MessagePack |
//! | 4 | CRC-32 of everything before, little endian |
//!
//! The content is streamed in both directions, never held a second time in memory. A file is read
//! through once to verify its checksum before any of it is decoded.
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

use crate::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"PEAKSNAP";
const ENVELOPE: u16 = 1;
const CHECKSUM_BYTES: u64 = 4;
/// What is read, written and checked at a time.
const BLOCK: usize = 1 << 16;

/// Saves a value. The file is there as a whole or, on any failure, as it was before.
///
/// `kind` names the content (at most 255 bytes) and `version` its layout; both must be given again
/// to load it.
///
/// # Errors
/// When the file cannot be written, or the value cannot be stored.
pub fn save<T: Serialize + ?Sized>(path: &Path, kind: &str, version: u16, value: &T) -> Result<()> {
    write_atomically(path, |file| write(file, kind, version, value))
}

/// Loads a value that [`save`] wrote under the same kind and version.
///
/// # Errors
/// When the file cannot be read, is damaged or foreign, or holds another kind or version.
pub fn load<T: DeserializeOwned>(path: &Path, kind: &str, version: u16) -> Result<T> {
    let mut file = File::open(path).map_err(|source| Error::io(path.display(), source))?;
    read(&mut file, &path.display().to_string(), kind, version)
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
    let kind_length =
        u8::try_from(kind.len()).map_err(|_| io::Error::other("a kind has at most 255 bytes"))?;
    let mut out = Checksummed::new(out);
    out.write_all(MAGIC)?;
    out.write_all(&ENVELOPE.to_le_bytes())?;
    out.write_all(&version.to_le_bytes())?;
    out.write_all(&[kind_length])?;
    out.write_all(kind.as_bytes())?;
    let mut buffered = BufWriter::with_capacity(BLOCK, &mut out);
    let encoded = rmp_serde::encode::write(&mut buffered, value).map_err(io::Error::other);
    let written = encoded.and_then(|()| buffered.flush());
    // What is still in the buffer is not written after a failure.
    drop(buffered.into_parts());
    written.map_err(|error| out.failure.take().unwrap_or(error))?;
    let checksum = out.hasher.finalize();
    out.inner.write_all(&checksum.to_le_bytes())
}

/// Reads a value from a stream that begins with a snapshot and holds nothing else. `name` names the
/// stream in errors.
///
/// # Errors
/// As [`load`].
pub fn read<T: DeserializeOwned>(
    input: &mut (impl Read + Seek),
    name: &str,
    kind: &str,
    version: u16,
) -> Result<T> {
    let refuse = |rule: String| Error::from(ErrorKind::Snapshot { name: name.to_owned(), rule });
    let io_error = |source| Error::io(name, source);
    let length = input.seek(SeekFrom::End(0)).map_err(io_error)?;
    input.rewind().map_err(io_error)?;
    let mut magic = [0; MAGIC.len()];
    let got = read_up_to(input, &mut magic).map_err(io_error)?;
    if &magic[..got] != MAGIC {
        return Err(refuse("it does not begin with PEAKSNAP".into()));
    }
    let checked = length.saturating_sub(CHECKSUM_BYTES);
    if !checksum_matches(input, checked).map_err(io_error)? {
        return Err(refuse("its checksum does not match: it is damaged or cut short".into()));
    }

    input.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(io_error)?;
    let mut input = input.take(checked.saturating_sub(MAGIC.len() as u64));
    let mut head = [0; 5];
    input.read_exact(&mut head).map_err(io_error)?;
    let [e0, e1, v0, v1, kind_length] = head;
    let (envelope, found_version) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([v0, v1]));
    if envelope != ENVELOPE {
        return Err(refuse(format!("its envelope has version {envelope}, expected {ENVELOPE}")));
    }
    let mut found_kind = vec![0; usize::from(kind_length)];
    input.read_exact(&mut found_kind).map_err(io_error)?;
    let found_kind = String::from_utf8_lossy(&found_kind);
    if found_kind != kind || found_version != version {
        let found = format!("it holds {found_kind:?} version {found_version}");
        return Err(refuse(format!("{found}, expected {kind:?} version {version}")));
    }
    let mut input = BufReader::with_capacity(BLOCK, input);
    let value = rmp_serde::from_read(&mut input).map_err(|error| refuse(error.to_string()))?;
    match input.buffer().len() as u64 + input.get_ref().limit() {
        0 => Ok(value),
        left => Err(refuse(format!("{left} bytes are left over behind its content"))),
    }
}

/// Whether the checksum of the first `length` bytes stands behind them.
fn checksum_matches(input: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    input.rewind()?;
    let (mut hasher, mut left, mut block) = (crc32fast::Hasher::new(), length, vec![0; BLOCK]);
    while left > 0 {
        let wanted = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        let got = read_up_to(input, &mut block[..wanted])?;
        if got < wanted {
            return Ok(false);
        }
        hasher.update(&block[..got]);
        left -= got as u64;
    }
    let mut stored = [0; CHECKSUM_BYTES as usize];
    let got = read_up_to(input, &mut stored)?;
    Ok(got == stored.len() && u32::from_le_bytes(stored) == hasher.finalize())
}

/// Writes a file through `write`, such that it is there as a whole or, on any failure, as it was
/// before: the bytes go to a file beside it, reach the disk, and take its name in one step.
///
/// # Errors
/// When the file cannot be written, or `write` fails.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let beside = beside(path);
    let written = write_and_sync(&beside, write).and_then(|()| fs::rename(&beside, path));
    if let Err(source) = written {
        // The failure to report is the first one; the remains are of no use.
        let _ = fs::remove_file(&beside);
        return Err(Error::io(path.display(), source));
    }
    sync_folder(path).map_err(|source| Error::io(path.display(), source))
}

fn write_and_sync(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A name in the same folder that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Makes the new name survive a power cut, where folders can be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match input.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Computes the checksum of what passes.
struct Checksummed<T> {
    inner: T,
    hasher: crc32fast::Hasher,
    /// Why writing failed: the encoder does not pass it on.
    failure: Option<io::Error>,
}

impl<T> Checksummed<T> {
    fn new(inner: T) -> Self {
        Checksummed { inner, hasher: crc32fast::Hasher::new(), failure: None }
    }
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.inner.write(bytes) {
            Ok(n) => {
                self.hasher.update(&bytes[..n]);
                Ok(n)
            }
            Err(error) => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Content = BTreeMap<String, Vec<u64>>;

    fn saved(content: &Content) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.peak");
        save(&path, "test", 3, content).unwrap();
        (folder, path)
    }

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    fn content() -> Content {
        (0..50).map(|i| (format!("key {i}"), vec![i; 7])).collect()
    }

    #[test]
    fn foreign_files_are_refused_with_the_reason() {
        let (folder, path) = saved(&content());
        let refused = |kind, version| load::<Content>(&path, kind, version).unwrap_err().to_string();
        assert!(refused("test", 4).ends_with(r#"it holds "test" version 3, expected "test" version 4"#));
        assert!(refused("other", 3).ends_with(r#"it holds "test" version 3, expected "other" version 3"#));
        let error = load::<u64>(&path, "test", 3).unwrap_err().to_string();
        assert!(error.contains("history.peak: not a usable snapshot"), "{error}");
        for bytes in [&b""[..], b"PEAK", b"PEAKSNAP", b"PEAKSNAP\x01\x00", b"{\"json\": 1}"] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(
                load::<Content>(&path, "test", 3).unwrap_err().kind(),
                ErrorKind::Snapshot { .. }
            ));
        }
        let missing = load::<Content>(&folder.path().join("none"), "test", 3).unwrap_err();
        assert!(matches!(missing.kind(), ErrorKind::Io { .. }));
        // Said once, also by what prints a chain of sources.
        assert!(std::error::Error::source(&missing).is_none() && missing.to_string().contains("none: "));
    }

    #[test]
    fn a_failed_save_leaves_the_old_file_and_nothing_else() {
        let (folder, path) = saved(&content());
        let before = fs::read(&path).unwrap();
        let error = write_atomically(&path, |out| {
            out.write_all(&[0; 100_000])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        let error = error.unwrap_err();
        assert!(error.is_temporary() && error.to_string().contains("history.peak"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(names(folder.path()), ["history.peak"]);
    }

    #[test]
    fn a_value_that_cannot_be_stored_leaves_the_old_file() {
        struct Unstorable;
        impl Serialize for Unstorable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let (_folder, path) = saved(&content());
        assert!(save(&path, "test", 3, &(content(), Unstorable)).is_err());
        assert_eq!(load::<Content>(&path, "test", 3).unwrap(), content());
    }

    #[test]
    fn the_reason_of_a_failed_write_survives_the_encoder() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        // More than the buffer takes, and less.
        for content in [content(), Content::from([("long".to_owned(), vec![u64::MAX; 20_000])])] {
            let error = write(&mut Full, "test", 3, &content).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }

    proptest! {
        #[test]
        fn what_is_saved_is_loaded(content: Content) {
            let (_folder, path) = saved(&content);
            prop_assert_eq!(load::<Content>(&path, "test", 3).unwrap(), content);
        }

        #[test]
        fn any_damage_is_noticed(at in 0..1_000usize, flip in 1..=255u8, cut in prop::option::of(0..1_000usize)) {
            let (_folder, path) = saved(&content());
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            match cut {
                Some(cut) => bytes.truncate(cut % bytes.len()),
                None => bytes[at] ^= flip,
            }
            fs::write(&path, bytes).unwrap();
            let error = load::<Content>(&path, "test", 3).unwrap_err();
            prop_assert!(matches!(error.kind(), ErrorKind::Snapshot { .. }), "{}", error);
        }
    }
}
