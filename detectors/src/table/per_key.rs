//! Any detector of one thing as a detector of tables.

use super::fleet::Fleet;
use crate::contract::{
    Detector, Explanation, Judged, Observation, Persist, Refusal, TableDetector, TableTold, TableWindow,
    Timed, Verdict, Wanted,
};
use peak_core::{Key, Result, Timestamp};
use serde::Serialize;
use std::fmt;
use std::num::NonZeroUsize;

/// Any detector of one thing as a detector of tables, one per key: a [`Fleet`], and what it is to look at.
///
/// `look` makes of a key in a window a [`Point`](crate::Point), or a time with a row of features. A key
/// without records is looked at like any other, as long as it has a detector; it gets none as long as it
/// has no records.
///
/// ```
/// use peak_core::{Key, Schema, Span, Summaries, Summary};
/// use peak_detectors::{Engine, Fleet, Mad, Observation, PerKey, Point};
/// use std::sync::Arc;
///
/// let records = |x: &Observation<'_>| Point::new(x.span.start(), x.summary.records as f64);
/// let mut engine = Engine::new(PerKey::new(Fleet::new(|_| Mad::default()), records));
/// let schema = Arc::new(Schema::builder().time("time").dimensions(["host"]).build()?);
/// for (i, hour) in Span::days("2020-11-01", "2020-12-15")?.into_iter().enumerate() {
///     let counts = [("a", 100 + i * 7 % 13), ("b", if i == 40 { 900 } else { 20 + i * 5 % 7 })];
///     let rows = counts.map(|(host, records)| (Key::new([host]), Summary::new(records as u64)));
///     let step = engine.take(Summaries::new(Arc::clone(&schema), hour, rows)?)?;
///     let found: Vec<String> = step.found.iter().map(|found| found.key.to_string()).collect();
///     assert_eq!(found, if i == 40 { vec!["b"] } else { vec![] });
/// }
/// # Ok::<(), peak_core::Error>(())
/// ```
pub struct PerKey<D, F> {
    fleet: Fleet<D>,
    look: F,
    threads: NonZeroUsize,
}

impl<D: Clone, F: Clone> Clone for PerKey<D, F> {
    fn clone(&self) -> Self {
        PerKey { fleet: self.fleet.clone(), look: self.look.clone(), threads: self.threads }
    }
}

impl<D, F> fmt::Debug for PerKey<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerKey").field(&self.fleet).finish()
    }
}

impl<D, F> PerKey<D, F> {
    /// A fleet that looks at the keys of a table in this way.
    pub fn new<T>(fleet: Fleet<D>, look: F) -> Self
    where
        T: Timed,
        D: Detector<T::Thing>,
        F: Fn(&Observation<'_>) -> T,
    {
        PerKey { fleet, look, threads: NonZeroUsize::MIN }
    }

    /// On so many threads; verdicts do not depend on how many there are.
    #[must_use]
    pub fn with_threads(self, threads: NonZeroUsize) -> Self {
        PerKey { threads, ..self }
    }

    /// The detectors.
    #[must_use]
    pub fn fleet(&self) -> &Fleet<D> {
        &self.fleet
    }

    /// The detectors, to change them.
    pub fn fleet_mut(&mut self) -> &mut Fleet<D> {
        &mut self.fleet
    }

    /// Whether there is something to look at: a key without records does not come into being.
    fn concerns(&self, x: &Observation<'_>) -> bool {
        x.summary.records > 0 || self.fleet.get(x.key).is_some()
    }
}

impl<T, D, F> TableDetector for PerKey<D, F>
where
    T: Timed + Sync,
    D: Detector<T::Thing> + Send,
    F: Fn(&Observation<'_>) -> T,
{
    fn judge(&self, window: &TableWindow<'_>) -> Judged {
        let judge = |x: &Observation<'_>| match self.concerns(x) {
            true => self.fleet.judge(x.key, (self.look)(x).thing()),
            false => Err(Refusal::Empty),
        };
        Judged::new(window.keys.iter().map(judge).collect())
    }

    fn learn(&mut self, window: &TableWindow<'_>) {
        let things = window.keys.iter().filter(|x| self.concerns(x));
        let things: Vec<(Key, T)> = things.map(|x| (x.key.clone(), (self.look)(x))).collect();
        self.fleet.learn(&things, self.threads);
    }

    fn explain(
        &self,
        window: &TableWindow<'_>,
        _: &Judged,
        places: &[usize],
    ) -> Vec<Result<Explanation, Refusal>> {
        let explain = |&place: &usize| match window.keys.get(place).filter(|x| self.concerns(x)) {
            Some(x) => self.fleet.explain(x.key, (self.look)(x).thing()),
            None => Err(Refusal::Empty),
        };
        places.iter().map(explain).collect()
    }

    fn step_told(&mut self, window: &TableWindow<'_>, wanted: &Wanted<'_>) -> TableTold {
        let mut verdicts: Vec<Result<Verdict, Refusal>> = vec![Err(Refusal::Empty); window.keys.len()];
        let places: Vec<usize> =
            (0..window.keys.len()).filter(|&place| self.concerns(&window.keys[place])).collect();
        let things = places.iter().map(|&place| &window.keys[place]);
        let things: Vec<(Key, T)> = things.map(|x| (x.key.clone(), (self.look)(x))).collect();
        let mut explained = Vec::new();
        for (place, told) in places.into_iter().zip(self.fleet.step_told(&things, self.threads, wanted)) {
            verdicts[place] = told.map(|told| {
                explained.extend(told.explanation.map(|explanation| (place, explanation)));
                told.verdict
            });
        }
        TableTold::new(Judged::new(verdicts), explained)
    }

    fn forget_before(&mut self, horizon: Timestamp) {
        self.fleet.forget_before(horizon);
    }

    fn retain(&mut self, keep: &mut dyn FnMut(&Key) -> bool) {
        self.fleet.retain(|key, _| keep(key));
    }
}

/// As its fleet.
impl<D: Persist, F> Persist for PerKey<D, F> {
    type Memory = <Fleet<D> as Persist>::Memory;
    const KIND: &'static str = Fleet::<D>::KIND;
    const VERSION: u16 = Fleet::<D>::VERSION;

    fn memory(&self) -> impl Serialize {
        self.fleet.memory()
    }

    fn restore(&mut self, memory: Self::Memory) -> Result<()> {
        self.fleet.restore(memory)
    }
}
