//! Keys: ordered tuples of dimension values, of any arity.

use hashbrown::Equivalent;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The values of all dimensions of a record, in the schema's order: what statistics are kept by.
///
/// A key is two words wide and cheap to clone; tables that share keys share their text. Keys order
/// like tuples, value by value.
///
/// ```
/// use peak_core::Key;
///
/// let key = Key::new(["malicious", "PeExeFile"]);
/// assert_eq!(key.values().collect::<Vec<_>>(), ["malicious", "PeExeFile"]);
/// assert!(key < Key::new(["malicious", "ZipArchiveFile"]));
/// assert_eq!(key.to_string(), "malicious / PeExeFile");
/// ```
///
/// In one allocation: how many values there are, how long each one is, and the values back to back.
/// A number stands there in ASCII characters of six bits, lowest first, the last one below 64.
#[derive(Clone)]
pub struct Key(Arc<str>);

fn put(text: &mut String, mut number: usize) {
    while number >= 64 {
        text.push(char::from(number as u8 & 63 | 64));
        number >>= 6;
    }
    text.push(char::from(number as u8));
}

fn take(text: &mut &str) -> usize {
    let (mut number, mut shift) = (0, 0);
    for (i, byte) in text.bytes().enumerate() {
        number |= usize::from(byte & 63) << shift;
        if byte < 64 {
            *text = &text[i + 1..];
            break;
        }
        shift += 6;
    }
    number
}

/// The values of a key.
#[derive(Clone)]
struct Values<'a> {
    left: usize,
    lengths: &'a str,
    text: &'a str,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.left = self.left.checked_sub(1)?;
        let (value, text) = self.text.split_at(take(&mut self.lengths));
        self.text = text;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Values<'_> {}

/// A key that is being put together.
#[derive(Default)]
struct Parts {
    lengths: SmallVec<[usize; 4]>,
    text: String,
}

impl Parts {
    fn push(&mut self, value: &str) {
        self.lengths.push(value.len());
        self.text.push_str(value);
    }

    fn key(&self) -> Key {
        let mut whole = String::with_capacity(self.text.len() + 2 * self.lengths.len() + 2);
        put(&mut whole, self.lengths.len());
        self.lengths.iter().for_each(|&length| put(&mut whole, length));
        whole.push_str(&self.text);
        Key(whole.into())
    }
}

impl Key {
    /// The key of these values.
    pub fn new<V: AsRef<str>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut parts = Parts::default();
        values.into_iter().for_each(|value| parts.push(value.as_ref()));
        parts.key()
    }

    /// The values, in the schema's order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        let (mut lengths, text) = self.0.split_at(self.lengths());
        Values { left: take(&mut lengths), lengths, text }
    }

    /// How many dimensions the key has.
    #[must_use]
    pub fn arity(&self) -> usize {
        take(&mut &*self.0)
    }

    /// Where the lengths end and the values begin.
    fn lengths(&self) -> usize {
        let mut rest = &*self.0;
        for _ in 0..take(&mut rest) {
            take(&mut rest);
        }
        self.0.len() - rest.len()
    }

    /// Whether both are the same allocation, which is sooner told than whether they are equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_same(other) {
            return Ordering::Equal;
        }
        // Values of the same lengths compare like their texts.
        match self.0.split_at(self.lengths()) {
            (lengths, text) if other.0.starts_with(lengths) => text.cmp(&other.0[lengths.len()..]),
            _ => self.values().cmp(other.values()),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values().for_each(|value| value.hash(state));
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

/// The values with ` / ` between them.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.values().enumerate() {
            let separator = if i == 0 { "" } else { " / " };
            write!(f, "{separator}{value}")?;
        }
        Ok(())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.values())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Parts::default())
    }
}

/// Takes in the values of a key, without a string for each.
impl<'de> Visitor<'de> for Parts {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the values of a key")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<Key, A::Error> {
        while values.next_element_seed(Part(&mut self))?.is_some() {}
        Ok(self.key())
    }
}

/// Takes in one value of a key.
struct Part<'a>(&'a mut Parts);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a key")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.push(value);
        Ok(())
    }
}

/// The borrowed values of a record: they find their [`Key`] in a map without building one.
pub(crate) struct Borrowed<'a>(pub(crate) &'a [&'a str]);

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|value| value.hash(state));
    }
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        key.arity() == self.0.len() && key.values().eq(self.0.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use proptest::prelude::*;

    #[test]
    fn values_that_join_to_the_same_text_are_different_keys() {
        assert_ne!(Key::new(["ab", "c"]), Key::new(["a", "bc"]));
        assert_ne!(Key::new(["", "a"]), Key::new(["a", ""]));
        assert_ne!(Key::new(["a"]), Key::new(["a", ""]));
        assert_eq!(size_of::<Key>(), 2 * size_of::<usize>());
    }

    #[test]
    fn values_of_any_length_and_number_keep_their_places() {
        for (arity, length) in [(0, 0), (1, 63), (1, 64), (3, 5_000), (70, 1), (70, 70)] {
            let values: Vec<String> = (0..arity).map(|i| "ä".repeat(length * (i % 2) + i % 3)).collect();
            let key = Key::new(&values);
            assert!(key.values().eq(values.iter().map(String::as_str)), "{arity} of {length}");
            assert_eq!((key.arity(), key.values().len()), (arity, arity));
        }
    }

    proptest! {
        #[test]
        fn a_key_behaves_like_its_vector(a: Vec<String>, b: Vec<String>) {
            let (ka, kb) = (Key::new(&a), Key::new(&b));
            prop_assert_eq!(ka.values().collect::<Vec<_>>(), a.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
            prop_assert_eq!(ka == kb, a == b);
            let bytes = rmp_serde::to_vec(&ka).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Key>(&bytes).unwrap(), ka);
        }

        #[test]
        fn borrowed_values_find_their_key(keys in prop::collection::vec(prop::collection::vec("[ab]{0,2}", 2), 1..9)) {
            let map: IndexMap<Key, ()> = keys.iter().map(|k| (Key::new(k), ())).collect();
            for key in &keys {
                let values: Vec<&str> = key.iter().map(String::as_str).collect();
                prop_assert!(map.get(&Borrowed(&values)).is_some());
            }
            prop_assert!(map.get(&Borrowed(&["a"])).is_none());
        }
    }
}
