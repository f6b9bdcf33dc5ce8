//! Many things of one kind: a detector per key.

use crate::contract::{
    Detector, Explanation, Footprint, KindOf, MemoryOf, Persist, Refusal, Timed, Told, Verdict, Wanted,
};
use foldhash::quality::RandomState;
use indexmap::IndexSet;
use peak_core::{Error, Key, Result, Timestamp};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A detector per key, made by a factory when the key is first seen.
///
/// The detectors look at whatever is [`Timed`]: points of series, or rows of features at a time. They can
/// be of different kinds, in boxes: see [`AnyDetector`](crate::AnyDetector). [`PerKey`](super::PerKey)
/// makes a fleet a detector of tables.
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
    keys: IndexSet<Key, RandomState>,
    /// In the order of the keys.
    members: Vec<Member<D>>,
    room: Option<Room<D>>,
    evicted: u64,
}

#[derive(Debug, Clone)]
struct Member<D> {
    detector: D,
    newest: Timestamp,
    /// The time under which it stands in the queue of the room.
    queued: Timestamp,
    /// What it takes, where there is a room.
    bytes: usize,
}

/// What the detectors may take together.
#[derive(Clone)]
struct Room<D> {
    most: usize,
    taken: usize,
    measure: fn(&D) -> usize,
    /// Who is to go first, as of some time. Who has been seen since goes back into the queue when its
    /// turn comes, so that a step costs nothing for those that it does not touch.
    queue: BinaryHeap<Reverse<(Timestamp, Key)>>,
}

impl<D: Clone> Clone for Fleet<D> {
    fn clone(&self) -> Self {
        Fleet {
            make: Arc::clone(&self.make),
            keys: self.keys.clone(),
            members: self.members.clone(),
            room: self.room.clone(),
            evicted: self.evicted,
        }
    }
}

impl<D> fmt::Debug for Fleet<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("keys", &self.keys.len())
            .field("budget", &self.room.as_ref().map(|room| room.most))
            .finish_non_exhaustive()
    }
}

impl<D> Fleet<D> {
    /// An empty fleet.
    pub fn new(make: impl Fn(&Key) -> D + Send + Sync + 'static) -> Self {
        Fleet { make: Arc::new(make), keys: IndexSet::default(), members: Vec::new(), room: None, evicted: 0 }
    }

    /// A fleet whose detectors take at most so many bytes after each step; keys and their text are not
    /// counted.
    #[must_use]
    pub fn with_budget(mut self, bytes: usize) -> Self
    where
        D: Footprint,
    {
        self.room = Some(Room { most: bytes, taken: 0, measure: D::bytes, queue: BinaryHeap::new() });
        self.take_stock();
        self.keep_to_budget();
        self
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

    /// How many keys were forgotten for the room.
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

    /// The bytes that the detectors take.
    #[must_use]
    pub fn bytes(&self) -> usize
    where
        D: Footprint,
    {
        match &self.room {
            Some(room) => room.taken,
            None => self.members.iter().map(|member| member.detector.bytes()).sum(),
        }
    }

    /// Forgets a key, and hands out its detector.
    pub fn remove(&mut self, key: &Key) -> Option<D> {
        let (index, _) = self.keys.swap_remove_full(key)?;
        let member = self.members.swap_remove(index);
        if let Some(room) = &mut self.room {
            room.taken -= member.bytes;
        }
        Some(member.detector)
    }

    /// Forgets the keys that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &D) -> bool) {
        self.retain_members(|key, member| keep(key, &member.detector));
    }

    /// Forgets the keys of which nothing was seen since.
    pub fn forget_before(&mut self, horizon: Timestamp) {
        self.retain_members(|_, member| member.newest > horizon);
    }

    fn retain_members(&mut self, mut keep: impl FnMut(&Key, &Member<D>) -> bool) {
        let kept: Vec<bool> =
            self.keys.iter().zip(&self.members).map(|(key, member)| keep(key, member)).collect();
        if kept.iter().all(|&kept| kept) {
            return;
        }
        let (mut of_keys, mut of_members) = (kept.iter(), kept.iter());
        self.keys.retain(|_| of_keys.next().is_some_and(|&kept| kept));
        self.members.retain(|_| of_members.next().is_some_and(|&kept| kept));
        self.take_stock();
    }

    /// Brings the budget up to date with who is there.
    fn take_stock(&mut self) {
        let Some(room) = &mut self.room else { return };
        (room.taken, room.queue) = (0, BinaryHeap::new());
        for (key, member) in self.keys.iter().zip(&mut self.members) {
            (member.bytes, member.queued) = ((room.measure)(&member.detector), member.newest);
            room.taken += member.bytes;
            room.queue.push(Reverse((member.queued, key.clone())));
        }
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
        let detector = (self.make)(key);
        let mut member = Member { detector, newest: Timestamp::MIN, queued: Timestamp::MIN, bytes: 0 };
        if let Some(room) = &mut self.room {
            member.bytes = (room.measure)(&member.detector);
            room.taken += member.bytes;
            room.queue.push(Reverse((member.queued, key.clone())));
        }
        self.members.push(member);
        self.keys.insert_full(key.clone()).0
    }

    fn keep_to_budget(&mut self) {
        while self.room.as_ref().is_some_and(|room| room.taken > room.most) {
            let Some(room) = &mut self.room else { return };
            let Some(Reverse((queued, key))) = room.queue.pop() else { return };
            let member = self.keys.get_index_of(&key).map(|index| &mut self.members[index]);
            // Who was removed, and came again, stands in the queue twice.
            let Some(member) = member.filter(|member| member.queued == queued) else { continue };
            if member.newest > queued {
                member.queued = member.newest;
                room.queue.push(Reverse((member.queued, key)));
            } else {
                self.remove(&key);
                self.evicted += 1;
            }
        }
    }
}

impl<D> Fleet<D> {
    /// Judges something of a key, and leaves no trace; of a new key, as its detector would that is to be
    /// made.
    ///
    /// # Errors
    /// The detector's refusal.
    pub fn judge<X: ?Sized>(&self, key: &Key, x: &X) -> Result<Verdict, Refusal>
    where
        D: Detector<X>,
    {
        self.with(key, |detector| detector.judge(x))
    }

    /// Why [`judge`](Self::judge) says what it says.
    ///
    /// # Errors
    /// The detector's refusal.
    pub fn explain<X: ?Sized>(&self, key: &Key, x: &X) -> Result<Explanation, Refusal>
    where
        D: Detector<X>,
    {
        self.with(key, |detector| detector.explain(x))
    }

    fn with<T>(&self, key: &Key, look: impl FnOnce(&D) -> T) -> T {
        match self.get(key) {
            Some(detector) => look(detector),
            None => look(&(self.make)(key)),
        }
    }

    /// Steps through things of any keys, on so many threads. Those of a key are taken in the order in
    /// which they stand; the verdicts have the order of the things.
    pub fn step<T>(&mut self, things: &[(Key, T)], threads: NonZeroUsize) -> Vec<Result<Verdict, Refusal>>
    where
        T: Timed + Sync,
        D: Detector<T::Thing> + Send,
    {
        self.visit(things, threads, D::step)
    }

    /// As [`step`](Self::step), with explanations of the verdicts that are wanted.
    pub fn step_told<T>(
        &mut self,
        things: &[(Key, T)],
        threads: NonZeroUsize,
        wanted: &Wanted<'_>,
    ) -> Vec<Result<Told, Refusal>>
    where
        T: Timed + Sync,
        D: Detector<T::Thing> + Send,
    {
        self.visit(things, threads, |detector, x| detector.step_told(x, wanted))
    }

    /// Learns things of any keys without judging them.
    pub fn learn<T>(&mut self, things: &[(Key, T)], threads: NonZeroUsize)
    where
        T: Timed + Sync,
        D: Detector<T::Thing> + Send,
    {
        self.visit(things, threads, D::learn);
    }

    fn visit<T, R>(
        &mut self,
        things: &[(Key, T)],
        threads: NonZeroUsize,
        visit: impl Fn(&mut D, &T::Thing) -> R + Sync,
    ) -> Vec<R>
    where
        T: Timed + Sync,
        D: Send,
        R: Send,
    {
        let mut next = 0;
        let mut work: Vec<Work> = Vec::with_capacity(things.len());
        for (place, (key, _)) in things.iter().enumerate() {
            let index = self.index(key, next);
            next = index + 1;
            work.push((index, place));
        }
        let measure = self.room.as_ref().map(|room| room.measure);
        let step = |member: &mut Member<D>, place: usize, grown: &mut Grown| {
            let x = &things[place].1;
            member.newest = member.newest.max(x.time());
            let found = visit(&mut member.detector, x.thing());
            if let Some(measure) = measure {
                let bytes = measure(&member.detector);
                grown.to += bytes;
                grown.from += member.bytes;
                member.bytes = bytes;
            }
            found
        };
        let (found, grown) = visit_all(&mut self.members, work, threads, step);
        if let Some(room) = &mut self.room {
            room.taken = room.taken + grown.to - grown.from;
        }
        self.keep_to_budget();
        found
    }
}

/// The member, and the place of the thing that is for it.
type Work = (usize, usize);

/// How much members take after a step, and took before.
#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    from: usize,
    to: usize,
}

fn visit_all<M: Send, R: Send>(
    members: &mut [M],
    mut work: Vec<Work>,
    threads: NonZeroUsize,
    step: impl Fn(&mut M, usize, &mut Grown) -> R + Sync,
) -> (Vec<R>, Grown) {
    let mut grown = Grown::default();
    if threads.get() == 1 {
        let found = work.iter().map(|&(index, place)| step(&mut members[index], place, &mut grown)).collect();
        return (found, grown);
    }
    if !work.is_sorted_by_key(|work| work.0) {
        work.sort_by_key(|work| work.0);
    }
    let share = members.len().div_ceil(threads.get()).max(1);
    let results: Vec<(Vec<(usize, R)>, Grown)> = std::thread::scope(|scope| {
        let (mut rest, mut handles) = (&work[..], Vec::new());
        for (number, members) in members.chunks_mut(share).enumerate() {
            let start = number * share;
            let (own, others) = rest.split_at(rest.partition_point(|work| work.0 < start + share));
            rest = others;
            let step = &step;
            handles.push(scope.spawn(move || {
                let mut grown = Grown::default();
                let one =
                    |&(index, place): &Work| (place, step(&mut members[index - start], place, &mut grown));
                (own.iter().map(one).collect(), grown)
            }));
        }
        // A thread that panicked has passed a detector's panic on.
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut found = Vec::with_capacity(work.len());
    for (of_share, grown_there) in results {
        found.extend(of_share);
        grown = Grown { from: grown.from + grown_there.from, to: grown.to + grown_there.to };
    }
    found.sort_unstable_by_key(|found| found.0);
    (found.into_iter().map(|(_, found)| found).collect(), grown)
}

/// What a fleet has learned: per key when it was last seen, and its detector's memory.
#[derive(Deserialize)]
#[serde(bound = "D: Persist")]
pub struct FleetMemory<D: Persist> {
    #[serde(rename = "kind")]
    _kind: KindOf<D>,
    members: Vec<(Key, Timestamp, D::Memory)>,
}

/// In the order of the fields of [`FleetMemory`].
#[derive(Serialize)]
#[serde(bound = "D: Persist")]
struct Stored<'a, D: Persist> {
    kind: KindOf<D>,
    members: Members<'a, D>,
}

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

impl<D> Fleet<D> {
    /// The version of the fleet's own layout.
    const LAYOUT: u16 = 2;
}

impl<D: Persist> Persist for Fleet<D> {
    type Memory = FleetMemory<D>;
    const KIND: &'static str = "fleet";
    const VERSION: u16 = Self::LAYOUT << 8 | D::VERSION;

    fn memory(&self) -> impl Serialize {
        Stored { kind: KindOf::new(), members: Members(self) }
    }

    fn restore(&mut self, FleetMemory { members: stored, .. }: FleetMemory<D>) -> Result<()> {
        let (mut keys, mut members) = (IndexSet::default(), Vec::with_capacity(stored.len()));
        for (key, newest, memory) in stored {
            let mut detector = (self.make)(&key);
            detector.restore(memory)?;
            members.push(Member { detector, newest, queued: newest, bytes: 0 });
            if let (_, false) = keys.insert_full(key.clone()) {
                return Err(Error::invalid("fleet memory", "must have every key once", key));
            }
        }
        (self.keys, self.members) = (keys, members);
        self.take_stock();
        self.keep_to_budget();
        Ok(())
    }
}
