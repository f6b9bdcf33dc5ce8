//! Any detector on any input.

use super::detector::{Detector, Told, Wanted};
use super::explanation::Explanation;
use super::footprint::Footprint;
use super::persist::Persist;
use super::verdict::{Refusal, Verdict};
use peak_core::Result;
use serde::Serialize;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

/// A detector that looks at something else through a closure; made by [`Detector::on`].
pub struct On<D, F, X: ?Sized> {
    detector: D,
    look: F,
    looks_at: PhantomData<fn(&X)>,
}

impl<D, F, X: ?Sized> On<D, F, X> {
    pub(crate) fn new(detector: D, look: F) -> Self {
        On { detector, look, looks_at: PhantomData }
    }

    /// The detector itself.
    #[must_use]
    pub fn detector(&self) -> &D {
        &self.detector
    }

    /// The detector itself, to change it.
    pub fn detector_mut(&mut self) -> &mut D {
        &mut self.detector
    }
}

impl<D: Clone, F: Clone, X: ?Sized> Clone for On<D, F, X> {
    fn clone(&self) -> Self {
        On::new(self.detector.clone(), self.look.clone())
    }
}

impl<D: fmt::Debug, F, X: ?Sized> fmt::Debug for On<D, F, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("On").field(&self.detector).finish()
    }
}

impl<W, X, R, D, F> Detector<W> for On<D, F, X>
where
    W: ?Sized,
    X: ?Sized,
    R: Borrow<X>,
    D: Detector<X>,
    F: Fn(&W) -> R,
{
    fn judge(&self, x: &W) -> Result<Verdict, Refusal> {
        self.detector.judge((self.look)(x).borrow())
    }

    fn learn(&mut self, x: &W) {
        self.detector.learn((self.look)(x).borrow());
    }

    fn step(&mut self, x: &W) -> Result<Verdict, Refusal> {
        self.detector.step((self.look)(x).borrow())
    }

    fn explain(&self, x: &W) -> Result<Explanation, Refusal> {
        self.detector.explain((self.look)(x).borrow())
    }

    fn step_told(&mut self, x: &W, wanted: &Wanted<'_>) -> Result<Told, Refusal> {
        self.detector.step_told((self.look)(x).borrow(), wanted)
    }
}

impl<D: Footprint, F, X: ?Sized> Footprint for On<D, F, X> {
    fn bytes(&self) -> usize {
        size_of::<Self>() - size_of::<D>() + self.detector.bytes()
    }
}

impl<D: Persist, F, X: ?Sized> Persist for On<D, F, X> {
    type Memory = D::Memory;
    const KIND: &'static str = D::KIND;
    const VERSION: u16 = D::VERSION;

    fn memory(&self) -> impl Serialize {
        self.detector.memory()
    }

    fn restore(&mut self, memory: D::Memory) -> Result<()> {
        self.detector.restore(memory)
    }
}
