//! One error type for the whole family, one word wide, with positions.

use crate::{Span, Timestamp};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// What the crates of the family return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong, with the place, the rule and the offending value.
///
/// It is one word wide, `Send + Sync + 'static`, and its message stands on one line:
///
/// ```
/// use peak_core::Schema;
///
/// let error = Schema::builder().sample("file.sha1").build().unwrap_err();
/// assert_eq!(error.to_string(), r#"schema field "time": must be named, got """#);
/// assert!(!error.is_temporary());
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// True when the same call may succeed later without any change: a time-out, an interruption,
    /// a full disk, a file that another writer holds.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        use std::io::ErrorKind as Io;
        match self.kind() {
            ErrorKind::Io { error, .. } => matches!(
                error.kind(),
                Io::Interrupted
                    | Io::WouldBlock
                    | Io::TimedOut
                    | Io::ConnectionReset
                    | Io::ConnectionAborted
                    | Io::StorageFull
                    | Io::QuotaExceeded
                    | Io::ResourceBusy
            ),
            ErrorKind::Locked { .. } => true,
            _ => false,
        }
    }

    /// An input or output error on the named file or stream.
    #[must_use]
    pub fn io(origin: impl fmt::Display, error: std::io::Error) -> Self {
        ErrorKind::Io { origin: origin.to_string(), error }.into()
    }

    /// A configured value that breaks a rule; `field` names it.
    #[must_use]
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>, value: impl fmt::Display) -> Self {
        ErrorKind::Invalid { field: field.into(), rule: rule.into(), value: value.to_string() }.into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Error(Box::new(kind))
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        ErrorKind::BadRecord(rejection).into()
    }
}

/// The kinds of [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Reading or writing failed.
    #[error("{origin}: {error}")]
    Io {
        /// The file or stream.
        origin: String,
        /// What the operating system said. No `source`: the message has it already, and programs that
        /// print the chain of sources would say it twice.
        error: std::io::Error,
    },
    /// A record breaks a rule and the policy is to reject it.
    #[error("{0}")]
    BadRecord(Rejection),
    /// More bad records than the policy allows.
    #[error("more than {limit} bad records; the first: {first}")]
    TooManyBadRecords {
        /// How many were allowed.
        limit: u64,
        /// The first that was met.
        first: Rejection,
    },
    /// A file pattern matched nothing.
    #[error("no file matches {pattern:?}")]
    NoFile {
        /// The pattern as it was given.
        pattern: String,
    },
    /// A configured value breaks a rule.
    #[error("{field}: {rule}, got {value:?}")]
    Invalid {
        /// The name of the setting.
        field: String,
        /// What it must be.
        rule: String,
        /// What it was.
        value: String,
    },
    /// A snapshot or table file is damaged, foreign or of an unknown version.
    #[error("{name}: not a usable snapshot: {rule}")]
    Snapshot {
        /// The file.
        name: String,
        /// What was expected and what was found.
        rule: String,
    },
    /// What is to be read or replaced is no regular file, and was left as it is.
    #[error("{origin}: is a {found}, not a regular file")]
    NotAFile {
        /// Its path.
        origin: String,
        /// What it is: a folder, a named pipe, a device …
        found: &'static str,
    },
    /// Another writer holds the [lock](crate::snapshot::Lock) of the file.
    #[error("{origin}: is in use by another writer, in this process or another; end that one or wait for it")]
    Locked {
        /// The file.
        origin: String,
    },
    /// The file was replaced, but the folder could not be brought to the disk: after a power cut the
    /// file may be the one before.
    #[error("{origin}: was replaced, but may not survive a power cut: {error}")]
    NotDurable {
        /// The file.
        origin: String,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The window, or part of it, is in the history already; learning it again would count its
    /// records twice.
    #[error("window {window} overlaps {learned}, which was learned already")]
    AlreadyLearned {
        /// The window that was offered.
        window: Span,
        /// The window of the history that it overlaps.
        learned: Span,
    },
    /// The window ends before the history's horizon begins.
    #[error("window {window} is older than the horizon of the history, which begins at {horizon}")]
    TooOld {
        /// The window that was offered.
        window: Span,
        /// The start of what the history still remembers.
        horizon: Timestamp,
    },
    /// A source that can be read only once was read again.
    #[error("{origin}: can be read only once")]
    ReadTwice {
        /// The stream.
        origin: String,
    },
}

/// Where in its source a record stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Position {
    /// The file or stream.
    pub file: Arc<str>,
    /// The record's number in the file, from 1.
    pub record: u64,
    /// The line on which the record begins, from 1.
    pub line: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: record {} (line {})", self.file, self.record, self.line)
    }
}

/// One bad record: where it stands, which field broke which rule, and with what value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Where the record stands.
    pub position: Position,
    /// The field, when one is to blame.
    pub field: Option<String>,
    /// What must hold.
    pub rule: String,
    /// What was found instead, shortened to [`Rejection::VALUE_CHARS`] characters.
    pub value: String,
}

impl Rejection {
    /// The longest value that a rejection quotes, in characters.
    pub const VALUE_CHARS: usize = 80;

    /// A rejection that quotes at most [`VALUE_CHARS`](Self::VALUE_CHARS) characters of the value.
    #[must_use]
    pub fn new(position: Position, field: Option<&str>, rule: impl Into<String>, value: &str) -> Self {
        let mut shown: String = value.chars().take(Self::VALUE_CHARS).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Rejection { position, field: field.map(str::to_owned), rule: rule.into(), value: shown }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.position)?;
        if let Some(field) = &self.field {
            write!(f, "field {field:?} ")?;
        }
        write!(f, "{}, got {}", self.rule, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_and_crosses_threads() {
        fn crosses_threads<T: Send + Sync + 'static>() {}
        crosses_threads::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn a_full_disk_is_temporary_and_a_missing_file_is_not() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert!(Error::io("history.peak", full).is_temporary());
        assert!(!Error::io("history.peak", missing).is_temporary());
    }

    #[test]
    fn a_long_value_is_shortened_at_a_character() {
        let position = Position { file: "a.ndjson".into(), record: 2, line: 3 };
        let rejection = Rejection::new(position, Some("host"), "must be short", &"é".repeat(500));
        let text = rejection.to_string();
        assert!(
            text.starts_with(r#"a.ndjson: record 2 (line 3): field "host" must be short, got éé"#),
            "{text}"
        );
        assert!(text.ends_with("é…"));
        assert_eq!(rejection.value.chars().count(), Rejection::VALUE_CHARS + 1);
    }
}
