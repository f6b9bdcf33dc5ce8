//! What a detector takes.

/// A detector that knows what it takes.
pub trait Footprint {
    /// The bytes it takes, those on the heap included. What has nothing on the heap need not say more.
    fn bytes(&self) -> usize {
        size_of_val(self)
    }
}

impl<D: Footprint + ?Sized> Footprint for Box<D> {
    fn bytes(&self) -> usize {
        size_of::<Self>() + (**self).bytes()
    }
}
