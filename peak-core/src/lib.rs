//! Records, keys, windows and statistics tables: the pure core of the peak telemetry engine.
//!
//! Telemetry arrives as [`Record`]s: a time, some dimensions (severity, file type, host …, any
//! number), labels that are counted (a sample: a file hash, an event id; and blame fields: who sent
//! it), numeric measures, and a weight (a record may stand for many). Data flows one way:
//!
//! ```text
//! Source ──scan──▶ Record ──add──▶ Tally ──finish──▶ Summary ──learn──▶ Baseline
//!                                  LocalTable (LST)  Summaries          GlobalTable (GST)
//! ```
//!
//! * A *span* is any stretch of time; a *window* is a span in which records are counted.
//! * A [`Tally`] counts one key in one window; a [`LocalTable`] holds the tallies of all keys.
//! * A [`Summary`] is what is known of a finished tally: what detectors look at. [`Summaries`] are
//!   those of all keys in a window.
//! * A [`Baseline`] is the history of one key; a [`GlobalTable`] holds the baselines of all keys.
//!
//! State is sufficient statistics: sums, counts and maxima; averages and deviations are derived
//! when read, and nothing is rounded. Everything that accumulates is a commutative monoid
//! ([`Merge`]) and *exact*: any split of the input over files, threads or machines, in any order,
//! gives the same table, bit for bit. That holds for floating-point measures too, whose sums are
//! kept exactly. (Labels that are counted in bounded memory are estimates with stated errors.)
//!
//! The crate is pure: no clock, no threads, no global state, and no input or output but
//! [`snapshot`], which saves and loads a file atomically.
//!
//! ```
//! use peak_core::{LocalTable, Record, Schema, Span, Timestamp};
//! use std::sync::Arc;
//!
//! let schema = Arc::new(Schema::file_types());
//! assert_eq!(schema.dimensions(), ["task.severity", "file.llfile_type"]);
//! let day = Span::days("2020-11-01", "2020-11-02")?[0];
//! let mut table = LocalTable::new(schema, day);
//! let time = Timestamp::parse("2020-11-01T10:00:00Z")?;
//! let labels = [Some("da39a3ee"), Some("42"), Some("API")]; // the sample, a user, an origin
//! table.add(&Record::new(time, &["malicious", "PeExeFile"]).with_labels(&labels))?;
//! let found = table.finish();
//! let (key, summary) = found.iter().next().unwrap();
//! assert_eq!((key.to_string(), summary.records), ("malicious / PeExeFile".to_owned(), 1));
//! # Ok::<(), peak_core::Error>(())
//! ```

mod baseline;
mod bytes;
mod counts;
mod decode;
mod error;
mod exact;
mod grid;
mod key;
mod key_map;
mod label_moments;
mod limits;
mod live;
mod merge;
mod moments;
mod quantiles;
pub mod read;
mod record;
mod rejection;
mod report;
mod schema;
mod shown;
pub mod snapshot;
mod source;
mod summary;
mod table;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod time;

pub use baseline::{Baseline, GlobalTable, Past, PastMeasure};
pub use chrono;
pub use chrono_tz::Tz;
pub use counts::{Counts, Uncertainty};
pub use decode::Decode;
pub use error::{Error, ErrorKind, Result};
pub use exact::ExactSum;
pub use grid::{Grid, GridKind};
pub use key::Key;
pub use key_map::{KeyMap, Walk};
pub use label_moments::LabelMoments;
pub use limits::{Limits, stable_hash};
pub use live::{Live, LiveReport, Placed};
pub use merge::{Combine, Merge};
pub use moments::{CountMoments, Moments};
pub use quantiles::Quantiles;
pub use record::Record;
pub use rejection::{Place, Position, Rejection, Rule, RuleKind};
pub use report::{BadRecords, BadShare, DeadLetters, Intake, Report};
pub use schema::{Schema, SchemaBuilder};
pub use shown::shown;
pub use source::{Source, scan_into};
pub use summary::{LabelCount, LabelSummary, Summaries, Summary};
pub use table::{LocalTable, LocalTables};
pub use tally::Tally;
pub use time::{Span, TimeUnit, Timestamp, Windows};
