//! Late records: windows that were judged and learned already are amended, and judged anew.
//!
//! The engine keeps the tables of its newest windows, and the state from before the oldest of them.
//! Amending merges the late records into the tables and replays the windows from that state, so the
//! result is, bit for bit, what it would have been had the records come in time.

use super::{Engine, Finished, Found, State, Step};
use crate::contract::{Persist, TableDetector};
use peak_core::{
    GlobalTable, Key, LocalTable, LocalTables, Report, Result, Schema, Source, Span, Timestamp, Windows,
};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Duration;

/// The windows that can be amended, and the state before them.
#[derive(Debug, Clone)]
pub(super) struct Late<D> {
    /// The most windows that are kept.
    windows: usize,
    before: State<D>,
    kept: VecDeque<Finished<'static>>,
}

/// The stored form of a [`Late`] but for the detector's memory; borrowed to save, owned to load.
pub(super) type StoredLate<H, K> = (usize, H, K);

impl<D> Late<D>
where
    D: TableDetector + Persist + Clone,
{
    /// Keeps so many windows from now on.
    fn new(windows: usize, now: &State<D>) -> Self {
        Late { windows, before: now.clone(), kept: VecDeque::new() }
    }

    pub(super) fn windows(&self) -> usize {
        self.windows
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
                self.before.learn(&oldest.found())?;
            }
        }
        Ok(())
    }

    /// Steps through the kept windows from the state before them.
    fn replay(&self) -> Result<(State<D>, Vec<Step>)> {
        let mut state = self.before.clone();
        let steps = self.kept.iter().map(|window| state.observe(&window.found(), &mut |_, _| {}));
        let steps = steps.collect::<Result<_>>()?;
        Ok((state, steps))
    }

    /// Empty tables for the windows that late records can enter.
    fn open_tables(&self, schema: &Schema) -> Result<LocalTables> {
        let open = self.kept.iter().filter(|window| matches!(window, Finished::Open(_)));
        Ok(LocalTables::new(schema, &Windows::new(open.map(Finished::span).collect())?))
    }

    fn open(&mut self, span: Span) -> Option<&mut LocalTable> {
        self.kept.iter_mut().find_map(|kept| match kept {
            Finished::Open(kept) => (kept.span() == span).then_some(kept),
            Finished::Closed(_) => None,
        })
    }

    pub(super) fn set_horizon(&mut self, horizon: Duration) {
        self.before.set_horizon(horizon);
    }

    pub(super) fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.before.retain(keep);
        for kept in &mut self.kept {
            match kept {
                Finished::Open(table) => table.retain(&mut *keep),
                Finished::Closed(found) => found.to_mut().retain(&mut *keep),
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let table = |kept: &Finished<'_>| match kept {
            Finished::Open(table) => table.memory_bytes(),
            Finished::Closed(found) => found.memory_bytes(),
        };
        self.before.history.memory_bytes() + self.kept.iter().map(table).sum::<usize>()
    }

    pub(super) fn before(&self) -> &State<D> {
        &self.before
    }

    pub(super) fn stored(&self) -> StoredLate<&GlobalTable, &VecDeque<Finished<'static>>> {
        (self.windows, &self.before.history, &self.kept)
    }

    /// From what was stored, and a state whose detector remembers what it did before the windows.
    pub(super) fn restore(
        (windows, history, kept): StoredLate<GlobalTable, VecDeque<Finished<'static>>>,
        mut before: State<D>,
    ) -> Result<Self> {
        before.history = history;
        Ok(Late { windows, before, kept })
    }
}

/// What late records changed.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Amendment {
    /// What the source read, when there was one.
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
#[non_exhaustive]
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
    D: TableDetector + Persist + Clone,
{
    /// The engine with its newest `windows` open for late records; none unless told.
    ///
    /// It then keeps their tables and the state from before them, which takes twice the memory and
    /// learns everything twice. Only windows whose tables the engine has can be amended, not those of
    /// which it was given the summaries.
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
    /// When the source fails or its roles are not those of the history. Nothing is amended then.
    pub fn amend(&mut self, source: &dyn Source) -> Result<Amendment> {
        let schema = source.schema();
        let tables = self.late.as_ref().map(|late| late.open_tables(schema)).transpose()?;
        let mut tables = tables.unwrap_or_else(|| LocalTables::new(schema, &Windows::default()));
        tables = tables.with_limits(self.limits_of_tables());
        let learned = self.end_of_learned();
        let (mut too_late, mut too_early, mut failure) = (0, 0, None);
        let report = source.scan(Span::ALWAYS, &mut |record| {
            match tables.add(record) {
                Ok(true) => {}
                Ok(false) if learned.is_some_and(|end| record.time < end) => too_late += record.weight,
                Ok(false) => too_early += record.weight,
                Err(error) => {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let amendment = self.amend_tables(tables.into_tables())?;
        Ok(Amendment { report, too_late, too_early, ..amendment })
    }

    /// Takes tables of late records into the windows they belong to, as [`amend`](Self::amend) does:
    /// those of [`Live::take_late`](peak_core::Live::take_late), say. Each holds the late records only.
    ///
    /// # Errors
    /// When their roles are not those of the history. Nothing is amended then.
    pub fn amend_tables(&mut self, tables: impl IntoIterator<Item = LocalTable>) -> Result<Amendment> {
        let mut amendment = Amendment::default();
        let (learned, limits) = (self.end_of_learned(), self.limits_of_tables());
        let schema = self.state.history.schema();
        let tables: Vec<LocalTable> = tables.into_iter().filter(|table| table.iter().len() > 0).collect();
        for table in &tables {
            schema.iter().try_for_each(|known| known.check_same(table.schema()))?;
        }
        let Some(late) = &mut self.late else {
            for table in &tables {
                amendment.leave_out(table, learned);
            }
            return Ok(amendment);
        };
        let mut before = None;
        for table in tables {
            if late.open(table.span()).is_none() {
                amendment.leave_out(&table, learned);
                continue;
            }
            if before.is_none() {
                before = Some(late.replay()?.1);
            }
            amendment.merged = amendment.merged.saturating_add(records(&table));
            if let Some(open) = late.open(table.span()) {
                open.merge(table)?;
                open.keep_to(limits)?;
            }
        }
        if let Some(before) = before {
            let (state, after) = late.replay()?;
            self.state = state;
            amendment.corrections = differences(before, after);
        }
        Ok(amendment)
    }

    fn end_of_learned(&self) -> Option<Timestamp> {
        self.state.history.learned().iter().map(|span| span.end()).max()
    }
}

impl Amendment {
    /// Counts the records of a table that no open window takes in.
    fn leave_out(&mut self, table: &LocalTable, learned: Option<Timestamp>) {
        let is_late = learned.is_some_and(|end| table.span().start() < end);
        let count = if is_late { &mut self.too_late } else { &mut self.too_early };
        *count = count.saturating_add(records(table));
    }
}

fn records(table: &LocalTable) -> u64 {
    table.iter().map(|(_, tally)| tally.records()).fold(0, u64::saturating_add)
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
            .is_some_and(|(a, b)| a.summary == b.summary && a.verdict == b.verdict);
        (!same).then_some(Correction { span: place.0, key: place.1, before, after })
    };
    places.into_iter().filter_map(correction).collect()
}
