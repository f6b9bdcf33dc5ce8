//! What a detector takes.

/// A detector that knows what it takes.
pub trait Footprint {
    /// The bytes it takes, those on the heap included.
    fn bytes(&self) -> usize;
}
