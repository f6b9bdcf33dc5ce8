//! Limits to what tables hold, and what becomes of labels that are too long.

use crate::{Error, Record, Result};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::borrow::Cow;

/// How much tables may hold: memory, keys of a window, and the bytes of a label or dimension value.
///
/// Labels are an outsider's to choose: hashes, addresses, paths. Unless told otherwise only their
/// length is limited.
///
/// ```
/// use peak_core::Limits;
///
/// let limits = Limits::default().with_memory(256 << 20).with_keys(1_000_000);
/// assert_eq!(limits.label_bytes(), 4_096);
/// assert!(Limits::default().with_label_bytes(10).is_err());
/// # Ok::<(), peak_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Limits {
    memory: Option<usize>,
    keys: Option<usize>,
    label_bytes: usize,
}

/// Limits as they are configured, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stored {
    memory: Option<u64>,
    keys: Option<u64>,
    label_bytes: u64,
}

impl Default for Stored {
    fn default() -> Self {
        Limits::default().into()
    }
}

impl From<Limits> for Stored {
    fn from(limits: Limits) -> Self {
        let number = |limit: Option<usize>| limit.map(|limit| limit as u64);
        let Limits { memory, keys, label_bytes } = limits;
        Stored { memory: number(memory), keys: number(keys), label_bytes: label_bytes as u64 }
    }
}

impl TryFrom<Stored> for Limits {
    type Error = Error;
    fn try_from(Stored { memory, keys, label_bytes }: Stored) -> Result<Self> {
        // What no machine has is no limit to it.
        let limit = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let limits = Limits { memory: memory.map(limit), keys: keys.map(limit), ..Limits::default() };
        limits.with_label_bytes(limit(label_bytes))
    }
}

/// No limits but to the length of labels, 4 KiB.
impl Default for Limits {
    fn default() -> Self {
        Limits { memory: None, keys: None, label_bytes: 4 << 10 }
    }
}

impl Limits {
    /// The least limit to the length of labels, in bytes: what is left of a longer one must be told
    /// from others.
    pub const LEAST_LABEL_BYTES: usize = 64;

    /// The limits with so many bytes for all tables together.
    #[must_use]
    pub fn with_memory(self, bytes: usize) -> Self {
        Limits { memory: Some(bytes), ..self }
    }

    /// The limits with so many keys in each window. What they do not hold is counted as
    /// [`Key::other`](crate::Key::other).
    #[must_use]
    pub fn with_keys(self, keys: usize) -> Self {
        Limits { keys: Some(keys), ..self }
    }

    /// The limits with so many bytes for a label or the value of a dimension. Of a longer one its
    /// beginning is kept, with a hash of the whole behind it.
    ///
    /// # Errors
    /// When it is less than [`LEAST_LABEL_BYTES`](Self::LEAST_LABEL_BYTES).
    pub fn with_label_bytes(self, bytes: usize) -> Result<Self> {
        if bytes < Self::LEAST_LABEL_BYTES {
            let rule = format!("must be at least {}", Self::LEAST_LABEL_BYTES);
            return Err(Error::invalid("bytes of a label", rule, bytes));
        }
        Ok(Limits { label_bytes: bytes, ..self })
    }

    /// The bytes that all tables may take together, when there is a limit.
    #[must_use]
    pub fn memory(self) -> Option<usize> {
        self.memory
    }

    /// The most keys of a window, when there is a limit.
    #[must_use]
    pub fn keys(self) -> Option<usize> {
        self.keys
    }

    /// The most bytes of a label, or of the value of a dimension.
    #[must_use]
    pub fn label_bytes(self) -> usize {
        self.label_bytes
    }

    /// For one of so many shards: its share of the memory.
    pub(crate) fn shared_by(self, shards: usize) -> Self {
        Limits { memory: self.memory.map(|bytes| bytes / shards.max(1)), ..self }
    }

    /// Whether all labels and values of a record are short enough.
    #[inline]
    pub(crate) fn allow(self, record: &Record<'_>) -> bool {
        let is_short = |text: &str| text.len() <= self.label_bytes;
        record.dimensions.iter().all(|value| is_short(value))
            && record.labels.iter().flatten().all(|label| is_short(label))
    }
}

/// Hands on the record with labels and values that are as long as is allowed.
pub(crate) fn shortened(record: &Record<'_>, limits: Limits, visit: impl FnOnce(&Record<'_>)) {
    let short = |text: &str| shorten(text, limits.label_bytes).into_owned();
    let dimensions: SmallVec<[String; 4]> = record.dimensions.iter().map(|value| short(value)).collect();
    let labels: SmallVec<[Option<String>; 4]> = record.labels.iter().map(|label| label.map(short)).collect();
    let dimensions: SmallVec<[&str; 4]> = dimensions.iter().map(String::as_str).collect();
    let labels: SmallVec<[Option<&str>; 4]> = labels.iter().map(Option::as_deref).collect();
    visit(&Record { dimensions: &dimensions, labels: &labels, ..*record });
}

/// Text of at most so many bytes: of a longer one the beginning, and behind `…` 32 hexadecimal digits
/// of a hash of the whole.
fn shorten(text: &str, bytes: usize) -> Cow<'_, str> {
    const BEHIND: usize = "…".len() + 32;
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let mut end = bytes.saturating_sub(BEHIND);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let [a, b] =
        [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03].map(|seed| stable_hash(seed, text.as_bytes()));
    Cow::Owned(format!("{}…{a:016x}{b:016x}", &text[..end]))
}

/// A hash that is the same everywhere and for ever: each eight bytes are mixed in by a step that can be
/// undone (the finaliser of SplitMix64, Steele, Lea and Flood, 2014), so none of them can blot out what
/// came before.
#[must_use]
pub fn stable_hash(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let hash = bytes
        .chunks(8)
        .fold(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)), |hash, eight| mix(hash ^ word(eight)));
    mix(hash ^ bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_the_same_for_ever() {
        let hashes = [stable_hash(0, b""), stable_hash(0, b"a"), stable_hash(1, b"telemetry")];
        assert_eq!(hashes, [0x4821_8226_ff3c_d4bf, 0xb7c3_bbc7_17c5_0cb6, 0xdf55_fa16_b302_f774]);
    }

    #[test]
    fn limits_are_checked_when_they_are_read() {
        let limits: Limits = serde_json::from_str(r#"{"memory": 1000, "keys": 5}"#).unwrap();
        assert_eq!(limits, Limits::default().with_memory(1_000).with_keys(5));
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
        let error = serde_json::from_str::<Limits>(r#"{"label_bytes": 3}"#).unwrap_err().to_string();
        assert!(error.starts_with(r#"bytes of a label: must be at least 64, got "3""#), "{error}");
        assert!(serde_json::from_str::<Limits>(r#"{"memroy": 3}"#).is_err());
    }

    proptest! {
        #[test]
        fn long_text_is_shortened_and_still_told_apart(text in ".{0,60}", more in ".{1,9}", bytes in 64..90usize) {
            let long = text.repeat(4);
            let short = shorten(&long, bytes);
            prop_assert!(short.len() <= bytes);
            prop_assert_eq!(short == long, long.len() <= bytes);
            let other = format!("{long}{more}");
            prop_assert_ne!(shorten(&other, bytes), short);
        }

        #[test]
        fn a_record_keeps_all_but_the_length_of_its_labels(label in "[a-é]{0,200}") {
            let (dimensions, labels) = ([label.as_str(), "b"], [Some(label.as_str()), None]);
            let record = Record::new(Timestamp::MIN, &dimensions).with_labels(&labels).with_weight(7);
            let limits = Limits::default().with_label_bytes(64).unwrap();
            shortened(&record, limits, |short| {
                assert!(limits.allow(short) && (short.weight, short.dimensions[1]) == (7, "b"));
                assert_eq!(limits.allow(&record), short == &record);
                assert_eq!(short.labels[0], Some(short.dimensions[0]));
            });
        }
    }
}
