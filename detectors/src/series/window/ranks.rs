//! The order of the values of a window.

use serde::{Deserialize, Serialize};

/// The slots of a window in ascending order of their values; among equal values, the oldest first.
///
/// An entry is a slot (16 bits) below a key (16 bits): the value on a coarse scale that was laid over
/// the middle of the window when it was last read as a whole. Searching looks at keys, which lie
/// together, and at values only among entries with the same key. Replacing a value moves the entries
/// between the two ranks: a few hundred bytes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ranks {
    entries: Vec<u32>,
    low: f64,
    scale: f64,
}

impl Ranks {
    /// Windows of up to so many points.
    pub(super) const MOST: usize = 1 << 16;

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The value on the coarse scale; monotone.
    #[inline]
    pub(super) fn key(&self, x: f64) -> u16 {
        ((x - self.low) * self.scale) as u16
    }

    #[inline]
    pub(super) fn slot(&self, rank: usize) -> usize {
        (self.entries[rank] & 0xffff) as usize
    }

    #[inline]
    pub(super) fn value(&self, rank: usize, values: &[f64]) -> f64 {
        values[self.slot(rank)]
    }

    /// Lays the scale anew, over all but a few of the values at both ends.
    pub(super) fn scale_anew(&mut self, values: &[f64]) {
        let n = self.len();
        if n == 0 {
            return;
        }
        let (low, high) = (self.value(n / 64, values), self.value(n - 1 - n / 64, values));
        self.low = low;
        self.scale = if high > low { (65_535.0 / (high - low)).min(f64::MAX) } else { 0.0 };
        for rank in 0..n {
            let slot = self.slot(rank);
            self.entries[rank] = self.entry(values[slot], slot);
        }
    }

    /// Puts all slots into order. `slots` are given oldest first.
    pub(super) fn sort(&mut self, slots: impl Iterator<Item = usize>, values: &[f64]) {
        self.entries.clear();
        self.entries.extend(slots.map(|slot| slot as u32));
        self.entries.sort_by(|&a, &b| values[a as usize].total_cmp(&values[b as usize]));
        self.scale_anew(values);
    }

    fn entry(&self, x: f64, slot: usize) -> u32 {
        u32::from(self.key(x)) << 16 | slot as u32
    }

    /// Adds the value that goes into `slot` next.
    pub(super) fn insert(&mut self, x: f64, slot: usize, values: &[f64]) {
        let rank = self.upper(x, values);
        self.entries.insert(rank, self.entry(x, slot));
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        self.entries.reserve_exact(additional);
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Puts `x` in the place of the value in `slot`, which is the oldest of its kind and still there.
    #[inline]
    pub(super) fn replace(&mut self, slot: usize, x: f64, values: &[f64]) {
        let from = self.lower(values[slot], values);
        let to = self.upper(x, values);
        let entry = self.entry(x, slot);
        if to > from {
            self.entries.copy_within(from + 1..to, from);
            self.entries[to - 1] = entry;
        } else {
            self.entries.copy_within(to..from, to + 1);
            self.entries[to] = entry;
        }
    }

    /// The number of values below `x`.
    #[inline]
    fn lower(&self, x: f64, values: &[f64]) -> usize {
        let key = self.key(x);
        self.partition(key, key, |value| value < x, values)
    }

    /// The number of values not above `x`.
    #[inline]
    fn upper(&self, x: f64, values: &[f64]) -> usize {
        let key = self.key(x);
        self.partition(key, key, |value| value <= x, values)
    }

    /// The number of values for which `belongs` holds: a monotone condition that turns false about `near`.
    #[inline]
    pub(super) fn count(&self, near: f64, belongs: impl Fn(f64) -> bool, values: &[f64]) -> usize {
        let key = self.key(near);
        self.partition(key.saturating_sub(1), key.saturating_add(1), belongs, values)
    }

    #[inline]
    fn partition(&self, first: u16, last: u16, belongs: impl Fn(f64) -> bool, values: &[f64]) -> usize {
        let start =
            self.entries.partition_point(|entry| (entry >> 16) as u16 <= first.wrapping_sub(1) && first > 0);
        let mut rank = start;
        // A few entries at most where values are continuous: look at them one by one …
        for entry in self.entries[start..].iter().take(4) {
            if (entry >> 16) as u16 > last || !belongs(values[(entry & 0xffff) as usize]) {
                return rank;
            }
            rank += 1;
        }
        // … and search where many are alike.
        let alike = |entry: &u32| (entry >> 16) as u16 <= last && belongs(values[(entry & 0xffff) as usize]);
        rank + self.entries[rank..].partition_point(alike)
    }

    /// Whether it is the order of these values, of which the oldest stands in slot `head`.
    pub(super) fn is_valid(&self, values: &[f64], head: usize) -> bool {
        let n = values.len();
        let is_entry = |rank: usize| {
            let slot = self.slot(rank);
            values.get(slot).is_some_and(|&x| self.entries[rank] == self.entry(x, slot))
        };
        // Strictly ascending, so that no slot comes twice.
        let place = |rank: usize| (self.value(rank, values), (self.slot(rank) + n - head) % n);
        self.len() == n
            && self.low.is_finite()
            && (0.0..=f64::MAX).contains(&self.scale)
            && (0..n).all(is_entry)
            && (1..n).all(|rank| place(rank - 1) < place(rank))
    }
}
