//! Maps of keys, kept in the order of the keys.

use crate::Key;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::mem;

/// What is remembered of each key, in the order of the keys.
///
/// A window comes in the order of its keys, too, so it goes through the map in one walk: the next
/// key of the window is, as a rule, the next key of the map, and often the very same allocation. No
/// key is hashed, and as a rule none is searched. New keys are added by a single merge a window.
///
/// It is stored as a map; in formats for people, many of which know no keys but text, as a list of
/// pairs.
///
/// ```
/// use peak_core::{Key, KeyMap};
///
/// let keys = ["a", "b", "c"].map(|value| Key::new([value]));
/// let mut counts: KeyMap<u32> = keys[..2].iter().cloned().map(|key| (key, 1)).collect();
/// counts.update(keys.iter().map(|key| (key, 10)), |count, more| match count {
///     Some(count) => {
///         *count += more;
///         None
///     }
///     None => Some(more),
/// });
/// assert_eq!(counts.iter().map(|(_, &count)| count).collect::<Vec<_>>(), [11, 11, 10]);
/// let mut walk = counts.walk();
/// assert_eq!(keys.each_ref().map(|key| walk.find(key)), [Some(&11), Some(&11), Some(&10)]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMap<T> {
    /// In ascending order.
    keys: Vec<Key>,
    /// As many as there are keys.
    values: Vec<T>,
}

impl<T> Default for KeyMap<T> {
    fn default() -> Self {
        KeyMap::new()
    }
}

impl<T> KeyMap<T> {
    /// A map without keys.
    #[must_use]
    pub const fn new() -> Self {
        KeyMap { keys: Vec::new(), values: Vec::new() }
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What is remembered of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&T> {
        self.keys.binary_search(key).ok().map(|at| &self.values[at])
    }

    /// The keys and what is remembered of them, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &T)> {
        self.keys.iter().zip(&self.values)
    }

    /// What is remembered, in the order of the keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.values.iter()
    }

    /// The keys whose first values are these, and what is remembered of them, in the order of the keys.
    /// They are found in two searches.
    ///
    /// ```
    /// use peak_core::{Key, KeyMap};
    ///
    /// let keys = [["bad", "exe"], ["bad", "zip"], ["good", "exe"]].map(Key::new);
    /// let map: KeyMap<usize> = keys.into_iter().zip(0..).collect();
    /// assert_eq!(map.starting_with(&["bad"]).map(|(_, &at)| at).collect::<Vec<_>>(), [0, 1]);
    /// assert_eq!(map.starting_with(&[]).len(), 3);
    /// ```
    pub fn starting_with(&self, first: &[&str]) -> impl ExactSizeIterator<Item = (&Key, &T)> {
        let start = self.keys.partition_point(|key| key.cmp_start(first) == Ordering::Less);
        let rest = &self.keys[start..];
        let end = start + rest.partition_point(|key| key.cmp_start(first) == Ordering::Equal);
        self.keys[start..end].iter().zip(&self.values[start..end])
    }

    /// The memory that the map takes on the heap, in bytes: the room for keys and values, and the texts
    /// of long keys, though others may share them. What the values hold elsewhere is the caller's to
    /// add, as in `map.memory_bytes() + map.values().map(heap_bytes).sum::<usize>()`.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<Key>()
            + self.values.capacity() * size_of::<T>()
            + self.keys.iter().map(Key::heap_bytes).sum::<usize>()
    }

    /// Looks up many keys, which is fast when they come in their order.
    #[must_use]
    pub fn walk(&self) -> Walk<'_, T> {
        Walk { map: self, next: 0 }
    }

    /// Visits what is remembered of each of these keys, which is fast when they come in their order.
    /// What a visit returns is what shall be remembered of a new key; of a known one it is dropped.
    /// When a new key comes twice, the later one counts.
    pub fn update<'a, X>(
        &mut self,
        items: impl IntoIterator<Item = (&'a Key, X)>,
        mut visit: impl FnMut(Option<&mut T>, X) -> Option<T>,
    ) {
        let (mut next, mut new) = (0, Vec::new());
        for (key, item) in items {
            match place(&self.keys, key, next) {
                Ok(at) => {
                    drop(visit(Some(&mut self.values[at]), item));
                    next = at + 1;
                }
                Err(at) => {
                    new.extend(visit(None, item).map(|value| (key.clone(), value)));
                    next = at;
                }
            }
        }
        self.add(new);
    }

    /// Keeps the keys of which `keep` says so, and forgets the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&Key, &mut T) -> bool) {
        let mut entries = self.keys.iter().zip(&mut self.values);
        let Some(first) = entries.position(|(key, value)| !keep(key, value)) else { return };
        let mut kept = first;
        for at in first + 1..self.keys.len() {
            if keep(&self.keys[at], &mut self.values[at]) {
                self.keys.swap(kept, at);
                self.values.swap(kept, at);
                kept += 1;
            }
        }
        self.keys.truncate(kept);
        self.values.truncate(kept);
    }

    /// Forgets one key, and returns what was remembered of it. Those behind it move; to forget many,
    /// [`retain`](Self::retain) the others.
    pub fn remove(&mut self, key: &Key) -> Option<T> {
        let at = self.keys.binary_search(key).ok()?;
        self.keys.remove(at);
        Some(self.values.remove(at))
    }

    /// Adds keys that are not in the map.
    fn add(&mut self, mut new: Vec<(Key, T)>) {
        if !new.is_sorted_by(|(a, _), (b, _)| a < b) {
            new.sort_by(|(a, _), (b, _)| a.cmp(b));
            // Of equal keys the last one stays.
            new.reverse();
            new.dedup_by(|(a, _), (b, _)| a == b);
            new.reverse();
        }
        let Some((first, _)) = new.first() else { return };
        let from = self.keys.partition_point(|key| key < first);
        // A table that is full at once does not double; one that grows by single keys still grows by a
        // sixteenth at a time.
        let room = new.len().max(self.keys.len() / 16);
        if self.keys.capacity() - self.keys.len() < new.len() {
            self.keys.reserve_exact(room);
            self.values.reserve_exact(room);
        }
        // Forward and in place: what gives way to a new key waits for the next place.
        let (mut new, mut waiting, mut at) = (VecDeque::from(new), VecDeque::new(), from);
        loop {
            let old = waiting.front().map(|(key, _)| key).or(self.keys.get(at));
            let is_new = new.front().is_some_and(|(key, _)| old.is_none_or(|old| key < old));
            match if is_new { new.pop_front() } else { waiting.pop_front() } {
                Some((key, value)) if at < self.keys.len() => {
                    let key = mem::replace(&mut self.keys[at], key);
                    waiting.push_back((key, mem::replace(&mut self.values[at], value)));
                }
                Some((key, value)) => {
                    self.keys.push(key);
                    self.values.push(value);
                }
                None if new.is_empty() => return,
                None => {}
            }
            at += 1;
        }
    }

    /// Lets the map's keys share their text with equal ones of these, which are then told equal at a
    /// glance. Fast when they come in their order.
    pub fn share<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        let mut next = 0;
        for key in keys {
            next = match place(&self.keys, key, next) {
                Ok(at) => {
                    if !self.keys[at].is_same(key) {
                        self.keys[at] = key.clone();
                    }
                    at + 1
                }
                Err(at) => at,
            };
        }
    }
}

/// Where a key is, or where it would have to be; as a rule it is the next one.
fn place(keys: &[Key], key: &Key, next: usize) -> Result<usize, usize> {
    match keys.get(next) {
        Some(expected) if expected == key => return Ok(next),
        Some(expected) if expected < key => {}
        _ if next == 0 || keys[next - 1] < *key => return Err(next),
        _ => return keys[..next].binary_search(key),
    }
    // Somewhere behind, in steps that double.
    let (mut low, mut step) = (next + 1, 1);
    while keys.get(low + step).is_some_and(|passed| passed < key) {
        low += step + 1;
        step *= 2;
    }
    let high = keys.len().min(low + step + 1);
    keys[low..high].binary_search(key).map(|at| low + at).map_err(|at| low + at)
}

/// A walk through a [`KeyMap`].
#[derive(Debug)]
pub struct Walk<'a, T> {
    map: &'a KeyMap<T>,
    next: usize,
}

impl<'a, T> Walk<'a, T> {
    /// What is remembered of a key. Any key can be asked for; the next one is found fastest.
    pub fn find(&mut self, key: &Key) -> Option<&'a T> {
        match place(&self.map.keys, key, self.next) {
            Ok(at) => {
                self.next = at + 1;
                Some(&self.map.values[at])
            }
            Err(at) => {
                self.next = at;
                None
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for KeyMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Of equal keys, the last one stays.
impl<T> FromIterator<(Key, T)> for KeyMap<T> {
    fn from_iter<I: IntoIterator<Item = (Key, T)>>(entries: I) -> Self {
        let mut map = KeyMap::new();
        map.add(entries.into_iter().collect());
        map
    }
}

impl<T: Serialize> Serialize for KeyMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.iter())
        } else {
            serializer.collect_map(self.iter())
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for KeyMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = InOrder(PhantomData);
        if deserializer.is_human_readable() {
            // What serde has put aside to find out its kind claims to be for people, whatever it is.
            deserializer.deserialize_any(entries)
        } else {
            deserializer.deserialize_map(entries)
        }
    }
}

/// Takes in the entries one by one, and refuses those out of order.
struct InOrder<T>(PhantomData<T>);

impl<T> InOrder<T> {
    fn collect<E: Error>(mut next: impl FnMut() -> Result<Option<(Key, T)>, E>) -> Result<KeyMap<T>, E> {
        let mut map = KeyMap::new();
        while let Some((key, value)) = next()? {
            if map.keys.last().is_some_and(|last| last >= &key) {
                return Err(E::custom(format_args!("key {key:?} is out of order")));
            }
            map.keys.push(key);
            map.values.push(value);
        }
        map.keys.shrink_to_fit();
        map.values.shrink_to_fit();
        Ok(map)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = KeyMap<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys in ascending order, and their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<KeyMap<T>, A::Error> {
        Self::collect(|| entries.next_entry())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<KeyMap<T>, A::Error> {
        Self::collect(|| entries.next_element())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(i: u8) -> Key {
        Key::new([(i / 16).to_string(), (i % 16).to_string()])
    }

    /// Several windows, in any order, whose keys may come twice.
    fn windows() -> impl Strategy<Value = Vec<Vec<(u8, u32)>>> {
        let entries = prop::collection::vec((any::<u8>(), 0..9u32), 0..40);
        let window = (entries, any::<bool>()).prop_map(|(mut entries, is_sorted)| {
            if is_sorted {
                entries.sort_unstable_by_key(|&(i, _)| key(i));
            }
            entries
        });
        prop::collection::vec(window, 0..8)
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_tree(windows in windows(), gone in 0..9u32) {
            let (mut map, mut tree) = (KeyMap::new(), BTreeMap::new());
            for window in &windows {
                let known: Vec<bool> = window.iter().map(|&(i, _)| tree.contains_key(&key(i))).collect();
                let keyed: Vec<(Key, u32)> = window.iter().map(|&(i, n)| (key(i), n)).collect();
                map.update(keyed.iter().map(|(key, n)| (key, n)), |sum, &n| {
                    let Some(sum) = sum else { return Some(n) };
                    *sum += n;
                    None
                });
                for ((key, n), known) in keyed.into_iter().zip(known) {
                    // A new key that comes twice counts once.
                    tree.entry(key).and_modify(|sum| *sum = if known { *sum + n } else { n }).or_insert(n);
                }
                prop_assert!(map.iter().eq(&tree));
                let others: Vec<Key> = window.iter().map(|&(i, _)| key(i)).collect();
                map.share(&others);
                prop_assert!(map.iter().eq(&tree));
                let mut walk = map.walk();
                for &(i, _) in window.iter().chain(&windows[0]) {
                    prop_assert_eq!(walk.find(&key(i)), tree.get(&key(i)));
                    prop_assert_eq!(map.get(&key(i)), tree.get(&key(i)));
                }
                if let Some(&(i, _)) = window.first() {
                    prop_assert_eq!(map.remove(&key(i)), tree.remove(&key(i)));
                    prop_assert_eq!(map.remove(&key(i)), None);
                }
                let keep = |key: &Key, sum: &mut u32| {
                    *sum += 1;
                    *sum != gone && *key != Key::new(["3", "7"])
                };
                map.retain(keep);
                tree.retain(keep);
                prop_assert!(map.iter().eq(&tree));
                prop_assert_eq!(map.len(), tree.len());
            }
            let bytes = rmp_serde::to_vec(&map).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<KeyMap<u32>>(&bytes).unwrap(), map.clone());
            let text = serde_json::to_string(&map).unwrap();
            prop_assert_eq!(serde_json::from_str::<KeyMap<u32>>(&text).unwrap(), map.clone());
            prop_assert_eq!(tree.into_iter().collect::<KeyMap<u32>>(), map);
        }
    }

    proptest! {
        #[test]
        fn keys_are_found_by_their_first_values(keys in prop::collection::vec(prop::collection::vec("[ab\0]{0,2}", 0..4), 0..30), first in prop::collection::vec("[ab\0]{0,2}", 0..4)) {
            let first: Vec<&str> = first.iter().map(String::as_str).collect();
            let map: KeyMap<usize> = keys.iter().map(Key::new).zip(0..).collect();
            let found = map.starting_with(&first);
            let is_found = |key: &Key| key.arity() >= first.len() && key.values().zip(&first).all(|(a, b)| a == *b);
            let expected: Vec<_> = map.iter().filter(|(key, _)| is_found(key)).collect();
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn formats_for_people_get_pairs() {
        let map: KeyMap<u8> = [(Key::new(["b", "c"]), 1), (Key::new(["a"]), 2)].into_iter().collect();
        let text = r#"[[["a"],2],[["b","c"],1]]"#;
        assert_eq!(serde_json::to_string(&map).unwrap(), text);
        assert_eq!(serde_json::from_str::<KeyMap<u8>>(text).unwrap(), map);
        // A part of something that is read before its kind is known comes back, too.
        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Either {
            Keys(KeyMap<u8>),
        }
        let bytes = rmp_serde::to_vec(&Either::Keys(map.clone())).unwrap();
        let Either::Keys(read) = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(read, map);
    }

    #[test]
    fn memory_is_that_of_places_and_long_keys() {
        let mut map: KeyMap<u64> = (0..100).map(|i| (key(i), 0)).collect();
        let places = 100 * (size_of::<Key>() + size_of::<u64>());
        assert_eq!(map.memory_bytes(), places);
        let long = Key::new(["x".repeat(10_000)]);
        map.share([&long]);
        assert_eq!(map.memory_bytes(), places);
        map.update([(&long, ())], |_, ()| Some(1));
        assert!((places + 10_000..places + 10_700).contains(&map.memory_bytes()), "{}", map.memory_bytes());
        assert_eq!(map.remove(&long), Some(1));
        assert!(map.memory_bytes() < places + 700);
        assert_eq!(KeyMap::<u64>::new().memory_bytes(), 0);
    }

    #[test]
    fn stored_keys_out_of_order_are_refused() {
        for text in [r#"[[["b"],1],[["a"],1]]"#, r#"[[["a"],1],[["a"],1]]"#] {
            let error = serde_json::from_str::<KeyMap<u8>>(text).unwrap_err().to_string();
            assert!(error.contains("is out of order"), "{error}");
        }
        for keys in [["b", "a"], ["a", "a"]] {
            let mut bytes = vec![0x82];
            keys.iter().for_each(|key| bytes.extend(rmp_serde::to_vec(&([key], 1)).unwrap()[1..].iter()));
            let error = rmp_serde::from_slice::<KeyMap<u32>>(&bytes).unwrap_err().to_string();
            assert!(error.contains("is out of order"), "{error}");
        }
    }
}
