//! Keys: ordered tuples of dimension values, of any arity.

use hashbrown::Equivalent;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The values of all dimensions of a record, in the schema's order: what statistics are kept by.
///
/// A key is one word wide and cheap to clone; tables that share keys share their text. Keys order
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
#[derive(Clone)]
pub struct Key(Arc<Parts>);

/// The values back to back, and where each one ends.
struct Parts {
    text: Box<str>,
    ends: SmallVec<[usize; 4]>,
}

impl Key {
    /// The key of these values.
    pub fn new<V: AsRef<str>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut text = String::new();
        let ends = values
            .into_iter()
            .map(|value| {
                text.push_str(value.as_ref());
                text.len()
            })
            .collect();
        Key(Arc::new(Parts { text: text.into(), ends }))
    }

    /// The values, in the schema's order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        let Parts { text, ends } = &*self.0;
        ends.iter().enumerate().map(move |(i, &end)| &text[if i == 0 { 0 } else { ends[i - 1] }..end])
    }

    /// How many dimensions the key has.
    #[must_use]
    pub fn arity(&self) -> usize {
        self.0.ends.len()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.ends == other.0.ends && self.0.text == other.0.text)
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.values().cmp(other.values())
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
        Vec::<String>::deserialize(deserializer).map(Key::new)
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
        assert_eq!(size_of::<Key>(), size_of::<usize>());
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
