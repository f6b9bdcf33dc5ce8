//! Programs that use the peak crates; each stands in `src/bin`.

/// The project's README: its code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
