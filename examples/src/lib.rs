//! Programs that use the peak crates; each stands in `src/bin`. Below, the project's README, whose code is compiled and
//! run with the tests.
#![doc = include_str!("../../README.md")]
