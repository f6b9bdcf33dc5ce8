//! Keys: ordered tuples of dimension values, of any arity.

use crate::shown;
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
/// A key is four words wide and cheap to clone: the text of a short one stands in these words, that
/// of a long one is shared. Keys order like tuples, value by value. Values may be any text; where a key
/// is displayed they stand on one line, see [`shown`].
///
/// ```
/// use peak_core::Key;
///
/// let key = Key::new(["malicious", "PeExeFile"]);
/// assert_eq!(key.values().collect::<Vec<_>>(), ["malicious", "PeExeFile"]);
/// assert!(key < Key::new(["malicious", "ZipArchiveFile"]));
/// assert_eq!(key.to_string(), "malicious / PeExeFile");
/// assert_eq!(Key::new(["a\nb"]).to_string(), r"a\nb");
/// ```
#[derive(Clone)]
pub struct Key(Text);

/// How many values there are, how long each one is, and the values back to back. A number stands
/// there in bytes of six bits, lowest first, the last one below 64. No such text is the beginning of
/// another, so zeros behind it change nothing.
#[derive(Clone)]
enum Text {
    /// All texts that fit, filled up with zeros. Tables of keys like these are read from end to end
    /// without a look elsewhere.
    Short([u8; SHORT]),
    Long(Arc<[u8]>),
}

/// What fits into four words, beside what tells short from long.
const SHORT: usize = 31;

/// The numbers and values of a key that is being put together.
type Buffer = SmallVec<[u8; 64]>;

fn put(text: &mut Buffer, mut number: usize) {
    while number >= 64 {
        text.push(number as u8 & 63 | 64);
        number >>= 6;
    }
    text.push(number as u8);
}

fn take(text: &mut &[u8]) -> usize {
    let (mut number, mut shift) = (0, 0);
    while let Some((&byte, rest)) = text.split_first() {
        *text = rest;
        number |= usize::from(byte & 63) << shift;
        if byte < 64 {
            break;
        }
        shift += 6;
    }
    number
}

/// The values of a key, as bytes.
#[derive(Clone)]
struct Values<'a> {
    left: usize,
    lengths: &'a [u8],
    text: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
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
    text: Buffer,
}

impl Parts {
    fn push(&mut self, value: &str) {
        self.lengths.push(value.len());
        self.text.extend_from_slice(value.as_bytes());
    }

    fn whole(&self) -> Buffer {
        let mut whole = Buffer::new();
        put(&mut whole, self.lengths.len());
        self.lengths.iter().for_each(|&length| put(&mut whole, length));
        whole.extend_from_slice(&self.text);
        whole
    }

    fn key(&self) -> Key {
        let whole = self.whole();
        let mut short = [0; SHORT];
        match short.get_mut(..whole.len()) {
            Some(start) => {
                start.copy_from_slice(&whole);
                Key(Text::Short(short))
            }
            None => Key(Text::Long(whole.as_slice().into())),
        }
    }
}

impl Key {
    /// The key of these values.
    pub fn new<V: AsRef<str>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut parts = Parts::default();
        values.into_iter().for_each(|value| parts.push(value.as_ref()));
        parts.key()
    }

    /// The key that counts what found no room: [`OTHER`](Self::OTHER) in each dimension. A record with
    /// these very values counts there, too.
    #[must_use]
    pub fn other(arity: usize) -> Self {
        Key::new(std::iter::repeat_n(Self::OTHER, arity))
    }

    /// What stands in each dimension of the key that counts what found no room.
    pub const OTHER: &'static str = "(other)";

    /// The values, in the schema's order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        // They were text when they came.
        self.bytes().map(|value| std::str::from_utf8(value).unwrap_or_default())
    }

    fn bytes(&self) -> Values<'_> {
        let (mut lengths, text) = self.text().split_at(self.lengths());
        Values { left: take(&mut lengths), lengths, text }
    }

    /// How many dimensions the key has.
    #[must_use]
    pub fn arity(&self) -> usize {
        take(&mut self.text())
    }

    /// The memory that the key takes beside its own four words, in bytes: none for a short one. A text
    /// that several keys share is told by each.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Text::Short(_) => 0,
            // The text follows its two counts of owners.
            Text::Long(text) => 2 * size_of::<usize>() + text.len(),
        }
    }

    /// How the first values compare with these; a key with fewer of them is not equal.
    pub(crate) fn cmp_start(&self, prefix: &[&str]) -> Ordering {
        self.bytes().take(prefix.len()).cmp(prefix.iter().map(|value| value.as_bytes()))
    }

    fn text(&self) -> &[u8] {
        match &self.0 {
            Text::Short(text) => text,
            Text::Long(text) => text,
        }
    }

    /// Where the lengths end and the values begin.
    fn lengths(&self) -> usize {
        let text = self.text();
        let mut rest = text;
        for _ in 0..take(&mut rest) {
            take(&mut rest);
        }
        text.len() - rest.len()
    }

    /// Whether both are the same text in the same place, which is soon told.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Text::Short(one), Text::Short(other)) => one == other,
            (Text::Long(one), Text::Long(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Text::Long(one), Text::Long(other)) => Arc::ptr_eq(one, other) || one == other,
            _ => self.is_same(other),
        }
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
        match self.text().split_at(self.lengths()) {
            (lengths, text) if other.text().starts_with(lengths) => text.cmp(&other.text()[lengths.len()..]),
            _ => self.bytes().cmp(other.bytes()),
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.text());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

/// The values with ` / ` between them, each as it is [`shown`]. A key without dimensions is `(all)`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.arity() == 0 {
            return f.write_str("(all)");
        }
        for (i, value) in self.values().enumerate() {
            let separator = if i == 0 { "" } else { " / " };
            write!(f, "{separator}{}", shown(value))?;
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

/// The values of a record as the text of a key: it finds its [`Key`] in a map without building one.
#[derive(PartialEq, Eq)]
pub(crate) enum Sought {
    Short([u8; SHORT]),
    Long(Buffer),
}

impl Sought {
    pub(crate) fn new(values: &[&str]) -> Self {
        let mut short = [0; SHORT];
        if Self::fill(&mut short, values).is_some() {
            return Sought::Short(short);
        }
        let mut parts = Parts::default();
        values.iter().for_each(|value| parts.push(value));
        Sought::Long(parts.whole())
    }

    /// Writes the text; `None` when it does not fit. Where it does, every number in it is below 64.
    fn fill(short: &mut [u8; SHORT], values: &[&str]) -> Option<()> {
        let (lengths, mut rest) = short.split_at_mut_checked(1 + values.len())?;
        lengths[0] = values.len() as u8;
        for (length, value) in lengths[1..].iter_mut().zip(values) {
            *length = value.len() as u8;
            let (text, next) = std::mem::take(&mut rest).split_at_mut_checked(value.len())?;
            text.copy_from_slice(value.as_bytes());
            rest = next;
        }
        Some(())
    }

    pub(crate) fn key(&self) -> Key {
        Key(match self {
            Sought::Short(text) => Text::Short(*text),
            Sought::Long(text) => Text::Long(text.as_slice().into()),
        })
    }
}

impl Hash for Sought {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Sought::Short(text) => state.write(text),
            Sought::Long(text) => state.write(text),
        }
    }
}

impl Equivalent<Key> for Sought {
    fn equivalent(&self, key: &Key) -> bool {
        match (self, &key.0) {
            (Sought::Short(one), Text::Short(other)) => one == other,
            (Sought::Long(one), Text::Long(other)) => one.as_slice() == &**other,
            _ => false,
        }
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
        assert_eq!(size_of::<Key>(), 4 * size_of::<u64>());
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

    #[test]
    fn a_key_is_displayed_on_one_line() {
        assert_eq!(Key::new(["x\x1b[31m", "a\nERROR forged"]).to_string(), r"x\u{1b}[31m / a\nERROR forged");
        assert_eq!(Key::new(["", ""]).to_string(), " / ");
        assert_eq!(Key::new([""; 0]).to_string(), "(all)");
        assert_eq!(Key::other(2), Key::new(["(other)", "(other)"]));
        assert_eq!(Key::other(0), Key::new([""; 0]));
    }

    #[test]
    fn only_long_keys_take_memory_elsewhere() {
        assert_eq!(Key::new(["x".repeat(29)]).heap_bytes(), 0);
        let heap = Key::new(["x".repeat(5_000)]).heap_bytes();
        assert!((5_000..5_040).contains(&heap), "{heap}");
    }

    /// Values that are much alike: empty, with zeros at the end, and of lengths where keys and numbers
    /// become longer.
    fn hostile() -> impl Strategy<Value = Vec<String>> {
        let value = prop_oneof![
            "[\0a]{0,3}",
            prop::sample::select(vec![27, 28, 29, 30, 31, 63, 64, 4_095, 4_096, 70_000])
                .prop_map(|length| "a".repeat(length)),
            "[\0a]{29}",
            any::<String>(),
        ];
        prop::collection::vec(value, 0..4)
    }

    fn hash(key: &impl Hash) -> u64 {
        let mut state = std::hash::DefaultHasher::new();
        key.hash(&mut state);
        state.finish()
    }

    proptest! {
        #[test]
        fn a_key_behaves_like_its_vector(a in hostile(), b in hostile(), is_same: bool, part in 0..4usize) {
            let b = if is_same { a.clone() } else { b };
            let (ka, kb) = (Key::new(&a), Key::new(&b));
            prop_assert_eq!(ka.values().collect::<Vec<_>>(), a.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
            prop_assert_eq!(ka == kb, a == b);
            let values: Vec<&str> = b.iter().map(String::as_str).collect();
            let sought = Sought::new(&values);
            prop_assert_eq!(sought.equivalent(&ka), a == b);
            prop_assert_eq!(hash(&sought), hash(&kb));
            let prefix = &values[..part.min(values.len())];
            let start = a[..part.min(a.len()).min(prefix.len())].iter().map(String::as_str);
            prop_assert_eq!(ka.cmp_start(prefix), start.cmp(prefix.iter().copied()));
            prop_assert_eq!(kb.cmp_start(prefix), Ordering::Equal);
            let text = serde_json::to_string(&ka).unwrap();
            prop_assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), ka.clone());
            let bytes = rmp_serde::to_vec(&ka).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Key>(&bytes).unwrap(), ka);
        }

        #[test]
        fn values_find_their_key(keys in prop::collection::vec(prop::collection::vec("[ab]{0,12}", 0..6), 1..9), other in prop::collection::vec("[ab]{0,2}", 0..34)) {
            let map: IndexMap<Key, ()> = keys.iter().map(|k| (Key::new(k), ())).collect();
            for values in keys.iter().chain([&other]) {
                let (key, values) = (Key::new(values), values.iter().map(String::as_str).collect::<Vec<_>>());
                let sought = Sought::new(&values);
                prop_assert_eq!(map.get_index_of(&sought), map.get_index_of(&key));
                prop_assert_eq!(sought.key(), key);
            }
        }
    }
}
