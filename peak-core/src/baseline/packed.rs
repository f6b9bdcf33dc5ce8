//! Windows of the past in few bytes.
//!
//! Each window is a run of variable-length integers (LEB128). The first holds flags, and how many
//! blame fields there are; then come, unless a flag says that they are as usual, the gap between the
//! window and the one before, the change of its length and the excess of samples over records (all
//! zigzag); then the counts. Where there are measures, another flag says so, and behind the counts
//! stand how many, and of each the excess of its values over records (zigzag) and the sum, as eight
//! bytes. The first window stands beside the bytes; its gap and its change are as usual.

use super::{Past, PastMeasure};
use crate::bytes::Bytes;
use crate::{CountMoments, Span, Timestamp};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// A queue of windows in order of their ends: appended behind, forgotten from the front.
#[derive(Clone, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    /// The span of the first window.
    first: Ends,
    /// The span of the last window.
    last: Ends,
}

/// A span as its end and its length, in milliseconds.
#[derive(Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Ends {
    end: u64,
    length: u64,
}

impl Packed {
    pub(super) const fn new() -> Self {
        let nothing = Ends { end: 0, length: 0 };
        Packed { bytes: Vec::new(), first: nothing, last: nothing }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The end of the last window.
    pub(super) fn end(&self) -> Timestamp {
        Timestamp::from_millis(self.last.end as i64).unwrap_or(Timestamp::MAX)
    }

    /// Appends a window that ends no earlier than the last one.
    pub(super) fn push(&mut self, past: &Past) {
        let ends = Ends::of(past.span);
        if self.is_empty() {
            // So that it follows without gap and change.
            self.first = ends;
            self.last = Ends { end: ends.end.wrapping_sub(ends.length), length: ends.length };
        }
        let mut entry = Entry::new();
        let start = ends.end.wrapping_sub(ends.length);
        let unusual = [
            start.wrapping_sub(self.last.end),
            ends.length.wrapping_sub(self.last.length),
            past.samples.sum().wrapping_sub(past.records),
        ];
        let mut flags = (0..3).filter(|&i| unusual[i] != 0).fold(0, |flags, i| flags | 1 << i);
        if !past.measures.is_empty() {
            flags |= MEASURES;
        }
        put(&mut entry, (past.top_blame.len() as u64) << FLAGS | flags);
        for difference in unusual.into_iter().filter(|&difference| difference != 0) {
            put(&mut entry, zigzag(difference as i64));
        }
        put(&mut entry, past.records);
        put(&mut entry, past.samples.n());
        put_wide(&mut entry, past.samples.sum_of_squares());
        put(&mut entry, past.samples.max());
        past.top_blame.iter().for_each(|&count| put(&mut entry, count));
        if !past.measures.is_empty() {
            put(&mut entry, past.measures.len() as u64);
            for measure in &past.measures {
                put(&mut entry, zigzag(measure.n.wrapping_sub(past.records) as i64));
                entry.extend_from_slice(&measure.sum.to_le_bytes());
            }
        }
        if self.bytes.capacity() - self.bytes.len() < entry.len() {
            // Doubling would leave half the memory unused; a full horizon does not grow.
            self.bytes.reserve_exact(2 * entry.len());
        }
        self.bytes.extend_from_slice(&entry);
        self.last = ends;
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, next: Some(self.first), last: self.first }
    }

    /// Forgets the windows that end at `horizon` or before it.
    pub(super) fn forget_before(&mut self, horizon: Timestamp) {
        let horizon = horizon.millis() as u64;
        if self.is_empty() || self.first.end > horizon {
            return;
        }
        if self.last.end <= horizon {
            *self = Packed::new();
            return;
        }
        let mut iter = self.iter();
        let mut rest = iter.bytes;
        while iter.next().is_some() && iter.last.end <= horizon {
            rest = iter.bytes;
        }
        let first = iter.last;
        // The first window's flags stand right before what follows its gap and its change.
        let mut counts = rest;
        let head = take(&mut counts).unwrap_or(0);
        for _ in 0..(head & GAP) + (head & CHANGE) / CHANGE {
            take(&mut counts);
        }
        let mut flags = SmallVec::new();
        put(&mut flags, head & !(GAP | CHANGE));
        let start = self.bytes.len() - counts.len() - flags.len();
        self.bytes[start..start + flags.len()].copy_from_slice(&flags);
        self.bytes.drain(..start);
        self.first = first;
    }

    /// What the windows are stored as.
    fn parts(&self) -> (Ends, &[u8]) {
        (self.first, &self.bytes)
    }

    /// The windows of stored parts, unless they are damaged.
    fn from_parts(first: Ends, bytes: Vec<u8>) -> Result<Self, &'static str> {
        if bytes.is_empty() {
            return Ok(Packed::new());
        }
        let mut packed = Packed { bytes, first, last: first };
        let mut iter = packed.iter();
        let mut before = None;
        while !iter.bytes.is_empty() {
            let past = iter.next().ok_or("a window of the history is not whole")?;
            if before.is_some_and(|before| before >= past.place()) {
                return Err("a window of the history is out of order");
            }
            before = Some(past.place());
        }
        packed.last = iter.last;
        Ok(packed)
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (first, bytes) = self.parts();
        (first, Bytes(bytes)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (first, Bytes(bytes)) = Deserialize::deserialize(deserializer)?;
        Packed::from_parts(first, bytes).map_err(Error::custom)
    }
}

impl Ends {
    fn of(span: Span) -> Self {
        Ends { end: span.end().millis() as u64, length: span.duration().as_millis() as u64 }
    }

    fn span(self) -> Option<Span> {
        let at = |millis: u64| Timestamp::from_millis(millis as i64).ok();
        Span::new(at(self.end.checked_sub(self.length)?)?, at(self.end)?).ok()
    }
}

impl<'a> FromIterator<&'a Past> for Packed {
    fn from_iter<I: IntoIterator<Item = &'a Past>>(windows: I) -> Self {
        let mut packed = Packed::new();
        windows.into_iter().for_each(|past| packed.push(past));
        packed
    }
}

/// Unpacks windows, first to last.
pub(super) struct Iter<'a> {
    bytes: &'a [u8],
    /// The span of the first window, until it was unpacked.
    next: Option<Ends>,
    /// The span of the window that was unpacked last.
    last: Ends,
}

/// The flags of what is not as usual.
const GAP: u64 = 1;
const CHANGE: u64 = 2;
const EXCESS: u64 = 4;
/// And that there are measures.
const MEASURES: u64 = 8;
/// How many flags there are.
const FLAGS: u32 = 4;

impl Iterator for Iter<'_> {
    type Item = Past;

    fn next(&mut self) -> Option<Past> {
        let bytes = &mut self.bytes;
        let head = take(bytes)?;
        let mut unusual = |flag| if head & flag == 0 { Some(0) } else { take(bytes).map(unzigzag) };
        let [gap, change, excess] = [unusual(GAP)?, unusual(CHANGE)?, unusual(EXCESS)?];
        let length = self.last.length.wrapping_add(change as u64);
        let end = self.last.end.wrapping_add(gap as u64).wrapping_add(length);
        let ends = self.next.take().unwrap_or(Ends { end, length });
        let (records, n) = (take(bytes)?, take(bytes)?);
        let sum_of_squares = take_wide(bytes)?;
        let max = take(bytes)?;
        let top_blame = (0..head >> FLAGS).map(|_| take(bytes)).collect::<Option<SmallVec<_>>>()?;
        let samples = CountMoments::from_parts(n, records.wrapping_add(excess as u64), sum_of_squares, max);
        let count = if head & MEASURES == 0 { 0 } else { take(bytes)? };
        let measure = |_| {
            let n = records.wrapping_add(unzigzag(take(bytes)?) as u64);
            let (sum, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(f64::from_le_bytes(*sum)).filter(|sum| sum.is_finite()).map(|sum| PastMeasure { n, sum })
        };
        let measures = (0..count).map(measure).collect::<Option<SmallVec<_>>>()?;
        self.last = ends;
        Some(Past { span: ends.span()?, records, samples, top_blame, measures })
    }
}

type Entry = SmallVec<[u8; 64]>;

/// Appends a number, seven bits a byte, lowest first.
fn put(bytes: &mut Entry, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_wide(bytes: &mut Entry, mut number: u128) {
    while number > u128::from(u64::MAX) {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    put(bytes, number as u64);
}

/// Takes a number from the front; none when it is cut short or too large.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    match take_short(bytes) {
        Some(number) => Some(number),
        None => u64::try_from(take_long(bytes)?).ok(),
    }
}

fn take_wide(bytes: &mut &[u8]) -> Option<u128> {
    match take_short(bytes) {
        Some(number) => Some(number.into()),
        None => take_long(bytes),
    }
}

/// Takes a number of up to 63 bits, as they are as a rule; leaves any other where it is.
#[inline]
fn take_short(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (i, &byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(number);
        }
    }
    None
}

#[cold]
fn take_long(bytes: &mut &[u8]) -> Option<u128> {
    let (mut number, mut shift) = (0, 0);
    while shift < u128::BITS {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
    None
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pasts() -> impl Strategy<Value = Vec<Past>> {
        let number = || prop_oneof![0..300u64, any::<u64>()];
        let measure = (number(), -1e300..1e300f64).prop_map(|(n, sum)| PastMeasure { n, sum });
        let more = (prop::collection::vec(number(), 0..4), prop::collection::vec(measure, 0..3));
        let counts = (number(), number(), number(), any::<u128>(), number(), more);
        prop::collection::vec((1..Timestamp::MAX.millis(), 1..100_000_000i64, counts), 0..30).prop_map(
            |rows| {
                let mut pasts: Vec<Past> = rows
                    .into_iter()
                    .map(|(end, length, (records, n, sum, squares, max, (top_blame, measures)))| {
                        let at = |millis| Timestamp::from_millis(millis).unwrap();
                        let span = Span::new(at((end - length).max(0)), at(end)).unwrap();
                        let samples = CountMoments::from_parts(n, sum, squares, max);
                        Past {
                            span,
                            records,
                            samples,
                            top_blame: top_blame.into(),
                            measures: measures.into(),
                        }
                    })
                    .collect();
                pasts.sort_by_key(Past::place);
                pasts.dedup_by_key(|past| past.span);
                pasts
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(pasts in pasts(), horizon in 0..Timestamp::MAX.millis()) {
            let mut packed = Packed::new();
            pasts.iter().for_each(|past| packed.push(past));
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), pasts.clone());
            prop_assert_eq!(pasts.last().map_or(Timestamp::MIN, |past| past.span.end()), packed.end());

            let bytes = rmp_serde::to_vec(&packed).unwrap();
            let loaded: Packed = rmp_serde::from_slice(&bytes).unwrap();
            prop_assert_eq!(loaded.iter().collect::<Vec<_>>(), pasts.clone());
            prop_assert_eq!(loaded.end(), packed.end());

            let horizon = Timestamp::from_millis(horizon).unwrap();
            packed.forget_before(horizon);
            let kept: Vec<Past> = pasts.into_iter().filter(|past| past.span.end() > horizon).collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), kept.clone());
            // To the byte as if the others had never been there.
            let mut fresh = Packed::new();
            kept.iter().for_each(|past| fresh.push(past));
            prop_assert_eq!(rmp_serde::to_vec(&packed).unwrap(), rmp_serde::to_vec(&fresh).unwrap());
        }

        #[test]
        fn damaged_bytes_are_refused_or_windows_in_order(pasts in pasts(), at: usize, flip in 1..=255u8, cut: bool) {
            let mut packed = Packed::new();
            pasts.iter().for_each(|past| packed.push(past));
            let (first, bytes) = packed.parts();
            let mut bytes = bytes.to_vec();
            prop_assume!(!bytes.is_empty());
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            if let Ok(loaded) = Packed::from_parts(first, bytes) {
                let places: Vec<_> = loaded.iter().map(|past| past.place()).collect();
                prop_assert!(places.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(loaded.end(), places.last().map_or(Timestamp::MIN, |place| place.0));
            }
        }
    }
}
