//! Detectors of rows, on readings.

use super::{Features, FeaturesMemory, Reading};
use crate::contract::{Detector, Explanation, MemoryOf, Persist, Refusal, Verdict};
use crate::rows::forest::{ForestMemory, IsolationForest};
use peak_core::{Error, Result, Timestamp, snapshot};
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};
use std::path::Path;

/// A detector of rows behind the features that make its rows: it judges and learns readings.
///
/// A reading without a row is refused as [`Features`] say; they learn it all the same. A detector that
/// names its evidence gets the names where it is fitted, from [`Features::names`]. In explanations what is
/// named like a feature is given in that feature's own unit: the standardisation is undone.
///
/// Fitted in one process, it is opened in another:
///
/// ```
/// use peak_core::{Key, Timestamp};
/// use peak_detectors::{Detector, Feature, Features, IsolationForest, OnFeatures, Persist, Reading};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("hosts.peak");
/// let five_minutes = Duration::from_secs(300);
/// let features = || {
///     Features::builder().metrics(["cpu", "errors"], [Feature::Value, Feature::Mean(five_minutes)]).build()
/// };
/// let host = Key::new(["web-1"]);
/// let at = |minute: i64| Timestamp::from_millis(60_000 * minute).unwrap();
/// let values: Vec<[f64; 2]> = (0..999).map(|i| [(i * 37 % 41) as f64, (i * i % 7) as f64]).collect();
/// let feed = values.iter().zip(0..).map(|(values, minute)| Reading::new(&host, at(minute), values));
///
/// let mut fitted = features()?;
/// let rows = fitted.fit(feed)?;
/// let forest = IsolationForest::builder().names(fitted.names()).fit(rows.matrix.view())?;
/// OnFeatures::new(fitted, forest).save(&path)?;
///
/// let mut service = OnFeatures::open(&path, features()?)?;
/// let verdict = service.step(&Reading::new(&host, at(999), &[40.0, 90.0]))?;
/// assert!(verdict.p_value < Some(0.01));
/// # Ok(())
/// # }
/// ```
///
/// What a program reads from the windows of a table makes readings, too:
///
/// ```
/// use peak_core::{Key, Span, Summary};
/// use peak_detectors::{Detector, OnFeatures, Reading, Refusal, Verdict};
///
/// fn judge<D: Detector<[f64]>>(
///     detector: &OnFeatures<D>,
///     (key, window, summary): (&Key, Span, &Summary),
/// ) -> Result<Verdict, Refusal> {
///     let measures = [summary.records as f64, summary.distinct() as f64];
///     detector.judge(&Reading::new(key, window.start(), &measures))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct OnFeatures<D> {
    features: Features,
    detector: D,
    /// Room for a row, which saves making it.
    row: Vec<f64>,
}

impl<D> OnFeatures<D> {
    /// The detector behind features that were fitted on the same feed.
    #[must_use]
    pub fn new(features: Features, detector: D) -> Self {
        OnFeatures { features, detector, row: Vec::new() }
    }

    /// The features.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The detector of rows.
    #[must_use]
    pub fn detector(&self) -> &D {
        &self.detector
    }

    /// The detector of rows, to change its threshold, say.
    pub fn detector_mut(&mut self) -> &mut D {
        &mut self.detector
    }

    fn row(&self, x: &Reading<'_>) -> Result<SmallVec<[f64; 32]>, Refusal> {
        let mut row = smallvec![f64::NAN; self.features.names().len()];
        self.features.features_into(x, &mut row)?;
        Ok(row)
    }

    /// Learns a reading, and does something with its row.
    fn with_row<T>(
        &mut self,
        x: &Reading<'_>,
        visit: impl FnOnce(&mut D, &[f64]) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.row.resize(self.features.names().len(), f64::NAN);
        self.features.step_into(x, &mut self.row)?;
        visit(&mut self.detector, &self.row)
    }
}

impl OnFeatures<IsolationForest> {
    /// The forest behind features that [`save`](Persist::save) wrote, where it was not fitted.
    /// `features` are built as they were there.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged or holds something else, or its features are others.
    pub fn open(path: impl AsRef<Path>, mut features: Features) -> Result<Self> {
        let memory: OnFeaturesMemory<ForestMemory> =
            snapshot::load(path.as_ref(), Self::KIND, Self::VERSION)?;
        memory.check_kind::<IsolationForest>()?;
        features.restore(memory.features)?;
        Ok(OnFeatures::new(features, memory.detector.into_forest()?))
    }
}

impl<D> OnFeatures<D> {
    /// Forgets the keys that had no reading since.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        self.features.forget_before(horizon);
    }
}

impl<D: Detector<[f64]>> Detector<Reading<'_>> for OnFeatures<D> {
    fn judge(&self, x: &Reading<'_>) -> Result<Verdict, Refusal> {
        self.detector.judge(&self.row(x)?)
    }

    fn learn(&mut self, x: &Reading<'_>) {
        // Without a row the detector has nothing to learn.
        let _ = self.with_row(x, |detector, row| {
            detector.learn(row);
            Ok(())
        });
    }

    fn step(&mut self, x: &Reading<'_>) -> Result<Verdict, Refusal> {
        self.with_row(x, D::step)
    }

    fn explain(&self, x: &Reading<'_>) -> Result<Explanation, Refusal> {
        let mut explanation = self.detector.explain(&self.row(x)?)?;
        let column = |name: &str| self.features.names().iter().position(|own| own == name);
        let unscale = |column, x: Option<f64>| x.map(|x| self.features.unscale(column, x));
        for evidence in &mut explanation.evidence {
            if let Some(column) = column(&evidence.statistic) {
                evidence.actual = self.features.unscale(column, evidence.actual);
                for x in [&mut evidence.expected, &mut evidence.lower, &mut evidence.upper] {
                    *x = unscale(column, *x);
                }
            }
        }
        let quiet = explanation.counterfactual.as_mut();
        if let Some((column, quiet)) = quiet.and_then(|quiet| Some((column(&quiet.statistic)?, quiet))) {
            (quiet.above, quiet.below) = (unscale(column, quiet.above), unscale(column, quiet.below));
        }
        Ok(explanation)
    }
}

/// What features and the detector behind them have learned.
#[derive(Debug, Clone, Deserialize)]
pub struct OnFeaturesMemory<M> {
    kind: String,
    features: FeaturesMemory,
    detector: M,
}

impl<M> OnFeaturesMemory<M> {
    fn check_kind<D: Persist>(&self) -> Result<()> {
        if self.kind == D::KIND {
            return Ok(());
        }
        let rule = format!("must be of a detector of the kind {:?}", D::KIND);
        Err(Error::invalid("memory", rule, &self.kind))
    }
}

/// In the order of the fields of [`OnFeaturesMemory`].
#[derive(Serialize)]
struct Stored<'a, F, D: Persist> {
    kind: &'static str,
    features: F,
    #[serde(bound = "")]
    detector: MemoryOf<'a, D>,
}

impl<D: Detector<[f64]> + Persist> Persist for OnFeatures<D> {
    type Memory = OnFeaturesMemory<D::Memory>;
    const KIND: &'static str = "detector on features";
    const VERSION: u16 = Features::VERSION << 8 | D::VERSION;

    fn memory(&self) -> impl Serialize {
        let detector = MemoryOf(&self.detector);
        Stored { kind: D::KIND, features: self.features.memory(), detector }
    }

    fn restore(&mut self, memory: Self::Memory) -> Result<()> {
        memory.check_kind::<D>()?;
        let OnFeaturesMemory { features, detector, .. } = memory;
        // Either both are restored or none.
        let mut restored = self.features.clone_without_keys();
        restored.restore(features)?;
        self.detector.restore(detector)?;
        self.features = restored;
        Ok(())
    }
}
