//! Of each label, the moments of a measure: exactly, or of the labels that matter most.

use crate::{Combine, ExactSum, Merge, Moments};
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The moments of a measure for each label: the bytes that each user sent, say.
///
/// They are exact until they are [bounded](Self::bound). Bounded, only the labels whose sums are largest
/// in magnitude are kept, and the others are folded into [one rest](Self::rest). Nothing is lost on the
/// whole: labels and rest together are the moments of all values, always and exactly. A label that was
/// folded and comes back begins anew, so what is told of it misses a part of the rest, and its sum is
/// off by at most the [shortfall](Self::shortfall).
///
/// ```
/// use peak_core::LabelMoments;
///
/// let mut bytes = LabelMoments::default();
/// for (user, sent) in [("ann", 120.0), ("bob", 80.0), ("ann", 4000.0)] {
///     bytes.push_times(user, sent, 1);
/// }
/// let (user, moments) = bytes.top(1)[0];
/// assert_eq!((user, moments.sum(), moments.n()), ("ann", 4120.0, 2));
/// assert_eq!(bytes.total().sum(), 4200.0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct LabelMoments {
    /// In the order in which they came, on which nothing depends. (Nor on the hash.)
    labels: IndexMap<Box<str>, Moments, RandomState>,
    /// How many labels there may be, once bounded.
    room: Option<u32>,
    rest: Moments,
    /// The sum of the largest sums that were folded at a time.
    shortfall: ExactSum,
}

/// A label and its moments, behind their hash, as the map holds them.
const BYTES_PER_LABEL: usize = size_of::<(u64, Box<str>, Moments)>();
/// And the place in its hash table by which it is found.
const BYTES_PER_PLACE: usize = size_of::<usize>() + 1;

impl LabelMoments {
    /// The least room, and thus the most labels that are never bounded further.
    const LEAST_ROOM: u32 = 16;

    /// Takes in a value of a label that occurred so many times. NaN is no value and is left out; so is
    /// what occurred no times. Returns by how many bytes the memory grew, which is negative when labels
    /// are folded.
    pub fn push_times(&mut self, label: &str, x: f64, times: u64) -> isize {
        if x.is_nan() || times == 0 {
            return 0;
        }
        if let Some(moments) = self.labels.get_mut(label) {
            let before = moments.memory_bytes();
            moments.push_times(x, times);
            return moments.memory_bytes() as isize - before as isize;
        }
        let before = self.places_bytes();
        let mut moments = Moments::default();
        moments.push_times(x, times);
        let own = label.len() + moments.memory_bytes() - size_of::<Moments>();
        self.labels.insert(label.into(), moments);
        let grown = (self.places_bytes() + own) as isize - before as isize;
        grown + self.keep_to_room()
    }

    /// The moments of a label; `None` when it is not there. Of bounded ones, a part of the
    /// [rest](Self::rest) may belong to it.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<&Moments> {
        self.labels.get(label)
    }

    /// The labels that are there, with their moments, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Moments)> {
        self.labels.iter().map(|(label, moments)| (&**label, moments))
    }

    /// The `n` labels whose sums are largest in magnitude, the largest first, equal ones in order of
    /// their labels.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<(&str, &Moments)> {
        let mut top: Vec<(f64, &str, &Moments)> =
            self.iter().map(|(label, moments)| (moments.sum().abs(), label, moments)).collect();
        let in_order = |a: &(f64, &str, &Moments), b: &(f64, &str, &Moments)| {
            b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1))
        };
        if n < top.len() {
            top.select_nth_unstable_by(n, in_order);
            top.truncate(n);
        }
        top.sort_unstable_by(in_order);
        top.into_iter().map(|(_, label, moments)| (label, moments)).collect()
    }

    /// The moments of all that was folded; those of nothing while exact.
    #[must_use]
    pub fn rest(&self) -> &Moments {
        &self.rest
    }

    /// The moments of all values, exactly, bounded or not.
    #[must_use]
    pub fn total(&self) -> Moments {
        let mut total = self.rest.clone();
        self.labels.values().for_each(|moments| total.merge(moments));
        total
    }

    /// By how much the sum of a label may be off, up or down, and how large the sum of a label that is
    /// not there may be; 0 while exact. Where no value is negative, a sum is at most so much too small,
    /// and never too large; and then the shortfall is no more than the sum of the rest (but for rounding).
    #[must_use]
    pub fn shortfall(&self) -> f64 {
        if self.is_exact() { 0.0 } else { self.shortfall.value().next_up() }
    }

    /// The memory that they take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let own =
            |(label, moments): (&str, &Moments)| label.len() + moments.memory_bytes() - size_of::<Moments>();
        size_of::<Self>() + self.places_bytes() + self.iter().map(own).sum::<usize>()
    }

    /// What the map takes, without what lies elsewhere.
    fn places_bytes(&self) -> usize {
        self.labels.capacity() * (BYTES_PER_LABEL + BYTES_PER_PLACE)
    }

    /// Gives up exactness for bounded memory: room for half the labels that there are now, or that there
    /// was room for, and no more however many come. False, and nothing happens, when that would leave
    /// room for fewer than 16.
    pub fn bound(&mut self) -> bool {
        let now = self.room.unwrap_or(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        let is_possible = now / 2 >= Self::LEAST_ROOM;
        if is_possible {
            self.room = Some(now / 2);
            self.fold(now as usize / 4);
        }
        is_possible
    }

    /// Folds labels when there are more than there is room for. Returns by how many bytes the memory
    /// grew, or rather shrank.
    fn keep_to_room(&mut self) -> isize {
        match self.room {
            Some(room) if self.labels.len() > room as usize => {
                let before = self.memory_bytes() as isize;
                self.fold(room as usize / 2);
                self.memory_bytes() as isize - before
            }
            _ => 0,
        }
    }

    /// Keeps at most so many labels, those with the largest sums in magnitude. Equal ones go together.
    fn fold(&mut self, most: usize) {
        let mut sums: Vec<f64> = self.labels.values().map(|moments| moments.sum().abs()).collect();
        if sums.len() <= most {
            return;
        }
        let (_, &mut cut, _) = sums.select_nth_unstable_by(most, |a, b| b.total_cmp(a));
        let rest = &mut self.rest;
        self.labels.retain(|_, moments| {
            let stays = moments.sum().abs() > cut;
            if !stays {
                rest.merge(moments);
            }
            stays
        });
        self.labels.shrink_to_fit();
        // The cut is a rounded sum.
        self.shortfall.add(cut.next_up());
    }
}

/// Exact ones stay exact among themselves. Bounded ones take the smaller room, and the sum of both
/// shortfalls.
impl Combine for LabelMoments {
    fn combine(&mut self, other: &Self) {
        for (label, more) in &other.labels {
            match self.labels.get_mut(label) {
                Some(moments) => moments.merge(more),
                None => _ = self.labels.insert(label.clone(), more.clone()),
            }
        }
        self.rest.merge(&other.rest);
        self.shortfall.merge(&other.shortfall);
        self.room = [self.room, other.room].into_iter().flatten().min();
        self.keep_to_room();
    }

    fn is_exact(&self) -> bool {
        self.room.is_none()
    }
}

/// The stored form, labels in order.
#[derive(Serialize, Deserialize)]
struct Stored {
    labels: Vec<(Box<str>, Moments)>,
    room: Option<u32>,
    rest: Moments,
    shortfall: ExactSum,
}

impl From<LabelMoments> for Stored {
    fn from(moments: LabelMoments) -> Self {
        let LabelMoments { labels, room, rest, shortfall } = moments;
        let mut labels: Vec<_> = labels.into_iter().collect();
        labels.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Stored { labels, room, rest, shortfall }
    }
}

impl TryFrom<Stored> for LabelMoments {
    type Error = &'static str;

    fn try_from(Stored { labels, room, rest, shortfall }: Stored) -> Result<Self, Self::Error> {
        let is_in_order = labels.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !is_in_order || labels.iter().any(|(_, moments)| moments.n() == 0) {
            return Err("labels must be in order, and each have a value");
        }
        let fits = match room {
            None => rest.n() == 0 && shortfall == ExactSum::default(),
            // What is folded at a time is more than nothing by a hair, even where its sum is 0.
            Some(room) => {
                room >= Self::LEAST_ROOM
                    && labels.len() <= room as usize
                    && shortfall >= ExactSum::default()
                    && (rest.n() == 0) == (shortfall == ExactSum::default())
            }
        };
        if !fits {
            return Err("a rest must be that of bounded labels");
        }
        Ok(LabelMoments { labels: labels.into_iter().collect(), room, rest, shortfall })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Row = (u16, f64, u64);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let label = prop_oneof![0..9u16, 0..120u16];
        let value = prop_oneof![0.0..1e3, -1e3..1e3, Just(0.1), Just(0.0), prop::num::f64::ANY];
        prop::collection::vec((label, value, 0..4u64), 0..160)
    }

    fn pushed(rows: &[Row]) -> LabelMoments {
        let mut moments = LabelMoments::default();
        let mut memory = moments.memory_bytes() as isize;
        for &(label, x, times) in rows {
            memory += moments.push_times(&label.to_string(), x, times);
        }
        assert_eq!(moments.memory_bytes() as isize, memory);
        moments
    }

    fn truth(rows: &[Row]) -> BTreeMap<String, Moments> {
        let mut truth = BTreeMap::<String, Moments>::new();
        for &(label, x, times) in rows.iter().filter(|(_, x, times)| !x.is_nan() && *times > 0) {
            truth.entry(label.to_string()).or_default().push_times(x, times);
        }
        truth
    }

    /// What is told of each label is the truth, but for what the rest and the shortfall leave open.
    fn assert_within_bounds(moments: &LabelMoments, truth: &BTreeMap<String, Moments>) {
        let mut all = Moments::default();
        truth.values().for_each(|moments| all.merge(moments));
        assert_eq!(moments.total(), all, "nothing is lost on the whole");
        let (none, shortfall) = (Moments::default(), moments.shortfall());
        for (label, truth) in truth {
            let told = moments.get(label).unwrap_or(&none);
            assert!(told.n() <= truth.n() && truth.n() <= told.n() + moments.rest().n());
            // Rounding the two sums and their difference is no error of theirs.
            let rounding = (truth.sum().abs() + told.sum().abs()) * f64::EPSILON;
            let off = (truth.sum() - told.sum()).abs();
            assert!(off <= shortfall + rounding, "{label}: {off} {shortfall}");
        }
        assert!(moments.iter().all(|(label, _)| truth.contains_key(label)));
    }

    /// Many users of whom a few send much.
    fn heavy_tailed(part: u64) -> Vec<Row> {
        (2_000 * part..2_000 * (part + 1))
            .map(|i| (if i % 5 == 0 { i % 7 } else { i } as u16, 1.0 + (i % 5) as f64, 1 + i % 3))
            .collect()
    }

    #[test]
    fn bounded_labels_keep_those_with_the_largest_sums() {
        let rows = [heavy_tailed(0), heavy_tailed(1)].concat();
        let (exact, truth) = (pushed(&rows), truth(&rows));
        let mut bounded = exact.clone();
        let mut before = bounded.memory_bytes();
        while bounded.bound() {
            assert_within_bounds(&bounded, &truth);
            assert!(bounded.memory_bytes() <= before);
            before = bounded.memory_bytes();
            let names = |moments: &LabelMoments| {
                moments.top(7).iter().map(|top| top.0.to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(names(&bounded), names(&exact));
        }
        for row in &rows {
            bounded.push_times(&format!("another {}", row.0), row.1, row.2);
        }
        assert!(bounded.memory_bytes() <= 8 * before, "{} {before}", bounded.memory_bytes());
        assert!(bounded.iter().len() <= LabelMoments::LEAST_ROOM as usize * 2);
    }

    #[test]
    fn few_labels_stay_exact() {
        let mut few = pushed(&(0..31).map(|i| (i, 1.0, 1)).collect::<Vec<_>>());
        assert!(!few.bound() && few.is_exact());
        few.push_times("one more", -1.0, 2);
        assert!(few.bound() && !few.is_exact());
        assert_eq!((few.top(2), few.rest().n()), (vec![("one more", few.get("one more").unwrap())], 31));
        assert!(few.shortfall() >= 1.0 && few.shortfall() < 1.0 + 1e-9);
    }

    #[test]
    fn labels_that_contradict_themselves_are_refused() {
        let moments = Moments::from_iter([1.0]);
        let labels =
            |names: &[&str]| names.iter().map(|&name| (name.into(), moments.clone())).collect::<Vec<_>>();
        let mut one = ExactSum::default();
        one.add(1.0);
        let mut less = ExactSum::default();
        less.add(-1.0);
        let (none, zero) = (Moments::default(), ExactSum::default());
        let many: Vec<String> = (100..117).map(|i| i.to_string()).collect();
        let many = labels(&many.iter().map(String::as_str).collect::<Vec<_>>());
        for (labels, room, rest, shortfall, is_right) in [
            (labels(&["a", "b"]), None, &none, &zero, true),
            (labels(&["a", "b"]), Some(16), &moments, &one, true),
            (labels(&["b", "a"]), None, &none, &zero, false),
            (labels(&["a", "a"]), None, &none, &zero, false),
            (vec![("a".into(), none.clone())], None, &none, &zero, false),
            (labels(&["a"]), None, &moments, &one, false),
            (labels(&["a"]), None, &none, &one, false),
            (labels(&["a"]), Some(15), &none, &zero, false),
            (labels(&["a"]), Some(16), &none, &one, false),
            (labels(&["a"]), Some(16), &moments, &zero, false),
            (labels(&["a"]), Some(16), &moments, &less, false),
            (many, Some(16), &none, &zero, false),
        ] {
            let stored = Stored { labels, room, rest: rest.clone(), shortfall: shortfall.clone() };
            let bytes = rmp_serde::to_vec(&stored).unwrap();
            assert_eq!(rmp_serde::from_slice::<LabelMoments>(&bytes).is_ok(), is_right, "{room:?} {rest:?}");
        }
    }

    proptest! {
        #[test]
        fn exact_labels_are_a_map(rows in rows(), cut in 0..160usize, n in 0..20usize) {
            let (whole, truth) = (pushed(&rows), truth(&rows));
            assert_within_bounds(&whole, &truth);
            let told: BTreeMap<String, Moments> = whole.iter().map(|(label, moments)| (label.to_owned(), moments.clone())).collect();
            prop_assert_eq!(&told, &truth);
            prop_assert_eq!((whole.rest().n(), whole.shortfall()), (0, 0.0));

            let mut full: Vec<(&str, &Moments)> = truth.iter().map(|(label, moments)| (&**label, moments)).collect();
            full.sort_by(|a, b| b.1.sum().abs().total_cmp(&a.1.sum().abs()));
            full.truncate(n);
            prop_assert_eq!(whole.top(n), full);

            let (left, right) = rows.split_at(cut.min(rows.len()));
            let mut combined = pushed(right);
            combined.combine(&pushed(left));
            prop_assert_eq!(&combined, &whole);
            let stored = rmp_serde::to_vec(&whole).unwrap();
            prop_assert_eq!(&stored, &rmp_serde::to_vec(&combined).unwrap());
            prop_assert_eq!(rmp_serde::from_slice::<LabelMoments>(&stored).unwrap(), whole);
        }

        #[test]
        fn bounded_labels_stay_within_their_bounds(parts in prop::array::uniform3(rows()), times in prop::array::uniform3(0..3usize)) {
            let mut combined = LabelMoments::default();
            for (part, times) in parts.iter().zip(times) {
                let mut moments = pushed(part);
                (0..times).for_each(|_| _ = moments.bound());
                combined.combine(&moments);
                let mut memory = combined.memory_bytes() as isize;
                part.iter().for_each(|&(label, x, times)| memory += combined.push_times(&label.to_string(), x, times));
                prop_assert_eq!(combined.memory_bytes() as isize, memory);
            }
            let twice = [parts.concat(), parts.concat()].concat();
            assert_within_bounds(&combined, &truth(&twice));
            let stored = rmp_serde::to_vec(&combined).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<LabelMoments>(&stored).unwrap(), combined);
        }

        #[test]
        fn damaged_labels_are_refused_or_whole(rows in rows(), bounded: bool, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3)) {
            let mut moments = pushed(&rows);
            if bounded {
                while moments.bound() {}
            }
            let mut stored = rmp_serde::to_vec(&moments).unwrap();
            for (at, byte) in flips {
                let at = at.index(stored.len());
                stored[at] = byte;
            }
            if let Ok(mut loaded) = rmp_serde::from_slice::<LabelMoments>(&stored) {
                let stored = rmp_serde::to_vec(&loaded).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<LabelMoments>(&stored).unwrap(), &loaded);
                prop_assert!(loaded.shortfall() >= 0.0);
                rows.iter().for_each(|&(label, x, times)| _ = loaded.push_times(&label.to_string(), x, times));
                loaded.combine(&moments);
                while loaded.bound() {}
                prop_assert!(loaded.total().n() >= moments.total().n());
                let stored = rmp_serde::to_vec(&loaded).unwrap();
                prop_assert_eq!(rmp_serde::from_slice::<LabelMoments>(&stored).unwrap(), loaded);
            }
        }
    }
}
