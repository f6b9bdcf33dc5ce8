//! Late records: windows that were judged and learned already are amended, and judged anew.
//!
//! The engine keeps the tables of its newest windows, and the state from before the oldest of them.
//! Amending merges the late records into the tables and replays the windows from that state, so the
//! result is, bit for bit, what it would have been had the records come in time.

use super::{Engine, Finished, Found, Observation, State, Step, StoredState};
use crate::{Detector, Persist};
use peak_core::{Key, LocalTables, Report, Result, Schema, Source, Span, Windows};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// The windows that can be amended, and the state before them.
#[derive(Debug, Clone)]
pub(super) struct Late<D> {
    /// The most windows that are kept.
    windows: usize,
    before: State<D>,
    kept: VecDeque<Finished<'static>>,
}

/// The stored form of a [`Late`]; borrowed to save, owned to load.
pub(super) type StoredLate<S, K> = (usize, S, K);

impl<D> Late<D>
where
    D: for<'a> Detector<Observation<'a>> + Persist + Clone,
{
    /// Keeps so many windows from now on.
    fn new(windows: usize, now: &State<D>) -> Self {
        Late { windows, before: now.clone(), kept: VecDeque::new() }
    }

    /// Keeps a window that was learned, and lets go of the oldest.
    pub(super) fn keep(&mut self, window: Finished<'static>) -> Result<()> {
        self.kept.push_back(window);
        self.keep_at_most(self.windows)
    }

    fn keep_at_most(&mut self, windows: usize) -> Result<()> {
        self.windows = windows;
        while self.kept.len() > windows {
            if let Some(oldest) = self.kept.pop_front() {
                self.before.learn(oldest.span(), &oldest.found())?;
            }
        }
        Ok(())
    }

    /// Steps through the kept windows from the state before them.
    fn replay(&self, schema: &Arc<Schema>) -> Result<(State<D>, Vec<Step>)> {
        let mut state = self.before.clone();
        let steps = self.kept.iter().map(|window| state.observe(schema, window.span(), &window.found()));
        let steps = steps.collect::<Result<_>>()?;
        Ok((state, steps))
    }

    /// Empty tables for the windows that late records can enter.
    fn open_tables(&self) -> Result<LocalTables> {
        let open = self.kept.iter().filter(|window| matches!(window, Finished::Open(_)));
        Ok(LocalTables::new(&Windows::new(open.map(Finished::span).collect())?))
    }

    fn merge(&mut self, tables: LocalTables) -> Result<()> {
        for table in tables.into_tables() {
            let open = self.kept.iter_mut().find_map(|kept| match kept {
                Finished::Open(kept) => (kept.span() == table.span()).then_some(kept),
                Finished::Closed(..) => None,
            });
            if let Some(open) = open {
                open.merge(table)?;
            }
        }
        Ok(())
    }

    pub(super) fn set_horizon(&mut self, horizon: Duration) {
        self.before.set_horizon(horizon);
    }

    pub(super) fn stored(&self) -> StoredLate<impl Serialize, &VecDeque<Finished<'static>>> {
        (self.windows, self.before.stored(), &self.kept)
    }

    pub(super) fn restore(
        (windows, before, kept): StoredLate<StoredState<D>, VecDeque<Finished<'static>>>,
        now: &State<D>,
    ) -> Result<Self> {
        let mut late = Late { windows, before: now.clone(), kept };
        late.before.restore(before)?;
        Ok(late)
    }
}

/// What late records changed.
#[derive(Debug, Clone)]
pub struct Amendment {
    /// What the source read.
    pub report: Report,
    /// Records that were taken into windows learned before.
    pub merged: u64,
    /// Records of windows that can no longer be amended.
    pub too_late: u64,
    /// Records of windows that were not learned yet; they belong into a step.
    pub too_early: u64,
    /// The findings that changed, in order of windows and keys.
    pub corrections: Vec<Correction>,
}

/// A finding that late records changed.
#[derive(Debug, Clone, Serialize)]
pub struct Correction {
    /// The window.
    pub span: Span,
    /// The key.
    pub key: Key,
    /// What had been found; `None` when the key was not anomalous.
    pub before: Option<Found>,
    /// What is found now; `None` when the finding is withdrawn.
    pub after: Option<Found>,
}

impl<D> Engine<D>
where
    D: for<'a> Detector<Observation<'a>> + Persist + Clone,
{
    /// The engine with its newest `windows` open for late records; none unless told.
    ///
    /// It then keeps their tables and the state from before them, which takes twice the memory and
    /// learns everything twice. Only windows that the engine reads itself can be amended, not those
    /// it [observes](Self::observe).
    ///
    /// # Errors
    /// When windows that were open cannot be learned for good.
    pub fn with_lateness(mut self, windows: usize) -> Result<Self> {
        self.late = match self.late.take() {
            _ if windows == 0 => None,
            None => Some(Late::new(windows, &self.state)),
            Some(mut late) => {
                late.keep_at_most(windows)?;
                Some(late)
            }
        };
        Ok(self)
    }

    /// Takes late records into the windows they belong to, and judges anew what depends on them.
    ///
    /// The source holds the late records only. The engine is then, bit for bit, as if they had come
    /// in time.
    ///
    /// # Errors
    /// When the source fails or its dimensions are not those of the history. Nothing is amended then.
    pub fn amend(&mut self, source: &dyn Source) -> Result<Amendment> {
        self.check_dimensions(source.schema())?;
        let mut tables = self.late.as_ref().map(Late::open_tables).transpose()?.unwrap_or_default();
        let learned = self.state.history.learned().iter().map(|span| span.end()).max();
        let (mut merged, mut too_late, mut too_early) = (0, 0, 0);
        let report = source.scan(Span::ALWAYS, &mut |record| {
            let place = if tables.add(record) {
                &mut merged
            } else if learned.is_some_and(|end| record.time < end) {
                &mut too_late
            } else {
                &mut too_early
            };
            *place += 1;
            ControlFlow::Continue(())
        })?;

        let mut corrections = Vec::new();
        if let (Some(late), true) = (&mut self.late, merged > 0) {
            let schema = Arc::new(source.schema().clone());
            let (_, before) = late.replay(&schema)?;
            late.merge(tables)?;
            let (state, after) = late.replay(&schema)?;
            self.state = state;
            corrections = differences(before, after);
        }
        Ok(Amendment { report, merged, too_late, too_early, corrections })
    }
}

/// The findings that are not the same in both.
fn differences(before: Vec<Step>, after: Vec<Step>) -> Vec<Correction> {
    let by_place = |steps: Vec<Step>| -> BTreeMap<(Span, Key), Found> {
        steps.into_iter().flatten().map(|found| ((found.span, found.key.clone()), found)).collect()
    };
    let (mut before, mut after) = (by_place(before), by_place(after));
    let mut places: Vec<(Span, Key)> = before.keys().chain(after.keys()).cloned().collect();
    places.sort_unstable();
    places.dedup();
    let correction = |place: (Span, Key)| {
        let (before, after) = (before.remove(&place), after.remove(&place));
        let same = before
            .as_ref()
            .zip(after.as_ref())
            .is_some_and(|(a, b)| a.window == b.window && a.verdict == b.verdict);
        (!same).then_some(Correction { span: place.0, key: place.1, before, after })
    };
    places.into_iter().filter_map(correction).collect()
}
