//! Windows of the past in few bytes.
//!
//! Each window is a run of variable-length integers (LEB128). The first holds flags, and how many
//! blame fields there are; then come, unless a flag says that they are as usual, the gap between the
//! window and the one before, the change of its length and the excess of samples over records (all
//! zigzag); then the counts.

use super::Past;
use crate::{CountMoments, Span, Timestamp};
use smallvec::SmallVec;

/// A queue of windows in order of their ends: appended behind, forgotten from the front.
#[derive(Clone, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    /// The span before the first window, that the first one's gap counts from.
    before: Ends,
    /// The span of the last window.
    last: Ends,
}

/// A span as its end and its length, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Ends {
    end: u64,
    length: u64,
}

impl Packed {
    pub(super) const fn new() -> Self {
        let nothing = Ends { end: 0, length: 0 };
        Packed { bytes: Vec::new(), before: nothing, last: nothing }
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
        let mut entry: SmallVec<[u8; 64]> = SmallVec::new();
        let start = ends.end.wrapping_sub(ends.length);
        let unusual = [
            start.wrapping_sub(self.last.end),
            ends.length.wrapping_sub(self.last.length),
            past.samples.sum().wrapping_sub(past.events),
        ];
        let flags = (0..3).filter(|&i| unusual[i] != 0).fold(0, |flags, i| flags | 1 << i);
        put(&mut entry, (past.top_blame.len() as u128) << 3 | flags);
        for difference in unusual.into_iter().filter(|&difference| difference != 0) {
            put(&mut entry, zigzag(difference as i64).into());
        }
        put(&mut entry, past.events.into());
        put(&mut entry, past.samples.n().into());
        put(&mut entry, past.samples.sum_of_squares());
        put(&mut entry, past.samples.max().into());
        past.top_blame.iter().for_each(|&count| put(&mut entry, count.into()));
        if self.bytes.capacity() - self.bytes.len() < entry.len() {
            // Doubling would leave half the memory unused; a full horizon does not grow.
            self.bytes.reserve_exact(2 * entry.len());
        }
        self.bytes.extend_from_slice(&entry);
        self.last = ends;
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, before: self.before }
    }

    /// Forgets windows from the front for as long as `is_gone` says so.
    pub(super) fn drop_front(&mut self, is_gone: impl Fn(&Past) -> bool) {
        let mut iter = self.iter();
        let mut kept = (iter.bytes.len(), iter.before);
        while iter.next().is_some_and(|past| is_gone(&past)) {
            kept = (iter.bytes.len(), iter.before);
        }
        let (length, before) = kept;
        self.bytes.drain(..self.bytes.len() - length);
        self.before = before;
        if self.bytes.is_empty() {
            *self = Packed::new();
        }
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

/// Unpacks windows, first to last.
pub(super) struct Iter<'a> {
    bytes: &'a [u8],
    before: Ends,
}

impl Iterator for Iter<'_> {
    type Item = Past;

    fn next(&mut self) -> Option<Past> {
        let head = take(&mut self.bytes)?;
        let mut short = || take(&mut self.bytes).map(|n| n as u64);
        let mut unusual = |flag: u32| if head & 1 << flag == 0 { Some(0) } else { short().map(unzigzag) };
        let [gap, change, excess] = [unusual(0)?, unusual(1)?, unusual(2)?];
        let length = self.before.length.wrapping_add(change as u64);
        let end = self.before.end.wrapping_add(gap as u64).wrapping_add(length);
        let (events, n) = (short()?, short()?);
        let sum_of_squares = take(&mut self.bytes)?;
        let mut short = || take(&mut self.bytes).map(|n| n as u64);
        let max = short()?;
        let top_blame = (0..head >> 3).map(|_| short()).collect::<Option<SmallVec<_>>>()?;
        let sum = events.wrapping_add(excess as u64);
        let ends = Ends { end, length };
        self.before = ends;
        let samples = CountMoments::from_parts(n, sum, sum_of_squares, max);
        Some(Past { span: ends.span()?, events, samples, top_blame })
    }
}

/// Appends a number, seven bits a byte, lowest first.
fn put(bytes: &mut SmallVec<[u8; 64]>, mut number: u128) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number from the front.
fn take(bytes: &mut &[u8]) -> Option<u128> {
    let mut number = 0;
    for shift in (0..u128::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
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
        let counts =
            (number(), number(), number(), any::<u128>(), number(), prop::collection::vec(number(), 0..4));
        prop::collection::vec((1..Timestamp::MAX.millis(), 1..100_000_000i64, counts), 0..30).prop_map(
            |rows| {
                let mut pasts: Vec<Past> = rows
                    .into_iter()
                    .map(|(end, length, (events, n, sum, squares, max, top_blame))| {
                        let at = |millis| Timestamp::from_millis(millis).unwrap();
                        let span = Span::new(at((end - length).max(0)), at(end)).unwrap();
                        let samples = CountMoments::from_parts(n, sum, squares, max);
                        Past { span, events, samples, top_blame: top_blame.into() }
                    })
                    .collect();
                pasts.sort_by_key(Past::place);
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

            packed.drop_front(|past| past.span.end().millis() <= horizon);
            let kept: Vec<Past> = pasts.into_iter().filter(|past| past.span.end().millis() > horizon).collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), kept);
        }
    }
}
