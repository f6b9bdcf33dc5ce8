//! An exact map from labels to counts, laid out for tables that grow by millions of labels.
//!
//! The labels lie packed behind one another, each behind its count. A slot table of one word per slot
//! finds them: a piece of the label's hash, and where the entry lies. A label that is new is thus told
//! by one look at the slots, and costs one write at the end of the entries.
//!
//! The hash differs from process to process, and nothing depends on it but how long a search takes:
//! the entries lie in the order in which the labels came.

use super::label::{Form, Packed};

/// Labels and their counts. An entry is its head, count and form, and then the words of the label.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    entries: Vec<u64>,
    /// Open addressing, in the order of the hashes; none for a few labels, which are searched through.
    slots: Vec<u64>,
    len: usize,
}

/// One label of a [`Labels`], and its count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) label: Packed<'a>,
    pub(super) count: u64,
}

/// The largest count of a label; more saturates. It leaves a byte for the form.
pub(super) const MOST: u64 = u64::MAX >> 8;
/// Up to so many labels there are no slots.
const FEW: usize = 8;
/// A slot without an entry. (Not 0: memory that is full of zeros is not there until it is written, and
/// reading it first would cost as much again.)
const EMPTY: u64 = u64::MAX;
/// Any other holds so many bits of the hash above the place of the entry.
const HASH_BITS: u32 = 28;
const PLACE_BITS: u32 = u64::BITS - HASH_BITS;

fn head(form: Form, count: u64) -> u64 {
    count.min(MOST) << 8 | u64::from(form.0)
}

impl Labels {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<u64>() * (self.entries.capacity() + self.slots.capacity())
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.entries }
    }

    pub(super) fn get(&self, label: Packed<'_>) -> Option<u64> {
        self.find(label, || label.hash()).ok().map(|place| self.entries[place] >> 8)
    }

    /// Looks where a search for a label of this hash begins. What it returns means nothing, but the
    /// memory is then at hand.
    pub(super) fn touch(&self, hash: u64) -> u64 {
        if self.slots.is_empty() { 0 } else { self.slots[home(hash >> PLACE_BITS, self.slots.len())] }
    }

    /// Adds `more` to the count of a label, or enters it with `first`. Returns by how many bytes the
    /// memory grew.
    pub(super) fn add(&mut self, label: Packed<'_>, hash: impl Fn() -> u64, more: u64, first: u64) -> usize {
        match self.find(label, &hash) {
            Ok(place) => {
                let count = (self.entries[place] >> 8).saturating_add(more);
                self.entries[place] = head(label.form, count);
                0
            }
            Err(slot) => {
                let before = self.heap_bytes();
                self.insert(label, hash, first, slot);
                self.heap_bytes() - before
            }
        }
    }

    /// The labels with counts above this one.
    pub(super) fn above(&self, count: u64) -> Self {
        let mut above = Labels::default();
        for Entry { label, count } in self.iter().filter(|entry| entry.count > count) {
            above.add(label, || label.hash(), count, count);
        }
        above
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for Entry { label, count } in other.iter() {
            self.add(label, || label.hash(), count, count);
        }
    }

    /// Where the label's entry lies, or else the slot where it belongs.
    fn find(&self, label: Packed<'_>, hash: impl Fn() -> u64) -> Result<usize, usize> {
        if self.slots.is_empty() {
            return self.search(label).ok_or(0);
        }
        let hash = hash() >> PLACE_BITS;
        let mut slot = home(hash, self.slots.len());
        loop {
            let found = self.slots[slot];
            if found == EMPTY {
                return Err(slot);
            }
            let place = (found & ((1 << PLACE_BITS) - 1)) as usize;
            if found >> PLACE_BITS == hash && self.is_at(place, label) {
                return Ok(place);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn search(&self, label: Packed<'_>) -> Option<usize> {
        self.places().find(|&place| self.is_at(place, label))
    }

    fn is_at(&self, place: usize, label: Packed<'_>) -> bool {
        let entry = &self.entries[place..];
        // Word by word: most labels have too few to call for a comparison of memory.
        entry[0] as u8 == label.form.0 && entry[1..].iter().zip(label.words).all(|(a, b)| a == b)
    }

    /// Where the entries lie.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let place = next;
            let form = Form(*self.entries.get(place)? as u8);
            next += 1 + form.words(&self.entries[place + 1..]);
            Some(place)
        })
    }

    fn insert(&mut self, label: Packed<'_>, hash: impl Fn() -> u64, count: u64, slot: usize) {
        let place = self.entries.len();
        if self.entries.capacity() - place <= label.words.len() {
            // Doubling would leave more memory unused.
            self.entries.reserve_exact((place / 2).max(1 + label.words.len()));
        }
        self.entries.push(head(label.form, count));
        self.entries.extend_from_slice(label.words);
        self.len += 1;
        if self.slots.is_empty() {
            if self.len > FEW {
                self.index();
            }
        } else if 4 * self.len > 3 * self.slots.len() {
            self.grow();
            self.place(filled(hash(), place));
        } else {
            self.slots[slot] = filled(hash(), place);
        }
    }

    /// Makes slots for entries that had none.
    fn index(&mut self) {
        let entries = self.iter().zip(self.places());
        let filled: Vec<u64> = entries.map(|(entry, place)| filled(entry.label.hash(), place)).collect();
        self.slots = vec![EMPTY; (2 * filled.len()).next_power_of_two()];
        filled.into_iter().for_each(|slot| self.place(slot));
    }

    /// Twice the slots. The old ones are passed in the order of their hashes, so the new ones are
    /// filled almost in order.
    fn grow(&mut self) {
        let twice = vec![EMPTY; 2 * self.slots.len()];
        let old = std::mem::replace(&mut self.slots, twice);
        old.into_iter().filter(|&slot| slot != EMPTY).for_each(|slot| self.place(slot));
    }

    /// Puts a slot into the first free place from its home on.
    fn place(&mut self, filled: u64) {
        let mut slot = home(filled >> PLACE_BITS, self.slots.len());
        while self.slots[slot] != EMPTY {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = filled;
    }
}

/// The slot of an entry.
fn filled(hash: u64, place: usize) -> u64 {
    hash >> PLACE_BITS << PLACE_BITS | place as u64
}

/// The slot at which a search for this piece of a hash begins: its leading bits.
fn home(hash: u64, slots: usize) -> usize {
    let bits = slots.trailing_zeros();
    (if bits <= HASH_BITS { hash >> (HASH_BITS - bits) } else { hash << (bits - HASH_BITS) }) as usize
}

/// The entries, in the order in which the labels were first seen.
pub(super) struct Iter<'a> {
    rest: &'a [u64],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (&head, rest) = self.rest.split_first()?;
        let form = Form(head as u8);
        let (words, rest) = rest.split_at(form.words(rest));
        self.rest = rest;
        Some(Entry { label: Packed { form, words }, count: head >> 8 })
    }
}

/// Equal when the labels and their counts are; the order in which they were first seen does not matter.
impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        let is_there = |entry: Entry<'_>| other.get(entry.label) == Some(entry.count);
        self.len == other.len && self.iter().all(is_there)
    }
}

impl Eq for Labels {}

#[cfg(test)]
mod tests {
    use super::super::label::{HASH, Words};
    use super::super::tests::crafted;
    use super::*;

    fn counted(labels: impl IntoIterator<Item = String>) -> Labels {
        let (mut counted, mut words) = (Labels::default(), Words::default());
        for label in labels {
            let label = Packed::new(&label, &mut words);
            counted.add(label, || label.hash(), 1, 1);
        }
        counted
    }

    /// How many slots are looked at to find all labels.
    fn work(labels: &Labels) -> usize {
        let mask = labels.slots.len() - 1;
        let looks = |(slot, &found): (usize, &u64)| {
            let from_home = slot.wrapping_sub(home(found >> PLACE_BITS, labels.slots.len())) & mask;
            if found == EMPTY { 0 } else { 1 + from_home }
        };
        labels.slots.iter().enumerate().map(looks).sum()
    }

    #[test]
    fn crafted_labels_cost_what_others_do() {
        let ordinary = work(&counted((0..80_000).map(|i: u64| format!("{i:040x}"))));
        for seed in [0, 0x7065_616b ^ 0x082e_fa98_ec4e_6c89] {
            let crafted = work(&counted((0..80_000).map(|i| crafted(seed, i))));
            assert!(2 * crafted <= 3 * ordinary, "{crafted} {ordinary}");
        }
    }

    #[test]
    fn nothing_but_the_work_depends_on_the_hash() {
        let labels = || (0..3_000u64).map(|i| format!("{}", i * i % 1_009));
        let hashes: [fn(Packed<'_>) -> u64; 4] =
            [|_| 0, |_| u64::MAX, |label| label.words[0], |label| !label.fingerprint()];
        let seen = |labels: &Labels| {
            labels.iter().map(|entry| (entry.label.unpack(), entry.count)).collect::<Vec<_>>()
        };
        let counted_now = || {
            let mut all = counted(labels());
            all.merge(&counted(labels().skip(1_000).map(|label| label + "0")));
            let backwards = counted(labels().collect::<Vec<_>>().into_iter().rev());
            assert_eq!(counted(labels()), backwards);
            assert_ne!(all, backwards);
            assert!(all.iter().all(|entry| all.get(entry.label) == Some(entry.count)));
            (seen(&all), seen(&all.above(5)), rmp_serde::to_vec(&all).unwrap(), all.heap_bytes())
        };
        let expected = counted_now();
        for hash in hashes {
            HASH.set(Some(hash));
            let found = counted_now();
            HASH.set(None);
            assert!(found == expected);
        }
    }

    #[test]
    fn counts_saturate_and_leave_the_form_alone() {
        let (mut labels, mut words) = (counted(["a".to_owned()]), Words::default());
        let label = Packed::new("a", &mut words);
        for _ in 0..3 {
            labels.add(label, || label.hash(), u64::MAX, 1);
            assert_eq!(labels.get(label), Some(MOST));
            assert_eq!(labels.iter().map(|entry| entry.label.unpack()).collect::<Vec<_>>(), ["a"]);
        }
        let other = Packed::new("da39a3ee5e6b4b0d3255bfef95601890afd80709", &mut words);
        labels.add(other, || other.hash(), 1, u64::MAX);
        assert_eq!(labels.get(other), Some(MOST));
    }
}
