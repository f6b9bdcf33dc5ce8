//! Benchmarks and experiments of the peak crates; see `benches/` beside this folder.
