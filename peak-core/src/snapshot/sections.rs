//! The stored form: named sections, each with a version and a checksum.

use super::atomic;
use crate::{Error, ErrorKind, Result};
use crc32fast::Hasher;
use indexmap::IndexMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"PEAKSNAP";
const ENVELOPE: u16 = 2;
/// The most bytes of one chunk: what its length can say.
const CHUNK: usize = u16::MAX as usize;
/// How deep content may be nested when it is read.
const DEPTH: usize = 128;
/// How many sections an error lists.
const LISTED: usize = 8;

/// Writes the sections of a snapshot to a stream.
///
/// Without [`finish`](Self::finish) what was written is cut short, and refused when it is read.
///
/// ```
/// use peak_core::snapshot::{Snapshot, Writer};
///
/// let mut bytes = Vec::new();
/// let mut sections = Writer::new(&mut bytes)?;
/// sections.section("offsets", 1, &[17, 4])?;
/// sections.section("memory", 3, "what was learned")?;
/// sections.finish()?;
///
/// let mut stored = Snapshot::read(std::io::Cursor::new(bytes), "bucket/history")?;
/// let offsets: [u64; 2] = stored.section("offsets", 1)?;
/// assert_eq!(offsets, [17, 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer<'w> {
    out: &'w mut dyn Write,
    names: Vec<String>,
    /// Of the head and the checksums of the sections.
    checksum: Hasher,
    /// A section was begun and failed: nothing can stand behind its remains.
    failed: bool,
}

impl<'w> Writer<'w> {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// When the stream cannot be written.
    pub fn new(out: &'w mut dyn Write) -> io::Result<Self> {
        let mut checksum = Hasher::new();
        for bytes in [&MAGIC[..], &ENVELOPE.to_le_bytes()] {
            checksum.update(bytes);
            out.write_all(bytes)?;
        }
        Ok(Writer { out, names: Vec::new(), checksum, failed: false })
    }

    /// Writes one section. `name` has 1 to 255 bytes, `version` is the version of the value's layout.
    ///
    /// The value is encoded piece by piece, not held a second time. One that is nested more than 128
    /// deep cannot be read again.
    ///
    /// # Errors
    /// When the stream cannot be written, the value cannot be stored, the name is empty, too long or
    /// that of another section, or a section before failed.
    pub fn section<T: Serialize + ?Sized>(&mut self, name: &str, version: u16, value: &T) -> io::Result<()> {
        self.check_usable()?;
        let length = u8::try_from(name.len()).ok().filter(|&length| length > 0);
        let length = length.ok_or_else(|| invalid("a section's name has 1 to 255 bytes".into()))?;
        if self.names.iter().any(|other| other == name) {
            return Err(invalid(format!("two sections are named {name:?}")));
        }
        self.failed = true;
        let mut content = Chunked { out: self.out, checksum: Hasher::new(), failure: None };
        content.put(&[length])?;
        content.put(name.as_bytes())?;
        content.put(&version.to_le_bytes())?;
        let mut buffered = BufWriter::with_capacity(CHUNK, &mut content);
        let encoded = rmp_serde::encode::write(&mut buffered, value).map_err(io::Error::other);
        let written = encoded.and_then(|()| buffered.flush());
        // What is still in the buffer is not written after a failure.
        drop(buffered.into_parts());
        written.map_err(|error| content.failure.take().unwrap_or(error))?;
        content.put(&[0; 2])?;
        let checksum = content.checksum.finalize().to_le_bytes();
        self.out.write_all(&checksum)?;
        self.checksum.update(&checksum);
        self.names.push(name.to_owned());
        self.failed = false;
        Ok(())
    }

    /// Ends the snapshot.
    ///
    /// # Errors
    /// When the stream cannot be written, or a section failed.
    pub fn finish(self) -> io::Result<()> {
        self.check_usable()?;
        self.out.write_all(&[0])?;
        self.out.write_all(&self.checksum.finalize().to_le_bytes())?;
        self.out.flush()
    }

    fn check_usable(&self) -> io::Result<()> {
        if self.failed { Err(invalid("a section before this could not be written".into())) } else { Ok(()) }
    }
}

fn invalid(rule: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, rule)
}

/// Puts a length before every piece that passes, and computes the checksum of both.
struct Chunked<'w> {
    out: &'w mut dyn Write,
    checksum: Hasher,
    /// Why writing failed: the encoder does not pass it on.
    failure: Option<io::Error>,
}

impl Chunked<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.out.write_all(bytes)
    }
}

impl Write for Chunked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        let length = chunk.len() as u16;
        // A chunk of no bytes would be the end.
        if length > 0
            && let Err(error) = self.put(&length.to_le_bytes()).and_then(|()| self.put(chunk))
        {
            let kind = error.kind();
            self.failure = Some(error);
            return Err(kind.into());
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A snapshot that was read through and is whole: its sections can be decoded, in any order.
///
/// A program that changed the layout of one section reads the old one by its version, and the others
/// as before:
///
/// ```
/// use peak_core::snapshot::{self, Snapshot};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("history.peak");
/// snapshot::save_sections(&path, |sections| {
///     sections.section("history", 1, &[1, 2, 3])?;
///     sections.section("memory", 4, &0.5)
/// })?;
///
/// let mut stored = Snapshot::open(&path)?;
/// let history: Vec<u64> = stored.section("history", 1)?;
/// let memory: (f64, u64) = match stored.version_of("memory") {
///     Some(4) => (stored.section("memory", 4)?, 0),
///     _ => stored.section("memory", 5)?,
/// };
/// assert_eq!((history.len(), memory), (3, (0.5, 0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot<R> {
    input: BufReader<R>,
    name: String,
    sections: IndexMap<String, Section>,
}

#[derive(Clone, Copy)]
struct Section {
    version: u16,
    /// Where its first chunk begins.
    start: u64,
}

impl Snapshot<File> {
    /// Opens a file and verifies it. A save that comes later replaces the file; what was opened stays
    /// what it is.
    ///
    /// # Errors
    /// When the file cannot be read, is no regular file, is damaged or is no snapshot.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let metadata = path.metadata().map_err(|error| Error::io(&name, error))?;
        // Opening a pipe would wait for somebody who writes to it.
        atomic::check_regular(path, metadata.file_type())?;
        let file = File::open(path).map_err(|error| Error::io(&name, error))?;
        Snapshot::read(file, &name.to_string())
    }
}

impl<R: Read + Seek> Snapshot<R> {
    /// Reads a stream through, from its start to its end, and verifies it: it is a snapshot and nothing
    /// else. `name` names the stream in errors.
    ///
    /// # Errors
    /// When the stream cannot be read, is damaged or is no snapshot.
    pub fn read(input: R, name: &str) -> Result<Self> {
        let (mut input, name) = (BufReader::new(input), name.to_owned());
        match verify(&mut input) {
            Ok(sections) => Ok(Snapshot { input, name, sections }),
            Err(fault) => Err(fault.of(name)),
        }
    }

    /// Decodes a section. Memory is taken as bytes are read, never because the bytes announce many.
    ///
    /// # Errors
    /// When there is no such section, it has another version, or it is not what it should be.
    pub fn section<T: DeserializeOwned>(&mut self, section: &str, version: u16) -> Result<T> {
        let value = match self.sections.get(section) {
            None => Err(Fault::Rule(format!("it has no section {section:?}, but {}", self.listed()))),
            Some(found) if found.version != version => {
                let found = found.version;
                Err(Fault::Rule(format!("its section {section:?} has version {found}, expected {version}")))
            }
            Some(found) => decode(&mut self.input, found.start, section),
        };
        value.map_err(|fault| fault.of(self.name.clone()))
    }
}

impl<R> fmt::Debug for Snapshot<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({:?}: {})", self.name, self.listed())
    }
}

impl<R> Snapshot<R> {
    /// The version of a section, if there is one of that name.
    #[must_use]
    pub fn version_of(&self, section: &str) -> Option<u16> {
        self.sections.get(section).map(|found| found.version)
    }

    /// The names and versions of all sections, in the order in which they were written.
    pub fn sections(&self) -> impl Iterator<Item = (&str, u16)> {
        self.sections.iter().map(|(name, section)| (name.as_str(), section.version))
    }

    fn listed(&self) -> String {
        let mut list = String::new();
        for (name, version) in self.sections().take(LISTED) {
            let comma = if list.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(list, "{comma}{name:?} version {version}");
        }
        match self.sections.len() {
            0 => "none at all".into(),
            n if n > LISTED => format!("{list} and {} more", n - LISTED),
            _ => list,
        }
    }
}

/// What is wrong with a snapshot whose name is not at hand.
enum Fault {
    Io(io::Error),
    Rule(String),
}

impl Fault {
    fn of(self, name: String) -> Error {
        match self {
            Fault::Io(error) => Error::io(name, error),
            Fault::Rule(rule) => ErrorKind::Snapshot { name, rule }.into(),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::Rule("it is cut short".into()),
            _ => Fault::Io(error),
        }
    }
}

/// Reads a snapshot through and finds its sections.
fn verify(input: &mut BufReader<impl Read + Seek>) -> Result<IndexMap<String, Section>, Fault> {
    let refuse = |rule: String| Err(Fault::Rule(rule));
    input.rewind()?;
    let mut magic = Vec::with_capacity(MAGIC.len());
    input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic != MAGIC {
        return refuse("it does not begin with PEAKSNAP".into());
    }
    let envelope = u16::from_le_bytes(bytes(input)?);
    if envelope != ENVELOPE {
        return refuse(format!("its envelope has version {envelope}, expected {ENVELOPE}"));
    }
    let mut checksum = Hasher::new();
    checksum.update(MAGIC);
    checksum.update(&ENVELOPE.to_le_bytes());
    let (mut sections, mut block) = (IndexMap::new(), vec![0; CHUNK]);
    loop {
        let [length] = bytes(input)?;
        if length == 0 {
            break;
        }
        let mut passing = Hasher::new();
        passing.update(&[length]);
        let mut name = vec![0; usize::from(length)];
        input.read_exact(&mut name)?;
        passing.update(&name);
        let version = bytes(input)?;
        passing.update(&version);
        let start = input.stream_position()?;
        loop {
            let length = bytes(input)?;
            passing.update(&length);
            let chunk = &mut block[..usize::from(u16::from_le_bytes(length))];
            if chunk.is_empty() {
                break;
            }
            input.read_exact(chunk)?;
            passing.update(chunk);
        }
        let stored: [u8; 4] = bytes(input)?;
        if stored != passing.finalize().to_le_bytes() {
            let name = String::from_utf8_lossy(&name);
            return refuse(format!("the checksum of its section {name:?} does not match: it is damaged"));
        }
        checksum.update(&stored);
        let Ok(name) = String::from_utf8(name) else {
            return refuse("the name of a section is not UTF-8".into());
        };
        if sections.contains_key(&name) {
            return refuse(format!("two of its sections are named {name:?}"));
        }
        sections.insert(name, Section { version: u16::from_le_bytes(version), start });
    }
    if bytes(input)? != checksum.finalize().to_le_bytes() {
        return refuse("the checksum at its end does not match: it is damaged".into());
    }
    match input.bytes().next().transpose()? {
        None => Ok(sections),
        Some(_) => refuse("bytes are left over behind its end".into()),
    }
}

/// Decodes the content whose first chunk begins at `start`.
fn decode<T: DeserializeOwned>(
    input: &mut (impl Read + Seek),
    start: u64,
    section: &str,
) -> Result<T, Fault> {
    input.seek(SeekFrom::Start(start))?;
    let mut content = BufReader::with_capacity(CHUNK, Chunks { input, left: 0, ended: false });
    let mut decoder = rmp_serde::Deserializer::new(&mut content);
    decoder.set_max_depth(DEPTH);
    let value = T::deserialize(&mut decoder).map_err(|error| {
        use rmp_serde::decode::Error::{InvalidDataRead, InvalidMarkerRead};
        match error {
            // The content is at its end, which is not the end of the file.
            InvalidDataRead(error) | InvalidMarkerRead(error)
                if error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Fault::Io(error)
            }
            error => Fault::Rule(format!("its section {section:?} cannot be decoded: {error}")),
        }
    })?;
    match content.bytes().next().transpose()? {
        None => Ok(value),
        Some(_) => {
            Err(Fault::Rule(format!("bytes are left over behind the content of its section {section:?}")))
        }
    }
}

/// What was written as chunks, as one stream.
struct Chunks<'r, R> {
    input: &'r mut R,
    /// What of the chunk is not read yet.
    left: u16,
    ended: bool,
}

impl<R: Read> Read for Chunks<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            self.left = u16::from_le_bytes(bytes(self.input)?);
            self.ended = self.left == 0;
        }
        let wanted = buffer.len().min(usize::from(self.left));
        let got = self.input.read(&mut buffer[..wanted])?;
        if got == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u16;
        Ok(got)
    }
}

/// The next bytes, as many as asked for.
fn bytes<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde::de::IgnoredAny;
    use std::collections::BTreeMap;
    use std::io::Cursor;

    type Content = BTreeMap<String, Vec<u64>>;

    fn content() -> Content {
        (0..50).map(|i| (format!("key {i}"), vec![i; 7])).collect()
    }

    /// Three sections, the second of them empty.
    fn stored(history: &Content, memory: &[f64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sections = Writer::new(&mut bytes).unwrap();
        sections.section("history", 3, history).unwrap();
        sections.section("nothing", 0, &()).unwrap();
        sections.section("memory", 700, memory).unwrap();
        sections.finish().unwrap();
        bytes
    }

    fn opened(bytes: &[u8]) -> Result<Snapshot<Cursor<&[u8]>>> {
        Snapshot::read(Cursor::new(bytes), "bytes")
    }

    fn refusal(bytes: &[u8]) -> String {
        let error = opened(bytes).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Snapshot { .. }), "{error}");
        error.to_string()
    }

    /// A section made by hand, of content in chunks.
    fn section(name: &str, version: u16, chunks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![name.len() as u8];
        bytes.extend(name.as_bytes());
        bytes.extend(version.to_le_bytes());
        for chunk in chunks {
            bytes.extend((chunk.len() as u16).to_le_bytes());
            bytes.extend(*chunk);
        }
        bytes.extend([0, 0]);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// A snapshot made by hand.
    fn snapshot(sections: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = b"PEAKSNAP\x02\x00".to_vec();
        let mut summed = bytes.clone();
        for section in sections {
            bytes.extend(section);
            summed.extend(&section[section.len() - 4..]);
        }
        bytes.push(0);
        bytes.extend(crc32fast::hash(&summed).to_le_bytes());
        bytes
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let mut bytes = Vec::new();
        let mut sections = Writer::new(&mut bytes).unwrap();
        sections.section("a", 1, &7u8).unwrap();
        sections.section("é", 0x0203, "text").unwrap();
        sections.section("long", 9, &vec![1u8; 70_000]).unwrap();
        sections.finish().unwrap();
        let long = [&[0xdd, 0, 1, 0x11, 0x70][..], &[1; 70_000]].concat();
        let (first, second) = long.split_at(CHUNK);
        let expected = snapshot(&[
            section("a", 1, &[&[7]]),
            section("é", 0x0203, &[b"\xa4text"]),
            section("long", 9, &[first, second]),
        ]);
        assert!(bytes == expected);
        assert_eq!(bytes[..16], *b"PEAKSNAP\x02\x00\x01a\x01\x00\x01\x00");
        // However the content is cut into chunks.
        let pieces: Vec<&[u8]> = long.chunks(999).collect();
        let bytes = snapshot(&[section("long", 9, &pieces)]);
        assert_eq!(opened(&bytes).unwrap().section::<Vec<u8>>("long", 9).unwrap(), [1; 70_000]);
    }

    #[test]
    fn sections_are_read_in_any_order_and_more_than_once() {
        let bytes = stored(&content(), &[0.5, f64::MAX]);
        let mut snapshot = opened(&bytes).unwrap();
        for _ in 0..2 {
            assert_eq!(snapshot.section::<Vec<f64>>("memory", 700).unwrap(), [0.5, f64::MAX]);
            assert_eq!(snapshot.section::<Content>("history", 3).unwrap(), content());
            snapshot.section::<()>("nothing", 0).unwrap();
        }
        assert!(opened(&snapshot_of_nothing()).unwrap().sections().next().is_none());
    }

    fn snapshot_of_nothing() -> Vec<u8> {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).unwrap().finish().unwrap();
        bytes
    }

    #[test]
    fn names_and_versions_are_told_in_order() {
        let bytes = stored(&content(), &[]);
        let snapshot = opened(&bytes).unwrap();
        let told: Vec<_> = snapshot.sections().collect();
        assert_eq!(told, [("history", 3), ("nothing", 0), ("memory", 700)]);
        assert_eq!((snapshot.version_of("memory"), snapshot.version_of("other")), (Some(700), None));
    }

    #[test]
    fn a_section_that_is_not_what_was_asked_for_is_refused_and_the_others_stay() {
        let bytes = stored(&content(), &[0.5]);
        let mut snapshot = opened(&bytes).unwrap();
        let mut refused = |name, version| snapshot.section::<u64>(name, version).unwrap_err().to_string();
        let unusable = "bytes: not a usable snapshot: it";
        assert_eq!(
            refused("memory", 701),
            format!(r#"{unusable}s section "memory" has version 700, expected 701"#)
        );
        let all = r#""history" version 3, "nothing" version 0, "memory" version 700"#;
        assert_eq!(refused("other", 1), format!(r#"{unusable} has no section "other", but {all}"#));
        let undecodable = refused("history", 3);
        assert!(
            undecodable.starts_with(&format!(r#"{unusable}s section "history" cannot be decoded: "#)),
            "{undecodable}"
        );
        // Fewer values than are there, and more.
        assert!(snapshot.section::<(f64, f64)>("memory", 700).is_err());
        assert_eq!(snapshot.section::<Vec<f64>>("memory", 700).unwrap(), [0.5]);
        let none = opened(&snapshot_of_nothing()).unwrap().section::<u64>("memory", 1).unwrap_err();
        assert!(none.to_string().ends_with(r#"it has no section "memory", but none at all"#), "{none}");
    }

    #[test]
    fn an_error_lists_only_so_many_sections() {
        let mut bytes = Vec::new();
        let mut sections = Writer::new(&mut bytes).unwrap();
        (0..1_000).for_each(|i| sections.section(&i.to_string(), 1, &i).unwrap());
        sections.finish().unwrap();
        let error = opened(&bytes).unwrap().section::<u64>("memory", 1).unwrap_err().to_string();
        assert!(error.ends_with(r#""7" version 1 and 992 more"#), "{error}");
    }

    #[test]
    fn foreign_bytes_are_refused_with_the_reason() {
        for bytes in [&b""[..], b"PEAK", b"{\"json\": 1}"] {
            assert!(refusal(bytes).ends_with("it does not begin with PEAKSNAP"));
        }
        assert!(refusal(b"PEAKSNAP").ends_with("it is cut short"));
        assert!(refusal(b"PEAKSNAP\x01\x00more").ends_with("its envelope has version 1, expected 2"));
        assert!(refusal(b"PEAKSNAP\x02\x01").ends_with("its envelope has version 258, expected 2"));
        let twice = snapshot(&[section("a", 1, &[&[7]]), section("a", 2, &[&[7]])]);
        assert!(refusal(&twice).ends_with(r#"two of its sections are named "a""#));
        let nameless = section("ab", 1, &[&[7]]);
        let nameless = [&[2, 0xff, 0xfe], &nameless[3..nameless.len() - 4]].concat();
        let checksum = crc32fast::hash(&nameless).to_le_bytes();
        let nameless = snapshot(&[[&nameless[..], &checksum].concat()]);
        assert!(refusal(&nameless).ends_with("the name of a section is not UTF-8"));
    }

    #[test]
    fn every_flip_and_every_cut_is_noticed() {
        let bytes = stored(&[("key".into(), vec![1, 2])].into(), &[0.5]);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                refusal(&flipped);
            }
            assert!(at < 8 || refusal(&bytes[..at]).ends_with("it is cut short"));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(refusal(&longer).ends_with("bytes are left over behind its end"));
    }

    #[test]
    fn sections_that_are_left_out_or_moved_are_noticed() {
        let [a, b, c] = ["a", "b", "c"].map(|name| section(name, 1, &[&[7]]));
        let whole = [&a[..], &b, &c].concat();
        let bytes = snapshot(&[a.clone(), b.clone(), c.clone()]);
        assert!(opened(&bytes).is_ok());
        for others in [[&a[..], &b].concat(), [&a[..], &c].concat(), [&b[..], &a, &c].concat(), vec![]] {
            let damaged = [&bytes[..10], &others, &bytes[10 + whole.len()..]].concat();
            assert!(refusal(&damaged).ends_with("the checksum at its end does not match: it is damaged"));
        }
    }

    #[test]
    fn content_with_bytes_behind_it_is_refused() {
        let bytes = snapshot(&[section("a", 1, &[&[7], &[7]])]);
        let error = opened(&bytes).unwrap().section::<u8>("a", 1).unwrap_err().to_string();
        assert!(error.ends_with(r#"bytes are left over behind the content of its section "a""#), "{error}");
    }

    #[test]
    fn a_section_ends_where_it_ends() {
        // An array of two whose second value stands in the next section.
        let bytes = snapshot(&[section("a", 1, &[&[0x92, 7]]), section("b", 1, &[&[7]])]);
        assert!(opened(&bytes).unwrap().section::<(u8, u8)>("a", 1).is_err());
    }

    #[test]
    fn lengths_that_the_content_does_not_have_are_refused() {
        // An array, a map, a text and bytes of 2^32 - 1; a type that itself asks for room.
        for marker in [0xdd, 0xdf, 0xdb, 0xc6] {
            let bytes = snapshot(&[section("a", 1, &[&[marker, 0xff, 0xff, 0xff, 0xff, 7, 7]])]);
            let mut snapshot = opened(&bytes).unwrap();
            assert!(snapshot.section::<Vec<[u64; 32]>>("a", 1).is_err());
            assert!(snapshot.section::<BTreeMap<u8, u8>>("a", 1).is_err());
            assert!(snapshot.section::<std::collections::HashMap<u8, [u64; 32]>>("a", 1).is_err());
            assert!(snapshot.section::<String>("a", 1).is_err());
            assert!(snapshot.section::<IgnoredAny>("a", 1).is_err());
        }
    }

    #[test]
    fn content_that_is_nested_too_deep_is_refused() {
        #[derive(Deserialize)]
        struct Nest(#[allow(dead_code)] Vec<Nest>);
        let nested = |depth: usize| {
            let nest = [vec![0x91; depth], vec![0x90]].concat();
            let chunks: Vec<&[u8]> = nest.chunks(CHUNK).collect();
            let bytes = snapshot(&[section("a", 1, &chunks)]);
            let mut snapshot = opened(&bytes).unwrap();
            (snapshot.section::<Nest>("a", 1).is_ok(), snapshot.section::<IgnoredAny>("a", 1).is_ok())
        };
        assert_eq!(nested(100), (true, true));
        assert_eq!(nested(DEPTH), (false, false));
        assert_eq!(nested(1_000_000), (false, false));
    }

    #[test]
    fn a_bad_name_is_refused_and_writes_nothing() {
        let mut bytes = Vec::new();
        let mut sections = Writer::new(&mut bytes).unwrap();
        sections.section("a", 1, &1).unwrap();
        let mut refused = |name: &str| sections.section(name, 1, &1).unwrap_err();
        for (name, reason) in [("a", r#"two sections are named "a""#), ("", "1 to 255 bytes")] {
            let error = refused(name);
            assert!(
                error.kind() == io::ErrorKind::InvalidInput && error.to_string().contains(reason),
                "{error}"
            );
        }
        refused(&"x".repeat(256));
        sections.section(&"x".repeat(255), 1, &1).unwrap();
        sections.finish().unwrap();
        assert_eq!(opened(&bytes).unwrap().sections().count(), 2);
    }

    #[test]
    fn nothing_stands_behind_a_section_that_failed() {
        struct Unstorable;
        impl Serialize for Unstorable {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }
        let mut bytes = Vec::new();
        let mut sections = Writer::new(&mut bytes).unwrap();
        let error = sections.section("a", 1, &(content(), Unstorable)).unwrap_err();
        assert_eq!(error.to_string(), "no");
        assert!(sections.section("b", 1, &1).is_err() && sections.finish().is_err());
        assert!(refusal(&bytes).ends_with("it is cut short"));
    }

    #[test]
    fn the_reason_of_a_failed_write_survives_the_encoder() {
        /// Takes so many bytes.
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let n = bytes.len().min(self.0);
                self.0 -= n;
                if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let long = Content::from([("long".to_owned(), vec![u64::MAX; 20_000])]);
        for content in [content(), long] {
            let mut whole = Vec::new();
            super::super::write(&mut whole, "test", 3, &content).unwrap();
            for room in (0..60).chain((60..whole.len()).step_by(997)).chain([whole.len() - 1]) {
                let error = super::super::write(&mut Full(room), "test", 3, &content).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::StorageFull, "room for {room}");
            }
            super::super::write(&mut Full(whole.len()), "test", 3, &content).unwrap();
        }
    }

    #[test]
    fn a_failed_read_is_told_as_one() {
        /// Fails behind so many bytes, if not at once.
        struct Broken<'a>(Cursor<&'a [u8]>, u64);
        impl Read for Broken<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0.position() >= self.1 {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let wanted = buffer.len().min((self.1 - self.0.position()) as usize);
                self.0.read(&mut buffer[..wanted])
            }
        }
        impl Seek for Broken<'_> {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.0.seek(to)
            }
        }
        let long: Vec<u64> = (0..20_000).collect();
        let mut bytes = Vec::new();
        super::super::write(&mut bytes, "test", 3, &long).unwrap();
        for at in (0..bytes.len()).step_by(997) {
            let broken = Broken(Cursor::new(&bytes), at as u64);
            assert!(Snapshot::read(broken, "bytes").unwrap_err().is_temporary(), "at {at}");
            let whole = Broken(Cursor::new(&bytes), u64::MAX);
            let mut snapshot = Snapshot::read(whole, "bytes").unwrap();
            snapshot.input.get_mut().1 = at as u64;
            let error = snapshot.section::<Vec<u64>>("test", 3).unwrap_err();
            assert!(error.is_temporary(), "at {at}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(history: Content, memory: Vec<f64>) {
            let bytes = stored(&history, &memory);
            let mut snapshot = opened(&bytes).unwrap();
            let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let read: Vec<f64> = snapshot.section("memory", 700).unwrap();
            prop_assert_eq!(bits(&read), bits(&memory));
            prop_assert_eq!(snapshot.section::<Content>("history", 3).unwrap(), history);
        }

        #[test]
        fn any_damage_is_noticed(
            history: Content,
            memory: Vec<f64>,
            at: prop::sample::Index,
            flip in 1..=255u8,
            cut: bool,
        ) {
            let mut bytes = stored(&history, &memory);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            let error = opened(&bytes).unwrap_err();
            prop_assert!(matches!(error.kind(), ErrorKind::Snapshot { .. }), "{}", error);
        }

        #[test]
        fn any_bytes_are_refused_or_read(content: Vec<u8>) {
            let bytes = snapshot(&[section("a", 1, &[&content])]);
            prop_assume!(!content.is_empty());
            // Nothing but that it ends.
            let _ = opened(&bytes).unwrap().section::<Content>("a", 1);
            let _ = opened(&bytes).unwrap().section::<crate::GlobalTable>("a", 1);
        }
    }
}
