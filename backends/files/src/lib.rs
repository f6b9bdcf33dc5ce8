//! What the backends that read files share: opening many inputs.
//!
//! [`Files`] is a set of inputs. It hands out one at a time, decompressed, so that a backend only
//! parses. What makes a record of the values of its fields is [`peak_core::read`].
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

pub use files::{Cut, Files, Input, Part};
