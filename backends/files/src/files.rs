//! Sets of inputs, opened one at a time.

use crate::pattern::{self, Wildcards};
use flate2::read::MultiGzDecoder;
use memchr::memmem::Finder;
use peak_core::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A set of inputs: files, standard input, or any stream.
///
/// Gzip and zstd are recognised by their first bytes, whatever the name, and a UTF-8 byte order mark
/// is left out.
///
/// A file is read once in a pass, at its first place, also when it is named twice: by the same path, by
/// patterns that overlap or through links, though not by hard ones. What is no file but has a path, such
/// as a named pipe, `/dev/stdin` or what a shell substitutes for a process, can be read only once.
#[derive(Debug, Clone, Default)]
pub struct Files {
    origins: Vec<Origin>,
    /// The paths of the files without links, where there are such.
    known: BTreeSet<PathBuf>,
    read: Option<Arc<AtomicU64>>,
}

#[derive(Debug, Clone)]
enum Origin {
    Path(PathBuf, Pipe),
    Stream { name: Arc<str>, reader: Once },
}

/// Whether what is no regular file was read.
#[derive(Debug, Clone, Default)]
struct Pipe(Arc<AtomicBool>);

/// A stream until it is read.
#[derive(Clone)]
struct Once(Arc<Mutex<Option<Box<dyn Read + Send>>>>);

impl Files {
    /// The files that match a pattern such as `telemetry/**/*.ndjson.gz`, in order of the bytes of their
    /// paths.
    ///
    /// | in a name | stands for |
    /// |---|---|
    /// | `?` | one character, or one byte that is none in UTF-8 |
    /// | `*` | any number of them |
    /// | `[a-z_]` | one of these |
    /// | `[!a-z_]` | one that is not of these |
    /// | `**`, alone | any number of folders, also none; links to folders are followed, into each folder once |
    ///
    /// Wildcards match regular files and links to them, whatever the encoding of their names. Left out are
    /// what begins with a dot, unless the pattern has the dot, too, and folders, pipes, sockets and devices.
    ///
    /// A path without wildcards is that file or pipe, and so is one whose only wildcards are brackets, when
    /// there is something of that very name.
    ///
    /// # Errors
    /// When the pattern is no pattern, a folder or a link cannot be read, nothing matches, or a path
    /// without wildcards is not there or a folder.
    pub fn glob(pattern: impl AsRef<Path>) -> Result<Self> {
        let pattern = pattern.as_ref();
        let is_path = match Wildcards::of(pattern.as_os_str()) {
            Wildcards::None => true,
            Wildcards::Brackets => fs::symlink_metadata(pattern).is_ok(),
            Wildcards::Any => false,
        };
        if is_path {
            about(pattern)?;
            return Ok(Self::paths([pattern]));
        }
        let paths = pattern::files(pattern)?;
        if paths.is_empty() {
            return Err(ErrorKind::NoFile { pattern: pattern.display().to_string() }.into());
        }
        Ok(Self::paths(paths))
    }

    /// These files, in this order.
    pub fn paths<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self::new(paths.into_iter().map(|path| Origin::Path(path.into(), Pipe::default())))
    }

    /// Standard input. It can be read only once.
    #[must_use]
    pub fn stdin() -> Self {
        Self::stream("standard input", io::stdin())
    }

    /// Any stream, under the name that errors give it. It can be read only once.
    pub fn stream(name: &str, reader: impl Read + Send + 'static) -> Self {
        let reader = Once(Arc::new(Mutex::new(Some(Box::new(reader)))));
        Self::new([Origin::Stream { name: name.into(), reader }])
    }

    /// These inputs, then those of the other ones that are not among them.
    #[must_use]
    pub fn join(mut self, other: Files) -> Self {
        self.add(other.origins);
        self
    }

    fn new(origins: impl IntoIterator<Item = Origin>) -> Self {
        let mut files = Files::default();
        files.add(origins);
        files
    }

    fn add(&mut self, origins: impl IntoIterator<Item = Origin>) {
        for origin in origins {
            let is_new = match &origin {
                Origin::Path(path, _) => {
                    self.known.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone()))
                }
                Origin::Stream { .. } => true,
            };
            if is_new {
                self.origins.push(origin);
            }
        }
    }

    /// Adds every byte that is read to a counter, before decompression: with
    /// [`total_bytes`](Self::total_bytes), what a progress bar shows.
    #[must_use]
    pub fn count_bytes(mut self, read: Arc<AtomicU64>) -> Self {
        self.read = Some(read);
        self
    }

    /// The size of all files before decompression; `None` when it is not known, as for a stream.
    #[must_use]
    pub fn total_bytes(&self) -> Option<u64> {
        self.origins.iter().map(Origin::bytes).sum()
    }

    /// Opens one input after the other.
    ///
    /// # Errors
    /// When one cannot be opened or is a stream that was read before.
    pub fn open(&self) -> impl Iterator<Item = Result<Input>> {
        self.origins.iter().map(|origin| origin.open(self.read.as_ref()))
    }

    /// All inputs, in shares of about the same size before decompression that can be read at the same
    /// time. One after the other, their parts are what [`open`](Self::open) gives.
    ///
    /// A file that is not compressed is cut, where `cut` says so from its beginning: its first bytes, up
    /// to some kilobytes. Other inputs are part of one share as a whole.
    #[must_use]
    pub fn shares(&self, shares: NonZeroUsize, cut: impl Fn(&[u8]) -> Option<Cut>) -> Vec<Vec<Part<'_>>> {
        let sizes: Vec<u64> = self.origins.iter().map(|origin| origin.bytes().unwrap_or(0)).collect();
        let share_bytes = sizes.iter().sum::<u64>().div_ceil(shares.get() as u64).max(1);
        let mut found: Vec<Vec<Part<'_>>> = (0..shares.get()).map(|_| Vec::new()).collect();
        // Where the present input begins, as if all were one.
        let mut begin = 0;
        for (origin, size) in self.origins.iter().zip(sizes) {
            let mut add = |start: u64, end: Option<u64>, middle: u64, cut: &Option<Cut>| {
                let share = usize::try_from(middle / share_bytes).unwrap_or(usize::MAX);
                let part = Part { origin, start, end, cut: cut.clone(), read: self.read.as_ref() };
                found[share.min(shares.get() - 1)].push(part);
            };
            let wanted = (1..shares.get() as u64).map(|share| share * share_bytes);
            let wanted = wanted.filter_map(|cut| cut.checked_sub(begin)).filter(|&cut| 0 < cut && cut < size);
            let mut start = 0;
            // Where a file cannot be cut, its parts are read as one; what is wrong with it shows then.
            let (cut, places) = origin.cuts(wanted, &cut).unwrap_or_default();
            for place in places {
                add(start, Some(place), begin + start.midpoint(place), &cut);
                start = place;
            }
            add(start, None, begin + start.midpoint(size.max(start)), &cut);
            begin += size;
        }
        found
    }
}

/// Where a file may be cut into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Behind line ends.
    BehindLineEnd,
    /// In front of these bytes, where a comma stands before them.
    Before(Vec<u8>),
}

impl Cut {
    /// How much is searched for a place to cut.
    const MOST_BYTES: usize = 16 << 20;
    const CHUNK: u64 = 256 << 10;

    /// The number of bytes up to the next place.
    fn find(&self, file: &mut impl BufRead) -> io::Result<Option<u64>> {
        let begin = match self {
            Cut::BehindLineEnd => return file.skip_until(b'\n').map(|bytes| Some(bytes as u64)),
            Cut::Before(begin) => Finder::new(begin),
        };
        let (mut bytes, mut searched) = (Vec::new(), 0);
        while bytes.len() < Self::MOST_BYTES && file.by_ref().take(Self::CHUNK).read_to_end(&mut bytes)? > 0 {
            let mut places = begin.find_iter(&bytes[searched..]).map(|more| searched + more);
            let place = places.find(|&place| bytes[..place].trim_ascii_end().ends_with(b","));
            if let Some(place) = place {
                return Ok(Some(place as u64));
            }
            searched = bytes.len().saturating_sub(begin.needle().len());
        }
        Ok(None)
    }
}

/// A piece of an input, or a whole one, that is not open yet.
#[derive(Debug)]
pub struct Part<'a> {
    origin: &'a Origin,
    start: u64,
    /// `None` for the end of the input.
    end: Option<u64>,
    cut: Option<Cut>,
    read: Option<&'a Arc<AtomicU64>>,
}

impl Part<'_> {
    /// Whether it begins where another part of the same file ends.
    #[must_use]
    pub fn is_continued(&self) -> bool {
        self.start > 0
    }

    /// Whether another part of the same file begins where it ends.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.end.is_some()
    }

    /// Where its file was cut; `None` for a whole one.
    #[must_use]
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref().filter(|_| self.is_continued() || self.is_cut_off())
    }

    /// The whole input.
    #[must_use]
    pub fn whole(&self) -> Self {
        Part { origin: self.origin, start: 0, end: None, cut: None, read: self.read }
    }

    /// Opens it.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn open(&self) -> Result<Input> {
        match self.origin {
            Origin::Path(path, _) if self.is_continued() || self.is_cut_off() => {
                self.open_range(path).map_err(|source| Error::io(path.display(), source))
            }
            whole => whole.open(self.read),
        }
    }

    fn open_range(&self, path: &Path) -> io::Result<Input> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.start))?;
        let bytes = self.end.map_or(u64::MAX, |end| end - self.start);
        let reader = Counted { reader: Box::new(file.take(bytes)), read: self.read.cloned() };
        let reader: Box<dyn Read + Send> = Box::new(reader);
        let reader = if self.is_continued() { reader } else { without_mark(reader)? };
        Ok(Input { name: path.to_string_lossy().into(), reader })
    }
}

impl Origin {
    fn open(&self, read: Option<&Arc<AtomicU64>>) -> Result<Input> {
        let (name, reader) = self.open_raw()?;
        let reader = Counted { reader, read: read.cloned() };
        match decompress(reader).and_then(without_mark) {
            Ok(reader) => Ok(Input { name, reader }),
            Err(source) => Err(Error::io(name, source)),
        }
    }

    /// The first places for a cut at or behind those where one is wanted.
    fn cuts(
        &self,
        wanted: impl Iterator<Item = u64>,
        cut: impl Fn(&[u8]) -> Option<Cut>,
    ) -> io::Result<(Option<Cut>, Vec<u64>)> {
        let Origin::Path(path, _) = self else { return Ok(Default::default()) };
        let mut wanted = wanted.peekable();
        // Opening a pipe may block, and takes what is in it.
        if wanted.peek().is_none() || !fs::metadata(path)?.is_file() {
            return Ok(Default::default());
        }
        let mut file = BufReader::new(File::open(path)?);
        let head = head(&mut file, 4096)?;
        if is_gzip(&head) || is_zstd(&head) {
            return Ok(Default::default());
        }
        let Some(cut) = cut(head.strip_prefix(MARK).unwrap_or(&head)) else { return Ok(Default::default()) };
        let mut places = Vec::new();
        for from in wanted {
            let from = file.seek(SeekFrom::Start(from))?;
            let place = cut.find(&mut file)?.map(|bytes| from + bytes);
            places.extend(place.filter(|place| places.last().is_none_or(|last| last < place)));
        }
        Ok((Some(cut), places))
    }

    fn open_raw(&self) -> Result<(Arc<str>, Box<dyn Read + Send>)> {
        match self {
            Origin::Path(path, pipe) => {
                // A pipe must not be opened again: that waits for someone who writes, or finds nothing.
                if !about(path)?.is_file() && pipe.0.swap(true, Ordering::Relaxed) {
                    return Err(ErrorKind::ReadTwice { origin: path.display().to_string() }.into());
                }
                let file = File::open(path).map_err(|source| Error::io(path.display(), source))?;
                Ok((path.to_string_lossy().into(), Box::new(file)))
            }
            Origin::Stream { name, reader } => match reader.take() {
                Some(reader) => Ok((name.clone(), reader)),
                None => Err(ErrorKind::ReadTwice { origin: name.to_string() }.into()),
            },
        }
    }

    fn bytes(&self) -> Option<u64> {
        let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len());
        match self {
            Origin::Path(path, _) => size(path),
            Origin::Stream { .. } => None,
        }
    }
}

/// What there is at a path that is to be read: no folder.
fn about(path: &Path) -> Result<fs::Metadata> {
    let about = fs::metadata(path).and_then(|about| {
        let hint = || format!("is a folder; its files are {:?}", path.join("*"));
        if about.is_dir() { Err(io::Error::new(io::ErrorKind::IsADirectory, hint())) } else { Ok(about) }
    });
    about.map_err(|error| Error::io(path.display(), error))
}

impl Once {
    fn take(&self) -> Option<Box<dyn Read + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }
}

/// An open input: its bytes, decompressed. Interrupted reads are taken up again.
pub struct Input {
    name: Arc<str>,
    reader: Box<dyn Read + Send>,
}

impl Input {
    /// The name of the file or stream, for positions and errors.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Counted {
    reader: Box<dyn Read + Send>,
    read: Option<Arc<AtomicU64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        if let Some(read) = &self.read {
            read.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        Ok(bytes)
    }
}

fn decompress(mut reader: Counted) -> io::Result<Box<dyn Read + Send>> {
    let head = head(&mut reader, 4)?;
    let (is_gzip, is_zstd) = (is_gzip(&head), is_zstd(&head));
    let whole = Cursor::new(head).chain(reader);
    Ok(if is_gzip {
        // A gzip file may have several members: logs are appended to, and gzip files concatenated.
        Box::new(MultiGzDecoder::new(whole))
    } else if is_zstd {
        Box::new(zstd::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

fn is_zstd(head: &[u8]) -> bool {
    head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

const MARK: &[u8] = "\u{feff}".as_bytes();

fn without_mark(mut reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = head(&mut reader, 3)?;
    if head == MARK {
        head.clear();
    }
    Ok(Box::new(Cursor::new(head).chain(reader)))
}

/// The first bytes; fewer only when the input ends.
fn head(reader: impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(bytes).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 1).unwrap()
    }

    /// Everything the inputs hold, or the first error.
    fn read(files: &Files) -> Result<String> {
        let mut text = String::new();
        for input in files.open() {
            let mut input = input?;
            let name = input.name().clone();
            input.read_to_string(&mut text).map_err(|source| Error::io(name, source))?;
        }
        Ok(text)
    }

    /// A stream that gives one byte at a time and is interrupted before each, as a slow pipe may be.
    struct Slow {
        bytes: Cursor<Vec<u8>>,
        interrupted: bool,
    }

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = buffer.len().min(1);
            self.bytes.read(&mut buffer[..length])
        }
    }

    #[test]
    fn compression_is_recognised_by_its_bytes() {
        let members = [gzip("one, "), gzip("two")].concat();
        let frames = [zstd("one, "), zstd("two")].concat();
        for bytes in [b"one, two".to_vec(), members, frames, gzip("\u{feff}one, two")] {
            let slow = Slow { bytes: Cursor::new(bytes), interrupted: false };
            let mut input = Files::stream("pipe", slow).open().next().unwrap().unwrap();
            let (mut text, mut chunk) = (Vec::new(), [0; 3]);
            loop {
                match input.read(&mut chunk).unwrap() {
                    0 => break,
                    bytes => text.extend_from_slice(&chunk[..bytes]),
                }
            }
            assert_eq!(text, b"one, two");
        }
        for short in ["", "o", "\u{feff}"] {
            let files = Files::stream("pipe", short.as_bytes());
            assert_eq!(read(&files).unwrap(), short.trim_start_matches('\u{feff}'));
        }
    }

    #[test]
    fn damaged_compression_is_an_error_that_names_the_file() {
        let text: String = (0..9_999).map(|i| i.to_string()).collect();
        let (gzip, zstd) = (gzip(&text), zstd(&text));
        for bytes in [&gzip[..gzip.len() / 2], &gzip[..12], &gzip[..5], &zstd[..zstd.len() / 2], &zstd[..4]] {
            let error = read(&Files::stream("cut.gz", Cursor::new(bytes.to_vec()))).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
            assert!(error.to_string().starts_with("cut.gz: "), "{error}");
        }
    }

    #[test]
    fn a_pattern_finds_files_in_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        for name in ["b.json", "a.json", "c.txt"] {
            fs::write(path(name), name).unwrap();
        }
        fs::create_dir(path("folder.json")).unwrap();
        assert_eq!(read(&Files::glob(path("*.json")).unwrap()).unwrap(), "a.jsonb.json");
        assert_eq!(read(&Files::glob(path("b.json")).unwrap()).unwrap(), "b.json");

        let error = Files::glob(path("*.csv")).unwrap_err().to_string();
        assert_eq!(error, format!("no file matches {:?}", path("*.csv")));
        let error = Files::glob(path("missing.json")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: ", path("missing.json"))), "{error}");
        for (pattern, rule) in [
            ("a[", "must close its brackets; [[] stands for one"),
            ("x/**.json", "must have a whole name in place of ** or none"),
        ] {
            let error = Files::glob(pattern).unwrap_err().to_string();
            assert_eq!(error, format!("file pattern: {rule}, got {pattern:?}"));
        }
    }

    /// A folder with these files, each of which holds its name and a comma.
    fn folder_of(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{name},")).unwrap();
        }
        folder
    }

    #[test]
    fn wildcards_leave_hidden_files_and_folders_out() {
        let folder = folder_of(&["a", ".b", "c/d", "c/.e/f", "c/g/h", ".i/j", "c-d"]);
        let read = |pattern: &str| read(&Files::glob(folder.path().join(pattern)).unwrap()).unwrap();
        assert_eq!(read("*"), "a,c-d,");
        assert_eq!(read("**"), "a,c-d,c/d,c/g/h,");
        assert_eq!(read("**/*"), read("**"));
        assert_eq!(read("**/**/[a-z]"), "a,c/d,c/g/h,");
        assert_eq!(read("c/**/h"), "c/g/h,");
        assert_eq!(read("*/*/../d"), "c/d,");
        assert_eq!(read(".*"), ".b,");
        assert_eq!(read(".*/*"), ".i/j,");
    }

    #[test]
    fn a_name_with_brackets_is_that_file_when_it_is_there() {
        let folder = folder_of(&["day[1].json", "day1.json", "day2.json", "*.json"]);
        let read = |pattern: &str| read(&Files::glob(folder.path().join(pattern)).unwrap()).unwrap();
        assert_eq!(read("day[1].json"), "day[1].json,");
        assert_eq!(read("day[2].json"), "day2.json,");
        assert_eq!(read("day[[]1].json"), "day[1].json,");
        // The pattern matches the name: nothing is left out.
        assert_eq!(read("*.json"), "*.json,day1.json,day2.json,day[1].json,");
    }

    #[test]
    fn a_file_that_is_named_twice_is_read_once() {
        let folder = folder_of(&["a", "b", "c/d"]);
        let path = |name: &str| folder.path().join(name);
        let glob = |name: &str| Files::glob(path(name)).unwrap();
        assert_eq!(read(&glob("b").join(glob("*")).join(glob("./c/../a")).join(glob("b"))).unwrap(), "b,a,");
        assert_eq!(read(&Files::paths(["a", "c/d", "a"].map(path))).unwrap(), "a,c/d,");
        assert_eq!(Files::paths(["a", "a"].map(path)).total_bytes(), Some(2));
        let missing = Files::paths(["no", "no"].map(path));
        assert_eq!(missing.open().count(), 1);
    }

    #[test]
    fn a_folder_is_named_as_one() {
        let folder = folder_of(&["c/d"]);
        let path = folder.path().join("c");
        let expected = format!("{}: is a folder; its files are {:?}", path.display(), path.join("*"));
        assert_eq!(Files::glob(&path).unwrap_err().to_string(), expected);
        assert_eq!(read(&Files::paths([&path])).unwrap_err().to_string(), expected);
        let error = Files::glob(folder.path().join("*")).unwrap_err().to_string();
        assert!(error.starts_with("no file matches "), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_that_are_not_utf_8_are_read() {
        use std::os::unix::ffi::OsStrExt;
        let folder = folder_of(&["a.json"]);
        let odd = |bytes| folder.path().join(std::ffi::OsStr::from_bytes(bytes));
        fs::create_dir(odd(b"\xfe")).unwrap();
        fs::write(odd(b"\xff.json"), "odd,").unwrap();
        fs::write(odd(b"\xfe/\xff.json"), "deep,").unwrap();
        let read = |pattern: PathBuf| read(&Files::glob(pattern).unwrap()).unwrap();
        assert_eq!(read(folder.path().join("*.json")), "a.json,odd,");
        assert_eq!(read(folder.path().join("**/*.json")), "a.json,deep,odd,");
        assert_eq!(read(odd(b"*\xfe/*")), "deep,");
    }

    #[test]
    #[cfg(unix)]
    fn links_are_followed_into_each_folder_once() {
        use std::os::unix::fs::symlink;
        let folder = folder_of(&["a/b", "c/d", "e"]);
        let path = |name: &str| folder.path().join(name);
        for (target, link) in
            [("..", "a/up"), ("../c", "a/c"), ("../a", "c/a"), ("self", "c/self"), ("e", "f")]
        {
            symlink(target, path(link)).unwrap();
        }
        let glob = |pattern: &str| Files::glob(path(pattern));
        assert_eq!(read(&glob("**/[a-f]").unwrap()).unwrap(), "a/b,c/d,e,");
        // A link to nowhere that matches is told.
        let error = glob("**").unwrap_err().to_string();
        assert!(error.contains("/self: "), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn a_named_pipe_is_read_once_and_never_waited_for_again() {
        let folder = folder_of(&["a"]);
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let files = Files::glob(&path).unwrap().join(Files::glob(&path).unwrap());
        assert_eq!(files.total_bytes(), None);
        let writer = std::thread::spawn({
            let path = path.clone();
            move || fs::write(path, "piped").unwrap()
        });
        let shares = files.shares(NonZeroUsize::new(3).unwrap(), |_| Some(Cut::BehindLineEnd));
        let parts: Vec<_> = shares.iter().flatten().collect();
        let [part] = parts[..] else { panic!("{parts:?}") };
        let mut text = String::new();
        part.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "piped");
        writer.join().unwrap();
        let error = read(&files.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: can be read only once", path.display()));
        assert!(matches!(error.kind(), ErrorKind::ReadTwice { .. }));
        // Nor does a wildcard wait for it.
        assert_eq!(read(&Files::glob(folder.path().join("*")).unwrap()).unwrap(), "a,");
    }

    #[test]
    fn a_missing_file_among_many_is_an_error_when_its_turn_comes() {
        let folder = tempfile::tempdir().unwrap();
        let (here, missing) = (folder.path().join("here"), folder.path().join("missing"));
        fs::write(&here, "text").unwrap();
        let files = Files::paths([&here, &missing]);
        let mut inputs = files.open();
        assert!(inputs.next().unwrap().is_ok());
        let error = inputs.next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with(&missing.display().to_string()), "{error}");
        assert_eq!(files.total_bytes(), None);
    }

    #[test]
    fn a_stream_is_read_once() {
        let files = Files::stream("standard input", "text".as_bytes());
        assert_eq!(read(&files).unwrap(), "text");
        let error = read(&files.clone()).unwrap_err();
        assert_eq!(error.to_string(), "standard input: can be read only once");
        assert_eq!(files.total_bytes(), None);
    }

    #[test]
    fn shares_are_cut_at_line_ends_and_make_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let lines: String = (0..500).map(|i| format!("{:>1$}\n", i, 1 + i % 9)).collect();
        for (name, content) in [
            ("1", format!("\u{feff}{lines}").into_bytes()),
            ("2", lines.clone().into_bytes()),
            ("3", gzip(&lines)),
            ("4", b"one line\n".repeat(2)),
            ("5", "x".repeat(1000).into_bytes()),
            ("6", Vec::new()),
        ] {
            fs::write(path(name), content).unwrap();
        }
        let paths = ["1", "2", "3", "4", "5", "6"].map(path);
        for shares in 1..=9 {
            let files = Files::paths(&paths).join(Files::stream("pipe", "piped".as_bytes()));
            let shares = files.shares(NonZeroUsize::new(shares).unwrap(), |head| {
                (!head.starts_with(b"x")).then_some(Cut::BehindLineEnd)
            });
            let mut whole = String::new();
            for part in shares.iter().flatten() {
                assert!(!part.is_continued() || whole.ends_with('\n'));
                part.open().unwrap().read_to_string(&mut whole).unwrap();
            }
            let expected = [&*lines, &lines, &lines, "one line\none line\n", &"x".repeat(1000), "piped"];
            assert_eq!(whole, expected.concat());
        }

        let files = Files::paths([path("1"), path("2")]);
        let sizes = |share: &Vec<Part<'_>>| {
            let size =
                |part: &Part<'_>| io::copy(&mut part.open().unwrap(), &mut io::sink()).unwrap() as usize;
            share.iter().map(size).sum::<usize>()
        };
        let shares = files.shares(NonZeroUsize::new(4).unwrap(), |_| Some(Cut::BehindLineEnd));
        let sizes: Vec<_> = shares.iter().map(sizes).collect();
        let share = lines.len() / 2;
        assert!(sizes.iter().all(|size| (share - 9..=share + 9).contains(size)), "{sizes:?} of {share}");
    }

    #[test]
    fn a_cut_in_front_of_an_element_needs_a_comma_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("array");
        let long = "x".repeat(300 << 10);
        fs::write(&path, format!("[{{a:{long}{{a:1}} ,\n {{a:2}}]")).unwrap();
        let files = Files::paths([&path]);
        let shares = files.shares(NonZeroUsize::new(3).unwrap(), |head| {
            assert!(head.starts_with(b"[{a:x"));
            Some(Cut::Before(b"{a:".to_vec()))
        });
        let parts: Vec<&Part<'_>> = shares.iter().flatten().collect();
        let texts = parts.iter().map(|part| {
            let mut text = String::new();
            part.open().unwrap().read_to_string(&mut text).unwrap();
            text
        });
        let texts: Vec<String> = texts.collect();
        assert_eq!(texts[1..], ["{a:2}]"]);
        assert!(texts[0].ends_with("{a:1} ,\n "));
        assert!(parts[0].is_cut_off() && !parts[0].is_continued() && parts[1].is_continued());
        assert_eq!(parts[1].cut(), Some(&Cut::Before(b"{a:".to_vec())));
        assert_eq!(parts[1].whole().cut(), None);
    }

    #[test]
    fn raw_bytes_are_counted_for_a_progress_bar() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, gzip("text")).unwrap();
        let read_bytes = Arc::new(AtomicU64::new(0));
        let other = folder.path().join("b");
        fs::copy(&path, &other).unwrap();
        let files = Files::paths([path, other]).count_bytes(read_bytes.clone());
        assert_eq!(read(&files).unwrap(), "texttext");
        assert_eq!(Some(read_bytes.load(Ordering::Relaxed)), files.total_bytes());
        assert_eq!(files.total_bytes(), Some(2 * gzip("text").len() as u64));
    }
}
