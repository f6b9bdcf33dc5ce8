//! Memories that can be saved.

use peak_core::{Result, shown, snapshot};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::path::Path;

/// A detector whose memory can be saved, and restored under the program's own configuration: the
/// configuration is the program's, the memory is the file's.
///
/// ```
/// use peak_core::Timestamp;
/// use peak_detectors::{Detector, Mad, Persist, Point};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("latency.peak");
/// let at = |minute: i64, value: f64| Point::new(Timestamp::from_millis(60_000 * minute).unwrap(), value);
/// let mut mad = Mad::default();
/// (0..300).for_each(|i| mad.learn(&at(i, (i * 37 % 41) as f64)));
/// mad.save(&path)?;
///
/// let mut restored = Mad::default(); // in another process, say
/// restored.load(&path)?;
/// assert_eq!(restored.step(&at(300, 99.0)), mad.step(&at(300, 99.0)));
/// # Ok::<(), peak_core::Error>(())
/// ```
pub trait Persist {
    /// What is restored. The next outputs are then the same bits as of the detector that was saved.
    type Memory: DeserializeOwned;

    /// Names the kind of memory in a snapshot.
    const KIND: &'static str;

    /// The version of the memory's layout.
    const VERSION: u16;

    /// What was learned so far, in the stored form of [`Memory`](Self::Memory).
    fn memory(&self) -> impl Serialize;

    /// Replaces what was learned.
    ///
    /// # Errors
    /// When the memory does not fit the configuration.
    fn restore(&mut self, memory: Self::Memory) -> Result<()>;

    /// Saves what was learned, as [`snapshot::save`] does.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        snapshot::save(path.as_ref(), Self::KIND, Self::VERSION, &self.memory())
    }

    /// Replaces what was learned by what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged, or its memory is another detector's or does not fit
    /// the configuration. Nothing changes then.
    fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.restore(snapshot::load(path.as_ref(), Self::KIND, Self::VERSION)?)
    }
}

/// Stores a detector's memory in the place where it stands.
pub(crate) struct MemoryOf<'a, D>(pub(crate) &'a D);

impl<D: Persist> Serialize for MemoryOf<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.memory().serialize(serializer)
    }
}

/// The kind of a detector whose memory stands within another: stored by its name, and refused when it is
/// another one before anything of it is read.
pub(crate) struct KindOf<D>(PhantomData<fn() -> D>);

impl<D> KindOf<D> {
    pub(crate) fn new() -> Self {
        KindOf(PhantomData)
    }
}

impl<D: Persist> Serialize for KindOf<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        D::KIND.serialize(serializer)
    }
}

impl<'de, D: Persist> Deserialize<'de> for KindOf<D> {
    fn deserialize<S: Deserializer<'de>>(deserializer: S) -> std::result::Result<Self, S::Error> {
        let kind = Cow::<str>::deserialize(deserializer)?;
        if kind != D::KIND {
            let (wanted, kind) = (D::KIND, shown(&kind));
            return Err(S::Error::custom(format_args!(
                "must be of a detector of the kind {wanted}, got {kind}"
            )));
        }
        Ok(KindOf::new())
    }
}
