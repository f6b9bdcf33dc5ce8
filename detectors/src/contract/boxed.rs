//! Detectors of any kind, in boxes that can be cloned and saved.

use super::detector::Detector;
use super::footprint::Footprint;
use super::persist::Persist;
use peak_core::{Error, Result, snapshot};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::io::Cursor;

/// A memory that can be saved, of whatever kind; every [`Persist`] is one. It is what boxes need, since
/// `Persist` names a type.
pub trait AnyPersist {
    /// As a snapshot of its own, with its kind and version.
    ///
    /// # Errors
    /// When the memory cannot be stored.
    fn snapshot(&self) -> Result<Vec<u8>>;

    /// Replaces what was learned by that of a [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// When it is damaged, of another kind or version, or does not fit the configuration.
    fn restore_snapshot(&mut self, snapshot: &[u8]) -> Result<()>;
}

impl<D: Persist> AnyPersist for D {
    fn snapshot(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        snapshot::write(&mut bytes, D::KIND, D::VERSION, &self.memory())
            .map_err(|error| Error::io("memory", error))?;
        Ok(bytes)
    }

    fn restore_snapshot(&mut self, snapshot: &[u8]) -> Result<()> {
        self.restore(snapshot::read(Cursor::new(snapshot), "memory", D::KIND, D::VERSION)?)
    }
}

/// A detector of any kind; every [`Detector`] that can be cloned, saved and sent, and knows
/// what it takes, is one.
///
/// ```
/// use peak_core::{Key, Timestamp};
/// use peak_detectors::{AnyDetector, Fleet, Mad, Persist, Point, SigmaEnsemble};
/// use std::num::NonZeroUsize;
///
/// // Latencies are skewed; everything else is left to the ensemble.
/// let make = |key: &Key| -> Box<dyn AnyDetector<Point>> {
///     match key.values().next() {
///         Some("latency") => Box::new(Mad::double()),
///         _ => Box::new(SigmaEnsemble::default()),
///     }
/// };
/// let mut fleet = Fleet::new(make);
/// let at = |minute: i64, value: f64| Point::new(Timestamp::from_millis(60_000 * minute).unwrap(), value);
/// for minute in 0..200 {
///     let points = ["latency", "cpu"].map(|key| (Key::new([key]), at(minute, (minute * 7 % 11) as f64)));
///     fleet.step(&points, NonZeroUsize::MIN);
/// }
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("fleet.peak");
/// fleet.save(&path)?;
///
/// let mut restored = Fleet::new(make);
/// restored.load(&path)?;
/// let spike = [(Key::new(["latency"]), at(200, 90.0))];
/// assert_eq!(restored.step(&spike, NonZeroUsize::MIN), fleet.step(&spike, NonZeroUsize::MIN));
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait AnyDetector<X: ?Sized>: Detector<X> + AnyPersist + Footprint + Send + Sync {
    /// The same detector in a box of its own.
    fn clone_box(&self) -> Box<dyn AnyDetector<X>>;
}

impl<X, D> AnyDetector<X> for D
where
    X: ?Sized,
    D: Detector<X> + Persist + Footprint + Clone + Send + Sync + 'static,
{
    fn clone_box(&self) -> Box<dyn AnyDetector<X>> {
        Box::new(self.clone())
    }
}

impl<X: ?Sized> Clone for Box<dyn AnyDetector<X>> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

impl<X: ?Sized> fmt::Debug for dyn AnyDetector<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a detector in a box")
    }
}

/// What a detector in a box has learned: a snapshot within the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct BoxedMemory(Vec<u8>);

/// A memory in a box is stored as a snapshot of its own, so that its kind and version are checked when
/// it is restored. One that cannot be stored fails whatever stores the box.
impl<P: AnyPersist + ?Sized> Persist for Box<P> {
    type Memory = BoxedMemory;
    const KIND: &'static str = "box";
    const VERSION: u16 = 1;

    fn memory(&self) -> impl Serialize {
        Boxed(&**self)
    }

    fn restore(&mut self, BoxedMemory(snapshot): BoxedMemory) -> Result<()> {
        (**self).restore_snapshot(&snapshot)
    }
}

struct Boxed<'a, P: ?Sized>(&'a P);

impl<P: AnyPersist + ?Sized> Serialize for Boxed<'_, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.snapshot().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}
