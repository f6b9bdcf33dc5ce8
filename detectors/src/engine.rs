//! A source, the tables and a detector, tied together.

mod found;
mod late;

pub use found::{Blame, BlameShare, Found};
pub use late::{Amendment, Correction};

use crate::{Detector, Explanation, Persist, Refusal};
use late::Late;
use peak_core::{
    Baseline, Error, GlobalTable, Key, KeyWindow, LocalTable, LocalTables, MemoryBudget, Report, Result,
    Schema, Source, Span, Window, Windows, snapshot,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
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
/// Keys without records for as long as the [horizon](Self::with_horizon) are forgotten: by the
/// history, and by the detector, unless its rule keeps them, as
/// [`Classic`](crate::Classic::forgetting) does.
///
/// ```
/// # use peak_core::{Schema, Span, Tz};
/// # use peak_detectors::{Classic, Engine, Peak};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("history.peak");
/// let detector = || Peak::classic(Classic::file_types(Tz::UTC));
/// let mut engine = Engine::open(&path, detector())?; // creates …
/// engine.observe(Span::days("2020-11-01", "2020-11-02")?[0], &Schema::file_types(), [].as_slice())?;
/// engine.save()?;
///
/// let resumed = Engine::open(&path, detector())?; // … or resumes
/// assert_eq!(resumed.history(), engine.history());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine<D> {
    path: Option<PathBuf>,
    /// The names of the dimensions of the history's keys, once it has any.
    dimensions: Option<Vec<String>>,
    state: State<D>,
    /// The windows that are open for late records, when any are to be.
    late: Option<Late<D>>,
    /// What the tables of a run may take.
    budget: Option<MemoryBudget>,
}

/// What verdicts depend on, and what learning changes.
#[derive(Debug, Clone)]
struct State<D> {
    detector: D,
    history: GlobalTable,
}

/// What a snapshot holds; borrowed to save, owned to load.
#[derive(Serialize, Deserialize)]
struct Stored<N, S, L> {
    dimensions: N,
    state: S,
    late: L,
}

impl<D> Engine<D>
where
    D: for<'a> Detector<Observation<'a>> + Persist + Clone,
{
    /// How far back an engine remembers unless told otherwise: six weeks.
    pub const HORIZON: Duration = Duration::from_secs(42 * 86_400);

    /// An engine without history and without a file.
    #[must_use]
    pub fn new(detector: D) -> Self {
        let state = State { detector, history: GlobalTable::new(Self::HORIZON) };
        Engine { path: None, dimensions: None, state, late: None, budget: None }
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
            let stored: Stored<_, StoredState<D>, Option<_>> = snapshot::load(path, D::KIND, D::VERSION)?;
            engine.dimensions = stored.dimensions;
            engine.late = stored.late.map(|late| Late::restore(late, &engine.state)).transpose()?;
            engine.state.restore(stored.state)?;
        }
        Ok(engine)
    }

    /// The engine with another horizon: windows that ended this long before the end of the newest
    /// are forgotten.
    #[must_use]
    pub fn with_horizon(mut self, horizon: Duration) -> Self {
        self.state.set_horizon(horizon);
        self.late.iter_mut().for_each(|late| late.set_horizon(horizon));
        self
    }

    /// The engine with a limit to the memory of the tables that it counts records in; none unless
    /// told. Beyond it the largest counts are estimated, and [`Step::estimated`] says of how many
    /// keys. The calibrated rule allows for the errors of what it reads.
    ///
    /// The engine then counts the records itself, also those of a source whose store could.
    #[must_use]
    pub fn with_memory(self, budget: MemoryBudget) -> Self {
        Engine { budget: Some(budget), ..self }
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
        let schema = source.schema();
        let (finished, report) = match (&self.late, self.budget) {
            (None, None) => closed_windows(source, windows)?,
            (_, budget) => open_windows(source, windows, budget)?,
        };
        let step = |window| Ok(Step { report: report.clone(), ..self.advance(schema, window)? });
        finished.into_iter().map(step).collect()
    }

    /// Judges, then learns, a finished window of all keys that was summarised elsewhere. Keys of the
    /// history that are not listed are judged as having no records.
    ///
    /// The keys come in any order, but in theirs, which is how tables finish, it is fastest.
    ///
    /// # Errors
    /// As [`step`](Self::step), and when a key is listed twice.
    pub fn observe<'a>(
        &mut self,
        window: Span,
        schema: &Schema,
        found: impl Into<Cow<'a, [KeyWindow]>>,
    ) -> Result<Step> {
        self.advance(schema, Finished::closed(window, found.into())?)
    }

    fn advance(&mut self, schema: &Schema, window: Finished<'_>) -> Result<Step> {
        self.admit(window.span(), schema)?;
        let schema = Arc::new(schema.clone());
        let step = self.state.observe(&schema, window.span(), &window.found())?;
        self.dimensions = Some(schema.dimensions().to_vec());
        if let Some(late) = &mut self.late {
            late.keep(window.into_owned())?;
        }
        Ok(step)
    }

    /// Why the detector would say what it says of a finished window of one key, at this point in the
    /// history.
    ///
    /// # Errors
    /// The detector's refusal.
    pub fn explain(&self, found: &KeyWindow) -> Result<Explanation, Refusal> {
        let KeyWindow { key, span, window } = found;
        let past = self.state.history.get(key).unwrap_or(&NOTHING);
        self.state.detector.explain(&Observation { key, span: *span, window, past })
    }

    /// Saves the history and the detector's memory to the engine's file, atomically. Without a file
    /// there is nothing to do.
    ///
    /// # Errors
    /// When the file cannot be written; it is then as it was before.
    pub fn save(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let late = self.late.as_ref().map(Late::stored);
        let stored = Stored { dimensions: &self.dimensions, state: self.state.stored(), late };
        snapshot::save(path, D::KIND, D::VERSION, &stored)
    }

    /// The global statistics table: the history of all keys.
    #[must_use]
    pub fn history(&self) -> &GlobalTable {
        &self.state.history
    }

    /// The detector.
    #[must_use]
    pub fn detector(&self) -> &D {
        &self.state.detector
    }

    /// Refuses a window that cannot be learned, before any work is done on it.
    fn admit(&self, window: Span, schema: &Schema) -> Result<()> {
        self.check_dimensions(schema)?;
        self.state.history.admits(window)
    }

    fn check_dimensions(&self, schema: &Schema) -> Result<()> {
        if let Some(known) = self.dimensions.as_ref().filter(|known| *known != schema.dimensions()) {
            let rule = format!("must be {known:?}, those of the history");
            return Err(Error::invalid("dimensions", rule, format_args!("{:?}", schema.dimensions())));
        }
        Ok(())
    }
}

/// A finished window of all keys: still open for late records, or only its summaries.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Finished<'a> {
    Open(LocalTable),
    Closed(Span, Cow<'a, [KeyWindow]>),
}

impl<'a> Finished<'a> {
    /// The summaries, in order of their keys.
    fn closed(span: Span, mut found: Cow<'a, [KeyWindow]>) -> Result<Self> {
        if !found.is_sorted_by(|a, b| a.key < b.key) {
            found.to_mut().sort_unstable_by(|a, b| a.key.cmp(&b.key));
            if let Some(pair) = found.windows(2).find(|pair| pair[0].key == pair[1].key) {
                return Err(Error::invalid("keys of a window", "must be different", &pair[0].key));
            }
        }
        Ok(Finished::Closed(span, found))
    }

    fn span(&self) -> Span {
        match self {
            Finished::Open(table) => table.span(),
            Finished::Closed(span, _) => *span,
        }
    }

    fn found(&self) -> Cow<'_, [KeyWindow]> {
        match self {
            Finished::Open(table) => table.finish().into(),
            Finished::Closed(_, found) => Cow::Borrowed(found),
        }
    }

    fn into_owned(self) -> Finished<'static> {
        match self {
            Finished::Open(table) => Finished::Open(table),
            Finished::Closed(span, found) => Finished::Closed(span, found.into_owned().into()),
        }
    }
}

/// The tables of each window.
fn open_windows(
    source: &dyn Source,
    windows: &Windows,
    budget: Option<MemoryBudget>,
) -> Result<(Vec<Finished<'static>>, Report)> {
    let mut tables = LocalTables::new(windows);
    if let Some(budget) = budget {
        tables = tables.with_budget(budget);
    }
    let report = source.count(&mut tables)?;
    Ok((tables.into_tables().into_iter().map(Finished::Open).collect(), report))
}

/// The summaries of each window, also of those without records.
fn closed_windows(source: &dyn Source, windows: &Windows) -> Result<(Vec<Finished<'static>>, Report)> {
    let mut found = Vec::new();
    let report = source.windows(windows, &mut |window| {
        found.push(window);
        ControlFlow::Continue(())
    })?;
    let mut found = found.into_iter().peekable();
    let finished = |window| {
        let of_window = std::iter::from_fn(|| found.next_if(|next| next.span == window));
        Finished::closed(window, of_window.collect())
    };
    Ok((windows.iter().copied().map(finished).collect::<Result<_>>()?, report))
}

/// The stored form of a [`State`].
type StoredState<D> = (GlobalTable, <D as Persist>::Memory);

impl<D> State<D>
where
    D: for<'a> Detector<Observation<'a>> + Persist,
{
    /// Judges every key of a window against the past, then learns the window.
    fn observe(&mut self, schema: &Arc<Schema>, window: Span, found: &[KeyWindow]) -> Result<Step> {
        let observations = observations(&self.history, window, found);
        let step = judge(&self.detector, window, &observations, schema);
        self.detector.learn_all(&observations);
        self.remember(window, found)?;
        Ok(step)
    }

    /// Learns a window without judging it.
    fn learn(&mut self, window: Span, found: &[KeyWindow]) -> Result<()> {
        self.detector.learn_all(&observations(&self.history, window, found));
        self.remember(window, found)
    }

    fn remember(&mut self, window: Span, found: &[KeyWindow]) -> Result<()> {
        self.history.learn(window, found)?;
        self.forget();
        Ok(())
    }

    fn set_horizon(&mut self, horizon: Duration) {
        self.history.set_horizon(horizon);
        self.forget();
    }

    /// Lets the detector forget what the history has forgotten.
    fn forget(&mut self) {
        if let Some(horizon) = self.history.start_of_horizon() {
            self.detector.forget_before(horizon);
        }
    }

    fn stored(&self) -> (&GlobalTable, impl Serialize) {
        (&self.history, self.detector.memory())
    }

    fn restore(&mut self, (history, memory): StoredState<D>) -> Result<()> {
        self.history = history;
        self.detector.restore(memory)
    }
}

static NOTHING: Baseline = Baseline::new();

/// The windows, and empty ones for the keys of the history that have none; in order of the keys, as
/// the windows are. Known keys are the history's own, so that who remembers them shares them.
fn observations<'a>(history: &'a GlobalTable, span: Span, found: &'a [KeyWindow]) -> Vec<Observation<'a>> {
    static SILENCE: LazyLock<Window> = LazyLock::new(Window::default);
    let mut observations = Vec::with_capacity(history.iter().len().max(found.len()));
    let mut known = history.iter().peekable();
    for KeyWindow { key, window, .. } in found {
        while let Some((key, past)) = known.next_if(|(known, _)| *known != key && *known < key) {
            observations.push(Observation { key, span, window: &SILENCE, past });
        }
        let (key, past) = known.next_if(|(known, _)| *known == key).unwrap_or((key, &NOTHING));
        observations.push(Observation { key, span, window, past });
    }
    observations.extend(known.map(|(key, past)| Observation { key, span, window: &SILENCE, past }));
    observations
}

fn judge<'a, D>(detector: &D, window: Span, observations: &[Observation<'a>], schema: &Arc<Schema>) -> Step
where
    D: Detector<Observation<'a>>,
{
    let (mut judged, mut refused, mut found) = (0, BTreeMap::new(), Vec::new());
    for (observation, verdict) in observations.iter().zip(detector.judge_all(observations)) {
        match verdict {
            Err(refusal) => *refused.entry(refusal.reason()).or_default() += 1,
            Ok(verdict) => {
                judged += 1;
                if verdict.anomalous {
                    found.extend(Found::explain(detector, observation, verdict, schema));
                }
            }
        }
    }
    found.sort_by(|a: &Found, b: &Found| {
        b.verdict.score.total_cmp(&a.verdict.score).then_with(|| a.key.cmp(&b.key))
    });
    let is_estimate = |x: &&Observation<'_>| x.window.uncertainty.is_some();
    let estimated = observations.iter().filter(is_estimate).count() as u64;
    Step { window, report: Report::default(), estimated, judged, refused, found }
}

/// What a step found, and what it looked at. Iterating gives what was found, strangest first.
#[derive(Debug, Clone)]
pub struct Step {
    /// The window.
    pub window: Span,
    /// What the source read, for this window and those of the same pass.
    pub report: Report,
    /// Of how many keys the counts of samples are estimates, to keep to a memory budget.
    pub estimated: u64,
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
