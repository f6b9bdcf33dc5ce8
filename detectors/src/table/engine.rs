//! Tables and a detector, tied together: windows come in, findings go out, history is kept.

mod checkpoint;
mod found;
mod late;

pub use checkpoint::Resumed;
pub use found::{Blame, BlameShare, Found};
pub use late::{Amendment, Correction};

use crate::contract::{
    Explanation, Observation, Persist, PoolVerdict, Refusal, TableDetector, TableTold, TableWindow, Verdict,
};
use late::Late;
use peak_core::snapshot::Snapshot;
use peak_core::{
    Baseline, Error, GlobalTable, Key, Limits, LocalTable, LocalTables, Report, Result, Schema, Source, Span,
    Summaries, Summary, Timestamp, Windows, snapshot,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Judges all keys of a table window by window, and keeps their history.
///
/// A step folds the records of one window, judges every key against the past, and only then learns
/// the window. Windows come from an archive ([`run`](Self::run), [`step`](Self::step)), or are handed in
/// as they end ([`take`](Self::take)): the loop of a live feed is the program's own, see
/// [`Live`](peak_core::Live).
///
/// The history and the detector's memory live in one snapshot file, which belongs to one engine at a
/// time: it is locked from [`open`](Self::open) on.
///
/// Keys without records for as long as the [horizon](Self::with_horizon) are forgotten: by the
/// history, and by the detector, unless its rule keeps them, as
/// [`Classic`](crate::Classic::forgetting) does.
///
/// ```
/// # use peak_core::{Schema, Span, Summaries, Tz};
/// # use peak_detectors::{Classic, Engine, Peak};
/// # use std::sync::Arc;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("history.peak");
/// let detector = || Peak::classic(Classic::file_types(Tz::UTC));
/// let mut engine = Engine::open(&path, detector())?; // creates …
/// let day = Span::days("2020-11-01", "2020-11-02")?[0];
/// engine.take(Summaries::new(Arc::new(Schema::file_types()), day, [])?)?;
/// engine.save()?;
/// let history = engine.history().clone();
/// drop(engine);
///
/// let resumed = Engine::open(&path, detector())?; // … or resumes
/// assert_eq!(resumed.history(), &history);
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine<D> {
    file: Option<HistoryFile>,
    state: State<D>,
    /// The windows that are open for late records, when any are to be.
    late: Option<Late<D>>,
    /// What tables may hold.
    limits: Limits,
    /// Whether the detector's memory was not the file's.
    relearned: bool,
}

/// The engine's file, which is its own.
#[derive(Debug, Clone)]
struct HistoryFile {
    path: PathBuf,
    _lock: Arc<snapshot::Lock>,
}

/// What verdicts depend on, and what learning changes.
#[derive(Debug, Clone)]
struct State<D> {
    detector: D,
    history: GlobalTable,
}

impl<D> Engine<D>
where
    D: TableDetector + Persist + Clone,
{
    /// How far back an engine remembers unless told otherwise: six weeks.
    pub const HORIZON: Duration = Duration::from_secs(42 * 86_400);

    /// An engine without history and without a file.
    #[must_use]
    pub fn new(detector: D) -> Self {
        let state = State { detector, history: GlobalTable::new(Self::HORIZON) };
        Engine { file: None, state, late: None, limits: Limits::default(), relearned: false }
    }

    /// An engine whose history is the file's, or empty when there is no such file yet. The
    /// detector's configuration is the one given here, its memory the file's; a memory of another
    /// version is [learned anew](Self::relearned) from the history.
    ///
    /// The file is locked as long as the engine, or a clone of it, lives.
    ///
    /// # Errors
    /// When another engine has the file, in this process or another; or when it exists but cannot be
    /// read, is damaged, or holds a memory that does not fit the detector.
    pub fn open(path: impl AsRef<Path>, detector: D) -> Result<Self> {
        Self::open_with(path.as_ref(), detector).map(|(engine, _)| engine)
    }

    /// The engine, and its file if there is one.
    fn open_with(path: &Path, detector: D) -> Result<(Self, Option<Snapshot<File>>)> {
        let lock = Arc::new(snapshot::Lock::acquire(path)?);
        let mut engine = Engine::new(detector);
        let exists = path.try_exists().map_err(|error| Error::io(path.display(), error))?;
        let mut file = exists.then(|| Snapshot::open(path)).transpose()?;
        if let Some(file) = &mut file {
            engine.restore(file)?;
        }
        engine.file = Some(HistoryFile { path: path.to_owned(), _lock: lock });
        Ok((engine, file))
    }

    /// The engine with another horizon: windows that ended this long before the end of the newest
    /// are forgotten.
    #[must_use]
    pub fn with_horizon(mut self, horizon: Duration) -> Self {
        self.state.set_horizon(horizon);
        self.late.iter_mut().for_each(|late| late.set_horizon(horizon));
        self
    }

    /// The engine with limits to the tables that it counts records in and keeps open. Beyond them
    /// counts are estimated and keys counted together, and [`Step::estimated`] and [`Step::other`] say
    /// how many. The calibrated rule allows for the errors of what it reads.
    ///
    /// With limits of its own the engine counts the records itself, also those of a source whose store
    /// could. The windows that are [open for late records](Self::with_lateness) have their share of it.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Engine { limits, ..self }
    }

    /// Reads one window from the source, judges every key, then learns the window.
    ///
    /// # Errors
    /// When the source fails, its roles are not those of the history, or the window was learned
    /// already or is too old. Nothing is learned then.
    pub fn step(&mut self, source: &dyn Source, window: Span) -> Result<Step> {
        self.run(source, &window.into()).map(|mut steps| steps.swap_remove(0))
    }

    /// Steps through several windows in one pass over the source.
    ///
    /// # Errors
    /// As [`step`](Self::step), for the first window that fails; those before it are learned.
    pub fn run(&mut self, source: &dyn Source, windows: &Windows) -> Result<Vec<Step>> {
        self.run_with(source, windows, &mut |_, _| {})
    }

    /// As [`run`](Self::run), and hands every verdict to `visit`, quiet ones and refusals too: what a
    /// chart of scores, or of the actual beside the expected, is made of.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(
        &mut self,
        source: &dyn Source,
        windows: &Windows,
        visit: &mut Visit<'_>,
    ) -> Result<Vec<Step>> {
        for window in windows {
            self.state.admits(source.schema(), window)?;
        }
        let (finished, report) = if self.late.is_none() && self.limits == Limits::default() {
            closed_windows(source, windows)?
        } else {
            open_windows(source, windows, self.limits_of_tables())?
        };
        let mut step = |window| Ok(Step { report: report.clone(), ..self.advance(window, visit)? });
        finished.into_iter().map(&mut step).collect()
    }

    /// Judges, then learns, a finished window of all keys that was counted elsewhere: a [`LocalTable`]
    /// of a live feed, or merged from shards, which stays open for late records if any window does; or
    /// its [`Summaries`], which may be borrowed. Keys of the history that are not there are judged as having no records.
    ///
    /// A window that was not observed as a whole ([`LocalTable::exposure`]) is neither judged nor
    /// learned: what was not observed is not silence.
    ///
    /// # Errors
    /// When the roles are not those of the history, or the window was learned already or is too old.
    /// Nothing is learned then.
    pub fn take<'a>(&mut self, window: impl Into<Finished<'a>>) -> Result<Step> {
        self.advance(window.into(), &mut |_, _| {})
    }

    /// As [`take`](Self::take), and hands every verdict to `visit`.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_with<'a>(&mut self, window: impl Into<Finished<'a>>, visit: &mut Visit<'_>) -> Result<Step> {
        self.advance(window.into(), visit)
    }

    fn advance(&mut self, mut window: Finished<'_>, visit: &mut Visit<'_>) -> Result<Step> {
        if let (Finished::Open(table), true) = (&mut window, self.late.is_some()) {
            // What was counted elsewhere may be more than can be kept.
            table.keep_to(self.limits_of_tables())?;
        }
        let found = window.found();
        self.state.admits(found.schema(), found.span())?;
        let step = self.state.observe(&found, visit)?;
        #[cfg(feature = "tracing")]
        tracing::debug!(window = %step.window, judged = step.judged, found = step.found.len(), "judged a window");
        if let (Some(late), true) = (&mut self.late, step.exposure == 1.0) {
            drop(found);
            late.keep(window.into_owned())?;
        }
        Ok(step)
    }

    /// Why the detector would say what it says of some keys of a finished window, at this point in the
    /// history: an explanation or the detector's refusal for each, [`Refusal::Empty`] for a key that is
    /// neither in the window nor known. Nothing is learned.
    pub fn explain<'k>(
        &self,
        window: &Summaries,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Vec<Result<Explanation, Refusal>> {
        let (observed, _) = observations(&self.state.history, window);
        let place = |key: &Key| observed.binary_search_by(|x| x.key.cmp(key)).ok();
        let places: Vec<Option<usize>> = keys.into_iter().map(place).collect();
        let window = self.state.window(window, &observed);
        let judged = self.state.detector.judge(&window);
        let known: Vec<usize> = places.iter().copied().flatten().collect();
        let mut explained = self.state.detector.explain(&window, &judged, &known).into_iter();
        places
            .into_iter()
            .map(|place| place.and_then(|_| explained.next()).unwrap_or(Err(Refusal::Empty)))
            .collect()
    }

    /// Forgets the keys that are not to be kept, as if they had never been there: a tenant that has
    /// left, a person who asked for it. (What a detector has learned from all keys together stays.)
    pub fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) {
        self.state.retain(&mut keep);
        self.late.iter_mut().for_each(|late| late.retain(&mut keep));
    }

    /// Whether the detector's memory was learned anew from the history when the engine was opened,
    /// because the file held another version of it, or another detector's. It then knows what the
    /// history knows: the windows of the horizon, without the names of labels.
    #[must_use]
    pub fn relearned(&self) -> bool {
        self.relearned
    }

    /// The memory that the history and the tables of open windows take, in bytes. What the detector
    /// remembers is its own.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.state.history.memory_bytes() + self.late.as_ref().map_or(0, Late::memory_bytes)
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

    /// What the tables of one pass may hold. Those that are kept open have the same share each.
    fn limits_of_tables(&self) -> Limits {
        match (&self.late, self.limits.memory()) {
            (Some(late), Some(memory)) => self.limits.with_memory(memory / (late.windows() + 2)),
            _ => self.limits,
        }
    }
}

/// What is shown every verdict.
pub type Visit<'v> = dyn FnMut(&Observation<'_>, Result<Verdict, Refusal>) + 'v;

/// A finished window of all keys: still open for late records, or only its summaries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Finished<'a> {
    /// The tallies of the window, into which late records can be merged.
    Open(LocalTable),
    /// Its summaries: late records can enter it no more.
    Closed(Cow<'a, Summaries>),
}

impl From<LocalTable> for Finished<'_> {
    fn from(table: LocalTable) -> Self {
        Finished::Open(table)
    }
}

impl From<Summaries> for Finished<'_> {
    fn from(found: Summaries) -> Self {
        Finished::Closed(Cow::Owned(found))
    }
}

impl<'a> From<&'a Summaries> for Finished<'a> {
    fn from(found: &'a Summaries) -> Self {
        Finished::Closed(Cow::Borrowed(found))
    }
}

impl Finished<'_> {
    fn into_owned(self) -> Finished<'static> {
        match self {
            Finished::Open(table) => Finished::Open(table),
            Finished::Closed(found) => Finished::Closed(Cow::Owned(found.into_owned())),
        }
    }

    fn span(&self) -> Span {
        match self {
            Finished::Open(table) => table.span(),
            Finished::Closed(found) => found.span(),
        }
    }

    fn found(&self) -> Cow<'_, Summaries> {
        match self {
            Finished::Open(table) => Cow::Owned(table.finish()),
            Finished::Closed(found) => Cow::Borrowed(&**found),
        }
    }
}

/// The tables of each window.
fn open_windows(
    source: &dyn Source,
    windows: &Windows,
    limits: Limits,
) -> Result<(Vec<Finished<'static>>, Report)> {
    let mut tables = LocalTables::new(source.schema(), windows).with_limits(limits);
    let report = source.count(&mut tables)?;
    Ok((tables.into_tables().into_iter().map(Finished::Open).collect(), report))
}

/// The summaries of each window, also of those without records; in whatever order the source hands
/// them out, none may be lost.
fn closed_windows(source: &dyn Source, windows: &Windows) -> Result<(Vec<Finished<'static>>, Report)> {
    let mut found: Vec<Option<Summaries>> = windows.iter().map(|_| None).collect();
    let mut failure = None;
    let report = source.windows(windows, &mut |summaries| {
        let span = summaries.span();
        let place = windows.find(span.start()).filter(|&window| windows[window] == span);
        let rule = match place.map(|window| found[window].replace(summaries)) {
            Some(None) => return ControlFlow::Continue(()),
            Some(Some(_)) => "must be handed out once",
            None => "must be one that was asked for",
        };
        failure = Some(Error::invalid("window of a source", rule, span));
        ControlFlow::Break(())
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    let schema = LazyLock::new(|| Arc::new(source.schema().clone()));
    let finished = |(span, found): (Span, Option<Summaries>)| match found {
        Some(found) => Ok(found.into()),
        None => Summaries::new(Arc::clone(&schema), span, []).map(Finished::from),
    };
    Ok((windows.into_iter().zip(found).map(finished).collect::<Result<_>>()?, report))
}

impl<D> State<D>
where
    D: TableDetector + Persist,
{
    /// Judges every key of a window against the past, then learns the window.
    fn observe(&mut self, found: &Summaries, visit: &mut Visit<'_>) -> Result<Step> {
        let (observations, unknown) = observations(&self.history, found);
        let mut step = Step::of(found, &observations);
        let mut refuse = |observation: &Observation<'_>, step: &mut Step| {
            step.refuse(Refusal::NotObserved);
            visit(observation, Err(Refusal::NotObserved));
        };
        unknown.iter().for_each(|observation| refuse(observation, &mut step));
        if found.exposure() < 1.0 {
            observations.iter().for_each(|observation| refuse(observation, &mut step));
            return Ok(step);
        }
        let window = self.window(found, &observations);
        let told = self.detector.step_told(&window, &|verdict| verdict.anomalous);
        step.tell::<D>(found.schema(), &observations, told, visit);
        self.remember(found)?;
        Ok(step)
    }

    /// Learns a window without judging it.
    fn learn(&mut self, found: &Summaries) -> Result<()> {
        let (keys, _) = observations(&self.history, found);
        self.detector.learn(&self.window(found, &keys));
        self.remember(found)
    }

    /// Whether a window is the next one.
    fn admits(&self, schema: &Schema, span: Span) -> Result<()> {
        self.history.admits(schema, span)?;
        if self.newest().is_some_and(|newest| span.start() < newest) {
            // What has learned a later window would take this one for news.
            let rule = "must be newer than those that were learned; late records are for `amend`";
            return Err(Error::invalid("window", rule, span));
        }
        self.detector.admits(span)
    }

    /// The end of the newest window that was learned.
    fn newest(&self) -> Option<Timestamp> {
        self.history.learned().last().map(|span| span.end())
    }

    /// The keys of a window as they follow the history.
    fn window<'a>(&self, found: &Summaries, keys: &'a [Observation<'a>]) -> TableWindow<'a> {
        TableWindow::after(found.span(), found.exposure(), self.newest(), keys)
    }

    fn remember(&mut self, found: &Summaries) -> Result<()> {
        self.history.learn(found)?;
        self.forget();
        Ok(())
    }

    fn set_horizon(&mut self, horizon: Duration) {
        self.history.set_horizon(horizon);
        self.forget();
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.history.retain(|key, _| keep(key));
        self.detector.retain(keep);
    }

    /// Lets the detector forget what the history has forgotten.
    fn forget(&mut self) {
        if let Some(horizon) = self.history.start_of_horizon() {
            self.detector.forget_before(horizon);
        }
    }
}

static NOTHING: Baseline = Baseline::new();

/// The summaries, and empty ones for the keys of the history that have none; in order of the keys, as
/// the summaries are. Known keys are the history's own, so that who remembers them shares them.
///
/// Where keys found no room in the table, the empty ones stand apart: such a key may have had records,
/// and its silence means nothing.
fn observations<'a>(
    history: &'a GlobalTable,
    found: &'a Summaries,
) -> (Vec<Observation<'a>>, Vec<Observation<'a>>) {
    static SILENCE: LazyLock<Summary> = LazyLock::new(Summary::default);
    let span = found.span();
    let is_whole = Step::other_records(found) == 0;
    let mut observations = Vec::with_capacity(history.iter().len().max(found.len()));
    let mut unknown = Vec::new();
    let mut silent = |observations: &mut Vec<_>, (key, past)| {
        let silent = if is_whole { observations } else { &mut unknown };
        silent.push(Observation { key, span, summary: &SILENCE, past });
    };
    let mut known = history.iter().peekable();
    for (key, summary) in found.iter() {
        while let Some(known) = known.next_if(|(known, _)| *known != key && *known < key) {
            silent(&mut observations, known);
        }
        let (key, past) = known.next_if(|(known, _)| *known == key).unwrap_or((key, &NOTHING));
        observations.push(Observation { key, span, summary, past });
    }
    known.for_each(|known| silent(&mut observations, known));
    (observations, unknown)
}

/// What a step found, and what it looked at. Iterating gives what was found, strangest first.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// The window.
    pub window: Span,
    /// The part of the window that was observed, from 0 to 1. Less than 1 is neither judged nor learned.
    pub exposure: f64,
    /// What the source read, for this window and those of the same pass.
    pub report: Report,
    /// Of how many keys counts of labels are estimates, to keep to a limit of memory.
    pub estimated: u64,
    /// How many records were counted as [`Key::other`], because their keys found no room.
    pub other: u64,
    /// What happened to all keys alike, when something did.
    pub pool: Option<PoolVerdict>,
    /// How many keys got a verdict.
    pub judged: u64,
    /// How many keys got none, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// The anomalous keys, strangest first.
    pub found: Vec<Found>,
}

impl Step {
    /// Of a window in which nothing was judged yet.
    fn of(found: &Summaries, observations: &[Observation<'_>]) -> Self {
        let estimated = observations.iter().filter(|x| x.summary.is_estimate()).count() as u64;
        Step {
            window: found.span(),
            exposure: found.exposure(),
            report: Report::default(),
            estimated,
            other: Step::other_records(found),
            pool: None,
            judged: 0,
            refused: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    fn other_records(found: &Summaries) -> u64 {
        let other = found.get(&Key::other(found.schema().dimensions().len()));
        // A feed without dimensions has but one key.
        other.filter(|_| !found.schema().dimensions().is_empty()).map_or(0, |summary| summary.records)
    }

    /// Takes in what the detector has told of the keys.
    fn tell<D: Persist>(
        &mut self,
        schema: &Schema,
        keys: &[Observation<'_>],
        told: TableTold,
        visit: &mut Visit<'_>,
    ) {
        let names = LazyLock::new(|| Arc::new(found::Names::of(schema)));
        let TableTold { judged, explained } = told;
        self.pool = judged.pool;
        let mut explained = explained.into_iter().peekable();
        for (place, (x, verdict)) in keys.iter().zip(judged.verdicts).enumerate() {
            visit(x, verdict);
            let why = explained.next_if(|(explained, _)| *explained == place).map(|(_, why)| why);
            match verdict {
                Err(refusal) => self.refuse(refusal),
                Ok(verdict) => {
                    self.judged += 1;
                    if verdict.anomalous {
                        let why = why.unwrap_or(Err(Refusal::Empty));
                        self.found.push(Found::new(D::KIND, x, verdict, why, &names));
                    }
                }
            }
        }
        self.found.sort_by(|a: &Found, b: &Found| {
            b.verdict.score.total_cmp(&a.verdict.score).then_with(|| a.key.cmp(&b.key))
        });
    }

    fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal.reason()).or_default() += 1;
    }
}

impl IntoIterator for Step {
    type Item = Found;
    type IntoIter = std::vec::IntoIter<Found>;
    fn into_iter(self) -> Self::IntoIter {
        self.found.into_iter()
    }
}
