//! How often each label occurred: exactly, or within stated bounds in bounded memory.

mod distinct;
mod label;
mod labels;
mod sketch;

use crate::{Combine, CountMoments, LabelCount};
pub(crate) use label::Later;
use label::{Packed, Words};
use labels::{Entry, Labels, MOST};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sketch::Sketch;
use smallvec::SmallVec;
use std::fmt;

/// How often each label occurred.
///
/// Counts are exact, and take about 50 bytes for a digest of 40 digits, until they are
/// [bounded](Self::bound).
///
/// ```
/// use peak_core::Counts;
///
/// let mut counts = Counts::default();
/// for label in ["b", "a", "b"] {
///     counts.add(label, 1);
/// }
/// counts.add("b", 10);
/// assert_eq!((counts.get("b"), counts.get("z"), counts.distinct()), (12, 0, 2));
/// assert_eq!(counts.top(1)[0].label, "b");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts(Store);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Store {
    Exact(Labels),
    Bounded(Box<Sketch>),
}

impl Default for Counts {
    fn default() -> Self {
        Counts(Store::Exact(Labels::default()))
    }
}

impl Counts {
    /// Counts so many occurrences of a label; none change nothing. The count of a label saturates at
    /// 2⁵⁶ − 1. Returns by how many bytes the memory grew, which is 0 for most labels that are known, and
    /// negative when bounded counts drop labels.
    pub fn add(&mut self, label: &str, count: u64) -> isize {
        let mut words = Words::default();
        let label = Packed::new(label, &mut words);
        self.add_packed(label, || label.hash(), count)
    }

    /// As [`add`](Self::add).
    pub(crate) fn add_later(&mut self, later: &Later, count: u64) -> isize {
        self.add_packed(later.label(), || later.hash, count)
    }

    fn add_packed(&mut self, label: Packed<'_>, hash: impl Fn() -> u64, count: u64) -> isize {
        match &mut self.0 {
            _ if count == 0 => 0,
            Store::Exact(labels) => labels.add(label, hash, count, count) as isize,
            Store::Bounded(sketch) => sketch.add(label, hash, count),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.memory_bytes() - size_of::<Self>()
    }

    pub(crate) fn touch(&self, later: &Later) -> u64 {
        match &self.0 {
            Store::Exact(labels) => labels.touch(later.hash),
            Store::Bounded(sketch) => sketch.touch(later.hash),
        }
    }

    /// How often the label occurred. Of bounded counts, at most so often, by up to
    /// [`Uncertainty::surplus`] too many.
    #[must_use]
    pub fn get(&self, label: &str) -> u64 {
        let mut words = Words::default();
        let label = Packed::new(label, &mut words);
        match &self.0 {
            Store::Exact(labels) => labels.get(label).unwrap_or(0),
            Store::Bounded(sketch) => sketch.get(label),
        }
    }

    /// How many different labels occurred. Of bounded counts, an estimate.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        match &self.0 {
            Store::Exact(labels) => labels.len() as u64,
            Store::Bounded(sketch) => sketch.distinct(),
        }
    }

    /// The labels and their counts, in no particular order. Bounded counts know only the most
    /// frequent labels.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> {
        self.entries().map(|entry| (entry.label.unpack(), entry.count))
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        match &self.0 {
            Store::Exact(labels) => labels.iter(),
            Store::Bounded(sketch) => sketch.labels().iter(),
        }
    }

    /// The moments of the counts. Of bounded counts, estimates.
    #[must_use]
    pub fn moments(&self) -> CountMoments {
        match &self.0 {
            Store::Exact(labels) => labels.iter().map(|entry| entry.count).collect(),
            Store::Bounded(sketch) => sketch.moments(),
        }
    }

    /// The `n` most frequent labels, most frequent first, equal counts in order of their labels.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<LabelCount> {
        self.pass(n, |_| {})
    }

    /// The moments and the top in one pass.
    pub(crate) fn moments_and_top(&self, n: usize) -> (CountMoments, Vec<LabelCount>) {
        let mut moments = CountMoments::default();
        let top = self.pass(n, |count| moments.push(count));
        match &self.0 {
            Store::Exact(_) => (moments, top),
            Store::Bounded(sketch) => (sketch.moments(), top),
        }
    }

    /// Hands all counts to `visit`, and returns the top.
    fn pass(&self, n: usize, mut visit: impl FnMut(u64)) -> Vec<LabelCount> {
        let mut top: SmallVec<[Entry<'_>; 16]> = SmallVec::new();
        let goes_before = |one: &Entry<'_>, other: &Entry<'_>| {
            one.count > other.count || (one.count == other.count && one.label < other.label)
        };
        for entry in self.entries() {
            visit(entry.count);
            if top.len() == n {
                // Nearly all go behind the last one.
                if top.last().is_none_or(|last| goes_before(last, &entry)) {
                    continue;
                }
                top.pop();
            }
            top.insert(top.partition_point(|kept| goes_before(kept, &entry)), entry);
        }
        top.into_iter().map(|entry| LabelCount::new(entry.label.unpack(), entry.count)).collect()
    }

    /// How far the counts may be from the truth; `None` when they are exact.
    #[must_use]
    pub fn uncertainty(&self) -> Option<Uncertainty> {
        match &self.0 {
            Store::Exact(_) => None,
            Store::Bounded(sketch) => Some(sketch.uncertainty()),
        }
    }

    /// The memory that the counts take, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Store::Exact(labels) => labels.heap_bytes(),
                Store::Bounded(sketch) => sketch.memory_bytes(),
            }
    }

    /// Gives up exactness for bounded memory: at most about half of what the counts take now, and no
    /// more however many labels come. Counts that are bounded already are halved again, and their
    /// errors grow by a factor of √2. False, and nothing happens, when that is not possible: counts
    /// below a kilobyte stay as they are.
    pub fn bound(&mut self) -> bool {
        match &mut self.0 {
            Store::Exact(labels) => match Sketch::of_half(labels) {
                Some(sketch) => self.0 = Store::Bounded(Box::new(sketch)),
                None => return false,
            },
            Store::Bounded(sketch) => return sketch.halve(),
        }
        true
    }
}

/// Exact counts stay exact among themselves. Bounded counts take the larger of the two relative errors,
/// and the sum of both surpluses.
impl Combine for Counts {
    fn combine(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (Store::Exact(labels), Store::Exact(other)) => labels.merge(other),
            (Store::Bounded(sketch), Store::Exact(other)) => sketch.add_all(other),
            (Store::Bounded(sketch), Store::Bounded(other)) => sketch.merge(other),
            (Store::Exact(labels), Store::Bounded(other)) => {
                let mut sketch = other.clone();
                sketch.add_all(labels);
                self.0 = Store::Bounded(sketch);
            }
        }
    }

    fn is_exact(&self) -> bool {
        matches!(self.0, Store::Exact(_))
    }
}

/// How far bounded counts may be from the truth.
///
/// ```
/// use peak_core::Counts;
///
/// let mut counts = Counts::default();
/// for i in 0..10_000 {
///     counts.add(&i.to_string(), 1);
///     counts.add("often", 1);
/// }
/// counts.bound();
/// let uncertainty = counts.uncertainty().unwrap();
/// assert!((counts.distinct() as f64 / 10_001.0 - 1.0).abs() < 4.0 * uncertainty.distinct());
/// assert!(counts.top(1)[0].count - 10_000 <= uncertainty.surplus());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredUncertainty")]
pub struct Uncertainty {
    precision: u8,
    surplus: u64,
}

/// An uncertainty as it is stored or told, before it is checked.
#[derive(Deserialize)]
struct StoredUncertainty {
    precision: u8,
    surplus: u64,
}

impl TryFrom<StoredUncertainty> for Uncertainty {
    type Error = &'static str;

    fn try_from(StoredUncertainty { precision, surplus }: StoredUncertainty) -> Result<Self, Self::Error> {
        match sketch::PRECISIONS.contains(&precision) {
            true => Ok(Uncertainty { precision, surplus }),
            false => Err("the precision must be one of bounded counts"),
        }
    }
}

impl Uncertainty {
    /// The relative standard error of the number of distinct labels, 1.04/√m of a HyperLogLog sketch
    /// with m registers (Flajolet et al., 2007).
    #[must_use]
    pub fn distinct(self) -> f64 {
        1.04 / f64::from(1u32 << self.precision).sqrt()
    }

    /// The relative standard error of the sum of squares, at most √(2/m) with m counters (Alon,
    /// Matias and Szegedy, 1996; Thorup and Zhang, 2004).
    #[must_use]
    pub fn sum_of_squares(self) -> f64 {
        (2.0 / sketch::counters(self.precision) as f64).sqrt()
    }

    /// By how much the count of a label, and thus the maximum, may be too large. It is never too
    /// small. With room for k labels the surplus is at most 2/k of all occurrences (Misra and Gries,
    /// 1982).
    #[must_use]
    pub fn surplus(self) -> u64 {
        self.surplus
    }
}

impl fmt::Display for Uncertainty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.distinct();
        write!(f, "distinct ±{percent:.1} %, maximum at most {} too large", self.surplus)
    }
}

/// Stored as a list of labels and their counts, in the order of the labels: equal counts are stored as
/// the same bytes.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        let mut sorted: Vec<Entry<'_>> = self.iter().collect();
        sorted.sort_unstable_by(|a, b| a.label.cmp(&b.label));
        sorted.iter().try_for_each(|entry| list.serialize_element(&(entry.label.unpack(), entry.count)))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Stored)
    }
}

struct Stored;

impl<'de> Visitor<'de> for Stored {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels and their counts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Labels, A::Error> {
        let (mut labels, mut words) = (Labels::default(), Words::default());
        while let Some((label, count)) = list.next_element::<(String, u64)>()? {
            if !(1..=MOST).contains(&count) {
                return Err(A::Error::custom(format_args!("counts must be from 1 to {MOST}")));
            }
            let (label, before) = (Packed::new(&label, &mut words), labels.len());
            labels.add(label, || label.hash(), count, count);
            if labels.len() == before {
                return Err(A::Error::custom("each label must be counted once"));
            }
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Truth = BTreeMap<String, u64>;

    fn counted<'a>(labels: impl IntoIterator<Item = &'a String>) -> (Counts, Truth) {
        let (mut counts, mut truth) = (Counts::default(), Truth::new());
        let mut memory = counts.memory_bytes() as isize;
        for label in labels {
            memory += counts.add(label, 1);
            *truth.entry(label.clone()).or_default() += 1;
        }
        assert_eq!(counts.memory_bytes() as isize, memory);
        (counts, truth)
    }

    /// A few frequent labels among many rare ones, of every packed form.
    fn labels() -> impl Strategy<Value = Vec<String>> {
        let label = prop_oneof![
            4 => (0..9u32).prop_map(|i| i.to_string()),
            4 => (0..400u32).prop_map(|i| format!("{i:08x}{:032x}", i % 3)),
            1 => (10_000_000..10_000_200u32).prop_map(|i| i.to_string()),
            1 => "[a-z]{0,9}",
        ];
        prop::collection::vec(label, 0..700)
    }

    fn assert_within_bounds(counts: &Counts, truth: &Truth) {
        let surplus = counts.uncertainty().map_or(0, Uncertainty::surplus);
        for (label, &count) in truth {
            let most = counts.get(label);
            assert!(
                count <= most && most <= count + surplus,
                "{label}: {most} for {count}, surplus {surplus}"
            );
        }
        let (moments, max) = (counts.moments(), truth.values().copied().max().unwrap_or(0));
        assert!(max <= moments.max() && moments.max() <= max + surplus);
        assert_eq!(moments.sum(), truth.values().sum::<u64>());
    }

    /// 200,000 records of 100,000 rare labels and, each 1/k of the time, of the k-th of 300 others.
    fn heavy_tailed(part: u64) -> Vec<String> {
        let label = |i: u64| {
            let random = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let rank = (300.0 / (1.0 + (random % 30_000) as f64 / 100.0)) as u64;
            if i.is_multiple_of(2) { format!("{i:040x}") } else { format!("often {rank}") }
        };
        (100_000 * part..100_000 * (part + 1)).map(label).collect()
    }

    #[test]
    fn bounded_counts_keep_to_their_bounds() {
        let parts = [heavy_tailed(0), heavy_tailed(1)];
        let (exact, truth) = counted(parts.iter().flatten());
        let mut halves = parts.each_ref().map(|part| counted(part).0);
        halves.iter_mut().for_each(|half| assert!(half.bound()));
        let [mut merged, other] = halves;
        merged.combine(&other);

        let mut bounded = exact.clone();
        for _ in 0..9 {
            assert!(bounded.bound());
            for counts in [&bounded, &merged] {
                assert_within_bounds(counts, &truth);
                let uncertainty = counts.uncertainty().unwrap();
                let (estimate, truth) = (counts.moments(), exact.moments());
                let error = |estimate: f64, truth: f64| (estimate / truth - 1.0).abs();
                assert!(error(estimate.n() as f64, truth.n() as f64) < 3.0 * uncertainty.distinct());
                let squares = error(estimate.sum_of_squares() as f64, truth.sum_of_squares() as f64);
                assert!(squares < 3.0 * uncertainty.sum_of_squares(), "{squares} {uncertainty:?}");
            }
        }
        assert_eq!(bounded.top(1)[0].label, exact.top(1)[0].label);
        assert!(bounded.memory_bytes() < exact.memory_bytes() / 200);
    }

    /// foldhash under a known seed multiplies by `word ^ seed`, so words that equal what it has come to
    /// so far make all that follow the same.
    pub(super) fn crafted(seed: u64, i: u64) -> String {
        const SHARED: u64 = 0xc0ac_29b7_c97c_50dd;
        let folded = |x: u64, y: u64| {
            let product = u128::from(x) * u128::from(y);
            product as u64 ^ (product >> 64) as u64
        };
        let first = 0x0123_4567_89ab_cdef_u64;
        let sponge = 5 | u128::from(first) << 8;
        let state = folded(sponge as u64 ^ seed, (sponge >> 64) as u64 ^ SHARED);
        format!("{first:016x}{state:016x}{i:08x}")
    }

    #[test]
    fn crafted_labels_are_estimated_like_others() {
        for seed in [0, 0x7065_616b ^ 0x082e_fa98_ec4e_6c89] {
            let mut counts = counted(&(0..30_000).map(|i| crafted(seed, i)).collect::<Vec<_>>()).0;
            while counts.bound() {
                let (moments, uncertainty) = (counts.moments(), counts.uncertainty().unwrap());
                let error = |estimate: f64| (estimate / 30_000.0 - 1.0).abs();
                assert!(error(moments.n() as f64) < 4.0 * uncertainty.distinct(), "{moments:?}");
                let squares = error(moments.sum_of_squares() as f64);
                assert!(squares < 4.0 * uncertainty.sum_of_squares(), "{moments:?}");
            }
        }
    }

    #[test]
    fn a_label_that_occurs_often_at_once_is_one_that_occurs_often() {
        let (mut at_once, mut one_by_one) = (Counts::default(), Counts::default());
        for part in 0..2 {
            for i in 0..2_000u64 {
                let label = format!("{i:040x}");
                at_once.add(&label, i % 7);
                (0..i % 7).for_each(|_| _ = one_by_one.add(&label, 1));
            }
            // Bounded counts may drop a label before it has occurred as often as it will.
            assert!(part == 1 || at_once == one_by_one);
            assert_eq!(at_once.moments().n(), one_by_one.moments().n());
            assert_eq!(at_once.moments().sum(), one_by_one.moments().sum());
            assert_eq!(at_once.moments().sum_of_squares(), one_by_one.moments().sum_of_squares());
            assert_eq!((at_once.bound(), one_by_one.bound()), (true, true));
        }
    }

    #[test]
    fn hostile_weights_saturate() {
        let mut counts = counted(&(0..1_000).map(|i| format!("{i:040x}")).collect::<Vec<_>>()).0;
        for _ in 0..2 {
            for i in 990..1_010 {
                counts.add(&format!("{i:040x}"), u64::MAX);
            }
            assert_eq!(counts.get(&format!("{:040x}", 1_000)), MOST);
            assert_eq!(counts.top(1)[0].count, MOST);
            let mut twice = counts.clone();
            twice.combine(&counts);
            for stored in [&counts, &twice] {
                let bytes = rmp_serde::to_vec(stored).unwrap();
                assert_eq!(&rmp_serde::from_slice::<Counts>(&bytes).unwrap(), stored);
            }
            counts.bound();
        }
    }

    #[test]
    fn labels_that_share_a_counter_cancel() {
        let mut counts = counted(&(0..100_000).map(|i| format!("{i:040x}")).collect::<Vec<_>>()).0;
        while counts.bound() {
            let error = counts.moments().sum_of_squares() as f64 / 100_000.0 - 1.0;
            let expected = counts.uncertainty().unwrap().sum_of_squares();
            assert!(error < 3.0 * expected, "{error}, {expected} expected");
        }
    }

    #[test]
    fn bounded_counts_do_not_grow() {
        let (mut counts, _) = counted(&heavy_tailed(0));
        while counts.bound() {}
        let (before, mut grown) = (counts.memory_bytes(), 0);
        heavy_tailed(1).iter().for_each(|label| grown += counts.add(label, 1));
        assert_eq!(counts.memory_bytes() as isize, before as isize + grown);
        assert!(
            counts.memory_bytes() <= 2 * before && counts.memory_bytes() < 4_000,
            "{}",
            counts.memory_bytes()
        );
    }

    #[test]
    fn a_digest_takes_about_fifty_bytes() {
        let counts = counted(&(0..100_000).map(|i| format!("{i:040x}")).collect::<Vec<_>>()).0;
        let each = counts.memory_bytes() as f64 / 100_000.0;
        assert!((40.0..70.0).contains(&each), "{each}");
    }

    #[test]
    fn bounded_counts_that_contradict_themselves_are_refused() {
        let (mut counts, _) = counted(&heavy_tailed(0));
        counts.bound();
        let stored = rmp_serde::to_vec(&counts).unwrap();
        assert_eq!(rmp_serde::from_slice::<Counts>(&stored).unwrap(), counts);
        // The precision is the first number of the sketch.
        let at = stored.windows(8).position(|bytes| bytes == b"\xa7Bounded").unwrap() + 9;
        assert!((6..=16).contains(&stored[at]), "{}", stored[at]);
        for precision in [0, 5, stored[at] - 1, 17, 127] {
            let mut damaged = stored.clone();
            damaged[at] = precision;
            let error = rmp_serde::from_slice::<Counts>(&damaged).unwrap_err().to_string();
            assert!(error.contains("one precision throughout"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn counts_are_a_map(labels in labels(), cut in 0..700usize, n in 0..12usize) {
            let (counts, truth) = counted(&labels);
            prop_assert_eq!(counts.iter().collect::<Truth>(), truth.clone());
            prop_assert_eq!(counts.distinct(), truth.len() as u64);
            prop_assert_eq!(counts.moments(), truth.values().copied().collect());
            prop_assert!(truth.iter().all(|(label, &count)| counts.get(label) == count));
            prop_assert_eq!(counts.get("never"), truth.get("never").copied().unwrap_or(0));

            let mut full: Vec<(String, u64)> = truth.into_iter().collect();
            full.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            full.truncate(n);
            let top: Vec<(String, u64)> = counts.top(n).into_iter().map(|share| (share.label, share.count)).collect();
            prop_assert_eq!(top, full);

            let (left, right) = labels.split_at(cut.min(labels.len()));
            let [mut left, right] = [left, right].map(|part| counted(part).0);
            left.combine(&right);
            prop_assert_eq!(&left, &counts);
            let stored = rmp_serde::to_vec(&counts).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Counts>(&stored).unwrap(), counts);
        }

        #[test]
        fn bounded_counts_stay_within_their_bounds(parts in prop::array::uniform3(labels()), times in prop::array::uniform3(0..3usize)) {
            let mut merged = Counts::default();
            for (part, times) in parts.iter().zip(times) {
                let mut counts = counted(part).0;
                (0..times).for_each(|_| {
                    counts.bound();
                });
                merged.combine(&counts);
                part.iter().for_each(|label| _ = merged.add(label, 1));
            }
            let twice = parts.iter().flatten().chain(parts.iter().flatten());
            assert_within_bounds(&merged, &counted(twice).1);
            let stored = rmp_serde::to_vec(&merged).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Counts>(&stored).unwrap(), merged);
        }

        /// What loads of damaged bytes keeps to what it says of itself.
        #[test]
        fn damaged_counts_are_refused_or_whole(labels in labels(), bounded: bool, flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
            let mut counts = counted(&labels).0;
            if bounded {
                while counts.bound() {}
            }
            let mut stored = rmp_serde::to_vec(&counts).unwrap();
            for (at, byte) in flips {
                let at = at.index(stored.len());
                stored[at] = byte;
            }
            if let Ok(mut loaded) = rmp_serde::from_slice::<Counts>(&stored) {
                let stored = rmp_serde::to_vec(&loaded).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<Counts>(&stored).unwrap(), &loaded);
                let (moments, before) = (loaded.moments(), loaded.clone());
                prop_assert!(moments.max() <= moments.sum() && moments.n() <= moments.sum());
                prop_assert_eq!(loaded.top(1).first().map_or(0, |top| top.count.min(moments.sum())), moments.max());
                for label in &labels {
                    let count = loaded.get(label);
                    loaded.add(label, 1);
                    prop_assert!(loaded.is_exact() || loaded.get(label) > 0);
                    prop_assert!(!loaded.is_exact() || loaded.get(label) == (count + 1).min(MOST));
                }
                loaded.combine(&before);
                while loaded.bound() {}
                loaded.combine(&counts);
                let stored = rmp_serde::to_vec(&loaded).unwrap();
                prop_assert_eq!(rmp_serde::from_slice::<Counts>(&stored).unwrap(), loaded);
            }
        }
    }
}
