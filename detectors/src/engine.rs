//! A source, the tables and a detector, tied together.

use crate::{Detector, Explanation, Persist, Verdict};
use peak_core::{
    Baseline, Error, GlobalTable, Key, KeyWindow, Report, Result, Schema, Share, Source, Span, Window,
    Windows, snapshot,
};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a table detector looks at: one key in one finished window, beside the key's past.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The dimension values.
    pub key: &'a Key,
    /// The window.
    pub span: Span,
    /// Its summary; without events for a key of the past that has no records in the window.
    pub window: &'a Window,
    /// The key's history before the window.
    pub past: &'a Baseline,
}

/// Judges all keys of a table window by window, and keeps their history.
///
/// A step folds the records of one window, judges every key against the past, and only then learns
/// the window. The history and the detector's memory live in one snapshot file.
///
/// ```
/// # use peak_core::{Schema, Span, Tz};
/// # use peak_detectors::{Classic, Engine, Peak};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("history.peak");
/// let detector = || Peak::classic(Classic::file_types(Tz::UTC));
/// let mut engine = Engine::open(&path, detector())?; // creates …
/// engine.observe(Span::days("2020-11-01", "2020-11-02")?[0], &Schema::file_types(), vec![])?;
/// engine.save()?;
///
/// let resumed = Engine::open(&path, detector())?; // … or resumes
/// assert_eq!(resumed.history(), engine.history());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Engine<D> {
    path: Option<PathBuf>,
    detector: D,
    /// The names of the dimensions of the history's keys, once it has any.
    dimensions: Option<Vec<String>>,
    history: GlobalTable,
}

/// What a snapshot holds.
#[derive(Serialize, Deserialize)]
struct Stored<G, M> {
    dimensions: Option<Vec<String>>,
    history: G,
    memory: M,
}

impl<D> Engine<D>
where
    D: for<'a> Detector<Observation<'a>> + Persist,
{
    /// How far back an engine remembers unless told otherwise: six weeks.
    pub const HORIZON: Duration = Duration::from_secs(42 * 86_400);

    /// An engine without history and without a file.
    #[must_use]
    pub fn new(detector: D) -> Self {
        Engine { path: None, detector, dimensions: None, history: GlobalTable::new(Self::HORIZON) }
    }

    /// An engine whose history is the file's, or empty when there is no such file yet. The
    /// detector's configuration is the one given here, its memory the file's.
    ///
    /// # Errors
    /// When the file exists but cannot be read, is damaged, or holds another detector's memory.
    pub fn open(path: impl AsRef<Path>, detector: D) -> Result<Self> {
        let path = path.as_ref();
        let mut engine = Engine { path: Some(path.to_owned()), ..Engine::new(detector) };
        if path.try_exists().map_err(|error| Error::io(path.display(), error))? {
            let stored: Stored<GlobalTable, D::Memory> = snapshot::load(path, D::KIND, D::VERSION)?;
            engine.dimensions = stored.dimensions;
            engine.history = stored.history;
            engine.detector.restore(stored.memory)?;
        }
        Ok(engine)
    }

    /// The engine with another horizon: windows that ended this long before the end of the newest
    /// are forgotten.
    #[must_use]
    pub fn with_horizon(mut self, horizon: Duration) -> Self {
        self.history.set_horizon(horizon);
        self
    }

    /// Reads one window from the source, judges every key, then learns the window.
    ///
    /// # Errors
    /// When the source fails, its dimensions are not those of the history, or the window was learned
    /// already or is too old. Nothing is learned then.
    pub fn step(&mut self, source: &dyn Source, window: Span) -> Result<Step> {
        self.run(source, &window.into()).map(|mut steps| steps.swap_remove(0))
    }

    /// Steps through several windows in one pass over the source.
    ///
    /// # Errors
    /// As [`step`](Self::step), for the first window that fails; those before it are learned.
    pub fn run(&mut self, source: &dyn Source, windows: &Windows) -> Result<Vec<Step>> {
        for &window in windows.iter() {
            self.admit(window, source.schema())?;
        }
        let mut found = Vec::new();
        let report = source.windows(windows, &mut |window| found.push(window))?;
        let mut found = found.into_iter().peekable();
        let step = |&window: &Span| {
            let of_window = std::iter::from_fn(|| found.next_if(|next| next.span == window)).collect();
            self.observe(window, source.schema(), of_window)
                .map(|step| Step { report: report.clone(), ..step })
        };
        windows.iter().map(step).collect()
    }

    /// Judges, then learns, a finished window of all keys that was summarised elsewhere. Keys of the
    /// history that are not listed are judged as having no records.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn observe(&mut self, window: Span, schema: &Schema, mut found: Vec<KeyWindow>) -> Result<Step> {
        self.admit(window, schema)?;
        self.add_silent_keys(window, &mut found);

        let nothing = Baseline::default();
        let observations: Vec<Observation<'_>> = found
            .iter()
            .map(|KeyWindow { key, window: summary, .. }| Observation {
                key,
                span: window,
                window: summary,
                past: self.history.get(key).unwrap_or(&nothing),
            })
            .collect();
        let schema = Arc::new(schema.clone());
        let mut step = Step {
            window,
            report: Report::default(),
            judged: 0,
            refused: BTreeMap::new(),
            found: Vec::new(),
        };
        for (observation, judged) in observations.iter().zip(self.detector.judge_all(&observations)) {
            match judged {
                Err(refusal) => *step.refused.entry(refusal.reason()).or_default() += 1,
                Ok(verdict) => {
                    step.judged += 1;
                    if verdict.anomalous {
                        step.found.extend(Found::explain(&self.detector, observation, verdict, &schema));
                    }
                }
            }
        }
        step.found
            .sort_by(|a, b| b.verdict.score.total_cmp(&a.verdict.score).then_with(|| a.key.cmp(&b.key)));

        self.detector.learn_all(&observations);
        self.history.learn(window, &found)?;
        self.dimensions = Some(schema.dimensions().to_vec());
        Ok(step)
    }

    /// Saves the history and the detector's memory to the engine's file, atomically. Without a file
    /// there is nothing to do.
    ///
    /// # Errors
    /// When the file cannot be written; it is then as it was before.
    pub fn save(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let stored = Stored {
            dimensions: self.dimensions.clone(),
            history: &self.history,
            memory: self.detector.memory(),
        };
        snapshot::save(path, D::KIND, D::VERSION, &stored)
    }

    /// The global statistics table: the history of all keys.
    #[must_use]
    pub fn history(&self) -> &GlobalTable {
        &self.history
    }

    /// The detector.
    #[must_use]
    pub fn detector(&self) -> &D {
        &self.detector
    }

    /// Refuses a window that cannot be learned, before any work is done on it.
    fn admit(&self, window: Span, schema: &Schema) -> Result<()> {
        if let Some(known) = self.dimensions.as_ref().filter(|known| *known != schema.dimensions()) {
            let rule = format!("must be {known:?}, those of the history");
            return Err(Error::invalid("dimensions", rule, format_args!("{:?}", schema.dimensions())));
        }
        self.history.admits(window)
    }

    /// Adds the keys of the history that have no records in the window.
    fn add_silent_keys(&self, span: Span, found: &mut Vec<KeyWindow>) {
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let silent = |key: &Key| found.binary_search_by(|window| window.key.cmp(key)).is_err();
        let silent: Vec<Key> =
            self.history.iter().map(|(key, _)| key).filter(|key| silent(key)).cloned().collect();
        found.extend(silent.into_iter().map(|key| KeyWindow { key, span, window: Window::default() }));
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    }
}

/// What a step found, and what it looked at. Iterating gives what was found, strangest first.
#[derive(Debug, Clone)]
pub struct Step {
    /// The window.
    pub window: Span,
    /// What the source read, for this window and those of the same pass.
    pub report: Report,
    /// How many keys got a verdict.
    pub judged: u64,
    /// How many keys got none, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// The anomalous keys, strangest first.
    pub found: Vec<Found>,
}

impl IntoIterator for Step {
    type Item = Found;
    type IntoIter = std::vec::IntoIter<Found>;
    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}

/// An anomalous key: what, how strange, why, who, and what would have been normal.
#[derive(Debug, Clone)]
pub struct Found {
    /// The dimension values.
    pub key: Key,
    /// When.
    pub span: Span,
    /// The window's summary, with the top samples and the top senders.
    pub window: Window,
    /// How strange.
    pub verdict: Verdict,
    /// Why.
    pub explanation: Explanation,
    /// The names of the fields.
    pub schema: Arc<Schema>,
}

impl Found {
    fn explain<'a, D>(
        detector: &D,
        x: &Observation<'a>,
        verdict: Verdict,
        schema: &Arc<Schema>,
    ) -> Option<Self>
    where
        D: Detector<Observation<'a>>,
    {
        let explanation = detector.explain(x).ok()?;
        let (key, window, schema) = (x.key.clone(), x.window.clone(), Arc::clone(schema));
        Some(Found { key, span: x.span, window, verdict, explanation, schema })
    }

    /// The names of the dimensions and the key's values.
    pub fn dimensions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.schema.dimensions().iter().map(String::as_str).zip(self.key.values())
    }

    /// Per field that names who or what is behind the records, sample first, its most frequent
    /// values with their shares of the records, from 0 to 1.
    pub fn blame(&self) -> impl Iterator<Item = (&str, Vec<(&Share, f64)>)> {
        let samples = self.schema.sample().map(|field| (field, &self.window.top_samples));
        let senders = self.schema.blame().iter().map(String::as_str).zip(&self.window.top_blame);
        samples.into_iter().chain(senders).map(|(field, top)| (field, self.shares(top)))
    }

    fn shares<'a>(&self, top: &'a [Share]) -> Vec<(&'a Share, f64)> {
        let events = self.window.events as f64;
        top.iter().map(|share| (share, share.count as f64 / events)).collect()
    }
}

/// One line of what, when and why, and one line per field of who.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { events, .. } = self.window;
        let samples = self.window.distinct();
        write!(
            f,
            "{}: {events} records of {samples} samples from {}: {}",
            self.key, self.span, self.explanation
        )?;
        for (field, top) in self.blame() {
            write!(f, "\n  {field}:")?;
            for (share, part) in top {
                write!(f, " {} {:.0}%", share.label, 100.0 * part)?;
            }
        }
        Ok(())
    }
}

/// One JSON object: start, end, key, records, samples, max, verdict, explanation, blame.
impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Part<'a> {
            value: &'a str,
            records: u64,
            share: f64,
        }
        let blame: BTreeMap<&str, Vec<Part<'_>>> = self
            .blame()
            .map(|(field, top)| {
                let parts =
                    top.into_iter().map(|(s, share)| Part { value: &s.label, records: s.count, share });
                (field, parts.collect())
            })
            .collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("start", &self.span.start().to_string())?;
        map.serialize_entry("end", &self.span.end().to_string())?;
        map.serialize_entry("key", &self.dimensions().collect::<BTreeMap<_, _>>())?;
        map.serialize_entry("records", &self.window.events)?;
        map.serialize_entry("samples", &self.window.distinct())?;
        map.serialize_entry("max", &self.window.samples.max())?;
        map.serialize_entry("verdict", &self.verdict)?;
        map.serialize_entry("explanation", &self.explanation)?;
        map.serialize_entry("blame", &blame)?;
        map.end()
    }
}
