//! Records, keys, windows and statistics tables: the pure core of the peak telemetry engine.
//!
//! Telemetry arrives as [`Record`]s: a time, some dimensions (severity, file type, host …, any
//! number), a sample (the thing that is counted: a file hash, an event id), blame fields (who sent
//! it) and numeric measures. Data flows one way:
//!
//! ```text
//! Source ──scan──▶ Record ──add──▶ Tally ──finish──▶ Window ──learn──▶ Baseline
//!                                  LocalTable (LST)                    GlobalTable (GST)
//! ```
//!
//! * A [`Tally`] counts one key in one window; a [`LocalTable`] holds the tallies of all keys.
//! * A [`Window`] is the summary of a finished tally: what detectors look at.
//! * A [`Baseline`] is the history of one key; a [`GlobalTable`] holds the baselines of all keys.
//!
//! State is sufficient statistics: sums, counts and maxima; averages and deviations are derived
//! when read, and nothing is rounded. Everything that accumulates is a commutative monoid
//! ([`Merge`]) and *exact*: any split of the input over files, threads or machines, in any order,
//! gives the same table, bit for bit. That holds for floating-point measures too, whose sums are
//! kept exactly.
//!
//! The crate is pure: no clock, no threads, no global state, and no input or output but
//! [`snapshot`], which saves and loads a file atomically.
//!
//! ```
//! use peak_core::{LocalTable, Record, Schema, Span, Timestamp};
//!
//! let schema = Schema::file_types();
//! let day = Span::days("2020-11-01", "2020-11-02")?[0];
//! let mut table = LocalTable::new(day);
//! table.add(&Record {
//!     time: Timestamp::parse("2020-11-01T10:00:00Z")?,
//!     sample: Some("da39a3ee"),
//!     dimensions: &["malicious", "PeExeFile"],
//!     blame: &[Some("42"), Some("API")],
//!     measures: &[],
//! });
//! let found = &table.finish()[0];
//! assert_eq!(found.key.to_string(), "malicious / PeExeFile");
//! assert_eq!(found.window.events, 1);
//! assert_eq!(schema.dimensions(), ["task.severity", "file.llfile_type"]);
//! # Ok::<(), peak_core::Error>(())
//! ```

mod baseline;
mod bytes;
mod counts;
mod error;
mod exact;
mod key;
mod key_map;
mod label_moments;
mod merge;
mod moments;
mod quantiles;
mod record;
mod schema;
pub mod snapshot;
mod source;
mod table;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;
mod window;

pub use baseline::{Baseline, GlobalTable, Past};
pub use chrono_tz::Tz;
pub use counts::{Counts, Uncertainty};
pub use error::{Error, ErrorKind, Position, Rejection, Result};
pub use exact::ExactSum;
pub use key::Key;
pub use key_map::{KeyMap, Walk};
pub use label_moments::LabelMoments;
pub use merge::{Combine, Merge};
pub use moments::{CountMoments, Moments};
pub use quantiles::Quantiles;
pub use record::Record;
pub use schema::{Schema, SchemaBuilder};
pub use source::{BadRecords, Report, Source};
pub use table::{Counter, LocalTable, LocalTables, MemoryBudget};
pub use tally::Tally;
pub use time::{Span, TimeUnit, Timestamp, Windows};
pub use window::{KeyWindow, Share, Window};
