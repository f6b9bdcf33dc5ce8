//! Bytes that are stored as bytes; in formats for people, which know no bytes, as a list of numbers.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Borrowed to store, owned to load.
pub(crate) struct Bytes<T>(pub(crate) T);

impl Serialize for Bytes<&[u8]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.0)
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            // What serde has put aside to find out its kind claims to be for people, whatever it is.
            deserializer.deserialize_any(Bytes(()))
        } else {
            deserializer.deserialize_bytes(Bytes(()))
        }
    }
}

impl<'de> Visitor<'de> for Bytes<()> {
    type Value = Bytes<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
        // However many are announced, only those that come take room.
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back_from_every_format(bytes: Vec<u8>) {
            let text = serde_json::to_string(&Bytes(&*bytes)).unwrap();
            prop_assert_eq!(&text, &format!("{bytes:?}").replace(' ', ""));
            prop_assert_eq!(&serde_json::from_str::<Bytes<Vec<u8>>>(&text).unwrap().0, &bytes);
            let stored = rmp_serde::to_vec(&Bytes(&*bytes)).unwrap();
            prop_assert!(stored.len() <= bytes.len() + 5);
            prop_assert_eq!(&rmp_serde::from_slice::<Bytes<Vec<u8>>>(&stored).unwrap().0, &bytes);
        }
    }

    #[test]
    fn bytes_within_something_of_unknown_kind_come_back() {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Bytes(Bytes<Vec<u8>>),
        }
        let stored = rmp_serde::to_vec(&Bytes(&[7, 255][..])).unwrap();
        let Either::Bytes(Bytes(bytes)) = rmp_serde::from_slice(&stored).unwrap();
        assert_eq!(bytes, [7, 255]);
    }

    #[test]
    fn what_is_no_byte_is_refused() {
        for text in ["[256]", "[-1]", "[1.5]", "\"a\"", "{}", "[1,"] {
            assert!(serde_json::from_str::<Bytes<Vec<u8>>>(text).is_err(), "{text}");
        }
    }
}
