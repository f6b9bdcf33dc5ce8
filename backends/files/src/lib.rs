//! What the backends that read files share: opening many inputs, and making records of field values.
//!
//! [`Files`] is a set of inputs. It hands out one at a time, decompressed, so that a backend only
//! parses. [`read_record`] turns the values of one record into what the engine takes, and names the
//! field and the rule when it cannot.
//!
//! ```
//! use peak_files::Files;
//! use std::io::Read;
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("b.txt"), "second")?;
//! std::fs::write(folder.path().join("a.txt"), "first, ")?;
//!
//! let mut text = String::new();
//! for input in Files::glob(&format!("{}/*.txt", folder.path().display()))?.open() {
//!     input?.read_to_string(&mut text)?;
//! }
//! assert_eq!(text, "first, second");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod files;
mod pattern;
mod record;

pub use files::{Cut, Files, Input, Part};
pub use record::{Rule, Value, read_record};
