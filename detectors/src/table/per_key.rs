//! Many series: one detector per key.

use crate::contract::{Detector, Footprint, MemoryOf, Persist, Refusal, Verdict};
use crate::series::Point;
use foldhash::fast::RandomState;
use indexmap::IndexSet;
use peak_core::{Error, Key, Result, Summaries, Summary, Timestamp};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A detector per key, made by a factory when the key is first seen.
///
/// With a budget, the keys that have been silent for longest are forgotten first, of several the
/// smallest; what is forgotten does not depend on threads. Threads are an argument: none are started
/// unless asked for, and verdicts do not depend on how many there are.
///
/// ```
/// use peak_core::{Key, Timestamp};
/// use peak_detectors::{Fleet, Point, SigmaEnsemble};
/// use std::num::NonZeroUsize;
///
/// let prototype = SigmaEnsemble::default().with_window(288)?; // clones share its configuration
/// let mut fleet = Fleet::new(move |_| prototype.clone()).with_budget(64 << 20);
/// for minute in 0..200 {
///     let time = Timestamp::from_millis(minute * 60_000)?;
///     let points: Vec<_> = ["a", "b"]
///         .map(|host| (Key::new([host]), Point::new(time, (minute % 5) as f64)))
///         .to_vec();
///     let verdicts = fleet.step(&points, NonZeroUsize::MIN);
///     assert_eq!(verdicts.len(), points.len());
/// }
/// assert_eq!(fleet.len(), 2);
/// # Ok::<(), peak_core::Error>(())
/// ```
pub struct Fleet<D> {
    make: Arc<dyn Fn(&Key) -> D + Send + Sync>,
    budget: Option<usize>,
    keys: IndexSet<Key, RandomState>,
    /// In the order of the keys.
    members: Vec<Member<D>>,
    evicted: u64,
}

#[derive(Debug, Clone)]
struct Member<D> {
    detector: D,
    newest: Timestamp,
}

impl<D: Clone> Clone for Fleet<D> {
    fn clone(&self) -> Self {
        Fleet {
            make: Arc::clone(&self.make),
            budget: self.budget,
            keys: self.keys.clone(),
            members: self.members.clone(),
            evicted: self.evicted,
        }
    }
}

impl<D> fmt::Debug for Fleet<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("keys", &self.keys.len())
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

type Judged = Result<Verdict, Refusal>;

/// A point to step through: the member, the place in the input, the point.
type Work<'a> = (usize, usize, &'a Point);

impl<D: Detector<Point>> Fleet<D> {
    /// An empty fleet.
    pub fn new(make: impl Fn(&Key) -> D + Send + Sync + 'static) -> Self {
        Fleet {
            make: Arc::new(make),
            budget: None,
            keys: IndexSet::default(),
            members: Vec::new(),
            evicted: 0,
        }
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many keys were forgotten for the budget.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The detector of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&D> {
        Some(&self.members[self.keys.get_index_of(key)?].detector)
    }

    /// The keys and their detectors.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &D)> {
        self.keys.iter().zip(self.members.iter().map(|member| &member.detector))
    }

    /// The place of a key. Keys mostly come in the order of the last time, so that `guess` is worth a
    /// look.
    fn index(&mut self, key: &Key, guess: usize) -> usize {
        if self.keys.get_index(guess) == Some(key) {
            return guess;
        }
        if let Some(index) = self.keys.get_index_of(key) {
            return index;
        }
        self.members.push(Member { detector: (self.make)(key), newest: Timestamp::MIN });
        self.keys.insert_full(key.clone()).0
    }
}

impl<D: Detector<Point> + Footprint + Send> Fleet<D> {
    /// A fleet that takes at most so many bytes after each step; keys and their text are not counted.
    #[must_use]
    pub fn with_budget(mut self, bytes: usize) -> Self {
        self.budget = Some(bytes);
        self
    }

    /// The bytes that the detectors take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.members.iter().map(|member| member.detector.bytes()).sum()
    }

    /// Steps through points of any keys, on so many threads. The points of a key are taken in the order
    /// in which they stand; the verdicts have the order of the points.
    pub fn step(&mut self, points: &[(Key, Point)], threads: NonZeroUsize) -> Vec<Judged> {
        let mut next = 0;
        let mut place = |(key, point): &(Key, Point)| {
            let index = self.index(key, next);
            next = index + 1;
            (index, *point)
        };
        let points: Vec<(usize, Point)> = points.iter().map(&mut place).collect();
        let work = points.iter().enumerate().map(|(place, (index, point))| (*index, place, point));
        let judged = step_all(&mut self.members, work.collect(), threads);
        self.keep_to_budget();
        judged
    }

    /// Steps through the keys of a window: what `measure` reads from them becomes a point of the
    /// key's series, at the start of the window.
    pub fn step_windows(
        &mut self,
        window: &Summaries,
        measure: impl Fn(&Summary) -> f64,
        threads: NonZeroUsize,
    ) -> Vec<Judged> {
        let point = |summary: &Summary| Point::new(window.span().start(), measure(summary));
        let points: Vec<(Key, Point)> =
            window.iter().map(|(key, summary)| (key.clone(), point(summary))).collect();
        self.step(&points, threads)
    }

    fn keep_to_budget(&mut self) {
        let Some(budget) = self.budget else { return };
        let mut bytes = self.bytes();
        if bytes <= budget {
            return;
        }
        let mut oldest: Vec<(Timestamp, Key)> =
            self.members.iter().zip(&self.keys).map(|(member, key)| (member.newest, key.clone())).collect();
        oldest.sort_unstable();
        for (_, key) in oldest {
            if bytes <= budget {
                break;
            }
            if let Some((index, _)) = self.keys.swap_remove_full(&key) {
                bytes -= self.members.swap_remove(index).detector.bytes();
                self.evicted += 1;
            }
        }
    }
}

fn step_all<D: Detector<Point> + Send>(
    members: &mut [Member<D>],
    mut work: Vec<Work<'_>>,
    threads: NonZeroUsize,
) -> Vec<Judged> {
    if threads.get() == 1 {
        return work.iter().map(|&(index, _, point)| members[index].step(point)).collect();
    }
    if !work.is_sorted_by_key(|work| work.0) {
        work.sort_by_key(|work| work.0);
    }
    let mut judged: Vec<Judged> = vec![Err(Refusal::Empty); work.len()];
    let share = members.len().div_ceil(threads.get()).max(1);
    let results: Vec<Vec<(usize, Judged)>> = std::thread::scope(|scope| {
        let (mut rest, mut handles) = (work.as_slice(), Vec::new());
        for (shard, members) in members.chunks_mut(share).enumerate() {
            let start = shard * share;
            let (own, others) = rest.split_at(rest.partition_point(|work| work.0 < start + share));
            rest = others;
            let step = move || {
                let step = |&(index, place, point): &Work<'_>| (place, members[index - start].step(point));
                own.iter().map(step).collect::<Vec<_>>()
            };
            handles.push(scope.spawn(step));
        }
        // A thread that panicked has passed a detector's panic on.
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    for (place, verdict) in results.into_iter().flatten() {
        judged[place] = verdict;
    }
    judged
}

impl<D: Detector<Point>> Member<D> {
    #[inline]
    fn step(&mut self, point: &Point) -> Judged {
        self.newest = self.newest.max(point.time);
        self.detector.step(point)
    }
}

/// A fleet in its stored form: per key when it was last seen, and its detector's memory.
pub type FleetMemory<D> = Vec<(Key, Timestamp, <D as Persist>::Memory)>;

struct Members<'a, D>(&'a Fleet<D>);

impl<D: Persist> Serialize for Members<'_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_seq(Some(self.0.members.len()))?;
        for (key, member) in self.0.keys.iter().zip(&self.0.members) {
            members.serialize_element(&(key, member.newest, MemoryOf(&member.detector)))?;
        }
        members.end()
    }
}

impl<D: Detector<Point> + Persist> Persist for Fleet<D> {
    type Memory = FleetMemory<D>;
    const KIND: &'static str = "fleet";
    const VERSION: u16 = D::VERSION;

    fn memory(&self) -> impl Serialize {
        Members(self)
    }

    fn restore(&mut self, memory: FleetMemory<D>) -> Result<()> {
        let (mut keys, mut members) = (IndexSet::default(), Vec::with_capacity(memory.len()));
        for (key, newest, memory) in memory {
            let mut detector = (self.make)(&key);
            detector.restore(memory)?;
            members.push(Member { detector, newest });
            if let (_, false) = keys.insert_full(key.clone()) {
                return Err(Error::invalid("fleet memory", "must have every key once", key));
            }
        }
        (self.keys, self.members) = (keys, members);
        Ok(())
    }
}
