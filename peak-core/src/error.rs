//! One error type for the whole family, one word wide, with positions.

use crate::{BadRecords, Rejection, Span, Timestamp, shown};
use std::fmt;

/// What the crates of the family return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong, with the place, the rule and the offending value.
///
/// It is one word wide, `Send + Sync + 'static`, and its message stands on one line: what came from outside is
/// [`shown`] there, and raw in the fields of the [`ErrorKind`].
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
    /// a full disk, a peer that cannot be reached; or when a backend says so of its own error.
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
                    | Io::ConnectionRefused
                    | Io::NotConnected
                    | Io::BrokenPipe
                    | Io::HostUnreachable
                    | Io::NetworkUnreachable
                    | Io::NetworkDown
                    | Io::AddrInUse
                    | Io::StaleNetworkFileHandle
                    | Io::StorageFull
                    | Io::QuotaExceeded
                    | Io::ResourceBusy
            ),
            ErrorKind::Locked { .. } => true,
            ErrorKind::Backend { temporary, .. } => *temporary,
            _ => false,
        }
    }

    /// An input or output error on the named file or stream.
    #[must_use]
    pub fn io(origin: impl fmt::Display, error: std::io::Error) -> Self {
        ErrorKind::Io { origin: origin.to_string(), error }.into()
    }

    /// A backend's own error: what its database, broker or service said. `temporary` when the same call may
    /// succeed later without any change.
    ///
    /// ```
    /// use peak_core::{Error, ErrorKind};
    ///
    /// let error = Error::backend("orders", "the leader of the partition is being elected", true);
    /// assert!(error.is_temporary());
    /// assert_eq!(error.to_string(), "orders: the leader of the partition is being elected");
    /// assert!(matches!(error.kind(), ErrorKind::Backend { origin, .. } if origin == "orders"));
    /// ```
    #[must_use]
    pub fn backend(
        origin: impl fmt::Display,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
        temporary: bool,
    ) -> Self {
        ErrorKind::Backend { origin: origin.to_string(), error: error.into(), temporary }.into()
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
    #[error("{}: {}", shown(origin), shown(&error.to_string()))]
    Io {
        /// The file or stream.
        origin: String,
        /// What the operating system said. No `source`: the message has it already, and programs that
        /// print the chain of sources would say it twice.
        error: std::io::Error,
    },
    /// A backend's own error. Its message tells those behind it, too.
    #[error("{}: {}", shown(origin), shown(&with_sources(error.as_ref())))]
    Backend {
        /// The table, topic, service or stream.
        origin: String,
        /// What it said; no `source`, as above.
        error: Box<dyn std::error::Error + Send + Sync>,
        /// Whether the same call may succeed later without any change.
        temporary: bool,
    },
    /// A record breaks a rule and the policy is to reject it.
    #[error("{0}")]
    BadRecord(Rejection),
    /// More bad records than the policy allows.
    #[error("more than {policy} bad records; the first: {first}", policy = policy.allowed())]
    TooManyBadRecords {
        /// The policy.
        policy: BadRecords,
        /// The first bad record that was met.
        first: Rejection,
    },
    /// A file pattern matched nothing.
    #[error("no file matches {pattern:?}")]
    NoFile {
        /// The pattern as it was given.
        pattern: String,
    },
    /// A configured value breaks a rule.
    #[error("{}: {}, got {value:?}", shown(field), shown(rule))]
    Invalid {
        /// The name of the setting.
        field: String,
        /// What it must be.
        rule: String,
        /// What it was.
        value: String,
    },
    /// A snapshot or table file is damaged, foreign or of an unknown version.
    #[error("{}: not a usable snapshot: {}", shown(name), shown(rule))]
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
    #[error("{}: can be read only once", shown(origin))]
    ReadTwice {
        /// The stream.
        origin: String,
    },
}

/// The message of an error, and of the errors behind it unless they are told already.
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut behind = error.source();
    while let Some(source) = behind {
        let next = source.to_string();
        if !message.ends_with(&next) {
            message = format!("{message}: {next}");
        }
        behind = source.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, Rule, RuleKind};

    #[test]
    fn an_error_is_one_word_and_crosses_threads() {
        fn crosses_threads<T: Send + Sync + 'static>() {}
        crosses_threads::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn what_may_pass_without_a_change_is_temporary() {
        use std::io::ErrorKind as Io;
        let io = |kind: Io| Error::io("history.peak", kind.into());
        for kind in [
            Io::StorageFull,
            Io::ConnectionRefused,
            Io::BrokenPipe,
            Io::NotConnected,
            Io::HostUnreachable,
            Io::NetworkUnreachable,
            Io::NetworkDown,
            Io::AddrInUse,
        ] {
            assert!(io(kind).is_temporary(), "{kind}");
        }
        for kind in [Io::NotFound, Io::PermissionDenied, Io::InvalidData, Io::AddrNotAvailable] {
            assert!(!io(kind).is_temporary(), "{kind}");
        }
        assert!(!Error::invalid("a", "must be b", "c").is_temporary());
        assert!(!Error::backend("orders", "no such topic", false).is_temporary());
    }

    /// An error with one behind it.
    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Chained {
        words: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn an_error_of_a_backend_tells_the_errors_behind_it_once() {
        let refused = || std::io::Error::other("refused\nby peer");
        for (words, expected) in [
            ("cannot connect", r"orders: cannot connect: refused\nby peer"),
            ("cannot connect: refused\nby peer", r"orders: cannot connect: refused\nby peer"),
        ] {
            let error = Error::backend("orders", Chained { words, source: refused() }, true);
            assert_eq!(error.to_string(), expected);
            assert!(std::error::Error::source(&error).is_none(), "it would be told twice");
        }
    }

    #[test]
    fn messages_stand_on_one_line_whatever_came_from_outside() {
        let evil = "a\n2024-01-01 CRITICAL forged\x1b[2J";
        let rule = Rule::new(RuleKind::Other, evil);
        let rejection = Rejection::new(Position::nowhere(evil), Some(evil), rule, evil);
        assert_eq!(*rejection.value, *evil);
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let window = Span::new(at(0), at(1)).unwrap();
        for kind in [
            ErrorKind::Io { origin: evil.into(), error: std::io::Error::other(evil) },
            ErrorKind::Backend { origin: evil.into(), error: evil.into(), temporary: true },
            ErrorKind::BadRecord(rejection.clone()),
            ErrorKind::TooManyBadRecords { policy: BadRecords::Skip(1), first: rejection },
            ErrorKind::NoFile { pattern: evil.into() },
            ErrorKind::Invalid { field: evil.into(), rule: evil.into(), value: evil.into() },
            ErrorKind::Snapshot { name: evil.into(), rule: evil.into() },
            ErrorKind::AlreadyLearned { window, learned: window },
            ErrorKind::TooOld { window, horizon: at(5) },
            ErrorKind::ReadTwice { origin: evil.into() },
        ] {
            let message = Error::from(kind).to_string();
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }
}
