//! Patterns of file names, matched on the bytes of the names, whatever their encoding.

use peak_core::{Error, Result};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// Which characters make a path a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wildcards {
    None,
    /// Only these, which are usual in names, too.
    Brackets,
    Any,
}

impl Wildcards {
    pub(crate) fn of(name: &OsStr) -> Self {
        let has = |wanted: &[u8]| name.as_encoded_bytes().iter().any(|byte| wanted.contains(byte));
        match (has(b"*?"), has(b"[")) {
            (true, _) => Wildcards::Any,
            (false, true) => Wildcards::Brackets,
            (false, false) => Wildcards::None,
        }
    }
}

/// The regular files that match a pattern, in order of the bytes of their paths.
///
/// # Errors
/// When the pattern is none, or a folder or what matches in it cannot be looked at.
pub(crate) fn files(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut parts = pattern.components().map(|part| Part::new(part, pattern)).collect::<Result<Vec<_>>>()?;
    if matches!(parts.last(), Some(Part::Folders)) {
        parts.push(Part::Name(vec![Token::Any]));
    }
    let mut walk = Walk { entered: BTreeSet::new(), files: Vec::new() };
    walk.go(PathBuf::new(), &parts)?;
    let mut files = walk.files;
    files.sort_unstable_by(|a, b| by_bytes(a.as_os_str(), b.as_os_str()));
    files.dedup();
    Ok(files)
}

fn by_bytes(a: &OsStr, b: &OsStr) -> Ordering {
    a.as_encoded_bytes().cmp(b.as_encoded_bytes())
}

/// What stands between two separators.
enum Part<'a> {
    /// A name, a root, `.` or `..`, as it stands.
    Plain(Component<'a>),
    /// A name that matches.
    Name(Vec<Token>),
    /// `**`: any number of folders.
    Folders,
}

enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[a-z]`, or `[!a-z]` for all others.
    Class {
        ranges: Vec<(char, char)>,
        is_negated: bool,
    },
}

impl<'a> Part<'a> {
    fn new(part: Component<'a>, pattern: &Path) -> Result<Self> {
        match part {
            Component::Normal(name) if name == "**" => Ok(Part::Folders),
            Component::Normal(name) if Wildcards::of(name) != Wildcards::None => tokens(name)
                .map(Part::Name)
                .map_err(|rule| Error::invalid("file pattern", rule, pattern.display())),
            _ => Ok(Part::Plain(part)),
        }
    }
}

/// What a pattern of one name is made of, or the rule that it breaks.
fn tokens(name: &OsStr) -> Result<Vec<Token>, &'static str> {
    let mut rest = name.as_encoded_bytes();
    let mut tokens = Vec::new();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        tokens.push(match byte {
            b'*' if rest.starts_with(b"*") => return Err("must have a whole name in place of ** or none"),
            b'*' => Token::Any,
            b'?' => Token::One,
            b'[' => {
                let is_negated = rest.starts_with(b"!");
                let inside = &rest[usize::from(is_negated)..];
                // A closing bracket in the first place stands for itself.
                let end = inside.iter().skip(1).position(|byte| *byte == b']');
                let end = 1 + end.ok_or("must close its brackets; [[] stands for one")?;
                rest = &inside[end + 1..];
                Token::Class { ranges: ranges(&String::from_utf8_lossy(&inside[..end])), is_negated }
            }
            byte => Token::Byte(byte),
        });
    }
    Ok(tokens)
}

/// The characters of a class; a hyphen between two stands for all from the one to the other.
fn ranges(class: &str) -> Vec<(char, char)> {
    let mut ranges = Vec::new();
    let mut chars = class.chars();
    while let Some(first) = chars.next() {
        let mut ahead = chars.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) => {
                chars = ahead;
                last
            }
            _ => first,
        };
        ranges.push((first, last));
    }
    ranges
}

/// Whether a name matches as a whole. What is hidden only matches a dot that stands there.
fn matches(tokens: &[Token], name: &[u8]) -> bool {
    if is_hidden(name) && !matches!(tokens.first(), Some(Token::Byte(b'.'))) {
        return false;
    }
    let (mut token, mut at) = (0, 0);
    // Where to go on when a guess of how much the last `*` takes was wrong: with one character more.
    let mut again = None;
    loop {
        let taken = match tokens.get(token) {
            None if at == name.len() => return true,
            None => None,
            Some(Token::Any) => {
                again = Some((token, at));
                Some(0)
            }
            Some(one) => one.take(&name[at..]),
        };
        (token, at) = match (taken, again) {
            (Some(bytes), _) => (token + 1, at + bytes),
            (None, Some((star, from))) if from < name.len() => {
                let from = from + first_char(&name[from..]).1;
                again = Some((star, from));
                (star + 1, from)
            }
            (None, _) => return false,
        };
    }
}

impl Token {
    /// How many bytes match, where the token stands for one character.
    fn take(&self, name: &[u8]) -> Option<usize> {
        let (char, bytes) = name.first().map(|_| first_char(name))?;
        match self {
            Token::Byte(byte) => (name.first() == Some(byte)).then_some(1),
            Token::One | Token::Any => Some(bytes),
            Token::Class { ranges, is_negated } => {
                let is_in =
                    ranges.iter().any(|(first, last)| char.is_some_and(|c| (*first..=*last).contains(&c)));
                (is_in != *is_negated).then_some(bytes)
            }
        }
    }
}

/// The first character of what is not empty and how many bytes it has; `None` for a byte that is none.
fn first_char(name: &[u8]) -> (Option<char>, usize) {
    let first = name[..name.len().min(4)].utf8_chunks().next();
    let char = first.and_then(|chunk| chunk.valid().chars().next());
    (char, char.map_or(1, char::len_utf8))
}

fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".")
}

/// A walk through folders.
struct Walk {
    /// The folders that `**` was in, by their paths without links, each with the number of parts that were left: a
    /// link back to a folder leads nowhere new.
    entered: BTreeSet<(usize, PathBuf)>,
    files: Vec<PathBuf>,
}

impl Walk {
    /// Adds the files at or below `path` that match the parts that are left.
    fn go(&mut self, path: PathBuf, parts: &[Part<'_>]) -> Result<()> {
        let Some((part, rest)) = parts.split_first() else {
            if is_file(&path)? {
                self.files.push(path);
            }
            return Ok(());
        };
        match part {
            Part::Plain(name) => {
                let path = path.join(name);
                match fs::symlink_metadata(&path) {
                    Ok(_) => self.go(path, rest),
                    Err(error) if is_nothing(&error) => Ok(()),
                    Err(error) => Err(Error::io(path.display(), error)),
                }
            }
            Part::Name(tokens) => {
                for name in names(&path)? {
                    let found = path.join(&name);
                    if matches(tokens, name.as_encoded_bytes()) && (rest.is_empty() || is_folder(&found)?) {
                        self.go(found, rest)?;
                    }
                }
                Ok(())
            }
            Part::Folders => {
                let whole =
                    fs::canonicalize(folder(&path)).map_err(|error| Error::io(path.display(), error))?;
                if !self.entered.insert((rest.len(), whole)) {
                    return Ok(());
                }
                self.go(path.clone(), rest)?;
                for name in names(&path)? {
                    let found = path.join(&name);
                    if !is_hidden(name.as_encoded_bytes()) && is_folder(&found)? {
                        self.go(found, parts)?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The path of the folder; the empty one is the one we are in.
fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// All names in a folder, in order of their bytes; none when there is no such folder.
fn names(path: &Path) -> Result<Vec<OsString>> {
    let names = || fs::read_dir(folder(path))?.map(|entry| Ok(entry?.file_name())).collect();
    let mut names: Vec<OsString> = match names() {
        Ok(names) => names,
        Err(error) if is_nothing(&error) => Vec::new(),
        Err(error) => return Err(Error::io(folder(path).display(), error)),
    };
    names.sort_unstable_by(|a, b| by_bytes(a, b));
    Ok(names)
}

/// A link to nowhere is no folder.
fn is_folder(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(about) => Ok(about.is_dir()),
        Err(error) if is_nothing(&error) || path.is_symlink() => Ok(false),
        Err(error) => Err(Error::io(path.display(), error)),
    }
}

/// A link to nowhere is one that cannot be read, not one that does not match.
fn is_file(path: &Path) -> Result<bool> {
    fs::metadata(path).map(|about| about.is_file()).map_err(|error| Error::io(path.display(), error))
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_match(pattern: &str, name: &[u8]) -> bool {
        matches(&tokens(OsStr::new(pattern)).unwrap(), name)
    }

    #[test]
    fn names_match_as_shells_do_it() {
        for (pattern, name, expected) in [
            ("*", "a.json", true),
            ("*.json", "a.json", true),
            ("*.json", "a.json.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("?.json", "é.json", true),
            ("??.json", "é.json", false),
            ("day[1-3].json", "day2.json", true),
            ("day[!1-3].json", "day2.json", false),
            ("day[!1-3].json", "day4.json", true),
            ("day[1-].json", "day-.json", true),
            ("[]a].json", "].json", true),
            ("[!]a].json", "].json", false),
            ("[ä-ü]", "ö", true),
            ("[[]1]", "[1]", true),
            ("*", ".hidden", false),
            ("?hidden", ".hidden", false),
            ("[.]hidden", ".hidden", false),
            (".h*", ".hidden", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(is_match(pattern, name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn names_that_are_not_utf_8_match() {
        for (pattern, expected) in [
            ("*.json", true),
            ("?.json", true),
            ("[a-z].json", false),
            ("[!a-z].json", true),
            ("??.json", false),
        ] {
            assert_eq!(is_match(pattern, b"\xff.json"), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*?]{0,8}", name in "[abé]{0,8}") {
            fn defined(pattern: &str, name: &str) -> bool {
                let mut chars = name.chars();
                match pattern.chars().next() {
                    None => name.is_empty(),
                    Some('*') => {
                        defined(&pattern[1..], name) || chars.next().is_some() && defined(pattern, chars.as_str())
                    }
                    Some('?') => chars.next().is_some() && defined(&pattern[1..], chars.as_str()),
                    Some(c) => chars.next() == Some(c) && defined(&pattern[1..], chars.as_str()),
                }
            }
            prop_assume!(!pattern.contains("**"));
            prop_assert_eq!(is_match(&pattern, name.as_bytes()), defined(&pattern, &name));
        }

        #[test]
        fn any_pattern_and_any_name_end(pattern in "[]\\[!a*?-]{0,12}", name in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(tokens) = tokens(OsStr::new(&pattern)) {
                matches(&tokens, &name);
            }
        }
    }
}
